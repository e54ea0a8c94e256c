/* Where elements live: narrower scopes, and copies of what an iteration reads or writes. All three
 * measure the region that one iteration touches; axes become as long as it, by a bound that does
 * not depend on loops. */
#include "systems/transform_inner.h"

/* The region as the shape of a new buffer, and how its accesses are led there. */
typedef struct Shrunk {
    SubstBuffer map;
    DimId       dims[SHAPE_RANK_MAX];
    uint32_t    rank; /* axes left */
} Shrunk;
static void shrink(Schedule *s, BufferId buffer, const Region *region, Shrunk *out) {
    Loops *loops = s->loops;
    DimId  one = dims_const(&loops->dims, 1);
    *out = (Shrunk){.map = {.buffer = buffer}};
    for (uint32_t i = 0; i < region->rank; i++) {
        if (region->extent[i].row == one.row) {
            out->map.dropped |= 1u << i;
            continue;
        }
        DimId size = list_dim(loops, loops->buffers.dims[buffer.row], i);
        DimId bound = transform_upper(s, region->extent[i]);
        bool  whole = (region->unknown >> i & 1) || !dim_id_some(bound) ||
                     dims_provably_at_most(&loops->dims, size, bound);
        if (!whole) out->map.low[i] = region->low[i];
        out->dims[out->rank++] = whole ? size : bound;
    }
}

static const char transform_no_buffer[] = "there is no buffer of this number";
static const char transform_unknown[] = "it is not known what an iteration touches";
static const char transform_not_scalar[] = "an iteration touches more than one element";

/* --- scope ------------------------------------------------------------------------------------ */
bool transform_SCOPE(Schedule *s, const int64_t *n) {
    Loops       *loops = s->loops;
    LoopBuffers *buffers = &loops->buffers;
    BufferId     buffer = transform_buffer(s, n[0]);
    Region       region;
    Shrunk       shrunk;
    if (!buffer_id_some(buffer)) return transform_refuse(s, transform_no_buffer);
    if (n[1] != SCOPE_LANE && n[1] != SCOPE_REG)
        return transform_refuse(s, "the new scope is not 2 (lane) or 3 (reg)");
    uint8_t scope = buffers->scope[buffer.row];
    if (scope != SCOPE_WORK && !(scope == SCOPE_LANE && n[1] == SCOPE_REG))
        return transform_refuse(s, "the buffer's scope is not wider");
    uint32_t home = transform_home(s, buffer);
    if (home == 0) return transform_refuse(s, "no loop holds all accesses of the buffer");
    Accesses list = transform_accesses(s, home, transform_end(s, home), buffer);
    if (!transform_begins_anew(s, &list, home))
        return transform_refuse(s, "an iteration reads what another one stored");
    transform_region(s, &list, home, &region);
    shrink(s, buffer, &region, &shrunk);
    if (n[1] == SCOPE_REG && shrunk.rank != 0) return transform_refuse(s, transform_not_scalar);
    Subst sub = subst_begin_with(loops, s->scratch, NULL, NULL, 0, &shrunk.map, (ExprId){0});
    Edit  e = transform_edit_begin(s);
    buffers->scope[buffer.row] = (uint8_t)n[1];
    buffers->dims[buffer.row] = loops_list(loops, shrunk.dims, shrunk.rank);
    transform_edit_copy(&e, &sub, e.old, e.old_last, 0);
    return transform_edit_end(&e); /* loops may keep their bits: less is shared than before */
}

/* --- caches ----------------------------------------------------------------------------------- */
/* Loops over a region; index: places in the buffer, kept: in its shrunk form; guards that they
 * exist. */
typedef struct Walk {
    DimId    index[SHAPE_RANK_MAX], kept[SHAPE_RANK_MAX];
    uint32_t rank, kept_rank, depth;
    ExprId   guard, kept_guard;
} Walk;
static Walk open_walk(Edit *e, uint32_t depth, const Region *region, const Shrunk *shrunk) {
    Loops   *loops = e->loops;
    BufferId buffer = shrunk->map.buffer;
    Walk     walk = {.rank = region->rank, .depth = depth};
    for (uint32_t i = 0; i < region->rank; i++) {
        DimId size = list_dim(loops, loops->buffers.dims[buffer.row], i);
        if (shrunk->map.dropped >> i & 1) {
            walk.index[i] = region->low[i];
        } else {
            bool  moved = dim_id_some(shrunk->map.low[i]);
            DimId var = transform_variable(loops, region->extent[i]);
            (void)transform_edit_loop(e, walk.depth++, var, region->extent[i], BIND_SERIAL);
            walk.index[i] = dims_add(&loops->dims, region->low[i], var);
            walk.kept[walk.kept_rank++] = moved ? var : walk.index[i];
            if (!moved && dim_id_some(walk.index[i]))
                walk.kept_guard =
                    loops_and(loops, walk.kept_guard, transform_inside(loops, walk.index[i], size));
        }
        e->failed |= !dim_id_some(walk.index[i]);
        if (e->failed) return walk;
        walk.guard = loops_and(loops, walk.guard, transform_inside(loops, walk.index[i], size));
    }
    return walk;
}
static LoopAccess place(Loops *loops, BufferId buffer, const DimId *index, uint32_t rank) {
    return access_of(buffer, loops_list(loops, index, rank));
}

typedef struct Caching {
    uint32_t loop;
    BufferId buffer, cache;
    Accesses list; /* of the buffer, inside the loop */
    Region   region;
    Shrunk   shrunk;
} Caching;
/* Finds the loop and the region, and makes the cache; wide: sums are not rounded in it. */
static bool begin_cache(Schedule *s, const int64_t *n, bool wide, Caching *c) {
    Loops *loops = s->loops;
    c->buffer = transform_buffer(s, n[0]);
    c->loop = transform_row(s, n[1], NODE_LOOP);
    if (c->loop == 0) return transform_refuse(s, transform_no_loop);
    if (!buffer_id_some(c->buffer)) return transform_refuse(s, transform_no_buffer);
    if (n[2] != SCOPE_WORK && n[2] != SCOPE_LANE && n[2] != SCOPE_REG)
        return transform_refuse(s, "the scope is not 1 (work), 2 (lane) or 3 (reg)");
    if (loops->nodes.bind[c->loop] & BIND_VECTOR)
        return transform_refuse(s, "a vector loop cannot hold the loops of a copy");
    c->list = transform_accesses(s, c->loop, transform_end(s, c->loop), c->buffer);
    if (c->list.count == 0) return transform_refuse(s, "the loop does not touch the buffer");
    transform_region(s, &c->list, c->loop, &c->region);
    shrink(s, c->buffer, &c->region, &c->shrunk);
    if (n[2] == SCOPE_REG && c->shrunk.rank != 0) return transform_refuse(s, transform_not_scalar);
    uint32_t around = n[2] == SCOPE_WORK ? c->loop : 0;
    for (; around != 0; around = transform_parent(s, around))
        if (loops->nodes.bind[around] & (BIND_PARALLEL | BIND_THREAD))
            return transform_refuse(s, "iterations of a parallel loop would share the copy");
    Dtype dtype = (Dtype)loops->buffers.dtype[c->buffer.row];
    c->cache = loops_add_buffer(loops, (BufferScope)n[2], wide ? dtype_compute(dtype) : dtype,
                                c->shrunk.dims, c->shrunk.rank);
    c->shrunk.map.to = c->cache;
    return true;
}
bool transform_CACHE_READ(Schedule *s, const int64_t *n) {
    Loops  *loops = s->loops;
    Caching c;
    if (!begin_cache(s, n, false, &c)) return false;
    for (uint32_t i = 0; i < c.list.count; i++)
        if (c.list.rows[i].kind != ACCESS_LOAD)
            return transform_refuse(s, "the loop writes the buffer");
    /* what was not written cannot be copied */
    if (loops->buffers.written[c.buffer.row] && c.region.unknown != 0)
        return transform_refuse(s, transform_unknown);
    Subst    sub = subst_begin_with(loops, s->scratch, NULL, NULL, 0, &c.shrunk.map, (ExprId){0});
    uint32_t last = transform_end(s, c.loop);
    Edit     e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, c.loop + 1, 0);
    Walk walk = open_walk(&e, transform_edit_depth(&e, c.loop) + 1, &c.region, &c.shrunk);
    if (!e.failed) {
        ExprId value = loops_load(loops, place(loops, c.buffer, walk.index, walk.rank), walk.guard);
        (void)transform_edit_store(&e, walk.depth, place(loops, c.cache, walk.kept, walk.kept_rank),
                                   value, walk.kept_guard);
    }
    transform_edit_copy(&e, &sub, c.loop + 1, last, 0);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end_bound(&e);
}

/* Whether an iteration only adds to what stood in the buffer, in one way. */
static bool only_sums(const Schedule *s, const Accesses *list) {
    const LoopNodes *nodes = &s->loops->nodes;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->rows[i].kind != ACCESS_REDUCE ||
            nodes->reduce[list->rows[i].row] != nodes->reduce[list->rows[0].row])
            return false;
    return true;
}
bool transform_CACHE_WRITE(Schedule *s, const int64_t *n) {
    Loops  *loops = s->loops;
    Caching c;
    if (!begin_cache(s, n, true, &c)) return false;
    bool sums = only_sums(s, &c.list);
    if (c.region.unknown != 0) return transform_refuse(s, transform_unknown);
    if (!sums && !transform_begins_anew(s, &c.list, c.loop))
        return transform_refuse(s, "an iteration reads what another one stored");
    ReduceKind kind = (ReduceKind)loops->nodes.reduce[c.list.rows[0].row];
    bool       exists = !sums && !c.list.rows[0].guarded; /* all of it has been stored */
    Dtype      dtype = (Dtype)loops->buffers.dtype[c.cache.row];
    Subst      sub = subst_begin_with(loops, s->scratch, NULL, NULL, 0, &c.shrunk.map, (ExprId){0});
    uint32_t   last = transform_end(s, c.loop), depth;
    Edit       e = transform_edit_begin(s);
    depth = transform_edit_depth(&e, c.loop) + 1;
    transform_edit_copy(&e, NULL, e.old, c.loop + 1, 0);
    if (sums) {
        Walk start = open_walk(&e, depth, &c.region, &c.shrunk);
        if (!e.failed)
            (void)transform_edit_store(&e, start.depth,
                                       place(loops, c.cache, start.kept, start.kept_rank),
                                       loops_identity(loops, kind, dtype), start.kept_guard);
    }
    transform_edit_copy(&e, &sub, c.loop + 1, last, 0);
    Walk end = open_walk(&e, depth, &c.region, &c.shrunk);
    if (!e.failed) {
        LoopAccess to = place(loops, c.buffer, end.index, end.rank);
        ExprId     value =
            loops_load(loops, place(loops, c.cache, end.kept, end.kept_rank), (ExprId){0});
        ExprId guard = exists ? (ExprId){0} : end.guard;
        if (sums)
            (void)transform_edit_reduce(&e, end.depth, kind, to, value, guard);
        else
            (void)transform_edit_store(&e, end.depth, to, value, guard);
    }
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end_bound(&e);
}
