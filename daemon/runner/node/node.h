#pragma once

/*
 * The runner of one owner's chunks in a node (docs/machines.md): takes them from Redis and runs them here.
 * The keeper (keeper.h) has one for each owner who has chunks. Theory of operation:
 *
 * Two processes. This one has one thread and talks to Redis: it reads chunks as far as there is room, puts
 * them into the feed (feed.h), and sends back the records of those that ended. The other, forked from it
 * before anything else, is a runner like that of any job: it runs a level whose workers take from the feed.
 * A workload that crashes a whole level kills that process only: what was in progress gets a record that
 * says so, the rest of the chunks in hand goes back, and the level is started anew.
 *
 * A chunk in hand is a struct held: read, then (its job known and room in the feed) fed, then finished,
 * then sent; it is let go when Redis has confirmed that the result is in and the chunk is off the stream,
 * which are one transaction. Until then it is ours, and each heartbeat says so.
 */

#include "daemon/runner/machines/codec.h"
#include "daemon/runner/machines/redis-link.h"
#include "daemon/runner/machines/keys.h"
#include "daemon/runner/node/feed.h"

#define NODE_LEAD_NS      (20 * NSEC_PER_MSEC)  /* what is read ahead */
#define NODE_LOOK_NS      (500 * NSEC_PER_MSEC) /* that a job is gone is noticed in this time */
#define NODE_CHUNKS_MAX   1024                  /* read at once */
#define NODE_BYTES_MAX    (64 * 1024 * 1024)    /* of inputs and records in hand */
#define NODE_READ_BYTES   (16 * 1024 * 1024)    /* of inputs, read at once, if chunks are like the last */

struct node;

/* What an owner's runner and the keeper tell each other, in memory that both have. */
struct owner_share {
        /* By the runner. */
        uint64_t load;                  /* tasks in hand that have no record */
        uint64_t n_done, n_failed;
        uint32_t n_held;                /* chunks in hand */
        /* By the keeper. */
        uint64_t wanted_ns;             /* when the owner was last heard of */
        uint32_t yields;                /* others wait: it takes no more, and ends when it has nothing */
};

/* How a node serves: what it was started with. */
struct node_terms {
        struct machines machines;
        struct spec spec;               /* filled: level, workers, loops, limits of workers */
        unsigned workloads;             /* bits: those it is willing to run */
        char *demo_url;                 /* NULL: none */
        struct limits owner_limits;     /* of the group of each owner's runner */
        unsigned owners_max;            /* that have a runner at once */
};

/* A job some of whose chunks are in hand. */
struct node_job {
        struct node_job *next;
        char *name;
        enum workload_id workload;
        struct task_terms terms;
        bool asked, known, gone;
        unsigned n_held;
        struct node *node;
};

enum held_state {
        HELD_READ,              /* waits for its job's terms, or for room */
        HELD_FED,
        HELD_FINISHED,          /* to be sent */
        HELD_SENT,              /* Redis has not confirmed it yet */
};

struct held {
        struct held *previous, *next;
        enum held_state state;
        struct entry_id id;
        struct node_job *job;
        uint64_t first;
        uint32_t n;
        char *text;             /* until it is fed; owned */
        size_t size;
        uint32_t number;        /* in the feed, FEED_NONE: not (yet) */
        uint64_t taken_real_ns;
        uint64_t taken_ns;
        uint64_t ended_ns;      /* when all its tasks were seen ended though nobody told; else 0 */
        bool lost;              /* we were silent for so long that it may be somebody else's */
};

struct node {
        struct runner *runner;          /* shared with the level's process */
        struct owner_share *share;      /* with the keeper */
        struct feed *feed;
        struct machines machines;
        struct redis_link link;
        unsigned workloads;             /* bits: those it is willing to run */
        int stop_fd;                    /* eventfd, written by SIGTERM and SIGUSR1 */
        uint64_t busy_ns;               /* when it last had a chunk in hand */

        pid_t level_pid;
        int level_pidfd;
        int level_lives_fd;             /* a pipe whose other end the level and all its workers have */
        uint64_t level_ended;           /* tasks when it was started, */
        uint64_t level_oom_kills;       /* and processes that the kernel had killed for their memory */
        unsigned n_fruitless;

        struct held *held_first, *held_last;
        struct held *by_number[FEED_CHUNKS];
        unsigned n_held;
        size_t held_bytes;
        struct node_job *jobs;

        bool reading;                   /* a read is under way */
        bool look_due;                  /* for chunks of silent nodes */
        unsigned n_looks;               /* that are under way */
        unsigned burst;                 /* chunks the next read asks for at most */
        uint32_t last_n;                /* tasks of the chunk that came last; 0: none did, */
        size_t last_size;               /* and bytes of its inputs */
        uint64_t beat_ns;               /* when the next heartbeat is due, */
        uint64_t look_ns;               /* and the next look whether jobs in hand are still there */
        uint64_t beaten_ns;             /* when Redis last answered one; 0: never */
        uint64_t retry_ns;              /* results were refused: when to send again; 0: they were not */
        uint64_t retry_after_ns;
        uint64_t groups_ns;             /* the groups were refused; not before that again */
        bool full_said, foreign_said;
        uint64_t n_foreign;
        uint64_t n_undescribed;         /* chunks of jobs that we do not know, since that was last said; */
        uint64_t undescribed_ns;        /* and when it may be said again */

        double chunks_per_second;       /* that ended, of late */
        uint64_t rate_ns, rate_n;

        bool stopping, cancelled;
        uint64_t stop_ns;               /* when what runs is cancelled */
};

/* The object in RUNNER_FD_SPEC; errors have been said. */
int runner_read_json(json_t **ret);

/* node-terms.c: reads it as the spec of a node. Errors have been said. */
int node_terms_read(struct node_terms *terms);
void node_terms_deinit(struct node_terms *terms);

/*
 * Serves the owner until nobody needs that, or SIGTERM: all that a process forked for it does. @cgroup_fd:
 * the directory of its own group, or -EBADF. Returns an exit status.
 */
int node_serve(const struct node_terms *terms, char *owner, struct owner_share *share, int cgroup_fd);

/* node-chunks.c: the way of a chunk. */
void chunks_read(struct node *node);            /* asks for more if there is room */
void chunks_take_entries(struct node *node, enum workload_id workload, const redisReply *entries,
                         bool claimed);
void chunks_feed(struct node *node);            /* what waits and may go */
void chunks_collect(struct node *node);         /* what ended */
void chunks_find_silent(struct node *node);     /* what ended, and nobody told */
void chunks_send(struct node *node);            /* what is finished */
void chunks_unsend(struct node *node);          /* after a lost connection */
void chunks_drop_job(struct node *node, struct node_job *job);
void chunks_give_back(struct node *node);       /* what has not begun, when leaving */
void chunks_end_all(struct node *node, const struct ppp_record *death);
bool chunks_have_room(struct node *node, unsigned *ret);
void chunks_free(struct node *node);

/* node-jobs.c: what the chunks in hand belong to. */
struct node_job *node_job_get(struct node *node, enum workload_id workload, const char *name, size_t n);
void node_job_ask(struct node_job *job);
void node_job_unref(struct node_job *job);
void node_jobs_check(struct node *node);             /* whether they are still there, if it is time */

/* node-look.c */

/* Looks for chunks of silent nodes when it is time and there is room. True: what it finds comes first. */
bool node_look_first(struct node *node);

/*
 * A chunk that nobody spoke for during that time is taken over. Its holder speaks every quarter of the
 * heartbeat, and somebody looks every three eighths of it at least: so a death is noticed in a heartbeat.
 */
static inline uint64_t node_silence_ms(const struct node *node)
{
        return node->machines.heartbeat_ns * 5 / 8 / NSEC_PER_MSEC;
}

/* node-beat.c */
void node_beat(struct node *node);
void node_groups_make(struct node *node);
