/* sums: a product that a scan adds up in every step becomes one product over all steps.
 *
 *   s' = s + dot(a, b), s used for nothing else  ->  a and b are stacked, and s + dot(as, bs)
 *                                                    afterwards, contracted over the steps as well
 * Gradients of weights in recurrences are such sums: the small factors are written once instead of
 * the large sum being read and written in every step. Only where the factors are smaller than the
 * product, are made in the step, and all of them take at most 256 MiB by what is known of sizes,
 * and no more than a loop may keep.
 * Needs types, breaks layout; leaves products and steps that `dead` drops. Linear. */
#include "systems/flow.h"
#include "systems/rewrite.h"
#include "systems/system.h"

enum { SIZE_GUESS = 64, FACTORS_BYTES_MAX = 1 << 28 };

typedef struct Sum {     /* of what a scan carries as operand `carry` */
    uint32_t carry, add; /* add: the row, which goes */
    OpId     dot;
} Sum;
typedef struct Sums {
    SystemCtx *ctx;
    Rewrite    rw;
    uint32_t  *uses;  /* by value row */
    uint32_t  *first; /* by operator row: of scans, where their sums begin in all */
    uint32_t  *count;
    Sum       *all;
    uint32_t   all_count;
} Sums;

static double guess_elements(const World *world, TypeId type) {
    const DimRows *rows = &world->dims.rows;
    double         elements = 1;
    for (uint32_t i = 0; i < type_rank(&world->types, type); i++) {
        uint32_t dim = type_dims(&world->types, type)[i].row;
        int64_t  size = rows->kind[dim] == DIM_CONST ? rows->imm[dim] : SIZE_GUESS;
        if (rows->kind[dim] == DIM_SYMBOL && rows->hint[dim] > 0) size = rows->hint[dim];
        elements *= (double)size;
    }
    return elements;
}
static bool is_local(const Code *code, BlockId body, ValueId value) {
    uint32_t def = code->values.def[value.row];
    return def & VALUE_IS_ARG ? (def & ~VALUE_IS_ARG) == body.row
                              : code->ops.block[def].row == body.row;
}
static bool pays(Sums *s, OpId scan, OpId dot) {
    const World *world = s->ctx->world;
    const Code  *code = &world->code;
    TypeId       type = code->values.type[op_result(code, dot, 0).row];
    DimId        length = flow_scan_length(world, code, scan);
    double       factors = 0, steps = SIZE_GUESS;
    for (uint32_t i = 0; i < 2; i++)
        factors += guess_elements(world, code->values.type[op_operand(code, dot, i).row]);
    if (dims_is_const(&world->dims, length)) steps = (double)dims_const_value(&world->dims, length);
    double bytes = factors * steps * dtype_bytes(type_dtype(&world->types, type));
    if (factors >= guess_elements(world, type) || bytes > FACTORS_BYTES_MAX) return false;
    system_keep(s->ctx, bytes);
    return bytes <= (double)system_states(s->ctx);
}
/* The sum that a scan carries as operand i; false: it is none. */
static bool find_sum(Sums *s, OpId scan, uint32_t i, Sum *out) {
    const World *world = s->ctx->world;
    const Code  *code = &world->code;
    BlockId      body = flow_block(code, scan, 0);
    ValueId      next = flow_returned(code, body, i), arg = flow_block_arg(code, body, i + 1);
    OpId         add = value_op(code, next);
    if (code->ops.opcode[add.row] != OP_ADD || !is_local(code, body, next)) return false;
    if (s->uses[arg.row] != 1 || s->uses[next.row] != 1) return false;
    bool    second = value_id_same(op_operand(code, add, 1), arg);
    ValueId term = op_operand(code, add, !second);
    OpId    dot = value_op(code, term);
    if (!second && !value_id_same(op_operand(code, add, 0), arg)) return false;
    if (code->ops.opcode[dot.row] != OP_DOT_GENERAL || !is_local(code, body, term)) return false;
    const uint64_t *attrs = op_attrs(world, code, dot);
    for (uint32_t k = 0; k < 2; k++) {
        ValueId x = op_operand(code, dot, k);
        if (!is_local(code, body, x) ||
            type_rank(&world->types, code->values.type[x.row]) == SHAPE_RANK_MAX)
            return false;
    }
    *out = (Sum){.carry = i, .add = add.row, .dot = dot};
    return attrs[ATTR_DOT_GENERAL_x_batch] == 0 && pays(s, scan, dot);
}
static void find_sums(Sums *s, uint8_t *drops, uint8_t *skips) {
    const Code *code = &s->ctx->world->code;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        if (code->ops.opcode[row] != OP_SCAN) continue;
        OpId     op = {row};
        uint32_t carries = (uint32_t)op_attrs(s->ctx->world, code, op)[ATTR_SCAN_carries];
        s->first[row] = s->all_count;
        for (uint32_t i = 0; i < carries; i++) {
            Sum sum;
            if (!find_sum(s, op, i, &sum) || !system_burn(s->ctx)) continue;
            s->all[s->all_count++] = sum;
            drops[flow_block_arg(code, flow_block(code, op, 0), i + 1).row] = 1;
            skips[sum.add] = 1;
        }
        s->count[row] = s->all_count - s->first[row];
    }
}

static bool is_sum(const Sums *s, OpId scan, uint32_t carry) {
    for (uint32_t i = 0; i < s->count[scan.row]; i++)
        if (s->all[s->first[scan.row] + i].carry == carry) return true;
    return false;
}
/* The factors of the sums of a scan: what else its block returns. */
static void write_return(Sums *s, OpId end, OpId scan) {
    const Code *old = s->rw.old;
    Scratch     scratch = scratch_begin(NULL, 0);
    uint32_t    count = 0, most = old->ops.operands_count[end.row] + 2 * s->count[scan.row];
    ValueId    *values = ARENA_ARRAY(scratch.arena, ValueId, most);
    for (uint32_t i = 0; i < old->ops.operands_count[end.row]; i++)
        if (!is_sum(s, scan, i)) values[count++] = s->rw.map[op_operand(old, end, i).row];
    for (uint32_t i = 0; i < s->count[scan.row]; i++)
        for (uint32_t k = 0; k < 2; k++)
            values[count++] = s->rw.map[op_operand(old, s->all[s->first[scan.row] + i].dot, k).row];
    (void)build_row(&s->rw.build, OP_RETURN, values, count, NULL, 0);
    scratch_end(scratch);
}
/* One product over all steps, added to what the sum began with. */
static void write_sum(Sums *s, OpId scan, const Sum *sum, ValueId as, ValueId bs) {
    const Code     *old = s->rw.old;
    World          *world = s->ctx->world;
    const uint64_t *attrs = op_attrs(world, old, sum->dot);
    DotAxes         axes = {.contract = 1};
    ListId          lists[2] = {{(uint32_t)attrs[ATTR_DOT_GENERAL_x_contract]},
                                {(uint32_t)attrs[ATTR_DOT_GENERAL_y_contract]}};
    for (uint32_t i = 0; i < list_count(&world->attrs, lists[0]); i++) {
        axes.x_contract[axes.contract] = list_numbers(&world->attrs, lists[0])[i] + 1;
        axes.y_contract[axes.contract++] = list_numbers(&world->attrs, lists[1])[i] + 1;
    }
    ValueId begin = s->rw.map[op_operand(old, scan, sum->carry).row];
    ValueId whole = build_dot(&s->rw.build, as, bs, &axes);
    rewrite_map(&s->rw, op_result(old, scan, sum->carry),
                build_binary(&s->rw.build, OP_ADD, begin, whole));
}
static void write_scan(Sums *s, OpId op) {
    const Code *old = s->rw.old;
    Code       *code = s->rw.build.code;
    World      *world = s->ctx->world;
    Scratch     scratch = scratch_begin(NULL, 0);
    uint32_t    sums = s->count[op.row], operands = 0, results = 0;
    uint32_t    most = old->ops.results_count[op.row] + 2 * sums;
    ValueId    *given = ARENA_ARRAY(scratch.arena, ValueId, old->ops.operands_count[op.row]);
    uint32_t   *kept = ARENA_ARRAY(scratch.arena, uint32_t, most);
    TypeId     *types = ARENA_ARRAY(scratch.arena, TypeId, most);
    DimId       length = flow_scan_length(world, old, op);
    uint64_t    words[ATTRS_MAX];
    for (uint32_t i = 0; i < op_infos[OP_SCAN].attrs_count; i++)
        words[i] = op_attrs(world, old, op)[i];
    words[ATTR_SCAN_carries] -= sums;
    words[ATTR_SCAN_length] = length.row;
    for (uint32_t i = 0; i < old->ops.operands_count[op.row]; i++)
        if (!is_sum(s, op, i)) given[operands++] = s->rw.map[op_operand(old, op, i).row];
    for (uint32_t i = 0; i < old->ops.results_count[op.row]; i++) {
        if (is_sum(s, op, i)) continue;
        types[results] = old->values.type[op_result(old, op, i).row];
        kept[results++] = i;
    }
    for (uint32_t i = 0; i < 2 * sums; i++) {
        OpId dot = s->all[s->first[op.row] + i / 2].dot;
        types[results + i] =
            flow_stacked(world, old->values.type[op_operand(old, dot, i % 2).row], length);
    }
    OpId made = flow_row(&s->rw.build, OP_SCAN, given, operands, words, types, results + 2 * sums);
    code->ops.blocks_first[made.row] = old->ops.blocks_first[op.row];
    code->ops.blocks_count[made.row] = 1;
    code_close_blocks(code, made);
    for (uint32_t i = 0; i < results; i++)
        rewrite_map(&s->rw, op_result(old, op, kept[i]), op_result(code, made, i));
    for (uint32_t i = 0; i < sums; i++)
        write_sum(s, op, &s->all[s->first[op.row] + i], op_result(code, made, results + 2 * i),
                  op_result(code, made, results + 2 * i + 1));
    scratch_end(scratch);
}

/* Those of one depth: what takes the place of an inner sum may be one of the loop around. */
static uint32_t run_round(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    count = old->ops.table.count, carries = 0;
    Sums        s = {.ctx = ctx};
    for (uint32_t row = 1; row < count; row++)
        if (old->ops.opcode[row] == OP_SCAN) carries += old->ops.operands_count[row];
    if (carries == 0) return 0;
    s.uses = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, old->values.table.count);
    s.first = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, count);
    s.count = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, count);
    s.all = ARENA_ARRAY(ctx->scratch, Sum, carries);
    uint8_t *drops = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->values.table.count);
    uint8_t *skips = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, count);
    for (uint32_t row = 1; row < count; row++)
        for (uint32_t i = 0; i < old->ops.operands_count[row]; i++)
            s.uses[op_operand(old, (OpId){row}, i).row]++;
    find_sums(&s, drops, skips);
    if (s.all_count == 0) return 0;
    s.rw = rewrite_begin_without(ctx->world, ctx->scratch, drops);
    for (uint32_t row = 1; row < count; row++) {
        OpId op = {row}, carrier = old->blocks.parent[old->ops.block[row].row];
        if (skips[row]) continue;
        rewrite_at(&s.rw, op);
        if ((op_info(old, op)->flags & OP_TERMINATOR) && s.count[carrier.row] != 0)
            write_return(&s, op, carrier);
        else if (s.count[row] != 0)
            write_scan(&s, op);
        else
            (void)rewrite_copy(&s.rw, op);
    }
    rewrite_end(&s.rw);
    return s.all_count;
}
Ran sys_sums(SystemCtx *ctx) {
    Ran ran = {0};
    for (uint32_t made = 1; made != 0; ran.changed += made) made = run_round(ctx);
    return ran;
}
