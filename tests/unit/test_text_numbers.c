/* Numbers and tokens: exact round trips, and the places where one token ends and the next
 * begins. */
#include <math.h>

#include "harness.h"
#include "text/lex.h"
#include "text/numbers.h"

static bool round_trips(double number, bool single) {
    char     text[NUMBERS_TEXT_MAX];
    uint32_t count = numbers_print(text, number, single);
    bool     negative = text[0] == '-';
    double   back;
    String   digits = {text + negative, count - negative};
    if (isinf(number)) return str_same(digits, STR("inf"));
    if (!numbers_parse(digits, negative, &back)) return false;
    float narrow = (float)back;
    if (single) return memcmp(&narrow, &(float){(float)number}, sizeof narrow) == 0;
    return memcmp(&back, &number, sizeof back) == 0;
}

TEST(numbers_round_trip) {
    static const double samples[] = {0,
                                     -0.0,
                                     1,
                                     -1,
                                     0.5,
                                     0.1,
                                     1e-5,
                                     1e300,
                                     5e-324,
                                     0.044715,
                                     1e22,
                                     1e15,
                                     123456.7,
                                     3.25e-4,
                                     1 / 3.,
                                     2e-308,
                                     65504,
                                     1e-4,
                                     0.02,
                                     16777216,
                                     1 - 1e-16,
                                     1e16,
                                     9007199254740993.,
                                     INFINITY,
                                     -INFINITY};
    for (size_t i = 0; i < LENGTH(samples); i++) {
        EXPECT(round_trips(samples[i], false));
        EXPECT(round_trips((double)(float)samples[i], true));
    }
    uint64_t state = 1;
    uint32_t wrong = 0;
    for (int i = 0; i < 20000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double   wide;
        float    narrow;
        uint32_t half = (uint32_t)(state >> 32);
        memcpy(&wide, &state, sizeof wide);
        memcpy(&narrow, &half, sizeof narrow);
        if (!isnan(wide)) wrong += !round_trips(wide, false);
        if (!isnan(narrow)) wrong += !round_trips((double)narrow, true);
        wrong += !round_trips((double)(half % 100000) / 1000, false);
    }
    EXPECT_EQ(wrong, 0);
}

TEST(numbers_are_short) {
    char text[NUMBERS_TEXT_MAX];
    EXPECT_EQ(numbers_print(text, 0.1, false), 3);
    EXPECT_EQ(numbers_print(text, (double)0.1f, true), 3);
    EXPECT_EQ(numbers_print(text, 1024, false), 4);
    EXPECT_EQ(numbers_print_int(text, INT64_MIN), 20);
}

TEST(lex_cuts_tokens) {
    Lexer lexer =
        lex_begin(STR("%a.1 = add(1..20) {x=-1.5e-3} ; not here\n\"a\\\"b\" 0xff %\"q\""));
    uint16_t kinds[] = {TOKEN_VALUE,  '=',          TOKEN_NAME,   '(',      TOKEN_NUMBER,
                        TOKEN_RANGE,  TOKEN_NUMBER, ')',          '{',      TOKEN_NAME,
                        '=',          '-',          TOKEN_NUMBER, '}',      TOKEN_STRING,
                        TOKEN_NUMBER, TOKEN_VALUE,  TOKEN_END,    TOKEN_END};
    Token    token;
    for (size_t i = 0; i < LENGTH(kinds); i++) {
        lex_next(&lexer, &token);
        EXPECT_EQ(token.kind, kinds[i]);
        if (token.kind == TOKEN_STRING) {
            EXPECT_EQ(token.line, 2);
            EXPECT_EQ(token.column, 1);
            EXPECT(token.escaped);
            EXPECT_STR(lex_unescape(arena, token_text(&token)).data, "a\"b");
        }
    }
}

TEST(lex_never_leaves_the_text) {
    static const char *const odd[] = {"\"", "\"\\", "%", "%\"",    "..", ".",  "0x", "1e+",
                                      "@",  "\x80", ";", "\"a\nb", "1.", "a;", "\\"};
    for (size_t i = 0; i < LENGTH(odd); i++) {
        size_t count = strlen(odd[i]);
        char  *copy = ARENA_ARRAY(arena, char, count);
        memcpy(copy, odd[i], count);
        Lexer lexer = lex_begin((String){copy, count});
        Token token = {.kind = TOKEN_BAD};
        for (int k = 0; k < 10 && token.kind != TOKEN_END; k++) {
            lex_next(&lexer, &token);
            EXPECT(lex_describe(arena, &token).count > 0);
        }
        EXPECT_EQ(token.kind, TOKEN_END);
    }
}
