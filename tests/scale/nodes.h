#pragma once

/* What the files of the simulation share: its nodes, and the chunks that they have in hand. */

#include <stdio.h>

#include "daemon/runner/histogram.h"
#include "daemon/runner/machines/codec.h"
#include "daemon/runner/machines/keys.h"
#include "lib/redis.h"

#define BLOCK_MS  1000
#define JOB_MAX   ENTRY_JOB_MAX
#define BATCH_MAX 64

struct simulation;
struct node;

struct chunk {
        struct chunk *next;
        struct node *node;
        struct entry_id id;
        char job[JOB_MAX + 1];
        uint64_t first, taken_real_ns, taken_ns, end_ns, service_ns;
        uint32_t n;
        uint64_t values[]; /* each task's nanoseconds */
};

struct node {
        struct simulation *simulation;
        struct machines machines; /* with its own name; the rest is shared */
        struct redis commands, reader;
        uint32_t events[2]; /* what epoll was told of each */
        bool reading, up, beaten, touched;
        unsigned n_busy;                      /* workers */
        struct chunk *waiting, **waiting_end; /* for a worker */
        struct chunk *held;                   /* all in hand, busy ones; linked by next */
        struct chunk *finished;               /* to be sent */
        uint64_t beat_ns;
        uint64_t n_done;
        char job[JOB_MAX + 1]; /* whose terms are known */
};

struct simulation {
        const char *prefix;
        unsigned n, first, workers;
        uint64_t heartbeat_ns;
        struct node *nodes;
        int epoll_fd, signal_fd;
        struct chunk **timers; /* a heap by end_ns */
        size_t n_timers, timers_size;
        struct node **beats; /* ring, in the order they are due */
        size_t next_beat;
        struct node **touched; /* with something to send */
        size_t n_touched;
        unsigned n_up, n_ready;
        uint64_t n_chunks, n_tasks, n_reads, n_taken_over;
        struct histogram wait, beyond, lateness;
        char *chunks_key, *nodes_key, *look_key;
        uint64_t silence_ms;
        bool ended;
};

static inline void die(const char *why)
{
        fprintf(stderr, "nodes: %s\n", why);
        exit(1);
}

static inline void *must(void *p)
{
        if (!p)
                die("out of memory");
        return p;
}

/* There is something to be sent. */
static inline void touch(struct node *node)
{
        if (node->touched)
                return;
        node->touched = true;
        node->simulation->touched[node->simulation->n_touched++] = node;
}

static inline void expect_no_error(struct redis *redis, redisReply *reply, void *userdata)
{
        if (!reply)
                die(redis->why);
        if (redis_is_error(reply) && strncmp(reply->str, "BUSYGROUP", 9) != 0)
                die(reply->str);
}

#define COMMAND(redis, ...)                                                    \
        do {                                                                   \
                if (redis_send(redis, expect_no_error, NULL, __VA_ARGS__) < 0) \
                        die("cannot send");                                    \
        } while (0)

/* nodes.c: an entry of the stream begins as a chunk, or waits for a worker. */
void node_take(struct node *node, const redisReply *reply);
void node_start_waiting(struct node *node);
unsigned node_n_waiting(const struct node *node);

/* nodes.c: how many more chunks it may take, and a command that asks for them. */
unsigned node_room(const struct node *node);
void node_read_more(struct node *node);

/* nodes-beat.c */
void node_go_up(struct node *node);
void nodes_beat(struct simulation *s);
