/* Messages: the layout of a diagnostic, and that nothing in one can make printing it fail. */
#include "harness.h"
#include "text/messages.h"
#include "text/parse.h"

TEST(messages_show_place_and_advice) {
    String source =
        STR("graph g(%x: f32[4,8], %w: f32[9,2]) {\n  %y = matmul %x, %w\n  return %y\n}\n");
    World *world = world_open(0, 1 << 12);
    REQUIRE(world != NULL);
    EXPECT(!text_parse(world, source, STR("mlp.ir")));
    String text = text_diags_in(arena, world, &world->diags, source);
    EXPECT_STR(text.data, "error[SHAPE_MISMATCH] mlp.ir:2:8: matmul: inner sizes differ: 8 and 9\n"
                          "      %y = matmul %x, %w\n"
                          "           ^\n"
                          "  help: check the shapes of the operands where they are declared\n");
    EXPECT_STR(text_diag_args(arena, world, &world->diags, (DiagId){1}).data,
               "matmul inner sizes differ 8 9");
    EXPECT_STR(text_diag_message(arena, world, &world->diags, (DiagId){1}).data,
               "matmul: inner sizes differ: 8 and 9");
    world_close(world);
}

TEST(messages_show_notes) {
    World *world = world_open(0, 1 << 12);
    REQUIRE(world != NULL);
    EXPECT(!text_parse(world, STR("graph g(%x: f32) { %y = nef %x return %y }"), STR("a.ir")));
    String text = text_diags(arena, world, &world->diags);
    EXPECT_STR(text.data, "error[OP_UNKNOWN] a.ir:1:25: unknown operator 'nef'\n"
                          "  note: did you mean 'neg'?\n"
                          "  help: the operators are listed in docs/ops\n");
    EXPECT_STR(text_diag(arena, world, &world->diags, (DiagId){1}).data, text.data);
    world_close(world);
}

TEST(messages_of_one_kind_are_cut_short) {
    World *world = world_open(0, 1 << 12);
    REQUIRE(world != NULL);
    for (int i = 0; i < 9; i++) (void)diags_add(&world->diags, DIAG_CKPT_MISSING, 0, 0, 0, 0, 0);
    (void)diags_add(&world->diags, DIAG_NO_GRAPH, 0, 0, 0, 0, 0);
    String text = text_diags(arena, world, &world->diags);
    int    count = 0;
    for (const char *at = text.data; (at = strstr(at, "error[CKPT_MISSING]")) != NULL; at++)
        count++;
    EXPECT_EQ(count, 4);
    EXPECT(strstr(text.data, "error[NO_GRAPH]") != NULL);
    EXPECT(strstr(text.data, "and 5 more like [CKPT_MISSING]\n") != NULL);
    world_close(world);
}

/* Every kind, with arguments that name nothing, with a world and without. */
TEST(messages_never_fail) {
    World *world = world_open(0, 1 << 12);
    REQUIRE(world != NULL);
    for (uint32_t kind = 1; kind < DIAG_KIND_COUNT; kind++) {
        uint64_t wild = kind % 2 != 0 ? UINT64_MAX : 77;
        (void)diags_add(&world->diags, (DiagKind)kind, 1000, wild, wild, wild, wild);
    }
    EXPECT(text_diags(arena, world, &world->diags).count > 1000);
    EXPECT(text_diags(arena, NULL, &world->diags).count > 1000);
    EXPECT_STR(text_type(arena, world, (TypeId){9}).data, "?");
    EXPECT_STR(text_shape(arena, world, (ShapeId){1}).data, "[]");
    EXPECT_STR(text_dim(arena, world, (DimId){0}).data, "?");
    world_close(world);
}
