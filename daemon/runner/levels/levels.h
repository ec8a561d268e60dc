#pragma once

/* A level runs the whole job with workers of its kind. */

#include "daemon/runner/runner.h"

/* Returns 0, also when the job was cancelled, or a negative errno after log_error(). */
typedef int level_run(struct runner *runner);

level_run level_serial_run;
level_run level_threads_run;
level_run level_processes_run;
level_run level_async_run;
level_run level_machines_run;

level_run *level_run_of(enum level level);
