/* Tables of columns on reserved address space.
 *
 * A table is a set of columns that share a row count. Each column is contiguous and never moves:
 * its address space (rows_max x width) is reserved when the table opens and committed as rows are
 * added. So `ops->opcode[row]` is one load, and a pointer into a column is valid for the life of
 * the table. Row 0 is the nil row, all zero, present from the start (count is 1 in an empty table).
 *
 * Declare with an X-macro list C(type, name, "doc"):
 *     #define OPS_COLUMNS(C) C(uint16_t, opcode, "...") ...
 *     TABLE_TYPE(Ops, OPS_COLUMNS);                       in the header: struct Ops
 *     TABLE_INFO(Ops, ops_info, "ops", OPS_COLUMNS);      in the source
 * and expand the same list wherever all columns are visited; generic code uses table->info. */
#ifndef STOA_ARENA_COLUMN_H
#define STOA_ARENA_COLUMN_H

#include "arena/arena.h"

typedef struct ColumnInfo {
    const char *name, *type, *doc;
    uint32_t    width;  /* bytes a row */
    uint32_t    offset; /* of the data pointer in the typed struct */
} ColumnInfo;
typedef struct TableInfo {
    const char       *name;
    const ColumnInfo *columns;
    uint32_t          columns_count;
    uint32_t          row_bytes; /* sum of the widths */
} TableInfo;
typedef struct Table { /* first member of every typed table */
    const TableInfo *info;
    Budget          *budget;    /* may be NULL */
    uint8_t         *memory;    /* the reservation, all columns */
    size_t           reserved;  /* bytes */
    uint32_t         count;     /* rows in use, the nil row included */
    uint32_t         committed; /* rows that may be touched without growing */
    uint32_t         rows_max;
} Table;

#define TABLE_FIELD_(type, name, doc) type *name;
#define TABLE_TYPE(T, COLUMNS)                                                                     \
    typedef struct T {                                                                             \
        Table table;                                                                               \
        COLUMNS(TABLE_FIELD_)                                                                      \
    } T
#define TABLE_COLUMN_(ctype, cname, cdoc)                                                          \
    {.name = #cname,                                                                               \
     .type = #ctype,                                                                               \
     .doc = cdoc,                                                                                  \
     .width = sizeof(ctype),                                                                       \
     .offset = (uint32_t)offsetof(TABLE_SELF_, cname)},
#define TABLE_WIDTH_(ctype, cname, cdoc) +sizeof(ctype)
/* Use after `#define TABLE_SELF_ Ops`; undefine it afterwards. */
#define TABLE_INFO(T, info_name, table_name, COLUMNS)                                              \
    static const ColumnInfo info_name##_columns[] = {COLUMNS(TABLE_COLUMN_)};                      \
    static const TableInfo  info_name = {.name = table_name,                                       \
                                         .columns = info_name##_columns,                           \
                                         .columns_count = LENGTH(info_name##_columns),             \
                                         .row_bytes = 0 COLUMNS(TABLE_WIDTH_)}

/* Reserves; rows_max is at least 2. Unwinds (arena guard) when refused. table is all zero
 * before. */
void table_open(Table *table, const TableInfo *info, uint32_t rows_max, Budget *budget);
void table_close(Table *table); /* safe on an all-zero table */
/* A table of at most rows_max rows in memory of an arena, all of it at once: for many small tables
 * whose size is known. Closing it does nothing. */
void table_open_in(Table *table, const TableInfo *info, uint32_t rows_max, Arena *arena);
/* Makes count + rows committed. Unwinds at the budget, at rows_max (named in the failure) or when
 * the system refuses. Committed rows beyond count are undefined: writers set every column. */
void                   table_grow(Table *table, uint32_t rows);
static inline uint32_t table_add(Table *table) { /* one more row; the caller fills the columns */
    if (__builtin_expect(table->count == table->committed, 0)) table_grow(table, 1);
    return table->count++;
}
static inline uint32_t table_add_many(Table *table, uint32_t rows) { /* first of rows new rows */
    if (__builtin_expect(table->committed - table->count < rows, 0)) table_grow(table, rows);
    uint32_t first = table->count;
    table->count += rows;
    return first;
}
void     table_clear(Table *table);                  /* back to the nil row; keeps the memory */
void     table_copy(Table *into, const Table *from); /* same info; into becomes equal to from */
void    *table_column(const Table *table, uint32_t column); /* its data */
uint64_t table_hash(const Table *table);                    /* of all rows in use */
size_t   table_bytes(const Table *table);                   /* in use: count x row_bytes */
size_t   table_bytes_committed(const Table *table);

#endif
