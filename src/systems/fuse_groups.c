/* Deciding what becomes one group.
 *
 * Candidates are producer and consumer, and consumers of one value, taken by the bytes that merging
 * saves plus what a launch costs. A merge must
 *   - keep one iteration space: the same number of elements, or those of a reduction and of what
 *     it gives; producers that are seen through a broadcast or at other places are only computed
 *     where they are used, so they must be cheap and used by this consumer alone;
 *   - keep groups acyclic. Groups have places in a topological order; a merge looks at the groups
 *     between the two places that the first one reaches (Pearce and Kelly 2006), a bounded number;
 *   - stay below the limits of a kernel. */
#include "systems/fuse_inner.h"
#include "systems/lower_inner.h"

enum {
    MEMBERS_MAX = 1024,      /* rows of a kernel */
    STREAMS_MAX = 64,        /* tensors that a kernel reads or writes */
    WINDOW_MAX = 4096,       /* groups looked at for a merge */
    RECOMPUTED_COST = 6,     /* most arithmetic that is done again for each use */
    SIZE_GUESS = 64,         /* of a symbol without a hint */
    ROW_BYTES = 1 << 18,     /* of a row that teams of threads sum both ways */
    ROW_ODD_BYTES = 1 << 16, /* the same if rows begin at odd places */
    ROW_UNIT = 16,           /* bytes */
    SMALL_BYTES = 65536,     /* groups over so little are hardly worth a launch */
    FEW_BYTES = 1 << 24,     /* groups over so little leave a device of threads idle */
    FULL_BYTES = 1 << 26,    /* groups over so much do not: a launch is little of them */
    NUMBER_BYTES = 8,
    SMALL_KINDS = 64 /* of them, that are told apart */
};

/* --- sizes ------------------------------------------------------------------------------------ */
static int64_t guess(const Dims *dims, DimId dim) { // as deep as the text of a size
    uint32_t row = dim.row;
    int64_t  a, b, sum = 0;
    switch ((DimKind)dims->rows.kind[row]) {
    case DIM_CONST: return dims->rows.imm[row];
    case DIM_SYMBOL: return dims->rows.hint[row] != 0 ? dims->rows.hint[row] : SIZE_GUESS;
    case DIM_POLY:
        for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
            uint32_t term = dims->rows.lhs[row] + i, mono = dims->terms.mono[term];
            int64_t  product = dims->terms.coef[term];
            for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
                product *= guess(dims, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]});
            sum += product;
        }
        return sum;
    default: break;
    }
    a = guess(dims, (DimId){dims->rows.lhs[row]});
    b = guess(dims, (DimId){dims->rows.rhs[row]});
    switch ((DimKind)dims->rows.kind[row]) {
    case DIM_FLOORDIV: return b != 0 ? a / b : a;
    case DIM_LESS: return a < b;
    case DIM_MIN: return a < b ? a : b;
    default: return a > b ? a : b;
    }
}
int64_t fuse_value_bytes(const Fuse *f, ValueId value) {
    const Types *types = &f->world->types;
    TypeId       type = f->code->values.type[value.row];
    int64_t      bytes = dtype_bytes(type_dtype(types, type));
    for (uint32_t i = 0; i < type_rank(types, type); i++)
        bytes *= guess(&f->world->dims, type_dims(types, type)[i]);
    return bytes;
}

/* --- one iteration space ---------------------------------------------------------------------- */
static bool same(DimId a, DimId b) { return a.row == b.row && a.row != 0; }

/* Both sum alike: over the same axes of the same shape, or over all but the same elements. */
static bool same_reduction(const Fuse *f, uint32_t a, uint32_t b) {
    const Code *code = f->code;
    TypeId      type_a = code->values.type[op_operand(code, (OpId){a}, 0).row];
    TypeId      type_b = code->values.type[op_operand(code, (OpId){b}, 0).row];
    uint64_t    axes_a = op_attrs(f->world, code, (OpId){a})[ATTR_REDUCE_axes];
    uint64_t    axes_b = op_attrs(f->world, code, (OpId){b})[ATTR_REDUCE_axes];
    return type_shape(&f->world->types, type_a).row == type_shape(&f->world->types, type_b).row &&
           axes_a == axes_b;
}
/* Whether rows, the trailing axes that one of two reductions keeps, would not fit into the shared
 * memory of a team of threads, two at once. bytes: of an element. */
static bool is_long_row(const Fuse *f, ShapeId shape, uint32_t axes, uint32_t others,
                        int64_t bytes) {
    const Types *types = &f->world->types;
    const Dims  *dims = &f->world->dims;
    uint32_t     rank = shape_rank(types, shape);
    uint32_t     inner = axes >> (rank - 1) & 1 ? axes : others;
    int64_t      row = 1;
    for (uint32_t i = 0; i < rank; i++) {
        DimId dim = shape_dims(types, shape)[i];
        if ((inner >> i & 1) && dims_is_const(dims, dim)) row *= dims_const_value(dims, dim);
    }
    return row * bytes > (row * bytes % ROW_UNIT == 0 ? ROW_BYTES : ROW_ODD_BYTES);
}
/* Sums over the leading axes of what the other sums over the trailing ones: dw beside dx. */
static bool crossed_reduction(const Fuse *f, uint32_t a, uint32_t b) {
    const Code  *code = f->code;
    ValueId      x = op_operand(code, (OpId){a}, 0), y = op_operand(code, (OpId){b}, 0);
    const Types *types = &f->world->types;
    ShapeId      shape = type_shape(types, code->values.type[x.row]);
    if (shape.row != type_shape(types, code->values.type[y.row]).row) return false;
    uint32_t rank = shape_rank(types, shape), bits[2] = {0, 0}, rows[2] = {a, b};
    for (uint32_t i = 0; i < 2; i++) {
        ListId axes = {(uint32_t)op_attrs(f->world, code, (OpId){rows[i]})[ATTR_REDUCE_axes]};
        for (uint32_t k = 0; k < list_count(&f->world->attrs, axes); k++)
            bits[i] |= 1u << list_numbers(&f->world->attrs, axes)[k];
    }
    int64_t bytes = dtype_bytes(type_dtype(types, code->values.type[x.row]));
    if (f->ctx->target->threads && is_long_row(f, shape, bits[0], bits[1], bytes)) return false;
    return rank >= 2 && (bits[0] ^ bits[1]) == (1u << rank) - 1;
}
static bool reductions_agree(const Fuse *f, const Group *a, const Group *b) {
    return same_reduction(f, a->reduce, b->reduce) || crossed_reduction(f, a->reduce, b->reduce);
}
/* Whether the two iterate over the same elements, for consumers of one value. */
static bool spaces_agree(const Fuse *f, const Group *a, const Group *b) {
    if (a->reduce != 0 && b->reduce != 0) return reductions_agree(f, a, b);
    return same(a->elements, b->elements);
}

/* Whether a row is used outside the two groups. */
static bool leaves(const Fuse *f, uint32_t row, uint32_t a, uint32_t b) {
    if (fuse_escapes(f, row)) return true;
    for (uint32_t i = f->uses_first[row - f->first]; i < f->uses_first[row - f->first + 1]; i++) {
        uint32_t user = fuse_find(f, f->edges[f->uses[i]].to);
        if (user != a && user != b) return true;
    }
    return false;
}
/* Every use of every member is in one of the two groups. */
static bool used_only_by(const Fuse *f, uint32_t group, uint32_t other) {
    for (uint32_t row = f->groups[group - f->first].head; row != 0;
         row = f->next_member[row - f->first])
        if (leaves(f, row, group, other)) return false;
    return true;
}

static bool edge_agrees(const Fuse *f, const Edge *edge) {
    uint32_t     p = fuse_find(f, edge->from), c = fuse_find(f, edge->to);
    const Group *from = &f->groups[p - f->first], *to = &f->groups[c - f->first];
    OpId         producer = {edge->from};
    bool         reduces = f->code->ops.opcode[producer.row] == OP_REDUCE;
    if (from->reduce != 0 && to->reduce != 0) {
        if (edge->path == PATH_MOVED) return false;
        return same_reduction(f, from->reduce, to->reduce) ||
               (!reduces && reductions_agree(f, from, to));
    }
    if (edge->path == PATH_ALIGNED) {
        if (same(from->elements, to->elements)) return true;
        if (to->reduce != 0) return same(from->elements, to->kept);
        return from->reduce != 0 && same(from->kept, to->elements);
    }
    if (edge->path == PATH_REPEATED && from->reduce != 0) return same(from->elements, to->elements);
    if (edge->path == PATH_REPEATED && to->reduce != 0 && same(from->elements, to->kept)) {
        return used_only_by(f, p, c); /* per row: computed once a row */
    }
    return from->reduce == 0 && from->cost <= RECOMPUTED_COST && used_only_by(f, p, c);
}

/* --- limits ----------------------------------------------------------------------------------- */
/* Whether the two groups as one would read and write more tensors than `most`. */
static bool exceeds_streams(Fuse *f, uint32_t a, uint32_t b, int64_t most) {
    uint32_t both[2] = {a, b}, streams = 0, stamp = ++f->stamps;
    for (uint32_t g = 0; g < 2; g++)
        for (uint32_t row = f->groups[both[g] - f->first].head; row != 0;
             row = f->next_member[row - f->first]) {
            streams += leaves(f, row, a, b);
            for (uint32_t i = f->ins_first[row - f->first]; i < f->ins_first[row - f->first + 1];
                 i++) {
                uint32_t from = f->edges[i].from, group = fuse_find(f, from);
                if (group == a || group == b || f->stamp[from - f->first] == stamp) continue;
                f->stamp[from - f->first] = stamp;
                streams++;
            }
            if (streams > most) return true;
        }
    return false;
}

/* --- order ------------------------------------------------------------------------------------ */
/* Stamps the groups between two places that the first group reaches. False if one of them reaches
 * the second, or too many lie between. */
static bool stamp_between(Fuse *f, uint32_t a, uint32_t b, uint32_t *stack) {
    uint32_t stamp = ++f->stamps, depth = 0, seen = 0;
    uint32_t limit = f->groups[b - f->first].place;
    if (limit - f->groups[a - f->first].place > WINDOW_MAX) return false;
    stack[depth++] = a;
    while (depth != 0) {
        uint32_t group = stack[--depth];
        if (++seen > WINDOW_MAX) return false;
        for (uint32_t row = f->groups[group - f->first].head; row != 0;
             row = f->next_member[row - f->first])
            for (uint32_t i = f->uses_first[row - f->first]; i < f->uses_first[row - f->first + 1];
                 i++) {
                uint32_t user = fuse_find(f, f->edges[f->uses[i]].to);
                if (user == b && group != a) return false;
                if (user == b || user == a || f->stamp[user - f->first] == stamp ||
                    f->groups[user - f->first].place > limit)
                    continue;
                f->stamp[user - f->first] = stamp;
                stack[depth++] = user;
            }
    }
    return true;
}
/* What the first group reaches moves behind the merged one, which stands at b. */
static void reorder_between(Fuse *f, uint32_t a, uint32_t b, uint32_t *moved) {
    uint32_t from = f->groups[a - f->first].place, to = f->groups[b - f->first].place;
    uint32_t place = from, count = 0;
    for (uint32_t i = from; i <= to; i++) {
        uint32_t group = f->order[i];
        if (group == 0 || group == a || group == b) continue;
        if (f->stamp[group - f->first] == f->stamps) {
            moved[count++] = group;
            continue;
        }
        f->order[place] = group;
        f->groups[group - f->first].place = place++;
    }
    f->order[place] = b;
    f->groups[b - f->first].place = place++;
    for (uint32_t i = 0; i < count; i++) {
        f->order[place] = moved[i];
        f->groups[moved[i] - f->first].place = place++;
    }
    while (place <= to) f->order[place++] = 0;
}

/* --- merging ---------------------------------------------------------------------------------- */
static void join_members(Fuse *f, Group *into, const Group *from) {
    uint32_t x = into->head, y = from->head, tail = 0, head = 0;
    while (x != 0 || y != 0) {
        uint32_t *side = y == 0 || (x != 0 && x < y) ? &x : &y, row = *side;
        *side = f->next_member[row - f->first];
        if (tail == 0)
            head = row;
        else
            f->next_member[tail - f->first] = row;
        tail = row;
    }
    f->next_member[tail - f->first] = 0;
    into->head = head;
    into->tail = tail;
    into->count += from->count;
}
/* Whether a reduction sums over the axis that is contiguous in memory. */
static bool sums_inside(const Fuse *f, uint32_t row) {
    ListId   axes = {(uint32_t)op_attrs(f->world, f->code, (OpId){row})[ATTR_REDUCE_axes]};
    ValueId  x = op_operand(f->code, (OpId){row}, 0);
    uint32_t rank = type_rank(&f->world->types, f->code->values.type[x.row]);
    for (uint32_t i = 0; i < list_count(&f->world->attrs, axes); i++)
        if (list_numbers(&f->world->attrs, axes)[i] + 1 == rank) return true;
    return false;
}
/* Merges the group at the earlier place into the later one; a and b are representatives. */
static bool try_merge(Fuse *f, uint32_t a, uint32_t b, int64_t streams, uint32_t *stack) {
    if (f->groups[a - f->first].place > f->groups[b - f->first].place) {
        uint32_t swap = a;
        a = b;
        b = swap;
    }
    Group *first = &f->groups[a - f->first], *second = &f->groups[b - f->first];
    if (first->count + second->count > MEMBERS_MAX || exceeds_streams(f, a, b, streams) ||
        !stamp_between(f, a, b, stack) || !system_burn(f->ctx))
        return false;
    reorder_between(f, a, b, stack);
    /* of crossed reductions, that of the rows leads */
    if (first->reduce != 0 && (second->reduce == 0 || !sums_inside(f, second->reduce))) {
        second->elements = first->elements;
        second->kept = first->kept;
        second->reduce = first->reduce;
    }
    second->cost += first->cost;
    join_members(f, second, first);
    f->parent[a - f->first] = b - f->first;
    return true;
}

/* --- candidates ------------------------------------------------------------------------------- */
typedef struct Candidate {
    int64_t  saves; /* bytes */
    uint32_t edge;  /* producer and consumer; UINT32_MAX: consumers of one value */
    uint32_t a, b;  /* rows */
} Candidate;
typedef struct Queue { /* a binary heap, the most saving first, then the earliest rows */
    Candidate *rows;
    uint32_t   count;
} Queue;
static bool before(const Candidate *x, const Candidate *y) {
    if (x->saves != y->saves) return x->saves > y->saves;
    return x->b != y->b ? x->b < y->b : x->a < y->a;
}
static void queue_push(Queue *q, Candidate candidate) {
    uint32_t at = q->count++;
    for (; at > 0 && before(&candidate, &q->rows[(at - 1) / 2]); at = (at - 1) / 2)
        q->rows[at] = q->rows[(at - 1) / 2];
    q->rows[at] = candidate;
}
static Candidate queue_pop(Queue *q) {
    Candidate top = q->rows[0], last = q->rows[--q->count];
    uint32_t  at = 0;
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= q->count) break;
        if (child + 1 < q->count && before(&q->rows[child + 1], &q->rows[child])) child++;
        if (!before(&q->rows[child], &last)) break;
        q->rows[at] = q->rows[child];
        at = child;
    }
    q->rows[at] = last;
    return top;
}

static bool is_core(const Fuse *f, uint32_t row) { return f->kind[row - f->first] == ROW_CORE; }

/* Single numbers beside each other in a block, as counters of loops are, share a launch. */
static void push_scalars(Fuse *f, Queue *q) {
    uint32_t before = 0;
    DimId    one = dims_const(&f->world->dims, 1);
    for (uint32_t row = f->first; row < f->last; row++) {
        if (!is_core(f, row) || !same(f->groups[row - f->first].elements, one)) continue;
        if (before != 0) queue_push(q, (Candidate){0, UINT32_MAX, before, row});
        before = row;
    }
}
static void push_candidates(Fuse *f, Queue *q) {
    for (uint32_t row = f->first; row < f->last; row++) {
        uint32_t first = f->uses_first[row - f->first], last = f->uses_first[row - f->first + 1];
        if (f->kind[row - f->first] == ROW_FREE || first == last) continue;
        int64_t bytes = fuse_value_bytes(f, op_result(f->code, (OpId){row}, 0));
        for (uint32_t i = first; i < last; i++) {
            uint32_t to = f->edges[f->uses[i]].to;
            if (!is_core(f, to)) continue;
            if (is_core(f, row))
                queue_push(q, (Candidate){bytes * (last - first == 1 ? 2 : 1) + LAUNCH_BYTES,
                                          f->uses[i], row, to});
            uint32_t next = i + 1 < last ? f->edges[f->uses[i + 1]].to : to;
            if (next != to && is_core(f, next))
                queue_push(q, (Candidate){bytes, UINT32_MAX, to, next});
        }
    }
}
/* Rows that read all of a value from before the run, element by element, one after the other. */
static void push_readers(Fuse *f, Queue *q) {
    const Code *code = f->code;
    ArenaMark   mark = arena_mark(f->ctx->scratch);
    uint32_t   *last = ARENA_ARRAY_ZERO(f->ctx->scratch, uint32_t, code->values.table.count);
    for (uint32_t row = f->first; row < f->last; row++)
        for (uint32_t i = 0; is_core(f, row) && i < code->ops.operands_count[row]; i++) {
            ValueId x = op_operand(code, (OpId){row}, i);
            if (value_op(code, x).row >= f->first || last[x.row] == row ||
                !same(fuse_elements(f, x), f->groups[row - f->first].elements))
                continue;
            if (last[x.row] != 0)
                queue_push(q, (Candidate){fuse_value_bytes(f, x), UINT32_MAX, last[x.row], row});
            last[x.row] = row;
        }
    arena_release(f->ctx->scratch, mark);
}

/* Tensors of a kernel whose groups have nothing in common but numbers. On a device of threads no
 * more than keep it busy: of updates of many parameters, which share a rate, each group of other
 * ones would be a kernel of its own, and the longest to compile; few of a shape are one. */
static int64_t streams_max(const Fuse *f, const Group *group) {
    if (!f->ctx->target->threads || !dim_id_some(group->elements)) return STREAMS_MAX;
    int64_t most = FULL_BYTES / (guess(&f->world->dims, group->elements) * 4 + 1);
    return most < STREAMS_MAX ? most : STREAMS_MAX;
}
static bool consider(Fuse *f, const Candidate *c, uint32_t *stack) {
    uint32_t a = fuse_find(f, c->a), b = fuse_find(f, c->b);
    bool     number = c->edge == UINT32_MAX && c->saves <= NUMBER_BYTES;
    if (a == b) return false;
    bool    agrees = c->edge != UINT32_MAX
                         ? edge_agrees(f, &f->edges[c->edge])
                         : spaces_agree(f, &f->groups[a - f->first], &f->groups[b - f->first]);
    int64_t most = number ? streams_max(f, &f->groups[a - f->first]) : STREAMS_MAX;
    return agrees && try_merge(f, a, b, most, stack);
}

/* Whether two groups iterate over the same elements in the same way. */
static bool alike(const Fuse *f, const Group *a, const Group *b) {
    if (!same(a->elements, b->elements) || (a->reduce != 0) != (b->reduce != 0)) return false;
    return a->reduce == 0 || same_reduction(f, a->reduce, b->reduce);
}
static bool used_later(const Fuse *f, uint32_t row, uint32_t place) {
    for (uint32_t i = f->uses_first[row - f->first]; i < f->uses_first[row - f->first + 1]; i++)
        if (fuse_group(f, f->edges[f->uses[i]].to)->place >= place) return true;
    return false;
}
/* Whether what a group reads is there until a place anyway, for others or for what is made of it
 * element by element. */
static bool reads_kept(const Fuse *f, const Group *group, uint32_t place) {
    bool kept = true;
    for (uint32_t row = group->head; row != 0; row = f->next_member[row - f->first]) {
        if (row != group->reduce && used_later(f, row, place)) return true;
        for (uint32_t i = f->ins_first[row - f->first]; i < f->ins_first[row - f->first + 1]; i++) {
            uint32_t from = f->edges[i].from;
            kept &=
                fuse_escapes(f, from) || fuse_group(f, from) == group || used_later(f, from, place);
        }
    }
    return kept;
}
/* Small groups over the same elements that share nothing become one launch, first come first. */
static uint32_t merge_small(Fuse *f, uint32_t *stack) {
    uint32_t    merged = 0, kinds = 0;
    uint32_t   *last = ARENA_ARRAY(f->ctx->scratch, uint32_t, SMALL_KINDS);
    const Dims *dims = &f->world->dims;
    for (uint32_t row = f->first; row < f->last; row++) {
        Group *group = &f->groups[row - f->first];
        if (!is_core(f, row) || fuse_find(f, row) != row || !dim_id_some(group->elements)) continue;
        int64_t bytes = guess(dims, group->elements) * 4;
        bool    small = bytes <= SMALL_BYTES;
        bool    few = f->ctx->target->threads && bytes <= FEW_BYTES;
        if (!small && !(few && dims_is_const(dims, group->elements))) continue;
        uint32_t kind = 0;
        while (kind < kinds && !alike(f, &f->groups[last[kind] - f->first], group)) kind++;
        if (kind == SMALL_KINDS) continue;
        const Group *other = kind < kinds ? &f->groups[last[kind] - f->first] : NULL;
        bool         later = other != NULL && other->place > group->place;
        if (other != NULL &&
            (small || reads_kept(f, later ? group : other, later ? other->place : group->place)))
            merged += try_merge(f, last[kind], row, streams_max(f, group), stack);
        last[kind] = fuse_find(f, row);
        kinds += kind == kinds;
    }
    return merged;
}

uint32_t fuse_merge_groups(Fuse *f) {
    uint32_t  merged = 0, rows = f->last - f->first, most = f->edges_count * 2 + rows + 1;
    bool      nested = op_id_some(f->code->blocks.parent[f->code->ops.block[f->first].row]);
    uint32_t *stack = ARENA_ARRAY(f->ctx->scratch, uint32_t, rows + f->edges_count + 1);
    for (uint32_t row = f->first; row < f->last; row++) most += f->code->ops.operands_count[row];
    Queue queue = {ARENA_ARRAY(f->ctx->scratch, Candidate, most), 0};
    /* What could not be merged may be possible once its other uses have joined: again while there
     * is any change. */
    for (uint32_t before = UINT32_MAX; merged != before;) {
        before = merged;
        push_candidates(f, &queue);
        push_readers(f, &queue);
        if (nested) push_scalars(f, &queue);
        while (queue.count != 0) {
            Candidate candidate = queue_pop(&queue);
            merged += consider(f, &candidate, stack);
        }
    }
    return merged + merge_small(f, stack);
}
