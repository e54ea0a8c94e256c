/* Loop-table kernels by hand, compiled and run, for tests and benchmarks of the CPU emitter.
 *
 *   EmitTest t;
 *   emit_test_open(&t, arena, JIT_HOST);
 *   DimId n = emit_param(&t, "N");
 *   BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n)), y = ...;
 *   ... loops_phase, loops_loop, loops_store with AT(&t, x, i) ...
 *   emit_run(&t, (int64_t[]){1000});            compiles (once) and runs all phases
 *   emit_test_close(&t);
 * ARG memory ends where a page that may not be touched begins, results and lane memory are followed
 * by bytes that must not change, and parallel loops are dealt in uneven parts. */
#ifndef STOA_TESTS_EMIT_KERNEL_H
#define STOA_TESTS_EMIT_KERNEL_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arena/os.h"
#include "cpu/emit.h"
#include "harness.h"
#include "tables/philox.h"
#include "tables/world.h"

enum { EMIT_BUFFERS_MAX = 12, EMIT_PARAMS_MAX = 4 };
typedef struct EmitMemory {
    uint8_t *pages; /* the reservation; NULL: none */
    size_t   reserved;
    uint8_t *data;
    int64_t  bytes;
} EmitMemory;
typedef struct EmitTest {
    Arena      *arena;
    World      *world; /* of the parameters */
    Loops       loops;
    Diags       diags;
    Jit        *jit;
    KernelId    kernel;
    EmitModule *module;
    EmitMemory  memory[EMIT_BUFFERS_MAX]; /* by position */
    BufferId    buffers[EMIT_BUFFERS_MAX];
    uint32_t    buffers_count, params_count;
} EmitTest;

static inline void emit_test_open(EmitTest *t, Arena *arena, JitLevel level) {
    *t = (EmitTest){.arena = arena, .world = world_open(0, 1 << 12)};
    loops_open(&t->loops, NULL);
    diags_open(&t->diags, NULL);
    EXPECT_EQ(jit_open(arena, &(JitOptions){.level = level}, &t->diags, &t->jit), STATUS_OK);
    t->kernel = loops_add_kernel(&t->loops, (OpId){0});
}
static inline void emit_memory_close(EmitMemory *memory) {
    if (memory->pages) os_release(memory->pages, memory->reserved);
    *memory = (EmitMemory){0};
}
static inline void emit_test_close(EmitTest *t) {
    for (uint32_t i = 0; i < EMIT_BUFFERS_MAX; i++) emit_memory_close(&t->memory[i]);
    jit_close(t->jit);
    diags_close(&t->diags);
    loops_close(&t->loops);
    world_close(t->world);
}

/* --- building --------------------------------------------------------------------------------- */
#define DIMS(...)                                                                                  \
    (const DimId[]){__VA_ARGS__}, (uint32_t)(sizeof((const DimId[]){__VA_ARGS__}) / sizeof(DimId))
#define AT(t, buffer, ...) emit_at((t), (buffer), DIMS(__VA_ARGS__))

static inline DimId emit_param(EmitTest *t, const char *name) {
    DimId world = dims_symbol(&t->world->dims, strings_add(&t->world->strings, str_of(name)));
    t->params_count++;
    return loops_param(&t->loops, &t->world->dims, str_of(name), world);
}
static inline DimId emit_num(EmitTest *t, int64_t number) {
    return dims_const(&t->loops.dims, number);
}
static inline BufferId emit_buffer(EmitTest *t, BufferScope scope, Dtype dtype, const DimId *dims,
                                   uint32_t rank) {
    BufferId buffer = loops_add_buffer(&t->loops, scope, dtype, dims, rank);
    if (scope == SCOPE_ARG) t->loops.buffers.arg[buffer.row] = (uint16_t)t->buffers_count;
    t->buffers[t->buffers_count++] = buffer;
    return buffer;
}
static inline BufferId emit_scalar(EmitTest *t, BufferScope scope, Dtype dtype) {
    return emit_buffer(t, scope, dtype, (const DimId[]){{0}}, 0);
}
static inline LoopAccess emit_at(EmitTest *t, BufferId buffer, const DimId *dims, uint32_t count) {
    return access_of(buffer, loops_list(&t->loops, dims, count));
}
static inline LoopAccess emit_at0(EmitTest *t, BufferId buffer) {
    return access_of(buffer, loops_list(&t->loops, (const DimId[]){{0}}, 0));
}
static inline NodeId emit_loop(EmitTest *t, DimId extent, uint32_t bind, DimId *out_var) {
    *out_var = loops_fresh(&t->loops, 'i');
    dims_set_below(&t->loops.dims, *out_var, extent);
    return loops_loop(&t->loops, *out_var, extent, (LoopBind)bind);
}
static inline ExprId emit_get(EmitTest *t, LoopAccess access) {
    return loops_load(&t->loops, access, (ExprId){0});
}
static inline ExprId emit_op1(EmitTest *t, Opcode opcode, ExprId a) {
    return loops_op(&t->loops, opcode, expr_dtype(&t->loops, a), a, (ExprId){0}, (ExprId){0}, 0);
}
static inline ExprId emit_op2(EmitTest *t, Opcode opcode, ExprId a, ExprId b) {
    return loops_op(&t->loops, opcode, expr_dtype(&t->loops, a), a, b, (ExprId){0}, 0);
}
static inline void emit_put(EmitTest *t, LoopAccess access, ExprId value) {
    t->loops.buffers.written[access_buffer(access).row] = true;
    (void)loops_store(&t->loops, access, value, (ExprId){0});
}
static inline void emit_sum(EmitTest *t, ReduceKind kind, LoopAccess access, ExprId value) {
    (void)loops_reduce(&t->loops, kind, access, value, (ExprId){0});
}

/* --- memory ----------------------------------------------------------------------------------- */
enum { EMIT_CANARY = 0xC5 };
static inline uint32_t emit_position(const EmitTest *t, BufferId buffer) {
    return buffer.row - t->loops.kernels.buffers_first[t->kernel.row];
}
/* bytes that end at a page which may not be touched. */
static inline EmitMemory emit_memory_open(int64_t bytes) {
    size_t     page = os_page_bytes(), used = ((size_t)bytes + page) / page * page + page;
    EmitMemory memory = {.reserved = used + page, .bytes = bytes};
    memory.pages = os_reserve(memory.reserved);
    EXPECT(memory.pages != NULL && os_commit(memory.pages, used));
    memset(memory.pages, EMIT_CANARY, used);
    memory.data = memory.pages + used - bytes;
    return memory;
}
static inline bool emit_memory_whole(const EmitMemory *memory) { /* nothing before it was written */
    for (const uint8_t *at = memory->pages; at < memory->data; at++)
        if (*at != EMIT_CANARY) return false;
    return true;
}
/* Memory of every ARG and WORK buffer at these parameters. */
static inline void emit_allocate(EmitTest *t, const int64_t *params) {
    for (uint32_t i = 0; i < t->buffers_count; i++) {
        if (t->loops.buffers.scope[t->buffers[i].row] > SCOPE_WORK) continue;
        emit_memory_close(&t->memory[i]);
        t->memory[i] =
            emit_memory_open(emit_buffer_bytes(&t->loops, t->kernel, t->buffers[i], params));
    }
}
static inline void *emit_data(EmitTest *t, BufferId buffer) {
    return t->memory[emit_position(t, buffer)].data;
}
static inline int64_t emit_count(EmitTest *t, BufferId buffer) {
    return t->memory[emit_position(t, buffer)].bytes /
           dtype_bytes((Dtype)t->loops.buffers.dtype[buffer.row]);
}
static inline double emit_element(EmitTest *t, BufferId buffer, int64_t i) {
    Dtype dtype = (Dtype)t->loops.buffers.dtype[buffer.row];
    return const_decode(dtype, (char *)emit_data(t, buffer) + i * dtype_bytes(dtype));
}
static inline void emit_set(EmitTest *t, BufferId buffer, int64_t i, double number) {
    Dtype dtype = (Dtype)t->loops.buffers.dtype[buffer.row];
    (void)const_encode(dtype, number, (char *)emit_data(t, buffer) + i * dtype_bytes(dtype));
}
/* Random numbers from low to high; whole ones for integers. */
static inline void emit_fill(EmitTest *t, BufferId buffer, double low, double high) {
    Dtype dtype = (Dtype)t->loops.buffers.dtype[buffer.row];
    for (int64_t i = 0; i < emit_count(t, buffer); i++) {
        Philox drawn = philox_draw(5, (uint64_t)i, buffer.row);
        double number = low + (high - low) * (double)philox_unit(drawn.word[0]);
        emit_set(t, buffer, i, dtype_is_float(dtype) ? number : floor(number));
    }
}

/* --- running ---------------------------------------------------------------------------------- */
static inline bool emit_compile_once(EmitTest *t) {
    if (t->module != NULL) return true;
    const char *wrong = loops_verify(&t->loops, t->kernel);
    if (!EXPECT_STR(wrong, NULL)) return false;
    t->loops.kernels.same[t->kernel.row] = t->kernel;
    Status status = emit_compile(t->arena, t->jit, &t->loops, NULL, &t->diags, &t->module);
    if (EXPECT_EQ(status, STATUS_OK)) return true;
    for (uint32_t row = 1; row < t->diags.rows.table.count; row++)
        printf("\n  %.*s", STR_ARGS(diags_str_get(&t->diags, t->diags.rows.arg1[row])));
    return false;
}
static inline void emit_phase_run(EmitTest *t, const EmitPhase *phase, void **bases,
                                  const int64_t *params) {
    int64_t    bytes = emit_lane_bytes(&t->loops, t->kernel, params);
    EmitMemory lane = emit_memory_open((bytes + 63) / 64 * 64 + 64);
    memset(lane.data + bytes, EMIT_CANARY, (size_t)(lane.bytes - bytes));
    if (!phase->parallel) {
        phase->run(bases, params, 0, 1, lane.data);
    } else {
        int64_t extent = emit_size(&t->loops, t->kernel, phase->extent, params);
        int64_t cuts[] = {0, extent / 3, extent / 2, extent};
        for (int i = 0; i < 3; i++)
            if (cuts[i] < cuts[i + 1]) phase->run(bases, params, cuts[i], cuts[i + 1], lane.data);
    }
    bool whole = emit_memory_whole(&lane);
    for (int64_t i = bytes; i < lane.bytes; i++) whole &= lane.data[i] == EMIT_CANARY;
    EXPECT(whole);
    emit_memory_close(&lane);
}
/* Runs all phases on memory that emit_allocate made. */
static inline bool emit_run(EmitTest *t, const int64_t *params) {
    void *bases[EMIT_BUFFERS_MAX] = {NULL};
    if (!emit_compile_once(t)) return false;
    for (uint32_t i = 0; i < t->buffers_count; i++) bases[i] = t->memory[i].data;
    const EmitKernel *kernel = &t->module->kernels[t->kernel.row];
    for (uint32_t i = 0; i < kernel->phases_count; i++)
        emit_phase_run(t, &kernel->phases[i], bases, params);
    bool whole = true;
    for (uint32_t i = 0; i < t->buffers_count; i++)
        if (t->memory[i].pages) whole &= emit_memory_whole(&t->memory[i]);
    return EXPECT(whole);
}

#endif
