#pragma once

/*
 * Forgets jobs that have ended: by number, by age, and those of a user that take too much on disk.
 */

#include "daemon/supervisor/jobs/jobs.h"

/* 1: one was forgotten, with its files; 0: there is none to forget. A negative errno was logged. */
int prune_one(struct jobs *jobs);
