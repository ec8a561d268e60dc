#include "lib/executor.h"

#include <stdio.h>

const struct executor_info executor_infos[_EXECUTOR_N] = {
        [EXECUTOR_NONE] = { NULL, "async", NULL },
        [EXECUTOR_THREADS] = { "threads", "async+threads",
                               "on an io_uring completion loop, with threads that compute" },
        [EXECUTOR_PROCESSES] = { "processes", "async+processes",
                                 "on an io_uring completion loop, with processes that compute" },
};

const char *executor_list(char text[static EXECUTOR_LIST_SIZE])
{
        size_t n = 0;

        for (enum executor i = EXECUTOR_NONE + 1; i < _EXECUTOR_N; ++i)
                n += (size_t)snprintf(text + n, EXECUTOR_LIST_SIZE - n, "%s%s", n ? ", " : "",
                                      executor_infos[i].name);
        assert(n < EXECUTOR_LIST_SIZE);
        return text;
}

int executor_from_name(const char *name, enum executor *ret)
{
        for (enum executor i = EXECUTOR_NONE + 1; i < _EXECUTOR_N; ++i)
                if (streq(name, executor_infos[i].name)) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}
