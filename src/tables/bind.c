/* Binding in one go: the shape program is made, run and forgotten. Every dim takes part that the
 * inputs give, because nobody says which of them are read. */
#include "tables/bind.h"

#include "tables/shape_program.h"

bool bind_dims(const World *world, GraphId graph, const Tensor *inputs, uint32_t count,
               int64_t *dim_values, Diags *diags) {
    Scratch             scratch = scratch_begin(NULL, 0);
    ShapeRoots          roots = {.all = true};
    const ShapeProgram *program = shape_program_make(scratch.arena, world, graph, &roots, diags);
    bool held = program != NULL && shape_program_run(program, inputs, count, dim_values, diags);
    scratch_end(scratch);
    return held;
}
