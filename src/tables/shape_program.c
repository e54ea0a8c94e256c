/* Making shape programs. First every dim that a call will read is marked, with its parts and what
 * stands for it by equalities. Then steps are written as soon as what they read is known, until
 * nothing more becomes known; each sweep that follows settles a symbol or is the last one. Then
 * come the checks, and one more round for every operator whose sizes data decides. */
#include "tables/shape_program.h"

#include "tables/schema.h"

/* checked: in the stage that told it; told: a message names it */
typedef enum Known { UNKNOWN, KNOWN, CHECKED, TOLD } Known;

typedef struct Making {
    const World *world;
    const Dims  *dims;
    BlockId      block;
    uint32_t     op_first, op_last;
    Arena       *scratch;
    uint8_t     *wanted; /* by DimId row */
    uint8_t     *known;  /* Known, by DimId row */
    uint64_t    *given;  /* by DimId row: input << 32 | axis + 1 that set it */
    ShapeStep   *steps;
    uint32_t     steps_count, steps_max;
    uint32_t    *words;
    uint32_t     words_count, words_max;
    uint32_t    *stack;
    uint8_t     *checked; /* by row of checks, and of dims: the check is written */
    uint8_t     *typed;   /* by TypeId row: the same */
    Diags       *diags;
} Making;

static ValueId making_arg(const Making *m, uint32_t input) {
    return (ValueId){m->world->code.blocks.args_first[m->block.row].row + input};
}
static uint32_t making_inputs(const Making *m) {
    return m->world->code.blocks.args_count[m->block.row];
}

/* --- writing ---------------------------------------------------------------------------------- */
static void step(Making *m, ShapeStepKind kind, uint32_t row, uint32_t a, uint32_t b) {
    m->steps = arena_room(m->scratch, m->steps, m->steps_count, &m->steps_max, sizeof *m->steps);
    m->steps[m->steps_count++] = (ShapeStep){(uint32_t)kind, row, a, b};
}
static void word(Making *m, uint32_t value) {
    m->words = arena_room(m->scratch, m->words, m->words_count, &m->words_max, sizeof *m->words);
    m->words[m->words_count++] = value;
}
/* coefficient (low, high), number of factors, factors; the factor `without` is left out. */
static void term_words(Making *m, uint32_t term, uint32_t without) {
    uint32_t mono = m->dims->terms.mono[term], first = m->dims->monos.first[mono];
    uint32_t count = m->dims->monos.count[mono], kept = 0;
    for (uint32_t k = first; k < first + count; k++) kept += m->dims->atoms.atom[k] != without;
    word(m, (uint32_t)(uint64_t)m->dims->terms.coef[term]);
    word(m, (uint32_t)((uint64_t)m->dims->terms.coef[term] >> 32));
    word(m, kept);
    for (uint32_t k = first; k < first + count; k++)
        if (m->dims->atoms.atom[k] != without) word(m, m->dims->atoms.atom[k]);
}

/* --- what the graph reads --------------------------------------------------------------------- */
static void want(Making *m, uint32_t row) {
    const DimRows *r = &m->dims->rows;
    uint32_t       count = 0;
    if (row == 0 || m->wanted[row]) return;
    m->wanted[row] = 1;
    m->stack[count++] = row;
    while (count != 0) { /* each row is pushed once */
        uint32_t at = m->stack[--count], parts[3] = {r->same_as[at], 0, 0};
        if (r->kind[at] >= DIM_FLOORDIV) {
            parts[1] = r->lhs[at];
            parts[2] = r->rhs[at];
        }
        for (uint32_t i = 0; i < 3; i++) {
            if (parts[i] == 0 || m->wanted[parts[i]]) continue;
            m->wanted[parts[i]] = 1;
            m->stack[count++] = parts[i];
        }
        for (uint32_t i = 0; r->kind[at] == DIM_POLY && i < r->rhs[at]; i++) {
            uint32_t mono = m->dims->terms.mono[r->lhs[at] + i];
            for (uint32_t k = 0; k < m->dims->monos.count[mono]; k++) {
                uint32_t atom = m->dims->atoms.atom[m->dims->monos.first[mono] + k];
                if (m->wanted[atom]) continue;
                m->wanted[atom] = 1;
                m->stack[count++] = atom;
            }
        }
    }
}
static void want_list(Making *m, ListId list) {
    for (uint32_t i = 0; i < list_count(&m->world->attrs, list); i++)
        want(m, (uint32_t)list_numbers(&m->world->attrs, list)[i]);
}
static void want_value(Making *m, ValueId value) {
    TypeId type = value_type(m->world, value);
    for (uint32_t i = 0; i < type_rank(&m->world->types, type); i++)
        want(m, type_dims(&m->world->types, type)[i].row);
}
static void want_op(Making *m, OpId op) {
    const Code     *code = &m->world->code;
    const OpInfo   *info = op_info(code, op);
    const uint64_t *words = op_attrs(m->world, code, op);
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++)
        want_value(m, op_result(code, op, i));
    for (uint32_t i = 0; i < info->attrs_count; i++) {
        if (info->attrs[i].kind == ATTR_DIM) want(m, (uint32_t)words[i]);
        if (info->attrs[i].kind == ATTR_DIMS) want_list(m, (ListId){(uint32_t)words[i]});
    }
    for (uint32_t i = 0; i < code->ops.blocks_count[op.row]; i++) {
        BlockId block = {code->ops.blocks_first[op.row].row + i};
        for (uint32_t k = 0; k < code->blocks.args_count[block.row]; k++)
            want_value(m, (ValueId){code->blocks.args_first[block.row].row + k});
    }
}
static bool check_is_here(const Making *m, uint32_t check) {
    uint32_t body = m->world->checks.rows.body[check].row;
    return body == 0 || body == m->block.row;
}
static void want_all(Making *m, const ShapeRoots *roots) {
    const CheckRows *checks = &m->world->checks.rows;
    for (uint32_t row = 1; row < m->dims->rows.table.count; row++)
        if (m->dims->rows.same_as[row] != 0) want(m, row); /* what it holds may be given */
    for (uint32_t i = 0; i < making_inputs(m); i++) want_value(m, making_arg(m, i));
    for (uint32_t row = m->op_first; row < m->op_last; row++) want_op(m, (OpId){row});
    for (uint32_t row = 1; row < checks->table.count; row++) {
        if (checks->body[row].row != m->block.row) continue;
        want(m, checks->lhs[row].row);
        want(m, checks->rhs[row].row);
    }
    if (roots == NULL) return;
    for (uint32_t row = 1; roots->all && row < m->dims->rows.table.count; row++) want(m, row);
    for (uint32_t i = 0; i < roots->dims_count; i++) want(m, roots->dims[i].row);
    for (uint32_t i = 0; i < roots->lists_count; i++) want_list(m, roots->lists[i]);
}

/* --- steps ------------------------------------------------------------------------------------ */
static void know(Making *m, uint32_t row) { m->known[row] = KNOWN; }

static bool mono_known(const Making *m, uint32_t mono) {
    for (uint32_t k = 0; k < m->dims->monos.count[mono]; k++)
        if (!m->known[m->dims->atoms.atom[m->dims->monos.first[mono] + k]]) return false;
    return true;
}
static bool parts_known(const Making *m, uint32_t row) {
    const DimRows *r = &m->dims->rows;
    if (r->kind[row] == DIM_CONST) return true;
    if (r->kind[row] == DIM_SYMBOL) return false;
    if (r->kind[row] != DIM_POLY) return m->known[r->lhs[row]] && m->known[r->rhs[row]];
    for (uint32_t i = r->lhs[row]; i < r->lhs[row] + r->rhs[row]; i++)
        if (!mono_known(m, m->dims->terms.mono[i])) return false;
    return true;
}
static void evaluate(Making *m, uint32_t row) {
    const DimRows *r = &m->dims->rows;
    if (r->kind[row] == DIM_CONST) {
        step(m, SHAPE_NUMBER, row, 0, 0);
    } else if (r->kind[row] == DIM_POLY) {
        step(m, SHAPE_SUM, row, m->words_count, r->rhs[row]);
        for (uint32_t i = 0; i < r->rhs[row]; i++) term_words(m, r->lhs[row] + i, 0);
    } else {
        step(m, SHAPE_ATOM, row, r->lhs[row], r->rhs[row]);
    }
    know(m, row);
}
/* Parts come before what is made of them, so one forward sweep evaluates all that can be. */
static void spread(Making *m) {
    for (uint32_t row = 1; row < m->dims->rows.table.count; row++)
        if (m->wanted[row] && !m->known[row] && parts_known(m, row)) evaluate(m, row);
}
/* The one unknown symbol of a sum that is linear in it, or 0. */
static uint32_t lone_unknown(const Making *m, uint32_t row) {
    const DimRows *r = &m->dims->rows;
    uint32_t       unknown = 0;
    if (r->kind[row] != DIM_POLY) return 0;
    for (uint32_t i = r->lhs[row]; i < r->lhs[row] + r->rhs[row]; i++) {
        uint32_t mono = m->dims->terms.mono[i], first = m->dims->monos.first[mono], times = 0;
        for (uint32_t k = first; k < first + m->dims->monos.count[mono]; k++) {
            uint32_t atom = m->dims->atoms.atom[k];
            if (m->known[atom]) continue;
            if (r->kind[atom] != DIM_SYMBOL || (unknown != 0 && atom != unknown)) return 0;
            unknown = atom;
            if (++times > 1) return 0;
        }
    }
    return unknown;
}
/* From a sum that is worth an axis (input, axis) or a known row (UINT32_MAX, row). Words: the
 * source, the number of terms without the symbol, those terms, then those with it. */
static bool solve(Making *m, uint32_t row, uint32_t input, uint32_t axis) {
    const DimRows *r = &m->dims->rows;
    uint32_t       unknown = lone_unknown(m, row), without = 0;
    if (unknown == 0) return false;
    step(m, SHAPE_SOLVE, unknown, m->words_count, r->rhs[row]);
    word(m, input);
    word(m, axis);
    for (uint32_t i = r->lhs[row]; i < r->lhs[row] + r->rhs[row]; i++)
        without += mono_known(m, m->dims->terms.mono[i]);
    word(m, without);
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = r->lhs[row]; i < r->lhs[row] + r->rhs[row]; i++)
            if (mono_known(m, m->dims->terms.mono[i]) == (pass == 0)) term_words(m, i, unknown);
    if (input != UINT32_MAX) m->given[unknown] = (uint64_t)input << 32 | (axis + 1);
    know(m, unknown);
    return true;
}
static bool read_inputs(Making *m) {
    const Types *types = &m->world->types;
    bool         changed = false;
    for (uint32_t i = 0; i < making_inputs(m); i++) {
        TypeId type = value_type(m->world, making_arg(m, i));
        for (uint32_t axis = 0; axis < type_rank(types, type); axis++) {
            uint32_t row = type_dims(types, type)[axis].row;
            if (m->known[row]) continue;
            if (m->dims->rows.kind[row] != DIM_SYMBOL) {
                changed |= solve(m, row, i, axis);
                continue;
            }
            step(m, SHAPE_INPUT, row, i, axis);
            m->given[row] = (uint64_t)i << 32 | (axis + 1);
            know(m, row);
            changed = true;
        }
    }
    return changed;
}
static bool follow_equalities(Making *m) {
    const DimRows *r = &m->dims->rows;
    bool           changed = false;
    for (uint32_t row = 1; row < r->table.count; row++) {
        uint32_t other = r->same_as[row];
        if (other == 0 || !m->wanted[row]) continue;
        for (uint32_t turn = 0; turn < 2; turn++) {
            uint32_t to = turn ? other : row, from = turn ? row : other;
            if (!m->known[from] || m->known[to]) continue;
            changed = true;
            if (solve(m, to, UINT32_MAX, from)) continue; /* then it is evaluated, and compared */
            step(m, SHAPE_COPY, to, from, 0);
            know(m, to);
        }
    }
    return changed;
}
static void settle(Making *m) {
    bool changed = true;
    while (changed) {
        spread(m);
        changed = read_inputs(m) || follow_equalities(m);
    }
}

/* --- checks ----------------------------------------------------------------------------------- */
static bool has_facts(const DimRows *r, uint32_t row) {
    return r->lo[row] != 0 || r->hi[row] != DIM_SIZE_MAX || r->modulus[row] != 1;
}
static void check_dims(Making *m) {
    const DimRows *r = &m->dims->rows;
    for (uint32_t row = 1; row < r->table.count; row++) {
        if (m->known[row] != KNOWN || r->kind[row] != DIM_SYMBOL) continue;
        uint32_t other = r->same_as[row]; /* equal symbols share their facts */
        bool     shared = other != 0 && r->kind[other] == DIM_SYMBOL && m->known[other];
        if (!shared && has_facts(r, row)) step(m, SHAPE_FACTS, row, 0, 0);
    }
}
static void check_inputs(Making *m) {
    const Types *types = &m->world->types;
    for (uint32_t i = 0; i < making_inputs(m); i++) {
        TypeId type = value_type(m->world, making_arg(m, i));
        for (uint32_t axis = 0; axis < type_rank(types, type); axis++) {
            uint32_t row = type_dims(types, type)[axis].row;
            bool     own = m->given[row] == ((uint64_t)i << 32 | (axis + 1));
            if (m->known[row] == KNOWN && !own) step(m, SHAPE_SIZE, row, i, axis);
        }
    }
}
/* One that an operator of this graph needs is told by SHAPE_NEED; also those between sizes that the
 * graph does not use are kept, as far as it gives them. */
static void check_needs(Making *m) {
    const CheckRows *checks = &m->world->checks.rows;
    const DimRows   *r = &m->dims->rows;
    uint8_t         *checked = m->checked;
    for (uint32_t row = 1; row < checks->table.count; row++) {
        uint32_t lhs = checks->lhs[row].row, rhs = checks->rhs[row].row;
        if (checked[row] || !check_is_here(m, row) || !m->known[lhs] || !m->known[rhs]) continue;
        step(m, SHAPE_NEED, row, lhs, rhs);
        checked[row] = 1;
    }
    checked += checks->table.count;
    for (uint32_t row = 1; row < r->table.count; row++) {
        uint32_t other = r->same_as[row];
        if (other == 0 || checked[row] || !m->known[row] || !m->known[other]) continue;
        step(m, SHAPE_SAME, row, other, 0);
        checked[row] = 1;
    }
}
static void check_value(Making *m, ValueId value, uint32_t op) {
    const Types *types = &m->world->types;
    TypeId       type = value_type(m->world, value);
    if (m->typed[type.row]) return;
    for (uint32_t i = 0; i < type_rank(types, type); i++)
        if (!m->known[type_dims(types, type)[i].row]) return;
    step(m, SHAPE_TENSOR, type.row, value.row, op);
    m->typed[type.row] = 1;
}
static void check_values(Making *m) {
    const Code *code = &m->world->code;
    for (uint32_t i = 0; i < making_inputs(m); i++) check_value(m, making_arg(m, i), 0);
    for (uint32_t row = m->op_first; row < m->op_last; row++)
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            check_value(m, op_result(code, (OpId){row}, i), row);
}
static void check_all(Making *m) {
    check_dims(m);
    check_inputs(m);
    check_needs(m);
    check_values(m);
    for (uint32_t row = 1; row < m->dims->rows.table.count; row++)
        if (m->known[row] == KNOWN) m->known[row] = CHECKED;
}

/* --- late sizes ------------------------------------------------------------------------------- */
/* The sizes that a late operator gives: a size attribute, or a list of them. */
static uint32_t late_dims(const Making *m, uint32_t row, int64_t *one, const int64_t **out) {
    const Code     *code = &m->world->code;
    const uint64_t *words = op_attrs(m->world, code, (OpId){row});
    *one = (int64_t)words[0];
    *out = one;
    if (op_info(code, (OpId){row})->attrs[0].kind == ATTR_DIM) return 1;
    ListId list = {(uint32_t)words[0]};
    *out = list_numbers(&m->world->attrs, list);
    return list_count(&m->world->attrs, list);
}
/* There are no more rows than the operand has. */
static uint32_t late_most(const Making *m, uint32_t row) {
    const Code *code = &m->world->code;
    if (code->ops.opcode[row] != OP_COMPACT) return 0;
    TypeId mask = value_type(m->world, op_operand(code, (OpId){row}, 0));
    return type_dims(&m->world->types, mask)[0].row;
}
static void late_steps(Making *m, uint32_t row) {
    const int64_t *sizes;
    int64_t        one;
    uint32_t       count = late_dims(m, row, &one, &sizes);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t dim = (uint32_t)sizes[i];
        if (m->known[dim] || m->dims->rows.kind[dim] != DIM_SYMBOL) continue;
        step(m, SHAPE_LATE, dim, late_most(m, row), i);
        know(m, dim);
    }
}
static void check_late(Making *m, uint32_t row) {
    const int64_t *sizes;
    int64_t        one;
    uint32_t       count = late_dims(m, row, &one, &sizes);
    for (uint32_t i = 0; i < count; i++)
        if (m->known[sizes[i]]) step(m, SHAPE_GIVEN, (uint32_t)sizes[i], 0, i);
}

/* --- unbound ---------------------------------------------------------------------------------- */
static uint32_t unknown_of(const Making *m, TypeId type) {
    const Types *types = &m->world->types;
    for (uint32_t i = 0; i < type_rank(types, type); i++)
        if (!m->known[type_dims(types, type)[i].row]) return type_dims(types, type)[i].row;
    return 0;
}
/* A size of a row that is not known now, or 0. */
static uint32_t unknown_size(const Making *m, uint32_t row) {
    const World    *world = m->world;
    const Code     *code = &world->code;
    const OpInfo   *info = op_info(code, (OpId){row});
    const uint64_t *words = op_attrs(world, code, (OpId){row});
    uint32_t        dim = 0;
    for (uint32_t i = 0; i < code->ops.results_count[row] && dim == 0; i++)
        dim = unknown_of(m, value_type(world, op_result(code, (OpId){row}, i)));
    for (uint32_t i = 0; i < info->attrs_count && dim == 0; i++) {
        ListId list = {info->attrs[i].kind == ATTR_DIMS ? (uint32_t)words[i] : 0};
        if (info->attrs[i].kind == ATTR_DIM && words[i] != 0 && !m->known[words[i]])
            dim = (uint32_t)words[i];
        for (uint32_t k = 0; k < list_count(&world->attrs, list) && dim == 0; k++)
            if (!m->known[list_numbers(&world->attrs, list)[k]])
                dim = (uint32_t)list_numbers(&world->attrs, list)[k];
    }
    return dim;
}
/* early: by row of the graph, a size that was not known when the row was reached, or 0. */
static bool all_bound(Making *m, const uint32_t *early) {
    bool bound = true;
    for (uint32_t i = 0; i < making_inputs(m); i++) {
        uint32_t dim = unknown_of(m, value_type(m->world, making_arg(m, i)));
        if (dim == 0) continue;
        (void)diags_add(m->diags, DIAG_DIM_UNBOUND, 0, dim, 0, 0, 0);
        m->known[dim] = TOLD;
        bound = false;
    }
    for (uint32_t row = m->op_first; row < m->op_last; row++) {
        uint32_t dim = early[row - m->op_first];
        if (dim == 0 || m->known[dim] == TOLD) continue;
        DiagKind kind = m->known[dim] ? DIAG_DIM_EARLY : DIAG_DIM_UNBOUND;
        (void)diags_add(m->diags, kind, row, dim, 0, 0, 0);
        m->known[dim] = TOLD;
        bound = false;
    }
    return bound;
}

/* --- all of it -------------------------------------------------------------------------------- */
static Making making_begin(Arena *scratch, const World *world, GraphId graph, Diags *diags) {
    const Code *code = &world->code;
    uint32_t    rows = world->dims.rows.table.count, block = code->graphs.block[graph.row].row;
    uint32_t    checks = world->checks.rows.table.count;
    return (Making){.world = world,
                    .dims = &world->dims,
                    .block = {block},
                    .op_first = code->blocks.op_first[block],
                    .op_last = code->blocks.op_last[block],
                    .scratch = scratch,
                    .wanted = ARENA_ARRAY_ZERO(scratch, uint8_t, rows),
                    .known = ARENA_ARRAY_ZERO(scratch, uint8_t, rows),
                    .given = ARENA_ARRAY_ZERO(scratch, uint64_t, rows),
                    .stack = ARENA_ARRAY(scratch, uint32_t, rows),
                    .checked = ARENA_ARRAY_ZERO(scratch, uint8_t, checks + rows),
                    .typed = ARENA_ARRAY_ZERO(scratch, uint8_t, world->types.types.table.count),
                    .diags = diags};
}
static void end_stage(Making *m, uint32_t op, ShapeStage *stages, uint32_t *count) {
    uint32_t first = *count == 0 ? 0 : stages[*count - 1].last, checks;
    settle(m);
    checks = m->steps_count;
    if (op != 0) check_late(m, op);
    check_all(m);
    stages[(*count)++] = (ShapeStage){{op}, first, checks, m->steps_count};
}
static uint32_t make_stages(Making *m, ShapeStage *stages, uint32_t *early) {
    uint32_t count = 0;
    end_stage(m, 0, stages, &count);
    for (uint32_t row = m->op_first; row < m->op_last; row++) {
        if (op_info(&m->world->code, (OpId){row})->flags & OP_LATE) {
            late_steps(m, row);
            end_stage(m, row, stages, &count);
        }
        early[row - m->op_first] = unknown_size(m, row);
    }
    return count;
}
const ShapeProgram *shape_program_make(Arena *out, const World *world, GraphId graph,
                                       const ShapeRoots *roots, Diags *diags) {
    ASSERT(graph_id_some(graph) && graph.row < world->code.graphs.table.count);
    Scratch       scratch = scratch_begin(&out, 1);
    Making        making = making_begin(scratch.arena, world, graph, diags), *m = &making;
    uint32_t      rows = m->op_last - m->op_first;
    ShapeStage   *stages = ARENA_ARRAY(scratch.arena, ShapeStage, rows + 1);
    uint32_t     *early = ARENA_ARRAY(scratch.arena, uint32_t, rows);
    ShapeProgram *program = NULL;
    want_all(m, roots);
    uint32_t count = make_stages(m, stages, early);
    if (all_bound(m, early)) {
        ShapeStep  *steps = ARENA_ARRAY(out, ShapeStep, m->steps_count);
        uint32_t   *words = ARENA_ARRAY(out, uint32_t, m->words_count);
        ShapeStage *kept = ARENA_ARRAY(out, ShapeStage, count);
        if (m->steps_count != 0) memcpy(steps, m->steps, sizeof *steps * m->steps_count);
        if (m->words_count != 0) memcpy(words, m->words, sizeof *words * m->words_count);
        memcpy(kept, stages, sizeof *kept * count);
        program = ARENA_NEW(out, ShapeProgram);
        *program = (ShapeProgram){.world = world,
                                  .graph = graph,
                                  .steps = steps,
                                  .words = words,
                                  .stages = kept,
                                  .stages_count = count,
                                  .inputs = making_inputs(m),
                                  .late = count > 1};
    }
    scratch_end(scratch);
    return program;
}
