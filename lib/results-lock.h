#pragma once

/*
 * The lock on a results file, so that two runners never work on one job. It is two locks of the
 * kernel's (fcntl_locking(2)): an open file description lock on one byte, which the runner's
 * workers inherit and which lasts until the last of them is gone, and a traditional one on the next
 * byte, by which the kernel tells which process the runner is, as long as it lives.
 */

#include <sys/types.h>

/*
 * Locks the results file open as @fd for this process and those that it forks. *@ret_fd is a
 * descriptor to keep open for as long as the process writes to the file; no descriptor of the file
 * may be closed until then. -EAGAIN when somebody else has the lock.
 */
int results_lock(int fd, int *ret_fd);

/*
 * The runner that has locked the file, and a pidfd for it. -ESRCH when there is none, though
 * processes that it left behind may still have the lock.
 */
int results_find_locker(int fd, pid_t *ret_pid, int *ret_pidfd);

/*
 * Keeps runners from beginning until results_release(), while the caller changes what they start
 * from. -EAGAIN when the file is locked. The lock belongs to @fd's open file description, which no
 * runner has.
 */
int results_hold(int fd);
void results_release(int fd);
