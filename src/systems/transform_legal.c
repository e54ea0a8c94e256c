/* What may run in another order? Two iterations of a loop are apart when all places of an axis (or
 * the address) lie in a window of width w that moves by at least w with the loop's variable, or in
 * copies of that window, whole runs of the loop apart. */
#include "systems/transform_inner.h"

/* --- regions ---------------------------------------------------------------------------------- */
bool transform_has_let(const Schedule *s, DimId dim) {
    const LoopLets *lets = &s->loops->lets;
    for (uint32_t row = 1; row < lets->table.count; row++)
        if (dims_contains(&s->loops->dims, dim, lets->symbol[row])) return true;
    return false;
}
/* The least or greatest value of a dim as the variable of a loop runs; nil: unknown. */
static DimId extreme_over(Schedule *s, DimId dim, uint32_t loop, bool greatest) {
    Dims *dims = &s->loops->dims;
    DimId var = s->loops->nodes.var[loop], extent = s->loops->nodes.extent[loop], step, rest;
    if (!dim_id_some(dim) || !dims_contains(dims, dim, var)) return dim;
    if (!dims_linear_in(dims, dim, var, &step, &rest)) return (DimId){0};
    DimRange range = dims_range(dims, step);
    if (range.lo < 0 && range.hi > 0) return (DimId){0};
    if ((range.lo >= 0) != greatest) return rest; /* at 0 */
    DimId last = dims_sub(dims, extent, dims_const(dims, 1));
    if (!dim_id_some(last)) return last;
    DimId reach = dims_mul(dims, step, last);
    return dim_id_some(reach) ? dims_add(dims, rest, reach) : reach;
}
bool transform_bounds(Schedule *s, DimId index, uint32_t node, DimId *out_low, DimId *out_high) {
    DimId low = index, high = index;
    if (transform_has_let(s, index)) return false;
    for (uint32_t row = transform_end(s, node); row-- > node + 1;) { /* innermost first */
        if (s->loops->nodes.kind[row] != NODE_LOOP) continue;
        low = extreme_over(s, low, row, false);
        high = extreme_over(s, high, row, true);
    }
    *out_low = low;
    *out_high = high;
    return dim_id_some(low) && dim_id_some(high);
}

/* --- upper bounds ----------------------------------------------------------------------------- */
static DimId bound_of(Schedule *s, DimId dim, bool upper);
static DimId bound_of_product(Schedule *s, uint32_t mono, bool upper) {
    Dims *dims = &s->loops->dims;
    DimId product = dims_const(dims, 1);
    for (uint32_t k = 0; k < dims->monos.count[mono] && dim_id_some(product); k++) {
        DimId factor = {dims->atoms.atom[dims->monos.first[mono] + k]};
        if (dims->monos.count[mono] > 1 && dims_range(dims, factor).lo < 0) return (DimId){0};
        factor = bound_of(s, factor, upper);
        product = dim_id_some(factor) ? dims_mul(dims, product, factor) : factor;
    }
    return product;
}
static DimId bound_of_sum(Schedule *s, DimId dim, bool upper) {
    Dims *dims = &s->loops->dims;
    DimId sum = dims_const(dims, 0);
    for (uint32_t i = 0; i < dims->rows.rhs[dim.row] && dim_id_some(sum); i++) {
        uint32_t term = dims->rows.lhs[dim.row] + i;
        int64_t  coef = dims->terms.coef[term];
        DimId    product = bound_of_product(s, dims->terms.mono[term], (coef > 0) == upper);
        if (dim_id_some(product)) product = dims_mul(dims, product, dims_const(dims, coef));
        sum = dim_id_some(product) ? dims_add(dims, sum, product) : product;
    }
    return sum;
}
static bool uses_loops(const Schedule *s, DimId dim) {
    for (uint32_t row = transform_first(s); row < transform_last(s); row++)
        if (s->loops->nodes.kind[row] == NODE_LOOP &&
            dims_contains(&s->loops->dims, dim, s->loops->nodes.var[row]))
            return true;
    return transform_has_let(s, dim);
}
/* Of a loop's variable: 0, or its last value. */
static DimId bound_of_symbol(Schedule *s, DimId symbol, bool upper) {
    Dims            *dims = &s->loops->dims;
    const LoopNodes *nodes = &s->loops->nodes;
    for (uint32_t row = transform_first(s); row < transform_last(s); row++) {
        if (nodes->kind[row] != NODE_LOOP || nodes->var[row].row != symbol.row) continue;
        if (!upper) return dims_const(dims, 0);
        DimId extent = bound_of(s, nodes->extent[row], true);
        return dim_id_some(extent) ? dims_sub(dims, extent, dims_const(dims, 1)) : extent;
    }
    return (DimId){0};
}
/* As deep as sizes nest; a minimum may lose an unknown side, a maximum of lower bounds too. */
static DimId bound_of(Schedule *s, DimId dim, bool upper) {
    Dims *dims = &s->loops->dims;
    if (!dim_id_some(dim) || !uses_loops(s, dim)) return dim;
    DimKind kind = (DimKind)dims->rows.kind[dim.row];
    DimId   lhs = {dims->rows.lhs[dim.row]}, rhs = {dims->rows.rhs[dim.row]};
    if (kind == DIM_SYMBOL) return bound_of_symbol(s, dim, upper);
    if (kind == DIM_POLY) return bound_of_sum(s, dim, upper);
    if (kind == DIM_LESS) return dims_const(dims, upper);
    if (kind == DIM_FLOORDIV) {
        if (uses_loops(s, rhs)) return (DimId){0};
        lhs = bound_of(s, lhs, upper);
        return dim_id_some(lhs) ? dims_floordiv(dims, lhs, rhs) : lhs;
    }
    lhs = bound_of(s, lhs, upper);
    rhs = bound_of(s, rhs, upper);
    bool either = (kind == DIM_MIN) == upper;
    if (!dim_id_some(lhs)) return either ? rhs : lhs;
    if (!dim_id_some(rhs)) return either ? lhs : rhs;
    return kind == DIM_MIN ? dims_min(dims, lhs, rhs) : dims_max(dims, lhs, rhs);
}
DimId transform_upper(Schedule *s, DimId size) {
    DimId bound = bound_of(s, size, true);
    if (!dim_id_some(bound)) return bound;
    return dims_max(&s->loops->dims, bound, dims_const(&s->loops->dims, 0));
}

/* Whether a place divides by a size that may be 0, which is no place at all then. */
static bool divides_by_size(const Dims *dims, DimId dim) { /* as deep as sizes nest */
    uint32_t row = dim.row;
    DimKind  kind = (DimKind)dims->rows.kind[row];
    if (kind == DIM_CONST || kind == DIM_SYMBOL) return false;
    for (uint32_t i = 0; kind == DIM_POLY && i < dims->rows.rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[dims->rows.lhs[row] + i];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            if (divides_by_size(dims, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]}))
                return true;
    }
    if (kind == DIM_POLY) return false;
    DimId lhs = {dims->rows.lhs[row]}, rhs = {dims->rows.rhs[row]};
    if (kind == DIM_FLOORDIV && !dims_is_const(dims, rhs)) return true;
    return divides_by_size(dims, lhs) || divides_by_size(dims, rhs);
}
void transform_region(Schedule *s, const Accesses *list, uint32_t node, Region *out) {
    Loops   *loops = s->loops;
    Dims    *dims = &loops->dims;
    BufferId buffer = access_buffer(list->rows[0].access);
    *out = (Region){.rank = buffer_rank(loops, buffer)};
    for (uint32_t axis = 0; axis < out->rank; axis++) {
        DimId low = {0}, high = {0}, size = list_dim(loops, loops->buffers.dims[buffer.row], axis);
        bool  known = true;
        for (uint32_t i = 0; i < list->count && known; i++) {
            DimId a, b, index = list_dim(loops, access_index(list->rows[i].access), axis);
            known = transform_bounds(s, index, node, &a, &b) &&
                    !(list->rows[i].guarded && divides_by_size(dims, index));
            if (!known) break;
            low = i == 0 ? a : dims_min(dims, low, a);
            high = i == 0 ? b : dims_max(dims, high, b);
            known = dim_id_some(low) && dim_id_some(high);
        }
        DimId length = known ? dims_sub(dims, high, low) : (DimId){0};
        if (dim_id_some(length)) length = dims_add(dims, length, dims_const(dims, 1));
        out->low[axis] = low;
        out->extent[axis] = length;
        if (dim_id_some(length)) continue;
        out->low[axis] = dims_const(dims, 0);
        out->extent[axis] = size;
        out->unknown |= 1u << axis;
    }
}

ExprId transform_inside(Loops *loops, DimId place, DimId high) {
    DimId zero = dims_const(&loops->dims, 0),
          below = dims_sub(&loops->dims, zero, dims_const(&loops->dims, 1));
    ExprId guard = loops_and(loops, (ExprId){0}, loops_less(loops, below, place));
    return loops_and(loops, guard, loops_less(loops, place, high));
}

/* Whether the loops around a store inside a node run its places through a box: on each axis one
 * loop of its own, from `low` on by ones, or nothing; and a guard only says that places exist. */
static bool fills_box(Schedule *s, const Access *store, const Region *box, uint32_t node) {
    Loops           *loops = s->loops;
    Dims            *dims = &loops->dims;
    const LoopNodes *nodes = &loops->nodes;
    DimId            one = dims_const(dims, 1), step, rest;
    BufferId         buffer = access_buffer(store->access);
    uint32_t         loops_left = 0;
    ExprId           exists = {0};
    for (uint32_t row = node + 1; row < store->row; row++)
        loops_left += nodes->kind[row] == NODE_LOOP && transform_holds(s, row, store->row);
    for (uint32_t axis = 0; axis < box->rank; axis++) {
        DimId index = list_dim(loops, access_index(store->access), axis);
        bool  found = box->extent[axis].row == one.row;
        exists = loops_and(
            loops, exists,
            transform_inside(loops, index, list_dim(loops, loops->buffers.dims[buffer.row], axis)));
        for (uint32_t row = node + 1; row < store->row && !found; row++) {
            if (nodes->kind[row] != NODE_LOOP || !transform_holds(s, row, store->row)) continue;
            found = dims_linear_in(dims, index, nodes->var[row], &step, &rest) &&
                    step.row == one.row && rest.row == box->low[axis].row &&
                    nodes->extent[row].row == box->extent[axis].row;
            loops_left -= found;
        }
        if (!found) return false;
    }
    ExprId guard = nodes->guard[store->row];
    return loops_left == 0 && (!expr_id_some(guard) || guard.row == exists.row);
}
bool transform_begins_anew(Schedule *s, const Accesses *list, uint32_t node) {
    Loops *loops = s->loops;
    Dims  *dims = &loops->dims;
    Region box;
    DimId  low, high, end;
    if (list->count == 0 || list->rows[0].kind != ACCESS_STORE) return false;
    Accesses first = {.rows = list->rows, .count = 1};
    transform_region(s, &first, node, &box);
    if (!fills_box(s, list->rows, &box, node)) return false;
    for (uint32_t i = 1; i < list->count; i++)
        for (uint32_t axis = 0; axis < box.rank; axis++) {
            DimId index = list_dim(loops, access_index(list->rows[i].access), axis);
            if (index.row == list_dim(loops, access_index(list->rows[0].access), axis).row)
                continue;
            if (!transform_bounds(s, index, node, &low, &high)) return false;
            end = dims_add(dims, box.low[axis], box.extent[axis]);
            if (!dim_id_some(end) || !dims_provably_at_most(dims, box.low[axis], low) ||
                !dims_provably_below(dims, high, end))
                return false;
        }
    return true;
}

/* --- apart ------------------------------------------------------------------------------------ */
/* The window of places in one iteration, and how far it moves with the loop's variable. */
typedef struct Window {
    DimId step, low, high;
} Window;
/* Loops inside that move by whole runs of this one (axes stored outside of its own) are left out:
 * within its run the window is never elsewhere, and runs do not meet. */
static DimId within_run(Schedule *s, DimId rest, DimId step, uint32_t loop) {
    Dims            *dims = &s->loops->dims;
    const LoopNodes *nodes = &s->loops->nodes;
    DimId            run = dims_mul(dims, step, nodes->extent[loop]), far, other;
    DimRange         range = dim_id_some(run) ? dims_range(dims, run) : (DimRange){0};
    if (range.lo < 0 || range.hi <= 0) return rest;
    for (uint32_t row = loop + 1; row < transform_end(s, loop); row++) {
        if (nodes->kind[row] != NODE_LOOP || !dims_contains(dims, rest, nodes->var[row]) ||
            !dims_linear_in(dims, rest, nodes->var[row], &far, &other))
            continue;
        DimId over = dims_mod(dims, far, run);
        if (dim_id_some(over) && dims_is_const(dims, over) && dims_const_value(dims, over) == 0)
            rest = other;
    }
    return rest;
}
static bool widen(Schedule *s, Window *window, DimId place, uint32_t loop, DimId var) {
    Dims *dims = &s->loops->dims;
    DimId step, rest, low, high;
    if (!dim_id_some(place) || transform_has_let(s, place) ||
        !dims_linear_in(dims, place, var, &step, &rest))
        return false;
    rest = within_run(s, rest, step, loop);
    if (!transform_bounds(s, rest, loop, &low, &high) || dims_contains(dims, low, var) ||
        dims_contains(dims, low, s->loops->nodes.var[loop]))
        return false;
    if (!dim_id_some(window->step)) {
        *window = (Window){step, low, high};
        return true;
    }
    window->low = dims_min(dims, window->low, low);
    window->high = dims_max(dims, window->high, high);
    return step.row == window->step.row && dim_id_some(window->low) && dim_id_some(window->high);
}
/* The window is no wider than its step. A symbolic step counts as at least 1: where it is 0 there
 * are no elements. */
static bool moves_on(Schedule *s, const Window *window) {
    Dims    *dims = &s->loops->dims;
    DimRange range = dims_range(dims, window->step);
    DimId    width = dims_sub(dims, window->high, window->low), step = window->step;
    if (!dim_id_some(width) || (range.lo < 0 && range.hi > 0) || (range.lo == 0 && range.hi == 0))
        return false;
    if (range.lo < 0) step = dims_sub(dims, dims_const(dims, 0), step);
    if (dims_is_const(dims, width) && dims_const_value(dims, width) == 0) return true;
    return dims_provably_below(dims, width, step);
}
bool transform_pinned(Schedule *s, const Accesses *list, uint32_t loop, uint32_t other) {
    Loops   *loops = s->loops;
    Dims    *dims = &loops->dims;
    DimId    var = loops->nodes.var[loop];
    uint32_t rank = buffer_rank(loops, access_buffer(list->rows[0].access));
    for (uint32_t axis = 0; axis <= rank; axis++) { /* the address last */
        Window window = {{0}, {0}, {0}};
        bool   good = true;
        for (uint32_t i = 0; i < list->count && good; i++) {
            const Access *access = &list->rows[i];
            ListId        index = access_index(access->access);
            DimId         place =
                axis == rank ? loops_address(loops, access->access) : list_dim(loops, index, axis);
            bool elsewhere = other != 0 && transform_holds(s, other, access->row);
            if (elsewhere) place = dims_substitute(dims, place, &loops->nodes.var[other], &var, 1);
            good = widen(s, &window, place, elsewhere ? other : loop, var);
        }
        if (good && list->count != 0 && moves_on(s, &window)) return true;
    }
    return false;
}
bool transform_separates(Loops *loops, DimId address, DimId var) {
    Dims *dims = &loops->dims;
    DimId step, rest;
    if (!dims_linear_in(dims, address, var, &step, &rest)) return false;
    return !dims_is_const(dims, step) || dims_const_value(dims, step) != 0;
}

uint32_t transform_home(Schedule *s, BufferId buffer) {
    const LoopNodes *nodes = &s->loops->nodes;
    Accesses         list = transform_accesses(s, transform_first(s), transform_last(s), buffer);
    uint32_t         home = 0;
    if (list.count == 0) return 0;
    uint32_t from = list.rows[0].row, to = list.rows[list.count - 1].row;
    for (uint32_t row = transform_first(s); row <= from; row++)
        if (nodes->kind[row] == NODE_LOOP && transform_holds(s, row, from) &&
            transform_holds(s, row, to))
            home = row;
    return home;
}
bool transform_private(Schedule *s, uint32_t loop, BufferId buffer) {
    uint8_t scope = s->loops->buffers.scope[buffer.row];
    if (scope != SCOPE_LANE && scope != SCOPE_REG) return false;
    uint32_t home = transform_home(s, buffer);
    return home != 0 && transform_holds(s, loop, home);
}

/* --- binding ---------------------------------------------------------------------------------- */
typedef struct Uses {                         /* of one buffer inside a loop */
    bool       loads, stores, reduces, mixed; /* mixed: reductions of several kinds */
    ReduceKind kind;
} Uses;
static Uses uses_of(const Schedule *s, const Accesses *list) {
    Uses uses = {.loads = false};
    for (uint32_t i = 0; i < list->count; i++) {
        const Access *access = &list->rows[i];
        uses.loads |= access->kind == ACCESS_LOAD;
        uses.stores |= access->kind == ACCESS_STORE;
        if (access->kind != ACCESS_REDUCE) continue;
        ReduceKind kind = (ReduceKind)s->loops->nodes.reduce[access->row];
        uses.mixed |= uses.reduces && kind != uses.kind;
        uses.reduces = true;
        uses.kind = kind;
    }
    return uses;
}
/* Side by side, reductions may add to one element all together, or each to its own. */
static bool sums_side_by_side(Schedule *s, const Accesses *list, uint32_t loop) {
    for (uint32_t i = 0; i < list->count; i++) {
        DimId address = loops_address(s->loops, list->rows[i].access);
        DimId var = s->loops->nodes.var[loop];
        if (dims_contains(&s->loops->dims, address, var) || transform_has_let(s, address))
            return false;
    }
    return list->count == 1; /* partial results are kept for each statement */
}
static bool may_run_apart(Schedule *s, uint32_t loop, BufferId buffer, uint32_t bind) {
    Accesses list = transform_accesses(s, loop, transform_end(s, loop), buffer);
    Uses     uses = uses_of(s, &list);
    uint8_t  scope = s->loops->buffers.scope[buffer.row];
    bool     local = scope == SCOPE_LANE || scope == SCOPE_REG;
    if (list.count == 0) return true;
    if (local && (bind & BIND_PARALLEL) && !transform_private(s, loop, buffer)) return false;
    if (!uses.stores && !uses.reduces) return true;
    if (local && transform_private(s, loop, buffer) &&
        (!(bind & BIND_VECTOR) || (scope == SCOPE_REG && uses.stores)))
        return true;
    if (transform_pinned(s, &list, loop, 0)) return true;
    return !(bind & BIND_PARALLEL) && !uses.loads && !uses.stores &&
           sums_side_by_side(s, &list, loop);
}
bool transform_may_bind(Schedule *s, uint32_t loop, uint32_t bind) {
    const LoopNodes   *nodes = &s->loops->nodes;
    const LoopKernels *kernels = &s->loops->kernels;
    uint32_t           parent = transform_parent(s, loop);
    if (bind & BIND_PARALLEL) {
        if (nodes->kind[parent] != NODE_PHASE || nodes->size[parent] != nodes->size[loop] + 1)
            return transform_refuse(s, "a parallel loop is all of its phase");
    }
    if (bind & BIND_VECTOR)
        for (uint32_t row = loop + 1; row < transform_end(s, loop); row++)
            if (nodes->kind[row] == NODE_LOOP)
                return transform_refuse(s, "a vector loop holds no loop");
    if (!(bind & (BIND_PARALLEL | BIND_VECTOR | BIND_THREAD))) return true;
    for (uint32_t i = 0; i < kernels->buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {kernels->buffers_first[s->kernel.row] + i};
        if (!may_run_apart(s, loop, buffer, bind))
            return transform_refuse(s, "iterations touch what another one writes");
    }
    return true;
}
