/* The rules for CPU lanes. Each choice among several is made by choose: the first option by
 * default, another one where a search draws it.
 *
 *   order    in kernels that sum over the contiguous axis, summed axes go inside
 *   merge    phases of one frame become one loop nest, then neighbours inside it
 *   scope    what only one iteration needs becomes registers or lane memory
 *   rows     loops that add up whole rows go inside those that tell the rows apart
 *   fuse     loops that walk memory in a row become one
 *   tile     transposes go by tiles; then the outer loops become one
 *   rfactor  sums over the outermost loop get partial results a group of iterations
 *   split    innermost loops, where that makes a quotient constant
 *   bind     outermost loops go to lanes, innermost ones to vectors
 * Groups are counted from sizes alone, never from the number of lanes, so results do not depend on
 * it. */
#include "systems/schedule_inner.h"

#include "systems/transform_inner.h"

enum {
    GROUPS_MAX = 64,
    OPTIONS_MAX = 8,
    PIECE_LEAST = 8,
    PIECES_MAX = 4,
    FAR_APART = 16 /* elements on other lines */
};
typedef struct Options { /* the first is what is taken without a search */
    uint32_t count, values[OPTIONS_MAX];
} Options;
static const Options group_rows = {5, {16, 4, 8, 32, 64}}; /* least rows of a partial column sum */
static const Options group_elements = {4, {4096, 1024, 16384, 65536}}; /* and of a partial total */
static const Options columns_block = {5, {512, 64, 128, 256, 2048}};   /* combined at once */
static const Options tile_rows = {5, {64, 0, 16, 32, 256}}; /* of transposed loops; 0: none */
static const Options tile_columns = {3, {8, 16, 32}};       /* and the elements of a vector */
static const Options tile_sums = {4, {0, 16, 32, 64}};      /* rows, where loops sum as well */
static const Options vector_factors = {3, {0, 8, 16}};      /* 0: the emitter chooses */
static const Options vector_unrolls = {5, {0, 1, 2, 4, 8}};
static const Options yes_or_no = {2, {1, 0}};

static uint32_t choose(Schedule *s, Decisions *d, const Options *options) {
    return options->values[d != NULL ? transform_sample(s, d, NULL, options->count) : 0];
}

/* --- order ------------------------------------------------------------------------------------ */
typedef struct Order { /* the axes of the frame: extents, and which are summed over */
    uint32_t depth, summed;
    DimId    extents[SHAPE_RANK_MAX];
    bool     inside; /* the last one is summed over */
} Order;
static Order find_order(Schedule *s) {
    Order order = {0};
    for (uint32_t at = 0; at < count_of(s); at += size_at(s, at)) {
        uint32_t depth = depth_at(s, at + 1), last = at + 1 + depth;
        if (depth == 0 || depth > SHAPE_RANK_MAX || kind_at(s, last) != NODE_REDUCE) continue;
        bool inside = sums_over(s, last - 1, last);
        if (order.depth != 0 && (order.inside || !inside)) continue; /* the first, or one inside */
        order = (Order){.depth = depth, .inside = inside};
        for (uint32_t i = 0; i < depth; i++) {
            order.extents[i] = nodes_of(s)->extent[schedule_node(s, at + 1 + i)];
            order.summed |= (uint32_t)sums_over(s, at + 1 + i, last) << i;
        }
    }
    return order;
}
static void put_sums_inside(Schedule *s, const Order *order) {
    for (uint32_t at = 0; at < count_of(s); at += size_at(s, at)) {
        uint32_t depth = depth_at(s, at + 1), outer = 0;
        bool     same = depth == order->depth;
        for (uint32_t i = 0; same && i < depth; i++)
            same = nodes_of(s)->extent[schedule_node(s, at + 1 + i)].row == order->extents[i].row;
        for (uint32_t i = 0; same && i < depth; i++) {
            if (order->summed >> i & 1) continue;
            if (i > outer) (void)transform_reorder(s, at + 1 + outer, at + 1 + i);
            outer++;
        }
    }
}

/* Whether the loop adds up rows: to elements that differ along the next loop and along the
 * innermost one. Partial results would be as large as the rows. */
static bool adds_rows(Schedule *s, uint32_t loop) {
    for (uint32_t at = loop + 1; at < loop + size_at(s, loop); at++) {
        if (kind_at(s, at) != NODE_REDUCE || !sums_over(s, loop, at)) continue;
        uint32_t inner = transform_parent(s, schedule_node(s, at)) - schedule_node(s, 0);
        if (!sums_over(s, loop + 1, at) && !sums_over(s, inner, at)) return true;
    }
    return false;
}
void schedule_put_rows_outside(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s); at += size_at(s, at))
        for (uint32_t loop = at + 1; holds_one_loop(s, loop) && !is_leaf(s, loop + 1); loop++)
            if (!adds_rows(s, loop) || !transform_reorder(s, loop, loop + 1)) break;
}

/* --- merge ------------------------------------------------------------------------------------ */
void schedule_merge_phases(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s);)
        if (!transform_merge(s, at)) at += size_at(s, at);
}
/* Neighbouring loops anywhere inside, outermost first. */
void schedule_merge_inside(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s); at++) {
        if (kind_at(s, at) != NODE_LOOP) continue;
        while (kind_at(s, at + size_at(s, at)) == NODE_LOOP && transform_merge(s, at)) {}
    }
}

/* Whether all that reads a buffer stands beside the one store that fills it, and reads what it has
 * just stored: the emitter then computes the value once. */
static bool read_beside(Schedule *s, BufferId buffer) {
    Accesses list = transform_accesses(s, transform_first(s), transform_last(s), buffer);
    if (list.count < 2 || list.rows[0].kind != ACCESS_STORE) return false;
    uint32_t parent = transform_parent(s, list.rows[0].row);
    for (uint32_t i = 1; i < list.count; i++)
        if (list.rows[i].kind != ACCESS_LOAD || list.rows[i].access != list.rows[0].access ||
            transform_parent(s, list.rows[i].row) != parent)
            return false;
    return true;
}
void schedule_narrow(Schedule *s) {
    const LoopKernels *kernels = &s->loops->kernels;
    for (uint32_t i = 0; i < kernels->buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {kernels->buffers_first[s->kernel.row] + i};
        if (s->loops->buffers.scope[buffer.row] != SCOPE_WORK) continue;
        if (read_beside(s, buffer) && transform_inline(s, buffer)) continue;
        if (!transform_scope(s, buffer, SCOPE_REG)) (void)transform_scope(s, buffer, SCOPE_LANE);
    }
}

/* --- fuse ------------------------------------------------------------------------------------- */
/* Whether dim depends on the two variables through outer * extent + inner alone. */
static bool fuses(Dims *dims, DimId dim, DimId outer, DimId inner, DimId extent) {
    DimId a, b, rest, rest2;
    if (!dims_contains(dims, dim, outer) && !dims_contains(dims, dim, inner)) return true;
    if (!dims_linear_in(dims, dim, outer, &a, &rest)) return false;
    if (!dims_linear_in(dims, rest, inner, &b, &rest2)) return false;
    return dims_mul(dims, b, extent).row == a.row;
}
typedef struct Fusing {
    Schedule *s;
    DimId     outer, inner, extent;
    uint8_t  *seen;
    bool      clean;
} Fusing;
static void check_expr(Fusing *f, ExprId root) {
    Loops           *loops = f->s->loops;
    const LoopExprs *exprs = &loops->exprs;
    ArenaMark        mark = arena_mark(f->s->scratch);
    uint32_t *stack = ARENA_ARRAY(f->s->scratch, uint32_t, (size_t)root.row * 3 + 4), depth = 0;
    stack[depth++] = root.row;
    while (depth != 0 && f->clean) {
        uint32_t row = stack[--depth];
        if (row == 0 || f->seen[row]) continue;
        f->seen[row] = 1;
        uint64_t word = exprs->word[row];
        DimId    dims[2] = {{0}, {0}};
        switch ((ExprKind)exprs->kind[row]) {
        case EXPR_LOAD: dims[0] = loops_address(loops, word); break;
        case EXPR_LESS: dims[1] = (DimId){(uint32_t)(word >> 32)}; /* fallthrough */
        case EXPR_INDEX:
        case EXPR_RNG: dims[0] = (DimId){(uint32_t)word}; break;
        default: break;
        }
        for (uint32_t i = 0; i < 2; i++)
            if (dim_id_some(dims[i]))
                f->clean &= fuses(&loops->dims, dims[i], f->outer, f->inner, f->extent);
        stack[depth++] = exprs->a[row].row;
        stack[depth++] = exprs->b[row].row;
        stack[depth++] = exprs->c[row].row;
    }
    arena_release(f->s->scratch, mark);
}
bool schedule_fuses_cleanly(Schedule *s, uint32_t at) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    if (!holds_one_loop(s, at)) return false;
    uint32_t loop = schedule_node(s, at);
    Fusing   f = {s, nodes->var[loop], nodes->var[loop + 1], nodes->extent[loop + 1], NULL, true};
    if (dims_contains(&loops->dims, f.extent, f.outer)) return false;
    f.seen = ARENA_ARRAY_ZERO(s->scratch, uint8_t, loops->exprs.table.count);
    for (uint32_t row = loop + 2; row < loop + nodes->size[loop] && f.clean; row++) {
        if (nodes->kind[row] == NODE_LOOP) {
            f.clean = fuses(&loops->dims, nodes->extent[row], f.outer, f.inner, f.extent);
            continue;
        }
        DimId address = loops_address(loops, nodes->access[row]);
        f.clean = fuses(&loops->dims, address, f.outer, f.inner, f.extent);
        check_expr(&f, nodes->value[row]);
        check_expr(&f, nodes->guard[row]);
    }
    for (uint32_t row = 1; row < loops->lets.table.count && f.clean; row++)
        check_expr(&f, loops->lets.value[row]);
    return f.clean;
}
/* From the inside out, wherever it costs no division. Loops of no trips cannot be fused. */
void schedule_fuse_cleanly(Schedule *s) {
    for (uint32_t at = count_of(s); at-- > 0;)
        while (holds_one_loop(s, at) && schedule_fuses_cleanly(s, at) && transform_fuse(s, at)) {}
}
/* --- tile ------------------------------------------------------------------------------------- */
/* The innermost two loops of a nest, where one side of some copy walks memory with a stride, in
 * tiles: their rows are walked one after the other, so that few lines and pages are open at a
 * time. */
static bool walks_across(Schedule *s, uint32_t at, bool *out_sums) {
    const Loops *loops = s->loops;
    Dims        *dims = &s->loops->dims;
    uint32_t     inner = schedule_node(s, at + 1);
    Accesses     list = transform_accesses(s, inner, transform_end(s, inner), (BufferId){0});
    DimId        outer = loops->nodes.var[schedule_node(s, at)], step, rest;
    bool         found = false;
    *out_sums = false;
    for (uint32_t i = 0; i < list.count; i++) {
        DimId place = loops_address(s->loops, list.rows[i].access);
        *out_sums |= list.rows[i].kind == ACCESS_REDUCE;
        found |= dims_linear_in(dims, place, loops->nodes.var[inner], &step, &rest) &&
                 (!dims_is_const(dims, step) || dims_const_value(dims, step) >= FAR_APART) &&
                 dims_contains(dims, place, outer);
    }
    return found;
}
static void tile_across(Schedule *s, Decisions *d) {
    bool sums;
    for (uint32_t at = 1; at < count_of(s); at++) {
        if (!holds_one_loop(s, at) || !is_leaf(s, at + 1) || !walks_across(s, at, &sums)) continue;
        uint32_t rows = choose(s, d, sums ? &tile_sums : &tile_rows);
        uint32_t columns = rows != 0 ? choose(s, d, &tile_columns) : 0;
        if (rows == 0 || !transform_tile(s, at, at + 1, rows, columns)) continue;
        (void)transform_bind(s, at + 3, BIND_VECTOR, columns, 1);
        at += 3;
    }
}
/* The outer loops of each phase become one, so that lanes have much to share out; the innermost
 * stays apart, and so does a sum from the loops around it that tell its results apart, and so do
 * tiles: the loop over their rows joins where that can still be parallel. */
void schedule_fuse_outer(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s); at += size_at(s, at)) {
        uint32_t depth = depth_at(s, at + 1);
        bool tiled = depth >= 4 && (nodes_of(s)->bind[schedule_node(s, at + depth)] & BIND_VECTOR);
        while (tiled ? depth > 5 : depth > 2 || (depth == 2 && !is_leaf(s, at + 2))) {
            if ((sums_over_phase(s, at + 2) && !sums_over_phase(s, at + 1)) ||
                !transform_fuse(s, at + 1))
                break;
            depth = depth_at(s, at + 1);
        }
        if (!tiled || depth != 5) continue;
        TransformMark mark = transform_mark(s);
        if (transform_fuse(s, at + 1) &&
            !transform_may_bind(s, schedule_node(s, at + 1), BIND_PARALLEL))
            transform_restore(s, &mark);
    }
}

/* --- sums over the outermost loop ------------------------------------------------------------- */
/* A phase that combines partial results: its columns in blocks, groups in order, vectors inside. */
static void schedule_combination(Schedule *s, Decisions *d, uint32_t at) {
    uint32_t depth = depth_at(s, at + 1); /* the columns, then the groups */
    while (depth > 2 && transform_fuse(s, at + 1)) depth--;
    if (depth < 2) return;
    if (!transform_split(s, at + 1, choose(s, d, &columns_block), 0)) return;
    if (!transform_reorder(s, at + 2, at + 3)) return;
    (void)transform_bind(s, at + 1, BIND_PARALLEL, 0, 0);
    (void)transform_bind(s, at + 3, BIND_VECTOR, 0, 0);
}
/* Splits and factors the phase at `at`; false if it does not sum over its outermost loop. */
static bool factor_phase(Schedule *s, Decisions *d, uint32_t at) {
    if (kind_at(s, at + 1) != NODE_LOOP || !sums_over_phase(s, at + 1)) return false;
    uint32_t least = choose(s, d, is_leaf(s, at + 1) ? &group_elements : &group_rows);
    return transform_split(s, at + 1, least, GROUPS_MAX) && transform_rfactor(s, at + 1);
}
static void factor_sums(Schedule *s, Decisions *d) {
    for (uint32_t at = 0; at < count_of(s);) {
        uint32_t before = count_phases(s);
        uint32_t combinations = factor_phase(s, d, at) ? count_phases(s) - before : 0;
        at += size_at(s, at);
        for (; combinations > 0; combinations--) {
            schedule_combination(s, d, at);
            at += size_at(s, at);
        }
    }
}

/* --- quotients -------------------------------------------------------------------------------- */
/* The largest constant below `most` by which a place divides something that contains the variable;
 * 0: none. As deep as places nest. */
static int64_t find_divisor(Dims *dims, DimId place, DimId var, int64_t most) {
    uint32_t row = place.row;
    DimKind  kind = (DimKind)dims->rows.kind[row];
    int64_t  found = 0, here;
    if (kind <= DIM_SYMBOL || !dims_contains(dims, place, var)) return 0;
    for (uint32_t i = 0; kind == DIM_POLY && i < dims->rows.rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[dims->rows.lhs[row] + i];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++) {
            DimId atom = {dims->atoms.atom[dims->monos.first[mono] + k]};
            here = find_divisor(dims, atom, var, most);
            found = here > found ? here : found;
        }
    }
    if (kind == DIM_POLY) return found;
    DimId parts[2] = {{dims->rows.lhs[row]}, {dims->rows.rhs[row]}};
    for (uint32_t i = 0; i < 2; i++) {
        here = find_divisor(dims, parts[i], var, most);
        found = here > found ? here : found;
    }
    if (kind != DIM_FLOORDIV || !dims_is_const(dims, parts[1])) return found;
    here = dims_const_value(dims, parts[1]);
    return here < most && here > found ? here : found;
}
static int64_t largest_divisor(Schedule *s, uint32_t loop, int64_t most) {
    Accesses list = transform_accesses(s, loop, transform_end(s, loop), (BufferId){0});
    int64_t  found = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        DimId   place = loops_address(s->loops, list.rows[i].access);
        int64_t here = find_divisor(&s->loops->dims, place, nodes_of(s)->var[loop], most);
        found = here > found ? here : found;
    }
    return found;
}
/* Whether a comparison in the expression follows the variable. As deep as it is. */
static bool compares(Schedule *s, ExprId expr, DimId var, RowMap *seen) {
    const LoopExprs *exprs = &s->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0 || row_map_get(seen, expr.row) != 0) return false;
    row_map_put(seen, s->scratch, expr.row, 1);
    DimId sides[2] = {{(uint32_t)(exprs->word[row] >> 32)}, {(uint32_t)exprs->word[row]}};
    if (exprs->kind[row] == EXPR_LESS && (dims_contains(&s->loops->dims, sides[0], var) ||
                                          dims_contains(&s->loops->dims, sides[1], var)))
        return true;
    return compares(s, exprs->a[row], var, seen) || compares(s, exprs->b[row], var, seen) ||
           compares(s, exprs->c[row], var, seen);
}
static bool selects_by(Schedule *s, uint32_t loop) {
    RowMap seen = {.count = 0};
    for (uint32_t row = loop + 1; row < transform_end(s, loop); row++)
        if (nodes_of(s)->kind[row] >= NODE_STORE &&
            (compares(s, nodes_of(s)->value[row], nodes_of(s)->var[loop], &seen) ||
             compares(s, nodes_of(s)->guard[row], nodes_of(s)->var[loop], &seen)))
            return true;
    return false;
}
/* Innermost loops of a constant extent over parts of other arrays (heads side by side, pieces of a
 * concatenation): split where quotients change, so that vectors walk memory in a row; a few pieces
 * that are told apart by comparisons are written out, so that each reads only what is its own. */
static void split_quotients(Schedule *s, Decisions *d) {
    for (uint32_t at = 2; at < count_of(s); at++) {
        if (kind_at(s, at) != NODE_LOOP || !is_leaf(s, at) || kind_at(s, at - 1) == NODE_PHASE)
            continue;
        uint32_t row = schedule_node(s, at);
        DimId    extent = nodes_of(s)->extent[row];
        if (nodes_of(s)->bind[row] != BIND_SERIAL || !dims_is_const(&s->loops->dims, extent))
            continue;
        int64_t size = dims_const_value(&s->loops->dims, extent);
        int64_t divisor = largest_divisor(s, row, size);
        bool    apart = size <= divisor * PIECES_MAX && selects_by(s, row);
        if (divisor < PIECE_LEAST || !choose(s, d, &yes_or_no)) continue;
        if (!transform_split(s, at, (uint32_t)divisor, 0)) continue;
        if (apart) (void)transform_unroll(s, at);
        at--; /* again, for smaller divisors */
    }
}

/* --- bind ------------------------------------------------------------------------------------- */
static void bind_loops(Schedule *s, Decisions *d) {
    for (uint32_t at = 0; at < count_of(s); at++) {
        uint32_t row = schedule_node(s, at), bind = nodes_of(s)->bind[row];
        if (kind_at(s, at) != NODE_LOOP || bind != BIND_SERIAL) continue;
        bool outermost = kind_at(s, at - 1) == NODE_PHASE;
        if (outermost && !sums_over_phase(s, at)) bind |= BIND_PARALLEL;
        if (is_leaf(s, at)) bind |= BIND_VECTOR;
        bool     wide = (bind & BIND_VECTOR) != 0;
        uint32_t factor = wide ? choose(s, d, &vector_factors) : 0;
        uint32_t unroll = wide ? choose(s, d, &vector_unrolls) : 0;
        if (bind != BIND_SERIAL) (void)transform_bind(s, at, bind, factor, unroll);
    }
}

/* An earlier kernel with the same content before scheduling, or the kernel itself. */
static KernelId find_same(Loops *loops, KernelId kernel) {
    LoopKernels *kernels = &loops->kernels;
    LoopHash     hash = loops_hash(loops, kernel);
    kernels->hash_low[kernel.row] = hash.low;
    kernels->hash_high[kernel.row] = hash.high;
    for (uint32_t row = 1; row < kernel.row; row++)
        if (kernels->hash_low[row] == hash.low && kernels->hash_high[row] == hash.high)
            return kernels->same[row];
    return kernel;
}

void schedule_put_sums_inside(Schedule *s) {
    Order order = find_order(s);
    if (order.inside) put_sums_inside(s, &order);
}
void schedule_rules(Schedule *s, const Target *target, Decisions *d) {
    if (target != NULL && target->threads) {
        schedule_threads(s);
        return;
    }
    schedule_put_sums_inside(s);
    schedule_merge_phases(s);
    if (choose(s, d, &yes_or_no)) schedule_merge_inside(s);
    schedule_narrow(s);
    schedule_put_rows_outside(s);
    schedule_fuse_cleanly(s);
    tile_across(s, d);
    schedule_fuse_outer(s);
    factor_sums(s, d);
    split_quotients(s, d);
    bind_loops(s, d);
}
void schedule_naive(SystemCtx *ctx, Schedule *s) { (void)ctx, (void)s; }

void schedule_kernel(SystemCtx *ctx, KernelId kernel) {
    KernelId same = find_same(ctx->loops, kernel);
    ctx->loops->kernels.same[kernel.row] = same;
    if (same.row != kernel.row) return;
    ArenaMark mark = arena_mark(ctx->scratch);
    Schedule  s = {.loops = ctx->loops, .kernel = kernel, .scratch = ctx->scratch};
    s.fuel = &ctx->fuel;
    if (ctx->scheduler != NULL)
        ctx->scheduler(ctx, &s);
    else
        schedule_rules(&s, ctx->target, NULL);
    schedule_sharing(&s);
    arena_release(ctx->scratch, mark);
}
