/* Reading settings. Each key stands once, here; the help of the options is the table in
 * stoa_train.c and the page docs/cli.md, and a test compares the three. */
#include "tools/stoa_settings.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char DICTIONARY[] = "/usr/share/dictd/gcide.dict.dz";
static const char FASHION[] = "/usr/share/datasets/fashion-mnist";

const char *settings_model_name(SettingsModel model) {
    return model == SETTINGS_GPT ? "gpt" : "lenet";
}

/* --- groups of keys --------------------------------------------------------------------------- */

static uint32_t whole(Cli *cli, const char *key, int64_t low, int64_t high, int64_t preset) {
    return (uint32_t)stoa_config_int(cli->config, key, low, high, preset);
}

static StoaDtype read_dtype(Cli *cli) {
    static const char *const names[] = {"f32", "f64", NULL};
    return stoa_config_choice(cli->config, "dtype", names, 0) == 0 ? STOA_F32 : STOA_F64;
}

static void read_gpt(Cli *cli, Settings *settings) {
    static const char *const tokenizers[] = {"bpe", "bytes", NULL};
    StoaConfig              *config = cli->config;
    GptConfig                gpt = model_gpt_preset();
    StoaTextOptions          text = STOA_TEXT_OPTIONS;
    text.path = stoa_config_text(config, "data", DICTIONARY);
    int kind = stoa_config_choice(config, "tokenizer", tokenizers, 0);
    text.tokenizer = tokenizers[kind];
    text.vocab = whole(cli, "vocab", 256, 65535, 2048);
    if (kind == 1) text.vocab = 256;
    text.validation = stoa_config_float(config, "validation", 0.0001, 0.5, 0.02);
    text.bytes_max = (uint64_t)stoa_config_int(config, "max_bytes", 0, INT64_MAX, 0);
    text.sequential = stoa_config_bool(config, "sequential", false);
    gpt.vocab = text.vocab;
    gpt.layers = whole(cli, "layers", 1, 1000, 4);
    gpt.heads = whole(cli, "heads", 1, 1024, 4);
    gpt.width = whole(cli, "width", 1, 65536, 128);
    gpt.context = whole(cli, "context", 1, 65536, 128);
    gpt.dropout = stoa_config_float(config, "dropout", 0, 0.99, 0);
    gpt.untied_head = stoa_config_bool(config, "untied_head", false);
    gpt.dtype = read_dtype(cli);
    gpt.accumulate = whole(cli, "accumulate", 1, 65536, 1);
    gpt.optimizer.beta1 = stoa_config_float(config, "beta1", 0, 0.9999999, 0.9);
    gpt.optimizer.beta2 = stoa_config_float(config, "beta2", 0, 0.9999999, 0.95);
    gpt.optimizer.decay = stoa_config_float(config, "decay", 0, 100, 0.1);
    gpt.optimizer.clip = stoa_config_float(config, "clip", 0, 1e9, 1);
    text.batch = whole(cli, "batch", 1, 1 << 20, 8);
    text.context = gpt.context;
    text.seed = settings->train.seed;
    settings->train.accumulate = gpt.accumulate;
    settings->gpt = gpt;
    settings->text = text;
}

/* A file of the default data set, or of the folder `data`. */
static const char *image_file(Cli *cli, const char *key, const char *folder, const char *name) {
    static char paths[4][CLI_PATH_BYTES];
    static int  turn;
    char       *path = paths[turn++ % 4];
    snprintf(path, CLI_PATH_BYTES, "%s/%s", folder, name);
    return stoa_config_text(cli->config, key, path);
}

static void read_lenet(Cli *cli, Settings *settings) {
    StoaConfig      *config = cli->config;
    LenetConfig      lenet = model_lenet_preset();
    StoaImageOptions images = STOA_IMAGE_OPTIONS;
    const char      *folder = stoa_config_text(config, "data", FASHION);
    images.images = image_file(cli, "images", folder, "train-images-idx3-ubyte.gz");
    images.labels = image_file(cli, "labels", folder, "train-labels-idx1-ubyte.gz");
    images.test_images = image_file(cli, "test_images", folder, "t10k-images-idx3-ubyte.gz");
    images.test_labels = image_file(cli, "test_labels", folder, "t10k-labels-idx1-ubyte.gz");
    images.count_max = (uint64_t)stoa_config_int(config, "max_images", 0, INT64_MAX, 0);
    images.sequential = stoa_config_bool(config, "sequential", false);
    images.batch = whole(cli, "batch", 1, 1 << 20, 64);
    images.seed = settings->train.seed;
    lenet.dtype = read_dtype(cli);
    lenet.optimizer.momentum = stoa_config_float(config, "momentum", 0, 0.9999999, 0.9);
    lenet.optimizer.nesterov = stoa_config_bool(config, "nesterov", true);
    lenet.optimizer.decay = stoa_config_float(config, "decay", 0, 100, 1e-4);
    lenet.optimizer.clip = stoa_config_float(config, "clip", 0, 1e9, 0);
    settings->lenet = lenet;
    settings->images = images;
}

static uint64_t count(Cli *cli, const char *key, int64_t low, uint64_t preset) {
    return (uint64_t)stoa_config_int(cli->config, key, low, INT64_MAX, (int64_t)preset);
}

/* What both models have; the defaults differ. */
static void read_training(Cli *cli, Settings *settings) {
    static const char *const schedules[] = {"constant", "cosine", "linear", "wsd", NULL};
    static const char *const policies[] = {"skip", "fail", NULL};
    StoaTrainOptions         train = STOA_TRAIN_OPTIONS;
    StoaConfig              *config = cli->config;
    bool                     gpt = settings->model == SETTINGS_GPT;
    train.steps = count(cli, "steps", 1, gpt ? 700 : 1000);
    uint64_t tenth = train.steps / 10 ? train.steps / 10 : 1;
    train.learning_rate = stoa_config_float(config, "lr", 0, 1e9, gpt ? 3e-3 : 0.05);
    train.schedule = (StoaScheduleKind)stoa_config_choice(config, "schedule", schedules, 1);
    train.warmup_steps = count(cli, "warmup", 0, gpt ? (tenth < 100 ? tenth : 100) : 0);
    train.decay_steps = count(cli, "decay_steps", 0, 0);
    train.final_ratio = stoa_config_float(config, "final_ratio", 0, 1, gpt ? 0.1 : 0.01);
    train.seed = count(cli, "seed", 0, 1);
    train.log_every = count(cli, "log_every", 1, 10);
    train.evaluate_every = count(cli, "eval_every", 0, tenth);
    train.evaluate_batches = whole(cli, "eval_batches", 1, 1 << 20, 16);
    train.checkpoint_every = count(cli, "checkpoint_every", 0, 0);
    train.checkpoint_keep = whole(cli, "checkpoint_keep", 1, 1000, 2);
    train.trace = stoa_config_bool(config, "trace", false);
    train.trace_steps = count(cli, "trace_steps", 1, 20);
    train.nonfinite = (StoaNonfinite)stoa_config_choice(config, "nonfinite", policies, 0);
    settings->train = train;
}

static void read_compute(Cli *cli, Settings *settings) {
    static const char *const computes[] = {"as-written", "bf16", "f16", "fp8", NULL};
    static const StoaDtype   dtypes[] = {STOA_NONE, STOA_BF16, STOA_F16, STOA_F8E4M3};
    StoaConfig              *config = cli->config;
    settings->device = stoa_config_text(config, "device", "cpu");
    settings->compute = dtypes[stoa_config_choice(config, "compute", computes, 0)];
    settings->gpt.optimizer.loss_scale = settings->lenet.optimizer.loss_scale = stoa_config_float(
        config, "loss_scale", 0, 1 << 24, settings->compute == STOA_F16 ? 1 << 16 : 0);
    settings_read_f8(cli, &settings->f8_products, &settings->f8_history, &settings->f8_block);
}
void settings_read_f8(Cli *cli, uint32_t *out_products, uint32_t *out_history,
                      uint32_t *out_block) {
    StoaConfig              *config = cli->config;
    static const char *const products[] = {"auto", "forward", "gradients", "all", NULL};
    static const uint32_t    bits[] = {0, STOA_F8_FORWARD, STOA_F8_FORWARD | STOA_F8_INPUT_GRADIENT,
                                       STOA_F8_FORWARD | STOA_F8_INPUT_GRADIENT |
                                           STOA_F8_WEIGHT_GRADIENT};
    static const char *const scalings[] = {"delayed", "current", "block", NULL};
    *out_products = bits[stoa_config_choice(config, "fp8_products", products, 0)];
    if (stoa_config_bool(config, "fp8_last", false)) *out_products |= STOA_F8_LAST_LAYER;
    int scaling = stoa_config_choice(config, "fp8_scaling", scalings, 0);
    *out_history = whole(cli, "fp8_history", 0, 1024, 16);
    if (scaling != 0) *out_history = 0;
    *out_block = scaling == 2 ? 128 : 0;
}

static bool is_device(const char *device) {
    if (strcmp(device, "cpu") == 0 || strcmp(device, "cuda") == 0) return true;
    return strncmp(device, "cuda:", 5) == 0 && device[5] != 0 &&
           strspn(device + 5, "0123456789") == strlen(device + 5);
}

int settings_read(Cli *cli, Settings *settings) {
    static const char *const models[] = {"gpt", "lenet", NULL};
    StoaConfig              *config = cli->config;
    *settings = (Settings){.model = SETTINGS_GPT};
    settings->model = (SettingsModel)stoa_config_choice(config, "model", models, 0);
    read_training(cli, settings);
    if (settings->model == SETTINGS_GPT)
        read_gpt(cli, settings);
    else
        read_lenet(cli, settings);
    settings->lanes = whole(cli, "lanes", 0, 1024, 0);
    settings->out = stoa_config_text(config, "out", NULL);
    settings->weights = stoa_config_text(config, "weights", NULL);
    settings->resume = stoa_config_bool(config, "resume", false);
    settings->overwrite = stoa_config_bool(config, "overwrite", false);
    settings->json = stoa_config_bool(config, "json", false);
    settings->quiet = stoa_config_bool(config, "quiet", false);
    settings->profile = stoa_config_bool(config, "profile", false);
    (void)stoa_config_text(config, "config", NULL);
    read_compute(cli, settings);
    settings->memory_budget = stoa_config_bytes(config, "memory_budget", 0);
    settings->offload_budget = stoa_config_bytes(config, "offload_budget", 0);
    if (settings->memory_budget != 0) { /* hints say what it is judged by */
        settings->gpt.likely_batch = settings->text.batch;
        settings->gpt.likely_length = settings->text.context;
        settings->lenet.likely_batch = settings->images.batch;
    }
    int code = cli_finish(cli);
    if (code != CLI_OK) return code;
    if (!is_device(settings->device))
        return cli_usage(cli, "--device %s: there are cpu, cuda and cuda:N", settings->device);
    const char *problem = settings->model == SETTINGS_GPT ? model_gpt_problem(&settings->gpt)
                                                          : model_lenet_problem(&settings->lenet);
    if (problem != NULL) return cli_usage(cli, "%s", problem);
    if (settings->train.warmup_steps <= settings->train.steps) return CLI_OK;
    return cli_usage(cli, "--warmup %llu is longer than the run of %llu steps",
                     (unsigned long long)settings->train.warmup_steps,
                     (unsigned long long)settings->train.steps);
}

StoaStatus settings_build(const Settings *settings, StoaProgram *program) {
    return settings->model == SETTINGS_GPT ? model_gpt_build(program, &settings->gpt)
                                           : model_lenet_build(program, &settings->lenet);
}

/* --- the text to keep ------------------------------------------------------------------------- */

static bool is_of_one_call(const char *line) {
    static const char *const keys[] = {"resume", "out",   "overwrite", "json",   "quiet",
                                       "config", "trace", "lanes",     "profile"};
    size_t                   length = strcspn(line, " =");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i]) == length && strncmp(keys[i], line, length) == 0) return true;
    return false;
}

char *settings_text(Cli *cli) {
    const char *all = stoa_config_print(cli->config);
    char       *kept = malloc(strlen(all) + 1);
    size_t      used = 0;
    if (kept == NULL) return NULL;
    while (*all != 0) {
        size_t length = strcspn(all, "\n");
        length += all[length] == '\n';
        if (!is_of_one_call(all)) {
            memcpy(kept + used, all, length);
            used += length;
        }
        all += length;
    }
    kept[used] = 0;
    return kept;
}

/* --- run folders ------------------------------------------------------------------------------ */

bool settings_is_run(const char *folder) {
    char path[CLI_PATH_BYTES + 16];
    if (strlen(folder) >= CLI_PATH_BYTES) return false;
    snprintf(path, sizeof path, "%s/checkpoints", folder);
    if (!cli_is_folder(path)) return false;
    snprintf(path, sizeof path, "%s/config.toml", folder);
    return cli_exists(path);
}

/* "gpt" and "gpt-2" are runs of gpt. */
static bool is_named(const char *folder, const char *name) {
    size_t length = strlen(name);
    if (strncmp(folder, name, length) != 0) return false;
    if (folder[length] == 0) return true;
    return folder[length] == '-' &&
           folder[length + 1 + strspn(folder + length + 1, "0123456789")] == 0;
}

bool settings_newest_run(const char *name, char path[CLI_PATH_BYTES]) {
    DIR            *runs = opendir("runs");
    struct timespec newest = {0};
    bool            found = false;
    char            folder[CLI_PATH_BYTES], inside[CLI_PATH_BYTES];
    struct dirent  *entry;
    while (runs != NULL && (entry = readdir(runs)) != NULL) {
        struct stat about;
        if (entry->d_name[0] == '.' || (name != NULL && !is_named(entry->d_name, name))) continue;
        snprintf(folder, sizeof folder, "runs/%s", entry->d_name);
        snprintf(inside, sizeof inside, "runs/%s/checkpoints", entry->d_name);
        if (!settings_is_run(folder) || stat(inside, &about) != 0) continue;
        bool later =
            about.st_mtim.tv_sec > newest.tv_sec ||
            (about.st_mtim.tv_sec == newest.tv_sec && about.st_mtim.tv_nsec > newest.tv_nsec);
        if (found && !later) continue;
        newest = about.st_mtim;
        found = true;
        memcpy(path, folder, sizeof folder);
    }
    if (runs != NULL) closedir(runs);
    return found;
}

void settings_free_run(const char *name, char path[CLI_PATH_BYTES]) {
    snprintf(path, CLI_PATH_BYTES, "runs/%s", name);
    for (int turn = 2; cli_exists(path); turn++)
        snprintf(path, CLI_PATH_BYTES, "runs/%s-%d", name, turn);
}
