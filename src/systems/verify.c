/* verify: do the rows obey the invariants of code.h and the schema?
 *
 * Answers for every operator: known opcode, operands defined earlier and visible from its block,
 * results owned by it, attribute record of the schema's length with enumerations in range,
 * terminator exactly at the end of its block, parameter names unique in a block. Needs nothing,
 * breaks nothing. Linear in rows plus nesting depth per operand that crosses blocks. Reads only;
 * safe on any bounds-checked world (text/check_world has made spans and ids safe to follow). */
#include "systems/system.h"

static void report(SystemCtx *ctx, uint32_t op, const char *what) {
    Diags *diags = &ctx->world->diags;
    (void)diags_add(diags, DIAG_CODE_INVALID, op, diags_str(diags, str_of(what)), 0, 0, 0);
}

static void check_operands(SystemCtx *ctx, uint32_t row) {
    const Code    *code = &ctx->world->code;
    const ValueId *operands = op_operands(code, (OpId){row});
    for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
        uint32_t value = operands[i].row;
        if (value == 0 || value >= code->values.table.count) {
            report(ctx, row, "an operand is missing");
            continue;
        }
        uint32_t def = code->values.def[value];
        bool     is_arg = (def & VALUE_IS_ARG) != 0;
        uint32_t from = is_arg ? def & ~VALUE_IS_ARG : code->ops.block[def].row;
        if (!is_arg && def >= row)
            report(ctx, row, "an operand is defined later");
        else if (from != code->ops.block[row].row &&
                 !code_visible(code, (BlockId){from}, code->ops.block[row]))
            report(ctx, row, "an operand is not visible from this block");
    }
}

static void check_attrs(SystemCtx *ctx, uint32_t row, const OpInfo *info) {
    const World *world = ctx->world;
    AttrsId      record = world->code.ops.attrs[row];
    if (attrs_count(&world->attrs, record) != info->attrs_count) {
        report(ctx, row, "the attribute record does not fit the operator");
        return;
    }
    const uint64_t *words = attrs_words(&world->attrs, record);
    for (uint32_t i = 0; i < info->attrs_count; i++) {
        const char *const *names = attr_enum_names(info->attrs[i].kind);
        uint64_t           count = 0;
        if (names == NULL) continue;
        while (names[count] != NULL) count++;
        if (words[i] >= count) report(ctx, row, "an enumerated attribute is out of range");
    }
}

static void check_row(SystemCtx *ctx, uint32_t row, uint32_t *seen_names) {
    const Code   *code = &ctx->world->code;
    const OpInfo *info = &op_infos[code->ops.opcode[row]];
    uint32_t      block = code->ops.block[row].row, count = code->ops.operands_count[row];
    if (count < info->operands_min || count > info->operands_max)
        report(ctx, row, "the number of operands does not fit the operator");
    if (info->results < OP_ANY && code->ops.results_count[row] != info->results)
        report(ctx, row, "the number of results does not fit the operator");
    for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
        if (code->values.def[code->ops.results_first[row].row + i] != row)
            report(ctx, row, "a result belongs to another operator");
    bool last = row + 1 == code->blocks.op_last[block];
    if (last != ((info->flags & OP_TERMINATOR) != 0))
        report(ctx, row, last ? "the block does not end in a return" : "a return before the end");
    check_operands(ctx, row);
    check_attrs(ctx, row, info);
    bool nested = op_id_some(code->blocks.parent[block]);
    if (nested && (code->ops.opcode[row] == OP_ASSIGN || code->ops.opcode[row] == OP_PARAMETER))
        report(ctx, row, "state is read and assigned in the body of a graph, not in a block of it");
    if (nested && (info->flags & OP_LATE))
        report(ctx, row, "sizes that data decides are made in the body of a graph");
    if (code->ops.opcode[row] == OP_PARAMETER) {
        uint64_t name = op_attrs(ctx->world, code, (OpId){row})[ATTR_PARAMETER_name];
        if (name >= ctx->world->strings.rows.table.count) return;
        if (seen_names[name] == block) report(ctx, row, "another parameter has this name");
        seen_names[name] = block;
    }
}

Ran sys_verify(SystemCtx *ctx) {
    World      *world = ctx->world;
    const Code *code = &world->code;
    uint32_t   *seen = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, world->strings.rows.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        if (code->ops.opcode[row] == OP_NIL || code->ops.opcode[row] >= OP_COUNT)
            report(ctx, row, "unknown operator");
        else
            check_row(ctx, row, seen);
    }
    for (uint32_t row = 1; row < code->graphs.table.count; row++) {
        uint32_t block = code->graphs.block[row].row;
        if (code->blocks.op_last[block] == 0) report(ctx, 0, "a graph is empty");
    }
    return (Ran){0};
}
