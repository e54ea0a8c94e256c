/* The small programs of the suite `kernels`, built through the public header: what compiles them is
 * what is measured. Each has one graph, "run", on arrays of rows x columns; the number of rows is a
 * symbol, as in a model, and the columns are constant.
 *
 * The least bytes of a case are those of its inputs and outputs, each touched once; state, which
 * is neither, is counted beside. */
#ifndef STOA_BENCH_KERNEL_CASES_H
#define STOA_BENCH_KERNEL_CASES_H

#include <stoa/stoa.h>

enum { KERNEL_INPUTS_MAX = 8 };

typedef enum KernelFill {
    FILL_UNIFORM, /* floats from -1 to 1 */
    FILL_INDEX,   /* integers below limit, at random */
    FILL_SHUFFLE, /* each integer below limit once, in random order */
    FILL_LIMIT    /* the limit itself */
} KernelFill;
typedef struct KernelInput {
    StoaTensor tensor; /* sizes are those of this run; no data yet */
    KernelFill fill;
    double     limit;
} KernelInput;

typedef struct KernelGraph {
    StoaProgram *program; /* empty: the case adds its graph */
    StoaDtype    dtype;
    int64_t      rows, columns;
    KernelInput  inputs[KERNEL_INPUTS_MAX]; /* in the order of the graph */
    uint32_t     inputs_count, outputs_count;
    double       state_bytes, state_reads, state_writes; /* memory; touched by a run */
} KernelGraph;

typedef struct KernelCase {
    const char *name;
    void (*build)(KernelGraph *graph);
    double  arrays;   /* of rows x columns: its memory */
    double  flops;    /* the least a number: additions, multiplications, comparisons */
    double  specials; /* exp, tanh, log and the like a number; not among the flops */
    int64_t columns;  /* unless the shape says otherwise */
    bool    odd;      /* measured at odd sizes as well */
} KernelCase;

extern const KernelCase kernel_cases[]; /* a case without a name ends them */

#endif
