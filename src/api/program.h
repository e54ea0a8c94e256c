/* Programs behind the public interface: a world, and the graph that is open for building. One path
 * (api_op) appends every operator, so that checks and failures are the same for all.
 *
 * A program belongs to its context and dies before it. */
#ifndef STOA_API_PROGRAM_H
#define STOA_API_PROGRAM_H

#include "api/internal.h"
#include "tables/build.h"

struct StoaProgram {
    StoaContext      *context;
    World            *world;
    Arena            *arena; /* the program, and the last printed text after `texts` */
    ArenaMark         texts;
    Build             build; /* block nil: no graph is open */
    StrId             graph_name;
    ValueId           outputs[LIST_MAX];
    int64_t           output_names[LIST_MAX]; /* StrId */
    uint32_t          outputs_count;
    Arena            *regions;        /* those that are open (region.c) */
    struct ApiRegion *region;         /* the innermost; NULL: none */
    uint32_t          regions_passed; /* open inside it that could not be begun */
    bool broken; /* a builder ran out of memory: rows may be half made, nothing is added */
};

/* One attribute as the generated builders pass it; which member counts is said by the schema. */
typedef struct ApiAttr {
    int64_t            integer;
    double             number;
    const char        *text;
    const int64_t     *ints;
    const StoaDim     *dims;
    const char *const *texts;
    uint32_t           count;
} ApiAttr;
/* Whether rows cannot be appended here, because all blocks of the innermost region have ended
 * (reported) or it is passed over; whether any region is open (reported); whether a value is
 * visible (reported). */
bool region_refuses(StoaProgram *program, const char *function);
bool region_open(StoaProgram *program, const char *function);
bool region_sees(StoaProgram *program, const char *function, ValueId value);
/* For the failure branch of a builder's guard: the program is broken, and checking it says why. */
void      api_broken(StoaProgram *program);
StoaValue api_op(StoaProgram *program, int opcode, const StoaValue *operands, uint32_t count,
                 const ApiAttr *attrs);
void      api_op_many(StoaProgram *program, int opcode, const StoaValue *operands, uint32_t count,
                      const ApiAttr *attrs, StoaValue *out_results, uint32_t results);

#endif
