#include "daemon/supervisor/kept/totals.h"

#include "daemon/supervisor/kept/counters.h"
#include "lib/results.h"

const char totals_sum[] = "sum";

static const char *const wall_bounds[] = { "0.01", "0.1",   "1.0",    "10.0",
                                           "60.0", "600.0", "3600.0", "+Inf" };
/* 4 MiB to 16 GiB */
static const char *const memory_bounds[] = { "4194304.0",     "16777216.0",   "67108864.0",
                                             "268435456.0",   "1073741824.0", "4294967296.0",
                                             "17179869184.0", "+Inf" };

#define SUM(name_, unit_, help_, ...)                                                  \
        {                                                                              \
                .name = (name_), .unit = (unit_), .help = (help_), .kind = TOTALS_SUM, \
                .key = { __VA_ARGS__ }                                                 \
        }
#define HISTOGRAM(name_, unit_, help_, key_, bounds_)                                        \
        {                                                                                    \
                .name = (name_), .unit = (unit_), .help = (help_), .kind = TOTALS_HISTOGRAM, \
                .key = { key_ }, .bounds = (bounds_), .n_bounds = ARRAY_SIZE(bounds_)        \
        }

const struct totals_family totals_families[] = {
        { .name = "jobs",
          .kind = TOTALS_JOBS,
          .help = "Jobs that have ended, by outcome and reason" },
        { .name = "tasks",
          .kind = TOTALS_TASKS,
          .help = "Tasks with a result, counted when their job has ended" },
        SUM("task_retries", NULL, "Retries of tasks that failed for a passing reason",
            "tasks_retried"),
        HISTOGRAM("job_wall_seconds", "seconds", "Time from a job's submission to its end",
                  "wall_seconds", wall_bounds),
        HISTOGRAM("job_memory_peak_bytes", "bytes", "Peak memory of a job's cgroup",
                  "memory_peak_bytes", memory_bounds),
        HISTOGRAM("job_rss_peak_bytes", "bytes",
                  "Peak resident sets of a job's processes, added up", "rss_peak_bytes",
                  memory_bounds),
        SUM("cpu_user_seconds", "seconds", "CPU time of jobs in user mode", "cpu_user_seconds"),
        SUM("cpu_system_seconds", "seconds", "CPU time of jobs in the kernel",
            "cpu_system_seconds"),
        SUM("cpu_throttled_seconds", "seconds", "Time that cpu.max made jobs wait, over all CPUs",
            "cpu_throttling", "throttled_seconds"),
        SUM("oom_kills", NULL, "Processes of jobs that the kernel killed for lack of memory",
            "memory_events", "oom_kill"),
        SUM("memory_max_hits", NULL, "Times that jobs reached memory.max", "memory_events", "max"),
        SUM("memory_high_hits", NULL, "Times that memory.high slowed jobs down", "memory_events",
            "high"),
        SUM("forks_refused", NULL, "Processes and threads that pids.max refused to jobs",
            "pids_refused"),
        SUM("workers_replaced", NULL, "Worker processes that died and were replaced",
            "workers_replaced"),
        SUM("io_read_bytes", "bytes", "Bytes that jobs read from disks", "io", "read_bytes"),
        SUM("io_written_bytes", "bytes", "Bytes that jobs wrote to disks", "io", "write_bytes"),
        SUM("context_switches_voluntary", NULL, "Context switches of jobs that had to wait",
            "context_switches_voluntary"),
        SUM("context_switches_involuntary", NULL, "Context switches of jobs that were preempted",
            "context_switches_involuntary"),
        SUM("page_faults_major", NULL, "Page faults of jobs that needed a disk",
            "page_faults_major"),
        SUM("pressure_cpu_waiting_seconds", "seconds",
            "Time in which some of a job waited for a CPU", "pressure_cpu_waiting_seconds"),
        SUM("pressure_memory_waiting_seconds", "seconds",
            "Time in which some of a job waited for memory", "pressure_memory_waiting_seconds"),
        SUM("pressure_io_waiting_seconds", "seconds",
            "Time in which some of a job waited for disks", "pressure_io_waiting_seconds"),
};
const size_t n_totals_families = ARRAY_SIZE(totals_families);

_Static_assert(_PPP_REASON_N + 1 + 2 * ARRAY_SIZE(totals_families) <= TOTALS_MAX,
               "no total is left out");

static struct total *add(struct totals *totals, const struct total *of, const char *metric,
                         double value)
{
        struct total *total = &totals->list[totals->n++];

        assert(totals->n <= TOTALS_MAX);
        *total = *of;
        total->metric = metric;
        total->value = value;
        return total;
}

static void add_outcome(struct totals *totals, const struct total *of, const char *metric,
                        double value, const char *outcome, const char *reason)
{
        struct total *total = add(totals, of, metric, value);

        total->outcome = outcome;
        total->reason = reason ?: "none";
}

/* Failures whose records cannot be read any more are counted with the reason "unknown". */
static void add_tasks(struct totals *totals, const struct total *of, const char *metric,
                      const struct job_record *record, const struct tally *tally)
{
        uint64_t n_done = tally ? tally->n_done_lately : record->n_done;
        uint64_t n_unknown = tally ? tally->failures[PPP_REASON_NONE] : record->n_failed;

        if (n_done > 0)
                add_outcome(totals, of, metric, (double)n_done, "done", NULL);
        for (unsigned i = PPP_REASON_NONE + 1; tally && i < _PPP_REASON_N; ++i)
                if (tally->failures[i] > 0)
                        add_outcome(totals, of, metric, (double)tally->failures[i], "failed",
                                    reason_name(i));
        if (n_unknown > 0)
                add_outcome(totals, of, metric, (double)n_unknown, "failed", "unknown");
}

/* Returns the bucket's text from the table: /metrics finds a bucket again by comparing text. */
static const char *find_bound(const struct totals_family *family, double value)
{
        size_t i = 0;

        while (i + 1 < family->n_bounds && value > strtod(family->bounds[i], NULL))
                ++i;
        return family->bounds[i];
}

static const json_t *number_in(const json_t *summary, const struct totals_family *family)
{
        const json_t *number = json_object_get(summary, family->key[0]);

        return family->key[1] ? json_object_get(number, family->key[1]) : number;
}

/*
 * A number that the summary does not have is unknown, not 0, so nothing is added. A job is in each
 * histogram once.
 */
static void add_number(struct totals *totals, const struct total *of,
                       const struct totals_family *family, const json_t *summary,
                       const json_t *told)
{
        const json_t *number = number_in(summary, family);
        double value;

        if (!json_is_number(number) || (told && family->kind == TOTALS_HISTOGRAM))
                return;
        value = json_number_value(number);
        if (family->kind == TOTALS_SUM) {
                value -= json_number_value(number_in(told, family));
                add(totals, of, family->name, MAX(value, 0.0));
                return;
        }
        add(totals, of, family->name, 1)->bucket = find_bound(family, value);
        add(totals, of, family->name, value)->bucket = totals_sum;
}

void totals_collect(const struct job_record *record, const struct tally *tally, const json_t *told,
                    struct totals *ret)
{
        const struct total of = {
                .level = json_string_value(json_object_get(record->spec, "level")) ?: "unknown",
                .workload =
                        json_string_value(json_object_get(record->spec, "workload")) ?: "unknown",
        };

        ret->n = 0;
        for (size_t i = 0; i < n_totals_families; ++i) {
                const struct totals_family *family = &totals_families[i];

                switch (family->kind) {
                case TOTALS_JOBS:
                        add_outcome(ret, &of, family->name, 1, job_state_name(record->state),
                                    job_reason_of(record));
                        break;
                case TOTALS_TASKS:
                        add_tasks(ret, &of, family->name, record, tally);
                        break;
                case TOTALS_SUM:
                case TOTALS_HISTOGRAM:
                        add_number(ret, &of, family, record->summary, told);
                        break;
                }
        }
}
