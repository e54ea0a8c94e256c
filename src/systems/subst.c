/* Expressions stand after their operands in the table, so a stack of rows whose operands are still
 * missing replaces recursion. */
#include "systems/subst.h"

DimId subst_dim(Subst *s, DimId dim) {
    if (!dim_id_some(dim) || s->count == 0) return dim;
    return dims_substitute(&s->loops->dims, dim, s->symbols, s->values, s->count);
}
LoopAccess subst_access(Subst *s, LoopAccess access) {
    BufferId buffer = access_buffer(access);
    ListId   index = access_index(access);
    DimId    kept[LIST_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < list_count(&s->loops->lists, index); i++)
        if (buffer.row != s->buffer.row || !(s->dropped >> i & 1))
            kept[count++] = subst_dim(s, list_dim(s->loops, index, i));
    return access_of(buffer, loops_list(s->loops, kept, count));
}

/* With operands already rewritten. */
static ExprId rewritten(Subst *s, uint32_t row) {
    Loops           *loops = s->loops;
    const LoopExprs *exprs = &loops->exprs;
    ExprId           a = s->memo[exprs->a[row].row], b = s->memo[exprs->b[row].row],
           c = s->memo[exprs->c[row].row];
    uint64_t word = exprs->word[row];
    Dtype    dtype = (Dtype)exprs->dtype[row];
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_LOAD:
        if (buffer_id_some(s->inlined) && access_buffer(word).row == s->inlined.row)
            return s->value;
        return loops_load(loops, subst_access(s, word), a);
    case EXPR_INDEX: return loops_index(loops, dtype, subst_dim(s, (DimId){(uint32_t)word}));
    case EXPR_LESS:
        return loops_less(loops, subst_dim(s, (DimId){(uint32_t)(word >> 32)}),
                          subst_dim(s, (DimId){(uint32_t)word}));
    case EXPR_OP: return loops_op(loops, (Opcode)exprs->opcode[row], dtype, a, b, c, word);
    case EXPR_RNG:
        return loops_rng(loops, a, subst_dim(s, (DimId){(uint32_t)word}), exprs->opcode[row]);
    default: return (ExprId){row};
    }
}

ExprId subst_expr(Subst *s, ExprId expr) {
    if (expr.row == 0 || (s->count == 0 && s->buffer.row == 0 && s->inlined.row == 0)) return expr;
    const LoopExprs *exprs = &s->loops->exprs;
    ArenaMark        mark = arena_mark(s->scratch);
    uint32_t        *stack = ARENA_ARRAY(s->scratch, uint32_t, (size_t)expr.row * 3 + 4);
    uint32_t         depth = 0;
    ASSERT(expr.row < s->memo_count);
    stack[depth++] = expr.row;
    while (depth != 0) {
        uint32_t row = stack[depth - 1], before = depth;
        uint32_t operands[3] = {exprs->a[row].row, exprs->b[row].row, exprs->c[row].row};
        for (uint32_t i = 0; i < 3; i++)
            if (operands[i] != 0 && s->memo[operands[i]].row == 0) stack[depth++] = operands[i];
        if (depth != before) continue;
        depth--;
        if (s->memo[row].row == 0) s->memo[row] = rewritten(s, row);
    }
    arena_release(s->scratch, mark);
    return s->memo[expr.row];
}

Subst subst_begin(Loops *loops, Arena *scratch, const DimId *symbols, const DimId *values,
                  uint32_t count) {
    uint32_t lets = loops->lets.table.count;
    Subst    s = {.loops = loops, .scratch = scratch, .count = count};
    s.memo_count = loops->exprs.table.count;
    s.memo = ARENA_ARRAY_ZERO(scratch, ExprId, s.memo_count);
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
