#include "daemon/supervisor/child/process-tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

void process_tree_deinit(struct process_tree *tree)
{
        free(tree->list);
        *tree = (struct process_tree)PROCESS_TREE_NULL;
}

static int add(struct process_tree *tree, pid_t pid, pid_t parent)
{
        if (tree->n == tree->size) {
                size_t size = MAX(tree->size * 2, (size_t)16);
                struct process *list = reallocarray(tree->list, size, sizeof(*list));

                if (!list)
                        return -ENOMEM;
                tree->list = list;
                tree->size = size;
        }
        tree->list[tree->n++] = (struct process){ pid, parent };
        return 0;
}

/* "12 13 ": the children of one thread. */
static int add_children_of_thread(struct process_tree *tree, pid_t parent, int task_fd,
                                  const char *thread)
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
                        r = add(tree, (pid_t)pid, parent);
                at += n;
        }
        return r;
}

static int add_children(struct process_tree *tree, pid_t pid)
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
                        r = add_children_of_thread(tree, pid, dirfd(threads), entry->d_name);
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

/* A process that a debugger holds (t) is not stopped: it goes on when the debugger lets it. */
bool process_is_stopped(pid_t pid)
{
        pid_t parent;
        char state;

        return read_stat(pid, &state, &parent) >= 0 && state == 'T';
}

/* The process was told to stop, also while a debugger has it, or has ended and only waits to be
 * reaped. */
static bool state_is_still(char state)
{
        return strchr("TtZX", state);
}

/*
 * Holds a child, and looks only then whether it is one: its number may have become another
 * process's.
 */
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

static int stop_root(struct process_tree *tree, pid_t root, int pidfd)
{
        pid_t parent;
        char state;
        int r;

        r = read_stat(root, &state, &parent);
        if (r < 0)
                return r;
        if (!state_is_still(state)) {
                tree->still = false;
                r = send(pidfd, SIGSTOP);
        }
        return r < 0 ? r : add(tree, root, parent);
}

static int stop_child(struct process_tree *tree, const struct process *child)
{
        _cleanup_close_ int pidfd = -EBADF;
        char state;

        pidfd = open_child(child->pid, child->parent, &state);
        if (pidfd < 0)
                return pidfd == -ESRCH ? 0 : pidfd; /* it has just ended */
        if (state_is_still(state))
                return 0;
        tree->still = false;
        return send(pidfd, SIGSTOP);
}

/* Parents first: one that is stopped starts no further child. */
static int step(struct process_tree *tree, pid_t root, int pidfd)
{
        int r;

        if (tree->n == 0) {
                tree->still = true;
                r = stop_root(tree, root, pidfd);
                tree->n_stopped = 1;
                tree->n_expanded = 0;
        } else if (tree->n_stopped < tree->n) {
                r = stop_child(tree, &tree->list[tree->n_stopped++]);
        } else {
                r = add_children(tree, tree->list[tree->n_expanded++].pid);
        }
        return r;
}

int process_tree_stop(struct process_tree *tree, pid_t root, int pidfd, uint64_t budget_ns)
{
        uint64_t began_ns = now_monotonic();
        int r;

        do {
                r = step(tree, root, pidfd);
                if (r >= 0 && (tree->n_stopped < tree->n || tree->n_expanded < tree->n))
                        continue;
                /* The end of a pass; the next call begins another one. */
                tree->n = 0;
                return r < 0 ? r : !tree->still;
        } while (now_monotonic() - began_ns < budget_ns);
        return 1;
}

/*
 * A parent that is stopped reaps no child, so that their numbers stay theirs. One that has ended
 * takes no signal.
 */
int process_tree_continue(pid_t root, int pidfd)
{
        _cleanup_(process_tree_deinit) struct process_tree tree = PROCESS_TREE_NULL;
        int r, error;

        r = add(&tree, root, 0);
        for (size_t i = 0; i < tree.n && r >= 0; ++i)
                r = add_children(&tree, tree.list[i].pid);
        /* Whatever is wrong with one of them: as many as can are to go on. */
        for (size_t i = tree.n; i-- > 1;)
                if (kill(tree.list[i].pid, SIGCONT) < 0 && errno != ESRCH)
                        r = r < 0 ? r : -errno;
        error = send(pidfd, SIGCONT);
        return r < 0 ? r : error;
}
