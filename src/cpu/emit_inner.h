/* What the sources of the emitter share: a phase on its way to a function. Everything that asks the
 * dim algebra (which interns) is answered beforehand and kept in places and loop facts, so that
 * functions can be built on several lanes at once. */
#ifndef STOA_CPU_EMIT_INNER_H
#define STOA_CPU_EMIT_INNER_H

#include "cpu/emit.h"
#include "cpu/jit_build.h"

enum { EMIT_VERSION = 5 }; /* part of the content hash: change it when generated code changes */

/* How a dim depends on the variable of a vector loop. */
typedef struct EmitPlace {
    DimId dim, var;
    bool  varies; /* with var, or with a let symbol that does */
    bool  linear; /* = coefficient * var + rest */
    DimId coefficient, rest;
} EmitPlace;
typedef struct EmitPlaces { /* open addressing by dim and var */
    EmitPlace *rows;
    uint32_t   count, mask;
} EmitPlaces;
typedef struct EmitSource { /* what building one function reads */
    const Loops *loops;
    KernelId     kernel;
    uint32_t     phase; /* its node */
    EmitPlaces   places;
    DimId       *addresses; /* by access, in the order of access_keys */
    LoopAccess  *access_keys;
    uint32_t     accesses_count;
    DimId       *elements;        /* by buffer of the kernel */
    bool        *loaded, *stored; /* by buffer: in this phase */
} EmitSource;

#if defined(STOA_HAVE_LLVM)
/* Values known at the place where instructions go. What a scope noted is forgotten when it ends. */
typedef struct EmitLog {
    uint32_t row;
    bool     dim; /* else an expression */
} EmitLog;
typedef struct Emit {
    JitBuild         *j;
    const EmitSource *s;
    const Loops      *loops;
    JitValue          function, params, first, last;
    LLVMBasicBlockRef entry;        /* allocas go there; it has no terminator until the end */
    JitValue         *buffers;      /* by position: base addresses */
    JitValue         *symbols;      /* by dim row: parameters and variables of open loops */
    JitValue         *dims, *exprs; /* known values, by row */
    uint8_t          *uses;         /* by expression: how often this phase reads it, at most 2 */
    EmitLog          *log;
    uint32_t          logged, log_max;
    LLVMValueRef     *scopes, *others; /* by position: alias metadata */
    JitValue         *near;            /* by position: see emit_find_streams */
    bool              streamed;        /* something was stored past the caches */
    /* the vector loop that is being written */
    DimId    var;     /* nil: none */
    uint32_t lanes;   /* elements at once; 1 outside */
    JitValue base;    /* value of var in lane 0 */
    JitValue mask;    /* lanes that run; NULL: all */
    bool     streams; /* stores may go past the caches */
    bool     paired;  /* lanes hold even elements, then odd ones (emit_loop.c says why) */
    uint8_t *varies;  /* by expression row, in this loop: 0 unknown, 1 no, 2 yes */
    DimId    aligned; /* a place whose value in lane 0 is a multiple of 4; nil: none */
    DimId    outer;   /* variable of the loop around it; nil: none */
    bool    *ahead;   /* by buffer: whether loads ask for what the next turn of that loop needs */
    const int64_t *sizes; /* values of the parameters, where they are known; else NULL */
} Emit;

/* A phase in the place where the builder of `build` stands, as part of a larger function. */
typedef struct EmitInline {
    const EmitSource *source;
    const int64_t    *params; /* their values */
    int64_t           extent; /* of the parallel loop; 1 without */
    JitValue          function;
    LLVMBasicBlockRef entry;           /* of the function, for allocas; without a terminator */
    JitValue         *buffers;         /* by position: addresses of all but REG */
    LLVMValueRef     *scopes, *others; /* by position: alias metadata; NULL: unknown */
} EmitInline;
void emit_inline(JitBuild *build, const EmitInline *part);

/* emit_expr.c */
bool     emit_varies(Emit *e, ExprId expr);
JitValue emit_dim(Emit *e, DimId dim);            /* i64, or a vector of them if it varies */
JitValue emit_dim_first(Emit *e, DimId dim);      /* in lane 0, of a place that is linear: i64 */
uint32_t emit_lane(const Emit *e, uint32_t lane); /* which element from lane 0 on it holds */
/* Whether an expression compares the number of an element with what is the same in all lanes: then
 * it needs no vectors of i64. */
bool     emit_is_index_compare(Emit *e, uint32_t row);
JitValue emit_expr(Emit *e, ExprId expr); /* a scalar, or a vector if it varies */
void     emit_count_uses(Emit *e, uint32_t first, uint32_t last); /* of the nodes of a phase */
JitValue emit_splat(Emit *e, JitValue value); /* a vector of lanes, whatever it was */
/* Stores a value, unpacked, at a place; guard: NULL or a bool. */
void     emit_store(Emit *e, LoopAccess access, JitValue value, JitValue guard);
JitValue emit_load(Emit *e, LoopAccess access, JitValue guard);
bool     emit_access_varies(Emit *e, LoopAccess access);
JitValue emit_alloca(Emit *e, JitType type, uint32_t align);
uint32_t emit_scope_begin(const Emit *e);
void     emit_scope_end(Emit *e, uint32_t begun);
/* emit_random.c */
JitValue emit_random(Emit *e, ExprId expr);
/* emit_stream.c */
bool emit_streams(const Emit *e, uint32_t row, uint32_t bytes); /* whether a loop's stores may */
void emit_find_streams(Emit *e);
void emit_store_past(Emit *e, JitValue packed, JitValue to, JitValue near, JitValue out_stores[2]);
void emit_end_streams(Emit *e);
void emit_find_ahead(Emit *e, uint32_t row, uint32_t first, uint32_t last);
void emit_load_ahead(Emit *e, LoopAccess access, JitValue from, uint32_t bytes);
#endif

const EmitPlace *emit_place(const EmitSource *source, DimId dim, DimId var);
DimId            emit_address(const EmitSource *source, LoopAccess access);
JitBuildFn       emit_build, emit_flow_build;

#endif
