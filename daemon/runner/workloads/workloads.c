#include "daemon/runner/workloads/workloads.h"

const struct ppp_workload *const builtin_workloads[_WORKLOAD_N] = {
#define WORKLOAD_ROW(number, name) [number] = &workload_##name,
        WORKLOADS(WORKLOAD_ROW)
#undef WORKLOAD_ROW
};
