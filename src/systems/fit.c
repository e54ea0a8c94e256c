/* Plans at likely sizes. They cost what planning costs: about 100 ns a row of the graph.
 *
 * Sizes are evaluated twice: once roughly, to give the inputs shapes, and then by the shape program
 * of the graph, which checks them as it does for every call. */
#include "systems/fit.h"

const ShapeProgram *fit_shapes(Arena *out, const Runner *runner, GraphId graph, Diags *diags) {
    const Views *views = runner->ctx.views;
    ShapeRoots   roots = {.dims = views->offset,
                          .dims_count = views->table.count,
                          .lists = views->strides,
                          .lists_count = views->table.count};
    return shape_program_make(out, runner->ctx.world, graph, &roots, diags);
}

/* The shapes of the inputs with every symbol at its typical size. */
static Tensor *typical_inputs(Arena *out, const World *world, GraphId graph, uint32_t *out_count) {
    const Code *code = &world->code;
    uint32_t    block = code->graphs.block[graph.row].row, count = code->blocks.args_count[block];
    Tensor     *inputs = ARENA_ARRAY_ZERO(out, Tensor, count + 1);
    int64_t    *sizes = ARENA_ARRAY_ZERO(out, int64_t, world->dims.rows.table.count);
    dims_eval_typical(&world->dims, sizes); /* running the shape program says what is wrong */
    for (uint32_t i = 0; i < count; i++) {
        TypeId type = code->values.type[code->blocks.args_first[block].row + i];
        inputs[i].dtype = type_dtype(&world->types, type);
        inputs[i].rank = type_rank(&world->types, type);
        for (uint32_t k = 0; k < inputs[i].rank; k++)
            inputs[i].shape[k] = sizes[type_dims(&world->types, type)[k].row];
    }
    *out_count = count;
    return inputs;
}

static bool make_plan(Runner *runner, Plan *plan, const Tensor *inputs, uint32_t count, bool placed,
                      Diags *diags) {
    const ShapeProgram *shapes = fit_shapes(plan->arena, runner, plan->graph, diags);
    if (shapes == NULL) return false;
    if (inputs == NULL) inputs = typical_inputs(plan->arena, plan->world, plan->graph, &count);
    if (!shape_program_run(shapes, inputs, count, plan->dim_values, diags)) return false;
    if (placed) return runner_plan(runner, plan);
    runner->ctx.plan = plan;
    bool good = runner_run(runner, SYSTEM_launch);
    runner->ctx.plan = NULL;
    return good;
}
Plan *fit_plan(Runner *runner, GraphId graph, const Tensor *inputs, uint32_t count, bool placed,
               Diags *diags) {
    Plan      *plan = plan_open(runner->ctx.world, runner->ctx.loops, graph);
    ArenaGuard guard;
    if (plan == NULL || !ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        runner->ctx.plan = NULL;
        plan_close(plan);
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    bool good = make_plan(runner, plan, inputs, count, placed, diags);
    arena_guard_end(&guard);
    if (good) return plan;
    plan_close(plan);
    return NULL;
}

/* Recomputing needs launches, and changes which there are: the plan serves it alone. */
static bool fit_graph(Runner *runner, GraphId graph) {
    Plan *plan = fit_plan(runner, graph, NULL, 0, false, &runner->ctx.world->diags);
    if (plan == NULL) return false;
    runner->ctx.plan = plan;
    bool good = runner_run(runner, SYSTEM_recompute);
    runner->ctx.plan = NULL;
    plan_close(plan);
    return good;
}
bool fit_budget(Runner *runner) {
    for (uint32_t row = 1; row < runner->ctx.world->code.graphs.table.count; row++)
        if (!fit_graph(runner, (GraphId){row})) return false;
    return true;
}

/* --- gradients of loops ----------------------------------------------------------------------- */
static bool has_loops(const Code *code, GraphId graph) {
    uint32_t block = code->graphs.block[graph.row].row;
    for (uint32_t row = code->blocks.op_first[block]; row < code->blocks.op_last[block]; row++)
        if (code->ops.opcode[row] == OP_SCAN) return true;
    return false;
}
/* The largest arena among graphs with loops: recompute leaves these as they are. */
static bool measure_loops(Runner *runner, uint64_t *out_bytes) {
    *out_bytes = 0;
    for (uint32_t row = 1; row < runner->ctx.world->code.graphs.table.count; row++) {
        if (!has_loops(&runner->ctx.world->code, (GraphId){row})) continue;
        Plan *plan = fit_plan(runner, (GraphId){row}, NULL, 0, true, &runner->ctx.world->diags);
        if (plan == NULL) return false;
        if (plan->arena_bytes > *out_bytes) *out_bytes = plan->arena_bytes;
        plan_close(plan);
    }
    return true;
}
/* From the code as it was before. */
static bool compile_with(Runner *runner, const Runner *start, const Code *code, uint64_t states,
                         bool compile(Runner *)) {
    code_copy(&runner->ctx.world->code, code);
    loops_close(&runner->loops);
    loops_open(&runner->loops, &runner->ctx.world->budget);
    runner->ctx.states = states;
    runner->ctx.kept = 0;
    runner->ctx.fuel = start->ctx.fuel;
    runner->facts = start->facts;
    runner->runs_count = start->runs_count;
    return compile(runner);
}
static bool search_states(Runner *runner, const Code *code, bool compile(Runner *)) {
    Runner   start = *runner;
    uint64_t least = UINT64_MAX, best = 0, bytes;
    bool     good = compile(runner);
    while (good && runner->ctx.kept != 0) {
        if (!measure_loops(runner, &bytes)) return false;
        if (bytes <= runner->ctx.budget) return true;
        if (bytes < least) least = bytes, best = system_states(&runner->ctx);
        good = compile_with(runner, &start, code, runner->ctx.kept - 1, compile);
    }
    if (!good || best == 0) return good;
    if (!measure_loops(runner, &bytes)) return false;
    return bytes < least || compile_with(runner, &start, code, best, compile);
}
bool fit_states(Runner *runner, bool compile(Runner *runner)) {
    World     *world = runner->ctx.world;
    Code       code = {.generation = 0};
    ArenaGuard guard;
    code_open(&code, world->code.ops.table.rows_max, &world->budget);
    if (!ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        code_close(&code);
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    code_copy(&code, &world->code);
    bool good = search_states(runner, &code, compile);
    arena_guard_end(&guard);
    code_close(&code);
    return good && fit_budget(runner);
}
