/* A pppd that goes away: connecting again, within a time, and not twice what must not be twice. */

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cli/client.h"
#include "cli/reconnect.h"
#include "cli/say.h"
#include "tests/unit/capture.h"

static char directory[] = "/tmp/test-reconnect-XXXXXX";
static char path[sizeof(directory) + 8]; /* empty: the directory was not made yet */
static struct capture err;

static int listen_at_path(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (!*path) {
                test_true(mkdtemp(directory));
                snprintf(path, sizeof(path), "%s/socket", directory);
        }
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        (void)unlink(path);
        test_int(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        test_int(listen(fd, 4), ==, 0);
        return fd;
}

/* A pppd at @listener, which has taken the connection. */
static int connected(struct pppd *pppd, int listener)
{
        struct args args = { .verb = "wait", .socket = path };
        int fd;

        *pppd = (struct pppd)PPPD_NULL;
        test_int(pppd_open(pppd, &args), ==, 0);
        fd = accept(listener, NULL, NULL);
        test_int(fd, >=, 0);
        return fd;
}

/* Whether a connection waits to be accepted. */
static int next_connection(int listener)
{
        int fd, r;

        r = fcntl(listener, F_SETFL, O_NONBLOCK);
        test_int(r, ==, 0);
        fd = accept(listener, NULL, NULL);
        (void)fcntl(listener, F_SETFL, 0);
        return fd;
}

#define answer(fd, text) test_int(send(fd, text, sizeof(text), MSG_NOSIGNAL), ==, sizeof(text))

static void test_idle(void)
{
        _cleanup_close_ int listener = listen_at_path(), peer = -EBADF, again = -EBADF;
        struct pppd pppd;

        peer = connected(&pppd, listener);
        pppd.quiet = true;
        pppd.return_ns = NSEC_PER_SEC;
        test_int(pppd_refresh(&pppd), ==, 0);
        test_int(next_connection(listener), <, 0);

        peer = close_fd(peer);
        test_int(pppd_refresh(&pppd), ==, 0);
        again = next_connection(listener);
        test_int(again, >=, 0);
        pppd_close(&pppd);
}

static void test_call_again(void)
{
        _cleanup_close_ int listener = listen_at_path(), peer = -EBADF, again = -EBADF;
        struct pppd_reply reply = PPPD_REPLY_NULL;
        struct pppd pppd;
        char text[256];

        /* The second connection has to be answered before it is made: there is one thread here. */
        peer = connected(&pppd, listener);
        pppd.return_ns = NSEC_PER_SEC;
        pppd.job = 7;
        test_int(pppd_call(&pppd, "wait", "Wait", pppd_about_job(7), true, -EBADF), ==, 0);
        peer = close_fd(peer);
        capture_begin(&err, stderr);
        test_int(pppd_reconnect(&pppd), ==, 0);
        again = next_connection(listener);
        test_int(again, >=, 0);
        test_str(capture_end(&err), "pppd went away; waiting for it to come back\n");

        test_int(pppd_call(&pppd, "wait", "Wait", pppd_about_job(7), true, -EBADF), ==, 0);
        test_int(recv(again, text, sizeof(text), 0), >, 0);
        test_contains(text, "io.pppctl.Jobs.Wait");
        answer(again, "{\"parameters\":{\"job\":{}}}");
        capture_begin(&err, stderr);
        test_int(pppd_receive(&pppd, &reply), ==, 0);
        test_str(capture_end(&err), "pppd is back\n");
        test_int(pppd.absence.since_ns, ==, 0);
        pppd_reply_deinit(&reply);
        pppd_close(&pppd);
}

/* Run, with its descriptor, and whatever is called without return_ns. */
static void test_not_again(void)
{
        _cleanup_close_ int listener = listen_at_path();

        for (int with_fd = 0; with_fd < 2; ++with_fd) {
                _cleanup_close_ int peer = -EBADF, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
                struct pppd_reply reply = PPPD_REPLY_NULL;
                struct pppd pppd;

                peer = connected(&pppd, listener);
                pppd.return_ns = with_fd ? NSEC_PER_SEC : 0;
                test_int(pppd_call(&pppd, "start the job", "Run", json_object(), false,
                                   with_fd ? null : -EBADF),
                         ==, 0);
                peer = close_fd(peer);
                capture_begin(&err, stderr);
                test_int(pppd_receive(&pppd, &reply), ==, CLI_NO_DAEMON);
                test_contains(capture_end(&err), "lost pppd at ");
                test_int(next_connection(listener), <, 0);
                pppd_close(&pppd);
        }
}

static void test_too_long(void)
{
        _cleanup_close_ int listener = listen_at_path(), peer = -EBADF;
        struct pppd_reply reply = PPPD_REPLY_NULL;
        struct pppd pppd;

        peer = connected(&pppd, listener);
        pppd.job = 12;
        pppd.return_ns = NSEC_PER_SEC / 20;
        test_int(pppd_call(&pppd, "wait", "Wait", pppd_about_job(12), true, -EBADF), ==, 0);
        peer = close_fd(peer);
        listener = close_fd(listener);
        capture_begin(&err, stderr);
        test_int(pppd_receive(&pppd, &reply), ==, CLI_NO_DAEMON);
        test_contains(capture_end(&err), "pppctl wait 12");
        test_contains(err.text, "Connection refused");
        pppd_close(&pppd);

        /* One that takes connections and never answers: a service manager whose service fails. */
        listener = listen_at_path();
        peer = connected(&pppd, listener);
        pppd.return_ns = NSEC_PER_SEC / 20;
        test_int(pppd_call(&pppd, "wait", "Wait", pppd_about_job(12), true, -EBADF), ==, 0);
        peer = close_fd(peer);
        capture_begin(&err, stderr);
        test_int(pppd_receive(&pppd, &reply), ==, CLI_NO_DAEMON);
        test_contains(capture_end(&err), "timed out");
        pppd_close(&pppd);
}

static void test_interrupted(void)
{
        _cleanup_close_ int listener = listen_at_path(), peer = -EBADF;
        struct pppd_reply reply = PPPD_REPLY_NULL;
        struct pppd pppd;
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        test_int(write(fds[1], "x", 1), ==, 1);
        peer = connected(&pppd, listener);
        pppd.return_ns = 60 * NSEC_PER_SEC;
        test_int(pppd_call(&pppd, "wait", "Wait", pppd_about_job(12), true, -EBADF), ==, 0);
        peer = close_fd(peer);
        listener = close_fd(listener);
        pppd.quiet = true;
        pppd.absence.since_ns = now_monotonic();
        pppd.absence.n_tries = 1;
        pppd.signal_fd = fds[0];
        test_int(pppd_receive(&pppd, &reply), ==, CLI_INTERRUPTED);
        test_true(pppd.absence.since_ns);
        close_fd(fds[0]);
        close_fd(fds[1]);
        pppd_close(&pppd);
        (void)unlink(path);
        (void)rmdir(directory);
}

TEST_MAIN("reconnect", { "an idle connection that was closed", test_idle },
          { "a call that was made anew", test_call_again },
          { "calls that are not made anew", test_not_again },
          { "a pppd that does not come back", test_too_long },
          { "Ctrl-C meanwhile", test_interrupted })
