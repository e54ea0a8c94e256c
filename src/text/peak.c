/* Which values make up the peak. Everything is read from columns that planning fills: bytes alive
 * by launch, births and last uses by buffer. Names are those of the compiled program: values keep
 * the names of the user's program through all rewriting. */
#include "text/peak.h"

#include <stdlib.h>

#include "text/names.h"
#include "text/shapes.h"

enum { CHART_COLUMNS = 64, CHART_ROWS = 8 };

uint32_t peak_launch(const Plan *plan) {
    uint32_t peak = 0;
    for (uint32_t row = 1; row < plan->launches.table.count; row++)
        if (peak == 0 || plan->launches.live[row] > plan->launches.live[peak]) peak = row;
    return peak;
}

typedef struct Sized {
    uint64_t bytes;
    uint32_t row;
} Sized;
static int larger_first(const void *a, const void *b) {
    const Sized *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->row < y->row ? -1 : x->row > y->row;
}

PeakBuffers peak_buffers(Arena *out, const Plan *plan, uint32_t launch) {
    const Buffers *buffers = &plan->buffers;
    uint32_t       count = buffers->table.count, alive = 0;
    PeakBuffers    peak = {ARENA_ARRAY(out, uint32_t, count), 0};
    Scratch        scratch = scratch_begin(&out, 1);
    Sized         *sized = ARENA_ARRAY(scratch.arena, Sized, count);
    uint8_t       *left = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, count); /* to another here */
    for (uint32_t row = 1; row < count; row++)
        if (buffers->over[row] != 0 && buffers->first[row] == launch) left[buffers->over[row]] = 1;
    for (uint32_t row = 1; row < count; row++)
        if (buffers->slot[row] == 0 && buffers->bytes[row] != 0 && !left[row] &&
            buffers->first[row] <= launch && launch <= buffers->last[row])
            sized[alive++] = (Sized){buffers->bytes[row], row};
    if (alive != 0) qsort(sized, alive, sizeof *sized, larger_first);
    for (; peak.count < alive; peak.count++) peak.rows[peak.count] = sized[peak.count].row;
    scratch_end(scratch);
    return peak;
}

/* --- parts ------------------------------------------------------------------------------------ */
typedef struct Peak {
    const Plan *plan;
    Text       *text;
    Names       names;
    ShapeTexts  shapes;
    Arena      *scratch;
} Peak;

/* "12 dot_general" */
static String label(const Peak *p, uint32_t launch) {
    return str_format(p->scratch, "%u %s", launch, op_infos[p->plan->launches.opcode[launch]].name);
}
/* What computes a value: of a kernel, the row inside. */
static String maker(const Peak *p, ValueId value) {
    const Code *code = &p->plan->world->code;
    OpId        op = value_op(code, value);
    if (code->ops.opcode[op.row] == OP_FUSED) {
        uint32_t result = value.row - code->ops.results_first[op.row].row;
        OpId     end = block_return(code, code->ops.blocks_first[op.row]);
        op = value_op(code, op_operand(code, end, result));
    }
    return str_of(op_info(code, op)->name);
}

/* The sizes of this plan: every symbol that an input shows. */
static void add_sizes(Peak *p) {
    const World *world = p->plan->world;
    const Code  *code = &world->code;
    uint32_t     block = code->graphs.block[p->plan->graph.row].row, shown = 0;
    uint8_t     *seen = ARENA_ARRAY_ZERO(p->scratch, uint8_t, world->dims.rows.table.count);
    for (uint32_t i = 0; i < code->blocks.args_count[block]; i++) {
        TypeId type = code->values.type[code->blocks.args_first[block].row + i];
        for (uint32_t k = 0; k < type_rank(&world->types, type); k++) {
            DimId dim = type_dims(&world->types, type)[k];
            if (world->dims.rows.kind[dim.row] != DIM_SYMBOL || seen[dim.row]) continue;
            seen[dim.row] = 1;
            String name = shapes_dim(&p->shapes, dim);
            text_addf(p->text, "%s%.*s=%lld", shown++ == 0 ? " at " : ", ", STR_ARGS(name),
                      (long long)p->plan->dim_values[dim.row]);
        }
    }
}

/* The most alive in each of up to CHART_COLUMNS stretches of launches. */
static void add_chart(Peak *p, uint64_t most) {
    const Launches *launches = &p->plan->launches;
    uint64_t        tops[CHART_COLUMNS] = {0}, count = launches->table.count - 1;
    uint32_t        columns = count < CHART_COLUMNS ? (uint32_t)count : CHART_COLUMNS;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *top = &tops[i * columns / count];
        if (launches->live[i + 1] > *top) *top = launches->live[i + 1];
    }
    for (uint32_t line = CHART_ROWS; line > 0; line--) {
        text_addf(p->text, "  %14llu |", (unsigned long long)(most / CHART_ROWS * line));
        uint32_t last = 0;
        for (uint32_t i = 0; i < columns; i++)
            if (tops[i] * CHART_ROWS > most * (line - 1)) last = i + 1;
        for (uint32_t i = 0; i < last; i++)
            text_add(p->text, tops[i] * CHART_ROWS > most * (line - 1) ? STR("#") : STR(" "));
        text_add(p->text, STR("\n"));
    }
    text_addf(p->text, "  %14s +", "launches");
    for (uint32_t i = 0; i < columns; i++) text_add(p->text, STR("-"));
    text_addf(p->text, " %llu\n", (unsigned long long)count);
}

/* --- the table -------------------------------------------------------------------------------- */
typedef struct PeakRow {
    String value, maker, type, born, last;
} PeakRow;
static size_t longest(size_t now, String s) { return s.count > now ? s.count : now; }

/* Fills up the cell before, then begins the next. */
static void add_cell(Peak *p, String before, size_t width, String cell) {
    text_addf(p->text, "%*s  %.*s", (int)(width - before.count), "", STR_ARGS(cell));
}

static void add_table(Peak *p, PeakBuffers alive, uint32_t shown, uint64_t most) {
    const Plan *plan = p->plan;
    PeakRow    *rows = ARENA_ARRAY(p->scratch, PeakRow, shown + 1);
    size_t      value = 5, made = 8, type = 4, born = 4;
    uint64_t    rest = 0;
    for (uint32_t i = 0; i < alive.count; i++) {
        uint32_t buffer = alive.rows[i];
        ValueId  owner = plan->buffers.value[buffer];
        if (i >= shown) {
            rest += plan->buffers.bytes[buffer];
            continue;
        }
        rows[i].value = names_text(p->scratch, &p->names, owner);
        rows[i].type = shapes_type(&p->shapes, value_type(plan->world, owner));
        rows[i].maker = maker(p, owner);
        rows[i].born = label(p, plan->buffers.first[buffer]);
        rows[i].last = label(p, plan->buffers.last[buffer]);
        value = longest(value, rows[i].value);
        made = longest(made, rows[i].maker);
        type = longest(type, rows[i].type);
        born = longest(born, rows[i].born);
    }
    text_addf(p->text, "  %14s   share  %-*s  %-*s  %-*s  %-*s  last used\n", "bytes",
              (int)value + 1, "value", (int)made, "operator", (int)type, "type", (int)born, "born");
    for (uint32_t i = 0; i < shown; i++) {
        uint64_t bytes = plan->buffers.bytes[alive.rows[i]];
        text_addf(p->text, "  %14llu %5.1f %%  %%%.*s", (unsigned long long)bytes,
                  100 * (double)bytes / (double)most, STR_ARGS(rows[i].value));
        add_cell(p, rows[i].value, value, rows[i].maker);
        add_cell(p, rows[i].maker, made, rows[i].type);
        add_cell(p, rows[i].type, type, rows[i].born);
        add_cell(p, rows[i].born, born, rows[i].last);
        text_add(p->text, STR("\n"));
    }
    if (alive.count > shown)
        text_addf(p->text, "  %14llu %5.1f %%  in %u smaller values\n", (unsigned long long)rest,
                  100 * (double)rest / (double)most, alive.count - shown);
}

static void add_beside(Peak *p) {
    static const char *const names[] = {"",          "parameters and state", "inputs", "outputs",
                                        "constants", "copies on the host"};
    const Slots             *slots = &p->plan->slots;
    uint64_t                 bytes[LENGTH(names)] = {0};
    uint32_t                 shown = 0;
    for (uint32_t row = 1; row < slots->table.count; row++)
        if (slots->kind[row] < LENGTH(names)) bytes[slots->kind[row]] += slots->bytes[row];
    for (uint32_t kind = 1; kind < LENGTH(names); kind++)
        if (bytes[kind] != 0)
            text_addf(p->text, "%s%llu bytes of %s", shown++ == 0 ? "beside the arena: " : ", ",
                      (unsigned long long)bytes[kind], names[kind]);
    if (shown != 0) text_add(p->text, STR("\n"));
}

String text_peak(Arena *out, const Plan *plan, uint32_t rows_max) {
    Scratch  scratch = scratch_begin(&out, 1);
    Text     text = text_begin(out);
    uint32_t peak = peak_launch(plan);
    uint64_t most = plan->launches.live[peak];
    Peak     p = {.plan = plan, .text = &text, .scratch = scratch.arena};
    p.names = names_make(scratch.arena, plan->world, &plan->world->code, plan->graph);
    p.shapes = shapes_begin(scratch.arena, plan->world);
    String name =
        strings_get(&plan->world->strings, plan->world->code.graphs.name[plan->graph.row]);
    text_addf(&text, "graph %.*s", STR_ARGS(name));
    add_sizes(&p);
    if (peak == 0 || most == 0) {
        text_add(&text, STR(": no intermediates\n"));
    } else {
        String at = label(&p, peak);
        text_addf(&text, ": %llu bytes of intermediates, at launch %.*s\n",
                  (unsigned long long)most, STR_ARGS(at));
        text_addf(&text, "planned arena: %llu bytes, %.3f of that\n",
                  (unsigned long long)plan->arena_bytes, (double)plan->arena_bytes / (double)most);
        add_chart(&p, most);
        PeakBuffers alive = peak_buffers(scratch.arena, plan, peak);
        uint32_t    shown = rows_max != 0 && rows_max < alive.count ? rows_max : alive.count;
        add_table(&p, alive, shown, most);
    }
    add_beside(&p);
    scratch_end(scratch);
    return text_done(&text);
}
