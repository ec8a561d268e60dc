#pragma once

/*
 * The supervisor's base group in the cgroup2 hierarchy, which the groups of jobs and helpers are
 * made in (child-group.h). If systemd delegated our own group, that is the base, and the supervisor
 * moves into the child "supervisor"; else the base is made below our own group. If neither is
 * possible, jobs run without groups, and groups->why says why.
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

/*
 * Advice for when the group above those of jobs is gone, because somebody has removed it; NULL when
 * it is there.
 */
const char *groups_hint_gone(const struct groups *groups);

/* "v2", "v2-without-controllers", "none": the summary's host.cgroup. */
const char *groups_kind(const struct groups *groups);
