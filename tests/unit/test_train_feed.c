// Batches: what is in them, that they depend on their index only, that threads change nothing, and
// that a feed closes cleanly at any moment. The threaded tests are short, so that ThreadSanitizer
// can run them often.
#include "harness.h"

#include "formats_helpers.h"
#include "tables/philox.h"
#include "train/feed.h"

static FeedSource token_source(Arena *arena, uint64_t count, uint32_t batch, uint32_t context) {
    uint16_t *data = ARENA_ARRAY(arena, uint16_t, count);
    for (uint64_t i = 0; i < count; i++) data[i] = (uint16_t)(i % 60000);
    return (FeedSource){.kind = FEED_TOKENS,
                        .batch = batch,
                        .tokens = {data, count},
                        .context = context,
                        .seed = 42};
}

// Image i is the bytes i, i + 1, ...; its label is i % 10.
static FeedSource image_source(Arena *arena, uint64_t count, uint32_t batch, uint32_t bytes) {
    uint8_t *pixels = ARENA_ARRAY(arena, uint8_t, count * bytes);
    uint8_t *labels = ARENA_ARRAY(arena, uint8_t, count);
    for (uint64_t i = 0; i < count; i++) {
        labels[i] = (uint8_t)(i % 10);
        for (uint32_t k = 0; k < bytes; k++) pixels[i * bytes + k] = (uint8_t)(i + k);
    }
    return (FeedSource){.kind = FEED_IMAGES,
                        .batch = batch,
                        .pixels = pixels,
                        .labels = labels,
                        .count = count,
                        .image_bytes = bytes,
                        .seed = 42};
}

TEST(feed_sequential_windows) {
    FeedSource source = token_source(arena, 100, 3, 7);
    FeedBatch  batch = feed_batch(arena, &source);
    EXPECT_EQ(feed_batches(&source), 14 / 3); // (100 - 1) / 7 windows
    for (uint64_t index = 0; index < 20; index++) {
        feed_fill(&source, index, &batch);
        EXPECT_EQ(batch.index, index);
        for (uint64_t row = 0; row < 3; row++) {
            uint64_t start = (index * 3 + row) % 14 * 7;
            for (uint64_t i = 0; i < 7; i++) {
                REQUIRE(batch.tokens[row * 7 + i] == (int32_t)(start + i));
                REQUIRE(batch.targets[row * 7 + i] == (int32_t)(start + i + 1));
            }
        }
    }
    EXPECT(batch.images == NULL && batch.labels == NULL);
    EXPECT(((uintptr_t)batch.tokens & 63) == 0 && ((uintptr_t)batch.targets & 63) == 0);
}

TEST(feed_random_windows_cover_all_places) {
    FeedSource source = token_source(arena, 40, 8, 8);
    FeedBatch  batch = feed_batch(arena, &source);
    uint32_t   seen[40] = {0};
    source.random = true;
    for (uint64_t index = 0; index < 400; index++) {
        feed_fill(&source, index, &batch);
        for (uint32_t row = 0; row < 8; row++) {
            int32_t start = batch.tokens[row * 8];
            REQUIRE(start >= 0 && start < 32); // the last start leaves one target
            seen[start]++;
            for (int32_t i = 0; i < 8; i++) {
                REQUIRE(batch.tokens[row * 8 + (uint32_t)i] == start + i);
                REQUIRE(batch.targets[row * 8 + (uint32_t)i] == start + i + 1);
            }
        }
    }
    for (int i = 0; i < 32; i++) EXPECT_WITHIN(seen[i], 100, 45);
}

TEST(feed_smallest_sources) {
    for (int random = 0; random < 2; random++) {
        FeedSource source = token_source(arena, 5, 2, 4);
        source.random = random;
        FeedBatch batch = feed_batch(arena, &source);
        feed_fill(&source, 77, &batch);
        EXPECT(batch.tokens[0] == 0 && batch.targets[7] == 4);
        FeedSource images = image_source(arena, 1, 3, 2);
        images.random = random;
        batch = feed_batch(arena, &images);
        feed_fill(&images, 5, &batch);
        EXPECT(batch.labels[0] == 0 && batch.labels[2] == 0 && ((uint8_t *)batch.images)[5] == 1);
    }
}

TEST(feed_check_names_what_is_missing) {
    Diags diags;
    diags_open(&diags, NULL);
    FeedSource text = token_source(arena, 8, 2, 8), images = image_source(arena, 1, 1, 1);
    EXPECT_EQ(feed_check(&text, "corpus.tokens", &diags), STATUS_INVALID);
    EXPECT_STR(diags_text(arena, &diags, DIAG_DATA_TOO_SMALL, 0), "corpus.tokens");
    EXPECT_EQ(diags.rows.arg1[1], 8);
    EXPECT_EQ(diags.rows.arg2[1], 9);
    text.context = 7;
    EXPECT_EQ(feed_check(&text, "corpus.tokens", &diags), STATUS_OK);
    EXPECT_EQ(feed_check(&images, "mnist", &diags), STATUS_OK);
    images.count = 0;
    EXPECT_EQ(feed_check(&images, "mnist", &diags), STATUS_INVALID);
    diags_close(&diags);
}

TEST(feed_shuffle_is_a_bijection) {
    static const uint64_t counts[] = {1, 2, 3, 4, 5, 7, 16, 17, 255, 256, 257, 1000, 4096, 5000};
    for (size_t i = 0; i < LENGTH(counts); i++) {
        uint64_t count = counts[i], moved = 0, differ = 0;
        uint8_t *seen = ARENA_ARRAY_ZERO(arena, uint8_t, count);
        for (uint64_t k = 0; k < count; k++) {
            uint64_t at = feed_shuffle(7, 3, count, k);
            REQUIRE(at < count && !seen[at]);
            seen[at] = 1;
            moved += at != k;
            differ += at != feed_shuffle(7, 4, count, k);
        }
        EXPECT(count < 200 || (moved > count * 9 / 10 && differ > count * 9 / 10));
    }
    EXPECT(feed_shuffle(1, 0, (uint64_t)1 << 40, 123456789) < (uint64_t)1 << 40);
}

TEST(feed_shuffle_is_even) { // every order of three items, each about as often
    uint32_t seen[27] = {0};
    for (uint64_t epoch = 0; epoch < 6000; epoch++) {
        uint64_t code = 0;
        for (uint64_t k = 0; k < 3; k++) code = code * 3 + feed_shuffle(11, epoch, 3, k);
        seen[code]++;
    }
    static const int orders[] = {5, 7, 11, 15, 19, 21}; // 012 021 102 120 201 210 in base 3
    for (size_t i = 0; i < LENGTH(orders); i++) EXPECT_WITHIN(seen[orders[i]], 1000, 150);
}

TEST(feed_images_in_order_and_shuffled) {
    FeedSource source = image_source(arena, 10, 4, 6);
    FeedBatch  batch = feed_batch(arena, &source);
    uint32_t   seen[3][10] = {{0}};
    EXPECT_EQ(feed_batches(&source), 2);
    feed_fill(&source, 2, &batch); // items 8 9 0 1
    EXPECT(batch.labels[0] == 8 && batch.labels[1] == 9 && batch.labels[2] == 0);
    EXPECT_EQ(((uint8_t *)batch.images)[6], 9);
    source.random = true;
    for (uint64_t index = 0; index < 7; index++) { // 28 samples: epochs 0, 1 and most of 2
        feed_fill(&source, index, &batch);
        for (uint32_t row = 0; row < 4; row++) {
            const uint8_t *image = (const uint8_t *)batch.images + row * 6;
            EXPECT_EQ(image[0], batch.labels[row]);
            EXPECT_EQ(image[5], image[0] + 5);
            seen[(index * 4 + row) / 10][image[0]]++;
        }
    }
    for (int item = 0; item < 10; item++) EXPECT(seen[0][item] == 1 && seen[1][item] == 1);
}

TEST(feed_images_as_floats) {
    FeedSource source = image_source(arena, 300, 4, 9);
    source.as_f32 = true;
    source.scale = 1 / 128.0f;
    source.offset = -1;
    FeedBatch batch = feed_batch(arena, &source);
    feed_fill(&source, 60, &batch);
    const float *image = (const float *)batch.images + 9;
    for (int k = 0; k < 9; k++) EXPECT(image[k] == (float)((241 + k) % 256) / 128.0f - 1.0f);
    EXPECT_EQ(batch.labels[1], 1);
}

static bool same_batch(const FeedSource *source, const FeedBatch *a, const FeedBatch *b) {
    size_t tokens = source->kind == FEED_TOKENS ? (size_t)source->batch * source->context : 0;
    size_t width = source->as_f32 ? 4 : 1;
    if (a->index != b->index) return false;
    if (tokens)
        return memcmp(a->tokens, b->tokens, 4 * tokens) == 0 &&
               memcmp(a->targets, b->targets, 4 * tokens) == 0;
    return memcmp(a->images, b->images, (size_t)source->batch * source->image_bytes * width) == 0 &&
           memcmp(a->labels, b->labels, 4 * (size_t)source->batch) == 0;
}

static void run_feed(Arena *arena, const FeedSource *source, uint32_t ring, uint64_t first) {
    FeedBatch want = feed_batch(arena, source);
    Feed     *feed = feed_open(arena, source, ring, first);
    for (uint64_t n = 0; n < 50; n++) {
        EXPECT_EQ(feed_index(feed), first + n);
        const FeedBatch *batch = feed_next(feed);
        feed_fill(source, first + n, &want);
        EXPECT(same_batch(source, batch, &want));
        feed_recycle(feed);
    }
    EXPECT_EQ(feed_index(feed), first + 50);
    feed_close(feed);
}

TEST(feed_thread_changes_nothing_and_resumes_anywhere) {
    FeedSource text = token_source(arena, 1000, 4, 16), images = image_source(arena, 37, 5, 12);
    for (int random = 0; random < 2; random++) {
        text.random = images.random = images.as_f32 = random;
        images.scale = 0.5f;
        for (uint32_t ring = 0; ring <= 3; ring++) {
            run_feed(arena, &text, ring, 0);
            run_feed(arena, &images, ring, 1000003 * (uint64_t)ring);
        }
    }
}

TEST(feed_several_batches_may_be_held) {
    FeedSource       source = token_source(arena, 1000, 2, 8);
    Feed            *feed = feed_open(arena, &source, 4, 0);
    const FeedBatch *held[4];
    for (uint64_t round = 0; round < 20; round++) {
        for (uint64_t i = 0; i < 4; i++) held[i] = feed_next(feed);
        for (uint64_t i = 0; i < 4; i++) {
            EXPECT_EQ(held[i]->index, round * 4 + i);
            EXPECT_EQ(held[i]->tokens[0], (int32_t)(held[i]->index * 2 % 124 * 8));
        }
        for (uint64_t i = 0; i < 4; i++) feed_recycle(feed);
    }
    feed_close(feed);
}

TEST(feed_closes_at_any_moment) {
    FeedSource source = token_source(arena, 1000, 2, 8);
    for (uint64_t taken = 0; taken < 40; taken++) {
        ArenaMark mark = arena_mark(arena);
        Feed     *feed = feed_open(arena, &source, 1 + (uint32_t)taken % 3, taken);
        for (uint64_t i = 0; i < taken % 7; i++) {
            EXPECT_EQ(feed_next(feed)->index, taken + i);
            if (i + 1 < taken % 7)
                feed_recycle(feed);
            else
                break; // the last one is still held
        }
        feed_close(feed);
        arena_release(arena, mark);
    }
    feed_close(NULL);
    EXPECT(true);
}
