/* The views table: opening and closing.
 *
 * Rows are filled by the layout system and read by launch; see views.h for what they mean. */
#include "systems/views.h"

#define TABLE_SELF_ Views
TABLE_INFO(Views, views_info, "views", VIEWS_COLUMNS);
#undef TABLE_SELF_

void views_open(Views *views, uint32_t rows_max, Budget *budget) {
    memset(views, 0, sizeof *views);
    table_open(&views->table, &views_info, rows_max, budget);
}
void views_close(Views *views) { table_close(&views->table); }
