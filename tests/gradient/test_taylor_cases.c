/* Taylor mode on every case of the gradient tests, so on every operator that has a derivative
 * (taylor_check.h). */
#define CASES_ONLY
#include "cases_composites.h"
#include "cases_contract.h"
#include "cases_control.h"
#include "cases_elementwise.h"
#include "cases_structure.h"
#include "taylor_check.h"

TEST(every_case_equals_repeated_forward_mode) {
    for (const CaseRow *row = case_rows; row != NULL; row = row->next) {
        ArenaMark mark = arena_mark(arena);
        taylor_check_case(arena, row->the_case);
        arena_release(arena, mark);
    }
    printf("\n  largest error: %.2g\n", taylor_worst);
}
