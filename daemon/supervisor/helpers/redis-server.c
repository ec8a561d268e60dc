#include "daemon/supervisor/helpers/redis-server.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/redis-program.h"

/* It is stopped when the last node has left, and these wait before they do. */
#define IDLE_USEC UINT64_C(1000000)

/*
 * Nothing of it is worth keeping: a job whose Redis has lost its data sends again what has no
 * record. A quarter of a GiB is more than what jobs send ahead; past it Redis refuses, and they
 * wait.
 */
static const char config_format[] = "port 0\n"
                                    "unixsocket \"%s\"\n"
                                    "unixsocketperm 700\n"
                                    "dir \"%s\"\n"
                                    "save \"\"\n"
                                    "appendonly no\n"
                                    "maxmemory 256mb\n"
                                    "maxmemory-policy noeviction\n"
                                    "daemonize no\n"
                                    "logfile \"%s/log\"\n";

static bool fits_a_socket(const struct redis_server *server)
{
        return strlen(server->socket) < sizeof(((struct sockaddr_un *)NULL)->sun_path) &&
               !strpbrk(server->socket, "\"\\\n");
}

bool redis_server_is_available(const struct redis_server *server, struct fault *fault)
{
        _cleanup_free_ char *program = NULL;

        if (!fits_a_socket(server)) {
                (void)fault_say(fault, -ENAMETOOLONG,
                                "name a Redis in pppctl.conf ([machines] redis = …), or give the "
                                "daemon another --state DIR",
                                "no Redis is configured, and the state directory's path is too "
                                "long (or too odd) for the socket of a private one");
                return false;
        }
        if (redis_program_find(&program) >= 0)
                return true;
        (void)fault_say(fault, -ENOENT,
                        "install one (Debian: redis-server, Fedora: valkey), or name a Redis in "
                        "pppctl.conf ([machines] redis = …)",
                        "no Redis is configured, and there is no " REDIS_PROGRAM_NAMES
                        " to start a private one");
        return false;
}

/* Its log is of this run: who looks for why it ended finds that. */
static int make_directory(const struct redis_server *server)
{
        _cleanup_free_ char *log = NULL;

        if (mkdir(server->directory, 0700) < 0 && errno != EEXIST)
                return -errno;
        if (asprintf(&log, "%s/log", server->directory) < 0) {
                log = NULL;
                return -ENOMEM;
        }
        return unlink(log) < 0 && errno != ENOENT ? -errno : 0;
}

static int make_config(const struct redis_server *server, int *ret_fd)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = asprintf(&text, config_format, server->socket, server->directory, server->directory);
        if (r < 0) {
                text = NULL;
                return -ENOMEM;
        }
        r = memfd_sealed("redis.conf", text, (size_t)r, ret_fd);
        return r >= 0 && lseek(*ret_fd, 0, SEEK_SET) < 0 ? -errno : r;
}

static int start(struct helper *helper, int group_fd, struct fault *fault)
{
        struct redis_server *server = container_of(helper, struct redis_server, helper);
        _cleanup_free_ char **environment = environment_for_child(NULL);
        _cleanup_free_ char *program = NULL;
        _cleanup_close_ int config_fd = -EBADF;
        char *argv[] = { (char *)"redis-server", (char *)"-", NULL };
        const char *attempted = "find";
        struct spawn spawn = {
                .argv = argv,
                .envp = environment,
                .cgroup_fd = group_fd,
                .n_fds = 3,
                .die_with_parent = group_fd < 0,
        };
        int r;

        r = environment ? redis_program_find(&program) : -ENOMEM;
        if (r >= 0) {
                attempted = "make the directory of";
                r = make_directory(server);
        }
        if (r >= 0) {
                attempted = "write the configuration of";
                r = make_config(server, &config_fd);
        }
        if (r >= 0) {
                spawn.path = program;
                spawn.fds[STDIN_FILENO] = config_fd;
                spawn.fds[STDOUT_FILENO] = spawn.fds[STDERR_FILENO] = STDERR_FILENO;
                r = child_start(&helper->child, &spawn, &attempted);
        }
        return r >= 0 ? 0
                      : fault_errno(fault, r, failure_advice(r), "%s the private Redis (%s)",
                                    attempted, program ?: REDIS_PROGRAM_NAMES);
}

static const struct helper_kind kind = {
        .what = "the private Redis",
        .idle_usec = IDLE_USEC,
        .start = start,
};

int redis_server_init(struct redis_server *server, sd_event *event, struct groups *groups,
                      const char *state)
{
        _cleanup_free_ char *absolute = realpath(state, NULL);

        *server = (struct redis_server)REDIS_SERVER_NULL;
        if (!absolute)
                return -errno;
        if (asprintf(&server->directory, "%s/redis", absolute) < 0) {
                server->directory = NULL;
                return -ENOMEM;
        }
        if (asprintf(&server->socket, "%s/socket", server->directory) < 0) {
                server->socket = NULL;
                return -ENOMEM;
        }
        helper_init(&server->helper, &kind, event, groups, "redis");
        return helper_find(&server->helper);
}

void redis_server_deinit(struct redis_server *server)
{
        bool left = !server->helper.kind;

        helper_deinit(&server->helper);
        if (server->socket && !left)
                (void)unlink(server->socket);
        free(server->socket);
        free(server->directory);
        *server = (struct redis_server)REDIS_SERVER_NULL;
}
