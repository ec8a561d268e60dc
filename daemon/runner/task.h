#pragma once

/*
 * One task in the making: one input of the job, the io backend its worker waits with, and what a
 * call noted of its failure. Lives on the worker's stack (or fiber) for the time of one record.
 *
 * The ppp_*() calls of <pppctl/workload.h> are thin: they check for cancellation and hand on to
 * task->worker->io.
 */

#include <pppctl/workload.h>
#include "lib/util.h"

struct runner;
struct worker;
struct gil;
struct feed_chunk;

/* What is done to an input, and how often. */
struct task_terms {
        const struct ppp_workload *workload;
        uint64_t timeout_ns;            /* of each try, 0: none */
        uint32_t retries;
};

/*
 * What waiting means at a level: the blocking backend blocks the thread, the ring backend suspends
 * the fiber. All return 0 or a negative errno after task_fail(); deadline is task->deadline_ns.
 */
struct io_ops {
        int (*fetch)(struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata);
        int (*read_file)(struct ppp_task *task, const char *path, ppp_sink *sink, void *userdata);
        int (*sleep)(struct ppp_task *task, uint64_t nanoseconds);

        /* Of a node (node/feed.h): until there may be a chunk to claim, or the feed is closed. */
        void (*wait_for_chunk)(struct worker *worker);
};

/*
 * What carries tasks. Levels embed it by value in their own worker objects. It is written by its own
 * thread, process or loop only, but for deadline_ns.
 *
 * A worker process may be killed between any two instructions, and its parent goes by what stands here
 * (levels/worker-row.h). So a task is in one place of these at most: it leaves [next, end) before it is
 * `current`, it has its record before it leaves that, and only then it counts as ended anywhere else. What
 * is in neither place is lost, which is found and made good; what were in two would be run twice.
 * worker_note() keeps the order.
 */
struct worker {
        struct runner *runner;
        const struct io_ops *io;
        void *io_context;               /* the backend's own state of this worker */
        struct gil *gil;                /* NULL but at threads with --gil */
        uint16_t id;                    /* what records are stamped with */
        bool watched;                   /* its parent reads deadline_ns, and may seal it */

        /* The claimed piece: [next, end) still to run. */
        uint64_t next;
        uint64_t end;
        uint64_t piece_of;              /* in a node: the chunk it is of, generation << 32 | number */
        const char *cursor;             /* where input `next` starts, NULL: look it up */
        uint64_t current;               /* the task in progress, TASK_NONE: none is */
        uint64_t started_ns;            /* when that began, CLOCK_MONOTONIC; 0: it has not yet */
        uint64_t deadline_ns;           /* of its try, if watched; 0: none, or TRY_SEALED */
        uint64_t chunk;                 /* how many were claimed last, */
        uint64_t claimed_ns;            /* and when; 0 before the first */
        uint32_t idle;                  /* in a node: odd while it waits for a chunk */

        /* Progress not yet added to the results header. */
        uint32_t n_done, n_failed, n_retried;
        uint64_t flushed_ns;
};

struct ppp_task {
        struct worker *worker;
        uint64_t index;
        uint64_t start_ns;              /* CLOCK_MONOTONIC */
        uint64_t deadline_ns;           /* CLOCK_MONOTONIC, 0: none */
        const struct feed_chunk *fed;   /* NULL but in a node: what it is of */
        enum ppp_reason reason;         /* of the last failure */
        int32_t detail;
        uint64_t retry_after_ns;        /* the server asks for so long a wait; 0: it does not say */
        bool unlocked;                  /* between ppp_unlock() and ppp_relock() */
};

#define TASK_NONE UINT64_MAX

/* As deadline_ns: the parent has taken the try for timed out. Its worker leaves no record, and is killed. */
#define TRY_SEALED UINT64_MAX

/* Notes @value for the parent: after all that was noted before, whenever the worker is killed. */
static inline void worker_note(uint64_t *at, uint64_t value)
{
        __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Takes a piece that was claimed. In between it has none: [next, end) may not be part old and part new. */
static inline void worker_hold(struct worker *worker, uint64_t piece_of, uint64_t next, uint64_t end)
{
        worker_note(&worker->next, UINT64_MAX);
        worker_note(&worker->piece_of, piece_of);
        worker_note(&worker->end, end);
        worker_note(&worker->next, next);
        worker->cursor = NULL;
}

/*
 * Whether nobody wants what the task is about to find out: its runner is to end, or it is a node's and its
 * job is gone. It ends as PPP_REASON_CANCELLED then, without a record.
 */
bool task_cancelled(const struct ppp_task *task);

/* Same as ppp_fail(): notes the failure, returns a negative errno that fits it (never 0). */
int task_fail(struct ppp_task *task, enum ppp_reason reason, int32_t detail);

/* Nanoseconds left until the deadline: UINT64_MAX without one, 0 when it has passed. */
static inline uint64_t task_time_left(const struct ppp_task *task, uint64_t now)
{
        if (task->deadline_ns == 0)
                return UINT64_MAX;
        return now >= task->deadline_ns ? 0 : task->deadline_ns - now;
}
