#include "daemon/supervisor/jobs/jobs-internal.h"

#include <stdio.h>
#include <sys/resource.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/jobs/prune.h"
#include "daemon/supervisor/jobs/slots.h"
#include "daemon/supervisor/jobs/space.h"

#define PRUNE_USEC  UINT64_C(1000000)
#define PRUNE_BATCH 16
#define HOUR_USEC   UINT64_C(3600000000)

void jobs_arm(sd_event_source *source, uint64_t usec)
{
        int r;

        r = sd_event_source_set_time_relative(source, usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot arm a timer: %s", strerror(-r));
}

static void put_in_queue(struct jobs *jobs, struct job *job)
{
        list_append(&jobs->queue, &job->link);
        job->is_queued = true;
        ++jobs->n_queued;
}

void jobs_take_out(struct jobs *jobs, struct job *job)
{
        list_remove(&job->link);
        if (job->is_queued) {
                job->is_queued = false;
                --jobs->n_queued;
        } else {
                --jobs->n_running;
        }
}

/* Those of jobs that wait or run. */
static void charge_bytes(struct jobs *jobs, const struct job_record *record)
{
        if (quota_add(jobs->quota, QUOTA_LIVE_BYTES, record->owner, record->size) < 0)
                (void)supervisor_log_oom();
}

static int on_prune(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct jobs *jobs = userdata;
        int r = 1;

        jobs->prunes_soon = false;
        for (unsigned i = 0; i < PRUNE_BATCH && r == 1; ++i)
                r = prune_one(jobs);
        if (store_keep_clock(jobs->store) < 0)
                supervisor_log(LOG_WARNING, "cannot store how old jobs are: %s",
                               store_error(jobs->store));
        jobs_arm(jobs->prune_source, r == 1 ? PRUNE_USEC / 100 : HOUR_USEC);
        return 0;
}

static void add_kept(void *userdata, uid_t owner, uint64_t size)
{
        struct jobs *jobs = userdata;

        if (quota_add(jobs->quota, QUOTA_KEPT_BYTES, owner, size) < 0)
                (void)supervisor_log_oom();
}

int jobs_init(struct jobs *jobs, const struct job_env *env, struct store *store,
              const struct config *config, struct quota *quota, void (*changed)(struct jobs *jobs))
{
        int r;

        *jobs = (struct jobs){
                .env = *env, .store = store, .config = config, .quota = quota, .changed = changed
        };
        jobs->env.ended = jobs_on_ended;
        jobs->env.changed = jobs_on_changed;
        jobs->since_ns = now_realtime();
        list_init(&jobs->queue);
        list_init(&jobs->running);
        list_init(&jobs->unsaved);
        r = sd_event_add_defer(env->event, &jobs->start_source, jobs_on_start, jobs);
        if (r >= 0)
                r = sd_event_source_set_enabled(jobs->start_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(env->event, &jobs->save_source, CLOCK_MONOTONIC, 0, 0,
                                      jobs_on_save, jobs);
        if (r >= 0)
                r = sd_event_source_set_enabled(jobs->save_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(env->event, &jobs->retry_source, CLOCK_MONOTONIC, 0, 0,
                                      jobs_on_retry, jobs);
        if (r >= 0)
                r = sd_event_source_set_enabled(jobs->retry_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(env->event, &jobs->prune_source, CLOCK_MONOTONIC,
                                               PRUNE_USEC, 0, on_prune, jobs);
        return r < 0 ? r : store_read_kept_sizes(store, add_kept, jobs);
}

static void free_all(struct list *list)
{
        struct job *job;

        list_for_each(job, list, struct job, link) {
                job_notify(job, JOB_EVENT_INTERRUPTED);
                job_free(job);
        }
}

void jobs_deinit(struct jobs *jobs)
{
        if (!jobs->store)
                return;
        jobs_give_up_unsaved(jobs);
        (void)store_keep_clock(jobs->store);
        free_all(&jobs->queue);
        free_all(&jobs->running);
        sd_event_source_disable_unref(jobs->start_source);
        sd_event_source_disable_unref(jobs->save_source);
        sd_event_source_disable_unref(jobs->retry_source);
        sd_event_source_disable_unref(jobs->prune_source);
        *jobs = (struct jobs){ .store = NULL };
}

/* A queued job holds two descriptors: half of what this process may open is theirs at most. */
static uint64_t max_queued(const struct jobs *jobs)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return jobs->config->max_queued;
        return MIN(jobs->config->max_queued, (uint64_t)limit.rlim_cur / 4);
}

void jobs_log_bounds(const struct jobs *jobs)
{
        const struct log_about about = { .message = MESSAGE_CONFIG };
        uint64_t max = max_queued(jobs);

        if (max < jobs->config->max_queued)
                supervisor_log_about(&about, LOG_WARNING,
                                     "no more than %llu jobs may wait, and not max_queued = %llu: "
                                     "each holds two open files, and half of those that the daemon "
                                     "may have are for that; raise its limit on open files "
                                     "(LimitNOFILE=, ulimit -Hn), or lower max_queued",
                                     (unsigned long long)max,
                                     (unsigned long long)jobs->config->max_queued);
}

uint64_t jobs_queue_limit(const struct jobs *jobs, int e)
{
        uint64_t of_user = jobs->config->max_queued_per_user;

        if (e == JOBS_E_FULL)
                return max_queued(jobs);
        return of_user > 0 ? of_user : (max_queued(jobs) + 1) / 2;
}

/*
 * Counts a job of this user as one that runs or waits. Whether it may run was asked before
 * (slots_may_run()), so only those that wait are limited here.
 */
static int charge(struct jobs *jobs, enum quota_slot slot, uid_t owner)
{
        uint64_t of_user =
                uid_is_trusted(owner) ? UINT64_MAX : jobs_queue_limit(jobs, JOBS_E_FULL_USER);
        int r;

        if (slot == QUOTA_RUNNING)
                return quota_charge(jobs->quota, slot, owner, UINT64_MAX, UINT64_MAX);
        r = quota_charge(jobs->quota, slot, owner, max_queued(jobs), of_user);
        if (r == QUOTA_E_TOTAL)
                return JOBS_E_FULL;
        return r == QUOTA_E_USER ? JOBS_E_FULL_USER : r;
}

const char *jobs_busy_hint(int error)
{
        return error == -EBUSY ? "another program writes to jobs.db in the state directory: let it "
                                 "end, and try again"
                               : NULL;
}

static int not_stored(struct jobs *jobs, int error, struct fault *fault)
{
        return fault_why(fault, error, store_error(jobs->store),
                         jobs_busy_hint(error) ?: failure_advice(error),
                         "store a new job in the database of jobs");
}

static enum demo_use uses_demo(const struct submission *submission)
{
        bool named = workload_info(submission->spec.workload)->takes_urls &&
                     submission->incoming->uses_demo;

        return named ? DEMO_USED : DEMO_UNUSED;
}

static int insert(struct jobs *jobs, const struct submission *submission, struct job_record *record,
                  struct fault *fault)
{
        int r = 0;

        record->owner = submission->owner;
        record->submitted_ns = now_realtime() - (now_monotonic() - submission->submitted_ns);
        record->n_tasks = submission->incoming->n_tasks;
        record->size = space_of_job(&submission->spec, submission->incoming->size,
                                    submission->incoming->n_tasks);
        record->uses_demo = uses_demo(submission);
        record->spec = spec_to_json(&submission->spec);
        if (!record->spec)
                r = -ENOMEM;
        if (r >= 0 && record->state == JOB_RUNNING)
                r = jobs_note_group(jobs, record);
        if (r < 0)
                return fault_errno(fault, r, failure_advice(r), "admit a job");
        r = store_insert(jobs->store, record, &record->number);
        if (r < 0)
                return not_stored(jobs, r, fault);
        return 0;
}

/* The directory and the object of the job in @record, whose number is given but not yet taken. */
static int make_files(struct jobs *jobs, struct submission *submission, struct job_record *record,
                      struct job **ret, struct fault *fault)
{
        struct counters counters = { .epoch_ns = (int64_t)submission->submitted_ns };
        struct directory directory = DIRECTORY_NULL;
        uint64_t number = record->number;
        int r;

        r = directory_make(jobs->env.trash, number, submission->incoming,
                           workload_info(submission->spec.workload)->runs_commands,
                           submission->submitted_ns, &directory, fault);
        if (r < 0)
                return fault_attempt(fault, "%s (job %llu, in the state directory)",
                                     fault->attempted, (unsigned long long)number);
        /* The row says running already; the object is queued until its runner is started. */
        record->state = JOB_QUEUED;
        r = job_new(&jobs->env, record, &submission->spec, &directory, &counters, ret);
        return r < 0 ? fault_errno(fault, r, failure_advice(r), "admit job %llu",
                                   (unsigned long long)number)
                     : 0;
}

/* The row is there, and without the directory it would be a job that cannot run. */
static void withdraw(struct jobs *jobs, uint64_t number)
{
        if (store_delete(jobs->store, number) < 0)
                supervisor_log(LOG_ERR, "cannot remove job %llu, which has no directory: %s",
                               (unsigned long long)number, store_error(jobs->store));
}

/*
 * A job that starts at once needs room for its results. If there is none, it is refused here,
 * before it is stored.
 */
static int commit(struct jobs *jobs, struct job *job, bool starts, struct fault *fault)
{
        int r = starts ? space_reserve(jobs, job, fault) : 0;

        if (r >= 0) {
                r = store_commit(jobs->store);
                if (r < 0)
                        (void)not_stored(jobs, r, fault);
        }
        if (r >= 0) {
                r = directory_publish(jobs->env.jobs_fd, job->record.number);
                if (r < 0) {
                        (void)fault_errno(fault, r, failure_advice(r),
                                          "name the directory of job %llu",
                                          (unsigned long long)job->record.number);
                        withdraw(jobs, job->record.number);
                }
        }
        if (r < 0)
                job_free(job);
        return r;
}

/*
 * The row makes the job: a supervisor that is killed before leaves a directory that the next one
 * removes, and one that is killed after it a directory that the next one gives its name.
 */
static int make_job(struct jobs *jobs, struct submission *submission, bool starts, struct job **ret,
                    struct fault *fault)
{
        _cleanup_(job_record_deinit) struct job_record record = {
                .state = starts ? JOB_RUNNING : JOB_QUEUED,
        };
        uint64_t number = 0;
        int r;

        r = insert(jobs, submission, &record, fault);
        number = record.number;
        if (r >= 0)
                r = make_files(jobs, submission, &record, ret, fault);
        if (r >= 0)
                r = commit(jobs, *ret, starts, fault);
        if (r >= 0) {
                charge_bytes(jobs, &(*ret)->record);
                return 0;
        }
        store_rollback(jobs->store);
        if (number > 0)
                directory_discard(jobs->env.trash, number);
        return r;
}

static bool starts_at_once(struct jobs *jobs, uid_t owner)
{
        return slots_may_run(jobs, owner) && !slots_next(jobs);
}

/* Where a job goes when it is submitted. */
enum place {
        PLACE_RUNS, /* its runner is started within the call; its row says running from the first */
        PLACE_RESERVES, /* it has a slot, but a child reserves the room for its results first */
        PLACE_WAITS,    /* in the queue, for a slot */
};

static enum place choose_place(struct jobs *jobs, const struct submission *submission)
{
        if (!starts_at_once(jobs, submission->owner))
                return PLACE_WAITS;
        return space_takes_long(submission->incoming->n_tasks) ? PLACE_RESERVES : PLACE_RUNS;
}

/* The job is stored, charged and in the queue, which it leaves when it starts. */
static int put_in_place(struct jobs *jobs, struct job *job, enum place place, struct fault *fault)
{
        switch (place) {
        case PLACE_RUNS:
                quota_take_turn(jobs->quota, job->record.owner);
                return jobs_start_stored(jobs, job, fault);
        case PLACE_RESERVES:
                /* Nothing is before it, so it waits even in a queue that is full. */
                slots_put_back(jobs, job);
                jobs_kick(jobs);
                return 0;
        case PLACE_WAITS:
                return 0;
        }
        assert(false);
        return -EINVAL;
}

int jobs_may_submit(struct jobs *jobs, uid_t owner)
{
        int r;

        if (starts_at_once(jobs, owner))
                return 0;
        r = charge(jobs, QUOTA_QUEUED, owner);
        if (r == 0)
                quota_release(jobs->quota, QUOTA_QUEUED, owner);
        return r;
}

int jobs_submit(struct jobs *jobs, struct submission *submission, struct job **ret,
                struct fault *fault)
{
        enum place place = choose_place(jobs, submission);
        enum quota_slot slot = place == PLACE_WAITS ? QUOTA_QUEUED : QUOTA_RUNNING;
        struct job *job;
        uint64_t size;
        int r;

        size = space_of_job(&submission->spec, submission->incoming->size,
                            submission->incoming->n_tasks);
        r = space_check(jobs, submission->owner, size, place == PLACE_WAITS ? 0 : size, fault);
        if (r < 0)
                return r;
        r = charge(jobs, slot, submission->owner);
        if (r < 0)
                return fault_errno(fault, r, failure_advice(r), "admit a job");
        if (r > 0)
                return r;
        r = make_job(jobs, submission, place == PLACE_RUNS, &job, fault);
        if (r < 0) {
                quota_release(jobs->quota, slot, submission->owner);
                return r;
        }
        job->charged = slot;
        if (job_arm_timeout(job) < 0)
                supervisor_log(LOG_WARNING, "cannot arm the timeout of job %llu",
                               (unsigned long long)job->record.number);
        put_in_queue(jobs, job);
        r = put_in_place(jobs, job, place, fault);
        if (r < 0)
                return r;
        jobs->changed(jobs);
        *ret = job;
        return 0;
}

/* A job of a former supervisor is charged, but never refused. */
int jobs_enqueue(struct jobs *jobs, struct job *job)
{
        if (quota_charge(jobs->quota, QUOTA_QUEUED, job->record.owner, UINT64_MAX, UINT64_MAX) <
            0) {
                (void)supervisor_log_oom();
                job_free(job); /* Its row says queued: the next supervisor finds it. */
                return -ENOMEM;
        }
        job->charged = QUOTA_QUEUED;
        charge_bytes(jobs, &job->record);
        /* It was to go on as soon as there is a slot: that is what the queue is for. */
        if (job->record.resuming)
                job->record.paused = job->record.resuming = false;
        put_in_queue(jobs, job);
        jobs_kick(jobs);
        return 0;
}

void jobs_add_running(struct jobs *jobs, struct job *job)
{
        list_append(&jobs->running, &job->link);
        ++jobs->n_running;
        slots_take(jobs, job);
        charge_bytes(jobs, &job->record);
        if (job->record.paused)
                slots_give_up(jobs, job);
        jobs_kick(jobs);
}

static struct job *find_in(struct list *list, uint64_t number)
{
        struct job *job;

        list_for_each(job, list, struct job, link)
                if (job->record.number == number)
                        return job;
        return NULL;
}

struct job *jobs_find_running(struct jobs *jobs, uint64_t number)
{
        struct job *job = find_in(&jobs->running, number);

        return job ? job : find_in(&jobs->unsaved, number);
}

struct job *jobs_find(struct jobs *jobs, uint64_t number)
{
        struct job *job = jobs_find_running(jobs, number);

        return job ? job : find_in(&jobs->queue, number);
}

void jobs_drain(struct jobs *jobs)
{
        struct job *job;

        jobs->draining = true;
        list_for_each(job, &jobs->running, struct job, link)
                job_interrupt(job);
        /* Their rows say queued already. */
        list_for_each(job, &jobs->queue, struct job, link) {
                jobs_take_out(jobs, job);
                slots_release(jobs, job);
                job_notify(job, JOB_EVENT_INTERRUPTED);
                job_free(job);
        }
        jobs->changed(jobs);
}

void jobs_kill_all(struct jobs *jobs)
{
        struct job *job;

        list_for_each(job, &jobs->running, struct job, link)
                child_kill(&job->child);
}

void jobs_kick(struct jobs *jobs)
{
        if (slots_next(jobs))
                (void)sd_event_source_set_enabled(jobs->start_source, SD_EVENT_ONESHOT);
        /* Not pushed back by every job that ends, or many short ones would keep it from ever
         * coming. */
        if (!jobs->prunes_soon)
                jobs_arm(jobs->prune_source, PRUNE_USEC);
        jobs->prunes_soon = true;
}

bool jobs_check(struct jobs *jobs)
{
        bool fine = true;
        struct job *job;

        list_for_each(job, &jobs->running, struct job, link)
                fine &= job_check(job);
        return fine;
}
