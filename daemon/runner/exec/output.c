#include "daemon/runner/exec/output.h"

#include <fcntl.h>
#include <unistd.h>

#include "daemon/runner/exec/exec.h"
#include "daemon/runner/runner.h"

#define BUFFER_SIZE (64 * 1024) /* as much as a pipe holds */
#define AGAIN_NS    (500 * NSEC_PER_MSEC)

/* The most that is taken at a time, so that the end of the command is seen while it prints. */
#define PIECES_MAX 64

static_assert(BUFFER_SIZE <= PPP_OUTPUT_CHUNK_MAX, "a piece fits in a chunk");

/* Our end only: the command's would be shared with whoever gets it. */
static int make_pipe(int *ret_ours, int *ret_theirs)
{
        int ends[2], r;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
                r = -errno;
                close_fd(ends[0]);
                close_fd(ends[1]);
                return r;
        }
        *ret_ours = ends[0];
        *ret_theirs = ends[1];
        return 0;
}

int output_open(struct output *output, const struct exec *exec, struct ppp_task *task,
                struct ppp_task_record *record, int ret_fds[static _PPP_STREAM_N])
{
        *output = (struct output){ exec, task, record, { -EBADF, -EBADF } };
        for (enum ppp_stream i = 0; i < _PPP_STREAM_N; ++i) {
                int r = 0;

                record->streams[i].bytes = 0;
                if (exec->command->no_output)
                        ret_fds[i] = open("/dev/null", O_WRONLY | O_CLOEXEC);
                else
                        r = make_pipe(&output->fds[i], &ret_fds[i]);
                if (r < 0 || ret_fds[i] < 0)
                        return r < 0 ? r : -errno;
        }
        return 0;
}

void output_close(struct output *output)
{
        for (enum ppp_stream i = 0; i < _PPP_STREAM_N; ++i)
                output->fds[i] = close_fd(output->fds[i]);
}

static void set_condition(const struct output *output, enum ppp_condition condition)
{
        struct ppp_results_header *header = output->task->worker->runner->results.header;

        if (__atomic_load_n(&header->condition, __ATOMIC_RELAXED) != (uint32_t)condition)
                __atomic_store_n(&header->condition, condition, __ATOMIC_RELAXED);
}

/* Until somebody makes room. 0: another try may help. */
static int await_room(struct output *output, uint64_t until_ns)
{
        uint64_t again = now_monotonic() + AGAIN_NS;
        int r;

        set_condition(output, PPP_CONDITION_DISK_FULL);
        r = output->task->worker->io->poll(output->task, NULL, 0, MIN(again, until_ns), true);
        if (r < 0)
                return r;
        return now_monotonic() >= until_ns ? -ETIME : 0;
}

static bool is_for_want_of_room(int error)
{
        return error == -ENOSPC || error == -EDQUOT;
}

/* The buffer of output_take(): the bytes that were read, and room for a chunk's header before them.
 */
struct piece {
        struct ppp_output_chunk chunk;
        char data[BUFFER_SIZE];
};

static int write_piece(struct output *output, const struct piece *piece, uint64_t at,
                       uint64_t until_ns)
{
        const struct io_ops *io = output->task->worker->io;
        size_t n = sizeof(piece->chunk) + piece->chunk.size, done = 0;
        bool waited = false;

        while (done < n) {
                ssize_t l = io->write(output->task, output->exec->output_fd,
                                      (const char *)piece + done, n - done, at + done);
                int r = 0;

                if (l > 0) {
                        done += (size_t)l;
                } else if (is_for_want_of_room((int)l)) {
                        waited = true;
                        r = await_room(output, until_ns);
                } else if (l != -EINTR) {
                        r = l < 0 ? (int)l : -EIO;
                }
                if (r < 0)
                        return r;
        }
        if (waited)
                set_condition(output, PPP_CONDITION_NONE);
        return 0;
}

static int append(struct output *output, enum ppp_stream stream, struct piece *piece, size_t n,
                  uint64_t until_ns)
{
        struct ppp_task_stream *to = &output->record->streams[stream];
        uint64_t at = __atomic_fetch_add(&output->exec->tasks.header->output_end,
                                         sizeof(piece->chunk) + n, __ATOMIC_RELAXED);
        int r;

        piece->chunk = (struct ppp_output_chunk){
                .magic = PPP_OUTPUT_CHUNK_MAGIC,
                .size = (uint32_t)n,
                .task = output->task->index,
                .previous = to->last,
                .attempt = output->record->attempts,
                .stream = stream,
        };
        r = write_piece(output, piece, at, until_ns);
        if (r >= 0)
                __atomic_store_n(&to->last, at, __ATOMIC_RELEASE);
        return r;
}

/* As much of it as is kept. */
static int keep(struct output *output, enum ppp_stream stream, struct piece *piece, size_t n,
                uint64_t until_ns)
{
        struct ppp_task_stream *to = &output->record->streams[stream];
        uint64_t max = output->exec->command->output_max ?: UINT64_MAX;
        size_t n_kept = to->bytes < max ? (size_t)MIN(n, max - to->bytes) : 0;
        int r = n_kept > 0 ? append(output, stream, piece, n_kept, until_ns) : 0;

        if (r >= 0)
                __atomic_store_n(&to->bytes, to->bytes + n, __ATOMIC_RELAXED);
        return r;
}

int output_take(struct output *output, enum ppp_stream stream, uint64_t until_ns)
{
        _cleanup_free_ struct piece *piece = NULL;
        int r = 0;

        if (output->fds[stream] < 0)
                return 0;
        piece = malloc(sizeof(*piece));
        if (!piece)
                return -ENOMEM;
        for (unsigned i = 0; i < PIECES_MAX && r >= 0; ++i) {
                ssize_t n = read(output->fds[stream], piece->data, sizeof(piece->data));

                if (n < 0)
                        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
                if (n == 0) {
                        output->fds[stream] = close_fd(output->fds[stream]);
                        return 0;
                }
                r = keep(output, stream, piece, (size_t)n, until_ns);
        }
        return r;
}
