#pragma once

/*
 * How a process that we hold by its pidfd has ended. A pidfd is readable once the process is a
 * zombie, but its status may be kept from its parent for a while longer: as long as somebody traces
 * it, be it a debugger or a sanitizer that looks for leaks. So the handler is called again, every
 * few milliseconds, until there is something to take.
 */

#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>

/* @handler is called when the process has ended, and again until its source is disabled. */
int child_exit_watch(sd_event *event, sd_event_source **ret, int pidfd,
                     sd_event_io_handler_t handler, void *userdata);

/*
 * Reaps it. @ret_usage may be NULL. Returns 0, -ECHILD if it is no child of ours, or -EAGAIN: it
 * has not ended, or its status cannot be had yet.
 */
int child_exit_take(int pidfd, siginfo_t *ret, struct rusage *ret_usage);

/*
 * Kills it and reaps it, for one that nobody can watch. Blocks until it is gone, for a second at
 * most: what is not gone by then stays a zombie until we end.
 */
void child_exit_force(int pidfd);
