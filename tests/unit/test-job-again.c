/* A job whose runner is gone: its results file is set back for another one. */

#include "daemon/supervisor/jobs/job-internal.h"

#include <sys/mman.h>

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
        lost->env = (struct job_env){ .host = &lost->host, .groups = &lost->groups, .changed = on_changed,
                                      .ended = on_ended };
        test_true(sd_event_new(&lost->env.event) >= 0);
        lost->job = (struct job){
                .env = &lost->env,
                .record = { .number = 12, .state = JOB_RUNNING, .n_tasks = n_tasks },
                .spec = { .level = LEVEL_SERIAL, .workload = WORKLOAD_SUM, .workers = 1 },
                .directory = { .fd = -EBADF, .results_fd = fd },
                .group = JOB_GROUP_NULL,
                .pidfd = -EBADF,
                .complaint_fd = -EBADF,
                .measures_fd = -EBADF,
                .carried = true,
                .runner_gone = true,
        };
        list_init(&lost->job.waiters);
}

static uint64_t next_of(const struct lost *lost)
{
        struct ppp_results_header header;

        test_int(pread(lost->job.directory.results_fd, &header, sizeof(header), 0), ==, sizeof(header));
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

TEST_MAIN("job-again",
          { "small", test_small }, { "large", test_large }, { "kinds of errors", test_kinds })
