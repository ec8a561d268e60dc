#pragma once

/*
 * Everything that is known of a job, live or ended: one row of the database, one `Job` of the
 * Varlink interface.
 */

#include <jansson.h>
#include <sys/types.h>

#include "lib/util.h"

enum job_state {
        JOB_QUEUED,
        JOB_RUNNING,
        JOB_DONE,
        JOB_CANCELLED,
        JOB_FAILED,
        _JOB_STATE_N,
};

/* Why a job failed or was cancelled, or which limit it met. summary.schema.json has their names. */
enum job_reason {
        REASON_NONE,
        REASON_TIMEOUT,
        REASON_CANCELLED,
        REASON_DISCONNECTED,
        REASON_STOPPED,
        REASON_RUNNER_DIED,
        REASON_RUNNER_FAILED,
        REASON_CPU_TIME_MAX,
        REASON_OOM_KILLED,
        REASON_HALTED,   /* it came to what --halt says */
        REASON_PIDS_MAX, /* also of a job that got done, with fewer workers than it asked for */
        _REASON_N,
};

/* Whether any of a job's inputs names the demo server. This is found out when they are copied. */
enum demo_use {
        DEMO_UNUSED,
        DEMO_USED,
        DEMO_UNKNOWN, /* the row was written before this was stored */
};

struct job_record {
        uint64_t number;
        enum job_state state;
        bool paused;   /* clients are told the state "paused" while the job is live */
        bool resuming; /* paused, but will continue as soon as a slot is free: shown as "queued" */
        char *put_off; /* a sentence: why its start was put off; NULL: it was not. Not stored */
        uint32_t condition; /* enum ppp_condition: why a running job is stuck. Not stored */
        char *reason;       /* the name of a job_reason, ": " and details; NULL: none */
        uid_t owner;
        uint64_t submitted_ns; /* CLOCK_REALTIME */
        uint64_t ended_ns;     /* CLOCK_REALTIME, 0 before */
        json_t *spec;          /* with all defaults filled in */
        uint64_t n_tasks, n_done, n_failed;
        enum demo_use uses_demo;
        uint64_t size;   /* bytes that its files take on disk, or will take when it has ended */
        json_t *summary; /* NULL before the end; of a job that runs again, the last end's */
        json_t *parts;   /* what it used before each interruption and end, see accounting-parts.c */
        char *cgroup;    /* while it runs: the parent of the job's own cgroup; NULL: none */
};

#define JOB_RECORD_NULL             \
        {                           \
                .state = JOB_QUEUED \
        }

void job_record_deinit(struct job_record *record);

/* A new reference to the interface's type Job; NULL when out of memory. */
json_t *job_record_to_json(const struct job_record *record);

/* The state as clients are told it: its name, or "paused". */
const char *job_record_state_name(const struct job_record *record);

const char *job_state_name(enum job_state state);
int job_state_from_name(const char *name, enum job_state *ret); /* -EINVAL */
const char *job_reason_name(enum job_reason reason);            /* NULL for REASON_NONE */

/* The reason whose name @text begins with. @text is a record's reason; it may be NULL. */
enum job_reason job_reason_in(const char *text);

/* The name of a job's reason, without details; NULL when it has none. Static text. */
const char *job_reason_of(const struct job_record *record);

static inline bool job_state_is_live(enum job_state state)
{
        return state == JOB_QUEUED || state == JOB_RUNNING;
}
