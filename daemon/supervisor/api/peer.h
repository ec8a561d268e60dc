#pragma once

/*
 * A peer is one client: a Varlink connection, and the one call that it may have open. The calls of
 * a connection are answered in order, and the next one is read only after the client has received
 * the reply to the last. So a client can make us and the kernel hold no more than one call and one
 * reply with its descriptors.
 *
 * Everything that is done for a client is done in its turn (turns.h); events of the socket and of
 * jobs only note that there is something to do. So a peer is freed only in its own turn or at an
 * event of its socket. Functions called from elsewhere may mark it broken, but never free it.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/api/admission.h"
#include "daemon/supervisor/base/turns.h"
#include "daemon/supervisor/helpers/doctor-query.h"
#include "daemon/supervisor/jobs/job.h"
#include "lib/varlink.h"

struct jobs;
struct peer;

/* The owner of all peers. Its callbacks handle their messages, and free a peer that is gone. */
struct peer_owner {
        sd_event *event;
        struct jobs *jobs;
        struct turns *turns;
        struct doctor_query *doctor;
        struct list admissions; /* of all peers, in the order of their calls */
        /* Answers a call, or leaves it open as one of the kinds that wait. */
        void (*message)(struct peer *peer, struct varlink_message *message);
        /*
         * Sends the next part of a stream, after the previous one was sent. With the last part,
         * ends the call.
         */
        void (*stream)(struct peer *peer);
        /*
         * Called when a reply is longer than a message may be. Returns a copy of its parameters
         * without the members that make them so long; NULL when nothing can be left out.
         */
        json_t *(*shorten)(const json_t *parameters);
        /* Frees a peer that is gone. */
        void (*gone)(struct peer_owner *owner, struct peer *peer);
};

enum call_kind {
        CALL_NONE,   /* no call is open: the next message may be read */
        CALL_OPEN,   /* the call is being handled */
        CALL_WAIT,   /* waits for news of a job */
        CALL_LIST,   /* is being sent a stream of jobs */
        CALL_NODES,  /* waits for Redis to list the nodes */
        CALL_DOCTOR, /* waits for a child that checks the machine */
        CALL_RUN,    /* waits for a child that copies the inputs */
};

struct call {
        enum call_kind kind;
        bool more, oneway;
        struct waiter waiter;        /* CALL_WAIT */
        struct nodes_waiter nodes;   /* CALL_NODES */
        struct doctor_waiter doctor; /* CALL_DOCTOR */
        struct admission *admission; /* CALL_RUN */
        json_t *due;      /* CALL_WAIT: the reply for the next turn; NULL: there is none yet */
        bool due_is_last; /* CALL_WAIT: @due ends the call */
        /* CALL_LIST: the number of the last job that was listed, and how many more may be. */
        uint64_t cursor, left;
        json_t *held; /* CALL_LIST: the next reply, held until it is known whether it is the last */
};

struct peer {
        struct peer_owner *owner;
        struct list link; /* in a list of the owner */
        struct varlink varlink;
        uid_t uid;
        struct call call;
        struct list ties; /* jobs that are cancelled when this client leaves */
        bool ready;       /* the socket has reported the event that was waited for */
        /* The client will send no more; close when all is sent; the connection cannot be used. */
        bool eof, closing, broken;
        uint32_t events; /* the events that @io waits for while it is enabled */
        sd_event_source *io;
        struct turn turn;
};

/* Takes ownership of @fd, also on failure. */
int peer_new_consume(struct peer_owner *owner, int fd, uid_t uid, struct peer **ret);
/*
 * Sends a reply that is due, if the socket has room for it, and cancels the jobs that are tied to
 * the peer.
 */
void peer_free(struct peer *peer);

/*
 * These send a reply or an error, and take ownership of the parameters. NULL means out of memory;
 * then the connection is closed. An error, or a reply that does not continue, ends the call.
 * Nothing is sent for a oneway call. A reply that cannot be sent, because it is too long or the
 * kernel takes no more descriptors, becomes an error.
 */
void peer_reply(struct peer *peer, json_t *parameters_stolen, bool continues, const int *fds,
                size_t n_fds);
void peer_error(struct peer *peer, const char *name, json_t *parameters_stolen);

/* CALL_WAIT: replies in the peer's next turn. A reply that was due before and not sent is dropped.
 */
void peer_reply_later(struct peer *peer, json_t *parameters_stolen, bool is_last);

/* Closes the connection as soon as everything was sent. */
void peer_close(struct peer *peer);
