// Tokenizers: words, training and encoding against an obvious slow model of byte-pair encoding,
// round trips of any bytes, and the file: what it refuses, and each file operation failing in turn.
// The slow model recounts all pairs for every merge and rewrites the whole text, so it shares
// nothing with the lists and heaps that it checks.
#include "harness.h"

#include "arena/hash.h"
#include "formats_helpers.h"
#include "tables/philox.h"
#include "train/tokenizer.h"

// --- words
// ----------------------------------------------------------------------------------------

// The words of a text, with | between them.
static const char *words_of(Arena *arena, String text) {
    Text out = text_begin(arena);
    for (size_t at = 0, end; at < text.count; at = end) {
        end = tokenizer_word_end(text, at);
        if (at > 0) text_add(&out, STR("|"));
        text_add(&out, (String){text.data + at, end - at});
    }
    return text_done(&out).data;
}

TEST(tokenizer_words) {
    static const char *const cases[][2] = {
        {"Hello world", "Hello| world"},
        {"it's we'll they've I'm you'd don't we're",
         "it|'s| we|'ll| they|'ve| I|'m| you|'d| don|'t| we|'re"},
        {"x=42;  y", "x|=|42|;| | y"},
        {"a\n\nb", "a|\n\n|b"},
        {"a\n\n  b", "a|\n\n | b"},
        {"a \n b", "a| \n| b"},
        {"end  ", "end|  "},
        {" 3.14 !?", " 3|.|14| !?"},
        {"na\xC3\xAFve caf\xC3\xA9", "na\xC3\xAFve| caf\xC3\xA9"},
        {"'quote' 'tis", "'|quote|'| '|tis"},
        {"\t\tif", "\t\t|if"},
        {"", ""},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        EXPECT_STR(words_of(arena, str_of(cases[i][0])), cases[i][1]);
}

TEST(tokenizer_long_words_are_cut) {
    char *data = arena_push(arena, 1000, 1);
    memset(data, 'a', 1000);
    EXPECT_EQ(tokenizer_word_end((String){data, 1000}, 0), TOKENIZER_WORD_MAX);
    EXPECT_EQ(tokenizer_word_end((String){data, 1000}, 900), 1000);
    memset(data, ' ', 1000);
    EXPECT_EQ(tokenizer_word_end((String){data, 1000}, 0), TOKENIZER_WORD_MAX);
}

// --- the slow model
// -------------------------------------------------------------------------------

typedef struct Slow { // the tokens of a text, with a 65535 between words
    uint16_t *symbols;
    size_t    count;
} Slow;

static Slow slow_of(Arena *arena, String text) {
    Slow slow = {ARENA_ARRAY(arena, uint16_t, 2 * text.count + 1), 0};
    for (size_t at = 0, end; at < text.count; at = end) {
        end = tokenizer_word_end(text, at);
        for (size_t i = at; i < end; i++) slow.symbols[slow.count++] = (uint8_t)text.data[i];
        slow.symbols[slow.count++] = UINT16_MAX;
    }
    return slow;
}

static void slow_merge(Slow *slow, uint16_t left, uint16_t right, uint16_t made) {
    size_t to = 0;
    for (size_t i = 0; i < slow->count; i++) {
        bool hit = slow->symbols[i] == left && i + 1 < slow->count && slow->symbols[i + 1] == right;
        slow->symbols[to++] = hit ? made : slow->symbols[i];
        i += hit;
    }
    slow->count = to;
}

// The most frequent pair (left << 16 | right), the smallest of equals; 0 if none occurs twice.
static uint32_t slow_best(Arena *arena, const Slow *slow, uint32_t vocab) {
    ArenaMark mark = arena_mark(arena);
    uint32_t *counts = ARENA_ARRAY_ZERO(arena, uint32_t, (size_t)vocab * vocab);
    uint32_t  best = 0, most = 1;
    for (size_t i = 0; i + 1 < slow->count; i++)
        if (slow->symbols[i] != UINT16_MAX && slow->symbols[i + 1] != UINT16_MAX)
            counts[slow->symbols[i] * vocab + slow->symbols[i + 1]]++;
    for (uint32_t pair = 0; pair < vocab * vocab; pair++) {
        if (counts[pair] <= most) continue;
        most = counts[pair];
        best = (pair / vocab) << 16 | pair % vocab;
    }
    arena_release(arena, mark);
    return best;
}

// Random words over few letters, so that runs and overlapping pairs are common.
static String random_text(Arena *arena, uint64_t seed, size_t count, uint32_t letters) {
    char *data = arena_push(arena, count, 1);
    for (size_t i = 0; i < count; i++) {
        Philox drawn = philox_draw(seed, i, 0);
        data[i] = (char)(drawn.word[0] % 5 == 0 ? " \n.'"[drawn.word[1] % 4]
                                                : (char)('a' + drawn.word[2] % letters));
    }
    return (String){data, count};
}

TEST(tokenizer_trains_and_encodes_like_the_slow_model) {
    Arena *work = arena_open("work", 0, 0);
    REQUIRE(work != NULL);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        String           text = random_text(arena, seed, 4000, seed < 4 ? 2 : 12);
        Slow             slow = slow_of(arena, text);
        size_t           used = arena_used(work);
        const Tokenizer *tokenizer =
            tokenizer_train(arena, work, text, &(TokenizerTraining){.vocab = 340});
        EXPECT_EQ(arena_used(work), used);
        for (uint32_t token = 256; token < tokenizer->vocab; token++) {
            uint32_t        pair = slow_best(arena, &slow, token);
            const uint16_t *merge = &tokenizer->merges[2 * (token - 256)];
            EXPECT_EQ((uint32_t)merge[0] << 16 | merge[1], pair);
            slow_merge(&slow, (uint16_t)(pair >> 16), (uint16_t)pair, (uint16_t)token);
        }
        if (tokenizer->vocab < 340) EXPECT_EQ(slow_best(arena, &slow, tokenizer->vocab), 0);
        size_t    count, at = 0;
        uint16_t *tokens = tokenizer_encode(arena, tokenizer, text, &count);
        for (size_t i = 0; i < slow.count; i++) {
            if (slow.symbols[i] == UINT16_MAX) continue;
            REQUIRE(at < count && tokens[at] == slow.symbols[i]);
            at++;
        }
        EXPECT_EQ(at, count);
    }
    arena_close(work);
}

// --- using it
// -------------------------------------------------------------------------------------

static const char sample[] =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
    "age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the "
    "season of Light, it was the season of Darkness, it was the spring of hope, it was the winter "
    "of despair.";

static const Tokenizer *small(Arena *arena, uint32_t vocab) {
    Arena           *work = arena_open("work", 0, 0);
    const Tokenizer *tokenizer =
        tokenizer_train(arena, work, STR(sample), &(TokenizerTraining){.vocab = vocab});
    arena_close(work);
    return tokenizer;
}

TEST(tokenizer_of_bytes_maps_each_byte_to_itself) {
    const Tokenizer *tokenizer = tokenizer_bytes(arena);
    char             bytes[512];
    size_t           count;
    for (int i = 0; i < 512; i++) bytes[i] = (char)(i % 256);
    uint16_t *tokens = tokenizer_encode(arena, tokenizer, (String){bytes, 512}, &count);
    EXPECT_EQ(tokenizer->vocab, 256);
    REQUIRE(count == 512);
    for (int i = 0; i < 512; i++) REQUIRE(tokens[i] == i % 256);
    EXPECT(str_same(tokenizer_decode(arena, tokenizer, tokens, count), (String){bytes, 512}));
    (void)tokenizer_encode(arena, tokenizer, STR(""), &count);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(tokenizer_decode(arena, tokenizer, NULL, 0).count, 0);
}

TEST(tokenizer_any_bytes_come_back) {
    const Tokenizer *tokenizer = small(arena, 300);
    for (uint64_t seed = 0; seed < 40; seed++) {
        size_t bytes = philox_draw(seed, 0, 1).word[0] % 3000, count;
        char  *data = arena_push(arena, bytes, 1);
        for (size_t i = 0; i < bytes; i++) {
            Philox drawn = philox_draw(seed, i, 2);
            data[i] =
                (char)(drawn.word[0] % 3 ? (uint32_t)sample[drawn.word[1] % 200] : drawn.word[1]);
        }
        uint16_t *tokens = tokenizer_encode(arena, tokenizer, (String){data, bytes}, &count);
        EXPECT(count <= bytes);
        EXPECT(str_same(tokenizer_decode(arena, tokenizer, tokens, count), (String){data, bytes}));
    }
}

TEST(tokenizer_in_pieces_or_at_once) {
    const Tokenizer *tokenizer = small(arena, 320);
    TokenizerCache  *cache = tokenizer_cache(arena);
    String           text = random_text(arena, 9, 5000, 20);
    uint16_t         piece[TOKENIZER_WORD_MAX + 3];
    size_t           count, at = 0, done = 0;
    uint16_t        *tokens = tokenizer_encode(arena, tokenizer, text, &count);
    while (at < text.count) {
        size_t got = tokenizer_encode_some(tokenizer, cache, text, &at, piece, LENGTH(piece));
        REQUIRE(got > 0 && done + got <= count);
        EXPECT(memcmp(piece, tokens + done, got * sizeof *piece) == 0);
        done += got;
    }
    EXPECT_EQ(done, count);
}

TEST(tokenizer_learns_words_and_shortens_text) {
    const Tokenizer *tokenizer = small(arena, 300);
    size_t           count;
    bool             was = false;
    for (uint32_t token = 256; token < tokenizer->vocab; token++)
        was |= str_same(tokenizer_piece(tokenizer, token), STR(" was"));
    EXPECT(was);
    (void)tokenizer_encode(arena, tokenizer, STR(sample), &count);
    EXPECT(count < sizeof sample / 2);
    EXPECT_EQ(tokenizer_piece(tokenizer, tokenizer->vocab).count, 0);
    EXPECT_EQ(tokenizer_piece(tokenizer, 65535).count, 0);
    uint16_t strange[] = {'o', 65535, 'k', (uint16_t)tokenizer->vocab};
    EXPECT_STR(tokenizer_decode(arena, tokenizer, strange, 4).data, "ok");
}

TEST(tokenizer_training_options) {
    Arena            *work = arena_open("work", 0, 0);
    TokenizerTraining how = {.vocab = 65535};
    const Tokenizer  *all = tokenizer_train(arena, work, STR(sample), &how);
    EXPECT(all->vocab < 400); // nothing occurs twice any more
    how.count_min = 5;
    EXPECT(tokenizer_train(arena, work, STR(sample), &how)->vocab < all->vocab);
    how = (TokenizerTraining){.vocab = 300, .bytes_max = 100};
    const Tokenizer *part = tokenizer_train(arena, work, STR(sample), &how);
    EXPECT(part->hash == tokenizer_train(arena, work, (String){sample, 100}, &how)->hash);
    EXPECT(part->hash != small(arena, 300)->hash);
    how.vocab = 256;
    EXPECT(tokenizer_train(arena, work, STR(sample), &how)->hash == tokenizer_bytes(arena)->hash);
    how.vocab = 300;
    EXPECT_EQ(tokenizer_train(arena, work, STR(""), &how)->vocab, 256);
    EXPECT_EQ(tokenizer_train(arena, work, STR("a"), &how)->vocab, 256);
    arena_close(work);
}

TEST(tokenizer_long_words_train_and_encode) {
    Arena *work = arena_open("work", 0, 0);
    char  *data = arena_push(arena, 4096, 1);
    size_t count;
    for (size_t i = 0; i < 4096; i++)
        data[i] = (char)('a' + philox_draw(5, i / 300, 0).word[0] % 3);
    String           text = {data, 4096};
    const Tokenizer *tokenizer =
        tokenizer_train(arena, work, text, &(TokenizerTraining){.vocab = 400});
    uint16_t *tokens = tokenizer_encode(arena, tokenizer, text, &count);
    EXPECT(count < 200);
    EXPECT(str_same(tokenizer_decode(arena, tokenizer, tokens, count), text));
    for (uint32_t token = 0; token < tokenizer->vocab; token++)
        EXPECT(tokenizer_piece(tokenizer, token).count <= TOKENIZER_WORD_MAX);
    arena_close(work);
}

// --- the file
// -------------------------------------------------------------------------------------

static bool same_tokenizer(const Tokenizer *a, const Tokenizer *b) {
    return a && b && a->vocab == b->vocab && a->hash == b->hash &&
           memcmp(a->merges, b->merges, 4 * (size_t)(a->vocab - 256)) == 0;
}

TEST(tokenizer_file_round_trip) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "tokenizer.bin");
    Diags       diags;
    diags_open(&diags, NULL);
    for (uint32_t vocab = 256; vocab <= 300; vocab += 44) {
        const Tokenizer *tokenizer = small(arena, vocab), *back;
        EXPECT_EQ(tokenizer_save(tokenizer, path, &diags), STATUS_OK);
        EXPECT_EQ(tokenizer_load(arena, path, &diags, &back), STATUS_OK);
        EXPECT(same_tokenizer(tokenizer, back));
    }
    EXPECT_EQ(files_in(arena, dir), 1);
    EXPECT_EQ(diags.rows.table.count, 1);
    const Tokenizer *none;
    EXPECT_EQ(tokenizer_load(arena, path_in(arena, dir, "missing"), &diags, &none), STATUS_IO);
    EXPECT(none == NULL);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_ERROR), 1);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokenizer_file_refuses_every_damage) {
    Diags diags;
    diags_open(&diags, NULL);
    const Tokenizer *back;
    String           good = tokenizer_to_bytes(arena, small(arena, 280));
    char            *bytes = arena_push(arena, good.count + 1, 1);
    for (size_t count = 0; count <= good.count + 1;
         count++) { // every truncation, and one byte more
        if (count == good.count) continue;
        memcpy(bytes, good.data, count < good.count ? count : good.count);
        Status status = tokenizer_of_bytes(arena, (String){bytes, count}, "x", &diags, &back);
        EXPECT(status == STATUS_CORRUPT && back == NULL);
    }
    for (size_t at = 0; at < good.count; at++) { // every byte changed
        memcpy(bytes, good.data, good.count);
        bytes[at] = (char)(bytes[at] ^ 0x41);
        EXPECT(tokenizer_of_bytes(arena, (String){bytes, good.count}, "x", &diags, &back) !=
               STATUS_OK);
    }
    EXPECT(diags_of(&diags, DIAG_FILE_DAMAGED) > 0);
    EXPECT(diags_of(&diags, DIAG_FILE_FORMAT) > 0);
    diags_close(&diags);
}

TEST(tokenizer_merges_are_checked) {
    static const struct {
        uint16_t merges[6];
        uint32_t count, bad;
    } cases[] = {
        {{'a', 256}, 1, 0},                    // itself
        {{'a', 'b', 258, 'c'}, 2, 1},          // a later one
        {{'a', 'b', 'b', 'c', 'a', 'b'}, 3, 2} // twice the same
    };
    uint32_t bad;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        size_t used = arena_used(arena);
        EXPECT(tokenizer_of_merges(arena, cases[i].merges, cases[i].count, &bad) == NULL);
        EXPECT_EQ(bad, cases[i].bad);
        EXPECT_EQ(arena_used(arena), used);
    }
    uint16_t doubling[18] = {'a', 'a'}; // the ninth makes a token of 512 bytes
    for (uint16_t i = 1; i < 9; i++) doubling[2 * i] = doubling[2 * i + 1] = (uint16_t)(255 + i);
    EXPECT(tokenizer_of_merges(arena, doubling, 8, &bad) != NULL);
    EXPECT(tokenizer_of_merges(arena, doubling, 9, &bad) == NULL);
    EXPECT_EQ(bad, 8);
}

TEST(tokenizer_file_operations_fail_in_turn) {
    const char      *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    const Tokenizer *tokenizer = small(arena, 290), *other = small(arena, 260), *back;
    Diags            diags;
    diags_open(&diags, NULL);
    EXPECT_EQ(tokenizer_save(other, path, &diags), STATUS_OK);
    bool failed = true;
    for (uint64_t n = 1; failed && n < 50; n++) {
        fault_file_nth(n);
        failed = tokenizer_save(tokenizer, path, &diags) != STATUS_OK;
        fault_file_nth(0);
        REQUIRE(tokenizer_load(arena, path, &diags, &back) == STATUS_OK);
        EXPECT(same_tokenizer(back, tokenizer) || (failed && same_tokenizer(back, other)));
    }
    failed = true;
    for (uint64_t n = 1; failed && n < 50; n++) {
        fault_file_nth(n);
        failed = tokenizer_load(arena, path, &diags, &back) != STATUS_OK;
        fault_file_nth(0);
        EXPECT(failed || same_tokenizer(back, tokenizer));
    }
    EXPECT(!failed);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(tokenizer_training_survives_running_out_of_memory) {
    String        text = random_text(arena, 3, 20000, 20);
    Arena        *out = arena_open("out", 0, 0);
    ArenaGuard    guard;
    volatile bool failed = true;
    volatile int  failures = 0;
    for (volatile uint64_t n = 1; failed && n < 2000; n = n + (n < 30 ? 1 : n / 4)) {
        Arena *volatile work = arena_open("work", 0, 0);
        fault_commit_nth(n);
        failed = !ARENA_GUARD(&guard);
        if (!failed) {
            const Tokenizer *tokenizer =
                tokenizer_train(out, work, text, &(TokenizerTraining){.vocab = 400});
            arena_guard_end(&guard);
            EXPECT_EQ(tokenizer->vocab, 400);
        }
        fault_commit_nth(0);
        failures += failed;
        arena_close(work);
    }
    EXPECT(!failed);
    EXPECT(failures > 0);
    arena_close(out);
}
