/* Sizes, types, constants, attribute values and the facts of symbols. What stands in the source is
 * read once, from left to right; sizes are made in canonical form as they are read. */
#include <math.h>

#include "text/numbers.h"
#include "text/parse_inner.h"

bool parse_int(Parser *p, int64_t *out_number) {
    bool negative = parse_skip(p, '-');
    if (p->token.kind != TOKEN_NUMBER ||
        !numbers_parse_int(token_text(&p->token), negative, out_number))
        return parse_fail_expected(p, "an integer");
    parse_advance(p);
    return true;
}

/* --- sizes ------------------------------------------------------------------------------------
 * sum: product (('+'|'-') product)*   product: factor ('*' factor)*
 * factor: integer | symbol | name(sum, sum) | (sum) | -factor. Depth is limited. */
typedef DimId DimMaker(Dims *dims, DimId a, DimId b);

static bool parse_sum(Parser *p, uint32_t depth, DimId *out_dim);

static bool dim_made(Parser *p, const Token *at, DimId dim, DimId *out_dim) {
    *out_dim = dim;
    return dim_id_some(dim) ||
           parse_fail_dim(p, at, "is too complex, overflows or divides by a number below 1");
}
static DimMaker *dim_function(String name) {
    static const struct {
        const char *name;
        DimMaker   *maker;
    } functions[] = {{"floordiv", dims_floordiv}, {"ceildiv", dims_ceildiv}, {"mod", dims_mod},
                     {"min", dims_min},           {"max", dims_max},         {"less", dims_less}};
    for (size_t i = 0; i < LENGTH(functions); i++)
        if (str_same(name, str_of(functions[i].name))) return functions[i].maker;
    return NULL;
}
/* After a name, at '('. */
static bool parse_function(Parser *p, const Token *name, uint32_t depth, DimId *out_dim) {
    DimId     a, b;
    DimMaker *maker = dim_function(token_text(name));
    if (maker == NULL) return parse_fail_dim(p, name, "calls an unknown function");
    parse_advance(p);
    if (!parse_sum(p, depth + 1, &a)) return false;
    if (!parse_skip(p, ',')) return parse_fail_expected(p, "','");
    if (!parse_sum(p, depth + 1, &b)) return false;
    if (!parse_skip(p, ')')) return parse_fail_expected(p, "')'");
    return dim_made(p, name, maker(&p->world->dims, a, b), out_dim);
}
static bool parse_factor(Parser *p, uint32_t depth, DimId *out_dim) {
    Dims *dims = &p->world->dims;
    Token at = p->token;
    if (depth > PARSE_DEPTH_MAX) return parse_fail_limit(p, "nested sizes", PARSE_DEPTH_MAX);
    if (at.kind == TOKEN_NUMBER || at.kind == '-') {
        int64_t number;
        bool    negative = parse_skip(p, '-');
        if (p->token.kind == TOKEN_NUMBER) {
            if (!numbers_parse_int(token_text(&p->token), negative, &number))
                return parse_fail_expected(p, "an integer");
            parse_advance(p);
            return dim_made(p, &at, dims_const(dims, number), out_dim);
        }
        DimId factor;
        if (!parse_factor(p, depth + 1, &factor)) return false;
        return dim_made(p, &at, dims_sub(dims, dims_const(dims, 0), factor), out_dim);
    }
    if (parse_skip(p, '(')) {
        if (!parse_sum(p, depth + 1, out_dim)) return false;
        return parse_skip(p, ')') || parse_fail_expected(p, "')'");
    }
    if (at.kind != TOKEN_NAME && at.kind != TOKEN_STRING)
        return parse_fail_expected(p, "a size: an integer, a symbol or an expression");
    parse_advance(p);
    if (at.kind == TOKEN_NAME && p->token.kind == '(')
        return parse_function(p, &at, depth, out_dim);
    StrId name = parse_intern(p, &at);
    if (!str_id_some(name)) return parse_fail_dim(p, &at, "has an empty symbol");
    *out_dim = dims_symbol(dims, name);
    return true;
}
static bool parse_product(Parser *p, uint32_t depth, DimId *out_dim) {
    if (!parse_factor(p, depth, out_dim)) return false;
    while (p->token.kind == '*') {
        Token at = p->token;
        DimId factor;
        parse_advance(p);
        if (!parse_factor(p, depth, &factor)) return false;
        if (!dim_made(p, &at, dims_mul(&p->world->dims, *out_dim, factor), out_dim)) return false;
    }
    return true;
}
static bool parse_sum(Parser *p, uint32_t depth, DimId *out_dim) {
    if (!parse_product(p, depth, out_dim)) return false;
    while (p->token.kind == '+' || p->token.kind == '-') {
        Token     at = p->token;
        DimMaker *maker = at.kind == '+' ? dims_add : dims_sub;
        DimId     term;
        parse_advance(p);
        if (!parse_product(p, depth, &term)) return false;
        if (!dim_made(p, &at, maker(&p->world->dims, *out_dim, term), out_dim)) return false;
    }
    return true;
}
bool parse_dim(Parser *p, DimId *out_dim) { return parse_sum(p, 0, out_dim); }

/* --- types ------------------------------------------------------------------------------------ */
bool parse_type(Parser *p, TypeId *out_type) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = 0;
    if (p->token.kind != TOKEN_NAME) return parse_fail_expected(p, "a type");
    Dtype dtype = (Dtype)parse_word(p, token_text(&p->token))->dtype;
    if (dtype == DTYPE_NIL) return parse_fail_type(p);
    parse_advance(p);
    if (parse_skip(p, '[')) {
        while (p->token.kind != ']') {
            Token at = p->token;
            if (rank == SHAPE_RANK_MAX) return parse_fail_limit(p, "axes of a type", rank);
            if (!parse_dim(p, &dims[rank])) return false;
            if (dims_is_const(&p->world->dims, dims[rank]) &&
                dims_const_value(&p->world->dims, dims[rank]) < 0)
                return parse_fail_dim(p, &at, "is negative");
            rank++;
            if (!parse_skip(p, ',')) break;
        }
        if (!parse_skip(p, ']')) return parse_fail_expected(p, "']'");
    }
    *out_type = types_type(&p->world->types, dtype, types_shape(&p->world->types, dims, rank));
    return true;
}

/* --- constants -------------------------------------------------------------------------------- */
typedef struct ConstReader {
    Token    at;
    TypeId   type;
    Dtype    dtype;
    uint32_t width, count; /* bytes an element, elements read */
    uint64_t elements;     /* of the type */
    uint8_t *bytes;
} ConstReader;

static bool fail_const(Parser *p, const ConstReader *reader, const char *why) {
    return parse_fail_const(p, &reader->at, reader->type, why);
}

/* The number of elements; false when the type is not static or its bytes do not fit a payload. */
static bool static_elements(const World *world, TypeId type, uint64_t *out_elements) {
    uint64_t most = (uint64_t)1 << 31, elements = 1;
    for (uint32_t i = 0; i < type_rank(&world->types, type); i++) {
        DimId dim = type_dims(&world->types, type)[i];
        if (!dims_is_const(&world->dims, dim)) return false;
        uint64_t size = (uint64_t)dims_const_value(&world->dims, dim);
        if (__builtin_mul_overflow(elements, size, &elements) || elements > most) return false;
    }
    *out_elements = elements;
    return elements * dtype_bytes(type_dtype(&world->types, type)) <= most;
}

static bool read_int(Parser *p, ConstReader *reader, uint8_t *out) {
    static const int64_t least[] = {[DTYPE_U8] = 0,
                                    [DTYPE_I8] = INT8_MIN,
                                    [DTYPE_I16] = INT16_MIN,
                                    [DTYPE_I32] = INT32_MIN,
                                    [DTYPE_I64] = INT64_MIN};
    static const int64_t most[] = {[DTYPE_U8] = UINT8_MAX,
                                   [DTYPE_I8] = INT8_MAX,
                                   [DTYPE_I16] = INT16_MAX,
                                   [DTYPE_I32] = INT32_MAX,
                                   [DTYPE_I64] = INT64_MAX};
    int64_t              number;
    if (!parse_int(p, &number)) return false;
    if (number < least[reader->dtype] || number > most[reader->dtype])
        return fail_const(p, reader, "an element is out of range");
    memcpy(out, &number, reader->width); /* little-endian: the low bytes */
    return true;
}
static bool read_float(Parser *p, double *out_number) {
    bool   negative = parse_skip(p, '-');
    double number = parse_is_name(p, STR("inf")) ? (double)INFINITY : (double)NAN;
    bool   word = isinf(number) || parse_is_name(p, STR("nan"));
    if (word && negative) number = -number;
    if (!word &&
        (p->token.kind != TOKEN_NUMBER || !numbers_parse(token_text(&p->token), negative, &number)))
        return parse_fail_expected(p, "a number");
    parse_advance(p);
    *out_number = number;
    return true;
}
static bool read_element(Parser *p, ConstReader *reader) {
    uint8_t *out = reader->bytes + (size_t)reader->count * reader->width;
    double   number;
    reader->at = p->token;
    if (dtype_is_int(reader->dtype)) return read_int(p, reader, out);
    if (reader->dtype == DTYPE_BOOL) {
        bool on = parse_is_name(p, STR("true"));
        if (!on && !parse_is_name(p, STR("false"))) return parse_fail_expected(p, "true or false");
        parse_advance(p);
        *out = on;
        return true;
    }
    if (!read_float(p, &number)) return false;
    if (const_encode(reader->dtype, number, out) == 0)
        return fail_const(p, reader, "this element type is written as 0x and bytes");
    if (isfinite(number) && !isfinite(const_decode(reader->dtype, out)))
        return fail_const(p, reader, "an element is out of range");
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
static bool read_hex(Parser *p, ConstReader *reader) {
    String text = token_text(&p->token);
    size_t bytes = (size_t)reader->elements * reader->width;
    if (text.count - 2 != bytes * 2) return fail_const(p, reader, "the number of bytes is wrong");
    reader->bytes = ARENA_ARRAY(p->arena, uint8_t, bytes);
    for (size_t i = 0; i < bytes; i++) {
        int high = hex_digit(text.data[2 + 2 * i]), low = hex_digit(text.data[3 + 2 * i]);
        if (high < 0 || low < 0) return fail_const(p, reader, "a hexadecimal digit is wrong");
        reader->bytes[i] = (uint8_t)(high * 16 + low);
    }
    reader->count = (uint32_t)reader->elements;
    parse_advance(p);
    return true;
}
static bool read_elements(Parser *p, ConstReader *reader) {
    bool   scalar = type_rank(&p->world->types, reader->type) == 0;
    size_t room = (size_t)(p->lexer.end - p->lexer.at) + 1; /* an element takes a byte at least */
    if (reader->elements > room) return fail_const(p, reader, "there are too few elements");
    reader->bytes = ARENA_ARRAY(p->arena, uint8_t, reader->elements * reader->width);
    if (scalar) {
        if (!read_element(p, reader)) return false;
        reader->count = 1;
        return true;
    }
    if (!parse_skip(p, '[')) return parse_fail_expected(p, "'[' or 0x and bytes");
    while (p->token.kind != ']') {
        if (reader->count == reader->elements)
            return fail_const(p, reader, "there are too many elements");
        if (!read_element(p, reader)) return false;
        reader->count++;
        if (!parse_skip(p, ',')) break;
    }
    if (!parse_skip(p, ']')) return parse_fail_expected(p, "']'");
    return reader->count == reader->elements || fail_const(p, reader, "there are too few elements");
}
static bool parse_const(Parser *p, uint64_t *out_word) {
    ConstReader reader = {.at = p->token};
    if (!parse_type(p, &reader.type)) return false;
    reader.dtype = type_dtype(&p->world->types, reader.type);
    reader.width = dtype_bytes(reader.dtype);
    if (!static_elements(p->world, reader.type, &reader.elements))
        return fail_const(p, &reader, "the shape must be static, with at most 2 GiB");
    bool hex = p->token.kind == TOKEN_NUMBER && str_starts(token_text(&p->token), STR("0x"));
    if (hex ? !read_hex(p, &reader) : !read_elements(p, &reader)) return false;
    uint32_t bytes = reader.count * reader.width;
    *out_word = consts_add(&p->world->consts, reader.type, reader.bytes, bytes).row;
    return true;
}

/* --- attributes ------------------------------------------------------------------------------- */
static bool parse_enum(Parser *p, const AttrInfo *attr, uint64_t *out_word) {
    const char *const *names = attr_enum_names(attr->kind);
    for (uint32_t i = 0; p->token.kind == TOKEN_NAME && names[i] != NULL; i++) {
        if (!str_same(token_text(&p->token), str_of(names[i]))) continue;
        *out_word = i;
        parse_advance(p);
        return true;
    }
    return parse_fail_attr_kind(p, attr);
}
static bool parse_string(Parser *p, const AttrInfo *attr, uint64_t *out_word) {
    if (p->token.kind != TOKEN_STRING) return parse_fail_attr_kind(p, attr);
    *out_word = parse_intern(p, &p->token).row;
    parse_advance(p);
    return true;
}
static bool parse_item(Parser *p, const AttrInfo *attr, int64_t *out_number) {
    uint64_t word = 0;
    DimId    dim;
    if (attr->kind == ATTR_INTS) return parse_int(p, out_number);
    if (attr->kind == ATTR_DIMS) {
        if (!parse_dim(p, &dim)) return false;
        word = dim.row;
    } else if (!parse_string(p, attr, &word))
        return false;
    *out_number = (int64_t)word;
    return true;
}
static bool parse_list(Parser *p, const AttrInfo *attr, uint64_t *out_word) {
    int64_t  numbers[LIST_MAX];
    uint32_t count = 0;
    if (!parse_skip(p, '[')) return parse_fail_attr_kind(p, attr);
    while (p->token.kind != ']') {
        if (count == LIST_MAX) return parse_fail_limit(p, "entries of a list", LIST_MAX);
        if (!parse_item(p, attr, &numbers[count++])) return false;
        if (!parse_skip(p, ',')) break;
    }
    if (!parse_skip(p, ']')) return parse_fail_expected(p, "']'");
    *out_word = attrs_list(&p->world->attrs, numbers, count).row;
    return true;
}
static bool parse_bool(Parser *p, const AttrInfo *attr, uint64_t *out_word) {
    *out_word = parse_is_name(p, STR("true"));
    if (*out_word == 0 && !parse_is_name(p, STR("false"))) return parse_fail_attr_kind(p, attr);
    parse_advance(p);
    return true;
}
static bool parse_dtype(Parser *p, const AttrInfo *attr, uint64_t *out_word) {
    if (p->token.kind != TOKEN_NAME) return parse_fail_attr_kind(p, attr);
    *out_word = parse_word(p, token_text(&p->token))->dtype;
    if (*out_word == DTYPE_NIL) return parse_fail_type(p);
    parse_advance(p);
    return true;
}
bool parse_attr_value(Parser *p, const AttrInfo *attr, uint64_t *out_word) {
    int64_t number = 0;
    double  real = 0;
    TypeId  type = {0};
    DimId   dim = {0};
    bool    good;
    if (attr_enum_names(attr->kind) != NULL) return parse_enum(p, attr, out_word);
    switch (attr->kind) {
    case ATTR_INT:
        good = parse_int(p, &number);
        *out_word = (uint64_t)number;
        return good;
    case ATTR_FLOAT:
        good = read_float(p, &real);
        *out_word = word_of_f64(real);
        return good;
    case ATTR_TYPE:
        good = parse_type(p, &type);
        *out_word = type.row;
        return good;
    case ATTR_DIM:
        good = parse_dim(p, &dim);
        *out_word = dim.row;
        return good;
    case ATTR_BOOL: return parse_bool(p, attr, out_word);
    case ATTR_STR: return parse_string(p, attr, out_word);
    case ATTR_DTYPE: return parse_dtype(p, attr, out_word);
    case ATTR_CONST: return parse_const(p, out_word);
    default: return parse_list(p, attr, out_word);
    }
}

/* --- facts ------------------------------------------------------------------------------------ */
typedef struct Facts {
    int64_t lo, hi, multiple, rest, hint;
    bool    range, congruence;
} Facts;

static bool parse_range(Parser *p, Facts *facts) {
    facts->range = true;
    if (p->token.kind == TOKEN_NUMBER && !parse_int(p, &facts->lo)) return false;
    if (p->token.kind != TOKEN_RANGE) return parse_fail_expected(p, "'..'");
    parse_advance(p);
    return p->token.kind != TOKEN_NUMBER || parse_int(p, &facts->hi);
}
static bool parse_fact(Parser *p, Facts *facts) {
    static const char *const names[] = {"range", "multiple", "rest", "hint"};
    int64_t                 *numbers[] = {NULL, &facts->multiple, &facts->rest, &facts->hint};
    for (uint32_t i = 0; i < LENGTH(names); i++) {
        if (!parse_is_name(p, str_of(names[i]))) continue;
        parse_advance(p);
        if (!parse_skip(p, '=')) return parse_fail_expected(p, "'='");
        if (numbers[i] == NULL) return parse_range(p, facts);
        facts->congruence |= i < 3;
        return parse_int(p, numbers[i]);
    }
    return parse_fail_expected(p, "a fact: range, multiple, rest or hint");
}
static bool set_facts(Parser *p, const Token *at, DimId dim, const Facts *facts) {
    Dims *dims = &p->world->dims;
    if (dims->rows.kind[dim.row] != DIM_SYMBOL)
        return parse_fail_fact(p, at, "only symbols have facts");
    if (facts->lo < 0 || facts->hi > DIM_SIZE_MAX || facts->lo > facts->hi)
        return parse_fail_fact(p, at, "the range is empty or leaves 0..2^40");
    if (facts->multiple < 1 || facts->rest < 0 || facts->rest >= facts->multiple)
        return parse_fail_fact(p, at, "multiple is 1 or more, and rest below it");
    if (facts->hint < 0 || facts->hint > DIM_SIZE_MAX)
        return parse_fail_fact(p, at, "the hint is not a size");
    if ((facts->range && !dims_set_range(dims, dim, facts->lo, facts->hi)) ||
        (facts->congruence && !dims_set_congruence(dims, dim, facts->multiple, facts->rest)))
        return parse_fail_fact(p, at, "no number has this and what is known already");
    if (facts->hint != 0) dims_set_hint(dims, dim, facts->hint);
    return true;
}
typedef struct Place { /* in the text */
    Lexer    lexer;
    Token    token;
    uint32_t last_line;
} Place;
static Place place_of(const Parser *p) { return (Place){p->lexer, p->token, p->last_line}; }
static void  restore(Parser *p, const Place *place) {
     p->lexer = place->lexer;
     p->token = place->token;
     p->last_line = place->last_line;
}
/* An equality lets the younger row stand for the older one (dims_equate), so the right side is made
 * first: N = B*T makes N another name of B*T. At the left side; '=' is known to follow. */
static bool parse_equality(Parser *p) {
    Dims *dims = &p->world->dims;
    Token at = p->token;
    Place left = place_of(p);
    DimId dim, other;
    while (p->token.kind != '=') parse_advance(p);
    parse_advance(p);
    if (!parse_dim(p, &other)) return false;
    Place right = place_of(p);
    restore(p, &left);
    if (!parse_dim(p, &dim)) return false;
    if (p->token.kind != '=') return parse_fail_expected(p, "'='");
    restore(p, &right);
    return dims_equate(dims, other, dim) ||
           parse_fail_fact(p, &at, "the two sizes can never be equal");
}
/* Whether '=' comes before the name of a fact, which is a name right after an operand. */
static bool at_equality(const Parser *p) {
    Lexer    ahead = p->lexer;
    Token    next = p->token;
    uint16_t before = 0;
    while (next.line == p->token.line && next.kind != TOKEN_END && next.kind != '=') {
        bool operand = before == TOKEN_NAME || before == TOKEN_NUMBER || before == TOKEN_STRING ||
                       before == ')';
        if (operand && next.kind == TOKEN_NAME) return false;
        before = next.kind;
        lex_next(&ahead, &next);
    }
    return next.kind == '=' && next.line == p->token.line;
}
/* Facts end where the next line begins. */
bool parse_fact_line(Parser *p) {
    Facts facts = {.hi = DIM_SIZE_MAX, .multiple = 1};
    DimId dim;
    Token at = p->token;
    if (at_equality(p)) return parse_equality(p);
    if (!parse_dim(p, &dim)) return false;
    bool any = false;
    while (p->token.kind == TOKEN_NAME && p->token.line == at.line) {
        any = true;
        if (!parse_fact(p, &facts)) return false;
    }
    if (!any) return parse_fail_expected(p, "a fact: range, multiple, rest or hint");
    return set_facts(p, &at, dim, &facts);
}
