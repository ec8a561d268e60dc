#pragma once

/*
 * The progress counters in the header of a results file. They are read by pread(2), never through a
 * mapping: a runner that cuts its file short must not take the supervisor down with a SIGBUS.
 */

#include <pppctl/results.h>

#include "lib/spec.h"

struct counters {
        uint64_t n_done, n_failed, n_retried;
        int64_t epoch_ns;         /* CLOCK_MONOTONIC of submission; negative: before this boot */
        uint64_t runner_start_ns; /* CLOCK_MONOTONIC; 0: no runner ever ran */
        uint64_t runner_end_ns;   /* CLOCK_MONOTONIC; 0: the runner did not finish */
        uint64_t again_ns;        /* since the epoch, when it was asked to run again; 0: never */
        uint32_t condition;       /* enum ppp_condition */
};

/* CLOCK_MONOTONIC when the job was submitted, or asked to run again; as epoch_ns. */
static inline int64_t counters_began(const struct counters *counters)
{
        return counters->epoch_ns + (int64_t)counters->again_ns;
}

/* Both times count from this boot. A time before it is negative, even if its type is unsigned. */
static inline uint64_t time_between(int64_t from_ns, uint64_t to_ns)
{
        int64_t passed = (int64_t)(to_ns - (uint64_t)from_ns);

        return (uint64_t)MAX(passed, 0);
}

/* -EBADMSG when the file is no longer a results file. */
int counters_read(int results_fd, struct counters *ret);

/*
 * A tally counts all records one by one, and so includes those of a worker that died before it
 * added its counts to the header. Counting a hundred million records takes half a second.
 */
#define TALLY_OPEN_MAX 8

struct tally {
        uint64_t n_done, n_failed;

        /*
         * Those of a job that was run again which have ended since, all of any other: done, and
         * failed by reason; [0]: an unknown reason.
         */
        uint64_t n_done_lately, failures[_PPP_REASON_N];

        /* Tasks whose worker was killed, and how many of these were killed for lack of memory. */
        uint64_t n_killed, n_oom;
        /*
         * Tasks that were claimed and have no record: they were in progress when the runner ended,
         * or next in a worker's chunk. n_open counts all of them, open[] has the indexes of the
         * first TALLY_OPEN_MAX.
         */
        uint64_t n_open, open[TALLY_OPEN_MAX];
};

/* Up to this many records are counted in the event loop (three milliseconds), more by a child. */
#define COUNTERS_AT_ONCE 65536

/* -EBADMSG when the file has been cut short. */
int counters_tally(int results_fd, uint64_t n_tasks, struct tally *ret);

/*
 * Makes "; inputs 3, 7 were in progress or next", with inputs counted from 1; "" when that is not
 * known, @tally is NULL then or has none. The caller frees it. NULL: out of memory.
 */
char *tally_describe_open(const struct tally *tally, const struct spec *spec);
