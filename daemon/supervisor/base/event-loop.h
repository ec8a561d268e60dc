#pragma once

/*
 * The event loop, and how long single events keep it: whatever takes long delays everybody, so the
 * longest is a metric, and what takes very long is logged by name.
 */

#include <systemd/sd-event.h>

#include "lib/util.h"

/* Returns what sd_event_exit() was given, or a negative errno. */
int event_loop_run(sd_event *event);

/* Names what is being done, until the loop turns: static text, "call Run". */
void event_loop_doing(const char *what);

/* The longest that one event has kept the loop since the start. */
uint64_t event_loop_longest_ns(void);
