#include "daemon/supervisor/helpers/demo.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "daemon/supervisor/base/log.h"

#define IDLE_USEC  UINT64_C(30000000)
#define DEATHS_MAX 5
#define PORT_FILE  "demo-port"

bool demo_is_named(const char *inputs, size_t n)
{
        if (n >= 5 && memcmp(inputs, "demo:", 5) == 0)
                return true;
        return memmem(inputs, n, "\ndemo:", 6) != NULL;
}

static void read_port(struct demo_server *server)
{
        _cleanup_free_ char *text = NULL;
        uint64_t port;

        if (read_file_at(server->state_fd, PORT_FILE, &text, NULL) >= 0 &&
            parse_u64(text, strcspn(text, "\n"), 65535, &port) >= 0)
                server->port = (uint16_t)port;
}

/* Only a supervisor that takes over needs it: that it can't be written harms nobody now. */
static void write_port(struct demo_server *server)
{
        _cleanup_close_ int fd =
                openat(server->state_fd, PORT_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0 || dprintf(fd, "%u\n", server->port) < 0)
                supervisor_log(LOG_WARNING, "cannot write " PORT_FILE " in the state directory: %s",
                               strerror(errno));
}

/* On the port it had, where one is known; on one of the kernel's choice if that is taken. */
static int make_listener(struct demo_server *server)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(server->port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int one = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
                return -errno;
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                if (server->port == 0 || server->helper.n_users > 0)
                        return -errno;
                address.sin_port = 0;
                if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                        return -errno;
        }
        if (listen(fd, SOMAXCONN) < 0 || getsockname(fd, (struct sockaddr *)&address, &size) < 0)
                return -errno;
        server->port = ntohs(address.sin_port);
        server->listen_fd = steal_fd(&fd);
        write_port(server);
        return 0;
}

static void remove_port(struct demo_server *server)
{
        if (unlinkat(server->state_fd, PORT_FILE, 0) < 0 && errno != ENOENT)
                supervisor_log(LOG_WARNING,
                               "cannot remove " PORT_FILE " in the state directory: %s",
                               strerror(errno));
}

static void close_listener(struct demo_server *server)
{
        server->listen_fd = close_fd(server->listen_fd);
        remove_port(server);
}

static int spawn_server(struct demo_server *server, int group_fd, const char **ret_attempted)
{
        char digits[] = "LISTEN_PID=0000000000";
        const char *extra[] = { "LISTEN_FDS=1", "LISTEN_FDNAMES=http", digits, NULL };
        _cleanup_free_ char **environment = environment_for_child(extra);
        _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        char *argv[] = { (char *)"pppd-web", NULL };
        struct spawn spawn = {
                .path = server->program,
                .argv = argv,
                .envp = environment,
                .cgroup_fd = group_fd,
                .fds = { null_fd, null_fd, STDERR_FILENO, server->listen_fd },
                .n_fds = 4,
                .die_with_parent = group_fd < 0,
        };
        size_t n = 0;

        *ret_attempted = "prepare";
        if (!environment)
                return -ENOMEM;
        if (null_fd < 0)
                return -errno;
        while (environment[n + 1])
                ++n;
        spawn.listen_pid = environment[n] + strlen("LISTEN_PID=");
        return child_start(&server->helper.child, &spawn, ret_attempted);
}

static int start(struct helper *helper, int group_fd, struct fault *fault)
{
        struct demo_server *server = container_of(helper, struct demo_server, helper);
        const char *attempted = "make a loopback socket for";
        int r = 0;

        if (server->listen_fd < 0)
                r = make_listener(server);
        if (r >= 0)
                r = spawn_server(server, group_fd, &attempted);
        return r >= 0 ? 0
                      : fault_errno(fault, r,
                                    r == -ENOENT ? "name it with --web PATH" : failure_advice(r),
                                    "%s the demo server %s", attempted, server->program);
}

static void down(struct helper *helper)
{
        close_listener(container_of(helper, struct demo_server, helper));
}

static const struct helper_kind kind = {
        .what = "the demo server",
        .idle_usec = IDLE_USEC,
        .deaths_max = DEATHS_MAX,
        .start = start,
        .down = down,
};

/* The socket of a server that outlived its supervisor is its own: we know only the port. */
int demo_server_init(struct demo_server *server, sd_event *event, struct groups *groups,
                     const char *program, int state_fd)
{
        int r;

        *server = (struct demo_server)DEMO_SERVER_NULL;
        helper_init(&server->helper, &kind, event, groups, "web");
        server->program = program;
        server->state_fd = state_fd;
        read_port(server);
        r = helper_find(&server->helper);
        if (r > 0 && server->port == 0)
                helper_stop(&server->helper);
        /* Its server died with a supervisor that was killed. Jobs that are taken up may know the
         * port, so we do; it is written again with the server they need. */
        if (r == 0)
                remove_port(server);
        return r;
}

void demo_server_deinit(struct demo_server *server)
{
        if (!server->helper.kind)
                return;
        helper_deinit(&server->helper);
        /* Also of one that was taken over, whose socket is not ours. */
        close_listener(server);
        *server = (struct demo_server)DEMO_SERVER_NULL;
}

int demo_server_acquire(struct demo_server *server, char ret_url[static DEMO_URL_MAX],
                        struct fault *fault)
{
        int r;

        r = helper_acquire(&server->helper, fault);
        if (r < 0)
                return r;
        snprintf(ret_url, DEMO_URL_MAX, "http://127.0.0.1:%u", server->port);
        return 0;
}

void demo_server_release(struct demo_server *server)
{
        helper_release(&server->helper);
}
