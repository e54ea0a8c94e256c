/* recompute: which values are computed again, or copied to the host and back, instead of kept, so
 * that a graph fits a budget?
 *
 * Each round looks at the launch with the most alive and asks of all whose results lie idle
 * there: what would splitting it free (recompute_inner.h), and what would the second run cost? What
 * that reads must be alive then: it is kept, or split as well. A copy costs the bandwidth of memory
 * that it takes from kernels, while the link has time (recompute_link.c). The cheapest a byte are
 * split until a share of the peak is gone; where nothing is left, a chain of second runs is cut.
 * Rounds do not depend on the budget, only where they end does: the least is a fact of the program.
 *
 * Rounds are judged by what is alive, a budget by placing every buffer as planning will. Second
 * runs are the same kernels on the same operands: the same bits. Effects, state, what is assigned
 * and graphs with late sizes run once. Needs launches at typical sizes; writes code, views and
 * kernels anew. Linear in launch arguments a round; note 0013. */
#include <math.h>
#include <stdlib.h>

#include "systems/recompute_inner.h"

enum {
    ROUNDS_MAX = 256,
    CHAIN_MAX = 64,   /* launches that are split together */
    SMALL_SHARE = 8,  /* less than this part of what is freed is kept, not made again */
    CUTS_TRIED = 4,   /* places to cut a chain at */
    KEEPS_TRIED = 16, /* splits that are taken back at the end, if there is room */
    SPLITS_EACH = 4   /* of a launch, on average: where the search gives up */
};
/* Of the peak that a round takes away: fine steps for small graphs, fewer rounds for large ones. */
static const double ROUND_SHARE = 0.04, ROUND_LAUNCHES = 3000, CHECK_SLACK = 1.03;

typedef struct Round {
    uint32_t splits; /* done so far */
    uint64_t alive;  /* at most, then */
} Round;
typedef enum Way {
    WAY_ALONE, /* runs again */
    WAY_CHAIN, /* with what it reads and nothing else needs */
    WAY_HOST   /* its results are copied */
} Way;
typedef struct Candidate {
    uint32_t launch;
    Way      way;
    double   us, bytes;
    double gain; /* of copies: microseconds a byte less than running again, infinite if it cannot */
} Candidate;
typedef struct Search {
    Recompute  r;
    Tape       tape;
    Link       link;
    Split     *splits; /* in order */
    uint32_t   splits_count;
    Round     *rounds; /* [0]: nothing is split */
    uint32_t   rounds_count;
    uint32_t  *read;  /* by buffer: last position up to the peak's launch that reads it as it was */
    uint32_t  *need;  /* by buffer: the first position after it that reads it; 0: none */
    uint32_t  *stamp; /* by launch and, beyond, by buffer: seen in this candidate */
    uint32_t   stamps;
    Candidate *runs, *copies; /* at the peak */
    uint32_t   runs_count, copies_count;
    uint32_t  *chain; /* launches of a candidate */
    uint32_t   chain_count;
} Search;

/* --- what may run twice ----------------------------------------------------------------------- */
/* Where rows jump, or sizes are late, the order of launches is not that of running. */
static bool graph_is_plain(const Code *code, uint32_t block) {
    for (uint32_t row = code->blocks.op_first[block]; row < code->blocks.op_last[block]; row++) {
        const OpInfo *info = op_info(code, (OpId){row});
        bool control = code->ops.blocks_count[row] != 0 && code->ops.opcode[row] != OP_FUSED;
        if ((info->flags & OP_LATE) != 0 || control) return false;
    }
    return true;
}
/* What rows read that launch nothing on their own place (assignments, empty results) runs once. */
static void find_fixed(Recompute *r) {
    const Code *code = &r->ctx->world->code;
    uint32_t   *launch = ARENA_ARRAY_ZERO(r->ctx->scratch, uint32_t, code->ops.table.count);
    uint32_t    block = code->graphs.block[r->plan->graph.row].row;
    for (uint32_t row = 1; row < r->launches; row++)
        if (r->plan->launches.opcode[row] != OP_ASSIGN) launch[r->plan->launches.op[row].row] = row;
    for (uint32_t row = code->blocks.op_first[block]; row < code->blocks.op_last[block]; row++) {
        bool view = (op_info(code, (OpId){row})->flags & OP_VIEW) != 0;
        if (launch[row] != 0 || view || code->ops.block[row].row != block) continue;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            ValueId  base = r->ctx->views->base[op_operand(code, (OpId){row}, i).row];
            uint32_t maker = launch[value_op(code, base).row]; /* 0 is nobody's */
            r->can[maker] = r->can_copy[maker] = false;
        }
    }
}
/* Results that lie in memory of others (parts of a concat) cannot move. */
static bool owns_results(const Recompute *r, uint32_t launch) {
    OpId op = r->plan->launches.op[launch];
    for (uint32_t i = 0; i < r->ctx->world->code.ops.results_count[op.row]; i++) {
        ValueId result = op_result(&r->ctx->world->code, op, i);
        if (r->ctx->views->base[result.row].row != result.row) return false;
    }
    return true;
}
static void find_able(Recompute *r) {
    const Launches *launches = &r->plan->launches;
    for (uint32_t row = 1; row < r->launches; row++) {
        uint32_t flags = op_infos[launches->opcode[row]].flags, operands = launches->operands[row];
        r->can[row] = operands != 0 && operands <= RECOMPUTE_OPERANDS_MAX &&
                      ((flags & OP_PURE) != 0 || launches->opcode[row] == OP_FUSED) &&
                      (flags & (OP_INPLACE | OP_EFFECT)) == 0 && owns_results(r, row);
        r->can_copy[row] = r->link_us != 0 && owns_results(r, row);
        r->us[row] = recompute_cost(r->ctx, r->plan, row);
    }
    find_fixed(r);
}

/* Places the plan as it is: what takes over what, and what lives in the arena at all. */
static uint64_t open_search(Search *s, SystemCtx *ctx) {
    Recompute  *r = &s->r;
    Arena      *scratch = ctx->scratch;
    const Plan *plan = ctx->plan;
    Plan       *placed;
    uint32_t    launches = plan->launches.table.count, buffers = plan->buffers.table.count;
    uint64_t    align = memory_align(ctx->target);
    double      link_gb_s = ctx->target != NULL ? ctx->target->machine.link_gb_s : 0;
    *r = (Recompute){.ctx = ctx, .plan = plan, .launches = launches, .buffers = buffers};
    if (ctx->offload != 0 && link_gb_s > 0) r->link_us = 1e-3 / link_gb_s;
    double least_us = r->link_us != 0 ? ctx->target->machine.link_us : 0;
    r->small = ARENA_ARRAY_ZERO(scratch, bool, buffers);
    r->maker = ARENA_ARRAY_ZERO(scratch, uint32_t, buffers);
    r->over = ARENA_ARRAY_ZERO(scratch, uint32_t, buffers);
    r->bytes = ARENA_ARRAY_ZERO(scratch, uint64_t, buffers);
    r->can = ARENA_ARRAY_ZERO(scratch, bool, launches);
    r->can_copy = ARENA_ARRAY_ZERO(scratch, bool, launches);
    r->copied = ARENA_ARRAY_ZERO(scratch, bool, launches);
    r->us = ARENA_ARRAY_ZERO(scratch, double, launches);
    r->split = ARENA_ARRAY_ZERO(scratch, uint32_t, launches);
    s->tape = recompute_tape(r, scratch);
    recompute_write_tape(r, &s->tape);
    uint64_t bytes = recompute_place(r, &s->tape, &placed);
    for (uint32_t row = 1; row < buffers; row++) {
        r->bytes[row] = (plan->buffers.bytes[row] + align - 1) / align * align;
        r->small[row] = (double)plan->buffers.bytes[row] * r->link_us < least_us;
        r->over[row] = placed->buffers.over[2 * row] / 2;
        if (placed->buffers.slot[2 * row] == 0 && plan->buffers.first[row] != UINT32_MAX)
            r->maker[row] = plan->buffers.first[row];
    }
    return bytes;
}
static void open_rounds(Search *s) {
    Arena   *scratch = s->r.ctx->scratch;
    uint32_t both = s->r.launches + s->r.buffers;
    find_able(&s->r);
    s->splits = ARENA_ARRAY(scratch, Split, SPLITS_EACH * s->r.launches + CHAIN_MAX + ROUNDS_MAX);
    s->rounds = ARENA_ARRAY(scratch, Round, ROUNDS_MAX + 1);
    s->read = ARENA_ARRAY(scratch, uint32_t, s->r.buffers);
    s->need = ARENA_ARRAY(scratch, uint32_t, s->r.buffers);
    s->link = recompute_link(&s->r, scratch);
    s->stamp = ARENA_ARRAY_ZERO(scratch, uint32_t, both);
    s->chain = ARENA_ARRAY(scratch, uint32_t, s->r.launches);
    s->runs = ARENA_ARRAY(scratch, Candidate, s->r.launches);
    s->copies = ARENA_ARRAY(scratch, Candidate, s->r.launches);
}

/* --- candidates ------------------------------------------------------------------------------- */
static void find_reads(Search *s) {
    const Recompute *r = &s->r;
    const Tape      *tape = &s->tape;
    uint32_t         at = tape->at[tape->peak];
    memset(s->read, 0, r->buffers * sizeof *s->read);
    memset(s->need, 0, r->buffers * sizeof *s->need);
    for (uint32_t p = 1; p < tape->count; p++) {
        uint32_t        launch = tape->launch[p];
        const uint32_t *used = launch_buffers(r->plan, launch);
        if (tape->kind[p] > TAPE_AGAIN) continue;
        for (uint32_t i = 0; i < r->plan->launches.operands[launch]; i++)
            if (tape->at[p] > at)
                s->need[used[i]] = s->need[used[i]] != 0 ? s->need[used[i]] : p;
            else if (!recompute_late(r, tape->at[p], used[i]))
                s->read[used[i]] = p;
    }
}
/* Bytes that no longer stand idle at the peak when a launch is split there. */
static uint64_t freed_by(const Search *s, uint32_t launch, bool copied) {
    const Recompute *r = &s->r;
    const Tape      *tape = &s->tape;
    const uint32_t  *used = launch_buffers(r->plan, launch);
    uint64_t         bytes = 0;
    for (uint32_t i = r->plan->launches.operands[launch]; i < r->plan->launches.args_count[launch];
         i++) {
        bool idle = r->maker[used[i]] != 0 && tape->first[2 * used[i]] < tape->peak &&
                    s->read[used[i]] < tape->peak && tape->last[2 * used[i]] > tape->peak;
        if (idle && !(copied && r->small[used[i]])) bytes += r->bytes[used[i]];
    }
    return bytes;
}
/* What a second run after the peak would have to be kept for it, 0 if it is there anyway. */
static uint64_t kept_for(const Search *s, uint32_t buffer) {
    const Recompute *r = &s->r;
    const Tape      *tape = &s->tape;
    if (r->maker[buffer] == 0) return 0;
    uint32_t version = 2 * buffer + (r->split[r->maker[buffer]] != 0);
    if (tape->first[version] == 0 || tape->first[version] > tape->peak) return 0;
    return tape->last[version] > tape->peak ? 0 : r->bytes[buffer];
}
/* Nobody reads it up to the peak: it would run there instead of here. */
static bool only_moves(const Search *s, uint32_t launch) {
    const Recompute *r = &s->r;
    const uint32_t  *used = launch_buffers(r->plan, launch);
    bool             moves = true;
    for (uint32_t i = r->plan->launches.operands[launch]; i < r->plan->launches.args_count[launch];
         i++)
        moves &= r->maker[used[i]] != 0 && s->read[used[i]] == 0;
    return moves;
}
static bool seen(Search *s, uint32_t place) {
    bool before = s->stamp[place] == s->stamps;
    s->stamp[place] = s->stamps;
    return before;
}

/* Splits launch alone or with the chain behind it, which is left in s->chain. */
static Candidate weigh(Search *s, uint32_t launch, Way way) {
    const Recompute *r = &s->r;
    Candidate        c = {.launch = launch, .way = way};
    s->stamps++;
    s->chain_count = 0;
    s->chain[s->chain_count++] = launch;
    (void)seen(s, launch);
    for (uint32_t k = 0; k < s->chain_count; k++) {
        const uint32_t *used = launch_buffers(r->plan, s->chain[k]);
        c.us += only_moves(s, s->chain[k]) ? 0 : r->us[s->chain[k]];
        c.bytes += (double)freed_by(s, s->chain[k], false);
        for (uint32_t i = 0; i < r->plan->launches.operands[s->chain[k]]; i++) {
            uint64_t keep = kept_for(s, used[i]);
            uint32_t maker = r->maker[used[i]];
            if (keep == 0 || seen(s, r->launches + used[i])) continue;
            bool again = way == WAY_CHAIN && r->can[maker] && !recompute_copies(r, maker) &&
                         r->split[maker] < s->tape.at[s->tape.peak] &&
                         (double)keep * SMALL_SHARE > c.bytes && s->chain_count < CHAIN_MAX;
            if (!again)
                c.bytes -= (double)keep;
            else if (!seen(s, maker))
                s->chain[s->chain_count++] = maker;
        }
    }
    return c;
}
/* What kernels lose to a copy there and back: something fixed, and bandwidth of memory. Both ways
 * count as one, since not all kernels are bound by it: a guess (note 0013). */
static Candidate weigh_copy(const Search *s, uint32_t launch) {
    const TargetMachine *machine = &s->r.ctx->target->machine;
    Candidate c = {.launch = launch, .way = WAY_HOST, .bytes = (double)freed_by(s, launch, true)};
    c.us = machine->link_us + c.bytes / (machine->gb_s[machine->caches] * 1e3);
    return c;
}
static int cheaper_first(const void *a, const void *b) { /* a byte, then earlier */
    const Candidate *x = a, *y = b;
    double           mine = x->us * y->bytes, theirs = y->us * x->bytes;
    if (mine != theirs) return mine < theirs ? -1 : 1;
    return x->launch < y->launch ? -1 : x->launch > y->launch;
}
static int gains_first(const void *a, const void *b) { /* what the link is best for */
    const Candidate *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    return x->launch < y->launch ? -1 : x->launch > y->launch;
}
/* The cheaper of running it alone and with its chain; bytes 0: neither frees anything. */
static Candidate weigh_runs(Search *s, uint32_t launch) {
    if (!s->r.can[launch]) return (Candidate){.launch = launch};
    Candidate alone = weigh(s, launch, WAY_ALONE), chain = weigh(s, launch, WAY_CHAIN);
    bool      first = alone.bytes > 0 && (chain.bytes <= 0 || cheaper_first(&alone, &chain) <= 0);
    return first ? alone : chain;
}
static void find_candidates(Search *s) {
    const Recompute *r = &s->r;
    uint32_t         last = s->tape.at[s->tape.peak];
    find_reads(s);
    s->runs_count = s->copies_count = 0;
    for (uint32_t launch = 1; launch < last; launch++) {
        if ((!r->can[launch] && !r->can_copy[launch]) || r->split[launch] != 0) continue;
        if (freed_by(s, launch, false) == 0) continue;
        Candidate run = weigh_runs(s, launch);
        if (run.bytes > 0) s->runs[s->runs_count++] = run;
        if (!r->can_copy[launch]) continue;
        Candidate copy = weigh_copy(s, launch);
        copy.gain = (run.bytes > 0 ? run.us / run.bytes : (double)INFINITY) - copy.us / copy.bytes;
        if (copy.bytes > 0 && copy.gain > 0) s->copies[s->copies_count++] = copy;
    }
    if (s->runs_count != 0) qsort(s->runs, s->runs_count, sizeof *s->runs, cheaper_first);
    if (s->copies_count != 0) qsort(s->copies, s->copies_count, sizeof *s->copies, gains_first);
}

/* Splits the launches in s->chain at the peak. */
static void split_chain(Search *s, bool copied) {
    uint32_t after = s->tape.at[s->tape.peak];
    for (uint32_t k = 0; k < s->chain_count; k++) {
        s->r.split[s->chain[k]] = after;
        s->r.copied[s->chain[k]] = copied;
        s->splits[s->splits_count++] = (Split){s->chain[k], after, copied};
    }
}
/* The bytes that copying the results of a launch frees at the peak; 0: the link has no time. */
static uint64_t take_copy(Search *s, uint32_t launch) {
    const Recompute *r = &s->r;
    const uint32_t  *used = launch_buffers(r->plan, launch);
    uint64_t         bytes = freed_by(s, launch, true);
    uint32_t         need = UINT32_MAX;
    for (uint32_t i = r->plan->launches.operands[launch]; i < r->plan->launches.args_count[launch];
         i++)
        if (!r->small[used[i]] && s->need[used[i]] != 0 && s->need[used[i]] < need)
            need = s->need[used[i]];
    if (bytes == 0 || need == UINT32_MAX || s->link.bytes + bytes > r->ctx->offload) return 0;
    LinkRow row = recompute_link_row(r, &s->tape, &s->link, launch, need, bytes);
    if (!recompute_link_takes(&s->link, row)) return 0;
    s->chain[0] = launch;
    s->chain_count = 1;
    split_chain(s, true);
    return bytes;
}
static double take(Search *s, const Candidate *c) {
    if (s->r.split[c->launch] != 0) return 0; /* in a chain before, or the other way */
    if (c->way == WAY_HOST) return (double)take_copy(s, c->launch);
    Candidate now = weigh(s, c->launch, c->way);
    if (now.bytes <= 0) return 0;
    split_chain(s, false);
    return now.bytes;
}
/* --- cuts ------------------------------------------------------------------------------------- */
typedef struct Chain { /* second runs before one launch: positions [first, last] */
    uint32_t first, last;
    uint64_t bytes; /* of theirs that are alive at the peak */
} Chain;
static uint64_t copies_alive(const Search *s, uint32_t position) {
    const Recompute *r = &s->r;
    uint32_t         launch = s->tape.launch[position];
    const uint32_t  *used = launch_buffers(r->plan, launch);
    uint64_t         bytes = 0;
    for (uint32_t i = r->plan->launches.operands[launch]; i < r->plan->launches.args_count[launch];
         i++)
        if (s->tape.last[2 * used[i] + 1] > s->tape.peak) bytes += r->bytes[used[i]];
    return bytes;
}
static Chain heaviest_chain(const Search *s) {
    const Tape *tape = &s->tape;
    Chain       heaviest = {0}, now = {0};
    for (uint32_t p = 1; p < tape->peak; p++) {
        if (tape->kind[p] != TAPE_AGAIN) continue;
        if (now.last + 1 != p || tape->at[p - 1] != tape->at[p]) now = (Chain){.first = p};
        now.last = p;
        now.bytes += copies_alive(s, p);
        if (now.bytes > heaviest.bytes) heaviest = now;
    }
    return heaviest;
}
/* Runs of the chain whose results are all that later ones read of it: positions to chain_cuts. */
static uint32_t find_cuts(Search *s, Chain chain) {
    const Recompute *r = &s->r;
    const Tape      *tape = &s->tape;
    uint32_t         count = chain.last - chain.first + 1, cuts = 0, far = 0;
    uint32_t        *reach = ARENA_ARRAY_ZERO(r->ctx->scratch, uint32_t, count);
    for (uint32_t p = chain.first; p <= chain.last; p++) {
        const uint32_t *used = launch_buffers(r->plan, tape->launch[p]);
        for (uint32_t i = 0; i < r->plan->launches.operands[tape->launch[p]]; i++) {
            uint32_t made = tape->first[2 * used[i] + 1];
            if (recompute_late(r, tape->at[p], used[i]) && made >= chain.first && made < p)
                reach[made - chain.first] = p;
        }
    }
    for (uint32_t p = chain.first; p < chain.last; p++) {
        if (p != chain.first && far <= p && reach[p - chain.first] != 0) s->chain[cuts++] = p;
        if (reach[p - chain.first] > far) far = reach[p - chain.first];
    }
    return cuts;
}
/* Keeps one result in the middle of the heaviest chain, so that what lies before it is made again
 * later, each part where it is needed. False when that does not lower the peak. */
static bool cut_chain(Search *s) {
    uint64_t  before = s->tape.live[s->tape.peak], least = before;
    ArenaMark mark = arena_mark(s->r.ctx->scratch);
    uint32_t  count = find_cuts(s, heaviest_chain(s)), best = 0;
    uint32_t  tried = count < CUTS_TRIED ? count : CUTS_TRIED;
    arena_release(s->r.ctx->scratch, mark);
    uint32_t launches[CUTS_TRIED];
    for (uint32_t i = 0; i < tried; i++)
        launches[i] = s->tape.launch[s->chain[(2 * i + 1) * count / (2 * tried)]];
    for (uint32_t i = 0; i < tried; i++) {
        uint32_t after = s->r.split[launches[i]];
        s->r.split[launches[i]] = 0;
        recompute_write_tape(&s->r, &s->tape);
        if (s->tape.live[s->tape.peak] < least) {
            least = s->tape.live[s->tape.peak];
            best = launches[i];
        }
        s->r.split[launches[i]] = after;
    }
    if (best != 0) {
        s->r.split[best] = 0;
        s->r.can[best] = false; /* for good */
        s->splits[s->splits_count++] = (Split){best, 0, false};
    }
    recompute_write_tape(&s->r, &s->tape);
    if (best != 0) s->rounds[s->rounds_count++] = (Round){s->splits_count, least};
    return best != 0;
}

/* --- rounds ----------------------------------------------------------------------------------- */
/* One round; false when nothing at the peak can be computed again. */
static bool next_round(Search *s) {
    double   share = ROUND_SHARE * fmin(1, (double)s->r.launches / ROUND_LAUNCHES);
    double   wanted = share * (double)s->tape.live[s->tape.peak], done = 0;
    uint32_t before = s->splits_count, room = SPLITS_EACH * s->r.launches, i = 0, k = 0;
    find_candidates(s);
    if (s->r.link_us != 0) recompute_read_link(&s->r, &s->tape, &s->link);
    while (done < wanted && s->splits_count < room && (i < s->runs_count || k < s->copies_count)) {
        bool copy = k < s->copies_count &&
                    (i == s->runs_count || cheaper_first(&s->copies[k], &s->runs[i]) <= 0);
        done += take(s, copy ? &s->copies[k++] : &s->runs[i++]);
    }
    if (s->splits_count == before) return false;
    recompute_write_tape(&s->r, &s->tape);
    s->rounds[s->rounds_count++] = (Round){s->splits_count, s->tape.live[s->tape.peak]};
    return true;
}
/* The state after the first `count` splits; its planned arena. */
static uint64_t place_splits(Search *s, uint32_t count) {
    memset(s->r.split, 0, s->r.launches * sizeof *s->r.split);
    for (uint32_t i = 0; i < count; i++) {
        s->r.split[s->splits[i].launch] = s->splits[i].after;
        s->r.copied[s->splits[i].launch] = s->splits[i].copied;
    }
    recompute_write_tape(&s->r, &s->tape);
    return recompute_place(&s->r, &s->tape, NULL);
}
/* Whether the newest round fits, as far as can be told before the rounds are over. */
static bool fits(const Search *s, uint64_t budget, uint64_t *out_bytes) {
    if ((double)s->rounds[s->rounds_count - 1].alive > CHECK_SLACK * (double)budget) return false;
    *out_bytes = recompute_place(&s->r, &s->tape, NULL);
    return *out_bytes <= budget;
}
/* Rounds until one fits; its planned arena. */
static uint64_t search_rounds(Search *s, uint64_t budget) {
    uint64_t least = UINT64_MAX;
    s->rounds_count = 0;
    s->rounds[s->rounds_count++] = (Round){0, s->tape.live[s->tape.peak]};
    do {
        if (fits(s, budget, &least)) return least;
    } while (s->rounds_count < ROUNDS_MAX && (next_round(s) || cut_chain(s)));
    /* The rounds are over: the best of them, those with the least alive first. */
    uint32_t best = 0;
    bool    *tried = ARENA_ARRAY_ZERO(s->r.ctx->scratch, bool, s->rounds_count);
    least = UINT64_MAX;
    for (;;) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < s->rounds_count; i++)
            if (!tried[i] && (next == UINT32_MAX || s->rounds[i].alive < s->rounds[next].alive))
                next = i;
        if (next == UINT32_MAX ||
            (least != UINT64_MAX && (double)s->rounds[next].alive > CHECK_SLACK * (double)least))
            break;
        uint64_t bytes = place_splits(s, s->rounds[next].splits);
        tried[next] = true;
        if (bytes < least) least = bytes, best = next;
    }
    return place_splits(s, s->rounds[best].splits);
}

/* Rounds go too far by some: what need not be split is kept, the newest (dearest) first. */
static void keep_spare(Search *s, uint64_t budget) {
    uint32_t tried = 0;
    for (uint32_t i = s->splits_count; i-- > 0 && tried < KEEPS_TRIED;) {
        uint32_t launch = s->splits[i].launch, after = s->r.split[launch];
        if (after == 0 || after != s->splits[i].after) continue;
        tried++;
        s->r.split[launch] = 0;
        recompute_write_tape(&s->r, &s->tape);
        if (s->tape.live[s->tape.peak] > budget || recompute_place(&s->r, &s->tape, NULL) > budget)
            s->r.split[launch] = after;
    }
}

/* --- the system ------------------------------------------------------------------------------- */
static void refuse(SystemCtx *ctx, uint64_t least) {
    Diags *diags = &ctx->world->diags;
    StrId  name = ctx->world->code.graphs.name[ctx->plan->graph.row];
    (void)diags_add(diags, DIAG_BUDGET_SMALL, 0,
                    diags_str(diags, strings_get(&ctx->world->strings, name)), ctx->budget, least,
                    0);
}
/* Nothing can run twice: the budget is held against the plan as it is. */
static void judge(SystemCtx *ctx) {
    (void)memory_place(ctx->scratch, ctx->target, ctx->plan);
    if (ctx->plan->arena_bytes > ctx->budget) refuse(ctx, ctx->plan->arena_bytes);
}
Ran sys_recompute(SystemCtx *ctx) {
    Search s = {0};
    if (ctx->plan == NULL || ctx->budget == 0) return (Ran){0};
    const Code *code = &ctx->world->code;
    if (!graph_is_plain(code, code->graphs.block[ctx->plan->graph.row].row)) {
        judge(ctx);
        return (Ran){0};
    }
    uint64_t bytes = open_search(&s, ctx);
    if (bytes <= ctx->budget) return (Ran){0};
    open_rounds(&s);
    recompute_write_tape(&s.r, &s.tape);
    bytes = search_rounds(&s, ctx->budget);
    if (bytes > ctx->budget) {
        refuse(ctx, bytes);
        return (Ran){0};
    }
    keep_spare(&s, ctx->budget);
    uint32_t changed = 0;
    for (uint32_t row = 1; row < s.r.launches; row++) {
        if (s.r.split[row] == 0) continue;
        if (system_burn(ctx))
            changed++;
        else
            s.r.split[row] = 0;
    }
    recompute_write_tape(&s.r, &s.tape);
    recompute_rewrite(&s.r, &s.tape);
    return (Ran){.changed = changed};
}
