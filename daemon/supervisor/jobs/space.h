#pragma once

/*
 * Room on disk: how much the jobs of one user may take, and how much of the file system they leave
 * free. Charged when a job is admitted, by what it will take in the end; taken when it starts. Of
 * root and the daemon's own user nothing is asked but that there is room.
 */

#include "daemon/supervisor/jobs/jobs.h"

/*
 * Bytes that a job with @n_inputs bytes of inputs will have taken, but for what its commands print,
 * which nobody knows.
 */
uint64_t space_of_job(const struct spec *spec, size_t n_inputs, uint64_t n_tasks);

/* Bytes that one user's jobs may take. */
uint64_t space_user_max(const struct jobs *jobs);

/*
 * Whether a job of @owner may be admitted that takes @now bytes at once and @size in the end. Else
 * -ENOSPC or -EDQUOT and @fault.
 */
int space_check(const struct jobs *jobs, uid_t owner, uint64_t size, uint64_t now,
                struct fault *fault);

/* Whether that is what @fault tells. */
bool space_is_short(const struct fault *fault);

/*
 * Reserves what the job's results take, before it starts. A negative errno and @fault: it can't
 * be had.
 */
int space_reserve(const struct jobs *jobs, struct job *job, struct fault *fault);

/* Whether that keeps others waiting, where file systems have to make what they reserve (tmpfs). */
bool space_takes_long(uint64_t n_tasks);

/*
 * The same by a child, for a job that is in the queue and has its slot: ends in
 * jobs_start_reserved(), at once where no child can be made.
 */
void space_reserve_and_start(struct jobs *jobs, struct job *job);
