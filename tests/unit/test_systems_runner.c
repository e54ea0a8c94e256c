/* The runner refuses systems whose needs are not met, skips what it is told to, bisects by fuel,
 * and verify finds damaged code. */
#include "harness.h"
#include "systems/runner.h"

/* f(x) = (x + 0) * 1, with an unused row. */
static World *make_world(void) {
    World *world = world_open(0, 1 << 12);
    ASSERT(world != NULL);
    Build  build = {.world = world, .code = &world->code};
    DimId  size = dims_symbol(&world->dims, strings_add(&world->strings, STR("B")));
    TypeId type = types_type(&world->types, DTYPE_F32, types_shape(&world->types, &size, 1));
    build.block = code_add_block(&world->code, (OpId){0}, 1);
    ValueId x = world->code.blocks.args_first[build.block.row];
    world->code.values.type[x.row] = type;
    ValueId sum = build_binary(&build, OP_ADD, x, build_splat(&build, x, 0));
    ValueId product = build_binary(&build, OP_MUL, sum, build_splat(&build, x, 1));
    (void)build_unary(&build, OP_EXP, x);
    (void)build_row(&build, OP_RETURN, &product, 1, NULL, 0);
    world->code.blocks.op_last[build.block.row] = world->code.ops.table.count;
    (void)code_add_graph(&world->code, strings_add(&world->strings, STR("f")), build.block);
    return world;
}
static uint32_t rows(const World *world) { return world->code.ops.table.count - 1; }

TEST(needs_are_checked) {
    (void)arena;
    World *world = make_world();
    Runner runner;
    runner_open(&runner, world, NULL);
    EXPECT(!runner_run(&runner, SYSTEM_fold));
    EXPECT_EQ(world->diags.rows.kind[1], DIAG_SYSTEM_NEEDS);
    runner_close(&runner);
    world_close(world);
}

TEST(algebra_and_dead_rows_disappear) {
    (void)arena;
    World *world = make_world();
    Runner runner;
    runner_open(&runner, world, NULL);
    EXPECT(runner_compile(&runner));
    EXPECT_EQ(world->diags.errors, 0);
    EXPECT_EQ(rows(world), 2); /* a copy into the output, and return */
    EXPECT_EQ(runner.runs_count, 24);
    runner_close(&runner);
    world_close(world);
}

TEST(fuel_stops_rewrites_one_by_one) {
    (void)arena;
    uint32_t before = 0;
    for (uint32_t fuel = 0; fuel < 3; fuel++) {
        World *world = make_world();
        Runner runner;
        runner_open(&runner, world, NULL);
        runner.ctx.fuel = fuel;
        EXPECT(runner_run(&runner, SYSTEM_verify) && runner_run(&runner, SYSTEM_infer) &&
               runner_run(&runner, SYSTEM_fold));
        EXPECT_EQ(runner.runs[2].changed, fuel);
        if (fuel > 0) EXPECT(rows(world) < before);
        before = rows(world);
        runner_close(&runner);
        world_close(world);
    }
}

TEST(skipped_systems_do_nothing) {
    (void)arena;
    World *world = make_world();
    Runner runner;
    runner_open(&runner, world, NULL);
    runner.skip = (uint64_t)1 << SYSTEM_dead;
    uint32_t before = rows(world);
    EXPECT(runner_run(&runner, SYSTEM_verify) && runner_run(&runner, SYSTEM_dead));
    EXPECT(runner.runs[1].skipped);
    EXPECT_EQ(rows(world), before);
    runner_close(&runner);
    world_close(world);
}

TEST(verify_finds_operands_that_come_later) {
    (void)arena;
    World *world = make_world();
    Runner runner;
    runner_open(&runner, world, NULL);
    world->code.operands.value[world->code.ops.operands_first[3]] =
        world->code.ops.results_first[5];
    EXPECT(!runner_run(&runner, SYSTEM_verify));
    EXPECT_EQ(world->diags.rows.kind[1], DIAG_CODE_INVALID);
    runner_close(&runner);
    world_close(world);
}
