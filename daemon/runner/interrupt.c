#include "daemon/runner/interrupt.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

static int watch(int epoll_fd, int fd, uint32_t events)
{
        struct epoll_event event = { .events = events };

        return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int watch_drops(struct interrupt *interrupt, const struct runner *runner)
{
        _cleanup_close_ int fd = epoll_create1(EPOLL_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = watch(fd, runner->cancel_fd, EPOLLIN);
        if (r >= 0)
                r = watch(fd, runner->source->drop_fd, EPOLLIN | EPOLLET);
        if (r < 0)
                return r;
        *interrupt = (struct interrupt){ steal_fd(&fd), true, -EBADF };
        return 0;
}

int interrupt_init(struct interrupt *interrupt, const struct runner *runner)
{
        *interrupt = (struct interrupt){ runner->cancel_fd, false, -EBADF };
        return runner->source->drop_fd >= 0 ? watch_drops(interrupt, runner) : 0;
}

void interrupt_deinit(struct interrupt *interrupt)
{
        if (interrupt->owned)
                close_fd(interrupt->fd);
        close_fd(interrupt->timer_fd);
        *interrupt = (struct interrupt){ -EBADF, false, -EBADF };
}

void interrupt_hear(const struct interrupt *interrupt)
{
        struct epoll_event events[2];

        if (interrupt->owned)
                (void)epoll_wait(interrupt->fd, events, ARRAY_SIZE(events), 0);
}

/*
 * Sets the timer to a time of CLOCK_MONOTONIC. A time limit of poll(2) is a duration, and after the
 * process was stopped or its cgroup frozen poll(2) waits for the rest of it, although that time has
 * passed meanwhile.
 */
static int set_timer(struct interrupt *interrupt, uint64_t at_ns)
{
        const struct itimerspec at = { .it_value = { (time_t)(at_ns / NSEC_PER_SEC),
                                                     (long)(at_ns % NSEC_PER_SEC) } };

        if (interrupt->timer_fd < 0)
                interrupt->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (interrupt->timer_fd < 0 ||
            timerfd_settime(interrupt->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
                return -errno;
        return 0;
}

int interrupt_wait(struct interrupt *interrupt, const struct ppp_task *task, int fd, short events,
                   uint64_t until_ns)
{
        struct pollfd polls[] = {
                { interrupt->fd, POLLIN, 0 },
                { fd, events, 0 },
                { -EBADF, POLLIN, 0 },
        };
        int r;

        if (task_cancelled(task))
                return -ECANCELED;
        if (until_ns <= now_monotonic())
                return 0;
        if (until_ns != UINT64_MAX) {
                r = set_timer(interrupt, until_ns);
                if (r < 0)
                        return r;
                polls[2].fd = interrupt->timer_fd;
        }
        for (;;) {
                r = poll(polls, ARRAY_SIZE(polls), -1);
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r > 0 && polls[0].revents)
                        interrupt_hear(interrupt);
                if (task_cancelled(task))
                        return -ECANCELED;
                if (r > 0 && polls[1].revents)
                        return 1;
                if (r > 0 && polls[2].revents)
                        return 0;
        }
}
