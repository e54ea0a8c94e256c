/* Diagnostics as text:
 *
 *     error[SHAPE_MISMATCH] mlp.ir:3:8: matmul: inner sizes differ: 8 and 9
 *         %y = matmul %x, %w
 *              ^
 *       note: ...
 *       help: check the shapes of the operands where they are declared
 *
 * The templates of diags.def are expanded here and nowhere else. Rows that arguments name are read
 * against world->code, so a message about operators is made before systems rewrite them. A row out
 * of range prints as "?"; no diagnostic can make this fail. */
#ifndef STOA_TEXT_MESSAGES_H
#define STOA_TEXT_MESSAGES_H

#include "text/shapes.h"

/* One diagnostic with its notes and advice; ends with a newline. world may be NULL. */
String text_diag(Arena *out, const World *world, const Diags *diags, DiagId id);
/* All of them; notes follow their diagnostic. source: the text the places refer to, or no data. */
String text_diags(Arena *out, const World *world, const Diags *diags);
String text_diags_in(Arena *out, const World *world, const Diags *diags, String source);

/* The parts, for tools. */
String text_diag_message(Arena *out, const World *world, const Diags *diags, DiagId id);
/* The arguments alone, separated by blanks: "inner sizes differ 8 9". */
String text_diag_args(Arena *out, const World *world, const Diags *diags, DiagId id);
typedef struct TextPlace {
    String   file;
    uint32_t line, column; /* 0: unknown */
} TextPlace;
TextPlace text_diag_place(const World *world, const Diags *diags, DiagId id);
/* The name a value shows under, with '%'. Names its whole graph: for messages, not for loops. */
String text_value(Arena *out, const World *world, ValueId value);

#endif
