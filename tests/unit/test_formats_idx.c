/* gzip, whole files and IDX: fixtures from another program, limits on unpacked bytes, every
 * truncation and flipped byte, and failing files. The real data set is read where its package is
 * installed. */
#include "harness.h"

#include "arena/block.h"
#include "formats/files.h"
#include "formats/gz.h"
#include "formats/idx.h"
#include "formats_fixtures.h"
#include "formats_helpers.h"

#define BYTES(array) ((String){(const char *)(array), sizeof(array)})

TEST(gz_unpacks_members_and_dictzip) {
    Diags  diags;
    String text;
    diags_open(&diags, NULL);
    REQUIRE(gz_unpack(arena, BYTES(fixture_gzip_two), "two", 100, &diags, &text) == STATUS_OK);
    EXPECT_STR(text.data, "hello stoa\n");
    REQUIRE(gz_unpack(arena, BYTES(fixture_dictzip), "dz", 100, &diags, &text) == STATUS_OK);
    EXPECT_STR(text.data, "columns hold roofs");
    REQUIRE(gz_unpack(arena, STR("plain"), "plain", 100, &diags, &text) == STATUS_OK);
    EXPECT_STR(text.data, "plain");
    REQUIRE(gz_unpack(arena, STR(""), "empty", 0, &diags, &text) == STATUS_OK);
    EXPECT_EQ(text.count, 0);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
}

TEST(gz_limit_is_on_unpacked_bytes) {
    Diags  diags;
    String text;
    diags_open(&diags, NULL);
    String bomb = BYTES(fixture_bomb);
    EXPECT_EQ(gz_unpack(arena, bomb, "bomb", 1 << 20, &diags, &text), STATUS_OK);
    EXPECT_EQ(text.count, 1 << 20);
    size_t before = arena_used(arena);
    EXPECT_EQ(gz_unpack(arena, bomb, "bomb", (1 << 20) - 1, &diags, &text), STATUS_UNSUPPORTED);
    EXPECT_EQ(gz_unpack(arena, bomb, "bomb", 10, &diags, &text), STATUS_UNSUPPORTED);
    EXPECT_EQ(gz_unpack(arena, STR("plain"), "plain", 4, &diags, &text), STATUS_UNSUPPORTED);
    EXPECT_EQ(gz_unpack(arena, STR("plain"), "plain", 5, &diags, &text), STATUS_OK);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_TOO_LARGE), 3);
    EXPECT(arena_used(arena) - before < 64); /* a refused text gives its memory back */
    diags_close(&diags);
}

TEST(gz_refuses_every_truncation_and_flip) {
    const size_t count = sizeof fixture_dictzip;
    Diags        diags;
    String       text;
    diags_open(&diags, NULL);
    for (size_t cut = 2; cut < count; cut++) {
        char *bytes = ARENA_ARRAY(arena, char, cut);
        memcpy(bytes, fixture_dictzip, cut);
        EXPECT_EQ(gz_unpack(arena, (String){bytes, cut}, "cut", 100, &diags, &text),
                  STATUS_CORRUPT);
    }
    for (size_t at = 2; at < count; at++) {
        char *bytes = ARENA_ARRAY(arena, char, count);
        memcpy(bytes, fixture_dictzip, count);
        bytes[at] ^= 0x10;
        Status status = gz_unpack(arena, (String){bytes, count}, "flip", 100, &diags, &text);
        /* The header's time, flags and name carry no checksum; what is unpacked does. */
        if (status == STATUS_OK)
            EXPECT_STR(text.data, "columns hold roofs");
        else
            EXPECT_EQ(text.count, 0);
    }
    char garbage[sizeof fixture_gzip_two];
    memcpy(garbage, fixture_gzip_two, sizeof garbage);
    garbage[sizeof garbage - 1] = 'x';
    EXPECT_EQ(gz_unpack(arena, BYTES(garbage), "garbage", 100, &diags, &text), STATUS_CORRUPT);
    EXPECT_STR(diags_text(arena, &diags, DIAG_FILE_DAMAGED, 1), "bytes follow the gzip data");
    diags_close(&diags);
}

TEST(gz_reads_files) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x.gz");
    Diags       diags;
    String      text;
    diags_open(&diags, NULL);
    REQUIRE(file_put(path, fixture_gzip_two, sizeof fixture_gzip_two));
    EXPECT_EQ(gz_read_file(arena, path, 100, &diags, &text), STATUS_OK);
    EXPECT_STR(text.data, "hello stoa\n");
    EXPECT_EQ(gz_read_file(arena, path_in(arena, dir, "none"), 100, &diags, &text), STATUS_IO);
    EXPECT_EQ(gz_read_file(arena, path, 5, &diags, &text), STATUS_UNSUPPORTED);
    for (uint64_t n = 1; n < 20; n++) {
        fault_file_nth(n);
        Status status = gz_read_file(arena, path, 100, &diags, &text);
        bool   injected = fault_file_count() >= n;
        fault_file_nth(0);
        if (!injected) EXPECT_EQ(status, STATUS_OK);
        if (status == STATUS_OK) EXPECT_STR(text.data, "hello stoa\n");
    }
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(files_report_what_they_did) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x");
    String      text;
    uint64_t    bytes;
    uint32_t    crc;
    EXPECT(!failure_some(files_write(path, STR("123456789"))));
    EXPECT(!failure_some(files_checksum(path, &bytes, &crc)));
    EXPECT_EQ(bytes, 9);
    EXPECT_EQ(crc, 0xE3069283u);
    EXPECT_EQ(files_read(arena, path, 8, &text).kind, FAILURE_TOO_LARGE);
    EXPECT(!failure_some(files_read_head(arena, path, 4, &text, &bytes)));
    EXPECT(str_same(text, STR("1234")) && bytes == 9);
    EXPECT_STR(files_folder(arena, "x").data, ".");
    EXPECT_STR(files_folder(arena, "/x").data, "/");
    EXPECT_STR(files_folder(arena, "a/b/x").data, "a/b");
    for (uint64_t n = 1; n < 12; n++) {
        fault_file_nth(n);
        Failure failure = files_write(path, STR("new"));
        fault_file_nth(0);
        EXPECT_EQ(files_in(arena, dir), 1);
        text = file_get(arena, path);
        EXPECT(str_same(text, STR("new")) || failure_some(failure));
        EXPECT(str_same(text, STR("new")) || str_same(text, STR("123456789")));
    }
    Failure none = failure_file("open", 0);
    EXPECT_STR(report_text(arena, none).data, "nothing failed");
    Failure long_subject = failure_damaged("is wrong", 5);
    char    name[200];
    memset(name, 'n', sizeof name);
    long_subject.subject = (String){name, sizeof name};
    EXPECT_EQ(report_text(arena, long_subject).count, 120 + 3 + 2 + 2 + 8 + 12);
    temp_remove(arena, dir);
}

/* --- IDX -------------------------------------------------------------------------------------- */
TEST(idx_reads_plain_and_packed) {
    const char *dir = temp_make(arena);
    Diags       diags;
    diags_open(&diags, NULL);
    for (int packed = 0; packed < 2; packed++) {
        const char *path = path_in(arena, dir, packed ? "x.gz" : "x");
        Idx         idx, info;
        REQUIRE(packed ? file_put(path, fixture_idx_gzip, sizeof fixture_idx_gzip)
                       : file_put(path, fixture_idx, sizeof fixture_idx));
        REQUIRE(idx_read(arena, path, 12, &diags, &idx) == STATUS_OK);
        REQUIRE(idx_info(path, &diags, &info) == STATUS_OK);
        EXPECT_EQ(idx.rank, 3);
        EXPECT(idx.dims[0] == 2 && idx.dims[1] == 2 && idx.dims[2] == 3);
        EXPECT(memcmp(idx.dims, info.dims, sizeof idx.dims) == 0 && info.bytes == 12);
        for (uint8_t i = 0; i < 12; i++) EXPECT_EQ(idx.data[i], i);
        uint8_t *block = block_open(12, -1, NULL);
        REQUIRE(block != NULL);
        EXPECT_EQ(idx_read_into(path, &info, block, &diags), STATUS_OK);
        EXPECT(info.data == block && memcmp(block, idx.data, 12) == 0);
        block_close(block, 12, NULL);
        EXPECT_EQ(idx_read(arena, path, 11, &diags, &idx), STATUS_UNSUPPORTED);
        EXPECT(idx.data == NULL);
        for (uint64_t n = 1; n < 20; n++) {
            fault_file_nth(n);
            Status status = idx_read(arena, path, 12, &diags, &idx);
            bool   injected = fault_file_count() >= n;
            fault_file_nth(0);
            if (!injected) EXPECT_EQ(status, STATUS_OK);
            EXPECT((idx.data != NULL) == (status == STATUS_OK));
        }
    }
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(idx_refuses_each_broken_rule) {
    static const struct {
        size_t      at;
        uint8_t     byte;
        Status      status;
        const char *reason;
    } rows[] = {
        {0, 1, STATUS_CORRUPT, NULL},
        {1, 1, STATUS_CORRUPT, NULL},
        {2, 9, STATUS_UNSUPPORTED, NULL},
        {2, 0x0D, STATUS_UNSUPPORTED, NULL},
        {3, 0, STATUS_UNSUPPORTED, NULL},
        {3, 5, STATUS_UNSUPPORTED, NULL},
        {3, 4, STATUS_CORRUPT, NULL},
        {3, 2, STATUS_CORRUPT, "more bytes follow than the sizes say"},
        {7, 3, STATUS_CORRUPT, "the elements end too early"},
        {7, 1, STATUS_CORRUPT, "more bytes follow than the sizes say"},
        {7, 0, STATUS_CORRUPT, NULL},
        {4, 0xFF, STATUS_UNSUPPORTED, NULL},
    };
    Diags diags;
    Idx   idx;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        char bytes[sizeof fixture_idx];
        memcpy(bytes, fixture_idx, sizeof bytes);
        bytes[rows[i].at] = (char)rows[i].byte;
        diags_clear(&diags);
        EXPECT_EQ(idx_check(arena, BYTES(bytes), "x", 1 << 20, &diags, &idx), rows[i].status);
        EXPECT_EQ(diags.errors, 1);
        if (rows[i].reason)
            EXPECT_STR(diags_text(arena, &diags, DIAG_FILE_DAMAGED, 1), rows[i].reason);
    }
    for (size_t cut = 0; cut < sizeof fixture_idx; cut++) {
        char *bytes = ARENA_ARRAY(arena, char, cut);
        memcpy(bytes, fixture_idx, cut);
        EXPECT(idx_check(arena, (String){bytes, cut}, "x", 100, &diags, &idx) != STATUS_OK);
    }
    for (size_t cut = 0; cut < sizeof fixture_idx_gzip; cut++) {
        String bytes = {(const char *)fixture_idx_gzip, cut};
        EXPECT(idx_check(arena, bytes, "x", 100, &diags, &idx) != STATUS_OK);
    }
    static const uint8_t huge[] = {0,   0,   8,   4,   255, 255, 255, 255, 255, 255,
                                   255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    EXPECT_EQ(idx_check(arena, BYTES(huge), "x", UINT64_MAX, &diags, &idx), STATUS_CORRUPT);
    diags_close(&diags);
}

TEST(idx_notices_that_the_sizes_changed) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "x");
    Diags       diags;
    Idx         info;
    uint8_t     into[12], other[sizeof fixture_idx];
    diags_open(&diags, NULL);
    REQUIRE(file_put(path, fixture_idx, sizeof fixture_idx));
    REQUIRE(idx_info(path, &diags, &info) == STATUS_OK);
    memcpy(other, fixture_idx, sizeof other);
    other[11] = 3; /* 2x3x2 */
    other[15] = 2;
    REQUIRE(file_put(path, other, sizeof other));
    EXPECT_EQ(idx_read_into(path, &info, into, &diags), STATUS_CORRUPT);
    EXPECT(info.data == NULL);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(idx_reads_fashion_mnist_where_installed) {
    static const char folder[] = "/usr/share/datasets/fashion-mnist/";
    Diags             diags;
    Idx               images, labels;
    diags_open(&diags, NULL);
    String path = str_format(arena, "%st10k-images-idx3-ubyte.gz", folder);
    EXPECT(true);
    if (os_exists(path.data)) {
        EXPECT_EQ(idx_read(arena, path.data, 1 << 24, &diags, &images), STATUS_OK);
        EXPECT(images.rank == 3 && images.dims[0] == 10000 && images.dims[1] == 28 &&
               images.dims[2] == 28);
        path = str_format(arena, "%st10k-labels-idx1-ubyte.gz", folder);
        REQUIRE(idx_read(arena, path.data, 1 << 24, &diags, &labels) == STATUS_OK);
        EXPECT(labels.rank == 1 && labels.dims[0] == 10000);
        uint32_t of_class[256] = {0};
        for (uint32_t i = 0; i < labels.dims[0]; i++) of_class[labels.data[i]]++;
        for (int i = 0; i < 10; i++) EXPECT_EQ(of_class[i], 1000);
    }
    diags_close(&diags);
}
