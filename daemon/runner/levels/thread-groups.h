#pragma once

/*
 * A threaded cgroup for each thread (cgroups(7), "cgroups v2 thread mode"): runner/thread-N, of
 * type "threaded", below the runner's own group, which becomes the domain of their threads.
 * Resources of a process, memory and I/O, stay with the domain; CPU time can be counted for each
 * thread, and divided between threads by weights where the cpu controller is available.
 */

#include "daemon/runner/runner.h"

struct thread_groups {
        int fd; /* the runner's group; -EBADF: threads have none of their own */
        unsigned n;
};

#define THREAD_GROUPS_NULL   \
        {                    \
                .fd = -EBADF \
        }

/* Makes @n groups and gives them their weights. Errors have been logged. */
int thread_groups_make(struct thread_groups *groups, const struct runner *runner, unsigned n);
void thread_groups_deinit(struct thread_groups *groups);

static inline bool thread_groups_exist(const struct thread_groups *groups)
{
        return groups->fd >= 0;
}

/* Moves the calling thread into group @i. */
int thread_groups_enter(const struct thread_groups *groups, unsigned i);

/*
 * Measures the CPU time of each; after the threads have ended. The supervisor removes the groups.
 */
void thread_groups_measure(const struct thread_groups *groups, struct runner *runner);
