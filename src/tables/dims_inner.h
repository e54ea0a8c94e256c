/* What the files of the dims share and nobody else includes: polynomials in working form,
 * monomials, derived facts, and walks over expressions.
 *
 *   dims.c         rows and their index, monomials, polynomials, sums and products
 *   dims_divide.c  quotients, remainders
 *   dims_choose.c  extremes, comparisons
 *   dims_facts.c   ranges and congruences of expressions
 *   dims_prove.c   inequalities between expressions
 *   dims_walk.c    walks, substitution, structure
 *   dims_equal.c   equalities
 *   dims_eval.c    numbers */
#ifndef STOA_TABLES_DIMS_INNER_H
#define STOA_TABLES_DIMS_INNER_H

#include "tables/dims.h"

enum { DIM_TERMS_MAX = 64, DIM_DEGREE_MAX = 32, DIM_MONO_ONE = 1 };

/* --- polynomials ------------------------------------------------------------------------------ */
/* A sum on the stack: terms sorted by monomial, no coefficient 0 or INT64_MIN. */
typedef struct Poly {
    uint32_t count; /* DIM_TERMS_MAX + 1: failed, the result is nil */
    int64_t  coef[DIM_TERMS_MAX];
    uint32_t mono[DIM_TERMS_MAX];
} Poly;

static inline bool poly_failed(const Poly *poly) { return poly->count > DIM_TERMS_MAX; }
void               dims_poly_push(Poly *poly, int64_t coef, uint32_t mono);
void dims_poly_add(Dims *dims, Poly *poly, DimId id, int64_t scale); /* poly += scale x id */
void dims_poly_sum(Poly *poly, const Poly *x, int64_t scale);        /* poly += scale x x */
void dims_poly_of(Dims *dims, Poly *out, DimId id);
/* out is another one than x and y. */
void dims_poly_mul(Dims *dims, const Poly *x, const Poly *y, Poly *out);
/* poly = quotient x atom + rest; false if the atom stands in a higher power. */
bool  dims_poly_linear(Dims *dims, const Poly *poly, uint32_t atom, Poly *quotient, Poly *rest);
DimId dims_poly_intern(Dims *dims, Poly *poly);
/* The youngest atom of these kinds (bits) that is older than `before`; 0 when there is none. */
uint32_t dims_poly_atom(const Dims *dims, const Poly *poly, uint32_t kinds, uint32_t before);

/* --- monomials and atoms ---------------------------------------------------------------------- */
uint32_t dims_mono_add(Dims *dims, const uint32_t *atoms, uint32_t count);
uint32_t dims_mono_mul(Dims *dims, uint32_t a, uint32_t b); /* 0 when the degree is too high */
uint32_t dims_mono_div(Dims *dims, uint32_t a, uint32_t b); /* 0 when b does not divide a */
DimId    dims_atom_add(Dims *dims, DimKind kind, uint32_t lhs, uint32_t rhs);
void     dims_forget(Dims *dims); /* results of makers, after a fact or an equality */

static inline bool dim_is_atom(const Dims *dims, uint32_t row) {
    DimKind kind = (DimKind)dims->rows.kind[row];
    return kind == DIM_SYMBOL || kind >= DIM_FLOORDIV;
}
static inline bool dim_is_pair(const Dims *dims, uint32_t row) { /* an atom of lhs and rhs */
    return dims->rows.kind[row] >= DIM_FLOORDIV;
}
static inline int64_t dim_floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
static inline int64_t dim_gcd(int64_t a, int64_t b) { /* of numbers above INT64_MIN; 0 or more */
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a < 0 ? -a : a;
}

/* --- recent results --------------------------------------------------------------------------- */
/* Rows are below 2^24, so a maker fits above the first argument. Facts change what quotients
 * simplify to: setting one forgets. */
typedef enum DimMaker {
    MAKE_CONST = 1,
    MAKE_ADD,
    MAKE_SUB,
    MAKE_MUL,
    MAKE_FLOORDIV,
    MAKE_MIN,
    MAKE_MAX,
    MAKE_LESS
} DimMaker;
static inline DimMemo *dim_memo_at(Dims *dims, DimMaker maker, uint32_t a, uint32_t b) {
    uint32_t mixed = (a * 0x9E3779B1u ^ b) * 0x85EBCA77u + (uint32_t)maker * 0xC2B2AE3Du;
    return &dims->memo[(mixed >> 16) % DIMS_MEMO];
}
static inline bool dim_memo_has(const Dims *dims, const DimMemo *memo, DimMaker maker, uint32_t a,
                                uint32_t b) {
    return memo->maker_a == ((uint32_t)maker << 24 | a) && memo->b == b &&
           memo->fact_epoch == dims->fact_epoch;
}
static inline DimId dim_memo_set(const Dims *dims, DimMemo *memo, DimMaker maker, uint32_t a,
                                 uint32_t b, DimId result) {
    *memo = (DimMemo){(uint32_t)maker << 24 | a, b, result.row, dims->fact_epoch};
    return result;
}

/* --- facts ------------------------------------------------------------------------------------ */
typedef struct DimFact {
    int64_t lo, hi;
    int64_t modulus, residue; /* value = residue mod modulus; modulus 0: value = residue */
} DimFact;
DimFact dims_fact(Dims *dims, uint32_t row);
bool    dims_share_facts(Dims *dims, uint32_t a, uint32_t b); /* of symbols; as dims_set_range */
DimFact dims_fact_poly(Dims *dims, const Poly *poly);
bool    dims_fact_residue(DimFact fact, int64_t by, int64_t *out); /* value mod by, where known */
/* quotient = poly / id where id is one term that divides every term of poly; else false. */
bool dims_poly_divides(Dims *dims, const Poly *poly, DimId id, Poly *quotient);
bool dims_prove_below(Dims *dims, const Poly *a, const Poly *b);
bool dims_prove_not_negative(Dims *dims, const Poly *poly);

/* --- walks ------------------------------------------------------------------------------------ */
/* Visits rows in depth-first order: enter is asked once a push, and says whether to go on, having
 * pushed what comes first; leave is called when all of that is done. */
typedef struct DimWalk DimWalk;
typedef bool           DimEnter(DimWalk *walk, uint32_t row);
typedef void           DimLeave(DimWalk *walk, uint32_t row);
struct DimWalk {
    Dims     *dims;
    void     *ctx;
    DimEnter *enter;
    DimLeave *leave;
    uint32_t *rows; /* the stack: of the function that walks until it is full */
    uint32_t  count, capacity;
    bool      grown; /* into scratch */
    Scratch   scratch;
};
void dims_walk(DimWalk *walk, uint32_t row);
void dims_walk_push(DimWalk *walk, uint32_t row);
void dims_walk_parts(DimWalk *walk, uint32_t row);     /* pushes what the expression is made of */
void dims_walk_each_part(DimWalk *walk, uint32_t row); /* enters the parts, not the row */
void dims_notes_cover(Dims *dims);                     /* a note for every row */
bool dims_holds(Dims *dims, uint32_t row, uint32_t part); /* is it, or is made of it */
/* The row with each part replaced by made[part]; nil when that is too complex. */
DimId dims_remake(Dims *dims, uint32_t row, const uint32_t *made);
void  dims_equal_reindex(Dims *dims);

#endif
