/* One kernel through LLVM: a context, a module, the build function, the passes, an object.
 *
 * Each kernel has a context of its own, so lanes share nothing and constants of one kernel do not
 * pile up for the next. The passes are a short list, because emitters write vectors, addresses
 * and loops as they should be: what is left is to fold, share and hoist (note 0006 has the
 * comparison with LLVM's own -O2).
 *
 * LLVM reports most failures through return values and a handler of the context. Its fatal ones
 * would end the process; fatal() jumps out of them instead, which leaves LLVM's own locks and
 * memory in an unknown state, so from then on nothing is compiled in this process. The handler is
 * LLVM's, one a process: it is ours only while a batch runs. */
#include "cpu/jit_inner.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

void jit_emitted_fail(JitEmitted *emitted, Status status, const char *why) {
    if (emitted->status != STATUS_OK) return; /* the first reason counts */
    emitted->status = status;
    (void)snprintf(emitted->why, sizeof emitted->why, "%s", why);
}

#if defined(STOA_HAVE_LLVM)

#include "arena/os.h"
#include "cpu/jit_build.h"

const char jit_emit_passes[] =
    "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),"
    "early-cse)";

/* --- failures --------------------------------------------------------------------------------- */

static _Atomic uint32_t       emit_batches; /* begun and not ended */
static _Atomic uint32_t       emit_broken;  /* LLVM was left by a jump */
static _Thread_local jmp_buf *emit_jump;
static _Thread_local char     emit_fatal[200];

static void fatal(const char *reason) {
    if (emit_jump == NULL) return; /* not ours: LLVM goes on to end the process */
    (void)snprintf(emit_fatal, sizeof emit_fatal, "%s", reason);
    atomic_store(&emit_broken, 1);
    longjmp(*emit_jump, 1);
}
void jit_emit_begin(void) {
    if (atomic_fetch_add(&emit_batches, 1) == 0) llvm.InstallFatalErrorHandler(fatal);
}
void jit_emit_end(void) {
    if (atomic_fetch_sub(&emit_batches, 1) == 1) llvm.ResetFatalErrorHandler();
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *context) {
    if (llvm.GetDiagInfoSeverity(info) != LLVMDSError) return;
    char *text = llvm.GetDiagInfoDescription(info);
    jit_emitted_fail(context, STATUS_INVALID, text);
    llvm.DisposeMessage(text);
}

/* --- the target ------------------------------------------------------------------------------- */

static LLVMTargetMachineRef machine_open(JitLevel level, LLVMTargetRef target) {
    static const char *const cpus[JIT_LEVELS] = {NULL, "x86-64", "haswell", "x86-64-v4"};
    char                    *cpu = level == JIT_HOST ? llvm.GetHostCPUName() : NULL;
    char                    *features = level == JIT_HOST ? llvm.GetHostCPUFeatures() : NULL;
    LLVMTargetMachineRef     machine = llvm.CreateTargetMachine(
            target, "x86_64-unknown-linux-gnu", cpu ? cpu : cpus[level], features ? features : "",
            LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    if (cpu) llvm.DisposeMessage(cpu);
    if (features) llvm.DisposeMessage(features);
    return machine;
}

/* An emitter is a target machine and nothing else. */
static LLVMTargetMachineRef machine_of(JitEmitter *emitter) {
    return (LLVMTargetMachineRef)(void *)emitter;
}
JitEmitter *jit_emitter_open(JitLevel level) {
    LLVMTargetRef target = NULL;
    char         *error = NULL;
    if (llvm.GetTargetFromTriple("x86_64-unknown-linux-gnu", &target, &error) != 0) {
        llvm.DisposeMessage(error);
        return NULL;
    }
    return (JitEmitter *)(void *)machine_open(level, target);
}
void jit_emitter_close(JitEmitter *emitter) {
    if (emitter) llvm.DisposeTargetMachine(machine_of(emitter));
}

/* --- one module ------------------------------------------------------------------------------- */

typedef struct Emission {
    LLVMTargetMachineRef machine;
    JitBuild             build;
    JitEmitted          *emitted;
} Emission;

static void emission_open(Emission *e, bool names) {
    JitBuild      *build = &e->build;
    LLVMContextRef context = llvm.ContextCreate();
    build->context = context;
    llvm.ContextSetDiscardValueNames(context, !names);
    llvm.ContextSetDiagnosticHandler(context, on_diagnostic, e->emitted);
    build->module = llvm.ModuleCreateWithNameInContext("stoa", context);
    build->at = llvm.CreateBuilderInContext(context);
    llvm.SetTarget(build->module, "x86_64-unknown-linux-gnu");
    LLVMTargetDataRef layout = llvm.CreateTargetDataLayout(e->machine);
    llvm.SetModuleDataLayout(build->module, layout);
    llvm.DisposeTargetData(layout);
    build->i1 = llvm.Int1TypeInContext(context);
    build->i8 = llvm.Int8TypeInContext(context);
    build->i16 = llvm.Int16TypeInContext(context);
    build->i32 = llvm.Int32TypeInContext(context);
    build->i64 = llvm.Int64TypeInContext(context);
    build->f16 = llvm.HalfTypeInContext(context);
    build->f32 = llvm.FloatTypeInContext(context);
    build->f64 = llvm.DoubleTypeInContext(context);
    build->ptr = llvm.PointerTypeInContext(context, 0);
}
static void emission_close(Emission *e) {
    if (e->build.at) llvm.DisposeBuilder(e->build.at);
    if (e->build.module) llvm.DisposeModule(e->build.module);
    if (e->build.context) llvm.ContextDispose(e->build.context);
    e->build = (JitBuild){0};
}

static void module_build(Emission *e, const JitKernel *kernel) {
    Scratch scratch = scratch_begin(NULL, 0);
    e->build.arena = scratch.arena;
    bool built = kernel->build(&e->build, kernel->context);
    scratch_end(scratch);
    if (!built)
        jit_emitted_fail(e->emitted, STATUS_INVALID,
                         e->build.why ? e->build.why : "it was not built");
    else if (!llvm.GetNamedFunction(e->build.module, JIT_ENTRY))
        jit_emitted_fail(e->emitted, STATUS_INVALID, "its module has no function " JIT_ENTRY);
    char *error = NULL;
    if (STOA_CHECKED && llvm.VerifyModule(e->build.module, LLVMReturnStatusAction, &error) != 0)
        jit_emitted_fail(e->emitted, STATUS_INVALID, error);
    if (error) llvm.DisposeMessage(error);
}

/* Loops are written as vectors already: neither loops nor straight lines are vectorised again. */
static void module_optimise(Emission *e, const char *passes) {
    if (e->emitted->status != STATUS_OK) return;
    LLVMPassBuilderOptionsRef options = llvm.CreatePassBuilderOptions();
    llvm.PassBuilderOptionsSetLoopVectorization(options, false);
    llvm.PassBuilderOptionsSetSLPVectorization(options, false);
    llvm.PassBuilderOptionsSetLoopInterleaving(options, false);
    llvm.PassBuilderOptionsSetLoopUnrolling(options, false);
    LLVMErrorRef error =
        llvm.RunPasses(e->build.module, passes ? passes : jit_emit_passes, e->machine, options);
    llvm.DisposePassBuilderOptions(options);
    if (error == NULL) return;
    char *text = llvm.GetErrorMessage(error);
    jit_emitted_fail(e->emitted, STATUS_INVALID, text);
    llvm.DisposeErrorMessage(text);
}

static void module_generate(Emission *e, LLVMCodeGenFileType type) {
    if (e->emitted->status != STATUS_OK) return;
    LLVMMemoryBufferRef buffer = NULL;
    char               *error = NULL;
    if (llvm.TargetMachineEmitToMemoryBuffer(e->machine, e->build.module, type, &error, &buffer) !=
        0) {
        jit_emitted_fail(e->emitted, STATUS_INVALID, error);
        llvm.DisposeMessage(error);
    } else {
        e->emitted->buffer = buffer;
        e->emitted->object = (String){llvm.GetBufferStart(buffer), llvm.GetBufferSize(buffer)};
    }
}

static uint32_t us_since(uint64_t *mark_ns) {
    uint64_t now = os_clock_ns(), passed = now - *mark_ns;
    *mark_ns = now;
    return (uint32_t)(passed / 1000);
}

/* What is done with a module, up to a stage. */
static void emission_run(Emission *e, const JitKernel *kernel, JitStage stage, bool object) {
    uint64_t mark = os_clock_ns();
    emission_open(e, !object);
    module_build(e, kernel);
    e->emitted->build_us = us_since(&mark);
    if (stage == JIT_STAGE_BUILT) return;
    module_optimise(e, kernel->passes);
    e->emitted->optimise_us = us_since(&mark);
    if (stage == JIT_STAGE_OPTIMISED) return;
    module_generate(e, object ? LLVMObjectFile : LLVMAssemblyFile);
    e->emitted->generate_us = us_since(&mark);
}

/* Runs under both ways out: LLVM's fatal errors and a full arena. */
static void emission_guarded(Emission *e, const JitKernel *kernel, JitStage stage, bool object) {
    jmp_buf    jump;
    ArenaGuard guard;
    if (atomic_load(&emit_broken)) {
        jit_emitted_fail(e->emitted, STATUS_UNSUPPORTED, "LLVM failed before in this process");
        return;
    }
    if (!ARENA_GUARD(&guard)) {
        emit_jump = NULL;
        jit_emitted_fail(e->emitted, STATUS_OUT_OF_MEMORY, arena_guard_failure().arena);
        return;
    }
    if (setjmp(jump) == 0) {
        emit_jump = &jump;
        emission_run(e, kernel, stage, object);
    } else { /* what LLVM held is lost */
        e->build = (JitBuild){0};
        jit_emitted_fail(e->emitted, STATUS_UNSUPPORTED, emit_fatal);
    }
    emit_jump = NULL;
    arena_guard_end(&guard);
}

void jit_emit(JitEmitter *emitter, const JitMachine *facts, const JitKernel *kernel,
              JitEmitted *out_emitted) {
    *out_emitted = (JitEmitted){.status = STATUS_OK};
    Emission e = {machine_of(emitter), {.machine = facts}, out_emitted};
    emission_guarded(&e, kernel, JIT_STAGE_ASSEMBLY, true);
    emission_close(&e);
}
void jit_emit_free(JitEmitted *emitted) {
    if (emitted->buffer) llvm.DisposeMemoryBuffer(emitted->buffer);
    emitted->buffer = NULL;
    emitted->object = (String){0};
}

Status jit_emit_text(JitEmitter *emitter, const JitMachine *facts, const JitKernel *kernel,
                     JitStage stage, Arena *out, JitEmitted *out_emitted, String *out_text) {
    *out_emitted = (JitEmitted){.status = STATUS_OK};
    *out_text = (String){0};
    Emission e = {machine_of(emitter), {.machine = facts}, out_emitted};
    emission_guarded(&e, kernel, stage, false);
    if (out_emitted->status == STATUS_OK && stage == JIT_STAGE_ASSEMBLY) {
        *out_text = str_copy(out, out_emitted->object);
    } else if (out_emitted->status == STATUS_OK) {
        char *text = llvm.PrintModuleToString(e.build.module);
        *out_text = str_copy(out, str_of(text));
        llvm.DisposeMessage(text);
    }
    jit_emit_free(out_emitted);
    emission_close(&e);
    return out_emitted->status;
}

/* --- for emitters (jit_build.h) --------------------------------------------------------------- */

JitType jit_vector(JitType element, uint32_t lanes) {
    ASSERT(lanes > 0);
    return lanes == 1 ? element : llvm.VectorType(element, lanes);
}

static void attribute_add(JitBuild *build, JitValue function, const char *name, const char *value) {
    LLVMAttributeRef attribute =
        value ? llvm.CreateStringAttribute(build->context, name, (unsigned)strlen(name), value,
                                           (unsigned)strlen(value))
              : llvm.CreateEnumAttribute(build->context,
                                         llvm.GetEnumAttributeKindForName(name, strlen(name)), 0);
    llvm.AddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
}

static void function_begin(JitBuild *build, JitValue function) {
    const char *width = build->machine->vector_bytes == 64 ? "512" : "256";
    attribute_add(build, function, "nounwind", NULL);
    attribute_add(build, function, "no-builtins", "");
    attribute_add(build, function, "prefer-vector-width", width);
    attribute_add(build, function, "min-legal-vector-width", width);
    LLVMBasicBlockRef entry = llvm.AppendBasicBlockInContext(build->context, function, "entry");
    llvm.PositionBuilderAtEnd(build->at, entry);
}
JitValue jit_function(JitBuild *build, const JitType *parameters, uint32_t count) {
    JitType types[16];
    ASSERT(count <= LENGTH(types));
    for (uint32_t i = 0; i < count; i++) types[i] = parameters[i];
    JitType  type = llvm.FunctionType(llvm.VoidTypeInContext(build->context), types, count, false);
    JitValue function = llvm.AddFunction(build->module, JIT_ENTRY, type);
    function_begin(build, function);
    return function;
}
JitValue jit_helper(JitBuild *build, const char *name, JitType type) {
    JitValue function = llvm.AddFunction(build->module, name, type);
    llvm.SetLinkage(function, LLVMInternalLinkage);
    attribute_add(build, function, "noinline", NULL);
    attribute_add(build, function, "cold", NULL);
    function_begin(build, function);
    return function;
}

JitValue jit_constants(JitBuild *build, JitType element, JitValue *values, uint32_t count,
                       uint32_t align) {
    JitType  type = llvm.ArrayType2(element, count);
    JitValue global = llvm.AddGlobal(build->module, type, "table");
    llvm.SetInitializer(global, llvm.ConstArray2(element, values, count));
    llvm.SetGlobalConstant(global, true);
    llvm.SetLinkage(global, LLVMPrivateLinkage);
    llvm.SetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
    llvm.SetAlignment(global, align);
    return global;
}

JitValue jit_intrinsic(JitBuild *build, const char *name, const JitType *types,
                       uint32_t types_count, JitValue *args, uint32_t args_count) {
    JitType overloads[4];
    ASSERT(types_count <= LENGTH(overloads));
    for (uint32_t i = 0; i < types_count; i++) overloads[i] = types[i];
    unsigned id = llvm.LookupIntrinsicID(name, strlen(name));
    ASSERT(id != 0);
    JitValue function = llvm.GetIntrinsicDeclaration(build->module, id, overloads, types_count);
    JitType  type = llvm.IntrinsicGetType(build->context, id, overloads, types_count);
    return llvm.BuildCall2(build->at, type, function, args, args_count, "");
}

#else

const char jit_emit_passes[] = "";

JitEmitter *jit_emitter_open(JitLevel level) { return (void)level, NULL; }
void        jit_emitter_close(JitEmitter *emitter) { (void)emitter; }
void        jit_emit(JitEmitter *emitter, const JitMachine *facts, const JitKernel *kernel,
                     JitEmitted *out_emitted) {
           (void)emitter, (void)facts, (void)kernel;
           *out_emitted = (JitEmitted){.status = STATUS_UNSUPPORTED};
}
void   jit_emit_free(JitEmitted *emitted) { (void)emitted; }
Status jit_emit_text(JitEmitter *emitter, const JitMachine *facts, const JitKernel *kernel,
                     JitStage stage, Arena *out, JitEmitted *out_emitted, String *out_text) {
    (void)emitter, (void)facts, (void)kernel, (void)stage, (void)out;
    *out_emitted = (JitEmitted){.status = STATUS_UNSUPPORTED};
    *out_text = (String){0};
    return STATUS_UNSUPPORTED;
}
void jit_emit_begin(void) {}
void jit_emit_end(void) {}

#endif
