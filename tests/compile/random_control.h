/* Random structured programs: those of random_program.h with if, switch, while and scan among the
 * operators, up to five deep. Blocks use what is around them; loops make few trips, and may make
 * none. */
#ifndef STOA_TESTS_RANDOM_CONTROL_H
#define STOA_TESTS_RANDOM_CONTROL_H

#include "random_program.h"

enum { CONTROL_DEPTH = 5, CARRIES_MAX = 3 };
typedef struct Control {
    Random   r;
    uint32_t depth, names; /* names: of results, which are chosen before their blocks */
    bool     prints;       /* values whose bits do not depend on how they are computed */
} Control;

static inline void control_rows(Control *c, uint32_t most);

/* Values of a block are forgotten at its end. */
static inline Value control_name(Control *c, Value like) {
    like.name = str_format(c->r.arena, "%%c%u", c->names++).data;
    return like;
}
static inline void control_keep(Control *c, Value value) {
    if (c->r.count < VALUES_MAX) c->r.values[c->r.count++] = value;
}
static inline const char *type_text(Control *c, const Value *value) {
    return value->shape.rank == 0
               ? value->dtype
               : str_format(c->r.arena, "%s[%s]", value->dtype, dims_text(&c->r, &value->shape))
                     .data;
}
static inline void put_names(Control *c, const Value *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) put(&c->r, "%s%s", i ? ", " : "", values[i].name);
}
static inline void put_types(Control *c, const Value *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        put(&c->r, "%s%s", i ? ", " : "", type_text(c, &values[i]));
}
/* A value of some type that has a result in every block. */
static inline void control_return(Control *c, const Value *wanted, uint32_t count,
                                  const char *first) {
    Value given[CARRIES_MAX + 1];
    for (uint32_t i = 0; i < count; i++) given[i] = like(&c->r, wanted[i].dtype, wanted[i].shape);
    put(&c->r, "  return %s%s", first, first[0] && count ? ", " : "");
    put_names(c, given, count);
    put(&c->r, "\n}");
}
static inline uint32_t pick_some(Control *c, Value *out, uint32_t most) {
    uint32_t count = 1 + draw(&c->r, most);
    for (uint32_t i = 0; i < count; i++) out[i] = any_value(&c->r);
    return count;
}

static inline void add_branches(Control *c) {
    Random  *r = &c->r;
    Value    results[CARRIES_MAX];
    bool     cases = draw(r, 3) == 0;
    uint32_t count = pick_some(c, results, 2), blocks = cases ? 1 + draw(r, 3) : 2;
    Value    which = like(r, cases ? "i64" : "bool", (Shape){0});
    for (uint32_t i = 0; i < count; i++) results[i] = control_name(c, results[i]);
    put(r, "  ");
    put_names(c, results, count);
    put(r, cases ? " = switch %s {cases=%u} : " : " = if %s : ", which.name, blocks);
    put_types(c, results, count);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t before = r->count;
        put(r, " {\n");
        control_rows(c, 4);
        control_return(c, results, count, "");
        r->count = before;
    }
    put(r, "\n");
    for (uint32_t i = 0; i < count; i++) control_keep(c, results[i]);
}

static inline void put_args(Control *c, const char *first, const Value *args, uint32_t count) {
    put(&c->r, " (%s: i64", first);
    for (uint32_t i = 0; i < count; i++)
        put(&c->r, ", %s: %s", args[i].name, type_text(c, &args[i]));
    put(&c->r, ") {\n");
}
static inline void add_while(Control *c) {
    Random     *r = &c->r;
    Value       initial[CARRIES_MAX], results[CARRIES_MAX + 1], args[CARRIES_MAX];
    uint32_t    count = pick_some(c, initial, CARRIES_MAX), trips = draw(r, 4);
    Value       scalar = {"", "i64", {0}};
    Value       zero = control_name(c, scalar), one = control_name(c, scalar);
    Value       limit = control_name(c, scalar);
    const char *i1 = control_name(c, scalar).name, *i2 = control_name(c, scalar).name;
    const char *more = control_name(c, scalar).name, *next = control_name(c, scalar).name;
    put(r, "  %s = constant {value=i64 0}\n  %s = constant {value=i64 1}\n", zero.name, one.name);
    put(r, "  %s = constant {value=i64 %u}\n  ", limit.name, trips);
    results[0] = control_name(c, scalar);
    for (uint32_t i = 0; i < count; i++) results[i + 1] = control_name(c, initial[i]);
    put_names(c, results, count + 1);
    put(r, " = while %s, ", zero.name);
    put_names(c, initial, count);
    put(r, " : ");
    put_types(c, results, count + 1);
    for (uint32_t i = 0; i < count; i++) args[i] = control_name(c, initial[i]);
    put_args(c, i1, args, count);
    put(r, "  %s = compare %s, %s {direction=lt}\n  return %s\n}", more, i1, limit.name, more);
    uint32_t before = r->count;
    for (uint32_t i = 0; i < count; i++) control_keep(c, args[i] = control_name(c, initial[i]));
    put_args(c, i2, args, count);
    put(r, "  %s = add %s, %s\n", next, i2, one.name);
    control_rows(c, 4);
    control_return(c, initial, count, next);
    r->count = before;
    put(r, "\n");
    for (uint32_t i = 0; i < count; i++) control_keep(c, results[i + 1]);
}

static inline void add_scan(Control *c) {
    Random     *r = &c->r;
    Value       initial[CARRIES_MAX], args[CARRIES_MAX + 1], results[CARRIES_MAX + 1];
    Value       x = any_value(r), row = x;
    uint32_t    carries = draw(r, CARRIES_MAX), count = carries;
    const char *length = "3", *index = control_name(c, x).name;
    for (uint32_t i = 0; i < carries; i++) initial[i] = any_value(r);
    bool scans = x.shape.rank != 0, reverse = draw(r, 2) != 0;
    if (scans) {
        length = x.shape.dims[0];
        row.shape.rank--;
        for (uint32_t i = 0; i < row.shape.rank; i++) row.shape.dims[i] = x.shape.dims[i + 1];
    }
    Value stacked = any_value(r), rows = stacked; /* the type of a further result, and its rows */
    bool  stacks = (stacked.shape.rank < 3 && grows(&stacked) && draw(r, 3) != 0) || carries == 0;
    if (stacked.shape.rank >= 3) stacked = rows = constant(r, "f32");
    stacked.shape.rank++;
    for (uint32_t i = 1; i < stacked.shape.rank; i++)
        stacked.shape.dims[i] = rows.shape.dims[i - 1];
    stacked.shape.dims[0] = length;
    for (uint32_t i = 0; i < carries; i++) results[i] = control_name(c, initial[i]);
    if (stacks) results[count++] = control_name(c, stacked);
    put(r, "  ");
    put_names(c, results, count);
    put(r, " = scan ");
    put_names(c, initial, carries);
    if (scans) put(r, "%s%s", carries ? ", " : "", x.name);
    put(r, " {carries=%u, reverse=%s%s%s} : ", carries, reverse ? "true" : "false",
        scans ? "" : ", length=", scans ? "" : length);
    put_types(c, results, count);
    uint32_t before = r->count, takes = carries;
    for (uint32_t i = 0; i < carries; i++) control_keep(c, args[i] = control_name(c, initial[i]));
    if (scans) control_keep(c, args[takes++] = control_name(c, row));
    control_keep(c, (Value){index, "i64", {0}});
    put_args(c, index, args, takes);
    control_rows(c, 4);
    Value wanted[CARRIES_MAX + 1];
    memcpy(wanted, initial, carries * sizeof *wanted);
    wanted[carries] = rows;
    control_return(c, wanted, count, "");
    r->count = before;
    put(r, "\n");
    for (uint32_t i = 0; i < count; i++) control_keep(c, results[i]);
}

static inline void control_rows(Control *c, uint32_t most) {
    uint32_t count = 1 + draw(&c->r, most);
    for (uint32_t i = 0; i < count && c->r.count + 12 < VALUES_MAX; i++) {
        uint32_t kind = c->depth < CONTROL_DEPTH ? draw(&c->r, c->depth == 0 ? 6 : 9) : 9;
        c->depth++;
        if (kind == 0)
            add_branches(c);
        else if (kind == 1)
            add_while(c);
        else if (kind == 2)
            add_scan(c);
        else
            add_operator(&c->r);
        c->depth--;
        if (!c->prints || draw(&c->r, 2) != 0) continue;
        Value said = any_value(&c->r);
        if (strchr("iu", said.dtype[0]) != NULL || said.dtype[1] == 'o')
            put(&c->r, "  print %s\n", said.name);
    }
}
static inline String random_control_of(Arena *arena, uint64_t seed, bool prints) {
    Control c = {.r = {.arena = arena, .seed = seed + 1}, .prints = prints};
    Random *r = &c.r;
    r->text = text_begin(arena_open("program", 1 << 22, 0));
    uint32_t inputs = 1 + draw(r, 3), outputs = 1 + draw(r, 6);
    put(r, "dim B range=0..1000\ndim C range=0..1000\ndim D range=0..1000\ngraph f(%%seed: i64[], "
           "%%shape: u8[B,C,D], ");
    for (uint32_t i = 0; i < inputs; i++) add_input(r);
    put(r, ") {\n");
    control_rows(&c, 12);
    put(r, "  return ");
    for (uint32_t i = 0; i < outputs; i++) /* the last one, and others */
        put(r, "%s%s", i ? ", " : "", i ? any_value(r).name : r->values[r->count - 1].name);
    put(r, "\n}\n");
    String copy = str_copy(arena, text_done(&r->text));
    arena_close(r->text.arena);
    return copy;
}
static inline String random_control(Arena *arena, uint64_t seed) {
    return random_control_of(arena, seed, false);
}

#endif
