#pragma once

/*
 * The state directory: made if it is not there, and locked, so that two supervisors never share
 * one.
 *
 *     lock        locked (fcntl) while a supervisor runs
 *     instance    8 hex digits that name this state, for cgroups of our own making
 *     jobs.db     the database of jobs
 *     jobs/       their directories
 *     demo-port   where the demo server listens, while it runs
 */

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
 * All of it is the daemon's user's alone, directories 0700 and files 0600: the process's umask is
 * 077 from here on, and what is there with wider rights loses them, which is logged. On failure
 * *@ret_error is a sentence (NULL: out of memory); the caller frees it.
 */
int state_init(struct state *state, const char *path, char **ret_error);
void state_deinit(struct state *state);
