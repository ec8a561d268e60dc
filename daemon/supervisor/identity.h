#pragma once

/*
 * Which process a runner is, for where there is no cgroup to find it by: the file "runner" in the
 * job's directory holds its process ID and start time (proc_pid_stat(5)), which no other process of
 * this boot shares.
 */

#include <sys/types.h>

#include "daemon/supervisor/directory.h"

int identity_write(const struct directory *directory, pid_t pid);

/* The process, if it still runs, and a pidfd for it. -ESRCH when it does not. */
int identity_find(const struct directory *directory, pid_t *ret_pid, int *ret_pidfd);
