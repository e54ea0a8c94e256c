/* What products read late is stored again by a kernel that has what it is made of.
 *
 * A layer's input is the result of a norm: a product reads it at once, and the gradient of the
 * weight reads it when the step comes back, so it lies in memory meanwhile. What it is made of does
 * so too, for the gradient of the norm. That kernel writes it once more, for the product, which
 * waits for it: a value that is alive for a moment twice instead of all the time. It costs writing
 * it, which is a seventh of what such a kernel moves. Only for targets with threads, large values,
 * and elementwise rows; by places in the order of groups. About linear. */
#include "systems/fuse_inner.h"

enum {
    BYTES_MIN = 1 << 24,
    FAR = 8,        /* launches between the other users and the late one */
    NEAR = 8,       /* between the late one and the kernel */
    CHAIN_MAX = 32, /* rows that a value is made of */
    SMALL = 8       /* what is so many times smaller may be read from anywhere */
};

typedef struct Late { /* a value, its last user, and what makes it */
    uint32_t row, user, operand;
    uint32_t before; /* place of the user before the last */
    uint32_t chain[CHAIN_MAX], chain_count;
    uint32_t leaves[CHAIN_MAX], leaves_count; /* rows of large values that it is made of */
} Late;

static uint32_t place_of(const Fuse *f, uint32_t row) { return fuse_group(f, row)->place; }
static bool     is_core(const Fuse *f, uint32_t row) { return f->kind[row - f->first] == ROW_CORE; }
static ValueId result_of(const Fuse *f, uint32_t row) { return op_result(f->code, (OpId){row}, 0); }
static bool    is_small(const Fuse *f, const Late *late, ValueId value) {
       return fuse_value_bytes(f, value) * SMALL <= fuse_value_bytes(f, result_of(f, late->row));
}
static bool is_elementwise(const Fuse *f, uint32_t row) {
    return is_core(f, row) && (op_infos[f->code->ops.opcode[row]].flags & OP_ELEMENTWISE) != 0;
}

/* launches: by place, how many there are before it. */
static bool find_late(const Fuse *f, const uint32_t *launches, Late *late) {
    uint32_t in = late->row - f->first, own = place_of(f, late->row), last = 0;
    if (!is_elementwise(f, late->row) || !f->stored[in] || fuse_escapes(f, late->row) ||
        fuse_value_bytes(f, result_of(f, late->row)) < BYTES_MIN)
        return false;
    late->before = own;
    late->user = 0;
    for (uint32_t i = f->uses_first[in]; i < f->uses_first[in + 1]; i++) {
        const Edge *edge = &f->edges[f->uses[i]];
        uint32_t    place = place_of(f, edge->to);
        if (f->again[edge->to - f->first]) return false; /* read by who knows whom */
        if (place > last) {
            if (last > late->before) late->before = last;
            last = place;
            late->user = edge->to;
            late->operand = edge->operand;
        } else if (place > late->before) {
            late->before = place;
        }
    }
    if (late->user == 0 || !(op_infos[f->code->ops.opcode[late->user]].flags & OP_PRODUCT))
        return false;
    ValueId read = op_operand(f->code, (OpId){late->user}, late->operand);
    return read.row == result_of(f, late->row).row && f->code->ops.results_count[late->user] == 1 &&
           launches[last] > launches[late->before] + FAR;
}
/* Large values that no edge leads to are more than what a kernel has. */
static bool reads_arguments(const Fuse *f, const Late *late, uint32_t row) {
    for (uint32_t i = 0; i < f->code->ops.operands_count[row]; i++) {
        ValueId x = op_operand(f->code, (OpId){row}, i);
        bool    argument = value_is_arg(f->code, x) || value_op(f->code, x).row < f->first;
        if (argument && !is_small(f, late, x)) return true;
    }
    return false;
}
/* The rows between the value and what lies in memory. */
static bool find_chain(const Fuse *f, Late *late) {
    late->chain[0] = late->row;
    late->chain_count = 1;
    late->leaves_count = 0;
    for (uint32_t k = 0; k < late->chain_count; k++) {
        uint32_t in = late->chain[k] - f->first;
        if (reads_arguments(f, late, late->chain[k])) return false;
        for (uint32_t i = f->ins_first[in]; i < f->ins_first[in + 1]; i++) {
            const Edge *edge = &f->edges[i];
            bool        large = !is_small(f, late, result_of(f, edge->from));
            bool        lies = !is_core(f, edge->from) || f->stored[edge->from - f->first];
            if (large && edge->path != PATH_ALIGNED) return false;
            if (!lies && !is_elementwise(f, edge->from)) return false;
            if (late->chain_count == CHAIN_MAX || late->leaves_count == CHAIN_MAX) return false;
            if (!lies)
                late->chain[late->chain_count++] = edge->from;
            else if (large)
                late->leaves[late->leaves_count++] = edge->from;
        }
    }
    return late->leaves_count != 0;
}
/* Whether a group goes over as many elements and reads all that the value is made of. */
static bool has_leaves(Fuse *f, const Late *late, uint32_t group) {
    ArenaMark mark = arena_mark(f->ctx->scratch);
    DimId     elements = fuse_elements(f, result_of(f, late->row));
    FuseRows  rows = fuse_rows(f, group);
    bool      all = elements.row == f->groups[group - f->first].elements.row;
    for (uint32_t k = 0; k < late->leaves_count && all; k++) {
        bool found = false;
        for (uint32_t i = 0; i < rows.reads_count; i++) found |= rows.reads[i] == late->leaves[k];
        all = found;
    }
    arena_release(f->ctx->scratch, mark);
    return all;
}
/* May the late user stand just behind the group? */
static bool can_wait(const Fuse *f, const Late *late, uint32_t place) {
    uint32_t in = late->user - f->first;
    for (uint32_t i = f->uses_first[in]; i < f->uses_first[in + 1]; i++)
        if (place_of(f, f->edges[f->uses[i]].to) <= place) return false;
    return true;
}
/* The group next to the late user that could make the value; 0: none. */
static uint32_t find_host(Fuse *f, const uint32_t *launches, const Late *late) {
    uint32_t user = place_of(f, late->user), places = f->last - f->first;
    for (uint32_t far = 1; far < places; far++) {
        uint32_t sides[2] = {user - far, user + far};
        bool     near = false;
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t place = sides[i];
            if (place >= places || place <= late->before) continue; /* below 0 is far beyond */
            uint32_t at = launches[place], group = f->order[place];
            if (at + NEAR < launches[user] || launches[user] + NEAR < at) continue;
            near = true;
            if (group != 0 && is_core(f, group) && at > launches[late->before] + FAR &&
                (i == 0 || can_wait(f, late, place)) && has_leaves(f, late, group))
                return group;
        }
        if (!near) return 0;
    }
    return 0;
}
static void move_behind(Fuse *f, uint32_t row, uint32_t group) {
    uint32_t from = place_of(f, row), to = place_of(f, group);
    for (uint32_t place = from; place < to; place++) {
        uint32_t moved = f->order[place] = f->order[place + 1];
        if (moved != 0) f->groups[moved - f->first].place = place;
    }
    if (from < to) {
        f->order[to] = row;
        f->groups[row - f->first].place = to;
    }
}
static bool repeat(Fuse *f, uint32_t *launches, uint32_t row) {
    Late late = {.row = row};
    if (!find_late(f, launches, &late) || !find_chain(f, &late)) return false;
    uint32_t host = find_host(f, launches, &late);
    if (host == 0 || !system_burn(f->ctx)) return false;
    for (uint32_t k = 1; k < late.chain_count; k++) f->again[late.chain[k] - f->first] = true;
    f->repeats[f->repeats_count++] = (Repeat){row, host, late.user, late.operand, {0}};
    move_behind(f, late.user, host);
    return true;
}

uint32_t fuse_repeat(Fuse *f) {
    uint32_t  rows = f->last - f->first, count = 0;
    uint32_t *launches = ARENA_ARRAY_ZERO(f->ctx->scratch, uint32_t, rows);
    if (!f->ctx->target->threads) return 0;
    f->repeats = ARENA_ARRAY(f->ctx->scratch, Repeat, rows);
    for (uint32_t place = 1; place < rows; place++) {
        uint32_t group = f->order[place - 1];
        launches[place] =
            launches[place - 1] + (group != 0 && f->kind[group - f->first] != ROW_FREE);
    }
    for (uint32_t row = f->first; row < f->last; row++) count += repeat(f, launches, row);
    return count;
}
