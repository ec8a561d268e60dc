#pragma once

/* Functions that the files of the jobs share with each other and nobody else. */

#include "daemon/supervisor/jobs/jobs.h"

/* After this time the database is asked again to store what it did not take. */
#define SAVE_USEC UINT64_C(5000000)

/* jobs.c: timers are made once, at the start, so that arming one later needs no memory. */
void jobs_arm(sd_event_source *source, uint64_t usec);

/* jobs.c: out of the queue, or of those that run. */
void jobs_take_out(struct jobs *jobs, struct job *job);

/*
 * jobs-start.c: notes in @record where the job is about to run. To be stored before its runner is
 * there: a supervisor that dies right after the start must be followed by one that knows where to
 * find it.
 */
int jobs_note_group(struct jobs *jobs, struct job_record *record);

/*
 * jobs-start.c: starts a job of the queue that has its slot, room for its results, and a row that
 * says so. 0 when it runs, or is put off; else a negative errno, and it has failed and is gone.
 */
int jobs_start_stored(struct jobs *jobs, struct job *job, struct fault *fault);

/*
 * jobs-start.c: starts or resumes as many as may be; after a job has ended, and for a timer, those
 * that were put off.
 */
int jobs_on_start(sd_event_source *source, void *userdata);
void jobs_retry_wants(struct jobs *jobs);
int jobs_on_retry(sd_event_source *source, uint64_t usec, void *userdata);

/* jobs-end.c: writes the job's row, and once it has ended what it adds to the totals; logs a
 * fault. */
int jobs_save(struct jobs *jobs, struct job *job);

/*
 * jobs-end.c: env->changed, env->ended, and the timer that stores what could not be stored at once.
 */
void jobs_on_changed(struct job_env *env, struct job *job);
void jobs_on_ended(struct job_env *env, struct job *job);
int jobs_on_save(sd_event_source *source, uint64_t usec, void *userdata);

/* jobs-pause.c: lets a paused job go on whose turn has come. */
void jobs_resume_next(struct jobs *jobs, struct job *job);

/* jobs.c: advice for when the database did not take something; NULL: what fits any such error. */
const char *jobs_busy_hint(int error);

/* jobs-end.c: tries once more to store all that is not, and lets go of it. */
void jobs_give_up_unsaved(struct jobs *jobs);
