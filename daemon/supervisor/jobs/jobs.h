#pragma once

/*
 * All jobs: those that are queued or run as objects, the others as rows of the database. Admits,
 * starts as many as may run, stores what ended, forgets what is too old.
 */

#include "daemon/supervisor/base/config.h"
#include "daemon/supervisor/base/quota.h"
#include "daemon/supervisor/jobs/job.h"
#include "daemon/supervisor/kept/incoming.h"
#include "daemon/supervisor/kept/store.h"

/* For each slot, how many jobs may be frozen without one. */
#define FROZEN_PER_SLOT 2

struct jobs {
        struct job_env env;
        struct store *store;         /* borrowed */
        const struct config *config; /* borrowed; may change between calls */
        struct quota *quota;         /* borrowed */

        struct list queue; /* in the order they came; see slots.h for whose turn it is */
        struct list running;
        struct list unsaved; /* ended, but the database did not take it yet */
        unsigned n_queued, n_running;
        bool draining; /* no job is started any more, since the daemon stops */
        bool puts_off; /* no job is started until the database takes starts again */
        bool rests;    /* no job is started for a moment, since a start has just failed */
        bool prunes_soon;

        uint64_t since_ns; /* CLOCK_REALTIME */
        sd_event_source *start_source, *save_source, *retry_source, *prune_source;
        void (*changed)(struct jobs *jobs); /* more or fewer run, or the last one has ended */
};

/* jobs->env is the caller's to fill in, but for changed and ended. */
int jobs_init(struct jobs *jobs, const struct job_env *env, struct store *store,
              const struct config *config, struct quota *quota, void (*changed)(struct jobs *jobs));
/* Lets go of all objects. Who still waits is told that the job was interrupted. */
void jobs_deinit(struct jobs *jobs);

enum {
        _JOBS_E_SUCCESS,
        JOBS_E_FULL,      /* too many jobs wait */
        JOBS_E_FULL_USER, /* too many of this user's */
};

struct submission {
        uid_t owner;
        struct spec spec;          /* filled; moved out on success */
        struct incoming *incoming; /* borrowed; its file becomes the job's */
        uint64_t submitted_ns;     /* CLOCK_MONOTONIC */
};

/*
 * Admits a job: stores it, and starts it if there is room; a start that fails for a passing reason
 * is tried again. A negative errno with @fault when it can't be: then there is no such job or, if
 * it was stored before its start failed for good, a failed one.
 */
int jobs_submit(struct jobs *jobs, struct submission *submission, struct job **ret,
                struct fault *fault);

/*
 * What jobs_submit() would say to one more job of this user: 0, JOBS_E_FULL… or a negative errno.
 */
int jobs_may_submit(struct jobs *jobs, uid_t owner);

/* The limit that JOBS_E_FULL or JOBS_E_FULL_USER is about. */
uint64_t jobs_queue_limit(const struct jobs *jobs, int e);

/* Says in the log where the limit on open files allows less than max_queued. */
void jobs_log_bounds(const struct jobs *jobs);

/* Starts a job of the queue whose room was reserved; @r and @fault say whether that was had. */
void jobs_start_reserved(struct jobs *jobs, struct job *job, int r, struct fault *fault);

/*
 * Takes in a job that a former supervisor left, for its turn. -ENOMEM: it is left for the next one.
 */
int jobs_enqueue(struct jobs *jobs, struct job *job);
void jobs_add_running(struct jobs *jobs, struct job *job);

/* The live (or unsaved) job with this number, NULL if there is none. */
struct job *jobs_find(struct jobs *jobs, uint64_t number);
struct job *jobs_find_running(struct jobs *jobs, uint64_t number);

/* See job_pause(); keeps it. A job that is resumed waits for a slot where there is none. */
int jobs_pause(struct jobs *jobs, struct job *job, bool pause, struct fault *fault);

/* Stops the waiting ones from being started, and asks the running ones to end. */
void jobs_drain(struct jobs *jobs);
void jobs_kill_all(struct jobs *jobs);

/*
 * Starts what may start (a raised max_running), and looks for what may be forgotten. Not at once.
 */
void jobs_kick(struct jobs *jobs);

/* False when a job is stuck because of us; see job_check(). */
bool jobs_check(struct jobs *jobs);
