#pragma once

#include "cli/args.h"
#include "cli/client.h"

/*
 * Waits until the job pppd->job has ended, and shows its summary; Ctrl-C leaves, and the job
 * continues. Returns the exit status that tells how it ended, or prints the error and returns one.
 */
int wait_for_job(const struct args *args, struct pppd *pppd);
