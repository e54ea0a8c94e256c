/* What the gradient tests expect of a case (form.h), at every assignment of sizes to its symbols:
 *
 *   first order    every element of the gradient equals the finite difference of the value
 *   second order   the same, one order up
 *   forward mode   the jvp equals the sum of gradient times tangent, at both orders
 *   composites     differentiating their expansions gives the gradient of their own rules
 *   static sizes   the program with constants for symbols computes the same
 *   f32            the program in f32 computes the same, to 1e-3: rules keep the dtype
 *   closure        no placeholder or derivative row remains; rules put primitives on tangents
 *
 * Finite differences: central, at steps h and h/2, extrapolated (Richardson), in f64; h = 2^-9.
 * The error left is about h^4/480 of the fifth derivative, 3e-14 for functions of this size, and
 * 1e-16/h of rounding, 5e-14, times the size of the sum s: 1e-9 is met by far (the largest error
 * seen is printed), and small enough that a wrong term shows. */
#ifndef STOA_TESTS_GRADIENT_CHECK_H
#define STOA_TESTS_GRADIENT_CHECK_H

#include <math.h>

#include "cpu/interp.h"
#include "inputs.h"
#include "systems/emit.h"
#include "systems/runner.h"

typedef struct Program {
    World   *world;
    uint32_t outs_count;
    bool     good;
} Program;
typedef struct Check { /* one case, at one assignment of sizes */
    const Case     *the_case;
    uint32_t        number; /* of the assignment */
    const FormSize *sizes;
    uint32_t        sizes_count;
    Tensor          inputs[FORM_INPUTS_MAX];
    uint32_t        inputs_count;
    bool            finite; /* the value is; otherwise numbers are not compared */
} Check;

/* The largest errors met so far: to finite differences, and between two ways to the same number. */
static double check_worst_difference, check_worst_exact;

/* --- programs --------------------------------------------------------------------------------- */
static inline void check_told(Arena *arena, const char *name, const World *world, String source) {
    String told = text_diags_in(arena, world, &world->diags, source);
    printf("\n  case %s\n%.*s\n%.*s", name, STR_ARGS(source), STR_ARGS(told));
}
/* No placeholders, no derivative rows. */
static inline void check_plain(const World *world) {
    const Code *code = &world->code;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        Opcode opcode = (Opcode)code->ops.opcode[row];
        if (opcode == OP_NIL || (op_infos[opcode].flags & OP_DERIVES))
            EXPECT_STR(op_infos[opcode].name, "a row that is no derivative");
    }
}
/* What depends on an argument "q.t.x" carries derivatives: a primitive, or a composite that has a
 * transpose of its own (dropout, whose mask must be drawn once; what a target keeps whole). */
static inline void check_tangents(Arena *arena, const World *world) {
    const Code *code = &world->code;
    uint8_t    *moves = ARENA_ARRAY_ZERO(arena, uint8_t, code->values.table.count);
    for (uint32_t row = 1; row < code->values.table.count; row++)
        if (code->values.def[row] & VALUE_IS_ARG)
            moves[row] =
                str_starts(strings_get(&world->strings, code->values.name[row]), STR("q.t."));
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        OpId          op = {row};
        const OpInfo *info = op_info(code, op);
        bool          any = false;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            any = any || moves[op_operand(code, op, i).row];
        if (!any) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            moves[op_result(code, op, i).row] = 1;
        bool kept = (info->flags & OP_EXPANDS) && emit_has_transpose((Opcode)code->ops.opcode[row]);
        if (!(info->flags & (OP_EXPANDS | OP_ZERO_GRAD)) || kept) continue;
        EXPECT_STR(info->name, "a primitive, where a tangent goes through");
    }
}
typedef enum CheckOrder {
    EXPAND_LAST,
    EXPAND_FIRST,
    EXPAND_STACKED /* last; streams share rows with values, which tell nothing about tangents */
} CheckOrder;

static inline bool check_run_systems(Arena *arena, Runner *runner, CheckOrder order) {
    static const SystemKind begin[] = {SYSTEM_verify, SYSTEM_infer, SYSTEM_inline};
    static const SystemKind end[] = {SYSTEM_expand, SYSTEM_fold, SYSTEM_dedupe, SYSTEM_dead,
                                     SYSTEM_order};
    for (uint32_t i = 0; i < LENGTH(begin); i++)
        if (!runner_run(runner, begin[i])) return false;
    if (order == EXPAND_FIRST) { /* derivative rows pass through expand untouched */
        runner->facts |= FACT_PLAIN;
        if (!runner_run(runner, SYSTEM_expand)) return false;
    }
    if (!runner_run(runner, SYSTEM_differentiate) || !runner_run(runner, SYSTEM_dead)) return false;
    check_plain(runner->ctx.world);
    if (order == EXPAND_LAST) check_tangents(arena, runner->ctx.world);
    for (uint32_t i = 0; i < LENGTH(end); i++)
        if (!runner_run(runner, end[i])) return false;
    return true;
}
/* Compiles the first graph of a program. */
static inline Program check_compile_text(Arena *arena, const char *name, String source,
                                         CheckOrder order) {
    ArenaMark mark = arena_mark(arena);
    Program   program = {.world = world_open(0, 1 << 18)};
    Runner    runner;
    runner_open(&runner, program.world, NULL);
    program.good = form_parse(arena, program.world, source) &&
                   check_run_systems(arena, &runner, order) && program.world->diags.errors == 0;
    if (!EXPECT(program.good)) check_told(arena, name, program.world, source);
    runner_close(&runner);
    const Code *code = &program.world->code;
    OpId        end = block_return(code, code->graphs.block[1]);
    if (program.good) program.outs_count = code->ops.operands_count[end.row];
    arena_release(arena, mark);
    return program;
}
static inline Program check_compile(Arena *arena, const Form *form, Level level, CheckOrder order) {
    ArenaMark mark = arena_mark(arena);
    String    source = form_program(arena, form, level);
    Program   program = check_compile_text(arena, form->the_case->name, source, order);
    arena_release(arena, mark);
    return program;
}
static inline void check_drop(Program *program) { world_close(program->world); }

/* --- running ---------------------------------------------------------------------------------- */
static inline void check_print_sizes(const Check *check) {
    printf("\n  case %s", check->the_case->name);
    for (uint32_t i = 0; i < check->sizes_count; i++)
        printf(" %.*s=%lld", STR_ARGS(check->sizes[i].symbol), (long long)check->sizes[i].size);
}
static inline bool check_run(Arena *arena, const Program *program, const Check *check,
                             Tensor *outs) {
    Diags *diags = &program->world->diags;
    Status status = program->good ? interp_run(arena, program->world, (GraphId){1}, check->inputs,
                                               check->inputs_count, NULL, 0, outs, diags)
                                  : STATUS_INVALID;
    if (status == STATUS_OK) return true;
    check_print_sizes(check);
    check_told(arena, check->the_case->name, program->world, (String){"", 0});
    return EXPECT(false);
}
static inline double check_value(Arena *arena, const Program *program, const Check *check) {
    ArenaMark mark = arena_mark(arena);
    Tensor    out;
    double    value = check_run(arena, program, check, &out) ? inputs_get(&out, 0) : (double)NAN;
    arena_release(arena, mark);
    return value;
}
/* The derivative of the value along element i of input k. */
static inline double check_difference(Arena *arena, const Program *program, Check *check,
                                      uint32_t k, int64_t i) {
    Tensor *x = &check->inputs[k];
    double  at = inputs_get(x, i), slopes[2];
    double  h = check->the_case->step != 0 ? check->the_case->step : 0x1p-9;
    for (uint32_t round = 0; round < 2; round++, h /= 2) {
        inputs_put(x, i, at + h);
        double above = check_value(arena, program, check);
        inputs_put(x, i, at - h);
        double below = check_value(arena, program, check);
        slopes[round] = (above - below) / (2 * h);
    }
    inputs_put(x, i, at);
    return (4 * slopes[1] - slopes[0]) / 3;
}

/* --- comparing -------------------------------------------------------------------------------- */
/* scale: of the sum that both numbers are part of. */
static inline bool check_near(const Check *check, const char *what, String name, int64_t i,
                              double got, double wanted, double scale, double tolerance,
                              double *worst) {
    double size = fmax(fmax(fabs(got), fabs(wanted)), scale), error = fabs(got - wanted) / size;
    if (got == wanted) return EXPECT(true);
    if (error > *worst) *worst = error;
    if (error <= tolerance) return EXPECT(true);
    check_print_sizes(check);
    printf(": %s %.*s[%lld] is %.15g, expected %.15g (error %.2g)", what, STR_ARGS(name),
           (long long)i, got, wanted, error);
    return EXPECT(false);
}
/* outs: gradients of the differentiated arguments, in order. */
static inline bool check_differences(Arena *arena, const Form *form, Check *check,
                                     const Program *value, const Tensor *outs, const char *what) {
    double  tolerance = form->the_case->tolerance != 0 ? form->the_case->tolerance : 1e-9;
    double  scale = 1, ignored = 0;
    double *worst = form->the_case->tolerance != 0 ? &ignored : &check_worst_difference;
    bool    good = true;
    for (uint32_t k = 0, n = 0; k < form->args_count && good; k++) {
        if (!form->wrt[k]) continue;
        const Tensor *gradient = &outs[n++];
        for (int64_t i = 0; i < tensor_elements(gradient) && good; i++) {
            double slope = check_difference(arena, value, check, k, i);
            good = check_near(check, what, form->names[k], i, inputs_get(gradient, i), slope, scale,
                              tolerance, worst);
        }
    }
    return good;
}
/* The jvp, after the gradients in outs, is their product with the tangents. */
static inline bool check_forward(const Form *form, const Check *check, const Tensor *outs,
                                 const char *what) {
    uint32_t n = 0, tangent = form->args_count + form->outs_count;
    double   sum = 0, size = 0;
    for (uint32_t k = 0; k < form->args_count; k++) {
        if (!form->wrt[k]) continue;
        for (int64_t i = 0; i < tensor_elements(&outs[n]); i++) {
            double part = inputs_get(&outs[n], i) * inputs_get(&check->inputs[tangent + 2 * n], i);
            sum += part;
            size += fabs(part);
        }
        n++;
    }
    double tolerance = fmax(1e-10, form->the_case->tolerance), ignored = 0;
    return check_near(check, what, STR("sum"), 0, inputs_get(&outs[n], 0), sum, size + 1e-3,
                      tolerance, tolerance > 1e-10 ? &ignored : &check_worst_exact);
}
/* Two programs that must agree: relative to the largest number of each output, because sums in
 * another order leave an error of that size. */
static inline bool check_same(const Form *form, const Check *check, const Tensor *a,
                              const Tensor *b, uint32_t count, const char *what, double tolerance) {
    double none = 0, *worst = tolerance < 1e-9 ? &check_worst_exact : &none;

    bool good = true;
    for (uint32_t k = 0; k < count && good; k++) {
        double size = 1;
        if (!EXPECT_EQ(tensor_elements(&a[k]), tensor_elements(&b[k]))) return false;
        for (int64_t i = 0; i < tensor_elements(&a[k]); i++)
            size = fmax(size, fabs(inputs_get(&a[k], i)));
        for (int64_t i = 0; i < tensor_elements(&a[k]) && good; i++)
            good = check_near(check, what, str_format(form->arena, "output %u ", k), i,
                              inputs_get(&a[k], i), inputs_get(&b[k], i), size, tolerance, worst);
    }
    return good;
}

/* --- one case --------------------------------------------------------------------------------- */
typedef struct Programs { /* of one form: by Level, and with expansions first */
    Program levels[4], expanded;
    bool    composite;
} Programs;

static inline bool form_has_composite(const Form *form) {
    const Code *code = &form->world->code;
    bool        any = false;
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        any = any || (op_info(code, (OpId){row})->flags & OP_EXPANDS);
    return any;
}
static inline uint32_t check_levels(const Form *form) { return form->the_case->first_only ? 2 : 4; }

static inline bool check_compile_all(Arena *arena, const Form *form, Programs *out) {
    bool good = true;
    memset(out, 0, sizeof *out);
    out->composite = form_has_composite(form);
    for (uint32_t level = 0; level < check_levels(form) && good; level++) {
        out->levels[level] = check_compile(arena, form, (Level)level, EXPAND_LAST);
        good = out->levels[level].good;
    }
    if (!good || !out->composite) return good;
    out->expanded = check_compile(arena, form, LEVEL_GRADIENT, EXPAND_FIRST);
    return out->expanded.good;
}
static inline void check_drop_all(Programs *programs) {
    for (uint32_t level = 0; level < LENGTH(programs->levels); level++)
        if (programs->levels[level].world != NULL) check_drop(&programs->levels[level]);
    if (programs->expanded.world != NULL) check_drop(&programs->expanded);
}
/* Inputs are made for the sizes of check; symbols may be constants in form. */
static inline void check_feed(Arena *arena, const Form *form, Check *check) {
    check->inputs_count = inputs_make(arena, form, check->sizes, check->sizes_count, check->inputs);
}
static inline bool check_order(Arena *arena, const Form *form, Check *check,
                               const Programs *programs, Level level, Tensor *outs) {
    const Program *derived = &programs->levels[level];
    const char    *what = level == LEVEL_GRADIENT ? "gradient" : "second gradient";
    if (!check_run(arena, derived, check, outs)) return false;
    check->finite = isfinite(inputs_get(&outs[0], 0));
    for (uint32_t i = 0; i < check->sizes_count; i++)
        if (check->sizes[i].size == 0 && !check->finite) return true; /* the mean of nothing */
    if (!EXPECT(check->finite)) return false;
    return check_differences(arena, form, check, &programs->levels[level - 1], outs + 1, what) &&
           check_forward(form, check, outs + 1, level == LEVEL_GRADIENT ? "jvp" : "second jvp");
}
/* Another form of the case computes the same numbers. */
static inline bool check_form(Arena *arena, Form *form, const Check *check, Level level,
                              const Tensor *outs, const char *what, double tolerance) {
    Tensor  found[FORM_INPUTS_MAX];
    Check   fed = *check;
    Program program = check_compile(arena, form, level, EXPAND_LAST);
    check_feed(arena, form, &fed);
    bool good = check_run(arena, &program, &fed, found);
    if (good && check->finite)
        good = check_same(form, check, found, outs, program.outs_count, what, tolerance);
    check_drop(&program);
    return good;
}
static inline bool check_static(Arena *arena, const Check *check, Level level, const Tensor *outs) {
    Form form;
    bool good = form_open(&form, arena, check->the_case, check->sizes, check->sizes_count, false) &&
                check_form(arena, &form, check, level, outs, "static", 1e-10);
    form_close(&form);
    return good;
}
static inline bool check_single(Arena *arena, const Check *check, const Tensor *outs) {
    Form form;
    bool good = form_open(&form, arena, check->the_case, NULL, 0, true) &&
                check_form(arena, &form, check, LEVEL_GRADIENT, outs, "f32", 1e-3);
    form_close(&form);
    return good;
}
static inline bool check_at_sizes(Arena *arena, const Form *form, Check *check,
                                  const Programs *programs) {
    ArenaMark mark = arena_mark(arena);
    Tensor    outs[FORM_INPUTS_MAX], others[FORM_INPUTS_MAX];
    check_feed(arena, form, check);
    bool good = check_order(arena, form, check, programs, LEVEL_GRADIENT, outs);
    if (good && programs->composite) {
        good = check_run(arena, &programs->expanded, check, others);
        if (good && check->finite)
            good = check_same(form, check, others, outs, programs->expanded.outs_count, "expanded",
                              1e-10);
    }
    good = good && check_static(arena, check, LEVEL_GRADIENT, outs);
    if (good && check->number <= 2 && !form->the_case->no_f32)
        good = check_single(arena, check, outs);
    if (good && !form->the_case->first_only) {
        good = check_order(arena, form, check, programs, LEVEL_SECOND, outs);
        if (good && check->number == 2) good = check_static(arena, check, LEVEL_SECOND, outs);
    }
    arena_release(arena, mark);
    return good;
}

/* --- sizes ------------------------------------------------------------------------------------ */
/* The k-th size that the facts of a symbol allow. */
static inline int64_t check_size(const DimRows *rows, uint32_t row, int64_t k) {
    int64_t size = rows->lo[row];
    while (size % rows->modulus[row] != rows->residue[row]) size++;
    size += k * rows->modulus[row];
    return size <= rows->hi[row] ? size : rows->hi[row];
}
/* The assignment of a number: all the smallest (0), all the next (1), two mixed ones, then each
 * symbol alone the smallest. False past the last. */
static inline bool check_assign(const Form *form, uint32_t number, Check *check, FormSize *sizes) {
    const DimRows *rows = &form->world->dims.rows;
    uint32_t       count = 0;
    for (uint32_t row = 1; row < rows->table.count; row++) {
        if (rows->kind[row] != DIM_SYMBOL) continue;
        int64_t odd = count % 2, k = number;
        if (number == 2) k = 2 + odd;
        if (number == 3) k = 4 - odd;
        if (number >= 4) k = number - 4 == count ? 0 : 2 + odd;
        ASSERT(count < FORM_SYMBOLS_MAX);
        StrId name = {(uint32_t)rows->imm[row]};
        sizes[count++] =
            (FormSize){strings_get(&form->world->strings, name), check_size(rows, row, k)};
    }
    check->number = number;
    check->sizes = sizes;
    check->sizes_count = count;
    if (count == 0) return number == 0;
    return number < (count == 1 ? 4 : 4 + count);
}
static inline void check_case(Arena *arena, const Case *c) {
    Form     form;
    Programs programs;
    FormSize sizes[FORM_SYMBOLS_MAX];
    Check    check = {.the_case = c};
    if (form_open(&form, arena, c, NULL, 0, false)) {
        if (check_compile_all(arena, &form, &programs))
            for (uint32_t number = 0; check_assign(&form, number, &check, sizes); number++)
                if (!check_at_sizes(arena, &form, &check, &programs)) break;
        check_drop_all(&programs);
    }
    form_close(&form);
}

/* --- declaring cases -------------------------------------------------------------------------- */
/* CASE(name, "arguments", "body", .field = ...) is a test of its own; with CASES_ONLY it is a row
 * of the list that the closure test reads. */
/* clang-format off */
#ifdef CASES_ONLY
typedef struct CaseRow {
    const Case     *the_case;
    struct CaseRow *next;
} CaseRow;
static CaseRow *case_rows;
#define CASE_USE(name_)                                                                            \
    static CaseRow case_row_##name_ = {&case_##name_, NULL};                                       \
    __attribute__((constructor)) static void case_list_##name_(void) {                             \
        case_row_##name_.next = case_rows;                                                         \
        case_rows = &case_row_##name_;                                                             \
    }
#else
#define CASE_USE(name_) TEST(name_) { check_case(arena, &case_##name_); }
/* The last test of a program of cases. */
#define CASES_END()                                                                                \
    TEST(largest_errors) {                                                                         \
        printf(": %.1e to differences", check_worst_difference);                                   \
        printf(", %.1e otherwise", check_worst_exact);                                             \
        EXPECT(check_worst_difference < 1e-9 && check_worst_exact < 1e-10);                        \
    }
#endif
#define CASE(name_, args_, ...)                                                                    \
    static const Case case_##name_ = {.name = #name_, .args = args_, .body = __VA_ARGS__};         \
    CASE_USE(name_)
/* clang-format on */

#endif
