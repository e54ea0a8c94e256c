/* Schedules as text: what is wrong is named with its place, illegal steps are refused with a
 * reason and change nothing, books survive files, a search keeps meaning and is found again. */
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "compile_check.h"
#include "systems/schedule_text.h"
#include "systems/search.h"
#include "systems/transform_inner.h"

/* --- programs --------------------------------------------------------------------------------- */
/* Naive: 0 phase, 1 loop B, 2 start of the sum; 3 phase, 4 loop B, 5 loop C, 6 store; 7 phase, 8
 * loop B, 9 loop C, 10 sum. Buffers: the operands 0 and 1, the results 2 and 3. */
static const char rows[] = "graph f(%x: f32[B,C], %y: f32[C,B]) {\n"
                           "  %t = transpose %y {permutation=[1,0]}\n  %s = add %x, %t\n"
                           "  %m = reduce %s {kind=sum, axes=[1]}\n  return %s, %m\n}\n";
static const char softmax[] = "graph f(%x: f32[B,C]) {\n  %z = softmax %x {axis=1}\n"
                              "  return %z\n}\n";
static const char norm[] =
    "graph f(%x: f64[B,C], %w: f64[C], %b: f64[C]) {\n  %y = layer_norm %x, %w, %b\n"
    "  %q = reduce %y {kind=sum, axes=[0,1]}\n  %dx, %dw, %db = gradient %q, %x, %w, %b\n"
    "  return %y, %dx, %dw, %db\n}\n";
static const char tile[] = "graph f(%x: f32[2048,1024]) {\n"
                           "  %t = transpose %x {permutation=[1,0]}\n  %e = exp %t\n"
                           "  return %e\n}\n";

static void use_scheduler(Check *c, Scheduler *scheduler, void *context) {
    c->scheduler = scheduler;
    c->scheduler_context = context;
}
static bool read_book(ScheduleBook *book, Arena *arena, const char *text, Diags *diags) {
    *book = schedule_book_open(arena);
    return schedule_book_parse(book, str_of(text), STR("book"), diags);
}
static LoopHash hash_of(Check *c) {
    return loops_hash(&c->runners[FORM_SCHEDULED].loops, (KernelId){1});
}
static bool has_kind(const Diags *diags, DiagKind kind) {
    bool found = false;
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        found |= diags->rows.kind[row] == kind;
    return found;
}
static bool has_text(Arena *arena, const World *world, const Diags *diags, const char *part) {
    String text = text_diags(arena, world, diags);
    bool   found = strstr(text.data, part) != NULL;
    if (!found) printf("%.*s", STR_ARGS(text));
    return found;
}

/* --- reading ---------------------------------------------------------------------------------- */
TEST(mistakes_are_named_with_their_place) {
    static const struct {
        const char *text;
        uint32_t    line, column;
        const char *what;
    } cases[] = {
        {"kernel all\nsplitt 1 2 3\n", 2, 1, "no transform of this name"},
        {"kernel all\n  split 1 2\n", 2, 12, "split takes 3 numbers: loop, factor, ways"},
        {"kernel all\nsplit 1 -2 0\n", 2, 9, "split takes 3 numbers"},
        {"kernel all\nsplit 1 2 99999999999\n", 2, 11, "split takes 3 numbers"},
        {"kernel all\nfuse 1 2\n", 2, 8, "left over"},
        {"split 1 2 0\n", 1, 1, "before the first `kernel`"},
        {"kernel 12\n", 1, 8, "32 hexadecimal digits"},
        {"kernel 0123456789abcdef0123456789abcdef -1\n", 1, 41, "microseconds"},
        {"kernel 0123456789abcdef0123456789abcdeg\n", 1, 8, "32 hexadecimal digits"},
        {"stoa schedules 2\n", 1, 1, "reads `stoa schedules 1`"},
        {"# good\nmachine cpu\n", 2, 9, "a text in quotes"},
        {"machine \"cpu\n", 1, 9, "a text in quotes"},
        {"machine \"c\tpu\"\n", 1, 11, "no control characters"},
        {"stoa schedules 1\nsum 0000000000000000\n", 2, 1, "does not fit"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        ScheduleBook book;
        Diags        diags;
        diags_open(&diags, NULL);
        EXPECT(!read_book(&book, arena, cases[i].text, &diags));
        EXPECT(has_kind(&diags, DIAG_SCHEDULE_SYNTAX));
        EXPECT_EQ(diags.errors, 1);
        EXPECT_EQ(diags.rows.line[1], cases[i].line);
        EXPECT_EQ(diags.rows.column[1], cases[i].column);
        EXPECT(has_text(arena, NULL, &diags, cases[i].what));
        diags_close(&diags);
    }
}

TEST(books_print_as_they_were_read) {
    static const char text[] = "stoa schedules 1\nmachine \"cpu of a test\"\n"
                               "kernel 0123456789abcdeffedcba9876543210 12.5\n"
                               "split 3 16 0\nbind 3 1 0 0\nsample 5 2\n"
                               "kernel 00000000000000010000000000000002 0\n"
                               "kernel all\ncache_read 0 1 2\n";
    ScheduleBook      book, again;
    Diags             diags;
    diags_open(&diags, NULL);
    REQUIRE(read_book(&book, arena, text, &diags));
    EXPECT(!book.summed);
    EXPECT_EQ(book.entries_count, 3);
    String printed = schedule_book_print(arena, &book);
    EXPECT(strncmp(printed.data, text, sizeof text - 1) == 0);
    REQUIRE(read_book(&again, arena, printed.data, &diags));
    EXPECT(again.summed);
    EXPECT(str_same(schedule_book_print(arena, &again), printed));
    EXPECT_EQ(schedule_book_find(&again, (LoopHash){1, 2})->count, 0);
    EXPECT(schedule_book_find(&again, (LoopHash){1, 3})->all);
    diags_close(&diags);
}

/* --- refusing --------------------------------------------------------------------------------- */
typedef struct Refusal {
    const char *program, *steps, *why;
} Refusal;
static const Refusal refusals[] = {
    {rows, "fuse 0", "no loop at this position"},
    {rows, "fuse 1", "more or less than one loop"},
    {rows, "split 1 0 0", "the factor is 0"},
    {rows, "split 2 4 0", "no loop at this position"},
    {rows, "reorder 5 4", "not inside the first"},
    {rows, "bind 4 1 0 0\nreorder 4 5", "stay outermost"},
    {rows, "bind 5 2 0 0\nreorder 4 5", "stay innermost"},
    {rows, "merge 7", "no neighbour"},
    {rows, "merge 2", "no loop or phase"},
    {rows, "reorder 4 5\nmerge 3", "differ in extent"},
    {rows, "tile 4 6 2 2", "not just inside"},
    {rows, "bind 4 2 0 0", "a vector loop holds no loop"},
    {rows, "bind 5 1 0 0", "all of its phase"},
    {rows, "bind 4 64 0 0", "no such way of running"},
    {rows, "reorder 8 9\nbind 8 1 0 0", "what another one writes"},
    {rows, "annotate 4 70000 0", "exceeds 65535"},
    {rows, "flatten 1", "more or less than one loop"},
    {rows, "unroll 4", "not a constant from 1 to 64"},
    {rows, "bind 4 1 0 0\nunroll 4", "the loop is parallel"},
    {rows, "unit 0", "no loop or statement"},
    {rows, "bind 5 2 0 0\nunit 6", "in a vector loop"},
    {rows, "peel 4 1", "below 2"},
    {tile, "peel 1 8", "divides the extent"},
    {rows, "rfactor 5", "all of a phase"},
    {rows, "rfactor 4", "nothing is summed"},
    {rows, "factorize 8 9", "not bounded by a constant"},
    {rows, "factorize 4 9", "not in the first"},
    {rows, "compute_at 6 9", "fills the buffer"},
    {rows, "compute_at 5 9", "no statement"},
    {rows, "reverse_compute_at 6 9", "does not come after"},
    {rows, "inline 2", "fills the buffer"},
    {rows, "inline 9", "no buffer of this number"},
    {rows, "reverse_inline 6", "take the place of"},
    {rows, "scope 2 2", "not wider"},
    {rows, "scope 2 0", "not 2 (lane) or 3 (reg)"},
    {rows, "cache_read 2 4 2", "the loop writes the buffer"},
    {rows, "cache_read 0 4 3", "more than one element"},
    {rows, "cache_read 3 4 2", "does not touch"},
    {rows, "cache_read 0 4 7", "the scope is not"},
    {rows, "bind 4 1 0 0\ncache_read 0 5 1", "would share"},
    {rows, "sample 2 2", "none of the choices"},
    {rows, "sample_tile 4 9 8 1 1 1 1", "2 to 4"},
};
TEST(illegal_steps_are_refused_with_a_reason) {
    for (size_t i = 0; i < LENGTH(refusals); i++) {
        Check        c, naive;
        ScheduleBook book;
        Diags        diags;
        const char  *text = str_format(arena, "kernel all\n%s\n", refusals[i].steps).data;
        diags_open(&diags, NULL);
        REQUIRE(read_book(&book, arena, text, &diags));
        book.strict = true;
        check_begin(&c, arena, str_of(refusals[i].program));
        use_scheduler(&c, schedule_from_book, &book);
        if (!EXPECT(!check_compile(&c, FORM_SCHEDULED))) printf(" %s\n", refusals[i].steps);
        const World *world = c.worlds[FORM_SCHEDULED];
        EXPECT(has_kind(&world->diags, DIAG_SCHEDULE_ILLEGAL));
        EXPECT(has_text(arena, world, &world->diags, refusals[i].why));
        check_begin(&naive, arena, str_of(refusals[i].program)); /* the rules took over */
        EXPECT(check_compile(&naive, FORM_SCHEDULED));
        LoopHash a = hash_of(&c), b = hash_of(&naive);
        EXPECT(a.low == b.low && a.high == b.high);
        check_close(&naive);
        check_close(&c);
        diags_close(&diags);
    }
}
TEST(stale_schedules_give_way_to_the_rules) {
    Check        c;
    ScheduleBook book;
    CheckSize    sizes[] = {{"B", 5}, {"C", 9}, {NULL, 0}};
    Diags        diags;
    diags_open(&diags, NULL);
    REQUIRE(read_book(&book, arena, "kernel all\nsplit 1 4 0\nfuse 0\n", &diags));
    check_begin(&c, arena, str_of(rows));
    use_scheduler(&c, schedule_from_book, &book);
    EXPECT(check_compile_all(&c));
    const World *world = c.worlds[FORM_SCHEDULED];
    EXPECT(has_kind(&world->diags, DIAG_SCHEDULE_STALE));
    EXPECT(has_text(arena, world, &world->diags, "'fuse' in line 3"));
    EXPECT(check_run(&c, sizes));
    check_close(&c);
    diags_close(&diags);
}

/* --- files ------------------------------------------------------------------------------------ */
TEST(books_survive_files) {
    char         folder[] = "/tmp/stoa_schedules_XXXXXX";
    ScheduleBook book, loaded = schedule_book_open(arena);
    Diags        diags;
    OsFile       file;
    diags_open(&diags, NULL);
    REQUIRE(mkdtemp(folder) != NULL);
    const char *path = str_format(arena, "%s/book", folder).data;
    REQUIRE(read_book(&book, arena, "machine \"m\"\nkernel all\nfuse 1\n", &diags));
    schedule_book_load(&loaded, path, STR("m"), &diags); /* none yet */
    EXPECT_EQ(loaded.entries_count, 0);
    EXPECT_EQ(schedule_book_save(&book, path, &diags), STATUS_OK);
    schedule_book_load(&loaded, path, STR("m"), &diags);
    EXPECT_EQ(loaded.entries_count, 1);
    EXPECT_EQ(diags.rows.table.count, 1);
    schedule_book_load(&loaded, path, STR("another"), &diags);
    EXPECT_EQ(loaded.entries_count, 0);
    EXPECT(has_text(arena, NULL, &diags, "made on another machine"));
    EXPECT(has_kind(&diags, DIAG_SCHEDULES_IGNORED));
    diags_clear(&diags);
    String text = schedule_book_print(arena, &book);
    for (size_t i = 0; i < text.count; i++) { /* any changed byte is found, or changes nothing */
        String damaged = str_copy(arena, text);
        ((char *)(uintptr_t)damaged.data)[i] ^= 4;
        REQUIRE(os_open(path, OS_WRITE_NEW, &file) == 0);
        EXPECT_EQ(os_write(file, damaged.data, damaged.count), 0);
        EXPECT_EQ(os_close(&file), 0);
        diags_clear(&diags);
        schedule_book_load(&loaded, path, STR("m"), &diags);
        bool same = loaded.entries_count == 1 && loaded.entries[0].all && loaded.steps_count == 1 &&
                    loaded.steps[0].numbers[0] == 1;
        EXPECT(same != has_kind(&diags, DIAG_SCHEDULES_IGNORED));
        EXPECT_EQ(diags.errors, 0);
    }
    diags_clear(&diags);
    const char *nowhere = str_format(arena, "%s/missing/book", folder).data;
    EXPECT_EQ(schedule_book_save(&book, nowhere, &diags), STATUS_IO);
    EXPECT(has_kind(&diags, DIAG_SCHEDULES_UNSAVED));
    EXPECT_EQ(os_remove(path), 0);
    EXPECT_EQ(os_remove(folder), 0);
    diags_close(&diags);
}

/* --- search ----------------------------------------------------------------------------------- */
TEST(a_search_keeps_meaning_and_is_found_again) {
    static const char *const programs[] = {rows, softmax, norm};
    CheckSize                sizes[] = {{"B", 33}, {"C", 17}, {NULL, 0}};
    for (size_t i = 0; i < LENGTH(programs); i++) {
        ScheduleBook book = schedule_book_open(arena);
        Search       search = {.book = &book, .seed = i, .population = 8, .generations = 3};
        Check        c, again;
        check_begin(&c, arena, str_of(programs[i]));
        search.target = &c.target;
        use_scheduler(&c, search_scheduler, &search);
        EXPECT(check_compile_all(&c));
        if (!EXPECT(check_run(&c, sizes))) check_print(&c, sizes);
        EXPECT(search.searched != 0);
        EXPECT_EQ(search.searched, book.entries_count);
        EXPECT_EQ(search.found, 0);
        EXPECT(search.estimates > search.searched * 8);
        EXPECT(search.best_us <= search.rules_us);
        check_begin(&again, arena, str_of(programs[i]));
        use_scheduler(&again, search_scheduler, &search);
        EXPECT(check_compile_all(&again));
        EXPECT_EQ(search.found, search.searched); /* nothing is searched twice */
        LoopHash a = hash_of(&c), b = hash_of(&again);
        EXPECT(a.low == b.low && a.high == b.high);
        check_close(&again);
        check_close(&c);
    }
}

/* --- rules ------------------------------------------------------------------------------------ */
static const char *const transposes[] = {
    "graph f(%x: f32[B,C], %y: f32[C,B]) {\n  %t = transpose %x {permutation=[1,0]}\n"
    "  %s = add %t, %y\n  return %s\n}\n",
    "graph f(%x: f32[D,B,C]) {\n  %t = transpose %x {permutation=[0,2,1]}\n  %e = exp %t\n"
    "  return %e\n}\n",
    "graph f(%x: f64[D,B,72]) {\n  %t = transpose %x {permutation=[0,2,1]}\n  %e = neg %t\n"
    "  return %e\n}\n",
};
TEST(transposes_go_by_tiles) {
    static const int64_t some[] = {0, 1, 7, 8, 9, 63, 64, 65, 70};
    for (size_t i = 0; i < LENGTH(transposes); i++) {
        Check c;
        EXPECT(check_open(&c, arena, str_of(transposes[i])));
        const Loops *loops = &c.runners[FORM_SCHEDULED].loops;
        uint32_t     first = loops->kernels.nodes_first[1], last = first + 4 + (i != 0);
        EXPECT(loops->nodes.bind[first + 1] & BIND_PARALLEL); /* over rows of tiles, or matrices */
        EXPECT(loops->nodes.bind[last] & BIND_VECTOR);
        EXPECT_EQ(loops->nodes.factor[last], 8);
        EXPECT_EQ(loops->nodes.kind[last + 1], NODE_STORE);
        for (size_t k = 0; k < LENGTH(some) * 2; k++) {
            ArenaMark mark = arena_mark(arena);
            CheckSize sizes[] = {{"B", some[k % LENGTH(some)]},
                                 {"C", some[(k * 5 + 2) % LENGTH(some)]},
                                 {"D", (int64_t)k % 3},
                                 {NULL, 0}};
            if (!EXPECT(check_run(&c, sizes))) check_print(&c, sizes);
            arena_release(arena, mark);
        }
        check_close(&c);
    }
}

/* Heads of three arrays side by side in each row, and their sums: as in the gradient of one product
 * that makes queries, keys and values. */
static const char heads[] =
    "graph f(%x: f32[B,4,C,16], %y: f32[B,4,C,16], %z: f32[B,4,C,16]) {\n"
    "  %a = transpose %x {permutation=[0,2,1,3]}\n  %p = reshape %a {shape=[B,C,64]}\n"
    "  %b = transpose %y {permutation=[0,2,1,3]}\n  %q = reshape %b {shape=[B,C,64]}\n"
    "  %c = transpose %z {permutation=[0,2,1,3]}\n  %r = reshape %c {shape=[B,C,64]}\n"
    "  %w = concat %p, %q, %r {axis=2}\n  %s = reduce %w {kind=sum, axes=[0,1]}\n"
    "  return %w, %s\n}\n";
TEST(vectors_do_not_divide) {
    Check c;
    EXPECT(check_open(&c, arena, str_of(heads)));
    Loops     *loops = &c.runners[FORM_SCHEDULED].loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   vectors = 0, row = loops->kernels.nodes_first[1];
    EXPECT_EQ(loops->kernels.table.count, 2);
    for (uint32_t i = 0; i < loops->kernels.nodes_count[1]; i++, row++) {
        DimId step, rest;
        if (nodes->kind[row] != NODE_LOOP || !(nodes->bind[row] & BIND_VECTOR)) continue;
        Schedule s = {.loops = loops, .kernel = {1}, .scratch = arena};
        Accesses list = transform_accesses(&s, row, row + nodes->size[row], (BufferId){0});
        vectors++;
        for (uint32_t k = 0; k < list.count; k++)
            EXPECT(dims_linear_in(&loops->dims, loops_address(loops, list.rows[k].access),
                                  nodes->var[row], &step, &rest));
    }
    EXPECT(vectors >= 5); /* starts, three pieces, combination */
    for (int64_t k = 0; k < 6; k++) {
        ArenaMark mark = arena_mark(arena);
        CheckSize sizes[] = {{"B", k % 3}, {"C", k * 7 % 5}, {NULL, 0}};
        if (!EXPECT(check_run(&c, sizes))) check_print(&c, sizes);
        arena_release(arena, mark);
    }
    check_close(&c);
}

/* A sum over the outermost axis beside a result that has it: iterations of the axes inside, made
 * one loop, write to places of each of its runs, and are apart all the same. */
static const char *const beside_sums[] = {
    "graph f(%x: f32[A,4,6,40], %y: f32[A,4,6,40]) {\n  %p = mul %x, %y\n"
    "  %s = reduce %p {kind=sum, axes=[0]}\n  return %p, %s\n}\n",
    "graph f(%x: f32[A,B,40], %y: f32[A,B,40]) {\n  %p = mul %x, %y\n"
    "  %s = reduce %p {kind=sum, axes=[0]}\n  return %p, %s\n}\n"};
TEST(sums_beside_results_run_apart) {
    for (size_t i = 0; i < LENGTH(beside_sums); i++) {
        Check c;
        EXPECT(check_open(&c, arena, str_of(beside_sums[i])));
        for (uint32_t form = FORM_SCHEDULED; form <= FORM_THREADS; form++) {
            const Loops     *loops = &c.runners[form].loops;
            const LoopNodes *nodes = &loops->nodes;
            uint32_t first = loops->kernels.nodes_first[1], row = first, phases = 0, loose = 0;
            EXPECT_EQ(loops->kernels.table.count, 2);
            for (; row < first + loops->kernels.nodes_count[1]; row += nodes->size[row], phases++)
                loose += !(nodes->bind[row + 1] & BIND_PARALLEL);
            EXPECT(phases > 0 && loose == 0);
        }
        for (int64_t k = 0; k < 6; k++) {
            ArenaMark mark = arena_mark(arena);
            CheckSize sizes[] = {{"A", k % 4}, {"B", k * 7 % 5}, {NULL, 0}};
            if (!EXPECT(check_run(&c, sizes))) check_print(&c, sizes);
            arena_release(arena, mark);
        }
        check_close(&c);
    }
}

/* --- measurements ----------------------------------------------------------------------------- */
/* A made-up machine on which vectors of 16 elements are best, unrolled twice. */
typedef struct Machine {
    uint32_t runs;
    bool     broken;
} Machine;
static double machine_us(void *context, Loops *loops, KernelId kernel) {
    Machine *machine = context;
    uint32_t first = loops->kernels.nodes_first[kernel.row];
    double   us = 100;
    machine->runs++;
    for (uint32_t i = 0; i < loops->kernels.nodes_count[kernel.row]; i++) {
        uint32_t row = first + i;
        if (loops->nodes.kind[row] != NODE_LOOP || !(loops->nodes.bind[row] & BIND_VECTOR))
            continue;
        us += fabs(loops->nodes.factor[row] - 16.0) + 4 * fabs(loops->nodes.unroll[row] - 2.0);
    }
    return machine->broken ? -1 : us;
}
static double searched_us(Arena *arena, Machine *machine, Search *search, LoopHash *out_hash) {
    ScheduleBook book = schedule_book_open(arena);
    Check        c;
    check_begin(&c, arena, str_of(softmax));
    *search = (Search){.target = &c.target, .book = &book, .context = machine, .seed = 5};
    search->measure = machine_us;
    use_scheduler(&c, search_scheduler, search);
    EXPECT(check_compile(&c, FORM_SCHEDULED));
    double us = book.entries_count == 1 ? book.entries[0].cost_us : -1;
    *out_hash = hash_of(&c);
    check_close(&c);
    return us;
}
TEST(measurements_decide) {
    Machine  machine = {0}, broken = {.broken = true};
    Search   search;
    LoopHash hash, again, rules;
    Check    c;
    double   us = searched_us(arena, &machine, &search, &hash);
    EXPECT_EQ(machine.runs, search.measurements);
    EXPECT(machine.runs <= 8 * 2 + 7 * 4);
    EXPECT_NEAR(us, search.best_us, 1e-9);
    EXPECT(us < search.rules_us * 0.97);
    EXPECT_NEAR(searched_us(arena, &machine, &search, &again), us, 1e-9); /* the same again */
    EXPECT(hash.low == again.low && hash.high == again.high);
    EXPECT_NEAR(searched_us(arena, &broken, &search, &hash), 0, 0); /* what was not measured */
    check_begin(&c, arena, str_of(softmax));
    EXPECT(check_compile(&c, FORM_SCHEDULED));
    rules = hash_of(&c);
    EXPECT(hash.low == rules.low && hash.high == rules.high);
    check_close(&c);
}

/* Estimates of one kernel under the steps of a text. */
typedef struct Estimating {
    const ScheduleBook *book;
    TargetMachine       machine;
    SearchCost          cost;
    bool                good;
} Estimating;
static void estimate(SystemCtx *ctx, Schedule *s) {
    Estimating *e = ctx->scheduler_context;
    uint32_t    bad;
    e->good = schedule_replay(s, e->book, &e->book->entries[0], &bad);
    e->cost = search_cost(s, &e->machine);
}
static SearchCost cost_of(Arena *arena, const char *program, const char *steps, uint32_t lanes) {
    Check        c;
    ScheduleBook book;
    Diags        diags;
    diags_open(&diags, NULL);
    EXPECT(read_book(&book, arena, str_format(arena, "kernel all\n%s\n", steps).data, &diags));
    check_begin(&c, arena, str_of(program));
    Estimating e = {.book = &book, .machine = c.target.machine};
    e.machine.lanes = lanes;
    use_scheduler(&c, estimate, &e);
    EXPECT(check_compile(&c, FORM_SCHEDULED));
    EXPECT(e.good);
    check_close(&c);
    diags_close(&diags);
    return e.cost;
}
TEST(estimates_order_what_is_known_to_differ) {
    SearchCost plain = cost_of(arena, tile, "", 1);
    SearchCost vector = cost_of(arena, tile, "bind 2 2 0 0", 1);
    SearchCost tiled = cost_of(arena, tile, "tile 1 2 32 32", 1);
    SearchCost lanes = cost_of(arena, tile, "bind 1 1 0 0", 8);
    EXPECT(plain.us > 0);
    EXPECT(vector.compute_us < plain.compute_us);
    EXPECT(tiled.bytes[1] < plain.bytes[1]); /* lines are used whole while they are near */
    EXPECT(lanes.us < plain.us);
    double least = 2.0 * 2048 * 1024 * 4; /* read once, written once */
    EXPECT(tiled.bytes[3] >= least * 0.99);
}
