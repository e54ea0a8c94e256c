/* Sessions behind the public interface: a compiled copy of a program, its state, and a plan for
 * each shape class seen so far.
 *
 * The world is compiled once and not rewritten afterwards; plans point into it. */
#ifndef STOA_API_SESSION_H
#define STOA_API_SESSION_H

#include "api/program.h"
#include "cpu/cpu.h"
#include "cpu/emit.h"
#include "systems/runner.h"
#include "tables/shape_program.h"

enum {
    SESSION_PLANS_MAX = 64,
    SESSION_GRAPHS_MAX = 32,
    SESSION_INDEX = 4 * SESSION_PLANS_MAX /* a power of two */
};

typedef struct StateTensor {
    StrId    name;
    Tensor   tensor;
    size_t   bytes;
    InitKind init;
    double   scale;
    bool     trainable;
} StateTensor;

typedef struct PlanEntry { /* one graph at one combination of input shapes */
    GraphId   graph;
    uint64_t  key; /* hash of graph and input shapes */
    Plan     *plan;
    CpuPlan  *cpu;
    Arena    *arena; /* of the bound kernels */
    void    **slots;
    void     *outputs; /* memory for outputs that a caller does not take */
    size_t    outputs_bytes;
    uint64_t  used;        /* run number, for replacement */
    uint64_t *launch_ns;   /* by launch, when profiling; summed over runs */
    uint32_t *trace_names; /* by launch, while tracing */
} PlanEntry;

/* Spans of launches go to a trace while one is attached (train.c). */
typedef void SessionSpanFn(void *context, PlanEntry *entry, uint32_t lane, uint32_t launch,
                           uint64_t start_ns, uint64_t end_ns);

struct StoaSession {
    StoaContext   *context;
    World         *world;
    Runner         runner;
    EmitModule    *module; /* compiled kernels; NULL: none */
    Arena         *arena; /* the session, state table */
    Arena         *texts; /* the last report */
    StateTensor   *state;
    uint32_t       state_count;
    PlanEntry     *plans; /* SESSION_PLANS_MAX */
    uint32_t       plans_count;
    uint8_t        plan_index[SESSION_INDEX]; /* by hash: 1 + place in plans; 0 free */
    const ShapeProgram **programs;            /* by graph row; NULL until it is called */
    void          *memory; /* slot 0 of every plan: they never run at the same time */
    size_t         memory_bytes;
    uint64_t       runs, run_ns;
    bool           interpreter, profile;
    SessionSpanFn *span;
    void          *span_context;
};

/* The graph of this name, or nil with a diagnostic. */
GraphId      session_graph(StoaSession *session, const char *name);
bool         session_has_graph(const StoaSession *session, const char *name);
StateTensor *session_state(StoaSession *session, const char *name); /* NULL if absent */
/* The plan for these inputs, made if needed; NULL with diagnostics in the context. Needs a
 * guard. */
PlanEntry *session_plan(StoaSession *session, GraphId graph, const Tensor *inputs, uint32_t count);

#endif
