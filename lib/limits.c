#include "lib/limits.h"

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

/* The same option for the job and for each worker; `name` is a string literal. */
#define OPTION(name) .option = "" name, .worker_option = "worker-" name

const struct limit_info limit_infos[_LIMIT_N] = {
        [LIMIT_CPU_MAX] = {
                .member = "cpu_max_cpus",
                OPTION("cpu-max"),
                .argument = "PERCENT",
                .help = "CPU time, 150% is one and a half",
                .form = "give percent of one CPU, from 1% to 819200%, as in 150%",
                .label = "CPUs",
                .kind = LIMIT_KIND_CPUS,
                .file = "cpu.max",
                .controller = CGROUP_CPU,
                .min = CPU_MIN,
                .max = LIMIT_CPU * UINT64_C(8192),
        },
        [LIMIT_CPU_WEIGHT] = {
                .member = "cpu_weight",
                OPTION("cpu-weight"),
                .argument = "N",
                .help = "share of the CPU, 1 to 10000; 100 is usual",
                .form = "give a whole number from 1 to 10000; 100 is what others have",
                .label = "CPU weight",
                .kind = LIMIT_KIND_COUNT,
                .file = "cpu.weight",
                .controller = CGROUP_CPU,
                .min = 1,
                .max = 10000,
        },
        [LIMIT_CPUS] = {
                .member = "cpus",
                OPTION("cpus"),
                .argument = "LIST",
                .help = "only these CPUs (0-1,3)",
                .form = "give CPUs as a list of numbers and ranges, as in 0-3,8",
                .label = "on CPUs",
                .kind = LIMIT_KIND_CPU_LIST,
                .file = "cpuset.cpus",
                .controller = CGROUP_CPUSET,
        },
        [LIMIT_MEMORY_MAX] = {
                .member = "memory_max_bytes",
                OPTION("memory-max"),
                .argument = "SIZE",
                .help = "past it the kernel kills",
                .form = SIZE_FORM,
                .label = "memory, max",
                .kind = LIMIT_KIND_BYTES,
                .file = "memory.max",
                .controller = CGROUP_MEMORY,
                .min = LIMIT_MEMORY_MIN,
                .max = INT64_MAX,
                .takes_none = true,
        },
        [LIMIT_MEMORY_HIGH] = {
                .member = "memory_high_bytes",
                OPTION("memory-high"),
                .argument = "SIZE",
                .help = "past it the kernel slows down",
                .form = SIZE_FORM,
                .label = "memory, high",
                .kind = LIMIT_KIND_BYTES,
                .file = "memory.high",
                .controller = CGROUP_MEMORY,
                .min = LIMIT_MEMORY_MIN,
                .max = INT64_MAX,
                .takes_none = true,
        },
        [LIMIT_SWAP_MAX] = {
                .member = "swap_max_bytes",
                OPTION("swap-max"),
                .argument = "SIZE",
                .help = "swap space, 0 for none",
                .form = "give bytes, up to 8388607T; K, M, G and T stand for powers of 1024, "
                        "0 for no swap, max for no limit",
                .label = "swap",
                .kind = LIMIT_KIND_BYTES,
                .file = "memory.swap.max",
                .controller = CGROUP_MEMORY,
                .max = INT64_MAX,
                .takes_none = true,
        },
        [LIMIT_PIDS_MAX] = {
                .member = "pids_max",
                OPTION("pids-max"),
                .argument = "N",
                .help = "processes and threads",
                .form = "give a number of processes and threads from 1 to 4194304, or max",
                .label = "processes and threads",
                .kind = LIMIT_KIND_COUNT,
                .file = "pids.max",
                .controller = CGROUP_PIDS,
                .min = 1,
                .max = 4194304,
                .takes_none = true,
        },
        [LIMIT_IO_MAX] = {
                .member = "io_max",
                OPTION("io-max"),
                .argument = "RATES",
                .help = "'PATH rbps=N wbps=N riops=N wiops=N'",
                .form = "give a path on the disk or its MAJOR:MINOR, and one or more of rbps= "
                        "wbps= (bytes a second, from 64K) riops= wiops= (operations a second, "
                        "from 10), as in '/var rbps=10M wiops=100'",
                .label = "disks",
                .kind = LIMIT_KIND_RATES,
                .file = "io.max",
                .controller = CGROUP_IO,
                .min = 1,
                .max = INT64_MAX,
                .takes_none = true,
        },
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
