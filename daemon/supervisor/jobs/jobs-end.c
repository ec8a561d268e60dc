/*
 * The end of jobs: stored first, told then. An end that the database does not take is noted in the
 * job's results file, which needs no room and is where the next supervisor looks; the database is
 * tried again every few seconds. Where neither is to be had, those who wait are told that the end
 * could not be stored, and not how the job ended, since after a restart that may come out
 * otherwise.
 */

#include "daemon/supervisor/jobs/jobs-internal.h"

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/jobs/slots.h"
#include "daemon/supervisor/kept/totals.h"

int jobs_save(struct jobs *jobs, struct job *job)
{
        struct totals totals;
        int r;

        if (job_state_is_live(job->record.state)) {
                r = store_update(jobs->store, &job->record);
        } else {
                totals_collect(&job->record, job->has_tally ? &job->tally : NULL, job->told_summary,
                               &totals);
                r = store_end(jobs->store, &job->record, totals.list, totals.n);
        }
        if (r < 0) {
                const struct log_about about = job_about(job, MESSAGE_STATE, REASON_NONE);

                supervisor_log_about(&about, LOG_ERR, "cannot store job %llu: %s",
                                     (unsigned long long)job->record.number,
                                     store_error(jobs->store));
        }
        return r;
}

void jobs_on_changed(struct job_env *env, struct job *job)
{
        struct jobs *jobs = container_of(env, struct jobs, env);

        /* It continues without having waited for its turn. */
        if (job->charged == QUOTA_FROZEN && !job->record.paused)
                slots_take(jobs, job);
        (void)jobs_save(jobs, job);
}

/* The size of its files is as it is now. */
static void keep_bytes(struct jobs *jobs, struct job_record *record)
{
        quota_subtract(jobs->quota, QUOTA_LIVE_BYTES, record->owner, record->size);
        if (job_state_is_live(record->state))
                return;
        record->size = directory_size(jobs->env.jobs_fd, record->number);
        if (quota_add(jobs->quota, QUOTA_KEPT_BYTES, record->owner, record->size) < 0)
                (void)supervisor_log_oom();
}

static void tell(struct job *job)
{
        job_notify(job, job_is_left(job)      ? JOB_EVENT_INTERRUPTED
                        : job->unstored_error ? JOB_EVENT_UNSTORED
                                              : JOB_EVENT_ENDED);
}

/* A job that is left needs no note: without one, the next supervisor resumes it. */
static void note_end(struct job *job)
{
        if (job_is_left(job))
                return;
        job->unstored_error = job_note_end(job);
        if (job->unstored_error < 0)
                supervisor_log(LOG_ERR,
                               "cannot note in its results file how job %llu ended: %s; unless the "
                               "database takes it before this daemon ends, the next one resumes "
                               "the job",
                               (unsigned long long)job->record.number,
                               strerror(-job->unstored_error));
}

/* Answers those who wait, and keeps the job only if the database did not take it. */
static void conclude(struct jobs *jobs, struct job *job)
{
        bool saved = jobs_save(jobs, job) >= 0;

        if (!saved)
                note_end(job);
        tell(job);
        list_remove(&job->tie);
        if (saved) {
                job_free(job);
                return;
        }
        list_append(&jobs->unsaved, &job->link);
        jobs_arm(jobs->save_source, SAVE_USEC);
}

void jobs_on_ended(struct job_env *env, struct job *job)
{
        struct jobs *jobs = container_of(env, struct jobs, env);

        assert(!list_empty(&job->link));
        jobs_take_out(jobs, job);
        slots_release(jobs, job);
        keep_bytes(jobs, &job->record);
        conclude(jobs, job);
        jobs_retry_wants(jobs);
        jobs_kick(jobs);
        jobs->changed(jobs);
}

int jobs_on_save(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct jobs *jobs = userdata;
        struct job *job;

        list_for_each(job, &jobs->unsaved, struct job, link)
                if (jobs_save(jobs, job) >= 0)
                        job_free(job);
        if (!list_empty(&jobs->unsaved))
                jobs_arm(jobs->save_source, SAVE_USEC);
        jobs->puts_off = false;
        jobs_kick(jobs);
        jobs->changed(jobs);
        return 0;
}

void jobs_give_up_unsaved(struct jobs *jobs)
{
        struct job *job;

        list_for_each(job, &jobs->unsaved, struct job, link) {
                (void)jobs_save(jobs, job);
                job_free(job);
        }
}
