/* Random programs over the operators that kernels are made of, as text: a pool of values grows by
 * one operator at a time, the last ones are returned. The same seed gives the same program.
 *
 * Programs with 16-bit floats hold nothing that jumps (comparisons, conversions to integers), as
 * kernels round less often than rows do. */
#ifndef STOA_TESTS_RANDOM_PROGRAM_H
#define STOA_TESTS_RANDOM_PROGRAM_H

#include "compile_check.h"

enum { VALUES_MAX = 96, AXES_MAX = 4, DIM_TEXT_MAX = 28 };

typedef struct Shape {
    uint32_t    rank;
    const char *dims[AXES_MAX];
} Shape;
typedef struct Value {
    const char *name, *dtype;
    Shape       shape;
} Value;
typedef struct Random {
    Arena   *arena;
    Text     text; /* in an arena of its own */
    uint64_t seed, drawn;
    Value    values[VALUES_MAX];
    uint32_t count, inputs;
    bool     half;
} Random;

static inline uint32_t draw(Random *r, uint32_t count) {
    return (uint32_t)check_draw(r->seed, r->drawn++, count);
}
static inline const char *pick(Random *r, const char *const *list, size_t count) {
    return list[draw(r, (uint32_t)count)];
}
#define PICK(r, ...)                                                                               \
    pick((r), (const char *const[]){__VA_ARGS__}, LENGTH(((const char *const[]){__VA_ARGS__})))
static inline bool is_float(const char *dtype) { return dtype[0] == 'f' || dtype[0] == 'b'; }
static inline bool is_bool(const char *dtype) { return strcmp(dtype, "bool") == 0; }
static inline bool is_real(const char *dtype) { return is_float(dtype) && !is_bool(dtype); }
static inline bool same_text(const char *a, const char *b) { return strcmp(a, b) == 0; }
static inline bool same_shape(const Shape *a, const Shape *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (!same_text(a->dims[i], b->dims[i])) return false;
    return true;
}

/* --- text ------------------------------------------------------------------------------------- */
static inline Value add_value(Random *r, const char *dtype, Shape shape) {
    const char *name = str_format(r->arena, "%%v%u", r->count).data;
    ASSERT(r->count < VALUES_MAX);
    return r->values[r->count++] = (Value){name, dtype, shape};
}
static inline const char *dims_text(Random *r, const Shape *shape) {
    Text text = text_begin(arena_open("dims", 1 << 20, 0));
    for (uint32_t i = 0; i < shape->rank; i++) text_addf(&text, i ? ", %s" : "%s", shape->dims[i]);
    String copy = str_copy(r->arena, text_done(&text));
    arena_close(text.arena);
    return copy.data;
}
static inline const char *numbers_text(Random *r, const uint32_t *numbers, uint32_t count) {
    const char *text = "";
    for (uint32_t i = 0; i < count; i++)
        text = str_format(r->arena, i ? "%s, %u" : "%s%u", text, numbers[i]).data;
    return text;
}
static inline void put(Random *r, const char *format, ...) PRINTF_LIKE(2, 3);
static inline void put(Random *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_add(&r->text, str_format_list(r->arena, format, args));
    va_end(args);
}

/* --- picking operands ------------------------------------------------------------------------- */
static inline Value any_value(Random *r) { /* late ones more often */
    uint32_t a = draw(r, r->count), b = draw(r, r->count);
    return r->values[a > b ? a : b];
}
/* A value that an axis or a longer expression may be added to. */
static inline bool grows(const Value *x) {
    for (uint32_t i = 0; i < x->shape.rank; i++)
        if (strlen(x->shape.dims[i]) > DIM_TEXT_MAX) return false;
    return true;
}
/* Whether x can be broadcast to shape, axes in order; out_axes: where they go. */
static inline bool fits(const Value *x, const Shape *shape, uint32_t *out_axes) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < shape->rank && k < x->shape.rank; i++)
        if (same_text(shape->dims[i], x->shape.dims[k])) out_axes[k++] = i;
    return k == x->shape.rank;
}
static inline Value broadcast(Random *r, Value x, Shape shape, const uint32_t *axes) {
    Value y = add_value(r, x.dtype, shape);
    put(r, "  %s = broadcast_in_dim %s {shape=[%s], axes=[%s]}\n", y.name, x.name,
        dims_text(r, &shape), numbers_text(r, axes, x.shape.rank));
    return y;
}
static inline Value constant(Random *r, const char *dtype) {
    Value x = add_value(r, dtype, (Shape){0});
    if (is_bool(dtype))
        put(r, "  %s = constant {value=bool %s}\n", x.name, PICK(r, "true", "false"));
    else
        put(r, "  %s = constant {value=%s %s}\n", x.name, dtype,
            is_float(dtype) ? PICK(r, "0.5", "2", "0", "1") : PICK(r, "1", "2", "3", "0"));
    return x;
}
/* A value of a dtype and shape: found, broadcast from one that fits, or a constant. */
static inline Value like(Random *r, const char *dtype, Shape shape) {
    uint32_t axes[AXES_MAX], first = draw(r, r->count);
    for (uint32_t i = 0; i < r->count; i++) {
        Value x = r->values[(first + i) % r->count];
        if (!same_text(x.dtype, dtype)) continue;
        if (same_shape(&x.shape, &shape)) return x;
        if (fits(&x, &shape, axes) && draw(r, 2) == 0) return broadcast(r, x, shape, axes);
    }
    Value x = constant(r, dtype);
    return shape.rank == 0 ? x : broadcast(r, x, shape, axes);
}

/* --- operators -------------------------------------------------------------------------------- */
static inline void add_unary(Random *r, Value x) {
    const char *name;
    if (is_bool(x.dtype))
        name = "not";
    else if (r->half && is_float(x.dtype))
        name = PICK(r, "neg", "abs", "tanh", "logistic", "erf");
    else if (is_float(x.dtype))
        name = PICK(r, "neg", "abs", "sign", "floor", "round_even", "exp", "log1p", "sqrt", "sin",
                    "tanh", "logistic", "erf", "square", "relu", "silu");
    else
        name = PICK(r, "neg", "abs", "sign", "not", "square");
    if (same_text(x.dtype, "u8") && !same_text(name, "not")) name = "not";
    put(r, "  %s = %s %s\n", add_value(r, x.dtype, x.shape).name, name, x.name);
}
static inline void add_binary(Random *r, Value x) {
    const char *name;
    Value       y = like(r, x.dtype, x.shape);
    if (is_bool(x.dtype))
        name = PICK(r, "and", "or", "xor");
    else if (r->half && is_float(x.dtype))
        name = PICK(r, "add", "sub", "max", "min");
    else if (is_float(x.dtype))
        name = PICK(r, "add", "sub", "mul", "max", "min", "div", "rem", "atan2", "add", "mul");
    else
        name = PICK(r, "add", "sub", "mul", "max", "min", "div", "rem", "and", "or", "xor", "shl",
                    "shr_arith", "shr_logical");
    put(r, "  %s = %s %s, %s\n", add_value(r, x.dtype, x.shape).name, name, x.name, y.name);
}
static inline void add_test(Random *r, Value x) {
    if (r->half) return;
    Value y = like(r, x.dtype, x.shape);
    put(r, "  %s = compare %s, %s {direction=%s}\n", add_value(r, "bool", x.shape).name, x.name,
        y.name, PICK(r, "eq", "ne", "lt", "le", "gt", "ge"));
}
static inline void add_select(Random *r, Value x) {
    if (r->half) return;
    Value which = like(r, "bool", x.shape), y = like(r, x.dtype, x.shape);
    put(r, "  %s = select %s, %s, %s\n", add_value(r, x.dtype, x.shape).name, which.name, x.name,
        y.name);
}
static inline void add_convert(Random *r, Value x) {
    const char *dtype = r->half ? PICK(r, "bf16", "f32")
                                : PICK(r, "f32", "f64", "i32", "i64", "u8", "i8", "i16", "bool");
    const char *op = "convert";
    if (!r->half && same_text(x.dtype, "i32") && draw(r, 4) == 0) op = "bitcast", dtype = "f32";
    put(r, "  %s = %s %s {dtype=%s}\n", add_value(r, dtype, x.shape).name, op, x.name, dtype);
}
static inline void add_reduce(Random *r, Value x) {
    const char *kind = is_bool(x.dtype)    ? PICK(r, "and", "or")
                       : r->half           ? PICK(r, "sum", "max", "min")
                       : is_float(x.dtype) ? PICK(r, "sum", "max", "min", "sum", "prod")
                                           : PICK(r, "sum", "prod", "max", "min", "and", "or");
    uint32_t    axes[AXES_MAX], count = 0, chosen = 1 + draw(r, (1u << x.shape.rank) - 1);
    Shape       shape = {0};
    if (x.shape.rank == 0) return;
    for (uint32_t i = 0; i < x.shape.rank; i++) {
        if (chosen >> i & 1)
            axes[count++] = i;
        else
            shape.dims[shape.rank++] = x.shape.dims[i];
    }
    put(r, "  %s = reduce %s {kind=%s, axes=[%s]}\n", add_value(r, x.dtype, shape).name, x.name,
        kind, numbers_text(r, axes, count));
}
/* Back to a shape that some value has, after a reduction. */
static inline void add_spread(Random *r, Value x) {
    uint32_t axes[AXES_MAX], first = draw(r, r->count);
    for (uint32_t i = 0; i < r->count; i++) {
        Value y = r->values[(first + i) % r->count];
        if (y.shape.rank <= x.shape.rank || !fits(&x, &y.shape, axes)) continue;
        (void)broadcast(r, x, y.shape, axes);
        return;
    }
}
static inline void add_transpose(Random *r, Value x) {
    uint32_t rank = x.shape.rank, turn = rank > 1 ? 1 + draw(r, rank - 1) : 0, axes[AXES_MAX];
    Shape    shape = {.rank = rank};
    if (rank < 2) return;
    for (uint32_t i = 0; i < rank; i++) {
        axes[i] = (i + turn) % rank;
        shape.dims[i] = x.shape.dims[axes[i]];
    }
    put(r, "  %s = transpose %s {permutation=[%s]}\n", add_value(r, x.dtype, shape).name, x.name,
        numbers_text(r, axes, rank));
}
static inline void add_reshape(Random *r, Value x) {
    Shape    shape = x.shape;
    uint32_t at = x.shape.rank > 1 ? draw(r, x.shape.rank - 1) : 0;
    if (!grows(&x)) return;
    if (x.shape.rank >= 2 && draw(r, 3) != 0) { /* two axes become one */
        shape.dims[at] =
            str_format(r->arena, "(%s)*(%s)", x.shape.dims[at], x.shape.dims[at + 1]).data;
        for (uint32_t i = at + 1; i + 1 < x.shape.rank; i++) shape.dims[i] = x.shape.dims[i + 1];
        shape.rank--;
    } else if (x.shape.rank >= 2 && draw(r, 2) == 0) { /* the same elements, axes swapped */
        shape.dims[at] = x.shape.dims[at + 1];
        shape.dims[at + 1] = x.shape.dims[at];
    } else if (x.shape.rank < 3) {
        for (uint32_t i = shape.rank; i > at; i--) shape.dims[i] = shape.dims[i - 1];
        shape.dims[at] = "1";
        shape.rank++;
    }
    put(r, "  %s = reshape %s {shape=[%s]}\n", add_value(r, x.dtype, shape).name, x.name,
        dims_text(r, &shape));
}
static inline void add_slice(Random *r, Value x) {
    Shape       shape = x.shape;
    const char *starts = "", *limits = "", *strides = "";
    if (!grows(&x) || x.shape.rank == 0) return;
    for (uint32_t i = 0; i < x.shape.rank; i++) {
        const char *d = x.shape.dims[i], *comma = i ? ", " : "";
        uint32_t    stride = 1 + draw(r, 2), cut = draw(r, 3);
        String      start = str_format(r->arena, cut ? "floordiv(%s,3)" : "0", d);
        String      limit = str_format(r->arena, cut == 2 ? "(%s)-floordiv(%s,4)" : "%s", d, d);
        starts = str_format(r->arena, "%s%s%s", starts, comma, start.data).data;
        limits = str_format(r->arena, "%s%s%s", limits, comma, limit.data).data;
        strides = str_format(r->arena, "%s%s%u", strides, comma, stride).data;
        shape.dims[i] =
            str_format(r->arena, "ceildiv(%s-(%s),%u)", limit.data, start.data, stride).data;
    }
    put(r, "  %s = slice %s {starts=[%s], limits=[%s], strides=[%s]}\n",
        add_value(r, x.dtype, shape).name, x.name, starts, limits, strides);
}
static inline void add_reverse(Random *r, Value x) {
    if (x.shape.rank == 0) return;
    put(r, "  %s = reverse %s {axes=[%u]}\n", add_value(r, x.dtype, x.shape).name, x.name,
        draw(r, x.shape.rank));
}
static inline void add_pad(Random *r, Value x) {
    Shape       shape = x.shape;
    const char *low = "", *high = "", *interior = "";
    if (!grows(&x) || x.shape.rank == 0) return;
    Value fill = constant(r, x.dtype);
    for (uint32_t i = 0; i < x.shape.rank; i++) {
        const char *d = x.shape.dims[i], *comma = i ? ", " : "";
        uint32_t    before = draw(r, 3), gap = draw(r, 4) == 0;
        String      after = str_format(r->arena, draw(r, 3) ? "1" : "-floordiv(%s,4)", d);
        low = str_format(r->arena, "%s%s%u", low, comma, before).data;
        high = str_format(r->arena, "%s%s%s", high, comma, after.data).data;
        interior = str_format(r->arena, "%s%s%u", interior, comma, gap).data;
        shape.dims[i] = str_format(r->arena, gap ? "(%s)+%u+(%s)+max((%s)-1,0)" : "(%s)+%u+(%s)", d,
                                   before, after.data, d)
                            .data;
    }
    put(r, "  %s = pad %s, %s {low=[%s], high=[%s], interior=[%s]}\n",
        add_value(r, x.dtype, shape).name, x.name, fill.name, low, high, interior);
}
static inline void add_concat(Random *r, Value x) {
    if (x.shape.rank == 0 || !grows(&x)) return;
    uint32_t axis = draw(r, x.shape.rank);
    Value    y = like(r, x.dtype, x.shape);
    Shape    shape = x.shape;
    shape.dims[axis] = str_format(r->arena, "2*(%s)", x.shape.dims[axis]).data;
    put(r, "  %s = concat %s, %s {axis=%u}\n", add_value(r, x.dtype, shape).name, x.name, y.name,
        axis);
}
static inline void add_numbers(Random *r, Value x) {
    const char *dims = dims_text(r, &x.shape);
    if (x.shape.rank == 0) return;
    if (draw(r, 2) == 0) {
        put(r, "  %s = iota {dtype=%s, shape=[%s], axis=%u}\n",
            add_value(r, is_bool(x.dtype) ? "i32" : x.dtype, x.shape).name,
            is_bool(x.dtype) ? "i32" : x.dtype, dims, draw(r, x.shape.rank));
    } else if (draw(r, 2) == 0 || r->half) {
        Value size = add_value(r, "i64", (Shape){0});
        put(r, "  %s = dim_size %s {axis=%u}\n", size.name, x.name, draw(r, x.shape.rank));
        put(r, "  %s = convert %s {dtype=f32}\n", add_value(r, "f32", (Shape){0}).name, size.name);
    } else {
        put(r, "  %s = rng_bits %%seed {shape=[%s], stream=%u}\n",
            add_value(r, "i32", x.shape).name, dims, draw(r, 3));
    }
}
static inline void add_composite(Random *r, Value x) {
    if (!is_real(x.dtype) || x.shape.rank == 0) return;
    uint32_t axis = draw(r, x.shape.rank);
    put(r, "  %s = %s %s {axis=%u}\n", add_value(r, x.dtype, x.shape).name,
        PICK(r, "softmax", "log_softmax"), x.name, axis);
}

static inline void add_input(Random *r) {
    static const char *const none = NULL;
    static const Shape       shapes[] = {{2, {"B", "C"}}, {2, {"B", "C"}}, {2, {"C", "B"}},
                                         {1, {"C"}},      {1, {"B"}},      {3, {"B", "C", "D"}},
                                         {2, {"D", "C"}}, {0, {none}},     {2, {"B", "1"}},
                                         {1, {"B*C"}},    {2, {"2", "C"}}};
    const char              *dtype =
        r->half ? PICK(r, "bf16", "bf16", "f32")
                : PICK(r, "f32", "f32", "f32", "f64", "i32", "i64", "u8", "i8", "i16", "bool");
    Value x = add_value(r, dtype, shapes[draw(r, LENGTH(shapes))]);
    put(r, "%s%s: %s[%s]", r->inputs++ ? ", " : "", x.name, dtype, dims_text(r, &x.shape));
}
static inline void add_operator(Random *r) {
    typedef void      Add(Random * r, Value x);
    static Add *const adds[] = {add_unary,   add_unary,   add_binary,   add_binary,    add_binary,
                                add_binary,  add_test,    add_select,   add_select,    add_reduce,
                                add_reduce,  add_reduce,  add_spread,   add_spread,    add_slice,
                                add_pad,     add_concat,  add_reverse,  add_transpose, add_reshape,
                                add_convert, add_numbers, add_composite};
    adds[draw(r, LENGTH(adds))](r, any_value(r));
}
/* Up to `most` operators (some add two or three rows). */
static inline String random_program(Arena *arena, uint64_t seed, uint32_t most) {
    Random r = {.arena = arena, .seed = seed + 1};
    r.text = text_begin(arena_open("program", 1 << 22, 0));
    r.half = draw(&r, 6) == 0;
    uint32_t inputs = 1 + draw(&r, 3), operators = 1 + draw(&r, most), outputs = 1 + draw(&r, 6);
    put(&r, "dim B range=0..1000\ndim C range=0..1000\ndim D range=0..1000\ngraph f(%%seed: i64[], "
            "%%shape: u8[B,C,D], ");
    for (uint32_t i = 0; i < inputs; i++) add_input(&r);
    put(&r, ") {\n");
    for (uint32_t i = 0; i < operators && r.count + 4 < VALUES_MAX; i++) add_operator(&r);
    put(&r, "  return ");
    for (uint32_t i = 0; i < outputs; i++) /* the last one, and others */
        put(&r, "%s%s", i ? ", " : "", i ? any_value(&r).name : r.values[r.count - 1].name);
    put(&r, "\n}\n");
    String copy = str_copy(arena, text_done(&r.text));
    arena_close(r.text.arena);
    return copy;
}

#endif
