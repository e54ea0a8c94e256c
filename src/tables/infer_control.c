/* Control flow: what blocks take and return must agree with the operator that carries them.
 *
 * if, switch: each block returns the results. while: what is carried has one type from the operands
 * to the results. scan: likewise, and rows are the scanned operands and the further results without
 * axis 0. call, custom_grad: operands and results are those of the graph. Rows of nested blocks
 * come before their operator, so their types are known. An operator without its blocks (while it is
 * being built) is not looked at. */
#include "tables/infer.h"

#include <stdio.h>

typedef struct Flow { /* an operator that exists, with its blocks */
    InferCtx *ctx;
    OpId      op;
    bool      good;
} Flow;

/* --- reading blocks --------------------------------------------------------------------------- */
static BlockId nth_block(const InferCtx *ctx, uint32_t i) {
    return (BlockId){ctx->code->ops.blocks_first[ctx->op].row + i};
}
static TypeId arg_type(const InferCtx *ctx, BlockId block, uint32_t i) {
    return ctx->code->values.type[ctx->code->blocks.args_first[block.row].row + i];
}
static uint32_t returned_count(const InferCtx *ctx, BlockId block) {
    return ctx->code->ops.operands_count[block_return(ctx->code, block).row];
}
static TypeId returned_type(const InferCtx *ctx, BlockId block, uint32_t i) {
    OpId end = block_return(ctx->code, block);
    return ctx->code->values.type[op_operand(ctx->code, end, i).row];
}
static GraphId named_graph(const InferCtx *ctx, uint32_t attr) {
    const uint64_t *attrs = attrs_words(&ctx->world->attrs, ctx->record);
    return code_find_graph(ctx->code, (StrId){(uint32_t)attrs[attr]});
}
static BlockId graph_block(const InferCtx *ctx, GraphId graph) {
    return ctx->code->graphs.block[graph.row];
}
/* Of one step: without axis 0. */
static TypeId row_type(World *world, TypeId type) {
    Types *types = &world->types;
    return types_type(types, type_dtype(types, type),
                      types_shape(types, type_dims(types, type) + 1, type_rank(types, type) - 1));
}
static TypeId stacked_type(World *world, TypeId row, DimId length) {
    Types   *types = &world->types;
    uint32_t rank = type_rank(types, row);
    DimId    dims[SHAPE_RANK_MAX + 1] = {length};
    if (rank == SHAPE_RANK_MAX) return (TypeId){0};
    for (uint32_t i = 0; i < rank; i++) dims[i + 1] = type_dims(types, row)[i];
    return types_type(types, type_dtype(types, row), types_shape(types, dims, rank + 1));
}
/* Nil if neither the attribute nor an operand says it. */
static DimId scan_length(const InferCtx *ctx) {
    const uint64_t *attrs = attrs_words(&ctx->world->attrs, ctx->record);
    uint32_t        carries = (uint32_t)attrs[ATTR_SCAN_carries];
    if (attrs[ATTR_SCAN_length] != 0) return (DimId){(uint32_t)attrs[ATTR_SCAN_length]};
    if (carries >= ctx->operands_count || infer_rank(ctx, carries) == 0) return (DimId){0};
    return infer_dim(ctx, carries, 0);
}

/* --- branches of different sizes -------------------------------------------------------------- */
static bool is_nested(const InferCtx *ctx) { /* once the operator around it is there */
    return op_id_some(ctx->code->blocks.parent[ctx->code->ops.block[ctx->op].row]);
}
static bool is_branch(uint32_t opcode) { return opcode == OP_IF || opcode == OP_SWITCH; }
/* Whether an axis of a result has the size of the block that ran: blocks return sizes that cannot
 * be the same, or the type that is written has a symbol that is none of them, where these are not
 * one. Types have the same rank. */
static bool axis_joins(const InferCtx *ctx, uint32_t result, uint32_t axis, DimId written) {
    Dims *dims = &ctx->world->dims;
    DimId first = {0};
    bool  differ = false,
         symbol = dim_id_some(written) && dims->rows.kind[written.row] == DIM_SYMBOL;
    for (uint32_t i = 0; i < ctx->code->ops.blocks_count[ctx->op]; i++) {
        TypeId type = returned_type(ctx, nth_block(ctx, i), result);
        DimId  dim = type_dims(&ctx->world->types, type)[axis];
        if (i == 0) first = dim;
        differ |= symbol ? !dims_same(dims, first, dim) : !dims_may_be_same(dims, first, dim);
        if (symbol && dims_same(dims, dim, written)) return false;
    }
    return differ && (symbol || !dim_id_some(written));
}
/* The blocks return this result in types that sizes alone tell apart, in the body of a graph, where
 * sizes may be late. */
static bool may_join(const InferCtx *ctx, uint32_t result) {
    const Types *types = &ctx->world->types;
    const Code  *code = ctx->code;
    TypeId       first = {0};
    if (!is_branch(ctx->opcode) || is_nested(ctx)) return false;
    for (uint32_t i = 0; i < code->ops.blocks_count[ctx->op]; i++) {
        BlockId block = nth_block(ctx, i);
        if (result >= returned_count(ctx, block)) return false;
        TypeId type = returned_type(ctx, block, result);
        if (!type_id_some(type)) return false;
        if (i == 0) first = type;
        if (type_dtype(types, type) != type_dtype(types, first) ||
            type_rank(types, type) != type_rank(types, first))
            return false;
    }
    return true;
}
static DimId fresh_size(InferCtx *ctx, uint32_t result, uint32_t axis) {
    World *world = ctx->world;
    char   name[48];
    (void)snprintf(name, sizeof name, "J%u_%u_%u", ctx->op, result, axis);
    return dims_symbol(&world->dims, strings_add(&world->strings, str_of(name)));
}
static TypeId joined_type(InferCtx *ctx, uint32_t result, TypeId type) {
    Types *types = &ctx->world->types;
    DimId  dims[SHAPE_RANK_MAX];
    if (!may_join(ctx, result)) return type;
    for (uint32_t k = 0; k < type_rank(types, type); k++)
        dims[k] = axis_joins(ctx, result, k, (DimId){0}) ? fresh_size(ctx, result, k)
                                                         : type_dims(types, type)[k];
    return types_type(types, type_dtype(types, type),
                      types_shape(types, dims, type_rank(types, type)));
}
/* What a block should return for a result: its own sizes where blocks differ and the result has a
 * symbol for it. */
static TypeId branch_type(InferCtx *ctx, BlockId block, uint32_t result) {
    Types *types = &ctx->world->types;
    TypeId type = ctx->out_types[result];
    DimId  dims[SHAPE_RANK_MAX];
    if (!type_id_some(type) || !may_join(ctx, result)) return type;
    TypeId given = returned_type(ctx, block, result);
    if (type_rank(types, type) != type_rank(types, given)) return type;
    for (uint32_t k = 0; k < type_rank(types, type); k++) {
        dims[k] = type_dims(types, type)[k];
        if (axis_joins(ctx, result, k, dims[k])) dims[k] = type_dims(types, given)[k];
    }
    return types_type(types, type_dtype(types, type),
                      types_shape(types, dims, type_rank(types, type)));
}

void infer_control_results(InferCtx *ctx) {
    const Code *code = ctx->code;
    BlockId     from = {0};
    DimId       length = {0};
    uint32_t    carries = UINT32_MAX;
    if (ctx->opcode == OP_CALL || ctx->opcode == OP_CUSTOM_GRAD) {
        GraphId graph = named_graph(ctx, ATTR_CALL_graph);
        if (graph_id_some(graph)) from = graph_block(ctx, graph);
    } else if (code->ops.blocks_count[ctx->op] != 0) {
        from = nth_block(ctx, code->ops.blocks_count[ctx->op] - 1u);
    }
    if (ctx->opcode == OP_SCAN) {
        carries = (uint32_t)attrs_words(&ctx->world->attrs, ctx->record)[ATTR_SCAN_carries];
        length = scan_length(ctx);
    }
    bool known = from.row != 0 && code->blocks.op_last[from.row] > code->blocks.op_first[from.row];
    for (uint32_t i = 0; i < ctx->results_count; i++) {
        bool   given = known && i < returned_count(ctx, from);
        TypeId type = given ? returned_type(ctx, from, i) : (TypeId){0};
        if (i >= carries && type_id_some(type))
            type = dim_id_some(length) ? stacked_type(ctx->world, type, length) : (TypeId){0};
        ctx->out_types[i] = given ? joined_type(ctx, i, type) : type;
    }
}

/* --- requirements ----------------------------------------------------------------------------- */
static void want_count(Flow *f, const char *what, uint32_t have, uint32_t want) {
    Diags *diags = &f->ctx->world->diags;
    if (have == want || !f->good) return;
    (void)diags_add(diags, DIAG_BLOCK_COUNT, f->op.row, diags_str(diags, str_of(what)), have, want,
                    0);
    f->good = false;
}
static bool alike(Flow *f, TypeId a, TypeId b) {
    World       *world = f->ctx->world;
    const Types *types = &world->types;
    if (type_id_same(a, b)) return true;
    if (type_dtype(types, a) != type_dtype(types, b) || type_rank(types, a) != type_rank(types, b))
        return false;
    for (uint32_t i = 0; i < type_rank(types, a); i++)
        if (!dims_may_be_same(&world->dims, type_dims(types, a)[i], type_dims(types, b)[i]))
            return false;
    return true;
}
/* Nil types are somebody else's error. */
static void want_type(Flow *f, const char *what, TypeId a, const char *other, TypeId b) {
    Diags *diags = &f->ctx->world->diags;
    Types *types = &f->ctx->world->types;
    if (!f->good || !type_id_some(a) || !type_id_some(b)) return;
    f->good = alike(f, a, b);
    if (!f->good) {
        (void)diags_add(diags, DIAG_BLOCK_TYPE, f->op.row, diags_str(diags, str_of(what)), a.row,
                        diags_str(diags, str_of(other)), b.row);
        return;
    }
    for (uint32_t i = 0; i < type_rank(types, a) && f->good; i++)
        f->good = infer_sizes_same(f->ctx, what, type_dims(types, a)[i], type_dims(types, b)[i]);
}
static TypeId scalar_type(Flow *f, Dtype dtype) {
    Types *types = &f->ctx->world->types;
    return types_type(types, dtype, types_shape(types, NULL, 0));
}
static void want_results(Flow *f, BlockId block, const char *what) {
    const InferCtx *ctx = f->ctx;
    want_count(f, "a block returns values:", returned_count(ctx, block), ctx->results_count);
    for (uint32_t i = 0; i < ctx->results_count && f->good; i++)
        want_type(f, what, returned_type(ctx, block, i), "a result of the operator",
                  ctx->out_types[i]);
}

/* --- rules ------------------------------------------------------------------------------------ */
static void check_branches(Flow *f, Dtype dtype) {
    const InferCtx *ctx = f->ctx;
    uint32_t        blocks = ctx->code->ops.blocks_count[f->op.row];
    bool            nested = is_nested(ctx);
    want_type(f, "what is decided by", infer_type(ctx, 0), "what is expected",
              scalar_type(f, dtype));
    for (uint32_t i = 0; i < blocks; i++) {
        BlockId block = nth_block(ctx, i);
        want_count(f, "a block takes values:", ctx->code->blocks.args_count[block.row], 0);
        want_count(f, "a block returns values:", returned_count(ctx, block), ctx->results_count);
        for (uint32_t k = 0; k < ctx->results_count && f->good && nested && i != 0; k++)
            want_type(f, "what a block returns", returned_type(ctx, block, k),
                      "what the first one returns, and no size is late inside of a block",
                      returned_type(ctx, nth_block(ctx, 0), k));
        for (uint32_t k = 0; k < ctx->results_count && f->good; k++)
            want_type(f, "what a block returns", returned_type(ctx, block, k),
                      "a result of the operator", branch_type(f->ctx, block, k));
    }
}
static void check_if(Flow *f) { check_branches(f, DTYPE_BOOL); }
static void check_switch(Flow *f) { check_branches(f, DTYPE_I64); }

static void check_while(Flow *f) {
    const InferCtx *ctx = f->ctx;
    BlockId         test = nth_block(ctx, 0), body = nth_block(ctx, 1);
    uint32_t        count = ctx->operands_count;
    want_count(f, "results of a while:", ctx->results_count, count);
    want_count(f, "the first block takes values:", ctx->code->blocks.args_count[test.row], count);
    want_count(f, "the second block takes values:", ctx->code->blocks.args_count[body.row], count);
    want_count(f, "the first block returns values:", returned_count(ctx, test), 1);
    if (f->good)
        want_type(f, "what the first block returns", returned_type(ctx, test, 0),
                  "what is expected", scalar_type(f, DTYPE_BOOL));
    for (uint32_t i = 0; i < count && f->good; i++) {
        want_type(f, "an argument of the first block", arg_type(ctx, test, i), "its operand",
                  infer_type(ctx, i));
        want_type(f, "an argument of the second block", arg_type(ctx, body, i), "its operand",
                  infer_type(ctx, i));
        want_type(f, "a result of the operator", ctx->out_types[i], "its operand",
                  infer_type(ctx, i));
    }
    want_results(f, body, "what the second block carries on");
}

static void check_scan(Flow *f) {
    const InferCtx *ctx = f->ctx;
    World          *world = ctx->world;
    BlockId         body = nth_block(ctx, 0);
    uint32_t        count = ctx->operands_count, carries = (uint32_t)ctx->attrs[ATTR_SCAN_carries];
    DimId           length = scan_length(ctx);
    if (ctx->attrs[ATTR_SCAN_carries] > count) {
        f->good = infer_fail_attr(f->ctx, ATTR_SCAN_carries, "counts more than the operands");
        return;
    }
    if (!dim_id_some(length)) {
        f->good = infer_fail_attr(f->ctx, ATTR_SCAN_length,
                                  "is needed: no scanned operand says how many steps there are");
        return;
    }
    want_count(f, "the block takes values:", ctx->code->blocks.args_count[body.row], count + 1);
    if (returned_count(ctx, body) < carries)
        want_count(f, "the block returns values:", returned_count(ctx, body), carries);
    if (!f->good) return;
    want_type(f, "the first argument of the block", arg_type(ctx, body, 0), "the index of a row",
              scalar_type(f, DTYPE_I64));
    for (uint32_t i = 0; i < count && f->good; i++) {
        TypeId type = infer_type(ctx, i);
        if (i >= carries && type_rank(&world->types, type) == 0) {
            f->good = infer_fail_rank(f->ctx, i, "1 or more: it is scanned along axis 0");
            return;
        }
        if (i >= carries)
            f->good = infer_sizes_same(f->ctx, "scanned operands need as many rows as steps",
                                       type_dims(&world->types, type)[0], length);
        want_type(f, "an argument of the block", arg_type(ctx, body, i + 1),
                  i < carries ? "its operand" : "a row of its operand",
                  i < carries ? type : row_type(world, type));
    }
    want_count(f, "the block returns values:", returned_count(ctx, body), ctx->results_count);
    for (uint32_t i = 0; i < ctx->results_count && f->good; i++) {
        TypeId given = returned_type(ctx, body, i), type = ctx->out_types[i];
        if (i < carries) want_type(f, "a carried result", type, "its operand", infer_type(ctx, i));
        want_type(f, "what the block returns", given,
                  i < carries ? "what it carries" : "a row of the result",
                  i < carries || !type_id_some(type) || type_rank(&world->types, type) == 0
                      ? type
                      : row_type(world, type));
        if (i >= carries && f->good && type_id_some(given))
            want_type(f, "a result of the operator", type, "the rows that the block returns",
                      stacked_type(world, given, length));
    }
}

static void fail_call(Flow *f, uint32_t attr, const char *problem) {
    World *world = f->ctx->world;
    Diags *diags = &world->diags;
    StrId  name = {(uint32_t)f->ctx->attrs[attr]};
    (void)diags_add(diags, DIAG_CALL_WRONG, f->op.row,
                    diags_str(diags, strings_get(&world->strings, name)),
                    diags_str(diags, str_of(problem)), 0, 0);
    f->good = false;
}
/* Whether a graph calls itself, directly or not. */
static bool calls_itself(const InferCtx *ctx, GraphId graph) {
    const Code *code = ctx->code;
    Scratch     scratch = scratch_begin(NULL, 0);
    uint32_t    graphs = code->graphs.table.count, depth = 0;
    uint8_t    *seen = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, graphs);
    uint32_t   *stack = ARENA_ARRAY(scratch.arena, uint32_t, graphs);
    for (stack[depth++] = graph.row; depth != 0 && !seen[0];) {
        BlockId block = code->graphs.block[stack[--depth]];
        for (uint32_t row = code->blocks.op_first[block.row]; row < code->blocks.op_last[block.row];
             row++) {
            uint32_t opcode = code->ops.opcode[row];
            if (opcode != OP_CALL && opcode != OP_CUSTOM_GRAD) continue;
            const uint64_t *attrs = op_attrs(ctx->world, code, (OpId){row});
            GraphId         next = code_find_graph(code, (StrId){(uint32_t)attrs[ATTR_CALL_graph]});
            if (!graph_id_some(next)) continue; /* an error of its own */
            if (next.row == graph.row) seen[0] = 1;
            if (seen[next.row]) continue;
            seen[next.row] = 1;
            stack[depth++] = next.row;
        }
    }
    bool found = seen[0] != 0;
    scratch_end(scratch);
    return found;
}
/* Whether blocks of an operator return another size than its results have. */
static bool branches_differ(const InferCtx *ctx, uint32_t row) {
    const Code *code = ctx->code;
    bool        differ = false;
    if (!is_branch(code->ops.opcode[row]) || code->ops.blocks_count[row] == 0) return false;
    for (uint32_t i = 0; i < code->ops.blocks_count[row]; i++)
        for (uint32_t k = 0; k < code->ops.results_count[row]; k++) {
            OpId         end = block_return(code, (BlockId){code->ops.blocks_first[row].row + i});
            TypeId       given = code->values.type[op_operand(code, end, k).row];
            TypeId       type = code->values.type[op_result(code, (OpId){row}, k).row];
            const Types *types = &ctx->world->types;
            if (!type_id_some(given) || !type_id_some(type)) continue;
            for (uint32_t axis = 0; axis < type_rank(types, type); axis++)
                differ |= !dims_same(&ctx->world->dims, type_dims(types, given)[axis],
                                     type_dims(types, type)[axis]);
        }
    return differ;
}
/* The graph that an attribute names; nil after a diagnostic. */
static GraphId callee(Flow *f, uint32_t attr) {
    const Code *code = f->ctx->code;
    GraphId     graph = named_graph(f->ctx, attr);
    if (!graph_id_some(graph)) {
        fail_call(f, attr, "does not exist");
        return graph;
    }
    BlockId block = graph_block(f->ctx, graph);
    if (calls_itself(f->ctx, graph)) fail_call(f, attr, "calls itself: use a while or scan");
    for (uint32_t row = code->blocks.op_first[block.row];
         row < code->blocks.op_last[block.row] && f->good; row++) {
        uint32_t opcode = code->ops.opcode[row];
        if (opcode == OP_PARAMETER || opcode == OP_ASSIGN)
            fail_call(f, attr, "holds state: give it the parameter as an argument");
        else if ((op_infos[opcode].flags & OP_LATE) || branches_differ(f->ctx, row))
            fail_call(f, attr, "has sizes that data decides");
    }
    return graph;
}
static void check_call(Flow *f) {
    const InferCtx *ctx = f->ctx;
    GraphId         graph = callee(f, ATTR_CALL_graph);
    if (!f->good) return;
    BlockId block = graph_block(ctx, graph);
    want_count(f, "the graph takes values:", ctx->code->blocks.args_count[block.row],
               ctx->operands_count);
    for (uint32_t i = 0; i < ctx->operands_count && f->good; i++)
        want_type(f, "an argument", infer_type(ctx, i), "that of the graph",
                  arg_type(ctx, block, i));
    want_results(f, block, "a result of the graph");
}
static bool moves(const InferCtx *ctx, TypeId type) {
    return dtype_is_differentiable(type_dtype(&ctx->world->types, type));
}
static void check_custom_grad(Flow *f) {
    const InferCtx *ctx = f->ctx;
    check_call(f);
    if (!f->good) return;
    GraphId graph = callee(f, ATTR_CUSTOM_GRAD_gradient);
    if (!f->good) return;
    BlockId  block = graph_block(ctx, graph);
    uint32_t takes = ctx->operands_count, gives = 0;
    for (uint32_t i = 0; i < ctx->results_count; i++) takes += moves(ctx, ctx->out_types[i]);
    for (uint32_t i = 0; i < ctx->operands_count; i++) gives += moves(ctx, infer_type(ctx, i));
    want_count(f, "the gradient takes values:", ctx->code->blocks.args_count[block.row], takes);
    want_count(f, "the gradient returns values:", returned_count(ctx, block), gives);
    uint32_t at = 0;
    for (uint32_t i = 0; i < ctx->operands_count && f->good; i++) {
        want_type(f, "an argument", infer_type(ctx, i), "that of the gradient",
                  arg_type(ctx, block, at++));
    }
    for (uint32_t i = 0; i < ctx->results_count && f->good; i++)
        if (moves(ctx, ctx->out_types[i]))
            want_type(f, "a result", ctx->out_types[i], "its cotangent in the gradient",
                      arg_type(ctx, block, at++));
    at = 0;
    for (uint32_t i = 0; i < ctx->operands_count && f->good; i++)
        if (moves(ctx, infer_type(ctx, i)))
            want_type(f, "an argument", infer_type(ctx, i), "what the gradient returns for it",
                      returned_type(ctx, block, at++));
}

typedef void          CheckFn(Flow *f);
static CheckFn *const rules[OP_COUNT] = {
    [OP_IF] = check_if,     [OP_SWITCH] = check_switch, [OP_WHILE] = check_while,
    [OP_SCAN] = check_scan, [OP_CALL] = check_call,     [OP_CUSTOM_GRAD] = check_custom_grad,
};

void infer_control(InferCtx *ctx) {
    const Code *code = ctx->code;
    Flow        f = {.ctx = ctx, .op = {ctx->op}, .good = true};
    bool        carries = (op_infos[ctx->opcode].flags & OP_BLOCKS) != 0;
    if (ctx->op == 0) return;
    if (ctx->opcode == OP_SWITCH && ctx->attrs[ATTR_SWITCH_cases] - 1 >= LIST_MAX) {
        (void)infer_fail_attr(ctx, ATTR_SWITCH_cases, "must be 1 to 64");
        return;
    }
    if (carries && code->ops.blocks_count[ctx->op] == 0) return; /* being built */
    bool declared = true;
    for (uint32_t i = 0; i < ctx->results_count; i++) {
        ctx->out_types[i] = code->values.type[op_result(code, f.op, i).row];
        declared = declared && type_id_some(ctx->out_types[i]);
    }
    if (!declared) infer_control_results(ctx);
    if (rules[ctx->opcode] != NULL) rules[ctx->opcode](&f);
    for (uint32_t i = 0; i < ctx->results_count && !f.good; i++) ctx->out_types[i] = (TypeId){0};
}
