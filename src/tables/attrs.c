/* Interned runs of words: attribute records and lists of numbers, two instances of one mechanism.
 *
 * A run is copied to the stack before its column grows, because callers often pass words that lie
 * in that column. */
#include "tables/attrs.h"

#include <string.h>

#include "arena/hash.h"

#define TABLE_SELF_ WordRuns
TABLE_INFO(WordRuns, record_runs_info, "attr_records", WORD_RUNS_COLUMNS);
TABLE_INFO(WordRuns, list_runs_info, "attr_lists", WORD_RUNS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Words
TABLE_INFO(Words, record_words_info, "attr_record_words", WORDS_COLUMNS);
TABLE_INFO(Words, list_words_info, "attr_list_words", WORDS_COLUMNS);
#undef TABLE_SELF_

typedef struct RunKey {
    const uint64_t *words;
    uint32_t        count;
} RunKey;

static uint64_t words_hash(const uint64_t *words, uint32_t count) {
    uint64_t hash = count;
    uint32_t i = count & 1;
    if (i != 0) hash ^= words[0] << 8;
    for (; i < count; i += 2) hash = hash_mix(hash ^ words[i], words[i + 1]);
    return hash_mix(hash, 5);
}
static bool run_same(const void *owner, uint32_t row, const void *key) {
    const WordSets *sets = owner;
    const RunKey   *k = key;
    if (sets->runs.count[row] != k->count) return false;
    const uint64_t *words = sets->words.word + sets->runs.first[row];
    for (uint32_t i = 0; i < k->count; i++) /* few: a call of memcmp takes longer */
        if (words[i] != k->words[i]) return false;
    return true;
}
static uint64_t run_hash(const void *owner, uint32_t row) {
    const WordSets *sets = owner;
    return words_hash(sets->words.word + sets->runs.first[row], sets->runs.count[row]);
}

static uint32_t run_add(WordSets *sets, const uint64_t *words, uint32_t count) {
    if (count == 0) return 0;
    RunKey   key = {words, count};
    uint64_t hash = words_hash(words, count), copy[LIST_MAX];
    uint32_t row = intern_find(&sets->index, hash, run_same, sets, &key);
    if (row != 0) return row;
    memcpy(copy, words, count * sizeof *words); /* words may point into the column that grows */
    uint32_t first = table_add_many(&sets->words.table, count);
    memcpy(sets->words.word + first, copy, count * sizeof *words);
    row = table_add(&sets->runs.table);
    sets->runs.first[row] = first;
    sets->runs.count[row] = count;
    intern_add(&sets->index, hash, row);
    return row;
}
static void sets_reindex(WordSets *sets) {
    intern_clear(&sets->index);
    for (uint32_t row = 1; row < sets->runs.table.count; row++)
        intern_add(&sets->index, run_hash(sets, row), row);
}

void attrs_open(Attrs *attrs, uint32_t rows_max, Budget *budget) {
    memset(attrs, 0, sizeof *attrs);
    table_open(&attrs->records.runs.table, &record_runs_info, rows_max, budget);
    table_open(&attrs->records.words.table, &record_words_info, rows_max, budget);
    intern_open(&attrs->records.index, rows_max, budget);
    table_open(&attrs->lists.runs.table, &list_runs_info, rows_max, budget);
    table_open(&attrs->lists.words.table, &list_words_info, rows_max, budget);
    intern_open(&attrs->lists.index, rows_max, budget);
}

void attrs_close(Attrs *attrs) {
    WordSets *sets[2] = {&attrs->records, &attrs->lists};
    for (int i = 0; i < 2; i++) {
        table_close(&sets[i]->runs.table);
        table_close(&sets[i]->words.table);
        intern_close(&sets[i]->index);
    }
}

void attrs_reindex(Attrs *attrs) {
    sets_reindex(&attrs->records);
    sets_reindex(&attrs->lists);
}

AttrsId attrs_add(Attrs *attrs, const uint64_t *words, uint32_t count) {
    ASSERT(count <= ATTRS_MAX);
    return (AttrsId){run_add(&attrs->records, words, count)};
}

ListId attrs_list(Attrs *attrs, const int64_t *numbers, uint32_t count) {
    ASSERT(count <= LIST_MAX);
    return (ListId){run_add(&attrs->lists, (const uint64_t *)numbers, count)};
}
