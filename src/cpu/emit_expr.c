/* Values: sizes, places, loads and stores, expressions. Inside a vector loop what does not depend
 * on its variable stays scalar and is spread only where it meets a vector. Known values are kept by
 * row until the scope that made them ends; reuse across statements is as wide as that. */
#include "cpu/emit_inner.h"

#if defined(STOA_HAVE_LLVM)

#include "cpu/jit_math.h"

/* --- scopes ----------------------------------------------------------------------------------- */
uint32_t emit_scope_begin(const Emit *e) { return e->logged; }
void     emit_scope_end(Emit *e, uint32_t begun) {
        while (e->logged > begun) {
            EmitLog log = e->log[--e->logged];
            (log.dim ? e->dims : e->exprs)[log.row] = NULL;
    }
}
static JitValue note(Emit *e, uint32_t row, bool dim, JitValue value) {
    if (e->logged == e->log_max) return value; /* forgotten: made again when asked for */
    e->log[e->logged++] = (EmitLog){row, dim};
    return (dim ? e->dims : e->exprs)[row] = value;
}
JitValue emit_alloca(Emit *e, JitType type, uint32_t align) {
    LLVMBasicBlockRef here = llvm.GetInsertBlock(e->j->at);
    llvm.PositionBuilderAtEnd(e->j->at, e->entry);
    JitValue memory = llvm.BuildAlloca(e->j->at, type, "");
    llvm.SetAlignment(memory, align);
    llvm.PositionBuilderAtEnd(e->j->at, here);
    return memory;
}

/* --- vectors ---------------------------------------------------------------------------------- */
static bool is_vector(JitValue value) {
    return llvm.GetTypeKind(llvm.TypeOf(value)) == LLVMVectorTypeKind;
}
JitValue emit_splat(Emit *e, JitValue value) {
    JitBuild *j = e->j;
    JitValue  all[64];
    if (e->lanes == 1 || is_vector(value)) return value;
    JitType type = llvm.TypeOf(value);
    if (llvm.IsConstant(value)) {
        for (uint32_t i = 0; i < e->lanes; i++) all[i] = value;
        return llvm.ConstVector(all, e->lanes);
    }
    JitValue poison = llvm.GetPoison(jit_vector(type, e->lanes));
    JitValue one =
        llvm.BuildInsertElement(j->at, poison, value, llvm.ConstInt(j->i32, 0, false), "");
    JitValue zeros = llvm.ConstNull(jit_vector(j->i32, e->lanes));
    return llvm.BuildShuffleVector(j->at, one, poison, zeros, "");
}
uint32_t emit_lane(const Emit *e, uint32_t lane) {
    uint32_t half = e->lanes / 2;
    if (!e->paired) return lane;
    return lane < half ? 2 * lane : 2 * (lane - half) + 1;
}
/* Step times the element of each lane. */
static JitValue ramp_of(Emit *e, JitType type, int64_t step) {
    JitValue all[64];
    for (uint32_t i = 0; i < e->lanes; i++)
        all[i] = llvm.ConstInt(type, (uint64_t)(step * (int64_t)emit_lane(e, i)), true);
    return e->lanes == 1 ? all[0] : llvm.ConstVector(all, e->lanes);
}
static JitValue ramp(Emit *e, int64_t step) { return ramp_of(e, e->j->i64, step); }
static JitValue number(const Emit *e, JitValue like, int64_t n) {
    JitValue all[64], one = llvm.ConstInt(e->j->i64, (uint64_t)n, true);
    if (!is_vector(like)) return one;
    for (uint32_t i = 0; i < e->lanes; i++) all[i] = one;
    return llvm.ConstVector(all, e->lanes);
}
/* Both as vectors if one is. */
static void match(Emit *e, JitValue *a, JitValue *b) {
    if (is_vector(*a)) *b = emit_splat(e, *b);
    if (is_vector(*b)) *a = emit_splat(e, *a);
}

/* --- sizes and places ------------------------------------------------------------------------- */
static JitValue add(Emit *e, JitValue a, JitValue b) {
    match(e, &a, &b);
    return llvm.BuildNSWAdd(e->j->at, a, b, "");
}
static JitValue mul(Emit *e, JitValue a, JitValue b) {
    match(e, &a, &b);
    return llvm.BuildNSWMul(e->j->at, a, b, "");
}
static JitValue less(Emit *e, JitValue a, JitValue b) {
    match(e, &a, &b);
    return llvm.BuildICmp(e->j->at, LLVMIntSLT, a, b, "");
}
/* Quotient towards minus infinity; b > 0. */
static JitValue divide(Emit *e, JitValue a, JitValue b) {
    LLVMBuilderRef at = e->j->at;
    match(e, &a, &b);
    JitValue q = llvm.BuildSDiv(at, a, b, "");
    JitValue below =
        less(e, llvm.BuildSub(at, a, llvm.BuildMul(at, q, b, ""), ""), number(e, q, 0));
    return llvm.BuildSelect(at, below, llvm.BuildSub(at, q, number(e, q, 1), ""), q, "");
}
static JitValue symbol_value(Emit *e, DimId symbol) {
    if (symbol.row == e->var.row && e->var.row != 0)
        return add(e, emit_splat(e, e->base), ramp(e, 1));
    if (e->symbols[symbol.row] != NULL) return e->symbols[symbol.row];
    ExprId let = loops_let_value(e->loops, symbol);
    ASSERT(expr_id_some(let));
    return jit_math_convert(e->j, expr_dtype(e->loops, let), DTYPE_I64, emit_expr(e, let));
}
static JitValue dim_value(Emit *e, DimId dim) { // as deep as sizes nest
    const Dims    *dims = &e->loops->dims;
    const DimRows *rows = &dims->rows;
    uint32_t       row = dim.row;
    JitValue       sum = NULL;
    switch ((DimKind)rows->kind[row]) {
    case DIM_CONST: return llvm.ConstInt(e->j->i64, (uint64_t)rows->imm[row], true);
    case DIM_SYMBOL: return symbol_value(e, dim);
    case DIM_POLY:
        for (uint32_t i = 0; i < rows->rhs[row]; i++) {
            uint32_t mono = dims->terms.mono[rows->lhs[row] + i];
            int64_t  coef = dims->terms.coef[rows->lhs[row] + i];
            JitValue term = NULL;
            for (uint32_t k = 0; k < dims->monos.count[mono]; k++) {
                DimId    atom = {dims->atoms.atom[dims->monos.first[mono] + k]};
                JitValue factor = dim_value(e, atom);
                term = term ? mul(e, term, factor) : factor;
            }
            if (term == NULL)
                term = llvm.ConstInt(e->j->i64, (uint64_t)coef, true);
            else if (coef != 1)
                term = mul(e, term, llvm.ConstInt(e->j->i64, (uint64_t)coef, true));
            sum = sum ? add(e, sum, term) : term;
        }
        return sum;
    default: break;
    }
    JitValue a = dim_value(e, (DimId){rows->lhs[row]}), b = dim_value(e, (DimId){rows->rhs[row]});
    DimKind  kind = (DimKind)rows->kind[row];
    if (kind == DIM_FLOORDIV) return divide(e, a, b);
    match(e, &a, &b);
    JitValue smaller = less(e, a, b);
    if (kind == DIM_LESS)
        return llvm.BuildZExt(e->j->at, smaller,
                              jit_vector(e->j->i64, is_vector(smaller) ? e->lanes : 1), "");
    return kind == DIM_MIN ? llvm.BuildSelect(e->j->at, smaller, a, b, "")
                           : llvm.BuildSelect(e->j->at, smaller, b, a, "");
}
static JitValue scalar_dim(Emit *e, DimId dim) { /* one that does not vary */
    if (e->dims[dim.row] != NULL) return e->dims[dim.row];
    return note(e, dim.row, true, dim_value(e, dim));
}
JitValue emit_dim(Emit *e, DimId dim) {
    const EmitPlace *place = emit_place(e->s, dim, e->var);
    if (!place->varies) return scalar_dim(e, dim);
    if (e->dims[dim.row] != NULL) return e->dims[dim.row];
    JitValue value;
    if (place->linear) {
        JitValue step = dim_value(e, place->coefficient);
        JitValue start = add(e, dim_value(e, place->rest), mul(e, step, e->base));
        bool     known = dims_is_const(&e->loops->dims, place->coefficient);
        JitValue steps = known ? ramp(e, dims_const_value(&e->loops->dims, place->coefficient))
                               : mul(e, emit_splat(e, step), ramp(e, 1));
        value = add(e, start, steps);
    } else {
        value = dim_value(e, dim);
    }
    return note(e, dim.row, true, value);
}

JitValue emit_dim_first(Emit *e, DimId dim) {
    const EmitPlace *place = emit_place(e->s, dim, e->var);
    ASSERT(place->linear);
    if (!place->varies) return scalar_dim(e, dim);
    return add(e, scalar_dim(e, place->rest), mul(e, scalar_dim(e, place->coefficient), e->base));
}

/* --- memory ----------------------------------------------------------------------------------- */
static uint32_t position(const Emit *e, BufferId buffer) {
    return buffer.row - e->loops->kernels.buffers_first[e->s->kernel.row];
}
static Dtype buffer_dtype(const Emit *e, LoopAccess access) {
    return (Dtype)e->loops->buffers.dtype[access_buffer(access).row];
}
static void tag(Emit *e, JitValue instruction, LoopAccess access) {
    uint32_t at = position(e, access_buffer(access));
    if (e->scopes[at] == NULL) return;
    llvm.SetMetadata(instruction, llvm.GetMDKindIDInContext(e->j->context, "alias.scope", 11),
                     e->scopes[at]);
    llvm.SetMetadata(instruction, llvm.GetMDKindIDInContext(e->j->context, "noalias", 7),
                     e->others[at]);
}
static JitValue address(Emit *e, LoopAccess access, JitValue place) {
    JitType element = jit_math_memory(e->j, buffer_dtype(e, access));
    return llvm.BuildInBoundsGEP2(e->j->at, element, e->buffers[position(e, access_buffer(access))],
                                  &place, 1, "");
}
bool emit_access_varies(Emit *e, LoopAccess access) {
    return emit_place(e->s, emit_address(e->s, access), e->var)->varies;
}
/* Guard and lanes that run, as one mask; NULL: all. */
static JitValue all_masks(Emit *e, JitValue guard) {
    if (guard == NULL) return e->mask;
    guard = emit_splat(e, guard);
    return e->mask == NULL ? guard : llvm.BuildAnd(e->j->at, guard, e->mask, "");
}
/* Whether lanes lie side by side in memory; out_start: the place of lane 0. */
static bool is_contiguous(Emit *e, DimId place_dim, JitValue *out_start) {
    const EmitPlace *place = emit_place(e->s, place_dim, e->var);
    const Dims      *dims = &e->loops->dims;
    if (!place->linear || !dims_is_const(dims, place->coefficient) ||
        dims_const_value(dims, place->coefficient) != 1)
        return false;
    *out_start = add(e, scalar_dim(e, place->rest), e->base);
    return true;
}
static JitValue align_of(Emit *e, Dtype dtype) {
    return llvm.ConstInt(e->j->i32, dtype_bytes(dtype), false);
}

JitValue emit_load(Emit *e, LoopAccess access, JitValue guard) {
    JitBuild *j = e->j;
    Dtype     dtype = buffer_dtype(e, access);
    JitType   element = jit_math_memory(j, dtype), vector = jit_vector(element, e->lanes);
    DimId     place = emit_address(e->s, access);
    JitValue  loaded, start, mask;
    bool      varies = e->lanes > 1 && emit_access_varies(e, access);
    if (!varies && (guard == NULL || !is_vector(guard))) {
        JitValue from = address(e, access, emit_dim(e, place));
        if (guard != NULL) { /* zero instead, from memory of our own */
            JitValue zero = emit_alloca(e, element, 16);
            llvm.BuildStore(j->at, llvm.ConstNull(element), zero);
            from = llvm.BuildSelect(j->at, guard, from, zero, "");
        }
        loaded = llvm.BuildLoad2(j->at, element, from, "");
        if (guard == NULL) tag(e, loaded, access);
        llvm.SetAlignment(loaded, dtype_bytes(dtype));
        return jit_math_unpack(j, dtype, loaded);
    }
    mask = all_masks(e, guard);
    if (is_contiguous(e, place, &start)) {
        JitValue from = address(e, access, start);
        if (mask == NULL && e->streams && e->ahead[position(e, access_buffer(access))])
            emit_load_ahead(e, access, from, e->lanes * dtype_bytes(dtype));
        if (mask == NULL && e->paired) {
            loaded = llvm.BuildLoad2(j->at, jit_vector(j->i32, e->lanes * dtype_bytes(dtype) / 4),
                                     from, "");
            llvm.SetAlignment(loaded, dtype_bytes(dtype));
            tag(e, loaded, access);
            return jit_math_unpack_pairs(j, dtype, loaded);
        }
        if (mask == NULL) {
            loaded = llvm.BuildLoad2(j->at, vector, from, "");
            llvm.SetAlignment(loaded, dtype_bytes(dtype));
        } else {
            JitType types[2] = {vector, j->ptr};
            loaded = jit_intrinsic(
                j, "llvm.masked.load", types, 2,
                (JitValue[]){from, align_of(e, dtype), mask, llvm.ConstNull(vector)}, 4);
        }
    } else {
        JitValue from = address(e, access, emit_splat(e, emit_dim(e, place)));
        JitType  types[2] = {vector, jit_vector(j->ptr, e->lanes)};
        if (mask == NULL) mask = llvm.ConstAllOnes(jit_vector(j->i1, e->lanes));
        loaded =
            jit_intrinsic(j, "llvm.masked.gather", types, 2,
                          (JitValue[]){from, align_of(e, dtype), mask, llvm.ConstNull(vector)}, 4);
    }
    tag(e, loaded, access);
    return jit_math_unpack(j, dtype, loaded);
}

void emit_store(Emit *e, LoopAccess access, JitValue value, JitValue guard) {
    JitBuild *j = e->j;
    Dtype     dtype = buffer_dtype(e, access);
    DimId     place = emit_address(e->s, access);
    JitValue  stored, start;
    if (e->lanes == 1 || !emit_access_varies(e, access)) {
        ASSERT(!is_vector(value) && (guard == NULL || !is_vector(guard)));
        JitValue to = address(e, access, emit_dim(e, place));
        if (guard != NULL) { /* elsewhere instead */
            JitValue nowhere = emit_alloca(e, jit_math_memory(j, dtype), 16);
            to = llvm.BuildSelect(j->at, guard, to, nowhere, "");
        }
        stored = llvm.BuildStore(j->at, jit_math_pack(j, dtype, value), to);
        if (guard == NULL) tag(e, stored, access);
        llvm.SetAlignment(stored, dtype_bytes(dtype));
        return;
    }
    JitValue mask = all_masks(e, guard);
    bool     row = is_contiguous(e, place, &start);
    value = emit_splat(e, value);
    JitValue packed =
        row && e->paired ? jit_math_pack_pairs(j, dtype, value) : jit_math_pack(j, dtype, value);
    JitType vector = llvm.TypeOf(packed);
    if (row) {
        JitValue to = address(e, access, start);
        JitValue near = e->streams ? e->near[position(e, access_buffer(access))] : NULL;
        if (mask == NULL && near != NULL) {
            JitValue both[2];
            emit_store_past(e, packed, to, near, both);
            tag(e, both[0], access);
            stored = both[1];
            llvm.SetAlignment(stored, dtype_bytes(dtype));
        } else if (mask == NULL) {
            stored = llvm.BuildStore(j->at, packed, to);
            llvm.SetAlignment(stored, dtype_bytes(dtype));
        } else {
            JitType types[2] = {vector, j->ptr};
            stored = jit_intrinsic(j, "llvm.masked.store", types, 2,
                                   (JitValue[]){packed, to, align_of(e, dtype), mask}, 4);
        }
    } else {
        JitValue to = address(e, access, emit_splat(e, emit_dim(e, place)));
        JitType  types[2] = {vector, jit_vector(j->ptr, e->lanes)};
        if (mask == NULL) mask = llvm.ConstAllOnes(jit_vector(j->i1, e->lanes));
        stored = jit_intrinsic(j, "llvm.masked.scatter", types, 2,
                               (JitValue[]){packed, to, align_of(e, dtype), mask}, 4);
    }
    tag(e, stored, access);
}

/* --- expressions ------------------------------------------------------------------------------ */
bool emit_varies(Emit *e, ExprId expr) { // as deep as the expressions of a kernel
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0 || !dim_id_some(e->var)) return false;
    if (e->varies[row] != 0) return e->varies[row] == 2;
    uint64_t word = exprs->word[row];
    bool     varies = false;
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_LOAD: varies = emit_access_varies(e, word); break;
    case EXPR_LESS:
        varies = emit_place(e->s, (DimId){(uint32_t)(word >> 32)}, e->var)->varies;
        /* fallthrough */
    case EXPR_INDEX:
    case EXPR_RNG: varies |= emit_place(e->s, (DimId){(uint32_t)word}, e->var)->varies; break;
    default: break;
    }
    varies = varies || emit_varies(e, exprs->a[row]) || emit_varies(e, exprs->b[row]) ||
             emit_varies(e, exprs->c[row]);
    e->varies[row] = varies ? 2 : 1;
    return varies;
}

static JitValue constant(Emit *e, uint32_t row) {
    Dtype    dtype = (Dtype)e->loops->exprs.dtype[row];
    uint64_t word = e->loops->exprs.word[row];
    JitType  type = jit_math_type(e->j, dtype);
    if (dtype_is_float(dtype)) return llvm.ConstReal(type, word_f64(word));
    return llvm.ConstInt(type, word, true);
}

/* --- numbers of elements ---------------------------------------------------------------------- */
static bool is_lane_number(Emit *e, DimId place_dim) { /* the next element has the next number */
    const EmitPlace *place = emit_place(e->s, place_dim, e->var);
    const Dims      *dims = &e->loops->dims;
    return e->lanes > 1 && place->varies && place->linear &&
           dims_is_const(dims, place->coefficient) &&
           dims_const_value(dims, place->coefficient) == 1;
}
/* Which side is such a number, where the other does not vary: 0, 1, or 2 if neither is. */
static uint32_t lane_number_side(Emit *e, uint32_t row) {
    const LoopExprs *exprs = &e->loops->exprs;
    ExprId           sides[2] = {exprs->a[row], exprs->b[row]};
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t side = sides[i].row;
        if (exprs->kind[side] == EXPR_INDEX && exprs->dtype[side] == DTYPE_I64 &&
            !emit_varies(e, sides[1 - i]) &&
            is_lane_number(e, (DimId){(uint32_t)exprs->word[side]}))
            return i;
    }
    return 2;
}
bool emit_is_index_compare(Emit *e, uint32_t row) {
    const LoopExprs *exprs = &e->loops->exprs;
    return exprs->kind[row] == EXPR_OP && exprs->opcode[row] == OP_COMPARE &&
           lane_number_side(e, row) != 2;
}
/* Numbers of elements against a scalar, as i32: what is beyond the lanes is moved next to them. */
static JitValue compare_lanes(Emit *e, CompareKind how, DimId place, JitValue scalar) {
    JitBuild *j = e->j;
    JitValue  first = emit_dim_first(e, place), one = number(e, first, 1);
    JitValue  low = llvm.BuildSub(j->at, first, one, "");
    JitValue  high = llvm.BuildAdd(j->at, first, number(e, first, e->lanes), "");
    scalar = jit_intrinsic(j, "llvm.smax", &j->i64, 1, (JitValue[]){scalar, low}, 2);
    scalar = jit_intrinsic(j, "llvm.smin", &j->i64, 1, (JitValue[]){scalar, high}, 2);
    scalar = llvm.BuildTrunc(j->at, llvm.BuildSub(j->at, scalar, first, ""), j->i32, "");
    return jit_math_compare(j, how, DTYPE_I32, ramp_of(e, j->i32, 1), emit_splat(e, scalar));
}
static JitValue compare_index(Emit *e, uint32_t row, uint32_t side) {
    static const CompareKind turned[COMPARE_KIND_COUNT] = {
        [COMPARE_EQ] = COMPARE_EQ, [COMPARE_NE] = COMPARE_NE, [COMPARE_LT] = COMPARE_GT,
        [COMPARE_LE] = COMPARE_GE, [COMPARE_GT] = COMPARE_LT, [COMPARE_GE] = COMPARE_LE};
    const LoopExprs *exprs = &e->loops->exprs;
    CompareKind      how = (CompareKind)exprs->word[row];
    ExprId           sides[2] = {exprs->a[row], exprs->b[row]};
    return compare_lanes(e, side == 0 ? how : turned[how],
                         (DimId){(uint32_t)exprs->word[sides[side].row]},
                         emit_expr(e, sides[1 - side]));
}
static JitValue less_dims(Emit *e, DimId a, DimId b) {
    bool a_varies = emit_place(e->s, a, e->var)->varies;
    bool b_varies = emit_place(e->s, b, e->var)->varies;
    if (!b_varies && is_lane_number(e, a)) return compare_lanes(e, COMPARE_LT, a, emit_dim(e, b));
    if (!a_varies && is_lane_number(e, b)) return compare_lanes(e, COMPARE_GT, b, emit_dim(e, a));
    return less(e, emit_dim(e, a), emit_dim(e, b));
}

/* --- operators -------------------------------------------------------------------------------- */
static void count_use(Emit *e, ExprId expr) { // as deep as the expressions of a kernel
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0) return;
    if (e->uses[row] < 2) e->uses[row]++;
    if (e->uses[row] == 2) return;
    count_use(e, exprs->a[row]);
    count_use(e, exprs->b[row]);
    count_use(e, exprs->c[row]);
}
void emit_count_uses(Emit *e, uint32_t first, uint32_t last) {
    const LoopNodes *nodes = &e->loops->nodes;
    for (uint32_t row = first; row < last; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        count_use(e, nodes->value[row]);
        count_use(e, nodes->guard[row]);
    }
}
/* A product that is read once, by a sum, stays exact: one instruction for two. It is said here and
 * not left to LLVM, whose choice depends on what else stands nearby. */
static bool is_product(Emit *e, uint32_t row, ExprId expr) {
    const LoopExprs *exprs = &e->loops->exprs;
    return exprs->kind[expr.row] == EXPR_OP && exprs->opcode[expr.row] == OP_MUL &&
           e->uses[expr.row] == 1 && emit_varies(e, expr) == emit_varies(e, (ExprId){row});
}
static JitValue negated(Emit *e, JitValue value) { return llvm.BuildFNeg(e->j->at, value, ""); }
/* x y + z, x y - z or z - x y; NULL: it is none of these. */
static JitValue product_sum(Emit *e, uint32_t row) {
    const LoopExprs *exprs = &e->loops->exprs;
    Opcode           opcode = (Opcode)exprs->opcode[row];
    ExprId           a = exprs->a[row], b = exprs->b[row];
    bool             less = opcode == OP_SUB;
    if ((opcode != OP_ADD && !less) || !e->j->machine->fma ||
        !dtype_is_float(expr_dtype(e->loops, a)))
        return NULL;
    bool first = is_product(e, row, a);
    if (!first && !is_product(e, row, b)) return NULL;
    uint32_t product = first ? a.row : b.row;
    JitValue x[3] = {emit_expr(e, exprs->a[product]), emit_expr(e, exprs->b[product]),
                     emit_expr(e, first ? b : a)};
    if (is_vector(x[0]) || is_vector(x[1]) || is_vector(x[2]))
        for (uint32_t i = 0; i < 3; i++) x[i] = emit_splat(e, x[i]);
    if (less && first) x[2] = negated(e, x[2]);
    if (less && !first) x[0] = negated(e, x[0]);
    JitType type = llvm.TypeOf(x[0]);
    return jit_intrinsic(e->j, "llvm.fma", &type, 1, x, 3);
}
static JitValue operation(Emit *e, uint32_t row) {
    const LoopExprs *exprs = &e->loops->exprs;
    Opcode           opcode = (Opcode)exprs->opcode[row];
    ExprId           operands[3] = {exprs->a[row], exprs->b[row], exprs->c[row]};
    JitValue         x[3];
    uint32_t         count = 0;
    bool             vector = false;
    if (opcode == OP_COMPARE && lane_number_side(e, row) != 2)
        return compare_index(e, row, lane_number_side(e, row));
    JitValue fused = product_sum(e, row);
    if (fused != NULL) return fused;
    for (; count < 3 && expr_id_some(operands[count]); count++) {
        x[count] = emit_expr(e, operands[count]);
        vector |= is_vector(x[count]);
    }
    for (uint32_t i = 0; i < count && vector; i++) x[i] = emit_splat(e, x[i]);
    Dtype first = expr_dtype(e->loops, operands[opcode == OP_SELECT ? 1 : 0]);
    switch (opcode) {
    case OP_COMPARE:
        return jit_math_compare(e->j, (CompareKind)exprs->word[row], first, x[0], x[1]);
    case OP_CONVERT: return jit_math_convert(e->j, first, (Dtype)exprs->word[row], x[0]);
    case OP_BITCAST: return jit_math_bitcast(e->j, first, (Dtype)exprs->word[row], x[0]);
    default: return jit_math(e->j, opcode, first, x);
    }
}

JitValue emit_expr(Emit *e, ExprId expr) {
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row;
    uint64_t         word = exprs->word[row];
    JitValue         value = e->exprs[row];
    if (value != NULL) return value;
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_CONST: return constant(e, row);
    case EXPR_LOAD: {
        JitValue guard = expr_id_some(exprs->a[row]) ? emit_expr(e, exprs->a[row]) : NULL;
        value = emit_load(e, word, guard);
        break;
    }
    case EXPR_INDEX:
        value = jit_math_convert(e->j, DTYPE_I64, (Dtype)exprs->dtype[row],
                                 emit_dim(e, (DimId){(uint32_t)word}));
        break;
    case EXPR_LESS:
        value = less_dims(e, (DimId){(uint32_t)(word >> 32)}, (DimId){(uint32_t)word});
        break;
    case EXPR_RNG: value = emit_random(e, expr); break;
    default: value = operation(e, row); break;
    }
    return note(e, row, false, value);
}
#endif
