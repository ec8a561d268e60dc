#pragma once

/*
 * A process and all that it started, found by who is whose child in /proc. It stands in for a
 * cgroup where none can be made. A process whose parent has ended belongs to another tree; the
 * runner's workers end with it.
 */

#include <sys/types.h>

#include "lib/util.h"

struct process {
        pid_t pid, parent;
};

/* One pass over the tree, parents before their children. */
struct process_tree {
        struct process *list; /* owned */
        size_t n, size;
        size_t n_stopped;  /* of the list: were sent the signal, or needed none */
        size_t n_expanded; /* their children are in the list */
        bool still;        /* nothing had to be sent in this pass */
};

#define PROCESS_TREE_NULL    \
        {                    \
                .list = NULL \
        }

void process_tree_deinit(struct process_tree *tree);

/*
 * Sends SIGSTOP to each process that is not stopped, for at most about @budget_ns; @pidfd is
 * @root's. Returns 0 when nothing had to be sent in a whole pass, so that all of the tree stands
 * still, and 1 as long as it is to be called again: what was sent takes a moment, a process may
 * have started another one meanwhile, or the time was up. Else a negative errno, with the pass
 * given up: -ESRCH when @root is gone, -EOPNOTSUPP when this kernel does not tell of children.
 */
int process_tree_stop(struct process_tree *tree, pid_t root, int pidfd, uint64_t budget_ns);

/* Sends SIGCONT to each process of a tree that was stopped, children first. Errors as above. */
int process_tree_continue(pid_t root, int pidfd);

/* Whether this one process was stopped by a signal. False: also when there is no such process. */
bool process_is_stopped(pid_t pid);
