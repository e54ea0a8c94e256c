/* Giving out names. Two passes over a graph: the first marks the names that the program brought,
 * the second walks in text order and numbers what would clash.
 *
 * Why names stay unique: a numbered name is base.k. Bases that are equal texts share one counter
 * (an operator's name that is also somebody's own name counts with that), and a candidate that is
 * itself somebody's own name is passed over. */
#include "text/names.h"

#include "text/walk.h"

typedef struct Namer {
    const World *world;
    const Code  *code;
    Arena       *scratch;
    uint32_t    *number;
    uint32_t    *marked; /* by StrId.row: graph in which it is somebody's name x 2 + given */
    uint32_t    *used;   /* by StrId.row: next number for that name in that graph */
    StrId        bases[OP_COUNT]; /* the operator's name as a string of the world; [0]: "arg" */
    uint32_t     counter[OP_COUNT];
    uint32_t     graph;
    bool         numbered; /* some own name of the graph ends like a numbered one */
} Namer;

static String base_of_opcode(uint32_t opcode) {
    return opcode == OP_NIL ? STR("arg") : str_of(op_infos[opcode].name);
}

String names_base(const World *world, const Code *code, ValueId value) {
    if (value.row == 0 || value.row >= code->values.table.count) return STR("nil");
    StrId name = code->values.name[value.row];
    if (str_id_some(name)) return strings_get(&world->strings, name);
    if (value_is_arg(code, value)) return STR("arg");
    return str_of(op_infos[code->ops.opcode[value_op(code, value).row]].name);
}

/* base.k */
static bool looks_numbered(String name) {
    size_t at = name.count;
    while (at > 0 && name.data[at - 1] >= '0' && name.data[at - 1] <= '9') at--;
    return at > 0 && at < name.count && name.data[at - 1] == '.';
}

/* --- marking ---------------------------------------------------------------------------------- */
static void mark_values(Namer *namer, ValueId first, uint32_t count) {
    for (uint32_t row = first.row; row < first.row + count; row++) {
        uint32_t name = namer->code->values.name[row].row;
        if (name == 0 || namer->marked[name] >> 1 == namer->graph) continue;
        namer->marked[name] = namer->graph << 1;
        namer->used[name] = 1;
        namer->numbered |= looks_numbered(strings_get(&namer->world->strings, (StrId){name}));
    }
}
static void mark_block_args(Namer *namer, BlockId block) {
    const Blocks *blocks = &namer->code->blocks;
    mark_values(namer, blocks->args_first[block.row], blocks->args_count[block.row]);
}
static void mark_graph(Namer *namer, BlockId body) {
    const Ops *ops = &namer->code->ops;
    uint32_t   last = namer->code->blocks.op_last[body.row];
    mark_block_args(namer, body);
    for (uint32_t row = namer->code->blocks.op_first[body.row]; row < last; row++) {
        mark_values(namer, ops->results_first[row], ops->results_count[row]);
        for (uint32_t i = 0; i < ops->blocks_count[row]; i++)
            mark_block_args(namer, (BlockId){ops->blocks_first[row].row + i});
    }
}

/* --- numbering -------------------------------------------------------------------------------- */
static bool taken(const Namer *namer, String base, uint32_t number) {
    ArenaMark mark = arena_mark(namer->scratch);
    char     *text = ARENA_ARRAY(namer->scratch, char, base.count + 1 + NAMES_DIGITS_MAX);
    memcpy(text, base.data, base.count);
    text[base.count] = '.';
    uint32_t digits = names_digits(text + base.count + 1, number);
    StrId    found = strings_find(&namer->world->strings, (String){text, base.count + 1 + digits});
    arena_release(namer->scratch, mark);
    return str_id_some(found) && namer->marked[found.row] >> 1 == namer->graph;
}
static uint32_t next_number(const Namer *namer, ValueId value, uint32_t *counter) {
    uint32_t number = (*counter)++;
    if (number == 0 || !namer->numbered) return number;
    String base = names_base(namer->world, namer->code, value);
    while (taken(namer, base, number)) number = (*counter)++;
    return number;
}
static void give(Namer *namer, ValueId value, uint32_t opcode) {
    StrId name = namer->code->values.name[value.row];
    bool  own = str_id_some(name);
    if (!own) name = namer->bases[opcode];
    uint32_t *marked = &namer->marked[name.row];
    bool      shared = str_id_some(name) && *marked >> 1 == namer->graph;
    if (own && !(*marked & 1))
        *marked |= 1; /* the bare name */
    else {
        uint32_t *counter = shared ? &namer->used[name.row] : &namer->counter[opcode];
        namer->number[value.row] = next_number(namer, value, counter);
    }
}
static void give_args(Namer *namer, BlockId block) {
    const Blocks *blocks = &namer->code->blocks;
    for (uint32_t i = 0; i < blocks->args_count[block.row]; i++)
        give(namer, (ValueId){blocks->args_first[block.row].row + i}, OP_NIL);
}
static void name_graph(Namer *namer, GraphId graph) {
    Walk      walk;
    BlockId   body = namer->code->graphs.block[graph.row];
    WalkEvent event;
    namer->graph = graph.row;
    namer->numbered = false;
    memset(namer->counter, 0, sizeof namer->counter);
    mark_graph(namer, body);
    give_args(namer, body);
    walk_begin(&walk, namer->code, body);
    while ((event = walk_next(&walk)) != WALK_END) {
        const Ops *ops = &namer->code->ops;
        if (event == WALK_ENTER) give_args(namer, walk.block);
        if (event != WALK_OP) continue;
        for (uint32_t i = 0; i < ops->results_count[walk.op.row]; i++)
            give(namer, op_result(namer->code, walk.op, i), ops->opcode[walk.op.row]);
    }
}

Names names_make(Arena *out, const World *world, const Code *code, GraphId graph) {
    Scratch scratch = scratch_begin(&out, 1);
    Namer  *namer = ARENA_NEW(scratch.arena, Namer);
    namer->world = world;
    namer->code = code;
    namer->scratch = scratch.arena;
    namer->number = ARENA_ARRAY_ZERO(out, uint32_t, code->values.table.count);
    namer->marked = ARENA_ARRAY_ZERO(scratch.arena, uint32_t, world->strings.rows.table.count);
    namer->used = ARENA_ARRAY(scratch.arena, uint32_t, world->strings.rows.table.count);
    for (uint32_t opcode = 0; opcode < OP_COUNT; opcode++)
        namer->bases[opcode] = strings_find(&world->strings, base_of_opcode(opcode));
    uint32_t first = graph_id_some(graph) ? graph.row : 1;
    uint32_t last = graph_id_some(graph) ? graph.row + 1 : code->graphs.table.count;
    for (uint32_t row = first; row < last; row++) name_graph(namer, (GraphId){row});
    Names names = {world, code, namer->number};
    scratch_end(scratch);
    return names;
}

/* --- text ------------------------------------------------------------------------------------- */
uint32_t names_digits(char *out, uint64_t number) {
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    uint32_t          count = 1;
    for (uint64_t power = 10; count < NAMES_DIGITS_MAX && number >= power; power *= 10) count++;
    uint32_t at = count;
    for (; number >= 10; number /= 100) {
        at -= 2;
        memcpy(out + at, pairs + number % 100 * 2, 2);
    }
    if (at != 0) out[0] = (char)('0' + number);
    return count;
}

String names_text(Arena *out, const Names *names, ValueId value) {
    String   base = names_base(names->world, names->code, value);
    bool     known = value.row < names->code->values.table.count;
    uint32_t number = known ? names->number[value.row] : 0;
    if (number != 0) base = str_format(out, "%.*s.%u", STR_ARGS(base), number);
    return names_plain(base) ? base : names_quote(out, base);
}

bool names_plain(String name) {
    enum { FIRST = 1, LATER = 2 };
    static const uint8_t classes[256] = {
        ['a'] = 3, ['b'] = 3, ['c'] = 3, ['d'] = 3, ['e'] = 3, ['f'] = 3, ['g'] = 3, ['h'] = 3,
        ['i'] = 3, ['j'] = 3, ['k'] = 3, ['l'] = 3, ['m'] = 3, ['n'] = 3, ['o'] = 3, ['p'] = 3,
        ['q'] = 3, ['r'] = 3, ['s'] = 3, ['t'] = 3, ['u'] = 3, ['v'] = 3, ['w'] = 3, ['x'] = 3,
        ['y'] = 3, ['z'] = 3, ['A'] = 3, ['B'] = 3, ['C'] = 3, ['D'] = 3, ['E'] = 3, ['F'] = 3,
        ['G'] = 3, ['H'] = 3, ['I'] = 3, ['J'] = 3, ['K'] = 3, ['L'] = 3, ['M'] = 3, ['N'] = 3,
        ['O'] = 3, ['P'] = 3, ['Q'] = 3, ['R'] = 3, ['S'] = 3, ['T'] = 3, ['U'] = 3, ['V'] = 3,
        ['W'] = 3, ['X'] = 3, ['Y'] = 3, ['Z'] = 3, ['_'] = 3, ['.'] = 2, ['0'] = 2, ['1'] = 2,
        ['2'] = 2, ['3'] = 2, ['4'] = 2, ['5'] = 2, ['6'] = 2, ['7'] = 2, ['8'] = 2, ['9'] = 2};
    uint8_t all = name.count != 0 ? classes[(uint8_t)name.data[0]] & FIRST : 0;
    all = (uint8_t)(all << 1);
    for (size_t i = 1; i < name.count; i++) all &= classes[(uint8_t)name.data[i]];
    return (all & LATER) != 0;
}

String names_quote(Arena *out, String name) {
    Text text = text_begin(out);
    text_add(&text, STR("\""));
    for (size_t i = 0; i < name.count; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c == '"' || c == '\\')
            text_addf(&text, "\\%c", c);
        else if (c == '\n')
            text_add(&text, STR("\\n"));
        else if (c == '\t')
            text_add(&text, STR("\\t"));
        else if (c < 32 || c == 127)
            text_addf(&text, "\\x%02x", c);
        else
            text_add(&text, (String){name.data + i, 1});
    }
    text_add(&text, STR("\""));
    return text_done(&text);
}
