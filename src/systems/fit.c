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
    for (uint32_t row = 1; row < world->dims.rows.table.count; row++)
        if (world->dims.rows.kind[row] == DIM_SYMBOL)
            sizes[row] = dims_typical(&world->dims, (DimId){row});
    (void)dims_eval(&world->dims, sizes); /* running the shape program says what is wrong */
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
