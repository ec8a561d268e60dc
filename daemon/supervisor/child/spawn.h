#pragma once

/*
 * Starting a child. It is born in its cgroup (or moves there first of all), in a session of its own
 * (so that a Ctrl-C at the supervisor's terminal is the supervisor's to handle), with no signal
 * blocked or ignored, not protected from the OOM killer, and with the given descriptors and no
 * other.
 *
 * Nobody waits for it to become the program: in a group that is frozen or throttled that may take
 * for ever. A child that cannot says why on a pipe, which an exec closes, and exits; so that is
 * heard of when its exit is, by its pidfd like any other.
 */

#include <sys/types.h>

#include "lib/util.h"

#define SPAWN_FDS_MAX 10

struct spawn {
        const char *path;
        char **argv;
        char **envp;
        int cgroup_fd;          /* -EBADF: our own group */
        int fds[SPAWN_FDS_MAX]; /* fds[i] becomes the child's descriptor i */
        size_t n_fds;
        char *listen_pid; /* where in @envp the child writes its own process ID: room for
                             LISTEN_PID_DIGITS and a NUL; NULL: nowhere */
        bool has_nice;
        int nice;             /* see priority.h */
        bool die_with_parent; /* SIGTERM when the supervisor dies; the program may undo that */
};

#define LISTEN_PID_DIGITS 10

struct spawned {
        pid_t pid;
        int pidfd;
        int complaint_fd; /* for spawn_hear() */
};

/*
 * The child may be anywhere between its birth and its program when this returns: it may not be in
 * its group yet, and SIGTERM ends it. Until it is in its group it dies with the supervisor in any
 * case, so the next one finds it there or not at all. On failure there is no child: a negative
 * errno, and *@ret_attempted says what was tried ("execute").
 */
int spawn_child(const struct spawn *spawn, struct spawned *ret, const char **ret_attempted);

/*
 * After the child's exit: why it did not become the program, a negative errno with what it tried in
 * *@ret_attempted; 0 if it did, or was killed before. -EBADF for a descriptor is fine.
 */
int spawn_hear(int complaint_fd_consumed, const char **ret_attempted);

/*
 * A copy of the environment without what is meant for the supervisor itself (NOTIFY_SOCKET,
 * LISTEN_*, WATCHDOG_*, …), and with @extra, NULL-terminated, at its end. One allocation: free()
 * it.
 */
char **environment_for_child(const char *const *extra);
