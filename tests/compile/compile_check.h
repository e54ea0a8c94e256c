/* Compares what the compiler makes of a program with what the program means.
 *
 * A check holds one textual program in five forms: plain (expanded, never fused), fused (rows of
 * its kernels' blocks), naive (kernels as lowering makes them), scheduled for lanes, and for
 * threads. check_run gives all of them the same inputs at the same sizes: the plain one runs in the
 * interpreter, the fused one too, the others as loop tables (cpu/interp_loops.h), forwards and
 * backwards. */
#ifndef STOA_TESTS_COMPILE_CHECK_H
#define STOA_TESTS_COMPILE_CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/interp.h"
#include "cpu/interp_loops.h"
#include "gpu/emit.h"
#include "harness.h"
#include "systems/runner.h"
#include "systems/schedule.h"
#include "tables/philox.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"
#include "text/print_loops.h"

enum { CHECK_TENSORS_MAX = 32, CHECK_SIZES_MAX = 8 };

typedef enum CheckForm {
    FORM_PLAIN,
    FORM_NAIVE,
    FORM_SCHEDULED,
    FORM_THREADS,
    FORM_COUNT
} CheckForm;
typedef struct CheckSize {
    const char *name;
    int64_t     size;
} CheckSize;
typedef struct Check {
    Arena      *arena;
    String      text;
    Target      target, threads; /* lanes of a processor, teams of threads */
    World      *worlds[FORM_COUNT];
    Runner      runners[FORM_COUNT];
    bool        opened[FORM_COUNT];
    Tensor      inputs[CHECK_TENSORS_MAX], wanted[CHECK_TENSORS_MAX], got[CHECK_TENSORS_MAX];
    uint32_t    inputs_count, outputs_count;
    uint64_t    seed;      /* of the inputs */
    bool        specials;  /* infinities, NaN and the extremes of integers among them */
    double      rel;       /* tolerance of outputs; 0: that of their dtype */
    const char *problem;   /* the first one, with its place */
    Scheduler  *scheduler; /* of the scheduled form; NULL: the rules */
    void       *scheduler_context;
} Check;

/* A number in [0, count). */
static inline uint64_t check_draw(uint64_t seed, uint64_t index, uint64_t count) {
    return philox_below(philox_draw(seed, index, 77), count);
}

static inline bool check_fail(Check *c, const char *what, String detail) {
    if (c->problem == NULL)
        c->problem = str_format(c->arena, "%s %.*s", what, STR_ARGS(detail)).data;
    return false;
}
static inline bool check_diags(Check *c, const char *what, CheckForm form) {
    const World *world = c->worlds[form];
    return check_fail(c, what, text_diags(c->arena, world, &world->diags));
}

/* --- compiling -------------------------------------------------------------------------------- */
static inline bool check_plain(Runner *runner) {
    static const SystemKind steps[] = {SYSTEM_verify, SYSTEM_infer, SYSTEM_inline,
                                       SYSTEM_differentiate, SYSTEM_expand};
    for (size_t i = 0; i < LENGTH(steps); i++)
        if (!runner_run(runner, steps[i])) return false;
    return true;
}
static inline bool check_compile(Check *c, CheckForm form) {
    World  *world = c->worlds[form] = world_open(0, 1 << 20);
    Runner *runner = &c->runners[form];
    if (!text_parse(world, c->text, STR("program"))) return check_diags(c, "parsing:", form);
    const Target *target = form == FORM_THREADS ? &c->threads : &c->target;
    runner_open(runner, world, form == FORM_PLAIN ? NULL : target);
    c->opened[form] = true;
    runner->ctx.scheduler = form == FORM_NAIVE     ? schedule_naive
                            : form == FORM_THREADS ? NULL
                                                   : c->scheduler;
    runner->ctx.scheduler_context = c->scheduler_context;
    bool good = form == FORM_PLAIN ? check_plain(runner) : runner_compile(runner);
    return good || check_diags(c, "compiling:", form);
}
static inline void check_targets(Check *c) {
    cpu_describe(&c->target, true);
    memset(c->target.keep, 0, sizeof c->target.keep); /* composites have no rule here */
    c->threads = c->target;
    c->threads.threads = true;
    c->threads.compiles_op = gpu_emit_supports;
}
static inline void check_begin(Check *c, Arena *arena, String text) {
    *c = (Check){.arena = arena, .text = text, .seed = 1};
    check_targets(c);
}
static inline bool check_compile_all(Check *c) {
    for (CheckForm form = 0; form < FORM_COUNT; form++)
        if (!check_compile(c, form)) return false;
    return true;
}
static inline bool check_open(Check *c, Arena *arena, String text) {
    check_begin(c, arena, text);
    return check_compile_all(c);
}
static inline void check_close(Check *c) {
    for (CheckForm form = 0; form < FORM_COUNT; form++) {
        if (c->opened[form]) runner_close(&c->runners[form]);
        world_close(c->worlds[form]);
    }
}

/* --- inputs ----------------------------------------------------------------------------------- */
static inline double check_number(const Check *c, Dtype dtype, uint64_t stream, int64_t i) {
    static const double special[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e-30, 1e30, 65504};
    uint64_t            draw = check_draw(c->seed * 64 + stream, (uint64_t)i, 1 << 20);
    if (dtype_is_float(dtype)) { /* 16-bit ones get none that overflow only when rounded */
        uint64_t count = LENGTH(special) - (dtype_bytes(dtype) == 2 ? 3 : 0);
        if (c->specials && draw % 16 == 0) return special[draw / 16 % count];
        return ((double)(draw % 65) - 32) / 8; /* short numbers: sums in any order are exact */
    }
    if (dtype == DTYPE_BOOL) return (double)(draw % 2);
    if (c->specials && draw % 16 == 0) return draw & 16 ? -1e18 : 1e18;
    return (double)(draw % 9) - (dtype_infos[dtype].class == DTYPE_CLASS_UINT ? 0 : 4);
}
static inline void check_fill(const Check *c, Tensor *x, uint64_t stream) {
    char *data = x->data;
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        double number = check_number(c, x->dtype, stream, i);
        (void)const_encode(x->dtype, number, data + i * (int64_t)dtype_bytes(x->dtype));
    }
}
static inline bool check_inputs(Check *c, const CheckSize *sizes) {
    World   *world = c->worlds[FORM_PLAIN];
    BlockId  block = world->code.graphs.block[1];
    int64_t *dims = ARENA_ARRAY_ZERO(c->arena, int64_t, world->dims.rows.table.count);
    for (uint32_t row = 1; row < world->dims.rows.table.count; row++) {
        if (world->dims.rows.kind[row] != DIM_SYMBOL) continue;
        String name = strings_get(&world->strings, (StrId){(uint32_t)world->dims.rows.imm[row]});
        for (const CheckSize *size = sizes; size->name != NULL; size++)
            if (str_same(name, str_of(size->name))) dims[row] = size->size;
    }
    (void)dims_eval(&world->dims, dims);
    c->inputs_count = world->code.blocks.args_count[block.row];
    c->outputs_count = world->code.ops.operands_count[block_return(&world->code, block).row];
    if (c->inputs_count > CHECK_TENSORS_MAX || c->outputs_count > CHECK_TENSORS_MAX)
        return check_fail(c, "too many inputs or outputs", STR(""));
    for (uint32_t i = 0; i < c->inputs_count; i++) {
        Tensor *x = &c->inputs[i];
        TypeId  type =
            value_type(world, (ValueId){world->code.blocks.args_first[block.row].row + i});
        *x = (Tensor){.dtype = type_dtype(&world->types, type),
                      .rank = type_rank(&world->types, type)};
        for (uint32_t k = 0; k < x->rank; k++)
            x->shape[k] = dims[type_dims(&world->types, type)[k].row];
        x->data = arena_push(c->arena, tensor_bytes(x), 64);
        check_fill(c, x, i);
    }
    return true;
}

/* --- comparing -------------------------------------------------------------------------------- */
static inline double check_tolerance(const Check *c, Dtype dtype) {
    if (c->rel != 0) return c->rel;
    if (dtype == DTYPE_F16) return 0.02;
    if (dtype == DTYPE_BF16) return 0.15; /* kernels round less often than rows */
    return dtype == DTYPE_F32 ? 2e-5 : 1e-11;
}
static inline double check_element(const Tensor *x, int64_t i) {
    return const_decode(x->dtype, (const char *)x->data + i * (int64_t)dtype_bytes(x->dtype));
}
/* By the largest finite number of the tensor, so that what cancels may do so. */
static inline double check_scale(const Tensor *x) {
    double scale = 0;
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        double number = fabs(check_element(x, i));
        if (isfinite(number) && number > scale) scale = number;
    }
    return scale;
}
static inline bool check_same(Check *c, const char *form, uint32_t output) {
    const Tensor *x = &c->wanted[output], *y = &c->got[output];
    if (x->dtype != y->dtype || tensor_elements(x) != tensor_elements(y))
        return check_fail(c, form, STR("has another type"));
    double near = dtype_is_float(x->dtype) ? check_tolerance(c, x->dtype) * check_scale(x) : 0;
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        double a = check_element(x, i), b = check_element(y, i);
        size_t width = dtype_bytes(x->dtype), at = (size_t)i * width;
        if (memcmp((char *)x->data + at, (char *)y->data + at, width) == 0) continue;
        bool close = dtype_is_float(x->dtype) &&
                     (a == b || (isnan(a) && isnan(b)) || (isfinite(a) && fabs(a - b) <= near));
        if (close) continue;
        return check_fail(c, form,
                          str_format(c->arena, "output %u, element %lld: %.9g, wanted %.9g", output,
                                     (long long)i, b, a));
    }
    return true;
}
static inline bool check_form(Check *c, const char *name, CheckForm form,
                              const InterpLoops *loops) {
    World *world = c->worlds[form];
    Status status = interp_run_loops(c->arena, world, loops, (GraphId){1}, c->inputs,
                                     c->inputs_count, NULL, 0, c->got, &world->diags);
    if (status != STATUS_OK) return check_diags(c, name, form);
    for (uint32_t i = 0; i < c->outputs_count; i++)
        if (!check_same(c, name, i)) return false;
    return true;
}
/* Inputs, and what the program gives for them. sizes end with a nil name. */
static inline bool check_expect(Check *c, const CheckSize *sizes) {
    World *plain = c->worlds[FORM_PLAIN];
    if (!check_inputs(c, sizes)) return false;
    Status status = interp_run(c->arena, plain, (GraphId){1}, c->inputs, c->inputs_count, NULL, 0,
                               c->wanted, &plain->diags);
    return status == STATUS_OK || check_diags(c, "running:", FORM_PLAIN);
}
static inline bool check_run(Check *c, const CheckSize *sizes) {
    if (!check_expect(c, sizes)) return false;
    InterpLoops naive = {.loops = &c->runners[FORM_NAIVE].loops};
    InterpLoops scheduled = {.loops = &c->runners[FORM_SCHEDULED].loops};
    InterpLoops threads = {.loops = &c->runners[FORM_THREADS].loops};
    InterpLoops backwards = scheduled, threads_backwards = threads;
    backwards.backwards = threads_backwards.backwards = true;
    return check_form(c, "fused:", FORM_NAIVE, NULL) &&
           check_form(c, "naive:", FORM_NAIVE, &naive) &&
           check_form(c, "scheduled:", FORM_SCHEDULED, &scheduled) &&
           check_form(c, "backwards:", FORM_SCHEDULED, &backwards) &&
           check_form(c, "threads:", FORM_THREADS, &threads) &&
           check_form(c, "threads backwards:", FORM_THREADS, &threads_backwards);
}
static inline void check_print(Check *c, const CheckSize *sizes) {
    printf("%.*s\n%s\n", STR_ARGS(c->text), c->problem);
    for (const CheckSize *size = sizes; size->name != NULL; size++)
        printf("%s=%lld ", size->name, (long long)size->size);
    printf("\n");
    for (CheckForm form = FORM_NAIVE; form < FORM_COUNT; form++) {
        if (!c->opened[form] || getenv("STOA_KERNELS") == NULL) continue;
        const Loops *loops = &c->runners[form].loops;
        for (uint32_t row = 1; row < loops->kernels.table.count; row++) {
            String text = text_print_kernel(c->arena, loops, (KernelId){row}, "k");
            printf("%.*s", STR_ARGS(text));
        }
    }
}

#endif
