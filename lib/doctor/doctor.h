#pragma once

/*
 * The doctor looks for everything that pppd uses of the machine: whether it is there, why not, and
 * how to get it. Each check is a small function in a table (doctor.c); they are tried, not guessed
 * from versions, as far as that can be done without harm. Anything that may get the caller killed
 * or changed (io_uring under a seccomp filter, loading a library) is tried in a child.
 *
 * For jobs the daemon's findings count. Without a daemon a client looks for itself.
 */

#include <jansson.h>

#include "lib/spec.h"

enum check_status {
        CHECK_YES,
        CHECK_PARTLY,
        CHECK_NO,
        _CHECK_STATUS_N,
};

/*
 * Things are tried in a group below the base whose name begins with this; a doctor that is killed
 * leaves the group there.
 */
#define DOCTOR_GROUP "pppctl-doctor-"

/* The environment that the doctor examines. */
struct doctor {
        const char *base; /* directory of the cgroup below which jobs' are made; NULL: our own */
        const char *why_none; /* why there is none; NULL: there is one, or it is looked for */
        bool is_daemon;       /* the base is for jobs alone */
        const char *state;    /* the daemon's state directory; NULL: not known */
        uint64_t max_queued;  /* the daemon's setting, and how many jobs may wait for all that */
        uint64_t queue_limit;
        const char *redis;     /* where the configured one is; NULL: none is */
        const char *redis_why; /* why it can't be used; NULL: it answered */
        unsigned n_nodes;      /* that it knows */
};

/* A new array of objects like the interface's type Check; NULL when out of memory. */
json_t *doctor_look(const struct doctor *doctor);

/* Whether io_uring can be used. False: @fault tells. Takes about a millisecond, in a child. */
bool doctor_try_uring(struct fault *fault);

const char *check_status_name(enum check_status status);
