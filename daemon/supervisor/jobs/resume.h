#pragma once

/*
 * Taking up what a former supervisor left. The cgroup is the identity of a running job: one that is
 * populated is adopted with its runner; where there is none, the lock on the results file tells who
 * the runner is. Of the others what has no record yet is run again.
 */

#include "daemon/supervisor/jobs/jobs.h"

/*
 * A negative errno, and it has been logged, when the database can't be read, or a job can't be
 * taken up for a reason that may pass or be mended: then nothing else is touched. What is wrong
 * with one job for good fails it.
 */
int resume_jobs(struct jobs *jobs);
