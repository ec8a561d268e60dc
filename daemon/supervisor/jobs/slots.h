#pragma once

/*
 * Slots: the right of a job to run, of which there are max_running. Users take turns for one that
 * gets free; none but root and our own may hold so many that no other user's job could start. A
 * paused job gives its slot up and waits for one when it is resumed.
 */

#include "daemon/supervisor/jobs/jobs.h"

/* Whether one more job of @owner may run now. */
bool slots_may_run(const struct jobs *jobs, uid_t owner);

/* The job whose turn it is to be started, or (JOB_RUNNING) resumed; NULL: none may now. */
struct job *slots_next(struct jobs *jobs);

/* @job takes a slot, and its owner a turn. Never refused: slots_may_run() was asked, or it runs
 * already. */
void slots_take(struct jobs *jobs, struct job *job);

/* @job, which was not started after all, waits for its turn again. */
void slots_put_back(struct jobs *jobs, struct job *job);

/* After @job was paused: another may run in its stead, unless too many are frozen already. */
void slots_give_up(struct jobs *jobs, struct job *job);

/* Whatever @job is charged with is released. */
void slots_release(struct jobs *jobs, struct job *job);
