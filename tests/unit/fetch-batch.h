#pragma once

/*
 * Many fetches, by either backend, from a server of the test's own; and what became of each.
 */

#include <dirent.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "daemon/runner/fetch/fetch.h"
#include "daemon/runner/io/async.h"
#include "daemon/runner/io/blocking.h"
#include "daemon/runner/runner.h"
#include "tests/unit/http-server.h"
#include "tests/unit/test.h"

enum backend {
        BLOCKING,
        RING,
        _BACKEND_N,
};

/* What became of one fetch. */
struct outcome {
        int r;
        enum ppp_reason reason;
        int32_t detail;
        size_t n_bytes;
        char text[32];       /* how the body begins */
        char charset[32];    /* "" for none */
        unsigned n_charsets; /* chunks that had one */
        uint64_t took_ns;
};

/* Many fetches: those of @url, or of each of @urls in turn. */
struct batch {
        enum backend backend;
        const char *url;
        const char *const *urls;
        unsigned n;
        unsigned window;
        uint64_t timeout_ns;
        uint64_t compute_ns;      /* on the CPU, before each; 0: not at all */
        int sink_result;          /* what the sink says of a chunk */
        bool overdue;             /* the task's time is up with the first of them */
        struct outcome *outcomes; /* of each, if wanted */
        unsigned next;
        unsigned n_failed;
        struct runner *runner;
        struct worker worker;
};

static struct http_server server;
static struct runner runner;

static inline void setup(void)
{
        static bool started;

        if (!started)
                test_int(http_server_start(&server), ==, 0);
        started = true;
        http_counters_reset(&server);
        runner = (struct runner){ .cgroup_fd = -EBADF, .inputs.text = "" };
        task_cursor_init(&runner.cursor, &runner);
        runner.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        test_int(runner.cancel_fd, >=, 0);
}

static inline void teardown(void)
{
        runner.cancel_fd = close_fd(runner.cancel_fd);
}

/* A URL on our server; alive until the fourth after it. */
static inline const char *at(const char *path)
{
        static char urls[4][128];
        static unsigned next;
        char *url = urls[next++ % ARRAY_SIZE(urls)];

        snprintf(url, sizeof(urls[0]), "http://127.0.0.1:%u%s", server.port, path);
        return url;
}

struct sink_state {
        struct outcome *outcome;
        int result;
        struct ppp_task *overdue; /* its time is up with the first chunk; NULL: nobody's */
};

static inline int take(void *userdata, const struct ppp_chunk *chunk)
{
        struct sink_state *state = userdata;
        struct outcome *outcome = state->outcome;
        size_t room = sizeof(outcome->text) - 1;

        if (outcome->n_bytes < room)
                memcpy(outcome->text + outcome->n_bytes, chunk->data,
                       MIN(chunk->size, room - outcome->n_bytes));
        outcome->n_bytes += chunk->size;
        if (state->overdue)
                state->overdue->deadline_ns = 1;
        if (chunk->charset) {
                snprintf(outcome->charset, sizeof(outcome->charset), "%s", chunk->charset);
                outcome->n_charsets++;
        }
        return state->result;
}

static inline void fetch_next(struct batch *batch,
                              int (*fetch)(void *io, struct ppp_task *task, const char *url,
                                           struct sink_state *state),
                              void *io)
{
        unsigned i = batch->next++;
        struct outcome scratch = { 0 }, *outcome = batch->outcomes ? &batch->outcomes[i] : &scratch;
        struct ppp_task task = {
                .worker = &batch->worker,
                .index = i,
                .start_ns = now_monotonic(),
        };
        struct sink_state state = { outcome, batch->sink_result, batch->overdue ? &task : NULL };

        memset(outcome, 0, sizeof(*outcome));
        while (now_monotonic() < task.start_ns + batch->compute_ns)
                continue;
        if (batch->timeout_ns)
                task.deadline_ns = task.start_ns + batch->timeout_ns;
        outcome->r = fetch(io, &task, batch->urls ? batch->urls[i] : batch->url, &state);
        outcome->took_ns = now_monotonic() - task.start_ns;
        outcome->reason = task.reason;
        outcome->detail = task.detail;
        batch->n_failed += outcome->r < 0;
}

static inline int fetch_blocking(void *io, struct ppp_task *task, const char *url,
                                 struct sink_state *state)
{
        return blocking_ops.fetch(task, url, take, state);
}

static inline void run_blocking(struct batch *batch)
{
        struct blocking_io *io;

        test_int(blocking_io_new(batch->runner, &io), ==, 0);
        batch->worker.io = &blocking_ops;
        batch->worker.io_context = io;
        while (batch->next < batch->n)
                fetch_next(batch, fetch_blocking, NULL);
        test_true(!blocking_io_free(io));
}

static inline int fetch_ring(void *io, struct ppp_task *task, const char *url,
                             struct sink_state *state)
{
        return async_ops.fetch(task, url, take, state);
}

static inline void fiber(void *userdata)
{
        struct batch *batch = userdata;

        while (batch->next < batch->n)
                fetch_next(batch, fetch_ring, NULL);
}

static inline bool more(struct loop *loop, void *userdata)
{
        struct batch *batch = userdata;

        if (batch->next >= batch->n)
                return false;
        test_int(loop_spawn(loop, fiber, batch), ==, 0);
        return true;
}

static const struct fetcher_bounds bounds = { .resolving_max = FETCHER_RESOLVING_MAX };

static inline void run_ring(struct batch *batch)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct async_io io;
        struct loop loop;
        int r;

        r = loop_init(&loop, batch->runner, batch->window ? batch->window : 4, &fault);
        if (r < 0) {
                fprintf(stderr, "no io_uring here: %s: %s\n", fault.why, fault.advice ?: "");
                exit(TEST_SKIP);
        }
        batch->worker.io = &async_ops;
        async_io_init(&io, &loop, &bounds);
        batch->worker.io_context = &io;
        test_int(loop_run(&loop, more, batch), ==, 0);
        loop_deinit(&loop);
        async_io_deinit(&io);
}

static inline void run(struct batch *batch)
{
        batch->runner = batch->worker.runner = &runner;
        if (batch->backend == BLOCKING)
                run_blocking(batch);
        else
                run_ring(batch);
        test_int(batch->next, ==, batch->n);
}

static inline struct outcome fetch_one(enum backend backend, const char *url, uint64_t timeout_ns)
{
        struct outcome outcome;
        struct batch batch = {
                .backend = backend,
                .url = url,
                .n = 1,
                .timeout_ns = timeout_ns,
                .outcomes = &outcome,
        };

        run(&batch);
        return outcome;
}

struct fetching {
        struct batch batch;
        struct blocking_io *io;
        pthread_t thread;
};

static inline void *fetch_in_thread(void *userdata)
{
        struct batch *batch = userdata;

        while (batch->next < batch->n)
                fetch_next(batch, fetch_blocking, NULL);
        return NULL;
}

/* All of @urls at the same time: where a fetch blocks its thread, in a thread for each. */
static inline void fetch_at_once(enum backend backend, const char *const *urls, unsigned n,
                                 struct outcome *outcomes)
{
        struct batch all = {
                .backend = backend, .urls = urls, .n = n, .window = n, .outcomes = outcomes
        };
        struct fetching each[8];

        if (backend == RING)
                return run(&all);
        test_int(n, <=, ARRAY_SIZE(each));
        for (unsigned i = 0; i < n; ++i) {
                struct fetching *one = &each[i];

                one->batch = (struct batch){ .url = urls[i], .n = 1, .outcomes = &outcomes[i] };
                test_int(blocking_io_new(&runner, &one->io), ==, 0);
                one->batch.runner = one->batch.worker.runner = &runner;
                one->batch.worker.io = &blocking_ops;
                one->batch.worker.io_context = one->io;
                test_int(pthread_create(&one->thread, NULL, fetch_in_thread, &one->batch), ==, 0);
        }
        for (unsigned i = 0; i < n; ++i) {
                pthread_join(each[i].thread, NULL);
                test_true(!blocking_io_free(each[i].io));
        }
}

static inline unsigned n_open_files(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        test_true(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

static inline bool server_is_idle(void)
{
        return http_await_open(&server, 0);
}
