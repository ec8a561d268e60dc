#pragma once

/* The heartbeat of a node: says that the chunks it holds are still its own. */

#include "daemon/runner/node/chunks.h"

struct beat {
        struct streams *streams;
        struct chunks *chunks;
        uint64_t due_ns;
        uint64_t heard_ns; /* when Redis last answered one; 0: never */
};

/* Returns whether it was sent, since there may be no Redis. */
bool beat_send(struct beat *beat);
