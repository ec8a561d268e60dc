#include "daemon/supervisor/metrics.h"

#define ALL   ((1U << _LEVEL_N) - 1)
#define ASYNC (1U << LEVEL_ASYNC)

const struct metric metrics[] = {
        { "tasks_retried", METRIC_INTEGER, ALL, false },
        { "start_seconds", METRIC_REAL, ALL, false },
        { "tasks_per_second", METRIC_REAL, ALL, false },
        { "cpu_user_seconds", METRIC_REAL, ALL, false },
        { "cpu_system_seconds", METRIC_REAL, ALL, false },
        { "memory_peak_bytes", METRIC_INTEGER, ALL, false },
        { "context_switches_voluntary", METRIC_INTEGER, ALL, false },
        { "context_switches_involuntary", METRIC_INTEGER, ALL, false },
        { "page_faults_minor", METRIC_INTEGER, ALL, false },
        { "page_faults_major", METRIC_INTEGER, ALL, false },
        { "pressure_cpu_waiting_seconds", METRIC_REAL, ALL, false },
        { "pressure_memory_waiting_seconds", METRIC_REAL, ALL, false },
        { "pressure_memory_stalled_seconds", METRIC_REAL, ALL, false },
        { "pressure_io_waiting_seconds", METRIC_REAL, ALL, false },
        { "pressure_io_stalled_seconds", METRIC_REAL, ALL, false },
        { "work_seconds", METRIC_REAL, ALL, true },
        { "rss_peak_bytes", METRIC_INTEGER, ALL, true },
        { "syscalls", METRIC_INTEGER, ALL, true },
        { "queue_seconds", METRIC_DISTRIBUTION, ALL, true },
        { "service_seconds", METRIC_DISTRIBUTION, ALL, true },
        { "worker_start_seconds", METRIC_DISTRIBUTION, ALL, true },
        { "imbalance_ratio", METRIC_REAL, ALL, true },
        { "workers_replaced", METRIC_INTEGER, 1U << LEVEL_PROCESSES, true },
        { "ring", METRIC_RING, ASYNC, true },
        { "measuring_seconds", METRIC_REAL, ALL, true },
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
        }
        assert(false);
        return false;
}
