#include "daemon/runner/exec/spawn.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/cgroup-vfork.h"
#include "lib/cgroup.h"

/*
 * The functions below run in the child of a process with threads: they make only async-signal-safe
 * calls.
 */

/* A signal that is ignored, or blocked, would stay so in the program. */
static void reset_signals(void)
{
        const struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;

        for (int signal = 1; signal < NSIG; ++signal)
                (void)sigaction(signal, &action, NULL);
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int place_fds(const struct command_spawn *spawn)
{
        if (dup2(spawn->in_fd, STDIN_FILENO) < 0 || dup2(spawn->out_fd, STDOUT_FILENO) < 0 ||
            dup2(spawn->err_fd, STDERR_FILENO) < 0)
                return -errno;
        /* All of ours close at execve(2); this is for what a library may have left open (5.11). */
        (void)syscall(SYS_close_range, STDERR_FILENO + 1, UINT_MAX, 4U /* CLOSE_RANGE_CLOEXEC */);
        return 0;
}

/* Tries the directories as execvp(3) does, but gives no file without #! to a shell. */
static int run_program(const struct command_spawn *spawn)
{
        const char *name = spawn->arguments[0];
        char path[PATH_MAX];
        int error = ENOENT;

        if (strchr(name, '/')) {
                execve(name, spawn->arguments, spawn->environment);
                return errno;
        }
        for (const char *const *directory = spawn->directories; *directory; ++directory) {
                size_t n = strlen(*directory), n_name = strlen(name);

                if (n + n_name + 2 > sizeof(path))
                        continue;
                memcpy(path, *directory, n);
                path[n] = '/';
                memcpy(path + n + 1, name, n_name + 1);
                execve(path, spawn->arguments, spawn->environment);
                if (errno == EACCES)
                        error = EACCES;
                else if (errno != ENOENT && errno != ENOTDIR)
                        return errno;
        }
        return error;
}

/* Returns the errno for spawn->error. */
static int become(const struct command_spawn *spawn, pid_t parent, int procs_fd)
{
        int r;

        (void)setsid();
        /* If the parent is gone already, no signal would come. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                return ECHILD;
        if (procs_fd >= 0 && write(procs_fd, "0", 1) < 0)
                return errno;
        r = place_fds(spawn);
        if (r < 0)
                return -r;
        if (chdir(spawn->directory ?: "/") < 0)
                return -errno;
        if (spawn->has_umask)
                (void)umask(spawn->umask);
        (void)setrlimit(RLIMIT_NOFILE, &spawn->files);
        reset_signals();
        return run_program(spawn);
}

struct child {
        const struct command_spawn *spawn;
        pid_t parent;
        int procs_fd;
};

static void run_child(void *userdata)
{
        const struct child *child = userdata;

        *child->spawn->error = become(child->spawn, child->parent, child->procs_fd);
        /* Not _exit(3), to which a sanitizer adds locks that a thread may have held. */
        (void)syscall(SYS_exit_group, COMMAND_NOT_STARTED);
}

pid_t command_spawn(const struct command_spawn *spawn, int *ret_pidfd)
{
        struct child child = { spawn, getpid(), -EBADF };
        pid_t pid = -ENOSYS;
        sigset_t all, before;

        /* Until it has reset them, the child has our handlers, which would cancel the job. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (!spawn->is_limited)
                pid = cgroup_vfork(spawn->group_fd, ret_pidfd, run_child, &child);
        if (pid == -ENOSYS)
                pid = cgroup_fork_unmoved(spawn->group_fd, ret_pidfd, &child.procs_fd);
        if (pid == 0)
                run_child(&child);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return pid;
}
