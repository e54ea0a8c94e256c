/* The training loop: batches in, steps run, and around them evaluation, logging, checkpoints, trace
 * and plot. The state of a run is the tensors and the number of steps done: batches, learning rates
 * and random seeds are pure functions of the step, so resuming repeats nothing and skips
 * nothing. */
#include <math.h>

#include "api/data.h"
#include "api/device.h"
#include "arena/hash.h"
#include "formats/files.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/plot.h"
#include "train/schedule.h"
#include "train/trace.h"

enum { TRAIN_INPUTS_MAX = 8, TRAIN_RING = 4, TRAIN_FULL_MAX = 3, TRAIN_STREAMS_MAX = 7 };

typedef struct Training {
    StoaSession     *session;
    StoaContext     *context;
    StoaData        *data;
    StoaTrainOptions options;
    StoaTrainResult  result;
    Schedule         schedule;
    Arena           *arena, *line; /* of the run; of one log line */
    Feed            *feed;
    Metrics          metrics;
    Trace           *trace;
    uint32_t         system_lane, ahead_lane, runs_traced, startup_traced;
    uint32_t         streams[TRAIN_STREAMS_MAX], streams_count; /* of a GPU: lanes of the trace */
    FeedBatch        validation;
    uint32_t         micro; /* micro-batch of the step */
    uint64_t         step, begin_ns, log_ns, log_step, first_step;
    uint32_t         nonfinite_row; /* steps in a row */
    double           loss, norm, rate, validation_loss, validation_accuracy;
    bool             stopping;
} Training;

/* --- running graphs --------------------------------------------------------------------------- */
typedef union ScalarStore {
    double  f64;
    float   f32;
    int64_t i64;
} ScalarStore;

/* Fills the inputs of a graph: data first, then scalars by name. False if a name is unknown. */
static bool graph_inputs(Training *t, const char *name, const StoaTensor *data, ScalarStore *store,
                         StoaTensor *inputs, uint32_t *out_count) {
    World   *world = t->session->world;
    GraphId  graph = session_graph(t->session, name);
    uint32_t next = 0;
    if (!graph_id_some(graph)) return false;
    uint32_t block = world->code.graphs.block[graph.row].row,
             count = world->code.blocks.args_count[block];
    for (uint32_t i = 0; i < count && i < TRAIN_INPUTS_MAX; i++) {
        ValueId arg = {world->code.blocks.args_first[block].row + i};
        String  label = strings_get(&world->strings, world->code.values.name[arg.row]);
        Dtype   dtype = type_dtype(&world->types, value_type(world, arg));
        double  number = str_same(label, STR("rate")) ? t->rate : (double)(t->step + 1);
        if (str_same(label, STR("seed")) && dtype == DTYPE_I64) {
            uint64_t draw = t->step * t->options.accumulate + t->micro;
            store[i].i64 = (int64_t)(hash_mix(t->options.seed, draw) >> 1);
        } else if (str_same(label, STR("rate")) || str_same(label, STR("step"))) {
            (void)const_encode(dtype, number, &store[i]);
        } else if (data != NULL && next < DATA_INPUTS) {
            inputs[i] = data[next++];
            continue;
        } else {
            api_misuse(t->context, "stoa_train",
                       "a graph input is neither data nor named rate, step or seed");
            return false;
        }
        inputs[i] = (StoaTensor){(StoaDtype)dtype, 0, {0}, &store[i]};
    }
    *out_count = count;
    return count <= TRAIN_INPUTS_MAX;
}

static double scalar_of(const StoaTensor *tensor) {
    return tensor->rank == 0 ? const_decode((Dtype)tensor->dtype, tensor->data) : NAN;
}

/* Runs a graph; loss and second output (NaN if absent) are returned through the pointers. */
static StoaStatus run_graph(Training *t, const char *name, const StoaTensor *data,
                            double *out_first, double *out_second, bool *out_stopped) {
    StoaTensor  inputs[TRAIN_INPUTS_MAX], outputs[2] = {{STOA_NONE, 0, {0}, NULL}};
    ScalarStore store[TRAIN_INPUTS_MAX], results[2];
    uint32_t    count = 0;
    memset(outputs, 0, sizeof outputs);
    if (!graph_inputs(t, name, data, store, inputs, &count))
        return api_fail(t->context, NULL, STATUS_INVALID);
    GraphId  graph = session_graph(t->session, name);
    World   *world = t->session->world;
    OpId     end = block_return(&world->code, world->code.graphs.block[graph.row]);
    uint32_t given =
        world->code.ops.operands_count[end.row] < 2 ? world->code.ops.operands_count[end.row] : 2;
    for (uint32_t i = 0; i < given; i++)
        if (type_rank(&world->types, value_type(world, op_operand(&world->code, end, i))) == 0)
            outputs[i].data = &results[i];
    StoaStatus status = stoa_run(t->session, name, inputs, count, outputs, given, out_stopped);
    if (status != STOA_OK) return status;
    *out_first = given > 0 && outputs[0].data ? scalar_of(&outputs[0]) : NAN;
    *out_second = given > 1 && outputs[1].data ? scalar_of(&outputs[1]) : NAN;
    return STOA_OK;
}

/* --- one step --------------------------------------------------------------------------------- */
static StoaStatus run_micro_batches(Training *t, bool *out_stopped) {
    uint32_t   parts = t->options.accumulate;
    double     sum = 0, unused;
    StoaTensor data[DATA_INPUTS];
    for (uint32_t i = 0; i < parts; i++) {
        double           loss;
        const FeedBatch *batch = feed_next(t->feed);
        t->micro = i;
        data_tensors(t->data, &t->data->train, batch, data);
        StoaStatus status = run_graph(t, parts > 1 ? "accumulate" : "train", data, &loss,
                                      parts > 1 ? &unused : &t->norm, out_stopped);
        feed_recycle(t->feed);
        if (status != STOA_OK) return status;
        sum += loss;
        /* the rest of the step is used up, so that batch numbers stay in step */
        if (*out_stopped) {
            for (uint32_t k = i + 1; k < parts; k++) {
                (void)feed_next(t->feed);
                feed_recycle(t->feed);
            }
            t->loss = sum / (i + 1);
            return STOA_OK;
        }
    }
    t->loss = sum / parts;
    return parts > 1 ? run_graph(t, "apply", NULL, &t->norm, &unused, out_stopped) : STOA_OK;
}

/* After an accumulation that stopped or failed the sums hold parts of a step that does not
 * count. */
static Status clear_sums(Training *t) {
    Status status = device_read_state(t->session);
    if (status != STATUS_OK) return status;
    for (uint32_t i = 0; i < t->session->state_count; i++) {
        String name = strings_get(&t->session->world->strings, t->session->state[i].name);
        if (str_starts(name, STR("optimizer.sum.")))
            memset(t->session->state[i].tensor.data, 0, t->session->state[i].bytes);
    }
    return session_wrote_state(t->session);
}

static StoaStatus train_step(Training *t) {
    bool stopped = false;
    t->rate = schedule_at(&t->schedule, t->step);
    StoaStatus status = run_micro_batches(t, &stopped);
    if ((status != STOA_OK || stopped) && t->options.accumulate > 1) {
        Status cleared = clear_sums(t);
        if (cleared != STATUS_OK && status == STOA_OK) status = api_fail(t->context, NULL, cleared);
    }
    if (status != STOA_OK) return status;
    t->step++;
    /* overflows are how the scale of a loss finds its size: no failure, unless they do not end */
    bool overflow =
        !stopped && !isfinite(t->norm) && session_state(t->session, "optimizer.loss_scale") != NULL;
    t->nonfinite_row = stopped || overflow ? t->nonfinite_row + 1 : 0;
    if (!stopped && !overflow) return STOA_OK;
    t->result.skipped++;
    if ((t->options.nonfinite == STOA_FAIL && stopped) ||
        t->nonfinite_row >= t->options.nonfinite_max) {
        (void)diags_add(&t->context->diags, DIAG_NOT_FINITE, 0, t->step, t->nonfinite_row, 0, 0);
        return api_fail(t->context, NULL, STATUS_INVALID);
    }
    return STOA_OK;
}

static StoaStatus evaluate(Training *t) {
    uint64_t batches = feed_batches(&t->data->validation);
    double   loss_sum = 0, accuracy_sum = 0;
    if (batches > t->options.evaluate_batches) batches = t->options.evaluate_batches;
    for (uint64_t i = 0; i < batches; i++) {
        StoaTensor data[DATA_INPUTS];
        double     loss, accuracy;
        bool       stopped;
        feed_fill(&t->data->validation, i, &t->validation);
        data_tensors(t->data, &t->data->validation, &t->validation, data);
        StoaStatus status = run_graph(t, "evaluate", data, &loss, &accuracy, &stopped);
        if (status != STOA_OK) return status;
        loss_sum += loss;
        accuracy_sum += accuracy;
    }
    t->validation_loss = batches ? loss_sum / (double)batches : NAN;
    t->validation_accuracy = batches ? accuracy_sum / (double)batches : NAN;
    t->result.validation_loss = t->validation_loss;
    return STOA_OK;
}

/* --- run folder ------------------------------------------------------------------------------- */
static const char *run_path(Training *t, const char *name) {
    return str_format(t->arena, "%s/%s", t->options.run, name).data;
}

static Status write_text(Training *t, const char *name, String text) {
    const char *path = run_path(t, name);
    return report_failure(&t->context->diags, path, files_write(path, text));
}

static Status write_plot(Training *t) {
    const MetricRows *rows = &t->metrics.rows;
    PlotLoss plot = {.title = str_of(t->options.title ? t->options.title : "training loss"),
                     .steps = rows->step + 1,
                     .train = rows->loss + 1,
                     .validation = rows->val_loss + 1,
                     .count = rows->table.count - 1,
                     .reference = stoa_data_entropy(t->data),
                     .reference_label = STR("unigram entropy")};
    if (plot.count == 0) return STATUS_OK;
    return write_text(t, "loss.svg", plot_loss(t->line, &plot));
}

static CheckpointTensor *state_tensors(Training *t) {
    StoaSession      *session = t->session;
    CheckpointTensor *tensors =
        ARENA_ARRAY_ZERO(t->line, CheckpointTensor, session->state_count + 1);
    for (uint32_t i = 0; i < session->state_count; i++) {
        const StateTensor *state = &session->state[i];
        tensors[i].name = strings_get(&session->world->strings, state->name);
        tensors[i].dtype = state->tensor.dtype;
        tensors[i].rank = state->tensor.rank;
        memcpy(tensors[i].shape, state->tensor.shape, sizeof tensors[i].shape);
        tensors[i].data = state->tensor.data;
        tensors[i].bytes = state->bytes;
    }
    return tensors;
}

/* The checkpoint is tried whatever became of the metrics: it is what cannot be made again. Gives
 * the first failure. */
static Status write_all(Training *t) {
    Diags          *diags = &t->context->diags;
    SafetensorsMeta meta[] = {
        {STR("config"), str_of(t->options.config ? t->options.config : "")},
        {STR("seed"), str_format(t->line, "%llu", (unsigned long long)t->options.seed)},
        {STR("accumulate"), str_format(t->line, "%u", t->options.accumulate)}};
    Status flushed = metrics_flush(&t->metrics, true, diags);
    Status saved = device_read_state(t->session);
    if (saved == STATUS_OK)
        saved = checkpoint_save(t->options.run, t->step, state_tensors(t), t->session->state_count,
                                meta, LENGTH(meta), t->options.checkpoint_keep, diags);
    Status plotted = write_plot(t);
    return saved != STATUS_OK ? saved : flushed != STATUS_OK ? flushed : plotted;
}

/* Running out of memory is a failed checkpoint like any other: training can go on. */
static Status save(Training *t) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        api_tell_unwind(t->context);
        return STATUS_OUT_OF_MEMORY;
    }
    Status status = write_all(t);
    arena_guard_end(&guard);
    return status;
}

static Status resume(Training *t) {
    Checkpoint checkpoint;
    Diags     *diags = &t->context->diags;
    Status     status = checkpoint_find(t->arena, t->options.run, diags, &checkpoint);
    if (status == STATUS_OK)
        status =
            checkpoint_read(&checkpoint, state_tensors(t), t->session->state_count, false, diags);
    if (status == STATUS_OK) status = session_wrote_state(t->session);
    if (status == STATUS_OK) t->step = checkpoint.step;
    return status;
}

/* --- trace ------------------------------------------------------------------------------------ */
static void name_launches(Training *t, PlanEntry *entry) {
    if (entry->plan == NULL || entry->trace_names == NULL) return; /* failed, or interpreted */
    for (uint32_t row = 1; row < entry->plan->launches.table.count; row++) {
        String label = plan_launch_label(t->arena, entry->plan, row);
        entry->trace_names[row] = trace_span_name(t->trace, label, "launch", "row").row;
    }
}
static void span(void *context, PlanEntry *entry, uint32_t lane, uint32_t launch, uint64_t start_ns,
                 uint64_t end_ns) {
    Training *t = context;
    trace_span(t->trace, lane, (TraceName){entry->trace_names[launch]}, start_ns, end_ns,
               entry->plan->launches.op[launch].row);
}

/* Spans of the systems that ran since the last call (compile, then planning of new shapes). */
static void trace_systems(Training *t) {
    const Runner *runner = &t->session->runner;
    for (; t->runs_traced < runner->runs_count; t->runs_traced++) {
        const SystemRun *run = &runner->runs[t->runs_traced];
        TraceName        name =
            trace_span_name(t->trace, str_of(system_infos[run->kind].name), "system", "rows");
        trace_span(t->trace, t->system_lane, name, run->begin_ns, run->end_ns, run->rows_out);
    }
}
/* What starting the GPU took: kernels compiled on the lanes, libraries opened on one of its own. */
static void trace_startup(Training *t) {
    const GpuStartup *startup = device_startup(t->session);
    uint32_t          count = gpu_startup_count(startup);
    for (; t->startup_traced < count; t->startup_traced++) {
        const GpuStartupRow *row = &startup->rows[t->startup_traced];
        uint32_t             lane = row->lane == 0                ? t->system_lane
                                    : row->lane <= t->system_lane ? row->lane - 1U
                                                                  : t->ahead_lane;
        String               name =
            str_format(t->line, "%s %s", gpu_startup_title((GpuPart)row->part), row->which);
        if (row->part == GPU_PART_TABLES) continue; /* trace_systems */
        trace_span(t->trace, lane, trace_span_name(t->trace, name, "start", NULL), row->begin_ns,
                   row->end_ns, 0);
    }
}
/* A lane a stream, after those of the host: calls of the driver first, then in order of use. */
static uint32_t work_lane(Training *t, const GpuWork *work) {
    uint32_t first = t->system_lane + 1, at = 0;
    if (work->kind == GPU_WORK_CALL) return first;
    while (at < t->streams_count && t->streams[at] != work->stream) at++;
    if (at == t->streams_count && at < TRAIN_STREAMS_MAX) {
        t->streams[t->streams_count++] = work->stream;
        trace_label(t->trace, first + 1 + at, str_format(t->line, "GPU, stream %u", work->stream));
    }
    return first + 1 + (at < TRAIN_STREAMS_MAX ? at : TRAIN_STREAMS_MAX - 1);
}
static void work(void *context, PlanEntry *entry, uint32_t launch, const GpuWork *work) {
    static const char *const categories[] = {"kernel", "copy", "fill", "call"};
    Training                *t = context;
    bool                     moves = work->kind == GPU_WORK_COPY || work->kind == GPU_WORK_FILL;
    Scratch                  scratch = scratch_begin(&t->arena, 1);
    String                   label = str_of(work->name);
    if (entry != NULL)
        label = str_format(scratch.arena, "%s | %s",
                           plan_launch_label(scratch.arena, entry->plan, launch).data, work->name);
    TraceName name = trace_span_name(t->trace, label, categories[work->kind],
                                     moves           ? "bytes"
                                     : entry != NULL ? "row"
                                                     : NULL);
    scratch_end(scratch);
    trace_span(t->trace, work_lane(t, work), name, work->start_ns, work->end_ns,
               moves           ? work->bytes
               : entry != NULL ? entry->plan->launches.op[launch].row
                               : 0);
}
static void trace_begin(Training *t) {
    uint32_t     lanes = workers_lanes(t->context->workers);
    bool         gpu = t->session->gpu != NULL;
    TraceOptions options = {.lanes = lanes + 1 + (gpu ? 2 + TRAIN_STREAMS_MAX : 0),
                            .rows_max = 1 << 17,
                            .names_max = gpu ? 1 << 15 : 0};
    t->trace = trace_open(t->arena, &options);
    t->system_lane = lanes;
    trace_label(t->trace, lanes, STR("training loop"));
    if (gpu) {
        t->ahead_lane = lanes + 2 + TRAIN_STREAMS_MAX;
        trace_label(t->trace, lanes + 1, STR("calls of the driver"));
        trace_label(t->trace, t->ahead_lane, STR("libraries opened ahead"));
        if (device_watch(t->session, true) != STATUS_OK) api_warn(t->context);
        t->session->work = work;
        t->session->span_context = t;
    }
    if (t->session->runner.runs_count != 0 &&
        t->session->runner.runs[0].begin_ns < t->trace->opened_ns)
        t->trace->opened_ns = t->session->runner.runs[0].begin_ns;
    for (uint32_t i = 0; gpu && i < gpu_startup_count(device_startup(t->session)); i++)
        if (device_startup(t->session)->rows[i].begin_ns < t->trace->opened_ns)
            t->trace->opened_ns = device_startup(t->session)->rows[i].begin_ns;
}
static void trace_end(Training *t) {
    StoaSession *session = t->session;
    session->span = NULL;
    session->work = NULL;
    if (session->gpu != NULL && !session->profile && device_watch(session, false) != STATUS_OK)
        api_warn(t->context);
}
/* Plans are made before their first traced step, so that naming stays out of it. */
static Status trace_step(Training *t, uint64_t start_ns) {
    StoaSession *session = t->session;
    trace_systems(t);
    trace_span(t->trace, t->system_lane, trace_span_name(t->trace, STR("step"), "step", "step"),
               start_ns, os_clock_ns(), t->step);
    trace_counter(t->trace, t->system_lane,
                  trace_counter_name(t->trace, STR("resident memory"), "bytes"), os_clock_ns(),
                  (double)os_memory_resident());
    trace_counter(t->trace, t->system_lane,
                  trace_counter_name(t->trace, STR("tensor storage"), "bytes"), os_clock_ns(),
                  (double)t->context->tensors.bytes);
    if (session->gpu != NULL) {
        trace_startup(t);
        Status collected = device_collect(session);
        if (collected != STATUS_OK) return collected;
        trace_counter(t->trace, t->system_lane,
                      trace_counter_name(t->trace, STR("device memory"), "bytes"), os_clock_ns(),
                      (double)device_memory(session));
    }
    for (uint32_t i = 0; session->span == NULL && i < session->plans_count; i++)
        name_launches(t, &session->plans[i]);
    session->span = span;
    session->span_context = t;
    if (t->step - t->first_step < t->options.trace_steps) return STATUS_OK;
    trace_end(t);
    Status status = trace_write(t->trace, run_path(t, "trace.json"), &t->context->diags);
    t->trace = NULL;
    return status;
}

/* --- logging ---------------------------------------------------------------------------------- */
static String progress_json(Training *t, const StoaProgress *p) {
    Text text = text_begin(t->line);
    text_addf(
        &text,
        "{\"step\":%llu,\"steps\":%llu,\"lr\":%.7g,\"items_per_second\":%.7g,\"skipped\":%llu,"
        "\"seconds\":%.4g",
        (unsigned long long)p->step, (unsigned long long)p->steps, p->learning_rate,
        p->items_per_second, (unsigned long long)p->skipped, p->seconds);
    if (isfinite(p->loss))
        text_addf(&text, ",\"loss\":%.9g", p->loss);
    else
        text_add(&text, STR(",\"loss\":null"));
    if (isfinite(p->gradient_norm)) text_addf(&text, ",\"gradient_norm\":%.7g", p->gradient_norm);
    if (isfinite(p->validation_loss))
        text_addf(&text, ",\"validation_loss\":%.7g", p->validation_loss);
    if (isfinite(t->validation_accuracy))
        text_addf(&text, ",\"validation_accuracy\":%.7g", t->validation_accuracy);
    text_addf(&text, ",\"memory_bytes\":%llu}", (unsigned long long)p->memory_bytes);
    return text_done(&text);
}

static void log_step(Training *t) {
    uint64_t now = os_clock_ns();
    uint64_t items = (t->step - t->log_step) * t->options.accumulate * t->data->items_per_batch;
    double   seconds = (double)(now - t->begin_ns) * 1e-9, since = (double)(now - t->log_ns) * 1e-9;
    bool     text = t->data->train.kind == FEED_TOKENS;
    uint64_t done = t->step - t->first_step,
             left = t->options.steps > t->step ? t->options.steps - t->step : 0;
    MetricRow row = metrics_row(t->step);
    row.loss = t->loss;
    row.lr = t->rate;
    row.grad_norm = t->norm;
    row.val_loss = t->validation_loss;
    row.val_accuracy = t->validation_accuracy;
    row.skipped = (double)t->result.skipped;
    row.seconds = seconds;
    row.memory_bytes = (double)os_memory_resident();
    *(text ? &row.tokens_per_s : &row.samples_per_s) = since > 0 ? (double)items / since : NAN;
    metrics_add(&t->metrics, &row);
    t->log_ns = now;
    t->log_step = t->step;
    if (t->options.progress == NULL) return;
    MetricsProgress shown = {.step = t->step,
                             .steps = t->options.steps,
                             .loss = row.loss,
                             .val_loss = row.val_loss,
                             .lr = row.lr,
                             .grad_norm = row.grad_norm,
                             .skipped = t->result.skipped,
                             .rate = text ? row.tokens_per_s : row.samples_per_s,
                             .unit = text ? "tok" : "img",
                             .memory_bytes = (uint64_t)row.memory_bytes,
                             .seconds_left = done ? seconds / (double)done * (double)left : NAN};
    StoaProgress    progress = {.step = t->step,
                                .steps = t->options.steps,
                                .loss = row.loss,
                                .learning_rate = row.lr,
                                .gradient_norm = row.grad_norm,
                                .validation_loss = row.val_loss,
                                .items_per_second = shown.rate,
                                .skipped = t->result.skipped,
                                .memory_bytes = shown.memory_bytes,
                                .seconds = seconds,
                                .seconds_left = shown.seconds_left};
    progress.line = metrics_line(t->line, &shown).data;
    progress.bar = metrics_bar(t->line, &shown, 79, false).data;
    progress.json = progress_json(t, &progress).data;
    if (t->options.progress(t->options.user, &progress)) t->stopping = true;
}

/* --- the loop --------------------------------------------------------------------------------- */
static bool due(uint64_t step, uint64_t every, uint64_t last) {
    return step == last || (every != 0 && step % every == 0);
}

static StoaStatus train_loop(Training *t) {
    const StoaTrainOptions *options = &t->options;
    bool can_evaluate = options->evaluate_every != 0 && t->data->has_validation &&
                        session_has_graph(t->session, "evaluate");
    while (t->step < options->steps && !t->stopping) {
        uint64_t   start_ns = trace_now(t->trace);
        StoaStatus status = train_step(t);
        if (status != STOA_OK) return status;
        if (options->stop != NULL && *options->stop) t->stopping = true;
        uint64_t last = t->stopping ? t->step : options->steps;
        bool     logged = due(t->step, options->log_every, last);
        t->validation_loss = t->validation_accuracy = NAN;
        if (can_evaluate && due(t->step, options->evaluate_every, last)) {
            status = evaluate(t);
            if (status != STOA_OK) return status;
            logged = true;
        }
        if (t->trace != NULL && trace_step(t, start_ns) != STATUS_OK) api_warn(t->context);
        if (logged) {
            arena_release(t->line, (ArenaMark){0});
            log_step(t);
        }
        last = t->stopping ? t->step : options->steps;
        if (options->run != NULL && due(t->step, options->checkpoint_every, last)) {
            arena_release(t->line, (ArenaMark){0});
            Status saved = save(t);
            if (saved != STATUS_OK && t->step == last) return api_fail(t->context, NULL, saved);
            if (saved != STATUS_OK) api_warn(t->context); /* the older checkpoint stands */
        }
    }
    return STOA_OK;
}

static Status open_run(Training *t) {
    Status status = STATUS_OK;
    if (t->options.run == NULL) return metrics_open(&t->metrics, NULL, 0, NULL, &t->context->diags);
    int error = os_make_dir(t->options.run);
    if (error != 0)
        return report_failure(&t->context->diags, t->options.run, failure_file("create", error));
    if (t->options.resume) status = resume(t);
    if (status == STATUS_OK)
        status = metrics_open(&t->metrics, run_path(t, "metrics.jsonl"), t->step, NULL,
                              &t->context->diags);
    if (status == STATUS_OK && t->options.config != NULL)
        status = write_text(t, "config.toml", str_of(t->options.config));
    return status;
}

static Status open_training(Training *t) {
    t->schedule = (Schedule){.kind = (ScheduleKind)t->options.schedule,
                             .lr = t->options.learning_rate,
                             .final_ratio = t->options.final_ratio,
                             .steps = t->options.steps,
                             .warmup_steps = t->options.warmup_steps,
                             .decay_steps = t->options.decay_steps};
    const char *problem = schedule_problem(&t->schedule);
    if (problem != NULL) {
        api_misuse(t->context, "stoa_train", problem);
        return STATUS_INVALID;
    }
    Status status = open_run(t);
    if (status != STATUS_OK) return status;
    if (t->data->has_validation) t->validation = feed_batch(t->arena, &t->data->validation);
    t->first_step = t->log_step = t->step;
    t->feed = feed_open(t->arena, &t->data->train, TRAIN_RING, t->step * t->options.accumulate);
    if (t->options.trace && t->options.run != NULL) trace_begin(t);
    t->begin_ns = t->log_ns = os_clock_ns();
    return STATUS_OK;
}

static void close_training(Training *t) {
    trace_end(t);
    feed_close(t->feed);
    metrics_close(&t->metrics);
    arena_close(t->line);
    arena_close(t->arena);
}

static void set_defaults(StoaTrainOptions *options) {
    if (options->accumulate == 0) options->accumulate = 1;
    if (options->log_every == 0) options->log_every = 10;
    if (options->evaluate_batches == 0) options->evaluate_batches = 16;
    if (options->checkpoint_keep == 0) options->checkpoint_keep = 2;
    if (options->trace_steps == 0) options->trace_steps = 20;
    if (options->nonfinite_max == 0) options->nonfinite_max = 100;
}

StoaStatus stoa_train(StoaSession *session, StoaData *data, const StoaTrainOptions *options,
                      StoaTrainResult *out_result) {
    Training t = {.session = session,
                  .context = session->context,
                  .data = data,
                  .options = STOA_TRAIN_OPTIONS};
    if (options != NULL)
        memcpy(&t.options, options,
               options->size < sizeof t.options ? options->size : sizeof t.options);
    set_defaults(&t.options);
    t.norm = t.validation_loss = t.validation_accuracy = t.result.validation_loss = NAN;
    t.arena = arena_open("training", (size_t)1 << 34, 0);
    t.line = arena_open("log lines", (size_t)1 << 30, 0);
    Training  *run = &t; /* reads after an unwind go through memory */
    ArenaGuard guard;
    if (t.arena == NULL || t.line == NULL || !ARENA_GUARD(&guard)) {
        StoaStatus status = api_unwound(run->context, session->world);
        close_training(run);
        return status;
    }
    Status     opened = open_training(run);
    StoaStatus status =
        opened == STATUS_OK ? train_loop(run) : api_fail(run->context, NULL, opened);
    if (status == STOA_OK && run->trace != NULL) /* fewer steps than asked for */
        if (trace_write(run->trace, run_path(run, "trace.json"), &run->context->diags) != STATUS_OK)
            api_warn(run->context);
    run->result.steps = run->step;
    run->result.loss = run->loss;
    run->result.stopped = run->stopping;
    run->result.seconds = (double)(os_clock_ns() - run->begin_ns) * 1e-9;
    run->result.items_per_second =
        (double)((run->step - run->first_step) * run->options.accumulate * data->items_per_batch) /
        run->result.seconds;
    arena_guard_end(&guard);
    close_training(run);
    if (status == STOA_OK && out_result != NULL) *out_result = t.result;
    if (status == STOA_OK) api_warn(session->context);
    return status;
}

StoaStatus stoa_checkpoint_load(StoaSession *session, const char *run, const char **out_config,
                                uint64_t *out_step) {
    Training   t = {.session = session, .context = session->context};
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, NULL);
    Checkpoint checkpoint;
    arena_release(session->texts, (ArenaMark){0});
    t.line = session->texts;
    Status status = checkpoint_find(session->texts, run, &session->context->diags, &checkpoint);
    if (status == STATUS_OK)
        status = checkpoint_read(&checkpoint, state_tensors(&t), session->state_count, true,
                                 &session->context->diags);
    if (status == STATUS_OK) status = session_wrote_state(session);
    if (status == STATUS_OK && out_config != NULL)
        *out_config = str_copy(session->texts, checkpoint_meta(&checkpoint, STR("config"))).data;
    if (status == STATUS_OK && out_step != NULL) *out_step = checkpoint.step;
    arena_guard_end(&guard);
    if (status != STATUS_OK) return api_fail(session->context, NULL, status);
    api_warn(session->context);
    return STOA_OK;
}
