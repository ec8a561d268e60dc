#pragma once

/*
 * The store of all jobs, live and ended: an SQLite database with one row per job. SQLite's codes
 * are turned into negative errno here and nowhere else; store_error() returns SQLite's own message,
 * for the log or the client.
 *
 * With a write-ahead log and synchronous=NORMAL a killed supervisor loses nothing. A power cut may
 * lose the last changes; the job directories then tell what happened.
 */

#include "daemon/supervisor/kept/record.h"
#include "lib/fault.h"

struct store;

/* Opens the database @path, and creates it if necessary. On failure @fault tells. */
int store_open(const char *path, struct store **ret, struct fault *fault);
void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)

/* Why the last call failed. The text is valid at least until the next call. */
const char *store_error(const struct store *store);

/*
 * store_wants_checkpoint() tells whether so much is in the write-ahead log that another process
 * should call store_checkpoint(), which moves it into the database at @path and waits for the disk.
 * If none does, the log grows until a commit has to do it.
 */
bool store_wants_checkpoint(const struct store *store);
int store_checkpoint(const char *path);

/*
 * Adds a job and gives it a number, larger than any job ever had; record->number is ignored. The
 * row is permanent once store_commit() has returned 0. Until then nothing else may be stored, and
 * store_rollback(), or the end of the process, removes the row again. When store_insert() or
 * store_commit() fails, the caller must call store_rollback().
 */
int store_insert(struct store *store, const struct job_record *record, uint64_t *ret_number);
int store_commit(struct store *store);
void store_rollback(struct store *store);

/* Writes the members of a job that change: not its owner, submission and spec. -ENOENT: no row. */
int store_update(struct store *store, const struct job_record *record);
int store_delete(struct store *store, uint64_t number);

/* The same of a job that has ended and is live again, with its spec, which may be another. */
int store_reopen(struct store *store, const struct job_record *record);

/*
 * A sum over all jobs that ever ended, which is kept when the jobs are forgotten; see totals.h.
 * Members that do not apply to the metric are NULL. Text is borrowed.
 */
struct total {
        const char *metric, *level, *workload;
        const char *outcome, *reason;
        const char *bucket; /* of a histogram */
        double value;
};

/* Writes a job that has ended and adds its share to the totals, both in one transaction. */
int store_end(struct store *store, const struct job_record *record, const struct total *totals,
              size_t n_totals);

/* Calls @each for every total of @metric. Totals of the same level and workload are adjacent. */
int store_read_totals(struct store *store, const char *metric,
                      void (*each)(void *userdata, const struct total *total), void *userdata);

/*
 * A damaged row is logged once, moved to the table "damaged", and skipped: it never keeps other
 * jobs from being found.
 */

/*
 * -ENOENT when there is no such job, -EUCLEAN when its row was damaged. The caller calls
 * job_record_deinit() on *@ret.
 */
int store_get(struct store *store, uint64_t number, struct job_record *ret);

/*
 * Gets the newest job of @owner, or of anybody (STORE_ANY_OWNER), whose number is below @before
 * (UINT64_MAX: the newest of all). -ENOENT when there is none.
 */
#define STORE_ANY_OWNER ((uid_t)-1)
int store_get_before(struct store *store, uint64_t before, uid_t owner, struct job_record *ret);

/* Gets the oldest queued or running job with a number above @after. -ENOENT when there is none. */
int store_get_live_after(struct store *store, uint64_t after, struct job_record *ret);

/*
 * The time, in nanoseconds, during which supervisors have had this database open. The age of jobs
 * is measured by it: unlike the wall clock it never jumps. store_keep_clock() stores it for the
 * next supervisor.
 */
uint64_t store_clock(const struct store *store);
int store_keep_clock(struct store *store);

/* An ended job that may be forgotten. */
struct outdated {
        uint64_t number;
        uid_t owner;
        uint64_t size; /* bytes on disk */
};

/*
 * Gets an ended job that is not among the newest @keep or, unless @age_ns is 0, that ended longer
 * than @age_ns ago by store_clock(). -ENOENT when all may stay.
 */
int store_get_outdated(struct store *store, uint64_t keep, uint64_t age_ns, struct outdated *ret);

/* Gets the oldest ended job of @owner. -ENOENT when there is none. */
int store_get_oldest_of(struct store *store, uid_t owner, struct outdated *ret);

/* Calls @each once for each owner, with the total size of that owner's ended jobs. */
int store_read_kept_sizes(struct store *store,
                          void (*each)(void *userdata, uid_t owner, uint64_t size), void *userdata);

/* Makes sure that new jobs get numbers above @number. */
int store_skip_numbers(struct store *store, uint64_t number);
