/* Binding: the sizes of one call. Symbols take their values from the shapes of the inputs, every
 * other dim follows from them, and all that depends on sizes is checked once, here, so that
 * neither the interpreter nor the plan builder meets a slice outside its operand or a negative
 * size.
 *
 * A symbol is given by an input axis that is the symbol itself, by an axis that is a sum in which
 * it is the only unknown (T + 1), or by an equality with a size that is given. Symbols that the
 * graph does not use may stay unknown: they take the smallest value that their facts allow. */
#ifndef STOA_TABLES_BIND_H
#define STOA_TABLES_BIND_H

#include "tables/tensor.h"
#include "tables/world.h"

/* inputs: one tensor per argument of the graph; only dtype and shape are read. dim_values: by
 * DimId row, world->dims.rows.table.count numbers, all set when the answer is true. False: diags
 * says which input and axis. Time: dims x symbols in the worst case, dims + rows of the graph as a
 * rule. */
bool bind_dims(const World *world, GraphId graph, const Tensor *inputs, uint32_t count,
               int64_t *dim_values, Diags *diags);

#endif
