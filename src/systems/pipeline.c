/* The order of systems, one line each. Compiling is independent of sizes; planning happens once
 * per shape class on the compiled world.
 *
 * Dead rows are dropped twice: tangent rows before they would be expanded, and what folding left
 * over. */
#include "systems/fit.h"

static bool run_all(Runner *runner, const SystemKind *kinds, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!runner_run(runner, kinds[i])) return false;
    return true;
}

static bool derive_and_lower(Runner *runner) {
    static const SystemKind steps[] = {
        SYSTEM_differentiate, SYSTEM_inline,   SYSTEM_dead,   SYSTEM_delay,
        SYSTEM_expand,        SYSTEM_fold,     SYSTEM_dedupe, SYSTEM_sums,
        SYSTEM_hoist,         SYSTEM_epilogue, SYSTEM_totals, SYSTEM_keep,
        SYSTEM_dead,          SYSTEM_chunk,    SYSTEM_dead,   SYSTEM_fuse,
        SYSTEM_order,         SYSTEM_layout,   SYSTEM_lower,
    };
    return run_all(runner, steps, LENGTH(steps));
}
bool runner_compile(Runner *runner) {
    static const SystemKind steps[] = {SYSTEM_verify, SYSTEM_infer, SYSTEM_inline, SYSTEM_narrow,
                                       SYSTEM_combine};
    if (!run_all(runner, steps, LENGTH(steps))) return false;
    return runner->ctx.budget == 0 ? derive_and_lower(runner)
                                   : fit_states(runner, derive_and_lower);
}

bool runner_plan(Runner *runner, Plan *plan) {
    static const SystemKind steps[] = {SYSTEM_launch, SYSTEM_memory};
    runner->ctx.plan = plan;
    bool good = run_all(runner, steps, LENGTH(steps));
    runner->ctx.plan = NULL;
    return good;
}
