/* Token files: the numbers that a tokenizer made of a corpus, mapped into memory for training.
 *
 *   byte  0  "stoatkn\n"          24  tokenizer hash, u64     64  token 0, u16
 *         8  version, u32         32  count of tokens, u64    66  token 1, ...
 *        12  bytes a token, u32   40  CRC-32C of the tokens, u32
 *        16  vocabulary, u32      44  0 up to byte 60
 *        20  0                    60  CRC-32C of bytes 0..60, u32            little-endian
 *
 * Opening checks everything, each token against the vocabulary included, because a token is an
 * index into the embedding: 2 GB/s from the page cache. After that the data is trusted. The
 * tokenizer hash tells whether two files, or a file and a checkpoint, speak of the same tokens. */
#ifndef STOA_TRAIN_TOKENS_H
#define STOA_TRAIN_TOKENS_H

#include "arena/os.h"
#include "arena/status.h"
#include "tables/diags.h"

/* A run of tokens, in a file or in memory. */
typedef struct TokenRun {
    const uint16_t *data;
    uint64_t        count;
} TokenRun;

typedef struct Tokens {
    TokenRun run;
    uint32_t vocab;
    uint64_t tokenizer_hash;
    OsMap    map;
} Tokens;

/* Replaces the file at path. Every token must be below vocab (DATA_TOKEN). */
MUST_USE Status tokens_write(const char *path, TokenRun run, uint32_t vocab,
                             uint64_t tokenizer_hash, Diags *diags);
/* Maps and checks. After a failure there is nothing to close. */
MUST_USE Status tokens_open(Tokens *tokens, const char *path, Diags *diags);
/* The same for a whole file in memory (2-byte aligned), which stays the caller's. */
MUST_USE Status tokens_of_bytes(Tokens *tokens, String bytes, const char *name, Diags *diags);
void            tokens_close(Tokens *tokens); /* safe on all-zero and closed ones */

/* The last `fraction` of the tokens (0 to 1, rounded down to whole tokens) is for validation, all
 * before it for training. */
void tokens_split(TokenRun all, double fraction, TokenRun *out_train, TokenRun *out_validation);
/* Entropy of the token frequencies in nats a token: the loss of a model that knows only how often
 * each token occurs. counts: vocab rows of the caller, overwritten. */
double tokens_entropy(TokenRun run, uint64_t *counts, uint32_t vocab);

#endif
