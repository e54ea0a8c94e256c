/* dead: which rows does nobody need?
 *
 * Alive are terminators of graphs, rows with effects or late sizes, and what they use; rows of a
 * nested block live and die with the operator that carries it, which is alive itself when an effect
 * is inside. Operators with blocks lose what is not needed of them: results, what is carried,
 * scanned operands. What is carried is needed if its result is, or if a block uses it for something
 * that is needed: not only to carry it on. What a block carries on as it is becomes a value from
 * outside. Backward sweeps mark, more than one only where loops carry, then one rewrite copies.
 * Needs verified code, breaks layout. Linear, times the depth to which carried values wait for
 * others. */
#include <string.h>

#include "systems/flow.h"
#include "systems/rewrite.h"
#include "systems/system.h"

typedef struct Dead {
    const World *world;
    const Code  *code;
    uint8_t     *alive; /* by operator row */
    uint8_t     *live;  /* by value row */
    bool         changed;
} Dead;

/* --- operators with blocks -------------------------------------------------------------------- */
static bool is_control(const Code *code, uint32_t row) {
    return code->ops.blocks_count[row] != 0 && code->ops.opcode[row] != OP_FUSED;
}
static uint32_t carries_of(const Dead *d, OpId op) {
    uint32_t opcode = d->code->ops.opcode[op.row];
    if (opcode == OP_WHILE) return d->code->ops.operands_count[op.row];
    return opcode == OP_SCAN ? (uint32_t)op_attrs(d->world, d->code, op)[ATTR_SCAN_carries] : 0;
}
static uint32_t last_block(const Code *code, OpId op) {
    return code->ops.blocks_first[op.row].row + code->ops.blocks_count[op.row] - 1;
}
/* The argument of a block for operand i; a scan gives the index first. */
static ValueId arg_of(const Code *code, OpId op, uint32_t block, uint32_t i) {
    return (ValueId){code->blocks.args_first[block].row + i +
                     (code->ops.opcode[op.row] == OP_SCAN)};
}
/* Whether a loop carries operand i on as it is. */
static bool stays(const Dead *d, OpId op, uint32_t i) {
    uint32_t body = last_block(d->code, op);
    if (i >= carries_of(d, op)) return false;
    ValueId next = op_operand(d->code, block_return(d->code, (BlockId){body}), i);
    return next.row == arg_of(d->code, op, body, i).row;
}
/* Whether something needs operand i of a loop: its result, if it is carried, or an argument. */
static bool needed(const Dead *d, OpId op, uint32_t i) {
    bool any = i < carries_of(d, op) && d->live[op_result(d->code, op, i).row];
    for (uint32_t k = 0; k < d->code->ops.blocks_count[op.row]; k++)
        any = any || d->live[arg_of(d->code, op, d->code->ops.blocks_first[op.row].row + k, i).row];
    return any;
}
/* Whether operand i of a return of one of its blocks is needed. */
static bool returns(const Dead *d, OpId op, OpId end, uint32_t i) {
    bool tests = d->code->ops.opcode[op.row] == OP_WHILE &&
                 d->code->ops.block[end.row].row != last_block(d->code, op);
    if (tests) return true;
    if (i < carries_of(d, op)) return needed(d, op, i) && !stays(d, op, i);
    return d->live[op_result(d->code, op, i).row];
}

/* --- marking ---------------------------------------------------------------------------------- */
/* An effect inside a nested block makes the carrying operator effectful, at every depth. */
static void mark_effects(const Code *code, uint8_t *alive) {
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        const OpInfo *info = &op_infos[code->ops.opcode[row]];
        bool          keep = (info->flags & (OP_EFFECT | OP_LATE)) != 0 ||
                    (info->flags & (OP_PURE | OP_STATE | OP_BLOCKS | OP_TERMINATOR | OP_VIEW)) == 0;
        if (!keep && !alive[row]) continue;
        alive[row] = 1;
        uint32_t parent = code->blocks.parent[code->ops.block[row].row].row;
        if (parent != 0) alive[parent] = 1; /* parents come later in row order */
    }
}
static void mark_value(Dead *d, ValueId value) {
    if (d->live[value.row]) return;
    d->live[value.row] = 1;
    uint32_t block = d->code->values.def[value.row] & ~VALUE_IS_ARG;
    if (value_is_arg(d->code, value) && op_id_some(d->code->blocks.parent[block]))
        d->changed = true; /* its operator has been looked at already */
}
static void mark_row(Dead *d, uint32_t row) {
    const Code *code = d->code;
    OpId        op = {row}, carrier = code->blocks.parent[code->ops.block[row].row];
    bool        nested = op_id_some(carrier) && is_control(code, carrier.row);
    if (op_info(code, op)->flags & OP_TERMINATOR)
        d->alive[row] = !op_id_some(carrier) || d->alive[carrier.row];
    for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
        d->alive[row] |= d->live[op_result(code, op, i).row];
    if (!d->alive[row]) return;
    bool ends = nested && (op_info(code, op)->flags & OP_TERMINATOR);
    bool loops = is_control(code, row) &&
                 (code->ops.opcode[row] == OP_WHILE || code->ops.opcode[row] == OP_SCAN);
    for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
        if (ends ? returns(d, carrier, op, i) : !loops || needed(d, op, i))
            mark_value(d, op_operand(code, op, i));
}

/* --- writing ---------------------------------------------------------------------------------- */
/* The operands and results of a control operator, or a return of its block, that are kept. */
static void write_some(Dead *d, Rewrite *rw, OpId op, OpId carrier) {
    const Code *old = d->code;
    Code       *code = rw->build.code;
    bool        ends = op.row != carrier.row;
    uint64_t    words[ATTRS_MAX];
    uint32_t    operands = 0, results = 0, opcode = old->ops.opcode[op.row], carries = 0;
    uint32_t    most = old->ops.operands_count[op.row] + old->ops.results_count[op.row];
    Scratch     scratch = scratch_begin(NULL, 0);
    ValueId    *kept = ARENA_ARRAY(scratch.arena, ValueId, most);
    uint32_t   *given = ARENA_ARRAY(scratch.arena, uint32_t, most);
    bool        loops = !ends && (opcode == OP_WHILE || opcode == OP_SCAN);
    for (uint32_t i = 0; i < old->ops.operands_count[op.row]; i++) {
        bool keep =
            ends ? returns(d, carrier, op, i) : !loops || (needed(d, op, i) && !stays(d, op, i));
        if (!keep) continue;
        carries += loops && i < carries_of(d, op);
        kept[operands++] = rw->map[op_operand(old, op, i).row];
    }
    for (uint32_t i = 0; i < old->ops.results_count[op.row]; i++) {
        bool carried = i < carries_of(d, op);
        if (carried ? needed(d, op, i) && !stays(d, op, i) : d->live[op_result(old, op, i).row])
            given[results++] = i;
        else if (carried && stays(d, op, i))
            rw->map[op_result(old, op, i).row] = rw->map[op_operand(old, op, i).row];
    }
    AttrsId attrs = old->ops.attrs[op.row];
    if (opcode == OP_SCAN && loops) {
        memcpy(words, op_attrs(d->world, old, op), sizeof *words * op_infos[OP_SCAN].attrs_count);
        words[ATTR_SCAN_carries] = carries;
        if (words[ATTR_SCAN_length] == 0)
            words[ATTR_SCAN_length] = flow_scan_length(d->world, old, op).row;
        attrs = attrs_add(&rw->world->attrs, words, op_infos[OP_SCAN].attrs_count);
    }
    OpId made = code_add_op(code, rw->build.block, (uint16_t)opcode, kept, operands, results, attrs,
                            old->ops.loc[op.row]);
    for (uint32_t i = 0; i < results; i++) {
        ValueId from = op_result(old, op, given[i]), to = op_result(code, made, i);
        code->values.type[to.row] = old->values.type[from.row];
        code->values.name[to.row] = old->values.name[from.row];
        rw->map[from.row] = to;
    }
    if (!ends) {
        code->ops.blocks_first[made.row] = old->ops.blocks_first[op.row];
        code->ops.blocks_count[made.row] = old->ops.blocks_count[op.row];
        code_close_blocks(code, made);
    }
    scratch_end(scratch);
}
/* Arguments that are not needed, and those that stay: 1, by value row. */
static uint8_t *find_drops(Dead *d, Arena *scratch) {
    const Code *code = d->code;
    uint8_t    *drops = ARENA_ARRAY_ZERO(scratch, uint8_t, code->values.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        uint32_t opcode = code->ops.opcode[row];
        if (!d->alive[row] || (opcode != OP_WHILE && opcode != OP_SCAN)) continue;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            if (needed(d, (OpId){row}, i) && !stays(d, (OpId){row}, i)) continue;
            for (uint32_t k = 0; k < code->ops.blocks_count[row]; k++)
                drops[arg_of(code, (OpId){row}, code->ops.blocks_first[row].row + k, i).row] = 1;
        }
    }
    return drops;
}
/* What stays is a value from outside, once the blocks of its loop begin. */
static void map_staying(Dead *d, Rewrite *rw, uint32_t row) {
    const Code *code = d->code;
    BlockId     begin[CODE_DEPTH_MAX];
    uint32_t    count = code_blocks_at(code, (OpId){row}, begin);
    for (uint32_t b = 0; b < count; b++) {
        OpId op = code->blocks.parent[begin[b].row];
        for (uint32_t i = 0; d->alive[op.row] && i < carries_of(d, op); i++)
            if (stays(d, op, i))
                rw->map[arg_of(code, op, begin[b].row, i).row] =
                    rw->map[op_operand(code, op, i).row];
    }
}

Ran sys_dead(SystemCtx *ctx) {
    const Code *code = &ctx->world->code;
    uint32_t    count = code->ops.table.count;
    Dead        d = {.world = ctx->world, .code = code};
    Ran         ran = {0};
    d.alive = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, count);
    d.live = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->values.table.count);
    mark_effects(code, d.alive);
    do {
        d.changed = false;
        for (uint32_t row = count - 1; row >= 1; row--) mark_row(&d, row);
    } while (d.changed);
    Rewrite rw = rewrite_begin_without(ctx->world, ctx->scratch, find_drops(&d, ctx->scratch));
    for (uint32_t row = 1; row < count; row++) {
        uint32_t first = row;
        while (row < count && d.alive[row] && !is_control(code, row) &&
               !op_id_some(code->blocks.parent[code->ops.block[row].row]))
            row++;
        rewrite_copy_rows(&rw, (OpId){first}, (OpId){row});
        if (row == count) break;
        map_staying(&d, &rw, row);
        if (!d.alive[row]) {
            ran.changed++;
            continue;
        }
        OpId op = {row}, carrier = code->blocks.parent[code->ops.block[row].row];
        rewrite_at(&rw, op);
        bool ends = (op_info(code, op)->flags & OP_TERMINATOR) && op_id_some(carrier) &&
                    is_control(code, carrier.row);
        if (ends || is_control(code, row))
            write_some(&d, &rw, op, ends ? carrier : op);
        else
            (void)rewrite_copy(&rw, op);
    }
    rewrite_end(&rw);
    return ran;
}
