#pragma once

/*
 * One client: a varlink connection, and the one call it may have open. Calls of one connection are
 * answered in their order, and the next one is read when the client has taken the reply to the
 * last: what a client can make us and the kernel hold is one call and one reply with its
 * descriptors.
 *
 * Whatever is done for a client is done in its turn (turns.h). Events of the socket and of jobs
 * only note that there is something to do. So a peer goes away only in its own turn or at an event
 * of its socket: functions called from elsewhere may mark it broken, and never free it.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/api/admission.h"
#include "daemon/supervisor/base/turns.h"
#include "daemon/supervisor/helpers/doctor-query.h"
#include "daemon/supervisor/jobs/job.h"
#include "lib/varlink.h"

struct jobs;
struct peer;

/* The owner of the peers: told of each message, and asked to forget a peer that is gone. */
struct peer_owner {
        sd_event *event;
        struct jobs *jobs;
        struct turns *turns;
        struct doctor_query *doctor;
        struct list admissions; /* of all peers, in their order */
        void (*message)(struct peer *peer, struct varlink_message *message);
        /* A part of a stream, when the last one is sent. Answers the call when there is no more. */
        void (*stream)(struct peer *peer);
        /*
         * A copy of the parameters of a reply that are longer than a message may be, without what
         * makes them so; NULL where there is nothing to leave out.
         */
        json_t *(*shorten)(const json_t *parameters);
        void (*gone)(struct peer_owner *owner, struct peer *peer);
};

enum call_kind {
        CALL_NONE,   /* nothing open: the next message may come */
        CALL_OPEN,   /* being looked at */
        CALL_WAIT,   /* for a job */
        CALL_LIST,   /* a stream of jobs */
        CALL_NODES,  /* for the answer to a question to the Redis */
        CALL_DOCTOR, /* for what a look at the machine finds */
        CALL_RUN,    /* for its inputs to be copied */
};

struct call {
        enum call_kind kind;
        bool more, oneway;
        struct waiter waiter;        /* CALL_WAIT */
        struct nodes_waiter nodes;   /* CALL_NODES */
        struct doctor_waiter doctor; /* CALL_DOCTOR */
        struct admission *admission; /* CALL_RUN */
        json_t *due; /* CALL_WAIT: what to reply in the next turn; NULL: nothing yet */
        bool due_is_last;
        uint64_t cursor, left; /* CALL_LIST: the number before which to go on, how many at most */
        json_t *held; /* CALL_LIST: the next reply, held until it is known whether it is the last */
};

struct peer {
        struct peer_owner *owner;
        struct list link; /* the owner's */
        struct varlink varlink;
        uid_t uid;
        struct call call;
        struct list ties; /* jobs to be cancelled when this client leaves */
        bool ready;       /* the socket has what was waited for */
        bool eof, closing, broken;
        uint32_t events; /* that @io waits for, while it is on */
        sd_event_source *io;
        struct turn turn;
};

/* Takes @fd, also on failure. */
int peer_new_consume(struct peer_owner *owner, int fd, uid_t uid, struct peer **ret);
/* Sends what is due still, as far as the socket takes it. Cancels the jobs that are tied to the
 * peer. */
void peer_free(struct peer *peer);

/*
 * Replies. Parameters are stolen, NULL means out of memory (the peer is closed then). A final reply
 * (and every error) ends the call. Oneway calls get none. A reply that cannot be sent, because it
 * is too long or the kernel takes no more descriptors, becomes an error.
 */
void peer_reply(struct peer *peer, json_t *parameters_stolen, bool continues, const int *fds,
                size_t n_fds);
void peer_error(struct peer *peer, const char *name, json_t *parameters_stolen);

/*
 * CALL_WAIT: replies in the peer's next turn. What was due before and was not sent yet is dropped.
 */
void peer_reply_later(struct peer *peer, json_t *parameters_stolen, bool is_last);

/* Closes the connection once what was sent is out. */
void peer_close(struct peer *peer);
