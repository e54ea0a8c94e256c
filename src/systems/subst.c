/* Expressions stand after their operands in the table, so a stack of rows whose operands are still
 * missing replaces recursion. */
#include "systems/subst.h"

/* --- dims and accesses ------------------------------------------------------------------------ */
DimId subst_dim(Subst *s, DimId dim) {
    if (!dim_id_some(dim) || s->count == 0) return dim;
    DimId made = dims_substitute(&s->loops->dims, dim, s->symbols, s->values, s->count);
    s->failed |= !dim_id_some(made);
    return made;
}
LoopAccess subst_access(Subst *s, LoopAccess access) {
    const SubstBuffer *map = s->buffer;
    BufferId           buffer = access_buffer(access);
    ListId             index = access_index(access);
    DimId              kept[LIST_MAX];
    uint32_t           count = 0;
    bool               mapped = map != NULL && map->buffer.row == buffer.row;
    for (uint32_t i = 0; i < list_count(&s->loops->lists, index); i++) {
        if (mapped && (map->dropped >> i & 1)) continue;
        DimId dim = subst_dim(s, list_dim(s->loops, index, i));
        if (mapped && dim_id_some(dim) && dim_id_some(map->low[i])) {
            dim = dims_sub(&s->loops->dims, dim, map->low[i]);
            s->failed |= !dim_id_some(dim);
        }
        kept[count++] = dim;
    }
    if (mapped && buffer_id_some(map->to)) buffer = map->to;
    return access_of(buffer, loops_list(s->loops, kept, count));
}

/* --- expressions ------------------------------------------------------------------------------ */
static ExprId memo_get(const Subst *s, ExprId expr) {
    return (ExprId){expr.row != 0 ? row_map_get(&s->memo, expr.row) : 0};
}
static ExprId rewritten_load(Subst *s, uint64_t word, ExprId guard) {
    const SubstBuffer *map = s->buffer;
    LoopAccess         access = subst_access(s, word);
    s->failed = s->failed || !dim_id_some(loops_address(s->loops, access));
    guard = loops_and(s->loops, s->guard, guard);
    if (s->failed) return loops_const(s->loops, DTYPE_F32, 0); /* whatever: it is thrown away */
    if (map != NULL && map->load != NULL && access_buffer(word).row == map->buffer.row)
        return map->load(s, map->context, access_index(access), guard);
    return loops_load(s->loops, access, guard);
}
/* With operands already rewritten. */
static ExprId rewritten(Subst *s, uint32_t row) {
    Loops           *loops = s->loops;
    const LoopExprs *exprs = &loops->exprs;
    ExprId           a = memo_get(s, exprs->a[row]), b = memo_get(s, exprs->b[row]);
    ExprId           c = memo_get(s, exprs->c[row]);
    uint64_t         word = exprs->word[row];
    Dtype            dtype = (Dtype)exprs->dtype[row];
    DimId            dims[2] = {{0}, {0}};
    if (exprs->kind[row] == EXPR_LESS) dims[1] = subst_dim(s, (DimId){(uint32_t)(word >> 32)});
    if (exprs->kind[row] == EXPR_LESS || exprs->kind[row] == EXPR_INDEX ||
        exprs->kind[row] == EXPR_RNG)
        dims[0] = subst_dim(s, (DimId){(uint32_t)word});
    if (s->failed) return (ExprId){row};
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_LOAD: return rewritten_load(s, word, a);
    case EXPR_INDEX: return loops_index(loops, dtype, dims[0]);
    case EXPR_LESS: return loops_less(loops, dims[1], dims[0]);
    case EXPR_OP: return loops_op(loops, (Opcode)exprs->opcode[row], dtype, a, b, c, word);
    case EXPR_RNG: return loops_rng(loops, a, dims[0], exprs->opcode[row]);
    default: return (ExprId){row};
    }
}

ExprId subst_expr(Subst *s, ExprId expr) {
    const LoopExprs *exprs = &s->loops->exprs;
    if (expr.row == 0 || (s->count == 0 && s->buffer == NULL && s->guard.row == 0)) return expr;
    uint32_t  capacity = 64, depth = 0;
    uint32_t *stack = ARENA_ARRAY(s->scratch, uint32_t, capacity);
    stack[depth++] = expr.row;
    while (depth != 0) {
        uint32_t row = stack[depth - 1], before = depth;
        ExprId   operands[3] = {exprs->a[row], exprs->b[row], exprs->c[row]};
        if (depth + 3 > capacity) {
            uint32_t *more = ARENA_ARRAY(s->scratch, uint32_t, capacity * 2);
            memcpy(more, stack, depth * sizeof *stack);
            stack = more;
            capacity *= 2;
        }
        for (uint32_t i = 0; i < 3; i++)
            if (expr_id_some(operands[i]) && !expr_id_some(memo_get(s, operands[i])))
                stack[depth++] = operands[i].row;
        if (depth != before) continue;
        depth--;
        if (!expr_id_some(memo_get(s, (ExprId){row})))
            row_map_put(&s->memo, s->scratch, row, rewritten(s, row).row);
    }
    return memo_get(s, expr);
}

Subst subst_begin_with(Loops *loops, Arena *scratch, const DimId *symbols, const DimId *values,
                       uint32_t count, const SubstBuffer *buffer, ExprId guard) {
    uint32_t lets = loops->lets.table.count;
    Subst    s = {.loops = loops, .scratch = scratch, .count = count};
    s.buffer = buffer;
    s.guard = guard;
    s.symbols = ARENA_ARRAY(scratch, DimId, count + lets);
    s.values = ARENA_ARRAY(scratch, DimId, count + lets);
    for (uint32_t i = 0; i < count; i++) {
        s.symbols[i] = symbols[i];
        s.values[i] = values[i];
    }
    /* In order: a let may use earlier ones. Expressions are rewritten with what is known so far,
     * so the memo holds only those below the let, which cannot contain later symbols. */
    for (uint32_t row = 1; row < lets; row++) {
        ExprId value = subst_expr(&s, loops->lets.value[row]);
        if (value.row == loops->lets.value[row].row) continue;
        s.symbols[s.count] = loops->lets.symbol[row];
        s.values[s.count++] = loops_let(loops, value);
    }
    return s;
}
Subst subst_begin(Loops *loops, Arena *scratch, const DimId *symbols, const DimId *values,
                  uint32_t count) {
    return subst_begin_with(loops, scratch, symbols, values, count, NULL, (ExprId){0});
}
