/* The safetensors reader. The header's JSON becomes entries (one function a field), then three
 * sweeps verify what only shows across entries: names ascending strictly, payloads sorted by place
 * leaving neither overlap nor hole, and the last one ending with the file. Every integer is checked
 * before it is used; offsets in messages count from the start of the file. The writer is
 * safetensors_write.c. */
#include "formats/safetensors.h"

#include "formats/files.h"
#include "formats/json.h"
#include "formats/sort.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are stored little-endian");

enum { LENGTH_BYTES = 8, COMPARE_BYTES = 4096 };
static const char format_name[] = "safetensors file";

/* What the functions below share while one header is read. */
typedef struct Header {
    Arena       *out;
    const Json  *json;
    Safetensors *file;
    uint64_t     payload; /* where the payloads begin */
} Header;

static Failure damaged(const Header *header, JsonId at, const char *what, String subject) {
    Failure failure = failure_damaged(what, LENGTH_BYTES + header->json->offset[at.row]);
    failure.subject = subject;
    return failure;
}

/* --- one entry -------------------------------------------------------------------------------- */
/* Finds the three fields; others are ignored, as the reference implementation does. */
static const char *find_fields(const Json *json, JsonId entry, JsonId fields[3]) {
    static const char *const names[3] = {"dtype", "shape", "data_offsets"};
    memset(fields, 0, 3 * sizeof *fields);
    for (JsonId id = json_first(json, entry); json_id_some(id); id = json_next(json, id)) {
        for (int i = 0; i < 3; i++) {
            if (!str_same(json->key[id.row], str_of(names[i]))) continue;
            if (json_id_some(fields[i])) return "a field stands twice";
            fields[i] = id;
        }
    }
    for (int i = 0; i < 3; i++)
        if (!json_id_some(fields[i])) return "dtype, shape or data_offsets is missing";
    return NULL;
}

/* Sizes count as at least 1 for the overflow check, so that strides of an empty tensor fit too. */
static Failure read_shape(const Header *header, JsonId shape, SafetensorsEntry *entry,
                          uint64_t *out_bytes) {
    const Json *json = header->json;
    if (json_kind(json, shape) != JSON_ARRAY || json->items[shape.row] > SAFETENSORS_RANK_MAX)
        return damaged(header, shape, "the shape is not a list of at most 8 sizes", entry->name);
    int64_t extent = dtype_bytes(entry->dtype);
    bool    empty = false;
    entry->rank = 0;
    for (JsonId id = json_first(json, shape); json_id_some(id); id = json_next(json, id)) {
        int64_t size;
        if (!json_integer(json, id, &size) || size < 0)
            return damaged(header, id, "a size is not a whole number from 0", entry->name);
        entry->shape[entry->rank++] = size;
        if (size == 0)
            empty = true;
        else if (__builtin_mul_overflow(extent, size, &extent))
            return damaged(header, id, "the shape has too many elements", entry->name);
    }
    *out_bytes = empty ? 0 : (uint64_t)extent;
    return (Failure){0};
}

static Failure read_offsets(const Header *header, JsonId offsets, SafetensorsEntry *entry) {
    const Json *json = header->json;
    int64_t     first, last;
    JsonId      begin = json_first(json, offsets), end = json_next(json, begin);
    if (json_kind(json, offsets) != JSON_ARRAY || json->items[offsets.row] != 2 ||
        !json_integer(json, begin, &first) || !json_integer(json, end, &last))
        return damaged(header, offsets, "data_offsets are not two whole numbers", entry->name);
    uint64_t room = header->file->file_bytes - header->payload;
    if (first < 0 || last < first || (uint64_t)last > room)
        return damaged(header, offsets, "data_offsets are outside the file", entry->name);
    entry->offset = header->payload + (uint64_t)first;
    entry->bytes = (uint64_t)(last - first);
    return (Failure){0};
}

static Failure read_entry(const Header *header, JsonId id, SafetensorsEntry *entry) {
    const Json *json = header->json;
    String      dtype;
    uint64_t    bytes = 0;
    JsonId      fields[3];
    *entry = (SafetensorsEntry){.name = str_copy(header->out, json->key[id.row])};
    if (json_kind(json, id) != JSON_OBJECT)
        return damaged(header, id, "the tensor is not described by an object", entry->name);
    const char *missing = find_fields(json, id, fields);
    if (missing != NULL) return damaged(header, id, missing, entry->name);
    if (!json_text(json, fields[0], &dtype))
        return damaged(header, fields[0], "the dtype is not a string", entry->name);
    entry->dtype = dtype_find_file_name(dtype);
    if (entry->dtype == DTYPE_NIL) {
        Failure failure = failure_format(STATUS_UNSUPPORTED, format_name,
                                         "this build does not have its element type");
        failure.subject = entry->name;
        return failure;
    }
    Failure failure = read_shape(header, fields[1], entry, &bytes);
    if (!failure_some(failure)) failure = read_offsets(header, fields[2], entry);
    if (!failure_some(failure) && entry->bytes != bytes)
        failure =
            damaged(header, fields[2], "data_offsets do not fit dtype and shape", entry->name);
    return failure;
}

/* --- the whole header ------------------------------------------------------------------------- */
static bool name_less(const void *owner, uint32_t a, uint32_t b) {
    const Safetensors *file = owner;
    String             left = file->entries[a].name, right = file->entries[b].name;
    return sort_compare_strings(left.data, left.count, right.data, right.count) < 0;
}

static bool place_less(const void *owner, uint32_t a, uint32_t b) {
    const Safetensors      *file = owner;
    const SafetensorsEntry *left = &file->entries[a], *right = &file->entries[b];
    return left->offset != right->offset ? left->offset < right->offset
                                         : left->bytes < right->bytes;
}

static bool key_less(const void *owner, uint32_t a, uint32_t b) {
    const SafetensorsMeta *metadata = owner;
    String                 left = metadata[a].key, right = metadata[b].key;
    return sort_compare_strings(left.data, left.count, right.data, right.count) < 0;
}

static Failure read_metadata(const Header *header, JsonId id) {
    const Json  *json = header->json;
    Safetensors *file = header->file;
    if (json_kind(json, id) != JSON_OBJECT)
        return damaged(header, id, "__metadata__ is not an object", (String){0});
    uint32_t count = json->items[id.row];
    file->metadata = ARENA_ARRAY_ZERO(header->out, SafetensorsMeta, count);
    for (JsonId at = json_first(json, id); json_id_some(at); at = json_next(json, at)) {
        String value;
        if (!json_text(json, at, &value))
            return damaged(header, at, "a value of __metadata__ is not a string", (String){0});
        SafetensorsMeta *pair = &file->metadata[file->metadata_count++];
        pair->key = str_copy(header->out, json->key[at.row]);
        pair->value = str_copy(header->out, value);
    }
    Scratch   scratch = scratch_begin(&header->out, 1);
    uint32_t *order = sort_order(scratch.arena, count, key_less, file->metadata);
    Failure   failure = {0};
    for (uint32_t i = 1; i < count && !failure_some(failure); i++) {
        String key = file->metadata[order[i]].key;
        if (str_same(key, file->metadata[order[i - 1]].key))
            failure = damaged(header, id, "a key of __metadata__ stands twice", key);
    }
    scratch_end(scratch);
    return failure;
}

static Failure check_names(const Safetensors *file) {
    for (uint32_t i = 1; i < file->entries_count; i++) {
        const SafetensorsEntry *entry = &file->entries[file->by_name[i]];
        if (!str_same(entry->name, file->entries[file->by_name[i - 1]].name)) continue;
        Failure failure = failure_damaged("two tensors have this name", LENGTH_BYTES);
        failure.subject = entry->name;
        return failure;
    }
    return (Failure){0};
}

static Failure check_places(const Header *header) {
    const Safetensors *file = header->file;
    Scratch            scratch = scratch_begin(&header->out, 1);
    uint32_t          *order = sort_order(scratch.arena, file->entries_count, place_less, file);
    uint64_t           at = header->payload;
    Failure            failure = {0};
    for (uint32_t i = 0; i < file->entries_count && !failure_some(failure); i++) {
        const SafetensorsEntry *entry = &file->entries[order[i]];
        if (entry->offset != at) {
            failure = failure_damaged(entry->offset < at ? "the tensor overlaps another"
                                                         : "there is a hole before the tensor",
                                      entry->offset);
            failure.subject = entry->name;
        }
        at = entry->offset + entry->bytes;
    }
    if (!failure_some(failure) && at != file->file_bytes)
        failure = failure_damaged("bytes follow that belong to no tensor", at);
    scratch_end(scratch);
    return failure;
}

static Failure read_root(Header *header) {
    const Json  *json = header->json;
    Safetensors *file = header->file;
    JsonId       root = json_root(json);
    bool         metadata = false;
    if (json_kind(json, root) != JSON_OBJECT)
        return damaged(header, root, "the header is not an object", (String){0});
    file->entries = ARENA_ARRAY(header->out, SafetensorsEntry, json->items[root.row]);
    for (JsonId id = json_first(json, root); json_id_some(id); id = json_next(json, id)) {
        Failure failure;
        if (str_same(json->key[id.row], STR("__metadata__"))) {
            if (metadata) return damaged(header, id, "__metadata__ stands twice", (String){0});
            failure = read_metadata(header, id);
            metadata = true;
        } else {
            failure = read_entry(header, id, &file->entries[file->entries_count++]);
        }
        if (failure_some(failure)) return failure;
    }
    file->by_name = sort_order(header->out, file->entries_count, name_less, file);
    Failure failure = check_names(file);
    return failure_some(failure) ? failure : check_places(header);
}

/* The length word of a file of file_bytes, of which head holds the first bytes. */
static Failure read_length(String head, uint64_t file_bytes, uint64_t *out_bytes) {
    *out_bytes = 0;
    if (head.count < LENGTH_BYTES)
        return failure_format(STATUS_CORRUPT, format_name, "it has less than 8 bytes");
    memcpy(out_bytes, head.data, LENGTH_BYTES);
    if (*out_bytes > SAFETENSORS_HEADER_MAX)
        return failure_format(STATUS_CORRUPT, format_name, "its header is longer than 100 MB");
    if (*out_bytes > file_bytes - LENGTH_BYTES)
        return failure_damaged("the header is longer than the file", 0);
    return (Failure){0};
}

/* head: the length word and the whole header. */
static Failure read_header(Arena *out, String head, Safetensors *file) {
    Scratch   scratch = scratch_begin(&out, 1);
    String    text = {head.data + LENGTH_BYTES, head.count - LENGTH_BYTES};
    Json      json;
    JsonError error;
    Header    header = {.out = out, .json = &json, .file = file, .payload = head.count};
    Failure   failure;
    if (text.count == 0 || text.data[0] != '{')
        failure = failure_format(STATUS_CORRUPT, format_name, "its header does not begin with '{'");
    else if (!json_parse(scratch.arena, text, &json, &error))
        failure = failure_damaged(error.what, LENGTH_BYTES + error.offset);
    else
        failure = read_root(&header);
    scratch_end(scratch);
    file->head = head;
    return failure;
}

Failure safetensors_try(Arena *out, const char *path, Safetensors *out_file) {
    String   head;
    uint64_t header_bytes = 0;
    *out_file = (Safetensors){.path = str_copy(out, str_of(path)).data};
    Failure failure = files_read_head(out, path, LENGTH_BYTES, &head, &out_file->file_bytes);
    if (!failure_some(failure)) failure = read_length(head, out_file->file_bytes, &header_bytes);
    if (failure_some(failure)) return failure;
    failure = files_read_head(out, path, LENGTH_BYTES + header_bytes, &head, &out_file->file_bytes);
    if (failure_some(failure)) return failure;
    uint64_t again; /* the file may have been replaced between the two reads */
    failure = read_length(head, out_file->file_bytes, &again);
    if (!failure_some(failure) && again != header_bytes)
        failure = failure_damaged("the file changed while it was read", 0);
    return failure_some(failure) ? failure : read_header(out, head, out_file);
}

Status safetensors_open(Arena *out, const char *path, Diags *diags, Safetensors *out_file) {
    return report_failure(diags, path, safetensors_try(out, path, out_file));
}

Failure safetensors_try_bytes(Arena *out, String bytes, uint64_t file_bytes, const char *name,
                              Safetensors *out_file) {
    uint64_t header_bytes = 0;
    *out_file = (Safetensors){.path = name, .file_bytes = file_bytes};
    Failure failure = read_length(bytes, file_bytes, &header_bytes);
    if (failure_some(failure)) return failure;
    if (NEVER(header_bytes > bytes.count - LENGTH_BYTES))
        return failure_damaged("the header is longer than the file", 0);
    String head = {bytes.data, LENGTH_BYTES + (size_t)header_bytes};
    return read_header(out, head, out_file);
}

Status safetensors_check(Arena *out, String bytes, const char *name, Diags *diags,
                         Safetensors *out_file) {
    return report_failure(diags, name,
                          safetensors_try_bytes(out, bytes, bytes.count, name, out_file));
}

/* --- lookups and payloads --------------------------------------------------------------------- */
const SafetensorsEntry *safetensors_find(const Safetensors *file, String name) {
    uint32_t first = 0, last = file->entries_count;
    while (first < last) {
        uint32_t                middle = first + (last - first) / 2;
        const SafetensorsEntry *entry = &file->entries[file->by_name[middle]];
        int                     order =
            sort_compare_strings(entry->name.data, entry->name.count, name.data, name.count);
        if (order == 0) return entry;
        if (order < 0)
            first = middle + 1;
        else
            last = middle;
    }
    return NULL;
}

String safetensors_meta(const Safetensors *file, String key) {
    for (uint32_t i = 0; i < file->metadata_count; i++)
        if (str_same(file->metadata[i].key, key)) return file->metadata[i].value;
    return STR("");
}

/* Compares the head of the open file with what was verified. */
static Failure check_same(const Safetensors *file, OsFile handle) {
    uint8_t  piece[COMPARE_BYTES];
    uint64_t bytes;
    Failure  failure = failure_file("size", os_size(handle, &bytes));
    if (failure_some(failure)) return failure;
    bool same = bytes == file->file_bytes;
    for (size_t at = 0; at < file->head.count && same; at += sizeof piece) {
        size_t left = file->head.count - at, count = left < sizeof piece ? left : sizeof piece;
        failure = failure_file("read", os_read_at(handle, at, piece, count));
        if (failure_some(failure)) return failure;
        same = memcmp(piece, file->head.data + at, count) == 0;
    }
    return same ? (Failure){0} : failure_damaged("the file changed since it was opened", 0);
}

Status safetensors_read_many(const Safetensors *file, const SafetensorsEntry *const *entries,
                             void *const *intos, size_t count, Diags *diags) {
    OsFile  handle = {-1};
    Failure failure = failure_file("open", os_open(file->path, OS_READ, &handle));
    if (!failure_some(failure)) failure = check_same(file, handle);
    for (size_t i = 0; i < count && !failure_some(failure); i++) {
        if (entries[i]->bytes == 0) continue;
        ASSERT(intos[i] != NULL);
        failure = failure_file(
            "read", os_read_at(handle, entries[i]->offset, intos[i], (size_t)entries[i]->bytes));
        failure.subject = failure_some(failure) ? entries[i]->name : (String){0};
    }
    os_close(&handle);
    return report_failure(diags, file->path, failure);
}

Status safetensors_read_into(const Safetensors *file, const SafetensorsEntry *entry, void *into,
                             uint64_t into_bytes, Diags *diags) {
    if (NEVER(into_bytes != entry->bytes)) return STATUS_INVALID;
    return safetensors_read_many(file, &entry, &into, 1, diags);
}

Status safetensors_map(Safetensors *file, Diags *diags) {
    ASSERT(file->map.data == NULL);
    Failure failure = failure_file("map", os_map(file->path, &file->map));
    if (!failure_some(failure)) {
        bool same = file->map.bytes == file->file_bytes &&
                    memcmp(file->map.data, file->head.data, file->head.count) == 0;
        if (!same) failure = failure_damaged("the file changed since it was opened", 0);
    }
    if (failure_some(failure)) os_unmap(&file->map);
    return report_failure(diags, file->path, failure);
}

const uint8_t *safetensors_data(const Safetensors *file, const SafetensorsEntry *entry) {
    return file->map.data == NULL ? NULL : file->map.data + entry->offset;
}

void safetensors_unmap(Safetensors *file) { os_unmap(&file->map); }
