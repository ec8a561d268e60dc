#include "daemon/supervisor/jobs/job-internal.h"

#include <signal.h>
#include <sys/pidfd.h>

#include "daemon/supervisor/base/log.h"

#define GRACE_USEC UINT64_C(2000000)

static int on_kill(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;

        job_kill(job);
        return 0;
}

int job_arm_kill(struct job *job)
{
        if (job->kill_source || job->killed)
                return 0;
        return sd_event_add_time_relative(job->env->event, &job->kill_source, CLOCK_MONOTONIC,
                                          GRACE_USEC, 1000, on_kill, job);
}

static int signal_runner(struct job *job, int signal)
{
        if (job->pidfd < 0 || job->runner_gone)
                return -ESRCH;
        return pidfd_send_signal(job->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

void job_kill(struct job *job)
{
        int r;

        job->killed = true;
        /* It may not be in its group yet. Its workers go with it, where there is no group. */
        r = signal_runner(job, SIGKILL);
        if (child_group_exists(&job->group))
                r = cgroup_kill(job->group.fd);
        if (r < 0 && r != -ESRCH)
                supervisor_log(LOG_ERR, "cannot kill job %llu: %s",
                               (unsigned long long)job->record.number, strerror(-r));
}

/* A frozen process takes SIGKILL, and acts on nothing else. */
static void thaw(struct job *job)
{
        int r;

        if (!job->record.paused)
                return;
        r = job_freeze(job, false);
        if (r < 0 && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot let job %llu go on so that it can end: %s",
                               (unsigned long long)job->record.number, strerror(-r));
}

void job_terminate(struct job *job)
{
        bool was_paused = job->record.paused;
        int r;

        r = signal_runner(job, SIGTERM);
        thaw(job);
        job->record.paused = job->record.resuming = false;
        /* A supervisor that follows one which dies meanwhile does not freeze it again. */
        if (was_paused)
                job->env->changed(job->env, job);
        if (r < 0 && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot send SIGTERM to the runner of job %llu: %s",
                               (unsigned long long)job->record.number, strerror(-r));
        /* Nobody there who could take the signal: what is left in the group has to be killed. */
        if (r < 0 || job_arm_kill(job) < 0)
                job_kill(job);
}

void job_stop(struct job *job, enum job_reason reason)
{
        assert(reason != REASON_NONE);
        if (job->stop_reason != REASON_NONE || !job_is_live(job))
                return;
        job->stop_reason = reason;
        if (job->record.state == JOB_QUEUED) {
                job_look(job);
                return;
        }
        /* One whose records are counted, or whose results file is set back, is judged by that
         * afterwards. */
        if (job->errand)
                return;
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
        /* One whose records are counted, or whose results file is set back, is judged by that
         * afterwards. */
        if (job->stop_reason != REASON_NONE || job->errand)
                return;
        /* There is no runner to ask. The next supervisor finds what still works on it. */
        if (job->again_source) {
                job_look(job);
                return;
        }
        (void)signal_runner(job, SIGTERM);
        /* Its row goes on to say that it is paused: the next supervisor does not start it. */
        thaw(job);
}

int job_pause(struct job *job, bool pause, struct fault *fault)
{
        bool grouped = child_group_exists(&job->group);
        int r = 0;

        assert(job_is_live(job));
        /* Without a runner there is nothing to freeze: the next one will be. */
        if (job->record.state == JOB_RUNNING && !job_is_between_runners(job))
                r = job_freeze(job, pause);
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
