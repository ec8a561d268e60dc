#pragma once

/*
 * Starting a child: all that can fail before the program runs is told to the parent, by a pipe that
 * the exec closes. The child is born in its cgroup, in a session of its own (so that a Ctrl-C at the
 * supervisor's terminal is the supervisor's to handle), with no signal blocked or ignored, and with
 * the given descriptors and no other.
 */

#include <sys/types.h>

#include "lib/util.h"

#define SPAWN_FDS_MAX 8

struct spawn {
        const char *path;
        char **argv;
        char **envp;
        int cgroup_fd;                  /* -EBADF: our own group */
        int fds[SPAWN_FDS_MAX];         /* fds[i] becomes the child's descriptor i */
        size_t n_fds;
        char *listen_pid;               /* where in @envp the child writes its own process ID: room for
                                           LISTEN_PID_DIGITS and a NUL; NULL: nowhere */
        bool has_nice;
        int nice;                       /* see priority.h */
        bool die_with_parent;           /* SIGTERM when the supervisor dies; the program may undo that */
};

#define LISTEN_PID_DIGITS 10

/*
 * Returns when the program runs. On failure a negative errno, and *@ret_attempted says what was tried
 * ("execute the program").
 */
int spawn_child(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd, const char **ret_attempted);

/*
 * A copy of the environment without what is meant for the supervisor itself (NOTIFY_SOCKET, LISTEN_*,
 * WATCHDOG_*, …), and with @extra, NULL-terminated, at its end. One allocation: free() it.
 */
char **environment_for_child(const char *const *extra);
