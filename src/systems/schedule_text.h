/* Schedules as text, and books of them: recorded steps that can be read, written by hand, stored
 * for each machine, and replayed on a fresh lowering of the same kernel.
 *
 *     stoa schedules 1
 *     machine "cpu avx512 2 lanes"                  where costs were measured; may be left out
 *     kernel 6c62272e07bb014262b821756295c58d 12.5  hash of the content, cost in us (0: not known)
 *     split 3 16 0                                  steps: name and numbers of transform.h
 *     bind 3 1 0 0
 *     kernel all                                    steps for every kernel that has none of its own
 *     sum 9ae16a3b2f90404f                          hash of all bytes before it
 *
 * `#` begins a comment. A book that a program stored ends with its sum; one without is the work of
 * a person. Reading names the line and column of what is wrong. */
#ifndef STOA_SYSTEMS_SCHEDULE_TEXT_H
#define STOA_SYSTEMS_SCHEDULE_TEXT_H

#include "arena/status.h"
#include "systems/system.h"
#include "systems/transform.h"

enum { SCHEDULE_STEPS_MAX = 1 << 20, SCHEDULE_BYTES_MAX = 1 << 26 };

typedef struct ScheduleStep {
    Transform transform;
    uint32_t  line;
    int64_t   numbers[TRANSFORM_NUMBERS_MAX];
} ScheduleStep;
typedef struct ScheduleEntry { /* a kernel */
    LoopHash hash;
    bool     all; /* every kernel without an entry of its own */
    double   cost_us;
    uint32_t first, count; /* steps */
} ScheduleEntry;
typedef struct ScheduleBook { /* everything lives in the arena */
    Arena         *arena;
    String         file, machine;
    ScheduleEntry *entries;
    ScheduleStep  *steps;
    uint32_t       entries_count, entries_max, steps_count, steps_max;
    bool           strict; /* a step that is illegal is an error of the user's program */
    bool           summed;
} ScheduleBook;

ScheduleBook schedule_book_open(Arena *arena);
/* Adds what the text holds. False, and rows in diags: something is wrong, the book may hold a part.
 */
bool schedule_book_parse(ScheduleBook *book, String text, String file, Diags *diags);
/* The text of a book, with its sum. */
String schedule_book_print(Arena *out, const ScheduleBook *book);
/* The entry of a kernel's content, or that for all; NULL: none. */
const ScheduleEntry *schedule_book_find(const ScheduleBook *book, LoopHash hash);
/* Puts the recorded steps of a kernel in, over an entry of the same hash. */
void schedule_book_put(ScheduleBook *book, LoopHash hash, double cost_us, const Loops *loops,
                       KernelId kernel);

/* The stored book of a machine. A file that does not exist is an empty book; one that is damaged,
 * of another version or of another machine adds the warning SCHEDULES_IGNORED and is empty too. */
void schedule_book_load(ScheduleBook *book, const char *path, String machine, Diags *diags);
/* Whole or not at all. Trouble is a FILE_ERROR row. */
MUST_USE Status schedule_book_save(const ScheduleBook *book, const char *path, Diags *diags);

/* Steps of an entry on the kernel as it was lowered; false: one is illegal (its number in out), and
 * the kernel is as before. */
bool schedule_replay(Schedule *s, const ScheduleBook *book, const ScheduleEntry *entry,
                     uint32_t *out_step);
/* A Scheduler (system.h): the book in scheduler_context, the rules where it has no entry. */
void schedule_from_book(SystemCtx *ctx, Schedule *s);

/* A step as a line: "split 3 16 0\n"; and all recorded ones of a kernel. */
void schedule_print_step(Text *out, Transform transform, const int64_t *numbers);
void schedule_print_steps(Text *out, const Loops *loops, KernelId kernel);

#endif
