#pragma once

/*
 * The runner of one owner's chunks in a node (docs/machines.md): takes them from Redis and runs
 * them here. The keeper (keeper.h) has one for each owner who has chunks. Theory of operation:
 *
 * Two processes. This one has one thread and talks to Redis: it reads chunks as far as there is
 * room, puts them into the feed (feed.h), and sends back the records of those that ended. The
 * other, forked from it before anything else, is a runner like that of any job: it runs a level
 * whose workers take from the feed. A workload that crashes a whole level kills only that process:
 * tasks in progress get a record that says so, the rest of the chunks in hand goes back, and the
 * level is started again.
 *
 * Its parts, each of which may use those before it: the streams that chunks are read from
 * (streams.h), the jobs they belong to (node-jobs.h), their way through the node (chunks.h), taking
 * over those of silent nodes (look.h), keeping our own (beat.h); and the other process
 * (level-process.h).
 */

#include "daemon/runner/runner.h"
#include "lib/machines.h"

/* The memory in which an owner's runner and the keeper tell each other their state. */
struct owner_share {
        /* By the runner. */
        uint64_t load; /* tasks in hand that have no record */
        uint64_t n_done, n_failed;
        uint32_t n_held; /* chunks in hand */
        /* By the keeper. */
        uint64_t wanted_ns; /* when the owner was last heard of */
        uint32_t yields;    /* others wait: it takes no more, and ends when it has nothing */
};

/* How a node serves: the settings that it was started with. */
struct node_terms {
        struct machines machines;
        struct spec spec;           /* filled: level, workers, loops, limits of workers */
        unsigned workloads;         /* bits: those it is willing to run */
        char *demo_url;             /* NULL: none */
        struct limits owner_limits; /* of the group of each owner's runner */
        unsigned owners_max;        /* that have a runner at once */
};

/* The object in RUNNER_FD_SPEC; errors have been logged. */
int runner_read_json(json_t **ret);

/* node-terms.c: reads it as the spec of a node. Errors have been logged. */
int node_terms_read(struct node_terms *terms);
void node_terms_deinit(struct node_terms *terms);

/*
 * Serves the owner until nobody needs that, or until SIGTERM: this is all that a process forked for
 * it does. @cgroup_fd: the directory of its own group, or -EBADF. Returns an exit status.
 */
int node_serve(const struct node_terms *terms, char *owner, struct owner_share *share,
               int cgroup_fd);
