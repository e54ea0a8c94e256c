/* peer_stoa: Stoa's side of the suite `peers`: trains a model of bench/trainee.h on request.
 *
 * peer_stoa MODEL --describe prints the model as one JSON object. peer_stoa MODEL LANES DATA
 * [WEIGHTS [DEVICE COMPUTE]] prepares it, runs the first step, prints what that took, and then
 * obeys lines on standard input: `steps N` runs N steps and prints their time and losses; the end
 * of the input ends it. DATA holds batches of words: the inputs of a step, then its targets; they
 * are taken in turn. WEIGHTS is a safetensors file of parameters; DEVICE is cpu or cuda, COMPUTE
 * f32, bf16, f16, fp8 or fp8-block. bench_peers.py or curve.py is at the other end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "bench/trainee.h"

enum { PIXELS = 28 * 28, LINE_BYTES = 64, STEPS_MAX = 1 << 20 };

typedef struct Peer {
    Trainee  trainee;
    uint8_t *data;
    size_t   inputs_bytes, targets_bytes, batches, next; /* of a batch; how many; the next one */
} Peer;

static double seconds(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int describe(const TraineeModel *m) {
    const GptConfig *g = &m->gpt;
    printf("{\"model\":\"%s\",\"images\":%s,\"batch\":%u,\"length\":%u,\"vocab\":%u,"
           "\"context\":%u,\"layers\":%u,\"heads\":%u,\"width\":%u,\"parameters\":%llu,"
           "\"commit\":\"%s\",\"machine\":\"%s\"}\n",
           m->name, m->images ? "true" : "false", m->batch, m->length, g->vocab, g->context,
           g->layers, g->heads, g->width,
           (unsigned long long)(m->images ? model_lenet_parameters() : model_gpt_parameters(g)),
           bench_commit(), bench_machine());
    return 0;
}

static bool read_data(Peer *peer, const char *path) {
    const TraineeModel *m = &peer->trainee.model;
    size_t              items = (size_t)m->batch * m->length;
    peer->inputs_bytes = 4 * items * (m->images ? PIXELS : 1);
    peer->targets_bytes = 4 * items;
    size_t batch = peer->inputs_bytes + peer->targets_bytes;
    FILE  *file = fopen(path, "rb");
    bool   good = file != NULL && fseek(file, 0, SEEK_END) == 0;
    long   bytes = good ? ftell(file) : 0;
    peer->batches = bytes > 0 ? (size_t)bytes / batch : 0;
    peer->data = malloc(peer->batches * batch + 1);
    good = good && peer->batches > 0 && peer->data != NULL && fseek(file, 0, SEEK_SET) == 0 &&
           fread(peer->data, batch, peer->batches, file) == peer->batches;
    if (file != NULL) (void)fclose(file);
    if (!good) (void)fprintf(stderr, "peer_stoa: %s holds no batch of %s\n", path, m->name);
    return good;
}

static bool step(Peer *peer) {
    Trainee       *t = &peer->trainee;
    const uint8_t *inputs = peer->data + peer->next * (peer->inputs_bytes + peer->targets_bytes);
    const uint8_t *targets = inputs + peer->inputs_bytes;
    memcpy(t->model.images ? (void *)t->pixels : t->tokens, inputs, peer->inputs_bytes);
    memcpy(t->model.images ? t->tokens : t->targets, targets, peer->targets_bytes);
    peer->next = (peer->next + 1) % peer->batches;
    return trainee_step(t, t->model.batch, t->model.length);
}

static bool set_compute(Trainee *t, const char *name) {
    static const struct {
        const char *name;
        StoaDtype   dtype;
        uint32_t    f8_block;
    } known[] = {{"f32", STOA_NONE, 0},
                 {"bf16", STOA_BF16, 0},
                 {"f16", STOA_F16, 0},
                 {"fp8", STOA_F8E4M3, 0},
                 {"fp8-block", STOA_F8E4M3, 128}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        t->compute = known[i].dtype;
        t->f8_block = known[i].f8_block;
        t->f8_products = t->f8_block != 0 ? STOA_F8_FORWARD | STOA_F8_INPUT_GRADIENT : 0;
        return true;
    }
    (void)fprintf(stderr, "peer_stoa: COMPUTE is %s: f32, bf16, f16, fp8 and fp8-block are known\n",
                  name);
    return false;
}

/* Builds, compiles, loads, steps once. The time leaves out reading the files, as for the others. */
static bool prepare(Peer *peer, const TraineeModel *model, uint32_t lanes, const char *data,
                    const char *const *rest) {
    Trainee    *t = &peer->trainee;
    const char *weights = rest[0];
    double      begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!trainee_open(t, model, &(TraineeOptions){.lanes = lanes, .rows_max = model->batch}))
        return false;
    t->device = weights != NULL ? rest[1] : NULL;
    if (t->device != NULL && !set_compute(t, rest[2])) return false;
    if (!trainee_build(t) || !trainee_compile(t)) return false;
    double prepared = seconds(CLOCK_MONOTONIC) - begin;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (!read_data(peer, data)) return false;
    if (weights != NULL && stoa_weights_load(t->session, weights, true) != STOA_OK) {
        (void)fprintf(stderr, "%s\n", stoa_message(t->context));
        return false;
    }
    begin = seconds(CLOCK_MONOTONIC);
    double cpu_begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!step(peer)) return false;
    double first = seconds(CLOCK_MONOTONIC) - begin;
    cpu += seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
    printf("{\"version\":\"Stoa %s\",\"first\":%.6f,\"first_cpu\":%.6f,\"loss\":%.9g}\n",
           stoa_version(), prepared + first, cpu, (double)t->loss);
    return fflush(stdout) == 0;
}

static bool run_steps(Peer *peer, unsigned long count) {
    float *losses = malloc(count * sizeof *losses + 1);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    bool   good = losses != NULL;
    for (unsigned long i = 0; i < count && good; i++) {
        good = step(peer);
        losses[i] = peer->trainee.loss;
    }
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"wall\":%.9f,\"cpu\":%.9f,\"losses\":[", wall, cpu);
    for (unsigned long i = 0; i < count && good; i++)
        printf("%s%.9g", i ? "," : "", (double)losses[i]);
    printf("]}\n");
    free(losses);
    return fflush(stdout) == 0 && good;
}

int main(int argc, char **argv) {
    char          line[LINE_BYTES];
    unsigned long count;
    TraineeModel  model = trainee_model(argc > 1 ? argv[1] : "");
    if (model.name != NULL && argc == 3 && strcmp(argv[2], "--describe") == 0)
        return describe(&model);
    if (model.name == NULL || argc < 4 || argc == 6 || argc > 7) {
        (void)fprintf(stderr,
                      "usage: %s MODEL --describe | MODEL LANES DATA [WEIGHTS [DEVICE COMPUTE]]\n",
                      argv[0]);
        return 2;
    }
    Peer        peer = {.next = 0};
    const char *rest[3] = {NULL, NULL, NULL};
    for (int i = 4; i < argc; i++) rest[i - 4] = argv[i];
    bool good = prepare(&peer, &model, (uint32_t)strtoul(argv[2], NULL, 10), argv[3], rest);
    while (good && fgets(line, sizeof line, stdin) != NULL) {
        good = sscanf(line, "steps %lu", &count) == 1 && count <= STEPS_MAX;
        good = good && run_steps(&peer, count);
    }
    trainee_close(&peer.trainee);
    free(peer.data);
    return good ? 0 : 1;
}
