#pragma once

/*
 * The row of a worker process in the table that it shares with its parent: the worker notes there
 * everything that must be known in case it is killed (struct worker says in which order), and its
 * parent reads it.
 *
 * For a dead worker the row shows which task it was at, so that this gets its record, and what else
 * it had claimed, so that its replacement can continue with that. For a living worker it shows, at
 * most moments, how many tasks of which chunk it has; and in it the two agree on whether a try has
 * ended or has timed out.
 */

#include "daemon/runner/worker-process.h"

struct worker_row {
        struct worker worker;
        uint64_t born_ns; /* CLOCK_MONOTONIC at its first instruction, 0: not yet */
} __attribute__((aligned(128)));

/* Whether the worker, which is dead, was at a task. */
static inline bool row_is_at_task(const struct worker_row *row)
{
        return __atomic_load_n(&row->worker.current, __ATOMIC_ACQUIRE) != TASK_NONE;
}

/*
 * Called on behalf of a dead worker. Its task gets the record of a failure, unless it has a record
 * already or @death is NULL, as when the job was cancelled. Its counts are added to the results
 * header. After that another worker may start on this row, which then has only the rest of the dead
 * worker's piece.
 */
void row_bury(struct worker_row *row, const struct worker_death *death);

/*
 * Called for a row without a worker: the tasks that it still has go back to the source, so that
 * another worker can claim them. A source that nobody could claim them from again leaves them in
 * the row.
 */
void row_give_back(struct worker_row *row);

/*
 * Tells how many tasks of which piece a worker that may be alive has, including the one in
 * progress. False if that cannot be told at this moment: the worker is between two tasks, or was
 * stopped there.
 */
bool row_look(const struct worker_row *row, uint64_t *ret_piece_of, uint64_t *ret_n);

/*
 * When the try in progress should have ended, CLOCK_MONOTONIC. 0: it may take its time, or there is
 * none.
 */
static inline uint64_t row_deadline(const struct worker_row *row)
{
        uint64_t deadline_ns = __atomic_load_n(&row->worker.deadline_ns, __ATOMIC_ACQUIRE);

        return deadline_ns == TRY_SEALED ? 0 : deadline_ns;
}

/* Takes the try with that deadline for timed out. False: it has just ended by itself. */
bool row_seal(struct worker_row *row, uint64_t deadline_ns);
