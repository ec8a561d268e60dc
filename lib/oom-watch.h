#pragma once

/*
 * Finds the group because of whose memory.max a worker was killed. The kernel counts in the group
 * whose limit was met, before it kills; so at each death the nearest group whose count has changed
 * is to blame.
 */

#include <pppctl/results.h>

#include "lib/cgroup-chain.h"

struct oom_watch {
        struct cgroup_chain last;   /* as at the last death, or at the beginning */
        struct cgroup_chain blamed; /* counts that were blamed for a death already */
};

#define OOM_WATCH_NULL                               \
        {                                            \
                CGROUP_CHAIN_NULL, CGROUP_CHAIN_NULL \
        }

/* @job_fd: of the job's group, before there is a worker. If it cannot be read, nobody is blamed. */
void oom_watch_init(struct oom_watch *watch, int job_fd);
void oom_watch_deinit(struct oom_watch *watch);

/* For a worker that was killed because memory ran out: @worker_fd is its own group in the job's. */
enum ppp_oom_blame oom_watch_blame(struct oom_watch *watch, int job_fd, int worker_fd);
