#include "daemon/runner/worker-process.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cgroup.h"

pid_t worker_fork(int cgroup_fd, int *ret_pidfd)
{
        pid_t parent = getpid(), pid;
        sigset_t sigterm, before;

        /* The child must not hear of a SIGTERM while it still has the runner's handler. */
        sigemptyset(&sigterm);
        sigaddset(&sigterm, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &sigterm, &before);
        pid = cgroup_fork(cgroup_fd, ret_pidfd);
        if (pid == 0) {
                /*
                 * The worker dies with its parent; if that is gone already, no signal would come.
                 */
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                /* The handler would cancel the job: SIGTERM to a worker is that worker's affair. */
                signal(SIGTERM, SIG_DFL);
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return pid;
}

void worker_kill(int pidfd)
{
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

/*
 * waitid(2) with the resource usage, which the system call provides and glibc's wrapper does not.
 */
int worker_reap(struct runner *runner, int pidfd, siginfo_t *ret_info, struct rusage *ret_usage)
{
        while (syscall(SYS_waitid, P_PIDFD, pidfd, ret_info, WEXITED, ret_usage) < 0)
                if (errno != EINTR)
                        return -errno;
        job_lock_bury(&runner->lock, ret_info->si_pid);
        return 0;
}

struct worker_death worker_death_of(const siginfo_t *info, const struct worker_group *group,
                                    struct oom_watch *oom, const struct runner *runner)
{
        if (info->si_code == CLD_EXITED)
                return (struct worker_death){ PPP_REASON_EXIT, info->si_status };
        if (info->si_status == SIGKILL && worker_group_oom_killed(group))
                return (struct worker_death){ PPP_REASON_OOM_KILLED,
                                              (int32_t)oom_watch_blame(oom, runner->cgroup_fd,
                                                                       group->fd) };
        return (struct worker_death){ PPP_REASON_SIGNAL, info->si_status };
}
