/* Numbers as text and back, exactly: what numbers_print writes, numbers_parse reads to the same
 * bits.
 *
 * Floats are written with as few digits as that allows. Common numbers (integers, few decimals)
 * take a path of integer arithmetic in both directions, the rest goes through printf and strtod.
 * NaN is "nan" whatever its bits: payloads that must keep them are printed as bytes (see
 * print.h). */
#ifndef STOA_TEXT_NUMBERS_H
#define STOA_TEXT_NUMBERS_H

#include "arena/str.h"

enum { NUMBERS_TEXT_MAX = 40 };

/* out: NUMBERS_TEXT_MAX bytes. single: as many digits as a 32-bit float needs. Returns the
 * count. */
uint32_t numbers_print(char *out, double number, bool single);
uint32_t numbers_print_int(char *out, int64_t number);
/* An unsigned decimal number as the lexer cuts it, with a sign put before it. */
bool numbers_parse(String text, bool negative, double *out_number);
bool numbers_parse_int(String text, bool negative, int64_t *out_number);

#endif
