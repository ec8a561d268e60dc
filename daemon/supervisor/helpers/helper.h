#pragma once

/*
 * A process that others need: the demo server, the private Redis, a node. It is started for the
 * first who needs it, in a cgroup of its own, and stopped when nobody has needed it for a while;
 * when it dies while it is needed it is started again. What differs between them is in struct
 * helper_kind.
 *
 * It is found by its cgroup, so that a supervisor that takes over running jobs takes over what they
 * use. Where there are no cgroups it dies with its supervisor.
 *
 *     down --start--> runs --SIGTERM, after a while SIGKILL--> stopping --its exit--> clearing -->
 *     down
 *                       '------------------- its exit --------------------------------^
 *
 * Clearing is over when the last process it left in its group is gone.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/base/failure.h"
#include "daemon/supervisor/child/groups.h"
#include "daemon/supervisor/child/spawn.h"

struct helper;

struct helper_kind {
        const char *what;    /* "the demo server", for messages */
        const char *leaf;    /* group below its own that it is born in; NULL: its own */
        uint64_t idle_usec;  /* stopped when nobody has needed it for that long */
        unsigned deaths_max; /* in a row, soon after the start; then it is left; 0: never */
        bool may_refuse;     /* its exit status 1 says that it cannot work as things are: it is
                                tried again after a minute only */

        /*
         * Starts the process in @group_fd (-EBADF: there are no groups). helper->group_fd is its
         * own group, whose limits may be set here.
         */
        int (*start)(struct helper *helper, int group_fd, struct spawned *ret, struct fault *fault);
        /* It is down, and is not to be started before somebody needs it again. May be NULL. */
        void (*down)(struct helper *helper);
};

enum helper_state {
        HELPER_DOWN,
        HELPER_RUNS,
        HELPER_STOPPING,
        HELPER_CLEARING,
};

struct helper {
        const struct helper_kind *kind;
        sd_event *event;
        struct groups *groups;
        const char *group;   /* its name below the base: "web" */
        uint64_t grace_usec; /* from SIGTERM to SIGKILL */

        enum helper_state state;
        pid_t pid;
        int pidfd, complaint_fd, group_fd, events_fd;
        bool refused; /* it left with exit status 1 */
        unsigned n_users, n_deaths;
        uint64_t started_ns;
        sd_event_source *exit_source, *clear_source, *timer_source;
};

#define HELPER_NULL                                                                              \
        {                                                                                        \
                .pidfd = -EBADF, .complaint_fd = -EBADF, .group_fd = -EBADF, .events_fd = -EBADF \
        }

/* All is borrowed. */
void helper_init(struct helper *helper, const struct helper_kind *kind, sd_event *event,
                 struct groups *groups, const char *group);

/* Finds a process that a former supervisor left: 1 when there is one, 0 when there is none. */
int helper_find(struct helper *helper);

/*
 * Lets go of one that the next supervisor will find by its group; nothing is done to one that has
 * none.
 */
void helper_leave(struct helper *helper);

/* Kills it, and removes its group. Nothing to do after helper_leave(). */
void helper_deinit(struct helper *helper);

/*
 * Sees that it runs, or will when it has stopped, and counts one user. On failure none is counted.
 */
int helper_acquire(struct helper *helper, struct fault *fault);
void helper_release(struct helper *helper);

/*
 * Asks it to end (SIGTERM). If it has users it is started again at once: that is how it is started
 * anew.
 */
void helper_stop(struct helper *helper);

/* SIGKILL, for one that takes too long. */
void helper_kill(struct helper *helper);

static inline bool helper_is_up(const struct helper *helper)
{
        return helper->state == HELPER_RUNS;
}
