/* Which directions and streams give a set of derivatives?
 *
 * A mixed derivative of order k is a combination of k-th derivatives along directions v, since
 *
 *     D^k[v] = sum over |b| = k of k!/b! v^b d^b
 *
 * (polarisation): the directions are integer vectors on the coordinates of the derivative, taken
 * from a list in several orders until the derivative lies in their span; the order that costs the
 * fewest new streams wins. Orders are served from the highest down, so that lower derivatives find
 * directions whose lower coefficients are there anyway.
 *
 * Where an operator needs a coefficient of order k only inside a sum over directions, the sum is
 * one stream instead (collapsed): a Laplacian in d coordinates takes d + 2 streams, not 1 + 2d.
 * Small: a few hundred candidates of a few hundred numbers each. */
#include "systems/taylor.h"

#include <math.h>

enum { CANDIDATES_MAX = 512 };
typedef struct Form { /* at one order: request += weight * coefficient along direction */
    uint32_t request, direction;
    double   weight;
} Form;
typedef struct Planning {
    Arena           *out;
    TaylorDirection *directions;
    uint32_t        *needed; /* by direction: highest coefficient that is a stream of its own */
    uint32_t         count, capacity;
    Form            *forms; /* of the order at hand */
    uint32_t         forms_count, forms_capacity;
    Form            *single; /* parts on coefficients of one direction, */
    uint32_t        *single_order, single_count, single_capacity;
    TaylorPart      *summed; /* and on sums: stream is the number of the sum */
    uint32_t         summed_count;
    JetStreams       streams;
    Form            *sum_forms; /* request: the number of the sum */
    uint32_t         sum_forms_count;
} Planning;

static double factorial(uint32_t n) { return n < 2 ? 1 : n * factorial(n - 1); } // n <= 12

/* --- directions ------------------------------------------------------------------------------- */
static bool direction_same(const TaylorDirection *a, const TaylorDirection *b) {
    if (a->support != b->support) return false;
    for (uint32_t i = 0; i < a->support; i++)
        if (a->at[i] != b->at[i] || a->by[i] != b->by[i]) return false;
    return true;
}
static uint32_t find_direction(const Planning *p, const TaylorDirection *d) {
    for (uint32_t i = 0; i < p->count; i++)
        if (direction_same(&p->directions[i], d)) return i;
    return UINT32_MAX;
}
static uint32_t add_direction(Planning *p, const TaylorDirection *d) {
    uint32_t found = find_direction(p, d), capacity = p->capacity;
    if (found != UINT32_MAX) return found;
    p->directions = arena_room(p->out, p->directions, p->count, &capacity, sizeof *p->directions);
    p->needed = arena_room(p->out, p->needed, p->count, &p->capacity, sizeof *p->needed);
    p->directions[p->count] = *d;
    p->needed[p->count] = 0;
    return p->count++;
}
static void add_form(Planning *p, uint32_t request, uint32_t direction, double weight) {
    for (uint32_t i = 0; i < p->forms_count; i++)
        if (p->forms[i].request == request && p->forms[i].direction == direction) {
            p->forms[i].weight += weight;
            return;
        }
    p->forms = arena_room(p->out, p->forms, p->forms_count, &p->forms_capacity, sizeof *p->forms);
    p->forms[p->forms_count++] = (Form){request, direction, weight};
}

/* --- candidates ------------------------------------------------------------------------------- */
typedef struct Mixed { /* a derivative as exponents on its own coordinates */
    uint32_t order, support;
    uint16_t at[DERIVATIVE_SUPPORT_MAX];
    uint32_t power[DERIVATIVE_SUPPORT_MAX];
} Mixed;
typedef struct Candidates {
    int16_t  by[CANDIDATES_MAX][DERIVATIVE_SUPPORT_MAX];
    uint32_t count;
} Candidates;

static int16_t divisor(int16_t a, int16_t b) {
    while (b != 0) {
        int16_t rest = (int16_t)(a % b);
        a = b;
        b = rest;
    }
    return (int16_t)(a < 0 ? -a : a);
}
/* Without common factor, the first entry above zero; a vector comes once. */
static void add_candidate(Candidates *c, const int16_t *by, uint32_t support) {
    int16_t common = 0, sign = 0, v[DERIVATIVE_SUPPORT_MAX] = {0};
    for (uint32_t i = 0; i < support; i++) {
        common = divisor(common, by[i]);
        if (sign == 0 && by[i] != 0) sign = by[i] > 0 ? 1 : -1;
    }
    if (common == 0 || c->count == CANDIDATES_MAX) return;
    for (uint32_t i = 0; i < support; i++) v[i] = (int16_t)(by[i] * sign / common);
    for (uint32_t k = 0; k < c->count; k++)
        if (memcmp(c->by[k], v, sizeof v) == 0) return;
    memcpy(c->by[c->count++], v, sizeof v);
}
/* All vectors with entries in the given boxes, in steps, in lexical order. */
static void add_box(Candidates *c, uint32_t support, const int16_t *most, int16_t step) {
    int16_t v[DERIVATIVE_SUPPORT_MAX] = {0};
    for (uint32_t i = 0; i < support; i++) v[i] = (int16_t)-most[i];
    for (;;) {
        add_candidate(c, v, support);
        uint32_t i = 0;
        while (i < support && v[i] + step > most[i]) {
            v[i] = (int16_t)-most[i];
            i++;
        }
        if (i == support) return;
        v[i] = (int16_t)(v[i] + step);
    }
}
static void add_axes(Candidates *c, uint32_t support) {
    for (uint32_t i = 0; i < support; i++) {
        int16_t v[DERIVATIVE_SUPPORT_MAX] = {0};
        v[i] = 1;
        add_candidate(c, v, support);
    }
}
static void add_mixed(Candidates *c, const Mixed *m) {
    int16_t most[DERIVATIVE_SUPPORT_MAX];
    int16_t widest = m->support == 2 ? 3 : m->support == 3 ? 2 : 1;
    for (int16_t w = 1; w <= widest; w++) {
        for (uint32_t i = 0; i < m->support; i++) most[i] = w;
        add_box(c, m->support, most, 1);
    }
    for (uint32_t i = 0; i < m->support; i++) most[i] = (int16_t)m->power[i];
    add_box(c, m->support, most, 2); /* the corners of polarisation: these always suffice */
}
/* Directions that are there already and lie on the coordinates of m. */
static void add_known(const Planning *p, Candidates *c, const Mixed *m) {
    for (uint32_t k = 0; k < p->count; k++) {
        int16_t  v[DERIVATIVE_SUPPORT_MAX] = {0};
        uint32_t hit = 0;
        for (uint32_t i = 0; i < p->directions[k].support; i++)
            for (uint32_t s = 0; s < m->support; s++)
                if (m->at[s] == p->directions[k].at[i]) {
                    v[s] = p->directions[k].by[i];
                    hit++;
                }
        if (hit == p->directions[k].support) add_candidate(c, v, m->support);
    }
}
static TaylorDirection direction_of(const Mixed *m, const int16_t *by) {
    TaylorDirection d = {0};
    for (uint32_t i = 0; i < m->support; i++) {
        if (by[i] == 0) continue;
        d.at[d.support] = m->at[i];
        d.by[d.support++] = by[i];
    }
    return d;
}

/* --- weights ---------------------------------------------------------------------------------- */
/* The entries of D^k[v] by multi-index, in a fixed order; out_target: where m stands. */
static uint32_t expand_power(const Mixed *m, const int16_t *by, double *out, uint32_t *out_target) {
    uint32_t b[DERIVATIVE_SUPPORT_MAX] = {0}, count = 0;
    b[m->support - 1] = m->order;
    for (;;) { /* compositions of the order, in lexical order */
        double   entry = factorial(m->order);
        bool     target = true;
        uint32_t i = m->support - 1;
        for (uint32_t s = 0; s < m->support; s++) {
            entry *= pow(by[s], b[s]) / factorial(b[s]);
            target &= b[s] == m->power[s];
        }
        if (target) *out_target = count;
        if (out != NULL) out[count] = entry;
        count++;
        while (i > 0 && b[i] == 0) i--;
        if (i == 0) return count;
        uint32_t rest = b[i] - 1;
        b[i] = 0;
        b[i - 1]++;
        b[m->support - 1] = rest;
    }
}
static double dot(const double *a, const double *b, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}
/* Weights with which candidates, taken in order until it works, add up to m. Gram-Schmidt, twice;
 * columns[c] = sum of upper[c][k] basis[k]. False: they do not span it. */
static bool solve(Arena *arena, const Mixed *m, const Candidates *c, double *weights) {
    int16_t   none[DERIVATIVE_SUPPORT_MAX] = {0};
    uint32_t  target = 0, size = expand_power(m, none, NULL, &target), rank = 0, used = 0;
    double  **basis = ARENA_ARRAY(arena, double *, c->count);
    double  **upper = ARENA_ARRAY(arena, double *, c->count);
    double   *left = ARENA_ARRAY_ZERO(arena, double, size);
    double   *along = ARENA_ARRAY(arena, double, c->count);
    uint32_t *pivot = ARENA_ARRAY(arena, uint32_t, c->count);
    left[target] = 1;
    for (; used < c->count && dot(left, left, size) > 1e-20; used++) {
        double *v = ARENA_ARRAY(arena, double, size);
        upper[rank] = ARENA_ARRAY_ZERO(arena, double, c->count);
        (void)expand_power(m, c->by[used], v, &target);
        double length = sqrt(dot(v, v, size));
        for (uint32_t round = 0; round < 2; round++)
            for (uint32_t k = 0; k < rank; k++) {
                double part = dot(basis[k], v, size);
                upper[rank][k] += part;
                for (uint32_t i = 0; i < size; i++) v[i] -= part * basis[k][i];
            }
        double rest = sqrt(dot(v, v, size));
        if (rest < 1e-9 * length) continue;
        upper[rank][rank] = rest;
        for (uint32_t i = 0; i < size; i++) v[i] /= rest;
        basis[rank] = v;
        along[rank] = dot(v, left, size);
        for (uint32_t i = 0; i < size; i++) left[i] -= along[rank] * v[i];
        pivot[rank++] = used;
    }
    if (dot(left, left, size) > 1e-20) return false;
    for (uint32_t i = 0; i < c->count; i++) weights[i] = 0;
    for (uint32_t r = rank; r-- > 0;) {
        double w = along[r] / upper[r][r];
        for (uint32_t k = 0; k < r; k++) along[k] -= w * upper[r][k];
        weights[pivot[r]] = fabs(w) < 1e-12 ? 0 : w;
    }
    return true;
}

/* Streams that the used candidates add to those that are there. */
static uint32_t count_new(const Planning *p, const Mixed *m, const Candidates *c,
                          const double *weights) {
    uint32_t cost = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (weights[i] == 0) continue;
        TaylorDirection d = direction_of(m, c->by[i]);
        uint32_t        found = find_direction(p, &d), have = 0;
        bool            taken = false; /* by another derivative of this order */
        if (found != UINT32_MAX) have = p->needed[found];
        for (uint32_t k = 0; k < p->forms_count; k++) taken |= p->forms[k].direction == found;
        if (!taken && have < m->order) cost += m->order - have;
    }
    return cost;
}
static void add_derivative(Planning *p, const Mixed *m, uint32_t request, double weight) {
    Scratch     scratch = scratch_begin(&p->out, 1);
    double     *best_weights = NULL;
    Candidates *best = NULL;
    uint32_t    best_cost = UINT32_MAX;
    for (uint32_t way = 0; way < 4; way++) {
        Candidates *c = ARENA_NEW(scratch.arena, Candidates);
        double     *weights = ARENA_ARRAY(scratch.arena, double, CANDIDATES_MAX);
        if (way < 2 || m->support == 1) add_known(p, c, m);
        if (way % 2 == 0) add_axes(c, m->support);
        add_mixed(c, m);
        if (!solve(scratch.arena, m, c, weights)) continue;
        uint32_t cost = count_new(p, m, c, weights);
        if (cost >= best_cost) continue;
        best = c;
        best_weights = weights;
        best_cost = cost;
    }
    ASSERT(best != NULL);
    for (uint32_t i = 0; best != NULL && i < best->count; i++) {
        if (best_weights[i] == 0) continue;
        TaylorDirection d = direction_of(m, best->by[i]);
        add_form(p, request, add_direction(p, &d), weight * best_weights[i]);
    }
    scratch_end(scratch);
}

/* --- orders ----------------------------------------------------------------------------------- */
static Mixed mixed_of(const DerivativeTerm *term) {
    Mixed m = {.order = term->order};
    for (uint32_t i = 0; i < term->order; i++) {
        if (i == 0 || term->at[i] != term->at[i - 1]) m.at[m.support++] = term->at[i];
        m.power[m.support - 1]++;
    }
    return m;
}
/* Derivatives in one coordinate first: the others can use their directions. */
static void add_order(Planning *p, const DerivativeTerms *terms, uint32_t order) {
    p->forms_count = 0;
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < terms->count; i++) {
            Mixed m = mixed_of(&terms->rows[i]);
            if (m.order == order && (m.support != 1) == (pass == 1))
                add_derivative(p, &m, terms->rows[i].request, terms->rows[i].weight);
        }
}
static void add_single(Planning *p, const Form *form, uint32_t order) {
    uint32_t capacity = p->single_capacity;
    p->single = arena_room(p->out, p->single, p->single_count, &capacity, sizeof *p->single);
    p->single_order = arena_room(p->out, p->single_order, p->single_count, &p->single_capacity,
                                 sizeof *p->single_order);
    p->single_order[p->single_count] = order;
    p->single[p->single_count++] = *form;
}
/* Sums instead of single streams where these are fewer. Requests come in ascending order. */
static void choose_streams(Planning *p, uint32_t order, uint32_t requests) {
    uint32_t sums = 0, tops = 0;
    uint8_t *fresh = ARENA_ARRAY_ZERO(p->out, uint8_t, p->count + 1);
    uint8_t *asks = ARENA_ARRAY_ZERO(p->out, uint8_t, requests + 1);
    for (uint32_t i = 0; i < p->forms_count; i++) {
        const Form *form = &p->forms[i];
        if (p->needed[form->direction] >= order || form->weight == 0) continue;
        tops += !fresh[form->direction];
        sums += !asks[form->request];
        fresh[form->direction] = asks[form->request] = 1;
    }
    bool collapse = sums < tops;
    for (uint32_t request = 0; request < requests && collapse; request++) {
        if (!asks[request]) continue;
        p->summed[p->summed_count++] = (TaylorPart){request, p->streams.sums, factorial(order)};
        p->streams.sum_order[p->streams.sums++] = order;
    }
    for (uint32_t i = 0; i < p->forms_count; i++) {
        Form *form = &p->forms[i];
        if (form->weight == 0) continue;
        if (!collapse || !fresh[form->direction]) {
            add_single(p, form, order);
            continue;
        }
        uint32_t sum = p->summed_count;
        while (sum-- > 0 && p->summed[sum].request != form->request) continue;
        p->sum_forms[p->sum_forms_count++] =
            (Form){p->summed[sum].stream, form->direction, form->weight};
    }
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t least = collapse ? order - 1 : order;
        if (fresh[i] && p->needed[i] < least) p->needed[i] = least;
    }
}

void taylor_number_streams(Arena *out, JetStreams *s) {
    uint32_t next = 1;
    s->first = ARENA_ARRAY(out, uint32_t, s->directions + 1);
    s->top = ARENA_ARRAY(out, uint32_t, s->directions + 1);
    for (uint32_t r = 0; r < s->directions; r++) {
        s->first[r] = next;
        s->top[r] = s->order[r];
        next += s->order[r];
        for (uint32_t i = 0; i < s->sums; i++)
            if (s->sum_weight[i * s->directions + r] != 0 && s->sum_order[i] > s->top[r])
                s->top[r] = s->sum_order[i];
        ASSERT(s->top[r] <= s->order[r] + 1);
    }
    s->sum_first = next;
    s->count = next + s->sums;
}

static void finish(Planning *p, TaylorPlan *plan) {
    JetStreams *s = &p->streams;
    s->directions = p->count;
    s->order = p->needed;
    s->sum_weight = ARENA_ARRAY_ZERO(p->out, double, s->sums * p->count + 1);
    for (uint32_t i = 0; i < p->sum_forms_count; i++)
        s->sum_weight[p->sum_forms[i].request * p->count + p->sum_forms[i].direction] +=
            p->sum_forms[i].weight;
    taylor_number_streams(p->out, s);
    plan->parts = ARENA_ARRAY(p->out, TaylorPart, p->single_count + p->summed_count + 1);
    for (uint32_t i = 0; i < p->single_count; i++)
        plan->parts[plan->parts_count++] = (TaylorPart){
            p->single[i].request, s->first[p->single[i].direction] + p->single_order[i] - 1,
            p->single[i].weight * factorial(p->single_order[i])};
    for (uint32_t i = 0; i < p->summed_count; i++)
        plan->parts[plan->parts_count++] = (TaylorPart){
            p->summed[i].request, s->sum_first + p->summed[i].stream, p->summed[i].weight};
    plan->directions = p->directions;
    plan->streams = *s;
}

TaylorPlan taylor_plan(Arena *out, const DerivativeTerms *terms) {
    TaylorPlan plan = {0};
    Planning   p = {.out = out};
    uint32_t   requests = 0, most = 0;
    for (uint32_t i = 0; i < terms->count; i++) {
        if (terms->rows[i].request >= requests) requests = terms->rows[i].request + 1;
        if (terms->rows[i].order > most) most = terms->rows[i].order;
    }
    p.summed = ARENA_ARRAY(out, TaylorPart, requests * most + 1);
    p.streams.sum_order = ARENA_ARRAY(out, uint32_t, requests * most + 1);
    for (uint32_t order = most; order >= 1; order--) {
        add_order(&p, terms, order);
        uint32_t before = p.sum_forms_count;
        Form    *more = ARENA_ARRAY(out, Form, before + p.forms_count + 1);
        if (before != 0) memcpy(more, p.sum_forms, before * sizeof *more);
        p.sum_forms = more;
        choose_streams(&p, order, requests);
    }
    finish(&p, &plan);
    return plan;
}
