/* Replays a fuzz target without libFuzzer: every file given, and every file in directories given.
 *
 * It is linked with tests/fuzz/<target>.c in all builds but the fuzz preset. The empty input always
 * runs first, so that a target without a corpus is exercised too. The name of an input is printed
 * before it runs: after a crash the last one printed is the culprit. */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

static void replay_bytes(const char *name, const uint8_t *data, size_t size) {
    printf("%s (%zu bytes)\n", name, size);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, size);
    replayed++;
}

static int replay_file(const char *path, size_t size) {
    FILE    *file = fopen(path, "rb");
    uint8_t *data =
        malloc(size ? size : 1); /* exactly the input, so that a sanitizer sees an overrun */
    size_t got = file && data ? fread(data, 1, size, file) : 0;
    int    bad = !file || !data || got != size;
    if (bad)
        fprintf(stderr, "cannot read %s\n", path);
    else
        replay_bytes(path, data, size);
    free(data);
    if (file) fclose(file);
    return bad;
}

static int replay_path(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return 0; /* a target may have no corpus yet */
    if (!S_ISDIR(info.st_mode)) return replay_file(path, (size_t)info.st_size);
    struct dirent **entries;
    int             bad = 0, count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char child[4096];
        snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') bad |= replay_path(child);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return bad;
}

int main(int argc, char **argv) {
    int bad = 0;
    replay_bytes("empty input", (const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) bad |= replay_path(argv[i]);
    printf("%u inputs replayed\n", replayed);
    return bad;
}
