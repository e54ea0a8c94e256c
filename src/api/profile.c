/* Profiles: which launches the time of the runs went to. On the CPU it is the mean of the lanes;
 * a GPU tells each kernel of replayed graphs (gpu/profile.h), or, where that cannot be had,
 * launches are timed alone when the report is asked for. */
#include "text/profile.h"
#include "api/device.h"

/* Collects what a GPU still holds. */
static Status complete(StoaSession *session) {
    if (session->gpu == NULL || !session->profile) return STATUS_OK;
    return device_collect(session);
}

static Status switch_to(StoaSession *session, bool on) {
    Status status = on ? STATUS_OK : complete(session);
    return status == STATUS_OK ? device_watch(session, on) : status;
}

void stoa_profile(StoaSession *session, bool on) {
    ArenaGuard guard;
    if (session->gpu != NULL && ARENA_GUARD(&guard)) {
        Status status = switch_to(session, on);
        arena_guard_end(&guard);
        if (status != STATUS_OK) api_warn(session->context);
    }
    session->profile = on;
}

/* Lanes that add up their times in launch_ns. */
static uint32_t lanes_of(const StoaSession *session) {
    return session->gpu != NULL ? 1 : workers_lanes(session->context->workers);
}

StoaStatus stoa_profile_report(StoaSession *session, const char **out_json) {
    uint64_t   ns[OP_COUNT] = {0}, count[OP_COUNT] = {0};
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, NULL);
    arena_release(session->texts, (ArenaMark){0});
    Status status = complete(session);
    for (uint32_t i = 0; i < session->plans_count; i++) {
        const PlanEntry *entry = &session->plans[i];
        for (uint32_t row = 1;
             entry->plan && entry->launch_ns && row < entry->plan->launches.table.count; row++) {
            ns[entry->plan->launches.opcode[row]] +=
                atomic_load(&entry->launch_ns[row]) / lanes_of(session);
            count[entry->plan->launches.opcode[row]]++;
        }
    }
    Text text = text_begin(session->texts);
    text_addf(&text, "{\"run_ns\":%llu,\"operators\":[", (unsigned long long)session->run_ns);
    for (bool first = true;; first = false) {
        uint32_t best = 0;
        for (uint32_t op = 1; op < OP_COUNT; op++)
            if (ns[op] > ns[best]) best = op;
        if (ns[best] == 0) break;
        text_addf(&text, "%s{\"operator\":\"%s\",\"launches\":%llu,\"ns\":%llu}", first ? "" : ",",
                  op_infos[best].name, (unsigned long long)count[best],
                  (unsigned long long)ns[best]);
        ns[best] = 0;
    }
    text_add(&text, STR("]}"));
    *out_json = text_done(&text).data;
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(session->context, NULL, status);
}

static void add_plan(Text *text, const StoaSession *session, const PlanEntry *entry,
                     uint32_t rows_max) {
    Scratch      scratch = scratch_begin(&text->arena, 1);
    uint32_t     rows = entry->plan->launches.table.count;
    double      *us = ARENA_ARRAY_ZERO(scratch.arena, double, rows);
    ProfilePeaks peaks = device_peaks(session);
    for (uint32_t row = 1; row < rows; row++)
        us[row] = (double)atomic_load(&entry->launch_ns[row]) / lanes_of(session) /
                  (double)entry->timed_runs * 1e-3;
    double      runs = (double)entry->timed_runs;
    ProfileRest rest = {(double)entry->gaps_ns / runs * 1e-3,
                        (double)entry->unknown_ns / runs * 1e-3};
    text_add(text, text_profile(scratch.arena, entry->plan, us, &peaks, &rest, rows_max));
    if (entry->cpu != NULL) text_add(text, cpu_loops_text(scratch.arena, entry->plan, entry->cpu));
    text_addf(text, "  (mean of %llu runs)\n", (unsigned long long)entry->timed_runs);
    scratch_end(scratch);
}
static Status tell(StoaSession *session, uint32_t rows_max, const char **out_text) {
    bool any = false;
    arena_release(session->texts, (ArenaMark){0});
    Status status = complete(session);
    Text   text = text_begin(session->texts);
    for (uint32_t i = 0; i < session->plans_count && status == STATUS_OK; i++) {
        const PlanEntry *entry = &session->plans[i];
        if (entry->plan == NULL || entry->timed_runs == 0) continue;
        add_plan(&text, session, entry, rows_max);
        any = true;
    }
    if (session->gpu != NULL && any) device_add_gaps(&text, session);
    if (session->gpu != NULL) device_add_startup(&text, session);
    if (!any)
        text_add(&text, STR("nothing was timed; on a GPU that begins with the second run of a "
                            "graph at equal sizes\n"));
    *out_text = text_done(&text).data;
    return status;
}
StoaStatus stoa_profile_text(StoaSession *session, uint32_t rows_max, const char **out_text) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, NULL);
    Status status = tell(session, rows_max, out_text);
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(session->context, NULL, status);
}
