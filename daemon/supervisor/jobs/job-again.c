/*
 * A job whose runner is gone, or whose runner found another process at work on it. Who works on it
 * is told by the lock on its results file (lib/results-lock.h), and only that: a former supervisor
 * may have been killed before it could note anything of the runner that it started.
 */

#include "daemon/supervisor/jobs/job-internal.h"

#include "daemon/supervisor/base/log.h"
#include "lib/results-lock.h"
#include "lib/results.h"

#define AGAIN_USEC     UINT64_C(10000)
#define AGAIN_USEC_MAX UINT64_C(1000000)

/* A start that has failed may go on failing for longer than a lock is held. */
#define LATER_USEC_MAX UINT64_C(60000000)

/* Changes the results file in the times of this boot, while nobody works on it. */
static int change_results(struct job *job, void (*change)(struct results *results))
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
                change(&results);
        results_unmap(&results);
        results_release(fd);
        return r;
}

int job_rewind(struct job *job)
{
        return change_results(job, results_resume);
}

int job_withdraw(struct job *job)
{
        return change_results(job, results_withdraw);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;

        job->again_source = sd_event_source_disable_unref(job->again_source);
        job_start_again(job);
        return 0;
}

/* Each time twice as long, at most @max_usec. */
static void arm_again(struct job *job, uint64_t max_usec)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        job->again_usec = job->again_usec == 0 ? AGAIN_USEC : MIN(job->again_usec * 2, max_usec);
        r = sd_event_add_time_relative(job->env->event, &job->again_source, CLOCK_MONOTONIC,
                                       job->again_usec, 1000, on_again, job);
        if (r < 0) {
                (void)fault_errno(&fault, r, failure_advice(r),
                                  "arm the timer by which job %llu is started again",
                                  (unsigned long long)job->record.number);
                job_fail_with(job, &fault);
        }
}

static void wait_again(struct job *job)
{
        if (job->again_usec == 0)
                supervisor_log(LOG_NOTICE,
                               "something still works on job %llu (its results file is locked): it "
                               "continues when that has ended",
                               (unsigned long long)job->record.number);
        arm_again(job, AGAIN_USEC_MAX);
}

static bool take_over(struct job *job)
{
        struct child_group none = CHILD_GROUP_NULL;
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

/* Adds what the last runner used to the job's account, and removes its group. */
static void part_with_runner(struct job *job)
{
        bool counts = !job->carried;

        job_carry(job);
        job_end_run(job);
        job->adopted = true;
        if (counts)
                job->env->changed(job->env, job);
}

void job_start_later(struct job *job, const struct fault *fault)
{
        part_with_runner(job);
        job_put_off(job, fault);
        arm_again(job, LATER_USEC_MAX);
}

static void start(struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        if (job->resumed && !job->record.put_off)
                supervisor_log(
                        LOG_NOTICE,
                        "the runner of job %llu is gone and left tasks undone: starting it again",
                        (unsigned long long)job->record.number);
        r = job_start(job, &fault);
        if (r < 0 && failure_may_pass(&fault))
                job_start_later(job, &fault);
        else if (r < 0)
                job_fail_with(job, &fault);
}

static bool is_to_end(const struct job *job)
{
        return job->stop_reason != REASON_NONE || job->interrupted;
}

static void give_up_rewind(struct job *job, int error)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        (void)fault_errno(&fault, error, failure_advice(error),
                          "set back the results file of job %llu",
                          (unsigned long long)job->record.number);
        if (is_to_end(job))
                job_finish(job);
        else if (failure_kind(error) == FAILURE_PASSES)
                job_start_later(job, &fault);
        else
                job_fail_with(job, &fault);
}

static void finish_rewind(struct job *job, int r)
{
        /*
         * If the job is interrupted, the next supervisor finds the process that still works on it.
         */
        if (r == -EAGAIN && !job->interrupted)
                wait_again(job);
        else if (r < 0)
                give_up_rewind(job, r);
        else if (is_to_end(job))
                job_finish(job);
        else
                start(job);
}

static int child_rewind(void *userdata, int out_fd)
{
        return job_rewind(userdata);
}

static void on_rewound(void *userdata, int r, int out_fd)
{
        struct job *job = userdata;

        job->errand = NULL;
        job->rewinds = false;
        /* A child that was killed may have left the lock to us, who share the open file with it. */
        results_release(job->directory.results_fd);
        finish_rewind(job, r);
}

static int start_rewind(struct job *job)
{
        const struct errand_work work = {
                .run = child_rewind,
                .done = on_rewound,
                .userdata = job,
                .fds = { job->directory.results_fd },
                .n_fds = 1,
        };

        return errand_start(job->env->event, &work, &job->errand);
}

void job_start_again(struct job *job)
{
        int r;

        assert(!job->errand);
        part_with_runner(job);
        if (take_over(job))
                return;
        /* A runner that never began has left nothing behind. */
        job->resumed |=
                job->counters.runner_start_ns != 0 || job->record.n_done + job->record.n_failed > 0;
        if (job->record.n_tasks <= COUNTERS_AT_ONCE) {
                finish_rewind(job, job_rewind(job));
                return;
        }
        r = start_rewind(job);
        job->rewinds = r >= 0;
        if (r < 0)
                give_up_rewind(job, r);
}

void job_await(struct job *job)
{
        job_set_state(job, JOB_RUNNING);
        job->adopted = true;
        wait_again(job);
}
