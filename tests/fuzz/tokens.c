// Hostile tokenizer and token files. What a reader accepts must be usable: encode and decode are
// inverse, and every token is inside the vocabulary.
//
// Byte 0 of the input says what follows: bit 0, a token file instead of a tokenizer file; bit 1,
// put the right checksums in first, so that the checks behind them are reached too. Bytes from a
// third of the file on serve as text to encode.
#include <stdint.h>
#include <stdlib.h>

#include "arena/hash.h"
#include "train/tokenizer.h"
#include "train/tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held) {
    if (!held) abort();
}

static void put_crc(char *bytes, size_t at, uint32_t crc) { memcpy(bytes + at, &crc, sizeof crc); }

static void fix_tokenizer(char *bytes, size_t count) {
    if (count < 24) return;
    put_crc(bytes, 20, hash_crc32c(hash_crc32c(0, bytes, 20), bytes + 24, count - 24));
}

static void fix_tokens(char *bytes, size_t count) {
    if (count < 64) return;
    put_crc(bytes, 40, hash_crc32c(0, bytes + 64, count - 64));
    put_crc(bytes, 60, hash_crc32c(0, bytes, 60));
}

static void try_tokenizer(Arena *arena, String bytes, Diags *diags) {
    const Tokenizer *tokenizer;
    Status           status = tokenizer_of_bytes(arena, bytes, "input", diags, &tokenizer);
    demand((status == STATUS_OK) == (tokenizer != NULL));
    demand((status == STATUS_OK) == (diags->errors == 0));
    if (!tokenizer) return;
    String    text = {bytes.data + bytes.count / 3, bytes.count - bytes.count / 3};
    size_t    count;
    uint16_t *tokens = tokenizer_encode(arena, tokenizer, text, &count);
    demand(count <= text.count);
    for (size_t i = 0; i < count; i++) demand(tokens[i] < tokenizer->vocab);
    demand(str_same(tokenizer_decode(arena, tokenizer, tokens, count), text));
    demand(str_same(tokenizer_to_bytes(arena, tokenizer), bytes));
}

static void try_tokens(String bytes, Diags *diags) {
    Tokens tokens;
    Status status = tokens_of_bytes(&tokens, bytes, "input", diags);
    demand((status == STATUS_OK) == (diags->errors == 0));
    for (uint64_t i = 0; i < tokens.run.count; i++) demand(tokens.run.data[i] < tokens.vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    Arena *arena = arena_open("fuzz", (size_t)1 << 30, 0);
    Diags  diags;
    if (!arena) return 0;
    ArenaGuard guard;
    demand(ARENA_GUARD(&guard));
    diags_open(&diags, NULL);
    char *bytes = arena_push(arena, size - 1, 16); // exactly the input, so that an overrun is seen
    memcpy(bytes, data + 1, size - 1);
    bool is_tokens = data[0] & 1;
    if (data[0] & 2) (is_tokens ? fix_tokens : fix_tokenizer)(bytes, size - 1);
    if (is_tokens)
        try_tokens((String){bytes, size - 1}, &diags);
    else
        try_tokenizer(arena, (String){bytes, size - 1}, &diags);
    diags_close(&diags);
    arena_guard_end(&guard);
    arena_close(arena);
    return 0;
}
