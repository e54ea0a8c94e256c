/* The public interface refuses what is wrong, and says so: each mistake leaves a status, a message
 * with its code, and everything else usable. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"
#include "tables/diags.h"

/* The message must carry the code of the kind. */
#define EXPECT_CODE(context, kind)                                                                 \
    EXPECT(strstr(stoa_message(context), diag_infos[kind].code) != NULL)

static StoaContext *open_context(void) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaContext       *context = NULL;
    options.lanes = 1;
    EXPECT(stoa_context_create(&options, &context) == STOA_OK);
    return context;
}
static StoaProgram *open_program(StoaContext *context) {
    StoaProgram *program = NULL;
    EXPECT(stoa_program_create(context, &program) == STOA_OK);
    return program;
}
static StoaStatus parse(StoaContext *context, const char *text, StoaProgram **program) {
    return stoa_program_parse(context, text, strlen(text), "test", program);
}
/* Compiling this text must fail with the code of the kind. */
static void expect_compile_fails(const char *text, DiagKind kind) {
    StoaContext *context = open_context();
    StoaProgram *program = NULL;
    StoaSession *session = NULL;
    REQUIRE(parse(context, text, &program) == STOA_OK);
    EXPECT(stoa_compile(program, NULL, &session) != STOA_OK);
    EXPECT_CODE(context, kind);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

TEST(builders_outside_a_graph_are_refused) {
    (void)arena;
    StoaContext *context = open_context();
    StoaProgram *program = open_program(context);
    EXPECT_EQ(stoa_scalar(program, STOA_F32, 1).id, 0);
    EXPECT(stoa_program_check(program) == STOA_INVALID);
    EXPECT_CODE(context, DIAG_API_MISUSE);
    EXPECT(stoa_program_check(program) == STOA_OK); /* reported once */
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

TEST(inputs_come_before_operators) {
    (void)arena;
    StoaContext *context = open_context();
    StoaProgram *program = open_program(context);
    stoa_graph_begin(program, "f");
    StoaValue one = stoa_scalar(program, STOA_F32, 1);
    EXPECT_EQ(stoa_input(program, "x", STOA_F32, NULL, 0).id, 0);
    EXPECT(one.id != 0);
    EXPECT(stoa_program_check(program) == STOA_INVALID);
    EXPECT_CODE(context, DIAG_API_MISUSE);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

/* --- print ------------------------------------------------------------------------------------ */
typedef struct Heard {
    char     text[1024];
    uint32_t notes;
} Heard;
static void hear(void *user, StoaLogLevel level, const char *text) {
    Heard *heard = user;
    size_t at = strlen(heard->text);
    heard->notes += level == STOA_LOG_INFO;
    (void)snprintf(heard->text + at, sizeof heard->text - at, "%s\n", text);
}
/* A loop that says something in each of its steps, run with compiled kernels and several lanes. */
TEST(print_goes_to_the_log_in_order) {
    (void)arena;
    Heard              heard = {{0}, 0};
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaContext       *context = NULL;
    StoaSession       *session = NULL;
    options.lanes = 2;
    options.log = hear;
    options.user = &heard;
    REQUIRE(stoa_context_create(&options, &context) == STOA_OK);
    StoaProgram *program = open_program(context);
    stoa_graph_begin(program, "f");
    StoaDim           size[] = {stoa_dim(program, 2)};
    StoaValue         x = stoa_input(program, "x", STOA_F32, size, 1);
    StoaRegionOptions loop = STOA_REGION_OPTIONS;
    loop.carries = 1;
    loop.length = stoa_dim(program, 3);
    stoa_region_begin(program, STOA_SCAN, &x, 1, &loop);
    StoaValue a = stoa_region_arg(program, 1), next = stoa_add(program, a, a), z;
    StoaValue said[2] = {stoa_region_arg(program, 0), next};
    stoa_print(program, said, 2, "step {}: {}", 0);
    stoa_yield(program, &next, 1);
    stoa_region_end(program, &z, 1);
    stoa_print(program, &z, 1, "", 1);
    stoa_output(program, "z", z);
    stoa_graph_end(program);
    REQUIRE(stoa_compile(program, NULL, &session) == STOA_OK);
    float      numbers[2] = {1, 0.5f}, result[2];
    StoaTensor in = {STOA_F32, 1, {2}, numbers}, y = {STOA_F32, 1, {2}, result};
    heard.text[0] = 0;
    heard.notes = 0;
    for (int i = 0; i < 2; i++) EXPECT(stoa_run(session, "f", &in, 1, &y, 1, NULL) == STOA_OK);
    static const char lines[] = "step 0: f32[2] [2, 1]\nstep 1: f32[2] [4, 2]\n"
                                "step 2: f32[2] [8, 4]\nf32[2] [8, ...]\n";
    EXPECT_EQ(heard.notes, 8);
    EXPECT(strncmp(heard.text, lines, strlen(lines)) == 0);
    EXPECT(strcmp(heard.text + strlen(lines), lines) == 0);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

TEST(an_unknown_graph_is_named) {
    (void)arena;
    StoaContext *context = open_context();
    StoaProgram *program = NULL;
    StoaSession *session = NULL;
    REQUIRE(parse(context, "graph f(%x: f32) {\n  return %x\n}\n", &program) == STOA_OK);
    REQUIRE(stoa_compile(program, NULL, &session) == STOA_OK);
    EXPECT(stoa_run(session, "g", NULL, 0, NULL, 0, NULL) == STOA_NOT_FOUND);
    EXPECT_CODE(context, DIAG_NO_GRAPH);
    EXPECT(strstr(stoa_message(context), "'g'") != NULL);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

TEST(parameters_need_constant_sizes) {
    (void)arena;
    expect_compile_fails("graph f(%x: f32[B]) {\n  %p = parameter {name=\"p\", type=f32[B]}\n"
                         "  %y = add %x, %p\n  return %y\n}\n",
                         DIAG_STATE_SIZE);
}
TEST(graphs_share_parameters_of_one_type) {
    (void)arena;
    expect_compile_fails(
        "graph f() {\n  %p = parameter {name=\"p\", type=f32[2]}\n  return %p\n}\n"
        "graph g() {\n  %p = parameter {name=\"p\", type=f32[3]}\n  return %p\n}\n",
        DIAG_STATE_DIFFERS);
}
TEST(a_gradient_through_an_undifferentiable_row_is_refused) {
    (void)arena;
    expect_compile_fails("graph f(%x: f32[4], %y: f32[4]) {\n  %c = igamma %x, %y\n"
                         "  %s = reduce %c {kind=sum, axes=[0]}\n"
                         "  %g = gradient %s, %x\n  return %g\n}\n",
                         DIAG_NOT_DIFFERENTIABLE);
}
TEST(a_gradient_through_a_reshape_to_run_time_sizes_is_refused) {
    (void)arena;
    expect_compile_fails("graph f(%x: f32[4], %n: i64[1]) {\n"
                         "  %r = dynamic_reshape %x, %n {dims=[M]}\n"
                         "  %s = reduce %r {kind=sum, axes=[0]}\n"
                         "  %g = gradient %s, %x\n  return %g\n}\n",
                         DIAG_NOT_TRANSPOSABLE);
}
TEST(a_composite_of_the_highest_rank_compiles) {
    (void)arena;
    StoaContext       *context = open_context();
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.interpreter = true; /* expands all composites */
    REQUIRE(parse(context,
                  "graph f(%x: f32[1,1,1,1,1,1,1,4], %l: i32[1,1,1,1,1,1,1]) {\n"
                  "  %y = cross_entropy %x, %l\n  return %y\n}\n",
                  &program) == STOA_OK);
    EXPECT_EQ(stoa_compile(program, &options, &session), STOA_OK);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
TEST(a_memory_limit_is_named) {
    (void)arena;
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    options.memory_max = 1024;
    REQUIRE(stoa_context_create(&options, &context) == STOA_OK);
    REQUIRE(parse(context,
                  "graph f() {\n  %p = parameter {name=\"p\", type=f32[1024]}\n  return %p\n}\n",
                  &program) == STOA_OK);
    EXPECT(stoa_compile(program, NULL, &session) == STOA_OUT_OF_MEMORY);
    EXPECT_CODE(context, DIAG_ARENA_FULL);
    EXPECT(strstr(stoa_message(context), "tensor storage") != NULL);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
TEST(operators_without_a_kernel_are_named) {
    (void)arena;
    StoaContext *context = open_context();
    StoaProgram *program = NULL;
    StoaSession *session = NULL;
    float        data[4] = {1, 0, 0, 1};
    StoaTensor   input = {STOA_F32, 2, {2, 2}, data};
    REQUIRE(parse(context, "graph f(%x: f32[2,2]) {\n  %q, %r = qr %x\n  return %q\n}\n",
                  &program) == STOA_OK);
    REQUIRE(stoa_compile(program, NULL, &session) == STOA_OK);
    EXPECT(stoa_run(session, "f", &input, 1, NULL, 0, NULL) != STOA_OK);
    EXPECT_CODE(context, DIAG_CPU_NO_KERNEL);
    EXPECT(strstr(stoa_message(context), "qr") != NULL);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

TEST(weights_of_another_model_are_refused) {
    StoaContext *context = open_context();
    StoaProgram *program = NULL, *other = NULL;
    StoaSession *session = NULL, *other_session = NULL;
    String       path = str_format(arena, "/tmp/stoa-weights-%p.safetensors", (void *)arena);
    REQUIRE(
        parse(
            context,
            "graph f() {\n  %p = parameter {name=\"p\", type=f32[2], init=ones}\n  return %p\n}\n",
            &program) == STOA_OK);
    REQUIRE(parse(context,
                  "graph f() {\n  %p = parameter {name=\"p\", type=f32[3]}\n  return %p\n}\n",
                  &other) == STOA_OK);
    REQUIRE(stoa_compile(program, NULL, &session) == STOA_OK);
    REQUIRE(stoa_compile(other, NULL, &other_session) == STOA_OK);
    EXPECT(stoa_weights_save(session, path.data) == STOA_OK);
    EXPECT(stoa_weights_load(other_session, path.data, false) == STOA_INVALID);
    EXPECT_CODE(context, DIAG_WEIGHTS_MISMATCH);
    EXPECT(stoa_weights_load(session, path.data, false) == STOA_OK);
    EXPECT(remove(path.data) == 0);
    stoa_session_destroy(session);
    stoa_session_destroy(other_session);
    stoa_program_destroy(program);
    stoa_program_destroy(other);
    stoa_context_destroy(context);
}

/* The interpreter and the fast path are two answers to one question. */
TEST(interpreter_and_fast_path_agree) {
    (void)arena;
    static const char text[] =
        "graph f(%x: f32[B,3]) {\n"
        "  %p = parameter {name=\"p\", type=f32[3,3], init=normal, scale=0.5}\n"
        "  %y = matmul %x, %p\n  %t = tanh %y\n  %s = softmax %t {axis=1}\n"
        "  %r = reduce %s {kind=max, axes=[1]}\n  return %s, %r\n}\n";
    StoaContext *context = open_context();
    StoaProgram *program = NULL;
    float        data[6] = {1, -2, 3, 0.5f, 0, -1}, results[2][8] = {{0}},
          *maxima[2] = {results[0] + 6, results[1] + 6};
    REQUIRE(parse(context, text, &program) == STOA_OK);
    for (int slow = 0; slow < 2; slow++) {
        StoaCompileOptions options = STOA_COMPILE_OPTIONS;
        StoaSession       *session = NULL;
        StoaTensor         input = {STOA_F32, 2, {2, 3}, data};
        StoaTensor         outputs[2] = {{.data = results[slow]}, {.data = maxima[slow]}};
        options.interpreter = slow == 1;
        options.seed = 3;
        REQUIRE(stoa_compile(program, &options, &session) == STOA_OK);
        EXPECT(stoa_run(session, "f", &input, 1, outputs, 2, NULL) == STOA_OK);
        EXPECT_EQ(outputs[0].shape[0], 2);
        EXPECT_EQ(outputs[0].shape[1], 3);
        stoa_session_destroy(session);
    }
    for (int i = 0; i < 8; i++) EXPECT(fabsf(results[0][i] - results[1][i]) <= 1e-6f);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

TEST(devices_that_are_not_there_are_refused) {
    (void)arena;
    static const char *const devices[] = {"tpu", "cuda:", "cuda:0x", "cuda:99999", "cuda:999"};
    StoaContext             *context = open_context();
    StoaProgram             *program = NULL;
    REQUIRE(parse(context, "graph f(%x: f32[B]) {\n  %y = tanh %x\n  return %y\n}\n", &program) ==
            STOA_OK);
    for (size_t i = 0; i < LENGTH(devices); i++) {
        StoaCompileOptions options = STOA_COMPILE_OPTIONS;
        StoaSession       *session = NULL;
        options.device = devices[i];
        EXPECT(stoa_compile(program, &options, &session) != STOA_OK);
        EXPECT(session == NULL);
        if (i < 4)
            EXPECT_CODE(context, DIAG_API_MISUSE);
        else /* no driver, or not as many devices */
            EXPECT(strstr(stoa_message(context), "error[GPU_") != NULL);
    }
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

/* Operands are rounded to bf16 (3 decimal digits), the rest is f32; what is no product is exact. */
TEST(products_compute_in_bf16_when_asked_to) {
    (void)arena;
    static const char text[] = "graph f(%x: f32[B,3], %w: f32[3,2]) {\n"
                               "  %y = matmul %x, %w\n  %z = add %x, %x\n  return %y, %z\n}\n";
    StoaContext      *context = open_context();
    StoaProgram      *program = NULL;
    float x[3] = {1.0009765625f, -2, 3}, w[6] = {1, 0.5f, 1, 0.25f, 1, 0.125f}, y[2], z[3];
    REQUIRE(parse(context, text, &program) == STOA_OK);
    for (int slow = 0; slow < 2; slow++) {
        StoaCompileOptions options = STOA_COMPILE_OPTIONS;
        StoaSession       *session = NULL;
        StoaTensor         inputs[2] = {{STOA_F32, 2, {1, 3}, x}, {STOA_F32, 2, {3, 2}, w}};
        StoaTensor         outputs[2] = {{.data = y}, {.data = z}};
        options.interpreter = slow == 1;
        options.compute = STOA_BF16;
        REQUIRE(stoa_compile(program, &options, &session) == STOA_OK);
        EXPECT(stoa_run(session, "f", inputs, 2, outputs, 2, NULL) == STOA_OK);
        EXPECT_EQ(outputs[0].dtype, STOA_F32);
        EXPECT(y[0] == 2 && y[1] == 0.375f); /* of 1, not of 1 + 2^-10 */
        EXPECT(z[0] == 2.001953125f);
        stoa_session_destroy(session);
        options.compute = STOA_F64;
        EXPECT(stoa_compile(program, &options, &session) != STOA_OK);
        EXPECT_CODE(context, DIAG_API_MISUSE);
    }
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

/* A loss that is never finite: the step does not count, and the policy decides what happens. */
TEST(training_on_a_loss_that_is_not_finite_fails_when_asked_to) {
    static const char text[] =
        "graph train(%tokens: i32[B,T], %targets: i32[B,T], %rate: f32, %step: f32) {\n"
        "  %p = parameter {name=\"p\", type=f32, init=ones}\n  %c = constant {value=f32 nan}\n"
        "  %loss = mul %p, %c\n  %n = is_finite %loss\n  assert %n {message=\"loss\"}\n"
        "  return %loss {names=[\"loss\"]}\n}\n";
    StoaContext     *context = open_context();
    StoaProgram     *program = NULL;
    StoaSession     *session = NULL;
    StoaData        *data = NULL;
    StoaTextOptions  options = STOA_TEXT_OPTIONS;
    StoaTrainOptions train = STOA_TRAIN_OPTIONS;
    StoaTrainResult  result;
    String           path = str_format(arena, "/tmp/stoa-text-%p.txt", (void *)arena);
    FILE            *file = fopen(path.data, "wb");
    REQUIRE(file != NULL);
    for (int i = 0; i < 100; i++) (void)fputs("some words to read, again and again. ", file);
    REQUIRE(fclose(file) == 0);
    options.path = path.data;
    options.tokenizer = "bytes";
    options.batch = 2;
    options.context = 8;
    train.steps = 5;
    train.learning_rate = 0.1;
    REQUIRE(parse(context, text, &program) == STOA_OK);
    REQUIRE(stoa_compile(program, NULL, &session) == STOA_OK);
    REQUIRE(stoa_data_text(context, &options, &data) == STOA_OK);
    EXPECT(stoa_train(session, data, &train, &result) == STOA_OK);
    EXPECT_EQ(result.skipped, 5);
    train.nonfinite = STOA_FAIL;
    EXPECT(stoa_train(session, data, &train, &result) == STOA_INVALID);
    EXPECT_CODE(context, DIAG_NOT_FINITE);
    EXPECT(remove(path.data) == 0);
    stoa_data_destroy(data);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
