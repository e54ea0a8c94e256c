/* Batches for training: token windows with their successors, or images with labels.
 *
 * A batch is a pure function of the source and of its index: sample p = index * batch + row. So the
 * whole state of a feed is one number, and a run resumed with it sees the same bytes.
 *
 *   tokens, in order   window w = p mod ((count - 1) / context); x = tokens[w * context ..], y one
 *                      further; every token is a target once a pass, but for the rest at the end
 *   tokens, random     x begins at a place drawn for p (Philox); all places are as likely
 *   images, in order   item p mod count
 *   images, random     item shuffle(epoch p / count)[p mod count]: each item once an epoch
 *
 * A Feed computes batches ahead on a thread of its own into a ring of buffers; it allocates nothing
 * after feed_open. Where no thread is to be had, batches are computed when asked for. */
#ifndef STOA_TRAIN_FEED_H
#define STOA_TRAIN_FEED_H

#include "arena/arena.h"
#include "arena/status.h"
#include "tables/diags.h"
#include "train/tokens.h"

typedef enum FeedKind { FEED_TOKENS, FEED_IMAGES } FeedKind;
typedef struct FeedSource {
    FeedKind kind;
    uint32_t batch;  /* rows */
    bool     random; /* see above */
    uint64_t seed;   /* of the random orders */

    TokenRun tokens;  /* TOKENS; outlives the feed */
    uint32_t context; /* tokens a row */

    const uint8_t *pixels, *labels; /* IMAGES: count x image_bytes and count; outlive the feed */
    uint64_t       count;
    uint32_t       image_bytes;
    bool           as_f32; /* pixel * scale + offset in f32; otherwise the bytes as they are */
    float          scale, offset;
} FeedSource;

typedef struct FeedBatch { /* row-major, 64-byte aligned; what the kind has not is NULL */
    uint64_t index;
    int32_t *tokens, *targets; /* [batch, context] */
    void    *images;           /* [batch, image_bytes], f32 or u8 */
    int32_t *labels;           /* [batch] */
} FeedBatch;

/* DATA_TOO_SMALL when the source holds less than one window or image. name: for the message. */
MUST_USE Status feed_check(const FeedSource *source, const char *name, Diags *diags);
uint64_t        feed_batches(const FeedSource *source); /* whole batches in one pass, in order */
/* Buffers for one batch, and its contents: for evaluation, which needs no thread. */
FeedBatch feed_batch(Arena *out, const FeedSource *source);
void      feed_fill(const FeedSource *source, uint64_t index, FeedBatch *into);
/* Item at `position` of the shuffled order of an epoch: a bijection of [0, count), in O(1). */
uint64_t feed_shuffle(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t position);

/* Begins at batch `first`, ring (at least 1) batches ahead; 0 asks for no thread and one buffer.
 * The source was checked. The arena is used until it returns, and must outlive feed_close. */
typedef struct Feed Feed;
Feed *feed_open(Arena *arena, const FeedSource *source, uint32_t ring, uint64_t first);
void  feed_close(Feed *feed); /* NULL is allowed; batches become invalid */
/* The next batch; waits until it is there. Valid until recycled. At most `ring` may be held. */
const FeedBatch *feed_next(Feed *feed);
void             feed_recycle(Feed *feed);     /* gives the oldest batch held back to be refilled */
uint64_t         feed_index(const Feed *feed); /* what feed_next returns next: the state to save */
uint64_t         feed_waited_ns(const Feed *feed); /* in feed_next, since it was opened */

#endif
