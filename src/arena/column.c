/* Tables of columns: reserve once, commit as rows come, never move.
 *
 * Layout of the reservation: column after column in pages of its own. Column i starts i x 320 bytes
 * into its first page: if all started at a page boundary, one row's fields of equal width would
 * share a cache set. Adding a row of 12 4-byte columns took 49 ns that way, now 12 (2.5 GHz Xeon).
 *
 * What is committed is a function of table->committed alone (column_bytes), so a growth that fails
 * gives back what it got, and nothing but the row count has to be remembered.
 *
 * Growth doubles up to growth_step_max bytes a table and is linear from there: nothing is copied
 * when a table grows, so doubling only saves system calls, and past some size it would only charge
 * the budget for rows that never come. */
#include "arena/column.h"

#include <string.h>

#include "arena/hash.h"
#include "arena/inner.h"
#include "arena/os.h"

enum { SHIFT_BYTES = 320 }; /* five cache lines: odd, so 64 columns fall into 64 cache sets */
static const size_t growth_step_max = (size_t)32 << 20;

/* How far into its first page a column starts. */
static size_t column_shift(uint32_t column) {
    return (size_t)column * SHIFT_BYTES & (os_page_bytes() - 1);
}

/* Bytes that rows of a column take from its first page on, in whole pages. From half a huge page on
 * those are huge ones: one that is committed in parts is filled with small pages, and a fault of
 * those costs five times as much a byte. */
static size_t column_bytes(const TableInfo *info, uint32_t column, uint32_t rows) {
    ASSERT(column < info->columns_count);
    ASSERT(info->columns[column].width > 0);
    if (rows == 0) return 0; /* a table that could not commit even the nil row */
    size_t bytes = column_shift(column) + (size_t)rows * info->columns[column].width;
    return memory_round(bytes, bytes < memory_huge_bytes / 2 ? os_page_bytes() : memory_huge_bytes);
}

void *table_column(const Table *table, uint32_t column) {
    ASSERT(table && table->info);
    ASSERT(column < table->info->columns_count);
    /* The field is a T*, read through its bytes: no pointer type aliases every other. */
    void *data;
    memcpy(&data, (const char *)table + table->info->columns[column].offset, sizeof data);
    return data;
}

/* The first page of a column. */
static uint8_t *table_column_pages(const Table *table, uint32_t column) {
    return (uint8_t *)table_column(table, column) - column_shift(column);
}

static void table_column_set(Table *table, uint32_t column, void *data) {
    ASSERT(column < table->info->columns_count);
    memcpy((char *)table + table->info->columns[column].offset, &data, sizeof data);
}

/* Bytes to commit so that rows, not just the committed ones, may be touched. */
static size_t table_commit_bytes(const Table *table, uint32_t rows) {
    ASSERT(rows >= table->committed);
    size_t bytes = 0;
    for (uint32_t i = 0; i < table->info->columns_count; i++)
        bytes +=
            column_bytes(table->info, i, rows) - column_bytes(table->info, i, table->committed);
    return bytes;
}

/* Undoes the first columns of a growth to rows that failed halfway. */
static void table_uncommit(Table *table, uint32_t columns, uint32_t rows) {
    ASSERT(columns <= table->info->columns_count);
    for (uint32_t i = 0; i < columns; i++) {
        size_t from = column_bytes(table->info, i, table->committed);
        size_t bytes = column_bytes(table->info, i, rows) - from;
        os_decommit(table_column_pages(table, i) + from, bytes);
        budget_refund(table->budget, bytes);
    }
}

/* Commits all columns up to rows, or none. */
static bool table_commit(Table *table, uint32_t rows, ArenaFailure *out_failure) {
    ASSERT(rows > table->committed && rows <= table->rows_max);
    for (uint32_t i = 0; i < table->info->columns_count; i++) {
        uint8_t *pages = table_column_pages(table, i);
        size_t   from = column_bytes(table->info, i, table->committed);
        size_t   to = column_bytes(table->info, i, rows);
        if (to == from) continue;
        if (!arena_commit(pages + from, to - from, table->budget, out_failure)) {
            table_uncommit(table, i, rows);
            return false;
        }
        if (to >= memory_huge_bytes) {
            size_t advised = from < memory_huge_bytes ? 0 : from;
            os_advise_huge(pages + advised, to - advised);
        }
    }
    for (uint32_t i = 0; MEMORY_DEBUG && i < table->info->columns_count; i++) {
        size_t width = table->info->columns[i].width, from = table->committed * width;
        memory_fill((uint8_t *)table_column(table, i) + from, rows * width - from);
    }
    table->committed = rows;
    return true;
}

/* Rows of the first commit: half a page of the widest column, so that most columns need one. */
static uint32_t table_first_rows(const TableInfo *info, uint32_t rows_max) {
    size_t widest = 1;
    for (uint32_t i = 0; i < info->columns_count; i++)
        if (info->columns[i].width > widest) widest = info->columns[i].width;
    size_t rows = MEMORY_DEBUG ? 1 : os_page_bytes() / 2 / widest;
    return rows < 1 ? 1 : rows > rows_max ? rows_max : (uint32_t)rows;
}

void table_open(Table *table, const TableInfo *info, uint32_t rows_max, Budget *budget) {
    ASSERT(table && !table->memory);
    ASSERT(info && info->columns_count > 0 && rows_max >= 2);
    size_t reserved = 0, offset = 0;
    for (uint32_t i = 0; i < info->columns_count; i++) reserved += column_bytes(info, i, rows_max);
    uint8_t *memory = os_reserve(reserved);
    if (!memory) arena_fail(info->name, reserved, 0, false);
    *table = (Table){.info = info,
                     .budget = budget,
                     .memory = memory,
                     .reserved = reserved,
                     .rows_max = rows_max};
    for (uint32_t i = 0; i < info->columns_count; i++) {
        table_column_set(table, i, memory + offset + column_shift(i));
        offset += column_bytes(info, i, rows_max);
    }
    ArenaFailure failure;
    if (!table_commit(table, table_first_rows(info, rows_max), &failure)) {
        table_close(table);
        arena_fail(failure.arena ? failure.arena : info->name, failure.bytes_asked,
                   failure.bytes_max, failure.injected);
    }
    table->count = 1;
    for (uint32_t i = 0; MEMORY_DEBUG && i < info->columns_count; i++)
        memset(table_column(table, i), 0, info->columns[i].width);
}

void table_open_in(Table *table, const TableInfo *info, uint32_t rows_max, Arena *arena) {
    ASSERT(table && !table->memory && arena);
    ASSERT(info && info->columns_count > 0 && rows_max >= 1);
    *table = (Table){.info = info, .rows_max = rows_max, .committed = rows_max, .count = 1};
    for (uint32_t i = 0; i < info->columns_count; i++) {
        size_t   width = info->columns[i].width;
        uint8_t *column = arena_push(arena, width * rows_max, 64);
        if (i == 0) table->memory = column;
        memset(column, 0, width); /* the nil row */
        table_column_set(table, i, column);
    }
}

void table_close(Table *table) {
    if (!table || !table->memory) return;
    if (table->reserved == 0) { /* the arena's */
        *table = (Table){0};
        return;
    }
    ASSERT(table->count <= table->committed);
    budget_refund(table->budget, table_bytes_committed(table));
    os_release(table->memory, table->reserved);
    for (uint32_t i = 0; i < table->info->columns_count; i++) table_column_set(table, i, NULL);
    *table = (Table){0};
}

/* The row count to commit when need rows must fit. */
static uint32_t table_target(const Table *table, uint32_t need) {
    ASSERT(need > table->committed && need <= table->rows_max);
    if (MEMORY_DEBUG) return need;
    size_t step_max = growth_step_max / table->info->row_bytes;
    size_t step = table->committed < step_max ? table->committed : step_max;
    size_t rows = table->committed + step;
    if (rows > table->rows_max) rows = table->rows_max;
    if (rows <= need) return need;
    if (table_commit_bytes(table, (uint32_t)rows) > budget_left(table->budget)) return need;
    return (uint32_t)rows;
}

void table_grow(Table *table, uint32_t rows) {
    ASSERT(table && table->memory);
    ASSERT(table->count >= 1 && table->count <= table->committed);
    if (table->committed - table->count >= rows) return;
    size_t row_bytes = table->info->row_bytes;
    if (rows > table->rows_max - table->count)
        arena_fail(table->info->name, rows * row_bytes, table->rows_max * row_bytes, false);
    ArenaFailure failure;
    if (table_commit(table, table_target(table, table->count + rows), &failure)) return;
    arena_fail(failure.arena ? failure.arena : table->info->name, rows * row_bytes,
               failure.bytes_max, failure.injected);
}

void table_clear(Table *table) {
    ASSERT(table && table->memory);
    for (uint32_t i = 0; MEMORY_DEBUG && i < table->info->columns_count; i++) {
        size_t width = table->info->columns[i].width;
        memory_fill((uint8_t *)table_column(table, i) + width, (table->count - 1) * width);
    }
    table->count = 1;
}

/* Grows first, so that a refusal leaves into as it was. */
void table_copy(Table *into, const Table *from) {
    ASSERT(into && from && into != from);
    ASSERT(into->info == from->info && into->memory && from->memory);
    if (from->count > into->committed) table_grow(into, from->count - into->count);
    for (uint32_t i = 0; i < from->info->columns_count; i++)
        memcpy(table_column(into, i), table_column(from, i),
               (size_t)from->count * from->info->columns[i].width);
    into->count = from->count;
}

uint64_t table_hash(const Table *table) {
    ASSERT(table && table->memory);
    uint64_t hash = table->count;
    for (uint32_t i = 0; i < table->info->columns_count; i++)
        hash = hash_bytes(table_column(table, i),
                          (size_t)table->count * table->info->columns[i].width, hash);
    return hash;
}

size_t table_bytes(const Table *table) {
    ASSERT(table);
    return table->info ? (size_t)table->count * table->info->row_bytes : 0;
}

size_t table_bytes_committed(const Table *table) {
    ASSERT(table);
    size_t bytes = 0;
    for (uint32_t i = 0; table->info && i < table->info->columns_count; i++)
        bytes += column_bytes(table->info, i, table->committed);
    return bytes;
}
