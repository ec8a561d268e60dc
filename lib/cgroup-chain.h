#pragma once

/*
 * A cgroup and all those above it, each with its limits on memory and on processes and with how
 * often they were met. Two readings show whose limit the kernel had to enforce in between.
 * Everything is read by way of the first group's directory, so that tests can use a tree of plain
 * files.
 */

#include "lib/util.h"

enum chain_limit {
        CHAIN_MEMORY, /* memory.max, in bytes */
        CHAIN_PIDS,   /* pids.max, in processes and threads */
        _CHAIN_LIMIT_N,
};

struct chain_group {
        char *name; /* "pppd.slice"; "" where it cannot be told; owned */
        struct {
                uint64_t max;   /* UINT64_MAX: no limit */
                bool counted;   /* the kernel tells by whose limit: memory.events.local (5.2),
                                   pids.events.local (6.11) */
                uint64_t n_met; /* how often it had to kill, or to refuse a fork, for this limit */
                bool was_reached; /* pids only: by pids.peak (6.1), since the group was made */
        } limits[_CHAIN_LIMIT_N];
};

struct cgroup_chain {
        struct chain_group *groups; /* the first is the one it was read of; owned */
        size_t n;
        bool whole; /* up to the root; a container may show a part only */
};

#define CGROUP_CHAIN_NULL      \
        {                      \
                NULL, 0, false \
        }

/* A negative errno, and nothing in @ret, when the group @fd is gone or memory is short. */
int cgroup_chain_read(int fd, struct cgroup_chain *ret);
void cgroup_chain_deinit(struct cgroup_chain *chain);

/*
 * How often the limit of group @i was met since @before was read. Where @before ends below that
 * group it is 0: the group's counts may be older, and cgroup_chain_covers() tells whether it counts
 * anything.
 */
uint64_t cgroup_chain_met_since(const struct cgroup_chain *now, const struct cgroup_chain *before,
                                size_t i, enum chain_limit limit);

/* Whether @before has every group that has met its limit, so that no limit met since then is
 * missed. */
bool cgroup_chain_covers(const struct cgroup_chain *before, const struct cgroup_chain *now,
                         enum chain_limit limit);

/* Whether no limit can have been met without one of the groups reporting it. */
bool cgroup_chain_counts_all(const struct cgroup_chain *chain, enum chain_limit limit);
