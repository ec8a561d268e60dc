#pragma once

/*
 * The limits that a job has reached, and to whom each belongs: a task, a worker, the job itself, or
 * a group above the job's. They are read from the kernel's counts while the job's group exists, and
 * are put into words (limit-text.c).
 *
 * The kernel counts in each group how often it had to kill for that group's memory.max
 * (memory.events.local). Since Linux 6.11 it counts refused forks in the same way
 * (pids.events.local). Before 6.11 it counts a refused fork in the group of the process that forks,
 * and all one knows of a group's pids.max is whether it was ever reached (pids.peak). Since 6.11,
 * on the other hand, one does not know whose forks a group above the job's has refused: the job is
 * charged with as many as its runner has seen refused.
 */

#include "daemon/supervisor/kept/counters.h"
#include "daemon/supervisor/kept/outcome.h"
#include "lib/cgroup-chain.h"
#include "lib/spec.h"

enum limit_place {
        PLACE_TASK,
        PLACE_WORKER,
        PLACE_JOB,
        PLACE_ABOVE,
};

struct limit_met {
        enum limit_place place;
        char *group;  /* for PLACE_ABOVE: the group's name, such as "pppd.slice"; owned */
        uint64_t max; /* the limit's value; UINT64_MAX: the limit does not exist any more */
        uint64_t n;   /* how often the limit was reached; 0: the kernel does not tell */
};

struct limit_hits {
        bool runner_oom_killed;
        bool has_refused;
        uint64_t n_refused;       /* forks that pids.max refused, where @has_refused */
        uint64_t n_refused_tasks; /* of them, those that the task's own limit refused a command */
        /* Why @has_refused is false, static; NULL also where there is no controller or no group. */
        const char *why_no_refused;
        struct {
                struct limit_met *met; /* nearest first; owned */
                size_t n;
                bool sure; /* the list is known to be complete */
        } limits[_CHAIN_LIMIT_N];
};

#define LIMIT_HITS_NULL                    \
        {                                  \
                .runner_oom_killed = false \
        }

struct limit_look {
        int group_fd;                      /* the job's group; -EBADF: the job has none */
        const struct cgroup_chain *before; /* the job's group and those above, when the job began */
        bool began_later;                  /* @before was read only after the job had run a while */
        uint64_t n_runner_refused;         /* threads and processes refused to the runner */
        const struct spec *spec;
};

/* A limit whose files cannot be read counts as not reached. -ENOMEM: @ret has nothing to free. */
int limit_hits_read(const struct limit_look *look, struct limit_hits *ret);
void limit_hits_deinit(struct limit_hits *hits);

/* Corrects @outcome where a limit, and not the runner, is to blame for it. */
struct outcome limit_blame(struct outcome outcome, const struct limit_hits *hits);

/*
 * Makes the sentence "the kernel refused 5 processes or threads: pids.max of the job is 4"; the
 * caller frees it. @tally may be NULL when it is not known. NULL: out of memory, or @reason is not
 * that of a limit.
 */
char *limit_describe(enum job_reason reason, const struct limit_hits *hits, const struct spec *spec,
                     const struct tally *tally);

/*
 * Makes "pids.max of the job is 4, or pids.max of a worker is 2", or "" when no limit was reached;
 * the caller frees it. NULL: out of memory.
 */
char *limit_describe_met(const struct limit_hits *hits, enum chain_limit limit);

/* The summary's limits_met: a new reference, NULL when out of memory. */
json_t *limit_hits_to_json(const struct limit_hits *hits);
