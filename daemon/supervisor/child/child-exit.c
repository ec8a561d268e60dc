#include "daemon/supervisor/child/child-exit.h"

#include <poll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/util.h"

#define AGAIN_USEC  UINT64_C(10000)
#define AGAIN_BURST 2
#define FORCE_MSEC  1000

int child_exit_watch(sd_event *event, sd_event_source **ret, int pidfd,
                     sd_event_io_handler_t handler, void *userdata)
{
        sd_event_source *source;
        int r;

        r = sd_event_add_io(event, &source, pidfd, EPOLLIN, handler, userdata);
        if (r < 0)
                return r;
        r = sd_event_source_set_ratelimit(source, AGAIN_USEC, AGAIN_BURST);
        if (r < 0) {
                sd_event_source_disable_unref(source);
                return r;
        }
        *ret = source;
        return 0;
}

int child_exit_take(int pidfd, siginfo_t *ret, struct rusage *ret_usage)
{
        siginfo_t info = { 0 };

        /* The system call itself: the library's wrapper does not hand out the usage. */
        if (syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG, ret_usage) < 0)
                return -errno;
        if (info.si_pid == 0)
                return -EAGAIN;
        *ret = info;
        return 0;
}

void child_exit_force(int pidfd)
{
        struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };
        siginfo_t info;

        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        (void)poll(&pollfd, 1, FORCE_MSEC);
        (void)child_exit_take(pidfd, &info, NULL);
}
