#pragma once

/*
 * Checks, before a job is admitted, that the limits of its spec can be enforced here: the daemon
 * may use the controllers that they need, and this machine has as much as the values say.
 */

#include "daemon/supervisor/base/host.h"
#include "daemon/supervisor/child/groups.h"
#include "lib/spec.h"

/*
 * -EDOM when a value is too low or more than the machine has, -EOPNOTSUPP when a limit cannot be
 * enforced here. @fault then says which limit (spec.limits.…), why, and what to do.
 */
int limit_check(const struct spec *spec, const struct groups *groups, const struct host *host,
                struct fault *fault);
