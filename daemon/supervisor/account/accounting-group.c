/*
 * Reads the counters of the job's cgroup. Each metric is one row of a table, and is read from one
 * of the group's files. When a file is missing, most often because its controller is, the summary
 * says why.
 */

#include "daemon/supervisor/account/accounting-internal.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/block-device.h"
#include "lib/metric.h"

/* A member of a metric that is an object, and the key of the file from which it is read. */
struct field {
        const char *member, *key;
};

static const struct field memory_events[] = {
        { "low", "low" }, { "high", "high" },         { "max", "max" },
        { "oom", "oom" }, { "oom_kill", "oom_kill" }, { "oom_group_kill", "oom_group_kill" },
        { NULL, NULL },
};

static const struct field throttling[] = {
        { "periods", "nr_periods" },
        { "throttled_periods", "nr_throttled" },
        { "throttled_seconds", "throttled_usec" },
        { NULL, NULL },
};

static const struct field io[] = {
        { "read_bytes", "rbytes" },
        { "write_bytes", "wbytes" },
        { "reads", "rios" },
        { "writes", "wios" },
        { NULL, NULL },
};

static const struct group_metric {
        const char *key, *file, *field;
        enum { FLAT, PIDS_PEAK, KEYED_USEC, PRESSURE, OBJECT, SUMS, REFUSED, BY_RUNNER } kind;
        unsigned controller; /* the controller that has the file; 0: it needs none */
        const char *since;   /* says what else the file needs; NULL: nothing */
        const struct field *fields;
} group_metrics[] = {
        { "cpu_user_seconds", "cpu.stat", "user_usec", KEYED_USEC, 0, NULL, NULL },
        { "cpu_system_seconds", "cpu.stat", "system_usec", KEYED_USEC, 0, NULL, NULL },
        { "cpu_throttling", "cpu.stat", NULL, OBJECT, CGROUP_CPU,
          "the kernel was built without CONFIG_CFS_BANDWIDTH", throttling },
        { "memory_peak_bytes", "memory.peak", NULL, FLAT, CGROUP_MEMORY,
          "memory.peak needs Linux 5.19", NULL },
        { "memory_stat", "memory.stat", NULL, BY_RUNNER, CGROUP_MEMORY, NULL, NULL },
        { "memory_events", "memory.events", NULL, OBJECT, CGROUP_MEMORY, NULL, memory_events },
        { "pids_peak", "pids.peak", NULL, PIDS_PEAK, CGROUP_PIDS, "pids.peak needs Linux 6.1",
          NULL },
        { "pids_refused", "pids.events", NULL, REFUSED, CGROUP_PIDS, NULL, NULL },
        { "io", "io.stat", NULL, SUMS, CGROUP_IO, NULL, io },
        { "pressure_cpu_waiting_seconds", "cpu.pressure", "some", PRESSURE, 0, NULL, NULL },
        { "pressure_memory_waiting_seconds", "memory.pressure", "some", PRESSURE, 0, NULL, NULL },
        { "pressure_memory_stalled_seconds", "memory.pressure", "full", PRESSURE, 0, NULL, NULL },
        { "pressure_io_waiting_seconds", "io.pressure", "some", PRESSURE, 0, NULL, NULL },
        { "pressure_io_stalled_seconds", "io.pressure", "full", PRESSURE, 0, NULL, NULL },
};

static bool is_seconds(const char *member)
{
        size_t n = strlen(member), k = strlen("_seconds");

        return n > k && streq(member + n - k, "_seconds");
}

static int set_member(json_t *json, const char *member, uint64_t value)
{
        json_t *number = is_seconds(member) ? json_real((double)value / 1e6)
                                            : json_integer((json_int_t)value);

        return json_object_set_new(json, member, number) < 0 ? -ENOMEM : 0;
}

/* Keys that this kernel does not have are left out. -ENOENT: it has none of them. */
static int read_object(int fd, const struct group_metric *metric, json_t **ret)
{
        json_t *json = json_object();
        int r = json ? 0 : -ENOMEM;

        for (const struct field *f = metric->fields; f->member && r >= 0; ++f) {
                uint64_t value;

                r = cgroup_read_keyed(fd, metric->file, f->key, &value);
                if (r >= 0)
                        r = set_member(json, f->member, value);
                else if (r == -ENOENT)
                        r = 0;
        }
        if (r >= 0 && json_object_size(json) == 0)
                r = -ENOENT;
        if (r < 0) {
                json_decref(json);
                return r;
        }
        *ret = json;
        return 0;
}

/* Adds up the values of @key over all lines of io.stat: "8:0 rbytes=1 wbytes=2 …\n8:16 …". */
static uint64_t sum_key(const char *text, const char *key)
{
        uint64_t total = 0, v;
        size_t n = strlen(key);

        for (const char *at = strstr(text, key); at; at = strstr(at + n, key))
                if (at > text && at[-1] == ' ' && at[n] == '=' &&
                    parse_u64(at + n + 1, strspn(at + n + 1, "0123456789"), UINT64_MAX, &v) >= 0)
                        total += v;
        return total;
}

static int read_sums(int fd, const struct group_metric *metric, json_t **ret)
{
        _cleanup_free_ char *text = NULL;
        json_t *json;
        int r;

        r = read_file_at(fd, metric->file, &text, NULL);
        if (r < 0)
                return r;
        io_stat_keep_disks(text, block_device_is_stacked);
        json = json_object();
        if (!json)
                return -ENOMEM;
        for (const struct field *f = metric->fields; f->member && r >= 0; ++f)
                r = set_member(json, f->member, sum_key(text, f->key));
        if (r < 0) {
                json_decref(json);
                return r;
        }
        *ret = json;
        return 0;
}

/*
 * While a process moves between two groups of the job, it counts twice in the job's group for a
 * moment, and pids.max does not prevent that. So a peak above the limit is not a real one.
 */
static int read_pids_peak(int fd, const char *file, uint64_t *ret)
{
        uint64_t peak, max;
        int r;

        r = cgroup_read_u64(fd, file, &peak);
        if (r >= 0)
                *ret = cgroup_read_u64(fd, "pids.max", &max) >= 0 ? MIN(peak, max) : peak;
        return r;
}

static int read_refused(const struct limit_hits *hits, uint64_t *ret)
{
        if (!hits->has_refused)
                return hits->why_no_refused ? -ENODATA : -ENOENT;
        *ret = hits->n_refused;
        return 0;
}

static int read_number(const struct accounting *a, const struct group_metric *metric, uint64_t *ret)
{
        int fd = a->group->fd;

        switch (metric->kind) {
        case FLAT:
                return cgroup_read_u64(fd, metric->file, ret);
        case PIDS_PEAK:
                return read_pids_peak(fd, metric->file, ret);
        case KEYED_USEC:
                return cgroup_read_keyed(fd, metric->file, metric->field, ret);
        case PRESSURE:
                return cgroup_read_pressure(fd, metric->file, metric->field, ret);
        case REFUSED:
                return read_refused(a->hits, ret);
        default:
                assert(false);
                return -EINVAL;
        }
}

static int read_metric(const struct accounting *a, const struct group_metric *metric, json_t **ret)
{
        bool seconds = metric->kind == KEYED_USEC || metric->kind == PRESSURE;
        uint64_t value;
        int r;

        if (metric->kind == OBJECT)
                return read_object(a->group->fd, metric, ret);
        if (metric->kind == SUMS)
                return read_sums(a->group->fd, metric, ret);
        r = read_number(a, metric, &value);
        if (r < 0)
                return r;
        *ret = seconds ? json_real((double)value / 1e6) : json_integer((json_int_t)value);
        return *ret ? 0 : -ENOMEM;
}

/*
 * The runner reads such a file while the job has processes. Here only the reason is found out why
 * it could not.
 */
static int look_for(int fd, const char *file)
{
        return faccessat(fd, file, R_OK, 0) < 0 ? -errno : 0;
}

static const char *why_not_counted(const struct accounting *a, const struct group_metric *metric,
                                   int error)
{
        const char *hint;

        if (error == -ENOENT && metric->controller &&
            !(a->groups->controllers & metric->controller))
                return groups_why_without(a->groups, metric->controller, &hint);
        if (metric->kind == REFUSED && a->hits->why_no_refused)
                return a->hits->why_no_refused;
        if (error == -ENOENT && metric->since)
                return metric->since;
        if (metric->kind == PRESSURE && (error == -ENOENT || error == -EOPNOTSUPP))
                return "the kernel does not account for pressure here (boot with psi=1)";
        return NULL;
}

static void miss_metric(struct summary *summary, const struct accounting *a,
                        const struct group_metric *metric, int error)
{
        const char *known = why_not_counted(a, metric, error);
        _cleanup_free_ char *text = NULL;

        if (!known && asprintf(&text, "cannot read %s of the job's cgroup: %s", metric->file,
                               strerror(-error)) < 0)
                text = NULL;
        summary_miss(summary, metric->key, known ?: text ?: strerror(-error));
}

/*
 * Says why the group's file does not have the whole number although it exists; NULL when it has. A
 * controller counts only from the time when it is enabled, or enabled again.
 */
static const char *why_not_whole(const struct accounting *a, const struct group_metric *metric)
{
        if (a->controllers.lost & metric->controller)
                return "the daemon died while the job ran, and without DelegateSubgroup= (systemd "
                       "254) the next one could be started only after the cgroup's controllers "
                       "were disabled, which loses their counts";
        if (a->controllers.gained & metric->controller)
                return "the controller that counts it was enabled only after the job had begun";
        return NULL;
}

static bool is_cpu_time(const struct group_metric *metric)
{
        return metric->kind == KEYED_USEC;
}

/*
 * Puts the CPU time of a job without a cgroup: that of the runner and the children it has waited
 * for, which is all but that of processes it left behind.
 */
static void put_cpu_of_processes(struct summary *summary, const struct accounting *a,
                                 const struct group_metric *metric)
{
        const struct timeval *time =
                streq(metric->field, "user_usec") ? &a->usage->ru_utime : &a->usage->ru_stime;

        summary_put_seconds(summary, metric->key,
                            (uint64_t)time->tv_sec * NSEC_PER_SEC +
                                    (uint64_t)time->tv_usec * NSEC_PER_USEC);
}

/* Puts the source of the CPU time, if that is known. */
static void put_cpu_source(struct summary *summary, const struct accounting *a)
{
        if (json_object_get(summary->json, "cpu_user_seconds"))
                summary_put(summary, "cpu_source", json_string(a->group ? "cgroup" : "rusage"));
}

void summary_put_group(struct summary *summary, const struct accounting *a)
{
        const char *why = a->counters->runner_start_ns == 0 && a->measures_fd < 0
                                  ? "the job was never started"
                                  : a->groups->why;

        for (size_t i = 0; i < ARRAY_SIZE(group_metrics); ++i) {
                const struct group_metric *metric = &group_metrics[i];
                const char *missing = a->group ? why_not_whole(a, metric)
                                      : why    ? why
                                               : "the job's cgroup is gone";
                json_t *value;
                int r;

                assert(metric_find(metric->key));
                if (!a->group && a->usage && is_cpu_time(metric)) {
                        put_cpu_of_processes(summary, a, metric);
                        continue;
                }
                if (missing) {
                        summary_miss(summary, metric->key, missing);
                        continue;
                }
                value = NULL;
                r = metric->kind == BY_RUNNER ? look_for(a->group->fd, metric->file)
                                              : read_metric(a, metric, &value);
                if (r < 0)
                        miss_metric(summary, a, metric, r);
                else if (value)
                        summary_put(summary, metric->key, value);
        }
        put_cpu_source(summary, a);
}
