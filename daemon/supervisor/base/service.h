#pragma once

/*
 * The supervisor as a service: the signals that steer it, and what it tells systemd.
 *
 * The watchdog is pinged at half of its interval, and only when the self-check passes: a ping means
 * that jobs which are over get ended, not only that the loop turns. A loop that does not turn pings
 * nobody either.
 */

#include <systemd/sd-event.h>

#include "lib/util.h"

struct service {
        sd_event_source *term_source, *int_source, *hup_source, *watchdog_source;
        sd_event_source *status_source;
        uint64_t watchdog_usec;       /* half of the interval; 0: no watchdog */
        unsigned n_running, n_queued; /* what the next status says */
        void (*stop)(struct service *service);
        void (*reload)(struct service *service);
        bool (*check)(struct service *service);
};

/* The signals must be blocked already. */
int service_init(struct service *service, sd_event *event, void (*stop)(struct service *),
                 void (*reload)(struct service *), bool (*check)(struct service *));
void service_deinit(struct service *service);

void service_set_ready(struct service *service);
void service_set_reloading(struct service *service);
void service_set_stopping(struct service *service);

/* Told to systemd a little later, so that many short jobs make few messages. */
void service_set_status(struct service *service, unsigned n_running, unsigned n_queued);
