/* Random structured programs on batches: the program with a vmap row gives, for every sample, what
 * the program without it gives. Every form of
 * its kernels gives the same.
 *
 * STOA_SEEDS: how many programs (some by default); STOA_SEED: the first of them. */
#include "random_control.h"

static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t     number;
    return text != NULL && str_to_i64(str_of(text), &number) ? number : otherwise;
}

enum { ARGS_MAX = 8 };
typedef struct Batched {
    Arena   *arena;
    uint64_t seed;
    uint32_t args, outs, listed; /* listed: bits of arguments that vmap replaces */
    String   names[ARGS_MAX], types[ARGS_MAX];
} Batched;

static String part(const char *first, const char *last) {
    return (String){first, (size_t)(last - first)};
}
/* "f32[B,C]" as "f32[S,B,C]". */
static String with_axis(Arena *arena, String type) {
    const char *open = memchr(type.data, '[', type.count);
    if (open == NULL) return str_format(arena, "%.*s[S]", STR_ARGS(type));
    bool scalar = open[1] == ']';
    return str_format(arena, "%.*s[S%s%.*s", (int)(open - type.data), type.data, scalar ? "" : ",",
                      (int)(type.data + type.count - open - 1), open + 1);
}
/* Whether the first block of a while ends here, after the operands of its comparison. */
static bool is_test(const char *at) {
    const char *end = strstr(at, "\n}");
    return strncmp(at, " {direction=lt}\n  return", 24) == 0 && strncmp(end, "\n} (%", 5) == 0;
}
/* The program with more arguments, on which half of its conditions look: %pick and %trips. */
static String with_conditions(Arena *arena, uint64_t seed, String source) {
    static const char *const before[] = {"= if %", "= switch %"}, *const by[] = {"pick", "trips"};
    const char *at = source.data, *end = strstr(source.data, ") {\n");
    Text        text = text_begin(arena_open("text", 1 << 22, 0));
    text_addf(&text, "%.*s, %%pick: bool, %%trips: i64", (int)(end - at), at);
    for (at = end; *at != 0;) {
        bool found = false;
        for (uint32_t i = 0; i < 2 && !found; i++) {
            size_t length = strlen(before[i]);
            if (strncmp(at, before[i], length) != 0 || check_draw(seed++, 70, 2) == 0) continue;
            text_addf(&text, "%s%s", before[i], by[i]);
            at += length;
            at += strcspn(at, " ");
            found = true;
        }
        if (!found && is_test(at) && check_draw(seed++, 70, 2) == 0) { /* instead of its limit */
            while (text.data[text.count - 1] != '%') text.count--;
            text_add(&text, STR("trips"));
        }
        if (!found) text_addf(&text, "%c", *at++);
    }
    String copy = str_copy(arena, text_done(&text));
    arena_close(text.arena);
    return copy;
}
/* Arguments from "%seed: i64[], %shape: u8[B,C,D], ..."; the shape serves sizes only. */
static void read_args(Batched *b, const char *at) {
    while (*at == '%') {
        const char *colon = strchr(at, ':'), *end = colon + 2;
        for (int depth = 0; depth != 0 || (*end != ',' && *end != ')'); end++)
            depth += (*end == '[') - (*end == ']');
        ASSERT(b->args < ARGS_MAX);
        b->names[b->args] = part(at, colon);
        b->types[b->args] = part(colon + 2, end);
        bool takes = b->args == 0   ? check_draw(b->seed, 90, 3) == 0
                     : b->args == 1 ? false
                                    : check_draw(b->seed, 90 + b->args, 4) != 0;
        if (takes) b->listed |= 1u << b->args;
        b->args++;
        at = *end == ',' ? end + 2 : end;
    }
    if (b->listed == 0) b->listed = 1u << 2;
}
/* The program with the results of its return on a batch of the listed arguments. */
static String batch_text(Batched *b, String source) {
    const char *head = strstr(source.data, "graph f("), *rows = strstr(head, ") {\n");
    const char *end = rows, *names;
    for (const char *next = rows; (next = strstr(next + 1, "\n  return ")) != NULL;) end = next;
    names = end + strlen("\n  return ");
    read_args(b, head + strlen("graph f("));
    Text text = text_begin(arena_open("batch", 1 << 22, 0));
    text_addf(&text, "%.*s", (int)(rows - source.data), source.data);
    for (uint32_t i = 0; i < b->args; i++)
        if (b->listed >> i & 1)
            text_addf(&text, ", %%batch%u: %.*s", i, STR_ARGS(with_axis(b->arena, b->types[i])));
    text_addf(&text, "%.*s\n  ", (int)(end - rows), rows);
    int count = (int)strcspn(names, "\n");
    b->outs = 1;
    for (int i = 0; i < count; i++) b->outs += names[i] == ',';
    for (uint32_t i = 0; i < b->outs; i++) text_addf(&text, "%s%%out%u", i ? ", " : "", i);
    text_addf(&text, " = vmap %.*s", count, names);
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t i = 0; i < b->args; i++)
            if (b->listed >> i & 1 && k == 0)
                text_addf(&text, ", %.*s", STR_ARGS(b->names[i]));
            else if (b->listed >> i & 1)
                text_addf(&text, ", %%batch%u", i);
    text_add(&text, STR("\n  return "));
    for (uint32_t i = 0; i < b->outs; i++) text_addf(&text, "%s%%out%u", i ? ", " : "", i);
    text_add(&text, STR("\n}\n"));
    String copy = str_copy(b->arena, text_done(&text));
    arena_close(text.arena);
    return copy;
}

/* --- running ---------------------------------------------------------------------------------- */
static Tensor sample_of(const Tensor *batch, int64_t j) {
    Tensor x = *batch;
    x.rank--;
    for (uint32_t i = 0; i < x.rank; i++) x.shape[i] = batch->shape[i + 1];
    x.data = (char *)batch->data + j * (int64_t)tensor_bytes(&x);
    return x;
}
/* each: the program on one sample. The batch has run: c->wanted. */
static bool compare_samples(Check *c, const Batched *b, World *each, int64_t samples) {
    Tensor batch[CHECK_TENSORS_MAX], inputs[ARGS_MAX];
    memcpy(batch, c->wanted, sizeof batch);
    for (int64_t j = 0; j < samples; j++) {
        uint32_t next = b->args;
        for (uint32_t i = 0; i < b->args; i++)
            inputs[i] = b->listed >> i & 1 ? sample_of(&c->inputs[next++], j) : c->inputs[i];
        Status status = interp_run(c->arena, each, (GraphId){1}, inputs, b->args, NULL, 0,
                                   c->wanted, &each->diags);
        if (status != STATUS_OK)
            return check_fail(c, "one sample:", text_diags(c->arena, each, &each->diags));
        for (uint32_t i = 0; i < b->outs; i++) {
            c->got[i] = sample_of(&batch[i], j);
            if (!check_same(c, "a sample:", i)) return false;
        }
    }
    return true;
}
static bool check_seed(Arena *arena, uint64_t seed) {
    static const int64_t sizes_of[] = {0, 1, 2, 3, 5, 2};
    Check                c, each;
    Batched              b = {.arena = arena, .seed = seed};
    CheckSize            sizes[] = {{"B", 0}, {"C", 0}, {"D", 0}, {"S", 0}, {NULL, 0}};
    String               source = with_conditions(arena, seed, random_control(arena, seed));
    check_begin(&c, arena, batch_text(&b, source));
    check_begin(&each, arena, source);
    c.rel = 1e-4;
    bool good = check_compile_all(&c) && check_compile(&each, FORM_PLAIN);
    for (uint32_t i = 0; i < 3 && good; i++) {
        ArenaMark mark = arena_mark(arena);
        for (uint32_t k = 0; k < 4; k++)
            sizes[k].size = sizes_of[check_draw(seed * 8 + i, 1000 + k, LENGTH(sizes_of))];
        c.seed = seed * 8 + i;
        good = check_expect(&c, sizes) &&
               compare_samples(&c, &b, each.worlds[FORM_PLAIN], sizes[3].size) &&
               (i != 0 || check_run(&c, sizes));
        if (good) arena_release(arena, mark);
    }
    if (!EXPECT(good)) {
        printf(" seed %llu\n", (unsigned long long)seed);
        if (each.problem != NULL) printf("%s\n", each.problem);
        check_print(&c, sizes);
    }
    check_close(&c);
    check_close(&each);
    return good;
}
TEST(random_batches) {
    uint64_t first = (uint64_t)setting("STOA_SEED", 1);
    uint64_t count = (uint64_t)setting("STOA_SEEDS", 60);
    for (uint64_t seed = first; seed < first + count; seed++) {
        ArenaMark mark = arena_mark(arena);
        (void)check_seed(arena, seed);
        arena_release(arena, mark);
    }
}
