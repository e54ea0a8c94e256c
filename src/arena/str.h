/* Strings: bytes with a length, no terminator implied; who owns them is said by the arena
 * argument.
 *
 * str_format and str_copy always add a terminator past the end, so their .data can go to C
 * functions. */
#ifndef STOA_ARENA_STR_H
#define STOA_ARENA_STR_H

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "arena/arena.h"

typedef struct String {
    const char *data;
    size_t      count; /* bytes */
} String;
#define STR(literal) ((String){(literal), sizeof(literal) - 1})
#define STR_ARGS(s)  (int)(s).count, (s).data /* for "%.*s" */

static inline String str_of(const char *text) { return (String){text, text ? strlen(text) : 0}; }
static inline bool   str_same(String a, String b) {
      return a.count == b.count && (a.count == 0 || memcmp(a.data, b.data, a.count) == 0);
}
bool   str_starts(String s, String prefix);
String str_copy(Arena *out, String s); /* terminated */
String str_format(Arena *out, const char *format, ...) PRINTF_LIKE(2, 3);
String str_format_list(Arena *out, const char *format, va_list args);
/* Whole-string numbers; false if anything is left over or out of range. */
bool str_to_i64(String s, int64_t *out_number);
bool str_to_f64(String s, double *out_number);
/* "1048576", "96KiB", "1.5 GiB", "2GB": bytes, rounded down; units up to T. */
bool str_to_bytes(String s, uint64_t *out_bytes);
/* Edit distance (Levenshtein, capped at 64 bytes a side), for "did you mean". */
uint32_t str_distance(String a, String b);
/* The closest of names within a third of its length, or an empty string. */
String str_suggest(String unknown, const String *names, size_t names_count);

/* A growing text in an arena (the arena must not be pushed to by others meanwhile: it extends in
 * place). text_done returns the whole, terminated. */
typedef struct Text {
    Arena *arena;
    char  *data;
    size_t count, capacity;
} Text;
Text   text_begin(Arena *arena);
void   text_add(Text *text, String s);
void   text_addf(Text *text, const char *format, ...) PRINTF_LIKE(2, 3);
String text_done(Text *text);

#endif
