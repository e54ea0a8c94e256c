/* Checks of the code tables against the invariants of tables/code.h.
 *
 * First every row by itself: spans, ids, attributes, and that values and their definers agree. Then
 * the structure: the rows of a block, read backwards from its return, must tile its range, the
 * blocks of an operator lying directly before it one after the other; every operator and every
 * block must be met exactly once from some graph. Last the uses: an operand is defined in an
 * earlier row of the same block or of one around it. */
#include "text/check.h"
#include "text/check_inner.h"
#include "text/walk.h"

static bool in_table(uint64_t row, const Table *table) { return row != 0 && row < table->count; }

/* --- attributes ------------------------------------------------------------------------------- */
static bool list_good(const World *world, AttrKind kind, uint64_t list) {
    if (list >= world->attrs.lists.runs.table.count) return false;
    const int64_t *numbers = list_numbers(&world->attrs, (ListId){(uint32_t)list});
    for (uint32_t i = 0; i < list_count(&world->attrs, (ListId){(uint32_t)list}); i++) {
        uint64_t row = (uint64_t)numbers[i];
        if (kind == ATTR_STRS && row >= world->strings.rows.table.count) return false;
        if (kind == ATTR_DIMS && !in_table(row, &world->dims.rows.table)) return false;
    }
    return true;
}
static bool word_good(const World *world, AttrKind kind, uint64_t word) {
    const char *const *names = attr_enum_names(kind);
    if (names != NULL) {
        uint64_t count = 0;
        while (names[count] != NULL) count++;
        return word < count;
    }
    switch (kind) {
    case ATTR_INT:
    case ATTR_FLOAT: return true;
    case ATTR_BOOL: return word <= 1;
    case ATTR_STR: return word < world->strings.rows.table.count;
    case ATTR_DTYPE: return word != DTYPE_NIL && word < DTYPE_COUNT;
    case ATTR_TYPE: return in_table(word, &world->types.types.table);
    case ATTR_DIM: return in_table(word, &world->dims.rows.table);
    case ATTR_CONST: return in_table(word, &world->consts.rows.table);
    default: return list_good(world, kind, word);
    }
}
static bool attrs_good(const World *world, uint32_t row, const OpInfo *info) {
    AttrsId id = world->code.ops.attrs[row];
    if (id.row >= world->attrs.records.runs.table.count) return false;
    if (attrs_count(&world->attrs, id) != info->attrs_count) return false;
    const uint64_t *words = attrs_words(&world->attrs, id);
    for (uint32_t i = 0; i < info->attrs_count; i++)
        if (!word_good(world, info->attrs[i].kind, words[i]) &&
            (words[i] != 0 || info->attrs[i].required || info->attrs[i].kind != ATTR_DIM))
            return false;
    return true;
}

/* --- rows ------------------------------------------------------------------------------------- */
static bool check_op(const Check *c, uint32_t row) {
    const Code *code = &c->world->code;
    const Ops  *ops = &code->ops;
    uint32_t    opcode = ops->opcode[row], operands = ops->operands_count[row];
    if (opcode == OP_NIL || opcode >= OP_COUNT)
        return check_bad(c, &ops->table, row, "the operator is unknown");
    const OpInfo *info = &op_infos[opcode];
    if (operands < info->operands_min || operands > info->operands_max ||
        !check_span(ops->operands_first[row], operands, &code->operands.table))
        return check_bad(c, &ops->table, row, "the operands are not in the pool or do not fit");
    uint32_t results = check_results((Opcode)opcode, operands, ops->results_count[row]);
    if (ops->results_count[row] != results ||
        !check_span(ops->results_first[row].row, results, &code->values.table))
        return check_bad(c, &ops->table, row, "the results are not in the table or do not fit");
    for (uint32_t i = 0; i < results; i++)
        if (code->values.def[ops->results_first[row].row + i] != row)
            return check_bad(c, &ops->table, row, "a result belongs to another row");
    if (!attrs_good(c->world, row, info))
        return check_bad(c, &ops->table, row, "the attributes do not fit the operator");
    if (!in_table(ops->block[row].row, &code->blocks.table))
        return check_bad(c, &ops->table, row, "the block is missing");
    if (ops->blocks_count[row] != check_blocks(c->world, (Opcode)opcode, ops->attrs[row]) ||
        !check_span(ops->blocks_first[row].row, ops->blocks_count[row], &code->blocks.table))
        return check_bad(c, &ops->table, row, "the nested blocks do not fit the operator");
    if (ops->loc[row].row >= c->world->locs.table.count)
        return check_bad(c, &ops->table, row, "the place is not in the table");
    return true;
}
static bool check_value(const Check *c, uint32_t row) {
    const Code *code = &c->world->code;
    uint32_t    def = code->values.def[row], owner = def & ~VALUE_IS_ARG, first, count;
    bool        is_arg = (def & VALUE_IS_ARG) != 0;
    if (code->values.type[row].row >= c->world->types.types.table.count ||
        code->values.name[row].row >= c->world->strings.rows.table.count)
        return check_bad(c, &code->values.table, row, "the type or name is not in its table");
    if (!in_table(owner, is_arg ? &code->blocks.table : &code->ops.table))
        return check_bad(c, &code->values.table, row, "the definition is missing");
    first = is_arg ? code->blocks.args_first[owner].row : code->ops.results_first[owner].row;
    count = is_arg ? code->blocks.args_count[owner] : code->ops.results_count[owner];
    if (row < first || row - first >= count)
        return check_bad(c, &code->values.table, row, "its definer does not know it");
    return true;
}
static bool check_block_row(const Check *c, uint32_t row) {
    const Code   *code = &c->world->code;
    const Blocks *blocks = &code->blocks;
    uint32_t      first = blocks->args_first[row].row, count = blocks->args_count[row];
    if (!check_span(first, count, &code->values.table))
        return check_bad(c, &blocks->table, row, "the arguments are not in the table");
    for (uint32_t i = 0; i < count; i++)
        if (code->values.def[first + i] != (VALUE_IS_ARG | row))
            return check_bad(c, &blocks->table, row, "an argument belongs to another row");
    if (blocks->op_first[row] == 0 || blocks->op_first[row] >= blocks->op_last[row] ||
        blocks->op_last[row] > code->ops.table.count)
        return check_bad(c, &blocks->table, row, "the range of operators is empty or too long");
    if (blocks->parent[row].row >= code->ops.table.count)
        return check_bad(c, &blocks->table, row, "the carrying operator is missing");
    return true;
}
static bool check_rows(const Check *c) {
    const Code *code = &c->world->code;
    if (code->blocks.table.count > VALUE_IS_ARG || code->ops.table.count > VALUE_IS_ARG)
        return check_bad(c, &code->ops.table, 0, "there are too many rows");
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (!check_op(c, row)) return false;
    for (uint32_t row = 1; row < code->values.table.count; row++)
        if (!check_value(c, row)) return false;
    for (uint32_t row = 1; row < code->blocks.table.count; row++)
        if (!check_block_row(c, row)) return false;
    return true;
}

/* --- structure -------------------------------------------------------------------------------- */
typedef struct Structure {
    uint8_t *depth; /* by BlockId.row: nesting from 1; 0: not met yet */
    uint32_t ops;   /* rows met */
} Structure;
typedef struct Open {    /* a block whose rows are being read backwards */
    uint32_t block, row; /* row: the next, plus one */
} Open;

/* The blocks of a carrier must lie directly before it; marks them with their depth. Returns the row
 * where the first begins, or 0. */
static uint32_t enter_blocks(const Code *code, Structure *s, uint32_t op, uint32_t depth) {
    const Blocks *blocks = &code->blocks;
    uint32_t      end = op;
    for (uint32_t i = code->ops.blocks_count[op]; i-- > 0;) {
        uint32_t block = code->ops.blocks_first[op].row + i;
        if (s->depth[block] != 0 || blocks->parent[block].row != op) return 0;
        if (blocks->op_last[block] != end) return 0;
        s->depth[block] = (uint8_t)depth;
        end = blocks->op_first[block];
    }
    return end;
}
/* Reads a body and everything nested in it. The stack holds the blocks that are open at each depth
 * and, below them, their unread neighbours. */
static bool check_body(const Check *c, Structure *s, Arena *scratch, uint32_t body) {
    const Code *code = &c->world->code;
    Open       *stack = ARENA_ARRAY(scratch, Open, WALK_DEPTH_MAX * 2 + 2);
    uint32_t    open = 0;
    s->depth[body] = 1;
    stack[open++] = (Open){body, code->blocks.op_last[body]};
    while (open != 0) {
        Open    *top = &stack[open - 1];
        uint32_t row = top->row - 1, block = top->block, depth = s->depth[block] + 1u;
        if (top->row == code->blocks.op_first[block]) {
            open--;
            continue;
        }
        bool is_last = row + 1 == code->blocks.op_last[block];
        bool is_end = (op_infos[code->ops.opcode[row]].flags & OP_TERMINATOR) != 0;
        if (row < code->blocks.op_first[block] || code->ops.block[row].row != block)
            return check_bad(c, &code->ops.table, row, "the row is not inside its block");
        if (is_last != is_end)
            return check_bad(c, &code->ops.table, row, "return is not the last row of its block");
        s->ops++;
        top->row = row;
        if (code->ops.blocks_count[row] == 0) continue;
        uint32_t begins = enter_blocks(code, s, row, depth);
        if (begins == 0 || depth >= WALK_DEPTH_MAX)
            return check_bad(c, &code->ops.table, row,
                             "the nested blocks are misplaced or too deep");
        top->row = begins;
        for (uint32_t i = 0; i < code->ops.blocks_count[row]; i++) {
            uint32_t nested = code->ops.blocks_first[row].row + i;
            stack[open++] = (Open){nested, code->blocks.op_last[nested]};
        }
    }
    return true;
}
static bool check_graphs(const Check *c, Structure *s, Arena *scratch) {
    const Code   *code = &c->world->code;
    const Graphs *graphs = &code->graphs;
    uint8_t      *named = ARENA_ARRAY_ZERO(scratch, uint8_t, c->world->strings.rows.table.count);
    for (uint32_t row = 1; row < graphs->table.count; row++) {
        uint32_t name = graphs->name[row].row, body = graphs->block[row].row;
        if (!in_table(name, &c->world->strings.rows.table) || named[name]++ != 0)
            return check_bad(c, &graphs->table, row, "the name is missing or used twice");
        if (!in_table(body, &code->blocks.table) || s->depth[body] != 0 ||
            code->blocks.parent[body].row != 0)
            return check_bad(c, &graphs->table, row, "the body is missing or belongs elsewhere");
        if (!check_body(c, s, scratch, body)) return false;
    }
    for (uint32_t row = 1; row < code->blocks.table.count; row++)
        if (s->depth[row] == 0)
            return check_bad(c, &code->blocks.table, row, "the block belongs to nothing");
    if (s->ops != code->ops.table.count - 1)
        return check_bad(c, &code->ops.table, 0, "there are rows outside all graphs");
    return true;
}

/* --- uses ------------------------------------------------------------------------------------- */
/* Whether block `from` is `at` or around it. */
static bool encloses(const Code *code, const uint8_t *depth, uint32_t from, uint32_t at) {
    while (at != from && depth[at] > depth[from])
        at = code->ops.block[code->blocks.parent[at].row].row;
    return at == from;
}
static bool check_uses(const Check *c, const uint8_t *depth) {
    const Code *code = &c->world->code;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        const ValueId *operands = op_operands(code, (OpId){row});
        uint32_t       block = code->ops.block[row].row;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            if (!in_table(operands[i].row, &code->values.table))
                return check_bad(c, &code->ops.table, row, "an operand is missing");
            uint32_t def = code->values.def[operands[i].row];
            bool     is_arg = (def & VALUE_IS_ARG) != 0;
            uint32_t from = is_arg ? def & ~VALUE_IS_ARG : code->ops.block[def].row;
            if ((!is_arg && def >= row) || !encloses(code, depth, from, block))
                return check_bad(c, &code->ops.table, row, "an operand is not defined before it");
        }
    }
    return true;
}

bool check_code(const Check *c) {
    if (!check_rows(c)) return false;
    Scratch   scratch = scratch_begin(NULL, 0);
    uint32_t  blocks = c->world->code.blocks.table.count;
    Structure s = {.depth = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, blocks)};
    bool      good = check_graphs(c, &s, scratch.arena) && check_uses(c, s.depth);
    scratch_end(scratch);
    return good;
}
