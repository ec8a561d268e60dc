/*
 * Deadlines of what fibers wait for: a list by time and one timeout in the ring, for the first.
 * Tasks have the same time each, so a new deadline nearly always goes to the end of the list; most
 * are removed long before they pass, and the timeout fires once in that time.
 */

#include "daemon/runner/io/uring.h"

#define AGAIN_NS (5 * NSEC_PER_MSEC)

static void insert(struct loop *loop, struct loop_deadline *deadline)
{
        struct loop_deadline *previous = loop->last_deadline;

        while (previous && previous->at_ns > deadline->at_ns)
                previous = previous->previous;
        deadline->previous = previous;
        deadline->next = previous ? previous->next : loop->first_deadline;
        *(previous ? &previous->next : &loop->first_deadline) = deadline;
        *(deadline->next ? &deadline->next->previous : &loop->last_deadline) = deadline;
}

static void unlink_deadline(struct loop *loop, struct loop_deadline *deadline)
{
        *(deadline->previous ? &deadline->previous->next : &loop->first_deadline) = deadline->next;
        *(deadline->next ? &deadline->next->previous : &loop->last_deadline) = deadline->previous;
}

/* An update that comes too late finds nothing; the timeout's completion then arms it anew. */
static void arm_timer(struct loop *loop)
{
        struct io_uring_sqe *sqe;

        if (!loop->first_deadline ||
            (loop->timer_ns && loop->timer_ns <= loop->first_deadline->at_ns))
                return;
        sqe = ring_sqe(&loop->ring);
        loop->timer_at = loop_timespec(loop->first_deadline->at_ns);
        if (loop->timer_ns) {
                io_uring_prep_timeout_update(sqe, &loop->timer_at, (uintptr_t)&loop->timer,
                                             IORING_TIMEOUT_ABS);
                sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
                ring_arm(&loop->ring, sqe, NULL);
        } else {
                io_uring_prep_timeout(sqe, &loop->timer_at, 0, IORING_TIMEOUT_ABS);
                ring_arm(&loop->ring, sqe, &loop->timer);
        }
        loop->timer_ns = loop->first_deadline->at_ns;
}

void loop_timer_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct loop *loop = container_of(op, struct loop, timer);
        uint64_t now = now_monotonic();
        struct loop_deadline *deadline;

        loop->timer_ns = 0;
        if (loop->cancelling)
                return;
        while ((deadline = loop->first_deadline) && deadline->at_ns <= now) {
                unlink_deadline(loop, deadline);
                deadline->passed(deadline);
                deadline->at_ns = now + AGAIN_NS;
                insert(loop, deadline);
        }
        arm_timer(loop);
}

void loop_deadline_add(struct loop *loop, struct loop_deadline *deadline, uint64_t at_ns)
{
        deadline->at_ns = at_ns;
        insert(loop, deadline);
        arm_timer(loop);
}

void loop_deadline_remove(struct loop *loop, struct loop_deadline *deadline)
{
        unlink_deadline(loop, deadline);
}
