/* The world: every table of one program, under one byte budget.
 *
 * Interned tables (strings, dims, types, attrs, consts) only grow; the code is rewritten by systems
 * into `spare` and swapped. Cloning copies columns. The world owns no pointer that is not into its
 * own tables, so its life is: open, use, close. */
#ifndef STOA_TABLES_WORLD_H
#define STOA_TABLES_WORLD_H

#include "tables/checks.h"
#include "tables/code.h"
#include "tables/consts.h"
#include "tables/diags.h"

#define LOCS_COLUMNS(C)                                                                            \
    C(StrId, file, "file or source name")                                                          \
    C(uint32_t, line, "from 1")                                                                    \
    C(uint32_t, column, "from 1")
TABLE_TYPE(Locs, LOCS_COLUMNS);

/* What an inference rule said lately, found by a hash of what it saw: rows of a model repeat, and
 * rules that intern shapes take longer than looking here. Neither saved nor cloned. */
enum { INFERRED_COUNT = 256, INFERRED_OPERANDS = 3 };
typedef struct Inferred {
    uint32_t opcode; /* 0: free */
    uint32_t epoch;  /* of the dims */
    AttrsId  attrs;
    TypeId   operands[INFERRED_OPERANDS]; /* nil beyond the last */
    TypeId   result;
} Inferred;

typedef struct World {
    Budget   budget;
    Strings  strings;
    Dims     dims;
    Types    types;
    Attrs    attrs;
    Consts   consts;
    Locs     locs;
    Checks   checks;
    Code     code, spare;
    Diags    diags;
    Arena   *arena; /* payloads that live as long as the world; the World itself */
    Inferred inferred[INFERRED_COUNT];
} World;

/* bytes_max: 0 for no limit; ops_max: 0 for 16 Mi rows (address space only). NULL when the system
 * refuses memory (arena_guard_failure says what); needs no guard of the caller. */
World *world_open(size_t bytes_max, uint32_t ops_max);
void   world_close(World *world);
World *world_clone(const World *world); /* NULL as above; diagnostics are not cloned */
void   world_swap(World *world);        /* code <-> spare, spare cleared, generation counted */
/* Every saved table in file order with a stable index (binary form, hashing, accounting): NULL past
 * the last. The spare code, indexes and diagnostics are not among them. */
Table *world_table(World *world, uint32_t index);
void   world_reindex(World *world); /* rebuilds the interning indexes after loading */
LocId  world_loc(World *world, StrId file, uint32_t line, uint32_t column);

/* Shorthands used everywhere. */
static inline TypeId value_type(const World *world, ValueId value) {
    return world->code.values.type[value.row];
}
static inline const uint64_t *op_attrs(const World *world, const Code *code, OpId op) {
    return attrs_words(&world->attrs, code->ops.attrs[op.row]);
}

#endif
