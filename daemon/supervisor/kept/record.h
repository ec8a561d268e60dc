#pragma once

/*
 * What is known of a job, live or ended: one row of the database, one `Job` of the interface.
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

/* Why a job is not done, or what it ran into. The names are the summary's (summary.schema.json). */
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
        REASON_PIDS_MAX, /* also of a job that is done, with fewer workers than it wanted */
        _REASON_N,
};

/* Whether a job's inputs name the demo server, which is found out when they are copied. */
enum demo_use {
        DEMO_UNUSED,
        DEMO_USED,
        DEMO_UNKNOWN, /* the row was written before this was stored */
};

struct job_record {
        uint64_t number;
        enum job_state state;
        bool paused;   /* of a live job; it is told as its state then */
        bool resuming; /* paused, and to go on as soon as there is a slot: "queued" */
        char *put_off; /* why its start was put off, a sentence; NULL: it was not. Not stored */
        uint32_t condition; /* enum ppp_condition, of one that runs: why nothing moves */
        char *reason;       /* the reason's name, ": " and details; NULL: none */
        uid_t owner;
        uint64_t submitted_ns; /* CLOCK_REALTIME */
        uint64_t ended_ns;     /* CLOCK_REALTIME, 0 before */
        json_t *spec;          /* filled */
        uint64_t n_tasks, n_done, n_failed;
        enum demo_use uses_demo;
        uint64_t size;   /* bytes that its files take, or will, on disk */
        json_t *summary; /* NULL before the end */
        json_t *parts;   /* what parts of it that were interrupted used, see accounting-parts.c */
        char *cgroup;    /* the group its own is in, while it runs; NULL: none */
};

#define JOB_RECORD_NULL             \
        {                           \
                .state = JOB_QUEUED \
        }

void job_record_deinit(struct job_record *record);

/* A new reference to the interface's type Job; NULL when out of memory. */
json_t *job_record_to_json(const struct job_record *record);

/* What people are told: the state's name, or "paused". */
const char *job_record_state_name(const struct job_record *record);

const char *job_state_name(enum job_state state);
int job_state_from_name(const char *name, enum job_state *ret); /* -EINVAL */
const char *job_reason_name(enum job_reason reason);            /* NULL for REASON_NONE */

/* The reason that @text, a record's reason or NULL, begins with. */
enum job_reason job_reason_in(const char *text);

/* Its name; NULL for none. Static text. */
const char *job_reason_of(const struct job_record *record);

static inline bool job_state_is_live(enum job_state state)
{
        return state == JOB_QUEUED || state == JOB_RUNNING;
}
