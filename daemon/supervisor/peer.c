#include "daemon/supervisor/peer.h"

#include "daemon/supervisor/log.h"

#define MESSAGES_PER_TURN 16

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata);
static int on_turn(sd_event_source *source, void *userdata);

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
        varlink_init_consume(&peer->varlink, fd);
        r = sd_event_add_io(owner->event, &peer->io, fd, EPOLLIN, on_io, peer);
        if (r >= 0)
                r = sd_event_add_defer(owner->event, &peer->turn, on_turn, peer);
        if (r >= 0)
                r = sd_event_source_set_enabled(peer->turn, SD_EVENT_OFF);
        if (r < 0) {
                peer_free(peer);
                return r;
        }
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

void peer_free(struct peer *peer)
{
        if (!peer)
                return;
        list_remove(&peer->call.waiter.link);
        list_remove(&peer->call.nodes.link);
        json_decref(peer->call.held);
        sd_event_source_disable_unref(peer->io);
        sd_event_source_disable_unref(peer->turn);
        list_remove(&peer->link);
        cancel_tied(peer);
        varlink_deinit(&peer->varlink);
        free(peer);
}

static bool is_idle(const struct peer *peer)
{
        return peer->call.kind == CALL_NONE;
}

/* Nothing more can come of it. */
static bool is_finished(const struct peer *peer)
{
        return peer->broken ||
               ((peer->eof || peer->closing) && is_idle(peer) && !varlink_wants_write(&peer->varlink));
}

static bool reads(const struct peer *peer)
{
        return is_idle(peer) && !peer->eof && !peer->closing;
}

/* Whether there is something to do that no event of the socket will tell of. */
static bool needs_turn(const struct peer *peer)
{
        if (is_finished(peer))
                return true;
        if (peer->call.kind == CALL_LIST)
                return !varlink_wants_write(&peer->varlink);
        return reads(peer) && varlink_pending(&peer->varlink);
}

/* Says to the event loop what the peer waits for now. */
static void update(struct peer *peer)
{
        uint32_t events = 0;
        int r;

        if (reads(peer))
                events |= EPOLLIN;
        if (varlink_wants_write(&peer->varlink))
                events |= EPOLLOUT;
        r = sd_event_source_set_io_events(peer->io, events);
        if (r < 0)
                peer->broken = true;
        (void)sd_event_source_set_enabled(peer->turn, needs_turn(peer) ? SD_EVENT_ONESHOT
                                                                       : SD_EVENT_OFF);
}

static void take_messages(struct peer *peer)
{
        for (unsigned i = 0; i < MESSAGES_PER_TURN && reads(peer) && !peer->broken; ++i) {
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
                        return;
                case VARLINK_E_EOF:
                        peer->eof = true;
                        break;
                case VARLINK_E_INVALID:
                        peer_error(peer, "io.pppctl.Jobs.BadRequest",
                                   json_pack("{s:s, s:s, s:s}", "field", "message", "why", why, "hint",
                                             "send a JSON object and a NUL byte for each call"));
                        peer_close(peer);
                        break;
                default:
                        peer->broken = true;
                }
        }
}

static void take_turn(struct peer *peer)
{
        take_messages(peer);
        if (peer->call.kind == CALL_LIST && !varlink_wants_write(&peer->varlink))
                peer->owner->stream(peer);
        if (is_finished(peer))
                peer->owner->gone(peer->owner, peer);
        else
                update(peer);
}

static int on_turn(sd_event_source *source, void *userdata)
{
        take_turn(userdata);
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct peer *peer = userdata;

        if ((revents & EPOLLOUT) && varlink_flush(&peer->varlink) < 0)
                peer->broken = true;
        /* Where we read, the end is found by reading: there may be calls before it. */
        if ((revents & (EPOLLHUP | EPOLLERR)) && !reads(peer))
                peer->broken = true;
        take_turn(peer);
        return 0;
}

static void end_call(struct peer *peer)
{
        list_remove(&peer->call.waiter.link);
        list_remove(&peer->call.nodes.link);
        json_decref(peer->call.held);
        peer->call = (struct call){ .kind = CALL_NONE };
        list_init(&peer->call.waiter.link);
        list_init(&peer->call.nodes.link);
}

static void send_consume(struct peer *peer, json_t *message, const int *fds, size_t n_fds)
{
        int r = message ? varlink_send(&peer->varlink, message, fds, n_fds) : supervisor_log_oom();

        if (r < 0)
                peer->broken = true;
        json_decref(message);
}

void peer_reply(struct peer *peer, json_t *parameters_stolen, bool continues, const int *fds,
                size_t n_fds)
{
        if (peer->call.oneway || peer->broken)
                json_decref(parameters_stolen);
        else if (continues)
                send_consume(peer, json_pack("{s:o, s:b}", "parameters", parameters_stolen, "continues",
                                             1), fds, n_fds);
        else
                send_consume(peer, json_pack("{s:o}", "parameters", parameters_stolen), fds, n_fds);
        if (!continues)
                end_call(peer);
        update(peer);
}

void peer_error(struct peer *peer, const char *name, json_t *parameters_stolen)
{
        if (peer->call.oneway || peer->broken)
                json_decref(parameters_stolen);
        else
                send_consume(peer, json_pack("{s:s, s:o}", "error", name, "parameters",
                                             parameters_stolen), NULL, 0);
        end_call(peer);
        update(peer);
}

void peer_close(struct peer *peer)
{
        peer->closing = true;
        update(peer);
}
