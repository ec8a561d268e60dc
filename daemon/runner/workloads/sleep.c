/*
 * sleep: waits for as long as its input says ("0.2", "200ms"), and gives the nanoseconds asked for.
 * The purest workload that waits; with 0 the purest that does nothing.
 */

#include <pppctl/workload.h>

#include "lib/util.h"

#define SLEEP_MAX_NS (30 * 86400 * NSEC_PER_SEC)

static int run(struct ppp_task *task, const char *input, size_t n_input, uint64_t *ret_value)
{
        uint64_t ns, ignored;
        int r;

        r = parse_duration(input, &ns);
        if (r == -EINVAL && input[0] == '-' && parse_duration(input + 1, &ignored) != -EINVAL)
                return ppp_fail(task, PPP_REASON_NEGATIVE, 0);
        if (r == -EINVAL)
                return ppp_fail(task, PPP_REASON_NOT_A_NUMBER, 0);
        if (r < 0 || ns > SLEEP_MAX_NS)
                return ppp_fail(task, PPP_REASON_TOO_LARGE, 0);
        r = ppp_sleep(task, ns);
        if (r < 0)
                return r;
        *ret_value = ns;
        return 0;
}

const struct ppp_workload workload_sleep = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "sleep",
        .run = run,
};
