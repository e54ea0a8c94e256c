/* Large blocks: the storage of tensors, from jemalloc, one jemalloc arena per NUMA node.
 *
 * Why not arenas: tensors come and go in any order and in sizes from bytes to gigabytes, and freed
 * pages must be found again within a step; jemalloc keeps them mapped for that (dirty pages decay
 * over seconds). Why 64-byte and not huge-page alignment: jemalloc starts large blocks at varying
 * cache lines, so that equal offsets of several tensors do not meet in one cache set.
 *
 * Invariants: a block is charged with what jemalloc really takes (nallocx), which depends on the
 * size alone, so block_close refunds the same; blocks bypass the thread caches, so a block may be
 * closed by another thread and its memory returns to its node. */
#include "arena/block.h"

#include <jemalloc/jemalloc.h>
#include <threads.h>

#include "arena/inner.h"
#include "arena/os.h"
#include "arena/topology.h"

enum { BLOCK_ALIGN = 64 };
static const size_t block_huge_min = (size_t)2 << 20;

static once_flag nodes_once = ONCE_FLAG_INIT;
static int       nodes_flags[TOPOLOGY_NODES_MAX]; /* MALLOCX_ARENA of each node, or 0 */
static uint32_t  nodes_count;

static void nodes_make(void) {
    nodes_count = topology_nodes();
    ASSERT(nodes_count > 0 && nodes_count <= TOPOLOGY_NODES_MAX);
    for (uint32_t node = 0; node < nodes_count; node++) {
        unsigned arena = 0;
        size_t   bytes = sizeof arena;
        if (mallctl("arenas.create", &arena, &bytes, NULL, 0) != 0) continue; /* shared default */
        nodes_flags[node] = (int)MALLOCX_ARENA(arena);
    }
}

/* mallocx leaves 0 bytes undefined. */
static size_t block_size(size_t bytes) { return bytes > 0 ? bytes : 1; }

/* Advice for every page the block touches; pages at the ends belong to jemalloc as well. */
static void block_advise(void *block, size_t bytes) {
    uintptr_t page = os_page_bytes(), first = (uintptr_t)block & ~(page - 1);
    ASSERT(bytes >= block_huge_min);
    os_advise_huge((void *)first, memory_round((uintptr_t)block + bytes, page) - first);
}

void *block_open(size_t bytes, int numa_node, Budget *budget) {
    call_once(&nodes_once, nodes_make);
    uint32_t node = numa_node < 0 ? topology_node_here() : (uint32_t)numa_node;
    if (node >= nodes_count) node = 0; /* a plan made for a larger machine */
    int    flags = MALLOCX_ALIGN(BLOCK_ALIGN) | MALLOCX_TCACHE_NONE | nodes_flags[node];
    size_t taken = bytes < PTRDIFF_MAX ? nallocx(block_size(bytes), flags) : 0;
    if (taken == 0 || !budget_charge(budget, taken)) return NULL;
    void *block = os_commit(NULL, 0) ? mallocx(block_size(bytes), flags) : NULL;
    if (!block) {
        budget_refund(budget, taken);
        return NULL;
    }
    ASSERT((uintptr_t)block % BLOCK_ALIGN == 0);
    MEMORY_UNPOISON(block, taken);
    if (bytes >= block_huge_min) block_advise(block, bytes);
    if (bytes >= block_huge_min && nodes_count > 1) topology_node_bind(block, bytes, node);
    memory_fill(block, bytes);
    return block;
}

void block_close(void *block, size_t bytes, Budget *budget) {
    if (!block) return;
    int    flags = MALLOCX_ALIGN(BLOCK_ALIGN) | MALLOCX_TCACHE_NONE;
    size_t taken = nallocx(block_size(bytes), flags);
    ASSERT(sallocx(block, 0) == taken); /* closed with the size it was opened with */
    memory_fill(block, bytes);
    MEMORY_POISON(block, taken); /* jemalloc keeps the addresses, so nobody else trips over it */
    sdallocx(block, block_size(bytes), flags);
    budget_refund(budget, taken);
}
