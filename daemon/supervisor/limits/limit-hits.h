#pragma once

/*
 * The limits that a job ran into, and whose they are: its workers', its own, or those of a group
 * above it. They are found in the kernel's counts while the job's group is there, and put in words.
 *
 * The kernel counts in each group how often it had to kill for that group's memory.max
 * (memory.events.local). Since Linux 6.11 it counts refused forks in the same way
 * (pids.events.local). Before that it counted them where somebody forked, and a pids.max is only
 * known to have been reached at some time (pids.peak). Since 6.11, in turn, it does not tell whose
 * forks a group above the job's has refused: the job's are those that its runner has seen refused.
 */

#include "daemon/supervisor/kept/counters.h"
#include "daemon/supervisor/kept/outcome.h"
#include "lib/cgroup-chain.h"
#include "lib/spec.h"

enum limit_place {
        PLACE_WORKER,
        PLACE_JOB,
        PLACE_ABOVE,
};

struct limit_met {
        enum limit_place place;
        char *group;  /* the name of a group above, "pppd.slice"; owned */
        uint64_t max; /* the limit; UINT64_MAX: it is not there any more */
        uint64_t n;   /* how often it was met; 0: the kernel does not tell */
};

struct limit_hits {
        bool runner_oom_killed;
        bool has_refused;
        uint64_t n_refused; /* forks that pids.max refused, where @has_refused */
        const char
                *why_no_refused; /* static; NULL also where there is no controller, or no group */
        struct {
                struct limit_met *met; /* nearest first; owned */
                size_t n;
                bool sure; /* no limit that was met is missing */
        } limits[_CHAIN_LIMIT_N];
};

#define LIMIT_HITS_NULL                    \
        {                                  \
                .runner_oom_killed = false \
        }

struct limit_look {
        int group_fd;                      /* the job's group; -EBADF: it has none */
        const struct cgroup_chain *before; /* that group and those above, when the job began */
        bool began_later;                  /* @before was read when the job had run for a while */
        uint64_t n_runner_refused;         /* threads and processes that the runner was refused */
        const struct spec *spec;
};

/* A limit whose files can't be read counts as not met. -ENOMEM: nothing is in @ret. */
int limit_hits_read(const struct limit_look *look, struct limit_hits *ret);
void limit_hits_deinit(struct limit_hits *hits);

/* Puts the blame where the limits say it belongs. */
struct outcome limit_blame(struct outcome outcome, const struct limit_hits *hits);

/*
 * Makes the sentence "the kernel refused 5 processes or threads: pids.max of the job is 4". @tally
 * is NULL where it is not known. NULL: memory is short, or @reason is none of a limit.
 */
char *limit_describe(enum job_reason reason, const struct limit_hits *hits, const struct spec *spec,
                     const struct tally *tally);

/* Makes "pids.max of the job is 4, or pids.max of a worker is 2"; "" when none was met. NULL: no
 * memory. */
char *limit_describe_met(const struct limit_hits *hits, enum chain_limit limit);

/* The summary's limits_met: a new reference, NULL when out of memory. */
json_t *limit_hits_to_json(const struct limit_hits *hits);
