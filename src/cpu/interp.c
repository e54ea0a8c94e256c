/* Running a graph row by row: binding sizes, allocating results, the table of rules, parameters,
 * and what a return hands out. The rules themselves are in interp_<family>.c.
 *
 * Lifetimes: values live in scratch until the run ends; temporaries of a rule until the rule ends;
 * outputs are copied to the caller's arena, so that they share nothing with inputs or state. */
#include "cpu/interp_inner.h"

static void fail(Interp *it, Status status) {
    if (it->status == STATUS_OK) it->status = status;
}
void interp_fail(Interp *it, DiagKind kind, String what) {
    (void)diags_add(it->diags, kind, it->op.row, diags_str(it->diags, what), 0, 0, 0);
    fail(it, STATUS_INVALID);
}
void interp_fail_kernel(Interp *it) {
    (void)diags_add(it->diags, DIAG_NO_KERNEL, it->op.row, 0, 0, 0, 0);
    fail(it, STATUS_UNSUPPORTED);
}

/* --- state ------------------------------------------------------------------------------------ */
static StrId parameter_name(const Interp *it, OpId op) {
    return (StrId){(uint32_t)op_attrs(it->world, &it->world->code, op)[ATTR_PARAMETER_name]};
}
static Tensor *find_state(const Interp *it, StrId name) {
    for (uint32_t i = 0; i < it->state_count; i++)
        if (it->state[i].name.row == name.row) return &it->state[i].tensor;
    return NULL;
}
static bool tensors_alike(const Tensor *a, const Tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}
static void run_parameter(Interp *it) {
    StrId    id = parameter_name(it, it->op);
    Tensor  *found = find_state(it, id), *y = interp_out(it, 0);
    uint64_t name = diags_str(it->diags, strings_get(&it->world->strings, id));
    if (found == NULL) {
        (void)diags_add(it->diags, DIAG_STATE_MISSING, it->op.row, name, 0, 0, 0);
        fail(it, STATUS_INVALID);
    } else if (!tensors_alike(found, y)) {
        (void)diags_add(it->diags, DIAG_STATE_TENSOR, it->op.row, name,
                        it->attrs[ATTR_PARAMETER_type], 0, 0);
        fail(it, STATUS_INVALID);
    } else {
        walk_copy_all(y, found);
    }
}
/* After the last row: the values of all assigns, in row order, become the state. */
static void commit_state(Interp *it) {
    const Code *code = &it->world->code;
    for (uint32_t row = code->blocks.op_first[it->block.row];
         row < code->blocks.op_last[it->block.row]; row++) {
        it->op = (OpId){row};
        if (code->ops.opcode[row] != OP_ASSIGN || code->ops.block[row].row != it->block.row)
            continue;
        OpId parameter = value_op(code, op_operand(code, it->op, 0));
        walk_copy_all(find_state(it, parameter_name(it, parameter)), interp_in(it, 1));
    }
}

/* --- effects ---------------------------------------------------------------------------------- */
static void run_assert(Interp *it) {
    const Tensor *condition = interp_in(it, 0);
    StrId         message = {(uint32_t)it->attrs[ATTR_ASSERT_message]};
    bool          is_float = dtype_is_float(condition->dtype), held = true;
    for (int64_t i = 0; i < tensor_elements(condition); i++) {
        Num number = interp_load(condition, i);
        held = held && (is_float ? number.f != 0 : number.i != 0);
    }
    if (held) return;
    (void)diags_add(it->diags, DIAG_ASSERT_FAILED, it->op.row,
                    diags_str(it->diags, strings_get(&it->world->strings, message)), 0, 0, 0);
    fail(it, STATUS_INVALID);
}
static void run_print(Interp *it) {
    uint32_t count = interp_in_count(it);
    Tensor  *values = ARENA_ARRAY(it->arena, Tensor, count + 1);
    for (uint32_t i = 0; i < count; i++) values[i] = *interp_in(it, i);
    if (it->diags->print != NULL)
        it->diags->print(it->diags->print_context, it->world, it->op.row, values, count);
}
static void run_nothing(Interp *it) { (void)it; } /* return and assign act at the end of the run */

static InterpFn run_fused;

/* --- the rules -------------------------------------------------------------------------------- */
/* moves: the rule copies elements as bytes, or treats complex ones itself. */
typedef struct Rule {
    InterpFn *fn;
    bool      moves;
} Rule;
static const Rule rules[OP_COUNT] = {
    [OP_NEG] = {interp_elementwise, true},
    [OP_ABS] = {interp_elementwise, false},
    [OP_SIGN] = {interp_elementwise, false},
    [OP_FLOOR] = {interp_elementwise, false},
    [OP_ROUND_EVEN] = {interp_elementwise, false},
    [OP_EXP] = {interp_elementwise, false},
    [OP_EXPM1] = {interp_elementwise, false},
    [OP_LOG] = {interp_elementwise, false},
    [OP_LOG1P] = {interp_elementwise, false},
    [OP_SQRT] = {interp_elementwise, false},
    [OP_RSQRT] = {interp_elementwise, false},
    [OP_SIN] = {interp_elementwise, false},
    [OP_COS] = {interp_elementwise, false},
    [OP_TANH] = {interp_elementwise, false},
    [OP_LOGISTIC] = {interp_elementwise, false},
    [OP_ERF] = {interp_elementwise, false},
    [OP_ERF_INV] = {interp_elementwise, false},
    [OP_LGAMMA] = {interp_elementwise, false},
    [OP_POLYGAMMA] = {interp_elementwise, false},
    [OP_BESSEL_IE] = {interp_elementwise, false},
    [OP_NOT] = {interp_elementwise, false},
    [OP_ADD] = {interp_elementwise, true},
    [OP_SUB] = {interp_elementwise, true},
    [OP_MUL] = {interp_elementwise, true},
    [OP_DIV] = {interp_elementwise, true},
    [OP_POW] = {interp_elementwise, false},
    [OP_REM] = {interp_elementwise, false},
    [OP_MAX] = {interp_elementwise, false},
    [OP_MIN] = {interp_elementwise, false},
    [OP_ATAN2] = {interp_elementwise, false},
    [OP_AND] = {interp_elementwise, false},
    [OP_OR] = {interp_elementwise, false},
    [OP_XOR] = {interp_elementwise, false},
    [OP_SHL] = {interp_elementwise, false},
    [OP_SHR_ARITH] = {interp_elementwise, false},
    [OP_SHR_LOGICAL] = {interp_elementwise, false},
    [OP_NEXTAFTER] = {interp_nextafter, false},
    [OP_IGAMMA] = {interp_elementwise, false},
    [OP_COMPARE] = {interp_elementwise, false},
    [OP_IS_FINITE] = {interp_elementwise, false},
    [OP_SELECT] = {interp_select, true},
    [OP_CONVERT] = {interp_elementwise, false},
    [OP_BITCAST] = {interp_bitcast, true},
    [OP_COMPLEX] = {interp_complex, true},
    [OP_REAL] = {interp_part, true},
    [OP_IMAG] = {interp_part, true},
    [OP_CONSTANT] = {interp_constant, true},
    [OP_IOTA] = {interp_iota, false},
    [OP_RNG_BITS] = {interp_rng_bits, false},
    [OP_BROADCAST_IN_DIM] = {interp_broadcast_in_dim, true},
    [OP_RESHAPE] = {interp_same, true},
    [OP_TRANSPOSE] = {interp_transpose, true},
    [OP_SLICE] = {interp_slice, true},
    [OP_PAD] = {interp_pad, true},
    [OP_CONCAT] = {interp_concat, true},
    [OP_REVERSE] = {interp_reverse, true},
    [OP_DYNAMIC_SLICE] = {interp_dynamic_slice, true},
    [OP_DYNAMIC_UPDATE_SLICE] = {interp_dynamic_update_slice, true},
    [OP_GATHER] = {interp_gather, true},
    [OP_SCATTER] = {interp_scatter, false},
    [OP_DIM_SIZE] = {interp_dim_size, true},
    [OP_COPY] = {interp_same, true},
    [OP_REDUCE] = {interp_reduce, false},
    [OP_ARG_REDUCE] = {interp_arg_reduce, false},
    [OP_CUMULATIVE] = {interp_cumulative, false},
    [OP_SORT] = {interp_sort, false},
    [OP_COMPACT] = {interp_compact, true},
    [OP_DYNAMIC_RESHAPE] = {interp_same, true},
    [OP_DYNAMIC_BROADCAST] = {interp_broadcast_in_dim, true},
    [OP_DOT_GENERAL] = {interp_dot_general, false},
    [OP_CONVOLUTION] = {interp_convolution, false},
    [OP_REDUCE_WINDOW] = {interp_reduce_window, false},
    [OP_FFT] = {interp_fft, true},
    [OP_CHOLESKY] = {interp_cholesky, false},
    [OP_TRIANGULAR_SOLVE] = {interp_triangular_solve, false},
    [OP_LU] = {interp_lu, false},
    [OP_QR] = {interp_qr, false},
    [OP_EIGH] = {interp_eigh, false},
    [OP_SVD] = {interp_svd, false},
    [OP_RETURN] = {run_nothing, true},
    [OP_IF] = {interp_branch, true},
    [OP_SWITCH] = {interp_branch, true},
    [OP_WHILE] = {interp_while, true},
    [OP_SCAN] = {interp_scan, true},
    [OP_CALL] = {interp_call, true},
    [OP_CUSTOM_GRAD] = {interp_call, true},
    [OP_FUSED] = {run_fused, true},
    [OP_STOP_GRADIENT] = {interp_same, true},
    [OP_BARRIER] = {interp_same, true},
    [OP_COPY_OUT] = {interp_same, true},
    [OP_COPY_BACK] = {interp_same, true},
    [OP_AWAIT] = {run_nothing, true},
    [OP_PARAMETER] = {run_parameter, true},
    [OP_ASSIGN] = {run_nothing, true},
    [OP_ASSERT] = {run_assert, false},
    [OP_PRINT] = {run_print, true},
};
bool interp_has(Opcode opcode) { return rules[opcode].fn != NULL; }

/* --- rows ------------------------------------------------------------------------------------- */
static bool dtype_runs(const Interp *it, Dtype dtype) {
    if (dtype == DTYPE_C64 || dtype == DTYPE_C128) return rules[it->opcode].moves;
    return (dtype >= DTYPE_BOOL && dtype <= DTYPE_F64) || dtype_is_f8(dtype);
}

static void set_shape(const Interp *it, TypeId type, Tensor *tensor) {
    const Types *types = &it->world->types;
    tensor->rank = type_rank(types, type);
    for (uint32_t i = 0; i < tensor->rank; i++)
        tensor->shape[i] = it->dims[type_dims(types, type)[i].row];
}
static Tensor make_tensor(Interp *it, TypeId type) {
    ASSERT(type_id_some(type));
    Tensor tensor = {.dtype = type_dtype(&it->world->types, type)};
    set_shape(it, type, &tensor);
    tensor.data = arena_push(it->arena, tensor_bytes(&tensor), 64);
    return tensor;
}
/* Whether this row takes sizes from data: from an operand before it runs, or counting them. */
static bool late_here(const Interp *it, bool counts) {
    uint32_t next = it->stage + 1;
    return next < it->shapes->stages_count && it->shapes->stages[next].op.row == it->op.row &&
           shape_stage_counts(it->shapes, next) == counts;
}
static void resize(Interp *it, const Tensor *sizes) {
    if (shape_program_resize(it->shapes, ++it->stage, sizes->data, it->dims, it->diags)) return;
    fail(it, STATUS_INVALID);
}
static void run_row(Interp *it) {
    const Code *code = &it->world->code;
    it->opcode = (Opcode)code->ops.opcode[it->op.row];
    it->attrs = op_attrs(it->world, code, it->op);
    bool runs = rules[it->opcode].fn != NULL;
    if (late_here(it, false)) resize(it, interp_in(it, 1));
    if (it->status != STATUS_OK) return;
    for (uint32_t i = 0; i < interp_in_count(it); i++)
        runs = runs && dtype_runs(it, interp_in(it, i)->dtype);
    for (uint32_t i = 0; runs && i < code->ops.results_count[it->op.row]; i++) {
        TypeId type = value_type(it->world, op_result(code, it->op, i));
        runs = dtype_runs(it, type_dtype(&it->world->types, type));
        if (runs) *interp_out(it, i) = make_tensor(it, type);
    }
    if (!runs) {
        interp_fail_kernel(it);
        return;
    }
    ArenaMark mark = arena_mark(it->arena);
    rules[it->opcode].fn(it);
    arena_release(it->arena, mark);
    if (!late_here(it, true)) return;
    resize(it, interp_out(it, 1));
    set_shape(it, value_type(it->world, op_result(code, it->op, 0)), interp_out(it, 0));
}
void interp_block(Interp *it, BlockId block) {
    const Code *code = &it->world->code;
    for (uint32_t row = code->blocks.op_first[block.row];
         row < code->blocks.op_last[block.row] && it->status == STATUS_OK; row++) {
        it->op = (OpId){row};
        if (code->ops.block[row].row == block.row) run_row(it); /* not those of nested blocks */
    }
}
/* A fused row means its block; with loops, its kernel. */
static void run_fused(Interp *it) {
    const Code *code = &it->world->code;
    OpId        op = it->op;
    BlockId     body = code->ops.blocks_first[op.row];
    if (it->loops != NULL) {
        interp_fused(it);
        return;
    }
    for (uint32_t i = 0; i < interp_in_count(it); i++)
        it->values[code->blocks.args_first[body.row].row + i] = *interp_in(it, i);
    interp_block(it, body);
    it->op = op;
    for (uint32_t i = 0; i < code->ops.results_count[op.row] && it->status == STATUS_OK; i++)
        walk_copy_all(interp_out(it, i),
                      &it->values[op_operand(code, block_return(code, body), i).row]);
}
static void copy_outputs(Interp *it, Arena *out, Tensor *outputs) {
    it->op = block_return(&it->world->code, it->block);
    for (uint32_t i = 0; i < interp_in_count(it); i++) {
        outputs[i] = *interp_in(it, i);
        outputs[i].data = arena_push(out, tensor_bytes(interp_in(it, i)), 64);
        walk_copy_all(&outputs[i], interp_in(it, i));
    }
}

Status interp_run(Arena *out, const World *world, GraphId graph, const Tensor *inputs,
                  uint32_t inputs_count, NamedTensor *state, uint32_t state_count,
                  Tensor *out_outputs, Diags *diags) {
    return interp_run_loops(out, world, NULL, graph, inputs, inputs_count, state, state_count,
                            out_outputs, diags);
}
Status interp_run_loops(Arena *out, const World *world, const InterpLoops *loops, GraphId graph,
                        const Tensor *inputs, uint32_t inputs_count, NamedTensor *state,
                        uint32_t state_count, Tensor *out_outputs, Diags *diags) {
    ASSERT(out != NULL && graph_id_some(graph));
    Scratch    scratch = scratch_begin(&out, 1);
    int64_t   *dims = ARENA_ARRAY(scratch.arena, int64_t, world->dims.rows.table.count);
    Interp     it = {.world = world,
                     .loops = loops,
                     .block = world->code.graphs.block[graph.row],
                     .dims = dims,
                     .state = state,
                     .state_count = state_count,
                     .arena = scratch.arena,
                     .diags = diags};
    ShapeRoots roots = {.all = true};
    it.shapes = shape_program_make(scratch.arena, world, graph, &roots, diags);
    if (it.shapes != NULL && shape_program_run(it.shapes, inputs, inputs_count, dims, diags)) {
        it.values = ARENA_ARRAY_ZERO(scratch.arena, Tensor, world->code.values.table.count);
        uint32_t args = world->code.blocks.args_first[it.block.row].row;
        for (uint32_t i = 0; i < inputs_count; i++) it.values[args + i] = inputs[i];
        interp_block(&it, it.block);
    } else {
        it.status = STATUS_INVALID;
    }
    if (it.status == STATUS_OK) {
        copy_outputs(&it, out, out_outputs);
        commit_state(&it);
    }
    scratch_end(scratch);
    return it.status;
}
