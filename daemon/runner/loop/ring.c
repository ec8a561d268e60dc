/*
 * A ring at work. Entries are queued and go to the kernel together, once a turn; completions come
 * back in the same call. ring-setup.c makes the ring.
 */

#include "daemon/runner/loop/ring.h"

static unsigned ring_flags(const struct ring *ring)
{
        return IO_URING_READ_ONCE(*ring->uring.sq.kflags);
}

static bool is_passing(int error)
{
        return error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

static struct ring_completion completion_take(struct ring *ring)
{
        struct io_uring_cq *cq = &ring->uring.cq;
        const struct io_uring_cqe *cqe = &cq->cqes[*cq->khead & cq->ring_mask];
        struct ring_completion completion = {
                .op = (struct ring_op *)(uintptr_t)(cqe->user_data & ~RING_SILENT),
                .silent = cqe->user_data & RING_SILENT,
                .res = cqe->res,
                .flags = cqe->flags,
        };

        io_uring_cq_advance(&ring->uring, 1);
        ++ring->counters.completions;
        return completion;
}

static int aside_grow(struct ring *ring)
{
        size_t n = MAX(2 * ring->aside_size, (size_t)ring->uring.cq.ring_entries);
        struct ring_completion *bigger = realloc(ring->aside, n * sizeof(*bigger));

        if (!bigger)
                return -ENOMEM;
        ring->aside = bigger;
        ring->aside_size = n;
        return 0;
}

/* Empties the completion queue without running anybody. */
static int set_aside(struct ring *ring)
{
        while (io_uring_cq_ready(&ring->uring) > 0) {
                if (ring->aside_end == ring->aside_size && aside_grow(ring) < 0)
                        return -ENOMEM;
                ring->aside[ring->aside_end++] = completion_take(ring);
        }
        return 0;
}

/*
 * Hands the queued entries to the kernel. It may refuse for now, when out of memory or because
 * completions pile up; completions can't be run here, since ring_sqe() is called from anywhere, so
 * they are set aside.
 */
static void ring_flush(struct ring *ring)
{
        int r = io_uring_submit(&ring->uring);

        ++ring->counters.enters;
        if (r >= 0)
                ring->counters.submissions += (unsigned)r;
        else if (!is_passing(r) || set_aside(ring) < 0)
                ring->broken = is_passing(r) ? -ENOMEM : r;
}

void ring_reserve(struct ring *ring, unsigned n)
{
        assert(n <= ring->uring.sq.ring_entries);
        while (io_uring_sq_space_left(&ring->uring) < n && !ring->broken)
                ring_flush(ring);
}

struct io_uring_sqe *ring_sqe(struct ring *ring)
{
        struct io_uring_sqe *sqe;

        ring_reserve(ring, 1);
        sqe = ring->broken ? &ring->scrap : io_uring_get_sqe(&ring->uring);
        *sqe = (struct io_uring_sqe){ 0 };
        return sqe;
}

static void op_link(struct ring *ring, struct ring_op *op)
{
        op->next = NULL;
        op->previous = ring->newest;
        if (op->previous)
                op->previous->next = op;
        else
                ring->oldest = op;
        ring->newest = op;
        ++ring->n_in_flight;
}

static void op_unlink(struct ring *ring, struct ring_op *op)
{
        assert(ring->n_in_flight > 0);
        if (op->previous)
                op->previous->next = op->next;
        else
                ring->oldest = op->next;
        if (op->next)
                op->next->previous = op->previous;
        else
                ring->newest = op->previous;
        --ring->n_in_flight;
}

void ring_arm(struct ring *ring, struct io_uring_sqe *sqe, struct ring_op *op)
{
        io_uring_sqe_set_data(sqe, op);
        if (op)
                op_link(ring, op);
}

void ring_arm_silent(struct ring *ring, struct io_uring_sqe *sqe, struct ring_op *op)
{
        sqe->user_data = (uint64_t)(uintptr_t)op | RING_SILENT;
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* Enters the kernel if there is a reason to: once, or not at all. */
static int ring_enter(struct ring *ring, bool wait)
{
        unsigned flags = ring_flags(ring);
        int r;

        if (flags & IORING_SQ_CQ_OVERFLOW)
                ++ring->counters.overflows;
        if (wait)
                r = io_uring_submit_and_wait(&ring->uring, 1);
        else if (io_uring_sq_ready(&ring->uring) > 0 ||
                 flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN))
                r = io_uring_submit_and_get_events(&ring->uring);
        else
                return 0;

        ++ring->counters.enters;
        if (r > 0)
                ring->counters.submissions += (unsigned)r;
        return is_passing(r) ? 0 : MIN(r, 0);
}

static size_t ring_n_completions(const struct ring *ring)
{
        return ring->aside_end - ring->aside_first + io_uring_cq_ready(&ring->uring);
}

/*
 * From 6.13 on the kernel lets go of some twenty completions a call, and says by the flag that it
 * has more. If each turn took only those, whatever waits would be late by as many turns as it takes
 * to come to it, and a turn may last a millisecond. A call that brings none is the last: the flag
 * may be set where nothing is left, since another processor sets it after it has added the work.
 */
static void fetch_rest(struct ring *ring)
{
        size_t n = ring_n_completions(ring), before = 0;

        while (n > before && n < ring->n_in_flight && ring_flags(ring) & IORING_SQ_TASKRUN) {
                ++ring->counters.enters;
                if (io_uring_get_events(&ring->uring) < 0)
                        return; /* the next turn's call tells why */
                before = n;
                n = ring_n_completions(ring);
        }
}

/* Whether somebody waited for it. */
static bool completion_run(struct ring *ring, const struct ring_completion *completion)
{
        struct ring_op *op = completion->op;

        if (!op)
                return false;
        if (!completion->silent && !(completion->flags & IORING_CQE_F_MORE))
                op_unlink(ring, op);
        op->complete(op, completion->res, completion->flags);
        return true;
}

/* The oldest completion there is. */
static bool completion_next(struct ring *ring, struct ring_completion *ret)
{
        if (_unlikely_(ring->aside_first < ring->aside_end)) {
                *ret = ring->aside[ring->aside_first++];
                if (ring->aside_first == ring->aside_end)
                        ring->aside_first = ring->aside_end = 0;
                return true;
        }
        if (io_uring_cq_ready(&ring->uring) == 0)
                return false;
        *ret = completion_take(ring);
        return true;
}

int ring_turn(struct ring *ring, bool wait)
{
        struct ring_completion completion;
        size_t budget;
        int n = 0, r;

        if (ring->n_in_flight == 0 || ring_n_completions(ring) > 0)
                wait = false;
        r = ring->broken ? ring->broken : ring_enter(ring, wait);
        if (r < 0)
                return r;
        fetch_rest(ring);

        /*
         * Completions that come while these are run wait for the next turn: the loop has other work
         * too.
         */
        budget = ring_n_completions(ring);
        if (budget > 0)
                ++ring->counters.wakeups;
        while (budget-- > 0 && completion_next(ring, &completion))
                n += completion_run(ring, &completion);
        return n;
}

/*
 * Success is silent: the completion of the cancelled operation shows it. Failure does not matter.
 */
void ring_cancel(struct ring *ring, struct ring_op *op)
{
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        ring_arm(ring, sqe, NULL);
}

/*
 * One by one: the kernel finds each by its hash; and oldest first: the kernel keeps timeouts in a
 * list, in that order. Its own IORING_ASYNC_CANCEL_ANY | ALL goes, for each operation that it
 * finds, through all that it has found before: 0.8 s for 9,000 polls and 18 s for 30,000, where
 * this takes 0.05 s and 0.8 s (Linux 6.18).
 */
void ring_cancel_all(struct ring *ring)
{
        for (struct ring_op *op = ring->oldest; op; op = op->next)
                if (!op->kept)
                        ring_cancel(ring, op);
}
