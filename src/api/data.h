/* Data behind the public interface: a tokenizer, a token file or images, and the two feed sources
 * (training, validation) that the training loop draws batches from.
 *
 * Dimensions of images are those of the files; token batches are [batch, context]. */
#ifndef STOA_API_DATA_H
#define STOA_API_DATA_H

#include "api/internal.h"
#include "train/feed.h"
#include "train/tokenizer.h"

struct StoaTokenizer {
    StoaContext     *context;
    Arena           *arena;
    const Tokenizer *tokenizer;
    TokenizerCache  *cache;
};

struct StoaData {
    StoaContext  *context;
    Arena        *arena;
    StoaTokenizer tokenizer; /* text only */
    Tokens        tokens;    /* mapped, when a folder was given */
    FeedSource    train, validation;
    bool          has_validation;
    uint32_t      vocab, height, width;
    uint64_t      items, items_per_batch;
    double        entropy;
};

enum { DATA_INPUTS = 2 };
/* The tensors of a batch, in the order of the graph's data inputs. */
void data_tensors(const StoaData *data, const FeedSource *source, const FeedBatch *batch,
                  StoaTensor *out_inputs);

#endif
