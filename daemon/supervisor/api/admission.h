#pragma once

/*
 * A call of Run whose inputs are too many to be looked at in a turn: a child checks and copies them
 * (incoming.h), and the job is submitted when it is done. One child a user at a time; those that
 * wait for it are in the order in which they came.
 */

#include "daemon/supervisor/child/errand.h"
#include "daemon/supervisor/jobs/jobs.h"
#include "daemon/supervisor/kept/incoming.h"

struct peer;

struct admission {
        struct peer *peer;
        struct list link; /* peer->owner->admissions */
        struct submission submission;
        struct incoming incoming;
        int inputs_fd; /* the client's memfd */
        bool cancel_on_disconnect;
        struct errand *errand; /* NULL: another one of this user is at work */
};

/*
 * Goes on with the call that @peer has open. On success @submission, @incoming and @inputs_fd are
 * moved out of. Ends in methods_run_admitted() or, when the peer goes first, in admission_free().
 */
int admission_begin(struct peer *peer, struct submission *submission, struct incoming *incoming,
                    int *inputs_fd, bool cancel_on_disconnect);

/* Kills the child. NULL is fine. */
void admission_free(struct admission *admission);
