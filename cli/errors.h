#pragma once

/* The errors of io.pppctl.Jobs and of org.varlink.service as sentences and exit statuses. */

#include <jansson.h>

#include "lib/spec.h"

/*
 * Prints "cannot @attempted" and the reason, from @error (its full name) and its @parameters, and
 * returns the exit status. @job: the job that the call was about, 0 for none.
 */
int say_varlink_error(const char *attempted, uint64_t job, const char *error, json_t *parameters);

/* Says, as pppd's BadRequest would be said, that one cannot "@attempted"; returns CLI_USAGE. */
int say_spec_fault(const char *attempted, const struct fault *fault);
