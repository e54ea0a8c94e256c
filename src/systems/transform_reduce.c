/* Reductions with partial results: for the iterations of the only loop of a phase, in memory of the
 * launch; or for those of one loop of a nest, in memory of the iteration around it. */
#include "systems/transform_inner.h"

enum { FACTORED_MAX = 32 };
typedef struct Factored { /* a target of reductions and its partial results */
    BufferId   target, partial;
    ReduceKind kind;
} Factored;

static const char transform_no_sum[] = "nothing is summed over the loop";
static const char transform_shared_sum[] = "something else touches a sum inside the loop";

/* Leads reductions into the targets to their partial results: place comes before the index. */
static void lead_to_partials(Loops *loops, uint32_t from, const Factored *factored, uint32_t count,
                             DimId place, bool fixed) {
    LoopNodes *nodes = &loops->nodes;
    for (uint32_t row = from; row < nodes->table.count; row++) {
        if (nodes->kind[row] != NODE_REDUCE) continue;
        for (uint32_t i = 0; i < count; i++) {
            if (access_buffer(nodes->access[row]).row != factored[i].target.row) continue;
            DimId    index[SHAPE_RANK_MAX + 1] = {place};
            ListId   list = access_index(nodes->access[row]);
            uint32_t rank = fixed ? 0 : list_count(&loops->lists, list);
            for (uint32_t k = 0; k < rank; k++) index[k + 1] = list_dim(loops, list, k);
            nodes->access[row] = access_of(factored[i].partial, loops_list(loops, index, rank + 1));
        }
    }
}

/* --- rfactor ---------------------------------------------------------------------------------- */
/* Targets of reductions under a loop that all its iterations write to; their number, or UINT32_MAX
 * if something else touches one of them. */
static uint32_t find_factored(Schedule *s, uint32_t loop, Factored *out) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   count = 0;
    for (uint32_t row = loop + 1; row < transform_end(s, loop); row++) {
        if (nodes->kind[row] != NODE_REDUCE) continue;
        BufferId target = access_buffer(nodes->access[row]);
        uint8_t  scope = loops->buffers.scope[target.row];
        if (scope == SCOPE_REG || scope == SCOPE_LANE) {
            if (!transform_private(s, loop, target)) return UINT32_MAX;
            continue;
        }
        Accesses list = transform_accesses(s, loop, transform_end(s, loop), target);
        if (transform_pinned(s, &list, loop, 0)) continue;
        if (count == FACTORED_MAX || list.count != 1) return UINT32_MAX;
        out[count++] = (Factored){.target = target, .kind = (ReduceKind)nodes->reduce[row]};
    }
    return count;
}

/* Loops over all elements of a buffer; index: their variables. */
static uint32_t open_loops(Edit *e, uint32_t depth, BufferId buffer, DimId *out_index) {
    Loops   *loops = e->loops;
    uint32_t rank = buffer_rank(loops, buffer);
    for (uint32_t i = 0; i < rank; i++) {
        DimId extent = list_dim(loops, loops->buffers.dims[buffer.row], i);
        out_index[i] = transform_variable(loops, extent);
        (void)transform_edit_loop(e, depth + i, out_index[i], extent, BIND_SERIAL);
    }
    return rank;
}
/* for index: partial[place, index] = identity */
static void write_identity(Edit *e, uint32_t depth, const Factored *f, DimId place) {
    Loops   *loops = e->loops;
    DimId    index[SHAPE_RANK_MAX + 1] = {place};
    uint32_t rank = open_loops(e, depth, f->target, index + 1);
    Dtype    dtype = (Dtype)loops->buffers.dtype[f->partial.row];
    (void)transform_edit_store(e, depth + rank,
                               access_of(f->partial, loops_list(loops, index, rank + 1)),
                               loops_identity(loops, f->kind, dtype), (ExprId){0});
}
/* phase: for index: for place: target[index] (kind)= partial[place, index] */
static void write_combination(Edit *e, const Factored *f, DimId places) {
    Loops *loops = e->loops;
    DimId  index[SHAPE_RANK_MAX + 1];
    (void)transform_edit_phase(e);
    uint32_t rank = open_loops(e, 1, f->target, index + 1);
    index[0] = transform_variable(loops, places);
    (void)transform_edit_loop(e, rank + 1, index[0], places, BIND_SERIAL);
    ExprId part =
        loops_load(loops, access_of(f->partial, loops_list(loops, index, rank + 1)), (ExprId){0});
    (void)transform_edit_reduce(e, rank + 2, f->kind,
                                access_of(f->target, loops_list(loops, index + 1, rank)), part,
                                (ExprId){0});
}
bool transform_RFACTOR(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    Factored   factored[FACTORED_MAX];
    uint32_t   loop = transform_row(s, n[0], NODE_LOOP);
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if (nodes->kind[loop - 1] != NODE_PHASE || nodes->bind[loop] != BIND_SERIAL ||
        nodes->size[loop - 1] != nodes->size[loop] + 1)
        return transform_refuse(s, "it is not a serial loop that is all of a phase");
    uint32_t count = find_factored(s, loop, factored), last = transform_end(s, loop);
    if (count == 0 || count == UINT32_MAX)
        return transform_refuse(s, count == 0 ? transform_no_sum : transform_shared_sum);
    DimId places = nodes->extent[loop], place = nodes->var[loop];
    for (uint32_t i = 0; i < count; i++) {
        DimId    shape[SHAPE_RANK_MAX] = {places};
        uint32_t target = factored[i].target.row, rank = buffer_rank(loops, factored[i].target);
        if (rank + 1 > SHAPE_RANK_MAX)
            return transform_refuse(s, "partial results would have too many axes");
        for (uint32_t k = 0; k < rank; k++)
            shape[k + 1] = list_dim(loops, loops->buffers.dims[target], k);
        Dtype dtype = dtype_compute((Dtype)loops->buffers.dtype[target]);
        factored[i].partial = loops_add_buffer(loops, SCOPE_WORK, dtype, shape, rank + 1);
    }
    Edit     e = transform_edit_begin(s);
    uint32_t depth = transform_edit_depth(&e, loop) + 1;
    transform_edit_copy(&e, NULL, e.old, loop + 1, 0);
    for (uint32_t i = 0; i < count; i++) write_identity(&e, depth, &factored[i], place);
    uint32_t body = nodes->table.count;
    transform_edit_copy(&e, NULL, loop + 1, last, 0);
    lead_to_partials(loops, body, factored, count, place, false);
    for (uint32_t i = 0; i < count; i++) write_combination(&e, &factored[i], places);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end(&e);
}

/* --- factorize -------------------------------------------------------------------------------- */
/* A place that exists even if the loops around it run over nothing. */
static bool surely_exists(Loops *loops, LoopAccess access) {
    ListId index = access_index(access), dims = loops->buffers.dims[access_buffer(access).row];
    for (uint32_t i = 0; i < list_count(&loops->lists, index); i++)
        if (expr_id_some(
                transform_inside(loops, list_dim(loops, index, i), list_dim(loops, dims, i))))
            return false;
    return true;
}
/* Targets of the reductions inside the nest whose places are fixed in it, and that nothing else in
 * it touches; UINT32_MAX: others reduce too. */
static uint32_t find_fixed(Schedule *s, uint32_t nest, Factored *out, LoopAccess *out_places) {
    Loops           *loops = s->loops;
    const LoopNodes *nodes = &loops->nodes;
    uint32_t         count = 0;
    for (uint32_t row = nest + 1; row < transform_end(s, nest); row++) {
        if (nodes->kind[row] < NODE_STORE) continue;
        BufferId target = access_buffer(nodes->access[row]);
        DimId    address = loops_address(loops, nodes->access[row]);
        Accesses list = transform_accesses(s, nest, transform_end(s, nest), target);
        if (nodes->kind[row] != NODE_REDUCE || list.count != 1 || count == FACTORED_MAX ||
            !surely_exists(loops, nodes->access[row]))
            return UINT32_MAX;
        for (uint32_t inner = nest; inner < transform_end(s, nest); inner++)
            if (nodes->kind[inner] == NODE_LOOP &&
                dims_contains(&loops->dims, address, nodes->var[inner]))
                return UINT32_MAX;
        out_places[count] = nodes->access[row];
        out[count++] = (Factored){.target = target, .kind = (ReduceKind)nodes->reduce[row]};
    }
    return count;
}
bool transform_FACTORIZE(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    Factored   factored[FACTORED_MAX];
    LoopAccess places[FACTORED_MAX];
    uint32_t   nest = transform_row(s, n[0], NODE_LOOP), kept = transform_row(s, n[1], NODE_LOOP);
    if (nest == 0 || kept == 0) return transform_refuse(s, transform_no_loop);
    if (!transform_holds(s, nest, kept))
        return transform_refuse(s, "the second loop is not in the first");
    for (uint32_t row = nest; row < kept; row++) /* a perfect nest down to it */
        if (nodes->size[row] != nodes->size[row + 1] + 1)
            return transform_refuse(s, "between the two are other things than loops");
    DimId extent = transform_upper(s, nodes->extent[kept]), place = nodes->var[kept];
    if (nodes->bind[nest] & (BIND_PARALLEL | BIND_THREAD))
        return transform_refuse(s, "the loop is parallel");
    if (!dim_id_some(extent) || !dims_is_const(&loops->dims, extent))
        return transform_refuse(s, "the extent of the second loop is not bounded by a constant");
    uint32_t count = find_fixed(s, nest, factored, places), last = transform_end(s, nest);
    if (count == 0 || count == UINT32_MAX)
        return transform_refuse(s, count == 0 ? transform_no_sum : transform_shared_sum);
    for (uint32_t i = 0; i < count; i++) {
        Dtype dtype = dtype_compute((Dtype)loops->buffers.dtype[factored[i].target.row]);
        factored[i].partial = loops_add_buffer(loops, SCOPE_LANE, dtype, &extent, 1);
    }
    Edit     e = transform_edit_begin(s);
    uint32_t depth = transform_edit_depth(&e, nest);
    transform_edit_copy(&e, NULL, e.old, nest, 0);
    for (uint32_t i = 0; i < count; i++) {
        DimId var = transform_variable(loops, extent);
        Dtype dtype = (Dtype)loops->buffers.dtype[factored[i].partial.row];
        (void)transform_edit_loop(&e, depth, var, extent, BIND_SERIAL);
        (void)transform_edit_store(&e, depth + 1,
                                   access_of(factored[i].partial, loops_list(loops, &var, 1)),
                                   loops_identity(loops, factored[i].kind, dtype), (ExprId){0});
    }
    uint32_t body = nodes->table.count;
    transform_edit_copy(&e, NULL, nest, last, 0);
    lead_to_partials(loops, body, factored, count, place, true);
    for (uint32_t i = 0; i < count; i++) {
        DimId var = transform_variable(loops, extent);
        (void)transform_edit_loop(&e, depth, var, extent, BIND_SERIAL);
        ExprId part = loops_load(loops, access_of(factored[i].partial, loops_list(loops, &var, 1)),
                                 (ExprId){0});
        (void)transform_edit_reduce(&e, depth + 1, factored[i].kind, places[i], part, (ExprId){0});
    }
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end_bound(&e);
}
