/* The cache of kernels and measured choices: what was put is found; what is damaged, torn or for
 * another key is not, and a folder that cannot be written costs one warning. */
#define _GNU_SOURCE
#include "gpu/cache.h"

#include "arena/os.h"
#include "fake_gpu.h"

static const GpuKey KEY = {0x0123456789abcdef, 0xfedcba9876543210};

typedef struct Fixture {
    GpuCache    cache;
    Diags       diags;
    const char *folder;
} Fixture;
static Fixture fixture_open(Arena *arena, const char *name) {
    Fixture f = {.folder = str_format(arena, "%s/../cache_%s", STOA_FAKES, name).data};
    String *names;
    size_t  count;
    if (os_list(arena, f.folder, &names, &count) == 0)
        for (size_t i = 0; i < count; i++)
            EXPECT_EQ(os_remove(str_format(arena, "%s/%s", f.folder, names[i].data).data), 0);
    diags_open(&f.diags, NULL);
    f.cache = gpu_cache_open(arena, str_of(f.folder));
    return f;
}
/* The only file of the folder. */
static String only_file(Arena *arena, const Fixture *f) {
    String *names;
    size_t  count = 0;
    EXPECT_EQ(os_list(arena, f->folder, &names, &count), 0);
    EXPECT_EQ(count, 1);
    return count == 1 ? str_format(arena, "%s/%s", f->folder, names[0].data) : STR("");
}

TEST(cache_finds_what_was_put) {
    Fixture f = fixture_open(arena, "finds");
    String  found;
    GpuKey  other = {KEY.low, KEY.high + 1};
    EXPECT(!gpu_cache_find(&f.cache, arena, "cubin", KEY, &found));
    gpu_cache_put(&f.cache, "cubin", KEY, STR("machine code"), &f.diags);
    EXPECT(gpu_cache_find(&f.cache, arena, "cubin", KEY, &found));
    EXPECT(str_same(found, STR("machine code")));
    EXPECT(!gpu_cache_find(&f.cache, arena, "cubin", other, &found));
    EXPECT(!gpu_cache_find(&f.cache, arena, "matmul", KEY, &found));
    gpu_cache_put(&f.cache, "cubin", KEY, STR(""),
                  &f.diags); /* replaces; nothing is a result too */
    EXPECT(gpu_cache_find(&f.cache, arena, "cubin", KEY, &found) && found.count == 0);
    EXPECT(only_file(arena, &f).count > 0); /* no temporary is left */
    GpuCache none = {.folder = STR("")};
    gpu_cache_put(&none, "cubin", KEY, STR("x"), &f.diags);
    EXPECT(!gpu_cache_find(&none, arena, "cubin", KEY, &found));
    EXPECT_EQ(f.diags.rows.table.count, 1);
    diags_close(&f.diags);
}

TEST(cache_keys_tell_parts_apart) {
    const String a[] = {STR("ab"), STR("c")}, b[] = {STR("a"), STR("bc")};
    const String c[] = {STR("ab"), STR("c"), STR("")}, d[] = {STR("abc")};
    GpuKey       keys[] = {gpu_cache_key(a, 2), gpu_cache_key(b, 2), gpu_cache_key(c, 3),
                           gpu_cache_key(d, 1), gpu_cache_key(NULL, 0)};
    for (size_t i = 0; i < LENGTH(keys); i++)
        for (size_t k = 0; k < i; k++)
            EXPECT(keys[i].low != keys[k].low && keys[i].high != keys[k].high);
    GpuKey again = gpu_cache_key(a, 2);
    EXPECT(again.low == keys[0].low && again.high == keys[0].high);
}

TEST(cache_ignores_every_damage) {
    Fixture f = fixture_open(arena, "damage");
    String  found;
    OsMap   map;
    gpu_cache_put(&f.cache, "cubin", KEY, STR("thirty-two bytes of machine code"), &f.diags);
    REQUIRE(os_map(only_file(arena, &f).data, &map) == 0);
    REQUIRE(map.bytes == 72);
    char *copy = arena_push(arena, map.bytes, 1);
    for (size_t bit = 0; bit < map.bytes * 8; bit++) {
        memcpy(copy, map.data, map.bytes);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        EXPECT(!gpu_cache_read((String){copy, map.bytes}, KEY, &found));
    }
    memcpy(copy, map.data, map.bytes);
    for (size_t count = 0; count < map.bytes; count++)
        EXPECT(!gpu_cache_read((String){copy, count}, KEY, &found));
    EXPECT(gpu_cache_read((String){copy, map.bytes}, KEY, &found) && found.count == 32);
    os_unmap(&map);
    diags_close(&f.diags);
}

TEST(cache_survives_the_failure_of_every_file_operation) {
    Fixture  f = fixture_open(arena, "faults");
    String   found;
    uint64_t n = 0;
    do {
        f.cache.warned = false;
        fault_file_nth(++n);
        gpu_cache_put(&f.cache, "cubin", KEY, STR("machine code"), &f.diags);
        fault_file_nth(0);
        if (gpu_cache_find(&f.cache, arena, "cubin", KEY, &found))
            EXPECT(str_same(found, STR("machine code")));
    } while (f.cache.warned && n < 100);
    EXPECT(n > 5 && n < 100);
    EXPECT_EQ(diags_of(&f.diags, DIAG_GPU_CACHE), n - 1);
    diags_close(&f.diags);
}

TEST(cache_warns_once_if_it_cannot_write) {
    Fixture f = fixture_open(arena, "unwritable");
    f.cache = gpu_cache_open(arena, STR("/proc/stoa"));
    gpu_cache_put(&f.cache, "cubin", KEY, STR("machine code"), &f.diags);
    gpu_cache_put(&f.cache, "cubin", KEY, STR("machine code"), &f.diags);
    EXPECT_EQ(diags_of(&f.diags, DIAG_GPU_CACHE), 1);
    EXPECT_EQ(f.diags.errors, 0);
    diags_close(&f.diags);
}
