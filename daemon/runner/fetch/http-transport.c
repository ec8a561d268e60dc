#include "daemon/runner/fetch/http-transport.h"

#include <strings.h>
#include <sys/socket.h>

#include "daemon/runner/fetch/fetch.h"

int http_transport_init(struct http_transport *transport, const struct http_transport_ops *ops,
                        struct runner *runner, unsigned n_max)
{
        *transport = (struct http_transport){
                .ops = ops,
                .runner = runner,
                .n_max = n_max,
                .has_proxy = fetch_has_proxy(),
        };
        TAILQ_INIT(&transport->idle);
        TAILQ_INIT(&transport->busy);
        transport->buffer = malloc(HTTP_BUFFER_SIZE);
        return transport->buffer ? 0 : -ENOMEM;
}

void http_transport_deinit(struct http_transport *transport)
{
        while (http_transport_drop_idle(transport))
                continue;
        assert(TAILQ_EMPTY(&transport->busy));
        free(transport->buffer);
        transport->buffer = NULL;
}

uint64_t http_connect_patience(const struct ppp_task *task)
{
        return task->deadline_ns ? UINT64_MAX : fetch_patience.connect_ns;
}

uint64_t http_stall_patience(const struct ppp_task *task)
{
        return task->deadline_ns ? UINT64_MAX : fetch_patience.stall_ns;
}

/* FNV-1a, without regard to case. */
static struct http_bucket *find_bucket(struct http_transport *transport, const char *host,
                                       size_t n_host, uint16_t port)
{
        uint32_t hash = (2166136261U ^ port) * 16777619U;

        for (size_t i = 0; i < n_host; ++i)
                hash = (hash ^ ((unsigned char)host[i] | 0x20)) * 16777619U;
        return &transport->buckets[hash % HTTP_TRANSPORT_BUCKETS];
}

static bool is_for(const struct http_connection *connection, const struct http_url *url)
{
        return connection->port == url->port && connection->n_host == url->n_host &&
               strncasecmp(connection->host, url->host, url->n_host) == 0;
}

static void make_busy(struct http_connection *connection)
{
        struct http_transport *transport = connection->transport;

        connection->idle = false;
        LIST_REMOVE(connection, bucket_link);
        TAILQ_REMOVE(&transport->idle, connection, link);
        TAILQ_INSERT_HEAD(&transport->busy, connection, link);
}

struct http_connection *http_transport_take(struct http_transport *transport,
                                            const struct http_url *url)
{
        struct http_bucket *bucket = find_bucket(transport, url->host, url->n_host, url->port);
        struct http_connection *connection = LIST_FIRST(bucket), *next;

        for (; connection; connection = next) {
                next = LIST_NEXT(connection, bucket_link);
                if (!is_for(connection, url))
                        continue;
                make_busy(connection);
                if (http_connection_is_quiet(connection))
                        return connection;
                http_connection_close(connection);
        }
        return NULL;
}

bool http_transport_drop_idle(struct http_transport *transport)
{
        struct http_connection *oldest = TAILQ_LAST(&transport->idle, http_connections);

        if (oldest)
                http_connection_close(oldest);
        return oldest;
}

void http_transport_make_room(struct http_transport *transport)
{
        while (transport->n >= transport->n_max && http_transport_drop_idle(transport))
                continue;
}

void http_connection_init(struct http_connection *connection, struct http_transport *transport,
                          int fd)
{
        *connection = (struct http_connection){ .transport = transport, .fd = fd };
        TAILQ_INSERT_HEAD(&transport->busy, connection, link);
        ++transport->n;
}

void http_connection_deinit(struct http_connection *connection)
{
        close_fd(connection->fd);
        free(connection->host);
        free(connection->request);
}

bool http_connection_is_quiet(const struct http_connection *connection)
{
        char byte;

        return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void http_connection_name(struct http_connection *connection, const struct http_url *url)
{
        connection->host = strndup(url->host, url->n_host);
        connection->n_host = url->n_host;
        connection->port = url->port;
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

void http_connection_keep(struct http_connection *connection)
{
        struct http_transport *transport = connection->transport;

        if (!connection->host || !transport->ops->may_rest(connection)) {
                http_connection_close(connection);
                return;
        }
        connection->idle = true;
        TAILQ_REMOVE(&transport->busy, connection, link);
        TAILQ_INSERT_HEAD(&transport->idle, connection, link);
        LIST_INSERT_HEAD(find_bucket(transport, connection->host, connection->n_host,
                                     connection->port),
                         connection, bucket_link);
}

void http_connection_close(struct http_connection *connection)
{
        struct http_transport *transport = connection->transport;

        if (connection->idle)
                make_busy(connection);
        TAILQ_REMOVE(&transport->busy, connection, link);
        --transport->n;
        transport->ops->close(connection);
}
