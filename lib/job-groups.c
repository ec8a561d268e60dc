#include "lib/job-groups.h"

#include <stdio.h>

/* The file is there when the memory controller is (4.19). */
static int kill_as_one(int fd, const char *field, struct fault *fault)
{
        int r = cgroup_write(fd, "memory.oom.group", "1");

        if (r >= 0 || r == -ENOENT)
                return 0;
        return fault_refuse(fault, r, field, "pppctl doctor tells what the daemon may write to",
                            "cannot write memory.oom.group of the cgroup: %s", strerrordesc_np(-r));
}

int worker_group_limit(int fd, const struct spec *spec, struct fault *fault)
{
        int r;

        r = kill_as_one(fd, "spec.worker_limits", fault);
        return r < 0 ? r : limits_apply(&spec->worker_limits, fd, "spec.worker_limits", fault);
}

int task_group_limit(int fd, const struct spec *spec, struct fault *fault)
{
        int r;

        r = kill_as_one(fd, "spec.task_limits", fault);
        return r < 0 ? r : limits_apply(&spec->task_limits, fd, "spec.task_limits", fault);
}

bool worker_group_lacks_controllers(int fd, const struct spec *spec)
{
        unsigned available;

        if (cgroup_read_available(fd, &available) < 0)
                return false;
        for (enum limit i = 0; i < _LIMIT_N; ++i)
                if (limits_enforces(&spec->worker_limits, i) &&
                    !(available & limit_infos[i].controller))
                        return true;
        return false;
}

int thread_groups_pass_on_cpu(int runner_fd)
{
        unsigned enabled;
        int r;

        r = cgroup_enable_some(runner_fd, CGROUP_CPU, &enabled);
        return r >= 0 && !(enabled & CGROUP_CPU) ? -ENOENT : r;
}

int thread_group_weigh(int runner_fd, const struct spec *spec, unsigned i)
{
        char path[48], text[16];
        uint32_t weight;
        uint64_t there;
        int r;

        if (spec->n_thread_weights == 0)
                return 0;
        weight = spec->thread_weights[i % spec->n_thread_weights];
        snprintf(path, sizeof(path), "thread-%u/cpu.weight", i);
        snprintf(text, sizeof(text), "%u", weight);
        r = cgroup_write(runner_fd, path, text);
        if (r >= 0)
                r = cgroup_read_u64(runner_fd, path, &there);
        return r >= 0 && there != weight ? -ERANGE : r;
}
