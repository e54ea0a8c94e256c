/* The safetensors writer. The header is made as text, verified by the reader, and written to a
 * temporary file; payloads are appended; the end makes them durable before the rename makes them
 * visible.
 *
 * The temporary file is opened for each call (two system calls) instead of being held: between
 * calls the caller may push to arenas, and an unwind must not leak a handle. Syncing through a
 * fresh handle is as good: Linux syncs the inode, and reports an earlier write-back error to the
 * next opener. */
#include "formats/safetensors.h"

#include "arena/hash.h"
#include "formats/files.h"
#include "formats/json.h"

enum { HEADER_ALIGN = 8 };

static void add_metadata(Text *text, const SafetensorsMeta *metadata, size_t count) {
    text_add(text, STR("\"__metadata__\":{"));
    for (size_t i = 0; i < count; i++) {
        if (i != 0) text_add(text, STR(","));
        json_string(text, metadata[i].key);
        text_add(text, STR(":"));
        json_string(text, metadata[i].value);
    }
    text_add(text, STR("}"));
}

static void add_entry(Text *text, const SafetensorsEntry *entry, uint64_t first) {
    json_string(text, entry->name);
    text_add(text, STR(":{\"dtype\":"));
    json_string(text, str_of(dtype_infos[entry->dtype].file_name));
    text_add(text, STR(",\"shape\":["));
    for (uint32_t i = 0; i < entry->rank; i++) {
        if (i != 0) text_add(text, STR(","));
        json_i64(text, entry->shape[i]);
    }
    text_addf(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)first,
              (unsigned long long)(first + entry->bytes));
}

/* The length word and the padded header. */
static String make_head(Arena *out, const SafetensorsEntry *entries, size_t entries_count,
                        const SafetensorsMeta *metadata, size_t metadata_count) {
    Text     text = text_begin(out);
    uint64_t at = 0;
    text_add(&text, (String){"\0\0\0\0\0\0\0", 8});
    text_add(&text, STR("{"));
    if (metadata_count != 0) add_metadata(&text, metadata, metadata_count);
    for (size_t i = 0; i < entries_count; i++) {
        if (i != 0 || metadata_count != 0) text_add(&text, STR(","));
        add_entry(&text, &entries[i], at);
        at += entries[i].bytes;
    }
    text_add(&text, STR("}"));
    while (text.count % HEADER_ALIGN != 0) text_add(&text, STR(" "));
    uint64_t header = text.count - 8;
    memcpy(text.data, &header, sizeof header);
    return text_done(&text);
}

/* What a caller can get wrong, found by the reader: it sees the head of a file of the right
 * size. */
static Status verify_head(String head, uint64_t payload, const char *path, Diags *diags) {
    Scratch     scratch = scratch_begin(NULL, 0);
    Safetensors file;
    uint64_t    bytes = head.count + payload;
    Failure     failure = safetensors_try_bytes(scratch.arena, head, bytes, path, &file);
    bool        invalid = failure_some(failure);
    (void)report_failure(diags, path, failure);
    scratch_end(scratch);
    return invalid ? STATUS_INVALID : STATUS_OK;
}

static Failure check_entries(const SafetensorsEntry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (entries[i].rank <= SAFETENSORS_RANK_MAX && entries[i].dtype < DTYPE_COUNT) continue;
        Failure failure = failure_format(STATUS_INVALID, "safetensors file",
                                         "the tensor has more than 8 dims or no known type");
        failure.subject = entries[i].name;
        return failure;
    }
    return (Failure){0};
}

/* Opens, does one thing, closes; a failure ends the writer. */
static Status append(SafetensorsWriter *writer, OsOpen how, const void *from, size_t bytes,
                     Diags *diags) {
    OsFile  file = {-1};
    Failure failure =
        failure_file(how == OS_APPEND ? "open" : "create", os_open(writer->temp, how, &file));
    if (!failure_some(failure)) failure = failure_file("write", os_write(file, from, bytes));
    int error = os_close(&file);
    if (!failure_some(failure)) failure = failure_file("close", error);
    writer->crc = hash_crc32c(writer->crc, from, bytes);
    writer->bytes += bytes;
    if (failure_some(failure)) safetensors_abort(writer);
    if (failure_some(failure)) writer->status = failure.status;
    return report_failure(diags, writer->path, failure);
}

Status safetensors_begin(Arena *out, const char *path, const SafetensorsEntry *entries,
                         size_t entries_count, const SafetensorsMeta *metadata,
                         size_t metadata_count, Diags *diags, SafetensorsWriter *out_writer) {
    *out_writer = (SafetensorsWriter){.path = str_copy(out, str_of(path)).data,
                                      .temp = str_format(out, "%s.tmp", path).data,
                                      .folder = files_folder(out, path).data,
                                      .status = STATUS_INVALID};
    Failure failure = check_entries(entries, entries_count);
    if (failure_some(failure)) return report_failure(diags, path, failure);
    Scratch scratch = scratch_begin(&out, 1);
    String  head = make_head(scratch.arena, entries, entries_count, metadata, metadata_count);
    for (size_t i = 0; i < entries_count; i++) out_writer->bytes_due += entries[i].bytes;
    Status status = verify_head(head, out_writer->bytes_due, path, diags);
    if (status == STATUS_OK) {
        out_writer->status = STATUS_OK;
        status = append(out_writer, OS_WRITE_NEW, head.data, head.count, diags);
    }
    scratch_end(scratch);
    return status;
}

Status safetensors_write(SafetensorsWriter *writer, const void *from, uint64_t bytes,
                         Diags *diags) {
    if (writer->status != STATUS_OK) return writer->status;
    if (NEVER(bytes > writer->bytes_due)) {
        safetensors_abort(writer);
        return writer->status;
    }
    writer->bytes_due -= bytes;
    if (bytes == 0) return STATUS_OK;
    return append(writer, OS_APPEND, from, (size_t)bytes, diags);
}

Status safetensors_end(SafetensorsWriter *writer, Diags *diags) {
    if (writer->status != STATUS_OK) return writer->status;
    if (NEVER(writer->bytes_due != 0)) {
        safetensors_abort(writer);
        return writer->status;
    }
    OsFile   file = {-1};
    uint64_t bytes = 0;
    Failure  failure = failure_file("open", os_open(writer->temp, OS_APPEND, &file));
    if (!failure_some(failure)) failure = failure_file("size", os_size(file, &bytes));
    if (!failure_some(failure) && bytes != writer->bytes)
        failure = failure_damaged("another process wrote to it", bytes);
    if (!failure_some(failure)) failure = failure_file("sync", os_sync(file));
    int error = os_close(&file);
    if (!failure_some(failure)) failure = failure_file("close", error);
    if (!failure_some(failure)) failure = files_publish(writer->temp, writer->path, writer->folder);
    if (failure_some(failure)) safetensors_abort(writer);
    writer->status =
        failure_some(failure) ? failure.status : STATUS_INVALID; /* nothing may follow */
    return report_failure(diags, writer->path, failure);
}

void safetensors_abort(SafetensorsWriter *writer) {
    if (writer->temp != NULL) files_discard(writer->temp);
    writer->temp = NULL;
    writer->status = STATUS_INVALID;
}
