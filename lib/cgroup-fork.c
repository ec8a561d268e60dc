/*
 * fork() into a group: clone3(2) with CLONE_INTO_CGROUP (5.7) makes the child there, so that not
 * one instruction or page of it is accounted elsewhere, nothing has to be moved, and there is no
 * moment in which a limit does not hold. CLONE_PIDFD (5.2) gives a descriptor that can't mean
 * another process.
 *
 * The C library has no wrapper for this, and does not know it happened. Unlike after its own
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

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>

/*
 * Container runtimes make clone3 fail with ENOSYS because their filters can't look into its
 * argument. clone does without the group; its third argument takes the pidfd on every machine, the
 * order of the first two differs.
 */
static pid_t fork_by_clone(int *pidfd)
{
#if defined(__s390__) || defined(__CRIS__)
        return (pid_t)syscall(SYS_clone, 0, CLONE_PIDFD | SIGCHLD, pidfd, 0, 0);
#else
        return (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, pidfd, 0, 0);
#endif
}

pid_t cgroup_fork(int cgroup_fd, int *ret_pidfd)
{
        int pidfd = -EBADF;
        struct clone_args args = {
                .flags = CLONE_PIDFD,
                .pidfd = (uint64_t)(uintptr_t)&pidfd,
                .exit_signal = SIGCHLD,
        };
        pid_t pid;

        if (cgroup_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)cgroup_fd;
        }
        pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        if (pid < 0 && errno == ENOSYS && cgroup_fd < 0)
                pid = fork_by_clone(&pidfd);
        if (pid < 0)
                return -errno;
        /* The descriptor is the parent's alone; the child's table was copied before it was made. */
        if (pid > 0)
                *ret_pidfd = pidfd;
        return pid;
}
