#include "daemon/supervisor/demo.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/supervisor/log.h"
#include "daemon/supervisor/spawn.h"

#define IDLE_USEC     UINT64_C(30000000)
#define GRACE_USEC    UINT64_C(2000000)
#define RESTART_USEC  UINT64_C(100000)
#define SOON_NS       (5 * NSEC_PER_SEC)
#define EXIT_MSEC     1000
#define DEATHS_MAX    5
#define GROUP         "web"
#define PORT_FILE     "demo-port"

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

bool demo_is_named(const char *inputs, size_t n)
{
        if (n >= 5 && memcmp(inputs, "demo:", 5) == 0)
                return true;
        return memmem(inputs, n, "\ndemo:", 6) != NULL;
}

static int arm(struct demo_server *server, uint64_t usec)
{
        int r;

        if (!server->timer_source)
                return sd_event_add_time_relative(server->event, &server->timer_source,
                                                  CLOCK_MONOTONIC, usec, 1000, on_timer, server);
        r = sd_event_source_set_time_relative(server->timer_source, usec);
        return r < 0 ? r : sd_event_source_set_enabled(server->timer_source, SD_EVENT_ONESHOT);
}

static void disarm(struct demo_server *server)
{
        if (server->timer_source)
                (void)sd_event_source_set_enabled(server->timer_source, SD_EVENT_OFF);
}

static bool runs(const struct demo_server *server)
{
        return server->pidfd >= 0;
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
        _cleanup_close_ int fd = openat(server->state_fd, PORT_FILE,
                                        O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0 || dprintf(fd, "%u\n", server->port) < 0)
                supervisor_log(LOG_WARNING, "cannot write " PORT_FILE " in the state directory: %s",
                               strerror(errno));
}

/* On the port it had, where one is known; on one of the kernel's choice if that is taken. */
static int make_listener(struct demo_server *server)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(server->port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int one = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
                return -errno;
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                if (server->port == 0 || server->n_users > 0)
                        return -errno;
                address.sin_port = 0;
                if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                        return -errno;
        }
        if (listen(fd, SOMAXCONN) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &size) < 0)
                return -errno;
        server->port = ntohs(address.sin_port);
        server->listen_fd = steal_fd(&fd);
        write_port(server);
        return 0;
}

static int make_group(struct demo_server *server)
{
        int r;

        if (!groups_exist(server->groups))
                return 0;
        r = cgroup_remove(server->groups->fd, GROUP);
        return r < 0 ? r : cgroup_make(server->groups->fd, GROUP, &server->group_fd);
}

static void drop_group(struct demo_server *server)
{
        int r;

        if (server->group_fd < 0)
                return;
        server->group_fd = close_fd(server->group_fd);
        r = cgroup_remove(server->groups->fd, GROUP);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot remove the cgroup %s/" GROUP ": %s",
                               server->groups->path, strerror(-r));
}

static void reap(struct demo_server *server)
{
        siginfo_t si = { 0 };

        /* One that a former supervisor started is not our child: ECHILD. */
        (void)syscall(SYS_waitid, P_PIDFD, server->pidfd, &si, WEXITED | WNOHANG, NULL);
        server->exit_source = sd_event_source_disable_unref(server->exit_source);
        server->pidfd = close_fd(server->pidfd);
        drop_group(server);
        if (!server->stopping)
                supervisor_log(LOG_WARNING, "the demo server (process %d) ended: %s %d", server->pid,
                               si.si_code == CLD_EXITED ? "exit status" : "signal", si.si_status);
}

static void close_listener(struct demo_server *server)
{
        server->listen_fd = close_fd(server->listen_fd);
        if (unlinkat(server->state_fd, PORT_FILE, 0) < 0 && errno != ENOENT)
                supervisor_log(LOG_WARNING, "cannot remove " PORT_FILE " in the state directory: %s",
                               strerror(errno));
}

static int on_exit_of_server(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct demo_server *server = userdata;
        bool died = !server->stopping;

        reap(server);
        server->stopping = false;
        disarm(server);
        if (died)
                server->n_deaths = now_monotonic() - server->started_ns < SOON_NS
                                           ? server->n_deaths + 1 : 1;
        /* A job may have come to need it while it was on its way out. */
        if (server->n_users > 0 && server->n_deaths < DEATHS_MAX)
                return arm(server, died ? RESTART_USEC : 0);
        if (server->n_users > 0)
                supervisor_log(LOG_ERR, "the demo server died %u times right after its start; it is "
                               "not started again until a new job needs it", server->n_deaths);
        close_listener(server);
        return 0;
}

static int watch(struct demo_server *server)
{
        return sd_event_add_io(server->event, &server->exit_source, server->pidfd, EPOLLIN,
                               on_exit_of_server, server);
}

static int spawn_server(struct demo_server *server, const char **ret_attempted)
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
                .cgroup_fd = server->group_fd,
                .fds = { null_fd, null_fd, STDERR_FILENO, server->listen_fd },
                .n_fds = 4,
                .die_with_parent = server->group_fd < 0,
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
        return spawn_child(&spawn, &server->pid, &server->pidfd, ret_attempted);
}

static int start(struct demo_server *server, struct failure *failure)
{
        const char *attempted = "make a loopback socket for";
        int r = 0;

        assert(!runs(server));
        if (server->listen_fd < 0)
                r = make_listener(server);
        if (r >= 0) {
                attempted = "make the cgroup of";
                r = make_group(server);
        }
        if (r >= 0)
                r = spawn_server(server, &attempted);
        if (r >= 0) {
                attempted = "watch";
                r = watch(server);
        }
        if (r < 0) {
                drop_group(server);
                return failure_set(failure, r, r == -ENOENT ? "name it with --web PATH" : NULL,
                                   "%s the demo server %s", attempted, server->program);
        }
        server->started_ns = now_monotonic();
        return 0;
}

static void kill_server(struct demo_server *server)
{
        int r = server->group_fd >= 0 ? cgroup_kill(server->group_fd) : -ENOENT;

        if (r == -ENOENT && pidfd_send_signal(server->pidfd, SIGKILL, NULL, 0) < 0)
                r = -errno;
        if (r < 0 && r != -ENOENT && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot kill the demo server (process %d): %s",
                               server->pid, strerror(-r));
}

static int stop(struct demo_server *server)
{
        server->stopping = true;
        if (pidfd_send_signal(server->pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
                supervisor_log(LOG_WARNING, "cannot stop the demo server (process %d): %s",
                               server->pid, strerror(errno));
        return arm(server, GRACE_USEC);
}

/* One timer, three meanings: it was idle long enough, it did not stop in time, it is to be started. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct failure failure = FAILURE_NULL;
        struct demo_server *server = userdata;

        if (runs(server) && server->stopping) {
                kill_server(server);
                return 0;
        }
        if (runs(server))
                return server->n_users == 0 ? stop(server) : 0;
        if (server->n_users > 0 && start(server, &failure) < 0)
                supervisor_log(LOG_ERR, "cannot %s: %s; %s", failure_text(failure.attempted),
                               failure_text(failure.why), failure_text(failure.hint));
        failure_deinit(&failure);
        return 0;
}

/* A server that outlived its supervisor goes on. Its socket is its own: we know only the port. */
static int find_server(struct demo_server *server)
{
        int r;

        if (!groups_exist(server->groups) ||
            group_first_process(server->groups->fd, GROUP, &server->pid) < 0)
                return 0;
        r = cgroup_make(server->groups->fd, GROUP, &server->group_fd);
        if (r < 0)
                return r;
        server->pidfd = pidfd_open(server->pid, 0);
        if (server->pidfd < 0) {
                server->group_fd = close_fd(server->group_fd);
                return errno == ESRCH ? 0 : -errno;
        }
        read_port(server);
        r = watch(server);
        if (r < 0)
                return r;
        if (server->port == 0)
                return stop(server);
        supervisor_log(LOG_INFO, "took over the demo server (process %d, port %u)", server->pid,
                       server->port);
        return arm(server, IDLE_USEC);
}

int demo_server_init(struct demo_server *server, sd_event *event, struct groups *groups,
                     const char *program, int state_fd)
{
        *server = (struct demo_server)DEMO_SERVER_NULL;
        server->event = event;
        server->groups = groups;
        server->program = program;
        server->state_fd = state_fd;
        read_port(server);
        return find_server(server);
}

void demo_server_deinit(struct demo_server *server)
{
        struct pollfd exited = { .fd = server->pidfd, .events = POLLIN };

        server->timer_source = sd_event_source_disable_unref(server->timer_source);
        if (runs(server)) {
                server->stopping = true;
                kill_server(server);
                (void)poll(&exited, 1, EXIT_MSEC);
                reap(server);
        }
        if (server->listen_fd >= 0)
                close_listener(server);
        *server = (struct demo_server)DEMO_SERVER_NULL;
}

int demo_server_acquire(struct demo_server *server, char ret_url[static DEMO_URL_MAX],
                        struct failure *failure)
{
        int r;

        if (!runs(server)) {
                server->n_deaths = 0;
                r = start(server, failure);
                if (r < 0)
                        return r;
        }
        /* One that is being stopped is started again when it has ended; its socket stays open. */
        if (!server->stopping)
                disarm(server);
        ++server->n_users;
        snprintf(ret_url, DEMO_URL_MAX, "http://127.0.0.1:%u", server->port);
        return 0;
}

void demo_server_release(struct demo_server *server)
{
        assert(server->n_users > 0);
        if (--server->n_users == 0 && runs(server) && arm(server, IDLE_USEC) < 0)
                supervisor_log(LOG_WARNING, "cannot arm the timer that stops the demo server");
}
