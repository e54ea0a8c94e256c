/* The binary form of a world: its tables as they are in memory, for saving fast and loading without
 * parsing. The text form is the one to keep: a binary file can be read only by a build that has the
 * same operators, attributes, element types and columns (a hash of all of them is in the header).
 *
 *     header (64 bytes) | directory | columns, each from a multiple of 64 bytes
 *     directory: per table {name, columns, rows}, then per column {name, width, crc32c, offset}
 *
 * Everything is little-endian. The header has a checksum of the directory, which has one of each
 * column, so every byte that is used is covered. Loading trusts nothing: places must be the ones
 * the writer computes, checksums must agree, and check_world must accept every row. */
#ifndef STOA_TEXT_BINARY_H
#define STOA_TEXT_BINARY_H

#include "arena/status.h"
#include "tables/world.h"

/* Writes path through path.tmp, so readers never see a half; does not wait for the disk. */
MUST_USE Status binary_save(const World *world, const char *path, Diags *diags);
/* The same bytes in memory. */
String binary_bytes(Arena *out, const World *world);

/* Into a world that was just opened. After a failure the world can only be closed. diags must not
 * be saved with it and may be world->diags. Unwinds when the world's budget is too small. */
MUST_USE Status binary_load(World *world, const char *path, Diags *diags);
MUST_USE Status binary_load_bytes(World *world, String bytes, String name, Diags *diags);
/* Whether these are the first bytes of such a file. */
bool binary_is(String bytes);

#endif
