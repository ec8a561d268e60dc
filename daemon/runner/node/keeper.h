#pragma once

/*
 * The keeper: the first process of a node (docs/machines.md). It tells Redis that the node is
 * there, hears whose jobs have chunks, and keeps a runner (node.h) for each such owner, in a cgroup
 * of its own. It takes no chunk itself and runs none: so whatever a job does to its runner, other
 * owners' do not notice.
 *
 *     waits --heard of, and a place is free--> runs --its exit--> clearing --its group is empty-->
 *     waits
 *
 * There are places for a limited number of owners at once. An owner that waits gets a place as soon
 * as a runner ends, and runners end when they have had no chunk for a while. When none does, the
 * one that has run longest, for a second at least, is told to take no more chunks.
 */

#include <sys/types.h>

#include "daemon/runner/machines/codec.h"
#include "daemon/runner/machines/keys.h"
#include "daemon/runner/machines/redis-link.h"
#include "daemon/runner/node/node.h"

enum owner_state {
        OWNER_WAITS, /* has no runner */
        OWNER_RUNS,
        OWNER_CLEARING, /* the runner has ended, and others of its group not yet */
};

struct owner {
        struct owner *next; /* those that wait longest first */
        char *name;
        enum owner_state state;
        uint64_t wanted_ns; /* when it was last heard of */
        uint64_t retry_ns;  /* not to be started before */
        uint64_t started_ns;
        unsigned n_deaths;         /* in a row, each soon after the start */
        struct owner_share *share; /* while it runs */
        pid_t pid;
        int pidfd, group_fd, events_fd;
        unsigned place; /* its group is owner-@place */
};

struct keeper {
        struct node_terms terms;
        struct redis_link link;
        int cgroup_fd; /* directory of the node's group, or -EBADF */
        int stop_fd;   /* eventfd, written by SIGTERM */
        int events_fd; /* epoll: what happens to owners' runners */
        struct owner *owners;
        unsigned n_owners, n_places; /* known; and that have a runner or what is left of one */
        uint64_t *places;            /* bits */
        uint64_t n_done, n_failed;   /* tasks, by runners that have ended */

        bool reading, clock_known, told, full_said, foreign_said, twin_said, many_said;
        char heard[ENTRY_ID_SIZE]; /* the last entry of the stream of owners that was read */
        int64_t clock_ms;          /* Redis' clock - CLOCK_MONOTONIC */
        uint64_t beat_ns;
        char instance[33]; /* tells us from another of the same name */
        bool stopping;
        uint64_t stop_ns; /* when what has not left is killed */
};

/* keeper-beat.c: the exchange with Redis. */
int keeper_make_instance(struct keeper *keeper);
void keeper_beat(struct keeper *keeper);
void keeper_listen(struct keeper *keeper); /* for owners */
void keeper_say_goodbye(struct keeper *keeper);

/* owners.c */
int owners_init(struct keeper *keeper);
void owners_deinit(struct keeper *keeper);
void owners_hear(struct keeper *keeper, struct piece name);

/* Starts runners of owners that wait, if there is a place. Returns when to call it again:
 * CLOCK_MONOTONIC. */
uint64_t owners_turn(struct keeper *keeper);

/* Something has happened to some runners. -ECHILD: no owner can be served, and the reason was
 * logged. */
int owners_look(struct keeper *keeper);
void owners_leave(struct keeper *keeper); /* SIGTERM to all */
void owners_kill(struct keeper *keeper);
