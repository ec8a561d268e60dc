#pragma once

/*
 * The loop: the scheduler of fibers on one io_uring, on one thread. A fiber that has to wait
 * submits an entry to the ring and is suspended until its completion. The loop does not know what
 * fibers wait for: io/async.c has the operations, and objects that keep more on the ring than a
 * fiber's wait (kept connections, transfers) learn of the loop's end by a hook.
 *
 * One turn of the loop: resume the fibers that are ready; start new ones while none is ready and
 * there is work for them; run deferred work; enter the ring, waiting only when nothing else is left
 * to do. A fiber runs task after task and gives way only when one waits, or after LOOP_TURN_NS.
 *
 * Cancellation (the runner's cancel_fd, polled in the ring) ends everything in flight; each wait
 * returns -ECANCELED after task_fail(PPP_REASON_CANCELLED), and the loop ends when all fibers have
 * returned. Where single tasks can be dropped, as in a node, that ends what is in flight for them
 * (struct loop_deadline), and their fibers go on with others.
 */

#include <sys/queue.h>

#include "daemon/runner/loop/fiber.h"
#include "daemon/runner/loop/ring.h"
#include "daemon/runner/task.h"

struct loop_fiber;

#define LOOP_TURN_NS (1 * NSEC_PER_MSEC)

/*
 * Work for the loop's own stack (what may not run on a fiber's small one, or not within a
 * completion): run once, when the ready fibers have run and before the ring is entered. It may wake
 * fibers and defer itself again. A loop that has fibers ready or work deferred does not wait in the
 * ring.
 */
struct loop_deferred {
        void (*run)(struct loop_deferred *deferred);
        struct loop_deferred *next;
        bool pending;
};

/*
 * A hook tells an object that has operations in flight for longer than a fiber's wait about the
 * loop's end; both calls are made on the loop's stack. cancel() is called when the runner is
 * cancelled, and has to end everything that fibers wait for; it may be NULL. end() is called when
 * no fiber is left and before the ring is freed, and takes everything off the ring. It is not
 * called where the ring is broken.
 */
struct loop_hook {
        void (*cancel)(struct loop_hook *hook);
        void (*end)(struct loop_hook *hook);
        struct loop_hook *next;
};

/*
 * A bound on a fiber's wait in the ring; it is on the fiber's stack. When the time has come, or the
 * task was dropped, passed() is called on the loop's stack, to cancel what is in flight, and again
 * every few milliseconds until the deadline is removed: entries that are linked to another one may
 * start only then. It may find that the wait has ended and its fiber has only not run yet; it does
 * not add or remove deadlines.
 *
 * One timeout in the ring serves all of a loop. Linked timeouts (IORING_OP_LINK_TIMEOUT) would need
 * one for each entry, which nearly doubles what reading a small file costs; and without
 * DEFER_TASKRUN they do not fire where a link goes on in a worker thread (Linux 6.18).
 */
struct loop_deadline {
        void (*passed)(struct loop_deadline *deadline);
        uint64_t at_ns;                     /* CLOCK_MONOTONIC; 0: no time */
        bool overdue;                       /* passed() has been called, or is about to be */
        const uint32_t *dropped;            /* the task's */
        TAILQ_ENTRY(loop_deadline) by_time; /* or of those overdue */
        TAILQ_ENTRY(loop_deadline) by_age;  /* of those whose tasks can be dropped */
};

TAILQ_HEAD(loop_deadlines, loop_deadline);

struct loop {
        struct ring ring;
        struct runner *runner;
        struct loop_hook *hooks;
        unsigned window;    /* fibers at most */
        unsigned n_fibers;  /* alive */
        unsigned n_spawned; /* ever; each has its number as slot */
        struct loop_fiber *running;
        struct loop_fiber *ready; /* to be resumed, first in first out */
        struct loop_fiber **ready_tail;
        unsigned n_ready;
        struct loop_fiber *ended; /* to be freed with the loop */
        struct loop_deferred *deferred;
        struct loop_deadlines by_time, overdue;
        struct loop_deadlines by_age; /* those whose tasks can be dropped */
        uint64_t again_ns;            /* when those that are overdue are called again */
        struct ring_op timer;         /* for the next of them, */
        uint64_t timer_ns;            /* when it fires, 0: not in flight */
        struct __kernel_timespec timer_at;
        uint64_t stall_max_ns;      /* longest time from the end of a turn to the next */
        uint64_t turned_ns;         /* when the last turn ended */
        struct ring_op cancel_poll; /* on the runner's cancel_fd */
        bool cancelling;
        bool cancel_again;         /* completions have come since all were asked to end */
        bool hungry;               /* there may be something to start a fiber for */
        struct loop_fiber *parked; /* fibers that wait for a task, the last parked first */
        struct ring_op
                wake_read; /* of the source's eventfd that tells of tasks, and of those dropped */
        int wake_fd;       /* -EBADF: the source tells of neither */
        uint64_t wake_value;
        uint32_t n_drops; /* of the source, that were seen */
};

/*
 * Sets up the ring; on the thread that will run the loop. Returns 0 or a negative errno; then
 * @fault is as of ring_init().
 */
int loop_init(struct loop *loop, struct runner *runner, unsigned window, struct fault *fault);

/*
 * For a source whose tasks come and go: when there is nothing to start a fiber for, the loop does
 * not end, but waits until the eventfd @fd is written, and asks again; and fibers without a task
 * wait in loop_park().
 */
void loop_watch_source(struct loop *loop, int fd);

/* @hook is part of the loop until the loop ends, and has to live as long. */
void loop_hook_add(struct loop *loop, struct loop_hook *hook);

/* The loop may have run to its end, may never have been run, or its ring may have broken. */
void loop_deinit(struct loop *loop);

/*
 * Runs until all fibers have returned. @more is called on the loop's stack when no fiber is ready
 * and the window is not full: it starts one with loop_spawn() and returns true, or returns false
 * and is not called again (but see loop_watch_source()). A fiber should go on until there is
 * nothing left to do: in the window its place is not taken by another. Returns 0 (also when
 * cancelled), or a negative errno when the ring broke; then fibers may be left suspended in
 * mid-task.
 */
typedef bool loop_more(struct loop *loop, void *userdata);
int loop_run(struct loop *loop, loop_more *more, void *userdata);

/* Starts a fiber and runs it until it first waits; from a loop_more. -ENOMEM and the like. */
int loop_spawn(struct loop *loop, fiber_fn *fn, void *userdata);

/* From a fiber: waits until loop_unpark(), which a loop_more may call instead of loop_spawn(). */
void loop_park(struct loop *loop);

/* Wakes a fiber that waits in loop_park(); false when none does. */
bool loop_unpark(struct loop *loop);

/* The running fiber's number within its loop, 0 .. window - 1. */
unsigned loop_slot(const struct loop *loop);

/* From a fiber: lets all others run, and the ring turn, before it continues. */
void loop_yield(struct loop *loop);

/* The same, if it is time for it at @now. Returns the time afterwards. */
static inline uint64_t loop_breathe(struct loop *loop, uint64_t now)
{
        if (_likely_(now - loop->turned_ns < LOOP_TURN_NS))
                return now;
        loop_yield(loop);
        return now_monotonic();
}

/* One wait of a fiber for one entry; it is on the fiber's stack for the time of a call. */
struct loop_wait {
        struct ring_op op;
        struct loop *loop;
        struct loop_fiber *fiber;
        int res;
        uint32_t flags;
        bool done;
};

/* The loop fiber that runs now; only from within one. */
struct loop_fiber *loop_current(struct loop *loop);

/* Suspends the running fiber until loop_wake() was called for it. */
void loop_suspend(struct loop *loop);

/* Puts a suspended fiber on the ready list; on the loop's stack. Never twice before it ran. */
void loop_wake(struct loop *loop, struct loop_fiber *fiber);

/* Asks for one run of @deferred; may be called from anywhere, and does nothing if a run is due
 * already. */
static inline void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
        if (deferred->pending)
                return;
        deferred->pending = true;
        deferred->next = loop->deferred;
        loop->deferred = deferred;
}

/* Withdraws a loop_defer(), before its object is freed; not from a deferred run. */
static inline void loop_undefer(struct loop *loop, struct loop_deferred *deferred)
{
        for (struct loop_deferred **p = &loop->deferred; *p; p = &(*p)->next)
                if (*p == deferred) {
                        *p = deferred->next;
                        break;
                }
        deferred->pending = false;
}

/* The running fiber waits for @wait's terminal completion; returns its result. */
int loop_await(struct loop_wait *wait);
void loop_wait_init(struct loop_wait *wait, struct loop *loop);

/*
 * Fails the task for an operation that ended with the negative @res: -ECANCELED and -EINTR count as
 * a cancelled job or as the task's deadline, whichever caused them; everything else is @reason with
 * the errno.
 */
int loop_task_fail(struct ppp_task *task, enum ppp_reason reason, int res);

/* A time of CLOCK_MONOTONIC for the ring. */
struct __kernel_timespec loop_timespec(uint64_t ns);

/*
 * loop-deadline.c; with @at_ns 0 and a task that cannot be dropped there is nothing to bound, which
 * costs nothing.
 */
void loop_deadline_add(struct loop *loop, struct loop_deadline *deadline,
                       const struct ppp_task *task, uint64_t at_ns);
void loop_end_dropped(struct loop *loop);
void loop_deadline_remove(struct loop *loop, struct loop_deadline *deadline);
void loop_timer_complete(struct ring_op *op, int res, uint32_t flags);
