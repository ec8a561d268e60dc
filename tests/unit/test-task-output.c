/* What commands printed, read back from the job's files; and files that are not as they should be.
 */

#include <sys/mman.h>

#include "lib/task-output.h"
#include "tests/unit/test.h"

struct files {
        int tasks_fd, output_fd;
        struct tasks tasks; /* writable */
        struct task_output output;
};

static void files_init(struct files *files)
{
        *files = (struct files){ .tasks_fd = memfd_create("tasks", MFD_CLOEXEC),
                                 .output_fd = memfd_create("task-output", MFD_CLOEXEC) };
        test_int(tasks_create(files->tasks_fd, 3), ==, 0);
        test_int(task_output_create(files->output_fd), ==, 0);
        test_int(tasks_map(files->tasks_fd, true, &files->tasks), ==, 0);
        test_int(task_output_open(files->tasks_fd, files->output_fd, &files->output), ==, 0);
        for (size_t i = 0; i < 3; ++i)
                files->tasks.records[i].attempts = 1;
}

static void files_deinit(struct files *files)
{
        task_output_close(&files->output);
        tasks_unmap(&files->tasks);
        close(files->tasks_fd);
        close(files->output_fd);
}

/* As a worker does. */
static uint64_t append(struct files *files, uint64_t task, enum ppp_stream stream, const char *text)
{
        struct ppp_task_record *record = &files->tasks.records[task];
        struct ppp_output_chunk chunk = {
                .magic = PPP_OUTPUT_CHUNK_MAGIC,
                .size = (uint32_t)strlen(text),
                .task = task,
                .previous = record->streams[stream].last,
                .attempt = record->attempts,
                .stream = stream,
        };
        uint64_t at = files->tasks.header->output_end;

        test_int(pwrite(files->output_fd, &chunk, sizeof(chunk), (off_t)at), ==, sizeof(chunk));
        test_int(pwrite(files->output_fd, text, chunk.size, (off_t)(at + sizeof(chunk))), ==,
                 chunk.size);
        files->tasks.header->output_end += sizeof(chunk) + chunk.size;
        record->streams[stream].last = at;
        return at;
}

struct taken {
        char text[256];
        size_t n;
        int error; /* to be returned */
};

static int take(void *userdata, const void *data, size_t n)
{
        struct taken *taken = userdata;

        if (taken->error)
                return taken->error;
        test_int(taken->n + n, <, sizeof(taken->text));
        memcpy(taken->text + taken->n, data, n);
        taken->n += n;
        taken->text[taken->n] = 0;
        return 0;
}

static int read_back(const struct files *files, uint64_t task, enum ppp_stream stream,
                     struct taken *taken)
{
        *taken = (struct taken){ .n = 0 };
        return task_output_read(&files->output, task, stream, take, taken);
}

static void check(const struct files *files, uint64_t task, enum ppp_stream stream,
                  const char *expected)
{
        struct taken taken;

        test_int(read_back(files, task, stream, &taken), ==, 0);
        test_str(taken.text, expected);
}

static void test_streams(void)
{
        struct files files;

        files_init(&files);
        check(&files, 0, PPP_STREAM_OUTPUT, "");
        append(&files, 0, PPP_STREAM_OUTPUT, "one ");
        append(&files, 1, PPP_STREAM_OUTPUT, "another's");
        append(&files, 0, PPP_STREAM_ERROR, "error");
        append(&files, 0, PPP_STREAM_OUTPUT, "two ");
        check(&files, 0, PPP_STREAM_OUTPUT, "one two ");
        append(&files, 0, PPP_STREAM_OUTPUT, "three");
        check(&files, 0, PPP_STREAM_OUTPUT, "one two three");
        check(&files, 0, PPP_STREAM_ERROR, "error");
        check(&files, 1, PPP_STREAM_OUTPUT, "another's");
        check(&files, 2, PPP_STREAM_OUTPUT, "");
        files_deinit(&files);
}

static void test_attempts(void)
{
        struct files files;

        files_init(&files);
        append(&files, 0, PPP_STREAM_OUTPUT, "failed");
        append(&files, 0, PPP_STREAM_ERROR, "why");
        ++files.tasks.records[0].attempts;
        check(&files, 0, PPP_STREAM_OUTPUT, "");
        append(&files, 0, PPP_STREAM_OUTPUT, "a");
        append(&files, 0, PPP_STREAM_OUTPUT, "b");
        check(&files, 0, PPP_STREAM_OUTPUT, "ab");
        check(&files, 0, PPP_STREAM_ERROR, "");
        files_deinit(&files);
}

static void test_sink_fails(void)
{
        struct taken taken = { .error = -EPIPE };
        struct files files;

        files_init(&files);
        append(&files, 0, PPP_STREAM_OUTPUT, "text");
        test_int(task_output_read(&files.output, 0, PPP_STREAM_OUTPUT, take, &taken), ==, -EPIPE);
        files_deinit(&files);
}

/* Each with one thing that is wrong; reading ends, whatever it is. */
static void test_broken(void)
{
        static const struct {
                size_t offset, size;
                uint64_t value;
        } cases[] = {
#define FIELD(name, v) \
        { offsetof(struct ppp_output_chunk, name), sizeof(((struct ppp_output_chunk *)0)->name), v }
                FIELD(magic, 0),      FIELD(size, 0),
                FIELD(size, 1 << 30), FIELD(size, 1000),
                FIELD(task, 1),       FIELD(task, UINT64_MAX),
                FIELD(stream, 1),     FIELD(stream, 77),
                FIELD(previous, 16),  FIELD(previous, UINT64_MAX),
                FIELD(previous, 5),   FIELD(previous, INT64_MAX),
#undef FIELD
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct taken taken;
                struct files files;
                uint64_t at;

                files_init(&files);
                at = append(&files, 0, PPP_STREAM_OUTPUT, "text");
                test_int(pwrite(files.output_fd, &cases[i].value, cases[i].size,
                                (off_t)(at + cases[i].offset)),
                         ==, cases[i].size);
                test_int(read_back(&files, 0, PPP_STREAM_OUTPUT, &taken), ==, -EBADMSG);
                files_deinit(&files);
        }
}

/* Pieces that overlap could make much of a small file. */
static void test_overlapping(void)
{
        struct ppp_output_chunk chunk;
        struct taken taken;
        struct files files;
        uint64_t first;

        files_init(&files);
        first = append(&files, 0, PPP_STREAM_OUTPUT, "one");
        append(&files, 0, PPP_STREAM_OUTPUT, "two");
        test_int(pread(files.output_fd, &chunk, sizeof(chunk), (off_t)first), ==, sizeof(chunk));
        ++chunk.size;
        test_int(pwrite(files.output_fd, &chunk, sizeof(chunk), (off_t)first), ==, sizeof(chunk));
        test_int(read_back(&files, 0, PPP_STREAM_OUTPUT, &taken), ==, -EBADMSG);
        files_deinit(&files);
}

static void test_no_chunk_there(void)
{
        static const uint64_t places[] = { 1, 15, 16, 17, 1 << 20, INT64_MAX, UINT64_MAX };

        for (size_t i = 0; i < ARRAY_SIZE(places); ++i) {
                struct taken taken;
                struct files files;

                files_init(&files);
                files.tasks.records[2].streams[PPP_STREAM_OUTPUT].last = places[i];
                test_int(read_back(&files, 2, PPP_STREAM_OUTPUT, &taken), ==, -EBADMSG);
                files_deinit(&files);
        }
}

static void test_header(void)
{
        static const struct {
                size_t offset;
                uint32_t value;
        } cases[] = {
                { offsetof(struct ppp_tasks_header, magic), 0 },
                { offsetof(struct ppp_tasks_header, version), 2 },
                { offsetof(struct ppp_tasks_header, header_size), 0 },
                { offsetof(struct ppp_tasks_header, record_size), 191 },
                { offsetof(struct ppp_tasks_header, n_tasks), 0 },
                { offsetof(struct ppp_tasks_header, n_tasks), 4 },
                { offsetof(struct ppp_tasks_header, n_tasks), UINT32_MAX },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                struct task_output output;
                struct files files;

                files_init(&files);
                test_int(pwrite(files.tasks_fd, &cases[i].value, sizeof(cases[i].value),
                                (off_t)cases[i].offset),
                         ==, sizeof(cases[i].value));
                test_int(task_output_open(files.tasks_fd, files.output_fd, &output), ==, -EBADMSG);
                files_deinit(&files);
        }
}

TEST_MAIN("task-output", { "streams", test_streams }, { "attempts", test_attempts },
          { "a sink that fails", test_sink_fails }, { "broken chunks", test_broken },
          { "overlapping chunks", test_overlapping }, { "no chunk there", test_no_chunk_there },
          { "the header of tasks", test_header })
