/* The exit of a child: its status, also where somebody else has it first. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/supervisor/child/child-exit.h"

/* A process that ends with @status once it is let go. */
static pid_t start(int status, int *ret_pidfd, int *ret_hold_fd)
{
        char byte;
        int fds[2];
        pid_t pid;

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        pid = fork();
        if (pid == 0) {
                close(fds[1]);
                (void)!read(fds[0], &byte, 1);
                _exit(status);
        }
        test_int(pid, >, 0);
        close(fds[0]);
        *ret_hold_fd = fds[1];
        *ret_pidfd = pidfd_open(pid, 0);
        test_int(*ret_pidfd, >=, 0);
        return pid;
}

static void let_go(int hold_fd)
{
        test_int(write(hold_fd, "", 1), ==, 1);
        close(hold_fd);
}

static void await(int pidfd)
{
        struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };

        test_int(poll(&pollfd, 1, 60000), ==, 1);
}

static void test_status(void)
{
        siginfo_t info = { 0 };
        struct rusage usage;
        int pidfd, hold_fd;

        (void)start(7, &pidfd, &hold_fd);
        test_int(child_exit_take(pidfd, &info, &usage), ==, -EAGAIN);
        let_go(hold_fd);
        await(pidfd);
        test_int(child_exit_take(pidfd, &info, &usage), ==, 0);
        test_int(info.si_code, ==, CLD_EXITED);
        test_int(info.si_status, ==, 7);
        test_int(child_exit_take(pidfd, &info, NULL), ==, -ECHILD);
        close(pidfd);
}

/* Traces @pid from a process of its own until the pipe is closed. -EBADF: it may not. */
static pid_t trace(pid_t pid, int *ret_hold_fd)
{
        int ready[2], hold[2];
        char byte = 0;
        pid_t tracer;

        test_int(pipe2(ready, O_CLOEXEC), ==, 0);
        test_int(pipe2(hold, O_CLOEXEC), ==, 0);
        tracer = fork();
        if (tracer == 0) {
                close(hold[1]);
                if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
                        _exit(1);
                (void)!write(ready[1], &byte, 1);
                (void)!read(hold[0], &byte, 1);
                _exit(0);
        }
        test_int(tracer, >, 0);
        close(ready[1]);
        close(hold[0]);
        *ret_hold_fd = read(ready[0], &byte, 1) == 1 ? hold[1] : -EBADF;
        if (*ret_hold_fd < 0)
                close(hold[1]);
        close(ready[0]);
        return tracer;
}

static void test_traced(void)
{
        int pidfd, hold_fd, tracer_fd;
        siginfo_t info = { 0 };
        pid_t tracer, pid = start(3, &pidfd, &hold_fd);

        tracer = trace(pid, &tracer_fd);
        let_go(hold_fd);
        await(pidfd);
        if (tracer_fd >= 0) {
                test_int(child_exit_take(pidfd, &info, NULL), ==, -EAGAIN);
                close(tracer_fd);
        } else {
                printf("not tried: no process may be traced here");
        }
        test_int(waitpid(tracer, NULL, 0), ==, tracer);
        test_int(child_exit_take(pidfd, &info, NULL), ==, 0);
        test_int(info.si_status, ==, 3);
        close(pidfd);
}

struct watched {
        sd_event *event;
        int pidfd, tracer_fd;
        unsigned n_calls;
};

static int on_exit_of_child(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct watched *watched = userdata;
        siginfo_t info;

        /* The tracer goes after the first call: without a second one there would be no end. */
        if (++watched->n_calls == 1 && watched->tracer_fd >= 0)
                watched->tracer_fd = close_fd(watched->tracer_fd);
        if (child_exit_take(watched->pidfd, &info, NULL) == -EAGAIN)
                return 0;
        return sd_event_exit(watched->event, info.si_status);
}

static void test_watch(void)
{
        struct watched watched = { .n_calls = 0 };
        sd_event_source *source = NULL;
        int hold_fd;
        pid_t tracer, pid = start(5, &watched.pidfd, &hold_fd);

        tracer = trace(pid, &watched.tracer_fd);
        test_int(sd_event_new(&watched.event), ==, 0);
        test_int(child_exit_watch(watched.event, &source, watched.pidfd, on_exit_of_child,
                                  &watched),
                 ==, 0);
        let_go(hold_fd);
        test_int(sd_event_loop(watched.event), ==, 5);
        test_int(waitpid(tracer, NULL, 0), ==, tracer);
        sd_event_source_disable_unref(source);
        sd_event_unref(watched.event);
        close(watched.pidfd);
}

TEST_MAIN("child exit", { "status", test_status }, { "traced", test_traced },
          { "watched", test_watch })
