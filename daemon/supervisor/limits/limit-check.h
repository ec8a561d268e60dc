#pragma once

/*
 * Whether the limits of a spec can be had here, before the job is admitted: the controllers they
 * take are the daemon's to use, and the values are ones this machine has.
 */

#include "daemon/supervisor/base/host.h"
#include "daemon/supervisor/child/groups.h"
#include "lib/spec.h"

/*
 * 0, -EDOM when a value is past the machine or too low, -EOPNOTSUPP when a limit can't be enforced
 * here; then @fault tells which (spec.limits.…), why, and what to do.
 */
int limit_check(const struct spec *spec, const struct groups *groups, const struct host *host,
                struct fault *fault);
