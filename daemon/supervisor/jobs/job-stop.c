#include "daemon/supervisor/jobs/job-internal.h"

#include "daemon/supervisor/base/log.h"

void job_terminate(struct job *job)
{
        bool was_paused = job->record.paused;

        child_stop(&job->child);
        job->record.paused = job->record.resuming = false;
        /* A supervisor that follows one which dies meanwhile does not freeze it again. */
        if (was_paused)
                job->env->changed(job->env, job);
}

void job_stop(struct job *job, enum job_reason reason)
{
        assert(reason != REASON_NONE);
        if (job->stop_reason != REASON_NONE || !job_is_live(job))
                return;
        job->stop_reason = reason;
        /*
         * If its records are being counted, or its results file set back, what comes of that also
         * decides about this.
         */
        if (job->errand)
                return;
        if (job->record.state == JOB_QUEUED) {
                job_finish(job);
                return;
        }
        if (job->again_source)
                job_start_again(job);
        else
                job_terminate(job);
}

bool job_stop_late(struct job *job)
{
        enum job_reason reason = job->stop_reason;

        assert(job->record.state == JOB_QUEUED && !job->errand);
        job->stop_reason = REASON_NONE;
        if (reason == REASON_NONE)
                return false;
        job_stop(job, reason);
        return true;
}

void job_interrupt(struct job *job)
{
        assert(job->record.state == JOB_RUNNING);
        job->interrupted = true;
        /* As in job_stop(). */
        if (job->stop_reason != REASON_NONE || job->errand)
                return;
        /* There is no runner to ask. The next supervisor finds what still works on it. */
        if (job->again_source) {
                job_finish(job);
                return;
        }
        /* Its row still says that it is paused, so that the next supervisor does not start it. */
        (void)child_ask_to_end(&job->child);
}

int job_pause(struct job *job, bool pause, struct fault *fault)
{
        bool grouped = child_group_exists(&job->child.group);
        int r = 0;

        assert(job_is_live(job));
        /* Without a runner there is nothing to freeze: the next one will be. */
        if (job->record.state == JOB_RUNNING && !job_is_between_runners(job))
                r = child_freeze(&job->child, pause);
        if (r == -EOPNOTSUPP && !grouped)
                return fault_why(fault, r,
                                 "this kernel does not tell which processes are a process's "
                                 "children (CONFIG_PROC_CHILDREN)",
                                 job_freeze_hint(r) ?: failure_advice(r),
                                 "stop the processes of job %llu, which has no cgroup",
                                 (unsigned long long)job->record.number);
        if (r < 0)
                return fault_errno(fault, r, job_freeze_hint(r) ?: failure_advice(r), "%s job %llu",
                                   grouped ? "write cgroup.freeze of"
                                   : pause ? "stop the processes of"
                                           : "continue the processes of",
                                   (unsigned long long)job->record.number);
        job->record.paused = pause;
        job->record.resuming = false;
        return 0;
}
