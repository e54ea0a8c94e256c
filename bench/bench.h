/* Shared by the benchmark programs: options, clocks, samples and how results are told.
 *
 * Times are processor time of the calling thread, so that a busy machine disturbs them little; the
 * wall clock is kept beside it (files wait, threads wait). The first sample of a series warms
 * caches and page tables up and is dropped unless it is the only one. A result is the median with
 * the 10th and 90th percentile: a mean would tell about the neighbours.
 *
 * A result goes to stdout as a line of a table, or with --json as one JSON object a line:
 *   {"suite","name","size","median","p10","p90","unit","wall","samples","rows","bytes", ...,
 *    "commit","machine"}
 * How to read them is in docs/benchmarks.md. */
#ifndef STOA_BENCH_BENCH_H
#define STOA_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_SAMPLES_MAX = 64, BENCH_EXTRAS_MAX = 8 };

typedef struct Bench {
    const char     *suite;
    const char     *filter; /* part of the names to measure; "" for all */
    uint64_t        size;   /* 0: the sizes of the suite */
    uint32_t        lanes;  /* 0: the lane counts of the suite */
    bool            smoke;  /* a tiny size (unless one is given), once: does it still run? */
    bool            json;
    struct History *told, *before; /* with --compare: this run and the one in the file */
} Bench;

/* Reads --smoke, --json, --size N, --lanes N, --filter TEXT and --compare FILE. False when the
 * program should end with *out_exit: --help, an option that is not known, a file that cannot be
 * read. */
bool bench_open(Bench *bench, const char *suite, int argc, char **argv, int *out_exit);
/* Tells what changed since the run of --compare, on stderr with --json. The exit status: `status`
 * if that is not 0, else 1 when something became worse. */
int bench_close(Bench *bench, int status);
/* Whether a name passes the filter. */
bool bench_wants(const Bench *bench, const char *name);
/* `full`, or 1 in a smoke run. */
uint32_t bench_samples(const Bench *bench, uint32_t full);

uint64_t    bench_cpu_ns(void);  /* processor time of this thread */
const char *bench_machine(void); /* what runs this: model, cores, caches, features; no quotes */
const char *bench_commit(void);  /* of the tree that was built, "+" if it had changes; or unknown */

typedef struct BenchTimes {
    uint64_t cpu_ns[BENCH_SAMPLES_MAX], wall_ns[BENCH_SAMPLES_MAX];
    uint64_t cpu_begin, wall_begin;
    uint32_t count;
} BenchTimes;

/* Around what is measured. A sample is kept while there is room. */
void bench_begin(BenchTimes *times);
void bench_end(BenchTimes *times);
/* Keeps a sample that was timed elsewhere. */
void bench_add(BenchTimes *times, uint64_t cpu_ns, uint64_t wall_ns);

typedef struct BenchSpread {
    double p10, median, p90;
} BenchSpread;
/* Percentiles interpolate between neighbouring numbers, so that few do not jump. Sorts numbers. */
BenchSpread bench_spread(double *numbers, uint32_t count);

typedef struct BenchExtra { /* a further number of a result */
    const char *name;
    double      value;
} BenchExtra;
typedef struct BenchResult {
    const char       *name;  /* "differentiate" */
    uint64_t          size;  /* what the suite scales by; a table has a head for each */
    const char       *shape; /* "1024x768"; NULL where the size says it all, as are the next two */
    const char       *dtype;
    uint32_t          lanes; /* 0: not told */
    const BenchTimes *times;
    double            rows;   /* the median is time / rows */
    double            bytes;  /* memory that the result is about; 0: none */
    double            flops;  /* 0: none */
    double           *shares; /* by sample, of the bound that was measured beside it; NULL: none */
    const char       *unit;   /* "ns/row" */
    double            goal;   /* of the median; 0: none */
    double            goal_share; /* 0: none */
    bool              waits;      /* files, other lanes: the wall clock is the result */
    BenchExtra        extras[BENCH_EXTRAS_MAX];
} BenchResult;

/* Prints a result, if its name passes the filter. Sorts its shares. */
void bench_tell(const Bench *bench, const BenchResult *result);
/* A number that was not timed: bytes, a ratio. */
void bench_tell_number(const Bench *bench, const char *name, uint64_t size, double number,
                       const char *unit, double goal);
/* A number that was computed from several samples, with its spread. */
void bench_tell_spread(const Bench *bench, const BenchResult *result, BenchSpread spread);

#endif
