/* stoacheck PATH[:LINE]...: runs golden tests. A path is an .ir file or a folder; LINE picks one
 * case.
 *
 * A file holds cases. A case begins with `; test STEP[,STEP...]` and is a program with checks in
 * its comments. Steps are systems (what they need runs before them), `compile`, `parse` or `print`.
 *     ;= line        the printed program after the steps, exactly, all such lines together
 *     ;~ text        must appear in it;  ;~! text must not
 *     ;! KIND words  a diagnostic expected on this line, or anywhere when the line holds only this;
 *                    the words appear in its message in this order
 *     ; show types   annotate results; `; show NAME` prints one graph
 *     ; target cpu   or cuda; `; compute bf16`: what products compute in; `; budget 96KiB`: bound
 *     ; run ...      computes it; then `;=` lines are values (stoacheck_run.c)
 * Every other diagnostic fails. STOA_BLESS=1 rewrites the exact lines; with CI set that is
 * refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"
#include "cpu/cpu.h"
#include "gpu/run.h"
#include "systems/runner.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"
#include "tools/stoacheck.h"

enum { EXPECTED_MAX = 64, DIFF_LINES_MAX = 3000, CONTEXT = 2 };

typedef struct Lines {
    String  *at;
    uint32_t count, capacity;
} Lines;
typedef struct Expected { /* a `;!` check */
    String   text;        /* "KIND args" */
    uint32_t line;        /* 0: anywhere */
    bool     met;
} Expected;
typedef struct Case {
    const char *path;
    uint32_t    first, last; /* lines of the file, from 1; last is one past the end */
    String      steps;       /* "infer,expand" */
    String      graph;       /* to show; empty: all */
    bool        types, target, cuda;
    Dtype       narrow;
    Narrow8     narrow8;
    bool        keeps;
    uint64_t    budget, offload; /* bytes of intermediates; 0: any; of their copies on the host */
    String      run;    /* words of `; run`, no data if there is none */
    Lines       exact, wanted, unwanted, sizes, inputs;
    Expected    expected[EXPECTED_MAX];
    uint32_t    expected_count;
    World      *world;
    String      output;
    Text        report; /* why it failed */
    bool        failed;
} Case;
typedef struct Tally {
    uint32_t passed, failed, blessed;
    bool     bless;
    uint32_t only_line; /* 0: all cases */
} Tally;

static Arena *arena;

/* --- text ------------------------------------------------------------------------------------- */
/* Where part begins in text, or NULL. */
static const char *find(String text, String part) {
    for (size_t i = 0; part.count != 0 && i + part.count <= text.count; i++)
        if (memcmp(text.data + i, part.data, part.count) == 0) return text.data + i;
    return NULL;
}
static Lines split(String text) {
    uint32_t count = 1;
    for (size_t i = 0; i < text.count; i++) count += text.data[i] == '\n';
    Lines lines = {.at = ARENA_ARRAY(arena, String, count)};
    while (text.count != 0) {
        const char *newline = memchr(text.data, '\n', text.count);
        size_t      bytes = newline ? (size_t)(newline - text.data) : text.count;
        lines.at[lines.count++] = (String){text.data, bytes};
        bytes += newline != NULL;
        text = (String){text.data + bytes, text.count - bytes};
    }
    return lines;
}
static String trim(String s) {
    while (s.count != 0 && s.data[0] == ' ') s = (String){s.data + 1, s.count - 1};
    while (s.count != 0 && s.data[s.count - 1] == ' ') s.count--;
    return s;
}
static String after(String s, size_t count) { return (String){s.data + count, s.count - count}; }
static bool   contains(String text, String part) {
      return part.count == 0 || find(text, part) != NULL;
}
/* The next word of *rest up to a separator, which is consumed. */
static String next_word(String *rest, char separator) {
    *rest = trim(*rest);
    const char *end = rest->count ? memchr(rest->data, separator, rest->count) : NULL;
    size_t      count = end ? (size_t)(end - rest->data) : rest->count;
    String      word = {rest->data, count};
    *rest = after(*rest, count + (end != NULL));
    return trim(word);
}
static void push_line(Lines *lines, String line) {
    if (lines->count == lines->capacity) {
        uint32_t capacity = lines->capacity * 2 + 16;
        String  *at = ARENA_ARRAY(arena, String, capacity);
        if (lines->count != 0) memcpy(at, lines->at, lines->count * sizeof *at);
        lines->at = at;
        lines->capacity = capacity;
    }
    lines->at[lines->count++] = line;
}

/* --- failures --------------------------------------------------------------------------------- */
static Text *fail(Case *c) {
    c->failed = true;
    return &c->report;
}
static void fail_with(Case *c, const char *what, String detail) {
    text_addf(fail(c), "%s%.*s\n", what, STR_ARGS(detail));
}

/* Marks of a longest common subsequence: whether each line is kept. */
static void common(const Lines *a, const Lines *b, bool *keep_a, bool *keep_b) {
    uint32_t  width = b->count + 1;
    uint32_t *longest = ARENA_ARRAY_ZERO(arena, uint32_t, (size_t)(a->count + 1) * width);
    for (uint32_t i = a->count; i-- > 0;)
        for (uint32_t j = b->count; j-- > 0;) {
            uint32_t *at = &longest[i * width + j];
            uint32_t  skip = at[width] > at[1] ? at[width] : at[1];
            *at = str_same(a->at[i], b->at[j]) ? at[width + 1] + 1 : skip;
        }
    for (uint32_t i = 0, j = 0; i < a->count && j < b->count;) {
        const uint32_t *at = &longest[i * width + j];
        if (str_same(a->at[i], b->at[j]))
            keep_a[i++] = keep_b[j++] = true;
        else if (at[width] >= at[1])
            i++;
        else
            j++;
    }
}
static void diff(Text *out, const Lines *expected, const Lines *got) {
    bool *keep_a = ARENA_ARRAY_ZERO(arena, bool, expected->count + 1);
    bool *keep_b = ARENA_ARRAY_ZERO(arena, bool, got->count + 1);
    text_add(out, STR("--- expected\n+++ got\n"));
    bool small = expected->count < DIFF_LINES_MAX && got->count < DIFF_LINES_MAX;
    if (small) common(expected, got, keep_a, keep_b);
    uint32_t quiet = CONTEXT; /* unchanged lines since the last change */
    for (uint32_t i = 0, j = 0; i < expected->count || j < got->count;) {
        bool gone = i < expected->count && !keep_a[i], fresh = j < got->count && !keep_b[j];
        if (gone)
            text_addf(out, "-%.*s\n", STR_ARGS(expected->at[i]));
        else if (fresh)
            text_addf(out, "+%.*s\n", STR_ARGS(got->at[j]));
        else if (++quiet <= CONTEXT)
            text_addf(out, " %.*s\n", STR_ARGS(got->at[j]));
        if (gone || fresh) quiet = 0;
        i += gone || !fresh;
        j += !gone;
    }
}

/* --- reading a case --------------------------------------------------------------------------- */
static void add_expected(Case *c, String text, uint32_t line) {
    if (c->expected_count == EXPECTED_MAX)
        fail_with(c, "too many ;! checks", STR(""));
    else
        c->expected[c->expected_count++] = (Expected){.text = trim(text), .line = line};
}
/* The `;! KIND args` checks of a line; several may follow each other. */
static void read_expected(Case *c, String line, uint32_t number) {
    const char *at = find(line, STR(";!"));
    bool alone = at != NULL && trim((String){line.data, (size_t)(at - line.data)}).count == 0;
    while (at != NULL) {
        String      text = after(line, (size_t)(at - line.data) + 2);
        const char *next = find(text, STR(";!"));
        if (next != NULL) text.count = (size_t)(next - text.data);
        add_expected(c, text, alone ? 0 : number);
        at = next;
    }
}
static uint32_t read_number(Case *c, String text) {
    int64_t number = 0;
    if (!str_to_i64(text, &number) || number < 0 || number > UINT32_MAX)
        fail_with(c, "not a number: ", text);
    return (uint32_t)number;
}
static void read_directive(Case *c, String line) {
    String word = next_word(&line, ' ');
    if (str_same(word, STR("test"))) c->steps = line;
    if (str_same(word, STR("show")) && str_same(line, STR("types")))
        c->types = true;
    else if (str_same(word, STR("show")))
        c->graph = line;
    if (str_same(word, STR("target")))
        c->target = true, c->cuda = str_same(trim(line), STR("cuda"));
    if (str_same(word, STR("compute"))) c->narrow = narrow_find(trim(line));
    if (str_same(word, STR("fp8-products"))) c->narrow8.products = read_number(c, trim(line));
    if (str_same(word, STR("fp8-history"))) c->narrow8.history = read_number(c, trim(line));
    if (str_same(word, STR("fp8-block"))) c->narrow8.block = read_number(c, trim(line));
    if (str_same(word, STR("keep"))) c->keeps = str_same(trim(line), STR("copies"));
    if (str_same(word, STR("budget")) && !str_to_bytes(trim(line), &c->budget))
        fail_with(c, "not a number of bytes: ", line);
    if (str_same(word, STR("offload")) && !str_to_bytes(trim(line), &c->offload))
        fail_with(c, "not a number of bytes: ", line);
    if (str_same(word, STR("run"))) c->run = line;
    if (str_same(word, STR("size"))) push_line(&c->sizes, line);
    if (str_same(word, STR("input"))) push_line(&c->inputs, trim(line));
}
static Case read_case(const char *path, const Lines *lines, uint32_t first, uint32_t last) {
    Case c = {.path = path, .first = first, .last = last};
    c.report = text_begin(arena_open("report", 0, 0));
    for (uint32_t number = first; number < last; number++) {
        String line = lines->at[number - 1], bare = trim(line);
        if (str_starts(bare, STR(";="))) {
            push_line(&c.exact, after(bare, bare.count > 2 && bare.data[2] == ' ' ? 3 : 2));
        } else if (str_starts(bare, STR(";~!")))
            push_line(&c.unwanted, trim(after(bare, 3)));
        else if (str_starts(bare, STR(";~")))
            push_line(&c.wanted, trim(after(bare, 2)));
        else if (str_starts(bare, STR("; ")))
            read_directive(&c, after(bare, 2));
        read_expected(&c, line, number);
    }
    return c;
}

/* --- steps ------------------------------------------------------------------------------------ */
/* Runs a system after those that give what it needs. */
static bool run_system(Runner *runner, SystemKind kind) {
    uint32_t needs = system_infos[kind].needs;
    for (uint32_t other = 0; other < SYSTEM_COUNT; other++) {
        uint32_t missing = needs & ~runner->facts;
        if ((system_infos[other].gives & missing) == 0 || other == (uint32_t)kind) continue;
        if (!run_system(runner, (SystemKind)other)) return false;
    }
    return runner_run(runner, kind);
}
static bool run_steps(Case *c, Runner *runner) {
    String rest = c->steps;
    while (rest.count != 0) {
        String step = next_word(&rest, ',');
        bool   nothing = str_same(step, STR("parse")) || str_same(step, STR("print"));
        bool   all = str_same(step, STR("compile"));
        if (nothing) continue;
        SystemKind kind = all ? SYSTEM_verify : system_find(step);
        if (kind == SYSTEM_COUNT) {
            fail_with(c, "unknown step: ", step);
            return false;
        }
        if (!(all ? runner_compile(runner) : run_system(runner, kind))) return false;
    }
    return true;
}
static String print_world(const Case *c, const World *world) {
    StrId       name = strings_find(&world->strings, c->graph);
    TextOptions options = {.types = c->types, .bare = true};
    if (c->graph.count != 0) options.graph = code_find_graph(&world->code, name);
    return text_print(arena, world, options);
}
/* Printing and parsing must be inverse: for every case that parses. */
static void check_round_trip(Case *c) {
    String first = text_print(arena, c->world, (TextOptions){.types = true});
    World *again = world_open(0, 1 << 20);
    if (!text_parse(again, first, STR("printed"))) {
        fail_with(c, "the printed program does not parse:\n", first);
        text_add(&c->report, text_diags_in(arena, again, &again->diags, first));
    } else {
        String second = text_print(arena, again, (TextOptions){.types = true});
        Lines  a = split(first), b = split(second);
        if (!str_same(first, second))
            fail_with(c, "printing and parsing are not inverse:", STR(""));
        if (!str_same(first, second)) diff(&c->report, &a, &b);
    }
    world_close(again);
}

/* --- checks ----------------------------------------------------------------------------------- */
/* Whether the words appear in the text, in this order. */
static bool words_appear(String words, String text) {
    while (words.count != 0) {
        String      word = next_word(&words, ' ');
        const char *at = find(text, word);
        if (word.count != 0 && at == NULL) return false;
        if (at != NULL) text = after(text, (size_t)(at - text.data) + word.count);
    }
    return true;
}
static bool expects(const Expected *e, String code, uint32_t line, String message) {
    String rest = e->text, kind = next_word(&rest, ' ');
    bool   here = e->line == 0 || e->line == line;
    return !e->met && here && str_same(kind, code) && words_appear(rest, message);
}
static void check_diags(Case *c, String source) {
    const Diags *diags = &c->world->diags;
    bool         unexpected = false;
    for (uint32_t row = 1; row < diags->rows.table.count; row++) {
        DiagId    id = {row};
        String    code = str_of(diag_infos[diags->rows.kind[row]].code);
        String    message = text_diag_message(arena, c->world, diags, id);
        uint32_t  parent = diags->rows.parent[row];
        TextPlace place = text_diag_place(c->world, diags, parent ? (DiagId){parent} : id);
        bool      met = parent != 0; /* notes may be checked, not must */
        for (uint32_t i = 0; i < c->expected_count; i++) {
            Expected *e = &c->expected[i];
            if (!expects(e, code, place.line, message)) continue;
            e->met = met = true;
            break;
        }
        unexpected |= !met;
    }
    if (unexpected) {
        fail_with(c, "unexpected diagnostics among:", STR(""));
        text_add(&c->report, text_diags_in(arena, c->world, diags, source));
    }
    for (uint32_t i = 0; i < c->expected_count; i++) {
        const Expected *e = &c->expected[i];
        if (e->met) continue;
        text_addf(fail(c), "missing diagnostic: %.*s", STR_ARGS(e->text));
        text_addf(&c->report, e->line ? " (line %u)\n" : "\n", e->line);
        if (!unexpected) text_add(&c->report, text_diags_in(arena, c->world, diags, source));
    }
}
static void check_output(Case *c, bool bless) {
    Lines got = split(c->output);
    bool  same = got.count == c->exact.count;
    for (uint32_t i = 0; same && i < got.count; i++) same = str_same(got.at[i], c->exact.at[i]);
    if (c->exact.count != 0 && !same && !bless) diff(fail(c), &c->exact, &got);
    for (uint32_t i = 0; i < c->wanted.count; i++)
        if (!contains(c->output, c->wanted.at[i])) fail_with(c, "missing: ", c->wanted.at[i]);
    for (uint32_t i = 0; i < c->unwanted.count; i++)
        if (contains(c->output, c->unwanted.at[i]))
            fail_with(c, "must not appear: ", c->unwanted.at[i]);
    if (c->failed && (c->wanted.count != 0 || c->unwanted.count != 0))
        fail_with(c, "in the output:\n", c->output);
}

static void check_numbers(Case *c, String source, bool bless) {
    NumericRun run = {.arena = arena,
                      .report = &c->report,
                      .path = c->path,
                      .source = source,
                      .graph = c->graph,
                      .words = c->run,
                      .sizes = c->sizes.at,
                      .inputs = c->inputs.at,
                      .values = c->exact.at,
                      .sizes_count = c->sizes.count,
                      .inputs_count = c->inputs.count,
                      .values_count = bless ? 0 : c->exact.count,
                      .after = c->world};
    if (!numeric_run(&run)) c->failed = true;
    c->output = run.output;
}

static void run_case(Case *c, String source, bool bless) {
    Target     target;
    Runner     runner;
    ArenaGuard guard;
    c->world = world_open(0, 1 << 20);
    if (c->world == NULL || !ARENA_GUARD(&guard)) {
        fail_with(c, "out of memory: ", str_of(arena_guard_failure().arena));
        return;
    }
    if (c->cuda)
        gpu_describe(&target, true); /* with cuDNN, as stoac */
    else if (c->target)
        cpu_describe(&target, false);
    runner_open(&runner, c->world, c->target ? &target : NULL);
    runner.ctx.narrow = c->narrow;
    runner.ctx.narrow8 = c->narrow8;
    runner.ctx.keeps = c->keeps;
    runner.ctx.budget = c->budget;
    runner.ctx.offload = c->offload;
    bool good = text_parse(c->world, source, str_of(c->path));
    if (good) check_round_trip(c);
    good = good && run_steps(c, &runner);
    check_diags(c, source);
    if (good && c->run.data != NULL)
        check_numbers(c, source, bless);
    else if (good) {
        c->output = print_world(c, c->world);
        check_output(c, bless);
    } else if (c->exact.count + c->wanted.count != 0)
        fail_with(c, "there is no output", STR(""));
    runner_close(&runner);
    world_close(c->world);
    arena_guard_end(&guard);
}

/* --- files ------------------------------------------------------------------------------------ */
/* The lines before the case as empty lines, so that places are those of the file. */
static String case_source(const Lines *lines, const Case *c) {
    Text text = text_begin(arena);
    for (uint32_t i = 1; i < c->first; i++) text_add(&text, STR("\n"));
    for (uint32_t i = c->first; i < c->last; i++) {
        text_add(&text, lines->at[i - 1]);
        text_add(&text, STR("\n"));
    }
    return text_done(&text);
}
static void add_exact(Text *text, String output) {
    Lines lines = split(output);
    for (uint32_t i = 0; i < lines.count; i++)
        text_addf(text, lines.at[i].count ? ";= %.*s\n" : ";=\n", STR_ARGS(lines.at[i]));
}
/* The case again, with its exact lines replaced where the first one stood. */
static void rewrite_case(Text *text, const Lines *lines, const Case *c) {
    bool written = c->exact.count == 0 || c->output.data == NULL;
    for (uint32_t i = c->first; i < c->last; i++) {
        bool exact = c->output.data != NULL && str_starts(trim(lines->at[i - 1]), STR(";="));
        if (exact && !written) add_exact(text, c->output);
        if (exact)
            written = true;
        else
            text_addf(text, "%.*s\n", STR_ARGS(lines->at[i - 1]));
    }
}
static void print_failure(Case *c) {
    String report = text_done(&c->report);
    printf("FAIL %s:%u: test %.*s\n%.*s", c->path, c->first, STR_ARGS(c->steps), STR_ARGS(report));
    printf("again: stoacheck %s:%u\n", c->path, c->first);
    if (c->exact.count != 0) printf("accept: STOA_BLESS=1 stoacheck %s:%u\n", c->path, c->first);
    printf("\n");
}
static bool begins_case(String line) { return str_starts(trim(line), STR("; test")); }

static void write_file(const char *path, String text) {
    FILE *file = fopen(path, "wb");
    if (file != NULL) (void)fwrite(text.data, 1, text.count, file);
    if (file == NULL || fclose(file) != 0) {
        printf("cannot write %s\n", path);
        exit(2);
    }
}
static void run_file(Tally *tally, const char *path) {
    OsMap map;
    if (os_map(path, &map) != 0) {
        printf("cannot read %s\n", path);
        exit(2);
    }
    Arena   *text_arena = arena_open("rewritten", 0, 0);
    Text     text = text_begin(text_arena);
    Lines    lines = split((String){(const char *)map.data, map.bytes});
    uint32_t next = 1, before = tally->blessed;
    while (next <= lines.count && !begins_case(lines.at[next - 1])) next++;
    for (uint32_t i = 1; i < next; i++) text_addf(&text, "%.*s\n", STR_ARGS(lines.at[i - 1]));
    while (next <= lines.count) {
        uint32_t last = next + 1;
        while (last <= lines.count && !begins_case(lines.at[last - 1])) last++;
        Case c = read_case(path, &lines, next, last);
        bool picked =
            tally->only_line == 0 || (tally->only_line >= c.first && tally->only_line < c.last);
        bool bless = tally->bless && picked;
        if (picked) run_case(&c, case_source(&lines, &c), bless);
        tally->passed += picked && !c.failed;
        tally->failed += c.failed;
        if (c.failed) print_failure(&c);
        if (!bless) c.output = (String){0};
        rewrite_case(&text, &lines, &c);
        arena_close(c.report.arena);
        next = last;
    }
    String whole = text_done(&text);
    bool   changed = !str_same(whole, (String){(const char *)map.data, map.bytes});
    os_unmap(&map);
    if (tally->bless && changed) {
        write_file(path, whole);
        tally->blessed++;
    }
    if (tally->blessed != before) printf("rewrote %s\n", path);
    arena_close(text_arena);
}

static void run_path(Tally *tally, const char *path) {
    String *names;
    size_t  count;
    if (os_list(arena, path, &names, &count) != 0) {
        ArenaMark mark = arena_mark(arena);
        run_file(tally, path);
        arena_release(arena, mark);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        String  child = str_format(arena, "%s/%.*s", path, STR_ARGS(names[i]));
        bool    is_test = child.count > 3 && memcmp(child.data + child.count - 3, ".ir", 3) == 0;
        String *nested;
        size_t  nested_count;
        if (is_test || os_list(arena, child.data, &nested, &nested_count) == 0)
            run_path(tally, child.data);
    }
}

int main(int argc, char **argv) {
    Tally tally = {.bless = getenv("STOA_BLESS") != NULL && getenv("STOA_BLESS")[0] == '1'};
    if (argc < 2) {
        printf("usage: stoacheck PATH[:LINE]...\n");
        return 2;
    }
    if (tally.bless && getenv("CI") != NULL) {
        printf("STOA_BLESS is refused where CI is set\n");
        return 2;
    }
    arena = arena_open("stoacheck", (size_t)16 << 30, 0);
    ArenaGuard guard;
    if (arena == NULL || !ARENA_GUARD(&guard)) {
        printf("out of memory: %s\n", arena_guard_failure().arena);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        String  path = str_copy(arena, str_of(argv[i]));
        char   *colon = strrchr(argv[i], ':');
        int64_t line = 0;
        if (colon != NULL && str_to_i64(str_of(colon + 1), &line)) *colon = 0;
        tally.only_line = (uint32_t)line;
        (void)path;
        run_path(&tally, argv[i]);
    }
    arena_guard_end(&guard);
    printf("%u passed, %u failed\n", tally.passed, tally.failed);
    return tally.failed != 0 || tally.passed == 0;
}
