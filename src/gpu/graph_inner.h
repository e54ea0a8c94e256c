/* What graph.c and graph_host.c share: putting nodes into graphs of the driver, and graphs whose
 * conditions the host decides.
 *
 * There, what stands between conditional nodes is one graph of the driver each. Conditions are
 * words of page-locked memory that kernels write to; before a node that has one the host waits for
 * the stream, then reads it. */
#ifndef STOA_GPU_GRAPH_INNER_H
#define STOA_GPU_GRAPH_INNER_H

#include "gpu/gpu.h"

/* Adds the nodes [first, last) of a list; what they follow of earlier ones has happened. handles:
 * as long as the list, filled. Nodes with bodies only where the device decides. */
MUST_USE Status graph_add_nodes(Gpu *gpu, CuGraph graph, const GpuNodes *list, uint32_t first,
                                uint32_t last, Arena *scratch, CuNode *handles, Diags *diags);

MUST_USE Status graph_host_condition(GpuGraph *graph, uint32_t initial, Diags *diags,
                                     CuCondition *out_condition);
/* Makes graph->host. Lives in out; what the driver made goes with graph_host_close. */
MUST_USE Status graph_host_add(GpuGraph *graph, Arena *out, const GpuNodes *nodes, Diags *diags);
MUST_USE Status graph_host_finish(const GpuGraph *graph, Diags *diags);
MUST_USE Status graph_host_launch(const GpuGraph *graph, GpuStream stream, Diags *diags);
void            graph_host_close(GpuGraph *graph); /* safe where there is none */

#endif
