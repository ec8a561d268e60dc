#pragma once

/* What the command line means: levels and workloads by their names, jobs, the spec of a job. */

#include "cli/args.h"
#include "lib/spec.h"

/* Each returns 0 or CLI_USAGE, and says what names there are and which was likely meant. */
int choose_level(const char *name, enum level *ret);
/* Also a level with its executor: "async+threads". */
int choose_way(const char *name, enum level *ret_level, enum executor *ret_executor);
int choose_workload(const char *name, enum workload_id *ret);

/* The only operand of the verbs about one job. */
int choose_job(const struct args *args, uint64_t *ret);

/* Refuses operands for verbs that take none. */
int choose_nothing(const struct args *args);

/* The spec the options describe; free with spec_deinit(). */
int choose_spec(const struct args *args, enum level level, enum workload_id workload,
                struct spec *ret);
