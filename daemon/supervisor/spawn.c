#include "daemon/supervisor/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/priority.h"
#include "lib/cgroup.h"

enum step { STEP_SIGNALS, STEP_PARENT, STEP_DESCRIPTORS, STEP_NICE, STEP_EXEC, _STEP_N };

static const char *const step_names[_STEP_N] = {
        [STEP_SIGNALS] = "reset the signals for",
        [STEP_PARENT] = "tie the supervisor's end to",
        [STEP_DESCRIPTORS] = "set up the descriptors of",
        [STEP_NICE] = "set the nice value of",
        [STEP_EXEC] = "execute",
};

/* What the child says on the pipe when it cannot become the program. */
struct complaint {
        int error;
        enum step step;
};

/* From here to exec, only async-signal-safe calls. */

static int child_reset_signals(void)
{
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;

        /* Handlers do not outlive the exec. Of all signals the supervisor ignores these (main.c). */
        if (sigaction(SIGPIPE, &action, NULL) < 0 || sigaction(SIGXFSZ, &action, NULL) < 0)
                return -errno;
        sigemptyset(&none);
        return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

static int child_tie(const struct spawn *spawn, pid_t parent)
{
        if (!spawn->die_with_parent)
                return 0;
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                return -errno;
        return getppid() == parent ? 0 : -ESRCH;
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

_Noreturn static void child_run(const struct spawn *spawn, const int *sources, int error_fd, pid_t parent)
{
        struct complaint complaint = { 0, STEP_SIGNALS };

        complaint.error = child_reset_signals();
        if (complaint.error >= 0) {
                complaint.step = STEP_PARENT;
                complaint.error = child_tie(spawn, parent);
        }
        if (complaint.error >= 0) {
                complaint.step = STEP_DESCRIPTORS;
                complaint.error = child_place_fds(spawn, sources);
        }
        if (complaint.error >= 0) {
                (void)setsid();
                complaint.step = STEP_NICE;
                complaint.error = spawn->has_nice ? priority_set(spawn->nice) : 0;
        }
        if (complaint.error >= 0) {
                if (spawn->listen_pid)
                        child_write_pid(spawn->listen_pid);
                complaint.step = STEP_EXEC;
                execve(spawn->path, spawn->argv, spawn->envp);
                complaint.error = -errno;
        }
        (void)!write(error_fd, &complaint, sizeof(complaint));
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

/* Waits for the exec, or for the complaint. A child that complained is reaped here. */
static int hear_child(int error_fd, int pidfd, const char **ret_attempted)
{
        struct complaint complaint;
        ssize_t n;

        n = read_all(error_fd, &complaint, sizeof(complaint));
        if (n == 0)
                return 0;
        (void)syscall(SYS_waitid, P_PIDFD, pidfd, NULL, WEXITED, NULL);
        if (n != sizeof(complaint) || complaint.step >= _STEP_N || complaint.error >= 0)
                return n < 0 ? (int)n : -EIO;
        *ret_attempted = step_names[complaint.step];
        return complaint.error;
}

static int fork_and_hear(const struct spawn *spawn, const int *sources, pid_t *ret_pid,
                         int *ret_pidfd, const char **ret_attempted)
{
        _cleanup_close_ int read_fd = -EBADF, write_fd = -EBADF, pidfd = -EBADF;
        pid_t parent = getpid(), pid;
        int ends[2], r;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        read_fd = ends[0];
        write_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
        close_fd(ends[1]);
        if (write_fd < 0)
                return -errno;
        *ret_attempted = spawn->cgroup_fd < 0 ? "make a process for" : "make a process in the cgroup of";
        pid = cgroup_fork(spawn->cgroup_fd, &pidfd);
        if (pid == 0)
                child_run(spawn, sources, write_fd, parent);
        if (pid < 0)
                return pid;
        write_fd = close_fd(write_fd);
        r = hear_child(read_fd, pidfd, ret_attempted);
        if (r < 0)
                return r;
        *ret_pid = pid;
        *ret_pidfd = steal_fd(&pidfd);
        return 0;
}

int spawn_child(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd,
                const char **ret_attempted)
{
        int sources[SPAWN_FDS_MAX] = { -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF };
        int r;

        assert(spawn->n_fds <= SPAWN_FDS_MAX);
        *ret_attempted = "set up the descriptors of";
        r = raise_fds(spawn, sources);
        if (r >= 0)
                r = fork_and_hear(spawn, sources, ret_pid, ret_pidfd, ret_attempted);
        for (size_t i = 0; i < SPAWN_FDS_MAX; ++i)
                close_fd(sources[i]);
        return r;
}

static bool is_ours(const char *variable)
{
        static const char *const names[] = {
                "NOTIFY_SOCKET=",      "LISTEN_PID=",     "LISTEN_FDS=",    "LISTEN_FDNAMES=",
                "WATCHDOG_USEC=",      "WATCHDOG_PID=",   "JOURNAL_STREAM=", "INVOCATION_ID=",
                "RUNTIME_DIRECTORY=",  "STATE_DIRECTORY=", "MAINPID=",      "MANAGERPID=",
                "SYSTEMD_EXEC_PID=",   "FDSTORE=",
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
