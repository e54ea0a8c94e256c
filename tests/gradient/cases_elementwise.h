/* Gradient cases of elementwise operators: mathematics, selection, conversion, and the composites
 * that work on one element. What has derivative zero appears too: the gradient must pass it by. */
#include "check.h"

/* --- unary ------------------------------------------------------------------------------------ */
CASE(neg, "%x: f64[B,3]", "%z = neg %x")
CASE(abs, "%x: f64[B,3]", "%z = abs %x")
CASE(sign, "%x: f64[B,3]", "%y = sign %x  %z = mul %y, %x")
CASE(floor, "%x: f64[B,3]", "%y = floor %x  %z = mul %y, %x", .domain = "x=apart")
CASE(round_even, "%x: f64[B,3]", "%y = round_even %x  %z = mul %y, %x", .domain = "x=near")
CASE(exp, "%x: f64[B,3]", "%z = exp %x")
CASE(expm1, "%x: f64[B,3]", "%z = expm1 %x")
CASE(log, "%x: f64[B,3]", "%z = log %x", .domain = "x=pos")
CASE(log1p, "%x: f64[B,3]", "%z = log1p %x", .domain = "x=unit", .step = 0x1p-11)
CASE(sqrt, "%x: f64[B,3]", "%z = sqrt %x", .domain = "x=pos")
CASE(rsqrt, "%x: f64[B,3]", "%z = rsqrt %x", .domain = "x=pos")
CASE(sin, "%x: f64[B,3]", "%z = sin %x")
CASE(cos, "%x: f64[B,3]", "%z = cos %x")
CASE(tanh, "%x: f64[B,3]", "%z = tanh %x")
CASE(logistic, "%x: f64[B,3]", "%z = logistic %x")
CASE(erf, "%x: f64[B,3]", "%z = erf %x")
CASE(erf_inv, "%x: f64[B,3]", "%z = erf_inv %x", .domain = "x=unit", .step = 0x1p-11)
CASE(lgamma, "%x: f64[B,3]", "%z = lgamma %x", .domain = "x=pos", .step = 0x1p-10)
CASE(lgamma_negative, "%x: f64[B,3]", "%y = neg %x  %z = lgamma %y", .domain = "x=inner",
     .step = 0x1p-11)
CASE(digamma, "%x: f64[B,3]", "%z = polygamma %x", .domain = "x=pos", .step = 0x1p-11)
CASE(polygamma_1, "%x: f64[B,3]", "%z = polygamma %x {order=1}", .domain = "x=more",
     .step = 0x1p-10)
CASE(polygamma_2, "%x: f64[B,3]", "%z = polygamma %x {order=2}", .domain = "x=more",
     .step = 0x1p-10)
CASE(bessel_ie_0, "%x: f64[B,3]", "%z = bessel_ie %x")
CASE(bessel_ie_1, "%x: f64[B,3]", "%z = bessel_ie %x {order=1}")
CASE(bessel_ie_2, "%x: f64[B,3]", "%z = bessel_ie %x {order=2}")
CASE(scalar, "%x: f64", "%z = sin %x")

/* --- binary ----------------------------------------------------------------------------------- */
CASE(add, "%x: f64[B,3], %y: f64[B,3]", "%z = add %x, %y")
CASE(add_itself, "%x: f64[B,3]", "%z = add %x, %x")
CASE(sub, "%x: f64[B,3], %y: f64[B,3]", "%z = sub %x, %y")
CASE(sub_second, "%x: f64[B,3], %y: f64[B,3]", "%z = sub %x, %y", .wrt = "y")
CASE(mul, "%x: f64[B,3], %y: f64[B,3]", "%z = mul %x, %y")
CASE(mul_itself, "%x: f64[B,3]", "%z = mul %x, %x")
CASE(div, "%x: f64[B,3], %y: f64[B,3]", "%z = div %x, %y", .domain = "y=pos", .step = 0x1p-10)
CASE(pow, "%x: f64[B,3], %y: f64[B,3]", "%z = pow %x, %y", .domain = "x=pos")
CASE(pow_integer, "%x: f64[B,4], %n: i64[B,4]", "%y = convert %n {dtype=f64}  %z = pow %x, %y",
     .domain = "n=3,-2,1,0")
CASE(rem, "%x: f64[B,3], %y: f64[B,3]", "%z = rem %x, %y", .domain = "x=apart y=more")
CASE(rem_negative, "%x: f64[B,3], %y: f64[B,3]", "%n = neg %y  %z = rem %x, %n",
     .domain = "x=apart y=more")
CASE(max, "%x: f64[B,3], %y: f64[B,3]", "%z = max %x, %y", .domain = "x=apart y=any")
CASE(min, "%x: f64[B,3], %y: f64[B,3]", "%z = min %x, %y", .domain = "x=apart y=any")
CASE(atan2, "%x: f64[B,3], %y: f64[B,3]", "%z = atan2 %x, %y", .step = 0x1p-11)
CASE(nextafter, "%x: f64[B,3], %y: f64[B,3]", "%n = nextafter %x, %y  %z = mul %n, %x", .wrt = "y")
CASE(igamma, "%a: f64[B,3], %y: f64[B,3]", "%z = igamma %a, %y", .wrt = "y",
     .domain = "a=more y=pos", .step = 0x1p-10)

/* --- selection and type ----------------------------------------------------------------------- */
CASE(select, "%c: bool[B,3], %x: f64[B,3], %y: f64[B,3]", "%z = select %c, %x, %y")
CASE(select_second, "%c: bool[B,3], %x: f64[B,3], %y: f64[B,3]", "%z = select %c, %x, %y",
     .wrt = "y")
CASE(compare, "%x: f64[B,3], %y: f64[B,3]",
     "%c = compare %x, %y {direction=lt}  %s = sin %x  %z = select %c, %s, %y",
     .domain = "x=apart y=any")
CASE(is_finite, "%x: f64[B,3]",
     "%c = is_finite %x  %n = not %c  %y = exp %x  %z = select %n, %x, %y")
/* The cotangent passes through f32 as well: it is rounded to 2^-24 there. */
CASE(convert_down_up, "%x: f64[B,3]", "%y = convert %x {dtype=f32}  %z = convert %y {dtype=f64}",
     .domain = "x=grid", .step = 0x1p-6, .tolerance = 1e-7)
CASE(convert_result, "%x: f64[B,3]", "%z = convert %x {dtype=f32}", .domain = "x=grid",
     .step = 0x1p-6, .tolerance = 1e-7)
CASE(convert_by_integer, "%x: f64[B,3]",
     "%i = convert %x {dtype=i64}  %f = convert %i {dtype=f64}  %z = mul %f, %x",
     .domain = "x=apart")
CASE(bitcast, "%x: f64[B,3]",
     "%i = bitcast %x {dtype=i64}  %z0 = convert %i {dtype=f64}"
     "  %c = compare %z0, %x {direction=ne}  %y = sin %x  %z = select %c, %y, %x",
     .no_f32 = true)
CASE(copy, "%x: f64[B,3]", "%z = copy %x")
CASE(stop_gradient, "%x: f64[B,3], %y: f64[B,3]",
     "%c = compare %y, %y {direction=ne}  %h = stop_gradient %y  %g = select %c, %y, %h"
     "  %z = mul %x, %g",
     .wrt = "x")
CASE(barrier, "%x: f64[B,3], %y: f64[B]", "%z, %b = barrier %x, %y  %s = sin %b", .outs = "z s")

/* --- creation: no operands, but the gradient must step over them ------------------------------ */
CASE(constant, "%x: f64[B,2]",
     "%c = constant {value=f64[2] [3, -2]}  %k = broadcast_in_dim %c {shape=[B,2], axes=[1]}"
     "  %z = mul %x, %k")
CASE(iota, "%x: f64[B,2]", "%c = iota {dtype=f64, shape=[B,2], axis=1}  %z = mul %x, %c")
CASE(rng_bits, "%x: f64[B,2], %seed: i64",
     "%r = rng_bits %seed {shape=[B,2]}  %f = convert %r {dtype=f64}"
     "  %m = constant {value=f64 1e9}  %n = broadcast_in_dim %m {shape=[B,2], axes=[]}"
     "  %k = div %f, %n  %z = mul %x, %k")

/* --- composites ------------------------------------------------------------------------------- */
CASE(square, "%x: f64[B,3]", "%z = square %x")
CASE(reciprocal, "%x: f64[B,3]", "%z = reciprocal %x", .domain = "x=pos")
CASE(relu, "%x: f64[B,3]", "%z = relu %x")
CASE(relu_squared, "%x: f64[B,3]", "%y = relu %x  %z = square %y")
CASE(gelu, "%x: f64[B,3]", "%z = gelu %x")
CASE(gelu_tanh, "%x: f64[B,3]", "%z = gelu %x {tanh=true}")
CASE(silu, "%x: f64[B,3]", "%z = silu %x")
CASE(softplus, "%x: f64[B,3]", "%z = softplus %x")
CASE(dropout, "%x: f64[B,5], %seed: i64", "%z = dropout %x, %seed {rate=0.4}")
CASE(dropout_stream, "%x: f64[B,5], %seed: i64",
     "%y = dropout %x, %seed {rate=0.25, stream=3}  %z = sin %y")
CASE(global_norm, "%x: f64[B,3], %y: f64", "%z = global_norm %x, %y")
CASE(global_norm_many, "%x: f64[3], %y: f64[2,B], %v: f64[2]", "%z = global_norm %x, %y, %v")

/* --- complex numbers -------------------------------------------------------------------------- */
CASE(complex, "%x: f64[B,3], %y: f64[B,3]",
     "%c = complex %x, %y  %s = mul %c, %c  %a = real %s  %b = imag %s  %d = mul %a, %b"
     "  %z = sin %d",
     .step = 0x1p-12)
CASE(complex_quotient, "%x: f64[B,3], %y: f64[B,3]",
     "%c = complex %x, %y  %k = complex %y, %y  %n = neg %k  %d = sub %c, %n  %q = div %c, %d"
     "  %a = real %q  %b = imag %q",
     .outs = "a b", .step = 0x1p-11, .domain = "x=pos y=pos")
CASE(complex_select, "%c: bool[B,2], %x: f64[B,2], %y: f64[B,2]",
     "%a = complex %x, %y  %b = mul %a, %a  %d = select %c, %a, %b  %e = concat %d, %a {axis=1}"
     "  %m = mul %e, %e  %z = imag %m")
