/* The kernel compiler: levels, batches, the cache folder and everything that can go wrong with it,
 * refusals, faults of memory and files. A process loads LLVM once, so what needs it absent comes
 * first, and what ends LLVM runs in a child. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/os.h"
#include "cpu/jit_inner.h"
#include "harness.h"
#include "jit_impossible.h"
#include "jit_loop.h"
#include "tables/schema.h"

#if defined(STOA_HAVE_LLVM)
#include "cpu/jit_math.h"

typedef struct Fixture {
    Arena *arena;
    Diags  diags;
    Jit   *jit;
    char   dir[64]; /* of the cache; "": none */
} Fixture;

static void fixture_open(Fixture *f, Arena *arena, JitOptions options) {
    f->arena = arena;
    f->jit = NULL;
    diags_open(&f->diags, NULL);
    EXPECT_EQ(jit_open(arena, &options, &f->diags, &f->jit), STATUS_OK);
}
static void fixture_close(Fixture *f) {
    jit_close(f->jit);
    diags_close(&f->diags);
}
static void dir_make(Fixture *f) {
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/stoa_jit_XXXXXX");
    EXPECT(mkdtemp(f->dir) != NULL);
}
/* The paths of the files in the folder. */
static size_t dir_files(Fixture *f, String **out_paths) {
    String *names;
    size_t  count = 0;
    EXPECT_EQ(os_list(f->arena, f->dir, &names, &count), 0);
    for (size_t i = 0; i < count; i++)
        names[i] = str_format(f->arena, "%s/%.*s", f->dir, STR_ARGS(names[i]));
    if (out_paths) *out_paths = names;
    return count;
}
static void dir_remove(Fixture *f) {
    String *paths;
    size_t  count = dir_files(f, &paths);
    for (size_t i = 0; i < count; i++) EXPECT_EQ(os_remove(paths[i].data), 0);
    EXPECT_EQ(os_remove(f->dir), 0);
}
static bool has_diag(const Fixture *f, DiagKind kind) {
    for (uint32_t row = 1; row < f->diags.rows.table.count; row++)
        if (f->diags.rows.kind[row] == kind) return true;
    return false;
}

/* x + y k, for kernels of different content. */
static JitValue emit_axpy(JitBuild *build, JitValue x, JitValue y, const void *parameter) {
    const double *k = parameter;
    JitValue      number = llvm.ConstReal(build->f32, *k), all[64];
    JitType       type = llvm.TypeOf(x);
    if (llvm.GetTypeKind(type) == LLVMVectorTypeKind) {
        uint32_t lanes = llvm.GetVectorSize(type);
        for (uint32_t i = 0; i < lanes; i++) all[i] = number;
        number = llvm.ConstVector(all, lanes);
    }
    return llvm.BuildFAdd(build->at, x, llvm.BuildFMul(build->at, y, number, ""), "");
}
enum { KERNELS = 12 };
typedef struct Kernels {
    char      name[KERNELS][16];
    double    k[KERNELS];
    JitLoop   loop[KERNELS];
    JitKernel rows[KERNELS];
} Kernels;
static void kernels_make(Kernels *all) {
    for (uint32_t i = 0; i < KERNELS; i++) {
        (void)snprintf(all->name[i], sizeof all->name[i], "axpy %u", i);
        all->k[i] = i + 2;
        all->loop[i] = (JitLoop){.emit = emit_axpy,
                                 .parameter = &all->k[i],
                                 .in = loop_f32,
                                 .out = loop_f32,
                                 .unroll = 2};
        all->rows[i] = loop_kernel(all->name[i], &all->loop[i]);
    }
}
static bool kernels_right(const Kernels *all) {
    enum { N = 101 };
    float x[N], y[N], z[N + 1];
    bool  right = true;
    for (uint32_t k = 0; k < KERNELS; k++) {
        if (!EXPECT(all->rows[k].entry != NULL)) return false;
        for (int i = 0; i < N; i++) {
            x[i] = (float)i;
            y[i] = (float)(i * i % 7);
        }
        z[N] = -1;
        loop_entry (&all->rows[k])(z, x, y, N);
        for (int i = 0; i < N; i++) right &= z[i] == x[i] + y[i] * (float)(k + 2);
        right &= z[N] == -1;
    }
    return EXPECT(right);
}
static uint32_t kernels_count(const Kernels *all, JitOrigin origin) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < KERNELS; i++) count += all->rows[i].origin == origin;
    return count;
}

/* --- without LLVM ----------------------------------------------------------------------------- */

TEST(jit_says_what_is_missing) {
    static const struct {
        const char *library, *reason;
    } cases[] = {{"libno-such-thing.so", "libno-such-thing.so"}, {"libm.so.6", "LLVMGetVersion"}};
    if (!EXPECT(true) || llvm_loaded()) return;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        Kernels all;
        Fixture f;
        kernels_make(&all);
        fixture_open(&f, arena, (JitOptions){.library = cases[i].library});
        EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, KERNELS, &f.diags), STATUS_UNSUPPORTED);
        EXPECT(all.rows[0].entry == NULL);
        if (EXPECT_EQ(f.diags.rows.table.count, 2) && EXPECT(has_diag(&f, DIAG_JIT_UNAVAILABLE))) {
            String why = diags_str_get(&f.diags, f.diags.rows.arg1[1]);
            EXPECT(strstr(str_copy(arena, why).data, cases[i].reason) != NULL);
        }
        EXPECT_EQ(f.diags.errors, 0); /* the program runs without */
        fixture_close(&f);
    }
}

/* A full folder serves a machine that has no LLVM at all. */
TEST(jit_runs_from_disk_without_llvm) {
    Kernels all;
    Fixture f;
    dir_make(&f);
    pid_t child = llvm_loaded() ? 0 : fork(); /* so that this process has not loaded it */
    if (child == 0) {
        kernels_make(&all);
        fixture_open(&f, arena, (JitOptions){.cache_dir = f.dir});
        bool good = jit_compile(f.jit, NULL, all.rows, KERNELS, &f.diags) == STATUS_OK;
        fixture_close(&f);
        if (!llvm_loaded()) good = false;
        _exit(good ? 0 : 1);
    }
    int result = -1;
    EXPECT_EQ(waitpid(child, &result, 0), child);
    EXPECT_EQ(result, 0);
    EXPECT(!llvm_loaded());
    kernels_make(&all);
    fixture_open(&f, arena, (JitOptions){.cache_dir = f.dir, .library = "libno-such-thing.so"});
    EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, KERNELS, &f.diags), STATUS_OK);
    EXPECT_EQ(kernels_count(&all, JIT_FROM_DISK), KERNELS);
    (void)kernels_right(&all);
    fixture_close(&f);
    dir_remove(&f);
}

/* --- compiling -------------------------------------------------------------------------------- */

TEST(jit_compiles_at_every_level) {
    for (JitLevel level = JIT_HOST; level < JIT_LEVELS; level++) {
        Kernels all;
        Fixture f;
        if (!jit_level_runs(level)) continue;
        kernels_make(&all);
        fixture_open(&f, arena, (JitOptions){.level = level});
        EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, KERNELS, &f.diags), STATUS_OK);
        EXPECT_EQ(kernels_count(&all, JIT_COMPILED), KERNELS);
        (void)kernels_right(&all);
        fixture_close(&f);
    }
}

/* Registers of the level in the assembly, also of levels that do not run here; the whole
 * mathematics is selected without a call to a function that is not there. */
typedef struct Op {
    Opcode opcode;
    Dtype  dtype;
} Op;
static JitValue emit_op(JitBuild *build, JitValue x, JitValue y, const void *parameter) {
    const Op *op = parameter;
    JitValue  args[3] = {x, y, y};
    if (op->opcode == OP_SELECT) {
        args[0] = jit_math_compare(build, COMPARE_LT, op->dtype, x, y);
        args[1] = x;
    }
    JitValue z = jit_math(build, op->opcode, op->dtype, args);
    return op->opcode == OP_IS_FINITE ? jit_math_convert(build, DTYPE_BOOL, op->dtype, z) : z;
}
TEST(jit_text_shows_every_level) {
    static const char *const wanted[JIT_LEVELS] = {"", "%xmm", "%ymm", "%zmm"};
    static const Dtype       dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_I32, DTYPE_I64};
    for (JitLevel level = JIT_GENERIC; level < JIT_LEVELS; level++) {
        Fixture f;
        fixture_open(&f, arena, (JitOptions){.level = level});
        for (uint32_t i = 0; i < LENGTH(dtypes) * OP_COUNT; i++) {
            Op op = {(Opcode)(i / LENGTH(dtypes)), dtypes[i % LENGTH(dtypes)]};
            if (!jit_math_has(op.opcode, op.dtype)) continue;
            JitType (*types[])(JitBuild *) = {loop_f32, loop_f64, loop_i32, loop_i64};
            JitLoop   loop = {.emit = emit_op,
                              .parameter = &op,
                              .in = types[i % LENGTH(dtypes)],
                              .out = types[i % LENGTH(dtypes)],
                              .unroll = 1};
            JitKernel kernel = loop_kernel("op", &loop);
            ArenaMark mark = arena_mark(arena);
            String    text;
            Status    status = jit_text(f.jit, &kernel, JIT_STAGE_ASSEMBLY, arena, &f.diags, &text);
            if (!EXPECT_EQ(status, STATUS_OK) || !EXPECT(strstr(text.data, wanted[level])))
                printf("\n  %s at level %d", op_infos[op.opcode].name, (int)level);
            arena_release(arena, mark);
        }
        fixture_close(&f);
    }
}
TEST(jit_text_shows_every_stage) {
    Kernels all;
    Fixture f;
    String  text;
    kernels_make(&all);
    fixture_open(&f, arena, (JitOptions){0});
    for (JitStage stage = JIT_STAGE_BUILT; stage <= JIT_STAGE_ASSEMBLY; stage++) {
        EXPECT_EQ(jit_text(f.jit, &all.rows[0], stage, arena, &f.diags, &text), STATUS_OK);
        EXPECT(strstr(text.data, stage == JIT_STAGE_ASSEMBLY ? "kernel:" : "@kernel(") != NULL);
    }
    fixture_close(&f);
}

TEST(jit_compiles_on_all_lanes) {
    Kernels  all, again;
    Fixture  f;
    Workers *workers;
    REQUIRE(workers_open(arena, 4, false, &workers) == STATUS_OK);
    kernels_make(&all);
    fixture_open(&f, arena, (JitOptions){0});
    EXPECT_EQ(jit_compile(f.jit, workers, all.rows, KERNELS, &f.diags), STATUS_OK);
    EXPECT_EQ(kernels_count(&all, JIT_COMPILED), KERNELS);
    (void)kernels_right(&all);
    kernels_make(&again);
    EXPECT_EQ(jit_compile(f.jit, workers, again.rows, KERNELS, &f.diags), STATUS_OK);
    EXPECT_EQ(kernels_count(&again, JIT_FROM_MEMORY), KERNELS);
    for (int i = 0; i < KERNELS; i++) EXPECT(again.rows[i].entry == all.rows[i].entry);
    workers_close(workers);
    fixture_close(&f);
}

TEST(jit_shares_kernels_of_one_content) {
    Kernels all;
    Fixture f;
    kernels_make(&all);
    for (int i = 1; i < KERNELS; i++) all.rows[i] = all.rows[0];
    fixture_open(&f, arena, (JitOptions){0});
    EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, KERNELS, &f.diags), STATUS_OK);
    EXPECT_EQ(kernels_count(&all, JIT_COMPILED), 1);
    for (int i = 1; i < KERNELS; i++) EXPECT(all.rows[i].entry == all.rows[0].entry);
    EXPECT_EQ(jit_compile(f.jit, NULL, NULL, 0, &f.diags), STATUS_OK);
    fixture_close(&f);
}

/* --- refusals --------------------------------------------------------------------------------- */

static bool build_nothing(JitBuild *build, const void *context) {
    (void)context;
    build->why = "a reason";
    return false;
}
static bool build_empty(JitBuild *build, const void *context) {
    (void)build, (void)context;
    return true;
}
static bool build_call(JitBuild *build, const void *context) {
    JitType type = llvm.FunctionType(build->i32, NULL, 0, false);
    (void)jit_function(build, NULL, 0);
    JitValue outside = llvm.AddFunction(build->module, context, type);
    (void)llvm.BuildCall2(build->at, type, outside, NULL, 0, "");
    llvm.BuildRetVoid(build->at);
    return true;
}
static bool build_state(JitBuild *build, const void *context) {
    (void)context;
    (void)jit_function(build, NULL, 0);
    JitValue state = llvm.AddGlobal(build->module, build->i32, "state");
    llvm.SetInitializer(state, llvm.ConstInt(build->i32, 1, false));
    JitValue value = llvm.BuildLoad2(build->at, build->i32, state, "");
    (void)llvm.BuildStore(build->at, llvm.BuildAdd(build->at, value, value, ""), state);
    llvm.BuildRetVoid(build->at);
    return true;
}
static bool build_full(JitBuild *build, const void *context) {
    (void)context;
    (void)arena_push(build->arena, (size_t)1 << 60, 1);
    return true;
}
static bool build_wrong(JitBuild *build, const void *context) { /* a block without an end */
    (void)context;
    (void)jit_function(build, NULL, 0);
    return true;
}

TEST(jit_refuses_with_a_reason) {
    static const struct {
        const char *name, *why;
        JitBuildFn *build;
        const void *context;
        Status      status;
    } cases[] = {
        {"nothing", "a reason", build_nothing, NULL, STATUS_INVALID},
        {"empty", "no function kernel", build_empty, NULL, STATUS_INVALID},
        {"call", "may not call", build_call, "getpid", STATUS_INVALID},
        {"state", "could change", build_state, NULL, STATUS_INVALID},
        {"full", "scratch", build_full, NULL, STATUS_OUT_OF_MEMORY},
#if STOA_CHECKED
        {"wrong", "terminator", build_wrong, NULL, STATUS_INVALID},
#endif
    };
    Fixture f;
    (void)build_wrong;
    fixture_open(&f, arena, (JitOptions){0});
    for (uint32_t i = 0; i < LENGTH(cases); i++) {
        Kernels all;
        kernels_make(&all);
        JitKernel rows[2] = {{.name = cases[i].name,
                              .content = {i, 99},
                              .build = cases[i].build,
                              .context = cases[i].context},
                             all.rows[i]};
        diags_clear(&f.diags);
        EXPECT_EQ(jit_compile(f.jit, NULL, rows, 2, &f.diags), cases[i].status);
        EXPECT(rows[0].entry == NULL && rows[0].origin == JIT_NONE);
        EXPECT(rows[1].entry != NULL); /* the others go on */
        if (EXPECT_EQ(f.diags.errors, 1) && EXPECT(has_diag(&f, DIAG_JIT_FAILED))) {
            String why = str_copy(arena, diags_str_get(&f.diags, f.diags.rows.arg1[1]));
            if (!EXPECT(strstr(why.data, cases[i].why) != NULL)) printf("\n  %s", why.data);
        }
    }
    fixture_close(&f);
}

TEST(jit_survives_a_fatal_error) {
    pid_t child = fork();
    if (child == 0) {
        Fixture   f;
        Kernels   all;
        JitKernel kernel = {.name = "impossible", .content = {1, 2}, .build = build_impossible};
        kernels_make(&all);
        fixture_open(&f, arena, (JitOptions){.level = JIT_GENERIC});
        bool good = jit_compile(f.jit, NULL, &kernel, 1, &f.diags) == STATUS_UNSUPPORTED;
        good &= has_diag(&f, DIAG_JIT_FAILED);
        good &= jit_compile(f.jit, NULL, all.rows, 1, &f.diags) == STATUS_UNSUPPORTED;
        _exit(good ? 0 : 1);
    }
    int result = -1;
    EXPECT_EQ(waitpid(child, &result, 0), child);
    EXPECT_EQ(result, 0);
}

/* --- the folder ------------------------------------------------------------------------------- */

/* Compiles all kernels with the folder, in a fresh Jit; the number that came from it. */
static uint32_t run_with_folder(Fixture *f, uint64_t bytes_max, Status wanted) {
    Kernels all;
    kernels_make(&all);
    fixture_open(f, f->arena, (JitOptions){.cache_dir = f->dir, .cache_bytes_max = bytes_max});
    EXPECT_EQ(jit_compile(f->jit, NULL, all.rows, KERNELS, &f->diags), wanted);
    (void)kernels_right(&all);
    fixture_close(f);
    return kernels_count(&all, JIT_FROM_DISK);
}

TEST(jit_keeps_kernels_on_disk) {
    Fixture f = {.arena = arena};
    dir_make(&f);
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), 0);
    EXPECT_EQ(dir_files(&f, NULL), KERNELS);
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), KERNELS);
    dir_remove(&f);
}
static void file_write(const char *path, String bytes) {
    OsFile file;
    if (!EXPECT_EQ(os_open(path, OS_WRITE_NEW, &file), 0)) return;
    EXPECT_EQ(os_write(file, bytes.data, bytes.count), 0);
    EXPECT_EQ(os_close(&file), 0);
}
static String file_read(Arena *arena, const char *path) {
    OsMap map;
    if (!EXPECT_EQ(os_map(path, &map), 0)) return (String){0};
    String bytes = str_copy(arena, (String){(const char *)map.data, map.bytes});
    os_unmap(&map);
    return bytes;
}
/* Each file is spoiled in another way: every one is compiled again, and whole afterwards. */
TEST(jit_ignores_damaged_files) {
    Fixture f = {.arena = arena};
    String *paths;
    dir_make(&f);
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), 0);
    REQUIRE(dir_files(&f, &paths) == KERNELS);
    String first = file_read(arena, paths[0].data);
    for (uint32_t i = 0; i < KERNELS; i++) {
        String bytes = file_read(arena, paths[i].data);
        char  *at = (char *)(uintptr_t)bytes.data;
        switch (i) {
        case 0: bytes.count = 0; break;
        case 1: bytes.count = 20; break; /* within the header */
        case 2: bytes.count -= 1; break; /* within the object */
        case 3: bytes = first; break;    /* another kernel */
        case 4: memset(at, 0, bytes.count); break;
        default: at[(i - 5) * bytes.count / KERNELS] ^= 1; break;
        }
        file_write(paths[i].data, bytes);
    }
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), 0);
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), KERNELS);
    EXPECT_EQ(dir_files(&f, NULL), KERNELS);
    dir_remove(&f);
}
/* A whole file with a right checksum around something that is no object. */
TEST(jit_ignores_foreign_objects) {
    Fixture  f = {.arena = arena};
    Kernels  all;
    JitCache cache;
    dir_make(&f);
    kernels_make(&all);
    fixture_open(&f, arena, (JitOptions){.cache_dir = f.dir});
    jit_cache_open(&cache, arena, f.dir, 1 << 20);
    EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, 1, &f.diags), STATUS_OK);
    fixture_close(&f);
    String *paths;
    REQUIRE(dir_files(&f, &paths) == 1);
    JitKey      key;
    const char *name = paths[0].data + strlen(f.dir) + 1;
    char        digits[17] = {0};
    for (int i = 0; i < 2; i++) {
        memcpy(digits, name + (size_t)i * 16, 16);
        key.word[i] = strtoull(digits, NULL, 16);
    }
    jit_cache_add(&cache, key, STR("not an object"));
    EXPECT(str_same(jit_cache_find(&cache, arena, key), STR("not an object")));
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), 0);
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), KERNELS);
    dir_remove(&f);
}
TEST(jit_warns_about_a_folder_once) {
    Fixture f = {.arena = arena};
    dir_make(&f);
    char    path[80], long_path[2000];
    Kernels all;
    (void)snprintf(path, sizeof path, "%s/file", f.dir);
    file_write(path, STR("in the way"));
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = 0;
    const char *dirs[] = {path, long_path};
    for (size_t i = 0; i < LENGTH(dirs); i++) {
        kernels_make(&all);
        fixture_open(&f, arena, (JitOptions){.cache_dir = dirs[i]});
        EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, 3, &f.diags), STATUS_OK);
        EXPECT_EQ(jit_compile(f.jit, NULL, all.rows, KERNELS, &f.diags), STATUS_OK);
        (void)kernels_right(&all);
        EXPECT(has_diag(&f, DIAG_JIT_CACHE));
        EXPECT_EQ(f.diags.rows.table.count, 2);
        EXPECT_EQ(f.diags.errors, 0);
        fixture_close(&f);
    }
    dir_remove(&f);
}
/* The limit holds after each batch, what was used last stays, and other files are left alone. */
TEST(jit_removes_the_longest_unused) {
    Fixture f = {.arena = arena};
    String *paths;
    dir_make(&f);
    EXPECT_EQ(run_with_folder(&f, 0, STATUS_OK), 0);
    REQUIRE(dir_files(&f, &paths) == KERNELS);
    uint64_t bytes, time_ns, latest = 0;
    EXPECT_EQ(os_stat(paths[0].data, &bytes, &time_ns), 0);
    String  kept = paths[5];
    JitKey  key = {{1, 2}};
    char    stranger[80];
    Scratch scratch = scratch_begin(&arena, 1);
    (void)snprintf(stranger, sizeof stranger, "%s/stranger.txt", f.dir);
    file_write(stranger, STR("mine"));
    (void)usleep(20000); /* the clock of files ticks in milliseconds */
    os_touch(kept.data);
    EXPECT_EQ(os_stat(kept.data, &latest, &time_ns), 0);
    JitCache cache;
    jit_cache_open(&cache, arena, f.dir, 6 * bytes);
    (void)usleep(20000);
    jit_cache_add(&cache, key, STR("one more"));
    jit_cache_trim(&cache);
    EXPECT(os_exists(kept.data));
    EXPECT(os_exists(stranger));
    EXPECT(jit_cache_find(&cache, arena, key).count > 0);
    size_t left = dir_files(&f, &paths);
    EXPECT(left >= 4 && left <= 7);
    jit_cache_trim(&cache); /* nothing was written since */
    EXPECT_EQ(dir_files(&f, NULL), left);
    scratch_end(scratch);
    dir_remove(&f);
}

/* --- faults ----------------------------------------------------------------------------------- */

/* One batch with the folder; whatever fails, the process lives and what is said is true. */
static bool fault_run(Fixture *f) {
    Kernels       all;
    volatile bool good = false;
    ArenaGuard    guard;
    Jit *volatile jit = NULL;
    Jit *opened = NULL;
    kernels_make(&all);
    if (ARENA_GUARD(&guard)) {
        Status status = jit_open(f->arena, &(JitOptions){.cache_dir = f->dir}, &f->diags, &opened);
        jit = opened;
        if (status == STATUS_OK) status = jit_compile(opened, NULL, all.rows, 3, &f->diags);
        good = status == STATUS_OK;
        for (int i = 0; i < 3 && good; i++) good = all.rows[i].entry != NULL;
        arena_guard_end(&guard);
    }
    jit_close(jit);
    return good;
}
TEST(jit_survives_faults) {
    Fixture f = {.arena = arena};
    dir_make(&f);
    diags_open(&f.diags, NULL);
    ArenaMark mark = arena_mark(arena);
    EXPECT(fault_run(&f));
    for (int kind = 0; kind < 2; kind++)
        for (uint64_t n = 1; n < 400; n++) {
            String *paths;
            size_t  count = dir_files(&f, &paths);
            if (n % 2) /* with and without files to read */
                for (size_t i = 0; i < count; i++) EXPECT_EQ(os_remove(paths[i].data), 0);
            arena_release(arena, mark);
            diags_clear(&f.diags);
            (kind ? fault_file_nth : fault_commit_nth)(n);
            bool     good = fault_run(&f);
            uint64_t calls = kind ? fault_file_count() : fault_commit_count();
            fault_file_nth(0);
            fault_commit_nth(0);
            if (kind) EXPECT(good); /* files are never needed */
            if (calls < n && good && n % 2 == 0) break;
        }
    diags_clear(&f.diags);
    EXPECT(fault_run(&f));
    diags_close(&f.diags);
    dir_remove(&f);
}

/* --- objects ---------------------------------------------------------------------------------- */

/* Any change of any byte is refused, or gives code of the size that was promised. */
TEST(jit_object_reads_nothing_outside) {
    Fixture f = {.arena = arena};
    Op      op = {OP_SIN, DTYPE_F32};
    JitLoop loop = {
        .emit = emit_op, .parameter = &op, .in = loop_f32, .out = loop_f32, .unroll = 1};
    JitKernel kernel = loop_kernel("sin", &loop);
    String   *paths;
    dir_make(&f);
    fixture_open(&f, arena, (JitOptions){.cache_dir = f.dir});
    EXPECT_EQ(jit_compile(f.jit, NULL, &kernel, 1, &f.diags), STATUS_OK);
    fixture_close(&f);
    REQUIRE(dir_files(&f, &paths) == 1);
    String   file = file_read(arena, paths[0].data);
    size_t   count = file.count - 48;
    uint32_t accepted = 0;
    for (size_t i = 0; i < 9 * count; i++) {
        uint8_t *bytes = malloc(count), *code; /* so that the sanitizer sees the ends */
        memcpy(bytes, file.data + 48, count);
        if (i < 8 * count) bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        size_t      kept = i < 8 * count ? count : i - 8 * count;
        JitObject   object;
        const char *why = NULL;
        if (jit_object_read((String){(char *)bytes, kept}, &object, &why)) {
            accepted++;
            if (object.size < 1 << 24) {
                code = aligned_alloc(64, object.size);
                jit_object_place(&object, code);
                free(code);
            }
            EXPECT(object.entry < object.size);
        } else if (why == NULL) {
            EXPECT(why != NULL);
        }
        free(bytes);
    }
    EXPECT(accepted > count); /* most bytes are code and constants */
    dir_remove(&f);
}

#else
TEST(jit_says_that_the_build_has_none) {
    Diags diags = {0};
    Jit  *jit;
    diags_open(&diags, NULL);
    EXPECT_EQ(jit_open(arena, &(JitOptions){0}, &diags, &jit), STATUS_UNSUPPORTED);
    EXPECT_EQ(diags.rows.kind[1], DIAG_JIT_UNAVAILABLE);
    diags_close(&diags);
}
#endif
