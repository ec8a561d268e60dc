#pragma once

/*
 * Nice values. Where the kernel groups tasks by session (sched_autogroup, sched(7)), a nice value
 * counts only within the session, and each runner has one of its own: there the session's value is
 * set too. Within a cgroup that has the cpu controller it counts only within that: cpu.weight.nice
 * is then what makes the job give way to others.
 */

#include "lib/fault.h"

/* Whether we may give a child this value. If not, @fault tells. */
bool priority_may_set(int nice, struct fault *fault);

/* Sets it for the calling process, which leads its session. Async-signal-safe. */
int priority_set(int nice);

/* The present value of process @pid. -ESRCH. */
int priority_get(int pid, int *ret);
