/* Batches for training: see feed.h for what is in a batch.
 *
 * The ring is shared by two threads with one writer for each word: the feeding thread counts the
 * batches it made, the caller counts those it gave back, both modulo 2^32 and published with
 * release order, so the buffers need no lock. Who must wait sleeps on the other's word. Closing
 * sets `stop` and then moves the caller's word, so a thread between its check and its sleep wakes
 * up again.
 *
 * Shuffling is a Feistel network over the smallest even number of bits that holds count, walked
 * until it lands inside (J. Black, P. Rogaway 2002, "Ciphers with arbitrary finite domains"): under
 * four tries on average, no table, and position k of epoch e needs nothing of what came before. */
#include "train/feed.h"

#include <stdatomic.h>

#include "arena/os.h"
#include "tables/philox.h"

enum { ROUNDS = 6, LINE_BYTES = 64 };
/* What a draw is for: the top byte of Philox's `high`. */
static const uint64_t DRAW_WINDOW = (uint64_t)1 << 56, DRAW_SHUFFLE = (uint64_t)2 << 56;

struct Feed {
    FeedSource source;
    uint32_t   ring; /* buffers */
    bool       threaded;
    OsThread   thread;
    FeedBatch *batches;
    uint64_t   first;
    uint64_t   taken, returned; /* by the caller, counted from 0 */
    uint64_t   waited_ns;
    /* Each on a line of its own: one side polls what the other writes. */
    _Alignas(LINE_BYTES) _Atomic uint32_t made;
    _Alignas(LINE_BYTES) _Atomic uint32_t recycled; /* returned, or moved on by feed_close */
    _Atomic bool stop;
};

/* --- what is in a batch ----------------------------------------------------------------------- */

Status feed_check(const FeedSource *source, const char *name, Diags *diags) {
    ASSERT(source->batch > 0);
    bool     text = source->kind == FEED_TOKENS;
    uint64_t have = text ? source->tokens.count : source->count;
    uint64_t need = text ? (uint64_t)source->context + 1 : 1;
    if (have >= need) return STATUS_OK;
    diags_add(diags, DIAG_DATA_TOO_SMALL, 0, diags_str(diags, str_of(name)), have, need, 0);
    return STATUS_INVALID;
}

static uint64_t windows(const FeedSource *source) {
    ASSERT(source->context > 0 && source->tokens.count > source->context);
    return (source->tokens.count - 1) / source->context;
}

uint64_t feed_batches(const FeedSource *source) {
    uint64_t samples = source->kind == FEED_TOKENS ? windows(source) : source->count;
    return samples / source->batch;
}

uint64_t feed_shuffle(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t position) {
    ASSERT(position < count);
    ASSERT(epoch < DRAW_WINDOW);
    uint32_t half = 1;
    while (half < 32 && (uint64_t)1 << 2 * half < count) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1, at = position;
    do {
        uint64_t left = at >> half, right = at & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            Philox   drawn = philox_draw(seed, right | round << 32, DRAW_SHUFFLE | epoch);
            uint64_t mixed = left ^ (drawn.word[0] & mask);
            left = right;
            right = mixed;
        }
        at = left << half | right;
    } while (at >= count);
    return at;
}

static uint64_t window_start(const FeedSource *source, uint64_t sample) {
    if (!source->random) return sample % windows(source) * source->context;
    Philox drawn = philox_draw(source->seed, sample, DRAW_WINDOW);
    return philox_below(drawn, source->tokens.count - source->context);
}

static void fill_tokens(const FeedSource *source, FeedBatch *into) {
    size_t context = source->context;
    for (uint32_t row = 0; row < source->batch; row++) {
        uint64_t        start = window_start(source, into->index * source->batch + row);
        const uint16_t *from = source->tokens.data + start;
        int32_t        *x = into->tokens + row * context, *y = into->targets + row * context;
        ASSERT(start + context < source->tokens.count);
        for (size_t i = 0; i < context; i++) x[i] = from[i];
        for (size_t i = 0; i < context; i++) y[i] = from[i + 1];
    }
}

static void fill_images(const FeedSource *source, FeedBatch *into) {
    size_t bytes = source->image_bytes;
    for (uint32_t row = 0; row < source->batch; row++) {
        uint64_t sample = into->index * source->batch + row;
        uint64_t item = sample % source->count, epoch = sample / source->count;
        if (source->random) item = feed_shuffle(source->seed, epoch, source->count, item);
        const uint8_t *from = source->pixels + item * bytes;
        into->labels[row] = source->labels[item];
        if (!source->as_f32) {
            memcpy((uint8_t *)into->images + row * bytes, from, bytes);
            continue;
        }
        float *pixels = (float *)into->images + row * bytes;
        for (size_t i = 0; i < bytes; i++)
            pixels[i] = (float)from[i] * source->scale + source->offset;
    }
}

FeedBatch feed_batch(Arena *out, const FeedSource *source) {
    FeedBatch batch = {0};
    size_t    rows = source->batch;
    if (source->kind == FEED_TOKENS) {
        size_t bytes = rows * source->context * sizeof(int32_t);
        batch.tokens = arena_push(out, bytes, LINE_BYTES);
        batch.targets = arena_push(out, bytes, LINE_BYTES);
    } else {
        size_t width = source->as_f32 ? sizeof(float) : 1;
        batch.images = arena_push(out, rows * source->image_bytes * width, LINE_BYTES);
        batch.labels = arena_push(out, rows * sizeof(int32_t), LINE_BYTES);
    }
    return batch;
}

void feed_fill(const FeedSource *source, uint64_t index, FeedBatch *into) {
    into->index = index;
    if (source->kind == FEED_TOKENS)
        fill_tokens(source, into);
    else
        fill_images(source, into);
}

/* --- the ring --------------------------------------------------------------------------------- */

/* The feeding thread: fills buffers in turn while there is one that was given back. */
static void feed_main(void *context) {
    Feed *feed = context;
    for (uint64_t made = 0;; made++) {
        uint32_t recycled = atomic_load_explicit(&feed->recycled, memory_order_acquire);
        while (!atomic_load(&feed->stop) && (uint32_t)made - recycled == feed->ring) {
            os_wait(&feed->recycled, recycled);
            recycled = atomic_load_explicit(&feed->recycled, memory_order_acquire);
        }
        if (atomic_load(&feed->stop)) return;
        feed_fill(&feed->source, feed->first + made, &feed->batches[made % feed->ring]);
        atomic_store_explicit(&feed->made, (uint32_t)(made + 1), memory_order_release);
        os_wake(&feed->made);
    }
}

Feed *feed_open(Arena *arena, const FeedSource *source, uint32_t ring, uint64_t first) {
    Feed *feed = ARENA_NEW(arena, Feed);
    feed->source = *source;
    feed->ring = ring > 0 ? ring : 1;
    feed->first = first;
    feed->batches = ARENA_ARRAY(arena, FeedBatch, feed->ring);
    for (uint32_t i = 0; i < feed->ring; i++) feed->batches[i] = feed_batch(arena, source);
    int error = ring > 0 ? os_thread_start(&feed->thread, feed_main, feed, "stoa-feed") : 1;
    feed->threaded = error == 0;
    return feed;
}

void feed_close(Feed *feed) {
    if (!feed || !feed->threaded) return;
    atomic_store(&feed->stop, true);
    atomic_fetch_add(&feed->recycled, 1);
    os_wake(&feed->recycled);
    os_thread_join(feed->thread);
    feed->threaded = false;
}

const FeedBatch *feed_next(Feed *feed) {
    ASSERT(feed->taken - feed->returned < feed->ring);
    uint32_t   want = (uint32_t)feed->taken;
    FeedBatch *batch = &feed->batches[feed->taken % feed->ring];
    if (!feed->threaded) {
        feed_fill(&feed->source, feed->first + feed->taken, batch);
    } else if (atomic_load_explicit(&feed->made, memory_order_acquire) == want) {
        uint64_t start = os_clock_ns();
        while (atomic_load_explicit(&feed->made, memory_order_acquire) == want)
            os_wait(&feed->made, want);
        feed->waited_ns += os_clock_ns() - start;
    }
    ASSERT(batch->index == feed->first + feed->taken);
    feed->taken++;
    return batch;
}

void feed_recycle(Feed *feed) {
    ASSERT(feed->returned < feed->taken);
    feed->returned++;
    if (!feed->threaded) return;
    atomic_store_explicit(&feed->recycled, (uint32_t)feed->returned, memory_order_release);
    os_wake(&feed->recycled);
}

uint64_t feed_index(const Feed *feed) { return feed->first + feed->taken; }
uint64_t feed_waited_ns(const Feed *feed) { return feed->waited_ns; }
