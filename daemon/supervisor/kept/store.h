#pragma once

/*
 * The jobs that were and are: an SQLite database, one row a job. SQLite's codes become negative
 * errno here and nowhere else; store_error() has its sentence for the log or the client.
 *
 * Write-ahead log with synchronous=NORMAL: a killed supervisor loses nothing, a power cut may lose
 * the last changes; the job directories tell the rest then.
 */

#include "daemon/supervisor/kept/record.h"

struct store;

/*
 * Opens or makes the database @path. On failure *@ret_error is a sentence that names the file, why
 * and what to do; the caller frees it (NULL: out of memory).
 */
int store_open(const char *path, struct store **ret, char **ret_error);
void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)

/* Why the last call failed: static or valid until the next call. */
const char *store_error(const struct store *store);

/*
 * Whether there is so much in the write-ahead log that another process is to call
 * store_checkpoint(), which moves it into the database at @path and waits for the disk. Where
 * nobody does, a commit does it in the end.
 */
bool store_wants_checkpoint(const struct store *store);
int store_checkpoint(const char *path);

/*
 * Adds a job and gives it its number: larger than all there ever were. record->number is not read.
 * The row is there for good when store_commit() has returned 0; until then nothing else may be
 * stored, and it goes with store_rollback(), which a failure of either asks for too, or with the
 * process.
 */
int store_insert(struct store *store, const struct job_record *record, uint64_t *ret_number);
int store_commit(struct store *store);
void store_rollback(struct store *store);

/* Writes what changes of a job: all but its owner, submission and spec. -ENOENT: no row. */
int store_update(struct store *store, const struct job_record *record);
int store_delete(struct store *store, uint64_t number);

/*
 * Sums over all jobs that ever ended, which stay when the jobs are forgotten; see totals.h. What
 * does not apply to a metric is NULL. Text is borrowed.
 */
struct total {
        const char *metric, *level, *workload;
        const char *outcome, *reason;
        const char *bucket; /* of a histogram */
        double value;
};

/* Writes a job that has ended, and adds what it adds to the totals: both, or neither. */
int store_end(struct store *store, const struct job_record *record, const struct total *totals,
              size_t n_totals);

/* Calls @each for every total of @metric, those of a level and workload together. */
int store_read_totals(struct store *store, const char *metric,
                      void (*each)(void *userdata, const struct total *total), void *userdata);

/*
 * A row that is damaged is told in the log once, moved to the table "damaged", and passed over: it
 * never keeps other jobs from being found.
 */

/* -ENOENT when there is no such job, -EUCLEAN when its row was damaged. *@ret is the caller's to
 * deinit. */
int store_get(struct store *store, uint64_t number, struct job_record *ret);

/*
 * The newest job with a number below @before (UINT64_MAX: of all), of @owner only unless it is
 * STORE_ANY_OWNER. -ENOENT when there is none.
 */
#define STORE_ANY_OWNER ((uid_t)-1)
int store_get_before(struct store *store, uint64_t before, uid_t owner, struct job_record *ret);

/* The oldest queued or running job with a number above @after. -ENOENT when there is none. */
int store_get_live_after(struct store *store, uint64_t after, struct job_record *ret);

/*
 * The time that supervisors have seen pass with this database open, in nanoseconds. The age of jobs
 * is told by it: unlike the wall clock it never jumps. store_keep_clock() keeps it for the next
 * supervisor.
 */
uint64_t store_clock(const struct store *store);
int store_keep_clock(struct store *store);

/* An ended job that may be forgotten. */
struct outdated {
        uint64_t number;
        uid_t owner;
        uint64_t size;
};

/*
 * The oldest ended job that is past @keep jobs or, unless @age_ns is 0, ended longer ago than that
 * by store_clock(). -ENOENT when all may stay.
 */
int store_get_outdated(struct store *store, uint64_t keep, uint64_t age_ns, struct outdated *ret);

/* The oldest ended job of @owner. -ENOENT: there is none. */
int store_get_oldest_of(struct store *store, uid_t owner, struct outdated *ret);

/* Calls @each with the sum of the sizes of each owner's ended jobs. */
int store_read_kept_sizes(struct store *store,
                          void (*each)(void *userdata, uid_t owner, uint64_t size), void *userdata);

/* No job gets a number up to @number any more. */
int store_skip_numbers(struct store *store, uint64_t number);
