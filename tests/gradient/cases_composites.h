/* Gradient cases of the composites that look at more than one element: averages, normalisation,
 * losses, products, attention and pooling. */
#include "check.h"

/* --- averages and softmax --------------------------------------------------------------------- */
CASE(mean, "%x: f64[B,3]", "%y = mean %x {axes=[0]}  %z = sin %y")
CASE(mean_constant, "%x: f64[B,3]", "%y = mean %x {axes=[1]}  %z = sin %y")
CASE(mean_all, "%x: f64[B,3,C]", "%y = mean %x {axes=[0,1,2]}  %z = sin %y")
CASE(mean_two, "%x: f64[B,3,C]", "%y = mean %x {axes=[0,2]}  %z = sin %y")
CASE(mean_none, "%x: f64[B,3]", "%y = mean %x {axes=[]}  %z = sin %y")
CASE(softmax, "%x: f64[B,3]", "%z = softmax %x {axis=1}")
CASE(softmax_outer, "%x: f64[B,3]", "%z = softmax %x {axis=0}")
CASE(softmax_middle, "%x: f64[2,B,C]", "%z = softmax %x {axis=1}")
CASE(log_softmax, "%x: f64[B,C]", "%z = log_softmax %x {axis=1}")
CASE(log_softmax_outer, "%x: f64[B,3]", "%z = log_softmax %x {axis=0}")
CASE(logsumexp, "%x: f64[B,C]", "%z = logsumexp %x {axes=[1]}")
CASE(logsumexp_two, "%x: f64[2,B,3]", "%z = logsumexp %x {axes=[0,1]}")
CASE(logsumexp_none, "%x: f64[B,3]", "%z = logsumexp %x {axes=[]}")
CASE(one_hot, "%x: f64[B,V], %i: i64[B]", "%h = one_hot %i {size=V, dtype=f64}  %z = mul %h, %x",
     .domain = "i=-1..V+1")
CASE(cross_entropy, "%x: f64[B,V], %i: i64[B]", "%z = cross_entropy %x, %i", .domain = "i=0..V")
CASE(cross_entropy_outside, "%x: f64[B,3], %i: i32[B]", "%z = cross_entropy %x, %i",
     .domain = "i=-1,0,3,2,7")
CASE(cross_entropy_one, "%x: f64[V], %i: i64", "%z = cross_entropy %x, %i", .domain = "i=1")
CASE(cross_entropy_deep, "%x: f64[B,2,3], %i: u8[B,2]",
     "%y = cross_entropy %x, %i  %m = mean %y {axes=[0,1]}  %z = sin %m", .domain = "i=0..4")

/* --- normalisation ---------------------------------------------------------------------------- */
CASE(layer_norm, "%x: f64[B,4], %w: f64[4], %b: f64[4]", "%z = layer_norm %x, %w, %b",
     .domain = "x=apart", .step = 0x1p-11)
CASE(layer_norm_symbol, "%x: f64[2,B,C], %w: f64[C], %b: f64[C]",
     "%z = layer_norm %x, %w, %b {epsilon=0.1}")
CASE(layer_norm_x, "%x: f64[B,3], %w: f64[3], %b: f64[3]",
     "%z = layer_norm %x, %w, %b {epsilon=0.01}", .wrt = "x", .step = 0x1p-11)
CASE(layer_norm_weight, "%x: f64[B,3], %w: f64[3], %b: f64[3]", "%z = layer_norm %x, %w, %b",
     .wrt = "w b")
CASE(layer_norm_vector, "%x: f64[3], %w: f64[3], %b: f64[3]", "%z = layer_norm %x, %w, %b",
     .domain = "x=apart", .step = 0x1p-11)
CASE(rms_norm, "%x: f64[B,4], %w: f64[4]", "%z = rms_norm %x, %w")
CASE(rms_norm_symbol, "%x: f64[B,2,C], %w: f64[C]", "%z = rms_norm %x, %w {epsilon=0.1}")
CASE(batch_norm, "%x: f64[N,2,T], %w: f64[2], %b: f64[2], %m: f64[2], %v: f64[2]",
     "%z, %m2, %v2 = batch_norm %x, %w, %b, %m, %v {epsilon=0.1}", .wrt = "x w b",
     .domain = "v=pos")
CASE(batch_norm_plane, "%x: f64[N,C], %w: f64[C], %b: f64[C], %m: f64[C], %v: f64[C]",
     "%z, %m2, %v2 = batch_norm %x, %w, %b, %m, %v {epsilon=0.1, momentum=0.5}", .wrt = "x w b",
     .domain = "v=pos")
CASE(batch_norm_inference, "%x: f64[N,2,T], %w: f64[2], %b: f64[2], %m: f64[2], %v: f64[2]",
     "%z, %m2, %v2 = batch_norm %x, %w, %b, %m, %v {training=false}", .outs = "z m2 v2",
     .domain = "v=pos", .step = 0x1p-10)
CASE(batch_norm_inference_variance, "%x: f64[N,2], %w: f64[2], %b: f64[2], %m: f64[2], %v: f64[2]",
     "%z, %m2, %v2 = batch_norm %x, %w, %b, %m, %v {training=false, epsilon=0.5}", .wrt = "v",
     .domain = "v=pos", .step = 0x1p-10)

/* --- products --------------------------------------------------------------------------------- */
CASE(linear, "%x: f64[B,3], %w: f64[2,3], %b: f64[2]", "%z = linear %x, %w, %b")
CASE(dot_bias, "%x: f64[B,3], %w: f64[3,C], %b: f64[C]", "%y = dot_bias %x, %w, %b  %z = sin %y")
CASE(dot_gelu, "%x: f64[B,3], %w: f64[2,3], %b: f64[2]",
     "%z, %a = dot_gelu %x, %w, %b {across=true}", .outs = "z a")
CASE(dot_gelu_plain, "%x: f64[3], %w: f64[3,2]", "%z, %a = dot_gelu %x, %w", .outs = "z a")
CASE(dot_gelu_grad, "%x: f64[B,3], %w: f64[3,2], %a: f64[B,2]", "%z = dot_gelu_grad %x, %w, %a")
CASE(dot_add, "%x: f64[B,3], %w: f64[3,2], %s: f64[B,2]",
     "%z = dot_add %x, %w, %s {x_contract=[1], y_contract=[0]}")
CASE(dot_add_alone, "%x: f64[B,3], %w: f64[B,2]",
     "%z = dot_add %x, %w {x_contract=[0], y_contract=[0]}")
CASE(linear_plain, "%x: f64[B,3], %w: f64[2,3]", "%z = linear %x, %w")
CASE(linear_vector, "%x: f64[C], %w: f64[2,C], %b: f64[2]", "%z = linear %x, %w, %b")
CASE(linear_deep, "%x: f64[B,T,3], %w: f64[O,3], %b: f64[O]",
     "%y = linear %x, %w, %b  %z = tanh %y")
CASE(linear_weight, "%x: f64[B,3], %w: f64[2,3], %b: f64[2]", "%z = linear %x, %w, %b",
     .wrt = "w b")
CASE(matmul, "%x: f64[B,3], %y: f64[3,C]", "%z = matmul %x, %y")
CASE(matmul_batch, "%x: f64[B,2,K], %y: f64[B,K,2]", "%z = matmul %x, %y")
CASE(matmul_shared, "%x: f64[B,T,3], %y: f64[3,2]", "%z = matmul %x, %y")
CASE(matmul_deep, "%x: f64[2,B,2,3], %y: f64[2,B,3,1]", "%z = matmul %x, %y")
CASE(matmul_square, "%x: f64[3,3]", "%z = matmul %x, %x")
CASE(embedding, "%w: f64[V,3], %i: i64[B,T]", "%y = embedding %w, %i  %z = sin %y",
     .domain = "i=-1..V+1")
CASE(embedding_one, "%w: f64[4,C], %i: i32", "%y = embedding %w, %i  %z = sin %y", .domain = "i=2")
CASE(attention, "%q: f64[B,T,3], %k: f64[B,S,3], %v: f64[B,S,2]", "%z, %l = attention %q, %k, %v")
CASE(attention_scale, "%q: f64[T,2], %k: f64[S,2], %v: f64[S,2]",
     "%z, %l = attention %q, %k, %v {scale=0.3}")
CASE(attention_causal, "%q: f64[B,T,2], %k: f64[B,T,2], %v: f64[B,T,2]",
     "%z, %l = attention %q, %k, %v {causal=true}")
CASE(attention_causal_longer, "%q: f64[2,T,2], %k: f64[2,T+2,2], %v: f64[2,T+2,1]",
     "%z, %l = attention %q, %k, %v {causal=true}")
CASE(attention_causal_constant, "%q: f64[B,2,2,2], %k: f64[B,2,4,2], %v: f64[B,2,4,2]",
     "%z, %l = attention %q, %k, %v {causal=true}")
CASE(attention_width, "%q: f64[2,D], %k: f64[3,D], %v: f64[3,2]", "%z, %l = attention %q, %k, %v",
     .dims = "dim D range=1..")
CASE(attention_q, "%q: f64[T,2], %k: f64[T,2], %v: f64[T,2]",
     "%z, %l = attention %q, %k, %v {causal=true}", .wrt = "q")
CASE(attention_v, "%q: f64[T,2], %k: f64[T,2], %v: f64[T,2]", "%z, %l = attention %q, %k, %v",
     .wrt = "v")
CASE(attention_both, "%q: f64[B,T,2], %k: f64[B,S,2], %v: f64[B,S,1]",
     "%z, %l = attention %q, %k, %v", .outs = "z l", .dims = "dim S range=1..")
CASE(attention_sum, "%q: f64[T,2], %k: f64[S,2], %v: f64[S,2]",
     "%z, %l = attention %q, %k, %v {scale=0.7}", .outs = "l", .dims = "dim S range=1..")
CASE(attention_shared, "%q: f64[4,T,2], %k: f64[2,S,2], %v: f64[2,S,1]",
     "%z, %l = attention %q, %k, %v", .outs = "z l", .dims = "dim S range=1..")
CASE(attention_shared_causal, "%q: f64[2*H,T,2], %k: f64[H,T,2], %v: f64[H,T,1]",
     "%z, %l = attention %q, %k, %v {causal=true}")
CASE(attention_shared_by_all, "%q: f64[H,T,2], %k: f64[1,T,2], %v: f64[1,T,2]",
     "%z, %l = attention %q, %k, %v {causal=true}")
CASE(attention_causal_shorter, "%q: f64[2,T+2,2], %k: f64[2,T,2], %v: f64[2,T,2]",
     "%z, %l = attention %q, %k, %v {causal=true}")
CASE(attention_tangent,
     "%q: f64[2,3,2], %k: f64[1,2,2], %v: f64[1,2,1], %dq: f64[2,3,2], %dk: f64[1,2,2],"
     " %dv: f64[1,2,1]",
     "%y, %l = attention %q, %k, %v"
     "  %z, %dl = attention_tangent %q, %k, %v, %y, %l, %dq, %dk, %dv",
     .outs = "z dl")
CASE(attention_grad, "%q: f64[T,2], %k: f64[T,2], %v: f64[T,1], %d: f64[T,1], %l: f64[T]",
     "%y, %s = attention %q, %k, %v {causal=true}"
     "  %z, %dk, %dv = attention_grad %q, %k, %v, %y, %s, %d, %l {causal=true}",
     .outs = "z dk dv")
CASE(attention_grad_alone, "%q: f64[2,2], %k: f64[2,2], %v: f64[2,2], %d: f64[2,2], %l: f64[2]",
     "%z, %dk, %dv = attention_grad %q, %k, %v, %v, %l, %d", .outs = "z dk dv")
CASE(attention_grad_sums, "%q: f64[2,T,2], %k: f64[2,T,2], %v: f64[2,T,2], %d: f64[2,T,2]",
     "%y, %s = attention %q, %k, %v {causal=true}"
     "  %z, %dk, %dv, %u = attention_grad_sums %q, %k, %v, %y, %s, %d {causal=true}",
     .outs = "z dk dv u")
CASE(attention_self, "%x: f64[T,2]", "%z, %l = attention %x, %x, %x {causal=true}")

/* --- cross entropy of a linear layer ---------------------------------------------------------- */
CASE(linear_cross_entropy, "%x: f64[B,3], %w: f64[V,3], %i: i64[B]",
     "%z, %l = linear_cross_entropy %x, %w, %i", .domain = "i=0..V", .dims = "dim V range=1..")
CASE(linear_cross_entropy_outside, "%x: f64[B,2], %w: f64[3,2], %i: i32[B]",
     "%z, %l = linear_cross_entropy %x, %w, %i", .domain = "i=-1,0,3,2,7")
CASE(linear_cross_entropy_both, "%x: f64[2,B,2], %w: f64[3,2], %i: u8[2,B]",
     "%z, %l = linear_cross_entropy %x, %w, %i", .outs = "z l", .domain = "i=0..4")
CASE(linear_cross_entropy_sum, "%x: f64[B,2], %w: f64[3,2], %i: i32[B]",
     "%z, %l = linear_cross_entropy %x, %w, %i", .outs = "l", .domain = "i=0..3")
CASE(linear_cross_entropy_one, "%x: f64[C], %w: f64[V,C], %i: i64",
     "%z, %l = linear_cross_entropy %x, %w, %i", .domain = "i=1", .dims = "dim V range=2..")
CASE(linear_cross_entropy_weight, "%x: f64[B,2], %w: f64[3,2], %i: i64[B]",
     "%z, %l = linear_cross_entropy %x, %w, %i", .wrt = "w", .domain = "i=0..3")
CASE(linear_cross_entropy_tangent,
     "%x: f64[2,2], %w: f64[3,2], %i: i64[2], %dx: f64[2,2], %dw: f64[3,2]",
     "%y, %l = linear_cross_entropy %x, %w, %i"
     "  %z, %dl = linear_cross_entropy_tangent %x, %w, %i, %l, %dx, %dw",
     .outs = "z dl", .domain = "i=0,4")
CASE(linear_cross_entropy_grad, "%x: f64[B,2], %w: f64[V,2], %i: i64[B], %d: f64[B], %e: f64[B]",
     "%y, %l = linear_cross_entropy %x, %w, %i"
     "  %z, %dw = linear_cross_entropy_grad %x, %w, %i, %l, %d, %e",
     .outs = "z dw", .domain = "i=0..V+1", .dims = "dim V range=1..")

/* --- arrays ----------------------------------------------------------------------------------- */
CASE(array_read, "%x: f64[3,B,2], %i: i64", "%y = array_read %x, %i  %z = sin %y", .domain = "i=1")
CASE(array_read_outside, "%x: f64[K], %i: i32", "%y = array_read %x, %i  %z = sin %y",
     .domain = "i=9", .dims = "dim K range=1..")
CASE(array_read_many, "%x: f64[3,2], %i: i64[B]", "%y = array_read %x, %i  %z = sin %y",
     .domain = "i=-1..5")
CASE(array_write, "%x: f64[3,B], %i: i64, %r: f64[B]", "%y = array_write %x, %i, %r  %z = sin %y",
     .domain = "i=2")
CASE(array_write_many, "%x: f64[5,2], %i: i32[3], %r: f64[3,2]",
     "%y = array_write %x, %i, %r  %z = sin %y", .domain = "i=4,0,2")

/* --- solving and determinants ----------------------------------------------------------------- */
CASE(solve, "%a: f64[B,3,3], %b: f64[B,3,2]", "%r = reverse %a {axes=[1]}  %z = solve %r, %b",
     .domain = "a=diag")
CASE(solve_transpose, "%a: f64[B,3,3], %b: f64[B,3,2]",
     "%r = reverse %a {axes=[2]}  %z = solve %r, %b {transpose=true}", .domain = "a=diag")
CASE(solve_size, "%a: f64[K,K], %b: f64[K,C]", "%z = solve %a, %b", .domain = "a=diag")
CASE(solve_a, "%a: f64[3,3], %b: f64[3,1]", "%z = solve %a, %b", .domain = "a=diag", .wrt = "a")
CASE(solve_b, "%a: f64[3,3], %b: f64[3,1]", "%z = solve %a, %b {transpose=true}",
     .domain = "a=diag", .wrt = "b")
CASE(inverse, "%a: f64[B,3,3]", "%r = reverse %a {axes=[1]}  %z = inverse %r", .domain = "a=diag")
CASE(inverse_size, "%a: f64[2,K,K]", "%z = inverse %a", .domain = "a=diag")
CASE(det, "%a: f64[B,3,3]", "%r = reverse %a {axes=[1]}  %z = det %r", .domain = "a=diag")
CASE(det_size, "%a: f64[K,K]", "%z = det %a", .domain = "a=diag")
CASE(log_abs_det, "%a: f64[B,3,3]",
     "%r = reverse %a {axes=[2]}  %y = log_abs_det %r  %s = det_sign %r  %z = mul %s, %y",
     .domain = "a=diag")
CASE(log_abs_det_size, "%a: f64[K,K]", "%z = log_abs_det %a", .domain = "a=diag")

/* --- optimizers, by way of their expansions --------------------------------------------------- */
CASE(sgd, "%p: f64[B], %g: f64[B], %m: f64[B], %r: f64",
     "%z, %n = sgd %p, %g, %m, %r {momentum=0.9, decay=0.1, nesterov=true}", .outs = "z n")
CASE(adamw, "%p: f64[B], %g: f64[B], %a: f64[B], %b: f64[B], %r: f64, %t: f64",
     "%z, %m, %v = adamw %p, %g, %a, %b, %r, %t {beta1=0.5, beta2=0.25, epsilon=0.5, decay=0.1}",
     .outs = "z m v", .domain = "b=pos t=more", .step = 0x1p-11)

/* --- pooling ---------------------------------------------------------------------------------- */
CASE(max_pool, "%x: f64[B,T]",
     "%y = max_pool %x {window=[2], strides=[2], low=[0], high=[1]}  %z = sin %y",
     .domain = "x=apart")
CASE(max_pool_2d, "%x: f64[N,2,H,4]",
     "%y = max_pool %x {window=[3,2], strides=[2,1], low=[1,1], high=[1,0]}  %z = sin %y",
     .domain = "x=apart")
CASE(avg_pool, "%x: f64[B,T]",
     "%y = avg_pool %x {window=[3], strides=[2], low=[1], high=[1]}  %z = sin %y")
CASE(avg_pool_2d, "%x: f64[N,2,H,4]",
     "%y = avg_pool %x {window=[3,2], strides=[2,1], low=[1,1], high=[1,0]}  %z = sin %y")
