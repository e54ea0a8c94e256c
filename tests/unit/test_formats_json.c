/* JSON: the grammar from both sides (texts that must pass, texts that must not), values and where
 * they stand, limits of depth and size, and the writer read back by the reader. Also the two
 * helpers of the readers: UTF-8 and sorting. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/json.h"
#include "formats/sort.h"
#include "formats/utf8.h"

static bool parses(Arena *arena, String text) {
    Json      json;
    JsonError error;
    return json_parse(arena, text, &json, &error);
}

TEST(json_reads_a_document) {
    Json      json;
    JsonError error;
    String    text =
        STR(" {\"a\": [1, -2.5e3, true, null], \"b\\n\": {\"c\": \"x\\u00e9\\ud83d\\ude00\"},"
            " \"empty\": {}, \"a\": 9223372036854775807} ");
    REQUIRE(json_parse(arena, text, &json, &error));
    JsonId root = json_root(&json);
    EXPECT_EQ(json_kind(&json, root), JSON_OBJECT);
    EXPECT_EQ(json.items[root.row], 4);
    JsonId  list = json_find(&json, root, STR("a"));
    int64_t whole = 0;
    double  number = 0;
    EXPECT_EQ(json.items[list.row], 4);
    JsonId item = json_first(&json, list);
    EXPECT(json_integer(&json, item, &whole) && whole == 1);
    item = json_next(&json, item);
    EXPECT(!json_integer(&json, item, &whole));
    EXPECT(json_number_of(&json, item, &number) && number == -2500);
    item = json_next(&json, item);
    EXPECT_EQ(json_kind(&json, item), JSON_BOOL);
    EXPECT_EQ(json.integer[item.row], 1);
    item = json_next(&json, item);
    EXPECT_EQ(json_kind(&json, item), JSON_NULL);
    EXPECT(!json_id_some(json_next(&json, item)));
    String value = {0};
    JsonId inner = json_find(&json, json_find(&json, root, STR("b\n")), STR("c"));
    EXPECT(json_text(&json, inner, &value) && str_same(value, STR("x\xC3\xA9\xF0\x9F\x98\x80")));
    EXPECT_EQ(text.data[json.offset[inner.row]], '"');
    JsonId last = json_next(&json, json_find(&json, root, STR("empty")));
    EXPECT(json_integer(&json, last, &whole) && whole == INT64_MAX);
}

TEST(json_lookups_of_nothing_are_nil) {
    Json      json;
    JsonError error;
    int64_t   whole = 5;
    String    text = STR("unchanged");
    REQUIRE(json_parse(arena, STR("[1]"), &json, &error));
    JsonId none = json_find(&json, json_root(&json), STR("x"));
    EXPECT(!json_id_some(none));
    EXPECT(!json_id_some(json_find(&json, none, STR("y"))));
    EXPECT(!json_integer(&json, none, &whole) && whole == 5);
    EXPECT(!json_text(&json, none, &text) && text.count == 9);
}

TEST(json_integers_are_exact_or_not) {
    Json      json;
    JsonError error;
    int64_t   whole = 0;
    REQUIRE(json_parse(arena, STR("[-9223372036854775808, 9223372036854775808, 1.0, 1e2, -0]"),
                       &json, &error));
    JsonId item = json_first(&json, json_root(&json));
    EXPECT(json_integer(&json, item, &whole) && whole == INT64_MIN);
    for (int i = 0; i < 3; i++) {
        item = json_next(&json, item);
        EXPECT(!json_integer(&json, item, &whole));
    }
    item = json_next(&json, item);
    EXPECT(json_integer(&json, item, &whole) && whole == 0);
}

TEST(json_accepts_the_grammar) {
    static const char *const good[] = {"0",
                                       "-0",
                                       "1e5",
                                       "1E+5",
                                       "0.5e-3",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       " [ ] ",
                                       "[[],{}]",
                                       "true",
                                       "false",
                                       "null",
                                       "\"\\/\\b\\f\\r\\t\\\\\"",
                                       "{\"a\":{\"b\":[{}]}}",
                                       "\"\x7f\"",
                                       "1e-400",
                                       "\t\r\n1"};
    for (size_t i = 0; i < LENGTH(good); i++)
        if (!EXPECT(parses(arena, str_of(good[i])))) printf("  %s", good[i]);
}

TEST(json_refuses_what_is_not_json) {
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "[",
                                      "}",
                                      "]",
                                      "[1",
                                      "[1,",
                                      "[1,]",
                                      "[,1]",
                                      "{\"a\"",
                                      "{\"a\":",
                                      "{\"a\":1",
                                      "{\"a\":1,",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{\"a\" 1}",
                                      "{1:2}",
                                      "[1 2]",
                                      "1 2",
                                      "01",
                                      "-",
                                      "+1",
                                      ".5",
                                      "1.",
                                      "1e",
                                      "1e+",
                                      "0x10",
                                      "nan",
                                      "inf",
                                      "Infinity",
                                      "tru",
                                      "True",
                                      "nul",
                                      "\"",
                                      "\"\\\"",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\udc00\"",
                                      "\"\n\"",
                                      "\"\x01\"",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82\"",
                                      "1e999",
                                      "[1]]",
                                      "{}{}",
                                      "/**/1",
                                      "'a'",
                                      "\"\\ud800\\",
                                      "\"\\ud800\\u12\""};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        Json      json;
        JsonError error;
        if (!EXPECT(!json_parse(arena, str_of(bad[i]), &json, &error))) printf("  %s", bad[i]);
        EXPECT(error.what != NULL && error.offset <= strlen(bad[i]));
        EXPECT(!json_id_some(json_root(&json)));
    }
    EXPECT(!parses(arena, (String){"1\0", 2}));
    EXPECT(!parses(arena, (String){"\"\\\0\"", 4}));
}

TEST(json_says_where) {
    Json      json;
    JsonError error;
    EXPECT(!json_parse(arena, STR("{\"a\": [1, 2, x]}"), &json, &error));
    EXPECT_EQ(error.offset, 13);
    EXPECT_STR(error.what, "expected a value");
}

TEST(json_depth_is_limited) {
    char text[2 * JSON_DEPTH_MAX + 2];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    EXPECT(parses(arena, (String){text, 2 * JSON_DEPTH_MAX}));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    EXPECT(!parses(arena, (String){text, sizeof text}));
}

TEST(json_size_is_limited) {
    size_t count = JSON_NODES_MAX + 1;
    char  *text = ARENA_ARRAY(arena, char, count);
    memset(text, ',', count);
    size_t before = arena_used(arena);
    EXPECT(!parses(arena, (String){text, count}));
    EXPECT(arena_used(arena) - before < 4096);
}

TEST(json_writer_reads_back) {
    static const double numbers[] = {0.0, -0.0, 1.0 / 3, 1e300, -5e-324, 123456789012345678.0, 0.1};
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        Text text = text_begin(arena);
        json_number(&text, numbers[i]);
        Json      json;
        JsonError error;
        double    back = 7;
        REQUIRE(json_parse(arena, text_done(&text), &json, &error));
        EXPECT(json_number_of(&json, json_root(&json), &back));
        EXPECT(memcmp(&back, &numbers[i], sizeof back) == 0);
    }
    Text text = text_begin(arena);
    json_number(&text, (double)NAN);
    json_number(&text, (double)INFINITY);
    json_i64(&text, INT64_MIN);
    EXPECT_STR(text_done(&text).data, "nullnull-9223372036854775808");
}

TEST(json_strings_read_back) {
    String hard = {"a\"\\\n\t\r\x01\x1f/\xC3\xA9\0z", 13};
    Text   text = text_begin(arena);
    json_string(&text, hard);
    String    written = text_done(&text), back = {0};
    Json      json;
    JsonError error;
    REQUIRE(json_parse(arena, written, &json, &error));
    EXPECT(json_text(&json, json_root(&json), &back) && str_same(back, hard));
    text = text_begin(arena);
    json_string(&text, STR("x\xFFy"));
    EXPECT_STR(text_done(&text).data, "\"x\\ufffdy\"");
}

TEST(utf8_puts_what_it_measures) {
    static const uint32_t points[] = {0,      0x7F,   0x80,   0x7FF,   0x800,
                                      0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
    for (size_t i = 0; i < LENGTH(points); i++) {
        char   bytes[4];
        size_t count = utf8_put(bytes, points[i]);
        EXPECT_EQ(utf8_length(bytes, count), count);
        EXPECT_EQ(count > 1 ? utf8_length(bytes, count - 1) : 0, 0);
    }
}

static bool smaller(const void *owner, uint32_t a, uint32_t b) {
    const uint32_t *values = owner;
    return values[a] / 16 < values[b] / 16;
}

TEST(sort_orders_and_is_stable) {
    for (uint32_t count = 0; count < 70; count++) {
        uint32_t *values = ARENA_ARRAY(arena, uint32_t, count), state = count;
        for (uint32_t i = 0; i < count; i++)
            values[i] = (state = state * 1664525u + 1013904223u) >> 24;
        uint32_t *order = sort_order(arena, count, smaller, values);
        for (uint32_t i = 1; i < count; i++) {
            bool less = smaller(values, order[i - 1], order[i]);
            EXPECT(less || (!smaller(values, order[i], order[i - 1]) && order[i - 1] < order[i]));
        }
    }
}
