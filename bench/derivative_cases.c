/* The networks of the cases and their residuals, which are read from text: derivatives that a
 * residual names are asked for together, output by output, before any of them is used. */
#include "bench/derivative_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MLP       DERIVATIVE_MLP
#define NORMED    DERIVATIVE_NORMED
#define PIRATE    DERIVATIVE_PIRATE
#define ORBITALS  DERIVATIVE_ORBITALS
#define OPERATOR  DERIVATIVE_OPERATOR
#define CASE(...) {__VA_ARGS__},
#define ORDER(k, of, width, layers)                                                                \
    {"21.order" #k "." #width "x" #layers,                                                         \
     "x",                                                                                          \
     16384,                                                                                        \
     0,                                                                                            \
     MLP,                                                                                          \
     width,                                                                                        \
     layers,                                                                                       \
     "u",                                                                                          \
     "tanh",                                                                                       \
     "",                                                                                           \
     "u[" of "];",                                                                                 \
     ""},
#define ORDERS(width, layers)                                                                      \
    ORDER(1, "x", width, layers)                                                                   \
    ORDER(2, "xx", width, layers)                                                                  \
    ORDER(3, "xxx", width, layers)                                                                 \
    ORDER(4, "xxxx", width, layers)                                                                \
    ORDER(5, "xxxxx", width, layers)                                                               \
    ORDER(6, "xxxxxx", width, layers)                                                              \
    ORDER(7, "xxxxxxx", width, layers)                                                             \
    ORDER(8, "xxxxxxxx", width, layers)                                                            \
    ORDER(9, "xxxxxxxxx", width, layers)
const DerivativeCase derivative_cases[] = {
#include "bench/derivative_cases.def"
    {NULL, NULL, 0, 0, MLP, 0, 0, NULL, NULL, NULL, NULL, NULL}};

/* --- numbers ---------------------------------------------------------------------------------- */
float derivative_number(uint32_t t, uint32_t i) {
    uint32_t x = i * 2654435761u + (t + 1) * 0x9e3779b9u;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    x ^= x >> 16;
    return (float)(x >> 8) * 0x1p-23F - 1;
}
uint32_t derivative_elements(const DerivativeTensor *tensor) {
    int64_t count = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) count *= tensor->sizes[i];
    return (uint32_t)count;
}
void derivative_numbers(const DerivativeStep *step, uint32_t t, void *out) {
    const DerivativeTensor *tensor = &step->tensors[t];
    uint32_t                count = derivative_elements(tensor);
    for (uint32_t i = 0; i < count; i++) {
        float number = derivative_number(t, i) * (float)tensor->scale;
        if (step->dtype == STOA_F64)
            ((double *)out)[i] = (double)number;
        else
            ((float *)out)[i] = number;
    }
}

/* --- networks --------------------------------------------------------------------------------- */
/* A tensor; sizes of 0 are no axes. */
static StoaValue tensor(DerivativeStep *s, bool trained, double scale, int64_t a, int64_t b,
                        int64_t c) {
    DerivativeTensor *t = &s->tensors[s->count];
    int64_t           sizes[] = {a, b, c};
    if (s->count < s->made) return s->tensors[s->count++].value;
    *t = (DerivativeTensor){.scale = scale, .trained = trained};
    while (t->rank < 3 && sizes[t->rank] != 0) t->rank++;
    memcpy(t->sizes, sizes, sizeof sizes);
    (void)snprintf(t->name, sizeof t->name, "t%u", s->count++);
    s->made = s->count;
    t->value = (trained ? stoa_parameter : stoa_state)(s->program, t->name, s->dtype, sizes,
                                                       t->rank, STOA_INIT_ZEROS, 0);
    return t->value;
}
static StoaValue weight(DerivativeStep *s, int64_t in, int64_t out) {
    return tensor(s, true, sqrt(6.0 / (double)(in + out)), out, in, 0);
}
static StoaValue layer(DerivativeStep *s, StoaValue x, int64_t in, int64_t out) {
    StoaProgram *p = s->program;
    StoaValue    w = weight(s, in, out);
    if (s->the_case->net == DERIVATIVE_NORMED) {
        int64_t   axis = 1, kept = 0;
        StoaDim   shape[] = {stoa_dim(p, out), stoa_dim(p, in)};
        StoaValue g = tensor(s, true, 1, out, 0, 0);
        StoaValue square = stoa_reduce(p, stoa_square(p, w), STOA_REDUCE_SUM, &axis, 1);
        StoaValue factor = stoa_mul(p, g, stoa_rsqrt(p, square));
        w = stoa_mul(p, w, stoa_broadcast_in_dim(p, factor, shape, 2, &kept, 1));
    }
    return stoa_linear(p, x, w, tensor(s, true, 0.1, out, 0, 0));
}
static StoaValue activate(DerivativeStep *s, StoaValue x) {
    const char *name = s->the_case->activation;
    if (strcmp(name, "sin") == 0) return stoa_sin(s->program, x);
    if (strcmp(name, "silu") == 0) return stoa_silu(s->program, x);
    return stoa_tanh(s->program, x);
}
static StoaValue hidden(DerivativeStep *s, StoaValue x, int64_t in, int64_t out) {
    return activate(s, layer(s, x, in, out));
}
static StoaValue mlp(DerivativeStep *s, StoaValue x, int64_t in, int64_t out) {
    for (uint32_t i = 0; i < s->the_case->layers; i++) {
        x = hidden(s, x, in, s->the_case->width);
        in = s->the_case->width;
    }
    return layer(s, x, in, out);
}
static StoaValue mix(StoaProgram *p, StoaValue f, StoaValue u, StoaValue v) { /* f u + (1-f) v */
    return stoa_add(p, v, stoa_mul(p, f, stoa_sub(p, u, v)));
}
static StoaValue spread(StoaProgram *p, StoaValue scalar, StoaValue like) {
    StoaDim  shape[STOA_RANK_MAX];
    uint32_t rank = stoa_value_rank(p, like);
    for (uint32_t i = 0; i < rank; i++) shape[i] = stoa_value_dim(p, like, i);
    return stoa_broadcast_in_dim(p, scalar, shape, rank, NULL, 0);
}
static StoaValue pirate(DerivativeStep *s, StoaValue x, int64_t in, int64_t out) {
    StoaProgram *p = s->program;
    int64_t      width = s->the_case->width, contract = 1;
    StoaValue    b = tensor(s, false, 2, width / 2, in, 0);
    StoaValue    waves = stoa_dot_general(p, x, b, NULL, 0, NULL, 0, &contract, 1, &contract, 1);
    StoaValue    both[] = {stoa_cos(p, waves), stoa_sin(p, waves)};
    x = stoa_concat(p, both, 2, 1);
    StoaValue u = hidden(s, x, width, width), v = hidden(s, x, width, width);
    for (uint32_t i = 0; i < s->the_case->layers; i++) {
        StoaValue h = mix(p, hidden(s, x, width, width), u, v);
        h = mix(p, hidden(s, h, width, width), u, v);
        h = hidden(s, h, width, width);
        x = mix(p, spread(p, tensor(s, true, 1, 0, 0, 0), x), h, x);
    }
    return layer(s, x, width, out);
}
/* Values at N points of as many functions as there are outputs, given by 100 numbers each. */
static StoaValue operator_net(DerivativeStep *s, StoaValue x, int64_t in, int64_t functions) {
    int64_t   width = s->the_case->width, contract = 1;
    StoaValue f = mlp(s, tensor(s, false, 1, functions, 100, 0), 100, width);
    StoaValue at = mlp(s, x, in, width);
    return stoa_dot_general(s->program, at, f, NULL, 0, NULL, 0, &contract, 1, &contract, 1);
}
/* log |sum of determinants| of orbitals of electrons in three coordinates. */
static StoaValue orbitals(DerivativeStep *s, StoaValue x, int64_t in) {
    enum { DETERMINANTS = 16 };
    StoaProgram *p = s->program;
    int64_t      electrons = in / 3, width = s->the_case->width, last = 2, middle = 1, keep[3];
    StoaDim      n = stoa_value_dim(p, x, 0), e = stoa_dim(p, electrons), m[4];
    m[0] = n, m[1] = e, m[2] = stoa_dim(p, 3);
    StoaValue h = stoa_reshape(p, x, m, 3), square = stoa_square(p, h), parts[2];
    StoaValue r = stoa_sqrt(p, stoa_reduce(p, square, STOA_REDUCE_SUM, &last, 1));
    m[2] = stoa_dim(p, 1);
    parts[0] = h, parts[1] = stoa_reshape(p, r, m, 3);
    h = stoa_concat(p, parts, 2, 2);
    for (uint32_t i = 0; i < s->the_case->layers; i++) {
        int64_t from = i == 0 ? 4 : width;
        m[2] = stoa_dim(p, from);
        keep[0] = 0, keep[1] = 2;
        StoaValue mean = stoa_mean(p, h, &middle, 1);
        parts[0] = h, parts[1] = stoa_broadcast_in_dim(p, mean, m, 3, keep, 2);
        StoaValue next = hidden(s, stoa_concat(p, parts, 2, 2), 2 * from, width);
        h = i == 0 ? next : stoa_add(p, h, next);
    }
    h = layer(s, h, width, DETERMINANTS * electrons);
    m[2] = stoa_dim(p, DETERMINANTS * electrons);
    keep[0] = 0, keep[1] = 1;
    StoaValue fall = stoa_exp(p, stoa_neg(p, r));
    h = stoa_mul(p, h, stoa_broadcast_in_dim(p, fall, m, 3, keep, 2));
    m[2] = stoa_dim(p, DETERMINANTS), m[3] = e;
    h = stoa_transpose(p, stoa_reshape(p, h, m, 4), (int64_t[]){0, 2, 1, 3}, 4);
    StoaValue sign = stoa_det_sign(p, h), size = stoa_log_abs_det(p, h);
    m[1] = m[2];
    StoaValue most = stoa_stop_gradient(p, stoa_reduce(p, size, STOA_REDUCE_MAX, &middle, 1));
    StoaValue against = stoa_broadcast_in_dim(p, most, m, 2, keep, 1);
    StoaValue terms = stoa_mul(p, sign, stoa_exp(p, stoa_sub(p, size, against)));
    StoaValue sum = stoa_reduce(p, terms, STOA_REDUCE_SUM, &middle, 1);
    StoaValue psi = stoa_add(p, most, stoa_log(p, stoa_abs(p, sum)));
    m[1] = stoa_dim(p, 1);
    return stoa_reshape(p, psi, m, 2);
}

static int64_t number_of(const char *list) { /* letters, or digits */
    return *list >= '0' && *list <= '9' ? atoi(list) : (int64_t)strlen(list);
}
static StoaValue column(StoaProgram *p, StoaValue v, int64_t i) {
    StoaDim rows = stoa_value_dim(p, v, 0);
    StoaDim start[] = {stoa_dim(p, 0), stoa_dim(p, i)}, limit[] = {rows, stoa_dim(p, i + 1)};
    return stoa_reshape(p, stoa_slice(p, v, start, 2, limit, 2, NULL, 0), &rows, 1);
}
static void evaluate(DerivativeStep *s, StoaValue x) {
    const DerivativeCase *c = s->the_case;
    int64_t               in = number_of(c->axes), out = number_of(c->outputs);
    StoaValue             u;
    s->x = x;
    if (c->net == DERIVATIVE_PIRATE)
        u = pirate(s, x, in, out);
    else if (c->net == DERIVATIVE_OPERATOR)
        u = operator_net(s, x, in, out);
    else if (c->net == DERIVATIVE_ORBITALS)
        u = orbitals(s, x, in);
    else
        u = mlp(s, x, in, out);
    bool whole = c->net == DERIVATIVE_OPERATOR;
    for (int64_t i = 0; i < (whole ? 1 : out); i++)
        s->outputs[i] = whole ? u : column(s->program, u, i);
}

/* --- residuals -------------------------------------------------------------------------------- */
enum { WORDS_MAX = 32, WORD_BYTES = 32 };
typedef struct Words {
    char      text[WORDS_MAX][WORD_BYTES];
    char      output[WORDS_MAX];
    StoaValue value[WORDS_MAX];
    uint32_t  count;
} Words;
static int place(const char *letters, char c) {
    const char *at = c != 0 ? strchr(letters, c) : NULL;
    return at != NULL ? (int)(at - letters) : -1;
}
/* The outputs are letters, or one value called u. */
static const char *letters_of(const DerivativeCase *c) {
    return c->net == DERIVATIVE_OPERATOR ? "u" : c->outputs;
}
/* The entry of output[word] at text, and where the text goes on. */
static uint32_t find_word(Words *words, const char *text, const char **out_end) {
    const char *end = strchr(text, ']');
    int         count = (int)(end - text - 2);
    uint32_t    i = 0;
    *out_end = end + 1;
    for (; i < words->count; i++)
        if (words->output[i] == *text && (int)strlen(words->text[i]) == count &&
            strncmp(words->text[i], text + 2, (size_t)count) == 0)
            return i;
    words->output[i] = *text;
    (void)snprintf(words->text[i], WORD_BYTES, "%.*s", count, text + 2);
    words->count++;
    return i;
}
static StoaValue slope_of(DerivativeStep *s, StoaValue u) {
    int64_t   rows = 0;
    StoaValue slope, sum = stoa_reduce(s->program, u, STOA_REDUCE_SUM, &rows, 1);
    stoa_gradients(s->program, sum, &s->x, 1, &slope);
    return slope;
}
static StoaValue slope_squared(DerivativeStep *s, StoaValue u) {
    int64_t axis = 1;
    return stoa_reduce(s->program, stoa_square(s->program, slope_of(s, u)), STOA_REDUCE_SUM, &axis,
                       1);
}
/* The Laplacian as products of the Hessian with each axis, as a batch: where rows are many already
 * before each has a stream for each coordinate. */
static StoaValue laplacian_by_batch(DerivativeStep *s, StoaValue u) {
    StoaProgram *p = s->program;
    StoaDim      rows = stoa_value_dim(p, s->x, 0), d = stoa_value_dim(p, s->x, 1);
    StoaDim      shape[] = {d, rows, d};
    int64_t      last = 1, first = 0;
    StoaValue    on = stoa_compare(p, stoa_iota(p, STOA_I32, shape, 3, 0),
                                   stoa_iota(p, STOA_I32, shape, 3, 2), STOA_COMPARE_EQ);
    StoaValue    axes = stoa_convert(p, on, s->dtype), axis = stoa_sample(p, axes, 0);
    StoaValue    slope = slope_of(s, u), all;
    StoaValue    bend = stoa_jvp(p, slope, &s->x, &axis, 1);
    bend = stoa_reduce(p, stoa_mul(p, bend, axis), STOA_REDUCE_SUM, &last, 1);
    stoa_vmap(p, &bend, 1, &axis, &axes, NULL, 1, NULL, &all);
    return stoa_reduce(p, all, STOA_REDUCE_SUM, &first, 1);
}
static void ask(DerivativeStep *s, Words *words, const char *text) {
    const DerivativeCase *c = s->the_case;
    const char           *letters = letters_of(c), *axes = *c->axes <= '9' ? NULL : c->axes;
    for (const char *at = text; (at = strchr(at, '[')) != NULL;)
        (void)find_word(words, at - 1, &at);
    for (uint32_t k = 0; letters[k] != 0; k++) {
        const char *of[WORDS_MAX];
        StoaValue   out[WORDS_MAX], u = s->outputs[k];
        uint32_t    from[WORDS_MAX], count = 0;
        for (uint32_t i = 0; i < words->count; i++) {
            if (words->output[i] != letters[k]) continue;
            if (strcmp(words->text[i], "slope2") == 0)
                words->value[i] = slope_squared(s, u);
            else if (c->net == DERIVATIVE_ORBITALS)
                words->value[i] = laplacian_by_batch(s, u);
            else if (strcmp(words->text[i], "estimate") == 0)
                words->value[i] = stoa_laplacian_estimate(s->program, u, s->x, s->directions, NULL);
            else
                from[count] = i, of[count++] = words->text[i];
        }
        if (count > 0) stoa_derivatives(s->program, u, s->x, axes, of, out, count);
        for (uint32_t i = 0; i < count; i++) words->value[from[i]] = out[i];
    }
}
/* A factor that is not a number. */
static StoaValue factor(DerivativeStep *s, Words *words, const char **at) {
    const DerivativeCase *c = s->the_case;
    StoaValue             like = s->outputs[0];
    const char           *text = *at;
    if (strncmp(text, "sin(", 4) == 0) {
        *at += 6;
        return stoa_sin(s->program, s->outputs[place(letters_of(c), text[4])]);
    }
    if (text[1] == '[') return words->value[find_word(words, text, at)];
    *at += 1;
    int output = place(letters_of(c), *text), i = place(c->coefficients, *text);
    if (output >= 0) return s->outputs[output];
    if (i >= 0) return spread(s->program, s->coefficients[i], like);
    return column(s->program, s->x, place(c->axes, *text));
}
static StoaValue term(DerivativeStep *s, Words *words, const char **at) {
    StoaProgram *p = s->program;
    StoaValue    product = {0};
    double       scale = **at == '-' ? -1 : 1;
    if (**at == '-' || **at == '+') *at += 1;
    for (;; *at += 1) {
        if (**at >= '0' && **at <= '9') {
            char *end;
            scale *= strtod(*at, &end);
            *at = end;
        } else {
            StoaValue next = factor(s, words, at);
            product = product.id == 0 ? next : stoa_mul(p, product, next);
        }
        if (**at != '*') break;
    }
    StoaValue number = stoa_fill_like(p, s->outputs[0], scale);
    return product.id == 0 ? number : scale == 1 ? product : stoa_mul(p, product, number);
}
/* The sum over residuals of their mean squares, added to loss. */
static StoaValue add_losses(DerivativeStep *s, const char *text, StoaValue loss) {
    StoaProgram *p = s->program;
    int64_t      axes[] = {0, 1};
    Words        words = {.count = 0};
    ask(s, &words, text);
    for (const char *at = text; *at != 0; at++) {
        StoaValue sum = {0};
        while (*at != ';') {
            StoaValue next = term(s, &words, &at);
            sum = sum.id == 0 ? next : stoa_add(p, sum, next);
        }
        StoaValue mean = stoa_mean(p, stoa_square(p, sum), axes, stoa_value_rank(p, sum));
        loss = loss.id == 0 ? mean : stoa_add(p, loss, mean);
    }
    return loss;
}

void derivative_step_build(DerivativeStep *s) {
    enum { DIRECTIONS = 16 };
    const DerivativeCase *c = s->the_case;
    StoaProgram          *p = s->program;
    int64_t               in = number_of(c->axes);
    StoaValue             gradients[DERIVATIVE_TENSORS_MAX], weights[DERIVATIVE_TENSORS_MAX];
    uint32_t              count = 0;
    s->count = s->made = 0;
    stoa_graph_begin(p, "step");
    StoaValue x = tensor(s, false, 1, s->points, in, 0), border = {0};
    if (c->border != 0) border = tensor(s, false, 1, c->border, in, 0);
    if (strstr(c->inside, "estimate") != NULL)
        s->directions = tensor(s, false, sqrt(3), DIRECTIONS, s->points, in);
    for (uint32_t i = 0; c->coefficients[i] != 0; i++)
        s->coefficients[i] = tensor(s, true, 1, 0, 0, 0);
    uint32_t before = s->count;
    evaluate(s, x);
    StoaValue loss = add_losses(s, c->inside, (StoaValue){0});
    if (c->border != 0) {
        s->count = before; /* the same tensors again */
        evaluate(s, border);
        loss = add_losses(s, c->around, loss);
    }
    for (uint32_t i = 0; i < s->count; i++)
        if (s->tensors[i].trained) weights[count++] = s->tensors[i].value;
    stoa_gradients(p, loss, weights, count, gradients);
    stoa_output(p, "loss", loss);
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "g%u", i);
        stoa_output(p, name, gradients[i]);
    }
    stoa_graph_end(p);
}
