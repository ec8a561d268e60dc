#include "daemon/runner/loop/loop.h"

#include <poll.h>
#include <stdio.h>

#include "daemon/runner/runner.h"

/*
 * A workload may use PPP_STACK_SIZE; below it come our own frames and those of a signal handler,
 * with all vector registers saved. Only pages that are touched cost memory.
 */
#define STACK_SIZE (PPP_STACK_SIZE + 16 * 1024)

/* Entries queued between two turns; when more come they are submitted in between. */
#define ENTRIES_MIN 64U
#define ENTRIES_MAX 2048U

struct loop_fiber {
        struct fiber *fiber;
        struct loop *loop;
        struct loop_fiber *next; /* on the ready list */
        unsigned slot;
        bool suspended; /* until it is woken */
};

static void cancel_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct loop *loop = container_of(op, struct loop, cancel_poll);

        if (!runner_cancelled(loop->runner))
                return;
        loop->cancelling = loop->hungry = true;
        for (struct loop_hook *hook = loop->hooks; hook; hook = hook->next)
                if (hook->cancel)
                        hook->cancel(hook);
}

static void poll_cancel(struct loop *loop)
{
        struct io_uring_sqe *sqe = ring_sqe(&loop->ring);

        io_uring_prep_poll_add(sqe, loop->runner->cancel_fd, POLLIN);
        ring_arm(&loop->ring, sqe, &loop->cancel_poll);
}

static void read_wake(struct loop *loop)
{
        struct io_uring_sqe *sqe = ring_sqe(&loop->ring);

        io_uring_prep_read(sqe, loop->wake_fd, &loop->wake_value, sizeof(loop->wake_value), 0);
        ring_arm(&loop->ring, sqe, &loop->wake_read);
}

static void wake_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct loop *loop = container_of(op, struct loop, wake_read);
        uint32_t n_drops = task_source_n_drops(loop->runner->source);

        loop->hungry = true;
        if (n_drops != loop->n_drops)
                loop_end_dropped(loop);
        loop->n_drops = n_drops;
        /* A read that is armed after all operations were asked to end would keep the loop from
         * ending. */
        if (!loop->cancelling && (res >= 0 || res == -EINTR || res == -EAGAIN))
                read_wake(loop);
}

void loop_watch_source(struct loop *loop, int fd)
{
        loop->wake_fd = fd;
        loop->n_drops = task_source_n_drops(loop->runner->source);
        read_wake(loop);
}

int loop_init(struct loop *loop, struct runner *runner, unsigned window, struct fault *fault)
{
        int r;

        assert(window > 0);
        *loop = (struct loop){
                .runner = runner,
                .window = window,
                .cancel_poll.complete = cancel_complete,
                .timer.complete = loop_timer_complete,
                .wake_read.complete = wake_complete,
                .wake_fd = -EBADF,
        };
        loop->ready_tail = &loop->ready;
        TAILQ_INIT(&loop->by_time);
        TAILQ_INIT(&loop->overdue);
        TAILQ_INIT(&loop->by_age);
        r = ring_init(&loop->ring, MIN(MAX(2 * window, ENTRIES_MIN), ENTRIES_MAX), fault);
        if (r < 0)
                return r;
        poll_cancel(loop);
        return 0;
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook)
{
        hook->next = loop->hooks;
        loop->hooks = hook;
}

/* A hook may be freed with its object when it ends. */
static void call_ends(struct loop *loop)
{
        struct loop_hook *hook, *next = steal_ptr(loop->hooks);

        while ((hook = next)) {
                next = hook->next;
                hook->end(hook);
        }
}

/*
 * Ends the operations that are in flight when no fiber is left, our poll and timer, and submits the
 * last closes. Completions that come meanwhile arm nothing again.
 */
static void drain(struct loop *loop)
{
        loop->cancelling = true;
        ring_cancel_all(&loop->ring);
        do
                if (ring_turn(&loop->ring, true) < 0)
                        return; /* a broken ring is ended by its closing */
        while (loop->ring.n_in_flight > 0);
}

static void free_ended(struct loop *loop)
{
        struct loop_fiber *fiber;

        while ((fiber = loop->ended)) {
                loop->ended = fiber->next;
                fiber_free(fiber->fiber);
                free(fiber);
        }
}

void loop_deinit(struct loop *loop)
{
        if (!loop->ring.initialized)
                return;
        if (loop->n_fibers == 0) {
                /* A cancellation that the ring reports only now finds no hook. */
                call_ends(loop);
                drain(loop);
        }
        ring_deinit(&loop->ring);
        free_ended(loop);
}

/*
 * On the loop's stack: runs @fiber until it waits or ends. One that has ended is freed with the
 * loop: unmapping stacks takes longer than most tasks, and the last ones would wait for it.
 */
static void resume(struct loop *loop, struct loop_fiber *fiber)
{
        bool alive;

        loop->running = fiber;
        alive = fiber_resume(fiber->fiber);
        loop->running = NULL;
        if (alive)
                return;
        fiber->next = loop->ended;
        loop->ended = fiber;
        --loop->n_fibers;
}

int loop_spawn(struct loop *loop, fiber_fn *fn, void *userdata)
{
        struct loop_fiber *fiber;
        int r;

        assert(!loop->running && loop->n_spawned < loop->window);
        fiber = malloc(sizeof(*fiber));
        if (!fiber)
                return -ENOMEM;
        *fiber = (struct loop_fiber){ .loop = loop, .slot = loop->n_spawned };
        r = fiber_new(fn, userdata, STACK_SIZE, &fiber->fiber);
        if (r < 0) {
                free(fiber);
                return r;
        }
        ++loop->n_spawned;
        ++loop->n_fibers;
        resume(loop, fiber);
        return 0;
}

unsigned loop_slot(const struct loop *loop)
{
        assert(loop->running);
        return loop->running->slot;
}

struct loop_fiber *loop_current(struct loop *loop)
{
        assert(loop->running);
        return loop->running;
}

void loop_suspend(struct loop *loop)
{
        loop_current(loop)->suspended = true;
        fiber_suspend();
}

void loop_wake(struct loop *loop, struct loop_fiber *fiber)
{
        assert(fiber->suspended);
        fiber->suspended = false;
        fiber->next = NULL;
        *loop->ready_tail = fiber;
        loop->ready_tail = &fiber->next;
        ++loop->n_ready;
}

void loop_yield(struct loop *loop)
{
        struct loop_fiber *fiber = loop_current(loop);

        fiber->suspended = true;
        loop_wake(loop, fiber);
        fiber_suspend();
}

void loop_park(struct loop *loop)
{
        struct loop_fiber *fiber = loop_current(loop);

        fiber->next = loop->parked;
        loop->parked = fiber;
        loop->hungry = true;
        loop_suspend(loop);
}

bool loop_unpark(struct loop *loop)
{
        struct loop_fiber *fiber = loop->parked;

        if (!fiber)
                return false;
        loop->parked = fiber->next;
        loop_wake(loop, fiber);
        return true;
}

static bool time_to_turn(const struct loop *loop)
{
        return now_monotonic() - loop->turned_ns >= LOOP_TURN_NS;
}

static struct loop_fiber *take_ready(struct loop *loop)
{
        struct loop_fiber *fiber = loop->ready;

        loop->ready = fiber->next;
        if (!loop->ready)
                loop->ready_tail = &loop->ready;
        --loop->n_ready;
        return fiber;
}

/* Fibers that become ready meanwhile (they yielded) run after the turn. */
static void run_ready(struct loop *loop)
{
        for (unsigned n = loop->n_ready; n > 0; --n) {
                resume(loop, take_ready(loop));
                if (time_to_turn(loop))
                        return;
        }
}

static bool has_room(const struct loop *loop)
{
        return loop->n_spawned < loop->window || loop->parked;
}

/* Returns whether there may be more to start. */
static bool start_fibers(struct loop *loop, loop_more *more, void *userdata)
{
        while (!loop->ready && has_room(loop)) {
                if (!more(loop, userdata))
                        return false;
                if (time_to_turn(loop))
                        break;
        }
        return has_room(loop);
}

static void run_deferred(struct loop *loop)
{
        struct loop_deferred *deferred, *next = steal_ptr(loop->deferred);

        while ((deferred = next)) {
                next = deferred->next;
                deferred->pending = false;
                deferred->run(deferred);
        }
}

/*
 * Cancelled entries may complete over several turns, and the next entry of a link starts only when
 * the one before it has ended. So the entries that are left are cancelled again when no more
 * completions come, but only if some came since the last time: an entry that cannot be cancelled
 * must not keep us busy.
 */
static void cancel_rest(struct loop *loop, int n_completed)
{
        if (n_completed > 0) {
                loop->cancel_again = true;
        } else if (loop->cancel_again) {
                loop->cancel_again = false;
                ring_cancel_all(&loop->ring);
        }
}

static int turn(struct loop *loop, bool wait)
{
        int r;

        loop->stall_max_ns = MAX(loop->stall_max_ns, now_monotonic() - loop->turned_ns);
        r = ring_turn(&loop->ring, wait && !loop->cancel_again);
        if (r >= 0 && loop->cancelling)
                cancel_rest(loop, r);
        loop->turned_ns = now_monotonic();
        return r;
}

static bool may_be_woken(const struct loop *loop)
{
        return loop->wake_fd >= 0 && !task_source_leaves(loop->runner->source);
}

int loop_run(struct loop *loop, loop_more *more, void *userdata)
{
        int r;

        loop->hungry = true;
        loop->turned_ns = now_monotonic();
        for (;;) {
                run_ready(loop);
                if (loop->hungry)
                        loop->hungry = start_fibers(loop, more, userdata);
                /* A loop that could make no fiber at all would wait for ever. */
                if (loop->n_fibers == 0 && !loop->hungry &&
                    (!may_be_woken(loop) || loop->n_spawned == 0))
                        return 0;
                run_deferred(loop);
                r = turn(loop, !loop->ready && !loop->deferred && !loop->hungry);
                if (r < 0)
                        return r;
        }
}

static void wait_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct loop_wait *wait = container_of(op, struct loop_wait, op);

        wait->res = res;
        wait->flags = flags;
        if (flags & IORING_CQE_F_MORE)
                return;
        wait->done = true;
        if (wait->fiber)
                loop_wake(wait->loop, wait->fiber);
}

void loop_wait_init(struct loop_wait *wait, struct loop *loop)
{
        *wait = (struct loop_wait){ .op.complete = wait_complete, .loop = loop };
}

int loop_await(struct loop_wait *wait)
{
        if (!wait->done) {
                wait->fiber = loop_current(wait->loop);
                loop_suspend(wait->loop);
        }
        assert(wait->done);
        return wait->res;
}

int loop_task_fail(struct ppp_task *task, enum ppp_reason reason, int res)
{
        bool interrupted = res == -ECANCELED || res == -EINTR;

        if (interrupted && task_cancelled(task))
                return task_fail(task, PPP_REASON_CANCELLED, 0);
        if (interrupted && task_time_left(task, now_monotonic()) == 0)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        return task_fail(task, reason, -res);
}

struct __kernel_timespec loop_timespec(uint64_t ns)
{
        return (struct __kernel_timespec){
                .tv_sec = (int64_t)(ns / NSEC_PER_SEC),
                .tv_nsec = (long long)(ns % NSEC_PER_SEC),
        };
}
