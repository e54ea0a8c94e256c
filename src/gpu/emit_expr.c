/* Values: sizes and places as C expressions, expressions as variables x<n>, each computed once in
 * the block that needs it first. What does not depend on the variable of a leaf is computed before
 * it. Known values are forgotten with the block that declared them, and loads when their buffer is
 * written. */
#include "gpu/emit_inner.h"

static const char *const computed_names[DTYPE_COUNT] = {
    [DTYPE_BOOL] = "bool", [DTYPE_U8] = "u8",   [DTYPE_I8] = "i8",      [DTYPE_I16] = "i16",
    [DTYPE_I32] = "i32",   [DTYPE_I64] = "i64", [DTYPE_F16] = "f32",    [DTYPE_BF16] = "f32",
    [DTYPE_F32] = "f32",   [DTYPE_F64] = "f64", [DTYPE_F8E4M3] = "f32", [DTYPE_F8E5M2] = "f32"};
const char *gpu_emit_type(Dtype dtype) { return computed_names[dtype]; }
const char *gpu_emit_stored(Dtype dtype) {
    if (dtype == DTYPE_BOOL) return "u8";
    if (dtype_is_f8(dtype)) return dtype == DTYPE_F8E4M3 ? "e4m3" : "e5m2";
    return dtype == DTYPE_BF16 ? "bf16" : dtype == DTYPE_F16 ? "f16" : computed_names[dtype];
}

bool gpu_emit_supports(Opcode opcode, Dtype dtype) {
    static const bool left_out[OP_COUNT] = {
        [OP_ERF_INV] = true,   [OP_LGAMMA] = true, [OP_POLYGAMMA] = true,
        [OP_BESSEL_IE] = true, [OP_IGAMMA] = true, [OP_NEXTAFTER] = true,
    };
    if (opcode == OP_BITCAST && dtype_compute(dtype) != dtype) return false; /* as f32 */
    return !left_out[opcode] && computed_names[dtype] != NULL;
}

uint32_t gpu_emit_position(const Emit *e, BufferId buffer) {
    return buffer.row - e->loops->kernels.buffers_first[e->kernel.row];
}
/* Whether nothing in this phase writes the memory of a buffer, under any name. */
bool gpu_emit_only_read(const Emit *e, BufferId buffer) {
    const LoopBuffers *buffers = &e->loops->buffers;
    uint32_t           first = e->loops->kernels.buffers_first[e->kernel.row];
    uint32_t           at = gpu_emit_position(e, buffer);
    if (buffers->written[buffer.row] || buffers->scope[buffer.row] != SCOPE_ARG) return false;
    for (uint32_t i = 0; i < e->loops->kernels.buffers_count[e->kernel.row] && at < 64; i++)
        if (buffers->shares[first + i] >> at & 1) return false;
    return true;
}

/* --- sizes ------------------------------------------------------------------------------------ */
static void put(Emit *e, const char *text) { text_add(&e->text, str_of(text)); }
static void put_symbol(Emit *e, DimId symbol) {
    ExprId let = loops_let_value(e->loops, symbol);
    if (expr_id_some(let))
        text_addf(&e->text, "((I)x%u)", e->known[let.row]);
    else
        text_addf(&e->text, "v%u", symbol.row);
}
static void put_poly(Emit *e, uint32_t row) {
    const Dims *dims = &e->loops->dims;
    put(e, "(");
    for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[dims->rows.lhs[row] + i];
        int64_t  coef = dims->terms.coef[dims->rows.lhs[row] + i];
        bool     bare = dims->monos.count[mono] == 0, shown = bare || (coef != 1 && coef != -1);
        put(e, coef < 0 ? " - " : i == 0 ? "" : " + ");
        if (shown) text_addf(&e->text, "(I)%lldLL", (long long)(coef < 0 ? -coef : coef));
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++) {
            if (shown || k != 0) put(e, " * ");
            gpu_emit_dim(e, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]});
        }
    }
    put(e, ")");
}
void gpu_emit_dim(Emit *e, DimId dim) { /* as deep as sizes nest */
    Dims          *dims = &e->loops->dims;
    const DimRows *rows = &dims->rows;
    uint32_t       row = dim.row;
    DimId          parts[2] = {{rows->lhs[row]}, {rows->rhs[row]}};
    switch ((DimKind)rows->kind[row]) {
    case DIM_CONST: text_addf(&e->text, "(I)%lldLL", (long long)rows->imm[row]); return;
    case DIM_SYMBOL: put_symbol(e, dim); return;
    case DIM_POLY: put_poly(e, row); return;
    case DIM_LESS:
        put(e, "(I)(");
        gpu_emit_dim(e, parts[0]);
        put(e, " < ");
        gpu_emit_dim(e, parts[1]);
        put(e, ")");
        return;
    case DIM_FLOORDIV: put(e, dims_range(dims, parts[0]).lo >= 0 ? "udiv" : "fdiv"); break;
    case DIM_MIN: put(e, "imin"); break;
    default: put(e, "imax"); break;
    }
    put(e, "((I)");
    gpu_emit_dim(e, parts[0]);
    put(e, ", (I)");
    gpu_emit_dim(e, parts[1]);
    put(e, ")");
}
/* Lets that a dim uses are computed before it. */
static void need_lets(Emit *e, DimId dim) {
    const LoopLets *lets = &e->loops->lets;
    for (uint32_t row = 1; row < lets->table.count; row++)
        if (dims_contains(&e->loops->dims, dim, lets->symbol[row]))
            (void)gpu_emit_expr(e, lets->value[row]);
}

bool gpu_emit_dim_varies(Emit *e, DimId dim) {
    const LoopLets *lets = &e->loops->lets;
    if (e->leaf == NULL) return false;
    if (dims_contains(&e->loops->dims, dim, e->leaf->var)) return true;
    for (uint32_t row = 1; row < lets->table.count; row++)
        if (dims_contains(&e->loops->dims, dim, lets->symbol[row])) return true;
    return false;
}
static bool written_in_leaf(const Emit *e, BufferId buffer) {
    const LoopNodes *nodes = &e->loops->nodes;
    for (uint32_t row = e->leaf->row; row < e->leaf->row + nodes->size[e->leaf->row]; row++)
        if ((nodes->kind[row] == NODE_STORE || nodes->kind[row] == NODE_REDUCE) &&
            access_buffer(nodes->access[row]).row == buffer.row)
            return true;
    return false;
}
/* Whether a variable of a loop inside the leaf occurs. */
static bool moves_inside(Emit *e, DimId dim) {
    const LoopNodes *nodes = &e->loops->nodes;
    for (uint32_t row = e->leaf->row; row < e->leaf->row + nodes->size[e->leaf->row]; row++)
        if (nodes->kind[row] == NODE_LOOP && dims_contains(&e->loops->dims, dim, nodes->var[row]))
            return true;
    return false;
}
bool gpu_emit_varies(Emit *e, ExprId expr) { /* as deep as the expressions of a kernel */
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row;
    uint64_t         word = exprs->word[row];
    bool             varies = false;
    if (row == 0 || e->leaf == NULL) return false;
    if (e->varies[row] != 0) return e->varies[row] != 1;
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_LOAD:
        varies = written_in_leaf(e, access_buffer(word)) ||
                 gpu_emit_dim_varies(e, loops_address(e->loops, word)) ||
                 moves_inside(e, loops_address(e->loops, word));
        break;
    case EXPR_LESS:
        varies = gpu_emit_dim_varies(e, (DimId){(uint32_t)(word >> 32)}) ||
                 moves_inside(e, (DimId){(uint32_t)(word >> 32)});
        /* fallthrough */
    case EXPR_INDEX:
    case EXPR_RNG:
        varies = varies || gpu_emit_dim_varies(e, (DimId){(uint32_t)word}) ||
                 moves_inside(e, (DimId){(uint32_t)word});
        break;
    default: break;
    }
    varies = varies || gpu_emit_varies(e, exprs->a[row]) || gpu_emit_varies(e, exprs->b[row]) ||
             gpu_emit_varies(e, exprs->c[row]);
    e->varies[row] = varies ? 2 : 1;
    return varies;
}
void gpu_emit_uniform(Emit *e, ExprId expr) { /* as deep as the expressions of a kernel */
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0 || e->varies[row] == 3) return;
    if (!gpu_emit_varies(e, expr)) {
        if (exprs->kind[row] != EXPR_CONST) (void)gpu_emit_expr(e, expr);
        return;
    }
    gpu_emit_uniform(e, exprs->a[row]);
    gpu_emit_uniform(e, exprs->b[row]);
    gpu_emit_uniform(e, exprs->c[row]);
    e->varies[row] = 3; /* done */
}

/* --- memory ----------------------------------------------------------------------------------- */
void gpu_emit_place(Emit *e, LoopAccess access) {
    text_addf(&e->text, "b%u[", gpu_emit_position(e, access_buffer(access)));
    gpu_emit_dim(e, loops_address(e->loops, access));
    put(e, "]");
}
EmitPack *gpu_emit_pack_of(Emit *e, LoopAccess access) {
    for (uint32_t i = e->packs_count; i-- > 0;)
        if (e->packs[i].access == access) return &e->packs[i];
    return NULL;
}
/* Whether elements past the end of a group would be read from memory. */
static bool reads_past(Emit *e, LoopAccess access) {
    return e->loops->buffers.scope[access_buffer(access).row] != SCOPE_REG &&
           gpu_emit_pack_of(e, access) == NULL;
}
static void put_load(Emit *e, uint32_t row) {
    LoopAccess access = e->loops->exprs.word[row];
    BufferId   buffer = access_buffer(access);
    uint32_t   at = gpu_emit_position(e, buffer);
    EmitPack  *pack = e->element ? gpu_emit_pack_of(e, access) : NULL;
    uint32_t   tile = 0;
    bool       is_bool = e->loops->buffers.dtype[buffer.row] == DTYPE_BOOL;
    if (e->loops->buffers.scope[buffer.row] == SCOPE_REG) {
        text_addf(&e->text, "r%u", at);
        if (e->element && written_in_leaf(e, buffer)) put(e, "[e]");
        return;
    }
    while (tile < e->phase->tiles_count && e->phase->tiles[tile] != access) tile++;
    if (pack != NULL) {
        text_addf(&e->text, "up(p%u.v[e])", pack->number);
    } else if (e->tiled && tile < e->phase->tiles_count) {
        text_addf(&e->text, "up(s_tile%u[v%u - l0][v%u - r0])", tile, e->leaf->var.row,
                  e->loops->nodes.var[e->phase->parallel].row);
    } else {
        text_addf(&e->text, "up(get<%d>(&", gpu_emit_only_read(e, buffer));
        gpu_emit_place(e, access);
        put(e, "))");
    }
    if (is_bool) put(e, " != 0");
}

/* --- expressions ------------------------------------------------------------------------------ */
static void put_constant(Emit *e, uint32_t row) {
    Dtype    dtype = (Dtype)e->loops->exprs.dtype[row];
    uint64_t word = e->loops->exprs.word[row];
    if (!dtype_is_float(dtype)) {
        text_addf(&e->text, "(%s)0x%llxull", gpu_emit_type(dtype), (unsigned long long)word);
        return;
    }
    double   number = word_f64(word);
    float    narrow = (float)number;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (dtype == DTYPE_F64)
        text_addf(&e->text, "__longlong_as_double(0x%llxll) /* %.9g */", (unsigned long long)word,
                  number);
    else
        text_addf(&e->text, "__uint_as_float(0x%xu) /* %.9g */", bits, number);
}
/* Operators with a shorter way that is off by a few in the 20th bit or behind. */
static const bool shortens[OP_COUNT] = {[OP_EXP] = true, [OP_TANH] = true, [OP_LOGISTIC] = true};
/* Whether 16-bit floats are among what an expression is made of: then it is known to 11 bits, and
 * the shorter way changes nothing. */
static bool reads_half(const Emit *e, ExprId expr, uint32_t *visits) {
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row;
    if (row == 0 || *visits == 0) return false;
    --*visits;
    if (exprs->kind[row] == EXPR_LOAD)
        return dtype_is_half((Dtype)e->loops->buffers.dtype[access_buffer(exprs->word[row]).row]);
    return exprs->kind[row] == EXPR_OP &&
           (reads_half(e, exprs->a[row], visits) || reads_half(e, exprs->b[row], visits) ||
            reads_half(e, exprs->c[row], visits));
}
static void put_convert(Emit *e, Dtype from, Dtype to, uint32_t x) {
    const char *type = gpu_emit_type(to);
    if (to == DTYPE_BOOL)
        text_addf(&e->text, "to_bool(x%u)", x);
    else if (to == DTYPE_BF16)
        text_addf(&e->text, "__uint_as_float(high_bf16((f32)x%u))", x);
    else if (dtype_compute(to) != to)
        text_addf(&e->text, "up(pk<%s>((f32)x%u))", gpu_emit_stored(to), x);
    else if (dtype_is_float(from) && !dtype_is_float(to))
        text_addf(&e->text, "to_int<%s>(x%u)", type, x);
    else
        text_addf(&e->text, "(%s)x%u", type, x);
}
static void put_bitcast(Emit *e, Dtype from, Dtype to, uint32_t x) {
    if (dtype_is_float(from) == dtype_is_float(to))
        text_addf(&e->text, "(%s)x%u", gpu_emit_type(to), x);
    else if (from == DTYPE_F32 || from == DTYPE_F64)
        text_addf(&e->text, from == DTYPE_F32 ? "__float_as_int(x%u)" : "__double_as_longlong(x%u)",
                  x);
    else
        text_addf(&e->text, to == DTYPE_F32 ? "__int_as_float(x%u)" : "__longlong_as_double(x%u)",
                  x);
}
/* Whether a test for the element of this number is left out where a group has no such element. */
static bool is_apart(Emit *e, uint32_t number) {
    uint32_t i = 0;
    while (i < e->hits_count && e->hits[i] != number) i++;
    if (i < e->hits_count) return true;
    if (number > e->outside || i == LENGTH(e->hits)) return false;
    e->hits[e->hits_count++] = number;
    return true;
}
/* An index against a number of 64 bits: one comparison of the type of indices where the number fits
 * into it, which is known before the loop. */
static bool put_index_compare(Emit *e, uint32_t row, const uint32_t x[3]) {
    const LoopExprs *exprs = &e->loops->exprs;
    if (exprs->word[row] != COMPARE_EQ || expr_dtype(e->loops, exprs->a[row]) != DTYPE_I64)
        return false;
    bool first = exprs->kind[exprs->a[row].row] == EXPR_INDEX;
    if (!first && exprs->kind[exprs->b[row].row] != EXPR_INDEX) return false;
    uint32_t number = x[first], index = x[!first];
    ExprId   place = first ? exprs->a[row] : exprs->b[row];
    if (e->element && exprs->word[place.row] == e->leaf->var.row) /* which element of the group */
        text_addf(&e->text, "%s(I)x%u - c0 == e", is_apart(e, number) ? "hit.is && " : "", number);
    else
        text_addf(&e->text, "(I)x%u == (I)x%u", index, number);
    text_addf(&e->text, " && (i64)(I)x%u == x%u", number, number);
    return true;
}
static void put_operation(Emit *e, uint32_t row, const uint32_t x[3]) {
    static const char *const signs[COMPARE_KIND_COUNT] = {
        [COMPARE_EQ] = "==", [COMPARE_NE] = "!=", [COMPARE_LT] = "<",
        [COMPARE_LE] = "<=", [COMPARE_GT] = ">",  [COMPARE_GE] = ">="};
    const LoopExprs *exprs = &e->loops->exprs;
    Opcode           opcode = (Opcode)exprs->opcode[row];
    Dtype            from = expr_dtype(e->loops, exprs->a[row]);
    switch (opcode) {
    case OP_COMPARE:
        if (put_index_compare(e, row, x)) return;
        text_addf(&e->text, "x%u %s x%u", x[0], signs[exprs->word[row]], x[1]);
        return;
    case OP_SELECT: text_addf(&e->text, "x%u ? x%u : x%u", x[0], x[1], x[2]); return;
    case OP_CONVERT: put_convert(e, from, (Dtype)exprs->word[row], x[0]); return;
    case OP_BITCAST: put_bitcast(e, from, (Dtype)exprs->word[row], x[0]); return;
    default: break;
    }
    uint32_t visits = 32; /* what is shared may be met often */
    bool     half = shortens[opcode] && from == DTYPE_F32 && reads_half(e, exprs->a[row], &visits);
    uint32_t arg = exprs->a[row].row, of = e->known[exprs->a[arg].row],
             less = e->known[exprs->b[arg].row];
    if (half && opcode == OP_EXP && exprs->opcode[arg] == OP_SUB && of != 0 && less != 0) {
        text_addf(&e->text, "exp_half_of(x%u, x%u)", of, less); /* one instruction before ex2 */
        return;
    }
    text_addf(&e->text, half ? "%s_half(x%u" : "o_%s(x%u", op_infos[opcode].name, x[0]);
    if (x[1] != 0) text_addf(&e->text, ", x%u", x[1]);
    put(e, ")");
}

static uint32_t note(Emit *e, uint32_t row) {
    ++e->variables;
    if (e->logged == e->log_max) return e->variables; /* made again when asked for */
    e->log[e->logged++] = row;
    return e->known[row] = e->variables;
}
uint32_t gpu_emit_expr(Emit *e, ExprId expr) { /* as deep as the expressions of a kernel */
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = expr.row, x[3] = {0, 0, 0};
    uint64_t         word = exprs->word[row];
    ExprId           operands[3] = {exprs->a[row], exprs->b[row], exprs->c[row]};
    ASSERT(row != 0);
    if (e->known[row] != 0) return e->known[row];
    for (uint32_t i = 0; i < 3 && expr_id_some(operands[i]); i++)
        x[i] = gpu_emit_expr(e, operands[i]);
    if (exprs->kind[row] == EXPR_LOAD) need_lets(e, loops_address(e->loops, word));
    if (exprs->kind[row] == EXPR_INDEX || exprs->kind[row] == EXPR_RNG ||
        exprs->kind[row] == EXPR_LESS)
        need_lets(e, (DimId){(uint32_t)word});
    if (exprs->kind[row] == EXPR_LESS) need_lets(e, (DimId){(uint32_t)(word >> 32)});
    const char *type = gpu_emit_type((Dtype)exprs->dtype[row]);
    uint32_t    number = note(e, row);
    text_addf(&e->text, "const %s x%u = ", type, number);
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_CONST: put_constant(e, row); break;
    case EXPR_LOAD:
        /* before a leaf that may be over nothing */
        if (e->leaf != NULL && !e->element &&
            e->loops->buffers.scope[access_buffer(word).row] != SCOPE_REG)
            text_addf(&e->text, "n_leaf <= 0 ? (%s)0 : ", type);
        if (e->element && reads_past(e, word)) text_addf(&e->text, "!ALIVE(e) ? (%s)0 : ", type);
        if (x[0] != 0) text_addf(&e->text, "!x%u ? (%s)0 : ", x[0], type);
        text_addf(&e->text, "(%s)(", type);
        put_load(e, row);
        put(e, ")");
        break;
    case EXPR_INDEX:
        text_addf(&e->text, "(%s)", type);
        gpu_emit_dim(e, (DimId){(uint32_t)word});
        break;
    case EXPR_LESS:
        gpu_emit_dim(e, (DimId){(uint32_t)(word >> 32)});
        put(e, " < ");
        gpu_emit_dim(e, (DimId){(uint32_t)word});
        break;
    case EXPR_RNG:
        text_addf(&e->text, "philox(x%u, (u64)", x[0]);
        gpu_emit_dim(e, (DimId){(uint32_t)word});
        text_addf(&e->text, ", %uu)", exprs->opcode[row]);
        break;
    default: put_operation(e, row, x); break;
    }
    put(e, ";\n");
    return number;
}
