/*
 * The level processes in a node, whose worker is killed and cannot be replaced at once: what it had
 * claimed goes back, and another is tried again until it can be had.
 */

#include "tests/unit/stepped.h"

#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "daemon/runner/levels/levels.h"
#include "daemon/runner/node/feed.h"
#include "daemon/runner/runner.h"
#include "tests/unit/feed-done.h"
#include "tests/unit/refuse-syscall.h"

enum { N = 6, DEADLY = 1 };

static struct {
        uint8_t attempts[N];
        bool refuses;
} * shared;

static int refused_fd; /* eventfd: counts the processes that were refused */

static int refuses_syscall(long number)
{
        if (number != SYS_clone3 || !__atomic_load_n(&shared->refuses, __ATOMIC_ACQUIRE))
                return 0;
        (void)eventfd_write(refused_fd, 1);
        return EAGAIN;
}

static int run_or_die(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        unsigned long i = strtoul(input, NULL, 10);

        ++shared->attempts[i];
        if (i == DEADLY) {
                __atomic_store_n(&shared->refuses, true, __ATOMIC_RELEASE);
                raise(SIGKILL);
        }
        *ret = i;
        return 0;
}

static const struct ppp_workload workload = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "deadly",
        .run = run_or_die,
};

static pid_t start_level(struct runner *runner)
{
        pid_t pid = fork();

        test_int(pid, >=, 0);
        if (pid > 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(level_processes_run(runner) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void end_level(struct runner *runner, pid_t pid)
{
        int status;

        feed_close(feed_of(runner));
        test_int(waitpid(pid, &status, 0), ==, pid);
        test_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
}

static void test_refused(void)
{
        static const struct task_terms terms = { .workload = &workload };
        struct runner runner = { .cgroup_fd = -EBADF, .workload = &workload };
        struct feed_chunk *chunk;
        struct feed *feed;
        eventfd_t refused;
        pid_t pid;
        int at;

        runner.spec = (struct spec){ .level = LEVEL_PROCESSES, .workers = 1 };
        runner.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        runner.measures = json_object();
        runner.unavailable = json_array();
        test_int(feed_new(0, &feed), ==, 0);
        runner.source = &feed->source;
        runner.results.header = &feed->header;
        at = feed_push(feed, "0\n1\n2\n3\n4\n5\n", 12, N, &terms);
        test_int(at, >=, 0);
        chunk = &feed->chunks[at];
        pid = start_level(&runner);

        for (unsigned i = 0; i < 2; ++i)
                test_int(eventfd_read(refused_fd, &refused), ==, 0);
        /* Nobody has any of it. */
        test_int(chunk->n_left, ==, feed_unclaimed(feed, (uint32_t)at));
        test_int(chunk->n_left, <, N - 1 - DEADLY);
        __atomic_store_n(&shared->refuses, false, __ATOMIC_RELEASE);

        test_int(feed_await_done(feed), ==, at);
        for (unsigned i = 0; i < N; ++i)
                test_int(shared->attempts[i], ==,
                         record_state(&chunk->tasks.records[i]) != PPP_STATE_NONE);
        test_int(record_state(&chunk->tasks.records[DEADLY]), ==, PPP_STATE_FAILED);
        test_int(record_state(&chunk->tasks.records[N - 1]), ==, PPP_STATE_DONE);
        end_level(&runner, pid);
        feed_free(feed);
        json_decref(runner.measures);
        json_decref(runner.unavailable);
        close(runner.cancel_fd);
}

static const struct test_case cases[] = {
        { "a worker that is not replaced at once", test_refused },
};

int main(void)
{
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        refused_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
        if (shared == MAP_FAILED || refused_fd < 0)
                return EXIT_FAILURE;
        alarm(600); /* for what never comes */
        return test_main("processes", cases, ARRAY_SIZE(cases));
}
