#pragma once

/*
 * The cgroup of one task that runs a command, task-N of the job's: made for it, limited, read and
 * removed with all that is left in it.
 */

#include <pppctl/tasks.h>

#include "daemon/runner/runner.h"

struct task_group {
        int fd; /* -EBADF: the task has none */
        uint32_t number;
};

#define TASK_GROUP_NULL      \
        {                    \
                .fd = -EBADF \
        }

/*
 * Makes it, with the limits that the job has for tasks. None is made, and that is no error, where
 * the job wants none, or where there can be none and no limit needs it; that was logged. A negative
 * errno: the limits cannot be had; that was logged, too.
 */
int task_group_make(struct task_group *group, struct worker *worker, unsigned n_raised);

/* The limit on memory of a task that was given more so often; up to the job's. */
uint64_t task_group_memory(const struct spec *spec, unsigned n_raised);

/* Whether a process is left in it. */
bool task_group_is_populated(const struct task_group *group);

/* How many processes are in it. */
unsigned task_group_count(const struct task_group *group);

/* Sends a signal to each process in it. */
void task_group_signal(const struct task_group *group, int signal);

/* Whether the kernel killed one of its processes for want of memory; and for whose. */
bool task_group_oom_killed(const struct task_group *group, const struct runner *runner,
                           enum ppp_oom_blame *ret);

/* Whether its limit on processes was met. */
bool task_group_pids_met(const struct task_group *group);

/* Reads its counters into the record, and notes there which these are. */
void task_group_read(const struct task_group *group, struct ppp_task_record *record);

/* No process may be left in it. */
void task_group_remove(struct task_group *group, struct worker *worker);

/*
 * For a worker process that died while it ran a command: kills what is left of that, without a
 * group what is in its process group.
 */
void task_group_bury(struct worker *worker);
