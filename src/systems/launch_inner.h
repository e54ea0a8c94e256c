/* What the sources of the launch system share: appending launches, arguments, slots and buffers.
 * Private to src/systems/launch*.c. */
#ifndef STOA_SYSTEMS_LAUNCH_INNER_H
#define STOA_SYSTEMS_LAUNCH_INNER_H

#include "systems/system.h"

/* What all dense values of a type have in common: made once a type, copied for every argument. */
typedef struct TypeArg {
    LaunchArg arg; /* without slot and offset; dims NULL: not made yet */
    uint64_t  bytes;
} TypeArg;

typedef struct OpenFlow { /* a control operator whose blocks are being launched */
    OpId     op;
    uint32_t head, label; /* launches; label: where a repetition begins */
    uint32_t unless;      /* the open one, 0: none */
    uint32_t jumps;       /* the last JUMP to the end; its target is the one before, 0: none */
    uint32_t rows_first;  /* scan: buffer of the row of the first stacked result */
} OpenFlow;

typedef struct Launching {
    SystemCtx      *ctx;
    Plan           *plan;
    TypeArg        *type_args;    /* by type row */
    const int64_t **list_strides; /* by list row: a list of strides at the plan's sizes, or NULL */
    uint32_t       *buffer_of;    /* by value row: buffer of owners, 0 while unset */
    bool            late;         /* the graph has late sizes: note what follows from sizes */
    OpenFlow        open[CODE_DEPTH_MAX];
    uint32_t        depth;
} Launching;

const TypeArg *launch_type_arg(Launching *l, ValueId value);
/* A buffer of value's size in a slot; 0: the arena. It becomes the buffer of the value. */
uint32_t launch_buffer(Launching *l, ValueId value, uint32_t slot);
uint32_t launch_slot(Launching *l, SlotKind kind, uint32_t index, uint64_t bytes);
/* A launch without arguments, which follow: launch_operand for each operand, then results. */
uint32_t launch_begin(Launching *l, OpId op, uint16_t opcode, AttrsId attrs);
void     launch_operand(Launching *l, uint32_t launch, ValueId value);
/* A dense result like value, in a buffer. */
void launch_result(Launching *l, uint32_t launch, ValueId value, uint32_t buffer);

/* launch_flow.c: before each row, instead of the return of a nested block, instead of a control
 * operator. */
void launch_flow_before(Launching *l, uint32_t row);
void launch_flow_return(Launching *l, uint32_t row);
void launch_flow_end(Launching *l, uint32_t row);

#endif
