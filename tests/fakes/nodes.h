/* Nodes and graphs of the stand-in driver: what they are, how they run.
 *
 * Of the nodes that are ready it runs the last one first, so a dependency that was forgotten shows.
 * Included by cuda.c. */
#ifndef STOA_TESTS_FAKES_NODES_H
#define STOA_TESTS_FAKES_NODES_H

/* Zeros behind arguments: tests that run kernels look at the first four words of any. */
enum { ARGS_PAD = 32 };
typedef enum NodeKind { KERNEL, COPY, FILL, CHILD, EMPTY, CONDITIONAL } NodeKind;
struct CUgraphNode_st {
    NodeKind       kind;
    uint64_t       id;
    unsigned       index, after[AFTER_MAX], after_count;
    CuFunction     function;
    unsigned char *args;
    size_t         args_bytes;
    CuLaunchValue  cluster;
    CuCopyNode     copy;
    CuFillNode     fill;
    CuGraph       *children; /* CHILD: a copy; CONDITIONAL: the bodies, owned by the node */
    unsigned       children_count;
    CuCondition    condition;
    int            type;
};
struct CUgraph_st {
    CuNode  *nodes;
    unsigned count, max;
};
struct CUgraphExec_st {
    CuGraph graph; /* a copy */
};
/* Nodes of a recording that what comes next on a stream, or after an event, waits for. */
typedef struct Marks {
    uint64_t recording; /* its number; that of one that is over: there are none */
    unsigned nodes[AFTER_MAX], count;
} Marks;
struct CUstream_st {
    Marks marks;
};
struct CUevent_st {
    double ms;
    Marks  marks;
};
struct CUmod_st {
    uint32_t variable[4];
};
struct CUfunc_st {
    char name[64];
    void (*run)(const void *args, CuFunction function);
};
typedef struct Condition {
    unsigned initial, value;
} Condition;
static Condition conditions[CONDITIONS_MAX];
static unsigned  conditions_count;

#include "tests/fakes/kernels.h"

static void run_copy(const CuCopyNode *copy) {
    memmove((void *)(uintptr_t)copy->into.device, (const void *)(uintptr_t)copy->from.device,
            copy->width_bytes);
}
static void run_fill(const CuFillNode *fill) {
    for (size_t i = 0; i < fill->width; i++)
        memcpy((char *)(uintptr_t)fill->into + i * fill->element_bytes, &fill->value,
               fill->element_bytes); /* little-endian */
}

static void tell_work(FakeWork work, const char *kernel, size_t bytes, uint64_t node) {
    if (watch != NULL) watch->work(work, kernel, bytes, node);
}
/* In an instance, nodes of child graphs go by ids that nobody was told of, as in the driver. */
static unsigned inside;

static void tell_node(const struct CUgraphNode_st *node) {
    uint64_t id = node->id + ((uint64_t)inside << 40);
    size_t   filled = node->fill.width * node->fill.element_bytes;
    if (node->kind == KERNEL) tell_work(FAKE_KERNEL, node->function->name, 0, id);
    if (node->kind == COPY) tell_work(FAKE_COPY, NULL, node->copy.width_bytes, id);
    if (node->kind == FILL) tell_work(FAKE_FILL, NULL, filled, id);
}

static void run_graph(const struct CUgraph_st *graph);
static void run_conditional(const struct CUgraphNode_st *node, const unsigned *value) {
    unsigned number = node->type == ABI_CU_GRAPH_COND_TYPE_IF ? *value == 0 : *value;
    if (node->type != ABI_CU_GRAPH_COND_TYPE_WHILE && number < node->children_count)
        run_graph(node->children[number]);
    while (node->type == ABI_CU_GRAPH_COND_TYPE_WHILE && *value != 0) run_graph(node->children[0]);
}
static void run_node(const struct CUgraphNode_st *node) {
    switch (node->kind) {
    case KERNEL: node->function->run(node->args, node->function); break;
    case COPY: run_copy(&node->copy); break;
    case FILL: run_fill(&node->fill); break;
    case CHILD:
        inside++;
        run_graph(node->children[0]);
        inside--;
        break;
    case EMPTY: break;
    case CONDITIONAL: run_conditional(node, &conditions[node->condition].value); break;
    }
}
/* Of the nodes that are ready, always the last: an order that a missing dependency spoils. */
static void run_graph(const struct CUgraph_st *graph) {
    bool *done = calloc(graph->count + 1, sizeof *done);
    for (unsigned ran = 0; ran < graph->count; ran++) {
        unsigned pick = graph->count;
        for (unsigned i = graph->count; i-- > 0 && pick == graph->count;) {
            bool ready = !done[i];
            for (unsigned k = 0; k < graph->nodes[i]->after_count; k++)
                ready = ready && done[graph->nodes[i]->after[k]];
            if (ready) pick = i;
        }
        done[pick] = true;
        tell_node(graph->nodes[pick]);
        run_node(graph->nodes[pick]);
    }
    free(done);
}

static CuGraph copy_graph(const struct CUgraph_st *from);
static CuNode  copy_node(const struct CUgraphNode_st *from) {
     CuNode into = malloc(sizeof *into);
     *into = *from;
     into->id = ++nodes_made;
     if (watch != NULL) watch->node(into, (CuNode)(uintptr_t)from);
    into->args = calloc(1, from->args_bytes + ARGS_PAD);
     if (from->args_bytes > 0) memcpy(into->args, from->args, from->args_bytes);
    into->children = calloc(from->children_count + 1, sizeof *into->children);
     for (unsigned i = 0; i < from->children_count; i++)
        into->children[i] = copy_graph(from->children[i]);
    return into;
}
static CuGraph copy_graph(const struct CUgraph_st *from) {
    CuGraph into = calloc(1, sizeof *into);
    into->nodes = calloc(from->count + 1, sizeof *into->nodes);
    into->count = into->max = from->count;
    for (unsigned i = 0; i < from->count; i++) into->nodes[i] = copy_node(from->nodes[i]);
    return into;
}
static void free_graph(CuGraph graph) {
    for (unsigned i = 0; i < graph->count; i++) {
        CuNode node = graph->nodes[i];
        for (unsigned k = 0; k < node->children_count; k++) free_graph(node->children[k]);
        free(node->children);
        free(node->args);
        free(node);
    }
    free(graph->nodes);
    free(graph);
}
static bool same_structure(const struct CUgraph_st *a, const struct CUgraph_st *b) {
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = a->nodes[i]->kind == b->nodes[i]->kind &&
               a->nodes[i]->after_count == b->nodes[i]->after_count;
    return same;
}
static CuNode add_node(CuGraph graph, const CuNode *after, size_t after_count, NodeKind kind) {
    if (graph->count == graph->max) {
        graph->max = graph->max * 2 + 16;
        graph->nodes = realloc(graph->nodes, graph->max * sizeof *graph->nodes);
    }
    CuNode node = graph->nodes[graph->count] = calloc(1, sizeof *node);
    node->index = graph->count++;
    node->kind = kind;
    node->id = ++nodes_made;
    for (size_t i = 0; i < after_count; i++) node->after[node->after_count++] = after[i]->index;
    if (watch != NULL) watch->node(node, NULL);
    return node;
}
static void add_children(CuNode node, unsigned count) {
    node->children = calloc(count + 1, sizeof *node->children);
    node->children_count = count;
    for (unsigned i = 0; i < count; i++) node->children[i] = calloc(1, sizeof **node->children);
}

#endif
