/*
 * fork() into a group: clone3(2) with CLONE_INTO_CGROUP (5.7) makes the child there, so that no
 * instruction and no page of it is charged elsewhere, nothing has to be moved, and there is no
 * moment in which a limit does not hold. CLONE_PIDFD (5.2) gives a descriptor that can't mean
 * another process.
 *
 * The C library has no wrapper for this, and does not know that it happened. Unlike after its own
 * fork():
 *
 *  - pthread_atfork() handlers do not run, and malloc's and stdio's locks are not held over the
 *    clone. In a process of one thread nobody can hold them. With more threads the child may find
 *    them locked for ever: there, only async-signal-safe functions and execve.
 *  - the thread id that glibc keeps in the thread's descriptor remains the parent's. getpid() and
 *    gettid() ask the kernel and are right; raise() and abort() too, since 2.34. Recursive and
 *    error-checking mutexes compare that id, which stays consistent within the process: no thread
 *    that the child makes can have the id of its living parent. But what the pthread_*() calls do
 *    to the child's *main* thread by its id hits the parent (pthread_setaffinity_np) or nothing
 *    (pthread_kill from another thread): use sched_setaffinity(0, …) and tgkill() there.
 *  - the robust list is not registered: no robust mutexes.
 *  - getrandom()-backed arc4random() needs no care; OpenSSL compares getpid().
 */

#include "lib/cgroup.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/*
 * Filters that can't look into clone3's argument make it fail with ENOSYS: systemd's
 * RestrictNamespaces=, and those of older container runtimes. clone does without the group; its
 * third argument takes the pidfd on every machine, the order of the first two differs.
 */
static pid_t fork_by_clone(int *pidfd)
{
#if defined(__s390__) || defined(__CRIS__)
        return (pid_t)syscall(SYS_clone, 0, CLONE_PIDFD | SIGCHLD, pidfd, 0, 0);
#else
        return (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, pidfd, 0, 0);
#endif
}

/* In the child: moves it, and tells the parent how that went. Only async-signal-safe calls. */
static void child_move(int procs_fd, int answer_fd)
{
        int error = write(procs_fd, "0", 1) < 0 ? -errno : 0;

        if (write(answer_fd, &error, sizeof(error)) != sizeof(error) || error < 0)
                _exit(EXIT_FAILURE);
}

/* A child that did not get there is gone when this returns. */
static int hear_child(int answer_fd, int pidfd)
{
        int error;
        ssize_t n;

        n = read_all(answer_fd, &error, sizeof(error));
        if (n != sizeof(error))
                error = n < 0 ? (int)n : -EIO;
        if (error >= 0)
                return 0;
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        while (syscall(SYS_waitid, P_PIDFD, pidfd, NULL, WEXITED, NULL) < 0 && errno == EINTR)
                ;
        return error;
}

/* -ENOSYS where a filter forbids it. */
static pid_t fork_by_clone3(int cgroup_fd, int *pidfd)
{
        struct clone_args args = {
                .flags = CLONE_PIDFD,
                .pidfd = (uint64_t)(uintptr_t)pidfd,
                .exit_signal = SIGCHLD,
        };
        pid_t pid;

        if (cgroup_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)cgroup_fd;
        }
        pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        return pid < 0 ? -errno : pid;
}

/*
 * The second best: the child is made where the parent is. If there is a group, the child moves
 * there by writing "0" to *@procs_fd.
 */
static pid_t fork_unmoved(int cgroup_fd, int *pidfd, int *procs_fd)
{
        pid_t pid;

        if (cgroup_fd >= 0) {
                *procs_fd = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
                if (*procs_fd < 0)
                        return -errno;
        }
        pid = fork_by_clone(pidfd);
        if (pid < 0)
                pid = -errno;
        if (pid != 0)
                *procs_fd = close_fd(*procs_fd);
        return pid;
}

/*
 * The child moves itself before this returns in either. That takes the kernel about 12 ms when it
 * has not moved a process just before (it waits for RCU), else 0.2 ms.
 */
static pid_t fork_and_move(int cgroup_fd, int *ret_pidfd)
{
        _cleanup_close_ int procs_fd = -EBADF, read_fd = -EBADF, write_fd = -EBADF;
        int ends[2], pidfd = -EBADF, r;
        pid_t pid;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        read_fd = ends[0];
        write_fd = ends[1];
        pid = fork_unmoved(cgroup_fd, &pidfd, &procs_fd);
        if (pid == 0)
                child_move(procs_fd, write_fd);
        if (pid <= 0)
                return pid;
        write_fd = close_fd(write_fd);
        r = hear_child(read_fd, pidfd);
        if (r < 0) {
                close_fd(pidfd);
                return r;
        }
        *ret_pidfd = pidfd;
        return pid;
}

/* Without space for its argument the call fails in a way that only a filter causes otherwise. */
bool cgroup_clone3_is_forbidden(void)
{
        return syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS;
}

/* Only the parent has the descriptor; the child's table was copied before it was made. */
static pid_t hand_out(pid_t pid, int pidfd, int *ret_pidfd)
{
        if (pid > 0)
                *ret_pidfd = pidfd;
        return pid;
}

pid_t cgroup_fork(int cgroup_fd, int *ret_pidfd)
{
        int pidfd = -EBADF, none = -EBADF;
        pid_t pid = fork_by_clone3(cgroup_fd, &pidfd);

        if (pid == -ENOSYS && cgroup_fd >= 0)
                return fork_and_move(cgroup_fd, ret_pidfd);
        if (pid == -ENOSYS)
                pid = fork_unmoved(-EBADF, &pidfd, &none);
        return hand_out(pid, pidfd, ret_pidfd);
}

pid_t cgroup_fork_unmoved(int cgroup_fd, int *ret_pidfd, int *ret_procs_fd)
{
        int pidfd = -EBADF;
        pid_t pid = fork_by_clone3(cgroup_fd, &pidfd);

        *ret_procs_fd = -EBADF;
        if (pid == -ENOSYS)
                pid = fork_unmoved(cgroup_fd, &pidfd, ret_procs_fd);
        return hand_out(pid, pidfd, ret_pidfd);
}
