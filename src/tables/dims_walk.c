/* Walks over expressions, and what they answer: what an expression is made of, and what becomes of
 * it when symbols are replaced. A walk keeps its own stack, so depth costs memory, not the thread's
 * stack, and visits each row once, so shared parts cost nothing: what it found is a note of the
 * row, valid while the number of the walk is the last one. */
#include "tables/dims_inner.h"

/* --- walks ------------------------------------------------------------------------------------ */
static const uint32_t walk_leaves = 1u << 31; /* the row is done once this is popped */

void dims_walk_push(DimWalk *walk, uint32_t row) {
    if (walk->count == walk->capacity) {
        if (!walk->grown) walk->scratch = scratch_begin(NULL, 0);
        walk->grown = true;
        uint32_t *rows = ARENA_ARRAY(walk->scratch.arena, uint32_t, walk->capacity * 2);
        memcpy(rows, walk->rows, walk->count * sizeof *rows);
        walk->rows = rows;
        walk->capacity *= 2;
    }
    walk->rows[walk->count++] = row;
}
void dims_walk_parts(DimWalk *walk, uint32_t row) {
    const Dims *dims = walk->dims;
    uint32_t    lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    if (dim_is_pair(dims, row)) {
        dims_walk_push(walk, lhs);
        dims_walk_push(walk, rhs);
    }
    if (dims->rows.kind[row] != DIM_POLY) return;
    for (uint32_t i = lhs; i < lhs + rhs; i++) {
        uint32_t mono = dims->terms.mono[i], first = dims->monos.first[mono];
        for (uint32_t k = first; k < first + dims->monos.count[mono]; k++)
            dims_walk_push(walk, dims->atoms.atom[k]);
    }
}
/* With a stack of its own, which nobody clears: most walks are of a few rows, and short. */
enum { WALK_LOCAL = 128 };
static void walk_on(DimWalk *walk, void first(DimWalk *walk, uint32_t row), uint32_t root) {
    uint32_t local[WALK_LOCAL];
    walk->rows = local;
    walk->capacity = WALK_LOCAL;
    walk->grown = false;
    walk->count = 0;
    first(walk, root);
    while (walk->count != 0) {
        uint32_t top = walk->rows[--walk->count];
        if (top & walk_leaves) {
            walk->leave(walk, top & ~walk_leaves);
            continue;
        }
        uint32_t before = walk->count;
        dims_walk_push(walk, top | walk_leaves);
        if (!walk->enter(walk, top)) walk->count = before;
    }
    if (walk->grown) scratch_end(walk->scratch);
}
void dims_walk(DimWalk *walk, uint32_t row) { walk_on(walk, dims_walk_push, row); }
void dims_walk_each_part(DimWalk *walk, uint32_t row) { walk_on(walk, dims_walk_parts, row); }

void dims_notes_cover(Dims *dims) {
    DimNotes *notes = &dims->notes;
    uint32_t  from = notes->table.count, rows = dims->rows.table.count;
    if (from >= rows) return;
    (void)table_add_many(&notes->table, rows - from);
    memset(notes->fact_epoch + from, 0, (rows - from) * sizeof *notes->fact_epoch);
    memset(notes->found_epoch + from, 0, (rows - from) * sizeof *notes->found_epoch);
    memset(notes->ruled + from, 0, (rows - from) * sizeof *notes->ruled);
    memset(notes->mark + from, 0, (rows - from) * sizeof *notes->mark);
}
static void begin_marks(Dims *dims) {
    dims_notes_cover(dims);
    if (++dims->walks != 0) return;
    memset(dims->notes.mark, 0, dims->notes.table.count * sizeof *dims->notes.mark);
    dims->walks = 1;
}
static void mark(Dims *dims, uint32_t row, uint32_t made) {
    dims->notes.mark[row] = dims->walks;
    dims->notes.made[row] = made;
}

/* --- structure -------------------------------------------------------------------------------- */
static bool contains_enter(DimWalk *walk, uint32_t row) {
    uint32_t *part = walk->ctx; /* 0 once it is found */
    if (row == *part) *part = 0;
    if (row <= *part || *part == 0 || walk->dims->notes.mark[row] == walk->dims->walks)
        return false; /* parts are older than what is made of them */
    mark(walk->dims, row, 0);
    dims_walk_parts(walk, row);
    return true;
}
static void contains_leave(DimWalk *walk, uint32_t row) {
    (void)walk;
    (void)row;
}
bool dims_holds(Dims *dims, uint32_t row, uint32_t part) {
    if (row <= part) return row == part; /* parts are older than what is made of them */
    uint32_t wanted = part;
    DimWalk  walk = {.dims = dims, .enter = contains_enter, .leave = contains_leave};
    walk.ctx = &wanted;
    begin_marks(dims);
    dims_walk(&walk, row);
    return wanted == 0;
}
bool dims_contains(Dims *dims, DimId id, DimId symbol) {
    ASSERT(dim_id_some(id) && dims->rows.kind[symbol.row] == DIM_SYMBOL);
    return dims_holds(dims, id.row, symbol.row);
}

bool dims_linear_in(Dims *dims, DimId id, DimId symbol, DimId *out_coefficient, DimId *out_rest) {
    Poly poly, quotient, rest;
    dims_poly_of(dims, &poly, id);
    if (poly_failed(&poly) || !dims_poly_linear(dims, &poly, symbol.row, &quotient, &rest))
        return false;
    DimId coefficient = dims_poly_intern(dims, &quotient), left = dims_poly_intern(dims, &rest);
    if (!dim_id_some(coefficient) || !dim_id_some(left)) return false;
    if (dims_contains(dims, coefficient, symbol) || dims_contains(dims, left, symbol)) return false;
    *out_coefficient = coefficient;
    *out_rest = left;
    return true;
}

/* --- substitution ----------------------------------------------------------------------------- */
/* out += coef x the product of what became of the factors. */
static void add_product(Dims *dims, Poly *out, int64_t coef, uint32_t mono, const uint32_t *made) {
    Poly     product = {.count = 1, .coef = {coef}, .mono = {DIM_MONO_ONE}}, factor, next;
    uint32_t first = dims->monos.first[mono], last = first + dims->monos.count[mono];
    for (uint32_t k = first; k < last; k++) {
        dims_poly_of(dims, &factor, (DimId){made[dims->atoms.atom[k]]});
        dims_poly_mul(dims, &product, &factor, &next);
        product = next;
    }
    dims_poly_sum(out, &product, 1);
}
static DimId remake_sum(Dims *dims, uint32_t row, const uint32_t *made) {
    Poly sum;
    sum.count = 0;
    for (uint32_t i = dims->rows.lhs[row]; i < dims->rows.lhs[row] + dims->rows.rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[i], first = dims->monos.first[mono];
        bool     same = true;
        for (uint32_t k = first; k < first + dims->monos.count[mono]; k++) {
            uint32_t atom = dims->atoms.atom[k];
            if (made[atom] == 0) return (DimId){0};
            same &= made[atom] == atom;
        }
        if (same)
            dims_poly_push(&sum, dims->terms.coef[i], mono);
        else
            add_product(dims, &sum, dims->terms.coef[i], mono, made);
    }
    return dims_poly_intern(dims, &sum);
}
DimId dims_remake(Dims *dims, uint32_t row, const uint32_t *made) {
    if (dims->rows.kind[row] == DIM_POLY) return remake_sum(dims, row, made);
    if (!dim_is_pair(dims, row)) return (DimId){row};
    DimId a = {made[dims->rows.lhs[row]]}, b = {made[dims->rows.rhs[row]]};
    if (!dim_id_some(a) || !dim_id_some(b)) return (DimId){0};
    return dims_atom(dims, (DimKind)dims->rows.kind[row], a, b);
}

static bool replace_enter(DimWalk *walk, uint32_t row) {
    const uint32_t *oldest = walk->ctx;
    Dims           *dims = walk->dims;
    if (dims->notes.mark[row] == dims->walks) return false;
    if (row < *oldest || dims->rows.kind[row] <= DIM_SYMBOL) { /* holds none of the symbols */
        mark(dims, row, row);
        return false;
    }
    dims_walk_parts(walk, row);
    return true;
}
static void replace_leave(DimWalk *walk, uint32_t row) {
    uint32_t made = dims_remake(walk->dims, row, walk->dims->notes.made).row;
    dims_notes_cover(walk->dims);
    mark(walk->dims, row, made);
}
DimId dims_substitute(Dims *dims, DimId id, const DimId *symbols, const DimId *values,
                      uint32_t count) {
    ASSERT(dim_id_some(id));
    uint32_t oldest = UINT32_MAX;
    DimWalk  walk = {.dims = dims, .enter = replace_enter, .leave = replace_leave};
    walk.ctx = &oldest;
    begin_marks(dims);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(dims->rows.kind[symbols[i].row] == DIM_SYMBOL && dim_id_some(values[i]));
        if (symbols[i].row < oldest) oldest = symbols[i].row;
        mark(dims, symbols[i].row, values[i].row);
    }
    dims_walk(&walk, id.row);
    return (DimId){dims->notes.made[id.row]};
}
