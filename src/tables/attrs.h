/* Attributes: the non-tensor arguments of operators.
 *
 * An attribute record is a tuple of 64-bit words, one per attribute of the operator's schema entry,
 * interned by content, so equal attributes are equal ids and common-subexpression search compares
 * one number. Numbers sit in the word itself (floats as their bits), ids as row numbers, lists as a
 * ListId: an interned run of 64-bit numbers (axes, strides, or DimId rows). The nil record is the
 * empty tuple; the nil list is the empty list. */
#ifndef STOA_TABLES_ATTRS_H
#define STOA_TABLES_ATTRS_H

#include "arena/intern.h"

ID_TYPE(AttrsId, attrs_id);
ID_TYPE(ListId, list_id);

enum { ATTRS_MAX = 12, LIST_MAX = 64 };

#define WORD_RUNS_COLUMNS(C)                                                                       \
    C(uint32_t, first, "first row of the words")                                                   \
    C(uint32_t, count, "words")
TABLE_TYPE(WordRuns, WORD_RUNS_COLUMNS);
#define WORDS_COLUMNS(C) C(uint64_t, word, "see the top of the file")
TABLE_TYPE(Words, WORDS_COLUMNS);

typedef struct WordSets { /* interned runs of words: once for attribute records, once for lists */
    WordRuns runs;
    Words    words;
    Intern   index;
} WordSets;
typedef struct Attrs {
    WordSets records, lists;
} Attrs;

void attrs_open(Attrs *attrs, uint32_t rows_max, Budget *budget);
void attrs_close(Attrs *attrs);
void attrs_reindex(Attrs *attrs);

AttrsId attrs_add(Attrs *attrs, const uint64_t *words, uint32_t count); /* count <= ATTRS_MAX */
ListId  attrs_list(Attrs *attrs, const int64_t *numbers, uint32_t count);

static inline const uint64_t *attrs_words(const Attrs *attrs, AttrsId id) {
    return attrs->records.words.word + attrs->records.runs.first[id.row];
}
static inline uint32_t attrs_count(const Attrs *attrs, AttrsId id) {
    return attrs->records.runs.count[id.row];
}
static inline const int64_t *list_numbers(const Attrs *attrs, ListId id) {
    return (const int64_t *)(attrs->lists.words.word + attrs->lists.runs.first[id.row]);
}
static inline uint32_t list_count(const Attrs *attrs, ListId id) {
    return attrs->lists.runs.count[id.row];
}
static inline uint64_t word_of_f64(double number) {
    uint64_t word;
    __builtin_memcpy(&word, &number, sizeof word);
    return word;
}
static inline double word_f64(uint64_t word) {
    double number;
    __builtin_memcpy(&number, &word, sizeof number);
    return number;
}

#endif
