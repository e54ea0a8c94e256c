/* Loops of small kernels as one code: launches of a loop, described for emit_flow.h.
 *
 * A step costs 5 to 20 ns and a jump a few, which is most of what small loops do. Where launches
 * between a head and its end are small, the range is compiled as one function, with what is carried
 * in registers, and runs as one step of the head. The plan stays as it is, and so do results:
 * kernels are the same, only between them nothing need go through memory. A loop that is not taken
 * runs launch by launch, and loops inside it are looked at in turn. */
#include <stddef.h>
#include <string.h>

#include "arena/hash.h"
#include "cpu/emit_flow.h"
#include "cpu/kernels.h"

enum {
    ROWS_MAX = 400,     /* launches: code takes about 1 ms for each kernel */
    WORK_MAX = 1 << 18, /* of a launch: what it touches or does, beyond which a call is nothing */
    POOL_MAX = 4096,    /* bytes of memory of the function, each; */
    LOCAL_MAX = 64 * 1024, /* all */
    GAIN_LAUNCHES = 1000   /* that a run must do in a loop whose length is known */
};

typedef struct Taking {
    Binder      *b;
    Arena       *arena; /* until the code is made */
    const Plan  *plan;
    uint32_t     first, last; /* launches */
    EmitFlow     flow;
    EmitRow     *rows;
    EmitPool    *pools;
    EmitPassing *passing;
    EmitMoving  *moving;
    uint32_t    *root, *root_pool, *pool_of; /* pool_of: by buffer, + 1 */
    Step        *calls;
    uint32_t     calls_count, calls_max;
    int64_t      local_bytes;
} Taking;

/* --- whether it is worth it ------------------------------------------------------------------- */
static bool may_call(Opcode opcode) { /* others keep something for a launch that follows */
    return opcode != OP_ATTENTION && opcode != OP_ATTENTION_GRAD &&
           opcode != OP_LINEAR_CROSS_ENTROPY && opcode != OP_LINEAR_CROSS_ENTROPY_GRAD;
}
static int64_t scan_length(const Plan *plan, uint32_t row) {
    uint64_t length = launch_attrs(plan, row)[ATTR_SCAN_length];
    return length != 0 ? plan->dim_values[length] : launch_args(plan, row)[0].dims[0];
}
/* Launches that a run of the range does; a while counts as many turns. */
static double launches_of(const Plan *plan, uint32_t first, uint32_t last) { // as deep as loops
    const Launches *launches = &plan->launches;
    double          count = 0;
    for (uint32_t row = first; row < last; row++) {
        FlowKind kind = (FlowKind)launches->flow[row];
        count++;
        if (kind != FLOW_LOOP && kind != FLOW_SCAN) continue;
        double turns = kind == FLOW_LOOP ? GAIN_LAUNCHES : (double)scan_length(plan, row);
        count += turns * launches_of(plan, row + 1, launches->end[row]);
        row = launches->end[row] - 1;
    }
    return count;
}
/* Whether a launch may be part of the code. */
static CpuLoopWay way_of_launch(const Plan *plan, uint32_t row) {
    if (plan->launches.flow[row] >= FLOW_UNLESS) return CPU_LOOP_WHOLE;
    if (!may_call((Opcode)plan->launches.opcode[row])) return CPU_LOOP_SHARED;
    bool small = launch_bytes(plan, row) <= WORK_MAX && launch_flops(plan, row) <= WORK_MAX;
    return small ? CPU_LOOP_WHOLE : CPU_LOOP_LARGE;
}
/* Whether a loop is to be one code, as far as its launches tell. */
static CpuLoop judge(const Binder *b, uint32_t head) {
    const Plan *plan = b->plan;
    uint32_t    end = plan->launches.end[head];
    CpuLoop     loop = {head, 0, CPU_LOOP_WHOLE};
    if (plan->sizes.table.count > 1 || end > b->end) loop.way = CPU_LOOP_LATE;
    for (uint32_t row = head; row < end && loop.way == CPU_LOOP_WHOLE; row++) {
        loop.way = way_of_launch(plan, row);
        loop.because = row;
    }
    if (loop.way != CPU_LOOP_WHOLE) return loop;
    loop.because = 0;
    if (end - head > ROWS_MAX)
        loop.way = CPU_LOOP_LONG;
    else if (b->module->whole != EMIT_LOOPS_POSSIBLE &&
             launches_of(plan, head, end) < GAIN_LAUNCHES)
        loop.way = CPU_LOOP_SHORT;
    return loop;
}

/* --- memory ----------------------------------------------------------------------------------- */
/* The buffer that an argument lies in, through rows of scans. */
static uint32_t root_buffer(const Plan *plan, uint32_t buffer) {
    while (plan->slots.kind[plan->buffers.slot[buffer]] == SLOT_ROW)
        buffer = plan->args.buffer[plan->slots.index[plan->buffers.slot[buffer]]];
    return buffer;
}
static void note_pool(Taking *t, uint32_t buffer, bool local) {
    const Buffers *buffers = &t->plan->buffers;
    buffer = root_buffer(t->plan, buffer);
    if (buffers->slot[buffer] != 0) return;
    if (t->pool_of[buffer] == 0) {
        uint64_t first = buffers->offset[buffer];
        t->pools[t->flow.pools_count] = (EmitPool){first, first + buffers->bytes[buffer], true};
        t->pool_of[buffer] = ++t->flow.pools_count;
    }
    if (!local) t->pools[t->pool_of[buffer] - 1].local = false;
}
/* Pools that overlap become one: as many rounds as chains of them are long. */
static void join_pools(Taking *t) {
    uint32_t *to = ARENA_ARRAY(t->arena, uint32_t, t->flow.pools_count + 1), count = 0;
    for (bool again = true; again;) {
        again = false;
        count = 0;
        for (uint32_t i = 0; i < t->flow.pools_count; i++) {
            EmitPool pool = t->pools[i];
            uint32_t k = 0;
            while (k < count && (t->pools[k].last <= pool.first || pool.last <= t->pools[k].first))
                k++;
            to[i] = k;
            if (k == count) {
                t->pools[count++] = pool;
                continue;
            }
            again = true;
            if (pool.first < t->pools[k].first) t->pools[k].first = pool.first;
            if (pool.last > t->pools[k].last) t->pools[k].last = pool.last;
            t->pools[k].local &= pool.local;
        }
        for (uint32_t row = 1; row < t->plan->buffers.table.count; row++)
            if (t->pool_of[row] != 0) t->pool_of[row] = to[t->pool_of[row] - 1] + 1;
        t->flow.pools_count = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        int64_t bytes = (int64_t)(t->pools[i].last - t->pools[i].first);
        t->pools[i].local &= bytes <= POOL_MAX && t->local_bytes + bytes <= LOCAL_MAX;
        if (t->pools[i].local) t->local_bytes += bytes;
    }
}
static bool is_kernel(const Taking *t, uint32_t row) {
    if (t->plan->launches.opcode[row] != OP_FUSED) return false;
    return kernel_id_some(loops_of_op(t->plan->loops, t->plan->launches.op[row]));
}
static bool is_copy(const Taking *t, uint32_t row) {
    const LaunchArg *args = launch_args(t->plan, row);
    return t->plan->launches.opcode[row] == OP_COPY && arg_dense(&args[0]) &&
           args[0].dtype == args[1].dtype;
}
static void find_pools(Taking *t) {
    const Launches *launches = &t->plan->launches;
    uint32_t        args = 0, buffers = t->plan->buffers.table.count;
    for (uint32_t row = t->first; row < t->last; row++) args += launches->args_count[row];
    t->pools = ARENA_ARRAY(t->arena, EmitPool, args + 1);
    t->pool_of = ARENA_ARRAY_ZERO(t->arena, uint32_t, buffers);
    for (uint32_t row = t->first; row < t->last; row++) {
        bool own = launches->flow[row] >= FLOW_UNLESS || is_kernel(t, row) || is_copy(t, row);
        for (uint32_t i = 0; i < launches->args_count[row]; i++) {
            uint32_t buffer = launch_buffers(t->plan, row)[i];
            uint32_t slot = t->plan->buffers.slot[buffer];
            bool     outside = t->plan->slots.kind[slot] == SLOT_ROW && t->moving[slot].scan == 0;
            note_pool(t, buffer, own && !outside);
        }
    }
    join_pools(t);
    t->passing = ARENA_ARRAY(t->arena, EmitPassing, args + 1);
    for (uint32_t row = 1; row < buffers; row++) {
        const Buffers *all = &t->plan->buffers;
        if (t->pool_of[row] == 0 || !t->pools[t->pool_of[row] - 1].local) continue;
        uint32_t pool = t->pool_of[row] - 1;
        bool     in = all->first[row] < t->first, out = all->last[row] >= t->last;
        if (in || out)
            t->passing[t->flow.passing_count++] = (EmitPassing){
                pool, all->offset[row] - t->pools[pool].first, all->bytes[row], in, out};
    }
}
static EmitAt at_of(const Taking *t, const LaunchArg *arg, uint32_t buffer) {
    EmitAt at = {.slot = arg->slot, .offset = (int64_t)arg->offset};
    if (arg->slot != 0) return at;
    at.pool = t->pool_of[buffer] - 1;
    at.offset -= (int64_t)t->pools[at.pool].first;
    return at;
}
static EmitAt *args_of(Taking *t, uint32_t row) {
    uint32_t count = t->plan->launches.args_count[row];
    EmitAt  *at = ARENA_ARRAY(t->arena, EmitAt, count + 1);
    for (uint32_t i = 0; i < count; i++)
        at[i] = at_of(t, &launch_args(t->plan, row)[i], launch_buffers(t->plan, row)[i]);
    return at;
}

/* --- rows ------------------------------------------------------------------------------------- */
static bool take_kernel(Taking *t, uint32_t row, EmitRow *out) {
    const Loops *loops = t->plan->loops;
    KernelId     kernel = loops_of_op(loops, t->plan->launches.op[row]);
    KernelId     code = loops->kernels.same[kernel.row];
    uint32_t     count = loops->kernels.params_count[kernel.row];
    uint32_t     buffers = loops->kernels.buffers_count[code.row];
    int64_t     *params = ARENA_ARRAY(t->arena, int64_t, count + 1);
    EmitAt      *args = args_of(t, row);
    for (uint32_t i = 0; i < count; i++)
        params[i] =
            t->plan
                ->dim_values[loops->params.world[loops->kernels.params_first[kernel.row] + i].row];
    *out = (EmitRow){.kind = EMIT_KERNEL,
                     .kernel = &t->b->module->kernels[code.row],
                     .code = code,
                     .params = params};
    out->args = ARENA_ARRAY_ZERO(t->arena, EmitAt, buffers + 1);
    out->bytes = ARENA_ARRAY_ZERO(t->arena, int64_t, buffers + 1);
    for (uint32_t i = 0; i < buffers; i++) {
        BufferId buffer = {loops->kernels.buffers_first[code.row] + i};
        uint8_t  scope = loops->buffers.scope[buffer.row];
        if (scope == SCOPE_ARG) out->args[i] = args[loops->buffers.arg[buffer.row]];
        if (scope == SCOPE_ARG) continue;
        out->bytes[i] = emit_buffer_bytes(loops, code, buffer, params) + 64;
        t->local_bytes += scope == SCOPE_REG ? 0 : out->bytes[i];
    }
    return t->local_bytes <= 2 * LOCAL_MAX;
}
/* Binds the launch as it would be; its steps go into a table of the loop. */
static bool take_call(Taking *t, uint32_t row, EmitRow *out) {
    Binder  *b = t->b;
    uint32_t before = b->steps_count;
    *out = (EmitRow){.kind = EMIT_CALL, .first = t->calls_count};
    bool good = bind_launch(b, row);
    for (uint32_t i = before; i < b->steps_count; i++) {
        good &= b->steps[i].pieces == 1;
        t->calls = arena_room(b->arena, t->calls, t->calls_count, &t->calls_max, sizeof *t->calls);
        t->calls[t->calls_count++] = b->steps[i];
        out->count++;
    }
    b->steps_count = before;
    out->fails = t->plan->launches.opcode[row] == OP_ASSERT;
    return good;
}
static void take_flow(Taking *t, uint32_t row, EmitRow *out) {
    static const EmitRowKind kinds[] = {[FLOW_UNLESS] = EMIT_UNLESS,
                                        [FLOW_JUMP] = EMIT_JUMP,
                                        [FLOW_LOOP] = EMIT_NOTHING,
                                        [FLOW_SCAN] = EMIT_SCAN,
                                        [FLOW_NEXT] = EMIT_NEXT};
    const Launches          *launches = &t->plan->launches;
    const uint64_t          *attrs = launch_attrs(t->plan, row);
    FlowKind                 kind = (FlowKind)launches->flow[row];
    *out = (EmitRow){.kind = kinds[kind], .target = launches->target[row] - t->first};
    if (kind == FLOW_UNLESS) {
        out->args = args_of(t, row);
        out->which = launches->which[row];
        out->cases = launches->opcode[row] == OP_SWITCH;
        if (out->cases) out->last = (int64_t)attrs[ATTR_SWITCH_cases] - 1;
    }
    if (kind != FLOW_SCAN && kind != FLOW_NEXT) return;
    out->scan = t->moving[launches->first_slot[row]].scan - 1;
    out->length = scan_length(t->plan, row);
    out->reverse = attrs[ATTR_SCAN_reverse] != 0;
}
static bool is_empty(const Taking *t, uint32_t row) {
    const LaunchArg *args = launch_args(t->plan, row);
    uint32_t         results = 0, operands = t->plan->launches.operands[row];
    for (uint32_t i = operands; i < t->plan->launches.args_count[row]; i++) {
        if (arg_elements(&args[i]) > 0) return false;
        results++;
    }
    return results > 0;
}
static bool take_row(Taking *t, uint32_t row) {
    EmitRow *out = &t->rows[row - t->first];
    *out = (EmitRow){.kind = EMIT_NOTHING};
    if (t->plan->launches.flow[row] >= FLOW_UNLESS) {
        take_flow(t, row, out);
        return true;
    }
    if (is_empty(t, row)) return true;
    if (is_kernel(t, row)) return take_kernel(t, row, out);
    if (!is_copy(t, row)) return take_call(t, row, out);
    const LaunchArg *args = launch_args(t->plan, row);
    if (args[0].slot == args[1].slot && args[0].offset == args[1].offset) return true;
    *out = (EmitRow){.kind = EMIT_COPY, .args = args_of(t, row)};
    out->bytes = ARENA_NEW(t->arena, int64_t);
    *out->bytes = arg_elements(&args[0]) * arg_width(&args[0]);
    return true;
}

/* --- scans ------------------------------------------------------------------------------------ */
static void find_moving(Taking *t) {
    const Launches *launches = &t->plan->launches;
    for (uint32_t row = t->first; row < t->last; row++) {
        if (launches->flow[row] != FLOW_SCAN) continue;
        uint32_t slot = launches->first_slot[row], scan = ++t->flow.scans_count;
        t->moving[slot] = (EmitMoving){.scan = scan, .index = true};
        for (uint32_t i = 0; i < launches->args_count[row]; i++) {
            const LaunchArg *arg = &launch_args(t->plan, row)[i];
            t->moving[slot + 1 + i] =
                (EmitMoving){.scan = scan, .step = arg->strides[0] * arg_width(arg)};
        }
    }
}
static void place_moving(Taking *t) {
    const Launches *launches = &t->plan->launches;
    for (uint32_t row = t->first; row < t->last; row++) {
        if (launches->flow[row] != FLOW_SCAN) continue;
        const EmitAt *args = args_of(t, row);
        for (uint32_t i = 0; i < launches->args_count[row]; i++)
            t->moving[launches->first_slot[row] + 1 + i].from = args[i];
    }
    for (uint32_t row = t->first; row < t->last; row++)
        for (uint32_t i = 0;
             t->rows[row - t->first].kind == EMIT_CALL && i < launches->args_count[row]; i++)
            t->moving[launch_args(t->plan, row)[i].slot].told = true;
    for (uint32_t slot = 1; slot < t->flow.slots_count; slot++) {
        if (t->plan->slots.kind[slot] != SLOT_ROW) {
            t->root[slot] = slot;
            continue;
        }
        uint32_t buffer = root_buffer(t->plan, t->plan->args.buffer[t->plan->slots.index[slot]]);
        t->root[slot] = t->plan->buffers.slot[buffer];
        if (t->root[slot] == 0 && t->pool_of[buffer] != 0)
            t->root_pool[slot] = t->pool_of[buffer] - 1;
    }
}

/* --- the code --------------------------------------------------------------------------------- */
typedef struct Content {
    uint64_t word[2];
} Content;
static void add(Content *c, uint64_t number) {
    c->word[0] = hash_mix(c->word[0], number);
    c->word[1] = hash_mix(c->word[1] ^ 0x9E3779B97F4A7C15u, number);
}
static void add_at(Content *c, EmitAt at) {
    add(c, (uint64_t)at.slot << 32 | at.pool);
    add(c, (uint64_t)at.offset);
}
static void add_row(const Taking *t, Content *c, const EmitRow *row) {
    uint32_t args = row->kind == EMIT_COPY ? 2 : row->kind == EMIT_UNLESS ? 1 : 0;
    uint64_t numbers[] = {
        row->kind,   row->target,          row->first,          row->count, row->fails,
        row->cases,  (uint64_t)row->which, (uint64_t)row->last, row->scan,  (uint64_t)row->length,
        row->reverse};
    for (uint32_t i = 0; i < LENGTH(numbers); i++) add(c, numbers[i]);
    if (row->kind == EMIT_KERNEL) {
        const LoopKernels *kernels = &t->plan->loops->kernels;
        args = kernels->buffers_count[row->code.row];
        add(c, row->kernel->hash.low);
        add(c, row->kernel->hash.high);
        for (uint32_t i = 0; i < kernels->params_count[row->code.row]; i++)
            add(c, (uint64_t)row->params[i]);
        for (uint32_t i = 0; i < args; i++) add(c, (uint64_t)row->bytes[i]);
    }
    if (row->kind == EMIT_COPY) add(c, (uint64_t)row->bytes[0]);
    for (uint32_t i = 0; i < args; i++) add_at(c, row->args[i]);
}
static Content content_of(const Taking *t) {
    const EmitFlow *f = &t->flow;
    Content         c = {{f->rows_count, f->slots_count}};
    for (uint32_t i = 0; i < f->rows_count; i++) add_row(t, &c, &t->rows[i]);
    for (uint32_t i = 0; i < f->pools_count; i++) {
        add(&c, t->pools[i].first);
        add(&c, t->pools[i].last << 1 | t->pools[i].local);
    }
    for (uint32_t i = 0; i < f->passing_count; i++) {
        add(&c, (uint64_t)t->passing[i].pool << 2 | (uint64_t)t->passing[i].in << 1 |
                    t->passing[i].out);
        add(&c, t->passing[i].offset);
        add(&c, t->passing[i].bytes);
    }
    for (uint32_t i = 0; i < f->slots_count; i++) {
        const EmitMoving *moving = &t->moving[i];
        add(&c, (uint64_t)moving->scan << 2 | (uint64_t)moving->index << 1 | moving->told);
        add(&c, (uint64_t)moving->step);
        add_at(&c, moving->from);
        add(&c, (uint64_t)t->root[i] << 32 | t->root_pool[i]);
    }
    return c;
}

typedef struct Whole { /* the one step */
    EmitFlowFn *run;
    const Step *calls;
} Whole;
static void whole_run(const void *params, const KernelCtx *ctx) {
    const Whole *whole = params;
    whole->run((void **)(uintptr_t)ctx->slots, ctx, whole->calls, ctx->failed);
}
/* The range as rows. Returns the launch that stays as it is, or 0. */
static uint32_t take_rows(Taking *t) {
    Arena   *arena = t->arena;
    uint32_t slots = t->plan->slots.table.count, count = t->last - t->first;
    t->moving = ARENA_ARRAY_ZERO(arena, EmitMoving, slots);
    t->root = ARENA_ARRAY_ZERO(arena, uint32_t, slots);
    t->root_pool = ARENA_ARRAY_ZERO(arena, uint32_t, slots);
    t->rows = ARENA_ARRAY(arena, EmitRow, count);
    t->flow.loops = t->plan->loops;
    t->flow.rows_count = count;
    t->flow.slots_count = slots;
    find_moving(t);
    find_pools(t);
    for (uint32_t row = t->first; row < t->last; row++)
        if (!take_row(t, row)) return row;
    place_moving(t);
    t->flow.rows = t->rows;
    t->flow.pools = t->pools;
    t->flow.passing = t->passing;
    t->flow.moving = t->moving;
    t->flow.root = t->root;
    t->flow.root_pool = t->root_pool;
    t->flow.step_bytes = sizeof(Step);
    t->flow.step_fn = offsetof(Step, fn);
    t->flow.step_params = offsetof(Step, params);
    return 0;
}

static void warn(Binder *b, uint32_t head, const Diags *heard) {
    String why = STR("there is no memory for it");
    if (heard->rows.table.count > 1 && heard->rows.kind[1] == DIAG_JIT_FAILED)
        why = diags_str_get(heard, heard->rows.arg1[1]);
    (void)diags_add(b->diags, DIAG_LOOP_UNCOMPILED, b->plan->launches.op[head].row,
                    diags_str(b->diags, why), 0, 0, 0);
}
/* What cannot be compiled runs launch by launch. */
static EmitFlowFn *compile(Taking *t) {
    Binder *b = t->b;
    Diags   diags = {0};
    EmitFlowFn *volatile run = NULL;
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        diags_open(&diags, NULL);
        run = emit_flow(b->module->jit, &t->flow, content_of(t).word, &diags);
        arena_guard_end(&guard);
    }
    if (run == NULL) warn(b, t->first, &diags);
    diags_close(&diags);
    return run;
}
static EmitFlowFn *make(Taking *t, CpuLoop *loop) {
    EmitFlowFn *run = NULL;
    t->b->alone = true;
    loop->because = take_rows(t);
    if (loop->because != 0)
        loop->way = CPU_LOOP_SHARED;
    else if ((run = compile(t)) == NULL)
        loop->way = CPU_LOOP_FAILED;
    t->b->alone = false;
    return run;
}
bool flow_code_bind(Binder *b, uint32_t head) {
    const Plan *plan = b->plan;
    Taking      t = {.b = b, .plan = plan, .first = head, .last = plan->launches.end[head]};
    EmitFlowFn *run = NULL;
    if (b->module == NULL || b->module->whole == EMIT_LOOPS_NONE) return false;
    CpuLoop loop = judge(b, head);
    Scratch scratch = scratch_begin(&b->arena, 1);
    t.arena = scratch.arena;
    if (loop.way == CPU_LOOP_WHOLE) run = make(&t, &loop);
    scratch_end(scratch);
    b->loops = arena_room(b->arena, b->loops, b->loops_count, &b->loops_max, sizeof *b->loops);
    b->loops[b->loops_count++] = loop;
    if (run == NULL) return false;
    Whole *whole = BIND_PARAMS(b, Whole);
    *whole = (Whole){run, t.calls};
    b->launch = head;
    bind_step(b, whole_run, whole, 0);
    return true;
}

/* --- what became of them ---------------------------------------------------------------------- */
const CpuLoop *cpu_loops(const CpuPlan *cpu, uint32_t *out_count) {
    *out_count = cpu->loops_count;
    return cpu->loops;
}
String cpu_loops_text(Arena *out, const Plan *plan, const CpuPlan *cpu) {
    static const char *const why[] = {
        [CPU_LOOP_SHORT] = "a run does little",  [CPU_LOOP_LONG] = "it has many launches",
        [CPU_LOOP_LARGE] = "it works on much: ", [CPU_LOOP_SHARED] = "it does not stand alone: ",
        [CPU_LOOP_LATE] = "data decides sizes",  [CPU_LOOP_FAILED] = "it cannot be compiled"};
    Text    text = text_begin(out);
    Scratch scratch = scratch_begin(&out, 1);
    for (uint32_t i = 0; i < cpu->loops_count; i++) {
        const CpuLoop *loop = &cpu->loops[i];
        String         name = plan_launch_label(scratch.arena, plan, loop->launch);
        uint32_t       count = plan->launches.end[loop->launch] - loop->launch;
        if (loop->way == CPU_LOOP_WHOLE)
            text_addf(&text, "%s: one function of %u launches\n", name.data, count);
        else
            text_addf(
                &text, "%s: %u launches, one by one: %s%s\n", name.data, count, why[loop->way],
                loop->because == 0 ? ""
                                   : plan_launch_label(scratch.arena, plan, loop->because).data);
    }
    scratch_end(scratch);
    return text_done(&text);
}
