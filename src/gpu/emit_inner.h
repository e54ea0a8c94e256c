/* What the sources of the emitter share: a phase on its way to text, and what is remembered of it
 * for launches.
 *
 * A phase is read once (emit_plan.c), which says how its loops meet threads, then written
 * (emit_text.c, gpu_emit_expr.c). Scopes, from the outside in: an iteration of the PARALLEL loop
 * belongs to a team of TEAM threads; VECTOR and THREAD loops in it are dealt to them, VECTOR ones
 * in groups of V neighbours; what stands beside such loops is computed by every thread alike, and
 * written to memory by the first one.
 *
 * Rows are held: where a team covers a row in HELD groups a thread, what several loops read of it,
 * and buffers whose elements only one thread touches, stay in registers. HELD 0: the row may be of
 * any length, and is read again. */
#ifndef STOA_GPU_EMIT_INNER_H
#define STOA_GPU_EMIT_INNER_H

#include "gpu/emit.h"

enum {
    EMIT_PROCESSORS = 132, /* of the largest devices */
    EMIT_BLOCK = 256,      /* threads of a block of several teams, at least */
    EMIT_GROUP_MAX = 8,
    EMIT_TEAM_MAX = 1024, /* in one block */
    EMIT_CLUSTER_MAX = 8,
    EMIT_CLUSTER_WHOLE = 16,      /* that launches must ask for */
    EMIT_LANE_SHARED = 96 * 1024, /* bytes of LANE buffers of a block in shared memory, at most */
    EMIT_TILE = 64,               /* rows and columns of a tile */
    EMIT_TILES_MAX = 4,
    EMIT_TILE_BYTES = 8 /* of an element of all tiles */
};

/* A leaf: a VECTOR or THREAD loop that a team shares out. */
typedef struct EmitLeaf {
    uint32_t row, parent; /* nodes */
    DimId    var, extent;
    bool     vector; /* nothing but statements inside: in groups of V */
} EmitLeaf;
/* What leaves read of a row, kept in registers: where several do, and in loops over rows, which
 * read the next row while they work on one. */
typedef struct EmitHeld {
    uint32_t scope, leaf, uses; /* scope: the node whose children find it loaded; leaf: the last */
    BufferId buffer;
    DimId    rest;  /* place without the variable of the leaf */
    bool     whole; /* one piece of memory: the place follows the leaf in nothing else */
} EmitHeld;
typedef struct EmitAlign {
    uint32_t position; /* of the buffer */
    DimId    rest;     /* place of group 0, elements */
} EmitAlign;

enum { EMIT_IN = 1, EMIT_OUT };

typedef struct EmitPhase {
    uint32_t   node, parallel; /* rows; parallel 0: none */
    bool       flat;           /* the parallel loop is itself dealt to threads */
    EmitLeaf  *leaves;
    uint32_t   leaves_count;
    EmitHeld  *helds;
    uint32_t   helds_count;
    DimId      held_extent; /* of the leaves that hold; nil: none */
    uint8_t   *promoted;    /* by position: kept in registers where rows are held */
    uint8_t   *shared;      /* by position: threads read what others wrote */
    uint8_t   *read;        /* by position: something is read */
    uint8_t   *lane;        /* by position: LANE buffer that is used */
    uint32_t   held_bytes;  /* of an element of the row, in registers */
    uint32_t   next_bytes;  /* likewise of the next row, read ahead */
    uint32_t   vector;      /* most elements of a group */
    EmitAlign *aligns;
    uint32_t   aligns_count;
    DimId     *places; /* values that must fit into 32 bits, or indices are wide */
    uint32_t   places_count;
    bool       wide;  /* always */
    uint32_t   slots; /* reductions at once, at most */
    bool       tells; /* threads of a team tell each other something */
    bool       rows;  /* a team goes over many rows, holding the next one too */
    uint32_t   join;  /* the loop over them, where several teams may share it; 0: none */
    DimId      lead;  /* place of rows whose groups may begin where memory is aligned; nil: none */
    uint32_t   lead_position;         /* one of the buffers that have it */
    LoopAccess tiles[EMIT_TILES_MAX]; /* loads that are side by side in the parallel loop only */
    DimId      tile_rests[EMIT_TILES_MAX]; /* their places without its variable */
    uint32_t   tiles_count;
    uint8_t   *staged; /* by position: EMIT_IN or EMIT_OUT: its rows lie one behind the other */
    DimId      stage;  /* the length of these rows; nil: rows are not for single threads */
    String     text;
} EmitPhase;

/* Macros of an instance. */
typedef struct EmitSetting {
    uint16_t team, block;
    uint8_t  vector, held, blocks; /* blocks: on one multiprocessor at once; 0: any */
    uint8_t  cluster;              /* blocks of a team; 1: a team lies in one */
    uint8_t  join;                 /* teams of a block that share its rows; 1: each has its own */
    uint8_t  ring;                 /* rows of a loop that are in shared memory at once; 0: this one
                                      and the next are in registers */
    bool     staged;               /* a thread a row, through shared memory */
    bool     wide, full;           /* full: every group is whole */
    bool     shared;               /* held rows lie in shared memory, not in registers */
    bool     odd;                  /* groups begin at any element */
    bool     led;                  /* so that those of most rows are aligned */
    uint8_t  tiled;                /* loads across rows are turned in shared memory, so many
                                      elements at once; 0: not */
} EmitSetting;

typedef struct Emit {
    Loops     *loops;
    KernelId   kernel;
    EmitPhase *phase;
    Arena     *arena, *scratch; /* results; other rows (the text grows in one of its own) */
    Text       text;
    uint32_t  *known; /* by expression row: number of the variable that has it; 0: none */
    uint32_t  *log;
    uint32_t   logged, log_max;
    uint32_t   variables; /* named so far */
    /* the leaf that is being written */
    const EmitLeaf  *leaf;    /* NULL: none */
    bool             element; /* inside the loop over the elements of a group */
    uint32_t         outside; /* variables up to this one were named before that loop */
    uint32_t         hits[4]; /* those whose element has a loop of its own (emit_apart) */
    uint32_t         hits_count;
    bool             tiled;   /* loads across rows are in shared memory */
    uint8_t         *stale;   /* by expression row; all 0 between uses */
    uint8_t         *varies;  /* by expression row: 0 unknown, 1 no, 2 yes */
    struct EmitPack *packs;   /* groups that are loaded or to be stored */
    uint32_t         packs_count, packs_max;
} Emit;
typedef struct EmitPack {
    LoopAccess access;
    uint32_t   number;
    bool       stored; /* by a statement of this run: later ones read the value */
} EmitPack;

/* emit_plan.c: everything of the phase but its text. */
EmitPhase gpu_emit_plan(Arena *arena, Loops *loops, KernelId kernel, uint32_t phase);
/* Calls visit for the places that the rows [first, last) touch. */
typedef void EmitVisit(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes);
void gpu_emit_visit(Loops *loops, Arena *scratch, uint32_t first, uint32_t last, EmitVisit *visit,
                    void *context);
/* The loop before which a reduction gets its partial sum; 0: it has none. */
uint32_t gpu_emit_home(Loops *loops, const EmitPhase *phase, Arena *scratch, uint32_t node);
/* Whether an access is side by side in the leaf; out_rest: the place without its variable. */
bool gpu_emit_contiguous(Loops *loops, LoopAccess access, DimId var, DimId *out_rest);

/* The node that a place inside `parent` can be loaded in. */
uint32_t gpu_emit_scope(Loops *loops, const EmitPhase *phase, uint32_t parent, DimId rest);

/* emit_text.c: the function, with macros open. */
String gpu_emit_phase_text(Arena *arena, Loops *loops, KernelId kernel, EmitPhase *phase);
/* emit_rows.c */
/* What macros of groups end in: X where these are not aligned with those of most rows. */
const char *gpu_emit_led(const Emit *e, DimId rest);
bool        gpu_emit_has_held(const Emit *e, uint32_t scope);
/* Whether what is held in a scope are rows that a loop goes over. */
static inline bool gpu_emit_is_row(const LoopNodes *nodes, const EmitPhase *phase, uint32_t scope) {
    return nodes->kind[scope] == NODE_LOOP && scope != phase->parallel;
}
static inline bool gpu_emit_held_of_rows(const Emit *e, uint32_t scope) {
    return gpu_emit_is_row(&e->loops->nodes, e->phase, scope);
}
void gpu_emit_group(Emit *e, const EmitLeaf *leaf); /* what is known of the group at c0 */
void gpu_emit_take_held(Emit *e, uint32_t scope);   /* of a scope that is no loop over rows */
void gpu_emit_first_held(Emit *e, uint32_t loop);   /* before a loop over rows */
void gpu_emit_turn_held(Emit *e, uint32_t loop);    /* at the start of its iterations */
void gpu_emit_joined(Emit *e);      /* sums of teams that have shared rows become the first one's */
void gpu_emit_held_back(Emit *e);   /* held buffers, to memory */
void gpu_emit_open_stages(Emit *e); /* around the parallel loop: rows of single threads */
void gpu_emit_close_stages(Emit *e);

/* gpu_emit_expr.c */
const char *gpu_emit_type(Dtype dtype);          /* computed with */
const char *gpu_emit_stored(Dtype dtype);        /* in memory */
uint32_t    gpu_emit_expr(Emit *e, ExprId expr); /* the number of a variable x<n> */
void        gpu_emit_dim(Emit *e, DimId dim);    /* adds the expression */
bool        gpu_emit_varies(Emit *e, ExprId expr);
bool        gpu_emit_dim_varies(Emit *e, DimId dim);
void        gpu_emit_uniform(Emit *e, ExprId expr);     /* what does not vary, before the leaf */
void        gpu_emit_place(Emit *e, LoopAccess access); /* b3[place] */
EmitPack   *gpu_emit_pack_of(Emit *e, LoopAccess access);
uint32_t    gpu_emit_position(const Emit *e, BufferId buffer);
bool        gpu_emit_only_read(const Emit *e, BufferId buffer);
static inline Dtype gpu_emit_buffer_dtype(const Emit *e, LoopAccess access) {
    return (Dtype)e->loops->buffers.dtype[access_buffer(access).row];
}
/* known values above a mark are forgotten */
static inline uint32_t gpu_emit_scope_begin(const Emit *e) { return e->logged; }
static inline void     gpu_emit_scope_end(Emit *e, uint32_t mark) {
        while (e->logged > mark) e->known[e->log[--e->logged]] = 0;
}

/* emit_setting.c; args: addresses by argument; NULL: aligned. */
EmitSetting gpu_emit_choose(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                            const int64_t *params, const CuPtr *args);
int64_t     gpu_emit_rows(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                          const int64_t *params); /* of the parallel loop; 1 without */
int64_t     gpu_emit_longest(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                             const int64_t *params); /* extent of a leaf */
int64_t     gpu_emit_buffer_bytes(const Loops *loops, KernelId kernel, uint32_t row,
                                  const int64_t *params);
int64_t     gpu_emit_lane_bytes(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                                const int64_t *params, uint32_t held); /* of a team */
int64_t     gpu_emit_stage_bytes(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                                 const int64_t *params, uint32_t block); /* of staged rows */
bool        gpu_emit_narrow(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                            const int64_t *params); /* whether indices fit into 32 bits */
/* Whether groups of V elements begin at multiples of 16 bytes (or of themselves). */
bool gpu_emit_aligned(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                      const int64_t *params, const CuPtr *args, uint32_t vector);
/* Whether groups lie in shared memory as they lie in memory. */
static inline bool gpu_emit_shifted(const EmitSetting *s) { return s->odd && !s->led; }
/* Bytes of one row of a ring. */
static inline uint32_t gpu_emit_ring_bytes(const EmitPhase *phase, const EmitSetting *s) {
    return (uint32_t)s->held * (s->block + gpu_emit_shifted(s)) * s->vector * phase->next_bytes;
}

/* emit_size.c: values at concrete parameters; of variables, the range that they run through. */
DimRange gpu_emit_range(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params);
int64_t  gpu_emit_size(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params);
/* Whether every term of a place is a multiple of `by`, whatever the variables are. */
bool gpu_emit_multiple(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params,
                       int64_t by);

#endif
