/* Claiming and running tasks: each index once, whoever claims; records; resuming; retries;
 * cancelling. */

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "daemon/runner/io/blocking.h"
#include "daemon/runner/runner.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/test.h"

static void runner_setup(struct runner *runner, uint64_t n, enum workload_id id, const char *line)
{
        _cleanup_close_ int inputs = memfd_create("inputs", MFD_CLOEXEC);
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        struct input_error error;

        *runner = (struct runner){ .cgroup_fd = -EBADF };
        runner->workload = id == WORKLOAD_SUM         ? &workload_sum
                           : id == WORKLOAD_SUM_ARRAY ? &workload_sum_array
                                                      : &workload_sleep;
        runner->spec = (struct spec){ .level = LEVEL_THREADS, .workers = 4, .workload = id };
        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        for (uint64_t i = 0; i < n; ++i) {
                if (line)
                        test_int(dprintf(inputs, "%s\n", line), >, 0);
                else
                        test_int(dprintf(inputs, "%" PRIu64 "\n", i), >, 0);
        }
        test_int(inputs_map(inputs, true, &runner->inputs, &error), ==, 0);
        test_int(results_create(results, n, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner->results), ==, 0);
        task_cursor_init(&runner->cursor, runner);
}

static void runner_teardown(struct runner *runner)
{
        inputs_unmap(&runner->inputs);
        results_unmap(&runner->results);
        close(runner->cancel_fd);
}

/* Claims all it can and marks what it got. */
struct claimer {
        struct worker worker;
        uint8_t *marks;
        pthread_t thread;
};

static void *claim_all(void *userdata)
{
        struct claimer *claimer = userdata;
        struct worker *worker = &claimer->worker;

        while (worker_claim(worker))
                for (; worker->next < worker->end; ++worker->next)
                        __atomic_fetch_add(&claimer->marks[worker->next], 1, __ATOMIC_RELAXED);
        return NULL;
}

static void test_claim_each_once(void)
{
        enum { N = 100003, THREADS = 4 };
        struct claimer claimers[THREADS];
        _cleanup_free_ uint8_t *marks = calloc(N, 1);
        struct runner runner;

        runner_setup(&runner, N, WORKLOAD_SLEEP, "0");
        for (int i = 0; i < THREADS; ++i) {
                worker_init(&claimers[i].worker, &runner, (uint16_t)i, NULL, NULL);
                claimers[i].marks = marks;
                test_int(pthread_create(&claimers[i].thread, NULL, claim_all, &claimers[i]), ==, 0);
        }
        for (int i = 0; i < THREADS; ++i)
                pthread_join(claimers[i].thread, NULL);
        for (int i = 0; i < N; ++i)
                test_int(marks[i], ==, 1);
        runner_teardown(&runner);
}

static void test_chunks_shrink(void)
{
        enum { N = 4000 };
        struct worker worker;
        struct runner runner;

        runner_setup(&runner, N, WORKLOAD_SLEEP, "0");
        worker_init(&worker, &runner, 0, NULL, NULL);
        while (worker_claim(&worker)) {
                uint64_t part = (N - worker.next) / (4 * runner.spec.workers);

                test_int(worker.end - worker.next, <=, MAX(part, UINT64_C(1)));
                worker.next = worker.end;
        }
        runner_teardown(&runner);
}

/* One chunk after another, each as if its tasks had taken @chunk_ns in all. Returns the largest. */
static uint64_t largest_chunk(uint64_t n, uint64_t chunk_ns)
{
        struct worker worker;
        struct runner runner;
        uint64_t largest = 0;

        runner_setup(&runner, n, WORKLOAD_SLEEP, "0");
        worker_init(&worker, &runner, 0, NULL, NULL);
        while (worker_claim(&worker)) {
                largest = MAX(largest, worker.end - worker.next);
                worker.next = worker.end;
                worker.claimed_ns -= chunk_ns;
        }
        runner_teardown(&runner);
        return largest;
}

static void test_chunks_grow_with_short_tasks(void)
{
        test_int(largest_chunk(100000, 0), >=, 512);
        test_int(largest_chunk(1000, NSEC_PER_MSEC), ==, 1);
}

static void run_all(struct runner *runner)
{
        struct worker worker;
        struct blocking_io *io;

        /* Once more: a test may have set other terms. */
        task_cursor_init(&runner->cursor, runner);
        test_int(blocking_io_new(runner, &io), ==, 0);
        worker_init(&worker, runner, 3, &blocking_ops, io);
        (void)worker_run(&worker);
        blocking_io_free(io);
}

static void test_records(void)
{
        enum { N = 200 };
        struct runner runner;
        struct ppp_record record;

        runner_setup(&runner, N, WORKLOAD_SUM, NULL);
        run_all(&runner);
        for (uint64_t i = 0; i < N; ++i) {
                test_true(results_get(&runner.results, i, &record));
                test_int(record.state, ==, PPP_STATE_DONE);
                test_int(record.value, ==, i > 0 ? i * (i - 1) / 2 : 0);
                test_int(record.worker, ==, 3);
                test_int(record.start_ns, <=, record.end_ns);
        }
        test_int(runner.results.header->n_done, ==, N);
        runner_teardown(&runner);
}

static void test_bad_numbers(void)
{
        static const struct {
                const char *line;
                enum ppp_reason reason;
        } cases[] = {
                { "abc", PPP_REASON_NOT_A_NUMBER },
                { "1.5", PPP_REASON_NOT_A_NUMBER },
                { "-", PPP_REASON_NOT_A_NUMBER },
                { "-5", PPP_REASON_NEGATIVE },
                { "4294967297", PPP_REASON_TOO_LARGE },
                { "99999999999999999999999", PPP_REASON_TOO_LARGE },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct runner runner;
                struct ppp_record record;

                runner_setup(&runner, 1, WORKLOAD_SUM, cases[i].line);
                run_all(&runner);
                test_true(results_get(&runner.results, 0, &record));
                test_int(record.state, ==, PPP_STATE_FAILED);
                test_int(record.reason, ==, cases[i].reason);
                test_int(runner.results.header->n_failed, ==, 1);
                runner_teardown(&runner);
        }
}

/* Else one line of input would take 32 GiB of the machine. */
static void test_large_array(void)
{
        static const char *const lines[] = { "536870913", "4294967296", "99999999999999999999999" };

        for (size_t i = 0; i < ARRAY_SIZE(lines); ++i) {
                struct runner runner;
                struct ppp_record record;

                runner_setup(&runner, 1, WORKLOAD_SUM_ARRAY, lines[i]);
                run_all(&runner);
                test_true(results_get(&runner.results, 0, &record));
                test_int(record.state, ==, PPP_STATE_FAILED);
                test_int(record.reason, ==, PPP_REASON_TOO_LARGE);
                test_int(record.detail, ==, PPP_TOO_LARGE_ARRAY);
                runner_teardown(&runner);
        }
}

static void test_resume_skips_records(void)
{
        struct runner runner;
        struct ppp_record mark = { .value = 12345, .state = PPP_STATE_DONE }, record;

        runner_setup(&runner, 10, WORKLOAD_SUM, NULL);
        record_publish(&runner.results.records[4], &mark);
        runner.resuming = true;
        run_all(&runner);
        test_true(results_get(&runner.results, 4, &record));
        test_int(record.value, ==, 12345);
        test_true(results_get(&runner.results, 5, &record));
        test_int(record.value, ==, 10);
        test_int(runner.results.header->n_done, ==, 9);
        runner_teardown(&runner);
}

static void test_task_timeout(void)
{
        struct runner runner;
        struct ppp_record record;

        runner_setup(&runner, 1, WORKLOAD_SLEEP, "20s");
        runner.spec.task_timeout_ns = NSEC_PER_MSEC;
        runner.spec.retries = 1;
        run_all(&runner);
        test_true(results_get(&runner.results, 0, &record));
        test_int(record.reason, ==, PPP_REASON_TIMEOUT);
        test_int(runner.results.header->n_retried, ==, 1);
        test_int(record.end_ns - record.start_ns, <, 10 * NSEC_PER_SEC);
        runner_teardown(&runner);
}

/* The second of two tasks waits: the first's end must be seen meanwhile, not after it. */
static void *see_progress(void *userdata)
{
        struct runner *runner = userdata;
        uint64_t one = 1;

        while (__atomic_load_n(&runner->results.header->n_done, __ATOMIC_ACQUIRE) < 3)
                ;
        __atomic_store_n(&runner->cancelled, true, __ATOMIC_RELAXED);
        test_int(write(runner->cancel_fd, &one, sizeof(one)), ==, sizeof(one));
        return NULL;
}

static void test_progress_is_told_before_a_wait(void)
{
        _cleanup_close_ int inputs = memfd_create("inputs", MFD_CLOEXEC);
        struct input_error error;
        struct runner runner;
        pthread_t thread;

        runner_setup(&runner, 4, WORKLOAD_SLEEP, "0");
        inputs_unmap(&runner.inputs);
        test_int(dprintf(inputs, "0\n0\n0\n60\n"), >, 0);
        test_int(inputs_map(inputs, true, &runner.inputs, &error), ==, 0);
        test_int(pthread_create(&thread, NULL, see_progress, &runner), ==, 0);
        run_all(&runner);
        pthread_join(thread, NULL);
        test_int(runner.results.header->n_done, ==, 3);
        runner_teardown(&runner);
}

static void *cancel_soon(void *userdata)
{
        struct runner *runner = userdata;
        uint64_t one = 1;

        while (__atomic_load_n(&runner->results.header->next, __ATOMIC_RELAXED) == 0)
                ;
        __atomic_store_n(&runner->cancelled, true, __ATOMIC_RELAXED);
        test_int(write(runner->cancel_fd, &one, sizeof(one)), ==, sizeof(one));
        return NULL;
}

static void test_cancel_leaves_no_record(void)
{
        struct runner runner;
        struct ppp_record record;
        pthread_t thread;
        uint64_t begin = now_monotonic();

        runner_setup(&runner, 2, WORKLOAD_SLEEP, "60s");
        test_int(pthread_create(&thread, NULL, cancel_soon, &runner), ==, 0);
        run_all(&runner);
        pthread_join(thread, NULL);
        test_int(now_monotonic() - begin, <, 30 * NSEC_PER_SEC);
        test_true(!results_get(&runner.results, 0, &record));
        test_true(!results_get(&runner.results, 1, &record));
        test_int(runner.results.header->n_failed, ==, 0);
        runner_teardown(&runner);
}

TEST_MAIN("worker", { "each index is claimed once", test_claim_each_once },
          { "chunks shrink to one", test_chunks_shrink },
          { "chunks grow where tasks are short, and only there",
            test_chunks_grow_with_short_tasks },
          { "each task gets its record", test_records },
          { "bad numbers fail by their reason", test_bad_numbers },
          { "an array has a bound", test_large_array },
          { "a resumed job skips what has a record", test_resume_skips_records },
          { "a task's time limit, and its retries", test_task_timeout },
          { "progress is told before a wait", test_progress_is_told_before_a_wait },
          { "a cancelled task leaves no record", test_cancel_leaves_no_record })
