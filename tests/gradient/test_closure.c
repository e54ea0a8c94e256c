/* Is every operator differentiated, refused, or left out for a reason?
 *
 * Every opcode that can carry a derivative (a float result, not flagged ZERO_GRAD) must appear in a
 * gradient case, or in a program below that differentiate refuses with a diagnostic (never a silent
 * zero), or in the short list of exemptions. */
#define CASES_ONLY
#include "cases_composites.h"
#include "cases_contract.h"
#include "cases_elementwise.h"
#include "cases_structure.h"
#include "refusals.h"

typedef struct Exemption {
    Opcode      opcode;
    const char *reason;
} Exemption;
static const Exemption exemptions[] = {
    {OP_GRADIENT, "every case has one"},
    {OP_JVP, "every case has one"},
    {OP_TAYLOR, "test_taylor_cases.c gives one to every case"},
    {OP_DERIVATIVES, "test_taylor.c"},
    {OP_JACOBIAN, "test_batch_nested.c"},
    {OP_VMAP, "test_batch.c gives one to every case"},
    {OP_PARAMETER, "no operands; test_special.c differentiates with respect to one"},
    {OP_DYNAMIC_RESHAPE, "the interpreter has no run-time shapes"},
    {OP_DYNAMIC_BROADCAST, "the interpreter has no run-time shapes"},
    {OP_IF, "test_control.c differentiates blocks"},
    {OP_SWITCH, "test_control.c differentiates blocks"},
    {OP_WHILE, "test_control.c differentiates blocks"},
    {OP_SCAN, "test_control.c differentiates blocks"},
    {OP_CALL, "its rows take its place before"},
    {OP_CUSTOM_GRAD, "test_control.c differentiates graphs"},
    {OP_PULLBACK, "stands for a derivative itself"},
    {OP_NARROW_DOT, "rounds to 8 bits; test_api_narrow.c compares its gradients with exact ones"},
    {OP_FUSED, "written after differentiation"},
    {OP_ALL_REDUCE, "collectives are declared, not run yet"},
    {OP_ALL_GATHER, "collectives are declared, not run yet"},
    {OP_REDUCE_SCATTER, "collectives are declared, not run yet"},
    {OP_ALL_TO_ALL, "collectives are declared, not run yet"},
    {OP_PERMUTE, "collectives are declared, not run yet"},
};

static void mark_opcodes(const World *world, bool *seen) {
    for (uint32_t row = 1; row < world->code.ops.table.count; row++)
        seen[world->code.ops.opcode[row]] = true;
}
/* Dtypes that no operand decides: compare gives bool, whatever it is told. */
static bool never_float(Opcode opcode) {
    static const Opcode none[] = {
        OP_AND,     OP_OR,        OP_XOR,      OP_SHL,        OP_SHR_ARITH, OP_SHR_LOGICAL, OP_NOT,
        OP_COMPARE, OP_IS_FINITE, OP_RNG_BITS, OP_ARG_REDUCE, OP_DIM_SIZE,  OP_RANK_ID};
    for (uint32_t i = 0; i < LENGTH(none); i++)
        if (none[i] == opcode) return true;
    return op_infos[opcode].results == 0;
}

TEST(every_opcode_has_a_case) {
    bool seen[OP_COUNT] = {false};
    for (const CaseRow *row = case_rows; row != NULL; row = row->next) {
        ArenaMark mark = arena_mark(arena);
        Form      form;
        if (form_open(&form, arena, row->the_case, NULL, 0, false)) mark_opcodes(form.world, seen);
        form_close(&form);
        arena_release(arena, mark);
    }
    for (uint32_t i = 0; i < LENGTH(refusals); i++) seen[refusals[i].opcode] = true;
    for (uint32_t i = 0; i < LENGTH(exemptions); i++) {
        EXPECT(!seen[exemptions[i].opcode]); /* an exemption that is not needed */
        seen[exemptions[i].opcode] = true;
    }
    for (Opcode opcode = OP_NIL + 1; opcode < OP_COUNT; opcode++) {
        bool passive = (op_infos[opcode].flags & OP_ZERO_GRAD) || never_float(opcode);
        if (!EXPECT(seen[opcode] || passive)) printf(" %s", op_infos[opcode].name);
    }
}

TEST(what_has_no_derivative_is_refused) {
    for (uint32_t i = 0; i < LENGTH(refusals); i++) refusal_check(arena, &refusals[i]);
}
