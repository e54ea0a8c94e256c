// Traces: the file is JSON with the spans and counters in order, rings keep the newest rows, names
// are interned, lanes may be written by threads of their own, and failing file operations leave the
// old file. The file is read back with the JSON reader of formats, which accepts the grammar and
// nothing else.
#include "harness.h"

#include "formats/json.h"
#include "formats_helpers.h"
#include "train/trace.h"

static bool parse_trace(Arena *arena, const char *path, Json *out_json, JsonId *out_events) {
    JsonError error;
    *out_events = (JsonId){0};
    if (!json_parse(arena, file_get(arena, path), out_json, &error)) return false;
    *out_events = json_find(out_json, json_root(out_json), STR("traceEvents"));
    return json_id_some(*out_events);
}

static double number_in(const Json *json, JsonId object, const char *key) {
    double number = -1;
    (void)json_number_of(json, json_find(json, object, str_of(key)), &number);
    return number;
}

static String text_in(const Json *json, JsonId object, const char *key) {
    String text = {0};
    (void)json_text(json, json_find(json, object, str_of(key)), &text);
    return text;
}

// The nth event that is no metadata, or nil.
static JsonId event_at(const Json *json, JsonId events, size_t n) {
    for (JsonId event = json_first(json, events); json_id_some(event);
         event = json_next(json, event))
        if (!str_same(text_in(json, event, "ph"), STR("M")) && n-- == 0) return event;
    return (JsonId){0};
}

TEST(trace_file) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "trace.json");
    Diags       diags;
    Json        json;
    JsonId      events = {0};
    diags_open(&diags, NULL);
    Trace *trace = trace_open(
        arena, &(TraceOptions){.lanes = 2, .process = 3, .process_name = STR("rank \"3\"")});
    TraceName fuse = trace_span_name(trace, STR("fuse"), "system", "rows");
    TraceName kernel = trace_span_name(trace, STR("k0 \"a\\b\"\n\x01"), "launch", NULL);
    TraceName memory = trace_counter_name(trace, STR("memory"), "bytes");
    uint64_t  t = trace->opened_ns;
    trace_label(trace, 1, STR("worker"));
    trace_span(trace, 1, kernel, t + 2500, t + 3000, 0); // inner first, as spans end
    trace_span(trace, 0, fuse, t + 1000, t + 9001, 12);
    trace_span(trace, 1, kernel, t + 1000, t + 9002, 0);
    trace_counter(trace, 0, memory, t + 4000, 1e10);
    trace_counter(trace, 0, memory, t + 5000, -0.25);
    EXPECT_EQ(trace_write(trace, path, &diags), STATUS_OK);
    REQUIRE(parse_trace(arena, path, &json, &events));
    JsonId event = event_at(&json, events, 0); // the longer first
    EXPECT(number_in(&json, event, "ts") == 1.0 && number_in(&json, event, "dur") == 8.002);
    EXPECT(number_in(&json, event, "tid") == 1 && number_in(&json, event, "pid") == 3);
    EXPECT(str_same(text_in(&json, event, "name"), STR("k0 \"a\\b\"\n\x01")));
    event = event_at(&json, events, 1);
    EXPECT(str_same(text_in(&json, event, "name"), STR("fuse")));
    EXPECT(str_same(text_in(&json, event, "cat"), STR("system")));
    EXPECT(number_in(&json, json_find(&json, event, STR("args")), "rows") == 12);
    EXPECT(number_in(&json, event_at(&json, events, 2), "ts") == 2.5);
    event = event_at(&json, events, 3);
    EXPECT(str_same(text_in(&json, event, "ph"), STR("C")));
    EXPECT(number_in(&json, json_find(&json, event, STR("args")), "bytes") == 1e10);
    event = event_at(&json, events, 4);
    EXPECT(number_in(&json, json_find(&json, event, STR("args")), "bytes") == -0.25);
    EXPECT(!json_id_some(event_at(&json, events, 5)));
    JsonId first = json_first(&json, events), args = json_find(&json, first, STR("args"));
    EXPECT(str_same(text_in(&json, first, "name"), STR("process_name")));
    EXPECT(str_same(text_in(&json, args, "name"), STR("rank \"3\"")));
    EXPECT(strstr(file_get(arena, path).data, "\"worker\"") != NULL);
    EXPECT(strstr(file_get(arena, path).data, "\"lane 0\"") != NULL);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(trace_keeps_the_newest_rows) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    Diags       diags;
    Json        json;
    JsonId      events = {0};
    diags_open(&diags, NULL);
    Trace    *trace = trace_open(arena, &(TraceOptions){.lanes = 1, .rows_max = 5}); // becomes 8
    TraceName name = trace_span_name(trace, STR("s"), "c", "n");
    for (uint64_t i = 0; i < 20; i++)
        trace_span(trace, 0, name, trace->opened_ns + i, trace->opened_ns + i, i);
    EXPECT_EQ(trace_rows_lost(trace), 12);
    EXPECT_EQ(trace_write(trace, path, &diags), STATUS_OK);
    REQUIRE(parse_trace(arena, path, &json, &events));
    for (size_t i = 0; i < 8; i++) {
        JsonId args = json_find(&json, event_at(&json, events, i), STR("args"));
        EXPECT(number_in(&json, args, "n") == (double)(12 + i));
    }
    EXPECT(!json_id_some(event_at(&json, events, 8)));
    JsonId other = json_find(&json, json_root(&json), STR("otherData"));
    EXPECT(number_in(&json, other, "rows_lost") == 12);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(trace_names_are_interned) {
    Trace    *trace = trace_open(arena, &(TraceOptions){.names_max = 40});
    TraceName a = trace_span_name(trace, STR("a"), "x", NULL);
    EXPECT(trace_name_same(a, trace_span_name(trace, STR("a"), "x", NULL)));
    EXPECT(!trace_name_same(a, trace_span_name(trace, STR("a"), "y", NULL)));
    EXPECT(!trace_name_same(a, trace_span_name(trace, STR("a"), "x", "n")));
    EXPECT(!trace_name_same(a, trace_counter_name(trace, STR("a"), NULL)));
    EXPECT(!trace_name_same(a, trace_span_name(trace, STR("b"), "x", NULL)));
    size_t distinct = 0;
    for (int i = 0; i < 100; i++) {
        TraceName name = trace_span_name(trace, str_format(arena, "n%d", i), "x", NULL);
        EXPECT(trace_name_some(name));
        distinct += name.row != 1; // 1: "(other)"
    }
    EXPECT_EQ(distinct, 35);
    EXPECT(!trace_name_some(trace_counter_name(trace, STR("late"), NULL)));
}

TEST(trace_none_does_nothing) {
    Diags diags;
    diags_open(&diags, NULL);
    TraceName name = trace_span_name(NULL, STR("a"), "x", NULL);
    trace_span(NULL, 7, name, 1, 2, 3);
    trace_counter(NULL, 7, trace_counter_name(NULL, STR("a"), NULL), 1, 2);
    trace_label(NULL, 0, STR("a"));
    EXPECT(trace_now(NULL) == 0 && trace_rows_lost(NULL) == 0);
    EXPECT_EQ(trace_write(NULL, "/nonexistent/t", &diags), STATUS_OK);
    diags_close(&diags);
}

typedef struct LaneWork {
    Trace    *trace;
    uint32_t  lane;
    TraceName name;
} LaneWork;

static void lane_main(void *context) {
    const LaneWork *work = context;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t start = trace_now(work->trace);
        trace_span(work->trace, work->lane, work->name, start, trace_now(work->trace), i);
    }
}

TEST(trace_lanes_are_written_in_parallel) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    Diags       diags;
    Json        json;
    JsonId      events = {0};
    LaneWork    work[3];
    OsThread    threads[3];
    diags_open(&diags, NULL);
    Trace *trace = trace_open(arena, &(TraceOptions){.lanes = 3, .rows_max = 1024});
    for (uint32_t lane = 0; lane < 3; lane++) {
        work[lane] = (LaneWork){trace, lane, trace_span_name(trace, STR("s"), "c", "n")};
        REQUIRE(os_thread_start(&threads[lane], lane_main, &work[lane], "lane") == 0);
    }
    for (int lane = 0; lane < 3; lane++) os_thread_join(threads[lane]);
    EXPECT_EQ(trace_write(trace, path, &diags), STATUS_OK);
    REQUIRE(parse_trace(arena, path, &json, &events));
    size_t count = 0;
    double last = -1;
    bool   sorted = true;
    for (JsonId event = json_first(&json, events); json_id_some(event);
         event = json_next(&json, event)) {
        if (!str_same(text_in(&json, event, "ph"), STR("X"))) continue;
        sorted &= number_in(&json, event, "ts") >= last;
        last = number_in(&json, event, "ts");
        count++;
    }
    EXPECT(sorted);
    EXPECT_EQ(count, 3000);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(trace_file_operations_fail_in_turn) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "t");
    Diags       diags;
    Json        json;
    JsonId      events = {0};
    diags_open(&diags, NULL);
    Trace    *trace = trace_open(arena, &(TraceOptions){.rows_max = 4096});
    TraceName name = trace_span_name(trace, STR("a span with a name of some length"), "c", "n");
    for (uint64_t i = 0; i < 3000; i++) trace_span(trace, 0, name, i, i, i); // several buffers
    REQUIRE(file_put(path, "old", 3));
    bool failed = true;
    for (uint64_t n = 1; failed && n < 60; n++) {
        fault_file_nth(n);
        failed = trace_write(trace, path, &diags) != STATUS_OK;
        fault_file_nth(0);
        ArenaMark mark = arena_mark(arena);
        EXPECT(str_same(file_get(arena, path), STR("old")) ||
               parse_trace(arena, path, &json, &events));
        arena_release(arena, mark);
        EXPECT_EQ(files_in(arena, dir), 1);
    }
    EXPECT(!failed);
    EXPECT(diags_of(&diags, DIAG_FILE_ERROR) > 3);
    diags_close(&diags);
    temp_remove(arena, dir);
}
