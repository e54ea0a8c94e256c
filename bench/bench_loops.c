/* Control flow: what an iteration costs, and what a gradient keeps of it.
 *
 * Programs in the text form run through the public functions on one lane. `ns/iteration` is the
 * time of a run over its iterations; `bytes` is planned memory over iterations, which for gradients
 * is what is kept of each step; `..._100`, `_10` and `_1` bound it by so many percent of what
 * keeping all states takes. Beside the loops stands the same work without one: the body of the
 * LSTM run once from the host for every step (`lstm_host`). A gradient's `times forward` compares
 * it with the run of the loop alone. With --device cuda the loops run there, on inputs that lie
 * there, times are of the wall clock to the end of the work, and `setup` is the first run, which
 * makes the graph. `batch_...`: programs for one sample made to programs for many by vmap; an
 * iteration is a sample. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "bench/bench.h"
#include "stoa/stoa.h"

enum { INPUTS_MAX = 8, TEXT_MAX = 8192, HIDDEN = 64 };
typedef struct Suite {
    Bench        bench;
    StoaContext *context;
    const char  *device; /* NULL: the processor */
} Suite;
typedef struct Case {
    const char *name;
    int64_t     iterations, smoke; /* of a run; of a smoke run */
    const char *text;              /* @N: iterations; @R: their third root */
    double      goal;              /* ns an iteration; 0: none */
    uint32_t    percent;           /* budget, of the bytes without one; 0: none */
} Case;

#define SCALARS                                                                                    \
    "  %n0 = constant {value=i64 0}\n  %n1 = constant {value=i64 1}\n"                             \
    "  %nt = constant {value=i64 @N}\n"
#define LSTM_STEP                                                                                  \
    "    %hx = concat %h, %r {axis=0}\n"                                                           \
    "    %p = dot_general %w, %hx {x_contract=[1], y_contract=[0]}\n"                              \
    "    %i4 = slice %p {starts=[0], limits=[64]}\n    %i5 = logistic %i4\n"                       \
    "    %f4 = slice %p {starts=[64], limits=[128]}\n    %f5 = logistic %f4\n"                     \
    "    %o4 = slice %p {starts=[128], limits=[192]}\n    %o5 = logistic %o4\n"                    \
    "    %g4 = slice %p {starts=[192], limits=[256]}\n    %g5 = tanh %g4\n"                        \
    "    %fc = mul %f5, %c\n    %ig = mul %i5, %g5\n    %c2 = add %fc, %ig\n"                      \
    "    %tc = tanh %c2\n    %h2 = mul %o5, %tc\n"
#define LSTM_ARGS "%w: f32[256,128], %h0: f32[64], %c0: f32[64], %x: f32[@N,64]"
#define LSTM_SCAN                                                                                  \
    "  %he, %ce = scan %h0, %c0, %x {carries=2} : f32[64], f32[64]\n"                              \
    "      (%t: i64, %h: f32[64], %c: f32[64], %r: f32[64]) {\n" LSTM_STEP                         \
    "    return %h2, %c2\n  }\n"
#define LSTM_ROW                                                                                   \
    "    %at = broadcast_in_dim %t {shape=[1], axes=[]}\n"                                         \
    "    %az = broadcast_in_dim %n0 {shape=[1], axes=[]}\n"                                        \
    "    %as = concat %at, %az {axis=0}\n    %r1 = dynamic_slice %x, %as {sizes=[1, 64]}\n"        \
    "    %r = reshape %r1 {shape=[64]}\n"
#define LSTM_WHILE                                                                                 \
    SCALARS                                                                                        \
    "  %te, %he, %ce = while %n0, %h0, %c0 {limit=@N} : i64, f32[64], f32[64]\n"                   \
    "      (%t: i64, %h: f32[64], %c: f32[64]) {\n"                                                \
    "    %m = compare %t, %nt {direction=lt}\n    return %m\n  }\n"                                \
    "      (%t: i64, %h: f32[64], %c: f32[64]) {\n" LSTM_ROW LSTM_STEP                             \
    "    %t2 = add %t, %n1\n    return %t2, %h2, %c2\n  }\n"
#define LSTM_LOSS "  %q = mul %he, %ce\n  %l = reduce %q {kind=sum, axes=[0]}\n"
/* Lorenz 1963 by the classical Runge-Kutta method: y' = f(y; s). */
#define LORENZ(y, k)                                                                               \
    "    %" k "x = slice %" y " {starts=[0], limits=[1]}\n"                                        \
    "    %" k "y = slice %" y " {starts=[1], limits=[2]}\n"                                        \
    "    %" k "z = slice %" y " {starts=[2], limits=[3]}\n"                                        \
    "    %" k "a = sub %" k "y, %" k "x\n    %" k "b = mul %" k "a, %s10\n"                        \
    "    %" k "c = sub %s28, %" k "z\n    %" k "d = mul %" k "x, %" k "c\n"                        \
    "    %" k "e = sub %" k "d, %" k "y\n    %" k "f = mul %" k "x, %" k "y\n"                     \
    "    %" k "g = mul %" k "z, %s3\n    %" k "h = sub %" k "f, %" k "g\n"                         \
    "    %" k " = concat %" k "b, %" k "e, %" k "h {axis=0}\n"
#define ODE_ARGS "%y0: f64[3], %s10: f64[1], %s28: f64[1], %s3: f64[1], %dt: f64[3], %half: f64[3]"
/* y + k h */
#define MOVED(to, k, h) "    %" to "d = mul %" k ", %" h "\n    %" to " = add %y, %" to "d\n"
#define ODE_SUM                                                                                    \
    "    %m1 = add %k2, %k3\n    %m2 = add %m1, %m1\n    %m3 = add %k1, %k4\n"                     \
    "    %m4 = add %m2, %m3\n    %m5 = mul %m4, %dt\n    %m6 = mul %m5, %six\n"                    \
    "    %yn = add %y, %m6\n"
#define ODE_FIRST  LORENZ("y", "k1") MOVED("y1", "k1", "half") LORENZ("y1", "k2")
#define ODE_SECOND MOVED("y2", "k2", "half") LORENZ("y2", "k3") MOVED("y3", "k3", "dt")
#define ODE_STEP   ODE_FIRST ODE_SECOND LORENZ("y3", "k4") ODE_SUM
#define ODE_SCAN_OF(steps)                                                                         \
    "  %s6 = constant {value=f64 0.16666666666666666}\n"                                           \
    "  %six = broadcast_in_dim %s6 {shape=[3], axes=[]}\n"                                         \
    "  %ye = scan %y0 {carries=1, length=" steps "} : f64[3] (%t: i64, %y: f64[3]) {\n" ODE_STEP   \
    "    return %yn\n  }\n"
#define ODE_SCAN ODE_SCAN_OF("@N")
#define ODE_LOSS "  %l = reduce %ye {kind=sum, axes=[0]}\n"

#define ODE_GRADIENT                                                                               \
    "graph f(" ODE_ARGS ") {\n" ODE_SCAN ODE_LOSS                                                  \
    "  %g, %d = gradient %l, %y0, %s28\n  return %l, %g, %d\n}\n"

/* Eight beams over 256 words, a recurrent layer of 64; then the way back. */
#define BEAM_ARGS "%w: f32[256,64], %e: f32[256,64], %u: f32[64,64], %h0: f32[8,64], %s0: f32[8]"
#define BEAM_STEP                                                                                  \
    "    %lg = dot_general %h, %w {x_contract=[1], y_contract=[1]}\n"                              \
    "    %lp = log_softmax %lg {axis=1}\n"                                                         \
    "    %sb = broadcast_in_dim %s {shape=[8,256], axes=[0]}\n    %sl = add %sb, %lp\n"            \
    "    %flat = reshape %sl {shape=[2048]}\n"                                                     \
    "    %sv, %si = sort %flat, %all {axis=0, descending=true}\n"                                  \
    "    %best = slice %sv {starts=[0], limits=[8]}\n"                                             \
    "    %at = slice %si {starts=[0], limits=[8]}\n"                                               \
    "    %beam = div %at, %k256\n    %word = rem %at, %k256\n"                                     \
    "    %hb = array_read %h, %beam\n    %ew = array_read %e, %word\n"                             \
    "    %hu = dot_general %hb, %u {x_contract=[1], y_contract=[0]}\n"                             \
    "    %hs = add %hu, %ew\n    %h2 = tanh %hs\n"
#define BEAM_SEARCH                                                                                \
    "  %all = iota {dtype=i64, shape=[2048], axis=0}\n  %k = constant {value=i64 256}\n"           \
    "  %k256 = broadcast_in_dim %k {shape=[8], axes=[]}\n"                                         \
    "  %se, %he, %from, %words = scan %s0, %h0 {carries=2, length=@N}\n"                           \
    "      : f32[8], f32[8,64], i64[@N,8], i64[@N,8] (%t: i64, %s: f32[8], %h: "                   \
    "f32[8,64]) {\n" BEAM_STEP "    return %best, %h2, %beam, %word\n  }\n"                        \
    "  %ends = iota {dtype=i64, shape=[8], axis=0}\n"                                              \
    "  %first, %path = scan %ends, %from, %words {carries=1, reverse=true}\n"                      \
    "      : i64[8], i64[@N,8] (%t: i64, %c: i64[8], %f: i64[8], %v: i64[8]) {\n"                  \
    "    %p = array_read %v, %c\n    %b = array_read %f, %c\n    return %b, %p\n  }\n"             \
    "  return %se, %path\n"

/* Programs of one sample x, then those of N samples X. */
#define NETWORK                                                                                    \
    "  %h = dot_general %w, %x {x_contract=[1], y_contract=[0]}\n  %t = tanh %h\n"                 \
    "  %o = dot_general %v, %t {x_contract=[1], y_contract=[0]}\n  %q = mul %o, %o\n"              \
    "  %l = reduce %q {kind=sum, axes=[0]}\n"
#define SYSTEM /* (a + 8 I) z = b */                                                               \
    "  %e8 = constant {value=f64 8}\n  %i0 = iota {dtype=i64, shape=[16,16], axis=0}\n"            \
    "  %i1 = iota {dtype=i64, shape=[16,16], axis=1}\n  %on = compare %i0, %i1 {direction=eq}\n"   \
    "  %of = convert %on {dtype=f64}\n  %d8 = broadcast_in_dim %e8 {shape=[16,16], axes=[]}\n"     \
    "  %d = mul %of, %d8\n  %s = add %a, %d\n  %z = solve %s, %b\n"
static const Case cases[] = {
    {"scalar_while", 1000000, 1000,
     "graph f(%a: f64, %b: f64) {\n" SCALARS
     "  %k, %y = while %n0, %a : i64, f64 (%i: i64, %c: f64) {\n"
     "    %m = compare %i, %nt {direction=lt}\n    return %m\n  } (%i: i64, %c: f64) {\n"
     "    %j = add %i, %n1\n    %p = mul %c, %b\n    %q = add %p, %a\n    return %j, %q\n  }\n"
     "  return %y\n}\n",
     60, 0},
    {"scalar_scan", 1000000, 1000,
     "graph f(%a: f64, %b: f64) {\n"
     "  %y = scan %a {carries=1, length=@N} : f64 (%i: i64, %c: f64) {\n"
     "    %p = mul %c, %b\n    %q = add %p, %a\n    return %q\n  }\n  return %y\n}\n",
     30, 0},
    {"scalar_scan_gradient", 100000, 1000,
     "graph f(%a: f64, %b: f64) {\n"
     "  %y = scan %a {carries=1, length=@N} : f64 (%i: i64, %c: f64) {\n"
     "    %p = mul %c, %b\n    %q = add %p, %a\n    return %q\n  }\n"
     "  %g = gradient %y, %b\n  return %g\n}\n",
     0, 0},
    {"lstm_scan", 1000, 10, "graph f(" LSTM_ARGS ") {\n" LSTM_SCAN LSTM_LOSS "  return %l\n}\n", 0,
     0},
    {"lstm_while", 1000, 10, "graph f(" LSTM_ARGS ") {\n" LSTM_WHILE LSTM_LOSS "  return %l\n}\n",
     0, 0},
    {"lstm_scan_gradient", 1000, 10,
     "graph f(" LSTM_ARGS ") {\n" LSTM_SCAN LSTM_LOSS
     "  %g, %d = gradient %l, %w, %x\n  return %l, %g, %d\n}\n",
     0, 0},
    {"lstm_while_gradient", 1000, 10,
     "graph f(" LSTM_ARGS ") {\n" LSTM_WHILE LSTM_LOSS
     "  %g = gradient %l, %w\n  return %l, %g\n}\n",
     0, 0},
    {"ode_scan", 1000, 10, "graph f(" ODE_ARGS ") {\n" ODE_SCAN ODE_LOSS "  return %l\n}\n", 0, 0},
    {"ode_scan_gradient", 1000, 10, ODE_GRADIENT, 0, 0},
    {"ode_gradient_100", 10000, 100, ODE_GRADIENT, 0, 100},
    {"ode_gradient_10", 10000, 1000, ODE_GRADIENT, 0, 10},
    {"ode_gradient_1", 10000, 10000, ODE_GRADIENT, 0, 1},
    {"nested_three", 1000000, 1000,
     "graph f(%a: f64, %b: f64) {\n"
     "  %y = scan %a {carries=1, length=@R} : f64 (%i: i64, %c: f64) {\n"
     "    %d = scan %c {carries=1, length=@R} : f64 (%i2: i64, %c2: f64) {\n"
     "      %e = scan %c2 {carries=1, length=@R} : f64 (%i3: i64, %c3: f64) {\n"
     "        %p = mul %c3, %b\n        %q = add %p, %a\n        return %q\n      }\n"
     "      return %e\n    }\n    return %d\n  }\n  return %y\n}\n",
     40, 0},
    {"beam_search", 1000, 10, "graph f(" BEAM_ARGS ") {\n" BEAM_SEARCH "}\n", 0, 0},
    {"batch_gradients", 1024, 10,
     "graph f(%w: f32[64,32], %v: f32[10,64], %x: f32[32], %X: f32[@N,32]) {\n" NETWORK
     "  %g, %k = gradient %l, %w, %v\n  %n = global_norm %g, %k\n  %y = vmap %n, %x, %X\n"
     "  return %y\n}\n",
     0, 0},
    {"batch_hessians", 1024, 10,
     "graph f(%w: f32[64,8], %v: f32[1,64], %x: f32[8], %X: f32[@N,8]) {\n" NETWORK
     "  %g = gradient %l, %x\n  %k = jacobian %g, %x\n  %y = vmap %k, %x, %X\n  return %y\n}\n",
     0, 0},
    {"batch_jacobians", 1024, 10,
     "graph f(%w: f32[64,32], %v: f32[10,64], %x: f32[32], %X: f32[@N,32]) {\n" NETWORK
     "  %k = jacobian %o, %x\n  %y = vmap %k, %x, %X\n  return %y\n}\n",
     0, 0},
    {"batch_solves", 1024, 10,
     "graph f(%a: f64[16,16], %b: f64[16,1], %A: f64[@N,16,16]) {\n" SYSTEM
     "  %y = vmap %z, %a, %A\n  return %y\n}\n",
     0, 0},
    {"batch_solve_gradients", 1024, 10,
     "graph f(%a: f64[16,16], %b: f64[16,1], %A: f64[@N,16,16]) {\n" SYSTEM
     "  %q = square %z\n  %l = reduce %q {kind=sum, axes=[0,1]}\n  %g = gradient %l, %a\n"
     "  %y = vmap %g, %a, %A\n  return %y\n}\n",
     0, 0},
    {"batch_ode", 1024, 10,
     "graph f(" ODE_ARGS
     ", %Y: f64[@N,3]) {\n" ODE_SCAN_OF("100") "  %z = vmap %ye, %y0, %Y\n  return %z\n}\n",
     0, 0},
    {"batch_ode_gradient", 1024, 10,
     "graph f(" ODE_ARGS ", %Y: f64[@N,3]) {\n" ODE_SCAN_OF("100") ODE_LOSS
     "  %g = gradient %l, %y0\n  %z = vmap %g, %y0, %Y\n  return %z\n}\n",
     0, 0},
    {"batch_while", 1024, 10, /* 30 to 197 steps */
     "graph f(%x: f64, %X: f64[@N]) {\n  %a = abs %x\n"
     "  %half = constant {value=f64 0.5}\n  %k = add %a, %half\n"
     "  %one = constant {value=f64 1}\n  %small = constant {value=f64 1e-9}\n"
     "  %y = while %one : f64 (%c: f64) {\n    %m = compare %c, %small {direction=gt}\n"
     "    return %m\n  } (%c: f64) {\n    %n = mul %c, %k\n    return %n\n  }\n"
     "  %z = vmap %y, %x, %X\n  return %z\n}\n",
     0, 0},
};

static void must(Suite *s, StoaStatus status, const char *what) {
    if (status == STOA_OK) return;
    (void)fprintf(stderr, "bench_loops: %s: %s\n", what, stoa_message(s->context));
    exit(1);
}

typedef struct Loaded {
    StoaSession *session;
    StoaTensor   inputs[INPUTS_MAX], outputs[5];
    char         names[INPUTS_MAX][8];
    uint32_t     inputs_count, outputs_count;
    bool         resident; /* inputs are state, the last output is a number */
} Loaded;
/* Dtype and sizes of the arguments, read from the text: "%name: f32[3,4], ...". */
static void read_inputs(Loaded *l, const char *text) {
    const char *at = strchr(text, '('), *end = strchr(text, '{');
    while ((at = strchr(at, ':')) != NULL && at < end) {
        const char *name = at;
        while (*name != '%') name--;
        (void)snprintf(l->names[l->inputs_count], sizeof l->names[0], "%.*s", (int)(at - name - 1),
                       name + 1);
        StoaTensor *x = &l->inputs[l->inputs_count++];
        bool        wide = strncmp(at, ": f64", 5) == 0;
        size_t      count = 1;
        *x = (StoaTensor){.dtype = wide ? STOA_F64 : STOA_F32};
        at += 5;
        for (bool more = *at == '['; more; more = *at == ',') {
            char *rest;
            x->shape[x->rank] = strtoll(at + 1, &rest, 10);
            count *= (size_t)x->shape[x->rank++];
            at = rest;
        }
        x->data = calloc(count, wide ? 8 : 4);
        for (size_t i = 0; i < count; i++) {
            double number = 0.1 * (double)((i * 7 + l->inputs_count) % 9) - 0.4;
            if (wide)
                ((double *)x->data)[i] = count <= 3 ? 0.01 : number;
            else
                ((float *)x->data)[i] = (float)number * 0.5f;
        }
    }
}
static size_t fill_in(char *out, const char *text, int64_t iterations) {
    int64_t third = 1;
    size_t  length = 0;
    while (third * third * third < iterations) third++;
    for (; *text != 0; text++) {
        if (*text != '@') {
            out[length++] = *text;
            continue;
        }
        long long number = *++text == 'N' ? iterations : third;
        length += (size_t)snprintf(out + length, TEXT_MAX - length, "%lld", number);
    }
    out[length] = 0;
    return length;
}
/* The same for a device: what it reads and makes stays there. Arguments are state, and a number is
 * all that is taken, and waited for. */
static size_t make_resident(const Loaded *l, char *text) {
    char        from[TEXT_MAX];
    const char *body = strchr(strcpy(from, text), '{') + 2, *returned = body;
    char       *out = text + sprintf(text, "graph f() {\n");
    for (uint32_t i = 0; i < l->inputs_count; i++) {
        const StoaTensor *x = &l->inputs[i];
        out += sprintf(out, "  %%%s = parameter {name=\"%s\", type=%s", l->names[i], l->names[i],
                       x->dtype == STOA_F64 ? "f64" : "f32");
        for (uint32_t k = 0; k < x->rank; k++)
            out += sprintf(out, "%c%lld", k == 0 ? '[' : ',', (long long)x->shape[k]);
        out += sprintf(out, "%s, trainable=false}\n", x->rank == 0 ? "" : "]");
    }
    for (const char *at = body; (at = strstr(at, "  return ")) != NULL; at++) returned = at;
    out += sprintf(out, "%.*s  %%done = constant {value=f64 0}\n%.*s, %%done\n}\n",
                   (int)(returned - body), body, (int)strcspn(returned, "\n"), returned);
    return (size_t)(out - text);
}
static Loaded load(Suite *s, const Case *c, int64_t iterations) {
    Loaded       l = {.resident = s->device != NULL};
    char         text[TEXT_MAX];
    StoaProgram *program;
    size_t       length = fill_in(text, c->text, iterations);
    read_inputs(&l, text);
    if (l.resident) length = make_resident(&l, text);
    must(s, stoa_program_parse(s->context, text, length, c->name, &program), c->name);
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.device = s->device;
    must(s, stoa_compile(program, &options, &l.session), c->name);
    if (c->percent != 0) {
        StoaMemoryPeak peak;
        must(s, stoa_memory_peak(l.session, "f", NULL, 0, &peak), c->name);
        stoa_session_destroy(l.session);
        options.memory_budget = peak.arena_bytes * c->percent / 100;
        must(s, stoa_compile(program, &options, &l.session), c->name);
    }
    stoa_program_destroy(program);
    for (uint32_t i = 0; l.resident && i < l.inputs_count; i++)
        must(s, stoa_state_set(l.session, l.names[i], &l.inputs[i]), c->name);
    l.outputs_count = 1;
    for (const char *at = strrchr(text, '%'); *--at != 'n' || at[-1] != 'r';)
        l.outputs_count += *at == ',';
    return l;
}
static void run(Suite *s, Loaded *l, const char *name) {
    uint32_t inputs = l->resident ? 0 : l->inputs_count;
    must(s, stoa_run(l->session, "f", l->inputs, inputs, l->outputs, l->outputs_count, NULL), name);
}
static void unload(Loaded *l) {
    stoa_session_destroy(l->session);
    for (uint32_t i = 0; i < l->inputs_count; i++) free(l->inputs[i].data);
    for (uint32_t i = 0; i < l->outputs_count; i++) free(l->outputs[i].data);
}

/* What peers compare: the sum of the first result's elements, each times 1 to 7 by its place. */
static double told(const StoaTensor *x) {
    double sum = 0;
    size_t count = 1;
    for (uint32_t k = 0; k < x->rank; k++) count *= (size_t)x->shape[k];
    for (size_t i = 0; i < count; i++) {
        double weight = (double)(i % 7 + 1);
        sum += weight * (x->dtype == STOA_F64 ? ((const double *)x->data)[i]
                                              : (double)((const float *)x->data)[i]);
    }
    return sum;
}
static void bench_case(Suite *s, const Case *c) {
    int64_t iterations = s->bench.smoke ? c->smoke : c->iterations;
    if (s->bench.size != 0) iterations = (int64_t)s->bench.size;
    BenchTimes times = {0};
    if (!bench_wants(&s->bench, c->name)) return;
    Loaded   l = load(s, c, iterations);
    uint64_t first = os_clock_ns();
    run(s, &l, c->name);
    first = os_clock_ns() - first;
    for (uint32_t i = 0; i < l.outputs_count; i++) {
        size_t bytes = 8;
        for (uint32_t k = 0; k < l.outputs[i].rank; k++) bytes *= (size_t)l.outputs[i].shape[k];
        l.outputs[i].data = malloc(bytes);
    }
    run(s, &l, c->name);
    double value = told(&l.outputs[0]);
    for (uint32_t i = 0; l.resident && i + 1 < l.outputs_count; i++) {
        free(l.outputs[i].data);
        l.outputs[i].data = NULL;
    }
    for (uint32_t i = 0; i < bench_samples(&s->bench, s->device != NULL ? 3 : 7); i++) {
        bench_begin(&times);
        run(s, &l, c->name);
        bench_end(&times);
    }
    double bytes = (double)stoa_session_memory(l.session).arena_bytes;
    bench_tell(&s->bench, &(BenchResult){.name = c->name,
                                         .size = (uint64_t)iterations,
                                         .lanes = 1,
                                         .times = &times,
                                         .rows = (double)iterations,
                                         .unit = "ns/iteration",
                                         .goal = s->bench.smoke || s->device ? 0 : c->goal,
                                         .waits = s->device != NULL,
                                         .extras = {{"bytes", bytes / (double)iterations},
                                                    {"setup_ms", (double)first * 1e-6},
                                                    {"told", value}}});
    unload(&l);
}

int main(int argc, char **argv) {
    Suite s = {.bench = {.suite = "loops"}};
    int   exit_status = 0;
    if (argc > 2 && strcmp(argv[1], "--device") == 0) {
        s.device = argv[2];
        argv[2] = argv[0];
        argv += 2;
        argc -= 2;
    }
    if (!bench_open(&s.bench, "loops", argc, argv, &exit_status)) return exit_status;
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    options.lanes = s.bench.lanes != 0 ? s.bench.lanes : 1;
    if (stoa_context_create(&options, &s.context) != STOA_OK) return 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bench_case(&s, &cases[i]);
    stoa_context_destroy(s.context);
    return bench_close(&s.bench, 0);
}
