/* Sizes of one call, in phases; a phase that found errors ends the binding, so that one mistake
 * gives one message:
 *   1. inputs have the dtypes and ranks of the arguments;
 *   2. symbols are solved from the input axes until nothing changes;
 *   3. known dims keep their facts, equalities and the sizes of the inputs;
 *   4. every size that the graph uses is known, and every value has possible sizes;
 *   5. operators whose legality depends on sizes (slices, groups) are legal.
 * `known` holds a byte a dim: whether its value follows from the inputs. */
#include "tables/bind.h"

#include "tables/schema.h"

typedef struct Binding {
    const World  *world;
    const Dims   *dims;
    BlockId       block;
    const Tensor *inputs;
    uint32_t      inputs_count;
    int64_t      *values; /* by DimId row */
    uint8_t      *known;  /* by DimId row */
    uint32_t     *origin; /* by DimId row, of symbols: input x SHAPE_RANK_MAX + axis + 1 */
    Diags        *diags;
} Binding;

static ValueId binding_arg(const Binding *b, uint32_t input) {
    return (ValueId){b->world->code.blocks.args_first[b->block.row].row + input};
}
static TypeId binding_type(const Binding *b, uint32_t input) {
    return value_type(b->world, binding_arg(b, input));
}

/* "input 0 'x', axis 1", as a string argument; axis < 0 leaves the axis out. */
static uint64_t where_input(const Binding *b, uint32_t input, int axis) {
    Scratch scratch = scratch_begin(NULL, 0);
    StrId   id = b->world->code.values.name[binding_arg(b, input).row];
    String  name = strings_get(&b->world->strings, id), text;
    if (name.count != 0)
        text = str_format(scratch.arena, "input %u '%.*s'", input, STR_ARGS(name));
    else
        text = str_format(scratch.arena, "input %u", input);
    if (axis >= 0) text = str_format(scratch.arena, "%.*s, axis %d", STR_ARGS(text), axis);
    uint64_t argument = diags_str(b->diags, text);
    scratch_end(scratch);
    return argument;
}
static uint64_t where_dim(const Binding *b, uint32_t dim) {
    uint32_t origin = b->origin[dim];
    if (origin == 0) return diags_str(b->diags, STR("the sizes of this call"));
    return where_input(b, (origin - 1) / SHAPE_RANK_MAX, (int)((origin - 1) % SHAPE_RANK_MAX));
}

/* --- phase 1: dtypes and ranks ---------------------------------------------------------------- */
static void check_inputs(const Binding *b) {
    const Types *types = &b->world->types;
    for (uint32_t i = 0; i < b->inputs_count; i++) {
        TypeId        type = binding_type(b, i);
        const Tensor *input = &b->inputs[i];
        uint32_t      rank = type_rank(types, type);
        if (input->dtype != type_dtype(types, type))
            (void)diags_add(b->diags, DIAG_INPUT_DTYPE, 0, where_input(b, i, -1),
                            (uint64_t)input->dtype, type_dtype(types, type), 0);
        else if (input->rank != rank)
            (void)diags_add(b->diags, DIAG_INPUT_RANK, 0, where_input(b, i, -1), input->rank, rank,
                            0);
    }
}

/* --- phase 2: solving ------------------------------------------------------------------------- */
static void know_symbol(Binding *b, uint32_t row, int64_t value) {
    b->values[row] = value;
    b->known[row] = 1;
}
static bool mono_known(const Binding *b, uint32_t mono) {
    const Dims *dims = b->dims;
    for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
        if (!b->known[dims->atoms.atom[dims->monos.first[mono] + k]]) return false;
    return true;
}
static bool parts_known(const Binding *b, uint32_t row) {
    const Dims *dims = b->dims;
    uint32_t    lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    switch ((DimKind)dims->rows.kind[row]) {
    case DIM_CONST: return true;
    case DIM_SYMBOL: return b->known[row];
    case DIM_POLY:
        for (uint32_t i = 0; i < rhs; i++)
            if (!mono_known(b, dims->terms.mono[lhs + i])) return false;
        return true;
    default: return b->known[lhs] && b->known[rhs];
    }
}
/* Parts come before what is made of them, so one forward sweep settles all. */
static void spread(Binding *b) {
    for (uint32_t row = 1; row < b->dims->rows.table.count; row++)
        b->known[row] = parts_known(b, row);
    (void)dims_eval(b->dims, b->values);
}

static bool solve_equalities(Binding *b) {
    const DimRows *rows = &b->dims->rows;
    bool           changed = false;
    for (uint32_t row = 1; row < rows->table.count; row++) {
        uint32_t root = rows->same_as[row];
        if (root == 0 || b->known[row] == b->known[root]) continue;
        uint32_t to = b->known[row] ? root : row, from = b->known[row] ? row : root;
        if (rows->kind[to] != DIM_SYMBOL) continue;
        know_symbol(b, to, b->values[from]);
        changed = true;
    }
    return changed;
}
/* size = rest + coef x symbol, with everything but the symbol known. */
static bool solve_sum(Binding *b, uint32_t row, int64_t size, uint32_t origin) {
    const Dims *dims = b->dims;
    uint32_t    unknown = 0;
    int64_t     coef = 0, rest = 0;
    for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
        uint32_t term = dims->rows.lhs[row] + i, mono = dims->terms.mono[term];
        uint32_t first = dims->monos.first[mono];
        if (!mono_known(b, mono)) {
            bool linear = dims->monos.count[mono] == 1 && unknown == 0 &&
                          dims->rows.kind[dims->atoms.atom[first]] == DIM_SYMBOL;
            if (!linear) return false;
            unknown = dims->atoms.atom[first];
            coef = dims->terms.coef[term];
            continue;
        }
        int64_t product = dims->terms.coef[term];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            if (__builtin_mul_overflow(product, b->values[dims->atoms.atom[first + k]], &product))
                return false;
        if (__builtin_add_overflow(rest, product, &rest)) return false;
    }
    int64_t left;
    if (unknown == 0 || __builtin_sub_overflow(size, rest, &left)) return false;
    if (coef == -1 && left == INT64_MIN) return false;
    know_symbol(b, unknown, left / coef); /* with a remainder, check_sizes tells */
    b->origin[unknown] = origin;
    return true;
}
static bool solve_inputs(Binding *b) {
    const Types *types = &b->world->types;
    bool         changed = false;
    for (uint32_t i = 0; i < b->inputs_count; i++)
        for (uint32_t axis = 0; axis < b->inputs[i].rank; axis++) {
            uint32_t row = type_dims(types, binding_type(b, i))[axis].row;
            uint32_t origin = i * SHAPE_RANK_MAX + axis + 1;
            if (b->known[row]) continue;
            if (b->dims->rows.kind[row] == DIM_SYMBOL) {
                know_symbol(b, row, b->inputs[i].shape[axis]);
                b->origin[row] = origin;
                changed = true;
            } else if (b->dims->rows.kind[row] == DIM_POLY) {
                changed |= solve_sum(b, row, b->inputs[i].shape[axis], origin);
            }
        }
    return changed;
}
static void solve(Binding *b) {
    const DimRows *rows = &b->dims->rows;
    for (uint32_t row = 0; row < rows->table.count; row++) {
        b->known[row] = 0;
        b->origin[row] = 0;
        b->values[row] = 0;
        if (rows->kind[row] != DIM_SYMBOL) continue;
        int64_t over = (rows->lo[row] - rows->residue[row]) % rows->modulus[row];
        b->values[row] = rows->lo[row] + (over > 0 ? rows->modulus[row] - over : -over);
    }
    bool changed = true;
    while (changed) { /* every round settles a symbol */
        changed = solve_inputs(b);
        spread(b);
        changed |= solve_equalities(b);
    }
    spread(b);
}

/* --- phase 3: facts --------------------------------------------------------------------------- */
static void broken_fact(const Binding *b, uint32_t row, String fact) {
    (void)diags_add(b->diags, DIAG_INPUT_FACT, 0, where_dim(b, row), row, (uint64_t)b->values[row],
                    diags_str(b->diags, fact));
}
static void check_facts(const Binding *b) {
    const DimRows *rows = &b->dims->rows;
    Scratch        scratch = scratch_begin(NULL, 0);
    uint32_t       wrong = dims_eval(b->dims, b->values);
    if (wrong != 0 && b->known[wrong] && rows->kind[wrong] == DIM_POLY) {
        b->values[wrong] = INT64_MAX;
        broken_fact(b, wrong, STR("less: it overflows"));
    }
    for (uint32_t row = 1; row < rows->table.count; row++) {
        int64_t value = b->values[row];
        if (!b->known[row]) continue;
        if (rows->kind[row] == DIM_SYMBOL && (value < rows->lo[row] || value > rows->hi[row]))
            broken_fact(b, row,
                        str_format(scratch.arena, "from %lld to %lld", (long long)rows->lo[row],
                                   (long long)rows->hi[row]));
        else if (rows->kind[row] == DIM_SYMBOL && value % rows->modulus[row] != rows->residue[row])
            broken_fact(b, row,
                        str_format(scratch.arena, "%lld mod %lld", (long long)rows->residue[row],
                                   (long long)rows->modulus[row]));
        else if (rows->same_as[row] != 0 && b->known[rows->same_as[row]] &&
                 value != b->values[rows->same_as[row]])
            broken_fact(b, row,
                        str_format(scratch.arena, "the same as another size, which is %lld",
                                   (long long)b->values[rows->same_as[row]]));
    }
    scratch_end(scratch);
}
static void check_sizes(const Binding *b) {
    for (uint32_t i = 0; i < b->inputs_count; i++)
        for (uint32_t axis = 0; axis < b->inputs[i].rank; axis++) {
            DimId   dim = type_dims(&b->world->types, binding_type(b, i))[axis];
            int64_t size = b->inputs[i].shape[axis];
            if (!b->known[dim.row] || size == b->values[dim.row]) continue;
            (void)diags_add(b->diags, DIAG_INPUT_SIZE, 0, where_input(b, i, (int)axis),
                            (uint64_t)size, dim.row, (uint64_t)b->values[dim.row]);
        }
}

/* --- phase 4: values -------------------------------------------------------------------------- */
static void report_unbound(Binding *b, OpId op, DimId dim) {
    if (b->known[dim.row]) return;
    (void)diags_add(b->diags, DIAG_DIM_UNBOUND, op.row, dim.row, 0, 0, 0);
    b->known[dim.row] = 1; /* once a dim */
}
static void check_value_known(Binding *b, OpId op, ValueId value) {
    const Types *types = &b->world->types;
    TypeId       type = value_type(b->world, value);
    for (uint32_t axis = 0; axis < type_rank(types, type); axis++)
        report_unbound(b, op, type_dims(types, type)[axis]);
}
static void check_attrs_known(Binding *b, OpId op) {
    const Code     *code = &b->world->code;
    const OpInfo   *info = op_info(code, op);
    const uint64_t *words = op_attrs(b->world, code, op);
    for (uint32_t i = 0; i < info->attrs_count; i++) {
        if (info->attrs[i].kind == ATTR_DIM) report_unbound(b, op, (DimId){(uint32_t)words[i]});
        if (info->attrs[i].kind != ATTR_DIMS) continue;
        ListId list = {(uint32_t)words[i]};
        for (uint32_t k = 0; k < list_count(&b->world->attrs, list); k++)
            report_unbound(b, op, (DimId){(uint32_t)list_numbers(&b->world->attrs, list)[k]});
    }
}
/* Sizes are 0 or more, and a tensor has at most 2^46 bytes, so that offsets never overflow. */
static void check_value_size(Binding *b, OpId op, ValueId value) {
    const Types *types = &b->world->types;
    TypeId       type = value_type(b->world, value);
    int64_t      bytes = dtype_bytes(type_dtype(types, type));
    for (uint32_t axis = 0; axis < type_rank(types, type); axis++) {
        int64_t size = b->values[type_dims(types, type)[axis].row];
        bool    fits = size >= 0 && size <= DIM_SIZE_MAX;
        if (!fits || __builtin_mul_overflow(bytes, size ? size : 1, &bytes) ||
            bytes > (int64_t)1 << 46) {
            (void)diags_add(b->diags, DIAG_SIZE_IMPOSSIBLE, op.row, value.row, (uint64_t)size, axis,
                            0);
            return;
        }
    }
}
typedef void ValueCheck(Binding *b, OpId op, ValueId value);
static void  each_value(Binding *b, ValueCheck *check) {
     const Code *code = &b->world->code;
     for (uint32_t i = 0; i < b->inputs_count; i++) check(b, (OpId){0}, binding_arg(b, i));
    for (uint32_t row = code->blocks.op_first[b->block.row];
         row < code->blocks.op_last[b->block.row]; row++)
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            check(b, (OpId){row}, op_result(code, (OpId){row}, i));
}

/* --- phase 5: operators whose legality depends on sizes --------------------------------------- */
static void illegal(const Binding *b, OpId op, const char *what, uint32_t axis, int64_t x,
                    int64_t y) {
    Scratch scratch = scratch_begin(NULL, 0);
    String  text = str_format(scratch.arena, "%s (axis %u)", what, axis);
    (void)diags_add(b->diags, DIAG_SIZES_ILLEGAL, op.row, diags_str(b->diags, text), (uint64_t)x,
                    (uint64_t)y, 0);
    scratch_end(scratch);
}
static int64_t operand_size(const Binding *b, OpId op, uint32_t operand, uint32_t axis) {
    TypeId type = value_type(b->world, op_operand(&b->world->code, op, operand));
    return b->values[type_dims(&b->world->types, type)[axis].row];
}
static uint32_t operand_rank(const Binding *b, OpId op, uint32_t operand) {
    return type_rank(&b->world->types,
                     value_type(b->world, op_operand(&b->world->code, op, operand)));
}
static int64_t attr_size(const Binding *b, OpId op, uint32_t attr, uint32_t axis) {
    ListId list = {(uint32_t)op_attrs(b->world, &b->world->code, op)[attr]};
    return b->values[list_numbers(&b->world->attrs, list)[axis]];
}
static void check_slice(const Binding *b, OpId op) {
    for (uint32_t axis = 0; axis < operand_rank(b, op, 0); axis++) {
        int64_t start = attr_size(b, op, ATTR_SLICE_starts, axis);
        int64_t limit = attr_size(b, op, ATTR_SLICE_limits, axis);
        int64_t size = operand_size(b, op, 0, axis);
        if (start < 0 || start > limit)
            illegal(b, op, "the slice has a start below 0 or above its limit", axis, start, limit);
        else if (limit > size)
            illegal(b, op, "the slice leaves the operand: limit and size", axis, limit, size);
    }
}
static void check_dynamic(const Binding *b, OpId op, bool update) {
    for (uint32_t axis = 0; axis < operand_rank(b, op, 0); axis++) {
        int64_t part = update ? operand_size(b, op, 1, axis)
                              : attr_size(b, op, ATTR_DYNAMIC_SLICE_sizes, axis);
        int64_t size = operand_size(b, op, 0, axis);
        if (part > size) illegal(b, op, "the slice is larger than the operand", axis, part, size);
    }
}
static void check_groups(const Binding *b, OpId op) {
    int64_t groups = (int64_t)op_attrs(b->world, &b->world->code, op)[ATTR_CONVOLUTION_groups];
    int64_t outputs = operand_size(b, op, 1, 0);
    if (outputs % groups != 0)
        illegal(b, op, "groups must divide the outputs of w: outputs and groups", 0, outputs,
                groups);
}
static void check_batch(const Binding *b, OpId op) {
    for (uint32_t axis = 0; axis + 2 < operand_rank(b, op, 0); axis++) {
        int64_t x = operand_size(b, op, 0, axis), y = operand_size(b, op, 1, axis);
        if (x != y) illegal(b, op, "the batch axes of the operands differ", axis, x, y);
    }
}
/* The transformed axes of x have the sizes of the attribute; half and one more on the last axis of
 * what a real inverse takes. */
static void check_fft(const Binding *b, OpId op) {
    const uint64_t *attrs = op_attrs(b->world, &b->world->code, op);
    uint32_t        axes = list_count(&b->world->attrs, (ListId){(uint32_t)attrs[ATTR_FFT_sizes]});
    uint32_t        rank = operand_rank(b, op, 0);
    for (uint32_t i = 0; i < axes; i++) {
        int64_t size = attr_size(b, op, ATTR_FFT_sizes, i);
        if (i == axes - 1 && (FftKind)attrs[ATTR_FFT_kind] == FFT_REAL_INVERSE) size = size / 2 + 1;
        int64_t given = operand_size(b, op, 0, rank - axes + i);
        if (given != size)
            illegal(b, op, "the operand does not have the transformed size", rank - axes + i, given,
                    size);
    }
}
static void check_op(const Binding *b, OpId op) {
    Opcode opcode = (Opcode)b->world->code.ops.opcode[op.row];
    if (opcode == OP_SLICE) check_slice(b, op);
    if (opcode == OP_DYNAMIC_SLICE) check_dynamic(b, op, false);
    if (opcode == OP_DYNAMIC_UPDATE_SLICE) check_dynamic(b, op, true);
    if (opcode == OP_CONVOLUTION) check_groups(b, op);
    if (opcode == OP_FFT) check_fft(b, op);
    if (opcode == OP_TRIANGULAR_SOLVE) check_batch(b, op);
}

/* --- all phases ------------------------------------------------------------------------------- */
static void bind_phases(Binding *b) {
    const Code *code = &b->world->code;
    uint32_t    first = code->blocks.op_first[b->block.row];
    uint32_t    last = code->blocks.op_last[b->block.row], before = b->diags->errors;
    check_inputs(b);
    if (b->diags->errors != before) return;
    solve(b);
    check_facts(b);
    if (b->diags->errors != before) return;
    check_sizes(b);
    if (b->diags->errors != before) return;
    each_value(b, check_value_known);
    for (uint32_t row = first; row < last; row++) check_attrs_known(b, (OpId){row});
    if (b->diags->errors != before) return;
    each_value(b, check_value_size);
    if (b->diags->errors != before) return;
    for (uint32_t row = first; row < last; row++) check_op(b, (OpId){row});
}

bool bind_dims(const World *world, GraphId graph, const Tensor *inputs, uint32_t count,
               int64_t *dim_values, Diags *diags) {
    ASSERT(graph_id_some(graph) && graph.row < world->code.graphs.table.count);
    BlockId  block = world->code.graphs.block[graph.row];
    uint32_t wanted = world->code.blocks.args_count[block.row], before = diags->errors;
    if (count != wanted) {
        String name = strings_get(&world->strings, world->code.graphs.name[graph.row]);
        (void)diags_add(diags, DIAG_INPUT_COUNT, 0, diags_str(diags, name), wanted, count, 0);
        return false;
    }
    Scratch  scratch = scratch_begin(NULL, 0);
    uint32_t rows = world->dims.rows.table.count;
    Binding  binding = {.world = world,
                        .dims = &world->dims,
                        .block = block,
                        .inputs = inputs,
                        .inputs_count = count,
                        .values = dim_values,
                        .known = ARENA_ARRAY(scratch.arena, uint8_t, rows),
                        .origin = ARENA_ARRAY(scratch.arena, uint32_t, rows),
                        .diags = diags};
    bind_phases(&binding);
    scratch_end(scratch);
    return diags->errors == before;
}
