/* Schedules on any bytes: a refusal names a line of the text; what is accepted prints, parses again
 * and prints the same; and its steps, legal or not, leave a kernel that is well-formed. */
#include "fuzz_entry.h"

#include "cpu/cpu.h"
#include "systems/runner.h"
#include "systems/schedule_text.h"
#include "tests/fuzz/fresh.h"
#include "text/parse.h"

static const char program[] = "graph f(%x: f32[B,12]) {\n  %e = exp %x\n"
                              "  %m = reduce %e {kind=sum, axes=[1]}\n"
                              "  %b = broadcast_in_dim %m {shape=[B,12], axes=[0]}\n"
                              "  %d = div %e, %b\n  return %d\n}\n";

static void replay(ScheduleBook *book) {
    static World *kept;
    Target        target;
    Runner        runner;
    World        *world = fresh_world(&kept);
    if (world == NULL || !text_parse(world, STR(program), STR("program"))) __builtin_trap();
    cpu_describe(&target, true);
    runner_open(&runner, world, &target);
    memset(target.keep, 0, sizeof target.keep);
    runner.ctx.scheduler = schedule_from_book;
    runner.ctx.scheduler_context = book;
    if (!runner_compile(&runner)) __builtin_trap(); /* an illegal step is a warning */
    for (uint32_t row = 1; row < runner.loops.kernels.table.count; row++)
        if (loops_verify(&runner.loops, (KernelId){row}) != NULL) __builtin_trap();
    runner_close(&runner);
}

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    uint32_t lines = 1;
    for (size_t i = 0; i < bytes.count; i++) lines += bytes.data[i] == '\n';
    ScheduleBook book = schedule_book_open(arena), again = schedule_book_open(arena);
    bool         good = schedule_book_parse(&book, bytes, STR("fuzz"), diags);
    if (good != (diags->errors == 0)) __builtin_trap();
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        if (diags->rows.line[row] == 0 || diags->rows.line[row] > lines ||
            diags->rows.column[row] == 0)
            __builtin_trap();
    if (!good) return;
    String text = schedule_book_print(arena, &book);
    if (!schedule_book_parse(&again, text, STR("printed"), diags) || !again.summed)
        __builtin_trap();
    if (!str_same(schedule_book_print(arena, &again), text)) __builtin_trap();
    if (book.steps_count <= 64) replay(&book);
}
