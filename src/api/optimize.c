/* The update of all trainable parameters of a graph, as rows: gradients, global norm, a finite
 * check that stops the step, clipping, the optimizer, and the assignments. Everything is ordinary
 * rows, so the systems fuse, plan and print it like the model itself. */
#include "api/optimize.h"

typedef struct Optimizing {
    StoaProgram                *program;
    Build                      *build;
    const StoaOptimizerOptions *options;
    ValueId                    *parameters, *gradients;
    uint32_t                    count;
    ValueId                     rate, step;
    ValueId                     good;               /* assign only where it is true; nil: always */
    ValueId                     scale, scale_steps; /* of the loss, and good steps since it grew */
} Optimizing;

static bool is_trainable(const World *world, uint32_t row, BlockId block) {
    const Code *code = &world->code;
    return code->ops.opcode[row] == OP_PARAMETER && code->ops.block[row].row == block.row &&
           op_attrs(world, code, (OpId){row})[ATTR_PARAMETER_trainable] != 0 &&
           dtype_is_float(
               type_dtype(&world->types, code->values.type[code->ops.results_first[row].row]));
}

/* State of the shape of a parameter: "<prefix><its name>", zeros. */
static ValueId state_like(Optimizing *o, ValueId parameter, const char *prefix) {
    World *world = o->program->world;
    OpId   op = value_op(&world->code, parameter);
    String name = strings_get(
        &world->strings, (StrId){(uint32_t)op_attrs(world, &world->code, op)[ATTR_PARAMETER_name]});
    Scratch  scratch = scratch_begin(NULL, 0);
    String   full = str_format(scratch.arena, "%s%.*s", prefix, STR_ARGS(name));
    uint64_t words[6] = {0};
    words[ATTR_PARAMETER_name] = strings_add(&world->strings, full).row;
    words[ATTR_PARAMETER_type] = build_type(o->build, parameter).row;
    words[ATTR_PARAMETER_scale] = word_of_f64(0);
    ValueId state = build_op(o->build, OP_PARAMETER, NULL, 0, words);
    world->code.values.name[state.row] = (StrId){(uint32_t)words[ATTR_PARAMETER_name]};
    scratch_end(scratch);
    return state;
}
static void assign_always(Optimizing *o, ValueId parameter, ValueId value) {
    ValueId operands[2] = {parameter, value};
    (void)build_row(o->build, OP_ASSIGN, operands, 2, NULL, 0);
}
static void assign(Optimizing *o, ValueId parameter, ValueId value) {
    if (value_id_some(o->good))
        value =
            build_select(o->build, build_scalar_over(o->build, o->good, value), value, parameter);
    assign_always(o, parameter, value);
}
static ValueId scalar(Optimizing *o, ValueId like, double number) {
    return build_scalar(o->build, build_dtype(o->build, like), number);
}

/* min(1, clip / (norm + 1e-6)) over every gradient. */
static void clip_gradients(Optimizing *o, ValueId norm) {
    ValueId limit = build_binary(o->build, OP_DIV, scalar(o, norm, o->options->clip),
                                 build_binary(o->build, OP_ADD, norm, scalar(o, norm, 1e-6)));
    ValueId factor = build_binary(o->build, OP_MIN, limit, scalar(o, norm, 1));
    for (uint32_t i = 0; i < o->count; i++)
        o->gradients[i] = build_binary(o->build, OP_MUL, o->gradients[i],
                                       build_scalar_over(o->build, factor, o->gradients[i]));
}

static void update(Optimizing *o, uint32_t i) {
    const StoaOptimizerOptions *options = o->options;
    ValueId                     p = o->parameters[i], g = o->gradients[i];
    uint64_t                    decay =
        word_of_f64(build_rank(o->build, p) >= options->decay_rank ? options->decay : 0);
    if (options->kind == STOA_SGD) {
        ValueId  buffer = state_like(o, p, "optimizer.momentum.");
        uint64_t words[3] = {word_of_f64(options->momentum), decay, options->nesterov};
        ValueId  operands[4] = {p, g, buffer, o->rate};
        OpId     op = build_row(o->build, OP_SGD, operands, 4, words, 0);
        assign(o, p, op_result(o->build->code, op, 0));
        assign(o, buffer, op_result(o->build->code, op, 1));
        return;
    }
    ValueId first = state_like(o, p, "optimizer.first."),
            second = state_like(o, p, "optimizer.second.");
    uint64_t words[4];
    words[ATTR_ADAMW_beta1] = word_of_f64(options->beta1 != 0 ? options->beta1 : 0.9);
    words[ATTR_ADAMW_beta2] = word_of_f64(options->beta2 != 0 ? options->beta2 : 0.999);
    words[ATTR_ADAMW_epsilon] = word_of_f64(options->epsilon != 0 ? options->epsilon : 1e-8);
    words[ATTR_ADAMW_decay] = decay;
    ValueId operands[6] = {p, g, first, second, o->rate, o->step};
    OpId    op = build_row(o->build, OP_ADAMW, operands, 6, words, 0);
    assign(o, p, op_result(o->build->code, op, 0));
    assign(o, first, op_result(o->build->code, op, 1));
    assign(o, second, op_result(o->build->code, op, 2));
}

static void accumulate(Optimizing *o) {
    double share = 1.0 / (o->options->accumulate ? o->options->accumulate : 1);
    for (uint32_t i = 0; i < o->count; i++) {
        ValueId sum = state_like(o, o->parameters[i], "optimizer.sum.");
        ValueId part =
            build_binary(o->build, OP_MUL, o->gradients[i], build_splat(o->build, sum, share));
        assign(o, sum, build_binary(o->build, OP_ADD, sum, part));
    }
}

/* --- the scale of the loss -------------------------------------------------------------------- */

static ValueId scalar_state(Optimizing *o, const char *name, ValueId like, double number) {
    World   *world = o->program->world;
    uint64_t words[6] = {0};
    words[ATTR_PARAMETER_name] = strings_add(&world->strings, str_of(name)).row;
    words[ATTR_PARAMETER_type] =
        types_type(&world->types, build_dtype(o->build, like), types_shape(&world->types, NULL, 0))
            .row;
    words[ATTR_PARAMETER_init] = INIT_FILL;
    words[ATTR_PARAMETER_scale] = word_of_f64(number);
    ValueId state = build_op(o->build, OP_PARAMETER, NULL, 0, words);
    world->code.values.name[state.row] = (StrId){(uint32_t)words[ATTR_PARAMETER_name]};
    return state;
}
static void open_scale(Optimizing *o, ValueId like) {
    o->scale = scalar_state(o, "optimizer.loss_scale", like, o->options->loss_scale);
    o->scale_steps = scalar_state(o, "optimizer.loss_scale.steps", like, 0);
}
static void unscale(Optimizing *o) {
    ValueId inverse = build_binary(o->build, OP_DIV, scalar(o, o->scale, 1), o->scale);
    for (uint32_t i = 0; i < o->count; i++) {
        ValueId g = o->gradients[i],
                factor = build_convert(o->build, inverse, build_dtype(o->build, g));
        o->gradients[i] = build_binary(o->build, OP_MUL, g, build_scalar_over(o->build, factor, g));
    }
}
/* Half after a step that was not good, twice after enough good ones. */
static void next_scale(Optimizing *o) {
    enum { INTERVAL = 2000, EXPONENT_MAX = 24 };
    Build   *b = o->build;
    uint32_t wanted = o->options->scale_interval != 0 ? o->options->scale_interval : INTERVAL;
    ValueId  zero = scalar(o, o->scale, 0), one = scalar(o, o->scale, 1),
            two = scalar(o, o->scale, 2);
    ValueId steps = build_binary(b, OP_ADD, o->scale_steps, one);
    ValueId full = build_compare(b, COMPARE_GE, steps, scalar(o, o->scale, wanted));
    ValueId grown = build_binary(b, OP_MUL, o->scale, build_select(b, full, two, one));
    ValueId shrunk = build_binary(b, OP_MUL, o->scale, scalar(o, o->scale, 0.5));
    ValueId most = scalar(o, o->scale, 1 << EXPONENT_MAX);
    assign_always(o, o->scale_steps,
                  build_select(b, o->good, build_select(b, full, zero, steps), zero));
    assign_always(o, o->scale,
                  build_select(b, o->good, build_binary(b, OP_MIN, grown, most),
                               build_binary(b, OP_MAX, shrunk, one)));
}

/* Stops the step unless both are finite; the second may be nil. */
static void check_finite(Optimizing *o, ValueId first, ValueId second) {
    ValueId good = build_unary(o->build, OP_IS_FINITE, first);
    if (value_id_some(second))
        good = build_binary(o->build, OP_AND, good, build_unary(o->build, OP_IS_FINITE, second));
    uint64_t message =
        strings_add(&o->program->world->strings, STR("loss or gradient is not finite")).row;
    (void)build_row(o->build, OP_ASSERT, &good, 1, &message, 0);
}

/* All of values, each as a vector, in one. */
static StoaValue flatten(Optimizing *o, const ValueId *values) {
    StoaProgram *p = o->program;
    Dims        *dims = &p->world->dims;
    Scratch      scratch = scratch_begin(NULL, 0);
    StoaValue   *flat = ARENA_ARRAY(scratch.arena, StoaValue, o->count);
    for (uint32_t i = 0; i < o->count; i++) {
        DimId size = dims_const(dims, 1);
        for (uint32_t k = 0; k < build_rank(o->build, values[i]); k++)
            size = dims_mul(dims, size, build_dims(o->build, values[i])[k]);
        flat[i].id = build_reshape(o->build, values[i], &size, 1).row;
    }
    StoaValue all = stoa_concat(p, flat, o->count, 0);
    scratch_end(scratch);
    return all;
}
static void update_together(Optimizing *o, ValueId loss) {
    StoaProgram *p = o->program;
    StoaValue    x = flatten(o, o->parameters), g = flatten(o, o->gradients);
    StoaValue    next = api_lbfgs(p, x, g, (StoaValue){loss.row}, (StoaValue){o->rate.row},
                               o->options->pairs != 0 ? o->options->pairs : 10);
    int64_t      at = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        ValueId  parameter = o->parameters[i];
        int64_t  size = 1;
        uint32_t rank = build_rank(o->build, parameter);
        for (uint32_t k = 0; k < rank; k++)
            size *= dims_const_value(&p->world->dims, build_dims(o->build, parameter)[k]);
        StoaDim   start = stoa_dim(p, at), limit = stoa_dim(p, at += size);
        StoaValue mine = stoa_slice(p, next, &start, 1, &limit, 1, NULL, 0);
        DimId     dims[SHAPE_RANK_MAX];
        for (uint32_t k = 0; k < rank; k++) dims[k] = build_dims(o->build, parameter)[k];
        assign(o, parameter, build_reshape(o->build, (ValueId){mine.id}, dims, rank));
    }
}

/* Finds the parameters, gives each its gradient. */
static void differentiate(Optimizing *o, ValueId loss, Arena *scratch) {
    World   *world = o->program->world;
    uint32_t rows = world->code.ops.table.count;
    o->parameters = ARENA_ARRAY(scratch, ValueId, rows + 1);
    o->gradients = ARENA_ARRAY(scratch, ValueId, rows);
    for (uint32_t row = 1; row < rows; row++)
        if (is_trainable(world, row, o->build->block))
            o->parameters[++o->count] = world->code.ops.results_first[row];
    if (o->options->loss_scale != 0) open_scale(o, value_id_some(loss) ? loss : o->parameters[1]);
    if (o->options->part == STOA_OPTIMIZE_APPLY) {
        for (uint32_t i = 0; i < o->count; i++)
            o->gradients[i] = state_like(o, o->parameters[i + 1], "optimizer.sum.");
    } else {
        o->parameters[0] = loss;
        if (value_id_some(o->scale))
            o->parameters[0] = build_binary(o->build, OP_MUL, loss, o->scale);
        OpId op = build_row(o->build, OP_GRADIENT, o->parameters, o->count + 1, NULL, o->count);
        for (uint32_t i = 0; i < o->count; i++) o->gradients[i] = op_result(&world->code, op, i);
        if (value_id_some(o->scale)) unscale(o);
    }
    o->parameters++;
}

static void apply(Optimizing *o, ValueId norm, Arena *scratch) {
    ValueId *sums = ARENA_ARRAY(scratch, ValueId, o->count);
    memcpy(sums, o->gradients, o->count * sizeof *sums);
    if (o->options->clip > 0) clip_gradients(o, norm);
    for (uint32_t i = 0; i < o->count; i++) update(o, i);
    for (uint32_t i = 0; o->options->part == STOA_OPTIMIZE_APPLY && i < o->count; i++)
        assign_always(o, sums[i], build_splat(o->build, sums[i], 0));
    if (value_id_some(o->scale)) next_scale(o);
}

/* With a scale, a gradient that is not finite is an ordinary step, but for its assignments: the
 * scale must change. What the forward pass overflows stops the step as ever. */
static ValueId optimize(Optimizing *o, ValueId loss) {
    Scratch scratch = scratch_begin(NULL, 0);
    differentiate(o, loss, scratch.arena);
    ValueId norm = build_op(o->build, OP_GLOBAL_NORM, o->gradients, o->count, NULL);
    bool    scaled = value_id_some(o->scale),
         accumulates = o->options->part == STOA_OPTIMIZE_ACCUMULATE;
    if (o->options->kind == STOA_LBFGS) { /* a trial that is not finite is a step too long */
        update_together(o, loss);
        scratch_end(scratch);
        return norm;
    }
    if (!o->options->keep_nonfinite && !scaled) check_finite(o, norm, loss);
    if (!o->options->keep_nonfinite && scaled && value_id_some(loss))
        check_finite(o, loss, (ValueId){0});
    if (scaled && !accumulates) o->good = build_unary(o->build, OP_IS_FINITE, norm);
    if (accumulates)
        accumulate(o);
    else
        apply(o, norm, scratch.arena);
    scratch_end(scratch);
    return norm;
}

StoaValue stoa_optimize(StoaProgram *program, StoaValue loss, StoaValue rate, StoaValue step,
                        const StoaOptimizerOptions *options) {
    StoaOptimizerOptions given = STOA_OPTIMIZER_OPTIONS;
    if (options != NULL)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    bool needs_loss = given.part != STOA_OPTIMIZE_APPLY,
         needs_rate = given.part != STOA_OPTIMIZE_ACCUMULATE;
    bool     needs_step = needs_rate && given.kind == STOA_ADAMW;
    uint32_t trainable = 0;
    if (program->broken) return (StoaValue){0};
    if (!block_id_some(program->build.block) || (needs_loss && loss.id == 0) ||
        (needs_rate && rate.id == 0) || (needs_step && step.id == 0)) {
        api_misuse(program->context, "stoa_optimize",
                   "needs an open graph, a scalar loss, and rate and step inputs");
        return (StoaValue){0};
    }
    if (given.kind == STOA_LBFGS && (given.part != STOA_OPTIMIZE_STEP || given.pairs > 64)) {
        api_misuse(program->context, "stoa_optimize",
                   "lbfgs takes whole steps, without accumulation, and at most 64 pairs");
        return (StoaValue){0};
    }
    if (!(given.loss_scale >= 0 && given.loss_scale <= 0x1p24) ||
        (given.loss_scale != 0 && given.kind == STOA_LBFGS)) {
        api_misuse(program->context, "stoa_optimize",
                   "loss_scale is at most 2^24, and of adamw and sgd");
        return (StoaValue){0};
    }
    for (uint32_t row = 1; row < program->world->code.ops.table.count; row++)
        trainable += is_trainable(program->world, row, program->build.block);
    if (trainable == 0) {
        api_misuse(program->context, "stoa_optimize", "the graph has no stoa_parameter to train");
        return (StoaValue){0};
    }
    Optimizing o = {.program = program,
                    .build = &program->build,
                    .options = &given,
                    .rate = {rate.id},
                    .step = {step.id}};
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaValue){0};
    }
    ValueId norm = optimize(&o, (ValueId){loss.id});
    arena_guard_end(&guard);
    return (StoaValue){norm.row};
}
