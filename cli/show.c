/* `pppctl show`: all pppd knows about a job, with units, and why what is missing is missing. */

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"
#include "cli/verbs.h"
#include "cli/visible.h"
#include "lib/json-text.h"

enum kind {
        KIND_COUNT,
        KIND_SECONDS,
        KIND_BYTES,
        KIND_RATE,
        KIND_RATIO,
        KIND_DISTRIBUTION,
        KIND_TEXT,
        KIND_JSON, /* as it is */
        KIND_MET,
};

static const struct row {
        const char *section; /* begins one */
        const char *path;    /* in the summary */
        const char *label;
        enum kind kind;
} rows[] = {
        { "tasks", "tasks_total", "total", KIND_COUNT },
        { NULL, "tasks_done", "done", KIND_COUNT },
        { NULL, "tasks_failed", "failed", KIND_COUNT },
        { NULL, "tasks_retried", "tried again", KIND_COUNT },

        { "time", "wall_seconds", "submission to end", KIND_SECONDS },
        { NULL, "work_seconds", "first task to last", KIND_SECONDS },
        { NULL, "start_seconds", "submission to runner", KIND_SECONDS },
        { NULL, "tasks_per_second", "tasks a second", KIND_RATE },
        { NULL, "queue_seconds", "queued", KIND_DISTRIBUTION },
        { NULL, "worker_start_seconds", "worker start", KIND_DISTRIBUTION },
        { NULL, "service_seconds", "service", KIND_DISTRIBUTION },

        { "cost", "cpu_user_seconds", "CPU, user", KIND_SECONDS },
        { NULL, "cpu_system_seconds", "CPU, system", KIND_SECONDS },
        { NULL, "cpu_source", "CPU as told by", KIND_TEXT },
        { NULL, "memory_peak_bytes", "peak memory", KIND_BYTES },
        { NULL, "rss_peak_bytes", "peak resident sets", KIND_BYTES },
        { NULL, "io.read_bytes", "read from disks", KIND_BYTES },
        { NULL, "io.write_bytes", "written to disks", KIND_BYTES },
        { NULL, "pids_peak", "most processes, threads", KIND_COUNT },
        { NULL, "context_switches_voluntary", "switches, voluntary", KIND_COUNT },
        { NULL, "context_switches_involuntary", "switches, involuntary", KIND_COUNT },
        { NULL, "page_faults_minor", "page faults, minor", KIND_COUNT },
        { NULL, "page_faults_major", "page faults, major", KIND_COUNT },
        { NULL, "syscalls", "system calls", KIND_COUNT },
        { NULL, "imbalance_ratio", "busiest worker to mean", KIND_RATIO },
        { NULL, "workers_replaced", "workers replaced", KIND_COUNT },
        { NULL, "workers_refused", "workers refused", KIND_COUNT },
        { NULL, "thread_cpu_seconds", "CPU by thread, seconds", KIND_JSON },
        { NULL, "measuring_seconds", "measuring itself", KIND_SECONDS },

        { "pressure", "pressure_cpu_waiting_seconds", "CPU, some waited", KIND_SECONDS },
        { NULL, "pressure_memory_waiting_seconds", "memory, some waited", KIND_SECONDS },
        { NULL, "pressure_memory_stalled_seconds", "memory, all stalled", KIND_SECONDS },
        { NULL, "pressure_io_waiting_seconds", "I/O, some waited", KIND_SECONDS },
        { NULL, "pressure_io_stalled_seconds", "I/O, all stalled", KIND_SECONDS },

        { "memory", "memory_stat.anon_bytes", "anonymous", KIND_BYTES },
        { NULL, "memory_stat.file_bytes", "page cache", KIND_BYTES },
        { NULL, "memory_stat.shmem_bytes", "shared", KIND_BYTES },
        { NULL, "memory_stat.kernel_stack_bytes", "kernel stacks", KIND_BYTES },
        { NULL, "memory_stat.slab_bytes", "slab", KIND_BYTES },
        { NULL, "memory_stat.sock_bytes", "sockets", KIND_BYTES },
        { NULL, "memory_stat.page_faults", "page faults", KIND_COUNT },
        { NULL, "memory_stat.page_faults_major", "of those, major", KIND_COUNT },
        { NULL, "memory_events.high", "slowed at memory.high", KIND_COUNT },
        { NULL, "memory_events.max", "came to memory.max", KIND_COUNT },
        { NULL, "memory_events.oom", "out of memory", KIND_COUNT },
        { NULL, "memory_events.oom_kill", "OOM kills", KIND_COUNT },

        { "limits", "limits.cpu_max_cpus", "CPUs", KIND_RATIO },
        { NULL, "limits.cpu_weight", "CPU weight", KIND_COUNT },
        { NULL, "limits.cpus", "on CPUs", KIND_TEXT },
        { NULL, "limits.memory_max_bytes", "memory, max", KIND_BYTES },
        { NULL, "limits.memory_high_bytes", "memory, high", KIND_BYTES },
        { NULL, "limits.swap_max_bytes", "swap", KIND_BYTES },
        { NULL, "limits.pids_max", "processes and threads", KIND_COUNT },
        { NULL, "limits.io_max", "disks", KIND_JSON },
        { NULL, "limits.nice", "nice", KIND_COUNT },
        { NULL, "limits.timeout_seconds", "time", KIND_SECONDS },
        { NULL, "limits.cpu_time_max_seconds", "CPU time", KIND_SECONDS },
        { NULL, "limits.worker", "of each worker", KIND_JSON },
        { NULL, "limits_met", "met", KIND_MET },
        { NULL, "pids_refused", "refused by pids.max", KIND_COUNT },
        { NULL, "cpu_throttling.periods", "periods of cpu.max", KIND_COUNT },
        { NULL, "cpu_throttling.throttled_periods", "throttled in", KIND_COUNT },
        { NULL, "cpu_throttling.throttled_seconds", "throttled for", KIND_SECONDS },

        { "ring", "ring.setup", "set up with", KIND_TEXT },
        { NULL, "ring.submissions", "submissions", KIND_COUNT },
        { NULL, "ring.completions", "completions", KIND_COUNT },
        { NULL, "ring.enters", "io_uring_enter calls", KIND_COUNT },
        { NULL, "ring.wakeups", "wake-ups", KIND_COUNT },
        { NULL, "ring.completions_per_wakeup", "completions a wake-up", KIND_RATIO },
        { NULL, "ring.overflows", "overflows", KIND_COUNT },
        { NULL, "ring.stall_max_seconds", "longest stall", KIND_SECONDS },

        { "machines", "machines.nodes", "nodes", KIND_COUNT },
        { NULL, "machines.chunks_sent", "chunks sent", KIND_COUNT },
        { NULL, "machines.chunks_resent", "of those, again", KIND_COUNT },
        { NULL, "machines.sent_bytes", "inputs sent", KIND_BYTES },
        { NULL, "machines.results_duplicate", "results that came twice", KIND_COUNT },
        { NULL, "machines.results_foreign", "entries not understood", KIND_COUNT },

        { "coordinator", "coordinator.cpu_user_seconds", "CPU, user", KIND_SECONDS },
        { NULL, "coordinator.cpu_system_seconds", "CPU, system", KIND_SECONDS },
        { NULL, "coordinator.memory_peak_bytes", "peak memory", KIND_BYTES },
        { NULL, "coordinator.rss_peak_bytes", "peak resident sets", KIND_BYTES },
        { NULL, "coordinator.context_switches_voluntary", "switches, voluntary", KIND_COUNT },
        { NULL, "coordinator.context_switches_involuntary", "switches, involuntary", KIND_COUNT },

        { "host", "host.kernel", "kernel", KIND_TEXT },
        { NULL, "host.cpus", "CPUs", KIND_COUNT },
        { NULL, "host.cgroup", "cgroup", KIND_TEXT },
        { NULL, "host.version", "pppd", KIND_TEXT },
};

#define LABEL_WIDTH "28"

static void print_row(struct output *output, const char *label, const char *value)
{
        output_line(output, "  %-" LABEL_WIDTH "s%s", label, value);
}

static const char *format_number(enum kind kind, double v, char text[UNITS_SIZE])
{
        switch (kind) {
        case KIND_SECONDS:
                return units_seconds(v, text);
        case KIND_BYTES:
                return units_bytes(v, text);
        case KIND_RATE:
                return units_rate(v, text);
        case KIND_RATIO:
                return units_ratio(v, text);
        case KIND_COUNT:
        default:
                return units_count(v, text);
        }
}

static bool format_distribution(json_t *summary, const char *path, char *text, size_t size)
{
        static const char *const members[] = { "p50", "p90", "p99", "max" };
        char member[96], seconds[UNITS_SIZE];
        size_t at = 0;
        double v;

        for (size_t i = 0; i < ARRAY_SIZE(members); ++i) {
                snprintf(member, sizeof(member), "%s.%s", path, members[i]);
                if (!summary_number(summary, member, &v))
                        return false;
                at += (size_t)snprintf(text + at, size - at, "%s%s %s", i ? ", " : "", members[i],
                                       units_seconds(v, seconds));
        }
        return true;
}

static json_t *find(json_t *summary, const char *path)
{
        const char *dot = strchr(path, '.');
        char outer[64];

        if (!dot)
                return json_object_get(summary, path);
        snprintf(outer, sizeof(outer), "%.*s", (int)(dot - path), path);
        return json_object_get(json_object_get(summary, outer), dot + 1);
}

/* Short lists and objects; what does not fit is cut. */
static bool format_json(json_t *v, char *text, size_t size)
{
        _cleanup_free_ char *json = json_text(v, JSON_REAL_PRECISION(3));

        if (json)
                snprintf(text, size, "%s", json);
        return json != NULL;
}

static void print_met(FILE *file, json_t *met)
{
        const char *limit = job_text(met, "limit"), *of = job_text(met, "of"),
                   *group = job_text(met, "group");
        enum kind kind = streq(limit, "memory.max") ? KIND_BYTES : KIND_COUNT;
        char number[UNITS_SIZE];
        double v;

        fprintf(file, "%s of ", limit);
        if (*group)
                fputs(group, file);
        else
                fprintf(file, "%s %s", streq(of, "job") ? "the" : "a", of);
        if (summary_number(met, "value", &v))
                fprintf(file, " (%s)", format_number(kind, v, number));
        if (summary_number(met, "times", &v))
                fprintf(file, " %s time%s", units_count(v, number), plural((uint64_t)v));
}

/*
 * "memory.max of pppd.slice (96 MiB) 2 times; pids.max of the job (4)"; what does not fit is cut.
 */
static bool format_met(json_t *list, char *text, size_t size)
{
        FILE *file = json_array_size(list) > 0 ? fmemopen(text, size, "w") : NULL;
        json_t *met;
        size_t i;

        if (!file)
                return false;
        json_array_foreach(list, i, met) {
                fputs(i > 0 ? "; " : "", file);
                print_met(file, met);
        }
        fclose(file);
        text[size - 1] = 0;
        return true;
}

static bool format_value(json_t *summary, const struct row *row, char *text, size_t size)
{
        json_t *v = find(summary, row->path);
        char number[UNITS_SIZE];

        if (row->kind == KIND_DISTRIBUTION)
                return format_distribution(summary, row->path, text, size);
        if (row->kind == KIND_JSON)
                return v && format_json(v, text, size);
        if (row->kind == KIND_MET)
                return format_met(v, text, size);
        if (row->kind == KIND_TEXT && json_is_string(v))
                snprintf(text, size, "%s", json_string_value(v));
        else if (row->kind != KIND_TEXT && json_is_number(v))
                snprintf(text, size, "%s", format_number(row->kind, json_number_value(v), number));
        else
                return false;
        return true;
}

/*
 * The kernel takes a thread that waits for completions for one that waits for a disk, so that tasks
 * which only sleep make pressure too.
 */
static const char *note_of(json_t *summary, const struct row *row)
{
        bool io = strncmp(row->path, "pressure_io_", strlen("pressure_io_")) == 0;

        return io && level_named_has(job_text(summary, "level"), LEVEL_LOOPS)
                       ? ", including the ring's waits for completions"
                       : "";
}

/* What the level does not have is left out. */
static void print_summary(struct output *output, json_t *summary)
{
        const char *section = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(rows); ++i) {
                char text[512];

                section = rows[i].section ?: section;
                if (!format_value(summary, &rows[i], text, sizeof(text)))
                        continue;
                if (section)
                        output_text(output, "\n"), output_line(output, "%s", section);
                section = NULL;
                output_line(output, "  %-" LABEL_WIDTH "s%s%s", rows[i].label, text,
                            note_of(summary, &rows[i]));
        }
}

/* The metrics that are objects, as people call them. */
static const char *label_of(const char *key)
{
        static const char *const objects[][2] = {
                { "io", "traffic of disks" },
                { "memory_stat", "memory by kind" },
                { "memory_events", "hits of memory limits" },
                { "cpu_throttling", "throttling by cpu.max" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(objects); ++i)
                if (streq(objects[i][0], key))
                        return objects[i][1];
        for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
                if (streq(rows[i].path, key))
                        return rows[i].label;
        return key;
}

static const char *missing_member(json_t *missing, size_t i, const char *name)
{
        return json_string_value(json_object_get(json_array_get(missing, i), name)) ?: "";
}

static bool was_told(json_t *missing, size_t n, const char *why)
{
        for (size_t i = 0; i < n; ++i)
                if (streq(missing_member(missing, i, "reason"), why))
                        return true;
        return false;
}

/* "peak memory; memory by kind": all that is missing for the reason of the one at @at. */
static char *list_missing(json_t *missing, size_t at)
{
        const char *why = missing_member(missing, at, "reason");
        char *text = NULL;
        size_t n;
        FILE *file = open_memstream(&text, &n);

        if (!file)
                return NULL;
        for (size_t i = at; i < json_array_size(missing); ++i)
                if (streq(missing_member(missing, i, "reason"), why))
                        fprintf(file, "%s%s", i > at ? "; " : "",
                                label_of(missing_member(missing, i, "metric")));
        if (fclose(file) == 0)
                return text;
        free(text);
        return NULL;
}

/* What could not be had, each reason once. */
static int print_missing(struct output *output, json_t *summary)
{
        json_t *missing = json_object_get(summary, "unavailable");
        size_t room = table_room();

        if (json_array_size(missing) > 0)
                output_text(output, "\nnot measured\n");
        for (size_t i = 0; i < json_array_size(missing); ++i) {
                const char *why = missing_member(missing, i, "reason");
                _cleanup_free_ char *what = NULL;

                if (was_told(missing, i, why))
                        continue;
                what = list_missing(missing, i);
                if (!what)
                        return cli_no_memory();
                output_wrapped(output, "  ", 2, what, room);
                output_wrapped(output, "    ", 4, why, room);
        }
        return 0;
}

static bool is_known(const char *key)
{
        static const char *const others[] = {
                "schema",  "version", "job", "state",    "reason",        "level",   "workload",
                "workers", "loops",   "gil", "threaded", "reason_detail", "resumed", "unavailable",
        };
        size_t n = strlen(key);

        for (size_t i = 0; i < ARRAY_SIZE(others); ++i)
                if (streq(key, others[i]))
                        return true;
        for (size_t i = 0; i < ARRAY_SIZE(rows); ++i)
                if (strncmp(rows[i].path, key, n) == 0 && strchr(".", rows[i].path[n]))
                        return true;
        return false;
}

/* Of a pppd newer than this pppctl. */
static int print_others(struct output *output, json_t *summary)
{
        const char *key;
        json_t *value;
        bool first = true;

        json_object_foreach(summary, key, value) {
                _cleanup_free_ char *text = NULL;

                if (is_known(key))
                        continue;
                text = visible_json(value, JSON_COMPACT);
                if (!text)
                        return cli_no_memory();
                if (first)
                        output_text(output, "\nothers\n");
                first = false;
                print_row(output, key, text);
        }
        return 0;
}

static void print_owner(struct output *output, json_t *job)
{
        uint64_t uid = job_count(job, "owner_uid");
        const struct passwd *user = getpwuid((uid_t)uid);
        char text[128];

        if (user)
                snprintf(text, sizeof(text), "%s (%" PRIu64 ")", user->pw_name, uid);
        else
                snprintf(text, sizeof(text), "%" PRIu64, uid);
        print_row(output, "owner", text);
}

static void print_seconds(struct output *output, json_t *spec, const char *member,
                          const char *label)
{
        char text[UNITS_SIZE];
        double v;

        if (summary_number(spec, member, &v))
                print_row(output, label, units_seconds(v, text));
}

static void print_spec_count(struct output *output, json_t *spec, const char *member,
                             const char *label)
{
        char text[UNITS_SIZE];
        double v;

        if (summary_number(spec, member, &v))
                print_row(output, label, units_count(v, text));
}

static void print_json_member(struct output *output, json_t *spec, const char *member,
                              const char *label)
{
        json_t *v = json_object_get(spec, member);
        char text[512];

        if (v && format_json(v, text, sizeof(text)))
                print_row(output, label, text);
}

static void print_spec(struct output *output, json_t *spec, json_t *summary)
{
        /* As run, where that is known: defaults are filled in there. */
        json_t *as_run = summary ?: spec;

        print_row(output, "level", job_text(spec, "level"));
        print_row(output, "workload", job_text(spec, "workload"));
        print_spec_count(output, as_run, "workers", "workers");
        print_spec_count(output, as_run, "loops", "loops");
        if (json_is_true(json_object_get(spec, "gil")))
                print_row(output, "gil", "yes");
        if (json_is_true(json_object_get(spec, "threaded")))
                print_row(output, "threaded", "yes");
        print_json_member(output, spec, "thread_weights", "thread weights");
        if (!summary) {
                print_spec_count(output, spec, "nice", "nice");
                print_seconds(output, spec, "timeout_seconds", "time, at most");
                print_seconds(output, spec, "cpu_time_max_seconds", "CPU time, at most");
                print_json_member(output, spec, "limits", "limits");
                print_json_member(output, spec, "worker_limits", "limits of each worker");
        }
        print_seconds(output, spec, "task_timeout_seconds", "timeout of a try");
        print_spec_count(output, spec, "retries", "retries");
        if (*job_text(spec, "ca_file"))
                print_row(output, "certificates", job_text(spec, "ca_file"));
}

/* What is known of a job that has no summary yet. */
static void print_tasks(struct output *output, json_t *job)
{
        output_text(output, "\ntasks\n");
        print_spec_count(output, job, "tasks_total", "total");
        print_spec_count(output, job, "tasks_done", "done");
        print_spec_count(output, job, "tasks_failed", "failed");
}

static int print_job(struct output *output, json_t *job)
{
        json_t *summary = job_summary(job);
        const char *reason = job_reason(job);
        char submitted[TIMES_SIZE];
        int r;

        output_line(output, "job %" PRIu64 ": %s%s%s%s", job_number(job), job_text(job, "state"),
                    *reason ? " (" : "", reason, *reason ? ")" : "");
        if (*job_text(job, "condition"))
                print_row(output, "waits", job_note(job));
        if (*job_text(job, "omitted"))
                print_row(output, "left out", job_text(job, "omitted"));
        if (*job_text(job, "put_off"))
                print_row(output, "put off", job_text(job, "put_off"));
        if (*job_text(job, "paused_by"))
                print_row(output, "paused by", job_text(job, "paused_by"));
        print_row(output, "submitted", times_local(job_text(job, "submitted_at"), submitted));
        print_owner(output, job);
        if (json_is_true(json_object_get(summary, "resumed")))
                print_row(output, "resumed",
                          "yes: what its runner measured is of its last part alone");
        print_spec(output, json_object_get(job, "spec"), summary);
        if (!summary) {
                print_tasks(output, job);
                return 0;
        }
        print_summary(output, summary);
        r = print_others(output, summary);
        return r ? r : print_missing(output, summary);
}

static int run(const struct args *args)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        struct output output;
        uint64_t number;
        json_t *job;
        int r = choose_job(args, &number);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        pppd.job = number;
        r = pppd_ask(&pppd, "show the job", "Show", pppd_about_job(number), -EBADF, &reply);
        if (r == 0)
                r = pppd_reply_job(&pppd, &reply, &job);
        if (r)
                return r;
        output_init(&output, false);
        r = args_has(args, OPTION_JSON) ? output_json(&output, job, JSON_INDENT(2))
                                        : print_job(&output, job);
        return r ? r : output_finish(&output);
}

const struct verb verb_show = {
        .name = "show",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "show a job: its state, what it cost",
        .text = "Shows the job's options and its summary, and at the end what could not be\n"
                "measured, and why. With --json: the job as pppd tells it, in base units.",
        .examples = "  pppctl show 12\n"
                    "  pppctl show 12 --json | jq .summary.service_seconds.p99",
        .options = OPTION_BIT(OPTION_JSON),
        .run = run,
};
