/* safetensors_check on any bytes, and again with the first two bytes choosing where a header of the
 * right length ends, so that mutations reach the JSON. What it accepts must lie inside the input,
 * be found by name, and cover the payload exactly. */
#include "fuzz_entry.h"

#include "formats/safetensors.h"

static void check(Arena *arena, String bytes, Diags *diags) {
    Safetensors file;
    diags_clear(diags);
    Status status = safetensors_check(arena, bytes, "fuzz", diags, &file);
    if ((status == STATUS_OK) != (diags->errors == 0)) __builtin_trap();
    if (status != STATUS_OK) return;
    uint64_t covered = file.head.count, sum = 0;
    for (uint32_t i = 0; i < file.entries_count; i++) {
        const SafetensorsEntry *entry = &file.entries[i];
        uint64_t                elements = 1;
        if (entry->offset < file.head.count || entry->offset > bytes.count) __builtin_trap();
        if (entry->bytes > bytes.count - entry->offset) __builtin_trap();
        for (uint32_t k = 0; k < entry->rank; k++) elements *= (uint64_t)entry->shape[k];
        if (elements * dtype_bytes(entry->dtype) != entry->bytes) __builtin_trap();
        if (safetensors_find(&file, entry->name) != entry) __builtin_trap();
        for (uint64_t k = 0; k < entry->bytes; k++) sum += (uint8_t)bytes.data[entry->offset + k];
        covered += entry->bytes;
    }
    for (uint32_t i = 0; i < file.metadata_count; i++)
        if (!str_same(safetensors_meta(&file, file.metadata[i].key), file.metadata[i].value))
            __builtin_trap();
    if (covered != bytes.count || sum == UINT64_MAX) __builtin_trap();
}

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    check(arena, bytes, diags);
    if (bytes.count < 10) return;
    uint16_t choice;
    memcpy(&choice, bytes.data, sizeof choice);
    uint64_t header = choice % (bytes.count - 7);
    char    *copy = (char *)(uintptr_t)str_copy(arena, bytes).data;
    memcpy(copy, &header, sizeof header);
    check(arena, (String){copy, bytes.count}, diags);
}
