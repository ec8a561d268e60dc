/*
 * Reading files on the ring.
 *
 * The first three steps go out as one chain, open -> read -> read, so that a small file suspends
 * its fiber only once: the second read shows that the first got everything. The open is linked
 * softly (if it fails the reads are cancelled), the first read hard (a short read would cut a soft
 * link). Reads are at the file's own position, so pipes work too. The rest of a larger file is read
 * one read at a time.
 *
 * The descriptor is a direct one: a place in the ring's own table, never in the process's, which
 * the chain can name before the file is open. A fiber's place is its slot number. Nobody waits for
 * the close, and still the next open in the same place is safe: entries are issued in the order
 * they were queued, and the kernel empties a place while it issues the entry, never later. Where
 * the kernel refuses the table, or it is too small (RLIMIT_NOFILE), plain descriptors serve; then
 * the open has to be waited for.
 *
 * Opening a FIFO waits until somebody has it open to write, or for the task's deadline.
 */

#include <fcntl.h>
#include <sys/resource.h>

#include "daemon/runner/io/async.h"
#include "daemon/runner/runner.h"

/*
 * A buffer for each file in flight; the one that was released last is taken first, since it is in
 * the cache.
 */
#define BUFFER_SIZE (64 * 1024)

#define OPEN_FLAGS (O_RDONLY | O_NOCTTY)

struct buffer {
        struct buffer *next; /* free ones only; lies in the buffer itself */
};

struct async_files {
        struct buffer *free;
        unsigned n_direct; /* places in the ring's table */
};

struct file {
        struct loop *loop;
        struct ppp_task *task;
        ppp_sink *sink;
        void *userdata;
        char *buffer;
        int fd; /* or the place in the ring's table */
        bool direct;
        struct loop_deadline deadline;
        struct loop_wait open, first, second;
};

static unsigned table_size(unsigned window)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return window;
        return (unsigned)MIN((rlim_t)window, limit.rlim_cur);
}

static int files_get(struct async_io *io, struct async_files **ret)
{
        struct async_files *files = io->files;

        if (!files) {
                files = calloc(1, sizeof(*files));
                if (!files)
                        return -ENOMEM;
                files->n_direct = table_size(io->loop->window);
                if (io_uring_register_files_sparse(&io->loop->ring.uring, files->n_direct) < 0)
                        files->n_direct = 0;
                io->files = files;
        }
        *ret = files;
        return 0;
}

struct async_files *async_files_free(struct async_files *files)
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

static char *buffer_take(struct async_files *files)
{
        struct buffer *buffer = files->free;

        if (!buffer)
                return malloc(BUFFER_SIZE);
        files->free = buffer->next;
        return (char *)buffer;
}

static void buffer_put(struct async_files *files, char *data)
{
        struct buffer *buffer = (struct buffer *)data;

        buffer->next = files->free;
        files->free = buffer;
}

/* Arms what was prepared, tied to the entry after it by @link (an IOSQE flag or 0). */
static void step_arm(struct file *file, struct loop_wait *step, struct io_uring_sqe *sqe,
                     unsigned link)
{
        loop_wait_init(step, file->loop);
        sqe->flags |= (uint8_t)link;
        ring_arm(&file->loop->ring, sqe, &step->op);
}

static void step_open(struct file *file, const char *path)
{
        struct io_uring_sqe *sqe = ring_sqe(&file->loop->ring);

        if (file->direct)
                io_uring_prep_openat_direct(sqe, AT_FDCWD, path, OPEN_FLAGS, 0, (unsigned)file->fd);
        else
                io_uring_prep_openat(sqe, AT_FDCWD, path, OPEN_FLAGS | O_CLOEXEC, 0);
        step_arm(file, &file->open, sqe, file->direct ? IOSQE_IO_LINK : 0);
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

static void step_cancel(struct file *file, struct loop_wait *step)
{
        if (step->loop && !step->done)
                ring_cancel(&file->loop->ring, &step->op);
}

static void file_deadline_passed(struct loop_deadline *deadline)
{
        struct file *file = container_of(deadline, struct file, deadline);

        step_cancel(file, &file->open);
        step_cancel(file, &file->first);
        step_cancel(file, &file->second);
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

/* Handles the result of one read: returns 1 to continue, 0 at the end of the file, or a negative
 * errno. */
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

        if (task_cancelled(task) ||
            (task->deadline_ns && task_time_left(task, now_monotonic()) == 0))
                return loop_task_fail(task, PPP_REASON_READ, -ECANCELED);
        return 0;
}

static int file_read_rest(struct file *file)
{
        int r;

        do {
                r = file_may_go_on(file);
                if (r < 0)
                        return r;
                step_read(file, &file->first, 0, BUFFER_SIZE, 0);
                r = file_feed(file, 0, loop_await(&file->first));
        } while (r > 0);
        return r;
}

static void start_reading(struct file *file)
{
        step_read(file, &file->first, 0, BUFFER_SIZE / 2, IOSQE_IO_HARDLINK);
        step_read(file, &file->second, BUFFER_SIZE / 2, BUFFER_SIZE / 2, 0);
}

/* The last of a chain ends last: waiting for that first, the fiber is woken once. */
static void await_reading(struct file *file)
{
        (void)loop_await(&file->second);
        (void)loop_await(&file->first);
}

static int file_read_open(struct file *file)
{
        int r;

        r = file_feed(file, 0, file->first.res);
        if (r > 0)
                r = file_feed(file, BUFFER_SIZE / 2, file->second.res);
        if (r > 0)
                r = file_read_rest(file);
        file_close(file);
        return r;
}

static int file_read_direct(struct file *file, const char *path)
{
        int r;

        ring_reserve(&file->loop->ring, 3);
        step_open(file, path);
        start_reading(file);
        await_reading(file);
        r = loop_await(&file->open);
        if (r < 0)
                return loop_task_fail(file->task, PPP_REASON_OPEN, r);
        return file_read_open(file);
}

static int file_read_plain(struct file *file, const char *path)
{
        int r;

        step_open(file, path);
        r = loop_await(&file->open);
        if (r < 0)
                return loop_task_fail(file->task, PPP_REASON_OPEN, r);
        file->fd = r;
        ring_reserve(&file->loop->ring, 2);
        start_reading(file);
        await_reading(file);
        return file_read_open(file);
}

/* Within the task's deadline, if it has one. */
static int file_read(struct file *file, const char *path)
{
        int r;

        loop_deadline_add(file->loop, &file->deadline, file->task, file->task->deadline_ns);
        r = file->direct ? file_read_direct(file, path) : file_read_plain(file, path);
        loop_deadline_remove(file->loop, &file->deadline);
        return r;
}

int async_read_file(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata)
{
        struct async_io *io = task->worker->io_context;
        struct loop *loop = io->loop;
        struct async_files *files;
        struct file file = {
                .loop = loop,
                .task = task,
                .sink = sink,
                .userdata = userdata,
                .fd = (int)loop_slot(loop),
                .deadline.passed = file_deadline_passed,
        };
        int r;

        if (files_get(io, &files) < 0 || !(file.buffer = buffer_take(files)))
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        file.direct = loop_slot(loop) < files->n_direct;
        r = file_read(&file, path);
        buffer_put(files, file.buffer);
        return r;
}
