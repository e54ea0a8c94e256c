/* What the machine offers to this process: cores, caches, NUMA nodes, and its container's limits.
 *
 * Three things can be smaller than the machine and all are read: the affinity mask (taskset, a
 * batch system), the cgroup's processor quota, and the cgroup's memory limit. A quota has no
 * mask: twelve visible cores with a quota of two run two threads well and twelve badly, hence
 * cpu_limit.
 *
 * hwloc is loaded once a process (milliseconds) and kept; the mask is read anew at each question,
 * because programs change it. Where hwloc fails, the process is taken to have one core. */
#define _GNU_SOURCE
#include "arena/topology.h"

#include <fcntl.h>
#include <hwloc.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arena/os.h"

enum { FILE_BYTES = 16 << 10 }; /* the first processor of cpuinfo is a few KiB */
static const uint64_t unlimited_min = (uint64_t)1
                                      << 60; /* cgroup v1 says "none" with a huge number */

static hwloc_topology_t machine; /* NULL if hwloc failed */
static pthread_once_t   machine_once = PTHREAD_ONCE_INIT;

static void machine_load(void) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return;
    if (hwloc_topology_load(topology) == 0)
        machine = topology;
    else
        hwloc_topology_destroy(topology);
}

static hwloc_topology_t machine_get(void) {
    (void)pthread_once(&machine_once, machine_load);
    return machine;
}

/* --- processors ------------------------------------------------------------------------------- */

/* The mask of the main thread: a lane that asks is bound to one core itself. NULL without hwloc. */
static hwloc_bitmap_t cpus_allowed(hwloc_topology_t topology) {
    hwloc_bitmap_t allowed = topology ? hwloc_bitmap_alloc() : NULL;
    if (!allowed) return NULL;
    int error = hwloc_get_proc_cpubind(topology, getpid(), allowed, HWLOC_CPUBIND_THREAD);
    if (error) (void)hwloc_bitmap_copy(allowed, hwloc_topology_get_allowed_cpuset(topology));
    (void)hwloc_bitmap_and(allowed, allowed, hwloc_topology_get_allowed_cpuset(topology));
    return allowed;
}

/* Appends the turn-th allowed hardware thread of each core; returns the new count. */
static uint32_t cpus_of_turn(hwloc_topology_t topology, hwloc_const_bitmap_t allowed, uint32_t turn,
                             uint32_t *cpus, uint32_t count) {
    ASSERT(topology && allowed);
    hwloc_obj_t core = NULL;
    while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core))) {
        uint32_t sibling = 0;
        int      cpu = -1;
        while ((cpu = hwloc_bitmap_next(core->cpuset, cpu)) >= 0) {
            if (!hwloc_bitmap_isset(allowed, (unsigned)cpu)) continue;
            if (sibling++ == turn && count < TOPOLOGY_CPUS_MAX) cpus[count++] = (uint32_t)cpu;
        }
    }
    return count;
}

uint32_t topology_cpus(uint32_t out_cpus[TOPOLOGY_CPUS_MAX], uint32_t *out_cores) {
    ASSERT(out_cpus && out_cores);
    hwloc_topology_t topology = machine_get();
    hwloc_bitmap_t   allowed = cpus_allowed(topology);
    uint32_t         count = 0, before = 0;
    *out_cores = 0;
    for (uint32_t turn = 0; allowed && (turn == 0 || count > before); turn++) {
        before = count;
        count = cpus_of_turn(topology, allowed, turn, out_cpus, count);
        if (turn == 0) *out_cores = count;
    }
    hwloc_bitmap_free(allowed);
    if (count > 0) return count;
    int here = sched_getcpu(); /* no cores in the topology: the one we run on certainly exists */
    out_cpus[0] = here >= 0 ? (uint32_t)here : 0;
    *out_cores = 1;
    return 1;
}

bool topology_pin(uint32_t cpu) {
    hwloc_topology_t topology = machine_get();
    hwloc_bitmap_t   set = topology ? hwloc_bitmap_alloc() : NULL;
    if (!set) return false;
    (void)hwloc_bitmap_only(set, cpu);
    int error = hwloc_set_cpubind(topology, set, HWLOC_CPUBIND_THREAD);
    hwloc_bitmap_free(set);
    return error == 0;
}

/* --- NUMA ------------------------------------------------------------------------------------- */

uint32_t topology_nodes(void) {
    hwloc_topology_t topology = machine_get();
    int              nodes = topology ? hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE) : 1;
    if (nodes < 1) return 1;
    return nodes < TOPOLOGY_NODES_MAX ? (uint32_t)nodes : TOPOLOGY_NODES_MAX;
}

uint32_t topology_node_here(void) {
    uint32_t nodes = topology_nodes();
    unsigned node = 0;
    if (nodes == 1 || getcpu(NULL, &node) != 0) return 0;
    for (uint32_t i = 0; i < nodes; i++) {
        hwloc_obj_t object = hwloc_get_obj_by_type(machine_get(), HWLOC_OBJ_NUMANODE, i);
        if (object && object->os_index == node) return i;
    }
    return 0;
}

void topology_node_bind(void *memory, size_t bytes, uint32_t node) {
    ASSERT(memory);
    ASSERT(node < topology_nodes());
    hwloc_topology_t topology = machine_get();
    if (!topology) return;
    hwloc_obj_t object = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node);
    if (NEVER(!object)) return;
    (void)hwloc_set_area_membind(topology, memory, bytes, object->nodeset, HWLOC_MEMBIND_BIND,
                                 HWLOC_MEMBIND_BYNODESET); /* a refusal costs speed only */
}

/* --- limits of the container ------------------------------------------------------------------ */

/* The start of a file as a terminated text; empty if it cannot be read. These small files of the
 * kernel are not file operations to the fault counters. */
static bool file_text(const char *path, char *text, size_t capacity) {
    ASSERT(path && capacity > 0);
    size_t count = 0;
    int    handle = open(path, O_RDONLY | O_CLOEXEC);
    while (handle >= 0 && count < capacity - 1) {
        ssize_t got = read(handle, text + count, capacity - 1 - count);
        if (got <= 0) break;
        count += (size_t)got;
    }
    if (handle >= 0) (void)close(handle);
    text[count] = 0;
    return count > 0;
}

/* Processors of a quota, rounded up; 0 for no quota. v2: "max 100000" or "quota period". */
static uint32_t quota_cpus(const char *quota, const char *period) {
    long long share = strtoll(quota, NULL, 10), whole = strtoll(period, NULL, 10);
    if (share <= 0 || whole <= 0) return 0; /* "max" and -1 mean no quota */
    long long cpus = share / whole + (share % whole != 0);
    return cpus < TOPOLOGY_CPUS_MAX ? (uint32_t)cpus : 0;
}

static void limit_cpus(Topology *topology, uint32_t cpus) {
    if (cpus > 0 && (topology->cpu_limit == 0 || cpus < topology->cpu_limit))
        topology->cpu_limit = cpus;
}

static void limit_memory(Topology *topology, const char *text) {
    uint64_t bytes = strtoull(text, NULL, 10); /* "max" reads as 0 */
    if (bytes == 0 || bytes >= unlimited_min) return;
    if (topology->memory_limit_bytes == 0 || bytes < topology->memory_limit_bytes)
        topology->memory_limit_bytes = bytes;
}

/* Whatever limits one group sets, of either version; files that do not exist set none. */
static void group_limits(const char *dir, Topology *topology) {
    char path[PATH_MAX + 32], text[128], period[128];
    ASSERT(dir && topology);
    (void)snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (file_text(path, text, sizeof text)) {
        const char *second = strchr(text, ' ');
        limit_cpus(topology, quota_cpus(text, second ? second : ""));
    }
    (void)snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    if (file_text(path, text, sizeof text)) {
        (void)snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
        (void)file_text(path, period, sizeof period);
        limit_cpus(topology, quota_cpus(text, period));
    }
    (void)snprintf(path, sizeof path, "%s/memory.max", dir);
    if (file_text(path, text, sizeof text)) limit_memory(topology, text);
    (void)snprintf(path, sizeof path, "%s/memory.limit_in_bytes", dir);
    if (file_text(path, text, sizeof text)) limit_memory(topology, text);
}

/* A group and its parents. In a container the path may be the host's and not exist here; then the
 * walk still ends at the mount itself, which is the container's own group. */
static void groups_upward(const char *mount, const char *group, Topology *topology) {
    char dir[PATH_MAX];
    int  count = snprintf(dir, sizeof dir, "%s%s", mount, group);
    if (count < 0 || (size_t)count >= sizeof dir) return;
    size_t root = strlen(mount);
    for (;;) {
        group_limits(dir, topology);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < root) return;
        *slash = 0;
    }
}

/* One line of /proc/self/cgroup: "4:memory:/path", or "0::/path" for version 2. */
static void line_limits(String line, const char *root, Topology *topology) {
    static const struct {
        const char *mount, *controller;
    } places[] = {{"", ""},
                  {"/unified", ""},
                  {"/cpu", "cpu"},
                  {"/cpu,cpuacct", "cpu"},
                  {"/memory", "memory"}};
    ASSERT(root && topology);
    char text[PATH_MAX], mount[PATH_MAX];
    if (line.count >= sizeof text) return;
    (void)snprintf(text, sizeof text, "%.*s", STR_ARGS(line));
    char *controllers = strchr(text, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return;
    *controllers++ = 0;
    *group++ = 0;
    if (strcmp(group, "/") == 0) group = text + strlen(text); /* empty: the mount itself */
    for (size_t i = 0; i < LENGTH(places); i++) {
        bool second = places[i].controller[0] == 0;
        if (second != (controllers[0] == 0)) continue;
        if (!second && !strstr(controllers, places[i].controller)) continue;
        int count = snprintf(mount, sizeof mount, "%s%s", root, places[i].mount);
        if (count > 0 && (size_t)count < sizeof mount) groups_upward(mount, group, topology);
    }
}

void topology_limits(const char *self_cgroup, const char *root, Topology *out_topology) {
    ASSERT(self_cgroup && root);
    ASSERT(out_topology);
    out_topology->cpu_limit = 0;
    out_topology->memory_limit_bytes = 0;
    for (const char *line = self_cgroup; *line;) {
        size_t count = strcspn(line, "\n");
        line_limits((String){line, count}, root, out_topology);
        line += count + (line[count] == '\n');
    }
}

/* --- the summary ------------------------------------------------------------------------------ */

static bool line_has(const char *line, const char *word) {
    size_t bytes = strlen(word);
    ASSERT(bytes > 0);
    for (const char *at = line; (at = strstr(at, word)); at += bytes)
        if (at > line && at[-1] == ' ' && (at[bytes] == ' ' || at[bytes] == 0)) return true;
    return false;
}

/* The features that select kernels, as the kernel reports them: what the processor has and the
 * system saves. As many whole words as fit. */
static void read_features(char *out_features, size_t capacity) {
    static const char *const wanted[] = {"avx2",        "avx512f",     "avx512_vnni",
                                         "avx512_bf16", "avx512_fp16", "amx_bf16"};
    char                     text[FILE_BYTES];
    ASSERT(capacity > 0);
    (void)file_text("/proc/cpuinfo", text, sizeof text);
    char  *flags = strstr(text, "\nflags");
    size_t count = 0;
    out_features[0] = 0;
    if (!flags) return;
    flags[1 + strcspn(flags + 1, "\n")] = 0; /* of the first processor */
    for (size_t i = 0; i < LENGTH(wanted); i++) {
        size_t bytes = strlen(wanted[i]) + (count > 0);
        if (!line_has(flags, wanted[i]) || count + bytes + 1 > capacity) continue;
        (void)snprintf(out_features + count, capacity - count, "%s%s", count ? " " : "", wanted[i]);
        count += bytes;
    }
}

static uint64_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type) {
    hwloc_obj_t cache = topology ? hwloc_get_obj_by_type(topology, type, 0) : NULL;
    return cache && cache->attr ? cache->attr->cache.size : 0;
}

void topology_read(Topology *out_topology) {
    ASSERT(out_topology);
    *out_topology = (Topology){0};
    uint32_t         cpus[TOPOLOGY_CPUS_MAX];
    char             text[FILE_BYTES];
    hwloc_topology_t topology = machine_get();
    out_topology->cpus = topology_cpus(cpus, &out_topology->cores);
    out_topology->numa_nodes = topology_nodes();
    long pages = sysconf(_SC_PHYS_PAGES);
    if (pages > 0) out_topology->memory_bytes = (uint64_t)pages * os_page_bytes();
    (void)file_text("/proc/self/cgroup", text, sizeof text);
    topology_limits(text, "/sys/fs/cgroup", out_topology);
    out_topology->l1d_bytes = cache_bytes(topology, HWLOC_OBJ_L1CACHE);
    out_topology->l2_bytes = cache_bytes(topology, HWLOC_OBJ_L2CACHE);
    out_topology->l3_bytes = cache_bytes(topology, HWLOC_OBJ_L3CACHE);
    hwloc_obj_t package = topology ? hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0) : NULL;
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    (void)snprintf(out_topology->cpu_model, sizeof out_topology->cpu_model, "%s",
                   model ? model : "unknown");
    read_features(out_topology->features, sizeof out_topology->features);
}
