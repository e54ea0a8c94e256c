/* An evolution over decision lists. A candidate is a list and what the rules made of it; children
 * differ from a good parent in one or two decisions, and take fresh ones where the change led the
 * rules elsewhere. Candidates are built in place, one after the other, from the kernel as it was
 * lowered. */
#include "systems/search.h"

#include <math.h>
#include <stdlib.h>

#include "arena/hash.h"
#include "arena/os.h"
#include "systems/schedule.h"
#include "tables/philox.h"

enum {
    POPULATION = 16,
    POPULATION_MAX = 256,
    GENERATIONS = 8,
    MEASURED = 8,
    PARENTS = 3,
    TURNS = 7,
    TURNS_LEAST = 3
};
static const double   worthwhile = 0.97; /* of the rules' time, to be taken instead */
static const uint64_t seconds_ns = 1000000000, seconds_most = 4; /* until the finalists are known */

typedef struct Candidate {
    Decisions decisions; /* taken: what it is made of; none: the rules' own choice */
    uint64_t  hash;
    double    us;
} Candidate;
typedef struct Evolving {
    Search       *search;
    Schedule     *s;
    TransformMark mark;
    Candidate    *rows; /* the best first */
    uint32_t      count, max;
    uint64_t      drawn, end_ns; /* end_ns: no more candidates are measured */
} Evolving;

static uint64_t draw(Evolving *e, uint64_t count) {
    return philox_below(philox_draw(e->search->seed, e->drawn++, 1), count);
}
static uint64_t hash_taken(const Decisions *d) {
    return hash_bytes(d->taken, d->taken_count * sizeof *d->taken, d->taken_count);
}
/* The candidate's schedule on the kernel. */
static void build(Evolving *e, Candidate *candidate, bool rules_only) {
    Decisions *d = &candidate->decisions;
    transform_restore(e->s, &e->mark);
    d->taken_count = 0;
    schedule_rules(e->s, e->search->target, rules_only ? NULL : d);
    candidate->hash = hash_taken(d);
}
/* Inserts it by cost; what is known already, or worse than a full population, is dropped. */
static void insert(Evolving *e, Candidate candidate) {
    for (uint32_t i = 0; i < e->count; i++)
        if (e->rows[i].hash == candidate.hash) return;
    if (e->count == e->max) {
        if (candidate.us >= e->rows[e->count - 1].us) return;
        e->count--;
    }
    uint32_t at = e->count++;
    for (; at > 0 && candidate.us < e->rows[at - 1].us; at--) e->rows[at] = e->rows[at - 1];
    e->rows[at] = candidate;
}
static void go_back(Evolving *e, ArenaMark mark) {
    arena_release(e->s->scratch, mark);
    e->s->gathered = NULL;
}
static void try_candidate(Evolving *e, Candidate *candidate, bool rules_only) {
    ArenaMark scratch = arena_mark(e->s->scratch);
    build(e, candidate, rules_only);
    candidate->us = search_cost(e->s, &e->search->target->machine).us;
    e->search->estimates++;
    insert(e, *candidate);
    go_back(e, scratch);
}
static Candidate child_of(Evolving *e, const Candidate *parent) {
    Candidate  child = {.decisions = {.seed = draw(e, UINT32_MAX)}};
    Decisions *d = &child.decisions;
    d->given_count = parent->decisions.taken_count;
    memcpy(d->given, parent->decisions.taken, d->given_count * sizeof *d->given);
    for (uint64_t changes = 1 + draw(e, 2); changes > 0 && d->given_count != 0; changes--)
        d->given[draw(e, d->given_count)] = UINT32_MAX; /* drawn anew */
    return child;
}
/* Room for another generation in the tables of the module, where all that is tried leaves rows. */
static bool has_room(const Loops *loops) {
    return loops->exprs.table.count < loops->exprs.table.rows_max / 2 &&
           loops->dims.rows.table.count < loops->dims.rows.table.rows_max / 2 &&
           loops->nodes.table.count < loops->nodes.table.rows_max / 2;
}
static void evolve(Evolving *e) {
    uint32_t generations = e->search->generations != 0 ? e->search->generations : GENERATIONS;
    for (uint32_t i = 0; i < e->max && has_room(e->s->loops); i++) {
        Candidate fresh = {.decisions = {.seed = draw(e, UINT32_MAX)}};
        try_candidate(e, &fresh, false);
    }
    for (uint32_t g = 0; g < generations && has_room(e->s->loops); g++)
        for (uint32_t i = 0; i < e->max; i++) {
            uint64_t  a = draw(e, e->count), b = draw(e, e->count); /* better ones more often */
            Candidate child = child_of(e, &e->rows[a < b ? a : b]);
            try_candidate(e, &child, false);
        }
}

/* --- deciding --------------------------------------------------------------------------------- */
/* The same candidate again, whatever it was drawn from. */
static void fix(Candidate *candidate) {
    Decisions *d = &candidate->decisions;
    d->given_count = d->taken_count;
    memcpy(d->given, d->taken, d->taken_count * sizeof *d->taken);
}
static double measured_us(Evolving *e, Candidate *candidate, bool rules_only) {
    ArenaMark scratch = arena_mark(e->s->scratch);
    build(e, candidate, rules_only);
    schedule_sharing(e->s);
    double us = e->search->measure(e->search->context, e->s->loops, e->s->kernel);
    e->search->measurements++;
    go_back(e, scratch);
    return us >= 0 ? us : INFINITY;
}
static int faster_first(const void *left, const void *right) {
    const Candidate *a = left, *b = right;
    return (a->us > b->us) - (a->us < b->us);
}
/* Measures the best by estimate, then children of the best of those; fastest first. */
static uint32_t measure_pool(Evolving *e, Candidate *pool, uint32_t most) {
    uint32_t count = 0, first;
    for (; count < e->count && count < most && os_clock_ns() < e->end_ns; count++) {
        pool[count] = e->rows[count];
        fix(&pool[count]);
        pool[count].us = measured_us(e, &pool[count], false);
    }
    first = count;
    qsort(pool, first, sizeof *pool, faster_first);
    for (uint32_t tried = 0; tried < most * 2 && count < most * 2 && first != 0; tried++) {
        if (os_clock_ns() >= e->end_ns) break;
        Candidate child = child_of(e, &pool[draw(e, first < PARENTS ? first : PARENTS)]);
        build(e, &child, false);
        bool known = false;
        for (uint32_t i = 0; i < count; i++) known |= pool[i].hash == child.hash;
        if (known) continue;
        fix(&child);
        child.us = measured_us(e, &child, false);
        pool[count++] = child;
    }
    qsort(pool, count, sizeof *pool, faster_first);
    return count;
}
static int smaller_first(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}
/* The finalists and the rules' own choice take turns; ratios of one turn share what disturbs it.
 * The one with the least median is taken if that is worth it and nearly every turn was won. */
static Candidate choose_measured(Evolving *e, Candidate rules, bool *out_rules) {
    uint32_t   most = e->search->measured != 0 ? e->search->measured : MEASURED;
    Candidate *pool = ARENA_ARRAY(e->s->scratch, Candidate, most * 2 + 1), *best = NULL;
    double     ratios[PARENTS][TURNS], least = worthwhile;
    uint32_t   count = measure_pool(e, pool, most), finalists = count < PARENTS ? count : PARENTS;
    uint32_t   turns = os_clock_ns() < e->end_ns ? TURNS : TURNS_LEAST;
    rules.us = INFINITY;
    for (uint32_t turn = 0; turn < turns; turn++) {
        double us = 0;
        for (uint32_t k = 0; k <= finalists; k++) { /* each is first and last in turn */
            uint32_t i = (k + turn) % (finalists + 1);
            if (i == finalists) {
                us = measured_us(e, &rules, true);
                rules.us = fmin(rules.us, us);
            } else {
                ratios[i][turn] = measured_us(e, &pool[i], false);
                pool[i].us = fmin(pool[i].us, ratios[i][turn]);
            }
        }
        for (uint32_t i = 0; i < finalists; i++)
            ratios[i][turn] = isfinite(us) ? ratios[i][turn] / us : INFINITY;
    }
    for (uint32_t i = 0; i < finalists; i++) {
        qsort(ratios[i], turns, sizeof ratios[i][0], smaller_first);
        if (ratios[i][turns / 2] >= least || ratios[i][turns - 2] >= 1) continue;
        least = ratios[i][turns / 2];
        best = &pool[i];
    }
    *out_rules = best == NULL;
    e->search->rules_us += isfinite(rules.us) ? rules.us : 0;
    return *out_rules ? rules : *best;
}
static Candidate choose_estimated(Evolving *e, Candidate rules, bool *out_rules) {
    *out_rules = e->count == 0 || !(e->rows[0].us < rules.us);
    e->search->rules_us += rules.us;
    return *out_rules ? rules : e->rows[0];
}

static void search_kernel(Search *search, Schedule *s) {
    Evolving  e = {.search = search, .s = s, .mark = transform_mark(s)};
    uint32_t *fuel = s->fuel;
    bool      rules_win;
    Candidate rules = {.us = 0};
    e.max = search->population != 0 ? search->population : POPULATION;
    if (e.max > POPULATION_MAX) e.max = POPULATION_MAX;
    e.rows = ARENA_ARRAY(s->scratch, Candidate, e.max + 1);
    e.end_ns = os_clock_ns() + seconds_most * seconds_ns;
    s->fuel = NULL; /* candidates are not rewrites of the program */
    build(&e, &rules, true);
    rules.us = search_cost(s, &search->target->machine).us;
    search->estimates++;
    evolve(&e);
    Candidate best = search->measure != NULL ? choose_measured(&e, rules, &rules_win)
                                             : choose_estimated(&e, rules, &rules_win);
    fix(&best);
    s->fuel = fuel;
    build(&e, &best, rules_win);
    search->searched++;
    search->best_us += isfinite(best.us) ? best.us : 0;
    const LoopKernels *kernels = &s->loops->kernels;
    LoopHash           hash = {kernels->hash_low[s->kernel.row], kernels->hash_high[s->kernel.row]};
    bool               known = search->measure != NULL && isfinite(best.us);
    schedule_book_put(search->book, hash, known ? best.us : 0, s->loops, s->kernel);
}

void search_scheduler(SystemCtx *ctx, Schedule *s) {
    Search            *search = ctx->scheduler_context;
    const LoopKernels *kernels = &s->loops->kernels;
    LoopHash           hash = {kernels->hash_low[s->kernel.row], kernels->hash_high[s->kernel.row]};
    const ScheduleEntry *entry = schedule_book_find(search->book, hash);
    uint32_t             bad;
    if (entry != NULL && schedule_replay(s, search->book, entry, &bad)) {
        search->found++;
    } else if (search->searched == 0 || has_room(s->loops)) {
        search_kernel(search, s);
    } else {
        schedule_rules(s, ctx->target, NULL);
        search->left++;
    }
}
