#pragma once

/*
 * The state directory. It is created if necessary, and locked, so that two supervisors never share
 * it.
 *
 *     lock        locked (fcntl) while a supervisor runs
 *     instance    8 hex digits that name this state, for cgroups of our own making
 *     jobs.db     the database of jobs
 *     jobs/       their directories
 *     demo-port   where the demo server listens, while it runs
 */

#include "lib/fault.h"
#include "lib/util.h"

#define INSTANCE_DIGITS 8

struct state {
        int fd;
        int jobs_fd;
        int lock_fd;
        char instance[INSTANCE_DIGITS + 1];
};

#define STATE_NULL                                                 \
        {                                                          \
                .fd = -EBADF, .jobs_fd = -EBADF, .lock_fd = -EBADF \
        }

/*
 * Only the daemon's user has access to the state, with modes 0700 and 0600: from here on the
 * process's umask is 077, and wider permissions of existing files are taken away, which is logged.
 * On failure @fault tells.
 */
int state_init(struct state *state, const char *path, struct fault *fault);
void state_deinit(struct state *state);
