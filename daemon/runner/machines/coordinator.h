#pragma once

/*
 * The coordinator of a job at the level machines (docs/machines.md). Theory of operation:
 *
 * A task is recorded (it has its record in the results file), in flight (a chunk that is outstanding has
 * it) or neither; then it is to be sent, in its turn or because the chunk that had it came back without it
 * or was lost. Nothing else is remembered: what Redis holds can be found out again by asking it (the
 * scan), which is done after each connection is made, and when a chunk stays out for long.
 *
 * Whatever comes back is checked, and a task that has a record keeps it. So it does no harm when a chunk
 * is run twice, and every doubt is settled by sending again.
 */

#include "daemon/runner/machines/redis-link.h"
#include "daemon/runner/machines/keys.h"
#include "daemon/runner/machines/outstanding.h"
#include "daemon/runner/machines/sizing.h"
#include "daemon/runner/runner.h"

#define COORDINATOR_BYTES_MAX (16 * 1024 * 1024)        /* of inputs in Redis */
#define COORDINATOR_NODES_MAX 16384                     /* names of nodes that are kept */
#define COORDINATOR_LEAD_NS   (20 * NSEC_PER_MSEC)      /* of work on the way */

struct coordinator_node {
        char *name;
        size_t n_name;
        uint16_t number;                /* what its records are stamped with */
        bool is_async;
        bool alive;                     /* of late, and takes the job's workload */
        bool seen;                      /* some result is its */
        uint32_t workers;               /* tasks it runs at once */
        uint32_t slots;                 /* CPUs it computes on: its workers, or its loops */
        uint64_t last_ns;               /* when its last result came */
};

/* Tasks [first, first + n) that came back or were lost. */
struct range {
        uint64_t first;
        uint64_t n;
};

enum sync {
        SYNC_DOWN,                      /* no connection */
        SYNC_JOB,                       /* is the job known there? */
        SYNC_SCAN,                      /* which chunks are there? */
        SYNC_SETTLE,                    /* which results are? */
        SYNC_DONE,
};

struct coordinator {
        struct runner *runner;
        struct redis_link link;
        char *id;                       /* of the job: the same when it is taken up again */
        char *key_chunks, *key_job, *key_results, *key_nodes, *key_owners;

        struct outstanding_table sent;
        uint8_t *in_flight;             /* a bit a task */
        uint64_t cursor;                /* tasks below were sent once */
        struct range *again;            /* to be sent again, the last first */
        size_t n_again, again_size;
        uint64_t n_recorded;
        struct sizing sizing;
        uint64_t probe_until_ns;        /* until then a few tasks may tell how long they take; 0: not begun */

        struct coordinator_node **nodes;
        size_t n_nodes;
        void *nodes_by_name;            /* of tsearch(3) */
        struct coordinator_node others; /* all that are too many to be kept, as one */
        uint64_t capacity;              /* tasks that the live nodes run at once, */
        uint64_t slots;                 /* on so many CPUs */
        uint64_t nodes_ns;              /* when to ask for them again */
        uint64_t ask_wait_ns;           /* and then after that long, if there is none */
        bool nodes_asked;
        uint64_t redis_ms;              /* Redis' clock when it was asked */

        enum sync sync;
        bool created;                   /* the job was known to this Redis */
        bool reading;
        uint64_t read_scan;             /* the scan that is settled by the read under way; 0: none */
        struct entry_id last_result;
        uint64_t beat_ns;
        uint64_t announce_ns;           /* when to tell of the owner again */
        uint64_t scan;                  /* number of the last scan */
        uint64_t scan_begin_ns;
        bool scanning, settling;        /* settling: results that came before its end are being read */
        uint64_t scan_after_ns;         /* no other before */

        double tasks_per_second;        /* that were recorded of late */
        uint64_t rate_ns, rate_n;

        uint64_t full_until_ns, full_wait_ns, refused_ns;
        bool full, foreign_said, many_said;
        bool sync_again;                /* when full_until_ns has come */
        bool gone;                      /* the job's keys are removed */

        uint64_t n_sent, n_resent, n_bytes, n_duplicate, n_foreign;
};

static inline bool coordinator_flies(const struct coordinator *c, uint64_t i)
{
        return c->in_flight[i / 8] >> (i % 8) & 1;
}

/* Tells who follows the job why nothing moves. */
void coordinator_condition(struct coordinator *c, enum ppp_condition condition);

/* Takes a chunk off the books; what has no record of it is to be sent again. */
void coordinator_close(struct coordinator *c, struct outstanding *chunk);

/* coordinator-send.c */
void coordinator_send(struct coordinator *c);
void coordinator_full(struct coordinator *c, struct redis *redis, const redisReply *reply,
                      const char *attempted);           /* Redis takes nothing: wait, and say so */
void coordinator_not_full(struct coordinator *c);
int coordinator_send_again(struct coordinator *c, uint64_t first, uint64_t n);
void coordinator_fly(struct coordinator *c, uint64_t first, uint32_t n, bool flies);

/* coordinator-results.c */
void coordinator_read(struct coordinator *c);

/* coordinator-nodes.c */
void coordinator_ask_nodes(struct coordinator *c);
void coordinator_nodes_free(struct coordinator *c);
struct coordinator_node *coordinator_node_get(struct coordinator *c, const char *name, size_t n);

/* coordinator-sync.c */
void coordinator_sync(struct coordinator *c);           /* after a connection was made */
void coordinator_beat(struct coordinator *c);           /* the job's keys live on */
void coordinator_announce(struct coordinator *c);       /* that there are chunks of its owner */
void coordinator_scan(struct coordinator *c);
void coordinator_settle(struct coordinator *c);         /* after a read that found nothing more */
