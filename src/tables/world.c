/* Opening, cloning and visiting all tables of a world.
 *
 * The list in world_table is the one place that knows them all; saving, loading, cloning and
 * accounting walk it. */
#include "tables/world.h"

#define TABLE_SELF_ Locs
TABLE_INFO(Locs, locs_info, "locs", LOCS_COLUMNS);
#undef TABLE_SELF_

enum { WORLD_OPS_MAX = 1 << 24, WORLD_INTERNED_MAX = 1 << 24 };

static void open_tables(World *world, uint32_t ops_max) {
    Budget *budget = &world->budget;
    strings_open(&world->strings, WORLD_INTERNED_MAX, budget);
    dims_open(&world->dims, 1 << 22, budget);
    types_open(&world->types, 1 << 22, budget);
    attrs_open(&world->attrs, WORLD_INTERNED_MAX, budget);
    consts_open(&world->consts, 1 << 22, budget);
    table_open(&world->locs.table, &locs_info, WORLD_INTERNED_MAX, budget);
    checks_open(&world->checks, 1 << 20, budget);
    code_open(&world->code, ops_max, budget);
    code_open(&world->spare, ops_max, budget);
    diags_open(&world->diags, budget);
}

World *world_open(size_t bytes_max, uint32_t ops_max) {
    Arena *arena = arena_open("world", (size_t)1 << 32, 0);
    if (arena == NULL) return NULL;
    World     *world = NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        arena_close(arena);
        return NULL;
    }
    world = ARENA_NEW(arena, World);
    arena_guard_end(&guard);
    world->arena = arena;
    world->budget = (Budget){.name = "world", .bytes_max = bytes_max};
    if (!ARENA_GUARD(&guard)) {
        world_close(world);
        return NULL;
    }
    open_tables(world, ops_max ? ops_max : WORLD_OPS_MAX);
    arena_guard_end(&guard);
    return world;
}

void world_close(World *world) {
    if (world == NULL) return;
    strings_close(&world->strings);
    dims_close(&world->dims);
    types_close(&world->types);
    attrs_close(&world->attrs);
    consts_close(&world->consts);
    table_close(&world->locs.table);
    checks_close(&world->checks);
    code_close(&world->code);
    code_close(&world->spare);
    diags_close(&world->diags);
    arena_close(world->arena);
}

Table *world_table(World *world, uint32_t index) {
    Table *tables[] = {
        &world->strings.rows.table,
        &world->strings.bytes.table,
        &world->dims.rows.table,
        &world->dims.terms.table,
        &world->dims.monos.table,
        &world->dims.atoms.table,
        &world->types.shapes.table,
        &world->types.dims.table,
        &world->types.types.table,
        &world->attrs.records.runs.table,
        &world->attrs.records.words.table,
        &world->attrs.lists.runs.table,
        &world->attrs.lists.words.table,
        &world->consts.rows.table,
        &world->consts.bytes.table,
        &world->locs.table,
        &world->checks.rows.table,
        &world->code.ops.table,
        &world->code.operands.table,
        &world->code.values.table,
        &world->code.blocks.table,
        &world->code.graphs.table,
    };
    return index < LENGTH(tables) ? tables[index] : NULL;
}

void world_reindex(World *world) {
    strings_reindex(&world->strings);
    dims_reindex(&world->dims);
    types_reindex(&world->types);
    attrs_reindex(&world->attrs);
    consts_reindex(&world->consts);
    checks_reindex(&world->checks);
    memset(world->inferred, 0, sizeof world->inferred);
}

World *world_clone(const World *world) {
    World *source = (World *)(uintptr_t)world; /* only read */
    World *clone = world_open(world->budget.bytes_max, world->code.ops.table.rows_max);
    if (clone == NULL) return NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        world_close(clone);
        return NULL;
    }
    for (uint32_t i = 0; world_table(clone, i) != NULL; i++)
        table_copy(world_table(clone, i), world_table(source, i));
    intern_copy(&clone->strings.index, &world->strings.index);
    dims_copy_derived(&clone->dims, &world->dims);
    intern_copy(&clone->types.shape_index, &world->types.shape_index);
    intern_copy(&clone->types.type_index, &world->types.type_index);
    intern_copy(&clone->attrs.records.index, &world->attrs.records.index);
    intern_copy(&clone->attrs.lists.index, &world->attrs.lists.index);
    intern_copy(&clone->consts.index, &world->consts.index);
    intern_copy(&clone->checks.index, &world->checks.index);
    clone->code.generation = world->code.generation;
    arena_guard_end(&guard);
    return clone;
}

void world_swap(World *world) {
    Code done = world->spare;
    done.generation = world->code.generation + 1;
    world->spare = world->code;
    world->code = done;
    code_clear(&world->spare);
}

LocId world_loc(World *world, StrId file, uint32_t line, uint32_t column) {
    uint32_t row = table_add(&world->locs.table);
    world->locs.file[row] = file;
    world->locs.line[row] = line;
    world->locs.column[row] = column;
    return (LocId){row};
}
