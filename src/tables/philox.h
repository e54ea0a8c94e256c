/* Philox4x32-10: random numbers as a pure function of (key, counter), so that any element of any
 * step can be drawn alone, in any order, on any lane or device, and a resumed run draws the same.
 *
 * J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3"
 * (SC'11): ten rounds of two 32x32->64 multiplications, the key advanced by Weyl constants. The
 * known answers of the authors' Random123 library are in tests/unit/test_tables_philox.c.
 *
 *   word    counter: [0] low of `low`  [1] high of `low`  [2] low of `high`  [3] high of `high`
 *           key:     [0] low of `key`  [1] high of `key`
 *
 * By habit `key` is the run's seed, `low` the index drawn and `high` says what it is drawn for. */
#ifndef STOA_TABLES_PHILOX_H
#define STOA_TABLES_PHILOX_H

#include <stdint.h>

typedef struct Philox {
    uint32_t word[4];
} Philox;

static inline Philox philox_draw(uint64_t key, uint64_t low, uint64_t high) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    Philox   c = {{(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)}};
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.word[0], p1 = (uint64_t)0xCD9E8D57u * c.word[2];
        c = (Philox){{(uint32_t)(p1 >> 32) ^ c.word[1] ^ k0, (uint32_t)p1,
                      (uint32_t)(p0 >> 32) ^ c.word[3] ^ k1, (uint32_t)p0}};
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    return c;
}
/* One word as a number in [0, 1): the 24 bits that a float holds exactly. */
static inline float philox_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }
/* The first two words as a number in [0, count), count >= 1; the bias is below count / 2^64. */
static inline uint64_t philox_below(Philox drawn, uint64_t count) {
    __extension__ typedef unsigned __int128 Wide;
    uint64_t                                bits = (uint64_t)drawn.word[1] << 32 | drawn.word[0];
    return (uint64_t)((Wide)bits * count >> 64);
}

#endif
