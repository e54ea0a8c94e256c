/* Printing. Bytes go to a small buffer first, which is emptied into the growing text: an append of
 * a few bytes is then a copy and an add. Texts of types, dims (shapes.h) and attribute records are
 * made once each, names are a base and a number (names.h). Linear in the rows; no row is searched
 * for. */
#include "text/print.h"

#include <math.h>

#include "tables/infer.h"
#include "text/names.h"
#include "text/numbers.h"
#include "text/shapes.h"
#include "text/walk.h"

enum { BUFFER_BYTES = 8192, LIST_ELEMENTS_MAX = 64, INDENT = 2, SHORT_BYTES = 32 };

typedef struct ShortText { /* copied whole, which is faster than by length */
    char     bytes[SHORT_BYTES];
    uint32_t count;
} ShortText;
typedef struct RecordText { /* " {axes=[1]}" as the opcode prints it that asked last */
    String   text;
    uint32_t opcode;
} RecordText;

typedef struct Printer {
    const World *world;
    const Code  *code;
    Text         text;
    ShapeTexts   shapes;
    Names        names;
    TextOptions  options;
    RecordText  *records; /* by AttrsId row */
    ShortText    opcodes[OP_COUNT];
    uint32_t     used; /* of buffer */
    char         buffer[BUFFER_BYTES + SHORT_BYTES];
} Printer;

/* --- bytes ------------------------------------------------------------------------------------ */
static void flush(Printer *p) {
    text_add(&p->text, (String){p->buffer, p->used});
    p->used = 0;
}
static void put(Printer *p, String s) {
    if (s.count > BUFFER_BYTES - p->used) flush(p);
    if (s.count > BUFFER_BYTES)
        text_add(&p->text, s);
    else {
        memcpy(p->buffer + p->used, s.data, s.count);
        p->used += (uint32_t)s.count;
    }
}
static void put_char(Printer *p, char c) {
    if (p->used == BUFFER_BYTES) flush(p);
    p->buffer[p->used++] = c;
}
static void put_opcode(Printer *p, uint32_t opcode) {
    if (p->used > BUFFER_BYTES - SHORT_BYTES) flush(p);
    memcpy(p->buffer + p->used, p->opcodes[opcode].bytes, SHORT_BYTES);
    p->used += p->opcodes[opcode].count;
}
static void put_int(Printer *p, int64_t number) {
    if (p->used > BUFFER_BYTES - NUMBERS_TEXT_MAX) flush(p);
    p->used += numbers_print_int(p->buffer + p->used, number);
}
static void put_float(Printer *p, double number, bool single) {
    char text[NUMBERS_TEXT_MAX];
    put(p, (String){text, numbers_print(text, number, single)});
}
static void put_indent(Printer *p, uint32_t depth) {
    for (uint32_t i = 0; i < depth * INDENT; i++) put_char(p, ' ');
}
static void put_quoted(Printer *p, String s) {
    put(p, names_quote(p->shapes.arena, s)); /* lives until the printer ends; quotes are rare */
}
static void put_name(Printer *p, String name) {
    if (names_plain(name))
        put(p, name);
    else
        put_quoted(p, name);
}
static void put_value(Printer *p, ValueId value) {
    uint32_t number = p->names.number[value.row];
    StrId    name = p->code->values.name[value.row];
    OpId     op = value_op(p->code, value);
    put_char(p, '%');
    if (!str_id_some(name) && op_id_some(op))
        put_opcode(p, p->code->ops.opcode[op.row]);
    else {
        String base = names_base(p->world, p->code, value);
        if (!names_plain(base)) {
            put(p, names_text(p->shapes.arena, &p->names, value));
            return;
        }
        put(p, base);
    }
    if (number == 0) return;
    put_char(p, '.');
    put_int(p, number);
}
static void put_type(Printer *p, TypeId type) { put(p, shapes_type(&p->shapes, type)); }

/* --- constants -------------------------------------------------------------------------------- */
/* Whether an element reads back from its number: not so NaNs other than the common quiet one. */
static bool element_plain(Dtype dtype, const uint8_t *element) {
    uint8_t common[16];
    double  number = const_decode(dtype, element);
    if (!isnan(number)) return true;
    uint32_t bytes = const_encode(dtype, (double)NAN, common);
    return bytes != 0 && memcmp(common, element, bytes) == 0;
}
static bool payload_plain(Dtype dtype, const uint8_t *bytes, uint32_t count) {
    uint32_t width = dtype_bytes(dtype);
    bool     is_float = dtype_is_float(dtype);
    if (width == 0 || count > LIST_ELEMENTS_MAX * width) return false;
    if (dtype_is_complex(dtype) || (is_float && width == 1)) return false; /* no decimal form yet */
    for (uint32_t at = 0; at < count; at += width) {
        if (is_float && !element_plain(dtype, bytes + at)) return false;
        if (dtype == DTYPE_BOOL && bytes[at] > 1) return false;
    }
    return true;
}
static void put_element(Printer *p, Dtype dtype, const uint8_t *element) {
    int64_t wide;
    if (dtype == DTYPE_BOOL)
        put(p, element[0] ? STR("true") : STR("false"));
    else if (dtype == DTYPE_I64) {
        memcpy(&wide, element, sizeof wide);
        put_int(p, wide);
    } else if (dtype_is_float(dtype)) {
        put_float(p, const_decode(dtype, element), dtype != DTYPE_F64);
    } else
        put_int(p, (int64_t)const_decode(dtype, element));
}
static void put_hex(Printer *p, const uint8_t *bytes, uint32_t count) {
    static const char digits[] = "0123456789abcdef";
    put(p, STR("0x"));
    for (uint32_t i = 0; i < count; i++) {
        put_char(p, digits[bytes[i] >> 4]);
        put_char(p, digits[bytes[i] & 15]);
    }
}
static void put_const(Printer *p, ConstId id) {
    const Consts *consts = &p->world->consts;
    if (id.row == 0 || id.row >= consts->rows.table.count) {
        put_char(p, '?');
        return;
    }
    TypeId         type = consts->rows.type[id.row];
    Dtype          dtype = type_dtype(&p->world->types, type);
    const uint8_t *bytes = consts_bytes(consts, id);
    uint32_t       count = consts->rows.count[id.row], width = dtype_bytes(dtype);
    bool           scalar = type_rank(&p->world->types, type) == 0;
    put_type(p, type);
    put_char(p, ' ');
    if (!payload_plain(dtype, bytes, count)) {
        put_hex(p, bytes, count);
        return;
    }
    if (!scalar) put_char(p, '[');
    for (uint32_t at = 0; at < count; at += width) {
        if (at != 0) put(p, STR(", "));
        put_element(p, dtype, bytes + at);
    }
    if (!scalar) put_char(p, ']');
}

/* --- attributes ------------------------------------------------------------------------------- */
static void put_str(Printer *p, uint64_t row) {
    put_quoted(p, strings_get(&p->world->strings, (StrId){(uint32_t)row}));
}
static void put_item(Printer *p, AttrKind kind, int64_t number) {
    if (kind == ATTR_DIMS)
        put(p, shapes_dim(&p->shapes, (DimId){(uint32_t)number}));
    else if (kind == ATTR_STRS)
        put_str(p, (uint64_t)number);
    else
        put_int(p, number);
}
static void put_list(Printer *p, AttrKind kind, ListId list) {
    const int64_t *numbers = list_numbers(&p->world->attrs, list);
    put_char(p, '[');
    for (uint32_t i = 0; i < list_count(&p->world->attrs, list); i++) {
        if (i != 0) put(p, STR(", "));
        put_item(p, kind, numbers[i]);
    }
    put_char(p, ']');
}
static void put_attr_value(Printer *p, AttrKind kind, uint64_t word) {
    const char *const *names = attr_enum_names(kind);
    if (names != NULL) {
        put(p, str_of(names[word]));
        return;
    }
    switch (kind) {
    case ATTR_INT: put_int(p, (int64_t)word); break;
    case ATTR_FLOAT: put_float(p, word_f64(word), false); break;
    case ATTR_BOOL: put(p, word ? STR("true") : STR("false")); break;
    case ATTR_STR: put_str(p, word); break;
    case ATTR_DTYPE: put(p, str_of(dtype_infos[word].name)); break;
    case ATTR_TYPE: put_type(p, (TypeId){(uint32_t)word}); break;
    case ATTR_DIM: put(p, shapes_dim(&p->shapes, (DimId){(uint32_t)word})); break;
    case ATTR_CONST: put_const(p, (ConstId){(uint32_t)word}); break;
    default: put_list(p, kind, (ListId){(uint32_t)word}); break;
    }
}
static void put_new_attrs(Printer *p, AttrsId record, const OpInfo *info) {
    const uint64_t *words = attrs_words(&p->world->attrs, record);
    uint32_t        count = attrs_count(&p->world->attrs, record);
    bool            open = false;
    for (uint32_t i = 0; i < count && i < info->attrs_count; i++) {
        const AttrInfo *attr = &info->attrs[i];
        if (!attr->required && words[i] == attr_default_word(attr)) continue;
        put(p, open ? STR(", ") : STR(" {"));
        open = true;
        put(p, str_of(attr->name));
        put_char(p, '=');
        put_attr_value(p, attr->kind, words[i]);
    }
    if (open) put_char(p, '}');
}
static void put_attrs(Printer *p, OpId op) {
    AttrsId     record = p->code->ops.attrs[op.row];
    uint32_t    opcode = p->code->ops.opcode[op.row];
    RecordText *text = &p->records[record.row];
    if (text->opcode != opcode) {
        uint32_t from = p->used;
        size_t   flushed = p->text.count;
        put_new_attrs(p, record, &op_infos[opcode]);
        if (p->text.count != flushed) return; /* the next row will keep it */
        text->text = str_copy(p->shapes.arena, (String){p->buffer + from, p->used - from});
        text->opcode = opcode;
    } else
        put(p, text->text);
}

/* --- operators and blocks --------------------------------------------------------------------- */
static void put_result_types(Printer *p, OpId op) {
    uint32_t count = p->code->ops.results_count[op.row];
    for (uint32_t i = 0; i < count; i++)
        if (!type_id_some(p->code->values.type[op_result(p->code, op, i).row])) return;
    for (uint32_t i = 0; i < count; i++) {
        put(p, i == 0 ? STR(" : ") : STR(", "));
        put_type(p, p->code->values.type[op_result(p->code, op, i).row]);
    }
}
static void put_op(Printer *p, OpId op, uint32_t depth) {
    const Ops     *ops = &p->code->ops;
    const OpInfo  *info = op_info(p->code, op);
    const ValueId *operands = op_operands(p->code, op);
    put_indent(p, depth);
    for (uint32_t i = 0; i < ops->results_count[op.row]; i++) {
        if (i != 0) put(p, STR(", "));
        put_value(p, op_result(p->code, op, i));
    }
    if (ops->results_count[op.row] != 0) put(p, STR(" = "));
    put_opcode(p, ops->opcode[op.row]);
    for (uint32_t i = 0; i < ops->operands_count[op.row]; i++) {
        put(p, i == 0 ? STR(" ") : STR(", "));
        put_value(p, operands[i]);
    }
    if (info->attrs_count != 0) put_attrs(p, op);
    if (p->options.types || info->infer == infer_control) put_result_types(p, op);
    if (ops->blocks_count[op.row] == 0) put_char(p, '\n');
}
static void put_args(Printer *p, BlockId block) {
    const Blocks *blocks = &p->code->blocks;
    put_char(p, '(');
    for (uint32_t i = 0; i < blocks->args_count[block.row]; i++) {
        ValueId value = {blocks->args_first[block.row].row + i};
        if (i != 0) put(p, STR(", "));
        put_value(p, value);
        put(p, STR(": "));
        put_type(p, p->code->values.type[value.row]);
    }
    put(p, STR(") "));
}
static void put_graph(Printer *p, GraphId graph) {
    Walk      walk;
    WalkEvent event;
    BlockId   body = p->code->graphs.block[graph.row];
    if (p->used != 0 || p->text.count != 0) put_char(p, '\n');
    put(p, STR("graph "));
    put_name(p, strings_get(&p->world->strings, p->code->graphs.name[graph.row]));
    put_args(p, body);
    put(p, STR("{\n"));
    walk_begin(&walk, p->code, body);
    while ((event = walk_next(&walk)) != WALK_END) {
        if (event == WALK_OP) put_op(p, walk.op, walk.depth);
        if (event == WALK_ENTER) {
            put_char(p, ' ');
            if (p->code->blocks.args_count[walk.block.row] != 0) put_args(p, walk.block);
            put(p, STR("{\n"));
        }
        if (event == WALK_LEAVE) {
            put_indent(p, walk.depth);
            put(p, walk.last ? STR("}\n") : STR("}"));
        }
    }
    put(p, STR("}\n"));
}

/* --- facts of symbols ------------------------------------------------------------------------- */
static void put_facts(Printer *p, uint32_t row) {
    const DimRows *rows = &p->world->dims.rows;
    bool           low = rows->lo[row] != 0, high = rows->hi[row] != DIM_SIZE_MAX;
    if (low || high) put(p, STR(" range="));
    if (low || high) put_int(p, rows->lo[row]);
    if (low || high) put(p, STR(".."));
    if (high) put_int(p, rows->hi[row]);
    if (rows->modulus[row] != 1) {
        put(p, STR(" multiple="));
        put_int(p, rows->modulus[row]);
    }
    if (rows->residue[row] != 0) {
        put(p, STR(" rest="));
        put_int(p, rows->residue[row]);
    }
    if (rows->hint[row] != 0) {
        put(p, STR(" hint="));
        put_int(p, rows->hint[row]);
    }
}
/* Equalities first: `dim N = B*T` takes effect where N is new (parse_equality). */
static void put_dims(Printer *p) {
    const DimRows *rows = &p->world->dims.rows;
    for (uint32_t row = 1; row < rows->table.count; row++) {
        uint32_t root = rows->same_as[row];
        if (root == 0) continue;
        while (rows->same_as[root] != 0) root = rows->same_as[root];
        put(p, STR("dim "));
        put(p, shapes_dim(&p->shapes, (DimId){row}));
        put(p, STR(" = "));
        put(p, shapes_dim(&p->shapes, (DimId){root}));
        put_char(p, '\n');
    }
    for (uint32_t row = 1; row < rows->table.count; row++) {
        bool facts = rows->lo[row] != 0 || rows->hi[row] != DIM_SIZE_MAX ||
                     rows->modulus[row] != 1 || rows->hint[row] != 0;
        if (rows->kind[row] != DIM_SYMBOL || !facts) continue;
        put(p, STR("dim "));
        put(p, shapes_dim(&p->shapes, (DimId){row}));
        put_facts(p, row);
        put_char(p, '\n');
    }
}

String text_print(Arena *out, const World *world, TextOptions options) {
    Scratch  scratch = scratch_begin(&out, 1);
    Printer *p = ARENA_ARRAY(scratch.arena, Printer, 1);
    p->world = world;
    p->code = &world->code;
    p->options = options;
    p->used = 0;
    p->shapes = shapes_begin(scratch.arena, world);
    p->names = names_make(scratch.arena, world, p->code, options.graph);
    p->text = text_begin(out);
    p->records = ARENA_ARRAY_ZERO(scratch.arena, RecordText, world->attrs.records.runs.table.count);
    for (uint32_t i = 0; i < OP_COUNT; i++) {
        String name = str_of(op_infos[i].name);
        ASSERT(name.count <= SHORT_BYTES);
        memcpy(p->opcodes[i].bytes, name.data, name.count);
        p->opcodes[i].count = (uint32_t)name.count;
    }
    if (!options.bare) {
        put(p, STR("stoa "));
        put_int(p, TEXT_VERSION);
        put_char(p, '\n');
    }
    if (!graph_id_some(options.graph)) put_dims(p);
    uint32_t first = graph_id_some(options.graph) ? options.graph.row : 1;
    uint32_t last = graph_id_some(options.graph) ? first + 1 : p->code->graphs.table.count;
    for (uint32_t row = first; row < last; row++) put_graph(p, (GraphId){row});
    flush(p);
    String text = text_done(&p->text);
    scratch_end(scratch);
    return text;
}
