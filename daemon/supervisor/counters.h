#pragma once

/*
 * The progress counters in the header of a results file. They are read by pread(2), never through a
 * mapping: a runner that cuts its file short must not take the supervisor down with a SIGBUS.
 */

#include <pppctl/results.h>

#include "lib/util.h"

struct counters {
        uint64_t n_done, n_failed, n_retried;
        uint64_t epoch_ns;              /* CLOCK_MONOTONIC of submission */
        uint64_t runner_start_ns;       /* CLOCK_MONOTONIC, 0: it never ran */
        uint64_t runner_end_ns;         /* 0: it did not come to its end */
        uint32_t condition;             /* enum ppp_condition */
};

/* -EBADMSG when the file is no results file any more. */
int counters_read(int results_fd, struct counters *ret);

/* Counts done and failed anew from the records, for when a worker died before it added its own. */
int counters_recount(int results_fd, uint64_t n_tasks, struct counters *counters);

/* Failed tasks whose worker was killed, and how many of those for want of memory. */
int counters_find_killed(int results_fd, uint64_t n_tasks, uint64_t *ret_killed, uint64_t *ret_oom);

/* Adds the failed tasks to @counts, by reason (enum ppp_reason; what is none of them counts as 0). */
int counters_add_failures(int results_fd, uint64_t n_tasks, uint64_t counts[static _PPP_REASON_N]);

/*
 * Tasks that were claimed and have no record: in progress when the runner ended, or next in a worker's
 * chunk. The first @max indexes in @open, the number of all in *@ret_n.
 */
int counters_find_open(int results_fd, uint64_t n_tasks, uint64_t *open, size_t max, uint64_t *ret_n);
