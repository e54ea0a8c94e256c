/* vmap against a loop over samples, in float64: on every case of the gradient tests, so on every
 * operator that has a derivative, with operands batched along any axis or shared; gradients on
 * batches; and gradients of batches, which are those of each sample, added up where it is shared.
 *
 * Placeholders of samples get numbers that no sample has, and no row may be left that uses them. */
#define CASES_ONLY
#include "cases_batch.h"
#include "cases_composites.h"
#include "cases_contract.h"
#include "cases_control.h"
#include "cases_elementwise.h"
#include "cases_structure.h"
#include "systems/batch.h"

typedef enum Use { UNLISTED, SHARED, BATCHED } Use; /* of an argument in vmap */
enum { SAMPLES_MAX = 3, SALT_PLACEHOLDER = 90, SALT_SHARED = 91, OUTS_MAX = 24 };
typedef enum What { VALUES, GRADIENTS, GRADIENT_OF_BATCH } What;

typedef struct Choice {
    Form       *form;
    What        what;
    uint32_t    number;  /* of the choice of uses */
    const char *samples; /* a symbol or a number */
    Use         uses[FORM_ARGS_MAX];
    uint32_t    outs_count;
    String      outs[OUTS_MAX];
} Choice;

/* --- what is batched -------------------------------------------------------------------------- */
/* All; each alone; all but one that is shared, the first or the last. False past the last. */
static bool choose_uses(Choice *p, uint32_t number) {
    uint32_t n = p->form->args_count;
    p->number = number;
    if (number > (n < 2 ? 0 : n + 2)) return false;
    for (uint32_t i = 0; i < n; i++) {
        if (number == 0)
            p->uses[i] = BATCHED;
        else if (number <= n)
            p->uses[i] = i == number - 1 ? BATCHED : UNLISTED;
        else
            p->uses[i] = i == (number == n + 1 ? 0 : n - 1) ? SHARED : BATCHED;
    }
    return true;
}
/* Where samples stand in a value of a rank: any axis, by what it is for. */
static uint32_t axis_of(const Choice *p, uint32_t salt, uint32_t rank) {
    uint64_t seed = hash_mix(inputs_seed(p->form->the_case, STR("axis")), p->number);
    return (uint32_t)(hash_mix(seed, salt) % (rank + 1));
}
static uint32_t arg_rank(const Choice *p, uint32_t i) { return form_rank(p->form, i); }

/* Results are values of the case, or a sum, gradients shaped like arguments, and a jvp. */
static uint32_t out_rank(const Choice *p, uint32_t k) {
    const Code *code = &p->form->world->code;
    OpId        end = block_return(code, code->graphs.block[1]);
    if (p->what != GRADIENTS)
        return type_rank(&p->form->world->types,
                         value_type(p->form->world, op_operand(code, end, k)));
    for (uint32_t i = 0, n = 1; i < p->form->args_count; i++)
        if (p->form->wrt[i] && n++ == k) return arg_rank(p, i);
    return 0;
}
static uint32_t out_axis(const Choice *p, uint32_t k) { return axis_of(p, 50 + k, out_rank(p, k)); }
/* The result that is float result i of the form. */
static uint32_t find_out(const Choice *p, uint32_t i) {
    uint32_t k = 0;
    while (!str_same(p->outs[k], p->form->out_names[i])) k++;
    return k;
}

/* --- programs --------------------------------------------------------------------------------- */
/* A type as text with an axis put in. */
static void add_type(Text *text, String type, uint32_t rank, uint32_t axis, const char *size) {
    const char *open = memchr(type.data, '[', type.count);
    size_t      dtype = open != NULL ? (size_t)(open - type.data) : type.count;
    text_addf(text, "%.*s[", (int)dtype, type.data);
    const char *at = open != NULL ? open + 1 : "", *end = type.data + type.count;
    for (uint32_t i = 0; i <= rank; i++) {
        if (i == axis) {
            text_addf(text, "%s%s", i ? "," : "", size);
            continue;
        }
        const char *first = at;
        for (int depth = 0; at < end && (depth != 0 || (*at != ',' && *at != ']')); at++)
            depth += (*at == '(') - (*at == ')');
        text_addf(text, "%s%.*s", i ? "," : "", (int)(at - first), first);
        at++;
    }
    text_add(text, STR("]"));
}
static void list_outs(Choice *p) {
    const Form *form = p->form;
    const char *at = form->the_case->outs != NULL ? form->the_case->outs : "z";
    p->outs_count = 0;
    if (p->what == GRADIENTS) {
        p->outs[p->outs_count++] = STR("q.s");
        for (uint32_t i = 0; i < form->args_count; i++)
            if (form->wrt[i])
                p->outs[p->outs_count++] =
                    str_format(form->arena, "q.g.%.*s", STR_ARGS(form->names[i]));
        p->outs[p->outs_count++] = STR("q.ds");
        return;
    }
    for (String word = form_word(&at); word.count != 0; word = form_word(&at))
        p->outs[p->outs_count++] = word;
}
static void add_outs(Text *text, const Choice *p, const char *prefix) {
    for (uint32_t i = 0; i < p->outs_count; i++)
        text_addf(text, "%s%%%s%.*s", i ? ", " : "", prefix, STR_ARGS(p->outs[i]));
}
static void add_body(Text *text, const Choice *p) {
    text_addf(text, "  %.*s\n", STR_ARGS(p->form->body));
    if (p->what != GRADIENTS) return;
    form_add_value(text, p->form);
    text_addf(text, "  %%q.s = copy %%q.s%u\n", p->form->outs_count - 1);
    form_add_derivatives(text, p->form, "q.s", "q.g.", "q.ds");
}
static void add_head(Text *text, const Choice *p) {
    text_addf(text, "%.*s\ngraph f(%.*s", STR_ARGS(p->form->dims), STR_ARGS(p->form->args));
    form_add_args(text, p->form);
}
static String sample_program(Arena *out, const Choice *p) {
    Scratch scratch = scratch_begin(&out, 1);
    Text    text = text_begin(scratch.arena);
    add_head(&text, p);
    text_add(&text, STR(") {\n"));
    add_body(&text, p);
    text_add(&text, STR("  return "));
    add_outs(&text, p, "");
    text_add(&text, STR("\n}\n"));
    String program = str_copy(out, text_done(&text));
    scratch_end(scratch);
    return program;
}
static void add_axes(Text *text, const Choice *p) {
    bool any = false;
    text_add(text, STR(" {axes=["));
    for (uint32_t i = 0; i < p->form->args_count; i++) {
        if (p->uses[i] == UNLISTED) continue;
        int axis = p->uses[i] == SHARED ? -1 : (int)axis_of(p, i, arg_rank(p, i));
        text_addf(text, "%s%d", any ? "," : "", axis);
        any = true;
    }
    text_add(text, STR("], out_axes=["));
    for (uint32_t i = 0; i < p->outs_count; i++)
        text_addf(text, "%s%u", i ? "," : "", out_axis(p, i));
    text_add(text, STR("]}\n"));
}
static void add_listed(Text *text, const Choice *p, const char *prefix) {
    for (uint32_t i = 0; i < p->form->args_count; i++)
        if (p->uses[i] != UNLISTED)
            text_addf(text, ", %%%s%.*s", prefix, STR_ARGS(p->form->names[i]));
}
/* The gradient of the sum of weights times results in every batch, and in what is shared. */
static void add_gradient(Text *text, const Choice *p) {
    const Form *form = p->form;
    for (uint32_t i = 0; i < form->outs_count; i++) { /* floats come first where it matters */
        uint32_t k = find_out(p, i);
        String   name = str_format(form->arena, "q.y.%.*s", STR_ARGS(form->out_names[i]));
        if (form->out_dtypes[i] != DTYPE_F64) {
            text_addf(text, "  %%q.zz%u = convert %%%.*s {dtype=f64}\n", i, STR_ARGS(name));
            name = str_format(form->arena, "q.zz%u", i);
        }
        const char *sum = i == 0 ? NULL : str_format(form->arena, "q.ss%u", i - 1).data;
        form_add_dot(text, str_format(form->arena, "q.ss%u", i).data, sum, name,
                     str_format(form->arena, "q.bw%u", i), out_rank(p, k) + 1);
    }
    text_add(text, STR("  "));
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0, n = 0; i < form->args_count; i++) {
            if (!form->wrt[i]) continue;
            const char *prefix = pass == 0 ? "q.gb." : p->uses[i] == UNLISTED ? "" : "q.b.";
            text_addf(text, "%s%%%s%.*s", n++ || pass ? ", " : "", prefix,
                      STR_ARGS(form->names[i]));
        }
        if (pass == 0) text_addf(text, " = gradient %%q.ss%u", form->outs_count - 1);
    }
    text_add(text, STR("\n  return "));
    form_add_list(text, form, "q.gb.");
}
static String batch_program(Arena *out, const Choice *p) {
    const Form *form = p->form;
    Scratch     scratch = scratch_begin(&out, 1);
    Text        text = text_begin(scratch.arena);
    add_head(&text, p);
    for (uint32_t i = 0; i < form->args_count; i++) {
        if (p->uses[i] == UNLISTED) continue;
        text_addf(&text, ", %%q.b.%.*s: ", STR_ARGS(form->names[i]));
        if (p->uses[i] == SHARED)
            text_add(&text, form->types[i]);
        else
            add_type(&text, form->types[i], arg_rank(p, i), axis_of(p, i, arg_rank(p, i)),
                     p->samples);
    }
    for (uint32_t i = 0; p->what == GRADIENT_OF_BATCH && i < form->outs_count; i++) {
        uint32_t k = find_out(p, i);
        String   type = form->out_types[i];
        size_t   dtype = 0; /* weights are f64 */
        while (dtype < type.count && type.data[dtype] != '[') dtype++;
        type = str_format(out, "f64%.*s", (int)(type.count - dtype), type.data + dtype);
        text_addf(&text, ", %%q.bw%u: ", i);
        add_type(&text, type, out_rank(p, k), out_axis(p, k), p->samples);
    }
    text_add(&text, STR(") {\n"));
    add_body(&text, p);
    text_add(&text, STR("  "));
    add_outs(&text, p, "q.y.");
    text_add(&text, STR(" = vmap "));
    add_outs(&text, p, "");
    add_listed(&text, p, "");
    add_listed(&text, p, "q.b.");
    add_axes(&text, p);
    if (p->what == GRADIENT_OF_BATCH) {
        add_gradient(&text, p);
    } else {
        text_add(&text, STR("  return "));
        add_outs(&text, p, "q.y.");
    }
    text_add(&text, STR("\n}\n"));
    String program = str_copy(out, text_done(&text));
    scratch_end(scratch);
    return program;
}

/* --- numbers ---------------------------------------------------------------------------------- */
typedef struct Feed { /* inputs by salt: those of samples, then placeholders and shared ones */
    Tensor   salted[SAMPLES_MAX + 2][FORM_INPUTS_MAX];
    uint32_t count;
} Feed;
static Tensor *input_of(Feed *f, uint32_t salt, uint32_t i) {
    return &f->salted[salt == SALT_PLACEHOLDER ? SAMPLES_MAX
                      : salt == SALT_SHARED    ? SAMPLES_MAX + 1
                                               : salt][i];
}
static void feed_open(Arena *arena, const Choice *p, const Check *check, Feed *f) {
    static const uint32_t salts[] = {0, 1, 2, SALT_PLACEHOLDER, SALT_SHARED};
    for (uint32_t i = 0; i < LENGTH(salts); i++) {
        Form form = *p->form;
        Case salted = *form.the_case;
        salted.name = str_format(arena, "%s#%u", salted.name, salts[i]).data;
        form.the_case = &salted;
        f->count =
            inputs_make(arena, &form, check->sizes, check->sizes_count, input_of(f, salts[i], 0));
    }
}
/* Samples put together along an axis; count may be 0. */
static Tensor stacked(Arena *arena, const Tensor *const *samples, uint32_t count,
                      const Tensor *like, uint32_t axis) {
    Tensor  made = {.dtype = like->dtype, .rank = like->rank + 1};
    int64_t inner = (int64_t)dtype_bytes(like->dtype), outer = 1;
    for (uint32_t i = 0; i < made.rank; i++)
        made.shape[i] = i == axis ? count : like->shape[i - (i > axis)];
    for (uint32_t i = 0; i < like->rank; i++)
        if (i < axis)
            outer *= like->shape[i];
        else
            inner *= like->shape[i];
    made.data = arena_push(arena, tensor_bytes(&made) + 1, 16);
    for (int64_t o = 0; o < outer; o++)
        for (uint32_t j = 0; j < count; j++)
            memcpy((char *)made.data + (o * count + j) * inner,
                   (const char *)samples[j]->data + o * inner, (size_t)inner);
    return made;
}
static Tensor stacked_inputs(Arena *arena, Feed *f, uint32_t i, uint32_t count, uint32_t axis) {
    const Tensor *samples[SAMPLES_MAX];
    for (uint32_t j = 0; j < SAMPLES_MAX; j++) samples[j] = input_of(f, j, i);
    return stacked(arena, samples, count, samples[0], axis);
}
static bool run(Arena *arena, const Program *program, const Tensor *inputs, uint32_t count,
                Tensor *outs, const char *name) {
    Diags *diags = &program->world->diags;
    if (program->good && interp_run(arena, program->world, (GraphId){1}, inputs, count, NULL, 0,
                                    outs, diags) == STATUS_OK)
        return true;
    check_told(arena, name, program->world, (String){"", 0});
    return EXPECT(false);
}
static double part_at(const Tensor *x, int64_t i) { /* complex numbers are two */
    if (x->dtype == DTYPE_F64 || x->dtype == DTYPE_C128) return ((const double *)x->data)[i];
    if (x->dtype == DTYPE_F32 || x->dtype == DTYPE_C64) return (double)((const float *)x->data)[i];
    int64_t  number = 0;
    uint32_t bytes = dtype_bytes(x->dtype);
    memcpy(&number, (const char *)x->data + i * bytes, bytes);
    return (double)number;
}
static bool same(const Choice *p, const Tensor *got, const Tensor *wanted, String name,
                 uint32_t samples) {
    double  size = 1, tolerance = wanted->dtype == DTYPE_F32 ? 1e-5 : 1e-11;
    int64_t parts = tensor_elements(wanted) * (dtype_is_complex(wanted->dtype) ? 2 : 1);
    bool    good = got->dtype == wanted->dtype && got->rank == wanted->rank;
    for (uint32_t i = 0; good && i < got->rank; i++) good &= got->shape[i] == wanted->shape[i];
    if (!EXPECT(good)) return false;
    for (int64_t i = 0; i < parts; i++)
        if (isfinite(part_at(wanted, i))) size = fmax(size, fabs(part_at(wanted, i)));
    for (int64_t i = 0; i < parts && good; i++) {
        double a = part_at(got, i), b = part_at(wanted, i);
        good = a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * size;
        if (!good)
            printf("\n  case %s, uses %u, what %d, %u samples: %.*s[%lld] is %.15g, expected %.15g",
                   p->form->the_case->name, p->number, (int)p->what, samples, STR_ARGS(name),
                   (long long)i, a, b);
    }
    return EXPECT(good);
}

/* --- one choice ------------------------------------------------------------------------------- */
static void sample_inputs(Choice *p, Feed *f, uint32_t j, Tensor *out) {
    for (uint32_t i = 0; i < f->count; i++) {
        Use use = i < p->form->args_count ? p->uses[i] : UNLISTED;
        out[i] = *input_of(f, use == BATCHED ? j : use == SHARED ? SALT_SHARED : 0, i);
    }
    for (uint32_t i = 0; p->what == GRADIENT_OF_BATCH && i < p->form->outs_count; i++)
        out[p->form->args_count + i] = *input_of(f, j, p->form->args_count + i);
}
static uint32_t batch_inputs(Arena *arena, Choice *p, Feed *f, uint32_t samples, Tensor *out) {
    uint32_t n = f->count, args = p->form->args_count;
    for (uint32_t i = 0; i < f->count; i++)
        out[i] = *input_of(f, i < args && p->uses[i] != UNLISTED ? SALT_PLACEHOLDER : 0, i);
    for (uint32_t i = 0; i < args; i++) {
        if (p->uses[i] == SHARED) out[n++] = *input_of(f, SALT_SHARED, i);
        if (p->uses[i] == BATCHED)
            out[n++] = stacked_inputs(arena, f, i, samples, axis_of(p, i, arg_rank(p, i)));
    }
    for (uint32_t i = 0; p->what == GRADIENT_OF_BATCH && i < p->form->outs_count; i++) {
        uint32_t k = find_out(p, i);
        out[n++] = stacked_inputs(arena, f, args + i, samples, out_axis(p, k));
    }
    return n;
}
static bool compare_values(Arena *arena, Choice *p, const Tensor *got, Tensor (*each)[OUTS_MAX],
                           uint32_t samples) {
    bool good = true;
    for (uint32_t k = 0; k < p->outs_count && good; k++) {
        const Tensor *parts[SAMPLES_MAX] = {&each[0][k], &each[1][k], &each[2][k]};
        Tensor        wanted = stacked(arena, parts, samples, parts[0], out_axis(p, k));
        good = same(p, &got[k], &wanted, p->outs[k], samples);
    }
    return good;
}
/* got: by differentiated argument; each[j][0] is a value. */
static bool compare_gradients(Arena *arena, Choice *p, const Tensor *got, Tensor (*each)[OUTS_MAX],
                              uint32_t samples) {
    bool good = true;
    for (uint32_t i = 0, k = 0; i < p->form->args_count && good; i++) {
        if (!p->form->wrt[i]) continue;
        const Tensor *parts[SAMPLES_MAX] = {&each[0][k + 1], &each[1][k + 1], &each[2][k + 1]};
        Tensor wanted = stacked(arena, parts, samples, parts[0], axis_of(p, i, arg_rank(p, i)));
        if (p->uses[i] != BATCHED) { /* added up */
            wanted = *parts[0];
            wanted.data = arena_push(arena, tensor_bytes(&wanted) + 1, 16);
            memset(wanted.data, 0, tensor_bytes(&wanted));
            for (uint32_t j = 0; j < samples; j++)
                for (int64_t e = 0; e < tensor_elements(&wanted); e++)
                    inputs_put(&wanted, e, inputs_get(&wanted, e) + inputs_get(parts[j], e));
        }
        good = same(p, &got[k++], &wanted, p->form->names[i], samples);
    }
    return good;
}
static bool compare(Arena *arena, Choice *p, const Program *sample, const Program *batch, Feed *f,
                    uint32_t samples) {
    Tensor      in[2 * FORM_INPUTS_MAX], got[OUTS_MAX], each[SAMPLES_MAX][OUTS_MAX];
    const char *name = p->form->the_case->name;
    bool        good = true;
    for (uint32_t j = 0; j < SAMPLES_MAX && good; j++) {
        sample_inputs(p, f, j, in);
        good = run(arena, sample, in, f->count, each[j], name);
    }
    uint32_t count = batch_inputs(arena, p, f, samples, in);
    good = good && run(arena, batch, in, count, got, name);
    if (!good) return false;
    return p->what == GRADIENT_OF_BATCH ? compare_gradients(arena, p, got, each, samples)
                                        : compare_values(arena, p, got, each, samples);
}
/* Rows that use a placeholder. Those that give sizes stay, and so do asserts about an argument. */
static void check_unused(const Choice *p, const World *world) {
    const Code *code = &world->code;
    BlockId     block = code->graphs.block[1];
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (code->ops.opcode[row] == OP_ASSERT) return;
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            for (uint32_t k = 0; k < p->form->args_count; k++)
                if (p->uses[k] != UNLISTED && op_operand(code, (OpId){row}, i).row ==
                                                  code->blocks.args_first[block.row].row + k)
                    if (!EXPECT((op_info(code, (OpId){row})->flags & OP_LATE) != 0))
                        printf(" case %s: a placeholder in %s", p->form->the_case->name,
                               op_info(code, (OpId){row})->name);
}
static bool check_choice(Arena *arena, Choice *p, Check *check, const int64_t *samples,
                         uint32_t count) {
    ArenaMark   mark = arena_mark(arena);
    Feed       *f = ARENA_NEW(arena, Feed);
    What        what = p->what;
    const char *name = p->form->the_case->name;
    p->what = what == GRADIENT_OF_BATCH ? GRADIENTS : what; /* of each sample: its gradients */
    list_outs(p);
    Program sample = check_compile_text(arena, name, sample_program(arena, p), EXPAND_STACKED);
    p->what = what;
    list_outs(p);
    Program batch = check_compile_text(arena, name, batch_program(arena, p), EXPAND_STACKED);
    bool    good = sample.good && batch.good;
    feed_open(arena, p, check, f);
    if (good) check_unused(p, batch.world);
    for (uint32_t i = 0; i < count && good; i++) {
        ArenaMark here = arena_mark(arena);
        good = compare(arena, p, &sample, &batch, f, (uint32_t)samples[i]);
        arena_release(arena, here);
    }
    check_drop(&sample);
    check_drop(&batch);
    arena_release(arena, mark);
    return good;
}

/* --- one case --------------------------------------------------------------------------------- */
static const int64_t some[] = {0, 1, 3};
static void          each_choice(Arena *arena, Form *form, Check *check, What what, uint32_t most,
                                 const char *samples) {
             Choice p = {.form = form, .what = what, .samples = samples};
             bool   known = samples[0] >= '0' && samples[0] <= '9';
             for (uint32_t number = 0; number < most && choose_uses(&p, number); number++)
        if (!check_choice(arena, &p, check, known ? &some[2] : some, known ? 1 : LENGTH(some)))
            return;
}
static bool is_complex(const Form *form) {
    const Code *code = &form->world->code;
    bool        any = false;
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        any |= code->ops.opcode[row] == OP_COMPLEX;
    return any;
}
static void check_batches(Arena *arena, const Case *c) {
    Form     form;
    FormSize sizes[FORM_SYMBOLS_MAX];
    Check    check = {.the_case = c};
    if (form_open(&form, arena, c, NULL, 0, false)) {
        check_assign(&form, 0, &check, sizes); /* the smallest sizes */
        each_choice(arena, &form, &check, VALUES, 1, "SAMPLES");
        uint32_t number = check.sizes_count == 0 ? 0 : 2;
        check_assign(&form, number, &check, sizes);
        each_choice(arena, &form, &check, VALUES, UINT32_MAX, "SAMPLES");
        each_choice(arena, &form, &check, VALUES, 1, "3");
        bool moves = false;
        for (uint32_t i = 0; i < form.args_count; i++) moves |= form.wrt[i];
        if (moves) each_choice(arena, &form, &check, GRADIENTS, 2, "SAMPLES");
        if (moves && !is_complex(&form)) /* there is no sum of complex numbers yet */
            each_choice(arena, &form, &check, GRADIENT_OF_BATCH, 2, "SAMPLES");
    }
    form_close(&form);
}
TEST(every_case_on_a_batch) {
    const char *only = getenv("STOA_CASE");
    for (const CaseRow *row = case_rows; row != NULL; row = row->next) {
        ArenaMark mark = arena_mark(arena);
        if (only == NULL || strcmp(only, row->the_case->name) == 0)
            check_batches(arena, row->the_case);
        arena_release(arena, mark);
    }
}

/* --- closure ---------------------------------------------------------------------------------- */
/* A primitive becomes primitives. */
static void check_primitives(Arena *arena, const Case *c) {
    Form   form;
    Choice p = {.form = &form, .what = VALUES, .samples = "SAMPLES"};
    World *world = world_open(0, 1 << 18);
    Runner runner;
    runner_open(&runner, world, NULL);
    if (form_open(&form, arena, c, NULL, 0, false) && choose_uses(&p, 0)) {
        list_outs(&p);
        bool good = form_parse(arena, world, batch_program(arena, &p)) &&
                    runner_run(&runner, SYSTEM_verify) && runner_run(&runner, SYSTEM_infer) &&
                    runner_run(&runner, SYSTEM_inline);
        runner.facts |= FACT_PLAIN; /* vmap rows pass through expand untouched */
        EXPECT(good && runner_run(&runner, SYSTEM_expand) &&
               runner_run(&runner, SYSTEM_differentiate));
        for (uint32_t row = 1; row < world->code.ops.table.count; row++)
            if (op_info(&world->code, (OpId){row})->flags & (OP_EXPANDS | OP_DERIVES))
                EXPECT_STR(op_info(&world->code, (OpId){row})->name, "a primitive");
    }
    runner_close(&runner);
    world_close(world);
    form_close(&form);
}
TEST(rules_emit_primitives) {
    for (const CaseRow *row = case_rows; row != NULL; row = row->next) {
        ArenaMark mark = arena_mark(arena);
        check_primitives(arena, row->the_case);
        arena_release(arena, mark);
    }
}

/* Every operator has a rule, and a case or a reason. */
typedef struct Exemption {
    Opcode      opcode;
    const char *reason;
} Exemption;
static const Exemption exemptions[] = {
    {OP_CONSTANT, "no operands"},        {OP_IOTA, "no operands"},
    {OP_PARAMETER, "no operands"},       {OP_RANK_ID, "no operands"},
    {OP_RETURN, "part of its operator"}, {OP_CALL, "its rows take its place before"},
    {OP_FUSED, "written after"},         {OP_GRADIENT, "replaced before"},
    {OP_JVP, "replaced before"},         {OP_TAYLOR, "replaced before"},
    {OP_DERIVATIVES, "replaced before"}, {OP_JACOBIAN, "replaced before"},
    {OP_VMAP, "replaced before"},        {OP_PRINT, "said of all samples, run/print.ir"},
};
static const Exemption elsewhere[] = {
    {OP_CUSTOM_GRAD, "test_batch_nested.c"},
    {OP_PULLBACK, "inside gradients of nested blocks"},
    {OP_EIG, "the interpreter has none"},
    {OP_NARROW_DOT, "by its expansion, so each sample has factors of its own"},
    {OP_DYNAMIC_RESHAPE, "golden/differentiate/batch.ir"},
    {OP_DYNAMIC_BROADCAST, "golden/differentiate/batch.ir"},
};
TEST(every_opcode_has_a_rule) {
    bool seen[OP_COUNT] = {false};
    for (const CaseRow *row = case_rows; row != NULL; row = row->next) {
        ArenaMark mark = arena_mark(arena);
        Form      form;
        if (form_open(&form, arena, row->the_case, NULL, 0, false))
            for (uint32_t at = 1; at < form.world->code.ops.table.count; at++)
                seen[form.world->code.ops.opcode[at]] = true;
        form_close(&form);
        arena_release(arena, mark);
    }
    for (uint32_t i = 0; i < LENGTH(exemptions); i++) {
        EXPECT_EQ(batch_rule(exemptions[i].opcode), BATCH_RULE_NONE);
        seen[exemptions[i].opcode] = true;
    }
    for (uint32_t i = 0; i < LENGTH(elsewhere); i++) seen[elsewhere[i].opcode] = true;
    for (Opcode opcode = OP_NIL + 1; opcode < OP_COUNT; opcode++) {
        BatchRule rule = batch_rule(opcode);
        bool      listed = false;
        for (uint32_t i = 0; i < LENGTH(exemptions); i++) listed |= exemptions[i].opcode == opcode;
        if (!EXPECT((rule != BATCH_RULE_NONE) != listed) ||
            !EXPECT(seen[opcode] || rule == BATCH_RULE_REFUSED))
            printf(" %s", op_infos[opcode].name);
    }
}
