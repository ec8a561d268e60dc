#include "daemon/supervisor/jobs/slots.h"

static uint64_t running_max(const struct jobs *jobs, uid_t owner)
{
        const struct config *config = jobs->config;

        if (uid_is_trusted(owner))
                return config->max_running;
        if (config->max_running_per_user > 0)
                return config->max_running_per_user;
        return MAX(config->max_running - 1, UINT64_C(1));
}

static bool has_room(const struct jobs *jobs)
{
        return !jobs->draining && !jobs->puts_off && !jobs->rests &&
               jobs->quota->totals[QUOTA_RUNNING] < jobs->config->max_running;
}

bool slots_may_run(const struct jobs *jobs, uid_t owner)
{
        return has_room(jobs) &&
               quota_used(jobs->quota, QUOTA_RUNNING, owner) < running_max(jobs, owner);
}

/*
 * Which of the two starts first. Of two users' jobs that of the user whose turn is earlier; of one
 * user's @best, which stands before @job in its list and so was submitted before it.
 */
static struct job *better(const struct jobs *jobs, struct job *best, struct job *job)
{
        uid_t owner = job->record.owner;

        if (!slots_may_run(jobs, owner))
                return best;
        if (!best || quota_turn(jobs->quota, owner) < quota_turn(jobs->quota, best->record.owner))
                return job;
        return best;
}

/* Whether a queued job could be started if there were a slot. */
static bool is_ready(const struct job *job, uint64_t now)
{
        return !job->record.paused && !job->uncounted && !job->errand && job->start_after_ns <= now;
}

struct job *slots_next(struct jobs *jobs)
{
        uint64_t now = now_monotonic();
        struct job *best = NULL, *job;

        if (!has_room(jobs))
                return NULL;
        list_for_each(job, &jobs->running, struct job, link)
                if (job->record.resuming)
                        best = better(jobs, best, job);
        list_for_each(job, &jobs->queue, struct job, link)
                if (is_ready(job, now))
                        best = better(jobs, best, job);
        return best;
}

void slots_release(struct jobs *jobs, struct job *job)
{
        if (job->charged != _QUOTA_N)
                quota_release(jobs->quota, job->charged, job->record.owner);
        job->charged = _QUOTA_N;
}

/* The new charge comes first: so the user's entry, and the turn in it, stay. */
static int recharge(struct jobs *jobs, struct job *job, enum quota_slot slot, uint64_t total_max,
                    uint64_t user_max)
{
        int r;

        r = quota_charge(jobs->quota, slot, job->record.owner, total_max, user_max);
        if (r != 0)
                return r;
        slots_release(jobs, job);
        job->charged = slot;
        return 0;
}

void slots_take(struct jobs *jobs, struct job *job)
{
        if (recharge(jobs, job, QUOTA_RUNNING, UINT64_MAX, UINT64_MAX) < 0)
                (void)supervisor_log_oom();
        quota_take_turn(jobs->quota, job->record.owner);
}

void slots_put_back(struct jobs *jobs, struct job *job)
{
        if (recharge(jobs, job, QUOTA_QUEUED, UINT64_MAX, UINT64_MAX) < 0)
                (void)supervisor_log_oom();
}

/*
 * A frozen runner keeps its memory and our descriptors, so the number of paused jobs is limited.
 */
void slots_give_up(struct jobs *jobs, struct job *job)
{
        uint64_t max = jobs->config->max_running;

        if (job->charged == QUOTA_RUNNING)
                (void)recharge(jobs, job, QUOTA_FROZEN, FROZEN_PER_SLOT * max,
                               uid_is_trusted(job->record.owner) ? UINT64_MAX : max);
}
