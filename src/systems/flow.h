/* Operators with blocks: questions that several systems ask, and building one.
 *
 *     FlowBuild f = flow_open(build, args_of_each_block, blocks);
 *     flow_enter(&f, 0); ... flow_arg(&f, 0, i) ... flow_return(&f, values, count);
 *     OpId op = flow_close(&f, OP_IF, operands, count, attrs, types_of_results, results);
 */
#ifndef STOA_SYSTEMS_FLOW_H
#define STOA_SYSTEMS_FLOW_H

#include "tables/build.h"

typedef struct ValueList {
    ValueId *at;
    uint32_t count;
} ValueList;

static inline BlockId flow_block(const Code *code, OpId op, uint32_t i) {
    return (BlockId){code->ops.blocks_first[op.row].row + i};
}
static inline ValueId flow_block_arg(const Code *code, BlockId block, uint32_t i) {
    return (ValueId){code->blocks.args_first[block.row].row + i};
}
/* What a block returns. */
static inline ValueId flow_returned(const Code *code, BlockId block, uint32_t i) {
    return op_operand(code, block_return(code, block), i);
}
/* The first row of the blocks of an operator; the operator itself when it carries none. */
uint32_t flow_first(const Code *code, OpId op);
/* The values from around an operator that rows of its blocks use, each once, in order of first use.
 * Linear in these rows, and in the values of the code for its marks. */
ValueList flow_captures(Arena *out, const Code *code, OpId op);

/* The number of steps of a scan, from its attribute or its first scanned operand. */
DimId flow_scan_length(const World *world, const Code *code, OpId op);
/* The type of rows stacked along a new axis 0, and that of a row. */
TypeId flow_stacked(World *world, TypeId row, DimId length);
TypeId flow_row_type(World *world, TypeId stacked);

typedef struct FlowBuild {
    Build   *build;
    BlockId  outer, first;
    uint32_t count;
} FlowBuild;
/* Makes the blocks; arguments get types by flow_type_arg. The blocks of an operator must be made
 * before those of operators inside them. */
FlowBuild flow_open(Build *build, const uint32_t *args, uint32_t blocks);
ValueId   flow_type_arg(FlowBuild *f, uint32_t block, uint32_t arg, TypeId type);
ValueId   flow_arg(const FlowBuild *f, uint32_t block, uint32_t arg);
void      flow_enter(FlowBuild *f, uint32_t block); /* its rows follow */
void      flow_return(FlowBuild *f, const ValueId *values, uint32_t count);
/* attrs: one word per attribute of the schema. Back in the block around it. */
OpId flow_close(FlowBuild *f, Opcode opcode, const ValueId *operands, uint32_t count,
                const uint64_t *attrs, const TypeId *types, uint32_t results);
/* A row whose results have these types, whatever inference would say. */
OpId flow_row(Build *build, Opcode opcode, const ValueId *operands, uint32_t count,
              const uint64_t *attrs, const TypeId *types, uint32_t results);

#endif
