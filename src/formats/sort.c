/* Merge sort of row numbers, bottom up: runs of 1, 2, 4, ... rows are merged from the array to the
 * spare and back, and copied once more if the last pass ended in the spare. No recursion, no memory
 * of its own, n log n comparisons for any input. */
#include "formats/sort.h"

#include <string.h>

static void merge(const uint32_t *from, uint32_t *into, size_t first, size_t middle, size_t last,
                  SortLess *less, const void *owner) {
    size_t left = first, right = middle;
    for (size_t at = first; at < last; at++) {
        bool take_right = left == middle || (right < last && less(owner, from[right], from[left]));
        into[at] = take_right ? from[right++] : from[left++];
    }
}

void sort_rows(uint32_t *rows, uint32_t *spare, size_t count, SortLess *less, const void *owner) {
    uint32_t *from = rows, *into = spare;
    for (size_t run = 1; run < count; run *= 2) {
        for (size_t first = 0; first < count; first += 2 * run) {
            size_t middle = count - first < run ? count : first + run;
            size_t last = count - first < 2 * run ? count : first + 2 * run;
            merge(from, into, first, middle, last, less, owner);
        }
        uint32_t *swap = from;
        from = into;
        into = swap;
    }
    if (from != rows) memcpy(rows, from, count * sizeof *rows);
}

uint32_t *sort_order(Arena *out, size_t count, SortLess *less, const void *owner) {
    ASSERT(count <= UINT32_MAX);
    uint32_t *rows = ARENA_ARRAY(out, uint32_t, count);
    for (size_t row = 0; row < count; row++) rows[row] = (uint32_t)row;
    Scratch scratch = scratch_begin(&out, 1);
    sort_rows(rows, ARENA_ARRAY(scratch.arena, uint32_t, count), count, less, owner);
    scratch_end(scratch);
    return rows;
}

int sort_compare_strings(const char *a, size_t a_count, const char *b, size_t b_count) {
    size_t shared = a_count < b_count ? a_count : b_count;
    int    order = shared == 0 ? 0 : memcmp(a, b, shared);
    if (order != 0) return order;
    return (a_count > b_count) - (a_count < b_count);
}
