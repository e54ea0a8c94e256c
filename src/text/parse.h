/* Program text to rows (docs/ir.md describes the language).
 *
 * The parser appends graphs to the code of a world, in one pass, and runs the inference rule of
 * each operator as it is added, so a wrong program gets the diagnostics of inference with places in
 * the text. It goes on after an error at the next line or closing brace, and gives up after 100
 * errors. A world whose parse failed may be printed and closed, nothing else. */
#ifndef STOA_TEXT_PARSE_H
#define STOA_TEXT_PARSE_H

#include "tables/world.h"

/* False if there were errors: rows of world->diags. The source may go when this returns. Unwinds to
 * the caller's guard when a table or the budget of the world is full. */
bool text_parse(World *world, String source, String file_name);

#endif
