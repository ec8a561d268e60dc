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

/* Of the descriptors that are waited for beside the caller's. */
enum { POLL_INTERRUPT, POLL_TIMER, _POLL_OURS };

static int wait_ready(const struct interrupt *interrupt, const struct ppp_task *task,
                      struct pollfd *polls, unsigned n)
{
        for (;;) {
                int r = poll(polls, n, -1);

                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r > 0 && polls[POLL_INTERRUPT].revents)
                        interrupt_hear(interrupt);
                if (polls[POLL_INTERRUPT].fd >= 0 && task_cancelled(task))
                        return -ECANCELED;
                for (unsigned i = _POLL_OURS; i < n && r > 0; ++i)
                        if (polls[i].revents)
                                return 1;
                if (r > 0 && polls[POLL_TIMER].revents)
                        return 0;
        }
}

int interrupt_poll(struct interrupt *interrupt, const struct ppp_task *task, struct pollfd *fds,
                   unsigned n, uint64_t until_ns, bool hears)
{
        struct pollfd polls[_POLL_OURS + IO_POLL_MAX] = {
                [POLL_INTERRUPT] = { hears ? interrupt->fd : -EBADF, POLLIN, 0 },
                [POLL_TIMER] = { -EBADF, POLLIN, 0 },
        };
        int r;

        assert(n <= IO_POLL_MAX);
        if (hears && task_cancelled(task))
                return -ECANCELED;
        if (until_ns <= now_monotonic())
                return 0;
        if (until_ns != UINT64_MAX) {
                r = set_timer(interrupt, until_ns);
                if (r < 0)
                        return r;
                polls[POLL_TIMER].fd = interrupt->timer_fd;
        }
        if (n > 0)
                memcpy(polls + _POLL_OURS, fds, n * sizeof(*fds));
        r = wait_ready(interrupt, task, polls, _POLL_OURS + n);
        if (n > 0)
                memcpy(fds, polls + _POLL_OURS, n * sizeof(*fds));
        return r;
}

int interrupt_wait(struct interrupt *interrupt, const struct ppp_task *task, int fd, short events,
                   uint64_t until_ns)
{
        struct pollfd poll = { fd, events, 0 };

        return interrupt_poll(interrupt, task, &poll, 1, until_ns, true);
}
