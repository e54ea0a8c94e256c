/* Running shape programs. One loop over the steps of a stage; then one over its checks, which are
 * sorted by kind: errors of one kind end the run, so that one mistake gives one message. What fails
 * is put into words by the functions at the top, which are not on the way of a call that fits.
 *
 * Late sizes are intervals until data has said them: [low, value], of which the upper end is the
 * size that memory is planned for. */
#include "tables/shape_program.h"

typedef struct Running {
    const ShapeProgram *program;
    const Tensor       *inputs; /* NULL after stage 0 */
    int64_t            *values; /* by DimId row */
    int64_t            *lows;   /* the same, of late sizes; NULL when sizes are exact */
    const int64_t      *sizes;  /* what data said, by place in the attribute */
    Diags              *diags;
} Running;

/* --- words ------------------------------------------------------------------------------------ */
/* "input 0 'x', axis 1", as a string argument; axis < 0 leaves the axis out. */
static uint64_t where_input(const Running *r, uint32_t input, int axis) {
    const World *world = r->program->world;
    BlockId      block = world->code.graphs.block[r->program->graph.row];
    uint32_t     arg = world->code.blocks.args_first[block.row].row + input;
    Scratch      scratch = scratch_begin(NULL, 0);
    String       name = strings_get(&world->strings, world->code.values.name[arg]), text;
    if (name.count != 0)
        text = str_format(scratch.arena, "input %u '%.*s'", input, STR_ARGS(name));
    else
        text = str_format(scratch.arena, "input %u", input);
    if (axis >= 0) text = str_format(scratch.arena, "%.*s, axis %d", STR_ARGS(text), axis);
    uint64_t argument = diags_str(r->diags, text);
    scratch_end(scratch);
    return argument;
}
/* The input axis that gave a symbol. */
static uint64_t where_dim(const Running *r, uint32_t row) {
    const ShapeProgram *program = r->program;
    for (uint32_t i = 0; i < program->stages[0].checks; i++) {
        const ShapeStep *step = &program->steps[i];
        if (step->row != row) continue;
        if (step->kind == SHAPE_INPUT) return where_input(r, step->a, (int)step->b);
        const uint32_t *words = program->words + step->a;
        if (step->kind == SHAPE_SOLVE && words[0] != UINT32_MAX)
            return where_input(r, words[0], (int)words[1]);
    }
    return diags_str(r->diags, STR("the sizes of this call"));
}
static bool fail_fact(const Running *r, uint32_t row, String fact) {
    (void)diags_add(r->diags, DIAG_INPUT_FACT, 0, where_dim(r, row), row, (uint64_t)r->values[row],
                    diags_str(r->diags, fact));
    return false;
}
static bool fail_facts(const Running *r, uint32_t row) {
    const DimRows *rows = &r->program->world->dims.rows;
    Scratch        scratch = scratch_begin(NULL, 0);
    bool           inside = r->values[row] >= rows->lo[row] && r->values[row] <= rows->hi[row];
    String fact = inside ? str_format(scratch.arena, "%lld mod %lld", (long long)rows->residue[row],
                                      (long long)rows->modulus[row])
                         : str_format(scratch.arena, "from %lld to %lld", (long long)rows->lo[row],
                                      (long long)rows->hi[row]);
    (void)fail_fact(r, row, fact);
    scratch_end(scratch);
    return false;
}
static bool fail_same(const Running *r, uint32_t row, uint32_t other) {
    Scratch scratch = scratch_begin(NULL, 0);
    (void)fail_fact(r, row,
                    str_format(scratch.arena, "the same as another size, which is %lld",
                               (long long)r->values[other]));
    scratch_end(scratch);
    return false;
}
static bool fail_overflow(const Running *r, uint32_t row) {
    r->values[row] = INT64_MAX;
    return fail_fact(r, row, STR("less: it overflows"));
}
static bool fail_size(const Running *r, const ShapeStep *step) {
    (void)diags_add(r->diags, DIAG_INPUT_SIZE, 0, where_input(r, step->a, (int)step->b),
                    (uint64_t)r->inputs[step->a].shape[step->b], step->row,
                    (uint64_t)r->values[step->row]);
    return false;
}
static bool fail_need(const Running *r, uint32_t check) {
    const World     *world = r->program->world;
    const CheckRows *rows = &world->checks.rows;
    uint32_t at = rows->loc[check].row, lhs = rows->lhs[check].row, rhs = rows->rhs[check].row;
    String   file = strings_get(&world->strings, world->locs.file[at]);
    uint32_t line = world->locs.line[at], column = world->locs.column[at];
    uint64_t what = diags_str(r->diags, strings_get(&world->strings, rows->what[check]));
    DiagId   error = diags_add_at(r->diags, DIAG_SIZES_ILLEGAL, file, line, column,
                                  rows->opcode[check], what, lhs, rhs);
    diags_note(r->diags, error, DIAG_SIZE_HERE, 0, lhs, (uint64_t)r->values[lhs]);
    diags_note(r->diags, error, DIAG_SIZE_HERE, 0, rhs, (uint64_t)r->values[rhs]);
    return false;
}
static bool fail_bound(const Running *r, const ShapeStep *step, int64_t most) {
    Scratch scratch = scratch_begin(NULL, 0);
    (void)fail_fact(r, step->row, str_format(scratch.arena, "from 0 to %lld", (long long)most));
    scratch_end(scratch);
    return false;
}

/* --- steps ------------------------------------------------------------------------------------ */
static int64_t coefficient(const uint32_t *words) {
    return (int64_t)((uint64_t)words[0] | (uint64_t)words[1] << 32);
}
/* out += the terms; moves past them. */
static bool add_terms(const int64_t *values, const uint32_t **words, uint32_t count, int64_t *out) {
    const uint32_t *at = *words;
    int64_t         sum = *out;
    bool            fits = true;
    for (uint32_t i = 0; i < count; i++) {
        int64_t  product = coefficient(at);
        uint32_t factors = at[2];
        at += 3;
        for (uint32_t k = 0; k < factors; k++)
            fits &= !__builtin_mul_overflow(product, values[at[k]], &product);
        at += factors;
        fits &= !__builtin_add_overflow(sum, product, &sum);
    }
    *words = at;
    *out = sum;
    return fits;
}
/* source = rest + factor x unknown. With a remainder, the check of the source tells. */
static bool solve(const Running *r, const ShapeStep *step) {
    const uint32_t *words = r->program->words + step->a;
    uint32_t        input = words[0], at = words[1], without = words[2];
    int64_t source = input == UINT32_MAX ? r->values[at] : r->inputs[input].shape[at], rest = 0,
            factor = 0;
    words += 3;
    if (!add_terms(r->values, &words, without, &rest) ||
        !add_terms(r->values, &words, step->b - without, &factor) ||
        __builtin_sub_overflow(source, rest, &source))
        return fail_overflow(r, step->row);
    if (factor == 0) { /* any number would do */
        (void)diags_add(r->diags, DIAG_DIM_UNSOLVED, 0, where_dim(r, step->row), step->row, 0, 0);
        return false;
    }
    r->values[step->row] = factor == -1 ? (int64_t)(0 - (uint64_t)source) : source / factor;
    return true;
}
static bool run_step(const Running *r, const ShapeStep *step) {
    const Dims     *dims = &r->program->world->dims;
    int64_t        *values = r->values;
    const uint32_t *words;
    switch ((ShapeStepKind)step->kind) {
    case SHAPE_INPUT: values[step->row] = r->inputs[step->a].shape[step->b]; return true;
    case SHAPE_NUMBER: values[step->row] = dims->rows.imm[step->row]; return true;
    case SHAPE_COPY: values[step->row] = values[step->a]; return true;
    case SHAPE_ATOM:
        values[step->row] =
            dims_atom_value((DimKind)dims->rows.kind[step->row], values[step->a], values[step->b]);
        return true;
    case SHAPE_SUM: {
        int64_t sum = 0;
        words = r->program->words + step->a;
        if (!add_terms(values, &words, step->b, &sum)) return fail_overflow(r, step->row);
        values[step->row] = sum;
        return true;
    }
    case SHAPE_SOLVE: return solve(r, step);
    case SHAPE_LATE: {
        int64_t size = r->sizes[step->b], most = step->a != 0 ? values[step->a] : DIM_SIZE_MAX;
        values[step->row] = size;
        return (size >= 0 && size <= most) || fail_bound(r, step, most);
    }
    default: break;
    }
    NEVER(true);
    return false;
}
static bool tensor_fits(const Running *r, const ShapeStep *step) {
    const Types *types = &r->program->world->types;
    TypeId       type = {step->row};
    int64_t      bytes = dtype_bytes(type_dtype(types, type));
    for (uint32_t axis = 0; axis < type_rank(types, type); axis++) {
        int64_t size = r->values[type_dims(types, type)[axis].row];
        bool    fits = size >= 0 && size <= DIM_SIZE_MAX;
        if (fits && !__builtin_mul_overflow(bytes, size ? size : 1, &bytes) &&
            bytes <= (int64_t)1 << 46)
            continue;
        (void)diags_add(r->diags, DIAG_SIZE_IMPOSSIBLE, step->b, step->a, (uint64_t)size, axis, 0);
        return false;
    }
    return true;
}
static bool run_check(const Running *r, const ShapeStep *step) {
    const DimRows *rows = &r->program->world->dims.rows;
    const int64_t *values = r->values;
    uint32_t       row = step->row;
    switch ((ShapeStepKind)step->kind) {
    case SHAPE_FACTS:
        return (values[row] >= rows->lo[row] && values[row] <= rows->hi[row] &&
                values[row] % rows->modulus[row] == rows->residue[row]) ||
               fail_facts(r, row);
    case SHAPE_SIZE: return values[row] == r->inputs[step->a].shape[step->b] || fail_size(r, step);
    case SHAPE_SAME: return values[row] == values[step->a] || fail_same(r, row, step->a);
    case SHAPE_NEED:
        return check_holds((CheckKind)r->program->world->checks.rows.kind[row], values[step->a],
                           values[step->b]) ||
               fail_need(r, row);
    case SHAPE_TENSOR: return tensor_fits(r, step);
    default: break;
    }
    NEVER(true);
    return false;
}
static bool run_stage(const Running *r, const ShapeStage *stage) {
    const ShapeStep *steps = r->program->steps;
    bool             held = true;
    for (uint32_t i = stage->first; i < stage->checks; i++)
        if (!run_step(r, &steps[i])) return false;
    for (uint32_t i = stage->checks; i < stage->last; i++) {
        if (!held && steps[i].kind != steps[i - 1].kind) return false;
        held &= run_check(r, &steps[i]);
    }
    return held;
}

/* --- late sizes as intervals ------------------------------------------------------------------ */
typedef struct Interval {
    int64_t lo, hi;
} Interval;

__extension__ typedef __int128 Wide;
static int64_t                 clamp(Wide x) {
                    if (x > INT64_MAX / 2) return INT64_MAX / 2;
    return x < INT64_MIN / 2 ? INT64_MIN / 2 : (int64_t)x;
}
static Interval at(const Running *r, uint32_t row) {
    return (Interval){r->lows[row], r->values[row]};
}
static Interval times(Interval a, Interval b) {
    Wide     c[4] = {(Wide)a.lo * b.lo, (Wide)a.lo * b.hi, (Wide)a.hi * b.lo, (Wide)a.hi * b.hi};
    Interval all = {clamp(c[0]), clamp(c[0])};
    for (uint32_t i = 1; i < 4; i++) {
        if (clamp(c[i]) < all.lo) all.lo = clamp(c[i]);
        if (clamp(c[i]) > all.hi) all.hi = clamp(c[i]);
    }
    return all;
}
static Interval sum_bounds(const Running *r, const ShapeStep *step) {
    const uint32_t *words = r->program->words + step->a;
    Interval        sum = {0, 0};
    for (uint32_t i = 0; i < step->b; i++) {
        Interval product = {coefficient(words), coefficient(words)};
        for (uint32_t k = 0; k < words[2]; k++) product = times(product, at(r, words[3 + k]));
        words += 3 + words[2];
        sum.lo = clamp((Wide)sum.lo + product.lo);
        sum.hi = clamp((Wide)sum.hi + product.hi);
    }
    return sum;
}
static Interval atom_bounds(const Running *r, const ShapeStep *step) {
    DimKind  kind = (DimKind)r->program->world->dims.rows.kind[step->row];
    Interval a = at(r, step->a), b = at(r, step->b);
    if (kind == DIM_LESS) return (Interval){a.hi < b.lo, a.lo < b.hi};
    if (kind == DIM_FLOORDIV) {
        Interval d = {b.lo > 0 ? b.lo : 1, b.hi > 0 ? b.hi : 1};
        return (Interval){dims_atom_value(kind, a.lo, a.lo < 0 ? d.lo : d.hi),
                          dims_atom_value(kind, a.hi, a.hi < 0 ? d.hi : d.lo)};
    }
    return (Interval){dims_atom_value(kind, a.lo, b.lo), dims_atom_value(kind, a.hi, b.hi)};
}
/* A size that only a range bounds needs one. */
static bool late_bounds(const Running *r, const ShapeStep *step, Interval *out) {
    const DimRows *rows = &r->program->world->dims.rows;
    int64_t        most = step->a != 0 ? r->values[step->a] : DIM_SIZE_MAX;
    *out = (Interval){rows->lo[step->row], most < rows->hi[step->row] ? most : rows->hi[step->row]};
    if (out->lo > out->hi) out->lo = out->hi;
    if (out->hi < DIM_SIZE_MAX) return true;
    (void)diags_add(r->diags, DIAG_DIM_UNBOUNDED, 0, step->row, 0, 0, 0);
    return false;
}
static bool bound_stage(const Running *r, const ShapeStage *stage) {
    for (uint32_t i = stage->first; i < stage->checks; i++) {
        const ShapeStep *step = &r->program->steps[i];
        Interval         bounds = {0, DIM_SIZE_MAX};
        switch ((ShapeStepKind)step->kind) {
        case SHAPE_NUMBER:
            bounds.lo = bounds.hi = r->program->world->dims.rows.imm[step->row];
            break;
        case SHAPE_COPY: bounds = at(r, step->a); break;
        case SHAPE_SUM: bounds = sum_bounds(r, step); break;
        case SHAPE_ATOM: bounds = atom_bounds(r, step); break;
        case SHAPE_LATE:
            if (!late_bounds(r, step, &bounds)) return false;
            break;
        default: break; /* solved from another late size: any */
        }
        r->lows[step->row] = bounds.lo;
        r->values[step->row] = bounds.hi;
    }
    for (uint32_t i = stage->checks; i < stage->last; i++) {
        const ShapeStep *step = &r->program->steps[i];
        if (step->kind == SHAPE_TENSOR && !tensor_fits(r, step)) return false;
    }
    return true;
}
static bool bound_late(Running *r) {
    const ShapeProgram *program = r->program;
    uint32_t            rows = program->world->dims.rows.table.count;
    Scratch             scratch = scratch_begin(NULL, 0);
    bool                held = true;
    r->lows = ARENA_ARRAY(scratch.arena, int64_t, rows);
    for (uint32_t i = 0; i < program->stages[0].checks; i++)
        r->lows[program->steps[i].row] = r->values[program->steps[i].row];
    for (uint32_t i = 1; i < program->stages_count && held; i++)
        held = bound_stage(r, &program->stages[i]);
    scratch_end(scratch);
    return held;
}

/* --- calls ------------------------------------------------------------------------------------ */
static bool check_inputs(const Running *r, uint32_t count) {
    const World *world = r->program->world;
    const Types *types = &world->types;
    BlockId      block = world->code.graphs.block[r->program->graph.row];
    bool         held = true;
    if (count != r->program->inputs) {
        String name = strings_get(&world->strings, world->code.graphs.name[r->program->graph.row]);
        (void)diags_add(r->diags, DIAG_INPUT_COUNT, 0, diags_str(r->diags, name),
                        r->program->inputs, count, 0);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        TypeId type =
            value_type(world, (ValueId){world->code.blocks.args_first[block.row].row + i});
        const Tensor *input = &r->inputs[i];
        uint32_t      rank = type_rank(types, type);
        if (input->dtype == type_dtype(types, type) && input->rank == rank) continue;
        if (input->dtype != type_dtype(types, type))
            (void)diags_add(r->diags, DIAG_INPUT_DTYPE, 0, where_input(r, i, -1),
                            (uint64_t)input->dtype, type_dtype(types, type), 0);
        else
            (void)diags_add(r->diags, DIAG_INPUT_RANK, 0, where_input(r, i, -1), input->rank, rank,
                            0);
        held = false;
    }
    return held;
}
bool shape_program_run(const ShapeProgram *program, const Tensor *inputs, uint32_t count,
                       int64_t *values, Diags *diags) {
    Running r = {.program = program, .inputs = inputs, .values = values, .diags = diags};
    values[0] = 0;
    if (!check_inputs(&r, count) || !run_stage(&r, &program->stages[0])) return false;
    return !program->late || bound_late(&r);
}
bool shape_program_resize(const ShapeProgram *program, uint32_t stage, const int64_t *sizes,
                          int64_t *values, Diags *diags) {
    ASSERT(stage > 0 && stage < program->stages_count);
    Running r = {.program = program, .values = values, .sizes = sizes, .diags = diags};
    return run_stage(&r, &program->stages[stage]);
}
