#include "daemon/runner/io/interrupt.h"

#include <poll.h>
#include <sys/epoll.h>

#include "daemon/runner/node/feed.h"

static int watch(int epoll_fd, int fd, uint32_t events)
{
        struct epoll_event event = { .events = events };

        return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int watch_node(struct interrupt *interrupt, const struct runner *runner)
{
        _cleanup_close_ int fd = epoll_create1(EPOLL_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = watch(fd, runner->cancel_fd, EPOLLIN);
        if (r >= 0)
                r = watch(fd, runner->feed->drop_fd, EPOLLIN | EPOLLET);
        if (r < 0)
                return r;
        *interrupt = (struct interrupt){ steal_fd(&fd), true };
        return 0;
}

int interrupt_init(struct interrupt *interrupt, const struct runner *runner)
{
        *interrupt = (struct interrupt){ runner->cancel_fd, false };
        return runner->feed ? watch_node(interrupt, runner) : 0;
}

void interrupt_deinit(struct interrupt *interrupt)
{
        if (interrupt->owned)
                close_fd(interrupt->fd);
        *interrupt = (struct interrupt){ -EBADF, false };
}

void interrupt_hear(const struct interrupt *interrupt)
{
        struct epoll_event events[2];

        if (interrupt->owned)
                (void)epoll_wait(interrupt->fd, events, ARRAY_SIZE(events), 0);
}

int interrupt_wait(const struct interrupt *interrupt, const struct ppp_task *task, int fd, short events,
                   uint64_t until_ns)
{
        struct pollfd polls[2] = { { interrupt->fd, POLLIN, 0 }, { fd, events, 0 } };

        for (;;) {
                uint64_t now = now_monotonic(), left = until_ns > now ? until_ns - now : 0;
                struct timespec ts = { (time_t)(left / NSEC_PER_SEC), (long)(left % NSEC_PER_SEC) };
                int r;

                if (task_cancelled(task))
                        return -ECANCELED;
                if (left == 0)
                        return 0;
                r = ppoll(polls, 2, until_ns == UINT64_MAX ? NULL : &ts, NULL);
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r > 0 && polls[0].revents)
                        interrupt_hear(interrupt);
                if (r > 0 && polls[1].revents)
                        return 1;
        }
}
