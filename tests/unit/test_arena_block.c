/* Blocks: alignment, exact budgets, refusals of each kind, a block on every NUMA node, and blocks
 * that one thread opens and another closes. Sizes straddle the huge-page threshold, where advice
 * and binding begin. */
#include "harness.h"

#include <string.h>

#include "arena/block.h"
#include "arena/os.h"
#include "arena/workers.h"

TEST(block_sizes_and_alignment) {
    static const size_t sizes[] = {
        0, 1, 63, 64, 65, 4096, 100000, (size_t)3 << 20, (size_t)9 << 20};
    Budget budget = {.name = "blocks"};
    void  *blocks[LENGTH(sizes)];
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        blocks[i] = block_open(sizes[i], -1, &budget);
        REQUIRE(blocks[i]);
        EXPECT_EQ((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], (int)i, sizes[i]);
    }
    EXPECT(budget.bytes >= ((size_t)12 << 20));
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        const uint8_t *bytes = blocks[i];
        if (sizes[i] > 0) EXPECT(bytes[0] == i && bytes[sizes[i] - 1] == i);
        block_close(blocks[i], sizes[i], &budget);
    }
    EXPECT_EQ(budget.bytes, 0);
    block_close(NULL, 100, &budget);
}

#ifdef STOA_DEBUG
TEST(block_fills_undefined_bytes) {
    uint8_t *bytes = block_open(1000, -1, NULL);
    REQUIRE(bytes);
    EXPECT(bytes[0] == 0xAA && bytes[999] == 0xAA);
    block_close(bytes, 1000, NULL);
}
#endif

TEST(block_refusals) {
    Budget budget = {.name = "blocks", .bytes_max = 1 << 20};
    EXPECT(!block_open((1 << 20) + 1, -1, &budget));
    EXPECT_EQ(budget.bytes, 0);
    EXPECT(!block_open(SIZE_MAX, -1, NULL));
    EXPECT(!block_open((size_t)1 << 62, -1, NULL));
    fault_commit_nth(1);
    EXPECT(!block_open(64, -1, &budget));
    fault_commit_nth(0);
    EXPECT_EQ(budget.bytes, 0);
}

TEST(block_on_each_node) {
    Topology topology;
    topology_read(&topology);
    for (int node = 0; node <= (int)topology.numa_nodes; node++) { // one too many falls back
        void *block = block_open((size_t)4 << 20, node, NULL);
        REQUIRE(block);
        memset(block, 1, (size_t)4 << 20);
        block_close(block, (size_t)4 << 20, NULL);
    }
}

enum { BLOCKS = 16 };
typedef struct Exchange {
    Workers *workers;
    Budget   budget;
    void    *blocks[4][BLOCKS];
} Exchange;

static size_t block_bytes(size_t i) { return (size_t)100 << i % 14; }

/* Each lane opens, its neighbour closes. */
static void exchange(void *context, uint32_t lane, uint32_t lanes) {
    Exchange *all = context;
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            void *block = block_open(block_bytes(i), -1, &all->budget);
            if (block) memset(block, (int)lane, block_bytes(i));
            all->blocks[lane][i] = block;
        }
        workers_barrier(all->workers);
        for (size_t i = 0; i < BLOCKS; i++)
            block_close(all->blocks[(lane + 1) % lanes][i], block_bytes(i), &all->budget);
        workers_barrier(all->workers);
    }
}

TEST(block_threads) {
    Exchange all = {.budget = {.name = "blocks"}};
    REQUIRE(workers_open(arena, 4, true, &all.workers) == STATUS_OK);
    workers_run(all.workers, exchange, &all);
    workers_close(all.workers);
    EXPECT_EQ(all.budget.bytes, 0);
    EXPECT(all.budget.bytes_peak > 0);
}
