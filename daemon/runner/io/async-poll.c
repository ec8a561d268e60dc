/*
 * What running commands needs of the ring: waiting for one of several descriptors, each with a poll
 * of its own, and writing to a file.
 *
 * When one is ready, or the time has come, the other polls are cancelled; so none is in flight
 * between two calls, and descriptors may be closed then.
 */

#include "daemon/runner/io/async.h"
#include "daemon/runner/runner.h"

struct poll_op {
        struct ring_op op;
        struct poller *poller;
        int res;
        bool in_flight;
};

struct poller {
        struct loop *loop;
        struct loop_fiber *fiber; /* to be woken; NULL: it does not wait */
        struct loop_deadline deadline;
        struct poll_op ops[IO_POLL_MAX];
        struct __kernel_timespec at; /* of a wait for nothing but time */
        unsigned n_in_flight;
        bool all; /* it waits for the last one, and not for the first */
        bool passed;
};

static void poll_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct poll_op *poll = container_of(op, struct poll_op, op);
        struct poller *poller = poll->poller;
        struct loop_fiber *fiber = poller->fiber;

        poll->res = res;
        poll->in_flight = false;
        --poller->n_in_flight;
        if (!fiber || (poller->all && poller->n_in_flight > 0))
                return;
        poller->fiber = NULL;
        loop_wake(poller->loop, fiber);
}

static void cancel_polls(struct poller *poller)
{
        for (unsigned i = 0; i < IO_POLL_MAX; ++i)
                if (poller->ops[i].in_flight)
                        ring_cancel(&poller->loop->ring, &poller->ops[i].op);
}

static void deadline_passed(struct loop_deadline *deadline)
{
        struct poller *poller = container_of(deadline, struct poller, deadline);

        poller->passed = true;
        cancel_polls(poller);
}

static void arm(struct poller *poller, struct poll_op *poll, struct io_uring_sqe *sqe)
{
        *poll = (struct poll_op){ .op.complete = poll_complete,
                                  .poller = poller,
                                  .in_flight = true };
        ++poller->n_in_flight;
        ring_arm(&poller->loop->ring, sqe, &poll->op);
}

static void arm_polls(struct poller *poller, const struct pollfd *fds, unsigned n)
{
        for (unsigned i = 0; i < n; ++i)
                if (fds[i].fd >= 0) {
                        struct io_uring_sqe *sqe = ring_sqe(&poller->loop->ring);

                        io_uring_prep_poll_add(sqe, fds[i].fd, (unsigned)fds[i].events);
                        arm(poller, &poller->ops[i], sqe);
                }
}

/* Something has to be in flight for the fiber to be woken, at the loop's end too. */
static void arm_timeout(struct poller *poller, uint64_t until_ns)
{
        struct io_uring_sqe *sqe = ring_sqe(&poller->loop->ring);

        poller->at = loop_timespec(until_ns);
        io_uring_prep_timeout(sqe, &poller->at, 0, IORING_TIMEOUT_ABS);
        arm(poller, &poller->ops[0], sqe);
}

static void wait_in_ring(struct poller *poller)
{
        poller->fiber = loop_current(poller->loop);
        loop_suspend(poller->loop);
}

/* Returns how many are ready, or the error of one that could not be waited for. */
static int take_results(const struct poller *poller, struct pollfd *fds, unsigned n)
{
        int n_ready = 0, error = 0;

        for (unsigned i = 0; i < n; ++i) {
                int res = fds[i].fd >= 0 ? poller->ops[i].res : -ECANCELED;

                fds[i].revents = res > 0 ? (short)res : 0;
                n_ready += res > 0;
                if (res < 0 && res != -ECANCELED && res != -EINTR)
                        error = res;
        }
        return n_ready > 0 ? n_ready : error;
}

/* The job is cancelled, and so would be each wait in the ring: nothing is left for it to do. */
static int poll_blocking(struct loop *loop, struct pollfd *fds, unsigned n, uint64_t until_ns)
{
        uint64_t now;
        int r;

        loop_yield(loop);
        do {
                now = now_monotonic();
                if (until_ns <= now)
                        return 0;
                r = poll(fds, n, (int)MIN((until_ns - now) / NSEC_PER_MSEC + 1, UINT64_C(1000)));
        } while (r == 0 || (r < 0 && errno == EINTR));
        return r < 0 ? -errno : 1;
}

/* A poll that was cancelled by somebody else, as one of a ring that is short of memory, comes
 * again. */
static int poll_once(struct poller *poller, struct ppp_task *task, struct pollfd *fds, unsigned n,
                     uint64_t until_ns)
{
        arm_polls(poller, fds, n);
        if (poller->n_in_flight == 0)
                arm_timeout(poller, until_ns);
        loop_deadline_add(poller->loop, &poller->deadline, task,
                          until_ns == UINT64_MAX ? 0 : until_ns);
        wait_in_ring(poller);
        poller->all = true;
        cancel_polls(poller);
        while (poller->n_in_flight > 0)
                wait_in_ring(poller);
        loop_deadline_remove(poller->loop, &poller->deadline);
        return take_results(poller, fds, n);
}

int async_poll(struct ppp_task *task, struct pollfd *fds, unsigned n, uint64_t until_ns, bool hears)
{
        struct loop *loop = ((struct async_io *)task->worker->io_context)->loop;
        int r;

        assert(n <= IO_POLL_MAX && (n > 0 || until_ns != UINT64_MAX));
        if (!hears)
                return poll_blocking(loop, fds, n, until_ns);
        for (;;) {
                struct poller poller = { .loop = loop, .deadline.passed = deadline_passed };

                if (task_cancelled(task))
                        return -ECANCELED;
                if (until_ns <= now_monotonic())
                        return 0;
                r = poll_once(&poller, task, fds, n, until_ns);
                if (r != 0)
                        return r < 0 ? r : 1;
                if (poller.passed && !task_cancelled(task))
                        return 0;
        }
}

/* A write that the loop's end has cancelled is made in place: what was read must not be lost. */
ssize_t async_write(struct ppp_task *task, int fd, const void *data, size_t n, uint64_t offset)
{
        struct loop *loop = ((struct async_io *)task->worker->io_context)->loop;
        struct io_uring_sqe *sqe;
        struct loop_wait wait;
        ssize_t l = -ECANCELED;

        if (!task_cancelled(task)) {
                loop_wait_init(&wait, loop);
                sqe = ring_sqe(&loop->ring);
                io_uring_prep_write(sqe, fd, data, (unsigned)n, offset);
                ring_arm(&loop->ring, sqe, &wait.op);
                l = loop_await(&wait);
        }
        if (l != -ECANCELED && l != -EINTR)
                return l;
        l = pwrite(fd, data, n, (off_t)offset);
        return l < 0 ? -errno : l;
}
