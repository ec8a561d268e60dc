#pragma once

/*
 * A process and all that it started, found by who is whose child in /proc. It stands in for a cgroup where
 * none can be made. A process whose parent has ended belongs to another tree; the runner's workers end
 * with it.
 */

#include <sys/types.h>

#include "lib/util.h"

/*
 * Sends SIGSTOP to each process that is not stopped; @pidfd is @root's. *@ret_still: nothing had to be sent,
 * so all of the tree stands still. Until then it is to be called again: what was sent takes a moment,
 * and a process may have started another one meanwhile. Returns 0 or a negative errno: -ESRCH when
 * @root is gone, -EOPNOTSUPP when this kernel does not tell of children.
 */
int process_tree_stop(pid_t root, int pidfd, bool *ret_still);

/* Sends SIGCONT to each process, children before their parents. Errors as above. */
int process_tree_continue(pid_t root, int pidfd);

/* Whether this one process was stopped by a signal. False: also when there is no such process. */
bool process_is_stopped(pid_t pid);
