// 8-bit floats through the public interface: compiled conversions store the bits of the oracle
// (tables/dtypes.h), products agree with the interpreter, scales make the size of numbers
// irrelevant, and a small network learns in 8 bits what it learns in 16.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"
#include "tables/dtypes.h"

typedef struct Narrow {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
} Narrow;
static bool narrow_open(Narrow *n, const char *text, StoaCompileOptions options) {
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    context.lanes = 1;
    memset(n, 0, sizeof *n);
    StoaStatus status = stoa_context_create(&context, &n->context);
    if (status == STOA_OK)
        status = stoa_program_parse(n->context, text, strlen(text), "test", &n->program);
    if (status == STOA_OK) status = stoa_compile(n->program, &options, &n->session);
    return status == STOA_OK;
}
static void narrow_close(Narrow *n) {
    stoa_session_destroy(n->session);
    stoa_program_destroy(n->program);
    stoa_context_destroy(n->context);
}

/* Every code, what lies halfway between two, their neighbours, and numbers of every size. */
enum { NUMBERS = 4096 };
static void fill(Dtype dtype, float *x) {
    uint32_t bits = 12345, count = 0;
    for (uint32_t code = 0; code < 255; code++) {
        float a = dtype_f32_of_f8(dtype, (uint8_t)code);
        float middle = (a + dtype_f32_of_f8(dtype, (uint8_t)(code + 1))) / 2;
        x[count++] = a;
        x[count++] = middle;
        x[count++] = nextafterf(middle, 0);
        x[count++] = nextafterf(middle, 1e9F);
    }
    for (; count < NUMBERS; count++) {
        bits = bits * 1664525U + 1013904223U;
        memcpy(&x[count], &bits, sizeof bits);
    }
}

TEST(narrow_conversions_store_the_bits_of_the_oracle) {
    static const Dtype dtypes[] = {DTYPE_F8E4M3, DTYPE_F8E5M2};
    static float       x[NUMBERS], z[NUMBERS];
    static uint8_t     y[NUMBERS];
    for (size_t k = 0; k < LENGTH(dtypes); k++) {
        const char *name = dtype_infos[dtypes[k]].name;
        Narrow      n;
        char        text[256];
        snprintf(text, sizeof text,
                 "graph f(%%x: f32[N]) {\n  %%y = convert %%x {dtype=%s}\n"
                 "  %%z = convert %%y {dtype=f32}\n  return %%y, %%z\n}\n",
                 name);
        REQUIRE(narrow_open(&n, text, (StoaCompileOptions)STOA_COMPILE_OPTIONS));
        fill(dtypes[k], x);
        StoaTensor input = {STOA_F32, 1, {NUMBERS}, x}, outputs[] = {{.data = y}, {.data = z}};
        EXPECT(stoa_run(n.session, "f", &input, 1, outputs, 2, NULL) == STOA_OK);
        for (uint32_t i = 0; i < NUMBERS; i++) {
            uint8_t want = dtype_f8_of_f32(dtypes[k], x[i]);
            float   wide = dtype_f32_of_f8(dtypes[k], want);
            bool    same = y[i] == want && (isnan(wide) ? isnan(z[i]) != 0 : z[i] == wide);
            if (!EXPECT(same)) printf("%s of %a: %02x, expected %02x\n", name, x[i], y[i], want);
        }
        narrow_close(&n);
    }
}

static const char layers[] =
    "graph f(%x: f32[B,16], %w: f32[32,16], %v: f32[48,32], %b: f32[48], %u: f32[16,48]) {\n"
    "  %t = tanh %x\n  %h = linear %t, %w\n  %a = linear %h, %v, %b\n  %y = linear %a, %u\n"
    "  %q = mul %y, %y\n  %s = reduce %q {kind=sum, axes=[0,1]}\n"
    "  %dx, %dw, %dv = gradient %s, %x, %w, %v\n  return %y, %dx, %dw, %dv\n}\n";
enum { ROWS = 24, OUTPUTS = 4 };
static const int64_t shapes[5][2] = {{ROWS, 16}, {32, 16}, {48, 32}, {48, 0}, {16, 48}};
static const int     counts[OUTPUTS] = {ROWS * 16, ROWS * 16, 32 * 16, 48 * 32};

/* All outputs, one after the other; weights are multiplied by size. */
static void run_layers(StoaDtype compute, bool interpreter, float size, float *out) {
    static float       data[5][48 * 48];
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    StoaTensor         inputs[5], outputs[OUTPUTS] = {{.data = NULL}};
    uint32_t           bits = 99;
    Narrow             n;
    options.compute = compute;
    options.f8_products = STOA_F8_FORWARD | STOA_F8_INPUT_GRADIENT | STOA_F8_WEIGHT_GRADIENT;
    options.interpreter = interpreter;
    REQUIRE(narrow_open(&n, layers, options));
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t rank = shapes[i][1] == 0 ? 1 : 2;
        int64_t  count = shapes[i][0] * (rank == 1 ? 1 : shapes[i][1]);
        for (int64_t k = 0; k < count; k++) {
            bits = bits * 1664525U + 1013904223U;
            data[i][k] = ((float)(bits >> 8) / 8388608.0F - 1) * (i == 1 || i == 2 ? size : 0.5F);
        }
        inputs[i] = (StoaTensor){STOA_F32, rank, {shapes[i][0], shapes[i][1]}, data[i]};
    }
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        outputs[i].data = out;
        out += counts[i];
    }
    EXPECT(stoa_run(n.session, "f", inputs, 5, outputs, OUTPUTS, NULL) == STOA_OK);
    narrow_close(&n);
}
/* The largest over the outputs of the norm of the difference over the norm. */
static double apart(const float *a, const float *b) {
    double worst = 0;
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        double difference = 0, norm = 0;
        for (int k = 0; k < counts[i]; k++, a++, b++) {
            difference += ((double)*a - (double)*b) * ((double)*a - (double)*b);
            norm += (double)*b * (double)*b;
        }
        worst = fmax(worst, sqrt(difference / norm));
    }
    return worst;
}

TEST(narrow_products_agree_with_the_interpreter) {
    enum { ALL = ROWS * 32 + 32 * 16 + 48 * 32 };
    static float exact[ALL], fast[ALL], slow[ALL], half[ALL];
    run_layers(STOA_NONE, true, 0.25F, exact);
    run_layers(STOA_F8E4M3, false, 0.25F, fast);
    run_layers(STOA_F8E4M3, true, 0.25F, slow);
    run_layers(STOA_BF16, true, 0.25F, half);
    double agree = apart(fast, slow), error = apart(slow, exact), bf16 = apart(half, exact);
    printf("compiled from interpreted %.2g, 8 bits %.3f, bf16 %.4f ", agree, error, bf16);
    EXPECT(agree < 0.02);                    // a last bit of bf16 that rounds to another f8
    EXPECT(error > 2 * bf16 && error < 0.1); // 3 and 2 bits of fraction, not 7
    // Numbers that no 8-bit float reaches: the scale takes them there.
    static const float sizes[] = {1e-9F, 1e5F};
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        run_layers(STOA_NONE, true, sizes[i], exact);
        run_layers(STOA_F8E4M3, false, sizes[i], fast);
        EXPECT(apart(fast, exact) < 0.1);
    }
}

/* --- blocks ----------------------------------------------------------------------------------- */
static const char blocks[] =
    "graph f(%x: f32[B,256], %w: f32[384,256], %v: f32[16,384]) {\n"
    "  %a = neg %x\n  %h = linear %a, %w\n  %y = linear %h, %v\n  %q = mul %y, %y\n"
    "  %s = reduce %q {kind=sum, axes=[0,1]}\n  %da = gradient %s, %a\n  %dh = gradient %s, %h\n"
    "  return %h, %da, %dh\n}\n";
enum { OUT = 384, IN = 256, BLOCK = 128 };
typedef struct Blocks {
    float x[ROWS * IN], w[OUT * IN], v[16 * OUT];
    float h[ROWS * OUT], da[ROWS * IN], dh[ROWS * OUT];
} Blocks;
static void fill_blocks(Blocks *p) {
    uint32_t bits = 4711;
    float   *all[] = {p->x, p->w, p->v};
    int      sizes[] = {ROWS * IN, OUT * IN, 16 * OUT};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < sizes[i]; k++) {
            bits = bits * 1664525U + 1013904223U;
            all[i][k] = ((float)(bits >> 8) / 8388608.0F - 1) * (i == 0 ? 1 : 0.1F);
        }
}
static void run_blocks(Blocks *p, bool interpreter, uint32_t block) {
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    Narrow             n;
    options.compute = STOA_F8E4M3;
    options.f8_products = STOA_F8_FORWARD | STOA_F8_INPUT_GRADIENT | STOA_F8_WEIGHT_GRADIENT;
    options.f8_block = block;
    options.interpreter = interpreter;
    REQUIRE(narrow_open(&n, blocks, options));
    StoaTensor inputs[] = {{STOA_F32, 2, {ROWS, IN}, p->x},
                           {STOA_F32, 2, {OUT, IN}, p->w},
                           {STOA_F32, 2, {16, OUT}, p->v}};
    StoaTensor outputs[] = {{.data = p->h}, {.data = p->da}, {.data = p->dh}};
    EXPECT(stoa_run(n.session, "f", inputs, 3, outputs, 3, NULL) == STOA_OK);
    narrow_close(&n);
}
/* rows x columns of a matrix in e4m3 by blocks of high x 128: a power of two that takes the largest
 * magnitude to 448 at most, and to more than 224. */
static void round_blocks(const float *from, double *into, int rows, int columns, int high) {
    for (int i = 0; i < rows; i += high)
        for (int k = 0; k < columns; k += BLOCK) {
            float most = 0, factor = 1;
            for (int r = i; r < i + high; r++)
                for (int c = k; c < k + BLOCK; c++)
                    most = fmaxf(
                        most, fabsf(dtype_f32_of_bf16(dtype_bf16_of_f32(from[r * columns + c]))));
            while (most * factor > 448) factor /= 2;
            while (most > 0 && most * factor <= 224) factor *= 2;
            for (int r = i; r < i + high; r++)
                for (int c = k; c < k + BLOCK; c++) {
                    float x = dtype_f32_of_bf16(dtype_bf16_of_f32(from[r * columns + c]));
                    into[r * columns + c] =
                        (double)dtype_f32_of_f8(DTYPE_F8E4M3,
                                                dtype_f8_of_f32(DTYPE_F8E4M3, x * factor)) /
                        (double)factor;
                }
        }
}
TEST(narrow_blocks_are_what_is_computed_by_hand) {
    static Blocks p;
    static double x[ROWS * IN], w[OUT * IN], dh[ROWS * OUT];
    static float  minus[ROWS * IN];
    for (int interpreter = 0; interpreter < 2; interpreter++) {
        fill_blocks(&p);
        p.x[2 * IN + 7] = 3e4F;                                 // spoils one block
        for (int k = 0; k < BLOCK; k++) p.x[3 * IN + k] = 0;    // a block of zeros
        for (int k = 0; k < IN; k++) p.x[4 * IN + k] *= 1e-20F; // no 8-bit float is as small
        run_blocks(&p, interpreter != 0, 128);
        for (int i = 0; i < ROWS * IN; i++) minus[i] = -p.x[i];
        round_blocks(minus, x, ROWS, IN, 1);
        round_blocks(p.w, w, OUT, IN, BLOCK);
        round_blocks(p.dh, dh, ROWS, OUT, 1);
        double worst = 0; // of what rounding to bf16 may change, and the order of sums
        for (int i = 0; i < ROWS; i++) {
            for (int j = 0; j < OUT; j++) {
                double sum = 0, size = 0;
                for (int k = 0; k < IN; k++) {
                    sum += x[i * IN + k] * w[j * IN + k];
                    size += fabs(x[i * IN + k] * w[j * IN + k]);
                }
                double may = fabs(sum) * 0x1p-8 + size * 0x1p-20;
                worst = fmax(worst, fabs((double)p.h[i * OUT + j] - sum) / may);
            }
            for (int k = 0; k < IN; k++) {
                double sum = 0, size = 0;
                for (int j = 0; j < OUT; j++) {
                    sum += dh[i * OUT + j] * w[j * IN + k];
                    size += fabs(dh[i * OUT + j] * w[j * IN + k]);
                }
                double may = fabs(sum) * 0x1p-8 + size * 0x1p-20;
                worst = fmax(worst, fabs((double)p.da[i * IN + k] - sum) / may);
            }
        }
        printf("%.2f of what may differ ", worst);
        EXPECT(worst < 1);
    }
}
/* What is not a number stays in its row; a large number takes others of its block to zero, not of
 * its tensor. */
TEST(narrow_blocks_keep_what_is_odd_to_themselves) {
    static Blocks good, odd, whole;
    for (int interpreter = 0; interpreter < 2; interpreter++) {
        fill_blocks(&good);
        odd = good;
        odd.x[5 * IN + 3] = INFINITY;
        odd.x[6 * IN + 200] = NAN;
        odd.x[7 * IN + 100] = 1e6F;
        run_blocks(&good, interpreter != 0, 128);
        run_blocks(&odd, interpreter != 0, 128);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < OUT; j++) {
                EXPECT(isnan(odd.h[i * OUT + j]) == (i == 5 || i == 6));
                if (i < 5 || i > 7) EXPECT(odd.h[i * OUT + j] == good.h[i * OUT + j]);
            }
    }
    whole = odd;
    for (int k = 0; k < IN; k++) whole.x[5 * IN + k] = whole.x[6 * IN + k] = 0;
    run_blocks(&whole, true, 0); // one scale for all: the other rows are gone
    EXPECT(whole.h[0] == 0 && whole.h[20 * OUT + 100] == 0 && whole.h[7 * OUT] != 0);
}
TEST(narrow_blocks_are_of_128) {
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    Narrow             n;
    options.compute = STOA_F8E4M3;
    options.f8_block = 64;
    EXPECT(!narrow_open(&n, blocks, options));
    EXPECT(strstr(stoa_message(n.context), "f8_block must be 0 or 128") != NULL);
    narrow_close(&n);
}

/* Two hidden layers learn a smooth function of eight numbers; the mean loss of the last steps. */
static double learn(StoaDtype compute, uint32_t history, uint32_t block) {
    enum { BATCH = 64, STEPS = 150 };
    int64_t              width = block != 0 ? block : 64;
    StoaContextOptions   context = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions   options = STOA_COMPILE_OPTIONS;
    StoaOptimizerOptions optimizer = STOA_OPTIMIZER_OPTIONS;
    Narrow               n = {NULL, NULL, NULL};
    static float         x[BATCH * 8], y[BATCH];
    double               sum = 0;
    uint32_t             bits = 7;
    int64_t              axes[] = {0, 1};
    context.lanes = 1;
    options.seed = 5;
    options.compute = compute;
    options.f8_products = STOA_F8_FORWARD | STOA_F8_INPUT_GRADIENT | STOA_F8_WEIGHT_GRADIENT;
    options.f8_history = history;
    options.f8_block = compute == STOA_F8E4M3 ? block : 0;
    EXPECT(stoa_context_create(&context, &n.context) == STOA_OK);
    EXPECT(stoa_program_create(n.context, &n.program) == STOA_OK);
    StoaProgram *p = n.program;
    StoaDim      given[] = {stoa_dim(p, BATCH), stoa_dim(p, 8)};
    StoaDim      wanted[] = {stoa_dim(p, BATCH), stoa_dim(p, 1)};
    stoa_graph_begin(p, "train");
    StoaValue in = stoa_input(p, "x", STOA_F32, given, 2), h = in;
    StoaValue target = stoa_input(p, "y", STOA_F32, wanted, 2);
    StoaValue rate = stoa_input(p, "rate", STOA_F32, NULL, 0);
    StoaValue step = stoa_input(p, "step", STOA_F32, NULL, 0);
    for (int i = 0; i < 4; i++) {
        int64_t sizes[] = {i == 3 ? 1 : width, i == 0 ? 8 : width};
        char    name[16];
        snprintf(name, sizeof name, "w%d", i);
        StoaValue w = stoa_parameter(p, name, STOA_F32, sizes, 2, STOA_INIT_NORMAL,
                                     1 / sqrt((double)sizes[1]));
        h = stoa_linear(p, h, w, (StoaValue){0});
        if (i < 3) h = stoa_gelu(p, h, true);
    }
    StoaValue loss = stoa_mean(p, stoa_square(p, stoa_sub(p, h, target)), axes, 2);
    stoa_output(p, "loss", loss);
    stoa_output(p, "norm", stoa_optimize(p, loss, rate, step, &optimizer));
    stoa_graph_end(p);
    if (!EXPECT(stoa_compile(p, &options, &n.session) == STOA_OK)) return NAN;
    for (int s = 1; s <= STEPS; s++) {
        float number = (float)s, speed = 3e-3F, told = 0;
        for (int i = 0; i < BATCH; i++) {
            y[i] = 0;
            for (int k = 0; k < 8; k++) {
                bits = bits * 1664525U + 1013904223U;
                x[i * 8 + k] = (float)(bits >> 8) / 8388608.0F - 1;
                y[i] += sinf(2 * x[i * 8 + k]) * (k % 2 ? 0.5F : -0.5F);
            }
        }
        StoaTensor inputs[] = {{STOA_F32, 2, {BATCH, 8}, x},
                               {STOA_F32, 2, {BATCH, 1}, y},
                               {STOA_F32, 0, {0}, &speed},
                               {STOA_F32, 0, {0}, &number}};
        StoaTensor output = {.data = &told};
        EXPECT(stoa_run(n.session, "train", inputs, 4, &output, 1, NULL) == STOA_OK);
        if (s > STEPS - 20) sum += (double)told / 20;
    }
    StoaTensor state = {.data = NULL};
    StoaStatus found = stoa_state_get(n.session, "fp8.train.most", &state);
    EXPECT_EQ(found,
              compute == STOA_F8E4M3 && history != 0 && block == 0 ? STOA_OK : STOA_NOT_FOUND);
    narrow_close(&n);
    return sum;
}

TEST(narrow_networks_learn) {
    double f32 = learn(STOA_NONE, 0, 0), bf16 = learn(STOA_BF16, 0, 0);
    double f8 = learn(STOA_F8E4M3, 0, 0), later = learn(STOA_F8E4M3, 16, 0);
    printf("losses: f32 %.4f, bf16 %.4f, 8 bits %.4f, by earlier steps %.4f ", f32, bf16, f8,
           later);
    EXPECT(f32 < 0.1);
    EXPECT(f8 < 1.5 * bf16);
    EXPECT(later < 1.5 * bf16);
    EXPECT(f8 != bf16 && later != bf16 && later != f8);
    bf16 = learn(STOA_BF16, 0, 128), f8 = learn(STOA_F8E4M3, 16, 128);
    printf("wider: bf16 %.4f, by blocks %.4f ", bf16, f8);
    EXPECT(f8 < 1.5 * bf16 && f8 != bf16);
}

/* One number in a row of zeros, times a weight of a half everywhere: what it became in 8 bits. */
static const char delayed[] =
    "graph step(%x: f32[8,16], %t: f32[16,32]) {\n"
    "  %w = parameter {name=\"w\", type=f32[32,16], init=fill, scale=0.5}\n"
    "  %a = neg %x\n  %h = linear %a, %w\n  %y = linear %h, %t\n"
    "  assign %w, %w\n  return %h, %y\n}\n";
enum { HISTORY = 3 };
static float step_of(Narrow *n, float number, float most[2][HISTORY]) {
    static float x[8 * 16], t[16 * 32], h[8 * 32];
    StoaTensor   inputs[] = {{STOA_F32, 2, {8, 16}, x}, {STOA_F32, 2, {16, 32}, t}};
    StoaTensor   outputs[] = {{.data = h}, {.data = NULL}}, state = {.data = most};
    x[3 * 16 + 5] = number;
    EXPECT(stoa_run(n->session, "step", inputs, 2, outputs, 2, NULL) == STOA_OK);
    EXPECT(stoa_state_get(n->session, "fp8.step.most", &state) == STOA_OK);
    EXPECT(state.rank == 2 && state.shape[0] == 2 && state.shape[1] == HISTORY);
    return h[3 * 32 + 7];
}
TEST(narrow_scales_follow_earlier_steps) {
    for (int interpreter = 0; interpreter < 2; interpreter++) {
        StoaCompileOptions options = STOA_COMPILE_OPTIONS;
        float              most[2][HISTORY];
        Narrow             n;
        options.compute = STOA_F8E4M3;
        options.f8_products = STOA_F8_FORWARD;
        options.f8_history = HISTORY;
        options.interpreter = interpreter != 0;
        REQUIRE(narrow_open(&n, delayed, options));
        EXPECT_NEAR(step_of(&n, 3, most), -1.5, 1e-6); // nothing is known: a scale of one
        EXPECT(most[0][0] == 3 && most[0][1] == 0 && most[1][0] == 0.5F);
        EXPECT_NEAR(step_of(&n, 100, most), -1.5, 1e-6); // at most what was
        EXPECT(most[0][0] == 100 && most[0][1] == 3 && most[0][2] == 0);
        EXPECT_NEAR(step_of(&n, 100, most), -50, 0.25);
        EXPECT_NEAR(step_of(&n, INFINITY, most), -50, 0.25);
        EXPECT(most[0][0] == 0 && most[0][1] == 100 && most[0][2] == 100);
        EXPECT(most[1][0] == 0.5F && most[1][2] == 0.5F);
        EXPECT_NEAR(step_of(&n, 0, most), 0, 0);
        EXPECT_NEAR(step_of(&n, 1000, most), -50, 0.25); // 100 is the oldest of three
        EXPECT_NEAR(step_of(&n, 1, most), -0.5 * 0.4375 * 1000 / 448, 1e-3); // by 1000
        narrow_close(&n);
    }
}

/* Whether the product of graph look reads what the state is now, rounded. */
static bool looks_at_state(Narrow *n) {
    static float x[8 * 16], y[8 * 16], w[16 * 16];
    StoaTensor   input = {STOA_F32, 2, {8, 16}, x}, output = {.data = y}, state = {.data = w};
    bool         same = stoa_state_count(n->session) == 1;
    for (int i = 0; i < 8; i++) x[17 * i] = 1;
    if (stoa_run(n->session, "look", &input, 1, &output, 1, NULL) != STOA_OK) return false;
    if (stoa_state_get(n->session, "w", &state) != STOA_OK) return false;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 16; j++)
            same &= y[16 * i + j] == dtype_f32_of_bf16(dtype_bf16_of_f32(w[16 * j + i]));
    return same && w[0] != 0;
}
TEST(narrow_copies_follow_the_state) {
#define W "  %w = parameter {name=\"w\", type=f32[16,16], init=normal, scale=1.0}\n"
    static const char  text[] = "graph look(%x: f32[8,16]) {\n" W "  %y = linear %x, %w\n"
                                "  return %y\n}\n"
                                "graph step(%x: f32[16,16]) {\n" W "  %v = add %w, %x\n"
                                "  assign %w, %v\n  return\n}\n";
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    static float       w[16 * 16];
    StoaTensor         given = {STOA_F32, 2, {16, 16}, w};
    Narrow             n;
    options.compute = STOA_BF16;
    if (!EXPECT(narrow_open(&n, text, options))) return;
    EXPECT(looks_at_state(&n)); // as drawn
    for (int i = 0; i < 16 * 16; i++) w[i] = 0.37F * (float)(i % 23) - 3;
    for (int step = 0; step < 3; step++) {
        EXPECT(stoa_run(n.session, "step", &given, 1, NULL, 0, NULL) == STOA_OK);
        EXPECT(looks_at_state(&n)); // assigned
    }
    EXPECT(stoa_state_set(n.session, "w", &given) == STOA_OK);
    EXPECT(looks_at_state(&n)); // set from outside
    StoaTensor copy = {.data = NULL};
    EXPECT(stoa_state_get(n.session, "w@bf16", &copy) == STOA_NOT_FOUND); // nobody's business
    narrow_close(&n);
#undef W
}

TEST(narrow_copies_are_of_something) {
    static const char  text[] = "graph f() {\n  %w = parameter {name=\"w\", type=bf16[2], "
                                "of=\"v\"}\n  return %w\n}\n";
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    Narrow             n;
    EXPECT(!narrow_open(&n, text, options));
    EXPECT(strstr(stoa_message(n.context), "parameter 'v'") != NULL);
    narrow_close(&n);
}

TEST(narrow_says_what_it_does_not_do) {
    static const char  text[] = "graph f(%x: f32[8,16], %w: f32[16,16]) {\n"
                                "  %a = convert %x {dtype=f8e4m3}\n"
                                "  %b = convert %w {dtype=f8e5m2}\n"
                                "  %y = dot_general %a, %b {x_contract=[1], y_contract=[1]}\n"
                                "  return %y\n}\n";
    static float       x[16 * 16];
    static uint16_t    y[8 * 16];
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    StoaTensor         inputs[] = {{STOA_F32, 2, {8, 16}, x}, {STOA_F32, 2, {16, 16}, x}};
    StoaTensor         output = {.data = y};
    Narrow             n;
    for (int i = 0; i < 16 * 16; i++) x[i] = 1;
    for (int interpreter = 0; interpreter < 2; interpreter++) {
        options.interpreter = interpreter != 0;
        EXPECT(narrow_open(&n, text, options));
        StoaStatus status = stoa_run(n.session, "f", inputs, 2, &output, 1, NULL);
        EXPECT_EQ(status, interpreter ? STOA_OK : STOA_INVALID); // the CPU stores, only
        if (interpreter) EXPECT_EQ(y[0], dtype_bf16_of_f32(16));
        if (!interpreter)
            EXPECT(strstr(stoa_message(n.context), "no kernel of dot_general") != NULL);
        narrow_close(&n);
    }
    options.compute = STOA_F64;
    EXPECT(!narrow_open(&n, text, options));
    EXPECT(strstr(stoa_message(n.context), "STOA_F8E4M3") != NULL);
    narrow_close(&n);
}
