/* An evolution over decision lists. A candidate is a list and what the rules made of it; children
 * differ from a good parent in one or two decisions, and take fresh ones where the change led the
 * rules elsewhere. Candidates are built in place, one after the other, from the kernel as it was
 * lowered. */
#include "systems/search.h"

#include <math.h>

#include "arena/hash.h"
#include "systems/schedule.h"
#include "tables/philox.h"

enum { POPULATION = 16, POPULATION_MAX = 256, GENERATIONS = 8, MEASURED = 8 };

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
    uint64_t      drawn;
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
static void try_candidate(Evolving *e, Candidate *candidate, bool rules_only) {
    ArenaMark scratch = arena_mark(e->s->scratch);
    build(e, candidate, rules_only);
    candidate->us = search_cost(e->s, &e->search->target->machine).us;
    e->search->estimates++;
    insert(e, *candidate);
    arena_release(e->s->scratch, scratch);
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

static double measured_us(Evolving *e, Candidate *candidate, bool rules_only) {
    build(e, candidate, rules_only);
    double us = e->search->measure(e->search->context, e->s->loops, e->s->kernel);
    e->search->measurements++;
    return us >= 0 ? us : INFINITY;
}
/* The best of the population, or the rules' own choice (all zero); measured if that is possible. */
static Candidate choose(Evolving *e, Candidate rules, bool *out_rules) {
    Search  *search = e->search;
    uint32_t most = search->measured != 0 ? search->measured : MEASURED;
    double   rules_us = rules.us;
    if (search->measure != NULL) rules_us = measured_us(e, &rules, true);
    Candidate best = rules;
    best.us = rules_us;
    *out_rules = true;
    for (uint32_t i = 0; i < e->count && i < most; i++) {
        Candidate candidate = e->rows[i];
        if (search->measure != NULL) {
            candidate.decisions.given_count = candidate.decisions.taken_count;
            memcpy(candidate.decisions.given, candidate.decisions.taken,
                   sizeof candidate.decisions.given);
            candidate.us = measured_us(e, &candidate, false);
        }
        if (!(candidate.us < best.us)) continue;
        best = candidate;
        *out_rules = false;
    }
    search->rules_us += rules_us;
    search->best_us += best.us;
    return best;
}

static void search_kernel(Search *search, Schedule *s) {
    Evolving  e = {.search = search, .s = s, .mark = transform_mark(s)};
    uint32_t *fuel = s->fuel;
    bool      rules_win;
    Candidate rules = {.us = 0};
    e.max = search->population != 0 ? search->population : POPULATION;
    if (e.max > POPULATION_MAX) e.max = POPULATION_MAX;
    e.rows = ARENA_ARRAY(s->scratch, Candidate, e.max + 1);
    s->fuel = NULL; /* candidates are not rewrites of the program */
    build(&e, &rules, true);
    rules.us = search_cost(s, &search->target->machine).us;
    search->estimates++;
    evolve(&e);
    Candidate best = choose(&e, rules, &rules_win);
    best.decisions.given_count = best.decisions.taken_count;
    memcpy(best.decisions.given, best.decisions.taken, sizeof best.decisions.given);
    s->fuel = fuel;
    build(&e, &best, rules_win);
    search->searched++;
    const LoopKernels *kernels = &s->loops->kernels;
    LoopHash           hash = {kernels->hash_low[s->kernel.row], kernels->hash_high[s->kernel.row]};
    schedule_book_put(search->book, hash, search->measure != NULL ? best.us : 0, s->loops,
                      s->kernel);
}

void search_scheduler(SystemCtx *ctx, Schedule *s) {
    Search            *search = ctx->scheduler_context;
    const LoopKernels *kernels = &s->loops->kernels;
    LoopHash           hash = {kernels->hash_low[s->kernel.row], kernels->hash_high[s->kernel.row]};
    const ScheduleEntry *entry = schedule_book_find(search->book, hash);
    uint32_t             bad;
    if (entry != NULL && schedule_replay(s, search->book, entry, &bad)) {
        search->found++;
        return;
    }
    search_kernel(search, s);
}
