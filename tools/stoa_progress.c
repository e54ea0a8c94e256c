/* Progress and summary of a training run. The texts of each step come ready from the library; here
 * is decided which of them goes where, and how it fits the terminal. */
#include "tools/stoa_progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Prints at most so many characters of UTF-8 text. */
static void print_cut(FILE *file, const char *text, uint32_t columns) {
    uint32_t shown = 0;
    for (; *text != 0; text++) {
        bool first = ((unsigned char)*text & 0xC0) != 0x80;
        if (first && ++shown > columns) return;
        fputc(*text, file);
    }
}

static void print_header(const Progress *progress) {
    const Settings *settings = progress->settings;
    uint64_t        items = stoa_data_items(progress->data);
    const char     *bold = cli_style(STDERR_FILENO, CLI_BOLD);
    const char     *plain = cli_style(STDERR_FILENO, CLI_PLAIN);
    if (settings->model == SETTINGS_GPT) {
        const GptConfig *gpt = &settings->gpt;
        fprintf(stderr,
                "%smodel%s  gpt: %u layers, %u heads, width %u, context %u, %s parameters, %s\n",
                bold, plain, gpt->layers, gpt->heads, gpt->width, gpt->context,
                cli_amount((double)model_gpt_parameters(gpt)),
                gpt->dtype == STOA_F32 ? "f32" : "f64");
        fprintf(stderr, "%sdata%s   %s: %s tokens, vocabulary %u, unigram entropy %.3f nats\n",
                bold, plain, settings->text.path, cli_amount((double)items),
                stoa_data_vocab(progress->data), stoa_data_entropy(progress->data));
    } else {
        fprintf(stderr, "%smodel%s  lenet: %s parameters, %s\n", bold, plain,
                cli_amount((double)model_lenet_parameters()),
                settings->lenet.dtype == STOA_F32 ? "f32" : "f64");
        fprintf(stderr, "%sdata%s   %s: %s images, %u classes\n", bold, plain,
                settings->images.images, cli_amount((double)items),
                stoa_data_vocab(progress->data));
    }
    fprintf(stderr, "%srun%s    %s: %llu steps on %u %s\n", bold, plain, progress->run,
            (unsigned long long)settings->train.steps, stoa_context_lanes(progress->cli->context),
            stoa_context_lanes(progress->cli->context) == 1 ? "lane" : "lanes");
}

void progress_begin(Progress *progress, Cli *cli, const Settings *settings, const char *run,
                    StoaSession *session, StoaData *data) {
    const char *term = getenv("TERM");
    *progress = (Progress){.cli = cli, .settings = settings, .run = run, .data = data};
    progress->session = session;
    progress->bar = !settings->quiet && !settings->json && isatty(STDERR_FILENO) && term != NULL &&
                    strcmp(term, "dumb") != 0;
    progress->columns = cli_columns(STDERR_FILENO);
    progress->accuracy = NAN;
    if (!settings->quiet && !settings->json) print_header(progress);
}

/* The share of right answers stands in the JSON form only. */
static void note_accuracy(Progress *progress, const char *json) {
    static const char key[] = "\"validation_accuracy\":";
    const char       *found = strstr(json, key);
    if (found != NULL) progress->accuracy = strtod(found + sizeof key - 1, NULL);
}

bool progress_show(void *user, const StoaProgress *now) {
    Progress *progress = user;
    note_accuracy(progress, now->json);
    if (progress->settings->json) {
        printf("%s\n", now->json);
        fflush(stdout);
        return ferror(stdout) != 0; /* nobody listens any more: finish and save */
    }
    if (progress->settings->quiet) return false;
    if (!progress->bar) {
        fprintf(stderr, "%s\n", now->line);
        return false;
    }
    fputs("\r\x1b[K", stderr);
    if (!isnan(now->validation_loss)) fprintf(stderr, "%s\n", now->line); /* stays above the bar */
    print_cut(stderr, progress->columns < 79 ? now->line : now->bar, progress->columns);
    fflush(stderr);
    progress->cli->bar = true;
    return false;
}

void progress_end(Progress *progress) {
    if (progress->cli->bar) fputs("\r\x1b[K", stderr);
    progress->cli->bar = false;
}

/* --- the summary ------------------------------------------------------------------------------ */

static void print_number(const char *key, double number) {
    if (isfinite(number)) printf(",\"%s\":%.9g", key, number);
}

static void print_string(const char *text) {
    putchar('"');
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", (unsigned)(unsigned char)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void summary_json(const Progress *progress, const StoaTrainResult *result, bool stopped) {
    printf("{\"event\":\"%s\",\"steps\":%llu,\"skipped\":%llu", stopped ? "stopped" : "done",
           (unsigned long long)result->steps, (unsigned long long)result->skipped);
    print_number("loss", result->loss);
    print_number("validation_loss", result->validation_loss);
    print_number("validation_accuracy", progress->accuracy);
    print_number("unigram_entropy", stoa_data_entropy(progress->data));
    print_number("items_per_second", result->items_per_second);
    print_number("seconds", result->seconds);
    printf(",\"run\":");
    print_string(progress->run);
    printf("}\n");
}

static void print_losses(const Progress *progress, const StoaTrainResult *result) {
    double entropy = stoa_data_entropy(progress->data), validation = result->validation_loss;
    if (isfinite(result->loss))
        printf("  loss        %.4f", result->loss);
    else
        printf("  loss        not finite");
    if (isfinite(validation)) printf(", validation %.4f", validation);
    if (isfinite(progress->accuracy)) printf(", accuracy %.1f %%", 100 * progress->accuracy);
    putchar('\n');
    if (isfinite(entropy) && isfinite(validation))
        printf("  unigram     %.4f is the validation loss of knowing only how often each token "
               "occurs:\n              the model is %.2f nats a token %s\n",
               entropy, fabs(entropy - validation), validation < entropy ? "better" : "worse");
    if (result->skipped > 0)
        printf(
            "  skipped     %llu steps, their loss or gradient was not finite (see metrics.jsonl)\n",
            (unsigned long long)result->skipped);
}

static void print_files(const Progress *progress) {
    const StoaTrainOptions *train = &progress->settings->train;
    printf("  run         %s/ with loss.svg, metrics.jsonl, checkpoints/%s\n", progress->run,
           train->trace ? ", trace.json" : "");
}

static void print_next(const Progress *progress, uint64_t steps, bool stopped) {
    const Settings *settings = progress->settings;
    if (stopped)
        printf("  go on       stoa train --resume --out %s\n", progress->run);
    else
        printf("  go on       stoa train --resume --out %s --steps %llu\n", progress->run,
               (unsigned long long)steps * 2);
    if (settings->model == SETTINGS_GPT)
        printf("  read        stoa sample --run %s\n", progress->run);
    if (settings->train.trace) printf("  time        stoa trace %s\n", progress->run);
}

void progress_summary(const Progress *progress, const StoaTrainResult *result, bool stopped) {
    const Settings *settings = progress->settings;
    const char     *bold = cli_style(STDOUT_FILENO, CLI_BOLD);
    const char     *plain = cli_style(STDOUT_FILENO, CLI_PLAIN);
    if (settings->quiet) return;
    if (settings->json) {
        summary_json(progress, result, stopped);
        return;
    }
    StoaMemoryReport memory = stoa_session_memory(progress->session);
    printf("%s%s%s at step %llu of %llu after %.1f s, %s %s a second\n", bold,
           stopped ? "stopped" : "done", plain, (unsigned long long)result->steps,
           (unsigned long long)settings->train.steps, result->seconds,
           cli_amount(result->items_per_second),
           settings->model == SETTINGS_GPT ? "tokens" : "images");
    print_losses(progress, result);
    printf("  memory      %s bytes of parameters and optimizer, %s of intermediates\n",
           cli_amount((double)memory.state_bytes), cli_amount((double)memory.arena_bytes));
    print_files(progress);
    print_next(progress, result->steps, stopped);
}
