/* A map from rows of a table to numbers, by open addressing: for what is known of a few rows of a
 * large table, where an array over all of them would take longer to clear than to use. */
#ifndef STOA_ARENA_ROW_MAP_H
#define STOA_ARENA_ROW_MAP_H

#include "arena/arena.h"

typedef struct RowMap { /* all zero: empty */
    uint32_t *keys, *values;
    uint32_t  count, mask; /* mask 0: nothing allocated yet */
} RowMap;
uint32_t row_map_get(const RowMap *map, uint32_t row); /* 0: not there */
/* row and value are not 0. Grows in the arena. */
void row_map_put(RowMap *map, Arena *arena, uint32_t row, uint32_t value);

#endif
