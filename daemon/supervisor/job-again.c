/*
 * A job whose runner is gone, or whose runner found another process at work on it. Who works on it is told by
 * the lock on its results file (lib/results-lock.h), and only that: a former supervisor may have been killed
 * before it could note anything of the runner that it started.
 */

#include "daemon/supervisor/job-internal.h"

#include "daemon/supervisor/log.h"
#include "lib/results-lock.h"
#include "lib/results.h"

#define AGAIN_USEC     UINT64_C(10000)
#define AGAIN_USEC_MAX UINT64_C(1000000)

int job_rewind(struct job *job)
{
        int fd = job->directory.results_fd, r;
        struct results results = RESULTS_NULL;

        r = results_hold(fd);
        if (r < 0)
                return r;
        r = results_rebase(fd);
        if (r >= 0)
                r = results_map(fd, true, &results);
        if (r >= 0)
                results_resume(&results);
        results_unmap(&results);
        results_release(fd);
        return r;
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;

        job->again_source = sd_event_source_disable_unref(job->again_source);
        job_start_again(job);
        return 0;
}

static void wait_again(struct job *job)
{
        int r;

        if (job->again_usec == 0)
                supervisor_log(LOG_NOTICE, "something still works on job %llu (its results file is "
                               "locked): it goes on when that has ended",
                               (unsigned long long)job->record.number);
        job->again_usec = job->again_usec == 0 ? AGAIN_USEC : MIN(job->again_usec * 2, AGAIN_USEC_MAX);
        r = sd_event_add_time_relative(job->env->event, &job->again_source, CLOCK_MONOTONIC,
                                       job->again_usec, 1000, on_again, job);
        if (r < 0)
                job_fail(job, "cannot arm the timer that waits for what still works on the job");
}

static bool take_over(struct job *job)
{
        struct job_group none = JOB_GROUP_NULL;
        pid_t pid;
        int pidfd;

        if (results_find_locker(job->directory.results_fd, &pid, &pidfd) < 0)
                return false;
        supervisor_log(LOG_INFO, "took over job %llu (runner process %d)",
                       (unsigned long long)job->record.number, pid);
        if (job_adopt(job, &none, pid, pidfd) < 0)
                supervisor_log(LOG_ERR, "cannot watch job %llu: it will not be seen to end",
                               (unsigned long long)job->record.number);
        /* The runner that it was asked of before was another one. */
        if (job->stop_reason != REASON_NONE)
                job_terminate(job);
        else if (job->interrupted)
                job_interrupt(job);
        return true;
}

static void start(struct job *job)
{
        struct failure failure = FAILURE_NULL;

        supervisor_log(LOG_NOTICE, "the runner of job %llu is gone and left tasks undone: starting it "
                       "again", (unsigned long long)job->record.number);
        job->resumed = true;
        if (job_start(job, &failure) < 0)
                job_fail(job, failure_text(failure.why));
        failure_deinit(&failure);
}

static void set_no_runner(struct job *job)
{
        job->is_child = job->has_status = job->has_usage = false;
        job->adopted = job->runner_gone = true;
}

void job_start_again(struct job *job)
{
        int r;

        if (!job->carried) {
                job_carry(job);
                job_remove_group(job);
                job->env->changed(job->env, job);
        }
        job_end_run(job);
        set_no_runner(job);
        if (take_over(job))
                return;
        r = job_rewind(job);
        if (r == -EAGAIN) {
                wait_again(job);
                return;
        }
        job->again_usec = 0;
        if (r < 0)
                job_fail(job, strerror(-r));
        else if (job->stop_reason != REASON_NONE || job->interrupted)
                job_look(job);
        else
                start(job);
}

void job_await(struct job *job)
{
        job->record.state = JOB_RUNNING;
        set_no_runner(job);
        wait_again(job);
}
