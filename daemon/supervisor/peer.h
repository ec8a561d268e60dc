#pragma once

/*
 * One client: a varlink connection, and the one call it may have open. Calls of one connection are
 * answered in their order, so while one waits nothing more is read from it: what a client can make us
 * hold is one call, and what fits in the socket's buffer.
 *
 * A peer goes away only in its own turn of the loop: functions called from elsewhere (the end of a job)
 * may mark it broken, and never free it.
 */

#include <systemd/sd-event.h>

#include "daemon/supervisor/job.h"
#include "lib/varlink.h"

struct jobs;
struct peer;

/* Who has the peers: told of each message, and asked to forget a peer that is gone. */
struct peer_owner {
        sd_event *event;
        struct jobs *jobs;
        void (*message)(struct peer *peer, struct varlink_message *message);
        /* A part of a stream, when the last one is sent. Answers the call when there is no more. */
        void (*stream)(struct peer *peer);
        void (*gone)(struct peer_owner *owner, struct peer *peer);
};

enum call_kind {
        CALL_NONE,              /* nothing open: the next message may come */
        CALL_OPEN,              /* being looked at */
        CALL_WAIT,              /* for a job */
        CALL_LIST,              /* a stream of jobs */
        CALL_NODES,             /* for the answer to a question to the Redis */
};

struct call {
        enum call_kind kind;
        bool more, oneway;
        struct waiter waiter;   /* CALL_WAIT */
        struct nodes_waiter nodes;      /* CALL_NODES */
        uint64_t cursor, left;  /* CALL_LIST: the number before which to go on, how many at most */
        json_t *held;           /* CALL_LIST: the next reply, held until it is known whether it is the last */
};

struct peer {
        struct peer_owner *owner;
        struct list link;       /* the owner's */
        struct varlink varlink;
        uid_t uid;
        struct call call;
        struct list ties;       /* jobs to be cancelled when this client leaves */
        bool eof, closing, broken;
        sd_event_source *io, *turn;
};

/* Takes @fd, also on failure. */
int peer_new_consume(struct peer_owner *owner, int fd, uid_t uid, struct peer **ret);
/* Cancels the jobs that are tied to it. */
void peer_free(struct peer *peer);

/*
 * Replies. Parameters are stolen, NULL means out of memory (the peer is closed then). A final reply
 * (and every error) ends the call. Oneway calls get none.
 */
void peer_reply(struct peer *peer, json_t *parameters_stolen, bool continues, const int *fds,
                size_t n_fds);
void peer_error(struct peer *peer, const char *name, json_t *parameters_stolen);

/* Closes the connection once what was sent is out. */
void peer_close(struct peer *peer);
