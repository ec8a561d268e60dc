#pragma once

/*
 * Limits of a job that outlived its supervisor. Before systemd 254 pppd-after-stop has to take all
 * controllers from the service's cgroup, or the next supervisor could not be started in it; with a
 * controller go the limits, and what it counted. From 254 on, and without systemd, all is as it
 * was.
 */

#include "daemon/supervisor/child/child-group.h"
#include "daemon/supervisor/child/groups.h"
#include "lib/spec.h"

/* Bit sets of enum cgroup_controller: neither kind can tell all that the job has used. */
struct controller_changes {
        unsigned lost;   /* taken away for a while, with what they had counted */
        unsigned gained; /* not there when the job's group was made */
};

/*
 * Passes the controllers on to the job's group again, and sets the limits of the job, of its
 * workers and of its threads again. @ret is filled in any case. A negative errno with @fault set
 * when a limit is not in force.
 */
int limit_restore(const struct spec *spec, const struct groups *groups,
                  const struct child_group *group, struct controller_changes *ret,
                  struct fault *fault);
