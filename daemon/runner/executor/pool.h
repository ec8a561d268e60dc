#pragma once

/*
 * A pool of threads or processes beside one loop, for what tasks compute (--executor). A fiber
 * hands a function to the pool and is suspended; a worker runs the function; the loop wakes the
 * fiber. So the loop continues with tasks that wait while others compute.
 *
 * Functions run in the order in which they came. The first are on trays, which the workers take
 * without asking the loop (trays.h); the others wait with the loop. A worker that has run one posts
 * a completion to the loop's ring, by a ring of its own (IORING_OP_MSG_RING, Linux 5.18). Where the
 * kernel refuses that, it writes to an eventfd that the loop reads. While the loop has yet to look
 * at earlier answers, further ones are added to those without telling it again.
 *
 * Threads and processes differ in two things. A function in a process gets a copy of its argument,
 * which is copied back when it returns. And a process can be left: when the job is cancelled, or
 * when a function is two seconds past its task's deadline and has not noticed, the fiber continues
 * and the process is killed. Threads are waited for.
 */

#include "daemon/runner/executor/pool-worker.h"
#include "daemon/runner/loop/loop.h"
#include "lib/executor.h"

struct pool;

struct pool_counters {
        uint64_t calls;    /* functions that were handed to the pool */
        uint64_t messages; /* completions that its workers posted to the loop's ring */
        uint64_t writes;   /* writes to the eventfd */
        uint64_t replaced; /* processes that died and were started again */
};

/*
 * Makes the pool of @loop, with @n workers, on the loop's thread. Threads are started; if not all
 * can be, those that could be do the work, which is logged. Processes are started by
 * zygote_start(). Returns 0, or a negative errno, logged, where there would be none.
 */
int pool_new(struct loop *loop, enum executor kind, unsigned n, struct pool **ret);

/* The calls that the processes of the pool take, and the ways to tell its loop. */
const struct pool_work *pool_work(const struct pool *pool);

/*
 * The socket of the zygote that has started its processes: it hears there of calls that were left,
 * and its end is the end of the processes. Before the loop runs.
 */
void pool_attend(struct pool *pool, int zygote_fd);

/*
 * Waits for threads to end; processes end with their zygote. No fiber may wait for them any more,
 * or the loop is broken.
 */
void pool_stop(struct pool *pool);

/* After pool_stop() and loop_deinit(). */
struct pool *pool_free(struct pool *pool);

/*
 * From a fiber: runs @function in the pool. Returns what it returned; or -ECANCELED or -ETIME,
 * noted on the task, if the job was cancelled or the task's time was up before it could begin; or
 * fails as a task fails whose worker has died.
 */
int pool_run(struct pool *pool, struct ppp_task *task, ppp_function *function, void *argument,
             size_t size);

/* After pool_stop(). */
struct pool_counters pool_counters(const struct pool *pool);
