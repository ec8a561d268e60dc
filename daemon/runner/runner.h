#pragma once

/*
 * The runner: one process carrying one job. Theory of operation:
 *
 * The supervisor has put this process into the job's cgroup and handed it its descriptors
 * (lib/runner-abi.h). runner_main() maps inputs and results, picks the level, and the level makes
 * workers. Every worker, whatever it is made of, does the same: it claims a piece of the runner's
 * source of tasks (source.h) and runs each task to its record. Levels differ only in what a worker
 * is.
 *
 * SIGTERM cancels: it sets runner.cancelled and wakes everything that waits (blocking calls return
 * EINTR because the handler is installed without SA_RESTART; the async loops are told by
 * cancel_fd). A cancelled task leaves no record, so it may be run again later.
 */

#include <jansson.h>
#include <sys/resource.h>

#include "daemon/runner/cursor.h"
#include "daemon/runner/job-lock.h"
#include "daemon/runner/worker.h"
#include "lib/inputs.h"
#include "lib/memory-stat.h"
#include "lib/results.h"
#include "lib/spec.h"

/* Lives in memory that worker processes share, so that they see `cancelled`. */
struct runner {
        struct spec spec;                    /* filled: no member at "default" */
        const struct ppp_workload *workload; /* NULL: each set of tasks has its own, as in a node */
        struct inputs inputs;
        struct results results;
        struct task_source *source; /* of the tasks that its workers run: */
        struct task_cursor cursor;  /* in a job this; in a node a feed, node/feed.h */
        struct machines *machines;  /* at the level machines, where Redis is; else NULL */
        const char *job;            /* its number, as text */
        char *demo_url;             /* what "demo:" inputs are fetched from; NULL: no such input */
        struct job_lock lock;       /* for tasks, <pppctl/workload.h> */
        int cgroup_fd;              /* directory of the job's cgroup, -EBADF where there is none */
        int cancel_fd;              /* eventfd, readable once cancelled; for poll and rings */
        bool cancelled;             /* read with runner_cancelled() */
        bool halted;                /* it has come to what spec.halt says */
        uint64_t next_turn_ns;      /* with spec.delay_ns: of whoever asks next, */
        uint64_t last_start_ns;     /* and when the last task began; CLOCK_MONOTONIC */
        bool resuming;              /* some records are already there */
        unsigned connections_max;   /* levels/descriptors.h; 0: nothing bounds them */
        unsigned n_worker_groups;   /* ever made; a node's level may be started again */
        uint32_t n_task_groups;     /* ever made, by all workers */
        struct rlimit files_limit;  /* on open files, before it was raised for us */
        struct exec *exec;          /* what its tasks need to run commands; NULL: they run none */
        struct memory_stat memory_stat; /* of the job's group, while its workers were there */
        bool memory_asked, memory_told; /* once, and whether it could be read */
        uint64_t workers_rss_peak;      /* sum of the peak memory of worker processes, in bytes */
        json_t *measures;               /* the object written to RUNNER_FD_MEASURES at the end */
        json_t *unavailable;            /* its array of {"metric", "reason"} */
};

static inline bool runner_cancelled(const struct runner *runner)
{
        return __atomic_load_n(&runner->cancelled, __ATOMIC_RELAXED);
}

/* Wakes all that waits; async-signal-safe. */
void runner_cancel(struct runner *runner);

/*
 * After a task has its record: halts the job if it has come to that, as of the counts in the header
 * of its results.
 */
void runner_look_at_halt(struct runner *runner);

/* Takes a piece from the source; false: there is none now, or the job is cancelled. */
static inline bool worker_claim(struct worker *worker)
{
        struct task_source *source = worker->runner->source;

        assert(worker->next == worker->end);
        return source->ops->claim(source, worker);
}

/* Whether no task is left for the worker, or it is to run no more. */
static inline bool worker_is_done(const struct worker *worker)
{
        const struct runner *runner = worker->runner;

        return runner_cancelled(runner) || runner->source->ops->closed(runner->source, worker);
}

/* Idle connections that a worker which blocks may keep: its requests may go to several hosts in
 * turn. */
#define RUNNER_CONNECTIONS_MAX 16U

static inline unsigned runner_connections(const struct runner *runner)
{
        return runner->connections_max ?: RUNNER_CONNECTIONS_MAX;
}

/* One line on standard error, "pppd-runner: …"; what was attempted, on what, why, what to do. */
void log_error(const char *format, ...) _printf_(1, 2);

/* Measures: raw numbers under the summary's key, or the reason why there is none. */
void measure_integer(struct runner *runner, const char *key, uint64_t value);
void measure_real(struct runner *runner, const char *key, double value);
void measure_object(struct runner *runner, const char *key, json_t *value); /* steals value */
void measure_unavailable(struct runner *runner, const char *key, const char *reason);

/*
 * To be called by the worker that first finds nothing left to do, when all the others still exist.
 */
void measure_memory_of_workers(struct runner *runner);
