/*
 * Reading files on the ring.
 *
 * The first three steps go out as one chain, open -> read -> read, so that a small file costs its
 * fiber one suspension: the second read tells that the first had it all. The open is linked softly
 * (if it fails the reads are cancelled), the first read hard (a short read would cut a soft link).
 * Reads are at the file's own position, so pipes work too. What is larger goes on one read at a time.
 *
 * The descriptor is a direct one: a place in the ring's own table, never in the process's, which the
 * chain can name before the file is open. A fiber's place is its slot number. Closing is not waited
 * for, and yet the next open in the same place is safe: entries are issued in the order they were
 * queued, and the kernel empties a place while it issues the entry, never later. Where the kernel
 * refuses the table, or it is too small (RLIMIT_NOFILE), plain descriptors serve; then the open
 * has to be waited for.
 *
 * The kernel's first try of an open is a non-blocking one, hence a FIFO that nobody has open to write
 * is empty, as it is for the blocking backend. With a deadline each step has a linked timeout.
 */

#include <fcntl.h>
#include <sys/resource.h>

#include "daemon/runner/io/uring.h"
#include "daemon/runner/runner.h"

/* One buffer a file in flight; what was let go of last is taken first, since it is in the cache. */
#define BUFFER_SIZE     (64 * 1024)

#define OPEN_FLAGS      (O_RDONLY | O_NOCTTY)

struct buffer {
        struct buffer *next;            /* free ones only; lies in the buffer itself */
};

struct uring_files {
        struct buffer *free;
        unsigned n_direct;              /* places in the ring's table */
};

struct file {
        struct loop *loop;
        struct ppp_task *task;
        ppp_sink *sink;
        void *userdata;
        struct __kernel_timespec deadline;
        char *buffer;
        int fd;                         /* or the place in the ring's table */
        bool direct;
};

static unsigned table_size(unsigned window)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return window;
        return (unsigned)MIN((rlim_t)window, limit.rlim_cur);
}

static int files_get(struct loop *loop, struct uring_files **ret)
{
        struct uring_files *files = loop->files;

        if (!files) {
                files = calloc(1, sizeof(*files));
                if (!files)
                        return -ENOMEM;
                files->n_direct = table_size(loop->window);
                if (io_uring_register_files_sparse(&loop->ring.uring, files->n_direct) < 0)
                        files->n_direct = 0;
                loop->files = files;
        }
        *ret = files;
        return 0;
}

struct uring_files *uring_files_free(struct uring_files *files)
{
        struct buffer *next;

        if (!files)
                return NULL;
        for (struct buffer *buffer = files->free; buffer; buffer = next) {
                next = buffer->next;
                free(buffer);
        }
        free(files);
        return NULL;
}

static char *buffer_take(struct uring_files *files)
{
        struct buffer *buffer = files->free;

        if (!buffer)
                return malloc(BUFFER_SIZE);
        files->free = buffer->next;
        return (char *)buffer;
}

static void buffer_put(struct uring_files *files, char *data)
{
        struct buffer *buffer = (struct buffer *)data;

        buffer->next = files->free;
        files->free = buffer;
}

/*
 * Arms what was prepared, tied to the entry after it by @link (an IOSQE flag or 0). Of its timeout
 * nobody needs to hear: a step that was timed out says -ECANCELED, and the clock why.
 */
static void step_arm(struct file *file, struct loop_wait *step, struct io_uring_sqe *sqe,
                     unsigned link)
{
        struct ring *ring = &file->loop->ring;
        bool bounded = file->task->deadline_ns != 0;

        loop_wait_init(step, file->loop);
        sqe->flags |= (uint8_t)(link | (bounded ? IOSQE_IO_LINK : 0));
        ring_arm(ring, sqe, &step->op);
        if (!bounded)
                return;

        sqe = ring_sqe(ring);
        io_uring_prep_link_timeout(sqe, &file->deadline, IORING_TIMEOUT_ABS);
        sqe->flags |= (uint8_t)(link | IOSQE_CQE_SKIP_SUCCESS);
        ring_arm(ring, sqe, NULL);
}

static void step_open(struct file *file, struct loop_wait *step, const char *path)
{
        struct io_uring_sqe *sqe = ring_sqe(&file->loop->ring);

        if (file->direct)
                io_uring_prep_openat_direct(sqe, AT_FDCWD, path, OPEN_FLAGS, 0,
                                            (unsigned)file->fd);
        else
                io_uring_prep_openat(sqe, AT_FDCWD, path, OPEN_FLAGS | O_CLOEXEC, 0);
        step_arm(file, step, sqe, file->direct ? IOSQE_IO_LINK : 0);
}

static void step_read(struct file *file, struct loop_wait *step, size_t offset, size_t size,
                      unsigned link)
{
        struct io_uring_sqe *sqe = ring_sqe(&file->loop->ring);

        io_uring_prep_read(sqe, file->fd, file->buffer + offset, (unsigned)size, (uint64_t)-1);
        if (file->direct)
                sqe->flags |= IOSQE_FIXED_FILE;
        step_arm(file, step, sqe, link);
}

static void file_close(struct file *file)
{
        struct io_uring_sqe *sqe = ring_sqe(&file->loop->ring);

        if (file->direct)
                io_uring_prep_close_direct(sqe, (unsigned)file->fd);
        else
                io_uring_prep_close(sqe, file->fd);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        ring_arm(&file->loop->ring, sqe, NULL);
}

/* What one read gave: 1 to go on, 0 at the end of the file, or a negative errno. */
static int file_feed(struct file *file, size_t offset, int res)
{
        struct ppp_chunk chunk = { file->buffer + offset, (size_t)MAX(res, 0), NULL };
        int r;

        if (res < 0)
                return loop_task_fail(file->task, PPP_REASON_READ, res);
        if (res == 0)
                return 0;
        r = file->sink(file->userdata, &chunk);
        return r < 0 ? r : 1;
}

/* A file in the page cache never waits, so neither cancellation nor a timeout would meet it. */
static int file_may_go_on(struct file *file)
{
        struct ppp_task *task = file->task;

        if (runner_cancelled(task->worker->runner) ||
            (task->deadline_ns && task_time_left(task, now_monotonic()) == 0))
                return loop_task_fail(task, PPP_REASON_READ, -ECANCELED);
        return 0;
}

static int file_read_rest(struct file *file)
{
        struct loop_wait step;
        int r;

        do {
                r = file_may_go_on(file);
                if (r < 0)
                        return r;
                ring_reserve(&file->loop->ring, 2);
                step_read(file, &step, 0, BUFFER_SIZE, 0);
                r = file_feed(file, 0, loop_await(&step));
        } while (r > 0);
        return r;
}

/* Awaits the pair of reads, the last one first: it ends last, so the fiber is woken once. */
static int file_read_first(struct file *file, struct loop_wait *first, struct loop_wait *second)
{
        int second_res = loop_await(second), r;

        r = file_feed(file, 0, loop_await(first));
        if (r > 0)
                r = file_feed(file, BUFFER_SIZE / 2, second_res);
        return r > 0 ? file_read_rest(file) : r;
}

static void file_start_reading(struct file *file, struct loop_wait *first, struct loop_wait *second)
{
        step_read(file, first, 0, BUFFER_SIZE / 2, IOSQE_IO_HARDLINK);
        step_read(file, second, BUFFER_SIZE / 2, BUFFER_SIZE / 2, 0);
}

static int file_read_direct(struct file *file, const char *path)
{
        struct loop_wait open, first, second;
        int r;

        ring_reserve(&file->loop->ring, 6);
        step_open(file, &open, path);
        file_start_reading(file, &first, &second);
        (void)loop_await(&second);
        (void)loop_await(&first);
        r = loop_await(&open);
        if (r < 0)
                return loop_task_fail(file->task, PPP_REASON_OPEN, r);
        r = file_read_first(file, &first, &second);
        file_close(file);
        return r;
}

static int file_read_plain(struct file *file, const char *path)
{
        struct loop_wait open, first, second;
        int r;

        ring_reserve(&file->loop->ring, 2);
        step_open(file, &open, path);
        r = loop_await(&open);
        if (r < 0)
                return loop_task_fail(file->task, PPP_REASON_OPEN, r);
        file->fd = r;
        ring_reserve(&file->loop->ring, 4);
        file_start_reading(file, &first, &second);
        r = file_read_first(file, &first, &second);
        file_close(file);
        return r;
}

int uring_read_file(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata)
{
        struct loop *loop = task->worker->io_context;
        struct uring_files *files;
        struct file file = {
                .loop = loop,
                .task = task,
                .sink = sink,
                .userdata = userdata,
                .deadline = loop_timespec(task->deadline_ns),
                .fd = (int)loop_slot(loop),
        };
        int r;

        if (files_get(loop, &files) < 0 || !(file.buffer = buffer_take(files)))
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        file.direct = loop_slot(loop) < files->n_direct;
        r = file.direct ? file_read_direct(&file, path) : file_read_plain(&file, path);
        buffer_put(files, file.buffer);
        return r;
}
