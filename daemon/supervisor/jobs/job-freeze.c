/* How a job is paused: its child is frozen, which the kernel keeps for the next supervisor. */

#include "daemon/supervisor/jobs/job-internal.h"

#include "daemon/supervisor/base/log.h"

const char *job_freeze_hint(int error)
{
        if (error == -ENOENT)
                return "boot Linux 5.2 or newer";
        if (error == -EOPNOTSUPP)
                return "start the daemon as a service, or give it a cgroup with --cgroup PATH";
        return NULL;
}

void job_freeze_late(struct job *job)
{
        const struct log_about about = job_about(job, MESSAGE_NONE, REASON_NONE);
        int r = child_freeze(&job->child, true);

        assert(job->record.paused);
        /* The runner's end is told elsewhere; another runner is frozen in its turn. */
        if (r >= 0 || r == -ESRCH)
                return;
        supervisor_log_about(
                &about, LOG_ERR,
                "job %llu continues though it was to be paused: cannot %s: %s; %s, and "
                "pause it again",
                (unsigned long long)job->record.number,
                child_group_exists(&job->child.group) ? "write its cgroup.freeze"
                                                      : "stop its processes",
                strerror(-r), job_freeze_hint(r) ?: failure_advice(r));
        job->record.paused = job->record.resuming = false;
        job->env->changed(job->env, job);
}
