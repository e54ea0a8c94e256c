/* Checkpoints: the state of a run, saved so that a crash or a full disk at any moment leaves the
 * last complete one usable.
 *
 *     <run>/checkpoints/step-00000123/state.safetensors  the tensors
 *                                     manifest.json      step, size and CRC-32C of the state, text
 *     <run>/checkpoints/step-00000123-2/                 step 123, saved a second time
 *     <run>/checkpoints/tmp-*                            unfinished; removed by the next save
 *
 * A save fills a temporary folder, syncs it, and renames it: the rename is the moment at which the
 * checkpoint exists. Only then older ones are removed. A load takes the newest whose manifest and
 * checksums hold, and says which it skipped. One process saves to a run folder at a time. Kinds
 * CKPT_SKIPPED, CKPT_MISSING and CKPT_MISMATCH are emitted here only. */
#ifndef STOA_TRAIN_CHECKPOINT_H
#define STOA_TRAIN_CHECKPOINT_H

#include "formats/safetensors.h"

enum { CHECKPOINT_VERSION = 1 };

typedef struct CheckpointTensor {
    String   name;
    Dtype    dtype;
    uint32_t rank;
    int64_t  shape[SAFETENSORS_RANK_MAX];
    void    *data;  /* read by save, written by load; may be NULL if bytes is 0 */
    uint64_t bytes; /* elements x width, checked against the shape */
} CheckpointTensor;

/* Saves, then removes all but the newest `keep` complete ones (at least 1; 0: keeps all). metadata:
 * what is needed to go on besides tensors (data position, seeds, configuration as text); keys
 * differ. After a failure the earlier checkpoints stand as they were. (If only removing an old one
 * failed, the new one is complete, yet the status says so.) */
MUST_USE Status checkpoint_save(const char *run, uint64_t step, const CheckpointTensor *tensors,
                                size_t tensors_count, const SafetensorsMeta *metadata,
                                size_t metadata_count, uint32_t keep, Diags *diags);

typedef struct Checkpoint { /* verified: the checksum was compared when it was found */
    const char            *folder;
    uint64_t               step;
    const SafetensorsMeta *metadata;
    uint32_t               metadata_count;
    Safetensors            state;
} Checkpoint;

/* The newest usable checkpoint of a run. CKPT_SKIPPED rows (warnings) for newer damaged ones;
 * STATUS_NOT_FOUND and CKPT_MISSING if none is usable. Costs reading the state file once. */
MUST_USE Status checkpoint_find(Arena *out, const char *run, Diags *diags,
                                Checkpoint *out_checkpoint);
/* The checkpoint in one step folder; anything wrong with it is an error. */
MUST_USE Status checkpoint_open(Arena *out, const char *folder, Diags *diags,
                                Checkpoint *out_checkpoint);
/* The value of a metadata key, or an empty string. */
String checkpoint_meta(const Checkpoint *checkpoint, String key);

/* Fills tensors[].data. All tensors are compared first: CKPT_MISMATCH for each that is missing or
 * has another type or shape, and, unless subset is true, for each in the file that is not asked
 * for; then nothing is written and the status is STATUS_INVALID. */
MUST_USE Status checkpoint_read(const Checkpoint *checkpoint, const CheckpointTensor *tensors,
                                size_t tensors_count, bool subset, Diags *diags);

#endif
