/* The ids of code, apart from its tables, for those who only keep such ids: what inference writes
 * down (checks.h) is not part of the code, and includes little. */
#ifndef STOA_TABLES_CODE_IDS_H
#define STOA_TABLES_CODE_IDS_H

#include "arena/ids.h"

ID_TYPE(OpId, op_id);
ID_TYPE(ValueId, value_id);
ID_TYPE(BlockId, block_id);
ID_TYPE(GraphId, graph_id);
ID_TYPE(LocId, loc_id);

#endif
