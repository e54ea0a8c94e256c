/* What the two sources of checkpoints share: the names of files and folders, and the manifest. The
 * manifest's last line but one is CHECKPOINT_TAIL: the CRC-32C of all bytes before it, in a fixed
 * form, so that it can be compared before the JSON is trusted. */
#ifndef STOA_TRAIN_CHECKPOINT_INNER_H
#define STOA_TRAIN_CHECKPOINT_INNER_H

#include "train/checkpoint.h"

#define CHECKPOINT_FOLDER   "checkpoints"
#define CHECKPOINT_STATE    "state.safetensors"
#define CHECKPOINT_MANIFEST "manifest.json"
#define CHECKPOINT_FORMAT   "stoa checkpoint"
#define CHECKPOINT_TAIL     "  \"crc32c\": \"00000000\"\n}\n" /* the digits are replaced */
#define CHECKPOINT_TAIL_END "\"\n}\n"

typedef struct CheckpointName {
    String   name;
    uint64_t step, generation; /* generation: 1, or 2.. when a step was saved again */
} CheckpointName;
typedef struct CheckpointManifest {
    uint64_t         step, bytes; /* bytes and crc: of the state file */
    uint32_t         crc;
    uint32_t         metadata_count;
    SafetensorsMeta *metadata;
} CheckpointManifest;

/* The step folders in root, newest first. */
MUST_USE Failure checkpoint_list_names(Arena *out, const char *root, CheckpointName **out_names,
                                       size_t *out_count);
MUST_USE Failure checkpoint_read_manifest(Arena *out, const char *folder,
                                          CheckpointManifest *out_manifest);

#endif
