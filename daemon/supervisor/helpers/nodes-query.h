#pragma once

/*
 * Asks for the nodes of the Redis: by pppd-runner --nodes, since the supervisor does not speak to a
 * Redis itself. Whoever asks while an answer is under way gets that one, so that clients can't have
 * us start more than one process.
 */

#include <jansson.h>

#include "daemon/supervisor/child/child.h"
#include "lib/list.h"

struct engine;

/* Embedded in the object of the caller, who waits for an answer. To stop waiting, remove the link.
 */
struct nodes_waiter {
        struct list link;
        /* @nodes: an array, borrowed; NULL: there is no answer, and @why is a sentence. Unlinked
         * before. */
        void (*answer)(struct nodes_waiter *waiter, json_t *nodes, const char *why);
};

struct nodes_query {
        struct engine *engine;
        struct list waiters;
        struct child child;
        int out_fd, err_fd;
        bool too_late;
        sd_event_source *timer_source;
};

#define NODES_QUERY_NULL                                                \
        {                                                               \
                .child = CHILD_NULL, .out_fd = -EBADF, .err_fd = -EBADF \
        }

void nodes_query_init(struct nodes_query *query, struct engine *engine);
void nodes_query_deinit(struct nodes_query *query);

/* Never calls back before it returns. A negative errno: it can't be asked. */
int nodes_query_ask(struct nodes_query *query, struct nodes_waiter *waiter);
