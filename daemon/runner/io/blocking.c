#include "daemon/runner/io/blocking.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "daemon/runner/exec/exec.h"
#include "daemon/runner/fetch/http-answer.h"
#include "daemon/runner/fetch/http-fetch.h"
#include "daemon/runner/fetch/http-socket.h"
#include "daemon/runner/interrupt.h"
#include "daemon/runner/worker.h"

#define READ_SIZE (128 * 1024) /* stays in the second level of the cache */

struct blocking_io {
        struct runner *runner;
        struct interrupt interrupt;
        struct http_transport *http; /* made by the first fetch */
        struct http_codings codings;
        char *buffer; /* READ_SIZE, made by the first file */
};

int blocking_io_new(struct runner *runner, struct blocking_io **ret)
{
        struct blocking_io *io = calloc(1, sizeof(*io));
        int r;

        if (!io)
                return -ENOMEM;
        r = interrupt_init(&io->interrupt, runner);
        if (r < 0) {
                free(io);
                return r;
        }
        io->runner = runner;
        *ret = io;
        return 0;
}

struct blocking_io *blocking_io_free(struct blocking_io *io)
{
        if (io) {
                http_socket_free(io->http);
                http_codings_deinit(&io->codings);
                interrupt_deinit(&io->interrupt);
                free(io->buffer);
                free(io);
        }
        return NULL;
}

static int blocking_fetch(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata)
{
        struct blocking_io *io = task->worker->io_context;

        if (!io->http && http_socket_new(io->runner, &io->interrupt, &io->http) < 0)
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        return http_fetch(io->http, &io->codings, task, url, sink, userdata);
}

/* As interrupt_wait(), for reading; @until_ns 0: never. A failure is noted on the task. */
static int wait_until(struct ppp_task *task, int fd, uint64_t until_ns)
{
        struct blocking_io *io = task->worker->io_context;
        int r = interrupt_wait(&io->interrupt, task, fd, POLLIN, until_ns ?: UINT64_MAX);

        if (r == -ECANCELED)
                return task_fail(task, PPP_REASON_CANCELLED, 0);
        return r < 0 ? task_fail(task, PPP_REASON_IO, -r) : r;
}

static int blocking_sleep(struct ppp_task *task, uint64_t nanoseconds)
{
        uint64_t until;
        bool cut;
        int r;

        if (__builtin_add_overflow(now_monotonic(), nanoseconds, &until))
                until = UINT64_MAX;
        cut = task->deadline_ns && task->deadline_ns < until;
        r = wait_until(task, -1, cut ? task->deadline_ns : until);
        if (r < 0)
                return r;
        return cut ? task_fail(task, PPP_REASON_TIMEOUT, 0) : 0;
}

/* A read that would block (a pipe, a socket, a terminal) is waited for beside the cancellation. */
static ssize_t read_some(struct ppp_task *task, int fd, char *buffer)
{
        for (;;) {
                ssize_t n = read(fd, buffer, READ_SIZE);
                int r;

                if (n >= 0)
                        return n;
                if (errno == EINTR)
                        continue;
                if (errno != EAGAIN)
                        return task_fail(task, PPP_REASON_READ, errno);
                r = wait_until(task, fd, task->deadline_ns);
                if (r < 0)
                        return r;
                if (r == 0)
                        return task_fail(task, PPP_REASON_TIMEOUT, 0);
        }
}

/*
 * A FIFO that nobody has opened to write yet reads as ended, but polls as not ready (fifo(7)): wait
 * for its first writer, as a blocking open would and as the ring does. 1: there is something to
 * read again.
 */
static int await_writer(struct ppp_task *task, int fd)
{
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
                return 0;
        r = wait_until(task, fd, task->deadline_ns);
        return r == 0 ? task_fail(task, PPP_REASON_TIMEOUT, 0) : r;
}

static int read_to_end(struct ppp_task *task, int fd, char *buffer, ppp_sink *sink, void *userdata)
{
        for (bool first = true;; first = false) {
                ssize_t n = read_some(task, fd, buffer);
                struct ppp_chunk chunk = { buffer, (size_t)MAX(n, (ssize_t)0), NULL };
                int r;

                if (n == 0 && first) {
                        r = await_writer(task, fd);
                        if (r <= 0)
                                return r;
                        continue;
                }
                if (n <= 0)
                        return (int)n;
                r = sink(userdata, &chunk);
                if (r < 0)
                        return r;
                if (task_cancelled(task))
                        return task_fail(task, PPP_REASON_CANCELLED, 0);
                if (task->deadline_ns && now_monotonic() >= task->deadline_ns)
                        return task_fail(task, PPP_REASON_TIMEOUT, 0);
        }
}

static int blocking_read_file(struct ppp_task *task, const char *path, ppp_sink *sink,
                              void *userdata)
{
        struct blocking_io *io = task->worker->io_context;
        _cleanup_close_ int fd = -EBADF;

        if (!io->buffer && !(io->buffer = malloc(READ_SIZE)))
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        /* Non-blocking, so that a FIFO nobody writes to does not keep the worker from a
         * cancellation. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return task_fail(task, PPP_REASON_OPEN, errno);
        return read_to_end(task, fd, io->buffer, sink, userdata);
}

static int blocking_poll(struct ppp_task *task, struct pollfd *fds, unsigned n, uint64_t until_ns,
                         bool hears)
{
        struct blocking_io *io = task->worker->io_context;

        return interrupt_poll(&io->interrupt, task, fds, n, until_ns, hears);
}

static ssize_t blocking_write(struct ppp_task *task, int fd, const void *data, size_t n,
                              uint64_t offset)
{
        ssize_t l = pwrite(fd, data, n, (off_t)offset);

        return l < 0 ? -errno : l;
}

static void blocking_wait_for_tasks(struct worker *worker, struct task_source *source)
{
        source->ops->wait(source);
}

const struct io_ops blocking_ops = {
        .fetch = blocking_fetch,
        .read_file = blocking_read_file,
        .sleep = blocking_sleep,
        .run_command = exec_run,
        .poll = blocking_poll,
        .write = blocking_write,
        .wait_for_tasks = blocking_wait_for_tasks,
};
