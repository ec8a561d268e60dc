#include "daemon/supervisor/api/listener.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "daemon/supervisor/base/log.h"
#include "lib/json-text.h"

#define ACCEPTS_NS NSEC_PER_MSEC
#define REST_USEC  UINT64_C(1000000)

void listener_turn_away(int fd_consumed, const char *why, const char *hint)
{
        _cleanup_free_ char *text = NULL;
        json_t *json;

        json = json_pack("{s:s, s:{s:s, s:s, s:s}}", "error", "io.pppctl.Jobs.Failed", "parameters",
                         "attempted", "accept the connection", "why", why, "hint", hint);
        text = json ? json_text(json, JSON_COMPACT) : NULL;
        /* This is a courtesy only, so errors are ignored. */
        if (text)
                (void)send(fd_consumed, text, strlen(text) + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        json_decref(json);
        close_fd(fd_consumed);
}

/* Gives up the spare descriptor, since there is no other, to answer the first client that waits. */
static void turn_one_away(struct listener *listener)
{
        int fd;

        if (listener->spare_fd < 0)
                return;
        listener->spare_fd = close_fd(listener->spare_fd);
        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
                listener_turn_away(
                        fd, "the daemon has no file descriptor left",
                        "let other clients end, or raise its limit on open files (LimitNOFILE=)");
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void rest(struct listener *listener, int error)
{
        supervisor_log(LOG_WARNING,
                       "cannot accept a connection: %s; no others are accepted until a client has "
                       "left or a second has passed",
                       strerror(-error));
        turn_one_away(listener);
        listener->resting = true;
        (void)sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
        if (sd_event_source_set_time_relative(listener->rest_source, REST_USEC) >= 0)
                (void)sd_event_source_set_enabled(listener->rest_source, SD_EVENT_ONESHOT);
}

void listener_wake(struct listener *listener)
{
        if (!listener->resting)
                return;
        listener->resting = false;
        if (listener->spare_fd < 0)
                listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        (void)sd_event_source_set_enabled(listener->rest_source, SD_EVENT_OFF);
        (void)sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
}

/* Meanwhile descriptors may have become free that were not those of peers. */
static int on_rested(sd_event_source *source, uint64_t usec, void *userdata)
{
        listener_wake(userdata);
        return 0;
}

/* Returns 1 if it accepted a connection, 0 if none is waiting. */
static int accept_one(struct listener *listener)
{
        _cleanup_close_ int fd = -EBADF;
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
                return 0;
        if (fd < 0)
                return -errno;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
                return -errno;
        listener->accepted(listener, steal_fd(&fd), &credentials);
        return 1;
}

static void on_turn(struct turn *turn)
{
        struct listener *listener = container_of(turn, struct listener, turn);
        uint64_t began_ns = now_monotonic();
        int r;

        do
                r = accept_one(listener);
        while (r == 1 && now_monotonic() - began_ns < ACCEPTS_NS);
        if (r < 0)
                rest(listener, r);
        else
                (void)sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct listener *listener = userdata;

        turn_want(&listener->turn);
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int make_address(const char *path, struct sockaddr_un *ret, struct fault *fault)
{
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(ret->sun_path) || *path == 0) {
                (void)fault_say(fault, -ENAMETOOLONG, "give another with --socket PATH",
                                "the path of a socket has 1 to %zu bytes",
                                sizeof(ret->sun_path) - 1);
                return fault_attempt(fault, "listen on \"%s\"", path);
        }
        strcpy(ret->sun_path, path);
        return 0;
}

/* Makes the directory of @path and its parents, and opens it so that it can be locked. */
static int open_directory_of(const char *path, int *ret_fd)
{
        _cleanup_free_ char *directory = strdup(path);
        char *slash;
        int fd;

        if (!directory)
                return -ENOMEM;
        slash = strrchr(directory, '/');
        if (slash)
                *slash = 0;
        for (char *at = directory; slash && (at = strchr(at + 1, '/'));) {
                *at = 0;
                if (mkdir(directory, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *at = '/';
        }
        if (slash && slash != directory && mkdir(directory, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = open(!slash               ? "."
                  : slash == directory ? "/"
                                       : directory,
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/*
 * Whether the daemon that listens on a socket is dead. A child of it that has not reached its
 * execve() yet may still have the socket open, so the process that called listen() counts. Its PID
 * is 0 if it belongs to another PID namespace.
 */
static bool is_left_over(int fd)
{
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) >= 0 &&
               credentials.pid > 0 && kill(credentials.pid, 0) < 0 && errno == ESRCH;
}

/* Whether a live process listens on @address. */
static bool is_live(const struct sockaddr_un *address)
{
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return true;
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) >= 0)
                return !is_left_over(fd);
        return errno != ECONNREFUSED;
}

/* Binds @fd. A socket file on which nobody listens is replaced. */
static int bind_over(int fd, const struct sockaddr_un *address, struct fault *fault)
{
        struct stat st;

        if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) >= 0)
                return 0;
        if (errno != EADDRINUSE)
                return fault_errno(fault, -errno,
                                   "check the permissions of its directory, or give another path "
                                   "with --socket PATH",
                                   "make the socket %s", address->sun_path);
        if (lstat(address->sun_path, &st) >= 0 && !S_ISSOCK(st.st_mode))
                return fault_why(fault, -EEXIST, "another file is there",
                                 "remove it, or give another path with --socket PATH",
                                 "make the socket %s", address->sun_path);
        if (is_live(address))
                return fault_why(fault, -EADDRINUSE, "another daemon answers there",
                                 "stop that one, or give another path with --socket PATH",
                                 "listen on %s", address->sun_path);
        if (unlink(address->sun_path) < 0 ||
            bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
                return fault_errno(fault, -errno, "remove it", "replace the stale socket %s",
                                   address->sun_path);
        return 0;
}

static int listen_on(struct listener *listener, const char *path, struct fault *fault)
{
        _cleanup_close_ int fd = -EBADF, directory_fd = -EBADF;
        struct sockaddr_un address;
        mode_t mask;
        int r;

        r = make_address(path, &address, fault);
        if (r < 0)
                return r;
        /* Everybody may enter the directory: the socket's own mode decides who may use it. */
        mask = umask(022);
        r = open_directory_of(path, &directory_fd);
        umask(mask);
        if (r < 0)
                return fault_errno(fault, r, "give another with --socket PATH",
                                   "make the directory of the socket %s", path);
        /* Two daemons that start at the same time must not both replace the same stale socket. */
        if (flock(directory_fd, LOCK_EX) < 0)
                return fault_errno(fault, -errno, NULL, "lock the directory of the socket %s",
                                   path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fault_errno(fault, -errno, NULL, "make a socket");
        mask = umask(0177);
        r = bind_over(fd, &address, fault);
        umask(mask);
        if (r < 0)
                return r;
        if (listen(fd, SOMAXCONN) < 0 || stat(path, &listener->bound) < 0)
                return fault_errno(fault, -errno, NULL, "listen on %s", path);
        listener->path = strdup(path);
        if (!listener->path)
                return -ENOMEM;
        listener->fd = steal_fd(&fd);
        return 0;
}

/* Returns 1 if systemd passed a socket, 0 if it did not. */
static int take_activated(struct listener *listener, struct fault *fault)
{
        int n, r;

        n = sd_listen_fds(1);
        if (n < 0)
                return fault_errno(fault, n, NULL, "take the socket from systemd");
        if (n == 0)
                return 0;
        if (n > 1)
                return fault_say(fault, -EINVAL, "leave one ListenStream= in the socket unit",
                                 "systemd passed %d sockets instead of one", n);
        r = sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1);
        if (r <= 0)
                return fault_say(fault, r < 0 ? r : -EINVAL,
                                 "set ListenStream=/run/pppctl/io.pppctl.Jobs",
                                 "what systemd passed is not a listening Unix stream socket");
        if (fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK) < 0)
                return fault_errno(fault, -errno, NULL, "set up systemd's socket");
        listener->fd = SD_LISTEN_FDS_START;
        return 1;
}

int listener_init(struct listener *listener, struct turns *turns, sd_event *event, const char *path,
                  void (*accepted)(struct listener *, int, const struct ucred *),
                  struct fault *fault)
{
        int r;

        *listener = (struct listener)LISTENER_NULL;
        listener->accepted = accepted;
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        r = take_activated(listener, fault);
        assert(r != 0 || path);
        if (r == 0)
                r = listen_on(listener, path, fault);
        if (r >= 0)
                r = sd_event_add_io(event, &listener->source, listener->fd, EPOLLIN, on_connection,
                                    listener);
        if (r >= 0)
                r = turn_init(&listener->turn, turns, TURNS_NOBODY, on_turn);
        if (r >= 0)
                r = sd_event_add_time(event, &listener->rest_source, CLOCK_MONOTONIC, 0, 0,
                                      on_rested, listener);
        if (r >= 0)
                r = sd_event_source_set_enabled(listener->rest_source, SD_EVENT_OFF);
        return r;
}

void listener_deinit(struct listener *listener)
{
        struct stat now;

        turn_deinit(&listener->turn);
        listener->source = sd_event_source_disable_unref(listener->source);
        listener->rest_source = sd_event_source_disable_unref(listener->rest_source);
        listener->fd = close_fd(listener->fd);
        listener->spare_fd = close_fd(listener->spare_fd);
        /* Another daemon may have put its own in the place of ours. */
        if (listener->path && stat(listener->path, &now) >= 0 &&
            now.st_dev == listener->bound.st_dev && now.st_ino == listener->bound.st_ino &&
            unlink(listener->path) < 0)
                supervisor_log(LOG_WARNING, "cannot remove the socket %s: %s", listener->path,
                               strerror(errno));
        free(listener->path);
        *listener = (struct listener)LISTENER_NULL;
}
