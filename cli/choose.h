#pragma once

/* Turns words of the command line into levels, workloads, jobs and the spec of a job. */

#include "cli/args.h"
#include "lib/spec.h"

/*
 * Each returns 0, or prints the names there are and which was likely meant, and returns CLI_USAGE.
 */
int choose_level(const char *name, enum level *ret);
/* Also a level with its executor: "async+threads". */
int choose_way(const char *name, enum level *ret_level, enum executor *ret_executor);
int choose_workload(const char *name, enum workload_id *ret);

/* A job by its number. */
int choose_job_number(const char *text, uint64_t *ret);

/* The only operand of the verbs about one job. */
int choose_job(const struct args *args, uint64_t *ret);

/* Refuses operands for verbs that take none. */
int choose_nothing(const struct args *args);

/* The spec the options describe; free with spec_deinit(). */
int choose_spec(const struct args *args, enum level level, enum workload_id workload,
                struct spec *ret);

/* Refuses options about commands for a workload that runs none. */
int choose_no_command(const struct args *args, enum workload_id workload);

/* The spec of a job that `pppctl run` with these arguments runs; free with spec_deinit(). */
int choose_run(const struct args *args, struct spec *ret);
