#include "daemon/runner/workloads/number.h"

#include "lib/util.h"

int number_parse(struct ppp_task *task, const char *input, size_t n_input, uint64_t max,
                 enum ppp_too_large detail, uint64_t *ret)
{
        uint64_t ignored;
        int r = parse_u64(input, n_input, max, ret);

        if (r == -ERANGE)
                return ppp_fail(task, PPP_REASON_TOO_LARGE, detail);
        if (r < 0 && n_input > 1 && input[0] == '-' &&
            parse_u64(input + 1, n_input - 1, UINT64_MAX, &ignored) != -EINVAL)
                return ppp_fail(task, PPP_REASON_NEGATIVE, 0);
        if (r < 0)
                return ppp_fail(task, PPP_REASON_NOT_A_NUMBER, 0);
        return 0;
}
