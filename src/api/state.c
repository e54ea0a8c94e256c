/* State by name: reading, writing, weights files and the memory report. Payloads
 * stream between the file and the state without a copy in between.
 *
 * Float dtypes are converted when weights are loaded; shapes must agree. */
#include "api/device.h"
#include "formats/safetensors.h"

uint32_t    stoa_state_count(const StoaSession *session) { return session->state_count; }
const char *stoa_state_name(const StoaSession *session, uint32_t index) {
    if (index >= session->state_count) return NULL;
    const char *volatile name = NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        (void)api_unwound(session->context, NULL);
        return NULL;
    }
    arena_release(session->texts, (ArenaMark){0});
    name =
        str_copy(session->texts, strings_get(&session->world->strings, session->state[index].name))
            .data;
    arena_guard_end(&guard);
    return name;
}

static StateTensor *find_state(StoaSession *session, const char *function, const char *name) {
    StateTensor *state = session_state(session, name);
    if (state == NULL)
        api_misuse(session->context, function, "the session has no state of that name");
    return state;
}

StoaStatus stoa_state_get(StoaSession *session, const char *name, StoaTensor *tensor) {
    StateTensor *state = find_state(session, "stoa_state_get", name);
    if (state == NULL) return api_fail(session->context, NULL, STATUS_NOT_FOUND);
    tensor->dtype = (StoaDtype)state->tensor.dtype;
    tensor->rank = state->tensor.rank;
    memcpy(tensor->shape, state->tensor.shape, sizeof tensor->shape);
    if (tensor->data == NULL) return STOA_OK;
    Status status = device_read_state(session);
    if (status != STATUS_OK) return api_fail(session->context, NULL, status);
    memcpy(tensor->data, state->tensor.data, state->bytes);
    return STOA_OK;
}

StoaStatus stoa_state_set(StoaSession *session, const char *name, const StoaTensor *tensor) {
    StateTensor *state = find_state(session, "stoa_state_set", name);
    if (state == NULL) return api_fail(session->context, NULL, STATUS_NOT_FOUND);
    bool same =
        tensor->dtype == (StoaDtype)state->tensor.dtype && tensor->rank == state->tensor.rank;
    for (uint32_t i = 0; same && i < tensor->rank; i++)
        same = tensor->shape[i] == state->tensor.shape[i];
    if (!same || (tensor->data == NULL && state->bytes != 0)) {
        api_misuse(session->context, "stoa_state_set",
                   "dtype and shape must be those of the state, with data");
        return api_fail(session->context, NULL, STATUS_INVALID);
    }
    Status status = device_read_state(session);
    memcpy(state->tensor.data, tensor->data, state->bytes);
    if (status == STATUS_OK) status = session_wrote_state(session);
    return status == STATUS_OK ? STOA_OK : api_fail(session->context, NULL, status);
}

/* --- weights files ---------------------------------------------------------------------------- */
static Status save_weights(StoaSession *session, const char *path) {
    Scratch           scratch = scratch_begin(NULL, 0);
    SafetensorsEntry *entries =
        ARENA_ARRAY_ZERO(scratch.arena, SafetensorsEntry, session->state_count + 1);
    SafetensorsWriter writer;
    for (uint32_t i = 0; i < session->state_count; i++) {
        const StateTensor *state = &session->state[i];
        entries[i].name = strings_get(&session->world->strings, state->name);
        entries[i].dtype = state->tensor.dtype;
        entries[i].rank = state->tensor.rank;
        memcpy(entries[i].shape, state->tensor.shape, sizeof entries[i].shape);
        entries[i].bytes = state->bytes;
    }
    Diags *diags = &session->context->diags;
    Status status = device_read_state(session);
    if (status == STATUS_OK)
        status = safetensors_begin(scratch.arena, path, entries, session->state_count, NULL, 0,
                                   diags, &writer);
    for (uint32_t i = 0; i < session->state_count && status == STATUS_OK; i++)
        status = safetensors_write(&writer, session->state[i].tensor.data, session->state[i].bytes,
                                   diags);
    if (status == STATUS_OK) status = safetensors_end(&writer, diags);
    scratch_end(scratch);
    return status;
}
StoaStatus stoa_weights_save(StoaSession *session, const char *path) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, NULL);
    Status status = save_weights(session, path);
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(session->context, NULL, status);
}

/* The entry that fills a state; NULL where there is none, with a diagnostic if there must be. */
static const SafetensorsEntry *find_entry(StoaSession *session, const Safetensors *file,
                                          const StateTensor *state, bool partial) {
    Diags                  *diags = &session->context->diags;
    String                  name = strings_get(&session->world->strings, state->name);
    const SafetensorsEntry *entry = safetensors_find(file, name);
    const char             *problem = NULL;
    if (entry == NULL && partial) return NULL;
    if (entry == NULL)
        problem = "is missing from the file";
    else if (entry->rank != state->tensor.rank ||
             memcmp(entry->shape, state->tensor.shape, entry->rank * sizeof(int64_t)) != 0)
        problem = "has another shape in the file";
    else if (entry->dtype != state->tensor.dtype &&
             !(dtype_is_float(entry->dtype) && dtype_is_float(state->tensor.dtype)))
        problem = "has another dtype in the file";
    if (problem == NULL) return entry;
    (void)diags_add(diags, DIAG_WEIGHTS_MISMATCH, 0, diags_str(diags, str_of(file->path)),
                    diags_str(diags, name), diags_str(diags, str_of(problem)), 0);
    return NULL;
}

/* Reads one tensor, converting between float dtypes. */
static Status load_one(StoaSession *session, Arena *scratch, const Safetensors *file,
                       const SafetensorsEntry *entry, StateTensor *state) {
    Diags *diags = &session->context->diags;
    if (entry->dtype == state->tensor.dtype)
        return safetensors_read_into(file, entry, state->tensor.data, state->bytes, diags);
    ArenaMark mark = arena_mark(scratch);
    uint8_t  *bytes = arena_push(scratch, entry->bytes, 64);
    Status    status = safetensors_read_into(file, entry, bytes, entry->bytes, diags);
    uint32_t  from = dtype_bytes(entry->dtype), to = dtype_bytes(state->tensor.dtype);
    for (int64_t i = 0; status == STATUS_OK && i < tensor_elements(&state->tensor); i++)
        (void)const_encode(state->tensor.dtype,
                           const_decode(entry->dtype, bytes + (size_t)i * from),
                           (uint8_t *)state->tensor.data + (size_t)i * to);
    arena_release(scratch, mark);
    return status;
}

/* All entries are found before the first is read: a file that does not fit changes nothing. */
static Status load_weights(StoaSession *session, const char *path, bool partial) {
    Scratch                  scratch = scratch_begin(NULL, 0);
    uint32_t                 count = session->state_count;
    uint32_t                 errors = session->context->diags.errors;
    const SafetensorsEntry **entries =
        ARENA_ARRAY(scratch.arena, const SafetensorsEntry *, count + 1);
    Safetensors file;
    Status      status = safetensors_open(scratch.arena, path, &session->context->diags, &file);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        entries[i] = find_entry(session, &file, &session->state[i], partial);
    if (session->context->diags.errors != errors && status == STATUS_OK) status = STATUS_INVALID;
    if (status == STATUS_OK) status = device_read_state(session);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        if (entries[i] != NULL)
            status = load_one(session, scratch.arena, &file, entries[i], &session->state[i]);
    if (status == STATUS_OK) status = session_wrote_state(session);
    scratch_end(scratch);
    return status;
}
StoaStatus stoa_weights_load(StoaSession *session, const char *path, bool partial) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, NULL);
    Status status = load_weights(session, path, partial);
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(session->context, NULL, status);
}

StoaMemoryReport stoa_session_memory(const StoaSession *session) {
    StoaMemoryReport report = {.work_bytes = cpu_room_bytes(session->room)};
    for (uint32_t i = 0; i < session->state_count; i++)
        report.state_bytes += session->state[i].bytes;
    for (uint32_t i = 0; i < session->plans_count; i++) {
        const Plan *plan = session->plans[i].plan;
        if (plan == NULL || plan->arena_bytes < report.arena_bytes) continue;
        report.arena_bytes = plan->arena_bytes;
        report.arena_floor_bytes = plan->floor_bytes;
        report.host_bytes = plan_host_bytes(plan);
        report.launches = plan->launches.table.count - 1;
    }
    return report;
}
