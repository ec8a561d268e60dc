#pragma once

/* What the files of the job share with each other and nobody else. */

#include "daemon/supervisor/jobs/job.h"

/* job.c: makes job->child ready to be started. */
void job_init_child(struct job *job);

/* job.c: releases what a run holds: the ended child with its group, sources, descriptors, the demo
 * server. */
void job_end_run(struct job *job);

/*
 * job-note.c: how a former supervisor noted the job to have ended. -ENOENT, -EBADMSG: it has not.
 */
struct noted_end {
        struct ppp_end note;
        enum job_state state;
        enum job_reason reason;
        const char *detail; /* within @note; NULL: none */
};

int job_read_note(const struct job *job, struct noted_end *ret);

/*
 * job.c: notes what the job's group and those above it count, for limit_hits_read(); @late when it
 * may have met limits before.
 */
void job_read_chain(struct job *job, bool late);

/* job-start.c: what to do about an error at the start of the runner; NULL: what fits the error. */
const char *job_start_hint(const struct job *job, int error);

/*
 * job-start.c: there is a runner, and another that may have to be started later is not put off for
 * longer.
 */
void job_note_begun(struct job *job);

/* job-start.c: the child has become the runner, or has said why it cannot. */
void job_on_begun(struct child *child);

/* job-stop.c: asks the runner to end, and sees to it that it does. */
void job_terminate(struct job *job);

/* job-freeze.c: advice for an error of child_freeze(); NULL: what fits any such error. */
const char *job_freeze_hint(int error);

/* Freezes a job that was paused before that could be done. If it cannot be, the job continues, and
 * that is told. */
void job_freeze_late(struct job *job);

/* job-end.c: decides what becomes of a job of which nothing runs. The job may be gone after this.
 */
void job_finish(struct job *job);
void job_on_ended(struct child *child);

/*
 * job-again.c: carries on with a job whose runner is gone, or was another than ours: takes over the
 * process that works on it, else starts a runner, or waits until it can. The job may be gone after
 * this.
 */
void job_start_again(struct job *job);

/* The same, in a while: the start has failed for a reason that passes. The job keeps its slot. */
void job_start_later(struct job *job, const struct fault *fault);

/* Whether it is not known yet what becomes of a running job whose runner is gone. */
static inline bool job_is_between_runners(const struct job *job)
{
        return job->record.state == JOB_RUNNING && (job->rewinds || job->again_source);
}

/* job-cpu-time.c: watches how much of the job's CPU time is used up, while it runs. */
int job_watch_cpu_time(struct job *job);
