#pragma once

/* The streams of chunks that a node reads, one for each workload it runs, and the Redis that has
 * them. */

#include "daemon/runner/machines/codec.h"
#include "daemon/runner/machines/keys.h"
#include "daemon/runner/machines/redis-link.h"

struct stream {
        enum workload_id workload;
        char *key;
        char *key_look; /* of the lock of who looks for chunks of silent nodes on it */
};

struct streams {
        struct machines machines;
        struct redis_link link;
        struct stream list[_WORKLOAD_N];
        unsigned n;
        uint64_t groups_ns; /* their groups were refused; not before that again */
        bool full_said;     /* that Redis takes nothing */
};

/* @workloads: bits. The contents of @machines still belong to the caller. Returns 0 or -ENOMEM. */
int streams_init(struct streams *streams, const struct machines *machines, char *owner,
                 unsigned workloads, const struct redis_link_ops *ops);
void streams_deinit(struct streams *streams);

/* Makes the consumer group of each. */
void streams_make_groups(struct streams *streams);

/* The stream of that key, or NULL. */
const struct stream *streams_find(const struct streams *streams, const redisReply *key);

/*
 * A chunk that no node claimed for this time is taken over. Its holder claims it every quarter of
 * the heartbeat, and somebody looks at least every three eighths of it: so a death is noticed
 * within a heartbeat.
 */
static inline uint64_t streams_silence_ms(const struct streams *streams)
{
        return streams->machines.heartbeat_ns * 5 / 8 / NSEC_PER_MSEC;
}
