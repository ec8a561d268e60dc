#pragma once

/*
 * The event loop. It measures how long each event keeps it busy, since that delays everybody: the
 * longest time is a metric, and events that take very long are logged by name.
 */

#include <systemd/sd-event.h>

#include "lib/util.h"

/* Runs the loop. Returns the code that was given to sd_event_exit(), or a negative errno. */
int event_loop_run(sd_event *event);

/* Names the event that is being handled, such as "io.pppctl.Jobs.Run". The text is static. */
void event_loop_doing(const char *what);

/* The longest time that a single event has kept the loop busy since the start. */
uint64_t event_loop_longest_ns(void);

/*
 * Calls @handler once, @usec from now or up to 1 ms later. *@source is the timer: NULL before the
 * first time, kept by the caller. It replaces a call that is still to come.
 */
int event_loop_arm(sd_event *event, sd_event_source **source, uint64_t usec,
                   sd_event_time_handler_t handler, void *userdata);
