/* Binding in one go: the shape program is made, run and forgotten. */
#include "tables/bind.h"

#include "tables/shape_program.h"

bool bind_dims(const World *world, GraphId graph, const Tensor *inputs, uint32_t count,
               int64_t *dim_values, Diags *diags) {
    Scratch             scratch = scratch_begin(NULL, 0);
    const ShapeProgram *program = shape_program_make(scratch.arena, world, graph, NULL, diags);
    bool held = program != NULL && shape_program_run(program, inputs, count, dim_values, diags);
    scratch_end(scratch);
    return held;
}
