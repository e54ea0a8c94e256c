/* Programs of every kernel family, compiled, at sizes 0, 1, 2, 7, 16, 17 and 100, in every dtype
 * that they have a meaning in. */
#include "compile_check.h"

static const int64_t sizes_tried[] = {0, 1, 2, 7, 16, 17, 100};

/* The program with every `T` that stands alone as a type replaced by a dtype. */
static String with_dtype(Arena *arena, const char *text, const char *dtype) {
    Text out = text_begin(arena);
    for (const char *at = text; *at != 0; at++) {
        if (at[0] == '$')
            text_add(&out, str_of(dtype));
        else
            text_add(&out, (String){at, 1});
    }
    return text_done(&out);
}
/* All pairs of sizes, or each size once. */
static void check_sizes(Check *c, bool all, bool specials) {
    for (size_t i = 0; i < LENGTH(sizes_tried); i++)
        for (size_t k = 0; k < LENGTH(sizes_tried); k++) {
            if (!all && k != (i * 3 + 1) % LENGTH(sizes_tried)) continue;
            ArenaMark mark = arena_mark(c->arena);
            CheckSize sizes[] = {{"B", sizes_tried[i]}, {"C", sizes_tried[k]}, {NULL, 0}};
            c->seed = i * 8 + k + 1;
            c->specials = specials && (i + k) % 3 == 2;
            if (!EXPECT(check_run(c, sizes))) {
                check_print(c, sizes);
                return;
            }
            arena_release(c->arena, mark);
        }
}
static void check_with(Arena *arena, const char *text, const char *const *dtypes, bool specials) {
    for (; *dtypes != NULL; dtypes++) {
        Check     c;
        ArenaMark mark = arena_mark(arena);
        if (EXPECT(check_open(&c, arena, with_dtype(arena, text, *dtypes))))
            check_sizes(&c, str_same(str_of(*dtypes), STR("f32")), specials);
        else
            printf("%s\n%.*s\n", c.problem, STR_ARGS(c.text));
        check_close(&c);
        arena_release(arena, mark);
    }
}
static void check_program(Arena *arena, const char *text, const char *const *dtypes) {
    check_with(arena, text, dtypes, true);
}
/* Without infinities, and numbers whose squares are. */
static void check_ordinary(Arena *arena, const char *text, const char *const *dtypes) {
    check_with(arena, text, dtypes, false);
}
static const char *const floats[] = {"f32", "f64", "bf16", "f16", NULL};
static const char *const wide[] = {"f32", "f64", NULL};
static const char *const ints[] = {"u8", "i8", "i16", "i32", "i64", NULL};
static const char *const bools[] = {"bool", NULL};
static const char *const numbers[] = {"f32", "f64", "bf16", "f16", "u8",
                                      "i8",  "i16", "i32",  "i64", NULL};

TEST(elementwise_chains) {
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n"
                  "  %a = add %x, %y\n  %b = mul %a, %x\n  %c = max %b, %y\n"
                  "  %d = sub %c, %a\n  return %d, %b\n}\n",
                  numbers);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n"
                  "  %a = exp %x\n  %b = mul %a, %y\n  %c = add %a, %y\n"
                  "  return %b, %c\n}\n",
                  floats);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n"
                  "  %a = and %x, %y\n  %b = xor %a, %x\n  %c = not %b\n  %d = or %c, %y\n"
                  "  return %d\n}\n",
                  ints);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n"
                  "  %a = and %x, %y\n  %b = xor %a, %x\n  %c = not %b\n  %d = or %c, %y\n"
                  "  return %d\n}\n",
                  bools);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n"
                  "  %a = div %x, %y\n  %b = rem %x, %y\n  %c = shl %a, %y\n"
                  "  %d = shr_arith %b, %y\n  %e = shr_logical %c, %y\n  %f = add %d, %e\n"
                  "  return %f\n}\n",
                  ints);
}
TEST(every_unary_operator) {
    static const char *const names[] = {"neg",   "abs",  "sign",     "floor", "round_even", "exp",
                                        "expm1", "log",  "log1p",    "sqrt",  "rsqrt",      "sin",
                                        "cos",   "tanh", "logistic", "erf"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        String text = str_format(arena,
                                 "graph f(%%x: $[B,C]) {\n  %%y = %s %%x\n  %%z = add %%y, "
                                 "%%x\n  return %%z\n}\n",
                                 names[i]);
        check_program(arena, text.data, floats);
    }
}
TEST(conversions_between_all_dtypes) {
    static const char *const dtypes[] = {"bool", "u8",  "i8",   "i16", "i32",
                                         "i64",  "f16", "bf16", "f32", "f64"};
    for (size_t i = 0; i < LENGTH(dtypes); i++) {
        String whole = str_format(arena,
                                  "graph f(%%x: $[B,C]) {\n  %%y = convert "
                                  "%%x {dtype=%s}\n  %%z = convert %%y {dtype=i32}\n"
                                  "  return %%y, %%z\n}\n",
                                  dtypes[i]);
        check_program(arena, whole.data, numbers);
        check_program(arena, whole.data, bools);
    }
}
TEST(sums_over_rows_columns_and_all) {
    static const char *const kinds[] = {"sum", "prod", "max", "min"};
    for (size_t i = 0; i < LENGTH(kinds); i++) {
        const char *k = kinds[i];
        String      text = str_format(arena,
                                      "graph f(%%x: $[B,C]) {\n"
                                           "  %%a = reduce %%x {kind=%s, axes=[0]}\n"
                                           "  %%b = reduce %%x {kind=%s, axes=[1]}\n"
                                           "  %%c = reduce %%x {kind=%s, axes=[0,1]}\n"
                                           "  return %%a, %%b, %%c\n}\n",
                                      k, k, k);
        check_program(arena, text.data, numbers);
    }
    check_program(arena,
                  "graph f(%x: $[B,C]) {\n  %a = reduce %x {kind=and, axes=[0]}\n"
                  "  %b = reduce %x {kind=or, axes=[1]}\n  return %a, %b\n}\n",
                  bools);
    check_program(arena,
                  "graph f(%x: $[B,C]) {\n  %a = reduce %x {kind=and, axes=[0]}\n"
                  "  %b = reduce %x {kind=or, axes=[1]}\n  return %a, %b\n}\n",
                  ints);
}
TEST(reductions_with_prologue_and_epilogue) {
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n"
                  "  %s = add %x, %y\n  %z = softmax %s {axis=1}\n  return %z\n}\n",
                  floats);
    check_program(arena,
                  "graph f(%x: $[B,C]) {\n  %z = log_softmax %x {axis=0}\n"
                  "  return %z\n}\n",
                  floats);
    check_program(arena,
                  "graph f(%x: $[B,C], %w: $[C], %b: $[C]) {\n"
                  "  %y = layer_norm %x, %w, %b\n  return %y\n}\n",
                  wide);
    check_program(arena,
                  "graph f(%x: $[B,C], %w: $[C]) {\n  %y = rms_norm %x, %w\n"
                  "  %z = silu %y\n  return %z\n}\n",
                  floats);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,C]) {\n  %n = global_norm %x, %y\n"
                  "  %m = broadcast_in_dim %n {shape=[B,C]}\n  %z = div %x, %m\n"
                  "  return %z\n}\n",
                  wide);
}
TEST(gradients_of_norms) {
    check_program(arena,
                  "graph f(%x: $[B,C], %w: $[C], %b: $[C]) {\n"
                  "  %y = layer_norm %x, %w, %b\n  %t = tanh %y\n"
                  "  %q = reduce %t {kind=sum, axes=[0,1]}\n"
                  "  %dx, %dw, %db = gradient %q, %x, %w, %b\n"
                  "  return %dx, %dw, %db\n}\n",
                  wide);
    check_program(arena,
                  "graph f(%x: $[B,C], %w: $[C]) {\n"
                  "  %y = rms_norm %x, %w\n  %t = square %y\n"
                  "  %q = reduce %t {kind=sum, axes=[0,1]}\n"
                  "  %dx, %dw = gradient %q, %x, %w\n  return %dx, %dw\n}\n",
                  wide);
    check_program(arena,
                  "graph f(%x: $[B,C], %l: i64[B]) {\n"
                  "  %y = cross_entropy %x, %l\n  %q = reduce %y {kind=sum, axes=[0]}\n"
                  "  %dx = gradient %q, %x\n  return %q, %dx\n}\n",
                  wide);
}
/* Rows of a known length: factors that a later sum would wait for are multiplied to it. */
TEST(gradients_of_norms_of_known_rows) {
    check_ordinary(arena,
                   "graph f(%x: $[B,24], %w: $[24], %b: $[24], %d: $[B,24]) {\n"
                   "  %y = layer_norm %x, %w, %b\n  %t = mul %y, %d\n"
                   "  %q = reduce %t {kind=sum, axes=[0,1]}\n"
                   "  %dx, %dw, %db = gradient %q, %x, %w, %b\n"
                   "  return %dx, %dw, %db\n}\n",
                   wide);
    check_ordinary(arena,
                   "graph f(%x: $[B,24], %w: $[24], %d: $[B,24]) {\n"
                   "  %y = rms_norm %x, %w\n  %z = softmax %y {axis=1}\n  %t = mul %z, %d\n"
                   "  %q = reduce %t {kind=sum, axes=[0,1]}\n"
                   "  %dx, %dw = gradient %q, %x, %w\n  return %z, %dx, %dw\n}\n",
                   wide);
}
TEST(moved_elements) {
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[C,B]) {\n"
                  "  %t = transpose %x {permutation=[1,0]}\n  %s = add %t, %y\n"
                  "  %r = reverse %s {axes=[0]}\n  %n = neg %r\n  return %n\n}\n",
                  numbers);
    check_program(arena,
                  "graph f(%x: $[B,C], %f: $[]) {\n"
                  "  %p = pad %x, %f {low=[1,2], high=[3,0], interior=[0,2]}\n"
                  "  %n = neg %p\n  return %n\n}\n",
                  numbers);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B,7]) {\n"
                  "  %c = concat %x, %y, %x {axis=1}\n  %d = add %c, %c\n"
                  "  %s = slice %d {starts=[0, 2], limits=[B, C+5], strides=[1,2]}\n"
                  "  %t = neg %s\n  return %d, %t\n}\n",
                  numbers);
    check_program(arena,
                  "graph f(%x: $[B,C], %y: $[B*C]) {\n"
                  "  %r = reshape %x {shape=[B*C]}\n  %s = add %r, %y\n"
                  "  %q = reshape %s {shape=[C,B]}\n  %n = mul %q, %q\n"
                  "  %z = reduce %n {kind=sum, axes=[1]}\n  return %n, %z\n}\n",
                  numbers);
}
TEST(numbers_from_nothing) {
    check_program(arena,
                  "graph f(%x: $[B,C]) {\n"
                  "  %i = iota {dtype=$, shape=[B,C], axis=1}\n  %y = add %x, %i\n"
                  "  %n = dim_size %x {axis=0}\n  %c = convert %n {dtype=$}\n"
                  "  %d = broadcast_in_dim %c {shape=[B,C]}\n  %z = mul %y, %d\n"
                  "  return %z\n}\n",
                  wide);
    check_program(arena,
                  "graph f(%x: $[B,C], %s: i64[]) {\n"
                  "  %y = dropout %x, %s {rate=0.25}\n  %z = add %y, %x\n"
                  "  return %z\n}\n",
                  wide);
    check_program(arena,
                  "graph f(%x: $[B,C]) {\n  %b = is_finite %x\n"
                  "  %c = compare %x, %x {direction=eq}\n  %d = and %b, %c\n"
                  "  %z = select %d, %x, %x\n  return %d, %z\n}\n",
                  wide);
}
TEST(optimizer_steps) {
    check_program(arena,
                  "graph f(%p: $[B,C], %g: $[B,C], %m: $[B,C], %v: $[B,C], %r: $[], %t: $[]) {\n"
                  "  %a = square %v\n"
                  "  %q, %n, %w = adamw %p, %g, %m, %a, %r, %t {decay=0.1}\n"
                  "  return %q, %n, %w\n}\n",
                  wide);
    check_program(arena,
                  "graph f(%p: $[B,C], %g: $[B,C], %m: $[B,C], %r: $[]) {\n"
                  "  %q, %n = sgd %p, %g, %m, %r {momentum=0.9, nesterov=true}\n"
                  "  return %q, %n\n}\n",
                  wide);
}
