#pragma once

/*
 * The cgroup of one worker process, worker-N of the job's: born into, limited, killed as a whole
 * when it runs out of memory, and removed after it.
 */

#include "daemon/runner/runner.h"

struct worker_group {
        int fd;          /* -EBADF: none, the worker runs in the runner's group */
        unsigned number; /* used once: what the kernel counts in a group stays there */
};

#define WORKER_GROUP_NULL    \
        {                    \
                .fd = -EBADF \
        }

/*
 * Makes the next worker-N, with the job's limits for workers. Where there can be no group and none
 * is needed for a limit, that is no error; nor is it when others were @limited, and the controllers
 * are gone since. Errors have been logged.
 */
int worker_group_make(struct worker_group *group, struct runner *runner, bool limited);

/*
 * Removes it, unless a process is left in it or the supervisor has to read there that pids.max was
 * met.
 */
void worker_group_remove(struct worker_group *group, const struct runner *runner);

/* Removes the groups that are left of a level that died with all its workers. */
void worker_groups_sweep(const struct runner *runner);

/* Whether the kernel killed one of its processes because its own memory limit or the job's was
 * reached. */
bool worker_group_oom_killed(const struct worker_group *group);

/*
 * In the worker, at its start: of all processes of the job, the kernel is to take a worker first.
 */
void worker_prefer_for_oom(void);
