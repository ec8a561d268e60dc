#pragma once

/*
 * The nodes that a job at machines knows of: how much each takes, and how much all live ones take
 * together.
 */

#include "lib/util.h"

#define ROSTER_NODES_MAX 16384 /* names of nodes that are kept */

struct roster_node {
        char *name;
        size_t n_name;
        uint16_t number; /* what its records are stamped with */
        bool has_loops;
        bool alive;       /* of late, and takes the job's workload */
        bool seen;        /* some result is its */
        uint32_t workers; /* tasks it runs at once */
        uint32_t slots;   /* CPUs it computes on: its workers, or its loops */
        uint64_t last_ns; /* when its last result came */
};

struct roster {
        struct roster_node **nodes; /* in the order they were first heard of */
        size_t n;
        void *by_name;             /* of tsearch(3) */
        struct roster_node others; /* all that are too many to be kept, as one */
        bool many_said;
        uint64_t capacity; /* tasks that the live nodes run at once, */
        uint64_t slots;    /* on so many CPUs */

        /* Asking Redis for them. */
        uint64_t ask_ns;      /* when to ask again, */
        uint64_t ask_wait_ns; /* and then after that long, if there is none */
        bool asked;
        uint64_t redis_ms; /* Redis' clock when it was asked */
};

void roster_deinit(struct roster *roster);

/* The node of that name, new if it was never heard of. NULL when out of memory. */
struct roster_node *roster_get(struct roster *roster, const char *name, size_t n);

/* All count as dead until they answer. */
void roster_call(struct roster *roster);

/* Adds up how much the live nodes take. */
void roster_count(struct roster *roster);

/* How many have sent a result, and how many workers those have. */
void roster_count_seen(const struct roster *roster, uint64_t *ret_nodes, uint64_t *ret_workers);
