#pragma once

/*
 * The process in which a node runs a level, forked from it: a runner like that of any job, but for
 * its source of tasks, which is the node's feed. A workload that crashes a whole level kills this
 * process only.
 */

#include <signal.h>

#include "daemon/runner/node/feed.h"

struct level_process {
        struct runner *runner; /* which it shares with us */
        struct feed *feed;
        void (*born)(struct level_process
                             *level); /* in the child, which lets go of what is its parent's */
        pid_t pid;
        int pidfd;            /* -EBADF: it does not run */
        int lives_fd;         /* a pipe whose other end it and all its workers have */
        uint64_t n_ended;     /* tasks when it was started, */
        uint64_t n_oom_kills; /* and processes that the kernel had killed for their memory */
        siginfo_t end;        /* how it ended last */
        unsigned n_fruitless; /* times in a row that it died and no task had ended */
};

/* Returns 0, or a negative errno after log_error(). */
int level_process_start(struct level_process *level);

/*
 * Takes note of its end, once lives_fd says that the last of its workers has gone too: a worker
 * that is still running would write to memory that is used again. *ret_death is the record for
 * tasks in progress.
 */
int level_process_reap(struct level_process *level, struct ppp_record *ret_death);

/*
 * Starts a process that was reaped again. -ECHILD after log_error(): it dies again and again before
 * any task ends.
 */
int level_process_restart(struct level_process *level);

static inline bool level_process_runs(const struct level_process *level)
{
        return level->pidfd >= 0;
}
