/* Loops and statements as basic blocks.
 *
 * A vector loop is written up to three times: groups of vectors while they last (several, so that
 * additions do not wait for each other), single vectors, and one masked vector for what is left.
 * Reductions into a place that does not move keep vectors of partial results, one for each of the
 * groups, combined as a tree after the loop. */
#include "cpu/emit_inner.h"

#if defined(STOA_HAVE_LLVM)

#include <stdio.h>
#include <string.h>

#include "cpu/jit_math.h"

enum { GROUPS_MAX = 4, PARTIALS_MAX = 64, HEAVY_COST = 40 };

typedef struct Partial { /* a reduction into one place, inside a vector loop */
    uint32_t node;
    JitValue memory[GROUPS_MAX]; /* vectors on the stack, which become registers */
} Partial;
typedef struct VectorLoop {
    Partial  partials[PARTIALS_MAX];
    uint32_t partials_count, groups;
} VectorLoop;

static void emit_nodes(Emit *e, uint32_t first, uint32_t last, const VectorLoop *in,
                       uint32_t group);

static LLVMBasicBlockRef block(Emit *e) {
    return llvm.AppendBasicBlockInContext(e->j->context, e->function, "");
}
static void     stand_at(Emit *e, LLVMBasicBlockRef at) { llvm.PositionBuilderAtEnd(e->j->at, at); }
static JitValue known(const Emit *e, int64_t number) {
    return llvm.ConstInt(e->j->i64, (uint64_t)number, true);
}

/* --- statements ------------------------------------------------------------------------------- */
static JitValue guard_of(Emit *e, uint32_t row) {
    ExprId guard = e->loops->nodes.guard[row];
    return expr_id_some(guard) ? emit_expr(e, guard) : NULL;
}
/* What was loaded from a buffer is stale once it is written. */
static void forget_loads(Emit *e, BufferId buffer, uint32_t begun) {
    const LoopExprs *exprs = &e->loops->exprs;
    for (uint32_t i = begun; i < e->logged; i++) {
        uint32_t row = e->log[i].row;
        if (e->log[i].dim || exprs->kind[row] != EXPR_LOAD ||
            access_buffer(exprs->word[row]).row != buffer.row)
            continue;
        emit_scope_end(e, begun);
        return;
    }
}
static void emit_reduce(Emit *e, uint32_t row, const VectorLoop *in, uint32_t group) {
    const LoopNodes *nodes = &e->loops->nodes;
    JitBuild        *j = e->j;
    LoopAccess       access = nodes->access[row];
    ReduceKind       kind = (ReduceKind)nodes->reduce[row];
    Dtype            dtype = expr_dtype(e->loops, nodes->value[row]);
    JitValue         value = emit_expr(e, nodes->value[row]), guard = guard_of(e, row);
    const Partial   *partial = NULL;
    for (uint32_t i = 0; in != NULL && i < in->partials_count; i++)
        if (in->partials[i].node == row) partial = &in->partials[i];
    if (partial == NULL) {
        JitValue sum = emit_load(e, access, guard);
        if (emit_access_varies(e, access)) value = emit_splat(e, value);
        emit_store(e, access, jit_math_combine(j, kind, dtype, sum, value), guard);
        return;
    }
    JitType  vector = jit_vector(jit_math_type(j, dtype), e->lanes);
    JitValue mask = guard != NULL ? emit_splat(e, guard) : NULL;
    if (e->mask != NULL) mask = mask ? llvm.BuildAnd(j->at, mask, e->mask, "") : e->mask;
    value = emit_splat(e, value);
    if (mask != NULL)
        value =
            llvm.BuildSelect(j->at, mask, value, jit_math_identity(j, kind, dtype, e->lanes), "");
    JitValue sum = llvm.BuildLoad2(j->at, vector, partial->memory[group], "");
    llvm.BuildStore(j->at, jit_math_combine(j, kind, dtype, sum, value), partial->memory[group]);
}
static void emit_statement(Emit *e, uint32_t row, const VectorLoop *in, uint32_t group) {
    const LoopNodes *nodes = &e->loops->nodes;
    if (nodes->kind[row] == NODE_REDUCE)
        emit_reduce(e, row, in, group);
    else {
        JitValue value = emit_expr(e, nodes->value[row]);
        emit_store(e, nodes->access[row], value, guard_of(e, row));
    }
}

/* --- loops ------------------------------------------------------------------------------------ */
typedef struct Bounds {
    JitValue low, high;
} Bounds;
static Bounds bounds_of(Emit *e, uint32_t row) {
    if (e->loops->nodes.bind[row] & BIND_PARALLEL) return (Bounds){e->first, e->last};
    return (Bounds){known(e, 0), emit_dim(e, e->loops->nodes.extent[row])};
}
/* A loop from low while low + step <= high; the builder stands in its body. */
typedef struct OpenLoop {
    LLVMBasicBlockRef head, done;
    JitValue          at, next; /* values of the variable */
} OpenLoop;
static OpenLoop open_loop(Emit *e, JitValue low, JitValue high, uint32_t step) {
    JitBuild         *j = e->j;
    LLVMBasicBlockRef before = llvm.GetInsertBlock(j->at), body = block(e);
    OpenLoop          loop = {.head = block(e), .done = block(e)};
    llvm.BuildBr(j->at, loop.head);
    stand_at(e, loop.head);
    loop.at = llvm.BuildPhi(j->at, j->i64, "");
    llvm.AddIncoming(loop.at, &low, &before, 1);
    loop.next = llvm.BuildNSWAdd(j->at, loop.at, known(e, step), "");
    JitValue more = llvm.BuildICmp(j->at, LLVMIntSLE, loop.next, high, "");
    llvm.BuildCondBr(j->at, more, body, loop.done);
    stand_at(e, body);
    return loop;
}
static void close_loop(Emit *e, OpenLoop *loop) {
    LLVMBasicBlockRef last = llvm.GetInsertBlock(e->j->at);
    llvm.BuildBr(e->j->at, loop->head);
    llvm.AddIncoming(loop->at, &loop->next, &last, 1);
    stand_at(e, loop->done);
}

static void emit_serial(Emit *e, uint32_t row) {
    const LoopNodes *nodes = &e->loops->nodes;
    Bounds           bounds = bounds_of(e, row);
    OpenLoop         loop = open_loop(e, bounds.low, bounds.high, 1);
    uint32_t         scope = emit_scope_begin(e);
    e->symbols[nodes->var[row].row] = loop.at;
    emit_nodes(e, row + 1, row + nodes->size[row], NULL, 0);
    e->symbols[nodes->var[row].row] = NULL;
    emit_scope_end(e, scope);
    close_loop(e, &loop);
}

/* Bytes of the widest element, and arithmetic, of a loop's body. */
typedef struct BodyFacts {
    uint32_t bytes, cost;
    bool     reduces;
} BodyFacts;
static void expr_facts(const Loops *loops, ExprId root, BodyFacts *facts, uint8_t *seen) {
    const LoopExprs *exprs = &loops->exprs;
    uint32_t         row = root.row;
    if (row == 0 || seen[row]) return;
    seen[row] = 1;
    uint32_t bytes = dtype_bytes((Dtype)exprs->dtype[row]);
    if (exprs->kind[row] != EXPR_CONST && bytes > facts->bytes) facts->bytes = bytes;
    if (exprs->kind[row] == EXPR_OP)
        facts->cost += exprs->opcode[row] >= OP_EXP && exprs->opcode[row] <= OP_BESSEL_IE ? 12 : 1;
    if (exprs->kind[row] == EXPR_RNG) facts->cost += HEAVY_COST;
    expr_facts(loops, exprs->a[row], facts, seen);
    expr_facts(loops, exprs->b[row], facts, seen);
    expr_facts(loops, exprs->c[row], facts, seen);
}
static BodyFacts body_facts(Emit *e, uint32_t row) {
    const LoopNodes *nodes = &e->loops->nodes;
    BodyFacts        facts = {.bytes = 1};
    uint8_t         *seen = ARENA_ARRAY_ZERO(e->j->arena, uint8_t, e->loops->exprs.table.count);
    for (uint32_t i = row + 1; i < row + nodes->size[row]; i++) {
        expr_facts(e->loops, nodes->value[i], &facts, seen);
        facts.reduces |= nodes->kind[i] == NODE_REDUCE;
    }
    return facts;
}

/* The body with the variable at lanes `at`..., for each of the groups. */
static void emit_vectors(Emit *e, uint32_t row, const VectorLoop *v, uint32_t groups, JitValue at,
                         JitValue mask) {
    const LoopNodes *nodes = &e->loops->nodes;
    e->mask = mask;
    for (uint32_t group = 0; group < groups; group++) {
        uint32_t scope = emit_scope_begin(e);
        e->base = group == 0 ? at : llvm.BuildNSWAdd(e->j->at, at, known(e, group * e->lanes), "");
        emit_nodes(e, row + 1, row + nodes->size[row], v, group);
        emit_scope_end(e, scope);
    }
    e->mask = NULL;
}
static void begin_partials(Emit *e, uint32_t row, VectorLoop *v) {
    const LoopNodes *nodes = &e->loops->nodes;
    for (uint32_t i = row + 1; i < row + nodes->size[row]; i++) {
        if (nodes->kind[i] != NODE_REDUCE || emit_access_varies(e, nodes->access[i])) continue;
        Dtype    dtype = expr_dtype(e->loops, nodes->value[i]);
        JitType  vector = jit_vector(jit_math_type(e->j, dtype), e->lanes);
        JitValue start = jit_math_identity(e->j, (ReduceKind)nodes->reduce[i], dtype, e->lanes);
        ASSERT(v->partials_count < PARTIALS_MAX);
        Partial *partial = &v->partials[v->partials_count++];
        partial->node = i;
        for (uint32_t group = 0; group < v->groups; group++) {
            partial->memory[group] = emit_alloca(e, vector, 64);
            llvm.BuildStore(e->j->at, start, partial->memory[group]);
        }
    }
}
static void end_partials(Emit *e, const VectorLoop *v) {
    const LoopNodes *nodes = &e->loops->nodes;
    JitBuild        *j = e->j;
    for (uint32_t i = 0; i < v->partials_count; i++) {
        const Partial *partial = &v->partials[i];
        uint32_t       row = partial->node;
        ReduceKind     kind = (ReduceKind)nodes->reduce[row];
        Dtype          dtype = expr_dtype(e->loops, nodes->value[row]);
        JitType        vector = jit_vector(jit_math_type(j, dtype), e->lanes);
        JitValue       sums[GROUPS_MAX];
        for (uint32_t group = 0; group < v->groups; group++)
            sums[group] = llvm.BuildLoad2(j->at, vector, partial->memory[group], "");
        for (uint32_t step = 1; step < v->groups; step *= 2)
            for (uint32_t group = 0; group + step < v->groups; group += step * 2)
                sums[group] = jit_math_combine(j, kind, dtype, sums[group], sums[group + step]);
        JitValue sum = jit_math_across(j, kind, dtype, sums[0]);
        JitValue before = emit_load(e, nodes->access[row], NULL);
        emit_store(e, nodes->access[row], jit_math_combine(j, kind, dtype, before, sum), NULL);
    }
}

static void emit_vector(Emit *e, uint32_t row) {
    const LoopNodes *nodes = &e->loops->nodes;
    JitBuild        *j = e->j;
    Bounds           bounds = bounds_of(e, row);
    BodyFacts        facts = body_facts(e, row);
    VectorLoop      *v = ARENA_NEW(j->arena, VectorLoop);
    uint32_t         bytes = facts.bytes < 4 ? 4 : facts.bytes, scope = emit_scope_begin(e);
    uint32_t         lanes =
        nodes->factor[row] != 0 ? nodes->factor[row] : j->machine->vector_bytes / bytes;
    v->groups = nodes->unroll[row] != 0   ? nodes->unroll[row]
                : facts.cost > HEAVY_COST ? 1
                : facts.reduces           ? 4
                                          : 2;
    e->var = nodes->var[row];
    e->lanes = lanes;
    memset(e->varies, 0, e->loops->exprs.table.count);
    e->base = bounds.low;
    begin_partials(e, row, v);
    JitValue at = bounds.low;
    for (uint32_t groups = v->groups; groups >= 1; groups = groups > 1 ? 1 : 0) {
        OpenLoop loop = open_loop(e, at, bounds.high, groups * lanes);
        emit_vectors(e, row, v, groups, loop.at, NULL);
        close_loop(e, &loop);
        at = loop.at;
    }
    LLVMBasicBlockRef tail = block(e), done = block(e);
    llvm.BuildCondBr(j->at, llvm.BuildICmp(j->at, LLVMIntSLT, at, bounds.high, ""), tail, done);
    stand_at(e, tail);
    JitValue left = llvm.BuildNSWSub(j->at, bounds.high, at, ""), numbers[64];
    for (uint32_t i = 0; i < lanes; i++) numbers[i] = llvm.ConstInt(j->i32, i, false);
    JitValue left32 = emit_splat(e, llvm.BuildTrunc(j->at, left, j->i32, ""));
    JitValue mask = llvm.BuildICmp(j->at, LLVMIntSLT, llvm.ConstVector(numbers, lanes), left32, "");
    emit_vectors(e, row, v, 1, at, mask);
    llvm.BuildBr(j->at, done);
    stand_at(e, done);
    e->base = bounds.low;
    end_partials(e, v);
    e->var = (DimId){0};
    e->lanes = 1;
    e->base = NULL;
    emit_scope_end(e, scope);
}

static void emit_nodes(Emit *e, uint32_t first, uint32_t last, const VectorLoop *in,
                       uint32_t group) {
    const LoopNodes *nodes = &e->loops->nodes;
    uint32_t         scope = emit_scope_begin(e);
    for (uint32_t row = first; row < last; row += nodes->size[row]) {
        if (nodes->kind[row] == NODE_LOOP) {
            if (nodes->bind[row] & BIND_VECTOR)
                emit_vector(e, row);
            else
                emit_serial(e, row);
            emit_scope_end(e, scope); /* the loop may have written what was loaded before it */
            continue;
        }
        emit_statement(e, row, in, group);
        forget_loads(e, access_buffer(nodes->access[row]), scope);
    }
}

/* --- the function ----------------------------------------------------------------------------- */
/* Metadata that says which buffers never overlap: all but results that may share with operands. */
static void describe_aliases(Emit *e, uint32_t count) {
    JitBuild          *j = e->j;
    LLVMMetadataRef    name = llvm.MDStringInContext2(j->context, "buffers", 7);
    LLVMMetadataRef    domain = llvm.MDNodeInContext2(j->context, &name, 1);
    LLVMMetadataRef   *scopes = ARENA_ARRAY(j->arena, LLVMMetadataRef, count + 1);
    LLVMMetadataRef   *list = ARENA_ARRAY(j->arena, LLVMMetadataRef, count + 1);
    uint32_t           first = e->loops->kernels.buffers_first[e->s->kernel.row];
    const LoopBuffers *buffers = &e->loops->buffers;
    for (uint32_t i = 0; i < count; i++) {
        char            text[16];
        int             length = snprintf(text, sizeof text, "b%u", i);
        LLVMMetadataRef parts[2] = {llvm.MDStringInContext2(j->context, text, (size_t)length),
                                    domain};
        scopes[i] = llvm.MDNodeInContext2(j->context, parts, 2);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t others = 0;
        for (uint32_t k = 0; k < count; k++) {
            bool shares =
                i < 64 && k < 64 &&
                ((buffers->shares[first + i] >> k & 1) || (buffers->shares[first + k] >> i & 1));
            if (k != i && !shares) list[others++] = scopes[k];
        }
        e->scopes[i] =
            llvm.MetadataAsValue(j->context, llvm.MDNodeInContext2(j->context, &scopes[i], 1));
        e->others[i] =
            llvm.MetadataAsValue(j->context, llvm.MDNodeInContext2(j->context, list, others));
    }
}
static void find_buffers(Emit *e, JitValue table, JitValue lane) {
    JitBuild          *j = e->j;
    const LoopBuffers *buffers = &e->loops->buffers;
    uint32_t           first = e->loops->kernels.buffers_first[e->s->kernel.row];
    uint32_t           count = e->loops->kernels.buffers_count[e->s->kernel.row];
    for (uint32_t i = 0; i < count; i++) {
        Dtype   dtype = (Dtype)buffers->dtype[first + i];
        JitType element = jit_math_memory(j, dtype);
        if (buffers->scope[first + i] == SCOPE_REG) {
            e->buffers[i] = emit_alloca(e, element, 16);
        } else if (buffers->scope[first + i] == SCOPE_LANE) {
            JitValue bytes = llvm.BuildNSWMul(j->at, emit_dim(e, e->s->elements[i]),
                                              known(e, dtype_bytes(dtype)), "");
            e->buffers[i] = lane;
            bytes = llvm.BuildAnd(j->at, llvm.BuildNSWAdd(j->at, bytes, known(e, 63), ""),
                                  known(e, -64), "");
            lane = llvm.BuildInBoundsGEP2(j->at, j->i8, lane, &bytes, 1, "");
        } else {
            JitValue at = known(e, i);
            JitValue from = llvm.BuildInBoundsGEP2(j->at, j->ptr, table, &at, 1, "");
            e->buffers[i] = llvm.BuildLoad2(j->at, j->ptr, from, "");
        }
    }
}

bool emit_build(JitBuild *build, const void *context) {
    const EmitSource *source = context;
    const Loops      *loops = source->loops;
    uint32_t          kernel = source->kernel.row;
    Emit              e = {.j = build, .s = source, .loops = loops, .lanes = 1};
    JitType           types[5] = {build->ptr, build->ptr, build->i64, build->i64, build->ptr};
    uint32_t count = loops->kernels.buffers_count[kernel], dims = loops->dims.rows.table.count,
             exprs = loops->exprs.table.count;
    e.function = jit_function(build, types, 5);
    e.entry = llvm.GetInsertBlock(build->at);
    e.params = llvm.GetParam(e.function, 1);
    e.first = llvm.GetParam(e.function, 2);
    e.last = llvm.GetParam(e.function, 3);
    e.buffers = ARENA_ARRAY_ZERO(build->arena, JitValue, count + 1);
    e.scopes = ARENA_ARRAY_ZERO(build->arena, LLVMValueRef, count + 1);
    e.others = ARENA_ARRAY_ZERO(build->arena, LLVMValueRef, count + 1);
    e.symbols = ARENA_ARRAY_ZERO(build->arena, JitValue, dims);
    e.dims = ARENA_ARRAY_ZERO(build->arena, JitValue, dims);
    e.exprs = ARENA_ARRAY_ZERO(build->arena, JitValue, exprs);
    e.varies = ARENA_ARRAY_ZERO(build->arena, uint8_t, exprs);
    e.log_max = dims + exprs;
    e.log = ARENA_ARRAY(build->arena, EmitLog, e.log_max);
    LLVMBasicBlockRef start = block(&e);
    stand_at(&e, start);
    for (uint32_t i = 0; i < loops->kernels.params_count[kernel]; i++) {
        JitValue at = known(&e, i);
        JitValue from = llvm.BuildInBoundsGEP2(build->at, build->i64, e.params, &at, 1, "");
        DimId    symbol = loops->params.symbol[loops->kernels.params_first[kernel] + i];
        e.symbols[symbol.row] = llvm.BuildLoad2(build->at, build->i64, from, "");
    }
    describe_aliases(&e, count);
    find_buffers(&e, llvm.GetParam(e.function, 0), llvm.GetParam(e.function, 4));
    emit_nodes(&e, source->phase + 1, source->phase + loops->nodes.size[source->phase], NULL, 0);
    llvm.BuildRetVoid(build->at);
    stand_at(&e, e.entry);
    llvm.BuildBr(build->at, start);
    return true;
}

#else
bool emit_build(JitBuild *build, const void *context) { return (void)build, (void)context, false; }
#endif
