/*
 * The wire of Varlink: one stream socket, what was received and not yet taken, what is to be sent.
 * The blocking client on top of it is in varlink-client.c.
 *
 * Which message does a descriptor belong to?
 *
 * A stream has no message boundaries, and one recvmsg() may return many messages, so this needs
 * care. What unix(7) promises and net/unix/af_unix.c does (unix_stream_sendmsg,
 * unix_stream_read_generic):
 *
 *  - the descriptors of one sendmsg() travel with the first buffer (skb) of its bytes;
 *  - a read that has taken bytes of a buffer with descriptors stops there: nothing that was sent
 *    after it is returned along with them, and two sets of descriptors never meet in one read;
 *  - but a read goes on *into* such a buffer from bytes that were sent before, without descriptors.
 *
 * So one read is a barrier behind the descriptors, not before them: if it returns "A\0B\0" and a
 * descriptor, that may have been sendmsg("A\0") and sendmsg("B\0", fd), as sd-varlink and we send
 * (the descriptor is B's), or sendmsg("A\0B\0", fd) of a peer that batches (it is A's). D-Bus does
 * not care, its messages say how many descriptors they have, and dbus-broker only has to stop at
 * the barrier. Varlink's do not say so. What tells the two apart is to never read past the end of a
 * message when descriptors are near: then whatever arrives came with bytes of this message.
 *
 * Therefore each read is two. First recvmsg(MSG_PEEK) without room for control data: it stops at
 * the same barrier, and MSG_CTRUNC says whether there were descriptors (__scm_recv_common in
 * net/core/scm.c sets it, and installs none of them). If not, all bytes peeked are taken at once,
 * be they hundreds of messages. If so, the bytes up to the first NUL are taken, and only they. Both
 * ways the descriptors held are those of the first message in the buffer, and a message is never
 * handed out before all of its bytes, hence all of its descriptors, are there. The price is one
 * system call a read on the control plane, where nothing is hot.
 */

#include "lib/varlink.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/json-depth.h"
#include "lib/json-text.h"

#define BUFFER_MIN  4096
#define BUFFER_KEEP 65536 /* an empty buffer larger than this is given back */
#define BUFFER_MAX  ((size_t)VARLINK_MESSAGE_MAX + 1)

struct varlink_out {
        struct varlink_out *next;
        char *data; /* with the NUL */
        size_t n, sent;
        int fds[VARLINK_FDS_MAX]; /* until the first byte is sent */
        size_t n_fds;
};

static void close_fds(int *fds, size_t *n_fds)
{
        while (*n_fds > 0) {
                --*n_fds;
                fds[*n_fds] = close_fd(fds[*n_fds]);
        }
}

static struct varlink_out *out_free(struct varlink_out *out)
{
        if (!out)
                return NULL;
        close_fds(out->fds, &out->n_fds);
        free(out->data);
        free(out);
        return NULL;
}
DEFINE_CLEANUP(struct varlink_out *, out_free)

static size_t out_charge(const struct varlink_out *out)
{
        return sizeof(*out) + out->n;
}

/*
 * Unix sockets know urgent data since 5.15. A peek skips such a byte while poll(2) keeps saying
 * that there is something to read, so a peer could make us spin; in line it is a byte like any
 * other. A descriptor that is no socket fails at the first read.
 */
void varlink_init_consume(struct varlink *varlink, int fd)
{
        static const int one = 1;

        assert(fd >= 0);

        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));

        *varlink = (struct varlink){ .fd = fd, .client = VARLINK_IDLE };
        varlink->out_tail = &varlink->out;
}

static void out_pop(struct varlink *varlink)
{
        struct varlink_out *out = varlink->out;

        varlink->out = out->next;
        if (!varlink->out)
                varlink->out_tail = &varlink->out;
        varlink->n_out -= out_charge(out);
        varlink->n_out_fds -= out->n_fds;
        out_free(out);
}

void varlink_deinit(struct varlink *varlink)
{
        while (varlink->out)
                out_pop(varlink);
        close_fds(varlink->in_fds, &varlink->n_in_fds);
        free(varlink->in);
        varlink->in = NULL;
        varlink->begin = varlink->n_in = varlink->size_in = varlink->scanned = 0;
        varlink->fd = close_fd(varlink->fd);
}

void varlink_message_deinit(struct varlink_message *message)
{
        json_decref(message->json);
        message->json = NULL;
        close_fds(message->fds, &message->n_fds);
}

int varlink_message_take_fd(struct varlink_message *message, size_t i)
{
        return i < message->n_fds ? steal_fd(&message->fds[i]) : -EBADF;
}

/* The parser quotes the text it failed on: bytes of the peer, which would get into a log and a
 * reply. */
static void make_printable(char *text)
{
        for (; *text; ++text)
                if (*text < 0x20 || *text > 0x7e)
                        *text = '?';
}

int varlink_invalid(struct varlink *varlink, const char **ret_why, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(varlink->why, sizeof(varlink->why), format, args);
        va_end(args);
        make_printable(varlink->why);
        *ret_why = varlink->why;
        return VARLINK_E_INVALID;
}

static int append_fds(struct varlink *varlink, const int *fds, size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n; ++i) {
                if (varlink->n_in_fds < VARLINK_FDS_MAX) {
                        varlink->in_fds[varlink->n_in_fds++] = fds[i];
                } else {
                        close_fd(fds[i]);
                        r = -EMFILE;
                }
        }
        return r;
}

/* Takes over all descriptors of @mh, even if it then finds that they are too many (-EMFILE). */
static int collect_fds(struct varlink *varlink, struct msghdr *mh)
{
        int r = mh->msg_flags & MSG_CTRUNC ? -EMFILE : 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
                int fds[VARLINK_FDS_MAX];
                size_t n = c->cmsg_len - CMSG_LEN(0);
                int k;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                assert(n <= sizeof(fds)); /* our own control buffer has no room for more */
                memcpy(fds, CMSG_DATA(c), n);
                k = append_fds(varlink, fds, n / sizeof(int));
                if (k < 0)
                        r = k;
        }
        return r;
}

/* Makes room behind the partial message that is in the buffer. */
static int buffer_reserve(struct varlink *varlink)
{
        size_t size;
        char *p;

        if (varlink->begin > 0) {
                memmove(varlink->in, varlink->in + varlink->begin, varlink->n_in);
                varlink->begin = 0;
        }
        if (varlink->n_in < varlink->size_in)
                return 0;
        assert(varlink->size_in < BUFFER_MAX);
        size = MIN(MAX(varlink->size_in * 2, (size_t)BUFFER_MIN), BUFFER_MAX);
        p = realloc(varlink->in, size);
        if (!p)
                return -ENOMEM;
        varlink->in = p;
        varlink->size_in = size;
        return 0;
}

static void buffer_drop(struct varlink *varlink, size_t n)
{
        varlink->begin += n;
        varlink->n_in -= n;
        varlink->scanned = 0;
        if (varlink->n_in > 0)
                return;
        varlink->begin = 0;
        if (varlink->size_in > BUFFER_KEEP) {
                free(varlink->in);
                varlink->in = NULL;
                varlink->size_in = 0;
        }
}

/* recvmsg() with our error codes: bytes in *ret_n, or VARLINK_E_AGAIN, VARLINK_E_EOF, errno. */
static int receive(int fd, struct msghdr *mh, int flags, size_t *ret_n)
{
        ssize_t n;

        do
                n = recvmsg(fd, mh, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno == EAGAIN)
                return VARLINK_E_AGAIN;
        /*
         * The peer closed without reading what we sent: for us this is the same as a plain close.
         */
        if (n == 0 || (n < 0 && errno == ECONNRESET))
                return VARLINK_E_EOF;
        if (n < 0)
                return -errno;
        *ret_n = (size_t)n;
        return 0;
}

/* How many bytes may be taken in one read; see the top of this file. */
static int peek(struct varlink *varlink, char *to, size_t room, size_t *ret_n)
{
        struct iovec iov = { to, room };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
        const char *nul = NULL;
        size_t n;
        int r;

        r = receive(varlink->fd, &mh, MSG_PEEK, &n);
        if (r != 0)
                return r;
        if (mh.msg_flags & MSG_CTRUNC)
                nul = memchr(to, 0, n);
        *ret_n = nul ? (size_t)(nul - to) + 1 : n;
        return 0;
}

/* One read of at least one byte, with its descriptors. */
static int buffer_fill(struct varlink *varlink, const char **ret_why)
{
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(sizeof(int) * VARLINK_FDS_MAX)];
        } control;
        struct iovec iov;
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        size_t n;
        int r;

        r = buffer_reserve(varlink);
        if (r < 0)
                return r;
        iov.iov_base = varlink->in + varlink->n_in;
        r = peek(varlink, iov.iov_base, varlink->size_in - varlink->n_in, &iov.iov_len);
        if (r == 0)
                r = receive(varlink->fd, &mh, 0, &n);
        if (r != 0)
                return r;
        varlink->n_in += n;
        if (collect_fds(varlink, &mh) < 0) {
                close_fds(varlink->in_fds, &varlink->n_in_fds);
                return varlink_invalid(varlink, ret_why,
                                       "the message came with more than %d descriptors, or with "
                                       "more than this process may open",
                                       VARLINK_FDS_MAX);
        }
        return 0;
}

/* The NUL that ends the first message, or NULL. */
static const char *buffer_find_end(const struct varlink *varlink)
{
        if (varlink->n_in == varlink->scanned)
                return NULL;
        return memchr(varlink->in + varlink->begin + varlink->scanned, 0,
                      varlink->n_in - varlink->scanned);
}

bool varlink_pending(const struct varlink *varlink)
{
        return buffer_find_end(varlink) != NULL;
}

static int parse(struct varlink *varlink, const char *text, size_t n, json_t **ret,
                 const char **ret_why)
{
        json_error_t error = {};
        json_t *json;

        if (json_depth_exceeds(text, n, JSON_DEPTH_MAX))
                return varlink_invalid(varlink, ret_why,
                                       "the message nests arrays and objects deeper than %d levels",
                                       JSON_DEPTH_MAX);
        if (varlink->members_max > 0 && json_members_exceed(text, n, varlink->members_max))
                return varlink_invalid(varlink, ret_why,
                                       "the message has more than %zu members; inputs as many as "
                                       "that are sent in a memfd",
                                       varlink->members_max);
        json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        /* Mostly jansson says nothing at all when it is out of memory. */
        if (!json && (!error.text[0] || json_error_code(&error) == json_error_out_of_memory))
                return -ENOMEM;
        if (!json)
                return varlink_invalid(varlink, ret_why, "the message is not JSON: %s (at byte %d)",
                                       error.text, error.position);
        if (!json_is_object(json)) {
                json_decref(json);
                return varlink_invalid(varlink, ret_why,
                                       "the message is a JSON array; Varlink's are objects");
        }
        *ret = json;
        return 0;
}

/* Takes the first message, which ends at @end, out of the buffer, together with its descriptors. */
static int buffer_take(struct varlink *varlink, const char *end, struct varlink_message *ret,
                       const char **ret_why)
{
        struct varlink_message message = { .n_fds = varlink->n_in_fds };
        const char *text = varlink->in + varlink->begin;
        size_t n = (size_t)(end - text);
        int r;

        r = parse(varlink, text, n, &message.json, ret_why);
        if (r != 0)
                return r;
        for (size_t i = 0; i < VARLINK_FDS_MAX; ++i)
                message.fds[i] = i < message.n_fds ? steal_fd(&varlink->in_fds[i]) : -EBADF;
        varlink->n_in_fds = 0;
        buffer_drop(varlink, n + 1);
        *ret = message;
        return 0;
}

int varlink_receive(struct varlink *varlink, struct varlink_message *ret, const char **ret_why)
{
        int r;

        if (varlink->why[0]) {
                *ret_why = varlink->why;
                return VARLINK_E_INVALID;
        }
        for (;;) {
                const char *end = buffer_find_end(varlink);

                if (end)
                        return buffer_take(varlink, end, ret, ret_why);
                varlink->scanned = varlink->n_in;
                if (varlink->n_in > VARLINK_MESSAGE_MAX)
                        return varlink_invalid(varlink, ret_why,
                                               "the message is longer than %u bytes",
                                               VARLINK_MESSAGE_MAX);
                if (varlink->eof)
                        return VARLINK_E_EOF;
                r = buffer_fill(varlink, ret_why);
                varlink->eof = r == VARLINK_E_EOF;
                if (r != 0)
                        return r;
        }
}

static int out_add_fds(struct varlink_out *out, const int *fds, size_t n_fds)
{
        assert(n_fds <= VARLINK_FDS_MAX);

        for (size_t i = 0; i < n_fds; ++i) {
                int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

                if (fd < 0)
                        return -errno;
                out->fds[out->n_fds++] = fd;
        }
        return 0;
}

static int out_new(json_t *json, const int *fds, size_t n_fds, struct varlink_out **ret)
{
        _cleanup_(out_freep) struct varlink_out *out = calloc(1, sizeof(*out));
        int r;

        assert(json_is_object(json));

        if (!out)
                return -ENOMEM;
        out->data = json_text(json, JSON_COMPACT);
        if (!out->data)
                return -ENOMEM;
        out->n = strlen(out->data) + 1;
        if (out->n > BUFFER_MAX)
                return -EMSGSIZE;
        r = out_add_fds(out, fds, n_fds);
        if (r < 0)
                return r;
        *ret = steal_ptr(out);
        return 0;
}

static bool queue_has_room(const struct varlink *varlink, const struct varlink_out *out)
{
        return varlink->n_out + out_charge(out) <= VARLINK_QUEUE_MAX &&
               varlink->n_out_fds + out->n_fds <= VARLINK_QUEUE_FDS_MAX;
}

int varlink_send(struct varlink *varlink, json_t *json, const int *fds, size_t n_fds)
{
        _cleanup_(out_freep) struct varlink_out *out = NULL;
        bool is_first;
        int r;

        r = out_new(json, fds, n_fds, &out);
        if (r < 0)
                return r;
        if (!queue_has_room(varlink, out)) {
                r = varlink_flush(varlink);
                if (r < 0)
                        return r;
                if (!queue_has_room(varlink, out))
                        return -ENOBUFS;
        }
        is_first = !varlink->out;
        varlink->n_out += out_charge(out);
        varlink->n_out_fds += out->n_fds;
        *varlink->out_tail = out;
        varlink->out_tail = &out->next;
        steal_ptr(out);
        r = varlink_flush(varlink);
        /* Descriptors go with the first byte, so nothing of the message has been sent. */
        if (r == -ETOOMANYREFS && is_first)
                out_pop(varlink);
        return r;
}

/*
 * Sends as much of one message as the socket takes; each message is a sendmsg() of its own, so that
 * its descriptors go with its first byte (see the top of this file). As soon as one byte is out
 * they are, too.
 */
static int out_send(struct varlink *varlink, struct varlink_out *out)
{
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(sizeof(int) * VARLINK_FDS_MAX)];
        } control;
        struct iovec iov = { out->data + out->sent, out->n - out->sent };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (out->n_fds > 0) {
                memset(&control, 0, sizeof(control));
                control.align = (struct cmsghdr){
                        .cmsg_len = CMSG_LEN(sizeof(int) * out->n_fds),
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                };
                memcpy(CMSG_DATA(&control.align), out->fds, sizeof(int) * out->n_fds);
                mh.msg_control = &control;
                mh.msg_controllen = CMSG_SPACE(sizeof(int) * out->n_fds);
        }
        do
                n = sendmsg(varlink->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        out->sent += (size_t)n;
        varlink->n_out_fds -= out->n_fds;
        close_fds(out->fds, &out->n_fds);
        return 0;
}

int varlink_flush(struct varlink *varlink)
{
        while (varlink->out) {
                int r = out_send(varlink, varlink->out);

                if (r == -EAGAIN)
                        return 0;
                if (r < 0)
                        return r;
                if (varlink->out->sent == varlink->out->n)
                        out_pop(varlink);
        }
        return 0;
}
