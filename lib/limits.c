#include "lib/limits.h"

#define CPU_LIST_FORM "give CPUs as a list of numbers and ranges, as in 0-3,8"
/*
 * The runner is within its job's limits from the beginning, so each has to let it start. cpu.max
 * takes no quota below a millisecond, which in its period of 100 is 1%. A runner whose program is
 * not in memory has to read some 400 KiB by the disk's rate, and 3 MiB with all of its libraries,
 * in requests of up to 128 KiB: at the lowest rates here that takes a few seconds, and less than
 * one minute at worst.
 */
#define CPU_MIN        (LIMIT_CPU / 100)
#define IO_BYTES_MIN   UINT64_C(65536), "64K"
#define IO_REQUEST_MIN UINT64_C(10), "10"

#define SIZE_FORM                                                                              \
        "give bytes, from 4M to 8388607T; K, M, G and T stand for powers of 1024, max for no " \
        "limit"

const struct limit_info limit_infos[_LIMIT_N] = {
        [LIMIT_CPU_MAX] = { "cpu_max_cpus", "cpu-max", "cpu.max", CGROUP_CPU, CPU_MIN,
                            LIMIT_CPU *UINT64_C(8192), false,
                            "give percent of one CPU, from 1% to 819200%, as in 150%" },
        [LIMIT_CPU_WEIGHT] = { "cpu_weight", "cpu-weight", "cpu.weight", CGROUP_CPU, 1, 10000,
                               false,
                               "give a whole number from 1 to 10000; 100 is what others have" },
        [LIMIT_MEMORY_MAX] = { "memory_max_bytes", "memory-max", "memory.max", CGROUP_MEMORY,
                               LIMIT_MEMORY_MIN, INT64_MAX, true, SIZE_FORM },
        [LIMIT_MEMORY_HIGH] = { "memory_high_bytes", "memory-high", "memory.high", CGROUP_MEMORY,
                                LIMIT_MEMORY_MIN, INT64_MAX, true, SIZE_FORM },
        [LIMIT_SWAP_MAX] = { "swap_max_bytes", "swap-max", "memory.swap.max", CGROUP_MEMORY, 0,
                             INT64_MAX, true,
                             "give bytes, up to 8388607T; K, M, G and T stand for powers of 1024, "
                             "0 for no swap, max for no limit" },
        [LIMIT_PIDS_MAX] = { "pids_max", "pids-max", "pids.max", CGROUP_PIDS, 1, 4194304, true,
                             "give a number of processes and threads from 1 to 4194304, or max" },
        [LIMIT_CPUS] = { "cpus", "cpus", "cpuset.cpus", CGROUP_CPUSET, 0, 0, false, CPU_LIST_FORM },
        [LIMIT_IO_MAX] = { "io_max", "io-max", "io.max", CGROUP_IO, 1, INT64_MAX, true,
                           "give a path on the disk or its MAJOR:MINOR, and one or more of rbps= "
                           "wbps= (bytes a second, from 64K) riops= wiops= (operations a second, "
                           "from 10), as in '/var rbps=10M wiops=100'" },
};

const struct io_rate_info io_rate_infos[_IO_RATE_N] = {
        [IO_READ_BYTES] = { "rbps", "read_bytes_per_second", IO_BYTES_MIN },
        [IO_WRITE_BYTES] = { "wbps", "write_bytes_per_second", IO_BYTES_MIN },
        [IO_READS] = { "riops", "reads_per_second", IO_REQUEST_MIN },
        [IO_WRITES] = { "wiops", "writes_per_second", IO_REQUEST_MIN },
};

void limits_deinit(struct limits *limits)
{
        free(limits->cpus);
        free(limits->io);
        *limits = (struct limits)LIMITS_NULL;
}

const struct io_limit *limits_find_io(const struct limits *limits, unsigned major, unsigned minor)
{
        for (size_t i = 0; i < limits->n_io; ++i)
                if (limits->io[i].major == major && limits->io[i].minor == minor)
                        return &limits->io[i];
        return NULL;
}
