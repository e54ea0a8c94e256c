// Random expressions against numbers: whatever the algebra simplifies, derives, proves or replaces
// must hold of every assignment of the symbols that their facts allow. Values are computed here, in
// 128 bits, without dims_eval. STOA_DIMS_EPISODES sets how many programs are tried.
#include <stdlib.h>

#include "tables/dims.h"

#include "harness.h"

enum { SETS = 6, POOL = 20, SYMBOLS = 8, STEPS = 40, EPISODES = 300 };
__extension__ typedef __int128 Wide;
static const Wide              wide_max = (Wide)1 << 100;

typedef struct Set { // one assignment
    Wide    *value;  // by row
    uint8_t *good;   // by row: no divisor below 1, no value beyond wide_max
    uint32_t rows;   // computed
} Set;
typedef struct Random {
    Arena   *arena;
    Dims     dims;
    uint64_t state, checks;
    DimId    symbol[SYMBOLS], pool[POOL];
    uint32_t pool_count, named;
    int64_t  want[POOL][SETS]; // by the makers' meaning, from the values of the operands
    Set      sets[SETS];
} Random;
enum { ROWS_MAX = 1 << 15 };

static uint64_t next(Random *r) {
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state * 0x2545F4914F6CDD1Du >> 16;
}
static int64_t pick(Random *r, int64_t n) { return (int64_t)(next(r) % (uint64_t)n); }
// 0, 1, primes, powers of two and their neighbours.
static int64_t size(Random *r) {
    static const int64_t small[] = {0, 1, 1, 2, 3, 5, 7, 13};
    if (pick(r, 2) != 0) return small[pick(r, LENGTH(small))];
    return ((int64_t)1 << (1 + pick(r, 9))) + pick(r, 3) - 1;
}

// --- values
static Wide floor_divide(Wide a, Wide b) { return a / b - (a % b != 0 && a < 0); }
static bool small_enough(Wide x) { return x < wide_max && -x < wide_max; }
static bool row_value(const Dims *d, const Set *set, uint32_t row, Wide *out) {
    const DimRows *r = &d->rows;
    uint32_t       lhs = r->lhs[row], rhs = r->rhs[row];
    Wide           sum = 0;
    if (r->kind[row] == DIM_CONST) {
        *out = r->imm[row];
        return true;
    }
    if (r->kind[row] == DIM_POLY) {
        for (uint32_t i = lhs; i < lhs + rhs; i++) {
            Wide     product = d->terms.coef[i];
            uint32_t mono = d->terms.mono[i], first = d->monos.first[mono];
            for (uint32_t k = first; k < first + d->monos.count[mono]; k++) {
                uint32_t atom = d->atoms.atom[k];
                if (!set->good[atom] || __builtin_mul_overflow(product, set->value[atom], &product))
                    return false;
            }
            if (__builtin_add_overflow(sum, product, &sum)) return false;
        }
        *out = sum;
        return small_enough(sum);
    }
    if (!set->good[lhs] || !set->good[rhs]) return false;
    Wide a = set->value[lhs], b = set->value[rhs];
    switch ((DimKind)r->kind[row]) {
    case DIM_FLOORDIV:
        if (b <= 0) return false;
        *out = floor_divide(a, b);
        return true;
    case DIM_MIN: *out = a < b ? a : b; return true;
    case DIM_MAX: *out = a > b ? a : b; return true;
    case DIM_LESS: *out = a < b; return true;
    default: return false;
    }
}
// Values of rows made since the last call. Symbols have theirs already.
static void follow(Random *r, Set *set) {
    for (; set->rows < r->dims.rows.table.count; set->rows++)
        if (r->dims.rows.kind[set->rows] != DIM_SYMBOL)
            set->good[set->rows] = row_value(&r->dims, set, set->rows, &set->value[set->rows]);
}
static Set set_open(Arena *arena) {
    return (Set){.value = ARENA_ARRAY_ZERO(arena, Wide, ROWS_MAX),
                 .good = ARENA_ARRAY_ZERO(arena, uint8_t, ROWS_MAX),
                 .rows = 1};
}
static void give(Set *set, DimId symbol, int64_t value) {
    set->value[symbol.row] = value;
    set->good[symbol.row] = 1;
}
static void follow_all(Random *r) {
    for (uint32_t s = 0; s < SETS; s++) follow(r, &r->sets[s]);
}

// --- programs
// Symbols: three sizes, one of a range, one of a congruence, three loop variables whose bounds are
// expressions. Assignments in which a bound is below 1 are drawn again.
static bool within(const Random *r, const Set *set) {
    const DimRows *rows = &r->dims.rows;
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        uint32_t row = r->symbol[i].row, below = rows->below[row];
        Wide     value = set->value[row];
        if (value < rows->lo[row] || value > rows->hi[row]) return false;
        if (value % rows->modulus[row] != rows->residue[row]) return false;
        if (below != 0 && (!set->good[below] || value >= set->value[below])) return false;
    }
    for (uint32_t row = 1; row < rows->table.count && r->named != 0; row++) {
        uint32_t other = rows->same_as[row];
        if (other != 0 &&
            (!set->good[row] || !set->good[other] || set->value[row] != set->value[other]))
            return false;
    }
    return true;
}
static void make_symbols(Random *r) {
    Dims *d = &r->dims;
    for (uint32_t i = 0; i < SYMBOLS; i++) r->symbol[i] = dims_symbol(d, (StrId){i + 1});
    for (uint32_t s = 0; s < SETS; s++)
        for (uint32_t i = 0; i < 3; i++) give(&r->sets[s], r->symbol[i], size(r));
    int64_t lo = size(r), modulus = 1 + size(r), residue = pick(r, modulus);
    EXPECT(dims_set_range(d, r->symbol[3], lo, lo + size(r)));
    EXPECT(dims_set_congruence(d, r->symbol[4], modulus, residue));
    for (uint32_t s = 0; s < SETS; s++) {
        give(&r->sets[s], r->symbol[3], lo + pick(r, d->rows.hi[r->symbol[3].row] - lo + 1));
        give(&r->sets[s], r->symbol[4], residue + modulus * pick(r, 40));
    }
}
// The bounds may only use symbols that are there already.
static void make_loops(Random *r) {
    Dims *d = &r->dims;
    for (uint32_t i = 5; i < SYMBOLS; i++) {
        DimId a = r->symbol[pick(r, i)], b = r->symbol[pick(r, 5)];
        DimId bound = a;
        if (pick(r, 3) == 0) bound = dims_add(d, dims_mul(d, a, b), dims_const(d, 1));
        if (pick(r, 3) == 0)
            bound = dims_add(d, dims_floordiv(d, a, dims_const(d, 1 + size(r))), b);
        if (pick(r, 5) == 0) bound = dims_const(d, 1 + size(r));
        if (dims_contains(d, bound, r->symbol[i])) continue;
        for (uint32_t s = 0; s < SETS; s++) {
            Set *set = &r->sets[s];
            follow(r, set);
            int64_t value = (int64_t)set->value[bound.row];
            give(set, r->symbol[i], value > 0 ? pick(r, value) : 0);
        }
        dims_set_below(d, r->symbol[i], bound);
    }
}
static bool add_pool(Random *r, DimId id, const Wide *want) {
    uint32_t at = r->pool_count < POOL ? r->pool_count++ : (uint32_t)(8 + pick(r, POOL - 8));
    r->pool[at] = id;
    for (uint32_t s = 0; s < SETS; s++) r->want[at][s] = (int64_t)want[s];
    return true;
}
// The meaning of maker number `op`; false where it has none.
static bool meaning(uint32_t op, Wide a, Wide b, Wide x, Wide y, Wide *out) {
    if ((op == 3 || op == 4 || op == 5) && b <= 0) return false;
    switch (op) {
    case 0: *out = a + b; break;
    case 1: *out = a - b; break;
    case 2: *out = a * b; break;
    case 3: *out = floor_divide(a, b); break;
    case 4: *out = a - floor_divide(a, b) * b; break;
    case 5: *out = floor_divide(a + b - 1, b); break;
    case 6: *out = a < b ? a : b; break;
    case 7: *out = a > b ? a : b; break;
    default: *out = a < b ? x : y; break;
    }
    return *out < (Wide)1 << 60 && -*out < (Wide)1 << 60;
}
static DimId make(Dims *d, uint32_t op, DimId a, DimId b, DimId x, DimId y) {
    switch (op) {
    case 0: return dims_add(d, a, b);
    case 1: return dims_sub(d, a, b);
    case 2: return dims_mul(d, a, b);
    case 3: return dims_floordiv(d, a, b);
    case 4: return dims_mod(d, a, b);
    case 5: return dims_ceildiv(d, a, b);
    case 6: return dims_min(d, a, b);
    case 7: return dims_max(d, a, b);
    default: return dims_select(d, a, b, x, y);
    }
}
static bool value_is(const Random *r, DimId id, uint32_t s, Wide want) {
    return r->sets[s].good[id.row] && r->sets[s].value[id.row] == want;
}

// --- checks
static bool facts_hold(Random *r, DimId id) {
    DimRange range = dims_range(&r->dims, id);
    int64_t  by = 1 + size(r);
    bool     held = true, divisible = dims_divisible(&r->dims, id, by);
    for (uint32_t s = 0; s < SETS; s++) {
        if (!r->sets[s].good[id.row]) continue;
        Wide value = r->sets[s].value[id.row];
        held &= value >= range.lo && value <= range.hi && (!divisible || value % by == 0);
        r->checks++;
    }
    return held;
}
static bool step(Random *r) {
    Dims    *d = &r->dims;
    uint32_t op = (uint32_t)pick(r, 9), n = r->pool_count;
    uint32_t a = (uint32_t)pick(r, n), b = (uint32_t)pick(r, n), x = (uint32_t)pick(r, n),
             y = (uint32_t)pick(r, n);
    Wide want[SETS];
    for (uint32_t s = 0; s < SETS; s++)
        if (!meaning(op, r->want[a][s], r->want[b][s], r->want[x][s], r->want[y][s], &want[s]))
            return true;
    DimId made = make(d, op, r->pool[a], r->pool[b], r->pool[x], r->pool[y]);
    if (!dim_id_some(made)) return true; // too complex
    follow_all(r);
    for (uint32_t s = 0; s < SETS; s++) {
        r->checks++;
        if (!EXPECT(value_is(r, made, s, want[s]))) return false;
    }
    return EXPECT(facts_hold(r, made)) && add_pool(r, made, want);
}
static bool compare(Random *r) {
    uint32_t a = (uint32_t)pick(r, r->pool_count), b = (uint32_t)pick(r, r->pool_count);
    bool     below = dims_provably_below(&r->dims, r->pool[a], r->pool[b]);
    bool     at_most = dims_provably_at_most(&r->dims, r->pool[a], r->pool[b]);
    for (uint32_t s = 0; s < SETS; s++) {
        r->checks++;
        if (!EXPECT(!below || r->want[a][s] < r->want[b][s])) return false;
        if (!EXPECT(!at_most || r->want[a][s] <= r->want[b][s])) return false;
    }
    return true;
}
// Whether a quotient is exact by the facts of its dividend. Its multiples are then written without
// it, which is one of several ways to write their sums.
static bool any_exact(Random *r) {
    const DimRows *rows = &r->dims.rows;
    for (uint32_t row = 1; row < rows->table.count; row++) {
        if (rows->kind[row] != DIM_FLOORDIV || rows->kind[rows->rhs[row]] != DIM_CONST) continue;
        (void)dims_range(&r->dims, (DimId){rows->lhs[row]}); // makes its note
        if (r->dims.notes.modulus[rows->lhs[row]] % rows->imm[rows->rhs[row]] == 0) return true;
    }
    return false;
}
// Sums and products of the same operands in another order are the same row.
static bool canonical(Random *r) {
    Dims *d = &r->dims;
    if (r->named != 0 || any_exact(r)) return true;
    DimId a = r->pool[pick(r, r->pool_count)], b = r->pool[pick(r, r->pool_count)];
    DimId c = r->pool[pick(r, r->pool_count)], zero = dims_const(d, 0);
    DimId ab = dims_add(d, a, b), bc = dims_add(d, b, c), ac = dims_mul(d, a, c);
    DimId product = dims_mul(d, b, c);
    r->checks++;
    if (dim_id_some(ab) && !EXPECT_EQ(dims_sub(d, ab, b).row, a.row)) return false;
    if (dim_id_some(ab) && dim_id_some(bc)) {
        DimId left = dims_add(d, ab, c), right = dims_add(d, a, bc);
        if (!EXPECT_EQ(left.row, right.row)) return false;
    }
    if (dim_id_some(ab) && dim_id_some(ac) && dim_id_some(product)) {
        DimId left = dims_mul(d, ab, c), right = dims_add(d, ac, product);
        if (dim_id_some(left) && dim_id_some(right) && !EXPECT_EQ(left.row, right.row))
            return false;
    }
    return EXPECT_EQ(dims_add(d, a, zero).row, a.row);
}
static bool linear(Random *r) {
    Dims *d = &r->dims;
    DimId id = r->pool[pick(r, r->pool_count)], symbol = r->symbol[pick(r, SYMBOLS)], coef, rest;
    if (!dims_linear_in(d, id, symbol, &coef, &rest)) return EXPECT(dims_contains(d, id, symbol));
    if (!EXPECT(!dims_contains(d, coef, symbol)) || !EXPECT(!dims_contains(d, rest, symbol)))
        return false;
    follow_all(r);
    for (uint32_t s = 0; s < SETS; s++) {
        const Set *set = &r->sets[s];
        r->checks++;
        if (!set->good[coef.row] || !set->good[rest.row] || !set->good[id.row]) continue;
        Wide sum = set->value[coef.row] * set->value[symbol.row] + set->value[rest.row];
        if (!EXPECT(sum == set->value[id.row])) return false;
    }
    return true;
}
// Replacing a symbol by an expression and evaluating is evaluating with the expression's value,
// where that value keeps the facts of the symbol.
static bool substitute(Random *r, Set *other) {
    Dims    *d = &r->dims;
    uint32_t which = (uint32_t)pick(r, SYMBOLS), from = (uint32_t)pick(r, r->pool_count);
    DimId    id = r->pool[pick(r, r->pool_count)], symbol = r->symbol[which];
    DimId    made = dims_substitute(d, id, &symbol, &r->pool[from], 1);
    if (!dim_id_some(made)) return true;
    follow_all(r);
    for (uint32_t s = 0; s < SETS; s++) {
        for (uint32_t i = 0; i < SYMBOLS; i++)
            give(other, r->symbol[i], (int64_t)r->sets[s].value[r->symbol[i].row]);
        for (uint32_t i = 0; i < r->named; i++) {
            DimId name = dims_symbol(d, (StrId){100 + i});
            give(other, name, (int64_t)r->sets[s].value[name.row]);
        }
        give(other, symbol, r->want[from][s]);
        other->rows = 1;
        follow(r, other);
        if (!within(r, other) || !other->good[id.row] || !r->sets[s].good[made.row]) continue;
        r->checks++;
        if (!EXPECT(value_is(r, made, s, other->value[id.row]))) return false;
    }
    return true;
}

// --- equalities
// A new symbol with the values of an expression, equated with it in one of several ways; nothing of
// that can be a contradiction.
static bool equate(Random *r) {
    Dims    *d = &r->dims;
    uint32_t at = (uint32_t)pick(r, r->pool_count);
    DimId    id = r->pool[at], name = dims_symbol(d, (StrId){100 + r->named});
    Wide     want[SETS];
    int64_t  by = 1 + size(r);
    for (uint32_t s = 0; s < SETS; s++) {
        want[s] = r->want[at][s];
        if (want[s] < 0 || want[s] > DIM_SIZE_MAX) return true;
    }
    r->named++;
    for (uint32_t s = 0; s < SETS; s++) give(&r->sets[s], name, (int64_t)want[s]);
    DimId left = name, right = id, factor = dims_const(d, by);
    if (pick(r, 3) == 0) {
        left = dims_mul(d, factor, name);
        right = dims_mul(d, factor, id);
    } else if (pick(r, 3) == 0) {
        left = dims_floordiv(d, name, factor);
        right = dims_floordiv(d, id, factor);
    } else if (pick(r, 3) == 0) {
        left = dims_mul(d, dims_const(d, 2), name);
        right = dims_add(d, id, name);
    }
    if (!dim_id_some(left) || !dim_id_some(right)) return true;
    if (!EXPECT(pick(r, 2) ? dims_equate(d, left, right) : dims_equate(d, right, left)))
        return false;
    follow_all(r);
    r->checks++;
    return EXPECT(dims_same(d, left, right)) && add_pool(r, name, want);
}
static bool find(Random *r) {
    uint32_t at = (uint32_t)pick(r, r->pool_count), other = (uint32_t)pick(r, r->pool_count);
    DimId    id = dims_find(&r->dims, r->pool[at]);
    bool     same = dims_same(&r->dims, r->pool[at], r->pool[other]);
    follow_all(r);
    for (uint32_t s = 0; s < SETS; s++) {
        r->checks++;
        if (!EXPECT(value_is(r, id, s, r->want[at][s]))) return false;
        if (!EXPECT(!same || r->want[at][s] == r->want[other][s])) return false;
    }
    return EXPECT_EQ(dims_find(&r->dims, id).row, id.row) && EXPECT(facts_hold(r, r->pool[at]));
}
// What is said to be a contradiction must be one. Last, because it may be neither.
static bool contradict(Random *r) {
    uint32_t a = (uint32_t)pick(r, r->pool_count), b = (uint32_t)pick(r, r->pool_count);
    if (dims_equate(&r->dims, r->pool[a], r->pool[b])) return true;
    bool all = true;
    for (uint32_t s = 0; s < SETS; s++) all &= r->want[a][s] != r->want[b][s];
    return EXPECT(all);
}

static bool begin(Random *r) {
    make_symbols(r);
    make_loops(r);
    follow_all(r);
    for (uint32_t s = 0; s < SETS; s++)
        if (!within(r, &r->sets[s])) return false;
    Wide want[SETS];
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        for (uint32_t s = 0; s < SETS; s++) want[s] = r->sets[s].value[r->symbol[i].row];
        (void)add_pool(r, r->symbol[i], want);
    }
    for (uint32_t i = 0; i < 4; i++) {
        int64_t number = size(r) - (pick(r, 4) == 0 ? 5 : 0);
        for (uint32_t s = 0; s < SETS; s++) want[s] = number;
        (void)add_pool(r, dims_const(&r->dims, number), want);
    }
    return true;
}
static bool episode(Random *r, Set *other) {
    bool held = true, named = pick(r, 2) != 0;
    while (!begin(r)) { // other sizes
        dims_close(&r->dims);
        memset(&r->dims, 0, sizeof r->dims);
        dims_open(&r->dims, ROWS_MAX, NULL);
        r->pool_count = r->named = 0;
        for (uint32_t s = 0; s < SETS; s++) r->sets[s].rows = 1;
    }
    for (uint32_t i = 0; i < STEPS && held; i++)
        held = step(r) && compare(r) && canonical(r) && linear(r) && substitute(r, other) &&
               (!named || i % 3 != 0 || equate(r)) && find(r);
    return held && contradict(r);
}

TEST(dims_random_programs) {
    const char *asked = getenv("STOA_DIMS_EPISODES");
    uint64_t    episodes = asked ? strtoull(asked, NULL, 10) : EPISODES;
    Random     *r = ARENA_NEW(arena, Random);
    Set         other = set_open(arena);
    for (uint32_t s = 0; s < SETS; s++) r->sets[s] = set_open(arena);
    bool held = true;
    for (uint64_t seed = 1; seed <= episodes && held; seed++) {
        r->state = seed * 0x9E3779B97F4A7C15u;
        memset(&r->dims, 0, sizeof r->dims);
        dims_open(&r->dims, ROWS_MAX, NULL);
        r->pool_count = r->named = 0;
        for (uint32_t s = 0; s < SETS; s++) r->sets[s].rows = 1;
        held = episode(r, &other);
        if (!held) EXPECT_EQ(seed, 0); // names the seed
        dims_close(&r->dims);
    }
    EXPECT(r->checks > episodes * 100);
}
