/* safetensors: an independent fixture, hostile headers one rule at a time, every truncation and
 * every flipped byte, round trips, files that change underneath, and each file operation failing in
 * turn. */
#include "harness.h"

#include "formats/safetensors.h"
#include "formats_fixtures.h"
#include "formats_helpers.h"

TEST(safetensors_reads_a_foreign_file) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    Diags       diags;
    Safetensors file;
    diags_open(&diags, NULL);
    REQUIRE(file_put(path, fixture_safetensors, sizeof fixture_safetensors));
    REQUIRE(safetensors_open(arena, path, &diags, &file) == STATUS_OK);
    EXPECT_EQ(file.entries_count, 3);
    EXPECT_STR(safetensors_meta(&file, STR("format")).data, "pt");
    EXPECT_STR(safetensors_meta(&file, STR("note")).data, "caf\xC3\xA9");
    EXPECT_EQ(safetensors_meta(&file, STR("other")).count, 0);
    const SafetensorsEntry *weight = safetensors_find(&file, STR("weight"));
    REQUIRE(weight != NULL);
    EXPECT_EQ(weight->dtype, DTYPE_F32);
    EXPECT_EQ(weight->rank, 2);
    EXPECT_EQ(weight->shape[0], 2);
    EXPECT_EQ(weight->shape[1], 3);
    float   values[6];
    int64_t step = 0;
    EXPECT_EQ(safetensors_read_into(&file, weight, values, sizeof values, &diags), STATUS_OK);
    for (int i = 0; i < 6; i++) EXPECT(values[i] == (float)i);
    const SafetensorsEntry *scalar = safetensors_find(&file, STR("step"));
    REQUIRE(scalar != NULL && scalar->rank == 0);
    EXPECT_EQ(safetensors_read_into(&file, scalar, &step, sizeof step, &diags), STATUS_OK);
    EXPECT_EQ(step, -7);
    const SafetensorsEntry *none = safetensors_find(&file, STR("none"));
    REQUIRE(none != NULL && none->bytes == 0);
    EXPECT_EQ(safetensors_read_into(&file, none, NULL, 0, &diags), STATUS_OK);
    EXPECT(safetensors_find(&file, STR("weigh")) == NULL);
    EXPECT(safetensors_find(&file, STR("weights")) == NULL);
    EXPECT(safetensors_data(&file, weight) == NULL);
    EXPECT_EQ(safetensors_map(&file, &diags), STATUS_OK);
    REQUIRE(safetensors_data(&file, weight) != NULL);
    EXPECT(memcmp(safetensors_data(&file, weight), values, sizeof values) == 0);
    safetensors_unmap(&file);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
    temp_remove(arena, dir);
}

/* A file of this header and payload_bytes zeros. */
static String make_file(Arena *arena, String header, size_t payload_bytes) {
    char    *bytes = ARENA_ARRAY_ZERO(arena, char, 8 + header.count + payload_bytes);
    uint64_t length = header.count;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header.data, header.count);
    return (String){bytes, 8 + header.count + payload_bytes};
}

#define TENSOR(fields) "{\"t\":{" fields "}}"
typedef struct Hostile {
    const char *header;
    size_t      payload;
    DiagKind    kind;
    const char *reason; /* NULL: not compared */
} Hostile;
static const Hostile hostile[] = {
    {"", 0, DIAG_FILE_FORMAT, "its header does not begin with '{'"},
    {" {}", 0, DIAG_FILE_FORMAT, "its header does not begin with '{'"},
    {"[]", 0, DIAG_FILE_FORMAT, NULL},
    {"{", 0, DIAG_FILE_DAMAGED, NULL},
    {"{}x", 0, DIAG_FILE_DAMAGED, "text after the value"},
    {"{}", 1, DIAG_FILE_DAMAGED, "bytes follow that belong to no tensor"},
    {"{\"t\":1}", 0, DIAG_FILE_DAMAGED, "'t': the tensor is not described by an object"},
    {TENSOR("\"shape\":[],\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     "'t': dtype, shape or data_offsets is missing"},
    {TENSOR("\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]"), 4,
     DIAG_FILE_DAMAGED, "'t': a field stands twice"},
    {TENSOR("\"dtype\":4,\"shape\":[],\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     "'t': the dtype is not a string"},
    {TENSOR("\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,4]"), 4, DIAG_FILE_FORMAT,
     "'t': this build does not have its element type"},
    {TENSOR("\"dtype\":\"\",\"shape\":[],\"data_offsets\":[0,0]"), 0, DIAG_FILE_FORMAT, NULL},
    {TENSOR("\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     "'t': the shape is not a list of at most 8 sizes"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
     DIAG_FILE_DAMAGED, "'t': the shape is not a list of at most 8 sizes"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     "'t': a size is not a whole number from 0"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     NULL},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     NULL},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), 4,
     DIAG_FILE_DAMAGED, "'t': the shape has too many elements"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]"), 0,
     DIAG_FILE_DAMAGED, "'t': the shape has too many elements"},
    {TENSOR("\"dtype\":\"U8\",\"shape\":[0,9223372036854775807,2],\"data_offsets\":[0,0]"), 0,
     DIAG_FILE_DAMAGED, "'t': the shape has too many elements"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,4]"), 4, DIAG_FILE_DAMAGED,
     "'t': data_offsets are not two whole numbers"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":{}"), 4, DIAG_FILE_DAMAGED, NULL},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,18446744073709551616]"), 4,
     DIAG_FILE_DAMAGED, NULL},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[-4,0]"), 4, DIAG_FILE_DAMAGED,
     "'t': data_offsets are outside the file"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,0]"), 4, DIAG_FILE_DAMAGED, NULL},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,5]"), 4, DIAG_FILE_DAMAGED,
     "'t': data_offsets are outside the file"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 4, DIAG_FILE_DAMAGED,
     "'t': data_offsets do not fit dtype and shape"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]"), 8, DIAG_FILE_DAMAGED,
     "'t': there is a hole before the tensor"},
    {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]"), 5, DIAG_FILE_DAMAGED,
     "bytes follow that belong to no tensor"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
     3, DIAG_FILE_DAMAGED, "'b': the tensor overlaps another"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, DIAG_FILE_DAMAGED, "'a': two tensors have this name"},
    {"{\"__metadata__\":[]}", 0, DIAG_FILE_DAMAGED, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"a\":1}}", 0, DIAG_FILE_DAMAGED, NULL},
    {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, DIAG_FILE_DAMAGED,
     "'a': a key of __metadata__ stands twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, DIAG_FILE_DAMAGED,
     "__metadata__ stands twice"},
};

TEST(safetensors_refuses_each_broken_rule) {
    Diags diags;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(hostile); i++) {
        const Hostile *row = &hostile[i];
        Safetensors    file;
        String         bytes = make_file(arena, str_of(row->header), row->payload);
        diags_clear(&diags);
        EXPECT(safetensors_check(arena, bytes, "x", &diags, &file) != STATUS_OK);
        bool one = EXPECT_EQ(diags.rows.table.count, 2) && EXPECT_EQ(diags.rows.kind[1], row->kind);
        int  which = row->kind == DIAG_FILE_FORMAT ? 2 : 1;
        if (row->reason)
            one &= EXPECT_STR(diags_text(arena, &diags, row->kind, which), row->reason);
        if (!one) printf("  in %s", row->header);
    }
    diags_close(&diags);
}

TEST(safetensors_accepts_the_edges) {
    static const struct {
        const char *header;
        size_t      payload;
    } good[] = {
        {"{}", 0},
        {"{}      ", 0},
        {"{\"__metadata__\":{}}", 0},
        {TENSOR("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4},
        {TENSOR("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"other\":1"), 4},
        {TENSOR("\"dtype\":\"U8\",\"shape\":[0,4611686018427387904],\"data_offsets\":[0,0]"), 0},
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
         "\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         3},
    };
    Diags diags;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(good); i++) {
        Safetensors file;
        String      bytes = make_file(arena, str_of(good[i].header), good[i].payload);
        EXPECT_EQ(safetensors_check(arena, bytes, "x", &diags, &file), STATUS_OK);
    }
    diags_close(&diags);
}

TEST(safetensors_refuses_each_length_word) {
    static const uint64_t lengths[] = {1,         239,        1u << 20,       100000000,
                                       100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    String                whole = make_file(arena, STR("{}"), 0);
    Diags                 diags;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(lengths); i++) {
        Safetensors file;
        memcpy((char *)(uintptr_t)whole.data, &lengths[i], 8);
        EXPECT(safetensors_check(arena, whole, "x", &diags, &file) != STATUS_OK);
    }
    diags_close(&diags);
}

TEST(safetensors_survives_every_truncation_and_flip) {
    const size_t count = sizeof fixture_safetensors;
    Diags        diags;
    Safetensors  file;
    diags_open(&diags, NULL);
    for (size_t cut = 0; cut < count; cut++) {
        uint8_t *bytes = ARENA_ARRAY(arena, uint8_t, cut); /* its own, so that overruns are seen */
        memcpy(bytes, fixture_safetensors, cut);
        EXPECT(safetensors_check(arena, (String){(char *)bytes, cut}, "x", &diags, &file) !=
               STATUS_OK);
    }
    uint32_t accepted = 0;
    for (size_t at = 0; at < count; at++) {
        for (int bit = 0; bit < 8; bit++) {
            ArenaMark mark = arena_mark(arena);
            uint8_t  *bytes = ARENA_ARRAY(arena, uint8_t, count);
            memcpy(bytes, fixture_safetensors, count);
            bytes[at] ^= (uint8_t)(1u << bit);
            diags_clear(&diags);
            Status status =
                safetensors_check(arena, (String){(char *)bytes, count}, "x", &diags, &file);
            EXPECT((status == STATUS_OK) == (diags.errors == 0));
            accepted += status == STATUS_OK;
            arena_release(arena, mark);
        }
    }
    EXPECT(accepted > 32 * 8); /* payloads and names may change, structure may not */
    EXPECT(accepted < count * 4);
    diags_close(&diags);
}

/* --- files ------------------------------------------------------------------------------------ */
static const float  values_a[6] = {1, 2, 3, 4, 5, 6};
static const int8_t values_b[3] = {-1, 0, 1};

/* Writes two tensors and metadata; the second in two pieces. */
static Status write_pair(Arena *arena, const char *path, const char *note, Diags *diags) {
    SafetensorsEntry entries[] = {
        {.name = STR("a.weight\n\"x\""),
         .dtype = DTYPE_F32,
         .rank = 2,
         .shape = {2, 3},
         .bytes = 24},
        {.name = STR("b"), .dtype = DTYPE_I8, .rank = 1, .shape = {3}, .bytes = 3},
        {.name = STR("empty"), .dtype = DTYPE_F64, .rank = 1, .shape = {0}},
    };
    SafetensorsMeta   metadata[] = {{STR("note"), str_of(note)}, {STR("k"), STR("\xC3\xA9")}};
    SafetensorsWriter writer;
    Status status = safetensors_begin(arena, path, entries, 3, metadata, 2, diags, &writer);
    if (status == STATUS_OK) status = safetensors_write(&writer, values_a, 24, diags);
    if (status == STATUS_OK) status = safetensors_write(&writer, values_b, 1, diags);
    if (status == STATUS_OK) status = safetensors_write(&writer, values_b + 1, 2, diags);
    if (status == STATUS_OK) status = safetensors_write(&writer, NULL, 0, diags);
    if (status == STATUS_OK) status = safetensors_end(&writer, diags);
    return status;
}

TEST(safetensors_round_trip) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    Diags       diags;
    Safetensors file;
    float       a[6];
    int8_t      b[3];
    diags_open(&diags, NULL);
    REQUIRE(write_pair(arena, path, "first", &diags) == STATUS_OK);
    EXPECT_EQ(files_in(arena, dir), 1);
    REQUIRE(safetensors_open(arena, path, &diags, &file) == STATUS_OK);
    uint64_t header;
    memcpy(&header, file.head.data, 8);
    EXPECT_EQ(header % 8, 0);
    EXPECT_EQ(file.entries_count, 3);
    EXPECT_STR(safetensors_meta(&file, STR("note")).data, "first");
    const SafetensorsEntry *entries[] = {safetensors_find(&file, STR("a.weight\n\"x\"")),
                                         safetensors_find(&file, STR("b"))};
    REQUIRE(entries[0] != NULL && entries[1] != NULL);
    EXPECT_EQ(safetensors_read_many(&file, entries, (void *[]){a, b}, 2, &diags), STATUS_OK);
    EXPECT(memcmp(a, values_a, sizeof a) == 0);
    EXPECT(memcmp(b, values_b, sizeof b) == 0);
    EXPECT_EQ(diags.errors, 0);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(safetensors_refuses_what_cannot_be_written) {
    const char      *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    SafetensorsEntry good = {
        .name = STR("a"), .dtype = DTYPE_F32, .rank = 1, .shape = {2}, .bytes = 8};
    SafetensorsEntry  pairs[6][2];
    SafetensorsWriter writer;
    Diags             diags;
    diags_open(&diags, NULL);
    for (int i = 0; i < 6; i++) pairs[i][0] = pairs[i][1] = good;
    for (int i = 1; i < 6; i++) pairs[i][1].name = STR("b"); /* 0: a name twice */
    pairs[1][1].shape[0] = -2;
    pairs[2][1].bytes = 7;
    pairs[3][1].rank = 9;
    pairs[4][1].dtype = DTYPE_NIL;
    pairs[5][1].name = STR("__metadata__");
    for (int i = 0; i < 6; i++) {
        diags_clear(&diags);
        Status status = safetensors_begin(arena, path, pairs[i], 2, NULL, 0, &diags, &writer);
        EXPECT_EQ(status, STATUS_INVALID);
        EXPECT_EQ(diags.errors, 1);
        EXPECT_EQ(safetensors_write(&writer, values_a, 8, &diags), STATUS_INVALID);
        EXPECT_EQ(safetensors_end(&writer, &diags), STATUS_INVALID);
    }
    EXPECT_EQ(files_in(arena, dir), 0);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(safetensors_abort_leaves_nothing) {
    const char      *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    SafetensorsEntry entry = {
        .name = STR("a"), .dtype = DTYPE_F32, .rank = 1, .shape = {2}, .bytes = 8};
    SafetensorsWriter writer;
    Diags             diags;
    diags_open(&diags, NULL);
    REQUIRE(safetensors_begin(arena, path, &entry, 1, NULL, 0, &diags, &writer) == STATUS_OK);
    EXPECT_EQ(files_in(arena, dir), 1);
    safetensors_abort(&writer);
    EXPECT_EQ(files_in(arena, dir), 0);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(safetensors_write_survives_each_fault) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    Diags       diags;
    diags_open(&diags, NULL);
    REQUIRE(write_pair(arena, path, "old", &diags) == STATUS_OK);
    String   old = file_get(arena, path);
    uint64_t n = 1;
    for (bool injected = true; injected && n < 100; n++) {
        diags_clear(&diags);
        fault_file_nth(n);
        Status status = write_pair(arena, path, "new", &diags);
        injected = fault_file_count() >= n;
        fault_file_nth(0);
        EXPECT_EQ(files_in(arena, dir), 1);
        String now = file_get(arena, path);
        if (!injected) break;
        EXPECT_EQ(status, STATUS_IO);
        EXPECT_EQ(diags_of(&diags, DIAG_FILE_ERROR), 1);
        bool renamed = strstr(diags_text(arena, &diags, DIAG_FILE_ERROR, 0), "folder") != NULL;
        if (renamed)
            EXPECT_EQ(now.count, old.count); /* the new file stands, not known to be durable */
        else
            EXPECT(str_same(now, old));
    }
    EXPECT(n > 10);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(safetensors_read_survives_each_fault) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    Diags       diags;
    uint64_t    n = 1;
    diags_open(&diags, NULL);
    REQUIRE(file_put(path, fixture_safetensors, sizeof fixture_safetensors));
    for (bool injected = true; injected && n < 100; n++) {
        Safetensors file;
        float       values[6];
        diags_clear(&diags);
        fault_file_nth(n);
        Status status = safetensors_open(arena, path, &diags, &file);
        if (status == STATUS_OK) {
            const SafetensorsEntry *entry = safetensors_find(&file, STR("weight"));
            status = safetensors_read_into(&file, entry, values, sizeof values, &diags);
        }
        if (status == STATUS_OK) status = safetensors_map(&file, &diags);
        if (status == STATUS_OK) safetensors_unmap(&file);
        injected = fault_file_count() >= n;
        fault_file_nth(0);
        EXPECT_EQ(diags.errors, status == STATUS_OK ? 0 : 1);
        if (!injected) EXPECT_EQ(status, STATUS_OK);
    }
    EXPECT(n > 8);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(safetensors_notices_that_the_file_changed) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x.safetensors");
    Diags       diags;
    Safetensors file;
    float       values[6];
    uint8_t     other[sizeof fixture_safetensors];
    diags_open(&diags, NULL);
    REQUIRE(file_put(path, fixture_safetensors, sizeof fixture_safetensors));
    REQUIRE(safetensors_open(arena, path, &diags, &file) == STATUS_OK);
    const SafetensorsEntry *entry = safetensors_find(&file, STR("weight"));
    memcpy(other, fixture_safetensors, sizeof other);
    other[30] ^= 1; /* in the header */
    REQUIRE(file_put(path, other, sizeof other));
    EXPECT_EQ(safetensors_read_into(&file, entry, values, 24, &diags), STATUS_CORRUPT);
    EXPECT_EQ(safetensors_map(&file, &diags), STATUS_CORRUPT);
    REQUIRE(file_put(path, other, sizeof other - 8)); /* cut short */
    EXPECT_EQ(safetensors_read_into(&file, entry, values, 24, &diags), STATUS_CORRUPT);
    EXPECT_EQ(safetensors_map(&file, &diags), STATUS_CORRUPT);
    REQUIRE(os_remove(path) == 0);
    EXPECT_EQ(safetensors_read_into(&file, entry, values, 24, &diags), STATUS_IO);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_DAMAGED), 4);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_ERROR), 1);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(safetensors_names_what_is_missing) {
    const char *dir = temp_make(arena);
    Diags       diags;
    Safetensors file;
    diags_open(&diags, NULL);
    EXPECT_EQ(safetensors_open(arena, path_in(arena, dir, "none"), &diags, &file), STATUS_IO);
    EXPECT_STR(diags_text(arena, &diags, DIAG_FILE_ERROR, 0), "open");
    EXPECT_STR(diags_text(arena, &diags, DIAG_FILE_ERROR, 2), "No such file or directory");
    EXPECT_EQ(safetensors_open(arena, dir, &diags, &file), STATUS_IO);
    diags_close(&diags);
    temp_remove(arena, dir);
}
