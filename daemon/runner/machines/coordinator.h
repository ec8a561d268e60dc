#pragma once

/*
 * The coordinator of a job at the level machines (docs/machines.md). Theory of operation:
 *
 * The ledger knows which tasks are recorded, in flight, and to be sent (ledger.h). Nothing else is
 * remembered: the contents of Redis can be found out again by asking it (the scan), which is done
 * after each connection is made, and when a chunk stays out for long.
 *
 * Everything that comes back is checked, and a task that has a record keeps it. So it does no harm
 * when a chunk is run twice, and every doubt is resolved by sending again.
 */

#include "daemon/runner/machines/keys.h"
#include "daemon/runner/machines/ledger.h"
#include "daemon/runner/machines/redis-link.h"
#include "daemon/runner/machines/roster.h"
#include "daemon/runner/machines/sizing.h"
#include "daemon/runner/runner.h"

enum sync_state {
        SYNC_DOWN,   /* no connection */
        SYNC_JOB,    /* is the job known there? */
        SYNC_SCAN,   /* which chunks are there? */
        SYNC_SETTLE, /* which results are? */
        SYNC_DONE,
};

/* Finding out what Redis has of the job, and keeping it there: coordinator-sync.c. */
struct sync {
        enum sync_state state;
        bool created; /* the job was known to this Redis */
        bool again;   /* from the beginning, when Redis takes something again */
        uint64_t beat_ns;
        uint64_t announce_ns; /* when to tell of the owner again */
        uint64_t scan;        /* number of the last scan */
        uint64_t scan_begin_ns;
        uint64_t scan_after_ns; /* no other before */
        bool scanning;
        bool settling; /* results that came before the scan's end are being read */
};

/* Reading results: coordinator-results.c. */
struct result_stream {
        bool reading;
        uint64_t scan; /* the scan that is settled by the read under way; 0: none */
        struct entry_id last;
        bool foreign_said;
        uint64_t n_foreign;
};

/* How much is sent, and when: coordinator-send.c. */
struct pace {
        struct sizing sizing;
        uint64_t probe_until_ns; /* until then a few tasks may tell how long they take; 0: not begun
                                  */
        double tasks_per_second; /* that were recorded of late */
        uint64_t rate_ns, rate_n;
        bool full; /* Redis takes nothing */
        uint64_t full_until_ns, full_wait_ns, refused_ns;
};

struct coordinator {
        struct runner *runner;
        struct redis_link link;
        char *id; /* of the job: the same when it is taken up again */
        char *key_chunks, *key_job, *key_results, *key_nodes, *key_owners;
        struct ledger ledger;
        struct roster roster;
        struct sync sync;
        struct result_stream results;
        struct pace pace;
        bool gone; /* the job's keys are removed */
};

/* 0, or a negative errno after log_error(); coordinator_deinit() takes it in any case. */
int coordinator_init(struct coordinator *c, struct runner *runner);
void coordinator_deinit(struct coordinator *c);

/*
 * Runs until all tasks are recorded or the job is cancelled, and removes the job's keys from Redis.
 * Errors were logged.
 */
int coordinator_run(struct coordinator *c);

/* The rest is for the coordinator's own files. */

/* Tells those who follow the job why nothing moves. */
void coordinator_condition(struct coordinator *c, enum ppp_condition condition);

/* coordinator-send.c */
void coordinator_send(struct coordinator *c);
void coordinator_full(struct coordinator *c, struct redis *redis, const redisReply *reply,
                      const char *attempted); /* Redis takes nothing: wait, and say so */
void coordinator_not_full(struct coordinator *c);

/* coordinator-results.c */
void coordinator_read(struct coordinator *c);

/* coordinator-nodes.c */
void coordinator_ask_nodes(struct coordinator *c);

/* coordinator-sync.c */
void coordinator_sync(struct coordinator *c);      /* after a connection was made */
void coordinator_sync_down(struct coordinator *c); /* after it was lost, or at the end */
void coordinator_beat(struct coordinator *c);      /* the job's keys live on */
void coordinator_announce(struct coordinator *c);  /* that there are chunks of its owner */
void coordinator_settle(struct coordinator *c);    /* after a read that found nothing more */
