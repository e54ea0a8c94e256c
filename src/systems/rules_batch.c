/* Batching rules that are not templates: of rows some of whose operands are batched, the result
 * with a batch axis first. Operands that are the same for all samples are not repeated where the
 * operator can do without. Sizes are symbolic. */
#include "systems/batch.h"

typedef struct IntSpan {
    int64_t  at[LIST_MAX + 1];
    uint32_t count;
} IntSpan;
static IntSpan attr_list(const BatchRow *r, uint32_t attr) {
    const Attrs *attrs = &r->e.build->world->attrs;
    ListId       id = {(uint32_t)r->e.attrs[attr]};
    IntSpan      list = {.count = list_count(attrs, id)};
    for (uint32_t i = 0; i < list.count; i++) list.at[i] = list_numbers(attrs, id)[i];
    return list;
}
static IntSpan shifted(IntSpan list) {
    for (uint32_t i = 0; i < list.count; i++) list.at[i]++;
    return list;
}
static IntSpan after(int64_t first, IntSpan list) {
    IntSpan made = {.at = {first}, .count = list.count + 1};
    for (uint32_t i = 0; i < list.count; i++) made.at[i + 1] = list.at[i];
    return made;
}
static IntSpan range(int64_t first, uint32_t count) {
    IntSpan made = {.count = count};
    for (uint32_t i = 0; i < count; i++) made.at[i] = first + i;
    return made;
}
static uint64_t word_of(BatchRow *r, IntSpan list) {
    return build_ints(r->e.build, list.at, list.count);
}
static uint32_t sample_rank(const BatchRow *r, uint32_t i) {
    return build_rank(r->e.build, r->e.x[i]) - batch_is(r, i);
}
/* The sizes of operand i on a sample. */
static const DimId *sample_dims(const BatchRow *r, uint32_t i) {
    return build_dims(r->e.build, r->e.x[i]) + batch_is(r, i);
}
static ValueId op_of(BatchRow *r, Opcode opcode, const ValueId *operands, uint32_t count,
                     const uint64_t *words) {
    return build_op(r->e.build, opcode, operands, count, words);
}
/* A size as i64[1]: that of an iota, which is never computed. */
static ValueId size_vector(BatchRow *r, DimId size) {
    Build   *build = r->e.build;
    DimId    one = dims_const(&build->world->dims, 1);
    uint64_t words[3] = {DTYPE_I64, build_sizes(build, &size, 1), 0}, axis = 0;
    ValueId  number;
    if (dims_is_const(&build->world->dims, size)) {
        number =
            build_scalar(build, DTYPE_I64, (double)dims_const_value(&build->world->dims, size));
    } else {
        ValueId line = build_op(build, OP_IOTA, NULL, 0, words);
        number = build_op(build, OP_DIM_SIZE, &line, 1, &axis);
    }
    return build_reshape(build, number, &one, 1);
}
static ValueId joined(BatchRow *r, const ValueId *parts, uint32_t count) {
    uint64_t axis = 0;
    return op_of(r, OP_CONCAT, parts, count, &axis);
}

/* --- shape ------------------------------------------------------------------------------------ */
/* The fill differs from sample to sample: pad with zeros, then put it where the padding is. */
bool batch_PAD(BatchRow *r, ValueId *out) {
    Build   *build = r->e.build;
    TypeId   type = build_type(build, r->e.x[0]);
    Types   *types = &build->world->types;
    ValueId  x = r->e.x[0], fill = r->e.x[1];
    uint32_t rank = sample_rank(r, 0);
    TypeId   mask = types_type(types, DTYPE_BOOL, types_shape(types, sample_dims(r, 0), rank));
    TypeId   scalar = types_type(types, type_dtype(types, type), types_shape(types, NULL, 0));
    ValueId  inside[2] = {build_splat_type(build, mask, 1), build_scalar(build, DTYPE_BOOL, 0)};
    ValueId  plain[2] = {x, emit_zeros(&r->e, scalar)};
    ValueId  padded;
    if (batch_is(r, 0)) { /* x[B,...]: nothing before or after the batch axis */
        DimId    zero = dims_const(&build->world->dims, 0);
        IntSpan  interior = attr_list(r, ATTR_PAD_interior);
        uint64_t words[3] = {word_of(r, after(zero.row, attr_list(r, ATTR_PAD_low))),
                             word_of(r, after(zero.row, attr_list(r, ATTR_PAD_high))),
                             interior.count ? word_of(r, after(0, interior)) : 0};
        padded = op_of(r, OP_PAD, plain, 2, words);
    } else {
        padded = batch_repeat(build, op_of(r, OP_PAD, plain, 2, r->e.attrs), r->size);
    }
    ValueId here = batch_repeat(build, op_of(r, OP_PAD, inside, 2, r->e.attrs), r->size);
    ValueId around = rank == 0 ? fill : build_along(build, fill, padded, 0);
    out[0] = build_select(build, here, padded, around);
    return true;
}

/* Starts that differ from sample to sample, kept in range: [B,rank]. */
static ValueId clamped(BatchRow *r, uint32_t starts, const DimId *whole, const DimId *part,
                       uint32_t rank) {
    Build  *build = r->e.build;
    ValueId parts[SHAPE_RANK_MAX], at = r->e.x[starts];
    for (uint32_t i = 0; i < rank; i++)
        parts[i] = size_vector(r, dims_sub(&build->world->dims, whole[i], part[i]));
    ValueId last = build_along(build, joined(r, parts, rank), at, 1);
    ValueId below = build_binary(build, OP_MIN, at, last);
    return build_binary(build, OP_MAX, below, build_splat(build, at, 0));
}
static ValueId starts_after_0(BatchRow *r, uint32_t starts) {
    Build  *build = r->e.build;
    DimId   one = dims_const(&build->world->dims, 1);
    ValueId zero = build_reshape(build, build_scalar(build, DTYPE_I64, 0), &one, 1);
    return joined(r, (ValueId[]){zero, r->e.x[starts]}, 2);
}
bool batch_DYNAMIC_SLICE(BatchRow *r, ValueId *out) {
    Build   *build = r->e.build;
    uint32_t rank = sample_rank(r, 0);
    bool     batched = batch_is(r, 0);
    DimId    whole[SHAPE_RANK_MAX], part[SHAPE_RANK_MAX];
    IntSpan  sizes = attr_list(r, ATTR_DYNAMIC_SLICE_sizes);
    if (rank == 0) { /* there is nothing to choose */
        out[0] = batch_lifted(r, 0);
        return true;
    }
    if (!batch_is(r, 1)) {
        uint64_t word = word_of(r, after(r->size.row, sizes));
        ValueId  operands[2] = {r->e.x[0], starts_after_0(r, 1)};
        out[0] = op_of(r, OP_DYNAMIC_SLICE, operands, 2, &word);
        return true;
    }
    for (uint32_t i = 0; i < rank; i++) {
        whole[i] = sample_dims(r, 0)[i];
        part[i] = (DimId){(uint32_t)sizes.at[i]};
    }
    IntSpan  none = {.count = 0}, first = {.at = {0}, .count = 1};
    IntSpan  slices = batched ? after(dims_const(&build->world->dims, 1).row, sizes) : sizes;
    ValueId  operands[2] = {r->e.x[0], clamped(r, 1, whole, part, rank)};
    uint64_t words[6];
    words[ATTR_GATHER_offset_dims] = word_of(r, range(1, rank));
    words[ATTR_GATHER_collapsed_dims] = 0;
    words[ATTR_GATHER_batch_dims] = word_of(r, batched ? first : none);
    words[ATTR_GATHER_index_batch_dims] = words[ATTR_GATHER_batch_dims];
    words[ATTR_GATHER_index_map] = word_of(r, range(batched, rank));
    words[ATTR_GATHER_slice_sizes] = word_of(r, slices);
    out[0] = op_of(r, OP_GATHER, operands, 2, words);
    return true;
}
bool batch_DYNAMIC_UPDATE_SLICE(BatchRow *r, ValueId *out) {
    uint32_t rank = sample_rank(r, 0);
    DimId    whole[SHAPE_RANK_MAX], part[SHAPE_RANK_MAX];
    uint64_t words[6];
    if (rank == 0) {
        out[0] = batch_lifted(r, 1);
        return true;
    }
    ValueId x = batch_lifted(r, 0), update = batch_lifted(r, 1);
    if (!batch_is(r, 2)) {
        ValueId operands[3] = {x, update, starts_after_0(r, 2)};
        out[0] = op_of(r, OP_DYNAMIC_UPDATE_SLICE, operands, 3, NULL);
        return true;
    }
    for (uint32_t i = 0; i < rank; i++) {
        whole[i] = sample_dims(r, 0)[i];
        part[i] = sample_dims(r, 1)[i];
    }
    ValueId operands[3] = {x, clamped(r, 2, whole, part, rank), update};
    words[ATTR_SCATTER_kind] = SCATTER_SET;
    words[ATTR_SCATTER_offset_dims] = word_of(r, range(1, rank));
    words[ATTR_SCATTER_collapsed_dims] = 0;
    words[ATTR_SCATTER_batch_dims] = word_of(r, range(0, 1));
    words[ATTR_SCATTER_index_batch_dims] = words[ATTR_SCATTER_batch_dims];
    words[ATTR_SCATTER_index_map] = word_of(r, range(1, rank));
    out[0] = op_of(r, OP_SCATTER, operands, 3, words);
    return true;
}

/* Sizes that data decides are one for all samples; shape is not batched. */
static bool resize(BatchRow *r, Opcode opcode, uint64_t axes, ValueId *out) {
    if (batch_is(r, 1)) return false;
    ValueId  parts[2] = {size_vector(r, r->size), r->e.x[1]};
    ValueId  operands[2] = {r->e.x[0], joined(r, parts, 2)};
    uint64_t words[2] = {word_of(r, after(r->size.row, attr_list(r, 0))), axes};
    out[0] = op_of(r, opcode, operands, 2, words);
    return true;
}
bool batch_DYNAMIC_RESHAPE(BatchRow *r, ValueId *out) {
    return resize(r, OP_DYNAMIC_RESHAPE, 0, out);
}
bool batch_DYNAMIC_BROADCAST(BatchRow *r, ValueId *out) {
    IntSpan axes = attr_list(r, ATTR_DYNAMIC_BROADCAST_axes);
    return resize(r, OP_DYNAMIC_BROADCAST, word_of(r, after(0, shifted(axes))), out);
}
bool batch_COMPACT(BatchRow *r, ValueId *out) {
    Build *build = r->e.build;
    if (batch_is(r, 0)) return false;
    ValueId operands[2] = {r->e.x[0], batch_move_axis(build, r->e.x[1], 0, 1)};
    OpId    made = build_row(build, OP_COMPACT, operands, 2, r->e.attrs, 2);
    out[0] = batch_move_axis(build, op_result(build->code, made, 0), 1, 0);
    out[1] = batch_repeat(build, op_result(build->code, made, 1), r->size);
    return true;
}

/* --- gather and scatter ----------------------------------------------------------------------- */
/* Where only x is batched, slices run over all of its new axis; where only indices are, results
 * have one more index axis; where both are, the axes walk in step. */
bool batch_GATHER(BatchRow *r, ValueId *out) {
    World   *world = r->e.build->world;
    bool     x = batch_is(r, 0), indices = batch_is(r, 1);
    IntSpan  offset = shifted(attr_list(r, ATTR_GATHER_offset_dims));
    IntSpan  collapsed = attr_list(r, ATTR_GATHER_collapsed_dims);
    IntSpan  batch = attr_list(r, ATTR_GATHER_batch_dims);
    IntSpan  index_batch = attr_list(r, ATTR_GATHER_index_batch_dims);
    IntSpan  map = attr_list(r, ATTR_GATHER_index_map);
    IntSpan  sizes = attr_list(r, ATTR_GATHER_slice_sizes);
    uint64_t words[6];
    if (x) {
        collapsed = shifted(collapsed);
        batch = shifted(batch);
        map = shifted(map);
        sizes = after(indices ? dims_const(&world->dims, 1).row : r->size.row, sizes);
    }
    if (indices) index_batch = shifted(index_batch);
    if (x && indices) {
        batch = after(0, batch);
        index_batch = after(0, index_batch);
    }
    if (x && !indices) offset = after(0, offset);
    words[ATTR_GATHER_offset_dims] = word_of(r, offset);
    words[ATTR_GATHER_collapsed_dims] = word_of(r, collapsed);
    words[ATTR_GATHER_batch_dims] = word_of(r, batch);
    words[ATTR_GATHER_index_batch_dims] = word_of(r, index_batch);
    words[ATTR_GATHER_index_map] = word_of(r, map);
    words[ATTR_GATHER_slice_sizes] = word_of(r, sizes);
    out[0] = op_of(r, OP_GATHER, r->e.x, 2, words);
    return true;
}
/* x and updates have the axis; indices walk in step with it or serve all of it. */
bool batch_SCATTER(BatchRow *r, ValueId *out) {
    bool     indices = batch_is(r, 1);
    IntSpan  offset = shifted(attr_list(r, ATTR_SCATTER_offset_dims));
    IntSpan  batch = shifted(attr_list(r, ATTR_SCATTER_batch_dims));
    IntSpan  index_batch = attr_list(r, ATTR_SCATTER_index_batch_dims);
    uint64_t words[6];
    if (indices) {
        batch = after(0, batch);
        index_batch = after(0, shifted(index_batch));
    } else {
        offset = after(0, offset);
    }
    words[ATTR_SCATTER_kind] = r->e.attrs[ATTR_SCATTER_kind];
    words[ATTR_SCATTER_offset_dims] = word_of(r, offset);
    words[ATTR_SCATTER_collapsed_dims] =
        word_of(r, shifted(attr_list(r, ATTR_SCATTER_collapsed_dims)));
    words[ATTR_SCATTER_batch_dims] = word_of(r, batch);
    words[ATTR_SCATTER_index_batch_dims] = word_of(r, index_batch);
    words[ATTR_SCATTER_index_map] = word_of(r, shifted(attr_list(r, ATTR_SCATTER_index_map)));
    ValueId operands[3] = {batch_lifted(r, 0), r->e.x[1], batch_lifted(r, 2)};
    out[0] = op_of(r, OP_SCATTER, operands, 3, words);
    return true;
}

/* --- products --------------------------------------------------------------------------------- */
/* z[batch, x free, y free]: both batched is one more batch axis; a batch of one of them is its
 * first free axis, which is then moved. */
bool batch_DOT_GENERAL(BatchRow *r, ValueId *out) {
    bool     x = batch_is(r, 0), y = batch_is(r, 1);
    IntSpan  x_batch = attr_list(r, ATTR_DOT_GENERAL_x_batch);
    IntSpan  y_batch = attr_list(r, ATTR_DOT_GENERAL_y_batch);
    IntSpan  x_contract = attr_list(r, ATTR_DOT_GENERAL_x_contract);
    IntSpan  y_contract = attr_list(r, ATTR_DOT_GENERAL_y_contract);
    uint32_t at = x_batch.count;
    if (x && y)
        at = 0;
    else if (y)
        at += sample_rank(r, 0) - x_batch.count - x_contract.count;
    if (x) {
        x_batch = shifted(x_batch);
        x_contract = shifted(x_contract);
    }
    if (y) {
        y_batch = shifted(y_batch);
        y_contract = shifted(y_contract);
    }
    if (x && y) {
        x_batch = after(0, x_batch);
        y_batch = after(0, y_batch);
    }
    uint64_t words[4];
    words[ATTR_DOT_GENERAL_x_batch] = word_of(r, x_batch);
    words[ATTR_DOT_GENERAL_y_batch] = word_of(r, y_batch);
    words[ATTR_DOT_GENERAL_x_contract] = word_of(r, x_contract);
    words[ATTR_DOT_GENERAL_y_contract] = word_of(r, y_contract);
    ValueId z = op_of(r, OP_DOT_GENERAL, r->e.x, 2, words);
    out[0] = type_id_some(build_type(r->e.build, z)) ? batch_move_axis(r->e.build, z, at, 0) : z;
    return true;
}

/* Axes [at, at + 1] of x as one, or one as two. */
static ValueId merge(Build *build, ValueId x, uint32_t at) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, x), n = 0;
    for (uint32_t i = 0; i < rank; i++) {
        DimId size = build_dims(build, x)[i];
        if (i == at + 1)
            dims[n - 1] = dims_mul(&build->world->dims, dims[n - 1], size);
        else
            dims[n++] = size;
    }
    return build_reshape(build, x, dims, n);
}
static ValueId split(Build *build, ValueId x, uint32_t at, DimId outer, DimId inner) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, x), n = 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (i == at) dims[n++] = outer;
        dims[n++] = i == at ? inner : build_dims(build, x)[i];
    }
    return build_reshape(build, x, dims, n);
}
/* Groups of w[O,...] are split off and become groups again around what the batch adds. */
static ValueId with_groups(BatchRow *r, ValueId w, uint32_t at, DimId groups) {
    Dims *dims = &r->e.build->world->dims;
    DimId each = dims_floordiv(dims, build_dims(r->e.build, w)[at], groups);
    return split(r->e.build, w, at, groups, each);
}
/* Images of all samples are one batch of images; windows of all samples are more outputs (of each
 * group). Both: as many groups as samples, if their number is known. */
bool batch_CONVOLUTION(BatchRow *r, ValueId *out) {
    Build   *build = r->e.build;
    Dims    *dims = &build->world->dims;
    ValueId  x = r->e.x[0], w = r->e.x[1], operands[2];
    bool     both = batch_is(r, 0) && batch_is(r, 1);
    int64_t  count = (int64_t)r->e.attrs[ATTR_CONVOLUTION_groups];
    DimId    groups = dims_const(dims, count), images = sample_dims(r, 0)[0];
    DimId    outputs = sample_dims(r, 1)[0], each = dims_floordiv(dims, outputs, groups);
    uint64_t words[ATTRS_MAX];
    for (uint32_t i = 0; i < op_infos[OP_CONVOLUTION].attrs_count; i++) words[i] = r->e.attrs[i];
    if (!batch_is(r, 1)) {
        operands[0] = merge(build, x, 0);
        operands[1] = w;
        out[0] = split(build, op_of(r, OP_CONVOLUTION, operands, 2, words), 0, r->size, images);
        return true;
    }
    if (build_rank(build, w) + 1 > SHAPE_RANK_MAX) return false;
    if (!both) { /* w[B,g,O/g,...] as w[g B O/g,...] */
        ValueId parts = batch_move_axis(build, with_groups(r, w, 1, groups), 0, 1);
        operands[0] = x;
        operands[1] = merge(build, merge(build, parts, 0), 0);
        ValueId y = op_of(r, OP_CONVOLUTION, operands, 2, words); /* [N, g B O/g, ...] */
        y = split(build, y, 1, groups, dims_mul(dims, r->size, each));
        y = batch_move_axis(build, split(build, y, 2, r->size, each), 2, 0);
        out[0] = merge(build, y, 2);
        return true;
    }
    if (!dims_is_const(dims, r->size) || dims_const_value(dims, r->size) == 0) return false;
    operands[0] = merge(build, batch_move_axis(build, x, 0, 1), 1); /* [N, B C, ...] */
    operands[1] = merge(build, w, 0);                               /* [B O, C/g, ...] */
    words[ATTR_CONVOLUTION_groups] = (uint64_t)(count * dims_const_value(dims, r->size));
    ValueId y = op_of(r, OP_CONVOLUTION, operands, 2, words); /* [N, B O, ...] */
    out[0] = batch_move_axis(build, split(build, y, 1, r->size, outputs), 1, 0);
    return true;
}

/* Its derivative has been made without it: what still uses it is not used (differentiate.c). */
bool batch_PULLBACK(BatchRow *r, ValueId *out) {
    const Code *code = r->e.build->code;
    for (uint32_t i = 0; i < code->ops.results_count[r->e.op.row]; i++) {
        ValueId zeros = emit_zeros(&r->e, build_type(r->e.build, op_result(code, r->e.op, i)));
        out[i] = batch_repeat(r->e.build, zeros, r->size);
    }
    return true;
}
