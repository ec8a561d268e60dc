/*
 * sum: 0 + 1 + … + n-1, one addition after the other, as Python's sum(range(n)) does. The compiler
 * may neither fold the loop into n*(n-1)/2 nor vectorise it: every step goes through an opaque
 * register.
 */

#include <pppctl/workload.h>

#include "daemon/runner/workloads/number.h"
#include "lib/util.h"

#define STEPS_PER_CHECK UINT64_C(65536) /* 20 us */

struct sum {
        uint64_t n, total;
};

static int add_up(struct ppp_task *task, void *argument)
{
        struct sum *sum = argument;
        uint64_t i = 0, total = 0;
        int r;

        while (i < sum->n) {
                uint64_t stop = MIN(sum->n, i + STEPS_PER_CHECK);

                for (; i < stop; ++i) {
                        __asm__ volatile("" : "+r"(i));
                        total += i;
                }
                r = ppp_checkpoint(task);
                if (r < 0)
                        return r;
        }
        sum->total = total;
        return 0;
}

static int run(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        struct sum sum = { 0 };
        int r;

        r = number_parse(task, input, n_input, NUMBER_MAX, PPP_TOO_LARGE_NUMBER, &sum.n);
        if (r < 0)
                return r;
        r = ppp_compute(task, add_up, &sum, sizeof(sum));
        *ret_value = sum.total;
        return r;
}

const struct ppp_workload workload_sum = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "sum",
        .run = run,
};
