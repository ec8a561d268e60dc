#include "daemon/supervisor/resume.h"

#include <stdio.h>
#include <sys/pidfd.h>

#include "daemon/supervisor/log.h"
#include "daemon/supervisor/totals.h"
#include "lib/inputs.h"
#include "lib/results-lock.h"
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

/* What the header of the results file says. It may be wrong: whoever wrote it may have been killed. */
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
        r = results_rebase(directory->results_fd);
        if (r < 0)
                return r;
        r = counters_read(directory->results_fd, ret);
        if (r < 0)
                return r;
        record->n_done = MIN(ret->n_done, n);
        record->n_failed = MIN(ret->n_failed, n - record->n_done);
        return 0;
}

static const char *describe(int error)
{
        return error == -EBADMSG  ? "its results file is damaged or cut short"
               : error == -ENOENT ? "its directory or results file is gone"
               : error == -ECHILD ? "the process that counted its results was killed"
                                  : strerror(-error);
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
                give_up(jobs, record, describe(r));
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

/* The same where there are no groups, or where the group is not known any more. */
static bool adopt_by_lock(struct jobs *jobs, struct job *job)
{
        struct job_group none = JOB_GROUP_NULL;
        pid_t pid;
        int pidfd;

        if (results_find_locker(job->directory.results_fd, &pid, &pidfd) < 0)
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

static void arm_timeout(struct job *job)
{
        if (job_arm_timeout(job) < 0)
                supervisor_log(LOG_WARNING, "cannot arm the timeout of job %llu",
                               (unsigned long long)job->record.number);
}

/* Counts the records of a job that does not run; if any is missing, its file is ready for a runner then. */
static int count(struct job *job, struct tally *ret)
{
        int r;

        r = counters_tally(job->directory.results_fd, job->record.n_tasks, ret);
        if (r < 0 || ret->n_done + ret->n_failed == job->record.n_tasks)
                return r;
        r = job_rewind(job);
        /* A runner that began meanwhile is found when another is started (job-again.c). */
        return r == -EAGAIN ? 0 : r;
}

static void fail(struct job *job, int error)
{
        _cleanup_free_ char *why = NULL;

        if (asprintf(&why, "the job cannot be gone on with: %s", describe(error)) < 0)
                why = NULL;
        job_fail(job, failure_text(why));
}

/* It was counted: it is complete, or what is missing is run again in its turn. */
static void go_on(struct jobs *jobs, struct job *job, int r, const struct tally *tally)
{
        job->uncounted = false;
        if (r < 0) {
                fail(job, r);
                return;
        }
        job->record.n_done = job->counters.n_done = tally->n_done;
        job->record.n_failed = job->counters.n_failed = tally->n_failed;
        if (tally->n_done + tally->n_failed == job->record.n_tasks) {
                job->tally = *tally;
                job->has_tally = true;
                job_complete(job);
                return;
        }
        job_refresh(job);
        job->resumed |= tally->n_done > 0 || tally->n_failed > 0;
        if (job->resumed)
                log_resumed(job);
        arm_timeout(job);
        (void)job_stop_late(job);
        jobs_kick(jobs);
}

static void count_next(struct jobs *jobs);

static int child_count(void *userdata, int out_fd)
{
        struct tally tally;
        int r = count(userdata, &tally);

        return r < 0 ? r : write_all(out_fd, &tally, sizeof(tally));
}

static void on_counted(void *userdata, int r, int out_fd)
{
        struct job *job = userdata;
        struct jobs *jobs = container_of(job->env, struct jobs, env);
        struct tally tally = { .n_done = 0 };

        job->errand = NULL;
        if (r >= 0 && pread(out_fd, &tally, sizeof(tally), 0) != sizeof(tally))
                r = -EIO;
        go_on(jobs, job, r, &tally);
        count_next(jobs);
}

static int start_count(struct job *job)
{
        const struct errand_work work = {
                .run = child_count,
                .done = on_counted,
                .userdata = job,
                .fds = { job->directory.results_fd },
                .n_fds = 1,
        };

        return errand_start(job->env->event, &work, &job->errand);
}

/* One that is being ended is counted for that. */
static struct job *next_uncounted(struct jobs *jobs)
{
        struct job *job;

        list_for_each(job, &jobs->queue, struct job, link)
                if (job->uncounted && job->stop_reason == REASON_NONE && !job->errand)
                        return job;
        return NULL;
}

static void count_here(struct jobs *jobs, struct job *job)
{
        struct tally tally = { .n_done = 0 };
        int r = count(job, &tally);

        go_on(jobs, job, r, &tally);
}

/* One at a time. Where no child can be made, others have to wait. */
static void count_next(struct jobs *jobs)
{
        struct job *job;

        while ((job = next_uncounted(jobs)) && start_count(job) < 0)
                count_here(jobs, job);
}

static bool is_locked(const struct job *job)
{
        int r = results_hold(job->directory.results_fd);

        if (r >= 0)
                results_release(job->directory.results_fd);
        return r == -EAGAIN;
}

/*
 * No runner of it is found. It waits in the queue, and that is also where it is counted if it is large; where a
 * dead runner left something behind, it waits for that.
 */
static void run_again(struct jobs *jobs, struct job *job)
{
        if (is_locked(job)) {
                jobs_add_running(jobs, job);
                job_await(job);
                return;
        }
        job->resumed = job->record.state == JOB_RUNNING;
        job->record.state = JOB_QUEUED;
        job->uncounted = true;
        if (jobs_enqueue(jobs, job) >= 0 && job->record.n_tasks <= COUNTERS_AT_ONCE)
                count_here(jobs, job);
}

/* The former supervisor could not store that it has ended. Nothing of it runs. */
static void end_as_noted(struct jobs *jobs, struct job *job)
{
        job->record.state = JOB_QUEUED;
        job->uncounted = true;
        if (jobs_enqueue(jobs, job) >= 0)
                job_end_as_noted(job);
}

static void resume_job(struct jobs *jobs, struct job_record *record)
{
        struct job *job = load(jobs, record);

        if (!job)
                return;
        if (job_has_note(job)) {
                end_as_noted(jobs, job);
                return;
        }
        if (!adopt_by_group(jobs, job) && !adopt_by_lock(jobs, job))
                run_again(jobs, job);
}

int resume_jobs(struct jobs *jobs)
{
        uint64_t after = 0;
        struct job *job;
        int r;

        for (;;) {
                _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;

                r = store_get_live_after(jobs->store, after, &record);
                if (r < 0)
                        break;
                after = record.number;
                resume_job(jobs, &record);
        }
        list_for_each(job, &jobs->running, struct job, link)
                arm_timeout(job);
        count_next(jobs);
        return r == -ENOENT ? 0 : r;
}
