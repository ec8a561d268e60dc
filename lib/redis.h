#pragma once

/*
 * One connection to a Redis (or Valkey), on hiredis (0.14 or newer): commands are queued and go out
 * together, and each reply goes to the callback of its command, in order. Its owner polls
 * redis_fd() for redis_events() and calls redis_turn().
 *
 * It never blocks, except in redis_open() of a host's name: until the resolver answers, or gives
 * up, as resolv.conf(5) says (mostly after ten seconds). That is good enough for its callers, which
 * have nothing to do but to end as long as they have no Redis: the coordinator of a job, a node and
 * pppd-runner --nodes. The supervisor has other things to do; it connects to no Redis, and ends
 * processes that are late.
 *
 * Failures are of a few kinds (enum redis_trouble), told apart here and nowhere else, with a
 * sentence that says what was attempted, why it failed and what to do.
 */

#include <hiredis/hiredis.h>

#include "lib/machines.h"

enum redis_trouble {
        REDIS_TROUBLE_NONE,
        REDIS_TROUBLE_UNREACHABLE, /* does not answer, or broke off; may pass */
        REDIS_TROUBLE_LOADING,     /* reads its data; passes */
        REDIS_TROUBLE_READONLY,    /* a replica, or one that cannot save; may pass */
        REDIS_TROUBLE_FULL,        /* at its memory limit; may pass */
        REDIS_TROUBLE_NOGROUP,     /* the stream or its group is not there (any more) */
        REDIS_TROUBLE_PASSWORD,    /* wrong or none */
        REDIS_TROUBLE_DATABASE,    /* it has none of that number */
        REDIS_TROUBLE_PERMISSION,  /* the user may not do that */
        REDIS_TROUBLE_CLUSTER,     /* one of a cluster, and keys in slots that it has not */
        REDIS_TROUBLE_UNUSABLE,    /* TLS that cannot be had or trusted, a server too old, … */
        REDIS_TROUBLE_OTHER,       /* a reply that was not expected */
};

/*
 * Bytes of one reply; a longer one ends the connection. Chunks and results that are read at once
 * stay far below.
 */
#define REDIS_REPLY_MAX (UINT64_C(256) << 20)

struct redis;

/*
 * Gets the reply to one command; it is freed after the call. NULL: the connection was lost before,
 * and whether the command was carried out is not known. It may send commands, and not close the
 * connection.
 */
typedef void redis_reply_fn(struct redis *redis, redisReply *reply, void *userdata);

enum redis_state {
        REDIS_CLOSED,
        REDIS_CONNECTING,
        REDIS_SECURING, /* the TLS handshake */
        REDIS_GREETING,
        REDIS_READY,
};

struct redis_tls;

struct redis_pending {
        redis_reply_fn *fn; /* NULL: nobody minds */
        void *userdata;
};

struct redis {
        const struct machines *machines;
        redisContext *context;
        struct redis_tls *tls; /* NULL: none, or not yet */
        enum redis_state state;
        struct redis_pending *pending; /* a ring, oldest first; a power of two */
        size_t n_pending, first_pending, pending_size;
        unsigned n_greetings;       /* of them, our own */
        uint64_t reply_size;        /* of the reply that is being read, so far */
        uint64_t reply_max;         /* 0: REDIS_REPLY_MAX; set before it is opened */
        uint64_t heard_ns;          /* when it last answered, or was first asked after that */
        uint64_t silence_ns;        /* that long without an answer it is lost */
        enum redis_trouble trouble; /* of the last failure */
        char why[512];
};

#define REDIS_NULL                    \
        {                             \
                .state = REDIS_CLOSED \
        }

/*
 * Begins to connect, authenticate and select the database; ready when redis->state says so.
 * @machines must outlive it; @silence_ns bounds each wait for an answer, so it must be longer than
 * any BLOCK. Returns 0 or a negative errno, then trouble and why are set.
 */
int redis_open(struct redis *redis, const struct machines *machines, uint64_t silence_ns);

/* All callbacks that wait for a reply get NULL. */
void redis_close(struct redis *redis);
void redis_deinit(struct redis *redis);

/*
 * After fork(2), in the child: gives up the connection without telling the server or the callbacks.
 */
void redis_forget(struct redis *redis);

static inline int redis_fd(const struct redis *redis)
{
        return redis->context ? redis->context->fd : -EBADF;
}

/* POLLIN and, while something is to be sent, POLLOUT; with TLS, the events that it waits for. */
short redis_events(const struct redis *redis);

/* When redis_turn() should be called at the latest, even if nothing came; UINT64_MAX: never. */
uint64_t redis_deadline(const struct redis *redis);

/*
 * Sends, receives, hands out replies. Returns 0, or a negative errno after the connection was
 * closed; then trouble and why are set.
 */
int redis_turn(struct redis *redis, short revents);

/* Sends queued commands, as far as the socket takes them; errors are reported in the next turn. */
void redis_flush(struct redis *redis);

/* Bytes that wait to be sent. */
size_t redis_unsent(const struct redis *redis);

/*
 * Queues one command; format as of redisCommand(3): %s, %b (pointer and size_t), %d, %llu. Returns
 * 0, or -ENOMEM or -ENOTCONN, and then @fn is not called.
 */
int redis_send(struct redis *redis, redis_reply_fn *fn, void *userdata, const char *format, ...);
int redis_send_argv(struct redis *redis, redis_reply_fn *fn, void *userdata, int argc,
                    const char **argv, const size_t *sizes);

/* The meaning of an error reply. */
enum redis_trouble redis_trouble_of(const redisReply *reply);

static inline bool redis_is_error(const redisReply *reply)
{
        return reply->type == REDIS_REPLY_ERROR;
}
static inline bool redis_is_string(const redisReply *reply)
{
        return reply->type == REDIS_REPLY_STRING;
}
static inline bool redis_is_array(const redisReply *reply, size_t at_least)
{
        return reply->type == REDIS_REPLY_ARRAY && reply->elements >= at_least;
}

/* Whether trouble of this kind does not pass by itself. */
static inline bool redis_trouble_is_final(enum redis_trouble trouble)
{
        return trouble == REDIS_TROUBLE_PASSWORD || trouble == REDIS_TROUBLE_DATABASE ||
               trouble == REDIS_TROUBLE_PERMISSION || trouble == REDIS_TROUBLE_CLUSTER ||
               trouble == REDIS_TROUBLE_UNUSABLE;
}

/*
 * Notes @reply, an error that @attempted ("send a chunk") met, as the connection's trouble and why,
 * with the remedy. Returns its kind.
 */
enum redis_trouble redis_note(struct redis *redis, const redisReply *reply, const char *attempted);
