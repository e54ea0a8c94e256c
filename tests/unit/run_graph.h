/* Runs what build_graph.h builds in the reference interpreter: graph_run_op for one operator,
 * graph_run for a whole graph, graph_call once more with other inputs. Failures are expectations
 * that did not hold. */
#ifndef STOA_TESTS_RUN_GRAPH_H
#define STOA_TESTS_RUN_GRAPH_H

#include "build_graph.h"
#include "cpu/interp.h"

static inline Status graph_call(Graph *g) {
    g->status = interp_run(g->arena, g->world, g->graph, g->inputs, g->inputs_count, g->state,
                           g->state_count, g->outputs, &g->world->diags);
    return g->status;
}
/* Runs the whole; the first output, or an empty tensor after a failure. */
static inline const Tensor *graph_run(Graph *g, const ValueId *values, uint32_t count) {
    graph_finish(g, values, count);
    if (!EXPECT_EQ(graph_call(g), STATUS_OK)) g->outputs[0] = (Tensor){.rank = 1};
    return &g->outputs[0];
}
static inline const Tensor *graph_run_op(Graph *g, Opcode opcode, const uint64_t *attrs) {
    graph_begin(g);
    OpId    op = build_row(&g->build, opcode, g->args, g->inputs_count, attrs, 0);
    ValueId values[GRAPH_OUTPUTS_MAX];
    for (uint32_t i = 0; i < g->world->code.ops.results_count[op.row]; i++)
        values[i] = op_result(&g->world->code, op, i);
    return graph_run(g, values, g->world->code.ops.results_count[op.row]);
}

#endif
