#pragma once

/*
 * Writes the metrics as OpenMetrics 1.0: the daemon's present state, and the totals over all jobs
 * that ever ended. There are few labels, with few values: never a job's number, a user or an input.
 */

#include "daemon/supervisor/jobs/jobs.h"

/* The caller frees *@ret. -ENOMEM, or the database's error. */
int openmetrics_write(struct jobs *jobs, char **ret);
