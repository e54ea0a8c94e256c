/* Where is a row in the map? At the first free place from that of its hash on; at least half of the
 * places are free, arrays that were too small stay in the arena. */
#include "arena/row_map.h"

#include "arena/hash.h"

static uint32_t place_of(const RowMap *map, uint32_t key) {
    uint32_t at = (uint32_t)hash_mix(key, 3) & map->mask;
    while (map->keys[at] != 0 && map->keys[at] != key) at = (at + 1) & map->mask;
    return at;
}
uint32_t row_map_get(const RowMap *map, uint32_t row) {
    if (map->mask == 0) return 0;
    uint32_t at = place_of(map, row);
    return map->keys[at] == row ? map->values[at] : 0;
}
void row_map_put(RowMap *map, Arena *arena, uint32_t row, uint32_t value) {
    ASSERT(row != 0 && value != 0);
    if (map->count * 2 >= map->mask) {
        RowMap old = *map;
        map->mask = old.mask == 0 ? 63 : old.mask * 2 + 1;
        map->keys = ARENA_ARRAY_ZERO(arena, uint32_t, map->mask + 1);
        map->values = ARENA_ARRAY(arena, uint32_t, map->mask + 1);
        for (uint32_t i = 0; old.mask != 0 && i <= old.mask; i++) {
            if (old.keys[i] == 0) continue;
            uint32_t at = place_of(map, old.keys[i]);
            map->keys[at] = old.keys[i];
            map->values[at] = old.values[i];
        }
    }
    uint32_t at = place_of(map, row);
    map->count += map->keys[at] == 0;
    map->keys[at] = row;
    map->values[at] = value;
}
