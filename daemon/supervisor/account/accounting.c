#include "daemon/supervisor/account/accounting.h"

#include <fcntl.h>
#include <stdio.h>

#include "daemon/supervisor/account/accounting-internal.h"
#include "lib/metric.h"

#define MEASURES_SIZE_MAX (1U << 20)

#define SUMMARY_VERSION 1

void summary_put(struct summary *summary, const char *key, json_t *value_stolen)
{
        if (!value_stolen || json_object_set_new(summary->json, key, value_stolen) < 0)
                summary->failed = true;
}

void summary_miss(struct summary *summary, const char *key, const char *reason)
{
        json_t *entry = json_pack("{s:s, s:s}", "metric", key, "reason", reason);

        if (!entry || json_array_append_new(summary->unavailable, entry) < 0)
                summary->failed = true;
}

json_t *summary_take_missed(struct summary *summary, const char *key)
{
        const json_t *entry;
        json_t *reason;
        size_t i;

        json_array_foreach(summary->unavailable, i, entry) {
                if (!streq(json_string_value(json_object_get(entry, "metric")), key))
                        continue;
                reason = json_incref(json_object_get(entry, "reason"));
                (void)json_array_remove(summary->unavailable, i);
                return reason;
        }
        return NULL;
}

static bool is_missed(const struct summary *summary, const char *key)
{
        const json_t *entry;
        size_t i;

        json_array_foreach(summary->unavailable, i, entry)
                if (streq(json_string_value(json_object_get(entry, "metric")), key))
                        return true;
        return false;
}

static void put_identity(struct summary *summary, const struct accounting *a)
{
        summary_put(summary, "schema", json_string("io.pppctl.summary"));
        summary_put_integer(summary, "version", SUMMARY_VERSION);
        summary_put_integer(summary, "job", a->record->number);
        summary_put(summary, "state", json_string(job_state_name(a->record->state)));
        if (a->reason != REASON_NONE)
                summary_put(summary, "reason", json_string(job_reason_name(a->reason)));
        if (a->reason_detail)
                summary_put(summary, "reason_detail", json_string(a->reason_detail));
        if (a->resumed)
                summary_put(summary, "resumed", json_true());
        summary_put(summary, "level", json_string(level_name(a->spec->level)));
        summary_put(summary, "workload", json_string(workload_name(a->spec->workload)));
        /* At the level machines the nodes have the workers, and the runner counts them. */
        if (level_has(a->spec->level, LEVEL_LOCAL))
                summary_put_integer(summary, "workers", a->spec->workers);
        if (level_has(a->spec->level, LEVEL_LOOPS))
                summary_put_integer(summary, "loops", a->spec->loops);
        if (level_has(a->spec->level, LEVEL_ONE_PROCESS))
                summary_put(summary, "gil", json_boolean(a->spec->gil));
        if (a->spec->threaded)
                summary_put(summary, "threaded", json_true());
        summary_put(summary, "host",
                    json_pack("{s:s, s:I, s:s, s:s}", "kernel", a->host->kernel, "cpus",
                              (json_int_t)a->host->n_cpus, "cgroup", groups_kind(a->groups),
                              "version", PPPCTL_VERSION));
}

static void put_tasks(struct summary *summary, const struct accounting *a)
{
        const struct counters *c = a->counters;
        double wall = accounting_wall_seconds(a);
        uint64_t n = a->record->n_done + a->record->n_failed;

        summary_put_integer(summary, "tasks_total", a->record->n_tasks);
        summary_put_integer(summary, "tasks_done", a->record->n_done);
        summary_put_integer(summary, "tasks_failed", a->record->n_failed);
        summary_put_integer(summary, "tasks_retried", c->n_retried);
        summary_put(summary, "wall_seconds", json_real(wall));
        if (wall > 0)
                summary_put(summary, "tasks_per_second", json_real((double)n / wall));
        else
                summary_miss(summary, "tasks_per_second",
                             "the clock measured no time between submission and end");
        if (c->runner_start_ns != 0)
                summary_put_seconds(summary, "start_seconds",
                                    time_between(counters_began(c), c->runner_start_ns));
        else
                summary_miss(summary, "start_seconds",
                             "the runner never reached its first instruction");
}

/* The limits in force, as read back from the files of the job's cgroup. */
static json_t *read_limits(const struct accounting *a)
{
        struct limits limits = LIMITS_NULL;
        json_t *json;

        if (a->group && limits_read(a->group->fd, &limits) < 0)
                return NULL;
        json = limits_to_json(&limits);
        limits_deinit(&limits);
        return json;
}

static void put_limits(struct summary *summary, const struct accounting *a)
{
        struct summary limits = { read_limits(a), NULL, false };

        if (!limits.json) {
                summary_miss(summary, "limits", "the files of the job's cgroup cannot be read");
                return;
        }
        if (a->has_nice)
                summary_put(&limits, "nice", json_integer(a->nice));
        if (a->spec->timeout_ns)
                summary_put_seconds(&limits, "timeout_seconds", a->spec->timeout_ns);
        if (a->spec->cpu_time_max_ns)
                summary_put_seconds(&limits, "cpu_time_max_seconds", a->spec->cpu_time_max_ns);
        if (a->spec->worker_limits.given)
                summary_put(&limits, "worker", limits_to_json(&a->spec->worker_limits));
        if (a->spec->task_limits.given)
                summary_put(&limits, "task", limits_to_json(&a->spec->task_limits));
        summary->failed |= limits.failed;
        summary_put(summary, "limits", limits.json);
}

/* The summary has no list of limits that were reached if there were none. */
static void put_limits_met(struct summary *summary, const struct accounting *a)
{
        json_t *list = summary_limits_met(a);

        if (!list || json_array_size(list) > 0)
                summary_put(summary, "limits_met", list);
        else
                json_decref(list);
}

static void put_usage(struct summary *summary, const struct accounting *a)
{
        static const char *const keys[] = { "context_switches_voluntary",
                                            "context_switches_involuntary", "page_faults_minor",
                                            "page_faults_major" };
        const struct rusage *usage = a->usage;

        for (size_t i = 0; i < ARRAY_SIZE(keys) && !usage; ++i)
                summary_miss(summary, keys[i], a->usage_reason);
        if (!usage)
                return;
        summary_put_integer(summary, keys[0], (uint64_t)usage->ru_nvcsw);
        summary_put_integer(summary, keys[1], (uint64_t)usage->ru_nivcsw);
        summary_put_integer(summary, keys[2], (uint64_t)usage->ru_minflt);
        summary_put_integer(summary, keys[3], (uint64_t)usage->ru_majflt);
}

/*
 * The CPU time of nodes is kept under keys of its own until it is added to the coordinator's. The
 * finished summary has none of these keys.
 */
static const struct {
        const char *key, *nodes_key;
} nodes_cpu[] = {
        { "cpu_user_seconds", "nodes_cpu_user_seconds" },
        { "cpu_system_seconds", "nodes_cpu_system_seconds" },
};

static void put_nodes_usage(struct summary *summary, const struct accounting *a)
{
        const uint64_t usec[] = { a->nodes_user_usec, a->nodes_system_usec };

        for (size_t i = 0; i < ARRAY_SIZE(nodes_cpu); ++i)
                if (a->has_nodes_usage)
                        summary_put_seconds(summary, nodes_cpu[i].nodes_key,
                                            usec[i] * NSEC_PER_USEC);
                else
                        summary_miss(summary, nodes_cpu[i].nodes_key, a->nodes_usage_reason);
}

void summary_put_counted(struct summary *summary, const struct accounting *a)
{
        summary_put_group(summary, a);
        put_usage(summary, a);
        if (!level_has(a->spec->level, LEVEL_LOCAL))
                put_nodes_usage(summary, a);
}

static void merge_value(struct summary *summary, const char *key, const json_t *value)
{
        const struct metric_info *metric = metric_find(key);

        if (!metric || !metric->from_runner || is_missed(summary, key))
                return;
        if (metric_is_valid(metric, value))
                summary_put(summary, key, json_incref((json_t *)value));
        else
                summary_miss(summary, key,
                             "the runner wrote a value that is not valid in a summary");
}

static void merge_missing(struct summary *summary, const json_t *missing)
{
        const json_t *entry;
        size_t i;

        json_array_foreach(missing, i, entry) {
                const char *key = json_string_value(json_object_get(entry, "metric"));
                const char *reason = json_string_value(json_object_get(entry, "reason"));
                const struct metric_info *metric = key ? metric_find(key) : NULL;

                if (metric && metric->from_runner && reason &&
                    !json_object_get(summary->json, key) && !is_missed(summary, key))
                        summary_miss(summary, key, reason);
        }
}

/* The runner's measures; NULL if it wrote none, or something that is not a JSON object. */
static json_t *read_measures(int fd)
{
        _cleanup_free_ char *text = NULL;
        json_t *json;
        ssize_t n;

        if (fd < 0)
                return NULL;
        text = malloc(MEASURES_SIZE_MAX);
        if (!text)
                return NULL;
        n = pread(fd, text, MEASURES_SIZE_MAX, 0);
        if (n <= 0)
                return NULL;
        json = json_loadb(text, (size_t)n, 0, NULL);
        if (json_is_object(json))
                return json;
        json_decref(json);
        return NULL;
}

uint64_t accounting_read_refused(int measures_fd)
{
        json_t *measures = read_measures(measures_fd);
        json_int_t n = json_integer_value(json_object_get(measures, "workers_refused"));

        json_decref(measures);
        return n > 0 ? (uint64_t)n : 0;
}

static const char *why_not_measured(const struct accounting *a, bool measures_there)
{
        if (a->measures_fd < 0)
                return "the job was never started";
        if (!measures_there)
                return "the runner ended before it could write its measures";
        return "the runner did not measure it";
}

static void put_measures(struct summary *summary, const struct accounting *a)
{
        json_t *measures = read_measures(a->measures_fd), *value;
        const char *key, *why = why_not_measured(a, measures != NULL);

        json_object_foreach(measures, key, value)
                if (!streq(key, "unavailable"))
                        merge_value(summary, key, value);
        merge_missing(summary, json_object_get(measures, "unavailable"));
        json_decref(measures);
        for (size_t i = 0; i < n_metric_infos; ++i) {
                const struct metric_info *metric = &metric_infos[i];

                if (metric->from_runner && metric_applies(metric, a->spec) &&
                    !json_object_get(summary->json, metric->key) &&
                    !is_missed(summary, metric->key))
                        summary_miss(summary, metric->key, why);
        }
}

/* Makes the job's CPU time the sum of its coordinator's and its nodes'. */
static void set_apart_cpu(struct summary *summary, const json_t *own, const char *key,
                          const char *nodes_key)
{
        const json_t *value = json_object_get(own, key),
                     *nodes = json_object_get(summary->json, nodes_key);
        json_t *reason = summary_take_missed(summary, nodes_key);

        if (value && nodes)
                summary_put(summary, key,
                            json_real(json_number_value(value) + json_number_value(nodes)));
        else if (value)
                summary_miss(summary, key, json_string_value(reason));
        (void)json_object_del(summary->json, nodes_key);
        json_decref(reason);
}

static bool is_counted_of_nodes(const char *key)
{
        for (size_t i = 0; i < ARRAY_SIZE(nodes_cpu); ++i)
                if (streq(nodes_cpu[i].key, key))
                        return true;
        return false;
}

/*
 * At the level machines only the coordinator is in the job's cgroup. So its usage is not that of
 * the job, and is moved into an object of its own.
 */
static void set_apart_coordinator(struct summary *summary)
{
        json_t *own = json_object();

        for (size_t i = 0; i < n_metric_infos; ++i) {
                const char *key = metric_infos[i].key;
                json_t *value = json_object_get(summary->json, key);

                if (!value || !metric_infos[i].set_apart)
                        continue;
                if (json_object_set(own, key, value) < 0)
                        summary->failed = true;
                (void)json_object_del(summary->json, key);
                if (!is_counted_of_nodes(key))
                        summary_miss(summary, key,
                                     "nodes do the work, and what they use is not counted here; "
                                     "\"coordinator\" has the job's own share");
        }
        for (size_t i = 0; i < ARRAY_SIZE(nodes_cpu); ++i)
                set_apart_cpu(summary, own, nodes_cpu[i].key, nodes_cpu[i].nodes_key);
        summary_put(summary, "coordinator", own);
}

/* The time that the supervisor takes for the summary is part of the cost of measuring. */
static void add_measuring(struct summary *summary, uint64_t nanoseconds)
{
        const json_t *runners = json_object_get(summary->json, "measuring_seconds");

        if (runners)
                summary_put(summary, "measuring_seconds",
                            json_real(json_number_value(runners) +
                                      (double)nanoseconds / (double)NSEC_PER_SEC));
}

json_t *accounting_summarize(const struct accounting *accounting, json_t **ret_parts)
{
        struct summary summary = { json_object(), json_array(), false };
        uint64_t began = now_monotonic();

        assert(!job_state_is_live(accounting->record->state));
        assert(accounting->usage || accounting->usage_reason);
        if (!summary.json || !summary.unavailable)
                summary.failed = true;
        put_identity(&summary, accounting);
        put_tasks(&summary, accounting);
        *ret_parts = summary_put_parts(&summary, accounting);
        put_limits(&summary, accounting);
        put_limits_met(&summary, accounting);
        put_measures(&summary, accounting);
        if (!level_has(accounting->spec->level, LEVEL_LOCAL))
                set_apart_coordinator(&summary);
        add_measuring(&summary, now_monotonic() - began);
        summary_put(&summary, "unavailable", json_incref(summary.unavailable));
        json_decref(summary.unavailable);
        if (!summary.failed)
                return summary.json;
        json_decref(summary.json);
        return NULL;
}
