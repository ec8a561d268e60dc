#include "daemon/runner/io/http-connection.h"

#include <poll.h>
#include <sys/socket.h>

#define HANG_UP (POLLRDHUP | POLLHUP | POLLERR)

static void wake_waiter(struct loop *loop, struct http_connection *connection)
{
        if (connection->waiter)
                loop_wake(loop, steal_ptr(connection->waiter));
}

static void limit_passed(struct loop_deadline *deadline)
{
        struct http_limit *limit = container_of(deadline, struct http_limit, deadline);

        limit->passed = true;
        if (limit->connection)
                wake_waiter(limit->loop, limit->connection);
        if (limit->wait && !limit->wait->done)
                ring_cancel(&limit->loop->ring, &limit->wait->op);
}

void http_limit_begin(struct http_limit *limit, struct loop *loop, const struct ppp_task *task,
                      uint64_t at_ns)
{
        *limit = (struct http_limit){
                .loop = loop, .task = task, .deadline.passed = limit_passed,
        };
        loop_deadline_add(loop, &limit->deadline, task, at_ns);
}

void http_limit_end(struct http_limit *limit)
{
        loop_deadline_remove(limit->loop, &limit->deadline);
}

/* Whether a wait may begin, or how it has ended. */
static int limit_check(const struct http_limit *limit)
{
        if (task_cancelled(limit->task))
                return -ECANCELED;
        return limit->passed ? -ETIME : 0;
}

int http_pool_new(struct loop *loop, struct http_pool **ret)
{
        struct http_pool *pool = calloc(1, sizeof(*pool));

        if (!pool)
                return -ENOMEM;
        pool->loop = loop;
        pool->buffer = malloc(HTTP_BUFFER_SIZE);
        if (!pool->buffer) {
                free(pool);
                return -ENOMEM;
        }
        TAILQ_INIT(&pool->idle);
        TAILQ_INIT(&pool->busy);
        *ret = pool;
        return 0;
}

static void connection_free(struct http_connection *connection)
{
        close_fd(connection->fd);
        free(connection->request);
        free(connection);
}

static void free_all(struct http_connections *connections)
{
        struct http_connection *connection;

        while ((connection = TAILQ_FIRST(connections))) {
                TAILQ_REMOVE(connections, connection, link);
                connection_free(connection);
        }
}

struct http_pool *http_pool_free(struct http_pool *pool)
{
        if (pool) {
                free_all(&pool->idle);
                free_all(&pool->busy);
                free(pool->buffer);
                free(pool);
        }
        return NULL;
}

static struct http_bucket *find_bucket(struct http_pool *pool, const union http_address *address)
{
        const unsigned char *byte = (const unsigned char *)address;
        uint32_t hash = 2166136261U;

        for (socklen_t i = 0; i < http_address_size(address); ++i)
                hash = (hash ^ byte[i]) * 16777619U;
        return &pool->buckets[hash % HTTP_POOL_BUCKETS];
}

static void make_busy(struct http_connection *connection)
{
        struct http_pool *pool = connection->pool;

        connection->idle = false;
        LIST_REMOVE(connection, bucket_link);
        TAILQ_REMOVE(&pool->idle, connection, link);
        TAILQ_INSERT_HEAD(&pool->busy, connection, link);
}

struct http_connection *http_pool_take(struct http_pool *pool, const union http_address *address)
{
        struct http_connection *connection;

        LIST_FOREACH(connection, find_bucket(pool, address), bucket_link)
                if (memcmp(&connection->address, address, sizeof(*address)) == 0) {
                        make_busy(connection);
                        return connection;
                }
        return NULL;
}

static void close_now(struct http_connection *connection)
{
        TAILQ_REMOVE(&connection->pool->busy, connection, link);
        connection_free(connection);
}

/*
 * What was queued for it, a request above all, must be gone before the descriptor is: entries are
 * issued in order, so with the completion of one that was queued later it is.
 */
void http_connection_close(struct http_connection *connection)
{
        struct ring *ring = &connection->pool->loop->ring;
        struct io_uring_sqe *sqe;

        --connection->pool->n;
        connection->closing = true;
        if (connection->polled) {
                ring_cancel(ring, &connection->poll);
                return;
        }
        sqe = ring_sqe(ring);
        io_uring_prep_nop(sqe);
        ring_arm(ring, sqe, &connection->poll);
        connection->polled = true;
}

static void close_idle(struct http_connection *connection)
{
        make_busy(connection);
        http_connection_close(connection);
}

/* Nothing may come over it now: an end, or words nobody asked for. A late report is neither. */
static void check_idle(struct http_connection *connection)
{
        char byte;

        connection->readable = false;
        if (connection->error == 0 &&
            recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
                return;
        close_idle(connection);
}

static void poll_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct http_connection *connection = container_of(op, struct http_connection, poll);

        connection->polled = flags & IORING_CQE_F_MORE;
        if (connection->closing) {
                if (!connection->polled)
                        close_now(connection);
                return;
        }
        connection->readable = true;
        if (res < 0)
                connection->error = res;
        else
                connection->hung_up |= (res & HANG_UP) != 0;
        if (connection->idle)
                check_idle(connection);
        else
                wake_waiter(connection->pool->loop, connection);
}

static void arm_poll(struct http_connection *connection)
{
        struct ring *ring = &connection->pool->loop->ring;
        struct io_uring_sqe *sqe;

        if (connection->polled)
                return;
        sqe = ring_sqe(ring);
        io_uring_prep_poll_multishot(sqe, connection->fd, POLLIN | POLLRDHUP);
        ring_arm(ring, sqe, &connection->poll);
        connection->polled = true;
}

/* The limit cancels what is waited for. */
static int await(struct loop_wait *wait, struct http_limit *limit)
{
        int r;

        limit->wait = wait;
        r = loop_await(wait);
        limit->wait = NULL;
        return r == -ECANCELED && limit->passed ? limit_check(limit) : r;
}

static int connect_socket(int fd, const union http_address *address, struct http_limit *limit)
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

/* No more connections than fibers: those to hosts of the past make room. */
static void make_room(struct http_pool *pool)
{
        struct http_connection *oldest = TAILQ_LAST(&pool->idle, http_connections);

        if (pool->n >= pool->loop->window && oldest)
                close_idle(oldest);
}

static void send_complete(struct ring_op *op, int res, uint32_t flags)
{
        struct http_connection *connection = container_of(op, struct http_connection, send);

        connection->unsent = true;
        connection->n_sent = res;
        wake_waiter(connection->pool->loop, connection);
}

int http_connection_open(struct http_pool *pool, const union http_address *address,
                         struct http_limit *limit, struct http_connection **ret)
{
        _cleanup_free_ struct http_connection *connection = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        make_room(pool);
        connection = malloc(sizeof(*connection));
        if (!connection)
                return -ENOMEM;
        fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        r = connect_socket(fd, address, limit);
        if (r < 0)
                return r;
        *connection = (struct http_connection){
                .pool = pool,
                .fd = steal_fd(&fd),
                .address = *address,
                .poll.complete = poll_complete,
                .send.complete = send_complete,
        };
        TAILQ_INSERT_HEAD(&pool->busy, connection, link);
        ++pool->n;
        *ret = steal_ptr(connection);
        return 0;
}

char *http_connection_request(struct http_connection *connection, size_t n)
{
        char *bigger;

        if (n <= connection->request_size)
                return connection->request;
        bigger = realloc(connection->request, n);
        if (!bigger)
                return NULL;
        connection->request = bigger;
        connection->request_size = n;
        return bigger;
}

/* To be followed by a wait: what was queued must not be freed, nor the descriptor closed. */
static void queue_send(struct http_connection *connection, const char *data, size_t n)
{
        struct ring *ring = &connection->pool->loop->ring;
        struct io_uring_sqe *sqe = ring_sqe(ring);

        connection->unsent = false;
        io_uring_prep_send(sqe, connection->fd, data, n, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
        ring_arm_silent(ring, sqe, &connection->send);
}

static int suspend(struct http_connection *connection, struct http_limit *limit)
{
        arm_poll(connection);
        limit->connection = connection;
        connection->waiter = loop_current(limit->loop);
        loop_suspend(limit->loop);
        limit->connection = NULL;
        return limit_check(limit);
}

/* Until the socket's buffer has room again. */
static int await_room(struct http_connection *connection, struct http_limit *limit)
{
        struct ring *ring = &limit->loop->ring;
        struct io_uring_sqe *sqe;
        struct loop_wait wait;
        int r;

        loop_wait_init(&wait, limit->loop);
        sqe = ring_sqe(ring);
        io_uring_prep_poll_add(sqe, connection->fd, POLLOUT);
        ring_arm(ring, sqe, &wait.op);
        r = await(&wait, limit);
        return r < 0 ? r : limit_check(limit);
}

int http_connection_ask(struct http_connection *connection, size_t n, struct http_limit *limit)
{
        size_t n_sent = 0;
        int r;

        r = limit_check(limit);
        while (r == 0) {
                queue_send(connection, connection->request + n_sent, n - n_sent);
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

ssize_t http_connection_recv(struct http_connection *connection, void *data, size_t n)
{
        ssize_t l;

        if (!connection->readable)
                return -EAGAIN;
        l = recv(connection->fd, data, n, MSG_DONTWAIT);
        if (l < 0) {
                connection->readable = false;
                return -errno;
        }
        if ((size_t)l < n)
                connection->readable = connection->hung_up;
        return l;
}

int http_connection_await_data(struct http_connection *connection, struct http_limit *limit)
{
        int r;

        r = limit_check(limit);
        if (r < 0)
                return r;
        if (connection->error < 0)
                return connection->error;
        if (connection->readable)
                return 0;
        return suspend(connection, limit);
}

void http_connection_keep(struct http_connection *connection)
{
        struct http_pool *pool = connection->pool;

        if (connection->hung_up || connection->error < 0) {
                http_connection_close(connection);
                return;
        }
        connection->idle = true;
        TAILQ_REMOVE(&pool->busy, connection, link);
        TAILQ_INSERT_HEAD(&pool->idle, connection, link);
        LIST_INSERT_HEAD(find_bucket(pool, &connection->address), connection, bucket_link);
        if (connection->readable)
                check_idle(connection);
}
