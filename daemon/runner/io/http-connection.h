#pragma once

/*
 * Connections for HTTP/1.1 on the ring, and those of a loop that are kept for the next request.
 *
 * One multishot poll a connection is all the ring holds of it, for as long as it is open: it wakes
 * the fiber that waits, and tells when a server closes a connection that nobody uses. What has come
 * is read by the fiber itself when it runs, with recv(2) into the one buffer all fibers of the loop
 * share. So the buffer stays in the cache, those who wait hold none, and what came between the wake
 * and the read (a body behind its head) is read in one go. A multishot receive into provided buffers
 * saves that call, and costs as much again for its cold buffers and for running out of them.
 *
 * Requests go out with the next turn of the loop, all that there are by one system call, and without
 * a completion each: a request that fits into the socket's buffer, as nearly all do, is sent when
 * it is submitted.
 *
 * A poll of many shots tells of changes: `readable` remembers that there may be something to read
 * until a read has found less than it had room for.
 *
 * A connection in use belongs to one fiber. Closing one cancels its poll, and closes the descriptor
 * on the poll's completion.
 */

#include <sys/queue.h>

#include "daemon/runner/io/http-url.h"
#include "daemon/runner/io/uring.h"

struct http_pool;

struct http_connection {
        struct http_pool *pool;
        int fd;
        union http_address address;
        struct ring_op poll;
        bool polled;                    /* poll is in flight */
        bool readable;                  /* there may be something to read */
        bool hung_up;                   /* the other side closed or broke it: no more changes */
        bool idle;
        bool closing;                   /* goes when poll has completed */
        int error;                      /* of poll; negative errno */
        struct ring_op send;            /* armed silently */
        bool unsent;                    /* it did not send all, but this: */
        int n_sent;                     /* bytes, or a negative errno */
        struct loop_fiber *waiter;
        char *request;
        size_t request_size;
        TAILQ_ENTRY(http_connection) link;              /* of idle or busy */
        LIST_ENTRY(http_connection) bucket_link;        /* idle ones */
};

#define HTTP_POOL_BUCKETS       256
#define HTTP_BUFFER_SIZE        (128 * 1024)

TAILQ_HEAD(http_connections, http_connection);
LIST_HEAD(http_bucket, http_connection);

struct http_pool {
        struct loop *loop;
        struct http_connections idle;   /* newest first */
        struct http_connections busy;   /* or closing */
        struct http_bucket buckets[HTTP_POOL_BUCKETS];  /* idle ones by address, newest first */
        unsigned n;                     /* idle or busy, not those that close */
        char *buffer;                   /* of HTTP_BUFFER_SIZE; valid until its user waits */
};

/*
 * Bounds what a fiber waits for while it is in use. One at a time for a fiber; when it has passed,
 * each wait ends: with -ECANCELED if the task is cancelled, else with -ETIME.
 */
struct http_limit {
        struct loop *loop;
        const struct ppp_task *task;
        struct loop_deadline deadline;
        bool passed;
        struct http_connection *connection;     /* what is waited for now: this */
        struct loop_wait *wait;                 /* or this */
};

void http_limit_begin(struct http_limit *limit, struct loop *loop, const struct ppp_task *task,
                      uint64_t at_ns);
void http_limit_end(struct http_limit *limit);

int http_pool_new(struct loop *loop, struct http_pool **ret);
/* Nothing of it may be in flight, or the ring be gone. Takes fibers' connections too. */
struct http_pool *http_pool_free(struct http_pool *pool);
DEFINE_CLEANUP(struct http_pool *, http_pool_free)

/* The idle connection to @address that was used last, or NULL. */
struct http_connection *http_pool_take(struct http_pool *pool, const union http_address *address);

/*
 * The following are for fibers. They return a negative errno: of the system call, -ETIME when
 * @limit has passed, -ECANCELED when the task is cancelled.
 */
int http_connection_open(struct http_pool *pool, const union http_address *address,
                         struct http_limit *limit, struct http_connection **ret);

/* Where the request is to be written, @n bytes of it. NULL: no memory. */
char *http_connection_request(struct http_connection *connection, size_t n);
/* Sends the @n bytes of the request, and waits until there may be something to read. */
int http_connection_ask(struct http_connection *connection, size_t n, struct http_limit *limit);

/* Reads what is there into @data, without waiting: -EAGAIN if that is nothing. 0: the end. */
ssize_t http_connection_recv(struct http_connection *connection, void *data, size_t n);
/* Until there may be something to read. */
int http_connection_await_data(struct http_connection *connection, struct http_limit *limit);

/* Gives the connection back, in order for the next request, or not. */
void http_connection_keep(struct http_connection *connection);
void http_connection_close(struct http_connection *connection);
