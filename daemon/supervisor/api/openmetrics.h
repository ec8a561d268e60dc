#pragma once

/*
 * The text of OpenMetrics 1.0: what the daemon knows now, and the totals of all jobs there were.
 * Labels are few and their values come from small sets: never a job's number, a user or an input.
 */

#include "daemon/supervisor/jobs/jobs.h"

/* *@ret is the caller's to free. -ENOMEM, or the database's error. */
int openmetrics_write(struct jobs *jobs, char **ret);
