/* `stoa sample`: a trained GPT continues a text. The model is built again from the settings in the
 * run folder, the newest checkpoint is loaded, and `predict` runs on the last `context` tokens at
 * one fixed length, so that a single plan serves the whole text (what stands behind the last token
 * cannot be seen by it: attention is causal).
 *
 * Random numbers are a function of the seed and of the place in the text, so a sample can be had
 * again. Control bytes are not printed to a terminal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/stoa_settings.h"

const CliOption sample_options[] = {
    {"run", "RUN", "the newest under runs/", "folder of a finished or stopped run"},
    {"prompt", "TEXT", "a line break", "what the text begins with"},
    {"tokens", "N", "256", "how many tokens to write"},
    {"temperature", "X", "0.7", "0: always the likeliest token; 1: as the model says"},
    {"top-k", "N", "50", "choose among the likeliest ones only; 0: among all"},
    {"seed", "N", "1", "another seed, another text"},
    {"lanes", "N", "0: one per core", "worker threads"},
    {NULL, NULL, NULL, NULL},
};

typedef struct Sampler {
    Cli           *cli;
    Settings       run; /* of the training */
    StoaSession   *session;
    StoaTokenizer *tokenizer;
    double         temperature;
    uint32_t       top_k, tokens;
    uint64_t       seed;
    int32_t       *text; /* the prompt and what was written */
    size_t         count;
    int32_t       *window; /* context tokens */
    void          *logits; /* context x vocab */
    double        *weights;
    uint32_t      *order;
} Sampler;

/* --- choosing --------------------------------------------------------------------------------- */

/* A number in [0, 1) from seed and place (the finaliser of Steele et al., SplitMix, 2014). */
static double draw(uint64_t seed, uint64_t place) {
    uint64_t x = seed * 0x9E3779B97F4A7C15u + (place + 1) * 0xD1B54A32D192ED03u;
    for (int round = 0; round < 2; round++) {
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        x ^= x >> 31;
    }
    return (double)(x >> 11) * 0x1p-53;
}

static const double *sorted_by; /* qsort has no room for it; one thread */

static int by_weight(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    double   difference = sorted_by[right] - sorted_by[left];
    if (difference != 0) return difference > 0 ? 1 : -1;
    return left > right ? 1 : -1; /* a fixed order, so that a seed gives one text */
}

static double logit(const Sampler *sampler, size_t row, uint32_t token) {
    size_t at = row * sampler->run.gpt.vocab + token;
    return sampler->run.gpt.dtype == STOA_F64 ? ((const double *)sampler->logits)[at]
                                              : (double)((const float *)sampler->logits)[at];
}

/* The token that follows the one at `row`. */
static int32_t choose(Sampler *sampler, size_t row) {
    uint32_t vocab = sampler->run.gpt.vocab, kept = vocab;
    double   sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        sampler->weights[i] = logit(sampler, row, i);
        sampler->order[i] = i;
    }
    sorted_by = sampler->weights;
    qsort(sampler->order, vocab, sizeof *sampler->order, by_weight);
    if (sampler->temperature <= 0) return (int32_t)sampler->order[0];
    if (sampler->top_k != 0 && sampler->top_k < kept) kept = sampler->top_k;
    double highest = sampler->weights[sampler->order[0]];
    for (uint32_t i = 0; i < kept; i++) {
        double *weight = &sampler->weights[sampler->order[i]];
        *weight = exp((*weight - highest) / sampler->temperature);
        sum += *weight;
    }
    double left = draw(sampler->seed, sampler->count) * sum;
    for (uint32_t i = 0; i + 1 < kept; i++) {
        left -= sampler->weights[sampler->order[i]];
        if (left < 0) return (int32_t)sampler->order[i];
    }
    return (int32_t)sampler->order[kept - 1];
}

static bool next_token(Sampler *sampler, int32_t *out_token) {
    size_t     context = sampler->run.gpt.context;
    size_t     used = sampler->count < context ? sampler->count : context;
    StoaTensor input = {STOA_I32, 2, {1, (int64_t)context}, sampler->window};
    StoaTensor output = {.data = sampler->logits};
    memset(sampler->window, 0, context * sizeof *sampler->window);
    memcpy(sampler->window, sampler->text + sampler->count - used, used * sizeof *sampler->text);
    if (stoa_run(sampler->session, "predict", &input, 1, &output, 1, NULL) != STOA_OK) return false;
    *out_token = choose(sampler, used - 1);
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void print_token(const Sampler *sampler, int32_t token) {
    size_t      bytes = 0;
    const char *piece = stoa_tokenizer_piece(sampler->tokenizer, token, &bytes);
    bool        terminal = isatty(STDOUT_FILENO);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)piece[i];
        bool          control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
        putchar(control && terminal ? '?' : c);
    }
}

static int write_text(Sampler *sampler) {
    for (size_t i = 0; i < sampler->count; i++) print_token(sampler, sampler->text[i]);
    for (uint32_t i = 0; i < sampler->tokens; i++) {
        int32_t token;
        fflush(stdout);
        if (ferror(stdout)) return cli_failed(sampler->cli, "cannot write to standard output");
        if (!next_token(sampler, &token))
            return cli_refused(sampler->cli, sampler->cli->context, CLI_FAILED);
        sampler->text[sampler->count++] = token;
        print_token(sampler, token);
    }
    putchar('\n');
    return CLI_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int read_run_settings(Sampler *sampler, const char *run) {
    char path[CLI_PATH_BYTES + 16];
    Cli  saved = {.command = sampler->cli->command};
    int  code = cli_open(&saved);
    snprintf(path, sizeof path, "%s/config.toml", run);
    if (code == CLI_OK && stoa_config_read(saved.config, path, NULL) != STOA_OK)
        code = cli_refused(&saved, saved.settings, CLI_FAILED);
    if (code == CLI_OK) code = settings_read(&saved, &sampler->run);
    cli_close(&saved); /* its texts go too: only numbers of the settings are used below */
    if (code == CLI_OK && sampler->run.model != SETTINGS_GPT)
        code = cli_usage(sampler->cli, "%s is a run of lenet, which writes no text", run);
    return code;
}

static int open_model(Sampler *sampler, const char *run) {
    Cli         *cli = sampler->cli;
    char         path[CLI_PATH_BYTES + 16];
    StoaProgram *program = NULL;
    snprintf(path, sizeof path, "%s/tokenizer.stok", run);
    StoaStatus status = stoa_tokenizer_load(cli->context, path, &sampler->tokenizer);
    if (status != STOA_OK) return cli_refused(cli, cli->context, CLI_FAILED);
    sampler->run.gpt.vocab = stoa_tokenizer_vocab(sampler->tokenizer);
    sampler->run.gpt.accumulate = 1; /* no accumulators are wanted here */
    status = stoa_program_create(cli->context, &program);
    if (status == STOA_OK) status = settings_build(&sampler->run, program);
    if (status == STOA_OK) status = stoa_compile(program, NULL, &sampler->session);
    stoa_program_destroy(program);
    if (status == STOA_OK) status = stoa_checkpoint_load(sampler->session, run, NULL, NULL);
    return status == STOA_OK ? CLI_OK : cli_refused(cli, cli->context, CLI_FAILED);
}

static int open_text(Sampler *sampler, const char *prompt) {
    const GptConfig *gpt = &sampler->run.gpt;
    size_t           bytes = strlen(prompt), elements = (size_t)gpt->context * gpt->vocab;
    size_t           width = gpt->dtype == STOA_F64 ? sizeof(double) : sizeof(float);
    size_t prompt_tokens = stoa_tokenizer_encode(sampler->tokenizer, prompt, bytes, NULL, 0);
    sampler->text = calloc(prompt_tokens + sampler->tokens + 1, sizeof *sampler->text);
    sampler->window = calloc(gpt->context, sizeof *sampler->window);
    sampler->logits = calloc(elements, width);
    sampler->weights = calloc(gpt->vocab, sizeof *sampler->weights);
    sampler->order = calloc(gpt->vocab, sizeof *sampler->order);
    if (!sampler->text || !sampler->window || !sampler->logits || !sampler->weights ||
        !sampler->order)
        return cli_failed(sampler->cli, "out of memory for %zu logits", elements);
    sampler->count =
        stoa_tokenizer_encode(sampler->tokenizer, prompt, bytes, sampler->text, prompt_tokens);
    return CLI_OK;
}

/* The prompt is taken as it stands, whatever it looks like: it never reaches the settings. */
static int take_prompt(Cli *cli, int *count, char **words, const char **out_prompt) {
    int kept = 0;
    for (int i = 0; i < *count; i++) {
        if (strncmp(words[i], "--prompt=", 9) == 0) {
            *out_prompt = words[i] + 9;
        } else if (strcmp(words[i], "--prompt") == 0) {
            if (i + 1 == *count) return cli_usage(cli, "--prompt needs a value: TEXT");
            *out_prompt = words[++i];
        } else {
            words[kept++] = words[i];
        }
    }
    *count = kept;
    if (**out_prompt == 0) *out_prompt = "\n"; /* there must be a token to begin with */
    return CLI_OK;
}

static int read_flags(Sampler *sampler, int count, char **words, const char **run,
                      uint32_t *lanes) {
    Cli        *cli = sampler->cli;
    static char newest[CLI_PATH_BYTES];
    int         rest_count = 0;
    int         code = cli_flags(cli, count, words, NULL, 0, &rest_count);
    if (code != CLI_OK) return code;
    *run = stoa_config_text(cli->config, "run", NULL);
    sampler->tokens = (uint32_t)stoa_config_int(cli->config, "tokens", 0, 10000000, 256);
    sampler->temperature = stoa_config_float(cli->config, "temperature", 0, 100, 0.7);
    sampler->top_k = (uint32_t)stoa_config_int(cli->config, "top_k", 0, 65535, 50);
    sampler->seed = (uint64_t)stoa_config_int(cli->config, "seed", 0, INT64_MAX, 1);
    *lanes = (uint32_t)stoa_config_int(cli->config, "lanes", 0, 1024, 0);
    (void)stoa_config_text(cli->config, "prompt", NULL); /* known, for suggestions */
    code = cli_finish(cli);
    if (code != CLI_OK) return code;
    if (*run == NULL && settings_newest_run(NULL, newest)) *run = newest;
    if (*run == NULL)
        return cli_usage(cli, "no run under runs/: train one with stoa train gpt, or name its "
                              "folder with --run RUN");
    if (!settings_is_run(*run))
        return cli_usage(cli, "%s holds no run: there is no config.toml with checkpoints/", *run);
    return strlen(*run) < CLI_PATH_BYTES ? CLI_OK : cli_usage(cli, "--run: too long");
}

int sample_command(Cli *cli, int count, char **words) {
    Sampler     sampler = {.cli = cli};
    const char *prompt = "\n", *run = NULL;
    uint32_t    lanes = 0;
    int         code = take_prompt(cli, &count, words, &prompt);
    if (code == CLI_OK) code = read_flags(&sampler, count, words, &run, &lanes);
    if (code == CLI_OK) code = read_run_settings(&sampler, run);
    if (code == CLI_OK) code = cli_start(cli, lanes);
    if (code == CLI_OK) code = open_model(&sampler, run);
    if (code == CLI_OK) code = open_text(&sampler, prompt);
    if (code == CLI_OK) code = write_text(&sampler);
    free(sampler.text);
    free(sampler.window);
    free(sampler.logits);
    free(sampler.weights);
    free(sampler.order);
    stoa_session_destroy(sampler.session);
    stoa_tokenizer_destroy(sampler.tokenizer);
    return code;
}
