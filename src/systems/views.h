/* Views: where each value's elements live, symbolically. A value owns memory (base is the value
 * itself; dense row-major, unless it has strides) or is a strided view of a value that does.
 * Strides and offsets are dims, so one table serves every size. Filled by the layout system,
 * indexed by value row. */
#ifndef STOA_SYSTEMS_VIEWS_H
#define STOA_SYSTEMS_VIEWS_H

#include "tables/world.h"

#define VIEWS_COLUMNS(C)                                                                           \
    C(ValueId, base, "the value whose memory it is")                                               \
    C(DimId, offset, "elements from the start of base; nil: 0")                                    \
    C(ListId, strides, "DimId of the stride of each axis, elements; nil when dense")
TABLE_TYPE(Views, VIEWS_COLUMNS);

void views_open(Views *views, uint32_t rows_max, Budget *budget);
void views_close(Views *views);

#endif
