/* Interned requirements on sizes. The key is what is required and where; who asked for it first and
 * in which words is kept for the message. */
#include "tables/checks.h"

#include "arena/hash.h"

#define TABLE_SELF_ CheckRows
TABLE_INFO(CheckRows, check_rows_info, "checks", CHECKS_COLUMNS);
#undef TABLE_SELF_

typedef struct CheckKey {
    CheckKind kind;
    uint32_t  lhs, rhs, body;
} CheckKey;

static bool check_same(const void *owner, uint32_t row, const void *key) {
    const CheckRows *rows = &((const Checks *)owner)->rows;
    const CheckKey  *k = key;
    return rows->kind[row] == k->kind && rows->lhs[row].row == k->lhs &&
           rows->rhs[row].row == k->rhs && rows->body[row].row == k->body;
}
static uint64_t key_hash(const CheckKey *key) {
    return hash_mix((uint64_t)key->lhs << 32 | key->rhs, (uint64_t)key->body << 8 | key->kind);
}

void checks_open(Checks *checks, uint32_t rows_max, Budget *budget) {
    memset(checks, 0, sizeof *checks);
    table_open(&checks->rows.table, &check_rows_info, rows_max, budget);
    intern_open(&checks->index, rows_max, budget);
}
void checks_close(Checks *checks) {
    table_close(&checks->rows.table);
    intern_close(&checks->index);
}
void checks_reindex(Checks *checks) {
    const CheckRows *rows = &checks->rows;
    intern_clear(&checks->index);
    for (uint32_t row = 1; row < rows->table.count; row++) {
        CheckKey key = {(CheckKind)rows->kind[row], rows->lhs[row].row, rows->rhs[row].row,
                        rows->body[row].row};
        intern_add(&checks->index, key_hash(&key), row);
    }
}

CheckId checks_add(Checks *checks, CheckKind kind, DimId lhs, DimId rhs, BlockId body,
                   uint16_t opcode, LocId loc, StrId what) {
    ASSERT(kind > CHECK_NIL && kind < CHECK_KIND_COUNT);
    ASSERT(dim_id_some(lhs) && dim_id_some(rhs));
    CheckKey key = {kind, lhs.row, rhs.row, body.row};
    uint64_t hash = key_hash(&key);
    checks->asked++;
    uint32_t row = intern_find(&checks->index, hash, check_same, checks, &key);
    if (row != 0) return (CheckId){row};
    CheckRows *rows = &checks->rows;
    row = table_add(&rows->table);
    rows->kind[row] = (uint8_t)kind;
    rows->opcode[row] = opcode;
    rows->lhs[row] = lhs;
    rows->rhs[row] = rhs;
    rows->body[row] = body;
    rows->loc[row] = loc;
    rows->what[row] = what;
    intern_add(&checks->index, hash, row);
    return (CheckId){row};
}

bool check_holds(CheckKind kind, int64_t lhs, int64_t rhs) {
    if (kind == CHECK_EQUAL) return lhs == rhs;
    if (kind == CHECK_AT_MOST) return lhs <= rhs;
    return rhs > 0 ? lhs % rhs == 0 : lhs == rhs;
}
