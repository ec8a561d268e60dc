#pragma once

/*
 * A child that jobs need: the demo server, the private Redis, a node. It is started for the first
 * user, in a cgroup of its own, and stopped when it has had no user for a while. When it ends while
 * it is needed, it is started again, after a delay that grows if it does not live long. The
 * differences between helpers are in struct helper_kind.
 *
 * It is found by its cgroup, so that a supervisor that takes over running jobs also takes over what
 * these use. Where there are no cgroups, it dies with its supervisor.
 *
 *     down --start--> runs --helper_stop()--> stopping --the child has ended--> down
 *                       '-------------------- the child has ended ---------------^
 */

#include "daemon/supervisor/base/failure.h"
#include "daemon/supervisor/child/child.h"
#include "daemon/supervisor/child/groups.h"

struct helper;

struct helper_kind {
        const char *what;    /* "the demo server", for messages */
        const char *leaf;    /* group below its own that it is born in; NULL: its own */
        uint64_t idle_usec;  /* stopped when nobody has needed it for that long */
        unsigned deaths_max; /* in a row, soon after the start; then it is left; 0: never */
        bool may_refuse;     /* its exit status 1 says that it cannot work as things are: it is
                                tried again after a minute only */

        /*
         * Starts helper->child in the group @leaf_fd (-EBADF: there are no groups). Its own group
         * is made, so that limits may be set there.
         */
        int (*start)(struct helper *helper, int leaf_fd, struct fault *fault);
        /* It is down, and is not to be started before somebody needs it again. May be NULL. */
        void (*down)(struct helper *helper);
};

enum helper_state {
        HELPER_DOWN,
        HELPER_RUNS,
        HELPER_STOPPING,
};

struct helper {
        const struct helper_kind *kind;
        struct groups *groups;
        const char *group; /* its name below the base: "web" */
        struct child child;
        enum helper_state state;
        bool refused; /* it exited with status 1 */
        unsigned n_users, n_deaths;
        uint64_t started_ns;
        sd_event_source *timer_source;
};

#define HELPER_NULL                 \
        {                           \
                .child = CHILD_NULL \
        }

/* All is borrowed. */
void helper_init(struct helper *helper, const struct helper_kind *kind, sd_event *event,
                 struct groups *groups, const char *group);

/* Finds a process that a former supervisor left: 1 when there is one, 0 when there is none. */
int helper_find(struct helper *helper);

/*
 * Leaves it to the next supervisor, which finds it by its group. Does nothing to a helper that has
 * no group.
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
 * Asks it to end (SIGTERM). If it has users, it is started again as soon as it has ended; this is
 * how new settings are applied to it.
 */
void helper_stop(struct helper *helper);

static inline bool helper_is_up(const struct helper *helper)
{
        return helper->state == HELPER_RUNS && child_is_up(&helper->child);
}
