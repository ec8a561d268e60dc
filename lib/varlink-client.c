/*
 * The client's side of Varlink, for a program that has nothing else to do meanwhile: connect, call,
 * wait for the replies in poll(2). A second descriptor may end the wait, so that Ctrl-C (through a
 * signalfd) is answered at once.
 */

#include "lib/varlink.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

/*
 * sun_path has 108 bytes, which is too short for a deep directory. connect(2) follows links, so a
 * long path is opened without being opened (O_PATH) and reached by its descriptor's name in /proc.
 */
static int connect_path(int fd, const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int target = -EBADF;
        size_t n = strlen(path);
        int r;

        if (n == 0)
                return -EINVAL;
        if (n < sizeof(address.sun_path)) {
                memcpy(address.sun_path, path, n + 1);
        } else {
                target = open(path, O_PATH | O_CLOEXEC);
                if (target < 0)
                        return -errno;
                snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", target);
        }
        do
                r = connect(fd, (struct sockaddr *)&address, sizeof(address));
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
}

int varlink_connect(const char *path, int flags, int *ret_fd)
{
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
        int r;

        if (fd < 0)
                return -errno;
        r = connect_path(fd, path);
        if (r < 0)
                return r;
        *ret_fd = steal_fd(&fd);
        return 0;
}

static bool is_disconnect(int r)
{
        return r == -EPIPE || r == -ECONNRESET;
}

static json_t *call_new(const char *method, json_t *parameters /* stolen */, bool more)
{
        json_t *call = json_object();
        int r;

        r = json_object_set_new(call, "method", json_string(method));
        if (parameters)
                r |= json_object_set_new(call, "parameters", parameters);
        if (more)
                r |= json_object_set_new(call, "more", json_true());
        if (r == 0)
                return call;
        json_decref(call);
        return NULL;
}

int varlink_call(struct varlink *varlink, const char *method, json_t *parameters, bool more,
                 const int *fds, size_t n_fds)
{
        json_t *call;
        int r;

        if (varlink->client != VARLINK_IDLE) {
                json_decref(parameters);
                return -EBUSY;
        }
        if (varlink_pending(varlink)) {
                json_decref(parameters);
                return -EPROTO;
        }
        call = call_new(method, parameters, more);
        if (!call)
                return -ENOMEM;
        r = varlink_send(varlink, call, fds, n_fds);
        json_decref(call);
        /*
         * The message stays queued, so varlink_reply() meets the error again, after it has read
         * everything there is.
         */
        if (r < 0 && !is_disconnect(r))
                return r;
        varlink->client = more ? VARLINK_CALLED_MORE : VARLINK_CALLED;
        return 0;
}

/*
 * Waits until there is something to read, sending meanwhile. 0, VARLINK_E_AGAIN (@poll_fd), errno.
 */
static int wait_readable(struct varlink *varlink, int poll_fd)
{
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = varlink->fd, .events = POLLIN },
                        { .fd = poll_fd, .events = POLLIN },
                };
                int r;

                if (varlink_wants_write(varlink))
                        fds[0].events |= POLLOUT;
                if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if ((fds[0].revents | fds[1].revents) & POLLNVAL)
                        return -EBADF;
                /* This comes first, or an endless stream of replies would keep Ctrl-C waiting. */
                if (fds[1].revents)
                        return VARLINK_E_AGAIN;
                if (fds[0].revents & POLLOUT) {
                        r = varlink_flush(varlink);
                        if (r < 0)
                                return r;
                }
                if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
                        return 0;
        }
}

static int next_message(struct varlink *varlink, int poll_fd, struct varlink_message *ret,
                        const char **ret_why)
{
        int r, broken = 0;

        for (;;) {
                if (!varlink_pending(varlink) && !varlink->why[0]) {
                        r = wait_readable(varlink, poll_fd);
                        if (r > 0)
                                return r;
                        broken = r;
                }
                r = varlink_receive(varlink, ret, ret_why);
                if (r != VARLINK_E_AGAIN)
                        return r;
                if (broken < 0)
                        return broken;
        }
}

/* Members that a newer server may have added are ignored; those we know must be right. */
static int check_reply(struct varlink *varlink, json_t *json, bool *ret_continues,
                       const char **ret_why)
{
        json_t *parameters = json_object_get(json, "parameters");
        json_t *error = json_object_get(json, "error");
        json_t *continues = json_object_get(json, "continues");

        if (varlink->client == VARLINK_IDLE)
                return varlink_invalid(varlink, ret_why, "a message came that replies to no call");
        if (parameters && !json_is_object(parameters))
                return varlink_invalid(varlink, ret_why, "the reply's \"parameters\" is no object");
        if (error && (!json_is_string(error) || json_string_length(error) == 0))
                return varlink_invalid(varlink, ret_why, "the reply's \"error\" is no name");
        if (continues && !json_is_boolean(continues))
                return varlink_invalid(varlink, ret_why, "the reply's \"continues\" is no boolean");
        if (json_is_true(continues) && (error || varlink->client != VARLINK_CALLED_MORE))
                return varlink_invalid(varlink, ret_why, "\"continues\" came with %s",
                                       error ? "an error" : "a reply to a call that wants one");
        *ret_continues = json_is_true(continues);
        return 0;
}

int varlink_reply(struct varlink *varlink, int poll_fd, struct varlink_message *ret,
                  json_t **ret_parameters, const char **ret_error, bool *ret_continues,
                  const char **ret_why)
{
        _cleanup_(varlink_message_deinit) struct varlink_message message = VARLINK_MESSAGE_NULL;
        bool continues;
        int r;

        r = next_message(varlink, poll_fd, &message, ret_why);
        if (r != 0)
                return r;
        r = check_reply(varlink, message.json, &continues, ret_why);
        if (r != 0)
                return r;
        if (!json_object_get(message.json, "parameters") &&
            json_object_set_new(message.json, "parameters", json_object()) < 0)
                return -ENOMEM;
        if (!continues)
                varlink->client = VARLINK_IDLE;
        *ret_parameters = json_object_get(message.json, "parameters");
        *ret_error = json_string_value(json_object_get(message.json, "error"));
        *ret_continues = continues;
        *ret = message;
        message = (struct varlink_message)VARLINK_MESSAGE_NULL;
        return 0;
}
