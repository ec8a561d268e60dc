#pragma once

/*
 * Which limits a job ran into, from the events of its group; and the sentences about that. To be read
 * while the group is there.
 */

#include "daemon/supervisor/counters.h"
#include "daemon/supervisor/groups.h"
#include "daemon/supervisor/outcome.h"
#include "lib/spec.h"

struct limit_hits {
        bool runner_oom_killed;
        uint64_t pids_refused;          /* forks that pids.max refused */
};

/* What can't be read (no such controller, no group) was not hit. */
void limit_hits_read(const struct job_group *group, struct limit_hits *ret);

/*
 * Before Linux 6.11 pids.events counts in the group that forks, later also in the one with the limit:
 * so the job's own count, or else the sum of the groups in it. -ENOENT without the controller.
 */
int limit_count_pids_refused(const struct job_group *group, uint64_t *ret);

/* Puts the blame where the limits say it belongs. */
struct outcome limit_blame(struct outcome outcome, const struct limit_hits *hits);

/*
 * "the kernel refused 5 processes or threads: pids.max of the job is 4". NULL: no memory, or no limit. @tally:
 * NULL where it is not known.
 */
char *limit_describe(enum job_reason reason, const struct limit_hits *hits, const struct spec *spec,
                     const struct tally *tally);
