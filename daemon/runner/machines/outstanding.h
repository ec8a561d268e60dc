#pragma once

/*
 * The chunks that were sent and whose end was not seen: found by their first task, kept in the
 * order they were sent.
 */

#include "daemon/runner/machines/codec.h"

struct outstanding {
        struct outstanding *chain;           /* of the same hash */
        struct outstanding *previous, *next; /* by age, oldest first */
        struct entry_id id;                  /* zero: Redis has not told it yet */
        uint64_t first;
        uint32_t n;
        uint32_t bytes;
        uint64_t sent_ns; /* CLOCK_MONOTONIC; 0: by an earlier life of ours */
        uint64_t seen;    /* the last scan that found it on the stream */
        bool asked;       /* Redis' reply to the sending is to come */
        bool closed;      /* to be freed when that has come */
};

struct outstanding_table {
        struct outstanding **buckets;
        size_t n_buckets; /* a power of two */
        struct outstanding *first, *last;
        size_t n;
        uint64_t n_tasks, n_bytes;
};

void outstanding_deinit(struct outstanding_table *table);

/* NULL when out of memory. */
struct outstanding *outstanding_add(struct outstanding_table *table, uint64_t first, uint32_t n,
                                    uint32_t bytes);

/* The chunk of exactly these tasks, or NULL. */
struct outstanding *outstanding_find(const struct outstanding_table *table, uint64_t first,
                                     uint32_t n);

/* Removes it; frees it, or leaves that to the code that handles the reply. */
void outstanding_remove(struct outstanding_table *table, struct outstanding *chunk);
