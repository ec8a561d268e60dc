#include "daemon/supervisor/child/groups.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/child/child-group.h"
#include "lib/doctor/doctor.h"
#include "lib/process-lock.h"

#define SUPERVISOR_GROUP "supervisor"

static int say_why(struct groups *groups, int error, const char *format, ...) _printf_(3, 4);

static int say_why(struct groups *groups, int error, const char *format, ...)
{
        va_list args;
        int r;

        free(groups->why);
        va_start(args, format);
        r = vasprintf(&groups->why, format, args);
        va_end(args);
        if (r < 0)
                groups->why = NULL;
        return r < 0 ? -ENOMEM : error;
}

static int open_group(const char *path)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static unsigned groups_slot(enum cgroup_controller controller)
{
        unsigned slot = (unsigned)__builtin_ctz(controller);

        assert(slot < GROUPS_CONTROLLERS);
        return slot;
}

/* One that our base has, and does not get for its children, is in use by somebody there. */
static int explain_here(struct groups *groups, enum cgroup_controller controller, unsigned slot,
                        int error)
{
        groups->missing[slot].hint =
                error == -EBUSY ? "move the processes of that group to another one, or give a "
                                  "group of the daemon's own with --cgroup PATH"
                                : "let the daemon's user write to cgroup.subtree_control of that "
                                  "group, or start the daemon as a service";
        if (asprintf(&groups->missing[slot].why, "the %s controller cannot be enabled below %s: %s",
                     cgroup_controller_name(controller), groups->path, strerror(-error)) < 0) {
                groups->missing[slot].why = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int explain_missing(struct groups *groups, enum cgroup_controller controller, int error)
{
        _cleanup_free_ char *mount = NULL, *own = NULL;
        unsigned slot = groups_slot(controller);
        struct cgroup_whereabouts where = { CGROUP_PLACE_WITHHELD, NULL };
        int r;

        r = cgroup_locate(&mount, &own);
        if (r >= 0)
                r = cgroup_find_controller(controller, mount, groups->path, &where);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        if (where.place == CGROUP_PLACE_HERE)
                return explain_here(groups, controller, slot, error < 0 ? error : -EACCES);
        groups->missing[slot].why = cgroup_explain(controller, &where);
        groups->missing[slot].hint = cgroup_advise(&where);
        free(where.path);
        return groups->missing[slot].why ? 0 : -ENOMEM;
}

const char *groups_why_without(const struct groups *groups, enum cgroup_controller controller,
                               const char **ret_hint)
{
        unsigned slot = groups_slot(controller);

        if (groups_exist(groups) && groups->controllers & controller)
                return NULL;
        *ret_hint = groups->missing[slot].hint
                            ?: "start the daemon as a systemd service with Delegate=cpu cpuset io "
                               "memory pids, or give a cgroup it may write to with --cgroup PATH";
        if (groups->missing[slot].why)
                return groups->missing[slot].why;
        return groups->why ?: "jobs have no cgroup with that controller";
}

/*
 * Enabling controllers is a gift, not a need: why one is not there is told when somebody wants it.
 */
static int adopt_base(struct groups *groups, char *path_consumed, int fd_consumed)
{
        int error, r = 0;

        groups->path = path_consumed;
        groups->fd = fd_consumed;
        error = cgroup_enable_controllers(groups->fd, &groups->controllers);
        for (unsigned i = 0; i < GROUPS_CONTROLLERS && r >= 0; ++i)
                if (!(groups->controllers & 1U << i))
                        r = explain_missing(groups, 1U << i, error);
        return r;
}

/*
 * Two supervisors in one base would take each other's jobs for leftovers. -EBUSY: the process
 * *@ret_holder has it, or an unknown one, 0. The lock takes a file that may be written where a
 * group is delegated, and that we open nowhere else.
 */
static int lock_base(struct groups *groups, int fd, pid_t *ret_holder)
{
        groups->lock_fd = openat(fd, "cgroup.threads", O_WRONLY | O_CLOEXEC);
        /*
         * A supervisor that may not write this file can hardly make groups there: there is nothing
         * to lock.
         */
        if (groups->lock_fd < 0 || process_lock(groups->lock_fd, ret_holder) != -EBUSY)
                return 0;
        groups->lock_fd = close_fd(groups->lock_fd);
        return -EBUSY;
}

static int say_taken(struct groups *groups, const char *parent, const char *name, pid_t holder)
{
        char process[32] = "";

        if (holder > 0)
                snprintf(process, sizeof(process), " (process %d)", holder);
        return say_why(groups, -EBUSY,
                       "another pppd-supervisor%s has its jobs in %s/%s: stop that one, or give "
                       "this one another cgroup with --cgroup PATH",
                       process, parent, name);
}

static int use_made(struct groups *groups, const char *parent, int fd, const char *name);

/*
 * A group with controllers for its children must hold no process itself, so we leave it for a
 * child. Where another supervisor was delegated the same, we make a group of our own there.
 */
static int use_delegated(struct groups *groups, const char *path, int fd, const char *name)
{
        _cleanup_close_ int own = -EBADF, base = -EBADF;
        pid_t holder;
        char *copy;
        int r;

        if (lock_base(groups, fd, &holder) < 0)
                return use_made(groups, path, fd, name);
        r = cgroup_make(fd, SUPERVISOR_GROUP, &own);
        if (r >= 0)
                r = cgroup_attach(own, getpid());
        if (r < 0)
                return say_why(groups, r, "cannot move into %s/" SUPERVISOR_GROUP ": %s", path,
                               strerror(-r));
        base = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (base < 0)
                return -errno;
        copy = strdup(path);
        return copy ? adopt_base(groups, copy, steal_fd(&base)) : -ENOMEM;
}

/* Makes @name below @parent, which is open as @fd. */
static int use_made(struct groups *groups, const char *parent, int fd, const char *name)
{
        _cleanup_close_ int base = -EBADF;
        struct stat st;
        pid_t holder;
        char *path;
        bool there;
        int r;

        there = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0;
        r = cgroup_make(fd, name, &base);
        if (r >= 0 && !there)
                cgroup_mark_made(base);
        if (r >= 0 && faccessat(base, "cgroup.procs", W_OK, AT_EACCESS) < 0)
                r = -errno;
        if (r < 0)
                return say_why(groups, r, "cannot make the cgroup %s%s%s: %s", parent,
                               streq(parent, "/") ? "" : "/", name, strerror(-r));
        if (lock_base(groups, base, &holder) < 0)
                return say_taken(groups, parent, name, holder);
        if (asprintf(&path, "%s/%s", parent, name) < 0)
                return -ENOMEM;
        /* Also when a predecessor made it that was killed; an instance's own name is ours in any
         * case. */
        groups->made = cgroup_is_marked_made(base) || !there || strncmp(name, "pppctl-", 7) == 0;
        return adopt_base(groups, path, steal_fd(&base));
}

/* systemd marks what it delegates; only a user's manager does not (252, 255), so there the unit
 * says it. */
static bool is_delegated(int fd)
{
        const char *said = getenv("PPPCTL_DELEGATED");

        return cgroup_is_delegated(fd) || (said && streq(said, "1"));
}

/* Where our own group ends with "supervisor", its parent may be what was delegated. */
static int use_delegated_parent(struct groups *groups, const char *path, const char *name,
                                bool *ret_used)
{
        _cleanup_free_ char *parent = strdup(path);
        _cleanup_close_ int fd = -EBADF;
        char *slash;

        *ret_used = false;
        if (!parent)
                return -ENOMEM;
        slash = strrchr(parent, '/');
        if (!slash || !streq(slash + 1, SUPERVISOR_GROUP))
                return 0;
        *slash = 0;
        fd = open_group(parent);
        if (fd < 0 || !is_delegated(fd))
                return 0;
        *ret_used = true;
        return use_delegated(groups, parent, fd, name);
}

static int use_own(struct groups *groups, const char *instance)
{
        _cleanup_free_ char *mount = NULL, *own = NULL, *path = NULL, *name = NULL;
        _cleanup_close_ int fd = -EBADF;
        bool used;
        int r;

        r = cgroup_locate(&mount, &own);
        if (r < 0)
                return say_why(
                        groups, r,
                        "cgroup v2 is not mounted here (%s): mount it with \"mount -t cgroup2 none "
                        "/sys/fs/cgroup/unified\", or boot with systemd.unified_cgroup_hierarchy=1",
                        strerror(-r));
        if (asprintf(&path, "%s%s", mount, streq(own, "/") ? "" : own) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        if (asprintf(&name, "pppctl-%s", instance) < 0) {
                name = NULL;
                return -ENOMEM;
        }
        r = use_delegated_parent(groups, path, name, &used);
        if (r < 0 || used)
                return r;
        fd = open_group(path);
        if (fd < 0)
                return say_why(groups, fd, "cannot open our own cgroup %s: %s", path,
                               strerror(-fd));
        if (is_delegated(fd))
                return use_delegated(groups, path, fd, name);
        return use_made(groups, path, fd, name);
}

static int use_given(struct groups *groups, const char *path)
{
        _cleanup_free_ char *parent = strdup(path);
        _cleanup_close_ int fd = -EBADF;
        struct statfs fs;
        char *slash;

        if (!parent)
                return -ENOMEM;
        slash = strrchr(parent, '/');
        if (path[0] != '/' || !slash || slash == parent || slash[1] == 0)
                return say_why(groups, -EINVAL,
                               "\"%s\" is not the absolute path of a cgroup, such as "
                               "/sys/fs/cgroup/pppctl",
                               path);
        *slash = 0;
        fd = open_group(parent);
        if (fd < 0)
                return say_why(groups, fd, "cannot open the cgroup %s: %s", parent, strerror(-fd));
        if (fstatfs(fd, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
                return say_why(groups, -ENOTSUP, "%s is not in a cgroup v2 file system", path);
        return use_made(groups, parent, fd, slash + 1);
}

int groups_init(struct groups *groups, const char *path, const char *instance)
{
        int r;

        *groups = (struct groups)GROUPS_NULL;
        if (path)
                return use_given(groups, path);
        r = use_own(groups, instance);
        if (r == -ENOMEM)
                return r;
        assert(r >= 0 || groups->why);
        return 0;
}

void groups_deinit(struct groups *groups)
{
        if (groups->made && groups->path && rmdir(groups->path) < 0 && errno != ENOENT)
                supervisor_log(errno == EBUSY ? LOG_INFO : LOG_WARNING,
                               "cannot remove the cgroup %s: %s", groups->path, strerror(errno));
        free(groups->path);
        free(groups->why);
        for (unsigned i = 0; i < GROUPS_CONTROLLERS; ++i)
                free(groups->missing[i].why);
        close_fd(groups->fd);
        close_fd(groups->lock_fd);
        *groups = (struct groups)GROUPS_NULL;
}

const char *groups_hint_gone(const struct groups *groups)
{
        return groups_exist(groups) && access(groups->path, F_OK) < 0
                       ? "the daemon's own cgroup is gone: start the daemon again"
                       : NULL;
}

const char *groups_kind(const struct groups *groups)
{
        if (!groups_exist(groups))
                return "none";
        return groups->controllers ? "v2" : "v2-without-controllers";
}

static int kill_all(int parent_fd, const char *name)
{
        struct child_group group;
        int r;

        r = child_group_open(parent_fd, name, &group);
        if (r < 0)
                return r;
        r = child_group_kill(&group);
        child_group_deinit(&group);
        return r;
}

static void sweep_one(struct groups *groups, const char *name)
{
        int r;

        r = cgroup_remove(groups->fd, name);
        if (r == -EBUSY) {
                supervisor_log(LOG_WARNING,
                               "killing what was left in %s/%s, a group of no job of ours",
                               groups->path, name);
                r = kill_all(groups->fd, name);
                if (r >= 0)
                        r = cgroup_remove(groups->fd, name);
        }
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot remove the cgroup %s/%s: %s", groups->path,
                               name, strerror(-r));
}

static bool is_left_over(const char *name, bool (*is_known)(void *userdata, uint64_t number),
                         void *userdata)
{
        uint64_t number;

        if (strncmp(name, DOCTOR_GROUP, strlen(DOCTOR_GROUP)) == 0)
                return true;
        return strncmp(name, "job-", 4) == 0 &&
               parse_u64(name + 4, strlen(name + 4), UINT64_MAX, &number) >= 0 &&
               !is_known(userdata, number);
}

void groups_sweep(struct groups *groups, bool (*is_known)(void *userdata, uint64_t number),
                  void *userdata)
{
        struct dirent **entries;
        int n;

        if (!groups_exist(groups))
                return;
        n = scandir(groups->path, &entries, NULL, NULL);
        for (int i = 0; i < n; ++i) {
                if (is_left_over(entries[i]->d_name, is_known, userdata))
                        sweep_one(groups, entries[i]->d_name);
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);
}
