/* Names of values as text shows them: unique in a graph, stable under printing and parsing.
 *
 * A value shows as its own name, or as that of its operator (block arguments: "arg"), followed by
 * ".1", ".2", ... where the name is taken already, in the order of the text. A name is therefore a
 * base and a number, and one number per value row is all that is stored. The parser uses the same
 * rule backwards: a name that the printer would have made up is not stored in the world. */
#ifndef STOA_TEXT_NAMES_H
#define STOA_TEXT_NAMES_H

#include "tables/schema.h"

enum { NAMES_DIGITS_MAX = 20 }; /* of a 64-bit number */

typedef struct Names {
    const World    *world;
    const Code     *code;
    const uint32_t *number; /* by ValueId.row; 0: the base alone */
} Names;

/* Names the values of one graph, or of all graphs when it is nil. Linear. */
Names names_make(Arena *out, const World *world, const Code *code, GraphId graph);
/* The base of a value's name: "x", "add", "arg"; "nil" for the nil value. */
String names_base(const World *world, const Code *code, ValueId value);
/* The whole name without '%'. */
String names_text(Arena *out, const Names *names, ValueId value);

/* Whether a name can stand in text without quotes. */
bool names_plain(String name);
/* The quoted form: "..." with escapes. */
String names_quote(Arena *out, String name);
/* Writes the decimal digits of number; returns how many. out: NAMES_DIGITS_MAX long. */
uint32_t names_digits(char *out, uint64_t number);

#endif
