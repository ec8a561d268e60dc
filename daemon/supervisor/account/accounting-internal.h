#pragma once

/* What the files of the accounting share: the summary in the making. */

#include "daemon/supervisor/account/accounting.h"

/* Running out of memory anywhere makes it fail as a whole, at the end. */
struct summary {
        json_t *json;
        json_t *unavailable;
        bool failed;
};

void summary_put(struct summary *summary, const char *key, json_t *value_stolen);
void summary_miss(struct summary *summary, const char *key, const char *reason);

/*
 * The reason why @key is missing, as text that is the caller's, which it is not any more; NULL: it
 * is not.
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

/* accounting-group.c: what the job's cgroup counted. */
void summary_put_group(struct summary *summary, const struct accounting *accounting);

/* accounting.c: all that the kernel counted of this part of the job. */
void summary_put_counted(struct summary *summary, const struct accounting *accounting);

/* accounting-parts.c: and of those before. */
void summary_add_parts(struct summary *summary, const struct accounting *accounting);

/*
 * accounting-parts.c: the limits that all parts have met, each once. A new reference; NULL when out
 * of memory.
 */
json_t *summary_limits_met(const struct accounting *accounting);
