#pragma once

/*
 * Where jobs live: the supervisor's base group in the cgroup2 hierarchy, and the group of one job
 * in it. Where systemd delegated our own group, that is the base and the supervisor moves into the
 * child "supervisor"; elsewhere the base is a group of our own making below our own. Where neither
 * can be had jobs run without groups, and groups->why says why.
 *
 *     base/
 *       supervisor/      delegated only
 *       web/
 *       job-12/          its counters are the job's
 *         runner/        pppd-runner is born here
 */

#include "lib/cgroup.h"

#define GROUPS_CONTROLLERS 5

struct groups {
        char *path;           /* of the base; NULL: none */
        int fd;               /* its directory, -EBADF: none */
        unsigned controllers; /* enabled for its children, enum cgroup_controller */
        struct {
                char *why; /* a sentence; NULL where it is enabled */
                const char *hint;
        } missing[GROUPS_CONTROLLERS]; /* by groups_slot() */
        int lock_fd;                   /* while it is open, no other supervisor uses the base */
        bool made;                     /* by us: to be removed at the end */
        char *why;                     /* why there is none; NULL when there is one */
};

#define GROUPS_NULL                             \
        {                                       \
                .fd = -EBADF, .lock_fd = -EBADF \
        }

/*
 * Finds or makes the base. @path: this group, made if it is not there, instead of looking for one;
 * NULL: as above, named by @instance. Returns 0 also when there can be none (groups->why); with
 * @path that is an error: -errno, and groups->why tells. -ENOMEM.
 */
int groups_init(struct groups *groups, const char *path, const char *instance);
void groups_deinit(struct groups *groups);

/*
 * Removes the groups in the base that nobody is in: of jobs that are not known, and of the doctor
 * where it was killed with its daemon. The processes in those, if any, are killed, waited for and
 * reported.
 */
void groups_sweep(struct groups *groups, bool (*is_known)(void *userdata, uint64_t number),
                  void *userdata);

static inline bool groups_exist(const struct groups *groups)
{
        return groups->fd >= 0;
}

/*
 * Why jobs have no group with this controller, and what to do (both of them static or @groups');
 * NULL where they have one.
 */
const char *groups_why_without(const struct groups *groups, enum cgroup_controller controller,
                               const char **ret_hint);

/* What to do when the base is gone, which somebody must have removed; NULL when that is not the
 * trouble. */
const char *groups_hint_gone(const struct groups *groups);

/* "v2", "v2-without-controllers", "none": the summary's host.cgroup. */
const char *groups_kind(const struct groups *groups);

struct job_group {
        int parent_fd; /* the base it is in */
        int fd;
        int events_fd; /* its cgroup.events */
        char name[32]; /* "job-12" */
};

#define JOB_GROUP_NULL                                                 \
        {                                                              \
                .parent_fd = -EBADF, .fd = -EBADF, .events_fd = -EBADF \
        }

static inline bool job_group_exists(const struct job_group *group)
{
        return group->fd >= 0;
}

/* Makes a fresh group for job @number and, in it, "runner"; the latter's descriptor in
 * @ret_runner_fd. */
int job_group_make(struct groups *groups, uint64_t number, struct job_group *ret,
                   int *ret_runner_fd);

/* Opens the group that job @number has in the base @path. -ENOENT: it has none. */
int job_group_open(const char *path, uint64_t number, struct job_group *ret);

/* A group that is gone (somebody removed it) is not populated. */
int job_group_is_populated(const struct job_group *group, bool *ret);

/* The first process in the group's "runner", and a pidfd for it; -ESRCH when there is none. */
int job_group_open_runner(const struct job_group *group, pid_t *ret, int *ret_pidfd);

/* Removes the group with all below it, closes it. -EBUSY while it is populated (it is closed
 * anyway). */
int job_group_remove(struct job_group *group);
void job_group_deinit(struct job_group *group);

/*
 * The first process of the group @name below @parent_fd. -ESRCH when it has none, -ENOENT no group.
 */
int group_open_process(int parent_fd, const char *name, pid_t *ret, int *ret_pidfd);
