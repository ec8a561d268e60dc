#pragma once

/*
 * A link to Redis is two connections, one for commands and one that may block for reading; they
 * come and go together. A lost link is made again, with growing delays and for ever; a line of the
 * log says when it was lost and when it is back. Trouble that does not pass (a wrong password) ends
 * it.
 */

#include <poll.h>

#include "lib/redis.h"

#define REDIS_LINK_BLOCK_MS  1000 /* what the reading connection blocks at most */
#define REDIS_LINK_POLLS_MAX 4    /* descriptors of the owner's own */

/* Anything that is sent again and again is sent neither faster nor slower than this. */
#define REDIS_LINK_RETRY_MIN_NS (10 * NSEC_PER_MSEC)
#define REDIS_LINK_RETRY_MAX_NS (2 * NSEC_PER_SEC)

struct redis_link;

struct redis_link_ops {
        /* Both connections are ready; commands on earlier ones were answered with NULL. */
        void (*up)(struct redis_link *link);
        /* They are lost, for the reason in link->trouble and link->why. */
        void (*down)(struct redis_link *link);
};

struct redis_link {
        const struct machines *machines;
        const struct redis_link_ops *ops;
        struct redis commands, reader;
        bool is_up, was_up, said;
        bool quiet;     /* somebody else says that Redis is lost, or there again */
        bool is_reset;  /* by us: why is said already */
        uint64_t up_ns; /* since when */
        uint64_t begun_ns;
        uint64_t retry_ns; /* when to connect again */
        uint64_t backoff_ns;
        bool failed; /* for good */
        enum redis_trouble trouble;
        char why[512];
};

void redis_link_init(struct redis_link *link, const struct machines *machines,
                     const struct redis_link_ops *ops);
void redis_link_deinit(struct redis_link *link);

/*
 * Waits until something comes, one of @polls (n at most REDIS_LINK_POLLS_MAX; their revents are
 * set) is ready, or @until_ns (CLOCK_MONOTONIC); handles Redis' replies. Returns 0, or a negative
 * errno after trouble that does not pass (link->why, said by the caller) or when polling fails.
 */
int redis_link_turn(struct redis_link *link, struct pollfd *polls, size_t n, uint64_t until_ns);

/* To be called for a reply that means trouble which no waiting will end: redis_link_turn() then
 * returns. */
void redis_link_fail(struct redis_link *link, struct redis *redis, const redisReply *reply,
                     const char *attempted);

/*
 * For redis_send(), with the link as userdata: for a command whose reply matters only if the
 * command is not allowed. A missing right leads to redis_link_fail().
 */
void redis_link_on_kept(struct redis *redis, redisReply *reply, void *userdata);

/* The reply to TIME, in milliseconds. False: it is none. */
bool redis_link_read_time(const redisReply *reply, uint64_t *ret_ms);

/* Breaks the connections, to begin again: a reply made no sense. */
void redis_link_reset(struct redis_link *link, const char *why);
