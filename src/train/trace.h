/* Traces: what ran when, on which lane, as rows; written as the JSON that Perfetto and
 * chrome://tracing open. Spans (systems, launches, checkpoints) and counters (memory) share one
 * timeline.
 *
 * Each lane has a ring of rows of its own, written by one thread at a time without locks or
 * atomics. Everything is allocated by trace_open, and names are interned before the run. When a
 * ring is full the oldest rows are overwritten: the end of a run is what one wants to see, above
 * all after a failure. How many were lost stands in the file ("rows_lost").
 *
 * A NULL trace is allowed everywhere and does nothing, so callers need no `if`. Naming and writing
 * want the lanes to be quiet. */
#ifndef STOA_TRAIN_TRACE_H
#define STOA_TRAIN_TRACE_H

#include "arena/os.h"
#include "arena/status.h"
#include "tables/diags.h"

ID_TYPE(TraceName, trace_name);

typedef struct TraceLane {       /* row n stands at n & mask */
    _Alignas(64) uint64_t count; /* rows written since trace_open */
    uint64_t  mask;              /* rows kept - 1 */
    uint64_t *start_ns;
    uint64_t *end_ns;
    uint64_t *arg; /* of a counter: the bits of its double */
    uint32_t *name;
    String    label; /* quoted for JSON */
} TraceLane;

typedef struct Trace {
    Arena             *arena;     /* of the names */
    uint64_t           opened_ns; /* time 0 of the file */
    uint32_t           lanes_count, process;
    TraceLane         *lanes;
    struct TraceNames *names;
    String             process_label;
} Trace;

typedef struct TraceOptions {
    uint32_t lanes;        /* 0: 1 */
    uint32_t rows_max;     /* a lane, rounded up to a power of two; 0: 65,536 (28 bytes each) */
    uint32_t names_max;    /* 0: 4,096; further ones are shown as "(other)" */
    uint32_t process;      /* the rank of a distributed run */
    String   process_name; /* empty: "stoa" */
} TraceOptions;

/* The arena is kept for names. */
Trace *trace_open(Arena *arena, const TraceOptions *options);
/* Equal arguments give the same id. category: how the viewer groups and colours, static. arg: what
 * the span's number means ("rows", "bytes"), static; NULL: it has none. */
TraceName trace_span_name(Trace *trace, String name, const char *category, const char *arg);
TraceName trace_counter_name(Trace *trace, String name, const char *unit);
void      trace_label(Trace *trace, uint32_t lane, String label); /* default: "lane 3" */
uint64_t  trace_rows_lost(const Trace *trace);
/* Replaces the file at path. */
MUST_USE Status trace_write(const Trace *trace, const char *path, Diags *diags);

/* --- while running: no calls, no allocation --------------------------------------------------- */

static inline uint64_t trace_now(const Trace *trace) { return trace ? os_clock_ns() : 0; }

static inline void trace_row_(Trace *trace, uint32_t lane, TraceName name, uint64_t start_ns,
                              uint64_t end_ns, uint64_t arg) {
    ASSERT(lane < trace->lanes_count);
    TraceLane *row = &trace->lanes[lane];
    uint64_t   at = row->count++ & row->mask;
    row->start_ns[at] = start_ns;
    row->end_ns[at] = end_ns;
    row->arg[at] = arg;
    row->name[at] = name.row;
}

/* Both times from trace_now (os_clock_ns). arg: what the name says, or 0. 5 ns on a 2.5 GHz Xeon;
 * the two readings of the clock around it take 55 ns more. */
static inline void trace_span(Trace *trace, uint32_t lane, TraceName name, uint64_t start_ns,
                              uint64_t end_ns, uint64_t arg) {
    if (trace) trace_row_(trace, lane, name, start_ns, end_ns, arg);
}

static inline void trace_counter(Trace *trace, uint32_t lane, TraceName name, uint64_t time_ns,
                                 double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (trace) trace_row_(trace, lane, name, time_ns, time_ns, bits);
}

#endif
