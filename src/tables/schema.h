/* The operator schema as data: one OpInfo row per opcode, expanded from opcodes.def.
 *
 * Everything that treats operators alike (printer, parser, verifier, builders, reference pages,
 * systems) reads it. */
#ifndef STOA_TABLES_SCHEMA_H
#define STOA_TABLES_SCHEMA_H

#include "tables/world.h"

typedef enum Opcode {
    OP_NIL,
#define ATTRS(...)                                                                      ()
#define OPCODE(NAME, text, min, max, results, flags, infer, operands, outs, attrs, doc) OP_##NAME,
#include "tables/opcodes.def"
#undef ATTRS
    OP_COUNT
} Opcode;

/* Attribute positions: ATTR_REDUCE_axes and so on. */
#define SCHEMA_UNPACK(...)              __VA_ARGS__
#define ATTRS(...)                      (__VA_ARGS__)
#define A(NAME, attr, kind, value, doc) ATTR_##NAME##_##attr,
#define OPCODE(NAME, text, min, max, results, flags, infer, operands, outs, attrs, doc)            \
    enum { ATTR_BEFORE_##NAME = -1, SCHEMA_UNPACK attrs };
#include "tables/opcodes.def"
#undef A
#undef ATTRS

typedef enum OpFlag {
    OP_PURE = 1,        /* no effect: equal rows may be merged, unused ones dropped */
    OP_COMMUTES = 2,    /* operands may be swapped */
    OP_ELEMENTWISE = 4, /* each result element depends on the operand elements at its index */
    OP_ZERO_GRAD = 8,   /* derivative zero or not defined */
    OP_VIEW = 16,       /* the result can be another view of the first operand's memory */
    OP_EFFECT = 32,     /* ordered with other effects, never dropped */
    OP_TERMINATOR = 64, /* last row of a block */
    OP_BLOCKS = 128,    /* carries blocks */
    OP_STATE = 256,     /* reads persistent state: merged only by name */
    OP_EXPANDS = 512,   /* composite: has an expansion into primitives */
    OP_DERIVES = 1024,  /* consumed by the differentiate system */
    OP_INPLACE = 2048,  /* result i may take the memory of the operand with its name */
    OP_AUX = 4096,      /* results after the first serve derivatives: builders give the first */
    OP_DERIVED = 8192,  /* emitted by rules and systems: no public builder */
    OP_LATE = 16384,    /* gives sizes that data decides: never dropped, nothing moves over it */
    OP_PRODUCT = 32768  /* sums of products: mixed precision narrows its operands (narrow.c) */
} OpFlag;

typedef enum AttrKind {
    ATTR_INT,    /* i64 */
    ATTR_FLOAT,  /* bits of a double */
    ATTR_BOOL,   /* 0 or 1 */
    ATTR_STR,    /* StrId */
    ATTR_STRS,   /* ListId of StrId */
    ATTR_DTYPE,  /* Dtype */
    ATTR_TYPE,   /* TypeId */
    ATTR_DIM,    /* DimId */
    ATTR_DIMS,   /* ListId of DimId */
    ATTR_INTS,   /* ListId of i64 */
    ATTR_CONST,  /* ConstId */
    ATTR_REDUCE, /* ReduceKind and so on: names in attr_enums */
    ATTR_COMPARE,
    ATTR_SCATTER,
    ATTR_FFT,
    ATTR_INIT,
    ATTR_KIND_COUNT
} AttrKind;

typedef enum ReduceKind {
    REDUCE_SUM,
    REDUCE_PROD,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_AND,
    REDUCE_OR,
    REDUCE_ARGMAX,
    REDUCE_ARGMIN,
    REDUCE_KIND_COUNT
} ReduceKind;
typedef enum CompareKind {
    COMPARE_EQ,
    COMPARE_NE,
    COMPARE_LT,
    COMPARE_LE,
    COMPARE_GT,
    COMPARE_GE,
    COMPARE_KIND_COUNT
} CompareKind;
typedef enum ScatterKind {
    SCATTER_SET,
    SCATTER_ADD,
    SCATTER_MUL,
    SCATTER_MIN,
    SCATTER_MAX,
    SCATTER_KIND_COUNT
} ScatterKind;
typedef enum FftKind {
    FFT_FORWARD,
    FFT_INVERSE,
    FFT_REAL_FORWARD,
    FFT_REAL_INVERSE,
    FFT_KIND_COUNT
} FftKind;
typedef enum InitKind {
    INIT_ZEROS,
    INIT_ONES,
    INIT_NORMAL,
    INIT_UNIFORM,
    INIT_FILL, /* scale in every element */
    INIT_KIND_COUNT
} InitKind;

enum { OP_MANY = 0xFFFF, OP_ANY = 0xFFFE };

typedef struct AttrInfo {
    const char *name, *doc;
    AttrKind    kind;
    bool        required;
    double      value; /* default; lists default to empty */
} AttrInfo;

typedef struct InferCtx InferCtx;
typedef void            InferFn(InferCtx *ctx);

typedef struct OpInfo {
    const char *name; /* "reduce" */
    uint16_t    operands_min, operands_max, results, flags;
    InferFn    *infer;
    const char *operands, *outs; /* space-separated names; the last repeats when MANY */
    AttrInfo    attrs[ATTRS_MAX];
    uint32_t    attrs_count;
    const char *doc;
} OpInfo;
extern const OpInfo op_infos[OP_COUNT];

/* Names of the values of an enumerated attribute kind, NULL-terminated; NULL for other kinds. */
const char *const *attr_enum_names(AttrKind kind);
Opcode             opcode_find(String name); /* OP_NIL if unknown */
/* The attribute of this name, or -1. */
int op_attr_find(Opcode opcode, String name);
/* The default as an attribute word (0 for lists and required ones). */
uint64_t attr_default_word(const AttrInfo *attr);

static inline const OpInfo *op_info(const Code *code, OpId op) {
    return &op_infos[code->ops.opcode[op.row]];
}

/* --- inference ---------------------------------------------------------------------------------
 * A rule reads operands and attributes and sets out_types[0..results); leaving one nil after adding
 * a diagnostic. Rules are called only when all operand types are known. */
struct InferCtx {
    World          *world;
    Opcode          opcode;
    uint32_t        op; /* row for diagnostics, 0 when not appended yet */
    const ValueId  *operands;
    uint32_t        operands_count;
    AttrsId         record; /* its attributes */
    uint32_t        results_count;
    TypeId         *out_types;
    const Code     *code;  /* whose values the operands are */
    const uint64_t *attrs; /* words of the record; set by schema_infer */
};
/* Runs the rule; silent when an operand's type is nil (one error, one message). */
void schema_infer(InferCtx *ctx);

#endif
