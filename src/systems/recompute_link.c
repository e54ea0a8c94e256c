/* Copies to the host and back: which fit on the link, and between which launches they stand.
 *
 * One copy after the other leaves in the order in which results are made, each as soon as it is
 * there; they come back in the order in which they are needed, each as late as the link allows. The
 * clock is what launches are estimated to take (recompute_cost.c); both ways go at once. An
 * estimate that is wrong costs waiting, never a wrong result: an end stands before whatever may
 * overwrite what the copy reads, or reads what it writes. No copy is under way at an effect, since
 * a step may stop there. Linear in positions, apart from sorting the copies. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "systems/recompute_inner.h"

/* --- on a tape -------------------------------------------------------------------------------- */
/* Assignments come last: there are no copies any more. */
static bool is_fence(const Recompute *r, uint32_t launch) {
    uint32_t opcode = r->plan->launches.opcode[launch];
    return (op_infos[opcode].flags & OP_EFFECT) != 0 && opcode != OP_ASSIGN;
}
/* Rows of copies in the order of makers, and the times of positions. */
static uint32_t list_copies(const Recompute *r, Tape *tape) {
    uint32_t count = 0;
    double   now = 0;
    memset(tape->copy_of, 0, r->buffers * sizeof *tape->copy_of);
    for (uint32_t p = 1; p < tape->count; p++) {
        uint32_t        launch = tape->launch[p], operands = r->plan->launches.operands[launch];
        const uint32_t *used = launch_buffers(r->plan, launch);
        tape->start[p] = now;
        now += r->us[launch];
        for (uint32_t i = 0; i < operands; i++) {
            uint32_t copy = tape->copy_of[used[i]];
            if (copy != 0 && tape->copies[copy - 1].need == 0 &&
                recompute_late(r, tape->at[p], used[i]))
                tape->copies[copy - 1].need = p;
        }
        if (tape->kind[p] != TAPE_RUN || !recompute_copies(r, launch)) continue;
        for (uint32_t i = operands; i < r->plan->launches.args_count[launch]; i++) {
            if (r->maker[used[i]] != launch || r->small[used[i]]) continue;
            tape->copies[count] = (LinkCopy){.buffer = used[i], .made = p};
            tape->copy_of[used[i]] = ++count;
        }
    }
    tape->start[tape->count] = now;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (tape->copies[i].need != 0) tape->copies[kept++] = tape->copies[i];
    return kept;
}

/* Ends of the copies that leave: before the first position that begins when they are over. */
static void time_out(const Recompute *r, Tape *tape, uint32_t count) {
    double free = 0;
    for (uint32_t i = 0; i < count; i++) {
        LinkCopy *copy = &tape->copies[i];
        uint32_t  p = copy->made + 1;
        free = fmax(free, tape->start[p]) + recompute_link_us(r, r->bytes[copy->buffer]);
        while (p < copy->need && tape->start[p] < free && !is_fence(r, tape->launch[p])) p++;
        copy->out_end = p;
    }
}
static int needed_later_first(const void *a, const void *b) {
    const LinkCopy *x = a, *y = b;
    if (x->need != y->need) return x->need > y->need ? -1 : 1;
    return x->buffer > y->buffer ? -1 : x->buffer < y->buffer;
}
/* Begins of those that come back: before the last position from where they are there in time. */
static void time_back(const Recompute *r, Tape *tape, uint32_t count) {
    double limit = DBL_MAX;
    for (uint32_t i = 0; i < count; i++) {
        LinkCopy *copy = &tape->copies[i];
        uint32_t  p = copy->need;
        limit = fmin(limit, tape->start[p]) - recompute_link_us(r, r->bytes[copy->buffer]);
        while (p > copy->out_end && tape->start[p] > limit && !is_fence(r, tape->launch[p - 1]))
            p--;
        copy->back = p;
    }
}

/* Extras: what stands before a position, the last first, as they are written from the end on. */
static void add_extra(const Recompute *r, Tape *tape, uint32_t before, uint32_t copy,
                      TapeKind kind) {
    uint32_t  extra = (kind - TAPE_OUT) * r->buffers + copy + 1;
    uint32_t *next = tape->stack; /* not in use here */
    next[extra] = tape->extras[before];
    tape->extras[before] = extra;
}
static void add_extras(const Recompute *r, Tape *tape, uint32_t count) {
    memset(tape->extras, 0, (tape->count + 1) * sizeof *tape->extras);
    for (int kind = TAPE_OUT; kind <= TAPE_BACK_END; kind++)
        for (uint32_t i = count; i-- > 0;) {
            const LinkCopy *copy = &tape->copies[i];
            const uint32_t  before[] = {copy->made + 1, copy->out_end, copy->back, copy->need};
            add_extra(r, tape, before[kind - TAPE_OUT], i, (TapeKind)kind);
        }
}
static void move_position(Tape *tape, uint32_t to, uint32_t from) {
    tape->launch[to] = tape->launch[from];
    tape->at[to] = tape->at[from];
    tape->kind[to] = tape->kind[from];
    tape->start[to] = tape->start[from];
    tape->buffer[to] = 0;
}
static void insert_extras(const Recompute *r, Tape *tape, uint32_t copies) {
    uint32_t to = tape->count + 4 * copies;
    tape->start[to] = tape->start[tape->count];
    tape->count = to;
    for (uint32_t from = tape->count - 4 * copies; from-- > 1;) {
        uint32_t at = tape->at[from];
        double   start = tape->start[from];
        move_position(tape, --to, from);
        for (uint32_t extra = tape->extras[from]; extra != 0; extra = tape->stack[extra]) {
            uint32_t buffer = tape->copies[(extra - 1) % r->buffers].buffer;
            --to;
            tape->launch[to] = r->maker[buffer];
            tape->at[to] = at;
            tape->kind[to] = (uint8_t)(TAPE_OUT + (extra - 1) / r->buffers);
            tape->start[to] = start;
            tape->buffer[to] = buffer;
        }
    }
    ASSERT(to == 1);
}
void recompute_add_copies(const Recompute *r, Tape *tape) {
    uint32_t count = list_copies(r, tape);
    for (uint32_t p = 1; p < tape->count; p++) tape->buffer[p] = 0;
    if (count == 0) return;
    time_out(r, tape, count);
    qsort(tape->copies, count, sizeof *tape->copies, needed_later_first);
    time_back(r, tape, count);
    add_extras(r, tape, count);
    insert_extras(r, tape, count);
}

/* --- the link --------------------------------------------------------------------------------- */
Link recompute_link(const Recompute *r, Arena *out) {
    return (Link){.rows = ARENA_ARRAY(out, LinkRow, r->launches + 1),
                  .by_need = ARENA_ARRAY(out, LinkRow, r->launches + 1),
                  .begins = ARENA_ARRAY(out, double, r->launches + 1),
                  .fences = ARENA_ARRAY(out, double, 2 * r->launches)};
}
static int later_need_first(const void *a, const void *b) {
    const LinkRow *x = a, *y = b;
    if (x->need != y->need) return x->need > y->need ? -1 : 1;
    return x->launch > y->launch ? -1 : x->launch < y->launch;
}
LinkRow recompute_link_row(const Recompute *r, const Tape *tape, const Link *link, uint32_t launch,
                           uint32_t need, uint64_t bytes) {
    uint32_t after = r->split[launch] != 0 ? r->split[launch] : tape->at[tape->peak];
    uint32_t made =
        tape->first[2 * launch_buffers(r->plan, launch)[r->plan->launches.operands[launch]]];
    LinkRow row = {.launch = launch,
                   .us = recompute_link_us(r, bytes),
                   .made = tape->start[made + 1],
                   .out_by = link->begins[after],
                   .back_from = link->begins[after + 1],
                   .need = tape->start[need],
                   .bytes = bytes};
    for (uint32_t i = 0; i < link->fences_count; i++) {
        const double *fence = &link->fences[2 * i];
        if (fence[0] >= row.made) row.out_by = fmin(row.out_by, fence[0]);
        if (fence[1] <= row.need) row.back_from = fmax(row.back_from, fence[1]);
    }
    return row;
}
/* What is on the link stays, even if it is late by now. */
static void allow_late(Link *link) {
    double free = 0, limit = DBL_MAX;
    for (uint32_t i = 0; i < link->count; i++) {
        LinkRow *row = &link->rows[i];
        free = fmax(free, row->made) + row->us;
        row->out_by = fmax(row->out_by, free);
    }
    memcpy(link->by_need, link->rows, link->count * sizeof *link->rows);
    if (link->count != 0)
        qsort(link->by_need, link->count, sizeof *link->by_need, later_need_first);
    for (uint32_t i = 0; i < link->count; i++) {
        LinkRow *row = &link->by_need[i];
        limit = fmin(limit, row->need) - row->us;
        row->back_from = fmin(row->back_from, limit);
    }
}
void recompute_read_link(const Recompute *r, const Tape *tape, Link *link) {
    uint32_t at = 0;
    link->count = link->fences_count = 0;
    link->bytes = 0;
    for (uint32_t p = 1; p < tape->count; p++) {
        while (at <= tape->at[p]) link->begins[at++] = tape->start[p];
        if (tape->kind[p] != TAPE_RUN || !is_fence(r, tape->launch[p])) continue;
        double *fence = &link->fences[2 * link->fences_count++];
        fence[0] = tape->start[p];
        fence[1] = tape->start[p + 1];
    }
    while (at <= r->launches) link->begins[at++] = tape->start[tape->count];
    uint32_t *need = tape->stack; /* by launch: position of the first that needs it */
    memset(need, 0, r->launches * sizeof *need);
    for (uint32_t p = tape->count; p-- > 1;)
        if (tape->kind[p] == TAPE_BACK_END) need[tape->launch[p]] = p;
    for (uint32_t launch = 1; launch < r->launches; launch++) {
        uint64_t        bytes = 0;
        const uint32_t *used = launch_buffers(r->plan, launch);
        if (need[launch] == 0) continue;
        for (uint32_t i = r->plan->launches.operands[launch];
             i < r->plan->launches.args_count[launch]; i++)
            if (tape->first[recompute_host(r, used[i])] != 0) bytes += r->bytes[used[i]];
        link->rows[link->count++] = recompute_link_row(r, tape, link, launch, need[launch], bytes);
        link->bytes += bytes;
    }
    allow_late(link);
}

/* Inserts a row into a sorted list; true if all of it still leaves, or comes back, in time. */
static bool leaves(const Link *link, LinkRow row) {
    double free = 0;
    for (uint32_t i = 0, put = 0; i < link->count + !put; i++) {
        bool           mine = !put && (i == link->count || row.launch < link->rows[i].launch);
        const LinkRow *now = mine ? &row : &link->rows[i];
        free = fmax(free, now->made) + now->us;
        if (free > now->out_by) return false;
        if (mine) put = 1, i--;
    }
    return true;
}
static bool comes_back(const Link *link, LinkRow row) {
    double limit = DBL_MAX;
    for (uint32_t i = 0, put = 0; i < link->count + !put; i++) {
        bool mine = !put && (i == link->count || later_need_first(&row, &link->by_need[i]) < 0);
        const LinkRow *now = mine ? &row : &link->by_need[i];
        limit = fmin(limit, now->need) - now->us;
        if (limit < now->back_from) return false;
        if (mine) put = 1, i--;
    }
    return true;
}
static void insert(LinkRow *rows, uint32_t count, LinkRow row, bool by_need) {
    uint32_t i = count;
    for (; i > 0; i--) {
        bool after =
            by_need ? later_need_first(&rows[i - 1], &row) < 0 : rows[i - 1].launch < row.launch;
        if (after) break;
        rows[i] = rows[i - 1];
    }
    rows[i] = row;
}
bool recompute_link_takes(Link *link, LinkRow row) {
    if (!leaves(link, row) || !comes_back(link, row)) return false;
    insert(link->rows, link->count, row, false);
    insert(link->by_need, link->count, row, true);
    link->count++;
    link->bytes += row.bytes;
    return true;
}
