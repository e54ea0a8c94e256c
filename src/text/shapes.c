/* Making the texts. Parts of a dim have smaller rows, so an explicit stack of rows whose parts are
 * still missing replaces recursion, and each row is rendered once. */
#include "text/shapes.h"

#include "text/names.h"

enum { FACTORS_MAX = 32, TERMS_MAX = 64 };

typedef struct Term {
    String   text; /* without the coefficient; empty for the constant term */
    int64_t  coef;
    uint32_t degree;
} Term;

ShapeTexts shapes_begin_dims(Arena *arena, const Dims *dims, const Strings *strings) {
    return (ShapeTexts){.table = dims,
                        .strings = strings,
                        .arena = arena,
                        .dims = ARENA_ARRAY_ZERO(arena, String, dims->rows.table.count)};
}
ShapeTexts shapes_begin(Arena *arena, const World *world) {
    ShapeTexts texts = shapes_begin_dims(arena, &world->dims, &world->strings);
    texts.owner = &world->types;
    texts.types = ARENA_ARRAY_ZERO(arena, String, world->types.types.table.count);
    return texts;
}

/* --- order ------------------------------------------------------------------------------------ */
static bool text_less(String a, String b) {
    size_t count = a.count < b.count ? a.count : b.count;
    int    order = count ? memcmp(a.data, b.data, count) : 0;
    return order != 0 ? order < 0 : a.count < b.count;
}
static bool term_less(const Term *a, const Term *b) {
    return a->degree != b->degree ? a->degree > b->degree : text_less(a->text, b->text);
}

/* --- rendering, parts known ------------------------------------------------------------------- */
static String mono_text(ShapeTexts *texts, uint32_t mono) {
    const Dims *dims = texts->table;
    uint32_t    count = dims->monos.count[mono], first = dims->monos.first[mono];
    String      factors[FACTORS_MAX];
    if (count > FACTORS_MAX) return STR("...");
    for (uint32_t i = 0; i < count; i++) {
        String   factor = texts->dims[dims->atoms.atom[first + i]];
        uint32_t at = i;
        for (; at > 0 && text_less(factor, factors[at - 1]); at--) factors[at] = factors[at - 1];
        factors[at] = factor;
    }
    if (count == 1) return factors[0];
    Text text = text_begin(texts->arena);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) text_add(&text, STR("*"));
        text_add(&text, factors[i]);
    }
    return text_done(&text);
}
static void add_term(Text *text, const Term *term, bool first) {
    char     digits[NAMES_DIGITS_MAX];
    uint64_t size = term->coef < 0 ? 0 - (uint64_t)term->coef : (uint64_t)term->coef;
    if (term->coef < 0)
        text_add(text, STR("-"));
    else if (!first)
        text_add(text, STR("+"));
    if (size != 1 || term->degree == 0)
        text_add(text, (String){digits, names_digits(digits, size)});
    if (size != 1 && term->degree != 0) text_add(text, STR("*"));
    text_add(text, term->text);
}
static String poly_text(ShapeTexts *texts, uint32_t row) {
    const Dims *dims = texts->table;
    uint32_t    first = dims->rows.lhs[row], count = dims->rows.rhs[row];
    Term        terms[TERMS_MAX];
    if (count > TERMS_MAX) return STR("...");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t mono = dims->terms.mono[first + i], at = i;
        Term     term = {.coef = dims->terms.coef[first + i], .degree = dims->monos.count[mono]};
        if (term.degree != 0) term.text = mono_text(texts, mono);
        for (; at > 0 && term_less(&term, &terms[at - 1]); at--) terms[at] = terms[at - 1];
        terms[at] = term;
    }
    Text text = text_begin(texts->arena);
    for (uint32_t i = 0; i < count; i++) add_term(&text, &terms[i], i == 0);
    return text_done(&text);
}
static String call_text(ShapeTexts *texts, const char *name, uint32_t row, bool ordered) {
    String lhs = texts->dims[texts->table->rows.lhs[row]];
    String rhs = texts->dims[texts->table->rows.rhs[row]];
    bool   swap = !ordered && text_less(rhs, lhs);
    String first = swap ? rhs : lhs, second = swap ? lhs : rhs;
    Text   text = text_begin(texts->arena);
    text_add(&text, str_of(name));
    text_add(&text, STR("("));
    text_add(&text, first);
    text_add(&text, STR(","));
    text_add(&text, second);
    text_add(&text, STR(")"));
    return text_done(&text);
}
static String render(ShapeTexts *texts, uint32_t row) {
    const DimRows *rows = &texts->table->rows;
    String         text = STR("?");
    switch ((DimKind)rows->kind[row]) {
    case DIM_CONST: text = str_format(texts->arena, "%lld", (long long)rows->imm[row]); break;
    case DIM_SYMBOL:
        text = strings_get(texts->strings, (StrId){(uint32_t)rows->imm[row]});
        if (!names_plain(text)) text = names_quote(texts->arena, text);
        break;
    case DIM_POLY: text = poly_text(texts, row); break;
    case DIM_FLOORDIV: text = call_text(texts, "floordiv", row, true); break;
    case DIM_MIN: text = call_text(texts, "min", row, false); break;
    case DIM_MAX: text = call_text(texts, "max", row, false); break;
    case DIM_LESS: text = call_text(texts, "less", row, true); break;
    default: break;
    }
    return text.count <= SHAPES_DIM_BYTES_MAX ? text : STR("...");
}

/* --- parts first ------------------------------------------------------------------------------ */
typedef struct Stack {
    Arena    *arena;
    uint32_t *rows;
    uint32_t  count, capacity;
} Stack;

static void stack_push(Stack *stack, uint32_t row) {
    stack->rows =
        arena_room(stack->arena, stack->rows, stack->count, &stack->capacity, sizeof *stack->rows);
    stack->rows[stack->count++] = row;
}
static void want(const ShapeTexts *texts, Stack *stack, uint32_t row, uint32_t part) {
    if (part < row && texts->dims[part].data == NULL) stack_push(stack, part);
}
/* Pushes the parts of a row that have no text yet. */
static void want_parts(const ShapeTexts *texts, Stack *stack, uint32_t row) {
    const Dims *dims = texts->table;
    uint32_t    lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    DimKind     kind = (DimKind)dims->rows.kind[row];
    if (kind >= DIM_FLOORDIV) {
        want(texts, stack, row, lhs);
        want(texts, stack, row, rhs);
    }
    for (uint32_t i = 0; kind == DIM_POLY && i < rhs; i++) {
        uint32_t mono = dims->terms.mono[lhs + i];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            want(texts, stack, row, dims->atoms.atom[dims->monos.first[mono] + k]);
    }
}

String shapes_dim(ShapeTexts *texts, DimId dim) {
    if (dim.row == 0 || dim.row >= texts->table->rows.table.count) return STR("?");
    if (texts->dims[dim.row].data != NULL) return texts->dims[dim.row];
    Scratch scratch = scratch_begin(&texts->arena, 1);
    Stack   stack = {.arena = scratch.arena};
    stack_push(&stack, dim.row);
    while (stack.count != 0) {
        uint32_t row = stack.rows[stack.count - 1], before = stack.count;
        if (texts->dims[row].data == NULL) want_parts(texts, &stack, row);
        if (stack.count != before) continue;
        if (texts->dims[row].data == NULL) texts->dims[row] = render(texts, row);
        stack.count--;
    }
    scratch_end(scratch);
    return texts->dims[dim.row];
}

static String shape_text(ShapeTexts *texts, String prefix, ShapeId shape) {
    const Types *types = texts->owner;
    uint32_t     rank = shape_rank(types, shape);
    const DimId *dims = shape_dims(types, shape);
    for (uint32_t i = 0; i < rank; i++)
        (void)shapes_dim(texts, dims[i]); /* the text must be last */
    Text text = text_begin(texts->arena);
    text_add(&text, prefix);
    for (uint32_t i = 0; i < rank; i++) {
        text_add(&text, i == 0 ? STR("[") : STR(","));
        text_add(&text, shapes_dim(texts, dims[i]));
    }
    if (rank != 0) text_add(&text, STR("]"));
    return text_done(&text);
}

String shapes_type(ShapeTexts *texts, TypeId type) {
    const Types *types = texts->owner;
    if (type.row == 0 || type.row >= types->types.table.count) return STR("?");
    String *text = &texts->types[type.row];
    if (text->data == NULL) {
        String dtype = str_of(dtype_infos[type_dtype(types, type)].name);
        *text = shape_text(texts, dtype, type_shape(types, type));
    }
    return *text;
}

/* --- one-off ---------------------------------------------------------------------------------- */
String text_dim(Arena *out, const World *world, DimId dim) {
    Scratch    scratch = scratch_begin(&out, 1);
    ShapeTexts texts = shapes_begin(scratch.arena, world);
    String     text = str_copy(out, shapes_dim(&texts, dim));
    scratch_end(scratch);
    return text;
}
String text_shape(Arena *out, const World *world, ShapeId shape) {
    if (shape.row == 0 || shape.row >= world->types.shapes.table.count) return STR("?");
    Scratch    scratch = scratch_begin(&out, 1);
    ShapeTexts texts = shapes_begin(scratch.arena, world);
    String     text = shape_text(&texts, (String){"", 0}, shape);
    text = str_copy(out, text.count != 0 ? text : STR("[]"));
    scratch_end(scratch);
    return text;
}
String text_type(Arena *out, const World *world, TypeId type) {
    Scratch    scratch = scratch_begin(&out, 1);
    ShapeTexts texts = shapes_begin(scratch.arena, world);
    String     text = str_copy(out, shapes_type(&texts, type));
    scratch_end(scratch);
    return text;
}
