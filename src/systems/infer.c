/* infer: dtype and symbolic shape of every value, by one forward sweep over the rows.
 *
 * Needs verified code (operands come first), gives types. Rules are the schema's; the sweep skips
 * rows whose operands failed, so one mistake gives one message. Linear in rows; a rule is a few
 * nanoseconds for elementwise rows, some interning for the others. */
#include "systems/system.h"

Ran sys_infer(SystemCtx *ctx) {
    World *world = ctx->world;
    Code  *code = &world->code;
    Ran    ran = {0};
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        uint32_t results = code->ops.results_count[row];
        uint32_t first = code->ops.results_first[row].row;
        bool     checks = code->ops.opcode[row] == OP_ASSIGN || code->ops.blocks_count[row] != 0;
        if (results == 0 && !checks) continue;
        TypeId  few[8] = {{0}};
        TypeId *types =
            results <= LENGTH(few) ? few : ARENA_ARRAY_ZERO(ctx->scratch, TypeId, results);
        InferCtx infer = {.world = world,
                          .opcode = (Opcode)code->ops.opcode[row],
                          .op = row,
                          .operands = op_operands(code, (OpId){row}),
                          .operands_count = code->ops.operands_count[row],
                          .record = code->ops.attrs[row],
                          .results_count = results,
                          .out_types = types,
                          .code = code};
        schema_infer(&infer);
        for (uint32_t i = 0; i < results; i++) {
            ran.changed += code->values.type[first + i].row != types[i].row;
            code->values.type[first + i] = types[i];
        }
    }
    return ran;
}
