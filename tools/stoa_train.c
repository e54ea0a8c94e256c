/* `stoa train`: settings, run folder, data, model, training, and the exit code. What is shown on
 * the way and at the end is stoa_progress.c.
 *
 * Where settings come from, later ones winning: the run's own config.toml (with --resume), the file
 * of --config, the flags. The run folder is decided before anything is read or written, so that no
 * earlier run is overwritten by mistake. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/stoa_progress.h"
#include "tools/stoa_settings.h"

const CliOption train_options[] = {
    {NULL, NULL, NULL, "Data"},
    {"data", "FILE", "gpt: Debian's dict-gcide, lenet: dataset-fashion-mnist",
     "text, plain or gzip; for lenet the folder of the IDX files"},
    {"tokenizer", "bpe|bytes", "bpe", "how text becomes numbers"},
    {"vocab", "N", "2048", "wanted size of the bpe vocabulary"},
    {"validation", "SHARE", "0.02", "of the text, at its end, kept for validation"},
    {"max-bytes", "N", "0: all", "use only this much of the text"},
    {"images", "FILE", NULL, "lenet: training images (IDX); likewise --labels"},
    {"labels", "FILE", NULL, "lenet: their labels"},
    {"test-images", "FILE", NULL, "lenet: validation images; likewise --test-labels"},
    {"test-labels", "FILE", NULL, "lenet: their labels"},
    {"max-images", "N", "0: all", "lenet: use only the first ones"},
    {"sequential", NULL, NULL, "take the data in order instead of at random"},
    {NULL, NULL, NULL, "Model (gpt)"},
    {"layers", "N", "4", "transformer blocks"},
    {"heads", "N", "4", "attention heads; they divide the width"},
    {"width", "N", "128", "numbers per token"},
    {"context", "N", "128", "tokens per sequence"},
    {"dropout", "RATE", "0", "share of activations set to zero while training"},
    {"untied-head", NULL, NULL, "an output matrix of its own instead of the embedding"},
    {"dtype", "f32|f64", "f32", "of parameters and arithmetic (lenet too)"},
    {"weights", "FILE", "drawn from the seed",
     "initial values of the tensors it holds (safetensors)"},
    {NULL, NULL, NULL, "Training"},
    {"steps", "N", "gpt 700, lenet 1000", "updates of the parameters"},
    {"batch", "N", "gpt 8, lenet 64", "sequences or images a step"},
    {"accumulate", "N", "1", "gpt: batches whose gradients are added up to one step"},
    {"lr", "RATE", "gpt 3e-3, lenet 0.05", "highest learning rate"},
    {"warmup", "N", "gpt: a tenth of the steps, at most 100", "steps in which the rate rises"},
    {"schedule", "NAME", "cosine", "then: constant, cosine, linear or wsd"},
    {"decay-steps", "N", "0: a fifth of the steps", "wsd: steps in which the rate falls"},
    {"final-ratio", "X", "gpt 0.1, lenet 0.01", "of the rate, at the end"},
    {"beta1", "X", "0.9", "gpt: AdamW, memory of the gradient"},
    {"beta2", "X", "0.95", "gpt: AdamW, memory of its square"},
    {"momentum", "X", "0.9", "lenet: of SGD"},
    {"nesterov", "BOOL", "true", "lenet: Nesterov's form of momentum"},
    {"decay", "X", "gpt 0.1 on matrices, lenet 1e-4", "weight decay"},
    {"clip", "X", "gpt 1, lenet 0", "largest norm of the gradient; 0: any"},
    {"seed", "N", "1", "of initial values, data order and dropout"},
    {"nonfinite", "skip|fail", "skip", "what to do with a step whose loss is not finite"},
    {NULL, NULL, NULL, "Run"},
    {"out", "RUN", "runs/gpt, runs/gpt-2, ...", "folder of the run"},
    {"resume", NULL, NULL, "go on from the newest checkpoint of --out, or of the newest run"},
    {"overwrite", NULL, NULL, "begin again in a folder that holds a run"},
    {"log-every", "N", "10", "steps between log lines"},
    {"eval-every", "N", "a tenth of the steps", "steps between validations; 0: never"},
    {"eval-batches", "N", "16", "batches of a validation"},
    {"checkpoint-every", "N", "0: at the end", "steps between checkpoints"},
    {"checkpoint-keep", "N", "2", "how many checkpoints stay"},
    {"trace", NULL, NULL, "write trace.json, for `stoa trace` and ui.perfetto.dev"},
    {"trace-steps", "N", "20", "how many steps it covers, from the first"},
    {"profile", NULL, NULL, "tell at the end which operators the time went to"},
    {NULL, NULL, NULL, "Machine and output"},
    {"device", "cpu|cuda|cuda:N", "cpu", "where the model trains; N: which GPU, from 0"},
    {"compute", "as-written|bf16|f16|fp8", "as-written", "what matrix products of f32 compute in"},
    {"fp8-products", "auto|forward|gradients|all", "auto",
     "which products of a layer are in 8 bits: those that save time; y; y and the gradient of x; "
     "that of the weight as well"},
    {"fp8-last", NULL, NULL, "the last linear layer as well"},
    {"fp8-scaling", "delayed|current|block", "delayed",
     "8-bit floats are scaled by the largest magnitude of earlier steps, of the tensor itself, or "
     "of each block of 128"},
    {"fp8-history", "N", "16", "of delayed: how many steps; 0 is current"},
    {"loss-scale", "X", "f16 65536, else 0", "first factor of the loss, which adapts; 0: none"},
    {"memory-budget", "BYTES", "0: any", "most that intermediates may take: 96MiB, 1.5GiB"},
    {"offload-budget", "BYTES", "0: none",
     "with it, on a GPU: page-locked memory of the host that intermediates may be copied to"},
    {"lanes", "N", "0: one per core", "worker threads"},
    {"config", "FILE", NULL, "settings as TOML, with the names above"},
    {"json", NULL, NULL, "progress and summary as JSON lines on stdout"},
    {"quiet", NULL, NULL, "print errors and warnings only"},
    {NULL, NULL, NULL, NULL},
};

enum { PROFILE_ROWS = 24 };

/* --- stopping --------------------------------------------------------------------------------- */

static volatile int stop_asked;

/* The first signal finishes the step; the second ends the process with the usual 128 + signal. */
static void on_signal(int signal) {
    static const char text[] = "\nstopping after this step; once more to leave at once\n";
    if (stop_asked) _exit(128 + signal);
    stop_asked = signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) return; /* nothing to be done about it */
}

static void watch_signals(void) {
    struct sigaction action = {.sa_flags = SA_RESTART};
    (void)signal(SIGPIPE, SIG_IGN); /* a reader of --json that went away is no reason to die */
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before; /* a terminal that closes; nohup has it ignored */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

/* --- the run folder --------------------------------------------------------------------------- */

/* Removes the checkpoints of an earlier run, so that a later --resume cannot find them. Only files
 * directly inside checkpoints/step-* are touched. */
static void remove_checkpoints(const char *run) {
    char           folder[CLI_PATH_BYTES + 16], step[CLI_PATH_BYTES * 2], file[CLI_PATH_BYTES * 3];
    struct dirent *entry, *inner;
    snprintf(folder, sizeof folder, "%s/checkpoints", run);
    DIR *all = opendir(folder);
    while (all != NULL && (entry = readdir(all)) != NULL) {
        if (strncmp(entry->d_name, "step-", 5) != 0) continue;
        snprintf(step, sizeof step, "%s/%s", folder, entry->d_name);
        DIR *one = opendir(step);
        while (one != NULL && (inner = readdir(one)) != NULL) {
            snprintf(file, sizeof file, "%s/%s", step, inner->d_name);
            if (inner->d_name[0] != '.') (void)unlink(file);
        }
        if (one != NULL) closedir(one);
        (void)rmdir(step);
    }
    if (all != NULL) closedir(all);
}

static int open_folder(Cli *cli, const Settings *settings, char run[CLI_PATH_BYTES]) {
    const char *name = settings_model_name(settings->model);
    if (settings->out != NULL) {
        if (strlen(settings->out) >= CLI_PATH_BYTES / 2) return cli_usage(cli, "--out: too long");
        snprintf(run, CLI_PATH_BYTES, "%s", settings->out);
    } else if (!settings->resume) {
        settings_free_run(name, run);
    }
    if (!settings->resume && settings_is_run(run)) {
        if (!settings->overwrite)
            return cli_usage(cli,
                             "%s holds a run already: add --resume to go on with it, --overwrite "
                             "to begin again, or choose another folder with --out",
                             run);
        remove_checkpoints(run);
    }
    return cli_make_folder(cli, run);
}

/* --- settings --------------------------------------------------------------------------------- */

/* The file, the model's name and the flags, in this order. */
static int read_words(Cli *cli, int count, char **words) {
    const char *rest[1] = {NULL}, *models[] = {"gpt", "lenet", NULL};
    const char *file = cli_peek(count, words, "config");
    char        text[64];
    int         rest_count = 0;
    if (file != NULL && file[0] != 0 && stoa_config_read(cli->config, file, NULL) != STOA_OK)
        return cli_refused(cli, cli->settings, CLI_USAGE);
    int code = cli_flags(cli, count, words, rest, 1, &rest_count);
    if (code != CLI_OK || rest_count == 0) return code;
    if (strcmp(rest[0], "gpt") != 0 && strcmp(rest[0], "lenet") != 0) {
        const char *near = cli_suggest(rest[0], models);
        return cli_usage(cli, "no model '%s': %s%s%sthere are gpt and lenet", rest[0],
                         near ? "did you mean '" : "", near ? near : "", near ? "'? " : "");
    }
    snprintf(text, sizeof text, "model = \"%s\"\n", rest[0]);
    return stoa_config_read(cli->config, "command line", text) == STOA_OK
               ? CLI_OK
               : cli_refused(cli, cli->settings, CLI_USAGE);
}

/* The settings of the run that goes on, and then the words again, which win. */
static int read_resumed(Cli *cli, int count, char **words, char run[CLI_PATH_BYTES]) {
    char        file[CLI_PATH_BYTES + 16];
    const char *out = stoa_config_text(cli->config, "out", NULL);
    bool        found = out != NULL;
    const char *model = stoa_config_text(cli->config, "model", NULL);
    if (out != NULL)
        snprintf(run, CLI_PATH_BYTES, "%s", out);
    else
        found = settings_newest_run(model, run);
    if (!found)
        return cli_usage(cli, "no run to resume under runs/: name its folder with --out RUN");
    if (!settings_is_run(run))
        return cli_usage(
            cli, "%s holds nothing to resume: there is no config.toml with checkpoints/", run);
    snprintf(file, sizeof file, "%s/config.toml", run);
    if (stoa_config_read(cli->config, file, NULL) != STOA_OK)
        return cli_refused(cli, cli->settings, CLI_FAILED);
    return read_words(cli, count, words);
}

static int read_settings(Cli *cli, int count, char **words, Settings *settings,
                         char run[CLI_PATH_BYTES]) {
    bool flags = count > 0;
    int  code = read_words(cli, count, words);
    if (code == CLI_OK && stoa_config_bool(cli->config, "resume", false))
        code = read_resumed(cli, count, words, run);
    else if (code == CLI_OK && stoa_config_text(cli->config, "model", NULL) == NULL)
        code = cli_usage(cli, "which model? stoa train gpt, or stoa train lenet%s",
                         flags ? " (before the options)" : "");
    return code == CLI_OK ? settings_read(cli, settings) : code;
}

/* --- data ------------------------------------------------------------------------------------- */

/* Before a folder is made for the run: is the data there at all? */
static int check_data(const Cli *cli, const Settings *settings) {
    bool        gpt = settings->model == SETTINGS_GPT;
    const char *path = gpt ? settings->text.path : settings->images.images;
    const char *package = NULL, *other = gpt ? "FILE" : "FOLDER";
    if (access(path, R_OK) == 0 && cli_is_folder(path)) {
        errno = EISDIR;
    } else if (access(path, R_OK) == 0) {
        return CLI_OK;
    }
    if (strncmp(path, "/usr/share/dictd/", 17) == 0) package = "dict-gcide";
    if (strncmp(path, "/usr/share/datasets/fashion", 27) == 0) package = "dataset-fashion-mnist";
    if (package == NULL)
        return cli_failed(cli,
                          "cannot read %s: %s; check the path, or give other data with "
                          "--data %s",
                          path, strerror(errno), other);
    return cli_failed(cli,
                      "%s is missing: it comes with Debian's package %s\n"
                      "  sudo apt-get install %s, or give other data with --data %s",
                      path, package, package, other);
}

static int open_data(Cli *cli, Settings *settings, const char *run, StoaData **out_data) {
    bool gpt = settings->model == SETTINGS_GPT;
    settings->text.folder = run;
    StoaStatus status = gpt ? stoa_data_text(cli->context, &settings->text, out_data)
                            : stoa_data_images(cli->context, &settings->images, out_data);
    if (status != STOA_OK) return cli_refused(cli, cli->context, CLI_FAILED);
    if (gpt) settings->gpt.vocab = stoa_data_vocab(*out_data);
    return CLI_OK;
}

/* Going on needs steps that are not done yet. */
static int check_resumed(Cli *cli, const Settings *settings, const char *run,
                         StoaSession *session) {
    uint64_t step = 0, steps = settings->train.steps;
    if (!settings->resume) return CLI_OK;
    cli->mute = true; /* stoa_train loads it again */
    StoaStatus status = stoa_checkpoint_load(session, run, NULL, &step);
    cli->mute = false;
    if (status != STOA_OK) return cli_refused(cli, cli->context, CLI_FAILED);
    if (step < steps) return CLI_OK;
    return cli_usage(cli, "%s is at step %llu of %llu already; for more: --resume --steps %llu",
                     run, (unsigned long long)step, (unsigned long long)steps,
                     (unsigned long long)step * 2);
}

/* --- training --------------------------------------------------------------------------------- */

static int compile(Cli *cli, const Settings *settings, const char *run, StoaSession **out_session) {
    char               path[CLI_PATH_BYTES + 16];
    StoaProgram       *program = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.seed = settings->train.seed;
    options.device = settings->device;
    options.compute = settings->compute;
    options.f8_products = settings->f8_products;
    options.f8_history = settings->f8_history;
    options.f8_block = settings->f8_block;
    options.memory_budget = settings->memory_budget;
    options.offload_budget = settings->offload_budget;
    StoaStatus status = stoa_program_create(cli->context, &program);
    if (status == STOA_OK) status = settings_build(settings, program);
    snprintf(path, sizeof path, "%s/program.stoa", run);
    if (status == STOA_OK) status = stoa_program_save(program, path);
    if (status == STOA_OK) status = stoa_compile(program, &options, out_session);
    if (status == STOA_OK && settings->weights != NULL)
        status = stoa_weights_load(*out_session, settings->weights, true);
    stoa_program_destroy(program);
    return status == STOA_OK ? CLI_OK : cli_refused(cli, cli->context, CLI_FAILED);
}

static StoaStatus tell_profile(const Settings *settings, StoaSession *session) {
    const char *text = NULL;
    StoaStatus  status = stoa_profile_text(session, PROFILE_ROWS, &text);
    if (status == STOA_OK) fprintf(settings->json ? stderr : stdout, "\n%s", text);
    return status;
}

static int train(Cli *cli, Settings *settings, const char *run, StoaSession *session,
                 StoaData *data) {
    char            *text = settings_text(cli);
    StoaTrainResult  result = {0};
    StoaTrainOptions options = settings->train;
    Progress         progress;
    if (text == NULL) return cli_failed(cli, "out of memory");
    options.run = run;
    options.config = text;
    options.resume = settings->resume;
    options.title = settings->model == SETTINGS_GPT ? "GPT" : "LeNet";
    options.stop = &stop_asked;
    options.progress = progress_show;
    options.user = &progress;
    progress_begin(&progress, cli, settings, run, session, data);
    watch_signals();
    if (settings->profile) stoa_profile(session, true);
    StoaStatus status = stoa_train(session, data, &options, &result);
    free(text);
    progress_end(&progress);
    if (status != STOA_OK) return cli_refused(cli, cli->context, CLI_FAILED);
    bool stopped = result.stopped && result.steps < options.steps;
    progress_summary(&progress, &result, stopped);
    if (settings->profile) status = tell_profile(settings, session);
    if (status != STOA_OK) return cli_refused(cli, cli->context, CLI_FAILED);
    return stopped ? CLI_STOPPED : CLI_OK;
}

int train_command(Cli *cli, int count, char **words) {
    char         run[CLI_PATH_BYTES] = "";
    Settings     settings;
    StoaData    *data = NULL;
    StoaSession *session = NULL;
    int          code = read_settings(cli, count, words, &settings, run);
    if (code == CLI_OK) code = check_data(cli, &settings);
    if (code == CLI_OK) code = open_folder(cli, &settings, run);
    if (code == CLI_OK) code = cli_start(cli, settings.lanes);
    if (code == CLI_OK) code = open_data(cli, &settings, run, &data);
    if (code == CLI_OK) code = compile(cli, &settings, run, &session);
    if (code == CLI_OK) code = check_resumed(cli, &settings, run, session);
    if (code == CLI_OK) code = train(cli, &settings, run, session, data);
    stoa_session_destroy(session);
    stoa_data_destroy(data);
    if (code == CLI_FAILED && rmdir(run) == 0 && settings.out == NULL)
        (void)rmdir("runs"); /* both only if nothing came into them */
    return code;
}
