// The algebra of sizes: canonical forms, what is provable under facts, structure and substitution.
// Expressions are compared by id, which is what the compiler relies on.
#include "tables/dims.h"

#include "harness.h"

typedef struct Algebra {
    Dims  dims;
    DimId n, c, d, i, j, k; // sizes N, C, D and loop variables i < N, j < C, k < D
} Algebra;

static DimId symbol(Algebra *a, uint32_t name) { return dims_symbol(&a->dims, (StrId){name}); }
static DimId num(Algebra *a, int64_t n) { return dims_const(&a->dims, n); }
static DimId add(Algebra *a, DimId x, DimId y) { return dims_add(&a->dims, x, y); }
static DimId sub(Algebra *a, DimId x, DimId y) { return dims_sub(&a->dims, x, y); }
static DimId mul(Algebra *a, DimId x, DimId y) { return dims_mul(&a->dims, x, y); }
static DimId divide(Algebra *a, DimId x, DimId y) { return dims_floordiv(&a->dims, x, y); }
static DimId mod(Algebra *a, DimId x, DimId y) { return dims_mod(&a->dims, x, y); }
static bool  below(Algebra *a, DimId x, DimId y) { return dims_provably_below(&a->dims, x, y); }
static bool  same(DimId x, DimId y) { return x.row != 0 && x.row == y.row; }

static Algebra *algebra_open(Arena *arena) {
    Algebra *a = ARENA_NEW(arena, Algebra);
    dims_open(&a->dims, 1 << 16, NULL);
    a->n = symbol(a, 1), a->c = symbol(a, 2), a->d = symbol(a, 3);
    a->i = symbol(a, 4), a->j = symbol(a, 5), a->k = symbol(a, 6);
    dims_set_below(&a->dims, a->i, a->n);
    dims_set_below(&a->dims, a->j, a->c);
    dims_set_below(&a->dims, a->k, a->d);
    return a;
}
static void  algebra_close(Algebra *a) { dims_close(&a->dims); }
static DimId flat(Algebra *a) { // i*C + j
    return add(a, mul(a, a->i, a->c), a->j);
}
static DimId flat3(Algebra *a) { // (i*C + j)*D + k
    return add(a, mul(a, flat(a), a->d), a->k);
}

TEST(dims_prove_that_an_index_is_inside) {
    Algebra *a = algebra_open(arena);
    EXPECT(below(a, a->i, a->n));
    EXPECT(!below(a, a->n, a->i));
    EXPECT(!below(a, a->i, a->c));
    EXPECT(below(a, flat(a), mul(a, a->n, a->c)));
    EXPECT(!below(a, add(a, flat(a), num(a, 1)), mul(a, a->n, a->c)));
    EXPECT(dims_provably_at_most(&a->dims, add(a, flat(a), num(a, 1)), mul(a, a->n, a->c)));
    EXPECT(below(a, flat3(a), mul(a, mul(a, a->n, a->c), a->d)));
    EXPECT(below(a, sub(a, sub(a, a->n, num(a, 1)), a->i), a->n)); // reversed
    EXPECT(below(a, num(a, -1), sub(a, sub(a, a->n, num(a, 1)), a->i)));
    // The window of a convolution: output o < (N + 2 - 3) floordiv 2 + 1 reads 2*o + t, t < 3.
    DimId o = symbol(a, 7), t = symbol(a, 8);
    DimId out = add(a, divide(a, sub(a, a->n, num(a, 1)), num(a, 2)), num(a, 1));
    dims_set_below(&a->dims, o, out);
    dims_set_below(&a->dims, t, num(a, 3));
    DimId at = add(a, mul(a, num(a, 2), o), t);
    EXPECT(below(a, at, add(a, a->n, num(a, 2))));
    EXPECT(!below(a, at, add(a, a->n, num(a, 1))));
    algebra_close(a);
}
TEST(dims_prove_through_quotients_and_extremes) {
    Algebra *a = algebra_open(arena);
    DimId    eight = num(a, 8), i0 = symbol(a, 7), i1 = symbol(a, 8);
    dims_set_below(&a->dims, i0, divide(a, a->n, eight));
    dims_set_below(&a->dims, i1, eight);
    DimId at = add(a, mul(a, i0, eight), i1);
    EXPECT(below(a, at, a->n)); // the tiles that are full
    EXPECT(dims_provably_at_most(&a->dims, divide(a, a->n, eight), a->n));
    EXPECT(dims_provably_at_most(&a->dims, mul(a, divide(a, a->n, a->c), a->c), a->n));
    EXPECT(!dims_provably_at_most(&a->dims, a->n, mul(a, divide(a, a->n, a->c), a->c)));
    EXPECT(below(a, mod(a, a->n, a->c), a->c));
    DimId least = dims_min(&a->dims, a->n, a->c), most = dims_max(&a->dims, a->n, a->c);
    EXPECT(dims_provably_at_most(&a->dims, least, a->n));
    EXPECT(dims_provably_at_most(&a->dims, a->c, most));
    EXPECT(dims_provably_at_most(&a->dims, least, most));
    EXPECT(!dims_provably_at_most(&a->dims, most, a->n));
    EXPECT(same(dims_min(&a->dims, least, a->n), least));
    EXPECT(same(dims_max(&a->dims, a->i, a->n), a->n));
    EXPECT(same(dims_min(&a->dims, flat(a), mul(a, a->n, a->c)), flat(a)));
    algebra_close(a);
}
TEST(dims_flatten_and_unflatten) {
    Algebra *a = algebra_open(arena);
    DimId    cd = mul(a, a->c, a->d), at = flat3(a);
    EXPECT(same(divide(a, flat(a), a->c), a->i));
    EXPECT(same(mod(a, flat(a), a->c), a->j));
    EXPECT(same(divide(a, at, cd), a->i));
    EXPECT(same(mod(a, divide(a, at, a->d), a->c), a->j));
    EXPECT(same(mod(a, at, a->d), a->k));
    EXPECT(same(divide(a, mod(a, at, cd), a->d), a->j));
    EXPECT(same(divide(a, add(a, mul(a, a->n, num(a, 8)), num(a, 5)), num(a, 8)), a->n));
    EXPECT(same(mod(a, add(a, mul(a, a->n, num(a, 8)), num(a, 5)), num(a, 8)), num(a, 5)));
    // Reversed along one axis: (i*C + C - 1 - j) floordiv C = i.
    DimId back = sub(a, add(a, mul(a, a->i, a->c), sub(a, a->c, num(a, 1))), a->j);
    EXPECT(same(divide(a, back, a->c), a->i));
    EXPECT(same(mod(a, back, a->c), sub(a, sub(a, a->c, num(a, 1)), a->j)));
    // By a sum: ((N + 1)*i + l) floordiv (N + 1) with l <= N.
    DimId l = symbol(a, 7), wide = add(a, a->n, num(a, 1));
    dims_set_below(&a->dims, l, wide);
    EXPECT(same(divide(a, add(a, mul(a, wide, a->i), l), wide), a->i));
    EXPECT(same(mod(a, add(a, mul(a, wide, a->i), l), wide), l));
    EXPECT(same(divide(a, a->n, wide), num(a, 0)));
    algebra_close(a);
}
TEST(dims_merge_divisions) {
    Algebra *a = algebra_open(arena);
    DimId    n = a->n, two = num(a, 2), three = num(a, 3), four = num(a, 4), six = num(a, 6);
    EXPECT(same(divide(a, divide(a, n, two), three), divide(a, n, six)));
    EXPECT(same(divide(a, divide(a, n, a->c), a->d), divide(a, n, mul(a, a->c, a->d))));
    EXPECT(same(divide(a, add(a, divide(a, n, two), num(a, 1)), three),
                divide(a, add(a, n, two), six)));
    EXPECT(same(divide(a, mod(a, n, six), two), mod(a, divide(a, n, two), three)));
    EXPECT(same(mod(a, mod(a, n, six), two), mod(a, n, two)));
    EXPECT(same(mod(a, n, num(a, 1)), num(a, 0)));
    EXPECT(same(mod(a, num(a, 0), n), num(a, 0)));
    EXPECT(same(divide(a, num(a, 0), n), num(a, 0)));
    EXPECT(same(divide(a, n, num(a, 1)), n));
    EXPECT(same(divide(a, n, n), num(a, 1)));
    EXPECT(same(divide(a, mod(a, n, a->c), a->c), num(a, 0)));
    EXPECT(same(divide(a, mul(a, four, n), num(a, 8)), divide(a, n, two)));
    EXPECT(same(mod(a, add(a, mul(a, four, n), three), num(a, 8)),
                add(a, mul(a, four, mod(a, n, two)), three)));
    EXPECT(same(divide(a, mul(a, n, a->c), mul(a, two, a->c)), divide(a, n, two)));
    EXPECT(same(divide(a, add(a, n, num(a, 7)), four),
                add(a, divide(a, add(a, n, three), four), num(a, 1))));
    EXPECT(!dim_id_some(divide(a, n, num(a, 0))));
    EXPECT(!dim_id_some(mod(a, n, num(a, -2))));
    algebra_close(a);
}
TEST(dims_join_quotient_and_remainder) {
    Algebra *a = algebra_open(arena);
    DimId    n = a->n, c = a->c, five = num(a, 5);
    EXPECT(same(add(a, mul(a, five, divide(a, n, five)), mod(a, n, five)), n));
    EXPECT(same(add(a, mul(a, c, divide(a, n, c)), mod(a, n, c)), n));
    DimId wide = add(a, c, num(a, 1));
    EXPECT(same(add(a, mul(a, wide, divide(a, n, wide)), mod(a, n, wide)), n));
    DimId twice = add(a, mul(a, mul(a, num(a, 2), a->d), mod(a, n, c)), a->k);
    EXPECT(same(add(a, twice, mul(a, mul(a, mul(a, num(a, 2), a->d), c), divide(a, n, c))),
                add(a, mul(a, mul(a, num(a, 2), a->d), n), a->k)));
    EXPECT(!same(add(a, mul(a, num(a, 4), divide(a, n, five)), mod(a, n, five)), n));
    algebra_close(a);
}
// An index into two arrays that are one after the other: i < N reads the first.
TEST(dims_select_between_expressions) {
    Algebra *a = algebra_open(arena);
    Dims    *d = &a->dims;
    DimId    n = a->n, m = a->c, l = symbol(a, 7), zero = num(a, 0);
    dims_set_below(d, l, add(a, n, m));
    DimId at = dims_select(d, l, n, l, sub(a, l, n));
    EXPECT(dims_provably_at_most(d, zero, at));
    EXPECT(below(a, at, dims_max(d, n, m)));
    EXPECT(!below(a, at, n));
    EXPECT(same(dims_select(d, l, n, m, m), m));
    EXPECT(same(dims_select(d, a->i, n, m, zero), m));
    EXPECT(same(dims_select(d, n, a->i, m, zero), zero));
    DimId first = dims_less(d, l, n);
    EXPECT(same(mul(a, first, first), first));
    EXPECT(same(dims_less(d, mul(a, num(a, 2), l), mul(a, num(a, 2), n)), first));
    EXPECT_EQ(dims_range(d, dims_select(d, n, m, num(a, 3), num(a, 5))).lo, 3);
    EXPECT_EQ(dims_range(d, dims_select(d, n, m, num(a, 3), num(a, 5))).hi, 5);
    algebra_close(a);
}
TEST(dims_extremes_share_terms) {
    Algebra *a = algebra_open(arena);
    Dims    *d = &a->dims;
    DimId    n = a->n, m = a->c, one = num(a, 1), least = dims_min(d, n, m);
    EXPECT(same(dims_min(d, add(a, n, one), add(a, m, one)), add(a, least, one)));
    EXPECT(same(dims_min(d, add(a, n, a->d), add(a, a->d, m)), add(a, least, a->d)));
    EXPECT(same(dims_min(d, mul(a, num(a, 6), n), mul(a, num(a, 6), m)), mul(a, num(a, 6), least)));
    EXPECT_EQ(dims_range(d, dims_max(d, sub(a, n, one), num(a, 0))).lo, 0);
    algebra_close(a);
}
TEST(dims_facts_narrow) { // and those that leave no number are refused
    Algebra *a = algebra_open(arena);
    DimId    m = symbol(a, 7), e = symbol(a, 8), any = symbol(a, 9);
    EXPECT(dims_set_range(&a->dims, m, 3, 20) && dims_set_range(&a->dims, m, 0, 9));
    EXPECT(!dims_set_range(&a->dims, m, 10, 12) && !dims_set_congruence(&a->dims, m, 16, 1));
    EXPECT(dims_set_congruence(&a->dims, m, 4, 1) && dims_set_congruence(&a->dims, m, 3, 2));
    EXPECT_EQ(dims_range(&a->dims, m).lo, 5); // 5 mod 12
    EXPECT_EQ(dims_range(&a->dims, m).hi, 5);
    EXPECT(dims_equate(&a->dims, e, m) && !dims_set_range(&a->dims, e, 6, 9));
    EXPECT_EQ(dims_range(&a->dims, e).hi, 5);
    dims_set_any(&a->dims, any);
    EXPECT_EQ(dims_range(&a->dims, any).lo, INT64_MIN);
    EXPECT(dims_set_congruence(&a->dims, any, 2, 1));
    EXPECT(!dims_provably_at_most(&a->dims, num(a, 0), any));
    algebra_close(a);
}
TEST(dims_congruence_decides_remainders) {
    Algebra *a = algebra_open(arena);
    DimId    m = symbol(a, 7), e = symbol(a, 8);
    EXPECT(dims_set_congruence(&a->dims, m, 12, 4));
    EXPECT(dims_set_congruence(&a->dims, e, 8, 0));
    EXPECT(same(mod(a, m, num(a, 4)), num(a, 0)));
    EXPECT(same(mod(a, add(a, m, num(a, 3)), num(a, 6)), num(a, 1)));
    EXPECT(dims_divisible(&a->dims, mul(a, m, e), 32));
    EXPECT(!dims_divisible(&a->dims, m, 8));
    EXPECT(dims_divisible(&a->dims, divide(a, e, num(a, 2)), 4));
    EXPECT(dims_divisible(&a->dims, dims_max(&a->dims, e, num(a, 16)), 8));
    EXPECT(dims_divisible(&a->dims, mod(a, e, num(a, 24)), 8));
    EXPECT(dims_set_range(&a->dims, e, 1, 30));
    EXPECT_EQ(dims_range(&a->dims, e).lo, 8);
    EXPECT_EQ(dims_range(&a->dims, e).hi, 24);
    EXPECT_EQ(dims_range(&a->dims, mod(a, a->n, e)).hi, 23);
    algebra_close(a);
}
TEST(dims_substitute_everywhere) {
    Algebra *a = algebra_open(arena);
    DimId    n = a->n, c = a->c, d = a->d;
    DimId    x = add(a, divide(a, add(a, n, num(a, 1)), c), mul(a, n, dims_min(&a->dims, n, d)));
    DimId    from[] = {n, c}, to[] = {mul(a, num(a, 4), d), num(a, 2)};
    DimId    want = add(a, mul(a, num(a, 2), d), mul(a, mul(a, num(a, 4), d), d));
    EXPECT(same(dims_substitute(&a->dims, x, from, to, 2), want)); // min(4*D, D) = D
    DimId swapped[] = {c, n};
    EXPECT(same(dims_substitute(&a->dims, sub(a, n, c), from, swapped, 2), sub(a, c, n)));
    EXPECT(same(dims_substitute(&a->dims, d, from, to, 2), d));
    EXPECT(
        same(dims_substitute(&a->dims, flat(a), from, swapped, 2), add(a, mul(a, a->i, n), a->j)));
    DimId zero = num(a, 0);
    EXPECT(!dim_id_some(dims_substitute(&a->dims, divide(a, d, c), &c, &zero, 1)));
    algebra_close(a);
}
// A chain in which every link uses the last one twice: walking it as a tree would take 2^400 steps.
TEST(dims_shared_parts_are_walked_once) {
    Algebra *a = algebra_open(arena);
    DimId    x = a->n;
    for (int step = 0; step < 400; step++) {
        DimId by = num(a, 3 + step % 5);
        x = dims_max(&a->dims, divide(a, add(a, x, num(a, step)), by), mod(a, x, add(a, a->c, by)));
        REQUIRE(dim_id_some(x));
    }
    EXPECT(dims_contains(&a->dims, x, a->n));
    EXPECT(!dims_contains(&a->dims, x, a->d));
    EXPECT(dims_range(&a->dims, x).hi <= DIM_SIZE_MAX);
    DimId y = dims_substitute(&a->dims, x, &a->n, &a->d, 1);
    EXPECT(dim_id_some(y) && !dims_contains(&a->dims, y, a->n));
    EXPECT(same(dims_substitute(&a->dims, y, &a->d, &a->n, 1), x));
    algebra_close(a);
}
TEST(dims_linear_in_a_symbol) {
    Algebra *a = algebra_open(arena);
    DimId    coefficient, rest;
    REQUIRE(dims_linear_in(&a->dims, flat3(a), a->j, &coefficient, &rest));
    EXPECT(same(coefficient, a->d));
    EXPECT(same(rest, add(a, mul(a, mul(a, a->i, a->c), a->d), a->k)));
    REQUIRE(dims_linear_in(&a->dims, flat3(a), a->n, &coefficient, &rest));
    EXPECT(same(coefficient, num(a, 0)));
    EXPECT(same(rest, flat3(a)));
    EXPECT(!dims_linear_in(&a->dims, mul(a, a->i, a->i), a->i, &coefficient, &rest));
    DimId half = divide(a, a->i, num(a, 2));
    EXPECT(!dims_linear_in(&a->dims, add(a, half, a->i), a->i, &coefficient, &rest));
    EXPECT(!dims_linear_in(&a->dims, mul(a, half, a->i), a->i, &coefficient, &rest));
    REQUIRE(dims_linear_in(&a->dims, mul(a, half, a->k), a->k, &coefficient, &rest));
    EXPECT(same(coefficient, half));
    algebra_close(a);
}
TEST(dims_extreme_numbers_are_refused) {
    Algebra *a = algebra_open(arena);
    DimId    low = num(a, INT64_MIN), high = num(a, INT64_MAX);
    EXPECT(!dim_id_some(add(a, low, a->n)));
    EXPECT(!dim_id_some(mul(a, low, num(a, -1))));
    EXPECT(!dim_id_some(mul(a, high, mul(a, num(a, 2), a->n))));
    EXPECT(!dim_id_some(divide(a, low, sub(a, num(a, 0), a->n))));
    EXPECT(!dim_id_some(mod(a, mul(a, high, a->n), low)));
    EXPECT(same(divide(a, high, high), num(a, 1)));
    algebra_close(a);
}
