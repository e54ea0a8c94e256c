/* A program as one CUDA graph: runs of steps are captured from a stream and become child graphs,
 * asserts and control flow become conditional nodes whose bodies are lists of the same kind.
 *
 * First the lists are laid out, with each step and the addresses it gets there (a scan that is
 * written out, or does several steps a round, has them several times); then steps are prepared,
 * then captured. What follows an assert, or a loop or branch with one inside, is the body of an IF
 * node. What a loop does at the end of a round stands behind such a node, not in it, so that a
 * stopped loop ends. */
#include "gpu/run_inner.h"

typedef struct Placed { /* a step at these addresses */
    uint32_t     step;
    const CuPtr *slots;
} Placed;
typedef struct List {
    GpuNode *nodes;
    Placed  *steps; /* not captured yet: since the last node */
    uint32_t count, max, steps_count, steps_max;
} List;
typedef struct Run { /* steps that become a child graph */
    const Placed *steps;
    uint32_t      count;
    List         *list;
    uint32_t      node; /* of the list */
    CuGraph       graph;
    struct Run   *next;
} Run;
typedef struct Maker {
    const RunProgram *program;
    const RunCtx     *ctx;
    GpuGraph         *graph;
    GpuConditions     conditions;
    Run              *runs, **last; /* in the order in which they first run, as profiles want it */
    GpuPlanStats     *stats;
} Maker;

/* --- lists ------------------------------------------------------------------------------------ */
static void *more(Arena *arena, void *rows, uint32_t count, uint32_t *max, size_t bytes) {
    if (count < *max) return rows;
    *max = *max * 2 + 8;
    void *now = arena_push(arena, *max * bytes, 16);
    if (count != 0) memcpy(now, rows, count * bytes);
    return now;
}
static List *list_open(Maker *m) {
    List *list = ARENA_NEW(m->ctx->scratch, List);
    *list = (List){0};
    return list;
}
static GpuNode *add_raw(Maker *m, List *list) {
    list->nodes = more(m->ctx->scratch, list->nodes, list->count, &list->max, sizeof *list->nodes);
    list->nodes[list->count] = (GpuNode){.kind = GPU_NODE_CHILD};
    m->stats->nodes++;
    return &list->nodes[list->count++];
}
/* The steps that wait become a node. */
static void close_steps(Maker *m, List *list) {
    if (list->steps_count == 0) return;
    Run *run = ARENA_NEW(m->ctx->scratch, Run);
    *run = (Run){list->steps, list->steps_count, list, list->count, NULL, NULL};
    *m->last = run;
    m->last = &run->next;
    for (uint32_t i = 0; i < run->count; i++)
        m->stats->nodes += m->program->steps[run->steps[i].step].nodes;
    m->stats->nodes--; /* for the node itself */
    list->steps = NULL;
    list->steps_count = list->steps_max = 0;
    (void)add_raw(m, list);
}
static GpuNode *add_node(Maker *m, List *list) {
    close_steps(m, list);
    return add_raw(m, list);
}
static GpuNodes list_close(Maker *m, List *list) {
    close_steps(m, list);
    return (GpuNodes){list->nodes, list->count};
}
/* args is copied. */
static void add_kernel(Maker *m, List *list, const RunFunction *function, uint32_t blocks,
                       uint32_t threads, const void *args, uint32_t bytes) {
    GpuNode *node = add_node(m, list);
    void    *copy = arena_push(m->ctx->scratch, bytes, 16);
    memcpy(copy, args, bytes);
    node->kind = GPU_NODE_KERNEL;
    node->launch = (GpuLaunch){.kernel = function->kernel,
                               .grid = {blocks, 1, 1},
                               .block = {threads, 1, 1},
                               .args = copy,
                               .args_bytes = bytes};
}
static Status new_condition(Maker *m, CuCondition *out_condition) {
    return gpu_graph_condition(m->graph, 0, m->ctx->diags, out_condition);
}
static CuPtr flag_of(const Maker *m, bool stops) { return stops ? m->ctx->kit->work.base : 0; }
static CuPtr at_slots(const Maker *m, RunRef ref, const CuPtr *slots) {
    RunCtx ctx = *m->ctx;
    ctx.slots = slots;
    return run_at(ref, &ctx);
}

/* --- conditions ------------------------------------------------------------------------------- */
static void add_test(Maker *m, List *list, const TestArgs *args) {
    add_kernel(m, list, m->program->test, 1, 1, args, sizeof *args);
}
/* What the predicate of a part says. */
static TestArgs test_of(const Maker *m, const RunPart *part, const CuPtr *slots) {
    bool is_bool = part->last_case < 0;
    return (TestArgs){.at = at_slots(m, part->predicate, slots),
                      .last = is_bool ? 1 : part->last_case,
                      .bytes = is_bool ? 1 : 8};
}
static void add_conditional(Maker *m, List *list, GpuNodeKind kind, CuCondition condition,
                            const GpuNodes *bodies, uint32_t count, int64_t rounds) {
    GpuNode  *node = add_node(m, list);
    GpuNodes *copy = ARENA_ARRAY(m->ctx->scratch, GpuNodes, count);
    memcpy(copy, bodies, sizeof *bodies * count);
    node->kind = kind;
    node->condition = condition;
    node->body = copy;
    node->bodies = kind == GPU_NODE_SWITCH ? count : 0;
    node->rounds = rounds <= UINT32_MAX ? (uint32_t)rounds : 0;
    m->stats->conditions++;
}
static Status emit(Maker *m, List *list, const RunPart *part, const CuPtr *slots);

static Status emit_body(Maker *m, const RunPart *first, const CuPtr *slots, GpuNodes *out_body) {
    List  *list = list_open(m);
    Status status = emit(m, list, first, slots);
    *out_body = list_close(m, list);
    return status;
}
/* The parts from `rest` on, unless the step has stopped. */
static Status emit_guarded(Maker *m, List *list, const RunPart *rest, const CuPtr *slots) {
    TestArgs test = {.flag = flag_of(m, true)};
    GpuNodes body;
    if (rest == NULL) return STATUS_OK;
    Status status = new_condition(m, &test.condition);
    if (status != STATUS_OK) return status;
    add_test(m, list, &test);
    status = emit_body(m, rest, slots, &body);
    add_conditional(m, list, GPU_NODE_IF, test.condition, &body, 1, 0);
    return status;
}
static Status emit_stop(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    RunCtx         alone = *m->ctx;
    const RunStep *step = &m->program->steps[part->first];
    GpuLaunch      launch = {0};
    GpuNodes       body;
    alone.slots = slots;
    alone.out_stop = &launch;
    Status status = new_condition(m, &alone.condition);
    if (status == STATUS_OK) status = step->fn(step->params, &alone);
    if (status != STATUS_OK) return status;
    GpuNode *node = add_node(m, list);
    node->kind = GPU_NODE_KERNEL;
    node->launch = launch;
    status = emit_body(m, part->next, slots, &body);
    add_conditional(m, list, GPU_NODE_IF, alone.condition, &body, 1, 0);
    return status;
}

/* --- branches --------------------------------------------------------------------------------- */
static bool is_void(const RunParts *block) { return block->first == NULL; }

/* A node for each block: all conditions first, since a block may overwrite the predicate. */
static Status emit_ifs(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    CuCondition *conditions = ARENA_ARRAY(m->ctx->scratch, CuCondition, part->blocks_count);
    TestArgs     test = test_of(m, part, slots);
    Status       status = STATUS_OK;
    for (uint32_t i = 0; i < part->blocks_count && status == STATUS_OK; i++) {
        if (is_void(&part->blocks[i])) continue;
        status = new_condition(m, &conditions[i]);
        test.condition = conditions[i];
        test.which = (int32_t)i;
        add_test(m, list, &test);
    }
    for (uint32_t i = 0; i < part->blocks_count && status == STATUS_OK; i++) {
        GpuNodes body;
        if (is_void(&part->blocks[i])) continue;
        status = emit_body(m, part->blocks[i].first, slots, &body);
        add_conditional(m, list, GPU_NODE_IF, conditions[i], &body, 1, 0);
    }
    return status;
}
static Status emit_branch(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    uint32_t some = 0;
    for (uint32_t i = 0; i < part->blocks_count; i++) some += !is_void(&part->blocks[i]);
    if (some <= 1 || m->conditions == GPU_CONDITIONS_LOOP) return emit_ifs(m, list, part, slots);
    GpuNodes *bodies = ARENA_ARRAY_ZERO(m->ctx->scratch, GpuNodes, part->blocks_count);
    TestArgs  test = test_of(m, part, slots);
    test.which = -1;
    Status status = new_condition(m, &test.condition);
    add_test(m, list, &test);
    for (uint32_t i = 0; i < part->blocks_count && status == STATUS_OK; i++)
        status = emit_body(m, part->blocks[i].first, slots, &bodies[i]);
    add_conditional(m, list, GPU_NODE_SWITCH, test.condition, bodies, part->blocks_count, 0);
    return status;
}

/* --- loops ------------------------------------------------------------------------------------ */
/* The test, then the condition of the loop. Where an assert may have stopped it, the test may be
 * over values that are not there: it is left out, and the condition is 0. */
static Status emit_test(Maker *m, List *list, const RunPart *part, const CuPtr *slots,
                        CuCondition condition, bool guard) {
    TestArgs test = test_of(m, part, slots);
    Status   status = STATUS_OK;
    List    *inner = list;
    TestArgs ahead = {.flag = flag_of(m, true), .clear = condition};
    test.condition = condition;
    test.flag = flag_of(m, part->stops);
    if (guard) {
        status = new_condition(m, &ahead.condition);
        add_test(m, list, &ahead);
        inner = list_open(m);
    }
    if (status == STATUS_OK) status = emit(m, inner, part->blocks[0].first, slots);
    add_test(m, inner, &test);
    if (!guard) return status;
    GpuNodes body = list_close(m, inner);
    add_conditional(m, list, GPU_NODE_IF, ahead.condition, &body, 1, 0);
    return status;
}
static Status emit_while(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    CuCondition condition;
    List       *body = list_open(m);
    Status      status = new_condition(m, &condition);
    if (status == STATUS_OK) status = emit_test(m, list, part, slots, condition, false);
    if (status == STATUS_OK) status = emit(m, body, part->blocks[1].first, slots);
    if (status == STATUS_OK) status = emit_test(m, body, part, slots, condition, part->stops);
    GpuNodes nodes = list_close(m, body);
    add_conditional(m, list, GPU_NODE_WHILE, condition, &nodes, 1, 0);
    m->stats->loops++;
    return status;
}

/* Rows of the first round (no condition before it), or of the next: the kernels that move them. */
static void add_rows(Maker *m, List *list, const RunPart *part, const CuPtr *slots, bool first,
                     CuCondition condition) {
    const RunScan *scan = part->scan;
    GpuKit        *kit = m->ctx->kit;
    RowsArgs      *args = ARENA_NEW(m->ctx->scratch, RowsArgs);
    int64_t        words_most = 1;
    *args = (RowsArgs){.round = run_place(m->program, kit, scan->state),
                       .index = run_place(m->program, kit, scan->index),
                       .ticket = kit->work.base + RUN_TICKET_AT,
                       .flag = flag_of(m, part->stops),
                       .condition = condition,
                       .length = scan->length,
                       .rounds = scan->rounds,
                       .unroll = (int32_t)scan->unroll,
                       .first = first,
                       .reverse = scan->reverse};
    for (uint32_t i = 0; i <= scan->rows_count; i++) {
        const RunRow *row = &scan->rows[i];
        bool          last = i == scan->rows_count, full = args->count == RUN_MOVES;
        if (last || full) {
            int64_t blocks = (words_most * scan->unroll + 1023) / 1024;
            args->advances = last;
            add_kernel(m, list, scan->function, (uint32_t)(blocks < 264 ? blocks : 264), 256, args,
                       sizeof *args);
            args->count = 0;
        }
        if (last || row->bytes == 0 || (first && !row->in)) continue;
        CuPtr    there = at_slots(m, row->at, slots), here = run_place(m->program, kit, row->place);
        RowMove *move = &args->moves[args->count++];
        *move = (RowMove){.from = row->in ? there : here,
                          .into = row->in ? here : there,
                          .from_step = row->in ? row->step : (int64_t)row->place_step,
                          .into_step = row->in ? (int64_t)row->place_step : row->step,
                          .words = (int64_t)(row->bytes / scan->width),
                          .in = row->in};
        if (move->words > words_most) words_most = move->words;
    }
}
/* The slots as one step sees them: rows at their places in a round, or (placed false) where they
 * are. */
static CuPtr *step_slots(Maker *m, const RunScan *scan, const CuPtr *slots, int64_t step,
                         uint32_t nth, bool placed) {
    const GpuKit *kit = m->ctx->kit;
    CuPtr        *own = ARENA_ARRAY(m->ctx->scratch, CuPtr, m->program->slots_count);
    int64_t       row = scan->reverse ? scan->length - 1 - step : step;
    memcpy(own, slots, sizeof *own * m->program->slots_count);
    own[scan->first_slot] = run_place(m->program, kit, scan->index) + 8 * (uint64_t)nth;
    for (uint32_t i = 0; i < scan->rows_count; i++) {
        const RunRow *r = &scan->rows[i];
        own[scan->first_slot + 1 + i] =
            placed ? run_place(m->program, kit, r->place) + nth * r->place_step
                   : at_slots(m, r->at, slots) + (uint64_t)(row * r->step);
    }
    return own;
}
static Status emit_rounds(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    const RunScan *scan = part->scan;
    CuCondition    condition;
    List          *body = list_open(m);
    Status         status = new_condition(m, &condition);
    if (status != STATUS_OK) return status;
    add_rows(m, list, part, slots, true, condition);
    for (uint32_t u = 0; u < scan->unroll && status == STATUS_OK; u++)
        status = emit(m, body, part->blocks[0].first, step_slots(m, scan, slots, 0, u, true));
    add_rows(m, body, part, slots, false, condition);
    GpuNodes nodes = list_close(m, body);
    add_conditional(m, list, GPU_NODE_WHILE, condition, &nodes, 1, part->stops ? 0 : scan->rounds);
    m->stats->loops++;
    return status;
}
static Status emit_scan(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    const RunScan *scan = part->scan;
    int64_t        first = scan->rounds * scan->unroll, written = scan->length - first;
    Status         status = STATUS_OK;
    if (scan->rounds > 0) status = emit_rounds(m, list, part, slots);
    if (written <= 0 || status != STATUS_OK) return status;
    if (scan->counts) {
        IotaArgs args = {.y = run_place(m->program, m->ctx->kit, scan->index),
                         .count = written,
                         .inner = 1,
                         .size = written,
                         .base = scan->reverse ? scan->length - 1 - first : first,
                         .step = scan->reverse ? -1 : 1};
        add_kernel(m, list, m->program->iota, 1, 256, &args, sizeof args);
    }
    for (int64_t i = 0; i < written && status == STATUS_OK; i++)
        status = emit(m, list, part->blocks[0].first,
                      step_slots(m, scan, slots, first + i, (uint32_t)i, false));
    return status;
}

/* --- all parts -------------------------------------------------------------------------------- */
static void add_steps(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    for (uint32_t i = part->first; i < part->last; i++) {
        list->steps = more(m->ctx->scratch, list->steps, list->steps_count, &list->steps_max,
                           sizeof *list->steps);
        list->steps[list->steps_count++] = (Placed){i, slots};
    }
}
static Status emit(Maker *m, List *list, const RunPart *part, const CuPtr *slots) {
    Status status = STATUS_OK;
    for (; part != NULL && status == STATUS_OK; part = part->next) {
        switch (part->kind) {
        case PART_STEPS: add_steps(m, list, part, slots); break;
        case PART_STOP:
            if (part->next != NULL) return emit_stop(m, list, part, slots);
            add_steps(m, list, part, slots); /* nothing follows that it could stop */
            break;
        case PART_BRANCH: status = emit_branch(m, list, part, slots); break;
        case PART_WHILE: status = emit_while(m, list, part, slots); break;
        case PART_SCAN: status = emit_scan(m, list, part, slots); break;
        }
        if (part->stops && status == STATUS_OK) return emit_guarded(m, list, part->next, slots);
    }
    return status;
}

/* --- capturing -------------------------------------------------------------------------------- */
static Status prepare(const Maker *m) {
    RunCtx ctx = *m->ctx;
    Status status = STATUS_OK;
    for (const Run *run = m->runs; run != NULL; run = run->next)
        for (uint32_t i = 0; i < run->count && status == STATUS_OK; i++) {
            const RunStep *step = &m->program->steps[run->steps[i].step];
            ArenaMark      mark = arena_mark(ctx.scratch);
            ctx.slots = run->steps[i].slots;
            if (step->prepare != NULL) status = step->prepare(step->params, &ctx);
            arena_release(ctx.scratch, mark);
        }
    return status;
}
typedef struct Recording {
    const Maker *m;
    const Run   *run;
} Recording;
static Status record_run(void *context, GpuStream stream, Diags *diags) {
    const Recording *r = context;
    RunCtx           ctx = *r->m->ctx;
    Status           status = STATUS_OK;
    ctx.stream = stream;
    ctx.diags = diags;
    ctx.tune = false;
    for (uint32_t i = 0; i < r->run->count && status == STATUS_OK; i++) {
        ctx.slots = r->run->steps[i].slots;
        status = run_launch_step(r->m->program, &ctx, &r->m->program->steps[r->run->steps[i].step]);
    }
    return status;
}
static Status capture(Maker *m) {
    Status status = STATUS_OK;
    for (Run *run = m->runs; run != NULL && status == STATUS_OK; run = run->next) {
        Recording recording = {m, run};
        status = gpu_capture(m->ctx->stream, record_run, &recording, m->ctx->diags, &run->graph);
        run->list->nodes[run->node].child = run->graph;
    }
    return status;
}

Status run_graph_make(const RunProgram *program, const RunCtx *ctx, Arena *out, GpuGraph *graph,
                      GpuPlanStats *stats) {
    Gpu     *gpu = ctx->kit->gpu;
    Maker    m = {program, ctx, graph, gpu->info.conditions, NULL, NULL, stats};
    List    *list = list_open(&m);
    GpuNodes nodes;
    m.last = &m.runs;
    stats->nodes = stats->loops = stats->conditions = 0;
    if (program->stops) {
        *add_node(&m, list) = (GpuNode){
            .kind = GPU_NODE_FILL, .into = ctx->kit->work.base, .count = 1, .element_bytes = 4};
    }
    Status status = emit(&m, list, program->parts.first, ctx->slots);
    nodes = list_close(&m, list);
    if (status == STATUS_OK) status = prepare(&m);
    if (status == STATUS_OK) status = capture(&m);
    if (status == STATUS_OK) status = gpu_graph_add(graph, out, nodes, ctx->diags);
    for (Run *run = m.runs; run != NULL; run = run->next) gpu_capture_close(gpu, run->graph);
    return status;
}
