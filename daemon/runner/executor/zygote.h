#pragma once

/*
 * The zygote: a process of one thread that starts the processes of all executors of a job, and
 * starts them again when they die. It is their parent, so it learns how each died, and gives that
 * reason to the call that the process was at (trays.h).
 *
 * The runner itself could not do that later on: its loops are threads, and so are libcurl's
 * resolvers; the child of such a process may find any lock held by a thread that it does not have,
 * the allocator's among them. The zygote is forked when all rings are set up and no loop runs yet:
 * then the other loops' threads wait to be let go and hold no lock. From there it and its children
 * have the descriptors of the rings, which no Unix socket could bring them (since Linux 6.7), and
 * the memory that was shared before. What is loaded later, a process does not have.
 *
 * Each process is born into a cgroup of its own where there is one for the job, as a worker of the
 * level processes is. Nothing survives its parent: the zygote dies with the runner, and the
 * processes with the zygote.
 */

#include "daemon/runner/executor/pool.h"

struct zygote;

/*
 * Starts the processes of @pools, on the runner's main thread while no loop runs. If not all can be
 * started, those that could be do the work, and more are tried from time to time, which is logged.
 * Returns 0, or a negative errno, logged, if one of the pools has no process.
 */
int zygote_start(struct runner *runner, struct pool *const *pools, unsigned n, struct zygote **ret);

/* Ends the processes, whatever they do, and waits until they are gone. */
struct zygote *zygote_stop(struct zygote *zygote);
