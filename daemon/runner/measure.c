/*
 * The measures that the runner itself takes of its job: latencies and balance from the records, its
 * peak memory, additions of the levels, and the cost of measuring. They are written as JSON for the
 * supervisor, which adds the cgroup's counters (daemon/supervisor/account/accounting.c).
 */

#include "daemon/runner/measure.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/json-text.h"

static void set(json_t *object, const char *key, json_t *value)
{
        if (json_object_set_new(object, key, value) < 0)
                log_error("cannot note the measure %s: out of memory", key);
}

void measure_integer(struct runner *runner, const char *key, uint64_t value)
{
        set(runner->measures, key, json_integer((json_int_t)value));
}

void measure_real(struct runner *runner, const char *key, double value)
{
        set(runner->measures, key, json_real(value));
}

void measure_object(struct runner *runner, const char *key, json_t *value)
{
        set(runner->measures, key, value);
}

void measure_unavailable(struct runner *runner, const char *key, const char *reason)
{
        json_t *entry = json_pack("{s:s, s:s}", "metric", key, "reason", reason);

        if (json_array_append_new(runner->unavailable, entry) < 0)
                log_error("cannot note that %s is unavailable: out of memory", key);
}

void measure_histogram(struct runner *runner, const char *key, const struct histogram *histogram)
{
        if (histogram->n > 0)
                measure_object(runner, key, histogram_to_json(histogram));
        else
                measure_unavailable(runner, key, "no task was run");
}

/* One pass over the records. */
struct scan {
        struct histogram queue, service;
        uint64_t busy_ns[UINT16_MAX + 1]; /* by worker */
        uint64_t first_ns, last_ns;
};

static void scan_records(const struct results *results, struct scan *scan)
{
        struct ppp_record record;

        scan->first_ns = UINT64_MAX;
        for (uint64_t i = 0; i < results->n_tasks; ++i) {
                uint64_t service;

                if (!results_get(results, i, &record))
                        continue;
                service = record.end_ns > record.start_ns ? record.end_ns - record.start_ns : 0;
                histogram_add(&scan->queue, record.start_ns);
                histogram_add(&scan->service, service);
                scan->busy_ns[record.worker] += service;
                scan->first_ns = MIN(scan->first_ns, record.start_ns);
                scan->last_ns = MAX(scan->last_ns, record.end_ns);
        }
}

/* Busiest worker by the mean over the workers the job was to have; 1 is even. */
static void measure_imbalance(struct runner *runner, const struct scan *scan)
{
        uint64_t total = 0, busiest = 0;

        for (size_t i = 0; i <= UINT16_MAX; ++i) {
                total += scan->busy_ns[i];
                busiest = MAX(busiest, scan->busy_ns[i]);
        }
        if (total > 0 && runner->spec.workers == 0)
                measure_unavailable(
                        runner, "imbalance_ratio",
                        "the job was interrupted, and nodes that took part before are not known");
        else if (total > 0)
                measure_real(runner, "imbalance_ratio",
                             (double)busiest * runner->spec.workers / (double)total);
        else
                measure_unavailable(runner, "imbalance_ratio", "no worker was busy long enough");
}

/* Peak resident set of this process, proc(5) VmHWM: ru_maxrss would count what was before
 * execve(2). */
static int read_rss_peak(uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        const char *at;
        unsigned long long kib;
        int r = read_file_at(AT_FDCWD, "/proc/self/status", &text, NULL);

        if (r < 0)
                return r;
        at = strstr(text, "\nVmHWM:");
        if (!at || sscanf(at + strlen("\nVmHWM:"), "%llu kB", &kib) != 1)
                return -ENODATA;
        *ret = kib * 1024;
        return 0;
}

static void measure_memory(struct runner *runner, uint64_t workers_peak)
{
        uint64_t own;
        int r = read_rss_peak(&own);

        if (r < 0)
                measure_unavailable(runner, "rss_peak_bytes", strerrordesc_np(-r));
        else
                measure_integer(runner, "rss_peak_bytes", own + workers_peak);
}

void measure_memory_of_workers(struct runner *runner)
{
        if (__atomic_exchange_n(&runner->memory_asked, true, __ATOMIC_RELAXED))
                return;
        if (runner->cgroup_fd >= 0 &&
            memory_stat_read(runner->cgroup_fd, &runner->memory_stat) >= 0)
                __atomic_store_n(&runner->memory_told, true, __ATOMIC_RELEASE);
}

/* Without a memory.stat nothing is said here: the supervisor knows better why there is none. */
static void measure_memory_by_kind(struct runner *runner)
{
        if (!runner->memory_asked && level_has(runner->spec.level, LEVEL_WORKER_GROUPS)) {
                measure_unavailable(runner, "memory_stat",
                                    "the workers left before they came to the end of their work, "
                                    "and of a group without them it would tell nothing");
                return;
        }
        measure_memory_of_workers(runner);
        if (__atomic_load_n(&runner->memory_told, __ATOMIC_ACQUIRE))
                measure_object(runner, "memory_stat", memory_stat_to_json(&runner->memory_stat));
}

/* The cost of one time stamp here: the median of a few batches would say no more. */
static double clock_cost_seconds(void)
{
        enum { N = 256 };
        uint64_t begin = now_monotonic(), end = begin;

        for (unsigned i = 0; i < N; ++i)
                end = now_monotonic();
        return (double)(end - begin) / N / 1e9;
}

void measure_job(struct runner *runner, uint64_t workers_peak)
{
        uint64_t begin = now_monotonic(), n;
        struct scan *scan = calloc(1, sizeof(*scan));

        if (!scan) {
                log_error("cannot measure the job: out of memory");
                return;
        }
        scan_records(&runner->results, scan);
        n = scan->service.n;
        measure_histogram(runner, "queue_seconds", &scan->queue);
        measure_histogram(runner, "service_seconds", &scan->service);
        measure_imbalance(runner, scan);
        if (n > 0)
                measure_real(runner, "work_seconds",
                             (double)(scan->last_ns - scan->first_ns) / 1e9);
        else
                measure_unavailable(runner, "work_seconds", "no task was run");
        free(scan);
        measure_memory(runner, workers_peak);
        measure_memory_by_kind(runner);
        measure_unavailable(runner, "syscalls",
                            "not counted: the tracepoint that counts them would slow each of them");
        measure_real(runner, "measuring_seconds",
                     (double)n * clock_cost_seconds() + (double)(now_monotonic() - begin) / 1e9);
}

int measure_write(struct runner *runner, int fd)
{
        _cleanup_free_ char *text = NULL;

        set(runner->measures, "unavailable", json_incref(runner->unavailable));
        text = json_text(runner->measures, JSON_COMPACT);
        return text ? write_all(fd, text, strlen(text)) : -ENOMEM;
}
