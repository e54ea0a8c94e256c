/* The walk in text order. A frame visits the rows of one block; a row of another block belongs to
 * the next carrier of this block, which blocks.parent names, so nothing is searched.
 *
 * The walk trusts no row: a parent that does not lie ahead in the range makes it visit the row in
 * place, so it ends on any table. */
#include "text/walk.h"

static void push(Walk *walk, BlockId block) {
    const Blocks *blocks = &walk->code->blocks;
    walk->frames[walk->depth++] = (WalkFrame){
        .block = block, .row = blocks->op_first[block.row], .row_last = blocks->op_last[block.row]};
}

void walk_begin(Walk *walk, const Code *code, BlockId body) {
    ASSERT(body.row < code->blocks.table.count);
    walk->code = code;
    walk->op = (OpId){0};
    walk->block = body;
    walk->last = false;
    walk->depth = 0;
    push(walk, body);
}

/* The operator of the frame's block that carries the block of this row, directly or not. */
static OpId carrier_of(const Code *code, const WalkFrame *frame, uint32_t row) {
    BlockId block = code->ops.block[row];
    for (uint32_t steps = 0; steps < WALK_DEPTH_MAX; steps++) {
        OpId parent = code->blocks.parent[block.row];
        if (parent.row <= row || parent.row >= frame->row_last) break;
        if (block_id_same(code->ops.block[parent.row], frame->block)) return parent;
        block = code->ops.block[parent.row];
    }
    return (OpId){row};
}

static WalkEvent leave(Walk *walk) {
    walk->block = walk->frames[--walk->depth].block;
    if (walk->depth == 0) return WALK_END;
    const WalkFrame *outer = &walk->frames[walk->depth - 1];
    walk->op = outer->carrier;
    walk->last = outer->nth == walk->code->ops.blocks_count[outer->carrier.row];
    return WALK_LEAVE;
}

WalkEvent walk_next(Walk *walk) {
    ASSERT(walk->depth > 0);
    WalkFrame *frame = &walk->frames[walk->depth - 1];
    const Ops *ops = &walk->code->ops;
    if (op_id_some(frame->carrier)) {
        OpId carrier = frame->carrier;
        if (frame->nth < ops->blocks_count[carrier.row] && walk->depth < WALK_DEPTH_MAX) {
            walk->block = (BlockId){ops->blocks_first[carrier.row].row + frame->nth++};
            walk->op = carrier;
            push(walk, walk->block);
            return WALK_ENTER;
        }
        frame->carrier = (OpId){0};
    }
    if (frame->row >= frame->row_last) return leave(walk);
    OpId op = {frame->row};
    if (!block_id_same(ops->block[op.row], frame->block))
        op = carrier_of(walk->code, frame, op.row);
    frame->row = op.row + 1;
    frame->nth = 0;
    if (ops->blocks_count[op.row] != 0) frame->carrier = op;
    walk->op = op;
    return WALK_OP;
}
