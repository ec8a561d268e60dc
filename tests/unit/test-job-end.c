/* The end of a job: the summary that is made of it. test-outcome.c has how it is judged. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "daemon/supervisor/account/accounting.h"
#include "daemon/supervisor/helpers/demo.h"
#include "lib/metric.h"
#include "lib/results.h"

static bool is_valid(const char *key, const char *text)
{
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        bool valid;

        test_true(value);
        test_true(metric_find(key));
        valid = metric_is_valid(metric_find(key), value);
        json_decref(value);
        return valid;
}

static void test_metric_values(void)
{
        test_true(is_valid("rss_peak_bytes", "0"));
        test_true(!is_valid("rss_peak_bytes", "-1"));
        test_true(!is_valid("rss_peak_bytes", "1.5"));
        test_true(is_valid("work_seconds", "1.5"));
        test_true(is_valid("work_seconds", "1"));
        test_true(!is_valid("work_seconds", "\"1\""));
        test_true(!is_valid("work_seconds", "-0.1"));
        test_true(is_valid("queue_seconds", "{\"p50\":1,\"p90\":1,\"p99\":1,\"max\":1}"));
        test_true(!is_valid("queue_seconds", "{\"p50\":1,\"p90\":1,\"p99\":1}"));
        test_true(!is_valid("queue_seconds", "{\"p50\":1,\"p90\":1,\"p99\":1,\"max\":1,\"x\":1}"));
        test_true(!is_valid("queue_seconds", "1"));
        test_true(is_valid("io", "{\"read_bytes\":1,\"writes\":5}"));
        test_true(!is_valid("io", "{\"read_bytes\":1,\"x\":5}"));
        test_true(!is_valid("io", "{\"read_bytes\":\"1\"}"));
        test_true(!is_valid("io", "[1]"));
        test_true(is_valid("thread_cpu_seconds", "[0, 1.5]"));
        test_true(!is_valid("thread_cpu_seconds", "[-1]"));
        test_true(!is_valid("thread_cpu_seconds", "1"));
        test_true(is_valid("ring", "{\"setup\":\"\",\"submissions\":1,\"completions\":1,\"enters\":"
                                   "1,\"wakeups\":1,\"overflows\":0,\"stall_max_seconds\":0.1}"));
        test_true(!is_valid("ring", "{\"setup\":\"\",\"submissions\":1}"));
        test_true(!metric_find("evil"));
}

/* A results file with @n records, of which @done are done and @failed failed. */
static int make_results(uint64_t n, uint64_t done, uint64_t failed)
{
        struct results results = RESULTS_NULL;
        int fd = memfd_create("results", MFD_CLOEXEC);

        test_int(fd, >=, 0);
        test_int(results_create(fd, n, 1000), ==, 0);
        test_int(results_map(fd, true, &results), ==, 0);
        for (uint64_t i = 0; i < done + failed; ++i)
                results.records[n - 1 - i].state = i < done ? PPP_STATE_DONE : PPP_STATE_FAILED;
        results.header->n_done = 1;
        results.header->n_failed = 2;
        results.header->n_retried = 3;
        results.header->runner_start_ns = 4000;
        results_unmap(&results);
        return fd;
}

static void test_counters(void)
{
        _cleanup_close_ int fd = make_results(5000, 1700, 1900);
        struct counters counters;
        struct tally tally;

        test_int(counters_read(fd, &counters), ==, 0);
        test_int(counters.n_done, ==, 1);
        test_int(counters.n_failed, ==, 2);
        test_int(counters.n_retried, ==, 3);
        test_int(counters.epoch_ns, ==, 1000);
        test_int(counters.runner_start_ns, ==, 4000);
        test_int(counters_tally(fd, 5000, &tally), ==, 0);
        test_int(tally.n_done, ==, 1700);
        test_int(tally.n_failed, ==, 1900);
        test_int(tally.failures[PPP_REASON_NONE], ==, 1900);
        test_int(tally.n_killed, ==, 0);
        test_int(ftruncate(fd, PPP_RESULTS_HEADER_SIZE + 3000 * 32), ==, 0);
        test_int(counters_tally(fd, 5000, &tally), ==, -EBADMSG);
        test_int(ftruncate(fd, 100), ==, 0);
        test_int(counters_read(fd, &counters), ==, -EBADMSG);
}

static const char measures[] =
        "{\"work_seconds\": 0.5, \"rss_peak_bytes\": 1024, \"measuring_seconds\": 0.25, "
        "\"service_seconds\": {\"p50\": 1, \"p90\": 2, \"p99\": 3, \"max\": 4}, "
        "\"imbalance_ratio\": \"even\", \"job\": 99, \"cpu_user_seconds\": 7, \"evil\": 1, "
        "\"unavailable\": [{\"metric\": \"syscalls\", \"reason\": \"not counted\"}, {\"metric\": "
        "\"evil\", \"reason\": \"x\"}, 7]}";

static json_t *summary_of(const struct accounting *accounting)
{
        json_t *parts = NULL, *summary = accounting_summarize(accounting, &parts);

        json_decref(parts);
        return summary;
}

static json_t *summarize(int measures_fd, const struct rusage *usage)
{
        struct host host = { (char *)"6.1.0", 2 };
        struct groups groups = { .fd = -EBADF, .why = (char *)"there are none" };
        struct job_record record = {
                .number = 12, .state = JOB_DONE, .n_tasks = 4, .n_done = 3, .n_failed = 1
        };
        struct spec spec = { .level = LEVEL_PROCESSES, .workload = WORKLOAD_SUM, .workers = 2 };
        struct counters counters = {
                3, 1, 5, NSEC_PER_SEC, 2 * NSEC_PER_SEC, 4 * NSEC_PER_SEC, 0, PPP_CONDITION_NONE
        };
        const struct limit_hits none = LIMIT_HITS_NULL;
        struct accounting accounting = {
                .host = &host,
                .groups = &groups,
                .record = &record,
                .spec = &spec,
                .counters = &counters,
                .ended_ns = 5 * NSEC_PER_SEC,
                .usage = usage,
                .usage_reason = "unknown",
                .measures_fd = measures_fd,
                .hits = &none,
        };

        return summary_of(&accounting);
}

static const char *why_missing(const json_t *summary, const char *key)
{
        const json_t *entry, *list = json_object_get(summary, "unavailable");
        const char *reason = NULL;
        size_t i;

        json_array_foreach(list, i, entry)
                if (streq(json_string_value(json_object_get(entry, "metric")), key)) {
                        test_true(!reason);
                        reason = json_string_value(json_object_get(entry, "reason"));
                }
        return reason;
}

static double number(const json_t *summary, const char *key)
{
        const json_t *value = json_object_get(summary, key);

        if (!json_is_number(value))
                test_fail_at("the summary lacks the number \"%s\"", key);
        return json_number_value(value);
}

static void test_summary(void)
{
        struct rusage usage = { .ru_nvcsw = 1,
                                .ru_nivcsw = 2,
                                .ru_minflt = 3,
                                .ru_majflt = 4,
                                .ru_utime = { 2, 500000 },
                                .ru_stime = { 0, 250000 } };
        _cleanup_close_ int fd = -EBADF;
        json_t *summary;

        test_int(memfd_sealed("measures", measures, strlen(measures), &fd), ==, 0);
        summary = summarize(fd, &usage);
        test_true(summary);
        test_true(number(summary, "job") == 12);
        test_true(number(summary, "wall_seconds") == 4);
        test_true(number(summary, "start_seconds") == 1);
        test_true(number(summary, "tasks_per_second") == 1);
        test_true(number(summary, "tasks_retried") == 5);
        test_true(number(summary, "context_switches_involuntary") == 2);
        test_true(number(summary, "page_faults_major") == 4);
        test_true(number(summary, "work_seconds") == 0.5);
        test_true(number(summary, "measuring_seconds") >= 0.25);
        test_true(number(json_object_get(summary, "service_seconds"), "max") == 4);
        /* The runner is no witness of what the supervisor knows, nor of what nobody asked. */
        test_true(number(summary, "cpu_user_seconds") == 2.5);
        test_true(number(summary, "cpu_system_seconds") == 0.25);
        test_str(json_string_value(json_object_get(summary, "cpu_source")), "rusage");
        test_str(why_missing(summary, "pressure_cpu_waiting_seconds"), "there are none");
        test_true(!json_object_get(summary, "evil"));
        test_true(!why_missing(summary, "evil"));
        test_true(!json_object_get(summary, "imbalance_ratio"));
        test_contains(why_missing(summary, "imbalance_ratio"), "not valid in a summary");
        test_str(why_missing(summary, "syscalls"), "not counted");
        test_int(json_object_size(json_object_get(summary, "limits")), ==, 0);
        test_true(json_is_object(json_object_get(summary, "limits")));
        json_decref(summary);
}

/* A group in a directory, with the files of a real one. */
static const struct {
        const char *name, *text;
} group_files[] = {
        { "cpu.stat", "usage_usec 3000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 10\n"
                      "nr_throttled 4\nthrottled_usec 250000\n" },
        { "memory.peak", "1048576\n" },
        { "memory.stat", "anon 0\nfile 4096\nkernel_stack 0\npgfault 12\npgmajfault 1\n" },
        { "memory.events", "low 0\nhigh 2\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n" },
        { "memory.max", "67108864\n" },
        { "cpu.max", "50000 100000\n" },
        { "pids.peak", "7\n" },
        { "pids.events", "max 5\n" },
        { "io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"
                     "8:16 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n" },
        { "cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n" },
};

static int make_group(char *directory)
{
        int fd;

        test_true(mkdtemp(directory));
        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; i < ARRAY_SIZE(group_files); ++i) {
                _cleanup_close_ int file =
                        openat(fd, group_files[i].name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                test_int(write_all(file, group_files[i].text, strlen(group_files[i].text)), ==, 0);
        }
        return fd;
}

static void remove_group(const char *directory, int fd)
{
        for (size_t i = 0; i < ARRAY_SIZE(group_files); ++i)
                (void)unlinkat(fd, group_files[i].name, 0);
        close_fd(fd);
        test_int(rmdir(directory), ==, 0);
}

/* Of the next job that make_of_group() makes. */
static struct controller_changes changes;

/* @make of a job of which that group is the last part; @parts is taken: what it used before. */
static json_t *make_of_group(int fd, enum level level, bool nodes_known, json_t *parts,
                             bool carried, json_t *(*make)(const struct accounting *accounting))
{
        struct limit_met met = { .place = PLACE_WORKER, .max = 3, .n = 2 };
        const struct limit_hits hits = { .has_refused = true,
                                         .n_refused = 5,
                                         .limits[CHAIN_PIDS] = { .met = &met, .n = 1 } };
        struct host host = { (char *)"6.1.0", 2 };
        struct groups groups = { .fd = fd, .controllers = 0x1f };
        struct child_group group = { .parent_fd = -EBADF, .fd = fd, .events_fd = -EBADF };
        struct job_record record = {
                .number = 12, .state = JOB_DONE, .n_tasks = 1, .n_done = 1, .parts = parts
        };
        struct spec spec = {
                .level = level, .workload = WORKLOAD_SUM, .workers = 2, .timeout_ns = NSEC_PER_SEC
        };
        struct counters counters = {
                1, 0, 0, NSEC_PER_SEC, 2 * NSEC_PER_SEC, 4 * NSEC_PER_SEC, 0, PPP_CONDITION_NONE
        };
        json_t *json;
        struct accounting accounting = {
                .host = &host,
                .groups = &groups,
                .record = &record,
                .spec = &spec,
                .counters = &counters,
                .ended_ns = 5 * NSEC_PER_SEC,
                .group = carried ? NULL : &group,
                .carried = carried,
                .controllers = changes,
                .usage_reason = "unknown",
                .measures_fd = -EBADF,
                .has_nice = true,
                .nice = 5,
                .has_nodes_usage = nodes_known,
                .nodes_user_usec = 1000000,
                .nodes_system_usec = 500000,
                .nodes_usage_reason = "nobody knows",
                .hits = &hits,
        };

        spec.worker_limits.given = LIMIT_BIT(LIMIT_PIDS_MAX);
        spec.worker_limits.values[LIMIT_PIDS_MAX] = 3;
        json = make(&accounting);
        json_decref(parts);
        return json;
}

static json_t *summarize_group(int fd, enum level level, bool nodes_known)
{
        return make_of_group(fd, level, nodes_known, NULL, false, summary_of);
}

/* The job's own group is the coordinator's, which did none of the work. */
static void test_machines(void)
{
        char directory[] = "/tmp/test-job-end.XXXXXX";
        int fd = make_group(directory);
        json_t *summary = summarize_group(fd, LEVEL_MACHINES, false);

        test_true(summary);
        test_true(!json_object_get(summary, "cpu_user_seconds"));
        test_str(why_missing(summary, "cpu_user_seconds"), "nobody knows");
        test_true(number(json_object_get(summary, "coordinator"), "cpu_user_seconds") == 2);
        test_true(!json_object_get(summary, "workers"));
        test_true(why_missing(summary, "workers"));
        json_decref(summary);

        summary = summarize_group(fd, LEVEL_MACHINES, true);
        test_true(number(summary, "cpu_user_seconds") == 3);
        test_true(!why_missing(summary, "cpu_user_seconds"));
        test_true(number(json_object_get(summary, "coordinator"), "cpu_user_seconds") == 2);
        json_decref(summary);
        remove_group(directory, fd);
}

static void test_group_metrics(void)
{
        char directory[] = "/tmp/test-job-end.XXXXXX";
        int fd = make_group(directory);
        json_t *summary = summarize_group(fd, LEVEL_PROCESSES, false), *limits;

        test_true(summary);
        test_true(number(summary, "cpu_user_seconds") == 2);
        test_true(number(json_object_get(summary, "cpu_throttling"), "throttled_seconds") == 0.25);
        test_true(number(json_object_get(summary, "cpu_throttling"), "throttled_periods") == 4);
        /* Of a group without processes it would tell little. */
        test_contains(why_missing(summary, "memory_stat"), "never started");
        test_true(number(json_object_get(summary, "memory_events"), "oom_kill") == 1);
        test_true(number(summary, "pids_peak") == 7);
        test_true(number(summary, "pids_refused") == 5);
        test_true(number(json_object_get(summary, "io"), "read_bytes") == 15);
        test_true(number(json_object_get(summary, "io"), "writes") == 2);
        test_true(number(summary, "pressure_cpu_waiting_seconds") == 1.5);
        test_contains(why_missing(summary, "pressure_io_waiting_seconds"), "psi=1");
        limits = json_object_get(summary, "limits");
        test_true(number(limits, "memory_max_bytes") == 67108864);
        test_true(number(limits, "cpu_max_cpus") == 0.5);
        test_true(number(limits, "nice") == 5);
        test_true(number(limits, "timeout_seconds") == 1);
        test_true(number(json_object_get(limits, "worker"), "pids_max") == 3);
        json_decref(summary);
        remove_group(directory, fd);
}

/*
 * What was not counted from the beginning is not told for the whole; the kernel's own counts are.
 */
static void test_changed_controllers(void)
{
        char directory[] = "/tmp/test-job-end.XXXXXX";
        int fd = make_group(directory);
        json_t *summary;

        changes = (struct controller_changes){ .lost = CGROUP_MEMORY, .gained = CGROUP_IO };
        summary = summarize_group(fd, LEVEL_PROCESSES, false);
        changes = (struct controller_changes){ 0, 0 };
        test_contains(why_missing(summary, "memory_peak_bytes"), "DelegateSubgroup=");
        test_contains(why_missing(summary, "memory_stat"), "DelegateSubgroup=");
        test_contains(why_missing(summary, "io"), "only after the job had begun");
        test_true(!json_object_get(summary, "memory_peak_bytes"));
        test_true(!json_object_get(summary, "io"));
        test_true(number(summary, "pids_peak") == 7);
        test_true(number(summary, "cpu_user_seconds") == 2);
        json_decref(summary);
        remove_group(directory, fd);
}

static void expect_met(const json_t *summary, json_int_t value, json_int_t times, size_t n)
{
        const json_t *list = json_object_get(summary, "limits_met"),
                     *last = json_array_get(list, n - 1);

        test_int(json_array_size(list), ==, n);
        test_str(json_string_value(json_object_get(last, "limit")), "pids.max");
        test_int(json_integer_value(json_object_get(last, "value")), ==, value);
        test_int(json_integer_value(json_object_get(last, "times")), ==, times);
}

/* Each limit is there once, also where two parts have met it. */
static void test_limits_met(void)
{
        json_t *parts =
                       make_of_group(-EBADF, LEVEL_PROCESSES, false, NULL, false, accounting_carry),
               *summary, *met;

        parts = make_of_group(-EBADF, LEVEL_PROCESSES, false, parts, false, accounting_carry);
        summary =
                make_of_group(-EBADF, LEVEL_PROCESSES, false, json_incref(parts), true, summary_of);
        expect_met(summary, 3, 4, 1);
        json_decref(summary);
        summary = make_of_group(-EBADF, LEVEL_PROCESSES, false, json_incref(parts), false,
                                summary_of);
        expect_met(summary, 3, 6, 1);
        json_decref(summary);
        expect_met(parts, 3, 4, 1);

        /* Of one of them it is not known how often. */
        met = json_array_get(json_object_get(parts, "limits_met"), 0);
        test_int(json_object_del(met, "times"), ==, 0);
        summary = make_of_group(-EBADF, LEVEL_PROCESSES, false, json_incref(parts), false,
                                summary_of);
        expect_met(summary, 3, 0, 1);
        json_decref(summary);

        /* It was another limit then. */
        test_int(json_object_set_new(met, "value", json_integer(5)), ==, 0);
        summary = make_of_group(-EBADF, LEVEL_PROCESSES, false, parts, false, summary_of);
        expect_met(summary, 3, 2, 2);
        json_decref(summary);
}

/* A job that was interrupted: sums are of all parts, peaks of the highest. */
static void test_parts(void)
{
        char directory[] = "/tmp/test-job-end.XXXXXX";
        int fd = make_group(directory);
        json_t *parts = make_of_group(fd, LEVEL_PROCESSES, false, NULL, false, accounting_carry),
               *summary;

        test_true(parts);
        test_true(accounting_cpu_seconds(parts) == 2.5);
        parts = make_of_group(fd, LEVEL_PROCESSES, false, parts, false, accounting_carry);
        test_true(accounting_cpu_seconds(parts) == 5);

        summary = make_of_group(fd, LEVEL_PROCESSES, false, json_incref(parts), false, summary_of);
        test_true(number(summary, "cpu_user_seconds") == 6);
        test_true(number(summary, "cpu_system_seconds") == 1.5);
        test_true(number(summary, "memory_peak_bytes") == 1048576);
        test_true(number(summary, "pids_peak") == 7);
        test_true(number(summary, "pids_refused") == 15);
        test_true(number(json_object_get(summary, "memory_events"), "max") == 9);
        test_true(number(json_object_get(summary, "io"), "read_bytes") == 45);
        test_str(why_missing(summary, "page_faults_minor"), "unknown");
        json_decref(summary);

        /* It is ended before its next part begins. */
        summary = make_of_group(fd, LEVEL_PROCESSES, false, json_incref(parts), true, summary_of);
        test_true(number(summary, "cpu_user_seconds") == 4);
        test_true(!why_missing(summary, "cpu_user_seconds"));
        test_str(json_string_value(json_object_get(summary, "cpu_source")), "cgroup");
        test_true(number(json_object_get(summary, "io"), "read_bytes") == 30);
        json_decref(summary);

        /* A part of which nothing is known: its CPU time is no more used up than is known of. */
        parts = make_of_group(-EBADF, LEVEL_PROCESSES, false, parts, false, accounting_carry);
        test_true(accounting_cpu_seconds(parts) == 5);
        summary = make_of_group(fd, LEVEL_PROCESSES, false, parts, false, summary_of);
        test_true(!json_object_get(summary, "cpu_user_seconds"));
        test_true(!json_object_get(summary, "cpu_source"));
        test_contains(why_missing(summary, "cpu_user_seconds"), "cgroup");
        json_decref(summary);
        remove_group(directory, fd);
}

/* The nodes' CPU time of each part is part of the job's. */
static void test_parts_at_machines(void)
{
        char directory[] = "/tmp/test-job-end.XXXXXX";
        int fd = make_group(directory);
        json_t *parts = make_of_group(fd, LEVEL_MACHINES, true, NULL, false, accounting_carry),
               *summary;

        summary = make_of_group(fd, LEVEL_MACHINES, true, json_incref(parts), false, summary_of);
        test_true(number(summary, "cpu_user_seconds") == 6);
        test_true(number(json_object_get(summary, "coordinator"), "cpu_user_seconds") == 4);
        test_true(!json_object_get(summary, "nodes_cpu_user_seconds"));
        json_decref(summary);

        summary = make_of_group(fd, LEVEL_MACHINES, false, parts, false, summary_of);
        test_str(why_missing(summary, "cpu_user_seconds"), "nobody knows");
        test_true(!why_missing(summary, "nodes_cpu_user_seconds"));
        json_decref(summary);
        remove_group(directory, fd);
}

/*
 * Every metric of the level is there or missing with a reason, and none of another level is either.
 */
static void test_nothing_is_left_out(void)
{
        const struct spec spec = { .level = LEVEL_PROCESSES };
        json_t *summary = summarize(-EBADF, NULL);

        test_true(summary);
        for (size_t i = 0; i < n_metric_infos; ++i) {
                const struct metric_info *metric = &metric_infos[i];
                bool there = json_object_get(summary, metric->key) != NULL;
                bool missing = why_missing(summary, metric->key) != NULL;
                /* "workers" is a metric at machines only; here it is what the spec says. */
                bool has_it = metric_applies(metric, &spec) || streq(metric->key, "workers");

                /* Absent where there is no CPU time, and where no limit was met. */
                if (streq(metric->key, "cpu_source") || streq(metric->key, "limits_met"))
                        continue;
                if (there + missing != has_it)
                        test_fail_at("%s: %s, %s", metric->key, there ? "there" : "not there",
                                     missing ? "listed as missing" : "not listed as missing");
        }
        test_str(why_missing(summary, "page_faults_minor"), "unknown");
        test_true(!why_missing(summary, "ring"));
        test_true(why_missing(summary, "workers_replaced"));
        json_decref(summary);
}

static bool names_demo(const char *text)
{
        return demo_is_named(text, strlen(text));
}

static void test_demo(void)
{
        test_true(names_demo("demo:2016\n"));
        test_true(names_demo("a\ndemo:\nb\n"));
        test_true(!names_demo(""));
        test_true(!names_demo("demo\n"));
        test_true(!names_demo("http://demo:80/\nx demo:2016\n"));
        test_true(!demo_is_named("demo:2016\n", 4));
}

TEST_MAIN("job-end", { "values of metrics", test_metric_values }, { "counters", test_counters },
          { "a summary", test_summary }, { "nothing is left out", test_nothing_is_left_out },
          { "metrics of a group", test_group_metrics },
          { "changed controllers", test_changed_controllers }, { "machines", test_machines },
          { "limits met by parts", test_limits_met }, { "parts", test_parts },
          { "parts at machines", test_parts_at_machines }, { "demo inputs", test_demo })
