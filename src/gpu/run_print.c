/* Print rows on a GPU: lines wait in a log until the host says them.
 *
 * The log of a plan is page-locked memory that kernels write to. A row is one kernel a value, the
 * first of which takes a place for the whole line or counts it as lost; kernels of a plan run one
 * after another, also in bodies of loops, so lines stand in the order of the program (a loop that
 * prints is never one kernel: the address of its log would be in the text). The host empties the
 * log when it waits for the plan anyway; until then lines of several runs follow each other.
 * Nothing is allocated in a run: the log holds what a pass without loops prints and LOG_BYTES more,
 * and whoever prints more is told how many lines are gone. A line takes about two turns over the
 * bus: it is meant for a look, not for data. */
#include "gpu/run_inner.h"

#include "tables/tensor.h"

enum { LOG_BYTES = 1 << 20, LOG_BYTES_MAX = 256 << 20, VALUE_ALIGN = 16 };
typedef struct Line { /* then values, each aligned */
    uint64_t launch, bytes;
} Line;

static uint64_t padded(uint64_t bytes) {
    return (bytes + VALUE_ALIGN - 1) / VALUE_ALIGN * VALUE_ALIGN;
}
/* Elements of a value that are said, and so are there. */
static int64_t said(const LaunchArg *x, const uint64_t *attrs) {
    int64_t count = run_elements(x), most = (int64_t)attrs[ATTR_PRINT_most];
    return most != 0 && count > most ? most : count;
}
static uint64_t value_bytes(const LaunchArg *x, const uint64_t *attrs) {
    return padded((uint64_t)said(x, attrs) * dtype_bytes((Dtype)x->dtype));
}
static uint64_t line_bytes(const Plan *plan, uint32_t launch) {
    const LaunchArg *args = launch_args(plan, launch);
    uint64_t         bytes = sizeof(Line);
    for (uint32_t i = 0; i < plan->launches.operands[launch]; i++)
        bytes += value_bytes(&args[i], launch_attrs(plan, launch));
    return bytes;
}

/* --- the log ---------------------------------------------------------------------------------- */
static Status open_log(RunBinder *b) {
    uint64_t bytes = LOG_BYTES;
    void    *memory;
    RunLog  *log = b->kit->logs;
    if (b->log != NULL) return STATUS_OK;
    for (uint32_t row = 1; row < b->plan->launches.table.count; row++)
        if (b->plan->launches.opcode[row] == OP_PRINT) bytes += line_bytes(b->plan, row);
    if (bytes > LOG_BYTES_MAX) bytes = LOG_BYTES_MAX;
    while (log != NULL && log->head != NULL) log = log->next;
    if (log == NULL) {
        log = ARENA_NEW(b->kit->arena, RunLog);
        *log = (RunLog){.next = b->kit->logs};
        b->kit->logs = log;
    }
    Status status = gpu_host_open(b->kit->gpu, sizeof(RunLogHead) + bytes, b->diags, &memory);
    if (status != STATUS_OK) return status;
    log->head = memory;
    log->bytes = bytes;
    *log->head = (RunLogHead){0};
    b->log = log;
    return STATUS_OK;
}
void run_log_close(GpuKit *kit, RunLog *log) {
    if (log == NULL) return;
    gpu_host_close(kit->gpu, log->head);
    log->head = NULL;
}
void run_log_empty(const RunLog *log) {
    if (log != NULL) log->head->used = log->head->lost = 0;
}

Status run_bind_print(RunBinder *b) {
    uint64_t at = sizeof(Line), whole = line_bytes(b->plan, b->launch);
    Status   status = open_log(b);
    for (uint32_t i = 0; i < b->operands || i == 0; i++) {
        if (status != STATUS_OK) return status;
        PrintArgs   args = {.log = (CuPtr)(uintptr_t)b->log->head,
                            .bytes = i == 0 ? (int64_t)whole : 0,
                            .room = (int64_t)b->log->bytes,
                            .at = (int64_t)at,
                            .launch = b->launch};
        const char *word = "u8"; /* a line without values */
        if (b->operands != 0) {
            const LaunchArg *x = &b->args[i];
            args.count = said(x, b->attrs);
            for (uint32_t k = 0; k < x->rank; k++)
                run_nd_axis(&args.nd, x->dims[k], x->strides[k], 0, 0);
            word = run_word(dtype_bytes((Dtype)x->dtype));
            at += value_bytes(x, b->attrs);
        }
        RunKernel *k = run_kernel(b, FAMILY_PRINT, str_format(b->arena, "print<%s>", word), &args,
                                  sizeof args);
        b->steps[k->step].elements = (double)args.count;
        if (b->operands != 0) RUN_REF(k, PrintArgs, x, run_ref(&b->args[i]));
    }
    return status;
}

/* --- telling ---------------------------------------------------------------------------------- */
static void tell_line(const Plan *plan, const Line *line, const Diags *diags, Arena *scratch) {
    uint32_t         launch = (uint32_t)line->launch, count = plan->launches.operands[launch];
    const LaunchArg *args = launch_args(plan, launch);
    const uint64_t  *attrs = launch_attrs(plan, launch);
    Tensor          *values = ARENA_ARRAY_ZERO(scratch, Tensor, count + 1);
    uint64_t         at = sizeof *line;
    for (uint32_t i = 0; i < count; i++) {
        const LaunchArg *x = &args[i];
        values[i] = (Tensor){.dtype = (Dtype)x->dtype, .rank = x->rank};
        for (uint32_t k = 0; k < x->rank; k++) values[i].shape[k] = x->dims[k];
        values[i].data = (uint8_t *)(uintptr_t)line + at;
        at += value_bytes(x, attrs);
    }
    diags->print(diags->print_context, plan->world, plan->launches.op[launch].row, values, count);
}
Status run_log_tell(const RunLog *log, const Plan *plan, GpuStream stream, Diags *diags) {
    if (log == NULL) return STATUS_OK;
    Status status = gpu_stream_sync(stream, diags);
    if (status != STATUS_OK) return status;
    const uint8_t *lines = (const uint8_t *)(log->head + 1);
    Scratch        scratch = scratch_begin(NULL, 0);
    for (uint64_t at = 0; at < log->head->used && diags->print != NULL;) {
        const Line *line = (const Line *)(const void *)(lines + at);
        ArenaMark   mark = arena_mark(scratch.arena);
        tell_line(plan, line, diags, scratch.arena);
        arena_release(scratch.arena, mark);
        at += line->bytes;
    }
    scratch_end(scratch);
    if (log->head->lost != 0 && diags->print != NULL)
        (void)diags_add(diags, DIAG_PRINTS_LOST, 0, log->head->lost, log->bytes, 0, 0);
    run_log_empty(log);
    return STATUS_OK;
}
