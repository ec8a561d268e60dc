#pragma once

/*
 * The process of a command: born in its task's cgroup, in a session of its own, with nothing of
 * ours but what is given here.
 */

#include <sys/resource.h>

#include "lib/util.h"

struct command_spawn {
        char *const *arguments;
        char *const *environment;
        const char *const *directories; /* of PATH, to look for the program in; ends with NULL */
        const char *directory;          /* to run in; NULL: the root */
        int in_fd, out_fd, err_fd;
        int group_fd;    /* -EBADF: our own */
        bool is_limited; /* the group, by limits of its own: it may keep the child waiting */
        bool has_umask;
        mode_t umask;
        struct rlimit files; /* RLIMIT_NOFILE, which is higher for us */
        int32_t *error;      /* in shared memory, 0: why it could not be started, see below */
};

#define COMMAND_NOT_STARTED 127 /* exit status of a child that has set *error */

/*
 * Starts it, and returns at once: what goes wrong in the child before the program runs is in *error
 * when the child has ended with the status COMMAND_NOT_STARTED: an errno of execve(2), or,
 * negative, one of entering the directory. The child is killed when our thread ends. A negative
 * errno: there is no child.
 */
pid_t command_spawn(const struct command_spawn *spawn, int *ret_pidfd);
