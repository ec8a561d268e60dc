#include "daemon/supervisor/account/metrics.h"

#define ALL       LEVELS_ALL
#define THREADS   LEVEL_BIT(LEVEL_THREADS)
#define PROCESSES LEVEL_BIT(LEVEL_PROCESSES)
#define ASYNC     LEVEL_BIT(LEVEL_ASYNC)
#define MACHINES  LEVEL_BIT(LEVEL_MACHINES)

const struct metric metrics[] = {
        { "tasks_retried", METRIC_INTEGER, ALL, false, false },
        { "start_seconds", METRIC_REAL, ALL, false, false },
        { "tasks_per_second", METRIC_REAL, ALL, false, false },
        { "cpu_user_seconds", METRIC_REAL, ALL, false, false },
        { "cpu_system_seconds", METRIC_REAL, ALL, false, false },
        { "memory_peak_bytes", METRIC_INTEGER, ALL, false, false },
        { "memory_stat", METRIC_NUMBERS, ALL, true, false },
        { "memory_events", METRIC_NUMBERS, ALL, false, false },
        { "pids_peak", METRIC_INTEGER, ALL, false, false },
        { "pids_refused", METRIC_INTEGER, ALL, false, false },
        { "io", METRIC_NUMBERS, ALL, false, false },
        { "cpu_throttling", METRIC_NUMBERS, ALL, false, false },
        { "context_switches_voluntary", METRIC_INTEGER, ALL, false, false },
        { "context_switches_involuntary", METRIC_INTEGER, ALL, false, false },
        { "page_faults_minor", METRIC_INTEGER, ALL, false, false },
        { "page_faults_major", METRIC_INTEGER, ALL, false, false },
        { "pressure_cpu_waiting_seconds", METRIC_REAL, ALL, false, false },
        { "pressure_memory_waiting_seconds", METRIC_REAL, ALL, false, false },
        { "pressure_memory_stalled_seconds", METRIC_REAL, ALL, false, false },
        { "pressure_io_waiting_seconds", METRIC_REAL, ALL, false, false },
        { "pressure_io_stalled_seconds", METRIC_REAL, ALL, false, false },
        { "work_seconds", METRIC_REAL, ALL, true, false },
        { "rss_peak_bytes", METRIC_INTEGER, ALL, true, false },
        { "syscalls", METRIC_INTEGER, ALL, true, false },
        { "queue_seconds", METRIC_DISTRIBUTION, ALL, true, false },
        { "service_seconds", METRIC_DISTRIBUTION, ALL, true, false },
        { "worker_start_seconds", METRIC_DISTRIBUTION, ALL, true, false },
        { "imbalance_ratio", METRIC_REAL, ALL, true, false },
        { "workers_replaced", METRIC_INTEGER, PROCESSES, true, false },
        { "workers_refused", METRIC_INTEGER, THREADS | PROCESSES, true, false },
        { "thread_cpu_seconds", METRIC_REALS, THREADS, true, true },
        { "ring", METRIC_RING, ASYNC, true, false },
        { "workers", METRIC_INTEGER, MACHINES, true, false },
        { "machines", METRIC_NUMBERS, MACHINES, true, false },
        { "coordinator", METRIC_NUMBERS, MACHINES, false, false },
        { "measuring_seconds", METRIC_REAL, ALL, true, false },
};
const size_t n_metrics = ARRAY_SIZE(metrics);

const struct metric *metric_find(const char *key)
{
        for (size_t i = 0; i < n_metrics; ++i)
                if (streq(metrics[i].key, key))
                        return &metrics[i];
        return NULL;
}

static bool is_integer(const json_t *value)
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

static bool is_ring(const json_t *value)
{
        static const char *const integers[] = { "submissions", "completions", "enters", "wakeups",
                                                "overflows" };
        const json_t *ratio = json_object_get(value, "completions_per_wakeup");

        for (size_t i = 0; i < ARRAY_SIZE(integers); ++i)
                if (!is_integer(json_object_get(value, integers[i])))
                        return false;
        return json_is_string(json_object_get(value, "setup")) &&
               is_real(json_object_get(value, "stall_max_seconds")) && (!ratio || is_real(ratio)) &&
               json_object_size(value) == ARRAY_SIZE(integers) + 2 + (ratio != NULL);
}

static bool is_numbers(const json_t *value)
{
        const char *key;
        json_t *member;

        json_object_foreach((json_t *)value, key, member)
                if (!is_real(member))
                        return false;
        return json_is_object(value);
}

static bool is_reals(const json_t *value)
{
        const json_t *member;
        size_t i;

        json_array_foreach(value, i, member)
                if (!is_real(member))
                        return false;
        return json_is_array(value);
}

bool metric_applies(const struct metric *metric, const struct spec *spec)
{
        return metric->levels & LEVEL_BIT(spec->level) && (!metric->threaded || spec->threaded);
}

bool metric_is_valid(const struct metric *metric, const json_t *value)
{
        switch (metric->kind) {
        case METRIC_INTEGER:
                return is_integer(value);
        case METRIC_REAL:
                return is_real(value);
        case METRIC_DISTRIBUTION:
                return is_distribution(value);
        case METRIC_RING:
                return is_ring(value);
        case METRIC_NUMBERS:
                return is_numbers(value);
        case METRIC_REALS:
                return is_reals(value);
        }
        assert(false);
        return false;
}
