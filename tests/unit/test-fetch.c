/*
 * Fetching, by both backends: what arrives, which failure is which, that connections are kept, that
 * deadlines and cancelling end what is in flight and leave nothing open.
 */

#include <dirent.h>
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

static void setup(void)
{
        static bool started;

        if (!started)
                test_int(http_server_start(&server), ==, 0);
        started = true;
        http_counters_reset(&server);
        runner = (struct runner){ .cgroup_fd = -EBADF };
        task_cursor_init(&runner.cursor, &runner);
        runner.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        test_int(runner.cancel_fd, >=, 0);
}

static void teardown(void)
{
        runner.cancel_fd = close_fd(runner.cancel_fd);
}

/* A URL on our server; alive until the fourth after it. */
static const char *at(const char *path)
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

static int take(void *userdata, const struct ppp_chunk *chunk)
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

static void fetch_next(struct batch *batch,
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
        if (batch->timeout_ns)
                task.deadline_ns = task.start_ns + batch->timeout_ns;
        outcome->r = fetch(io, &task, batch->urls ? batch->urls[i] : batch->url, &state);
        outcome->took_ns = now_monotonic() - task.start_ns;
        outcome->reason = task.reason;
        outcome->detail = task.detail;
        batch->n_failed += outcome->r < 0;
}

static int fetch_blocking(void *io, struct ppp_task *task, const char *url,
                          struct sink_state *state)
{
        return blocking_ops.fetch(task, url, take, state);
}

static void run_blocking(struct batch *batch)
{
        struct blocking_io *io;

        test_int(blocking_io_new(batch->runner, &io), ==, 0);
        batch->worker.io = &blocking_ops;
        batch->worker.io_context = io;
        while (batch->next < batch->n)
                fetch_next(batch, fetch_blocking, NULL);
        test_true(!blocking_io_free(io));
}

static int fetch_ring(void *io, struct ppp_task *task, const char *url, struct sink_state *state)
{
        return async_ops.fetch(task, url, take, state);
}

static void fiber(void *userdata)
{
        struct batch *batch = userdata;

        while (batch->next < batch->n)
                fetch_next(batch, fetch_ring, NULL);
}

static bool more(struct loop *loop, void *userdata)
{
        struct batch *batch = userdata;

        if (batch->next >= batch->n)
                return false;
        test_int(loop_spawn(loop, fiber, batch), ==, 0);
        return true;
}

static const struct fetcher_bounds bounds = { .resolving_max = FETCHER_RESOLVING_MAX };

static void run_ring(struct batch *batch)
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

static void run(struct batch *batch)
{
        batch->runner = batch->worker.runner = &runner;
        if (batch->backend == BLOCKING)
                run_blocking(batch);
        else
                run_ring(batch);
        test_int(batch->next, ==, batch->n);
}

static struct outcome fetch_one(enum backend backend, const char *url, uint64_t timeout_ns)
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

static unsigned n_open_files(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        test_true(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* The server hears a little later that its connections were closed. */
static bool server_is_idle(void)
{
        for (unsigned i = 0; i < 500 && http_counter(&server.n_open) > 0; ++i) {
                struct timespec ts = { 0, 10 * 1000 * 1000 };

                nanosleep(&ts, NULL);
        }
        return http_counter(&server.n_open) == 0;
}

static void gets_bodies(void)
{
        static const struct {
                const char *path, *text, *charset;
                size_t n;
        } pages[] = {
                { "/plain", "plain", "", 5 },
                { "/chunked", "firstsecond", "", 11 },
                { "/charset", "latin", "ISO-8859-1", 5 },
                { "/empty", "", "", 0 },
                { "/redirect/1", "plain", "", 5 }, /* the redirect has a charset */
                { "/redirect/10", "plain", "", 5 },
                { "/words/5000000", "word word word word word word w", "", 5000000 },
        };

        setup();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t i = 0; i < ARRAY_SIZE(pages); ++i) {
                        struct outcome o = fetch_one(backend, at(pages[i].path), 0);

                        test_int(o.r, ==, 0);
                        test_int(o.n_bytes, ==, pages[i].n);
                        test_str(o.text, pages[i].text);
                        test_str(o.charset, pages[i].charset);
                }
        teardown();
}

static void tells_failures_apart(void)
{
        char no_such_host[128], refused[64];
        uint16_t port;
        _cleanup_close_ int fd = http_bind(&port);
        const struct {
                const char *url;
                enum ppp_reason reason;
                int32_t detail;
                size_t n_bytes;
        } failures[] = {
                { "/missing", PPP_REASON_HTTP_STATUS, 404, 0 },
                { "/error/1000", PPP_REASON_HTTP_STATUS, 500, 0 },
                { "/error/1000000", PPP_REASON_HTTP_STATUS, 500, 0 },
                { "/redirect/11", PPP_REASON_REDIRECTS, 0, 0 },
                { "/to-ftp", PPP_REASON_BAD_SCHEME, PPP_SCHEME_FTP, 0 },
                { "/drop", PPP_REASON_TRANSFER, PPP_FETCH_NO_ANSWER, 0 },
                { "/short", PPP_REASON_TRANSFER, PPP_FETCH_CUT_SHORT, 4 },
                { "/no-http", PPP_REASON_PROTOCOL, PPP_FETCH_NOT_HTTP, 0 },
                { "/bad-gzip", PPP_REASON_ENCODING, PPP_FETCH_CODING_BROKEN, 0 },
                { "ftp://127.0.0.1/", PPP_REASON_BAD_SCHEME, 0, 0 },
                { "gopher://127.0.0.1/", PPP_REASON_BAD_SCHEME, 0, 0 },
                { "", PPP_REASON_BAD_URL, 0, 0 },
                { "127.0.0.1", PPP_REASON_BAD_URL, 0, 0 },
                { "://x", PPP_REASON_BAD_URL, 0, 0 },
                { "http://", PPP_REASON_BAD_URL, 0, 0 },
                { "http://a b/", PPP_REASON_BAD_URL, 0, 0 },
                { "http://127.0.0.1:99999/", PPP_REASON_BAD_URL, 0, 0 },
                { no_such_host, PPP_REASON_RESOLVE, 0, 0 },
                { refused, PPP_REASON_CONNECT, ECONNREFUSED, 0 },
        };

        setup();
        test_int(fd, >=, 0);
        /* A label of 64 letters is none, so no name server is asked. */
        snprintf(no_such_host, sizeof(no_such_host), "http://%064d.invalid/", 1);
        snprintf(refused, sizeof(refused), "http://127.0.0.1:%u/", port);
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t i = 0; i < ARRAY_SIZE(failures); ++i) {
                        const char *url = failures[i].url;
                        struct outcome o = fetch_one(backend, *url == '/' ? at(url) : url, 0);

                        if (o.r >= 0 || o.reason != failures[i].reason ||
                            o.detail != failures[i].detail || o.n_bytes != failures[i].n_bytes)
                                test_fail_at("\"%s\" by %s: %d, reason %d, detail %d, %zu bytes",
                                             url, backend == RING ? "ring" : "blocking", o.r,
                                             (int)o.reason, o.detail, o.n_bytes);
                        CU_PASS("failure");
                }
        teardown();
}

static void charset_comes_with_each_chunk(void)
{
        static const char *const paths[] = { "/charset", "/plain", "/charset" };
        struct outcome outcomes[3];

        setup();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend) {
                const char *urls[3] = { at(paths[0]), at(paths[1]), at(paths[2]) };
                struct batch batch = {
                        .backend = backend,
                        .urls = urls,
                        .n = 3,
                        .window = 1,
                        .outcomes = outcomes,
                };

                run(&batch);
                test_int(outcomes[0].n_charsets, ==, 1);
                test_int(outcomes[1].n_charsets, ==, 0);
                test_str(outcomes[2].charset, "ISO-8859-1");
        }
        teardown();
}

static void sink_can_end_it(void)
{
        struct outcome outcome;

        setup();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend) {
                struct batch batch = {
                        .backend = backend,
                        .url = at("/words/5000000"),
                        .n = 1,
                        .sink_result = -ENOTNAM,
                        .outcomes = &outcome,
                };

                run(&batch);
                test_int(outcome.r, ==, -ENOTNAM);
                test_int(outcome.reason, ==, PPP_REASON_NONE);
                test_int(outcome.n_bytes, <, 5000000);
        }
        teardown();
}

/* An error page need not cost the connection, unless it is longer than one is worth. */
static void keeps_connections(void)
{
        static const struct {
                const char *path;
                unsigned n_connections;
        } pages[] = {
                { "/plain", 1 },
                { "/missing", 1 },
                { "/redirect/3", 1 },
                { "/error/1000000", 20 },
        };

        setup();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t i = 0; i < ARRAY_SIZE(pages); ++i) {
                        struct batch batch = {
                                .backend = backend,
                                .url = at(pages[i].path),
                                .n = 20,
                                .window = 1,
                        };

                        http_counters_reset(&server);
                        run(&batch);
                        test_int(http_counter(&server.n_connections), ==, pages[i].n_connections);
                }
        teardown();
}

/* The server closes after each answer; the next request must not suffer from that. */
static void gets_over_closed_connections(void)
{
        const char *urls[20];

        setup();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend) {
                const char *plain = at("/plain"), *drop = at("/short");
                struct outcome outcomes[ARRAY_SIZE(urls)];
                struct batch batch = {
                        .backend = backend,
                        .urls = urls,
                        .n = ARRAY_SIZE(urls),
                        .window = 1,
                        .outcomes = outcomes,
                };

                for (size_t i = 0; i < ARRAY_SIZE(urls); ++i)
                        urls[i] = i % 2 ? drop : plain;
                run(&batch);
                for (size_t i = 0; i < ARRAY_SIZE(urls); ++i)
                        test_int(outcomes[i].r < 0, ==, i % 2);
        }
        teardown();
}

static void many_in_flight(void)
{
        struct batch batch = { .backend = RING, .n = 5000, .window = 64 };

        setup();
        batch.url = at("/words/35000");
        run(&batch);
        test_int(batch.n_failed, ==, 0);
        test_int(http_counter(&server.n_requests), ==, 5000);
        test_int(http_counter(&server.n_connections), <=, 64);
        test_true(server_is_idle());
        teardown();
}

static void deadline_ends_it(void)
{
        static const char *const paths[] = { "/hang", "/stall" };

        setup();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t i = 0; i < ARRAY_SIZE(paths); ++i) {
                        struct outcome o = fetch_one(backend, at(paths[i]), 60 * NSEC_PER_MSEC);

                        test_int(o.r, ==, -ETIME);
                        test_int(o.reason, ==, PPP_REASON_TIMEOUT);
                        test_int(o.detail, ==, 0);
                        test_int(o.took_ns, >=, 60 * NSEC_PER_MSEC);
                        test_int(o.took_ns, <, 5 * NSEC_PER_SEC);
                        o = fetch_one(backend, at("/plain"), 1);
                        test_int(o.reason, ==, PPP_REASON_TIMEOUT);
                }
        test_true(server_is_idle());
        teardown();
}

/*
 * Without a deadline every byte begins the time anew in which one has to come; our own way, and
 * libcurl's, to which a user in the URL leads.
 */
static void every_byte_counts(void)
{
        static const char *const users[] = { "", "me@" };
        const struct fetch_patience patient = fetch_patience;

        setup();
        fetch_patience.stall_ns = 2 * NSEC_PER_SEC;
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t i = 0; i < ARRAY_SIZE(users); ++i) {
                        char drip[64], stall[64];
                        const char *urls[] = { drip, stall };
                        struct outcome outcomes[ARRAY_SIZE(urls)];
                        struct batch batch = {
                                .backend = backend,
                                .urls = urls,
                                .n = ARRAY_SIZE(urls),
                                .outcomes = outcomes,
                        };

                        snprintf(drip, sizeof(drip), "http://%s127.0.0.1:%u/drip", users[i],
                                 server.port);
                        snprintf(stall, sizeof(stall), "http://%s127.0.0.1:%u/stall", users[i],
                                 server.port);
                        run(&batch);
                        test_int(outcomes[0].r, ==, 0);
                        test_int(outcomes[0].n_bytes, ==, 16);
                        test_int(outcomes[1].reason, ==, PPP_REASON_TIMEOUT);
                        test_int(outcomes[1].detail, ==, PPP_FETCH_SILENCE);
                        test_int(outcomes[1].n_bytes, ==, 4);
                        test_int(outcomes[1].took_ns, >=, 2 * NSEC_PER_SEC);
                }
        fetch_patience = patient;
        teardown();
}

/* Deadlines of many, on one clock: each fires, and those with none left over do not. */
static void deadlines_of_many(void)
{
        struct outcome outcomes[200];
        const char *urls[ARRAY_SIZE(outcomes)], *hang, *plain;
        struct batch batch = {
                .backend = RING,
                .urls = urls,
                .n = ARRAY_SIZE(urls),
                .window = 64,
                .timeout_ns = NSEC_PER_SEC,
                .outcomes = outcomes,
        };

        setup();
        hang = at("/hang");
        plain = at("/plain");
        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i)
                urls[i] = i % 8 ? plain : hang;
        run(&batch);
        /* On a busy machine a page that comes may come too late. */
        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i)
                if (outcomes[i].reason == PPP_REASON_TIMEOUT)
                        test_int(outcomes[i].took_ns, >=, NSEC_PER_SEC);
                else
                        test_true(i % 8 && outcomes[i].reason == PPP_REASON_NONE);
        test_true(server_is_idle());
        teardown();
}

/* What SIGTERM does to a runner, after a while; notes when. */
static void *cancel_soon(void *userdata)
{
        struct timespec ts = { 0, 50 * 1000 * 1000 };

        nanosleep(&ts, NULL);
        *(uint64_t *)userdata = now_monotonic();
        __atomic_store_n(&runner.cancelled, true, __ATOMIC_RELAXED);
        if (eventfd_write(runner.cancel_fd, 1) < 0)
                abort();
        return NULL;
}

static void cancelling_ends_all(void)
{
        static const struct {
                const char *scheme_host;
                bool silent; /* nobody answers: all wait for the scout's handshake */
        } origins[] = {
                { "http://127.0.0.1", false },
                { "http://localhost", false },
                { "https://127.0.0.1", true },
        };
        _cleanup_close_ int fd = -EBADF;
        struct outcome outcomes[150]; /* some of them begin when all is over */
        unsigned n_files;
        uint16_t silent;

        setup();
        teardown();
        fd = http_bind(&silent);
        test_int(listen(fd, 1), ==, 0);
        n_files = n_open_files();
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t h = 0; h < ARRAY_SIZE(origins); ++h) {
                        char url[64];
                        struct batch batch = {
                                .backend = backend,
                                .url = url,
                                .window = 100,
                                .outcomes = outcomes,
                                .n = backend == RING ? ARRAY_SIZE(outcomes) : 1,
                        };
                        uint64_t cancelled_ns, ended_ns;
                        pthread_t thread;

                        setup();
                        snprintf(url, sizeof(url), "%s:%u/hang", origins[h].scheme_host,
                                 origins[h].silent ? silent : server.port);
                        test_int(pthread_create(&thread, NULL, cancel_soon, &cancelled_ns), ==, 0);
                        run(&batch);
                        ended_ns = now_monotonic();
                        pthread_join(thread, NULL);
                        test_int(ended_ns - cancelled_ns, <, 30 * NSEC_PER_SEC);
                        for (unsigned i = 0; i < batch.n; ++i) {
                                test_int(outcomes[i].r, ==, -ECANCELED);
                                test_int(outcomes[i].reason, ==, PPP_REASON_CANCELLED);
                        }
                        test_true(server_is_idle());
                        teardown();
                }
        test_int(n_open_files(), ==, n_files);
}

/* Who goes first to a host may take long over its page; the others must not wait for that. */
static void slow_scout_holds_nobody_up(void)
{
        struct outcome outcomes[40];
        const char *urls[ARRAY_SIZE(outcomes)];
        char hang[64], plain[64];
        struct batch batch = {
                .backend = RING,
                .urls = urls,
                .n = ARRAY_SIZE(urls),
                .window = 8,
                .timeout_ns = 2 * NSEC_PER_SEC,
                .outcomes = outcomes,
        };

        setup();
        snprintf(hang, sizeof(hang), "http://localhost:%u/hang", server.port);
        snprintf(plain, sizeof(plain), "http://LOCALHOST:%u/plain", server.port);
        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i)
                urls[i] = i ? plain : hang;
        run(&batch);
        test_int(outcomes[0].reason, ==, PPP_REASON_TIMEOUT);
        for (size_t i = 1; i < ARRAY_SIZE(urls); ++i) {
                test_int(outcomes[i].r, ==, 0);
                test_int(outcomes[i].took_ns, <, outcomes[0].took_ns);
        }
        teardown();
}

/* Those who wait for a scout that fails fail as it did, or try for themselves. */
static void failed_scout_fails_all(void)
{
        char no_such_host[128], refused[64];
        uint16_t port;
        _cleanup_close_ int fd = http_bind(&port);
        const struct {
                const char *url;
                enum ppp_reason reason;
                int32_t detail;
        } failures[] = {
                { no_such_host, PPP_REASON_RESOLVE, 0 },
                { refused, PPP_REASON_CONNECT, ECONNREFUSED },
        };
        struct outcome outcomes[200];

        setup();
        test_int(fd, >=, 0);
        snprintf(no_such_host, sizeof(no_such_host), "http://%064d.invalid/", 1);
        snprintf(refused, sizeof(refused), "https://127.0.0.1:%u/", port);
        for (size_t i = 0; i < ARRAY_SIZE(failures); ++i) {
                struct batch batch = {
                        .backend = RING,
                        .url = failures[i].url,
                        .n = ARRAY_SIZE(outcomes),
                        .window = 150,
                        .outcomes = outcomes,
                };

                run(&batch);
                for (size_t k = 0; k < ARRAY_SIZE(outcomes); ++k) {
                        test_int(outcomes[k].reason, ==, failures[i].reason);
                        test_int(outcomes[k].detail, ==, failures[i].detail);
                }
        }
        teardown();
}

/* More hosts at once than names may be resolved at a time, and more than are remembered. */
static void many_origins(void)
{
        enum { N = 5000 };
        _cleanup_free_ char *text = malloc(N * 64);
        _cleanup_free_ const char **urls = malloc(N * sizeof(*urls));
        struct batch batch = { .backend = RING, .n = N, .window = 300 };

        test_true(text && urls);
        setup();
        for (unsigned i = 0; i < N; ++i) {
                snprintf(text + i * 64, 64, "http://h%u.localhost:%u/plain", i, server.port);
                urls[i] = text + i * 64;
        }
        batch.urls = urls;
        run(&batch);
        test_int(batch.n_failed, ==, 0);
        teardown();
}

/* One fiber fetches what unfolds to much, the other counts the turns that it is given while that
 * comes. */
struct watched {
        struct batch batch;
        struct loop *loop;
        unsigned n_spawned, n_turns;
        bool done;
};

static void fetch_watched(void *userdata)
{
        struct watched *watched = userdata;

        fetch_next(&watched->batch, fetch_ring, NULL);
        watched->done = true;
}

static void count_turns(void *userdata)
{
        struct watched *watched = userdata;

        while (!watched->done) {
                loop_yield(watched->loop);
                watched->n_turns += watched->batch.outcomes->n_bytes > 0;
        }
}

static bool two_fibers(struct loop *loop, void *userdata)
{
        struct watched *watched = userdata;

        if (watched->n_spawned == 2)
                return false;
        test_int(loop_spawn(loop, watched->n_spawned++ ? count_turns : fetch_watched, watched), ==,
                 0);
        return true;
}

static unsigned watch(const char *url, bool overdue, struct outcome *outcome)
{
        struct watched watched = {
                .batch = { .url = url, .n = 1, .overdue = overdue, .outcomes = outcome },
        };
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct async_io io;
        struct loop loop;

        if (loop_init(&loop, &runner, 2, &fault) < 0)
                exit(TEST_SKIP);
        async_io_init(&io, &loop, &bounds);
        watched.loop = &loop;
        watched.batch.worker = (struct worker){
                .runner = &runner,
                .io = &async_ops,
                .io_context = &io,
        };
        test_int(loop_run(&loop, two_fibers, &watched), ==, 0);
        loop_deinit(&loop);
        async_io_deinit(&io);
        return watched.n_turns;
}

/* By our own engine, and by libcurl, whose the second URL is for its user. */
static void bombs_keep_nobody(void)
{
        enum { MEGABYTES = 256 };
        char urls[2][128];

        setup();
        snprintf(urls[0], sizeof(urls[0]), "http://127.0.0.1:%u/bomb/%u", server.port, MEGABYTES);
        snprintf(urls[1], sizeof(urls[1]), "http://u@127.0.0.1:%u/bomb/%u", server.port, MEGABYTES);
        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i) {
                struct outcome outcome;

                /* So much is not undone in twenty times what the loop gives to one. */
                test_int(watch(urls[i], false, &outcome), >, 20);
                test_int(outcome.r, ==, 0);
                test_int(outcome.n_bytes, ==, (size_t)MEGABYTES << 20);

                (void)watch(urls[i], true, &outcome);
                test_int(outcome.reason, ==, PPP_REASON_TIMEOUT);
                test_int(outcome.n_bytes, <, (size_t)MEGABYTES << 20);
        }
        teardown();
}

TEST_MAIN("fetch", { "gets bodies", gets_bodies }, { "tells failures apart", tells_failures_apart },
          { "charset comes with each chunk", charset_comes_with_each_chunk },
          { "sink can end it", sink_can_end_it }, { "keeps connections", keeps_connections },
          { "gets over closed connections", gets_over_closed_connections },
          { "many in flight", many_in_flight }, { "deadline ends it", deadline_ends_it },
          { "every byte counts", every_byte_counts }, { "deadlines of many", deadlines_of_many },
          { "cancelling ends all", cancelling_ends_all },
          { "slow scout holds nobody up", slow_scout_holds_nobody_up },
          { "failed scout fails all", failed_scout_fails_all }, { "many origins", many_origins },
          { "bombs keep nobody", bombs_keep_nobody })
