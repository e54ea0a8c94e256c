/* Loop tables: kernels as loops over scalar expressions, the form that schedules rewrite and both
 * emitters (LLVM, CUDA C) read. Nothing here knows a device.
 *
 * A kernel is a span of nodes in preorder. Phases are its top level: all work of one is done before
 * the next begins. Loops run a variable over [0, extent); stores and reductions write one element
 * of a buffer for the current values of the variables. Sizes, variables and places are dims of this
 * module's own algebra: parameters of a kernel (the symbols of the program that its sizes use) and
 * loop variables are symbols, so an index map is one canonical expression, and questions such as
 * "is this access contiguous in that loop" are asked of it (dims_linear_in).
 *
 * Rows are only appended: a transform writes the nodes of a kernel anew and moves the kernel's
 * span. Expressions, index lists and dims are interned, so equal ones have one id. */
#ifndef STOA_TABLES_LOOPS_H
#define STOA_TABLES_LOOPS_H

#include "tables/schema.h"

ID_TYPE(KernelId, kernel_id);
ID_TYPE(NodeId, node_id);
ID_TYPE(ExprId, expr_id);
ID_TYPE(BufferId, buffer_id);

/* --- buffers ------------------------------------------------------------------------------------
 * Where elements live. ARG: operands then results of the launch. WORK: memory of the whole launch,
 * alive from phase to phase. LANE: memory of one iteration of the PARALLEL loop of a phase (the
 * scratch of a lane, the shared memory of a block). REG: scalars of the innermost thread. */
typedef enum BufferScope { SCOPE_ARG, SCOPE_WORK, SCOPE_LANE, SCOPE_REG } BufferScope;
#define LOOP_BUFFERS_COLUMNS(C)                                                                    \
    C(uint8_t, scope, "BufferScope")                                                               \
    C(uint8_t, dtype, "of the stored elements")                                                    \
    C(bool, written, "any statement writes it")                                                    \
    C(uint16_t, arg, "ARG: position among operands and results")                                   \
    C(uint64_t, shares, "ARG result: operands whose memory it may take, a bit each")               \
    C(ListId, dims, "DimId of each axis, outermost first")                                         \
    C(ListId, strides, "DimId of each stride, elements; nil: row-major")
TABLE_TYPE(LoopBuffers, LOOP_BUFFERS_COLUMNS);

/* --- expressions --------------------------------------------------------------------------------
 * Values of one iteration. dtype is what is computed with: 16-bit floats are f32 (loads widen,
 * stores round). */
typedef enum ExprKind {
    EXPR_NIL,
    EXPR_CONST, /* word: bits of a double (floats), else an i64 */
    EXPR_LOAD,  /* word: access; a: guard, nil or a bool: false gives 0 without touching memory */
    EXPR_INDEX, /* word: DimId; its value as dtype */
    EXPR_LESS,  /* word: DimId << 32 | DimId; lhs < rhs (bool) */
    EXPR_OP,    /* an elementwise opcode of a, b, c; word: attribute (CompareKind, Dtype) or 0 */
    EXPR_RNG    /* i32 word of Philox4x32-10: key a (i64), element word: DimId, stream: opcode */
} ExprKind;
#define LOOP_EXPRS_COLUMNS(C)                                                                      \
    C(uint8_t, kind, "ExprKind")                                                                   \
    C(uint8_t, dtype, "Dtype of the value")                                                        \
    C(uint16_t, opcode, "OP: Opcode; RNG: stream")                                                 \
    C(ExprId, a, "first operand")                                                                  \
    C(ExprId, b, "second")                                                                         \
    C(ExprId, c, "third")                                                                          \
    C(uint64_t, word, "see ExprKind")
TABLE_TYPE(LoopExprs, LOOP_EXPRS_COLUMNS);
/* A place in a buffer: BufferId << 32 | ListId of the index DimIds, one an axis. */
typedef uint64_t         LoopAccess;
static inline LoopAccess access_of(BufferId buffer, ListId index) {
    return (uint64_t)buffer.row << 32 | index.row;
}
static inline BufferId access_buffer(LoopAccess access) {
    return (BufferId){(uint32_t)(access >> 32)};
}
static inline ListId access_index(LoopAccess access) { return (ListId){(uint32_t)access}; }

/* Symbols that stand for a computed integer (data-dependent indices): gather, dynamic slices. */
#define LOOP_LETS_COLUMNS(C)                                                                       \
    C(DimId, symbol, "the name in index expressions")                                              \
    C(ExprId, value, "an integer")
TABLE_TYPE(LoopLets, LOOP_LETS_COLUMNS);

/* --- nodes --------------------------------------------------------------------------------------
 * How a loop runs: PARALLEL iterations are dealt to lanes or blocks (outermost loop of a phase
 * only); VECTOR ones go side by side, factor of them at once, unroll such groups; THREAD ones are
 * dealt to the threads of a block; UNROLL is written out. PARALLEL and VECTOR may be combined on
 * one loop. Tails are the emitter's business: extents need not divide. */
typedef enum NodeKind { NODE_NIL, NODE_PHASE, NODE_LOOP, NODE_STORE, NODE_REDUCE } NodeKind;
typedef enum LoopBind {
    BIND_SERIAL = 0,
    BIND_PARALLEL = 1,
    BIND_VECTOR = 2,
    BIND_UNROLL = 4,
    BIND_THREAD = 8
} LoopBind;
#define LOOP_NODES_COLUMNS(C)                                                                      \
    C(uint8_t, kind, "NodeKind")                                                                   \
    C(uint8_t, bind, "LOOP: LoopBind bits")                                                        \
    C(uint8_t, reduce, "REDUCE: ReduceKind (sum prod max min and or)")                             \
    C(uint8_t, unroll, "LOOP: groups at once, 0: the emitter chooses")                             \
    C(uint16_t, factor, "LOOP: elements of a VECTOR group, 0: the emitter chooses")                \
    C(uint32_t, size, "nodes of the subtree, this one included")                                   \
    C(DimId, var, "LOOP: its variable, a symbol with below = extent")                              \
    C(DimId, extent, "LOOP: number of iterations, may use variables of outer loops")               \
    C(LoopAccess, access, "STORE, REDUCE: where to")                                               \
    C(ExprId, value, "STORE, REDUCE: what")                                                        \
    C(ExprId, guard, "STORE, REDUCE: skipped where false; nil: never")
TABLE_TYPE(LoopNodes, LOOP_NODES_COLUMNS);

/* --- kernels ---------------------------------------------------------------------------------- */
#define LOOP_PARAMS_COLUMNS(C)                                                                     \
    C(DimId, symbol, "in this module")                                                             \
    C(DimId, world, "the symbol of the program that gives its value")
TABLE_TYPE(LoopParams, LOOP_PARAMS_COLUMNS);
#define LOOP_KERNELS_COLUMNS(C)                                                                    \
    C(uint32_t, nodes_first, "first node of the current version")                                  \
    C(uint32_t, nodes_count, "nodes")                                                              \
    C(uint32_t, buffers_first, "first buffer; they are consecutive")                               \
    C(uint32_t, buffers_count, "buffers")                                                          \
    C(uint32_t, params_first, "first parameter; they are consecutive")                             \
    C(uint32_t, params_count, "parameters")                                                        \
    C(uint32_t, steps_first, "first step of the recorded schedule")                                \
    C(uint32_t, steps_count, "steps")                                                              \
    C(KernelId, same, "an earlier kernel with the same content, itself if there is none")          \
    C(uint64_t, hash_low, "of the content before scheduling, see loops_hash")                      \
    C(uint64_t, hash_high, "the other half")                                                       \
    C(OpId, op, "row it was lowered from, for names")
TABLE_TYPE(LoopKernels, LOOP_KERNELS_COLUMNS);

/* Recorded schedule: every transform adds a row, so that a schedule can be printed, stored and
 * replayed. Loops are named by their preorder position at that time, stable under replay. */
#define LOOP_STEPS_COLUMNS(C)                                                                      \
    C(uint16_t, transform, "Transform (systems/transform.h)")                                      \
    C(uint16_t, count, "numbers used")                                                             \
    C(ListId, numbers, "its arguments")
TABLE_TYPE(LoopSteps, LOOP_STEPS_COLUMNS);

typedef struct Loops {
    Strings     strings;
    Dims        dims;
    Attrs       lists; /* index lists and shapes */
    LoopKernels kernels;
    LoopParams  params;
    LoopBuffers buffers;
    LoopExprs   exprs;
    LoopLets    lets;
    LoopNodes   nodes;
    LoopSteps   steps;
    Intern      expr_index;
    uint32_t    symbols; /* made so far, for fresh names */
} Loops;

/* Unwinds to the guard when memory is refused. budget: of the program that the kernels are of. */
void loops_open(Loops *loops, Budget *budget);
void loops_close(Loops *loops); /* safe on an all-zero one */

/* --- making. One kernel at a time: params, buffers and nodes go to the newest kernel. --- */
KernelId loops_add_kernel(Loops *loops, OpId op);
/* The symbol that stands for a symbol of the program, with its facts; adds a parameter. */
DimId    loops_param(Loops *loops, const Dims *world_dims, String name, DimId world);
DimId    loops_fresh(Loops *loops, char prefix); /* a new symbol, named i0, i1, ... or v0, ... */
BufferId loops_add_buffer(Loops *loops, BufferScope scope, Dtype dtype, const DimId *dims,
                          uint32_t rank);
ListId   loops_list(Loops *loops, const DimId *dims, uint32_t count);

ExprId loops_const(Loops *loops, Dtype dtype, double number);
ExprId loops_const_int(Loops *loops, Dtype dtype, int64_t number);
ExprId loops_load(Loops *loops, LoopAccess access, ExprId guard);
ExprId loops_index(Loops *loops, Dtype dtype, DimId place);
ExprId loops_less(Loops *loops, DimId a, DimId b);  /* constant where provable */
ExprId loops_and(Loops *loops, ExprId a, ExprId b); /* nil: true */
ExprId loops_op(Loops *loops, Opcode opcode, Dtype dtype, ExprId a, ExprId b, ExprId c,
                uint64_t word);
ExprId loops_rng(Loops *loops, ExprId seed, DimId element, uint16_t stream);
/* A symbol for an integer expression. */
DimId loops_let(Loops *loops, ExprId value);
/* The expression behind a let symbol; nil if it is none. */
ExprId loops_let_value(const Loops *loops, DimId symbol);

/* Opens a node with children (PHASE, LOOP); loops_end closes the newest open one. */
NodeId loops_phase(Loops *loops);
NodeId loops_loop(Loops *loops, DimId var, DimId extent, LoopBind bind);
void   loops_end(Loops *loops, NodeId open);
NodeId loops_store(Loops *loops, LoopAccess access, ExprId value, ExprId guard);
NodeId loops_reduce(Loops *loops, ReduceKind kind, LoopAccess access, ExprId value, ExprId guard);
/* The start value of a reduction in a dtype (0, 1, -inf, ...). */
ExprId loops_identity(Loops *loops, ReduceKind kind, Dtype dtype);

/* --- reading ---------------------------------------------------------------------------------- */
static inline Dtype expr_dtype(const Loops *loops, ExprId expr) {
    return (Dtype)loops->exprs.dtype[expr.row];
}
static inline uint32_t buffer_rank(const Loops *loops, BufferId buffer) {
    return list_count(&loops->lists, loops->buffers.dims[buffer.row]);
}
static inline DimId list_dim(const Loops *loops, ListId list, uint32_t i) {
    return (DimId){(uint32_t)list_numbers(&loops->lists, list)[i]};
}
/* The stride of an axis, elements. */
DimId loops_stride(Loops *loops, BufferId buffer, uint32_t axis);
/* Elements from the start of the buffer, for an access; nil when that is too complex a size. */
DimId loops_address(Loops *loops, LoopAccess access);
/* Number of elements of a buffer. */
DimId loops_elements(Loops *loops, BufferId buffer);

/* The kernel that was lowered from a row; nil if there is none. Logarithmic. */
KernelId loops_of_op(const Loops *loops, OpId op);

/* Checks a kernel: spans nest, variables are used inside their loops only, ranks fit, reductions
 * have an initial store, dtypes agree, PARALLEL stands outermost. NULL, or what is wrong. */
const char *loops_verify(Loops *loops, KernelId kernel);
/* Content of a kernel up to the names of symbols and the program it came from: equal hashes are
 * equal code. 128 bits. */
typedef struct LoopHash {
    uint64_t low, high;
} LoopHash;
LoopHash loops_hash(Loops *loops, KernelId kernel);

#endif
