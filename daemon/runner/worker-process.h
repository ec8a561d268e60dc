#pragma once

/*
 * A worker that is a process: how it is born, and why it died. The same for the workers of the
 * level processes and for those of an executor.
 */

#include <signal.h>
#include <sys/resource.h>

#include "daemon/runner/worker-group.h"
#include "lib/oom-watch.h"

/* Why the task of a dead worker has failed. */
struct worker_death {
        enum ppp_reason reason;
        int32_t detail;
};

/*
 * fork() into a group (-EBADF: into the caller's), by cgroup_fork(). The child is killed when the
 * thread that made it ends, and by SIGTERM, which does not cancel the job there. Returns 0 in the
 * child, or a negative errno.
 */
pid_t worker_fork(int cgroup_fd, int *ret_pidfd);

void worker_kill(int pidfd);

/* Waits for the end of a child, and releases the job's lock if it died holding it. */
int worker_reap(struct runner *runner, int pidfd, siginfo_t *ret_info, struct rusage *ret_usage);

/*
 * Why a child has ended, for the record of its task. A SIGKILL is one for lack of memory only where
 * the worker's own group counted a kill of that kind; without a group it is a plain signal.
 */
struct worker_death worker_death_of(const siginfo_t *info, const struct worker_group *group,
                                    struct oom_watch *oom, const struct runner *runner);
