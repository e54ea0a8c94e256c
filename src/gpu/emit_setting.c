/* How a phase is laid out on the device at concrete sizes and addresses: threads of a team, what
 * they hold of a row and where, how wide groups are and where they begin. Numbers were measured on
 * an H100 (note 0012). Nothing but sizes and the alignment of addresses decides, so that results
 * do not depend on the device's load. */
#include "gpu/emit_inner.h"

enum {
    STAGE_BLOCK = 128,       /* rows that a block stages */
    STAGE_ROWS = 8192,       /* least rows that are staged */
    STAGE_LEAST = 5,         /* elements of such a row */
    STAGE_BYTES = 48 * 1024, /* of a block */
    JOIN_MAX = 128,          /* teams of a block that share rows */
    BARRIERS = 15,           /* of a block, beside the one of all its threads */
    FEW_GROUPS = 512,        /* least groups of a row for each block of a cluster */
    INDEX_MAX = 1 << 30      /* of narrow indices: loops may step past the end */
};

/* --- sizes ------------------------------------------------------------------------------------ */
int64_t gpu_emit_buffer_bytes(const Loops *loops, KernelId kernel, uint32_t row,
                              const int64_t *params) {
    int64_t bytes = dtype_bytes((Dtype)loops->buffers.dtype[row]);
    ListId  dims = loops->buffers.dims[row];
    for (uint32_t i = 0; i < list_count(&loops->lists, dims); i++)
        bytes *= gpu_emit_size(loops, kernel, list_dim(loops, dims, i), params);
    return bytes;
}
int64_t gpu_emit_lane_bytes(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                            const int64_t *params, uint32_t held) {
    int64_t  bytes = 0;
    uint32_t first = loops->kernels.buffers_first[kernel.row];
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++)
        if (phase->lane[i] && !(phase->promoted[i] && held != 0))
            bytes += (gpu_emit_buffer_bytes(loops, kernel, first + i, params) + 15) / 16 * 16;
    return bytes;
}
int64_t gpu_emit_rows(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                      const int64_t *params) {
    if (phase->parallel == 0) return 1;
    return gpu_emit_size(loops, kernel, loops->nodes.extent[phase->parallel], params);
}

/* --- settings --------------------------------------------------------------------------------- */
/* Few sizes of teams, so that few settings are compiled; teams that go over many rows have just the
 * warps that a row needs. */
static const uint16_t team_sizes[] = {1, 8, 32, 128, 256, 512, EMIT_TEAM_MAX};
/* Groups of a row that a thread holds, at most: of one row, and of many. Measured on an H100: wide
 * teams hide what waits between the sums of a row; many rows need registers for the next one. */
static const uint8_t held_most[2][LENGTH(team_sizes)] = {{1, 2, 4, 2, 4, 4, 8},
                                                         {1, 1, 1, 1, 1, 1, 2}};
enum { ODD_LEAST = 16 };   /* elements of rows that are worth to be read in shifted groups */
enum { ROWS_SHORT = 128 }; /* that are summed both ways: element by element, no thread is idle */
enum { SHARED_WHOLE = 224 * 1024, SHARED_HALF = 106 * 1024 }; /* for held rows; for one of two */
/* Words that a thread with 48, and with 64, registers holds without moving others to memory. */
enum { WORDS_FEW = 16, WORDS_MANY = 32, WORDS_WELL = 48, COLUMNS_HELD = 3 };
enum {
    RING_BLOCK = 512, /* threads that have 128 registers */
    RING_WORDS = 64,  /* of them that hold sums and what is the same in all rows */
    RING_BYTES = 208 * 1024,
    RING_MAX = 4,
    RING_COLUMNS = 8 /* rows, where they are only summed */
};
static uint16_t team_of(int64_t groups, uint32_t most) {
    uint16_t team = 1;
    for (uint32_t i = 0; i < LENGTH(team_sizes) && team < groups && team_sizes[i] <= most; i++)
        team = team_sizes[i];
    return team;
}
int64_t gpu_emit_longest(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                         const int64_t *params) {
    int64_t most = 0;
    for (uint32_t i = 0; i < phase->leaves_count; i++) {
        int64_t extent = gpu_emit_size(loops, kernel, phase->leaves[i].extent, params);
        if (extent > most) most = extent;
    }
    return most;
}
/* Groups of a row, of which the first may begin before it. */
static int64_t groups_in(const EmitSetting *s, int64_t row) {
    return row == 0 ? 0 : (row + (s->led ? s->vector - 1 : 0) + s->vector - 1) / s->vector;
}
bool gpu_emit_narrow(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                     const int64_t *params) {
    for (uint32_t i = 0; i < phase->places_count; i++) {
        DimRange range = gpu_emit_range(loops, kernel, phase->places[i], params);
        if (range.lo < -INDEX_MAX || range.hi > INDEX_MAX) return false;
    }
    return !phase->wide;
}
/* Whether groups of so many elements of a buffer (or units of 16 bytes of them) are aligned where a
 * place is that of group 0. */
static bool is_aligned(const Loops *loops, KernelId kernel, uint32_t row, DimId rest,
                       const int64_t *params, const CuPtr *args, uint32_t vector) {
    uint32_t bytes = dtype_bytes((Dtype)loops->buffers.dtype[row]);
    uint32_t whole = bytes * vector < 16 ? bytes * vector : 16;
    bool     begins = args == NULL || loops->buffers.scope[row] != SCOPE_ARG ||
                  args[loops->buffers.arg[row]] % whole == 0;
    return begins && gpu_emit_multiple(loops, kernel, rest, params, whole / bytes);
}
/* args: addresses by position; NULL: aligned. */
bool gpu_emit_aligned(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                      const int64_t *params, const CuPtr *args, uint32_t vector) {
    for (uint32_t i = 0; i < phase->aligns_count; i++) {
        const EmitAlign *align = &phase->aligns[i];
        uint32_t         row = loops->kernels.buffers_first[kernel.row] + align->position;
        if (!is_aligned(loops, kernel, row, align->rest, params, args, vector)) return false;
    }
    return true;
}
static uint32_t aligned_vector(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                               const int64_t *params, const CuPtr *args, uint32_t most) {
    while (most > 1 && !gpu_emit_aligned(loops, kernel, phase, params, args, most)) most /= 2;
    return most;
}
/* Whether rows of the leading place begin at equal places of groups, in all their buffers. */
static bool is_led(const Loops *loops, KernelId kernel, const EmitPhase *phase, const CuPtr *args,
                   uint32_t vector) {
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < phase->aligns_count; i++) {
        uint32_t row = loops->kernels.buffers_first[kernel.row] + phase->aligns[i].position;
        uint32_t bytes = dtype_bytes((Dtype)loops->buffers.dtype[row]);
        bool     arg = args != NULL && loops->buffers.scope[row] == SCOPE_ARG;
        uint64_t at = arg ? args[loops->buffers.arg[row]] / bytes % vector : 0;
        if (phase->aligns[i].rest.row != phase->lead.row) continue;
        if (first != UINT64_MAX && at != first) return false;
        first = at;
    }
    return first != UINT64_MAX;
}
/* Whether the memory of teams keeps them within a block. */
static bool has_lanes(const Loops *loops, KernelId kernel, const EmitPhase *phase, bool held) {
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++)
        if (phase->lane[i] && !(phase->promoted[i] && held)) return true;
    return false;
}
static void set_team(EmitSetting *s, uint32_t block, uint32_t cluster, int64_t held) {
    s->team = (uint16_t)(block * cluster);
    s->block = (uint16_t)block;
    s->cluster = (uint8_t)cluster;
    s->held = (uint8_t)held;
}
static bool hold_shared(const Loops *loops, const EmitPhase *phase, int64_t groups, uint32_t block,
                        uint32_t cluster, EmitSetting *s) {
    int64_t threads = (int64_t)block * cluster, held = (groups + threads - 1) / threads;
    if (held == 0 || held > UINT8_MAX) return false;
    int64_t most = block < EMIT_TEAM_MAX ? SHARED_HALF : SHARED_WHOLE, each = held * cluster;
    block = (uint32_t)((groups + each - 1) / each + 31) / 32 * 32;
    int64_t bytes = held * (block + gpu_emit_shifted(s)) * s->vector * phase->held_bytes;
    for (uint32_t i = 0; i < phase->helds_count && s->odd; i++) {
        uint32_t row = phase->helds[i].buffer.row;
        if (s->vector * dtype_bytes((Dtype)loops->buffers.dtype[row]) % 16 != 0) return false;
    }
    if (bytes > most) return false;
    set_team(s, block, cluster, held);
    return s->shared = true;
}
/* Rows that would fill the registers of a multiprocessor, or more, lie in its shared memory: two of
 * them if they fit, so that one is read while the team of the other computes; in that of several
 * multiprocessors if they do not fit. */
static void choose_shared(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                          int64_t groups, EmitSetting *s) {
    if (phase->held_bytes == 0 || phase->next_bytes != 0 || phase->rows ||
        (s->held != 0 && s->team < EMIT_TEAM_MAX) || s->vector == 1)
        return;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++)
        if (phase->promoted[i] || phase->lane[i]) return;
    for (uint32_t block = EMIT_TEAM_MAX / 2; block <= EMIT_TEAM_MAX; block *= 2)
        for (uint32_t cluster = 1; cluster <= EMIT_CLUSTER_MAX; cluster *= 2)
            if (hold_shared(loops, phase, groups, block, cluster, s)) return;
}
/* Whether a thread has registers for so many groups. */
static bool fits_registers(const EmitPhase *phase, const EmitSetting *s, uint32_t block,
                           int64_t held) {
    return held * s->vector * phase->held_bytes / 4 <= (block < EMIT_TEAM_MAX ? 64 : 40);
}
/* Of a thread that holds groups of this row and the next. */
static uint32_t rows_words(const EmitPhase *phase, const EmitSetting *s, int64_t held) {
    uint32_t next = phase->next_bytes * (s->odd ? 2 : 1);
    return (uint32_t)held * s->vector * (phase->held_bytes + next) / 4;
}
/* Where nothing but sums of columns are held, what is in flight decides: threads hold as many
 * groups as they can. */
static void choose_columns(const EmitPhase *phase, int64_t groups, EmitSetting *s) {
    for (int64_t held = COLUMNS_HELD; held > 1; held--) {
        int64_t team = ((groups + held - 1) / held + 31) / 32 * 32;
        bool    fits = held <= 2 || team == 32; /* else registers do not suffice */
        if (!fits || rows_words(phase, s, held) > WORDS_WELL || team > EMIT_TEAM_MAX) continue;
        s->team = (uint16_t)team;
        s->held = (uint8_t)held;
        return;
    }
}
/* The loop whose rows can lie in shared memory, in whole units; 0: there is none, or several. */
static uint32_t ring_scope(const Loops *loops, const EmitPhase *phase, const EmitSetting *s) {
    uint32_t scope = 0;
    for (uint32_t i = 0; i < phase->helds_count; i++) {
        const EmitHeld *held = &phase->helds[i];
        uint32_t bytes = s->vector * dtype_bytes((Dtype)loops->buffers.dtype[held->buffer.row]);
        if (!gpu_emit_is_row(&loops->nodes, phase, held->scope)) continue;
        if ((scope != 0 && scope != held->scope) || bytes % 16 != 0 || (s->odd && !held->whole))
            return 0;
        scope = held->scope;
    }
    return scope;
}
/* Rows of a loop that registers do not hold lie in shared memory, several at once, in that of as
 * few multiprocessors as that takes; their sums and what is the same in all stay in registers. */
static bool choose_ring(const Loops *loops, const EmitPhase *phase, int64_t groups,
                        EmitSetting *s) {
    uint32_t kept = phase->held_bytes - phase->next_bytes;
    if (ring_scope(loops, phase, s) == 0) return false;
    for (uint32_t cluster = 1; cluster <= EMIT_CLUSTER_WHOLE; cluster *= 2) {
        int64_t  held = (groups + RING_BLOCK * cluster - 1) / (RING_BLOCK * cluster);
        uint32_t block =
            (uint32_t)((groups + held * cluster - 1) / (held * cluster) + 31) / 32 * 32;
        if (held > UINT8_MAX || held * s->vector * kept / 4 > RING_WORDS) continue;
        EmitSetting tried = *s;
        set_team(&tried, block, cluster, held);
        uint32_t rows = RING_BYTES / gpu_emit_ring_bytes(phase, &tried);
        if (rows < 2) continue;
        *s = tried;
        s->ring = (uint8_t)(rows < RING_MAX ? rows : RING_MAX);
        return true;
    }
    return false;
}
/* Long rows that a team goes over: each thread of a cluster holds two groups of their columns; of
 * as many blocks as that takes where they tell each other nothing. */
static void choose_long_rows(const Loops *loops, const EmitPhase *phase, int64_t groups,
                             EmitSetting *s) {
    int64_t blocks = (groups + 2 * EMIT_BLOCK - 1) / (2 * EMIT_BLOCK);
    if (!phase->tells && blocks * EMIT_BLOCK <= UINT16_MAX && blocks <= UINT8_MAX &&
        fits_registers(phase, s, EMIT_BLOCK, 2)) {
        set_team(s, EMIT_BLOCK, (uint32_t)blocks, 2);
        return;
    }
    /* Short ones that no thread holds are of many tensors: narrower groups (choose_narrower). */
    if (groups >= EMIT_BLOCK && choose_ring(loops, phase, groups, s)) return;
    for (uint32_t block = EMIT_TEAM_MAX / 2; block <= EMIT_TEAM_MAX && s->held == 0; block *= 2)
        for (uint32_t cluster = 1; cluster <= EMIT_CLUSTER_MAX && s->held == 0; cluster *= 2) {
            int64_t threads = (int64_t)block * cluster, held = (groups + threads - 1) / threads;
            if (held <= 2 && fits_registers(phase, s, EMIT_TEAM_MAX, held))
                set_team(s, block, cluster, held);
        }
}
/* Few long rows: several multiprocessors work on each. */
static void choose_few_rows(const Loops *loops, const EmitPhase *phase, int64_t rows,
                            int64_t groups, EmitSetting *s) {
    uint32_t cluster = EMIT_CLUSTER_MAX, block = EMIT_TEAM_MAX;
    while (cluster > 1 && (rows * cluster > EMIT_PROCESSORS || groups < cluster * FEW_GROUPS))
        cluster /= 2;
    if (cluster <= s->cluster) return;
    while (block > EMIT_BLOCK && groups <= (int64_t)cluster * block) block /= 2;
    int64_t threads = (int64_t)block * cluster, held = (groups + threads - 1) / threads;
    if (phase->held_bytes == 0) held = 0;
    if (held <= 8 && fits_registers(phase, s, block, held)) {
        set_team(s, block, cluster, held);
        s->shared = false;
    } else if (s->shared) {
        (void)hold_shared(loops, phase, groups, block, cluster, s);
    }
}
/* Whether a loop over rows does nothing but add them up. */
static bool only_sums(const Loops *loops, uint32_t loop) {
    for (uint32_t row = loop + 1; row < loop + loops->nodes.size[loop]; row++)
        if (loops->nodes.kind[row] == NODE_STORE) return false;
    return loop != 0;
}
/* Teams of a block that share its rows, with as many threads as registers allow; and where these
 * are scarce, or sums of columns are all there is, rows in shared memory. */
static void choose_joined(const Loops *loops, const EmitPhase *phase, EmitSetting *s) {
    uint32_t words = rows_words(phase, s, s->held), ring = s->ring;
    uint32_t threads = words > WORDS_WELL ? 512 : words > WORDS_FEW ? 1024 : 1344;
    bool     joins = phase->join != 0 && s->cluster == 1 && ring == 0;
    uint32_t scope = joins && !s->odd && s->team >= 32 ? ring_scope(loops, phase, s) : 0;
    if (only_sums(loops, scope)) {
        threads = 512;
        ring = RING_COLUMNS;
    } else if (scope != 0 && words > WORDS_MANY && words <= WORDS_WELL) {
        ring = 2;
    }
    if (joins) {
        uint32_t join = (threads < EMIT_TEAM_MAX ? threads : EMIT_TEAM_MAX) / s->team;
        uint32_t most = s->team > 32 ? BARRIERS : JOIN_MAX;
        if (join > most) join = most;
        s->join = join > 1 ? (uint8_t)join : 1;
        s->block = (uint16_t)(s->join > 1 ? s->join * s->team : s->block);
    }
    s->blocks = (uint8_t)(threads > s->block ? threads / s->block : 1);
    if (ring == 0) return;
    uint32_t fit = RING_BYTES / gpu_emit_ring_bytes(phase, s);
    s->ring = (uint8_t)(fit < 2 ? 0 : fit < ring ? fit : ring);
    s->blocks = 1;
}
/* How many threads work on a row, and whether they hold it. */
static void choose_team(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                        const int64_t *params, EmitSetting *s) {
    int64_t longest = gpu_emit_longest(loops, kernel, phase, params);
    int64_t groups = groups_in(s, longest), row_groups = 0;
    s->held = 0;
    s->team = team_of(groups, EMIT_BLOCK);
    if (phase->held_bytes != 0) {
        int64_t row = gpu_emit_size(loops, kernel, phase->held_extent, params);
        row_groups = groups_in(s, row);
        for (uint32_t i = 0; i < LENGTH(team_sizes) && row_groups > 0; i++) {
            uint32_t team = team_sizes[i];
            int64_t  held = (row_groups + team - 1) / team;
            int64_t  most = held_most[phase->rows][i] * (phase->rows && s->vector == 1 ? 8 : 1);
            if (held > most || !fits_registers(phase, s, team, held)) continue;
            s->team = (uint16_t)team;
            s->held = (uint8_t)held;
            if (phase->rows && team > 32)
                s->team = (uint16_t)(((row_groups + held - 1) / held + 31) / 32 * 32);
            break;
        }
        if (phase->rows && !phase->tells && s->held != 0 && s->team >= 32)
            choose_columns(phase, row_groups, s);
        if (s->held == 0) s->team = team_of(groups, 512);
    }
    /* What is not dealt by rows is for one team: another would read what this one has written. */
    bool alone = phase->parallel == 0;
    if (phase->leaves_count == 0) s->team = 1;
    if (alone && s->team < 32) s->team = 32;
    s->block = s->team > 32 ? s->team : alone ? 32 : EMIT_BLOCK;
    choose_shared(loops, kernel, phase, row_groups, s);
    if (phase->rows && s->held == 0 && row_groups != 0 && !has_lanes(loops, kernel, phase, true))
        choose_long_rows(loops, phase, row_groups, s);
    if (!phase->rows && phase->leaves_count != 0 && !has_lanes(loops, kernel, phase, false))
        choose_few_rows(loops, phase, gpu_emit_rows(loops, kernel, phase, params),
                        phase->held_bytes != 0 ? row_groups : groups, s);
    if (s->shared) s->blocks = (uint8_t)(1024 / s->block);
    if (phase->rows && s->held != 0) choose_joined(loops, phase, s);
}
/* Rows of so many tensors that no thread holds a group of each are held in narrower groups: else a
 * team has the rows of a group for itself, and there are few groups. */
static void choose_narrower(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                            const int64_t *params, EmitSetting *s) {
    EmitSetting narrow = *s;
    while (narrow.vector > 1 && narrow.held == 0) {
        narrow.vector /= 2;
        choose_team(loops, kernel, phase, params, &narrow);
    }
    if (narrow.held != 0) *s = narrow;
}
int64_t gpu_emit_stage_bytes(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                             const int64_t *params, uint32_t block) {
    int64_t row = gpu_emit_size(loops, kernel, phase->stage, params), bytes = 0;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++) {
        uint32_t at = loops->kernels.buffers_first[kernel.row] + i;
        if (phase->staged[i])
            bytes += (block * row * dtype_bytes((Dtype)loops->buffers.dtype[at]) + 15) / 16 * 16;
    }
    return bytes;
}
/* Short rows at odd places, many of them, are for a thread each: nothing is told across, and no
 * thread is without work. Rows of whole units would meet in the banks of shared memory. */
static bool is_staged(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                      const int64_t *params) {
    if (!dim_id_some(phase->stage) || phase->leaves_count < 2) return false;
    int64_t row = gpu_emit_size(loops, kernel, phase->stage, params);
    if (row < STAGE_LEAST || gpu_emit_rows(loops, kernel, phase, params) < STAGE_ROWS ||
        gpu_emit_stage_bytes(loops, kernel, phase, params, STAGE_BLOCK) > STAGE_BYTES)
        return false;
    for (uint32_t i = 0; i < loops->kernels.buffers_count[kernel.row]; i++) {
        uint32_t at = loops->kernels.buffers_first[kernel.row] + i;
        if (phase->staged[i] && row * dtype_bytes((Dtype)loops->buffers.dtype[at]) % 16 == 0)
            return false;
    }
    return true;
}
/* Elements of a tile that are read at once, if there are rows and columns enough for tiles. */
static uint8_t choose_tiles(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                            const int64_t *params, const CuPtr *args) {
    if (phase->tiles_count == 0 || gpu_emit_rows(loops, kernel, phase, params) < EMIT_TILE / 2 ||
        gpu_emit_longest(loops, kernel, phase, params) < EMIT_TILE / 2)
        return 0;
    uint32_t most = EMIT_GROUP_MAX;
    for (uint32_t i = 0; i < phase->tiles_count; i++) {
        uint32_t row = access_buffer(phase->tiles[i]).row;
        while (most > 1 &&
               !is_aligned(loops, kernel, row, phase->tile_rests[i], params, args, most))
            most /= 2;
    }
    return (uint8_t)most;
}
EmitSetting gpu_emit_choose(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                            const int64_t *params, const CuPtr *args) {
    EmitSetting s = {
        .team = 1, .block = EMIT_BLOCK, .vector = (uint8_t)phase->vector, .cluster = 1, .join = 1};
    s.wide = !gpu_emit_narrow(loops, kernel, phase, params);
    int64_t longest = gpu_emit_longest(loops, kernel, phase, params);
    if (is_staged(loops, kernel, phase, params)) {
        s.block = STAGE_BLOCK;
        s.vector = 1;
        s.full = s.staged = true;
        return s;
    }
    while (s.vector > 1 && longest < s.vector) s.vector /= 2;
    s.tiled = choose_tiles(loops, kernel, phase, params, args);
    uint32_t vector = aligned_vector(loops, kernel, phase, params, args, s.vector);
    s.odd = vector * 2 < s.vector && longest >= ODD_LEAST && s.tiled == 0;
    if (s.odd && phase->rows && longest <= ROWS_SHORT) {
        s.odd = false;
        vector = 1;
    }
    if (!s.odd) s.vector = (uint8_t)vector;
    s.led = s.odd && is_led(loops, kernel, phase, args, s.vector);
    s.full = !s.odd;
    for (uint32_t i = 0; i < phase->leaves_count; i++)
        s.full &= gpu_emit_multiple(loops, kernel, phase->leaves[i].extent, params, s.vector);
    if (s.tiled != 0) return s;
    if (!phase->flat) choose_team(loops, kernel, phase, params, &s);
    if (phase->rows && phase->held_bytes != 0 && s.held == 0 && !s.odd)
        choose_narrower(loops, kernel, phase, params, &s);
    while (!phase->flat && s.team == 1 && s.join == 1 && s.block > 32 &&
           gpu_emit_rows(loops, kernel, phase, params) < (int64_t)s.block * EMIT_PROCESSORS)
        s.block /= 2; /* more multiprocessors for what is short */
    int64_t lane = gpu_emit_lane_bytes(loops, kernel, phase, params, s.held);
    while (s.block > 32 && s.block > s.team && lane * (s.block / s.team) > EMIT_LANE_SHARED)
        s.block /= 2;
    return s;
}
