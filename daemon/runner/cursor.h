#pragma once

/*
 * The source of a job's tasks: a counter in the header of the results file, which all workers
 * share. They claim the next indexes by adding to it.
 */

#include "daemon/runner/source.h"

struct runner;

struct task_cursor {
        struct task_source source;
        struct runner *runner;
        struct task_set tasks; /* all of the job */
};

/* Makes the inputs, results and terms of @runner, which are filled in, its source. */
void task_cursor_init(struct task_cursor *cursor, struct runner *runner);
