/* What a program prints, to be compared. */
#ifndef STOA_TESTS_HEARD_H
#define STOA_TESTS_HEARD_H

#include <string.h>

#include "arena/arena.h"
#include "text/printed.h"

typedef struct Heard {
    char   text[1 << 14]; /* lines that fit */
    size_t count;
    size_t lines;
} Heard;
static inline void heard_line(void *context, const World *world, uint32_t op, const Tensor *values,
                              uint32_t count) {
    Heard  *heard = context;
    Scratch scratch = scratch_begin(NULL, 0);
    String  line = text_printed(scratch.arena, world, (OpId){op}, values, count);
    if (heard->count + line.count < sizeof heard->text) {
        memcpy(heard->text + heard->count, line.data, line.count);
        heard->count += line.count;
        heard->text[heard->count++] = '\n';
    }
    heard->lines++;
    scratch_end(scratch);
}
static inline void heard_begin(Diags *diags, Heard *heard) {
    heard->count = heard->lines = 0;
    diags->print = heard_line;
    diags->print_context = heard;
}
static inline bool heard_same(const Heard *a, const Heard *b) {
    return a->lines == b->lines && a->count == b->count && memcmp(a->text, b->text, a->count) == 0;
}

#endif
