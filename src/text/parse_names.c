/* The map from names to rows, and the words of the language. Entries are appended in order of
 * definition and the slots hold the hash, so a search touches other entries' memory only when 32
 * bits of hash agree. A graph's names stay in the map after it ends; blocks say what is visible. */
#include "arena/hash.h"
#include "text/parse_inner.h"

/* Names of up to 16 bytes, which is nearly all, as two words that between them hold every byte. */
enum { SHORT_BYTES = 16 };
typedef struct ShortName {
    uint64_t a, b;
} ShortName;

static uint64_t load(const char *at, size_t bytes) {
    uint64_t word = 0;
    memcpy(&word, at, bytes);
    return word;
}
static inline ShortName short_name(const char *text, size_t count) {
    if (count >= 8) return (ShortName){load(text, 8), load(text + count - 8, 8)};
    if (count >= 4) return (ShortName){load(text, 4), load(text + count - 4, 4)};
    if (count == 0) return (ShortName){0, 0};
    return (ShortName){(uint64_t)(uint8_t)text[0] << 8 | (uint8_t)text[count / 2],
                       (uint8_t)text[count - 1]};
}
static inline uint32_t name_hash(String text) {
    uint64_t hash;
    if (text.count <= SHORT_BYTES) {
        ShortName name = short_name(text.data, text.count);
        hash = hash_mix(name.a ^ text.count, name.b);
    } else
        hash = hash_bytes(text.data, text.count, 9);
    return (uint32_t)(hash ^ hash >> 32);
}
static inline bool name_same(const ParseName *name, String text) {
    if (name->count != text.count) return false;
    if (text.count > SHORT_BYTES) return memcmp(name->text, text.data, text.count) == 0;
    ShortName a = short_name(name->text, text.count), b = short_name(text.data, text.count);
    return a.a == b.a && a.b == b.b;
}

ParseNames parse_names_begin(Arena *arena, size_t expected) {
    uint32_t capacity = 64;
    while (capacity < expected && capacity < (1u << 28)) capacity *= 2;
    return (ParseNames){.arena = arena,
                        .names = ARENA_ARRAY(arena, ParseName, capacity),
                        .slots = ARENA_ARRAY_ZERO(arena, ParseSlot, (size_t)capacity * 2),
                        .count = 1,
                        .capacity = capacity,
                        .mask = capacity * 2 - 1};
}

static void grow(ParseNames *map) {
    ParseNames bigger = parse_names_begin(map->arena, (size_t)map->capacity * 2);
    memcpy(bigger.names, map->names, map->count * sizeof *map->names);
    bigger.count = map->count;
    for (uint32_t i = 1; i < map->count; i++) {
        uint32_t at = map->names[i].hash & bigger.mask;
        while (bigger.slots[at].name != 0) at = (at + 1) & bigger.mask;
        bigger.slots[at] = (ParseSlot){map->names[i].hash, i};
    }
    *map = bigger;
}

/* The slot of a name, or the free one where it belongs. */
static inline ParseSlot *find_slot(const ParseNames *map, String text, uint32_t hash) {
    for (uint32_t at = hash & map->mask;; at = (at + 1) & map->mask) {
        ParseSlot *slot = &map->slots[at];
        if (slot->name == 0) return slot;
        const ParseName *name = &map->names[slot->name];
        if (slot->hash == hash && name_same(name, text)) return slot;
    }
}

ParseName *parse_names_find(const ParseNames *map, String text) {
    uint32_t name = find_slot(map, text, name_hash(text))->name;
    return name != 0 ? &map->names[name] : NULL;
}

ParseName *parse_names_add(ParseNames *map, String text) {
    ASSERT(text.count <= UINT32_MAX);
    if (map->count == map->capacity) grow(map);
    uint32_t   hash = name_hash(text);
    ParseSlot *slot = find_slot(map, text, hash);
    if (slot->name == 0) {
        *slot = (ParseSlot){hash, map->count};
        map->names[map->count++] =
            (ParseName){.text = text.data, .count = (uint32_t)text.count, .hash = hash};
    }
    return &map->names[slot->name];
}

/* A quick hash of few letters: there are some 150 words, known beforehand. */
const ParseWord *parse_word(const Parser *p, String text) {
    uint32_t first = (uint8_t)text.data[0], last = (uint8_t)text.data[text.count - 1];
    uint32_t middle = (uint8_t)text.data[text.count / 2], count = (uint32_t)text.count;
    uint32_t at = (first * 31 + middle * 131 + last * 577 + count * 61) % PARSE_WORDS;
    while (p->words[at].text.data != NULL && !str_same(p->words[at].text, text))
        at = (at + 1) % PARSE_WORDS;
    return &p->words[at];
}

/* Numbers are short and do not begin with 0, as the printer writes them. */
String parse_split(String text, uint32_t *out_number) {
    enum { DIGITS_MAX = 8 };
    uint32_t number = 0, scale = 1, digits = 0;
    for (; digits < text.count && digits < DIGITS_MAX; digits++, scale *= 10) {
        uint32_t digit = (uint8_t)text.data[text.count - 1 - digits] - (uint32_t)'0';
        if (digit > 9) break;
        number += digit * scale;
    }
    size_t base = text.count - digits; /* with the point */
    bool numbered = digits != 0 && base > 1 && text.data[base - 1] == '.' && text.data[base] != '0';
    *out_number = numbered ? number : 0;
    return numbered ? (String){text.data, base - 1} : text;
}
ParseKey parse_key(const Parser *p, String text) {
    ParseKey key = {0};
    if (text.count == 0) return key;
    key.opcode = parse_word(p, parse_split(text, &key.number))->opcode;
    return key;
}
void parse_mades_add(Parser *p, ParseMades *list, ParseMade made) {
    list->at = arena_room(p->arena, list->at, list->count, &list->capacity, sizeof *list->at);
    list->at[list->count++] = made;
}

void parse_list_push(Parser *p, ParseList *list, uint32_t row) {
    list->rows = arena_room(p->arena, list->rows, list->count, &list->capacity, sizeof *list->rows);
    list->rows[list->count++] = row;
}

String parse_text(const Parser *p, const Token *token) {
    return token->escaped ? lex_unescape(p->arena, token_text(token)) : token_text(token);
}

StrId parse_intern(const Parser *p, const Token *token) {
    return strings_add(&p->world->strings, parse_text(p, token));
}
