/* When those who wait for a job are told how far it is. */

#include "daemon/supervisor/jobs/job.h"

#include "tests/unit/test.h"

static uint64_t due(const struct job *job)
{
        uint64_t usec = 0;

        test_true(job->progress_source);
        test_int(sd_event_source_get_time(job->progress_source, &usec), ==, 0);
        return usec;
}

static bool is_armed(const struct job *job)
{
        int enabled = SD_EVENT_OFF;

        test_true(sd_event_source_get_enabled(job->progress_source, &enabled) >= 0);
        return enabled != SD_EVENT_OFF;
}

static void on_notify(struct waiter *waiter, struct job *job, enum job_event event)
{
}

static void let_time_pass(void)
{
        uint64_t now = now_monotonic();

        while (now_monotonic() - now < NSEC_PER_MSEC)
                ;
}

/* With one in every moment it would otherwise never come to that. */
static void test_more_waiters(void)
{
        struct waiter waiters[3] = {
                { .notify = on_notify, .progress = true },
                { .notify = on_notify, .progress = true },
                { .notify = on_notify },
        };
        struct job_env env = { .event = NULL };
        struct job job = { .env = &env,
                           .directory.results_fd = -EBADF,
                           .record.state = JOB_RUNNING };
        uint64_t first;

        test_true(sd_event_new(&env.event) >= 0);
        list_init(&job.waiters);
        for (size_t i = 0; i < ARRAY_SIZE(waiters); ++i)
                list_init(&waiters[i].link);
        job_add_waiter(&job, &waiters[2]);
        test_true(!job.progress_source);
        job_add_waiter(&job, &waiters[0]);
        first = due(&job);
        test_true(is_armed(&job));
        let_time_pass();
        job_add_waiter(&job, &waiters[1]);
        test_true(due(&job) == first);

        /* It comes, and comes again. What interrupts the wait is an event, too. */
        while (due(&job) == first)
                test_true(sd_event_run(env.event, UINT64_MAX) > 0);
        test_true(due(&job) > first);
        test_true(is_armed(&job));
        sd_event_source_disable_unref(job.progress_source);
        sd_event_unref(env.event);
}

TEST_MAIN("job-progress", { "others begin to wait", test_more_waiters })
