/* Fuzzes the loader of saved programs behind its checksums: the input is the text of a program, a
 * zero byte, and patches of 8 bytes that overwrite cells of its tables before it is saved and
 * loaded. What the loader accepts must print, and inference must survive it. An input that begins
 * like a saved program is loaded as it is. */
#include <stdint.h>

#include "tests/fuzz/fresh.h"
#include "text/binary.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A patch: table, column, row from the end (16 bits), value (32 bits). */
static void patch(World *world, const uint8_t *bytes) {
    uint32_t tables = 0;
    while (world_table(world, tables) != NULL) tables++;
    const Table *table = world_table(world, bytes[0] % tables);
    uint32_t     column = bytes[1] % table->info->columns_count;
    uint32_t     row = (uint32_t)(bytes[2] | bytes[3] << 8) % table->count;
    uint32_t     width = table->info->columns[column].width;
    uint8_t     *cell = (uint8_t *)table_column(table, column) + (size_t)row * width;
    memset(cell, 0, width);
    memcpy(cell, bytes + 4, width < 4 ? width : 4);
}

static void infer_all(World *world) {
    Code *code = &world->code;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        InferCtx ctx = {.world = world,
                        .opcode = (Opcode)code->ops.opcode[row],
                        .op = row,
                        .operands = op_operands(code, (OpId){row}),
                        .operands_count = code->ops.operands_count[row],
                        .record = code->ops.attrs[row],
                        .results_count = code->ops.results_count[row],
                        .out_types = code->values.type + code->ops.results_first[row].row,
                        .code = code};
        for (uint32_t i = 0; i < ctx.results_count; i++) ctx.out_types[i] = (TypeId){0};
        schema_infer(&ctx);
    }
}

static void fuzz(Arena *arena, World *first, World *second, const uint8_t *data, size_t size) {
    String bytes = {(const char *)data, size};
    if (!binary_is(bytes)) {
        size_t text = 0;
        while (text < size && data[text] != 0) text++;
        if (!text_parse(first, (String){(const char *)data, text}, STR("fuzz"))) return;
        for (size_t at = text + 1; at + 8 <= size; at += 8) patch(first, data + at);
        bytes = binary_bytes(arena, first);
    }
    Status status = binary_load_bytes(second, bytes, STR("fuzz"), &second->diags);
    if (status != STATUS_OK && second->diags.errors == 0) __builtin_trap();
    if (status == STATUS_OK) {
        (void)text_print(arena, second, (TextOptions){.types = true});
        infer_all(second);
        (void)text_print(arena, second, (TextOptions){.types = true});
    }
    (void)text_diags(arena, second, &second->diags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Arena *arena;
    static World *kept[2];
    ArenaGuard    guard;
    if (arena == NULL) arena = arena_open("fuzz", 0, 0);
    if (arena == NULL) return 0;
    ArenaMark mark = arena_mark(arena);
    if (ARENA_GUARD(&guard)) {
        World *first = fresh_world(&kept[0]), *second = fresh_world(&kept[1]);
        if (first != NULL && second != NULL) fuzz(arena, first, second, data, size);
        arena_guard_end(&guard);
    }
    arena_release(arena, mark);
    return 0;
}
