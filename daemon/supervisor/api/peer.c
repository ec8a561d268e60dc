#include "daemon/supervisor/api/peer.h"

#include <inttypes.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon/supervisor/api/interface.h"
#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/base/log.h"

/* A message with so many members takes a few milliseconds to parse. */
#define MEMBERS_MAX 16384

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata);
static void on_turn(struct turn *turn);

int peer_new_consume(struct peer_owner *owner, int fd, uid_t uid, struct peer **ret)
{
        struct peer *peer;
        int r;

        peer = calloc(1, sizeof(*peer));
        if (!peer) {
                close_fd(fd);
                return -ENOMEM;
        }
        peer->owner = owner;
        peer->uid = uid;
        list_init(&peer->link);
        list_init(&peer->ties);
        list_init(&peer->call.waiter.link);
        list_init(&peer->call.nodes.link);
        list_init(&peer->call.doctor.link);
        varlink_init_consume(&peer->varlink, fd);
        peer->varlink.members_max = MEMBERS_MAX;
        r = turn_init(&peer->turn, owner->turns, uid, on_turn);
        if (r >= 0)
                r = sd_event_add_io(owner->event, &peer->io, fd, EPOLLIN, on_io, peer);
        if (r < 0) {
                peer_free(peer);
                return r;
        }
        peer->events = EPOLLIN;
        *ret = peer;
        return 0;
}

static void cancel_tied(struct peer *peer)
{
        while (!list_empty(&peer->ties)) {
                struct job *job = list_first(&peer->ties, struct job, tie);

                list_remove(&job->tie);
                job_stop(job, REASON_DISCONNECTED);
        }
}

static void reset_call(struct peer *peer)
{
        list_remove(&peer->call.waiter.link);
        list_remove(&peer->call.nodes.link);
        list_remove(&peer->call.doctor.link);
        json_decref(peer->call.due);
        json_decref(peer->call.held);
        admission_free(peer->call.admission);
        peer->call = (struct call){ .kind = CALL_NONE };
        list_init(&peer->call.waiter.link);
        list_init(&peer->call.nodes.link);
        list_init(&peer->call.doctor.link);
}

static void reply_due(struct peer *peer)
{
        peer_reply(peer, steal_ptr(peer->call.due), !peer->call.due_is_last, NULL, 0);
}

void peer_free(struct peer *peer)
{
        if (!peer)
                return;
        if (peer->call.due && !peer->broken)
                reply_due(peer);
        reset_call(peer);
        sd_event_source_disable_unref(peer->io);
        turn_deinit(&peer->turn);
        list_remove(&peer->link);
        cancel_tied(peer);
        /* A child that has not reached its execve() yet may have a copy of the descriptor. */
        (void)shutdown(peer->varlink.fd, SHUT_RDWR);
        varlink_deinit(&peer->varlink);
        free(peer);
}

static bool is_idle(const struct peer *peer)
{
        return peer->call.kind == CALL_NONE;
}

static bool wants_write(const struct peer *peer)
{
        return varlink_wants_write(&peer->varlink);
}

/* Whether nothing more can be done for this peer. */
static bool is_finished(const struct peer *peer)
{
        return peer->broken ||
               ((peer->eof || peer->closing) && is_idle(peer) && !wants_write(peer));
}

static bool reads(const struct peer *peer)
{
        return is_idle(peer) && !peer->eof && !peer->closing && !wants_write(peer);
}

/*
 * Whether the client has received everything that was sent. Until then the kernel holds it, and
 * descriptors in it count against our own limit (ETOOMANYREFS). While the kernel frees the last
 * buffer, it still reports one byte.
 */
static bool is_taken(const struct peer *peer)
{
        int n;

        return ioctl(peer->varlink.fd, SIOCOUTQ, &n) < 0 || n <= 1;
}

/* Whether there is something to do for the peer in a turn. */
static bool needs_turn(const struct peer *peer)
{
        if (is_finished(peer) || peer->ready)
                return true;
        if (wants_write(peer))
                return false;
        if (peer->call.kind == CALL_LIST)
                return true;
        return (peer->call.due || (reads(peer) && varlink_pending(&peer->varlink))) &&
               is_taken(peer);
}

/*
 * The events of the socket after which there may be something to do. No event says that the client
 * has received everything; but with EPOLLET there is one for each buffer that the client has read,
 * and another one at once, so nothing that happens meanwhile is missed.
 */
static uint32_t awaited(const struct peer *peer)
{
        if (wants_write(peer))
                return EPOLLOUT;
        if (!reads(peer) && !peer->call.due)
                return 0;
        /* There is something to do as soon as the client has read; it may never send anything. */
        if (peer->call.due || varlink_pending(&peer->varlink) || !is_taken(peer))
                return EPOLLOUT | EPOLLET;
        return EPOLLIN;
}

/*
 * Waits for @events of the socket. If they are set already, they are left alone, since setting
 * EPOLLET again would report an event at once.
 */
static int listen_for(struct peer *peer, uint32_t events)
{
        int enabled, r;

        r = sd_event_source_get_enabled(peer->io, &enabled);
        if (r >= 0 && enabled != SD_EVENT_OFF && events == peer->events)
                return 0;
        if (r >= 0)
                r = sd_event_source_set_io_events(peer->io, events);
        if (r >= 0)
                r = sd_event_source_set_enabled(peer->io, SD_EVENT_ON);
        peer->events = events;
        return r;
}

/*
 * Asks for a turn if there is something to do for the peer, and otherwise waits for an event of the
 * socket. While the peer waits for its turn the socket is not watched: a pending event, such as
 * that the client is gone, would be reported again and again.
 */
static void update(struct peer *peer)
{
        if (!needs_turn(peer)) {
                if (listen_for(peer, awaited(peer)) >= 0)
                        return;
                peer->broken = true;
        }
        (void)sd_event_source_set_enabled(peer->io, SD_EVENT_OFF);
        turn_want(&peer->turn);
}

static void take_message(struct peer *peer)
{
        struct varlink_message message;
        const char *why;
        int r;

        r = varlink_receive(&peer->varlink, &message, &why);
        switch (r) {
        case 0:
                peer->call.kind = CALL_OPEN;
                peer->owner->message(peer, &message);
                varlink_message_deinit(&message);
                assert(peer->call.kind != CALL_OPEN);
                break;
        case VARLINK_E_AGAIN:
                break;
        case VARLINK_E_EOF:
                peer->eof = true;
                break;
        case VARLINK_E_INVALID:
                supervisor_log_limited(&peer->turn.user->log, LOG_INFO,
                                       "user %u sent an invalid message: %s", peer->uid, why);
                peer_error(peer, INTERFACE_JOBS ".BadRequest",
                           json_pack("{s:s, s:s, s:s}", "field", "message", "why", why, "hint",
                                     "send a JSON object and a NUL byte for each call"));
                peer_close(peer);
                break;
        default:
                peer->broken = true;
        }
}

/* Does what can be done for the peer in one turn. */
static void step(struct peer *peer)
{
        if (peer->broken)
                return;
        if (wants_write(peer))
                peer->broken = varlink_flush(&peer->varlink) < 0;
        else if (peer->call.due)
                reply_due(peer);
        else if (peer->call.kind != CALL_LIST && reads(peer))
                take_message(peer);
        if (peer->call.kind == CALL_LIST && !wants_write(peer) && !peer->broken)
                peer->owner->stream(peer);
}

static void on_turn(struct turn *turn)
{
        struct peer *peer = container_of(turn, struct peer, turn);

        event_loop_doing("a client's turn");
        peer->ready = false;
        step(peer);
        if (is_finished(peer))
                peer->owner->gone(peer->owner, peer);
        else
                update(peer);
}

/* Whether a client that is gone has left nothing to be read. */
static bool is_at_end(const struct peer *peer)
{
        char byte;
        ssize_t n;

        if (varlink_pending(&peer->varlink))
                return false;
        n = recv(peer->varlink.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return n == 0 || (n < 0 && errno != EINTR);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct peer *peer = userdata;
        bool is_gone = revents & (EPOLLHUP | EPOLLERR);

        /* This does not wait for a turn, since other clients may be waiting for a connection. */
        if (is_gone && (!reads(peer) || is_at_end(peer))) {
                peer->broken = true;
                peer->owner->gone(peer->owner, peer);
                return 0;
        }
        /* After an EPOLLET event needs_turn() finds out whether the client has read everything. */
        peer->ready = is_gone || !(peer->events & EPOLLET);
        update(peer);
        return 0;
}

static int send_message(struct peer *peer, json_t *message, const int *fds, size_t n_fds)
{
        int r;

        if (!message)
                return supervisor_log_oom();
        r = varlink_send(&peer->varlink, message, fds, n_fds);
        json_decref(message);
        return r;
}

static int send_reply(struct peer *peer, json_t *parameters, bool continues, const int *fds,
                      size_t n_fds)
{
        return send_message(peer,
                            json_pack("{s:O, s:o*}", "parameters", parameters, "continues",
                                      continues ? json_true() : NULL),
                            fds, n_fds);
}

static int send_error(struct peer *peer, const char *name, json_t *parameters_stolen)
{
        return send_message(peer,
                            json_pack("{s:s, s:o}", "error", name, "parameters", parameters_stolen),
                            NULL, 0);
}

static int send_failed(struct peer *peer, const char *attempted, const char *why, const char *hint)
{
        return send_error(peer, INTERFACE_JOBS ".Failed",
                          json_pack("{s:s, s:s, s:s}", "attempted", attempted, "why", why, "hint",
                                    hint));
}

/*
 * Sends something instead of a reply that could not be sent: a shorter one, or an error. An error
 * ends the call; then *@continues is set to false.
 */
static int send_instead(struct peer *peer, int error, json_t *parameters, bool *continues,
                        const int *fds, size_t n_fds)
{
        json_t *shorter = error == -EMSGSIZE ? peer->owner->shorten(parameters) : NULL;
        int r = error;

        if (shorter) {
                r = send_reply(peer, shorter, *continues, fds, n_fds);
                json_decref(shorter);
        }
        if (r != -EMSGSIZE && r != -ETOOMANYREFS)
                return r;
        *continues = false;
        if (r == -EMSGSIZE)
                return send_failed(peer, "send the reply",
                                   "it is longer than a message may be, 1 MiB",
                                   "ask for less at a time");
        supervisor_log_limited(&peer->turn.user->log, LOG_WARNING,
                               "cannot pass descriptors to a client of user %u: too many are on "
                               "their way to clients that do not receive them; "
                               "raise the daemon's limit of open files (LimitNOFILE=)",
                               peer->uid);
        return send_failed(peer, "pass the descriptors of the reply",
                           "too many are on their way to clients that do not receive them",
                           "receive what was sent to you, and try again");
}

void peer_reply(struct peer *peer, json_t *parameters_stolen, bool continues, const int *fds,
                size_t n_fds)
{
        int r = 0;

        if (!peer->call.oneway && !peer->broken) {
                r = parameters_stolen ? send_reply(peer, parameters_stolen, continues, fds, n_fds)
                                      : supervisor_log_oom();
                if (r == -EMSGSIZE || r == -ETOOMANYREFS)
                        r = send_instead(peer, r, parameters_stolen, &continues, fds, n_fds);
        }
        json_decref(parameters_stolen);
        if (r < 0)
                peer->broken = true;
        if (!continues)
                reset_call(peer);
        update(peer);
}

void peer_reply_later(struct peer *peer, json_t *parameters_stolen, bool is_last)
{
        assert(peer->call.kind == CALL_WAIT && !peer->call.due_is_last);
        json_decref(peer->call.due);
        peer->call.due = parameters_stolen;
        peer->call.due_is_last = is_last;
        if (!parameters_stolen) {
                (void)supervisor_log_oom();
                peer->broken = true;
        }
        update(peer);
}

void peer_error(struct peer *peer, const char *name, json_t *parameters_stolen)
{
        int r = 0;

        if (peer->call.oneway || peer->broken)
                json_decref(parameters_stolen);
        else
                r = send_error(peer, name, parameters_stolen);
        if (r == -EMSGSIZE)
                r = send_failed(peer, "send the error", "it is longer than a message may be, 1 MiB",
                                "make the call shorter: the error repeats a part of it");
        if (r < 0)
                peer->broken = true;
        reset_call(peer);
        update(peer);
}

void peer_close(struct peer *peer)
{
        peer->closing = true;
        update(peer);
}
