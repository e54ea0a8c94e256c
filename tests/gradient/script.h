/* Running one program text on numbers, for tests that are not a table row:
 *
 *   Script s = script_open(arena, "graph f(%x: f64[3]) { ... return %g }");
 *   script_input(&s, SHAPE(3), NUMBERS(1, 2, 3));
 *   script_expect(&s, 0, 1e-12, NUMBERS(2, 4, 6));    output 0
 *   script_close(&s); */
#ifndef STOA_TESTS_GRADIENT_SCRIPT_H
#define STOA_TESTS_GRADIENT_SCRIPT_H

#include "check.h"

#define SCRIPT_COUNT_(T, ...) (uint32_t)(sizeof((const T[]){__VA_ARGS__}) / sizeof(T))
#define SHAPE(...)            (const int64_t[]){__VA_ARGS__}, SCRIPT_COUNT_(int64_t, __VA_ARGS__)
#define SCALAR                (const int64_t[]){0}, 0
#define NUMBERS(...)          (const double[]){__VA_ARGS__}, SCRIPT_COUNT_(double, __VA_ARGS__)

enum { SCRIPT_MAX = 16 };
typedef struct Script {
    Arena       *arena;
    Program      program;
    Tensor       inputs[SCRIPT_MAX], outs[SCRIPT_MAX];
    uint32_t     inputs_count;
    NamedTensor *state;
    uint32_t     state_count;
    bool         done;
} Script;

static inline Script script_open(Arena *arena, const char *text) {
    return (Script){.arena = arena,
                    .program = check_compile_text(arena, "script", str_of(text), EXPAND_LAST)};
}
static inline void script_close(Script *s) { check_drop(&s->program); }

static inline Tensor *script_input_of(Script *s, Dtype dtype, const int64_t *shape, uint32_t rank,
                                      const double *numbers, uint32_t count) {
    Tensor *x = &s->inputs[s->inputs_count++];
    *x = (Tensor){.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) x->shape[i] = shape[i];
    x->data = arena_push(s->arena, tensor_bytes(x), 16);
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        if (dtype_is_float(dtype))
            inputs_put(x, i, numbers[i % count]);
        else
            inputs_put_int(x, i, (int64_t)numbers[i % count]);
    }
    s->done = false;
    return x;
}
static inline Tensor *script_input(Script *s, const int64_t *shape, uint32_t rank,
                                   const double *numbers, uint32_t count) {
    return script_input_of(s, DTYPE_F64, shape, rank, numbers, count);
}
/* Numbers within `size` of 0; noise: where they come from, goes on. */
static inline double script_noise_next(uint64_t *noise) {
    *noise = *noise * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*noise / 9223372036854775808.0;
}
static inline void script_noise(Script *s, uint64_t *noise, double size, const int64_t *shape,
                                uint32_t rank) {
    double numbers[64];
    for (uint32_t i = 0; i < LENGTH(numbers); i++) numbers[i] = size * script_noise_next(noise);
    script_input(s, shape, rank, numbers, LENGTH(numbers));
}
static inline const Tensor *script_out(Script *s, uint32_t out) {
    const Program *program = &s->program;
    if (!s->done && program->good)
        s->done =
            EXPECT_EQ(interp_run(s->arena, program->world, (GraphId){1}, s->inputs, s->inputs_count,
                                 s->state, s->state_count, s->outs, &program->world->diags),
                      STATUS_OK);
    if (!s->done) check_told(s->arena, "script", program->world, (String){"", 0});
    return s->done ? &s->outs[out] : NULL;
}
static inline bool script_near(double a, double b, double tolerance) {
    return a == b || fabs(a - b) <= tolerance * fmax(1, fabs(b)) || (isnan(a) && isnan(b));
}
static inline void script_expect(Script *s, uint32_t out, double tolerance, const double *numbers,
                                 uint32_t count) {
    const Tensor *x = script_out(s, out);
    if (x == NULL || !EXPECT_EQ(tensor_elements(x), count)) return;
    for (uint32_t i = 0; i < count; i++)
        if (!EXPECT(script_near(inputs_get(x, i), numbers[i], tolerance)))
            printf(" output %u[%u] is %.15g, expected %.15g", out, i, inputs_get(x, i), numbers[i]);
}

#endif
