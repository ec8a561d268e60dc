#include "lib/task-output.h"

#include <fcntl.h>

#define BUFFER_SIZE (128 * 1024)

/* Where the pieces of a stream are, the last one first. */
struct chain {
        uint64_t *offsets; /* of their bytes */
        uint32_t *sizes;
        size_t n, size;
};

static void chain_deinit(struct chain *chain)
{
        free(chain->offsets);
        free(chain->sizes);
}

static bool has_magic(int fd)
{
        char magic[sizeof(PPP_OUTPUT_MAGIC) - 1];

        return pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
               memcmp(magic, PPP_OUTPUT_MAGIC, sizeof(magic)) == 0;
}

int task_output_open(int tasks_fd, int output_fd, struct task_output *ret)
{
        struct task_output output = TASK_OUTPUT_NULL;
        int r;

        if (!has_magic(output_fd))
                return -EBADMSG;

        output.fd = fcntl(output_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (output.fd < 0)
                return -errno;
        r = tasks_map(tasks_fd, false, &output.tasks);
        if (r < 0)
                close_fd(output.fd);
        else
                *ret = output;
        return r;
}

void task_output_close(struct task_output *output)
{
        tasks_unmap(&output->tasks);
        output->fd = close_fd(output->fd);
}

static int chain_add(struct chain *chain, uint64_t offset, uint32_t n)
{
        if (chain->n == chain->size) {
                size_t size = MAX(2 * chain->size, (size_t)16);
                uint64_t *offsets = reallocarray(chain->offsets, size, sizeof(*offsets));
                uint32_t *sizes;

                if (!offsets)
                        return -ENOMEM;
                chain->offsets = offsets;
                sizes = reallocarray(chain->sizes, size, sizeof(*sizes));
                if (!sizes)
                        return -ENOMEM;
                chain->sizes = sizes;
                chain->size = size;
        }
        chain->offsets[chain->n] = offset;
        chain->sizes[chain->n++] = n;
        return 0;
}

/*
 * Each piece ends before the next one, which is at @end: so there is no circle, and no more to be
 * read than the file has.
 */
static bool is_piece(const struct ppp_output_chunk *chunk, uint64_t at, uint64_t end, uint64_t task,
                     enum ppp_stream stream)
{
        return chunk->magic == PPP_OUTPUT_CHUNK_MAGIC && chunk->task == task &&
               chunk->stream == (uint32_t)stream && chunk->size > 0 &&
               chunk->size <= PPP_OUTPUT_CHUNK_MAX && chunk->previous < at &&
               at + sizeof(*chunk) + chunk->size <= end;
}

/* Back to the beginning of the last attempt. */
static int chain_find(struct chain *chain, const struct task_output *output, uint64_t task,
                      enum ppp_stream stream)
{
        const struct ppp_task_record *record = &output->tasks.records[task];
        uint64_t at = __atomic_load_n(&record->streams[stream].last, __ATOMIC_ACQUIRE);
        uint32_t attempt = __atomic_load_n(&record->attempts, __ATOMIC_RELAXED);
        uint64_t end = INT64_MAX;

        while (at > 0) {
                struct ppp_output_chunk chunk;
                int r;

                if (at > INT64_MAX - sizeof(chunk) - PPP_OUTPUT_CHUNK_MAX ||
                    pread(output->fd, &chunk, sizeof(chunk), (off_t)at) != (ssize_t)sizeof(chunk) ||
                    !is_piece(&chunk, at, end, task, stream))
                        return -EBADMSG;
                if (chunk.attempt != attempt)
                        return 0;
                r = chain_add(chain, at + sizeof(chunk), chunk.size);
                if (r < 0)
                        return r;
                end = at;
                at = chunk.previous;
        }
        return 0;
}

static int read_piece(const struct task_output *output, uint64_t offset, uint32_t n, char *buffer,
                      task_output_sink *sink, void *userdata)
{
        while (n > 0) {
                ssize_t l = pread(output->fd, buffer, MIN(n, (uint32_t)BUFFER_SIZE), (off_t)offset);
                int r;

                if (l < 0 && errno == EINTR)
                        continue;
                if (l <= 0)
                        return l < 0 ? -errno : -EBADMSG;
                r = sink(userdata, buffer, (size_t)l);
                if (r < 0)
                        return r;
                offset += (uint64_t)l;
                n -= (uint32_t)l;
        }
        return 0;
}

int task_output_read(const struct task_output *output, uint64_t task, enum ppp_stream stream,
                     task_output_sink *sink, void *userdata)
{
        _cleanup_(chain_deinit) struct chain chain = { .n = 0 };
        _cleanup_free_ char *buffer = NULL;
        int r;

        assert(task < output->tasks.n_tasks);
        r = chain_find(&chain, output, task, stream);
        if (r < 0 || chain.n == 0)
                return r;
        buffer = malloc(BUFFER_SIZE);
        if (!buffer)
                return -ENOMEM;
        for (size_t i = chain.n; i > 0 && r >= 0; --i)
                r = read_piece(output, chain.offsets[i - 1], chain.sizes[i - 1], buffer, sink,
                               userdata);
        return r;
}
