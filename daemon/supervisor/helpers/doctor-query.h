#pragma once

/*
 * Has the machine looked at (lib/doctor/) in a child, since that takes longer than a turn of the
 * event loop may. One at a time: whoever asks while an answer is under way gets that one.
 */

#include <jansson.h>

#include "daemon/supervisor/child/errand.h"
#include "lib/doctor/doctor.h"
#include "lib/list.h"

/* Embedded in the caller's object. To stop waiting, remove the link. */
struct doctor_waiter {
        struct list link;
        /* @checks: an array, borrowed; NULL: there is none, for the negative errno @r. Unlinked
         * before. */
        void (*answer)(struct doctor_waiter *waiter, json_t *checks, int r);
};

struct doctor_query {
        sd_event *event;
        struct errand *errand;
        struct list waiters;
        const struct doctor *doctor; /* while the child is made, which then has it */
};

void doctor_query_init(struct doctor_query *query, sd_event *event);
/* Nobody may wait any more. */
void doctor_query_deinit(struct doctor_query *query);

/* Never calls back before it returns. @doctor is not needed any longer then. */
int doctor_query_ask(struct doctor_query *query, const struct doctor *doctor,
                     struct doctor_waiter *waiter);
