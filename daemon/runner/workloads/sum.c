/*
 * sum: 0 + 1 + … + n-1, one addition after the other, as Python's sum(range(n)) does. The compiler
 * may neither fold the loop into n*(n-1)/2 nor vectorise it: every step goes through an opaque
 * register.
 */

#include <pppctl/workload.h>

#include "daemon/runner/workloads/number.h"
#include "lib/util.h"

#define STEPS_PER_CHECK UINT64_C(65536) /* 20 us */

static int run(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        uint64_t n, i = 0, total = 0;
        int r;

        r = number_parse(task, input, n_input, NUMBER_MAX, PPP_TOO_LARGE_NUMBER, &n);
        if (r < 0)
                return r;
        while (i < n) {
                uint64_t stop = MIN(n, i + STEPS_PER_CHECK);

                for (; i < stop; ++i) {
                        __asm__ volatile("" : "+r"(i));
                        total += i;
                }
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        *ret_value = total;
        return 0;
}

const struct ppp_workload workload_sum = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "sum",
        .run = run,
};
