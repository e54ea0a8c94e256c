/* The lines of print rows. These run where programs run, so nothing is made but the text, and
 * elements are written one by one. */
#include "text/printed.h"

#include "tables/consts.h"
#include "tables/schema.h"
#include "text/numbers.h"

static void put_float(Text *text, Dtype dtype, const uint8_t *at) {
    char   digits[NUMBERS_TEXT_MAX];
    double number = const_decode(dtype, at);
    text_add(text, (String){digits, numbers_print(digits, number, dtype != DTYPE_F64)});
}
static void put_element(Text *text, Dtype dtype, const uint8_t *at) {
    char    digits[NUMBERS_TEXT_MAX];
    int64_t wide;
    if (dtype == DTYPE_BOOL) {
        text_add(text, at[0] ? STR("true") : STR("false"));
    } else if (dtype_is_complex(dtype)) {
        Dtype part = dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
        text_add(text, STR("("));
        put_float(text, part, at);
        text_add(text, STR(", "));
        put_float(text, part, at + dtype_bytes(part));
        text_add(text, STR(")"));
    } else if (dtype_is_float(dtype)) {
        put_float(text, dtype, at);
    } else if (dtype == DTYPE_I64) { /* a double would not hold it */
        memcpy(&wide, at, sizeof wide);
        text_add(text, (String){digits, numbers_print_int(digits, wide)});
    } else {
        wide = (int64_t)const_decode(dtype, at);
        text_add(text, (String){digits, numbers_print_int(digits, wide)});
    }
}
static void put_tensor(Text *text, const Tensor *x, int64_t most) {
    int64_t count = tensor_elements(x), width = dtype_bytes(x->dtype);
    if (x->rank == 0) {
        put_element(text, x->dtype, x->data);
        return;
    }
    text_addf(text, "%s[", dtype_infos[x->dtype].name);
    for (uint32_t i = 0; i < x->rank; i++)
        text_addf(text, "%s%lld", i ? "," : "", (long long)x->shape[i]);
    text_add(text, STR("] ["));
    for (int64_t i = 0; i < count && (most == 0 || i < most); i++) {
        if (i != 0) text_add(text, STR(", "));
        put_element(text, x->dtype, (const uint8_t *)x->data + i * width);
    }
    text_add(text, most != 0 && count > most ? STR(", ...]") : STR("]"));
}

String text_printed(Arena *out, const World *world, OpId op, const Tensor *values, uint32_t count) {
    const uint64_t *attrs = op_attrs(world, &world->code, op);
    String          line = strings_get(&world->strings, (StrId){(uint32_t)attrs[ATTR_PRINT_text]});
    int64_t         most = (int64_t)attrs[ATTR_PRINT_most];
    uint32_t        next = 0;
    Text            text = text_begin(out);
    for (size_t i = 0, from = 0; i <= line.count; i++) {
        bool place = i + 1 < line.count && line.data[i] == '{' && line.data[i + 1] == '}';
        if (!place && i != line.count) continue;
        text_add(&text, (String){line.data + from, i - from});
        if (place && next < count) put_tensor(&text, &values[next++], most);
        from = i + 2;
        i += place;
    }
    for (; next < count; next++) {
        if (next != 0) text_add(&text, STR(", "));
        put_tensor(&text, &values[next], most);
    }
    return text_done(&text);
}
