#include "lib/executor.h"

const struct executor_info executor_infos[_EXECUTOR_N] = {
        [EXECUTOR_NONE] = { NULL, "async", NULL },
        [EXECUTOR_THREADS] = { "threads", "async+threads",
                               "on an io_uring completion loop, with threads that compute" },
};

int executor_from_name(const char *name, enum executor *ret)
{
        for (enum executor i = EXECUTOR_NONE + 1; i < _EXECUTOR_N; ++i)
                if (streq(name, executor_infos[i].name)) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}
