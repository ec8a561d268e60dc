#include "daemon/supervisor/process-tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

struct tree {
        pid_t *pids;            /* parents before their children; owned */
        size_t n, size;
};

static void tree_deinit(struct tree *tree)
{
        free(tree->pids);
}

static int tree_add(struct tree *tree, pid_t pid)
{
        if (tree->n == tree->size) {
                size_t size = MAX(tree->size * 2, (size_t)16);
                pid_t *pids = reallocarray(tree->pids, size, sizeof(*pids));

                if (!pids)
                        return -ENOMEM;
                tree->pids = pids;
                tree->size = size;
        }
        tree->pids[tree->n++] = pid;
        return 0;
}

/* "12 13 ": the children of one thread. */
static int add_children_of_thread(struct tree *tree, int task_fd, const char *thread)
{
        _cleanup_free_ char *text = NULL, *path = NULL;
        int r;

        if (asprintf(&path, "%s/children", thread) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = read_file_at(task_fd, path, &text, NULL);
        /* The thread has ended, or the kernel was built without CONFIG_PROC_CHILDREN. */
        if (r == -ENOENT)
                return faccessat(task_fd, thread, F_OK, 0) < 0 ? 0 : -EOPNOTSUPP;
        if (r < 0)
                return r == -ESRCH ? 0 : r;
        for (const char *at = text; *at && r >= 0; at += strspn(at, " \n")) {
                size_t n = strspn(at, "0123456789");
                uint64_t pid;

                r = parse_u64(at, n, INT32_MAX, &pid);
                if (r >= 0)
                        r = tree_add(tree, (pid_t)pid);
                at += n;
        }
        return r;
}

static int add_children(struct tree *tree, pid_t pid)
{
        const struct dirent *entry;
        char path[32];
        DIR *threads;
        int r = 0;

        snprintf(path, sizeof(path), "/proc/%d/task", pid);
        threads = opendir(path);
        if (!threads)
                return errno == ENOENT || errno == ESRCH ? 0 : -errno;
        while (r >= 0 && (entry = readdir(threads)))
                if (entry->d_name[0] != '.')
                        r = add_children_of_thread(tree, dirfd(threads), entry->d_name);
        (void)closedir(threads);
        return r;
}

/* Fields 3 and 4 of /proc/PID/stat. The name in field 2 may hold anything: they follow its end. */
static int read_stat(pid_t pid, char *ret_state, pid_t *ret_parent)
{
        _cleanup_free_ char *text = NULL;
        const char *at;
        char path[32];
        int r;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        r = read_file_at(AT_FDCWD, path, &text, NULL);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;
        at = strrchr(text, ')');
        return at && sscanf(at, ") %c %d", ret_state, ret_parent) == 2 ? 0 : -EBADMSG;
}

static bool state_is_stopped(char state)
{
        return state == 'T' || state == 't';
}

bool process_is_stopped(pid_t pid)
{
        pid_t parent;
        char state;

        return read_stat(pid, &state, &parent) >= 0 && state_is_stopped(state);
}

/* What has ended and only waits to be reaped will not run again either. */
static bool state_is_still(char state)
{
        return state_is_stopped(state) || state == 'Z' || state == 'X';
}

/* Holds a child, and looks only then whether it is one: its number may have become another process's. */
static int open_child(pid_t pid, pid_t parent, char *ret_state)
{
        _cleanup_close_ int pidfd = pidfd_open(pid, 0);
        pid_t actual;
        int r;

        if (pidfd < 0)
                return -errno;
        r = read_stat(pid, ret_state, &actual);
        if (r < 0)
                return r;
        return actual == parent ? steal_fd(&pidfd) : -ESRCH;
}

static int send(int pidfd, int signal)
{
        return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

static int stop_root(pid_t root, int pidfd, bool *still)
{
        pid_t parent;
        char state;
        int r;

        r = read_stat(root, &state, &parent);
        if (r < 0 || state_is_still(state))
                return r;
        *still = false;
        return send(pidfd, SIGSTOP);
}

static int stop_child(pid_t pid, pid_t parent, bool *still)
{
        _cleanup_close_ int pidfd = -EBADF;
        char state;

        pidfd = open_child(pid, parent, &state);
        if (pidfd < 0)
                return pidfd;
        if (state_is_still(state))
                return 0;
        *still = false;
        return send(pidfd, SIGSTOP);
}

int process_tree_stop(pid_t root, int pidfd, bool *ret_still)
{
        _cleanup_(tree_deinit) struct tree tree = { NULL, 0, 0 };
        bool still = true;
        int r;

        /* Parents first: one that is stopped starts no further child. */
        r = stop_root(root, pidfd, &still);
        if (r >= 0)
                r = tree_add(&tree, root);
        for (size_t i = 0; i < tree.n && r >= 0; ++i) {
                size_t n = tree.n;

                r = add_children(&tree, tree.pids[i]);
                for (size_t k = n; k < tree.n && r >= 0; ++k) {
                        r = stop_child(tree.pids[k], tree.pids[i], &still);
                        if (r == -ESRCH)        /* it has just ended */
                                r = 0;
                }
        }
        if (r >= 0)
                *ret_still = still;
        return r;
}

/* All children of a tree that stands still are children yet, so they are not looked at once more. */
static int continue_child(pid_t pid)
{
        _cleanup_close_ int pidfd = pidfd_open(pid, 0);

        if (pidfd < 0)
                return errno == ESRCH ? 0 : -errno;
        return process_is_stopped(pid) ? send(pidfd, SIGCONT) : 0;
}

int process_tree_continue(pid_t root, int pidfd)
{
        _cleanup_(tree_deinit) struct tree tree = { NULL, 0, 0 };
        int r, error;

        r = tree_add(&tree, root);
        for (size_t i = 0; i < tree.n && r >= 0; ++i)
                r = add_children(&tree, tree.pids[i]);
        /* Whatever is wrong with one of them: as many as can are to go on. */
        for (size_t i = tree.n; i-- > 1;) {
                error = continue_child(tree.pids[i]);
                r = r < 0 ? r : error;
        }
        error = send(pidfd, SIGCONT);
        return r < 0 ? r : error;
}
