#pragma once

/* The errors of io.pppctl.Jobs and of org.varlink.service as sentences and exit statuses. */

#include <jansson.h>

#include "lib/util.h"

/*
 * Says that one cannot "@attempted" because of @error (its full name) with @parameters, and returns
 * the exit status. @job: what the call was about, 0 for none.
 */
int say_varlink_error(const char *attempted, uint64_t job, const char *error, json_t *parameters);
