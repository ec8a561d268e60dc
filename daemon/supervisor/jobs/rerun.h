#pragma once

/* Running tasks of a job again that has ended, in that job. */

#include "daemon/supervisor/jobs/jobs.h"

/*
 * Queues the ended job in @record again: for its tasks without a result, and those that failed for
 * one of @reasons (bits by enum ppp_reason, RESULTS_ANY_REASON). @spec is the job's, perhaps with
 * other limits. Both are moved in, also on failure. That it was asked for is kept: from then on it
 * is done whatever happens to this supervisor. A negative errno with @fault: the job is as it was.
 */
int jobs_rerun(struct jobs *jobs, struct job_record *record, struct spec *spec, uint64_t reasons,
               struct fault *fault);
