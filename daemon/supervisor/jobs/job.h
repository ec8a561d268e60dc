#pragma once

/*
 * A job that is queued or runs. Its states are in a table at the top of job.c; it runs as long as
 * its child does (child.h), and then it ends, or is started again.
 *
 * At the end, in this order: if its records have to be counted, that, by another process if they
 * are many (job->errand; a job that is over is left alone meanwhile); how the runner ended and what
 * it used, the counters of the cgroup, the summary, the removal of the cgroup; then env->ended(),
 * whose callee stores the job and answers those who wait.
 *
 * A job whose runner is gone while nobody knows how it ended is started again, for the tasks that
 * have no record (job-again.c). It is running all the while, also while another process sets its
 * results file back, and while it waits to be tried again.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/account/accounting.h"
#include "daemon/supervisor/base/failure.h"
#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/base/quota.h"
#include "daemon/supervisor/child/child.h"
#include "daemon/supervisor/child/errand.h"
#include "daemon/supervisor/helpers/demo.h"
#include "daemon/supervisor/helpers/engine.h"
#include "daemon/supervisor/kept/directory.h"
#include "daemon/supervisor/limits/limit-hits.h"
#include "lib/list.h"

struct job;

/* What of a live job its waiters hear of when it changes. */
struct progress {
        uint64_t n_tasks; /* that have a record */
        enum job_state state;
        bool paused, resuming, put_off;
        uint32_t condition; /* enum ppp_condition */
};

/* What all jobs share. Owned by the manager. */
struct job_env {
        sd_event *event;
        struct groups *groups;
        struct demo_server *demo;
        struct engine *engine;
        const struct host *host;
        const char *state;   /* the state directory */
        int jobs_fd;         /* <state>/jobs */
        struct trash *trash; /* of that */
        const char *runner;  /* the program */
        char **environment;  /* the runner's */

        /* The job's row is to be written. */
        void (*changed)(struct job_env *env, struct job *job);

        /* The job has ended, or (job->interrupted) is to be taken up by the next supervisor. */
        void (*ended)(struct job_env *env, struct job *job);
};

enum job_event {
        JOB_EVENT_PROGRESS,
        JOB_EVENT_ENDED,
        JOB_EVENT_INTERRUPTED, /* the supervisor stops; the next one continues the job */
        JOB_EVENT_UNSTORED,    /* it has ended, but that may come undone: job->unstored_error */
};

/*
 * Who waits for a job. Embedded in the caller's object. @notify may remove its own waiter, and must
 * not free the job; after all events but PROGRESS the waiter is no longer linked. To stop waiting,
 * remove the link.
 */
struct waiter {
        struct list link;
        bool progress; /* wants JOB_EVENT_PROGRESS */
        void (*notify)(struct waiter *waiter, struct job *job, enum job_event event);
};

struct job {
        struct job_env *env;
        struct list link; /* in the queue of struct jobs, in running or in unsaved */
        struct list tie;  /* in the list of the peer whose leaving cancels it */
        struct list waiters;
        struct job_record record;
        struct spec spec; /* filled */
        struct directory directory;
        struct counters counters;
        struct errand *errand; /* counts what came of a job that is over, or of a former supervisor,
                                  sets back its results file (@rewinds), or reserves room for it;
                                  NULL: there is none */
        bool rewinds; /* @errand sets the results file back, for a runner that is started then */
        uint64_t over_ns;          /* CLOCK_MONOTONIC of when it was found over, */
        bool over_interrupted;     /* whether it had been interrupted by then, */
        enum job_reason over_stop; /* and why it was being stopped by then */
        bool has_tally;
        struct tally tally;
        bool is_queued;          /* @link is in the queue */
        uint64_t start_after_ns; /* CLOCK_MONOTONIC, when a start that was put off is tried again;
                                    0: it was not */
        uint64_t start_delay_ns; /* it was put off for this long the last time */
        bool start_wants;        /* for want of what a job that ends gives back */
        enum quota_slot charged; /* to the owner; _QUOTA_N: nothing */
        bool holds_demo;
        bool holds_engine;                /* the private Redis and its nodes */
        struct engine_usage engine_usage; /* theirs when the job began; not known of one adopted */
        bool uncounted;  /* of a former supervisor, not started before its records are counted */
        bool resumed;    /* was interrupted before, or is run again, */
        bool runs_again; /* and that was asked of us */
        bool carried;    /* all that ran until now is in record.parts */
        json_t *told_summary; /* of its last end, if it was run again; owned */

        struct child child;  /* the runner, with all that it starts */
        char child_name[32]; /* "job 12" */
        struct cgroup_chain
                chain;          /* the groups of the job and above it, as they were at its start */
        bool chain_is_late;     /* they were read when the job was taken over */
        struct limit_hits hits; /* read when the job was found over */
        int measures_fd;
        bool adopted;                          /* the runner is a former supervisor's, */
        struct controller_changes controllers; /* and these came or went with that */

        int unstored_error; /* why its end could not even be noted, negative errno; 0: it could */
        enum job_reason stop_reason; /* why it is being stopped; REASON_NONE: it is not */
        bool interrupted;
        bool has_nice; /* as the runner was found to have it: */
        int nice;
        struct progress told;        /* as the waiters were last told of it */
        uint32_t condition;          /* as last seen, */
        uint64_t condition_since_ns; /* and since when it is that */
        unsigned n_suspect;          /* self-checks in a row that found it over but not ended */

        sd_event_source *timeout_source, *progress_source, *cpu_time_source;
        sd_event_source *again_source; /* armed while a job whose runner is gone waits for another,
                                          or while one waits for its records to be counted */
        uint64_t again_usec;           /* how long it waits */
};

/*
 * Whether the job was interrupted and is left to the next supervisor: nothing may be asked of it
 * any more, and its object is there only until its row is written.
 */
static inline bool job_is_left(const struct job *job)
{
        return job->interrupted && job->record.state == JOB_QUEUED;
}

/* Whether its end is still to come, here. */
static inline bool job_is_live(const struct job *job)
{
        return job_state_is_live(job->record.state) && !job_is_left(job);
}

/* Takes over what is in @record, @spec and @directory, also on failure (-ENOMEM). */
int job_new(struct job_env *env, struct job_record *record, struct spec *spec,
            struct directory *directory, const struct counters *counters, struct job **ret);
/* Nobody may wait for it any more; a runner it may have is left alone. */
void job_free(struct job *job);
DEFINE_CLEANUP(struct job *, job_free)

/* The name of a job's group below the base: "job-12". */
#define JOB_GROUP_NAME_MAX 32
void job_group_name(uint64_t number, char ret[static JOB_GROUP_NAME_MAX]);

/* The only way by which the state of a job changes. It may stay the same. */
void job_set_state(struct job *job, enum job_state state);

/* For the log; @reason REASON_NONE where there is none. */
struct log_about job_about(const struct job *job, enum message message, enum job_reason reason);

/* Arms the job's timeout, counted from submission. Once, for a queued job. */
int job_arm_timeout(struct job *job);

/*
 * Starts the runner. On failure nothing runs: call job_fail_with(), or try again later
 * (failure_may_pass()). A process that cannot become the runner does the same to the job later,
 * when it has ended.
 */
int job_start(struct job *job, struct fault *fault);

/* Notes why the job could not be started, and will be later; said in the log the first time. */
void job_put_off(struct job *job, const struct fault *fault);

/*
 * Goes on with a runner that a former supervisor started: the one in @group (moved in), or, where
 * there are no cgroups, the process @pid with @pidfd (moved in).
 */
int job_adopt(struct job *job, struct child_group *group, pid_t pid, int pidfd);

/*
 * Keeps what the part of the job that has ended used, as far as it can be told, before its group
 * goes. Once a part.
 */
void job_carry(struct job *job);

/*
 * Takes over a job that has been running, but nobody knows whether something of it still works:
 * when nothing does (any more), a runner is started for what has no record.
 */
void job_await(struct job *job);

/*
 * Sets the results file back to what a runner begins with. -EAGAIN, and nothing has changed, while
 * something still works on it.
 */
int job_rewind(struct job *job);

/* Takes back the records of what is to be run again, if that is still to be done; see
 * lib/results.h. */
int job_withdraw(struct job *job);

/* Ends a job that does not run, as failed, with a sentence of why. Calls env->ended(). */
void job_fail(struct job *job, const char *why);
void job_fail_with(struct job *job, const struct fault *fault);

/* Notes in its results file how the job ended. 0 or a negative errno. */
int job_note_end(const struct job *job);

/*
 * Whether a former supervisor has; then the job is to be put in the queue, uncounted, and ended as
 * noted.
 */
bool job_has_note(const struct job *job);
void job_end_as_noted(struct job *job);

/* Ends a job whose tasks all have a record already, and a tally. Calls env->ended(). */
void job_complete(struct job *job);

/*
 * Asks a job to end: one that is queued ends at once, one that runs gets SIGTERM, and SIGKILL after
 * a while. The first reason counts. May call env->ended().
 */
void job_stop(struct job *job, enum job_reason reason);

/*
 * For the end of an errand on behalf of a queued job: does what job_stop() put off meanwhile. True
 * when the job ends by that, and may be gone.
 */
bool job_stop_late(struct job *job);

/* The same because the supervisor stops: the job is to be continued later. */
void job_interrupt(struct job *job);

/*
 * Pauses or resumes. A job that is queued is not started while it is paused. One that runs is
 * frozen by the kernel (cgroup.freeze; SIGSTOP where it has no cgroup), with all its processes, at
 * the next moment; clocks that run for it, such as its timeout, go on. A job that is stopped is
 * continued first, since it has to act on that.
 */
int job_pause(struct job *job, bool pause, struct fault *fault);

/* Reads the progress counters into job->record. */
void job_refresh(struct job *job);

void job_add_waiter(struct job *job, struct waiter *waiter);
/* Tells all and, unless it is about progress, lets go of them. */
void job_notify(struct job *job, enum job_event event);

/*
 * The self-check of the watchdog: looks at the job's cgroup. False when it was found over twice in
 * a row and is still not ended, though the loop had its turn in between: we do not do our work
 * then.
 */
bool job_check(struct job *job);
