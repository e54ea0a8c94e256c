/* Hashing: dependence on every byte, known values (they name cached plans, so they may not change),
 * spread and avalanche on short and near-equal keys; CRC-32C against published answers and against
 * its definition bit by bit. */
#include "harness.h"

#include <string.h>

#include "arena/hash.h"

TEST(hash_depends_on_bytes_length_and_seed) {
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7);
    for (size_t count = 0; count <= 256; count++) {
        uint64_t hash = hash_bytes(bytes, count, 1);
        EXPECT(hash == hash_bytes(bytes, count, 1));
        EXPECT(hash != hash_bytes(bytes, count, 2));
        EXPECT(hash != hash_bytes(bytes, count + 1, 1));
        for (size_t i = 0; i < count; i++) { // every byte matters, at every length
            bytes[i] ^= 1;
            if (hash == hash_bytes(bytes, count, 1)) EXPECT_EQ(i, count);
            bytes[i] ^= 1;
        }
    }
    EXPECT(hash_bytes("a", 1, 0) != hash_bytes("a\0", 2, 0));
    EXPECT(hash_bytes("\0", 1, 0) != hash_bytes("\0\0", 2, 0));
}

TEST(hash_ignores_alignment) {
    uint8_t  shifted[200 + 8], bytes[200];
    uint64_t hash;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i ^ 0x35);
    hash = hash_bytes(bytes, sizeof bytes, 9);
    for (size_t shift = 0; shift < 8; shift++) {
        memcpy(shifted + shift, bytes, sizeof bytes);
        EXPECT(hash == hash_bytes(shifted + shift, sizeof bytes, 9));
    }
}

/* The values are part of the contract: cached plans are named by them. */
TEST(hash_is_stable) {
    EXPECT(hash_bytes("", 0, 0) == 0x560a50850d35ad7bu);
    EXPECT(hash_bytes("stoa", 4, 0) == 0xcb197f839abe08e0u);
    char text[100];
    memset(text, 'x', sizeof text);
    EXPECT(hash_bytes(text, sizeof text, 1) == 0x9f48599f19baada2u);
}

/* Counts how full the buckets are for sequential 4-byte keys; a fair hash has chi-squared near the
 * number of buckets (deviation sqrt(2 x buckets) = 91). */
TEST(hash_spreads_small_keys) {
    enum { BUCKETS = 4096, KEYS = BUCKETS * 16 };
    for (int half = 0; half < 2; half++) {
        uint32_t *counts = ARENA_ARRAY_ZERO(arena, uint32_t, BUCKETS);
        for (uint32_t key = 0; key < KEYS; key++) {
            uint64_t hash = hash_bytes(&key, sizeof key, 0);
            counts[(half ? hash >> 52 : hash) % BUCKETS]++;
        }
        double chi = 0;
        for (size_t i = 0; i < BUCKETS; i++)
            chi += ((double)counts[i] - 16) * ((double)counts[i] - 16) / 16;
        EXPECT_WITHIN(chi, BUCKETS, 5 * 91);
    }
}

TEST(hash_flips_half_of_the_bits) {
    static const size_t sizes[] = {1, 3, 4, 7, 8, 13, 16, 17, 33, 48, 49, 97, 200};
    for (size_t s = 0; s < LENGTH(sizes); s++) {
        uint8_t  bytes[200];
        uint64_t flips = 0, trials = 0;
        for (uint32_t round = 0; round < 32; round++) {
            for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(hash_mix(round, i) >> 5);
            uint64_t hash = hash_bytes(bytes, sizes[s], 0);
            for (size_t bit = 0; bit < sizes[s] * 8; bit++, trials++) {
                bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                flips += (uint64_t)__builtin_popcountll(hash ^ hash_bytes(bytes, sizes[s], 0));
                bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        }
        EXPECT_WITHIN((double)flips / (double)trials, 32.0, 1.0);
    }
}

static uint32_t crc_by_bits(uint32_t crc, const uint8_t *bytes, size_t count) {
    crc = ~crc;
    for (size_t i = 0; i < count * 8; i++) {
        uint32_t bit = (crc ^ (uint32_t)(bytes[i / 8] >> i % 8)) & 1;
        crc = crc >> 1 ^ (bit ? 0x82F63B78u : 0);
    }
    return ~crc;
}

TEST(crc32c_known_answers) {
    uint8_t bytes[32] = {0};
    EXPECT_EQ(hash_crc32c(0, "123456789", 9), 0xE3069283u);
    EXPECT_EQ(hash_crc32c(0, bytes, 32), 0x8A9136AAu); // RFC 3720, B.4
    memset(bytes, 0xff, sizeof bytes);
    EXPECT_EQ(hash_crc32c(0, bytes, 32), 0x62A8AB43u);
    EXPECT_EQ(hash_crc32c(0, "", 0), 0);
    EXPECT_EQ(hash_crc32c(77, NULL, 0), 77);
}

TEST(crc32c_every_length_and_in_pieces) {
    uint8_t bytes[130];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 31 + 5);
    for (size_t count = 0; count <= sizeof bytes; count++) {
        uint32_t crc = crc_by_bits(0, bytes, count);
        EXPECT_EQ(hash_crc32c(0, bytes, count), crc);
        size_t split = count / 3;
        EXPECT_EQ(hash_crc32c(hash_crc32c(0, bytes, split), bytes + split, count - split), crc);
    }
}
