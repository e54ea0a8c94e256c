/* Every byte of a small saved program, flipped: loading refuses it with a diagnostic, or gives a
 * world that passes the check (padding between columns is covered by no checksum). */
#include "harness.h"
#include "text/binary.h"
#include "text/check.h"
#include "text/parse.h"

TEST(binary_refuses_any_flipped_byte) {
    World *world = world_open(0, 1 << 12);
    REQUIRE(world != NULL);
    EXPECT(text_parse(world, STR("graph g(%x: f32[B]) { %y = neg %x return %y }"), STR("test")));
    String   bytes = binary_bytes(arena, world);
    uint8_t *copy = arena_push(arena, bytes.count, 64);
    memcpy(copy, bytes.data, bytes.count);
    uint32_t accepted = 0;
    for (size_t i = 0; i < bytes.count; i++) {
        World *again = world_open(0, 1 << 12);
        copy[i] ^= (uint8_t)(1u << i % 8);
        Status status =
            binary_load_bytes(again, (String){(char *)copy, bytes.count}, STR("m"), &again->diags);
        copy[i] = (uint8_t)bytes.data[i];
        accepted += status == STATUS_OK;
        EXPECT(status == STATUS_OK ? check_world(again, &again->diags) : again->diags.errors > 0);
        world_close(again);
    }
    EXPECT(accepted < bytes.count / 2);
    world_close(world);
}
