/* A job whose runner is gone: its results file is set back for another one. */

#include "daemon/supervisor/jobs/job-internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/results-lock.h"
#include "lib/results.h"
#include "tests/unit/test.h"

static unsigned n_ended;

static void on_ended(struct job_env *env, struct job *job)
{
        ++n_ended;
}

static void on_changed(struct job_env *env, struct job *job)
{
}

struct lost {
        struct host host;
        struct groups groups;
        struct job_env env;
        struct job job;
};

/* A job whose runner claimed all of its @n_tasks and got done with one. */
static void begin(struct lost *lost, uint64_t n_tasks)
{
        struct results results = RESULTS_NULL;
        int fd = memfd_create("results", MFD_CLOEXEC);

        n_ended = 0;
        test_int(results_create(fd, n_tasks, now_monotonic()), ==, 0);
        test_int(results_map(fd, true, &results), ==, 0);
        results.records[0].state = PPP_STATE_DONE;
        results.header->next = n_tasks;
        results_unmap(&results);
        *lost = (struct lost){
                .host = { (char *)"6.1.0", 2 },
                .groups = { .fd = -EBADF, .lock_fd = -EBADF, .why = (char *)"there are none" },
        };
        lost->env = (struct job_env){ .host = &lost->host,
                                      .groups = &lost->groups,
                                      .changed = on_changed,
                                      .ended = on_ended };
        test_true(sd_event_new(&lost->env.event) >= 0);
        lost->job = (struct job){
                .env = &lost->env,
                .record = { .number = 12, .state = JOB_RUNNING, .n_tasks = n_tasks },
                .spec = { .level = LEVEL_SERIAL, .workload = WORKLOAD_SUM, .workers = 1 },
                .directory = { .fd = -EBADF, .results_fd = fd },
                .measures_fd = -EBADF,
                .carried = true,
        };
        job_init_child(&lost->job);
        list_init(&lost->job.waiters);
}

static uint64_t next_of(const struct lost *lost)
{
        struct ppp_results_header header;

        test_int(pread(lost->job.directory.results_fd, &header, sizeof(header), 0), ==,
                 sizeof(header));
        return header.next;
}

static void expect_cancelled(struct lost *lost)
{
        test_int(n_ended, ==, 1);
        test_int(lost->job.record.state, ==, JOB_CANCELLED);
        test_int(lost->job.record.n_done, ==, 1);
        test_int(next_of(lost), ==, 0);
        directory_deinit(&lost->job.directory);
        job_record_deinit(&lost->job.record);
        sd_event_unref(lost->env.event);
}

static void test_small(void)
{
        struct lost lost;

        begin(&lost, 3);
        lost.job.stop_reason = REASON_CANCELLED;
        job_start_again(&lost.job);
        expect_cancelled(&lost);
}

/* A child sets it back, and what is asked of the job meanwhile is done after that. */
static void test_large(void)
{
        struct lost lost;

        begin(&lost, 2 * COUNTERS_AT_ONCE);
        job_start_again(&lost.job);
        test_true(lost.job.errand);
        test_true(job_is_between_runners(&lost.job));
        test_true(job_check(&lost.job));
        job_stop(&lost.job, REASON_CANCELLED);
        test_int(n_ended, ==, 0);
        while (n_ended == 0)
                test_true(sd_event_run(lost.env.event, UINT64_MAX) > 0);
        expect_cancelled(&lost);
}

/* Its child could not become the runner, for a reason that passes. */
static void fail_start(struct lost *lost)
{
        struct child *child = &lost->job.child;

        child->state = CHILD_ENDED;
        child->is_ours = child->has_status = true;
        child->status = (siginfo_t){ .si_code = CLD_EXITED };
        child->status.si_status = 127;
        child->start_attempted = "execute";
        child->start_error = -EIO;
}

static void expect_left(struct lost *lost)
{
        while (n_ended == 0)
                test_true(sd_event_run(lost->env.event, UINT64_MAX) > 0);
        test_true(job_is_left(&lost->job));
        test_true(!lost->job.record.parts);
        directory_deinit(&lost->job.directory);
        job_record_deinit(&lost->job.record);
        sd_event_unref(lost->env.event);
}

/* The next supervisor tries again. */
static void test_interrupted(void)
{
        struct lost lost;

        begin(&lost, 3);
        lost.job.carried = false;
        fail_start(&lost);
        lost.job.interrupted = true;
        job_finish(&lost.job);
        expect_left(&lost);
}

static void test_stopped(void)
{
        struct lost lost;

        begin(&lost, 3);
        fail_start(&lost);
        lost.job.stop_reason = REASON_CANCELLED;
        job_finish(&lost.job);
        test_int(n_ended, ==, 1);
        test_int(lost.job.record.state, ==, JOB_CANCELLED);
        directory_deinit(&lost.job.directory);
        job_record_deinit(&lost.job.record);
        sd_event_unref(lost.env.event);
}

/* The supervisor stops while the records are counted. */
static void test_interrupted_late(void)
{
        struct lost lost;

        begin(&lost, 2 * COUNTERS_AT_ONCE);
        fail_start(&lost);
        job_finish(&lost.job);
        test_true(lost.job.errand && !lost.job.rewinds);
        job_interrupt(&lost.job);
        test_int(n_ended, ==, 0);
        expect_left(&lost);
}

/* Somebody cancels it while its records are counted, which would start it again. */
static void test_stopped_late(void)
{
        struct lost lost;

        begin(&lost, 2 * COUNTERS_AT_ONCE);
        fail_start(&lost);
        job_finish(&lost.job);
        test_true(lost.job.errand && !lost.job.rewinds);
        job_stop(&lost.job, REASON_CANCELLED);
        test_int(n_ended, ==, 0);
        while (n_ended == 0)
                test_int(sd_event_run(lost.env.event, UINT64_MAX), >=, 0);
        test_int(lost.job.record.state, ==, JOB_CANCELLED);
        directory_deinit(&lost.job.directory);
        job_record_deinit(&lost.job.record);
        sd_event_unref(lost.env.event);
}

/* What a dead runner left behind has the lock: the next supervisor waits for it. */
static void test_interrupted_while_locked(void)
{
        struct lost lost;
        char path[32];
        int other;

        begin(&lost, 3);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", lost.job.directory.results_fd);
        other = open(path, O_RDWR | O_CLOEXEC);
        test_int(results_hold(other), ==, 0);
        lost.job.interrupted = true;
        job_start_again(&lost.job);
        test_int(n_ended, ==, 1);
        expect_left(&lost);
        close_fd(other);
}

/* The timer by which it would have been started again is of no use: its records are counted. */
static void test_interrupted_while_it_waits(void)
{
        struct lost lost;
        char path[32];
        int other;

        begin(&lost, 2 * COUNTERS_AT_ONCE);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", lost.job.directory.results_fd);
        other = open(path, O_RDWR | O_CLOEXEC);
        test_int(results_hold(other), ==, 0);
        job_await(&lost.job);
        test_true(lost.job.again_source);
        job_interrupt(&lost.job);
        test_true(lost.job.errand && !lost.job.again_source);
        while (n_ended == 0)
                test_int(sd_event_run(lost.env.event, UINT64_MAX), >=, 0);
        expect_left(&lost);
        close_fd(other);
}

static pid_t start_runner(const struct lost *lost)
{
        int ends[2], lock_fd;
        char word;
        pid_t pid;

        test_int(pipe2(ends, O_CLOEXEC), ==, 0);
        pid = fork();
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (results_lock(lost->job.directory.results_fd, &lock_fd) < 0)
                        _exit(1);
                (void)!write(ends[1], "", 1);
                for (;;)
                        pause();
        }
        close_fd(ends[1]);
        test_int(read(ends[0], &word, 1), ==, 1);
        close_fd(ends[0]);
        return pid;
}

/* It continues, and nothing of it is begun again. */
static void test_taken_over(void)
{
        struct lost lost;
        pid_t pid;

        begin(&lost, 3);
        pid = start_runner(&lost);
        lost.job.counters.runner_start_ns = 1;
        job_start_again(&lost.job);
        test_int(lost.job.child.pid, ==, pid);
        test_true(!lost.job.resumed);
        test_int(kill(pid, SIGKILL), ==, 0);
        test_int(waitpid(pid, NULL, 0), ==, pid);
        child_leave(&lost.job.child);
        job_end_run(&lost.job);
        directory_deinit(&lost.job.directory);
        sd_event_unref(lost.env.event);
}

static void test_kinds(void)
{
        test_int(failure_kind(-EMFILE), ==, FAILURE_PASSES);
        test_int(failure_kind(-EAGAIN), ==, FAILURE_PASSES);
        test_int(failure_kind(-EIO), ==, FAILURE_PASSES);
        test_int(failure_kind(-EBADMSG), ==, FAILURE_STAYS);
        test_int(failure_kind(-ENOENT), ==, FAILURE_STAYS);
        test_int(failure_kind(-EINVAL), ==, FAILURE_UNKNOWN);
        test_int(failure_kind(-EACCES), ==, FAILURE_UNKNOWN);
        test_true(failure_is_want(-ENOMEM));
        test_true(!failure_is_want(-EIO));
}

static void test_limits(void)
{
        static const struct {
                int error;
                const char *field;
                bool may_pass;
        } faults[] = {
                { -EIO, NULL, true },
                { -ENOENT, NULL, false },
                { -EACCES, NULL, false },
                { -EMFILE, "spec.limits.pids_max", true },
                { -ENOMEM, "spec.limits.pids_max", true },
                { -EIO, "spec.limits.pids_max", false },
                { -EOPNOTSUPP, "spec.limits.pids_max", false },
                { -ENOSPC, "inputs", false },
                { -EDQUOT, "inputs", false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(faults); ++i) {
                const struct fault fault = { .error = faults[i].error,
                                             .field = (char *)faults[i].field };

                test_int(failure_may_pass(&fault), ==, faults[i].may_pass);
        }
}

TEST_MAIN("job-again", { "limits", test_limits }, { "interrupted", test_interrupted },
          { "stopped", test_stopped }, { "interrupted late", test_interrupted_late },
          { "stopped late", test_stopped_late }, { "taken over", test_taken_over },
          { "interrupted while locked", test_interrupted_while_locked },
          { "interrupted while it waits", test_interrupted_while_it_waits },
          { "small", test_small }, { "large", test_large }, { "kinds of errors", test_kinds })
