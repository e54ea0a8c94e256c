/* Moving statements into other loops. What a statement loads must be the same at both places: its
 * writers come before both, and share no loop with one that the other is not in. */
#include "systems/transform_inner.h"

enum { OWN_MAX = 32 };
static const char transform_no_stage[] =
    "not one store, or one store and one sum, fills the buffer";
static const char transform_fixed[] =
    "what the statement reads or writes differs at the two places";

/* --- what stays true ------------------------------------------------------------------------- */
/* Whether some loop around two rows is not around the third. */
static bool share_loop_without(const Schedule *s, uint32_t a, uint32_t b, uint32_t without) {
    const LoopNodes *nodes = &s->loops->nodes;
    for (uint32_t row = transform_first(s); row < a && row < b; row++)
        if (nodes->kind[row] == NODE_LOOP && transform_holds(s, row, a) &&
            transform_holds(s, row, b) && !transform_holds(s, row, without))
            return true;
    return false;
}
static bool is_local(const Schedule *s, BufferId buffer) {
    uint8_t scope = s->loops->buffers.scope[buffer.row];
    return scope == SCOPE_LANE || scope == SCOPE_REG;
}
/* Whether a node is where the elements of a local buffer live: in the innermost loop around all its
 * accesses, or in their phase. */
static bool lives_at(Schedule *s, BufferId buffer, uint32_t node) {
    uint32_t home = transform_home(s, buffer);
    Accesses all = transform_accesses(s, transform_first(s), transform_last(s), buffer);
    for (uint32_t row = transform_first(s); home == 0 && row <= all.rows[0].row; row++)
        if (s->loops->nodes.kind[row] == NODE_PHASE && transform_holds(s, row, all.rows[0].row))
            home = row;
    return transform_holds(s, home, node) && transform_holds(s, home, all.rows[all.count - 1].row);
}
/* Whether the loads of a statement find at `to` (a node) what they find at `from`; except those of
 * one buffer. Writers have finished before the earlier of the two. */
static bool loads_stay(Schedule *s, uint32_t from, uint32_t to, BufferId except) {
    uint32_t earlier = from < to ? from : to, later = from < to ? to : from;
    Accesses loads = transform_accesses(s, from, from + 1, (BufferId){0});
    for (uint32_t i = 0; i < loads.count; i++) {
        BufferId buffer = access_buffer(loads.rows[i].access);
        if (loads.rows[i].kind != ACCESS_LOAD || buffer.row == except.row ||
            !s->loops->buffers.written[buffer.row])
            continue;
        if (is_local(s, buffer) && !lives_at(s, buffer, to)) return false;
        Accesses all = transform_accesses(s, transform_first(s), transform_last(s), buffer);
        for (uint32_t k = 0; k < all.count; k++) {
            if (all.rows[k].kind == ACCESS_LOAD) continue;
            if (all.rows[k].row >= earlier ||
                share_loop_without(s, all.rows[k].row, earlier, later))
                return false;
        }
    }
    return true;
}

/* --- own loops -------------------------------------------------------------------------------- */
/* The loops around a statement that are not around another node. */
typedef struct Own {
    uint32_t rows[OWN_MAX], count;
    uint32_t
        axis[OWN_MAX]; /* of the index of a buffer that is this loop's variable, or UINT32_MAX */
} Own;
static bool find_own(const Schedule *s, uint32_t statement, uint32_t other, Own *out) {
    const LoopNodes *nodes = &s->loops->nodes;
    *out = (Own){.count = 0};
    for (uint32_t row = transform_first(s); row < statement; row++) {
        if (nodes->kind[row] != NODE_LOOP || !transform_holds(s, row, statement) ||
            transform_holds(s, row, other))
            continue;
        if (out->count == OWN_MAX) return false;
        out->axis[out->count] = UINT32_MAX;
        out->rows[out->count++] = row;
    }
    return true;
}
/* Axes whose index is the variable of an own loop; false if an own variable is in another place, or
 * on two axes. */
static bool match_axes(Schedule *s, Own *own, ListId index) {
    Loops *loops = s->loops;
    for (uint32_t i = 0; i < own->count; i++)
        for (uint32_t axis = 0; axis < list_count(&loops->lists, index); axis++) {
            DimId var = loops->nodes.var[own->rows[i]], at = list_dim(loops, index, axis);
            if (at.row == var.row && own->axis[i] == UINT32_MAX)
                own->axis[i] = axis;
            else if (dims_contains(&loops->dims, at, var))
                return false;
        }
    return true;
}
/* The extent of an own loop does not depend on other own loops. */
static bool is_box(Schedule *s, const Own *own) {
    for (uint32_t i = 0; i < own->count; i++)
        for (uint32_t k = 0; k < own->count; k++)
            if (own->axis[i] != UINT32_MAX &&
                dims_contains(&s->loops->dims, s->loops->nodes.extent[own->rows[i]],
                              s->loops->nodes.var[own->rows[k]]))
                return false;
    return true;
}

/* --- stages ----------------------------------------------------------------------------------- */
typedef struct Stage { /* what fills a buffer: a store, or a start and a reduction */
    BufferId buffer;
    uint32_t rows[2], count;
} Stage;
static bool find_stage(Schedule *s, BufferId buffer, Stage *out) {
    const LoopNodes *nodes = &s->loops->nodes;
    *out = (Stage){.buffer = buffer};
    if (s->loops->buffers.scope[buffer.row] == SCOPE_ARG) return false;
    for (uint32_t row = transform_first(s); row < transform_last(s); row++) {
        if (nodes->kind[row] < NODE_STORE || access_buffer(nodes->access[row]).row != buffer.row)
            continue;
        if (out->count == 2 || expr_id_some(nodes->guard[row])) return false;
        if ((nodes->kind[row] == NODE_STORE) != (out->count == 0)) return false;
        out->rows[out->count++] = row;
    }
    return out->count != 0;
}
static Accesses loads_of(Schedule *s, BufferId buffer) {
    Accesses all = transform_accesses(s, transform_first(s), transform_last(s), buffer);
    return transform_only(s, &all, true);
}

/* --- inline ----------------------------------------------------------------------------------- */
typedef struct Inlining {
    uint32_t store;
    Own      own;
} Inlining;
static ExprId inlined(Subst *s, void *context, ListId index, ExprId guard) {
    const Inlining  *in = context;
    Loops           *loops = s->loops;
    const LoopNodes *nodes = &loops->nodes;
    DimId            symbols[OWN_MAX], values[OWN_MAX];
    for (uint32_t i = 0; i < in->own.count; i++) {
        symbols[i] = nodes->var[in->own.rows[i]];
        values[i] = list_dim(loops, index, in->own.axis[i]);
    }
    Subst  sub = subst_begin_with(loops, s->scratch, symbols, values, in->own.count, NULL, guard);
    ExprId value = subst_expr(&sub, nodes->value[in->store]);
    s->failed |= sub.failed;
    if (!expr_id_some(guard) || s->failed) return value;
    Dtype dtype = expr_dtype(loops, value); /* a load gives 0 where its guard is false */
    return loops_op(loops, OP_SELECT, dtype, guard, value, loops_const(loops, dtype, 0), 0);
}
/* Places that do not follow an own loop are the same in the store and the load. */
static bool other_axes_agree(Schedule *s, const Own *own, LoopAccess store, LoopAccess load) {
    uint32_t rank = list_count(&s->loops->lists, access_index(store)), matched = 0;
    for (uint32_t i = 0; i < own->count; i++)
        if (own->axis[i] != UINT32_MAX) matched |= 1u << own->axis[i];
    for (uint32_t axis = 0; axis < rank; axis++)
        if (!(matched >> axis & 1) && list_dim(s->loops, access_index(store), axis).row !=
                                          list_dim(s->loops, access_index(load), axis).row)
            return false;
    return true;
}
/* Whether all loads of a stage can become its value; out: how. */
static bool may_inline(Schedule *s, const Stage *stage, Inlining *out) {
    Loops   *loops = s->loops;
    Accesses loads = loads_of(s, stage->buffer);
    Dtype    dtype = (Dtype)loops->buffers.dtype[stage->buffer.row];
    uint32_t store = stage->rows[0];
    if (stage->count != 1 || loads.count == 0 || dtype_compute(dtype) != dtype) return false;
    *out = (Inlining){.store = store};
    for (uint32_t i = 0; i < loads.count; i++) {
        uint32_t to = loads.rows[i].row;
        Own      own;
        if (to <= store || !find_own(s, store, to, &own) ||
            !match_axes(s, &own, access_index(loops->nodes.access[store])))
            return false;
        for (uint32_t k = 0; k < own.count; k++)
            if (own.axis[k] == UINT32_MAX) return false;
        if (i != 0 && own.count != out->own.count) return false; /* one way for all loads */
        out->own = own;
        if (!other_axes_agree(s, &own, loops->nodes.access[store], loads.rows[i].access) ||
            !loads_stay(s, store, to, (BufferId){0}))
            return false;
    }
    return true;
}
static void forget_buffer(Loops *loops, BufferId buffer) {
    loops->buffers.scope[buffer.row] = SCOPE_REG;
    loops->buffers.dims[buffer.row] = loops_list(loops, NULL, 0);
}
bool transform_INLINE(Schedule *s, const int64_t *n) {
    BufferId buffer = transform_buffer(s, n[0]);
    Stage    stage;
    Inlining in;
    if (!buffer_id_some(buffer)) return transform_refuse(s, "there is no buffer of this number");
    if (!find_stage(s, buffer, &stage)) return transform_refuse(s, transform_no_stage);
    if (!may_inline(s, &stage, &in))
        return transform_refuse(s, "not all loads can compute the value in place of its store");
    SubstBuffer map = {.buffer = buffer, .load = inlined, .context = &in};
    Subst       sub = subst_begin_with(s->loops, s->scratch, NULL, NULL, 0, &map, (ExprId){0});
    Edit        e = transform_edit_begin(s);
    e.dropped[in.store - e.old] = 1;
    transform_edit_copy(&e, &sub, e.old, e.old_last, 0);
    if (!transform_edit_end_bound(&e)) return false;
    forget_buffer(s->loops, buffer);
    return true;
}

/* The store at a row is the only reader of the buffer, always at one place. */
static bool only_reader(Schedule *s, BufferId buffer, uint32_t row, LoopAccess *out_load) {
    Accesses loads = loads_of(s, buffer);
    for (uint32_t i = 0; i < loads.count; i++) {
        if (loads.rows[i].row != row || loads.rows[i].guarded ||
            loads.rows[i].access != loads.rows[0].access)
            return false;
        *out_load = loads.rows[i].access;
    }
    return loads.count != 0;
}
/* Each element of the buffer belongs to one iteration of both: axes are variables of own loops, of
 * the same extents. out_symbols, out_values: variables of the reader and what they become. */
static uint32_t match_iterations(Schedule *s, const Own *reader, const Own *writer,
                                 DimId *out_symbols, DimId *out_values) {
    const LoopNodes *nodes = &s->loops->nodes;
    if (reader->count != writer->count) return UINT32_MAX;
    for (uint32_t i = 0; i < reader->count; i++) {
        uint32_t k = 0;
        while (k < writer->count && writer->axis[k] != reader->axis[i]) k++;
        if (reader->axis[i] == UINT32_MAX || k == writer->count ||
            nodes->extent[reader->rows[i]].row != nodes->extent[writer->rows[k]].row)
            return UINT32_MAX;
        out_symbols[i] = nodes->var[reader->rows[i]];
        out_values[i] = nodes->var[writer->rows[k]];
    }
    return reader->count;
}
/* Nothing but the statement touches its target from a row on to it, nor in its own loops, so that
 * it may run earlier. */
static bool target_is_quiet(Schedule *s, uint32_t from, uint32_t statement, const Own *own) {
    BufferId target = access_buffer(s->loops->nodes.access[statement]);
    Accesses all = transform_accesses(s, transform_first(s), transform_last(s), target);
    for (uint32_t i = 0; i < all.count; i++) {
        uint32_t row = all.rows[i].row;
        if (row == statement) continue;
        if (row >= from && row < statement) return false;
        for (uint32_t k = 0; k < own->count; k++)
            if (transform_holds(s, own->rows[k], row)) return false;
    }
    return !is_local(s, target);
}
bool transform_REVERSE_INLINE(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   reader = transform_row(s, n[0], NODE_STORE);
    if (reader == 0) return transform_refuse(s, "there is no store at this position");
    if (expr_id_some(nodes->guard[reader])) return transform_refuse(s, "the store has a guard");
    Accesses loads = transform_accesses(s, reader, reader + 1, (BufferId){0});
    for (uint32_t i = 0; i < loads.count; i++) {
        BufferId   buffer = access_buffer(loads.rows[i].access);
        Stage      stage;
        LoopAccess load;
        Own        mine, theirs;
        DimId      symbols[OWN_MAX], values[OWN_MAX];
        if (loads.rows[i].kind != ACCESS_LOAD || !find_stage(s, buffer, &stage) ||
            stage.count != 1 || stage.rows[0] >= reader || !only_reader(s, buffer, reader, &load) ||
            dtype_compute((Dtype)loops->buffers.dtype[buffer.row]) !=
                (Dtype)loops->buffers.dtype[buffer.row])
            continue;
        uint32_t writer = stage.rows[0];
        if (!find_own(s, reader, writer, &mine) || !find_own(s, writer, reader, &theirs) ||
            !match_axes(s, &mine, access_index(load)) ||
            !match_axes(s, &theirs, access_index(nodes->access[writer])) || !is_box(s, &mine) ||
            !is_box(s, &theirs) || !target_is_quiet(s, transform_first(s), reader, &mine) ||
            !loads_stay(s, reader, writer, buffer))
            continue;
        uint32_t count = match_iterations(s, &mine, &theirs, symbols, values);
        if (count == UINT32_MAX || !other_axes_agree(s, &theirs, nodes->access[writer], load))
            continue;
        Inlining    in = {.store = writer}; /* at the writer's own place: nothing to replace */
        SubstBuffer map = {.buffer = buffer, .load = inlined, .context = &in};
        Subst sub = subst_begin_with(loops, s->scratch, symbols, values, count, &map, (ExprId){0});
        Edit  e = transform_edit_begin(s);
        int32_t down = (int32_t)transform_edit_depth(&e, writer);
        down -= (int32_t)transform_edit_depth(&e, reader);
        transform_edit_copy(&e, NULL, e.old, writer, 0);
        transform_edit_copy(&e, &sub, reader, reader + 1, down);
        e.dropped[reader - e.old] = 1;
        transform_edit_copy(&e, NULL, writer + 1, e.old_last, 0);
        if (!transform_edit_end_bound(&e)) return false;
        forget_buffer(loops, buffer);
        return true;
    }
    return transform_refuse(s, "it reads no buffer whose store it could take the place of");
}

/* --- lift ------------------------------------------------------------------------------------- */
enum { FACTORS_MAX = 16 };
typedef struct Lifting { /* a sum whose value is a product */
    BufferId buffer;
    uint32_t sum;
    Own      own;            /* loops of the sum that are not around its reader */
    ExprId   inside, lifted; /* products of what its loops change, and of all else; nil: nothing */
    RowMap   changed;        /* expressions that were looked at: 1, as they stay, or 2 */
} Lifting;
static bool dim_changes(Schedule *s, const Lifting *l, DimId dim) {
    bool changes = transform_has_let(s, dim);
    for (uint32_t i = 0; i < l->own.count; i++)
        changes |= l->own.axis[i] == UINT32_MAX &&
                   dims_contains(&s->loops->dims, dim, s->loops->nodes.var[l->own.rows[i]]);
    return changes;
}
/* Whether a value differs from one iteration of the summed loops to the next. As deep as it is. */
static bool changes(Schedule *s, Lifting *l, ExprId expr) {
    const LoopExprs *exprs = &s->loops->exprs;
    uint32_t         row = expr.row, known = row_map_get(&l->changed, row);
    uint64_t         word = exprs->word[row];
    bool             found = false;
    if (row == 0 || known != 0) return known == 2;
    if (exprs->kind[row] == EXPR_LOAD) found = dim_changes(s, l, loops_address(s->loops, word));
    if (exprs->kind[row] == EXPR_INDEX || exprs->kind[row] == EXPR_RNG ||
        exprs->kind[row] == EXPR_LESS)
        found = dim_changes(s, l, (DimId){(uint32_t)word});
    if (exprs->kind[row] == EXPR_LESS) found |= dim_changes(s, l, (DimId){(uint32_t)(word >> 32)});
    found |= changes(s, l, exprs->a[row]);
    found |= changes(s, l, exprs->b[row]);
    found |= changes(s, l, exprs->c[row]);
    row_map_put(&l->changed, s->scratch, row, found ? 2 : 1);
    return found;
}
/* Whether some of it is what the kernel has stored. As deep as it is. */
static bool is_computed(const Loops *loops, ExprId expr) {
    const LoopExprs *exprs = &loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0) return false;
    if (exprs->kind[row] == EXPR_LOAD &&
        loops->buffers.written[access_buffer(exprs->word[row]).row])
        return true;
    return is_computed(loops, exprs->a[row]) || is_computed(loops, exprs->b[row]) ||
           is_computed(loops, exprs->c[row]);
}
static ExprId product_with(Loops *loops, ExprId product, ExprId factor) {
    if (!expr_id_some(product)) return factor;
    return loops_op(loops, OP_MUL, expr_dtype(loops, factor), product, factor, (ExprId){0}, 0);
}
/* Tells the factors of the sum's value apart; false: there are too many. */
static bool find_factors(Schedule *s, Lifting *l) {
    Loops           *loops = s->loops;
    const LoopExprs *exprs = &loops->exprs;
    ExprId           left[FACTORS_MAX] = {loops->nodes.value[l->sum]};
    for (uint32_t count = 1; count != 0;) {
        ExprId factor = left[--count];
        Opcode opcode =
            exprs->kind[factor.row] == EXPR_OP ? (Opcode)exprs->opcode[factor.row] : OP_NIL;
        ExprId one = loops_const(loops, expr_dtype(loops, factor), 1);
        if (count + 2 > FACTORS_MAX) return false;
        if (!changes(s, l, factor)) {
            l->lifted = product_with(loops, l->lifted, factor);
        } else if (opcode == OP_MUL) {
            left[count++] = exprs->b[factor.row];
            left[count++] = exprs->a[factor.row];
        } else if (opcode == OP_NEG) {
            left[count++] = exprs->a[factor.row];
            left[count++] = loops_const(loops, expr_dtype(loops, factor), -1);
        } else if (opcode == OP_DIV && !changes(s, l, exprs->b[factor.row])) {
            left[count++] = loops_op(loops, OP_DIV, expr_dtype(loops, factor), one,
                                     exprs->b[factor.row], (ExprId){0}, 0);
            left[count++] = exprs->a[factor.row];
        } else {
            l->inside = product_with(loops, l->inside, factor);
        }
    }
    return expr_id_some(l->inside) && expr_id_some(l->lifted);
}
/* The loops of the sum that its place does not follow run at least once, and its start is in all
 * others that are around a reader: there all of the sum is read. */
static bool sums_whole(Schedule *s, const Lifting *l, uint32_t start, uint32_t reader) {
    const LoopNodes *nodes = &s->loops->nodes;
    for (uint32_t i = 0; i < l->own.count; i++)
        if (l->own.axis[i] == UINT32_MAX &&
            dims_range(&s->loops->dims, nodes->extent[l->own.rows[i]]).lo < 1)
            return false;
    return reader > l->sum && !share_loop_without(s, l->sum, reader, start);
}
static ExprId with_lifted(Subst *s, void *context, ListId index, ExprId guard) {
    const Lifting *l = context;
    Loops         *loops = s->loops;
    DimId          symbols[OWN_MAX], values[OWN_MAX];
    uint32_t       count = 0;
    for (uint32_t i = 0; i < l->own.count; i++) {
        if (l->own.axis[i] == UINT32_MAX) continue;
        symbols[count] = loops->nodes.var[l->own.rows[i]];
        values[count++] = list_dim(loops, index, l->own.axis[i]);
    }
    Subst  sub = subst_begin_with(loops, s->scratch, symbols, values, count, NULL, guard);
    ExprId sum = loops_load(loops, access_of(l->buffer, index), guard);
    ExprId value = product_with(loops, sum, subst_expr(&sub, l->lifted));
    s->failed |= sub.failed;
    if (!expr_id_some(guard) || s->failed) return value;
    Dtype dtype = expr_dtype(loops, value); /* a load gives 0 where its guard is false */
    return loops_op(loops, OP_SELECT, dtype, guard, value, loops_const(loops, dtype, 0), 0);
}
/* Factors are told apart by the loops that all readers are outside of. */
static bool may_lift(Schedule *s, const Stage *stage, Lifting *out) {
    LoopAccess to = s->loops->nodes.access[stage->rows[1]];
    Accesses   loads = loads_of(s, stage->buffer);
    *out = (Lifting){.buffer = stage->buffer, .sum = stage->rows[1]};
    for (uint32_t i = 0; i < loads.count; i++) {
        uint32_t before = out->own.count;
        if (!find_own(s, out->sum, loads.rows[i].row, &out->own) ||
            !match_axes(s, &out->own, access_index(to)) ||
            !sums_whole(s, out, stage->rows[0], loads.rows[i].row) ||
            !other_axes_agree(s, &out->own, to, loads.rows[i].access) ||
            !loads_stay(s, out->sum, loads.rows[i].row, (BufferId){0}) ||
            (i != 0 && out->own.count != before))
            return false;
    }
    return loads.count != 0;
}
bool transform_LIFT(Schedule *s, const int64_t *n) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         row = transform_row(s, n[0], NODE_REDUCE);
    Stage            stage;
    Lifting          l;
    if (row == 0) return transform_refuse(s, "there is no reduction at this position");
    Dtype dtype = expr_dtype(s->loops, nodes->value[row]);
    if (nodes->reduce[row] != REDUCE_SUM || !dtype_is_float(dtype))
        return transform_refuse(s, "it is no sum of real numbers");
    if (!find_stage(s, access_buffer(nodes->access[row]), &stage) || stage.count != 2)
        return transform_refuse(s, transform_no_stage);
    if (!may_lift(s, &stage, &l))
        return transform_refuse(s, "the sum may be over nothing, or is not all there is to read");
    if (!find_factors(s, &l) || !is_computed(s->loops, l.lifted))
        return transform_refuse(s, "no computed factor is the same in all that is added up");
    SubstBuffer map = {.buffer = l.buffer, .load = with_lifted, .context = &l};
    Subst       sub = subst_begin_with(s->loops, s->scratch, NULL, NULL, 0, &map, (ExprId){0});
    Edit        e = transform_edit_begin(s);
    transform_edit_copy(&e, &sub, e.old, row, 0);
    (void)transform_edit_reduce(&e, transform_edit_depth(&e, row), REDUCE_SUM, nodes->access[row],
                                l.inside, (ExprId){0});
    transform_edit_copy(&e, &sub, row + 1, e.old_last, 0);
    return transform_edit_end_bound(&e);
}

/* --- compute at ------------------------------------------------------------------------------- */
typedef struct Moving { /* a statement of a stage on its way into a loop */
    uint32_t row;
    Own      own;
} Moving;
/* The statement in loops over the region: matched own loops run over it, others as they did. */
static void write_moved(Edit *e, uint32_t depth, const Moving *m, const Region *region) {
    Schedule  *s = e->s;
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    DimId      symbols[OWN_MAX], values[OWN_MAX], one = dims_const(&loops->dims, 1);
    ExprId     guard = {0};
    for (uint32_t i = 0; i < m->own.count && !e->failed; i++) {
        uint32_t loop = m->own.rows[i], axis = m->own.axis[i];
        Subst    sub = subst_begin(loops, s->scratch, symbols, values, i);
        DimId    whole = subst_dim(&sub, nodes->extent[loop]);
        DimId    extent = axis == UINT32_MAX ? whole : region->extent[axis];
        symbols[i] = nodes->var[loop];
        if (axis != UINT32_MAX && extent.row == one.row) {
            values[i] = region->low[axis];
        } else {
            DimId var = transform_variable(loops, extent);
            (void)transform_edit_loop(e, depth++, var, extent, BIND_SERIAL);
            values[i] = axis == UINT32_MAX ? var : dims_add(&loops->dims, region->low[axis], var);
        }
        e->failed |= sub.failed || !dim_id_some(values[i]);
        if (axis != UINT32_MAX && !e->failed)
            guard = loops_and(loops, guard, transform_inside(loops, values[i], whole));
    }
    Subst sub =
        subst_begin_with(loops, s->scratch, symbols, values, m->own.count, NULL, (ExprId){0});
    if (e->failed) return;
    LoopAccess access = subst_access(&sub, nodes->access[m->row]);
    Subst  safe = subst_begin_with(loops, s->scratch, symbols, values, m->own.count, NULL, guard);
    ExprId value = subst_expr(&safe, nodes->value[m->row]);
    e->failed |= sub.failed || safe.failed;
    if (e->failed) return;
    if (nodes->kind[m->row] == NODE_STORE)
        (void)transform_edit_store(e, depth, access, value, guard);
    else
        (void)transform_edit_reduce(e, depth, (ReduceKind)nodes->reduce[m->row], access, value,
                                    guard);
}
static bool holds_vector(const Schedule *s, uint32_t loop) {
    return (s->loops->nodes.bind[loop] & BIND_VECTOR) != 0;
}
bool transform_COMPUTE_AT(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   row = transform_row(s, n[0], NODE_STORE), loop = transform_row(s, n[1], NODE_LOOP);
    if (row == 0) row = transform_row(s, n[0], NODE_REDUCE);
    if (row == 0) return transform_refuse(s, "there is no statement at this position");
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    BufferId buffer = access_buffer(nodes->access[row]);
    Stage    stage;
    Moving   moving[2];
    Region   region;
    if (!find_stage(s, buffer, &stage)) return transform_refuse(s, transform_no_stage);
    Accesses loads = loads_of(s, buffer);
    for (uint32_t i = 0; i < loads.count; i++)
        if (!transform_holds(s, loop, loads.rows[i].row))
            return transform_refuse(s, "the buffer is read outside the loop");
    if (loads.count == 0) return transform_refuse(s, "nothing reads the buffer");
    transform_region(s, &loads, loop, &region);
    for (uint32_t i = 0; i < stage.count; i++) {
        Moving *m = &moving[i];
        m->row = stage.rows[i];
        if (m->row >= loop || !find_own(s, m->row, loop, &m->own) ||
            !match_axes(s, &m->own, access_index(nodes->access[m->row])) || !is_box(s, &m->own) ||
            !loads_stay(s, m->row, loop, (BufferId){0}))
            return transform_refuse(s, transform_fixed);
        uint32_t matched = 0;
        for (uint32_t k = 0; k < m->own.count; k++) {
            if (m->own.axis[k] != UINT32_MAX)
                matched |= 1u << m->own.axis[k];
            else if (nodes->kind[m->row] == NODE_STORE)
                return transform_refuse(s, "a loop stores the same elements again and again");
        }
        for (uint32_t axis = 0; axis < region.rank; axis++) { /* other axes are fixed outside */
            ListId at = access_index(nodes->access[m->row]);
            if ((matched >> axis & 1) == 0 &&
                (dims_const(&loops->dims, 1).row != region.extent[axis].row ||
                 list_dim(loops, at, axis).row != region.low[axis].row))
                return transform_refuse(s, "the loop reads other elements than are stored");
        }
    }
    uint32_t last = transform_end(s, loop);
    Edit     e = transform_edit_begin(s);
    uint32_t depth = transform_edit_depth(&e, loop) + 1;
    for (uint32_t i = 0; i < stage.count; i++) e.dropped[stage.rows[i] - e.old] = 1;
    transform_edit_copy(&e, NULL, e.old, loop + 1, 0);
    for (uint32_t i = 0; i < stage.count; i++) {
        uint32_t before = nodes->table.count;
        if (!e.failed) write_moved(&e, depth, &moving[i], &region);
        e.failed |= holds_vector(s, loop) && nodes->table.count - before > 1;
    }
    transform_edit_copy(&e, NULL, loop + 1, last, 0);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end_bound(&e);
}

/* --- reverse compute at ----------------------------------------------------------------------- */
/* The axis of a buffer along which the iterations of a loop write it tile by tile, all of it: tile
 * i is [step i, step i + extent). UINT32_MAX: not so. */
static uint32_t find_tiles(Schedule *s, BufferId buffer, uint32_t loop, Region *out) {
    Loops   *loops = s->loops;
    Dims    *dims = &loops->dims;
    DimId    var = loops->nodes.var[loop], zero = dims_const(dims, 0);
    uint32_t last = transform_end(s, loop), tiled = UINT32_MAX;
    Accesses all = transform_accesses(s, transform_first(s), transform_last(s), buffer);
    Accesses inside = transform_accesses(s, loop, last, buffer);
    for (uint32_t i = 0; i < all.count; i++) /* nothing else writes it once the loop has begun */
        if (all.rows[i].kind != ACCESS_LOAD && all.rows[i].row >= last) return UINT32_MAX;
    if (inside.count == 0 || !transform_pinned(s, &inside, loop, 0)) return UINT32_MAX;
    inside = transform_only(s, &inside, false);
    if (inside.count == 0) return UINT32_MAX;
    transform_region(s, &inside, loop, out);
    for (uint32_t i = 1; i < inside.count; i++) { /* all of them write the same box */
        Accesses one = {.rows = &inside.rows[i], .count = 1};
        Region   other;
        transform_region(s, &one, loop, &other);
        for (uint32_t axis = 0; axis < other.rank; axis++)
            if (other.low[axis].row != out->low[axis].row ||
                other.extent[axis].row != out->extent[axis].row)
                return UINT32_MAX;
    }
    for (uint32_t axis = 0; axis < out->rank; axis++) {
        DimId step, rest, size = list_dim(loops, loops->buffers.dims[buffer.row], axis);
        if (!dims_contains(dims, out->low[axis], var)) {
            if (out->low[axis].row != zero.row || out->extent[axis].row != size.row)
                return UINT32_MAX;
            continue;
        }
        if (tiled != UINT32_MAX || !dims_linear_in(dims, out->low[axis], var, &step, &rest) ||
            rest.row != zero.row || dims_range(dims, step).lo < 1)
            return UINT32_MAX;
        DimId groups = dims_ceildiv(dims, size, step), all_of_it;
        DimId begun = dims_mul(dims, step, var);
        DimId left = dim_id_some(begun) ? dims_sub(dims, size, begun) : begun;
        all_of_it = dims_mul(dims, loops->nodes.extent[loop], step);
        if (!dim_id_some(groups) || !dim_id_some(left)) return UINT32_MAX;
        bool even = out->extent[axis].row == step.row && all_of_it.row == size.row;
        bool tail = out->extent[axis].row == dims_min(dims, step, left).row &&
                    groups.row == loops->nodes.extent[loop].row;
        if (!even && !tail) return UINT32_MAX;
        tiled = axis;
    }
    return tiled;
}
bool transform_REVERSE_COMPUTE_AT(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   row = transform_row(s, n[0], NODE_STORE), loop = transform_row(s, n[1], NODE_LOOP);
    uint32_t   tiled = UINT32_MAX, follows = UINT32_MAX;
    Region     region = {.rank = 0};
    BufferId   buffer = {0};
    Moving     m;
    if (row == 0) row = transform_row(s, n[0], NODE_REDUCE);
    if (row == 0) return transform_refuse(s, "there is no statement at this position");
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if (row < transform_end(s, loop))
        return transform_refuse(s, "the statement does not come after the loop");
    m.row = row;
    Accesses loads = transform_accesses(s, row, row + 1, (BufferId){0});
    for (uint32_t i = 0; i < loads.count; i++) { /* the one buffer that the loop writes */
        BufferId at = access_buffer(loads.rows[i].access);
        Accesses inside = transform_accesses(s, loop, transform_end(s, loop), at);
        bool     writes = false;
        for (uint32_t k = 0; k < inside.count; k++) writes |= inside.rows[k].kind != ACCESS_LOAD;
        if (loads.rows[i].kind != ACCESS_LOAD || !writes) continue;
        if (buffer_id_some(buffer) && buffer.row != at.row)
            return transform_refuse(s, "it reads several buffers that the loop writes");
        buffer = at;
    }
    if (!buffer_id_some(buffer))
        return transform_refuse(s, "it reads nothing that the loop writes");
    if (expr_id_some(nodes->guard[row]) || share_loop_without(s, loop + 1, loop, row) ||
        !find_own(s, row, loop, &m.own) || !target_is_quiet(s, loop, row, &m.own) ||
        !loads_stay(s, row, loop, buffer))
        return transform_refuse(s, transform_fixed);
    tiled = find_tiles(s, buffer, loop, &region);
    if (tiled == UINT32_MAX)
        return transform_refuse(s, "the loop does not write the buffer tile by tile");
    DimId size = list_dim(loops, loops->buffers.dims[buffer.row], tiled);
    for (uint32_t i = 0; i < loads.count; i++) {
        if (access_buffer(loads.rows[i].access).row != buffer.row) continue;
        DimId at = list_dim(loops, access_index(loads.rows[i].access), tiled);
        for (uint32_t k = 0; k < m.own.count; k++)
            if (nodes->var[m.own.rows[k]].row == at.row &&
                nodes->extent[m.own.rows[k]].row == size.row &&
                (follows == UINT32_MAX || follows == k))
                follows = k;
        if (follows == UINT32_MAX || nodes->var[m.own.rows[follows]].row != at.row)
            return transform_refuse(s, "no loop of the statement runs along the tiles");
    }
    ASSERT(follows != UINT32_MAX);
    m.own.axis[follows] = tiled;
    uint32_t last = transform_end(s, loop);
    Edit     e = transform_edit_begin(s);
    e.dropped[row - e.old] = 1;
    transform_edit_copy(&e, NULL, e.old, last, 0);
    uint32_t before = nodes->table.count;
    write_moved(&e, transform_edit_depth(&e, loop) + 1, &m, &region);
    e.failed |= holds_vector(s, loop) && nodes->table.count - before > 1;
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end_bound(&e);
}
