/* The kernels that the stand-in driver runs: those of the runtime's tests, copies, numbers in a
 * row, asserts and control flow as gpu/run_text.c has them, and, by a function of the test, fused
 * ones. Included by cuda.c. */
#ifndef STOA_TESTS_FAKES_KERNELS_H
#define STOA_TESTS_FAKES_KERNELS_H

#include "gpu/run_args.h"

typedef void     FusedRun(void *context, const char *name, const void *args);
static FusedRun *fused_run;
static void     *fused_context;

static void set_condition(const char *name, CuCondition condition, unsigned value) {
    size_t last = strlen(name) - 2; /* "test_2_": who decides */
    if (name[last] == '0')
        *(volatile uint32_t *)(uintptr_t)condition = value;
    else
        conditions[condition].value = value;
}
static char *at(CuPtr address) { return (char *)(uintptr_t)address; }

/* --- of the runtime's tests ------------------------------------------------------------------- */
static void run_set(const void *args, CuFunction function) {
    FakeSet p;
    (void)function;
    memcpy(&p, args, sizeof p);
    for (uint32_t i = 0; i < p.count; i++) ((uint32_t *)(void *)at(p.into))[i] = p.value;
}
static void run_add(const void *args, CuFunction function) {
    FakeAdd p;
    (void)function;
    memcpy(&p, args, sizeof p);
    for (uint32_t i = 0; i < p.count; i++)
        ((uint32_t *)(void *)at(p.into))[i] += ((const uint32_t *)(void *)at(p.from))[i];
}
static void run_count_down(const void *args, CuFunction function) {
    FakeCount p;
    (void)function;
    memcpy(&p, args, sizeof p);
    unsigned left = --*(uint32_t *)(void *)at(p.counter);
    if (driver_version < 12040)
        *(volatile uint32_t *)(uintptr_t)p.condition = left != 0;
    else
        conditions[p.condition].value = left != 0;
}
static void run_word(const void *args, CuFunction function) {
    FakeTest p;
    (void)function;
    memcpy(&p, args, sizeof p);
    unsigned value = *(const uint32_t *)(void *)at(p.word);
    if (driver_version < 12040)
        *(volatile uint32_t *)(uintptr_t)p.condition = value;
    else
        conditions[p.condition].value = value;
}

/* --- of plans --------------------------------------------------------------------------------- */
static int64_t walk(const RunNd *nd, int64_t i, int side) {
    int64_t offset = 0;
    for (int k = nd->rank; k-- > 0; i /= nd->dims[k])
        offset += i % nd->dims[k] * nd->strides[side][k];
    return offset;
}
/* Of the word in a name: "copy_u32_". */
static int64_t width_of(const char *name) {
    const char *word = strchr(name, '_') + 1;
    return *word == 'w' ? 16 : word[1] == '8' ? 1 : word[1] == '1' ? 2 : word[1] == '3' ? 4 : 8;
}
static void run_elements(const void *args, CuFunction function) {
    CopyArgs a;
    int64_t  width = width_of(function->name), shift[2] = {0, 0};
    memcpy(&a, args, sizeof a);
    for (int k = 0; k < a.starts_count; k++) {
        int64_t start = ((const int64_t *)(void *)at(a.starts))[k * a.start_step];
        start = start > a.most[k] ? a.most[k] : start;
        shift[a.side] += (start < 0 ? 0 : start) * a.step[k];
    }
    for (int64_t i = 0; i < a.count; i++)
        memmove(at(a.y) + (shift[0] + walk(&a.nd, i, 0)) * width,
                at(a.x) + (shift[1] + walk(&a.nd, i, 1)) * width, (size_t)width);
}
static void run_gather(const void *args, CuFunction function) {
    GatherArgs a;
    int64_t    width = width_of(function->name);
    bool       wide = strstr(function->name, "_i64_") != NULL;
    memcpy(&a, args, sizeof a);
    for (int64_t i = 0; i < a.count; i++) {
        int64_t row = i / a.inner, slice = i % a.inner, from = walk(&a.rows, row, 1);
        int64_t first = walk(&a.rows, row, 2),
                to = walk(&a.rows, row, 0) + walk(&a.slice, slice, 0);
        bool fits = true;
        from += walk(&a.slice, slice, 1);
        for (int c = 0; c < a.components; c++) {
            const char *index = at(a.indices) + (first + c * a.index_step) * (wide ? 8 : 4);
            int64_t     start = wide ? *(const int64_t *)(const void *)index
                                     : *(const int32_t *)(const void *)index;
            fits &= start >= 0 && start <= a.most[c];
            from += start * a.step[c];
        }
        memset(at(a.y) + to * width, 0, (size_t)width);
        if (fits) memcpy(at(a.y) + to * width, at(a.x) + from * width, (size_t)width);
    }
}
static void run_iota(const void *args, CuFunction function) {
    IotaArgs a;
    bool     real = strchr(function->name, 'f') != NULL;
    int64_t  width = width_of(function->name);
    memcpy(&a, args, sizeof a);
    for (int64_t i = 0; i < a.count; i++) {
        int64_t number = a.base + i / a.inner % a.size * a.step;
        float   f32 = (float)number;
        double  f64 = (double)number;
        memcpy(at(a.y) + i * width,
               !real        ? (const void *)&number
               : width == 4 ? (const void *)&f32
                            : &f64,
               (size_t)width);
    }
}
static void run_stop(const void *args, CuFunction function) {
    StopArgs a;
    bool     holds = true;
    memcpy(&a, args, sizeof a);
    for (int64_t i = 0; i < a.count; i++) holds &= at(a.holds)[walk(&a.nd, i, 0)] != 0;
    uint32_t *flag = (uint32_t *)(void *)at(a.flag);
    if (!holds && *flag == 0) *flag = a.launch;
    if (a.condition != 0) set_condition(function->name, a.condition, holds);
}
static void run_print(const void *args, CuFunction function) {
    PrintArgs a;
    memcpy(&a, args, sizeof a);
    RunLogHead *head = (RunLogHead *)(void *)at(a.log);
    char       *lines = (char *)(head + 1);
    int64_t     width = width_of(function->name);
    if (a.bytes > 0) {
        bool     fits = (int64_t)head->used + a.bytes <= a.room;
        uint64_t line[2] = {(uint64_t)a.launch, (uint64_t)a.bytes};
        head->place = fits ? head->used + 1 : 0;
        head->lost += !fits;
        if (fits) memcpy(lines + head->used, line, sizeof line);
        if (fits) head->used += (uint64_t)a.bytes;
    }
    if (head->place == 0) return;
    for (int64_t i = 0; i < a.count; i++)
        memcpy(lines + head->place - 1 + a.at + i * width, at(a.x) + walk(&a.nd, i, 0) * width,
               (size_t)width);
}
static void run_compact(const void *args, CuFunction function) {
    CompactArgs a;
    int64_t     kept = 0;
    (void)function;
    memcpy(&a, args, sizeof a);
    for (int64_t row = 0; row < a.rows; row++)
        if (at(a.mask)[row] != 0) ((int64_t *)(void *)at(a.index))[kept++] = row;
    memcpy(at(a.count), &kept, sizeof kept);
}
static void run_kept(const void *args, CuFunction function) {
    KeptArgs a;
    memcpy(&a, args, sizeof a);
    int64_t rows = *(const int64_t *)(void *)at(a.count),
            bytes = a.words * width_of(function->name);
    for (int64_t row = 0; row < rows && row < a.fits; row++)
        memcpy(at(a.y) + row * bytes, at(a.x) + ((const int64_t *)(void *)at(a.index))[row] * bytes,
               (size_t)bytes);
}
static void run_test(const void *args, CuFunction function) {
    TestArgs a;
    int64_t  number = 0;
    memcpy(&a, args, sizeof a);
    if (a.bytes == 1) number = *at(a.at) == 0;
    if (a.bytes == 8) number = *(const int64_t *)(void *)at(a.at);
    number = number < 0 ? 0 : number > a.last ? a.last : number;
    unsigned value = a.which < 0 ? (unsigned)number : number == a.which;
    if (a.flag != 0 && *(const uint32_t *)(void *)at(a.flag) != 0) value = 0;
    set_condition(function->name, a.condition, value);
    if (a.clear != 0) set_condition(function->name, a.clear, 0);
}
static void run_rows(const void *args, CuFunction function) {
    RowsArgs a;
    int64_t  width = width_of(function->name);
    memcpy(&a, args, sizeof a);
    int64_t *rounds = (int64_t *)(void *)at(a.round), round = a.first ? -1 : *rounds;
    bool     more = round + 1 < a.rounds;
    for (int m = 0; m < a.count; m++) {
        const RowMove *move = &a.moves[m];
        for (int64_t u = 0; u < a.unroll && (move->in ? more : round >= 0); u++) {
            int64_t step = (move->in ? round + 1 : round) * a.unroll + u;
            int64_t row = a.reverse ? a.length - 1 - step : step;
            memcpy(at(move->into) + (move->in ? u : row) * move->into_step,
                   at(move->from) + (move->in ? row : u) * move->from_step,
                   (size_t)(move->words * width));
        }
    }
    if (!a.advances) return;
    for (int64_t u = 0; u < a.unroll && more; u++) {
        int64_t step = (round + 1) * a.unroll + u;
        ((int64_t *)(void *)at(a.index))[u] = a.reverse ? a.length - 1 - step : step;
    }
    *rounds = round + 1;
    if (a.flag != 0 && *(const uint32_t *)(void *)at(a.flag) != 0) more = false;
    set_condition(function->name, a.condition, more);
}
static void run_fused(const void *args, CuFunction function) {
    if (fused_run != NULL) fused_run(fused_context, function->name, args);
}

/* Real code cannot run here; that it was made is what a test asks. */
static void run_nothing(const void *args, CuFunction function) { (void)args, (void)function; }

/* --- by name ---------------------------------------------------------------------------------- */
static const struct {
    const char *begin;
    void (*run)(const void *args, CuFunction function);
} families[] = {{"set", run_set},           {"add", run_add},        {"count_down", run_count_down},
                {"word", run_word},         {"copy_", run_elements}, {"gather_", run_gather},
                {"iota_", run_iota},        {"stop_", run_stop},     {"test_", run_test},
                {"rows_", run_rows},        {"print_", run_print},   {"compact_", run_compact},
                {"kept_", run_kept},        {"k", run_fused},        {"loop", run_nothing},
                {"attention_", run_nothing}};
enum { FUNCTIONS_MAX = 4096 };
static struct CUfunc_st functions[FUNCTIONS_MAX];
static unsigned         functions_count;

/* Functions live as long as the process. */
static CuFunction find_function(const char *name) {
    for (unsigned i = 0; i < functions_count; i++)
        if (strcmp(functions[i].name, name) == 0) return &functions[i];
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        size_t count = strlen(families[i].begin);
        if (strncmp(name, families[i].begin, count) != 0 || functions_count == FUNCTIONS_MAX)
            continue;
        CuFunction function = &functions[functions_count++];
        snprintf(function->name, sizeof function->name, "%s", name);
        function->run = families[i].run;
        return function;
    }
    return NULL;
}

#endif
