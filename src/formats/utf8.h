/* UTF-8: the length of the well-formed sequence at a place, and writing one code point. Shared by
 * the readers and writers of JSON and configuration. Overlong forms, surrogates and values past
 * U+10FFFF are not well-formed (Unicode, table 3-7), so text that passes here passes everywhere. */
#ifndef STOA_FORMATS_UTF8_H
#define STOA_FORMATS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence that begins at `at` (1..4), or 0 if none does. left: bytes that may be
 * read. */
static inline size_t utf8_length(const char *at, size_t left) {
    if (left == 0) return 0;
    uint8_t  lead = (uint8_t)at[0];
    uint32_t low = 0x80, high = 0xBF; /* allowed range of the second byte */
    size_t   count = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead > 0xF4 || count > left) return 0;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (size_t i = 1; i < count; i++) {
        uint8_t byte = (uint8_t)at[i];
        if (byte < low || byte > high) return 0;
        low = 0x80;
        high = 0xBF;
    }
    return count;
}

/* Writes a code point below 0x110000 that is no surrogate; returns its bytes (1..4). */
static inline size_t utf8_put(char *into, uint32_t point) {
    if (point < 0x80) {
        into[0] = (char)point;
        return 1;
    }
    size_t count = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = count - 1; i > 0; i--, point >>= 6) into[i] = (char)(0x80u | (point & 0x3Fu));
    into[0] = (char)((count == 2 ? 0xC0u : count == 3 ? 0xE0u : 0xF0u) | point);
    return count;
}

#endif
