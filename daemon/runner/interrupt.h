#pragma once

/*
 * An interrupt ends a wait of a worker that blocks (a thread or a process) when its runner is to
 * end or its task was dropped. It is a descriptor that the worker polls beside the one it waits
 * for; when it is readable, call interrupt_hear(), then ask task_cancelled() whether that was meant
 * for this task.
 *
 * Where no task can be dropped it is the runner's cancel_fd, which stays readable. Where tasks can
 * be dropped, one eventfd tells all workers that some were, and nobody could know when the last
 * worker has noticed and the eventfd may be read. So each worker has an edge-triggered epoll of its
 * own: every write makes each of them readable once, also when it comes between two waits.
 */

#include "daemon/runner/runner.h"

struct interrupt {
        int fd;       /* to be polled for POLLIN */
        bool owned;   /* it is an epoll of ours */
        int timer_fd; /* made by the first wait that has an end */
};

/* In the process that will wait. Returns 0 or a negative errno. */
int interrupt_init(struct interrupt *interrupt, const struct runner *runner);
void interrupt_deinit(struct interrupt *interrupt);

/*
 * Consumes the signal. To be called before checking for what it means, so that a signal in between
 * is not missed.
 */
void interrupt_hear(const struct interrupt *interrupt);

/*
 * Waits for @events on @fd (-1: just waits), for the time to come (CLOCK_MONOTONIC, UINT64_MAX:
 * never), or for the task to be cancelled. Polling for that leaves no gap in which it could be
 * missed. Returns 1 if @fd is ready, 0 if the time has come, -ECANCELED, or another negative errno.
 */
int interrupt_wait(struct interrupt *interrupt, const struct ppp_task *task, int fd, short events,
                   uint64_t until_ns);

/* The same for up to IO_POLL_MAX descriptors, as poll(2) has them; @hears: also the cancellation.
 */
int interrupt_poll(struct interrupt *interrupt, const struct ppp_task *task, struct pollfd *fds,
                   unsigned n, uint64_t until_ns, bool hears);
