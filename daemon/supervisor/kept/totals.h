#pragma once

/*
 * What all jobs that ever ended add up to, by level and workload: the counters and histograms of
 * /metrics. A job adds its share in the transaction that stores its end, so that each counts once,
 * and what is summed up neither falls when jobs are forgotten nor begins anew when the daemon does.
 */

#include <pppctl/results.h>

#include "daemon/supervisor/kept/store.h"

enum totals_kind {
        TOTALS_JOBS,      /* by outcome and reason */
        TOTALS_TASKS,     /* by outcome and reason */
        TOTALS_SUM,       /* of a number of the summaries */
        TOTALS_HISTOGRAM, /* of a number of the summaries */
};

struct totals_family {
        const char *name; /* the totals' metric; without prefix and _total */
        const char *unit; /* base unit, which the name ends with; NULL: none */
        const char *help;
        enum totals_kind kind;
        const char *key[2];        /* where in the summary; the second in the first one's object */
        const char *const *bounds; /* of a histogram: upper ones, ascending; the last is +Inf */
        size_t n_bounds;
};

extern const struct totals_family totals_families[];
extern const size_t n_totals_families;

#define TOTALS_MAX (_PPP_REASON_N + 48)

/* What one job adds. Text is static or the record's. */
struct totals {
        struct total list[TOTALS_MAX];
        size_t n;
};

/* The bucket of a histogram that holds its sum, among those of the bounds. */
extern const char totals_sum[];

/* @failures: the failed tasks by reason, see struct tally; NULL where that is not known. */
void totals_collect(const struct job_record *record, const uint64_t *failures, struct totals *ret);
