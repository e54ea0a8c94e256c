/* Checks of a whole world, table by table, lowest first: each may rely on the ones before it. The
 * first thing that is wrong is reported and ends the check. The code is in check_code.c. */
#include "text/check.h"

#include "arena/hash.h"
#include "arena/os.h"
#include "tables/infer.h"
#include "text/check_inner.h"

enum {
    TERMS_MAX = 64, /* as dims.c */
    DEGREE_MAX = 32,
    DIM_DEPTH_MAX = 1024,    /* lowering and emitting recurse this deep */
    DIM_WEIGHT_MAX = 1 << 22 /* and visit this many rows: an expression shares parts */
};

uint32_t check_blocks(const World *world, Opcode opcode, AttrsId attrs) {
    static const uint8_t blocks[OP_COUNT] = {
        [OP_IF] = 2, [OP_WHILE] = 2, [OP_SCAN] = 1, [OP_FUSED] = 1};
    if (opcode != OP_SWITCH || !attrs_id_some(attrs)) return blocks[opcode];
    uint64_t cases = attrs_words(&world->attrs, attrs)[ATTR_SWITCH_cases];
    return cases <= LIST_MAX ? (uint32_t)cases : 0;
}

uint32_t check_results(Opcode opcode, uint32_t operands, uint32_t given) {
    const OpInfo *info = &op_infos[opcode];
    if (info->results == OP_ANY) return given;
    if (info->results != OP_MANY) return info->results;
    if (info->infer == infer_control) return given;
    return info->flags & OP_DERIVES ? operands - 1 : operands;
}

bool check_bad(const Check *c, const Table *table, uint32_t row, const char *what) {
    Diags *diags = c->diags;
    (void)diags_add(diags, DIAG_WORLD_INVALID, 0, diags_str(diags, str_of(table->info->name)), row,
                    diags_str(diags, str_of(what)), 0);
    return false;
}
bool check_span(uint32_t first, uint32_t count, const Table *pool) {
    return first <= pool->count && count <= pool->count - first && (first != 0 || count == 0);
}

/* --- all tables ------------------------------------------------------------------------------- */
static bool check_nil_row(const Check *c, const Table *table) {
    for (uint32_t i = 0; i < table->info->columns_count; i++) {
        const uint8_t *bytes = table_column(table, i);
        for (uint32_t k = 0; k < table->info->columns[i].width; k++)
            if (bytes[k] != 0) return check_bad(c, table, 0, "the nil row is not zero");
    }
    return true;
}

/* Whether all rows hash differently. Rows of interned tables are distinct; equal ones would be two
 * ids of one thing, and many of them would make the index slow. Seeded, so that no file can choose
 * its collisions. */
typedef uint64_t RowHash(const World *world, uint32_t row, uint64_t seed);
static bool      check_distinct(const Check *c, const Table *table, RowHash *hash_of) {
         Scratch  scratch = scratch_begin(NULL, 0);
         uint64_t seed = os_clock_ns() | 1;
         size_t   capacity = 16;
         bool     good = true;
         while (capacity < (size_t)table->count * 2) capacity *= 2;
    uint64_t *slots = ARENA_ARRAY_ZERO(scratch.arena, uint64_t, capacity);
         for (uint32_t row = 1; row < table->count && good; row++) {
             uint64_t hash = hash_of(c->world, row, seed) | 1;
             size_t   at = hash >> 16 & (capacity - 1);
             while (slots[at] != 0 && slots[at] != hash) at = (at + 1) & (capacity - 1);
        if (slots[at] == hash) good = check_bad(c, table, row, "the same content as another row");
        slots[at] = hash;
    }
         scratch_end(scratch);
         return good;
}
static uint64_t hash_words(uint64_t a, uint64_t b, uint64_t seed) {
    return hash_mix(hash_mix(seed, a), b);
}

/* --- strings ---------------------------------------------------------------------------------- */
static uint64_t string_hash(const World *world, uint32_t row, uint64_t seed) {
    String s = strings_get(&world->strings, (StrId){row});
    return hash_bytes(s.data, s.count, seed);
}
static bool check_strings(const Check *c) {
    const StringRows *rows = &c->world->strings.rows;
    for (uint32_t row = 1; row < rows->table.count; row++)
        if (rows->count[row] == 0 ||
            !check_span(rows->first[row], rows->count[row], &c->world->strings.bytes.table))
            return check_bad(c, &rows->table, row, "the bytes are not in the pool");
    return check_distinct(c, &rows->table, string_hash);
}

/* --- dims ------------------------------------------------------------------------------------- */
static bool is_atom(const Dims *dims, uint32_t row) {
    DimKind kind = (DimKind)dims->rows.kind[row];
    return kind == DIM_SYMBOL || kind >= DIM_FLOORDIV;
}
/* Before the dims, which read monomials of any row. */
static uint64_t mono_hash(const World *world, uint32_t row, uint64_t seed) {
    const Dims *dims = &world->dims;
    return hash_bytes(dims->atoms.atom + dims->monos.first[row],
                      dims->monos.count[row] * sizeof(uint32_t), seed);
}
static bool check_monos(const Check *c) {
    const Dims  *dims = &c->world->dims;
    const Monos *monos = &dims->monos;
    if (monos->table.count < 2 || monos->count[1] != 0)
        return check_bad(c, &monos->table, 1, "row 1 is not the empty monomial");
    for (uint32_t row = 1; row < monos->table.count; row++) {
        uint32_t first = monos->first[row], count = monos->count[row];
        if (count > DEGREE_MAX || !check_span(first, count, &dims->atoms.table))
            return check_bad(c, &monos->table, row, "the factors are not in the pool");
        for (uint32_t i = 0; i < count; i++) {
            uint32_t atom = dims->atoms.atom[first + i];
            if (atom == 0 || atom >= dims->rows.table.count || !is_atom(dims, atom))
                return check_bad(c, &monos->table, row, "a factor is not an atom");
            if (i != 0 && atom < dims->atoms.atom[first + i - 1])
                return check_bad(c, &monos->table, row, "the factors are not in order");
        }
    }
    return check_distinct(c, &monos->table, mono_hash);
}

typedef struct DimCost { /* of walking an expression */
    uint32_t depth, weight;
} DimCost;

static bool add_part(DimCost *costs, uint32_t row, uint32_t part) {
    if (part == 0 || part >= row) return false;
    if (costs[part].depth >= costs[row].depth) costs[row].depth = costs[part].depth + 1;
    costs[row].weight += costs[part].weight;
    return costs[row].depth <= DIM_DEPTH_MAX && costs[row].weight <= DIM_WEIGHT_MAX;
}
static bool check_poly(const Check *c, DimCost *costs, uint32_t row) {
    const Dims *dims = &c->world->dims;
    uint32_t    first = dims->rows.lhs[row], count = dims->rows.rhs[row];
    if (count == 0 || count > TERMS_MAX || !check_span(first, count, &dims->terms.table))
        return false;
    for (uint32_t i = first; i < first + count; i++) {
        uint32_t mono = dims->terms.mono[i];
        if (mono == 0 || mono >= dims->monos.table.count || dims->terms.coef[i] == 0 ||
            dims->terms.coef[i] == INT64_MIN)
            return false;
        if (i != first && mono <= dims->terms.mono[i - 1]) return false;
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            if (!add_part(costs, row, dims->atoms.atom[dims->monos.first[mono] + k])) return false;
    }
    return true;
}
/* Whether the expression is well-formed, over earlier rows, and not too deep or heavy. */
static bool check_expression(const Check *c, DimCost *costs, uint32_t row) {
    const Dims *dims = &c->world->dims;
    uint32_t    lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    int64_t     imm = dims->rows.imm[row];
    switch ((DimKind)dims->rows.kind[row]) {
    case DIM_CONST: return true;
    case DIM_SYMBOL: return imm > 0 && imm < c->world->strings.rows.table.count;
    case DIM_POLY: return check_poly(c, costs, row);
    case DIM_FLOORDIV:
        if (!add_part(costs, row, lhs) || !add_part(costs, row, rhs)) return false;
        return dims->rows.kind[rhs] != DIM_CONST || dims->rows.imm[rhs] > 0;
    case DIM_MIN:
    case DIM_MAX:
    case DIM_LESS: return add_part(costs, row, lhs) && add_part(costs, row, rhs);
    default: return false;
    }
}
static bool facts_good(const Dims *dims, uint32_t row) {
    const DimRows *rows = &dims->rows;
    bool           symbol = rows->kind[row] == DIM_SYMBOL, constant = rows->kind[row] == DIM_CONST;
    int64_t        lo = rows->lo[row], hi = rows->hi[row];
    if (constant && (lo != rows->imm[row] || hi != rows->imm[row])) return false;
    if (symbol && (lo < 0 || hi > DIM_SIZE_MAX)) return false;
    if (constant && rows->same_as[row] != 0) return false;
    if (rows->same_as[row] >= rows->table.count) return false;
    if (rows->below[row] != 0 && (!symbol || rows->below[row] >= row)) return false;
    return lo <= hi && rows->modulus[row] >= 1 && rows->residue[row] >= 0 &&
           rows->residue[row] < rows->modulus[row] && rows->hint[row] >= 0;
}
static uint64_t dim_hash(const World *world, uint32_t row, uint64_t seed) {
    const Dims *dims = &world->dims;
    uint32_t    lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    seed = hash_words(dims->rows.kind[row], (uint64_t)dims->rows.imm[row], seed);
    if (dims->rows.kind[row] != DIM_POLY) return hash_words(lhs, rhs, seed);
    for (uint32_t i = lhs; i < lhs + rhs; i++)
        seed = hash_words((uint64_t)dims->terms.coef[i], dims->terms.mono[i], seed);
    return seed;
}
static bool check_dims(const Check *c) {
    const Dims *dims = &c->world->dims;
    Scratch     scratch = scratch_begin(NULL, 0);
    DimCost    *costs = ARENA_ARRAY(scratch.arena, DimCost, dims->rows.table.count);
    bool        good = true;
    for (uint32_t row = 1; row < dims->rows.table.count && good; row++) {
        costs[row] = (DimCost){1, 1};
        if (!check_expression(c, costs, row))
            good = check_bad(c, &dims->rows.table, row, "the expression is malformed or too deep");
        else if (!facts_good(dims, row))
            good = check_bad(c, &dims->rows.table, row, "the facts are inconsistent");
    }
    if (good && !dims_equal_verify(&c->world->dims))
        good = check_bad(c, &dims->rows.table, 0, "an equality leads back to its row");
    scratch_end(scratch);
    return good && check_distinct(c, &dims->rows.table, dim_hash);
}

/* --- types ------------------------------------------------------------------------------------ */
static uint64_t shape_hash(const World *world, uint32_t row, uint64_t seed) {
    const Types *types = &world->types;
    uint32_t     rank = types->shapes.rank[row];
    return hash_bytes(types->dims.dim + types->shapes.first[row], rank * sizeof(DimId), seed);
}
static uint64_t type_hash(const World *world, uint32_t row, uint64_t seed) {
    return hash_words(world->types.types.dtype[row], world->types.types.shape[row].row, seed);
}
static bool check_types(const Check *c) {
    const Types     *types = &c->world->types;
    const ShapeRows *shapes = &types->shapes;
    const TypeRows  *rows = &types->types;
    if (shapes->table.count < 2 || shapes->rank[1] != 0)
        return check_bad(c, &shapes->table, 1, "row 1 is not the scalar shape");
    for (uint32_t row = 1; row < shapes->table.count; row++) {
        if (shapes->rank[row] > SHAPE_RANK_MAX ||
            !check_span(shapes->first[row], shapes->rank[row], &types->dims.table))
            return check_bad(c, &shapes->table, row, "the sizes are not in the pool");
        for (uint32_t i = 0; i < shapes->rank[row]; i++) {
            uint32_t dim = types->dims.dim[shapes->first[row] + i].row;
            if (dim == 0 || dim >= c->world->dims.rows.table.count)
                return check_bad(c, &shapes->table, row, "a size is missing");
        }
    }
    for (uint32_t row = 1; row < rows->table.count; row++) {
        bool known = rows->dtype[row] != DTYPE_NIL && rows->dtype[row] < DTYPE_COUNT;
        bool shaped = rows->shape[row].row != 0 && rows->shape[row].row < shapes->table.count;
        if (!known || !shaped || rows->layout[row] != 0 || rows->sharding[row] != 0)
            return check_bad(c, &rows->table, row, "the type is malformed");
    }
    return check_distinct(c, &shapes->table, shape_hash) &&
           check_distinct(c, &rows->table, type_hash);
}

/* --- attributes, constants, places ------------------------------------------------------------ */
static uint64_t run_hash(const WordSets *sets, uint32_t row, uint64_t seed) {
    return hash_bytes(sets->words.word + sets->runs.first[row],
                      sets->runs.count[row] * sizeof(uint64_t), seed);
}
static uint64_t record_hash(const World *world, uint32_t row, uint64_t seed) {
    return run_hash(&world->attrs.records, row, seed);
}
static uint64_t list_hash(const World *world, uint32_t row, uint64_t seed) {
    return run_hash(&world->attrs.lists, row, seed);
}
static bool check_runs(const Check *c, const WordSets *sets, uint32_t most) {
    const WordRuns *runs = &sets->runs;
    for (uint32_t row = 1; row < runs->table.count; row++)
        if (runs->count[row] == 0 || runs->count[row] > most ||
            !check_span(runs->first[row], runs->count[row], &sets->words.table))
            return check_bad(c, &runs->table, row, "the words are not in the pool");
    return true;
}
static uint64_t const_hash(const World *world, uint32_t row, uint64_t seed) {
    const ConstRows *rows = &world->consts.rows;
    return hash_bytes(consts_bytes(&world->consts, (ConstId){row}), rows->count[row],
                      hash_mix(seed, rows->type[row].row));
}
/* Bytes of a static type; false if a size is symbolic, negative, or too large for a payload. */
static bool type_bytes(const World *world, TypeId type, uint64_t *out_bytes) {
    uint64_t bytes = dtype_bytes(type_dtype(&world->types, type));
    for (uint32_t i = 0; i < type_rank(&world->types, type); i++) {
        DimId dim = type_dims(&world->types, type)[i];
        if (!dims_is_const(&world->dims, dim) || dims_const_value(&world->dims, dim) < 0)
            return false;
        uint64_t size = (uint64_t)dims_const_value(&world->dims, dim);
        if (__builtin_mul_overflow(bytes, size, &bytes) || bytes > UINT32_MAX) return false;
    }
    *out_bytes = bytes;
    return true;
}
static bool check_consts(const Check *c) {
    const ConstRows *rows = &c->world->consts.rows;
    for (uint32_t row = 1; row < rows->table.count; row++) {
        uint64_t bytes;
        if (rows->type[row].row == 0 || rows->type[row].row >= c->world->types.types.table.count)
            return check_bad(c, &rows->table, row, "the type is missing");
        if (!type_bytes(c->world, rows->type[row], &bytes) || bytes != rows->count[row])
            return check_bad(c, &rows->table, row, "the payload does not fit the type");
        if (rows->first[row] == 0 || rows->first[row] % 16 != 0 ||
            !check_span(rows->first[row], rows->count[row], &c->world->consts.bytes.table))
            return check_bad(c, &rows->table, row, "the payload is not in the pool");
    }
    return check_distinct(c, &rows->table, const_hash);
}
static bool check_locs(const Check *c) {
    const Locs *locs = &c->world->locs;
    for (uint32_t row = 1; row < locs->table.count; row++)
        if (locs->file[row].row >= c->world->strings.rows.table.count)
            return check_bad(c, &locs->table, row, "the file name is missing");
    return true;
}
static uint64_t need_hash(const World *world, uint32_t row, uint64_t seed) {
    const CheckRows *rows = &world->checks.rows;
    return hash_words((uint64_t)rows->lhs[row].row << 32 | rows->rhs[row].row,
                      (uint64_t)rows->body[row].row << 8 | rows->kind[row], seed);
}
static bool check_needs(const Check *c) {
    const World     *world = c->world;
    const CheckRows *rows = &world->checks.rows;
    for (uint32_t row = 1; row < rows->table.count; row++) {
        uint32_t lhs = rows->lhs[row].row, rhs = rows->rhs[row].row;
        bool     dims = lhs != 0 && rhs != 0 && lhs < world->dims.rows.table.count &&
                    rhs < world->dims.rows.table.count;
        bool kinds = rows->kind[row] != CHECK_NIL && rows->kind[row] < CHECK_KIND_COUNT &&
                     rows->opcode[row] < OP_COUNT;
        bool places = rows->body[row].row < world->code.blocks.table.count &&
                      rows->loc[row].row < world->locs.table.count &&
                      rows->what[row].row < world->strings.rows.table.count;
        if (!dims || !kinds || !places)
            return check_bad(c, &rows->table, row, "a check of sizes is malformed");
    }
    return check_distinct(c, &rows->table, need_hash);
}

bool check_world(const World *world, Diags *diags) {
    Check  check = {.world = world, .diags = diags};
    World *tables = (World *)(uintptr_t)world; /* only read */
    for (uint32_t i = 0; world_table(tables, i) != NULL; i++)
        if (!check_nil_row(&check, world_table(tables, i))) return false;
    return check_strings(&check) && check_monos(&check) && check_dims(&check) &&
           check_types(&check) && check_runs(&check, &world->attrs.records, ATTRS_MAX) &&
           check_distinct(&check, &world->attrs.records.runs.table, record_hash) &&
           check_runs(&check, &world->attrs.lists, LIST_MAX) &&
           check_distinct(&check, &world->attrs.lists.runs.table, list_hash) &&
           check_consts(&check) && check_locs(&check) && check_code(&check) && check_needs(&check);
}
