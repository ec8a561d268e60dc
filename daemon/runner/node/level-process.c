#include "daemon/runner/node/level-process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/runner/levels/levels.h"
#include "daemon/runner/worker-group.h"
#include "lib/cgroup.h"

#define FRUITLESS_MAX 5

static __attribute__((noreturn)) void level_main(struct level_process *level, pid_t parent)
{
        struct runner *runner = level->runner;
        int r;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);
        /* Its parent hears of SIGTERM and closes the feed. */
        signal(SIGTERM, SIG_IGN);
        level->born(level);
        /* At the level processes its workers do that, and one of them is enough. */
        if (!level_has(runner->spec.level, LEVEL_WORKER_GROUPS))
                worker_prefer_for_oom();
        runner->measures = json_object();
        runner->unavailable = json_array();
        r = level_run_of(runner->spec.level)(runner);
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static uint64_t tasks_ended(const struct level_process *level)
{
        return __atomic_load_n(&level->feed->header.n_done, __ATOMIC_RELAXED) +
               __atomic_load_n(&level->feed->header.n_failed, __ATOMIC_RELAXED);
}

static uint64_t oom_kills(const struct level_process *level)
{
        int fd = level->runner->cgroup_fd;
        uint64_t n;

        return fd >= 0 && cgroup_read_keyed(fd, "memory.events", "oom_kill", &n) >= 0 ? n : 0;
}

int level_process_start(struct level_process *level)
{
        pid_t parent = getpid(), pid;
        int ends[2];

        feed_restart(level->feed);
        level->n_ended = tasks_ended(level);
        level->n_oom_kills = oom_kills(level);
        if (pipe2(ends, O_CLOEXEC) < 0) {
                log_error("cannot start the level's process: %m");
                return -errno;
        }
        pid = fork();
        if (pid == 0)
                level_main(level, parent);
        close(ends[1]);
        level->lives_fd = ends[0];
        if (pid < 0) {
                log_error("cannot start the level's process: %m");
                return -errno;
        }
        level->pid = pid;
        level->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (level->pidfd < 0) {
                log_error("cannot watch the level's process: %m");
                return -errno;
        }
        return 0;
}

int level_process_reap(struct level_process *level, struct ppp_record *ret_death)
{
        siginfo_t *info = &level->end;
        bool exited;

        *info = (siginfo_t){};
        if (waitid(P_PIDFD, (id_t)level->pidfd, info, WEXITED) < 0)
                return -errno;
        level->pidfd = close_fd(level->pidfd);
        level->lives_fd = close_fd(level->lives_fd);
        worker_groups_sweep(level->runner);
        exited = info->si_code == CLD_EXITED;
        *ret_death = (struct ppp_record){
                .end_ns = now_monotonic(),
                .detail = info->si_status,
                .reason = exited ? PPP_REASON_EXIT : PPP_REASON_SIGNAL,
                .state = PPP_STATE_FAILED,
        };
        if (!exited && info->si_status == SIGKILL && oom_kills(level) > level->n_oom_kills)
                ret_death->reason = PPP_REASON_OOM_KILLED;
        return 0;
}

int level_process_restart(struct level_process *level)
{
        bool exited = level->end.si_code == CLD_EXITED;
        int status = level->end.si_status;

        level->n_fruitless = tasks_ended(level) == level->n_ended ? level->n_fruitless + 1 : 0;
        /* A process that exited before it did anything has said itself why it cannot run. */
        if (level->n_fruitless >= (exited ? 1 : FRUITLESS_MAX)) {
                log_error("cannot serve as a node: the level %s does not run here",
                          level_name(level->runner->spec.level));
                return -ECHILD;
        }
        if (exited)
                log_error("the level's process left with status %d; what was in progress has "
                          "failed, and it is started again",
                          status);
        else
                log_error("the level's process was ended by signal %d (%s); what was in progress "
                          "has failed, and it is started again",
                          status, sigdescr_np(status) ?: "unknown");
        return level_process_start(level);
}
