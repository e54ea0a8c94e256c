/* A world, or one graph of it, as text (docs/ir.md describes the language).
 *
 * The text names values by their names, never by row numbers, in program order, so it can be
 * compared and kept. Parsing it gives the same program, and printing that gives the same text.
 * Attributes equal to their default are left out; results of operators whose types no rule derives
 * keep a type annotation, others get one on demand. Constants of up to 64 elements are lists,
 * larger ones (and NaNs with unusual bits) hexadecimal bytes. */
#ifndef STOA_TEXT_PRINT_H
#define STOA_TEXT_PRINT_H

#include "tables/schema.h"

typedef struct TextOptions {
    GraphId graph; /* nil: the facts of all symbols and every graph */
    bool    types; /* annotate all results */
    bool    bare;  /* without the version line */
} TextOptions;

enum { TEXT_VERSION = 1 };

/* The text lives in out. world->code is printed; it must hold the invariants of tables/code.h. */
String text_print(Arena *out, const World *world, TextOptions options);

#endif
