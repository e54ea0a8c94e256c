/* The short path: a float that is n / 10^k for an n below 2^53 and k up to 22 is exactly the
 * correctly rounded quotient of two exact doubles, so n and k are all its digits, and reading them
 * back is the same division. Everything else tries printf with growing precision until it reads
 * back equal. */
#include "text/numbers.h"

#include <math.h>

#include "text/names.h"

enum { DECIMALS_MAX = 9, POWERS = 23 };
static const double powers[POWERS] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool same_number(double a, double b, bool single) {
    return single ? (float)a == (float)b : a == b;
}

/* number = digits / 10^decimals, for small decimals. */
static bool short_form(double number, bool single, uint64_t *out_digits, uint32_t *out_decimals) {
    for (uint32_t k = 0; k <= DECIMALS_MAX; k++) {
        double scaled = number * powers[k];
        if (scaled > 1e15) return false;
        uint64_t digits = (uint64_t)(scaled + 0.5);
        if (single && digits > 999999999) return false;
        if (!same_number((double)digits / powers[k], number, single)) continue;
        *out_digits = digits;
        *out_decimals = k;
        return true;
    }
    return false;
}

static uint32_t print_short(char *out, uint64_t digits, uint32_t decimals) {
    char     text[NAMES_DIGITS_MAX];
    uint32_t count = names_digits(text, digits), at = 0;
    uint32_t whole = count > decimals ? count - decimals : 0;
    if (whole == 0) out[at++] = '0';
    for (uint32_t i = 0; i < whole; i++) out[at++] = text[i];
    if (decimals != 0) out[at++] = '.';
    for (uint32_t zeros = count; zeros < decimals; zeros++) out[at++] = '0';
    for (uint32_t i = whole; i < count; i++) out[at++] = text[i];
    return at;
}

static uint32_t print_long(char *out, double number, bool single) {
    Scratch scratch = scratch_begin(NULL, 0);
    String  text = {"0", 1};
    for (int digits = single ? 6 : 15; digits <= (single ? 9 : 17); digits++) {
        double back = 0;
        text = str_format(scratch.arena, "%.*g", digits, number);
        if (str_to_f64(text, &back) && same_number(back, number, single)) break;
    }
    ASSERT(text.count < NUMBERS_TEXT_MAX);
    memcpy(out, text.data, text.count);
    scratch_end(scratch);
    return (uint32_t)text.count;
}

uint32_t numbers_print(char *out, double number, bool single) {
    uint64_t digits;
    uint32_t decimals, at = 0;
    if (isnan(number)) {
        memcpy(out, "nan", 3);
        return 3;
    }
    if (signbit(number)) out[at++] = '-';
    number = fabs(number);
    if (isinf(number)) {
        memcpy(out + at, "inf", 3);
        return at + 3;
    }
    bool plain = number == 0 || (number >= 1e-4 && number < 1e15);
    if (plain && short_form(number, single, &digits, &decimals))
        return at + print_short(out + at, digits, decimals);
    return at + print_long(out + at, number, single);
}

uint32_t numbers_print_int(char *out, int64_t number) {
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    if (number >= 0) return names_digits(out, size);
    out[0] = '-';
    return 1 + names_digits(out + 1, size);
}

/* Digits with at most one point, value below 2^53 and few decimals; false: take the long way. */
static bool parse_short(String text, double *out_number) {
    uint64_t digits = 0;
    uint32_t decimals = 0;
    bool     point = false;
    if (text.count == 0 || text.count > 18) return false;
    for (size_t i = 0; i < text.count; i++) {
        char c = text.data[i];
        if (c == '.' && !point)
            point = true;
        else if (c >= '0' && c <= '9') {
            digits = digits * 10 + (uint64_t)(c - '0');
            decimals += point;
        } else
            return false;
    }
    if (digits >= (uint64_t)1 << 53 || decimals >= POWERS || text.data[0] == '.') return false;
    *out_number = (double)digits / powers[decimals];
    return true;
}

bool numbers_parse(String text, bool negative, double *out_number) {
    if (!parse_short(text, out_number) && !str_to_f64(text, out_number)) return false;
    if (negative) *out_number = -*out_number;
    return true;
}

bool numbers_parse_int(String text, bool negative, int64_t *out_number) {
    int64_t number = 0; /* kept negative, because INT64_MIN has no positive twin */
    if (text.count == 0) return false;
    for (size_t i = 0; i < text.count; i++) {
        char c = text.data[i];
        if (c < '0' || c > '9') return false;
        if (__builtin_mul_overflow(number, 10, &number)) return false;
        if (__builtin_sub_overflow(number, c - '0', &number)) return false;
    }
    if (!negative && number == INT64_MIN) return false;
    *out_number = negative ? number : -number;
    return true;
}
