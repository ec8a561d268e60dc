/*
 * The loop, by way of the level that uses it: records as at any other level, fibers no more than
 * needed, the loop turns, deadlines, cancellation of all that is in flight.
 */

#include <sys/syscall.h>

#include "daemon/runner/node/feed.h"
#include "tests/unit/async-job.h"

/* What the workloads of this file saw. They run on the loops' threads. */
static unsigned n_running, n_running_max, n_started;

static void counts_reset(void)
{
        n_running = n_running_max = n_started = 0;
}

static int run_nothing(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        __atomic_add_fetch(&n_started, 1, __ATOMIC_RELAXED);
        *ret = n;
        return 0;
}

/* Input: milliseconds. */
static int run_sleep(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        unsigned now_running = __atomic_add_fetch(&n_running, 1, __ATOMIC_RELAXED), max;
        int r;

        max = __atomic_load_n(&n_running_max, __ATOMIC_RELAXED);
        while (now_running > max &&
               !__atomic_compare_exchange_n(&n_running_max, &max, now_running, true,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
                ;
        __atomic_add_fetch(&n_started, 1, __ATOMIC_RELAXED);
        r = ppp_sleep(task, strtoull(input, NULL, 10) * NSEC_PER_MSEC);
        __atomic_sub_fetch(&n_running, 1, __ATOMIC_RELAXED);
        *ret = 7;
        return r;
}

/* Input: how many must be in flight at the same time for any of them to end. */
static int run_together(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        uint64_t all = strtoull(input, NULL, 10);
        int r = 0;

        __atomic_add_fetch(&n_started, 1, __ATOMIC_RELAXED);
        while (r == 0 && __atomic_load_n(&n_started, __ATOMIC_RELAXED) < all)
                r = ppp_sleep(task, 200 * NSEC_PER_MSEC);
        *ret = 7;
        return r;
}

/* Input "spin": computes for 20 ms with checkpoints; else sleeps for 1 ms. */
static int run_mixed(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        uint64_t end = now_monotonic() + 20 * NSEC_PER_MSEC;

        *ret = 0;
        if (!streq(input, "spin"))
                return ppp_sleep(task, NSEC_PER_MSEC);
        while (now_monotonic() < end)
                ;
        return 0;
}

struct alarm {
        struct loop_deadline deadline;
        struct loop *loop;
        struct loop_fiber *fiber;
        unsigned n_passed;
};

static void alarm_passed(struct loop_deadline *deadline)
{
        struct alarm *alarm = container_of(deadline, struct alarm, deadline);

        if (alarm->n_passed++ == 2)
                loop_wake(alarm->loop, alarm->fiber);
}

/*
 * From here all deadlines are counted, so that their order does not depend on when each is added.
 */
static uint64_t alarms_ns;

/* Input: milliseconds to a deadline, which is to call until it is removed. Value: the order. */
static int run_alarm(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct loop *loop = loop_of(task);
        uint64_t at = alarms_ns + strtoull(input, NULL, 10) * NSEC_PER_MSEC;
        struct alarm alarm = { { .passed = alarm_passed }, loop, loop_current(loop), 0 };

        loop_deadline_add(loop, &alarm.deadline, task, at);
        loop_suspend(loop);
        loop_deadline_remove(loop, &alarm.deadline);
        if (now_monotonic() < at || alarm.n_passed < 3)
                return ppp_fail(task, PPP_REASON_IO, EILSEQ);
        *ret = ++n_started;
        return 0;
}

static void test_deadlines(void)
{
        static const struct {
                const char *after;
                int order;
        } alarms[] = { { "900", 5 }, { "300", 3 }, { "600", 4 }, { "1", 1 }, { "150", 2 } };
        struct job job;

        counts_reset();
        job_begin(&job);
        for (size_t i = 0; i < ARRAY_SIZE(alarms); ++i)
                job_add(&job, alarms[i].after);
        alarms_ns = now_monotonic();
        job_run(&job, run_alarm, ARRAY_SIZE(alarms));
        for (size_t i = 0; i < ARRAY_SIZE(alarms); ++i)
                test_done(&job, i, alarms[i].order);
        job_end(&job);
}

static void test_sleep(void)
{
        struct job job;

        counts_reset();
        job_begin(&job);
        for (int i = 0; i < 1000; ++i)
                job_add(&job, "50");
        job_run(&job, run_sleep, 1000);
        test_int(n_running_max, >, 1);
        for (uint64_t i = 0; i < 1000; ++i) {
                struct ppp_record record = job_record(&job, i);

                test_done(&job, i, 7);
                test_int(record.end_ns - record.start_ns, >=, 50 * NSEC_PER_MSEC);
        }
        test_int(ring_measure(&job, "submissions"), >=, 1000);
        job_end(&job);
}

static void test_window(void)
{
        struct job job;

        counts_reset();
        job_begin(&job);
        for (int i = 0; i < 100; ++i)
                job_add(&job, "2");
        job_run(&job, run_sleep, 7);
        test_int(n_running_max, ==, 7);
        for (uint64_t i = 0; i < 100; ++i) {
                test_done(&job, i, 7);
                test_int(job_record(&job, i).worker, <, 7);
        }
        job_end(&job);
}

/* Input: milliseconds; "free" has no deadline, and so is done however slow the machine is. */
static int run_sleep_or_free(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        if (!streq(input, "free"))
                return run_sleep(task, input, n, ret);
        task->deadline_ns = 0;
        return run_sleep(task, "1", 1, ret);
}

static void test_sleep_deadline(void)
{
        struct job job;

        counts_reset();
        job_begin(&job);
        job_add(&job, "3600000");
        job_add(&job, "free");
        job.runner.spec.task_timeout_ns = 100 * NSEC_PER_MSEC;
        job_run(&job, run_sleep_or_free, 2);
        test_failed(&job, 0, PPP_REASON_TIMEOUT, 0);
        test_done(&job, 1, 7);
        job_end(&job);
}

/* Tasks that do not wait need one fiber, and the ring only for the loop's own poll. */
static void test_one_fiber_is_enough(void)
{
        enum { N = 200000 };
        struct job job;

        counts_reset();
        job_begin(&job);
        for (int i = 0; i < N; ++i)
                job_add(&job, "x");
        job_run(&job, run_nothing, 64);
        test_int(n_started, ==, N);
        for (uint64_t i = 0; i < N; i += 997) {
                test_done(&job, i, 1);
                test_int(job_record(&job, i).worker, ==, 0);
        }
        test_int(ring_measure(&job, "submissions"), ==, 1);
        test_int(ring_measure(&job, "enters"), ==, 1);
        test_int(job.runner.results.header->n_done, ==, N);
        job_end(&job);
}

/* The loop turns between tasks that compute: a sleeper wakes long before the last has run. */
static void test_loop_turns(void)
{
        struct ppp_record first, last;
        struct job job;

        counts_reset();
        job_begin(&job);
        job_add(&job, "sleep");
        for (int i = 0; i < 10; ++i)
                job_add(&job, "spin");
        job_run(&job, run_mixed, 2);
        first = job_record(&job, 0);
        last = job_record(&job, 10);
        test_int(first.state, ==, PPP_STATE_DONE);
        test_int(first.end_ns, <, last.start_ns);
        test_true(json_real_value(json_object_get(json_object_get(job.runner.measures, "ring"),
                                                  "stall_max_seconds")) >= 0.02);
        job_end(&job);
}

static void test_loops(void)
{
        struct job job;

        counts_reset();
        job_begin(&job);
        for (int i = 0; i < 2000; ++i)
                job_add(&job, "1");
        job.runner.spec.loops = 3;
        job_run(&job, run_sleep, 50);
        for (uint64_t i = 0; i < 2000; ++i) {
                test_done(&job, i, 7);
                test_int(job_record(&job, i).worker, <, 50);
        }
        test_int(ring_measure(&job, "submissions"), >=, 2000);
        job_end(&job);
}

/* Nothing was done, and nothing is left running. Returns how long cancelling took. */
static uint64_t cancel_sleepers(void)
{
        struct job job;
        uint64_t took;

        counts_reset();
        job_begin(&job);
        for (int i = 0; i < 2 * N_MANY; ++i)
                job_add(&job, "3600000");
        job_prepare(&job, run_sleep, N_MANY);
        job.runner.spec.loops = 2;
        took = run_cancelled(&job);
        test_int(n_running, ==, 0);
        for (uint64_t i = 0; i < 2 * N_MANY; ++i)
                test_int(job_record(&job, i).state, ==, PPP_STATE_NONE);
        job_end(&job);
        return took;
}

static void test_cancel_sleepers(void)
{
        test_cancel(cancel_sleepers);
}

static void test_cancelled_before(void)
{
        struct job job;

        counts_reset();
        job_begin(&job);
        job_add(&job, "1000");
        job_prepare(&job, run_sleep, 2);
        job.runner.cancelled = true;
        test_int(eventfd_write(job.runner.cancel_fd, 1), ==, 0);
        test_int(level_async_run(&job.runner), ==, 0);
        test_int(n_started, ==, 0);
        job_end(&job);
}

static void test_widest_window(void)
{
        char all[16];
        struct job job;

        snprintf(all, sizeof(all), "%d", N_MOST);
        counts_reset();
        job_begin(&job);
        for (int i = 0; i < N_MOST; ++i)
                job_add(&job, all);
        job_run(&job, run_together, N_MOST);
        for (uint64_t i = 0; i < N_MOST; ++i)
                test_done(&job, i, 7);
        job_end(&job);
}

/* As somebody who keeps something on the ring. */
struct ending {
        struct loop_hook hook;
        unsigned n_cancelled, n_ended;
};

static void on_cancel(struct loop_hook *hook)
{
        ++container_of(hook, struct ending, hook)->n_cancelled;
}

/* The object may go here, so nothing may look at the hook after this. */
static void on_end(struct loop_hook *hook)
{
        ++container_of(hook, struct ending, hook)->n_ended;
        hook->cancel = NULL;
        hook->end = NULL;
        hook->next = (struct loop_hook *)1;
}

static bool until_cancelled(struct loop *loop, void *userdata)
{
        return !loop->cancelling;
}

static void test_hooks(void)
{
        struct ending first = { { on_cancel, on_end, NULL }, 0, 0 },
                      second = { { NULL, on_end, NULL }, 0, 0 };
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct loop loop;
        struct job job;

        job_begin(&job);
        job_add(&job, "0");
        job_prepare(&job, run_sleep, 1);
        test_int(loop_init(&loop, &job.runner, 1, &fault), ==, 0);
        loop_hook_add(&loop, &first.hook);
        loop_hook_add(&loop, &second.hook);
        job.runner.cancelled = true;
        test_int(eventfd_write(job.runner.cancel_fd, 1), ==, 0);
        test_int(loop_run(&loop, until_cancelled, NULL), ==, 0);
        test_int(first.n_cancelled, ==, 1);
        test_int(first.n_ended + second.n_ended, ==, 0);
        loop_deinit(&loop);
        test_int(first.n_cancelled, ==, 1);
        test_int(first.n_ended, ==, 1);
        test_int(second.n_ended, ==, 1);
        job_end(&job);
}

/* A loop that was set up and is taken down before it turned: what it armed completes as it is
 * drained. */
static void test_cancelled_as_it_ends(void)
{
        struct ending ending = { { on_cancel, on_end, NULL }, 0, 0 };
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct loop loop;
        struct job job;

        job_begin(&job);
        job_add(&job, "0");
        job_prepare(&job, run_sleep, 1);
        test_int(loop_init(&loop, &job.runner, 1, &fault), ==, 0);
        loop_hook_add(&loop, &ending.hook);
        job.runner.cancelled = true;
        test_int(eventfd_write(job.runner.cancel_fd, 1), ==, 0);
        loop_deinit(&loop);
        test_int(ending.n_cancelled, ==, 0);
        test_int(ending.n_ended, ==, 1);
        job_end(&job);
}

static void test_fed_as_it_ends(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct feed *feed;
        struct loop loop;
        struct job job;

        job_begin(&job);
        job_add(&job, "0");
        job_prepare(&job, run_sleep, 1);
        test_int(feed_new(1, &feed), ==, 0);
        job.runner.source = &feed->source;
        test_int(loop_init(&loop, &job.runner, 1, &fault), ==, 0);
        loop_watch_source(&loop, feed->loop_fds[0]);
        test_int(eventfd_write(feed->loop_fds[0], 1), ==, 0);
        loop_deinit(&loop);
        test_int(loop.ring.n_in_flight, ==, 0);
        feed_free(feed);
        job_end(&job);
}

/*
 * No stack for a fiber is had in this thread. This takes the place of the C library's function in
 * this program: nothing else uses memory up for one thread alone. Sanitizers call it before they
 * are set up.
 */
static pid_t stackless;
static unsigned n_refused;

__attribute__((no_sanitize("address", "thread", "undefined"))) void *
mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
        if (flags & MAP_STACK && stackless && gettid() == stackless) {
                __atomic_add_fetch(&n_refused, 1, __ATOMIC_RELAXED);
                errno = ENOMEM;
                return MAP_FAILED;
        }
        return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

/* Leaves the rest to be claimed until that thread has tried. */
static int run_after_refusal(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        int r = 0;

        while (r == 0 && __atomic_load_n(&n_refused, __ATOMIC_RELAXED) == 0)
                r = ppp_sleep(task, NSEC_PER_MSEC);
        *ret = n;
        return r;
}

static void test_loop_without_fibers(void)
{
        struct job job;

        job_begin(&job);
        for (unsigned i = 0; i < 100; ++i)
                job_add(&job, "x");
        job.runner.spec.loops = 2;
        stackless = gettid();
        job_run(&job, run_after_refusal, 8);
        stackless = 0;
        for (unsigned i = 0; i < 100; ++i)
                test_done(&job, i, 1);
        job_end(&job);
}

static const struct test_case cases[] = {
        { "deadlines in any order", test_deadlines },
        { "sleeping overlaps", test_sleep },
        { "no more in flight than the window", test_window },
        { "sleep with a deadline", test_sleep_deadline },
        { "one fiber for what does not wait", test_one_fiber_is_enough },
        { "the loop turns between tasks", test_loop_turns },
        { "several loops", test_loops },
        { "cancel sleepers", test_cancel_sleepers },
        { "cancelled before it began", test_cancelled_before },
        { "hooks", test_hooks },
        { "cancelled as it ends", test_cancelled_as_it_ends },
        { "fed as it ends", test_fed_as_it_ends },
        { "a loop without fibers claims nothing", test_loop_without_fibers },
        { "the widest window", test_widest_window },
};

int main(void)
{
        return async_main("loop", cases, ARRAY_SIZE(cases));
}
