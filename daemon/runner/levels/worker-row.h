#pragma once

/*
 * The row of a worker process in the table that it shares with its parent: the worker notes there all that
 * must be known should it be killed (struct worker tells in which order), and its parent reads it.
 *
 * Of a worker that is dead the row tells at which task it was, which gets its record, and what else it had
 * claimed, which its replacement goes on with. Of one that lives it tells, at moments, how many tasks of
 * which chunk it has; and it is where the two agree on whether a try has ended or has timed out.
 */

#include "daemon/runner/runner.h"

struct worker_row {
        struct worker worker;
        uint64_t born_ns;               /* CLOCK_MONOTONIC at its first instruction, 0: not yet */
} __attribute__((aligned(128)));

/* Why the task of a dead worker has failed. */
struct row_death {
        enum ppp_reason reason;
        int32_t detail;
};

/* The worker is dead, and was at a task. */
static inline bool row_is_at_task(const struct worker_row *row)
{
        return __atomic_load_n(&row->worker.current, __ATOMIC_ACQUIRE) != TASK_NONE;
}

/*
 * In the stead of a dead worker: its task gets the record of a failure, unless it has one; with @death NULL,
 * when the job was cancelled, none. Its counts are told. Then the row is as a worker may start with it, and
 * has nothing but the rest of the dead one's piece.
 */
void row_bury(struct worker_row *row, const struct row_death *death);

/*
 * Of a row without a worker: what it still has goes back to the source, to be run by somebody else, or stays
 * if nobody else could claim it.
 */
void row_give_back(struct worker_row *row);

/*
 * What a worker that may be alive has of which chunk, the task in progress included. False if it was not
 * seen at a moment that tells: it is between two tasks, or stopped there.
 */
bool row_look(const struct worker_row *row, uint64_t *ret_piece_of, uint64_t *ret_n);

/* When the try in progress should have ended, CLOCK_MONOTONIC. 0: it may take its time, or there is none. */
static inline uint64_t row_deadline(const struct worker_row *row)
{
        uint64_t deadline_ns = __atomic_load_n(&row->worker.deadline_ns, __ATOMIC_ACQUIRE);

        return deadline_ns == TRY_SEALED ? 0 : deadline_ns;
}

/* Takes the try with that deadline for timed out. False: it has just ended by itself. */
bool row_seal(struct worker_row *row, uint64_t deadline_ns);
