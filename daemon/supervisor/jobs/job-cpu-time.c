#include "daemon/supervisor/jobs/job-internal.h"

#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/base/log.h"

/*
 * How often at most the account is read while the budget comes to its end: by then CPUs may go over
 * it by as much.
 */
#define TICK_MIN_NS (5 * NSEC_PER_MSEC)

static int on_cpu_time(sd_event_source *source, uint64_t usec, void *userdata);

/* All CPUs together can't use up what is left before that. */
static int arm(struct job *job, uint64_t left_ns)
{
        uint64_t usec = MAX(left_ns / job->env->host->n_cpus, TICK_MIN_NS) / NSEC_PER_USEC;

        return event_loop_arm(job->env->event, &job->cpu_time_source, usec, on_cpu_time, job);
}

/* Earlier parts of the job have used up some of its CPU time. */
static uint64_t max_of_this_part(const struct job *job)
{
        double used_ns = accounting_cpu_seconds(job->record.parts) * (double)NSEC_PER_SEC;

        return used_ns < (double)job->spec.cpu_time_max_ns
                       ? job->spec.cpu_time_max_ns - (uint64_t)used_ns
                       : 0;
}

static int look_at_cpu_time(struct job *job)
{
        uint64_t used, max = max_of_this_part(job);
        int r;

        r = cgroup_read_keyed(job->child.group.fd, "cpu.stat", "usage_usec", &used);
        if (r < 0)
                return r;
        used *= NSEC_PER_USEC;
        if (used >= max) {
                job_stop(job, REASON_CPU_TIME_MAX);
                return 0;
        }
        return arm(job, max - used);
}

static int on_cpu_time(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;
        int r;

        r = look_at_cpu_time(job);
        /* A group that is gone is the end of the job, which is told elsewhere. */
        if (r < 0 && r != -ENODEV && r != -ENOENT)
                supervisor_log(
                        LOG_ERR,
                        "cannot read the CPU time of job %llu, its limit is no longer watched: %s",
                        (unsigned long long)job->record.number, strerror(-r));
        return 0;
}

int job_watch_cpu_time(struct job *job)
{
        if (job->spec.cpu_time_max_ns == 0 || !child_group_exists(&job->child.group))
                return 0;
        /* What was used before this supervisor came is not known yet. */
        return arm(job, job->adopted ? 0 : max_of_this_part(job));
}
