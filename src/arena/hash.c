/* Hashing of byte strings for interning and content addressing, and CRC-32C for files.
 *
 * hash_bytes consumes 48 bytes a round in three independent multiply chains, because one chain
 * waits for its multiplier (4-5 cycles a 16 bytes); tails and short keys read overlapping words, so
 * no byte loop is left. The length goes into the last mix: "a" and "a\0" differ.
 *
 * CRC-32C uses the SSE4.2 instruction on whole words; tails, and machines without it, use a table
 * of sixteen entries, which is small enough to verify by eye and only ever a fallback. */
#include "arena/hash.h"

#include <string.h>

#include "arena/check.h"

enum { ROUND_BYTES = 48 };

static const uint64_t hash_secrets[] = {0xA0761D6478BD642Fu, 0xE7037ED1A0B428DBu,
                                        0x8EBC6AF09C88C6E3u};

static inline uint64_t load8(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t load4(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Up to 16 bytes as two words that between them see every byte. */
static inline void load_short(const uint8_t *at, size_t count, uint64_t *out_a, uint64_t *out_b) {
    if (count >= 8) {
        *out_a = load8(at);
        *out_b = load8(at + count - 8);
    } else if (count >= 4) {
        *out_a = load4(at);
        *out_b = load4(at + count - 4);
    } else if (count > 0) { /* first, middle and last byte cover one, two and three bytes */
        *out_a = (uint64_t)at[0] << 16 | (uint64_t)at[count / 2] << 8 | at[count - 1];
        *out_b = 0;
    } else {
        *out_a = *out_b = 0;
    }
}

/* Whole rounds; returns the new seed and moves *at. */
static uint64_t hash_rounds(const uint8_t **at, size_t rounds, uint64_t seed) {
    ASSERT(rounds > 0);
    const uint8_t *p = *at;
    uint64_t       lane1 = seed ^ hash_secrets[1], lane2 = seed ^ hash_secrets[2];
    for (size_t i = 0; i < rounds; i++, p += ROUND_BYTES) {
        seed = hash_mix(load8(p), load8(p + 8) ^ seed);
        lane1 = hash_mix(load8(p + 16), load8(p + 24) ^ lane1);
        lane2 = hash_mix(load8(p + 32), load8(p + 40) ^ lane2);
    }
    *at = p;
    return hash_mix(seed ^ lane1, lane2);
}

uint64_t hash_bytes(const void *bytes, size_t count, uint64_t seed) {
    ASSERT(bytes || count == 0);
    const uint8_t *at = bytes;
    size_t         left = count;
    uint64_t       a, b;
    seed ^= hash_secrets[0];
    if (left > 16) {
        if (left > ROUND_BYTES) {
            size_t rounds = (left - 1) / ROUND_BYTES; /* keeps 1 to 48 bytes for the tail */
            seed = hash_rounds(&at, rounds, seed);
            left -= rounds * ROUND_BYTES;
        }
        for (; left > 16; left -= 16, at += 16) seed = hash_mix(load8(at), load8(at + 8) ^ seed);
        a = load8(at + left - 16); /* the last 16 bytes, some of them a second time */
        b = load8(at + left - 8);
    } else {
        load_short(at, left, &a, &b);
    }
    uint64_t mixed = hash_mix(a ^ seed, b ^ hash_secrets[1]);
    return hash_mix(mixed ^ seed, count ^ hash_secrets[2]);
}

/* --- CRC-32C, reflected polynomial 0x82F63B78 ------------------------------------------------- */

static uint32_t crc_table(uint32_t crc, const uint8_t *at, size_t count) {
    static const uint32_t nibble[16] = {0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u,
                                        0x417B1DBCu, 0x5125DAD3u, 0x61C69362u, 0x7198540Du,
                                        0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u,
                                        0xC38D26C4u, 0xD3D3E1ABu, 0xE330A81Au, 0xF36E6F75u};
    for (size_t i = 0; i < count; i++) {
        crc ^= at[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
/* count is a multiple of 8. */
__attribute__((target("sse4.2"))) static uint32_t crc_words(uint32_t crc, const uint8_t *at,
                                                            size_t count) {
    ASSERT(count % 8 == 0);
    uint64_t wide = crc;
    for (size_t i = 0; i < count; i += 8) wide = __builtin_ia32_crc32di(wide, load8(at + i));
    return (uint32_t)wide;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *bytes, size_t count) {
    ASSERT(bytes || count == 0);
    const uint8_t *at = bytes;
    size_t         words = 0;
    if (count == 0) return crc; /* bytes may be NULL then */
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        words = count & ~(size_t)7;
        crc = crc_words(crc, at, words);
    }
#endif
    return ~crc_table(crc, at + words, count - words);
}
