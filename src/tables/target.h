/* What a back end can do, as data, so that systems decide with device facts without including any
 * back end.
 *
 * The back end fills it (cpu_describe); systems only read. */
#ifndef STOA_TABLES_TARGET_H
#define STOA_TABLES_TARGET_H

#include "tables/schema.h"

typedef enum ViewNeed {
    VIEW_DENSE, /* operands must be row-major and contiguous (an offset is fine) */
    VIEW_ANY,   /* any strides, 0 included */
    VIEW_MATRIX /* dot_general: each operand is batch x matrix with free and contracted axes that
                   each merge into one stride, one of the two strides being 1 */
} ViewNeed;

/* What estimates of time are made of; rough figures are good enough to compare schedules. */
enum { TARGET_CACHES_MAX = 3 };
typedef struct TargetMachine {
    uint32_t lanes;        /* that parallel loops are dealt to */
    uint32_t vector_bytes; /* of a register */
    uint32_t caches;       /* levels of one lane, nearest first */
    uint64_t cache_bytes[TARGET_CACHES_MAX];
    double   gb_s[TARGET_CACHES_MAX + 1]; /* each level of one lane, then memory of all */
    double   ghz;
    double   gflop_s;        /* of matrix products, all lanes */
    double   narrow_gflop_s; /* likewise, of operands of 16 bits or fewer; 0: the same */
    double   launch_us;      /* beginning a launch */
    double   link_gb_s; /* copies to page-locked memory of the host, and as much back at the same
                           time, beside launches; 0: there is no such memory */
    double   link_us;   /* what a copy there and back costs launches, beside bandwidth */
} TargetMachine;

typedef struct Target {
    const char *name;                 /* "cpu" */
    bool        has_kernel[OP_COUNT]; /* can launch this opcode */
    bool        keep[OP_COUNT];       /* composites whose own kernel beats their expansion */
    bool (*keeps)(const World *world, OpId op); /* of those, which rows; NULL: all */
    uint8_t       view_need[OP_COUNT];          /* ViewNeed of the operands */
    uint8_t       places[OP_COUNT];             /* first results that may be written as any view */
    uint32_t      align;                        /* bytes, of buffers in the planned arena */
    bool          compiles;      /* has an emitter: arithmetic is fused into kernels */
    bool          multiplies_f8; /* dot_general takes 8-bit floats */
    bool          threads;       /* kernels are dealt to teams of threads, not to lanes */
    TargetMachine machine;
    /* Whether the emitter knows an elementwise opcode, or loads and stores, of a dtype. */
    bool (*compiles_op)(Opcode opcode, Dtype dtype);
} Target;

#endif
