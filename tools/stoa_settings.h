/* The settings of a run: every key of `stoa train`, read from one StoaConfig, with the defaults of
 * each model. The run folder keeps them as text (config.toml), from which `stoa sample` and
 * `--resume` build the same model again. */
#ifndef TOOLS_STOA_SETTINGS_H
#define TOOLS_STOA_SETTINGS_H

#include "models/gpt.h"
#include "models/lenet.h"
#include "tools/stoa_cli.h"

typedef enum SettingsModel { SETTINGS_GPT, SETTINGS_LENET } SettingsModel;

typedef struct Settings {
    SettingsModel    model;
    GptConfig        gpt; /* vocab is the wanted one until the data is open */
    LenetConfig      lenet;
    StoaTextOptions  text;
    StoaImageOptions images;
    StoaTrainOptions train; /* run and config are not set */
    uint32_t         lanes;
    const char      *device; /* as in StoaCompileOptions, like compute */
    StoaDtype        compute;
    uint32_t         f8_products, f8_history, f8_block;
    uint64_t         memory_budget, offload_budget;
    bool             resume, overwrite, json, quiet, profile;
    const char      *out;     /* NULL: not given */
    const char      *weights; /* initial ones; NULL: drawn from the seed */
} Settings;

/* Reads all keys and finishes the config. CLI_OK, or an exit code after a message. */
int settings_read(Cli *cli, Settings *settings);
/* The keys about 8-bit floats, as words of StoaCompileOptions. */
void settings_read_f8(Cli *cli, uint32_t *out_products, uint32_t *out_history, uint32_t *out_block);
/* The settings in force as text to keep: without what belongs to one call (resume, out, ...). The
 * caller frees it; NULL without memory. */
char *settings_text(Cli *cli);
/* Appends the graphs of the model. */
StoaStatus  settings_build(const Settings *settings, StoaProgram *program);
const char *settings_model_name(SettingsModel model);

/* Whether a folder holds a run (config.toml and a checkpoint). */
bool settings_is_run(const char *folder);
/* runs/<name>: the newest run of the model, or of any for NULL. False if there is none. */
bool settings_newest_run(const char *name, char path[CLI_PATH_BYTES]);
/* A folder under runs/ that does not exist yet. */
void settings_free_run(const char *name, char path[CLI_PATH_BYTES]);

#endif
