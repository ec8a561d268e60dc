#pragma once

/*
 * A job of the async level within a test: inputs and results in memory, run by level_async_run() on
 * a workload of the test's own.
 */

#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "daemon/runner/io/async.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/loop/fiber-sanitizer.h"
#include "daemon/runner/runner.h"
#include "tests/unit/test.h"

/* Sanitizers make fibers slow to come and go, and TSan takes 8128 of them. */
#if FIBER_STACK_FACTOR > 1
#define N_MANY 1000
#define N_MOST 1000
#else
#define N_MANY 5000
#define N_MOST 30000
#endif

/* Far less than what is cancelled would take, and more than any machine needs. */
#define CANCEL_MAX (30 * NSEC_PER_SEC)

typedef int workload_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret);

static struct ppp_workload workload = { .abi = PPP_WORKLOAD_ABI, .name = "test" };

struct job {
        struct runner runner;
        int inputs;
};

static inline void job_begin(struct job *job)
{
        *job = (struct job){ .inputs = memfd_create("inputs", MFD_CLOEXEC) };
        test_int(job->inputs, >=, 0);
}

static inline void job_add(struct job *job, const char *line)
{
        test_int(dprintf(job->inputs, "%s\n", line), >, 0);
}

static inline void job_prepare(struct job *job, workload_run *run, unsigned workers)
{
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        struct runner *runner = &job->runner;
        struct input_error error;

        workload.run = run;
        runner->workload = &workload;
        runner->cgroup_fd = -EBADF;
        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        runner->spec.level = LEVEL_ASYNC;
        runner->spec.workload = WORKLOAD_SLEEP; /* as its like it takes no URLs, so few descriptors
                                                   are kept for fetching */
        runner->spec.workers = workers;
        runner->spec.loops = MAX(runner->spec.loops, 1U);
        runner->measures = json_object();
        runner->unavailable = json_array();
        test_int(inputs_map(job->inputs, true, &runner->inputs, &error), ==, 0);
        test_int(results_create(results, runner->inputs.n, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner->results), ==, 0);
        task_cursor_init(&runner->cursor, runner);
}

static inline void job_run(struct job *job, workload_run *run, unsigned workers)
{
        job_prepare(job, run, workers);
        test_int(level_async_run(&job->runner), ==, 0);
}

static inline void job_end(struct job *job)
{
        json_decref(job->runner.measures);
        json_decref(job->runner.unavailable);
        inputs_unmap(&job->runner.inputs);
        results_unmap(&job->runner.results);
        close(job->runner.cancel_fd);
        close(job->inputs);
}

static inline struct ppp_record job_record(const struct job *job, uint64_t i)
{
        struct ppp_record record = { 0 };

        (void)results_get(&job->runner.results, i, &record);
        return record;
}

#define test_done(job, i, v)                                                    \
        do {                                                                    \
                struct ppp_record _r = job_record(job, i);                      \
                                                                                \
                test_str(reason_name(_r.reason), reason_name(PPP_REASON_NONE)); \
                test_int(_r.state, ==, PPP_STATE_DONE);                         \
                test_int(_r.value, ==, v);                                      \
        } while (0)

#define test_failed(job, i, why, what)                              \
        do {                                                        \
                struct ppp_record _r = job_record(job, i);          \
                                                                    \
                test_int(_r.state, ==, PPP_STATE_FAILED);           \
                test_str(reason_name(_r.reason), reason_name(why)); \
                test_int(_r.detail, ==, what);                      \
        } while (0)

static inline int64_t ring_measure(const struct job *job, const char *key)
{
        json_t *ring = json_object_get(job->runner.measures, "ring");

        test_true(ring);
        test_true(json_object_get(ring, key));
        return json_integer_value(json_object_get(ring, key));
}

static inline struct loop *loop_of(const struct ppp_task *task)
{
        struct async_io *io = task->worker->io_context;

        return io->loop;
}

struct canceller {
        struct runner *runner;
        uint64_t at_ns;
};

static inline void *cancel_later(void *userdata)
{
        struct canceller *canceller = userdata;
        static const uint64_t one = 1;

        usleep(50000);
        __atomic_store_n(&canceller->runner->cancelled, true, __ATOMIC_RELAXED);
        canceller->at_ns = now_monotonic();
        if (write(canceller->runner->cancel_fd, &one, sizeof(one)) < 0)
                perror("write");
        return NULL;
}

/* Runs until it is cancelled after 50 ms; how long that took to take effect. */
static inline uint64_t run_cancelled(struct job *job)
{
        struct canceller canceller = { &job->runner, 0 };
        pthread_t thread;

        test_int(pthread_create(&thread, NULL, cancel_later, &canceller), ==, 0);
        test_int(level_async_run(&job->runner), ==, 0);
        pthread_join(thread, NULL);
        return now_monotonic() - canceller.at_ns;
}

static inline void test_cancel(uint64_t (*cancel)(void))
{
        test_int(cancel(), <, CANCEL_MAX);
}

/* Runs the cases, or says why io_uring can't be had and returns TEST_SKIP. */
static inline int async_main(const char *suite, const struct test_case *cases, size_t n)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct ring ring;
        int r = ring_init(&ring, 8, &fault);

        if (r < 0) {
                printf("skipped: %s: %s\n", fault.why, fault.advice ?: "");
                return TEST_SKIP;
        }
        ring_deinit(&ring);
        return test_main(suite, cases, n);
}
