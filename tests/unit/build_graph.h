/* Small graphs for tests of what runs them: inputs are given with their numbers, the graph is built
 * around them, and results are compared with numbers.
 *
 *   Graph g = graph_open(arena);
 *   graph_input(&g, DTYPE_F32, SHAPE(2, 3), NUMBERS(1, 2, 3, 4, 5, 6));
 *   const Tensor *y = graph_run_op(&g, OP_NEG, NULL);   (run_graph.h) one operator on all inputs
 *   graph_expect(y, SHAPE(2, 3), NUMBERS(-1, -2, -3, -4, -5, -6));
 *   graph_close(&g);
 * or graph_begin, build_* on g.build with g.args, graph_run(values). */
#ifndef STOA_TESTS_BUILD_GRAPH_H
#define STOA_TESTS_BUILD_GRAPH_H

#include <math.h>
#include <stdio.h>

#include "arena/status.h"
#include "harness.h"
#include "tables/build.h"
#include "tables/tensor.h"

#define GRAPH_COUNT_(T, ...) (uint32_t)(sizeof((const T[]){__VA_ARGS__}) / sizeof(T))
#define SHAPE(...)           (const int64_t[]){__VA_ARGS__}, GRAPH_COUNT_(int64_t, __VA_ARGS__)
#define SCALAR               (const int64_t[]){0}, 0
#define NUMBERS(...)         (const double[]){__VA_ARGS__}, GRAPH_COUNT_(double, __VA_ARGS__)
#define NO_NUMBERS           (const double[]){0}, 0
/* Attribute words: WORDS(...) is an attribute record; INTS and SIZES make words of lists. */
#define WORDS(...)                                                                                 \
    (const uint64_t[]) { __VA_ARGS__ }
#define INTS(g, ...)  build_ints(&(g)->build, SHAPE(__VA_ARGS__))
#define SIZES(g, ...) graph_sizes((g), SHAPE(__VA_ARGS__))

enum { GRAPH_INPUTS_MAX = 8, GRAPH_OUTPUTS_MAX = 8 };
typedef struct Graph {
    Arena      *arena;
    World      *world;
    Build       build;
    GraphId     graph;
    Tensor      inputs[GRAPH_INPUTS_MAX];
    DimId       dims[GRAPH_INPUTS_MAX][SHAPE_RANK_MAX]; /* nil: the constant size */
    ValueId     args[GRAPH_INPUTS_MAX];
    uint32_t    inputs_count;
    NamedTensor state[GRAPH_INPUTS_MAX];
    uint32_t    state_count;
    Tensor      outputs[GRAPH_OUTPUTS_MAX];
    Status      status; /* of the last run */
} Graph;

static inline Graph graph_open(Arena *arena) {
    Graph g = {.arena = arena, .world = world_open(0, 1 << 12)};
    g.build = (Build){.world = g.world, .code = &g.world->code};
    return g;
}
static inline void graph_close(Graph *g) { world_close(g->world); }

static inline uint64_t graph_sizes(Graph *g, const int64_t *sizes, uint32_t count) {
    DimId dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < count; i++) dims[i] = dims_const(&g->world->dims, sizes[i]);
    return build_sizes(&g->build, dims, count);
}
static inline DimId graph_symbol(Graph *g, const char *name) {
    return dims_symbol(&g->world->dims, strings_add(&g->world->strings, str_of(name)));
}
static inline uint64_t graph_name(Graph *g, const char *name) {
    return strings_add(&g->world->strings, str_of(name)).row;
}

/* A tensor whose elements are the numbers, repeated as often as needed. */
static inline Tensor graph_tensor(Arena *arena, Dtype dtype, const int64_t *shape, uint32_t rank,
                                  const double *numbers, uint32_t count) {
    Tensor x = {.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) x.shape[i] = shape[i];
    x.data = arena_push(arena, tensor_bytes(&x), 16);
    for (int64_t i = 0; i < tensor_elements(&x); i++)
        (void)const_encode(dtype, numbers[i % count],
                           (char *)x.data + (size_t)i * dtype_bytes(dtype));
    return x;
}
static inline uint32_t graph_input(Graph *g, Dtype dtype, const int64_t *shape, uint32_t rank,
                                   const double *numbers, uint32_t count) {
    g->inputs[g->inputs_count] = graph_tensor(g->arena, dtype, shape, rank, numbers, count);
    return g->inputs_count++;
}
/* 0, 1, 2, ... in row-major order. */
static inline uint32_t graph_range(Graph *g, Dtype dtype, const int64_t *shape, uint32_t rank) {
    uint32_t input = graph_input(g, dtype, shape, rank, NUMBERS(0));
    Tensor  *x = &g->inputs[input];
    for (int64_t i = 0; i < tensor_elements(x); i++)
        (void)const_encode(dtype, (double)i, (char *)x->data + (size_t)i * dtype_bytes(dtype));
    return input;
}
/* Small integers without a visible pattern: 7 i mod 11 - 5. */
static inline uint32_t graph_mixed(Graph *g, Dtype dtype, const int64_t *shape, uint32_t rank) {
    return graph_input(g, dtype, shape, rank, NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3, -1));
}
static inline TypeId graph_type(Graph *g, Dtype dtype, const int64_t *shape, uint32_t rank) {
    DimId dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) dims[i] = dims_const(&g->world->dims, shape[i]);
    return types_type(&g->world->types, dtype, types_shape(&g->world->types, dims, rank));
}

/* Makes the block, with an argument for every input so far. */
static inline void graph_begin(Graph *g) {
    World *world = g->world;
    g->build.block = code_add_block(&world->code, (OpId){0}, g->inputs_count);
    for (uint32_t i = 0; i < g->inputs_count; i++) {
        const Tensor *input = &g->inputs[i];
        DimId         dims[SHAPE_RANK_MAX];
        for (uint32_t axis = 0; axis < input->rank; axis++) {
            dims[axis] = g->dims[i][axis];
            if (!dim_id_some(dims[axis])) dims[axis] = dims_const(&world->dims, input->shape[axis]);
        }
        g->args[i] = (ValueId){world->code.blocks.args_first[g->build.block.row].row + i};
        world->code.values.type[g->args[i].row] =
            types_type(&world->types, input->dtype, types_shape(&world->types, dims, input->rank));
    }
}
/* Ends the block with a return of the values and makes it a graph. */
static inline void graph_finish(Graph *g, const ValueId *values, uint32_t count) {
    Code *code = &g->world->code;
    (void)code_add_op(code, g->build.block, OP_RETURN, values, count, 0,
                      attrs_add(&g->world->attrs, WORDS(0), 1), (LocId){0});
    code->blocks.op_last[g->build.block.row] = code->ops.table.count;
    g->graph = code_add_graph(code, strings_add(&g->world->strings, STR("main")), g->build.block);
    EXPECT_EQ(g->world->diags.errors, 0);
}
static inline double graph_number(const Tensor *x, int64_t at) {
    return const_decode(x->dtype, (const char *)x->data + (size_t)at * dtype_bytes(x->dtype));
}
/* Half a unit in the last place, or so. */
static inline double graph_tolerance(Dtype dtype) {
    switch (dtype) {
    case DTYPE_F64: return 1e-13;
    case DTYPE_F32: return 1.2e-7;
    case DTYPE_F16: return 1e-3;
    case DTYPE_BF16: return 8e-3;
    default: return 0;
    }
}
static inline bool graph_near(double a, double b, double rel, double abs) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (a == b) return true;
    return fabs(a - b) <= fmax(rel * fmax(fabs(a), fabs(b)), abs);
}
static inline bool graph_expect_near(const Tensor *x, const int64_t *shape, uint32_t rank,
                                     const double *numbers, uint32_t count, double rel,
                                     double abs) {
    if (!EXPECT_EQ(x->rank, rank)) return false;
    for (uint32_t i = 0; i < rank; i++)
        if (!EXPECT_EQ(x->shape[i], shape[i])) return false;
    if (!EXPECT_EQ(tensor_elements(x), count)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (EXPECT(graph_near(graph_number(x, i), numbers[i], rel, abs))) continue;
        printf("\n  element %u is %.17g, expected %.17g", i, graph_number(x, i), numbers[i]);
        return false;
    }
    return true;
}
static inline bool graph_expect(const Tensor *x, const int64_t *shape, uint32_t rank,
                                const double *numbers, uint32_t count) {
    return graph_expect_near(x, shape, rank, numbers, count, graph_tolerance(x->dtype), 0);
}
/* Whether a diagnostic of this kind was added. */
static inline bool graph_told(const Graph *g, DiagKind kind) {
    for (uint32_t row = 1; row < g->world->diags.rows.table.count; row++)
        if (g->world->diags.rows.kind[row] == kind) return true;
    return false;
}

#endif
