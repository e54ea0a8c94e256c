/* What a system is: a plain function over the tables of a world, with one signature.
 *
 * A system reads the code in row order and appends to the spare code, or fills side tables; it
 * calls no other system. The runner (runner.h) does everything around it. `fuel` counts rewrites
 * that are still allowed: a system asks system_burn before each optional rewrite, so a run can be
 * bisected to the one rewrite that breaks a program. */
#ifndef STOA_SYSTEMS_SYSTEM_H
#define STOA_SYSTEMS_SYSTEM_H

#include "systems/views.h"
#include "tables/build.h"
#include "tables/loops.h"
#include "tables/plan.h"
#include "tables/target.h"

/* 8-bit floats in linear layers (narrow.c, delay.c). */
typedef enum Narrow8Products {
    NARROW8_Z = 1,  /* forward products */
    NARROW8_DX = 2, /* gradients of what goes in */
    NARROW8_DW = 4, /* gradients of weights */
    NARROW8_ALL = 7,
    NARROW8_LAST = 8 /* the last layer of a graph as well */
} Narrow8Products;
typedef struct Narrow8 {
    uint32_t products; /* Narrow8Products bits; no product: those that pay by their sizes */
    uint32_t history;  /* steps whose largest magnitudes tell the scale of this one (delayed
                          scaling); 0: the tensor itself does (current scaling) */
    uint32_t block;    /* NARROW_BLOCK: so many elements along a sum have a scale of their own
                          (block scaling), and there is no history; 0: all of a tensor have one */
} Narrow8;

struct Schedule;
struct SystemCtx;
typedef void Scheduler(struct SystemCtx *ctx, struct Schedule *s);
typedef struct SystemCtx {
    World        *world;   /* write only the tables named in systems.def */
    Arena        *scratch; /* rewound when the system returns */
    const Target *target;  /* NULL: no back end; nothing keeps its own kernel */
    Views        *views;   /* filled by layout */
    Loops        *loops;   /* filled by lower */
    Plan         *plan;    /* filled by launch and memory */
    Dtype         narrow;  /* what matrix products compute in (narrow.c); NIL: as written; f8e4m3:
                              linear layers in 8-bit floats, other products in bf16 */
    Narrow8       narrow8; /* of 8-bit floats, what is as the user wants it */
    uint64_t      budget;  /* bytes of the planned arena of a graph (recompute.c); 0: any */
    uint64_t      offload; /* bytes of its copies on the host at most (recompute_link.c) */
    uint64_t   states; /* bytes that a loop may keep for its gradient; 0: 1 GiB (derive_steps.c) */
    uint64_t   kept;   /* the most that some loop does, out, if it could do with less */
    bool       keeps;  /* copies of state in narrower floats may be state (keep.c) */
    uint32_t   fuel;   /* optional rewrites still allowed */
    Scheduler *scheduler; /* schedules each kernel for the target; NULL: the rules */
    void      *scheduler_context;
} SystemCtx;
typedef struct Ran {
    uint32_t changed; /* rewrites done */
    uint32_t errors;  /* diagnostics added with severity error (counted by the runner) */
} Ran;
typedef Ran System(SystemCtx *ctx);

/* What users call it: "bf16", "f16", "fp8"; NIL if unknown. */
Dtype narrow_find(String name);
/* The largest number of an 8-bit float. */
double narrow8_largest(Dtype dtype);

static inline bool system_burn(SystemCtx *ctx) {
    if (ctx->fuel == 0) return false;
    ctx->fuel--;
    return true;
}
static inline uint64_t system_states(const SystemCtx *ctx) {
    return ctx->states != 0 ? ctx->states : (uint64_t)1 << 30;
}
/* Says that something keeps so many bytes because of system_states. */
static inline void system_keep(SystemCtx *ctx, double bytes) {
    bool within = bytes <= (double)system_states(ctx) && bytes > (double)ctx->kept;
    if (within) ctx->kept = (uint64_t)bytes;
}

typedef enum SystemKind {
#define SYSTEM(name, reads, writes, needs, gives, breaks, doc) SYSTEM_##name,
#include "systems/systems.def"
    SYSTEM_COUNT
} SystemKind;

#define SYSTEM(name, reads, writes, needs, gives, breaks, doc) System sys_##name;
#include "systems/systems.def"

#endif
