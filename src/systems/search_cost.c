/* The analytical cost of a schedule.
 *
 * Memory: the footprint of a node is what one execution of it touches of each buffer, in whole
 * lines. A cache that holds one iteration of a loop serves all reuse between its iterations, so
 * what comes from beyond it is the sum of the footprints of the outermost such loops. Pages are
 * counted in the same way. Lines a power of two apart meet in few sets and need more room.
 *
 * Compute: cycles of the operators of each statement, by vectors where a loop is bound so and its
 * accesses are contiguous, element by element where they are not; values that do not follow the
 * innermost loop are charged once for it. Loops cost a cycle an iteration, parallel ones are dealt
 * to lanes. Sizes are the hints of parameters; partial tiles count as what they are on average. */
#include <math.h>

#include "systems/lower_inner.h"
#include "systems/search.h"
#include "systems/transform_inner.h"

static const double line_bytes = 64, parallel_us = 2, loop_cycles = 1, entry_cycles = 4;
static const double load_cycles = 0.5, gather_cycles = 1.5, divide_cycles = 12, latency_cycles = 4;

static const double cache_ways = 8, page_ns = 5;

typedef struct Costing {
    Schedule            *s;
    Loops               *loops;
    const TargetMachine *machine;
    int64_t             *symbols; /* by dim row: parameters and variables */
    uint32_t             first;   /* node */
    double              *trips;   /* by node - first: iterations of a loop, on average */
    Accesses             list;    /* of the whole kernel */
    DimId               *places;  /* addresses of the accesses */
} Costing;

/* --- sizes ------------------------------------------------------------------------------------ */
static int64_t floor_div(int64_t a, int64_t b) { return b <= 0 ? 0 : a / b - (a % b < 0); }
static int64_t size_at(const Costing *c, DimId dim) { /* as deep as sizes nest */
    const Dims *dims = &c->loops->dims;
    uint32_t    row = dim.row;
    int64_t     sum = 0;
    DimKind     kind = (DimKind)dims->rows.kind[row];
    if (kind == DIM_NIL) return 0; /* too complex */
    if (kind == DIM_CONST) return dims->rows.imm[row];
    if (kind == DIM_SYMBOL) return c->symbols[row];
    for (uint32_t i = 0; kind == DIM_POLY && i < dims->rows.rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[dims->rows.lhs[row] + i];
        int64_t  product = dims->terms.coef[dims->rows.lhs[row] + i];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            product *= size_at(c, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]});
        sum += product;
    }
    if (kind == DIM_POLY) return sum;
    int64_t a = size_at(c, (DimId){dims->rows.lhs[row]});
    int64_t b = size_at(c, (DimId){dims->rows.rhs[row]});
    if (kind == DIM_FLOORDIV) return floor_div(a, b);
    if (kind == DIM_LESS) return a < b;
    return (kind == DIM_MIN) == (a < b) ? a : b;
}
/* All variables at 0, then the extent of each loop from outside in: between the first and the last
 * iteration of the loop around it that it depends on. */
static void set_sizes(Costing *c) {
    const LoopKernels *kernels = &c->loops->kernels;
    const LoopNodes   *nodes = &c->loops->nodes;
    const LoopParams  *params = &c->loops->params;
    for (uint32_t i = 0; i < kernels->params_count[c->s->kernel.row]; i++) {
        DimId symbol = params->symbol[kernels->params_first[c->s->kernel.row] + i];
        c->symbols[symbol.row] = dims_typical(&c->loops->dims, symbol);
    }
    for (uint32_t row = c->first; row < transform_last(c->s); row++) {
        c->trips[row - c->first] = 1;
        if (nodes->kind[row] != NODE_LOOP) continue;
        double begun = (double)size_at(c, nodes->extent[row]), average = begun;
        for (uint32_t outer = c->first; outer < row; outer++) {
            double count = c->trips[outer - c->first];
            if (nodes->kind[outer] != NODE_LOOP || !transform_holds(c->s, outer, row) ||
                !dims_contains(&c->loops->dims, nodes->extent[row], nodes->var[outer]) || count < 1)
                continue;
            c->symbols[nodes->var[outer].row] = (int64_t)count - 1;
            double ended = (double)size_at(c, nodes->extent[row]);
            c->symbols[nodes->var[outer].row] = 0;
            average = (begun * (count - 1) + (ended > 0 ? ended : 0)) / count;
        }
        c->trips[row - c->first] = average > 0 ? average : 0;
    }
}

/* --- memory ----------------------------------------------------------------------------------- */
typedef struct Cache { /* or the pages whose places are at hand */
    double bytes, line;
    double sets; /* lines that far apart meet in one set; 1: places are hashed */
} Cache;
typedef struct Footprint {
    double bytes; /* of the lines */
    double room;  /* what they take away from others: lines a power of two apart share few sets */
} Footprint;
/* What an access touches while the loops from a row on run. */
static Footprint footprint(Costing *c, uint32_t access, uint32_t from, const Cache *cache) {
    const LoopNodes *nodes = &c->loops->nodes;
    uint32_t         statement = c->list.rows[access].row;
    BufferId         buffer = access_buffer(c->list.rows[access].access);
    double           width = dtype_bytes((Dtype)c->loops->buffers.dtype[buffer.row]);
    double           elements = 1, nearest = 0, apart = 1;
    int64_t          base = size_at(c, c->places[access]);
    for (uint32_t row = from; row < statement; row++) {
        if (nodes->kind[row] != NODE_LOOP || !transform_holds(c->s, row, statement)) continue;
        c->symbols[nodes->var[row].row] = 1;
        double stride = fabs((double)(size_at(c, c->places[access]) - base));
        c->symbols[nodes->var[row].row] = 0;
        if (stride == 0) continue;
        elements *= c->trips[row - c->first];
        if (nearest == 0 || stride < nearest) nearest = stride;
    }
    double waste = nearest > 1 ? fmin(nearest, cache->line / width) : 1;
    while (nearest > 1 && apart < cache->sets &&
           fmod(nearest * width, apart * 2 * cache->line) == 0)
        apart *= 2;
    return (Footprint){elements * width * waste, elements * width * waste * apart};
}
/* Of a node, or of one of its iterations (from: the row after it): each buffer once, by the access
 * that touches most. */
static Footprint touched(Costing *c, uint32_t node, uint32_t from, const Cache *cache) {
    Footprint sum = {0, 0};
    uint32_t  count = c->loops->kernels.buffers_count[c->s->kernel.row];
    uint32_t  first = c->loops->kernels.buffers_first[c->s->kernel.row];
    for (uint32_t i = 0; i < count; i++) {
        Footprint most = {0, 0};
        if (c->loops->buffers.scope[first + i] == SCOPE_REG) continue;
        for (uint32_t k = 0; k < c->list.count; k++) {
            if (access_buffer(c->list.rows[k].access).row != first + i ||
                !transform_holds(c->s, node, c->list.rows[k].row))
                continue;
            Footprint here = footprint(c, k, from, cache);
            most.bytes = fmax(most.bytes, here.bytes);
            most.room = fmax(most.room, here.room);
        }
        sum.bytes += most.bytes;
        sum.room += most.room;
    }
    return sum;
}
/* Bytes that one execution of a node takes from beyond a cache. */
static double traffic(Costing *c, uint32_t node, const Cache *cache) { /* as deep as loops nest */
    const LoopNodes *nodes = &c->loops->nodes;
    double           sum = 0;
    if (nodes->kind[node] >= NODE_STORE || touched(c, node, node + 1, cache).room <= cache->bytes)
        return touched(c, node, node, cache).bytes;
    for (uint32_t row = node + 1; row < transform_end(c->s, node); row += nodes->size[row])
        sum += traffic(c, row, cache);
    return sum * c->trips[node - c->first];
}
static const Cache near_pages = {64 * 4096, 4096, 1};
/* The level beyond which bytes come: 0 are the registers; the last cache hashes its places. */
static Cache cache_at(const TargetMachine *machine, uint32_t level) {
    if (level == 0) return (Cache){0, line_bytes, 1};
    double bytes = (double)machine->cache_bytes[level - 1];
    return (Cache){bytes, line_bytes, level < 3 ? bytes / (line_bytes * cache_ways) : 1};
}

/* --- compute ---------------------------------------------------------------------------------- */
typedef struct Vector { /* the loop whose iterations are innermost; row 0: none */
    uint32_t row;
    DimId    var;
    double   lanes; /* elements at once */
} Vector;
/* Whether the value of an expression follows the variable; memo: 1 no, 2 yes. */
static bool follows(Costing *c, ExprId expr, DimId var, RowMap *memo) { /* as deep as it is */
    const LoopExprs *exprs = &c->loops->exprs;
    uint32_t         row = expr.row, known = row != 0 ? row_map_get(memo, expr.row) : 1;
    if (known != 0) return known == 2;
    uint64_t word = exprs->word[row];
    bool     yes = false;
    if (exprs->kind[row] == EXPR_LOAD)
        yes = dims_contains(&c->loops->dims, loops_address(c->loops, word), var);
    if (exprs->kind[row] == EXPR_INDEX || exprs->kind[row] == EXPR_RNG ||
        exprs->kind[row] == EXPR_LESS)
        yes = dims_contains(&c->loops->dims, (DimId){(uint32_t)word}, var);
    if (exprs->kind[row] == EXPR_LESS)
        yes = yes || dims_contains(&c->loops->dims, (DimId){(uint32_t)(word >> 32)}, var);
    yes = yes || follows(c, exprs->a[row], var, memo) || follows(c, exprs->b[row], var, memo) ||
          follows(c, exprs->c[row], var, memo);
    row_map_put(memo, c->s->scratch, expr.row, yes ? 2 : 1);
    return yes;
}
/* Cycles for one access of all lanes of a vector. */
static double access_cycles(Costing *c, LoopAccess access, const Vector *v) {
    Dims *dims = &c->loops->dims;
    DimId place = loops_address(c->loops, access), step, rest;
    if (c->loops->buffers.scope[access_buffer(access).row] == SCOPE_REG) return 0;
    if (v->row == 0) return load_cycles;
    if (!dims_contains(dims, place, v->var)) return load_cycles;
    if (!dims_linear_in(dims, place, v->var, &step, &rest))
        return v->lanes * (gather_cycles + divide_cycles);
    bool beside = dims_is_const(dims, step) && dims_const_value(dims, step) == 1;
    return beside ? load_cycles : v->lanes * gather_cycles;
}
/* Cycles of one execution of all lanes for an expression; parts seen before are free, those that do
 * not follow the innermost loop are shared by its iterations. */
static double expr_cycles(Costing *c, ExprId expr, const Vector *v, double shared, RowMap *seen,
                          RowMap *memo) { /* as deep as the expression */
    const LoopExprs *exprs = &c->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0 || row_map_get(seen, expr.row) != 0) return 0;
    row_map_put(seen, c->s->scratch, expr.row, 1);
    double cycles = 0;
    if (exprs->kind[row] == EXPR_LOAD) cycles = access_cycles(c, exprs->word[row], v);
    if (exprs->kind[row] == EXPR_OP) cycles = lower_cost((Opcode)exprs->opcode[row]) * 0.5;
    if (exprs->kind[row] == EXPR_RNG) cycles = 40;
    if (v->row != 0 && !follows(c, expr, v->var, memo)) cycles /= fmax(shared, 1);
    cycles += expr_cycles(c, exprs->a[row], v, shared, seen, memo);
    cycles += expr_cycles(c, exprs->b[row], v, shared, seen, memo);
    return cycles + expr_cycles(c, exprs->c[row], v, shared, seen, memo);
}
static double element_bytes(Costing *c, uint32_t loop) { /* the widest that its body computes */
    double   widest = 4;
    uint32_t last = transform_end(c->s, loop);
    for (uint32_t row = loop + 1; row < last; row++)
        if (c->loops->nodes.kind[row] >= NODE_STORE)
            widest = fmax(widest, dtype_bytes(expr_dtype(c->loops, c->loops->nodes.value[row])));
    return widest;
}
/* Cycles of one execution of a statement (of all lanes). */
static double statement_cycles(Costing *c, uint32_t row, const Vector *v, RowMap *seen) {
    const LoopNodes *nodes = &c->loops->nodes;
    RowMap           memo = {.count = 0};
    double           shared = v->row != 0 ? c->trips[v->row - c->first] / v->lanes : 1;
    double           cycles = access_cycles(c, nodes->access[row], v);
    cycles += expr_cycles(c, nodes->value[row], v, shared, seen, &memo);
    cycles += expr_cycles(c, nodes->guard[row], v, shared, seen, &memo);
    if (nodes->kind[row] != NODE_REDUCE) return cycles;
    DimId place = loops_address(c->loops, nodes->access[row]);
    if (v->row != 0 && dims_contains(&c->loops->dims, place, v->var)) return cycles + load_cycles;
    double groups = v->row == 0 ? 1 : nodes->unroll[v->row] != 0 ? nodes->unroll[v->row] : 4;
    return fmax(cycles + 0.5, latency_cycles / groups); /* each addition waits for the last */
}
/* Cycles of one execution of a node, by one lane; parallel: iterations are dealt to lanes. */
static double node_cycles(Costing *c, uint32_t node, const Vector *around) { /* as deep as nested */
    const LoopNodes *nodes = &c->loops->nodes;
    double           trips = c->trips[node - c->first], inside = 0;
    Vector           here = {0, nodes->var[node], 1};
    RowMap           seen = {.count = 0};
    if (nodes->bind[node] & BIND_VECTOR) {
        here.row = node;
        here.lanes = nodes->factor[node] != 0
                         ? nodes->factor[node]
                         : fmax(1, c->machine->vector_bytes / element_bytes(c, node));
    }
    for (uint32_t row = node + 1; row < transform_end(c->s, node); row += nodes->size[row])
        inside += nodes->kind[row] >= NODE_STORE ? statement_cycles(c, row, &here, &seen)
                                                 : node_cycles(c, row, &here);
    (void)around;
    if (nodes->kind[node] == NODE_PHASE) return inside;
    double groups = ceil(trips / here.lanes), unroll = nodes->unroll[node];
    if (here.row != 0 && unroll == 0) unroll = 2;
    double cycles = groups * inside + entry_cycles;
    if (!(nodes->bind[node] & BIND_UNROLL)) cycles += groups * loop_cycles / fmax(unroll, 1);
    if (!(nodes->bind[node] & BIND_PARALLEL) || c->machine->lanes <= 1) return cycles;
    return cycles * ceil(groups / c->machine->lanes) / fmax(groups, 1);
}

SearchCost search_cost(Schedule *s, const TargetMachine *machine) {
    Costing    c = {.s = s, .loops = s->loops, .machine = machine, .first = transform_first(s)};
    SearchCost cost = {0};
    uint32_t   levels = machine->caches, last = transform_last(s);
    double     cycles = 0, parallel = 0;
    c.list = transform_accesses(s, c.first, last, (BufferId){0});
    c.places = ARENA_ARRAY(s->scratch, DimId, c.list.count + 1);
    for (uint32_t i = 0; i < c.list.count; i++)
        c.places[i] = loops_address(s->loops, c.list.rows[i].access);
    c.symbols = ARENA_ARRAY_ZERO(s->scratch, int64_t, s->loops->dims.rows.table.count + 1);
    c.trips = ARENA_ARRAY(s->scratch, double, last - c.first + 1);
    set_sizes(&c);
    for (uint32_t phase = c.first; phase < last; phase += s->loops->nodes.size[phase]) {
        cycles += node_cycles(&c, phase, NULL);
        for (uint32_t level = 0; level <= levels; level++) {
            Cache cache = cache_at(machine, level);
            cost.bytes[level] += traffic(&c, phase, &cache);
        }
        cost.pages += traffic(&c, phase, &near_pages) / near_pages.line;
        bool shares =
            s->loops->nodes.size[phase] > 1 && (s->loops->nodes.bind[phase + 1] & BIND_PARALLEL);
        if (shares && machine->lanes > 1) parallel += parallel_us;
    }
    cost.compute_us = cycles / (machine->ghz * 1e3);
    for (uint32_t level = 0; level <= levels; level++) {
        double rate = machine->gb_s[level] * (level < levels ? machine->lanes : 1);
        cost.memory_us = fmax(cost.memory_us, cost.bytes[level] / (rate * 1e3));
    }
    cost.memory_us += cost.pages * page_ns / 1e3 / machine->lanes;
    cost.us = fmax(cost.compute_us, cost.memory_us) + parallel;
    cost.us += 0.1 * fmin(cost.compute_us, cost.memory_us); /* they overlap, not quite */
    return cost;
}
