#pragma once

/*
 * Looking for chunks of nodes that fell silent, to take them over: XPENDING with IDLE, then XCLAIM,
 * which checks again how long a chunk was idle, so of two nodes that found it only one gets it.
 *
 * XAUTOCLAIM is not used: it stops after ten entries for each that it may return, so chunks behind
 * many long tasks of live nodes would not be found; and it looks up each entry in the stream, which
 * costs a hundred times as much as its place in the list of pending entries.
 *
 * The list grows with the number of nodes, and if each of them looked, the cost would grow with the
 * square of it: so one looks on behalf of all. The node that manages to set the key look:<workload>
 * does the looking; the key lasts an eighth of the heartbeat. A node that finds as much as it can
 * take removes the key at once, for there may be more.
 *
 * A node looks when it has room, before it reads new chunks: the chunks that have waited longest
 * come first.
 */

#include "daemon/runner/node/chunks.h"

struct look {
        struct streams *streams;
        struct chunks *chunks;
        bool due;   /* set by each heartbeat */
        unsigned n; /* streams that are being looked through */
};

/*
 * Looks for chunks of silent nodes when it is time and there is room. True: the chunks it finds
 * come first.
 */
bool look_first(struct look *look);
