#include "daemon/supervisor/child/child-group.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "daemon/supervisor/base/log.h"

#define EMPTY_MSEC 1000

static int begin(int parent_fd, const char *name, struct child_group *group)
{
        *group = (struct child_group)CHILD_GROUP_NULL;
        if (strlen(name) >= sizeof(group->name))
                return -ENAMETOOLONG;
        strcpy(group->name, name);
        group->parent_fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);
        return group->parent_fd < 0 ? -errno : 0;
}

static int make_leaf(const struct child_group *group, const char *leaf, int *ret_fd)
{
        unsigned enabled;
        int r;

        r = cgroup_enable_controllers(group->fd, &enabled);
        if (r < 0)
                return r;
        cgroup_note_controllers(group->fd, enabled);
        return cgroup_make(group->fd, leaf, ret_fd);
}

/* It may be for want of descriptors that it could not be made, and removing takes some. */
static void unmake(struct child_group *group, int leaf_fd_consumed)
{
        int r;

        close_fd(leaf_fd_consumed);
        group->events_fd = close_fd(group->events_fd);
        group->fd = close_fd(group->fd);
        r = cgroup_remove(group->parent_fd, group->name);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot remove the cgroup %s again: %s", group->name,
                               strerror(-r));
        child_group_deinit(group);
}

int child_group_make(int parent_fd, const char *name, const char *leaf, struct child_group *ret,
                     int *ret_leaf_fd)
{
        struct child_group group;
        int leaf_fd = -EBADF, r;

        r = begin(parent_fd, name, &group);
        if (r < 0)
                return r;
        r = cgroup_remove(group.parent_fd, name);
        if (r >= 0)
                r = cgroup_make(group.parent_fd, name, &group.fd);
        if (r >= 0 && leaf)
                r = make_leaf(&group, leaf, &leaf_fd);
        if (r >= 0)
                r = cgroup_events_open(group.fd, &group.events_fd);
        if (r < 0) {
                unmake(&group, leaf_fd);
                return r;
        }
        *ret = group;
        *ret_leaf_fd = leaf_fd;
        return 0;
}

int child_group_open(int parent_fd, const char *name, struct child_group *ret)
{
        struct child_group group;
        int r;

        r = begin(parent_fd, name, &group);
        if (r < 0)
                return r;
        group.fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = group.fd < 0 ? -errno : cgroup_events_open(group.fd, &group.events_fd);
        if (r < 0) {
                child_group_deinit(&group);
                return r;
        }
        *ret = group;
        return 0;
}

static int first_process(const struct child_group *group, const char *leaf, pid_t *ret)
{
        _cleanup_free_ char *text = NULL, *path = NULL;
        uint64_t pid;
        int r;

        if (asprintf(&path, "%s/cgroup.procs", leaf ?: ".") < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = read_file_at(group->fd, path, &text, NULL);
        if (r < 0)
                return r == -ENOENT || r == -ENODEV ? -ESRCH : r;
        if (parse_u64(text, strcspn(text, "\n"), INT_MAX, &pid) < 0 || pid == 0)
                return -ESRCH;
        *ret = (pid_t)pid;
        return 0;
}

/* Between the name and the descriptor the number may have become another process's. */
int child_group_open_process(const struct child_group *group, const char *leaf, pid_t *ret,
                             int *ret_pidfd)
{
        _cleanup_close_ int pidfd = -EBADF;
        pid_t before, after;
        int r;

        r = first_process(group, leaf, &before);
        if (r < 0)
                return r;
        pidfd = pidfd_open(before, 0);
        if (pidfd < 0)
                return -errno;
        r = first_process(group, leaf, &after);
        if (r < 0)
                return r;
        if (before != after)
                return -ESRCH;
        *ret = before;
        *ret_pidfd = steal_fd(&pidfd);
        return 0;
}

int child_group_kill(const struct child_group *group)
{
        struct pollfd pollfd = { .fd = group->events_fd, .events = POLLPRI };
        bool populated = true;
        int r;

        r = cgroup_kill(group->fd);
        while (r >= 0) {
                r = cgroup_events_read(group->events_fd, &populated, NULL);
                if (r >= 0 && !populated)
                        return 0;
                if (r >= 0 && poll(&pollfd, 1, EMPTY_MSEC) <= 0)
                        return -ETIMEDOUT;
        }
        return r;
}

void child_group_deinit(struct child_group *group)
{
        close_fd(group->events_fd);
        close_fd(group->fd);
        close_fd(group->parent_fd);
        *group = (struct child_group)CHILD_GROUP_NULL;
}

int child_group_remove(struct child_group *group)
{
        int r;

        group->events_fd = close_fd(group->events_fd);
        /* Nearly always this is all there is below; if it fails, the next step tells why. */
        (void)unlinkat(group->fd, "runner", AT_REMOVEDIR);
        r = cgroup_remove(group->parent_fd, group->name);
        child_group_deinit(group);
        return r;
}
