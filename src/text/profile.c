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
/* --- kinds of launches ------------------------------------------------------------------------ */
typedef enum ProfileKind {
    PROFILE_PRODUCTS,
    PROFILE_ATTENTION,
    PROFILE_FUSED,
    PROFILE_OTHERS,
    PROFILE_KINDS
} ProfileKind;
typedef struct KindSum {
    double   us, least_us;
    uint32_t count;
} KindSum;

static ProfileKind kind_of(const Plan *plan, uint32_t launch) {
    Opcode opcode = (Opcode)plan->launches.opcode[launch];
    if (opcode == OP_ATTENTION || opcode == OP_ATTENTION_GRAD) return PROFILE_ATTENTION;
    if (opcode == OP_FUSED) return PROFILE_FUSED;
    return launch_flops(plan, launch) > 0 ? PROFILE_PRODUCTS : PROFILE_OTHERS;
}
static double peak_of(const Plan *plan, uint32_t launch, const ProfilePeaks *peaks) {
    if (peaks == NULL || plan->launches.args_count[launch] == 0) return 0;
    return peaks->gflop_s[launch_args(plan, launch)[0].dtype];
}
/* By bytes or by arithmetic, whichever is longer; 0: not known. */
static double least_us(const Plan *plan, uint32_t launch, const ProfilePeaks *peaks) {
    double gflop_s = peak_of(plan, launch, peaks), gb_s = peaks != NULL ? peaks->gb_s : 0;
    double bytes_us = gb_s > 0 ? (double)launch_bytes(plan, launch) / gb_s * 1e-3 : 0;
    double flops_us = gflop_s > 0 ? launch_flops(plan, launch) / gflop_s * 1e-3 : 0;
    return bytes_us > flops_us ? bytes_us : flops_us;
}
static void add_rest(Text *text, double us, double all, const char *name) {
    if (us > 0) text_addf(text, "  %10.1f %4.1f %% %30s%s\n", us, 100 * us / all, "", name);
}
static void add_kinds(Text *text, const KindSum sums[PROFILE_KINDS], double all,
                      const ProfileRest *rest) {
    static const char *const names[] = {"matrix products and convolutions", "attention",
                                        "generated kernels", "other operators"};
    text_addf(text, "  %10s %6s %6s %9s %5s     %s\n", "us", "share", "count", "at least", "of it",
              "kind");
    for (int kind = 0; kind < PROFILE_KINDS; kind++) {
        const KindSum *sum = &sums[kind];
        if (sum->count == 0) continue;
        text_addf(text, "  %10.1f %4.1f %% %6u", sum->us, 100 * sum->us / all, sum->count);
        if (sum->least_us > 0)
            text_addf(text, " %9.1f %3.0f %%", sum->least_us, 100 * sum->least_us / sum->us);
        else
            text_addf(text, "%16s", "");
        text_addf(text, "     %s\n", names[kind]);
    }
    if (rest == NULL) return;
    add_rest(text, rest->unknown_us, all, "kernels of no known operator");
    add_rest(text, rest->gaps_us, all, "gaps between launches");
}

/* --- launches that look alike ----------------------------------------------------------------- */
static void add_row(Text *text, const ProfileRow *row, double all, const ProfilePeaks *peaks) {
    text_addf(text, "  %10.1f %4.1f %% %6u %8.1f", row->us, 100 * row->us / all, row->count,
              row->us / row->count);
    add_rate(text, row->bytes / row->us * 1e-3, peaks != NULL ? peaks->gb_s : 0, 6, 0);
    add_rate(text, row->flops / row->us * 1e-6, row->peak * 1e-3, 8, 2);
    text_addf(text, "  %.*s\n", STR_ARGS(row->text));
}

String text_profile(Arena *out, const Plan *plan, const double *us, const ProfilePeaks *peaks,
                    const ProfileRest *rest, uint32_t rows_max) {
    Scratch     scratch = scratch_begin(&out, 1);
    uint32_t    launches = plan->launches.table.count, count = 0, timed = 0;
    uint32_t    slots_count = 2 * launches + 1;
    ProfileRow *rows = ARENA_ARRAY(scratch.arena, ProfileRow, launches);
    uint32_t   *slots = ARENA_ARRAY_ZERO(scratch.arena, uint32_t, slots_count);
    KindSum     sums[PROFILE_KINDS] = {0};
    double      all = 0, more = 0;
    for (uint32_t launch = 1; launch < launches; launch++) {
        if (us[launch] <= 0) continue;
        ProfileRow *row =
            row_of(rows, &count, slots, slots_count, describe(scratch.arena, plan, launch));
        row->us += us[launch];
        row->bytes += (double)launch_bytes(plan, launch);
        row->flops += launch_flops(plan, launch);
        row->count++;
        row->peak = peak_of(plan, launch, peaks);
        KindSum *sum = &sums[kind_of(plan, launch)];
        sum->us += us[launch];
        sum->least_us += least_us(plan, launch, peaks);
        sum->count++;
        all += us[launch];
        timed++;
    }
    if (count > 1) qsort(rows, count, sizeof *rows, longest_first);
    Text   text = text_begin(out);
    String name =
        strings_get(&plan->world->strings, plan->world->code.graphs.name[plan->graph.row]);
    double step = all + (rest != NULL ? rest->gaps_us + rest->unknown_us : 0);
    text_addf(&text, "graph %.*s: %.1f us, %.1f of it in %u launches\n", STR_ARGS(name), step, all,
              timed);
    add_kinds(&text, sums, step, rest);
    text_addf(&text, "  %10s %6s %6s %8s %6s %5s %8s %5s  %s\n", "us", "share", "count", "us each",
              "GB/s", "of it", "TFLOP/s", "of it", "launch");
    for (uint32_t i = 0; i < count; i++) {
        if (rows_max == 0 || i < rows_max)
            add_row(&text, &rows[i], step, peaks);
        else
            more += rows[i].us;
    }
    if (more > 0)
        text_addf(&text, "  %10.1f %4.1f %%  in %u more rows\n", more, 100 * more / step,
                  count - rows_max);
    scratch_end(scratch);
    return text_done(&text);
}
