#pragma once

/*
 * The accounting makes a job's summary (include/pppctl/summary.schema.json): what the job was and
 * what it cost. The numbers come from three sources, each of which knows some of them best: the
 * job's cgroup (CPU, memory, pressure), the kernel's account of the runner and its children
 * (context switches, page faults), and the runner itself (latencies, its ring). A number that none
 * of them has is listed in "unavailable" with the reason; it is never 0.
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
        const struct spec *spec; /* with all defaults filled in */
        const struct counters *counters;
        enum job_reason reason;
        const char *reason_detail;       /* a sentence about @reason; NULL: there is none */
        uint64_t ended_ns;               /* CLOCK_MONOTONIC, when we found that the job had ended */
        const struct child_group *group; /* the job's, which still exists; NULL: it had none */
        /* The usage of the runner and of the children it has waited for; NULL: it is unknown. */
        const struct rusage *usage;
        const char *usage_reason; /* why @usage is unknown */
        int measures_fd;          /* the file with the runner's measures; -EBADF: it never ran */
        bool has_nice;            /* @nice was read from the runner */
        int nice;
        struct controller_changes controllers; /* of the group, since the job began */
        const struct limit_hits *hits;
        /* Level machines: whether the CPU time of nodes and Redis for this job alone is known. */
        bool has_nodes_usage;
        uint64_t nodes_user_usec, nodes_system_usec;
        const char *nodes_usage_reason; /* why that CPU time is unknown; static */
        bool resumed; /* the job was interrupted, and the runner's measures cover its last part */
        bool carried; /* record->parts has the usage of all parts, the last one included */
};

/* How many threads or processes the runner could not make, as it wrote to @measures_fd. */
uint64_t accounting_read_refused(int measures_fd);

/*
 * Adds up what all parts of the job have used until now, including the part that has just ended,
 * for record->parts. A new reference; NULL when out of memory.
 */
json_t *accounting_carry(const struct accounting *accounting);

/* The CPU time in record->parts, in seconds, as far as it is known; 0 for NULL. */
double accounting_cpu_seconds(const json_t *parts);

/*
 * Makes the summary, a new reference; NULL when out of memory. Any other error is told in it.
 * *@ret_parts is what accounting_carry() would give, for when the job is run again.
 */
json_t *accounting_summarize(const struct accounting *accounting, json_t **ret_parts);
