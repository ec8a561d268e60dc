/*
 * Where tasks come from: what workers and levels may ask, of a job's cursor and of a node's feed.
 * How often each task is run is the matter of test-worker, test-feed and test-worker-row.
 */

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "daemon/runner/node/feed.h"
#include "daemon/runner/runner.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/feed-done.h"
#include "tests/unit/test.h"

enum { N = 8 };

#define LINES "0\n1\n2\n3\n4\n5\n6\n7\n"

static const struct ppp_record death = {
        .reason = PPP_REASON_SIGNAL,
        .detail = 9,
        .state = PPP_STATE_FAILED,
};

struct scene {
        struct runner runner;
        struct task_source *source;
        struct worker worker;
        uint32_t chunk;
};

static void setup(struct scene *scene)
{
        *scene = (struct scene){ .runner = { .cgroup_fd = -EBADF, .workload = &workload_sum } };
        scene->runner.spec = (struct spec){ .level = LEVEL_THREADS, .workers = 1, .retries = 3 };
        scene->runner.spec.task_timeout_ns = NSEC_PER_MSEC;
        scene->runner.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void setup_cursor(struct scene *scene)
{
        _cleanup_close_ int inputs = memfd_create("inputs", MFD_CLOEXEC);
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        struct runner *runner = &scene->runner;
        struct input_error error;

        setup(scene);
        test_int(write(inputs, LINES, strlen(LINES)), ==, strlen(LINES));
        test_int(inputs_map(inputs, true, &runner->inputs, &error), ==, 0);
        test_int(results_create(results, N, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner->results), ==, 0);
        task_cursor_init(&runner->cursor, runner);
        scene->source = runner->source;
        worker_init(&scene->worker, runner, 0, NULL, NULL);
}

static void teardown_cursor(struct scene *scene)
{
        inputs_unmap(&scene->runner.inputs);
        results_unmap(&scene->runner.results);
        close(scene->runner.cancel_fd);
}

static void setup_feed(struct scene *scene, unsigned n_loops)
{
        static const struct task_terms terms = { .workload = &workload_sum, .retries = 5 };
        struct feed *feed;
        int at;

        setup(scene);
        test_int(feed_new(n_loops, &feed), ==, 0);
        scene->runner.source = scene->source = &feed->source;
        scene->runner.results.header = &feed->header;
        at = feed_push(feed, LINES, strlen(LINES), N, &terms);
        test_int(at, >=, 0);
        scene->chunk = (uint32_t)at;
        worker_init(&scene->worker, &scene->runner, 0, NULL, NULL);
}

static void teardown_feed(struct scene *scene)
{
        feed_free(feed_of(&scene->runner));
        close(scene->runner.cancel_fd);
}

/* Takes one task; what it is told of it is what the source was given. */
static void check_taken(struct scene *scene, struct taken *taken)
{
        test_true(worker_take(&scene->worker, taken));
        test_int(taken->index, ==, 0);
        test_int(taken->n_input, ==, 1);
        test_int(taken->input[0], ==, '0');
        test_true(taken->set->terms.workload == &workload_sum);
        test_true(!taken->waited);
}

static void test_cursor(void)
{
        struct scene scene;
        struct taken taken;

        setup_cursor(&scene);
        check_taken(&scene, &taken);
        test_int(taken.set->terms.retries, ==, 3);
        test_int(taken.set->terms.timeout_ns, ==, NSEC_PER_MSEC);
        test_true(taken.set->records == scene.runner.results.records);
        test_true(taken.set->dropped == NULL);
        test_int(scene.source->drop_fd, <, 0);
        test_int(scene.source->look_ns, ==, NSEC_PER_MSEC);
        test_int(scene.source->ops->wake_fd(scene.source, 0), <, 0);
        for (int i = 1; i < N; ++i) {
                test_true(!scene.source->ops->closed(scene.source, &scene.worker));
                test_true(worker_take(&scene.worker, &taken));
                test_int(taken.input[0], ==, '0' + i);
        }
        test_true(scene.source->ops->closed(scene.source, &scene.worker));
        test_true(!worker_take(&scene.worker, &taken));
        teardown_cursor(&scene);
}

/* What a place has claimed keeps it from its end, whoever is in that place. */
static void test_cursor_rest(void)
{
        struct scene scene;

        setup_cursor(&scene);
        worker_hold(&scene.worker, &scene.runner.cursor.tasks, 0, 2, 5);
        scene.runner.results.header->next = N;
        test_true(!worker_is_done(&scene.worker));
        scene.source->ops->give_back(scene.source, &scene.worker);
        test_int(scene.worker.next, ==, 2);
        test_true(!worker_is_done(&scene.worker));
        scene.runner.cancelled = true;
        test_true(worker_is_done(&scene.worker));
        scene.runner.cancelled = false;
        scene.worker.next = scene.worker.end;
        test_true(worker_is_done(&scene.worker));
        teardown_cursor(&scene);
}

static void test_cursor_died(void)
{
        struct ppp_record record;
        struct scene scene;
        struct taken taken;

        setup_cursor(&scene);
        check_taken(&scene, &taken);
        test_true(scene.source->ops->died(scene.source, &scene.worker, &death));
        test_true(results_get(&scene.runner.results, 0, &record));
        test_int(record.reason, ==, PPP_REASON_SIGNAL);
        record = (struct ppp_record){ .value = 7, .state = PPP_STATE_DONE };
        record_publish(&scene.runner.results.records[0], &record);
        test_true(!scene.source->ops->died(scene.source, &scene.worker, &death));
        test_true(results_get(&scene.runner.results, 0, &record));
        test_int(record.value, ==, 7);
        teardown_cursor(&scene);
}

static void test_cursor_lost(void)
{
        const struct ppp_record done = { .state = PPP_STATE_DONE };
        struct scene scene;
        struct taken taken;

        setup_cursor(&scene);
        for (unsigned i = 0; i < N; ++i)
                if (i != 3)
                        record_publish(&scene.runner.results.records[i], &done);
        scene.runner.results.header->next = N;
        test_true(scene.source->ops->offer_lost(scene.source));
        test_int(scene.runner.results.header->n_done, ==, N - 1);
        test_true(worker_take(&scene.worker, &taken));
        test_int(taken.index, ==, 3);
        test_true(!worker_take(&scene.worker, &taken));
        record_publish(&scene.runner.results.records[3], &done);
        test_true(!scene.source->ops->offer_lost(scene.source));
        test_int(scene.runner.results.header->n_done, ==, N);
        teardown_cursor(&scene);
}

static void test_feed(void)
{
        struct feed_chunk *chunk;
        struct scene scene;
        struct taken taken;

        setup_feed(&scene, 0);
        chunk = &feed_of(&scene.runner)->chunks[scene.chunk];
        check_taken(&scene, &taken);
        test_int(taken.set->terms.retries, ==, 5);
        test_true(taken.set == &chunk->tasks);
        test_true(!task_dropped(taken.set->dropped));
        test_int(scene.source->drop_fd, >=, 0);
        test_true(scene.source->look_ns < UINT64_MAX);
        for (int i = 1; i < N; ++i) {
                test_true(worker_take(&scene.worker, &taken));
                test_int(taken.input[0], ==, '0' + i);
                test_int(taken.n_input, ==, 1);
        }
        /* More may come. */
        test_true(!worker_is_done(&scene.worker));
        test_true(!worker_claim(&scene.worker));
        (void)feed_drop(feed_of(&scene.runner), scene.chunk);
        test_true(task_dropped(taken.set->dropped));
        for (unsigned i = 0; i < N; ++i) {
                test_int(chunk->n_left, ==, N - i);
                scene.source->ops->finish(scene.source, &chunk->tasks);
        }
        test_int(feed_await_done(feed_of(&scene.runner)), ==, scene.chunk);
        feed_close(feed_of(&scene.runner));
        test_true(worker_is_done(&scene.worker));
        teardown_feed(&scene);
}

/* A worker that is between two tasks as the node leaves. */
static void test_feed_leaves(void)
{
        struct scene scene;
        struct taken taken;
        struct feed *feed;

        setup_feed(&scene, 0);
        feed = feed_of(&scene.runner);
        check_taken(&scene, &taken);
        test_int(scene.worker.end, >, 1);
        feed_close(feed);
        scene.worker.current = TASK_NONE;
        test_true(!worker_take(&scene.worker, &taken));
        test_int(scene.worker.next, ==, scene.worker.end);
        test_int(feed->chunks[scene.chunk].n_left, ==, 1 + feed_unclaimed(feed, scene.chunk));
        teardown_feed(&scene);
}

static void test_feed_died(void)
{
        struct feed_chunk *chunk;
        struct scene scene;
        struct taken taken;

        setup_feed(&scene, 0);
        chunk = &feed_of(&scene.runner)->chunks[scene.chunk];
        check_taken(&scene, &taken);
        test_true(scene.source->ops->died(scene.source, &scene.worker, &death));
        test_int(chunk->tasks.records[0].reason, ==, PPP_REASON_SIGNAL);
        test_int(chunk->n_left, ==, N - 1);
        /* Of a row that names a chunk which is not there any more nothing is written. */
        scene.worker.piece_of += UINT64_C(1) << 32;
        scene.worker.current = 1;
        test_true(!scene.source->ops->died(scene.source, &scene.worker, &death));
        test_int(chunk->tasks.records[1].state, ==, PPP_STATE_NONE);
        test_int(chunk->n_left, ==, N - 1);
        teardown_feed(&scene);
}

struct seen {
        uint64_t piece_of;
        unsigned n;
        bool unclear;
};

static bool see(void *userdata, unsigned i, uint64_t *ret_piece_of, uint64_t *ret_n)
{
        const struct seen *seen = userdata;

        *ret_piece_of = seen->piece_of;
        *ret_n = seen->n;
        return !seen->unclear;
}

static void test_feed_lost(void)
{
        struct scene scene;
        struct seen seen;
        struct feed *feed;
        unsigned n;

        setup_feed(&scene, 0);
        feed = feed_of(&scene.runner);
        test_true(worker_claim(&scene.worker));
        n = (unsigned)(scene.worker.end - scene.worker.next);
        test_int(n, >, 1);
        /* Of a worker that cannot be looked at nothing is lost. */
        seen = (struct seen){ scene.worker.piece_of, 0, true };
        test_true(scene.source->ops->find_lost(scene.source, 1, see, &seen, now_monotonic()));
        test_int(feed->chunks[scene.chunk].n_left, ==, N);
        seen = (struct seen){ scene.worker.piece_of, n, false };
        test_true(scene.source->ops->find_lost(scene.source, 1, see, &seen, now_monotonic()));
        test_int(feed->chunks[scene.chunk].n_left, ==, N);
        seen.n = 1;
        test_true(scene.source->ops->find_lost(scene.source, 1, see, &seen, now_monotonic()));
        test_int(feed->chunks[scene.chunk].n_left, ==, N - n + 1);
        test_true(!scene.source->ops->offer_lost(scene.source));
        teardown_feed(&scene);
}

static bool is_readable(int fd)
{
        struct pollfd poll_fd = { fd, POLLIN, 0 };

        return poll(&poll_fd, 1, 0) == 1;
}

static void test_feed_wakes(void)
{
        static const struct task_terms terms = { .workload = &workload_sum };
        struct scene scene;
        struct feed *feed;
        int first, second;

        setup_feed(&scene, 2);
        feed = feed_of(&scene.runner);
        first = scene.source->ops->wake_fd(scene.source, 0);
        second = scene.source->ops->wake_fd(scene.source, 1);
        test_int(first, >=, 0);
        test_int(second, >=, 0);
        test_true(first != second);
        test_int(scene.source->ops->wake_fd(scene.source, 2), <, 0);
        test_true(feed_withdraw(feed, scene.chunk));

        scene.worker.wake = 1;
        test_true(!worker_claim(&scene.worker));
        test_true(!is_readable(second));
        test_int(feed_push(feed, LINES, strlen(LINES), N, &terms), >=, 0);
        test_true(is_readable(second));
        test_true(!is_readable(first));
        feed_tell_dropped(feed);
        test_true(is_readable(first));
        test_int(task_source_n_drops(scene.source), ==, 1);
        teardown_feed(&scene);
}

TEST_MAIN("task-source", { "a job's tasks, to the last", test_cursor },
          { "what a place of a job has claimed is its own", test_cursor_rest },
          { "a dead worker's task in a job", test_cursor_died },
          { "what nobody has is offered again", test_cursor_lost },
          { "a node's tasks, of which more may come", test_feed },
          { "what has not begun goes back when the node leaves", test_feed_leaves },
          { "a dead worker's task in a node", test_feed_died },
          { "what no worker has is given up", test_feed_lost },
          { "loops are woken for tasks that come and go", test_feed_wakes })
