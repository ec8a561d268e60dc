#pragma once

/*
 * A web server for tests, in a thread of the test itself: says what it is told to by the path,
 * much of which no honest server would say. A thread a connection; it lives as long as the process.
 */

#include <arpa/inet.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <zlib.h>

#include "lib/util.h"

struct http_server {
        int fd;
        uint16_t port;
        unsigned n_connections; /* accepted so far */
        unsigned n_open;        /* a futex: who waits for it is woken by each change */
        unsigned n_requests;
};

struct http_connection {
        struct http_server *server;
        int fd;
};

static inline unsigned http_counter(const unsigned *counter)
{
        return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static inline void http_count_open(struct http_server *server, int change)
{
        __atomic_fetch_add(&server->n_open, (unsigned)change, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &server->n_open, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/*
 * Waits until @n connections are open: the server hears of an end a little later than the client
 * makes it. False after ten seconds.
 */
static inline bool http_await_open(struct http_server *server, unsigned n)
{
        uint64_t end = now_monotonic() + 10 * NSEC_PER_SEC;
        unsigned n_open;

        while ((n_open = http_counter(&server->n_open)) != n && now_monotonic() < end) {
                const struct timespec second = { 1, 0 };

                syscall(SYS_futex, &server->n_open, FUTEX_WAIT_PRIVATE, n_open, &second, NULL, 0);
        }
        return n_open == n;
}

static inline void http_counters_reset(struct http_server *server)
{
        __atomic_store_n(&server->n_connections, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&server->n_requests, 0, __ATOMIC_SEQ_CST);
}

static inline bool http_send(int fd, const char *text, size_t n)
{
        while (n > 0) {
                ssize_t l = send(fd, text, n, MSG_NOSIGNAL);

                if (l <= 0)
                        return false;
                text += l;
                n -= (size_t)l;
        }
        return true;
}

static inline bool http_say(int fd, const char *text)
{
        return http_send(fd, text, strlen(text));
}

/* An answer with @extra header lines, each ended by CR LF, and a body. */
static inline bool http_answer(int fd, const char *status, const char *extra, const char *body)
{
        char head[1024];
        int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status,
                         strlen(body), extra);

        return http_send(fd, head, (size_t)n) && http_say(fd, body);
}

/* Until the other side has closed the connection. */
static inline void http_wait_for_end(int fd)
{
        char byte;

        while (recv(fd, &byte, 1, 0) > 0)
                continue;
}

/* @n bytes of "word " over and over, as one body. */
static inline bool http_answer_words(int fd, const char *status, size_t n)
{
        char block[4000], head[256];

        for (size_t i = 0; i < sizeof(block); ++i)
                block[i] = "word "[i % 5];
        snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, n);
        if (!http_say(fd, head))
                return false;
        while (n > 0) {
                size_t part = MIN(n, sizeof(block));

                if (!http_send(fd, block, part))
                        return false;
                n -= part;
        }
        return true;
}

static inline bool http_redirect(int fd, const char *to)
{
        char line[256];

        snprintf(line, sizeof(line), "Location: %s\r\nContent-Type: text/html; charset=koi8-r\r\n",
                 to);
        return http_answer(fd, "302 Found", line, "this body is not handed on");
}

/* A few kilobytes that unfold to @n megabytes: zeros, compressed once. */
static inline bool http_answer_bomb(int fd, unsigned n)
{
        enum { MEGABYTE = 1 << 20 };
        size_t size = n * (size_t)MEGABYTE / 900 + 4096;
        z_stream stream = { 0 };
        unsigned char *zeros = calloc(1, MEGABYTE), *body = malloc(size);
        char head[256];
        bool sent;

        if (!zeros || !body || deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY))
                abort();
        stream.next_out = body;
        stream.avail_out = (unsigned)size;
        for (unsigned i = 0; i < n; ++i) {
                stream.next_in = zeros;
                stream.avail_in = MEGABYTE;
                deflate(&stream, i + 1 == n ? Z_FINISH : Z_NO_FLUSH);
        }
        size -= stream.avail_out;
        deflateEnd(&stream);
        snprintf(head, sizeof(head),
                 "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 size);
        sent = http_say(fd, head) && http_send(fd, (char *)body, size);
        free(zeros);
        free(body);
        return sent;
}

/* Answers that leave the connection in order. */
static inline bool http_answer_path(int fd, const char *path)
{
        unsigned n;
        char to[64];

        if (sscanf(path, "/redirect/%u", &n) == 1) {
                snprintf(to, sizeof(to), n > 1 ? "/redirect/%u" : "/plain", n - 1);
                return http_redirect(fd, to);
        }
        if (sscanf(path, "/bomb/%u", &n) == 1)
                return http_answer_bomb(fd, n);
        if (sscanf(path, "/words/%u", &n) == 1)
                return http_answer_words(fd, "200 OK", n);
        if (sscanf(path, "/error/%u", &n) == 1)
                return http_answer_words(fd, "500 Of Course", n);
        if (streq(path, "/charset"))
                return http_answer(fd, "200 OK",
                                   "Content-Type: text/html; Charset=\"ISO-8859-1\"\r\n", "latin");
        if (streq(path, "/chunked"))
                return http_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                    "5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n");
        if (streq(path, "/to-ftp"))
                return http_redirect(fd, "ftp://127.0.0.1/file");
        if (streq(path, "/missing"))
                return http_answer(fd, "404 Not Found", "", "no such page");
        if (streq(path, "/empty"))
                return http_answer(fd, "200 OK", "", "");
        if (streq(path, "/bad-gzip"))
                return http_answer(fd, "200 OK", "Content-Encoding: gzip\r\n", "this is no gzip");
        return http_answer(fd, "200 OK", "", "plain");
}

#define HTTP_DRIP_BYTES 16
#define HTTP_DRIP_NS    (110 * NSEC_PER_MSEC)

/* A byte at a time, with pauses that are short of what a client may lose patience over. */
static inline void http_drip(int fd)
{
        struct timespec ts = { 0, HTTP_DRIP_NS };

        http_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n");
        for (unsigned i = 0; i < HTTP_DRIP_BYTES; ++i) {
                nanosleep(&ts, NULL);
                http_say(fd, "a");
        }
}

/* Answers that break off; false: the path is none of these. */
static inline bool http_break(int fd, const char *path)
{
        if (streq(path, "/drop"))
                return true;
        if (streq(path, "/hang")) {
                http_wait_for_end(fd);
        } else if (streq(path, "/stall")) {
                http_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
                http_wait_for_end(fd);
        } else if (streq(path, "/drip")) {
                http_drip(fd);
        } else if (streq(path, "/short")) {
                http_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        } else if (streq(path, "/no-http")) {
                http_say(fd, "220 mail.example ESMTP ready\r\n");
        } else {
                return false;
        }
        return true;
}

/* One request line and its header; the rest of the stream stays. False at the end. */
static inline bool http_read_request(FILE *stream, char *path)
{
        char line[4096];

        if (!fgets(line, sizeof(line), stream) || sscanf(line, "GET %127s", path) != 1)
                return false;
        while (fgets(line, sizeof(line), stream))
                if (streq(line, "\r\n"))
                        return true;
        return false;
}

static inline void *http_serve_connection(void *userdata)
{
        struct http_connection *connection = userdata;
        struct http_server *server = connection->server;
        FILE *stream = fdopen(connection->fd, "r");
        int fd = connection->fd;
        char path[128];

        free(connection);
        while (stream && http_read_request(stream, path)) {
                __atomic_fetch_add(&server->n_requests, 1, __ATOMIC_SEQ_CST);
                if (http_break(fd, path) || !http_answer_path(fd, path))
                        break;
        }
        http_count_open(server, -1);
        if (stream)
                fclose(stream);
        return NULL;
}

/*
 * Detached from its start: one that is detached a moment later may have ended by then, and a
 * sanitizer that looks at the process's end in between finds a leak.
 */
static inline int http_thread_start(void *(*run)(void *userdata), void *userdata)
{
        pthread_attr_t attributes;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        r = pthread_create(&thread, &attributes, run, userdata);
        pthread_attr_destroy(&attributes);
        return -r;
}

static inline void *http_serve(void *userdata)
{
        struct http_server *server = userdata;

        for (;;) {
                struct http_connection *connection = malloc(sizeof(*connection));
                int one = 1;

                assert(connection);
                connection->server = server;
                connection->fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
                if (connection->fd < 0) {
                        free(connection);
                        return NULL;
                }
                setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                __atomic_fetch_add(&server->n_connections, 1, __ATOMIC_SEQ_CST);
                http_count_open(server, 1);
                (void)http_thread_start(http_serve_connection, connection);
        }
}

/* A socket bound to a free port of this machine; connecting is refused until it listens. */
static inline int http_bind(uint16_t *ret_port)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        socklen_t n = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, n) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &n) < 0)
                return close_fd(fd);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

/* 0 or a negative errno. */
static inline int http_server_start(struct http_server *server)
{
        *server = (struct http_server){ 0 };
        server->fd = http_bind(&server->port);
        if (server->fd < 0 || listen(server->fd, SOMAXCONN) < 0)
                return -errno;
        return http_thread_start(http_serve, server);
}
