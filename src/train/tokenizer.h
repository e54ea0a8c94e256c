/* Tokenizers: bytes to token numbers and back. There is one kind: byte-pair encoding over the 256
 * bytes (P. Gage 1994; R. Sennrich et al. 2016, arXiv 1508.07909; byte level as in GPT-2). A byte
 * tokenizer is the one with no merges, so whoever encodes or decodes need not ask which it is.
 *
 * Tokens 0..255 are the bytes; token 256 + m is what merge m makes of two earlier tokens. Every
 * byte string has an encoding, and decoding gives back exactly the same bytes.
 *
 * Merges do not cross words. A word is, at each place, the longest of: an English contraction ('s
 * 't 're 've 'm 'll 'd); a run of letters (bytes from 0x80 on count as letters), of digits or of
 * other signs, each with at most one space before it; or white space, which leaves its last space
 * to the next word. Runs are cut at TOKENIZER_WORD_MAX bytes. */
#ifndef STOA_TRAIN_TOKENIZER_H
#define STOA_TRAIN_TOKENIZER_H

#include "arena/status.h"
#include "arena/str.h"
#include "tables/diags.h"

enum {
    TOKENIZER_BYTES = 256,
    TOKENIZER_VOCAB_MAX = 65535,
    TOKENIZER_WORD_MAX = 256, /* bytes; so no token is longer either */
};

typedef struct Tokenizer {
    uint32_t        vocab;       /* 256 + merges */
    uint32_t        pairs_mask;  /* slots of the index - 1 */
    const uint16_t *merges;      /* left and right of merge 0, of merge 1, ... */
    const uint32_t *piece_first; /* token t is pieces[piece_first[t]..piece_first[t + 1]) */
    const char     *pieces;
    const uint64_t *pairs; /* index: left << 48 | right << 32 | token; 0 is free */
    uint64_t        hash;  /* of the merges: equal hash, equal tokens */
} Tokenizer;

typedef struct TokenizerTraining {
    uint32_t vocab;     /* wanted, 256..65535; fewer when no pair occurs often enough any more */
    uint32_t count_min; /* occurrences that make a pair worth a token; 0: 2 */
    uint64_t bytes_max; /* look at this many bytes of the text only; 0: all, at most 2 GiB */
} TokenizerTraining;

/* The byte tokenizer. */
const Tokenizer *tokenizer_bytes(Arena *out);
/* Trains on text: each merge joins the pair of neighbours that occurs most often, the smaller token
 * numbers first where counts are equal; depends on nothing but its arguments. The work arena is
 * left as it was; at its peak it holds about 30 bytes for each byte of the *distinct* words of the
 * text (130 MB for 40 MB of English, vocabulary 4,096, which take 1.2 s on one core). */
const Tokenizer *tokenizer_train(Arena *out, Arena *work, String text,
                                 const TokenizerTraining *how);
/* From merges (left, right pairs); NULL if a merge repeats or names itself or a later token, or if
 * a token would be longer than TOKENIZER_WORD_MAX. out_bad: the first bad merge. */
const Tokenizer *tokenizer_of_merges(Arena *out, const uint16_t *merges, uint32_t merges_count,
                                     uint32_t *out_bad);

/* Remembers the encoding of short words. Belongs to one tokenizer and one thread at a time. */
typedef struct TokenizerCache TokenizerCache;
TokenizerCache               *tokenizer_cache(Arena *out);
/* Encodes whole words of text from byte *at on, until the text ends or fewer than
 * TOKENIZER_WORD_MAX tokens are left of tokens_max (at least that); moves *at, returns the tokens
 * written. Pushes nothing. In pieces or at once: the tokens are the same. */
size_t    tokenizer_encode_some(const Tokenizer *tokenizer, TokenizerCache *cache, String text,
                                size_t *at, uint16_t *tokens, size_t tokens_max);
uint16_t *tokenizer_encode(Arena *out, const Tokenizer *tokenizer, String text, size_t *out_count);
/* Token numbers outside the vocabulary decode to nothing. */
String tokenizer_decode(Arena *out, const Tokenizer *tokenizer, const uint16_t *tokens,
                        size_t count);
String tokenizer_piece(const Tokenizer *tokenizer, uint32_t token);

/* The file, little-endian: "stoatok\n", u32 version, u32 merges, u32 0, u32 CRC-32C of all the rest
 * (these four bytes left out), then left and right of each merge as u16. */
String tokenizer_to_bytes(Arena *out, const Tokenizer *tokenizer);
/* name: for messages. */
MUST_USE Status tokenizer_of_bytes(Arena *out, String bytes, const char *name, Diags *diags,
                                   const Tokenizer **out_tokenizer);
MUST_USE Status tokenizer_save(const Tokenizer *tokenizer, const char *path, Diags *diags);
MUST_USE Status tokenizer_load(Arena *out, const char *path, Diags *diags,
                               const Tokenizer **out_tokenizer);

/* --- words: shared by encoding and training -------------------------------------------------- */

/* The end of the word that begins at byte `at`; at < text.count. */
size_t tokenizer_word_end(String text, size_t at);

/* A word of at most 15 bytes as two numbers: its bytes, and its length on top. */
enum { TOKENIZER_SHORT = 15 };
typedef struct TokenizerWord {
    uint64_t low, high;
} TokenizerWord;
static inline TokenizerWord tokenizer_word(String text, size_t at, size_t length) {
    uint64_t bytes[2] = {0, 0};
    ASSERT(length > 0 && length <= TOKENIZER_SHORT);
    if (text.count - at >= sizeof bytes) { /* two loads and a mask */
        memcpy(bytes, text.data + at, sizeof bytes);
        if (length < 8) bytes[0] &= ((uint64_t)1 << 8 * length) - 1;
        bytes[1] &= length <= 8 ? 0 : ((uint64_t)1 << 8 * (length - 8)) - 1;
    } else {
        memcpy(bytes, text.data + at, length);
    }
    return (TokenizerWord){bytes[0], bytes[1] | (uint64_t)length << 56};
}

#endif
