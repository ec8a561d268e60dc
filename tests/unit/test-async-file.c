/* Files on the ring: of every size and kind, what can't be read, deadlines, cancellation. */

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/async-job.h"

static char directory[] = "/tmp/test-loop-XXXXXX";

/* sink: adds up bytes, and a sum that tells their order */
struct digest {
        uint64_t n, sum;
        uint64_t fail_at; /* 0: never */
};

static int digest_sink(void *userdata, const struct ppp_chunk *chunk)
{
        struct digest *digest = userdata;
        const uint8_t *data = chunk->data;

        for (size_t i = 0; i < chunk->size; ++i)
                digest->sum = digest->sum * 31 + data[i];
        digest->n += chunk->size;
        return digest->fail_at && digest->n >= digest->fail_at ? -EBADMSG : 0;
}

/* Input: a path. Value: the number of bytes read. */
static int run_file(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct digest digest = { 0 };
        int r = ppp_read_file(task, input, digest_sink, &digest);

        *ret = digest.n;
        return r;
}

static int run_digest(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct digest digest = { 0 };
        int r = ppp_read_file(task, input, digest_sink, &digest);

        *ret = digest.sum;
        return r;
}

static int run_stopped(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        struct digest digest = { .fail_at = 1 };

        *ret = 0;
        return ppp_read_file(task, input, digest_sink, &digest);
}

static void make_file(const char *name, size_t size)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = malloc(size + 1), *path = NULL;

        test_int(asprintf(&path, "%s/%s", directory, name), >, 0);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        for (size_t i = 0; i < size; ++i)
                text[i] = (char)('a' + i * 7 % 26);
        test_int(write_all(fd, text, size), ==, 0);
}

static void job_add_file(struct job *job, const char *name)
{
        _cleanup_free_ char *path = NULL;

        test_int(asprintf(&path, "%s/%s", directory, name), >, 0);
        job_add(job, path);
}

static const size_t sizes[] = { 0,     1,     4096,  32767,  32768,  32769,  65535,
                                65536, 65537, 98304, 131072, 131073, 1000000 };

static void make_sizes(struct job *job)
{
        for (size_t i = 0; i < ARRAY_SIZE(sizes); ++i) {
                char name[32];

                snprintf(name, sizeof(name), "size-%zu", sizes[i]);
                make_file(name, sizes[i]);
                job_add_file(job, name);
        }
}

/* All sizes around the borders of the buffer; with few fibers, places in the table are reused. */
static void read_sizes(unsigned window, uint64_t timeout_ns)
{
        struct job job;

        job_begin(&job);
        for (int i = 0; i < 20; ++i)
                make_sizes(&job);
        job.runner.spec.task_timeout_ns = timeout_ns;
        job_run(&job, run_file, window);
        for (size_t i = 0; i < 20 * ARRAY_SIZE(sizes); ++i)
                test_done(&job, i, sizes[i % ARRAY_SIZE(sizes)]);
        job_end(&job);
}

static void test_files(void)
{
        read_sizes(1, 0);
        read_sizes(3, 0);
        read_sizes(256, 0);
}

/* With a linked timeout to each step. */
static void test_files_with_deadline(void)
{
        read_sizes(3, 60 * NSEC_PER_SEC);
        read_sizes(256, 60 * NSEC_PER_SEC);
}

/* More fibers than descriptors are allowed: some have no place in the table. */
static void test_files_without_table(void)
{
        struct rlimit limit, low;

        test_int(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        low = limit;
        low.rlim_cur = 60;
        test_int(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
        read_sizes(100, 0);
        test_int(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

static void test_order_within_file(void)
{
        struct job job;
        uint64_t sum = 0;

        make_file("order", 500000);
        for (size_t i = 0; i < 500000; ++i)
                sum = sum * 31 + 'a' + i * 7 % 26;
        job_begin(&job);
        job_add_file(&job, "order");
        job_run(&job, run_digest, 4);
        test_done(&job, 0, (intmax_t)sum);
        job_end(&job);
}

static void test_file_errors(void)
{
        struct job job;

        make_file("plain", 10);
        job_begin(&job);
        job_add_file(&job, "plain");
        job_add_file(&job, "missing");
        job_add_file(&job, ".");
        job_add_file(&job, "plain/below");
        job_add_file(&job, "plain");
        job_run(&job, run_file, 2);
        test_done(&job, 0, 10);
        test_failed(&job, 1, PPP_REASON_OPEN, ENOENT);
        test_failed(&job, 2, PPP_REASON_READ, EISDIR);
        test_failed(&job, 3, PPP_REASON_OPEN, ENOTDIR);
        test_done(&job, 4, 10);
        job_end(&job);
}

/* A sink that fails ends the read, and the place can be used again. */
static void test_sink_fails(void)
{
        struct job job;

        make_file("large", 300000);
        job_begin(&job);
        for (int i = 0; i < 10; ++i)
                job_add_file(&job, "large");
        job_run(&job, run_stopped, 2);
        for (uint64_t i = 0; i < 10; ++i)
                test_failed(&job, i, PPP_REASON_IO, EBADMSG);
        job_end(&job);
}

static int open_descriptors(void)
{
        int n = 0;

        for (int fd = 0; fd < 1000; ++fd)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void test_no_descriptor_is_left(void)
{
        int before = open_descriptors();

        read_sizes(10, 0);
        test_files_without_table();
        test_int(open_descriptors(), ==, before);
}

static void add_pipe(struct job *job, int fd)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        job_add(job, path);
}

static void *write_slowly(void *userdata)
{
        int fd = *(int *)userdata;
        char text[50000];

        memset(text, 'x', sizeof(text));
        for (int i = 0; i < 4; ++i) {
                usleep(5000);
                if (write_all(fd, text, sizeof(text)) < 0)
                        break;
        }
        close(fd);
        return NULL;
}

static void test_pipe(void)
{
        pthread_t thread;
        struct job job;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        job_begin(&job);
        add_pipe(&job, fds[0]);
        test_int(pthread_create(&thread, NULL, write_slowly, &fds[1]), ==, 0);
        job_run(&job, run_file, 1);
        pthread_join(thread, NULL);
        test_done(&job, 0, 200000);
        job_end(&job);
        close(fds[0]);
}

/* It is waited for until somebody writes. */
static void test_fifo_without_writer(void)
{
        _cleanup_free_ char *path = NULL;
        struct job job;

        test_int(asprintf(&path, "%s/plain", directory), >, 0);
        (void)unlink(path);
        test_int(mkfifo(path, 0600), ==, 0);
        job_begin(&job);
        job_add(&job, path);
        job.runner.spec.task_timeout_ns = 30 * NSEC_PER_MSEC;
        job_run(&job, run_file, 1);
        test_failed(&job, 0, PPP_REASON_TIMEOUT, 0);
        job_end(&job);
        (void)unlink(path);
}

/* Nothing ever comes: only the deadline ends it. */
static void test_file_deadline(void)
{
        uint64_t begin = now_monotonic();
        struct job job;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        job_begin(&job);
        for (int i = 0; i < 5; ++i)
                add_pipe(&job, fds[0]);
        job.runner.spec.task_timeout_ns = 30 * NSEC_PER_MSEC;
        job_run(&job, run_file, 5);
        for (uint64_t i = 0; i < 5; ++i)
                test_failed(&job, i, PPP_REASON_TIMEOUT, 0);
        test_int(now_monotonic() - begin, >=, 30 * NSEC_PER_MSEC);
        job_end(&job);
        close(fds[0]);
        close(fds[1]);
}

/* The reads of a file are linked: the second starts when the first has been cancelled. */
static uint64_t cancel_pipes(uint64_t timeout_ns)
{
        struct job job;
        uint64_t took;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        job_begin(&job);
        for (int i = 0; i < 2000; ++i)
                add_pipe(&job, fds[0]);
        job_prepare(&job, run_file, 1000);
        job.runner.spec.task_timeout_ns = timeout_ns;
        took = run_cancelled(&job);
        for (uint64_t i = 0; i < 2000; ++i)
                test_int(job_record(&job, i).state, ==, PPP_STATE_NONE);
        job_end(&job);
        close(fds[0]);
        close(fds[1]);
        return took;
}

static uint64_t cancel_unbounded_pipes(void)
{
        return cancel_pipes(0);
}

static uint64_t cancel_bounded_pipes(void)
{
        return cancel_pipes(3600 * NSEC_PER_SEC);
}

static void test_cancel_pipes(void)
{
        test_cancel(cancel_unbounded_pipes);
        test_cancel(cancel_bounded_pipes);
}

static const struct test_case cases[] = {
        { "files of all sizes", test_files },
        { "files with a deadline", test_files_with_deadline },
        { "files without a table", test_files_without_table },
        { "a file's chunks come in order", test_order_within_file },
        { "what can't be read", test_file_errors },
        { "a sink that fails", test_sink_fails },
        { "no descriptor is left", test_no_descriptor_is_left },
        { "a pipe", test_pipe },
        { "a FIFO nobody has open to write", test_fifo_without_writer },
        { "a pipe nobody writes to, with a deadline", test_file_deadline },
        { "cancel linked reads within 100 ms", test_cancel_pipes },
};

static void remove_files(void)
{
        static const char *const names[] = { "order", "plain", "large" };
        char path[128];

        for (size_t i = 0; i < ARRAY_SIZE(sizes); ++i) {
                snprintf(path, sizeof(path), "%s/size-%zu", directory, sizes[i]);
                (void)unlink(path);
        }
        for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
                snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
                (void)unlink(path);
        }
        (void)rmdir(directory);
}

int main(void)
{
        int r;

        if (!mkdtemp(directory)) {
                perror(directory);
                return EXIT_FAILURE;
        }
        r = async_main("async-file", cases, ARRAY_SIZE(cases));
        remove_files();
        return r;
}
