/* The interning index: open addressing, linear probing, eight bytes a slot.
 *
 * A tag is the high 32 bits of the hash, and its low bits say where the slot is: in an index of 2^k
 * slots a probe compares content by chance once in 2^(32 - k) neighbours, and growth places every
 * entry from its tag alone. Hashing content again instead was a cache miss a row: half of the time
 * of interning a million parameters (note 0002).
 *
 * Invariants: capacity is a power of two and equals table.count; at least 7 of 16 slots are free,
 * so every probe ends; rows are never removed, so there are no tombstones.
 *
 * Growth commits the doubled range first, takes scratch for the used slots second, and only then
 * touches the index: a refusal at either leaves it whole. */
#include "arena/intern.h"

#include <stddef.h>
#include <string.h>

#include "arena/inner.h"

enum {
    LOAD_OF_16 = 9,                        /* fullest load, in sixteenths: 0.56 */
    CAPACITY_MIN = MEMORY_DEBUG ? 8 : 512, /* release: one page of slots */
};
static const uint32_t capacity_limit = (uint32_t)1 << 31;

static const ColumnInfo intern_columns[] = {{.name = "slots",
                                             .type = "InternSlot",
                                             .doc = "hash tag and row; row 0 is a free slot",
                                             .width = sizeof(InternSlot),
                                             .offset = offsetof(Intern, slots)}};
static const TableInfo  intern_info = {.name = "intern",
                                       .columns = intern_columns,
                                       .columns_count = LENGTH(intern_columns),
                                       .row_bytes = sizeof(InternSlot)};

/* The smallest capacity that holds rows below the load limit. */
static uint32_t capacity_for(uint32_t rows) {
    uint64_t capacity = CAPACITY_MIN;
    while (capacity < capacity_limit && capacity * LOAD_OF_16 < (uint64_t)rows * 16) capacity *= 2;
    ASSERT(capacity * LOAD_OF_16 >= (uint64_t)rows * 16); /* 1.2e9 rows is the most */
    return (uint32_t)capacity;
}

/* Puts an entry in the first free slot of its probe. */
static void intern_place(Intern *index, InternSlot slot) {
    ASSERT(slot.row > 0);
    uint32_t at = slot.tag & index->mask;
    while (index->slots[at].row != 0) at = (at + 1) & index->mask;
    index->slots[at] = slot;
}

void intern_open(Intern *index, uint32_t rows_max, Budget *budget) {
    ASSERT(index && rows_max > 0);
    table_open(&index->table, &intern_info, capacity_for(rows_max), budget);
    if (index->table.committed < CAPACITY_MIN) {
        ArenaGuard guard; /* a table that cannot hold the first slots must not stay open */
        if (!ARENA_GUARD(&guard)) {
            ArenaFailure failure = arena_guard_failure();
            table_close(&index->table);
            arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
        }
        table_grow(&index->table, CAPACITY_MIN - 1);
        arena_guard_end(&guard);
    }
    index->table.count = CAPACITY_MIN;
    index->mask = CAPACITY_MIN - 1;
    intern_clear(index);
}

void intern_close(Intern *index) {
    if (!index) return;
    table_close(&index->table);
    index->used = index->mask = 0;
}

void intern_clear(Intern *index) {
    ASSERT(index && index->slots);
    memset(index->slots, 0, sizeof(InternSlot) * index->table.count);
    index->used = 0;
}

static void intern_double(Intern *index) {
    uint32_t capacity = index->mask + 1;
    ASSERT(index->table.count == capacity);
    table_grow(&index->table, capacity);
    Scratch     scratch = scratch_begin(NULL, 0);
    InternSlot *slots = ARENA_ARRAY(scratch.arena, InternSlot, index->used);
    uint32_t    count = 0;
    for (uint32_t at = 0; at < capacity; at++)
        if (index->slots[at].row != 0) slots[count++] = index->slots[at];
    ASSERT(count == index->used);
    index->table.count = capacity * 2;
    index->mask = capacity * 2 - 1;
    memset(index->slots, 0, sizeof(InternSlot) * index->table.count);
    for (uint32_t i = 0; i < count; i++) intern_place(index, slots[i]);
    scratch_end(scratch);
}

void intern_add(Intern *index, uint64_t hash, uint32_t row) {
    ASSERT(index && index->slots);
    ASSERT(row > 0);
    bool full = ((uint64_t)index->used + 1) * 16 > ((uint64_t)index->mask + 1) * LOAD_OF_16;
    if (full) intern_double(index);
    intern_place(index, (InternSlot){(uint32_t)(hash >> 32), row});
    index->used++;
}

void intern_copy(Intern *into, const Intern *from) {
    ASSERT(into && from);
    table_copy(&into->table, &from->table);
    into->used = from->used;
    into->mask = from->mask;
}
