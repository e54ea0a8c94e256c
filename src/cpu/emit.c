/* Preparing phases, compiling them through the jit, and evaluating sizes for binding. Preparing is
 * serial, since it asks the dim algebra; building the functions is not. */
#include "cpu/emit_inner.h"

#include <string.h>

#include "arena/hash.h"

enum { VECTOR_GRAIN = 64, BYTES_A_TURN = 8 };

/* --- sizes ------------------------------------------------------------------------------------ */
static int64_t floor_div(int64_t a, int64_t b) {
    if (b == 0) return 0;
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}
static int64_t size_of(DimKind kind, int64_t a, int64_t b) {
    switch (kind) {
    case DIM_FLOORDIV: return floor_div(a, b);
    case DIM_LESS: return a < b;
    case DIM_MIN: return a < b ? a : b;
    default: return a > b ? a : b;
    }
}
static bool is_param(const Loops *loops, KernelId kernel, DimId symbol) {
    uint32_t first = loops->kernels.params_first[kernel.row];
    for (uint32_t i = 0; i < loops->kernels.params_count[kernel.row]; i++)
        if (loops->params.symbol[first + i].row == symbol.row) return true;
    return false;
}
/* As deep as sizes nest. */
int64_t emit_size(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params) {
    const Dims    *dims = &loops->dims;
    const DimRows *rows = &dims->rows;
    uint32_t       row = dim.row, first = loops->kernels.params_first[kernel.row];
    int64_t        sum = 0;
    switch ((DimKind)rows->kind[row]) {
    case DIM_CONST: return rows->imm[row];
    case DIM_SYMBOL:
        for (uint32_t i = 0; i < loops->kernels.params_count[kernel.row]; i++)
            if (loops->params.symbol[first + i].row == row) return params[i];
        return 0;
    case DIM_POLY:
        for (uint32_t i = 0; i < rows->rhs[row]; i++) {
            uint32_t mono = dims->terms.mono[rows->lhs[row] + i];
            int64_t  product = dims->terms.coef[rows->lhs[row] + i];
            for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
                product *= emit_size(
                    loops, kernel, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]}, params);
            sum += product;
        }
        return sum;
    default: break;
    }
    int64_t a = emit_size(loops, kernel, (DimId){rows->lhs[row]}, params);
    int64_t b = emit_size(loops, kernel, (DimId){rows->rhs[row]}, params);
    return size_of((DimKind)rows->kind[row], a, b);
}
/* Over corners: products, and what both operands move one way. */
static DimRange range_of(DimKind kind, DimRange a, DimRange b) {
    DimRange out = {INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        int64_t x = i & 1 ? a.hi : a.lo, y = i & 2 ? b.hi : b.lo;
        int64_t here = kind == DIM_POLY ? x * y : size_of(kind, x, y);
        if (here < out.lo) out.lo = here;
        if (here > out.hi) out.hi = here;
    }
    return out;
}
/* As deep as sizes nest. */
bool emit_range(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params,
                DimRange *out) {
    const Dims    *dims = &loops->dims;
    const DimRows *rows = &dims->rows;
    uint32_t       row = dim.row;
    DimKind        kind = (DimKind)rows->kind[row];
    DimRange       a, b;
    *out = (DimRange){0, 0};
    if (kind == DIM_SYMBOL && rows->below[row] != 0) {
        if (!emit_range(loops, kernel, (DimId){rows->below[row]}, params, out)) return false;
        *out = (DimRange){0, out->hi - 1};
        return true;
    }
    if (kind == DIM_SYMBOL && !is_param(loops, kernel, dim)) return false;
    if (kind == DIM_SYMBOL || kind == DIM_CONST) {
        out->lo = out->hi = emit_size(loops, kernel, dim, params);
        return true;
    }
    for (uint32_t i = 0; kind == DIM_POLY && i < rows->rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[rows->lhs[row] + i];
        a.lo = a.hi = dims->terms.coef[rows->lhs[row] + i];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++) {
            DimId atom = {dims->atoms.atom[dims->monos.first[mono] + k]};
            if (!emit_range(loops, kernel, atom, params, &b)) return false;
            a = range_of(DIM_POLY, a, b);
        }
        *out = (DimRange){out->lo + a.lo, out->hi + a.hi};
    }
    if (kind == DIM_POLY) return true;
    if (!emit_range(loops, kernel, (DimId){rows->lhs[row]}, params, &a) ||
        !emit_range(loops, kernel, (DimId){rows->rhs[row]}, params, &b))
        return false;
    if (kind == DIM_LESS) *out = (DimRange){0, 1};
    if (kind != DIM_LESS) *out = range_of(kind, a, b);
    return kind != DIM_FLOORDIV || b.lo > 0;
}
int64_t emit_buffer_bytes(const Loops *loops, KernelId kernel, BufferId buffer,
                          const int64_t *params) {
    int64_t bytes = dtype_bytes((Dtype)loops->buffers.dtype[buffer.row]);
    ListId  dims = loops->buffers.dims[buffer.row];
    for (uint32_t i = 0; i < list_count(&loops->lists, dims); i++)
        bytes *= emit_size(loops, kernel, list_dim(loops, dims, i), params);
    return bytes;
}
int64_t emit_lane_bytes(const Loops *loops, KernelId kernel, const int64_t *params) {
    int64_t bytes = 0;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++) {
        BufferId buffer = {loops->kernels.buffers_first[kernel.row] + i};
        if (loops->buffers.scope[buffer.row] != SCOPE_LANE) continue;
        bytes += (emit_buffer_bytes(loops, kernel, buffer, params) + 63) / 64 * 64;
    }
    return bytes;
}

EmitTurns emit_turns(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                     const int64_t *params) {
    if (!phase->parallel) return (EmitTurns){1, 1, 0};
    int64_t extent = emit_size(loops, kernel, phase->extent, params);
    int64_t inside = emit_size(loops, kernel, phase->inside, params);
    return (EmitTurns){extent, inside == 1 ? VECTOR_GRAIN : 1,
                       extent * (inside < 1 ? 1 : inside) * BYTES_A_TURN};
}

/* --- preparing -------------------------------------------------------------------------------- */
typedef struct Preparing {
    Loops      *loops;
    Arena      *arena;
    EmitSource *source;
    uint8_t    *seen;  /* by expression row, in the current vector loop */
    DimId       var;   /* of the current vector loop; nil outside */
    DimId       outer; /* of the loop around that; nil: there is none */
    uint32_t    accesses_max;
} Preparing;

static EmitPlace *place_at(const EmitPlaces *places, DimId dim, DimId var) {
    uint32_t at = (uint32_t)hash_mix(dim.row, var.row) & places->mask;
    while (dim_id_some(places->rows[at].dim) &&
           (places->rows[at].dim.row != dim.row || places->rows[at].var.row != var.row))
        at = (at + 1) & places->mask;
    return &places->rows[at];
}
const EmitPlace *emit_place(const EmitSource *source, DimId dim, DimId var) {
    const EmitPlace *place = place_at(&source->places, dim, var);
    ASSERT(dim_id_some(place->dim));
    return place;
}
DimId emit_address(const EmitSource *source, LoopAccess access) {
    for (uint32_t i = 0; i < source->accesses_count; i++)
        if (source->access_keys[i] == access) return source->addresses[i];
    ASSERT(false);
    return (DimId){0};
}

static uint32_t buffer_position(const Preparing *p, BufferId buffer) {
    return buffer.row - p->loops->kernels.buffers_first[p->source->kernel.row];
}
static void note_expr(Preparing *p, ExprId root);
static bool expr_varies(Preparing *p, ExprId expr) { // as deep as an index expression
    const LoopExprs *exprs = &p->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0 || !dim_id_some(p->var)) return false;
    uint64_t word = exprs->word[row];
    DimId    dims[2] = {{0}, {0}};
    if (exprs->kind[row] == EXPR_LOAD) dims[0] = loops_address(p->loops, word);
    if (exprs->kind[row] == EXPR_INDEX || exprs->kind[row] == EXPR_RNG)
        dims[0] = (DimId){(uint32_t)word};
    if (exprs->kind[row] == EXPR_LESS) {
        dims[0] = (DimId){(uint32_t)(word >> 32)};
        dims[1] = (DimId){(uint32_t)word};
    }
    for (uint32_t i = 0; i < 2; i++)
        if (dim_id_some(dims[i]) && dims_contains(&p->loops->dims, dims[i], p->var)) return true;
    return expr_varies(p, exprs->a[row]) || expr_varies(p, exprs->b[row]) ||
           expr_varies(p, exprs->c[row]);
}
static void note_dim(Preparing *p, DimId dim) {
    Dims       *dims = &p->loops->dims;
    EmitPlaces *places = &p->source->places;
    if (!dim_id_some(dim) || dim_id_some(place_at(places, dim, p->var)->dim)) return;
    if (places->count * 2 > places->mask) {
        EmitPlaces old = *places;
        places->mask = old.mask * 2 + 1;
        places->rows = ARENA_ARRAY_ZERO(p->arena, EmitPlace, places->mask + 1);
        for (uint32_t i = 0; i <= old.mask; i++)
            if (dim_id_some(old.rows[i].dim))
                *place_at(places, old.rows[i].dim, old.rows[i].var) = old.rows[i];
    }
    EmitPlace place = {.dim = dim, .var = p->var};
    bool      lets_vary = false;
    for (uint32_t row = 1; row < p->loops->lets.table.count; row++) {
        if (!dims_contains(dims, dim, p->loops->lets.symbol[row])) continue;
        note_expr(p, p->loops->lets.value[row]);
        lets_vary |= expr_varies(p, p->loops->lets.value[row]);
    }
    if (dim_id_some(p->var)) {
        place.varies = lets_vary || dims_contains(dims, dim, p->var);
        place.linear =
            !lets_vary && dims_linear_in(dims, dim, p->var, &place.coefficient, &place.rest);
    }
    *place_at(places, dim, p->var) = place;
    places->count++;
}
static void note_access(Preparing *p, LoopAccess access) {
    EmitSource *source = p->source;
    DimId       address = loops_address(p->loops, access), var = p->var;
    note_dim(p, address);
    if (dim_id_some(var) && dim_id_some(p->outer)) { /* how far it moves in a turn of that loop */
        p->var = p->outer;
        note_dim(p, address);
        DimId step = place_at(&source->places, address, p->outer)->coefficient;
        p->var = var;
        note_dim(p, step);
    }
    for (uint32_t i = 0; i < source->accesses_count; i++)
        if (source->access_keys[i] == access) return;
    if (source->accesses_count == p->accesses_max) {
        uint32_t    max = p->accesses_max * 2 + 16;
        LoopAccess *keys = ARENA_ARRAY(p->arena, LoopAccess, max);
        DimId      *addresses = ARENA_ARRAY(p->arena, DimId, max);
        for (uint32_t i = 0; i < source->accesses_count; i++) {
            keys[i] = source->access_keys[i];
            addresses[i] = source->addresses[i];
        }
        source->access_keys = keys;
        source->addresses = addresses;
        p->accesses_max = max;
    }
    source->access_keys[source->accesses_count] = access;
    source->addresses[source->accesses_count++] = address;
}
static void note_expr(Preparing *p, ExprId root) {
    const LoopExprs *exprs = &p->loops->exprs;
    uint32_t         depth = 0, *stack;
    if (!expr_id_some(root)) return;
    Scratch scratch = scratch_begin(&p->arena, 1);
    stack = ARENA_ARRAY(scratch.arena, uint32_t, (size_t)root.row * 3 + 4);
    stack[depth++] = root.row;
    while (depth != 0) {
        uint32_t row = stack[--depth];
        if (row == 0 || p->seen[row]) continue;
        p->seen[row] = 1;
        uint64_t word = exprs->word[row];
        if (exprs->kind[row] == EXPR_LOAD) {
            note_access(p, word);
            p->source->loaded[buffer_position(p, access_buffer(word))] = true;
        }
        if (exprs->kind[row] == EXPR_INDEX || exprs->kind[row] == EXPR_RNG ||
            exprs->kind[row] == EXPR_LESS)
            note_dim(p, (DimId){(uint32_t)word});
        if (exprs->kind[row] == EXPR_LESS) note_dim(p, (DimId){(uint32_t)(word >> 32)});
        stack[depth++] = exprs->a[row].row;
        stack[depth++] = exprs->b[row].row;
        stack[depth++] = exprs->c[row].row;
    }
    scratch_end(scratch);
}

/* Of the innermost loop around a node. */
static DimId outer_var(const LoopNodes *nodes, uint32_t phase, uint32_t row) {
    for (uint32_t at = row; at-- > phase + 1;)
        if (nodes->kind[at] == NODE_LOOP && at + nodes->size[at] > row) return nodes->var[at];
    return (DimId){0};
}
static EmitSource *prepare(Arena *arena, Loops *loops, KernelId kernel, uint32_t phase) {
    const LoopNodes *nodes = &loops->nodes;
    EmitSource      *source = ARENA_NEW(arena, EmitSource);
    Preparing        p = {.loops = loops, .arena = arena, .source = source};
    *source = (EmitSource){.loops = loops, .kernel = kernel, .phase = phase};
    source->places.mask = 127;
    source->places.rows = ARENA_ARRAY_ZERO(arena, EmitPlace, 128);
    uint32_t count = loops->kernels.buffers_count[kernel.row], last = phase + nodes->size[phase];
    source->elements = ARENA_ARRAY(arena, DimId, count + 1);
    source->loaded = ARENA_ARRAY_ZERO(arena, bool, count + 1);
    source->stored = ARENA_ARRAY_ZERO(arena, bool, count + 1);
    Scratch  scratch = scratch_begin(&arena, 1);
    uint32_t vector_end = 0;
    p.seen = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, loops->exprs.table.count);
    for (uint32_t i = 0; i < count; i++) {
        BufferId buffer = {loops->kernels.buffers_first[kernel.row] + i};
        source->elements[i] = loops_elements(loops, buffer);
        note_dim(&p, source->elements[i]);
    }
    for (uint32_t row = phase + 1; row < last; row++) {
        if (row >= vector_end && dim_id_some(p.var)) {
            p.var = (DimId){0};
            memset(p.seen, 0, loops->exprs.table.count);
        }
        if (nodes->kind[row] == NODE_LOOP) {
            note_dim(&p, nodes->extent[row]);
            if (!(nodes->bind[row] & BIND_VECTOR)) continue;
            p.outer = outer_var(nodes, phase, row);
            p.var = nodes->var[row];
            vector_end = row + nodes->size[row];
            memset(p.seen, 0, loops->exprs.table.count);
            continue;
        }
        note_access(&p, nodes->access[row]);
        uint32_t to = buffer_position(&p, access_buffer(nodes->access[row]));
        *(nodes->kind[row] == NODE_STORE ? &source->stored[to] : &source->loaded[to]) = true;
        note_expr(&p, nodes->value[row]);
        note_expr(&p, nodes->guard[row]);
    }
    scratch_end(scratch);
    return source;
}

/* --- compiling -------------------------------------------------------------------------------- */
/* Iterations of all loops under a parallel one: the product of constant-free extents is a measure
 * only, so loops side by side count as the larger one. */
static DimId work_inside(Loops *loops, uint32_t loop) {
    const LoopNodes *nodes = &loops->nodes;
    DimId            most = dims_const(&loops->dims, 1);
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop];) {
        DimId here = dims_const(&loops->dims, 1);
        if (nodes->kind[row] == NODE_LOOP)
            here = dims_mul(&loops->dims, nodes->extent[row], work_inside(loops, row));
        if (dim_id_some(here)) most = dims_max(&loops->dims, most, here);
        row += nodes->size[row];
    }
    return most;
}

/* What an iteration of the parallel loop, if there is one, touches. */
static EmitTouch *find_touches(Arena *arena, Loops *loops, const EmitSource *source, DimId var) {
    Dims      *dims = &loops->dims;
    uint32_t   first = loops->kernels.buffers_first[source->kernel.row];
    uint32_t   count = loops->kernels.buffers_count[source->kernel.row];
    EmitTouch *touches = ARENA_ARRAY_ZERO(arena, EmitTouch, count + 1);
    for (uint32_t i = 0; i < source->accesses_count; i++) {
        EmitTouch *touch = &touches[access_buffer(source->access_keys[i]).row - first];
        EmitTouch  here = {.any = true};
        bool       own = dim_id_some(var) &&
                   dims_linear_in(dims, source->addresses[i], var, &here.step, &here.low);
        here.high = here.low;
        if (own && touch->any) {
            own = touch->step.row == here.step.row;
            here.low = dims_min(dims, touch->low, here.low);
            here.high = dims_max(dims, touch->high, here.high);
        }
        own = own && dim_id_some(here.low) && dim_id_some(here.high);
        *touch = own ? here : (EmitTouch){.any = true};
    }
    return touches;
}

uint32_t emit_phases(const Loops *loops, KernelId kernel) {
    uint32_t count = 0, first = loops->kernels.nodes_first[kernel.row];
    for (uint32_t row = first; row < first + loops->kernels.nodes_count[kernel.row];
         row += loops->nodes.size[row])
        count++;
    return count;
}

static void add_kernel(Arena *arena, Loops *loops, uint32_t kernel, EmitKernel *out,
                       JitKernel *jobs) {
    uint32_t row = loops->kernels.nodes_first[kernel],
             count = emit_phases(loops, (KernelId){kernel});
    EmitPhase *phases = ARENA_ARRAY_ZERO(arena, EmitPhase, count);
    LoopHash   hash = loops_hash(loops, (KernelId){kernel});
    for (uint32_t i = 0; i < count; i++, row += loops->nodes.size[row]) {
        uint32_t loop = row + 1;
        phases[i].parallel = loops->nodes.kind[loop] == NODE_LOOP && loops->nodes.size[row] > 1 &&
                             (loops->nodes.bind[loop] & BIND_PARALLEL) != 0;
        EmitSource *source = prepare(arena, loops, (KernelId){kernel}, row);
        DimId       var = {0};
        if (phases[i].parallel) {
            phases[i].extent = loops->nodes.extent[loop];
            phases[i].inside = work_inside(loops, loop);
            var = loops->nodes.var[loop];
        }
        phases[i].touches = find_touches(arena, loops, source, var);
        phases[i].source = source;
        jobs[i] =
            (JitKernel){.name = "kernel",
                        .content = {hash_mix(hash.low, i + 1), hash_mix(hash.high, EMIT_VERSION)},
                        .build = emit_build,
                        .context = source};
    }
    *out = (EmitKernel){count, phases, hash};
}

static void set_entries(EmitKernel *kernel, const JitKernel *jobs) {
    for (uint32_t i = 0; i < kernel->phases_count; i++) {
        EmitPhase *phase = (EmitPhase *)(uintptr_t)&kernel->phases[i];
        memcpy(&phase->run, &jobs[i].entry, sizeof phase->run);
    }
}

Status emit_compile(Arena *arena, Jit *jit, Loops *loops, Workers *workers, Diags *diags,
                    EmitModule **out_module) {
    uint32_t    kernels_count = loops->kernels.table.count, jobs_count = 0;
    EmitModule *module = ARENA_NEW(arena, EmitModule);
    EmitKernel *kernels = ARENA_ARRAY_ZERO(arena, EmitKernel, kernels_count);
    module->loops = loops;
    module->jit = jit;
    module->kernels = kernels;
    for (uint32_t row = 1; row < kernels_count; row++)
        if (loops->kernels.same[row].row == row) jobs_count += emit_phases(loops, (KernelId){row});
    JitKernel *jobs = ARENA_ARRAY_ZERO(arena, JitKernel, jobs_count + 1);
    jobs_count = 0;
    for (uint32_t row = 1; row < kernels_count; row++) {
        if (loops->kernels.same[row].row != row) continue;
        add_kernel(arena, loops, row, &kernels[row], jobs + jobs_count);
        jobs_count += kernels[row].phases_count;
    }
    Status status = jit_compile(jit, workers, jobs, jobs_count, diags);
    if (status != STATUS_OK) return status;
    for (uint32_t row = 1, job = 0; row < kernels_count; row++) {
        set_entries(&kernels[row], jobs + job);
        for (uint32_t i = 0; i < kernels[row].phases_count; i++, job++) {
            module->functions++;
            module->from_cache += jobs[job].origin == JIT_FROM_DISK;
            module->build_us += jobs[job].build_us;
            module->optimise_us += jobs[job].optimise_us;
            module->generate_us += jobs[job].generate_us;
        }
    }
    *out_module = module;
    return STATUS_OK;
}

Status emit_compile_kernel(Arena *arena, Jit *jit, Loops *loops, KernelId kernel, Diags *diags,
                           EmitKernel *out_kernel) {
    JitKernel *jobs = ARENA_ARRAY_ZERO(arena, JitKernel, emit_phases(loops, kernel) + 1);
    add_kernel(arena, loops, kernel.row, out_kernel, jobs);
    Status status = jit_compile(jit, NULL, jobs, out_kernel->phases_count, diags);
    if (status == STATUS_OK) set_entries(out_kernel, jobs);
    return status;
}

Status emit_text(Arena *out, Jit *jit, Loops *loops, KernelId kernel, uint32_t phase,
                 JitStage stage, Diags *diags, String *out_text) {
    EmitKernel emitted;
    Scratch    scratch = scratch_begin(&out, 1);
    JitKernel *jobs = ARENA_ARRAY_ZERO(scratch.arena, JitKernel, emit_phases(loops, kernel) + 1);
    add_kernel(scratch.arena, loops, kernel.row, &emitted, jobs);
    ASSERT(phase < emitted.phases_count);
    Status status = jit_text(jit, &jobs[phase], stage, out, diags, out_text);
    scratch_end(scratch);
    return status;
}
