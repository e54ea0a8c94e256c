/* A kernel as a walk over its nodes. Values of sizes and expressions are kept for one evaluation (a
 * statement at one iteration), by row; memory is a table of cells, one an element, that remember
 * which iteration wrote and read them. */
#include "cpu/interp_loops.h"

#include "cpu/interp_inner.h"
#include "tables/philox.h"

enum { GROUP_MAX = 64, GROUP = 8 }; /* iterations of a vector loop side by side */

typedef struct Cell { /* an element; iterations are numbered through the kernel from 1 */
    Num      number;
    uint32_t writer, reader; /* the last iterations that did; 0: none. An operand: UINT32_MAX */
    uint32_t shared;         /* the last phase in which several iterations read it */
} Cell;
typedef struct Memory { /* a buffer */
    BufferScope scope;
    Dtype       dtype;
    uint32_t    rank;
    int64_t     dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX], count;
    uint64_t    shares; /* operands that are overwritten with it, a bit each */
    Cell       *cells;  /* row-major; REG: as often as a vector has lanes */
    bool        apart;  /* REG: each lane of the current loop has its own */
} Memory;
typedef struct Run {
    const InterpKernel *in;
    const Loops        *loops;
    Memory             *memory; /* by position */
    uint32_t            buffers_first, buffers_count;
    int64_t            *symbols; /* by dim row; likewise bound: whether it has a value */
    uint8_t            *bound;
    int64_t            *dims;
    Num                *exprs;
    uint64_t           *dims_known, *exprs_known; /* by row: the evaluation that they hold in */
    uint64_t            evaluation;
    uint32_t            iteration, phase, phase_begun; /* phase_begun: the first iteration in it */
    uint32_t            lane;
    const char         *problem;
    uint32_t            node;
} Run;

static void fail(Run *r, const char *problem) {
    if (r->problem == NULL) r->problem = problem;
}

/* --- sizes and expressions -------------------------------------------------------------------- */
static Num     expr_value(Run *r, ExprId expr);
static int64_t floor_div(int64_t a, int64_t b) { /* below 1 the divisor's quotient is of no use */
    return b <= 0 ? 0 : a / b - (a % b < 0);
}
static int64_t dim_value(Run *r, DimId dim);
static int64_t symbol_value(Run *r, DimId symbol) {
    if (r->bound[symbol.row]) return r->symbols[symbol.row];
    ExprId let = loops_let_value(r->loops, symbol);
    if (expr_id_some(let)) return expr_value(r, let).i;
    fail(r, "a symbol has no value");
    return 0;
}
static int64_t poly_value(Run *r, uint32_t row) {
    const Dims *dims = &r->loops->dims;
    int64_t     sum = 0;
    for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
        uint32_t mono = dims->terms.mono[dims->rows.lhs[row] + i];
        int64_t  product = dims->terms.coef[dims->rows.lhs[row] + i];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            product *= dim_value(r, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]});
        sum += product;
    }
    return sum;
}
static int64_t dim_value(Run *r, DimId dim) { /* as deep as sizes nest */
    const DimRows *rows = &r->loops->dims.rows;
    uint32_t       row = dim.row;
    int64_t        a = 0, b = 0, value;
    if (r->dims_known[row] == r->evaluation) return r->dims[row];
    DimKind kind = (DimKind)rows->kind[row];
    if (kind >= DIM_FLOORDIV) {
        a = dim_value(r, (DimId){rows->lhs[row]});
        b = dim_value(r, (DimId){rows->rhs[row]});
    }
    switch (kind) {
    case DIM_CONST: value = rows->imm[row]; break;
    case DIM_SYMBOL: value = symbol_value(r, dim); break;
    case DIM_POLY: value = poly_value(r, row); break;
    case DIM_FLOORDIV: value = floor_div(a, b); break;
    case DIM_LESS: value = a < b; break;
    case DIM_MIN: value = a < b ? a : b; break;
    default: value = a > b ? a : b; break;
    }
    r->dims_known[row] = r->evaluation;
    return r->dims[row] = value;
}

/* The element that an access means; NULL, and a problem, if there is none. */
static Cell *find_cell(Run *r, LoopAccess access) {
    Memory *m = &r->memory[access_buffer(access).row - r->buffers_first];
    int64_t at = 0;
    for (uint32_t i = 0; i < m->rank; i++) {
        int64_t index = dim_value(r, list_dim(r->loops, access_index(access), i));
        if (index < 0 || index >= m->dims[i]) {
            fail(r, "a place is outside its buffer");
            return NULL;
        }
        at = at * m->dims[i] + index;
    }
    return &m->cells[m->apart ? at + m->count * r->lane : at];
}
/* Whether an element that another iteration of this phase's parallel loop touched is met. */
static bool elsewhere(const Run *r, uint32_t iteration) {
    return iteration >= r->phase_begun && iteration != r->iteration && iteration != UINT32_MAX;
}
static Num load(Run *r, LoopAccess access) {
    const Memory *m = &r->memory[access_buffer(access).row - r->buffers_first];
    Cell         *cell = find_cell(r, access);
    if (cell == NULL) return (Num){.i = 0};
    bool own = m->scope == SCOPE_LANE || m->scope == SCOPE_REG;
    if (own ? cell->writer != r->iteration : cell->writer == 0)
        fail(r, "an element is read that nothing has written");
    if (!own && elsewhere(r, cell->writer))
        fail(r, "an element is read that another parallel iteration writes");
    if (elsewhere(r, cell->reader)) cell->shared = r->phase;
    cell->reader = r->iteration;
    return interp_round(m->dtype, cell->number);
}

static Num philox_word(Run *r, uint32_t row) {
    const LoopExprs *exprs = &r->loops->exprs;
    uint64_t         key = (uint64_t)expr_value(r, exprs->a[row]).i;
    uint64_t         element = (uint64_t)dim_value(r, (DimId){(uint32_t)exprs->word[row]});
    Philox           drawn = philox_draw(key, element / 4, exprs->opcode[row]);
    return (Num){.i = drawn.word[element % 4]};
}
static Num operation(Run *r, uint32_t row) {
    const LoopExprs *exprs = &r->loops->exprs;
    ExprId           operands[3] = {exprs->a[row], exprs->b[row], exprs->c[row]};
    Num              x[3] = {{.i = 0}, {.i = 0}, {.i = 0}};
    Scalar           op = {.opcode = (Opcode)exprs->opcode[row], .word = exprs->word[row]};
    for (uint32_t i = 0; i < 3 && expr_id_some(operands[i]); i++) x[i] = expr_value(r, operands[i]);
    op.from = expr_dtype(r->loops, operands[0]);
    op.to = (Dtype)exprs->dtype[row];
    if (op.opcode == OP_CONVERT || op.opcode == OP_BITCAST) op.to = (Dtype)op.word;
    return interp_round(op.to, interp_scalar(&op, x[0], x[1], x[2]));
}
static Num expr_value(Run *r, ExprId expr) { /* as deep as the expressions of a kernel */
    const LoopExprs *exprs = &r->loops->exprs;
    uint32_t         row = expr.row;
    uint64_t         word = exprs->word[row];
    Dtype            dtype = (Dtype)exprs->dtype[row];
    Num              value = {.i = 0};
    if (r->exprs_known[row] == r->evaluation) return r->exprs[row];
    switch ((ExprKind)exprs->kind[row]) {
    case EXPR_CONST:
        value = dtype_is_float(dtype) ? (Num){.f = word_f64(word)} : (Num){.i = (int64_t)word};
        break;
    case EXPR_LOAD:
        if (!expr_id_some(exprs->a[row]) || expr_value(r, exprs->a[row]).i) value = load(r, word);
        break;
    case EXPR_INDEX:
        value.i = dim_value(r, (DimId){(uint32_t)word});
        if (dtype_is_float(dtype)) value.f = (double)value.i;
        break;
    case EXPR_LESS:
        value.i =
            dim_value(r, (DimId){(uint32_t)(word >> 32)}) < dim_value(r, (DimId){(uint32_t)word});
        break;
    case EXPR_RNG: value = philox_word(r, row); break;
    case EXPR_OP: value = operation(r, row); break;
    default: fail(r, "an expression is nil"); break;
    }
    r->exprs_known[row] = r->evaluation;
    return r->exprs[row] = interp_round(dtype, value);
}

/* --- statements ------------------------------------------------------------------------------- */
typedef struct Write { /* what a statement does at one iteration */
    Cell *cell;        /* NULL: nothing */
    Num   value;
} Write;
static Write evaluate(Run *r, uint32_t row) {
    const LoopNodes *nodes = &r->loops->nodes;
    ExprId           guard = nodes->guard[row];
    r->evaluation++;
    r->node = row;
    if (expr_id_some(guard) && !expr_value(r, guard).i) return (Write){NULL, {.i = 0}};
    return (Write){find_cell(r, nodes->access[row]), expr_value(r, nodes->value[row])};
}
static void perform(Run *r, uint32_t row, Write write) {
    const LoopNodes *nodes = &r->loops->nodes;
    const Memory    *m = &r->memory[access_buffer(nodes->access[row]).row - r->buffers_first];
    Cell            *cell = write.cell;
    if (cell == NULL) return;
    bool own = m->scope == SCOPE_LANE || m->scope == SCOPE_REG;
    if (!own && (elsewhere(r, cell->writer) || elsewhere(r, cell->reader) ||
                 (cell->shared == r->phase && cell->writer != UINT32_MAX)))
        fail(r, "an element is written that another parallel iteration touches");
    if (cell->writer == UINT32_MAX) fail(r, "an operand is written");
    if (nodes->kind[row] == NODE_REDUCE) {
        if (own ? cell->writer != r->iteration : cell->writer == 0)
            fail(r, "a reduction has no start value");
        write.value = interp_combine((ReduceKind)nodes->reduce[row], dtype_is_float(m->dtype),
                                     cell->number, write.value);
    }
    bool wide = nodes->kind[row] == NODE_REDUCE && dtype_bytes(m->dtype) > 2;
    for (uint32_t i = 0; m->shares >> i != 0; i++) /* what stood there cannot be read any more */
        if (m->shares >> i & 1) r->memory[i].cells[cell - m->cells].writer = 0;
    cell->number = wide ? write.value : interp_round(m->dtype, write.value);
    cell->writer = r->iteration;
}

/* --- loops ------------------------------------------------------------------------------------ */
static void run_nodes(Run *r, uint32_t first, uint32_t last);

/* Buffers that are one scalar a lane inside the loop; afterwards they hold nothing. */
static void set_apart(Run *r, uint32_t loop, bool apart) {
    const LoopNodes *nodes = &r->loops->nodes;
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++) {
        Memory *m = &r->memory[access_buffer(nodes->access[row]).row - r->buffers_first];
        if (nodes->kind[row] != NODE_STORE || m->scope != SCOPE_REG) continue;
        m->apart = apart;
        for (int64_t i = 0; i < m->count * GROUP_MAX; i++) m->cells[i].writer = 0;
    }
}
/* Iterations [first, first + count) of a vector loop, statement by statement. */
static void run_group(Run *r, uint32_t loop, int64_t first, uint32_t count) {
    const LoopNodes *nodes = &r->loops->nodes;
    Write            writes[GROUP_MAX];
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++) {
        for (r->lane = 0; r->lane < count; r->lane++) {
            r->symbols[nodes->var[loop].row] = first + r->lane;
            writes[r->lane] = evaluate(r, row);
        }
        for (uint32_t i = 0; i < count && r->problem == NULL; i++) perform(r, row, writes[i]);
    }
    r->lane = 0;
}
static void run_loop(Run *r, uint32_t loop) {
    const LoopNodes *nodes = &r->loops->nodes;
    uint32_t         var = nodes->var[loop].row, bind = nodes->bind[loop];
    r->evaluation++;
    r->node = loop;
    int64_t  extent = dim_value(r, nodes->extent[loop]);
    uint32_t group = nodes->factor[loop] != 0 ? nodes->factor[loop] : GROUP;
    if (!(bind & BIND_VECTOR) || group > GROUP_MAX) group = 1;
    if (group > 1) set_apart(r, loop, true);
    r->bound[var] = 1;
    for (int64_t i = 0; i < extent && r->problem == NULL; i += group) {
        int64_t left = extent - i < (int64_t)group ? extent - i : (int64_t)group;
        int64_t at = (bind & BIND_PARALLEL) && r->in->backwards ? extent - i - left : i;
        if (bind & BIND_PARALLEL) r->iteration++;
        r->symbols[var] = at;
        if (group > 1)
            run_group(r, loop, at, (uint32_t)left);
        else
            run_nodes(r, loop + 1, loop + nodes->size[loop]);
    }
    r->bound[var] = 0;
    if (group > 1) set_apart(r, loop, false);
}
static void run_nodes(Run *r, uint32_t first, uint32_t last) { /* as deep as loops nest */
    const LoopNodes *nodes = &r->loops->nodes;
    for (uint32_t row = first; row < last && r->problem == NULL; row += nodes->size[row]) {
        switch ((NodeKind)nodes->kind[row]) {
        case NODE_PHASE:
            r->phase++;
            r->phase_begun = ++r->iteration;
            run_nodes(r, row + 1, row + nodes->size[row]);
            break;
        case NODE_LOOP: run_loop(r, row); break;
        default: perform(r, row, evaluate(r, row)); break;
        }
    }
}

/* --- memory ----------------------------------------------------------------------------------- */
/* The element of a buffer's own memory that a row-major position means. */
static int64_t place_of(const Memory *m, int64_t at) {
    int64_t place = 0;
    for (uint32_t i = m->rank; i-- > 0; at /= m->dims[i]) place += at % m->dims[i] * m->strides[i];
    return place;
}
static void open_memory(Run *r, Arena *arena, uint32_t position) {
    const LoopBuffers *buffers = &r->loops->buffers;
    uint32_t           row = r->buffers_first + position;
    ListId             dims = buffers->dims[row], strides = buffers->strides[row];
    Memory            *m = &r->memory[position];
    *m = (Memory){.scope = (BufferScope)buffers->scope[row],
                  .dtype = (Dtype)buffers->dtype[row],
                  .shares = buffers->shares[row],
                  .rank = list_count(&r->loops->lists, dims),
                  .count = 1};
    r->evaluation++;
    for (uint32_t i = m->rank; i-- > 0;) {
        m->strides[i] =
            list_id_some(strides) ? dim_value(r, list_dim(r->loops, strides, i)) : m->count;
        m->dims[i] = dim_value(r, list_dim(r->loops, dims, i));
        if (m->dims[i] < 0) fail(r, "a buffer has a negative size");
        if (r->problem != NULL) return;
        m->count *= m->dims[i];
    }
    int64_t copies = m->scope == SCOPE_REG ? GROUP_MAX : 1;
    m->cells = ARENA_ARRAY_ZERO(arena, Cell, m->count * copies);
    if (m->scope != SCOPE_ARG || buffers->written[row]) return;
    Tensor operand = {.dtype = m->dtype, .data = r->in->buffers[position]};
    for (int64_t i = 0; i < m->count; i++)
        m->cells[i] = (Cell){interp_load(&operand, place_of(m, i)), UINT32_MAX, 0, 0};
}
static void close_memory(Run *r, uint32_t position) {
    Memory *m = &r->memory[position];
    Tensor  result = {.dtype = m->dtype, .data = r->in->buffers[position]};
    if (m->scope != SCOPE_ARG || !r->loops->buffers.written[r->buffers_first + position]) return;
    for (int64_t i = 0; i < m->count; i++) {
        if (m->cells[i].writer == 0) fail(r, "an element of a result is not written");
        interp_store(&result, place_of(m, i), m->cells[i].number);
    }
}

String interp_kernel(Arena *out, const InterpKernel *in) {
    const Loops       *loops = in->loops;
    const LoopKernels *kernels = &loops->kernels;
    uint32_t           kernel = in->kernel.row, nodes = kernels->nodes_first[kernel];
    Scratch            scratch = scratch_begin(&out, 1);
    Run                r = {.in = in, .loops = loops};
    r.buffers_first = kernels->buffers_first[kernel];
    r.buffers_count = kernels->buffers_count[kernel];
    r.memory = ARENA_ARRAY_ZERO(scratch.arena, Memory, r.buffers_count);
    r.symbols = ARENA_ARRAY_ZERO(scratch.arena, int64_t, loops->dims.rows.table.count);
    r.bound = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, loops->dims.rows.table.count);
    r.dims = ARENA_ARRAY_ZERO(scratch.arena, int64_t, loops->dims.rows.table.count);
    r.dims_known = ARENA_ARRAY_ZERO(scratch.arena, uint64_t, loops->dims.rows.table.count);
    r.exprs = ARENA_ARRAY_ZERO(scratch.arena, Num, loops->exprs.table.count);
    r.exprs_known = ARENA_ARRAY_ZERO(scratch.arena, uint64_t, loops->exprs.table.count);
    for (uint32_t i = 0; i < kernels->params_count[kernel]; i++) {
        uint32_t symbol = loops->params.symbol[kernels->params_first[kernel] + i].row;
        r.symbols[symbol] = in->params[i];
        r.bound[symbol] = 1;
    }
    for (uint32_t i = 0; i < r.buffers_count && r.problem == NULL; i++)
        open_memory(&r, scratch.arena, i);
    if (r.problem == NULL) run_nodes(&r, nodes, nodes + kernels->nodes_count[kernel]);
    for (uint32_t i = 0; i < r.buffers_count && r.problem == NULL; i++) close_memory(&r, i);
    scratch_end(scratch);
    if (r.problem == NULL) return (String){NULL, 0};
    return str_format(out, "%s (node %u)", r.problem, r.node > nodes ? r.node - nodes : 0);
}

/* --- fused rows ------------------------------------------------------------------------------- */
/* An operand as the kernel sees it: laid out by its strides, garbage between its elements. */
static void *strided_operand(Run *r, Arena *arena, uint32_t position, const Tensor *x) {
    Memory m = {.rank = x->rank, .count = 1};
    ListId strides = r->loops->buffers.strides[r->buffers_first + position];
    size_t bytes = dtype_bytes(x->dtype), span = 1;
    if (!list_id_some(strides)) return x->data;
    r->evaluation++;
    for (uint32_t i = 0; i < x->rank; i++) {
        m.dims[i] = x->shape[i];
        m.strides[i] = dim_value(r, list_dim(r->loops, strides, i));
        if (x->shape[i] > 0) span += (size_t)((x->shape[i] - 1) * m.strides[i]);
    }
    char *data = arena_push(arena, span * bytes, 64);
    memset(data, 0x7B, span * bytes);
    for (int64_t i = 0; i < tensor_elements(x); i++)
        memcpy(data + (size_t)place_of(&m, i) * bytes, (char *)x->data + (size_t)i * bytes, bytes);
    return data;
}
void interp_fused(Interp *it) {
    const Loops       *loops = it->loops->loops;
    const LoopKernels *kernels = &loops->kernels;
    KernelId           own = loops_of_op(loops, it->op), kernel = kernels->same[own.row];
    uint32_t           count = kernels->buffers_count[kernel.row], operands = interp_in_count(it);
    uint32_t           first = kernels->buffers_first[kernel.row];
    void             **buffers = ARENA_ARRAY_ZERO(it->arena, void *, count);
    int64_t           *params = ARENA_ARRAY(it->arena, int64_t, kernels->params_count[kernel.row]);
    Run                r = {.loops = loops, .buffers_first = first, .buffers_count = count};
    r.symbols = ARENA_ARRAY_ZERO(it->arena, int64_t, loops->dims.rows.table.count);
    r.bound = ARENA_ARRAY_ZERO(it->arena, uint8_t, loops->dims.rows.table.count);
    r.dims = ARENA_ARRAY_ZERO(it->arena, int64_t, loops->dims.rows.table.count);
    r.dims_known = ARENA_ARRAY_ZERO(it->arena, uint64_t, loops->dims.rows.table.count);
    for (uint32_t i = 0; i < kernels->params_count[kernel.row]; i++) {
        params[i] = it->dims[loops->params.world[kernels->params_first[own.row] + i].row];
        uint32_t symbol = loops->params.symbol[kernels->params_first[kernel.row] + i].row;
        r.symbols[symbol] = params[i];
        r.bound[symbol] = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t arg = loops->buffers.arg[first + i];
        if (loops->buffers.scope[first + i] != SCOPE_ARG) continue;
        buffers[i] = arg < operands ? strided_operand(&r, it->arena, i, interp_in(it, arg))
                                    : interp_out(it, arg - operands)->data;
    }
    InterpKernel run = {loops, kernel, params, buffers, it->loops->backwards};
    String       problem = interp_kernel(it->arena, &run);
    if (problem.count != 0) interp_fail(it, DIAG_KERNEL_WRONG, problem);
}
