/* Binding of plans on the stand-in driver: what has no kernel is said with its operator and place,
 * and a plan that is refused leaves nothing behind. What the kernels compute, the tests with the
 * label `gpu` show on a device. */
#define _GNU_SOURCE
#include "build_graph.h"
#include "fake_gpu.h"
#include "gpu/run_inner.h"

TEST(gpu_describes_what_it_launches) {
    Target target;
    gpu_describe(&target, false);
    EXPECT_STR(target.name, "cuda");
    EXPECT(target.compiles && target.threads);
    EXPECT(target.has_kernel[OP_SCATTER] && !target.has_kernel[OP_FFT]);
    EXPECT(!target.keep[OP_ATTENTION] && !target.keep[OP_CROSS_ENTROPY]);
    gpu_describe(&target, true);
    EXPECT(target.keep[OP_ATTENTION] && target.keep[OP_ATTENTION_GRAD]);
}

/* Products that are given a scale for each block; others are made of products and sums later. */
TEST(gpu_keeps_products_scaled_by_blocks) {
    Target target;
    gpu_describe(&target, false);
    EXPECT(target.keep[OP_DOT_BIAS]);
    for (uint64_t block = 0; block < 256; block += 128) {
        Graph    g = graph_open(arena);
        uint64_t words[] = {true, true, block};
        (void)graph_input(&g, DTYPE_F8E4M3, SHAPE(8, 256), NUMBERS(0));
        (void)graph_input(&g, DTYPE_F8E4M3, SHAPE(384, 256), NUMBERS(0));
        (void)(block ? graph_input(&g, DTYPE_F32, SHAPE(2, 8), NUMBERS(0))
                     : graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(0)));
        (void)(block ? graph_input(&g, DTYPE_F32, SHAPE(3, 4), NUMBERS(0))
                     : graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(0)));
        graph_begin(&g);
        OpId op = build_row(&g.build, OP_DOT_BIAS, g.args, 4, words, 0);
        EXPECT_EQ(target.keeps(g.world, op), block != 0);
        graph_close(&g);
    }
}

/* Attention goes to cuDNN where its types allow: 16-bit floats, widths of a head up to 128. */
TEST(gpu_keeps_attention_that_cudnn_takes) {
    static const struct {
        Dtype   dtype;
        int64_t width;
        bool    kept;
    } cases[] = {{DTYPE_BF16, 64, true},
                 {DTYPE_F16, 128, true},
                 {DTYPE_F32, 64, false},
                 {DTYPE_BF16, 60, false},
                 {DTYPE_BF16, 256, false}};
    Target target;
    gpu_describe(&target, true);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        Graph    g = graph_open(arena);
        uint64_t causal[2] = {0, 1};
        for (int k = 0; k < 3; k++)
            (void)graph_input(&g, cases[i].dtype, SHAPE(2, 3, 16, cases[i].width), NUMBERS(0));
        graph_begin(&g);
        OpId op = build_row(&g.build, OP_ATTENTION, g.args, 3, causal, 0);
        EXPECT_EQ(target.keeps(g.world, op), cases[i].kept);
        graph_close(&g);
    }
}

TEST(gpu_says_what_has_no_kernel) {
    FakeGpu  f;
    GpuKit  *kit = NULL;
    GpuPlan *gpu = NULL;
    Graph    g = graph_open(arena);
    REQUIRE(fake_gpu_open(&f, arena));
    (void)graph_input(&g, DTYPE_F32, SHAPE(4, 4), NUMBERS(0));
    graph_begin(&g);
    OpId op = build_row(&g.build, OP_QR, g.args, 1, NULL, 0);
    graph_finish(&g, &(ValueId){op_result(&g.world->code, op, 0).row}, 1);
    Plan    *plan = plan_open(g.world, NULL, g.graph);
    uint32_t row = plan_add_launch(plan);
    uint32_t first = table_add_many(&plan->args.table, 2);
    int64_t  dims[2] = {4, 4}, strides[2] = {4, 1};
    plan->launches.opcode[row] = OP_QR;
    plan->launches.operands[row] = 1;
    plan->launches.args_first[row] = first;
    plan->launches.args_count[row] = 2;
    plan->launches.op[row] = op;
    plan->launches.attrs[row] = g.world->code.ops.attrs[op.row];
    for (uint32_t i = 0; i < 2; i++)
        plan->args.arg[first + i] = (LaunchArg){
            .dtype = DTYPE_F32, .rank = 2, .dense = true, .dims = dims, .strides = strides};
    REQUIRE(gpu_kit_open(arena, f.gpu, &(GpuKitOptions){0}, &f.diags, &kit) == STATUS_OK);
    EXPECT_EQ(gpu_bind(arena, plan, NULL, kit, &f.diags, &gpu), STATUS_UNSUPPORTED);
    EXPECT(gpu == NULL && diags_of(&f.diags, DIAG_GPU_NO_KERNEL) == 1);
    EXPECT_EQ(f.diags.rows.op[1], op.row);
    gpu_kit_close(kit);
    plan_close(plan);
    graph_close(&g);
    fake_gpu_close(&f);
}

/* Working memory lies where nothing is alive: buffers of launches 1 to 3, and what is between. */
TEST(gpu_gaps_of_the_arena_are_free) {
    static const struct {
        uint64_t offset, bytes;
        uint32_t slot, first, last;
    } rows[] = {{0, 1000, 0, 1, 3},   {2048, 512, 0, 2, 2},       {1024, 256, 0, 1, 1},
                {2048, 512, 0, 1, 1}, {4096, 256, 0, 3, 3},       {0, 4352, 1, 1, 3},
                {2560, 0, 0, 1, 3},   {1280, 9, 0, UINT32_MAX, 0}};
    static const RunGap wanted[][3] = {{{1280, 2048}, {2560, 8192}},
                                       {{1024, 2048}, {2560, 8192}},
                                       {{1024, 4096}, {4352, 8192}},
                                       {{0, 8192}}};
    RunGap              gaps[LENGTH(rows) + 1];
    Graph               g = graph_open(arena);
    Plan               *plan = plan_open(g.world, NULL, g.graph);
    Buffers            *buffers = &plan->buffers;
    const TableInfo    *info = buffers->table.info;
    *buffers = (Buffers){0};
    table_open_in(&buffers->table, info, LENGTH(rows) + 1, arena);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        uint32_t row = table_add(&buffers->table);
        buffers->value[row] = (ValueId){0};
        buffers->slot[row] = rows[i].slot;
        buffers->offset[row] = rows[i].offset;
        buffers->bytes[row] = rows[i].bytes;
        buffers->first[row] = rows[i].first;
        buffers->last[row] = rows[i].last;
        buffers->over[row] = 0;
    }
    plan->arena_bytes = 8192;
    for (uint32_t launch = 1; launch <= LENGTH(wanted); launch++) {
        uint32_t count = run_gaps(plan, launch, gaps);
        EXPECT_EQ(count, launch == 4 ? 1u : 2u);
        for (uint32_t i = 0; i < count; i++) {
            EXPECT_EQ(gaps[i].begin, wanted[launch - 1][i].begin);
            EXPECT_EQ(gaps[i].end, wanted[launch - 1][i].end);
        }
    }
    plan_close(plan);
    graph_close(&g);
}
