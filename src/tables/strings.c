/* Interned strings. Long texts are allowed; the byte pool is limited to 1 GiB of address space.
 *
 * The index is derived data and rebuilt after loading. */
#include "tables/strings.h"

#include "arena/hash.h"

#define TABLE_SELF_ StringRows
TABLE_INFO(StringRows, string_rows_info, "strings", STRINGS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ StringBytes
TABLE_INFO(StringBytes, string_bytes_info, "string_bytes", STRING_BYTES_COLUMNS);
#undef TABLE_SELF_

static bool string_same(const void *owner, uint32_t row, const void *key) {
    return str_same(strings_get(owner, (StrId){row}), *(const String *)key);
}
static uint64_t string_hash(const void *owner, uint32_t row) {
    String s = strings_get(owner, (StrId){row});
    return hash_bytes(s.data, s.count, 1);
}

void strings_open(Strings *strings, uint32_t rows_max, Budget *budget) {
    memset(strings, 0, sizeof *strings);
    table_open(&strings->rows.table, &string_rows_info, rows_max, budget);
    table_open(&strings->bytes.table, &string_bytes_info, 1u << 30, budget);
    intern_open(&strings->index, rows_max, budget);
}

void strings_close(Strings *strings) {
    table_close(&strings->rows.table);
    table_close(&strings->bytes.table);
    intern_close(&strings->index);
}

static StrId find_hashed(const Strings *strings, String s, uint64_t hash) {
    return (StrId){intern_find(&strings->index, hash, string_same, strings, &s)};
}
StrId strings_find(const Strings *strings, String s) {
    if (s.count == 0) return (StrId){0};
    return find_hashed(strings, s, hash_bytes(s.data, s.count, 1));
}

StrId strings_add(Strings *strings, String s) {
    ASSERT(s.count < UINT32_MAX);
    if (s.count == 0) return (StrId){0};
    uint64_t hash = hash_bytes(s.data, s.count, 1);
    StrId    found = find_hashed(strings, s, hash);
    if (str_id_some(found)) return found;
    uint32_t first = table_add_many(&strings->bytes.table, (uint32_t)s.count);
    memcpy(strings->bytes.bytes + first, s.data, s.count);
    uint32_t row = table_add(&strings->rows.table);
    strings->rows.first[row] = first;
    strings->rows.count[row] = (uint32_t)s.count;
    intern_add(&strings->index, hash, row);
    return (StrId){row};
}

String strings_get(const Strings *strings, StrId id) {
    ASSERT(id.row < strings->rows.table.count);
    if (id.row == 0) return (String){"", 0};
    return (String){strings->bytes.bytes + strings->rows.first[id.row],
                    strings->rows.count[id.row]};
}

void strings_reindex(Strings *strings) {
    intern_clear(&strings->index);
    for (uint32_t row = 1; row < strings->rows.table.count; row++)
        intern_add(&strings->index, string_hash(strings, row), row);
}
