#pragma once

/*
 * The cgroup of one child: a group of its own in the supervisor's base (groups.h). What the child
 * starts stays in it, so its counters are the child's with all of that. Some children are born in a
 * leaf below it, since a group whose controllers are enabled for its children may hold no process
 * itself.
 */

#include <sys/types.h>

#include "lib/cgroup.h"

struct child_group {
        int parent_fd; /* the base it is in */
        int fd;
        int events_fd; /* its cgroup.events */
        char name[32]; /* "job-12", "web" */
};

#define CHILD_GROUP_NULL                                               \
        {                                                              \
                .parent_fd = -EBADF, .fd = -EBADF, .events_fd = -EBADF \
        }

static inline bool child_group_exists(const struct child_group *group)
{
        return group->fd >= 0;
}

/*
 * Makes a fresh group: one that was used before would bring its counters along, and since
 * Linux 6.18 a group that was killed once kills whatever is cloned into it. With a @leaf,
 * controllers are enabled for it, and its descriptor is in *@ret_leaf_fd; without one (NULL) that
 * is -EBADF.
 */
int child_group_make(int parent_fd, const char *name, const char *leaf, struct child_group *ret,
                     int *ret_leaf_fd);

/* Opens the group that a former supervisor made. -ENOENT: there is none. */
int child_group_open(int parent_fd, const char *name, struct child_group *ret);

/*
 * The first process in the group's @leaf, or without one (NULL) in the group itself, and a pidfd
 * for it. -ESRCH when there is none.
 */
int child_group_open_process(const struct child_group *group, const char *leaf, pid_t *ret,
                             int *ret_pidfd);

/* Kills all in it, and blocks until it is empty. -ETIMEDOUT: it is not after a second. */
int child_group_kill(const struct child_group *group);

/* Removes the group with all below it. Closes it also on failure: -EBUSY while it is populated. */
int child_group_remove(struct child_group *group);
void child_group_deinit(struct child_group *group);
