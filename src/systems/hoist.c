/* hoist: in which block should a row stand?
 *
 * Outwards: a row in a loop that uses nothing of the loop moves before it, with the views it needs;
 * out of branches only together with a loop around them it does not move. Inwards: scalar constants
 * and their repetitions are written again in every straight run that uses them, because inside a
 * kernel they cost nothing and as its operands they are loads. Rows with effects, state or blocks
 * stay, and so does what is free everywhere (constants, views) unless a row that moves needs it.
 * Needs types, breaks layout. Linear times the depth of blocks. */
#include "systems/flow.h"
#include "systems/rewrite.h"
#include "systems/system.h"

typedef struct Hoist {
    SystemCtx  *ctx;
    const Code *old;
    Rewrite     rw;
    uint32_t   *depth; /* by block row */
    uint32_t   *home;  /* by operator row: the block that it moves to; its own: it stays */
    uint8_t    *done;  /* by operator row: written already */
    uint32_t   *run;   /* by operator row: first row of its straight run */
    uint32_t   *sunk;  /* by value row: the run that has a copy, and the copy */
    ValueId    *copy;
} Hoist;

static bool    is_loop(uint32_t opcode) { return opcode == OP_WHILE || opcode == OP_SCAN; }
static BlockId around(const Code *code, BlockId block) { /* nil: it is the body of a graph */
    OpId parent = code->blocks.parent[block.row];
    return op_id_some(parent) ? code->ops.block[parent.row] : (BlockId){0};
}
static void find_depths(Hoist *p) {
    const Code *old = p->old;
    for (uint32_t row = 1; row < old->blocks.table.count; row++)
        for (BlockId at = {row}; block_id_some(at = around(old, at));) p->depth[row]++;
}

/* --- outwards --------------------------------------------------------------------------------- */
static bool is_free(const Code *code, uint32_t row) {
    return code->ops.operands_count[row] == 0 || (op_info(code, (OpId){row})->flags & OP_VIEW);
}
/* The outermost block where all operands are known, through loops only. */
static void find_home(Hoist *p, uint32_t row) {
    const Code *old = p->old;
    BlockId     block = old->ops.block[row];
    uint32_t    flags = op_info(old, (OpId){row})->flags, least = 0;
    p->home[row] = block.row;
    if (!(flags & OP_PURE) || old->ops.blocks_count[row] != 0) return;
    for (uint32_t i = 0; i < old->ops.operands_count[row]; i++) {
        uint32_t def = old->values.def[op_operand(old, (OpId){row}, i).row];
        uint32_t from = def & VALUE_IS_ARG ? def & ~VALUE_IS_ARG : p->home[def];
        if (p->depth[from] > least) least = p->depth[from];
    }
    for (OpId parent = old->blocks.parent[block.row];
         p->depth[block.row] > least && op_id_some(parent) && is_loop(old->ops.opcode[parent.row]);
         parent = old->blocks.parent[block.row])
        block = old->ops.block[parent.row];
    p->home[row] = block.row;
}
/* What is free stays, unless something that moves uses it: then as far as that. */
static void keep_free(Hoist *p) {
    const Code *old = p->old;
    uint32_t   *asked = ARENA_ARRAY_ZERO(p->ctx->scratch, uint32_t, old->ops.table.count);
    for (uint32_t row = old->ops.table.count - 1; row >= 1; row--) {
        if (is_free(old, row)) p->home[row] = asked[row] ? asked[row] : old->ops.block[row].row;
        if (p->home[row] == old->ops.block[row].row) continue;
        for (uint32_t i = 0; i < old->ops.operands_count[row]; i++) {
            OpId def = value_op(old, op_operand(old, (OpId){row}, i));
            if (asked[def.row] == 0 || p->depth[p->home[row]] < p->depth[asked[def.row]])
                asked[def.row] = p->home[row];
        }
    }
    /* One that was asked to go further than it can (never: its users know its depth) stays put. */
}

/* --- writing ---------------------------------------------------------------------------------- */
/* A constant of one element, or its repetition: what a kernel holds in itself. */
static bool is_splat(const Code *code, const World *world, ValueId value) {
    OpId def = value_op(code, value);
    while (code->ops.opcode[def.row] == OP_BROADCAST_IN_DIM)
        def = value_op(code, op_operand(code, def, 0));
    return code->ops.opcode[def.row] == OP_CONSTANT &&
           type_rank(&world->types, code->values.type[op_result(code, def, 0).row]) == 0;
}
/* The value in this run; the rows are written before the one that uses them. */
static ValueId sink(Hoist *p, uint32_t row, ValueId value) {
    const Code *old = p->old;
    OpId        chain[SHAPE_RANK_MAX];
    uint32_t    count = 0;
    ValueId     made = {0};
    if (p->sunk[value.row] == p->run[row]) return p->copy[value.row];
    for (OpId def = value_op(old, value);; def = value_op(old, op_operand(old, def, 0))) {
        if (count == LENGTH(chain)) return p->rw.map[value.row];
        chain[count++] = def;
        if (old->ops.operands_count[def.row] == 0) break;
    }
    while (count-- > 0)
        made = build_op(&p->rw.build, (Opcode)old->ops.opcode[chain[count].row], &made,
                        old->ops.operands_count[chain[count].row],
                        op_attrs(p->ctx->world, old, chain[count]));
    p->sunk[value.row] = p->run[row];
    return p->copy[value.row] = made;
}
static bool write_row(Hoist *p, uint32_t row, ValueId *operands, BlockId block) {
    const Code *old = p->old;
    OpId        op = {row};
    bool        sinks = p->ctx->target != NULL && p->ctx->target->compiles, any = false;
    rewrite_at(&p->rw, op);
    p->rw.build.block = block;
    sinks = sinks && block.row == old->ops.block[row].row && old->ops.blocks_count[row] == 0 &&
            !(op_info(old, op)->flags & (OP_TERMINATOR | OP_VIEW));
    for (uint32_t i = 0; i < old->ops.operands_count[row]; i++) {
        ValueId x = op_operand(old, op, i);
        OpId    def = value_op(old, x);
        operands[i] = p->rw.map[x.row];
        bool far = op_id_some(def) && (p->run[def.row] != p->run[row] ||
                                       p->home[def.row] != old->ops.block[def.row].row);
        if (!sinks || !far || !is_splat(old, p->ctx->world, x)) continue;
        operands[i] = sink(p, row, x);
        any = true;
    }
    OpId copy = rewrite_copy_with(&p->rw, op, operands);
    p->rw.build.code->ops.block[copy.row] = block;
    p->done[row] = 1;
    return any;
}
/* Before the blocks of an operator begin: the rows among them that move to its block. */
static uint32_t write_moving(Hoist *p, OpId carrier, ValueId *operands) {
    const Code *old = p->old;
    BlockId     block = old->ops.block[carrier.row];
    uint32_t    moved = 0;
    if (!is_loop(old->ops.opcode[carrier.row])) return 0;
    for (uint32_t row = flow_first(old, carrier); row < carrier.row; row++) {
        if (p->home[row] != block.row || p->done[row] || old->ops.block[row].row == block.row)
            continue;
        (void)write_row(p, row, operands, block);
        moved++;
    }
    return moved;
}
static void find_runs(Hoist *p) {
    const Code *old = p->old;
    uint32_t    first = 1;
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        bool cut = row > 1 && (old->ops.block[row].row != old->ops.block[row - 1].row ||
                               old->ops.blocks_count[row - 1] != 0);
        if (cut || old->ops.blocks_count[row] != 0) first = row;
        p->run[row] = first;
    }
}

Ran sys_hoist(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    count = old->ops.table.count, values = old->values.table.count, carriers = 0;
    uint32_t    operands_max = 1;
    Ran         ran = {0};
    Hoist       p = {.ctx = ctx, .old = old};
    for (uint32_t row = 1; row < count; row++) {
        carriers += old->ops.blocks_count[row] != 0;
        if (old->ops.operands_count[row] > operands_max)
            operands_max = old->ops.operands_count[row];
    }
    if (carriers == 0) return ran;
    p.depth = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, old->blocks.table.count);
    p.home = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, count);
    p.done = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, count);
    p.run = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, count);
    p.sunk = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, values);
    p.copy = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, values);
    ValueId *operands = ARENA_ARRAY(ctx->scratch, ValueId, operands_max);
    find_depths(&p);
    find_runs(&p);
    for (uint32_t row = 1; row < count; row++) find_home(&p, row);
    keep_free(&p);
    p.rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < count; row++) {
        BlockId  begin[CODE_DEPTH_MAX];
        uint32_t begins = code_blocks_at(old, (OpId){row}, begin);
        for (uint32_t i = 0; i < begins; i++) {
            OpId carrier = old->blocks.parent[begin[i].row];
            if (begin[i].row == old->ops.blocks_first[carrier.row].row)
                ran.changed += write_moving(&p, carrier, operands);
        }
        if (!p.done[row]) ran.changed += write_row(&p, row, operands, old->ops.block[row]);
    }
    rewrite_end(&p.rw);
    return ran;
}
