/*
 * A job is gone while its tasks wait, in a node, for whatever there is to wait for: they end at
 * once and leave no record, their workers go on with others, and others' tasks go on as if nothing
 * had happened.
 */

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "daemon/runner/levels/levels.h"
#include "daemon/runner/loop/ring.h"
#include "daemon/runner/node/feed.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/feed-done.h"
#include "tests/unit/http-server.h"
#include "tests/unit/test.h"

#define N_WORKERS 8U /* at the level threads; or tasks at a time */
#define OTHERS_NS (100 * NSEC_PER_MSEC)

struct node {
        struct runner runner;
        pthread_t level;
        int result;
};

static struct http_server server;
static char directory[] = "/tmp/test-drop.XXXXXX";
static char fifo[sizeof(directory) + 8];

static void *run_level(void *userdata)
{
        struct node *node = userdata;

        node->result = level_run_of(node->runner.spec.level)(&node->runner);
        return NULL;
}

static void node_start(struct node *node, enum level level)
{
        struct runner *runner = &node->runner;
        struct feed *feed;

        *node = (struct node){ .runner.cgroup_fd = -EBADF };
        runner->spec = (struct spec){ .level = level, .workers = N_WORKERS, .loops = 2 };
        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        test_int(runner->cancel_fd, >=, 0);
        test_int(feed_new(level == LEVEL_ASYNC ? runner->spec.loops : 0, &feed), ==, 0);
        runner->source = &feed->source;
        runner->results.header = &feed->header;
        runner->measures = json_object();
        runner->unavailable = json_array();
        test_int(pthread_create(&node->level, NULL, run_level, node), ==, 0);
}

static void node_stop(struct node *node)
{
        feed_close(feed_of(&node->runner));
        pthread_join(node->level, NULL);
        test_int(node->result, ==, 0);
        json_decref(node->runner.measures);
        json_decref(node->runner.unavailable);
        feed_free(feed_of(&node->runner));
        close(node->runner.cancel_fd);
}

/* The same input @n times. */
static uint32_t push(struct node *node, const struct ppp_workload *workload, const char *input,
                     unsigned n, uint64_t timeout_ns)
{
        struct task_terms terms = { .workload = workload, .timeout_ns = timeout_ns };
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        int number;

        test_true(stream);
        for (unsigned i = 0; i < n; ++i)
                fprintf(stream, "%s\n", input);
        fclose(stream);
        number = feed_push(feed_of(&node->runner), text, size, n, &terms);
        test_int(number, >=, 0);
        return (uint32_t)number;
}

static const struct feed_chunk *chunk_of(const struct node *node, uint32_t number)
{
        return &feed_of(&node->runner)->chunks[number];
}

/* There are workers for all. */
static void await_begun(const struct node *node, uint32_t number)
{
        while (feed_unclaimed(feed_of(&node->runner), number) > 0)
                sched_yield();
}

/* Of nobody's interest any more. */
static void drop(struct node *node, uint32_t number)
{
        struct feed *feed = feed_of(&node->runner);

        if (feed_drop(feed, number))
                feed_release(feed, number);
        feed_tell_dropped(feed);
}

static void await_open(unsigned n)
{
        test_true(http_await_open(&server, n));
}

/* These two and no other are done next, in any order. */
static void await_both_done(const struct node *node, uint32_t one, uint32_t other)
{
        struct feed *feed = feed_of(&node->runner);
        int first = feed_await_done(feed), second = feed_await_done(feed);

        test_int(MIN(first, second), ==, MIN(one, other));
        test_int(MAX(first, second), ==, MAX(one, other));
}

struct wait {
        const struct ppp_workload *workload;
        char input[128];
        bool connects;
};

static void check_none(const struct feed_chunk *chunk)
{
        for (uint32_t i = 0; i < chunk->n; ++i)
                test_int(record_state(&chunk->tasks.records[i]), ==, PPP_STATE_NONE);
}

static void check_timed_out(const struct feed_chunk *chunk)
{
        for (uint32_t i = 0; i < chunk->n; ++i) {
                const struct ppp_record *record = &chunk->tasks.records[i];

                test_int(record_state(record), ==, PPP_STATE_FAILED);
                test_str(reason_name(record->reason), reason_name(PPP_REASON_TIMEOUT));
                /* libcurl's clock has a millisecond of its own. */
                test_int(record->end_ns - record->start_ns, >=, OTHERS_NS - 2 * NSEC_PER_MSEC);
        }
}

static void check_wait(enum level level, const struct wait *wait)
{
        enum { GONE = 4, OTHERS = 2, STAYING = 2 };
        uint32_t gone, others, staying, next;
        struct node node;

        await_open(0);
        node_start(&node, level);
        gone = push(&node, wait->workload, wait->input, GONE, 0);
        staying = push(&node, wait->workload, wait->input, STAYING, 0);
        await_begun(&node, gone);
        await_begun(&node, staying);
        if (wait->connects)
                await_open(GONE + STAYING);
        others = push(&node, wait->workload, wait->input, OTHERS, OTHERS_NS);
        await_begun(&node, others);

        /* It would wait for ever, as those do that stay; the others wait for their time. */
        drop(&node, gone);
        await_both_done(&node, gone, others);
        check_none(chunk_of(&node, gone));
        check_timed_out(chunk_of(&node, others));
        if (wait->connects)
                await_open(STAYING);
        feed_release(feed_of(&node.runner), gone);

        next = push(&node, &workload_sum, "3", GONE, 0);
        test_int(feed_await_done(feed_of(&node.runner)), ==, next);
        drop(&node, staying);
        test_int(feed_await_done(feed_of(&node.runner)), ==, staying);
        check_none(chunk_of(&node, staying));
        node_stop(&node);
}

static const enum level levels[] = { LEVEL_THREADS, LEVEL_ASYNC };

static void check_fetch(const char *host, const char *path)
{
        struct wait wait = { .workload = &workload_words, .connects = true };

        snprintf(wait.input, sizeof(wait.input), "http://%s:%u%s", host, server.port, path);
        for (size_t i = 0; i < ARRAY_SIZE(levels); ++i)
                check_wait(levels[i], &wait);
}

static void test_sleep(void)
{
        static const struct wait wait = { .workload = &workload_sleep, .input = "3600" };

        for (size_t i = 0; i < ARRAY_SIZE(levels); ++i)
                check_wait(levels[i], &wait);
}

static void test_fifo(void)
{
        struct wait wait = { .workload = &workload_words };
        _cleanup_close_ int fd = -EBADF;

        /* First it waits for somebody who writes, then for what he writes. */
        snprintf(wait.input, sizeof(wait.input), "%s", fifo);
        for (size_t i = 0; i < ARRAY_SIZE(levels); ++i)
                check_wait(levels[i], &wait);
        fd = open(wait.input, O_RDWR | O_CLOEXEC);
        test_int(fd, >=, 0);
        for (size_t i = 0; i < ARRAY_SIZE(levels); ++i)
                check_wait(levels[i], &wait);
}

static void test_fetch(void)
{
        check_fetch("127.0.0.1", "/hang");
        check_fetch("127.0.0.1", "/stall");
}

/* By name libcurl does it at async too. */
static void test_fetch_by_name(void)
{
        check_fetch("localhost", "/hang");
}

/* At whatever moment: a task that is about to wait does not miss it. */
static void check_any_moment(enum level level, const char *input,
                             const struct ppp_workload *workload)
{
        struct node node;

        node_start(&node, level);
        for (unsigned i = 0; i < 200; ++i) {
                uint32_t gone = push(&node, workload, input, N_WORKERS, 0), next;
                struct feed *feed = feed_of(&node.runner);

                usleep(i % 8 * 100);
                if (!feed_drop(feed, gone)) {
                        feed_tell_dropped(feed);
                        test_int(feed_await_done(feed_of(&node.runner)), ==, gone);
                }
                check_none(chunk_of(&node, gone));
                feed_release(feed, gone);
                next = push(&node, &workload_sum, "3", 1, 0);
                test_int(feed_await_done(feed_of(&node.runner)), ==, next);
                feed_release(feed, next);
        }
        node_stop(&node);
}

static void test_any_moment(void)
{
        char address[64], name[64];

        snprintf(address, sizeof(address), "http://127.0.0.1:%u/hang", server.port);
        snprintf(name, sizeof(name), "http://localhost:%u/hang", server.port);
        for (size_t i = 0; i < ARRAY_SIZE(levels); ++i) {
                check_any_moment(levels[i], "3600", &workload_sleep);
                check_any_moment(levels[i], fifo, &workload_words);
                check_any_moment(levels[i], address, &workload_words);
                check_any_moment(levels[i], name, &workload_words);
        }
}

static int set_up(void)
{
        if (!mkdtemp(directory))
                return -errno;
        snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
        if (mkfifo(fifo, 0600) < 0)
                return -errno;
        return http_server_start(&server);
}

static void clean_up(void)
{
        (void)unlink(fifo);
        (void)rmdir(directory);
}

int main(void)
{
        static const struct test_case cases[] = {
                { "sleeping", test_sleep },
                { "reading a FIFO", test_fifo },
                { "fetching from an address", test_fetch },
                { "fetching by name", test_fetch_by_name },
                { "at any moment", test_any_moment },
        };
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct ring ring;
        int r;

        r = ring_init(&ring, 8, &fault);
        if (r < 0) {
                printf("skipped: %s: %s\n", fault.why, fault.advice ?: "");
                return TEST_SKIP;
        }
        ring_deinit(&ring);
        r = set_up();
        if (r < 0) {
                fprintf(stderr, "cannot set up the test: %s\n", strerrordesc_np(-r));
                return EXIT_FAILURE;
        }
        r = test_main("drop", cases, ARRAY_SIZE(cases));
        clean_up();
        return r;
}
