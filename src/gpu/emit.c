/* Kernels compiled, loaded and made into launches.
 *
 * An instance is the text of a phase with its macros set, and a module of its own: so modules take
 * about equally long, each is known again in any program that has the same phase, and what nobody
 * launches is never loaded. Instances that sizes known beforehand lead to are compiled ahead, on
 * threads, while the caller plans; gpu_emit_launches waits for what it needs, and compiles what
 * else it meets. */
#include "gpu/emit_inner.h"

#include <stdio.h>

#include "arena/hash.h"
#include "arena/os.h"

enum {
    SIZE_GUESS = 64,     /* of a parameter without a hint */
    LANE_TEAMS_MAX = 528 /* teams at once whose LANE buffers do not fit into shared memory */
};

typedef struct Instance {
    uint32_t    kernel, phase; /* phase: its number in the kernel */
    EmitSetting setting;
    const char *name;
    String      image; /* empty: not compiled, or not taken yet */
    GpuModule   module;
    GpuKernel   code;
    uint32_t    shared_allowed; /* dynamic shared memory that has been asked for */
    bool        loaded;
} Instance;
typedef struct Kernel {
    EmitPhase *phases;
    uint32_t   count;
} Kernel;
struct GpuEmitModule {
    Arena        *arena;
    GpuLibs      *libs;
    GpuCache     *cache;
    const char   *arch;
    Loops        *loops;
    Gpu          *gpu; /* NULL: not loaded */
    Kernel       *kernels;
    Instance     *instances;
    uint32_t      instances_count, instances_max;
    GpuCompiling *ahead; /* of the first instances, in order; NULL: none, or all are taken */
    uint32_t      ahead_count;
    GpuEmitStats  stats;
};

static bool same_setting(const EmitSetting *a, const EmitSetting *b) {
    return a->team == b->team && a->block == b->block && a->vector == b->vector &&
           a->held == b->held && a->blocks == b->blocks && a->wide == b->wide &&
           a->full == b->full && a->shared == b->shared && a->odd == b->odd &&
           a->cluster == b->cluster && a->join == b->join && a->staged == b->staged &&
           a->led == b->led && a->tiled == b->tiled && a->ring == b->ring;
}

/* --- sources ---------------------------------------------------------------------------------- */
#define KERNEL_HEAD   "extern \"C\" __global__ void __launch_bounds__(BOUNDS)"
#define FUNCTION_HEAD "FN void"
static void put_instance(Text *out, const char *head, const char *name, const EmitSetting *s,
                         String text) {
    static const char *const kinds[3][4] = {{"Raw", "ld", "st", "fetch"},
                                            {"Odd", "ld_odd", "st_odd", "fetch_odd<BLOCK>"},
                                            {"Raw", "ld_led", "st_led", "fetch_led"}};
    const char *const       *kind = kinds[s->led ? 2 : s->odd], *const *other = kinds[s->odd];
    /* blocks or clusters work on one iteration */
    bool whole = s->cluster > 1 || s->join > 1;
    text_addf(out,
              "#define HEAD %s\n#define NAME %s\n#define ARGS %s_args\n#define I %s\n#define V %u\n"
              "#define FULL %d\n#define TEAM %u\n#define BLOCK %u\n#define HELD %u\n"
              "#define SHARED %d\n#define ODD %d\n#define LED %d\n#define STAGED %d\n"
              "#define TILED %u\n#define TILE %d\n"
              "#define CLUSTER %u\n#define JOIN %u\n#define RING %u\n"
              "#define PLACE(h) ((h) * (BLOCK + ODD) + (I)threadIdx.x)\n"
              "#define AT(h) (SHARED ? PLACE(h) : (h))\n"
              "#define ROW_AT(h) (RING ? PLACE(h) : (h))\n"
              "#define ROOM (HELD * (BLOCK + ODD) * V)\n"
              "#define ALIVE(e) (FULL || ((e) < live && (!LED || (e) >= dead)))\n",
              head, name, name, s->wide ? "i64" : "i32", s->vector, s->full, s->team, s->block,
              s->held, s->shared, gpu_emit_shifted(s), s->led, s->staged, s->tiled, EMIT_TILE,
              s->cluster, s->join, s->ring);
    text_addf(out, "#define FIRST %s\n#define STEP %s\n",
              whole ? "((I)blockIdx.x / CLUSTER)"
                    : "((I)blockIdx.x * (BLOCK / TEAM) + (I)threadIdx.x / TEAM)",
              whole ? "((I)gridDim.x / CLUSTER)" : "((I)gridDim.x * (BLOCK / TEAM))");
    text_addf(out,
              "#define RAW %s\n#define LD %s\n#define ST %s\n#define FETCH %s\n"
              "#define RAWX %s\n#define LDX %s\n#define STX %s\n#define FETCHX %s\n"
              "#define ROWS _Pragma(\"unroll%s\")\n",
              kind[0], kind[1], kind[2], kind[3], other[0], other[1], s->led ? "st_led" : other[2],
              s->led ? "fetch_few" : other[3],
              s->staged      ? " 4"
              : s->held == 0 ? " 1"
              : s->shared    ? " 2"
                             : "");
    if (s->blocks != 0)
        text_addf(out, "#define BOUNDS BLOCK, %u\n", s->blocks);
    else
        text_add(out, STR("#define BOUNDS BLOCK\n"));
    text_add(out, text);
    text_add(out, STR("#undef HEAD\n#undef NAME\n#undef ARGS\n#undef I\n#undef V\n#undef FULL\n"
                      "#undef TEAM\n#undef BLOCK\n#undef BOUNDS\n#undef HELD\n#undef SHARED\n"
                      "#undef ODD\n#undef LED\n#undef STAGED\n#undef TILED\n#undef TILE\n"
                      "#undef CLUSTER\n#undef JOIN\n#undef RING\n#undef PLACE\n#undef ROW_AT\n"
                      "#undef AT\n#undef ROOM\n#undef ALIVE\n#undef FIRST\n#undef STEP\n"
                      "#undef RAW\n#undef LD\n#undef ST\n#undef FETCH\n#undef RAWX\n"
                      "#undef LDX\n#undef STX\n#undef FETCHX\n#undef ROWS\n"));
}
static Instance *find_instance(GpuEmitModule *m, uint32_t kernel, uint32_t phase,
                               const EmitSetting *setting) {
    for (uint32_t i = 0; i < m->instances_count; i++)
        if (m->instances[i].kernel == kernel && m->instances[i].phase == phase &&
            same_setting(&m->instances[i].setting, setting))
            return &m->instances[i];
    return NULL;
}
static void *grown(Arena *arena, void *rows, uint32_t count, uint32_t *max, size_t bytes) {
    if (count < *max) return rows;
    *max = *max * 2 + 64;
    void *more = arena_push(arena, *max * bytes, 16);
    if (count != 0) memcpy(more, rows, count * bytes);
    return more;
}
static uint32_t add_instance(GpuEmitModule *m, uint32_t kernel, uint32_t phase,
                             const EmitSetting *setting) {
    uint32_t at = m->instances_count++;
    m->instances = grown(m->arena, m->instances, at, &m->instances_max, sizeof *m->instances);
    String text = m->kernels[kernel].phases[phase].text;
    /* Of what they are, since the name is part of what the cache knows them by; else of where. */
    String name =
        m->cache != NULL
            ? str_format(m->arena, "fused_%08x", (uint32_t)hash_bytes(text.data, text.count, 0))
            : str_format(m->arena, "k%u_%u_", kernel, phase);
    m->instances[at] = (Instance){.kernel = kernel,
                                  .phase = phase,
                                  .setting = *setting,
                                  .name = name.data,
                                  .shared_allowed = 48 * 1024};
    return at;
}
static GpuSource source_of(const GpuEmitModule *m, const Instance *instance, Arena *out) {
    Text text = text_begin(out);
    gpu_emit_prelude(&text, false);
    put_instance(&text, KERNEL_HEAD, instance->name, &instance->setting,
                 m->kernels[instance->kernel].phases[instance->phase].text);
    return (GpuSource){instance->name, text_done(&text)};
}
/* Its code, from the threads that compile ahead or from this one. */
static Status take_image(GpuEmitModule *m, Instance *instance, Diags *diags) {
    uint32_t at = (uint32_t)(instance - m->instances);
    uint64_t begin_ns = os_clock_ns();
    Status   status = STATUS_OK;
    if (instance->image.count != 0) return STATUS_OK;
    if (m->ahead != NULL && at < m->ahead_count) {
        status = gpu_compile_take(m->ahead, at, diags, &instance->image);
    } else {
        GpuCompiled compiled;
        Scratch     scratch = scratch_begin(&m->arena, 1);
        GpuSource   source = source_of(m, instance, scratch.arena);
        status = gpu_compile(m->arena, m->libs, m->cache, m->arch, &source, 1, 1, diags,
                             &instance->image, &compiled);
        scratch_end(scratch);
        m->stats.compiled += compiled.compiled;
        m->stats.late++;
    }
    m->stats.ns += os_clock_ns() - begin_ns;
    return status;
}
static Status load(GpuEmitModule *m, Instance *instance, Diags *diags) {
    if (instance->loaded) return STATUS_OK;
    Status status = take_image(m, instance, diags);
    if (status == STATUS_OK)
        status = gpu_module_open(m->gpu, instance->name, instance->image, diags, &instance->module);
    if (status == STATUS_OK)
        status = gpu_module_kernel(&instance->module, instance->name, diags, &instance->code);
    instance->loaded = status == STATUS_OK;
    if (!instance->loaded) gpu_module_close(&instance->module);
    return status;
}

/* --- compiling -------------------------------------------------------------------------------- */
static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
/* Variables of loops are named by their rows, which differ from program to program: v3540. By the
 * order in which they come, equal phases have equal texts, and are found in the cache. */
static String renumber(Arena *out, String text) {
    enum { NAMES = 256 };
    uint32_t rows[NAMES], count = 0;
    Text     result = text_begin(out);
    size_t   done = 0;
    for (size_t i = 1; i + 1 < text.count; i++) {
        uint32_t row = 0, name = 0;
        size_t   end = i + 1;
        if (text.data[i] != 'v' || is_word(text.data[i - 1])) continue;
        while (text.data[end] >= '0' && text.data[end] <= '9')
            row = row * 10 + (uint32_t)(text.data[end++] - '0');
        if (end == i + 1 || is_word(text.data[end])) continue;
        while (name < count && rows[name] != row) name++;
        if (name == NAMES) return text; /* so many are not worth it */
        if (name == count) rows[count++] = row;
        text_add(&result, (String){text.data + done, i - done});
        text_addf(&result, "v%u", name);
        done = end;
    }
    text_add(&result, (String){text.data + done, text.count - done});
    return text_done(&result);
}
static Kernel plan_kernel(Arena *arena, Loops *loops, KernelId kernel) {
    Kernel   planned = {0};
    uint32_t first = loops->kernels.nodes_first[kernel.row];
    uint32_t last = first + loops->kernels.nodes_count[kernel.row];
    for (uint32_t row = first; row < last; row += loops->nodes.size[row]) planned.count++;
    planned.phases = ARENA_ARRAY_ZERO(arena, EmitPhase, planned.count);
    uint32_t at = 0;
    for (uint32_t row = first; row < last; row += loops->nodes.size[row], at++) {
        planned.phases[at] = gpu_emit_plan(arena, loops, kernel, row);
        planned.phases[at].text =
            renumber(arena, gpu_emit_phase_text(arena, loops, kernel, &planned.phases[at]));
    }
    return planned;
}
static int64_t *guess_params(Arena *arena, const Loops *loops, KernelId kernel) {
    uint32_t count = loops->kernels.params_count[kernel.row];
    int64_t *params = ARENA_ARRAY(arena, int64_t, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t symbol = loops->params.symbol[loops->kernels.params_first[kernel.row] + i].row;
        params[i] = loops->dims.rows.hint[symbol];
        if (params[i] == 0) params[i] = SIZE_GUESS;
    }
    return params;
}

String gpu_emit_text(Arena *out, Loops *loops, KernelId kernel) {
    Kernel   planned = plan_kernel(out, loops, kernel);
    int64_t *params = guess_params(out, loops, kernel);
    Text     text = text_begin(out);
    for (uint32_t i = 0; i < planned.count; i++) {
        EmitSetting s = gpu_emit_choose(loops, kernel, &planned.phases[i], params, NULL);
        char        name[32];
        (void)snprintf(name, sizeof name, "phase%u", i);
        put_instance(&text, KERNEL_HEAD, name, &s, planned.phases[i].text);
    }
    return text_done(&text);
}

static void plan_all(GpuEmitModule *m) {
    Loops *loops = m->loops;
    for (uint32_t row = 1; row < loops->kernels.table.count; row++) {
        KernelId kernel = {row};
        if (loops->kernels.same[row].row != row) continue;
        m->kernels[row] = plan_kernel(m->arena, loops, kernel);
        int64_t *params = guess_params(m->arena, loops, kernel);
        for (uint32_t i = 0; i < m->kernels[row].count; i++) {
            EmitSetting s =
                gpu_emit_choose(loops, kernel, &m->kernels[row].phases[i], params, NULL);
            (void)add_instance(m, row, i, &s);
        }
    }
}
Status gpu_emit_begin(Arena *arena, GpuLibs *libs, GpuCache *cache, const char *arch, Loops *loops,
                      uint32_t lanes, Diags *diags, GpuEmitModule **out_module) {
    ASSERT(arena && libs && arch && loops);
    uint64_t       begin_ns = os_clock_ns();
    GpuEmitModule *m = ARENA_NEW(arena, GpuEmitModule);
    *m =
        (GpuEmitModule){.arena = arena, .libs = libs, .cache = cache, .arch = arch, .loops = loops};
    m->kernels = ARENA_ARRAY_ZERO(arena, Kernel, loops->kernels.table.count);
    plan_all(m);
    GpuSource *sources = ARENA_ARRAY(arena, GpuSource, m->instances_count);
    for (uint32_t i = 0; i < m->instances_count; i++)
        sources[i] = source_of(m, &m->instances[i], arena);
    gpu_startup_end(libs->startup, GPU_PART_TEXT, "", begin_ns);
    m->ahead_count = m->instances_count;
    Status status = gpu_compile_begin(arena, libs, cache, arch, sources, m->ahead_count, lanes,
                                      diags, &m->ahead);
    if (status != STATUS_OK) return status;
    m->stats.compiled = gpu_compile_missing(m->ahead);
    m->stats.ns = os_clock_ns() - begin_ns;
    *out_module = m;
    return STATUS_OK;
}
static void stop(GpuEmitModule *m) {
    gpu_compile_close(m->ahead);
    m->ahead = NULL;
}
static Status take_all(GpuEmitModule *m, Diags *diags) {
    Status status = STATUS_OK;
    for (uint32_t i = 0; i < m->ahead_count && m->ahead != NULL; i++) {
        Status one = take_image(m, &m->instances[i], diags);
        if (status == STATUS_OK) status = one;
    }
    return status;
}
Status gpu_emit_finish(GpuEmitModule *m, Diags *diags) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        stop(m);
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    Status status = take_all(m, diags);
    arena_guard_end(&guard);
    stop(m);
    return status;
}
Status gpu_emit_compile(Arena *arena, GpuLibs *libs, GpuCache *cache, const char *arch,
                        Loops *loops, uint32_t lanes, Diags *diags, GpuEmitModule **out_module) {
    GpuEmitModule *m;
    Status         status = gpu_emit_begin(arena, libs, cache, arch, loops, lanes, diags, &m);
    if (status == STATUS_OK) status = gpu_emit_finish(m, diags);
    if (status == STATUS_OK) *out_module = m;
    return status;
}
void gpu_emit_keep(GpuEmitModule *m, Diags *diags) {
    if (m->ahead != NULL) gpu_compile_keep(m->ahead, diags);
}
void gpu_emit_load(GpuEmitModule *m, Gpu *gpu) {
    ASSERT(m && gpu && m->gpu == NULL);
    m->gpu = gpu;
}
void gpu_emit_unload(GpuEmitModule *m) {
    if (m == NULL) return;
    stop(m);
    for (uint32_t i = 0; i < m->instances_count; i++) {
        if (m->instances[i].loaded) gpu_module_close(&m->instances[i].module);
        m->instances[i].loaded = false;
    }
    m->gpu = NULL;
}
GpuEmitStats gpu_emit_stats(const GpuEmitModule *m) {
    GpuEmitStats stats = m->stats;
    stats.functions = m->instances_count;
    return stats;
}

/* --- launches --------------------------------------------------------------------------------- */
static KernelId code_of(const GpuEmitModule *m, KernelId kernel) {
    return m->loops->kernels.same[kernel.row];
}
uint32_t gpu_emit_launches_max(const GpuEmitModule *m, KernelId kernel) {
    return m->kernels[code_of(m, kernel).row].count;
}
static uint64_t aligned(uint64_t bytes) {
    return (bytes + GPU_EMIT_ALIGN - 1) / GPU_EMIT_ALIGN * GPU_EMIT_ALIGN;
}
static uint64_t buffers_work(const Loops *loops, KernelId kernel, const int64_t *params) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++) {
        uint32_t row = loops->kernels.buffers_first[kernel.row] + i;
        if (loops->buffers.scope[row] == SCOPE_WORK)
            bytes += aligned((uint64_t)gpu_emit_buffer_bytes(loops, kernel, row, params));
    }
    return bytes;
}
uint64_t gpu_emit_work_bytes(const GpuEmitModule *m, KernelId kernel, const int64_t *params) {
    KernelId      code = code_of(m, kernel);
    const Kernel *planned = &m->kernels[code.row];
    uint64_t      bytes = buffers_work(m->loops, code, params), most = 0;
    for (uint32_t i = 0; i < planned->count; i++) {
        int64_t lane = gpu_emit_lane_bytes(m->loops, code, &planned->phases[i], params, 0);
        int64_t rows = gpu_emit_rows(m->loops, code, &planned->phases[i], params);
        if (rows > LANE_TEAMS_MAX) rows = LANE_TEAMS_MAX;
        if (lane * 32 > EMIT_LANE_SHARED && (uint64_t)(lane * (rows + 32)) > most)
            most = (uint64_t)(lane * (rows + 32));
    }
    return bytes + most;
}

static Status prepare(GpuEmitModule *m, KernelId code, const int64_t *params, const CuPtr *args,
                      EmitSetting *settings, Diags *diags) {
    Status status = STATUS_OK;
    for (uint32_t i = 0; i < m->kernels[code.row].count && status == STATUS_OK; i++) {
        settings[i] =
            gpu_emit_choose(m->loops, code, &m->kernels[code.row].phases[i], params, args);
        if (find_instance(m, code.row, i, &settings[i]) == NULL)
            (void)add_instance(m, code.row, i, &settings[i]);
        status = load(m, find_instance(m, code.row, i, &settings[i]), diags);
    }
    return status;
}
/* The arguments of all phases: addresses, memory of teams, sizes. */
static uint64_t *pack_args(Arena *out, const GpuEmitModule *m, KernelId code, const int64_t *params,
                           const CuPtr *args, CuPtr work, CuPtr lane, int64_t lane_size,
                           uint32_t *out_bytes) {
    const Loops *loops = m->loops;
    uint32_t     first = loops->kernels.buffers_first[code.row], at = 0;
    uint32_t     buffers = loops->kernels.buffers_count[code.row];
    uint64_t    *words =
        ARENA_ARRAY(out, uint64_t, buffers + loops->kernels.params_count[code.row] + 2);
    for (uint32_t i = 0; i < buffers; i++) {
        uint32_t row = first + i;
        if (loops->buffers.scope[row] == SCOPE_ARG) words[at++] = args[loops->buffers.arg[row]];
        if (loops->buffers.scope[row] != SCOPE_WORK) continue;
        words[at++] = work;
        work += aligned((uint64_t)gpu_emit_buffer_bytes(loops, code, row, params));
    }
    words[at++] = lane;
    words[at++] = (uint64_t)lane_size;
    for (uint32_t i = 0; i < loops->kernels.params_count[code.row]; i++)
        words[at++] = (uint64_t)params[i];
    *out_bytes = at * 8;
    return words;
}
/* Of an element of what teams that share rows have held, one at a time. */
static uint32_t joined_bytes(const Loops *loops, KernelId kernel, const EmitPhase *phase) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++) {
        uint32_t row = loops->kernels.buffers_first[kernel.row] + i;
        uint32_t bytes = dtype_bytes((Dtype)loops->buffers.dtype[row]);
        if (phase->promoted[i] && bytes > most) most = bytes;
    }
    return most;
}
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static Status  fill_launch(GpuEmitModule *m, KernelId code, uint32_t phase_number,
                           const EmitSetting *s, const int64_t *params, const CuPtr *args,
                           CuPtr work, Arena *out, Diags *diags, GpuLaunch *out_launch) {
     const Loops     *loops = m->loops;
     const EmitPhase *phase = &m->kernels[code.row].phases[phase_number];
     Instance        *instance = find_instance(m, code.row, phase_number, s);
     int64_t          rows = gpu_emit_rows(loops, code, phase, params);
     int64_t          teams = s->cluster > 1 || s->join > 1 ? 1 : s->block / s->team;
     int64_t          lane = gpu_emit_lane_bytes(loops, code, phase, params, s->held);
     int64_t          in_block = phase->flat ? (int64_t)s->block * s->vector : teams;
     int64_t          grid = (rows + in_block - 1) / in_block;
     CuPtr            lanes = 0;
     if (lane * teams > EMIT_LANE_SHARED) { /* in memory of the launch, by fewer teams at a time */
        if (grid > LANE_TEAMS_MAX / teams) grid = LANE_TEAMS_MAX / teams;
        lanes = work + buffers_work(loops, code, params);
    }
     if (s->tiled)
        grid = ceil_div(rows, EMIT_TILE) *
               ceil_div(gpu_emit_longest(loops, code, phase, params), EMIT_TILE);
    grid *= s->cluster;
     if (grid > INT32_MAX) grid = INT32_MAX / s->cluster * s->cluster;
    *out_launch = (GpuLaunch){.kernel = instance->code,
                               .grid = {(uint32_t)grid, 1, 1},
                               .block = {s->block, 1, 1},
                               .shared_bytes = lanes == 0 ? (uint32_t)(lane * teams) : 0};
     if (s->shared)
        out_launch->shared_bytes =
            (uint32_t)s->held * (s->block + gpu_emit_shifted(s)) * s->vector * phase->held_bytes;
    if (s->ring != 0) out_launch->shared_bytes = s->ring * gpu_emit_ring_bytes(phase, s);
    if (s->join > 1) {
         uint32_t joined =
             s->join / 2U * s->team * s->held * s->vector * joined_bytes(loops, code, phase);
         if (joined > out_launch->shared_bytes) out_launch->shared_bytes = joined;
    }
     if (s->staged)
        out_launch->shared_bytes =
            (uint32_t)gpu_emit_stage_bytes(loops, code, phase, params, s->block);
    if (s->cluster > 1 && phase->tells)
        memcpy(out_launch->cluster, (uint32_t[3]){s->cluster, 1, 1}, 12);
    out_launch->args =
         pack_args(out, m, code, params, args, work, lanes, lane, &out_launch->args_bytes);
     uint32_t shared = out_launch->shared_bytes + instance->code.shared_bytes;
     if (shared <= instance->shared_allowed) return STATUS_OK;
    instance->shared_allowed = shared;
     return gpu_kernel_allow(m->gpu, instance->code, out_launch->shared_bytes,
                             s->cluster > EMIT_CLUSTER_MAX, diags);
}
Status gpu_emit_launches(GpuEmitModule *m, KernelId kernel, const int64_t *params,
                         const CuPtr *args, CuPtr work, Arena *out, Diags *diags,
                         GpuLaunch *out_launches, uint32_t *out_count) {
    ASSERT(m->gpu != NULL);
    KernelId     code = code_of(m, kernel);
    uint32_t     count = m->kernels[code.row].count;
    Scratch      scratch = scratch_begin(&out, 1);
    EmitSetting *settings = ARENA_ARRAY(scratch.arena, EmitSetting, count + 1);
    *out_count = 0;
    Status status = prepare(m, code, params, args, settings, diags);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        if (gpu_emit_rows(m->loops, code, &m->kernels[code.row].phases[i], params) <= 0) continue;
        status = fill_launch(m, code, i, &settings[i], params, args, work, out, diags,
                             &out_launches[*out_count]);
        ++*out_count;
    }
    scratch_end(scratch);
    return status;
}

/* --- functions of one block ------------------------------------------------------------------- */
double gpu_emit_elements(const GpuEmitModule *m, KernelId kernel, const int64_t *params) {
    KernelId code = code_of(m, kernel);
    double   elements = 0;
    for (uint32_t i = 0; i < m->kernels[code.row].count; i++) {
        const EmitPhase *phase = &m->kernels[code.row].phases[i];
        double           all = 1;
        for (uint32_t k = 0; k < phase->leaves_count; k++)
            all += (double)gpu_emit_size(m->loops, code, phase->leaves[k].extent, params);
        elements += phase->flat ? all : all * (double)gpu_emit_rows(m->loops, code, phase, params);
    }
    return elements;
}
/* Rows and their elements are dealt to the threads there are; nothing is held. */
static EmitSetting block_setting(const Loops *loops, const GpuEmitCall *call, KernelId code,
                                 const EmitPhase *phase) {
    EmitSetting    s = {.team = 1,
                        .block = (uint16_t)call->threads,
                        .vector = (uint8_t)phase->vector,
                        .cluster = 1,
                        .join = 1};
    const int64_t *params = call->params;
    int64_t        longest = gpu_emit_longest(loops, code, phase, params);
    int64_t        rows = phase->flat ? 1 : gpu_emit_rows(loops, code, phase, params);
    const uint16_t teams[] = {8, 32, s.block};
    s.wide = !gpu_emit_narrow(loops, code, phase, params);
    while (s.vector > 1 && (longest * rows < (int64_t)s.vector * s.block || longest < s.vector ||
                            !gpu_emit_aligned(loops, code, phase, params, call->aligns, s.vector)))
        s.vector /= 2;
    s.full = true;
    for (uint32_t i = 0; i < phase->leaves_count; i++)
        s.full &= gpu_emit_multiple(loops, code, phase->leaves[i].extent, params, s.vector);
    for (size_t i = 0; i < LENGTH(teams) && !phase->flat && phase->leaves_count != 0; i++)
        if (s.team * rows < s.block && s.team * (int64_t)s.vector < longest) s.team = teams[i];
    if (phase->parallel == 0 && !phase->flat) s.team = s.block; /* as in choose_team */
    return s;
}
static void put_call(const GpuEmitModule *m, const GpuEmitCall *call, KernelId code,
                     const char *name, int64_t lane, Text *calls) {
    const Loops *loops = m->loops;
    uint32_t     first = loops->kernels.buffers_first[code.row];
    uint64_t     work = 0;
    text_addf(calls, "{ %s_args x;\n", name);
    for (uint32_t i = 0; i < loops->kernels.buffers_count[code.row]; i++) {
        uint32_t row = first + i;
        bool     works = loops->buffers.scope[row] == SCOPE_WORK;
        if (loops->buffers.scope[row] == SCOPE_ARG)
            text_addf(calls, "x.b%u = %s;\n", i, call->addresses[loops->buffers.arg[row]].data);
        if (!works) continue;
        text_addf(calls, "x.b%u = %s + %lluull;\n", i, call->work.data, (unsigned long long)work);
        work += aligned((uint64_t)gpu_emit_buffer_bytes(loops, code, row, call->params));
    }
    text_addf(calls, "x.lane = 0;\nx.lane_bytes = %lldll;\n", (long long)lane);
    for (uint32_t i = 0; i < loops->kernels.params_count[code.row]; i++)
        text_addf(calls, "x.n%u = %lldll;\n", i, (long long)call->params[i]);
    text_addf(calls, "%s(x); }\n__syncthreads();\n", name);
}
void gpu_emit_call(const GpuEmitModule *m, const GpuEmitCall *call, Text *functions, Text *calls,
                   uint32_t *shared_bytes, uint32_t *static_bytes) {
    KernelId code = code_of(m, call->kernel);
    for (uint32_t i = 0; i < m->kernels[code.row].count; i++) {
        const EmitPhase *phase = &m->kernels[code.row].phases[i];
        char             name[48];
        if (gpu_emit_rows(m->loops, code, phase, call->params) <= 0) continue;
        EmitSetting s = block_setting(m->loops, call, code, phase);
        int64_t     lane = gpu_emit_lane_bytes(m->loops, code, phase, call->params, 0);
        int64_t     bytes = lane * (s.block / s.team);
        (void)snprintf(name, sizeof name, "c%u_%u_%u", call->number, code.row, i);
        put_instance(functions, FUNCTION_HEAD, name, &s, phase->text);
        put_call(m, call, code, name, lane, calls);
        *static_bytes += phase->slots * 2 * 32 * 8;
        if (bytes > *shared_bytes)
            *shared_bytes = (uint32_t)(bytes < INT32_MAX ? bytes : INT32_MAX);
    }
}
