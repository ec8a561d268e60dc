#pragma once

/*
 * Totals over all jobs that ever ended, by level and workload: the counters and histograms of
 * /metrics. A job adds its share in the transaction that stores its end, so that it counts exactly
 * once. Totals do not fall when jobs are forgotten, and do not start over with the daemon.
 */

#include <pppctl/results.h>

#include "daemon/supervisor/kept/counters.h"
#include "daemon/supervisor/kept/store.h"

enum totals_kind {
        TOTALS_JOBS,      /* by outcome and reason */
        TOTALS_TASKS,     /* by outcome and reason */
        TOTALS_SUM,       /* the sum of one number over all summaries */
        TOTALS_HISTOGRAM, /* the distribution of one number over all summaries */
};

struct totals_family {
        const char *name; /* of the metric, without the prefix and _total */
        const char *unit; /* the base unit, which the name ends with; NULL: none */
        const char *help;
        enum totals_kind kind;
        const char *key[2];        /* the member of the summary, and the member of that object */
        const char *const *bounds; /* of a histogram: upper bounds, ascending; the last is +Inf */
        size_t n_bounds;
};

extern const struct totals_family totals_families[];
extern const size_t n_totals_families;

#define TOTALS_MAX (_PPP_REASON_N + 48)

/* The share of one job. Text is static or belongs to the job's record. */
struct totals {
        struct total list[TOTALS_MAX];
        size_t n;
};

/* The name of the bucket in which a histogram's sum is stored, beside those of the bounds. */
extern const char totals_sum[];

/*
 * @tally: NULL when the records cannot be counted. @told: the summary of the job's last end, whose
 * share was collected then; NULL: there was none. Of a job that was run again it is what came to it
 * since.
 */
void totals_collect(const struct job_record *record, const struct tally *tally, const json_t *told,
                    struct totals *ret);
