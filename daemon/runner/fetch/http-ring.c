#include "daemon/runner/fetch/http-ring.h"

#include <poll.h>
#include <sys/socket.h>

#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-answer.h"
#include "daemon/runner/loop/loop.h"

#define HANG_UP (POLLRDHUP | POLLHUP | POLLERR)

struct ring_connection {
        struct http_connection base;
        struct loop *loop;
        struct ring_op poll;
        bool polled;         /* poll is in flight */
        bool readable;       /* there may be something to read */
        bool hung_up;        /* the other side closed or broke it: no more changes */
        bool closing;        /* goes when poll and last have completed */
        struct ring_op last; /* queued behind all else that was for it */
        bool lasting;        /* last is in flight */
        int error;           /* of poll; negative errno */
        struct ring_op send; /* armed silently */
        bool unsent;         /* it did not send all, but this: */
        int n_sent;          /* bytes, or a negative errno */
        struct loop_fiber *waiter;
        TAILQ_ENTRY(ring_connection) link; /* of those that close */
};

TAILQ_HEAD(ring_connections, ring_connection);

struct http_ring {
        struct http_transport base;
        struct loop *loop;
        struct loop_hook hook;
        struct ring_connections closing;
        struct fetcher_bounds bounds;
        struct fetcher *fetcher; /* libcurl on this loop; made by what needs it first */
};

/*
 * Bounds the waits of a fiber while it is in use. A fiber has one at a time; when it has passed,
 * each wait ends: with -ECANCELED if the task is cancelled, else with -ETIME.
 */
struct limit {
        struct loop *loop;
        const struct ppp_task *task;
        struct loop_deadline deadline;
        bool passed;
        struct ring_connection *connection; /* what is waited for now: this */
        struct loop_wait *wait;             /* or this */
};

static struct ring_connection *of(struct http_connection *connection)
{
        return container_of(connection, struct ring_connection, base);
}

static void wake_waiter(struct loop *loop, struct ring_connection *connection)
{
        if (connection->waiter)
                loop_wake(loop, steal_ptr(connection->waiter));
}

static void limit_passed(struct loop_deadline *deadline)
{
        struct limit *limit = container_of(deadline, struct limit, deadline);

        limit->passed = true;
        if (limit->connection)
                wake_waiter(limit->loop, limit->connection);
        if (limit->wait && !limit->wait->done)
                ring_cancel(&limit->loop->ring, &limit->wait->op);
}

static void limit_begin(struct limit *limit, struct loop *loop, const struct ppp_task *task,
                        uint64_t patience_ns)
{
        uint64_t at_ns = http_wait_until(task, now_monotonic(), patience_ns);

        *limit = (struct limit){ .loop = loop, .task = task, .deadline.passed = limit_passed };
        loop_deadline_add(loop, &limit->deadline, task, at_ns);
}

static void limit_end(struct limit *limit)
{
        loop_deadline_remove(limit->loop, &limit->deadline);
}

/* Whether a wait may begin, or how it has ended. */
static int limit_check(const struct limit *limit)
{
        if (task_cancelled(limit->task))
                return -ECANCELED;
        return limit->passed ? -ETIME : 0;
}

static void free_now(struct ring_connection *connection)
{
        http_connection_deinit(&connection->base);
        free(connection);
}

static void close_now(struct ring_connection *connection)
{
        struct http_ring *ring = container_of(connection->base.transport, struct http_ring, base);

        TAILQ_REMOVE(&ring->closing, connection, link);
        free_now(connection);
}

static void close_if_over(struct ring_connection *connection)
{
        if (!connection->polled && !connection->lasting)
                close_now(connection);
}

static void last_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct ring_connection *connection = container_of(op, struct ring_connection, last);

        connection->lasting = false;
        close_if_over(connection);
}

/*
 * Entries queued for the connection, above all a request, must be issued before the descriptor is
 * closed. Entries are issued in order, so they have been when one that was queued later completes.
 * The end of the poll does not prove it: the poll may have ended by itself, while the kernel
 * refuses for now to take queued entries.
 */
static void ring_close(struct http_connection *base)
{
        struct ring_connection *connection = of(base);
        struct http_ring *http = container_of(base->transport, struct http_ring, base);
        struct ring *ring = &connection->loop->ring;
        struct io_uring_sqe *sqe = ring_sqe(ring);

        connection->closing = connection->lasting = true;
        TAILQ_INSERT_HEAD(&http->closing, connection, link);
        if (connection->polled)
                io_uring_prep_cancel64(sqe, (uintptr_t)&connection->poll, 0);
        else
                io_uring_prep_nop(sqe);
        ring_arm(ring, sqe, &connection->last);
}

/*
 * A late report of bytes that were read already is neither an end nor bytes that nobody asked for.
 */
static bool ring_may_rest(struct http_connection *base)
{
        struct ring_connection *connection = of(base);

        if (connection->hung_up || connection->error < 0)
                return false;
        if (!connection->readable)
                return true;
        connection->readable = false;
        return http_connection_is_quiet(base);
}

static void poll_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct ring_connection *connection = container_of(op, struct ring_connection, poll);

        connection->polled = flags & IORING_CQE_F_MORE;
        if (connection->closing) {
                close_if_over(connection);
                return;
        }
        connection->readable = true;
        if (res < 0)
                connection->error = res;
        else
                connection->hung_up |= (res & HANG_UP) != 0;
        if (!connection->base.idle)
                wake_waiter(connection->loop, connection);
        else if (!ring_may_rest(&connection->base))
                http_connection_close(&connection->base);
}

static void arm_poll(struct ring_connection *connection)
{
        struct ring *ring = &connection->loop->ring;
        struct io_uring_sqe *sqe;

        if (connection->polled)
                return;
        sqe = ring_sqe(ring);
        io_uring_prep_poll_multishot(sqe, connection->base.fd, POLLIN | POLLRDHUP);
        ring_arm(ring, sqe, &connection->poll);
        connection->polled = true;
}

/* When the limit has passed, it cancels the operation that is waited for. */
static int await(struct loop_wait *wait, struct limit *limit)
{
        int r;

        limit->wait = wait;
        r = loop_await(wait);
        limit->wait = NULL;
        return r == -ECANCELED && limit->passed ? limit_check(limit) : r;
}

static int connect_socket(int fd, const union http_address *address, struct limit *limit)
{
        struct ring *ring = &limit->loop->ring;
        struct loop_wait wait;
        struct io_uring_sqe *sqe;
        int r;

        r = limit_check(limit);
        if (r < 0)
                return r;
        loop_wait_init(&wait, limit->loop);
        sqe = ring_sqe(ring);
        io_uring_prep_connect(sqe, fd, &address->any, http_address_size(address));
        ring_arm(ring, sqe, &wait.op);
        return await(&wait, limit);
}

static void send_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct ring_connection *connection = container_of(op, struct ring_connection, send);

        connection->unsent = true;
        connection->n_sent = res;
        wake_waiter(connection->loop, connection);
}

/* Takes @fd, which it closes on failure too. */
static int adopt(struct http_ring *ring, int fd, struct http_connection **ret)
{
        struct ring_connection *connection = malloc(sizeof(*connection));

        if (!connection) {
                close_fd(fd);
                return -ENOMEM;
        }
        *connection = (struct ring_connection){
                .loop = ring->loop,
                .poll.complete = poll_complete,
                .send.complete = send_complete,
                .last.complete = last_complete,
        };
        http_connection_init(&connection->base, &ring->base, fd);
        *ret = &connection->base;
        return 0;
}

/* A connection that is dropped leaves its descriptor within the next turns of the loop. */
static int open_socket(struct http_ring *ring, const union http_address *address)
{
        for (;;) {
                int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

                if (fd >= 0)
                        return fd;
                if ((errno != EMFILE && errno != ENFILE) || !http_transport_drop_idle(&ring->base))
                        return -errno;
                loop_yield(ring->loop);
        }
}

static int ring_connect(struct http_transport *transport, struct ppp_task *task,
                        const union http_address *address, struct http_connection **ret)
{
        struct http_ring *ring = container_of(transport, struct http_ring, base);
        _cleanup_close_ int fd = -EBADF;
        struct limit limit;
        int r;

        http_transport_make_room(transport);
        fd = open_socket(ring, address);
        if (fd < 0)
                return fd;
        limit_begin(&limit, ring->loop, task, http_connect_patience(task));
        r = connect_socket(fd, address, &limit);
        limit_end(&limit);
        return r < 0 ? r : adopt(ring, steal_fd(&fd), ret);
}

/*
 * To be followed by a wait: memory of queued entries must not be freed, nor the descriptor closed.
 */
static void queue_send(struct ring_connection *connection, const char *data, size_t n)
{
        struct ring *ring = &connection->loop->ring;
        struct io_uring_sqe *sqe = ring_sqe(ring);

        connection->unsent = false;
        io_uring_prep_send(sqe, connection->base.fd, data, n,
                           MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
        ring_arm_silent(ring, sqe, &connection->send);
}

static int suspend(struct ring_connection *connection, struct limit *limit)
{
        arm_poll(connection);
        limit->connection = connection;
        connection->waiter = loop_current(limit->loop);
        loop_suspend(limit->loop);
        limit->connection = NULL;
        return limit_check(limit);
}

/* Waits until the socket's buffer has room again. */
static int await_room(struct ring_connection *connection, struct limit *limit)
{
        struct ring *ring = &limit->loop->ring;
        struct io_uring_sqe *sqe;
        struct loop_wait wait;
        int r;

        loop_wait_init(&wait, limit->loop);
        sqe = ring_sqe(ring);
        io_uring_prep_poll_add(sqe, connection->base.fd, POLLOUT);
        ring_arm(ring, sqe, &wait.op);
        r = await(&wait, limit);
        return r < 0 ? r : limit_check(limit);
}

static int send_all(struct ring_connection *connection, size_t n, struct limit *limit)
{
        size_t n_sent = 0;
        int r;

        r = limit_check(limit);
        while (r == 0) {
                queue_send(connection, connection->base.request + n_sent, n - n_sent);
                r = suspend(connection, limit);
                if (r < 0 || !connection->unsent)
                        return r;
                if (connection->n_sent < 0 && connection->n_sent != -EAGAIN)
                        return connection->n_sent;
                n_sent += (size_t)MAX(connection->n_sent, 0);
                r = await_room(connection, limit);
        }
        return r;
}

/* Waits until there may be something to read, too. */
static int ring_ask(struct http_connection *base, struct ppp_task *task, size_t n)
{
        struct ring_connection *connection = of(base);
        struct limit limit;
        int r;

        limit_begin(&limit, connection->loop, task, http_stall_patience(task));
        r = send_all(connection, n, &limit);
        limit_end(&limit);
        return r;
}

static ssize_t ring_recv(struct http_connection *base, void *data, size_t n)
{
        struct ring_connection *connection = of(base);
        ssize_t l;

        if (!connection->readable)
                return -EAGAIN;
        l = recv(base->fd, data, n, MSG_DONTWAIT);
        if (l < 0) {
                connection->readable = false;
                return -errno;
        }
        if ((size_t)l < n)
                connection->readable = connection->hung_up;
        return l;
}

static int ring_await_data(struct http_connection *base, struct ppp_task *task,
                           uint64_t patience_ns)
{
        struct ring_connection *connection = of(base);
        struct limit limit;
        int r;

        limit_begin(&limit, connection->loop, task, patience_ns);
        r = limit_check(&limit);
        if (r == 0 && connection->error < 0)
                r = connection->error;
        else if (r == 0 && !connection->readable)
                r = suspend(connection, &limit);
        limit_end(&limit);
        return r;
}

static bool ring_is_due(struct http_transport *transport)
{
        const struct http_ring *ring = container_of(transport, struct http_ring, base);

        return now_monotonic() - ring->loop->turned_ns >= LOOP_TURN_NS;
}

/* A server that sends as fast as we read must not hold up the loop. */
static int ring_breathe(struct http_transport *transport, struct ppp_task *task)
{
        struct http_ring *ring = container_of(transport, struct http_ring, base);
        uint64_t now = loop_breathe(ring->loop, now_monotonic());

        if (task_cancelled(task))
                return -ECANCELED;
        return task_time_left(task, now) == 0 ? -ETIME : 0;
}

static struct fetcher *get_fetcher(struct http_ring *ring, struct ppp_task *task)
{
        if (!ring->fetcher && fetcher_new(ring->loop, &ring->bounds, &ring->fetcher) < 0)
                task_fail(task, PPP_REASON_NO_MEMORY, 0);
        return ring->fetcher;
}

/*
 * To an address that libcurl reached a little while ago we connect without it. A host may have more
 * addresses than that one: libcurl tries them all.
 */
static int reach_directly(struct http_ring *ring, struct ppp_task *task, const char *url,
                          struct http_connection **ret)
{
        struct fetcher *fetcher = ring->fetcher;
        union http_address address;
        int r;

        if (!fetcher_find_address(fetcher, url, &address))
                return -EHOSTUNREACH;
        r = ring_connect(&ring->base, task, &address, ret);
        if (r < 0)
                fetcher_forget_address(fetcher, url);
        return r;
}

static int ring_reach(struct http_transport *transport, struct ppp_task *task, const char *url,
                      struct http_connection **ret)
{
        struct http_ring *ring = container_of(transport, struct http_ring, base);
        struct fetcher *fetcher = get_fetcher(ring, task);
        bool waited = false;
        int fd, r;

        if (!fetcher)
                return -ENOMEM;
        for (;; waited = true) {
                r = reach_directly(ring, task, url, ret);
                if (r == 0)
                        return 0;
                if (r == -ECANCELED || r == -ENOMEM || (r == -ETIME && task->deadline_ns))
                        return task_fail(task,
                                         r == -ECANCELED ? PPP_REASON_CANCELLED
                                         : r == -ETIME   ? PPP_REASON_TIMEOUT
                                                         : PPP_REASON_NO_MEMORY,
                                         0);
                http_transport_make_room(transport);
                r = fetcher_connect(fetcher, task, url, !waited, &fd);
                if (r < 0)
                        return r;
                if (r == FETCH_KNOWN)
                        continue;
                return adopt(ring, fd, ret) < 0 ? task_fail(task, PPP_REASON_NO_MEMORY, 0) : 0;
        }
}

static int ring_fetch(struct http_transport *transport, struct http_get *get)
{
        struct http_ring *ring = container_of(transport, struct http_ring, base);
        struct fetcher *fetcher = get_fetcher(ring, get->task);

        return fetcher ? fetcher_fetch(fetcher, get) : -ENOMEM;
}

static const struct http_transport_ops ring_ops = {
        .connect = ring_connect,
        .reach = ring_reach,
        .fetch = ring_fetch,
        .ask = ring_ask,
        .recv = ring_recv,
        .await_data = ring_await_data,
        .is_due = ring_is_due,
        .breathe = ring_breathe,
        .may_rest = ring_may_rest,
        .close = ring_close,
};

static void on_cancel(struct loop_hook *hook)
{
        struct http_ring *ring = container_of(hook, struct http_ring, hook);

        if (ring->fetcher)
                fetcher_cancel_all(ring->fetcher);
}

/* Our own connections stay until the ring is gone, which ends their operations too. */
static void on_end(struct loop_hook *hook)
{
        struct http_ring *ring = container_of(hook, struct http_ring, hook);

        ring->fetcher = fetcher_free(ring->fetcher);
}

/* There are no more connections than fibers: those to earlier hosts make room. */
int http_ring_new(struct loop *loop, const struct fetcher_bounds *bounds,
                  struct http_transport **ret)
{
        struct http_ring *ring = calloc(1, sizeof(*ring));

        if (!ring)
                return -ENOMEM;
        if (http_transport_init(&ring->base, &ring_ops, loop->runner, loop->window) < 0) {
                free(ring);
                return -ENOMEM;
        }
        ring->loop = loop;
        ring->bounds = *bounds;
        TAILQ_INIT(&ring->closing);
        ring->hook = (struct loop_hook){ .cancel = on_cancel, .end = on_end };
        loop_hook_add(loop, &ring->hook);
        *ret = &ring->base;
        return 0;
}

static void free_all(struct http_connections *connections)
{
        struct http_connection *connection;

        while ((connection = TAILQ_FIRST(connections))) {
                TAILQ_REMOVE(connections, connection, link);
                free_now(of(connection));
        }
}

/* The ring is gone, and with it whatever it did with the connections. */
struct http_transport *http_ring_free(struct http_transport *transport)
{
        struct ring_connection *connection;
        struct http_ring *ring;

        if (!transport)
                return NULL;
        ring = container_of(transport, struct http_ring, base);
        free_all(&transport->idle);
        free_all(&transport->busy);
        while ((connection = TAILQ_FIRST(&ring->closing)))
                close_now(connection);
        http_transport_deinit(transport);
        free(ring);
        return NULL;
}
