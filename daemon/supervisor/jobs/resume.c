#include "daemon/supervisor/jobs/resume.h"

#include <fcntl.h>
#include <stdio.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/kept/totals.h"
#include "lib/inputs.h"
#include "lib/results-lock.h"
#include "lib/results.h"

/* From one attempt to count the records of a job to the next; each time twice as long. */
#define COUNT_USEC     UINT64_C(1000000)
#define COUNT_USEC_MAX UINT64_C(60000000)

/* A job that can't even be made an object of: its row tells why. */
static void give_up(struct jobs *jobs, struct job_record *record, const char *why)
{
        const struct log_about about = { .message = MESSAGE_JOB_FAILED,
                                         .job = record->number,
                                         .reason = job_reason_name(REASON_RUNNER_FAILED) };
        struct totals totals;

        supervisor_log_about(&about, LOG_ERR, "cannot take up job %llu: %s",
                             (unsigned long long)record->number, why);
        free(record->reason);
        if (asprintf(&record->reason, "runner-failed: the job cannot be resumed: %s", why) < 0)
                record->reason = NULL;
        record->state = JOB_FAILED;
        record->ended_ns = now_realtime();
        record->size = directory_size(jobs->env.jobs_fd, record->number);
        if (quota_add(jobs->quota, QUOTA_KEPT_BYTES, record->owner, record->size) < 0)
                (void)supervisor_log_oom();
        totals_collect(record, NULL, record->summary, &totals);
        if (store_end(jobs->store, record, totals.list, totals.n) < 0)
                supervisor_log(LOG_ERR, "cannot store job %llu: %s",
                               (unsigned long long)record->number, store_error(jobs->store));
}

/*
 * Reads all inputs, so it is asked only of a job that an older version admitted: that did not store
 * it.
 */
static enum demo_use find_demo(struct jobs *jobs, uint64_t number, const struct spec *spec)
{
        struct inputs inputs = INPUTS_NULL;
        struct input_error error;
        _cleanup_close_ int fd = -EBADF;
        bool named;

        if (!workload_info(spec->workload)->takes_urls ||
            directory_open_file(jobs->env.jobs_fd, number, "inputs", &fd) < 0 ||
            inputs_map(fd, false, &inputs, &error) < 0)
                return DEMO_UNUSED;
        named = demo_is_named(inputs.text, inputs.size);
        inputs_unmap(&inputs);
        return named ? DEMO_USED : DEMO_UNUSED;
}

int resume_read_results(const struct directory *directory, struct job_record *record,
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

/*
 * Whether the error stays: a job that it concerns cannot be taken up later either. All others may
 * pass, or be mended.
 */
static bool is_for_good(int error)
{
        return failure_kind(error) == FAILURE_STAYS;
}

static const char *describe(int error)
{
        return error == -EBADMSG  ? "its results file is damaged or cut short"
               : error == -ENOENT ? "its directory or results file is gone"
               : error == -ECHILD ? "the process that counted its results was killed"
                                  : strerror(-error);
}

/* The object of a stored job. *@ret is NULL when there can be none, and the job was given up. */
static int load(struct jobs *jobs, struct job_record *record, struct job **ret)
{
        struct directory directory = DIRECTORY_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec spec = SPEC_NULL;
        struct counters counters;
        int r;

        *ret = NULL;
        r = spec_from_json(record->spec, &spec, &fault);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                give_up(jobs, record, fault.why);
                return 0;
        }
        r = directory_open(jobs->env.jobs_fd, record->number, &directory);
        if (r >= 0)
                r = resume_read_results(&directory, record, &counters);
        if (r < 0) {
                if (is_for_good(r))
                        give_up(jobs, record, describe(r));
                directory_deinit(&directory);
                spec_deinit(&spec);
                return is_for_good(r) ? 0 : r;
        }
        if (record->uses_demo == DEMO_UNKNOWN)
                record->uses_demo = find_demo(jobs, record->number, &spec);
        r = job_new(&jobs->env, record, &spec, &directory, &counters, ret);
        if (r < 0)
                return r;
        (*ret)->carried = (*ret)->record.state == JOB_QUEUED || counters.runner_start_ns == 0;
        (*ret)->resumed = (*ret)->record.parts != NULL;
        return 0;
}

static int adopt(struct jobs *jobs, struct job *job, struct child_group *group, pid_t pid,
                 int pidfd)
{
        const struct log_about about = job_about(job, MESSAGE_JOB_TAKEN_UP, REASON_NONE);
        int r;

        supervisor_log_about(&about, LOG_INFO, "took over job %llu (runner process %d)",
                             (unsigned long long)job->record.number, pid);
        r = job_adopt(job, group, pid, pidfd);
        jobs_add_running(jobs, job);
        return r < 0 ? r : 1;
}

/*
 * Nothing of a job is given up for an error that may pass, or that somebody can mend. @base: the
 * cgroup that the job's own is in, where the error is about that; NULL: it is about the job's
 * files.
 */
static int cannot_take_up(struct jobs *jobs, uint64_t number, const char *base, int error)
{
        const struct log_about about = { .message = MESSAGE_STATE, .job = number };
        const char *advice = failure_advice(error), *or_else = "";

        if (error == -EACCES || error == -EPERM)
                advice = "give the daemon's user the right to read and write all that is there "
                         "(chown -R)";
        if (!base && error != -EMFILE && error != -ENFILE && error != -ENOMEM && error != -EAGAIN)
                or_else = ", or move that directory away, which fails the job";
        supervisor_log_about(
                &about, LOG_ERR,
                "cannot take up job %llu in %s/%s%llu: %s; %s%s, and start the daemon again: until "
                "then jobs that run go on, and all others stay as they are",
                (unsigned long long)number, base ?: jobs->env.state, base ? "job-" : "jobs/",
                (unsigned long long)number, strerror(-error), advice, or_else);
        return error;
}

static int open_group_in(const char *base, uint64_t number, struct child_group *ret)
{
        _cleanup_close_ int base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char name[JOB_GROUP_NAME_MAX];

        job_group_name(number, name);
        return base_fd < 0 ? -errno : child_group_open(base_fd, name, ret);
}

/*
 * Opens the job's cgroup where the job's row says, or else in our base: the supervisor that started
 * the job may not have been able to store where, or may have had to start it again in another base.
 */
static int open_group(const struct jobs *jobs, struct job *job, struct child_group *ret)
{
        struct job_record *record = &job->record;
        const char *base = jobs->env.groups->path;
        int r = record->cgroup ? open_group_in(record->cgroup, record->number, ret) : -ENOENT;

        if (r != -ENOENT || !base || (record->cgroup && streq(record->cgroup, base)))
                return r;
        return open_group_in(base, record->number, ret);
}

static int remove_empty(struct job *job, struct child_group *group)
{
        job->adopted = true;
        job->child.group = *group;
        job_carry(job);
        child_clear(&job->child);
        return 0;
}

/* 1 when the job's group holds its runner, or what that left behind, and the job continues in it;
 * else 0. */
static int adopt_by_group(struct jobs *jobs, struct job *job)
{
        struct child_group group = CHILD_GROUP_NULL;
        bool populated = false;
        int pidfd = -EBADF, r;
        pid_t pid = 0;

        r = open_group(jobs, job, &group);
        if (r < 0)
                return is_for_good(r) || r == -ENODEV ? 0 : r;
        r = cgroup_events_read(group.events_fd, &populated, NULL);
        if (r >= 0 && !populated)
                return remove_empty(job, &group);
        if (r >= 0)
                r = child_group_open_process(&group, "runner", &pid, &pidfd);
        if (r < 0 && r != -ESRCH) {
                child_group_deinit(&group);
                return r;
        }
        return adopt(jobs, job, &group, pid, pidfd);
}

/* The same where there are no groups, or where the group is not known any more. */
static int adopt_by_lock(struct jobs *jobs, struct job *job)
{
        struct child_group none = CHILD_GROUP_NULL;
        pid_t pid;
        int pidfd, r;

        r = results_find_locker(job->directory.results_fd, &pid, &pidfd);
        if (r < 0)
                return r == -ESRCH ? 0 : r;
        return adopt(jobs, job, &none, pid, pidfd);
}

static void log_resumed(const struct job *job)
{
        const struct log_about about = job_about(job, MESSAGE_JOB_TAKEN_UP, REASON_NONE);

        supervisor_log_about(&about, LOG_INFO,
                             "job %llu %s with the %llu of its %llu tasks that have no result",
                             (unsigned long long)job->record.number,
                             job->runs_again ? "is run again" : "was interrupted: it is resumed",
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

/*
 * Counts the records of a job that does not run; if any is missing, its file is ready for a runner
 * then.
 */
static int count(struct job *job, struct tally *ret)
{
        int r = 0;

        if (job->counters.again_ns > 0)
                r = job_withdraw(job);
        if (r >= 0)
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

        if (asprintf(&why, "the job cannot be resumed: %s", describe(error)) < 0)
                why = NULL;
        job_fail(job, fault_text(why));
}

static void count_next(struct jobs *jobs);

static int on_count_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;

        job->again_source = sd_event_source_disable_unref(job->again_source);
        count_next(container_of(job->env, struct jobs, env));
        return 0;
}

/*
 * The records could not be counted, and will be in a while. The job waits in the queue until then.
 */
static void count_again(struct job *job, int error)
{
        int r;

        job->again_usec =
                job->again_usec == 0 ? COUNT_USEC : MIN(job->again_usec * 2, COUNT_USEC_MAX);
        supervisor_log(
                LOG_ERR,
                "cannot count the results of job %llu: %s; %s; it is tried again in %u seconds",
                (unsigned long long)job->record.number, describe(error), failure_advice(error),
                (unsigned)(job->again_usec / COUNT_USEC));
        r = sd_event_add_time_relative(job->env->event, &job->again_source, CLOCK_MONOTONIC,
                                       job->again_usec, 1000, on_count_again, job);
        if (r < 0)
                fail(job, r);
}

/* It was counted: it is complete, or what is missing is run again in its turn. */
static void go_on(struct jobs *jobs, struct job *job, int r, const struct tally *tally)
{
        if (r < 0 && !is_for_good(r)) {
                /* A job that was cancelled meanwhile ends now, and is not counted again. */
                if (!job_stop_late(job))
                        count_again(job, r);
                return;
        }
        job->uncounted = false;
        job->again_usec = 0;
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
        job->resumed |= job->record.parts || tally->n_done > 0 || tally->n_failed > 0;
        if (job->resumed)
                log_resumed(job);
        arm_timeout(job);
        (void)job_stop_late(job);
        jobs_kick(jobs);
}

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
        /* A child that was killed may have left the lock to us, who share the open file with it. */
        results_release(job->directory.results_fd);
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
                if (job->uncounted && job->stop_reason == REASON_NONE && !job->errand &&
                    !job->again_source)
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

int resume_job(struct jobs *jobs, struct job *job)
{
        bool ran = job->record.state == JOB_RUNNING;
        int fd = job->directory.results_fd, r;

        r = results_hold(fd);
        if (r == -EAGAIN) {
                jobs_add_running(jobs, job);
                job_await(job);
                return 0;
        }
        if (r < 0) {
                (void)cannot_take_up(jobs, job->record.number, NULL, r);
                job_free(job);
                return r;
        }
        results_release(fd);
        job_set_state(job, JOB_QUEUED);
        if (ran) {
                job->adopted = true;
                job_carry(job);
                job->env->changed(job->env, job);
        }
        job->uncounted = true;
        r = jobs_enqueue(jobs, job);
        if (r >= 0 && job->record.n_tasks <= COUNTERS_AT_ONCE)
                count_here(jobs, job);
        return r;
}

/* The former supervisor could not store that it has ended. Nothing of it runs. */
static int end_as_noted(struct jobs *jobs, struct job *job)
{
        int r;

        job_set_state(job, JOB_QUEUED);
        job->uncounted = true;
        r = jobs_enqueue(jobs, job);
        if (r >= 0)
                job_end_as_noted(job);
        return r;
}

static int take_up(struct jobs *jobs, struct job_record *record)
{
        uint64_t number = record->number;
        struct job *job;
        int r;

        r = load(jobs, record, &job);
        if (r < 0)
                return cannot_take_up(jobs, number, NULL, r);
        if (!job)
                return 0;
        if (job_has_note(job))
                return end_as_noted(jobs, job);
        r = adopt_by_group(jobs, job);
        if (r < 0)
                (void)cannot_take_up(jobs, number, job->record.cgroup ?: jobs->env.groups->path, r);
        if (r == 0) {
                r = adopt_by_lock(jobs, job);
                if (r == 0)
                        return resume_job(jobs, job);
                if (r < 0)
                        (void)cannot_take_up(jobs, number, NULL, r);
        }
        if (r < 0 && list_empty(&job->link))
                job_free(job);
        return r;
}

static int resume_all(struct jobs *jobs)
{
        uint64_t after = 0;
        int r;

        for (;;) {
                _cleanup_(job_record_deinit) struct job_record record = JOB_RECORD_NULL;

                r = store_get_live_after(jobs->store, after, &record);
                if (r == -ENOENT)
                        return 0;
                if (r < 0) {
                        supervisor_log(LOG_ERR, "cannot read the jobs that were: %s",
                                       store_error(jobs->store));
                        return r;
                }
                after = record.number;
                r = take_up(jobs, &record);
                if (r < 0)
                        return r;
        }
}

int resume_jobs(struct jobs *jobs)
{
        struct job *job;
        int r;

        r = resume_all(jobs);
        if (r < 0)
                return r;
        list_for_each(job, &jobs->running, struct job, link)
                arm_timeout(job);
        count_next(jobs);
        return 0;
}
