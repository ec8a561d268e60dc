/*
 * Deadlines end waits of fibers early: because the time has come, or because nobody wants the task
 * any more.
 *
 * They are in a list by time, and one timeout in the ring is set for the first. All tasks have the
 * same time limit, so a new deadline nearly always goes to the end of the list; most are removed
 * long before they pass, and the timeout fires once in that time. Deadlines that have passed are in
 * a list of their own, so that a thousand of them can be called again without going through those
 * that are still to come.
 *
 * Those of tasks that can be dropped are also in a list by age. When some are dropped, that list is
 * gone through, and their deadlines count as passed. The oldest come first, which is also the
 * kernel's order of timeouts: so it finds each that is to be cancelled at once.
 */

#include "daemon/runner/loop/loop.h"

#define AGAIN_NS (5 * NSEC_PER_MSEC)

static void insert_by_time(struct loop *loop, struct loop_deadline *deadline)
{
        struct loop_deadline *previous = TAILQ_LAST(&loop->by_time, loop_deadlines);

        while (previous && previous->at_ns > deadline->at_ns)
                previous = TAILQ_PREV(previous, loop_deadlines, by_time);
        if (previous)
                TAILQ_INSERT_AFTER(&loop->by_time, previous, deadline, by_time);
        else
                TAILQ_INSERT_HEAD(&loop->by_time, deadline, by_time);
}

static void remove_by_time(struct loop *loop, struct loop_deadline *deadline)
{
        if (deadline->overdue)
                TAILQ_REMOVE(&loop->overdue, deadline, by_time);
        else if (deadline->at_ns)
                TAILQ_REMOVE(&loop->by_time, deadline, by_time);
}

static void make_overdue(struct loop *loop, struct loop_deadline *deadline)
{
        remove_by_time(loop, deadline);
        if (TAILQ_EMPTY(&loop->overdue))
                loop->again_ns = now_monotonic() + AGAIN_NS;
        deadline->overdue = true;
        TAILQ_INSERT_TAIL(&loop->overdue, deadline, by_time);
}

/* The time of the next call, 0: never. */
static uint64_t next_time(const struct loop *loop)
{
        const struct loop_deadline *first = TAILQ_FIRST(&loop->by_time);

        if (TAILQ_EMPTY(&loop->overdue))
                return first ? first->at_ns : 0;
        return first ? MIN(first->at_ns, loop->again_ns) : loop->again_ns;
}

/* An update that comes too late finds nothing; the timeout's completion then arms it again. */
static void arm_timer(struct loop *loop)
{
        uint64_t at_ns = next_time(loop);
        struct io_uring_sqe *sqe;

        if (at_ns == 0 || (loop->timer_ns && loop->timer_ns <= at_ns))
                return;
        sqe = ring_sqe(&loop->ring);
        loop->timer_at = loop_timespec(at_ns);
        if (loop->timer_ns) {
                io_uring_prep_timeout_update(sqe, &loop->timer_at, (uintptr_t)&loop->timer,
                                             IORING_TIMEOUT_ABS);
                sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
                ring_arm(&loop->ring, sqe, NULL);
        } else {
                io_uring_prep_timeout(sqe, &loop->timer_at, 0, IORING_TIMEOUT_ABS);
                ring_arm(&loop->ring, sqe, &loop->timer);
        }
        loop->timer_ns = at_ns;
}

static void call_again(struct loop *loop, uint64_t now)
{
        struct loop_deadline *deadline;

        if (now < loop->again_ns)
                return;
        loop->again_ns = now + AGAIN_NS;
        TAILQ_FOREACH(deadline, &loop->overdue, by_time)
        deadline->passed(deadline);
}

void loop_timer_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct loop *loop = container_of(op, struct loop, timer);
        uint64_t now = now_monotonic();
        struct loop_deadline *deadline;

        loop->timer_ns = 0;
        if (loop->cancelling)
                return;
        call_again(loop, now);
        while ((deadline = TAILQ_FIRST(&loop->by_time)) && deadline->at_ns <= now) {
                make_overdue(loop, deadline);
                deadline->passed(deadline);
        }
        arm_timer(loop);
}

void loop_end_dropped(struct loop *loop)
{
        struct loop_deadline *deadline;

        if (loop->cancelling)
                return;
        TAILQ_FOREACH(deadline, &loop->by_age, by_age)
        if (!deadline->overdue && task_dropped(deadline->dropped)) {
                make_overdue(loop, deadline);
                deadline->passed(deadline);
        }
        arm_timer(loop);
}

void loop_deadline_add(struct loop *loop, struct loop_deadline *deadline,
                       const struct ppp_task *task, uint64_t at_ns)
{
        deadline->at_ns = at_ns;
        deadline->overdue = false;
        deadline->dropped = task->dropped;
        if (_unlikely_(task->dropped != NULL))
                TAILQ_INSERT_TAIL(&loop->by_age, deadline, by_age);
        /* The loop has gone through that list already: no one else will find it. */
        if (_unlikely_(task_dropped(task->dropped))) {
                deadline->at_ns = 0;
                make_overdue(loop, deadline);
        } else if (at_ns) {
                insert_by_time(loop, deadline);
        }
        arm_timer(loop);
}

void loop_deadline_remove(struct loop *loop, struct loop_deadline *deadline)
{
        remove_by_time(loop, deadline);
        if (_unlikely_(deadline->dropped != NULL))
                TAILQ_REMOVE(&loop->by_age, deadline, by_age);
}
