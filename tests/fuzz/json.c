/* json_parse on any bytes. A refusal names a place inside the text. What is accepted is written
 * again by the writer and must read back the same: kinds, keys, strings, and numbers bit by bit but
 * for the sign of zero. */
#include "fuzz_entry.h"

#include "formats/json.h"

/* Writes the tree in document order; parents are remembered in a column. */
static String rewrite(Arena *arena, const Json *json) {
    Text      text = text_begin(arena);
    uint32_t *parents = ARENA_ARRAY_ZERO(arena, uint32_t, json->count);
    uint32_t  row = json_root(json).row;
    text = text_begin(arena);
    for (bool down = true; row != 0;) {
        bool open = json->kind[row] == JSON_ARRAY || json->kind[row] == JSON_OBJECT;
        if (down && parents[row] != 0 && json->kind[parents[row]] == JSON_OBJECT) {
            json_string(&text, json->key[row]);
            text_add(&text, STR(":"));
        }
        if (down && open) text_add(&text, json->kind[row] == JSON_ARRAY ? STR("[") : STR("{"));
        if (down && json->first[row] != 0) {
            parents[json->first[row]] = row;
            row = json->first[row];
            continue;
        }
        if (open) text_add(&text, json->kind[row] == JSON_ARRAY ? STR("]") : STR("}"));
        if (json->kind[row] == JSON_STRING) json_string(&text, json->text[row]);
        if (json->kind[row] == JSON_NULL) text_add(&text, STR("null"));
        if (json->kind[row] == JSON_BOOL)
            text_add(&text, json->integer[row] ? STR("true") : STR("false"));
        if (json->kind[row] == JSON_NUMBER && json->exact[row]) json_i64(&text, json->integer[row]);
        if (json->kind[row] == JSON_NUMBER && !json->exact[row])
            json_number(&text, json->number[row]);
        down = json->next[row] != 0;
        if (down) {
            text_add(&text, STR(","));
            parents[json->next[row]] = parents[row];
        }
        row = down ? json->next[row] : parents[row];
    }
    return text_done(&text);
}

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    Json      json, again;
    JsonError error;
    (void)diags;
    if (!json_parse(arena, bytes, &json, &error)) {
        if (error.what == NULL || error.offset > bytes.count) __builtin_trap();
        return;
    }
    if (!json_parse(arena, rewrite(arena, &json), &again, &error)) __builtin_trap();
    if (again.count != json.count) __builtin_trap();
    for (uint32_t row = 1; row < json.count; row++) {
        bool text = json.kind[row] == JSON_STRING;
        bool same =
            json.kind[row] == again.kind[row] && json.items[row] == again.items[row] &&
            str_same(json.key[row], again.key[row]) &&
            (!text || str_same(json.text[row], again.text[row])) &&
            (json.number[row] <= again.number[row] && json.number[row] >= again.number[row]);
        if (!same) __builtin_trap();
    }
}
