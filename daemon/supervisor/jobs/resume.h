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

/*
 * What the header of the results file says, which also sets the counts in @record. It may be wrong:
 * whoever wrote it may have been killed. -EBADMSG: the file is damaged, or is another job's.
 */
int resume_read_results(const struct directory *directory, struct job_record *record,
                        struct counters *ret);

/*
 * Goes on with a job that nothing works on. It waits in the queue, and that is also where its
 * records are counted if they are many; where a dead runner left something behind, it waits for
 * that. The job may have ended and be gone after this.
 */
int resume_job(struct jobs *jobs, struct job *job);
