/* batch: `vmap` rows become the rows between xs and ys, on batches.
 *
 * First the level of every value is found (batch.h), by sweeps until nothing rises: loops carry
 * levels around. Then the rows that a y needs and that are not at the level of what they were are
 * emitted again, each by the first rule of its operator that applies (tables/rules/batch.def).
 * Composites without a rule of their own go by their expansion, over stand-ins of their operands,
 * which are dead afterwards; rows without any rule but a loop become a scan over the samples.
 * Samples stand along axis 0 between rows: other axes are moved at the ends, by views. An assert
 * is then one on all samples; it goes where xs are constants that only stand for samples. Other
 * rows with effects stay as they are.
 *
 * Needs types. Cost: the rows so far, a few sweeps, then one row or a few for each between. */
#include "systems/batch.h"

/* --- rules as data ---------------------------------------------------------------------------- */
typedef enum EditKind {
    EDIT_END,
    EDIT_AXIS,
    EDIT_AXES,
    EDIT_AFTER_0,
    EDIT_SIZE,
    EDIT_DIM_0,
    EDIT_ONE,
    EDIT_NONE
} EditKind;
typedef struct Edit {
    uint8_t kind, attr;
} Edit;
typedef struct Template {
    uint32_t operands; /* bits; 0: there is none */
    bool     shared;
    Edit     edits[4];
} Template;

#define ALL UINT32_MAX
#define EDIT(kind, NAME, attr)                                                                     \
    { EDIT_##kind, ATTR_##NAME##_##attr }
static const Template templates[OP_COUNT] = {
#define BATCH(NAME, operands, ...) [OP_##NAME] = {operands, false, {__VA_ARGS__}},
#define BATCH_SAME(NAME, operands) [OP_##NAME] = {operands, false, {{EDIT_END, 0}}},
#define BATCH_SHARED(NAME, ...)    [OP_##NAME] = {ALL, true, {__VA_ARGS__}},
#include "tables/rules/batch.def"
};
static const Template elementwise = {ALL, false, {{EDIT_END, 0}}};
static BatchFn *const functions[OP_COUNT] = {
#define BATCH_FN(NAME) [OP_##NAME] = batch_##NAME,
#include "tables/rules/batch.def"
};
static const bool loops[OP_COUNT] = {
#define BATCH_LOOP(NAME) [OP_##NAME] = true,
#include "tables/rules/batch.def"
};
static const char *const refused[OP_COUNT] = {
#define BATCH_REFUSED(NAME, why) [OP_##NAME] = why,
#include "tables/rules/batch.def"
};

static const Template *template_of(Opcode opcode) {
    if (templates[opcode].operands != 0) return &templates[opcode];
    return op_infos[opcode].flags & OP_ELEMENTWISE ? &elementwise : NULL;
}
BatchRule batch_rule(Opcode opcode) {
    if (batch_is_control(opcode)) return BATCH_RULE_CONTROL;
    if (template_of(opcode) != NULL) return BATCH_RULE_TEMPLATE;
    if (functions[opcode] != NULL) return BATCH_RULE_FUNCTION;
    if (expand_rules[opcode] != NULL) return BATCH_RULE_EXPANSION;
    if (loops[opcode]) return BATCH_RULE_LOOP;
    return refused[opcode] != NULL ? BATCH_RULE_REFUSED : BATCH_RULE_NONE;
}

/* --- values ----------------------------------------------------------------------------------- */
static Arena *scratch_of(const Batch *b) { return b->ctx->scratch; }

TypeId batch_type(World *world, TypeId sample, DimId size) {
    return flow_stacked(world, sample, size);
}
ValueId batch_repeat(Build *build, ValueId value, DimId size) {
    DimId   dims[SHAPE_RANK_MAX + 1] = {size};
    int64_t axes[SHAPE_RANK_MAX];
    if (!type_id_some(build_type(build, value))) return (ValueId){0};
    uint32_t rank = build_rank(build, value);
    ASSERT(rank < SHAPE_RANK_MAX);
    for (uint32_t i = 0; i < rank; i++) {
        dims[i + 1] = build_dims(build, value)[i];
        axes[i] = i + 1;
    }
    return build_broadcast(build, value, dims, rank + 1, axes);
}
ValueId batch_lifted(BatchRow *r, uint32_t i) {
    return batch_is(r, i) ? r->e.x[i] : batch_repeat(r->e.build, r->e.x[i], r->size);
}
ValueId batch_move_axis(Build *build, ValueId value, uint32_t from, uint32_t to) {
    int64_t  permutation[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, value), next = 0;
    if (from == to) return value;
    for (uint32_t i = 0; i < rank; i++) {
        next += next == from;
        permutation[i] = i == to ? from : next++;
    }
    return build_transpose(build, value, permutation, rank);
}
ValueId batch_at(Batch *b, ValueId value, bool full) {
    ValueId now = batch_value(b, value);
    return full && batch_level(b, value) != BATCH_FULL ? batch_repeat(b->build, now, b->size) : now;
}
/* Room for all values of the code. */
static void grow(Batch *b) {
    uint32_t count = b->build->code->values.table.count;
    if (count <= b->max) return;
    uint32_t max = count * 2;
    uint8_t *levels = ARENA_ARRAY_ZERO(scratch_of(b), uint8_t, max);
    uint8_t *seeds = ARENA_ARRAY_ZERO(scratch_of(b), uint8_t, max);
    ValueId *map = ARENA_ARRAY_ZERO(scratch_of(b), ValueId, max);
    if (b->max != 0) {
        memcpy(levels, b->levels, b->max * sizeof *levels);
        memcpy(seeds, b->seeds, b->max * sizeof *seeds);
        memcpy(map, b->map, b->max * sizeof *map);
    }
    b->levels = levels;
    b->seeds = seeds;
    b->map = map;
    b->max = max;
}
void batch_set(Batch *b, ValueId value, ValueId now, uint32_t level) {
    grow(b);
    if (b->seeds[value.row]) return;
    b->map[value.row] = now;
    b->levels[value.row] = (uint8_t)level;
}
bool batch_raise(Batch *b, ValueId value, uint32_t level) {
    if (b->seeds[value.row] || b->levels[value.row] >= level) return false;
    b->levels[value.row] = (uint8_t)level;
    return true;
}
static void check_errors(Batch *b) { b->failed |= b->ctx->world->diags.errors != b->errors; }
void        batch_refuse(Batch *b, OpId op, const char *why) {
           Diags *diags = &b->ctx->world->diags;
           if (!b->failed)
        (void)diags_add(diags, DIAG_NOT_BATCHABLE, b->op.row, b->build->code->ops.opcode[op.row],
                               diags_str(diags, str_of(why)), 0, 0);
    b->failed = true;
}

/* --- levels ----------------------------------------------------------------------------------- */
static uint32_t operands_level(const Batch *b, OpId op) {
    const Code *code = b->build->code;
    uint32_t    level = BATCH_SELF;
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++) {
        uint32_t of = batch_level(b, op_operand(code, op, i));
        if (of > level) level = of;
    }
    return level;
}
static void mark_levels(Batch *b, uint32_t first, uint32_t last) {
    const Code *code = b->build->code;
    grow(b);
    for (bool rose = true; rose;) {
        rose = false;
        for (uint32_t row = first; row < last; row++) {
            Opcode opcode = (Opcode)code->ops.opcode[row];
            if (batch_is_control(opcode)) {
                rose |= batch_mark_control(b, (OpId){row});
                continue;
            }
            uint32_t level = operands_level(b, (OpId){row});
            if (level == BATCH_FULL && templates[opcode].shared) level = BATCH_PLAIN;
            for (uint32_t i = 0; level != 0 && i < code->ops.results_count[row]; i++)
                (void)batch_raise(b, op_result(code, (OpId){row}, i), level);
        }
    }
}
/* Effects that a batch has as well: an assert on all samples, a print of them. */
static bool is_repeated(const Code *code, uint32_t row) {
    return code->ops.opcode[row] == OP_ASSERT || code->ops.opcode[row] == OP_PRINT;
}
/* Rows in the scope: outside of blocks, or in those around; with a result that changes and that
 * some y needs, or an effect about samples. */
static bool is_active(const Batch *b, const uint8_t *scope, const uint8_t *wanted, uint32_t row) {
    const Code *code = b->build->code;
    uint32_t    block = code->ops.block[row].row;
    bool        any = false;
    if (block >= b->rw->old->blocks.table.count || !scope[block]) return false;
    if (is_repeated(code, row)) return operands_level(b, (OpId){row}) == BATCH_FULL;
    for (uint32_t i = 0; i < code->ops.results_count[row]; i++) {
        ValueId y = op_result(code, (OpId){row}, i);
        any |= wanted[y.row] && batch_level(b, y) != BATCH_SELF && !b->seeds[y.row];
    }
    return any;
}
/* By value row: some y needs it. */
static uint8_t *mark_wanted(Batch *b, const uint8_t *scope, const ValueId *ys, uint32_t count,
                            uint32_t rows) {
    const Code *code = b->build->code;
    uint8_t    *wanted = ARENA_ARRAY_ZERO(scratch_of(b), uint8_t, code->values.table.count);
    for (uint32_t i = 0; i < count; i++) wanted[ys[i].row] = 1;
    for (uint32_t row = rows; row-- > 1;) {
        if (!is_active(b, scope, wanted, row)) continue;
        for (uint32_t at = flow_first(code, (OpId){row}); at <= row; at++)
            for (uint32_t i = 0; i < code->ops.operands_count[at]; i++)
                wanted[op_operand(code, (OpId){at}, i).row] = 1;
    }
    return wanted;
}

/* --- one row ---------------------------------------------------------------------------------- */
typedef struct Row {
    OpId     op;
    Opcode   opcode;
    BatchRow r;
    uint32_t results;
    ValueId *operands, *out; /* operands: as they were */
    TypeId  *types;          /* of the results, on a sample */
} Row;

static uint64_t edited_list(const BatchRow *r, uint64_t word, EditKind kind) {
    World         *world = r->e.build->world;
    ListId         list = {(uint32_t)word};
    const int64_t *from = list_numbers(&world->attrs, list);
    uint32_t       count = list_count(&world->attrs, list), n = 0;
    int64_t        numbers[LIST_MAX + 1];
    bool           axes = kind == EDIT_AXES || kind == EDIT_AFTER_0;
    if (count == 0 && (kind == EDIT_ONE || kind == EDIT_NONE)) return word;
    if (kind == EDIT_SIZE) numbers[n++] = r->size.row;
    if (kind == EDIT_DIM_0) numbers[n++] = dims_const(&world->dims, 0).row;
    if (kind == EDIT_ONE) numbers[n++] = 1;
    if (kind == EDIT_NONE || kind == EDIT_AFTER_0) numbers[n++] = 0;
    for (uint32_t i = 0; i < count; i++) numbers[n++] = from[i] + axes;
    return build_ints(r->e.build, numbers, n);
}
static bool by_template(Row *row) {
    BatchRow       *r = &row->r;
    const Template *t = template_of(row->opcode);
    uint64_t        words[ATTRS_MAX];
    if (t == NULL) return false;
    for (uint32_t i = 0; i < r->e.count; i++)
        if (batch_is(r, i) && !(t->operands >> (i < 31 ? i : 31) & 1)) return false;
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *operands = ARENA_ARRAY(scratch.arena, ValueId, r->e.count);
    for (uint32_t i = 0; i < r->e.count; i++)
        operands[i] = t->operands >> (i < 31 ? i : 31) & 1 ? batch_lifted(r, i) : r->e.x[i];
    for (uint32_t i = 0; i < op_infos[row->opcode].attrs_count; i++) words[i] = r->e.attrs[i];
    for (uint32_t i = 0; i < LENGTH(t->edits) && t->edits[i].kind != EDIT_END; i++) {
        uint64_t *word = &words[t->edits[i].attr];
        *word = t->edits[i].kind == EDIT_AXIS ? *word + 1
                                              : edited_list(r, *word, (EditKind)t->edits[i].kind);
    }
    OpId made = build_row(r->e.build, row->opcode, operands, r->e.count, words, row->results);
    for (uint32_t i = 0; i < row->results; i++) row->out[i] = op_result(r->e.build->code, made, i);
    scratch_end(scratch);
    return true;
}

/* The expansion over stand-ins, whose rows are then batched in turn. Nesting is that of the rules,
 * four deep. */
static bool by_expansion(Batch *b, Row *row) {
    const Code *code = b->build->code;
    ValueId    *values = ARENA_ARRAY_ZERO(scratch_of(b), ValueId, row->results);
    ValueId    *stands = ARENA_ARRAY(scratch_of(b), ValueId, row->r.e.count);
    if (expand_rules[row->opcode] == NULL) return false;
    for (uint32_t i = 0; i < row->r.e.count; i++) {
        stands[i] = emit_zeros(&row->r.e, build_type(b->build, row->operands[i]));
        batch_set(b, stands[i], row->r.e.x[i], batch_is(&row->r, i) ? BATCH_FULL : BATCH_PLAIN);
    }
    OpId copy = flow_row(b->build, row->opcode, stands, row->r.e.count, row->r.e.attrs, row->types,
                         row->results);
    Emit e = emit_at(b->build, copy);
    uint32_t first = code->ops.table.count;
    bool     expanded = expand_rules[row->opcode](&e, values);
    uint32_t last = code->ops.table.count;
    ASSERT(expanded);
    (void)expanded;
    mark_levels(b, first, last);
    for (uint32_t at = first; at < last && !b->failed; at++)
        if (operands_level(b, (OpId){at}) != BATCH_SELF) batch_row(b, (OpId){at});
    for (uint32_t i = 0; i < row->results; i++) row->out[i] = batch_at(b, values[i], true);
    return true;
}

/* A scan whose block is the row on one sample. */
static bool by_loop(Batch *b, Row *row) {
    World   *world = b->build->world;
    TypeId   index = types_type(&world->types, DTYPE_I64, types_shape(&world->types, NULL, 0));
    uint32_t count = 0, args = 1;
    uint64_t words[ATTRS_MAX] = {0};
    ValueId *inside = ARENA_ARRAY(scratch_of(b), ValueId, row->r.e.count);
    ValueId *scanned = ARENA_ARRAY(scratch_of(b), ValueId, row->r.e.count);
    TypeId  *types = ARENA_ARRAY(scratch_of(b), TypeId, row->results);
    if (!loops[row->opcode]) return false;
    for (uint32_t i = 0; i < row->r.e.count; i++) args += batch_is(&row->r, i);
    FlowBuild f = flow_open(b->build, &args, 1);
    (void)flow_type_arg(&f, 0, 0, index);
    for (uint32_t i = 0; i < row->r.e.count; i++) {
        inside[i] = row->r.e.x[i];
        if (!batch_is(&row->r, i)) continue;
        scanned[count] = row->r.e.x[i];
        inside[i] = flow_type_arg(&f, 0, ++count, build_type(b->build, row->operands[i]));
    }
    flow_enter(&f, 0);
    OpId made = flow_row(b->build, row->opcode, inside, row->r.e.count, row->r.e.attrs, row->types,
                         row->results);
    for (uint32_t i = 0; i < row->results; i++) {
        row->out[i] = op_result(b->build->code, made, i);
        types[i] = batch_type(world, row->types[i], b->size);
    }
    flow_return(&f, row->out, row->results);
    words[ATTR_SCAN_length] = b->size.row;
    OpId scan = flow_close(&f, OP_SCAN, scanned, count, words, types, row->results);
    for (uint32_t i = 0; i < row->results; i++) row->out[i] = op_result(b->build->code, scan, i);
    return true;
}

static bool fits(const Batch *b, const Row *row) {
    const Types *types = &b->build->world->types;
    bool         good = true;
    for (uint32_t i = 0; i < row->r.e.count; i++)
        good &= build_rank(b->build, row->operands[i]) < SHAPE_RANK_MAX;
    for (uint32_t i = 0; i < row->results; i++)
        good &= type_rank(types, row->types[i]) < SHAPE_RANK_MAX;
    return good;
}
static void emit_full(Batch *b, Row *row) {
    if (!fits(b, row))
        batch_refuse(b, row->op, "its rank is 8 already, and samples take an axis");
    else if (!by_template(row) &&
             (functions[row->opcode] == NULL || !functions[row->opcode](&row->r, row->out)) &&
             !by_expansion(b, row) && !by_loop(b, row))
        batch_refuse(b, row->op,
                     refused[row->opcode] != NULL ? refused[row->opcode] : "it has no rule for it");
}
/* The row with the operands that it has now. */
static void emit_plain(Batch *b, Row *row) {
    OpId made = flow_row(b->build, row->opcode, row->r.e.x, row->r.e.count, row->r.e.attrs,
                         row->types, row->results);
    for (uint32_t i = 0; i < row->results; i++) row->out[i] = op_result(b->build->code, made, i);
}
/* The condition of an assert holds for all samples. The row itself may become a pullback row, which
 * is dropped (differentiate.c). */
static void repeat_effect(Batch *b, OpId op) {
    Code    *code = b->build->code;
    Opcode   opcode = (Opcode)code->ops.opcode[op.row];
    uint32_t count = code->ops.operands_count[op.row];
    ValueId *operands = ARENA_ARRAY(scratch_of(b), ValueId, count);
    int64_t  axis = 0;
    for (uint32_t i = 0; i < count; i++) operands[i] = batch_value(b, op_operand(code, op, i));
    if (opcode == OP_ASSERT && batch_level(b, op_operand(code, op, 0)) == BATCH_FULL)
        operands[0] = build_reduce(b->build, REDUCE_AND, operands[0], &axis, 1);
    (void)build_row(b->build, opcode, operands, count, op_attrs(b->build->world, code, op), 0);
    if (b->drops) code->ops.opcode[op.row] = OP_PULLBACK;
}
void batch_row(Batch *b, OpId op) {
    const Code *code = b->build->code;
    uint32_t    level = operands_level(b, op), count = code->ops.operands_count[op.row];
    Row         row = {.op = op,
                       .opcode = (Opcode)code->ops.opcode[op.row],
                       .results = code->ops.results_count[op.row]};
    if (b->failed) return;
    if (batch_is_control(row.opcode)) {
        batch_control(b, op);
        return;
    }
    if (op_infos[row.opcode].flags & OP_EFFECT) { /* in a block: it happens where it was */
        if (level == BATCH_FULL && row.opcode == OP_PRINT)
            repeat_effect(b, op);
        else if (level == BATCH_FULL)
            batch_refuse(b, op, refused[row.opcode]);
        return;
    }
    uint8_t *levels = ARENA_ARRAY(scratch_of(b), uint8_t, count);
    ValueId *now = ARENA_ARRAY(scratch_of(b), ValueId, count);
    row.operands = ARENA_ARRAY(scratch_of(b), ValueId, count);
    row.out = ARENA_ARRAY_ZERO(scratch_of(b), ValueId, row.results);
    row.types = ARENA_ARRAY(scratch_of(b), TypeId, row.results);
    for (uint32_t i = 0; i < count; i++) {
        row.operands[i] = op_operand(code, op, i);
        levels[i] = (uint8_t)batch_level(b, row.operands[i]);
        now[i] = batch_value(b, row.operands[i]);
    }
    for (uint32_t i = 0; i < row.results; i++)
        row.types[i] = build_type(b->build, op_result(code, op, i));
    row.r = (BatchRow){.e = emit_at(b->build, op), .levels = levels, .size = b->size};
    row.r.e.x = now;
    if (level == BATCH_FULL)
        emit_full(b, &row);
    else
        emit_plain(b, &row);
    if (level == BATCH_FULL && templates[row.opcode].shared) level = BATCH_PLAIN;
    check_errors(b);
    for (uint32_t i = 0; i < row.results && !b->failed; i++)
        batch_set(b, op_result(code, op, i), row.out[i], level);
}

/* --- a vmap row ------------------------------------------------------------------------------- */
/* The blocks whose rows come before it: its own and those around it. */
static uint8_t *scope_of(const Batch *b) {
    const Rewrite *rw = b->rw;
    uint8_t       *scope = ARENA_ARRAY_ZERO(scratch_of(b), uint8_t, rw->old->blocks.table.count);
    BlockId        block = rw->build.block;
    scope[block.row] = 1;
    while (op_id_some(rw->old->blocks.parent[block.row])) {
        block = rw->old->ops.block[rw->old->blocks.parent[block.row].row];
        scope[block.row] = 1;
    }
    return scope;
}
static int64_t axis_of(const Batch *b, uint32_t attr, uint32_t i) {
    World *world = b->build->world;
    ListId list = {(uint32_t)op_attrs(world, b->rw->old, b->op)[attr]};
    return list_count(&world->attrs, list) == 0 ? 0 : list_numbers(&world->attrs, list)[i];
}
static void seed(Batch *b, ValueId x, ValueId batch, int64_t axis) {
    if (axis >= 0) {
        b->size = build_dims(b->build, batch)[axis];
        batch = batch_move_axis(b->build, batch, (uint32_t)axis, 0);
    }
    batch_set(b, x, batch, axis >= 0 ? BATCH_FULL : BATCH_PLAIN);
    b->seeds[x.row] = 1;
}
/* Whether every x is a constant, which only stands for samples. */
static bool stand_ins(const Code *code, const ValueId *xs, uint32_t count) {
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        OpId op = value_op(code, xs[i]);
        if (code->ops.opcode[op.row] == OP_COPY) op = value_op(code, op_operand(code, op, 0));
        if (code->ops.opcode[op.row] == OP_BROADCAST_IN_DIM)
            op = value_op(code, op_operand(code, op, 0));
        all &= code->ops.opcode[op.row] == OP_CONSTANT;
    }
    return all;
}
bool batch_derive(SystemCtx *ctx, Rewrite *rw, OpId op) {
    const Code *old = rw->old, *code = rw->build.code;
    uint32_t    results = old->ops.results_count[op.row], rows = code->ops.table.count;
    uint32_t    count = (old->ops.operands_count[op.row] - results) / 2;
    ValueId    *ys = ARENA_ARRAY(ctx->scratch, ValueId, results);
    ValueId    *xs = ARENA_ARRAY(ctx->scratch, ValueId, count);
    Batch       b = {.ctx = ctx, .rw = rw, .build = &rw->build, .op = op};
    b.errors = ctx->world->diags.errors;
    for (uint32_t i = 0; i < results; i++) ys[i] = rw->map[op_operand(old, op, i).row];
    for (uint32_t i = 0; i < count; i++) xs[i] = rw->map[op_operand(old, op, results + i).row];
    b.drops = stand_ins(code, xs, count);
    for (uint32_t i = 0; i < count; i++)
        seed(&b, xs[i], rw->map[op_operand(old, op, results + count + i).row],
             axis_of(&b, ATTR_VMAP_axes, i));
    mark_levels(&b, 1, rows);
    const uint8_t *scope = scope_of(&b), *wanted = mark_wanted(&b, scope, ys, results, rows);
    for (uint32_t row = 1; row < rows && !b.failed; row++) {
        if (!is_active(&b, scope, wanted, row)) continue;
        if (is_repeated(code, row))
            repeat_effect(&b, (OpId){row});
        else
            batch_row(&b, (OpId){row});
    }
    for (uint32_t i = 0; i < results && !b.failed; i++) {
        ValueId full = batch_at(&b, ys[i], true);
        int64_t axis = axis_of(&b, ATTR_VMAP_out_axes, i);
        rewrite_map(rw, op_result(old, op, i), batch_move_axis(b.build, full, 0, (uint32_t)axis));
    }
    check_errors(&b);
    return !b.failed;
}
