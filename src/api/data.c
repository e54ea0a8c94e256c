/* Opening data: text through a tokenizer into tokens (kept in a folder under a name made from the
 * source and the settings, so that a second run starts at once), images from IDX files. What was
 * kept is checked when it is opened and made again when it does not fit. */
#include "api/data.h"

#include <math.h>

#include "arena/hash.h"
#include "arena/os.h"
#include "formats/files.h"
#include "formats/gz.h"
#include "formats/idx.h"

enum { TEXT_BYTES_MAX = 1 << 30 };

void data_tensors(const StoaData *data, const FeedSource *source, const FeedBatch *batch,
                  StoaTensor *out) {
    int64_t rows = source->batch;
    if (source->kind == FEED_TOKENS) {
        int64_t length = source->context;
        out[0] = (StoaTensor){STOA_I32, 2, {rows, length}, batch->tokens};
        out[1] = (StoaTensor){STOA_I32, 2, {rows, length}, batch->targets};
    } else {
        out[0] = (StoaTensor){STOA_F32, 4, {rows, 1, data->height, data->width}, batch->images};
        out[1] = (StoaTensor){STOA_I32, 1, {rows}, batch->labels};
    }
}

static StoaData *open_data(StoaContext *context) {
    Arena *arena = arena_open("data", (size_t)1 << 36, 0);
    if (arena == NULL) api_unwind_on(arena_guard_failure());
    StoaData *data = ARENA_NEW(arena, StoaData);
    data->context = context;
    data->arena = arena;
    data->entropy = NAN;
    return data;
}
void stoa_data_destroy(StoaData *data) {
    if (data == NULL) return;
    tokens_close(&data->tokens);
    arena_close(data->arena);
}

/* --- text ------------------------------------------------------------------------------------- */
typedef struct TextPlan { /* what is made from what, and where it is kept */
    const StoaTextOptions *options;
    const char            *tokenizer_path, *tokens_path; /* NULL: not kept */
    bool                   bytes;
    uint32_t               vocab;
    uint64_t               bytes_max;
} TextPlan;

static Status plan_text(StoaData *data, const StoaTextOptions *options, TextPlan *out) {
    uint64_t size = 0;
    uint32_t crc = 0;
    Failure  failure = files_checksum(options->path, &size, &crc);
    *out = (TextPlan){.options = options};
    if (failure_some(failure)) return report_failure(&data->context->diags, options->path, failure);
    out->bytes = options->tokenizer != NULL && strcmp(options->tokenizer, "bytes") == 0;
    out->vocab = out->bytes ? TOKENIZER_BYTES : options->vocab ? options->vocab : 2048;
    out->bytes_max = options->bytes_max ? options->bytes_max : TEXT_BYTES_MAX;
    if (options->folder == NULL) return STATUS_OK;
    uint64_t key = hash_mix(hash_mix(size, crc), hash_mix(out->vocab, out->bytes_max));
    int      error = os_make_dir(options->folder);
    if (error != 0)
        return report_failure(&data->context->diags, options->folder,
                              failure_file("create", error));
    out->tokenizer_path = str_format(data->arena, "%s/tokenizer.stok", options->folder).data;
    out->tokens_path =
        str_format(data->arena, "%s/tokens-%016llx.bin", options->folder, (unsigned long long)key)
            .data;
    return STATUS_OK;
}

/* Tokens kept by an earlier run, when they fit the tokenizer beside them. */
static bool reuse_text(StoaData *data, const TextPlan *plan) {
    if (plan->tokens_path == NULL || !os_exists(plan->tokens_path) ||
        !os_exists(plan->tokenizer_path))
        return false;
    Diags *diags = &data->context->diags;
    bool   good = tokenizer_load(data->arena, plan->tokenizer_path, diags,
                                 &data->tokenizer.tokenizer) == STATUS_OK &&
                tokens_open(&data->tokens, plan->tokens_path, diags) == STATUS_OK;
    if (good && data->tokens.tokenizer_hash != data->tokenizer.tokenizer->hash) {
        tokens_close(&data->tokens);
        good = false;
    }
    if (!good)
        diags_clear(diags); /* they are made again, so what is wrong with them does not matter */
    return good;
}

/* Long tokens would make the text between them rare: only runs of the text are kept out of
 * memory. */
static Status make_text(StoaData *data, const TextPlan *plan) {
    Diags *diags = &data->context->diags;
    Arena *work = arena_open("text", (size_t)1 << 34, 0);
    if (work == NULL) api_unwind_on(arena_guard_failure());
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        arena_close(work);
        api_unwind_on(failure);
    }
    String            text = {0};
    size_t            count = 0;
    TokenizerTraining how = {.vocab = plan->vocab, .bytes_max = (uint64_t)32 << 20};
    Status status = gz_read_file(work, plan->options->path, TEXT_BYTES_MAX, diags, &text);
    if (status == STATUS_OK) {
        if (text.count > plan->bytes_max) text.count = plan->bytes_max;
        data->tokenizer.tokenizer = plan->bytes ? tokenizer_bytes(data->arena)
                                                : tokenizer_train(data->arena, work, text, &how);
        Arena    *keep = plan->tokens_path ? work : data->arena;
        uint16_t *tokens = tokenizer_encode(keep, data->tokenizer.tokenizer, text, &count);
        data->tokens = (Tokens){.run = {tokens, count}, .vocab = data->tokenizer.tokenizer->vocab};
        if (plan->tokens_path != NULL) {
            status = tokenizer_save(data->tokenizer.tokenizer, plan->tokenizer_path, diags);
            if (status == STATUS_OK)
                status = tokens_write(plan->tokens_path, data->tokens.run, data->tokens.vocab,
                                      data->tokenizer.tokenizer->hash, diags);
            data->tokens = (Tokens){0};
            if (status == STATUS_OK) status = tokens_open(&data->tokens, plan->tokens_path, diags);
        }
    }
    arena_guard_end(&guard);
    arena_close(work);
    return status;
}

static Status fill_text(StoaData *data, const StoaTextOptions *options) {
    TextPlan plan;
    Status   status = plan_text(data, options, &plan);
    if (status == STATUS_OK && !reuse_text(data, &plan)) status = make_text(data, &plan);
    if (status != STATUS_OK) return status;
    data->tokenizer.context = data->context;
    data->tokenizer.arena = data->arena;
    data->vocab = data->tokenizer.tokenizer->vocab;
    data->train = (FeedSource){.kind = FEED_TOKENS,
                               .batch = options->batch ? options->batch : 8,
                               .context = options->context ? options->context : 128,
                               .random = !options->sequential,
                               .seed = options->seed};
    data->validation = data->train;
    data->validation.random = false;
    tokens_split(data->tokens.run, options->validation > 0 ? options->validation : 0.02,
                 &data->train.tokens, &data->validation.tokens);
    data->items = data->train.tokens.count;
    data->items_per_batch = (uint64_t)data->train.batch * data->train.context;
    data->has_validation = data->validation.tokens.count > data->items_per_batch;
    uint64_t *counts = ARENA_ARRAY_ZERO(data->arena, uint64_t, data->vocab);
    data->entropy = tokens_entropy(
        data->has_validation ? data->validation.tokens : data->train.tokens, counts, data->vocab);
    return feed_check(&data->train, options->path, &data->context->diags);
}

/* Shared shape of the two openers. */
typedef Status FillFn(StoaData *data, const void *options);
static Status  fill_text_any(StoaData *data, const void *options) {
     return fill_text(data, options);
}

static StoaStatus open_with(StoaContext *context, FillFn *fill, const void *options,
                            StoaData **out_data) {
    StoaData *volatile data = NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        StoaStatus status = api_unwound(context, NULL);
        stoa_data_destroy(data);
        return status;
    }
    data = open_data(context);
    StoaData *made = data;
    Status    status = fill(made, options);
    arena_guard_end(&guard);
    if (status != STATUS_OK) {
        StoaStatus failed = api_fail(context, NULL, status);
        stoa_data_destroy(made);
        return failed;
    }
    *out_data = made;
    return STOA_OK;
}

StoaStatus stoa_data_text(StoaContext *context, const StoaTextOptions *options,
                          StoaData **out_data) {
    StoaTextOptions given = STOA_TEXT_OPTIONS;
    if (options != NULL)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    bool known = given.tokenizer == NULL || strcmp(given.tokenizer, "bpe") == 0 ||
                 strcmp(given.tokenizer, "bytes") == 0;
    if (given.path == NULL || !known ||
        (given.vocab != 0 && (given.vocab < 256 || given.vocab > TOKENIZER_VOCAB_MAX)) ||
        !(given.validation >= 0 && given.validation < 1)) {
        api_misuse(context, "stoa_data_text",
                   "needs a path, tokenizer bpe or bytes, vocab 256..65535, validation in [0,1)");
        return api_fail(context, NULL, STATUS_INVALID);
    }
    return open_with(context, fill_text_any, &given, out_data);
}

/* --- images ----------------------------------------------------------------------------------- */
static Status read_images(StoaData *data, const char *images, const char *labels,
                          FeedSource *source) {
    Diags *diags = &data->context->diags;
    Idx    pixels, classes;
    Status status = idx_read(data->arena, images, (uint64_t)1 << 32, diags, &pixels);
    if (status == STATUS_OK)
        status = idx_read(data->arena, labels, (uint64_t)1 << 32, diags, &classes);
    if (status != STATUS_OK) return status;
    if (pixels.rank != 3 || classes.rank != 1 || pixels.dims[0] != classes.dims[0]) {
        api_misuse(data->context, "stoa_data_images",
                   "needs images of rank 3 and as many labels of rank 1");
        return STATUS_INVALID;
    }
    data->height = pixels.dims[1];
    data->width = pixels.dims[2];
    source->kind = FEED_IMAGES;
    source->pixels = pixels.data;
    source->labels = classes.data;
    source->count = pixels.dims[0];
    source->image_bytes = pixels.dims[1] * pixels.dims[2];
    source->as_f32 = true;
    source->scale = 1.0f / 255.0f;
    for (uint64_t i = 0; i < source->count; i++)
        if (classes.data[i] >= data->vocab) data->vocab = classes.data[i] + 1u;
    return STATUS_OK;
}

static Status fill_images(StoaData *data, const void *given) {
    const StoaImageOptions *options = given;
    Status status = read_images(data, options->images, options->labels, &data->train);
    data->train.batch = data->validation.batch = options->batch ? options->batch : 64;
    data->train.random = !options->sequential;
    data->train.seed = options->seed;
    if (status == STATUS_OK && options->count_max != 0 && data->train.count > options->count_max)
        data->train.count = options->count_max;
    if (status == STATUS_OK && options->test_images != NULL && options->test_labels != NULL) {
        status = read_images(data, options->test_images, options->test_labels, &data->validation);
        data->has_validation =
            status == STATUS_OK && data->validation.count >= data->validation.batch;
    }
    data->items = data->train.count;
    data->items_per_batch = data->train.batch;
    if (status != STATUS_OK) return status;
    return feed_check(&data->train, options->images, &data->context->diags);
}

StoaStatus stoa_data_images(StoaContext *context, const StoaImageOptions *options,
                            StoaData **out_data) {
    StoaImageOptions given = STOA_IMAGE_OPTIONS;
    if (options != NULL)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    if (given.images == NULL || given.labels == NULL) {
        api_misuse(context, "stoa_data_images", "needs the paths of images and labels");
        return api_fail(context, NULL, STATUS_INVALID);
    }
    return open_with(context, fill_images, &given, out_data);
}

uint64_t stoa_data_items(const StoaData *data) { return data->items; }
uint32_t stoa_data_vocab(const StoaData *data) { return data->vocab; }
double   stoa_data_entropy(const StoaData *data) { return data->entropy; }

/* --- tokenizers ------------------------------------------------------------------------------- */
const StoaTokenizer *stoa_data_tokenizer(const StoaData *data) {
    return data->tokenizer.tokenizer ? &data->tokenizer : NULL;
}
StoaStatus stoa_tokenizer_load(StoaContext *context, const char *path,
                               StoaTokenizer **out_tokenizer) {
    Arena     *arena = arena_open("tokenizer", (size_t)1 << 32, 0);
    ArenaGuard guard;
    if (arena == NULL || !ARENA_GUARD(&guard)) {
        StoaStatus status = api_unwound(context, NULL);
        arena_close(arena);
        return status;
    }
    StoaTokenizer *tokenizer = ARENA_NEW(arena, StoaTokenizer);
    tokenizer->context = context;
    tokenizer->arena = arena;
    Status status = tokenizer_load(arena, path, &context->diags, &tokenizer->tokenizer);
    arena_guard_end(&guard);
    if (status == STATUS_OK) {
        *out_tokenizer = tokenizer;
        return STOA_OK;
    }
    StoaStatus failed = api_fail(context, NULL, status);
    arena_close(arena);
    return failed;
}
void stoa_tokenizer_destroy(StoaTokenizer *tokenizer) {
    if (tokenizer != NULL) arena_close(tokenizer->arena);
}
uint32_t stoa_tokenizer_vocab(const StoaTokenizer *tokenizer) {
    return tokenizer->tokenizer->vocab;
}

size_t stoa_tokenizer_encode(const StoaTokenizer *tokenizer, const char *text, size_t bytes,
                             int32_t *tokens, size_t max) {
    ArenaGuard guard;
    size_t     count = 0;
    if (!ARENA_GUARD(&guard)) {
        (void)api_unwound(tokenizer->context, NULL);
        return 0;
    }
    Scratch   scratch = scratch_begin(NULL, 0);
    uint16_t *ids =
        tokenizer_encode(scratch.arena, tokenizer->tokenizer, (String){text, bytes}, &count);
    for (size_t i = 0; i < count && i < max; i++) tokens[i] = ids[i];
    scratch_end(scratch);
    arena_guard_end(&guard);
    return count;
}
const char *stoa_tokenizer_piece(const StoaTokenizer *tokenizer, int32_t token, size_t *out_bytes) {
    String piece = {"", 0};
    if (token >= 0 && (uint32_t)token < tokenizer->tokenizer->vocab)
        piece = tokenizer_piece(tokenizer->tokenizer, (uint32_t)token);
    *out_bytes = piece.count;
    return piece.data;
}
