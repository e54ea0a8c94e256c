/* The schema table, expanded from opcodes.def, and lookups by name. It is constant data: nothing
 * is built at run time.
 *
 * Positions of attributes are enumerators (ATTR_REDUCE_axes) of the same list. */
#include "tables/schema.h"

#include "arena/hash.h"
#include "tables/infer.h"

#define PURE        OP_PURE
#define COMMUTES    OP_COMMUTES
#define ELEMENTWISE OP_ELEMENTWISE
#define ZERO_GRAD   OP_ZERO_GRAD
#define VIEW        OP_VIEW
#define EFFECT      OP_EFFECT
#define TERMINATOR  OP_TERMINATOR
#define BLOCKS      OP_BLOCKS
#define STATE       OP_STATE
#define EXPANDS     OP_EXPANDS
#define DERIVES     OP_DERIVES
#define INPLACE     OP_INPLACE
#define AUX         OP_AUX
#define DERIVED     OP_DERIVED
#define LATE        OP_LATE
#define PRODUCT     OP_PRODUCT
#define MANY        OP_MANY
#define ANY         OP_ANY
#define REQUIRED    (-1e300)

#define ATTRS(...) (__VA_ARGS__)
#define A(NAME, attr, attr_kind, preset, text)                                                     \
    {.name = #attr,                                                                                \
     .doc = text,                                                                                  \
     .kind = ATTR_##attr_kind,                                                                     \
     .required = (preset) < -1e299,                                                                \
     .value = (preset)},
#define OPCODE(NAME, text, min, max, outs_count, bits, rule, ins, out_names, list, about)          \
    [OP_##NAME] = {                                                                                \
        .name = text,                                                                              \
        .operands_min = min,                                                                       \
        .operands_max = max,                                                                       \
        .results = outs_count,                                                                     \
        .flags = (uint16_t)(bits),                                                                 \
        .infer = infer_##rule,                                                                     \
        .operands = ins,                                                                           \
        .outs = out_names,                                                                         \
        .attrs = {SCHEMA_UNPACK list{0}},                                                          \
        .attrs_count = sizeof((const AttrInfo[]){SCHEMA_UNPACK list{0}}) / sizeof(AttrInfo) - 1,   \
        .doc = about,                                                                              \
    },

const OpInfo op_infos[OP_COUNT] = {
    [OP_NIL] =
        {.name = "nil", .operands = "", .outs = "", .infer = infer_none, .doc = "no operator"},
#include "tables/opcodes.def"
};

const char *const *attr_enum_names(AttrKind kind) {
    /* ORDER ReduceKind, CompareKind, ScatterKind, FftKind, InitKind */
    static const char *const reduce[REDUCE_KIND_COUNT + 1] = {"sum", "prod", "max",    "min",
                                                              "and", "or",   "argmax", "argmin"};
    static const char *const compare[COMPARE_KIND_COUNT + 1] = {"eq", "ne", "lt", "le", "gt", "ge"};
    static const char *const scatter[SCATTER_KIND_COUNT + 1] = {"set", "add", "mul", "min", "max"};
    static const char *const fft[FFT_KIND_COUNT + 1] = {"forward", "inverse", "real_forward",
                                                        "real_inverse"};
    static const char *const init[INIT_KIND_COUNT + 1] = {"zeros", "ones", "normal", "uniform",
                                                          "fill"};
    switch (kind) {
    case ATTR_REDUCE: return reduce;
    case ATTR_COMPARE: return compare;
    case ATTR_SCATTER: return scatter;
    case ATTR_FFT: return fft;
    case ATTR_INIT: return init;
    default: return NULL;
    }
}

/* A linear search: used by the parser once per operator, against about 130 names. */
Opcode opcode_find(String name) {
    for (int opcode = 1; opcode < OP_COUNT; opcode++)
        if (str_same(name, str_of(op_infos[opcode].name))) return (Opcode)opcode;
    return OP_NIL;
}

int op_attr_find(Opcode opcode, String name) {
    for (uint32_t i = 0; i < op_infos[opcode].attrs_count; i++)
        if (str_same(name, str_of(op_infos[opcode].attrs[i].name))) return (int)i;
    return -1;
}

uint64_t attr_default_word(const AttrInfo *attr) {
    if (attr->required) return 0;
    return attr->kind == ATTR_FLOAT ? word_of_f64(attr->value) : (uint64_t)(int64_t)attr->value;
}

/* Where rules with one result that see types and attributes only, and do more than compare types,
 * keep what they said; NULL for others. */
static Inferred *inferred_slot(const InferCtx *ctx, const Inferred *key) {
    uint16_t flags = op_infos[ctx->opcode].flags & (OP_PURE | OP_ELEMENTWISE | OP_BLOCKS);
    if (flags != OP_PURE || ctx->operands_count > INFERRED_OPERANDS || ctx->results_count != 1)
        return NULL;
    uint64_t hash = hash_mix((uint64_t)key->opcode << 32 | key->attrs.row,
                             (uint64_t)key->operands[0].row << 32 | key->operands[1].row);
    hash ^= key->operands[2].row * 0x9E3779B1u;
    return &ctx->world->inferred[(hash ^ hash >> 32) % INFERRED_COUNT];
}

void schema_infer(InferCtx *ctx) {
    ASSERT(ctx->opcode > OP_NIL && ctx->opcode < OP_COUNT);
    Inferred key = {.opcode = ctx->opcode, .epoch = ctx->world->dims.epoch, .attrs = ctx->record};
    for (uint32_t i = 0; i < ctx->operands_count; i++) {
        TypeId type = ctx->code->values.type[ctx->operands[i].row];
        if (!type_id_some(type)) return;
        if (i < INFERRED_OPERANDS) key.operands[i] = type;
    }
    Inferred *slot = inferred_slot(ctx, &key);
    if (slot != NULL && memcmp(slot, &key, offsetof(Inferred, result)) == 0) {
        ctx->out_types[0] = slot->result;
        return;
    }
    ctx->attrs = attrs_words(&ctx->world->attrs, ctx->record);
    uint32_t asked = ctx->world->checks.asked;
    op_infos[ctx->opcode].infer(ctx);
    if (asked != ctx->world->checks.asked) return; /* the next one asks for itself */
    if (slot == NULL || !type_id_some(ctx->out_types[0])) return;
    key.result = ctx->out_types[0];
    *slot = key;
}
