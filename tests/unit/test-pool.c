/* The pool of threads or processes that computes for a loop (--executor). */

#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/async-job.h"
#include "tests/unit/refuse-syscall.h"

static enum executor kind;
static bool refuse_uring; /* to the workers of the pool, which then write to the eventfd */

/* In the place of liburing's, which the loop's own ring does not use. */
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
        struct io_uring_params params = { .flags = flags };

        return refuse_uring ? -EPERM : io_uring_queue_init_params(entries, ring, &params);
}

/* Where the loop is, and what it has in common with the workers. */
static struct {
        pid_t thread, process;
        unsigned released;
        int n_forks; /* that are not refused */
} * shared;

static int refuses_syscall(long number)
{
        bool refuses = number == SYS_clone3 &&
                       __atomic_fetch_sub(&shared->n_forks, 1, __ATOMIC_RELAXED) <= 0;

        return refuses ? EAGAIN : 0;
}

static int64_t executor_measure(const struct job *job, const char *key)
{
        json_t *executor = json_object_get(job->runner.measures, "executor");

        test_true(executor);
        return json_integer_value(json_object_get(executor, key));
}

static void use_pool(struct job *job, unsigned n)
{
        job->runner.spec.executor = kind;
        job->runner.spec.executor_workers = n;
}

static int square(struct ppp_task *task, void *argument)
{
        uint64_t *value = argument;

        if (gettid() == shared->thread ||
            (getpid() == shared->process) != (kind == EXECUTOR_THREADS))
                return ppp_fail(task, PPP_REASON_IO, ENOTSUP);
        *value *= *value;
        return ppp_checkpoint(task);
}

static int square_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        int r;

        *ret = strtoull(input, NULL, 10);
        r = ppp_compute(task, square, ret, sizeof(*ret));
        test_int(getpid(), ==, shared->process);
        return r;
}

static void check_values(unsigned n_workers)
{
        char line[24];
        struct job job;

        shared->thread = gettid();
        shared->process = getpid();
        job_begin(&job);
        for (unsigned i = 0; i < N_MANY; ++i) {
                snprintf(line, sizeof(line), "%u", i);
                job_add(&job, line);
        }
        use_pool(&job, n_workers);
        job_run(&job, square_run, 100);
        for (unsigned i = 0; i < N_MANY; ++i)
                test_done(&job, i, (uint64_t)i * i);
        test_int(executor_measure(&job, "calls"), ==, N_MANY);
        test_int(executor_measure(&job, "workers"), ==, n_workers);
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

static int compute_until_released(struct ppp_task *task, void *argument)
{
        int r = 0;

        while (r >= 0 && !__atomic_load_n(&shared->released, __ATOMIC_ACQUIRE))
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
        __atomic_store_n(&shared->released, 1, __ATOMIC_RELEASE);
        return r;
}

static void test_the_loop_goes_on(void)
{
        struct job job;

        shared->released = 0;
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
        while (!__atomic_load_n(&shared->released, __ATOMIC_ACQUIRE))
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
        __atomic_store_n(&shared->released, 1, __ATOMIC_RELEASE);
        return r;
}

static void test_time_is_up_in_the_queue(void)
{
        struct job job;

        shared->released = 0;
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

        shared->released = 0;
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

static int fill_with_threes(struct ppp_task *task, void *argument)
{
        struct {
                uint64_t n;
                unsigned char bytes[];
        } *large = argument;

        for (uint64_t i = 0; i < large->n; ++i)
                large->bytes[i] *= 3;
        return 0;
}

static int large_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        size_t size = strtoull(input, NULL, 10);
        _cleanup_free_ uint64_t *large = malloc(size + sizeof(uint64_t));
        int r;

        large[0] = size;
        memset(large + 1, 1, size);
        r = ppp_compute(task, fill_with_threes, large, size + sizeof(uint64_t));
        *ret = 0;
        for (size_t i = 0; i < size; ++i)
                *ret += ((unsigned char *)(large + 1))[i];
        return r;
}

static void test_large_arguments(void)
{
        struct job job;

        job_begin(&job);
        for (unsigned i = 0; i < 200; ++i)
                job_add(&job, i % 2 ? "1048576" : i % 3 ? "257" : "256");
        use_pool(&job, 3);
        job_run(&job, large_run, 20);
        for (unsigned i = 0; i < 200; ++i)
                test_done(&job, i, (i % 2 ? 1048576 : i % 3 ? 257 : 256) * 3);
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
        { "large arguments", test_large_arguments },
};

static int die(struct ppp_task *task, void *argument)
{
        static const struct rlimit none = { 0, 0 };
        const char *how = argument;

        setrlimit(RLIMIT_CORE, &none);
        if (how[0] == 'e')
                _exit(7);
        signal(SIGSEGV, SIG_DFL);
        if (how[0] == 's' || how[0] == 'k')
                kill(getpid(), how[0] == 's' ? SIGSEGV : SIGKILL);
        return ppp_checkpoint(task);
}

static int die_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        char how[8] = { input[0] };

        *ret = 5;
        return ppp_compute(task, die, how, sizeof(how));
}

/* Each death is one task's result, its process is replaced, and nothing else is lost or done
 * twice. */
static void check_deaths(unsigned n_workers, unsigned n_loops)
{
        static const char *const lines[] = { "segv", "exit", "kill", "well" };
        struct job job;

        job_begin(&job);
        for (unsigned i = 0; i < 400; ++i)
                job_add(&job, lines[i % 20 < 3 ? i % 20 : 3]);
        use_pool(&job, n_workers);
        job.runner.spec.loops = n_loops;
        job_run(&job, die_run, 50);
        for (unsigned i = 0; i < 400; ++i)
                switch (i % 20) {
                case 0:
                        test_failed(&job, i, PPP_REASON_SIGNAL, SIGSEGV);
                        break;
                case 1:
                        test_failed(&job, i, PPP_REASON_EXIT, 7);
                        break;
                case 2:
                        test_failed(&job, i, PPP_REASON_SIGNAL, SIGKILL);
                        break;
                default:
                        test_done(&job, i, 5);
                }
        test_int(executor_measure(&job, "replaced"), ==, 60);
        test_int(job.runner.results.header->n_done, ==, 340);
        test_int(job.runner.results.header->n_failed, ==, 60);
        job_end(&job);
}

static void test_deaths(void)
{
        check_deaths(1, 1);
        check_deaths(4, 1);
        check_deaths(4, 3);
}

static __attribute__((noreturn)) int compute_for_ever(struct ppp_task *task, void *argument)
{
        for (;;)
                pause();
}

static int for_ever_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        *ret = 1;
        return ppp_compute(task, input[0] == 'f' ? compute_for_ever : fail, NULL, 0);
}

/* Nothing in it looks whether it is to end. */
static uint64_t cancel_stubborn(void)
{
        struct job job;
        uint64_t took;

        job_begin(&job);
        for (unsigned i = 0; i < 50; ++i)
                job_add(&job, "for ever");
        use_pool(&job, 2);
        job_prepare(&job, for_ever_run, 50);
        took = run_cancelled(&job);
        for (unsigned i = 0; i < 50; ++i)
                test_int(job_record(&job, i).state, ==, PPP_STATE_NONE);
        job_end(&job);
        return took;
}

static void test_stubborn_cancelled(void)
{
        test_cancel(cancel_stubborn);
}

/* A function past its time is left, and its process killed: others get that process's place. */
static void test_stubborn_late(void)
{
        struct job job;

        job_begin(&job);
        job_add(&job, "for ever");
        job_add(&job, "for ever");
        job.runner.spec.task_timeout_ns = 20 * NSEC_PER_MSEC;
        use_pool(&job, 1);
        job_run(&job, for_ever_run, 2);
        test_failed(&job, 0, PPP_REASON_TIMEOUT, 0);
        test_failed(&job, 1, PPP_REASON_TIMEOUT, 0);
        job_end(&job);
}

/* The first is the zygote, the next two are the workers. */
static int run_with_forks(int n, unsigned n_loops)
{
        struct job job;
        int r;

        job_begin(&job);
        for (unsigned i = 0; i < 100; ++i)
                job_add(&job, "3");
        job.runner.spec.loops = n_loops;
        use_pool(&job, 2);
        job_prepare(&job, square_run, 10);
        shared->n_forks = n;
        shared->process = getpid();
        shared->thread = 0;
        r = level_async_run(&job.runner);
        shared->n_forks = INT_MAX;
        for (unsigned i = 0; i < 100; ++i)
                test_int(job_record(&job, i).state, ==, r == 0 ? PPP_STATE_DONE : PPP_STATE_NONE);
        job_end(&job);
        return r;
}

static void test_cannot_fork(void)
{
        test_int(run_with_forks(0, 1), ==, -EAGAIN);
        test_int(run_with_forks(1, 1), ==, -EAGAIN);
        test_int(run_with_forks(1, 2), ==, -EAGAIN);
        /* One is enough for one loop, which goes on with it, and not for two. */
        test_int(run_with_forks(2, 1), ==, 0);
        test_int(run_with_forks(2, 2), ==, -EAGAIN);
}

static int lock_or_die(struct ppp_task *task, void *argument)
{
        int r;

        r = ppp_lock_acquire(task);
        if (r < 0)
                return r;
        if (*(char *)argument == 'd')
                kill(getpid(), SIGKILL);
        ppp_lock_release(task);
        return 0;
}

static int lock_run(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        char how = input[0];

        *ret = 1;
        return ppp_compute(task, lock_or_die, &how, sizeof(how));
}

/* The job's lock, which they held, goes to others. */
static void test_deaths_with_the_lock(void)
{
        struct job *job =
                mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        test_true(job != MAP_FAILED);
        job_begin(job);
        for (unsigned i = 0; i < 200; ++i)
                job_add(job, i % 10 == 3 ? "die" : "lock");
        use_pool(job, 4);
        job_run(job, lock_run, 20);
        for (unsigned i = 0; i < 200; ++i)
                if (i % 10 == 3)
                        test_failed(job, i, PPP_REASON_SIGNAL, SIGKILL);
                else
                        test_done(job, i, 1);
        job_end(job);
        munmap(job, sizeof(*job));
}

static const struct test_case process_cases[] = {
        { "deaths", test_deaths },
        { "deaths with the lock", test_deaths_with_the_lock },
        { "stubborn and cancelled", test_stubborn_cancelled },
        { "stubborn and late", test_stubborn_late },
        { "cannot fork", test_cannot_fork },
};

int main(void)
{
        int r;

        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (shared == MAP_FAILED)
                return EXIT_FAILURE;
        shared->n_forks = INT_MAX;
        kind = EXECUTOR_THREADS;
        r = async_main("threads", cases, ARRAY_SIZE(cases));
        kind = EXECUTOR_PROCESSES;
        if (r == EXIT_SUCCESS)
                r = async_main("processes", cases, ARRAY_SIZE(cases));
        if (r == EXIT_SUCCESS)
                r = async_main("what only processes do", process_cases, ARRAY_SIZE(process_cases));
        return r;
}
