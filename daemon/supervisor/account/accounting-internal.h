#pragma once

/* The summary while it is being made, which the files of the accounting share. */

#include "daemon/supervisor/account/accounting.h"

/* Callers do not check each step for errors: if memory runs out, the summary fails as a whole. */
struct summary {
        json_t *json;
        json_t *unavailable;
        bool failed; /* memory ran out */
};

void summary_put(struct summary *summary, const char *key, json_t *value_stolen);

/* Lists @key as missing, with the reason why. */
void summary_miss(struct summary *summary, const char *key, const char *reason);

/*
 * Removes @key from the list of what is missing, and returns the reason that was given there: a
 * new reference to a JSON string. NULL if it was not missing.
 */
json_t *summary_take_missed(struct summary *summary, const char *key);

static inline void summary_put_integer(struct summary *summary, const char *key, uint64_t value)
{
        summary_put(summary, key, json_integer((json_int_t)value));
}

static inline void summary_put_seconds(struct summary *summary, const char *key,
                                       uint64_t nanoseconds)
{
        summary_put(summary, key, json_real((double)nanoseconds / (double)NSEC_PER_SEC));
}

/* accounting-group.c: puts the counters of the job's cgroup. */
void summary_put_group(struct summary *summary, const struct accounting *accounting);

/* accounting.c: puts everything that the kernel counted for this part of the job. */
void summary_put_counted(struct summary *summary, const struct accounting *accounting);

/*
 * accounting-parts.c: puts what all parts of the job used. Returns the same for record->parts, a
 * new reference; NULL when out of memory.
 */
json_t *summary_put_parts(struct summary *summary, const struct accounting *accounting);

/* accounting-parts.c: from submission to the end; of a job that was run again, of each run. */
double accounting_wall_seconds(const struct accounting *accounting);

/*
 * accounting-parts.c: lists each limit that any part of the job has reached, once. A new reference;
 * NULL when out of memory.
 */
json_t *summary_limits_met(const struct accounting *accounting);
