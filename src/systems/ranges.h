/* Free ranges of an arena that is being planned: best fit, lowest address among equals, and
 * neighbours merge. A program of a million operators has thousands of ranges at once, so both
 * questions ("the smallest that fits", "who is next to this") are answered by search in sorted
 * lists, not by a walk. */
#ifndef STOA_SYSTEMS_RANGES_H
#define STOA_SYSTEMS_RANGES_H

#include "arena/arena.h"

typedef struct Range {
    uint64_t offset, bytes;
} Range;

/* A sorted list in chunks: the position of a key is a search in the directory and one in a chunk,
 * and an insertion moves at most a chunk. Linear only in the number of chunks, when one splits. */
typedef struct RangeKey {
    uint64_t major, minor;
} RangeKey;
typedef struct RangeChunk RangeChunk;
typedef struct RangeList {
    RangeChunk **chunks; /* none is empty */
    uint32_t     count, capacity;
    RangeChunk  *spare; /* chunks that became empty */
    Arena       *scratch;
} RangeList;

typedef struct Ranges {
    RangeList by_place; /* offset, bytes */
    RangeList by_size;  /* bytes, offset */
    uint64_t  end;      /* of the arena so far */
} Ranges;

void ranges_open(Ranges *ranges, Arena *scratch); /* empty; memory lives as long as scratch */
/* Takes bytes (> 0) from a free range, or from a larger arena. Returns the offset. */
uint64_t ranges_take(Ranges *ranges, uint64_t bytes);
void     ranges_give(Ranges *ranges, Range range); /* bytes > 0, of the arena and not free */

#endif
