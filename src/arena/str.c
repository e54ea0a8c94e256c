/* Strings, numbers in text, and text that grows in an arena.
 *
 * Numbers are read and written in the C locale whatever the host program has set: a program text
 * printed under a locale with decimal commas must parse everywhere. That costs a switch of a
 * thread-local pointer per call.
 *
 * Invariant of Text: data[0..capacity) is the top of the arena, so growing is one more push. */
#define _POSIX_C_SOURCE 200809L
#include "arena/str.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FORMAT_BYTES = 256,  /* formatted on the stack first, so that most text is formatted once */
    NUMBER_BYTES = 1100, /* the longest exact decimal of a double has 1077 characters */
    DISTANCE_BYTES = 64,
    TEXT_BYTES = 64, /* first capacity of a Text */
};

/* glibc answers "C" with a static object, so this allocates nothing and needs no freelocale. */
static locale_t locale_plain(void) {
    static _Thread_local locale_t plain;
    if (!plain) plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ASSERT(plain);
    return plain;
}

bool str_starts(String s, String prefix) {
    ASSERT(s.data || s.count == 0);
    return s.count >= prefix.count && str_same((String){s.data, prefix.count}, prefix);
}

String str_copy(Arena *out, String s) {
    ASSERT(s.data || s.count == 0);
    ASSERT(s.count < SIZE_MAX);
    char *data = ARENA_ARRAY(out, char, s.count + 1);
    if (s.count > 0) memcpy(data, s.data, s.count);
    data[s.count] = 0;
    return (String){data, s.count};
}

String str_format(Arena *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    String text = str_format_list(out, format, args);
    va_end(args);
    return text;
}

String str_format_list(Arena *out, const char *format, va_list args) {
    ASSERT(out && format);
    char     first[FORMAT_BYTES];
    va_list  again;
    locale_t before = uselocale(locale_plain());
    va_copy(again, args);
    int count = vsnprintf(first, sizeof first, format, args);
    (void)uselocale(before); /* the push below may unwind */
    if (NEVER(count < 0)) count = first[0] = 0;
    size_t bytes = (size_t)count + 1;
    bool   fits = bytes <= sizeof first;
    if (fits) {
        va_end(again);
        return str_copy(out, (String){first, (size_t)count});
    }
    char *data = ARENA_ARRAY(out, char, bytes);
    before = uselocale(locale_plain());
    (void)vsnprintf(data, bytes, format, again);
    (void)uselocale(before);
    va_end(again);
    return (String){data, (size_t)count};
}

bool str_to_i64(String s, int64_t *out_number) {
    ASSERT(out_number);
    bool   negative = s.count > 0 && s.data[0] == '-';
    size_t at = s.count > 0 && (negative || s.data[0] == '+');
    if (at == s.count) return false;
    int64_t number = 0; /* kept negative, because INT64_MIN has no positive twin */
    for (; at < s.count; at++) {
        if (s.data[at] < '0' || s.data[at] > '9') return false;
        if (__builtin_mul_overflow(number, 10, &number)) return false;
        if (__builtin_sub_overflow(number, s.data[at] - '0', &number)) return false;
    }
    if (!negative && number == INT64_MIN) return false;
    *out_number = negative ? number : -number;
    return true;
}

/* Decimal, hexadecimal, inf and nan as strtod takes them. A finite text that overflows is refused;
 * one that underflows rounds to zero or a subnormal, as arithmetic would. */
bool str_to_f64(String s, double *out_number) {
    ASSERT(out_number);
    char text[NUMBER_BYTES + 1];
    if (s.count == 0 || s.count > NUMBER_BYTES) return false;
    if (memchr(" \t\n\v\f\r", s.data[0], 6)) return false; /* strtod would skip it */
    memcpy(text, s.data, s.count);
    text[s.count] = 0;
    char    *end = text;
    locale_t before = uselocale(locale_plain());
    double   number = strtod(text, &end);
    (void)uselocale(before);
    if (end != text + s.count) return false;
    size_t sign = text[0] == '-' || text[0] == '+';
    if (isinf(number) && text[sign] != 'i' && text[sign] != 'I') return false;
    *out_number = number;
    return true;
}

bool str_to_bytes(String s, uint64_t *out_bytes) {
    static const char *const units[] = {"",    "B",  "KiB", "MiB", "GiB",
                                        "TiB", "kB", "MB",  "GB",  "TB"};
    static const double      sizes[] = {1, 1, 0x1p10, 0x1p20, 0x1p30, 0x1p40, 1e3, 1e6, 1e9, 1e12};
    size_t                   count = 0;
    double                   number = 0;
    while (count < s.count && strchr("0123456789.", s.data[count])) count++;
    if (count == 0 || !str_to_f64((String){s.data, count}, &number)) return false;
    String unit = {s.data + count, s.count - count};
    while (unit.count != 0 && unit.data[0] == ' ') unit = (String){unit.data + 1, unit.count - 1};
    for (size_t i = 0; i < LENGTH(units); i++) {
        if (!str_same(unit, str_of(units[i]))) continue;
        if (number * sizes[i] >= 0x1p63) return false;
        *out_bytes = (uint64_t)(number * sizes[i]);
        return true;
    }
    return false;
}

uint32_t str_distance(String a, String b) {
    size_t a_count = a.count < DISTANCE_BYTES ? a.count : DISTANCE_BYTES;
    size_t b_count = b.count < DISTANCE_BYTES ? b.count : DISTANCE_BYTES;
    ASSERT(a.data || a_count == 0);
    ASSERT(b.data || b_count == 0);
    uint32_t costs[DISTANCE_BYTES + 1]; /* of turning a[0,i) into each b[0,j) */
    for (size_t j = 0; j <= b_count; j++) costs[j] = (uint32_t)j;
    for (size_t i = 0; i < a_count; i++) {
        uint32_t corner = costs[0]; /* the cost at [i][j], before this row overwrote it */
        costs[0] = (uint32_t)i + 1;
        for (size_t j = 0; j < b_count; j++) {
            uint32_t change = corner + (a.data[i] != b.data[j]);
            uint32_t add = costs[j] + 1, drop = costs[j + 1] + 1;
            corner = costs[j + 1];
            uint32_t least = change < add ? change : add;
            costs[j + 1] = least < drop ? least : drop;
        }
    }
    return costs[b_count];
}

/* A third of the unknown's length, at least one edit; a single letter resembles everything, so it
 * gets no suggestion. Ties go to the first name. */
String str_suggest(String unknown, const String *names, size_t names_count) {
    ASSERT(names || names_count == 0);
    String   closest = {"", 0};
    size_t   within = unknown.count / 3 > 1 ? unknown.count / 3 : 1;
    uint32_t least = (uint32_t)(within < DISTANCE_BYTES ? within : DISTANCE_BYTES) + 1;
    if (unknown.count < 2) return closest;
    for (size_t i = 0; i < names_count; i++) {
        uint32_t distance = str_distance(unknown, names[i]);
        if (distance < least) closest = names[i];
        if (distance < least) least = distance;
    }
    return closest;
}

/* --- growing text ----------------------------------------------------------------------------- */

Text text_begin(Arena *arena) {
    ASSERT(arena);
    return (Text){.arena = arena};
}

/* Room for bytes more and the terminator. */
static void text_reserve(Text *text, size_t bytes) {
    ASSERT(text->arena);
    ASSERT(bytes < SIZE_MAX / 4); /* no text in memory is that long; the sums cannot overflow */
    size_t need = text->count + bytes + 1;
    if (need <= text->capacity) return;
    size_t twice = text->capacity > 0 ? text->capacity * 2 : TEXT_BYTES;
    size_t capacity = need > twice ? need : twice;
    char  *more = ARENA_ARRAY(text->arena, char, capacity - text->capacity);
    if (!text->data) text->data = more;
    if (NEVER(more !=
              text->data + text->capacity)) { /* somebody pushed: move, so no harm is done */
        char *data = ARENA_ARRAY(text->arena, char, capacity);
        memcpy(data, text->data, text->count);
        text->data = data;
    }
    text->capacity = capacity;
}

void text_add(Text *text, String s) {
    ASSERT(text);
    ASSERT(s.data || s.count == 0);
    text_reserve(text, s.count);
    if (s.count > 0) memcpy(text->data + text->count, s.data, s.count);
    text->count += s.count;
}

void text_addf(Text *text, const char *format, ...) {
    ASSERT(text && format);
    text_reserve(text, FORMAT_BYTES);
    for (;;) { /* at most twice: the first round says how much room is needed */
        size_t  room = text->capacity - text->count;
        va_list args;
        va_start(args, format);
        locale_t before = uselocale(locale_plain());
        int      count = vsnprintf(text->data + text->count, room, format, args);
        (void)uselocale(before);
        va_end(args);
        if (NEVER(count < 0)) return;
        bool fits = (size_t)count < room;
        if (fits) text->count += (size_t)count;
        if (fits) return;
        text_reserve(text, (size_t)count);
    }
}

/* Gives the unused capacity back if the text is still the top of its arena. */
String text_done(Text *text) {
    ASSERT(text);
    text_reserve(text, 0);
    text->data[text->count] = 0;
    String whole = {text->data, text->count};
    if (ARENA_ARRAY(text->arena, char, 0) == text->data + text->capacity) {
        ArenaMark mark = arena_mark(text->arena);
        mark.used -= text->capacity - text->count - 1;
        arena_release(text->arena, mark);
    }
    *text = (Text){.arena = text->arena};
    return whole;
}
