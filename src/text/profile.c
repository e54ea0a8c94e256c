/* The table of a profile. Launches are grouped by their text, found by hash, so that the thousand
 * launches of a step become a few rows; ties keep the order of the plan. */
#include "text/profile.h"

#include <stdlib.h>

#include "arena/hash.h"

enum { ARGS_SHOWN = 9 };

typedef struct ProfileRow {
    String   text;
    double   us, bytes, flops, peak; /* peak: gflop_s of its dtype */
    uint32_t count, order;           /* order: of the first launch */
} ProfileRow;

static int longest_first(const void *a, const void *b) {
    const ProfileRow *x = a, *y = b;
    if (x->us != y->us) return x->us < y->us ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* "dot_general bf16[8,64] bf16[64,32] -> bf16[8,32]" */
static String describe(Arena *out, const Plan *plan, uint32_t launch) {
    const LaunchArg *args = launch_args(plan, launch);
    uint32_t         count = plan->launches.args_count[launch];
    Text             text = text_begin(out);
    text_addf(&text, "%s", op_infos[plan->launches.opcode[launch]].name);
    for (uint32_t i = 0; i < count && i < ARGS_SHOWN; i++) {
        text_addf(&text, "%s %s[", i == plan->launches.operands[launch] ? " ->" : "",
                  dtype_infos[args[i].dtype].name);
        for (uint32_t k = 0; k < args[i].rank; k++)
            text_addf(&text, "%s%lld", k ? "," : "", (long long)args[i].dims[k]);
        text_add(&text, STR("]"));
    }
    if (count > ARGS_SHOWN) text_addf(&text, " and %u more", count - ARGS_SHOWN);
    return text_done(&text);
}

/* The row of a text, found by its hash: slots hold 1 + row. */
static ProfileRow *row_of(ProfileRow *rows, uint32_t *count, uint32_t *slots, uint32_t slots_count,
                          String text) {
    uint32_t at = (uint32_t)(hash_bytes(text.data, text.count, 0) % slots_count);
    for (; slots[at] != 0; at = (at + 1) % slots_count)
        if (str_same(rows[slots[at] - 1].text, text)) return &rows[slots[at] - 1];
    slots[at] = ++*count;
    rows[*count - 1] = (ProfileRow){.text = text, .order = *count};
    return &rows[*count - 1];
}

static void add_rate(Text *text, double rate, double peak, int width, int digits) {
    if (rate <= 0) {
        text_addf(text, "%*s", width + 7, "");
        return;
    }
    text_addf(text, " %*.*f", width, digits, rate);
    if (peak > 0)
        text_addf(text, " %3.0f %%", 100 * rate / peak);
    else
        text_addf(text, "%6s", "");
}
static void add_row(Text *text, const ProfileRow *row, double all, const ProfilePeaks *peaks) {
    text_addf(text, "  %10.1f %4.1f %% %6u %8.1f", row->us, 100 * row->us / all, row->count,
              row->us / row->count);
    add_rate(text, row->bytes / row->us * 1e-3, peaks != NULL ? peaks->gb_s : 0, 6, 0);
    add_rate(text, row->flops / row->us * 1e-6, row->peak * 1e-3, 8, 2);
    text_addf(text, "  %.*s\n", STR_ARGS(row->text));
}

String text_profile(Arena *out, const Plan *plan, const double *us, const ProfilePeaks *peaks,
                    uint32_t rows_max) {
    Scratch     scratch = scratch_begin(&out, 1);
    uint32_t    launches = plan->launches.table.count, count = 0, timed = 0;
    uint32_t    slots_count = 2 * launches + 1;
    ProfileRow *rows = ARENA_ARRAY(scratch.arena, ProfileRow, launches);
    uint32_t   *slots = ARENA_ARRAY_ZERO(scratch.arena, uint32_t, slots_count);
    double      all = 0, rest = 0;
    for (uint32_t launch = 1; launch < launches; launch++) {
        if (us[launch] <= 0) continue;
        ProfileRow *row =
            row_of(rows, &count, slots, slots_count, describe(scratch.arena, plan, launch));
        row->us += us[launch];
        row->bytes += (double)launch_bytes(plan, launch);
        row->flops += launch_flops(plan, launch);
        row->count++;
        if (peaks != NULL && plan->launches.args_count[launch] > 0)
            row->peak = peaks->gflop_s[launch_args(plan, launch)[0].dtype];
        all += us[launch];
        timed++;
    }
    if (count > 1) qsort(rows, count, sizeof *rows, longest_first);
    Text   text = text_begin(out);
    String name =
        strings_get(&plan->world->strings, plan->world->code.graphs.name[plan->graph.row]);
    text_addf(&text, "graph %.*s: %.1f us in %u launches\n", STR_ARGS(name), all, timed);
    text_addf(&text, "  %10s %6s %6s %8s %6s %5s %8s %5s  %s\n", "us", "share", "count", "us each",
              "GB/s", "of it", "TFLOP/s", "of it", "launch");
    for (uint32_t i = 0; i < count; i++) {
        if (rows_max == 0 || i < rows_max)
            add_row(&text, &rows[i], all, peaks);
        else
            rest += rows[i].us;
    }
    if (rest > 0)
        text_addf(&text, "  %10.1f %4.1f %%  in %u more rows\n", rest, 100 * rest / all,
                  count - rows_max);
    scratch_end(scratch);
    return text_done(&text);
}
