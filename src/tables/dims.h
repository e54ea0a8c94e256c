/* Dims: sizes as interned expressions in canonical form, so equality is an id compare.
 *
 * A dim is a constant, a symbol, or an expression over them, held as a polynomial: terms (integer
 * coefficient x monomial), a monomial being a sorted list of atoms. Atoms are symbols, floordiv,
 * min, max and less. All else is a sum of these and obeys the laws of sums: a mod b is
 * a - b*floordiv(a, b), ceildiv a floordiv of a + b - 1, select(a < b, x, y) is
 * y + less(a, b)*(x - y). Rows come after their parts, so one forward sweep evaluates all.
 *
 * Facts are columns on symbols (range, a symbolic bound, congruence, hint); those of expressions
 * are derived. Known equalities form a union-find that is read on lookup; stored expressions never
 * change. Index expressions of loops are dims too: a loop variable is a symbol below its extent.
 * Nothing is specialised on 0 or 1. Overflow saturates in ranges and is an error in dims_eval. */
#ifndef STOA_TABLES_DIMS_H
#define STOA_TABLES_DIMS_H

#include "tables/strings.h"

ID_TYPE(DimId, dim_id);

typedef enum DimKind {
    DIM_NIL,
    DIM_CONST,    /* imm */
    DIM_SYMBOL,   /* imm: StrId of its name */
    DIM_POLY,     /* span of dim_terms */
    DIM_FLOORDIV, /* lhs, rhs; rhs > 0 */
    DIM_MIN,
    DIM_MAX,
    DIM_LESS, /* 1 where lhs < rhs, else 0 */
    DIM_KIND_COUNT
} DimKind;

#define DIM_SIZE_MAX ((int64_t)1 << 40) /* no dim may exceed this when evaluated */

#define DIMS_COLUMNS(C)                                                                            \
    C(uint8_t, kind, "DimKind")                                                                    \
    C(int64_t, imm, "constant, or StrId of a symbol")                                              \
    C(uint32_t, lhs, "DimId, or first row of dim_terms")                                           \
    C(uint32_t, rhs, "DimId, or number of dim_terms")                                              \
    C(int64_t, lo, "known lower bound (sizes are never negative)")                                 \
    C(int64_t, hi, "known upper bound")                                                            \
    C(int64_t, modulus, "value = residue mod modulus; 1 when nothing is known")                    \
    C(int64_t, residue, "see modulus")                                                             \
    C(int64_t, hint, "a typical value for cost models; 0 unknown")                                 \
    C(uint32_t, below, "DimId of which a symbol is always below; 0 none")                          \
    C(uint32_t, same_as, "DimId that stands for the row, see dims_equate; 0 none")
TABLE_TYPE(DimRows, DIMS_COLUMNS);
#define DIM_TERMS_COLUMNS(C)                                                                       \
    C(int64_t, coef, "integer coefficient, not 0")                                                 \
    C(uint32_t, mono, "row of monos; terms are sorted by it")
TABLE_TYPE(DimTerms, DIM_TERMS_COLUMNS);
#define MONOS_COLUMNS(C)                                                                           \
    C(uint32_t, first, "first row of mono_atoms")                                                  \
    C(uint32_t, count, "degree; row 1 is the empty monomial")
TABLE_TYPE(Monos, MONOS_COLUMNS);
#define MONO_ATOMS_COLUMNS(C) C(uint32_t, atom, "DimId of an atom, ascending within a monomial")
TABLE_TYPE(MonoAtoms, MONO_ATOMS_COLUMNS);
/* What is known of each row, derived on demand; never saved or cloned. */
#define DIM_NOTES_COLUMNS(C)                                                                       \
    C(uint32_t, fact_epoch, "the next four hold when it is the table's")                           \
    C(int64_t, lo, "range")                                                                        \
    C(int64_t, hi, "range")                                                                        \
    C(int64_t, modulus, "congruence; 0: the value is residue")                                     \
    C(int64_t, residue, "congruence")                                                              \
    C(uint32_t, found_epoch, "the next holds when it is the table's")                              \
    C(uint32_t, found, "DimId of the row with all equalities applied")                             \
    C(uint8_t, ruled, "1: part of the left side of a rule")                                        \
    C(uint32_t, mark, "number of the last walk that met the row")                                  \
    C(uint32_t, made, "what that walk made of it")
TABLE_TYPE(DimNotes, DIM_NOTES_COLUMNS);
#define DIM_RULES_COLUMNS(C) C(uint32_t, row, "DimId that is no symbol and has a same_as")
TABLE_TYPE(DimRules, DIM_RULES_COLUMNS);

/* Recent results of makers: programs ask for the same few products and differences in every row. */
enum { DIMS_MEMO = 256 };
typedef struct DimMemo {
    uint32_t maker_a; /* DimMaker << 24 | DimId */
    uint32_t b, result;
    uint32_t fact_epoch; /* of then; 0: free */
} DimMemo;
typedef struct Dims {
    DimRows   rows;
    DimTerms  terms;
    Monos     monos;
    MonoAtoms atoms;
    DimNotes  notes;
    DimRules  rules; /* derived, like notes */
    Intern    index, mono_index;
    uint32_t  epoch;      /* counts dims_equate calls that changed something */
    uint32_t  fact_epoch; /* counts changes of facts and equalities that rows may depend on */
    uint32_t  walks;      /* so far, see notes.mark */
    DimMemo   memo[DIMS_MEMO];
} Dims;

void dims_open(Dims *dims, uint32_t rows_max, Budget *budget);
void dims_close(Dims *dims);
void dims_reindex(Dims *dims);                        /* after the rows were read from elsewhere */
void dims_copy_derived(Dims *into, const Dims *from); /* after the rows were copied */
/* Whether no expression leads back to itself through what stands for its parts: of rows that were
 * read from elsewhere, which have parts older than themselves. */
bool dims_equal_verify(const Dims *dims);

/* Makers. An expression with more than 64 terms or an overflowing coefficient gives the nil row,
 * and so does a nil argument; whoever keeps the result reports it. Divisors are positive wherever
 * the result is used; below 1 the value is some integer. What is simplified:
 *   (b*q + r) floordiv b = q                       where 0 <= r < b (or -b <= r < 0) is provable
 *   (k*x) floordiv (k*y) = x floordiv y
 *   (x floordiv a) floordiv b = x floordiv (a*b)
 *   b*(x floordiv b) = x - r                        where x = r mod b is a fact of x
 *   min(a, b) = a                                   where a <= b is provable
 * and by the laws of sums: (x mod a*b) mod a = x mod a, b*(x floordiv b) + x mod b = x. */
DimId dims_const(Dims *dims, int64_t size); /* any integer: intermediate results may be negative */
DimId dims_symbol(Dims *dims, StrId name);  /* the symbol with this name */
DimId dims_add(Dims *dims, DimId a, DimId b);
DimId dims_sub(Dims *dims, DimId a, DimId b);
DimId dims_mul(Dims *dims, DimId a, DimId b);
DimId dims_floordiv(Dims *dims, DimId a, DimId b);
DimId dims_ceildiv(Dims *dims, DimId a, DimId b);
DimId dims_mod(Dims *dims, DimId a, DimId b);
DimId dims_min(Dims *dims, DimId a, DimId b);
DimId dims_max(Dims *dims, DimId a, DimId b);
DimId dims_atom(Dims *dims, DimKind kind, DimId a, DimId b);       /* floordiv, min, max or less */
DimId dims_less(Dims *dims, DimId a, DimId b);                     /* 1 or 0 */
DimId dims_select(Dims *dims, DimId a, DimId b, DimId x, DimId y); /* a < b ? x : y */

/* The value of such an atom; 0 for a quotient by less than 1. */
static inline int64_t dims_atom_value(DimKind kind, int64_t a, int64_t b) {
    if (kind == DIM_MIN) return a < b ? a : b;
    if (kind == DIM_MAX) return a > b ? a : b;
    if (kind == DIM_LESS) return a < b;
    return b > 0 ? a / b - (a % b < 0) : 0;
}
static inline bool dims_is_const(const Dims *dims, DimId id) {
    return dims->rows.kind[id.row] == DIM_CONST;
}
static inline int64_t dims_const_value(const Dims *dims, DimId id) {
    ASSERT(dims_is_const(dims, id));
    return dims->rows.imm[id.row];
}

/* Facts. Only symbols take facts from outside; those of expressions are derived once and kept.
 * Facts narrow what earlier ones left, and equal symbols share them: what has been simplified under
 * a fact stays true. False, and nothing changes, when no number would be left. */
MUST_USE bool dims_set_range(Dims *dims, DimId symbol, int64_t lo, int64_t hi);
MUST_USE bool dims_set_congruence(Dims *dims, DimId symbol, int64_t modulus, int64_t residue);
/* symbol is an integer of the data, not a size: any number. Before anything was made of it. */
void dims_set_any(Dims *dims, DimId symbol);
void dims_set_hint(Dims *dims, DimId symbol, int64_t hint);
/* A size of a symbol for estimates and measurements: its hint, or 256, as its facts allow. */
int64_t dims_typical(const Dims *dims, DimId symbol);
/* symbol is a loop variable: 0 <= symbol < bound. bound does not contain it. */
void dims_set_below(Dims *dims, DimId symbol, DimId bound);
typedef struct DimRange {
    int64_t lo, hi;
} DimRange;
DimRange dims_range(Dims *dims, DimId id);
bool     dims_divisible(Dims *dims, DimId id, int64_t by); /* provably */

/* Whether a < b, or a <= b, for all values that the facts allow; false when that is not provable.
 * A bounded number of steps: about 0.2 to 5 us. */
bool dims_provably_below(Dims *dims, DimId a, DimId b);
bool dims_provably_at_most(Dims *dims, DimId a, DimId b);
bool dims_may_be_same(Dims *dims, DimId a, DimId b); /* false: provably different */

/* Structure. */
/* Whether symbol occurs in id; bounds of other symbols are not looked into. */
bool dims_contains(Dims *dims, DimId id, DimId symbol);
/* id with symbols[i] replaced by values[i], all at once, inside atoms too, in canonical form; nil
 * when that grows too complex. Linear in the rows that id is made of. */
DimId dims_substitute(Dims *dims, DimId id, const DimId *symbols, const DimId *values,
                      uint32_t count);
/* Whether id = coefficient x symbol + rest with no symbol in either; else nothing is set. */
bool dims_linear_in(Dims *dims, DimId id, DimId symbol, DimId *out_coefficient, DimId *out_rest);

/* Equalities. dims_equate is false when the two are provably different; the equality itself is
 * checked where sizes are bound. About 50 ns for two symbols; a lookup takes a few ns, and after an
 * equality the time to make the expression anew, once. */
bool  dims_equate(Dims *dims, DimId a, DimId b);
DimId dims_find(Dims *dims, DimId id); /* the same size with all equalities applied */
bool  dims_same(Dims *dims, DimId a, DimId b);

/* Evaluates every dim. values: rows.table.count numbers; the caller fills those of symbols, the
 * sweep fills the rest. Returns the row of the first dim that is negative where used as a divisor,
 * overflows, breaks a fact or an equality; 0 when all is well. About 2 ns a dim. */
uint32_t dims_eval(const Dims *dims, int64_t *values);
/* The same with every symbol at its typical size, which may break facts. */
void dims_eval_typical(const Dims *dims, int64_t *values);

#endif
