#include "lib/level.h"

#include <stdio.h>

#define PIDS_OF_THE_RUNNER "the runner is one itself, so there would be no worker"
#define PIDS_OF_A_LOOP                                                                            \
        "each loop is a thread, and needs another of the kernel's to read a file that is not in " \
        "memory"

const struct level_info level_infos[_LEVEL_N] = {
        [LEVEL_SERIAL] = {
                .name = "serial",
                .what = "one task after the other",
                .worker = "thread",
                .workers = "threads",
                .features = LEVEL_LOCAL,
                .workers_max = 1,
                .workers_default = 1,
        },
        /* The defaults of the next two are those of Python's ThreadPoolExecutor and
         * multiprocessing.Pool. */
        [LEVEL_THREADS] = {
                .name = "threads",
                .what = "in threads of one process",
                .worker = "thread",
                .workers = "threads",
                .features = LEVEL_LOCAL | LEVEL_IN_NODES | LEVEL_ONE_PROCESS,
                .workers_max = 4096,
                .workers_more = 4,
                .workers_most = 32,
                .pids_min = 2,
                .pids_why = PIDS_OF_THE_RUNNER,
        },
        [LEVEL_PROCESSES] = {
                .name = "processes",
                .what = "in worker processes, each in a cgroup of its own",
                .worker = "process",
                .workers = "processes",
                .features = LEVEL_LOCAL | LEVEL_IN_NODES | LEVEL_WORKER_GROUPS,
                .workers_max = 4096,
                .workers_most = 4096,
                .pids_min = 2,
                .pids_why = PIDS_OF_THE_RUNNER,
        },
        [LEVEL_ASYNC] = {
                .name = "async",
                .what = "in flight together on an io_uring completion loop",
                .worker = "slot",
                .workers = "slots",
                .features = LEVEL_LOCAL | LEVEL_IN_NODES | LEVEL_LOOPS,
                .workers_max = 65535,
                .workers_default = 256,
                .pids_min = 2,
                .pids_why = PIDS_OF_A_LOOP,
        },
        [LEVEL_MACHINES] = {
                .name = "machines",
                .what = "on every machine that has joined the daemon's Redis (pppctl nodes);\n"
                        "where none is configured, on two nodes of a private one",
                .worker = "node",
                .workers = "nodes",
        },
};

int level_from_name(const char *name, enum level *ret)
{
        for (unsigned i = 0; i < _LEVEL_N; ++i) {
                if (streq(name, level_infos[i].name)) {
                        *ret = (enum level)i;
                        return 0;
                }
        }
        return -EINVAL;
}

unsigned levels_with(enum level_feature feature)
{
        unsigned set = 0;

        for (enum level i = 0; i < _LEVEL_N; ++i)
                if (level_has(i, feature))
                        set |= LEVEL_BIT(i);
        return set;
}

const char *level_list(unsigned set, char text[static LEVEL_LIST_SIZE])
{
        size_t n = 0;

        text[0] = 0;
        for (enum level i = 0; i < _LEVEL_N; ++i)
                if (set & LEVEL_BIT(i))
                        n += (size_t)snprintf(text + n, LEVEL_LIST_SIZE - n, "%s%s", n ? ", " : "",
                                              level_name(i));
        assert(n < LEVEL_LIST_SIZE);
        return text;
}

uint32_t level_default_workers(enum level level, unsigned n_cpus)
{
        const struct level_info *info = level_info(level);

        return info->workers_default ?: MIN(n_cpus + info->workers_more, info->workers_most);
}
