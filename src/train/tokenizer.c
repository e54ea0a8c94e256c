/* Tokenizers in use: the vocabulary with its index of pairs, encoding, decoding, and the file.
 *
 * Encoding a word replaces the neighbours with the earliest merge, leftmost first, until no merge
 * applies: the same order in which training made the tokens. Text repeats its words, so a cache of
 * short words, direct mapped and of fixed size, answers nearly all of them with one lookup and a
 * copy of 14 bytes: on 40 MB of English (one core of a 2.5 GHz Xeon, vocabulary 4,096) encoding
 * runs at 54 MB/s with it and at 33 MB/s without; 2^15 and 2^17 slots were no faster than 2^16.
 *
 * Invariant: both tokens of a merge are older than the token it makes, so pieces are built in one
 * pass and no file can make a cycle. */
#include "train/tokenizer.h"

#include "arena/hash.h"
#include "formats/files.h"

enum { NO_TOKEN = UINT16_MAX, VERSION = 1, HEADER_BYTES = 24, CRC_AT = 20 };
static const char MAGIC[8] = {'s', 't', 'o', 'a', 't', 'o', 'k', '\n'};
static_assert(TOKENIZER_VOCAB_MAX <= (int)NO_TOKEN, "a number is left that is no token");

/* --- the vocabulary --------------------------------------------------------------------------- */

static inline uint32_t pair_slot(const Tokenizer *tokenizer, uint32_t pair) {
    return (uint32_t)((pair * 0x9E3779B97F4A7C15u) >> 32) & tokenizer->pairs_mask;
}

/* The token that merging the two makes, or NO_TOKEN. */
static uint16_t pair_find(const Tokenizer *tokenizer, uint16_t left, uint16_t right) {
    uint32_t pair = (uint32_t)left << 16 | right;
    for (uint32_t slot = pair_slot(tokenizer, pair);; slot = (slot + 1) & tokenizer->pairs_mask) {
        uint64_t entry = tokenizer->pairs[slot];
        if (entry == 0) return NO_TOKEN;
        if (entry >> 32 == pair) return (uint16_t)entry;
    }
}

static void pair_add(const Tokenizer *tokenizer, uint64_t *pairs, uint32_t pair, uint32_t token) {
    ASSERT(token >= TOKENIZER_BYTES && token < TOKENIZER_VOCAB_MAX);
    uint32_t slot = pair_slot(tokenizer, pair);
    while (pairs[slot] != 0) slot = (slot + 1) & tokenizer->pairs_mask;
    pairs[slot] = (uint64_t)pair << 32 | token;
}

/* Fills piece_first; false at the first merge that names a later token or makes a too long one. */
static bool pieces_measure(const uint16_t *merges, uint32_t count, uint32_t *first,
                           uint32_t *out_bad) {
    for (uint32_t token = 0; token <= TOKENIZER_BYTES; token++) first[token] = token;
    for (uint32_t merge = 0; merge < count; merge++) {
        uint32_t token = TOKENIZER_BYTES + merge;
        uint32_t left = merges[2 * (size_t)merge], right = merges[2 * (size_t)merge + 1];
        *out_bad = merge;
        if (left >= token || right >= token) return false;
        uint32_t bytes = first[left + 1] - first[left] + first[right + 1] - first[right];
        if (bytes > TOKENIZER_WORD_MAX) return false;
        first[token + 1] = first[token] + bytes;
    }
    return true;
}

static void pieces_fill(const uint16_t *merges, uint32_t count, const uint32_t *first,
                        char *pieces) {
    for (uint32_t byte = 0; byte < TOKENIZER_BYTES; byte++) pieces[byte] = (char)byte;
    for (uint32_t merge = 0; merge < count; merge++) {
        uint32_t at = first[TOKENIZER_BYTES + merge];
        for (size_t side = 0; side < 2; side++) {
            uint32_t part = merges[2 * (size_t)merge + side], bytes = first[part + 1] - first[part];
            memcpy(pieces + at, pieces + first[part], bytes);
            at += bytes;
        }
        ASSERT(at == first[TOKENIZER_BYTES + merge + 1]);
    }
}

const Tokenizer *tokenizer_of_merges(Arena *out, const uint16_t *merges, uint32_t merges_count,
                                     uint32_t *out_bad) {
    ASSERT(merges || merges_count == 0);
    ASSERT(merges_count <= TOKENIZER_VOCAB_MAX - TOKENIZER_BYTES);
    ArenaMark  mark = arena_mark(out);
    Tokenizer *tokenizer = ARENA_NEW(out, Tokenizer);
    uint32_t   vocab = TOKENIZER_BYTES + merges_count, slots = 16;
    uint32_t  *first = ARENA_ARRAY(out, uint32_t, (size_t)vocab + 1);
    bool       good = pieces_measure(merges, merges_count, first, out_bad);
    while (slots < 2 * merges_count) slots *= 2;
    uint64_t *pairs = ARENA_ARRAY_ZERO(out, uint64_t, slots);
    uint16_t *kept = ARENA_ARRAY(out, uint16_t, 2 * (size_t)merges_count);
    *tokenizer = (Tokenizer){.vocab = vocab,
                             .pairs_mask = slots - 1,
                             .merges = kept,
                             .piece_first = first,
                             .pairs = pairs};
    for (uint32_t merge = 0; merge < merges_count && good; merge++) {
        uint16_t left = merges[2 * (size_t)merge], right = merges[2 * (size_t)merge + 1];
        *out_bad = merge;
        good = pair_find(tokenizer, left, right) == NO_TOKEN;
        pair_add(tokenizer, pairs, (uint32_t)left << 16 | right, TOKENIZER_BYTES + merge);
    }
    if (!good) {
        arena_release(out, mark);
        return NULL;
    }
    char *pieces = ARENA_ARRAY(out, char, first[vocab]);
    pieces_fill(merges, merges_count, first, pieces);
    if (merges_count > 0) memcpy(kept, merges, 2 * sizeof *kept * (size_t)merges_count);
    tokenizer->pieces = pieces;
    tokenizer->hash = hash_bytes(kept, 2 * sizeof *kept * (size_t)merges_count, vocab);
    return tokenizer;
}

const Tokenizer *tokenizer_bytes(Arena *out) {
    uint32_t bad;
    return tokenizer_of_merges(out, NULL, 0, &bad);
}

String tokenizer_piece(const Tokenizer *tokenizer, uint32_t token) {
    if (token >= tokenizer->vocab) return (String){"", 0};
    uint32_t first = tokenizer->piece_first[token];
    return (String){tokenizer->pieces + first, tokenizer->piece_first[token + 1] - first};
}

/* --- words ------------------------------------------------------------------------------------ */

typedef enum ByteClass { OTHER, LETTER, DIGIT, BLANK } ByteClass;
#define LETTERS_(c)                                                                                \
    [c] = LETTER, [c + 1] = LETTER, [c + 2] = LETTER, [c + 3] = LETTER, [c + 4] = LETTER,          \
    [c + 5] = LETTER, [c + 6] = LETTER, [c + 7] = LETTER
static const uint8_t byte_class[256] = {
    LETTERS_('A'),  LETTERS_('I'),  LETTERS_('Q'),  ['Y'] = LETTER, ['Z'] = LETTER, LETTERS_('a'),
    LETTERS_('i'),  LETTERS_('q'),  ['y'] = LETTER, ['z'] = LETTER, LETTERS_(0x80), LETTERS_(0x88),
    LETTERS_(0x90), LETTERS_(0x98), LETTERS_(0xA0), LETTERS_(0xA8), LETTERS_(0xB0), LETTERS_(0xB8),
    LETTERS_(0xC0), LETTERS_(0xC8), LETTERS_(0xD0), LETTERS_(0xD8), LETTERS_(0xE0), LETTERS_(0xE8),
    LETTERS_(0xF0), LETTERS_(0xF8), ['0'] = DIGIT,  ['1'] = DIGIT,  ['2'] = DIGIT,  ['3'] = DIGIT,
    ['4'] = DIGIT,  ['5'] = DIGIT,  ['6'] = DIGIT,  ['7'] = DIGIT,  ['8'] = DIGIT,  ['9'] = DIGIT,
    [' '] = BLANK,  ['\t'] = BLANK, ['\n'] = BLANK, ['\v'] = BLANK, ['\f'] = BLANK, ['\r'] = BLANK,
};
#undef LETTERS_

static inline ByteClass class_at(String text, size_t at) {
    return (ByteClass)byte_class[(uint8_t)text.data[at]];
}

/* Bytes of the contraction at an apostrophe, or 0. */
static size_t contraction(String text, size_t at) {
    size_t left = text.count - at;
    char   one = left > 1 ? text.data[at + 1] : 0, two = left > 2 ? text.data[at + 2] : 0;
    if ((one == 'r' && two == 'e') || (one == 'v' && two == 'e') || (one == 'l' && two == 'l'))
        return 3;
    return one == 's' || one == 't' || one == 'm' || one == 'd' ? 2 : 0;
}

size_t tokenizer_word_end(String text, size_t at) {
    ASSERT(at < text.count);
    size_t limit = text.count - at < TOKENIZER_WORD_MAX ? text.count : at + TOKENIZER_WORD_MAX;
    size_t end = at + 1;
    if (text.data[at] == '\'') {
        size_t bytes = contraction(text, at);
        if (bytes) return at + bytes;
    }
    ByteClass kind = class_at(text, at);
    if (text.data[at] == ' ' && end < limit && class_at(text, end) != BLANK) {
        kind = class_at(text, end);
        end++;
    }
    while (end < limit && class_at(text, end) == kind) end++;
    if (kind != BLANK || end - at == 1 || end == text.count) return end;
    bool leads = text.data[end - 1] == ' ' && class_at(text, end) != BLANK;
    return leads ? end - 1 : end;
}

/* --- encoding --------------------------------------------------------------------------------- */

enum { CACHE_LOG2 = 16, CACHE_TOKENS = 7 };
typedef struct CacheSlot { /* two a cache line */
    TokenizerWord word;    /* high is 0: free */
    uint16_t      tokens[CACHE_TOKENS];
    uint16_t      count;
} CacheSlot;
struct TokenizerCache {
    CacheSlot slots[1 << CACHE_LOG2];
};

TokenizerCache *tokenizer_cache(Arena *out) {
    static_assert(sizeof(CacheSlot) == 32, "half a cache line");
    return arena_push_zero(out, sizeof(TokenizerCache), 64);
}

/* Applies merges to one word of at most TOKENIZER_WORD_MAX bytes; returns the tokens left. */
static size_t encode_word(const Tokenizer *tokenizer, const char *bytes, size_t count,
                          uint16_t *tokens) {
    uint16_t made[TOKENIZER_WORD_MAX + 1]; /* made[i]: what tokens i and i + 1 merge to */
    ASSERT(count > 0 && count <= TOKENIZER_WORD_MAX);
    for (size_t i = 0; i < count; i++) tokens[i] = (uint8_t)bytes[i];
    for (size_t i = 0; i + 1 < count; i++) made[i] = pair_find(tokenizer, tokens[i], tokens[i + 1]);
    for (;;) {
        uint16_t best = NO_TOKEN;
        size_t   at = 0;
        for (size_t i = 0; i + 1 < count; i++) best = made[i] < best ? made[i] : best;
        if (best == NO_TOKEN) return count;
        while (made[at] != best) at++;
        tokens[at] = best;
        count--;
        memmove(tokens + at + 1, tokens + at + 2, (count - at - 1) * sizeof *tokens);
        memmove(made + at, made + at + 1, (count - at) * sizeof *made);
        if (at > 0) made[at - 1] = pair_find(tokenizer, tokens[at - 1], best);
        if (at + 1 < count) made[at] = pair_find(tokenizer, best, tokens[at + 1]);
    }
}

static size_t encode_cached(const Tokenizer *tokenizer, TokenizerCache *cache, String text,
                            size_t at, size_t length, uint16_t *tokens) {
    TokenizerWord word = tokenizer_word(text, at, length);
    CacheSlot    *slot = &cache->slots[hash_mix(word.low, word.high) >> (64 - CACHE_LOG2)];
    if (slot->word.low == word.low && slot->word.high == word.high) {
        memcpy(tokens, slot->tokens, sizeof slot->tokens); /* the caller has room for a word */
        return slot->count;
    }
    size_t count = encode_word(tokenizer, text.data + at, length, tokens);
    if (count > CACHE_TOKENS) return count;
    slot->word = word;
    slot->count = (uint16_t)count;
    memcpy(slot->tokens, tokens, count * sizeof *tokens);
    return count;
}

static size_t encode_bytes(String text, size_t *at, uint16_t *tokens, size_t tokens_max) {
    size_t count = text.count - *at < tokens_max ? text.count - *at : tokens_max;
    for (size_t i = 0; i < count; i++) tokens[i] = (uint8_t)text.data[*at + i];
    *at += count;
    return count;
}

size_t tokenizer_encode_some(const Tokenizer *tokenizer, TokenizerCache *cache, String text,
                             size_t *at, uint16_t *tokens, size_t tokens_max) {
    ASSERT(tokens_max >= TOKENIZER_WORD_MAX);
    ASSERT(*at <= text.count);
    if (tokenizer->vocab == TOKENIZER_BYTES) return encode_bytes(text, at, tokens, tokens_max);
    size_t count = 0;
    while (*at < text.count && tokens_max - count >= TOKENIZER_WORD_MAX) {
        size_t end = tokenizer_word_end(text, *at), length = end - *at;
        count += length <= TOKENIZER_SHORT
                     ? encode_cached(tokenizer, cache, text, *at, length, tokens + count)
                     : encode_word(tokenizer, text.data + *at, length, tokens + count);
        *at = end;
    }
    return count;
}

/* The number of tokens is known only afterwards, so they are pushed piece by piece: pushes of
 * alignment 1 follow each other without a gap (arena.h: so does text). */
uint16_t *tokenizer_encode(Arena *out, const Tokenizer *tokenizer, String text, size_t *out_count) {
    enum { PIECE_TOKENS = 1 << 16 };
    Scratch         scratch = scratch_begin(&out, 1);
    TokenizerCache *cache = tokenizer_cache(scratch.arena);
    uint16_t       *piece = ARENA_ARRAY(scratch.arena, uint16_t, PIECE_TOKENS);
    uint16_t       *tokens = ARENA_ARRAY(out, uint16_t, 0);
    *out_count = 0;
    for (size_t at = 0; at < text.count;) {
        size_t count = tokenizer_encode_some(tokenizer, cache, text, &at, piece, PIECE_TOKENS);
        void  *end = arena_push(out, count * sizeof *piece, 1);
        ASSERT(end == tokens + *out_count);
        memcpy(end, piece, count * sizeof *piece);
        *out_count += count;
    }
    scratch_end(scratch);
    return tokens;
}

String tokenizer_decode(Arena *out, const Tokenizer *tokenizer, const uint16_t *tokens,
                        size_t count) {
    ASSERT(tokens || count == 0);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += tokenizer_piece(tokenizer, tokens[i]).count;
    char *data = ARENA_ARRAY(out, char, bytes + 1);
    char *at = data;
    for (size_t i = 0; i < count; i++) {
        String piece = tokenizer_piece(tokenizer, tokens[i]);
        memcpy(at, piece.data, piece.count);
        at += piece.count;
    }
    *at = 0;
    return (String){data, bytes};
}

/* --- the file --------------------------------------------------------------------------------- */

static uint32_t file_crc(const char *data, size_t count) {
    ASSERT(count >= HEADER_BYTES);
    uint32_t crc = hash_crc32c(0, data, CRC_AT);
    return hash_crc32c(crc, data + HEADER_BYTES, count - HEADER_BYTES);
}

String tokenizer_to_bytes(Arena *out, const Tokenizer *tokenizer) {
    uint32_t merges = tokenizer->vocab - TOKENIZER_BYTES, header[3] = {VERSION, merges, 0};
    size_t   count = HEADER_BYTES + 4 * (size_t)merges;
    char    *data = ARENA_ARRAY(out, char, count);
    memcpy(data, MAGIC, sizeof MAGIC);
    memcpy(data + sizeof MAGIC, header, sizeof header);
    if (merges > 0) memcpy(data + HEADER_BYTES, tokenizer->merges, 4 * (size_t)merges);
    uint32_t crc = file_crc(data, count);
    memcpy(data + CRC_AT, &crc, sizeof crc);
    return (String){data, count};
}

static Failure file_check(String bytes) {
    uint32_t header[4];
    if (bytes.count < HEADER_BYTES || memcmp(bytes.data, MAGIC, sizeof MAGIC) != 0)
        return failure_format(STATUS_CORRUPT, "tokenizer file", "it begins with other bytes");
    memcpy(header, bytes.data + sizeof MAGIC, sizeof header);
    if (header[0] != VERSION)
        return failure_format(STATUS_UNSUPPORTED, "tokenizer file of version 1", "it is newer");
    if (header[1] > TOKENIZER_VOCAB_MAX - TOKENIZER_BYTES || header[2] != 0)
        return failure_damaged("its header is out of range", sizeof MAGIC + 4);
    if (bytes.count - HEADER_BYTES != 4 * (size_t)header[1])
        return failure_damaged("its size does not fit its number of merges", bytes.count);
    if (header[3] != file_crc(bytes.data, bytes.count))
        return failure_damaged("its checksum is wrong", CRC_AT);
    return (Failure){0};
}

Status tokenizer_of_bytes(Arena *out, String bytes, const char *name, Diags *diags,
                          const Tokenizer **out_tokenizer) {
    *out_tokenizer = NULL;
    Failure failure = file_check(bytes);
    if (failure_some(failure)) return report_failure(diags, name, failure);
    Scratch   scratch = scratch_begin(&out, 1);
    size_t    payload = bytes.count - HEADER_BYTES;
    uint16_t *merges = ARENA_ARRAY(scratch.arena, uint16_t, payload / 2);
    uint32_t  bad = 0;
    if (payload > 0) memcpy(merges, bytes.data + HEADER_BYTES, payload);
    *out_tokenizer = tokenizer_of_merges(out, merges, (uint32_t)(payload / 4), &bad);
    if (!*out_tokenizer)
        failure = failure_damaged("a merge repeats, names a later token or makes a too long one",
                                  HEADER_BYTES + 4 * (uint64_t)bad);
    scratch_end(scratch);
    return report_failure(diags, name, failure);
}

Status tokenizer_save(const Tokenizer *tokenizer, const char *path, Diags *diags) {
    Scratch scratch = scratch_begin(NULL, 0);
    Failure failure = files_write(path, tokenizer_to_bytes(scratch.arena, tokenizer));
    scratch_end(scratch);
    return report_failure(diags, path, failure);
}

Status tokenizer_load(Arena *out, const char *path, Diags *diags, const Tokenizer **out_tokenizer) {
    enum { BYTES_MAX = HEADER_BYTES + 4 * (TOKENIZER_VOCAB_MAX - TOKENIZER_BYTES) };
    Scratch scratch = scratch_begin(&out, 1);
    String  bytes = {0};
    *out_tokenizer = NULL;
    Failure failure = files_read(scratch.arena, path, BYTES_MAX, &bytes);
    Status  status = failure_some(failure)
                         ? report_failure(diags, path, failure)
                         : tokenizer_of_bytes(out, bytes, path, diags, out_tokenizer);
    scratch_end(scratch);
    return status;
}
