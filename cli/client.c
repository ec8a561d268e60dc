#include "cli/client.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cli/access.h"
#include "cli/errors.h"
#include "cli/reconnect.h"
#include "cli/say.h"

#define INTERFACE   "io.pppctl.Jobs"
#define SOCKET_NAME "pppctl/" INTERFACE

static int attach(struct pppd *pppd, const char *path)
{
        _cleanup_free_ char *copy = strdup(path);
        int r, fd;

        if (!copy)
                return -ENOMEM;
        r = varlink_connect(path, 0, &fd);
        if (r < 0)
                return r;
        varlink_init_consume(&pppd->varlink, fd);
        pppd->path = steal_ptr(copy);
        return 0;
}

static const char *say_errno(int r)
{
        return strerrordesc_np(-r) ?: "unknown error";
}

/* The connection is lost and has to be made again. This is no exit status. */
#define LOST (-1)

#define START_IT                                                                                 \
        "start it with: systemctl start pppd (or systemctl --user start pppd), or from a build " \
        "tree: build/pppd-supervisor --socket PATH --state DIR, and give pppctl the same "       \
        "--socket PATH"

static int say_forbidden(const char *path, int r)
{
        _cleanup_free_ char *advice = access_advice(path);

        if (!advice)
                return cli_no_memory();
        return cli_fail(CLI_NOT_ALLOWED, "cannot reach pppd at %s: %s; %s", path, say_errno(r),
                        advice);
}

static int say_unreachable(const char *path, int r)
{
        if (r == -ENOMEM)
                return cli_no_memory();
        if (r == -EACCES || r == -EPERM)
                return say_forbidden(path, r);
        return cli_fail(CLI_NO_DAEMON, "cannot reach pppd at %s: %s; " START_IT, path,
                        say_errno(r));
}

static int open_path(struct pppd *pppd, const char *path)
{
        int r;

        if (!*path)
                return cli_fail(CLI_USAGE,
                                "--socket: the path is empty; give that of pppd's socket");
        r = attach(pppd, path);
        return r < 0 ? say_unreachable(path, r) : 0;
}

static char *user_path(void)
{
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        char *path;
        int r;

        if (runtime && *runtime == '/')
                r = asprintf(&path, "%s/" SOCKET_NAME, runtime);
        else
                r = asprintf(&path, "/run/user/%u/" SOCKET_NAME, getuid());
        return r < 0 ? NULL : path;
}

static const char system_path[] = "/run/" SOCKET_NAME;

static int open_first(struct pppd *pppd, const char *user)
{
        int user_error = attach(pppd, user), system_error;

        if (user_error >= 0)
                return 0;
        system_error = attach(pppd, system_path);
        if (system_error >= 0)
                return 0;
        if (system_error == -EACCES || system_error == -EPERM)
                return say_unreachable(system_path, system_error);
        return cli_fail(CLI_NO_DAEMON, "cannot reach pppd at %s: %s, nor at %s: %s; " START_IT,
                        user, say_errno(user_error), system_path, say_errno(system_error));
}

int pppd_open(struct pppd *pppd, const struct args *args)
{
        const char *environment = getenv("PPPCTL_SOCKET");
        _cleanup_free_ char *user = NULL;

        if (!!args->socket + args_has(args, OPTION_SYSTEM) + args_has(args, OPTION_USER) > 1)
                return cli_fail(CLI_USAGE, "--socket, --system and --user exclude each other; "
                                           "give one of them");
        if (args->socket)
                return open_path(pppd, args->socket);
        if (args_has(args, OPTION_SYSTEM))
                return open_path(pppd, system_path);
        user = user_path();
        if (!user)
                return cli_no_memory();
        if (args_has(args, OPTION_USER))
                return open_path(pppd, user);
        if (environment && *environment)
                return open_path(pppd, environment);
        return open_first(pppd, user);
}

/* By whatever name the socket was given. */
static bool is_the_systems(const char *path)
{
        struct stat system, st;

        return stat(system_path, &system) >= 0 && stat(path, &st) >= 0 &&
               st.st_dev == system.st_dev && st.st_ino == system.st_ino;
}

/* SO_PEERCRED (unix(7)) is of who made the socket: of the system's, systemd. */
bool pppd_is_own(const struct pppd *pppd)
{
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        return !is_the_systems(pppd->path) &&
               getsockopt(pppd->varlink.fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) >= 0 &&
               credentials.uid == geteuid();
}

int pppd_open_again(struct pppd *pppd, const struct pppd *other)
{
        pppd->job = other->job;
        pppd->signal_fd = other->signal_fd;
        return open_path(pppd, other->path);
}

void pppd_close(struct pppd *pppd)
{
        varlink_deinit(&pppd->varlink);
        json_decref(pppd->call.parameters);
        json_decref(pppd->refusal);
        free(pppd->path);
        *pppd = (struct pppd)PPPD_NULL;
}

void pppd_reply_deinit(struct pppd_reply *reply)
{
        varlink_message_deinit(&reply->message);
        reply->parameters = NULL;
}

static int say_broken(const struct pppd *pppd, const char *why)
{
        if (pppd->job)
                return cli_fail(CLI_NO_DAEMON,
                                "lost pppd at %s while trying to %s: %s; job %" PRIu64
                                " continues if its runner does: see pppctl show %" PRIu64,
                                pppd->path, pppd->attempted, why, pppd->job, pppd->job);
        return cli_fail(CLI_NO_DAEMON,
                        "lost pppd at %s while trying to %s: %s; see its log (journalctl -u pppd)",
                        pppd->path, pppd->attempted, why);
}

static int send_call(struct pppd *pppd, const char *method, json_t *parameters, bool more, int fd)
{
        char name[64];
        int r;

        snprintf(name, sizeof(name), INTERFACE ".%s", method);
        r = varlink_call(&pppd->varlink, name, parameters, more, &fd, fd >= 0 ? 1 : 0);
        if (r == -ENOMEM)
                return cli_no_memory();
        return r < 0 ? say_broken(pppd, say_errno(r)) : 0;
}

int pppd_call(struct pppd *pppd, const char *attempted, const char *method, json_t *parameters,
              bool more, int fd)
{
        pppd->attempted = attempted;
        pppd->refused = false;
        json_decref(pppd->refusal);
        pppd->refusal = NULL;
        if (!parameters)
                return cli_no_memory();
        json_decref(pppd->call.parameters);
        pppd->call = (struct pppd_call){ method, fd < 0 ? json_incref(parameters) : NULL, more };
        return send_call(pppd, method, parameters, more, fd);
}

static bool may_call_again(const struct pppd *pppd)
{
        return pppd->return_ns > 0 && pppd->call.parameters;
}

static int lose(const struct pppd *pppd, const char *why)
{
        return may_call_again(pppd) ? LOST : say_broken(pppd, why);
}

/* pppd was stopped in order: nothing is broken, and the next pppd continues the job. */
static bool says_goodbye(const struct pppd *pppd, const char *error)
{
        return may_call_again(pppd) && streq(error, INTERFACE ".Interrupted");
}

static bool tolerate(struct pppd *pppd, const char *error, json_t *parameters)
{
        const char *dot = strrchr(error, '.');

        if (!pppd->tolerated || !dot || !streq(dot + 1, pppd->tolerated))
                return false;
        pppd->refusal = json_incref(parameters);
        return true;
}

static int receive(struct pppd *pppd, struct pppd_reply *ret)
{
        struct pppd_reply reply = PPPD_REPLY_NULL;
        const char *error, *why;
        int r;

        r = varlink_reply(&pppd->varlink, MAX(pppd->signal_fd, -1), &reply.message,
                          &reply.parameters, &error, &reply.continues, &why);
        if (r == VARLINK_E_AGAIN)
                return CLI_INTERRUPTED;
        if (r == VARLINK_E_EOF)
                return lose(pppd, "it closed the connection");
        if (r == -ECONNRESET || r == -EPIPE)
                return lose(pppd, say_errno(r));
        if (r == VARLINK_E_INVALID)
                return pppd_bad_reply(pppd, why);
        if (r == -ENOMEM)
                return cli_no_memory();
        if (r < 0)
                return say_broken(pppd, say_errno(r));
        if (!error) {
                *ret = reply;
                return 0;
        }
        if (says_goodbye(pppd, error)) {
                r = LOST;
        } else {
                pppd->refused = true;
                r = tolerate(pppd, error, reply.parameters)
                            ? CLI_FAILED
                            : say_varlink_error(pppd->attempted, pppd->job, error,
                                                reply.parameters);
        }
        pppd_reply_deinit(&reply);
        return r;
}

/* Connects and repeats the call. Returns 0, LOST when pppd is gone again, or an exit status. */
static int call_again(struct pppd *pppd)
{
        int r = pppd_reconnect(pppd);

        if (r)
                return r;
        r = send_call(pppd, pppd->call.method, json_incref(pppd->call.parameters), pppd->call.more,
                      -EBADF);
        return r ? r : pppd_await_reply(pppd);
}

int pppd_receive(struct pppd *pppd, struct pppd_reply *ret)
{
        int r;

        while ((r = receive(pppd, ret)) == LOST) {
                r = call_again(pppd);
                if (r)
                        return r;
        }
        if (r == 0 || pppd->refused)
                pppd_is_back(pppd);
        return r;
}

int pppd_refresh(struct pppd *pppd)
{
        struct pollfd fd = { .fd = pppd->varlink.fd, .events = POLLIN };

        /* No reply is due: there is something to read only if pppd has closed the connection. */
        if (pppd->return_ns == 0 || poll(&fd, 1, 0) <= 0)
                return 0;
        return pppd_reconnect(pppd);
}

int pppd_ask(struct pppd *pppd, const char *attempted, const char *method, json_t *parameters,
             int fd, struct pppd_reply *ret)
{
        int r = pppd_call(pppd, attempted, method, parameters, false, fd);

        return r ? r : pppd_receive(pppd, ret);
}

int pppd_reply_job(const struct pppd *pppd, const struct pppd_reply *reply, json_t **ret)
{
        json_t *job = json_object_get(reply->parameters, "job");

        if (!json_is_object(job))
                return pppd_bad_reply(pppd, "it has no object \"job\"");
        *ret = job;
        return 0;
}

int pppd_reply_fd(const struct pppd *pppd, struct pppd_reply *reply, const char *member, int *ret)
{
        json_t *index = json_object_get(reply->parameters, member);
        char what[80];
        int fd = -EBADF;

        if (json_is_integer(index) && json_integer_value(index) >= 0)
                fd = varlink_message_take_fd(&reply->message, (size_t)json_integer_value(index));
        if (fd < 0) {
                snprintf(what, sizeof(what), "it has no descriptor \"%s\"", member);
                return pppd_bad_reply(pppd, what);
        }
        *ret = fd;
        return 0;
}

int pppd_bad_reply(const struct pppd *pppd, const char *what)
{
        return cli_fail(CLI_FAILED,
                        "cannot %s: the reply of pppd at %s is not understood: %s; is it of the "
                        "same version as pppctl (" PPPCTL_VERSION ")?",
                        pppd->attempted, pppd->path, what);
}
