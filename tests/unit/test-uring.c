/*
 * The loop and its calls, by way of the level that uses them: records as at any other level, fibers no
 * more than needed, files of all kinds, deadlines, cancellation of all that is in flight.
 */

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/runner/io/fiber-sanitizer.h"
#include "daemon/runner/io/uring.h"
#include "daemon/runner/runner.h"
#include "tests/unit/test.h"

/* Sanitizers make fibers slow to come and go, and TSan takes 8128 of them. */
#if FIBER_STACK_FACTOR > 1
#define N_MANY          1000
#define N_MOST          2000
#define CANCEL_MAX      (1000 * NSEC_PER_MSEC)
#else
#define N_MANY          5000
#define N_MOST          30000
#define CANCEL_MAX      (100 * NSEC_PER_MSEC)
#endif

static char directory[] = "/tmp/test-uring-XXXXXX";

/* What the workloads of this file saw. They run on the loops' threads. */
static unsigned n_running, n_running_max, n_started;

/* sink: adds up bytes, and a sum that tells their order */
struct digest {
        uint64_t n, sum;
        uint64_t fail_at;               /* 0: never */
};

static int digest_sink(void *userdata, const struct ppp_chunk *chunk)
{
        struct digest *digest = userdata;
        const uint8_t *data = chunk->data;

        for (size_t i = 0; i < chunk->size; ++i)
                digest->sum = digest->sum * 31 + data[i];
        digest->n += chunk->size;
        return digest->fail_at && digest->n >= digest->fail_at ? -EBADMSG : 0;
}

/* Input: a path. Value: the number of bytes read. */
static int run_file(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct digest digest = { 0 };
        int r = ppp_read_file(task, input, digest_sink, &digest);

        *ret = digest.n;
        return r;
}

static int run_digest(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct digest digest = { 0 };
        int r = ppp_read_file(task, input, digest_sink, &digest);

        *ret = digest.sum;
        return r;
}

static int run_stopped(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct digest digest = { .fail_at = 1 };

        *ret = 0;
        return ppp_read_file(task, input, digest_sink, &digest);
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

static struct ppp_workload workload = { .abi = PPP_WORKLOAD_ABI, .name = "test" };

struct job {
        struct runner runner;
        int inputs;
};

static void job_begin(struct job *job)
{
        *job = (struct job){ .inputs = memfd_create("inputs", MFD_CLOEXEC) };
        test_int(job->inputs, >=, 0);
}

static void job_add(struct job *job, const char *line)
{
        test_int(dprintf(job->inputs, "%s\n", line), >, 0);
}

static void job_prepare(struct job *job,
                        int (*run)(struct ppp_task *, const char *, size_t, uint64_t *),
                        unsigned workers)
{
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        struct runner *runner = &job->runner;
        struct input_error error;

        workload.run = run;
        runner->workload = &workload;
        runner->cgroup_fd = -EBADF;
        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        runner->spec.level = LEVEL_ASYNC;
        runner->spec.workers = workers;
        runner->spec.loops = MAX(runner->spec.loops, 1U);
        runner->measures = json_object();
        runner->unavailable = json_array();
        test_int(inputs_map(job->inputs, true, &runner->inputs, &error), ==, 0);
        test_int(results_create(results, runner->inputs.n, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner->results), ==, 0);
        n_running = n_running_max = n_started = 0;
}

static void job_run(struct job *job, int (*run)(struct ppp_task *, const char *, size_t, uint64_t *),
                    unsigned workers)
{
        job_prepare(job, run, workers);
        test_int(level_async_run(&job->runner), ==, 0);
}

static void job_end(struct job *job)
{
        json_decref(job->runner.measures);
        json_decref(job->runner.unavailable);
        inputs_unmap(&job->runner.inputs);
        results_unmap(&job->runner.results);
        close(job->runner.cancel_fd);
        close(job->inputs);
}

static struct ppp_record job_record(const struct job *job, uint64_t i)
{
        struct ppp_record record = { 0 };

        (void)results_get(&job->runner.results, i, &record);
        return record;
}

#define test_done(job, i, v)                                                                       \
        do {                                                                                       \
                struct ppp_record _r = job_record(job, i);                                         \
                                                                                                   \
                test_str(reason_name(_r.reason), reason_name(PPP_REASON_NONE));                    \
                test_int(_r.state, ==, PPP_STATE_DONE);                                            \
                test_int(_r.value, ==, v);                                                         \
        } while (0)

#define test_failed(job, i, why, what)                                                             \
        do {                                                                                       \
                struct ppp_record _r = job_record(job, i);                                         \
                                                                                                   \
                test_int(_r.state, ==, PPP_STATE_FAILED);                                          \
                test_str(reason_name(_r.reason), reason_name(why));                                \
                test_int(_r.detail, ==, what);                                                     \
        } while (0)

static int64_t ring_measure(const struct job *job, const char *key)
{
        json_t *ring = json_object_get(job->runner.measures, "ring");

        test_true(ring);
        test_true(json_object_get(ring, key));
        return json_integer_value(json_object_get(ring, key));
}

static void make_file(const char *name, size_t size)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = malloc(size + 1), *path = NULL;

        test_int(asprintf(&path, "%s/%s", directory, name), >, 0);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        for (size_t i = 0; i < size; ++i)
                text[i] = (char)('a' + i * 7 % 26);
        test_int(write_all(fd, text, size), ==, 0);
}

static void job_add_file(struct job *job, const char *name)
{
        _cleanup_free_ char *path = NULL;

        test_int(asprintf(&path, "%s/%s", directory, name), >, 0);
        job_add(job, path);
}

static const size_t sizes[] = { 0, 1, 4096, 32767, 32768, 32769, 65535, 65536, 65537, 98304,
                                131072, 131073, 1000000 };

static void make_sizes(struct job *job)
{
        for (size_t i = 0; i < ARRAY_SIZE(sizes); ++i) {
                char name[32];

                snprintf(name, sizeof(name), "size-%zu", sizes[i]);
                make_file(name, sizes[i]);
                job_add_file(job, name);
        }
}

/* All sizes around the borders of the buffer; with few fibers, whose places in the table are reused. */
static void read_sizes(unsigned window, uint64_t timeout_ns)
{
        struct job job;

        job_begin(&job);
        for (int i = 0; i < 20; ++i)
                make_sizes(&job);
        job.runner.spec.task_timeout_ns = timeout_ns;
        job_run(&job, run_file, window);
        for (size_t i = 0; i < 20 * ARRAY_SIZE(sizes); ++i)
                test_done(&job, i, sizes[i % ARRAY_SIZE(sizes)]);
        job_end(&job);
}

static void test_files(void)
{
        read_sizes(1, 0);
        read_sizes(3, 0);
        read_sizes(256, 0);
}

/* With a linked timeout to each step. */
static void test_files_with_deadline(void)
{
        read_sizes(3, 60 * NSEC_PER_SEC);
        read_sizes(256, 60 * NSEC_PER_SEC);
}

/* More fibers than descriptors are allowed: some have a place in the table, others must do without. */
static void test_files_without_table(void)
{
        struct rlimit limit, low;

        test_int(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        low = limit;
        low.rlim_cur = 60;
        test_int(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
        read_sizes(100, 0);
        test_int(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

static void test_order_within_file(void)
{
        struct job job;
        uint64_t sum = 0;

        make_file("order", 500000);
        for (size_t i = 0; i < 500000; ++i)
                sum = sum * 31 + 'a' + i * 7 % 26;
        job_begin(&job);
        job_add_file(&job, "order");
        job_run(&job, run_digest, 4);
        test_done(&job, 0, (intmax_t)sum);
        job_end(&job);
}

static void test_file_errors(void)
{
        struct job job;

        make_file("plain", 10);
        job_begin(&job);
        job_add_file(&job, "plain");
        job_add_file(&job, "missing");
        job_add_file(&job, ".");
        job_add_file(&job, "plain/below");
        job_add_file(&job, "plain");
        job_run(&job, run_file, 2);
        test_done(&job, 0, 10);
        test_failed(&job, 1, PPP_REASON_OPEN, ENOENT);
        test_failed(&job, 2, PPP_REASON_READ, EISDIR);
        test_failed(&job, 3, PPP_REASON_OPEN, ENOTDIR);
        test_done(&job, 4, 10);
        job_end(&job);
}

/* A sink that fails ends the read, and the place can be used again. */
static void test_sink_fails(void)
{
        struct job job;

        make_file("large", 300000);
        job_begin(&job);
        for (int i = 0; i < 10; ++i)
                job_add_file(&job, "large");
        job_run(&job, run_stopped, 2);
        for (uint64_t i = 0; i < 10; ++i)
                test_failed(&job, i, PPP_REASON_IO, EBADMSG);
        job_end(&job);
}

static int open_descriptors(void)
{
        int n = 0;

        for (int fd = 0; fd < 1000; ++fd)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void test_no_descriptor_is_left(void)
{
        int before = open_descriptors();

        read_sizes(10, 0);
        test_files_without_table();
        test_int(open_descriptors(), ==, before);
}

static void add_pipe(struct job *job, int fd)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        job_add(job, path);
}

static void *write_slowly(void *userdata)
{
        int fd = *(int *)userdata;
        char text[50000];

        memset(text, 'x', sizeof(text));
        for (int i = 0; i < 4; ++i) {
                usleep(5000);
                if (write_all(fd, text, sizeof(text)) < 0)
                        break;
        }
        close(fd);
        return NULL;
}

static void test_pipe(void)
{
        pthread_t thread;
        struct job job;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        job_begin(&job);
        add_pipe(&job, fds[0]);
        test_int(pthread_create(&thread, NULL, write_slowly, &fds[1]), ==, 0);
        job_run(&job, run_file, 1);
        pthread_join(thread, NULL);
        test_done(&job, 0, 200000);
        job_end(&job);
        close(fds[0]);
}

/* As for a blocking worker: it is empty, and hangs nobody. */
static void test_fifo_without_writer(void)
{
        _cleanup_free_ char *path = NULL;
        struct job job;

        test_int(asprintf(&path, "%s/plain", directory), >, 0);
        (void)unlink(path);
        test_int(mkfifo(path, 0600), ==, 0);
        job_begin(&job);
        job_add(&job, path);
        job_run(&job, run_file, 1);
        test_done(&job, 0, 0);
        job_end(&job);
        (void)unlink(path);
}

/* Nothing ever comes: only the deadline ends it. */
static void test_file_deadline(void)
{
        uint64_t begin = now_monotonic();
        struct job job;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        job_begin(&job);
        for (int i = 0; i < 5; ++i)
                add_pipe(&job, fds[0]);
        job.runner.spec.task_timeout_ns = 30 * NSEC_PER_MSEC;
        job_run(&job, run_file, 5);
        for (uint64_t i = 0; i < 5; ++i)
                test_failed(&job, i, PPP_REASON_TIMEOUT, 0);
        test_int(now_monotonic() - begin, >=, 30 * NSEC_PER_MSEC);
        test_int(now_monotonic() - begin, <, 2 * NSEC_PER_SEC);
        job_end(&job);
        close(fds[0]);
        close(fds[1]);
}

static void test_sleep(void)
{
        uint64_t begin = now_monotonic();
        struct job job;

        job_begin(&job);
        for (int i = 0; i < 1000; ++i)
                job_add(&job, "50");
        job_run(&job, run_sleep, 1000);
        test_int(now_monotonic() - begin, <, 10 * NSEC_PER_SEC);
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

static void test_sleep_deadline(void)
{
        uint64_t begin = now_monotonic();
        struct job job;

        job_begin(&job);
        job_add(&job, "10000");
        job_add(&job, "1");
        job.runner.spec.task_timeout_ns = 40 * NSEC_PER_MSEC;
        job_run(&job, run_sleep, 2);
        test_failed(&job, 0, PPP_REASON_TIMEOUT, 0);
        test_done(&job, 1, 7);
        test_int(now_monotonic() - begin, <, 2 * NSEC_PER_SEC);
        job_end(&job);
}

/* Tasks that do not wait need one fiber, and the ring only for the loop's own poll. */
static void test_one_fiber_is_enough(void)
{
        enum { N = 200000 };
        struct job job;

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

/* The loop turns between tasks that compute: sleepers wake long before the last of those has run. */
static void test_loop_turns(void)
{
        struct ppp_record first, last;
        struct job job;

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

struct canceller {
        struct runner *runner;
        uint64_t at_ns;
};

static void *cancel_later(void *userdata)
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
static uint64_t run_cancelled(struct job *job)
{
        struct canceller canceller = { &job->runner, 0 };
        pthread_t thread;

        test_int(pthread_create(&thread, NULL, cancel_later, &canceller), ==, 0);
        test_int(level_async_run(&job->runner), ==, 0);
        pthread_join(thread, NULL);
        return now_monotonic() - canceller.at_ns;
}

/* Nothing was done, and nothing is left running. Returns how long cancelling took. */
static uint64_t cancel_sleepers(void)
{
        struct job job;
        uint64_t took;

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

/* The reads of a file are linked: the second starts when the first has been cancelled. */
static uint64_t cancel_pipes(uint64_t timeout_ns)
{
        struct job job;
        uint64_t took;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        job_begin(&job);
        for (int i = 0; i < 2000; ++i)
                add_pipe(&job, fds[0]);
        job_prepare(&job, run_file, 1000);
        job.runner.spec.task_timeout_ns = timeout_ns;
        took = run_cancelled(&job);
        for (uint64_t i = 0; i < 2000; ++i)
                test_int(job_record(&job, i).state, ==, PPP_STATE_NONE);
        job_end(&job);
        close(fds[0]);
        close(fds[1]);
        return took;
}

static uint64_t cancel_unbounded_pipes(void)
{
        return cancel_pipes(0);
}

static uint64_t cancel_bounded_pipes(void)
{
        return cancel_pipes(3600 * NSEC_PER_SEC);
}

/* The best of a few: a busy machine may take the time from any one of them. */
static void test_cancel(uint64_t (*cancel)(void))
{
        uint64_t best = UINT64_MAX;

        for (int i = 0; i < 8 && best >= CANCEL_MAX; ++i)
                best = MIN(best, cancel());
        test_int(best, <, CANCEL_MAX);
}

static void test_cancel_sleepers(void)
{
        test_cancel(cancel_sleepers);
}

static void test_cancel_pipes(void)
{
        test_cancel(cancel_unbounded_pipes);
        test_cancel(cancel_bounded_pipes);
}

static void test_cancelled_before(void)
{
        struct job job;

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
        job_begin(&job);
        for (int i = 0; i < N_MOST; ++i)
                job_add(&job, all);
        job.runner.spec.task_timeout_ns = 60 * NSEC_PER_SEC;
        job_run(&job, run_together, N_MOST);
        for (uint64_t i = 0; i < N_MOST; ++i)
                test_done(&job, i, 7);
        job_end(&job);
}

static const struct test_case cases[] = {
        { "files of all sizes", test_files },
        { "files with a deadline", test_files_with_deadline },
        { "files without a table", test_files_without_table },
        { "a file's chunks come in order", test_order_within_file },
        { "what can't be read", test_file_errors },
        { "a sink that fails", test_sink_fails },
        { "no descriptor is left", test_no_descriptor_is_left },
        { "a pipe", test_pipe },
        { "a FIFO nobody has open to write", test_fifo_without_writer },
        { "a pipe nobody writes to, with a deadline", test_file_deadline },
        { "sleeping overlaps", test_sleep },
        { "no more in flight than the window", test_window },
        { "sleep with a deadline", test_sleep_deadline },
        { "one fiber for what does not wait", test_one_fiber_is_enough },
        { "the loop turns between tasks", test_loop_turns },
        { "several loops", test_loops },
        { "cancel sleepers within 100 ms", test_cancel_sleepers },
        { "cancel linked reads within 100 ms", test_cancel_pipes },
        { "cancelled before it began", test_cancelled_before },
        { "the widest window", test_widest_window },
};

static void remove_files(void)
{
        static const char *const names[] = { "order", "plain", "large" };
        char path[128];

        for (size_t i = 0; i < ARRAY_SIZE(sizes); ++i) {
                snprintf(path, sizeof(path), "%s/size-%zu", directory, sizes[i]);
                (void)unlink(path);
        }
        for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
                snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
                (void)unlink(path);
        }
        (void)rmdir(directory);
}

int main(void)
{
        const char *advice = NULL;
        struct ring ring;
        int r = ring_init(&ring, 8, &advice);

        if (r < 0) {
                printf("skipped: %s: %s\n", strerrordesc_np(-r), advice ? advice : "");
                return TEST_SKIP;
        }
        ring_deinit(&ring);
        if (!mkdtemp(directory)) {
                perror(directory);
                return EXIT_FAILURE;
        }
        r = test_main("uring", cases, ARRAY_SIZE(cases));
        remove_files();
        return r;
}
