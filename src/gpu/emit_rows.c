/* What a phase keeps of rows: those that a scope holds, in registers or shared memory; those of the
 * next iteration, read while the team works on one; sums that several teams of a block have held;
 * rows of single threads, which lie in shared memory for all of a block. */
#include "gpu/emit_inner.h"

static void             put(Emit *e, const char *text) { text_add(&e->text, str_of(text)); }
static const LoopNodes *nodes_of(const Emit *e) { return &e->loops->nodes; }

/* What macros of groups end in: X where these are not aligned with those of most rows. */
const char *gpu_emit_led(const Emit *e, DimId rest) {
    return rest.row == e->phase->lead.row ? "" : "X";
}
/* What is known of the group at c0: elements inside the row, and the place of the first. */
void gpu_emit_group(Emit *e, const EmitLeaf *leaf) {
    text_addf(&e->text,
              "const I live = FULL || V == 1 ? (I)V : n_leaf - c0;\nconst I v%u = c0;\n"
              "const I dead = LED ? -c0 : (I)0;\n",
              leaf->var.row);
}

/* --- held rows -------------------------------------------------------------------------------- */
bool gpu_emit_has_held(const Emit *e, uint32_t scope) {
    for (uint32_t i = 0; i < e->phase->helds_count; i++)
        if (e->phase->helds[i].scope == scope) return true;
    return false;
}
/* to: h (settled; in shared memory as fetched), q (as loaded, settled when all loads have begun) or
 * g (as loaded, settled when its turn comes). */
static void declare_held(Emit *e, uint32_t scope, char to) {
    uint32_t before = 0; /* bytes of an element of the rows that lie before it in shared memory */
    for (uint32_t i = 0; i < e->phase->helds_count; i++) {
        const EmitHeld *held = &e->phase->helds[i];
        Dtype           dtype = (Dtype)e->loops->buffers.dtype[held->buffer.row];
        const char     *type = gpu_emit_stored(dtype);
        if (held->scope == scope && to == 'h')
            text_addf(&e->text,
                      "#if SHARED\nPack<%s, V> *const h%u = (Pack<%s, V> *)(s_held + %u * ROOM);\n"
                      "#else\nPack<%s, V> h%u[HELD ? HELD : 1];\n#endif\n",
                      type, i, type, before, type, i);
        else if (held->scope == scope)
            text_addf(&e->text, "RAW%s<%s, V> %c%u[HELD ? HELD : 1];\n",
                      gpu_emit_led(e, held->rest), type, to, i);
        before += dtype_bytes(dtype);
    }
}
static void load_held(Emit *e, uint32_t scope, char to) {
    put(e, "const I n_leaf = ");
    gpu_emit_dim(e, e->phase->held_extent);
    put(e, ";\nROWS\n"
           "for (I h = 0, c0 = t * V - lead; h < HELD; h++, c0 += TEAM * V) if (c0 < n_leaf) {\n");
    for (uint32_t i = 0; i < e->phase->helds_count; i++) {
        const EmitHeld *held = &e->phase->helds[i];
        if (held->scope != scope) continue;
        put(e, "{\n");
        gpu_emit_group(e, &e->phase->leaves[held->leaf]);
        text_addf(&e->text, "%s *const from = b%u + (",
                  gpu_emit_stored((Dtype)e->loops->buffers.dtype[held->buffer.row]),
                  gpu_emit_position(e, held->buffer));
        gpu_emit_dim(e, held->rest);
        put(e, " + c0);\n");
        if (to == 'q')
            text_addf(&e->text,
                      "if constexpr (SHARED) FETCH%s(&h%u[AT(h)], from, live, dead);\nelse ",
                      gpu_emit_led(e, held->rest), i);
        text_addf(&e->text, "%c%u[h] = LD%s<%d, V>(from, live, dead);\n}\n", to, i,
                  gpu_emit_led(e, held->rest), gpu_emit_only_read(e, held->buffer) ? 2 : 0);
    }
    put(e, "}\n");
}
static void settle_held(Emit *e, uint32_t scope, char from) {
    put(e, "if constexpr (!SHARED) {\nROWS\nfor (int h = 0; h < HELD; h++) {\n");
    for (uint32_t i = 0; i < e->phase->helds_count; i++)
        if (e->phase->helds[i].scope == scope)
            text_addf(&e->text, "h%u[h] = settled(%c%u[h]);\n", i, from, i);
    put(e, "}\n}\n");
}
/* Where groups of the rows of a scope begin in their units of 16 bytes. */
static void declare_offsets(Emit *e, uint32_t scope) {
    for (uint32_t i = 0; i < e->phase->helds_count; i++) {
        const EmitHeld *held = &e->phase->helds[i];
        if (held->scope != scope) continue;
        text_addf(&e->text, "const u32 o%u = (u32)(u64)(b%u + (", i,
                  gpu_emit_position(e, held->buffer));
        gpu_emit_dim(e, held->rest);
        put(e, ")) & 15;\n");
    }
}
/* The rows of a scope that is no loop over rows. In shared memory units lie as in memory, so that
 * at odd places threads see what others have fetched. */
void gpu_emit_take_held(Emit *e, uint32_t scope) {
    declare_held(e, scope, 'h');
    declare_offsets(e, scope);
    put(e, "if constexpr (HELD) {\nif (ODD && SHARED) __syncthreads();\n");
    declare_held(e, scope, 'q');
    load_held(e, scope, 'q');
    put(e, "if constexpr (SHARED) fetched();\nif (ODD && SHARED) __syncthreads();\n");
    settle_held(e, scope, 'q');
    put(e, "}\n");
}
/* --- rings ------------------------------------------------------------------------------------ */
/* Bytes of an element of the rows that a loop goes over, and of those that lie before one. */
static uint32_t ring_bytes(const Emit *e, uint32_t scope, uint32_t before) {
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < e->phase->helds_count && i < before; i++)
        if (e->phase->helds[i].scope == scope)
            bytes += dtype_bytes((Dtype)e->loops->buffers.dtype[e->phase->helds[i].buffer.row]);
    return bytes;
}
static const char *step_of(const Emit *e, uint32_t loop) {
    return loop == e->phase->join ? "JOIN" : "1";
}
/* Begins to bring a row to the slot `to`. */
static void fetch_row(Emit *e, uint32_t scope) {
    put(e, "const I n_leaf = ");
    gpu_emit_dim(e, e->phase->held_extent);
    put(e, ";\nROWS\n"
           "for (I h = 0, c0 = t * V; h < HELD; h++, c0 += TEAM * V) if (c0 < n_leaf) {\n");
    for (uint32_t i = 0; i < e->phase->helds_count; i++) {
        const EmitHeld *held = &e->phase->helds[i];
        const char     *type = gpu_emit_stored((Dtype)e->loops->buffers.dtype[held->buffer.row]);
        if (held->scope != scope) continue;
        put(e, "{\n");
        gpu_emit_group(e, &e->phase->leaves[held->leaf]);
        text_addf(&e->text,
                  "FETCH((Pack<%s, V> *)(s_held + (to * %u + %u) * ROOM) + PLACE(h), b%u + (", type,
                  ring_bytes(e, scope, UINT32_MAX), ring_bytes(e, scope, i),
                  gpu_emit_position(e, held->buffer));
        gpu_emit_dim(e, held->rest);
        put(e, " + c0), live, dead);\n}\n");
    }
    put(e, "}\n");
}
/* The row in the slot of this iteration. */
static void declare_ring(Emit *e, uint32_t scope) {
    for (uint32_t i = 0; i < e->phase->helds_count; i++) {
        const EmitHeld *held = &e->phase->helds[i];
        const char     *type = gpu_emit_stored((Dtype)e->loops->buffers.dtype[held->buffer.row]);
        if (held->scope != scope) continue;
        text_addf(&e->text,
                  "Pack<%s, V> *const h%u = (Pack<%s, V> *)(s_held + (slot * %u + %u) * ROOM);\n",
                  type, i, type, ring_bytes(e, scope, UINT32_MAX), ring_bytes(e, scope, i));
    }
}

/* Before a loop over rows: begins to read the first one of the team, or all but one that fit into
 * the ring. */
void gpu_emit_first_held(Emit *e, uint32_t loop) {
    const char *first = loop == e->phase->join ? "j" : "0";
    uint32_t    var = nodes_of(e)->var[loop].row;
    put(e, "#if RING\nint slot = 0;\nif (ODD) __syncthreads();\n"
           "#pragma unroll 1\nfor (int k = 0; k < RING - 1; k++) {\n");
    text_addf(&e->text, "const I v%u = %s + k * %s;\nif (v%u < n_loop) {\nconst int to = k;\n", var,
              first, step_of(e, loop), var);
    fetch_row(e, loop);
    put(e, "}\nrow_begun();\n}\n#else\n");
    declare_held(e, loop, 'g');
    text_addf(&e->text, "if constexpr (HELD) if (%s < n_loop) {\nconst I v%u = %s;\n", first, var,
              first);
    load_held(e, loop, 'g');
    put(e, "}\n#endif\n");
}
/* At the start of an iteration of a loop over rows: takes the row that was read during the last
 * one, and begins to read the next. In a ring a thread reads what it has fetched itself; at odd
 * places also what the next one has. */
void gpu_emit_turn_held(Emit *e, uint32_t loop) {
    uint32_t var = nodes_of(e)->var[loop].row;
    text_addf(&e->text,
              "#if RING\nrow_fetched<RING - 2>();\nif (ODD) __syncthreads();\n{\n"
              "const I next = v%u + (RING - 1) * %s;\nif (next < n_loop) {\nconst I v%u = next;\n"
              "const int to = slot == 0 ? RING - 1 : slot - 1;\n",
              var, step_of(e, loop), var);
    fetch_row(e, loop);
    put(e, "}\nrow_begun();\n}\n");
    declare_ring(e, loop);
    put(e, "slot = slot + 1 == RING ? 0 : slot + 1;\n#else\n");
    declare_held(e, loop, 'h');
    settle_held(e, loop, 'g');
    text_addf(&e->text,
              "if constexpr (HELD) {\nconst I next = v%u + %s;\nif (next < n_loop) {\n"
              "const I v%u = next;\n",
              var, step_of(e, loop), var);
    load_held(e, loop, 'g');
    put(e, "}\n}\n#endif\n#if RING && ODD\n");
    declare_offsets(e, loop);
    put(e, "#endif\n");
}

/* --- sums of teams, rows of threads ----------------------------------------------------------- */
/* The sums of teams that have shared rows, those of one half added to those of the other, until the
 * first team has all. */
void gpu_emit_joined(Emit *e) {
    const LoopNodes *nodes = nodes_of(e);
    uint32_t         first = e->loops->kernels.buffers_first[e->kernel.row];
    if (e->phase->join == 0) return;
    put(e, "#if JOIN > 1\nif (RING) __syncthreads();\n"
           "for (int n = JOIN, half; n > 1; n = half) {\nhalf = (n + 1) / 2;\n");
    for (uint32_t i = 0; i < e->loops->kernels.buffers_count[e->kernel.row]; i++) {
        uint32_t row = e->phase->join, last = row + nodes->size[row];
        while (row < last && (nodes->kind[row] != NODE_REDUCE ||
                              access_buffer(nodes->access[row]).row != first + i))
            row++;
        if (!e->phase->promoted[i] || row == last) continue;
        Dtype       dtype = (Dtype)e->loops->buffers.dtype[first + i];
        const char *type = gpu_emit_stored(dtype);
        text_addf(
            &e->text,
            "{\nPack<%s, V> *const s = (Pack<%s, V> *)s_held;\nif (j >= half && j < n)\n"
            "ROWS\nfor (int h = 0; h < HELD; h++) s[((j - half) * HELD + h) * TEAM + t] = "
            "k%u[h];\n__syncthreads();\nif (j < n - half)\nROWS\n"
            "for (int h = 0; h < HELD; h++) {\nconst Pack<%s, V> other = s[(j * HELD + h) * TEAM "
            "+ t];\n#pragma unroll\nfor (int e = 0; e < V; e++) k%u[h].v[e] = pk<%s>(comb<%u>"
            "((%s)up(k%u[h].v[e]), (%s)up(other.v[e])));\n}\n__syncthreads();\n}\n",
            type, type, i, type, i, type, nodes->reduce[row], gpu_emit_type(dtype), i,
            gpu_emit_type(dtype));
    }
    put(e, "}\n#endif\n");
}
/* Buffers of the launch that were held in registers, back to memory. */
void gpu_emit_held_back(Emit *e) {
    const LoopKernels *kernels = &e->loops->kernels;
    uint32_t           first = kernels->buffers_first[e->kernel.row];
    const LoopNodes   *nodes = nodes_of(e);
    for (uint32_t i = 0; i < kernels->buffers_count[e->kernel.row]; i++) {
        if (!e->phase->promoted[i] || e->loops->buffers.scope[first + i] == SCOPE_LANE) continue;
        for (uint32_t k = 0; k < e->phase->leaves_count; k++) {
            const EmitLeaf *leaf = &e->phase->leaves[k];
            uint32_t        row = leaf->row + 1, last = leaf->row + nodes->size[leaf->row];
            DimId           rest;
            while (row < last && access_buffer(nodes->access[row]).row != first + i) row++;
            if (row == last) continue;
            (void)gpu_emit_contiguous(e->loops, nodes->access[row], leaf->var, &rest);
            put(e, "if constexpr (HELD) {\nconst I n_leaf = ");
            gpu_emit_dim(e, leaf->extent);
            put(e,
                ";\n#pragma unroll\nfor (I h = 0, c0 = t * V - lead; h < HELD; h++, c0 += TEAM * V)"
                " if (c0 < n_leaf) {\n");
            gpu_emit_group(e, leaf);
            text_addf(&e->text, "STX<1, V>(b%u + (", i);
            gpu_emit_dim(e, rest);
            text_addf(&e->text, " + c0), k%u[h], live, dead);\n}\n}\n", i);
            break;
        }
    }
}
/* Rows of the block between memory and shared memory, all at once. */
static void put_stages(Emit *e, uint8_t kind) {
    for (uint32_t i = 0; i < e->loops->kernels.buffers_count[e->kernel.row]; i++) {
        if (e->phase->staged[i] != kind) continue;
        text_addf(&e->text,
                  kind == EMIT_IN ? "stage<BLOCK>(s%u, b%u + from, count, true);\n"
                                  : "stage<BLOCK>(b%u + from, s%u, count, false);\n",
                  i, i);
    }
}
/* A thread a row: the rows of a block are taken together, worked on, and written together. */
void gpu_emit_open_stages(Emit *e) {
    uint32_t first = e->loops->kernels.buffers_first[e->kernel.row];
    put(e, "#if STAGED\nconst I n_stage = ");
    gpu_emit_dim(e, e->phase->stage);
    put(e, ";\nchar *next = s_held;\n");
    for (uint32_t i = 0; i < e->loops->kernels.buffers_count[e->kernel.row]; i++) {
        if (!e->phase->staged[i]) continue;
        const char *type = gpu_emit_stored((Dtype)e->loops->buffers.dtype[first + i]);
        text_addf(&e->text,
                  "%s *const s%u = (%s *)next;\n"
                  "next += ((int)sizeof(%s) * BLOCK * n_stage + 15) / 16 * 16;\n",
                  type, i, type, type);
    }
    put(e, "for (I base = (I)blockIdx.x * BLOCK; base < n_rows; base += (I)gridDim.x * BLOCK) {\n"
           "const I from = base * n_stage;\n"
           "const int count = (int)(imin(n_rows - base, (I)BLOCK) * n_stage);\n");
    put_stages(e, EMIT_IN);
    text_addf(&e->text,
              "fetched();\n__syncthreads();\nconst I v%u = base + (I)threadIdx.x;\n"
              "if (v%u < n_rows) {\n#else\n",
              nodes_of(e)->var[e->phase->parallel].row, nodes_of(e)->var[e->phase->parallel].row);
}
void gpu_emit_close_stages(Emit *e) {
    put(e, "#if STAGED\n__syncthreads();\n");
    put_stages(e, EMIT_OUT);
    put(e, "__syncthreads();\n}\n#endif\n");
}
