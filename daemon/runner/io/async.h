#pragma once

/*
 * The async back end: a call that waits suspends the fiber that it runs on. Each loop has one
 * context, which keeps its connections and buffers.
 */

#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/fetch/http-answer.h"
#include "daemon/runner/loop/loop.h"
#include "daemon/runner/worker.h"

struct async_files;
struct pool;
struct http_transport;

struct async_io {
        struct loop *loop;
        struct fetcher_bounds bounds;
        struct http_transport *http; /* made by the first fetch */
        struct http_codings codings;
        struct pool *pool;         /* for what tasks compute; NULL: they compute on the loop */
        struct async_files *files; /* made by the first file that is read */
};

extern const struct io_ops async_ops; /* io_context is a struct async_io * */

/* @loop has been set up. */
void async_io_init(struct async_io *io, struct loop *loop, const struct fetcher_bounds *bounds);

/* After loop_deinit(). */
void async_io_deinit(struct async_io *io);

/* async-poll.c */
int async_poll(struct ppp_task *task, struct pollfd *fds, unsigned n, uint64_t until_ns,
               bool hears);
ssize_t async_write(struct ppp_task *task, int fd, const void *data, size_t n, uint64_t offset);

/* async-file.c */
int async_read_file(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata);
struct async_files *async_files_free(struct async_files *files);
