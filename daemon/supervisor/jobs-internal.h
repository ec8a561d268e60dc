#pragma once

/* Functions that the files of the jobs share with each other and nobody else. */

#include "daemon/supervisor/jobs.h"

/* Until what the database did not take is tried again. */
#define SAVE_USEC UINT64_C(5000000)

/* jobs.c: timers are made once, at the start, so that arming one later needs no memory. */
void jobs_arm(sd_event_source *source, uint64_t usec);

/* jobs.c: out of the queue, or of those that run. */
void jobs_take_out(struct jobs *jobs, struct job *job);

/* jobs-end.c: writes the job's row, and once it has ended what it adds to the totals; logs a failure. */
int jobs_save(struct jobs *jobs, struct job *job);

/* jobs-end.c: env->changed, env->ended, and the timer that stores what could not be stored at once. */
void jobs_on_changed(struct job_env *env, struct job *job);
void jobs_on_ended(struct job_env *env, struct job *job);
int jobs_on_save(sd_event_source *source, uint64_t usec, void *userdata);

/* jobs-pause.c: lets a paused job go on whose turn has come. */
void jobs_resume_next(struct jobs *jobs, struct job *job);

/* jobs.c: advice for when the database did not take something; NULL: what fits any such error. */
const char *jobs_busy_hint(int error);

/* jobs-end.c: tries once more to store all that is not, and lets go of it. */
void jobs_give_up_unsaved(struct jobs *jobs);
