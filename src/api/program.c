/* Building programs: graphs, inputs, parameters, sizes, and the one path by which every operator of
 * the public interface is appended. Mistakes are diagnostic rows of the world; builders return
 * value 0 and go on, so a caller checks once (stoa_program_check). */
#include "api/program.h"

#include "text/binary.h"
#include "text/parse.h"
#include "text/print.h"

static StoaStatus open_program(StoaContext *context, World *world, StoaProgram **out_program) {
    Arena     *arena = world ? arena_open("program", (size_t)1 << 34, 0) : NULL;
    ArenaGuard guard;
    if (arena == NULL || !ARENA_GUARD(&guard)) {
        StoaStatus status = api_unwound(context, NULL);
        world_close(world);
        arena_close(arena);
        return status;
    }
    StoaProgram *program = ARENA_NEW(arena, StoaProgram);
    program->context = context;
    program->world = world;
    program->arena = arena;
    program->texts = arena_mark(arena);
    program->regions = arena_open("regions", (size_t)1 << 30, 0);
    if (program->regions == NULL) api_unwind_on(arena_guard_failure());
    program->build = (Build){.world = world, .code = &world->code};
    arena_guard_end(&guard);
    *out_program = program;
    return STOA_OK;
}

/* --- programs out of memory ------------------------------------------------------------------- */
void api_broken(StoaProgram *program) {
    program->broken = true;
    api_refused(program->context);
}
/* The first report says what was refused; later ones that the program cannot be used. */
static StoaStatus fail_broken(const StoaProgram *program) {
    StoaContext *context = program->context;
    if (!context->refused)
        api_misuse(context, "program", "building it ran out of memory: destroy it and build anew");
    return api_fail(context, program->world, STATUS_OUT_OF_MEMORY);
}

/* --- life ------------------------------------------------------------------------------------- */
StoaStatus stoa_program_create(StoaContext *context, StoaProgram **out_program) {
    return open_program(context, world_open(0, 0), out_program);
}
void stoa_program_destroy(StoaProgram *program) {
    if (program == NULL) return;
    world_close(program->world);
    arena_close(program->regions);
    arena_close(program->arena);
}
StoaStatus stoa_program_clone(const StoaProgram *program, StoaProgram **out_clone) {
    if (program->broken) return fail_broken(program);
    return open_program(program->context, world_clone(program->world), out_clone);
}

StoaStatus stoa_program_parse(StoaContext *context, const char *text, size_t bytes,
                              const char *name, StoaProgram **out_program) {
    StoaProgram *program = NULL;
    StoaStatus   status = stoa_program_create(context, &program);
    if (status != STOA_OK) return status;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        status = api_unwound(context, program->world);
        stoa_program_destroy(program);
        return status;
    }
    bool good = text_parse(program->world, (String){text, bytes}, str_of(name));
    arena_guard_end(&guard);
    if (!good) {
        status = api_fail(context, program->world, STATUS_INVALID);
        stoa_program_destroy(program);
        return status;
    }
    *out_program = program;
    return STOA_OK;
}

StoaStatus stoa_program_print(StoaProgram *program, const char **out_text) {
    ArenaGuard guard;
    if (program->broken) return fail_broken(program);
    if (!ARENA_GUARD(&guard)) return api_unwound(program->context, program->world);
    arena_release(program->arena, program->texts);
    *out_text = text_print(program->arena, program->world, (TextOptions){.types = true}).data;
    arena_guard_end(&guard);
    return STOA_OK;
}

StoaStatus stoa_program_save(StoaProgram *program, const char *path) {
    StoaContext *context = program->context;
    ArenaGuard   guard;
    if (program->broken) return fail_broken(program);
    if (!ARENA_GUARD(&guard)) return api_unwound(context, program->world);
    Status status = binary_save(program->world, path, &context->diags);
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(context, NULL, status);
}

StoaStatus stoa_program_load(StoaContext *context, const char *path, StoaProgram **out_program) {
    StoaProgram *program = NULL;
    StoaStatus   status = stoa_program_create(context, &program);
    if (status != STOA_OK) return status;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        status = api_unwound(context, NULL);
        stoa_program_destroy(program);
        return status;
    }
    Status loaded = binary_load(program->world, path, &context->diags);
    arena_guard_end(&guard);
    if (loaded != STATUS_OK) {
        status = api_fail(context, NULL, loaded);
        stoa_program_destroy(program);
        return status;
    }
    *out_program = program;
    return STOA_OK;
}

StoaStatus stoa_program_check(StoaProgram *program) {
    StoaContext *context = program->context;
    bool         good = program->world->diags.errors == 0 && context->diags.errors == 0;
    if (program->broken) return fail_broken(program);
    return good && !context->refused ? STOA_OK : api_fail(context, program->world, STATUS_INVALID);
}

/* --- sizes ------------------------------------------------------------------------------------ */
/* Runs a dim maker under a guard; nil on failure, which leaves a diagnostic. */
typedef DimId  DimMaker(Dims *dims, DimId a, DimId b);
static StoaDim make_dim(StoaProgram *program, DimMaker *maker, StoaDim a, StoaDim b) {
    ArenaGuard guard;
    if (a.id == 0 || b.id == 0 || program->broken) return (StoaDim){0};
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaDim){0};
    }
    DimId dim = maker(&program->world->dims, (DimId){a.id}, (DimId){b.id});
    arena_guard_end(&guard);
    if (!dim_id_some(dim))
        api_misuse(
            program->context, "stoa_dim",
            "the size has too many terms, overflows, or divides by a size that is not positive");
    return (StoaDim){dim.row};
}
StoaDim stoa_dim(StoaProgram *program, int64_t size) {
    ArenaGuard guard;
    if (program->broken) return (StoaDim){0};
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaDim){0};
    }
    DimId dim = dims_const(&program->world->dims, size);
    arena_guard_end(&guard);
    return (StoaDim){dim.row};
}
StoaDim stoa_dim_symbol(StoaProgram *program, const char *name) {
    ArenaGuard guard;
    if (name == NULL || name[0] == 0 || program->broken) return (StoaDim){0};
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaDim){0};
    }
    DimId dim =
        dims_symbol(&program->world->dims, strings_add(&program->world->strings, str_of(name)));
    arena_guard_end(&guard);
    return (StoaDim){dim.row};
}
void stoa_dim_range(StoaProgram *program, StoaDim symbol, int64_t low, int64_t high) {
    Dims *dims = &program->world->dims;
    if (symbol.id == 0 || dims->rows.kind[symbol.id] != DIM_SYMBOL || low > high || low < 0)
        api_misuse(program->context, "stoa_dim_range", "needs a symbol and 0 <= low <= high");
    else if (!dims_set_range(dims, (DimId){symbol.id}, low, high))
        api_misuse(program->context, "stoa_dim_range",
                   "no number is in this range and keeps what is known of the symbol already");
}
void stoa_dim_hint(StoaProgram *program, StoaDim symbol, int64_t size) {
    Dims *dims = &program->world->dims;
    if (symbol.id == 0 || dims->rows.kind[symbol.id] != DIM_SYMBOL || size <= 0)
        api_misuse(program->context, "stoa_dim_hint", "needs a symbol and a size above 0");
    else
        dims_set_hint(dims, (DimId){symbol.id}, size);
}
StoaDim stoa_dim_add(StoaProgram *program, StoaDim a, StoaDim b) {
    return make_dim(program, dims_add, a, b);
}
StoaDim stoa_dim_sub(StoaProgram *program, StoaDim a, StoaDim b) {
    return make_dim(program, dims_sub, a, b);
}
StoaDim stoa_dim_mul(StoaProgram *program, StoaDim a, StoaDim b) {
    return make_dim(program, dims_mul, a, b);
}
StoaDim stoa_dim_floordiv(StoaProgram *program, StoaDim a, StoaDim b) {
    return make_dim(program, dims_floordiv, a, b);
}

/* --- appending -------------------------------------------------------------------------------- */
static bool list_fits(StoaProgram *program, const ApiAttr *attr) {
    if (attr->count <= LIST_MAX) return true;
    api_misuse(program->context, "operator builder", "a list attribute has more than 64 entries");
    return false;
}
static bool attr_word(StoaProgram *program, const AttrInfo *info, const ApiAttr *attr,
                      uint64_t *out) {
    int64_t rows[LIST_MAX];
    switch (info->kind) {
    case ATTR_FLOAT: *out = word_of_f64(attr->number); return true;
    case ATTR_STR:
        *out = strings_add(&program->world->strings, str_of(attr->text ? attr->text : "")).row;
        return true;
    case ATTR_STRS:
        if (!list_fits(program, attr)) return false;
        for (uint32_t i = 0; i < attr->count; i++)
            rows[i] = strings_add(&program->world->strings, str_of(attr->texts[i])).row;
        *out = build_ints(&program->build, rows, attr->count);
        return true;
    case ATTR_INTS:
        if (!list_fits(program, attr)) return false;
        *out = build_ints(&program->build, attr->ints, attr->count);
        return true;
    case ATTR_DIMS:
        if (!list_fits(program, attr)) return false;
        for (uint32_t i = 0; i < attr->count; i++) {
            if (attr->dims[i].id == 0) return false; /* reported when it was made */
            rows[i] = attr->dims[i].id;
        }
        *out = build_ints(&program->build, rows, attr->count);
        return true;
    default: *out = (uint64_t)attr->integer; return info->kind != ATTR_DIM || attr->integer != 0;
    }
}

/* False: not appended, because an operand is missing (silently) or something is wrong
 * (reported). */
static bool append(StoaProgram *program, int opcode, const StoaValue *operands, uint32_t count,
                   const ApiAttr *attrs, uint32_t results, OpId *out_op) {
    const OpInfo *info = &op_infos[opcode];
    uint64_t      words[ATTRS_MAX];
    /* linear takes an optional last operand: value 0 leaves it out */
    if (opcode == OP_LINEAR && count == 3 && operands[2].id == 0) count = 2;
    if (region_refuses(program, info->name)) return false;
    if (!block_id_some(program->build.block)) {
        api_misuse(program->context, info->name, "no graph is open: call stoa_graph_begin first");
        return false;
    }
    if (count < info->operands_min || count > info->operands_max) {
        api_misuse(program->context, info->name,
                   "the number of operands does not fit the operator");
        return false;
    }
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *ids = ARENA_ARRAY(scratch.arena, ValueId, count);
    bool     good = true;
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = (ValueId){operands[i].id};
        good = good && operands[i].id != 0 &&
               operands[i].id < program->world->code.values.table.count &&
               region_sees(program, info->name, ids[i]);
    }
    for (uint32_t i = 0; i < info->attrs_count && good; i++)
        good = attr_word(program, &info->attrs[i], &attrs[i], &words[i]);
    if (info->results < OP_ANY) results = 0; /* the schema says how many there are */
    if (good) *out_op = build_row(&program->build, (Opcode)opcode, ids, count, words, results);
    scratch_end(scratch);
    return good;
}

void api_op_many(StoaProgram *program, int opcode, const StoaValue *operands, uint32_t count,
                 const ApiAttr *attrs, StoaValue *out_results, uint32_t results) {
    ArenaGuard guard;
    OpId       op = {0};
    for (uint32_t i = 0; i < results; i++) out_results[i] = (StoaValue){0};
    if (program->broken) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    bool good = append(program, opcode, operands, count, attrs, results, &op);
    arena_guard_end(&guard);
    if (!good) return;
    for (uint32_t i = 0; i < results; i++) {
        ValueId value = op_result(&program->world->code, op, i);
        if (type_id_some(program->world->code.values.type[value.row]))
            out_results[i] = (StoaValue){value.row};
    }
}
StoaValue api_op(StoaProgram *program, int opcode, const StoaValue *operands, uint32_t count,
                 const ApiAttr *attrs) {
    StoaValue result;
    api_op_many(program, opcode, operands, count, attrs, &result, 1);
    return result;
}

/* --- graphs ----------------------------------------------------------------------------------- */
void stoa_graph_begin(StoaProgram *program, const char *name) {
    ArenaGuard guard;
    World     *world = program->world;
    if (program->broken || region_open(program, "stoa_graph_begin")) return;
    if (block_id_some(program->build.block)) {
        api_misuse(program->context, "stoa_graph_begin",
                   "a graph is open already: call stoa_graph_end");
        return;
    }
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    program->graph_name = strings_add(&world->strings, str_of(name));
    if (graph_id_some(code_find_graph(&world->code, program->graph_name)) ||
        !str_id_some(program->graph_name))
        api_misuse(program->context, "stoa_graph_begin",
                   "the name is empty or taken by another graph");
    else
        program->build.block = code_add_block(&world->code, (OpId){0}, 0);
    program->outputs_count = 0;
    arena_guard_end(&guard);
}

void stoa_graph_end(StoaProgram *program) {
    ArenaGuard guard;
    World     *world = program->world;
    if (program->broken || region_open(program, "stoa_graph_end")) return;
    if (!block_id_some(program->build.block)) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    uint64_t names = build_ints(&program->build, program->output_names, program->outputs_count);
    (void)build_row(&program->build, OP_RETURN, program->outputs, program->outputs_count, &names,
                    0);
    world->code.blocks.op_last[program->build.block.row] = world->code.ops.table.count;
    (void)code_add_graph(&world->code, program->graph_name, program->build.block);
    program->build.block = (BlockId){0};
    arena_guard_end(&guard);
}

static TypeId make_type(StoaProgram *program, StoaDtype dtype, const StoaDim *dims,
                        const int64_t *sizes, uint32_t rank) {
    DimId ids[SHAPE_RANK_MAX];
    if (dtype <= STOA_NONE || dtype > STOA_F64 || rank > SHAPE_RANK_MAX) return (TypeId){0};
    for (uint32_t i = 0; i < rank; i++) {
        ids[i] = dims ? (DimId){dims[i].id} : dims_const(&program->world->dims, sizes[i]);
        if (!dim_id_some(ids[i]) || (sizes && sizes[i] < 0)) return (TypeId){0};
    }
    Types *types = &program->world->types;
    return types_type(types, (Dtype)dtype, types_shape(types, ids, rank));
}

StoaValue stoa_input(StoaProgram *program, const char *name, StoaDtype dtype, const StoaDim *dims,
                     uint32_t rank) {
    Code      *code = &program->world->code;
    BlockId    block = program->build.block;
    ArenaGuard guard;
    if (program->broken || region_open(program, "stoa_input")) return (StoaValue){0};
    if (!block_id_some(block) || code->blocks.op_first[block.row] != code->ops.table.count) {
        api_misuse(program->context, "stoa_input",
                   "inputs come right after stoa_graph_begin, before all operators");
        return (StoaValue){0};
    }
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaValue){0};
    }
    TypeId    type = make_type(program, dtype, dims, NULL, rank);
    StoaValue value = {0};
    if (!type_id_some(type)) {
        api_misuse(program->context, "stoa_input",
                   "needs a known dtype, valid sizes and rank at most 8");
    } else {
        uint32_t row = table_add(&code->values.table);
        code->values.type[row] = type;
        code->values.def[row] = VALUE_IS_ARG | block.row;
        code->values.name[row] = strings_add(&program->world->strings, str_of(name));
        if (code->blocks.args_count[block.row]++ == 0)
            code->blocks.args_first[block.row] = (ValueId){row};
        value.id = row;
    }
    arena_guard_end(&guard);
    return value;
}

static StoaValue add_parameter(StoaProgram *program, const char *name, StoaDtype dtype,
                               const int64_t *sizes, uint32_t rank, StoaInit init, double scale,
                               bool trainable) {
    ArenaGuard guard;
    StoaValue  value = {0};
    if (program->broken || region_refuses(program, "stoa_parameter")) return value;
    if (!block_id_some(program->build.block) || name == NULL || name[0] == 0) {
        api_misuse(program->context, "stoa_parameter", "needs an open graph and a name");
        return value;
    }
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaValue){0};
    }
    TypeId type = make_type(program, dtype, NULL, sizes, rank);
    if (!type_id_some(type)) {
        api_misuse(program->context, "stoa_parameter",
                   "needs a known dtype, sizes of at least 0 and rank at most 8");
    } else {
        uint64_t words[6] = {0};
        words[ATTR_PARAMETER_name] = strings_add(&program->world->strings, str_of(name)).row;
        words[ATTR_PARAMETER_type] = type.row;
        words[ATTR_PARAMETER_init] = (uint64_t)init;
        words[ATTR_PARAMETER_scale] = word_of_f64(scale);
        words[ATTR_PARAMETER_trainable] = trainable;
        ValueId row = build_op(&program->build, OP_PARAMETER, NULL, 0, words);
        program->world->code.values.name[row.row] = (StrId){(uint32_t)words[ATTR_PARAMETER_name]};
        value.id = row.row;
    }
    arena_guard_end(&guard);
    return value;
}
StoaValue stoa_parameter(StoaProgram *program, const char *name, StoaDtype dtype,
                         const int64_t *sizes, uint32_t rank, StoaInit init, double scale) {
    return add_parameter(program, name, dtype, sizes, rank, init, scale, true);
}
StoaValue stoa_state(StoaProgram *program, const char *name, StoaDtype dtype, const int64_t *sizes,
                     uint32_t rank, StoaInit init, double scale) {
    return add_parameter(program, name, dtype, sizes, rank, init, scale, false);
}

StoaValue stoa_scalar(StoaProgram *program, StoaDtype dtype, double number) {
    uint8_t bytes[16] = {0};
    (void)const_encode((Dtype)dtype, number, bytes);
    return stoa_constant_data(program, dtype, NULL, 0, bytes);
}
StoaValue stoa_fill_like(StoaProgram *program, StoaValue like, double number) {
    ArenaGuard guard;
    if (like.id == 0 || program->broken || region_refuses(program, "stoa_fill_like"))
        return (StoaValue){0};
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaValue){0};
    }
    ValueId value = build_splat(&program->build, (ValueId){like.id}, number);
    arena_guard_end(&guard);
    return (StoaValue){value.row};
}
static ValueId add_constant(StoaProgram *program, TypeId type, const int64_t *sizes, uint32_t rank,
                            const void *data) {
    uint64_t bytes = 1;
    for (uint32_t i = 0; type_id_some(type) && i < rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)sizes[i], &bytes)) bytes = UINT32_MAX;
    if (type_id_some(type)) bytes *= dtype_bytes(type_dtype(&program->world->types, type));
    if (!type_id_some(type) || bytes > UINT32_MAX / 2) {
        api_misuse(program->context, "stoa_constant_data",
                   "needs a known dtype, sizes of at least 0 and less than 2 GiB");
        return (ValueId){0};
    }
    uint64_t word = consts_add(&program->world->consts, type, data, (uint32_t)bytes).row;
    return build_op(&program->build, OP_CONSTANT, NULL, 0, &word);
}
StoaValue stoa_constant_data(StoaProgram *program, StoaDtype dtype, const int64_t *sizes,
                             uint32_t rank, const void *data) {
    ArenaGuard guard;
    if (program->broken || region_refuses(program, "stoa_constant_data")) return (StoaValue){0};
    if (!block_id_some(program->build.block)) {
        api_misuse(program->context, "stoa_constant_data",
                   "no graph is open: call stoa_graph_begin first");
        return (StoaValue){0};
    }
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return (StoaValue){0};
    }
    ValueId value =
        add_constant(program, make_type(program, dtype, NULL, sizes, rank), sizes, rank, data);
    arena_guard_end(&guard);
    return (StoaValue){value.row};
}

void stoa_gradients(StoaProgram *program, StoaValue y, const StoaValue *xs, uint32_t count,
                    StoaValue *out) {
    ArenaGuard guard;
    for (uint32_t i = 0; i < count; i++) out[i] = (StoaValue){0};
    if (program->broken) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    Scratch    scratch = scratch_begin(NULL, 0);
    StoaValue *operands = ARENA_ARRAY(scratch.arena, StoaValue, count + 1);
    operands[0] = y;
    for (uint32_t i = 0; i < count; i++) operands[i + 1] = xs[i];
    api_op_many(program, OP_GRADIENT, operands, count + 1, NULL, out, count);
    scratch_end(scratch);
    arena_guard_end(&guard);
}

void stoa_output(StoaProgram *program, const char *name, StoaValue value) {
    ArenaGuard guard;
    if (value.id == 0 || program->broken || region_open(program, "stoa_output")) return;
    if (program->outputs_count == LIST_MAX || !block_id_some(program->build.block)) {
        api_misuse(program->context, "stoa_output",
                   "needs an open graph with fewer than 64 outputs");
        return;
    }
    if (!region_sees(program, "stoa_output", (ValueId){value.id})) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    program->outputs[program->outputs_count] = (ValueId){value.id};
    program->output_names[program->outputs_count++] =
        strings_add(&program->world->strings, str_of(name)).row;
    arena_guard_end(&guard);
}
void stoa_name(StoaProgram *program, StoaValue value, const char *name) {
    ArenaGuard guard;
    if (value.id == 0 || program->broken) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    program->world->code.values.name[value.id] =
        strings_add(&program->world->strings, str_of(name));
    arena_guard_end(&guard);
}

uint32_t stoa_value_rank(const StoaProgram *program, StoaValue value) {
    return value.id
               ? type_rank(&program->world->types, value_type(program->world, (ValueId){value.id}))
               : 0;
}
StoaDim stoa_value_dim(const StoaProgram *program, StoaValue value, uint32_t axis) {
    if (axis >= stoa_value_rank(program, value)) return (StoaDim){0};
    return (StoaDim){
        type_dims(&program->world->types, value_type(program->world, (ValueId){value.id}))[axis]
            .row};
}
StoaDtype stoa_value_dtype(const StoaProgram *program, StoaValue value) {
    if (value.id == 0) return STOA_NONE;
    return (StoaDtype)type_dtype(&program->world->types,
                                 value_type(program->world, (ValueId){value.id}));
}
