/* Code: the rows that make up programs. Operators, their operands, values, blocks and graphs are
 * rewritten together, so they form one unit: a system reads one Code in row order and writes the
 * other of the world's pair, then the two swap (code_swap in world.h).
 *
 * Invariants (code_verify checks them):
 *  - the results of an operator are consecutive value rows, in operator order; block arguments are
 *    consecutive value rows as well; every value has exactly one definer;
 *  - operands are defined in earlier rows of the same block or of an enclosing block;
 *  - the rows of a block lie in [op_first, op_last); rows of nested blocks lie inside that range,
 *    just before the operator that carries them, and are told apart by ops.block;
 *  - the last row of a block is its terminator (return).
 * A value is the result of an operator or the argument of a block: one id space. */
#ifndef STOA_TABLES_CODE_H
#define STOA_TABLES_CODE_H

#include "tables/attrs.h"
#include "tables/code_ids.h"
#include "tables/types.h"

#define OPS_COLUMNS(C)                                                                             \
    C(uint16_t, opcode, "Opcode, narrowed")                                                        \
    C(uint16_t, operands_count, "number of operands")                                              \
    C(uint32_t, operands_first, "first row of operands")                                           \
    C(ValueId, results_first, "first result")                                                      \
    C(AttrsId, attrs, "attribute record")                                                          \
    C(BlockId, block, "block that contains the operator")                                          \
    C(uint16_t, results_count, "number of results")                                                \
    C(uint16_t, blocks_count, "number of nested blocks (control flow)")                            \
    C(BlockId, blocks_first, "first nested block")                                                 \
    C(LocId, loc, "where in the user's source")
TABLE_TYPE(Ops, OPS_COLUMNS);
#define OPERANDS_COLUMNS(C) C(ValueId, value, "operands back to back")
TABLE_TYPE(Operands, OPERANDS_COLUMNS);
#define VALUES_COLUMNS(C)                                                                          \
    C(TypeId, type, "nil until inferred")                                                          \
    C(uint32_t, def, "OpId of the definer, or VALUE_IS_ARG | BlockId")                             \
    C(StrId, name, "from the user's source; nil: named by its operator when printed")
TABLE_TYPE(Values, VALUES_COLUMNS);
#define BLOCKS_COLUMNS(C)                                                                          \
    C(uint32_t, op_first, "first operator row")                                                    \
    C(uint32_t, op_last, "one past the last operator row")                                         \
    C(ValueId, args_first, "first argument")                                                       \
    C(uint32_t, args_count, "number of arguments")                                                 \
    C(OpId, parent, "operator that carries the block; nil for the body of a graph")
TABLE_TYPE(Blocks, BLOCKS_COLUMNS);
#define GRAPHS_COLUMNS(C)                                                                          \
    C(StrId, name, "unique in the world")                                                          \
    C(BlockId, block, "body")
TABLE_TYPE(Graphs, GRAPHS_COLUMNS);

#define VALUE_IS_ARG 0x80000000u

typedef struct Code {
    Ops      ops;
    Operands operands;
    Values   values;
    Blocks   blocks;
    Graphs   graphs;
    uint32_t generation; /* counts rewrites */
} Code;

void   code_open(Code *code, uint32_t ops_max, Budget *budget);
void   code_close(Code *code);
void   code_clear(Code *code);
void   code_copy(Code *into, const Code *from);
Table *code_table(Code *code, uint32_t index); /* all tables in turn; NULL past the last */

static inline const ValueId *op_operands(const Code *code, OpId op) {
    return code->operands.value + code->ops.operands_first[op.row];
}
static inline ValueId op_operand(const Code *code, OpId op, uint32_t i) {
    ASSERT(i < code->ops.operands_count[op.row]);
    return code->operands.value[code->ops.operands_first[op.row] + i];
}
static inline ValueId op_result(const Code *code, OpId op, uint32_t i) {
    ASSERT(i < code->ops.results_count[op.row]);
    return (ValueId){code->ops.results_first[op.row].row + i};
}
static inline bool value_is_arg(const Code *code, ValueId value) {
    return (code->values.def[value.row] & VALUE_IS_ARG) != 0;
}
/* Its operator; nil for block arguments and the nil value. */
static inline OpId value_op(const Code *code, ValueId value) {
    uint32_t def = code->values.def[value.row];
    return (OpId){def & VALUE_IS_ARG ? 0 : def};
}

/* Appends an operator with results_count fresh values of unknown type; returns it. */
OpId code_add_op(Code *code, BlockId block, uint16_t opcode, const ValueId *operands,
                 uint32_t operands_count, uint32_t results_count, AttrsId attrs, LocId loc);
/* Appends a block with arguments of unknown type. Its operator range starts at the next row. */
BlockId code_add_block(Code *code, OpId parent, uint32_t args_count);
GraphId code_add_graph(Code *code, StrId name, BlockId block);
GraphId code_find_graph(const Code *code, StrId name);

/* The rows of the blocks of an operator that was appended after them: sets parent, op_first and
 * op_last of each. */
void code_close_blocks(Code *code, OpId op);
/* The nested blocks that begin at this row, outermost first; returns how many (CODE_DEPTH_MAX). */
enum { CODE_DEPTH_MAX = 64 };
uint32_t code_blocks_at(const Code *code, OpId op, BlockId *out_blocks);
/* Whether a definition in block `from` is visible in block `at`: the same or an enclosing one. */
bool code_visible(const Code *code, BlockId from, BlockId at);

/* The terminator of a block. */
static inline OpId block_return(const Code *code, BlockId block) {
    return (OpId){code->blocks.op_last[block.row] - 1};
}

#endif
