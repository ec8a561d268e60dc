/* What a spec comes to on this machine, and what follows from it. */

#include "lib/spec.h"

bool spec_has_task_groups(const struct spec *spec)
{
        return workload_info(spec->workload)->runs_commands && !spec->command.no_group;
}

bool spec_has_worker_processes(const struct spec *spec)
{
        return level_has(spec->level, LEVEL_WORKER_GROUPS) ||
               (level_has(spec->level, LEVEL_LOOPS) && spec->executor == EXECUTOR_PROCESSES);
}

/* The job's own limit bounds them all; this names the one that took too much. */
static void fill_worker_memory(struct spec *spec)
{
        if (!spec_has_worker_processes(spec) || !limits_enforces(&spec->limits, LIMIT_MEMORY_MAX) ||
            limits_has(&spec->worker_limits, LIMIT_MEMORY_MAX))
                return;
        spec->worker_limits.values[LIMIT_MEMORY_MAX] = spec->limits.values[LIMIT_MEMORY_MAX];
        spec->worker_limits.given |= LIMIT_BIT(LIMIT_MEMORY_MAX);
}

void spec_fill(struct spec *spec, unsigned n_cpus, uint64_t n_tasks)
{
        if (!level_has(spec->level, LEVEL_LOCAL))
                return;
        if (spec->workers == 0)
                spec->workers = level_default_workers(spec->level, n_cpus);
        spec->workers = (uint32_t)MIN((uint64_t)spec->workers, MAX(n_tasks, UINT64_C(1)));
        if (level_has(spec->level, LEVEL_LOOPS))
                spec->loops = MIN(spec->loops ? spec->loops : 1, spec->workers);
        if (spec->executor != EXECUTOR_NONE && spec->executor_workers == 0)
                spec->executor_workers = MIN(n_cpus, (unsigned)SPEC_EXECUTOR_WORKERS_MAX);
        fill_worker_memory(spec);
}
