#pragma once

/*
 * What the groups within a job's own are set to: by the runner, which makes them, and once more by a
 * supervisor that takes the job over after controllers were taken away from it (see limit-restore.h).
 */

#include "lib/spec.h"

/*
 * The group of one worker at the processes level: its limits, and that all of it goes when the kernel has to
 * kill one process of it. A negative errno with @error filled.
 */
int worker_group_limit(int fd, const struct spec *spec, struct spec_error *error);

/* True when the group has not got the controllers for what worker_group_limit() sets. */
bool worker_group_lacks_controllers(int fd, const struct spec *spec);

/*
 * Passes the cpu controller on from the runner's group to those of threads: of all controllers only those
 * that know threads may be, and one is of use.
 */
int thread_groups_pass_on_cpu(int runner_fd);

/* The weight of the group thread-@i, where the spec has weights. -ERANGE: the kernel took another. */
int thread_group_weigh(int runner_fd, const struct spec *spec, unsigned i);
