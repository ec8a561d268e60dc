#pragma once

/* The workloads that the runner has. */

#include <pppctl/workload.h>
#include "lib/workload.h"

extern const struct ppp_workload workload_words, workload_sum, workload_sum_array, workload_sleep,
        workload_mix;

/* By enum workload_id. */
extern const struct ppp_workload *const builtin_workloads[_WORKLOAD_N];
