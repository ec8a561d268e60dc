#pragma once

/* What `pppctl compare` has gathered, and how it is shown: compare-report.c. */

#include <jansson.h>

#include "cli/output.h"
#include "lib/spec.h"

/* One level and the summaries of its runs. */
struct contender {
        enum level level;
        enum executor executor;
        json_t *runs;       /* array of summaries of jobs that are done; owned */
        json_t *unfinished; /* array of jobs that were cancelled or failed; owned */
        bool optional;      /* the user did not name it: it is left out where it cannot run */
        bool refused;       /* pppd does not take its jobs */
        char *left_out; /* why it is left out, and what to do; owned; NULL: it is not left out */
};

struct comparison {
        struct contender contenders[_LEVEL_N + _EXECUTOR_N];
        size_t n;
        enum workload_id workload;
        uint64_t n_tasks;
        uint64_t n_disagree; /* tasks whose values differ between levels */
};

/* "threads", "async+threads" */
static inline const char *contender_name(const struct contender *contender)
{
        return contender->executor ? executor_infos[contender->executor].level
                                   : level_name(contender->level);
}

void comparison_deinit(struct comparison *comparison);

/*
 * The median over a contender's runs of the number at @path (summary_number()). False if it has no
 * runs or if one of them lacks the number.
 */
bool contender_median(const struct contender *contender, const char *path, double *ret);

/* (longest - shortest) / median of the wall time. */
bool contender_spread(const struct contender *contender, double *ret);

/* The number of the job whose wall time is in the middle of its runs; 0: it has no run. */
uint64_t contender_middle_job(const struct contender *contender);

/*
 * How many times faster it is than serial, or, where serial is not compared, than the first level
 * that has a run. False if one of the two has none.
 */
bool comparison_speed_up(const struct comparison *comparison, size_t i, double *ret);

/* Each prints to @output, and returns 0 or an exit status. */
int comparison_print_table(const struct comparison *comparison, bool color, struct output *output);
int comparison_print_json(const struct comparison *comparison, struct output *output);
