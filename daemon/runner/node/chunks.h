#pragma once

/*
 * The way of a chunk through a node. In hand it is a struct held: read, then (its job known and
 * room in the feed) fed, then finished, then sent; it is freed when Redis has confirmed that the
 * result is in and the chunk is off the stream, which happens in one transaction. Until then it is
 * ours, and each heartbeat says so.
 */

#include "daemon/runner/node/feed.h"
#include "daemon/runner/node/node-jobs.h"

enum held_state {
        HELD_READ, /* waits for its job's terms, or for room */
        HELD_FED,
        HELD_FINISHED, /* to be sent */
        HELD_SENT,     /* Redis has not confirmed it yet */
};

struct held {
        struct held *previous, *next;
        enum held_state state;
        struct entry_id id;
        struct node_job *job;
        uint64_t first;
        uint32_t n;
        char *text; /* until it is fed; owned */
        size_t size;
        uint32_t number; /* in the feed, FEED_NONE: not (yet) */
        uint64_t taken_real_ns;
        uint64_t taken_ns;
        uint64_t ended_ns; /* when all its tasks were seen ended though nobody told; else 0 */
        bool lost;         /* we were silent for so long that it may be somebody else's */
};

struct chunks {
        struct streams *streams;
        struct node_jobs *jobs;
        struct feed *feed;
        const struct spec
                *spec; /* of the level that runs them, which may lower its number of workers */
        struct held *first, *last; /* by age */
        struct held *by_number[FEED_CHUNKS];
        unsigned n;
        size_t bytes; /* of inputs and records */
        bool yields;  /* others wait for this runner to end: it takes no more */
        bool closed;  /* the node leaves */

        /* Reading: chunks-read.c. */
        bool reading;     /* a read is under way */
        unsigned burst;   /* chunks the next read asks for at most */
        uint32_t last_n;  /* tasks of the chunk that came last; 0: none did, */
        size_t last_size; /* and bytes of its inputs */
        bool foreign_said;
        uint64_t n_foreign;
        double chunks_per_second; /* that ended, of late */
        uint64_t rate_ns, rate_n;

        /* Sending: chunks-send.c. */
        uint64_t retry_ns;       /* results were refused: when to send again; 0: they were not */
        uint64_t retry_pause_ns; /* how long it waited for that last; grows with each refusal */
};

void chunks_init(struct chunks *chunks, struct streams *streams, struct node_jobs *jobs,
                 struct feed *feed, const struct spec *spec);
void chunks_free(struct chunks *chunks);

/* Holds the chunks that came on @stream; @claimed: they may be in hand already. */
void chunks_take_entries(struct chunks *chunks, const struct stream *stream,
                         const redisReply *entries, bool claimed);
void chunks_feed(struct chunks *chunks);        /* what waits and may go */
void chunks_collect(struct chunks *chunks);     /* what ended */
void chunks_find_silent(struct chunks *chunks); /* what ended, and nobody told */
void chunks_drop_job(struct chunks *chunks, const struct node_job *job);

/* Takes no more chunks, and gives back tasks that have not begun. */
void chunks_close(struct chunks *chunks);

/*
 * The level's process is gone. @death: the record of tasks in progress; NULL: they are given back
 * like the rest.
 */
void chunks_end_all(struct chunks *chunks, const struct ppp_record *death);

/* Tasks in hand that have no record. */
uint64_t chunks_load(const struct chunks *chunks);

/* chunks-read.c */
bool chunks_have_room(struct chunks *chunks, unsigned *ret);
void chunks_read(struct chunks *chunks); /* asks for more if there is room */

/* chunks-send.c */
void chunks_send(struct chunks *chunks);   /* what is finished */
void chunks_unsend(struct chunks *chunks); /* after a lost connection */

/* For these files: frees a chunk; and tells how much of the node's memory it takes. */
void held_free(struct chunks *chunks, struct held *held);

static inline size_t held_size(const struct held *held)
{
        return held->size + held->n * sizeof(struct ppp_record);
}
