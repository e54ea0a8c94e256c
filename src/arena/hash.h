/* Hashing: one 64-bit mix for interning and content addressing, CRC-32C for files.
 *
 * hash_bytes is stable across runs and machines of the same endianness; it is not cryptographic,
 * so hostile content may collide: users compare content after the hash. */
#ifndef STOA_ARENA_HASH_H
#define STOA_ARENA_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t hash_mix(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 Wide;
    Wide product = (Wide)(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD1B54A32D192ED03u);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
uint64_t hash_bytes(const void *bytes, size_t count, uint64_t seed);
/* CRC-32C (Castagnoli), hardware where present; crc: 0 to begin, or the value so far. */
uint32_t hash_crc32c(uint32_t crc, const void *bytes, size_t count);

#endif
