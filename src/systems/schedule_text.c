/* Reading is line by line, words separated by blanks; every mistake is a row and reading goes on
 * with the next line. A file is written beside the old one and renamed over it. */
#include "systems/schedule_text.h"

#include "arena/hash.h"
#include "arena/os.h"
#include "systems/schedule.h"

ScheduleBook schedule_book_open(Arena *arena) { return (ScheduleBook){.arena = arena}; }

static ScheduleEntry *add_entry(ScheduleBook *book) {
    book->entries = arena_room(book->arena, book->entries, book->entries_count, &book->entries_max,
                               sizeof *book->entries);
    ScheduleEntry *entry = &book->entries[book->entries_count++];
    *entry = (ScheduleEntry){.first = book->steps_count};
    return entry;
}
static void add_step(ScheduleBook *book, ScheduleStep step) {
    book->steps = arena_room(book->arena, book->steps, book->steps_count, &book->steps_max,
                             sizeof *book->steps);
    book->steps[book->steps_count++] = step;
    book->entries[book->entries_count - 1].count++;
}

/* --- reading ---------------------------------------------------------------------------------- */
typedef struct Reading {
    ScheduleBook *book;
    Diags        *diags;
    String        file, rest; /* rest: of the line */
    const char   *begun;      /* of the line */
    uint32_t      line;
    bool          good;
} Reading;

static void complain(Reading *r, const char *at, const char *what) {
    (void)diags_add_at(r->diags, DIAG_SCHEDULE_SYNTAX, r->file, r->line,
                       (uint32_t)(at - r->begun) + 1, diags_str(r->diags, str_of(what)), 0, 0, 0);
    r->good = false;
    r->rest.count = 0; /* one mistake a line */
}
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
/* The next word of the line, empty at its end. */
static String next_word(Reading *r) {
    while (r->rest.count != 0 && is_blank(r->rest.data[0]))
        r->rest = (String){r->rest.data + 1, r->rest.count - 1};
    size_t count = 0;
    while (count < r->rest.count && !is_blank(r->rest.data[count])) count++;
    String word = {r->rest.data, count};
    r->rest = (String){r->rest.data + count, r->rest.count - count};
    return word;
}
static bool read_hex(String word, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < word.count; i++) {
        char     c = word.data[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                : 16;
        if (digit == 16) return false;
        *out = *out << 4 | digit;
    }
    return word.count == 16;
}
static void read_kernel(Reading *r) {
    String         word = next_word(r);
    ScheduleEntry *entry = add_entry(r->book);
    entry->all = str_same(word, STR("all"));
    if (entry->all) return;
    bool good = word.count == 32 && read_hex((String){word.data, 16}, &entry->hash.low) &&
                read_hex((String){word.data + 16, 16}, &entry->hash.high);
    if (!good) complain(r, word.data, "a kernel is `all` or a hash of 32 hexadecimal digits");
    word = next_word(r);
    if (word.count != 0 && (!str_to_f64(word, &entry->cost_us) || !(entry->cost_us >= 0)))
        complain(r, word.data, "a cost is a number of microseconds, 0 or more");
}
static void read_machine(Reading *r) {
    while (r->rest.count != 0 && is_blank(r->rest.data[0]))
        r->rest = (String){r->rest.data + 1, r->rest.count - 1};
    String      text = r->rest;
    const char *end = text.count > 1 ? memchr(text.data + 1, '"', text.count - 1) : NULL;
    if (text.count < 2 || text.data[0] != '"' || end == NULL) {
        complain(r, text.data, "a machine is a text in quotes");
        return;
    }
    size_t count = (size_t)(end - text.data);
    for (size_t i = 1; i < count; i++)
        if ((unsigned char)text.data[i] < ' ') {
            complain(r, text.data + i, "a machine has no control characters in its name");
            return;
        }
    r->book->machine = str_copy(r->book->arena, (String){text.data + 1, count - 1});
    r->rest = (String){end + 1, text.count - count - 1};
}
static void read_step(Reading *r, String name) {
    ScheduleStep step = {.transform = transform_find(name), .line = r->line};
    if (step.transform == TRANSFORM_COUNT) {
        complain(r, name.data, "there is no transform of this name");
        return;
    }
    for (uint32_t i = 0; i < transform_infos[step.transform].numbers; i++) {
        String word = next_word(r);
        if (str_to_i64(word, &step.numbers[i]) && step.numbers[i] >= 0 &&
            step.numbers[i] <= INT32_MAX)
            continue;
        complain(r, word.data,
                 str_format(r->book->arena, "%s takes %u numbers: %s", /* names none */
                            transform_infos[step.transform].name,
                            transform_infos[step.transform].numbers,
                            transform_infos[step.transform].doc)
                     .data);
        return;
    }
    if (r->book->entries_count == 0)
        complain(r, name.data, "a step stands before the first `kernel`");
    else if (r->book->steps_count == SCHEDULE_STEPS_MAX)
        complain(r, name.data, "there are too many steps");
    else
        add_step(r->book, step);
}
static void read_line(Reading *r, String text) {
    String  word = next_word(r), number;
    int64_t version = 0;
    if (word.count == 0) return;
    if (str_same(word, STR("stoa"))) {
        String kind = next_word(r);
        number = next_word(r);
        if (!str_same(kind, STR("schedules")) || !str_to_i64(number, &version) || version != 1)
            complain(r, word.data, "this build reads `stoa schedules 1`");
    } else if (str_same(word, STR("machine"))) {
        read_machine(r);
    } else if (str_same(word, STR("kernel"))) {
        read_kernel(r);
    } else if (str_same(word, STR("sum"))) {
        uint64_t sum = 0, wanted = hash_bytes(text.data, (size_t)(r->begun - text.data), 1);
        r->book->summed = read_hex(next_word(r), &sum) && sum == wanted;
        if (!r->book->summed) complain(r, word.data, "the sum does not fit what stands before it");
    } else {
        read_step(r, word);
    }
    word = next_word(r);
    if (word.count != 0) complain(r, word.data, "something is left over on this line");
}
bool schedule_book_parse(ScheduleBook *book, String text, String file, Diags *diags) {
    Reading r = {.book = book, .diags = diags, .file = file, .good = true};
    book->file = str_copy(book->arena, file);
    for (String left = text; left.count != 0;) {
        const char *newline = memchr(left.data, '\n', left.count);
        size_t      count = newline != NULL ? (size_t)(newline - left.data) : left.count;
        const char *comment = count != 0 ? memchr(left.data, '#', count) : NULL;
        r.begun = left.data;
        r.line++;
        r.rest = (String){left.data, comment != NULL ? (size_t)(comment - left.data) : count};
        read_line(&r, text);
        count += newline != NULL;
        left = (String){left.data + count, left.count - count};
    }
    return r.good;
}

/* --- writing ---------------------------------------------------------------------------------- */
void schedule_print_step(Text *out, Transform transform, const int64_t *numbers) {
    text_add(out, str_of(transform_infos[transform].name));
    for (uint32_t i = 0; i < transform_infos[transform].numbers; i++)
        text_addf(out, " %lld", (long long)numbers[i]);
    text_add(out, STR("\n"));
}
void schedule_print_steps(Text *out, const Loops *loops, KernelId kernel) {
    uint32_t first = loops->kernels.steps_first[kernel.row];
    for (uint32_t row = first; row < first + loops->kernels.steps_count[kernel.row]; row++)
        schedule_print_step(out, (Transform)loops->steps.transform[row],
                            list_numbers(&loops->lists, loops->steps.numbers[row]));
}
String schedule_book_print(Arena *out, const ScheduleBook *book) {
    Text text = text_begin(out);
    text_add(&text, STR("stoa schedules 1\n"));
    if (book->machine.count != 0) text_addf(&text, "machine \"%.*s\"\n", STR_ARGS(book->machine));
    for (uint32_t i = 0; i < book->entries_count; i++) {
        const ScheduleEntry *entry = &book->entries[i];
        if (entry->all)
            text_add(&text, STR("kernel all\n"));
        else
            text_addf(&text, "kernel %016llx%016llx %.9g\n", (unsigned long long)entry->hash.low,
                      (unsigned long long)entry->hash.high, entry->cost_us);
        for (uint32_t k = entry->first; k < entry->first + entry->count; k++)
            schedule_print_step(&text, book->steps[k].transform, book->steps[k].numbers);
    }
    uint64_t sum = hash_bytes(text.data, text.count, 1);
    text_addf(&text, "sum %016llx\n", (unsigned long long)sum);
    return text_done(&text);
}

/* --- entries ---------------------------------------------------------------------------------- */
const ScheduleEntry *schedule_book_find(const ScheduleBook *book, LoopHash hash) {
    const ScheduleEntry *all = NULL;
    for (uint32_t i = 0; i < book->entries_count; i++) {
        const ScheduleEntry *entry = &book->entries[i];
        if (entry->all)
            all = entry;
        else if (entry->hash.low == hash.low && entry->hash.high == hash.high)
            return entry;
    }
    return all;
}
void schedule_book_put(ScheduleBook *book, LoopHash hash, double cost_us, const Loops *loops,
                       KernelId kernel) {
    uint32_t kept = 0, first = loops->kernels.steps_first[kernel.row];
    for (uint32_t i = 0; i < book->entries_count; i++) { /* its steps stay behind, unused */
        ScheduleEntry entry = book->entries[i];
        if (entry.all || entry.hash.low != hash.low || entry.hash.high != hash.high)
            book->entries[kept++] = entry;
    }
    book->entries_count = kept;
    ScheduleEntry *entry = add_entry(book);
    entry->hash = hash;
    entry->cost_us = cost_us;
    for (uint32_t row = first; row < first + loops->kernels.steps_count[kernel.row]; row++) {
        ScheduleStep step = {.transform = (Transform)loops->steps.transform[row]};
        memcpy(step.numbers, list_numbers(&loops->lists, loops->steps.numbers[row]),
               transform_infos[step.transform].numbers * sizeof *step.numbers);
        add_step(book, step);
    }
}

/* --- files ------------------------------------------------------------------------------------ */
static void ignore(ScheduleBook *book, const char *path, Diags *diags, const char *why) {
    (void)diags_add(diags, DIAG_SCHEDULES_IGNORED, 0, diags_str(diags, str_of(path)),
                    diags_str(diags, str_of(why)), 0, 0);
    *book = schedule_book_open(book->arena);
}
void schedule_book_load(ScheduleBook *book, const char *path, String machine, Diags *diags) {
    OsMap map;
    *book = schedule_book_open(book->arena);
    if (os_exists(path)) {
        int error = os_map(path, &map);
        if (error != 0) {
            ignore(book, path, diags, os_error_text(error));
        } else if (map.bytes > SCHEDULE_BYTES_MAX) {
            ignore(book, path, diags, "it is too large");
            os_unmap(&map);
        } else {
            Diags own;
            diags_open(&own, NULL);
            String text = {(const char *)map.data, map.bytes};
            bool   good = schedule_book_parse(book, text, str_of(path), &own);
            os_unmap(&map);
            diags_close(&own);
            if (!good || !book->summed)
                ignore(book, path, diags, "it is damaged");
            else if (!str_same(book->machine, machine))
                ignore(book, path, diags, "it was made on another machine");
        }
    }
    book->file = str_copy(book->arena, str_of(path));
    book->machine = str_copy(book->arena, machine);
}
Status schedule_book_save(const ScheduleBook *book, const char *path, Diags *diags) {
    Scratch scratch = scratch_begin(NULL, 0);
    String  text = schedule_book_print(scratch.arena, book);
    String  temporary = str_format(scratch.arena, "%s.%u.tmp", path, os_process_id());
    OsFile  file;
    int     error = os_open(temporary.data, OS_WRITE_NEW, &file);
    if (error == 0) {
        error = os_write(file, text.data, text.count);
        int closed = os_close(&file);
        if (error == 0) error = closed;
        if (error == 0) error = os_rename(temporary.data, path);
        if (error != 0) {
            int removed = os_remove(temporary.data);
            (void)removed;
        }
    }
    if (error != 0)
        (void)diags_add(diags, DIAG_SCHEDULES_UNSAVED, 0, diags_str(diags, str_of(path)),
                        diags_str(diags, str_of(os_error_text(error))), 0, 0);
    scratch_end(scratch);
    return error == 0 ? STATUS_OK : STATUS_IO;
}

/* --- replay ----------------------------------------------------------------------------------- */
bool schedule_replay(Schedule *s, const ScheduleBook *book, const ScheduleEntry *entry,
                     uint32_t *out_step) {
    TransformMark mark = transform_mark(s);
    for (uint32_t i = 0; i < entry->count; i++) {
        const ScheduleStep *step = &book->steps[entry->first + i];
        if (s->fuel != NULL && *s->fuel == 0) break; /* a bisection ends here */
        if (transform_apply(s, step->transform, step->numbers)) continue;
        transform_restore(s, &mark);
        *out_step = entry->first + i;
        return false;
    }
    return true;
}
void schedule_from_book(SystemCtx *ctx, Schedule *s) {
    const ScheduleBook *book = ctx->scheduler_context;
    const LoopKernels  *kernels = &s->loops->kernels;
    LoopHash hash = {kernels->hash_low[s->kernel.row], kernels->hash_high[s->kernel.row]};
    const ScheduleEntry *entry = schedule_book_find(book, hash);
    uint32_t             bad = 0;
    if (entry == NULL || !schedule_replay(s, book, entry, &bad)) {
        if (entry != NULL) {
            Diags   *diags = &ctx->world->diags;
            uint64_t name =
                diags_str(diags, str_of(transform_infos[book->steps[bad].transform].name));
            (void)diags_add(diags, book->strict ? DIAG_SCHEDULE_ILLEGAL : DIAG_SCHEDULE_STALE,
                            kernels->op[s->kernel.row].row, name, book->steps[bad].line,
                            diags_str(diags, str_of(s->why)), 0);
        }
        schedule_rules(s, ctx->target, NULL);
    }
}
