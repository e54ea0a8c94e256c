/* Compares the fast CPU path with the reference interpreter, one operator at a time.
 *
 *   Fast f = fast_open(arena);
 *   fast_begin(&f);                                 a new case
 *   fast_random(&f, DTYPE_F32, SHAPE(3, 5), -1, 1); an operand, numbers in [-1, 1]
 *   fast_check(&f, OP_NEG, NULL);                   all layouts, lanes and instruction sets
 *   fast_close(&f);
 * The operator is bound as a plan of one launch and run with 1, 2 and 4 lanes and with every set of
 * inner loops the machine has: bits must agree (unless fast.fused), and be near the interpreter's.
 * For operators that take any view the operands are also laid out permuted and with gaps.
 *
 * STOA_FAST_BACK_END: a header with another back end to compare: it includes this one's parts by
 * defining FastBack, fast_back_open, fast_back_close and fast_run_all (tests/gpu/fast_gpu.h). */
#ifndef STOA_TESTS_FAST_CHECK_H
#define STOA_TESTS_FAST_CHECK_H

#include <string.h>

#include "cpu/kernels.h"
#include "run_graph.h"
#include "tables/philox.h"

enum { FAST_LANES = 3 };
#ifndef STOA_FAST_BACK_END
typedef struct FastBack {
    Workers *workers[FAST_LANES];
} FastBack;
#else
typedef struct FastBack FastBack; /* opened once a process, so that kernels are compiled once */
#endif
typedef struct Fast {
    Arena    *arena;
    FastBack *back;
    Target    target;
    Graph     g;
    bool      open;
    bool      fused;     /* bits may differ between instruction sets and layouts */
    bool      by_layout; /* bits may differ between layouts: sums in another order */
    bool      repeat[GRAPH_INPUTS_MAX][SHAPE_RANK_MAX]; /* axes of stride 0 */
    double    rel, abs; /* tolerance; rel 0: that of the dtype, abs: of every dtype */
    uint64_t  seed;
    uint32_t  cases;                    /* for the use of tests */
    int32_t   alias[GRAPH_OUTPUTS_MAX]; /* operand whose memory a result takes, or -1 */
    ArenaMark mark;
} Fast;

static inline void fast_back_open(Fast *f);
static inline void fast_back_close(Fast *f);
static inline bool fast_run_all(Fast *f, Opcode opcode, OpId op, const Tensor *want,
                                uint32_t count);

static inline Fast fast_open(Arena *arena) {
    Fast f = {.arena = arena};
    fast_back_open(&f);
    f.mark = arena_mark(arena);
    return f;
}
static inline void fast_begin(Fast *f) {
    if (f->open) graph_close(&f->g);
    arena_release(f->arena, f->mark);
    f->g = graph_open(f->arena);
    f->open = true;
    f->rel = f->abs = 0;
    f->fused = f->by_layout = false;
    memset(f->repeat, 0, sizeof f->repeat);
    for (int i = 0; i < GRAPH_OUTPUTS_MAX; i++) f->alias[i] = -1;
}
static inline void fast_close(Fast *f) {
    if (f->open) graph_close(&f->g);
    fast_back_close(f);
}

static inline double fast_number(Fast *f, double low, double high) {
    Philox drawn = philox_draw(1, f->seed++, 7);
    return low + (high - low) * (double)(drawn.word[0] >> 8) * 0x1p-24;
}
/* A random operand; integers are rounded down. */
static inline uint32_t fast_random(Fast *f, Dtype dtype, const int64_t *shape, uint32_t rank,
                                   double low, double high) {
    uint32_t input = graph_input(&f->g, dtype, shape, rank, NUMBERS(0));
    Tensor  *x = &f->g.inputs[input];
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        double number = fast_number(f, low, high);
        if (!dtype_is_float(dtype)) number = floor(number);
        (void)const_encode(dtype, number, (char *)x->data + i * (int64_t)dtype_bytes(dtype));
    }
    return input;
}
/* The same with axis repeated: stride 0 in every layout. */
static inline void fast_repeat(Fast *f, uint32_t input, uint32_t axis) {
    Tensor *x = &f->g.inputs[input];
    int64_t inner = dtype_bytes(x->dtype);
    for (uint32_t i = axis + 1; i < x->rank; i++) inner *= x->shape[i];
    for (int64_t i = 0; inner > 0 && i < (int64_t)tensor_bytes(x) / inner; i++)
        memmove((char *)x->data + i * inner,
                (char *)x->data + i / x->shape[axis] * x->shape[axis] * inner, (size_t)inner);
    f->repeat[input][axis] = true;
}

/* Element offsets of a tensor in row-major order. */
static inline int64_t fast_offset(const LaunchArg *arg, int64_t element) {
    int64_t offset = 0;
    for (uint32_t i = arg->rank; i-- > 0; element /= arg->dims[i])
        offset += element % arg->dims[i] * arg->strides[i];
    return offset;
}
/* layout 0: dense; 1: axes in reverse order; 2: rotated axes and gaps. Memory in *out_memory. */
static inline LaunchArg fast_arg(Fast *f, const Tensor *x, uint32_t slot, int layout,
                                 const bool *repeat, void **out_memory, size_t *out_bytes) {
    int64_t  *strides = ARENA_ARRAY(f->arena, int64_t, x->rank);
    LaunchArg arg = {.slot = slot,
                     .dtype = (uint8_t)x->dtype,
                     .rank = (uint8_t)x->rank,
                     .dims = x->shape,
                     .strides = strides};
    int64_t   stride = layout == 2 ? 3 : 1, elements = tensor_elements(x);
    for (uint32_t i = 0; i < x->rank; i++) {
        uint32_t axis = layout == 0   ? x->rank - 1 - i
                        : layout == 1 ? i
                                      : (x->rank - 1 - i + 1) % x->rank;
        strides[axis] = layout > 0 && repeat[axis] ? 0 : stride;
        if (strides[axis] > 0) stride *= x->shape[axis] + (layout == 2 ? 1 : 0);
    }
    arg.dense = arg_dense(&arg);
    arg.offset = layout == 2 ? 2 * dtype_bytes(x->dtype) : 0;
    size_t bytes = *out_bytes = (size_t)(stride + 8) * dtype_bytes(x->dtype) + 64;
    *out_memory = arena_push_zero(f->arena, bytes, 64);
    for (int64_t i = 0; i < elements; i++)
        memcpy((char *)*out_memory + arg.offset +
                   fast_offset(&arg, i) * (int64_t)dtype_bytes(x->dtype),
               (char *)x->data + i * (int64_t)dtype_bytes(x->dtype), dtype_bytes(x->dtype));
    return arg;
}

typedef struct FastPlan {
    Plan    *plan;
    void    *slots[1 + GRAPH_INPUTS_MAX + GRAPH_OUTPUTS_MAX];
    size_t   bytes[1 + GRAPH_INPUTS_MAX + GRAPH_OUTPUTS_MAX]; /* of each slot */
    Tensor   outs[GRAPH_OUTPUTS_MAX];                         /* data: in a slot */
    uint32_t outs_count;
} FastPlan;
/* A plan of one launch; results have the shapes of outs. */
static inline FastPlan fast_plan(Fast *f, Opcode opcode, OpId op, int layout, const Tensor *outs,
                                 uint32_t outs_count) {
    Graph   *g = &f->g;
    FastPlan p = {.plan = plan_open(g->world, NULL, g->graph), .outs_count = outs_count};
    Plan    *plan = p.plan;
    uint32_t row = plan_add_launch(plan), args = g->inputs_count + outs_count;
    for (uint32_t i = 0; i < g->world->dims.rows.table.count; i++)
        if (g->world->dims.rows.kind[i] == DIM_CONST)
            plan->dim_values[i] = g->world->dims.rows.imm[i];
    plan->launches.opcode[row] = (uint16_t)opcode;
    plan->launches.operands[row] = (uint16_t)g->inputs_count;
    plan->launches.args_first[row] = plan->args.table.count;
    plan->launches.args_count[row] = args;
    plan->launches.attrs[row] = g->world->code.ops.attrs[op.row];
    plan->launches.op[row] = op;
    uint32_t first = table_add_many(&plan->args.table, args ? args : 1);
    for (uint32_t i = 0; i < g->inputs_count; i++)
        plan->args.arg[first + i] = fast_arg(f, &g->inputs[i], i + 1, layout, f->repeat[i],
                                             &p.slots[i + 1], &p.bytes[i + 1]);
    for (uint32_t i = 0; i < outs_count; i++) {
        static const bool none[SHAPE_RANK_MAX] = {0};
        uint32_t          slot = 1 + g->inputs_count + i;
        LaunchArg        *arg = &plan->args.arg[first + g->inputs_count + i];
        *arg = fast_arg(f, &outs[i], slot, 0, none, &p.slots[slot], &p.bytes[slot]);
        if (f->alias[i] >= 0) {
            arg->slot = (uint32_t)f->alias[i] + 1;
            p.slots[slot] = p.slots[arg->slot];
        }
        p.outs[i] = outs[i];
        p.outs[i].data = p.slots[slot];
    }
    return p;
}

/* Results are garbage before a run; operands that a result overwrites are what they were. */
static inline void fast_refill(Fast *f, FastPlan *p) {
    for (uint32_t i = 0; i < p->outs_count; i++) {
        if (f->alias[i] < 0)
            memset(p->outs[i].data, 0x5A, tensor_bytes(&p->outs[i]));
        else
            memcpy(p->outs[i].data, f->g.inputs[f->alias[i]].data, tensor_bytes(&p->outs[i]));
    }
}

static inline bool fast_compare(Fast *f, const Tensor *got, const Tensor *want) {
    double rel = f->rel > 0 ? f->rel : 4 * graph_tolerance(want->dtype);
    if (!dtype_is_float(want->dtype)) rel = 0;
    for (int64_t i = 0; i < tensor_elements(want); i++) {
        if (graph_near(graph_number(got, i), graph_number(want, i), rel, f->abs)) continue;
        printf("\n  element %lld is %.17g, expected %.17g", (long long)i, graph_number(got, i),
               graph_number(want, i));
        return false;
    }
    return true;
}

/* The results of one run against the expected ones, and bit by bit against the run before. */
static inline bool fast_results(Fast *f, const FastPlan *p, const Tensor *want, bool again,
                                void **bits) {
    bool ok = true;
    for (uint32_t i = 0; i < p->outs_count; i++) {
        size_t bytes = tensor_bytes(&want[i]);
        ok &= EXPECT(fast_compare(f, &p->outs[i], &want[i]));
        if (bits[i] != NULL && !again) ok &= EXPECT(memcmp(bits[i], p->outs[i].data, bytes) == 0);
        if (bits[i] == NULL) bits[i] = arena_push(f->arena, bytes, 16);
        memcpy(bits[i], p->outs[i].data, bytes);
    }
    return ok;
}

#ifdef STOA_FAST_BACK_END
#include STOA_FAST_BACK_END
#else
static inline void      fast_back_open(Fast *f) {
         static const uint32_t lanes[FAST_LANES] = {1, 2, 4};
         f->back = ARENA_NEW(f->arena, FastBack);
         for (int i = 0; i < FAST_LANES; i++)
        EXPECT_EQ(workers_open(f->arena, lanes[i], false, &f->back->workers[i]), STATUS_OK);
    cpu_describe(&f->target, false);
}
static inline void fast_back_close(Fast *f) {
    for (int i = 0; i < FAST_LANES; i++) workers_close(f->back->workers[i]);
}
/* Runs the bound operator in every way: dense with each instruction set and number of lanes, other
 * layouts with one and two lanes. want: the expected results. */
static inline bool fast_run_all(Fast *f, Opcode opcode, OpId op, const Tensor *want,
                                uint32_t count) {
    static const char *const layouts[] = {"dense", "reversed", "gaps"};
    static const struct {
        IsaLevel isa;
        int      workers;
    } runs[] = {{ISA_GENERIC, 2}, {ISA_AVX2, 0}, {ISA_AVX512, 2},
                {ISA_AMX, 2},     {ISA_AMX, 0},  {ISA_AMX, 1}};
    enum { LAST = 4 }; /* from here on the instruction set is that of the run before */
    bool  inplace = (op_infos[opcode].flags & OP_INPLACE) != 0;
    int   layouts_count = f->target.view_need[opcode] == VIEW_ANY && !inplace ? 3 : 1;
    void *bits[GRAPH_OUTPUTS_MAX] = {NULL};
    bool  ok = EXPECT(f->target.has_kernel[opcode]);
    for (int layout = 0; ok && layout < layouts_count; layout++) {
        FastPlan p = fast_plan(f, opcode, op, layout, want, count);
        for (size_t run = layout > 0 ? LAST : 0; ok && run < LENGTH(runs); run++) {
            const Isa *loops = kernels_isa(runs[run].isa);
            Workers   *workers = f->back->workers[runs[run].workers];
            CpuPlan   *cpu = NULL;
            fast_refill(f, &p);
            ok &= EXPECT_EQ(
                cpu_bind_isa(p.plan->arena, p.plan, NULL, workers, loops, &f->g.world->diags, &cpu),
                STATUS_OK);
            if (ok) ok &= EXPECT_EQ(cpu_run(cpu, p.slots, NULL, NULL), 0);
            bool again = f->fused ? run <= LAST : f->by_layout && run == LAST && layout > 0;
            if (ok) ok &= fast_results(f, &p, want, again, bits);
            if (!ok)
                printf("\n  %s of %s, %s, %u lanes, %s\n", op_infos[opcode].name,
                       dtype_infos[f->g.inputs_count ? f->g.inputs[0].dtype : want[0].dtype].name,
                       layouts[layout], workers_lanes(workers), loops->name);
        }
        plan_close(p.plan);
    }
    return ok;
}

#endif

/* One operator on all operands so far, against the interpreter. */
static inline bool fast_check(Fast *f, Opcode opcode, const uint64_t *attrs) {
    Graph *g = &f->g;
    (void)graph_run_op(g, opcode, attrs);
    if (g->status != STATUS_OK) return EXPECT(false);
    OpId op = {g->world->code.ops.table.count - 2}; /* before the return */
    return fast_run_all(f, opcode, op, g->outputs, g->world->code.ops.results_count[op.row]);
}
/* The same for a composite: fills[i] says what result i must be (computed by the test in f64). */
static inline bool fast_check_composite(Fast *f, Opcode opcode, const uint64_t *attrs,
                                        const Tensor *want, uint32_t count) {
    Graph *g = &f->g;
    graph_begin(g);
    OpId    op = build_row(&g->build, opcode, g->args, g->inputs_count, attrs, 0);
    ValueId values[GRAPH_OUTPUTS_MAX];
    for (uint32_t i = 0; i < count; i++) values[i] = op_result(&g->world->code, op, i);
    graph_finish(g, values, count);
    return fast_run_all(f, opcode, op, want, count);
}

#endif
