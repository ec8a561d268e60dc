#pragma once

/*
 * Varlink (varlink.org): each message is a JSON object and a NUL byte on a Unix stream socket;
 * descriptors are passed by SCM_RIGHTS. This file is the wire: one non-blocking socket, its buffers
 * in both directions, its limits. It knows no method; server and client build on it.
 *
 * Descriptors belong to the message whose bytes they arrived with, and are handed out with it.
 */

#include <jansson.h>

#include "lib/util.h"

#define VARLINK_MESSAGE_MAX   (1U << 20)  /* bytes of one message; who sends more is refused */
#define VARLINK_FDS_MAX       8           /* descriptors of one message */
#define VARLINK_QUEUE_MAX     (16U << 20) /* bytes waiting to be sent to one peer, with overhead */
#define VARLINK_QUEUE_FDS_MAX 64          /* descriptors waiting to be sent to one peer */
#define VARLINK_WHY_MAX       256

struct varlink {
        int fd;
        char *in; /* received: from begin on, n_in bytes */
        size_t begin, n_in, size_in;
        size_t scanned;              /* of n_in: known to hold no NUL */
        int in_fds[VARLINK_FDS_MAX]; /* of the first message in the buffer */
        size_t n_in_fds;
        struct varlink_out *out, **out_tail; /* messages to be sent */
        size_t n_out, n_out_fds;             /* their bytes and descriptors */
        size_t members_max;                  /* of a message received; 0, the default: no limit */
        enum { VARLINK_IDLE, VARLINK_CALLED, VARLINK_CALLED_MORE } client;
        bool eof;
        char why[VARLINK_WHY_MAX]; /* not empty: the stream is lost */
};

/* One message received; varlink_message_deinit() closes the descriptors nobody took. */
struct varlink_message {
        json_t *json; /* an object */
        int fds[VARLINK_FDS_MAX];
        size_t n_fds;
};

#define VARLINK_MESSAGE_NULL             \
        {                                \
                .json = NULL, .n_fds = 0 \
        }

void varlink_init_consume(struct varlink *varlink, int fd);
void varlink_deinit(struct varlink *varlink);
void varlink_message_deinit(struct varlink_message *message);

/* Takes descriptor @i out of the message (now the caller's); -EBADF if there is none. */
int varlink_message_take_fd(struct varlink_message *message, size_t i);

enum {
        _VARLINK_E_SUCCESS,
        VARLINK_E_AGAIN,   /* no whole message yet */
        VARLINK_E_EOF,     /* the peer has closed (ECONNRESET is this, too) */
        VARLINK_E_INVALID, /* no JSON object, too deep, long, many members, descriptors: *ret_why */
};

/*
 * Takes the next whole message. Reads from the socket only when the buffer holds none, so call it
 * until VARLINK_E_AGAIN for each readiness, or a bounded number of times for fairness (a message
 * may wait in the buffer then: varlink_pending()). After VARLINK_E_INVALID the stream is lost:
 * reply and close. *ret_why is a printable ASCII sentence without a full stop, owned by @varlink.
 * Negative errno: the connection is broken. *ret is set only on success.
 */
int varlink_receive(struct varlink *varlink, struct varlink_message *ret, const char **ret_why);
bool varlink_pending(const struct varlink *varlink);

/*
 * Queues a message and sends as much as the socket takes. Descriptors are duplicated; @json stays
 * the caller's. Returns 0; -ENOBUFS when the peer does not read (VARLINK_QUEUE_MAX); -EMSGSIZE for
 * a message past VARLINK_MESSAGE_MAX, which the peer would refuse; -ETOOMANYREFS, where nothing
 * else is queued, when more descriptors of our user are on their way, to whomever, than we may have
 * open (all three leave the queue as it was); another errno when it is gone.
 */
int varlink_send(struct varlink *varlink, json_t *json, const int *fds, size_t n_fds);

/* On POLLOUT. Returns 0, or a negative errno when the peer is gone. */
int varlink_flush(struct varlink *varlink);
static inline bool varlink_wants_write(const struct varlink *varlink)
{
        return varlink->out != NULL;
}

/*
 * The client's side, blocking: connects, calls, waits for replies. One call at a time.
 *
 * varlink_connect(): paths longer than sockaddr_un takes are fine where /proc is mounted. @flags:
 * 0, or SOCK_NONBLOCK for a caller that must not wait (-EAGAIN: nobody accepts there).
 *
 * varlink_call(): sends {"method", "parameters", "more"}; @parameters may be NULL and is stolen in
 * any case. -EBUSY while replies to the call before are still to come; -EPROTO when more of them
 * came than it may have. That the peer is gone is told by varlink_reply(), after the last words it
 * may have left (an error reply before it closed).
 *
 * varlink_reply(): the next reply. *ret_parameters: an object, empty where the reply had none,
 * borrowed from ret->json; *ret_error: NULL, or the error's name, borrowed likewise;
 * *ret_continues: another reply follows. Returns 0, VARLINK_E_EOF, VARLINK_E_INVALID and *ret_why
 * for what is no reply to that call, or a negative errno. @poll_fd: returns VARLINK_E_AGAIN when
 * this descriptor becomes readable first (a signalfd); -1 for none.
 */
int varlink_connect(const char *path, int flags, int *ret_fd);
int varlink_call(struct varlink *varlink, const char *method, json_t *parameters /* stolen */,
                 bool more, const int *fds, size_t n_fds);
int varlink_reply(struct varlink *varlink, int poll_fd, struct varlink_message *ret,
                  json_t **ret_parameters, const char **ret_error, bool *ret_continues,
                  const char **ret_why);

/* Ends the stream for a reason of a layer above; returns VARLINK_E_INVALID and sets *ret_why. */
_printf_(3, 4) int varlink_invalid(struct varlink *varlink, const char **ret_why,
                                   const char *format, ...);
