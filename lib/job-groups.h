#pragma once

/*
 * The settings of the groups below a job's own. The runner, which makes these, sets them; and a
 * supervisor that takes the job over sets them again after its controllers were disabled (see
 * limit-restore.h).
 */

#include "lib/spec.h"

/*
 * Sets up the group of one worker at the processes level: its limits, and that all of its processes
 * are killed when the kernel has to kill one of them. A negative errno with @fault set.
 */
int worker_group_limit(int fd, const struct spec *spec, struct fault *fault);

/*
 * The same for the group of one task, task-K, whose command runs there: spec->task_limits, and that
 * all of its processes are killed when the kernel has to kill one of them.
 */
int task_group_limit(int fd, const struct spec *spec, struct fault *fault);

/* True when the group lacks the controllers for what worker_group_limit() sets. */
bool worker_group_lacks_controllers(int fd, const struct spec *spec);

/*
 * Passes the cpu controller on from the runner's group to those of threads: only controllers that
 * know threads can be passed on there, and only this one is useful.
 */
int thread_groups_pass_on_cpu(int runner_fd);

/* Sets the weight of the group thread-@i, where the spec has weights. -ERANGE: the kernel took
 * another. */
int thread_group_weigh(int runner_fd, const struct spec *spec, unsigned i);
