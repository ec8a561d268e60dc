#include "lib/metric.h"

static const struct metric_member io[] = {
        { .key = "read_bytes", .label = "read from disks", .kind = METRIC_BYTES },
        { .key = "write_bytes", .label = "written to disks", .kind = METRIC_BYTES },
        { .key = "reads", .kind = METRIC_COUNT },
        { .key = "writes", .kind = METRIC_COUNT },
        { .key = NULL },
};

static const struct metric_member memory_stat[] = {
        { .key = "anon_bytes", .label = "anonymous", .kind = METRIC_BYTES },
        { .key = "file_bytes", .label = "page cache", .kind = METRIC_BYTES },
        { .key = "shmem_bytes", .label = "shared", .kind = METRIC_BYTES },
        { .key = "kernel_stack_bytes", .label = "kernel stacks", .kind = METRIC_BYTES },
        { .key = "slab_bytes", .label = "slab", .kind = METRIC_BYTES },
        { .key = "sock_bytes", .label = "sockets", .kind = METRIC_BYTES },
        { .key = "page_faults", .label = "page faults", .kind = METRIC_COUNT },
        { .key = "page_faults_major", .label = "of those, major", .kind = METRIC_COUNT },
        { .key = NULL },
};

static const struct metric_member memory_events[] = {
        { .key = "low", .kind = METRIC_COUNT },
        { .key = "high", .label = "slowed at memory.high", .kind = METRIC_COUNT },
        { .key = "max", .label = "came to memory.max", .kind = METRIC_COUNT },
        { .key = "oom", .label = "out of memory", .kind = METRIC_COUNT },
        { .key = "oom_kill", .label = "OOM kills", .kind = METRIC_COUNT },
        { .key = "oom_group_kill", .kind = METRIC_COUNT },
        { .key = NULL },
};

/* Besides those that a cgroup enforces. */
static const struct metric_member other_limits[] = {
        { .key = "nice", .label = "nice", .kind = METRIC_COUNT },
        { .key = "timeout_seconds", .label = "time", .kind = METRIC_SECONDS },
        { .key = "cpu_time_max_seconds", .label = "CPU time", .kind = METRIC_SECONDS },
        { .key = "worker", .label = "of each worker", .kind = METRIC_LIMITS },
        { .key = "task", .label = "of each task", .kind = METRIC_LIMITS },
        { .key = NULL },
};

static const struct metric_member cpu_throttling[] = {
        { .key = "periods", .label = "periods of cpu.max", .kind = METRIC_COUNT },
        { .key = "throttled_periods", .label = "throttled in", .kind = METRIC_COUNT },
        { .key = "throttled_seconds", .label = "throttled for", .kind = METRIC_SECONDS },
        { .key = NULL },
};

static const struct metric_member ring[] = {
        { .key = "setup", .label = "set up with", .kind = METRIC_TEXT, .required = true },
        { .key = "submissions", .label = "submissions", .kind = METRIC_COUNT, .required = true },
        { .key = "completions", .label = "completions", .kind = METRIC_COUNT, .required = true },
        { .key = "enters",
          .label = "io_uring_enter calls",
          .kind = METRIC_COUNT,
          .required = true },
        { .key = "wakeups", .label = "wake-ups", .kind = METRIC_COUNT, .required = true },
        { .key = "completions_per_wakeup", .label = "completions a wake-up", .kind = METRIC_RATIO },
        { .key = "overflows", .label = "overflows", .kind = METRIC_COUNT, .required = true },
        { .key = "stall_max_seconds",
          .label = "longest stall",
          .kind = METRIC_SECONDS,
          .required = true },
        { .key = NULL },
};

static const struct metric_member executor[] = {
        { .key = "kind", .label = "kind", .kind = METRIC_TEXT, .required = true },
        { .key = "workers", .label = "workers", .kind = METRIC_COUNT, .required = true },
        { .key = "calls", .label = "calls", .kind = METRIC_COUNT, .required = true },
        { .key = "messages", .label = "messages to loops", .kind = METRIC_COUNT, .required = true },
        { .key = "eventfd_writes",
          .label = "eventfd writes",
          .kind = METRIC_COUNT,
          .required = true },
        { .key = "replaced", .label = "processes replaced", .kind = METRIC_COUNT },
        { .key = NULL },
};

static const struct metric_member machines[] = {
        { .key = "nodes", .label = "nodes", .kind = METRIC_COUNT },
        { .key = "chunks_sent", .label = "chunks sent", .kind = METRIC_COUNT },
        { .key = "chunks_resent", .label = "of those, again", .kind = METRIC_COUNT },
        { .key = "sent_bytes", .label = "inputs sent", .kind = METRIC_BYTES },
        { .key = "results_duplicate", .label = "results that came twice", .kind = METRIC_COUNT },
        { .key = "results_foreign", .label = "entries not understood", .kind = METRIC_COUNT },
        { .key = NULL },
};

static const struct metric_member host[] = {
        { .key = "kernel", .label = "kernel", .kind = METRIC_TEXT, .required = true },
        { .key = "cpus", .label = "CPUs", .kind = METRIC_COUNT, .required = true },
        { .key = "cgroup", .label = "cgroup", .kind = METRIC_TEXT, .required = true },
        { .key = "version", .label = "pppd", .kind = METRIC_TEXT, .required = true },
        { .key = NULL },
};

#define TASKS    .section = "tasks"
#define TIME     .section = "time"
#define COST     .section = "cost"
#define PRESSURE .section = "pressure"
#define MEMORY   .section = "memory"
#define LIMITS   .section = "limits"

#define RUNNER     .from_runner = true
#define SET_APART  .set_apart = true
#define HIGHEST    .addition = METRIC_HIGHEST
#define MEMBERS(m) .kind = METRIC_OBJECT, .members = m

const struct metric_info metric_infos[] = {
        { "tasks_total", "total", TASKS, METRIC_COUNT },
        { "tasks_done", "done", TASKS, METRIC_COUNT },
        { "tasks_failed", "failed", TASKS, METRIC_COUNT },
        { "tasks_retried", "tried again", TASKS, METRIC_COUNT },

        { "wall_seconds", "submission to end", TIME, METRIC_SECONDS },
        { "work_seconds", "first task to last", TIME, METRIC_SECONDS, RUNNER },
        { "start_seconds", "submission to runner", TIME, METRIC_SECONDS },
        { "tasks_per_second", "tasks a second", TIME, METRIC_RATE },
        { "queue_seconds", "queued", TIME, METRIC_DISTRIBUTION, RUNNER },
        { "worker_start_seconds", "worker start", TIME, METRIC_DISTRIBUTION, RUNNER },
        { "service_seconds", "service", TIME, METRIC_DISTRIBUTION, RUNNER },

        { "cpu_user_seconds", "CPU, user", COST, METRIC_SECONDS, SET_APART },
        { "cpu_system_seconds", "CPU, system", COST, METRIC_SECONDS, SET_APART },
        { "cpu_source", "CPU as told by", COST, METRIC_TEXT },
        { "memory_peak_bytes", "peak memory", COST, METRIC_BYTES, SET_APART, HIGHEST },
        { "rss_peak_bytes", "peak resident sets", COST, METRIC_BYTES, SET_APART, RUNNER },
        { "io", "traffic of disks", COST, MEMBERS(io) },
        { "pids_peak", "most processes, threads", COST, METRIC_COUNT, HIGHEST },
        { "context_switches_voluntary", "switches, voluntary", COST, METRIC_COUNT, SET_APART },
        { "context_switches_involuntary", "switches, involuntary", COST, METRIC_COUNT, SET_APART },
        { "page_faults_minor", "page faults, minor", COST, METRIC_COUNT, SET_APART },
        { "page_faults_major", "page faults, major", COST, METRIC_COUNT, SET_APART },
        { "syscalls", "system calls", COST, METRIC_COUNT, SET_APART, RUNNER },
        { "workers", "workers", .kind = METRIC_COUNT, .of_nodes = true, RUNNER },
        { "imbalance_ratio", "busiest worker to mean", COST, METRIC_RATIO, RUNNER },
        { "workers_replaced", "workers replaced", COST, METRIC_COUNT, RUNNER,
          .features = LEVEL_WORKER_GROUPS },
        { "workers_refused", "workers refused", COST, METRIC_COUNT, RUNNER,
          .features = LEVEL_ONE_PROCESS | LEVEL_WORKER_GROUPS },
        { "thread_cpu_seconds", "CPU by thread, seconds", COST, METRIC_SECONDS_LIST, RUNNER,
          .features = LEVEL_ONE_PROCESS, .threaded = true },
        { "measuring_seconds", "measuring itself", COST, METRIC_SECONDS, RUNNER },

        { "pressure_cpu_waiting_seconds", "CPU, some waited", PRESSURE, METRIC_SECONDS },
        { "pressure_memory_waiting_seconds", "memory, some waited", PRESSURE, METRIC_SECONDS },
        { "pressure_memory_stalled_seconds", "memory, all stalled", PRESSURE, METRIC_SECONDS },
        { "pressure_io_waiting_seconds", "I/O, some waited", PRESSURE, METRIC_SECONDS },
        { "pressure_io_stalled_seconds", "I/O, all stalled", PRESSURE, METRIC_SECONDS },

        { "memory_stat", "memory by kind", MEMORY, MEMBERS(memory_stat), RUNNER,
          .addition = METRIC_LATEST },
        { "memory_events", "hits of memory limits", MEMORY, MEMBERS(memory_events) },

        { "limits", "limits", LIMITS, METRIC_LIMITS, other_limits },
        { "limits_met", "met", LIMITS, METRIC_LIMITS_MET },
        { "pids_refused", "refused by pids.max", LIMITS, METRIC_COUNT },
        { "cpu_throttling", "throttling by cpu.max", LIMITS, MEMBERS(cpu_throttling) },

        { "ring", "ring", "ring", MEMBERS(ring), RUNNER, .features = LEVEL_LOOPS },
        { "executor", "executor", "executor", MEMBERS(executor), RUNNER, .features = LEVEL_LOOPS,
          .executor = true, .addition = METRIC_LATEST },
        { "machines", "machines", "machines", MEMBERS(machines), RUNNER, .of_nodes = true },
        { "coordinator", "coordinator", "coordinator", METRIC_COORDINATOR, .of_nodes = true },
        { "host", "host", "host", MEMBERS(host) },
};
const size_t n_metric_infos = ARRAY_SIZE(metric_infos);

const struct metric_info *metric_find(const char *key)
{
        for (size_t i = 0; i < n_metric_infos; ++i)
                if (streq(metric_infos[i].key, key))
                        return &metric_infos[i];
        return NULL;
}

bool metric_applies(const struct metric_info *metric, const struct spec *spec)
{
        if (metric->of_nodes && level_has(spec->level, LEVEL_LOCAL))
                return false;
        if (metric->features && !(level_info(spec->level)->features & metric->features))
                return false;
        if (metric->executor && spec->executor == EXECUTOR_NONE)
                return false;
        return !metric->threaded || spec->threaded;
}

static bool is_whole(const json_t *value)
{
        return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_real(const json_t *value)
{
        return json_is_number(value) && json_number_value(value) >= 0;
}

static bool is_distribution(const json_t *value)
{
        static const char *const members[] = { "p50", "p90", "p99", "max" };

        if (json_object_size(value) != ARRAY_SIZE(members))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
                if (!is_real(json_object_get(value, members[i])))
                        return false;
        return true;
}

static bool is_list(const json_t *value)
{
        const json_t *member;
        size_t i;

        json_array_foreach(value, i, member)
                if (!is_real(member))
                        return false;
        return json_is_array(value);
}

static bool is_of_kind(enum metric_kind kind, const json_t *value)
{
        switch (kind) {
        case METRIC_COUNT:
        case METRIC_BYTES:
                return is_whole(value);
        case METRIC_SECONDS:
        case METRIC_RATE:
        case METRIC_RATIO:
                return is_real(value);
        case METRIC_TEXT:
                return json_is_string(value);
        case METRIC_DISTRIBUTION:
                return is_distribution(value);
        case METRIC_SECONDS_LIST:
                return is_list(value);
        case METRIC_OBJECT:
        case METRIC_COORDINATOR:
        case METRIC_LIMITS:
                return json_is_object(value);
        case METRIC_LIMITS_MET:
                return json_is_array(value);
        }
        assert(false);
        return false;
}

static bool has_members(const struct metric_member *members, const json_t *value)
{
        size_t n_known = 0;

        for (const struct metric_member *m = members; m->key; ++m) {
                const json_t *member = json_object_get(value, m->key);

                if (member ? !is_of_kind(m->kind, member) : m->required)
                        return false;
                n_known += member != NULL;
        }
        return n_known == json_object_size(value);
}

bool metric_is_valid(const struct metric_info *metric, const json_t *value)
{
        return is_of_kind(metric->kind, value) &&
               (metric->kind != METRIC_OBJECT || has_members(metric->members, value));
}

bool summary_member_is_identity(const char *key)
{
        static const char *const members[] = {
                "schema", "version",  "job",     "state", "reason", "reason_detail", "resumed",
                "level",  "workload", "workers", "loops", "gil",    "threaded",      "unavailable",
        };

        for (size_t i = 0; i < ARRAY_SIZE(members); ++i)
                if (streq(members[i], key))
                        return true;
        return false;
}
