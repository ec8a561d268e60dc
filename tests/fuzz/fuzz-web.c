/*
 * libFuzzer: any bytes as requests to the server of the demo pages, in pieces. Whatever is asked,
 * the server goes on: a good request on another connection is answered.
 */

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/web/server.h"
#include "tests/fuzz/fuzz.h"

static sd_event *event;
static struct pages *pages;
static struct server *server;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

/* An abstract name: nothing is left in a file system. */
static void start_once(void)
{
        struct server_options options = { .n_connections = 16 };

        if (server)
                return;
        snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "fuzz-web-%d", (int)getpid());
        options.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        fuzz_check(options.listen_fd >= 0);
        fuzz_check(bind(options.listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        fuzz_check(listen(options.listen_fd, 16) == 0);
        fuzz_check(sd_event_new(&event) >= 0);
        fuzz_check(pages_new(&pages) == 0);
        fuzz_check(server_new(event, pages, &options, &server) == 0);
}

static int dial(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        fuzz_check(fd >= 0);
        fuzz_check(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        return fd;
}

/* Turns the server until it has nothing to do for the moment. */
static void turn(void)
{
        for (int i = 0; i < 1000; ++i) {
                int r = sd_event_run(event, 0);

                fuzz_check(r >= 0);
                if (r == 0)
                        return;
        }
}

/* Reads all that is there; whether that begins as an answer. */
static bool is_answered(int fd)
{
        static char text[256 * 1024];
        bool answered = false, first = true;
        ssize_t l;

        while ((l = recv(fd, text, sizeof(text), MSG_DONTWAIT)) > 0) {
                if (first)
                        answered = l >= 5 && memcmp(text, "HTTP/", 5) == 0;
                first = false;
                turn();
        }
        fuzz_check(first || answered);
        return answered;
}

static void check_good(void)
{
        static const char request[] = "GET /2016 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        bool answered = false;
        int fd = dial();

        fuzz_check(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1);
        for (int i = 0; i < 1000 && !answered; ++i) {
                (void)sd_event_run(event, NSEC_PER_MSEC / NSEC_PER_USEC);
                answered = is_answered(fd);
        }
        fuzz_check(answered);
        close(fd);
        turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        size_t size = 16 * (size_t)fuzz_byte(&fuzz) + 1;
        bool check = (fuzz_byte(&fuzz) & 0x1f) == 0;
        int fd;

        start_once();
        fd = dial();
        for (size_t i = 0; i < fuzz.n; i += size) {
                if (send(fd, fuzz.data + i, MIN(size, fuzz.n - i), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        break;
                turn();
                (void)is_answered(fd);
        }
        (void)shutdown(fd, SHUT_WR);
        turn();
        (void)is_answered(fd);
        close(fd);
        turn();
        if (check)
                check_good();
        return 0;
}
