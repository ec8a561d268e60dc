/* Fetching, by both backends: deadlines, patience and cancelling end what is in flight. */

#include <poll.h>

#include "tests/unit/fetch-batch.h"

/* Of a time that was waited for: libcurl counts in milliseconds, which may begin before ours. */
#define AT_LEAST(ns) ((ns)-5 * NSEC_PER_MSEC)

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
                        test_int(o.took_ns, >=, AT_LEAST(60 * NSEC_PER_MSEC));
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
        const uint64_t stall_ns = (HTTP_DRIP_BYTES - 1) * HTTP_DRIP_NS;
        const struct fetch_patience patient = fetch_patience;
        char texts[4][64];
        const char *urls[] = { texts[0], texts[1], texts[2], texts[3] };
        struct outcome outcomes[ARRAY_SIZE(urls)];

        setup();
        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i)
                snprintf(texts[i], sizeof(texts[i]), "http://%s127.0.0.1:%u/%s", i < 2 ? "" : "me@",
                         server.port, i % 2 ? "stall" : "drip");
        fetch_patience.stall_ns = stall_ns;
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend) {
                fetch_at_once(backend, urls, ARRAY_SIZE(urls), outcomes);
                for (size_t i = 0; i < ARRAY_SIZE(urls); i += 2) {
                        const struct outcome *drip = &outcomes[i], *stall = &outcomes[i + 1];

                        test_int(drip->r, ==, 0);
                        test_int(drip->n_bytes, ==, HTTP_DRIP_BYTES);
                        test_int(drip->took_ns, >, stall_ns);
                        test_int(stall->reason, ==, PPP_REASON_TIMEOUT);
                        test_int(stall->detail, ==, PPP_FETCH_SILENCE);
                        test_int(stall->n_bytes, ==, 4);
                        test_int(stall->took_ns, >=, AT_LEAST(stall_ns));
                }
        }
        fetch_patience = patient;
        teardown();
}

/* Connections to it are neither accepted nor refused: its queue is full. */
struct deaf_port {
        uint16_t port;
        int fd, fillers[64];
        size_t n_fillers;
};

static bool is_taken_in(int fd, uint16_t port)
{
        struct sockaddr_in to = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
                return false;
        return poll(&poll_fd, 1, 200) > 0;
}

static void deaf_port_open(struct deaf_port *deaf)
{
        bool taken = true;

        *deaf = (struct deaf_port){ .fd = -EBADF };
        deaf->fd = http_bind(&deaf->port);
        test_int(listen(deaf->fd, 0), ==, 0);
        while (taken) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

                test_int(deaf->n_fillers, <, ARRAY_SIZE(deaf->fillers));
                deaf->fillers[deaf->n_fillers++] = fd;
                taken = is_taken_in(fd, deaf->port);
        }
}

static void deaf_port_close(struct deaf_port *deaf)
{
        for (size_t i = 0; i < deaf->n_fillers; ++i)
                close_fd(deaf->fillers[i]);
        close_fd(deaf->fd);
}

/*
 * Without a deadline a fetch ends too: a server that says nothing, or no more, is given up, by our
 * own way and by libcurl's.
 */
static void silence_ends_it(void)
{
        static const char *const users[] = { "", "me@" };
        const struct fetch_patience patient = fetch_patience;
        struct deaf_port deaf;

        test_int(patient.connect_ns, ==, 30 * NSEC_PER_SEC);
        test_int(patient.stall_ns, ==, 60 * NSEC_PER_SEC);
        setup();
        deaf_port_open(&deaf);
        fetch_patience.connect_ns = 300 * NSEC_PER_MSEC;
        fetch_patience.stall_ns = 300 * NSEC_PER_MSEC;
        for (enum backend backend = 0; backend < _BACKEND_N; ++backend)
                for (size_t i = 0; i < ARRAY_SIZE(users); ++i) {
                        char unheard[64], silent[64];
                        struct outcome o;

                        snprintf(unheard, sizeof(unheard), "http://%s127.0.0.1:%u/", users[i],
                                 deaf.port);
                        o = fetch_one(backend, unheard, 0);
                        test_int(o.reason, ==, PPP_REASON_CONNECT);
                        test_int(o.took_ns, >=, AT_LEAST(300 * NSEC_PER_MSEC));
                        snprintf(silent, sizeof(silent), "http://%s127.0.0.1:%u/hang", users[i],
                                 server.port);
                        o = fetch_one(backend, silent, 0);
                        test_int(o.reason, ==, PPP_REASON_TIMEOUT);
                        test_int(o.detail, ==, PPP_FETCH_SILENCE);
                        test_int(o.took_ns, >=, AT_LEAST(300 * NSEC_PER_MSEC));
                }
        fetch_patience = patient;
        deaf_port_close(&deaf);
        teardown();
}

/* A task that computes for long before it fetches waits for its server as long as any other. */
static void patience_begins_with_the_wait(void)
{
        const struct fetch_patience patient = fetch_patience;
        struct deaf_port deaf;
        struct outcome outcome;
        char unheard[64];
        struct batch batch = {
                .backend = RING,
                .url = unheard,
                .n = 1,
                .compute_ns = 200 * NSEC_PER_MSEC,
                .outcomes = &outcome,
        };

        setup();
        deaf_port_open(&deaf);
        snprintf(unheard, sizeof(unheard), "http://127.0.0.1:%u/", deaf.port);
        fetch_patience.connect_ns = 100 * NSEC_PER_MSEC;
        run(&batch);
        fetch_patience = patient;
        test_int(outcome.reason, ==, PPP_REASON_CONNECT);
        test_int(outcome.took_ns, >=, 300 * NSEC_PER_MSEC);
        deaf_port_close(&deaf);
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
                        test_int(outcomes[i].took_ns, >=, AT_LEAST(NSEC_PER_SEC));
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

TEST_MAIN("fetch-time", { "deadline ends it", deadline_ends_it },
          { "every byte counts", every_byte_counts }, { "silence ends it", silence_ends_it },
          { "patience begins with the wait", patience_begins_with_the_wait },
          { "deadlines of many", deadlines_of_many },
          { "cancelling ends all", cancelling_ends_all },
          { "slow scout holds nobody up", slow_scout_holds_nobody_up })
