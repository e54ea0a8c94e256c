/* Interned strings: names of values, symbols, parameters, graphs and files.
 *
 * Equal text has one id, so names are compared as numbers; row 0 is the empty string. */
#ifndef STOA_TABLES_STRINGS_H
#define STOA_TABLES_STRINGS_H

#include "arena/intern.h"
#include "arena/str.h"

ID_TYPE(StrId, str_id);

#define STRINGS_COLUMNS(C)                                                                         \
    C(uint32_t, first, "first byte, a row of string_bytes")                                        \
    C(uint32_t, count, "bytes")
TABLE_TYPE(StringRows, STRINGS_COLUMNS);
#define STRING_BYTES_COLUMNS(C) C(char, bytes, "text back to back, no terminators")
TABLE_TYPE(StringBytes, STRING_BYTES_COLUMNS);

typedef struct Strings {
    StringRows  rows;
    StringBytes bytes;
    Intern      index;
} Strings;

void   strings_open(Strings *strings, uint32_t rows_max, Budget *budget);
void   strings_close(Strings *strings);
StrId  strings_add(Strings *strings, String s);        /* empty string: the nil row */
StrId  strings_find(const Strings *strings, String s); /* nil if never added */
String strings_get(const Strings *strings, StrId id);
void   strings_reindex(Strings *strings); /* after loading */

#endif
