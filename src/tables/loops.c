/* Making and reading loop tables. Expressions are interned by content, folded where the result is
 * a constant that needs no arithmetic (guards that always hold); everything else is left to the
 * code generators. Linear in what is made. */
#include "tables/loops.h"

#include <math.h>

#include "arena/hash.h"

#define TABLE_SELF_ LoopBuffers
TABLE_INFO(LoopBuffers, loop_buffers_info, "loop_buffers", LOOP_BUFFERS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LoopExprs
TABLE_INFO(LoopExprs, loop_exprs_info, "loop_exprs", LOOP_EXPRS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LoopLets
TABLE_INFO(LoopLets, loop_lets_info, "loop_lets", LOOP_LETS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LoopNodes
TABLE_INFO(LoopNodes, loop_nodes_info, "loop_nodes", LOOP_NODES_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LoopParams
TABLE_INFO(LoopParams, loop_params_info, "loop_params", LOOP_PARAMS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LoopKernels
TABLE_INFO(LoopKernels, loop_kernels_info, "loop_kernels", LOOP_KERNELS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LoopSteps
TABLE_INFO(LoopSteps, loop_steps_info, "loop_steps", LOOP_STEPS_COLUMNS);
#undef TABLE_SELF_

enum { ROWS_MAX = 1 << 20 };

void loops_open(Loops *loops, Budget *budget) {
    memset(loops, 0, sizeof *loops);
    strings_open(&loops->strings, ROWS_MAX, budget);
    dims_open(&loops->dims, ROWS_MAX, budget);
    attrs_open(&loops->lists, ROWS_MAX, budget);
    table_open(&loops->kernels.table, &loop_kernels_info, ROWS_MAX, budget);
    table_open(&loops->params.table, &loop_params_info, ROWS_MAX, budget);
    table_open(&loops->buffers.table, &loop_buffers_info, ROWS_MAX, budget);
    table_open(&loops->exprs.table, &loop_exprs_info, ROWS_MAX, budget);
    table_open(&loops->lets.table, &loop_lets_info, ROWS_MAX, budget);
    table_open(&loops->nodes.table, &loop_nodes_info, ROWS_MAX, budget);
    table_open(&loops->steps.table, &loop_steps_info, ROWS_MAX, budget);
    intern_open(&loops->expr_index, ROWS_MAX, budget);
}

void loops_close(Loops *loops) {
    strings_close(&loops->strings);
    dims_close(&loops->dims);
    attrs_close(&loops->lists);
    table_close(&loops->kernels.table);
    table_close(&loops->params.table);
    table_close(&loops->buffers.table);
    table_close(&loops->exprs.table);
    table_close(&loops->lets.table);
    table_close(&loops->nodes.table);
    table_close(&loops->steps.table);
    intern_close(&loops->expr_index);
}

/* --- kernels, parameters, buffers ------------------------------------------------------------- */
static uint32_t newest(const Loops *loops) {
    ASSERT(loops->kernels.table.count > 1);
    return loops->kernels.table.count - 1;
}

KernelId loops_add_kernel(Loops *loops, OpId op) {
    LoopKernels *kernels = &loops->kernels;
    uint32_t     row = table_add(&kernels->table);
    kernels->nodes_first[row] = loops->nodes.table.count;
    kernels->buffers_first[row] = loops->buffers.table.count;
    kernels->params_first[row] = loops->params.table.count;
    kernels->steps_first[row] = loops->steps.table.count;
    kernels->nodes_count[row] = kernels->buffers_count[row] = kernels->params_count[row] =
        kernels->steps_count[row] = 0;
    kernels->same[row] = (KernelId){row};
    kernels->hash_low[row] = kernels->hash_high[row] = 0;
    kernels->op[row] = op;
    return (KernelId){row};
}

DimId loops_param(Loops *loops, const Dims *world_dims, String name, DimId world) {
    LoopKernels *kernels = &loops->kernels;
    LoopParams  *params = &loops->params;
    uint32_t     kernel = newest(loops), first = kernels->params_first[kernel];
    for (uint32_t i = 0; i < kernels->params_count[kernel]; i++)
        if (params->world[first + i].row == world.row) return params->symbol[first + i];
    const DimRows *from = &world_dims->rows;
    uint32_t       row = table_add(&params->table);
    DimId          symbol = dims_symbol(&loops->dims, strings_add(&loops->strings, name));
    bool kept = dims_set_range(&loops->dims, symbol, from->lo[world.row], from->hi[world.row]) &&
                dims_set_congruence(&loops->dims, symbol, from->modulus[world.row],
                                    from->residue[world.row]);
    ASSERT(kept); /* the name is one size of the world, in all kernels */
    (void)kept;
    dims_set_hint(&loops->dims, symbol, from->hint[world.row]);
    params->symbol[row] = symbol;
    params->world[row] = world;
    kernels->params_count[kernel]++;
    return symbol;
}

DimId loops_fresh(Loops *loops, char prefix) {
    char     text[16] = {prefix};
    uint32_t number = loops->symbols++, count = 1;
    for (uint32_t rest = number; count == 1 || rest != 0; rest /= 10) count++;
    for (uint32_t at = count, rest = number; at-- > 1; rest /= 10)
        text[at] = (char)('0' + rest % 10);
    return dims_symbol(&loops->dims, strings_add(&loops->strings, (String){text, count}));
}

ListId loops_list(Loops *loops, const DimId *dims, uint32_t count) {
    int64_t rows[LIST_MAX];
    ASSERT(count <= LIST_MAX);
    for (uint32_t i = 0; i < count; i++) rows[i] = dims[i].row;
    return attrs_list(&loops->lists, rows, count);
}

BufferId loops_add_buffer(Loops *loops, BufferScope scope, Dtype dtype, const DimId *dims,
                          uint32_t rank) {
    LoopBuffers *buffers = &loops->buffers;
    uint32_t     row = table_add(&buffers->table);
    buffers->scope[row] = (uint8_t)scope;
    buffers->dtype[row] = (uint8_t)dtype;
    buffers->written[row] = false;
    buffers->arg[row] = 0;
    buffers->shares[row] = 0;
    buffers->dims[row] = loops_list(loops, dims, rank);
    buffers->strides[row] = (ListId){0};
    loops->kernels.buffers_count[newest(loops)]++;
    return (BufferId){row};
}

/* --- expressions ------------------------------------------------------------------------------ */
typedef struct ExprKey {
    ExprKind kind;
    Dtype    dtype;
    uint16_t opcode;
    ExprId   operands[3];
    uint64_t word;
} ExprKey;

static bool expr_same_content(const void *owner, uint32_t row, const void *key) {
    const LoopExprs *exprs = &((const Loops *)owner)->exprs;
    const ExprKey   *k = key;
    return exprs->kind[row] == k->kind && exprs->dtype[row] == k->dtype &&
           exprs->opcode[row] == k->opcode && exprs->a[row].row == k->operands[0].row &&
           exprs->b[row].row == k->operands[1].row && exprs->c[row].row == k->operands[2].row &&
           exprs->word[row] == k->word;
}
static ExprId expr_add(Loops *loops, ExprKey key) {
    LoopExprs *exprs = &loops->exprs;
    uint64_t   hash = hash_mix((uint64_t)key.kind << 32 | (uint64_t)key.dtype << 16 | key.opcode,
                               (uint64_t)key.operands[0].row << 32 | key.operands[1].row);
    hash = hash_mix(hash_mix(hash, key.operands[2].row), key.word);
    uint32_t row = intern_find(&loops->expr_index, hash, expr_same_content, loops, &key);
    if (row != 0) return (ExprId){row};
    row = table_add(&exprs->table);
    exprs->kind[row] = (uint8_t)key.kind;
    exprs->dtype[row] = (uint8_t)key.dtype;
    exprs->opcode[row] = key.opcode;
    exprs->a[row] = key.operands[0];
    exprs->b[row] = key.operands[1];
    exprs->c[row] = key.operands[2];
    exprs->word[row] = key.word;
    intern_add(&loops->expr_index, hash, row);
    return (ExprId){row};
}

ExprId loops_const(Loops *loops, Dtype dtype, double number) {
    if (!dtype_is_float(dtype)) return loops_const_int(loops, dtype, (int64_t)number);
    return expr_add(
        loops,
        (ExprKey){.kind = EXPR_CONST, .dtype = dtype_compute(dtype), .word = word_of_f64(number)});
}
ExprId loops_const_int(Loops *loops, Dtype dtype, int64_t number) {
    if (dtype_is_float(dtype)) return loops_const(loops, dtype, (double)number);
    return expr_add(loops, (ExprKey){.kind = EXPR_CONST, .dtype = dtype, .word = (uint64_t)number});
}
static bool is_true(const Loops *loops, ExprId expr) {
    return expr.row == 0 ||
           (loops->exprs.kind[expr.row] == EXPR_CONST && loops->exprs.word[expr.row] != 0);
}
static bool is_false(const Loops *loops, ExprId expr) {
    return expr.row != 0 && loops->exprs.kind[expr.row] == EXPR_CONST &&
           loops->exprs.word[expr.row] == 0;
}
ExprId loops_load(Loops *loops, LoopAccess access, ExprId guard) {
    Dtype dtype = (Dtype)loops->buffers.dtype[access_buffer(access).row];
    ASSERT(list_count(&loops->lists, access_index(access)) ==
           buffer_rank(loops, access_buffer(access)));
    if (is_false(loops, guard)) return loops_const(loops, dtype, 0);
    return expr_add(loops, (ExprKey){.kind = EXPR_LOAD,
                                     .dtype = dtype_compute(dtype),
                                     .operands = {guard},
                                     .word = access});
}
ExprId loops_index(Loops *loops, Dtype dtype, DimId place) {
    if (dims_is_const(&loops->dims, place))
        return loops_const_int(loops, dtype, dims_const_value(&loops->dims, place));
    return expr_add(
        loops, (ExprKey){.kind = EXPR_INDEX, .dtype = dtype_compute(dtype), .word = place.row});
}
ExprId loops_less(Loops *loops, DimId a, DimId b) {
    if (dims_provably_below(&loops->dims, a, b)) return loops_const_int(loops, DTYPE_BOOL, 1);
    if (dims_provably_at_most(&loops->dims, b, a)) return loops_const_int(loops, DTYPE_BOOL, 0);
    return expr_add(
        loops,
        (ExprKey){.kind = EXPR_LESS, .dtype = DTYPE_BOOL, .word = (uint64_t)a.row << 32 | b.row});
}
ExprId loops_and(Loops *loops, ExprId a, ExprId b) {
    if (is_true(loops, a)) return is_true(loops, b) ? (ExprId){0} : b;
    if (is_true(loops, b) || a.row == b.row) return a;
    return loops_op(loops, OP_AND, DTYPE_BOOL, a, b, (ExprId){0}, 0);
}
ExprId loops_op(Loops *loops, Opcode opcode, Dtype dtype, ExprId a, ExprId b, ExprId c,
                uint64_t word) {
    if (opcode == OP_SELECT && loops->exprs.kind[a.row] == EXPR_CONST)
        return is_false(loops, a) ? c : b;
    if (opcode == OP_AND && dtype == DTYPE_BOOL && (is_false(loops, a) || is_false(loops, b)))
        return is_false(loops, a) ? a : b;
    if (opcode == OP_AND && dtype == DTYPE_BOOL && (is_true(loops, a) || is_true(loops, b)))
        return is_true(loops, a) ? b : a;
    return expr_add(loops, (ExprKey){.kind = EXPR_OP,
                                     .dtype = dtype_compute(dtype),
                                     .opcode = (uint16_t)opcode,
                                     .operands = {a, b, c},
                                     .word = word});
}
ExprId loops_rng(Loops *loops, ExprId seed, DimId element, uint16_t stream) {
    return expr_add(loops, (ExprKey){.kind = EXPR_RNG,
                                     .dtype = DTYPE_I32,
                                     .opcode = stream,
                                     .operands = {seed},
                                     .word = element.row});
}

DimId loops_let(Loops *loops, ExprId value) {
    LoopLets *lets = &loops->lets;
    for (uint32_t row = 1; row < lets->table.count; row++)
        if (lets->value[row].row == value.row) return lets->symbol[row];
    uint32_t row = table_add(&lets->table);
    lets->symbol[row] = loops_fresh(loops, 'v');
    lets->value[row] = value;
    dims_set_any(&loops->dims, lets->symbol[row]);
    return lets->symbol[row];
}
ExprId loops_let_value(const Loops *loops, DimId symbol) {
    for (uint32_t row = 1; row < loops->lets.table.count; row++)
        if (loops->lets.symbol[row].row == symbol.row) return loops->lets.value[row];
    return (ExprId){0};
}

ExprId loops_identity(Loops *loops, ReduceKind kind, Dtype dtype) {
    bool    floats = dtype_is_float(dtype), low = kind == REDUCE_MAX;
    int64_t bits = (int64_t)dtype_bytes(dtype) * 8, top = (int64_t)(UINT64_MAX >> (65 - bits));
    switch (kind) {
    case REDUCE_PROD: return loops_const(loops, dtype, 1);
    case REDUCE_AND: /* all bits */
        if (dtype == DTYPE_BOOL) return loops_const_int(loops, dtype, 1);
        return loops_const_int(loops, dtype,
                               dtype_infos[dtype].class == DTYPE_CLASS_UINT ? top * 2 + 1 : -1);
    case REDUCE_MAX:
    case REDUCE_MIN:
        if (floats) return loops_const(loops, dtype, low ? -INFINITY : INFINITY);
        if (dtype == DTYPE_BOOL) return loops_const_int(loops, dtype, !low);
        if (dtype_infos[dtype].class == DTYPE_CLASS_UINT)
            return loops_const_int(loops, dtype, low ? 0 : top * 2 + 1);
        return loops_const_int(loops, dtype, low ? -top - 1 : top);
    default: return loops_const(loops, dtype, 0);
    }
}

/* --- nodes ------------------------------------------------------------------------------------ */
static NodeId add_node(Loops *loops, NodeKind kind) {
    LoopNodes *nodes = &loops->nodes;
    uint32_t   row = table_add(&nodes->table);
    nodes->kind[row] = (uint8_t)kind;
    nodes->bind[row] = nodes->reduce[row] = nodes->unroll[row] = 0;
    nodes->factor[row] = 0;
    nodes->size[row] = 1;
    nodes->var[row] = nodes->extent[row] = (DimId){0};
    nodes->access[row] = 0;
    nodes->value[row] = nodes->guard[row] = (ExprId){0};
    loops->kernels.nodes_count[newest(loops)]++;
    return (NodeId){row};
}
NodeId loops_phase(Loops *loops) { return add_node(loops, NODE_PHASE); }
NodeId loops_loop(Loops *loops, DimId var, DimId extent, LoopBind bind) {
    NodeId node = add_node(loops, NODE_LOOP);
    loops->nodes.var[node.row] = var;
    loops->nodes.extent[node.row] = extent;
    loops->nodes.bind[node.row] = (uint8_t)bind;
    return node;
}
void loops_end(Loops *loops, NodeId open) {
    loops->nodes.size[open.row] = loops->nodes.table.count - open.row;
}
NodeId loops_store(Loops *loops, LoopAccess access, ExprId value, ExprId guard) {
    NodeId node = add_node(loops, NODE_STORE);
    loops->nodes.access[node.row] = access;
    loops->nodes.value[node.row] = value;
    loops->nodes.guard[node.row] = guard;
    loops->buffers.written[access_buffer(access).row] = true;
    return node;
}
NodeId loops_reduce(Loops *loops, ReduceKind kind, LoopAccess access, ExprId value, ExprId guard) {
    NodeId node = loops_store(loops, access, value, guard);
    loops->nodes.kind[node.row] = NODE_REDUCE;
    loops->nodes.reduce[node.row] = (uint8_t)kind;
    return node;
}

/* --- places ----------------------------------------------------------------------------------- */
static DimId product(Dims *dims, DimId a, DimId b) { /* nil where one is */
    return dim_id_some(a) && dim_id_some(b) ? dims_mul(dims, a, b) : (DimId){0};
}
DimId loops_stride(Loops *loops, BufferId buffer, uint32_t axis) {
    ListId strides = loops->buffers.strides[buffer.row], dims = loops->buffers.dims[buffer.row];
    if (list_id_some(strides)) return list_dim(loops, strides, axis);
    DimId stride = dims_const(&loops->dims, 1);
    for (uint32_t i = list_count(&loops->lists, dims); i-- > axis + 1;)
        stride = product(&loops->dims, list_dim(loops, dims, i), stride);
    return stride;
}
DimId loops_address(Loops *loops, LoopAccess access) {
    BufferId buffer = access_buffer(access);
    DimId    sum = dims_const(&loops->dims, 0);
    for (uint32_t i = 0; i < buffer_rank(loops, buffer) && dim_id_some(sum); i++) {
        DimId index = list_dim(loops, access_index(access), i);
        DimId term = product(&loops->dims, index, loops_stride(loops, buffer, i));
        sum = dim_id_some(term) ? dims_add(&loops->dims, sum, term) : term;
    }
    return sum;
}
DimId loops_elements(Loops *loops, BufferId buffer) {
    DimId elements = dims_const(&loops->dims, 1);
    for (uint32_t i = 0; i < buffer_rank(loops, buffer); i++)
        elements =
            product(&loops->dims, elements, list_dim(loops, loops->buffers.dims[buffer.row], i));
    return elements;
}

KernelId loops_of_op(const Loops *loops, OpId op) {
    uint32_t low = 1, high = loops->kernels.table.count; /* kernels stand in the order of rows */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (loops->kernels.op[middle].row < op.row)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < loops->kernels.table.count && loops->kernels.op[low].row == op.row;
    return (KernelId){found ? low : 0};
}
