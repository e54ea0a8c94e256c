/* Printing kernels. Buffers are named by scope and number (a0 for arguments, w0, l0, r0), loop
 * variables by the order in which their loops appear, so that the text does not depend on what else
 * the module holds. Expressions that several statements share are written out in each. */
#include "text/print_loops.h"

#include "text/numbers.h"
#include "text/shapes.h"

enum { LINE_DEPTH = 2, VARS_MAX = 256 };

typedef struct KernelPrinter {
    const Loops *loops;
    KernelId     kernel;
    Text         text;
    Arena       *scratch;
    ShapeTexts   shapes;
} KernelPrinter;

static const char *const scope_names[] = {"arg", "work", "lane", "reg"};
static const char        scope_letters[] = {'a', 'w', 'l', 'r'};

static void put(KernelPrinter *p, const char *s) { text_add(&p->text, str_of(s)); }
static void put_dim(KernelPrinter *p, DimId dim) {
    text_add(&p->text, shapes_dim(&p->shapes, dim));
}

static void put_buffer(KernelPrinter *p, BufferId buffer) {
    const LoopBuffers *buffers = &p->loops->buffers;
    uint32_t           first = p->loops->kernels.buffers_first[p->kernel.row], number = 0;
    uint8_t            scope = buffers->scope[buffer.row];
    for (uint32_t row = first; row < buffer.row; row++) number += buffers->scope[row] == scope;
    text_addf(&p->text, "%c%u", scope_letters[scope], number);
}
static void put_list(KernelPrinter *p, ListId list) {
    for (uint32_t i = 0; i < list_count(&p->loops->lists, list); i++) {
        put(p, i == 0 ? "[" : ", ");
        put_dim(p, (DimId){(uint32_t)list_numbers(&p->loops->lists, list)[i]});
    }
    if (list_count(&p->loops->lists, list) != 0) put(p, "]");
}
static void put_access(KernelPrinter *p, LoopAccess access) {
    put_buffer(p, access_buffer(access));
    put_list(p, access_index(access));
}

static void put_expr(KernelPrinter *p, ExprId expr);
static void put_operands(KernelPrinter *p, uint32_t row) {
    const LoopExprs *exprs = &p->loops->exprs;
    ExprId           operands[3] = {exprs->a[row], exprs->b[row], exprs->c[row]};
    put(p, "(");
    for (uint32_t i = 0; i < 3 && expr_id_some(operands[i]); i++) {
        if (i != 0) put(p, ", ");
        put_expr(p, operands[i]);
    }
    put(p, ")");
}
static void put_constant(KernelPrinter *p, uint32_t row) {
    char     text[NUMBERS_TEXT_MAX];
    Dtype    dtype = (Dtype)p->loops->exprs.dtype[row];
    uint64_t word = p->loops->exprs.word[row];
    uint32_t count = dtype_is_float(dtype) ? numbers_print(text, word_f64(word), dtype == DTYPE_F32)
                                           : numbers_print_int(text, (int64_t)word);
    text_add(&p->text, (String){text, count});
}
static void put_op(KernelPrinter *p, uint32_t row) {
    const LoopExprs *exprs = &p->loops->exprs;
    uint32_t         opcode = exprs->opcode[row];
    put(p, op_infos[opcode].name);
    if (op_infos[opcode].attrs_count != 0) {
        const char *const *names = attr_enum_names(op_infos[opcode].attrs[0].kind);
        put(p, ".");
        if (op_infos[opcode].attrs[0].kind == ATTR_DTYPE)
            put(p, dtype_infos[exprs->word[row]].name);
        else
            put(p, names != NULL ? names[exprs->word[row]] : "?");
    }
    put_operands(p, row);
}
/* As deep as the expressions of a kernel, which lowering bounds. */
static void put_expr(KernelPrinter *p, ExprId expr) {
    const LoopExprs *exprs = &p->loops->exprs;
    uint64_t         word = exprs->word[expr.row];
    switch ((ExprKind)exprs->kind[expr.row]) {
    case EXPR_CONST: put_constant(p, expr.row); break;
    case EXPR_LOAD:
        put_access(p, word);
        if (!expr_id_some(exprs->a[expr.row])) break;
        put(p, "?");
        put_operands(p, expr.row);
        break;
    case EXPR_INDEX: put_dim(p, (DimId){(uint32_t)word}); break;
    case EXPR_LESS:
        put_dim(p, (DimId){(uint32_t)(word >> 32)});
        put(p, " < ");
        put_dim(p, (DimId){(uint32_t)word});
        break;
    case EXPR_OP: put_op(p, expr.row); break;
    case EXPR_RNG:
        text_addf(&p->text, "philox.%u(", exprs->opcode[expr.row]);
        put_expr(p, exprs->a[expr.row]);
        put(p, ", ");
        put_dim(p, (DimId){(uint32_t)word});
        put(p, ")");
        break;
    default: put(p, "?"); break;
    }
}

static void put_node(KernelPrinter *p, uint32_t row) {
    const LoopNodes *nodes = &p->loops->nodes;
    static const struct {
        LoopBind    bit;
        const char *name;
    } binds[] = {{BIND_PARALLEL, "parallel "},
                 {BIND_VECTOR, "vector "},
                 {BIND_UNROLL, "unroll "},
                 {BIND_THREAD, "thread "}};
    switch ((NodeKind)nodes->kind[row]) {
    case NODE_PHASE: put(p, "phase"); break;
    case NODE_LOOP:
        for (size_t i = 0; i < LENGTH(binds); i++)
            if (nodes->bind[row] & binds[i].bit) put(p, binds[i].name);
        put(p, "for ");
        put_dim(p, nodes->var[row]);
        put(p, " < ");
        put_dim(p, nodes->extent[row]);
        break;
    default:
        put_access(p, nodes->access[row]);
        if (nodes->kind[row] == NODE_REDUCE)
            text_addf(&p->text, " %s=", attr_enum_names(ATTR_REDUCE)[nodes->reduce[row]]);
        else
            put(p, " =");
        put(p, " ");
        put_expr(p, nodes->value[row]);
        if (!expr_id_some(nodes->guard[row])) break;
        put(p, " if ");
        put_expr(p, nodes->guard[row]);
    }
    put(p, "\n");
}

/* Loop variables are called i, j, k, ... in the order of their loops. */
static void name_variables(KernelPrinter *p) {
    const LoopNodes *nodes = &p->loops->nodes;
    uint32_t         first = p->loops->kernels.nodes_first[p->kernel.row], count = 0;
    for (uint32_t i = 0; i < p->loops->kernels.nodes_count[p->kernel.row]; i++) {
        if (nodes->kind[first + i] != NODE_LOOP) continue;
        p->shapes.dims[nodes->var[first + i].row] = str_format(p->scratch, "i%u", count++);
    }
}

static void put_header(KernelPrinter *p, const char *name) {
    const LoopKernels *kernels = &p->loops->kernels;
    const LoopBuffers *buffers = &p->loops->buffers;
    uint32_t           row = p->kernel.row;
    text_addf(&p->text, "kernel %s(", name);
    for (uint32_t i = 0; i < kernels->params_count[row]; i++) {
        if (i != 0) put(p, ", ");
        put_dim(p, p->loops->params.symbol[kernels->params_first[row] + i]);
    }
    put(p, ")\n");
    for (uint32_t i = 0; i < kernels->buffers_count[row]; i++) {
        BufferId buffer = {kernels->buffers_first[row] + i};
        text_addf(&p->text, "  %s ", scope_names[buffers->scope[buffer.row]]);
        put_buffer(p, buffer);
        text_addf(&p->text, ": %s", dtype_infos[buffers->dtype[buffer.row]].name);
        put_list(p, buffers->dims[buffer.row]);
        if (list_id_some(buffers->strides[buffer.row])) {
            put(p, " strides ");
            put_list(p, buffers->strides[buffer.row]);
        }
        if (buffers->scope[buffer.row] == SCOPE_ARG && buffers->written[buffer.row])
            put(p, " written");
        put(p, "\n");
    }
}

String text_print_kernel(Arena *out, const Loops *loops, KernelId kernel, const char *name) {
    Scratch       scratch = scratch_begin(&out, 1);
    KernelPrinter p = {.loops = loops, .kernel = kernel, .scratch = scratch.arena};
    p.shapes = shapes_begin_dims(scratch.arena, &loops->dims, &loops->strings);
    name_variables(&p);
    for (uint32_t row = 1; row < loops->dims.rows.table.count; row++) /* before the text grows */
        (void)shapes_dim(&p.shapes, (DimId){row});
    p.text = text_begin(out);
    put_header(&p, name);
    uint32_t first = loops->kernels.nodes_first[kernel.row];
    uint32_t ends[VARS_MAX], depth = 0;
    for (uint32_t i = 0; i < loops->kernels.nodes_count[kernel.row]; i++) {
        while (depth > 0 && ends[depth - 1] <= first + i) depth--;
        for (uint32_t k = 0; k <= depth; k++) put(&p, "  ");
        put_node(&p, first + i);
        bool inner = loops->nodes.kind[first + i] <= NODE_LOOP;
        if (inner && depth < VARS_MAX) ends[depth++] = first + i + loops->nodes.size[first + i];
    }
    String text = text_done(&p.text);
    scratch_end(scratch);
    return text;
}
