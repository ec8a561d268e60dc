#pragma once

/*
 * A process in a cgroup of its own, with all that it starts there: the runner of a job, or a
 * helper. It is started by us or, if a former supervisor did that, adopted. ops->ended() tells once
 * that it has ended, if neither child_force() nor child_leave() was called before.
 *
 *     none --start, adopt--> runs --the process ends--> clears --its group is empty--> ended
 *
 * A child has ended when its group is empty (cgroup.events), and not before, since the process may
 * have left others behind; these are killed. The kernel reports an empty group at most once in 10
 * ms, so the exit of the process is a hint to look at once. Where there are no cgroups, the exit of
 * the process is the end of the child.
 *
 * How the process ended, and its group with all counters, are there until child_clear().
 */

#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>

#include "daemon/supervisor/child/child-group.h"
#include "daemon/supervisor/child/process-tree.h"
#include "daemon/supervisor/child/spawn.h"

struct child;

struct child_ops {
        /*
         * The process has become its program, or has said why it cannot (start_attempted) and ends.
         * Not called for one that was adopted. May be NULL.
         */
        void (*begun)(struct child *child);
        /* The child may be cleared, started again or freed now. */
        void (*ended)(struct child *child);
};

enum child_state {
        CHILD_NONE,
        CHILD_RUNS,
        CHILD_CLEARS,
        CHILD_ENDED,
};

struct child {
        sd_event *event;
        const struct child_ops *ops;
        const char *name;    /* borrowed, for messages: "job 12" */
        uint64_t grace_usec; /* from SIGTERM to SIGKILL */
        uint64_t rest_usec;  /* how long the process's own children may outlive it; 0: they are
                                killed at once */

        enum child_state state;
        struct child_group group; /* may be made and limited before the start; none: no cgroups */
        pid_t pid;
        int pidfd, complaint_fd;
        bool is_ours; /* started by us, so that we learn how it ended */
        uint64_t
                started_ns; /* CLOCK_MONOTONIC, before the process was there; of one that is ours */
        bool killed;
        bool frozen;
        struct process_tree tree; /* processes on their way to a stop, where there is no group */

        const char *start_attempted; /* failed on the way to the program; NULL: it got there */
        int start_error;             /* the negative errno of that */
        bool has_status, has_usage;
        siginfo_t status;
        struct rusage usage;

        sd_event_source *group_source, *exit_source, *begin_source, *kill_source, *freeze_source;
};

#define CHILD_NULL                                                                 \
        {                                                                          \
                .group = CHILD_GROUP_NULL, .pidfd = -EBADF, .complaint_fd = -EBADF \
        }

#define CHILD_GRACE_USEC UINT64_C(2000000)

void child_init(struct child *child, sd_event *event, const struct child_ops *ops,
                const char *name);

/*
 * Starts the process. On failure there is none, a negative errno is returned, and *@ret_attempted
 * says what was tried. Neither this nor child_adopt() calls back before it returns.
 */
int child_start(struct child *child, const struct spawn *spawn, const char **ret_attempted);

/*
 * Takes over the process @pid, and child->group if there is one. @pidfd_consumed -EBADF: the
 * process is gone, and what it left in its group is killed. On failure the child runs, but cannot
 * be seen to end.
 */
int child_adopt(struct child *child, pid_t pid, int pidfd_consumed);

/*
 * Freezes all of it, or lets it continue: by cgroup.freeze or, where it has no group, by SIGSTOP to
 * each of its processes. The kernel keeps either, so the next supervisor finds it. A process that
 * has not become its program yet is not frozen, though 0 is returned: do it again when ops->begun()
 * is called. -ESRCH: the process is gone. -EOPNOTSUPP: there is no group, and this kernel does not
 * tell which processes are a process's children.
 */
int child_freeze(struct child *child, bool freeze);

/* Whether a former supervisor has frozen it, or begun to. */
bool child_is_frozen(const struct child *child);

/* Asks the process to end (SIGTERM), and lets it continue if it is frozen. -ESRCH: it is gone. */
int child_ask_to_end(struct child *child);

/* The same, and kills the child if it has not ended after grace_usec. */
void child_stop(struct child *child);

/* SIGKILL to all of it. It ends later, as any other. */
void child_kill(struct child *child);

/* Kills it and blocks until it is gone, for two seconds at most. ops->ended() is not called. */
void child_force(struct child *child);

/* Removes its group and closes all, for a child that does not run. It may be started again. */
void child_clear(struct child *child);

/* Closes all, and leaves a child that runs to the next supervisor. */
void child_leave(struct child *child);

/* Whether the process is there. */
static inline bool child_is_up(const struct child *child)
{
        return child->state == CHILD_RUNS;
}

/* Whether nothing of it runs any more, also if that has not been noticed yet. */
bool child_is_over(const struct child *child);
