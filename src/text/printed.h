/* What a print row says: its text with values in the places, or the values alone.
 *
 * A scalar is its number; others show type and elements in row-major order, as constants are
 * written: `f32[2,3] [1, 2, 3, 4, 5, ...]`. Complex numbers are (re, im). */
#ifndef STOA_TEXT_PRINTED_H
#define STOA_TEXT_PRINTED_H

#include "tables/tensor.h"
#include "tables/world.h"

/* op: the row, whose attributes say text and how much; values: its operands, dense. In `out`. */
String text_printed(Arena *out, const World *world, OpId op, const Tensor *values, uint32_t count);

#endif
