/* Gradient cases of operators that move elements: views, slicing, padding, indexing, and those that
 * reduce, scan and sort. */
#include "check.h"

/* --- views ------------------------------------------------------------------------------------ */
CASE(broadcast_outer, "%x: f64[B,3]",
     "%y = broadcast_in_dim %x {shape=[2,B,3], axes=[1,2]}  %z = sin %y")
CASE(broadcast_inner, "%x: f64[B]", "%y = broadcast_in_dim %x {shape=[B,4], axes=[0]}  %z = sin %y")
CASE(broadcast_between, "%x: f64[B,C]",
     "%y = broadcast_in_dim %x {shape=[B,2,C], axes=[0,2]}  %z = sin %y")
CASE(broadcast_scalar, "%x: f64", "%y = broadcast_in_dim %x {shape=[2,3], axes=[]}  %z = sin %y")
CASE(broadcast_scalar_symbol, "%x: f64, %v: f64[B]",
     "%y = broadcast_in_dim %x {shape=[B], axes=[]}  %z = mul %y, %v")
CASE(broadcast_ones, "%x: f64[1,3,1], %v: f64[B]",
     "%k = broadcast_in_dim %v {shape=[B,3,2], axes=[0]}"
     "  %y = broadcast_in_dim %x {shape=[B,3,2], axes=[0,1,2]}  %z = mul %y, %k")
CASE(broadcast_ones_mixed, "%x: f64[B,1,C]",
     "%y = broadcast_in_dim %x {shape=[B,4,C], axes=[0,1,2]}  %z = exp %y")
CASE(broadcast_one_to_one, "%x: f64[1,B]",
     "%y = broadcast_in_dim %x {shape=[3,1,B], axes=[1,2]}  %z = exp %y")
CASE(reshape_split, "%x: f64[B,6]", "%y = reshape %x {shape=[2*B,3]}  %z = sin %y")
CASE(reshape_merge, "%x: f64[B,T,2]", "%y = reshape %x {shape=[B*T,2]}  %z = sin %y")
CASE(reshape_flat, "%x: f64[B,T]",
     "%y = reshape %x {shape=[T*B]}  %c = cumulative %y {kind=sum, axis=0}  %z = sin %c")
CASE(transpose_2, "%x: f64[B,3]", "%y = transpose %x {permutation=[1,0]}  %z = sin %y")
CASE(transpose_3, "%x: f64[B,3,C]", "%y = transpose %x {permutation=[2,0,1]}  %z = sin %y")
CASE(transpose_4, "%x: f64[B,2,3,C]", "%y = transpose %x {permutation=[3,1,0,2]}  %z = sin %y")
CASE(reverse_one, "%x: f64[B,3]",
     "%y = reverse %x {axes=[0]}  %c = cumulative %y {kind=sum, axis=0}  %z = sin %c")
CASE(reverse_two, "%x: f64[B,3]",
     "%y = reverse %x {axes=[1,0]}  %c = cumulative %y {kind=sum, axis=1}  %z = sin %c")
CASE(dim_size, "%x: f64[B,3]",
     "%n = dim_size %x {axis=0}  %f = convert %n {dtype=f64}"
     "  %k = broadcast_in_dim %f {shape=[B,3], axes=[]}  %z = mul %x, %k")

/* --- slice, pad, concat ----------------------------------------------------------------------- */
CASE(slice, "%x: f64[B,5]", "%y = slice %x {starts=[0,1], limits=[B,4]}  %z = sin %y")
CASE(slice_strides, "%x: f64[B,7]",
     "%y = slice %x {starts=[0,1], limits=[B,7], strides=[1,2]}  %z = sin %y")
CASE(slice_strides_rest, "%x: f64[B,7]",
     "%y = slice %x {starts=[0,1], limits=[B,6], strides=[2,3]}  %z = sin %y")
CASE(slice_strides_last, "%x: f64[B,7]",
     "%y = slice %x {starts=[0,6], limits=[B,7], strides=[3,5]}  %z = sin %y")
CASE(slice_symbols, "%x: f64[T,2]", "%y = slice %x {starts=[1,0], limits=[T-1,2]}  %z = sin %y",
     .dims = "dim T range=2..")
CASE(slice_symbols_strides, "%x: f64[T,3]",
     "%y = slice %x {starts=[2,0], limits=[T,3], strides=[3,2]}  %z = sin %y",
     .dims = "dim T range=2..")
CASE(slice_half, "%x: f64[2*T]",
     "%y = slice %x {starts=[T], limits=[2*T]}  %l = slice %x {starts=[0], limits=[T]}"
     "  %z = mul %y, %l")
CASE(slice_empty, "%x: f64[B,3]", "%y = slice %x {starts=[0,2], limits=[B,2]}  %z = sin %y")
CASE(pad, "%x: f64[B,3], %v: f64", "%y = pad %x, %v {low=[1,0], high=[0,2]}  %z = sin %y")
CASE(pad_interior, "%x: f64[B,3], %v: f64",
     "%y = pad %x, %v {low=[0,1], high=[2,0], interior=[1,2]}  %z = sin %y")
CASE(pad_interior_only, "%x: f64[B,C], %v: f64",
     "%y = pad %x, %v {low=[0,0], high=[0,0], interior=[3,1]}  %z = sin %y")
CASE(pad_negative, "%x: f64[B,5], %v: f64",
     "%y = pad %x, %v {low=[0,-2], high=[1,-1]}  %z = sin %y")
CASE(pad_negative_interior, "%x: f64[B,4], %v: f64",
     "%y = pad %x, %v {low=[-1,-1], high=[2,-2], interior=[1,2]}  %z = sin %y")
CASE(pad_out_of_sight, "%x: f64[B,3], %v: f64",
     "%y = pad %x, %v {low=[0,-4], high=[0,3]}  %z = sin %y")
CASE(pad_symbols, "%x: f64[T,2], %v: f64",
     "%y = pad %x, %v {low=[T,0], high=[2*T+1,0], interior=[1,0]}  %z = sin %y")
CASE(pad_shift, "%x: f64[T,2], %v: f64",
     "%y = pad %x, %v {low=[1,0], high=[-1,0]}  %z = mul %x, %y")
CASE(unstack, "%x: f64[3,B]", "%a, %z, %b = unstack %x  %y = mul %a, %b", .outs = "y z")
CASE(unstack_inner, "%x: f64[B,2,C]", "%z, %b = unstack %x {axis=1}", .outs = "z b")
CASE(concat, "%x: f64[B,2], %y: f64[B,3], %v: f64[B,1]",
     "%c = concat %x, %y, %v {axis=1}  %z = sin %c")
CASE(concat_symbols, "%x: f64[S,2], %y: f64[T,2], %v: f64[3,2]",
     "%c = concat %x, %y, %v, %y {axis=0}  %d = cumulative %c {kind=sum, axis=0}  %z = sin %d")
CASE(concat_itself, "%x: f64[B,2]", "%s = sin %x  %c = concat %x, %s, %x {axis=0}  %z = mul %c, %c")
CASE(concat_one, "%x: f64[B,2]", "%c = concat %x {axis=1}  %z = sin %c")

/* --- run-time places -------------------------------------------------------------------------- */
CASE(dynamic_slice, "%x: f64[B,5], %i: i64[2]",
     "%y = dynamic_slice %x, %i {sizes=[B,3]}  %z = sin %y", .domain = "i=0,1")
CASE(dynamic_slice_clamped, "%x: f64[B,5], %i: i64[2]",
     "%y = dynamic_slice %x, %i {sizes=[B,3]}  %z = sin %y", .domain = "i=-7,9")
CASE(dynamic_slice_symbols, "%x: f64[T,4], %i: i64[2]",
     "%y = dynamic_slice %x, %i {sizes=[T-1,2]}  %z = sin %y", .dims = "dim T range=1..",
     .domain = "i=1,1")
CASE(dynamic_update_slice, "%x: f64[B,5], %v: f64[B,2], %i: i64[2]",
     "%y = dynamic_update_slice %x, %v, %i  %z = sin %y", .domain = "i=0,2")
CASE(dynamic_update_slice_clamped, "%x: f64[B,5], %v: f64[B,2], %i: i64[2]",
     "%y = dynamic_update_slice %x, %v, %i  %z = sin %y", .domain = "i=5,4")
CASE(dynamic_update_slice_self, "%x: f64[B,5], %i: i64[2]",
     "%v = slice %x {starts=[0,0], limits=[B,2]}  %y = dynamic_update_slice %x, %v, %i"
     "  %z = sin %y",
     .domain = "i=0,1")

/* --- gather and scatter ----------------------------------------------------------------------- */
CASE(gather_rows, "%x: f64[V,C], %i: i64[B,1]",
     "%y = gather %x, %i {offset_dims=[1], collapsed_dims=[0], index_map=[0], slice_sizes=[1,C]}"
     "  %z = sin %y",
     .domain = "i=-1..V+1")
CASE(gather_columns, "%x: f64[2,V], %i: i32[B,T,1]",
     "%y = gather %x, %i {offset_dims=[0], collapsed_dims=[1], index_map=[1], slice_sizes=[2,1]}"
     "  %z = sin %y",
     .domain = "i=0..V")
CASE(gather_batch, "%x: f64[B,V,2], %i: i64[B,T,1]",
     "%y = gather %x, %i {offset_dims=[2], collapsed_dims=[1], batch_dims=[0],"
     " index_batch_dims=[0], index_map=[1], slice_sizes=[1,1,2]}  %z = sin %y",
     .domain = "i=0..V+1")
CASE(gather_batch_swapped, "%x: f64[B,T,V], %i: i64[T,B,1]",
     "%y = gather %x, %i {collapsed_dims=[2], batch_dims=[0,1], index_batch_dims=[1,0],"
     " index_map=[2], slice_sizes=[1,1,1]}  %z = sin %y",
     .domain = "i=0..V")
CASE(gather_batch_late, "%x: f64[V,2,B], %i: i64[B,1]",
     "%y = gather %x, %i {offset_dims=[1], collapsed_dims=[0], batch_dims=[2],"
     " index_batch_dims=[0], index_map=[0], slice_sizes=[1,2,1]}  %z = sin %y",
     .domain = "i=0..V")
CASE(gather_windows, "%x: f64[V,4], %i: i64[B,2]",
     "%y = gather %x, %i {offset_dims=[0,2], index_map=[0,1], slice_sizes=[2,3]}  %z = sin %y",
     .dims = "dim V range=2..", .domain = "i=0..3")
CASE(gather_points, "%x: f64[V,4], %i: i64[B,2]",
     "%y = gather %x, %i {collapsed_dims=[0,1], index_map=[1,0], slice_sizes=[1,1]}  %z = sin %y",
     .domain = "i=-1..4")
CASE(scatter_add, "%x: f64[V,C], %i: i64[B,1], %u: f64[B,C]",
     "%y = scatter %x, %i, %u {kind=add, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %z = sin %y",
     .domain = "i=-1..V+1")
CASE(scatter_add_batch, "%x: f64[B,V,2], %i: i64[B,T,1], %u: f64[B,T,2]",
     "%y = scatter %x, %i, %u {kind=add, offset_dims=[2], collapsed_dims=[1], batch_dims=[0],"
     " index_batch_dims=[0], index_map=[1]}  %z = sin %y",
     .domain = "i=0..V+1")
CASE(scatter_add_windows, "%x: f64[V,4], %i: i64[B,2], %u: f64[2,B,3]",
     "%y = scatter %x, %i, %u {kind=add, offset_dims=[0,2], index_map=[0,1]}  %z = sin %y",
     .dims = "dim V range=2..", .domain = "i=0..3")
CASE(scatter_add_updates, "%x: f64[V,2], %i: i64[B,1], %u: f64[B,2]",
     "%y = scatter %x, %i, %u {kind=add, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %z = sin %y",
     .domain = "i=0..V", .wrt = "u")
CASE(scatter_set, "%x: f64[V,C], %i: i64[3,1], %u: f64[3,C]",
     "%y = scatter %x, %i, %u {kind=set, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %z = sin %y",
     .dims = "dim V range=3..", .domain = "i=each..V")
CASE(scatter_set_dropped, "%x: f64[V,2], %i: i64[2,1], %u: f64[2,2]",
     "%y = scatter %x, %i, %u {kind=set, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %z = sin %y",
     .domain = "i=-1,0")
CASE(scatter_set_points, "%x: f64[3,4], %i: i64[3,2], %u: f64[3]",
     "%y = scatter %x, %i, %u {kind=set, collapsed_dims=[0,1], index_map=[1,0]}  %z = sin %y",
     .domain = "i=3,2,0,1,2,0")
CASE(scatter_set_x, "%x: f64[V,2], %i: i64[2,1], %u: f64[2,2]",
     "%y = scatter %x, %i, %u {kind=set, offset_dims=[1], collapsed_dims=[0], index_map=[0]}"
     "  %z = sin %y",
     .domain = "i=0,1", .wrt = "x")

/* --- reductions ------------------------------------------------------------------------------- */
CASE(reduce_sum, "%x: f64[B,3]", "%y = reduce %x {kind=sum, axes=[0]}  %z = sin %y")
CASE(reduce_sum_inner, "%x: f64[B,3,C]", "%y = reduce %x {kind=sum, axes=[0,2]}  %z = sin %y")
CASE(reduce_sum_none, "%x: f64[B,3]", "%y = reduce %x {kind=sum, axes=[]}  %z = sin %y")
CASE(reduce_prod, "%x: f64[B,3]", "%z = reduce %x {kind=prod, axes=[1]}")
CASE(reduce_prod_outer, "%x: f64[B,3]", "%z = reduce %x {kind=prod, axes=[0]}")
CASE(reduce_prod_all, "%x: f64[B,2,3]", "%z = reduce %x {kind=prod, axes=[0,2]}")
/* Zeros: the first derivative is exact; the second divides by them, see jvp_CUMULATIVE. */
CASE(reduce_prod_zero, "%x: f64[2,3]", "%z = reduce %x {kind=prod, axes=[1]}",
     .domain = "x=1,0,2,1,1,3", .first_only = true)
CASE(reduce_prod_zeros, "%x: f64[2,3]", "%z = reduce %x {kind=prod, axes=[0,1]}",
     .domain = "x=1,0,2,0,1,3", .first_only = true)
CASE(reduce_max, "%x: f64[B,3]", "%y = reduce %x {kind=max, axes=[1]}  %z = sin %y",
     .domain = "x=apart")
CASE(reduce_max_outer, "%x: f64[2,B,3]", "%y = reduce %x {kind=max, axes=[0,1]}  %z = sin %y",
     .domain = "x=apart")
CASE(reduce_min, "%x: f64[B,3]", "%y = reduce %x {kind=min, axes=[0]}  %z = sin %y",
     .domain = "x=apart")
CASE(reduce_min_all, "%x: f64[B,3]", "%y = reduce %x {kind=min, axes=[0,1]}  %z = sin %y",
     .domain = "x=apart")
CASE(arg_reduce, "%x: f64[B,3]",
     "%i = arg_reduce %x {kind=max, axis=1}  %f = convert %i {dtype=f64}"
     "  %k = broadcast_in_dim %f {shape=[B,3], axes=[0]}  %z = mul %x, %k",
     .domain = "x=apart")

/* --- scans and sorting ------------------------------------------------------------------------ */
CASE(cumulative_sum, "%x: f64[B,3]", "%y = cumulative %x {kind=sum, axis=1}  %z = sin %y")
CASE(cumulative_sum_outer, "%x: f64[B,3]", "%y = cumulative %x {kind=sum, axis=0}  %z = sin %y")
CASE(cumulative_sum_reverse, "%x: f64[B,3]",
     "%y = cumulative %x {kind=sum, axis=0, reverse=true}  %z = sin %y")
CASE(cumulative_prod, "%x: f64[B,3]", "%z = cumulative %x {kind=prod, axis=1}")
CASE(cumulative_prod_reverse, "%x: f64[B,3]",
     "%z = cumulative %x {kind=prod, axis=0, reverse=true}")
CASE(cumulative_max, "%x: f64[B,5]", "%y = cumulative %x {kind=max, axis=1}  %z = sin %y",
     .domain = "x=apart")
CASE(cumulative_max_reverse, "%x: f64[B,3]",
     "%y = cumulative %x {kind=max, axis=0, reverse=true}  %z = sin %y", .domain = "x=apart")
CASE(cumulative_min, "%x: f64[B,2,3]", "%y = cumulative %x {kind=min, axis=1}  %z = sin %y",
     .domain = "x=apart")
CASE(cumulative_min_reverse, "%x: f64[5,B]",
     "%y = cumulative %x {kind=min, axis=0, reverse=true}  %z = sin %y", .domain = "x=apart")
CASE(sort, "%x: f64[B,4]", "%y = sort %x {axis=1}  %z = sin %y", .domain = "x=apart")
CASE(sort_outer, "%x: f64[B,3]", "%y = sort %x {axis=0, descending=true}  %z = sin %y",
     .domain = "x=apart")
CASE(sort_two, "%x: f64[B,4], %y: f64[B,4]", "%a, %b = sort %x, %y {axis=1}  %c = mul %a, %b",
     .outs = "b c", .domain = "x=apart")
CASE(sort_by_integers, "%k: i64[4,B], %x: f64[4,B], %y: f64[4,B]",
     "%s, %a, %b = sort %k, %x, %y {axis=0}  %z = mul %a, %b", .domain = "k=3,1,2,1,0")
CASE(sort_second, "%x: f64[B,4], %y: f64[B,4]",
     "%a, %b = sort %x, %y {axis=1, descending=true}  %z = sin %b", .domain = "x=apart", .wrt = "y")
