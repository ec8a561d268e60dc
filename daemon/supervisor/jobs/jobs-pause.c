/*
 * Pausing and resuming jobs. Each is stored before it is done, so that the next supervisor forgets
 * no pause that was reported. A job that is resumed takes a slot, and waits for one in the queue's
 * order.
 */

#include "daemon/supervisor/jobs/jobs-internal.h"

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/jobs/slots.h"

/* Its turn has come to go on. */
static int resume(struct jobs *jobs, struct job *job, struct fault *fault)
{
        int r;

        slots_take(jobs, job);
        r = job_pause(job, false, fault);
        if (r < 0) {
                job->record.resuming = false;
                slots_give_up(jobs, job);
        }
        return r;
}

void jobs_resume_next(struct jobs *jobs, struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (resume(jobs, job, &fault) < 0)
                supervisor_log(LOG_ERR, "job %llu stays paused: cannot %s: %s; %s",
                               (unsigned long long)job->record.number, fault.attempted, fault.why,
                               fault.advice);
        (void)jobs_save(jobs, job);
}

/* Nothing has changed when it fails: the next supervisor goes by what is stored. */
static int keep_pause(struct jobs *jobs, struct job *job, bool paused, bool resuming)
{
        struct job_record *record = &job->record;
        bool was_paused = record->paused, was_resuming = record->resuming;
        int r;

        record->paused = paused;
        record->resuming = resuming;
        r = jobs_save(jobs, job);
        if (r < 0) {
                record->paused = was_paused;
                record->resuming = was_resuming;
        }
        return r;
}

static int pause_not_stored(struct jobs *jobs, const struct job *job, bool pause, int error,
                            struct fault *fault)
{
        return fault_why(fault, error, store_error(jobs->store),
                         jobs_busy_hint(error) ?: failure_advice(error), "store that job %llu %s",
                         (unsigned long long)job->record.number,
                         pause ? "is paused" : "is to go on");
}

int jobs_pause(struct jobs *jobs, struct job *job, bool pause, struct fault *fault)
{
        bool was_paused = job->record.paused, was_resuming = job->record.resuming;
        bool waits = !pause && job->charged == QUOTA_FROZEN;
        int r;

        if (jobs->draining || job->stop_reason != REASON_NONE)
                return fault_why(fault, -EBUSY,
                                 jobs->draining ? "the daemon is stopping"
                                                : "the job is being ended",
                                 "see pppctl show JOB", "%s job %llu", pause ? "pause" : "resume",
                                 (unsigned long long)job->record.number);
        r = keep_pause(jobs, job, pause || waits, waits);
        if (r < 0)
                return pause_not_stored(jobs, job, pause, r, fault);
        if (!waits)
                r = job_pause(job, pause, fault);
        else if (slots_next(jobs) == job)
                r = resume(jobs, job, fault);
        if (r < 0) {
                (void)keep_pause(jobs, job, was_paused, was_resuming);
                return r;
        }
        if (job->record.paused && job->record.state == JOB_RUNNING)
                slots_give_up(jobs, job);
        if (waits && !job->record.resuming)
                (void)jobs_save(jobs, job);
        jobs_kick(jobs);
        return 0;
}
