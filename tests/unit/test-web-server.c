/*
 * The server of the demo pages, in this process: clients on plain sockets, the server on an event
 * loop that is turned until they have their answers.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/web/listen.h"
#include "daemon/web/server.h"
#include "tests/unit/test.h"

#define DELAY_NS (50 * NSEC_PER_MSEC)

static struct pages *pages;
static sd_event *event;
static struct server *server;
static uint16_t port;

static void start(uint64_t delay_ns)
{
        struct server_options options = {
                .listen_fd = -EBADF,
                .n_connections = 1000,
                .delay_ns = delay_ns,
        };

        test_int(pages_new(&pages), ==, 0);
        test_int(sd_event_new(&event), >=, 0);
        test_int(listen_loopback(0, &options.listen_fd), ==, 0);
        test_int(listen_port(options.listen_fd, &port), ==, 0);
        test_int(server_new(event, pages, &options, &server), ==, 0);
}

static void stop(void)
{
        server = server_free(server);
        event = sd_event_unref(event);
        pages = pages_free(pages);
}

static int dial(void)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        test_int(fd, >=, 0);
        test_int(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        return fd;
}

static void ask(int fd, const char *request)
{
        test_int(send(fd, request, strlen(request), MSG_NOSIGNAL), ==, strlen(request));
}

static size_t content_length(const char *head)
{
        const char *at = strstr(head, "Content-Length: ");

        test_true(at);
        return strtoul(at + strlen("Content-Length: "), NULL, 10);
}

static bool is_whole(const char *text, size_t n, bool body)
{
        const char *end = strstr(text, "\r\n\r\n");

        if (!end)
                return false;
        return !body || n >= (size_t)(end + 4 - text) + content_length(text);
}

/* Turns the loop until @fd has an answer's head, and its body if @body. Owned by the caller. */
static char *answer(int fd, bool body)
{
        const size_t size = 65536;
        char *text = calloc(1, size + 1);
        uint64_t since = now_monotonic();
        size_t n = 0;

        test_true(text);
        while (!is_whole(text, n, body)) {
                ssize_t l = recv(fd, text + n, size - n, MSG_DONTWAIT);

                test_true(l != 0);
                if (l > 0)
                        n += (size_t)l;
                else
                        test_int(sd_event_run(event, 1000), >=, 0);
                test_int(now_monotonic() - since, <, 10 * NSEC_PER_SEC);
        }
        return text;
}

static void expect(int fd, const char *request, bool body, const char *start_of_answer)
{
        _cleanup_free_ char *text = NULL;

        ask(fd, request);
        text = answer(fd, body);
        test_int(strncmp(text, start_of_answer, strlen(start_of_answer)), ==, 0);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define STATUS(s) "HTTP/1.1 " s

static void test_page(void)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        const struct page *page;
        char *body;

        start(DELAY_NS);
        fd = dial();
        ask(fd, GET("/2018"));
        text = answer(fd, true);
        page = pages_find(pages, "/2018");
        body = strstr(text, "\r\n\r\n") + 4;
        test_contains(text, "Content-Type: text/html; charset=utf-8\r\n");
        test_int(content_length(text), ==, page->n_html);
        test_int(memcmp(body, page->html, page->n_html), ==, 0);
        stop();
}

/* One connection serves them all, one after the other. */
static void test_statuses(void)
{
        _cleanup_close_ int fd = -EBADF;

        start(DELAY_NS);
        fd = dial();
        expect(fd, GET("/"), true, STATUS("200"));
        expect(fd, GET("/2020"), true, STATUS("404"));
        expect(fd, GET("/2019?query"), true, STATUS("200"));
        expect(fd, "HEAD /2016 HTTP/1.1\r\nHost: x\r\n\r\n", false, STATUS("200"));
        expect(fd, "GET /2017 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", true,
               STATUS("200"));
        expect(fd, "POST /2017 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", true,
               STATUS("405"));
        stop();
}

static void test_delay(void)
{
        _cleanup_close_ int fd = -EBADF;
        uint64_t since;

        start(DELAY_NS);
        fd = dial();
        since = now_monotonic();
        expect(fd, GET("/2019"), true, STATUS("200"));
        test_int(now_monotonic() - since, >=, DELAY_NS);
        stop();
}

/* A page that is not there is answered before one that was asked for first. */
static void test_no_delay(void)
{
        _cleanup_close_ int page = -EBADF, missing = -EBADF;
        char byte;

        start(60 * NSEC_PER_SEC);
        page = dial();
        ask(page, GET("/2019"));
        missing = dial();
        expect(missing, GET("/2020"), true, STATUS("404"));
        test_int(recv(page, &byte, 1, MSG_DONTWAIT), <, 0);
        test_int(errno, ==, EAGAIN);
        stop();
}

/* All wait at the same time: 200 of them one by one would take 10 s. */
static void test_concurrent(void)
{
        int fds[200];
        uint64_t since;

        start(DELAY_NS);
        since = now_monotonic();
        for (size_t i = 0; i < ARRAY_SIZE(fds); ++i) {
                fds[i] = dial();
                ask(fds[i], GET("/2016"));
        }
        for (size_t i = 0; i < ARRAY_SIZE(fds); ++i) {
                free(answer(fds[i], true));
                close_fd(fds[i]);
        }
        test_int(now_monotonic() - since, <, ARRAY_SIZE(fds) * DELAY_NS);
        stop();
}

static void test_client_leaves(void)
{
        _cleanup_close_ int fd = -EBADF, stays = -EBADF;

        start(DELAY_NS);
        fd = dial();
        stays = dial();
        ask(fd, GET("/2016"));
        ask(stays, GET("/2017"));
        test_int(sd_event_run(event, 1000), >=, 0);
        fd = close_fd(fd);
        free(answer(stays, true));
        stop();
}

static void test_stop_while_waiting(void)
{
        _cleanup_close_ int fd = -EBADF;

        start(600 * NSEC_PER_SEC);
        fd = dial();
        ask(fd, GET("/2016"));
        for (unsigned i = 0; i < 10; ++i)
                test_int(sd_event_run(event, 1000), >=, 0);
        stop();
        test_int(recv(fd, &(char){ 0 }, 1, 0), <=, 0);
}

TEST_MAIN("web server", { "page", test_page }, { "statuses", test_statuses },
          { "delay", test_delay }, { "no delay", test_no_delay }, { "concurrent", test_concurrent },
          { "client leaves", test_client_leaves },
          { "stop while waiting", test_stop_while_waiting })
