/* Stores past the caches. A store to a line that is not in a cache reads the line first; where an
 * array is too large for anybody to find it in the caches again, that is a third of the traffic
 * of a copy. Whether it is depends on sizes, so both kinds of store are written and one test a
 * vector decides: the place must be aligned, the array large, and not over an operand, whose
 * lines have just been read. Copies of 16 MiB and more run 1.5 to 1.9 times as fast (note 0014);
 * short rows with gaps between them are left alone, since their lines would leave half full. */
#include "cpu/emit_inner.h"

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
#endif
