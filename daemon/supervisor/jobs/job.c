#include "daemon/supervisor/jobs/job-internal.h"

#include <stdio.h>

#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/base/log.h"

#define PROGRESS_USEC UINT64_C(100000)

#define BIT(state) (1U << (state))
#define ENDS       (BIT(JOB_DONE) | BIT(JOB_CANCELLED) | BIT(JOB_FAILED))

/*
 * The states of a job, and which of them may follow each. An end is final. So is being left to the
 * next supervisor (job_is_left()): queued, for a job that was interrupted.
 *
 *     queued  -> running   it is started, or is found running or locked after a restart
 *     running -> queued    its start is put off, or it is left to the next supervisor
 *     queued  -> ended     it is cancelled, cannot be started, or is found complete or ended
 *     running -> ended     nothing of it runs any more, and its records say how it ended
 *
 * Only a running job has a child that is not over. While it is paused, its state stays what it is.
 */
static const unsigned followers[_JOB_STATE_N] = {
        [JOB_QUEUED] = BIT(JOB_RUNNING) | ENDS,
        [JOB_RUNNING] = BIT(JOB_QUEUED) | ENDS,
        [JOB_DONE] = 0,
        [JOB_CANCELLED] = 0,
        [JOB_FAILED] = 0,
};

void job_set_state(struct job *job, enum job_state state)
{
        struct job_record *record = &job->record;

        assert(!job_is_left(job));
        assert(!job->errand);
        assert(job_state_is_live(record->state));
        assert(state == record->state || followers[record->state] & BIT(state));
        assert(state == JOB_RUNNING || child_is_over(&job->child));
        record->state = state;
}

int job_new(struct job_env *env, struct job_record *record, struct spec *spec,
            struct directory *directory, const struct counters *counters, struct job **ret)
{
        struct job *job;

        job = calloc(1, sizeof(*job));
        if (!job) {
                job_record_deinit(record);
                spec_deinit(spec);
                directory_deinit(directory);
                return -ENOMEM;
        }
        *job = (struct job){
                .env = env,
                .record = *record,
                .spec = *spec,
                .directory = *directory,
                .counters = *counters,
                .charged = _QUOTA_N,
                .carried = true,
                .measures_fd = -EBADF,
        };
        *record = (struct job_record)JOB_RECORD_NULL;
        *spec = (struct spec)SPEC_NULL;
        *directory = (struct directory)DIRECTORY_NULL;
        job_init_child(job);
        list_init(&job->link);
        list_init(&job->tie);
        list_init(&job->waiters);
        *ret = job;
        return 0;
}

struct log_about job_about(const struct job *job, enum message message, enum job_reason reason)
{
        return (struct log_about){
                .message = message,
                .job = job->record.number,
                .level = level_name(job->spec.level),
                .workload = workload_name(job->spec.workload),
                .reason = job_reason_name(reason),
        };
}

void job_group_name(uint64_t number, char ret[static JOB_GROUP_NAME_MAX])
{
        snprintf(ret, JOB_GROUP_NAME_MAX, "job-%llu", (unsigned long long)number);
}

void job_init_child(struct job *job)
{
        static const struct child_ops ops = { .begun = job_on_begun, .ended = job_on_ended };

        snprintf(job->child_name, sizeof(job->child_name), "job %llu",
                 (unsigned long long)job->record.number);
        child_init(&job->child, job->env->event, &ops, job->child_name);
        job->child.rest_usec = CHILD_GRACE_USEC;
}

void job_read_chain(struct job *job, bool late)
{
        int r;

        cgroup_chain_deinit(&job->chain);
        job->chain_is_late = late;
        if (!child_group_exists(&job->child.group))
                return;
        r = cgroup_chain_read(job->child.group.fd, &job->chain);
        if (r >= 0)
                return;
        job->chain_is_late = true;
        supervisor_log(LOG_WARNING,
                       "cannot read the limits above job %llu: %s; whose limits it meets will not "
                       "be known",
                       (unsigned long long)job->record.number, strerror(-r));
}

void job_end_run(struct job *job)
{
        child_clear(&job->child);
        job->progress_source = sd_event_source_disable_unref(job->progress_source);
        job->cpu_time_source = sd_event_source_disable_unref(job->cpu_time_source);
        job->again_source = sd_event_source_disable_unref(job->again_source);
        job->measures_fd = close_fd(job->measures_fd);
        if (job->holds_demo)
                demo_server_release(job->env->demo);
        job->holds_demo = false;
        if (job->holds_engine)
                engine_release(job->env->engine);
        job->holds_engine = false;
        job->n_suspect = 0;
}

void job_free(struct job *job)
{
        if (!job)
                return;
        assert(list_empty(&job->waiters));
        list_remove(&job->link);
        list_remove(&job->tie);
        job->errand = errand_cancel(job->errand);
        child_leave(&job->child);
        job_end_run(job);
        job->timeout_source = sd_event_source_disable_unref(job->timeout_source);
        directory_deinit(&job->directory);
        spec_deinit(&job->spec);
        job_record_deinit(&job->record);
        json_decref(job->told_summary);
        cgroup_chain_deinit(&job->chain);
        limit_hits_deinit(&job->hits);
        free(job);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;

        job_stop(job, REASON_TIMEOUT);
        return 0;
}

int job_arm_timeout(struct job *job)
{
        int64_t at;

        if (job->spec.timeout_ns == 0 || job->timeout_source)
                return 0;
        if (__builtin_add_overflow(counters_began(&job->counters), job->spec.timeout_ns, &at))
                return 0;
        return sd_event_add_time(job->env->event, &job->timeout_source, CLOCK_MONOTONIC,
                                 (uint64_t)MAX(at, 0) / NSEC_PER_USEC, 1000, on_timeout, job);
}

void job_refresh(struct job *job)
{
        int r;

        if (job->directory.results_fd < 0 || !job_state_is_live(job->record.state))
                return;
        r = counters_read(job->directory.results_fd, &job->counters);
        if (r < 0)
                return; /* The end of the job tells of it. */
        /* The file is the runner's to write: no more than there is may be true. */
        job->record.condition = job->record.state == JOB_RUNNING ? job->counters.condition : 0;
        job->record.n_done = MIN(job->counters.n_done, job->record.n_tasks);
        job->record.n_failed =
                MIN(job->counters.n_failed, job->record.n_tasks - job->record.n_done);
}

/* Some waiters want progress: then, and only then, a timer runs (arm_progress()). */
static bool wants_progress(const struct job *job)
{
        struct waiter *waiter;

        list_for_each(waiter, &job->waiters, struct waiter, link)
                if (waiter->progress)
                        return true;
        return false;
}

static bool is_armed(sd_event_source *source)
{
        int enabled;

        return source && sd_event_source_get_enabled(source, &enabled) >= 0 &&
               enabled != SD_EVENT_OFF;
}

static int on_progress(sd_event_source *source, uint64_t usec, void *userdata);

static void arm_progress(struct job *job)
{
        int r;

        /*
         * A timer that runs is left alone: set anew by each who begins to wait, it might never come
         * due.
         */
        if (!wants_progress(job) || is_armed(job->progress_source))
                return;
        r = event_loop_arm(job->env->event, &job->progress_source, PROGRESS_USEC, on_progress, job);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot arm the timer for the progress of job %llu: %s",
                               (unsigned long long)job->record.number, strerror(-r));
}

static struct progress progress_of(const struct job *job)
{
        const struct job_record *record = &job->record;

        return (struct progress){ record->n_done + record->n_failed,
                                  record->state,
                                  record->paused,
                                  record->resuming,
                                  record->put_off,
                                  record->condition };
}

/*
 * One that passes by itself in a moment, such as while a private Redis starts, is not worth a word.
 */
static void settle_condition(struct job *job, struct progress *progress)
{
        uint64_t now = now_monotonic();

        if (progress->condition != job->condition) {
                job->condition = progress->condition;
                job->condition_since_ns = now;
        }
        if (now - job->condition_since_ns < NSEC_PER_SEC)
                progress->condition = job->told.condition;
}

static bool progress_equal(const struct progress *a, const struct progress *b)
{
        return a->n_tasks == b->n_tasks && a->state == b->state && a->paused == b->paused &&
               a->resuming == b->resuming && a->put_off == b->put_off &&
               a->condition == b->condition;
}

static int on_progress(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct job *job = userdata;
        struct progress progress;

        job_refresh(job);
        progress = progress_of(job);
        settle_condition(job, &progress);
        /* Others look at the counters too (Show): what counts is what the waiters were told. */
        if (!progress_equal(&progress, &job->told)) {
                job->told = progress;
                job_notify(job, JOB_EVENT_PROGRESS);
        }
        arm_progress(job);
        return 0;
}

void job_add_waiter(struct job *job, struct waiter *waiter)
{
        assert(job_is_live(job));
        list_append(&job->waiters, &waiter->link);
        if (waiter->progress)
                arm_progress(job);
}

void job_notify(struct job *job, enum job_event event)
{
        struct waiter *waiter;

        list_for_each(waiter, &job->waiters, struct waiter, link) {
                if (event == JOB_EVENT_PROGRESS && !waiter->progress)
                        continue;
                if (event != JOB_EVENT_PROGRESS)
                        list_remove(&waiter->link);
                waiter->notify(waiter, job, event);
        }
}
