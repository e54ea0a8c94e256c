/* Control flow of a plan as a tree of parts, and how its scans are to run.
 *
 * Rows of scans: kernels and libraries take fixed addresses, so what is inside a loop works on
 * places of its own. One kernel a round brings the rows there and takes results back; it is needed
 * anyway, to say whether there is another round. A round costs about 3.4 us beside its kernels of
 * 0.9 us each (note 0018), so it does several steps of a scan when these are small. A scan of few
 * kernels in all is written out: each step then works on the rows where they lie. */
#include "gpu/run_inner.h"

enum {
    WRITTEN_NODES = 1024, /* a scan of at most so many is written out: 7 us each, once */
    ROUND_NODES = 32,     /* about as many make a round */
    ROUND_STEPS_MAX = 32,
    PLACE_ALIGN = 256,
    PLACES_BYTES = 64 << 20 /* of rows of a round; more for one step only */
};

typedef struct Flow {
    RunBinder      *b;
    const uint32_t *firsts;
} Flow;

static RunPart *add_part(Flow *f, RunParts *parts, RunPartKind kind, uint32_t launch) {
    RunPart *part = ARENA_NEW(f->b->arena, RunPart);
    *part = (RunPart){.kind = kind, .last_case = -1, .launch = launch};
    if (parts->last != NULL)
        parts->last->next = part;
    else
        parts->first = part;
    return parts->last = part;
}
static RunParts parts_of(Flow *f, uint32_t first, uint32_t last);

/* --- branches and loops ----------------------------------------------------------------------- */
static RunRef predicate_of(const Flow *f, uint32_t launch) {
    return run_ref(&launch_args(f->b->plan, launch)[0]);
}
static void add_branch(Flow *f, RunParts *parts, uint32_t head) {
    const Launches *l = &f->b->plan->launches;
    uint32_t        end = l->end[head], at = head;
    RunPart        *part = add_part(f, parts, PART_BRANCH, head);
    const Code     *code = &f->b->plan->world->code;
    part->blocks = ARENA_ARRAY(f->b->arena, RunParts, code->ops.blocks_count[l->op[head].row]);
    part->predicate = predicate_of(f, head);
    while (at < end) {
        bool     tests = l->flow[at] == FLOW_UNLESS && l->op[at].row == l->op[head].row;
        uint32_t first = at + tests, last = tests ? l->target[at] - 1 : end; /* without its JUMP */
        part->blocks[part->blocks_count++] = parts_of(f, first, last);
        at = tests ? l->target[at] : end;
        if (tests && at == end) part->blocks[part->blocks_count++] = (RunParts){0};
    }
    if (l->opcode[head] == OP_SWITCH) part->last_case = part->blocks_count - 1;
}
static void add_while(Flow *f, RunParts *parts, uint32_t head) {
    const Launches *l = &f->b->plan->launches;
    uint32_t        unless = head + 1, end = l->end[head];
    RunPart        *part = add_part(f, parts, PART_WHILE, head);
    while (l->flow[unless] != FLOW_UNLESS || l->op[unless].row != l->op[head].row) unless++;
    part->blocks = ARENA_ARRAY(f->b->arena, RunParts, 2);
    part->blocks[0] = parts_of(f, head + 1, unless);
    part->blocks[1] = parts_of(f, unless + 1, end - 1);
    part->blocks_count = 2;
    part->predicate = predicate_of(f, unless);
}

/* --- scans ------------------------------------------------------------------------------------ */
static uint64_t padded(uint64_t bytes) {
    return (bytes + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
}
static void bind_rows(const Flow *f, RunScan *scan, uint32_t head) {
    const Plan      *plan = f->b->plan;
    const LaunchArg *args = launch_args(plan, head);
    uint32_t         count = plan->launches.args_count[head];
    uint64_t         together = 16;
    scan->rows = ARENA_ARRAY(f->b->arena, RunRow, count);
    for (uint32_t i = 0; i < count; i++) {
        const LaunchArg *arg = &args[i];
        RunRow          *row = &scan->rows[scan->rows_count++];
        uint64_t         bytes = plan->slots.bytes[scan->first_slot + 1 + i];
        *row = (RunRow){.at = run_ref(arg),
                        .step = arg->strides[0] * (int64_t)dtype_bytes((Dtype)arg->dtype),
                        .bytes = bytes,
                        .place_step = padded(bytes),
                        .in = i < plan->launches.operands[head]};
        together |= bytes | (uint64_t)row->step | run_offsets(f->b, arg);
    }
    scan->width = together & (~together + 1); /* the largest power of two in all, at most 16 */
}
static bool reads_slot(const Flow *f, uint32_t first, uint32_t last, uint32_t slot) {
    const Plan *plan = f->b->plan;
    for (uint32_t row = first; row < last; row++)
        for (uint32_t i = 0; i < plan->launches.args_count[row]; i++)
            if (launch_args(plan, row)[i].slot == slot) return true;
    return false;
}
/* How many steps a round has; rounds 0: the scan is written out. */
static void choose_rounds(const GpuKit *kit, RunScan *scan, const RunParts *body) {
    int64_t  nodes = body->nodes > 0 ? body->nodes : 1, steps = ROUND_NODES / nodes;
    int64_t  most = kit->options.written_nodes != 0 ? kit->options.written_nodes : WRITTEN_NODES;
    uint64_t bytes = 1;
    scan->unroll = 1;
    scan->rounds = scan->length > 0 ? scan->length : 0;
    if (body->stops) return; /* what follows a step would hang on its assert, one in another */
    if (scan->length <= most / nodes) scan->rounds = 0;
    if (scan->rounds == 0 || body->decides) return;
    for (uint32_t i = 0; i < scan->rows_count; i++) bytes += scan->rows[i].place_step;
    if (steps > ROUND_STEPS_MAX) steps = ROUND_STEPS_MAX;
    if (steps > (int64_t)(PLACES_BYTES / bytes)) steps = (int64_t)(PLACES_BYTES / bytes);
    if (steps > scan->length / 2) steps = scan->length / 2;
    if (steps > 1) scan->unroll = (uint32_t)steps;
    scan->rounds = scan->length / scan->unroll;
}
static const RunFunction *rows_function(RunBinder *b, uint64_t width) {
    static const char *const words[] = {"u8", "i16", "u32", "u64", "w16"};
    uint32_t                 log = (uint32_t)__builtin_ctzll(width);
    return run_function(
        b->kit, FAMILY_FLOW,
        str_format(b->arena, "rows<%s, %d>", words[log], (int)b->kit->gpu->info.conditions));
}
static void add_scan(Flow *f, RunParts *parts, uint32_t head) {
    const Launches *l = &f->b->plan->launches;
    const uint64_t *attrs = launch_attrs(f->b->plan, head);
    uint64_t        length = attrs[ATTR_SCAN_length];
    RunPart        *part = add_part(f, parts, PART_SCAN, head);
    RunScan        *scan = part->scan = ARENA_NEW(f->b->arena, RunScan);
    *scan = (RunScan){.first_slot = l->first_slot[head], .reverse = attrs[ATTR_SCAN_reverse] != 0};
    scan->length =
        length != 0 ? f->b->plan->dim_values[length] : launch_args(f->b->plan, head)[0].dims[0];
    bind_rows(f, scan, head);
    part->blocks = ARENA_ARRAY(f->b->arena, RunParts, 1);
    part->blocks[0] = parts_of(f, head + 1, l->end[head] - 1);
    part->blocks_count = 1;
    scan->counts = reads_slot(f, head + 1, l->end[head] - 1, scan->first_slot);
    scan->function = rows_function(f->b, scan->width);
}

/* --- the tree --------------------------------------------------------------------------------- */
static void add_steps(Flow *f, RunParts *parts, RunPart **open, uint32_t launch) {
    uint32_t first = f->firsts[launch], last = f->firsts[launch + 1];
    if (first == last) return;
    if (f->b->steps[first].stops) {
        RunPart *part = add_part(f, parts, PART_STOP, launch);
        part->first = first;
        part->last = last;
        *open = NULL;
        return;
    }
    if (*open == NULL) {
        *open = add_part(f, parts, PART_STEPS, launch);
        (*open)->first = first;
    }
    (*open)->last = last;
}
static RunParts parts_of(Flow *f, uint32_t first, uint32_t last) {
    const Launches *l = &f->b->plan->launches;
    RunParts        parts = {0};
    RunPart        *open = NULL;
    for (uint32_t row = first; row < last; row = l->end[row] != 0 ? l->end[row] : row + 1) {
        if (l->end[row] == 0) {
            add_steps(f, &parts, &open, row);
            continue;
        }
        open = NULL;
        if (l->flow[row] == FLOW_UNLESS)
            add_branch(f, &parts, row);
        else if (l->flow[row] == FLOW_LOOP)
            add_while(f, &parts, row);
        else
            add_scan(f, &parts, row);
    }
    return parts;
}

/* Sizes of the lists, and rounds of their scans. */
static void measure(Flow *f, RunParts *parts) {
    parts->nodes = 0;
    parts->stops = parts->decides = false;
    for (RunPart *part = parts->first; part != NULL; part = part->next) {
        RunScan *scan = part->scan;
        part->stops = part->kind == PART_STOP;
        parts->decides |= part->kind != PART_STEPS && part->kind != PART_SCAN;
        for (uint32_t i = part->first; i < part->last; i++) parts->nodes += f->b->steps[i].nodes;
        for (uint32_t i = 0; i < part->blocks_count; i++) {
            measure(f, &part->blocks[i]);
            part->stops |= part->blocks[i].stops;
            if (part->kind != PART_SCAN) parts->nodes += part->blocks[i].nodes + 3;
        }
        parts->stops |= part->stops;
        if (part->kind != PART_SCAN) continue;
        choose_rounds(f->b->kit, scan, &part->blocks[0]);
        bool    loops = scan->rounds > 0;
        int64_t written = scan->length - scan->rounds * scan->unroll;
        parts->decides |= loops || part->blocks[0].decides;
        parts->nodes += (loops ? scan->unroll * part->blocks[0].nodes + 5 : 0) + 1;
        if (written > 0) parts->nodes += (uint32_t)written * part->blocks[0].nodes;
    }
}
/* The outermost loops that one block does faster. */
static Status try_blocks(Flow *f, RunParts *parts) {
    Status status = STATUS_OK;
    for (RunPart *part = parts->first; part != NULL && status == STATUS_OK; part = part->next) {
        if (part->kind == PART_WHILE || part->kind == PART_SCAN) status = run_block_try(f->b, part);
        for (uint32_t i = 0; i < part->blocks_count && status == STATUS_OK; i++)
            status = try_blocks(f, &part->blocks[i]);
    }
    return status;
}

/* --- memory of loops -------------------------------------------------------------------------- */
/* Places from `at` on; what comes one after another shares them. Returns the end. */
static uint64_t place_parts(const RunParts *parts, uint64_t at) {
    uint64_t end = at;
    for (const RunPart *part = parts->first; part != NULL; part = part->next) {
        uint64_t inner = at;
        if (part->kind == PART_SCAN) {
            RunScan *scan = part->scan;
            int64_t  written = scan->length - scan->rounds * scan->unroll;
            int64_t  indices = written > scan->unroll ? written : scan->unroll;
            scan->state = inner;
            scan->index = inner + PLACE_ALIGN;
            inner = scan->index + padded((uint64_t)indices * 8);
            for (uint32_t i = 0; i < scan->rows_count && scan->rounds > 0; i++) {
                scan->rows[i].place = inner;
                inner += scan->rows[i].place_step * scan->unroll;
            }
        }
        for (uint32_t i = 0; i < part->blocks_count; i++) {
            uint64_t last = place_parts(&part->blocks[i], inner);
            if (last > end) end = last;
        }
        if (inner > end) end = inner;
    }
    return end;
}

Status run_flow_bind(RunBinder *b, const uint32_t *firsts, RunProgram *out_program) {
    Flow     f = {b, firsts};
    uint32_t end = b->part.first + b->part.count;
    *out_program = (RunProgram){
        .plan = b->plan, .number = ++b->kit->plans, .slots_count = b->plan->slots.table.count};
    for (uint32_t row = b->part.first; row < end; row++)
        out_program->flows |= b->plan->launches.end[row] != 0;
    out_program->parts = parts_of(&f, b->part.first, end);
    measure(&f, &out_program->parts);
    Status status = try_blocks(&f, &out_program->parts);
    if (status != STATUS_OK) return status;
    measure(&f, &out_program->parts);
    out_program->steps = b->steps;
    out_program->work_bytes = b->work_bytes;
    out_program->loops_bytes = place_parts(&out_program->parts, 0);
    out_program->stops = out_program->parts.stops;
    if (!out_program->flows) return STATUS_OK;
    out_program->test = run_function(
        b->kit, FAMILY_FLOW, str_format(b->arena, "test<%d>", (int)b->kit->gpu->info.conditions));
    out_program->iota = run_function(b->kit, FAMILY_COPY, STR("iota<i64>"));
    return STATUS_OK;
}

static void first_rows(const RunProgram *program, const RunParts *parts, const RunCtx *ctx,
                       CuPtr *slots) {
    for (const RunPart *part = parts->first; part != NULL; part = part->next) {
        for (uint32_t i = 0; part->kind == PART_SCAN && i < part->scan->rows_count; i++) {
            const RunScan *scan = part->scan;
            const RunRow  *row = &scan->rows[i];
            slots[scan->first_slot] = run_place(program, ctx->kit, scan->index);
            slots[scan->first_slot + 1 + i] =
                scan->rounds > 0 ? run_place(program, ctx->kit, row->place) : run_at(row->at, ctx);
        }
        for (uint32_t i = 0; i < part->blocks_count; i++)
            first_rows(program, &part->blocks[i], ctx, slots);
    }
}
void run_flow_slots(const RunProgram *program, const RunCtx *ctx, CuPtr *slots) {
    first_rows(program, &program->parts, ctx, slots);
}
