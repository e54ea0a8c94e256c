/* Arguments of kernels of run_text.c that more than one file knows (ORDER with the structs there):
 * copies, numbers in a row, asserts, prints, kept rows and control flow. The stand-in driver of
 * the tests reads them too. Addresses come first. */
#ifndef STOA_GPU_RUN_ARGS_H
#define STOA_GPU_RUN_ARGS_H

#include "gpu/abi.h"

typedef struct RunNd { /* as Nd in run_text.c; strides in elements of each side */
    int32_t rank, pad;
    int64_t dims[8], strides[3][8];
} RunNd;
typedef struct CopyArgs {
    CuPtr   y, x, starts;
    RunNd   nd;
    int64_t count, start_step;
    int32_t side, starts_count;
    int64_t most[8], step[8];
} CopyArgs;
typedef struct GatherArgs {
    CuPtr   y, x, indices;
    RunNd   rows, slice;
    int64_t count, inner, index_step;
    int32_t components, pad;
    int64_t most[8], step[8];
} GatherArgs;
typedef struct StopArgs {
    CuPtr    flag, holds;
    RunNd    nd;
    int64_t  count;
    uint64_t condition;
    uint32_t launch, pad;
} StopArgs;

typedef struct RunLogHead { /* of a log of print rows (run_print.c); lines follow */
    uint64_t used, lost;    /* bytes; lines that found no place */
    uint64_t place, pad;    /* of the newest line, from 1; 0: it is lost */
} RunLogHead;
typedef struct PrintArgs {
    CuPtr   log, x;
    RunNd   nd;
    int64_t count, bytes, at, room; /* bytes: of the line, if this begins it, else 0 */
    int64_t launch;
} PrintArgs;

typedef struct CompactArgs {
    CuPtr   index, count, mask;
    int64_t rows;
} CompactArgs;
typedef struct KeptArgs {
    CuPtr   y, x, index, count;
    int64_t fits, words; /* rows of y; words of a row */
} KeptArgs;

/* --- control flow ----------------------------------------------------------------------------- */
enum { RUN_MOVES = 48, RUN_ALONE = 3 }; /* alone: an assert that sets no condition */
typedef struct TestArgs {
    CuPtr       at, flag;
    CuCondition condition, clear;
    int64_t     last;
    int32_t     bytes, which; /* bytes: of the predicate; 0: there is none; which -1: the number */
} TestArgs;
typedef struct RowMove {
    CuPtr   from, into;
    int64_t from_step, into_step, words, in;
} RowMove;
typedef struct RowsArgs {
    CuPtr    round, index, ticket, flag;
    uint64_t condition;
    int64_t  length, rounds;
    int32_t  unroll, count, first, advances, reverse, pad;
    RowMove  moves[RUN_MOVES];
} RowsArgs;
typedef struct IotaArgs {
    CuPtr   y;
    int64_t count, inner, size, base, step;
} IotaArgs;

#endif
