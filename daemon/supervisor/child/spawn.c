#include "daemon/supervisor/child/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "daemon/supervisor/child/oom-score.h"
#include "lib/cgroup.h"
#include "lib/priority.h"

enum step {
        STEP_SIGNALS,
        STEP_PARENT,
        STEP_GROUP,
        STEP_DESCRIPTORS,
        STEP_OOM_SCORE,
        STEP_NICE,
        STEP_EXEC,
        _STEP_N
};

static const char *const step_names[_STEP_N] = {
        [STEP_SIGNALS] = "reset the signals for",
        [STEP_PARENT] = "tie the supervisor's end to",
        [STEP_GROUP] = "move a process into the cgroup of",
        [STEP_DESCRIPTORS] = "set up the descriptors of",
        [STEP_OOM_SCORE] = "take the protection from the OOM killer from",
        [STEP_NICE] = "set the nice value of",
        [STEP_EXEC] = "execute",
};

/* The child says this on the pipe when it cannot become the program. */
struct complaint {
        int error;
        enum step step;
};

/* From here to exec, only async-signal-safe calls. */

static int child_reset_signals(void)
{
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;

        /*
         * Handlers do not outlive the exec. Of all signals the supervisor ignores these (main.c).
         */
        if (sigaction(SIGPIPE, &action, NULL) < 0 || sigaction(SIGXFSZ, &action, NULL) < 0)
                return -errno;
        sigemptyset(&none);
        return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

/*
 * Before it is in its group, nobody but this supervisor knows of it. It may be stopped: SIGTERM is
 * not enough.
 */
static int child_tie(pid_t parent)
{
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        return getppid() == parent ? 0 : -ESRCH;
}

static int child_move(const struct spawn *spawn, int procs_fd)
{
        if (procs_fd >= 0 && write(procs_fd, "0", 1) < 0)
                return -errno;
        return prctl(PR_SET_PDEATHSIG, spawn->die_with_parent ? SIGTERM : 0) < 0 ? -errno : 0;
}

/* All sources are above the targets (see raise_fds()), so none is overwritten before its turn. */
static int child_place_fds(const struct spawn *spawn, const int *sources)
{
        if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
                return -errno;
        for (size_t i = 0; i < spawn->n_fds; ++i)
                if (dup2(sources[i], (int)i) < 0)
                        return -errno;
        return 0;
}

/* Without zeros in front: the other side would read the number as octal. */
static void child_write_pid(char *digits)
{
        pid_t pid = getpid();
        size_t n = 1;

        for (pid_t rest = pid; rest >= 10; rest /= 10)
                ++n;
        digits[n] = 0;
        for (; n > 0; pid /= 10)
                digits[--n] = (char)('0' + pid % 10);
}

/* Each descriptor is the child's own copy. */
struct ends {
        const int *sources;
        int procs_fd, complaint_fd;
};

static int child_take(const struct spawn *spawn, const struct ends *ends, pid_t parent,
                      enum step step)
{
        switch (step) {
        case STEP_SIGNALS:
                return child_reset_signals();
        case STEP_PARENT:
                return child_tie(parent);
        case STEP_GROUP:
                return child_move(spawn, ends->procs_fd);
        case STEP_DESCRIPTORS:
                return child_place_fds(spawn, ends->sources);
        case STEP_OOM_SCORE:
                return oom_score_reset();
        case STEP_NICE:
                return spawn->has_nice ? priority_set(spawn->nice) : 0;
        case STEP_EXEC:
        case _STEP_N:
                break;
        }
        if (spawn->listen_pid)
                child_write_pid(spawn->listen_pid);
        execve(spawn->path, spawn->argv, spawn->envp);
        return -errno;
}

_Noreturn static void child_run(const struct spawn *spawn, const struct ends *ends, pid_t parent)
{
        struct complaint complaint = { 0, STEP_SIGNALS };

        (void)setsid();
        for (enum step step = STEP_SIGNALS; step < _STEP_N && complaint.error >= 0; ++step) {
                complaint.step = step;
                complaint.error = child_take(spawn, ends, parent, step);
        }
        (void)!write(ends->complaint_fd, &complaint, sizeof(complaint));
        _exit(127);
}

/* Duplicates above all targets, close-on-exec. */
static int raise_fds(const struct spawn *spawn, int *ret)
{
        for (size_t i = 0; i < spawn->n_fds; ++i) {
                ret[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
                if (ret[i] < 0)
                        return -errno;
        }
        return 0;
}

static int fork_child(const struct spawn *spawn, const int *sources, struct spawned *ret,
                      const char **ret_attempted)
{
        _cleanup_close_ int read_fd = -EBADF, write_fd = -EBADF;
        struct ends ends = { .sources = sources };
        pid_t parent = getpid(), pid;
        int pipe_fds[2], pidfd;

        if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        read_fd = pipe_fds[0];
        write_fd = fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
        close_fd(pipe_fds[1]);
        if (write_fd < 0)
                return -errno;
        ends.complaint_fd = write_fd;
        *ret_attempted =
                spawn->cgroup_fd < 0 ? "make a process for" : "make a process in the cgroup of";
        pid = cgroup_fork_unmoved(spawn->cgroup_fd, &pidfd, &ends.procs_fd);
        if (pid == 0)
                child_run(spawn, &ends, parent);
        if (pid < 0)
                return pid;
        *ret = (struct spawned){ .pid = pid, .pidfd = pidfd, .complaint_fd = steal_fd(&read_fd) };
        return 0;
}

int spawn_child(const struct spawn *spawn, struct spawned *ret, const char **ret_attempted)
{
        int sources[SPAWN_FDS_MAX];
        int r;

        assert(spawn->n_fds <= SPAWN_FDS_MAX);
        for (size_t i = 0; i < SPAWN_FDS_MAX; ++i)
                sources[i] = -EBADF;
        /* The child would find out as well, but only later. */
        *ret_attempted = step_names[STEP_EXEC];
        if (faccessat(AT_FDCWD, spawn->path, X_OK, AT_EACCESS) < 0)
                return -errno;
        *ret_attempted = step_names[STEP_DESCRIPTORS];
        r = raise_fds(spawn, sources);
        if (r >= 0)
                r = fork_child(spawn, sources, ret, ret_attempted);
        for (size_t i = 0; i < SPAWN_FDS_MAX; ++i)
                close_fd(sources[i]);
        return r;
}

int spawn_hear(int complaint_fd_consumed, const char **ret_attempted)
{
        struct complaint complaint;
        ssize_t n;

        if (complaint_fd_consumed < 0)
                return 0;
        n = read(complaint_fd_consumed, &complaint, sizeof(complaint));
        close_fd(complaint_fd_consumed);
        if (n != sizeof(complaint) || complaint.step >= _STEP_N || complaint.error >= 0)
                return 0;
        *ret_attempted = step_names[complaint.step];
        return complaint.error;
}

static bool is_ours(const char *variable)
{
        static const char *const names[] = {
                "NOTIFY_SOCKET=",     "LISTEN_PID=",      "LISTEN_FDS=",     "LISTEN_FDNAMES=",
                "WATCHDOG_USEC=",     "WATCHDOG_PID=",    "JOURNAL_STREAM=", "INVOCATION_ID=",
                "RUNTIME_DIRECTORY=", "STATE_DIRECTORY=", "MAINPID=",        "MANAGERPID=",
                "SYSTEMD_EXEC_PID=",  "FDSTORE=",
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); ++i)
                if (strncmp(variable, names[i], strlen(names[i])) == 0)
                        return true;
        return false;
}

char **environment_for_child(const char *const *extra)
{
        size_t n = 1, k = 0, bytes = 0;
        char **list, *text;

        for (char **e = environ; e && *e; ++e, ++n)
                bytes += strlen(*e) + 1;
        for (const char *const *e = extra; e && *e; ++e, ++n)
                bytes += strlen(*e) + 1;
        list = malloc(n * sizeof(*list) + bytes);
        if (!list)
                return NULL;
        text = (char *)(list + n);
        for (char **e = environ; e && *e; ++e)
                if (!is_ours(*e)) {
                        list[k++] = text;
                        text = stpcpy(text, *e) + 1;
                }
        for (const char *const *e = extra; e && *e; ++e) {
                list[k++] = text;
                text = stpcpy(text, *e) + 1;
        }
        list[k] = NULL;
        return list;
}
