/* Reports: what a file holds (inspect), which layers of a program multiply 8-bit floats, what a
 * graph will keep in memory (peak), and what was found on this machine (doctor). A file is
 * recognised by its first bytes and read by the same checked readers as everywhere else, so
 * inspecting a hostile file is as safe as loading it. */
#include "api/session.h"

#include <math.h>

#include "arena/block.h"
#include "arena/os.h"
#include "formats/files.h"
#include "formats/idx.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "gpu/doctor.h"
#include "systems/fit.h"
#include "systems/narrow8.h"
#include "text/binary.h"
#include "text/peak.h"
#include "text/print.h"
#include "train/checkpoint.h"
#include "train/plot.h"
#include "train/tokenizer.h"
#include "train/tokens.h"

enum { PEAK_ROWS = 40 };

static void add_bytes(Text *text, uint64_t bytes) {
    if (bytes < 10000)
        text_addf(text, "%llu B", (unsigned long long)bytes);
    else if (bytes < 10000000)
        text_addf(text, "%.1f KiB", (double)bytes / 1024);
    else
        text_addf(text, "%.1f MiB", (double)bytes / 1048576);
}

/* --- inspect ---------------------------------------------------------------------------------- */
static void add_tensors(Text *text, const Safetensors *file) {
    uint64_t elements = 0, bytes = 0;
    for (uint32_t i = 0; i < file->metadata_count; i++) {
        String key = file->metadata[i].key, value = file->metadata[i].value;
        text_addf(text, "  %-18.*s %.*s%s\n", STR_ARGS(key),
                  (int)(value.count < 60 ? value.count : 60), value.data,
                  value.count > 60 ? "..." : "");
    }
    for (uint32_t i = 0; i < file->entries_count; i++) {
        const SafetensorsEntry *entry = &file->entries[i];
        uint64_t                count = 1;
        text_addf(text, "  %-44.*s %-5s [", STR_ARGS(entry->name), dtype_infos[entry->dtype].name);
        for (uint32_t k = 0; k < entry->rank; k++) {
            text_addf(text, "%s%lld", k ? ", " : "", (long long)entry->shape[k]);
            count *= (uint64_t)entry->shape[k];
        }
        text_add(text, STR("]\n"));
        elements += count;
        bytes += entry->bytes;
    }
    text_addf(text, "%u tensors, %llu elements, ", file->entries_count,
              (unsigned long long)elements);
    add_bytes(text, bytes);
    text_add(text, STR("\n"));
}

static void add_world(Text *text, World *world) {
    uint64_t total = 0;
    text_addf(text, "  %-20s %10s %12s\n", "table", "rows", "bytes");
    for (uint32_t i = 0; world_table(world, i) != NULL; i++) {
        const Table *table = world_table(world, i);
        if (table->count <= 1) continue;
        text_addf(text, "  %-20s %10u %12zu\n", table->info->name, table->count - 1,
                  table_bytes(table));
        total += table_bytes(table);
    }
    uint32_t ops = world->code.ops.table.count - 1;
    text_addf(text, "%u graphs, %u operators, ", world->code.graphs.table.count - 1, ops);
    add_bytes(text, total);
    if (ops != 0) text_addf(text, ", %.1f bytes an operator", (double)total / ops);
    text_add(text, STR("\n"));
}

static Status inspect_world(StoaContext *context, const char *path, Text *text) {
    World *world = world_open(0, 0);
    if (world == NULL) api_unwind_on(arena_guard_failure());
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        world_close(world);
        api_unwind_on(failure);
    }
    Status status = binary_load(world, path, &context->diags);
    if (status == STATUS_OK) {
        Scratch scratch = scratch_begin(&context->reports, 1);
        String  printed = text_print(scratch.arena, world, (TextOptions){.types = true});
        text_addf(text, "%s: program\n", path);
        add_world(text, world);
        text_add(text, STR("\n"));
        text_add(text, printed);
        scratch_end(scratch);
    }
    arena_guard_end(&guard);
    world_close(world);
    return status;
}

static Status inspect_safetensors(StoaContext *context, const char *path, Text *text) {
    Scratch     scratch = scratch_begin(&context->reports, 1);
    Safetensors file;
    Status      status = safetensors_open(scratch.arena, path, &context->diags, &file);
    if (status == STATUS_OK) {
        text_addf(text, "%s: safetensors\n", path);
        add_tensors(text, &file);
    }
    scratch_end(scratch);
    return status;
}
static Status inspect_checkpoint(StoaContext *context, const char *path, Text *text) {
    Scratch    scratch = scratch_begin(&context->reports, 1);
    Checkpoint checkpoint;
    Status     status = os_exists(str_format(scratch.arena, "%s/manifest.json", path).data)
                            ? checkpoint_open(scratch.arena, path, &context->diags, &checkpoint)
                            : checkpoint_find(scratch.arena, path, &context->diags, &checkpoint);
    if (status == STATUS_OK) {
        text_addf(text, "%s: checkpoint at step %llu, checksums good\n", checkpoint.folder,
                  (unsigned long long)checkpoint.step);
        add_tensors(text, &checkpoint.state);
    }
    scratch_end(scratch);
    return status;
}
static Status inspect_tokens(StoaContext *context, const char *path, Text *text) {
    Tokens tokens;
    Status status = tokens_open(&tokens, path, &context->diags);
    if (status != STATUS_OK) return status;
    unsigned long long count = tokens.run.count, hash = tokens.tokenizer_hash;
    uint32_t           vocab = tokens.vocab;
    tokens_close(&tokens); /* before the text grows, which can unwind */
    text_addf(text, "%s: %llu tokens, vocabulary %u, tokenizer %016llx\n", path, count, vocab,
              hash);
    return STATUS_OK;
}
static Status inspect_tokenizer(StoaContext *context, const char *path, Text *text) {
    Scratch          scratch = scratch_begin(&context->reports, 1);
    const Tokenizer *tokenizer;
    Status           status = tokenizer_load(scratch.arena, path, &context->diags, &tokenizer);
    if (status == STATUS_OK) {
        text_addf(text, "%s: tokenizer of %u tokens, hash %016llx; the newest:\n ", path,
                  tokenizer->vocab, (unsigned long long)tokenizer->hash);
        for (uint32_t i = tokenizer->vocab > 276 ? tokenizer->vocab - 20 : 256;
             i < tokenizer->vocab; i++) {
            text_add(text, STR(" "));
            json_string(text, tokenizer_piece(tokenizer, i));
        }
        text_add(text, STR("\n"));
    }
    scratch_end(scratch);
    return status;
}

static Status inspect_images(StoaContext *context, const char *path, Text *text) {
    Idx    idx;
    Status status = idx_info(path, &context->diags, &idx);
    if (status != STATUS_OK) return status;
    text_addf(text, "%s: IDX, u8 [", path);
    for (uint32_t i = 0; i < idx.rank; i++) text_addf(text, "%s%u", i ? ", " : "", idx.dims[i]);
    text_add(text, STR("], "));
    add_bytes(text, idx.bytes);
    text_add(text, STR("\n"));
    return STATUS_OK;
}

/* Whether IDX begins here; of packed files only IDX is read. */
static bool is_idx(const uint8_t *head) {
    static const uint8_t plain[3] = {0, 0, 8}, packed[2] = {0x1F, 0x8B};
    return memcmp(head, plain, sizeof plain) == 0 || memcmp(head, packed, sizeof packed) == 0;
}

/* Which reader a file wants, by its first bytes; folders are checkpoints or runs. */
static Status inspect(StoaContext *context, const char *path, Text *text) {
    uint8_t  head[16] = {0};
    uint64_t size = 0;
    OsFile   file;
    Scratch  scratch = scratch_begin(&context->reports, 1);
    bool     folder = os_exists(str_format(scratch.arena, "%s/manifest.json", path).data) ||
                  os_exists(str_format(scratch.arena, "%s/checkpoints", path).data);
    scratch_end(scratch);
    if (folder) return inspect_checkpoint(context, path, text);
    int error = os_open(path, OS_READ, &file);
    if (error == 0) {
        error = os_size(file, &size);
        if (error == 0)
            error = os_read_at(file, 0, head, size < sizeof head ? (size_t)size : sizeof head);
        (void)os_close(&file);
    }
    if (error != 0) return report_failure(&context->diags, path, failure_file("read", error));
    if (memcmp(head, "stoatok\n", 8) == 0) return inspect_tokenizer(context, path, text);
    if (memcmp(head, "stoatkn\n", 8) == 0) return inspect_tokens(context, path, text);
    if (head[8] == '{') return inspect_safetensors(context, path, text);
    if (is_idx(head)) return inspect_images(context, path, text);
    if (binary_is((String){(const char *)head, sizeof head}))
        return inspect_world(context, path, text);
    return report_failure(&context->diags, path,
                          failure_format(STATUS_UNSUPPORTED, "file that Stoa knows",
                                         "it begins like no saved program, weights, tokenizer, "
                                         "tokens or IDX images"));
}

StoaStatus stoa_inspect(StoaContext *context, const char *path, const char **out_text) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(context, NULL);
    arena_release(context->reports, (ArenaMark){0});
    Text   text = text_begin(context->reports);
    Status status = inspect(context, path, &text);
    if (status == STATUS_OK) *out_text = text_done(&text).data;
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(context, NULL, status);
}

/* --- layers of a program ---------------------------------------------------------------------- */
static void add_layer(Text *text, const World *world, OpId op, Narrow8Layer layer, uint32_t block) {
    static const char *const bars[] = {[NARROW8_BAR_DTYPE] = "an operand is not f32",
                                       [NARROW8_BAR_ARGUMENT] = "it takes an input of the graph",
                                       [NARROW8_BAR_UNKNOWN] = "its sizes are symbols",
                                       [NARROW8_BAR_LAST] = "it is the last layer",
                                       [NARROW8_BAR_COST] =
                                           "no product saves what conversions cost"};
    const Code              *code = &world->code;
    ValueId                  weight = op_operand(code, op, 1);
    OpId                     made = value_is_arg(code, weight) ? (OpId){0} : value_op(code, weight);
    String                   name = strings_get(&world->strings, code->values.name[weight.row]);
    if (code->ops.opcode[made.row] == OP_PARAMETER)
        name = strings_get(&world->strings,
                           (StrId){(uint32_t)op_attrs(world, code, made)[ATTR_PARAMETER_name]});
    const DimId *dims = type_dims(&world->types, value_type(world, weight));
    text_addf(text, "  %-32.*s", STR_ARGS(name));
    for (uint32_t i = 0; i < 2; i++)
        if (dims_is_const(&world->dims, dims[1 - i]))
            text_addf(text, "%s%6lld", i ? " -> " : " ",
                      (long long)dims_const_value(&world->dims, dims[1 - i]));
        else
            text_addf(text, "%s%6s", i ? " -> " : " ", "symbol");
    for (uint32_t i = 0; i < 3; i++)
        text_addf(text, "  %-7s", layer.wide >> i & 1 ? "bf16" : "8 bits");
    if (layer.bar == NARROW8_BAR_SIZES)
        text_addf(text, "sizes are no multiples of %u", block != 0 ? block : 16);
    else if (layer.bar != NARROW8_BAR_NONE)
        text_add(text, str_of(bars[layer.bar]));
    text_add(text, STR("\n"));
}
static void add_layers(Text *text, World *world, const StoaCompileOptions *options) {
    Scratch     scratch = scratch_begin(&text->arena, 1);
    SystemCtx   ctx = {.world = world, .scratch = scratch.arena};
    uint32_t    all = 0, some = 0, block = 0;
    const Code *code = &world->code;
    ctx.narrow8 = (Narrow8){options->f8_products, options->f8_history, options->f8_block};
    const Narrow8Layer *layers = narrow8_choose(&ctx);
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        if (code->ops.opcode[row] != OP_LINEAR) continue;
        if (code->ops.block[row].row != block) {
            block = code->ops.block[row].row;
            for (uint32_t graph = 1; graph < code->graphs.table.count; graph++)
                if (code->graphs.block[graph].row == block)
                    text_addf(text, "graph %.*s\n",
                              STR_ARGS(strings_get(&world->strings, code->graphs.name[graph])));
            text_addf(text, "  %-32s %6s    %6s  %-7s  %-7s  dw\n", "weight", "in", "out", "y",
                      "dx");
        }
        all++;
        some += layers[row].wide != NARROW8_NOTHING;
        add_layer(text, world, (OpId){row}, layers[row], options->f8_block);
    }
    text_addf(text, "%u of %u linear layers multiply 8-bit floats, scaled by ", some, all);
    if (options->f8_block != 0)
        text_addf(text, "blocks of %u\n", options->f8_block);
    else if (options->f8_history != 0)
        text_addf(text, "the largest magnitudes of %u steps\n", options->f8_history);
    else
        text_add(text, STR("their own largest magnitudes\n"));
    scratch_end(scratch);
}
static Status inspect_layers(StoaContext *context, const char *path,
                             const StoaCompileOptions *options, Text *text) {
    static const SystemKind steps[] = {SYSTEM_verify, SYSTEM_infer, SYSTEM_inline};
    World                  *world = world_open(0, 0);
    if (world == NULL) api_unwind_on(arena_guard_failure());
    Runner     runner;
    ArenaGuard guard;
    runner_open(&runner, world, NULL);
    if (!ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        runner_close(&runner);
        world_close(world);
        api_unwind_on(failure);
    }
    Status status = binary_load(world, path, &context->diags);
    for (uint32_t i = 0; i < LENGTH(steps) && status == STATUS_OK; i++)
        if (!runner_run(&runner, steps[i])) status = STATUS_INVALID;
    if (status == STATUS_OK) {
        text_addf(text, "%s: linear layers\n", path);
        add_layers(text, world, options);
    }
    arena_guard_end(&guard);
    runner_close(&runner);
    world_close(world);
    return status;
}
StoaStatus stoa_inspect_layers(StoaContext *context, const char *path,
                               const StoaCompileOptions *options, const char **out_text) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(context, NULL);
    arena_release(context->reports, (ArenaMark){0});
    Text   text = text_begin(context->reports);
    Status status = inspect_layers(context, path, options, &text);
    if (status == STATUS_OK) *out_text = text_done(&text).data;
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(context, NULL, status);
}

/* --- peak ------------------------------------------------------------------------------------- */
/* The bytes alive over the launches, and the budget if there is one. */
static String plot_plan(Arena *out, const StoaSession *session, const Plan *plan) {
    Scratch   scratch = scratch_begin(&out, 1);
    uint32_t  count = plan->launches.table.count - 1;
    uint64_t *launches = ARENA_ARRAY(scratch.arena, uint64_t, count + 1);
    double   *mib = ARENA_ARRAY(scratch.arena, double, count + 1);
    uint64_t  budget = session->runner.ctx.budget;
    for (uint32_t i = 0; i < count; i++) {
        launches[i] = i + 1;
        mib[i] = (double)plan->launches.live[i + 1] / 0x1p20;
    }
    StrId    name = session->world->code.graphs.name[plan->graph.row];
    PlotLoss plot = {.title = str_format(scratch.arena, "intermediates of %.*s",
                                         STR_ARGS(strings_get(&session->world->strings, name))),
                     .subtitle = str_format(scratch.arena, "planned arena %.1f MiB",
                                            (double)plan->arena_bytes / 0x1p20),
                     .steps = launches,
                     .train = mib,
                     .count = count,
                     .reference = budget != 0 ? (double)budget / 0x1p20 : NAN,
                     .reference_label = STR("budget"),
                     .x_label = STR("launch"),
                     .y_label = STR("MiB"),
                     .series = STR("alive")};
    String   svg = plot_loss(out, &plot);
    scratch_end(scratch);
    return svg;
}

static Status report_peak(StoaSession *session, const char *name, const StoaTensor *inputs,
                          uint32_t count, StoaMemoryPeak *out) {
    Tensor  given[LIST_MAX];
    Diags  *diags = &session->context->diags;
    GraphId graph = session_graph(session, name);
    if (!graph_id_some(graph)) return STATUS_NOT_FOUND;
    if (session->interpreter || count > LIST_MAX) {
        api_misuse(session->context, "stoa_memory_peak",
                   session->interpreter ? "the interpreter plans no memory" : "too many inputs");
        return STATUS_INVALID;
    }
    for (uint32_t i = 0; i < count; i++) {
        given[i] = (Tensor){.dtype = (Dtype)inputs[i].dtype, .rank = inputs[i].rank};
        memcpy(given[i].shape, inputs[i].shape, sizeof given[i].shape);
    }
    Plan *plan =
        fit_plan(&session->runner, graph, inputs != NULL ? given : NULL, count, true, diags);
    if (plan == NULL) return STATUS_INVALID;
    arena_release(session->texts, (ArenaMark){0});
    *out = (StoaMemoryPeak){.arena_bytes = plan->arena_bytes,
                            .arena_floor_bytes = plan->floor_bytes,
                            .host_bytes = plan_host_bytes(plan),
                            .launch = peak_launch(plan),
                            .launches = plan->launches.table.count - 1};
    out->text = text_peak(session->texts, plan, PEAK_ROWS).data;
    out->svg = plot_plan(session->texts, session, plan).data;
    plan_close(plan);
    return STATUS_OK;
}
StoaStatus stoa_memory_peak(StoaSession *session, const char *graph, const StoaTensor *inputs,
                            uint32_t inputs_count, StoaMemoryPeak *out_peak) {
    ArenaGuard     guard;
    StoaMemoryPeak peak = {0};
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, session->world);
    Status status = report_peak(session, graph, inputs, inputs_count, &peak);
    arena_guard_end(&guard);
    if (status != STATUS_OK) return api_fail(session->context, session->world, status);
    *out_peak = peak;
    return STOA_OK;
}

/* --- doctor ----------------------------------------------------------------------------------- */
typedef struct Finding {
    const char *key;
    String      value;
} Finding;

static uint32_t findings(StoaContext *context, Arena *arena, Finding *out) {
    Topology *t = ARENA_NEW(arena, Topology);
    uint32_t  n = 0, kernels = 0, kept = 0;
    topology_read(t);
    for (uint32_t op = 1; op < OP_COUNT; op++)
        kernels += context->target.has_kernel[op], kept += context->target.keep[op];
    out[n++] = (Finding){"stoa", STR(STOA_VERSION)};
    out[n++] = (Finding){"cpu", str_format(arena, "%s", t->cpu_model)};
    out[n++] = (Finding){"features", str_format(arena, "%s", t->features)};
    out[n++] = (Finding){"cores", str_format(arena, "%u usable, %u hardware threads, %u NUMA nodes",
                                             t->cores, t->cpus, t->numa_nodes)};
    out[n++] = (Finding){"cpu limit", t->cpu_limit ? str_format(arena, "%u (cgroup)", t->cpu_limit)
                                                   : STR("none")};
    out[n++] = (Finding){"lanes", str_format(arena, "%u", workers_lanes(context->workers))};
    out[n++] = (Finding){"caches", str_format(arena, "L1d %llu KiB, L2 %llu KiB, L3 %llu KiB",
                                              (unsigned long long)(t->l1d_bytes >> 10),
                                              (unsigned long long)(t->l2_bytes >> 10),
                                              (unsigned long long)(t->l3_bytes >> 10))};
    out[n++] = (Finding){
        "memory", str_format(arena, "%llu MiB%s", (unsigned long long)(t->memory_bytes >> 20),
                             t->memory_limit_bytes ? " (cgroup limit below)" : "")};
    if (t->memory_limit_bytes)
        out[n++] = (Finding){"memory limit",
                             str_format(arena, "%llu MiB (cgroup)",
                                        (unsigned long long)(t->memory_limit_bytes >> 20))};
    out[n++] =
        (Finding){"operators",
                  str_format(arena, "%d declared, %u with a CPU kernel, %u composites kept whole",
                             OP_COUNT - 1, kernels, kept)};
    out[n++] = (Finding){"jemalloc", block_from_jemalloc()
                                         ? STR("holds tensors")
                                         : STR("absent: tensors come from aligned_alloc")};
    GpuFinding gpu[GPU_FINDINGS_MAX];
    uint32_t   gpu_count = gpu_findings(arena, gpu);
    for (uint32_t i = 0; i < gpu_count; i++) out[n++] = (Finding){gpu[i].key, gpu[i].value};
    return n;
}

static const char *doctor(StoaContext *context, bool json) {
    Finding list[16 + GPU_FINDINGS_MAX];
    arena_release(context->reports, (ArenaMark){0});
    Scratch  scratch = scratch_begin(&context->reports, 1);
    uint32_t count = findings(context, scratch.arena, list);
    Text     text = text_begin(context->reports);
    for (uint32_t i = 0; i < count; i++) {
        if (!json) {
            text_addf(&text, "%-14s %.*s\n", list[i].key, STR_ARGS(list[i].value));
            continue;
        }
        text_add(&text, i == 0 ? STR("{") : STR(","));
        json_string(&text, str_of(list[i].key));
        text_add(&text, STR(":"));
        json_string(&text, list[i].value);
    }
    if (json) text_add(&text, STR("}\n"));
    scratch_end(scratch);
    return text_done(&text).data;
}

StoaStatus stoa_doctor(StoaContext *context, bool json, const char **out_text) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(context, NULL);
    *out_text = doctor(context, json);
    arena_guard_end(&guard);
    return STOA_OK;
}
