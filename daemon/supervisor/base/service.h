#pragma once

/*
 * The supervisor as a service: the signals that control it, and its messages to systemd.
 *
 * The watchdog is pinged twice per interval, and only if the self-check passes: a ping means that
 * jobs whose processes have ended are ended, not only that the event loop runs.
 */

#include <systemd/sd-event.h>

#include "lib/util.h"

struct service {
        sd_event_source *term_source, *int_source, *hup_source, *watchdog_source;
        sd_event_source *status_source;
        uint64_t watchdog_usec;       /* half of the watchdog's interval; 0: there is no watchdog */
        unsigned n_running, n_queued; /* jobs, for the next status message */
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

/* The status is sent half a second later, so that many short jobs cause few messages. */
void service_set_status(struct service *service, unsigned n_running, unsigned n_queued);
