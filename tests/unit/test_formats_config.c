/* Configuration: values and sections, every kind of wrong line at its exact place, flags that
 * override files, getters that refuse values, and suggestions for unknown keys. One table row per
 * wrong line: the text, where the error must point, and what it must say. */
#include "harness.h"

#include <math.h>

#include "formats/config.h"
#include "formats_helpers.h"

static const char sample[] = "# a run\n"
                             "name = \"nano \\\"x\\\" \\u00e9\"\r\n"
                             "path = 'C:\\raw'   # comment\n"
                             "seed=1_000\n"
                             "\n"
                             "[train]\n"
                             "rate = -3.5e-4\n"
                             "steps = +20\n"
                             "shuffle = true\n"
                             "sizes = [1, 2,   # over lines\n"
                             "         3,\n"
                             "        ]\n"
                             "[ data.text ]\n"
                             "files = ['a', \"b\"]\n"
                             "a.b-c = false";

TEST(config_reads_values) {
    Diags diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    REQUIRE(config_parse(&config, STR(sample), "run.toml", &diags) == STATUS_OK);
    EXPECT_STR(str_copy(arena, config_str(&config, STR("name"), STR(""), &diags)).data,
               "nano \"x\" \xC3\xA9");
    EXPECT(str_same(config_str(&config, STR("path"), STR(""), &diags), STR("C:\\raw")));
    EXPECT_EQ(config_i64(&config, STR("seed"), 0, 5000, 0, &diags), 1000);
    EXPECT(config_f64(&config, STR("train.rate"), -1, 1, 0, &diags) == -3.5e-4);
    EXPECT(config_f64(&config, STR("train.steps"), 0, 100, 0, &diags) == 20);
    EXPECT(config_bool(&config, STR("train.shuffle"), false, &diags));
    EXPECT(!config_bool(&config, STR("data.text.a.b-c"), true, &diags));
    Span sizes = config_list(&config, STR("train.sizes"));
    REQUIRE(sizes.count == 3);
    for (uint32_t i = 0; i < 3; i++) EXPECT_EQ(config.integer[sizes.first + i], i + 1);
    EXPECT_EQ(config.line[sizes.first + 2], 11);
    EXPECT_EQ(config.column[sizes.first + 2], 10);
    Span files = config_list(&config, STR("data.text.files"));
    REQUIRE(files.count == 2);
    EXPECT(str_same(config.text[files.first + 1], STR("b")));
    EXPECT_EQ(config_list(&config, STR("seed")).count, 1);
    EXPECT_EQ(config_list(&config, STR("none")).count, 0);
    EXPECT_EQ(config_i64(&config, STR("none"), 0, 1, 42, &diags), 42);
    EXPECT(!config_id_some(config_find(&config, STR("train"))));
    EXPECT_EQ(config_check_unused(&config, NULL, 0, &diags), STATUS_OK);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
}

TEST(config_says_where_a_line_is_wrong) {
    static const struct {
        const char *text;
        uint32_t    line, column;
        const char *what;
    } rows[] = {
        {"a", 1, 2, "expected '=' after the key"},
        {"\n = 1", 2, 2, "expected a key"},
        {"a. = 1", 1, 3, "expected a key"},
        {"a =", 1, 4, NULL},
        {"a = # none", 1, 5, NULL},
        {"a = yes", 1, 5, NULL},
        {"a = 1 2", 1, 7, "text after the value"},
        {"a = 1__0", 1, 5, NULL},
        {"a = _1", 1, 5, NULL},
        {"a = 1_", 1, 5, NULL},
        {"a = 0x10", 1, 5, NULL},
        {"a = nan", 1, 5, NULL},
        {"a = 1e999", 1, 5, NULL},
        {"a = --1", 1, 5, NULL},
        {"a = 9223372036854775808", 1, 5, NULL},
        {"a = \"x", 1, 7, "the string has no closing quote"},
        {"a = \"x\ny = 1", 1, 7, "the string has no closing quote"},
        {"a = \"\\q\"", 1, 7, "unknown escape in a string"},
        {"a = \"\\u12\"", 1, 10, "a \\u escape needs four hexadecimal digits"},
        {"a = \"\\ud800\"", 1, 12, "a \\u escape is no surrogate"},
        {"a = \"\\", 1, 7, "the string has no closing quote"},
        {"a = \"\\\n", 1, 7, "the string has no closing quote"},
        {"a = \"\xff\"", 1, 6, "invalid UTF-8 in a string"},
        {"a = \"\\\xff\"", 1, 7, "invalid UTF-8 in a string"},
        {"a = \"\x01\"", 1, 6, "control character in a string"},
        {"a = [1", 1, 7, "the list has no closing ']'"},
        {"a = [1 2]", 1, 8, "expected ',' or ']'"},
        {"a = [[1]]", 1, 6, "a list cannot hold lists"},
        {"a = [,]", 1, 6, NULL},
        {"[a", 1, 3, "expected ']' after the name of the section"},
        {"[]", 1, 2, "expected a key"},
        {"[[a]]", 1, 2, "arrays of tables are not supported"},
        {"[a] x", 1, 5, "text after the value"},
        {"a = 1\nb = 2\na = 3", 3, 5, "key 'a' stands twice"},
        {"[s]\na = 1\n[t]\n[s]\na = 3", 5, 5, "key 's.a' stands twice"},
    };
    Diags diags;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        diags_clear(&diags);
        Config config = config_open(arena);
        EXPECT_EQ(config_parse(&config, str_of(rows[i].text), "x.toml", &diags), STATUS_INVALID);
        bool good = EXPECT(diags_of(&diags, DIAG_CONFIG_SYNTAX) >= 1);
        good = good && EXPECT_EQ(diags.rows.line[1], rows[i].line) &&
               EXPECT_EQ(diags.rows.column[1], rows[i].column) &&
               EXPECT(str_same(diags_str_get(&diags, diags.rows.file[1]), STR("x.toml")));
        if (good && rows[i].what)
            good =
                EXPECT(str_same(diags_str_get(&diags, diags.rows.arg0[1]), str_of(rows[i].what)));
        if (!good) printf("  in %s", rows[i].text);
    }
    EXPECT_EQ(config_parse(&(Config){0}, (String){sample, CONFIG_BYTES_MAX + 1}, "x", &diags),
              STATUS_UNSUPPORTED);
    diags_close(&diags);
}

TEST(config_reads_on_after_a_wrong_line) {
    Diags diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    Status status =
        config_parse(&config, STR("a = ?\nb = [1, ?]\nc = 3\nd\ne = [4]\n"), "x", &diags);
    EXPECT_EQ(status, STATUS_INVALID);
    EXPECT_EQ(diags_of(&diags, DIAG_CONFIG_SYNTAX), 3);
    EXPECT(!config_id_some(config_find(&config, STR("b"))));
    EXPECT_EQ(config_i64(&config, STR("c"), 0, 9, 0, &diags), 3);
    Span items = config_list(&config, STR("e"));
    EXPECT(items.count == 1 && config.integer[items.first] == 4);
    diags_close(&diags);
}

TEST(config_flags_override_files) {
    static const char *const args[] = {"train",     "--train.steps",
                                       "7",         "--train.rate=0.5",
                                       "--name=12", "--dry-run",
                                       "model.ir",  "--list=[1, 2]",
                                       "--low",     "-3",
                                       "--text",    "a b#c",
                                       "--quoted",  "'x'",
                                       "--flag",    "--",
                                       "--rest"};
    String                   switches[] = {STR("dry_run")}, rest[LENGTH(args)];
    size_t                   rest_count;
    Diags                    diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    REQUIRE(config_parse(&config, STR("[train]\nsteps = 3\n"), "x", &diags) == STATUS_OK);
    EXPECT_EQ(
        config_parse_args(&config, args, LENGTH(args), switches, 1, &diags, rest, &rest_count),
        STATUS_OK);
    REQUIRE(rest_count == 3);
    EXPECT(str_same(rest[0], STR("train")) && str_same(rest[1], STR("model.ir")) &&
           str_same(rest[2], STR("--rest")));
    EXPECT_EQ(config_i64(&config, STR("train.steps"), 0, 9, 0, &diags), 7);
    EXPECT(config_f64(&config, STR("train.rate"), 0, 1, 0, &diags) == 0.5);
    EXPECT(str_same(config_str(&config, STR("name"), STR(""), &diags), STR("12")));
    EXPECT(config_bool(&config, STR("dry_run"), false, &diags));
    EXPECT_EQ(config_list(&config, STR("list")).count, 2);
    EXPECT_EQ(config_i64(&config, STR("low"), -9, 9, 0, &diags), -3);
    EXPECT(str_same(config_str(&config, STR("text"), STR(""), &diags), STR("a b#c")));
    EXPECT(str_same(config_str(&config, STR("quoted"), STR(""), &diags), STR("x")));
    EXPECT(config_bool(&config, STR("flag"), false, &diags));
    EXPECT_EQ(config_check_unused(&config, NULL, 0, &diags), STATUS_OK);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
}

TEST(config_flags_can_be_wrong) {
    static const char *const args[] = {"--=1", "--a b", "--x=[1", "--y='z' z", "--.a", "--a."};
    String                   rest[LENGTH(args)];
    size_t                   rest_count;
    Diags                    diags;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(args); i++) {
        diags_clear(&diags);
        Config config = config_open(arena);
        EXPECT_EQ(config_parse_args(&config, &args[i], 1, NULL, 0, &diags, rest, &rest_count),
                  STATUS_INVALID);
        EXPECT_EQ(diags_of(&diags, DIAG_CONFIG_SYNTAX), 1);
        EXPECT(str_same(diags_str_get(&diags, diags.rows.file[1]), STR("command line")));
    }
    diags_close(&diags);
}

TEST(config_getters_refuse_values) {
    static const String names[] = {{"adam", 4}, {"sgd", 3}};
    Diags               diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    String text = STR("i = 5\nf = 1.5\ns = \"adan\"\nb = true\nl = [1]\n");
    REQUIRE(config_parse(&config, text, "x.toml", &diags) == STATUS_OK);
    EXPECT_EQ(config_i64(&config, STR("i"), 6, INT64_MAX, -1, &diags), -1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_VALUE, 2), "must be at least 6");
    EXPECT_EQ(config_i64(&config, STR("i"), INT64_MIN, 4, -1, &diags), -1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_VALUE, 2), "must be at most 4");
    EXPECT_EQ(config_i64(&config, STR("i"), 1, 4, -1, &diags), -1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_VALUE, 2), "must be from 1 to 4");
    EXPECT_EQ(config_i64(&config, STR("f"), 1, 4, -1, &diags), -1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_VALUE, 1), "1.5");
    EXPECT(config_f64(&config, STR("f"), 0, 1, 9, &diags) == 9);
    EXPECT(config_f64(&config, STR("s"), 0, 1, 9, &diags) == 9);
    EXPECT(!config_bool(&config, STR("i"), false, &diags));
    EXPECT(str_same(config_str(&config, STR("b"), STR("no"), &diags), STR("no")));
    EXPECT_EQ(diags_of(&diags, DIAG_CONFIG_VALUE), 8);
    EXPECT_EQ(diags_of(&diags, DIAG_DID_YOU_MEAN), 0);
    EXPECT_EQ(config_choice(&config, STR("s"), names, 2, 1, &diags), 1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_VALUE, 2), "must be one of \"adam\", \"sgd\"");
    EXPECT_STR(diags_text(arena, &diags, DIAG_DID_YOU_MEAN, 0), "adam");
    EXPECT_EQ(config_choice(&config, STR("none"), names, 2, 1, &diags), 1);
    EXPECT_EQ(config_choice(&config, STR("l"), names, 2, 0, &diags), 0);
    uint32_t row = diags.rows.table.count - 1;
    EXPECT_EQ(diags.rows.line[row], 5);
    EXPECT_EQ(diags.rows.column[row], 5);
    diags_close(&diags);
}

TEST(config_refuses_unknown_keys) {
    static const String known[] = {{"train.steps", 11}, {"train.rate", 10}, {"seed", 4}};
    Diags               diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    String text = STR("seed = 1\nextra = 1\nzzzzzz = 2\n[train]\nstpes = [3]\nrate = 1\n");
    REQUIRE(config_parse(&config, text, "x.toml", &diags) == STATUS_OK);
    (void)config_find(&config, STR("extra")); /* asked for: used */
    EXPECT_EQ(config_check_unused(&config, known, 3, &diags), STATUS_INVALID);
    EXPECT_EQ(diags_of(&diags, DIAG_CONFIG_KEY), 2);
    EXPECT_EQ(diags_of(&diags, DIAG_DID_YOU_MEAN), 1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_KEY, 0), "train.stpes");
    EXPECT_STR(diags_text(arena, &diags, DIAG_DID_YOU_MEAN, 0), "train.steps");
    EXPECT_EQ(diags.rows.line[2], 5);
    EXPECT_EQ(diags.rows.parent[3], 2);
    diags_close(&diags);
}

TEST(config_holds_many_rows) {
    Diags diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    Text   text = text_begin(arena);
    for (int i = 0; i < CONFIG_ROWS_MAX - 1; i++) text_addf(&text, "k%d = %d\n", i, i);
    String whole = text_done(&text);
    EXPECT_EQ(config_parse(&config, whole, "x", &diags), STATUS_OK);
    EXPECT_EQ(config_i64(&config, STR("k65000"), 0, INT64_MAX, 0, &diags), 65000);
    EXPECT_EQ(config_parse(&config, STR("one = 1\n"), "y", &diags), STATUS_INVALID);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CONFIG_SYNTAX, 0), "too many values");
    diags_close(&diags);
}

TEST(config_reads_files) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "run.toml");
    Diags       diags;
    diags_open(&diags, NULL);
    Config config = config_open(arena);
    REQUIRE(file_put(path, sample, sizeof sample - 1));
    EXPECT_EQ(config_read_file(&config, path, &diags), STATUS_OK);
    EXPECT_EQ(config_i64(&config, STR("seed"), 0, 5000, 0, &diags), 1000);
    EXPECT_EQ(config_read_file(&config, path_in(arena, dir, "none"), &diags), STATUS_IO);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_ERROR), 1);
    diags_close(&diags);
    temp_remove(arena, dir);
}
