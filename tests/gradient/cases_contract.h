/* Gradient cases of contractions, convolutions, windows and factorisations. */
#include "check.h"

/* --- dot_general ------------------------------------------------------------------------------ */
CASE(dot_matrix, "%x: f64[B,3], %y: f64[3,2]",
     "%z = dot_general %x, %y {x_contract=[1], y_contract=[0]}")
CASE(dot_transposed, "%x: f64[3,B], %y: f64[C,3]",
     "%z = dot_general %x, %y {x_contract=[0], y_contract=[1]}")
CASE(dot_inner_symbol, "%x: f64[B,K], %y: f64[K,2]",
     "%z = dot_general %x, %y {x_contract=[1], y_contract=[0]}")
CASE(dot_vectors, "%x: f64[K], %y: f64[K]",
     "%z = dot_general %x, %y {x_contract=[0], y_contract=[0]}")
CASE(dot_outer, "%x: f64[B], %y: f64[3]", "%z = dot_general %x, %y")
CASE(dot_batch_only, "%x: f64[B,3], %y: f64[3,B]",
     "%z = dot_general %x, %y {x_batch=[0,1], y_batch=[1,0]}")
CASE(dot_batch, "%x: f64[B,2,3], %y: f64[B,3,2]",
     "%z = dot_general %x, %y {x_batch=[0], y_batch=[0], x_contract=[2], y_contract=[1]}")
CASE(dot_batch_late, "%x: f64[3,2,B], %y: f64[2,B,3]",
     "%z = dot_general %x, %y {x_batch=[2], y_batch=[1], x_contract=[0], y_contract=[2]}")
CASE(dot_two_contracted, "%x: f64[2,B,3], %y: f64[3,2,C]",
     "%z = dot_general %x, %y {x_contract=[0,2], y_contract=[1,0]}")
CASE(dot_two_contracted_crossed, "%x: f64[3,B,2], %y: f64[C,2,3]",
     "%z = dot_general %x, %y {x_contract=[2,0], y_contract=[1,2]}")
CASE(dot_three_contracted, "%x: f64[2,B,3,2], %y: f64[3,2,C,2]",
     "%z = dot_general %x, %y {x_contract=[3,0,2], y_contract=[1,3,0]}")
CASE(dot_everything, "%x: f64[2,B,3,C], %y: f64[C,3,2,B,2]",
     "%z = dot_general %x, %y {x_batch=[3,1], y_batch=[0,3], x_contract=[2,0], y_contract=[1,4]}")
CASE(dot_free_middle, "%x: f64[2,B,3,2], %y: f64[2,C,3]",
     "%z = dot_general %x, %y {x_contract=[0,2], y_contract=[0,2]}")
CASE(dot_square, "%x: f64[3,3]", "%z = dot_general %x, %x {x_contract=[1], y_contract=[0]}")
CASE(dot_batches_swapped, "%x: f64[B,2,C], %y: f64[2,B,3]",
     "%z = dot_general %x, %y {x_batch=[0,1], y_batch=[1,0]}")

/* --- convolution ------------------------------------------------------------------------------ */
CASE(conv_plain, "%x: f64[N,2,T], %w: f64[3,2,3]",
     "%z = convolution %x, %w {strides=[1], low=[0], high=[0]}")
CASE(conv_same, "%x: f64[N,2,T], %w: f64[3,2,3]",
     "%z = convolution %x, %w {strides=[1], low=[1], high=[1]}")
CASE(conv_stride, "%x: f64[2,2,T], %w: f64[2,2,3]",
     "%z = convolution %x, %w {strides=[2], low=[1], high=[0]}")
CASE(conv_stride_beyond, "%x: f64[2,1,T], %w: f64[2,1,2]",
     "%z = convolution %x, %w {strides=[4], low=[1], high=[2]}")
CASE(conv_w_dilation, "%x: f64[2,2,T], %w: f64[2,2,3]",
     "%z = convolution %x, %w {strides=[1], low=[2], high=[2], w_dilation=[2]}")
CASE(conv_x_dilation, "%x: f64[2,2,T], %w: f64[2,2,3]",
     "%z = convolution %x, %w {strides=[1], low=[1], high=[2], x_dilation=[2]}")
CASE(conv_negative_low, "%x: f64[2,1,T], %w: f64[2,1,2]",
     "%z = convolution %x, %w {strides=[1], low=[-1], high=[1]}")
CASE(conv_negative_high, "%x: f64[2,1,T], %w: f64[2,1,2]",
     "%z = convolution %x, %w {strides=[2], low=[2], high=[-2]}")
CASE(conv_groups, "%x: f64[N,4,5], %w: f64[6,2,3]",
     "%z = convolution %x, %w {strides=[1], low=[0], high=[0], groups=2}")
CASE(conv_depthwise, "%x: f64[N,3,4], %w: f64[6,1,2]",
     "%z = convolution %x, %w {strides=[1], low=[1], high=[0], groups=3}")
CASE(conv_all, "%x: f64[2,4,T], %w: f64[4,2,3]",
     "%z = convolution %x, %w {strides=[3], low=[4], high=[-1], x_dilation=[2], w_dilation=[2],"
     " groups=2}")
CASE(conv_all_other, "%x: f64[2,2,T], %w: f64[2,1,2]",
     "%z = convolution %x, %w {strides=[2], low=[-1], high=[5], x_dilation=[3], w_dilation=[4],"
     " groups=2}")
CASE(conv_channels, "%x: f64[2,C,3], %w: f64[O,C,2]",
     "%z = convolution %x, %w {strides=[1], low=[0], high=[0]}")
CASE(conv_taps, "%x: f64[2,2,K+2], %w: f64[2,2,K]",
     "%z = convolution %x, %w {strides=[2], low=[0], high=[1]}", .dims = "dim K range=1..")
CASE(conv_one_tap, "%x: f64[N,2,T], %w: f64[3,2,1]",
     "%z = convolution %x, %w {strides=[2], low=[0], high=[0]}")
CASE(conv_2d, "%x: f64[N,2,H,4], %w: f64[2,2,3,2]",
     "%z = convolution %x, %w {strides=[1,1], low=[1,0], high=[1,1]}")
CASE(conv_2d_all, "%x: f64[2,2,H,W], %w: f64[2,1,2,3]",
     "%z = convolution %x, %w {strides=[2,1], low=[1,2], high=[2,-1], x_dilation=[1,2],"
     " w_dilation=[3,1], groups=2}")
CASE(conv_3d, "%x: f64[1,1,2,H,3], %w: f64[1,1,2,2,2]",
     "%z = convolution %x, %w {strides=[1,2,1], low=[0,1,0], high=[1,1,0]}")
CASE(conv_symbol_padding, "%x: f64[2,1,T], %w: f64[2,1,2]",
     "%z = convolution %x, %w {strides=[1], low=[T], high=[1-T]}")

/* --- windows ---------------------------------------------------------------------------------- */
CASE(window_sum, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=sum, window=[3], strides=[1], low=[0], high=[0]}  %z = sin %y")
CASE(window_sum_stride, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=sum, window=[3], strides=[2], low=[1], high=[1]}  %z = sin %y")
CASE(window_sum_apart, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=sum, window=[2], strides=[4], low=[1], high=[2]}  %z = sin %y")
CASE(window_sum_dilation, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=sum, window=[3], strides=[2], low=[2], high=[1], dilation=[2]}"
     "  %z = sin %y")
CASE(window_sum_negative, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=sum, window=[2], strides=[1], low=[-1], high=[1]}  %z = sin %y")
CASE(window_sum_crop, "%x: f64[2,T]",
     "%y = reduce_window %x {kind=sum, window=[2], strides=[2], low=[3], high=[-2]}  %z = sin %y")
CASE(window_sum_2d, "%x: f64[B,H,4]",
     "%y = reduce_window %x {kind=sum, window=[2,3], strides=[2,1], low=[1,0], high=[0,2]}"
     "  %z = sin %y")
CASE(window_sum_sizes, "%x: f64[B-1,T-2]",
     "%y = reduce_window %x {kind=sum, window=[2], strides=[1], low=[0], high=[1]}  %z = sin %y",
     .dims = "dim B range=1..\ndim T range=2..")
CASE(window_max, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=max, window=[3], strides=[1], low=[1], high=[1]}  %z = sin %y",
     .domain = "x=apart")
/* Windows without an element give -inf: only the others enter the sum. */
CASE(window_max_empty, "%x: f64[2,T], %k: f64[2,T+3]",
     "%y = reduce_window %x {kind=max, window=[2], strides=[1], low=[2], high=[2]}"
     "  %f = is_finite %y  %z = select %f, %y, %k",
     .domain = "x=apart")
CASE(window_max_2d, "%x: f64[2,H,W]",
     "%y = reduce_window %x {kind=max, window=[2,2], strides=[1,2], low=[1,0], high=[0,1],"
     " dilation=[2,1]}  %z = sin %y",
     .domain = "x=apart", .dims = "dim H range=3..\ndim W range=2..")
CASE(window_min, "%x: f64[B,T]",
     "%y = reduce_window %x {kind=min, window=[2], strides=[2], low=[0], high=[1]}  %z = sin %y",
     .domain = "x=apart")
CASE(window_argmax, "%x: f64[B,T]",
     "%i = reduce_window %x {kind=argmax, window=[3], strides=[1], low=[1], high=[1]}"
     "  %f = convert %i {dtype=f64}  %z = mul %f, %x",
     .domain = "x=apart")

/* --- factorisations --------------------------------------------------------------------------- */
CASE(triangular_lower, "%a: f64[B,3,3], %b: f64[B,3,2]", "%z = triangular_solve %a, %b",
     .domain = "a=diag")
CASE(triangular_lower_transpose, "%a: f64[3,3], %b: f64[3,C]",
     "%z = triangular_solve %a, %b {transpose=true}", .domain = "a=diag")
CASE(triangular_upper, "%a: f64[3,3], %b: f64[3,C]", "%z = triangular_solve %a, %b {lower=false}",
     .domain = "a=diag")
CASE(triangular_upper_transpose, "%a: f64[B,2,2], %b: f64[B,2,1]",
     "%z = triangular_solve %a, %b {lower=false, transpose=true}", .domain = "a=diag")
CASE(triangular_unit, "%a: f64[3,3], %b: f64[3,2]",
     "%z = triangular_solve %a, %b {unit_diagonal=true}", .domain = "a=diag")
CASE(triangular_unit_upper, "%a: f64[3,3], %b: f64[3,2]",
     "%z = triangular_solve %a, %b {lower=false, transpose=true, unit_diagonal=true}",
     .domain = "a=diag")
CASE(triangular_size, "%a: f64[K,K], %b: f64[K,2]", "%z = triangular_solve %a, %b",
     .domain = "a=diag")
CASE(triangular_a, "%a: f64[3,3], %b: f64[3,2]", "%z = triangular_solve %a, %b", .domain = "a=diag",
     .wrt = "a")
CASE(triangular_b, "%a: f64[3,3], %b: f64[3,2]", "%z = triangular_solve %a, %b", .domain = "a=diag",
     .wrt = "b")
/* Only the lower triangle is read: the gradient above the diagonal is 0. */
CASE(cholesky, "%a: f64[B,3,3]", "%z = cholesky %a", .domain = "a=diag")
CASE(cholesky_size, "%a: f64[K,K]", "%z = cholesky %a", .domain = "a=diag")
CASE(cholesky_symmetric, "%m: f64[B,3,3]",
     "%t = transpose %m {permutation=[0,2,1]}  %a = add %m, %t  %z = cholesky %a",
     .domain = "m=diag")
CASE(cholesky_product, "%m: f64[B,2,2]",
     "%a = dot_general %m, %m {x_batch=[0], y_batch=[0], x_contract=[2], y_contract=[2]}"
     "  %z = cholesky %a",
     .domain = "m=diag")
/* Rows reversed: pivots are not where they were. */
CASE(lu, "%a: f64[B,3,3]", "%r = reverse %a {axes=[1]}  %z, %p = lu %r", .domain = "a=diag")
CASE(lu_size, "%a: f64[K,K]", "%z, %p = lu %a", .domain = "a=diag")
CASE(qr, "%a: f64[B,3,3]", "%z, %r = qr %a", .outs = "z r", .domain = "a=diag")
CASE(qr_tall, "%a: f64[3,2]", "%z, %r = qr %a", .outs = "z r", .domain = "a=diag")
CASE(qr_wide, "%a: f64[2,2,3]", "%z, %r = qr %a", .outs = "z r", .domain = "a=diag")
CASE(qr_size, "%a: f64[K,K]", "%z, %r = qr %a", .outs = "z r", .domain = "a=diag")
CASE(eigh, "%a: f64[B,2,2]", "%z, %v = eigh %a", .outs = "z v", .domain = "a=diag",
     .step = 0x1p-12)
CASE(eigh_size, "%a: f64[K,K]", "%z, %v = eigh %a", .domain = "a=diag")
CASE(svd, "%a: f64[B,2,2]", "%z, %s, %v = svd %a", .outs = "z s v", .domain = "a=diag")
CASE(svd_tall, "%a: f64[3,2]", "%z, %s, %v = svd %a", .outs = "z s v", .domain = "a=diag")
CASE(svd_wide, "%a: f64[2,3]", "%z, %s, %v = svd %a", .outs = "z s v", .domain = "a=diag")
