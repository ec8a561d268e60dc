#pragma once

/*
 * A program started in a group as vfork(2) does it: the child uses our memory, on a stack of its
 * own, until it runs a program or ends, and our thread waits for that. Nothing of us is copied, and
 * no page has to be copied when one of the two writes to it.
 */

#include <signal.h>

#include "lib/util.h"

/*
 * As cgroup_fork_unmoved(), but the child calls @child, which may only make async-signal-safe calls
 * and never returns; what it writes, we see. Signals have to be blocked. The child has no handlers
 * for them. Not for a group whose own limits may keep the child, and so us, waiting.
 *
 * -ENOSYS: that cannot be done here, with this kernel, machine, filter, or sanitizer.
 */
pid_t cgroup_vfork(int cgroup_fd, int *ret_pidfd, void (*child)(void *), void *userdata);
