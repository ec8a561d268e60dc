/*
 * What libcurl asks for against what the ring is given. libcurl is played by this test: it says
 * what it wants by the callbacks, and notes when it is called.
 */

#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "daemon/runner/fetch/curl-ring.h"
#include "tests/unit/test.h"

static struct {
        curl_socket_callback on_socket;
        curl_multi_timer_callback on_timer;
        void *driver;
        unsigned n_socket_calls;
        unsigned n_timeout_calls;
        int fd; /* of the last call */
        int events;
        unsigned n_acted;
        int close_in_call; /* a descriptor to be closed when a socket is ready */
} libcurl;

static struct ring ring;
static struct curl_ring driver;

static CURLMcode fake_setopt(CURLM *multi, CURLMoption option, ...)
{
        va_list ap;

        va_start(ap, option);
        if (option == CURLMOPT_SOCKETFUNCTION)
                libcurl.on_socket = va_arg(ap, curl_socket_callback);
        else if (option == CURLMOPT_TIMERFUNCTION)
                libcurl.on_timer = va_arg(ap, curl_multi_timer_callback);
        else
                libcurl.driver = va_arg(ap, void *);
        va_end(ap);
        return CURLM_OK;
}

static void want(int fd, int what)
{
        test_int(libcurl.on_socket(NULL, fd, what, libcurl.driver, NULL), ==, 0);
}

static void want_timer(long timeout_ms)
{
        test_int(libcurl.on_timer(NULL, timeout_ms, libcurl.driver), ==, 0);
}

static CURLMcode fake_socket_action(CURLM *multi, curl_socket_t fd, int events, int *ret_running)
{
        if (fd == CURL_SOCKET_TIMEOUT) {
                libcurl.n_timeout_calls++;
                return CURLM_OK;
        }
        libcurl.n_socket_calls++;
        libcurl.fd = fd;
        libcurl.events = events;
        if (libcurl.close_in_call >= 0) {
                want(libcurl.close_in_call, CURL_POLL_REMOVE);
                curl_ring_close_socket(&driver, libcurl.close_in_call);
                libcurl.close_in_call = -EBADF;
        }
        return CURLM_OK;
}

static void on_acted(struct curl_ring *acted)
{
        test_true(acted == &driver);
        libcurl.n_acted++;
}

static void setup(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        r = ring_init(&ring, 64, &fault);
        if (r < 0) {
                fprintf(stderr, "no io_uring here: %s: %s\n", fault.why, fault.advice ?: "");
                exit(TEST_SKIP);
        }
        sym_curl_multi_setopt = fake_setopt;
        sym_curl_multi_socket_action = fake_socket_action;
        memset(&libcurl, 0, sizeof(libcurl));
        libcurl.close_in_call = -EBADF;
        curl_ring_init(&driver, &ring, &libcurl, on_acted);
}

static void teardown(void)
{
        curl_ring_deinit(&driver);
        test_int(ring.n_in_flight, ==, 0);
        ring_deinit(&ring);
}

/* A datagram socket is writable at once and readable when something was sent to it. */
static int open_socket(int *ret_peer)
{
        struct curl_sockaddr address = { .family = AF_UNIX, .socktype = SOCK_DGRAM };
        int fd = curl_ring_open_socket(&driver, &address), pair[2];

        test_int(fd, >=, 0);
        test_int(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), ==, 0);
        test_int(dup3(pair[0], fd, O_CLOEXEC), ==, fd);
        close(pair[0]);
        *ret_peer = pair[1];
        return fd;
}

static void turn(bool wait)
{
        curl_ring_arm(&driver);
        test_int(ring_turn(&ring, wait), >=, 0);
}

static void send_byte(int fd)
{
        test_int(send(fd, "x", 1, 0), ==, 1);
}

static bool is_open(int fd)
{
        return fcntl(fd, F_GETFD) >= 0;
}

static void asks_until_drained(void)
{
        int fd, peer;

        setup();
        fd = open_socket(&peer);
        want(fd, CURL_POLL_IN);
        send_byte(peer);
        for (unsigned i = 1; i <= 3; ++i) {
                turn(true);
                test_int(libcurl.n_socket_calls, ==, i);
                test_int(libcurl.n_acted, ==, i);
                test_int(libcurl.fd, ==, fd);
                test_int(libcurl.events, ==, CURL_CSELECT_IN);
        }
        want(fd, CURL_POLL_REMOVE);
        curl_ring_close_socket(&driver, fd);
        test_true(!is_open(fd));
        close(peer);
        teardown();
}

/* Let go of and taken up again between two turns: one entry for the ring. */
static void notes_only_what_counts(void)
{
        int fd, peer;

        setup();
        fd = open_socket(&peer);
        want(fd, CURL_POLL_IN);
        want(fd, CURL_POLL_REMOVE);
        want(fd, CURL_POLL_OUT);
        want(fd, CURL_POLL_REMOVE);
        want(fd, CURL_POLL_IN);
        turn(false);
        test_int(ring.counters.submissions, ==, 1);
        test_int(driver.n_in_flight, ==, 1);

        /* With the poll in flight, none is added for the same, nor is it ended. */
        want(fd, CURL_POLL_REMOVE);
        turn(false);
        want(fd, CURL_POLL_IN);
        turn(false);
        test_int(ring.counters.submissions, ==, 1);
        send_byte(peer);
        turn(true);
        test_int(libcurl.n_socket_calls, ==, 1);
        want(fd, CURL_POLL_REMOVE);
        curl_ring_close_socket(&driver, fd);
        close(peer);
        teardown();
}

static void changes_the_poll_in_flight(void)
{
        int fd, peer;

        setup();
        fd = open_socket(&peer);
        want(fd, CURL_POLL_IN);
        turn(false);
        test_int(libcurl.n_socket_calls, ==, 0);
        want(fd, CURL_POLL_INOUT);
        turn(true);
        test_int(driver.n_in_flight, ==, 0); /* no second one was armed */
        test_int(libcurl.n_socket_calls, ==, 1);
        test_int(libcurl.events, ==, CURL_CSELECT_OUT);
        want(fd, CURL_POLL_REMOVE);
        curl_ring_close_socket(&driver, fd);
        close(peer);
        teardown();
}

/* A completion that libcurl no longer waits for is none of its business. */
static void drops_what_is_not_wanted(void)
{
        int fd, peer;

        setup();
        fd = open_socket(&peer);
        want(fd, CURL_POLL_IN);
        turn(false);
        want(fd, CURL_POLL_REMOVE);
        send_byte(peer);
        turn(true);
        test_int(libcurl.n_socket_calls, ==, 0);
        test_int(driver.n_in_flight, ==, 0);
        curl_ring_close_socket(&driver, fd);
        close(peer);
        teardown();
}

/* The number must not go to another socket while the poll holds the old one. */
static void closes_when_the_poll_has_ended(void)
{
        int fd, peer;

        setup();
        fd = open_socket(&peer);
        want(fd, CURL_POLL_IN);
        turn(false);
        want(fd, CURL_POLL_REMOVE);
        curl_ring_close_socket(&driver, fd);
        test_true(is_open(fd));
        turn(true);
        test_true(!is_open(fd));
        test_int(driver.n_in_flight, ==, 0);
        test_int(libcurl.n_socket_calls, ==, 0);
        close(peer);
        teardown();
}

static void may_be_closed_when_called(void)
{
        int fd, peer;

        setup();
        fd = open_socket(&peer);
        want(fd, CURL_POLL_IN);
        send_byte(peer);
        libcurl.close_in_call = fd;
        turn(true);
        test_int(libcurl.n_socket_calls, ==, 1);
        test_true(!is_open(fd));
        turn(false);
        test_int(driver.n_in_flight, ==, 0);
        close(peer);
        teardown();
}

/* libcurl's resolver has sockets that it opens and closes by itself. */
static void leaves_foreign_sockets_open(void)
{
        int pair[2];

        setup();
        test_int(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), ==, 0);
        for (unsigned i = 0; i < 2; ++i) {
                want(pair[0], CURL_POLL_IN);
                turn(false);
                want(pair[0], CURL_POLL_REMOVE);
                test_true(is_open(pair[0]));
                turn(true);
                test_true(is_open(pair[0]));
                test_int(driver.n_in_flight, ==, 0);
        }
        want(pair[0], CURL_POLL_IN);
        send_byte(pair[1]);
        turn(true);
        test_int(libcurl.n_socket_calls, ==, 1);
        want(pair[0], CURL_POLL_REMOVE);
        close(pair[0]);
        close(pair[1]);
        teardown();
}

/* A socket that is not writable for now, as one that is connecting. */
static int open_unwritable_socket(int *ret_peer)
{
        int fd = open_socket(ret_peer);

        while (send(fd, "x", 1, MSG_DONTWAIT) == 1)
                continue;
        return fd;
}

/* libcurl 7.88 closes what has not connected by itself. The poll must not keep the socket. */
static void lets_go_of_what_never_connected(void)
{
        int fd, peer, next, next_peer;

        setup();
        fd = open_unwritable_socket(&peer);
        want(fd, CURL_POLL_OUT);
        turn(false);
        test_int(driver.n_in_flight, ==, 1);
        close(fd);
        want(fd, CURL_POLL_REMOVE);
        turn(true);
        test_int(driver.n_in_flight, ==, 0);

        next = open_socket(&next_peer);
        test_int(next, ==, fd);
        want(next, CURL_POLL_IN);
        send_byte(next_peer);
        turn(true);
        test_int(libcurl.n_socket_calls, ==, 1);
        want(next, CURL_POLL_REMOVE);
        curl_ring_close_socket(&driver, next);
        test_true(!is_open(next));
        close(next_peer);
        close(peer);
        teardown();
}

/* If it opens another for the same transfer it takes that for the one it knows. */
static void takes_over_a_number(void)
{
        int fd, peer, next, next_peer;

        setup();
        fd = open_unwritable_socket(&peer);
        want(fd, CURL_POLL_OUT);
        turn(false);
        close(fd);
        next = open_socket(&next_peer);
        test_int(next, ==, fd);
        for (unsigned i = 0; i < 3 && libcurl.n_socket_calls == 0; ++i)
                turn(true);
        test_int(libcurl.n_socket_calls, ==, 1);
        test_int(libcurl.events, ==, CURL_CSELECT_OUT);
        want(next, CURL_POLL_REMOVE);
        curl_ring_close_socket(&driver, next);
        close(next_peer);
        close(peer);
        teardown();
}

/* Nor at the end, when the number may be somebody else's. */
static void leaves_what_is_not_its_own(void)
{
        int fd, peer;

        setup();
        fd = open_unwritable_socket(&peer);
        want(fd, CURL_POLL_OUT);
        turn(false);
        test_int(dup3(peer, fd, O_CLOEXEC), ==, fd);
        teardown();
        test_true(is_open(fd));
        close(fd);
        close(peer);
}

static void clock_calls_when_due(void)
{
        uint64_t start = now_monotonic();

        setup();
        want_timer(30);
        while (!driver.due)
                turn(true);
        test_int(now_monotonic() - start, >=, 30 * NSEC_PER_MSEC);
        test_int(libcurl.n_timeout_calls, ==, 0);
        curl_ring_run_due(&driver);
        test_int(libcurl.n_timeout_calls, ==, 1);
        curl_ring_run_due(&driver);
        test_int(libcurl.n_timeout_calls, ==, 1);
        want_timer(0);
        test_true(driver.due);
        curl_ring_run_due(&driver);
        test_int(libcurl.n_timeout_calls, ==, 2);
        teardown();
}

/* Set later, the timeout in flight stays; set earlier, it is changed; there is never a second. */
static void clock_is_lazy(void)
{
        uint64_t start = now_monotonic();

        setup();
        want_timer(20);
        turn(false);
        want_timer(60);
        turn(false);
        want_timer(50);
        turn(false);
        test_int(ring.counters.submissions, ==, 1);
        while (!driver.due)
                turn(true);
        test_int(now_monotonic() - start, >=, 50 * NSEC_PER_MSEC);

        curl_ring_run_due(&driver);
        start = now_monotonic();
        want_timer(3600000);
        turn(false);
        want_timer(20);
        while (!driver.due) {
                turn(true);
                test_int(driver.n_in_flight, <=, 1);
        }
        teardown();
}

static void clock_can_be_stopped(void)
{
        setup();
        want_timer(5);
        turn(false);
        want_timer(-1);
        turn(true); /* fires, and nobody wanted it */
        test_true(!driver.due);
        test_int(driver.n_in_flight, ==, 0);
        turn(false);
        test_int(driver.n_in_flight, ==, 0);
        want_timer(3600000);
        turn(false);
        teardown(); /* ends it */
}

TEST_MAIN("curl-ring", { "asks until drained", asks_until_drained },
          { "notes only what counts", notes_only_what_counts },
          { "changes the poll in flight", changes_the_poll_in_flight },
          { "drops what is not wanted", drops_what_is_not_wanted },
          { "closes when the poll has ended", closes_when_the_poll_has_ended },
          { "may be closed when called", may_be_closed_when_called },
          { "leaves foreign sockets open", leaves_foreign_sockets_open },
          { "lets go of what never connected", lets_go_of_what_never_connected },
          { "takes over a number", takes_over_a_number },
          { "leaves what is not its own", leaves_what_is_not_its_own },
          { "clock calls when due", clock_calls_when_due }, { "clock is lazy", clock_is_lazy },
          { "clock can be stopped", clock_can_be_stopped })
