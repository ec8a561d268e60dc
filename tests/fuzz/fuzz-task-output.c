/*
 * libFuzzer: files of tasks and of what they printed that somebody else wrote. They start as good
 * ones, then the input changes bytes of them. A reader must refuse them, or read no more than there
 * is.
 */

#include <sys/mman.h>

#include "lib/task-output.h"
#include "tests/fuzz/fuzz.h"

#define TASKS  3
#define CHUNKS 8

static void add_chunk(int fd, struct tasks *tasks, uint64_t i)
{
        struct ppp_task_stream *stream = &tasks->records[i % TASKS].streams[i % 2];
        const struct ppp_output_chunk chunk = {
                .magic = PPP_OUTPUT_CHUNK_MAGIC,
                .size = 5,
                .task = i % TASKS,
                .previous = stream->last,
                .attempt = 1,
                .stream = i % 2,
        };
        uint64_t at = tasks->header->output_end;

        fuzz_check(pwrite(fd, &chunk, sizeof(chunk), (off_t)at) == (ssize_t)sizeof(chunk));
        fuzz_check(pwrite(fd, "text\n", 5, (off_t)(at + sizeof(chunk))) == 5);
        stream->last = at;
        tasks->header->output_end += sizeof(chunk) + 5;
        tasks->records[i % TASKS].attempts = 1;
}

static int count(void *userdata, const void *data, size_t n)
{
        fuzz_check(n > 0);
        *(uint64_t *)userdata += n;
        return 0;
}

/* Patches reach 64 KiB and a little: no stream can have more. */
static void read_all_tasks(const struct task_output *output)
{
        for (uint64_t i = 0; i < MIN(output->tasks.n_tasks, UINT64_C(100)); ++i)
                for (enum ppp_stream k = 0; k < _PPP_STREAM_N; ++k) {
                        uint64_t n = 0;

                        (void)task_output_read(output, i, k, count, &n);
                        fuzz_check(n < 70000);
                }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_close_ int tasks_fd = memfd_create("fuzz-tasks", MFD_CLOEXEC);
        _cleanup_close_ int output_fd = memfd_create("fuzz-task-output", MFD_CLOEXEC);
        struct task_output output;
        struct tasks tasks;
        size_t half = n / 2;

        fuzz_check(tasks_fd >= 0 && output_fd >= 0);
        fuzz_check(tasks_create(tasks_fd, TASKS) == 0 && task_output_create(output_fd) == 0);
        fuzz_check(tasks_map(tasks_fd, true, &tasks) == 0);
        for (uint64_t i = 0; i < CHUNKS; ++i)
                add_chunk(output_fd, &tasks, i);
        tasks_unmap(&tasks);
        fuzz_patch(tasks_fd, data, half);
        fuzz_patch(output_fd, data + half, n - half);
        if (task_output_open(tasks_fd, output_fd, &output) == 0) {
                read_all_tasks(&output);
                task_output_close(&output);
        }
        return 0;
}
