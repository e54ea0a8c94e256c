/* The text of a phase. One function, whose macros the instance defines: HEAD (a kernel, or a
 * function of one block that calls several), NAME and ARGS (names), I (the type of indices), V
 * (elements of a group), FULL (every group is whole), ALIVE (an element of one that is not), TEAM
 * and BLOCK (threads), BOUNDS (of a launch), CLUSTER (blocks of a team), JOIN (teams of a block
 * that share rows), RING (rows of a loop in shared memory), FIRST and STEP (rows of this team),
 * HELD (groups of a row that a thread keeps; 0: rows are not kept), SHARED (in shared memory), AT,
 * ROW_AT and PLACE (where there), ROOM (for a row there), ROWS (unrolls held rows), ODD (groups
 * begin anywhere), LED (those of most rows where memory is aligned), STAGED (a thread a row), and
 * LD, ST, FETCH, RAW (how groups are loaded and stored).
 *
 * Variables: t thread of the team, j team of the block, v<dim> loop variables and parameters,
 * b<position> buffers, s<position> staged ones, r<position> registers, a<node> partial sums, x<n>
 * values, p<n> groups, h<n> held groups (q<n>: as loaded; g<n>: of the next row), k<position> held
 * buffers, y<node> what sums have loaded. */
#include "gpu/emit_inner.h"

#include <math.h>
#include <stdio.h>

enum { UNROLLED = 32 }; /* iterations of a sum that one thread adds up */

static void             put(Emit *e, const char *text) { text_add(&e->text, str_of(text)); }
static const LoopNodes *nodes_of(const Emit *e) { return &e->loops->nodes; }
static const char      *stored_type(const Emit *e, LoopAccess access) {
         return gpu_emit_stored(gpu_emit_buffer_dtype(e, access));
}
static BufferScope scope_of(const Emit *e, LoopAccess access) {
    return (BufferScope)e->loops->buffers.scope[access_buffer(access).row];
}
static bool is_statement(const Emit *e, uint32_t row) {
    return nodes_of(e)->kind[row] == NODE_STORE || nodes_of(e)->kind[row] == NODE_REDUCE;
}
static const EmitLeaf *leaf_at(const Emit *e, uint32_t row) {
    for (uint32_t i = 0; i < e->phase->leaves_count; i++)
        if (e->phase->leaves[i].row == row) return &e->phase->leaves[i];
    return NULL;
}
static uint32_t home_of(Emit *e, uint32_t node) {
    return gpu_emit_home(e->loops, e->phase, e->scratch, node);
}
/* Forgets loads of a buffer that is written, and all that was computed from them. */
static void forget_loads(Emit *e, BufferId buffer) {
    const LoopExprs *exprs = &e->loops->exprs;
    for (uint32_t i = 0; i < e->logged; i++) { /* operands stand before what uses them */
        uint32_t row = e->log[i];
        bool     loads =
            exprs->kind[row] == EXPR_LOAD && access_buffer(exprs->word[row]).row == buffer.row;
        e->stale[row] = loads || e->stale[exprs->a[row].row] || e->stale[exprs->b[row].row] ||
                        e->stale[exprs->c[row].row];
        if (e->stale[row]) e->known[row] = 0;
    }
    for (uint32_t i = 0; i < e->logged; i++) e->stale[e->log[i]] = 0;
}

/* --- statements ------------------------------------------------------------------------------- */
/* place = combined or value, in memory. */
static void put_write(Emit *e, uint32_t row, const char *value) {
    LoopAccess  access = nodes_of(e)->access[row];
    const char *stored = stored_type(e, access);
    uint32_t    at = gpu_emit_position(e, access_buffer(access));
    bool        adds = nodes_of(e)->kind[row] == NODE_REDUCE;
    if (scope_of(e, access) == SCOPE_REG) {
        text_addf(&e->text, "r%u%s = ", at, e->element ? "[e]" : "");
        if (adds)
            text_addf(&e->text, "comb<%u>(r%u%s, %s);\n", nodes_of(e)->reduce[row], at,
                      e->element ? "[e]" : "", value);
        else
            text_addf(&e->text, "%s;\n", value);
        return;
    }
    gpu_emit_place(e, access);
    text_addf(&e->text, " = pk<%s>(", stored);
    if (adds) {
        text_addf(&e->text, "comb<%u>((%s)up(", nodes_of(e)->reduce[row],
                  gpu_emit_type(expr_dtype(e->loops, nodes_of(e)->value[row])));
        gpu_emit_place(e, access);
        text_addf(&e->text, "), %s)", value);
    } else {
        put(e, value);
    }
    put(e, ");\n");
}
/* A statement beside leaves: computed by all, written by one; or by each thread for itself. */
static void emit_statement(Emit *e, uint32_t row, bool team) {
    const LoopNodes *nodes = nodes_of(e);
    LoopAccess       access = nodes->access[row];
    uint32_t         mark = gpu_emit_scope_begin(e), home = 0;
    char             value[24];
    if (nodes->kind[row] == NODE_REDUCE) home = home_of(e, row);
    put(e, "{\n");
    if (expr_id_some(nodes->guard[row]))
        text_addf(&e->text, "if (x%u) {\n", gpu_emit_expr(e, nodes->guard[row]));
    (void)snprintf(value, sizeof value, "x%u", gpu_emit_expr(e, nodes->value[row]));
    if (home != 0) {
        text_addf(&e->text, "a%u = comb<%u>(a%u, %s);\n", row, nodes->reduce[row], row, value);
    } else {
        if (team && scope_of(e, access) != SCOPE_REG) put(e, "if (t == 0) ");
        put_write(e, row, value);
    }
    if (expr_id_some(nodes->guard[row])) put(e, "}\n");
    put(e, "}\n");
    gpu_emit_scope_end(e, mark);
    forget_loads(e, access_buffer(access));
}

/* --- partial sums ----------------------------------------------------------------------------- */
static void open_sums(Emit *e, uint32_t loop) {
    const LoopNodes *nodes = nodes_of(e);
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++) {
        if (nodes->kind[row] != NODE_REDUCE || home_of(e, row) != loop) continue;
        Dtype    dtype = expr_dtype(e->loops, nodes->value[row]);
        ExprId   start = loops_identity(e->loops, (ReduceKind)nodes->reduce[row], dtype);
        uint64_t word = e->loops->exprs.word[start.row];
        if (!dtype_is_float(dtype))
            text_addf(&e->text, "%s a%u = (%s)0x%llxull;\n", gpu_emit_type(dtype), row,
                      gpu_emit_type(dtype), (unsigned long long)word);
        else if (isinf(word_f64(word)))
            text_addf(&e->text, "%s a%u = (%s)__uint_as_float(0x%xu);\n", gpu_emit_type(dtype), row,
                      gpu_emit_type(dtype), word_f64(word) < 0 ? 0xff800000u : 0x7f800000u);
        else
            text_addf(&e->text, "%s a%u = %g;\n", gpu_emit_type(dtype), row, word_f64(word));
    }
}
/* Sums of all threads where the loop was shared out, then into their targets. */
static void close_sums(Emit *e, uint32_t loop, bool team) {
    const LoopNodes *nodes = nodes_of(e);
    uint32_t         last = loop + nodes->size[loop], slots = 0;
    for (uint32_t pass = 0; pass < 2 && team; pass++) {
        uint32_t slot = 0;
        for (uint32_t row = loop + 1; row < last; row++) {
            if (nodes->kind[row] != NODE_REDUCE || home_of(e, row) != loop) continue;
            bool dealt = false;
            for (uint32_t i = 0; i < e->phase->leaves_count; i++) {
                uint32_t leaf = e->phase->leaves[i].row;
                dealt |= leaf <= row && row < leaf + nodes->size[leaf];
            }
            if (!dealt) continue;
            text_addf(&e->text, "a%u = team_%s<%u, TEAM%s>(a%u, s_sums[j][turn & 1][%u]%s);\n", row,
                      pass == 0 ? "put" : "get", nodes->reduce[row], pass == 0 ? ", CLUSTER" : "",
                      row, slot++, pass == 0 ? ", s_arrived + (turn & 1), t" : "");
        }
        slots = slot;
        if (slots != 0 && pass == 0)
            text_addf(&e->text, "team_meet<TEAM, CLUSTER, JOIN>(j, s_arrived, turn, %u);\n", slots);
        else if (slots != 0)
            put(e, "turn = (turn + 1) & 3;\n");
    }
    if (slots > e->phase->slots) e->phase->slots = slots;
    e->phase->tells |= slots != 0;
    for (uint32_t row = loop + 1; row < last; row++) {
        char value[24];
        if (nodes->kind[row] != NODE_REDUCE || home_of(e, row) != loop) continue;
        (void)snprintf(value, sizeof value, "a%u", row);
        if (team && scope_of(e, nodes->access[row]) != SCOPE_REG) put(e, "if (t == 0) ");
        put_write(e, row, value);
    }
}
static bool has_sums(Emit *e, uint32_t loop) {
    for (uint32_t row = loop + 1; row < loop + nodes_of(e)->size[loop]; row++)
        if (nodes_of(e)->kind[row] == NODE_REDUCE && home_of(e, row) == loop) return true;
    return false;
}

/* Two 16-bit or 8-bit floats are rounded by one instruction: statements leave what they store in
 * q<n>, and join rounds it in pairs. What p<n> holds until then is there for those that read it. */
static bool joins(const Emit *e, LoopAccess access) {
    Dtype dtype = gpu_emit_buffer_dtype(e, access);
    return dtype_is_half(dtype) || dtype_is_f8(dtype);
}
/* The value of a statement; what storing rounds need not be rounded before. */
static ExprId unrounded(const Emit *e, uint32_t row) {
    const LoopExprs *exprs = &e->loops->exprs;
    ExprId           value = nodes_of(e)->value[row];
    Dtype            stored = gpu_emit_buffer_dtype(e, nodes_of(e)->access[row]);
    bool rounds = exprs->kind[value.row] == EXPR_OP && exprs->opcode[value.row] == OP_CONVERT &&
                  exprs->word[value.row] == stored && joins(e, nodes_of(e)->access[row]) &&
                  expr_dtype(e->loops, exprs->a[value.row]) == DTYPE_F32;
    return rounds ? exprs->a[value.row] : value;
}

/* --- leaves in groups ------------------------------------------------------------------------- */
static void add_pack(Emit *e, LoopAccess access, bool stored) {
    ASSERT(e->packs_count < e->packs_max);
    e->packs[e->packs_count++] = (EmitPack){access, ++e->variables, stored};
}
static bool promoted(const Emit *e, LoopAccess access) { /* tiles hold no rows */
    return !e->tiled && e->phase->promoted[gpu_emit_position(e, access_buffer(access))] != 0;
}
static const EmitHeld *held_for(const Emit *e, LoopAccess access, DimId rest) {
    uint32_t scope = gpu_emit_scope(e->loops, e->phase, e->leaf->parent, rest);
    for (uint32_t i = 0; i < e->phase->helds_count; i++)
        if (e->phase->helds[i].scope == scope &&
            e->phase->helds[i].buffer.row == access_buffer(access).row &&
            e->phase->helds[i].rest.row == rest.row &&
            e->leaf->extent.row == e->phase->held_extent.row)
            return &e->phase->helds[i];
    return NULL;
}
/* p<n> = the group of an access. */
static void load_pack(Emit *e, LoopAccess access, DimId rest) {
    const char     *stored = stored_type(e, access);
    uint32_t        at = gpu_emit_position(e, access_buffer(access)), number;
    const EmitHeld *held = held_for(e, access, rest);
    add_pack(e, access, false);
    number = e->packs[e->packs_count - 1].number;
    text_addf(&e->text, "Pack<%s, V> p%u;\n", stored, number);
    if (e->phase->staged[at])
        text_addf(&e->text, "#if STAGED\np%u.v[0] = s%u[(I)threadIdx.x * n_leaf + c0];\n#else\n",
                  number, at);
    if (promoted(e, access))
        text_addf(&e->text, "if constexpr (HELD) p%u = k%u[h]; else ", number, at);
    uint32_t index = held != NULL ? (uint32_t)(held - e->phase->helds) : 0;
    if (held != NULL && gpu_emit_held_of_rows(e, held->scope))
        text_addf(&e->text,
                  "#if ODD && RING\np%u = taken(&h%u[PLACE(h)], o%u);\n#else\n"
                  "if constexpr (HELD) p%u = h%u[ROW_AT(h)]; else\n",
                  number, index, index, number, index);
    else if (held != NULL)
        text_addf(&e->text,
                  "if constexpr (ODD && SHARED) p%u = taken(&h%u[AT(h)], o%u);\n"
                  "else if constexpr (HELD) p%u = h%u[AT(h)];\nelse ",
                  number, index, index, number, index);
    text_addf(&e->text, "p%u = settled(LD%s<%d, V>(b%u + (", number, gpu_emit_led(e, rest),
              gpu_emit_only_read(e, access_buffer(access)), at);
    gpu_emit_dim(e, rest);
    put(e, " + c0), live, dead));\n");
    if (held != NULL && gpu_emit_held_of_rows(e, held->scope)) put(e, "#endif\n");
    if (e->phase->staged[at]) put(e, "#endif\n");
}
typedef struct Loading {
    Emit    *e;
    bool     writes; /* groups that are written, else those that are read */
    uint32_t first;  /* of the run */
} Loading;
static bool in_groups(Emit *e, LoopAccess access, ExprId guard, uint32_t node, DimId *out_rest) {
    return !expr_id_some(guard) && !expr_id_some(nodes_of(e)->guard[node]) &&
           scope_of(e, access) != SCOPE_REG &&
           gpu_emit_contiguous(e->loops, access, e->leaf->var, out_rest);
}
static void note_pack(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Loading *loading = context;
    Emit    *e = loading->e;
    DimId    rest;
    if (!in_groups(e, access, guard, node, &rest) || writes != loading->writes) return;
    if (writes && nodes_of(e)->kind[node] != NODE_REDUCE) return; /* written, not read */
    for (uint32_t row = loading->first; row < node; row++)
        if (nodes_of(e)->access[row] == access) return; /* what the run has stored */
    if (gpu_emit_pack_of(e, access) == NULL) load_pack(e, access, rest);
}
/* Whether a statement reads what one since `first` has stored, at other places than stored. */
typedef struct Clash {
    Emit    *e;
    uint32_t first, row;
    bool     found;
} Clash;
static void note_clash(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Clash           *clash = context;
    Emit            *e = clash->e;
    const LoopNodes *nodes = nodes_of(e);
    (void)guard, (void)node;
    if (scope_of(e, access) == SCOPE_REG) return;
    for (uint32_t row = clash->first; row < clash->row; row++) {
        if (access_buffer(nodes->access[row]).row != access_buffer(access).row) continue;
        DimId rest;
        bool  forwards = !writes && nodes->access[row] == access &&
                        in_groups(e, access, guard, row, &rest) && home_of(e, row) == 0;
        clash->found |= !forwards;
    }
}
/* The statement after the last one that can share a loop over elements with the one at `first`. */
static uint32_t run_end(Emit *e, uint32_t first, uint32_t last) {
    for (uint32_t row = first + 1; row < last; row++) {
        Clash clash = {e, first, row, false};
        gpu_emit_visit(e->loops, e->scratch, row, row + 1, note_clash, &clash);
        if (clash.found) return row;
    }
    return last;
}
/* What a sum adds where something is chosen, if it adds zero elsewhere: which. */
static ExprId chosen_of(const Emit *e, uint32_t row) {
    const LoopExprs *exprs = &e->loops->exprs;
    ExprId           value = nodes_of(e)->value[row];
    bool select = exprs->kind[value.row] == EXPR_OP && exprs->opcode[value.row] == OP_SELECT;
    if (nodes_of(e)->reduce[row] != REDUCE_SUM || !select) return (ExprId){0};
    ExprId other = exprs->c[value.row];
    bool   zero = exprs->kind[other.row] == EXPR_CONST && exprs->word[other.row] == 0;
    return zero ? exprs->a[value.row] : (ExprId){0};
}
static void emit_element(Emit *e, uint32_t row) {
    const LoopNodes *nodes = nodes_of(e);
    LoopAccess       access = nodes->access[row];
    DimId            rest;
    bool     adds = nodes->kind[row] == NODE_REDUCE, guarded = expr_id_some(nodes->guard[row]);
    char     value[96];
    uint32_t mark = gpu_emit_scope_begin(e);
    if (guarded) put(e, "if (ALIVE(e)) {\n");
    if (guarded) text_addf(&e->text, "if (x%u) {\n", gpu_emit_expr(e, nodes->guard[row]));
    ExprId   chosen = adds && home_of(e, row) != 0 ? chosen_of(e, row) : (ExprId){0};
    ExprId   term = expr_id_some(chosen) ? e->loops->exprs.b[nodes->value[row].row]
                    : adds               ? nodes->value[row]
                                         : unrounded(e, row);
    uint32_t which = expr_id_some(chosen) ? gpu_emit_expr(e, chosen) : 0;
    uint32_t x = gpu_emit_expr(e, term);
    (void)snprintf(value, sizeof value, "x%u", x);
    if (adds && home_of(e, row) != 0) {
        put(e, "if (ALIVE(e)");
        if (which != 0) text_addf(&e->text, " && x%u", which);
        text_addf(&e->text, ") a%u = comb<%u>(a%u, x%u);\n", row, nodes->reduce[row], row, x);
    } else if (in_groups(e, access, (ExprId){0}, row, &rest)) {
        EmitPack *pack = gpu_emit_pack_of(e, access);
        ASSERT(pack != NULL);
        const char *type = gpu_emit_type(expr_dtype(e->loops, nodes->value[row]));
        text_addf(&e->text, "p%u.v[e] = pk<%s>(", pack->number, stored_type(e, access));
        if (adds)
            text_addf(&e->text, "comb<%u>((%s)up(p%u.v[e]), x%u));\n", nodes->reduce[row], type,
                      pack->number, x);
        else
            text_addf(&e->text, "x%u);\n", x);
        if (pack->stored && joins(e, access))
            text_addf(&e->text, adds ? "q%u[e] = up(p%u.v[e]);\n" : "q%u[e] = x%u;\n", pack->number,
                      adds ? pack->number : x);
    } else {
        if (scope_of(e, access) != SCOPE_REG && !guarded) put(e, "if (ALIVE(e)) ");
        put_write(e, row, value);
    }
    if (guarded) {
        put(e, "}\n}\n");
        gpu_emit_scope_end(e, mark);
    }
    forget_loads(e, access_buffer(access));
}
/* Lanes whose groups follow each other in memory, so that one may complete the unit of another; 1
 * where others than this thread would have to see it at once. */
static const char *lanes_of(Emit *e, LoopAccess access) {
    DimId step, rest, place = loops_address(e->loops, access);
    if (e->phase->read[gpu_emit_position(e, access_buffer(access))] ||
        !dims_linear_in(&e->loops->dims, place, e->leaf->var, &step, &rest))
        return "1";
    return e->phase->flat ? "32" : "(TEAM < 32 ? TEAM : 32)";
}
static void store_packs(Emit *e, uint32_t first, uint32_t last) {
    const LoopNodes *nodes = nodes_of(e);
    for (uint32_t row = first; row < last; row++) {
        LoopAccess access = nodes->access[row];
        DimId      rest;
        if (!in_groups(e, access, (ExprId){0}, row, &rest) ||
            (nodes->kind[row] == NODE_REDUCE && home_of(e, row) != 0))
            continue;
        bool again = false; /* a later statement of the run stores the same group */
        for (uint32_t other = row + 1; other < last; other++)
            again |= nodes->access[other] == access;
        if (again) continue;
        uint32_t at = gpu_emit_position(e, access_buffer(access)),
                 number = gpu_emit_pack_of(e, access)->number;
        bool staged = e->phase->staged[at] != 0;
        if (staged)
            text_addf(&e->text,
                      "#if STAGED\ns%u[(I)threadIdx.x * n_leaf + c0] = p%u.v[0];\n#else\n", at,
                      number);
        if (promoted(e, access))
            text_addf(&e->text, "if constexpr (HELD) k%u[h] = p%u; else ", at, number);
        text_addf(&e->text, "ST%s<%s, V>(b%u + (", gpu_emit_led(e, rest), lanes_of(e, access), at);
        gpu_emit_dim(e, rest);
        text_addf(&e->text, " + c0), p%u, live, dead);\n%s", number, staged ? "#endif\n" : "");
    }
}
/* The loop over elements since `begin`, twice: one element of a row is asked for (the label of a
 * loss), and groups without it need not compare. */
static void emit_apart(Emit *e, size_t begin) {
    String loop = str_copy(e->scratch, (String){e->text.data + begin, e->text.count - begin});
    e->text.count = begin;
    put(e, "if (");
    for (uint32_t i = 0; i < e->hits_count; i++)
        text_addf(&e->text, "%s(u32)((I)x%u - c0) < V", i == 0 ? "" : " || ", e->hits[i]);
    put(e, ") {\nconst Yes hit;\n");
    text_add(&e->text, loop);
    put(e, "} else {\nconst No hit;\n");
    text_add(&e->text, loop);
    put(e, "}\n");
}
/* Statements [first, last) for each element of the group. */
static void emit_run(Emit *e, uint32_t first, uint32_t last) {
    Loading  reads = {e, false, first}, writes = {e, true, first};
    uint32_t mark = gpu_emit_scope_begin(e);
    e->packs_count = 0;
    gpu_emit_visit(e->loops, e->scratch, first, last, note_pack, &reads);
    for (uint32_t row = first; row < last; row++) {
        DimId rest;
        if (nodes_of(e)->kind[row] == NODE_REDUCE && home_of(e, row) != 0) continue;
        if (!in_groups(e, nodes_of(e)->access[row], (ExprId){0}, row, &rest)) continue;
        if (nodes_of(e)->kind[row] == NODE_REDUCE) {
            gpu_emit_visit(e->loops, e->scratch, row, row + 1, note_pack, &writes);
        } else if (gpu_emit_pack_of(e, nodes_of(e)->access[row]) == NULL) {
            add_pack(e, nodes_of(e)->access[row], true);
            text_addf(&e->text, "Pack<%s, V> p%u;\n", stored_type(e, nodes_of(e)->access[row]),
                      e->variables);
            if (joins(e, nodes_of(e)->access[row]))
                text_addf(&e->text, "f32 q%u[V];\n", e->variables);
        }
    }
    size_t begin = e->text.count;
    text_addf(&e->text, "#pragma unroll\nfor (int e = 0; e < V; e++) {\nconst I v%u = c0 + e;\n",
              e->leaf->var.row);
    e->element = true;
    e->outside = e->variables;
    e->hits_count = 0;
    for (uint32_t row = first; row < last; row++) emit_element(e, row);
    e->element = false;
    gpu_emit_scope_end(e, mark);
    put(e, "}\n");
    if (e->hits_count != 0) emit_apart(e, begin);
    for (uint32_t i = 0; i < e->packs_count; i++)
        if (e->packs[i].stored && joins(e, e->packs[i].access))
            text_addf(&e->text, "join(p%u, q%u);\n", e->packs[i].number, e->packs[i].number);
    store_packs(e, first, last);
    e->packs_count = 0;
}
/* Registers that statements of the leaf write: one an element. */
static void declare_registers(Emit *e) {
    const LoopNodes *nodes = nodes_of(e);
    uint32_t         first = e->leaf->row + 1, last = e->leaf->row + nodes->size[e->leaf->row];
    for (uint32_t row = first; row < last; row++) {
        LoopAccess access = nodes->access[row];
        bool       again = nodes->kind[row] != NODE_STORE || scope_of(e, access) != SCOPE_REG;
        for (uint32_t other = first; other < row; other++)
            again |= nodes->kind[other] == NODE_STORE &&
                     access_buffer(nodes->access[other]).row == access_buffer(access).row;
        if (!again)
            text_addf(&e->text, "%s r%u[V];\n", gpu_emit_type(gpu_emit_buffer_dtype(e, access)),
                      gpu_emit_position(e, access_buffer(access)));
    }
}
/* The statements for the group at c0. */
static void emit_groups(Emit *e, const EmitLeaf *leaf) {
    uint32_t first = leaf->row + 1, last = leaf->row + nodes_of(e)->size[leaf->row];
    gpu_emit_group(e, leaf);
    declare_registers(e);
    for (uint32_t row = first, end; row < last; row = end) {
        end = run_end(e, row, last);
        put(e, "{\n");
        emit_run(e, row, end);
        put(e, "}\n");
    }
}
static void enter_leaf(Emit *e, const EmitLeaf *leaf) {
    const LoopNodes *nodes = nodes_of(e);
    e->leaf = leaf;
    memset(e->varies, 0, e->loops->exprs.table.count);
    for (uint32_t row = leaf->row + 1; row < leaf->row + nodes->size[leaf->row]; row++)
        if (!expr_id_some(nodes->guard[row])) gpu_emit_uniform(e, nodes->value[row]);
}
/* The only leaf of a phase, tile by tile: rows are read along the parallel loop into shared memory,
 * and computed along the leaf. */
static void emit_tiles(Emit *e, const EmitLeaf *leaf) {
    uint32_t row = nodes_of(e)->var[e->phase->parallel].row, mark = gpu_emit_scope_begin(e);
    put(e, "const I n_leaf = ");
    gpu_emit_dim(e, leaf->extent);
    put(e, ";\nconst I across = (n_leaf + TILE - 1) / TILE;\nconst I lead = 0;\n");
    for (uint32_t i = 0; i < e->phase->tiles_count; i++) {
        Dtype dtype = gpu_emit_buffer_dtype(e, e->phase->tiles[i]);
        int   pad = dtype_bytes(dtype) < 4 ? 4 / (int)dtype_bytes(dtype) : 1;
        text_addf(&e->text, "__shared__ %s s_tile%u[TILE][TILE + %d];\n", gpu_emit_stored(dtype), i,
                  pad);
    }
    put(e, "for (I tile = blockIdx.x; tile < (n_rows + TILE - 1) / TILE * across; "
           "tile += gridDim.x) {\nconst I r0 = tile / across * TILE, l0 = tile % across * TILE;\n"
           "#pragma unroll\nfor (int i = 0; i < TILE * TILE / TILED / BLOCK; i++) {\n"
           "const int at = (i * BLOCK + threadIdx.x) * TILED;\n");
    text_addf(&e->text,
              "const I v%u = r0 + at %% TILE, v%u = l0 + at / TILE;\n"
              "if (v%u < n_rows && v%u < n_leaf) {\n",
              row, leaf->var.row, row, leaf->var.row);
    for (uint32_t i = 0; i < e->phase->tiles_count; i++) {
        LoopAccess access = e->phase->tiles[i];
        text_addf(&e->text, "turn_in<%d, TILED>(&s_tile%u[at / TILE][at %% TILE], &",
                  gpu_emit_only_read(e, access_buffer(access)), i);
        gpu_emit_place(e, access);
        text_addf(&e->text, ", n_rows - v%u);\n", row);
    }
    text_addf(
        &e->text,
        "}\n}\n__syncthreads();\nfor (int at = threadIdx.x; at < TILE * (TILE / V); "
        "at += BLOCK) {\nconst I v%u = r0 + at / (TILE / V), c0 = l0 + at %% (TILE / V) * V;\n"
        "if (v%u < n_rows && c0 < n_leaf) {\n",
        row, row);
    e->tiled = true;
    enter_leaf(e, leaf);
    emit_groups(e, leaf);
    e->tiled = false;
    e->leaf = NULL;
    gpu_emit_scope_end(e, mark);
    put(e, "}\n}\n__syncthreads();\n}\n");
}
static void emit_leaf(Emit *e, const EmitLeaf *leaf) {
    uint32_t mark = gpu_emit_scope_begin(e);
    bool     holds = leaf->extent.row == e->phase->held_extent.row && !e->phase->flat;
    open_sums(e, leaf->row);
    put(e, "{\nconst I n_leaf = ");
    gpu_emit_dim(e, leaf->extent);
    put(e, ";\n");
    enter_leaf(e, leaf);
    if (e->phase->flat)
        put(e, "for (I c0 = ((I)blockIdx.x * BLOCK + (I)threadIdx.x) * V; c0 < n_leaf; "
               "c0 += (I)gridDim.x * BLOCK * V) {\n");
    else if (holds)
        put(e,
            "ROWS\n"
            "for (I h = 0, c0 = t * V - lead; HELD ? h < HELD : c0 < n_leaf; h++, c0 += TEAM * V)"
            " if (HELD == 0 || c0 < n_leaf) {\n");
    else
        put(e, "ROWS\nfor (I c0 = t * V - lead; c0 < n_leaf; c0 += TEAM * V) {\n");
    emit_groups(e, leaf);
    put(e, "}\n}\n");
    e->leaf = NULL;
    gpu_emit_scope_end(e, mark);
}

/* --- loops ------------------------------------------------------------------------------------ */
typedef struct Touching {
    const Emit *e;
    bool        found, kept; /* kept: all that is touched is in registers where rows are held */
} Touching;
static void note_shared(void *context, uint32_t node, LoopAccess access, ExprId guard,
                        bool writes) {
    Touching *touching = context;
    (void)node, (void)guard, (void)writes;
    if (scope_of(touching->e, access) != SCOPE_REG &&
        touching->e->phase->shared[gpu_emit_position(touching->e, access_buffer(access))])
        touching->found = true;
}
/* After what threads tell each other. */
static void emit_sync(Emit *e, uint32_t row) {
    Touching touching = {e, false, true};
    gpu_emit_visit(e->loops, e->scratch, row, row + nodes_of(e)->size[row], note_shared, &touching);
    if (touching.found) put(e, "team_sync<TEAM, CLUSTER, JOIN>(j);\n");
    e->phase->tells |= touching.found;
}
static void emit_nodes(Emit *e, uint32_t first, uint32_t last, bool team);

static bool has_inner_loops(const Emit *e, uint32_t loop) {
    for (uint32_t row = loop + 1; row < loop + nodes_of(e)->size[loop]; row++)
        if (nodes_of(e)->kind[row] == NODE_LOOP) return true;
    return false;
}
/* Whether a loop adds up what it reads, and does nothing else: partial sums. Their loads are all
 * that takes time. */
static bool only_loads(Emit *e, uint32_t loop) {
    const LoopNodes *nodes = nodes_of(e);
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++)
        if (nodes->kind[row] != NODE_REDUCE || home_of(e, row) != loop ||
            expr_id_some(nodes->guard[row]) ||
            e->loops->exprs.kind[nodes->value[row].row] != EXPR_LOAD)
            return false;
    return true;
}
/* Loads of many iterations begin before the first is waited for; those behind the last iteration
 * are of that one, and do not count. */
static void emit_loads(Emit *e, uint32_t loop) {
    const LoopNodes *nodes = nodes_of(e);
    uint32_t         last = loop + nodes->size[loop], mark = gpu_emit_scope_begin(e);
    int              begun = last - loop <= 3 ? EMIT_PROCESSORS / 2 : EMIT_PROCESSORS / 3;
    text_addf(&e->text, "for (I base = 0; base < n_loop; base += %d) {\n", begun);
    for (uint32_t row = loop + 1; row < last; row++)
        text_addf(&e->text, "%s y%u[%d];\n", gpu_emit_type(expr_dtype(e->loops, nodes->value[row])),
                  row, begun);
    text_addf(&e->text,
              "#pragma unroll\nfor (int k = 0; k < %d; k++) {\n"
              "const I v%u = imin(base + k, n_loop - 1);\n",
              begun, nodes->var[loop].row);
    for (uint32_t row = loop + 1; row < last; row++)
        text_addf(&e->text, "y%u[k] = x%u;\n", row, gpu_emit_expr(e, nodes->value[row]));
    gpu_emit_scope_end(e, mark);
    text_addf(&e->text,
              "}\n#pragma unroll\nfor (int k = 0; k < %d; k++) if (base + k < n_loop) {\n", begun);
    for (uint32_t row = loop + 1; row < last; row++)
        text_addf(&e->text, "a%u = comb<%u>(a%u, y%u[k]);\n", row, nodes->reduce[row], row, row);
    put(e, "}\n}\n}\n");
}
/* dealt: iterations go to the threads of the team, one each. */
static void emit_loop(Emit *e, uint32_t row, bool team, bool dealt) {
    const LoopNodes *nodes = nodes_of(e);
    uint32_t         mark = gpu_emit_scope_begin(e), var = nodes->var[row].row;
    bool             inner = has_inner_loops(e, row), joins = row == e->phase->join;
    const char      *first = joins ? "j" : "0";
    open_sums(e, row);
    put(e, "{\nconst I n_loop = ");
    gpu_emit_dim(e, nodes->extent[row]);
    put(e, ";\n");
    bool held = team && !dealt && gpu_emit_has_held(e, row);
    if (held) gpu_emit_first_held(e, row);
    if (!(nodes->bind[row] & BIND_UNROLL) && !inner && has_sums(e, row) && !dealt && !joins &&
        only_loads(e, row)) {
        emit_loads(e, row);
        gpu_emit_scope_end(e, mark);
        close_sums(e, row, team);
        return;
    }
    if (nodes->bind[row] & BIND_UNROLL)
        put(e, "#pragma unroll\n");
    else if (!inner && has_sums(e, row) && !dealt)
        text_addf(&e->text, "#pragma unroll %d\n", UNROLLED);
    text_addf(&e->text, "for (I v%u = %s; v%u < n_loop; v%u += %s) {\n", var, dealt ? "t" : first,
              var, var,
              dealt   ? "TEAM"
              : joins ? "JOIN"
                      : "1");
    if (held) gpu_emit_turn_held(e, row);
    emit_nodes(e, row + 1, row + nodes->size[row], team && !dealt);
    put(e, "}\n}\n");
    gpu_emit_scope_end(e, mark);
    close_sums(e, row, team);
}
static void emit_nodes(Emit *e, uint32_t first, uint32_t last, bool team) {
    const LoopNodes *nodes = nodes_of(e);
    if (team && !gpu_emit_held_of_rows(e, first - 1) && gpu_emit_has_held(e, first - 1))
        gpu_emit_take_held(e, first - 1);
    for (uint32_t row = first; row < last; row += nodes->size[row]) {
        const EmitLeaf *leaf = team ? leaf_at(e, row) : NULL;
        if (is_statement(e, row)) {
            emit_statement(e, row, team);
        } else if (leaf != NULL && leaf->vector) {
            emit_leaf(e, leaf);
            close_sums(e, row, true);
        } else {
            emit_loop(e, row, team, leaf != NULL);
        }
        if (team) emit_sync(e, row);
    }
}

/* --- the function ----------------------------------------------------------------------------- */
static void put_args(Emit *e) {
    const LoopKernels *kernels = &e->loops->kernels;
    uint32_t           first = kernels->buffers_first[e->kernel.row];
    put(e, "struct ARGS {\n");
    for (uint32_t i = 0; i < kernels->buffers_count[e->kernel.row]; i++)
        if (e->loops->buffers.scope[first + i] <= SCOPE_WORK)
            text_addf(&e->text, "void *b%u;\n", i);
    put(e, "char *lane;\ni64 lane_bytes;\n");
    for (uint32_t i = 0; i < kernels->params_count[e->kernel.row]; i++)
        text_addf(&e->text, "i64 n%u;\n", i);
    put(e, "};\n");
}
static void put_prologue(Emit *e) {
    const LoopKernels *kernels = &e->loops->kernels;
    const LoopBuffers *buffers = &e->loops->buffers;
    uint32_t           first = kernels->buffers_first[e->kernel.row];
    for (uint32_t i = 0; i < kernels->params_count[e->kernel.row]; i++)
        text_addf(&e->text, "const I v%u = (I)a.n%u;\n",
                  e->loops->params.symbol[kernels->params_first[e->kernel.row] + i].row, i);
    for (uint32_t i = 0; i < kernels->buffers_count[e->kernel.row]; i++) {
        const char *type = gpu_emit_stored((Dtype)buffers->dtype[first + i]);
        if (buffers->scope[first + i] <= SCOPE_WORK)
            text_addf(&e->text, "%s *const b%u = (%s *)a.b%u;\n", type, i, type, i);
        if (buffers->scope[first + i] != SCOPE_LANE || !e->phase->lane[i]) continue;
        text_addf(&e->text, "%s *const b%u = (%s *)lane;\n", type, i, type);
        put(e, e->phase->promoted[i] ? "if (HELD == 0) lane += " : "lane += ");
        put(e, "((i64)sizeof(*");
        text_addf(&e->text, "b%u) * (i64)", i);
        gpu_emit_dim(e, loops_elements(e->loops, (BufferId){first + i}));
        put(e, " + 15) / 16 * 16;\n");
    }
}
static void put_registers(Emit *e) {
    const LoopKernels *kernels = &e->loops->kernels;
    const LoopBuffers *buffers = &e->loops->buffers;
    uint32_t           first = kernels->buffers_first[e->kernel.row];
    for (uint32_t i = 0; i < kernels->buffers_count[e->kernel.row]; i++) {
        if (buffers->scope[first + i] == SCOPE_REG)
            text_addf(&e->text, "%s r%u;\n", gpu_emit_type((Dtype)buffers->dtype[first + i]), i);
        if (e->phase->promoted[i])
            text_addf(&e->text, "Pack<%s, V> k%u[HELD ? HELD : 1];\n",
                      gpu_emit_stored((Dtype)buffers->dtype[first + i]), i);
    }
}
static void put_body(Emit *e) {
    const LoopNodes *nodes = nodes_of(e);
    uint32_t         loop = e->phase->parallel, first = e->phase->node + 1;
    uint32_t         last = e->phase->node + nodes->size[e->phase->node];
    if (e->phase->flat) {
        emit_leaf(e, &e->phase->leaves[0]);
        return;
    }
    if (loop != 0) {
        put(e, "const I n_rows = ");
        gpu_emit_dim(e, nodes->extent[loop]);
        put(e, ";\n");
        if (e->phase->tiles_count != 0) {
            put(e, "#if TILED\n");
            emit_tiles(e, &e->phase->leaves[0]);
            put(e, "#else\n");
        }
        if (dim_id_some(e->phase->stage)) gpu_emit_open_stages(e);
        text_addf(&e->text, "for (I v%u = FIRST; v%u < n_rows; v%u += STEP) {\n%s",
                  nodes->var[loop].row, nodes->var[loop].row, nodes->var[loop].row,
                  dim_id_some(e->phase->stage) ? "#endif\n" : "");
        first = loop + 1;
    }
    if (dim_id_some(e->phase->lead)) {
        text_addf(&e->text, "const I lead = LED ? (I)(((u64)b%u / sizeof(*b%u) + (u64)(",
                  e->phase->lead_position, e->phase->lead_position);
        gpu_emit_dim(e, e->phase->lead);
        put(e, ")) & (V - 1)) : 0;\n");
    } else {
        put(e, "const I lead = 0;\n");
    }
    put_registers(e);
    emit_nodes(e, first, last, true);
    gpu_emit_joined(e);
    put(e, "if (j == 0) {\n");
    gpu_emit_held_back(e);
    put(e, "}\n");
    if (loop != 0) put(e, "}\n");
    if (dim_id_some(e->phase->stage)) gpu_emit_close_stages(e);
    if (e->phase->tiles_count != 0) put(e, "#endif\n");
}

String gpu_emit_phase_text(Arena *arena, Loops *loops, KernelId kernel, EmitPhase *phase) {
    Arena  *conflicts[2] = {arena, NULL};
    Scratch rows = scratch_begin(conflicts, 1);
    conflicts[1] = rows.arena;
    Scratch  texts = scratch_begin(conflicts, 2);
    uint32_t exprs = loops->exprs.table.count + 64;
    Emit     e = {.loops = loops, .kernel = kernel, .phase = phase, .scratch = rows.arena};
    e.log_max = exprs * 4;
    e.known = ARENA_ARRAY_ZERO(rows.arena, uint32_t, exprs);
    e.varies = ARENA_ARRAY_ZERO(rows.arena, uint8_t, exprs);
    e.stale = ARENA_ARRAY_ZERO(rows.arena, uint8_t, exprs);
    e.log = ARENA_ARRAY(rows.arena, uint32_t, e.log_max);
    e.packs_max = 256;
    e.packs = ARENA_ARRAY(rows.arena, EmitPack, e.packs_max);
    e.text = text_begin(texts.arena);
    put(&e, "int turn = 0;\nconst int j = JOIN > 1 ? threadIdx.x / TEAM : 0;\n"
            "const I t = CLUSTER > 1 ? (I)(blockIdx.x % CLUSTER * BLOCK + threadIdx.x)"
            " : JOIN > 1 ? (I)(threadIdx.x - j * TEAM)"
            " : (I)threadIdx.x & (TEAM > 32 ? 1023 : TEAM - 1);\n");
    put_prologue(&e);
    put_body(&e);
    String body = text_done(&e.text);
    e.text = text_begin(arena);
    put_args(&e);
    put(&e, "HEAD NAME(const ARGS a) {\n");
    put(&e, "#if SHARED || STAGED || RING || JOIN > 1\n"
            "extern __shared__ __align__(16) char s_held[];\n#endif\n");
    if (phase->slots != 0)
        text_addf(&e.text,
                  "__shared__ u64 s_sums[JOIN][2][%u][TEAM < 32 ? 1 : TEAM / 32];\n"
                  "__shared__ u64 s_arrived[2];\nteam_begin<CLUSTER>(s_arrived);\n",
                  phase->slots);
    bool lanes = false;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++) lanes |= phase->lane[i];
    if (lanes)
        put(&e, "extern __shared__ __align__(16) char s_lane[];\n"
                "char *lane = (a.lane ? a.lane + (i64)blockIdx.x * (BLOCK / TEAM) * a.lane_bytes "
                ": s_lane) + (i64)(threadIdx.x / TEAM) * a.lane_bytes;\n");
    text_add(&e.text, body);
    put(&e, "}\n");
    String text = text_done(&e.text);
    scratch_end(texts);
    scratch_end(rows);
    return text;
}
