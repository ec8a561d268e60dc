#pragma once

/*
 * An admission is a call of Run with too many inputs to be checked within one turn: a child checks
 * and copies them (incoming.h), and the job is submitted afterwards. Each user has one such child
 * at a time; that user's other calls wait for it, in the order in which they came.
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
        struct errand *errand; /* the child; NULL: waits for another admission of the same user */
};

/*
 * Takes over the call that @peer has open. On success @submission, @incoming and @inputs_fd are
 * moved into the admission. It ends with methods_run_admitted(), or with admission_free() if the
 * peer leaves before that.
 */
int admission_begin(struct peer *peer, struct submission *submission, struct incoming *incoming,
                    int *inputs_fd, bool cancel_on_disconnect);

/* Kills the child. NULL is fine. */
void admission_free(struct admission *admission);
