/* Tables: the nil row, growth in place, limits, copies and hashes. The columns of the test table
 * have four widths, so that they reach their pages at different rows; refusing each commit in turn
 * must leave the table whole, able to go on, and its budget exact. */
#include "harness.h"

#include <stddef.h>
#include <string.h>

#include "arena/column.h"
#include "arena/os.h"

#define POINTS_COLUMNS(C)                                                                          \
    C(uint16_t, kind, "narrow")                                                                    \
    C(double, weight, "wide")                                                                      \
    C(Span, inputs, "a struct")                                                                    \
    C(uint8_t, flag, "narrowest")
TABLE_TYPE(Points, POINTS_COLUMNS);
#define TABLE_SELF_ Points
TABLE_INFO(Points, points_info, "points", POINTS_COLUMNS);
#undef TABLE_SELF_

static uint32_t points_add(Points *points, uint32_t value) {
    uint32_t row = table_add(&points->table);
    points->kind[row] = (uint16_t)value;
    points->weight[row] = value * 0.5;
    points->inputs[row] = (Span){value, value + 1};
    points->flag[row] = (uint8_t)(value & 1);
    return row;
}

static size_t points_wrong(const Points *points) {
    size_t wrong = 0;
    for (uint32_t row = 1; row < points->table.count; row++)
        wrong += points->kind[row] != (uint16_t)row || points->weight[row] != row * 0.5 ||
                 points->inputs[row].count != row + 1 || points->flag[row] != (row & 1);
    return wrong;
}

/* Adds rows 1, 2, ... up to rows; whether all were added. */
static bool fill(Points *points, uint32_t rows) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return false;
    for (uint32_t row = points->table.count; row <= rows; row++) points_add(points, row);
    arena_guard_end(&guard);
    return true;
}

static bool open_points(Points *points, uint32_t rows_max, Budget *budget) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return false;
    table_open(&points->table, &points_info, rows_max, budget);
    arena_guard_end(&guard);
    return true;
}

TEST(table_info_describes_columns) {
    EXPECT_EQ(points_info.columns_count, 4);
    EXPECT_EQ(points_info.row_bytes, 2 + 8 + 8 + 1);
    EXPECT_STR(points_info.columns[1].name, "weight");
    EXPECT_STR(points_info.columns[2].type, "Span");
    EXPECT_EQ(points_info.columns[3].width, 1);
}

TEST(table_starts_with_the_nil_row) {
    Points points = {0};
    table_open(&points.table, &points_info, 1000, NULL);
    EXPECT_EQ(points.table.count, 1);
    EXPECT(points.kind[0] == 0 && points.weight[0] == 0 && points.flag[0] == 0);
    EXPECT_EQ(points.inputs[0].first + points.inputs[0].count, 0);
    EXPECT(table_column(&points.table, 1) == points.weight);
    for (uint32_t i = 0; i < points_info.columns_count; i++)
        EXPECT_EQ((uintptr_t)table_column(&points.table, i) % 64, 0);
    table_close(&points.table);
    EXPECT(!points.kind && !points.flag && points.table.reserved == 0);
    table_close(&points.table); // a closed table is all zero again
}

TEST(column_grows_without_moving) {
    enum { ROWS = 1 << 20 };
    Points points = {0};
    Budget budget = {.name = "points"};
    table_open(&points.table, &points_info, ROWS + 1, &budget);
    const uint16_t *kind = points.kind;
    const uint8_t  *flag = points.flag;
    EXPECT(fill(&points, ROWS));
    EXPECT(points.kind == kind && points.flag == flag);
    EXPECT_EQ(points.table.count, ROWS + 1);
    EXPECT_EQ(points_wrong(&points), 0);
    EXPECT_EQ(table_bytes(&points.table), (size_t)(ROWS + 1) * 19);
    EXPECT_EQ(table_bytes_committed(&points.table), budget.bytes);
    EXPECT(budget.bytes >= table_bytes(&points.table));
    table_close(&points.table);
    EXPECT_EQ(budget.bytes, 0);
}

TEST(table_add_many_is_contiguous) {
    Points points = {0};
    table_open(&points.table, &points_info, 100000, NULL);
    EXPECT_EQ(table_add_many(&points.table, 0), 1);
    EXPECT_EQ(table_add_many(&points.table, 70000), 1);
    EXPECT_EQ(table_add(&points.table), 70001);
    EXPECT_EQ(table_add_many(&points.table, 29998), 70002);
    EXPECT_EQ(points.table.count, 100000);
    points.weight[99999] = 1;
    table_clear(&points.table);
    EXPECT_EQ(points.table.count, 1);
    EXPECT_EQ(table_add(&points.table), 1);
    table_close(&points.table);
}

#ifdef STOA_DEBUG
TEST(table_fills_new_rows) {
    Points points = {0};
    table_open(&points.table, &points_info, 100, NULL);
    uint32_t row = table_add(&points.table);
    EXPECT_EQ(points.kind[row], 0xAAAA);
    EXPECT_EQ(points.table.committed, 2);
    points.kind[row] = 1;
    table_clear(&points.table);
    EXPECT_EQ(points.kind[row], 0xAAAA);
    EXPECT_EQ(points.kind[0], 0);
    table_close(&points.table);
}
#endif

TEST(table_rows_max_is_exact_and_named) {
    Points points = {0};
    table_open(&points.table, &points_info, 5000, NULL);
    EXPECT(!fill(&points, 5000));
    EXPECT_STR(arena_guard_failure().arena, "points");
    EXPECT_EQ(arena_guard_failure().bytes_max, 5000 * 19);
    EXPECT_EQ(points.table.count, 5000);
    EXPECT_EQ(points_wrong(&points), 0);
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        table_add_many(&points.table, UINT32_MAX); // must not wrap
        EXPECT(false);
        arena_guard_end(&guard);
    }
    EXPECT_STR(arena_guard_failure().arena, "points");
    table_close(&points.table);
}

TEST(table_budget_is_named) {
    Points points = {0};
    Budget budget = {.name = "world", .bytes_max = 200000};
    table_open(&points.table, &points_info, 1 << 20, &budget);
    EXPECT(!fill(&points, 1 << 19));
    EXPECT_STR(arena_guard_failure().arena, "world");
    EXPECT_EQ(arena_guard_failure().bytes_max, 200000);
    EXPECT_EQ(budget.bytes, table_bytes_committed(&points.table)); // a half-grown table gave back
    EXPECT(table_bytes(&points.table) > 150000);                   // close to all of it was usable
    EXPECT_EQ(points_wrong(&points), 0);
    table_close(&points.table);
    EXPECT_EQ(budget.bytes, 0);
    budget.bytes_max = 100;
    EXPECT(!open_points(&points, 100, &budget));
    EXPECT_EQ(budget.bytes, 0);
    EXPECT(!points.table.memory);
}

TEST(table_survives_every_refused_commit) {
    enum { ROWS = 20000 };
    size_t refused = 0;
    for (uint64_t n = 1;; n++) {
        Points points = {0};
        Budget budget = {.name = "faulty"};
        fault_commit_nth(n);
        bool opened = open_points(&points, ROWS + 1, &budget);
        bool done = opened && fill(&points, ROWS);
        if (opened && !done) {
            EXPECT_STR(arena_guard_failure().arena, "points");
            EXPECT_EQ(budget.bytes, table_bytes_committed(&points.table));
            done = fill(&points, ROWS); // the table is whole and can go on
            EXPECT(done);
            done = false;
        }
        if (opened) EXPECT_EQ(points_wrong(&points), 0);
        if (!opened) EXPECT(!points.table.memory);
        fault_commit_nth(0);
        table_close(&points.table);
        EXPECT_EQ(budget.bytes, 0);
        if (done) break;
        refused++;
        EXPECT(arena_guard_failure().injected);
    }
    EXPECT(refused >= 16);
}

TEST(table_copies_and_hashes) {
    Points from = {0}, into = {0};
    table_open(&from.table, &points_info, 100000, NULL);
    table_open(&into.table, &points_info, 50000, NULL);
    uint64_t empty = table_hash(&from.table);
    EXPECT(empty == table_hash(&into.table));
    EXPECT(fill(&from, 30000) && fill(&into, 7));
    EXPECT(table_hash(&from.table) != table_hash(&into.table));
    table_copy(&into.table, &from.table);
    EXPECT_EQ(into.table.count, 30001);
    EXPECT_EQ(points_wrong(&into), 0);
    uint64_t hash = table_hash(&from.table);
    EXPECT(hash == table_hash(&into.table));
    for (uint32_t row = 1; row < 30001; row += 2999) { // a change anywhere shows
        into.flag[row] ^= 1;
        EXPECT(hash != table_hash(&into.table));
        into.flag[row] ^= 1;
    }
    points_add(&into, 1);
    EXPECT(hash != table_hash(&into.table));
    table_clear(&from.table);
    table_copy(&into.table, &from.table);
    EXPECT(empty == table_hash(&into.table));
    EXPECT(fill(&from, 60000));
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        table_copy(&into.table, &from.table); // more rows than it may hold
        EXPECT(false);
        arena_guard_end(&guard);
    }
    EXPECT(empty == table_hash(&into.table));
    table_close(&from.table);
    table_close(&into.table);
}
