/*
 * Fetching, by both backends: what arrives, which failure is which, that connections are kept, and
 * many fetches at once. test-fetch-time.c has deadlines and cancelling.
 */

#include "tests/unit/fetch-batch.h"

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
          { "many in flight", many_in_flight },
          { "failed scout fails all", failed_scout_fails_all }, { "many origins", many_origins },
          { "bombs keep nobody", bombs_keep_nobody })
