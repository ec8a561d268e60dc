/* The feed of a node: each task to one worker, each chunk ends once, memory comes back. */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "daemon/runner/io/blocking.h"
#include "daemon/runner/node/feed.h"
#include "daemon/runner/workloads/workloads.h"
#include "tests/unit/feed-done.h"
#include "tests/unit/test.h"

static const struct task_terms sums = { .workload = &workload_sum };
static const struct task_terms sleeps = { .workload = &workload_sleep };

static void setup(struct runner *runner, unsigned workers)
{
        struct feed *feed;

        *runner = (struct runner){ .cgroup_fd = -EBADF };
        runner->spec = (struct spec){ .level = LEVEL_THREADS, .workers = workers };
        runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        test_int(feed_new(0, &feed), ==, 0);
        runner->source = &feed->source;
        runner->results.header = &feed->header;
}

static void teardown(struct runner *runner)
{
        feed_free(feed_of(runner));
        close(runner->cancel_fd);
}

/* A chunk of the numbers from @first on. */
static int push(struct feed *feed, unsigned first, unsigned n, const struct task_terms *terms)
{
        _cleanup_free_ char *text = malloc(n * 12UL);
        size_t size = 0;

        for (unsigned i = 0; i < n; ++i)
                size += (size_t)sprintf(text + size, "%u\n", first + i);
        return feed_push(feed, text, size, n, terms);
}

struct thread {
        struct worker worker;
        struct blocking_io *io;
        pthread_t pthread;
};

static void *run(void *userdata)
{
        struct thread *thread = userdata;

        (void)worker_run(&thread->worker);
        return NULL;
}

static void start(struct thread *threads, unsigned n, struct runner *runner)
{
        for (unsigned i = 0; i < n; ++i) {
                test_int(blocking_io_new(runner, &threads[i].io), ==, 0);
                worker_init(&threads[i].worker, runner, (uint16_t)i, &blocking_ops, threads[i].io);
                test_int(pthread_create(&threads[i].pthread, NULL, run, &threads[i]), ==, 0);
        }
}

static void join(struct thread *threads, unsigned n)
{
        for (unsigned i = 0; i < n; ++i) {
                pthread_join(threads[i].pthread, NULL);
                blocking_io_free(threads[i].io);
        }
}

static void check_sums(const struct feed_chunk *chunk, unsigned first)
{
        for (uint64_t i = 0; i < chunk->n; ++i) {
                const struct ppp_record *record = &chunk->tasks.records[i];
                uint64_t n = first + i;

                test_int(record_state(record), ==, PPP_STATE_DONE);
                test_int(record->value, ==, n > 0 ? n * (n - 1) / 2 : 0);
                test_int(record->start_ns, >=, chunk->taken_ns);
                test_int(record->start_ns, <=, record->end_ns);
        }
}

static void test_each_once(void)
{
        enum { THREADS = 3, CHUNKS = 3000 };
        static unsigned firsts[FEED_CHUNKS];
        struct thread threads[THREADS];
        struct runner runner;
        unsigned n_done = 0, n_pushed = 0, n_tasks = 0;

        setup(&runner, THREADS);
        start(threads, THREADS, &runner);
        while (n_done < CHUNKS) {
                uint32_t number;

                /* Few in hand, so that workers wait now and then, and places are used again. */
                while (n_pushed < CHUNKS && n_pushed - n_done < 5) {
                        unsigned n = 1 + n_pushed * 7 % 100;
                        int at = push(feed_of(&runner), n_pushed, n, &sums);

                        test_int(at, >=, 0);
                        firsts[at] = n_pushed++;
                        n_tasks += n;
                }
                number = feed_await_done(feed_of(&runner));
                check_sums(&feed_of(&runner)->chunks[number], firsts[number]);
                feed_release(feed_of(&runner), number);
                ++n_done;
        }
        feed_close(feed_of(&runner));
        join(threads, THREADS);
        test_int(feed_of(&runner)->header.n_done, ==, n_tasks);
        test_int(feed_of(&runner)->n_free, ==, FEED_CHUNKS);
        test_true(feed_next_done(feed_of(&runner)) == FEED_NONE);
        teardown(&runner);
}

static void test_withdraw(void)
{
        struct thread thread;
        struct runner runner;
        int first, second;

        setup(&runner, 1);
        first = push(feed_of(&runner), 0, 10, &sums);
        second = push(feed_of(&runner), 0, 10, &sums);
        test_true(feed_withdraw(feed_of(&runner), (uint32_t)first));
        test_true(!feed_withdraw(feed_of(&runner), (uint32_t)first));
        test_int(feed_unclaimed(feed_of(&runner), (uint32_t)first), ==, 0);
        feed_release(feed_of(&runner), (uint32_t)first);
        start(&thread, 1, &runner);
        test_int(feed_await_done(feed_of(&runner)), ==, second);
        feed_close(feed_of(&runner));
        join(&thread, 1);
        teardown(&runner);
}

static void test_room(void)
{
        struct runner runner;

        setup(&runner, 1);
        for (unsigned i = 0; i < FEED_CHUNKS; ++i)
                test_int(push(feed_of(&runner), 0, 1, &sums), >=, 0);
        test_int(push(feed_of(&runner), 0, 1, &sums), ==, -ENOBUFS);
        for (uint32_t i = 0; i < FEED_CHUNKS; ++i) {
                test_true(feed_withdraw(feed_of(&runner), i));
                feed_release(feed_of(&runner), i);
        }
        /* What was withdrawn is still in the queue, and in nobody's way. */
        for (unsigned round = 0; round < 3; ++round) {
                int at = push(feed_of(&runner), 0, 16384, &sums);

                test_int(at, >=, 0);
                test_true(feed_withdraw(feed_of(&runner), (uint32_t)at));
                feed_release(feed_of(&runner), (uint32_t)at);
        }
        teardown(&runner);
}

/* The job of a long task goes: its worker is free for others. */
static void test_drop(void)
{
        struct thread thread;
        struct runner runner;
        int at, next;

        setup(&runner, 1);
        at = push(feed_of(&runner), 1000, 2, &sleeps);
        start(&thread, 1, &runner);
        while (__atomic_load_n(&feed_of(&runner)->chunks[at].tasks.records[0].start_ns,
                               __ATOMIC_RELAXED) == 0)
                sched_yield();
        test_true(!feed_drop(feed_of(&runner), (uint32_t)at));
        feed_tell_dropped(feed_of(&runner));
        next = push(feed_of(&runner), 0, 3, &sums);
        /* The last that ended comes first. */
        test_int(feed_await_done(feed_of(&runner)) + feed_await_done(feed_of(&runner)), ==,
                 (uint32_t)at + (uint32_t)next);
        test_int(record_state(&feed_of(&runner)->chunks[at].tasks.records[0]), ==, PPP_STATE_NONE);
        check_sums(&feed_of(&runner)->chunks[next], 0);
        feed_close(feed_of(&runner));
        join(&thread, 1);
        teardown(&runner);
}

/* A worker that died between its claim and its first task: nobody has the piece. */
static void test_lost(void)
{
        static struct feed_look look;
        struct worker worker;
        struct runner runner;
        int lost, other;

        setup(&runner, 1);
        worker_init(&worker, &runner, 0, &blocking_ops, NULL);
        lost = push(feed_of(&runner), 0, 1, &sums);
        other = push(feed_of(&runner), 0, 4, &sums);
        test_true(worker_claim(&worker));
        test_true(feed_chunk_of(&worker) == &feed_of(&runner)->chunks[lost]);

        feed_look_begin(feed_of(&runner), &look);
        feed_look_hold(&look, worker.piece_of, 1);
        test_true(feed_look_end(feed_of(&runner), &look, now_monotonic()));
        test_true(feed_next_done(feed_of(&runner)) == FEED_NONE);

        feed_look_begin(feed_of(&runner), &look);
        test_true(feed_look_end(feed_of(&runner), &look, now_monotonic()));
        test_int(feed_next_done(feed_of(&runner)), ==, lost);
        test_int(feed_unclaimed(feed_of(&runner), (uint32_t)other), ==, 4);
        feed_release(feed_of(&runner), (uint32_t)lost);
        test_int(push(feed_of(&runner), 0, 1, &sums), ==, lost);
        test_true(feed_chunk_of(&worker) == NULL);
        teardown(&runner);
}

TEST_MAIN("feed", { "each task once, by several workers", test_each_once },
          { "what was not claimed can be taken back", test_withdraw },
          { "places and memory run out and come back", test_room },
          { "a chunk nobody wants any more is dropped", test_drop },
          { "what went down with a worker is found", test_lost })
