/* Checkpoints: reading. A manifest ends with the CRC-32C of its own text before that line, so a
 * flipped bit in a step number or a metadata string is noticed like one in a tensor. Verification
 * goes from cheap to dear: manifest, size, checksum of the state, header of the state. Saving is
 * checkpoint_save.c. */
#include "train/checkpoint.h"

#include "arena/hash.h"
#include "formats/files.h"
#include "formats/json.h"
#include "formats/sort.h"
#include "train/checkpoint_inner.h"

enum { MANIFEST_MAX = 64 << 20 };
static const char format_name[] = "checkpoint";

/* --- names ------------------------------------------------------------------------------------ */
static bool take_number(String *text, uint64_t *out_number) {
    size_t   count = 0;
    uint64_t number = 0;
    for (; count < text->count && text->data[count] >= '0' && text->data[count] <= '9'; count++) {
        if (__builtin_mul_overflow(number, 10u, &number)) return false;
        if (__builtin_add_overflow(number, (uint64_t)(text->data[count] - '0'), &number))
            return false;
    }
    *text = (String){text->data + count, text->count - count};
    *out_number = number;
    return count != 0;
}

/* "step-00000123" or "step-00000123-2". */
static bool parse_name(String name, CheckpointName *out_name) {
    *out_name = (CheckpointName){.name = name, .generation = 1};
    if (!str_starts(name, STR("step-"))) return false;
    String rest = {name.data + 5, name.count - 5};
    if (!take_number(&rest, &out_name->step)) return false;
    if (rest.count == 0) return true;
    if (rest.data[0] != '-') return false;
    rest = (String){rest.data + 1, rest.count - 1};
    return take_number(&rest, &out_name->generation) && rest.count == 0;
}

static bool newer(const void *owner, uint32_t a, uint32_t b) {
    const CheckpointName *names = owner;
    if (names[a].step != names[b].step) return names[a].step > names[b].step;
    return names[a].generation > names[b].generation;
}

Failure checkpoint_list_names(Arena *out, const char *root, CheckpointName **out_names,
                              size_t *out_count) {
    String *files;
    size_t  files_count, count = 0;
    *out_names = NULL;
    *out_count = 0;
    int error = os_list(out, root, &files, &files_count);
    if (error != 0) return failure_file("list", error);
    CheckpointName *found = ARENA_ARRAY(out, CheckpointName, files_count);
    for (size_t i = 0; i < files_count; i++)
        if (parse_name(files[i], &found[count])) count++;
    uint32_t       *order = sort_order(out, count, newer, found);
    CheckpointName *names = ARENA_ARRAY(out, CheckpointName, count);
    for (size_t i = 0; i < count; i++) names[i] = found[order[i]];
    *out_names = names;
    *out_count = count;
    return (Failure){0};
}

/* --- the manifest ----------------------------------------------------------------------------- */
static bool read_crc(String hex, uint32_t *out_crc) {
    uint32_t crc = 0;
    if (hex.count != 8) return false;
    for (size_t i = 0; i < 8; i++) {
        char c = hex.data[i];
        if (c >= '0' && c <= '9')
            crc = crc << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            crc = crc << 4 | (uint32_t)(c - 'a' + 10);
        else
            return false;
    }
    *out_crc = crc;
    return true;
}

/* The last line but one is the checksum of all before it, in a fixed form. */
static Failure check_text(String text) {
    const size_t tail = sizeof CHECKPOINT_TAIL - 1, hex = tail - sizeof CHECKPOINT_TAIL_END - 7;
    uint32_t     crc;
    if (text.count < tail) return failure_damaged("the manifest ends too early", text.count);
    size_t body = text.count - tail;
    bool   form = memcmp(text.data + body, CHECKPOINT_TAIL, hex) == 0 &&
                memcmp(text.data + body + hex + 8, CHECKPOINT_TAIL_END, tail - hex - 8) == 0;
    if (!form || !read_crc((String){text.data + body + hex, 8}, &crc))
        return failure_damaged("the manifest does not end with its checksum", body);
    if (crc != hash_crc32c(0, text.data, body))
        return failure_damaged("the checksum of the manifest is wrong", body);
    return (Failure){0};
}

static Failure read_fields(Arena *out, const Json *json, CheckpointManifest *out_manifest) {
    JsonId  root = json_root(json), metadata = json_find(json, root, STR("metadata"));
    JsonId  state = json_find(json, json_find(json, root, STR("files")), STR(CHECKPOINT_STATE));
    String  format, crc = {0};
    int64_t version, step = -1, bytes = -1;
    bool    named = json_text(json, json_find(json, root, STR("format")), &format) &&
                 str_same(format, STR(CHECKPOINT_FORMAT)) &&
                 json_integer(json, json_find(json, root, STR("version")), &version);
    if (!named) return failure_format(STATUS_CORRUPT, format_name, "its manifest has another form");
    if (version > CHECKPOINT_VERSION) return failure_version((uint64_t)version, CHECKPOINT_VERSION);
    if (version < 1) return failure_format(STATUS_CORRUPT, format_name, "its version is unknown");
    bool whole = json_integer(json, json_find(json, root, STR("step")), &step) && step >= 0 &&
                 json_integer(json, json_find(json, state, STR("bytes")), &bytes) && bytes >= 0 &&
                 json_text(json, json_find(json, state, STR("crc32c")), &crc) &&
                 read_crc(crc, &out_manifest->crc) && json_kind(json, metadata) == JSON_OBJECT;
    if (!whole) return failure_damaged("a field of the manifest is missing or wrong", 0);
    out_manifest->step = (uint64_t)step;
    out_manifest->bytes = (uint64_t)bytes;
    out_manifest->metadata = ARENA_ARRAY(out, SafetensorsMeta, json->items[metadata.row]);
    for (JsonId id = json_first(json, metadata); json_id_some(id); id = json_next(json, id)) {
        SafetensorsMeta *pair = &out_manifest->metadata[out_manifest->metadata_count++];
        String           value;
        if (!json_text(json, id, &value))
            return failure_damaged("a metadata value is not a string", json->offset[id.row]);
        *pair = (SafetensorsMeta){str_copy(out, json->key[id.row]), str_copy(out, value)};
    }
    return (Failure){0};
}

Failure checkpoint_read_manifest(Arena *out, const char *folder, CheckpointManifest *out_manifest) {
    *out_manifest = (CheckpointManifest){0};
    Scratch   scratch = scratch_begin(&out, 1);
    String    text, path = str_format(scratch.arena, "%s/" CHECKPOINT_MANIFEST, folder);
    Json      json;
    JsonError error;
    Failure   failure = files_read(scratch.arena, path.data, MANIFEST_MAX, &text);
    if (!failure_some(failure)) failure = check_text(text);
    if (!failure_some(failure)) {
        if (json_parse(scratch.arena, text, &json, &error))
            failure = read_fields(out, &json, out_manifest);
        else
            failure = failure_damaged(error.what, error.offset);
    }
    if (failure_some(failure)) failure.subject = STR(CHECKPOINT_MANIFEST);
    scratch_end(scratch);
    return failure;
}

/* --- finding ---------------------------------------------------------------------------------- */
static Failure verify(Arena *out, const char *folder, Checkpoint *checkpoint) {
    CheckpointManifest manifest;
    Failure            failure = checkpoint_read_manifest(out, folder, &manifest);
    if (failure_some(failure)) return failure;
    String   path = str_format(out, "%s/" CHECKPOINT_STATE, folder);
    uint64_t bytes;
    uint32_t crc;
    failure = files_checksum(path.data, &bytes, &crc);
    if (!failure_some(failure) && bytes != manifest.bytes)
        failure = failure_damaged("the file does not have the size that was written", bytes);
    if (!failure_some(failure) && crc != manifest.crc)
        failure = failure_damaged("the checksum is wrong", 0);
    if (!failure_some(failure)) failure = safetensors_try(out, path.data, &checkpoint->state);
    if (failure_some(failure) && failure.subject.count == 0)
        failure.subject = STR(CHECKPOINT_STATE);
    checkpoint->folder = str_copy(out, str_of(folder)).data;
    checkpoint->step = manifest.step;
    checkpoint->metadata = manifest.metadata;
    checkpoint->metadata_count = manifest.metadata_count;
    return failure;
}

Status checkpoint_open(Arena *out, const char *folder, Diags *diags, Checkpoint *out_checkpoint) {
    *out_checkpoint = (Checkpoint){0};
    return report_failure(diags, folder, verify(out, folder, out_checkpoint));
}

static Status report_missing(const char *run, Diags *diags) {
    diags_add(diags, DIAG_CKPT_MISSING, 0, diags_str(diags, str_of(run)), 0, 0, 0);
    return STATUS_NOT_FOUND;
}

Status checkpoint_find(Arena *out, const char *run, Diags *diags, Checkpoint *out_checkpoint) {
    *out_checkpoint = (Checkpoint){0};
    Scratch         scratch = scratch_begin(&out, 1);
    String          root = str_format(scratch.arena, "%s/" CHECKPOINT_FOLDER, run);
    CheckpointName *names = NULL;
    size_t          count = 0;
    Status          status = STATUS_NOT_FOUND;
    if (os_exists(root.data)) {
        Failure failure = checkpoint_list_names(scratch.arena, root.data, &names, &count);
        if (failure_some(failure)) status = report_failure(diags, root.data, failure);
    }
    for (size_t i = 0; i < count && status == STATUS_NOT_FOUND; i++) {
        String    folder = str_format(scratch.arena, "%s/%.*s", root.data, STR_ARGS(names[i].name));
        ArenaMark mark = arena_mark(out);
        Failure   failure = verify(out, folder.data, out_checkpoint);
        status = failure_some(failure) ? STATUS_NOT_FOUND : STATUS_OK;
        if (status == STATUS_OK) break;
        uint64_t why = diags_str(diags, report_text(scratch.arena, failure));
        diags_add(diags, DIAG_CKPT_SKIPPED, 0, diags_str(diags, folder), why, 0, 0);
        *out_checkpoint = (Checkpoint){0};
        arena_release(out, mark);
    }
    if (status == STATUS_NOT_FOUND) status = report_missing(run, diags);
    scratch_end(scratch);
    return status;
}

String checkpoint_meta(const Checkpoint *checkpoint, String key) {
    for (uint32_t i = 0; i < checkpoint->metadata_count; i++)
        if (str_same(checkpoint->metadata[i].key, key)) return checkpoint->metadata[i].value;
    return STR("");
}

/* --- filling tensors -------------------------------------------------------------------------- */
static void add_type(Text *text, Dtype dtype, uint32_t rank, const int64_t *shape) {
    text_addf(text, "%s[", dtype_infos[dtype].name);
    for (uint32_t i = 0; i < rank; i++)
        text_addf(text, "%s%lld", i == 0 ? "" : ",", (long long)shape[i]);
    text_add(text, STR("]"));
}

static bool same_type(const CheckpointTensor *tensor, const SafetensorsEntry *entry) {
    return tensor->dtype == entry->dtype && tensor->rank == entry->rank &&
           memcmp(tensor->shape, entry->shape, tensor->rank * sizeof *tensor->shape) == 0 &&
           ALWAYS(tensor->bytes == entry->bytes);
}

static void mismatch(const Checkpoint *checkpoint, String name, String what, Diags *diags) {
    uint64_t folder = diags_str(diags, str_of(checkpoint->folder));
    diags_add(diags, DIAG_CKPT_MISMATCH, 0, folder, diags_str(diags, name), diags_str(diags, what),
              0);
}

/* The entry that fits the tensor, or NULL after saying what differs. */
static const SafetensorsEntry *match(const Checkpoint *checkpoint, const CheckpointTensor *tensor,
                                     Diags *diags) {
    const SafetensorsEntry *entry = safetensors_find(&checkpoint->state, tensor->name);
    if (entry == NULL) mismatch(checkpoint, tensor->name, STR("is not in it"), diags);
    if (entry == NULL || same_type(tensor, entry)) return entry;
    Scratch scratch = scratch_begin(NULL, 0);
    Text    what = text_begin(scratch.arena);
    text_add(&what, STR("is "));
    add_type(&what, entry->dtype, entry->rank, entry->shape);
    text_add(&what, STR(" there and "));
    add_type(&what, tensor->dtype, tensor->rank, tensor->shape);
    text_add(&what, STR(" here"));
    mismatch(checkpoint, tensor->name, text_done(&what), diags);
    scratch_end(scratch);
    return NULL;
}

Status checkpoint_read(const Checkpoint *checkpoint, const CheckpointTensor *tensors,
                       size_t tensors_count, bool subset, Diags *diags) {
    const Safetensors       *state = &checkpoint->state;
    Scratch                  scratch = scratch_begin(NULL, 0);
    Arena                   *arena = scratch.arena;
    const SafetensorsEntry **entries = ARENA_ARRAY(arena, const SafetensorsEntry *, tensors_count);
    void                   **intos = ARENA_ARRAY(arena, void *, tensors_count);
    bool                    *asked = ARENA_ARRAY_ZERO(arena, bool, state->entries_count);
    Status                   status = STATUS_OK;
    for (size_t i = 0; i < tensors_count; i++) {
        ASSERT(tensors[i].rank <= SAFETENSORS_RANK_MAX);
        entries[i] = match(checkpoint, &tensors[i], diags);
        intos[i] = tensors[i].data;
        if (entries[i] == NULL)
            status = STATUS_INVALID;
        else
            asked[entries[i] - state->entries] = true;
    }
    for (uint32_t i = 0; i < state->entries_count && !subset; i++) {
        const SafetensorsEntry *entry = &state->entries[i];
        bool                    differs = asked[i];
        for (size_t k = 0; k < tensors_count && !differs; k++)
            differs = entries[k] == NULL && str_same(tensors[k].name, entry->name);
        if (differs) continue; /* asked for, or already reported */
        mismatch(checkpoint, entry->name, STR("is in it, but not in the program"), diags);
        status = STATUS_INVALID;
    }
    if (status == STATUS_OK)
        status = safetensors_read_many(state, entries, intos, tensors_count, diags);
    scratch_end(scratch);
    return status;
}
