#pragma once

/*
 * Looking for chunks of nodes that fell silent, to take them over: XPENDING with IDLE, then XCLAIM, which
 * looks again at how long a chunk was not spoken for, so of two that found it one gets it.
 *
 * Not XAUTOCLAIM: that stops after ten entries for each it may return, so what long tasks of live nodes
 * stand before would not be found, and it looks up each entry in the stream, which costs a hundred times
 * as much as its place in the list of what is pending.
 *
 * The list grows with the number of nodes, and if each of them looked, the cost would grow with the square of
 * it: so one looks on behalf of all. The node that manages to set the key look:<workload> does, which lasts
 * an eighth of the heartbeat. One that finds as much as it can take removes the key at once, for there may be
 * more.
 *
 * A node looks when it has room, before it reads new chunks: who waited longest comes first.
 */

#include "daemon/runner/node/chunks.h"

struct look {
        struct streams *streams;
        struct chunks *chunks;
        bool due;                       /* set by each heartbeat */
        unsigned n;                     /* streams that are being looked through */
};

/*
 * Looks for chunks of silent nodes when it is time and there is room. True: the chunks it finds come first.
 */
bool look_first(struct look *look);
