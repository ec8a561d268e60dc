#pragma once

/*
 * What a job was and what it cost: the summary (include/pppctl/summary.schema.json). Facts come
 * from three places, each the better witness of its own: the job's cgroup (CPU, memory, pressure),
 * the kernel's account of the runner's process tree (switches, faults), and the runner itself
 * (latencies, its ring). What none of them could tell is listed in "unavailable" with the reason;
 * it is never 0.
 */

#include <jansson.h>
#include <sys/resource.h>

#include "daemon/supervisor/base/host.h"
#include "daemon/supervisor/child/child-group.h"
#include "daemon/supervisor/child/groups.h"
#include "daemon/supervisor/kept/counters.h"
#include "daemon/supervisor/kept/record.h"
#include "daemon/supervisor/limits/limit-hits.h"
#include "daemon/supervisor/limits/limit-restore.h"
#include "lib/spec.h"

struct accounting {
        const struct host *host;
        const struct groups *groups;
        const struct job_record *record;
        const struct spec *spec; /* filled */
        const struct counters *counters;
        enum job_reason reason;
        const char *reason_detail;       /* a sentence; NULL: none */
        uint64_t ended_ns;               /* CLOCK_MONOTONIC, when the job was found to have ended */
        const struct child_group *group; /* still there; NULL: the job had none */
        const struct rusage
                *usage;           /* of the runner and the children it waited for; NULL: unknown */
        const char *usage_reason; /* why it is unknown */
        int measures_fd;          /* what the runner wrote; -EBADF: it never ran */
        bool has_nice;            /* the runner was found to have it */
        int nice;
        struct controller_changes controllers; /* of the group, since the job began */
        const struct limit_hits *hits;
        bool has_nodes_usage; /* machines: CPU time of the nodes and the Redis for this job alone */
        uint64_t nodes_user_usec, nodes_system_usec;
        const char *nodes_usage_reason; /* why it is unknown, static */
        bool resumed; /* the job was interrupted: what its runner told is of its last part */
        bool carried; /* record->parts has all that ran */
};

/*
 * How many threads or processes the runner has told that it was refused, by what it wrote to
 * @measures_fd.
 */
uint64_t accounting_read_refused(int measures_fd);

/*
 * What the job has used until now, for record->parts: that of its parts before, and of the one that
 * has just ended. A new reference; NULL when out of memory.
 */
json_t *accounting_carry(const struct accounting *accounting);

/* The CPU time in record->parts, as far as it is known; 0 for NULL. */
double accounting_cpu_seconds(const json_t *parts);

/* A new reference; NULL when out of memory. Whatever else goes wrong is told in the summary. */
json_t *accounting_summarize(const struct accounting *accounting);
