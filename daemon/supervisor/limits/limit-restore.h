#pragma once

/*
 * Restores the limits of a job that outlived its supervisor. Before systemd 254 pppd-after-stop has
 * to disable all controllers in the service's cgroup, or the next supervisor could not be started
 * there; limits and counts of a controller are lost with it. From 254 on, and without systemd,
 * nothing is lost.
 */

#include "daemon/supervisor/child/child-group.h"
#include "daemon/supervisor/child/groups.h"
#include "lib/spec.h"

/* Bit sets of enum cgroup_controller. No controller in them has counted all that the job used. */
struct controller_changes {
        unsigned lost;   /* controllers that were disabled for a while and lost their counts */
        unsigned gained; /* controllers that were not enabled when the job's group was made */
};

/*
 * Enables the controllers in the job's group again, and sets the limits of the job, its workers and
 * its threads again. @ret is filled in any case. When a limit is not in force, returns a negative
 * errno and sets @fault.
 */
int limit_restore(const struct spec *spec, const struct groups *groups,
                  const struct child_group *group, struct controller_changes *ret,
                  struct fault *fault);
