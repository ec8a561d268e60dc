/*
 * Removing a tree of groups. rmdir(2) takes only groups without children, so leaves go first; the
 * files in them belong to the kernel and disappear with them.
 *
 * The tree may be deep (cgroup.max.depth is unlimited by default, and a user may make any groups
 * below a delegated one), so this walks with one descriptor at a time: down into the first group
 * that has groups of its own, up again by "..". Others may remove groups at the same time: a group
 * that vanishes counts as removed.
 */

#include "lib/cgroup.h"

#include <dirent.h>
#include <fcntl.h>

enum {
        _REMOVE_E_SUCCESS,
        REMOVE_E_PARENT, /* not populated, so there must be groups below */
};

static bool is_gone(int r)
{
        return r == -ENOENT || r == -ENODEV;
}

static int check_populated(int parent_fd, const char *name)
{
        _cleanup_close_ int fd = -EBADF, events_fd = -EBADF;
        bool populated;
        int r;

        fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = cgroup_events_open(fd, &events_fd);
        if (r < 0)
                return r;
        r = cgroup_events_read(events_fd, &populated, NULL);
        if (r < 0)
                return r;
        return populated ? -EBUSY : REMOVE_E_PARENT;
}

/* The kernel gives EBUSY both for processes and for groups below; cgroup.events shows which. */
static int remove_leaf(int parent_fd, const char *name)
{
        int r;

        if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
                return 0;
        r = -errno;
        if (r == -EBUSY)
                r = check_populated(parent_fd, name);
        return is_gone(r) ? 0 : r;
}

static bool is_group(const struct dirent *entry)
{
        /* kernfs always tells the type. */
        return entry->d_type == DT_DIR && !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
}

static void closedirp(DIR **dir)
{
        if (*dir)
                closedir(*dir);
}

/*
 * Removes the leaves in @fd; stops at a group that is not a leaf and returns its name, or NULL when
 * all are gone.
 */
static int sweep(int fd, char **ret_inner)
{
        _cleanup_(closedirp) DIR *dir = NULL;
        _cleanup_close_ int dir_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct dirent *entry;
        char *inner = NULL;
        int r;

        if (dir_fd < 0)
                return -errno;
        dir = fdopendir(dir_fd);
        if (!dir)
                return -errno;
        steal_fd(&dir_fd);
        for (errno = 0; (entry = readdir(dir)); errno = 0) {
                if (!is_group(entry))
                        continue;
                r = remove_leaf(fd, entry->d_name);
                if (r < 0)
                        return r;
                if (r == REMOVE_E_PARENT) {
                        inner = strdup(entry->d_name);
                        if (!inner)
                                return -ENOMEM;
                        break;
                }
        }
        if (!inner && errno != 0)
                return -errno;
        *ret_inner = inner;
        return 0;
}

static int move_to(int *fd, const char *name)
{
        int to = openat(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (to < 0)
                return -errno;
        close_fd(*fd);
        *fd = to;
        return 0;
}

/*
 * Removes everything below @fd, which it uses for the walk and leaves at any place. If even the way
 * up has vanished, somebody else is removing the same tree, and the caller starts again.
 */
static int remove_below(int *fd)
{
        size_t depth = 0;

        for (;;) {
                _cleanup_free_ char *inner = NULL;
                int r;

                r = sweep(*fd, &inner);
                if (r < 0 && !is_gone(r))
                        return r;
                if (!inner && depth == 0)
                        return 0;
                r = move_to(fd, inner ?: "..");
                if (r < 0 && !is_gone(r))
                        return r;
                if (r < 0 && !inner)
                        return 0;
                if (r == 0)
                        depth = inner ? depth + 1 : depth - 1;
        }
}

int cgroup_remove(int parent_fd, const char *name)
{
        for (;;) {
                _cleanup_close_ int fd = -EBADF;
                int r;

                r = remove_leaf(parent_fd, name);
                if (r != REMOVE_E_PARENT)
                        return r;
                fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 && errno != ENOENT)
                        return -errno;
                if (fd >= 0)
                        r = remove_below(&fd);
                if (r < 0)
                        return r;
        }
}
