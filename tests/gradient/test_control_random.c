/* Random structured programs of smooth operators, up to five deep: gradients and second gradients
 * against finite differences, jvp against gradient, as for every case; Taylor coefficients against
 * forward mode repeated. Some rows are said; some branches have different sizes.
 *
 * STOA_SEEDS: how many programs (some by default); STOA_SEED: the first of them, which is then
 * printed. */
#include "check.h"
#include "tables/philox.h"
#include "taylor_check.h"

enum { VALUES_MAX = 64, DEPTH_MAX = 5, CONTROLS_MAX = 5 };
typedef struct Value {
    uint32_t name;
    bool     vector; /* f64[3], else f64 */
} Value;
typedef struct Random {
    Text     text;
    uint64_t seed, drawn;
    Value    values[VALUES_MAX];
    uint32_t count, names, depth, controls;
    char     which[16]; /* the i64 that branches look at */
} Random;

static uint32_t draw(Random *r, uint32_t count) {
    return (uint32_t)philox_below(philox_draw(r->seed, r->drawn++, 78), count);
}
static Value fresh(Random *r, bool vector) { return (Value){r->names++, vector}; }
static void  keep(Random *r, Value value) {
     if (r->count < VALUES_MAX) r->values[r->count++] = value;
}
static Value       any(Random *r) { return r->values[draw(r, r->count)]; }
static const char *type_of(bool vector) { return vector ? "f64[3]" : "f64"; }
/* A value of the kind that is asked for. */
static Value as(Random *r, Value x, bool vector) {
    Value y = fresh(r, vector);
    if (x.vector == vector) return x;
    if (vector)
        text_addf(&r->text, "  %%v%u = broadcast_in_dim %%v%u {shape=[3], axes=[]}\n", y.name,
                  x.name);
    else
        text_addf(&r->text, "  %%v%u = reduce %%v%u {kind=sum, axes=[0]}\n", y.name, x.name);
    return y;
}
static void add_rows(Random *r, uint32_t most);
static void put_return(Random *r, const char *first, const Value *like, uint32_t count) {
    Value given[3];
    for (uint32_t i = 0; i < count; i++) given[i] = as(r, any(r), like[i].vector);
    text_addf(&r->text, "  return %s", first);
    for (uint32_t i = 0; i < count; i++)
        text_addf(&r->text, "%s%%v%u", i || first[0] ? ", " : "", given[i].name);
    text_addf(&r->text, "\n}");
}
static void add_smooth(Random *r) {
    static const char *const unary[] = {"sin", "tanh", "logistic", "cos"};
    static const char *const binary[] = {"add", "sub", "mul"};
    bool                     vector = draw(r, 2) != 0;
    Value x = as(r, any(r), vector), y = as(r, any(r), vector), z = fresh(r, vector);
    if (draw(r, 2) == 0)
        text_addf(&r->text, "  %%v%u = %s %%v%u\n", z.name, unary[draw(r, 4)], x.name);
    else
        text_addf(&r->text, "  %%v%u = %s %%v%u, %%v%u\n", z.name, binary[draw(r, 3)], x.name,
                  y.name);
    keep(r, z);
}
static void add_branches(Random *r) {
    uint32_t blocks = 2 + draw(r, 2), name = r->names++;
    Value    z = fresh(r, draw(r, 2) != 0);
    if (blocks == 2) {
        text_addf(&r->text, "  %%c%u = compare %s, %%k%u {direction=lt}\n", name, r->which,
                  draw(r, 3));
        text_addf(&r->text, "  %%v%u = if %%c%u : %s", z.name, name, type_of(z.vector));
    } else {
        text_addf(&r->text, "  %%v%u = switch %s {cases=%u} : %s", z.name, r->which, blocks,
                  type_of(z.vector));
    }
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t before = r->count;
        text_addf(&r->text, " {\n");
        add_rows(r, 2);
        put_return(r, "", &z, 1);
        r->count = before;
    }
    text_addf(&r->text, "\n");
    keep(r, z);
}
static void add_loop(Random *r, bool scans) {
    Value    from[2], to[2], args[2], rows, row = {0, false}, stacked = {0, false};
    uint32_t carries = 1 + draw(r, 2), before, index = r->names++, other = r->names++;
    char     outer[16];
    memcpy(outer, r->which, sizeof outer);
    for (uint32_t i = 0; i < carries; i++) from[i] = any(r);
    rows = as(r, any(r), true);
    for (uint32_t i = 0; i < carries; i++) {
        to[i] = fresh(r, from[i].vector);
        args[i] = fresh(r, from[i].vector);
    }
    stacked.name = r->names++;
    row.name = r->names++;
    text_addf(&r->text, scans ? "  " : "  %%n%u, ", index);
    for (uint32_t i = 0; i < carries; i++)
        text_addf(&r->text, "%s%%v%u", i ? ", " : "", to[i].name);
    if (scans) text_addf(&r->text, ", %%v%u", stacked.name);
    text_addf(&r->text, scans ? " = scan " : " = while %%k0, ");
    for (uint32_t i = 0; i < carries; i++)
        text_addf(&r->text, "%s%%v%u", i ? ", " : "", from[i].name);
    if (scans)
        text_addf(&r->text, ", %%v%u {carries=%u, reverse=%s, segment=%u} : ", rows.name, carries,
                  draw(r, 2) ? "true" : "false", draw(r, 3));
    else
        text_addf(&r->text, " {limit=%s} : i64, ", draw(r, 2) ? "3" : "300");
    for (uint32_t i = 0; i < carries; i++)
        text_addf(&r->text, "%s%s", i ? ", " : "", type_of(to[i].vector));
    if (scans) text_addf(&r->text, ", f64[3]");
    if (!scans) { /* the condition */
        text_addf(&r->text, " (%%i%u: i64", other);
        for (uint32_t i = 0; i < carries; i++)
            text_addf(&r->text, ", %%a%u: %s", args[i].name, type_of(args[i].vector));
        text_addf(&r->text, ") {\n  %%m%u = compare %%i%u, %%k%u {direction=lt}\n  return %%m%u\n}",
                  other, other, draw(r, 4), other);
    }
    before = r->count;
    text_addf(&r->text, " (%%i%u: i64", index);
    for (uint32_t i = 0; i < carries; i++) {
        text_addf(&r->text, ", %%v%u: %s", args[i].name, type_of(args[i].vector));
        keep(r, args[i]);
    }
    if (scans) text_addf(&r->text, ", %%v%u: f64", row.name);
    if (scans) keep(r, row);
    text_addf(&r->text, ") {\n");
    (void)snprintf(r->which, sizeof r->which, "%%i%u", index);
    if (!scans) text_addf(&r->text, "  %%j%u = add %%i%u, %%k1\n", index, index);
    add_rows(r, 2);
    Value wanted[3] = {to[0], to[carries - 1], stacked};
    wanted[carries] = stacked;
    char next[16] = "";
    if (!scans) (void)snprintf(next, sizeof next, "%%j%u", index);
    put_return(r, next, wanted, carries + scans);
    text_addf(&r->text, "\n");
    memcpy(r->which, outer, sizeof outer);
    r->count = before;
    for (uint32_t i = 0; i < carries; i++) keep(r, to[i]);
    if (scans) keep(r, (Value){stacked.name, true});
}
/* Branches of two and four elements, in the body of the graph; the sum of them is kept. */
static void add_join(Random *r) {
    uint32_t name = r->names++;
    Value    x = as(r, any(r), true), y = as(r, any(r), true), sum = fresh(r, false);
    text_addf(&r->text,
              "  %%c%u = compare %s, %%k%u {direction=lt}\n  %%w%u = if %%c%u {\n"
              "    %%p%u = slice %%v%u {starts=[0], limits=[2]}  return %%p%u\n  } {\n"
              "    %%p%u = slice %%v%u {starts=[2], limits=[3]}\n"
              "    %%q%u = concat %%p%u, %%v%u {axis=0}  return %%q%u\n  }\n"
              "  %%s%u = sin %%w%u  %%v%u = reduce %%s%u {kind=sum, axes=[0]}\n",
              name, r->which, draw(r, 3), name, name, name, x.name, name, name, y.name, name, name,
              x.name, name, name, name, sum.name, name);
    keep(r, sum);
}
static void add_rows(Random *r, uint32_t most) {
    uint32_t count = 1 + draw(r, most);
    r->depth++;
    for (uint32_t i = 0; i < count && r->count + 8 < VALUES_MAX; i++) {
        uint32_t kind = draw(r, 5);
        if (r->depth > DEPTH_MAX || r->controls == CONTROLS_MAX) kind = 3;
        r->controls += kind < 3;
        if (draw(r, 8) == 0) text_addf(&r->text, "  print %%v%u\n", any(r).name);
        if (r->depth == 1 && draw(r, 8) == 0)
            add_join(r);
        else if (kind == 0)
            add_branches(r);
        else if (kind <= 2)
            add_loop(r, kind == 1);
        else
            add_smooth(r);
    }
    r->depth--;
}

static void check_seed(Arena *arena, uint64_t seed) {
    Random r = {.seed = seed, .names = 2};
    char   name[32];
    r.text = text_begin(arena_open("random", 1 << 22, 0));
    keep(&r, (Value){0, true});
    keep(&r, (Value){1, false});
    (void)snprintf(r.which, sizeof r.which, "%%k%u", draw(&r, 3));
    for (uint32_t i = 0; i < 4; i++)
        text_addf(&r.text, "  %%k%u = constant {value=i64 %u}\n", i, i);
    add_rows(&r, 3);
    Value z = as(&r, r.values[r.count - 1], true);
    text_addf(&r.text, "  %%z = sin %%v%u\n", z.name);
    String body = str_copy(arena, text_done(&r.text));
    arena_close(r.text.arena);
    if (getenv("STOA_SEED") != NULL) printf("\n%.*s", STR_ARGS(body));
    (void)fflush(stdout);
    (void)snprintf(name, sizeof name, "seed_%llu", (unsigned long long)seed);
    Case the_case = {.name = name,
                     .args = "%v0: f64[3], %v1: f64",
                     .body = body.data,
                     .tolerance = 1e-6,
                     .step = 0x1p-12, /* loops make steep functions */
                     .no_f32 = true};
    check_case(arena, &the_case);
    taylor_check_case(arena, &the_case);
}
static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t     number;
    return text != NULL && str_to_i64(str_of(text), &number) ? number : otherwise;
}
TEST(random_structured_programs) {
    uint64_t first = (uint64_t)setting("STOA_SEED", 1);
    uint64_t count = (uint64_t)setting("STOA_SEEDS", 40);
    for (uint64_t seed = first; seed < first + count; seed++) {
        ArenaMark mark = arena_mark(arena);
        check_seed(arena, seed);
        arena_release(arena, mark);
    }
}
