/* The shape program of a graph: how the sizes of a call follow from the shapes of its inputs.
 *
 * A straight-line table, made once a graph: steps that read an axis of an input, solve an axis for
 * a symbol (T from an axis of size T + 1), evaluate an expression or follow an equality; then the
 * checks: sizes of inputs that are given twice, facts, equalities, what operators need of their
 * sizes (checks.h), and that tensors have possible sizes. Only dims that the graph uses take part,
 * however many the world has.
 *
 * Sizes that data decides (compact, dynamic_reshape, dynamic_broadcast) are late: every operator
 * that gives some ends a stage. Before it has run, they and all that depends on them stand at upper
 * bounds, by which memory is planned; afterwards shape_program_resize puts in what they are. A
 * symbol is given by an input axis that is the symbol itself, by an axis or an equality whose only
 * unknown it is and that is linear in it, or by the data. */
#ifndef STOA_TABLES_SHAPE_PROGRAM_H
#define STOA_TABLES_SHAPE_PROGRAM_H

#include "tables/tensor.h"
#include "tables/world.h"

typedef enum ShapeStepKind {
    SHAPE_INPUT,  /* row = axis b of input a */
    SHAPE_NUMBER, /* row = a constant */
    SHAPE_COPY,   /* row = a: an equality */
    SHAPE_SUM,    /* row = terms: b of them in words from a on */
    SHAPE_ATOM,   /* row = its operation on a and b */
    SHAPE_SOLVE,  /* row = the unknown of an axis or equality; words from a on, b terms */
    SHAPE_LATE,   /* row = what data says, at most a (0: at most its range) */
    SHAPE_FACTS,  /* check: row keeps range and congruence */
    SHAPE_SIZE,   /* check: row is axis b of input a */
    SHAPE_SAME,   /* check: row is a, by a declared equality */
    SHAPE_NEED,   /* check: row of checks */
    SHAPE_TENSOR  /* check: possible sizes; row is a type, a its first value, b the operator */
} ShapeStepKind;

typedef struct ShapeStep {
    uint32_t kind, row, a, b;
} ShapeStep;
typedef struct ShapeStage {       /* steps and checks once an operator has said its sizes */
    OpId     op;                  /* nil in stage 0, which only needs the inputs */
    uint32_t first, checks, last; /* steps [first, checks), then checks up to last */
} ShapeStage;
typedef struct ShapeProgram {
    const World      *world; /* outlives the program; not rewritten meanwhile */
    GraphId           graph;
    const ShapeStep  *steps;
    const uint32_t   *words;
    const ShapeStage *stages; /* by operator row */
    uint32_t          stages_count, inputs;
    bool              late; /* there is more than stage 0 */
} ShapeProgram;

/* Further dims that a back end reads at every call, beside types, attributes and checks: rows of
 * dims, and lists of such rows; nil ones are skipped. */
typedef struct ShapeRoots {
    const DimId  *dims;
    uint32_t      dims_count;
    const ListId *lists;
    uint32_t      lists_count;
    bool          all; /* every dim of the world that the inputs give */
} ShapeRoots;

/* NULL after diagnostics: a size that nothing gives. roots may be NULL. Linear in the rows of the
 * graph and of the dims. */
const ShapeProgram *shape_program_make(Arena *out, const World *world, GraphId graph,
                                       const ShapeRoots *roots, Diags *diags);

/* The sizes of a call: values, by DimId row, gets the rows that the graph uses; late ones at their
 * upper bounds. inputs: one tensor per argument of the graph; only dtype and shape are read. False
 * after diagnostics, which name input, axis and operator. About 3 ns a step; allocates only with
 * late sizes or on failure. */
bool shape_program_run(const ShapeProgram *program, const Tensor *inputs, uint32_t count,
                       int64_t *values, Diags *diags);
/* The operator of this stage has run: sizes are those that it gave, in the order of its attribute.
 * Updates values that depend on them; stages are resized in order. False after diagnostics. */
bool shape_program_resize(const ShapeProgram *program, uint32_t stage, const int64_t *sizes,
                          int64_t *values, Diags *diags);

#endif
