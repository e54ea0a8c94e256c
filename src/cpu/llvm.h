/* LLVM's C interface, loaded when the first kernel must be compiled.
 *
 * The library is 130 MB and takes 30 to 50 ms to load (note 0006), so libstoa.so does not link it:
 * llvm_load opens it, privately to Stoa, and fills one table of function pointers, whose types
 * come from LLVM's own header. Write llvm.BuildFAdd(...) for LLVMBuildFAdd(...). The table is
 * filled once a process and stays; nothing may be called before llvm_load gave STATUS_OK.
 *
 * A build without LLVM's headers (STOA_HAVE_LLVM undefined) has llvm_load only, which refuses. */
#ifndef STOA_CPU_LLVM_H
#define STOA_CPU_LLVM_H

#include "arena/status.h"
#include "tables/diags.h"

enum { LLVM_MAJOR = 19 }; /* the version whose headers and passes this is written for */

/* Loads the library (NULL: the usual names), or says JIT_UNAVAILABLE: STATUS_UNSUPPORTED. The
 * first library that loads serves the whole process. Thread-safe. */
MUST_USE Status llvm_load(const char *library, Diags *diags);
/* Whether the table is filled. */
bool llvm_loaded(void);

#if defined(STOA_HAVE_LLVM)
#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

/* clang-format off */
#define LLVM_FUNCTIONS(F)                                                                          \
    F(GetVersion) F(InitializeX86TargetInfo) F(InitializeX86Target) F(InitializeX86TargetMC)       \
    F(InitializeX86AsmPrinter) F(InstallFatalErrorHandler) F(ResetFatalErrorHandler)               \
    F(GetErrorMessage) F(DisposeErrorMessage) F(DisposeMessage)                                    \
    /* contexts and modules */                                                                     \
    F(ContextCreate) F(ContextDispose) F(ContextSetDiagnosticHandler)                              \
    F(ContextSetDiscardValueNames) F(GetDiagInfoDescription) F(GetDiagInfoSeverity)                \
    F(ModuleCreateWithNameInContext) F(DisposeModule) F(PrintModuleToString) F(VerifyModule)       \
    F(SetTarget) F(SetModuleDataLayout) F(ParseIRInContext)                                        \
    F(CreateMemoryBufferWithMemoryRangeCopy) F(GetBufferStart) F(GetBufferSize)                    \
    F(DisposeMemoryBuffer)                                                                         \
    /* targets and passes */                                                                       \
    F(GetTargetFromTriple) F(GetHostCPUName) F(GetHostCPUFeatures) F(CreateTargetMachine)          \
    F(DisposeTargetMachine) F(SetTargetMachineAsmVerbosity) F(CreateTargetDataLayout)              \
    F(DisposeTargetData) F(TargetMachineEmitToMemoryBuffer) F(RunPasses)                           \
    F(CreatePassBuilderOptions) F(DisposePassBuilderOptions)                                       \
    F(PassBuilderOptionsSetLoopVectorization) F(PassBuilderOptionsSetSLPVectorization)             \
    F(PassBuilderOptionsSetLoopInterleaving) F(PassBuilderOptionsSetLoopUnrolling)                 \
    F(PassBuilderOptionsSetCallGraphProfile)                                                       \
    /* types */                                                                                    \
    F(VoidTypeInContext) F(Int1TypeInContext) F(Int8TypeInContext) F(Int16TypeInContext)           \
    F(Int32TypeInContext) F(Int64TypeInContext) F(IntTypeInContext) F(HalfTypeInContext)           \
    F(FloatTypeInContext) F(DoubleTypeInContext) F(PointerTypeInContext) F(VectorType)             \
    F(ArrayType2) F(StructTypeInContext) F(FunctionType) F(TypeOf) F(GetTypeKind)                  \
    F(GetElementType) F(GetVectorSize) F(GetIntTypeWidth) F(GlobalGetValueType)                    \
    /* values */                                                                                   \
    F(ConstInt) F(ConstReal) F(ConstNull) F(ConstAllOnes) F(ConstVector) F(ConstArray2)            \
    F(ConstStructInContext) F(GetUndef) F(GetPoison) F(IsConstant) F(AddGlobal)                    \
    F(SetInitializer) F(SetGlobalConstant) F(SetLinkage) F(SetUnnamedAddress) F(SetAlignment)      \
    F(SetVolatile) F(AddFunction) F(GetNamedFunction) F(GetParam) F(SetValueName2)                 \
    F(CreateEnumAttribute) F(CreateStringAttribute) F(GetEnumAttributeKindForName)                 \
    F(AddAttributeAtIndex) F(AddCallSiteAttribute) F(MDStringInContext2) F(MDNodeInContext2)       \
    F(MetadataAsValue) F(ValueAsMetadata) F(GetMDKindIDInContext) F(SetMetadata)                   \
    F(LookupIntrinsicID) F(GetIntrinsicDeclaration) F(IntrinsicGetType)                            \
    /* building */                                                                                 \
    F(AppendBasicBlockInContext) F(GetInsertBlock) F(GetBasicBlockParent) F(GetFirstInstruction)   \
    F(GetBasicBlockTerminator) F(CreateBuilderInContext) F(DisposeBuilder) F(PositionBuilderAtEnd) \
    F(PositionBuilderBefore) F(BuildRetVoid) F(BuildRet) F(BuildBr) F(BuildCondBr) F(BuildSwitch)  \
    F(AddCase) F(BuildUnreachable) F(BuildPhi) F(AddIncoming) F(BuildCall2) F(BuildAlloca)         \
    F(BuildLoad2) F(BuildStore) F(BuildGEP2) F(BuildInBoundsGEP2) F(BuildFence) F(BuildAtomicRMW)  \
    F(BuildFAdd) F(BuildFSub) F(BuildFMul) F(BuildFDiv) F(BuildFRem) F(BuildFNeg)                  \
    F(BuildAdd) F(BuildSub) F(BuildMul) F(BuildSDiv) F(BuildUDiv) F(BuildSRem) F(BuildURem)        \
    F(BuildNSWAdd) F(BuildNSWSub) F(BuildNSWMul) F(BuildNUWAdd) F(BuildNUWMul)                     \
    F(BuildShl) F(BuildLShr) F(BuildAShr) F(BuildAnd) F(BuildOr) F(BuildXor) F(BuildNot)           \
    F(BuildNeg) F(BuildFCmp) F(BuildICmp) F(BuildSelect) F(BuildBitCast) F(BuildTrunc)             \
    F(BuildZExt) F(BuildSExt) F(BuildFPTrunc) F(BuildFPExt) F(BuildFPToSI) F(BuildFPToUI)          \
    F(BuildSIToFP) F(BuildUIToFP) F(BuildPtrToInt) F(BuildIntToPtr) F(BuildExtractElement)         \
    F(BuildInsertElement) F(BuildShuffleVector) F(BuildExtractValue) F(BuildFreeze)                \
    F(SetFastMathFlags)
/* clang-format on */

#define LLVM_POINTER_(name) __typeof__(LLVM##name) *name;
typedef struct Llvm {
    LLVM_FUNCTIONS(LLVM_POINTER_)
} Llvm;
extern Llvm llvm;
#endif

#endif
