#include "cli/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/util.h"

struct stream {
        int fd;     /* the standard one */
        int own_fd; /* of the same pipe or terminal, O_NONBLOCK; negative: there is none */
        int signal_fd;
        bool waits; /* it is no regular file, which is always written to at once */
        int error;  /* the first, a negative errno */
};

static bool signal_came;

static struct stream standard[] = {
        { .fd = STDOUT_FILENO, .own_fd = -EBADF, .signal_fd = -EBADF },
        { .fd = STDERR_FILENO, .own_fd = -EBADF, .signal_fd = -EBADF },
};

/*
 * Opens the file again for us alone: O_NONBLOCK on the one that we were given would affect its
 * other users.
 */
static int open_own(int fd)
{
        int flags = fcntl(fd, F_GETFL), own;
        char path[32];
        struct stat st;

        if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) < 0 ||
            (!S_ISFIFO(st.st_mode) && !isatty(fd)))
                return -EBADF;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        return own < 0 ? -errno : own;
}

/* Returns 0 when there is room, -EINTR when a signal came and there was none in time. */
static int await_room(const struct stream *stream)
{
        struct pollfd fds[] = {
                { .fd = stream->fd, .events = POLLOUT },
                { .fd = stream->signal_fd, .events = POLLIN },
        };

        for (;;) {
                int n = signal_came ? poll(fds, 1, STREAM_PATIENCE_MS)
                                    : poll(fds, ARRAY_SIZE(fds), -1);

                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return -EINTR;
                if (n > 0 && fds[0].revents)
                        return 0;
                signal_came |= n > 0;
        }
}

/* Writes some of it. -EAGAIN when nothing can be written now. */
static ssize_t write_some(const struct stream *stream, const char *data, size_t n)
{
        ssize_t l;

        if (stream->own_fd >= 0)
                l = write(stream->own_fd, data, n);
        else /* poll(2) found room in the pipe: PIPE_BUF bytes fit then, and the write does not
                wait. */
                l = write(stream->fd, data, stream->waits ? MIN(n, (size_t)PIPE_BUF) : n);
        return l < 0 ? -errno : l;
}

/* fopencookie(3) takes a short count for an error. */
static ssize_t on_write(void *cookie, const char *data, size_t n)
{
        struct stream *stream = cookie;
        ssize_t l = stream->error == -EINTR ? -EINTR : 0;
        size_t done = 0;

        while (done < n && l >= 0) {
                if (stream->waits && (stream->own_fd < 0 || l == 0))
                        l = await_room(stream);
                if (l >= 0)
                        l = write_some(stream, data + done, n - done);
                if (l == -EAGAIN)
                        l = 0;
                else if (l > 0)
                        done += (size_t)l;
        }
        if (l >= 0)
                return (ssize_t)done;
        if (stream->error == 0)
                stream->error = (int)l;
        errno = (int)-l;
        return (ssize_t)done;
}

static void stream_init(struct stream *stream, int signal_fd)
{
        struct stat st;

        stream->signal_fd = signal_fd;
        stream->own_fd = open_own(stream->fd);
        stream->waits = fstat(stream->fd, &st) >= 0 && !S_ISREG(st.st_mode);
}

void streams_note_signal(void)
{
        signal_came = true;
}

int streams_mind_signals(int signal_fd)
{
        static const cookie_io_functions_t functions = { .write = on_write };
        int fd = fcntl(signal_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        FILE *out = fopencookie(&standard[0], "w", functions);
        FILE *err = fopencookie(&standard[1], "w", functions);

        if (fd < 0 || !out || !err) {
                int r = fd < 0 ? -errno : -ENOMEM;

                close_fd(fd);
                if (out)
                        fclose(out);
                if (err)
                        fclose(err);
                return r;
        }
        stream_init(&standard[0], fd);
        stream_init(&standard[1], fd);
        (void)fflush(stdout);
        (void)fflush(stderr);
        (void)setvbuf(err, NULL, _IONBF, 0);
        stdout = out;
        stderr = err;
        return 0;
}

int streams_output_error(void)
{
        return standard[0].error;
}
