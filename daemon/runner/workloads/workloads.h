#pragma once

/* The workloads that the runner has. */

#include <pppctl/workload.h>
#include "lib/workload.h"

/* workload_words and so on, one for each of WORKLOADS. */
#define WORKLOAD_DECLARATION(number, name) extern const struct ppp_workload workload_##name;
WORKLOADS(WORKLOAD_DECLARATION)
#undef WORKLOAD_DECLARATION

/* By enum workload_id. */
extern const struct ppp_workload *const builtin_workloads[_WORKLOAD_N];
