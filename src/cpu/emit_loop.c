/* Loops and statements as basic blocks.
 *
 * A vector loop is written as passes over what is left of its range: first in values several
 * registers wide, so that instructions of independent elements stand side by side and additions
 * do not wait for each other; then, for the rest, single registers under a mask or, where masked
 * memory is slow (8 and 16 bits, SSE2), single registers and single elements. Loops are written
 * with their test at the end, so that what does not change can be moved out of them.
 *
 * Reductions into a place that does not move keep a vector of partial results in each pass; sums
 * of floats are moved to a second vector now and then, so that long ones stay accurate. */
#include "cpu/emit_inner.h"

#if defined(STOA_HAVE_LLVM)

#include <stdio.h>
#include <string.h>

#include "cpu/jit_math.h"

enum {
    LANES_MAX = 64,    /* of one value */
    PARTIALS_MAX = 64, /* in one loop */
    SUM_STEPS = 256,   /* additions of floats before a partial sum is moved */
    SCALARS_MAX = 4,   /* see emit_straight: elements one by one, */
    STRAIGHT_MAX = 16, /* elements written out, */
    STRAIGHT_WIDTH = 2 /* registers at once */
};

typedef struct Partial { /* a reduction into one place, inside a vector loop */
    uint32_t node;
    JitValue memory, total; /* vectors on the stack, which become registers; total may be NULL */
} Partial;
typedef struct Pass { /* one way of going through a vector loop */
    Partial  partials[PARTIALS_MAX];
    uint32_t partials_count, lanes;
    bool     masked, streams, paired;
} Pass;

static void emit_nodes(Emit *e, uint32_t first, uint32_t last, const Pass *in);

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
static void emit_reduce(Emit *e, uint32_t row, const Pass *in) {
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
    JitValue sum = llvm.BuildLoad2(j->at, vector, partial->memory, "");
    llvm.BuildStore(j->at, jit_math_combine(j, kind, dtype, sum, value), partial->memory);
}
static void emit_statement(Emit *e, uint32_t row, const Pass *in) {
    const LoopNodes *nodes = &e->loops->nodes;
    if (nodes->kind[row] == NODE_REDUCE)
        emit_reduce(e, row, in);
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
/* at = low; while at + need <= high: body, at += step. The builder stands in the body. */
typedef struct OpenLoop {
    LLVMBasicBlockRef body, done;
    JitValue          at, high, end; /* the variable; end: its value afterwards */
    uint32_t          step, need;
} OpenLoop;
static JitValue goes_on(Emit *e, JitValue at, JitValue high, uint32_t need) {
    JitValue limit = need == 1 ? at : llvm.BuildNSWAdd(e->j->at, at, known(e, need), "");
    return llvm.BuildICmp(e->j->at, need == 1 ? LLVMIntSLT : LLVMIntSLE, limit, high, "");
}
static OpenLoop open_loop(Emit *e, JitValue low, JitValue high, uint32_t step, uint32_t need) {
    JitBuild         *j = e->j;
    LLVMBasicBlockRef before = llvm.GetInsertBlock(j->at);
    OpenLoop          loop = {block(e), block(e), NULL, high, NULL, step, need};
    llvm.BuildCondBr(j->at, goes_on(e, low, high, need), loop.body, loop.done);
    stand_at(e, loop.done);
    loop.end = llvm.BuildPhi(j->at, j->i64, "");
    llvm.AddIncoming(loop.end, &low, &before, 1);
    stand_at(e, loop.body);
    loop.at = llvm.BuildPhi(j->at, j->i64, "");
    llvm.AddIncoming(loop.at, &low, &before, 1);
    return loop;
}
static void close_loop(Emit *e, OpenLoop *loop) {
    JitValue          next = llvm.BuildNSWAdd(e->j->at, loop->at, known(e, loop->step), "");
    JitValue          more = goes_on(e, next, loop->high, loop->need);
    LLVMBasicBlockRef last = llvm.GetInsertBlock(e->j->at);
    llvm.BuildCondBr(e->j->at, more, loop->body, loop->done);
    llvm.AddIncoming(loop->at, &next, &last, 1);
    llvm.AddIncoming(loop->end, &next, &last, 1);
    stand_at(e, loop->done);
}

static void emit_serial(Emit *e, uint32_t row, const Pass *in) {
    const LoopNodes *nodes = &e->loops->nodes;
    Bounds           bounds = bounds_of(e, row);
    OpenLoop         loop = open_loop(e, bounds.low, bounds.high, 1, 1);
    uint32_t         scope = emit_scope_begin(e);
    e->symbols[nodes->var[row].row] = loop.at;
    DimId outer = e->outer;
    e->outer = nodes->var[row];
    emit_nodes(e, row + 1, row + nodes->size[row], in);
    e->outer = outer;
    e->symbols[nodes->var[row].row] = NULL;
    emit_scope_end(e, scope);
    close_loop(e, &loop);
}

/* --- vector loops ----------------------------------------------------------------------------- */

typedef struct BodyFacts {
    uint32_t bytes;   /* of the widest value */
    uint32_t narrow;  /* of the narrowest element in memory that lies side by side */
    uint32_t streams; /* places read or written */
    uint32_t halves;  /* of them: bf16 side by side, */
    uint32_t words;   /* 32 bits side by side, */
    uint32_t others;  /* or neither */
    DimId    random;  /* place of a random word whose lanes are neighbours; nil: none */
} BodyFacts;
static void access_facts(Emit *e, LoopAccess access, BodyFacts *facts) {
    Dtype    dtype = (Dtype)e->loops->buffers.dtype[access_buffer(access).row];
    uint32_t bytes = dtype_bytes(dtype);
    if (!emit_access_varies(e, access)) return;
    *(dtype == DTYPE_BF16 ? &facts->halves : bytes == 4 ? &facts->words : &facts->others) += 1;
    if (bytes < facts->narrow) facts->narrow = bytes;
    if (bytes > facts->bytes) facts->bytes = bytes;
    facts->streams++;
}
static void random_facts(Emit *e, DimId place, BodyFacts *facts) {
    const EmitPlace *known_place = emit_place(e->s, place, e->var);
    const Dims      *dims = &e->loops->dims;
    if (known_place->linear && dims_is_const(dims, known_place->coefficient) &&
        dims_const_value(dims, known_place->coefficient) == 1)
        facts->random = place;
}
static void expr_facts(Emit *e, ExprId root, BodyFacts *facts, uint8_t *seen) {
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = root.row;
    if (row == 0 || seen[row]) return;
    seen[row] = 1;
    uint32_t bytes = dtype_bytes((Dtype)exprs->dtype[row]);
    if (emit_varies(e, root) && bytes > facts->bytes) facts->bytes = bytes;
    if (exprs->kind[row] == EXPR_LOAD) access_facts(e, exprs->word[row], facts);
    if (exprs->kind[row] == EXPR_RNG) random_facts(e, (DimId){(uint32_t)exprs->word[row]}, facts);
    if (emit_is_index_compare(e, row)) return;
    expr_facts(e, exprs->a[row], facts, seen);
    expr_facts(e, exprs->b[row], facts, seen);
    expr_facts(e, exprs->c[row], facts, seen);
}
static BodyFacts body_facts(Emit *e, uint32_t row) {
    const LoopNodes *nodes = &e->loops->nodes;
    BodyFacts        facts = {.bytes = 4, .narrow = 8};
    uint8_t         *seen = ARENA_ARRAY_ZERO(e->j->arena, uint8_t, e->loops->exprs.table.count);
    for (uint32_t i = row + 1; i < row + nodes->size[row]; i++) {
        if (nodes->kind[i] == NODE_LOOP) continue;
        expr_facts(e, nodes->value[i], &facts, seen);
        expr_facts(e, nodes->guard[i], &facts, seen);
        access_facts(e, nodes->access[i], &facts);
    }
    return facts;
}

static void begin_partials(Emit *e, uint32_t row, Pass *pass) {
    const LoopNodes *nodes = &e->loops->nodes;
    pass->partials_count = 0;
    for (uint32_t i = row + 1; i < row + nodes->size[row]; i++) {
        if (nodes->kind[i] != NODE_REDUCE || emit_access_varies(e, nodes->access[i])) continue;
        ReduceKind kind = (ReduceKind)nodes->reduce[i];
        Dtype      dtype = expr_dtype(e->loops, nodes->value[i]);
        JitType    vector = jit_vector(jit_math_type(e->j, dtype), e->lanes);
        JitValue   start = jit_math_identity(e->j, kind, dtype, e->lanes);
        ASSERT(pass->partials_count < PARTIALS_MAX);
        Partial *partial = &pass->partials[pass->partials_count++];
        bool     moves = kind == REDUCE_SUM && dtype_is_float(dtype) && !pass->masked;
        *partial = (Partial){.node = i, .memory = emit_alloca(e, vector, 64)};
        llvm.BuildStore(e->j->at, start, partial->memory);
        if (!moves) continue;
        partial->total = emit_alloca(e, vector, 64);
        llvm.BuildStore(e->j->at, start, partial->total);
    }
}
/* Adds partial sums to their totals and begins them anew. */
static void move_partials(Emit *e, const Pass *pass) {
    JitBuild *j = e->j;
    for (uint32_t i = 0; i < pass->partials_count; i++) {
        const Partial *partial = &pass->partials[i];
        if (partial->total == NULL) continue;
        Dtype    dtype = expr_dtype(e->loops, e->loops->nodes.value[partial->node]);
        JitType  vector = jit_vector(jit_math_type(j, dtype), e->lanes);
        JitValue sum = llvm.BuildLoad2(j->at, vector, partial->memory, "");
        JitValue total = llvm.BuildLoad2(j->at, vector, partial->total, "");
        llvm.BuildStore(j->at, llvm.BuildFAdd(j->at, total, sum, ""), partial->total);
        llvm.BuildStore(j->at, jit_math_identity(j, REDUCE_SUM, dtype, e->lanes), partial->memory);
    }
}
/* Combines what a pass has found with what the place held. */
static void end_partials(Emit *e, const Pass *pass) {
    const LoopNodes *nodes = &e->loops->nodes;
    JitBuild        *j = e->j;
    for (uint32_t i = 0; i < pass->partials_count; i++) {
        const Partial *partial = &pass->partials[i];
        uint32_t       row = partial->node;
        ReduceKind     kind = (ReduceKind)nodes->reduce[row];
        Dtype          dtype = expr_dtype(e->loops, nodes->value[row]);
        JitType        vector = jit_vector(jit_math_type(j, dtype), e->lanes);
        JitValue       from = partial->total ? partial->total : partial->memory;
        JitValue sum = jit_math_across(j, kind, dtype, llvm.BuildLoad2(j->at, vector, from, ""));
        JitValue before = emit_load(e, nodes->access[row], NULL);
        emit_store(e, nodes->access[row], jit_math_combine(j, kind, dtype, before, sum), NULL);
    }
}

/* The lanes of the vector at `at` that are below high. */
static JitValue lanes_below(Emit *e, JitValue at, JitValue high) {
    JitBuild *j = e->j;
    JitValue  left = llvm.BuildNSWSub(j->at, high, at, ""), numbers[LANES_MAX];
    for (uint32_t i = 0; i < e->lanes; i++)
        numbers[i] = llvm.ConstInt(j->i32, emit_lane(e, i), false);
    JitValue left32 = emit_splat(e, llvm.BuildTrunc(j->at, left, j->i32, ""));
    return llvm.BuildICmp(j->at, LLVMIntSLT, llvm.ConstVector(numbers, e->lanes), left32, "");
}
static JitValue emit_pass_loop(Emit *e, uint32_t row, const Pass *pass, JitValue low,
                               JitValue high) {
    const LoopNodes *nodes = &e->loops->nodes;
    OpenLoop         loop = open_loop(e, low, high, pass->lanes, pass->masked ? 1 : pass->lanes);
    uint32_t         scope = emit_scope_begin(e);
    e->base = loop.at;
    e->mask = pass->masked ? lanes_below(e, loop.at, high) : NULL;
    e->streams = pass->streams;
    emit_nodes(e, row + 1, row + nodes->size[row], pass);
    e->mask = NULL;
    e->streams = false;
    emit_scope_end(e, scope);
    close_loop(e, &loop);
    return loop.end;
}
/* Goes from low as far as the pass can; returns where it ended. */
static JitValue emit_pass(Emit *e, uint32_t row, Pass *pass, JitValue low, JitValue high) {
    JitBuild *j = e->j;
    uint32_t  scope = emit_scope_begin(e);
    bool      moves = false;
    e->lanes = pass->lanes;
    e->paired = pass->paired;
    e->base = low;
    begin_partials(e, row, pass);
    for (uint32_t i = 0; i < pass->partials_count; i++) moves |= pass->partials[i].total != NULL;
    JitValue end;
    if (moves) {
        uint32_t steps = SUM_STEPS * pass->lanes;
        OpenLoop outer = open_loop(e, low, high, steps, pass->lanes);
        JitValue limit = llvm.BuildNSWAdd(j->at, outer.at, known(e, steps), "");
        JitValue beyond = llvm.BuildICmp(j->at, LLVMIntSGT, limit, high, "");
        limit = llvm.BuildSelect(j->at, beyond, high, limit, "");
        (void)emit_pass_loop(e, row, pass, outer.at, limit);
        move_partials(e, pass);
        close_loop(e, &outer);
        /* the last part may be shorter */
        JitValue done = llvm.BuildNSWSub(j->at, high, low, "");
        JitValue left = llvm.BuildURem(j->at, done, known(e, pass->lanes), "");
        end = llvm.BuildNSWSub(j->at, high, left, "");
    } else {
        end = emit_pass_loop(e, row, pass, low, high);
    }
    e->base = low;
    end_partials(e, pass);
    emit_scope_end(e, scope);
    e->paired = false;
    return end;
}

/* How many registers wide the first pass is. */
static uint32_t choose_width(Emit *e, uint32_t row, const BodyFacts *facts, uint32_t lanes) {
    const LoopNodes *nodes = &e->loops->nodes;
    const Dims      *dims = &e->loops->dims;
    uint32_t         width = nodes->unroll[row], max = LANES_MAX / lanes;
    if (width == 0) width = facts->streams > 6 && !dim_id_some(facts->random) ? 2 : 4;
    while (width > 1 && width > max) width /= 2;
    if (dims_is_const(dims, nodes->extent[row]) && !(nodes->bind[row] & BIND_PARALLEL))
        while (width > 1 && width * lanes > dims_const_value(dims, nodes->extent[row])) width /= 2;
    return width;
}
/* bf16 side by side are words of two: taken apart they need one instruction a word instead of two a
 * number, and a quarter of the shuffles; others are brought into this order where fewer. */
static bool is_paired(const BodyFacts *facts) {
    return facts->halves > facts->words && facts->others == 0 && facts->bytes == 4 &&
           !dim_id_some(facts->random);
}
static uint32_t choose_passes(Emit *e, uint32_t row, const BodyFacts *facts, Pass passes[3]) {
    const LoopNodes *nodes = &e->loops->nodes;
    const Dims      *dims = &e->loops->dims;
    uint32_t         lanes = nodes->factor[row], count = 0;
    if (lanes == 0) lanes = e->j->machine->vector_bytes / facts->bytes;
    uint32_t wide = choose_width(e, row, facts, lanes) * lanes;
    bool masks = e->j->machine->avx512 || (e->j->machine->vector_bytes > 16 && facts->narrow >= 4);
    passes[count++] = (Pass){.lanes = wide,
                             .streams = emit_streams(e, row, facts->bytes),
                             .paired = wide >= 2 * lanes && is_paired(facts)};
    if (dims_is_const(dims, nodes->extent[row]) && !(nodes->bind[row] & BIND_PARALLEL) &&
        !dim_id_some(facts->random) && dims_const_value(dims, nodes->extent[row]) % wide == 0)
        return count; /* nothing is left */
    if (masks && lanes > 1) {
        passes[count++] = (Pass){.lanes = lanes, .masked = true};
        return count;
    }
    if (wide > lanes) passes[count++] = (Pass){.lanes = lanes};
    if (lanes > 1) passes[count++] = (Pass){.lanes = 1};
    return count;
}
/* Single elements until the place of random words is a multiple of 4. */
static JitValue emit_until_aligned(Emit *e, uint32_t row, DimId place, JitValue low,
                                   JitValue high) {
    JitBuild *j = e->j;
    Pass     *single = ARENA_NEW(j->arena, Pass);
    single->lanes = e->lanes = 1;
    e->base = low;
    JitValue ahead =
        llvm.BuildAnd(j->at, llvm.BuildNeg(j->at, emit_dim_first(e, place), ""), known(e, 3), "");
    JitValue limit = llvm.BuildNSWAdd(j->at, low, ahead, "");
    JitValue beyond = llvm.BuildICmp(j->at, LLVMIntSGT, limit, high, "");
    return emit_pass(e, row, single, low, llvm.BuildSelect(j->at, beyond, high, limit, ""));
}
/* A vector loop whose number of iterations is known, where nothing is left over or little: its
 * elements are known by number then, so that what they are kept in can become registers, and there
 * is one body instead of three. False: it is none, or sums over elements, whose order stays what
 * it is elsewhere. */
static bool emit_straight(Emit *e, uint32_t row, const BodyFacts *facts) {
    const LoopNodes *nodes = &e->loops->nodes;
    int64_t          widest = STRAIGHT_WIDTH * e->j->machine->vector_bytes / facts->bytes;
    DimRange         extent;
    if (e->sizes == NULL || dim_id_some(facts->random) ||
        !emit_range(e->loops, e->s->kernel, nodes->extent[row], e->sizes, &extent) ||
        extent.lo != extent.hi || (extent.hi > STRAIGHT_MAX && extent.hi % widest != 0))
        return false;
    for (uint32_t i = row + 1; i < row + nodes->size[row]; i++)
        if (nodes->kind[i] == NODE_LOOP ||
            (nodes->kind[i] == NODE_REDUCE && !emit_access_varies(e, nodes->access[i])))
            return false;
    int64_t at = extent.hi > STRAIGHT_MAX ? extent.hi : 0;
    if (at != 0) {
        Pass *pass = ARENA_NEW(e->j->arena, Pass);
        *pass = (Pass){.lanes = e->lanes = (uint32_t)widest};
        (void)emit_pass_loop(e, row, pass, known(e, 0), known(e, at));
    }
    for (; at < extent.hi; at += e->lanes) {
        uint32_t scope = emit_scope_begin(e);
        e->lanes = extent.hi <= SCALARS_MAX ? 1 : (uint32_t)widest;
        while (e->lanes > extent.hi - at) e->lanes /= 2;
        e->base = known(e, at);
        emit_nodes(e, row + 1, row + nodes->size[row], NULL);
        emit_scope_end(e, scope);
    }
    return true;
}
static void emit_vector(Emit *e, uint32_t row, uint32_t first, uint32_t last) {
    Bounds   bounds = bounds_of(e, row);
    Pass    *passes = ARENA_ARRAY(e->j->arena, Pass, 3);
    uint32_t scope = emit_scope_begin(e);
    JitValue at = bounds.low;
    e->var = e->loops->nodes.var[row];
    memset(e->varies, 0, e->loops->exprs.table.count);
    BodyFacts facts = body_facts(e, row);
    emit_find_ahead(e, row, first, last);
    uint32_t count = emit_straight(e, row, &facts) ? 0 : choose_passes(e, row, &facts, passes);
    if (count != 0 && dim_id_some(facts.random) && passes[0].lanes % 8 == 0) {
        at = emit_until_aligned(e, row, facts.random, at, bounds.high);
        e->aligned = facts.random;
    }
    for (uint32_t i = 0; i < count; i++) at = emit_pass(e, row, &passes[i], at, bounds.high);
    e->aligned = e->var = (DimId){0};
    e->lanes = 1;
    e->base = NULL;
    emit_scope_end(e, scope);
}

static void emit_nodes(Emit *e, uint32_t first, uint32_t last, const Pass *in) {
    const LoopNodes *nodes = &e->loops->nodes;
    uint32_t         scope = emit_scope_begin(e);
    for (uint32_t row = first; row < last; row += nodes->size[row]) {
        if (nodes->kind[row] == NODE_LOOP) {
            if (nodes->bind[row] & BIND_VECTOR)
                emit_vector(e, row, first, last);
            else
                emit_serial(e, row, in);
            emit_scope_end(e, scope); /* the loop may have written what was loaded before it */
            continue;
        }
        emit_statement(e, row, in);
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

static Emit emit_begin(JitBuild *build, const EmitSource *source) {
    const Loops *loops = source->loops;
    uint32_t     count = loops->kernels.buffers_count[source->kernel.row];
    uint32_t     dims = loops->dims.rows.table.count, exprs = loops->exprs.table.count;
    Emit         e = {.j = build, .s = source, .loops = loops, .lanes = 1};
    e.buffers = ARENA_ARRAY_ZERO(build->arena, JitValue, count + 1);
    e.scopes = ARENA_ARRAY_ZERO(build->arena, LLVMValueRef, count + 1);
    e.others = ARENA_ARRAY_ZERO(build->arena, LLVMValueRef, count + 1);
    e.near = ARENA_ARRAY_ZERO(build->arena, JitValue, count + 1);
    e.ahead = ARENA_ARRAY_ZERO(build->arena, bool, count + 1);
    e.symbols = ARENA_ARRAY_ZERO(build->arena, JitValue, dims);
    e.dims = ARENA_ARRAY_ZERO(build->arena, JitValue, dims);
    e.exprs = ARENA_ARRAY_ZERO(build->arena, JitValue, exprs);
    e.uses = ARENA_ARRAY_ZERO(build->arena, uint8_t, exprs);
    e.varies = ARENA_ARRAY_ZERO(build->arena, uint8_t, exprs);
    e.log_max = dims + exprs;
    e.log = ARENA_ARRAY(build->arena, EmitLog, e.log_max);
    emit_count_uses(&e, source->phase + 1, source->phase + loops->nodes.size[source->phase]);
    return e;
}
static void emit_phase(Emit *e) {
    uint32_t phase = e->s->phase;
    emit_nodes(e, phase + 1, phase + e->loops->nodes.size[phase], NULL);
}
static DimId nth_param(const Emit *e, uint32_t i) {
    return e->loops->params.symbol[e->loops->kernels.params_first[e->s->kernel.row] + i];
}

bool emit_build(JitBuild *build, const void *context) {
    const EmitSource *source = context;
    const Loops      *loops = source->loops;
    Emit              e = emit_begin(build, source);
    JitType           types[5] = {build->ptr, build->ptr, build->i64, build->i64, build->ptr};
    e.function = jit_function(build, types, 5);
    e.entry = llvm.GetInsertBlock(build->at);
    e.params = llvm.GetParam(e.function, 1);
    e.first = llvm.GetParam(e.function, 2);
    e.last = llvm.GetParam(e.function, 3);
    LLVMBasicBlockRef start = block(&e);
    stand_at(&e, start);
    for (uint32_t i = 0; i < loops->kernels.params_count[source->kernel.row]; i++) {
        JitValue at = known(&e, i);
        JitValue from = llvm.BuildInBoundsGEP2(build->at, build->i64, e.params, &at, 1, "");
        e.symbols[nth_param(&e, i).row] = llvm.BuildLoad2(build->at, build->i64, from, "");
    }
    describe_aliases(&e, loops->kernels.buffers_count[source->kernel.row]);
    find_buffers(&e, llvm.GetParam(e.function, 0), llvm.GetParam(e.function, 4));
    emit_find_streams(&e);
    emit_phase(&e);
    emit_end_streams(&e);
    llvm.BuildRetVoid(build->at);
    stand_at(&e, e.entry);
    llvm.BuildBr(build->at, start);
    return true;
}
void emit_inline(JitBuild *build, const EmitInline *part) {
    const EmitSource *source = part->source;
    const Loops      *loops = source->loops;
    Emit              e = emit_begin(build, source);
    e.function = part->function;
    e.entry = part->entry;
    e.sizes = part->params;
    e.first = known(&e, 0);
    e.last = known(&e, part->extent);
    for (uint32_t i = 0; i < loops->kernels.params_count[source->kernel.row]; i++)
        e.symbols[nth_param(&e, i).row] = known(&e, part->params[i]);
    for (uint32_t i = 0; i < loops->kernels.buffers_count[source->kernel.row]; i++) {
        uint32_t buffer = loops->kernels.buffers_first[source->kernel.row] + i;
        JitType  element = jit_math_memory(build, (Dtype)loops->buffers.dtype[buffer]);
        bool     reg = loops->buffers.scope[buffer] == SCOPE_REG;
        e.buffers[i] = reg ? emit_alloca(&e, element, 16) : part->buffers[i];
        e.scopes[i] = part->scopes[i];
        e.others[i] = part->others[i];
    }
    emit_phase(&e);
}

#else
bool emit_build(JitBuild *build, const void *context) { return (void)build, (void)context, false; }
#endif
