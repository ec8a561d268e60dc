#include "lib/doctor/check.h"

#include <fcntl.h>
#include <stdio.h>

/*
 * The controllers of jobs' groups: the same as those of the group in which the checks try things.
 */
static bool has(const struct patient *patient, enum cgroup_controller controller)
{
        unsigned available;

        return patient->try_fd >= 0 && cgroup_read_available(patient->try_fd, &available) >= 0 &&
               available & controller;
}

static void explain(const struct patient *patient, enum cgroup_controller controller,
                    struct finding *finding)
{
        struct cgroup_whereabouts where = { CGROUP_PLACE_ABSENT, NULL };
        _cleanup_free_ char *why = NULL;

        if (!patient->base ||
            cgroup_find_controller(controller, patient->mount, patient->base, &where) < 0) {
                finding_set(finding, CHECK_NO, "see groups for jobs", "there is no group to limit");
                return;
        }
        why = cgroup_explain(controller, &where);
        /* The base has the controller, but holds processes, or we may not change it. */
        if (where.place == CGROUP_PLACE_HERE)
                finding_set(finding, patient->doctor->is_daemon ? CHECK_NO : CHECK_PARTLY,
                            "start the daemon as a systemd service with Delegate=cpu cpuset io "
                            "memory pids",
                            "%s has it, and does not pass it on", patient->base);
        else
                finding_set(finding, CHECK_NO, cgroup_advise(&where), "%s",
                            why ?: "(out of memory)");
        free(where.path);
}

static void check_controller(const struct patient *patient, enum cgroup_controller controller,
                             const char *options, struct finding *finding)
{
        if (has(patient, controller))
                finding_set(finding, CHECK_YES, NULL, "%s", options);
        else
                explain(patient, controller, finding);
}

void check_cpu(const struct patient *patient, struct finding *finding)
{
        check_controller(patient, CGROUP_CPU, "--cpu-max, --cpu-weight, --thread-weight", finding);
}

void check_cpuset(const struct patient *patient, struct finding *finding)
{
        check_controller(patient, CGROUP_CPUSET, "--cpus", finding);
}

void check_memory(const struct patient *patient, struct finding *finding)
{
        check_controller(patient, CGROUP_MEMORY, "--memory-max, --memory-high", finding);
}

void check_pids(const struct patient *patient, struct finding *finding)
{
        check_controller(patient, CGROUP_PIDS, "--pids-max", finding);
}

void check_io(const struct patient *patient, struct finding *finding)
{
        check_controller(patient, CGROUP_IO, "reads and writes are counted", finding);
}

/* A file of a controller: this kernel may lack it even if it has the controller. */
static void check_file(const struct patient *patient, enum cgroup_controller controller,
                       const char *file, const char *what, const char *remedy,
                       struct finding *finding)
{
        if (!has(patient, controller))
                finding_set(finding, CHECK_NO, "see the controllers above",
                            "it takes the %s controller", cgroup_controller_name(controller));
        else if (faccessat(patient->try_fd, file, F_OK, 0) < 0)
                finding_set(finding, CHECK_NO, remedy, "%s: %s", file, strerrordesc_np(errno));
        else
                finding_set(finding, CHECK_YES, NULL, "%s", what);
}

void check_memory_peak(const struct patient *patient, struct finding *finding)
{
        check_file(patient, CGROUP_MEMORY, "memory.peak", "peak memory of a job",
                   "boot Linux 5.19 or newer", finding);
}

void check_pids_peak(const struct patient *patient, struct finding *finding)
{
        check_file(patient, CGROUP_PIDS, "pids.peak", "peak number of processes and threads",
                   "boot Linux 6.1 or newer", finding);
}

void check_io_max(const struct patient *patient, struct finding *finding)
{
        check_file(patient, CGROUP_IO, "io.max", "--io-max",
                   "boot a kernel with CONFIG_BLK_DEV_THROTTLING", finding);
}

void check_swap_max(const struct patient *patient, struct finding *finding)
{
        check_file(patient, CGROUP_MEMORY, "memory.swap.max", "--swap-max",
                   "boot with swapaccount=1", finding);
}
