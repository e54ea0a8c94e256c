/* Loops of small kernels as one kernel of one block.
 *
 * A node of a graph costs about 0.9 us and a round of a loop 3.4 us, whatever little it does; a
 * kernel called as a function by a block costs about 0.15 us with the barrier after it. So where
 * that is faster, the text of a loop is written out: control flow as it stands, kernels as
 * functions (gpu_emit_call), copies and small products from run_texts, addresses of rows as
 * variables. All sizes are in the text as numbers; it is compiled once a plan, through the cache.
 *
 * Threads of the block agree on every branch: a predicate is read by all before anyone goes on. */
#include "gpu/run_inner.h"

enum { ELEMENTS_MAX = 1 << 16, CALLS_MAX = 200, ADDRESSES_MAX = 200, SHARED_MAX = 48 << 10 };
/* Nanoseconds on an H100 (note 0018). */
#define NODE_NS    930.0
#define ROUND_NS   3400.0
#define BRANCH_NS  5000.0
#define CALL_NS    150.0
#define ELEMENT_NS 0.13
#define GAIN_NS    20000.0 /* that a scan must save to be worth compiling */

/* --- what it takes ---------------------------------------------------------------------------- */
/* A loop of unknown trips counts as one trip in both. */
double run_block_graph_ns(const RunStep *steps, const RunParts *parts) {
    double ns = 0;
    for (const RunPart *part = parts->first; part != NULL; part = part->next) {
        for (uint32_t i = part->first; i < part->last; i++) ns += steps[i].nodes * NODE_NS;
        if (part->kind == PART_SCAN) {
            const RunScan *scan = part->scan;
            double         body = run_block_graph_ns(steps, &part->blocks[0]);
            ns += body * (double)scan->length + (double)scan->rounds * (ROUND_NS + NODE_NS);
            continue;
        }
        if (part->kind == PART_WHILE) ns += ROUND_NS + NODE_NS;
        if (part->kind == PART_BRANCH) ns += BRANCH_NS + NODE_NS;
        for (uint32_t i = 0; i < part->blocks_count; i++)
            ns += run_block_graph_ns(steps, &part->blocks[i]);
    }
    return ns;
}
typedef struct Cost {
    double   ns, elements; /* elements: of the largest step */
    uint32_t calls;
    bool     possible;
} Cost;
static void add_cost(const RunStep *steps, const RunParts *parts, Cost *cost) {
    for (const RunPart *part = parts->first; part != NULL; part = part->next) {
        Cost inner = {.possible = true};
        cost->possible &= part->kind != PART_STOP;
        for (uint32_t i = part->first; i < part->last; i++) {
            const RunStep *step = &steps[i];
            cost->possible &= step->text != NULL && step->elements <= ELEMENTS_MAX;
            cost->ns += step->nodes * CALL_NS + step->elements * ELEMENT_NS;
            if (step->elements > cost->elements) cost->elements = step->elements;
            cost->calls += step->nodes;
        }
        for (uint32_t i = 0; i < part->blocks_count; i++) add_cost(steps, &part->blocks[i], &inner);
        if (inner.elements > cost->elements) cost->elements = inner.elements;
        cost->possible &= inner.possible;
        cost->calls += inner.calls;
        if (part->kind == PART_SCAN) inner.ns *= (double)part->scan->length;
        cost->ns += inner.ns + CALL_NS;
    }
}

/* --- text ------------------------------------------------------------------------------------- */
static SlotKind slot_kind(const RunBlock *w, uint32_t slot) {
    return slot == RUN_SLOT_WORK ? SLOT_ARENA : (SlotKind)w->b->plan->slots.kind[slot];
}
String run_block_address(RunBlock *w, RunRef ref) {
    unsigned long long offset = ref.offset;
    uint32_t           i = 0;
    if (ref.slot != RUN_SLOT_WORK && w->inside[ref.slot])
        return str_format(w->arena,
                          slot_kind(w, ref.slot) == SLOT_INDEX ? "((char *)&i%u + %lluull)"
                                                               : "(r%u + %lluull)",
                          ref.slot, offset);
    while (i < w->addresses_count && w->addresses[i].slot != ref.slot) i++;
    if (i == w->addresses_count && i < ADDRESSES_MAX)
        w->addresses[w->addresses_count++] = (RunRef){ref.slot, 0};
    return str_format(w->arena, "(a.s[%u] + %lluull)", i, offset);
}
CuPtr run_block_align(const RunBlock *w, RunRef ref) {
    LaunchArg arg = {.slot = ref.slot, .offset = ref.offset};
    return run_offsets(w->b, &arg);
}
void run_block_call(RunBlock *w, GpuFamily family, const char *text, const void *args,
                    uint32_t bytes, const RunRef *refs, const uint32_t *refs_at,
                    uint32_t refs_count) {
    uint32_t words = bytes / 8, number = w->calls++;
    w->families[family] = true;
    text_addf(&w->functions, "D void c%u(", number);
    for (uint32_t i = 0; i < refs_count; i++)
        text_addf(&w->functions, "%schar *p%u", i > 0 ? ", " : "", i);
    text_addf(&w->functions, ") {\nconst u64 words[] = {");
    for (uint32_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, (const char *)args + 8 * (size_t)i, 8);
        text_addf(&w->functions, "%s0x%llxull", i > 0 ? "," : "", (unsigned long long)word);
    }
    text_addf(&w->functions,
              "};\nunion U { u64 w[%u]; %.*s x; __device__ U() {} } u;\n"
              "#pragma unroll\nfor (int i = 0; i < %u; i++) u.w[i] = words[i];\n",
              words, STR_ARGS(run_args_of(text)), words);
    for (uint32_t i = 0; i < refs_count; i++)
        text_addf(&w->functions, "u.w[%u] = (u64)p%u;\n", refs_at[i] / 8, i);
    text_addf(&w->functions, "%s(u.x); }\n", text);
    text_addf(&w->body, "ops::c%u(", number);
    for (uint32_t i = 0; i < refs_count; i++)
        text_addf(&w->body, "%s%s", i > 0 ? ", " : "", run_block_address(w, refs[i]).data);
    text_add(&w->body, STR(");\n__syncthreads();\n"));
}

static void put_parts(RunBlock *w, const RunParts *parts);

static void put_scan(RunBlock *w, const RunPart *part) {
    const RunScan *scan = part->scan;
    uint32_t       slot = scan->first_slot;
    text_addf(&w->body, "for (i64 k%u = 0; k%u < %lldll; k%u++) {\nconst i64 row%u = ", slot, slot,
              (long long)scan->length, slot, slot);
    if (scan->reverse) text_addf(&w->body, "%lldll - ", (long long)scan->length - 1);
    text_addf(&w->body, "k%u;\n", slot);
    for (uint32_t i = 0; i < scan->rows_count; i++)
        text_addf(&w->body, "char *const r%u = %s + row%u * %lldll;\n", slot + 1 + i,
                  run_block_address(w, scan->rows[i].at).data, slot, (long long)scan->rows[i].step);
    for (uint32_t i = 0; i <= scan->rows_count; i++) w->inside[slot + i] = true;
    if (scan->counts)
        text_addf(&w->body,
                  "__shared__ i64 i%u;\nif (threadIdx.x == 0) i%u = row%u;\n__syncthreads();\n",
                  slot, slot, slot);
    put_parts(w, &part->blocks[0]);
    text_add(&w->body, STR("__syncthreads();\n}\n"));
}
static void put_predicate(RunBlock *w, const RunPart *part) {
    const char *at = run_block_address(w, part->predicate).data;
    if (part->last_case < 0)
        text_addf(&w->body, "const bool p = *(const bool *)%s;\n__syncthreads();\n", at);
    else
        text_addf(&w->body, "const i64 p = *(const i64 *)%s;\n__syncthreads();\n", at);
}
static void put_branch(RunBlock *w, const RunPart *part) {
    text_add(&w->body, STR("{\n"));
    put_predicate(w, part);
    for (uint32_t i = 0; i < part->blocks_count; i++) {
        bool last = i + 1 == part->blocks_count;
        text_add(&w->body, i > 0 ? STR("else ") : STR(""));
        if (!last && part->last_case < 0) text_add(&w->body, STR("if (p) "));
        if (!last && part->last_case >= 0) text_addf(&w->body, "if (p <= %u) ", i);
        text_add(&w->body, STR("{\n"));
        put_parts(w, &part->blocks[i]);
        text_add(&w->body, STR("}\n"));
    }
    text_add(&w->body, STR("}\n"));
}
static void put_parts(RunBlock *w, const RunParts *parts) {
    for (const RunPart *part = parts->first; part != NULL; part = part->next) {
        for (uint32_t i = part->first; i < part->last; i++)
            w->b->steps[i].text(w, w->b->steps[i].params);
        if (part->kind == PART_SCAN) put_scan(w, part);
        if (part->kind == PART_BRANCH) put_branch(w, part);
        if (part->kind != PART_WHILE) continue;
        text_add(&w->body, STR("for (;;) {\n"));
        put_parts(w, &part->blocks[0]);
        put_predicate(w, part);
        text_add(&w->body, STR("if (!p) break;\n"));
        put_parts(w, &part->blocks[1]);
        text_add(&w->body, STR("}\n"));
    }
}

/* --- the kernel ------------------------------------------------------------------------------- */
typedef struct BlockStep {
    GpuKernel     kernel;
    const RunRef *addresses;
    uint32_t      count, threads, shared_bytes;
} BlockStep;
static Status block_run(const void *params, const RunCtx *ctx) {
    const BlockStep *step = params;
    CuPtr           *args = ARENA_ARRAY(ctx->scratch, CuPtr, step->count);
    for (uint32_t i = 0; i < step->count; i++) args[i] = run_at(step->addresses[i], ctx);
    GpuLaunch launch = {.kernel = step->kernel,
                        .grid = {1, 1, 1},
                        .block = {step->threads, 1, 1},
                        .shared_bytes = step->shared_bytes,
                        .args = args,
                        .args_bytes = step->count * (uint32_t)sizeof *args};
    return gpu_launch(ctx->stream, &launch, ctx->diags);
}

static String whole_text(const RunBlock *w, Arena *out, String parts[3]) {
    Text text = text_begin(out);
    text_add(&text, STR("namespace ops {\n"));
    text_add(&text, str_of(run_prelude));
    for (uint32_t i = 0; i < FAMILY_COUNT; i++)
        if (w->families[i]) text_add(&text, str_of(run_texts[i]));
    text_add(&text, parts[0]);
    text_add(&text, STR("}\n#undef D\n"));
    gpu_emit_prelude(&text, true);
    text_add(&text, parts[1]);
    text_addf(&text,
              "struct Addresses { char *s[%u]; };\n"
              "extern \"C\" __global__ void __launch_bounds__(%u) loop(const Addresses a) {\n",
              w->addresses_count > 0 ? w->addresses_count : 1, w->threads);
    text_add(&text, parts[2]);
    text_add(&text, STR("}\n"));
    return text_done(&text);
}
static Status compile(const RunBlock *w, String text, GpuKernel *out_kernel) {
    GpuKit     *kit = w->b->kit;
    Gpu        *gpu = kit->gpu;
    GpuSource   source = {"a loop in one block", text};
    String      image = {0};
    GpuCompiled compiled;
    RunModule  *module = ARENA_NEW(kit->arena, RunModule);
    Status status = gpu_compile(w->arena, gpu->libs, kit->options.cache, gpu->info.arch, &source, 1,
                                1, w->b->diags, &image, &compiled);
    if (status == STATUS_OK)
        status = gpu_module_open(gpu, source.name, image, w->b->diags, &module->module);
    if (status != STATUS_OK) return status;
    module->next = kit->modules;
    kit->modules = module;
    return gpu_module_kernel(&module->module, "loop", w->b->diags, out_kernel);
}
/* Its text and kernel; *out_step stays NULL if it needs too much. */
static Status make(RunBinder *b, const RunPart *part, uint32_t threads, BlockStep **out_step) {
    RunPart  alone = *part;
    RunParts parts = {.first = &alone};
    Scratch  scratch = scratch_begin(&b->arena, 1);
    Arena   *texts[3] = {arena_open("text", (size_t)1 << 28, 0),
                         arena_open("text", (size_t)1 << 28, 0),
                         arena_open("text", (size_t)1 << 28, 0)};
    RunBlock w = {.b = b, .arena = scratch.arena, .threads = threads};
    Status   status = STATUS_OK;
    alone.next = NULL;
    for (int i = 0; i < 3; i++)
        if (texts[i] == NULL) status = STATUS_OUT_OF_MEMORY;
    if (status == STATUS_OK) {
        w.functions = text_begin(texts[0]);
        w.kernels = text_begin(texts[1]);
        w.body = text_begin(texts[2]);
        w.addresses = ARENA_ARRAY(b->arena, RunRef, ADDRESSES_MAX);
        w.inside = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, b->plan->slots.table.count);
        put_parts(&w, &parts);
    }
    bool fits = w.addresses_count < ADDRESSES_MAX && w.shared_bytes + w.static_bytes <= SHARED_MAX;
    if (status == STATUS_OK && fits) {
        String     all[3] = {text_done(&w.functions), text_done(&w.kernels), text_done(&w.body)};
        BlockStep *step = *out_step = RUN_PARAMS(b, BlockStep);
        *step = (BlockStep){.addresses = w.addresses,
                            .count = w.addresses_count,
                            .threads = threads,
                            .shared_bytes = w.shared_bytes};
        status = compile(&w, whole_text(&w, scratch.arena, all), &step->kernel);
    }
    for (int i = 0; i < 3; i++) arena_close(texts[i]);
    scratch_end(scratch);
    return status;
}

static void absorb(RunStep *steps, const RunParts *parts) {
    for (const RunPart *part = parts->first; part != NULL; part = part->next) {
        for (uint32_t i = part->first; i < part->last; i++) steps[i].absorbed = true;
        for (uint32_t i = 0; i < part->blocks_count; i++) absorb(steps, &part->blocks[i]);
    }
}
Status run_block_try(RunBinder *b, RunPart *part) {
    RunPart    alone = *part;
    RunParts   parts = {.first = &alone};
    Cost       cost = {.possible = true};
    BlockStep *step = NULL;
    GpuLoops   loops = b->kit->options.loops;
    alone.next = NULL;
    if (loops == GPU_LOOPS_GRAPH || part->stops) return STATUS_OK;
    add_cost(b->steps, &parts, &cost);
    if (!cost.possible || cost.calls == 0 || cost.calls > CALLS_MAX) return STATUS_OK;
    double gain = run_block_graph_ns(b->steps, &parts) - cost.ns;
    bool   known = part->kind == PART_SCAN;
    if (loops == GPU_LOOPS_AUTO && (gain <= 0 || (known && gain < GAIN_NS))) return STATUS_OK;
    Status status = make(b, part,
                         cost.elements <= 64     ? 32
                         : cost.elements <= 4096 ? 256
                                                 : 512,
                         &step);
    if (status != STATUS_OK || step == NULL) return status;
    absorb(b->steps, &parts);
    b->launch = part->launch;
    *part = (RunPart){.kind = PART_STEPS,
                      .first = b->steps_count,
                      .last = b->steps_count + 1,
                      .last_case = -1,
                      .next = part->next};
    (void)run_step(b, block_run, step, 1);
    b->stats.blocks++;
    return STATUS_OK;
}
