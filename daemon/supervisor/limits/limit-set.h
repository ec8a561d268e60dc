#pragma once

/* Sets a job's limits on its cgroup before the runner is started there. */

#include "daemon/supervisor/child/child-group.h"
#include "daemon/supervisor/child/groups.h"
#include "lib/spec.h"

/*
 * The limits are set on the job's own group, so that they hold for its runner and all its workers
 * together. When one of them is not in force, returns a negative errno and sets @fault.
 */
int limit_set(const struct spec *spec, const struct groups *groups, const struct child_group *group,
              struct fault *fault);

/* Says in the fault of a limit which one it was that could not be set. Returns the error. */
int limit_attempt(struct fault *fault);

/*
 * Gets the nice value in force: the runner's own or, where we may not set that, the one that
 * corresponds to the group's weight. Weights are coarser near nice 19: a 17 may be read as 18.
 */
int limit_get_nice(const struct child_group *group, pid_t runner, int wanted, int *ret);
