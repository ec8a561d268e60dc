#include "daemon/runner/fetch/http-socket.h"

#include <poll.h>
#include <sys/socket.h>

#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-answer.h"
#include "daemon/runner/interrupt.h"
#include "daemon/runner/runner.h"

struct http_socket {
        struct http_transport base;
        struct interrupt *interrupt;
        struct transfer *transfer; /* by libcurl; made by the first that needs it */
};

struct socket_connection {
        struct http_connection base;
        bool readable; /* there may be something to read */
};

static struct http_socket *of(struct http_transport *transport)
{
        return container_of(transport, struct http_socket, base);
}

static struct socket_connection *connection_of(struct http_connection *base)
{
        return container_of(base, struct socket_connection, base);
}

/* 0 when @fd is ready for @events, or a negative errno. */
static int await(struct http_transport *transport, struct ppp_task *task, int fd, short events,
                 uint64_t patience_ns)
{
        uint64_t until = http_wait_until(task, now_monotonic(), patience_ns);
        int r = interrupt_wait(of(transport)->interrupt, task, fd, events, until);

        return r == 0 ? -ETIME : MIN(r, 0);
}

/* Takes @fd, which it closes on failure too. */
static int adopt(struct http_transport *transport, int fd, struct http_connection **ret)
{
        struct socket_connection *connection = calloc(1, sizeof(*connection));

        if (!connection) {
                close_fd(fd);
                return -ENOMEM;
        }
        http_connection_init(&connection->base, transport, fd);
        *ret = &connection->base;
        return 0;
}

static int connect_socket(struct http_transport *transport, struct ppp_task *task, int fd,
                          const union http_address *address)
{
        socklen_t n = sizeof(int);
        int error, r;

        if (connect(fd, &address->any, http_address_size(address)) == 0)
                return 0;
        if (errno != EINPROGRESS && errno != EINTR)
                return -errno;
        r = await(transport, task, fd, POLLOUT, http_connect_patience(task));
        if (r < 0)
                return r;
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? -errno : -error;
}

static int socket_connect(struct http_transport *transport, struct ppp_task *task,
                          const union http_address *address, struct http_connection **ret)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        http_transport_make_room(transport);
        do
                fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        while (fd < 0 && (errno == EMFILE || errno == ENFILE) &&
               http_transport_drop_idle(transport));
        if (fd < 0)
                return -errno;
        r = connect_socket(transport, task, fd, address);
        return r < 0 ? r : adopt(transport, steal_fd(&fd), ret);
}

static struct transfer *get_transfer(struct http_socket *http, struct ppp_task *task)
{
        if (fetch_load(task) < 0)
                return NULL;
        if (!http->transfer &&
            transfer_new(http->base.runner, HTTP_BUFFER_SIZE, &http->transfer) < 0)
                task_fail(task, PPP_REASON_NO_MEMORY, 0);
        return http->transfer;
}

/* libcurl keeps the names that it has resolved for a minute. */
static int socket_reach(struct http_transport *transport, struct ppp_task *task, const char *url,
                        struct http_connection **ret)
{
        struct http_socket *http = of(transport);
        struct transfer *transfer = get_transfer(http, task);
        int fd, r;

        if (!transfer)
                return -EIO;
        http_transport_make_room(transport);
        r = transfer_connect(transfer, task, http->interrupt, url, &fd);
        if (r < 0)
                return r;
        return adopt(transport, fd, ret) < 0 ? task_fail(task, PPP_REASON_NO_MEMORY, 0) : 0;
}

static int socket_fetch(struct http_transport *transport, struct http_get *get)
{
        struct http_socket *http = of(transport);
        struct transfer *transfer = get_transfer(http, get->task);

        return transfer ? transfer_perform(transfer, get, http->interrupt) : -EIO;
}

static int socket_ask(struct http_connection *base, struct ppp_task *task, size_t n)
{
        size_t n_sent = 0;

        connection_of(base)->readable = false;
        while (n_sent < n) {
                ssize_t l = send(base->fd, base->request + n_sent, n - n_sent,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
                int r;

                if (l >= 0) {
                        n_sent += (size_t)l;
                        continue;
                }
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                r = await(base->transport, task, base->fd, POLLOUT, http_stall_patience(task));
                if (r < 0)
                        return r;
        }
        return 0;
}

static ssize_t socket_recv(struct http_connection *base, void *data, size_t n)
{
        struct socket_connection *connection = connection_of(base);
        ssize_t l;

        if (!connection->readable)
                return -EAGAIN;
        l = recv(base->fd, data, n, MSG_DONTWAIT);
        connection->readable = l == (ssize_t)n;
        return l < 0 ? -errno : l;
}

static int socket_await_data(struct http_connection *base, struct ppp_task *task,
                             uint64_t patience_ns)
{
        int r = await(base->transport, task, base->fd, POLLIN, patience_ns);

        connection_of(base)->readable = r == 0;
        return r;
}

/* Other tasks have threads of their own, but this one's deadline has to be noticed. */
static bool socket_is_due(struct http_transport *transport)
{
        return true;
}

/* A server that sends as fast as we read must not keep us from noticing the deadline. */
static int socket_breathe(struct http_transport *transport, struct ppp_task *task)
{
        if (task_cancelled(task))
                return -ECANCELED;
        return task->deadline_ns && now_monotonic() >= task->deadline_ns ? -ETIME : 0;
}

/* It is checked when it is taken again. */
static bool socket_may_rest(struct http_connection *connection)
{
        return true;
}

static void socket_close(struct http_connection *base)
{
        http_connection_deinit(base);
        free(connection_of(base));
}

static const struct http_transport_ops socket_ops = {
        .connect = socket_connect,
        .reach = socket_reach,
        .fetch = socket_fetch,
        .ask = socket_ask,
        .recv = socket_recv,
        .await_data = socket_await_data,
        .is_due = socket_is_due,
        .breathe = socket_breathe,
        .may_rest = socket_may_rest,
        .close = socket_close,
};

int http_socket_new(struct runner *runner, struct interrupt *interrupt, struct http_transport **ret)
{
        struct http_socket *http = calloc(1, sizeof(*http));

        if (!http)
                return -ENOMEM;
        if (http_transport_init(&http->base, &socket_ops, runner, runner_connections(runner)) < 0) {
                free(http);
                return -ENOMEM;
        }
        http->interrupt = interrupt;
        *ret = &http->base;
        return 0;
}

struct http_transport *http_socket_free(struct http_transport *transport)
{
        if (transport) {
                http_transport_deinit(transport);
                transfer_free(of(transport)->transfer);
                free(of(transport));
        }
        return NULL;
}
