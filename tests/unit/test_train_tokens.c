// Token files: round trip, every damage refused, tokens outside the vocabulary, failing file
// operations, splitting and entropy. Damage is tried byte by byte and length by length, as a
// whole-file check has no excuse to miss any.
#include "harness.h"

#include <math.h>

#include "arena/hash.h"
#include "formats_helpers.h"
#include "tables/philox.h"
#include "train/tokens.h"

static TokenRun some_tokens(Arena *arena, uint64_t count, uint32_t vocab) {
    uint16_t *data = ARENA_ARRAY(arena, uint16_t, count);
    for (uint64_t i = 0; i < count; i++) data[i] = (uint16_t)(philox_draw(1, i, 0).word[0] % vocab);
    return (TokenRun){data, count};
}

static bool same_run(TokenRun a, TokenRun b) {
    return a.count == b.count && (a.count == 0 || memcmp(a.data, b.data, 2 * a.count) == 0);
}

TEST(tokens_round_trip) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "train.tokens");
    Diags       diags;
    Tokens      tokens;
    diags_open(&diags, NULL);
    for (uint64_t count = 0; count < 100000; count = 3 * count + 1) {
        TokenRun run = some_tokens(arena, count, 65535);
        REQUIRE(tokens_write(path, run, 65535, 0x1122334455667788u, &diags) == STATUS_OK);
        REQUIRE(tokens_open(&tokens, path, &diags) == STATUS_OK);
        EXPECT(same_run(tokens.run, run));
        EXPECT_EQ(tokens.vocab, 65535);
        EXPECT(tokens.tokenizer_hash == 0x1122334455667788u);
        tokens_close(&tokens);
        EXPECT(tokens.run.data == NULL);
    }
    tokens_close(&tokens);
    EXPECT_EQ(files_in(arena, dir), 1);
    EXPECT_EQ(diags.rows.table.count, 1);
    EXPECT_EQ(tokens_open(&tokens, path_in(arena, dir, "missing"), &diags), STATUS_IO);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_ERROR), 1);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokens_layout_is_as_documented) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    Diags       diags;
    diags_open(&diags, NULL);
    uint16_t data[] = {7, 0x0102};
    REQUIRE(tokens_write(path, (TokenRun){data, 2}, 300, 5, &diags) == STATUS_OK);
    String   bytes = file_get(arena, path);
    uint32_t words[17];
    REQUIRE(bytes.count == 68);
    memcpy(words, bytes.data, sizeof words);
    EXPECT(memcmp(bytes.data, "stoatkn\n", 8) == 0);
    EXPECT_EQ(words[2], 1);   // version
    EXPECT_EQ(words[3], 2);   // bytes a token
    EXPECT_EQ(words[4], 300); // vocabulary
    EXPECT_EQ(words[6], 5);   // tokenizer hash
    EXPECT_EQ(words[8], 2);   // count
    EXPECT_EQ(words[10], hash_crc32c(0, data, 4));
    EXPECT_EQ(words[15], hash_crc32c(0, bytes.data, 60));
    EXPECT_EQ(words[16], 0x01020007);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokens_refuse_every_damage) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    Diags       diags;
    Tokens      tokens;
    diags_open(&diags, NULL);
    REQUIRE(tokens_write(path, some_tokens(arena, 40, 500), 500, 1, &diags) == STATUS_OK);
    String good = file_get(arena, path);
    char  *bytes = arena_push(arena, good.count + 2, 2);
    for (size_t count = 0; count <= good.count + 2; count++) {
        if (count == good.count) continue;
        memset(bytes, 0, good.count + 2);
        memcpy(bytes, good.data, count < good.count ? count : good.count);
        EXPECT_EQ(tokens_of_bytes(&tokens, (String){bytes, count}, "x", &diags), STATUS_CORRUPT);
        EXPECT(tokens.run.data == NULL);
    }
    for (size_t at = 0; at < good.count; at++) {
        memcpy(bytes, good.data, good.count);
        bytes[at] = (char)(bytes[at] ^ 0x81);
        EXPECT(tokens_of_bytes(&tokens, (String){bytes, good.count}, "x", &diags) != STATUS_OK);
    }
    memcpy(bytes, good.data, good.count);
    EXPECT_EQ(tokens_of_bytes(&tokens, (String){bytes, good.count}, "x", &diags), STATUS_OK);
    EXPECT(diags_of(&diags, DIAG_FILE_DAMAGED) > 0);
    EXPECT(file_put(path, "stoa", 4));
    EXPECT_EQ(tokens_open(&tokens, path, &diags), STATUS_CORRUPT);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokens_outside_the_vocabulary) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    Diags       diags;
    Tokens      tokens;
    diags_open(&diags, NULL);
    enum { COUNT = 70001 };
    uint16_t *data = ARENA_ARRAY_ZERO(arena, uint16_t, COUNT);
    data[COUNT - 1] = 300;
    EXPECT_EQ(tokens_write(path, (TokenRun){data, COUNT}, 300, 0, &diags), STATUS_INVALID);
    EXPECT_EQ(diags_of(&diags, DIAG_DATA_TOKEN), 1);
    EXPECT_EQ(files_in(arena, dir), 0);
    REQUIRE(tokens_write(path, (TokenRun){data, COUNT}, 301, 0, &diags) == STATUS_OK);
    String   good = file_get(arena, path); // a valid file of a smaller vocabulary
    uint32_t vocab = 300, crc;
    char    *bytes = arena_push(arena, good.count, 2);
    memcpy(bytes, good.data, good.count);
    memcpy(bytes + 16, &vocab, 4);
    crc = hash_crc32c(0, bytes, 60);
    memcpy(bytes + 60, &crc, 4);
    REQUIRE(file_put(path, bytes, good.count));
    EXPECT_EQ(tokens_open(&tokens, path, &diags), STATUS_INVALID);
    EXPECT_EQ(diags_of(&diags, DIAG_DATA_TOKEN), 2);
    EXPECT(tokens.run.data == NULL);
    uint32_t row = diags.rows.table.count - 1;
    EXPECT_EQ(diags.rows.arg1[row], 300);
    EXPECT_EQ(diags.rows.arg2[row], 300);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokens_file_operations_fail_in_turn) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    TokenRun    first = some_tokens(arena, 100, 300), second = some_tokens(arena, 150, 300);
    Diags       diags;
    Tokens      tokens;
    diags_open(&diags, NULL);
    REQUIRE(tokens_write(path, first, 300, 0, &diags) == STATUS_OK);
    bool failed = true;
    for (uint64_t n = 1; failed && n < 50; n++) {
        fault_file_nth(n);
        failed = tokens_write(path, second, 300, 0, &diags) != STATUS_OK;
        fault_file_nth(0);
        REQUIRE(tokens_open(&tokens, path, &diags) == STATUS_OK);
        EXPECT(same_run(tokens.run, second) || (failed && same_run(tokens.run, first)));
        tokens_close(&tokens);
        EXPECT_EQ(files_in(arena, dir), 1);
    }
    EXPECT(!failed);
    fault_file_nth(1);
    EXPECT_EQ(tokens_open(&tokens, path, &diags), STATUS_IO);
    fault_file_nth(0);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokens_split_at_the_tail) {
    TokenRun all = some_tokens(arena, 1001, 300), train, validation;
    tokens_split(all, 0.1, &train, &validation);
    EXPECT_EQ(train.count, 901);
    EXPECT_EQ(validation.count, 100);
    EXPECT(validation.data == all.data + 901);
    tokens_split(all, 0, &train, &validation);
    EXPECT(train.count == 1001 && validation.count == 0);
    tokens_split(all, 1, &train, &validation);
    EXPECT(train.count == 0 && validation.count == 1001);
    tokens_split((TokenRun){0}, 0.5, &train, &validation);
    EXPECT(train.count == 0 && validation.count == 0);
}

TEST(tokens_entropy_of_known_runs) {
    uint64_t counts[300];
    uint16_t four[] = {1, 2, 3, 4}, skewed[] = {5, 5, 5, 6};
    EXPECT_NEAR(tokens_entropy((TokenRun){four, 4}, counts, 300), log(4), 1e-12);
    EXPECT_NEAR(tokens_entropy((TokenRun){skewed, 4}, counts, 300),
                -(0.75 * log(0.75) + 0.25 * log(0.25)), 1e-12);
    EXPECT(tokens_entropy((TokenRun){four, 1}, counts, 300) == 0);
    EXPECT(tokens_entropy((TokenRun){0}, counts, 300) == 0);
}
