#include "daemon/runner/workloads/workloads.h"

const struct ppp_workload *const builtin_workloads[_WORKLOAD_N] = {
        [WORKLOAD_WORDS] = &workload_words,
        [WORKLOAD_SUM] = &workload_sum,
        [WORKLOAD_SUM_ARRAY] = &workload_sum_array,
        [WORKLOAD_SLEEP] = &workload_sleep,
        [WORKLOAD_MIX] = &workload_mix,
};
