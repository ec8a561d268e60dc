#pragma once

/*
 * The ledger of a job at machines: a task is recorded (it has its record in the results file), in
 * flight (a chunk that is out has it), or neither. Then it is to be sent, in its turn or because
 * its chunk came back without it or was lost.
 */

#include "daemon/runner/machines/outstanding.h"
#include "lib/results.h"

/* Tasks [first, first + n). */
struct task_range {
        uint64_t first;
        uint64_t n;
};

struct ledger {
        struct results *results;
        struct outstanding_table out; /* chunks that were sent and have not come back */
        uint8_t *in_flight;           /* a bit a task */
        uint64_t cursor;              /* tasks below were sent once */
        struct task_range *again;     /* to be sent again, the last first */
        size_t n_again, again_size;
        uint64_t n_recorded;
        uint64_t n_done, n_failed; /* of these not told of yet, see ledger_tell() */
        uint64_t n_sent, n_resent, n_bytes, n_duplicate;
};

/* Returns 0 or -ENOMEM; ledger_deinit() takes it in any case. */
int ledger_init(struct ledger *ledger, struct results *results);
void ledger_deinit(struct ledger *ledger);

/* The next tasks in a row that are to be sent, at most @max. False when there are none. */
bool ledger_next(struct ledger *ledger, uint32_t max, struct task_range *ret);

/* How many are still to be sent. */
uint64_t ledger_left(const struct ledger *ledger);

/* A chunk of these tasks is out. NULL when out of memory. */
struct outstanding *ledger_enter(struct ledger *ledger, uint64_t first, uint32_t n, uint32_t bytes);

/* Undoes ledger_enter(): nothing was sent to anybody. */
void ledger_strike(struct ledger *ledger, struct outstanding *chunk);

/* The chunk is not out any more; those of its tasks that have no record are to be sent again. */
void ledger_close(struct ledger *ledger, struct outstanding *chunk);

/* Records a task that has come back, unless it has a record. Returns whether it had none. */
bool ledger_record(struct ledger *ledger, uint64_t i, const struct ppp_record *record);

/* Adds the tasks recorded since the last call to the header of the results: never ahead of the
 * records. */
void ledger_tell(struct ledger *ledger);

static inline bool ledger_is_complete(const struct ledger *ledger)
{
        return ledger->n_recorded >= ledger->results->n_tasks;
}
