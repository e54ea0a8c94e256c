/* Cases for batches that the gradient tests have no use for: operators without a derivative, of
 * integers and bits, or with effects on sizes. Nothing is differentiated. */
#include "check.h"

#define PLAIN .wrt = ""

/* --- numbers ---------------------------------------------------------------------------------- */
CASE(batch_signs, "%x: f64[B,3]",
     "%a = sign %x  %b = floor %x  %c = round_even %x  %d = is_finite %x", .outs = "a b c d", PLAIN)
CASE(batch_special, "%x: f64[B,3], %y: f64[B,3]", "%a = igamma %x, %y  %b = nextafter %x, %y",
     .outs = "a b", .domain = "x=pos y=pos", PLAIN)
CASE(batch_bits, "%x: i64[B,3], %y: i64[B,3]",
     "%a = and %x, %y  %b = or %x, %y  %c = xor %x, %y  %d = shl %x, %y  %e = shr_arith %x, %y"
     "  %f = shr_logical %x, %y  %g = not %x  %h = bitcast %x {dtype=f64}  %k = rem %x, %y",
     .outs = "a b c d e f g k", .domain = "x=-9..9 y=1..5", PLAIN)
CASE(batch_compare, "%x: f64[B], %y: f64[B]", "%a = compare %x, %y {direction=lt}  %b = not %a",
     .outs = "a b", PLAIN)
CASE(batch_complex, "%x: f64[B,4], %y: f64[B,4]",
     "%c = complex %x, %y  %s = mul %c, %c  %r = real %s  %i = imag %s", .outs = "s r i", PLAIN)
CASE(batch_random, "%s: i64, %x: f64[B,3]",
     "%r = rng_bits %s {shape=[B,3], stream=2}  %y = dropout %x, %s {rate=0.5, stream=1}",
     .outs = "r y", .domain = "s=1..1000", PLAIN)
CASE(batch_optimizers, "%p: f64[B,3], %g: f64[B,3], %m: f64[B,3], %v: f64[B,3], %r: f64, %t: f64",
     "%a, %b = sgd %p, %g, %m, %r {momentum=0.9}"
     "  %c, %d, %e = adamw %p, %g, %m, %v, %r, %t {decay=0.1}  %n = global_norm %p, %g",
     .outs = "a b c d e n", .domain = "v=pos r=pos t=pos", PLAIN)

/* --- shape, order ----------------------------------------------------------------------------- */
CASE(batch_sizes, "%x: f64[B,3]",
     "%n = dim_size %x {axis=1}  %m = convert %n {dtype=f64}"
     "  %o = broadcast_in_dim %m {shape=[B,3], axes=[]}  %z = mul %x, %o  %c = barrier %z",
     .outs = "n z c", PLAIN)
CASE(batch_positions, "%x: f64[B,4], %k: i64[B]",
     "%a = arg_reduce %x {kind=min, axis=1}  %w = reduce_window %x {kind=argmax, window=[2],"
     " strides=[1], low=[0], high=[0]}  %h = one_hot %k {size=3, dtype=f64}",
     .outs = "a w h", .domain = "x=apart k=0..3", PLAIN)
CASE(batch_any, "%x: f64[B,3], %y: f64[B,3]",
     "%c = compare %x, %y {direction=lt}  %a = reduce %c {kind=and, axes=[1]}"
     "  %o = reduce %c {kind=or, axes=[0]}",
     .outs = "a o", PLAIN)
CASE(batch_pad_bits, "%x: i64[B,3], %f: i64",
     "%z = pad %x, %f {low=[1,0], high=[0,-1], interior=[0,1]}", .domain = "f=3..9", PLAIN)
CASE(batch_pad_scalar, "%x: f64, %f: f64", "%z = pad %x, %f {low=[], high=[]}", PLAIN)
CASE(batch_scatter_kinds, "%x: f64[V,2], %i: i64[B,1], %u: f64[B,2]",
     "%a = scatter %x, %i, %u {kind=mul, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %b = scatter %x, %i, %u {kind=max, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %c = scatter %x, %i, %u {kind=min, offset_dims=[1], collapsed_dims=[0], index_map=[0]}",
     .outs = "a b c", .domain = "i=-1..V+1", PLAIN)
CASE(batch_compact, "%m: bool[B], %x: f64[B,2]",
     "%i = iota {dtype=i64, shape=[B]}  %o = constant {value=i64 1}"
     "  %l = broadcast_in_dim %o {shape=[B], axes=[]}  %k = compare %i, %l {direction=le}"
     "  %v, %n = compact %k, %x {size=M}  %z = reduce %v {kind=sum, axes=[0]}",
     .outs = "z n", PLAIN)

/* --- matrices --------------------------------------------------------------------------------- */
CASE(batch_factors, "%x: f64[3,3]", "%l, %p = lu %x  %q, %r = qr %x  %u, %s, %t = svd %x",
     .outs = "l p q r u s t", .domain = "x=diag", PLAIN)
CASE(batch_eigen, "%x: f64[3,3]",
     "%t = transpose %x {permutation=[1,0]}  %m = add %x, %t  %w, %v = eigh %m", .outs = "w v",
     .domain = "x=diag", PLAIN)
CASE(batch_fft, "%x: f64[2,4]",
     "%a = fft %x {kind=real_forward, sizes=[4]}  %b = fft %a {kind=real_inverse, sizes=[4]}"
     "  %c = complex %x, %x  %d = fft %c {kind=forward, sizes=[2,4]}"
     "  %e = fft %d {kind=inverse, sizes=[4]}",
     .outs = "a b d e", PLAIN)
CASE(batch_convolution_groups, "%x: f64[2,4,5], %w: f64[6,2,3]",
     "%z = convolution %x, %w {strides=[1], low=[1], high=[0], groups=2}", PLAIN)

/* --- control ---------------------------------------------------------------------------------- */
CASE(batch_condition, "%c: bool, %x: f64[B], %v: f64[B]",
     "%z, %n = if %c : f64[B], i64 { %a = mul %x, %v  %k = constant {value=i64 3}  return %a, %k }"
     " { %k = constant {value=i64 4}  return %x, %k }",
     .outs = "z n", PLAIN)
CASE(batch_index, "%i: i64, %x: f64[2], %v: f64[2]",
     "%z = switch %i {cases=3} : f64[2] { return %x } { %a = mul %x, %v  return %a } { return %v }",
     .domain = "i=-1..4", PLAIN)
CASE(batch_trips, "%t: i64, %x: f64[2], %v: f64[2]",
     "%o = constant {value=i64 0}  %i = constant {value=i64 1}"
     "  %n, %z = while %o, %x : i64, f64[2] (%k: i64, %a: f64[2]) {"
     " %m = compare %k, %t {direction=lt}  return %m } (%k: i64, %a: f64[2]) {"
     " %j = add %k, %i  %b = mul %a, %v  return %j, %b }",
     .outs = "n z", .domain = "t=0..5", PLAIN)
CASE(batch_trips_nested, "%t: i64, %s: i64, %x: f64",
     "%o = constant {value=i64 0}  %i = constant {value=i64 1}"
     "  %n, %z = while %o, %x : i64, f64 (%k: i64, %a: f64) {"
     " %m = compare %k, %t {direction=lt}  return %m } (%k: i64, %a: f64) {"
     " %j = add %k, %i  %q, %e = while %o, %a : i64, f64 (%l: i64, %b: f64) {"
     " %r = add %k, %s  %u = compare %l, %r {direction=lt}  return %u } (%l: i64, %b: f64) {"
     " %p = add %l, %i  %y = sin %b  %w = add %y, %x  return %p, %w }  return %j, %e }",
     .outs = "n z", .domain = "t=0..4 s=0..3", PLAIN)
