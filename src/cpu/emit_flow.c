/* The function of a loop: blocks and branches as its rows say, kernels in their places, memory of
 * its own for what is carried and for what a step computes. See emit_flow.h. */
#include "cpu/emit_flow.h"

#include <stdio.h>
#include <string.h>

#include "arena/hash.h"
#include "cpu/emit_inner.h"

#if defined(STOA_HAVE_LLVM)

#include "cpu/jit_math.h"

/* Branches on numbers go first, or dead blocks keep memory from becoming registers. */
static const char passes[] =
    "function(simplifycfg,sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,sroa,"
    "loop-mssa(loop-rotate,licm),early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg)";

typedef struct Flowing {
    JitBuild          *j;
    const EmitFlow    *f;
    JitValue           function, table; /* table: of slots */
    LLVMBasicBlockRef  entry;
    LLVMBasicBlockRef *blocks; /* by row, then the end and where a failed run goes */
    JitValue          *pools, *slots;
    JitValue          *indexes, *shown; /* by scan: an i64 in memory; the same, for called steps */
    LLVMValueRef      *scopes, *others; /* by pool, then by slot */
} Flowing;

static JitValue known(const Flowing *w, int64_t number) {
    return llvm.ConstInt(w->j->i64, (uint64_t)number, true);
}
static void stand_at(Flowing *w, LLVMBasicBlockRef at) { llvm.PositionBuilderAtEnd(w->j->at, at); }
static JitValue moved(Flowing *w, JitValue base, JitValue bytes) {
    return llvm.BuildGEP2(w->j->at, w->j->i8, base, &bytes, 1, "");
}
static JitValue memory_of(Flowing *w, uint64_t bytes) {
    JitValue memory = llvm.BuildAlloca(w->j->at, llvm.ArrayType2(w->j->i8, bytes), "");
    llvm.SetAlignment(memory, 64);
    return memory;
}
static JitValue slot_place(Flowing *w, uint32_t slot) {
    JitValue at = known(w, slot);
    return llvm.BuildInBoundsGEP2(w->j->at, w->j->ptr, w->table, &at, 1, "");
}
static JitValue address(Flowing *w, EmitAt at) { // as deep as scans nest
    const EmitMoving *moving = &w->f->moving[at.slot];
    JitValue          base = w->slots[at.slot];
    if (at.slot == 0) {
        base = w->pools[at.pool];
    } else if (moving->scan != 0) {
        JitValue index = w->indexes[moving->scan - 1];
        base = index;
        if (!moving->index) {
            index = llvm.BuildLoad2(w->j->at, w->j->i64, index, "");
            base = moved(w, address(w, moving->from),
                         llvm.BuildMul(w->j->at, index, known(w, moving->step), ""));
        }
    }
    return at.offset == 0 ? base : moved(w, base, known(w, at.offset));
}
static void copy(Flowing *w, JitValue to, JitValue from, int64_t bytes) {
    JitType  types[3] = {w->j->ptr, w->j->ptr, w->j->i64};
    JitValue args[4] = {to, from, known(w, bytes), llvm.ConstInt(w->j->i1, 0, false)};
    (void)jit_intrinsic(w->j, "llvm.memcpy", types, 3, args, 4);
}

/* --- memory ----------------------------------------------------------------------------------- */
/* Pools and slots never overlap, in the whole loop. */
static void describe_aliases(Flowing *w) {
    JitBuild        *j = w->j;
    uint32_t         count = w->f->pools_count + w->f->slots_count;
    LLVMMetadataRef  name = llvm.MDStringInContext2(j->context, "memory", 6);
    LLVMMetadataRef  domain = llvm.MDNodeInContext2(j->context, &name, 1);
    LLVMMetadataRef *scopes = ARENA_ARRAY(j->arena, LLVMMetadataRef, count + 1);
    LLVMMetadataRef *list = ARENA_ARRAY(j->arena, LLVMMetadataRef, count + 1);
    bool            *used = ARENA_ARRAY_ZERO(j->arena, bool, count + 1);
    w->scopes = ARENA_ARRAY_ZERO(j->arena, LLVMValueRef, count + 1);
    w->others = ARENA_ARRAY_ZERO(j->arena, LLVMValueRef, count + 1);
    for (uint32_t i = 0; i < w->f->pools_count; i++) used[i] = true;
    for (uint32_t i = 1; i < w->f->slots_count; i++)
        used[w->f->pools_count + i] = w->slots[i] != NULL && w->f->root[i] == i;
    for (uint32_t i = 0; i < count; i++) {
        char            text[16];
        int             length = snprintf(text, sizeof text, "m%u", i);
        LLVMMetadataRef parts[2] = {llvm.MDStringInContext2(j->context, text, (size_t)length),
                                    domain};
        if (used[i]) scopes[i] = llvm.MDNodeInContext2(j->context, parts, 2);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t others = 0;
        for (uint32_t k = 0; used[i] && k < count; k++)
            if (k != i && used[k]) list[others++] = scopes[k];
        if (!used[i]) continue;
        w->scopes[i] =
            llvm.MetadataAsValue(j->context, llvm.MDNodeInContext2(j->context, &scopes[i], 1));
        w->others[i] =
            llvm.MetadataAsValue(j->context, llvm.MDNodeInContext2(j->context, list, others));
    }
}
static uint32_t region_of(const Flowing *w, EmitAt at) {
    uint32_t root = w->f->root[at.slot];
    if (at.slot == 0) return at.pool;
    return root == 0 ? w->f->root_pool[at.slot] : w->f->pools_count + root;
}
static void note_slot(Flowing *w, EmitAt at) { // as deep as scans nest
    const EmitMoving *moving = &w->f->moving[at.slot];
    if (moving->scan != 0 && !moving->index) note_slot(w, moving->from);
    if (moving->scan != 0 || w->slots[at.slot] != NULL) return;
    w->slots[at.slot] = llvm.BuildLoad2(w->j->at, w->j->ptr, slot_place(w, at.slot), "");
}
static void pass(Flowing *w, bool in) {
    for (uint32_t i = 0; i < w->f->passing_count; i++) {
        const EmitPassing *p = &w->f->passing[i];
        if (!(in ? p->in : p->out)) continue;
        JitValue here = moved(w, w->pools[p->pool], known(w, (int64_t)p->offset));
        JitValue there =
            moved(w, w->slots[0], known(w, (int64_t)(w->f->pools[p->pool].first + p->offset)));
        copy(w, in ? here : there, in ? there : here, (int64_t)p->bytes);
    }
}
static uint32_t args_of(const Flowing *w, const EmitRow *row) {
    if (row->kind == EMIT_KERNEL) return w->f->loops->kernels.buffers_count[row->code.row];
    return row->kind == EMIT_COPY ? 2 : row->kind == EMIT_UNLESS ? 1 : 0;
}
static void open_memory(Flowing *w) {
    const EmitFlow *f = w->f;
    w->pools = ARENA_ARRAY_ZERO(w->j->arena, JitValue, f->pools_count + 1);
    w->slots = ARENA_ARRAY_ZERO(w->j->arena, JitValue, f->slots_count + 1);
    w->indexes = ARENA_ARRAY_ZERO(w->j->arena, JitValue, f->scans_count + 1);
    w->shown = ARENA_ARRAY_ZERO(w->j->arena, JitValue, f->scans_count + 1);
    w->slots[0] = llvm.BuildLoad2(w->j->at, w->j->ptr, slot_place(w, 0), "");
    for (uint32_t i = 0; i < f->pools_count; i++)
        w->pools[i] = f->pools[i].local
                          ? memory_of(w, f->pools[i].last - f->pools[i].first)
                          : moved(w, w->slots[0], known(w, (int64_t)f->pools[i].first));
    for (uint32_t i = 0; i < f->scans_count; i++) {
        w->indexes[i] = llvm.BuildAlloca(w->j->at, w->j->i64, "");
        w->shown[i] = llvm.BuildAlloca(w->j->at, w->j->i64, "");
    }
    for (uint32_t i = 0; i < f->rows_count; i++)
        for (uint32_t k = 0; k < args_of(w, &f->rows[i]); k++)
            if (f->rows[i].bytes == NULL || f->rows[i].kind == EMIT_COPY ||
                f->rows[i].bytes[k] == 0)
                note_slot(w, f->rows[i].args[k]);
    for (uint32_t i = 1; i < f->slots_count; i++)
        if (f->moving[i].told && !f->moving[i].index) note_slot(w, f->moving[i].from);
    describe_aliases(w);
}

/* --- rows ------------------------------------------------------------------------------------- */
static void put_kernel(Flowing *w, const EmitRow *row) {
    Arena        *arena = w->j->arena;
    uint32_t      count = args_of(w, row);
    JitValue     *buffers = ARENA_ARRAY_ZERO(arena, JitValue, count + 1);
    LLVMValueRef *scopes = ARENA_ARRAY_ZERO(arena, LLVMValueRef, count + 1);
    LLVMValueRef *others = ARENA_ARRAY_ZERO(arena, LLVMValueRef, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t buffer = w->f->loops->kernels.buffers_first[row->code.row] + i;
        uint8_t  scope = w->f->loops->buffers.scope[buffer];
        if (scope == SCOPE_REG) continue;
        if (scope == SCOPE_ARG) {
            uint32_t region = region_of(w, row->args[i]);
            buffers[i] = address(w, row->args[i]);
            scopes[i] = w->scopes[region];
            others[i] = w->others[region];
            continue;
        }
        LLVMBasicBlockRef here = llvm.GetInsertBlock(w->j->at);
        stand_at(w, w->entry);
        buffers[i] = memory_of(w, (uint64_t)row->bytes[i]);
        stand_at(w, here);
    }
    for (uint32_t i = 0; i < row->kernel->phases_count; i++) {
        const EmitPhase *phase = &row->kernel->phases[i];
        EmitInline       part = {.source = phase->source,
                                 .params = row->params,
                                 .function = w->function,
                                 .entry = w->entry,
                                 .buffers = buffers,
                                 .scopes = scopes,
                                 .others = others};
        part.extent = emit_turns(w->f->loops, row->code, phase, row->params).extent;
        emit_inline(w->j, &part);
    }
}
/* A step: its function and what it is given stand in the table. */
static void put_calls(Flowing *w, const EmitRow *row) {
    JitBuild *j = w->j;
    JitType   types[2] = {j->ptr, j->ptr};
    JitType   type = llvm.FunctionType(llvm.VoidTypeInContext(j->context), types, 2, false);
    for (uint32_t i = row->first; i < row->first + row->count; i++) {
        JitValue step = moved(w, llvm.GetParam(w->function, 2), known(w, i * w->f->step_bytes));
        JitValue fn = moved(w, step, known(w, w->f->step_fn));
        JitValue params = moved(w, step, known(w, w->f->step_params));
        fn = llvm.BuildLoad2(j->at, j->ptr, fn, "");
        params = llvm.BuildLoad2(j->at, j->ptr, params, "");
        JitValue args[2] = {params, llvm.GetParam(w->function, 1)};
        (void)llvm.BuildCall2(j->at, type, fn, args, 2, "");
    }
    if (!row->fails) return;
    JitValue failed = llvm.BuildLoad2(j->at, j->i32, llvm.GetParam(w->function, 3), "");
    failed = llvm.BuildICmp(j->at, LLVMIntNE, failed, llvm.ConstInt(j->i32, 0, false), "");
    LLVMBasicBlockRef on = llvm.AppendBasicBlockInContext(j->context, w->function, "");
    llvm.BuildCondBr(j->at, failed, w->blocks[w->f->rows_count + 1], on);
    stand_at(w, on);
}
static void put_unless(Flowing *w, const EmitRow *row, uint32_t at) {
    JitBuild *j = w->j;
    JitValue  from = address(w, row->args[0]), goes;
    if (!row->cases) {
        JitValue number = llvm.BuildLoad2(j->at, j->i8, from, "");
        goes = llvm.BuildICmp(j->at, LLVMIntNE, number, llvm.ConstInt(j->i8, 0, false), "");
    } else {
        JitValue number = llvm.BuildLoad2(j->at, j->i64, from, "");
        JitValue low[2] = {number, known(w, 0)};
        number = jit_intrinsic(j, "llvm.smax", &j->i64, 1, low, 2);
        JitValue high[2] = {number, known(w, row->last)};
        number = jit_intrinsic(j, "llvm.smin", &j->i64, 1, high, 2);
        goes = llvm.BuildICmp(j->at, LLVMIntEQ, number, known(w, row->which), "");
    }
    llvm.BuildCondBr(j->at, goes, w->blocks[at + 1], w->blocks[row->target]);
}
/* Where called steps find the rows of a scan. */
static void tell(Flowing *w, const EmitRow *row, JitValue index) {
    for (uint32_t slot = 1; slot < w->f->slots_count; slot++) {
        const EmitMoving *moving = &w->f->moving[slot];
        if (moving->scan != row->scan + 1 || !moving->told) continue;
        JitValue at = w->shown[row->scan];
        if (moving->index)
            (void)llvm.BuildStore(w->j->at, index, at);
        else
            at = address(w, (EmitAt){.slot = slot});
        (void)llvm.BuildStore(w->j->at, at, slot_place(w, slot));
    }
}
static void put_scan(Flowing *w, const EmitRow *row, uint32_t at) {
    JitValue index = known(w, row->reverse ? row->length - 1 : 0);
    if (row->length > 0) {
        (void)llvm.BuildStore(w->j->at, index, w->indexes[row->scan]);
        tell(w, row, index);
    }
    llvm.BuildBr(w->j->at, w->blocks[row->length > 0 ? at + 1 : row->target]);
}
static void put_next(Flowing *w, const EmitRow *row, uint32_t at) {
    JitBuild *j = w->j;
    JitValue  place = w->indexes[row->scan];
    JitValue  index = llvm.BuildLoad2(j->at, j->i64, place, "");
    index = llvm.BuildNSWAdd(j->at, index, known(w, row->reverse ? -1 : 1), "");
    (void)llvm.BuildStore(j->at, index, place);
    tell(w, row, index);
    JitValue more = llvm.BuildICmp(j->at, row->reverse ? LLVMIntSGE : LLVMIntSLT, index,
                                   known(w, row->reverse ? 0 : row->length), "");
    llvm.BuildCondBr(j->at, more, w->blocks[row->target], w->blocks[at + 1]);
}
static void put_row(Flowing *w, uint32_t at) {
    const EmitRow *row = &w->f->rows[at];
    stand_at(w, w->blocks[at]);
    switch (row->kind) {
    case EMIT_KERNEL: put_kernel(w, row); break;
    case EMIT_COPY:
        copy(w, address(w, row->args[1]), address(w, row->args[0]), row->bytes[0]);
        break;
    case EMIT_CALL: put_calls(w, row); break;
    case EMIT_UNLESS: put_unless(w, row, at); return;
    case EMIT_JUMP: llvm.BuildBr(w->j->at, w->blocks[row->target]); return;
    case EMIT_SCAN: put_scan(w, row, at); return;
    case EMIT_NEXT: put_next(w, row, at); return;
    default: break;
    }
    llvm.BuildBr(w->j->at, w->blocks[at + 1]);
}

bool emit_flow_build(JitBuild *build, const void *context) {
    const EmitFlow *f = context;
    Flowing         w = {.j = build, .f = f};
    JitType         types[4] = {build->ptr, build->ptr, build->ptr, build->ptr};
    w.function = jit_function(build, types, 4);
    w.entry = llvm.GetInsertBlock(build->at);
    w.table = llvm.GetParam(w.function, 0);
    w.blocks = ARENA_ARRAY(build->arena, LLVMBasicBlockRef, f->rows_count + 2);
    open_memory(&w);
    pass(&w, true);
    for (uint32_t i = 0; i < f->rows_count + 2; i++)
        w.blocks[i] = llvm.AppendBasicBlockInContext(build->context, w.function, "");
    for (uint32_t i = 0; i < f->rows_count; i++) put_row(&w, i);
    stand_at(&w, w.blocks[f->rows_count]);
    pass(&w, false);
    llvm.BuildBr(build->at, w.blocks[f->rows_count + 1]);
    stand_at(&w, w.blocks[f->rows_count + 1]);
    llvm.BuildRetVoid(build->at);
    stand_at(&w, w.entry);
    llvm.BuildBr(build->at, w.blocks[0]);
    return true;
}

#else
static const char passes[] = "";
bool              emit_flow_build(JitBuild *build, const void *context) {
                 return (void)build, (void)context, false;
}
#endif

EmitFlowFn *emit_flow(Jit *jit, const EmitFlow *flow, const uint64_t hash[2], Diags *diags) {
    uint64_t    seed = hash_mix(EMIT_VERSION, hash_bytes(passes, strlen(passes), 0));
    JitKernel   job = {.name = "loop",
                       .content = {hash_mix(hash[0], seed), hash_mix(hash[1], seed)},
                       .build = emit_flow_build,
                       .context = flow,
                       .passes = passes};
    EmitFlowFn *run = NULL;
    if (jit_compile(jit, NULL, &job, 1, diags) == STATUS_OK) memcpy(&run, &job.entry, sizeof run);
    return run;
}
