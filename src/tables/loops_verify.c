/* Checking a kernel, and hashing its content. A hash names symbols by what they are (the n-th
 * parameter, the loop at the n-th node, a let by its value), so kernels that differ only in names
 * and in where they stand have equal hashes. Linear in the rows that the kernel reaches. */
#include "tables/loops.h"

#include "arena/hash.h"
#include "arena/row_map.h"

/* --- verify ----------------------------------------------------------------------------------- */
typedef struct Checking {
    Loops   *loops;
    uint32_t kernel;
    uint8_t *open; /* by dim row: the variable of a loop around the current node */
} Checking;

static bool symbols_open(const Checking *c, DimId dim) {
    const LoopNodes *nodes = &c->loops->nodes;
    uint32_t         first = c->loops->kernels.nodes_first[c->kernel];
    for (uint32_t row = first; row < first + c->loops->kernels.nodes_count[c->kernel]; row++)
        if (nodes->kind[row] == NODE_LOOP && !c->open[nodes->var[row].row] &&
            dims_contains(&c->loops->dims, dim, nodes->var[row]))
            return false;
    return true;
}
static bool index_open(const Checking *c, ListId index) {
    for (uint32_t i = 0; i < list_count(&c->loops->lists, index); i++)
        if (!symbols_open(c, list_dim(c->loops, index, i))) return false;
    return true;
}

static const char *check_statement(const Checking *c, uint32_t row) {
    Loops           *loops = c->loops;
    const LoopNodes *nodes = &loops->nodes;
    BufferId         buffer = access_buffer(nodes->access[row]);
    uint32_t         first = loops->kernels.buffers_first[c->kernel];
    if (buffer.row < first || buffer.row >= first + loops->kernels.buffers_count[c->kernel])
        return "a statement writes a buffer of another kernel";
    if (list_count(&loops->lists, access_index(nodes->access[row])) != buffer_rank(loops, buffer))
        return "an index list does not fit the rank of its buffer";
    if (!index_open(c, access_index(nodes->access[row])))
        return "a place uses the variable of a loop that is not around it";
    if (!expr_id_some(nodes->value[row])) return "a statement has no value";
    Dtype wanted = dtype_compute((Dtype)loops->buffers.dtype[buffer.row]);
    if (expr_dtype(loops, nodes->value[row]) != wanted)
        return "the dtype of a value differs from that of its buffer";
    if (expr_id_some(nodes->guard[row]) && expr_dtype(loops, nodes->guard[row]) != DTYPE_BOOL)
        return "a guard is not a bool";
    return NULL;
}

const char *loops_verify(Loops *loops, KernelId kernel) {
    const LoopNodes *nodes = &loops->nodes;
    uint32_t         first = loops->kernels.nodes_first[kernel.row], end = first;
    end += loops->kernels.nodes_count[kernel.row];
    Scratch  scratch = scratch_begin(NULL, 0);
    Checking c = {loops, kernel.row, NULL};
    c.open = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, loops->dims.rows.table.count);
    uint32_t   *around = ARENA_ARRAY(scratch.arena, uint32_t, end - first + 1), depth = 0;
    const char *problem = NULL;
    for (uint32_t row = first; row < end && problem == NULL; row++) {
        for (; depth > 0 && around[depth - 1] + nodes->size[around[depth - 1]] <= row; depth--)
            if (nodes->kind[around[depth - 1]] == NODE_LOOP)
                c.open[nodes->var[around[depth - 1]].row] = 0;
        uint32_t limit = depth > 0 ? around[depth - 1] + nodes->size[around[depth - 1]] : end;
        uint8_t  kind = nodes->kind[row];
        if (nodes->size[row] == 0 || row + nodes->size[row] > limit)
            problem = "a subtree reaches beyond the node around it";
        else if ((kind == NODE_PHASE) != (depth == 0))
            problem = "phases are the top level, and only they";
        else if (kind == NODE_LOOP && c.open[nodes->var[row].row])
            problem = "two nested loops have one variable";
        else if (kind == NODE_LOOP && !symbols_open(&c, nodes->extent[row]))
            problem = "an extent uses the variable of a loop that is not around it";
        else if (kind == NODE_LOOP && (nodes->bind[row] & BIND_PARALLEL) && depth != 1)
            problem = "a parallel loop is not the outermost of its phase";
        else if (kind == NODE_STORE || kind == NODE_REDUCE)
            problem = check_statement(&c, row);
        if (kind == NODE_LOOP && problem == NULL) c.open[nodes->var[row].row] = 1;
        if (kind == NODE_LOOP || kind == NODE_PHASE) around[depth++] = row;
    }
    scratch_end(scratch);
    return problem;
}

/* --- hash ------------------------------------------------------------------------------------- */
typedef struct Hashed { /* of rows of one table, by row */
    RowMap    at;
    uint64_t *values;
    uint32_t  count, capacity;
} Hashed;
typedef struct Hashing {
    Loops   *loops;
    Hashed   dims, exprs;
    Arena   *scratch;
    uint64_t seed;
    uint32_t buffers_first;
} Hashing;
/* 0: not yet. */
static uint64_t hash_known(const Hashed *h, uint32_t row) {
    uint32_t at = row != 0 ? row_map_get(&h->at, row) : 0;
    return at != 0 ? h->values[at - 1] : 0;
}
static uint64_t hash_keep(Hashing *h, Hashed *to, uint32_t row, uint64_t value) {
    to->values = arena_room(h->scratch, to->values, to->count, &to->capacity, sizeof *to->values);
    to->values[to->count++] = value | 1;
    row_map_put(&to->at, h->scratch, row, to->count);
    return value | 1;
}

static uint64_t hash_expr(Hashing *h, ExprId expr);
static uint64_t hash_dim(Hashing *h, DimId dim) { // NOLINT: as deep as the text of a size
    const Dims    *dims = &h->loops->dims;
    const DimRows *rows = &dims->rows;
    uint32_t       row = dim.row;
    if (row == 0) return h->seed;
    if (hash_known(&h->dims, row) != 0) return hash_known(&h->dims, row);
    uint64_t hash = hash_mix(h->seed, rows->kind[row]);
    switch ((DimKind)rows->kind[row]) {
    case DIM_CONST: hash = hash_mix(hash, (uint64_t)rows->imm[row]); break;
    case DIM_SYMBOL: hash = hash_mix(hash, hash_expr(h, loops_let_value(h->loops, dim))); break;
    case DIM_POLY: /* sums and products in any order */
        for (uint32_t i = 0; i < rows->rhs[row]; i++) {
            uint32_t term = rows->lhs[row] + i, mono = dims->terms.mono[term];
            uint64_t product = 1;
            for (uint32_t k = 0; k < dims->monos.count[mono]; k++) {
                DimId atom = {dims->atoms.atom[dims->monos.first[mono] + k]};
                product += hash_mix(hash_dim(h, atom), 7);
            }
            hash += hash_mix(product, (uint64_t)dims->terms.coef[term]);
        }
        break;
    default: {
        uint64_t a = hash_dim(h, (DimId){rows->lhs[row]}), b = hash_dim(h, (DimId){rows->rhs[row]});
        bool     commutes = rows->kind[row] == DIM_MIN || rows->kind[row] == DIM_MAX;
        hash = commutes ? hash_mix(hash, a + b) : hash_mix(hash_mix(hash, a), b);
    }
    }
    return hash_keep(h, &h->dims, row, hash);
}
static uint64_t hash_access(Hashing *h, LoopAccess access) {
    uint64_t hash = hash_mix(h->seed, access_buffer(access).row - h->buffers_first);
    for (uint32_t i = 0; i < list_count(&h->loops->lists, access_index(access)); i++)
        hash = hash_mix(hash, hash_dim(h, list_dim(h->loops, access_index(access), i)));
    return hash;
}

static uint64_t hash_expr_row(Hashing *h, uint32_t row) {
    const LoopExprs *exprs = &h->loops->exprs;
    uint64_t         word = exprs->word[row], hash = h->seed;
    hash = hash_mix(hash, (uint64_t)exprs->kind[row] << 32 | (uint64_t)exprs->dtype[row] << 16 |
                              exprs->opcode[row]);
    hash = hash_mix(hash, hash_known(&h->exprs, exprs->a[row].row));
    hash = hash_mix(hash, hash_known(&h->exprs, exprs->b[row].row));
    hash = hash_mix(hash, hash_known(&h->exprs, exprs->c[row].row));
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_LOAD: return hash_mix(hash, hash_access(h, word));
    case EXPR_LESS:
        hash = hash_mix(hash, hash_dim(h, (DimId){(uint32_t)(word >> 32)}));
        return hash_mix(hash, hash_dim(h, (DimId){(uint32_t)word}));
    case EXPR_INDEX:
    case EXPR_RNG: return hash_mix(hash, hash_dim(h, (DimId){(uint32_t)word}));
    default: return hash_mix(hash, word);
    }
}
static uint64_t hash_expr(Hashing *h, ExprId expr) {
    const LoopExprs *exprs = &h->loops->exprs;
    uint32_t        *stack = NULL, depth = 0, capacity = 0;
    if (expr.row == 0 || hash_known(&h->exprs, expr.row) != 0)
        return hash_known(&h->exprs, expr.row);
    stack = arena_room(h->scratch, stack, depth, &capacity, sizeof *stack);
    stack[depth++] = expr.row;
    while (depth != 0) {
        uint32_t row = stack[depth - 1], before = depth;
        uint32_t operands[3] = {exprs->a[row].row, exprs->b[row].row, exprs->c[row].row};
        for (uint32_t i = 0; i < 3; i++) {
            if (operands[i] == 0 || hash_known(&h->exprs, operands[i]) != 0) continue;
            stack = arena_room(h->scratch, stack, depth, &capacity, sizeof *stack);
            stack[depth++] = operands[i];
        }
        if (depth != before) continue;
        depth--;
        if (hash_known(&h->exprs, row) == 0)
            (void)hash_keep(h, &h->exprs, row, hash_expr_row(h, row));
    }
    return hash_known(&h->exprs, expr.row);
}

static uint64_t hash_symbols(Hashing *h, KernelId kernel) {
    Loops             *loops = h->loops;
    const LoopKernels *kernels = &loops->kernels;
    const DimRows     *rows = &loops->dims.rows;
    uint64_t           hash = h->seed;
    for (uint32_t i = 0; i < kernels->params_count[kernel.row]; i++) {
        uint32_t symbol = loops->params.symbol[kernels->params_first[kernel.row] + i].row;
        (void)hash_keep(h, &h->dims, symbol, hash_mix(h->seed + 1, i));
        hash = hash_mix(hash, (uint64_t)rows->lo[symbol]);
        hash = hash_mix(hash, (uint64_t)rows->hi[symbol]);
        hash = hash_mix(hash, (uint64_t)rows->modulus[symbol]);
        hash = hash_mix(hash, (uint64_t)rows->residue[symbol]);
    }
    for (uint32_t i = 0; i < kernels->nodes_count[kernel.row]; i++) {
        uint32_t row = kernels->nodes_first[kernel.row] + i;
        if (loops->nodes.kind[row] == NODE_LOOP)
            (void)hash_keep(h, &h->dims, loops->nodes.var[row].row, hash_mix(h->seed + 2, i));
    }
    return hash;
}
static uint64_t hash_kernel(Hashing *h, KernelId kernel) {
    Loops             *loops = h->loops;
    const LoopKernels *kernels = &loops->kernels;
    const LoopBuffers *buffers = &loops->buffers;
    const LoopNodes   *nodes = &loops->nodes;
    uint64_t           hash = hash_symbols(h, kernel);
    for (uint32_t i = 0; i < kernels->buffers_count[kernel.row]; i++) {
        BufferId buffer = {h->buffers_first + i};
        hash = hash_mix(hash, (uint64_t)buffers->scope[buffer.row] << 32 |
                                  (uint64_t)buffers->dtype[buffer.row] << 16 |
                                  buffers->arg[buffer.row]);
        hash = hash_mix(hash, buffers->shares[buffer.row]);
        for (uint32_t k = 0; k < buffer_rank(loops, buffer); k++) {
            hash = hash_mix(hash, hash_dim(h, list_dim(loops, buffers->dims[buffer.row], k)));
            hash = hash_mix(hash, hash_dim(h, loops_stride(loops, buffer, k)));
        }
    }
    for (uint32_t i = 0; i < kernels->nodes_count[kernel.row]; i++) {
        uint32_t row = kernels->nodes_first[kernel.row] + i;
        hash = hash_mix(hash, (uint64_t)nodes->kind[row] << 40 | (uint64_t)nodes->bind[row] << 32 |
                                  (uint64_t)nodes->reduce[row] << 24 |
                                  (uint64_t)nodes->unroll[row] << 16 | nodes->factor[row]);
        hash = hash_mix(hash, hash_mix(nodes->size[row], hash_dim(h, nodes->extent[row])));
        if (nodes->kind[row] == NODE_LOOP || nodes->kind[row] == NODE_PHASE) continue;
        hash = hash_mix(hash, hash_access(h, nodes->access[row]));
        hash = hash_mix(hash, hash_expr(h, nodes->value[row]));
        hash = hash_mix(hash, hash_expr(h, nodes->guard[row]));
    }
    return hash;
}

LoopHash loops_hash(Loops *loops, KernelId kernel) {
    uint64_t           halves[2];
    const LoopKernels *kernels = &loops->kernels;
    for (uint32_t i = 0; i < kernels->buffers_count[kernel.row];
         i++) { /* before rows are counted */
        BufferId buffer = {kernels->buffers_first[kernel.row] + i};
        for (uint32_t k = 0; k < buffer_rank(loops, buffer); k++)
            (void)loops_stride(loops, buffer, k);
    }
    for (uint32_t i = 0; i < 2; i++) {
        Scratch scratch = scratch_begin(NULL, 0);
        Hashing h = {.loops = loops, .scratch = scratch.arena, .seed = 0x5107A + i * 0x9E3779B9u};
        h.buffers_first = kernels->buffers_first[kernel.row];
        halves[i] = hash_kernel(&h, kernel);
        scratch_end(scratch);
    }
    return (LoopHash){halves[0], halves[1]};
}
