/* What tests ask of the stand-in driver (cuda.c), besides the driver's own functions: limits,
 * injected failures and a count of what is still open. The pointers are found with dlsym. */
#ifndef STOA_TESTS_FAKE_CUDA_H
#define STOA_TESTS_FAKE_CUDA_H

#include "gpu/abi.h"

/* What the stand-in of CUPTI (cupti.c) hears from that of the driver: each call before it acts,
 * each node that is made (before NULL) or copied, and what runs, by its node (0: outside
 * graphs). */
typedef enum FakeWork { FAKE_KERNEL, FAKE_COPY, FAKE_FILL } FakeWork;
typedef struct FakeWatch {
    void (*call)(const char *name);
    void (*node)(CuNode node, CuNode before);
    void (*work)(FakeWork work, const char *kernel, size_t bytes, uint64_t node);
} FakeWatch;

typedef struct FakeCuda {
    void (*reset)(void);         /* as if newly loaded; forgets what is open */
    void (*limit)(size_t bytes); /* device memory */
    void (*fail)(const char *call, unsigned nth, int error); /* the nth call of a name, from 1 */
    void (*fail_any)(unsigned nth, int error);               /* the nth call that can fail */
    int (*failed)(void);                                     /* that call came */
    void (*fact)(int attribute, int value);                  /* a device attribute */
    void (*version)(int version);                            /* of the driver, 12030 is 12.3 */
    /* Runs fused kernels ("k<kernel>_<phase>_<n>"); those of operators it knows (kernels.h). */
    void (*fused)(void (*run)(void *context, const char *name, const void *args), void *context);
    unsigned (*live)(void);                /* objects and mappings that are open */
    unsigned (*calls)(const char *call);   /* since reset */
    void (*watch)(const FakeWatch *watch); /* NULL: nobody listens; stays through reset */
    uint64_t (*node_id)(CuNode node);
    void (*late)(int on); /* work runs as late as it may (streams.h), not at once; until reset */
} FakeCuda;
#define FAKE_CUDA_SYMBOL "fake_cuda" /* a FakeCuda */

typedef struct FakeCupti {
    void (*attach)(const FakeCuda *cuda);      /* listens; as if newly loaded */
    void (*fail)(const char *call, int error); /* every call of this name, until attach */
    unsigned (*live)(void);                    /* kinds enabled, subscribers, lent buffers */
} FakeCupti;
#define FAKE_CUPTI_SYMBOL "fake_cupti" /* a FakeCupti */

/* The image that the stand-in loads, and the kernels in it, each with one struct parameter. */
#define FAKE_IMAGE "fake image"
typedef struct FakeSet { /* "set": into[i] = value */
    CuPtr    into;
    uint32_t value, count;
} FakeSet;
typedef struct FakeAdd { /* "add": into[i] += from[i] */
    CuPtr    into, from;
    uint32_t count;
} FakeAdd;
typedef struct FakeCount { /* "count_down": the condition is whether --*counter is not 0 */
    CuCondition condition;
    CuPtr       counter;
} FakeCount;
typedef struct FakeTest { /* "word": the condition is whether *word is not 0 */
    CuCondition condition;
    CuPtr       word;
} FakeTest;

#endif
