/* Interning: an open-addressing index from content to row, kept beside the table that owns the
 * rows.
 *
 * The index stores 32-bit rows and hash tags only; content is compared through a callback on the
 * owner, so one implementation serves strings, shapes, types, dims, attributes and constants. The
 * index is derived data: it is never saved, and rebuilt after loading by re-inserting each row. */
#ifndef STOA_ARENA_INTERN_H
#define STOA_ARENA_INTERN_H

#include "arena/arena.h"
#include "arena/column.h"

typedef struct InternSlot {
    uint32_t tag; /* high bits of the hash; their low ones are the first place to look */
    uint32_t row; /* 0: free */
} InternSlot;
typedef struct Intern {
    Table
        table; /* one column of slots; a growing index re-inserts in place into the doubled range */
    InternSlot *slots;
    uint32_t    used;
    uint32_t    mask; /* capacity - 1; capacity is a power of two */
} Intern;

/* Whether row of owner holds the same content as key. */
typedef bool InternSame(const void *owner, uint32_t row, const void *key);

void intern_open(Intern *index, uint32_t rows_max, Budget *budget);
void intern_close(Intern *index);
void intern_clear(Intern *index);
/* The row with this content, or 0. Inline, so that the comparison is too. */
static inline uint32_t intern_find(const Intern *index, uint64_t hash, InternSame *same,
                                   const void *owner, const void *key) {
    ASSERT(index && index->slots);
    uint32_t tag = (uint32_t)(hash >> 32), mask = index->mask;
    for (uint32_t at = tag & mask;; at = (at + 1) & mask) {
        InternSlot slot = index->slots[at];
        if (slot.row == 0) return 0;
        if (slot.tag == tag && same(owner, slot.row, key)) return slot.row;
    }
}
/* Adds row (not present before). */
void intern_add(Intern *index, uint64_t hash, uint32_t row);
void intern_copy(Intern *into, const Intern *from);

#endif
