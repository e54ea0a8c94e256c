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
    return (a.major < b.major) | ((a.major == b.major) & (a.minor < b.minor)); /* no branch */
}
static RangeKey *key_at(const RangeList *list, Position p) {
    return &list->chunks[p.chunk]->keys[p.at];
}

/* The first key that is not below. */
static Position list_find(const RangeList *list, RangeKey key) {
    uint32_t low = 0, high = list->count; /* the last chunk that begins below the key, plus one */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (key_less(list->chunks[middle]->keys[0], key))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return (Position){0, 0};
    const RangeChunk *chunk = list->chunks[low - 1];
    const RangeKey   *base = chunk->keys;
    uint32_t          left = chunk->count;
    while (left > 1) { /* without branches to guess: base is below the key */
        uint32_t half = left / 2;
        base += key_less(base[half], key) ? half : 0;
        left -= half;
    }
    uint32_t at = (uint32_t)(base - chunk->keys) + 1;
    return at == chunk->count ? (Position){low, 0} : (Position){low - 1, at};
}

/* Puts an empty chunk at a place of the directory. */
static RangeChunk *list_add_chunk(RangeList *list, uint32_t at) {
    RangeChunk *chunk = list->spare;
    if (chunk != NULL)
        list->spare = chunk->next;
    else
        chunk = ARENA_NEW(list->scratch, RangeChunk);
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

/* Where list_find of the key points. */
static void list_insert(RangeList *list, Position p, RangeKey key) {
    if (list->count == 0)
        (void)list_add_chunk(list, 0);
    else if (p.at == 0 && p.chunk > 0)
        p = (Position){p.chunk - 1, list->chunks[p.chunk - 1]->count};
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
    memmove(chunk->keys + p.at, chunk->keys + p.at + 1,
            (chunk->count - p.at) * sizeof *chunk->keys);
    if (chunk->count != 0) return;
    chunk->next = list->spare;
    list->spare = chunk;
    list->count--;
    memmove(list->chunks + p.chunk, list->chunks + p.chunk + 1,
            (list->count - p.chunk) * sizeof *list->chunks);
}
static Position list_last(const RangeList *list) {
    ASSERT(list->count > 0);
    return (Position){list->count - 1, list->chunks[list->count - 1]->count - 1};
}

/* --- ranges ----------------------------------------------------------------------------------- */

void ranges_open(Ranges *ranges, Arena *scratch) {
    *ranges = (Ranges){.by_place = {.scratch = scratch}, .by_size = {.scratch = scratch}};
}

static void add_size(Ranges *ranges, Range range) {
    RangeKey key = {range.bytes, range.offset};
    list_insert(&ranges->by_size, list_find(&ranges->by_size, key), key);
}
static void remove_size(Ranges *ranges, Range range) {
    Position p = list_find(&ranges->by_size, (RangeKey){range.bytes, range.offset});
    ASSERT(p.chunk < ranges->by_size.count && key_at(&ranges->by_size, p)->minor == range.offset);
    list_remove(&ranges->by_size, p);
}

/* The free range that ends where the arena ends, or nothing. */
static Range ranges_tail(const Ranges *ranges) {
    const RangeList *list = &ranges->by_place;
    if (list->count == 0) return (Range){0};
    RangeKey last = *key_at(list, list_last(list));
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
            remove_size(ranges, tail);
            list_remove(&ranges->by_place, list_last(&ranges->by_place));
        }
        ranges->end = offset + bytes;
        return offset;
    }
    RangeKey best = *key_at(&ranges->by_size, fit);
    uint64_t rest = best.major - bytes;
    Position place = list_find(&ranges->by_place, (RangeKey){best.minor, best.major});
    list_remove(&ranges->by_size, fit);
    if (rest == 0)
        list_remove(&ranges->by_place, place);
    else {
        *key_at(&ranges->by_place, place) = (RangeKey){best.minor + bytes, rest};
        add_size(ranges, (Range){best.minor + bytes, rest});
    }
    return best.minor;
}

void ranges_give(Ranges *ranges, Range range) {
    RangeList *list = &ranges->by_place;
    ASSERT(range.bytes > 0 && range.offset + range.bytes <= ranges->end);
    Position  next = list_find(list, (RangeKey){range.offset, 0}), before = next;
    RangeKey *above = next.chunk < list->count ? key_at(list, next) : NULL, *below = NULL;
    if (before.at > 0)
        below = key_at(list, (Position){before.chunk, before.at - 1});
    else if (before.chunk > 0) {
        before.chunk--;
        below = key_at(list, (Position){before.chunk, list->chunks[before.chunk]->count - 1});
    }
    if (above != NULL && above->major != range.offset + range.bytes) above = NULL;
    if (below != NULL && below->major + below->minor != range.offset) below = NULL;
    if (above != NULL) {
        remove_size(ranges, (Range){above->major, above->minor});
        range.bytes += above->minor;
    }
    if (below != NULL) {
        remove_size(ranges, (Range){below->major, below->minor});
        range = (Range){below->major, below->minor + range.bytes};
    }
    add_size(ranges, range);
    RangeKey key = {range.offset, range.bytes};
    if (below != NULL)
        *below = key;
    else if (above != NULL)
        *above = key;
    else
        list_insert(list, next, key);
    if (below != NULL && above != NULL) list_remove(list, next);
}
