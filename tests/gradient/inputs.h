/* The numbers that the gradient tests feed: the same on every run, chosen so that no derivative is
 * taken at a kink, a pole or a tie. The domain of an argument is a word `name=kind`:
 *
 *   any     floats in (-2, 2), at least 0.2 from 0; the default
 *   pos     (0.4, 2.4)      unit   (-0.85, 0.85)      more   (1.3, 2.9)
 *   apart   all different, 0.1 apart at least: for extremes and sorting
 *   inner   positive, 0.2 from integers at least
 *   near    at most 0.3 from an integer
 *   grid    multiples of 1/64: exact in every float dtype
 *   diag    any, but 1.5 to 2.5 on the diagonals of the last two axes
 *   LO..HI  integers from LO to HI - 1; a number, or a symbol with an optional +1
 *   each..HI  0 to HI - 1 in a mixed order, none twice while they last
 *   N,N,..  these numbers, repeated
 * Booleans are random; an integer without a domain is 7. */
#ifndef STOA_TESTS_GRADIENT_INPUTS_H
#define STOA_TESTS_GRADIENT_INPUTS_H

#include <stdlib.h>

#include "arena/hash.h"
#include "form.h"
#include "tables/tensor.h"

/* In [0, 1), by what it is for. */
static inline double inputs_uniform(uint64_t seed, int64_t i) {
    return (double)(hash_mix(seed, (uint64_t)i * 2 + 1) >> 11) * 0x1p-53;
}
static inline uint64_t inputs_seed(const Case *c, String name) {
    return hash_bytes(c->name, strlen(c->name), hash_bytes(name.data, name.count, 3));
}
static inline int64_t inputs_common_factor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
/* The place of i in a mixed order of 0 .. count - 1. */
static inline int64_t inputs_mixed(int64_t i, int64_t count) {
    int64_t step = count / 2 + 1;
    if (count <= 0) return 0;
    while (inputs_common_factor(step, count) != 1) step++;
    return (i * step + count / 3) % count;
}
/* Number i of "N,N,..", which repeats. */
static inline double inputs_listed(String kind, int64_t i) {
    double  numbers[16];
    int64_t count = 0;
    char    text[64];
    ASSERT(kind.count < sizeof text);
    memcpy(text, kind.data, kind.count);
    text[kind.count] = 0;
    for (char *at = text; *at != 0 && count < (int64_t)LENGTH(numbers); count++) {
        char *end;
        numbers[count] = strtod(at, &end);
        ASSERT(end != at); /* a misspelt kind */
        at = *end == ',' ? end + 1 : end;
    }
    return numbers[i % count];
}
static inline double inputs_float(String kind, uint64_t seed, int64_t i, const Tensor *x) {
    double  u = inputs_uniform(seed, i), any = u < 0.5 ? -2 + 3.6 * u : 3.6 * u - 1.6;
    int64_t n = x->rank ? x->shape[x->rank - 1] : 1;
    if (str_same(kind, STR("pos"))) return 0.4 + 2 * u;
    if (str_same(kind, STR("unit"))) return 1.7 * u - 0.85;
    if (str_same(kind, STR("more"))) return 1.3 + 1.6 * u;
    if (str_same(kind, STR("near"))) return (double)(i % 5) - 2 + 0.6 * u - 0.3;
    if (str_same(kind, STR("inner"))) return (double)(i % 4) + 0.2 + 0.6 * u;
    if (str_same(kind, STR("grid"))) return (double)(int64_t)(256 * u - 128) / 64;
    if (str_same(kind, STR("diag"))) return i / n % n == i % n ? 1.5 + u : any / 4;
    if (str_same(kind, STR("apart"))) {
        int64_t count = tensor_elements(x);
        return 0.15 * ((double)inputs_mixed(i, count) - (double)count / 2.0 + 0.3) + 0.02 * u;
    }
    if (kind.count != 0 && !str_same(kind, STR("any"))) return inputs_listed(kind, i);
    return any;
}

/* --- integers --------------------------------------------------------------------------------- */
static inline int64_t inputs_bound(const char *text, const FormSize *sizes, uint32_t count) {
    int64_t symbol = 0;
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(text, sizes[i].symbol.data, sizes[i].symbol.count) == 0) {
            symbol = sizes[i].size;
            text += sizes[i].symbol.count;
            if (*text != '+') return symbol;
        }
    return symbol + strtoll(text, NULL, 10);
}
static inline int64_t inputs_int(String kind, uint64_t seed, int64_t i, const FormSize *sizes,
                                 uint32_t count) {
    char text[64];
    if (kind.count == 0) return 7;
    ASSERT(kind.count < sizeof text);
    memcpy(text, kind.data, kind.count);
    text[kind.count] = 0;
    char *range = strstr(text, "..");
    if (range != NULL) {
        int64_t high = inputs_bound(range + 2, sizes, count);
        if (strncmp(text, "each", 4) == 0) return inputs_mixed(i, high);
        int64_t low = strtoll(text, NULL, 10);
        if (high <= low) return low;
        return low + (int64_t)(inputs_uniform(seed, i) * (double)(high - low));
    }
    return (int64_t)inputs_listed(kind, i);
}

/* --- tensors ---------------------------------------------------------------------------------- */
static inline String inputs_domain(const Case *c, String name) {
    const char *at = c->domain != NULL ? c->domain : "";
    for (String word = form_word(&at); word.count != 0; word = form_word(&at))
        if (word.count > name.count && word.data[name.count] == '=' &&
            memcmp(word.data, name.data, name.count) == 0)
            return (String){word.data + name.count + 1, word.count - name.count - 1};
    return (String){"", 0};
}
static inline void inputs_put(Tensor *x, int64_t i, double number) {
    ASSERT(x->dtype == DTYPE_F64 || x->dtype == DTYPE_F32);
    if (x->dtype == DTYPE_F64)
        ((double *)x->data)[i] = number;
    else
        ((float *)x->data)[i] = (float)number;
}
static inline double inputs_get(const Tensor *x, int64_t i) {
    ASSERT(x->dtype == DTYPE_F64 || x->dtype == DTYPE_F32);
    return x->dtype == DTYPE_F64 ? ((double *)x->data)[i] : (double)((float *)x->data)[i];
}
static inline void inputs_put_int(Tensor *x, int64_t i, int64_t number) {
    if (x->dtype == DTYPE_I64)
        ((int64_t *)x->data)[i] = number;
    else if (x->dtype == DTYPE_I32)
        ((int32_t *)x->data)[i] = (int32_t)number;
    else
        ((uint8_t *)x->data)[i] = (uint8_t)number; /* u8, i8, bool */
}
/* values: sizes by DimId row of world. */
static inline Tensor inputs_tensor(Arena *arena, const World *world, TypeId type, Dtype dtype,
                                   const int64_t *values) {
    Tensor x = {.dtype = dtype, .rank = type_rank(&world->types, type)};
    for (uint32_t i = 0; i < x.rank; i++)
        x.shape[i] = values[type_dims(&world->types, type)[i].row];
    x.data = arena_push(arena, tensor_bytes(&x), 16);
    return x;
}
static inline void inputs_fill(Tensor *x, const Case *c, String name, const FormSize *sizes,
                               uint32_t count) {
    String   kind = inputs_domain(c, name);
    uint64_t seed = inputs_seed(c, name);
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        if (x->dtype == DTYPE_BOOL)
            inputs_put_int(x, i, inputs_uniform(seed, i) < 0.5);
        else if (dtype_is_int(x->dtype))
            inputs_put_int(x, i, inputs_int(kind, seed, i, sizes, count));
        else
            inputs_put(x, i, inputs_float(kind, seed, i, x));
    }
}

/* The sizes of all dims of world, given those of its symbols. */
static inline int64_t *inputs_dims(Arena *arena, const World *world, const FormSize *sizes,
                                   uint32_t count) {
    int64_t *values = ARENA_ARRAY_ZERO(arena, int64_t, world->dims.rows.table.count);
    for (uint32_t row = 1; row < world->dims.rows.table.count; row++) {
        if (world->dims.rows.kind[row] != DIM_SYMBOL) continue;
        StrId name = {(uint32_t)world->dims.rows.imm[row]};
        for (uint32_t i = 0; i < count; i++)
            if (str_same(strings_get(&world->strings, name), sizes[i].symbol))
                values[row] = sizes[i].size;
    }
    (void)EXPECT(dims_eval(&world->dims, values) == 0);
    return values;
}
/* Every input of the programs of form, in order; returns how many. Numbers depend on names and
 * sizes only, so both forms of a case are fed alike. */
static inline uint32_t inputs_make(Arena *arena, const Form *form, const FormSize *sizes,
                                   uint32_t count, Tensor *out) {
    const World *world = form->world;
    const Code  *code = &world->code;
    BlockId      block = code->graphs.block[1];
    int64_t     *values = inputs_dims(arena, world, sizes, count);
    uint32_t     n = 0, floats = 0;
    for (uint32_t i = 0; i < form->args_count; i++) {
        TypeId type = value_type(world, (ValueId){code->blocks.args_first[block.row].row + i});
        out[n] = inputs_tensor(arena, world, type, type_dtype(&world->types, type), values);
        inputs_fill(&out[n++], form->the_case, form->names[i], sizes, count);
    }
    OpId end = block_return(code, block);
    for (uint32_t i = 0; i < code->ops.operands_count[end.row]; i++) {
        TypeId type = value_type(world, op_operand(code, end, i));
        if (!dtype_is_float(type_dtype(&world->types, type))) continue;
        out[n] = inputs_tensor(arena, world, type, DTYPE_F64, values);
        inputs_fill(&out[n++], form->the_case, str_format(arena, "q.w%u", floats++), sizes, count);
    }
    for (uint32_t i = 0; i < form->args_count; i++)
        for (const char *kind = "tu"; form->wrt[i] && *kind != 0; kind++) {
            TypeId type = value_type(world, (ValueId){code->blocks.args_first[block.row].row + i});
            String name = str_format(arena, "q.%c.%.*s", *kind, STR_ARGS(form->names[i]));
            out[n] = inputs_tensor(arena, world, type, type_dtype(&world->types, type), values);
            inputs_fill(&out[n++], form->the_case, name, sizes, count);
        }
    return n;
}

#endif
