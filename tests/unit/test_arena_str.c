/* Strings: formatting across the stack buffer's length, numbers that must be whole, in range and
 * independent of the locale, suggestions within a third of a name, and text that grows in place and
 * gives its unused room back. */
#include "harness.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "arena/os.h"
#include "arena/str.h"

TEST(str_basics) {
    EXPECT(str_same(STR("abc"), str_of("abc")));
    EXPECT(!str_same(STR("abc"), STR("abd")));
    EXPECT(!str_same(STR("abc"), STR("ab")));
    EXPECT(str_same(STR(""), str_of(NULL)));
    EXPECT(str_starts(STR("matmul"), STR("mat")));
    EXPECT(str_starts(STR("m"), STR("")));
    EXPECT(!str_starts(STR("mat"), STR("matmul")));
    String copy = str_copy(arena, (String){"abcdef", 3});
    EXPECT_STR(copy.data, "abc");
    EXPECT_EQ(str_copy(arena, str_of(NULL)).count, 0);
}

TEST(str_format_any_length) {
    EXPECT_STR(str_format(arena, "%d-%s", 7, "x").data, "7-x");
    EXPECT_EQ(str_format(arena, "%s", "").count, 0);
    for (int width = 250; width < 262; width++) { // across the stack buffer
        String text = str_format(arena, "%0*d", width, 5);
        EXPECT_EQ(text.count, width);
        EXPECT_EQ(text.data[width - 1], '5');
        EXPECT_EQ(text.data[width], 0);
    }
}

static bool int_is(const char *text, int64_t number) {
    int64_t got = 0;
    return str_to_i64(str_of(text), &got) && got == number;
}

static bool int_refused(const char *text) {
    int64_t got = 0;
    return !str_to_i64(str_of(text), &got);
}

TEST(str_to_i64_whole_and_in_range) {
    EXPECT(int_is("0", 0) && int_is("-0", 0) && int_is("+12", 12) && int_is("-12", -12));
    EXPECT(int_is("9223372036854775807", INT64_MAX));
    EXPECT(int_is("-9223372036854775808", INT64_MIN));
    EXPECT(int_is("000000000000000000000000000001", 1));
    EXPECT(int_refused("9223372036854775808"));
    EXPECT(int_refused("-9223372036854775809"));
    EXPECT(int_refused("") && int_refused("-") && int_refused("+"));
    EXPECT(int_refused("1 ") && int_refused(" 1") && int_refused("1x") && int_refused("--1"));
}

static bool float_is(const char *text, double number) {
    double got = 0;
    return str_to_f64(str_of(text), &got) && got == number;
}

static bool float_refused(String text) {
    double got = 0;
    return !str_to_f64(text, &got);
}

TEST(str_to_bytes_takes_units) {
    static const struct {
        const char *text;
        uint64_t    bytes; // UINT64_MAX: refused
    } cases[] = {
        {"0", 0},
        {"1048576", 1 << 20},
        {"96KiB", 96 << 10},
        {"1.5 GiB", 3ull << 29},
        {"2GB", 2000000000},
        {"7B", 7},
        {"0.5B", 0},
        {"2TiB", 2ull << 40},
        {"", UINT64_MAX},
        {"MiB", UINT64_MAX},
        {"-1", UINT64_MAX},
        {"1e3", UINT64_MAX},
        {"1.2.3", UINT64_MAX},
        {"5 apples", UINT64_MAX},
        {"99999999TiB", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = UINT64_MAX;
        EXPECT(str_to_bytes(str_of(cases[i].text), &bytes) == (cases[i].bytes != UINT64_MAX));
        if (!EXPECT(bytes == cases[i].bytes)) printf("\n'%s'\n", cases[i].text);
    }
}

TEST(str_to_f64_whole_and_in_range) {
    double number = 0;
    EXPECT(float_is("1.5", 1.5) && float_is("-2e3", -2000) && float_is("0x1p-3", 0.125));
    EXPECT(float_is("inf", (double)INFINITY) && float_is("-inf", -(double)INFINITY));
    EXPECT(float_is("1e-400", 0) && float_is("5e-324", 0x1p-1074));
    EXPECT(str_to_f64(STR("nan"), &number) && isnan(number));
    EXPECT(float_refused(STR("1e400")) && float_refused(STR("-1e400")));
    EXPECT(float_refused(STR("")) && float_refused(STR(" 1")) && float_refused(STR("1 ")));
    EXPECT(float_refused(STR("1.5x")) && float_refused(STR("1\0")) && float_refused(STR(".")));
    EXPECT(str_to_f64((String){"12345", 2}, &number) && number == 12); // no terminator needed
    char digits[1100];
    memset(digits, '3', sizeof digits);
    digits[1] = '.';
    EXPECT(str_to_f64((String){digits, sizeof digits}, &number) && fabs(number - 10.0 / 3) < 1e-15);
}

TEST(str_numbers_ignore_the_locale) {
    const char *comma = setlocale(LC_ALL, "de_DE.UTF-8"); // where it is installed
    double      number = 0;
    EXPECT(str_to_f64(STR("2.5"), &number) && number == 2.5);
    EXPECT_STR(str_format(arena, "%g", 2.5).data, "2.5");
    Text text = text_begin(arena);
    text_addf(&text, "%.2f", 0.25);
    EXPECT_STR(text_done(&text).data, "0.25");
    if (comma) setlocale(LC_ALL, "C");
}

TEST(str_distance_small_cases) {
    EXPECT_EQ(str_distance(STR(""), STR("")), 0);
    EXPECT_EQ(str_distance(STR("abc"), STR("")), 3);
    EXPECT_EQ(str_distance(STR(""), STR("abc")), 3);
    EXPECT_EQ(str_distance(STR("kitten"), STR("sitting")), 3);
    EXPECT_EQ(str_distance(STR("matmul"), STR("matmull")), 1);
    EXPECT_EQ(str_distance(STR("flaw"), STR("lawn")), 2);
    char a[200], b[200];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    EXPECT_EQ(str_distance((String){a, 200}, (String){b, 200}), 64);
}

TEST(str_suggest_close_names_only) {
    const String names[] = {STR("add"), STR("matmul"), STR("softmax"), STR("transpose")};
    EXPECT_STR(str_suggest(STR("matmull"), names, 4).data, "matmul");
    EXPECT_STR(str_suggest(STR("tranpsose"), names, 4).data, "transpose");
    EXPECT_STR(str_suggest(STR("ad"), names, 4).data, "add");
    EXPECT_EQ(str_suggest(STR("convolution"), names, 4).count, 0);
    EXPECT_EQ(str_suggest(STR("x"), names, 4).count, 0);
    EXPECT_EQ(str_suggest(STR("x"), NULL, 0).count, 0);
}

TEST(text_grows_in_place) {
    Text text = text_begin(arena);
    for (int i = 0; i < 5000; i++) {
        text_addf(&text, "%04d", i);
        text_add(&text, STR(","));
    }
    const char *data = text.data;
    size_t      before = arena_used(arena);
    String      whole = text_done(&text);
    EXPECT(whole.data == data);
    EXPECT_EQ(whole.count, 25000);
    EXPECT_EQ(whole.data[25000], 0);
    EXPECT(memcmp(whole.data + 5 * 1234, "1234,", 5) == 0);
    EXPECT(arena_used(arena) <= before); // unused capacity went back
    memset(arena_push(arena, 64, 8), 'z', 64);
    EXPECT_EQ(whole.data[24999], ',');
}

TEST(text_formats_longer_than_its_room) {
    Text text = text_begin(arena);
    text_addf(&text, "<%01000d>", 1);
    text_addf(&text, "%s", "");
    String whole = text_done(&text);
    EXPECT_EQ(whole.count, 1002);
    EXPECT_EQ(whole.data[1001], '>');
    EXPECT_EQ(text_done(&text).count, 0); // an empty text is still terminated
}
