/* Rows, monomials and sums. A Poly is the working form of a sum: a short sorted array of terms on
 * the stack; makers turn their arguments into Polys, combine, and intern the result. Canonical
 * form: terms sorted by monomial row, no zero coefficient, at least two terms or a coefficient
 * other than one (otherwise the dim is the constant or the atom itself). */
#include "arena/hash.h"
#include "tables/dims_inner.h"

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
#define TABLE_SELF_ DimRules
TABLE_INFO(DimRules, dim_rules_info, "dim_rules", DIM_RULES_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ DimNotes
TABLE_INFO(DimNotes, dim_notes_info, "dim_notes", DIM_NOTES_COLUMNS);
#undef TABLE_SELF_

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
uint32_t dims_mono_add(Dims *dims, const uint32_t *atoms, uint32_t count) {
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
uint32_t dims_mono_mul(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t na = dims->monos.count[a], nb = dims->monos.count[b], n = 0;
    if (na + nb > DIM_DEGREE_MAX) return 0;
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    uint32_t        merged[DIM_DEGREE_MAX];
    while (na != 0 || nb != 0) {
        bool     left = nb == 0 || (na != 0 && *x <= *y);
        uint32_t atom = left ? *x++ : *y++;
        na -= left;
        nb -= !left;
        bool again = n != 0 && merged[n - 1] == atom && dims->rows.kind[atom] == DIM_LESS;
        if (!again) merged[n++] = atom; /* 0 and 1 are their own squares */
    }
    return dims_mono_add(dims, merged, n);
}
/* Quotient a / b, or 0 if b does not divide a. */
uint32_t dims_mono_div(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t        na = dims->monos.count[a], nb = dims->monos.count[b], n = 0, j = 0;
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    uint32_t        rest[DIM_DEGREE_MAX];
    for (uint32_t i = 0; i < na; i++) {
        if (j < nb && x[i] == y[j])
            j++;
        else
            rest[n++] = x[i];
    }
    return j == nb ? dims_mono_add(dims, rest, n) : 0;
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

static uint64_t key_hash(const DimKey *key) {
    return key->poly ? poly_hash(key->poly->coef, key->poly->mono, key->poly->count)
                     : dim_key_hash(key->kind, key->imm, key->lhs, key->rhs);
}
static DimId dim_intern(Dims *dims, DimKey key) {
    uint64_t hash = key_hash(&key);
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
    rows->below[row] = rows->same_as[row] = 0;
    intern_add(&dims->index, hash, row);
    return (DimId){row};
}

DimId dims_atom_add(Dims *dims, DimKind kind, uint32_t lhs, uint32_t rhs) {
    ASSERT(kind >= DIM_FLOORDIV && lhs != 0 && rhs != 0);
    return dim_intern(dims, (DimKey){.kind = kind, .lhs = lhs, .rhs = rhs});
}
void dims_open(Dims *dims, uint32_t rows_max, Budget *budget) {
    ASSERT(rows_max <= 1u << 24); /* dim_memo_at */
    memset(dims, 0, sizeof *dims);
    table_open(&dims->rows.table, &dim_rows_info, rows_max, budget);
    table_open(&dims->terms.table, &dim_terms_info, rows_max, budget);
    table_open(&dims->monos.table, &monos_info, rows_max, budget);
    table_open(&dims->atoms.table, &mono_atoms_info, rows_max, budget);
    table_open(&dims->notes.table, &dim_notes_info, rows_max, budget);
    table_open(&dims->rules.table, &dim_rules_info, rows_max, budget);
    intern_open(&dims->index, rows_max, budget);
    intern_open(&dims->mono_index, rows_max, budget);
    dims->fact_epoch = 1;
    uint32_t one = dims_mono_add(dims, NULL, 0);
    ASSERT(one == DIM_MONO_ONE);
    (void)one;
}

void dims_close(Dims *dims) {
    table_close(&dims->rows.table);
    table_close(&dims->terms.table);
    table_close(&dims->monos.table);
    table_close(&dims->atoms.table);
    table_close(&dims->notes.table);
    table_close(&dims->rules.table);
    intern_close(&dims->index);
    intern_close(&dims->mono_index);
}

void dims_reindex(Dims *dims) {
    dims_forget(dims);
    table_clear(&dims->notes.table);
    intern_clear(&dims->index);
    intern_clear(&dims->mono_index);
    for (uint32_t row = 1; row < dims->monos.table.count; row++)
        intern_add(&dims->mono_index, mono_hash(dims, row), row);
    for (uint32_t row = 1; row < dims->rows.table.count; row++)
        intern_add(&dims->index, dim_hash(dims, row), row);
    dims_equal_reindex(dims);
}

void dims_copy_derived(Dims *into, const Dims *from) {
    intern_copy(&into->index, &from->index);
    intern_copy(&into->mono_index, &from->mono_index);
    into->epoch = from->epoch;
    dims_forget(into);
    table_clear(&into->notes.table);
    dims_equal_reindex(into);
}

/* --- polynomials ------------------------------------------------------------------------------ */
static void poly_fail(Poly *poly) { poly->count = DIM_TERMS_MAX + 1; }

void dims_poly_push(Poly *poly, int64_t coef, uint32_t mono) {
    if (coef == 0 || poly_failed(poly)) return;
    uint32_t at = poly->count;
    while (at > 0 && poly->mono[at - 1] >= mono) at--;
    if (at < poly->count && poly->mono[at] == mono) {
        bool overflow = __builtin_add_overflow(poly->coef[at], coef, &poly->coef[at]);
        if (overflow || poly->coef[at] == INT64_MIN) {
            poly_fail(poly);
            return;
        }
        if (poly->coef[at] != 0) return;
        poly->count--;
        memmove(poly->coef + at, poly->coef + at + 1, (poly->count - at) * sizeof(int64_t));
        memmove(poly->mono + at, poly->mono + at + 1, (poly->count - at) * sizeof(uint32_t));
        return;
    }
    if (poly->count == DIM_TERMS_MAX || coef == INT64_MIN) {
        poly_fail(poly);
        return;
    }
    memmove(poly->coef + at + 1, poly->coef + at, (poly->count - at) * sizeof(int64_t));
    memmove(poly->mono + at + 1, poly->mono + at, (poly->count - at) * sizeof(uint32_t));
    poly->coef[at] = coef;
    poly->mono[at] = mono;
    poly->count++;
}
static void push_scaled(Poly *poly, int64_t coef, int64_t scale, uint32_t mono) {
    int64_t scaled;
    if (__builtin_mul_overflow(coef, scale, &scaled))
        poly_fail(poly);
    else
        dims_poly_push(poly, scaled, mono);
}
void dims_poly_add(Dims *dims, Poly *poly, DimId id, int64_t scale) {
    ASSERT(dim_id_some(id));
    const DimRows *r = &dims->rows;
    if (r->kind[id.row] == DIM_CONST)
        push_scaled(poly, r->imm[id.row], scale, DIM_MONO_ONE);
    else if (r->kind[id.row] != DIM_POLY)
        dims_poly_push(poly, scale, dims_mono_add(dims, &id.row, 1));
    else
        for (uint32_t i = r->lhs[id.row]; i < r->lhs[id.row] + r->rhs[id.row]; i++)
            push_scaled(poly, dims->terms.coef[i], scale, dims->terms.mono[i]);
}
void dims_poly_sum(Poly *poly, const Poly *x, int64_t scale) {
    if (poly_failed(x)) poly_fail(poly);
    for (uint32_t i = 0; i < x->count && !poly_failed(poly); i++)
        push_scaled(poly, x->coef[i], scale, x->mono[i]);
}
void dims_poly_of(Dims *dims, Poly *out, DimId id) {
    out->count = 0;
    dims_poly_add(dims, out, id, 1);
}
void dims_poly_mul(Dims *dims, const Poly *x, const Poly *y, Poly *out) {
    ASSERT(out != x && out != y);
    out->count = 0;
    if (poly_failed(x) || poly_failed(y)) poly_fail(out);
    for (uint32_t i = 0; !poly_failed(out) && i < x->count; i++)
        for (uint32_t j = 0; j < y->count && !poly_failed(out); j++) {
            uint32_t mono = dims_mono_mul(dims, x->mono[i], y->mono[j]);
            int64_t  coef;
            if (mono == 0 || __builtin_mul_overflow(x->coef[i], y->coef[j], &coef))
                poly_fail(out);
            else
                dims_poly_push(out, coef, mono);
        }
}
static uint32_t mono_degree(const Dims *dims, uint32_t mono, uint32_t atom) {
    const uint32_t *atoms = dims->atoms.atom + dims->monos.first[mono];
    uint32_t        degree = 0;
    for (uint32_t k = 0; k < dims->monos.count[mono]; k++) degree += atoms[k] == atom;
    return degree;
}
bool dims_poly_linear(Dims *dims, const Poly *poly, uint32_t atom, Poly *quotient, Poly *rest) {
    ASSERT(!poly_failed(poly));
    uint32_t divisor = dims_mono_add(dims, &atom, 1);
    quotient->count = rest->count = 0;
    for (uint32_t i = 0; i < poly->count; i++) {
        uint32_t degree = mono_degree(dims, poly->mono[i], atom);
        if (degree > 1) return false;
        if (degree == 1)
            dims_poly_push(quotient, poly->coef[i], dims_mono_div(dims, poly->mono[i], divisor));
        else
            dims_poly_push(rest, poly->coef[i], poly->mono[i]);
    }
    return true;
}

uint32_t dims_poly_atom(const Dims *dims, const Poly *poly, uint32_t kinds, uint32_t before) {
    uint32_t youngest = 0;
    for (uint32_t i = 0; i < poly->count; i++) {
        uint32_t first = dims->monos.first[poly->mono[i]];
        for (uint32_t k = first; k < first + dims->monos.count[poly->mono[i]]; k++) {
            uint32_t atom = dims->atoms.atom[k];
            bool     wanted = (kinds >> dims->rows.kind[atom] & 1) != 0;
            if (wanted && atom < before && atom > youngest) youngest = atom;
        }
    }
    return youngest;
}
bool dims_poly_divides(Dims *dims, const Poly *poly, DimId id, Poly *quotient) {
    Poly divisor;
    dims_poly_of(dims, &divisor, id);
    if (divisor.count != 1) return false;
    quotient->count = 0;
    for (uint32_t i = 0; i < poly->count; i++) {
        uint32_t mono = dims_mono_div(dims, poly->mono[i], divisor.mono[0]);
        if (mono == 0 || poly->coef[i] % divisor.coef[0] != 0) return false;
        dims_poly_push(quotient, poly->coef[i] / divisor.coef[0], mono);
    }
    return true;
}

/* --- exact quotients -------------------------------------------------------------------------- */
/* scale*d*(x floordiv d) = scale*(x - r) where the facts of x say that x = r mod d. Makes the first
 * such term of poly into that. */
static bool open_exact(Dims *dims, Poly *poly) {
    for (uint32_t i = 0; i < poly->count; i++) {
        uint32_t first = dims->monos.first[poly->mono[i]];
        for (uint32_t k = first; k < first + dims->monos.count[poly->mono[i]]; k++) {
            uint32_t atom = dims->atoms.atom[k];
            if (dims->rows.kind[atom] != DIM_FLOORDIV) continue;
            DimId   x = {dims->rows.lhs[atom]}, d = {dims->rows.rhs[atom]};
            int64_t by = dims_is_const(dims, d) ? dims_const_value(dims, d) : 0, residue;
            if (by <= 0 || poly->coef[i] % by != 0 ||
                !dims_fact_residue(dims_fact(dims, x.row), by, &residue))
                continue;
            Poly scale = {.count = 1, .coef = {poly->coef[i] / by}}, part, opened;
            scale.mono[0] = dims_mono_div(dims, poly->mono[i], dims_mono_add(dims, &atom, 1));
            dims_poly_of(dims, &part, x);
            dims_poly_push(&part, -residue, DIM_MONO_ONE);
            dims_poly_mul(dims, &part, &scale, &opened);
            dims_poly_sum(&opened, poly, 1);
            dims_poly_push(&opened, -poly->coef[i], poly->mono[i]);
            if (poly_failed(&opened)) continue;
            *poly = opened;
            return true;
        }
    }
    return false;
}

DimId dims_poly_intern(Dims *dims, Poly *poly) {
    if (poly_failed(poly)) return (DimId){0};
    while (open_exact(dims, poly)) continue; /* each opens an atom into older ones */
    if (poly->count == 0) return dims_const(dims, 0);
    if (poly->count == 1 && poly->mono[0] == DIM_MONO_ONE) return dims_const(dims, poly->coef[0]);
    if (poly->count == 1 && poly->coef[0] == 1 && dims->monos.count[poly->mono[0]] == 1)
        return (DimId){dims->atoms.atom[dims->monos.first[poly->mono[0]]]};
    return dim_intern(dims, (DimKey){.kind = DIM_POLY, .poly = poly});
}

/* --- makers ----------------------------------------------------------------------------------- */
void  dims_forget(Dims *dims) { dims->fact_epoch++; }
DimId dims_const(Dims *dims, int64_t size) {
    uint32_t b = (uint32_t)size;
    DimMemo *memo = dim_memo_at(dims, MAKE_CONST, 0, b);
    if (b == size && dim_memo_has(dims, memo, MAKE_CONST, 0, b)) return (DimId){memo->result};
    DimId made = dim_intern(dims, (DimKey){.kind = DIM_CONST, .imm = size});
    return b == size ? dim_memo_set(dims, memo, MAKE_CONST, 0, b, made) : made;
}
DimId dims_symbol(Dims *dims, StrId name) {
    ASSERT(str_id_some(name));
    return dim_intern(dims, (DimKey){.kind = DIM_SYMBOL, .imm = name.row});
}
static DimId linear(Dims *dims, DimMaker maker, DimId a, DimId b, int64_t scale) {
    if (!dim_id_some(a) || !dim_id_some(b)) return (DimId){0};
    DimMemo *memo = dim_memo_at(dims, maker, a.row, b.row);
    if (dim_memo_has(dims, memo, maker, a.row, b.row)) return (DimId){memo->result};
    Poly sum;
    dims_poly_of(dims, &sum, a);
    dims_poly_add(dims, &sum, b, scale);
    return dim_memo_set(dims, memo, maker, a.row, b.row, dims_poly_intern(dims, &sum));
}
DimId dims_add(Dims *dims, DimId a, DimId b) { return linear(dims, MAKE_ADD, a, b, 1); }
DimId dims_sub(Dims *dims, DimId a, DimId b) { return linear(dims, MAKE_SUB, a, b, -1); }

DimId dims_mul(Dims *dims, DimId a, DimId b) {
    if (!dim_id_some(a) || !dim_id_some(b)) return (DimId){0};
    DimMemo *memo = dim_memo_at(dims, MAKE_MUL, a.row, b.row);
    if (dim_memo_has(dims, memo, MAKE_MUL, a.row, b.row)) return (DimId){memo->result};
    Poly x, y, product;
    dims_poly_of(dims, &x, a);
    dims_poly_of(dims, &y, b);
    dims_poly_mul(dims, &x, &y, &product);
    return dim_memo_set(dims, memo, MAKE_MUL, a.row, b.row, dims_poly_intern(dims, &product));
}
