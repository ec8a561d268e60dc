/* The pool of threads that computes for a loop (--executor threads). */

#include "tests/unit/async-job.h"

static bool refuse_uring; /* to the threads of the pool, which then write to the eventfd */

/* In the place of liburing's, which the loop's own ring does not use. */
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
        struct io_uring_params params = { .flags = flags };

        return refuse_uring ? -EPERM : io_uring_queue_init_params(entries, ring, &params);
}

static int64_t executor_measure(const struct job *job, const char *key)
{
        json_t *executor = json_object_get(job->runner.measures, "executor");

        test_true(executor);
        return json_integer_value(json_object_get(executor, key));
}

static void use_pool(struct job *job, unsigned n)
{
        job->runner.spec.executor = EXECUTOR_THREADS;
        job->runner.spec.executor_workers = n;
}

static pthread_t loop_thread;

static int square(struct ppp_task *task, void *argument)
{
        uint64_t *value = argument;

        test_true(!pthread_equal(pthread_self(), loop_thread));
        *value *= *value;
        return ppp_checkpoint(task);
}

static int square_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        int r;

        *ret = strtoull(input, NULL, 10);
        r = ppp_compute(task, square, ret, sizeof(*ret));
        test_true(pthread_equal(pthread_self(), loop_thread));
        return r;
}

static void check_values(unsigned n_threads)
{
        char line[24];
        struct job job;

        loop_thread = pthread_self();
        job_begin(&job);
        for (unsigned i = 0; i < N_MANY; ++i) {
                snprintf(line, sizeof(line), "%u", i);
                job_add(&job, line);
        }
        use_pool(&job, n_threads);
        job_run(&job, square_run, 100);
        for (unsigned i = 0; i < N_MANY; ++i)
                test_done(&job, i, (uint64_t)i * i);
        test_int(executor_measure(&job, "calls"), ==, N_MANY);
        test_int(executor_measure(&job, "workers"), ==, n_threads);
        if (refuse_uring) {
                test_int(executor_measure(&job, "messages"), ==, 0);
                test_int(executor_measure(&job, "eventfd_writes"), >, 0);
        }
        job_end(&job);
}

static void test_values(void)
{
        check_values(1);
        check_values(4);
}

static void test_by_eventfd(void)
{
        refuse_uring = true;
        check_values(3);
        refuse_uring = false;
}

static unsigned released;

static int compute_until_released(struct ppp_task *task, void *argument)
{
        int r = 0;

        while (r >= 0 && !__atomic_load_n(&released, __ATOMIC_ACQUIRE))
                r = ppp_checkpoint(task);
        return r;
}

/* "compute" goes on until "release" has been run, on the loop. */
static int released_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        int r;

        *ret = 1;
        if (input[0] == 'c')
                return ppp_compute(task, compute_until_released, NULL, 0);
        r = ppp_sleep(task, strtoull(input + 1, NULL, 10) * NSEC_PER_MSEC);
        __atomic_store_n(&released, 1, __ATOMIC_RELEASE);
        return r;
}

static void test_the_loop_goes_on(void)
{
        struct job job;

        released = 0;
        job_begin(&job);
        job_add(&job, "compute");
        job_add(&job, "compute");
        job_add(&job, "r5");
        use_pool(&job, 2);
        job_run(&job, released_run, 3);
        for (unsigned i = 0; i < 3; ++i)
                test_done(&job, i, 1);
        job_end(&job);
}

static int compute_without_checkpoints(struct ppp_task *task, void *argument)
{
        while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
                ;
        return 0;
}

/* "wait" releases the thread when all others have failed: so they did without the thread. */
static int queued_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        const struct results *results = &task->worker->runner->results;
        int r = 0;

        *ret = 1;
        if (input[0] == 'c')
                return ppp_compute(task, compute_without_checkpoints, NULL, 0);
        task->deadline_ns = 0;
        while (r >= 0 && results->header->n_failed < results->n_tasks - 2)
                r = ppp_sleep(task, NSEC_PER_MSEC);
        __atomic_store_n(&released, 1, __ATOMIC_RELEASE);
        return r;
}

static void test_time_is_up_in_the_queue(void)
{
        struct job job;

        released = 0;
        job_begin(&job);
        job_add(&job, "wait");
        for (unsigned i = 1; i < 20; ++i)
                job_add(&job, "compute");
        job.runner.spec.task_timeout_ns = 20 * NSEC_PER_MSEC;
        use_pool(&job, 1);
        job_run(&job, queued_run, 20);
        test_done(&job, 0, 1);
        for (unsigned i = 1; i < 20; ++i)
                test_failed(&job, i, PPP_REASON_TIMEOUT, 0);
        job_end(&job);
}

static uint64_t cancel_computing(void)
{
        struct job job;
        uint64_t took;

        released = 0;
        job_begin(&job);
        for (unsigned i = 0; i < 50; ++i)
                job_add(&job, "compute");
        use_pool(&job, 2);
        job_prepare(&job, released_run, 50);
        took = run_cancelled(&job);
        for (unsigned i = 0; i < 50; ++i)
                test_int(job_record(&job, i).state, ==, PPP_STATE_NONE);
        job_end(&job);
        return took;
}

static void test_cancelled(void)
{
        test_cancel(cancel_computing);
        refuse_uring = true;
        test_cancel(cancel_computing);
        refuse_uring = false;
}

static int fail(struct ppp_task *task, void *argument)
{
        return ppp_fail(task, PPP_REASON_READ, 42);
}

static int nested(struct ppp_task *task, void *argument)
{
        return ppp_compute(task, fail, NULL, 0);
}

static int fail_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        return ppp_compute(task, input[0] == 'n' ? nested : fail, NULL, 0);
}

static void test_failures(void)
{
        struct job job;

        job_begin(&job);
        job_add(&job, "fails");
        job_add(&job, "nested");
        use_pool(&job, 2);
        job_run(&job, fail_run, 2);
        test_failed(&job, 0, PPP_REASON_READ, 42);
        test_failed(&job, 1, PPP_REASON_READ, 42);
        job_end(&job);
}

static int free_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        *ret = 0;
        return ppp_compute(task, nested, NULL, 0) < 0 && task->detail == 42 ? 0 : -EIO;
}

/* Each loop has a pool of its own; there are never fewer threads than loops. */
static void test_several_loops(void)
{
        struct job job;

        job_begin(&job);
        for (unsigned i = 0; i < N_MANY; ++i)
                job_add(&job, "x");
        job.runner.spec.loops = 3;
        use_pool(&job, 2);
        job_run(&job, free_run, 60);
        for (unsigned i = 0; i < N_MANY; ++i)
                test_done(&job, i, 0);
        test_int(executor_measure(&job, "calls"), ==, N_MANY);
        test_int(executor_measure(&job, "workers"), ==, 3);
        job_end(&job);
}

static const struct test_case cases[] = {
        { "values", test_values },
        { "by eventfd", test_by_eventfd },
        { "the loop goes on", test_the_loop_goes_on },
        { "time is up in the queue", test_time_is_up_in_the_queue },
        { "cancelled", test_cancelled },
        { "failures", test_failures },
        { "several loops", test_several_loops },
};

int main(void)
{
        return async_main("pool", cases, ARRAY_SIZE(cases));
}
