/* Which linear layers multiply 8-bit floats, in which of their three products, and how they are
 * written then; narrow.c asks. */
#ifndef STOA_SYSTEMS_NARROW8_H
#define STOA_SYSTEMS_NARROW8_H

#include "systems/rewrite.h"
#include "systems/system.h"

enum { NARROW8_NOTHING = NARROW_WIDE_Z | NARROW_WIDE_DX | NARROW_WIDE_DY };
/* By operator row: the products that stay as they are (NarrowWide bits), all of them for rows that
 * are no linear layers of f32 with known sizes in sixteens, or in blocks. In the scratch arena.
 * Linear. */
const uint32_t *narrow8_choose(SystemCtx *ctx);
/* A linear layer of f32 with narrow_dot as its product; its result in f32. */
ValueId narrow8_linear(Rewrite *rw, OpId op, uint32_t wide, uint32_t block);

#endif
