/* The binary form: equal tables after loading, and no file that can do harm. */
#include "arena/hash.h"
#include "arena/os.h"
#include "harness.h"
#include "text/binary.h"
#include "text/check.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"

static const char program[] =
    "dim B range=1..64 multiple=4 hint=8\ndim N = B*7\n"
    "graph g(%x: f32[B,floordiv(B+1,3)], %c: bool) {\n"
    "  %k = constant {value=f32[3] [1, 2, 3]}\n"
    "  %y = if %c { %n = neg %x return %n } { return %x }\n"
    "  %r = reduce %y {kind=sum, axes=[0]}\n"
    "  %p = parameter {name=\"w\", type=f32[2,2], init=normal, scale=0.5}\n"
    "  assign %p, %p\n  return %r, %k {names=[\"loss\"]}\n}\n";

static World *make_world(void) {
    World *world = world_open(0, 1 << 12);
    if (world != NULL) EXPECT(text_parse(world, STR(program), STR("test")));
    return world;
}
static void expect_equal(World *a, World *b) {
    for (uint32_t i = 0; world_table(a, i) != NULL; i++)
        EXPECT(table_hash(world_table(a, i)) == table_hash(world_table(b, i)));
}

TEST(binary_round_trip) {
    World *world = make_world(), *again = world_open(0, 1 << 12);
    REQUIRE(world != NULL && again != NULL);
    EXPECT(check_world(world, &world->diags));
    String bytes = binary_bytes(arena, world);
    EXPECT(binary_is(bytes));
    EXPECT_EQ(binary_load_bytes(again, bytes, STR("memory"), &again->diags), STATUS_OK);
    expect_equal(world, again);
    EXPECT_EQ(again->dims.epoch, 1);
    EXPECT_STR(text_print(arena, again, (TextOptions){0}).data,
               text_print(arena, world, (TextOptions){0}).data);
    /* interning goes on where it stopped */
    EXPECT(strings_find(&again->strings, STR("loss")).row ==
           strings_find(&world->strings, STR("loss")).row);
    EXPECT(text_parse(again, STR("graph h(%x: f32[B]) { return %x }"), STR("more")));
    world_close(world);
    world_close(again);
}

TEST(binary_file_round_trip) {
    const char *path = "/tmp/stoa_test_text_binary.stoa";
    World      *world = make_world(), *again = world_open(0, 1 << 12);
    REQUIRE(world != NULL && again != NULL);
    EXPECT_EQ(binary_save(world, path, &world->diags), STATUS_OK);
    EXPECT_EQ(binary_load(again, path, &again->diags), STATUS_OK);
    expect_equal(world, again);
    EXPECT_EQ(os_remove(path), 0);
    world_close(again);
    again = world_open(0, 1 << 12);
    EXPECT_EQ(binary_load(again, path, &again->diags), STATUS_IO);
    EXPECT_EQ(again->diags.rows.kind[1], DIAG_WORLD_FILE);
    EXPECT_EQ(binary_save(world, "/no/such/folder/x", &world->diags), STATUS_IO);
    world_close(world);
    world_close(again);
}

/* Loads bytes into a fresh world; what is accepted must pass the check and print. */
static Status try_bytes(Arena *arena, String bytes) {
    World    *world = world_open(0, 1 << 12);
    ArenaMark mark = arena_mark(arena);
    Status    status = binary_load_bytes(world, bytes, STR("memory"), &world->diags);
    if (status == STATUS_OK) {
        EXPECT(check_world(world, &world->diags));
        EXPECT(text_print(arena, world, (TextOptions){.types = true}).count > 0);
    } else {
        EXPECT(world->diags.errors > 0);
        EXPECT(text_diags(arena, world, &world->diags).count > 0);
    }
    arena_release(arena, mark);
    world_close(world);
    return status;
}

/* Every byte in turn is flipped in test_text_flip_slow.c. */
TEST(binary_refuses_flipped_bytes) {
    World *world = make_world();
    REQUIRE(world != NULL);
    String   bytes = binary_bytes(arena, world);
    uint8_t *copy = arena_push(arena, bytes.count, 64);
    uint32_t accepted = 0, tried = 0;
    for (size_t i = 0; i < bytes.count; i += 37, tried++) {
        memcpy(copy, bytes.data, bytes.count);
        copy[i] ^= 0x41;
        accepted += try_bytes(arena, (String){(char *)copy, bytes.count}) == STATUS_OK;
    }
    EXPECT(accepted < tried / 2); /* only padding may change */
    world_close(world);
}

TEST(binary_refuses_cut_files) {
    World *world = make_world();
    REQUIRE(world != NULL);
    String bytes = binary_bytes(arena, world);
    for (size_t count = 0; count < bytes.count; count += 61)
        EXPECT(try_bytes(arena, (String){bytes.data, count}) != STATUS_OK);
    EXPECT_EQ(try_bytes(arena, bytes), STATUS_OK);
    world_close(world);
}

/* Damage that comes with right checksums: a value in a column of a good world is replaced and the
 * world saved again. The check must see it, or the world must still print. */
TEST(binary_survives_hostile_columns) {
    World *world = make_world();
    REQUIRE(world != NULL);
    static const uint32_t values[] = {1, 2, 7, 255, 65535, 0x7FFFFFFF, 0x80000001, UINT32_MAX};
    uint32_t              refused = 0;
    for (uint32_t t = 0; world_table(world, t) != NULL; t++) {
        const Table *table = world_table(world, t);
        for (uint32_t k = 0; k < table->info->columns_count; k++) {
            uint8_t *data = table_column(table, k);
            uint32_t width = table->info->columns[k].width;
            for (uint32_t i = 0; i < LENGTH(values); i++) {
                uint8_t  before[16];
                uint8_t *at = data + (size_t)(table->count - 1 - i % table->count) * width;
                memcpy(before, at, width);
                memset(at, 0, width);
                memcpy(at, &values[i], width < 4 ? width : 4);
                ArenaMark mark = arena_mark(arena);
                refused += try_bytes(arena, binary_bytes(arena, world)) != STATUS_OK;
                arena_release(arena, mark);
                memcpy(at, before, width);
            }
        }
    }
    EXPECT(refused > 100);
    EXPECT_EQ(try_bytes(arena, binary_bytes(arena, world)), STATUS_OK);
    world_close(world);
}

TEST(binary_names_its_version) {
    World *world = make_world();
    REQUIRE(world != NULL);
    String   bytes = binary_bytes(arena, world);
    uint8_t *copy = arena_push(arena, bytes.count, 64);
    memcpy(copy, bytes.data, bytes.count);
    copy[8] = 9; /* the version */
    World *again = world_open(0, 1 << 12);
    EXPECT_EQ(
        binary_load_bytes(again, (String){(char *)copy, bytes.count}, STR("m"), &again->diags),
        STATUS_UNSUPPORTED);
    EXPECT_EQ(again->diags.rows.kind[1], DIAG_WORLD_VERSION);
    world_close(again);
    again = world_open(0, 1 << 12);
    copy[0] = 0;
    EXPECT_EQ(
        binary_load_bytes(again, (String){(char *)copy, bytes.count}, STR("m"), &again->diags),
        STATUS_CORRUPT);
    EXPECT_EQ(again->diags.rows.kind[1], DIAG_WORLD_DAMAGED);
    world_close(again);
    world->code.ops.opcode[1] = 9999;
    EXPECT(!check_world(world, &world->diags));
    EXPECT_EQ(world->diags.rows.kind[1], DIAG_WORLD_INVALID);
    world_close(world);
}
