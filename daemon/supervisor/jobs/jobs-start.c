/*
 * The start of jobs. One that cannot be started for a reason that passes, such as want of
 * descriptors or processes, is not lost: it goes back to its place in the queue, says there why,
 * and is tried again, after a while that grows, or when a job has ended that had what it wants.
 * Nothing else is started for a moment either, so that many that wait do not take turns at failing.
 */

#include "daemon/supervisor/jobs/jobs-internal.h"

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/jobs/slots.h"
#include "daemon/supervisor/jobs/space.h"

/* How long nothing is started after a start was put off. */
#define REST_USEC UINT64_C(1000000)

/* How long a job whose start was put off waits; each time twice as long. */
#define DELAY_NS     NSEC_PER_SEC
#define DELAY_NS_MAX (60 * NSEC_PER_SEC)

/* It waits as if it had not been about to start. */
static void put_back(struct jobs *jobs, struct job *job)
{
        job_set_state(job, JOB_QUEUED);
        free(job->record.cgroup);
        job->record.cgroup = NULL;
        slots_put_back(jobs, job);
}

static void try_later(struct jobs *jobs, struct job *job, int error, const struct fault *fault)
{
        put_back(jobs, job);
        job_put_off(job, fault);
        job->start_delay_ns =
                job->start_delay_ns == 0 ? DELAY_NS : MIN(job->start_delay_ns * 2, DELAY_NS_MAX);
        job->start_after_ns = now_monotonic() + job->start_delay_ns;
        job->start_wants = failure_is_want(error);
        jobs->rests = true;
        jobs_arm(jobs->retry_source, REST_USEC);
        (void)jobs_save(jobs, job);
}

/* 0 when the job is still there and tried again later; else @error. */
static int fail_or_try_later(struct jobs *jobs, struct job *job, int error,
                             const struct fault *fault)
{
        if (failure_may_pass(fault)) {
                try_later(jobs, job, error, fault);
                return 0;
        }
        /* The job is stored as failed, those who wait hear of it, and it is gone. */
        job_fail_with(job, fault);
        return error;
}

int jobs_start_stored(struct jobs *jobs, struct job *job, struct fault *fault)
{
        int r = job_start(job, fault);

        if (r < 0)
                return fail_or_try_later(jobs, job, r, fault);
        jobs_take_out(jobs, job);
        list_append(&jobs->running, &job->link);
        ++jobs->n_running;
        return 0;
}

int jobs_note_group(struct jobs *jobs, struct job_record *record)
{
        if (!groups_exist(jobs->env.groups))
                return 0;
        free(record->cgroup);
        record->cgroup = strdup(jobs->env.groups->path);
        return record->cgroup ? 0 : -ENOMEM;
}

/*
 * A job whose start cannot be stored is not started: the next supervisor would not know of it. The
 * jobs behind it could not be stored either, so they wait too.
 */
static void wait_for_store(struct jobs *jobs, struct job *job)
{
        put_back(jobs, job);
        jobs->puts_off = true;
        jobs_arm(jobs->save_source, SAVE_USEC);
}

void jobs_start_reserved(struct jobs *jobs, struct job *job, int r, struct fault *fault)
{
        if (job_stop_late(job))
                return;
        if (r < 0) {
                (void)fail_or_try_later(jobs, job, r, fault);
                return;
        }
        /* Somebody paused it meanwhile. */
        if (job->record.paused) {
                slots_put_back(jobs, job);
                jobs_kick(jobs);
                return;
        }
        job_set_state(job, JOB_RUNNING);
        if (jobs_note_group(jobs, &job->record) < 0 || jobs_save(jobs, job) < 0) {
                wait_for_store(jobs, job);
                return;
        }
        (void)jobs_start_stored(jobs, job, fault);
        jobs->changed(jobs);
}

static void start_next(struct jobs *jobs, struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        slots_take(jobs, job);
        if (space_takes_long(job->record.n_tasks)) {
                space_reserve_and_start(jobs, job);
                return;
        }
        r = space_reserve(jobs, job, &fault);
        jobs_start_reserved(jobs, job, r, &fault);
}

int jobs_on_start(sd_event_source *source, void *userdata)
{
        struct jobs *jobs = userdata;
        struct job *job;

        while ((job = slots_next(jobs))) {
                if (job->record.state == JOB_RUNNING)
                        jobs_resume_next(jobs, job);
                else
                        start_next(jobs, job);
        }
        jobs->changed(jobs);
        return 0;
}

/*
 * For the next one of those that were put off. Each that is found due by now is started as soon as
 * it may.
 */
static void arm_retry(struct jobs *jobs)
{
        uint64_t now = now_monotonic(), next = UINT64_MAX;
        struct job *job;

        list_for_each(job, &jobs->queue, struct job, link)
                if (job->start_after_ns > now)
                        next = MIN(next, job->start_after_ns);
        if (next != UINT64_MAX)
                jobs_arm(jobs->retry_source, (next - now) / NSEC_PER_USEC + 1);
}

int jobs_on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct jobs *jobs = userdata;

        jobs->rests = false;
        arm_retry(jobs);
        jobs_kick(jobs);
        return 0;
}

void jobs_retry_wants(struct jobs *jobs)
{
        struct job *job;

        jobs->rests = false;
        list_for_each(job, &jobs->queue, struct job, link)
                if (job->start_wants)
                        job->start_after_ns = 0;
}
