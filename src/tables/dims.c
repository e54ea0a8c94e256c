/* Canonical dim arithmetic. A Poly is the working form of a sum: a short sorted array of terms on
 * the stack; makers turn their arguments into Polys, combine, and intern the result. Canonical
 * form: terms sorted by monomial row, no zero coefficient, at least two terms or a coefficient
 * other than one (otherwise the dim is the constant or the atom itself). */
#include "tables/dims.h"

#include "arena/hash.h"

#define TABLE_SELF_ DimRows
TABLE_INFO(DimRows, dim_rows_info, "dims", DIMS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ DimTerms
TABLE_INFO(DimTerms, dim_terms_info, "dim_terms", DIM_TERMS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Monos
TABLE_INFO(Monos, monos_info, "monos", MONOS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ MonoAtoms
TABLE_INFO(MonoAtoms, mono_atoms_info, "mono_atoms", MONO_ATOMS_COLUMNS);
#undef TABLE_SELF_

enum { TERMS_MAX = 64, DEGREE_MAX = 32, MONO_ONE = 1 };

typedef struct Poly {
    uint32_t count; /* TERMS_MAX + 1: overflowed, the result is nil */
    int64_t  coef[TERMS_MAX];
    uint32_t mono[TERMS_MAX];
} Poly;

/* --- monomials -------------------------------------------------------------------------------- */
typedef struct MonoKey {
    const uint32_t *atoms;
    uint32_t        count;
} MonoKey;

static bool mono_same(const void *owner, uint32_t row, const void *key) {
    const Dims    *dims = owner;
    const MonoKey *mono = key;
    return dims->monos.count[row] == mono->count &&
           memcmp(dims->atoms.atom + dims->monos.first[row], mono->atoms,
                  mono->count * sizeof *mono->atoms) == 0;
}
static uint64_t mono_hash(const void *owner, uint32_t row) {
    const Dims *dims = owner;
    return hash_bytes(dims->atoms.atom + dims->monos.first[row],
                      dims->monos.count[row] * sizeof(uint32_t), 2);
}
static uint32_t mono_add(Dims *dims, const uint32_t *atoms, uint32_t count) {
    MonoKey  key = {atoms, count};
    uint64_t hash = hash_bytes(atoms, count * sizeof *atoms, 2);
    uint32_t row = intern_find(&dims->mono_index, hash, mono_same, dims, &key);
    if (row != 0) return row;
    uint32_t first = table_add_many(&dims->atoms.table, count);
    if (count != 0) memcpy(dims->atoms.atom + first, atoms, count * sizeof *atoms);
    row = table_add(&dims->monos.table);
    dims->monos.first[row] = first;
    dims->monos.count[row] = count;
    intern_add(&dims->mono_index, hash, row);
    return row;
}
/* Product of two monomials: the merge of their sorted atoms; 0 when the degree is too high. */
static uint32_t mono_mul(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t na = dims->monos.count[a], nb = dims->monos.count[b], n = 0;
    if (na + nb > DEGREE_MAX) return 0;
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    uint32_t        merged[DEGREE_MAX];
    while (na != 0 || nb != 0) {
        if (nb == 0 || (na != 0 && *x <= *y))
            merged[n++] = *x++, na--;
        else
            merged[n++] = *y++, nb--;
    }
    return mono_add(dims, merged, n);
}
/* Quotient a / b, or 0 if b does not divide a. */
static uint32_t mono_div(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t        na = dims->monos.count[a], nb = dims->monos.count[b], n = 0, j = 0;
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    uint32_t        rest[DEGREE_MAX];
    for (uint32_t i = 0; i < na; i++) {
        if (j < nb && x[i] == y[j])
            j++;
        else
            rest[n++] = x[i];
    }
    return j == nb ? mono_add(dims, rest, n) : 0;
}

/* --- interned rows ---------------------------------------------------------------------------- */
typedef struct DimKey {
    DimKind     kind;
    int64_t     imm;
    uint32_t    lhs, rhs;
    const Poly *poly;
} DimKey;

static uint64_t dim_key_hash(DimKind kind, int64_t imm, uint32_t lhs, uint32_t rhs) {
    return hash_mix(hash_mix((uint64_t)kind, (uint64_t)imm), (uint64_t)lhs << 32 | rhs);
}
static uint64_t poly_hash(const int64_t *coef, const uint32_t *mono, uint32_t count) {
    uint64_t hash = hash_mix(DIM_POLY, count);
    for (uint32_t i = 0; i < count; i++)
        hash = hash_mix(hash, hash_mix((uint64_t)coef[i], mono[i]));
    return hash;
}
static bool dim_same(const void *owner, uint32_t row, const void *key) {
    const Dims   *dims = owner;
    const DimKey *k = key;
    if (dims->rows.kind[row] != k->kind) return false;
    if (k->kind != DIM_POLY)
        return dims->rows.imm[row] == k->imm && dims->rows.lhs[row] == k->lhs &&
               dims->rows.rhs[row] == k->rhs;
    uint32_t first = dims->rows.lhs[row], count = dims->rows.rhs[row];
    return count == k->poly->count &&
           memcmp(dims->terms.coef + first, k->poly->coef, count * sizeof(int64_t)) == 0 &&
           memcmp(dims->terms.mono + first, k->poly->mono, count * sizeof(uint32_t)) == 0;
}
static uint64_t dim_hash(const void *owner, uint32_t row) {
    const DimRows  *r = &((const Dims *)owner)->rows;
    const DimTerms *t = &((const Dims *)owner)->terms;
    if (r->kind[row] == DIM_POLY)
        return poly_hash(t->coef + r->lhs[row], t->mono + r->lhs[row], r->rhs[row]);
    return dim_key_hash((DimKind)r->kind[row], r->imm[row], r->lhs[row], r->rhs[row]);
}

static DimId dim_intern(Dims *dims, DimKey key) {
    uint64_t hash = key.poly ? poly_hash(key.poly->coef, key.poly->mono, key.poly->count)
                             : dim_key_hash(key.kind, key.imm, key.lhs, key.rhs);
    uint32_t row = intern_find(&dims->index, hash, dim_same, dims, &key);
    if (row != 0) return (DimId){row};
    if (key.poly != NULL) {
        key.rhs = key.poly->count;
        key.lhs = table_add_many(&dims->terms.table, key.rhs);
        memcpy(dims->terms.coef + key.lhs, key.poly->coef, key.rhs * sizeof(int64_t));
        memcpy(dims->terms.mono + key.lhs, key.poly->mono, key.rhs * sizeof(uint32_t));
    }
    DimRows *rows = &dims->rows;
    row = table_add(&rows->table);
    rows->kind[row] = (uint8_t)key.kind;
    rows->imm[row] = key.imm;
    rows->lhs[row] = key.lhs;
    rows->rhs[row] = key.rhs;
    rows->lo[row] = key.kind == DIM_POLY ? INT64_MIN : key.kind == DIM_CONST ? key.imm : 0;
    rows->hi[row] = key.kind == DIM_CONST ? key.imm : DIM_SIZE_MAX;
    rows->modulus[row] = 1;
    rows->residue[row] = rows->hint[row] = 0;
    rows->same_as[row] = 0;
    intern_add(&dims->index, hash, row);
    return (DimId){row};
}

void dims_open(Dims *dims, uint32_t rows_max, Budget *budget) {
    ASSERT(rows_max <= 1u << 24); /* memo_at */
    memset(dims, 0, sizeof *dims);
    table_open(&dims->rows.table, &dim_rows_info, rows_max, budget);
    table_open(&dims->terms.table, &dim_terms_info, rows_max, budget);
    table_open(&dims->monos.table, &monos_info, rows_max, budget);
    table_open(&dims->atoms.table, &mono_atoms_info, rows_max, budget);
    intern_open(&dims->index, rows_max, budget);
    intern_open(&dims->mono_index, rows_max, budget);
    uint32_t one = mono_add(dims, NULL, 0);
    ASSERT(one == MONO_ONE);
    (void)one;
}

void dims_close(Dims *dims) {
    table_close(&dims->rows.table);
    table_close(&dims->terms.table);
    table_close(&dims->monos.table);
    table_close(&dims->atoms.table);
    intern_close(&dims->index);
    intern_close(&dims->mono_index);
}

void dims_reindex(Dims *dims) {
    memset(dims->memo, 0, sizeof dims->memo);
    intern_clear(&dims->index);
    intern_clear(&dims->mono_index);
    for (uint32_t row = 1; row < dims->monos.table.count; row++)
        intern_add(&dims->mono_index, mono_hash(dims, row), row);
    for (uint32_t row = 1; row < dims->rows.table.count; row++)
        intern_add(&dims->index, dim_hash(dims, row), row);
}

/* --- polynomials ------------------------------------------------------------------------------ */
static void poly_push(Poly *poly, int64_t coef, uint32_t mono) {
    if (coef == 0 || poly->count > TERMS_MAX) return;
    uint32_t at = 0;
    while (at < poly->count && poly->mono[at] < mono) at++;
    if (at < poly->count && poly->mono[at] == mono) {
        if (__builtin_add_overflow(poly->coef[at], coef, &poly->coef[at])) {
            poly->count = TERMS_MAX + 1;
            return;
        }
        if (poly->coef[at] != 0) return;
        poly->count--;
        memmove(poly->coef + at, poly->coef + at + 1, (poly->count - at) * sizeof(int64_t));
        memmove(poly->mono + at, poly->mono + at + 1, (poly->count - at) * sizeof(uint32_t));
        return;
    }
    if (poly->count == TERMS_MAX) {
        poly->count = TERMS_MAX + 1;
        return;
    }
    memmove(poly->coef + at + 1, poly->coef + at, (poly->count - at) * sizeof(int64_t));
    memmove(poly->mono + at + 1, poly->mono + at, (poly->count - at) * sizeof(uint32_t));
    poly->coef[at] = coef;
    poly->mono[at] = mono;
    poly->count++;
}
/* poly += scale x dim */
static void poly_add(Dims *dims, Poly *poly, DimId id, int64_t scale) {
    ASSERT(dim_id_some(id));
    const DimRows *r = &dims->rows;
    int64_t        coef;
    if (r->kind[id.row] == DIM_CONST) {
        if (__builtin_mul_overflow(r->imm[id.row], scale, &coef))
            poly->count = TERMS_MAX + 1;
        else
            poly_push(poly, coef, MONO_ONE);
    } else if (r->kind[id.row] == DIM_POLY) {
        for (uint32_t i = 0; i < r->rhs[id.row]; i++) {
            uint32_t term = r->lhs[id.row] + i;
            if (__builtin_mul_overflow(dims->terms.coef[term], scale, &coef))
                poly->count = TERMS_MAX + 1;
            else
                poly_push(poly, coef, dims->terms.mono[term]);
        }
    } else {
        poly_push(poly, scale, mono_add(dims, &id.row, 1));
    }
}
static DimId poly_intern(Dims *dims, const Poly *poly) {
    if (poly->count > TERMS_MAX) return (DimId){0};
    if (poly->count == 0) return dims_const(dims, 0);
    if (poly->count == 1 && poly->mono[0] == MONO_ONE) return dims_const(dims, poly->coef[0]);
    if (poly->count == 1 && poly->coef[0] == 1 && dims->monos.count[poly->mono[0]] == 1)
        return (DimId){dims->atoms.atom[dims->monos.first[poly->mono[0]]]};
    return dim_intern(dims, (DimKey){.kind = DIM_POLY, .poly = poly});
}

/* --- makers ----------------------------------------------------------------------------------- */
/* Rows are below 2^24, so a maker fits above the first argument. Facts change what quotients
 * simplify to: setting one forgets. */
typedef enum DimMaker { MAKE_CONST = 1, MAKE_ADD, MAKE_SUB, MAKE_MUL, MAKE_FLOORDIV } DimMaker;
static DimMemo *memo_at(Dims *dims, DimMaker maker, uint32_t a, uint32_t b) {
    uint32_t mixed = (a * 0x9E3779B1u ^ b) * 0x85EBCA77u + (uint32_t)maker * 0xC2B2AE3Du;
    return &dims->memo[(mixed >> 16) % DIMS_MEMO];
}
static bool memo_has(const DimMemo *memo, DimMaker maker, uint32_t a, uint32_t b) {
    return memo->maker_a == ((uint32_t)maker << 24 | a) && memo->b == b;
}
static DimId memo_set(DimMemo *memo, DimMaker maker, uint32_t a, uint32_t b, DimId result) {
    *memo = (DimMemo){(uint32_t)maker << 24 | a, b, result.row};
    return result;
}
static void memo_clear(Dims *dims) { memset(dims->memo, 0, sizeof dims->memo); }

DimId dims_const(Dims *dims, int64_t size) {
    uint32_t b = (uint32_t)size;
    DimMemo *memo = memo_at(dims, MAKE_CONST, 0, b);
    if (b == size && memo_has(memo, MAKE_CONST, 0, b)) return (DimId){memo->result};
    DimId made = dim_intern(dims, (DimKey){.kind = DIM_CONST, .imm = size});
    return b == size ? memo_set(memo, MAKE_CONST, 0, b, made) : made;
}
DimId dims_symbol(Dims *dims, StrId name) {
    ASSERT(str_id_some(name));
    return dim_intern(dims, (DimKey){.kind = DIM_SYMBOL, .imm = name.row});
}
static DimId linear(Dims *dims, DimMaker maker, DimId a, DimId b, int64_t scale) {
    DimMemo *memo = memo_at(dims, maker, a.row, b.row);
    if (memo_has(memo, maker, a.row, b.row)) return (DimId){memo->result};
    Poly sum;
    sum.count = 0;
    poly_add(dims, &sum, a, 1);
    poly_add(dims, &sum, b, scale);
    return memo_set(memo, maker, a.row, b.row, poly_intern(dims, &sum));
}
DimId dims_add(Dims *dims, DimId a, DimId b) { return linear(dims, MAKE_ADD, a, b, 1); }
DimId dims_sub(Dims *dims, DimId a, DimId b) { return linear(dims, MAKE_SUB, a, b, -1); }

static DimId multiply(Dims *dims, DimId a, DimId b) {
    Poly x, y, product;
    x.count = y.count = product.count = 0;
    poly_add(dims, &x, a, 1);
    poly_add(dims, &y, b, 1);
    for (uint32_t i = 0; i < x.count; i++)
        for (uint32_t j = 0; j < y.count; j++) {
            int64_t  coef;
            uint32_t mono = mono_mul(dims, x.mono[i], y.mono[j]);
            if (mono == 0 || __builtin_mul_overflow(x.coef[i], y.coef[j], &coef)) return (DimId){0};
            poly_push(&product, coef, mono);
        }
    return poly_intern(dims, &product);
}
DimId dims_mul(Dims *dims, DimId a, DimId b) {
    DimMemo *memo = memo_at(dims, MAKE_MUL, a.row, b.row);
    if (memo_has(memo, MAKE_MUL, a.row, b.row)) return (DimId){memo->result};
    return memo_set(memo, MAKE_MUL, a.row, b.row, multiply(dims, a, b));
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Splits a = b x quotient + rest where b is one term (constant or monomial): the part of a that b
 * divides exactly. False when b is a sum of several terms. */
static bool poly_split(Dims *dims, DimId a, DimId b, Poly *out_quotient, Poly *out_rest) {
    Poly x, y;
    x.count = y.count = 0;
    poly_add(dims, &x, a, 1);
    poly_add(dims, &y, b, 1);
    out_quotient->count = out_rest->count = 0;
    if (y.count != 1 || x.count > TERMS_MAX) return false;
    for (uint32_t i = 0; i < x.count; i++) {
        uint32_t mono = x.coef[i] % y.coef[0] == 0 ? mono_div(dims, x.mono[i], y.mono[0]) : 0;
        if (mono != 0)
            poly_push(out_quotient, x.coef[i] / y.coef[0], mono);
        else
            poly_push(out_rest, x.coef[i], x.mono[i]);
    }
    return true;
}

static DimId floor_divide(Dims *dims, DimId a, DimId b) {
    if (dims_is_const(dims, b) && dims_const_value(dims, b) <= 0) return (DimId){0};
    if (dims_is_const(dims, a) && dims_is_const(dims, b))
        return dims_const(dims, floor_div(dims->rows.imm[a.row], dims->rows.imm[b.row]));
    if (a.row == b.row) return dims_const(dims, 1);
    Poly quotient, rest;
    if (poly_split(dims, a, b, &quotient, &rest)) {
        DimId left = poly_intern(dims, &rest);
        if (rest.count == 0) return poly_intern(dims, &quotient);
        DimRange range = dims_range(dims, left), divisor = dims_range(dims, b);
        if (range.lo >= 0 && range.hi < divisor.lo) return poly_intern(dims, &quotient);
        DimId atom =
            dims_is_const(dims, left) && dims_is_const(dims, b)
                ? dims_const(dims, floor_div(dims->rows.imm[left.row], dims->rows.imm[b.row]))
                : dim_intern(dims, (DimKey){.kind = DIM_FLOORDIV, .lhs = left.row, .rhs = b.row});
        return quotient.count == 0 ? atom : dims_add(dims, poly_intern(dims, &quotient), atom);
    }
    return dim_intern(dims, (DimKey){.kind = DIM_FLOORDIV, .lhs = a.row, .rhs = b.row});
}
DimId dims_floordiv(Dims *dims, DimId a, DimId b) {
    DimMemo *memo = memo_at(dims, MAKE_FLOORDIV, a.row, b.row);
    if (memo_has(memo, MAKE_FLOORDIV, a.row, b.row)) return (DimId){memo->result};
    return memo_set(memo, MAKE_FLOORDIV, a.row, b.row, floor_divide(dims, a, b));
}

DimId dims_ceildiv(Dims *dims, DimId a, DimId b) {
    DimId last = dims_sub(dims, dims_add(dims, a, b), dims_const(dims, 1));
    return dim_id_some(last) ? dims_floordiv(dims, last, b) : last;
}

DimId dims_mod(Dims *dims, DimId a, DimId b) {
    if (dims_is_const(dims, b) && dims_const_value(dims, b) <= 0) return (DimId){0};
    if (a.row == b.row) return dims_const(dims, 0);
    Poly quotient, rest;
    if (poly_split(dims, a, b, &quotient, &rest)) {
        if (rest.count == 0) return dims_const(dims, 0);
        a = poly_intern(dims, &rest); /* (b x quotient + rest) mod b = rest mod b */
        DimRange range = dims_range(dims, a), divisor = dims_range(dims, b);
        if (range.lo >= 0 && range.hi < divisor.lo) return a;
    }
    if (dims_is_const(dims, a) && dims_is_const(dims, b)) {
        int64_t x = dims->rows.imm[a.row], y = dims->rows.imm[b.row];
        return dims_const(dims, x - floor_div(x, y) * y);
    }
    return dim_intern(dims, (DimKey){.kind = DIM_MOD, .lhs = a.row, .rhs = b.row});
}

static DimId dim_extreme(Dims *dims, DimKind kind, DimId a, DimId b) {
    if (a.row == b.row) return a;
    DimId difference = dims_sub(dims, a, b);
    if (dim_id_some(difference)) {
        DimRange range = dims_range(dims, difference);
        if (range.lo >= 0) return kind == DIM_MAX ? a : b;
        if (range.hi <= 0) return kind == DIM_MAX ? b : a;
    }
    if (a.row > b.row) {
        DimId swap = a;
        a = b;
        b = swap;
    }
    return dim_intern(dims, (DimKey){.kind = kind, .lhs = a.row, .rhs = b.row});
}
DimId dims_min(Dims *dims, DimId a, DimId b) { return dim_extreme(dims, DIM_MIN, a, b); }
DimId dims_max(Dims *dims, DimId a, DimId b) { return dim_extreme(dims, DIM_MAX, a, b); }

/* --- facts ------------------------------------------------------------------------------------ */
void dims_set_range(Dims *dims, DimId symbol, int64_t lo, int64_t hi) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL && lo <= hi);
    dims->rows.lo[symbol.row] = lo;
    dims->rows.hi[symbol.row] = hi;
    memo_clear(dims);
}
void dims_set_congruence(Dims *dims, DimId symbol, int64_t modulus, int64_t residue) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL && modulus > 0);
    dims->rows.modulus[symbol.row] = modulus;
    dims->rows.residue[symbol.row] = residue;
}
void dims_set_hint(Dims *dims, DimId symbol, int64_t hint) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL);
    dims->rows.hint[symbol.row] = hint;
}

static int64_t mul_saturated(int64_t a, int64_t b) {
    int64_t product;
    if (!__builtin_mul_overflow(a, b, &product)) return product;
    return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
}
static int64_t add_saturated(int64_t a, int64_t b) {
    int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return a < 0 ? INT64_MIN : INT64_MAX;
}
static int64_t min4(const int64_t *x) {
    int64_t a = x[0] < x[1] ? x[0] : x[1], b = x[2] < x[3] ? x[2] : x[3];
    return a < b ? a : b;
}
static int64_t max4(const int64_t *x) {
    int64_t a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
}
static DimRange range_mul(DimRange a, DimRange b) {
    int64_t corner[4] = {mul_saturated(a.lo, b.lo), mul_saturated(a.lo, b.hi),
                         mul_saturated(a.hi, b.lo), mul_saturated(a.hi, b.hi)};
    return (DimRange){min4(corner), max4(corner)};
}
static DimRange poly_range(const Dims *dims, uint32_t row) {
    DimRange sum = {0, 0};
    for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
        uint32_t term = dims->rows.lhs[row] + i, mono = dims->terms.mono[term];
        DimRange product = {dims->terms.coef[term], dims->terms.coef[term]};
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            product = range_mul(
                product, dims_range(dims, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]}));
        sum.lo = add_saturated(sum.lo, product.lo);
        sum.hi = add_saturated(sum.hi, product.hi);
    }
    return sum;
}
/* Depth is bounded by the nesting of floordiv/mod/min/max that the program wrote. */
DimRange dims_range(const Dims *dims, DimId id) {
    const DimRows *r = &dims->rows;
    uint32_t       row = id.row;
    if (r->kind[row] <= DIM_SYMBOL) return (DimRange){r->lo[row], r->hi[row]};
    if (r->kind[row] == DIM_POLY) return poly_range(dims, row);
    DimRange a = dims_range(dims, (DimId){r->lhs[row]}), b = dims_range(dims, (DimId){r->rhs[row]});
    DimRange range = {0, 0};
    switch ((DimKind)r->kind[row]) {
    case DIM_FLOORDIV: {
        int64_t lo = b.lo > 0 ? b.lo : 1, hi = b.hi > 0 ? b.hi : 1;
        int64_t corner[4] = {floor_div(a.lo, lo), floor_div(a.lo, hi), floor_div(a.hi, lo),
                             floor_div(a.hi, hi)};
        range = (DimRange){min4(corner), max4(corner)};
        break;
    }
    case DIM_MOD: range = (DimRange){0, b.hi > 0 ? b.hi - 1 : 0}; break;
    case DIM_MIN: range = (DimRange){a.lo < b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi}; break;
    case DIM_MAX: range = (DimRange){a.lo > b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi}; break;
    default: NEVER(true); break;
    }
    return range;
}

bool dims_divisible(const Dims *dims, DimId id, int64_t by) {
    ASSERT(by > 0);
    const DimRows *r = &dims->rows;
    uint32_t       row = id.row;
    if (by == 1) return true;
    if (r->kind[row] == DIM_CONST) return r->imm[row] % by == 0;
    if (r->kind[row] == DIM_SYMBOL) return r->modulus[row] % by == 0 && r->residue[row] % by == 0;
    if (r->kind[row] != DIM_POLY) return false;
    for (uint32_t i = 0; i < r->rhs[row]; i++) {
        uint32_t term = r->lhs[row] + i, mono = dims->terms.mono[term];
        bool     divides = dims->terms.coef[term] % by == 0;
        for (uint32_t k = 0; k < dims->monos.count[mono] && !divides; k++)
            divides =
                dims_divisible(dims, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]}, by);
        if (!divides) return false;
    }
    return true;
}

/* --- equalities ------------------------------------------------------------------------------- */
bool dims_equate(Dims *dims, DimId a, DimId b) {
    a = dims_find(dims, a);
    b = dims_find(dims, b);
    if (a.row == b.row) return true;
    DimId difference = dims_sub(dims, a, b);
    if (dim_id_some(difference)) {
        DimRange range = dims_range(dims, difference);
        if (range.lo > 0 || range.hi < 0) return false;
    }
    bool a_atom = dims->rows.kind[a.row] != DIM_CONST && dims->rows.kind[a.row] != DIM_POLY;
    bool b_atom = dims->rows.kind[b.row] != DIM_CONST && dims->rows.kind[b.row] != DIM_POLY;
    if (!a_atom && !b_atom)
        return true; /* two sums: checked when evaluated, nothing to substitute */
    if (!a_atom || (b_atom && b.row > a.row)) {
        DimId swap = a;
        a = b;
        b = swap;
    }
    if (b.row > a.row && dims->rows.kind[b.row] == DIM_POLY) return true; /* might mention a */
    dims->rows.same_as[a.row] = b.row; /* parents have smaller rows or are later constants */
    dims->epoch++;
    return true;
}

DimId dims_find(Dims *dims, DimId id) {
    uint32_t row = id.row;
    while (dims->rows.same_as[row] != 0) row = dims->rows.same_as[row];
    if (dims->epoch == 0) return (DimId){row};
    uint32_t lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    switch ((DimKind)dims->rows.kind[row]) {
    case DIM_POLY: {
        DimId sum = dims_const(dims, 0);
        for (uint32_t i = 0; i < rhs; i++) {
            DimId    product = dims_const(dims, dims->terms.coef[lhs + i]);
            uint32_t mono = dims->terms.mono[lhs + i];
            for (uint32_t k = 0; k < dims->monos.count[mono] && dim_id_some(product); k++) {
                DimId atom = {dims->atoms.atom[dims->monos.first[mono] + k]};
                product = dims_mul(dims, product, dims_find(dims, atom));
            }
            if (!dim_id_some(product) || !dim_id_some(sum)) return (DimId){row};
            sum = dims_add(dims, sum, product);
        }
        return dim_id_some(sum) ? sum : (DimId){row};
    }
    case DIM_FLOORDIV:
        return dims_floordiv(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    case DIM_MOD:
        return dims_mod(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    case DIM_MIN:
        return dims_min(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    case DIM_MAX:
        return dims_max(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    default: return (DimId){row};
    }
}

bool dims_same(Dims *dims, DimId a, DimId b) {
    if (a.row == b.row) return true;
    if (dims->epoch == 0) return false;
    return dims_find(dims, a).row == dims_find(dims, b).row;
}

/* --- evaluation ------------------------------------------------------------------------------- */
static bool eval_poly(const Dims *dims, uint32_t row, const int64_t *values, int64_t *out) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
        uint32_t term = dims->rows.lhs[row] + i, mono = dims->terms.mono[term];
        int64_t  product = dims->terms.coef[term];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            if (__builtin_mul_overflow(
                    product, values[dims->atoms.atom[dims->monos.first[mono] + k]], &product))
                return false;
        if (__builtin_add_overflow(sum, product, &sum)) return false;
    }
    *out = sum;
    return true;
}

uint32_t dims_eval(const Dims *dims, int64_t *values) {
    const DimRows *r = &dims->rows;
    uint32_t       wrong = 0;
    values[0] = 0;
    for (uint32_t row = 1; row < r->table.count; row++) {
        int64_t a = values[r->kind[row] >= DIM_FLOORDIV ? r->lhs[row] : 0];
        int64_t b = values[r->kind[row] >= DIM_FLOORDIV ? r->rhs[row] : 0];
        bool    good = true;
        switch ((DimKind)r->kind[row]) {
        case DIM_CONST: values[row] = r->imm[row]; break;
        case DIM_SYMBOL:
            good = values[row] >= r->lo[row] && values[row] <= r->hi[row] &&
                   values[row] % r->modulus[row] == r->residue[row];
            break;
        case DIM_POLY: good = eval_poly(dims, row, values, &values[row]); break;
        case DIM_FLOORDIV: values[row] = b > 0 ? floor_div(a, b) : 0; break; /* 0-size divisor */
        case DIM_MOD: values[row] = b > 0 ? a - floor_div(a, b) * b : 0; break;
        case DIM_MIN: values[row] = a < b ? a : b; break;
        case DIM_MAX: values[row] = a > b ? a : b; break;
        default: good = false; break;
        }
        if (!good && wrong == 0) wrong = row;
    }
    for (uint32_t row = 1; row < r->table.count && wrong == 0; row++)
        if (r->same_as[row] != 0 && values[row] != values[r->same_as[row]]) wrong = row;
    return wrong;
}
