/* Sessions behind the public interface: a compiled copy of a program, its state, and a plan for
 * each shape class seen so far.
 *
 * The world is compiled once and not rewritten afterwards; plans point into it. */
#ifndef STOA_API_SESSION_H
#define STOA_API_SESSION_H

#include <stdatomic.h>

#include "api/program.h"
#include "cpu/cpu.h"
#include "cpu/emit.h"
#include "cpu/late.h"
#include "systems/runner.h"
#include "tables/shape_program.h"

enum {
    SESSION_PLANS_MAX = 1024,
    SESSION_PLANS_BYTES = 256 << 20, /* more is forgotten: about 1000 of a small GPT, note 0005 */
    SESSION_GRAPHS_MAX = 32,
    SESSION_INDEX = 4 * SESSION_PLANS_MAX /* a power of two */
};

typedef struct Block {
    void  *memory;
    size_t bytes;
} Block;
typedef struct StateTensor {
    StrId    name;
    Tensor   tensor;
    size_t   bytes;
    InitKind init;
    double   scale;
    bool     trainable;
    uint32_t of; /* a copy: which state it holds in another dtype */
} StateTensor;

typedef _Atomic uint64_t  LaunchTime; /* ns; all lanes add */
typedef struct SessionGpu SessionGpu; /* device.c */
typedef struct PlanEntry {            /* one graph at one combination of input shapes */
    GraphId            graph;
    uint64_t           key; /* hash of graph and input shapes */
    Plan              *plan;
    CpuPlan           *cpu;
    CpuLate           *late;   /* instead, where data decides sizes */
    struct PlanPlaces *places; /* instead, on a GPU (device.h) */
    void             **slots;
    size_t             outputs_bytes;       /* of outputs, as far as a caller does not take them */
    size_t             bytes;               /* all of it, for the bound of the session */
    uint64_t           used;                /* run number, for replacement */
    LaunchTime        *launch_ns;           /* by launch, when profiling; over runs and lanes */
    uint64_t           timed_runs;          /* in launch_ns */
    uint32_t           correlation;         /* on a GPU: of the last of them */
    uint64_t           gaps_ns, unknown_ns; /* likewise: in none of launch_ns, over runs */
    uint32_t          *trace_names;         /* by launch, while tracing */
} PlanEntry;

/* Spans of launches go to a trace while one is attached (train.c). */
typedef void SessionSpanFn(void *context, PlanEntry *entry, uint32_t lane, uint32_t launch,
                           uint64_t start_ns, uint64_t end_ns);

/* Likewise what a GPU did (gpu/profile.h); entry NULL: for no plan that is known. */
struct GpuWork;
typedef void SessionWorkFn(void *context, PlanEntry *entry, uint32_t launch,
                           const struct GpuWork *work);

struct StoaSession {
    StoaContext         *context;
    World               *world;
    Runner               runner;
    CpuRoom             *room;
    EmitModule          *module; /* compiled kernels; NULL: none */
    SessionGpu          *gpu;    /* NULL: on the CPU */
    Arena               *arena;  /* the session, state table */
    Arena               *texts;  /* the last report */
    StateTensor         *state;
    uint32_t             state_count, copies_count; /* copies (keep.c) lie behind the others */
    PlanEntry           *plans;                     /* SESSION_PLANS_MAX */
    uint32_t             plans_count;
    size_t               plans_bytes;
    uint16_t             plan_index[SESSION_INDEX]; /* by hash: 1 + place in plans; 0 free */
    const ShapeProgram **programs;                  /* by graph row; NULL until it is called */
    Block                memory, outputs;           /* slot 0, and outputs, of every plan */
    uint64_t             runs, run_ns;
    bool                 interpreter, fuses, profile;
    SessionSpanFn       *span;
    SessionWorkFn       *work;
    void                *span_context; /* of both */
};

/* The graph of this name, or nil with a diagnostic. */
GraphId      session_graph(StoaSession *session, const char *name);
bool         session_has_graph(const StoaSession *session, const char *name);
StateTensor *session_state(StoaSession *session, const char *name); /* NULL if absent */
/* Who writes state on the host calls it afterwards: copies and the device follow. */
MUST_USE Status session_wrote_state(StoaSession *session);
/* The plan for these inputs, made if needed; NULL with diagnostics in the context. Needs a
 * guard. */
PlanEntry *session_plan(StoaSession *session, GraphId graph, const Tensor *inputs, uint32_t count);

#endif
