/* `; run [tolerance=1e-6] [grad] [cpu]`: computes the graph of a case.
 *
 * Inputs and parameters are deterministic noise (floats in -1..1, integers in 0..3, unless `;
 * input` says otherwise); sizes come from `; size`, else from the hint or range of the symbol. The
 * reference is the interpreter on the freshly expanded program. With it must agree: the expected
 * values, the program that the steps of the case made, and the fast CPU path, with a kernel for
 * each operator (with `cpu` that must exist) and with fused ones. grad: the program is read again
 * in f64, its first output is made a scalar by a weighted sum, and the gradient of every float
 * input and parameter is compared with central differences. */
#include "tools/stoacheck.h"

#include <math.h>
#include <stdio.h>

#include "arena/hash.h"
#include "cpu/cpu.h"
#include "cpu/emit.h"
#include "cpu/interp.h"
#include "cpu/late.h"
#include "systems/runner.h"
#include "text/messages.h"
#include "text/numbers.h"
#include "text/parse.h"
#include "text/print.h"
#include "text/printed.h"

enum { TENSORS_MAX = 64, PRINTED_MAX = 64, PROBES_MAX = 16 };

typedef struct Bound { /* a world with what it runs on */
    World      *world;
    GraphId     graph;
    Tensor      inputs[TENSORS_MAX], outputs[TENSORS_MAX];
    NamedTensor state[TENSORS_MAX];
    uint32_t    inputs_count, outputs_count, state_count;
    Text        printed; /* lines of print rows, each after "> " */
} Bound;

static bool failed(NumericRun *run, const char *what, String detail) {
    text_addf(run->report, "%s%.*s\n", what, (int)detail.count, detail.count ? detail.data : "");
    return false;
}
static bool failed_with(NumericRun *run, const char *what, const World *world) {
    return failed(run, what, text_diags(run->arena, world, &world->diags));
}

/* --- words ------------------------------------------------------------------------------------ */
static String cut_word(String *rest) {
    while (rest->count != 0 && rest->data[0] == ' ')
        *rest = (String){rest->data + 1, rest->count - 1};
    size_t count = 0;
    while (count < rest->count && rest->data[count] != ' ') count++;
    String word = {rest->data, count};
    *rest = (String){rest->data + count, rest->count - count};
    return word;
}
static bool has_word(const NumericRun *run, String wanted) {
    String rest = run->words;
    while (rest.count != 0)
        if (str_same(cut_word(&rest), wanted)) return true;
    return false;
}
static double tolerance_of(const NumericRun *run) {
    String rest = run->words;
    double tolerance = 1e-6;
    while (rest.count != 0) {
        String word = cut_word(&rest);
        if (str_starts(word, STR("tolerance=")))
            (void)str_to_f64((String){word.data + 10, word.count - 10}, &tolerance);
    }
    return tolerance;
}
/* The next number of a list, after blanks, commas and brackets. */
static bool cut_number(String *rest, double *out_number) {
    while (rest->count != 0 && strchr(" ,[]", rest->data[0]) != NULL)
        *rest = (String){rest->data + 1, rest->count - 1};
    size_t count = 0;
    while (count < rest->count && strchr(" ,[]", rest->data[count]) == NULL) count++;
    String word = {rest->data, count};
    *rest = (String){rest->data + count, rest->count - count};
    *out_number = str_same(word, STR("true"));
    if (*out_number != 0 || str_same(word, STR("false"))) return true;
    return str_to_f64(word, out_number);
}

/* --- sizes ------------------------------------------------------------------------------------ */
static int64_t given_size(const NumericRun *run, String symbol) {
    for (uint32_t i = 0; i < run->sizes_count; i++) {
        String  rest = run->sizes[i];
        int64_t size;
        while (rest.count != 0) {
            String      word = cut_word(&rest);
            const char *equals = word.count ? memchr(word.data, '=', word.count) : NULL;
            if (equals == NULL) continue;
            size_t name = (size_t)(equals - word.data);
            if (str_same((String){word.data, name}, symbol) &&
                str_to_i64((String){equals + 1, word.count - name - 1}, &size))
                return size;
        }
    }
    return -1;
}
static int64_t chosen_size(const NumericRun *run, const World *world, uint32_t row) {
    const DimRows *rows = &world->dims.rows;
    int64_t size = given_size(run, strings_get(&world->strings, (StrId){(uint32_t)rows->imm[row]}));
    if (size >= 0) return size;
    if (rows->hint[row] > 0 && rows->hint[row] <= 16) return rows->hint[row];
    size = rows->lo[row] > 3 ? rows->lo[row] : 3;
    if (size > rows->hi[row]) size = rows->hi[row];
    while (size % rows->modulus[row] != rows->residue[row] && size < rows->hi[row]) size++;
    return size;
}

/* --- tensors ---------------------------------------------------------------------------------- */
static double noise(String name, uint64_t index) {
    uint64_t hash = hash_mix(hash_bytes(name.data, name.count, 1), index);
    return (double)(hash >> 11) * 0x1p-53;
}
/* What `; input NAME ...` says, or an empty string. */
static String input_rule(const NumericRun *run, String name) {
    for (uint32_t i = 0; i < run->inputs_count; i++) {
        String rest = run->inputs[i];
        if (str_same(cut_word(&rest), name)) return rest;
    }
    return (String){"", 0};
}
static void fill(const NumericRun *run, Tensor *tensor, String name) {
    String      rule = input_rule(run, name);
    const char *dots = strstr(rule.count ? rule.data : "", "..");
    bool     ranged = dots != NULL && dots < rule.data + rule.count, list = rule.count && !ranged;
    bool     is_float = dtype_is_float(tensor->dtype);
    double   lo = is_float ? -1 : 0, hi = is_float ? 1 : tensor->dtype == DTYPE_BOOL ? 2 : 4;
    uint32_t width = dtype_bytes(tensor->dtype);
    if (ranged) {
        String first = {rule.data, (size_t)(dots - rule.data)};
        String last = {dots + 2, rule.count - first.count - 2};
        if (cut_number(&first, &lo) && cut_number(&last, &hi) && !is_float) hi += 1;
    }
    for (int64_t i = 0; i < tensor_elements(tensor); i++) {
        double number = lo + (hi - lo) * noise(name, (uint64_t)i);
        if (list && !cut_number(&rule, &number)) number = 0;
        if (!is_float) number = floor(number);
        (void)const_encode(tensor->dtype, number, (uint8_t *)tensor->data + i * (int64_t)width);
    }
}
static bool make_tensor(NumericRun *run, const World *world, TypeId type, const int64_t *sizes,
                        String name, Tensor *out) {
    *out =
        (Tensor){.dtype = type_dtype(&world->types, type), .rank = type_rank(&world->types, type)};
    for (uint32_t i = 0; i < out->rank; i++) {
        out->shape[i] = sizes[type_dims(&world->types, type)[i].row];
        if (out->shape[i] < 0 || out->shape[i] > 1 << 20)
            return failed(run, "a size is out of range: ", name);
    }
    out->data = arena_push_zero(run->arena, tensor_bytes(out) + 64, 64);
    fill(run, out, name);
    return true;
}

/* The inputs, state and outputs of the graph. */
static bool bind(NumericRun *run, Bound *b) {
    const World *world = b->world;
    const Code  *code = &world->code;
    StrId        name = strings_find(&world->strings, run->graph);
    int64_t     *sizes = ARENA_ARRAY_ZERO(run->arena, int64_t, world->dims.rows.table.count);
    b->graph = run->graph.count ? code_find_graph(code, name) : (GraphId){1};
    if (b->graph.row == 0 || b->graph.row >= code->graphs.table.count)
        return failed(run, "no graph ", run->graph);
    for (uint32_t row = 1; row < world->dims.rows.table.count; row++)
        if (world->dims.rows.kind[row] == DIM_SYMBOL) sizes[row] = chosen_size(run, world, row);
    (void)dims_eval(&world->dims, sizes);
    BlockId block = code->graphs.block[b->graph.row];
    b->inputs_count = code->blocks.args_count[block.row];
    b->outputs_count = code->ops.operands_count[block_return(code, block).row];
    if (b->inputs_count > TENSORS_MAX || b->outputs_count > TENSORS_MAX)
        return failed(run, "too many inputs or outputs", STR(""));
    for (uint32_t i = 0; i < b->inputs_count; i++) {
        ValueId value = {code->blocks.args_first[block.row].row + i};
        String  input = strings_get(&world->strings, code->values.name[value.row]);
        TypeId  type = value_type(world, value);
        if (!make_tensor(run, world, type, sizes, input, &b->inputs[i])) return false;
    }
    for (uint32_t row = code->blocks.op_first[block.row]; row < code->blocks.op_last[block.row];
         row++) {
        if (code->ops.opcode[row] != OP_PARAMETER) continue;
        const uint64_t *words = op_attrs(world, code, (OpId){row});
        StrId           id = {(uint32_t)words[ATTR_PARAMETER_name]};
        TypeId          type = {(uint32_t)words[ATTR_PARAMETER_type]};
        if (b->state_count == TENSORS_MAX) return failed(run, "too many parameters", STR(""));
        NamedTensor *tensor = &b->state[b->state_count++];
        tensor->name = id;
        if (!make_tensor(run, world, type, sizes, strings_get(&world->strings, id),
                         &tensor->tensor))
            return false;
    }
    return true;
}

/* --- running ---------------------------------------------------------------------------------- */
static bool run_needed(Runner *runner, SystemKind kind) {
    for (uint32_t other = 0; other < SYSTEM_COUNT; other++) {
        uint32_t missing = system_infos[kind].needs & ~runner->facts;
        if ((system_infos[other].gives & missing) == 0 || other == (uint32_t)kind) continue;
        if (!run_needed(runner, (SystemKind)other)) return false;
    }
    return runner_run(runner, kind);
}
static bool expand(NumericRun *run, World *world) {
    Runner runner;
    runner_open(&runner, world, NULL);
    bool good = run_needed(&runner, SYSTEM_expand);
    runner_close(&runner);
    return good || failed_with(run, "cannot be expanded:\n", world);
}
static bool interpret(NumericRun *run, Bound *b) {
    Status status = interp_run(run->arena, b->world, b->graph, b->inputs, b->inputs_count, b->state,
                               b->state_count, b->outputs, &b->world->diags);
    return status == STATUS_OK || failed_with(run, "cannot be interpreted:\n", b->world);
}
static bool open_world(NumericRun *run, String source, World **out_world) {
    *out_world = world_open(0, 1 << 20);
    if (*out_world == NULL) return failed(run, "out of memory", STR(""));
    return text_parse(*out_world, source, str_of(run->path)) ||
           failed_with(run, "cannot be parsed:\n", *out_world);
}
static void hear(void *context, const World *world, uint32_t op, const Tensor *values,
                 uint32_t count) {
    Bound  *b = context;
    Scratch scratch = scratch_begin(&b->printed.arena, 1);
    String  line = text_printed(scratch.arena, world, (OpId){op}, values, count);
    text_addf(&b->printed, "> %.*s\n", STR_ARGS(line));
    scratch_end(scratch);
}
static bool open_bound(NumericRun *run, String source, Bound *b) {
    bool good = open_world(run, source, &b->world);
    b->printed = text_begin(arena_open("printed", 0, 0));
    if (b->world == NULL) return false;
    b->world->diags.print = hear;
    b->world->diags.print_context = b;
    return good;
}
static void close_bound(Bound *b) {
    if (b->printed.arena != NULL) arena_close(b->printed.arena);
    world_close(b->world);
    *b = (Bound){0};
}

/* Addresses of the plan's slots; outputs get memory of their own. */
static void **make_slots(NumericRun *run, Bound *b, const Plan *plan) {
    const Slots *slots = &plan->slots;
    void       **at = ARENA_ARRAY_ZERO(run->arena, void *, slots->table.count);
    at[0] = arena_push_zero(run->arena, plan->arena_bytes + 64, 64);
    for (uint32_t row = 1; row < slots->table.count; row++) {
        uint32_t index = slots->index[row];
        if (slots->kind[row] == SLOT_INPUT)
            at[row] = b->inputs[index].data;
        else if (slots->kind[row] == SLOT_CONSTANT)
            at[row] = (void *)(uintptr_t)consts_bytes(&b->world->consts, (ConstId){index});
        else if (slots->kind[row] == SLOT_OUTPUT) {
            at[row] = arena_push_zero(run->arena, slots->bytes[row] + 64, 64);
            b->outputs[index].data = at[row];
        } else
            for (uint32_t i = 0; i < b->state_count; i++)
                if (b->state[i].name.row == slots->name[row].row) at[row] = b->state[i].tensor.data;
    }
    return at;
}
static void set_output_shapes(Bound *b, const Plan *plan) {
    const World *world = b->world;
    OpId         end = block_return(&world->code, world->code.graphs.block[b->graph.row]);
    for (uint32_t i = 0; i < b->outputs_count; i++) {
        TypeId  type = value_type(world, op_operand(&world->code, end, i));
        Tensor *output = &b->outputs[i]; /* data is set */
        output->dtype = type_dtype(&world->types, type);
        output->rank = type_rank(&world->types, type);
        for (uint32_t k = 0; k < output->rank; k++)
            output->shape[k] = plan->dim_values[type_dims(&world->types, type)[k].row];
    }
}
/* Runs on the fast path, with kernels compiled by jit if there is one. False in *out_ran when it
 * has no kernel for some row. */
static bool run_fast(NumericRun *run, Bound *b, Workers *workers, Jit *jit, bool *out_ran) {
    Target      target;
    Runner      runner;
    CpuLate    *cpu = NULL;
    EmitModule *module = NULL;
    ShapeRoots  roots = {.all = true};
    Diags      *diags = &b->world->diags;
    cpu_describe(&target, jit != NULL);
    runner_open(&runner, b->world, &target);
    bool good = runner_compile(&runner) && bind(run, b);
    if (good && jit != NULL)
        good = emit_compile(run->arena, jit, &runner.loops, workers, diags, &module) == STATUS_OK;
    if (!good) (void)failed_with(run, "cannot be compiled:\n", b->world);
    Plan               *plan = good ? plan_open(b->world, &runner.loops, b->graph) : NULL;
    const ShapeProgram *shapes =
        plan != NULL ? shape_program_make(run->arena, b->world, b->graph, &roots, diags) : NULL;
    good = shapes != NULL &&
           shape_program_run(shapes, b->inputs, b->inputs_count, plan->dim_values, diags);
    if (good) good = runner_plan(&runner, plan);
    if (plan != NULL && !good) (void)failed_with(run, "cannot be planned:\n", b->world);
    *out_ran = good && cpu_late_open(run->arena, plan, shapes, module, workers,
                                     cpu_room_open(run->arena, workers), diags, &cpu) == STATUS_OK;
    if (*out_ran) {
        uint32_t stopped = 0;
        Status   status = cpu_late_run(cpu, make_slots(run, b, plan), NULL, NULL, diags, &stopped);
        if (status != STATUS_OK) good = failed_with(run, "stops on the fast path:\n", b->world);
        if (stopped != 0) good = failed(run, "an assert failed on the fast path", STR(""));
        set_output_shapes(b, plan);
    } else if (good && has_word(run, STR("cpu"))) {
        good = failed_with(run, "the fast path cannot run it:\n", b->world);
    }
    cpu_late_close(cpu);
    plan_close(plan);
    runner_close(&runner);
    return good;
}

/* --- comparing -------------------------------------------------------------------------------- */
static double element(const Tensor *tensor, int64_t index) {
    return const_decode(tensor->dtype, (const uint8_t *)tensor->data +
                                           index * (int64_t)dtype_bytes(tensor->dtype));
}
static bool near(double a, double b, double tolerance) {
    if (a == b || (isnan(a) && isnan(b))) return true;
    return fabs(a - b) <= tolerance * fmax(1, fmax(fabs(a), fabs(b)));
}
static bool compare_tensors(NumericRun *run, const char *with, String what, const Tensor *x,
                            const Tensor *y) {
    bool same = x->dtype == y->dtype && x->rank == y->rank;
    for (uint32_t i = 0; same && i < x->rank; i++) same = x->shape[i] == y->shape[i];
    if (!same) {
        text_addf(run->report, "%.*s: %s gives another type\n", STR_ARGS(what), with);
        return false;
    }
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        if (near(element(x, i), element(y, i), tolerance_of(run))) continue;
        text_addf(run->report, "%.*s, element %lld: the interpreter gives %.9g, %s %.9g\n",
                  STR_ARGS(what), (long long)i, element(x, i), with, element(y, i));
        return false;
    }
    return true;
}
/* Outputs by position, parameters as the run left them by name (unused ones may be gone). */
static bool compare(NumericRun *run, const char *with, const Bound *a, const Bound *b) {
    if (a->outputs_count != b->outputs_count)
        return failed(run, with, STR(" gives another number of outputs"));
    String said = {a->printed.data, a->printed.count}, other = {b->printed.data, b->printed.count};
    if (b->printed.arena != NULL && !str_same(said, other)) {
        text_addf(run->report, "%s says\n%.*snot\n%.*s", with, STR_ARGS(other), STR_ARGS(said));
        return false;
    }
    for (uint32_t k = 0; k < a->outputs_count; k++) {
        char label[32];
        (void)snprintf(label, sizeof label, "output %u", k);
        if (!compare_tensors(run, with, str_of(label), &a->outputs[k], &b->outputs[k]))
            return false;
    }
    for (uint32_t k = 0; k < a->state_count; k++) {
        String name = strings_get(&a->world->strings, a->state[k].name);
        for (uint32_t i = 0; i < b->state_count; i++)
            if (str_same(name, strings_get(&b->world->strings, b->state[i].name)) &&
                !compare_tensors(run, with, name, &a->state[k].tensor, &b->state[i].tensor))
                return false;
    }
    return true;
}
/* "loss: f32[2] [0.5, 1]", the first elements. */
static String value_line(NumericRun *run, const Bound *b, uint32_t output) {
    const World  *world = b->world;
    const Tensor *x = &b->outputs[output];
    OpId          end = block_return(&world->code, world->code.graphs.block[b->graph.row]);
    ListId        names = {(uint32_t)op_attrs(world, &world->code, end)[ATTR_RETURN_names]};
    bool          named = output < list_count(&world->attrs, names);
    StrId         name = {named ? (uint32_t)list_numbers(&world->attrs, names)[output] : 0};
    Text          text = text_begin(run->arena);
    String        label = strings_get(&world->strings, name);
    if (named)
        text_add(&text, label);
    else
        text_addf(&text, "out%u", output);
    text_addf(&text, ": %s", dtype_infos[x->dtype].name);
    for (uint32_t i = 0; i < x->rank; i++)
        text_addf(&text, "%s%lld%s", i ? "," : "[", (long long)x->shape[i],
                  i + 1 < x->rank ? "" : "]");
    text_add(&text, STR(" ["));
    for (int64_t i = 0; i < tensor_elements(x) && i < PRINTED_MAX; i++) {
        char digits[NUMBERS_TEXT_MAX];
        text_add(&text, i ? STR(", ") : STR(""));
        text_add(&text,
                 (String){digits, numbers_print(digits, element(x, i), x->dtype != DTYPE_F64)});
    }
    text_add(&text, tensor_elements(x) > PRINTED_MAX ? STR(", ...]") : STR("]"));
    return text_done(&text);
}
/* Numbers are compared within the tolerance, everything before them as text. */
static bool check_value(NumericRun *run, String expected, String got) {
    double      tolerance = tolerance_of(run), a, b;
    const char *e = strstr(expected.data, " ["), *g = strstr(got.data, " [");
    bool        same = e != NULL && e < expected.data + expected.count && g != NULL;
    String      x = expected, y = got;
    if (str_same(expected, got)) return true;
    if (same) {
        x.count = (size_t)(e - expected.data);
        y.count = (size_t)(g - got.data);
        same = str_same(x, y);
        x = (String){e, expected.count - x.count};
        y = (String){g, got.count - y.count};
    }
    while (same) {
        bool more = cut_number(&x, &a), other = cut_number(&y, &b);
        same = more == other && (!more || near(a, b, tolerance));
        if (!more || !other) break;
    }
    if (same) return true;
    text_addf(run->report, "-%.*s\n+%.*s\n", STR_ARGS(expected), STR_ARGS(got));
    return false;
}
/* What was said, then the outputs. */
static bool check_values(NumericRun *run, const Bound *b) {
    bool     good = true;
    uint32_t count = 0;
    Text     text = text_begin(arena_open("values", 0, 0));
    String   said = {b->printed.data, b->printed.count};
    for (size_t end = 0; said.count != 0; said = (String){said.data + end, said.count - end}) {
        end = (size_t)((const char *)memchr(said.data, '\n', said.count) - said.data) + 1;
        String line = {said.data, end - 1};
        text_addf(&text, "%.*s\n", STR_ARGS(line));
        if (count < run->values_count) good &= check_value(run, run->values[count], line);
        count++;
    }
    for (uint32_t i = 0; i < b->outputs_count; i++, count++) {
        String line = value_line(run, b, i);
        text_addf(&text, "%.*s\n", STR_ARGS(line));
        if (count < run->values_count) good &= check_value(run, run->values[count], line);
    }
    if (run->values_count != 0 && run->values_count != count)
        good = failed(run, "the number of outputs or of lines said differs", STR(""));
    String whole = text_done(&text);
    run->output = str_copy(run->arena, whole);
    arena_close(text.arena);
    return good;
}

/* --- gradients -------------------------------------------------------------------------------- */
/* The program in f64: every f32 of its text replaced. */
static String in_f64(NumericRun *run, String source) {
    String copy = str_copy(run->arena, source);
    char  *at = (char *)(uintptr_t)copy.data;
    for (size_t i = 0; i + 3 <= copy.count; i++)
        if (memcmp(at + i, "f32", 3) == 0) memcpy(at + i, "f64", 3);
    return copy;
}
/* The text of the graph with its return replaced by the weighted sum of the first output and its
 * gradients. out_wrt: how many of them. */
static String with_gradient(NumericRun *run, const Bound *b, uint32_t *out_wrt) {
    const World *world = b->world;
    const Code  *code = &world->code;
    BlockId      block = code->graphs.block[b->graph.row];
    String       whole = text_print(run->arena, world, (TextOptions){.bare = true});
    ValueId      y = op_operand(code, block_return(code, block), 0);
    TypeId       type = value_type(world, y);
    uint32_t     rank = type_rank(&world->types, type);
    String       name = text_value(run->arena, world, y);
    String       shape = text_shape(run->arena, world, type_shape(&world->types, type));
    Text wrt = text_begin(arena_open("names", 0, 0)), grads = text_begin(arena_open("grads", 0, 0));
    size_t end = whole.count;
    while (end > 8 && memcmp(whole.data + end - 8, "  return", 8) != 0) end--;
    for (uint32_t i = 0; i < b->inputs_count; i++) {
        ValueId x = {code->blocks.args_first[block.row].row + i};
        if (b->inputs[i].dtype != DTYPE_F64) continue;
        text_addf(&wrt, ", %s", text_value(run->arena, world, x).data);
        text_addf(&grads, "%s%%\"grad %u\"", *out_wrt ? ", " : "", *out_wrt);
        (*out_wrt)++;
    }
    for (uint32_t row = code->blocks.op_first[block.row]; row < code->blocks.op_last[block.row];
         row++) {
        if (code->ops.opcode[row] != OP_PARAMETER) continue;
        ValueId x = code->ops.results_first[row];
        if (type_dtype(&world->types, value_type(world, x)) != DTYPE_F64) continue;
        text_addf(&wrt, ", %s", text_value(run->arena, world, x).data);
        text_addf(&grads, "%s%%\"grad %u\"", *out_wrt ? ", " : "", *out_wrt);
        (*out_wrt)++;
    }
    String wrt_text = text_done(&wrt), grad_text = text_done(&grads);
    Text   text = text_begin(arena_open("gradient", 0, 0));
    text_add(&text, (String){whole.data, end - 8});
    text_addf(&text, "\n  %%\"fd s\" = copy %s\n", name.data);
    if (rank != 0) {
        text_addf(&text, "  %%\"fd i\" = iota {dtype=f64, shape=%s, axis=%u}\n", shape.data,
                  rank - 1);
        text_add(&text, STR("  %\"fd w\" = cos %\"fd i\"\n  %\"fd p\" = mul %\"fd s\", %\"fd w\"\n"
                            "  %\"fd t\" = reduce %\"fd p\" {kind=sum, axes=["));
        for (uint32_t i = 0; i < rank; i++) text_addf(&text, "%s%u", i ? ", " : "", i);
        text_add(&text, STR("]}\n"));
    }
    const char *scalar = rank ? "%\"fd t\"" : "%\"fd s\"";
    text_addf(&text, "  %s = gradient %s%s\n  return %s, %s\n}\n", grad_text.data, scalar,
              wrt_text.data, scalar, grad_text.data);
    String result = str_copy(run->arena, text_done(&text));
    arena_close(text.arena);
    arena_close(wrt.arena);
    arena_close(grads.arena);
    return result;
}
/* The scalar for the present inputs. */
static bool scalar_at(NumericRun *run, Bound *b, double *out) {
    ArenaMark mark = arena_mark(run->arena);
    Bound     again = *b; /* outputs of its own */
    bool      good = interpret(run, &again);
    *out = good ? element(&again.outputs[0], 0) : 0;
    arena_release(run->arena, mark);
    return good;
}
static bool check_gradient(NumericRun *run, Bound *b, Tensor *x, const Tensor *gradient,
                           uint32_t nth) {
    int64_t count = tensor_elements(x), step = count > PROBES_MAX ? count / PROBES_MAX : 1;
    double  tolerance = fmax(tolerance_of(run), 1e-6);
    for (int64_t i = 0; i < count; i += step) {
        double *at = (double *)x->data + i, before = *at, above, below, reach = 1e-5;
        *at = before + reach;
        bool good = scalar_at(run, b, &above);
        *at = before - reach;
        good = good && scalar_at(run, b, &below);
        *at = before;
        if (!good) return false;
        double slope = (above - below) / (2 * reach);
        if (near(slope, element(gradient, i), tolerance)) continue;
        text_addf(run->report, "gradient %u, element %lld: %.9g, but differences give %.9g\n", nth,
                  (long long)i, element(gradient, i), slope);
        return false;
    }
    return true;
}
static bool check_gradients(NumericRun *run) {
    Bound    plain = {0}, b = {0};
    uint32_t wrt = 0, nth = 0;
    bool     good = open_world(run, in_f64(run, run->source), &plain.world) && bind(run, &plain);
    if (good && (plain.outputs_count == 0 || plain.world->code.graphs.table.count != 2))
        good = failed(run, "grad needs a file with one graph and an output", STR(""));
    String text = good ? with_gradient(run, &plain, &wrt) : STR("");
    good = good && open_world(run, text, &b.world) && expand(run, b.world) && bind(run, &b) &&
           interpret(run, &b);
    for (uint32_t i = 0; i < b.inputs_count && good; i++)
        if (b.inputs[i].dtype == DTYPE_F64) {
            good = check_gradient(run, &b, &b.inputs[i], &b.outputs[nth + 1], nth);
            nth++;
        }
    for (uint32_t i = 0; i < b.state_count && good; i++)
        if (b.state[i].tensor.dtype == DTYPE_F64) {
            good = check_gradient(run, &b, &b.state[i].tensor, &b.outputs[nth + 1], nth);
            nth++;
        }
    world_close(plain.world);
    world_close(b.world);
    return good;
}

bool numeric_run(NumericRun *run) {
    Bound      reference = {0}, after = {.world = run->after}, fast = {0};
    Workers   *workers = NULL;
    Jit       *jit = NULL;
    JitOptions options = {.level = JIT_HOST};
    bool       ran = false;
    bool       good = open_bound(run, run->source, &reference) && expand(run, reference.world) &&
                bind(run, &reference) && interpret(run, &reference) &&
                check_values(run, &reference);
    if (good && run->after != NULL)
        good = expand(run, after.world) && bind(run, &after) && interpret(run, &after) &&
               compare(run, "the program after the steps", &reference, &after);
    if (good) good = workers_open(run->arena, 2, false, &workers) == STATUS_OK;
    if (good)
        good = open_bound(run, run->source, &fast) && run_fast(run, &fast, workers, NULL, &ran);
    if (good && ran) good = compare(run, "the fast path", &reference, &fast);
    if (good && jit_open(run->arena, &options, &fast.world->diags, &jit) == STATUS_OK) {
        close_bound(&fast);
        good = open_bound(run, run->source, &fast) && run_fast(run, &fast, workers, jit, &ran);
        if (good && ran) good = compare(run, "compiled kernels", &reference, &fast);
    }
    if (good && has_word(run, STR("grad"))) good = check_gradients(run);
    jit_close(jit);
    workers_close(workers);
    close_bound(&reference);
    close_bound(&fast);
    return good;
}
