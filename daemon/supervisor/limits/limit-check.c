#include "daemon/supervisor/limits/limit-check.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "lib/block-device.h"
#include "lib/cpu-list.h"
#include "lib/priority.h"

/* The CPUs that jobs of this daemon may use; all bits are set where that is not known. */
static void read_cpus(const struct groups *groups, struct cpu_list *ret)
{
        _cleanup_free_ char *text = NULL;
        int r = -ENOENT;

        memset(ret, 0xff, sizeof(*ret));
        if (groups_exist(groups))
                r = read_file_at(groups->fd, "cpuset.cpus.effective", &text, NULL);
        if (r < 0)
                r = read_file_at(AT_FDCWD, "/sys/devices/system/cpu/online", &text, NULL);
        if (r >= 0)
                (void)cpu_list_parse(text, ret);
}

static int check_cpus(const struct limits *limits, const struct groups *groups, const char *field,
                      struct fault *fault)
{
        struct cpu_list asked, there;
        int missing;

        read_cpus(groups, &there);
        if (cpu_list_parse(limits->cpus, &asked) < 0)
                return fault_refuse(fault, -EDOM, field, limit_infos[LIMIT_CPUS].form,
                                    "it is not a list of CPUs");
        missing = cpu_list_first_missing(&asked, &there);
        if (missing < 0)
                return 0;
        return fault_refuse(fault, -EDOM, field,
                            "give CPUs that the daemon may use; nproc and lscpu list them",
                            "%s: CPU %d does not exist, or the daemon may not use it", limits->cpus,
                            missing);
}

static int check_rates(const struct io_limit *io, size_t index, const char *field,
                       struct fault *fault)
{
        char member[128], hint[64];

        for (unsigned i = 0; i < _IO_RATE_N; ++i) {
                const struct io_rate_info *info = &io_rate_infos[i];

                if (io->rates[i] >= info->min)
                        continue;
                snprintf(member, sizeof(member), "%s[%zu].%s", field, index, info->member);
                snprintf(hint, sizeof(hint), "give a whole number from %llu up",
                         (unsigned long long)info->min);
                return fault_refuse(fault, -EDOM, member, hint, "%llu is out of range",
                                    (unsigned long long)io->rates[i]);
        }
        return 0;
}

static int check_io(const struct limits *limits, const char *field, struct fault *fault)
{
        for (size_t i = 0; i < limits->n_io; ++i) {
                const struct io_limit *io = &limits->io[i];
                int r = check_rates(io, i, field, fault);

                if (r < 0)
                        return r;
                if (!block_device_is_disk(io->major, io->minor))
                        return fault_refuse(
                                fault, -EDOM, field,
                                "give a whole disk, or a path on it; lsblk -d shows the disks",
                                "%u:%u is not a whole disk of this machine", io->major, io->minor);
        }
        return 0;
}

static uint64_t read_pid_max(void)
{
        _cleanup_free_ char *text = NULL;
        uint64_t v;

        if (read_file_at(AT_FDCWD, "/proc/sys/kernel/pid_max", &text, NULL) < 0 ||
            parse_u64(text, strcspn(text, "\n"), UINT64_MAX, &v) < 0)
                return UINT64_MAX;
        return v;
}

static int check_cpu_max(uint64_t value, const struct host *host, const char *field,
                         struct fault *fault)
{
        char hint[64];

        if (value <= host->n_cpus * LIMIT_CPU)
                return 0;
        snprintf(hint, sizeof(hint), "give at most %u%%", host->n_cpus * 100);
        return fault_refuse(fault, -EDOM, field, hint,
                            "%g%% is more than the %u CPU%s of this machine",
                            (double)value * 100 / (double)LIMIT_CPU, host->n_cpus,
                            plural(host->n_cpus));
}

static int check_at_most(uint64_t value, uint64_t most, const char *what, const char *field,
                         struct fault *fault)
{
        char hint[64];

        if (value <= most)
                return 0;
        snprintf(hint, sizeof(hint), "give at most %llu, or max", (unsigned long long)most);
        return fault_refuse(fault, -EDOM, field, hint, "%llu is more than %s",
                            (unsigned long long)value, what);
}

static int check_value(const struct limits *limits, enum limit limit, const struct groups *groups,
                       const struct host *host, const char *field, struct fault *fault)
{
        switch (limit) {
        case LIMIT_CPU_MAX:
                return check_cpu_max(limits->values[limit], host, field, fault);
        case LIMIT_MEMORY_MAX:
        case LIMIT_MEMORY_HIGH:
                return check_at_most(limits->values[limit],
                                     (uint64_t)sysconf(_SC_PHYS_PAGES) *
                                             (uint64_t)sysconf(_SC_PAGESIZE),
                                     "the memory of this machine", field, fault);
        case LIMIT_PIDS_MAX:
                return check_at_most(limits->values[limit], read_pid_max(),
                                     "the processes this machine can have (kernel.pid_max)", field,
                                     fault);
        case LIMIT_CPUS:
                return check_cpus(limits, groups, field, fault);
        case LIMIT_IO_MAX:
                return check_io(limits, field, fault);
        default:
                return 0;
        }
}

static int check_limits(const struct limits *limits, const char *path, const struct groups *groups,
                        const struct host *host, struct fault *fault)
{
        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                const char *why, *hint;
                char field[64];
                int r;

                if (!limits_enforces(limits, i))
                        continue;
                snprintf(field, sizeof(field), "%s.%s", path, limit_infos[i].member);
                r = check_value(limits, i, groups, host, field, fault);
                if (r < 0)
                        return r;
                why = groups_why_without(groups, limit_infos[i].controller, &hint);
                if (why)
                        return fault_refuse(fault, -EOPNOTSUPP, field, hint, "%s", why);
        }
        return 0;
}

/*
 * Where the runner's nice value may not be set, the weight of the job's cgroup is set instead (see
 * limit-set.c), unless the spec asks for another weight.
 */
static int check_nice(const struct spec *spec, const struct groups *groups, struct fault *fault)
{
        _cleanup_fault_ struct fault own = FAULT_NULL;
        const char *advice;

        if (!spec->has_nice || priority_may_set(spec->nice, &own))
                return 0;
        advice = own.advice;
        if (groups_exist(groups) && groups->controllers & CGROUP_CPU) {
                if (!limits_has(&spec->limits, LIMIT_CPU_WEIGHT))
                        return 0;
                advice = "leave out either the weight or the nice value: here a nice value is set "
                         "through the weight of the job's cgroup";
        }
        return fault_refuse(fault, -EOPNOTSUPP, "spec.nice", advice, "%s", own.why);
}

static int check_threaded(const struct spec *spec, const struct groups *groups, struct fault *fault)
{
        const char *why, *hint;

        if (spec->threaded && !groups_exist(groups))
                return fault_refuse(
                        fault, -EOPNOTSUPP, "spec.threaded",
                        "start the daemon where it can make cgroups (pppctl doctor), or "
                        "leave it out",
                        "%s", groups->why ?: "jobs have no cgroup here");
        if (spec->n_thread_weights == 0)
                return 0;
        why = groups_why_without(groups, CGROUP_CPU, &hint);
        return why ? fault_refuse(fault, -EOPNOTSUPP, "spec.thread_weights", hint, "%s", why) : 0;
}

/* The CPU time is read from the group's cpu.stat, which exists without any controller. */
static int check_cpu_time(const struct spec *spec, const struct groups *groups, struct fault *fault)
{
        if (spec->cpu_time_max_ns == 0 || groups_exist(groups))
                return 0;
        return fault_refuse(
                fault, -EOPNOTSUPP, "spec.cpu_time_max_seconds",
                "start the daemon where it can make cgroups (pppctl doctor), or limit the "
                "time by the clock instead",
                "%s", groups->why ?: "jobs have no cgroup whose CPU time could be read");
}

int limit_check(const struct spec *spec, const struct groups *groups, const struct host *host,
                struct fault *fault)
{
        int r;

        r = check_limits(&spec->limits, "spec.limits", groups, host, fault);
        if (r >= 0)
                r = check_limits(&spec->worker_limits, "spec.worker_limits", groups, host, fault);
        if (r >= 0)
                r = check_limits(&spec->task_limits, "spec.task_limits", groups, host, fault);
        if (r >= 0)
                r = check_nice(spec, groups, fault);
        if (r >= 0)
                r = check_threaded(spec, groups, fault);
        return r < 0 ? r : check_cpu_time(spec, groups, fault);
}
