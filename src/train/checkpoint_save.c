/* Checkpoints: saving. The order of the steps is the whole point:
 *
 *   1. remove what an interrupted save left (tmp-*)
 *   2. fill tmp-step-N: state, then manifest, each synced, then the folder
 *   3. rename it to step-N and sync the parent: from here on the checkpoint exists
 *   4. rename each checkpoint that is too old to tmp-old-*, then remove it
 *
 * A step that is saved again gets a new name (step-N-2) instead of replacing the old folder,
 * because a folder cannot be replaced in one rename. A crash between any two operations leaves
 * complete step folders and tmp-* litter, nothing else. */
#include "train/checkpoint.h"

#include "arena/hash.h"
#include "formats/files.h"
#include "formats/json.h"
#include "train/checkpoint_inner.h"

/* What the steps share; all strings in scratch. */
typedef struct Save {
    Arena      *arena;
    Diags      *diags;
    const char *run, *root, *temp, *folder;
    uint64_t    step;
    String      name; /* of folder, in root */
} Save;

/* Removes a folder of files. */
static Failure remove_folder(const char *folder) {
    Scratch scratch = scratch_begin(NULL, 0);
    String *names;
    size_t  count;
    Failure failure = failure_file("list", os_list(scratch.arena, folder, &names, &count));
    for (size_t i = 0; i < count && !failure_some(failure); i++) {
        String path = str_format(scratch.arena, "%s/%.*s", folder, STR_ARGS(names[i]));
        failure = failure_file("remove a file in", os_remove(path.data));
    }
    if (!failure_some(failure)) failure = failure_file("remove", os_remove(folder));
    scratch_end(scratch);
    return failure;
}

/* Makes the root folder, removes litter, and chooses names that are free. */
static Status prepare(Save *save) {
    bool    existed = os_exists(save->root);
    Failure failure = failure_file("create", os_make_dir(save->root));
    if (!existed && !failure_some(failure)) failure = failure_file("sync", os_sync_dir(save->run));
    if (failure_some(failure)) return report_failure(save->diags, save->root, failure);
    String *names;
    size_t  count, steps_count = 0;
    int     error = os_list(save->arena, save->root, &names, &count);
    if (error != 0) return report_failure(save->diags, save->root, failure_file("list", error));
    for (size_t i = 0; i < count; i++) {
        if (!str_starts(names[i], STR("tmp-"))) continue;
        String path = str_format(save->arena, "%s/%.*s", save->root, STR_ARGS(names[i]));
        failure = remove_folder(path.data);
        if (failure_some(failure)) return report_failure(save->diags, path.data, failure);
    }
    CheckpointName *steps;
    failure = checkpoint_list_names(save->arena, save->root, &steps, &steps_count);
    if (failure_some(failure)) return report_failure(save->diags, save->root, failure);
    uint64_t generation = 1;
    for (size_t i = 0; i < steps_count; i++)
        if (steps[i].step == save->step && steps[i].generation >= generation)
            generation = steps[i].generation + 1;
    unsigned long long step = save->step, again = generation;
    save->name = generation == 1 ? str_format(save->arena, "step-%08llu", step)
                                 : str_format(save->arena, "step-%08llu-%llu", step, again);
    save->folder = str_format(save->arena, "%s/%s", save->root, save->name.data).data;
    save->temp = str_format(save->arena, "%s/tmp-%s", save->root, save->name.data).data;
    return STATUS_OK;
}

static Status write_state(const Save *save, const CheckpointTensor *tensors, size_t count,
                          SafetensorsWriter *writer) {
    SafetensorsEntry *entries = ARENA_ARRAY_ZERO(save->arena, SafetensorsEntry, count);
    String            path = str_format(save->arena, "%s/" CHECKPOINT_STATE, save->temp);
    for (size_t i = 0; i < count; i++) {
        entries[i].name = tensors[i].name;
        entries[i].dtype = tensors[i].dtype;
        entries[i].rank = tensors[i].rank;
        entries[i].bytes = tensors[i].bytes;
        memcpy(entries[i].shape, tensors[i].shape, sizeof entries[i].shape);
    }
    Status status =
        safetensors_begin(save->arena, path.data, entries, count, NULL, 0, save->diags, writer);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = safetensors_write(writer, tensors[i].data, tensors[i].bytes, save->diags);
    return status == STATUS_OK ? safetensors_end(writer, save->diags) : status;
}

static Status write_manifest(const Save *save, const SafetensorsWriter *state,
                             const SafetensorsMeta *metadata, size_t metadata_count) {
    Text text = text_begin(save->arena);
    text_add(&text, STR("{\n  \"format\": \"" CHECKPOINT_FORMAT "\",\n"));
    text_addf(&text, "  \"version\": %d,\n  \"step\": %llu,\n", CHECKPOINT_VERSION,
              (unsigned long long)save->step);
    text_addf(&text, "  \"files\": {\"" CHECKPOINT_STATE "\": {\"bytes\": %llu, ",
              (unsigned long long)state->bytes);
    text_addf(&text, "\"crc32c\": \"%08x\"}},\n  \"metadata\": {", state->crc);
    for (size_t i = 0; i < metadata_count; i++) {
        text_add(&text, i == 0 ? STR("\n    ") : STR(",\n    "));
        json_string(&text, metadata[i].key);
        text_add(&text, STR(": "));
        json_string(&text, metadata[i].value);
    }
    text_add(&text, STR("},\n"));
    uint32_t crc = hash_crc32c(0, text.data, text.count);
    text_addf(&text, "  \"crc32c\": \"%08x" CHECKPOINT_TAIL_END, crc);
    String whole = text_done(&text);
    String path = str_format(save->arena, "%s/" CHECKPOINT_MANIFEST, save->temp);
    return report_failure(save->diags, path.data, files_write(path.data, whole));
}

/* Cheap: the manifest holds and the state has its size. */
static bool is_complete(const Save *save, const char *folder) {
    CheckpointManifest manifest;
    OsFile             file = {-1};
    uint64_t           bytes = 0;
    if (failure_some(checkpoint_read_manifest(save->arena, folder, &manifest))) return false;
    String path = str_format(save->arena, "%s/" CHECKPOINT_STATE, folder);
    int    error = os_open(path.data, OS_READ, &file);
    if (error == 0) error = os_size(file, &bytes);
    os_close(&file);
    return error == 0 && bytes == manifest.bytes;
}

static Status prune(const Save *save, uint32_t keep) {
    CheckpointName *names;
    size_t          count;
    uint32_t        complete = 1; /* the new one, whatever its step */
    Failure         failure = checkpoint_list_names(save->arena, save->root, &names, &count);
    if (failure_some(failure)) return report_failure(save->diags, save->root, failure);
    for (size_t i = 0; i < count; i++) {
        String folder = str_format(save->arena, "%s/%.*s", save->root, STR_ARGS(names[i].name));
        if (str_same(names[i].name, save->name)) continue;
        if (complete < keep) {
            complete += is_complete(save, folder.data);
            continue;
        }
        String old =
            str_format(save->arena, "%s/tmp-old-%.*s", save->root, STR_ARGS(names[i].name));
        failure = failure_file("remove", os_rename(folder.data, old.data));
        if (!failure_some(failure)) failure = remove_folder(old.data);
        if (failure_some(failure)) return report_failure(save->diags, folder.data, failure);
    }
    return STATUS_OK;
}

Status checkpoint_save(const char *run, uint64_t step, const CheckpointTensor *tensors,
                       size_t tensors_count, const SafetensorsMeta *metadata, size_t metadata_count,
                       uint32_t keep, Diags *diags) {
    ASSERT(step <= INT64_MAX);
    Scratch scratch = scratch_begin(NULL, 0);
    Save    save = {.arena = scratch.arena, .diags = diags, .run = run, .step = step};
    save.root = str_format(scratch.arena, "%s/" CHECKPOINT_FOLDER, run).data;
    SafetensorsWriter writer = {0};
    Status            status = prepare(&save);
    bool              made = status == STATUS_OK;
    if (made)
        status = report_failure(diags, save.temp, failure_file("create", os_make_dir(save.temp)));
    if (status == STATUS_OK) status = write_state(&save, tensors, tensors_count, &writer);
    if (status == STATUS_OK) status = write_manifest(&save, &writer, metadata, metadata_count);
    if (status == STATUS_OK)
        status =
            report_failure(diags, save.folder, files_publish(save.temp, save.folder, save.root));
    if (made && status != STATUS_OK && os_exists(save.temp)) (void)remove_folder(save.temp);
    if (status == STATUS_OK && keep != 0) status = prune(&save, keep);
    scratch_end(scratch);
    return status;
}
