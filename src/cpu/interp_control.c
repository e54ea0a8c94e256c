/* Control flow: blocks run as often as their operator says. What is carried lives in the results of
 * the operator; what a repetition makes is dropped at its end, so a loop takes the memory of one
 * repetition. Blocks see the values around them, because values are found by row. */
#include "cpu/interp_inner.h"

enum { CALLS_MAX = 64 };

static BlockId nth_block(const Interp *it, OpId op, uint32_t i) {
    return (BlockId){it->world->code.ops.blocks_first[op.row].row + i};
}
static Tensor *block_arg(Interp *it, BlockId block, uint32_t i) {
    return &it->values[it->world->code.blocks.args_first[block.row].row + i];
}
static const Tensor *returned(const Interp *it, BlockId block, uint32_t i) {
    const Code *code = &it->world->code;
    return &it->values[op_operand(code, block_return(code, block), i).row];
}
static bool run_body(Interp *it, OpId op, BlockId block) {
    interp_block(it, block);
    it->op = op;
    return it->status == STATUS_OK;
}
static void copy_results(Interp *it, BlockId block) {
    for (uint32_t i = 0; i < it->world->code.ops.results_count[it->op.row]; i++)
        walk_copy_all(interp_out(it, i), returned(it, block, i));
}

void interp_branch(Interp *it) { /* if: a bool, true is block 0; switch: an i64, clamped */
    OpId    op = it->op;
    int64_t last = it->world->code.ops.blocks_count[op.row] - 1;
    int64_t which = interp_load(interp_in(it, 0), 0).i;
    if (it->opcode == OP_IF) which = which == 0;
    if (which > last) which = last;
    BlockId block = nth_block(it, op, which < 0 ? 0 : (uint32_t)which);
    if (run_body(it, op, block)) copy_results(it, block);
}

/* Room for what is returned, beside what is carried: a block may return its arguments crosswise. */
static Tensor *make_next(Interp *it, uint32_t count) {
    Tensor *next = ARENA_ARRAY(it->arena, Tensor, count);
    for (uint32_t i = 0; i < count; i++) {
        next[i] = *interp_out(it, i);
        next[i].data = arena_push(it->arena, tensor_bytes(&next[i]), 64);
    }
    return next;
}
static void carry_on(Interp *it, BlockId block, Tensor *next, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) walk_copy_all(&next[i], returned(it, block, i));
    for (uint32_t i = 0; i < count; i++) walk_copy_all(interp_out(it, i), &next[i]);
}

void interp_while(Interp *it) {
    OpId     op = it->op;
    BlockId  test = nth_block(it, op, 0), body = nth_block(it, op, 1);
    uint32_t count = interp_in_count(it);
    Tensor  *next = make_next(it, count);
    for (uint32_t i = 0; i < count; i++) {
        walk_copy_all(interp_out(it, i), interp_in(it, i));
        *block_arg(it, test, i) = *block_arg(it, body, i) = *interp_out(it, i);
    }
    ArenaMark mark = arena_mark(it->arena);
    for (;;) {
        if (!run_body(it, op, test) || interp_load(returned(it, test, 0), 0).i == 0) return;
        if (!run_body(it, op, body)) return;
        carry_on(it, body, next, count);
        arena_release(it->arena, mark);
    }
}

/* Row `row` of a tensor, in its memory. */
static Tensor row_of(const Tensor *x, int64_t row) {
    Tensor  result = {.dtype = x->dtype, .rank = x->rank - 1};
    int64_t bytes = dtype_bytes(x->dtype);
    for (uint32_t i = 0; i < result.rank; i++) {
        result.shape[i] = x->shape[i + 1];
        bytes *= x->shape[i + 1];
    }
    result.data = (char *)x->data + row * bytes;
    return result;
}
void interp_scan(Interp *it) {
    OpId     op = it->op;
    BlockId  body = nth_block(it, op, 0);
    uint32_t count = interp_in_count(it), carries = (uint32_t)it->attrs[ATTR_SCAN_carries];
    uint32_t results = it->world->code.ops.results_count[op.row];
    bool     reverse = it->attrs[ATTR_SCAN_reverse] != 0;
    int64_t  length = it->attrs[ATTR_SCAN_length] != 0 ? it->dims[it->attrs[ATTR_SCAN_length]]
                                                       : interp_in(it, carries)->shape[0];
    Tensor  *next = make_next(it, carries);
    int64_t *index = ARENA_ARRAY(it->arena, int64_t, 1);
    *block_arg(it, body, 0) = (Tensor){.dtype = DTYPE_I64, .data = index};
    for (uint32_t i = 0; i < carries; i++) {
        walk_copy_all(interp_out(it, i), interp_in(it, i));
        *block_arg(it, body, i + 1) = *interp_out(it, i);
    }
    ArenaMark mark = arena_mark(it->arena);
    for (int64_t step = 0; step < length; step++) {
        *index = reverse ? length - 1 - step : step;
        for (uint32_t i = carries; i < count; i++)
            *block_arg(it, body, i + 1) = row_of(interp_in(it, i), *index);
        if (!run_body(it, op, body)) return;
        for (uint32_t i = carries; i < results; i++) {
            Tensor row = row_of(interp_out(it, i), *index);
            walk_copy_all(&row, returned(it, body, i));
        }
        carry_on(it, body, next, carries);
        arena_release(it->arena, mark);
    }
}

void interp_call(Interp *it) { /* custom_grad names its graph in the same place */
    const Code *code = &it->world->code;
    OpId        op = it->op;
    GraphId     graph = code_find_graph(code, (StrId){(uint32_t)it->attrs[ATTR_CALL_graph]});
    if (!graph_id_some(graph) || it->calls == CALLS_MAX) {
        interp_fail_kernel(it);
        return;
    }
    BlockId block = code->graphs.block[graph.row];
    for (uint32_t i = 0; i < interp_in_count(it); i++) *block_arg(it, block, i) = *interp_in(it, i);
    it->calls++;
    if (run_body(it, op, block)) copy_results(it, block);
    it->calls--;
}
