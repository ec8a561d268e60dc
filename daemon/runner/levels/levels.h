#pragma once

/* A level runs the whole job with workers of its kind. */

#include "daemon/runner/runner.h"

/* Returns 0, also when the job was cancelled, or a negative errno after log_error(). */
typedef int level_run(struct runner *runner);

/* level_serial_run() and so on, one for each of LEVELS. */
#define LEVEL_DECLARATION(number, name) level_run level_##name##_run;
LEVELS(LEVEL_DECLARATION)
#undef LEVEL_DECLARATION

level_run *level_run_of(enum level level);
