/* Large blocks: the storage of tensors, from jemalloc, one jemalloc arena per NUMA node.
 *
 * Why not arenas: tensors come and go in any order and in sizes from bytes to gigabytes, and freed
 * pages must be found again within a step; jemalloc keeps them mapped for that (dirty pages decay
 * over seconds). Why 64-byte and not huge-page alignment: jemalloc starts large blocks at varying
 * cache lines, so that equal offsets of several tensors do not meet in one cache set.
 *
 * jemalloc is referred to weakly: programs that link the layers or libstoa.a have it, libstoa.so
 * has not, because its thread-local memory could not be had by dlopen. There a jemalloc of the
 * program is used if it shows one, and aligned_alloc otherwise.
 *
 * Invariants: a block is charged with what is really taken (nallocx), which depends on the size
 * alone, so block_close refunds the same; blocks bypass the thread caches, so a block may be closed
 * by another thread and its memory returns to its node. */
#include "arena/block.h"

#include <stdlib.h>
#include <threads.h>

#include "arena/inner.h"
#include "arena/os.h"
#include "arena/topology.h"

#ifdef STOA_HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#pragma weak mallocx
#pragma weak nallocx
#pragma weak sallocx
#pragma weak sdallocx
#pragma weak mallctl
#endif

enum { BLOCK_ALIGN = 64 };
static const size_t block_huge_min = (size_t)2 << 20;

static once_flag nodes_once = ONCE_FLAG_INIT;
static uint32_t  nodes_count;

/* --- where blocks come from: jemalloc, or the allocator of the program ------------------------ */
/* mallocx leaves 0 bytes undefined. */
static size_t block_size(size_t bytes) { return bytes > 0 ? bytes : 1; }
static size_t plain_bytes(size_t bytes) { return memory_round(block_size(bytes), BLOCK_ALIGN); }

#ifdef STOA_HAVE_JEMALLOC
#define BLOCK_FLAGS (MALLOCX_ALIGN(BLOCK_ALIGN) | MALLOCX_TCACHE_NONE)
static int nodes_flags[TOPOLOGY_NODES_MAX]; /* MALLOCX_ARENA of each node, or 0 */

bool block_from_jemalloc(void) { return mallocx != NULL; }

static void node_make(uint32_t node) {
    unsigned arena = 0;
    size_t   bytes = sizeof arena;
    if (mallctl("arenas.create", &arena, &bytes, NULL, 0) != 0) return; /* shared default */
    nodes_flags[node] = (int)MALLOCX_ARENA(arena);
}
static size_t block_taken(size_t bytes) {
    return mallocx != NULL ? nallocx(block_size(bytes), BLOCK_FLAGS) : plain_bytes(bytes);
}
static void *block_take(size_t bytes, uint32_t node) {
    return mallocx != NULL ? mallocx(block_size(bytes), BLOCK_FLAGS | nodes_flags[node])
                           : aligned_alloc(BLOCK_ALIGN, plain_bytes(bytes));
}
static void block_give(void *block, size_t bytes) {
    if (mallocx == NULL) {
        free(block);
        return;
    }
    ASSERT(sallocx(block, 0) == block_taken(bytes)); /* closed with the size it was opened with */
    MEMORY_POISON(block, block_taken(bytes)); /* jemalloc keeps the addresses: nobody trips */
    sdallocx(block, block_size(bytes), BLOCK_FLAGS);
}
#else
bool          block_from_jemalloc(void) { return false; }
static void   node_make(uint32_t node) { (void)node; }
static size_t block_taken(size_t bytes) { return plain_bytes(bytes); }
static void  *block_take(size_t bytes, uint32_t node) {
     (void)node;
     return aligned_alloc(BLOCK_ALIGN, plain_bytes(bytes));
}
static void block_give(void *block, size_t bytes) {
    (void)bytes;
    free(block);
}
#endif

/* --- blocks ----------------------------------------------------------------------------------- */
static void nodes_make(void) {
    nodes_count = topology_nodes();
    ASSERT(nodes_count > 0 && nodes_count <= TOPOLOGY_NODES_MAX);
    for (uint32_t node = 0; node < nodes_count && block_from_jemalloc(); node++) node_make(node);
}

/* Advice for every page the block touches; pages at the ends belong to others as well. */
static void block_advise(void *block, size_t bytes) {
    uintptr_t page = os_page_bytes(), first = (uintptr_t)block & ~(page - 1);
    ASSERT(bytes >= block_huge_min);
    os_advise_huge((void *)first, memory_round((uintptr_t)block + bytes, page) - first);
}

void *block_open(size_t bytes, int numa_node, Budget *budget) {
    call_once(&nodes_once, nodes_make);
    uint32_t node = numa_node < 0 ? topology_node_here() : (uint32_t)numa_node;
    if (node >= nodes_count) node = 0; /* a plan made for a larger machine */
    size_t taken = bytes < PTRDIFF_MAX ? block_taken(bytes) : 0;
    if (taken == 0 || !budget_charge(budget, taken)) return NULL;
    void *block = os_commit(NULL, 0) ? block_take(bytes, node) : NULL;
    if (!block) {
        budget_refund(budget, taken);
        return NULL;
    }
    ASSERT((uintptr_t)block % BLOCK_ALIGN == 0);
    MEMORY_UNPOISON(block, taken);
    if (bytes >= block_huge_min) block_advise(block, bytes);
    if (bytes >= block_huge_min && numa_node >= 0 && nodes_count > 1)
        topology_node_bind(block, bytes, node);
    memory_fill(block, bytes);
    return block;
}

void block_close(void *block, size_t bytes, Budget *budget) {
    if (!block) return;
    memory_fill(block, bytes);
    block_give(block, bytes);
    budget_refund(budget, block_taken(bytes));
}
