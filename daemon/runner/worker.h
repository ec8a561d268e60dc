#pragma once

/*
 * A worker claims tasks from the runner's source and runs each to its record. All workers do the
 * same, whether they are threads, processes or loops.
 */

#include "daemon/runner/source.h"

struct gil;

/*
 * Levels embed this by value in their own worker objects. While the worker lives, only its own
 * thread, process or loop writes to it, except for deadline_ns, which a parent writes too. The
 * parent of a process that has died ends its task and takes back what it had claimed
 * (levels/worker-row.h).
 *
 * A worker process may be killed between any two instructions, and its parent then reads these
 * members (levels/worker-row.h). So a task is in one of these places at most: it leaves [next, end)
 * before it is `current`, it has its record before it leaves that, and only then does it count as
 * ended anywhere else. A task in neither place that has no record is lost, which is found out
 * later: it is offered again, and may run a second time. (In the other order a task would be in
 * both places, and surely run twice.) worker_note() keeps the order.
 */
struct worker {
        struct runner *runner;
        const struct io_ops *io;
        void *io_context; /* the backend's own state of this worker */
        struct gil *gil;  /* NULL but at threads with --gil */
        uint16_t id;      /* what records are stamped with */
        bool watched;     /* its parent reads deadline_ns, and may seal it */

        /* The claimed piece: [next, end) of the set still to run. */
        struct task_set *set;
        uint64_t next;
        uint64_t end;
        uint64_t piece_of; /* which set that is, for a source that uses one again for other tasks */
        const char *next_input; /* where input `next` starts, NULL: ask the source */
        uint64_t current;       /* the task in progress, TASK_NONE: none is */
        uint64_t task_group;    /* of a worker process: that of its command, from 1; 0: none, */
        uint64_t command;       /* and where there can be none its command itself; or 0 */
        uint64_t started_ns;    /* when that began, CLOCK_MONOTONIC; 0: it has not yet */
        uint64_t deadline_ns;   /* of its try, if watched; 0: none, or TRY_SEALED */
        uint64_t chunk;         /* how many were claimed last, */
        uint64_t claimed_ns;    /* and when; 0 before the first */
        uint32_t idle;          /* odd while it waits for tasks */
        unsigned wake;          /* its wake descriptor (source.h), or WORKER_NO_WAKE: it has none */

        /* Progress not yet added to the results header. */
        uint32_t n_done, n_failed, n_retried;
        uint64_t flushed_ns;
};

#define TASK_NONE      UINT64_MAX
#define WORKER_NO_WAKE UINT32_MAX

/*
 * As deadline_ns: the parent has taken the try for timed out. The worker leaves no record, and is
 * killed.
 */
#define TRY_SEALED UINT64_MAX

/* Notes @value for the parent: after all earlier notes, no matter when the worker is killed. */
static inline void worker_note(uint64_t *at, uint64_t value)
{
        __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/*
 * Takes a piece that was claimed. In between it has none: [next, end) may not be part old and part
 * new.
 */
static inline void worker_hold(struct worker *worker, struct task_set *set, uint64_t piece_of,
                               uint64_t next, uint64_t end)
{
        worker_note(&worker->next, UINT64_MAX);
        worker_note(&worker->piece_of, piece_of);
        __atomic_store_n(&worker->set, set, __ATOMIC_RELEASE);
        worker_note(&worker->end, end);
        worker_note(&worker->next, next);
        worker->next_input = NULL;
}

void worker_init(struct worker *worker, struct runner *runner, uint16_t id, const struct io_ops *io,
                 void *io_context);

/*
 * worker_run() - claim and run tasks until none is left, as serial, threads and processes do.
 * Returns 0, or -ECANCELED when the job was cancelled in mid-task (no record is written then).
 *
 * async splits it, since its fibers share one worker: worker_take() a task, worker_run_taken() it
 * on the fiber, with a slot number as the record's worker.
 */
int worker_run(struct worker *worker);

struct taken {
        uint64_t index;
        const char *input; /* not NUL-terminated */
        size_t n_input;
        struct task_set *set; /* what index is of */
        bool waited;          /* the worker had to wait until it came */
};

/* False when the piece is used up and no other will come. Skips tasks that have records. */
bool worker_take(struct worker *worker, struct taken *ret);

/*
 * Runs one taken task to its record; @slot stamps it. *clock holds the time the task starts at and
 * gets the time it ended at, so that tasks run back to back cost one clock reading each.
 */
int worker_run_taken(struct worker *worker, const struct taken *taken, uint16_t slot,
                     uint64_t *clock);

/*
 * Adds the worker's progress to the results header; at its end, and every few milliseconds before.
 */
void worker_flush(struct worker *worker);
