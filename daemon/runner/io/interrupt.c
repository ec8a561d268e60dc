#include "daemon/runner/io/interrupt.h"

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
