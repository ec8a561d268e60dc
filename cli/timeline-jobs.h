#pragma once

/* Gets jobs and their results from the daemon, and prints their timelines for this terminal. */

#include "cli/client.h"
#include "cli/output.h"

struct timeline_choice {
        uint64_t job;
        const char *note; /* for people: why this one; NULL: the user named it */
};

/* Returns 0, or prints the error and returns an exit status. */
int timeline_print(struct pppd *pppd, const struct args *args,
                   const struct timeline_choice *choices, size_t n, struct output *output);

/* Columns to draw in; where standard output is no terminal, COLUMNS can say for which one it is. */
size_t timeline_width(void);
