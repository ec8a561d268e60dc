/*
 * Kills all processes in a group and below. Where there is no cgroup.kill (before Linux 5.14) each
 * process gets a SIGKILL, as systemd does it there: the lists are read again until they show no new
 * process, since a process may have forked before its signal came. Meanwhile the group is frozen,
 * so that no process can keep forking.
 */

#include "lib/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <signal.h>

/* Where a group cannot be frozen, a process may fork faster than we read: so the attempts are
 * limited. */
#define PASSES_MAX 100

static int compare_pids(const void *a, const void *b)
{
        return a < b ? -1 : a > b;
}

static void forget_pid(void *pid)
{
        /* The pointer is the number itself. */
}

/* 1 if @pid was not there, and now is. */
static int remember(void **pids, uint64_t pid)
{
        const void *key = (const void *)(uintptr_t)pid;

        if (tfind(key, pids, compare_pids))
                return 0;
        return tsearch(key, pids, compare_pids) ? 1 : -ENOMEM;
}

static int kill_one(uint64_t pid, void **pids)
{
        /*
         * Processes of other PID namespaces are listed as 0, which kill(2) would take for our own
         * process group.
         */
        if (pid == 0)
                return 0;
        if (kill((pid_t)pid, SIGKILL) < 0 && errno != ESRCH)
                return -errno;
        return remember(pids, pid);
}

/* How many processes were new. A threaded group has no list: its processes are in that of its
 * domain. */
static int kill_listed(int fd, void **pids)
{
        _cleanup_free_ char *text = NULL;
        int n_new = 0, error = 0, r;

        r = read_file_at(fd, "cgroup.procs", &text, NULL);
        if (r < 0)
                return r == -EOPNOTSUPP || r == -ENOENT || r == -ENODEV ? 0 : r;
        for (char *line = text, *end; *line; line = *end ? end + 1 : end) {
                uint64_t pid;

                end = strchrnul(line, '\n');
                r = parse_u64(line, (size_t)(end - line), INT_MAX, &pid);
                r = r < 0 ? -EBADMSG : kill_one(pid, pids);
                if (r < 0)
                        error = error ?: r;
                else
                        n_new += r;
        }
        return error < 0 ? error : n_new;
}

static int kill_below(int fd, void **pids);

static int kill_child(int fd, const char *name, void **pids)
{
        _cleanup_close_ int child_fd =
                openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (child_fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return kill_below(child_fd, pids);
}

/* The first error is returned after all others were tried. */
static int kill_children(int fd, void **pids)
{
        struct dirent **entries;
        int n_new = 0, error = 0, n;

        n = scandirat(fd, ".", &entries, NULL, NULL);
        if (n < 0)
                return errno == ENOENT || errno == ENODEV ? 0 : -errno;
        for (int i = 0; i < n; ++i) {
                const char *name = entries[i]->d_name;
                int r = 0;

                /* kernfs always tells the type. */
                if (entries[i]->d_type == DT_DIR && !streq(name, ".") && !streq(name, ".."))
                        r = kill_child(fd, name, pids);
                free(entries[i]);
                if (r < 0)
                        error = error ?: r;
                else
                        n_new += r;
        }
        free(entries);
        return error < 0 ? error : n_new;
}

static int kill_below(int fd, void **pids)
{
        int here = kill_listed(fd, pids), below = kill_children(fd, pids);

        if (here < 0)
                return here;
        return below < 0 ? below : here + below;
}

int cgroup_kill_each(int fd)
{
        uint64_t frozen = 1;
        void *pids = NULL;
        int r = 1;

        /* Best effort: cgroup.freeze came with 5.2. A frozen group stays frozen, as with
         * cgroup.kill. */
        if (cgroup_read_u64(fd, "cgroup.freeze", &frozen) < 0 ||
            (frozen == 0 && cgroup_freeze(fd, true) < 0))
                frozen = 1;
        for (unsigned i = 0; i < PASSES_MAX && r > 0; ++i)
                r = kill_below(fd, &pids);
        if (frozen == 0)
                (void)cgroup_freeze(fd, false);
        tdestroy(pids, forget_pid);
        return r > 0 ? -EAGAIN : r;
}

int cgroup_kill(int fd)
{
        int r = cgroup_write(fd, "cgroup.kill", "1");

        return r == -ENOENT ? cgroup_kill_each(fd) : r;
}
