/* Sorted lists of ranges, once by place and once by size. Both hold the same ranges; a range that
 * grows or shrinks keeps its position by place and is inserted anew by size. */
#include "systems/ranges.h"

#include <string.h>

enum { CHUNK_KEYS = 64 };
struct RangeChunk {
    uint32_t    count;
    RangeChunk *next; /* of the spare ones */
    RangeKey    keys[CHUNK_KEYS];
};
typedef struct Position {
    uint32_t chunk, at; /* chunk = count of chunks: past the end */
} Position;

/* --- sorted list ------------------------------------------------------------------------------ */

static bool key_less(RangeKey a, RangeKey b) {
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}
static RangeKey *key_at(const RangeList *list, Position p) {
    return &list->chunks[p.chunk]->keys[p.at];
}

/* The first key that is not below. */
static Position list_find(const RangeList *list, RangeKey key) {
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t          middle = (low + high) / 2;
        const RangeChunk *chunk = list->chunks[middle];
        if (key_less(chunk->keys[chunk->count - 1], key)) low = middle + 1;
        else high = middle;
    }
    Position p = {low, 0};
    if (low == list->count) return p;
    const RangeChunk *chunk = list->chunks[low];
    for (uint32_t first = 0, last = chunk->count; first < last; p.at = first) {
        uint32_t middle = (first + last) / 2;
        if (key_less(chunk->keys[middle], key)) first = middle + 1;
        else last = middle;
    }
    return p;
}

/* Puts an empty chunk at a place of the directory. */
static RangeChunk *list_add_chunk(RangeList *list, uint32_t at) {
    RangeChunk *chunk = list->spare;
    if (chunk != NULL) list->spare = chunk->next;
    else chunk = ARENA_NEW(list->scratch, RangeChunk);
    if (list->count == list->capacity) {
        uint32_t     capacity = list->capacity * 2 + 64;
        RangeChunk **more = ARENA_ARRAY(list->scratch, RangeChunk *, capacity);
        if (list->count != 0) memcpy(more, list->chunks, list->count * sizeof *more);
        list->chunks = more;
        list->capacity = capacity;
    }
    memmove(list->chunks + at + 1, list->chunks + at, (list->count - at) * sizeof *list->chunks);
    list->chunks[at] = chunk;
    list->count++;
    chunk->count = 0;
    return chunk;
}

static void list_insert(RangeList *list, RangeKey key) {
    Position p = list_find(list, key);
    if (list->count == 0) (void)list_add_chunk(list, 0);
    else if (p.chunk == list->count)
        p = (Position){list->count - 1, list->chunks[list->count - 1]->count};
    RangeChunk *chunk = list->chunks[p.chunk];
    if (chunk->count == CHUNK_KEYS) { /* split in halves */
        RangeChunk *upper = list_add_chunk(list, p.chunk + 1);
        upper->count = CHUNK_KEYS / 2;
        chunk->count = CHUNK_KEYS - upper->count;
        memcpy(upper->keys, chunk->keys + chunk->count, upper->count * sizeof *upper->keys);
        if (p.at > chunk->count) {
            p.at -= chunk->count;
            chunk = upper;
        }
    }
    memmove(chunk->keys + p.at + 1, chunk->keys + p.at, (chunk->count - p.at) * sizeof key);
    chunk->keys[p.at] = key;
    chunk->count++;
}

static void list_remove(RangeList *list, Position p) {
    RangeChunk *chunk = list->chunks[p.chunk];
    ASSERT(p.at < chunk->count);
    chunk->count--;
    memmove(chunk->keys + p.at, chunk->keys + p.at + 1, (chunk->count - p.at) * sizeof *chunk->keys);
    if (chunk->count != 0) return;
    chunk->next = list->spare;
    list->spare = chunk;
    list->count--;
    memmove(list->chunks + p.chunk, list->chunks + p.chunk + 1,
            (list->count - p.chunk) * sizeof *list->chunks);
}
static void list_remove_key(RangeList *list, RangeKey key) {
    Position p = list_find(list, key);
    ASSERT(p.chunk < list->count && key_at(list, p)->minor == key.minor);
    list_remove(list, p);
}

/* --- ranges ----------------------------------------------------------------------------------- */

void ranges_open(Ranges *ranges, Arena *scratch) {
    *ranges = (Ranges){.by_place = {.scratch = scratch}, .by_size = {.scratch = scratch}};
}

/* The free range that ends where the arena ends, or nothing. */
static Range ranges_tail(const Ranges *ranges) {
    const RangeList *list = &ranges->by_place;
    if (list->count == 0) return (Range){0};
    const RangeChunk *chunk = list->chunks[list->count - 1];
    RangeKey          last = chunk->keys[chunk->count - 1];
    if (last.major + last.minor != ranges->end) return (Range){0};
    return (Range){last.major, last.minor};
}

uint64_t ranges_take(Ranges *ranges, uint64_t bytes) {
    ASSERT(bytes > 0);
    Position fit = list_find(&ranges->by_size, (RangeKey){bytes, 0});
    if (fit.chunk == ranges->by_size.count) { /* none: grow the free end, if there is one */
        Range    tail = ranges_tail(ranges);
        uint64_t offset = tail.bytes ? tail.offset : ranges->end;
        if (tail.bytes) {
            list_remove_key(&ranges->by_place, (RangeKey){tail.offset, tail.bytes});
            list_remove_key(&ranges->by_size, (RangeKey){tail.bytes, tail.offset});
        }
        ranges->end = offset + bytes;
        return offset;
    }
    RangeKey best = *key_at(&ranges->by_size, fit);
    uint64_t rest = best.major - bytes;
    Position place = list_find(&ranges->by_place, (RangeKey){best.minor, best.major});
    list_remove(&ranges->by_size, fit);
    if (rest == 0) list_remove(&ranges->by_place, place);
    else {
        *key_at(&ranges->by_place, place) = (RangeKey){best.minor + bytes, rest};
        list_insert(&ranges->by_size, (RangeKey){rest, best.minor + bytes});
    }
    return best.minor;
}

void ranges_give(Ranges *ranges, Range range) {
    RangeList *list = &ranges->by_place;
    ASSERT(range.bytes > 0 && range.offset + range.bytes <= ranges->end);
    Position  next = list_find(list, (RangeKey){range.offset, 0}), before = next;
    RangeKey *above = next.chunk < list->count ? key_at(list, next) : NULL, *below = NULL;
    if (before.at > 0) below = key_at(list, (Position){before.chunk, before.at - 1});
    else if (before.chunk > 0) {
        before.chunk--;
        below = key_at(list, (Position){before.chunk, list->chunks[before.chunk]->count - 1});
    }
    if (above != NULL && above->major != range.offset + range.bytes) above = NULL;
    if (below != NULL && below->major + below->minor != range.offset) below = NULL;
    if (above != NULL) {
        list_remove_key(&ranges->by_size, (RangeKey){above->minor, above->major});
        range.bytes += above->minor;
    }
    if (below != NULL) {
        list_remove_key(&ranges->by_size, (RangeKey){below->minor, below->major});
        range = (Range){below->major, below->minor + range.bytes};
    }
    list_insert(&ranges->by_size, (RangeKey){range.bytes, range.offset});
    RangeKey key = {range.offset, range.bytes};
    if (below != NULL) *below = key;
    else if (above != NULL) *above = key;
    else list_insert(list, key);
    if (below != NULL && above != NULL) list_remove(list, next);
}
