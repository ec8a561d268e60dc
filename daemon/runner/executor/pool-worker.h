#pragma once

/*
 * A worker of a pool: takes calls off the trays, runs them, and tells the loop of its answers. It
 * may be a thread or a process.
 */

#include "daemon/runner/executor/trays.h"

/* The counters of one worker, in memory that it shares with the loop. */
struct pool_row {
        uint64_t messages; /* completions that it posted to the loop's ring */
        uint64_t writes;   /* writes to the eventfd */
        uint32_t n_ready;  /* how often it came so far that it could take calls, */
        uint32_t n_died;   /* and how often it died, as a process */
} __attribute__((aligned(64)));

/* The calls of a pool and the ways to tell its loop, shared by all its workers. */
struct pool_work {
        struct runner *runner;
        struct trays *trays;
        struct pool_row *rows; /* by worker */
        unsigned n_workers;
        int ring_fd; /* of the loop; in a child process the same, by inheritance */
        uint64_t message_data;
        int event_fd; /* where the kernel refuses messages to the ring */
};

/* Runs calls until trays_stop(). */
void pool_worker_run(const struct pool_work *work, unsigned number);
