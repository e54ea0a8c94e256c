/* Random words: Philox4x32-10 (tables/philox.h) as vector code.
 *
 * A counter gives four words and neighbouring elements use word i % 4 of counter i / 4. Where the
 * lanes are neighbours and the first is known to be a multiple of 4 (emit_loop.c sees to that with
 * a few single elements in front), a quarter of the lanes compute, and their words are interleaved;
 * elsewhere each lane computes four words and keeps one.
 *
 * Products of 32 bits are taken of even and odd words in turn, as the processor multiplies. */
#include "cpu/emit_inner.h"

#if defined(STOA_HAVE_LLVM)

static JitValue i32_splat(Emit *e, uint32_t number, uint32_t lanes) {
    JitValue one = llvm.ConstInt(e->j->i32, number, false), all[64];
    for (uint32_t i = 0; i < lanes; i++) all[i] = one;
    return lanes == 1 ? one : llvm.ConstVector(all, lanes);
}
static JitValue spread(Emit *e, JitValue scalar, uint32_t lanes) {
    JitBuild *j = e->j;
    JitType   type = jit_vector(llvm.TypeOf(scalar), lanes);
    if (lanes == 1) return scalar;
    JitValue zero = llvm.ConstInt(j->i32, 0, false), none = llvm.GetPoison(type);
    JitValue one = llvm.BuildInsertElement(j->at, none, scalar, zero, "");
    return llvm.BuildShuffleVector(j->at, one, none, llvm.ConstNull(jit_vector(j->i32, lanes)), "");
}
/* The words first, first + step, ... of x, then of y, by turns. */
static JitValue take_turns(Emit *e, JitValue x, JitValue y, uint32_t first, uint32_t step,
                           uint32_t lanes) {
    JitValue places[64];
    for (uint32_t i = 0; i < lanes; i++) {
        uint32_t place = first + i / 2 * step + (i % 2 ? llvm.GetVectorSize(llvm.TypeOf(x)) : 0);
        places[i] = llvm.ConstInt(e->j->i32, place, false);
    }
    return llvm.BuildShuffleVector(e->j->at, x, y, llvm.ConstVector(places, lanes), "");
}

/* High and low halves of x times a constant. */
static void multiply(Emit *e, JitValue x, uint32_t factor, uint32_t lanes, JitValue *out_high,
                     JitValue *out_low) {
    JitBuild      *j = e->j;
    LLVMBuilderRef at = j->at;
    JitType        words = jit_vector(j->i32, lanes), wide = jit_vector(j->i64, lanes);
    if (lanes % 2 != 0) {
        JitValue by = spread(e, llvm.ConstInt(j->i64, factor, false), lanes);
        JitValue shift = spread(e, llvm.ConstInt(j->i64, 32, false), lanes);
        JitValue p = llvm.BuildMul(at, llvm.BuildZExt(at, x, wide, ""), by, "");
        *out_low = llvm.BuildTrunc(at, p, words, "");
        *out_high = llvm.BuildTrunc(at, llvm.BuildLShr(at, p, shift, ""), words, "");
        return;
    }
    JitType  pairs = jit_vector(j->i64, lanes / 2);
    JitValue by = spread(e, llvm.ConstInt(j->i64, factor, false), lanes / 2);
    JitValue shift = spread(e, llvm.ConstInt(j->i64, 32, false), lanes / 2);
    JitValue mask = spread(e, llvm.ConstInt(j->i64, UINT32_MAX, false), lanes / 2);
    JitValue both = llvm.BuildBitCast(at, x, pairs, "");
    JitValue even = llvm.BuildMul(at, llvm.BuildAnd(at, both, mask, ""), by, "");
    JitValue odd = llvm.BuildMul(at, llvm.BuildLShr(at, both, shift, ""), by, "");
    even = llvm.BuildBitCast(at, even, words, "");
    odd = llvm.BuildBitCast(at, odd, words, "");
    *out_low = take_turns(e, even, odd, 0, 2, lanes);
    *out_high = take_turns(e, even, odd, 1, 2, lanes);
}

/* The four words of counters (i64); key: i64, one for all or one a lane. */
static void draw(Emit *e, JitValue counter, JitValue key, uint32_t stream, uint32_t lanes,
                 JitValue c[4]) {
    static const uint32_t steps[2] = {0x9E3779B9u, 0xBB67AE85u};
    JitBuild             *j = e->j;
    LLVMBuilderRef        at = j->at;
    JitType               words = jit_vector(j->i32, lanes);
    bool                  own_key = llvm.GetTypeKind(llvm.TypeOf(key)) == LLVMVectorTypeKind;
    uint32_t              keys = own_key ? lanes : 1;
    JitValue              k[2], shift = spread(e, llvm.ConstInt(j->i64, 32, false), lanes);
    JitValue              key_shift = spread(e, llvm.ConstInt(j->i64, 32, false), keys);
    c[0] = llvm.BuildTrunc(at, counter, words, "");
    c[1] = llvm.BuildTrunc(at, llvm.BuildLShr(at, counter, shift, ""), words, "");
    c[2] = i32_splat(e, stream, lanes);
    c[3] = i32_splat(e, 0, lanes);
    JitType key_words = jit_vector(j->i32, keys);
    k[0] = llvm.BuildTrunc(at, key, key_words, "");
    k[1] = llvm.BuildTrunc(at, llvm.BuildLShr(at, key, key_shift, ""), key_words, "");
    for (int round = 0; round < 10; round++) {
        JitValue high[2], low[2], next[4];
        multiply(e, c[0], 0xD2511F53u, lanes, &high[0], &low[0]);
        multiply(e, c[2], 0xCD9E8D57u, lanes, &high[1], &low[1]);
        for (int i = 0; i < 2; i++) {
            JitValue mixed = llvm.BuildXor(at, high[1 - i], c[2 * i + 1], "");
            next[2 * i] = llvm.BuildXor(at, mixed, own_key ? k[i] : spread(e, k[i], lanes), "");
            next[2 * i + 1] = low[1 - i];
            k[i] = llvm.BuildAdd(at, k[i], i32_splat(e, steps[i], keys), "");
        }
        for (int i = 0; i < 4; i++) c[i] = next[i];
    }
}

/* Four neighbours from each of lanes / 4 counters; element: of the first lane, 4 divides it. Words
 * stand in the lower halves of i64: products then need no shuffles, and what the upper halves hold
 * is never looked at. */
static JitValue draw_neighbours(Emit *e, JitValue element, JitValue key, uint32_t stream) {
    static const uint32_t steps[2] = {0x9E3779B9u, 0xBB67AE85u};
    static const uint32_t factors[2] = {0xD2511F53u, 0xCD9E8D57u};
    JitBuild             *j = e->j;
    LLVMBuilderRef        at = j->at;
    uint32_t              counters = e->lanes / 4;
    JitValue              ramp[16], c[4], k[2];
    ASSERT(counters > 1 && counters <= LENGTH(ramp));
    for (uint32_t i = 0; i < counters; i++) ramp[i] = llvm.ConstInt(j->i64, i, false);
    JitValue shift = spread(e, llvm.ConstInt(j->i64, 32, false), counters);
    JitValue lower = spread(e, llvm.ConstInt(j->i64, UINT32_MAX, false), counters);
    JitValue first = llvm.BuildLShr(at, element, llvm.ConstInt(j->i64, 2, false), "");
    c[0] = llvm.BuildAdd(at, spread(e, first, counters), llvm.ConstVector(ramp, counters), "");
    c[1] = llvm.BuildLShr(at, c[0], shift, "");
    c[2] = spread(e, llvm.ConstInt(j->i64, stream, false), counters);
    c[3] = spread(e, llvm.ConstInt(j->i64, 0, false), counters);
    k[0] = key;
    k[1] = llvm.BuildLShr(at, key, llvm.ConstInt(j->i64, 32, false), "");
    for (int round = 0; round < 10; round++) {
        JitValue products[2], next[4];
        for (int i = 0; i < 2; i++)
            products[i] =
                llvm.BuildMul(at, llvm.BuildAnd(at, c[2 * i], lower, ""),
                              spread(e, llvm.ConstInt(j->i64, factors[i], false), counters), "");
        for (int i = 0; i < 2; i++) {
            JitValue high = llvm.BuildLShr(at, products[1 - i], shift, "");
            JitValue mixed = llvm.BuildXor(at, c[2 * i + 1], spread(e, k[i], counters), "");
            next[2 * i] = llvm.BuildXor(at, high, mixed, "");
            next[2 * i + 1] = products[1 - i];
            k[i] = llvm.BuildAdd(at, k[i], llvm.ConstInt(j->i64, steps[i], false), "");
        }
        for (int i = 0; i < 4; i++) c[i] = next[i];
    }
    for (int i = 0; i < 2; i++)
        c[i] = llvm.BuildOr(at, llvm.BuildAnd(at, c[2 * i], lower, ""),
                            llvm.BuildShl(at, c[2 * i + 1], shift, ""), "");
    JitValue all = take_turns(e, c[0], c[1], 0, 1, 2 * counters);
    return llvm.BuildBitCast(at, all, jit_vector(j->i32, e->lanes), "");
}

JitValue emit_random(Emit *e, ExprId expr) {
    JitBuild        *j = e->j;
    LLVMBuilderRef   at = j->at;
    const LoopExprs *exprs = &e->loops->exprs;
    DimId            place = {(uint32_t)exprs->word[expr.row]};
    uint32_t         stream = exprs->opcode[expr.row];
    JitValue         key = emit_expr(e, exprs->a[expr.row]), c[4];
    bool             own_key = llvm.GetTypeKind(llvm.TypeOf(key)) == LLVMVectorTypeKind;
    if (place.row == e->aligned.row && e->lanes >= 8 && e->lanes % 8 == 0 && !own_key)
        return draw_neighbours(e, emit_dim_first(e, place), key, stream);
    JitValue element = emit_dim(e, place);
    if (own_key) element = emit_splat(e, element);
    bool     vector = llvm.GetTypeKind(llvm.TypeOf(element)) == LLVMVectorTypeKind;
    uint32_t lanes = vector ? e->lanes : 1;
    JitValue two = spread(e, llvm.ConstInt(j->i64, 2, false), lanes);
    draw(e, llvm.BuildLShr(at, element, two, ""), key, stream, lanes, c);
    JitValue which = llvm.BuildTrunc(at, element, jit_vector(j->i32, lanes), "");
    which = llvm.BuildAnd(at, which, i32_splat(e, 3, lanes), "");
    JitValue chosen = c[3];
    for (uint32_t i = 3; i-- > 0;) {
        JitValue here = llvm.BuildICmp(at, LLVMIntEQ, which, i32_splat(e, i, lanes), "");
        chosen = llvm.BuildSelect(at, here, c[i], chosen, "");
    }
    return chosen;
}

#endif
