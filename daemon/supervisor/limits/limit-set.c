#include "daemon/supervisor/limits/limit-set.h"

#include <stdio.h>

#include "daemon/supervisor/base/log.h"
#include "lib/priority.h"

/*
 * This many bytes of the runner's memory are protected from reclaim. Otherwise workers or commands
 * that use up the job's memory would bring the runner to a standstill, which has to record how they
 * died.
 */
#define RUNNER_MEMORY_MIN (UINT64_C(4) << 20)

static void protect_runner(const struct spec *spec, const struct child_group *group)
{
        char text[24];
        int r;

        if (!(spec_has_worker_processes(spec) || spec_has_task_groups(spec)) ||
            !limits_enforces(&spec->limits, LIMIT_MEMORY_MAX))
                return;
        snprintf(text, sizeof(text), "%llu",
                 (unsigned long long)MIN(RUNNER_MEMORY_MIN,
                                         spec->limits.values[LIMIT_MEMORY_MAX] / 4));
        r = cgroup_write(group->fd, "runner/memory.min", text);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot write memory.min of %s/runner: %s", group->name,
                               strerror(-r));
}

/*
 * Sets the nice value through the group's weight: the kernel turns it into the weight that the
 * scheduler gives to this nice value. priority.h says where the runner's own can be set.
 */
static int set_nice(const struct spec *spec, const struct groups *groups,
                    const struct child_group *group, struct fault *fault)
{
        char text[24];
        int r;

        if (!spec->has_nice || !(groups->controllers & CGROUP_CPU) ||
            limits_has(&spec->limits, LIMIT_CPU_WEIGHT))
                return 0;
        snprintf(text, sizeof(text), "%d", spec->nice);
        r = cgroup_write(group->fd, "cpu.weight.nice", text);
        if (r >= 0)
                return 0;
        return fault_refuse(fault, r, "spec.nice", "give --cpu-weight instead",
                            "cannot write cpu.weight.nice of the cgroup: %s", strerror(-r));
}

int limit_set(const struct spec *spec, const struct groups *groups, const struct child_group *group,
              struct fault *fault)
{
        int r;

        r = limits_apply(&spec->limits, group->fd, "spec.limits", fault);
        if (r >= 0)
                r = set_nice(spec, groups, group, fault);
        if (r >= 0)
                protect_runner(spec, group);
        return r;
}

int limit_attempt(struct fault *fault)
{
        const char *name = strrchr(fault->field, '.');

        return fault_attempt(fault, "set the limit %s", name ? name + 1 : fault->field);
}

int limit_get_nice(const struct child_group *group, pid_t runner, int wanted, int *ret)
{
        _cleanup_free_ char *text = NULL;
        int nice, r;

        r = priority_get(runner, &nice);
        if (r < 0)
                return r;
        if (nice != wanted && child_group_exists(group) &&
            read_file_at(group->fd, "cpu.weight.nice", &text, NULL) >= 0)
                nice = atoi(text);
        *ret = nice;
        return 0;
}
