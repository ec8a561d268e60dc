#pragma once

/*
 * A pool of threads beside one loop, for what tasks compute (--executor threads). A fiber hands a
 * function to the pool and is suspended; a thread runs the function; the loop wakes the fiber. So
 * the loop continues with tasks that wait while others compute.
 *
 * Functions run in the order in which they came. A thread that has run one posts a completion to
 * the loop's ring, by a ring of its own (IORING_OP_MSG_RING, Linux 5.18). Where the kernel refuses
 * that, it writes to an eventfd that the loop reads. While the loop has yet to look at earlier
 * answers, further ones are added to those without telling it again.
 */

#include "daemon/runner/loop/loop.h"

struct pool;

struct pool_counters {
        uint64_t calls;    /* functions that were handed to the pool */
        uint64_t messages; /* completions that its threads posted to the loop's ring */
        uint64_t writes;   /* writes to the eventfd */
};

/*
 * Starts @n threads for @loop, on the loop's thread. If not all can be started, those that could be
 * do the work, which is logged. Returns 0, or a negative errno where there would be none.
 */
int pool_new(struct loop *loop, unsigned n, struct pool **ret);

/* Waits for the threads to end. No fiber may wait for them any more, or the loop is broken. */
void pool_stop(struct pool *pool);

/* After pool_stop() and loop_deinit(). */
struct pool *pool_free(struct pool *pool);

/*
 * From a fiber: runs @function in the pool. Returns what it returned; or -ECANCELED or -ETIME,
 * noted on the task, if the job was cancelled or the task's time was up before it could begin.
 */
int pool_run(struct pool *pool, struct ppp_task *task, ppp_function *function, void *argument);

/* After pool_stop(). */
struct pool_counters pool_counters(const struct pool *pool);
