/* Limits: as text, as JSON, in the files of a group; lists of CPUs; where controllers are. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/block-device.h"
#include "lib/cpu-list.h"
#include "lib/limits.h"
#include "lib/spec.h"

static struct fault said;

static int set(struct limits *limits, enum limit limit, const char *text)
{
        return limits_set_text(limits, limit, text, &said);
}

static void takes(enum limit limit, const char *text, uint64_t value)
{
        struct limits limits = LIMITS_NULL;

        if (set(&limits, limit, text) != 0)
                test_fail_at("%s: %s", text, said.why);
        test_true(limits_has(&limits, limit));
        test_int(limits.values[limit], ==, value);
        limits_deinit(&limits);
}

static void refuses(enum limit limit, const char *text, const char *reason)
{
        struct limits limits = LIMITS_NULL;
        _cleanup_free_ char *sentence = NULL;

        test_int(set(&limits, limit, text), ==, -EBADMSG);
        sentence = fault_sentence(&said);
        test_contains(sentence, reason);
        test_contains(sentence, "give ");
        test_int(limits.given, ==, 0);
        limits_deinit(&limits);
}

static void test_text(void)
{
        takes(LIMIT_CPU_MAX, "150%", 1500000);
        takes(LIMIT_CPU_MAX, "1%", 10000);
        takes(LIMIT_CPU_MAX, "12.5%", 125000);
        takes(LIMIT_CPU_WEIGHT, "10000", 10000);
        takes(LIMIT_MEMORY_MAX, "64M", 64 << 20);
        takes(LIMIT_MEMORY_MAX, "4194304", 4 << 20);
        takes(LIMIT_MEMORY_HIGH, "1G", 1 << 30);
        takes(LIMIT_MEMORY_MAX, "max", LIMIT_NONE);
        takes(LIMIT_SWAP_MAX, "0", 0);
        takes(LIMIT_PIDS_MAX, "1", 1);
        takes(LIMIT_PIDS_MAX, "max", LIMIT_NONE);
}

static void test_text_refused(void)
{
        refuses(LIMIT_CPU_MAX, "150", "\"150\" is not what it takes");
        refuses(LIMIT_CPU_MAX, "%", "is not what it takes");
        refuses(LIMIT_CPU_MAX, "0%", "would let nothing run");
        refuses(LIMIT_CPU_MAX, "0.99%", "too small; give percent of one CPU, from 1%");
        refuses(LIMIT_CPU_MAX, "1.%", "is not what it takes");
        refuses(LIMIT_CPU_MAX, "-5%", "is not what it takes");
        refuses(LIMIT_CPU_MAX, "99999999999999999999%", "too large");
        refuses(LIMIT_CPU_WEIGHT, "0", "would let nothing run");
        refuses(LIMIT_CPU_WEIGHT, "10001", "too large");
        refuses(LIMIT_CPU_WEIGHT, "max", "is not what it takes");
        refuses(LIMIT_CPU_WEIGHT, "18446744073709551615", "too large");
        refuses(LIMIT_PIDS_MAX, "18446744073709551615", "too large");
        refuses(LIMIT_MEMORY_MAX, "", "is not what it takes");
        refuses(LIMIT_MEMORY_MAX, "0", "would let nothing run");
        refuses(LIMIT_MEMORY_MAX, "3M", "too small");
        refuses(LIMIT_MEMORY_MAX, "64MB", "is not what it takes");
        refuses(LIMIT_MEMORY_MAX, "64m", "is not what it takes");
        refuses(LIMIT_MEMORY_MAX, "9999999999T", "too large");
        refuses(LIMIT_PIDS_MAX, "0", "would let nothing run");
        refuses(LIMIT_PIDS_MAX, "1K", "is not what it takes");
        refuses(LIMIT_CPUS, "", "no list of CPUs");
        refuses(LIMIT_CPUS, "0-", "no list of CPUs");
        refuses(LIMIT_CPUS, "3-1", "no list of CPUs");
        refuses(LIMIT_CPUS, "0 1", "no list of CPUs");
        refuses(LIMIT_CPUS, "99999", "no list of CPUs");
        refuses(LIMIT_IO_MAX, "", "names no rate");
        refuses(LIMIT_IO_MAX, "8:0", "names no rate");
        refuses(LIMIT_IO_MAX, "8:0 rbps", "\"rbps\" is no rate");
        refuses(LIMIT_IO_MAX, "8:0 rbps=0", "\"rbps=0\" would let nothing through");
        refuses(LIMIT_IO_MAX, "8:0 rbps=65535", "\"rbps=65535\" is too small, at least 64K; give");
        refuses(LIMIT_IO_MAX, "8:0 wbps=1", "\"wbps=1\" is too small, at least 64K");
        refuses(LIMIT_IO_MAX, "8:0 riops=9", "\"riops=9\" is too small, at least 10");
        refuses(LIMIT_IO_MAX, "8:0 rbps=1M wiops=9", "\"wiops=9\" is too small, at least 10");
        refuses(LIMIT_IO_MAX, "8:0 rbps=99999999T",
                "\"rbps=99999999T\" is too large, at most 8388607T");
        refuses(LIMIT_IO_MAX, "8:0 rps=5M", "is no rate");
        refuses(LIMIT_IO_MAX, "4294967304:0 rbps=5M", "\"4294967304:0\" is out of range");
        refuses(LIMIT_IO_MAX, "8:1048576 rbps=5M", "\"8:1048576\" is out of range");
        /* In millionths of a CPU this is 2^64 and some thousands. */
        refuses(LIMIT_CPU_MAX, "1844674407370955.99%", "is too large");
        refuses(LIMIT_IO_MAX, "/nonexistent rbps=5M", "cannot find the disk of /nonexistent");
        refuses(LIMIT_IO_MAX, "/proc rbps=5M", "no disk is behind /proc");
}

static void test_io_text(void)
{
        struct limits limits = LIMITS_NULL;

        test_int(set(&limits, LIMIT_IO_MAX, "8:16  rbps=1M wiops=100 riops=max"), ==, 0);
        test_int(set(&limits, LIMIT_IO_MAX, "8:32 wbps=64K wiops=10"), ==, 0);
        test_int(limits.n_io, ==, 2);
        test_int(limits.io[0].major, ==, 8);
        test_int(limits.io[0].minor, ==, 16);
        test_int(limits.io[0].rates[IO_READ_BYTES], ==, 1 << 20);
        test_true(limits.io[0].rates[IO_WRITE_BYTES] == LIMIT_NONE);
        test_int(limits.io[0].rates[IO_WRITES], ==, 100);
        test_int(limits.io[1].rates[IO_WRITE_BYTES], ==, 65536);
        test_int(set(&limits, LIMIT_IO_MAX, "8:16 wbps=64K"), ==, -EBADMSG);
        test_contains(said.why, "limited twice");
        limits_deinit(&limits);
}

static const char everything[] =
        "{\"cpu_max_cpus\":1.5,\"cpu_weight\":200,\"memory_max_bytes\":67108864,\"memory_high_"
        "bytes\":33554432,\"swap_max_bytes\":0,\"pids_max\":9223372036854775807,\"cpus\":\"0-1,3\","
        "\"io_max\":[{\"device\":\"8:0\",\"read_bytes_per_second\":1048576,\"writes_per_second\":"
        "70}]}";

static int parse(const char *text, struct limits *ret, struct fault *fault)
{
        json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
        int r;

        test_true(json);
        r = limits_from_json(json, "spec.limits", ret, fault);
        json_decref(json);
        return r;
}

/* A job may be stored with a rate that is not admitted any more. */
static void test_stored_rate(void)
{
        struct limits limits;
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(parse("{\"io_max\":[{\"device\":\"8:0\",\"read_bytes_per_second\":1}]}", &limits,
                       &fault),
                 ==, 0);
        test_int(limits.io[0].rates[IO_READ_BYTES], ==, 1);
        limits_deinit(&limits);
}

static void test_json(void)
{
        json_t *expected = json_loads(everything, 0, NULL), *json;
        struct limits limits;
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(parse(everything, &limits, &fault), ==, 0);
        test_int(limits.given, ==, (1 << _LIMIT_N) - 1);
        test_int(limits.values[LIMIT_CPU_MAX], ==, 1500000);
        test_true(limits.values[LIMIT_PIDS_MAX] == LIMIT_NONE);
        test_true(limits_enforces(&limits, LIMIT_SWAP_MAX));
        test_true(!limits_enforces(&limits, LIMIT_PIDS_MAX));
        json = limits_to_json(&limits);
        test_true(json_equal(json, expected));
        json_decref(json);
        json_decref(expected);
        limits_deinit(&limits);
}

static void test_json_refused(void)
{
        static const struct {
                const char *text, *field, *reason;
        } cases[] = {
                { "7", "spec.limits", "not an object" },
                { "{\"memory\":1}", "spec.limits", "unknown member \"memory\"" },
                { "{\"memory_max_bytes\":0}", "spec.limits.memory_max_bytes", "out of range" },
                { "{\"memory_max_bytes\":-1}", "spec.limits.memory_max_bytes", "out of range" },
                { "{\"memory_max_bytes\":\"64M\"}", "spec.limits.memory_max_bytes", "whole" },
                { "{\"pids_max\":0}", "spec.limits.pids_max", "out of range" },
                { "{\"cpu_weight\":10001}", "spec.limits.cpu_weight", "out of range" },
                { "{\"cpu_weight\":9223372036854775807}", "spec.limits.cpu_weight",
                  "out of range" },
                { "{\"cpu_max_cpus\":0}", "spec.limits.cpu_max_cpus", "out of range" },
                { "{\"cpu_max_cpus\":1e300}", "spec.limits.cpu_max_cpus", "out of range" },
                { "{\"cpus\":\"x\"}", "spec.limits.cpus", "no list" },
                { "{\"io_max\":[{\"device\":\"8:0\",\"read_bytes_per_second\":0}]}",
                  "spec.limits.io_max[0].read_bytes_per_second", "0 is out of range" },
                { "{\"cpu_max_cpus\":0.0099}", "spec.limits.cpu_max_cpus", "out of range" },
                { "{\"io_max\":{}}", "spec.limits.io_max", "not an array" },
                { "{\"io_max\":[]}", "spec.limits.io_max", "no entries" },
                { "{\"io_max\":[{\"device\":\"8:0\"}]}", "spec.limits.io_max[0]",
                  "limits nothing" },
                { "{\"io_max\":[{\"device\":\"sda\",\"reads_per_second\":10}]}",
                  "spec.limits.io_max[0].device", "MAJOR:MINOR" },
                { "{\"io_max\":[{\"device\":\"4294967304:0\",\"reads_per_second\":10}]}",
                  "spec.limits.io_max[0].device", "out of range" },
                { "{\"io_max\":[{\"device\":\"8:0:1\",\"reads_per_second\":10}]}",
                  "spec.limits.io_max[0].device", "MAJOR:MINOR" },
                { "{\"io_max\":[{\"device\":\"8:0\",\"reads_per_second\":10},{\"device\":\"8:0\","
                  "\"writes_per_second\":10}]}",
                  "spec.limits.io_max", "twice" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i) {
                _cleanup_fault_ struct fault fault = FAULT_NULL;
                struct limits limits;

                test_int(parse(cases[i].text, &limits, &fault), ==, -EBADMSG);
                test_str(fault.field, cases[i].field);
                test_contains(fault.why, cases[i].reason);
                test_true(*fault.advice);
        }
}

static json_t *make_cpus(size_t n)
{
        _cleanup_free_ char *text = malloc(n + 1);

        test_true(text);
        for (size_t i = 0; i < n; ++i)
                text[i] = i % 2 ? ',' : '0';
        text[n] = 0;
        text[n - 1] = '0';
        return json_pack("{s:s}", "cpus", text);
}

static json_t *make_io(unsigned n, const char *major)
{
        json_t *json = json_pack("{s:[]}", "io_max");

        for (unsigned i = 0; i < n; ++i) {
                char device[64];

                snprintf(device, sizeof(device), "%s:%u", major, i);
                json_array_append_new(json_object_get(json, "io_max"),
                                      json_pack("{s:s, s:i}", "device", device, "reads_per_second",
                                                10));
        }
        return json;
}

static void bounded(json_t *json, const char *field, const char *reason)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct limits limits = LIMITS_NULL;

        test_int(limits_from_json(json, "spec.limits", &limits, &fault), ==, field ? -EBADMSG : 0);
        json_decref(json);
        limits_deinit(&limits);
        if (!field)
                return;
        test_str(fault.field, field);
        test_contains(fault.why, reason);
}

static void test_bounds(void)
{
        bounded(make_cpus(LIMIT_CPUS_MAX - 1), NULL, NULL);
        bounded(make_cpus(LIMIT_CPUS_MAX + 1), "spec.limits.cpus",
                "4097 bytes long, more than the 4096");
        bounded(make_io(LIMIT_IO_DEVICES_MAX, "8"), NULL, NULL);
        bounded(make_io(LIMIT_IO_DEVICES_MAX + 1, "8"), "spec.limits.io_max",
                "65 entries, more than the 64");
        bounded(make_io(1, "0000000000000000000000008"), "spec.limits.io_max[0].device",
                "more than the 20");
}

/* A directory that stands for a group. */
static char directory[64];

static int make_group(void)
{
        int fd;

        strcpy(directory, "/tmp/test-limits.XXXXXX");
        test_true(mkdtemp(directory));
        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        test_int(fd, >=, 0);
        return fd;
}

static void put_file(int fd, const char *name, const char *text)
{
        _cleanup_close_ int file = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        test_int(file, >=, 0);
        test_int(write_all(file, text, strlen(text)), ==, 0);
}

static void remove_group(int fd)
{
        for (size_t i = 0; i < _LIMIT_N; ++i)
                (void)unlinkat(fd, limit_infos[i].file, 0);
        (void)unlinkat(fd, "cpuset.cpus.effective", 0);
        close_fd(fd);
        test_int(rmdir(directory), ==, 0);
}

static void has_text(int fd, const char *name, const char *expected)
{
        _cleanup_free_ char *text = NULL;

        test_int(read_file_at(fd, name, &text, NULL), ==, 0);
        test_str(text, expected);
}

/* What it is for tells whether it may pass. */
static void test_want(void)
{
        struct limits limits = { .given = LIMIT_BIT(LIMIT_PIDS_MAX), .values[LIMIT_PIDS_MAX] = 5 };
        struct rlimit was, none;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int fd = make_group(), r;

        put_file(fd, "pids.max", "max\n");
        test_int(getrlimit(RLIMIT_NOFILE, &was), ==, 0);
        none = (struct rlimit){ 0, was.rlim_max };
        test_int(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        r = limits_apply(&limits, fd, "spec.limits", &fault);
        test_int(setrlimit(RLIMIT_NOFILE, &was), ==, 0);
        test_int(r, ==, -EMFILE);
        test_str(fault.field, "spec.limits.pids_max");
        remove_group(fd);
}

static void test_apply(void)
{
        struct limits limits, back;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        json_t *asked, *read;
        int fd = make_group();

        for (size_t i = 0; i < _LIMIT_N; ++i)
                put_file(fd, limit_infos[i].file, "");
        put_file(fd, "pids.max", "max\n");
        put_file(fd, "cpuset.cpus.effective", "0,1,3\n");
        test_int(parse(everything, &limits, &fault), ==, 0);
        if (limits_apply(&limits, fd, "spec.limits", &fault) < 0)
                test_fail_at("%s: %s", fault.field, fault.why);
        has_text(fd, "cpu.max", "150000 100000");
        has_text(fd, "cpu.weight", "200");
        has_text(fd, "memory.max", "67108864");
        has_text(fd, "memory.swap.max", "0");
        has_text(fd, "pids.max", "max\n");
        has_text(fd, "cpuset.cpus", "0-1,3");
        has_text(fd, "io.max", "8:0 rbps=1048576 wbps=max riops=max wiops=70");

        test_int(limits_read(fd, &back), ==, 0);
        test_true(!limits_has(&back, LIMIT_PIDS_MAX));
        limits.given &= ~LIMIT_BIT(LIMIT_PIDS_MAX);
        asked = limits_to_json(&limits);
        read = limits_to_json(&back);
        test_true(json_equal(asked, read));
        json_decref(asked);
        json_decref(read);
        limits_deinit(&back);
        limits_deinit(&limits);
        remove_group(fd);
}

/* What cannot be written, and what is written and does not hold. */
static void test_apply_fails(void)
{
        struct limits limits = LIMITS_NULL;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int fd = make_group();

        test_int(set(&limits, LIMIT_SWAP_MAX, "1G"), ==, 0);
        test_int(limits_apply(&limits, fd, "spec.limits", &fault), <, 0);
        test_str(fault.field, "spec.limits.swap_max_bytes");
        test_contains(fault.why, "cannot write memory.swap.max");
        test_contains(fault.advice, "swapaccount=1");
        limits_deinit(&limits);

        test_int(set(&limits, LIMIT_CPUS, "0-1"), ==, 0);
        put_file(fd, "cpuset.cpus", "");
        put_file(fd, "cpuset.cpus.effective", "0\n");
        test_int(limits_apply(&limits, fd, "spec.worker_limits", &fault), <, 0);
        test_str(fault.field, "spec.worker_limits.cpus");
        test_contains(fault.why, "reads back something else");
        limits_deinit(&limits);
        (void)unlinkat(fd, "cpuset.cpus", 0);

        /* Memory is counted in pages. */
        test_int(set(&limits, LIMIT_MEMORY_MAX, "5000001"), ==, 0);
        put_file(fd, "memory.max", "");
        test_int(limits_apply(&limits, fd, "spec.limits", &fault), <, 0);
        test_str(fault.field, "spec.limits.memory_max_bytes");
        limits_deinit(&limits);
        remove_group(fd);
}

static void test_default_weight(void)
{
        struct limits limits = LIMITS_NULL, back;
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int fd = make_group();

        put_file(fd, "cpu.weight", "");
        test_int(set(&limits, LIMIT_CPU_WEIGHT, "100"), ==, 0);
        test_int(limits_apply(&limits, fd, "spec.limits", &fault), ==, 0);
        test_int(limits_read(fd, &back), ==, 0);
        test_int(back.given, ==, 0);
        remove_group(fd);
}

static void test_cpu_lists(void)
{
        struct cpu_list list, other;

        test_int(cpu_list_parse("0-2,64,8191\n", &list), ==, 0);
        test_int(cpu_list_count(&list), ==, 5);
        test_true(cpu_list_has(&list, 64));
        test_true(!cpu_list_has(&list, 63));
        test_int(cpu_list_parse("0,1,2,64,8191", &other), ==, 0);
        test_true(cpu_list_equals(&list, &other));
        test_int(cpu_list_first_missing(&list, &other), ==, -1);
        test_int(cpu_list_parse("0-2,8191", &other), ==, 0);
        test_int(cpu_list_first_missing(&list, &other), ==, 64);
        test_int(cpu_list_parse("", &list), ==, -EINVAL);
        test_int(cpu_list_parse("1,", &list), ==, -EINVAL);
        test_int(cpu_list_parse("1\n2", &list), ==, -EINVAL);
        test_int(cpu_list_parse("8192", &list), ==, -ERANGE);
}

static const char mounts[] =
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup "
        "rw,cpu,cpuacct\n"
        "38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
static const char list[] = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
                           "cpuset\t3\t1\t1\ncpu\t1\t1\t1\nblkio\t7\t1\t1\nmemory\t0\t19\t0\n"
                           "hugetlb\t0\t2\t1\n";

static void is_at(enum cgroup_controller controller, enum cgroup_place place, const char *path,
                  const char *sentence)
{
        struct cgroup_whereabouts where;
        _cleanup_free_ char *text = NULL;

        test_int(cgroup_find_controller_in(controller, mounts, list, &where), ==, 0);
        test_int(where.place, ==, place);
        if (path)
                test_str(where.path, path);
        text = cgroup_explain(controller, &where);
        test_contains(text, sentence);
        test_true(*cgroup_advise(&where));
        free(where.path);
}

static void test_whereabouts(void)
{
        is_at(CGROUP_CPU, CGROUP_PLACE_V1, "/sys/fs/cgroup/cpu,cpuacct",
              "the cpu controller sits on");
        is_at(CGROUP_IO, CGROUP_PLACE_V1, "/sys/fs/cgroup/blkio",
              "the io controller sits on cgroup v1");
        is_at(CGROUP_CPUSET, CGROUP_PLACE_V1, NULL, "the cpuset controller sits on cgroup v1");
        is_at(CGROUP_MEMORY, CGROUP_PLACE_DISABLED, NULL, "switched off at boot");
        is_at(CGROUP_PIDS, CGROUP_PLACE_ABSENT, NULL, "built without the pids controller");
}

/* A hierarchy in a directory: base/a/b, where a does not pass memory on. */
static void test_withheld(void)
{
        static const char *const groups[] = { "", "/a", "/a/b" };
        struct cgroup_whereabouts where;
        char path[128];
        int fd = make_group();

        for (size_t i = 0; i < ARRAY_SIZE(groups); ++i) {
                snprintf(path, sizeof(path), "%s%s", directory, groups[i]);
                test_true(mkdir(path, 0700) == 0 || errno == EEXIST);
                snprintf(path, sizeof(path), ".%s/cgroup.controllers", groups[i]);
                put_file(fd, path, i < 2 ? "cpu memory\n" : "cpu\n");
        }
        snprintf(path, sizeof(path), "%s/a/b", directory);
        test_int(cgroup_find_controller(CGROUP_CPU, directory, path, &where), ==, 0);
        test_int(where.place, ==, CGROUP_PLACE_HERE);
        test_int(cgroup_find_controller(CGROUP_MEMORY, directory, path, &where), ==, 0);
        test_int(where.place, ==, CGROUP_PLACE_WITHHELD);
        path[strlen(directory) + 2] = 0;
        test_str(where.path, path);
        free(where.path);
        for (size_t i = ARRAY_SIZE(groups); i-- > 0;) {
                snprintf(path, sizeof(path), ".%s/cgroup.controllers", groups[i]);
                test_int(unlinkat(fd, path, 0), ==, 0);
                snprintf(path, sizeof(path), "%s%s", directory, groups[i]);
                if (i > 0)
                        test_int(rmdir(path), ==, 0);
        }
        remove_group(fd);
}

static void test_devices(void)
{
        unsigned major, minor;

        test_int(block_device_find("253:7", &major, &minor), ==, 0);
        test_int(major, ==, 253);
        test_int(minor, ==, 7);
        test_int(block_device_find("/proc/self", &major, &minor), ==, -ENODEV);
        test_int(block_device_find("/nonexistent", &major, &minor), ==, -ENOENT);
        test_int(block_device_is_disk(4000, 4000), ==, 0);
        test_true(!block_device_is_stacked(4000, 4000));
}

static void test_device_numbers(void)
{
        static const struct {
                const char *text;
                int r;
        } cases[] = {
                { "0:0", 0 },
                { "4095:1048575", 0 },
                { "4096:0", -ERANGE },
                { "4294967304:0", -ERANGE },
                { "8:18446744073709551617", -ERANGE },
                { "", -EINVAL },
                { "8", -EINVAL },
                { ":", -EINVAL },
                { "8:", -EINVAL },
                { ":0", -EINVAL },
                { "8:0 ", -EINVAL },
                { "8:-1", -EINVAL },
                { "99999999999:x", -EINVAL },
        };
        unsigned major, minor;

        for (size_t i = 0; i < ARRAY_SIZE(cases); ++i)
                test_int(block_device_parse(cases[i].text, &major, &minor), ==, cases[i].r);
}

static bool is_mapped(unsigned major, unsigned minor)
{
        return major == 253 && minor == 1;
}

static void test_stacked_devices(void)
{
        char text[] =
                "253:1 rbytes=10 wbytes=1\n8:0 rbytes=10 wbytes=1\n253:11 rbytes=7\n253:1 rbytes=3";
        char last[] = "8:0 rbytes=5\n253:1", none[] = "";

        io_stat_keep_disks(text, is_mapped);
        test_str(text, "8:0 rbytes=10 wbytes=1\n253:11 rbytes=7\n");
        io_stat_keep_disks(last, is_mapped);
        test_str(last, "8:0 rbytes=5\n");
        io_stat_keep_disks(none, is_mapped);
        test_str(none, "");
}

static void test_end(void)
{
        fault_deinit(&said);
}

TEST_MAIN("limits", { "text", test_text }, { "text that is refused", test_text_refused },
          { "io.max as text", test_io_text }, { "JSON", test_json },
          { "a stored rate that is too low now", test_stored_rate },
          { "what has a length has a bound", test_bounds },
          { "JSON that is refused", test_json_refused }, { "written and read back", test_apply },
          { "want of descriptors", test_want },
          { "what does not come into force is refused", test_apply_fails },
          { "the usual weight", test_default_weight }, { "lists of CPUs", test_cpu_lists },
          { "where controllers are", test_whereabouts },
          { "a controller that is withheld", test_withheld }, { "devices", test_devices },
          { "numbers of devices", test_device_numbers },
          { "devices that are made of others", test_stacked_devices }, { "end", test_end })
