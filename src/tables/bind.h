/* Binding: the sizes of one call of a graph that is not called again (tests, the interpreter).
 * Whoever calls more often keeps the shape program (shape_program.h). */
#ifndef STOA_TABLES_BIND_H
#define STOA_TABLES_BIND_H

#include "tables/tensor.h"
#include "tables/world.h"

/* inputs: one tensor per argument of the graph; only dtype and shape are read. dim_values: by
 * DimId row, world->dims.rows.table.count numbers, of which all are set that the inputs give, late
 * ones (shape_program.h) at their upper bounds. False: diags says which input and axis. */
bool bind_dims(const World *world, GraphId graph, const Tensor *inputs, uint32_t count,
               int64_t *dim_values, Diags *diags);

#endif
