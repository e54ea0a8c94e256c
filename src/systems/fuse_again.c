/* Deciding what groups store.
 *
 * A result that other groups use is stored and read again, unless these compute it themselves from
 * what is stored anyway: a gelu and its gradient both begin with the product before them, so
 * nothing between is kept. Values are looked at from the last to the first, and one is computed
 * again if that moves clearly fewer bytes, arithmetic counted as what could move meanwhile. What
 * it is made of is computed again too, or stored where it is much smaller (the mean of a row). What
 * a product needs in memory is written there all the same, but groups need not read it.
 *
 * Only elementwise rows are computed again, and only for users that see them element by element.
 * About linear: a decision looks at the groups that use the value. */
#include "systems/fuse_inner.h"
#include "systems/lower_inner.h"

enum {
    ROWS_MAX = 1024,  /* of a group with what it computes again */
    STREAMS_MAX = 96, /* tensors that it reads and writes */
    CHAIN_MAX = 64,   /* rows that one decision changes */
    GROUPS_MAX = 16,  /* groups that use a value */
    SMALL = 8         /* values so many times smaller are stored */
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
static bool decide(Fuse *f, uint32_t row) {
    Users    users = {.count = 0};
    uint32_t again[CHAIN_MAX], stored[CHAIN_MAX], again_count = 1, stored_count = 0;
    if (!is_elementwise(f, row) || !f->stored[row - f->first] || fuse_escapes(f, row) ||
        !find_users(f, row, &users))
        return false;
    double before = cost_together(f, &users), worth = (double)row_bytes(f, row) / 2;
    bool   fits = true;
    again[0] = row;
    f->stored[row - f->first] = users.memory;
    f->again[row - f->first] = true;
    for (uint32_t k = 0; k < again_count && fits; k++)
        for (uint32_t in = again[k] - f->first, i = f->ins_first[in]; i < f->ins_first[in + 1];
             i++) {
            const Edge *edge = &f->edges[i];
            uint32_t    from = edge->from - f->first;
            if (!is_core(f, edge->from) || f->stored[from] || f->again[from]) continue;
            fits = again_count < CHAIN_MAX && stored_count < CHAIN_MAX;
            if (!fits) break;
            bool same = edge->path == PATH_ALIGNED && is_elementwise(f, edge->from) &&
                        row_bytes(f, edge->from) * SMALL > row_bytes(f, row);
            *(same ? &f->again[from] : &f->stored[from]) = true;
            if (same)
                again[again_count++] = edge->from;
            else
                stored[stored_count++] = edge->from;
        }
    double after = fits ? cost_together(f, &users) : -1;
    if (after >= 0 && after + worth < before && system_burn(f->ctx)) return true;
    for (uint32_t k = 0; k < again_count; k++) f->again[again[k] - f->first] = false;
    for (uint32_t k = 0; k < stored_count; k++) f->stored[stored[k] - f->first] = false;
    f->stored[row - f->first] = true;
    return false;
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
    for (uint32_t row = f->last; row-- > f->first;) count += decide(f, row);
    find_stored(f);
    uint32_t repeats = fuse_repeat(f);
    if (repeats != 0) find_stored(f);
    return count + repeats;
}
