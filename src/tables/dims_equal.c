/* Equalities: same_as leads from a row to what stands for it. Stored expressions never change;
 * dims_find makes an expression anew from what stands for its parts, and keeps the answer until
 * something is learnt.
 *
 * An equality is solved for a symbol where one stands alone in it (the youngest), else for another
 * atom that does, and else the younger side leads to the older. What stands for an atom is free of
 * atoms that something stands for, so the paths end. An equality of another row than a symbol is a
 * rule: when its parts get other names, the renamed row is equated as well (congruence closure);
 * parts of rules are marked, so that other equalities need not look. */
#include "tables/dims_inner.h"

/* --- lookup ----------------------------------------------------------------------------------- */
static bool found(const Dims *dims, uint32_t row) {
    return row < dims->notes.table.count && dims->notes.found_epoch[row] == dims->fact_epoch;
}
static void note_found(Dims *dims, uint32_t row, uint32_t other) {
    dims->notes.found_epoch[row] = dims->fact_epoch;
    dims->notes.found[row] = other;
}
static bool find_enter(DimWalk *walk, uint32_t row) {
    Dims *dims = walk->dims;
    if (found(dims, row)) return false;
    note_found(dims, row, row); /* a cycle would end here */
    if (dims->rows.same_as[row] != 0)
        dims_walk_push(walk, dims->rows.same_as[row]);
    else
        dims_walk_parts(walk, row);
    return true;
}
static void find_leave(DimWalk *walk, uint32_t row) {
    Dims    *dims = walk->dims;
    uint32_t other = dims->rows.same_as[row];
    other = other != 0 ? dims->notes.found[other] : dims_remake(dims, row, dims->notes.found).row;
    if (other == 0) other = row; /* too complex: the old form is as true */
    dims_notes_cover(dims);
    if (other != row) other = dims_find(dims, (DimId){other}).row; /* may hold rows with rules */
    note_found(dims, row, other);
}
/* Most lookups: symbols that are names of symbols. Halves the path. */
static uint32_t symbol_root(Dims *dims, uint32_t row) {
    uint32_t *same_as = dims->rows.same_as;
    while (same_as[row] != 0 && dims->rows.kind[same_as[row]] == DIM_SYMBOL) {
        uint32_t next = same_as[row], after = same_as[next];
        if (after != 0 && dims->rows.kind[after] == DIM_SYMBOL) same_as[row] = after;
        row = next;
    }
    return row;
}
DimId dims_find(Dims *dims, DimId id) {
    ASSERT(dim_id_some(id));
    uint32_t row = id.row;
    if (dims->epoch == 0 || dims->rows.kind[row] == DIM_CONST) return id;
    if (dims->rows.kind[row] == DIM_SYMBOL) {
        row = symbol_root(dims, row);
        if (dims->rows.same_as[row] == 0) return (DimId){row};
    }
    if (found(dims, row)) return (DimId){dims->notes.found[row]};
    DimWalk walk = {.dims = dims, .enter = find_enter, .leave = find_leave};
    dims_notes_cover(dims);
    dims_walk(&walk, row);
    return (DimId){dims->notes.found[row]};
}
bool dims_same(Dims *dims, DimId a, DimId b) {
    if (a.row == b.row) return true;
    if (dims->epoch == 0) return false;
    return dims_find(dims, a).row == dims_find(dims, b).row;
}

/* --- rules ------------------------------------------------------------------------------------ */
static bool rule_enter(DimWalk *walk, uint32_t row) {
    if (walk->dims->notes.ruled[row]) return false;
    walk->dims->notes.ruled[row] = 1;
    dims_walk_parts(walk, row);
    return true;
}
static void rule_leave(DimWalk *walk, uint32_t row) {
    (void)walk;
    (void)row;
}
static void add_rule(Dims *dims, uint32_t row) {
    DimWalk walk = {.dims = dims, .enter = rule_enter, .leave = rule_leave};
    dims->rules.row[table_add(&dims->rules.table)] = row;
    dims_notes_cover(dims);
    dims_walk(&walk, row);
}
void dims_equal_reindex(Dims *dims) {
    table_clear(&dims->rules.table);
    for (uint32_t row = 1; row < dims->rows.table.count; row++) {
        if (dims->rows.same_as[row] == 0) continue;
        if (dims->epoch == 0) dims->epoch = 1;
        if (dims->rows.kind[row] != DIM_SYMBOL) add_rule(dims, row);
    }
}
/* Visited: 1 on the way, 2 done. */
static bool cycle_enter(DimWalk *walk, uint32_t row) {
    uint8_t *visited = walk->ctx;
    if (visited[row] == 1) visited[0] = 1; /* it leads back to itself */
    if (visited[row] != 0) return false;
    visited[row] = 1;
    dims_walk_parts(walk, row);
    if (walk->dims->rows.same_as[row] != 0) dims_walk_push(walk, walk->dims->rows.same_as[row]);
    return true;
}
static void cycle_leave(DimWalk *walk, uint32_t row) { ((uint8_t *)walk->ctx)[row] = 2; }

bool dims_equal_verify(const Dims *dims) {
    Scratch  scratch = scratch_begin(NULL, 0);
    uint8_t *visited = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, dims->rows.table.count);
    Dims    *read = (Dims *)(uintptr_t)dims; /* not written */
    DimWalk  walk = {.dims = read, .ctx = visited, .enter = cycle_enter, .leave = cycle_leave};
    for (uint32_t row = 1; row < dims->rows.table.count; row++) dims_walk(&walk, row);
    bool good = visited[0] == 0;
    scratch_end(scratch);
    return good;
}
static bool part_enter(DimWalk *walk, uint32_t row) {
    uint32_t other = dims_find(walk->dims, (DimId){row}).row;
    dims_notes_cover(walk->dims);
    note_found(walk->dims, row, other); /* a lookup notes no symbols and constants */
    return false;
}
/* The row with its parts renamed, whatever stands for the row itself. */
static DimId renamed(Dims *dims, uint32_t row) {
    DimWalk walk = {.dims = dims, .enter = part_enter, .leave = rule_leave};
    dims_notes_cover(dims);
    dims_walk_each_part(&walk, row);
    return dims_remake(dims, row, dims->notes.found);
}
static bool close_rules(Dims *dims) {
    bool held = true;
    for (uint32_t i = 1; i < dims->rules.table.count; i++) { /* equating may add rules */
        uint32_t row = dims->rules.row[i];
        DimId    made = renamed(dims, row);
        if (dim_id_some(made) && made.row != row)
            held &= dims_equate(dims, made, (DimId){dims->rows.same_as[row]});
    }
    return held;
}

/* --- equating --------------------------------------------------------------------------------- */
/* From now on other stands for row. */
static bool stand_for(Dims *dims, uint32_t row, uint32_t other) {
    ASSERT(row != other && dims->rows.same_as[row] == 0);
    dims_notes_cover(dims);
    bool ruled = dims->notes.ruled[row];
    dims->rows.same_as[row] = other;
    dims->epoch++;
    dims_forget(dims);
    if (dims->rows.kind[row] != DIM_SYMBOL) add_rule(dims, row);
    return !ruled || close_rules(dims);
}
static bool equate_symbols(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t older = a < b ? a : b, younger = a < b ? b : a;
    return dims_share_facts(dims, older, younger) && stand_for(dims, younger, older);
}
/* x mod d = r, where it is that: the fact of a symbol x. */
static bool is_remainder(Dims *dims, const Poly *sum, DimId *x, int64_t *d, int64_t *r) {
    uint32_t atom = dims_poly_atom(dims, sum, 1u << DIM_FLOORDIV, UINT32_MAX);
    Poly     quotient, rest;
    if (atom == 0 || !dims_poly_linear(dims, sum, atom, &quotient, &rest)) return false;
    DimId divisor = {dims->rows.rhs[atom]};
    *x = (DimId){dims->rows.lhs[atom]};
    if (!dims_is_const(dims, divisor) || dims->rows.kind[x->row] != DIM_SYMBOL) return false;
    *d = dims_const_value(dims, divisor);
    if (quotient.count != 1 || quotient.mono[0] != DIM_MONO_ONE) return false;
    if (quotient.coef[0] != *d && quotient.coef[0] != -*d) return false;
    dims_poly_add(dims, &rest, *x, quotient.coef[0] > 0 ? 1 : -1); /* what is left is -+r */
    if (poly_failed(&rest) || rest.count > 1) return false;
    if (rest.count == 1 && rest.mono[0] != DIM_MONO_ONE) return false;
    *r = rest.count == 0 ? 0 : quotient.coef[0] > 0 ? rest.coef[0] : -rest.coef[0];
    return *r >= 0 && *r < *d;
}
/* The youngest atom of these kinds that stands alone in one term and nowhere else. */
static uint32_t lone_atom(Dims *dims, const Poly *sum, uint32_t kinds, Poly *value) {
    uint32_t atom = UINT32_MAX;
    Poly     quotient;
    while ((atom = dims_poly_atom(dims, sum, kinds, atom)) != 0) {
        if (dims->rows.same_as[atom] != 0) continue;
        if (!dims_poly_linear(dims, sum, atom, &quotient, value)) continue;
        if (quotient.count != 1 || quotient.mono[0] != DIM_MONO_ONE) continue;
        if (quotient.coef[0] != 1 && quotient.coef[0] != -1) continue;
        bool inside = false;
        for (uint32_t i = 0; i < value->count && !inside; i++) {
            uint32_t first = dims->monos.first[value->mono[i]];
            for (uint32_t k = first; k < first + dims->monos.count[value->mono[i]]; k++)
                inside |= dims_holds(dims, dims->atoms.atom[k], atom);
        }
        if (inside) continue;
        for (uint32_t i = 0; i < value->count && quotient.coef[0] == 1; i++)
            value->coef[i] = -value->coef[i];
        return atom;
    }
    return 0;
}
/* Nothing to solve for: the older row stands for the younger, a constant for any. */
static bool equate_rows(Dims *dims, uint32_t a, uint32_t b) {
    bool over = dims->rows.kind[b] != DIM_CONST && (dims->rows.kind[a] == DIM_CONST || a < b);
    return over ? stand_for(dims, b, a) : stand_for(dims, a, b);
}
static bool equate_sums(Dims *dims, DimId a, DimId b) {
    Poly    sum, value;
    DimId   x;
    int64_t modulus, residue, content = 0;
    dims_poly_of(dims, &sum, a);
    dims_poly_add(dims, &sum, b, -1);
    if (poly_failed(&sum)) return equate_rows(dims, a.row, b.row);
    DimFact fact = dims_fact_poly(dims, &sum);
    if (fact.lo > 0 || fact.hi < 0) return false;
    if (fact.modulus != 0 && fact.residue != 0) return false; /* 0 is not among its numbers */
    for (uint32_t i = 0; i < sum.count; i++) content = dim_gcd(content, sum.coef[i]);
    for (uint32_t i = 0; i < sum.count; i++) sum.coef[i] /= content;
    if (is_remainder(dims, &sum, &x, &modulus, &residue))
        return dims_set_congruence(dims, x, modulus, residue);
    uint32_t atom = lone_atom(dims, &sum, 1u << DIM_SYMBOL, &value);
    if (atom == 0) atom = lone_atom(dims, &sum, UINT32_MAX, &value);
    if (atom != 0) return stand_for(dims, atom, dims_poly_intern(dims, &value).row);
    return equate_rows(dims, a.row, b.row);
}
bool dims_equate(Dims *dims, DimId a, DimId b) {
    a = dims_find(dims, a);
    b = dims_find(dims, b);
    if (a.row == b.row) return true;
    if (dims->rows.kind[a.row] == DIM_SYMBOL && dims->rows.kind[b.row] == DIM_SYMBOL)
        return equate_symbols(dims, a.row, b.row);
    return equate_sums(dims, a, b);
}
