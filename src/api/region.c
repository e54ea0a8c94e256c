/* Building control flow: regions, which nest. A region is an operator with blocks that is still
 * open: its operands are kept, its blocks are made, and rows go into the one that is open. Rows of
 * blocks come before their operator, so the operator is appended when the region ends, and is
 * inferred then: what its blocks take and return must agree, and both sides are named if not.
 *
 * A region that cannot be begun, because an operand is missing, is passed over: until its end,
 * nothing is appended and values are 0. */
#include <stdio.h>

#include "api/program.h"

#include "systems/flow.h"
#include "tables/infer.h"

struct ApiRegion {
    ArenaMark         mark; /* before the region */
    struct ApiRegion *outer;
    FlowBuild         flow;
    Opcode            opcode;
    uint32_t          block; /* which is open; flow.count: all have ended */
    ValueId          *operands;
    uint32_t          count;
    uint64_t          words[ATTRS_MAX];
    bool              failed; /* a yielded value is missing */
};
typedef struct ApiRegion Region;

static const Opcode opcodes[] = {
    [STOA_IF] = OP_IF, [STOA_SWITCH] = OP_SWITCH, [STOA_WHILE] = OP_WHILE, [STOA_SCAN] = OP_SCAN};

/* --- mistakes --------------------------------------------------------------------------------- */
static void misuse(StoaProgram *program, const char *function, const Region *region,
                   const char *problem, uint32_t a, const char *then, uint32_t b,
                   const char *help) {
    char text[256];
    (void)snprintf(text, sizeof text, "%s: %s %u%s%u; %s", op_infos[region->opcode].name, problem,
                   a, then, b, help);
    api_misuse(program->context, function, text);
}
bool region_refuses(StoaProgram *program, const char *function) {
    const Region *region = program->region;
    if (program->regions_passed != 0) return true;
    if (region == NULL || region->block < region->flow.count) return false;
    misuse(program, function, region, "blocks that have ended:", region->block, " of ",
           region->flow.count, "call stoa_region_end before building on");
    return true;
}
bool region_open(StoaProgram *program, const char *function) {
    const Region *region = program->region;
    if (region != NULL)
        misuse(program, function, region, "still open, blocks that have ended:", region->block,
               " of ", region->flow.count, "call stoa_region_end first");
    return region != NULL || program->regions_passed != 0;
}
bool region_sees(StoaProgram *program, const char *function, ValueId value) {
    const Code *code = &program->world->code;
    uint32_t    def = code->values.def[value.row];
    BlockId     from =
        (def & VALUE_IS_ARG) != 0 ? (BlockId){def & ~VALUE_IS_ARG} : code->ops.block[def];
    BlockId at = program->build.block;
    for (const Region *region = program->region; region != NULL && at.row != from.row;
         region = region->outer)
        at = region->flow.outer;
    if (at.row == from.row) return true;
    OpId        home = code->blocks.parent[from.row];
    const char *where = op_id_some(home) ? op_info(code, home)->name : NULL;
    char        text[256];
    (void)snprintf(text, sizeof text,
                   "an operand was made in a block%s%s that is not around this one: yield it there "
                   "and take the result of the region",
                   where ? " of " : "", where ? where : " of another graph or region");
    api_misuse(program->context, function, text);
    return false;
}

/* --- begin ------------------------------------------------------------------------------------ */
static void set_words(Region *region, const StoaRegionOptions *options) {
    const OpInfo *info = &op_infos[region->opcode];
    for (uint32_t i = 0; i < info->attrs_count; i++)
        region->words[i] = attr_default_word(&info->attrs[i]);
    if (region->opcode == OP_SWITCH) region->words[ATTR_SWITCH_cases] = options->cases;
    if (region->opcode == OP_WHILE && options->limit != 0)
        region->words[ATTR_WHILE_limit] = (uint64_t)options->limit;
    if (region->opcode != OP_SCAN) return;
    region->words[ATTR_SCAN_carries] = options->carries;
    region->words[ATTR_SCAN_reverse] = options->reverse;
    region->words[ATTR_SCAN_length] = options->length.id;
    region->words[ATTR_SCAN_segment] = (uint64_t)options->segment;
}
/* What is wrong with the operands, or NULL. */
static const char *wrong_operands(const StoaProgram *program, const Region *region) {
    const OpInfo *info = &op_infos[region->opcode];
    const World  *world = program->world;
    uint64_t      carries = region->words[ATTR_SCAN_carries];
    if (region->count < info->operands_min || region->count > info->operands_max)
        return "if and switch take one operand: what decides";
    if (region->opcode == OP_SWITCH &&
        (region->words[ATTR_SWITCH_cases] == 0 || region->words[ATTR_SWITCH_cases] > LIST_MAX))
        return "a switch has 1 to 64 cases";
    if (region->opcode != OP_SCAN) return NULL;
    if (carries > region->count) return "a scan carries more values than it has operands";
    if (region->words[ATTR_SCAN_length] == 0 && carries == region->count)
        return "a scan without scanned operands needs a length";
    for (uint64_t i = carries; i < region->count; i++)
        if (type_rank(&world->types, value_type(world, region->operands[i])) == 0)
            return "a scanned operand needs an axis 0";
    return NULL;
}
static void open_blocks(StoaProgram *program, Region *region) {
    World   *world = program->world;
    Types   *types = &world->types;
    bool     scans = region->opcode == OP_SCAN, loops = scans || region->opcode == OP_WHILE;
    uint32_t counts[LIST_MAX] = {0}, blocks = scans ? 1 : 2;
    if (region->opcode == OP_SWITCH) blocks = (uint32_t)region->words[ATTR_SWITCH_cases];
    for (uint32_t i = 0; i < blocks && loops; i++) counts[i] = region->count + scans;
    region->flow = flow_open(&program->build, counts, blocks);
    for (uint32_t i = 0; i < blocks && loops; i++) {
        if (scans)
            (void)flow_type_arg(&region->flow, i, 0,
                                types_type(types, DTYPE_I64, types_shape(types, NULL, 0)));
        for (uint32_t k = 0; k < region->count; k++) {
            TypeId type = value_type(world, region->operands[k]);
            bool   row = scans && k >= region->words[ATTR_SCAN_carries];
            (void)flow_type_arg(&region->flow, i, k + scans,
                                row ? flow_row_type(world, type) : type);
        }
    }
    flow_enter(&region->flow, 0);
}
/* NULL after a report, or when an operand is missing. */
static Region *make_region(StoaProgram *program, StoaRegionKind kind, const StoaValue *operands,
                           uint32_t count, const StoaRegionOptions *options) {
    const char *function = "stoa_region_begin";
    ArenaMark   mark = arena_mark(program->regions);
    Region     *region = ARENA_NEW(program->regions, Region);
    *region = (Region){.mark = mark, .outer = program->region, .opcode = opcodes[kind]};
    region->operands = ARENA_ARRAY(program->regions, ValueId, count);
    region->count = count;
    bool good = true;
    for (uint32_t i = 0; i < count && good; i++) {
        region->operands[i] = (ValueId){operands[i].id};
        good = operands[i].id != 0 && operands[i].id < program->world->code.values.table.count &&
               region_sees(program, function, region->operands[i]);
    }
    set_words(region, options);
    const char *wrong = good ? wrong_operands(program, region) : NULL;
    if (wrong != NULL) api_misuse(program->context, function, wrong);
    if (good && wrong == NULL) return region;
    arena_release(program->regions, mark);
    return NULL;
}
static bool may_begin(StoaProgram *program, StoaRegionKind kind) {
    const char *wrong = NULL;
    uint32_t    depth = 0;
    for (const Region *region = program->region; region != NULL; region = region->outer) depth++;
    if (region_refuses(program, "stoa_region_begin")) return false;
    if (kind < STOA_IF || kind > STOA_SCAN) wrong = "there is no region of this kind";
    if (depth >= CODE_DEPTH_MAX - 1) wrong = "regions nest more than 63 deep";
    if (!block_id_some(program->build.block))
        wrong = "no graph is open: call stoa_graph_begin first";
    if (wrong != NULL) api_misuse(program->context, "stoa_region_begin", wrong);
    return wrong == NULL;
}
void stoa_region_begin(StoaProgram *program, StoaRegionKind kind, const StoaValue *operands,
                       uint32_t count, const StoaRegionOptions *options) {
    StoaRegionOptions given = STOA_REGION_OPTIONS;
    ArenaGuard        guard;
    if (program->broken) return;
    if (options != NULL)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    Region *region =
        may_begin(program, kind) ? make_region(program, kind, operands, count, &given) : NULL;
    if (region != NULL) {
        open_blocks(program, region);
        program->region = region;
    } else {
        program->regions_passed++;
    }
    arena_guard_end(&guard);
}

/* --- inside ----------------------------------------------------------------------------------- */
StoaValue stoa_region_arg(StoaProgram *program, uint32_t index) {
    const Region *region = program->region;
    if (program->broken || region_refuses(program, "stoa_region_arg")) return (StoaValue){0};
    uint32_t count = 0;
    if (region != NULL) count = program->world->code.blocks.args_count[program->build.block.row];
    if (index < count) return (StoaValue){flow_arg(&region->flow, region->block, index).row};
    if (region == NULL)
        api_misuse(program->context, "stoa_region_arg", "no region is open");
    else
        misuse(program, "stoa_region_arg", region, "argument", index, " is asked for, of ", count,
               "if and switch use values from around them, a scan has its index first");
    return (StoaValue){0};
}
void stoa_yield(StoaProgram *program, const StoaValue *values, uint32_t count) {
    Region    *region = program->region;
    ArenaGuard guard;
    if (program->broken || region_refuses(program, "stoa_yield")) return;
    if (region == NULL) {
        api_misuse(program->context, "stoa_yield", "no region is open: graphs use stoa_output");
        return;
    }
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *ids = ARENA_ARRAY(scratch.arena, ValueId, count);
    bool     good = true;
    for (uint32_t i = 0; i < count && good; i++) {
        ids[i] = (ValueId){values[i].id};
        good = values[i].id != 0 && values[i].id < program->world->code.values.table.count &&
               region_sees(program, "stoa_yield", ids[i]);
    }
    region->failed |= !good;
    flow_return(&region->flow, ids, good ? count : 0);
    region->block++;
    if (region->block < region->flow.count)
        flow_enter(&region->flow, region->block);
    else
        program->build.block = (BlockId){0};
    scratch_end(scratch);
    arena_guard_end(&guard);
}

/* --- end -------------------------------------------------------------------------------------- */
static void infer_region(World *world, OpId op) {
    Code    *code = &world->code;
    InferCtx ctx = {.world = world,
                    .opcode = code->ops.opcode[op.row],
                    .op = op.row,
                    .operands = op_operands(code, op),
                    .operands_count = code->ops.operands_count[op.row],
                    .record = code->ops.attrs[op.row],
                    .results_count = code->ops.results_count[op.row],
                    .out_types = code->values.type + code->ops.results_first[op.row].row,
                    .code = code};
    schema_infer(&ctx);
}
static void end_region(StoaProgram *program, StoaValue *out_results, uint32_t count) {
    Region    *region = program->region;
    FlowBuild *flow = &region->flow;
    Code      *code = &program->world->code;
    Scratch    scratch = scratch_begin(NULL, 0);
    TypeId    *types = ARENA_ARRAY_ZERO(scratch.arena, TypeId, count);
    if (region->block < flow->count) {
        misuse(program, "stoa_region_end", region, "blocks that have ended:", region->block, " of ",
               flow->count, "end each of them with stoa_yield");
        region->failed = true;
    }
    for (; region->block < flow->count; region->block++) {
        flow_enter(flow, region->block);
        flow_return(flow, NULL, 0);
    }
    OpId op = flow_close(flow, region->opcode, region->operands, region->count, region->words,
                         types, count);
    if (!region->failed) infer_region(program->world, op);
    for (uint32_t i = 0; i < count; i++) {
        ValueId value = op_result(code, op, i);
        if (type_id_some(code->values.type[value.row])) out_results[i] = (StoaValue){value.row};
    }
    program->region = region->outer;
    arena_release(program->regions, region->mark);
    scratch_end(scratch);
}
void stoa_region_end(StoaProgram *program, StoaValue *out_results, uint32_t count) {
    ArenaGuard guard;
    for (uint32_t i = 0; i < count; i++) out_results[i] = (StoaValue){0};
    if (program->broken) return;
    if (program->regions_passed != 0) {
        program->regions_passed--;
        return;
    }
    if (program->region == NULL) {
        api_misuse(program->context, "stoa_region_end",
                   "no region is open: call stoa_region_begin first");
        return;
    }
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    end_region(program, out_results, count);
    arena_guard_end(&guard);
}

/* --- calls ------------------------------------------------------------------------------------ */
void stoa_call(StoaProgram *program, const char *graph, const char *gradient,
               const StoaValue *operands, uint32_t count, StoaValue *out_results,
               uint32_t results) {
    ApiAttr attrs[2] = {{.text = graph}, {.text = gradient}};
    if (results != 0)
        api_op_many(program, gradient != NULL ? OP_CUSTOM_GRAD : OP_CALL, operands, count, attrs,
                    out_results, results);
    else
        api_misuse(program->context, "stoa_call", "a call without results does nothing");
}
