/*
 * How a job that runs is paused: by cgroup.freeze of its group or, where it has none, by SIGSTOP to
 * each of its processes. Either is kept by the kernel, so the next supervisor finds it there.
 */

#include "daemon/supervisor/jobs/job-internal.h"

#include "daemon/supervisor/base/log.h"

/* Between two looks whether all of its processes stand still; most often one is enough. */
#define LOOK_USEC UINT64_C(10000)

/* A look at one of them takes some 15 us, and others wait for their turn meanwhile. */
#define SLICE_NS (2 * NSEC_PER_MSEC)

static int on_look(sd_event_source *source, uint64_t usec, void *userdata);

static int arm(struct job *job)
{
        int r;

        if (!job->freeze_source)
                return sd_event_add_time_relative(job->env->event, &job->freeze_source,
                                                  CLOCK_MONOTONIC, LOOK_USEC, 1000, on_look, job);
        r = sd_event_source_set_time_relative(job->freeze_source, LOOK_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(job->freeze_source, SD_EVENT_ONESHOT);
}

static int stop_tree(struct job *job)
{
        int r;

        if (job->pidfd < 0 || job->runner_gone)
                return -ESRCH;
        r = process_tree_stop(&job->tree, job->pid, job->pidfd, SLICE_NS);
        return r > 0 ? arm(job) : r;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;
        int r;

        r = stop_tree(job);
        /* A runner that is gone is the end of the job, which is told elsewhere. */
        if (r < 0 && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot see whether all of job %llu has stopped: %s",
                               (unsigned long long)job->record.number, strerror(-r));
        return 0;
}

static int continue_tree(struct job *job)
{
        job->freeze_source = sd_event_source_disable_unref(job->freeze_source);
        process_tree_deinit(&job->tree);
        if (job->pidfd < 0 || job->runner_gone)
                return -ESRCH;
        return process_tree_continue(job->pid, job->pidfd);
}

int job_freeze(struct job *job, bool freeze)
{
        int r;

        /*
         * On its way to its program it has copies of all our descriptors: it is frozen as soon as
         * it is there.
         */
        if (freeze && job->complaint_fd >= 0)
                return 0;
        if (child_group_exists(&job->group))
                return cgroup_freeze(job->group.fd, freeze);
        r = freeze ? stop_tree(job) : continue_tree(job);
        /* Half of it stopped is neither. */
        if (freeze && r < 0)
                (void)continue_tree(job);
        return r;
}

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
        int r = job_freeze(job, true);

        assert(job->record.paused);
        /* The runner's end is told elsewhere; another runner is frozen in its turn. */
        if (r >= 0 || r == -ESRCH)
                return;
        supervisor_log_about(&about, LOG_ERR,
                             "job %llu goes on though it was to be paused: cannot %s: %s; %s, and "
                             "pause it again",
                             (unsigned long long)job->record.number,
                             child_group_exists(&job->group) ? "write its cgroup.freeze"
                                                             : "stop its processes",
                             strerror(-r), job_freeze_hint(r) ?: failure_advice(r));
        job->record.paused = job->record.resuming = false;
        job->env->changed(job->env, job);
}

/* The kernel keeps what the former supervisor asked for. */
bool job_find_frozen(const struct job *job)
{
        uint64_t frozen;

        if (child_group_exists(&job->group))
                return cgroup_read_u64(job->group.fd, "cgroup.freeze", &frozen) >= 0 && frozen;
        return job->pid > 0 && process_is_stopped(job->pid);
}
