/*
 * pppd-web: over HTTP on the loopback address, the demo pages, or the metrics of a pppd. The
 * listening socket is handed over by the LISTEN_FDS protocol, or opened for --port. SIGTERM and
 * SIGINT end it.
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "daemon/web/listen.h"
#include "daemon/web/server.h"

#define EXIT_USAGE        2
#define DESCRIPTORS_SPARE 32 /* for files that are open besides connections */
#define CONNECTIONS_MAX   65536

struct arguments {
        bool has_port;
        uint16_t port;
        uint64_t delay_ns;
        const char *socket;
};

static const char usage[] =
        "Usage: pppd-web [--port N] [--socket PATH | --delay DURATION]\n"
        "\n"
        "Serves over HTTP on 127.0.0.1: with --socket the metrics of that pppd (/metrics), else\n"
        "the demo pages (/2016, /2017, /2018, /2019).\n"
        "\n"
        "  --socket PATH     serve the metrics of the pppd that listens there\n"
        "  --port N          listen on port N and print the URL; 0: any free port.\n"
        "                    Without it, a listening socket must be handed over (LISTEN_FDS).\n"
        "  --delay DURATION  time between a request for a page and its answer (200ms)\n"
        "  --help, --version\n";

static int usage_error(const char *what, const char *value, const char *hint)
{
        fprintf(stderr, "pppd-web: %s \"%s\": %s\n", what, value, hint);
        return -EINVAL;
}

static int parse_port(const char *s, struct arguments *arguments)
{
        uint64_t v;

        if (parse_u64(s, strlen(s), UINT16_MAX, &v) < 0)
                return usage_error("cannot take --port", s, "give a number from 0 to 65535");
        arguments->has_port = true;
        arguments->port = (uint16_t)v;
        return 0;
}

static int parse_delay(const char *s, struct arguments *arguments)
{
        uint64_t v;
        int r = parse_duration(s, &v);

        if (r == -ERANGE || (r >= 0 && v > 3600 * NSEC_PER_SEC))
                return usage_error("cannot take --delay, it is out of range", s, "give at most 1h");
        if (r < 0)
                return usage_error("cannot take --delay", s,
                                   "give a duration of at most an hour, such as 200ms or 1.5s");
        arguments->delay_ns = v;
        return 0;
}

/* Returns 1 when there is nothing more to do (--help). */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
        static const struct option options[] = {
                { "port", required_argument, NULL, 'p' },
                { "delay", required_argument, NULL, 'd' },
                { "socket", required_argument, NULL, 's' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                { NULL, 0, NULL, 0 },
        };
        int c, r = 0;

        while (r == 0 && (c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                switch (c) {
                case 'p':
                        r = parse_port(optarg, ret);
                        break;
                case 'd':
                        r = parse_delay(optarg, ret);
                        break;
                case 's':
                        ret->socket = optarg;
                        break;
                case 'h':
                        fputs(usage, stdout);
                        return 1;
                case 'v':
                        puts("pppd-web " PPPCTL_VERSION);
                        return 1;
                default:
                        return -EINVAL;
                }
        }
        if (r == 0 && optind < argc)
                r = usage_error("unexpected argument", argv[optind], "see pppd-web --help");
        return r;
}

static int open_inherited(int *ret_fd)
{
        int r = listen_inherited(ret_fd);

        if (r == -ENOENT)
                fputs("pppd-web: no listening socket was handed over (LISTEN_FDS); "
                      "start it with --port N to open one (0: any port)\n",
                      stderr);
        else if (r == -E2BIG)
                fputs("pppd-web: several descriptors were handed over (LISTEN_FDS); "
                      "hand over one listening socket\n",
                      stderr);
        else if (r < 0)
                fprintf(stderr,
                        "pppd-web: cannot take the socket that was handed over (LISTEN_FDS, "
                        "LISTEN_PID, descriptor 3): %s; hand over a listening stream socket\n",
                        strerror(-r));
        return r;
}

static int open_port(uint16_t port, int *ret_fd)
{
        _cleanup_close_ int fd = -EBADF;
        int r = listen_loopback(port, &fd);

        if (r >= 0)
                r = listen_port(fd, &port);
        if (r < 0) {
                fprintf(stderr, "pppd-web: cannot listen on 127.0.0.1:%u: %s%s\n", port,
                        strerror(-r), r == -EADDRINUSE ? "; --port 0 takes any free port" : "");
                return r;
        }
        printf("http://127.0.0.1:%u/\n", port);
        if (fflush(stdout) != 0) {
                r = -errno;
                fprintf(stderr, "pppd-web: cannot print the URL on standard output: %s\n",
                        strerror(-r));
                return r;
        }
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* Returns how many connections the hard limit of descriptors allows, and raises the soft one. */
static unsigned raise_limits(void)
{
        struct rlimit limit = { 1024, 1024 };

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
                goto out;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
                fprintf(stderr,
                        "pppd-web: cannot raise the limit of open files to %ju: %m; "
                        "continuing with the limit as it is\n",
                        (uintmax_t)limit.rlim_max);
                if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                        limit.rlim_cur = 1024;
        }
out:
        if (limit.rlim_cur <= 2 * DESCRIPTORS_SPARE)
                return DESCRIPTORS_SPARE;
        return (unsigned)MIN(limit.rlim_cur - DESCRIPTORS_SPARE, (rlim_t)CONNECTIONS_MAX);
}

static int add_signals(sd_event *event)
{
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return -errno;
        r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r < 0)
                return r;
        return sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
}

static int serve(int listen_fd, const struct arguments *arguments)
{
        _cleanup_(pages_freep) struct pages *pages = NULL;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(server_freep) struct server *server = NULL;
        struct server_options options = {
                .listen_fd = listen_fd,
                .n_connections = raise_limits(),
                .delay_ns = arguments->delay_ns,
                .socket = arguments->socket,
        };
        int r;

        r = arguments->socket ? 0 : pages_new(&pages);
        if (r < 0)
                return r;
        r = sd_event_default(&event);
        if (r < 0)
                return r;
        r = add_signals(event);
        if (r < 0)
                return r;
        r = server_new(event, pages, &options, &server);
        if (r < 0)
                return r;
        (void)sd_notify(false, "READY=1");
        return sd_event_loop(event);
}

int main(int argc, char **argv)
{
        struct arguments arguments = { .delay_ns = 200 * NSEC_PER_MSEC };
        int fd = -EBADF, r;

        r = hold_standard_fds();
        if (r < 0) {
                fprintf(stderr,
                        "pppd-web: cannot open /dev/null in place of a standard stream that is "
                        "closed: %s\n",
                        strerror(-r));
                return EXIT_FAILURE;
        }
        r = parse_arguments(argc, argv, &arguments);
        if (r != 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        r = arguments.has_port ? open_port(arguments.port, &fd) : open_inherited(&fd);
        if (r < 0)
                return r == -ENOENT ? EXIT_USAGE : EXIT_FAILURE;
        r = serve(fd, &arguments);
        if (r < 0)
                fprintf(stderr, "pppd-web: cannot serve the %s: %s\n",
                        arguments.socket ? "metrics" : "demo pages", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
