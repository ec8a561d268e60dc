#pragma once

/*
 * The spec of a job, which the client submits, the runner gets (with all defaults filled in), and
 * the database keeps. One parser and one writer for all three.
 */

#include <jansson.h>

#include "lib/command.h"
#include "lib/executor.h"
#include "lib/level.h"
#include "lib/halt.h"
#include "lib/limits.h"
#include "lib/workload.h"

#define SPEC_WORKERS_MAX          65535
#define SPEC_SECONDS_MAX          (365 * 86400) /* of each time limit */
#define SPEC_WEIGHTS_MAX          4096
#define SPEC_LOOPS_MAX            256
#define SPEC_EXECUTOR_WORKERS_MAX 1024
#define SPEC_RETRIES_MAX          100
#define SPEC_NICE_MIN             (-20)
#define SPEC_NICE_MAX             19
#define SPEC_NAME_MAX             64   /* bytes of a level's or a workload's name */
#define SPEC_PATH_MAX             4095 /* bytes, as the kernel takes: PATH_MAX with its 0 */

struct spec {
        enum level level;
        enum workload_id workload;
        uint32_t workers; /* 0: the level's default */
        uint32_t loops;   /* 0: one */
        enum executor executor;
        uint32_t executor_workers; /* for all loops together; 0: one a CPU */
        bool gil;
        bool threaded;            /* each thread in a threaded cgroup of its own */
        uint32_t *thread_weights; /* owned; cpu.weight of threads, in rotation; NULL: none */
        size_t n_thread_weights;
        uint64_t timeout_ns;      /* 0: none */
        uint64_t task_timeout_ns; /* 0: none */
        uint64_t cpu_time_max_ns; /* 0: none */
        bool has_nice;
        int nice;
        struct limits limits;        /* of the job's cgroup */
        struct limits worker_limits; /* of each worker's */
        struct limits task_limits;   /* of each command's */
        uint32_t retries;
        struct halt halt;
        uint64_t delay_ns;      /* from the beginning of a task to that of the next; 0: none */
        char *ca_file;          /* owned; NULL: the system's */
        struct command command; /* of the workload exec, and of no other */
};

#define SPEC_NULL                     \
        {                             \
                .level = LEVEL_SERIAL \
        }

/*
 * Strict: unknown members, wrong types and values out of range are errors (-EBADMSG, or -ENOMEM;
 * @fault tells, with the field). Absent members stay 0.
 */
int spec_from_json(json_t *json, struct spec *ret, struct fault *fault);

/* A new reference; members at their defaults are left out. NULL when out of memory. */
json_t *spec_to_json(const struct spec *spec);

/*
 * Fills in members that are 0: workers, loops and executor workers by the level's defaults on this
 * machine (@n_cpus), never more workers than tasks; nothing where the nodes decide. A worker
 * process gets the job's limit on memory for itself, so that the one that takes too much is known.
 */
void spec_fill(struct spec *spec, unsigned n_cpus, uint64_t n_tasks);

/*
 * Sets members that the level cannot honour to their defaults, for a comparison, whose options are
 * for those levels that have them. A member that would change the values of tasks stays, and is
 * refused when the spec is read.
 */
void spec_leave_out(struct spec *spec);

/*
 * Whether tasks run in processes that have a cgroup of their own each, which spec->worker_limits
 * are for: the workers of the level processes, at async those of the executor.
 */
bool spec_has_worker_processes(const struct spec *spec);

/* Whether each task's command runs in a cgroup of its own, where there are cgroups. */
bool spec_has_task_groups(const struct spec *spec);

void spec_deinit(struct spec *spec);
