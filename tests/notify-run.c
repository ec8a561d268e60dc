/*
 * notify-run COMMAND [ARGUMENT...]: runs a daemon as a service manager would. It hands over a
 * notification socket (sd_notify(3)), prints "ready" on standard output once the daemon has sent
 * READY=1, hands SIGTERM and SIGINT on to it, and ends with its exit status. Standard output is
 * closed when the daemon ends, so who reads there waits for either. It is how a shell script
 * waits for a daemon without polling.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib/util.h"

static int fail(const char *what)
{
        fprintf(stderr, "notify-run: cannot %s: %m\n", what);
        return EXIT_FAILURE;
}

/* An abstract address that the kernel picks: no file to remove, none to collide with. */
static int open_socket(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char text[sizeof(address.sun_path) + 1] = "@";
        socklen_t n = sizeof(address);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address.sun_family)) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &n) < 0)
                return -errno;
        memcpy(text + 1, address.sun_path + 1, n - offsetof(struct sockaddr_un, sun_path) - 1);
        if (setenv("NOTIFY_SOCKET", text, true) < 0)
                return -errno;
        return steal_fd(&fd);
}

/* What the daemon prints belongs on standard error: standard output is for "ready". */
static pid_t start(char **argv, const sigset_t *signals)
{
        pid_t parent = getpid(), pid = fork();

        if (pid != 0)
                return pid;
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
            sigprocmask(SIG_UNBLOCK, signals, NULL) == 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
                execvp(argv[0], argv);
        fprintf(stderr, "notify-run: cannot run %s: %m\n", argv[0]);
        _exit(127);
}

static void on_message(int fd)
{
        char text[4096];
        ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

        if (n <= 0)
                return;
        text[n] = 0;
        if (strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1"))
                puts("ready");
        fflush(stdout);
}

static int exit_status(pid_t pid)
{
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return fail("wait for the daemon");
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int watch(int notify_fd, int signal_fd, pid_t pid)
{
        struct pollfd fds[] = {
                { .fd = notify_fd, .events = POLLIN },
                { .fd = signal_fd, .events = POLLIN },
        };
        struct signalfd_siginfo info;

        for (;;) {
                if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
                        return fail("poll");
                if (fds[0].revents)
                        on_message(notify_fd);
                if (!fds[1].revents || read(signal_fd, &info, sizeof(info)) != sizeof(info))
                        continue;
                if (info.ssi_signo == SIGCHLD)
                        return exit_status(pid);
                if (kill(pid, (int)info.ssi_signo) < 0)
                        return fail("hand the signal on");
        }
}

int main(int argc, char **argv)
{
        _cleanup_close_ int notify_fd = -EBADF, signal_fd = -EBADF;
        sigset_t signals;
        pid_t pid;

        if (argc < 2) {
                fputs("Usage: notify-run COMMAND [ARGUMENT...]\n", stderr);
                return 2;
        }
        sigemptyset(&signals);
        sigaddset(&signals, SIGCHLD);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return fail("block signals");
        signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
        if (signal_fd < 0)
                return fail("make a signalfd");
        notify_fd = open_socket();
        if (notify_fd < 0)
                return fail("open a notification socket");
        pid = start(argv + 1, &signals);
        if (pid < 0)
                return fail("fork");
        return watch(notify_fd, signal_fd, pid);
}
