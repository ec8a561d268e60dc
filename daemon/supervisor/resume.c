#include "daemon/supervisor/resume.h"

#include <stdio.h>
#include <sys/pidfd.h>

#include "daemon/supervisor/identity.h"
#include "daemon/supervisor/log.h"
#include "daemon/supervisor/totals.h"
#include "lib/inputs.h"
#include "lib/results.h"

/* A job that can't even be made an object of: its row tells why. */
static void give_up(struct jobs *jobs, struct job_record *record, const char *why)
{
        const struct log_about about = { .message = MESSAGE_JOB_FAILED, .job = record->number,
                                         .reason = job_reason_name(REASON_RUNNER_FAILED) };
        struct totals totals;

        supervisor_log_about(&about, LOG_ERR, "cannot take up job %llu: %s",
                             (unsigned long long)record->number, why);
        free(record->reason);
        if (asprintf(&record->reason, "runner-failed: the job cannot be gone on with: %s", why) < 0)
                record->reason = NULL;
        record->state = JOB_FAILED;
        record->ended_ns = now_realtime();
        record->size = directory_size(jobs->env.jobs_fd, record->number);
        if (quota_add(jobs->quota, QUOTA_KEPT_BYTES, record->owner, record->size) < 0)
                (void)supervisor_log_oom();
        totals_collect(record, NULL, &totals);
        if (store_end(jobs->store, record, totals.list, totals.n) < 0)
                supervisor_log(LOG_ERR, "cannot store job %llu: %s", (unsigned long long)record->number,
                               store_error(jobs->store));
}

static bool uses_demo(struct jobs *jobs, uint64_t number, const struct spec *spec)
{
        struct inputs inputs = INPUTS_NULL;
        struct input_error error;
        _cleanup_close_ int fd = -EBADF;
        bool named;

        if (spec->workload != WORKLOAD_WORDS ||
            directory_open_file(jobs->env.jobs_fd, number, "inputs", &fd) < 0 ||
            inputs_map(fd, false, &inputs, &error) < 0)
                return false;
        named = demo_is_named(inputs.text, inputs.size);
        inputs_unmap(&inputs);
        return named;
}

/* What the results file says, by its records: whoever wrote it may have been killed. */
static int read_results(const struct directory *directory, struct job_record *record,
                        struct counters *ret)
{
        struct results results = RESULTS_NULL;
        uint64_t n;
        int r;

        r = results_map(directory->results_fd, false, &results);
        if (r < 0)
                return r;
        n = results.n_tasks;
        results_unmap(&results);
        if (n != record->n_tasks)
                return -EBADMSG;
        r = counters_read(directory->results_fd, ret);
        if (r >= 0)
                r = counters_recount(directory->results_fd, n, ret);
        if (r < 0)
                return r;
        record->n_done = ret->n_done;
        record->n_failed = ret->n_failed;
        return 0;
}

/* The object of a stored job; NULL when there can be none, and the job was given up. */
static struct job *load(struct jobs *jobs, struct job_record *record)
{
        struct directory directory = DIRECTORY_NULL;
        struct spec_error error = { "", "", "" };
        struct spec spec = SPEC_NULL;
        struct counters counters;
        struct job *job;
        bool demo;
        int r;

        if (spec_from_json(record->spec, &spec, &error) < 0) {
                give_up(jobs, record, *error.why ? error.why : "its spec cannot be read");
                return NULL;
        }
        r = directory_open(jobs->env.jobs_fd, record->number, &directory);
        if (r >= 0)
                r = read_results(&directory, record, &counters);
        if (r < 0) {
                give_up(jobs, record, r == -EBADMSG ? "its results file is damaged or cut short"
                                      : r == -ENOENT ? "its directory or results file is gone"
                                                     : strerror(-r));
                directory_deinit(&directory);
                spec_deinit(&spec);
                return NULL;
        }
        demo = uses_demo(jobs, record->number, &spec);
        if (job_new(&jobs->env, record, &spec, &directory, &counters, demo, &job) < 0) {
                (void)supervisor_log_oom();
                return NULL;
        }
        return job;
}

static void adopt(struct jobs *jobs, struct job *job, struct job_group *group, pid_t pid, int pidfd)
{
        const struct log_about about = job_about(job, MESSAGE_JOB_TAKEN_UP, REASON_NONE);

        supervisor_log_about(&about, LOG_INFO, "took over job %llu (runner process %d)",
                             (unsigned long long)job->record.number, pid);
        if (job_adopt(job, group, pid, pidfd) < 0)
                supervisor_log(LOG_ERR, "cannot watch job %llu: it will not be seen to end",
                               (unsigned long long)job->record.number);
        jobs_add_running(jobs, job);
}

/*
 * The runner of a group, and a pidfd for it; 0 when there is none any more. Looked up before and after,
 * since between the name and the descriptor the number may have become another process's.
 */
static pid_t open_runner(const struct job_group *group, int *ret_pidfd)
{
        _cleanup_close_ int pidfd = -EBADF;
        pid_t before, after;

        if (job_group_find_runner(group, &before) < 0)
                return 0;
        pidfd = pidfd_open(before, 0);
        if (pidfd < 0 || job_group_find_runner(group, &after) < 0 || before != after)
                return 0;
        *ret_pidfd = steal_fd(&pidfd);
        return before;
}

/* True when the job's group holds its runner, or what that left behind, and the job goes on in it. */
static bool adopt_by_group(struct jobs *jobs, struct job *job)
{
        struct job_group group = JOB_GROUP_NULL;
        bool populated = false;
        int pidfd = -EBADF, r;
        pid_t pid;

        if (!job->record.cgroup ||
            job_group_open(job->record.cgroup, job->record.number, &group) < 0)
                return false;
        r = job_group_is_populated(&group, &populated);
        if (r < 0 || !populated) {
                r = job_group_remove(&group);
                if (r < 0)
                        supervisor_log(LOG_WARNING, "cannot remove the old cgroup of job %llu: %s",
                                       (unsigned long long)job->record.number, strerror(-r));
                return false;
        }
        pid = open_runner(&group, &pidfd);
        adopt(jobs, job, &group, pid, pidfd);
        return true;
}

/* The same where there are no groups. */
static bool adopt_by_process(struct jobs *jobs, struct job *job)
{
        struct job_group none = JOB_GROUP_NULL;
        pid_t pid;
        int pidfd;

        if (job->record.cgroup || identity_find(&job->directory, &pid, &pidfd) < 0)
                return false;
        adopt(jobs, job, &none, pid, pidfd);
        return true;
}

static void log_resumed(const struct job *job)
{
        const struct log_about about = job_about(job, MESSAGE_JOB_TAKEN_UP, REASON_NONE);

        supervisor_log_about(&about, LOG_INFO, "job %llu was interrupted: it goes on with the %llu of its "
                             "%llu tasks that have no result",
                             (unsigned long long)job->record.number,
                             (unsigned long long)(job->record.n_tasks - job->record.n_done -
                                                  job->record.n_failed),
                             (unsigned long long)job->record.n_tasks);
}

/* Nothing of it runs: it is complete, or what is missing is run again in its turn. */
static void run_again(struct jobs *jobs, struct job *job)
{
        struct results results = RESULTS_NULL;
        int r;

        if (job->record.n_done + job->record.n_failed == job->record.n_tasks) {
                job_complete(job);
                return;
        }
        r = results_map(job->directory.results_fd, true, &results);
        if (r >= 0)
                r = results_resume(&results);
        if (r < 0) {
                results_unmap(&results);
                job_fail(job, strerror(-r));
                return;
        }
        job->resumed = job->record.state == JOB_RUNNING || results.header->n_done > 0 ||
                       results.header->n_failed > 0;
        results_unmap(&results);
        job_refresh(job);
        job->record.state = JOB_QUEUED;
        if (job->resumed)
                log_resumed(job);
        jobs_enqueue(jobs, job);
}

static void resume_job(struct jobs *jobs, struct job_record *record)
{
        struct job *job = load(jobs, record);

        if (!job)
                return;
        if (!adopt_by_group(jobs, job) && !adopt_by_process(jobs, job))
                run_again(jobs, job);
}

static void arm_timeouts(struct list *list)
{
        struct job *job;

        list_for_each(job, list, struct job, link)
                if (job_arm_timeout(job) < 0)
                        supervisor_log(LOG_WARNING, "cannot arm the timeout of job %llu",
                                       (unsigned long long)job->record.number);
}

int resume_jobs(struct jobs *jobs)
{
        uint64_t after = 0;
        int r;

        for (;;) {
                _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;

                r = store_get_live_after(jobs->store, after, &record);
                if (r < 0)
                        break;
                after = record.number;
                resume_job(jobs, &record);
        }
        arm_timeouts(&jobs->running);
        arm_timeouts(&jobs->queue);
        return r == -ENOENT ? 0 : r;
}
