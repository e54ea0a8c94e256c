/* JSON (RFC 8259): bytes into a table of nodes in an arena, and a small writer on Text.
 *
 * The reader accepts exactly the grammar, nested at most JSON_DEPTH_MAX deep, in valid UTF-8,
 * without recursion. Rows stand in document order; row 1 is the root, row 0 the nil row, so lookups
 * chain: json_integer of a missing key is simply false. Strings without escapes point into the
 * input, the others into the arena; both live as long as the shorter of the two. */
#ifndef STOA_FORMATS_JSON_H
#define STOA_FORMATS_JSON_H

#include "arena/str.h"

enum { JSON_DEPTH_MAX = 64, JSON_NODES_MAX = 1 << 24 };

typedef enum JsonKind {
    JSON_NONE, /* the nil row */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
} JsonKind;
ID_TYPE(JsonId, json_id);

typedef struct Json {
    uint8_t  *kind;    /* JsonKind, narrowed */
    bool     *exact;   /* NUMBER: written as an integer that fits `integer` */
    uint32_t *items;   /* ARRAY, OBJECT: number of children */
    uint32_t *first;   /* ARRAY, OBJECT: row of the first child, or 0 */
    uint32_t *next;    /* row of the next sibling, or 0 */
    uint32_t *offset;  /* of the value's first byte in the input */
    String   *key;     /* of a member of an object, unescaped; otherwise empty */
    String   *text;    /* STRING: unescaped; NUMBER: as written */
    double   *number;  /* NUMBER: nearest double */
    int64_t  *integer; /* exact NUMBER; BOOL: 0 or 1 */
    uint32_t  count;   /* rows, the nil row included */
} Json;
typedef struct JsonError {
    const char *what; /* static; NULL: no error */
    size_t      offset;
} JsonError;

/* False if text is not one JSON value: out_error says what and where, out_json is empty (nil row
 * only). Pushes on out about 65 bytes a node, after counting the nodes. */
MUST_USE bool json_parse(Arena *out, String text, Json *out_json, JsonError *out_error);

static inline JsonId   json_root(const Json *json) { return (JsonId){json->count > 1 ? 1 : 0}; }
static inline JsonKind json_kind(const Json *json, JsonId id) {
    return (JsonKind)json->kind[id.row];
}
static inline JsonId json_first(const Json *json, JsonId id) {
    return (JsonId){json->first[id.row]};
}
static inline JsonId json_next(const Json *json, JsonId id) { return (JsonId){json->next[id.row]}; }
/* The first member with this key, or nil; O(members). */
JsonId json_find(const Json *json, JsonId object, String key);
/* The value if the row is of that kind (integers: exact), otherwise false and out unchanged. */
bool json_integer(const Json *json, JsonId id, int64_t *out_integer);
bool json_number_of(const Json *json, JsonId id, double *out_number);
bool json_text(const Json *json, JsonId id, String *out_text);

/* The writer: values only; commas, colons and brackets are added by the caller. */
void json_string(Text *text, String s);      /* quoted; bytes that are no UTF-8 become U+FFFD */
void json_number(Text *text, double number); /* reads back bit-equal; NaN and infinity are null */
void json_i64(Text *text, int64_t number);

#endif
