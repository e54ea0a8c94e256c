/* The program that bench_systems measures: a GPT-like language model of any number of layers over
 * symbolic batch and time, with or without its training step (gradient of the loss in every
 * parameter, clip by the global norm, AdamW, assignments).
 *
 * Built row by row through tables/build.h, as a front end does: parameters get names, lists of axes
 * are interned, types are inferred. A layer is 33 rows: 12 parameters, 2 norms, 4 linear maps, the
 * split into heads and back, attention, GELU and two residual sums. */
#ifndef STOA_BENCH_GPT_GRAPH_H
#define STOA_BENCH_GPT_GRAPH_H

#include "tables/build.h"

enum { GPT_LAYER_ROWS = 33, GPT_LAYER_PARAMETERS = 12 };
enum { GPT_WIDTH = 64, GPT_HEADS = 4, GPT_VOCABULARY = 256, GPT_CONTEXT = 128 };
enum { GPT_INPUTS = 4 }; /* tokens and labels i32[B,T], rate and step f32 */

/* Adds the graph "main" to an empty world. Parameter lists live in scratch memory of the caller. */
GraphId gpt_graph_add(World *world, Arena *scratch, uint32_t layers, bool train);

#endif
