/* What the kernels of attention of our own (own_attention.h) share, and how they become one text:
 * barriers, copies, and products of the tensor cores as Hopper has them.
 *
 * Tiles have 128 rows of 64 numbers of 16 bits, swizzled as TMA writes and wgmma reads them. Four
 * warps multiply 64 rows; what they sum up lies in their registers, of which a thread has rows
 * lane / 4 and 8 more, in each eight columns two next to each other. */
#include "gpu/own_attention.h"

static const char *const types[] = {
    "typedef unsigned u32; typedef unsigned long long u64; typedef long long i64;\n"
    "typedef float f32;\n"
    "#define D static __device__ __forceinline__\n"
    "#define UNROLL _Pragma(\"unroll\")\n"
    "struct alignas(128) Map { u64 words[16]; };\n"
    "struct Heads { i64 batch, head, row; };\n"
    "struct Args { Map q, k, v, d_o; u64 o, d_o_at, statistics, dq, dk, dv, sums, parts, flags,\n"
    "        columns;\n"
    "    Heads o_by, d_o_by, dq_by, dk_by, dv_by; int heads, blocks, all, team, turns, teams;\n"
    "    u32 flags_count; int group; f32 scale, per_scale, scale2; };\n"
    "enum { TILE = 128 * 64 * 2 };\n"
    "/* --- barriers and copies */\n"
    "D void bar_init(u32 bar, int count) {\n"
    "    asm volatile(\"mbarrier.init.shared.b64 [%0], %1;\" :: \"r\"(bar), \"r\"(count)); }\n"
    "D void bar_wait(u32 bar, u32 phase) {\n"
    "    asm volatile(\"{ .reg .pred p; W%=: mbarrier.try_wait.parity.shared.b64 p, [%0], %1;\"\n"
    "        \"@p bra X%=; bra W%=; X%=: }\" :: \"r\"(bar), \"r\"(phase) : \"memory\"); }\n"
    "D void bar_expect(u32 bar, u32 bytes) {\n"
    "    asm volatile(\"mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;\"\n"
    "        :: \"r\"(bar), \"r\"(bytes) : \"memory\"); }\n"
    "D void bar_arrive(u32 bar) {\n"
    "    asm volatile(\"mbarrier.arrive.shared.b64 _, [%0];\" :: \"r\"(bar) : \"memory\"); }\n"
    "D void load(u32 to, const Map *map, u32 bar, int row, int head, int batch) {\n"
    "    asm volatile(\"cp.async.bulk.tensor.4d.shared::cluster.global\"\n"
    "        \".mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];\"\n"
    "        :: \"r\"(to), \"l\"(map), \"r\"(bar), \"r\"(0), \"r\"(row), \"r\"(head),\n"
    "        \"r\"(batch) : \"memory\"); }\n"
    "/* --- numbers */\n"
    "D f32 power(f32 x) { f32 y;\n"
    "    asm(\"ex2.approx.ftz.f32 %0, %1;\" : \"=f\"(y) : \"f\"(x));\n"
    "    return y; }\n"
    "D u32 pack(f32 low, f32 high) { u32 x;\n"
    "    asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(x) : \"f\"(high), \"f\"(low));\n"
    "    return x; }\n"
    "D f32 low(u32 x) { return __uint_as_float(x << 16); }\n"
    "D f32 high(u32 x) { return __uint_as_float(x & 0xffff0000u); }\n"};

static const char *const tools[] = {
    "/* --- tensor cores: tiles of 128-byte rows, swizzled */\n"
    "D u64 tile(u32 at, u32 step) {\n"
    "    u64 form = 1ull << 62 | (u64)(1024 >> 4) << 32 | (u64)(step >> 4) << 16;\n"
    "    return form | (at & 0x3ffff) >> 4; }\n"
    "D u64 rows(u32 at) { return tile(at, 16); }\n"
    "D u64 columns(u32 at) { return tile(at, 8192); }\n"
    "D void fence() { asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\"); }\n"
    "D void commit() { asm volatile(\"wgmma.commit_group.sync.aligned;\" ::: \"memory\"); }\n"
    "template <int left> D void settle() {\n"
    "    asm volatile(\"wgmma.wait_group.sync.aligned %0;\" :: \"n\"(left) : \"memory\"); }\n"
    "template <int n> D void hold(f32 *x) { UNROLL\n"
    "    for (int i = 0; i < n; i++) asm volatile(\"\" : \"+f\"(x[i]) :: \"memory\"); }\n"
    "template <int n> D void hold(u32 *x) { UNROLL\n"
    "    for (int i = 0; i < n; i++) asm volatile(\"\" : \"+r\"(x[i]) :: \"memory\"); }\n"
    "/* 16 bits a number of 64 rows x 64 columns: whole lines of memory */\n"
    "D void put_rows(u64 at, i64 row, const f32 *x, f32 scale) {\n"
    "    int lane = threadIdx.x % 32, t = lane % 4;\n"
    "    bool odd = t & 1, late = t & 2;\n"
    "    at += (u64)(lane / 4) * row + t * 16;\n"
    "    UNROLL\n"
    "    for (int i = 0; i < 4; i++) {\n"
    "        u32 w[4], a, b;\n"
    "        UNROLL\n"
    "        for (int s = 0; s < 4; s++) {\n"
    "            const f32 *y = x + 16 * (i % 2) + 4 * s + 2 * (i / 2);\n"
    "            w[s] = pack(y[0] * scale, y[1] * scale); }\n"
    "        a = __shfl_xor_sync(~0u, odd ? w[0] : w[1], 1);\n"
    "        b = __shfl_xor_sync(~0u, odd ? w[2] : w[3], 1);\n"
    "        if (odd) w[0] = a, w[2] = b; else w[1] = a, w[3] = b;\n"
    "        a = __shfl_xor_sync(~0u, late ? w[0] : w[2], 2);\n"
    "        b = __shfl_xor_sync(~0u, late ? w[1] : w[3], 2);\n"
    "        if (late) w[0] = a, w[1] = b; else w[2] = a, w[3] = b;\n"
    "        asm volatile(\"st.global.v4.u32 [%0], {%1, %2, %3, %4};\"\n"
    "            :: \"l\"(at + i / 2 * 8 * row + i % 2 * 64), \"r\"(w[0]), \"r\"(w[1]),\n"
    "            \"r\"(w[2]), \"r\"(w[3]) : \"memory\"); } }\n"
    "D u64 place(u64 base, const Heads &by, i64 b, i64 h, i64 row) {\n"
    "    return base + (b * by.batch + h * by.head + row * by.row) * 2; }\n"};

/* x[64 x columns] = a b (+ x if more): a from registers (held) or, like b, from tiles in shared
 * memory, whose rows are the summed axis if across. */
static void add_product(Text *text, const char *name, uint32_t columns, bool held, bool across) {
    uint32_t count = columns / 2, operand = count + (held ? 4 : 1);
    text_addf(text, "D void %s(f32 *x, %s, u64 b, int more) {\nasm volatile(\"{ .reg .pred p; ",
              name, held ? "const u32 *a" : "u64 a");
    text_addf(text,
              "setp.ne.b32 p, %%%u, 0; wgmma.mma_async.sync.aligned.m64n%uk16.f32.bf16.bf16 {",
              operand + 1, columns);
    for (uint32_t i = 0; i < count; i++) text_addf(text, "%s%%%u", i > 0 ? "," : "", i);
    if (held)
        text_addf(text, "}, {%%%u,%%%u,%%%u,%%%u}, %%%u, p, 1, 1, %d; }\"\n:", count, count + 1,
                  count + 2, count + 3, operand, across);
    else
        text_addf(text, "}, %%%u, %%%u, p, 1, 1, %d, %d; }\"\n:", count, operand, across, across);
    for (uint32_t i = 0; i < count; i++) text_addf(text, "%s\"+f\"(x[%u])", i > 0 ? "," : "", i);
    text_add(text, held ? STR(": \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])")
                        : STR(": \"l\"(a)"));
    text_add(text, STR(", \"l\"(b), \"r\"(more)); }\n"));
}

String gpu_own_attention_text(Arena *out, bool causal, bool backward) {
    const char *const *kernels = backward ? gpu_own_attention_backward : gpu_own_attention_forward;
    Text               text = text_begin(out);
    text_addf(&text, "#define CAUSAL %d\n", causal);
    for (size_t i = 0; i < LENGTH(types); i++) text_add(&text, str_of(types[i]));
    add_product(&text, "mma_rows", 128, false, false);
    add_product(&text, "mma_held", 64, true, true);
    if (backward) add_product(&text, "mma_across", 64, false, true);
    for (size_t i = 0; i < LENGTH(tools); i++) text_add(&text, str_of(tools[i]));
    for (; *kernels != NULL; kernels++) text_add(&text, str_of(*kernels));
    return text_done(&text);
}
