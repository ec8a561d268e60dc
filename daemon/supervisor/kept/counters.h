#pragma once

/*
 * The progress counters in the header of a results file. They are read by pread(2), never through a
 * mapping: a runner that cuts its file short must not take the supervisor down with a SIGBUS.
 */

#include <pppctl/results.h>

#include "lib/util.h"

struct counters {
        uint64_t n_done, n_failed, n_retried;
        int64_t epoch_ns;         /* CLOCK_MONOTONIC of submission; negative: before this boot */
        uint64_t runner_start_ns; /* CLOCK_MONOTONIC, 0: it never ran */
        uint64_t runner_end_ns;   /* 0: it did not come to its end */
        uint32_t condition;       /* enum ppp_condition */
};

/* -EBADMSG when the file is no results file any more. */
int counters_read(int results_fd, struct counters *ret);

/*
 * What the records say, all of them, also of a worker that died before it added its own to the
 * header: takes half a second for a hundred million.
 */
#define TALLY_OPEN_MAX 8

struct tally {
        uint64_t n_done, n_failed;
        uint64_t failures[_PPP_REASON_N]; /* failed tasks by reason; what is none of them counts as
                                             0 */
        uint64_t n_killed,
                n_oom; /* failed for their worker was killed; of these for want of memory */
        /*
         * Tasks that were claimed and have no record: in progress when the runner ended, or next in
         * a worker's chunk. The indexes of the first TALLY_OPEN_MAX, the number of all.
         */
        uint64_t n_open, open[TALLY_OPEN_MAX];
};

/* As many records as may be counted in the event loop: three milliseconds. A child counts more. */
#define COUNTERS_AT_ONCE 65536

/* -EBADMSG when the file is cut short. */
int counters_tally(int results_fd, uint64_t n_tasks, struct tally *ret);
