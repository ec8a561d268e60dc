#pragma once

/*
 * The limit on open files (RLIMIT_NOFILE), divided before the workers start. A worker whose task
 * finds no descriptor could only fail it or wait for another's, with the task's time running; a
 * task that is not claimed yet loses no time. So where descriptors are few there are fewer workers,
 * and each keeps fewer idle connections.
 *
 * Only RLIMIT_NOFILE is looked at: where the whole machine is out of files (ENFILE), idle
 * connections are closed, and if there are none the task fails.
 */

#include "daemon/runner/runner.h"

/* As many as we may have: a task in flight can need one, a worker three. */
void descriptors_raise_limit(void);

/* For a level whose workers block: how many descriptors one of them may need in its own process. */
unsigned descriptors_of_blocking(const struct runner *runner);

/*
 * Lowers runner->spec.workers to what there are descriptors for, at least one, and says so in the
 * job's log; @per_worker may be 0. Sets runner->connections_max for workers in this process.
 */
void descriptors_share(struct runner *runner, unsigned per_worker);

/* The same for workers that are child processes, each with a table of its own. */
void descriptors_share_processes(struct runner *runner, unsigned per_worker);

/* The same for fibers. */
struct descriptors_of_loops {
        unsigned libcurl;   /* connections of libcurl, in all loops; 0: any number */
        unsigned resolving; /* names at a time, in all loops */
};

void descriptors_share_loops(struct runner *runner, unsigned n_loops,
                             struct descriptors_of_loops *ret);
