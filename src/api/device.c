/* Sessions on a GPU. Uploads go through page-locked staging and overlap with what the device does;
 * a run waits only for outputs that the caller takes, and for the verdict of asserts. */
#include "api/device.h"

#include "arena/os.h"

/* Leaves with the first failure. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        Status status_ = (call);                                                                   \
        if (status_ != STATUS_OK) return status_;                                                  \
    } while (0)

enum { STAGING_BYTES = 8 << 20, PLACE_ALIGN = 256 };

struct SessionGpu {
    Target         target;
    GpuLibs       *libs;
    GpuCache       cache;
    Gpu           *gpu;
    GpuAhead      *ahead;
    GpuKit        *kit;
    GpuEmitModule *module;
    GpuStream      stream;
    GpuStaging     staging;
    GpuEvent       done;          /* of the last run: inputs may be overwritten */
    bool           ran, took;     /* took: outputs, so the first run is done */
    GpuArena       state, memory; /* memory: slot 0 of every plan */
    CuPtr         *places;        /* of the state, by row */
    bool           mirrored;      /* the host has what the device has */
    GpuProfile    *profile;       /* NULL: not recording */
    bool           alone;         /* profiles are of launches alone: there is no CUPTI */
    uint64_t       gaps_ns, gaps, longest_ns, kernels_ns; /* inside launches of graphs */
    uint64_t       last_end_ns;
    uint32_t       last_correlation;
    uint64_t       unknown_ns; /* of kernels that no plan is charged with yet */
    PlanEntry     *last_entry; /* of the launch of a graph that was looked at last */
    uint32_t       runs_noted; /* systems that are in the log of starting */
};

/* --- opening ---------------------------------------------------------------------------------- */
Status device_open(StoaSession *session, uint32_t ordinal, const Target **out_target) {
    StoaContext *context = session->context;
    Diags       *diags = &context->diags;
    SessionGpu  *g = session->gpu = ARENA_NEW(session->arena, SessionGpu);
    memset(g, 0, sizeof *g);
    g->libs = gpu_libs_open(session->arena, STR(""));
    g->cache = context->kernel_cache != NULL
                   ? gpu_cache_open(session->arena, str_of(context->kernel_cache))
                   : (GpuCache){0};
    g->ahead = gpu_ahead_open(session->arena, g->libs);
    TRY(gpu_open(session->arena, g->libs, ordinal, diags, &g->gpu));
    gpu_ahead_device(g->ahead, g->gpu);
    const char   *ranges = os_environment("STOA_NVTX");
    GpuKitOptions options = {.cache = &g->cache,
                             .ahead = g->ahead,
                             .lanes = workers_lanes(context->workers),
                             .tune = true,
                             .ranges = ranges && *ranges == '1'};
    uint64_t      most = g->gpu->info.memory_bytes;
    TRY(gpu_kit_open(session->arena, g->gpu, &options, diags, &g->kit));
    TRY(gpu_stream_open(g->gpu, diags, &g->stream));
    TRY(gpu_staging_open(g->gpu, STAGING_BYTES, diags, &g->staging));
    TRY(gpu_event_open(g->gpu, false, diags, &g->done));
    TRY(gpu_arena_open(g->gpu, "state", 0, most, diags, &g->state));
    TRY(gpu_arena_open(g->gpu, "intermediates", 0, most, diags, &g->memory));
    gpu_describe(&g->target, gpu_kit_has_cudnn(g->kit));
    const GpuInfo *info = &g->gpu->info;
    if (gpu_peak_gflop_s(info, DTYPE_F8E4M3, false) == 0) g->target.multiplies_f8 = false;
    if (info->major != 9) g->target.keep[OP_DOT_BIAS] = false; /* scales of blocks of 128 in f32 */
    *out_target = &g->target;
    return STATUS_OK;
}

void device_close(StoaSession *session) {
    SessionGpu *g = session->gpu;
    if (g == NULL) return;
    if (g->gpu != NULL) {
        Diags *diags = &session->context->diags;
        if (gpu_attach(g->gpu, diags) != STATUS_OK) diags_clear(diags); /* lost: closing is local */
        gpu_profile_close(g->profile);
        gpu_staging_close(&g->staging);
        gpu_event_close(&g->done);
        gpu_stream_close(&g->stream);
        gpu_emit_unload(g->module);
        gpu_kit_close(g->kit);
        gpu_arena_close(&g->memory);
        gpu_arena_close(&g->state);
    }
    gpu_ahead_close(g->ahead);
    gpu_close(g->gpu);
    gpu_libs_close(g->libs);
    session->gpu = NULL;
}

Status device_compile(StoaSession *session) {
    SessionGpu  *g = session->gpu;
    StoaContext *context = session->context;
    Diags       *diags = &context->diags;
    TRY(gpu_emit_begin(session->arena, g->libs, &g->cache, g->gpu->info.arch,
                       session->runner.ctx.loops, workers_lanes(context->workers), diags,
                       &g->module));
    gpu_emit_load(g->module, g->gpu);
    uint32_t count = session->state_count + session->copies_count;
    g->places = ARENA_ARRAY(session->arena, CuPtr, count + 1);
    for (uint32_t i = 0; i < count; i++)
        TRY(gpu_push(&g->state, session->state[i].bytes, PLACE_ALIGN, diags, &g->places[i]));
    return STATUS_OK;
}

/* --- state ------------------------------------------------------------------------------------ */
Status device_read_state(StoaSession *session) {
    SessionGpu *g = session->gpu;
    if (g == NULL || g->mirrored) return STATUS_OK;
    Diags *diags = &session->context->diags;
    TRY(gpu_attach(g->gpu, diags));
    for (uint32_t i = 0; i < session->state_count; i++)
        if (session->state[i].bytes != 0)
            TRY(gpu_staging_copy_out(&g->staging, g->stream, session->state[i].tensor.data,
                                     g->places[i], session->state[i].bytes, diags));
    g->mirrored = true;
    return STATUS_OK;
}
static Status send(SessionGpu *g, CuPtr into, const void *from, uint64_t bytes, Diags *diags) {
    if (bytes == 0) return STATUS_OK;
    return gpu_staging_copy_in(&g->staging, into, from, bytes, g->ran ? g->done : (GpuEvent){0},
                               diags);
}
Status device_write_state(StoaSession *session) {
    SessionGpu *g = session->gpu;
    if (g == NULL) return STATUS_OK;
    Diags   *diags = &session->context->diags;
    uint64_t begin_ns = os_clock_ns();
    TRY(gpu_attach(g->gpu, diags));
    for (uint32_t i = 0; i < session->state_count + session->copies_count; i++)
        TRY(send(g, g->places[i], session->state[i].tensor.data, session->state[i].bytes, diags));
    g->mirrored = true;
    gpu_startup_end(g->libs->startup, GPU_PART_STATE, "", begin_ns);
    return gpu_staging_join(&g->staging, g->stream, diags);
}

/* --- plans ------------------------------------------------------------------------------------ */
static CuPtr place_of_state(const StoaSession *session, StrId name) {
    for (uint32_t i = 0; i < session->state_count + session->copies_count; i++)
        if (session->state[i].name.row == name.row) return session->gpu->places[i];
    ASSERT(!"a parameter without state");
    return 0;
}
static bool has_place(uint8_t kind) {
    return kind == SLOT_INPUT || kind == SLOT_OUTPUT || kind == SLOT_CONSTANT;
}

Status device_bind(StoaSession *session, PlanEntry *entry, const ShapeProgram *program) {
    SessionGpu  *g = session->gpu;
    Diags       *diags = &session->context->diags;
    const Slots *slots = &entry->plan->slots;
    uint64_t     total = 0;
    PlanPlaces  *places = entry->places = ARENA_NEW(entry->plan->arena, PlanPlaces);
    memset(places, 0, sizeof *places);
    places->addresses = ARENA_ARRAY_ZERO(entry->plan->arena, CuPtr, slots->table.count);
    for (uint32_t row = 1; row < slots->table.count; row++)
        if (has_place(slots->kind[row]))
            total += (slots->bytes[row] + PLACE_ALIGN) / PLACE_ALIGN * PLACE_ALIGN;
    TRY(gpu_attach(g->gpu, diags));
    if (program->late)
        TRY(gpu_late_open(entry->plan->arena, entry->plan, program, g->module, g->kit, diags,
                          &places->late));
    else
        TRY(gpu_bind(entry->plan->arena, entry->plan, g->module, g->kit, diags, &places->plan));
    TRY(gpu_arena_open(g->gpu, "inputs, outputs, constants", total, total, diags, &places->memory));
    for (uint32_t row = 1; row < slots->table.count; row++) {
        CuPtr *place = &places->addresses[row];
        if (slots->kind[row] == SLOT_PARAMETER) *place = place_of_state(session, slots->name[row]);
        if (!has_place(slots->kind[row])) continue;
        TRY(gpu_push(&places->memory, slots->bytes[row], PLACE_ALIGN, diags, place));
        if (slots->kind[row] == SLOT_CONSTANT)
            TRY(send(g, *place, consts_bytes(&session->world->consts, (ConstId){slots->index[row]}),
                     slots->bytes[row], diags));
    }
    return gpu_staging_join(&g->staging, g->stream, diags);
}
void device_unbind(PlanEntry *entry) {
    if (entry->places == NULL) return;
    gpu_plan_close(entry->places->plan);
    gpu_late_close(entry->places->late);
    gpu_arena_close(&entry->places->memory);
    entry->places = NULL;
}

/* --- run -------------------------------------------------------------------------------------- */
Status device_run(StoaSession *session, PlanEntry *entry, const Tensor *inputs, bool *out_stopped) {
    SessionGpu  *g = session->gpu;
    Diags       *diags = &session->context->diags;
    PlanPlaces  *places = entry->places;
    const Slots *slots = &entry->plan->slots;
    uint32_t     failed = 0;
    TRY(gpu_attach(g->gpu, diags));
    TRY(gpu_arena_grow(&g->memory, entry->plan->arena_bytes, diags));
    places->addresses[0] = g->memory.base;
    for (uint32_t row = 1; row < slots->table.count; row++)
        if (slots->kind[row] == SLOT_INPUT)
            TRY(send(g, places->addresses[row], inputs[slots->index[row]].data, slots->bytes[row],
                     diags));
    TRY(gpu_staging_join(&g->staging, g->stream, diags));
    g->mirrored = false;
    if (places->late != NULL)
        TRY(gpu_late_run(places->late, places->addresses, g->stream, diags, &failed));
    else
        TRY(gpu_run(places->plan, places->addresses, g->stream, diags));
    TRY(gpu_event_record(g->done, g->stream, diags));
    if (g->profile != NULL && gpu_profile_is_filling(g->profile)) TRY(device_collect(session));
    g->ran = true;
    if (places->late == NULL) {
        TRY(gpu_run_printed(places->plan, g->stream, diags));
        TRY(gpu_run_failed(places->plan, g->stream, diags, &failed));
    }
    *out_stopped = failed != 0;
    return STATUS_OK;
}
Status device_take(StoaSession *session, PlanEntry *entry, const StoaTensor *outputs,
                   uint32_t outputs_count) {
    SessionGpu  *g = session->gpu;
    const Slots *slots = &entry->plan->slots;
    uint64_t     begin_ns = g->took ? 0 : os_clock_ns();
    for (uint32_t row = 1; row < slots->table.count; row++) {
        uint32_t index = slots->index[row];
        if (slots->kind[row] != SLOT_OUTPUT || index >= outputs_count) continue;
        Tensor sized = {.dtype = (Dtype)outputs[index].dtype, .rank = outputs[index].rank};
        memcpy(sized.shape, outputs[index].shape, sizeof sized.shape);
        if (outputs[index].data != NULL && tensor_bytes(&sized) != 0)
            TRY(gpu_staging_copy_out(&g->staging, g->stream, outputs[index].data,
                                     entry->places->addresses[row], tensor_bytes(&sized),
                                     &session->context->diags));
    }
    if (!g->took) gpu_startup_end(g->libs->startup, GPU_PART_STEP, "", begin_ns);
    g->took = true;
    return STATUS_OK;
}

/* --- profiles --------------------------------------------------------------------------------- */

/* Why there is no recording: what the first row says. */
static void warn_alone(StoaContext *context, const Diags *heard) {
    bool   library = heard->rows.kind[1] == DIAG_GPU_LIBRARY;
    String why = diags_str_get(heard, library ? heard->rows.arg1[1] : heard->rows.arg2[1]);
    Diags *diags = &context->diags;
    (void)diags_add(diags, DIAG_GPU_UNPROFILED, 0, diags_str(diags, why), 0, 0, 0);
}

/* Pushes nothing: also after an unwind. */
static void stop_recording(SessionGpu *g) {
    gpu_kit_watch(g->kit, NULL);
    gpu_profile_close(g->profile);
    g->profile = NULL;
}
Status device_watch(StoaSession *session, bool on) {
    SessionGpu *g = session->gpu;
    if (on == (g->profile != NULL) || (on && g->alone)) return STATUS_OK;
    if (!on) {
        stop_recording(g);
        return STATUS_OK;
    }
    TRY(gpu_attach(g->gpu, &session->context->diags));
    Diags heard;
    diags_open(&heard, NULL);
    g->alone = gpu_profile_open(session->arena, g->libs, &heard, &g->profile) != STATUS_OK;
    if (g->alone) warn_alone(session->context, &heard);
    diags_close(&heard);
    gpu_kit_watch(g->kit, g->profile);
    return g->alone ? STATUS_UNSUPPORTED : STATUS_OK;
}

static PlanEntry *find_entry(StoaSession *session, uint64_t tag, uint32_t *out_launch) {
    for (uint32_t i = 0; tag != 0 && i < session->plans_count; i++) {
        PlanEntry *entry = &session->plans[i];
        if (entry->plan == NULL || entry->places == NULL || entry->places->plan == NULL) continue;
        *out_launch = gpu_plan_tagged(entry->places->plan, tag);
        if (*out_launch != 0) return entry;
    }
    return NULL;
}
/* Time between the kernels of one launch of a graph; false: this is the first of them. */
static bool add_gap(SessionGpu *g, const GpuWork *work, uint64_t *out_gap_ns) {
    bool     within = work->correlation == g->last_correlation;
    uint64_t gap = within && work->start_ns > g->last_end_ns ? work->start_ns - g->last_end_ns : 0;
    if (within) {
        g->gaps_ns += gap;
        g->gaps++;
        if (gap > g->longest_ns) g->longest_ns = gap;
    } else {
        g->last_end_ns = 0;
    }
    g->last_correlation = work->correlation;
    g->kernels_ns += work->end_ns - work->start_ns;
    if (work->end_ns > g->last_end_ns) g->last_end_ns = work->end_ns;
    *out_gap_ns = gap;
    return within;
}
static bool runs_beside(const Plan *plan, uint32_t launch) {
    uint32_t opcode = plan->launches.opcode[launch];
    return opcode == OP_COPY_OUT || opcode == OP_COPY_BACK;
}
/* Kernels whose operator is not known and gaps count for the plan that ran before them in the same
 * launch of a graph. */
static void add_work(StoaSession *session, const GpuWork *work) {
    SessionGpu *g = session->gpu;
    uint32_t    launch = 0;
    uint64_t    gap_ns = 0;
    PlanEntry  *entry = find_entry(session, work->tag, &launch);
    if (session->work != NULL) session->work(session->span_context, entry, launch, work);
    if (!work->graph || work->kind == GPU_WORK_CALL) return;
    bool beside = entry != NULL && runs_beside(entry->plan, launch);
    if (!beside && !add_gap(g, work, &gap_ns)) g->last_entry = NULL;
    if (entry == NULL) g->unknown_ns += work->end_ns - work->start_ns;
    if (entry == NULL) entry = g->last_entry;
    g->last_entry = entry;
    if (entry == NULL) return;
    entry->gaps_ns += gap_ns;
    entry->unknown_ns += g->unknown_ns;
    g->unknown_ns = 0;
    if (launch == 0) return;
    entry->timed_runs += entry->correlation != work->correlation;
    entry->correlation = work->correlation;
    entry->launch_ns[launch] += work->end_ns - work->start_ns;
}
/* Launches change the state: it is put back. */
static Status collect_alone(StoaSession *session) {
    SessionGpu *g = session->gpu;
    Diags      *diags = &session->context->diags;
    enum { ROUNDS = 5 };
    TRY(device_read_state(session));
    for (uint32_t i = 0; i < session->plans_count; i++) {
        PlanEntry *entry = &session->plans[i];
        if (entry->plan == NULL || entry->places == NULL || entry->places->plan == NULL) continue;
        if (entry->used == 0 || entry->places->addresses[0] == 0) continue; /* it never ran */
        Scratch  scratch = scratch_begin(NULL, 0);
        uint32_t rows = entry->plan->launches.table.count;
        double  *us = ARENA_ARRAY_ZERO(scratch.arena, double, rows);
        Status   status = gpu_plan_profile(entry->places->plan, entry->places->addresses, g->stream,
                                           ROUNDS, diags, us);
        for (uint32_t row = 1; row < rows; row++) entry->launch_ns[row] = (uint64_t)(us[row] * 1e3);
        entry->timed_runs = 1;
        scratch_end(scratch);
        TRY(status);
    }
    return session_wrote_state(session);
}
Status device_collect(StoaSession *session) {
    SessionGpu *g = session->gpu;
    Diags      *diags = &session->context->diags;
    GpuWorkList list;
    TRY(gpu_attach(g->gpu, diags));
    if (g->alone && session->work == NULL) return collect_alone(session);
    if (g->profile == NULL) return STATUS_OK;
    TRY(gpu_sync(g->gpu, diags));
    TRY(gpu_profile_collect(g->profile, diags, &list));
    bool graphs = false, named = false;
    for (uint32_t i = 0; i < list.count; i++) {
        bool in_graph = list.works[i].graph && list.works[i].kind != GPU_WORK_CALL;
        graphs |= in_graph;
        named |= in_graph && list.works[i].tag != 0;
        add_work(session, &list.works[i]);
    }
    if (!graphs || named || session->work != NULL) return STATUS_OK;
    stop_recording(g); /* it does not say which launch a node of a graph is */
    g->alone = true;
    return collect_alone(session);
}

ProfilePeaks device_peaks(const StoaSession *session) {
    ProfilePeaks peaks = {0};
    if (session->gpu == NULL) return peaks;
    const GpuInfo *info = &session->gpu->gpu->info;
    peaks.gb_s = (double)info->bandwidth * 1e-9;
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++)
        peaks.gflop_s[dtype] = gpu_peak_gflop_s(info, (Dtype)dtype, false);
    return peaks;
}
void device_add_gaps(Text *text, const StoaSession *session) {
    const SessionGpu *g = session->gpu;
    if (g->alone) text_add(text, STR("each launch ran alone, on its own operands\n"));
    if (g->gaps == 0) return;
    text_addf(text,
              "gaps between kernels of a step: %.2f us on average, %.1f us at most, %.1f %% of the "
              "time of the device\n",
              (double)g->gaps_ns / (double)g->gaps * 1e-3, (double)g->longest_ns * 1e-3,
              100 * (double)g->gaps_ns / (double)(g->gaps_ns + g->kernels_ns));
    if (g->profile != NULL && gpu_profile_lost(g->profile) > 0)
        text_addf(text, "%llu records were lost: times are too small\n",
                  (unsigned long long)gpu_profile_lost(g->profile));
}
const GpuStartup *device_startup(const StoaSession *session) { return session->gpu->libs->startup; }

void device_add_startup(Text *text, StoaSession *session) {
    SessionGpu       *g = session->gpu;
    const GpuStartup *startup = device_startup(session);
    uint64_t          begin_ns = UINT64_MAX, end_ns = 0;
    for (; g->runs_noted < session->runner.runs_count; g->runs_noted++) {
        const SystemRun *run = &session->runner.runs[g->runs_noted];
        gpu_startup_add(g->libs->startup, GPU_PART_TABLES, system_infos[run->kind].name, 0,
                        run->begin_ns, run->end_ns);
    }
    for (uint32_t i = 0; i < gpu_startup_count(startup); i++) {
        const GpuStartupRow *row = &startup->rows[i];
        if (row->begin_ns < begin_ns) begin_ns = row->begin_ns;
        if (row->part == GPU_PART_STEP && end_ns == 0) end_ns = row->end_ns;
    }
    if (end_ns == 0) return;
    Scratch scratch = scratch_begin(&text->arena, 1);
    text_addf(text, "to the end of the first run: %.2f s\n", (double)(end_ns - begin_ns) * 1e-9);
    text_add(text, gpu_startup_text(scratch.arena, startup, begin_ns, end_ns));
    scratch_end(scratch);
}
uint64_t device_memory(const StoaSession *session) { return session->gpu->gpu->bytes; }
