/* Sizes, shapes and types as text: "2*B*T+1", "[B,64]", "f32[B,64]".
 *
 * The text of a dim depends on its content only, never on row numbers: terms are ordered by degree,
 * then by their text, and so are factors and the operands of min and max. Thus a printed program
 * that is parsed into another world prints the same again. A ShapeTexts remembers what it made, by
 * row, because a program has few types and many values. A text longer than SHAPES_DIM_BYTES_MAX is
 * cut to "..." (expressions share parts, so their text can grow exponentially). */
#ifndef STOA_TEXT_SHAPES_H
#define STOA_TEXT_SHAPES_H

#include "tables/world.h"

enum { SHAPES_DIM_BYTES_MAX = 1 << 14 };

typedef struct ShapeTexts {
    const Dims    *table;   /* the sizes */
    const Strings *strings; /* the names of their symbols */
    const Types   *owner;   /* of types; NULL: sizes only */
    Arena         *arena;   /* where the texts live */
    String        *dims;    /* by DimId.row; no data: not made yet */
    String        *types;   /* by TypeId.row */
} ShapeTexts;

ShapeTexts shapes_begin(Arena *arena, const World *world);
ShapeTexts shapes_begin_dims(Arena *arena, const Dims *dims, const Strings *strings);
String     shapes_dim(ShapeTexts *texts, DimId dim);    /* "?" for nil */
String     shapes_type(ShapeTexts *texts, TypeId type); /* "?" for nil */

/* One-off forms. */
String text_dim(Arena *out, const World *world, DimId dim);
String text_shape(Arena *out, const World *world, ShapeId shape);
String text_type(Arena *out, const World *world, TypeId type);

#endif
