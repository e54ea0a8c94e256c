/* Deciding what groups store.
 *
 * A result that other groups use is stored and read again, unless these compute it themselves from
 * what is stored anyway: a gelu and its gradient both begin with the product before them, so
 * nothing between is kept. Values are looked at from the last to the first, and one is computed
 * again if that moves clearly fewer bytes, arithmetic counted as what could move meanwhile. What
 * it is made of is computed again too, or stored where it is much smaller (the mean of a row). What
 * a product needs in memory is written there all the same, but groups need not read it.
 *
 * Where kernels have threads, large values are looked at once more for the sake of memory: one is
 * computed again if that moves about as many bytes and what must lie in memory as long instead is
 * at most half as large (of a residual stream, what was added in 16 bits).
 *
 * Only elementwise rows are computed again, and only for users that see them element by element.
 * About linear: a decision looks at the groups that use the value. */
#include "systems/fuse_inner.h"
#include "systems/lower_inner.h"

enum {
    ROWS_MAX = 1024,     /* of a group with what it computes again */
    STREAMS_MAX = 96,    /* tensors that it reads and writes */
    CHAIN_MAX = 64,      /* rows that one decision changes */
    GROUPS_MAX = 16,     /* groups that use a value */
    SMALL = 8,           /* values so many times smaller are stored */
    LEAN_BYTES = 1 << 24 /* for the sake of memory, only values of so many bytes */
};

static bool is_core(const Fuse *f, uint32_t row) { return f->kind[row - f->first] == ROW_CORE; }
static bool is_elementwise(const Fuse *f, uint32_t row) {
    return is_core(f, row) && (op_infos[f->code->ops.opcode[row]].flags & OP_ELEMENTWISE) != 0;
}
static int64_t row_bytes(const Fuse *f, uint32_t row) {
    return fuse_value_bytes(f, op_result(f->code, (OpId){row}, 0));
}

/* --- a group ---------------------------------------------------------------------------------- */
FuseRows fuse_rows(Fuse *f, uint32_t group) {
    uint32_t stamp = ++f->stamps, most = f->last - f->first;
    FuseRows r = {ARENA_ARRAY(f->ctx->scratch, uint32_t, most),
                  ARENA_ARRAY(f->ctx->scratch, uint32_t, most), 0, 0};
    for (uint32_t row = f->groups[group - f->first].head; row != 0;
         row = f->next_member[row - f->first]) {
        if (!f->stored[row - f->first]) continue;
        f->stamp[row - f->first] = stamp;
        r.rows[r.rows_count++] = row;
    }
    for (uint32_t i = 0; i < f->repeats_count; i++) {
        uint32_t row = f->repeats[i].row;
        if (f->repeats[i].group != group || f->stamp[row - f->first] == stamp) continue;
        f->stamp[row - f->first] = stamp;
        r.rows[r.rows_count++] = row;
    }
    for (uint32_t at = 0; at < r.rows_count; at++) {
        uint32_t in = r.rows[at] - f->first;
        for (uint32_t i = f->ins_first[in]; i < f->ins_first[in + 1]; i++) {
            uint32_t from = f->edges[i].from;
            if (f->stamp[from - f->first] == stamp) continue;
            f->stamp[from - f->first] = stamp;
            if (is_core(f, from) && (f->again[from - f->first] || fuse_find(f, from) == group))
                r.rows[r.rows_count++] = from;
            else
                r.reads[r.reads_count++] = from;
        }
    }
    return r;
}

/* Bytes that a group moves, its arithmetic counted as bytes; negative beyond the limits. */
static double cost_of(Fuse *f, uint32_t group) {
    const TargetMachine *machine = &f->ctx->target->machine;
    ArenaMark            mark = arena_mark(f->ctx->scratch);
    FuseRows             r = fuse_rows(f, group);
    double               bytes = 0, work = 0;
    uint32_t             streams = r.reads_count;
    for (uint32_t i = 0; i < r.reads_count; i++) bytes += (double)row_bytes(f, r.reads[i]);
    for (uint32_t i = 0; i < r.rows_count; i++) {
        uint32_t row = r.rows[i];
        ValueId  made = op_result(f->code, (OpId){row}, 0);
        Dtype    dtype = type_dtype(&f->world->types, f->code->values.type[made.row]);
        double   size = (double)row_bytes(f, row);
        bool     stores = f->stored[row - f->first] && fuse_find(f, row) == group;
        work += size / dtype_bytes(dtype) * lower_cost((Opcode)f->code->ops.opcode[row]);
        bytes += stores ? size : 0;
        streams += stores;
    }
    arena_release(f->ctx->scratch, mark);
    if (r.rows_count > ROWS_MAX || streams > STREAMS_MAX) return -1;
    double adds_ns = machine->lanes * machine->ghz * machine->vector_bytes / 4 * 2;
    return bytes + work * machine->gb_s[machine->caches] / adds_ns;
}

/* --- the groups that use a value -------------------------------------------------------------- */
typedef struct Users {
    uint32_t groups[GROUPS_MAX], count;
    bool     memory; /* something that is no group needs it in memory */
} Users;
static bool add_user(Users *users, uint32_t group) {
    for (uint32_t i = 0; i < users->count; i++)
        if (users->groups[i] == group) return true;
    if (users->count == GROUPS_MAX) return false;
    users->groups[users->count++] = group;
    return true;
}
/* False if one of them does not see it element by element. */
static bool find_users(const Fuse *f, uint32_t row, Users *users) {
    uint32_t own = fuse_find(f, row), stack[CHAIN_MAX] = {row}, depth = 1;
    if (!add_user(users, own)) return false;
    while (depth != 0) {
        uint32_t at = stack[--depth] - f->first;
        for (uint32_t i = f->uses_first[at]; i < f->uses_first[at + 1]; i++) {
            const Edge *edge = &f->edges[f->uses[i]];
            if (!is_core(f, edge->to)) {
                users->memory = true;
                continue;
            }
            uint32_t group = fuse_find(f, edge->to);
            bool     again = f->again[edge->to - f->first];
            if (group == own && !again) continue;
            if (edge->path != PATH_ALIGNED || !add_user(users, group)) return false;
            if (!again) continue;
            if (depth == CHAIN_MAX) return false;
            stack[depth++] = edge->to;
        }
    }
    return users->count > 1;
}
/* What the groups cost together; negative beyond the limits. */
static double cost_together(Fuse *f, const Users *users) {
    double sum = 0;
    for (uint32_t i = 0; i < users->count; i++) {
        double cost = cost_of(f, users->groups[i]);
        if (cost < 0) return -1;
        sum += cost;
    }
    return sum;
}

/* --- decisions -------------------------------------------------------------------------------- */
typedef struct Decision {
    uint32_t row, again[CHAIN_MAX], stored[CHAIN_MAX], again_count, stored_count;
    Users    users;
} Decision;

/* Marks the rows to be computed again with the value, and what they need in memory. False: too
 * many. */
static bool try_again(Fuse *f, Decision *d) {
    d->again[0] = d->row;
    d->again_count = 1;
    d->stored_count = 0;
    f->stored[d->row - f->first] = d->users.memory;
    f->again[d->row - f->first] = true;
    for (uint32_t k = 0; k < d->again_count; k++)
        for (uint32_t in = d->again[k] - f->first, i = f->ins_first[in]; i < f->ins_first[in + 1];
             i++) {
            const Edge *edge = &f->edges[i];
            uint32_t    from = edge->from - f->first;
            if (!is_core(f, edge->from) || f->stored[from] || f->again[from]) continue;
            if (d->again_count == CHAIN_MAX || d->stored_count == CHAIN_MAX) return false;
            bool same = edge->path == PATH_ALIGNED && is_elementwise(f, edge->from) &&
                        row_bytes(f, edge->from) * SMALL > row_bytes(f, d->row);
            *(same ? &f->again[from] : &f->stored[from]) = true;
            if (same)
                d->again[d->again_count++] = edge->from;
            else
                d->stored[d->stored_count++] = edge->from;
        }
    return true;
}
static void mark(Fuse *f, const Decision *d, bool again) {
    for (uint32_t k = 0; k < d->again_count; k++) f->again[d->again[k] - f->first] = again;
    for (uint32_t k = 0; k < d->stored_count; k++) f->stored[d->stored[k] - f->first] = again;
    f->stored[d->row - f->first] = !again || d->users.memory;
}
static uint32_t last_place(const Fuse *f, const Users *users) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < users->count; i++) {
        uint32_t place = f->groups[users->groups[i] - f->first].place;
        if (place > last) last = place;
    }
    return last;
}
/* Whether less memory is taken while the value would be alive: what it is made of that would not be
 * there as long is at most half as large. Nothing may be marked. */
static bool is_leaner(const Fuse *f, const Decision *d) {
    int64_t  bytes = row_bytes(f, d->row), instead = 0;
    uint32_t last = last_place(f, &d->users);
    if (d->users.memory || d->stored_count != 0) return false;
    for (uint32_t k = 0; k < d->again_count; k++)
        for (uint32_t in = d->again[k] - f->first, i = f->ins_first[in]; i < f->ins_first[in + 1];
             i++) {
            uint32_t from = f->edges[i].from;
            Users    users = {.count = 0};
            bool     leaf = !is_core(f, from) || f->stored[from - f->first];
            if (!leaf || row_bytes(f, from) * SMALL <= bytes) continue;
            if (!find_users(f, from, &users) || last_place(f, &users) < last)
                instead += row_bytes(f, from);
        }
    return instead * 2 <= bytes;
}
/* lean: for the sake of memory, if it moves about as many bytes. What is decided stays: a product
 * may need in memory what groups compute again. */
static bool decide(Fuse *f, uint32_t row, bool lean) {
    Decision d = {.row = row};
    if (!is_elementwise(f, row) || !f->stored[row - f->first] || f->again[row - f->first] ||
        fuse_escapes(f, row) || (lean && row_bytes(f, row) < LEAN_BYTES) ||
        !find_users(f, row, &d.users))
        return false;
    double bytes = (double)row_bytes(f, row), before = cost_together(f, &d.users);
    double after = try_again(f, &d) ? cost_together(f, &d.users) : -1;
    bool   good = after >= 0 && after < (lean ? before + bytes / 16 : before - bytes / 2);
    if (!lean && good && system_burn(f->ctx)) return true;
    mark(f, &d, false);
    if (!lean || !good || !is_leaner(f, &d) || !system_burn(f->ctx)) return false;
    mark(f, &d, true);
    return true;
}

/* Every value that a row outside of groups uses, and what groups with such values read. */
static void find_stored(Fuse *f) {
    uint32_t rows = f->last - f->first;
    for (uint32_t row = f->first; row < f->last; row++)
        f->stored[row - f->first] = fuse_escapes(f, row);
    for (uint32_t place = rows; place-- > 0;) {
        uint32_t  group = f->order[place];
        ArenaMark mark = arena_mark(f->ctx->scratch);
        if (group == 0 || f->kind[group - f->first] == ROW_FREE) continue;
        if (is_core(f, group)) {
            FuseRows r = fuse_rows(f, group);
            for (uint32_t i = 0; i < r.reads_count; i++) f->stored[r.reads[i] - f->first] = true;
        } else {
            for (uint32_t i = f->ins_first[group - f->first];
                 i < f->ins_first[group - f->first + 1]; i++)
                f->stored[f->edges[i].from - f->first] = true;
        }
        arena_release(f->ctx->scratch, mark);
    }
}

uint32_t fuse_recompute(Fuse *f) {
    uint32_t rows = f->last - f->first, count = 0;
    f->stored = ARENA_ARRAY_ZERO(f->ctx->scratch, uint8_t, rows);
    f->again = ARENA_ARRAY_ZERO(f->ctx->scratch, uint8_t, rows);
    find_stored(f);
    for (uint32_t row = f->last; row-- > f->first;) count += decide(f, row, false);
    find_stored(f);
    for (uint32_t row = f->last; row-- > f->first && f->ctx->target->threads;)
        count += decide(f, row, true);
    find_stored(f);
    uint32_t repeats = fuse_repeat(f);
    if (repeats != 0) find_stored(f);
    return count + repeats;
}
