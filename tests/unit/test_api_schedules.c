/* Sessions take the schedules that were found for this machine from the folder of kernels, compute
 * the same with them, and say so when the file is of no use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "arena/os.h"
#include "cpu/cpu.h"
#include "harness.h"
#include "systems/search.h"
#include "text/parse.h"

static const char text[] = "graph f(%x: f32[B,C]) {\n  %t = transpose %x {permutation=[1,0]}\n"
                           "  %e = exp %t\n  return %e\n}\n";
enum { ROWS = 37, COLUMNS = 70 };

typedef struct Place {
    char        folder[64];
    const char *path;
    LoopHash    rules, found; /* of the one kernel */
    String      machine;
} Place;
static LoopHash hash_with(Target *target, Scheduler *scheduler, void *context) {
    World *world = world_open(0, 1 << 16);
    Runner runner;
    EXPECT(text_parse(world, str_of(text), STR("program")));
    runner_open(&runner, world, target);
    runner.ctx.scheduler = scheduler;
    runner.ctx.scheduler_context = context;
    EXPECT(runner_compile(&runner));
    LoopHash hash = loops_hash(&runner.loops, (KernelId){1});
    runner_close(&runner);
    world_close(world);
    return hash;
}
/* A folder with a book in which the transpose is tiled, as the rules never do it. */
static Place make_place(Arena *arena, Diags *diags) {
    Place        place = {.folder = "/tmp/stoa_schedules_XXXXXX"};
    Target       target;
    ScheduleBook book = schedule_book_open(arena);
    EXPECT(mkdtemp(place.folder) != NULL);
    place.path = str_format(arena, "%s/schedules", place.folder).data;
    cpu_describe(&target, true);
    place.rules = hash_with(&target, NULL, NULL);
    EXPECT(schedule_book_parse(&book, STR("kernel all\ntile 1 2 4 8\nbind 1 1 0 0\nbind 4 2 0 0\n"),
                               STR("book"), diags));
    book.strict = true;
    place.found = hash_with(&target, schedule_from_book, &book);
    place.machine = book.machine = cpu_describe_machine(arena, &target, 1);
    EXPECT(place.machine.count > 2);
    EXPECT_EQ(schedule_book_save(&book, place.path, diags), STATUS_OK);
    return place;
}
static void remove_place(Arena *arena, const Place *place) {
    String *names;
    size_t  count = 0;
    EXPECT_EQ(os_list(arena, place->folder, &names, &count), 0);
    for (size_t i = 0; i < count; i++) {
        String path = str_format(arena, "%s/%.*s", place->folder, STR_ARGS(names[i]));
        EXPECT_EQ(os_remove(path.data), 0);
    }
    EXPECT_EQ(os_remove(place->folder), 0);
}

static void note_log(void *user, StoaLogLevel level, const char *told) {
    if (level == STOA_LOG_WARNING) (void)snprintf(user, 512, "%s", told);
}
/* Compiles and runs; the kernel's hash. */
static LoopHash compile_and_run(const char *folder, bool interpreter, float *out, char *out_told) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    LoopHash           hash = {0, 0};
    float              x[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = (float)(i % 97) / 50;
    options.lanes = 2;
    options.kernel_cache = folder;
    options.log = note_log;
    options.user = out_told;
    compile.interpreter = interpreter;
    EXPECT(stoa_context_create(&options, &context) == STOA_OK);
    EXPECT(stoa_program_parse(context, text, sizeof text - 1, "test", &program) == STOA_OK);
    EXPECT(stoa_compile(program, &compile, &session) == STOA_OK);
    StoaTensor input = {STOA_F32, 2, {ROWS, COLUMNS}, x}, output = {.data = out};
    EXPECT(stoa_run(session, "f", &input, 1, &output, 1, NULL) == STOA_OK);
    if (!interpreter && session->module != NULL)
        hash = loops_hash(&session->runner.loops, (KernelId){1});
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
    return hash;
}
static bool same(LoopHash a, LoopHash b) { return a.low == b.low && a.high == b.high; }

TEST(sessions_use_what_was_found) {
    static float wanted[ROWS * COLUMNS], got[ROWS * COLUMNS];
    char         told[512] = "";
    Diags        diags;
    diags_open(&diags, NULL);
    Place place = make_place(arena, &diags);
    EXPECT(!same(place.rules, place.found));
    (void)compile_and_run(NULL, true, wanted, told);
    LoopHash hash = compile_and_run(place.folder, false, got, told);
    if (hash.low == 0) SKIP("there is no compiler here");
    EXPECT(same(hash, place.found));
    EXPECT_STR(told, "");
    for (int i = 0; i < ROWS * COLUMNS; i++) EXPECT_NEAR(got[i], wanted[i], 1e-6);
    hash = compile_and_run(NULL, false, got, told); /* nowhere to look */
    EXPECT(same(hash, place.rules));
    remove_place(arena, &place);
    diags_close(&diags);
}
TEST(files_of_no_use_are_told) {
    static float got[ROWS * COLUMNS];
    char         told[512] = "";
    Diags        diags;
    ScheduleBook book = schedule_book_open(arena);
    diags_open(&diags, NULL);
    Place place = make_place(arena, &diags);
    book.machine = STR("another");
    EXPECT_EQ(schedule_book_save(&book, place.path, &diags), STATUS_OK);
    LoopHash hash = compile_and_run(place.folder, false, got, told);
    if (hash.low == 0) SKIP("there is no compiler here");
    EXPECT(same(hash, place.rules));
    EXPECT(strstr(told, "SCHEDULES_IGNORED") != NULL);
    EXPECT(strstr(told, "made on another machine") != NULL);
    book.machine = place.machine;
    EXPECT(schedule_book_parse(&book, STR("kernel all\nfuse 0\n"), STR("book"), &diags));
    EXPECT_EQ(schedule_book_save(&book, place.path, &diags), STATUS_OK);
    hash = compile_and_run(place.folder, false, got, told);
    EXPECT(same(hash, place.rules));
    EXPECT(strstr(told, "SCHEDULE_STALE") != NULL);
    EXPECT(strstr(told, "'fuse' in line 4") != NULL);
    remove_place(arena, &place);
    diags_close(&diags);
}
