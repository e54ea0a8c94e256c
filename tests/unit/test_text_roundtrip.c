/* Printing and parsing are inverse: parsing a printed program gives a program that prints the same,
 * and for a text that the printer wrote, the same rows. */
#include "arena/os.h"
#include "harness.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"

static const char *const corpus[] = {
    "graph a(%x: f32[2,3]) { return %x }",
    "dim B range=1..64 multiple=4 rest=2 hint=8\ndim T range=..100\n"
    "graph sizes(%x: f32[2*B*T-T+1,floordiv(B+T,3)], %y: i64[ceildiv(T,8),mod(B,5)],\n"
    "            %z: f32[max(T,B*B),min(3*T,B)]) { return %x, %y, %z }",
    "dim N = B*T\ngraph same(%x: f32[B,T], %y: f32[N]) {\n"
    "  %r = reshape %x {shape=[N]}\n  %s = add %r, %y\n  return %s }",
    "graph names(%x: f32, %\"odd \\\"name\\\"\": f32, %add: f32, %5: f32) {\n"
    "  %add.1 = add %x, %5\n  %add.3 = add %x, %x\n  %y = add %add, %\"odd \\\"name\\\"\"\n"
    "  %neg = neg %y\n  %neg.1 = neg %neg\n"
    "  return %add.1, %add.3 {names=[\"a\", \"b c\"]} }",
    "graph consts() {\n"
    "  %a = constant {value=f32[2,2] [1, -0, 1e-45, nan]}\n"
    "  %b = constant {value=f64[3] [inf, -inf, 0.1]}\n"
    "  %c = constant {value=i64[2] [-9223372036854775808, 9223372036854775807]}\n"
    "  %d = constant {value=bool[2] [true, false]}\n  %e = constant {value=f16[2] [65504, 6e-8]}\n"
    "  %f = constant {value=bf16 3.140625}\n  %g = constant {value=c64 0x0000803f00000040}\n"
    "  %h = constant {value=f32[0] []}\n  %i = constant {value=u8[3] [0, 128, 255]}\n"
    "  %j = constant {value=f32 0x0100c07f}\n"
    "  return %a, %b, %c, %d, %e, %f, %g, %h, %i, %j }",
    "graph control(%c: bool, %x: f32[4]) {\n"
    "  %y = if %c { %n = neg %x return %n } { %z = if %c { return %x } { %n = exp %x return %n }\n"
    "    return %z }\n"
    "  %w = while %y : f32[4] (%a: f32[4]) { %t = constant {value=bool true} return %t }\n"
    "    (%a: f32[4]) { %n = neg %a return %n }\n"
    "  %s = scan %w {carries=1} : f32[4] (%i: i64, %a: f32[4]) { return %a }\n  return %s }",
    "graph first(%x: f32) { return %x }\n"
    "graph \"second one\"(%x: f32) { %y = call %x {graph=\"first\"} : f32 return %y }",
};

/* A world with the program, or NULL after an expectation failed. */
static World *parsed(Arena *arena, String source) {
    World *world = world_open(0, 1 << 16);
    if (!EXPECT(world != NULL)) return NULL;
    if (EXPECT(text_parse(world, source, STR("test")))) return world;
    String diags = text_diags_in(arena, world, &world->diags, source);
    EXPECT_STR(diags.data, "");
    world_close(world);
    return NULL;
}

TEST(text_prints_what_it_parses) {
    for (size_t i = 0; i < LENGTH(corpus); i++) {
        for (int types = 0; types < 2; types++) {
            TextOptions options = {.types = types != 0};
            World      *world = parsed(arena, str_of(corpus[i]));
            REQUIRE(world != NULL);
            String first = text_print(arena, world, options);
            world_close(world);
            world = parsed(arena, first);
            REQUIRE(world != NULL);
            String second = text_print(arena, world, options);
            world_close(world);
            EXPECT_STR(second.data, first.data);
        }
    }
}

/* Places and the order in which things were interned differ between a text and its printed form, so
 * the rows are compared between two generations of printed text. */
TEST(text_parses_to_equal_rows) {
    for (size_t i = 0; i < LENGTH(corpus); i++) {
        World *first = parsed(arena, str_of(corpus[i]));
        REQUIRE(first != NULL);
        World *a = parsed(arena, text_print(arena, first, (TextOptions){0}));
        REQUIRE(a != NULL);
        World *b = parsed(arena, text_print(arena, a, (TextOptions){0}));
        REQUIRE(b != NULL);
        for (uint32_t k = 0; world_table(a, k) != NULL; k++)
            EXPECT(table_hash(world_table(a, k)) == table_hash(world_table(b, k)));
        world_close(first);
        world_close(a);
        world_close(b);
    }
}

TEST(text_prints_one_graph) {
    World *world = parsed(arena, str_of(corpus[6]));
    REQUIRE(world != NULL);
    GraphId graph = code_find_graph(&world->code, strings_find(&world->strings, STR("first")));
    String  text = text_print(arena, world, (TextOptions){.graph = graph, .bare = true});
    EXPECT_STR(text.data, "graph first(%x: f32) {\n  return %x\n}\n");
    world_close(world);
}

/* Unnamed rows, as systems make them, get the names of their operators. */
TEST(text_makes_up_names) {
    World *world = parsed(arena, STR("graph g(%x: f32, %neg.1: f32) { return %x }"));
    REQUIRE(world != NULL);
    Code   *code = &world->code;
    BlockId block = code->graphs.block[1];
    ValueId x = code->blocks.args_first[block.row];
    AttrsId names = code->ops.attrs[1];
    code->ops.table.count--; /* takes the return away */
    for (int i = 0; i < 3; i++) {
        OpId op = code_add_op(code, block, OP_NEG, &x, 1, 1, (AttrsId){0}, (LocId){0});
        x = op_result(code, op, 0);
        code->values.type[x.row] = code->values.type[code->blocks.args_first[block.row].row];
    }
    (void)code_add_op(code, block, OP_RETURN, &x, 1, 0, names, (LocId){0});
    code->blocks.op_last[block.row] = code->ops.table.count;
    String text = text_print(arena, world, (TextOptions){.bare = true});
    EXPECT_STR(text.data, "graph g(%x: f32, %neg.1: f32) {\n  %neg = neg %x\n"
                          "  %neg.2 = neg %neg\n  %neg.3 = neg %neg.2\n  return %neg.3\n}\n");
    EXPECT_STR(text_value(arena, world, x).data, "%neg.3");
    world_close(world);
}

/* A million rows would show quadratic behaviour; ten thousand do as well. */
TEST(text_is_linear) {
    Text text = text_begin(arena);
    text_add(&text, STR("graph g(%x: f32[8]) {\n  %v0 = neg %x\n"));
    for (int i = 1; i < 10000; i++) text_addf(&text, "  %%v%d = add %%v%d, %%x\n", i, i - 1);
    text_add(&text, STR("  return %v9999\n}\n"));
    String source = text_done(&text);
    World *world = parsed(arena, source);
    REQUIRE(world != NULL);
    EXPECT_EQ(world->code.ops.table.count, 10002);
    String printed = text_print(arena, world, (TextOptions){.bare = true});
    EXPECT(str_same(printed, source));
    world_close(world);
}

/* Parses with so little memory that some push is refused, or not. */
static void parse_with(size_t bytes_max) {
    World     *world = world_open(bytes_max, 1 << 14);
    ArenaGuard guard;
    if (world == NULL) return;
    if (ARENA_GUARD(&guard)) {
        (void)text_parse(world, str_of(corpus[5]), STR("test"));
        arena_guard_end(&guard);
    }
    world_close(world);
}
TEST(text_survives_running_out) {
    for (size_t limit = 1 << 17; limit < (1 << 20); limit += 8192) parse_with(limit);
    EXPECT(true);
}

/* What a text can nest or repeat without end is limited, and the limit is a diagnostic. */
static bool reports(Arena *arena, String source, DiagKind kind) {
    World *world = world_open(0, 1 << 14);
    bool   found = false;
    if (world == NULL || text_parse(world, source, STR("test"))) return false;
    for (uint32_t row = 1; row < world->diags.rows.table.count; row++)
        found |= world->diags.rows.kind[row] == kind;
    (void)text_diags_in(arena, world, &world->diags, source);
    (void)text_print(arena, world, (TextOptions){.types = true});
    world_close(world);
    return found;
}
static String repeated(Arena *arena, const char *before, const char *each, int times,
                       const char *after) {
    Text text = text_begin(arena);
    text_add(&text, str_of(before));
    for (int i = 0; i < times; i++) text_add(&text, str_of(each));
    text_add(&text, str_of(after));
    return text_done(&text);
}
TEST(text_limits_nesting) {
    String blocks = repeated(arena, "graph g(%c: bool) { ", "%x = if %c { ", 100, "");
    String sizes = repeated(arena, "graph g(%c: f32[", "(", 100000, "B");
    String minus = repeated(arena, "graph g(%c: f32[", "-", 100000, "B");
    String calls = repeated(arena, "graph g(%c: f32[", "max(B,", 100000, "B");
    EXPECT(reports(arena, blocks, DIAG_TEXT_LIMIT));
    EXPECT(reports(arena, sizes, DIAG_TEXT_LIMIT));
    EXPECT(reports(arena, minus, DIAG_TEXT_LIMIT));
    EXPECT(reports(arena, calls, DIAG_TEXT_LIMIT));
}
TEST(text_limits_lists_and_errors) {
    String list = repeated(arena, "graph g(%c: f32) { %x = reduce %c {axes=[", "0, ", 65, "] } }");
    String operands = repeated(arena, "graph g(%c: f32) { return ", "%c, ", 70000, "%c }");
    String errors = repeated(arena, "graph g(%c: f32) {\n", "  %y = nothing %c\n", 1000, "}");
    EXPECT(reports(arena, list, DIAG_TEXT_LIMIT));
    EXPECT(reports(arena, operands, DIAG_TEXT_LIMIT));
    World *world = world_open(0, 1 << 12);
    REQUIRE(world != NULL);
    EXPECT(!text_parse(world, errors, STR("test")));
    EXPECT_EQ(world->diags.errors, 100);
    world_close(world);
}
/* Attributes are recognised by their text, but facts change what a size means. */
TEST(text_reads_sizes_anew_after_facts) {
    World *world = parsed(arena, STR("graph a(%x: f32) {\n"
                                     "  %y = broadcast_in_dim %x {shape=[max(N,1)]}\n"
                                     "  %z = broadcast_in_dim %x {shape=[max(N,1)]}\n"
                                     "  return %y, %z }\n"
                                     "dim N range=1..\n"
                                     "graph b(%x: f32) {\n"
                                     "  %y = broadcast_in_dim %x {shape=[max(N,1)]}\n"
                                     "  return %y }\n"));
    REQUIRE(world != NULL);
    const Code *code = &world->code;
    EXPECT(attrs_id_same(code->ops.attrs[1], code->ops.attrs[2]));
    EXPECT(!attrs_id_same(code->ops.attrs[1], code->ops.attrs[4]));
    ListId shape = {(uint32_t)op_attrs(world, code, (OpId){4})[ATTR_BROADCAST_IN_DIM_shape]};
    EXPECT_EQ(world->dims.rows.kind[list_numbers(&world->attrs, shape)[0]], DIM_SYMBOL);
    world_close(world);
}
