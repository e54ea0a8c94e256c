/* A case of the gradient tests, and its programs as text.
 *
 * A case is the arguments and the body of a graph in the text form, with upper-case symbols as
 * sizes. A form is a case with symbols, or with constants in their place, or in f32. From a form
 * come four programs that take the same inputs: the arguments, then for every result z that is a
 * float a weight w, and for every differentiated x a tangent t and a weight u:
 *   VALUE         s = sum of w z over all results
 *   GRADIENT      s, the gradient g of s in each x, and the jvp of s along t
 *   SECOND_VALUE  r = sum of u g
 *   SECOND        r, the gradient of r in each x, and the jvp of r along t
 * Names that the programs add begin with "q.". */
#ifndef STOA_TESTS_GRADIENT_FORM_H
#define STOA_TESTS_GRADIENT_FORM_H

#include <stdio.h>

#include "harness.h"
#include "text/messages.h"
#include "text/parse.h"

typedef struct Case {
    const char *name;
    const char *args, *body;
    const char *outs;       /* names of the results; NULL: "z" */
    const char *wrt;        /* what to differentiate; NULL: every float argument */
    const char *domain;     /* see inputs.h; NULL: numbers away from 0 in (-2, 2) */
    const char *dims;       /* facts of the symbols */
    double      tolerance;  /* of finite differences; 0: 1e-9 */
    double      step;       /* of finite differences; 0: 2^-9 */
    bool        first_only; /* the second derivative is tested elsewhere or does not exist */
    bool        no_f32;     /* the text means f64 */
} Case;

enum { FORM_ARGS_MAX = 8, FORM_OUTS_MAX = 8, FORM_SYMBOLS_MAX = 8 };
enum { FORM_INPUTS_MAX = 3 * FORM_ARGS_MAX + FORM_OUTS_MAX };

typedef struct FormSize {
    String  symbol;
    int64_t size;
} FormSize;
typedef struct Form {
    const Case *the_case;
    Arena      *arena;
    String      dims, args, body;
    World      *world; /* the graph as it stands, for its types */
    uint32_t    args_count, outs_count;
    String      names[FORM_ARGS_MAX], types[FORM_ARGS_MAX];
    bool        wrt[FORM_ARGS_MAX];
    String      out_names[FORM_OUTS_MAX], out_types[FORM_OUTS_MAX];
    uint32_t    out_ranks[FORM_OUTS_MAX];
    Dtype       out_dtypes[FORM_OUTS_MAX];
} Form;

typedef enum Level { LEVEL_VALUE, LEVEL_GRADIENT, LEVEL_SECOND_VALUE, LEVEL_SECOND } Level;

/* --- words ------------------------------------------------------------------------------------ */
/* The next blank-separated word; empty at the end. */
static inline String form_word(const char **at) {
    while (**at == ' ') (*at)++;
    const char *first = *at;
    while (**at != 0 && **at != ' ') (*at)++;
    return (String){first, (size_t)(*at - first)};
}
static inline bool form_listed(const char *words, String word) {
    for (String next = form_word(&words); next.count != 0; next = form_word(&words))
        if (str_same(next, word)) return true;
    return false;
}
static inline bool form_is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '%';
}
/* text with the sizes in the place of their symbols, and f32 for f64 when single. */
static inline String form_put_sizes(Arena *out, const char *text, const FormSize *sizes,
                                    uint32_t count, bool single) {
    Text made = text_begin(out);
    while (*text != 0) {
        const char *first = text;
        while (form_is_name(*text)) text++;
        if (text == first) text++;
        String word = {first, (size_t)(text - first)};
        bool   found = single && str_same(word, STR("f64"));
        if (found) text_add(&made, STR("f32"));
        for (uint32_t i = 0; i < count && !found; i++) {
            found = str_same(word, sizes[i].symbol);
            if (found) text_addf(&made, "%lld", (long long)sizes[i].size);
        }
        if (!found) text_add(&made, word);
    }
    return text_done(&made);
}

/* --- the graph as it stands ------------------------------------------------------------------- */
static inline bool form_parse(Arena *arena, World *world, String source) {
    if (text_parse(world, source, STR("case"))) return true;
    String told = text_diags_in(arena, world, &world->diags, source);
    printf("\n%.*s\n%.*s", STR_ARGS(source), STR_ARGS(told));
    return EXPECT(false);
}
static inline void form_add_arg(Form *form, ValueId value) {
    const Case  *c = form->the_case;
    World       *world = form->world;
    TypeId       type = value_type(world, value);
    uint32_t     i = form->args_count++;
    const StrId *names = world->code.values.name;
    ASSERT(i < FORM_ARGS_MAX);
    form->names[i] = strings_get(&world->strings, names[value.row]);
    form->types[i] = text_type(form->arena, world, type);
    form->wrt[i] = c->wrt != NULL ? form_listed(c->wrt, form->names[i])
                                  : dtype_is_float(type_dtype(&world->types, type));
}
static inline void form_add_out(Form *form, ValueId value, String name) {
    World   *world = form->world;
    TypeId   type = value_type(world, value);
    uint32_t i = form->outs_count;
    if (!dtype_is_float(type_dtype(&world->types, type))) return;
    ASSERT(i < FORM_OUTS_MAX);
    form->out_names[i] = name;
    form->out_types[i] = text_type(form->arena, world, type);
    form->out_ranks[i] = type_rank(&world->types, type);
    form->out_dtypes[i] = type_dtype(&world->types, type);
    form->outs_count++;
}
/* sizes: NULL keeps the symbols. False when the text is wrong; form_close is needed anyway. */
static inline bool form_open(Form *form, Arena *arena, const Case *c, const FormSize *sizes,
                             uint32_t count, bool single) {
    *form = (Form){.the_case = c, .arena = arena, .world = world_open(0, 1 << 12)};
    form->dims = str_of(sizes == NULL && c->dims != NULL ? c->dims : "");
    form->args = form_put_sizes(arena, c->args, sizes, count, single);
    form->body = form_put_sizes(arena, c->body, sizes, count, single);
    const char *outs = c->outs != NULL ? c->outs : "z";
    Text        text = text_begin(arena);
    text_addf(&text, "%.*s\ngraph f(%.*s) {\n  %.*s\n  return ", STR_ARGS(form->dims),
              STR_ARGS(form->args), STR_ARGS(form->body));
    const char *at = outs;
    uint32_t    n = 0;
    for (String word = form_word(&at); word.count != 0; word = form_word(&at))
        text_addf(&text, "%s%%%.*s", n++ == 0 ? "" : ", ", STR_ARGS(word));
    text_add(&text, STR("\n}\n"));
    if (!form_parse(arena, form->world, text_done(&text))) return false;
    const Code *code = &form->world->code;
    BlockId     block = code->graphs.block[1];
    for (uint32_t i = 0; i < code->blocks.args_count[block.row]; i++)
        form_add_arg(form, (ValueId){code->blocks.args_first[block.row].row + i});
    at = outs;
    for (uint32_t i = 0; i < n; i++)
        form_add_out(form, op_operand(code, block_return(code, block), i), form_word(&at));
    return true;
}
static inline void form_close(Form *form) { world_close(form->world); }

/* --- programs --------------------------------------------------------------------------------- */
static inline void form_axes(Text *text, uint32_t rank) {
    for (uint32_t i = 0; i < rank; i++) text_addf(text, i == 0 ? "%u" : ",%u", i);
}
/* %to = the sum of %x %y over all axes, added to %sum (NULL: there is none yet). */
static inline void form_add_dot(Text *text, const char *to, const char *sum, String x, String y,
                                uint32_t rank) {
    text_addf(text, "  %%%s.p = mul %%%.*s, %%%.*s\n", to, STR_ARGS(x), STR_ARGS(y));
    text_addf(text, "  %%%s%s = reduce %%%s.p {kind=sum, axes=[", to, sum ? ".s" : "", to);
    form_axes(text, rank);
    text_add(text, STR("]}\n"));
    if (sum) text_addf(text, "  %%%s = add %%%s, %%%s.s\n", to, sum, to);
}
static inline void form_add_args(Text *text, const Form *form) {
    for (uint32_t i = 0; i < form->outs_count; i++) {
        String type = form->out_types[i];
        size_t dtype = 0; /* weights are f64, whatever the result is */
        while (dtype < type.count && type.data[dtype] != '[') dtype++;
        text_addf(text, ", %%q.w%u: f64%.*s", i, (int)(type.count - dtype), type.data + dtype);
    }
    for (uint32_t i = 0; i < form->args_count; i++)
        if (form->wrt[i])
            text_addf(text, ", %%q.t.%.*s: %.*s, %%q.u.%.*s: %.*s", STR_ARGS(form->names[i]),
                      STR_ARGS(form->types[i]), STR_ARGS(form->names[i]), STR_ARGS(form->types[i]));
}
static inline uint32_t form_rank(const Form *form, uint32_t arg) {
    const Code *code = &form->world->code;
    ValueId     value = {code->blocks.args_first[code->graphs.block[1].row].row + arg};
    return type_rank(&form->world->types, value_type(form->world, value));
}
/* The list "%PREFIXname, ..." over the differentiated arguments. */
static inline void form_add_list(Text *text, const Form *form, const char *prefix) {
    for (uint32_t i = 0, n = 0; i < form->args_count; i++)
        if (form->wrt[i])
            text_addf(text, "%s%%%s%.*s", n++ == 0 ? "" : ", ", prefix, STR_ARGS(form->names[i]));
}
static inline void form_add_derivatives(Text *text, const Form *form, const char *of,
                                        const char *gradients, const char *tangent) {
    text_add(text, STR("  "));
    form_add_list(text, form, gradients);
    text_addf(text, " = gradient %%%s, ", of);
    form_add_list(text, form, "");
    text_addf(text, "\n  %%%s = jvp %%%s, ", tangent, of);
    form_add_list(text, form, "");
    text_add(text, STR(", "));
    form_add_list(text, form, "q.t.");
    text_add(text, STR("\n"));
}
/* s = sum of w z */
static inline void form_add_value(Text *text, const Form *form) {
    for (uint32_t i = 0; i < form->outs_count; i++) {
        String name = form->out_names[i];
        if (form->out_dtypes[i] != DTYPE_F64) {
            text_addf(text, "  %%q.z%u = convert %%%.*s {dtype=f64}\n", i, STR_ARGS(name));
            name = str_format(form->arena, "q.z%u", i);
        }
        const char *sum = i == 0 ? NULL : str_format(form->arena, "q.s%u", i - 1).data;
        const char *to = str_format(form->arena, "q.s%u", i).data;
        form_add_dot(text, to, sum, name, str_format(form->arena, "q.w%u", i), form->out_ranks[i]);
    }
}
/* r = sum of u g, which has the dtype of the arguments */
static inline void form_add_second(Text *text, const Form *form) {
    const char *sum = NULL;
    for (uint32_t i = 0; i < form->args_count; i++) {
        if (!form->wrt[i]) continue;
        const char *to = str_format(form->arena, "q.r%u", i).data;
        form_add_dot(text, to, sum, str_format(form->arena, "q.g.%.*s", STR_ARGS(form->names[i])),
                     str_format(form->arena, "q.u.%.*s", STR_ARGS(form->names[i])),
                     form_rank(form, i));
        sum = to;
    }
    text_addf(text, "  %%q.r = copy %%%s\n", sum);
}
static inline String form_program(Arena *out, const Form *form, Level level) {
    Scratch scratch = scratch_begin(&out, 1); /* a text grows in place, others push to out */
    Text    text = text_begin(scratch.arena);
    text_addf(&text, "%.*s\ngraph f(%.*s", STR_ARGS(form->dims), STR_ARGS(form->args));
    form_add_args(&text, form);
    text_addf(&text, ") {\n  %.*s\n", STR_ARGS(form->body));
    form_add_value(&text, form);
    text_addf(&text, "  %%q.s = copy %%q.s%u\n", form->outs_count - 1);
    if (level >= LEVEL_GRADIENT) form_add_derivatives(&text, form, "q.s", "q.g.", "q.ds");
    if (level >= LEVEL_SECOND_VALUE) form_add_second(&text, form);
    if (level >= LEVEL_SECOND) form_add_derivatives(&text, form, "q.r", "q.h.", "q.dr");
    text_addf(&text, "  return %%q.%s", level < LEVEL_SECOND_VALUE ? "s" : "r");
    if (level == LEVEL_GRADIENT || level == LEVEL_SECOND) {
        text_add(&text, STR(", "));
        form_add_list(&text, form, level == LEVEL_GRADIENT ? "q.g." : "q.h.");
        text_addf(&text, ", %%q.d%s", level == LEVEL_GRADIENT ? "s" : "r");
    }
    text_add(&text, STR("\n}\n"));
    String program = str_copy(out, text_done(&text));
    scratch_end(scratch);
    return program;
}

#endif
