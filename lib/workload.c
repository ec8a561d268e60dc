#include "lib/workload.h"

#include <stdio.h>

const struct workload_info workload_infos[_WORKLOAD_N] = {
        [WORKLOAD_WORDS] = {
                .name = "words",
                .what = "count the words of a URL (http, https), a file, or a page that\n"
                        "comes along, demo:2016 to demo:2019",
                .unit = "word",
                .takes_urls = true,
                .waits = true,
                .computes = true,
                .default_inputs = "demo:2016\ndemo:2017\ndemo:2018\ndemo:2019\n",
        },
        [WORKLOAD_SUM] = {
                .name = "sum",
                .what = "add the numbers below INPUT one by one",
                .computes = true,
                .default_inputs = "201600000\n201700000\n201800000\n201900000\n",
        },
        [WORKLOAD_SUM_ARRAY] = {
                .name = "sum-array",
                .what = "fill an array with them and add it up",
                .computes = true,
                .default_inputs = "201600000\n201700000\n201800000\n201900000\n",
        },
        [WORKLOAD_SLEEP] = {
                .name = "sleep",
                .what = "wait INPUT seconds (0.2, 200ms)",
                .value_is_time = true,
                .waits = true,
                .default_inputs = "0.2\n0.2\n0.2\n0.2\n",
        },
        [WORKLOAD_MIX] = {
                .name = "mix",
                .what = "do the parts of INPUT one after the other: cpu=2ms,sleep=20ms,\n"
                        "touch=64M, ... (man pppctl)",
                .waits = true,
                .computes = true,
                .default_inputs = "cpu=20ms,sleep=80ms\ncpu=20ms,sleep=80ms\n"
                                  "cpu=20ms,sleep=80ms\ncpu=20ms,sleep=80ms\n",
        },
        [WORKLOAD_EXEC] = {
                .name = "exec",
                .what = "run the command after --, with INPUT in the place of {}",
                .runs_commands = true,
                .waits = true,
        },
};

int workload_from_name(const char *name, enum workload_id *ret)
{
        for (unsigned i = 0; i < _WORKLOAD_N; ++i) {
                if (streq(name, workload_infos[i].name)) {
                        *ret = (enum workload_id)i;
                        return 0;
                }
        }
        return -EINVAL;
}

const char *workload_list(unsigned set, char text[static WORKLOAD_LIST_SIZE])
{
        size_t n = 0;

        text[0] = 0;
        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                if (set & WORKLOAD_BIT(i))
                        n += (size_t)snprintf(text + n, WORKLOAD_LIST_SIZE - n, "%s%s",
                                              n ? ", " : "", workload_name(i));
        assert(n < WORKLOAD_LIST_SIZE);
        return text;
}

unsigned workloads_that_take_urls(void)
{
        unsigned set = 0;

        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                if (workload_info(i)->takes_urls)
                        set |= WORKLOAD_BIT(i);
        return set;
}

unsigned workloads_of_nodes(void)
{
        unsigned set = WORKLOADS_ALL;

        for (enum workload_id i = 0; i < _WORKLOAD_N; ++i)
                if (workload_info(i)->runs_commands)
                        set &= ~WORKLOAD_BIT(i);
        return set;
}
