/* A world as if it had just been opened, without opening one: thousands of inputs a second would
 * spend all their time reserving address space. The tables keep their memory and lose their
 * rows. */
#ifndef STOA_TESTS_FUZZ_FRESH_H
#define STOA_TESTS_FUZZ_FRESH_H

#include "tables/world.h"

static inline void fresh_table(Table *table) {
    table_clear(table);
    for (uint32_t i = 0; i < table->info->columns_count; i++)
        memset(table_column(table, i), 0, table->info->columns[i].width);
}
static inline World *fresh_world(World **kept) {
    if (*kept == NULL) *kept = world_open((size_t)64 << 20, 1 << 14);
    World *world = *kept;
    if (world == NULL) return NULL;
    for (uint32_t i = 0; world_table(world, i) != NULL; i++) fresh_table(world_table(world, i));
    code_clear(&world->spare);
    diags_clear(&world->diags);
    world->dims.epoch = 0;
    uint32_t one = table_add(&world->dims.monos.table); /* row 1: the empty monomial */
    world->dims.monos.first[one] = 1;
    world->dims.monos.count[one] = 0;
    world_reindex(world);
    (void)types_shape(&world->types, NULL, 0); /* row 1: the scalar shape */
    return world;
}

#endif
