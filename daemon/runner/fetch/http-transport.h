#pragma once

/*
 * A transport carries the bytes of HTTP/1.1, and keeps connections for the next request.
 *
 * The engine (http-exchange.h) is the same at each level. A transport is the level's way to wait:
 * the ring's suspends the fiber (http-ring.h), the socket's blocks the thread (http-socket.h). It
 * also knows how its level uses libcurl, for everything that the engine does not do.
 *
 * A kept connection is known by the host and port of the URL that it was opened for, not by the
 * address: two hosts at one address are two servers. A connection on which something unread waits,
 * be it an end or bytes that nobody asked for, is never used again.
 */

#include <sys/queue.h>

#include "daemon/runner/fetch/http-url.h"
#include "daemon/runner/task.h"

struct http_get;
struct http_transport;

/* The part that all transports have in common; each embeds it in its own object. */
struct http_connection {
        struct http_transport *transport;
        int fd;
        bool idle;
        uint16_t port;
        char *host; /* with the port the key; NULL: it is not kept */
        size_t n_host;
        char *request; /* lives until the request has gone out */
        size_t request_size;
        TAILQ_ENTRY(http_connection) link;       /* of idle or busy */
        LIST_ENTRY(http_connection) bucket_link; /* idle ones */
};

/*
 * A wait ends when data is there, when the task's deadline or, without one, @patience_ns has passed
 * (-ETIME), or when the task is cancelled (-ECANCELED). All return 0 or a negative errno; a call on
 * the task itself (fetch, and reach) has called task_fail() then.
 */
struct http_transport_ops {
        /* Opens a connection to @address. */
        int (*connect)(struct http_transport *transport, struct ppp_task *task,
                       const union http_address *address, struct http_connection **ret);

        /* Opens a connection to the server of @url, whose host is a name that libcurl resolves. */
        int (*reach)(struct http_transport *transport, struct ppp_task *task, const char *url,
                     struct http_connection **ret);

        /* Does all of @get by libcurl. Returns as http_exchange() does. */
        int (*fetch)(struct http_transport *transport, struct http_get *get);

        /* Sends the first @n bytes of connection->request. */
        int (*ask)(struct http_connection *connection, struct ppp_task *task, size_t n);

        /*
         * Reads the bytes that are there, without waiting. Returns their number, 0 at the end,
         * -EAGAIN if there are none.
         */
        ssize_t (*recv)(struct http_connection *connection, void *data, size_t n);

        /* Waits until there may be something to read. */
        int (*await_data)(struct http_connection *connection, struct ppp_task *task,
                          uint64_t patience_ns);

        /*
         * Called while there is always something to do: if it is time, lets others run, and checks
         * whether the task is to continue.
         */
        bool (*is_due)(struct http_transport *transport);
        int (*breathe)(struct http_transport *transport, struct ppp_task *task);

        /*
         * Whether a connection that was used may be kept: neither an end nor any byte is known to
         * be waiting.
         */
        bool (*may_rest)(struct http_connection *connection);

        /* Frees the connection, which is in neither list, and its descriptor, now or a little
         * later. */
        void (*close)(struct http_connection *connection);
};

#define HTTP_BUFFER_SIZE       (128 * 1024)
#define HTTP_TRANSPORT_BUCKETS 256

TAILQ_HEAD(http_connections, http_connection);
LIST_HEAD(http_bucket, http_connection);

struct http_transport {
        const struct http_transport_ops *ops;
        struct runner *runner;
        char *buffer;                 /* of HTTP_BUFFER_SIZE; valid until its user waits */
        struct http_connections idle; /* newest first */
        struct http_connections busy;
        struct http_bucket buckets[HTTP_TRANSPORT_BUCKETS]; /* idle ones, newest first */
        unsigned n;                                         /* idle or busy */
        unsigned n_max; /* idle ones make room for a new one beyond that */
        bool has_proxy; /* the environment names one */
};

/* 0 or -ENOMEM. */
int http_transport_init(struct http_transport *transport, const struct http_transport_ops *ops,
                        struct runner *runner, unsigned n_max);
/* Closes the idle connections; none may be busy. */
void http_transport_deinit(struct http_transport *transport);

/*
 * When a wait that begins at @now ends: by the task's deadline, or by @patience_ns if that is less.
 */
static inline uint64_t http_wait_until(const struct ppp_task *task, uint64_t now,
                                       uint64_t patience_ns)
{
        uint64_t until;

        if (__builtin_add_overflow(now, patience_ns, &until))
                until = UINT64_MAX;
        return task->deadline_ns ? MIN(task->deadline_ns, until) : until;
}

/* Without --task-timeout, connecting and each wait for a byte have time limits of their own
 * (fetch.h). */
uint64_t http_connect_patience(const struct ppp_task *task);
uint64_t http_stall_patience(const struct ppp_task *task);

/* The idle connection to the host of @url that was used last, busy now, or NULL. */
struct http_connection *http_transport_take(struct http_transport *transport,
                                            const struct http_url *url);

/*
 * For transports: closes the oldest idle connections until there is room for one more; and whether
 * there was an idle one, which now leaves its descriptor to another.
 */
void http_transport_make_room(struct http_transport *transport);
bool http_transport_drop_idle(struct http_transport *transport);

/* For transports: makes a connection of @fd, which it then owns. It is busy from now on. */
void http_connection_init(struct http_connection *connection, struct http_transport *transport,
                          int fd);
/* Closes the descriptor and frees the common part. */
void http_connection_deinit(struct http_connection *connection);

/* Whether nothing waits to be read: no byte, and no end. */
bool http_connection_is_quiet(const struct http_connection *connection);

/* Keeps it as a connection to the host of @url, if there is the memory to note that. */
void http_connection_name(struct http_connection *connection, const struct http_url *url);

/* The place to which a request of @n bytes is to be written. NULL: no memory. */
char *http_connection_request(struct http_connection *connection, size_t n);

/* Gives the connection back, ready for the next request or not. */
void http_connection_keep(struct http_connection *connection);
void http_connection_close(struct http_connection *connection);
