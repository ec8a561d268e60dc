#pragma once

/*
 * A mapped results file (format: <pppctl/results.h>). The creator sizes it, workers write records
 * into the mapping, readers map it read-only.
 */

#include <pppctl/results.h>
#include "lib/util.h"

struct results {
        struct ppp_results_header *header;
        struct ppp_record *records;
        uint64_t n_tasks;
        size_t size; /* of the mapping */
};

#define RESULTS_NULL             \
        {                        \
                NULL, NULL, 0, 0 \
        }
#define RESULTS_MAX_TASKS UINT64_C(100000000)

/* Bytes of the file for @n_tasks. */
uint64_t results_size(uint64_t n_tasks);

/* Lays out a new results file for @n_tasks in the empty file @fd. It takes one block on disk. */
int results_create(int fd, uint64_t n_tasks, uint64_t epoch_ns);

/*
 * Reserves the blocks of the file @fd before workers map it, so that a full disk is an error here
 * (-ENOSPC) and not a SIGBUS in a worker.
 */
int results_reserve(int fd, uint64_t n_tasks);

/*
 * Maps @fd and checks all of its header against the file's real size. Returns -EBADMSG for a file
 * that is no results file or is cut short. @fd may be closed afterwards. The writer can change the
 * header's n_tasks; use results.n_tasks.
 */
int results_map(int fd, bool writable, struct results *ret);
void results_unmap(struct results *results);

/*
 * Converts the times of the file @fd to this boot's CLOCK_MONOTONIC, if they are an earlier boot's:
 * the epoch, and when the runner began and ended. The wall clock tells how much time has passed
 * since. No runner may work on the file. 1 when the times were converted, 0 when they are of this
 * boot, or a negative errno.
 */
int results_rebase(int fd);

/*
 * Prepares the job to run again for tasks without a record: sets the claim counter to 0 and
 * recounts the counters. The file is of this boot (results_rebase()), and new records' times
 * continue from the old ones', whatever the wall clock said.
 */
void results_resume(struct results *results);

/*
 * Sets the counters of done and failed tasks by counting the records, since they may be too low
 * after the death of a worker. Only while no worker runs. Returns how many tasks have no record.
 */
uint64_t results_recount(struct results *results);

/*
 * Notes in the file @fd of a job that has ended that it is to be run again, from @now_ns
 * (CLOCK_MONOTONIC) on: for tasks without a record, and those that failed for one of @reasons (bits
 * by enum ppp_reason; RESULTS_ANY_REASON). How it had ended is not noted any more. Needs no disk
 * space. results_withdraw() makes it true, once: it takes back the records.
 */
#define RESULTS_ANY_REASON UINT64_MAX
int results_run_again(int fd, uint64_t reasons, uint64_t now_ns);
void results_withdraw(struct results *results);

/*
 * Notes in the file @fd how its job ended; needs no disk space. results_read_end() gives -ENOENT
 * where nothing is noted, -EBADMSG for a file that is no results file; texts end with a NUL in any
 * case.
 */
int results_note_end(int fd, const struct ppp_end *end);
int results_read_end(int fd, struct ppp_end *ret);

static inline uint8_t record_state(const struct ppp_record *record)
{
        return __atomic_load_n(&record->state, __ATOMIC_ACQUIRE);
}

/* Copies a published record; false if there is none yet. */
static inline bool results_get(const struct results *results, uint64_t index,
                               struct ppp_record *ret)
{
        const struct ppp_record *record = &results->records[index];

        if (record_state(record) == PPP_STATE_NONE)
                return false;
        *ret = *record;
        return true;
}

/* Stores all of @from but its state, then publishes that. */
static inline void record_publish(struct ppp_record *to, const struct ppp_record *from)
{
        /*
         * Member by member: a wide copy of data that was just written in parts has to wait for
         * these stores.
         */
        to->value = from->value;
        to->start_ns = from->start_ns;
        to->end_ns = from->end_ns;
        to->detail = from->detail;
        to->worker = from->worker;
        to->reason = from->reason;
        __atomic_store_n(&to->state, from->state, __ATOMIC_RELEASE);
}

/* "timeout", "http-status"; never NULL, "unknown" for a number from a newer version. */
const char *reason_name(enum ppp_reason reason);

/*
 * One sentence without a full stop: what failed and, where there is something, what to do.
 * Allocated; NULL only when out of memory.
 */
char *reason_describe(enum ppp_reason reason, int32_t detail);
