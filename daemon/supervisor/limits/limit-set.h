#pragma once

/* Puts a job's limits in force on its group, before the runner is born in it. */

#include "daemon/supervisor/child/child-group.h"
#include "daemon/supervisor/child/groups.h"
#include "lib/spec.h"

/*
 * On the job's own group, so that they bound its runner and all of its workers together. A negative
 * errno with @fault set when one of them is not in force.
 */
int limit_set(const struct spec *spec, const struct groups *groups, const struct child_group *group,
              struct fault *fault);

/* Says in the fault of a limit which one it was that could not be set. Returns the error. */
int limit_attempt(struct fault *fault);

/*
 * The nice value in force: the runner's own, or, where that may not be set, what the group's weight
 * amounts to. Weights are coarser at the end of the scale, where 17 may read as 18.
 */
int limit_get_nice(const struct child_group *group, pid_t runner, int wanted, int *ret);
