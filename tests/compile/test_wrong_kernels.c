/* Kernels that are damaged on purpose: running them as loop tables says what is wrong and where,
 * and touches no memory outside their buffers. */
#include "compile_check.h"

TEST(a_place_outside_its_buffer_is_told) {
    Check c;
    REQUIRE(check_open(&c, arena, STR("graph f(%x: f32[4]) {\n  %y = exp %x\n  return %y\n}\n")));
    CheckSize sizes[] = {{NULL, 0}};
    Loops    *loops = &c.runners[FORM_SCHEDULED].loops;
    REQUIRE(EXPECT(check_run(&c, sizes)));
    for (uint32_t row = 1; row < loops->nodes.table.count; row++)
        if (loops->nodes.kind[row] == NODE_LOOP)
            loops->nodes.extent[row] = dims_const(&loops->dims, 9);
    EXPECT(!check_run(&c, sizes));
    World *world = c.worlds[FORM_SCHEDULED];
    EXPECT_EQ(world->diags.rows.kind[world->diags.rows.table.count - 1], DIAG_KERNEL_WRONG);
    check_close(&c);
}
