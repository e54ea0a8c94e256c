/* Taylor mode against forward mode repeated, of one case (form.h) at every assignment of sizes: to
 * order four along a direction, and along two at once with the top order summed. That covers
 * rules, operators that go along the curve, collapsed streams, and all of them through blocks. */
#ifndef STOA_TESTS_GRADIENT_TAYLOR_CHECK_H
#define STOA_TESTS_GRADIENT_TAYLOR_CHECK_H

#include "check.h"

enum { TAYLOR_ORDER = 4 };

static inline void taylor_add_nest(Text *text, const Form *form, const char *along,
                                   const char *prefix) {
    for (int k = 1; k <= TAYLOR_ORDER; k++) {
        text_addf(text, "  %%q.%s%d = jvp %%q.", prefix, k);
        if (k == 1)
            text_add(text, STR("s"));
        else
            text_addf(text, "%s%d", prefix, k - 1);
        text_add(text, STR(", "));
        form_add_list(text, form, "");
        text_add(text, STR(", "));
        form_add_list(text, form, along);
        text_add(text, STR("\n"));
    }
}
/* Both directions of each argument in one tensor. */
static inline void taylor_add_directions(Text *text, const Form *form) {
    for (uint32_t i = 0; i < form->args_count; i++) {
        String      name = form->names[i], type = form->types[i];
        const char *open = memchr(type.data, '[', type.count);
        if (!form->wrt[i]) continue;
        for (int k = 0; k < 2; k++) {
            text_addf(text, "  %%q.%d.%.*s = reshape %%q.%c.%.*s {shape=[1", k, STR_ARGS(name),
                      k == 0 ? 't' : 'u', STR_ARGS(name));
            if (open != NULL)
                text_addf(text, ",%.*s", (int)(type.data + type.count - open - 2), open + 1);
            text_add(text, STR("]}\n"));
        }
        text_addf(text, "  %%q.v.%.*s = concat %%q.0.%.*s, %%q.1.%.*s {axis=0}\n", STR_ARGS(name),
                  STR_ARGS(name), STR_ARGS(name));
    }
}
static inline void taylor_add_names(Text *text, const char *prefix) {
    for (int k = 1; k <= TAYLOR_ORDER; k++)
        text_addf(text, "%s%%q.%s%d", k > 1 ? ", " : "", prefix, k);
}
static inline String taylor_program(Arena *out, const Form *form) {
    Scratch scratch = scratch_begin(&out, 1);
    Text    text = text_begin(scratch.arena);
    text_addf(&text, "%.*s\ngraph f(%.*s", STR_ARGS(form->dims), STR_ARGS(form->args));
    form_add_args(&text, form);
    text_addf(&text, ") {\n  %.*s\n", STR_ARGS(form->body));
    form_add_value(&text, form);
    text_addf(&text, "  %%q.s = copy %%q.s%u\n", form->outs_count - 1);
    taylor_add_nest(&text, form, "q.t.", "d");
    taylor_add_nest(&text, form, "q.u.", "e");
    taylor_add_directions(&text, form);
    for (int several = 0; several < 2; several++) {
        const char *prefix = several ? "b" : "c";
        taylor_add_names(&text, prefix);
        text_add(&text, STR(" = taylor %q.s, "));
        form_add_list(&text, form, "");
        text_add(&text, STR(", "));
        form_add_list(&text, form, several ? "q.v." : "q.t.");
        text_add(&text, several ? STR(" {sum=true}\n") : STR("\n"));
    }
    for (uint32_t i = 0; i < 4; i++) {
        static const char *const prefixes[] = {"d", "e", "c", "b"};
        text_add(&text, i == 0 ? STR("  return ") : STR(", "));
        taylor_add_names(&text, prefixes[i]);
    }
    text_add(&text, STR(", %q.s\n}\n"));
    String program = str_copy(out, text_done(&text));
    scratch_end(scratch);
    return program;
}

static double      taylor_worst;
static inline bool taylor_near(const Check *check, const char *what, double got, double wanted) {
    double error = fabs(got - wanted) / fmax(1, fabs(wanted));
    if (got == wanted || (!isfinite(got) && !isfinite(wanted))) return true;
    if (error > taylor_worst) taylor_worst = error;
    if (EXPECT(error <= 1e-9)) return true;
    check_print_sizes(check);
    printf(": %s is %.15g, expected %.15g", what, got, wanted);
    return false;
}
static inline bool taylor_compare(const Check *check, const Tensor *outs) {
    static const double factorial[] = {1, 2, 6, 24};
    const Tensor       *d = outs, *e = d + TAYLOR_ORDER, *c = e + TAYLOR_ORDER;
    const Tensor       *b = c + TAYLOR_ORDER;
    bool                good = true;
    if (!isfinite(inputs_get(&outs[4 * TAYLOR_ORDER], 0)))
        return true; /* the logarithm of an empty sum */
    for (int k = 0; k < TAYLOR_ORDER && good; k++) {
        double along = inputs_get(&d[k], 0) / factorial[k];
        double across = inputs_get(&e[k], 0) / factorial[k];
        good = taylor_near(check, "a coefficient", inputs_get(&c[k], 0), along);
        if (good && k + 1 < TAYLOR_ORDER)
            good = taylor_near(check, "that of the first direction", inputs_get(&b[k], 0), along) &&
                   taylor_near(check, "that of the second direction", inputs_get(&b[k], 1), across);
        else if (good)
            good = taylor_near(check, "the sum of both", inputs_get(&b[k], 0), along + across);
    }
    return good;
}

static inline void taylor_check_case(Arena *arena, const Case *c) {
    Form     form;
    FormSize sizes[FORM_SYMBOLS_MAX];
    Check    check = {.the_case = c};
    if (form_open(&form, arena, c, NULL, 0, false)) {
        Program program =
            check_compile_text(arena, c->name, taylor_program(arena, &form), EXPAND_STACKED);
        for (uint32_t number = 0; check_assign(&form, number, &check, sizes) && program.good;
             number++) {
            ArenaMark mark = arena_mark(arena);
            Tensor    outs[FORM_INPUTS_MAX];
            check_feed(arena, &form, &check);
            bool good = check_run(arena, &program, &check, outs) && taylor_compare(&check, outs);
            arena_release(arena, mark);
            if (!good) break;
        }
        check_drop(&program);
    }
    form_close(&form);
}

#endif
