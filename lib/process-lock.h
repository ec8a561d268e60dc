#pragma once

/*
 * Lets one process at a time use something that belongs to a file. The lock belongs to the process
 * (fcntl_locking(2)), not to the open file (flock): a lock of the open file would outlive a process
 * that is killed, in a child that has not reached its execve() yet, and a frozen cgroup may keep
 * the child from ever reaching it. The kernel releases it when the process closes any descriptor of
 * the file.
 */

#include <sys/types.h>

/*
 * Locks the file open for writing as @fd. -EBUSY when another process has it; *@ret_holder is that
 * process, or 0 where it cannot be told, as from another PID namespace.
 */
int process_lock(int fd, pid_t *ret_holder);
