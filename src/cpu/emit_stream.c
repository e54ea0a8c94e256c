/* Stores past the caches. A store to a line that is not in a cache reads the line first; where an
 * array is too large for anybody to find it in the caches again, that is a third of the traffic
 * of a copy. Whether it is depends on sizes, so both kinds of store are written and one test a
 * vector decides: the place must be aligned, the array large, and not over an operand, whose
 * lines have just been read. Copies of 16 MiB and more run 1.5 to 1.9 times as fast (note 0014);
 * short rows with gaps between them are left alone, since their lines would leave half full. */
#include "cpu/emit_inner.h"

#include <string.h>

#if defined(STOA_HAVE_LLVM)

enum { ROW_BYTES_LEAST = 1024 };

bool emit_streams(const Emit *e, uint32_t row, uint32_t bytes) {
    const Dims *dims = &e->loops->dims;
    DimId       extent = e->loops->nodes.extent[row];
    if (e->j->machine->stream_bytes == 0) return false;
    return !dims_is_const(dims, extent) ||
           dims_const_value(dims, extent) * (int64_t)bytes >= ROW_BYTES_LEAST;
}

/* By buffer: an i64 whose last bit says that stores must not go past the caches; NULL: never. */
void emit_find_streams(Emit *e) {
    JitBuild          *j = e->j;
    const LoopBuffers *buffers = &e->loops->buffers;
    uint32_t           first = e->loops->kernels.buffers_first[e->s->kernel.row];
    uint32_t           count = e->loops->kernels.buffers_count[e->s->kernel.row];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = first + i, bytes = dtype_bytes((Dtype)buffers->dtype[row]);
        if (!e->s->stored[i] || e->s->loaded[i] || buffers->scope[row] != SCOPE_ARG) continue;
        JitValue least = llvm.ConstInt(j->i64, j->machine->stream_bytes / bytes, false);
        JitValue near =
            llvm.BuildICmp(j->at, LLVMIntSLT, emit_dim(e, e->s->elements[i]), least, "");
        for (uint32_t k = 0; k < count && k < 64; k++) {
            if (!(buffers->shares[row] >> k & 1)) continue;
            JitValue over = llvm.BuildICmp(j->at, LLVMIntEQ, e->buffers[i], e->buffers[k], "");
            near = llvm.BuildOr(j->at, near, over, "");
        }
        e->near[i] = llvm.BuildZExt(j->at, near, j->i64, "");
    }
}

/* Two blocks, one for each kind of store; the builder goes on after them. */
void emit_store_past(Emit *e, JitValue packed, JitValue to, JitValue near, JitValue out_stores[2]) {
    JitBuild *j = e->j;
    uint32_t  align = j->machine->vector_bytes;
    JitValue  bits = llvm.BuildOr(j->at, llvm.BuildPtrToInt(j->at, to, j->i64, ""), near, "");
    LLVMBasicBlockRef blocks[3];
    for (int i = 0; i < 3; i++)
        blocks[i] = llvm.AppendBasicBlockInContext(j->context, e->function, "");
    bits = llvm.BuildAnd(j->at, bits, llvm.ConstInt(j->i64, align - 1, false), "");
    JitValue past = llvm.BuildICmp(j->at, LLVMIntEQ, bits, llvm.ConstInt(j->i64, 0, false), "");
    llvm.BuildCondBr(j->at, past, blocks[0], blocks[1]);
    for (int i = 0; i < 2; i++) {
        llvm.PositionBuilderAtEnd(j->at, blocks[i]);
        out_stores[i] = llvm.BuildStore(j->at, packed, to);
        llvm.BuildBr(j->at, blocks[2]);
    }
    LLVMMetadataRef one = llvm.ValueAsMetadata(llvm.ConstInt(j->i32, 1, false));
    llvm.SetMetadata(out_stores[0], llvm.GetMDKindIDInContext(j->context, "nontemporal", 11),
                     llvm.MetadataAsValue(j->context, llvm.MDNodeInContext2(j->context, &one, 1)));
    llvm.SetAlignment(out_stores[0], align);
    llvm.PositionBuilderAtEnd(j->at, blocks[2]);
    e->streamed = true;
}

/* Stores past the caches are in no order: others may see the memory only after this. */
void emit_end_streams(Emit *e) {
    if (e->streamed) (void)jit_intrinsic(e->j, "llvm.x86.sse.sfence", NULL, 0, NULL, 0);
}

/* --- loads ahead ------------------------------------------------------------------------------ */
/* Processors fetch ahead while memory is walked in a row, but not into the next page: kernels that
 * go over each row several times wait at the beginning of each. */
typedef struct Loads {
    bool    *loaded; /* by buffer */
    uint8_t *seen;
} Loads;
static void expr_loads(Emit *e, ExprId root, Loads *loads) {
    const LoopExprs *exprs = &e->loops->exprs;
    uint32_t         row = root.row;
    if (row == 0 || loads->seen[row]) return;
    loads->seen[row] = 1;
    if (exprs->kind[row] == EXPR_LOAD) {
        uint32_t first = e->loops->kernels.buffers_first[e->s->kernel.row];
        loads->loaded[access_buffer(exprs->word[row]).row - first] = true;
    }
    expr_loads(e, exprs->a[row], loads);
    expr_loads(e, exprs->b[row], loads);
    expr_loads(e, exprs->c[row], loads);
}
static Loads find_loads(Emit *e, uint32_t first, uint32_t last) {
    const LoopNodes *nodes = &e->loops->nodes;
    uint32_t         buffers = e->loops->kernels.buffers_count[e->s->kernel.row];
    Loads            loads;
    loads.loaded = ARENA_ARRAY_ZERO(e->j->arena, bool, buffers + 1);
    loads.seen = ARENA_ARRAY_ZERO(e->j->arena, uint8_t, e->loops->exprs.table.count);
    for (uint32_t row = first; row < last; row++) {
        if (nodes->kind[row] == NODE_LOOP) continue;
        expr_loads(e, nodes->value[row], &loads);
        expr_loads(e, nodes->guard[row], &loads);
    }
    return loads;
}
/* Of the nodes [first, last) of a loop that load a buffer, if there are several, the last one, here
 * that of a vector loop, loads ahead. Rows that are read once are better left to the processor. */
void emit_find_ahead(Emit *e, uint32_t row, uint32_t first, uint32_t last) {
    uint32_t count = e->loops->kernels.buffers_count[e->s->kernel.row];
    uint32_t buffers = e->loops->kernels.buffers_first[e->s->kernel.row];
    memset(e->ahead, 0, count);
    if (!dim_id_some(e->outer)) return;
    Loads before = find_loads(e, first, row);
    Loads after = find_loads(e, row + e->loops->nodes.size[row], last);
    for (uint32_t i = 0; i < count; i++)
        e->ahead[i] = before.loaded[i] && !after.loaded[i] &&
                      e->loops->buffers.scope[buffers + i] == SCOPE_ARG;
}
/* Asks for the lines that a load of `bytes` will need in the next turn of the loop outside. */
void emit_load_ahead(Emit *e, LoopAccess access, JitValue from, uint32_t bytes) {
    JitBuild        *j = e->j;
    const Dims      *dims = &e->loops->dims;
    uint32_t         width = dtype_bytes((Dtype)e->loops->buffers.dtype[access_buffer(access).row]);
    const EmitPlace *place = emit_place(e->s, emit_address(e->s, access), e->outer);
    if (!place->varies || !place->linear) return;
    bool known = dims_is_const(dims, place->coefficient);
    if (known && dims_const_value(dims, place->coefficient) * width < ROW_BYTES_LEAST) return;
    JitValue step = llvm.BuildMul(j->at, emit_dim(e, place->coefficient),
                                  llvm.ConstInt(j->i64, width, false), "");
    for (uint32_t at = 0; at < bytes; at += 64) {
        JitValue line = llvm.BuildAdd(j->at, step, llvm.ConstInt(j->i64, at, false), "");
        JitValue to = llvm.BuildGEP2(j->at, j->i8, from, &line, 1, "");
        JitValue args[4] = {to, llvm.ConstInt(j->i32, 0, false), llvm.ConstInt(j->i32, 3, false),
                            llvm.ConstInt(j->i32, 1, false)}; /* to read, soon, data */
        (void)jit_intrinsic(j, "llvm.prefetch", &j->ptr, 1, args, 4);
    }
}
#endif
