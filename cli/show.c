/*
 * `pppctl show`: all that pppd knows about a job, with units, and the reason for each number that
 * is missing.
 */

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
#include "lib/metric.h"

#define LABEL_WIDTH "28"

static void print_row(struct output *output, const char *label, const char *value)
{
        output_line(output, "  %-" LABEL_WIDTH "s%s", label, value);
}

static const char *format_number(enum metric_kind kind, double v, char text[UNITS_SIZE])
{
        switch (kind) {
        case METRIC_SECONDS:
                return units_seconds(v, text);
        case METRIC_BYTES:
                return units_bytes(v, text);
        case METRIC_RATE:
                return units_rate(v, text);
        case METRIC_RATIO:
                return units_ratio(v, text);
        default:
                return units_count(v, text);
        }
}

static bool format_distribution(json_t *v, char *text, size_t size)
{
        static const char *const members[] = { "p50", "p90", "p99", "max" };
        char seconds[UNITS_SIZE];
        size_t at = 0;
        double number;

        for (size_t i = 0; i < ARRAY_SIZE(members); ++i) {
                if (!summary_number(v, members[i], &number))
                        return false;
                at += (size_t)snprintf(text + at, size - at, "%s%s %s", i ? ", " : "", members[i],
                                       units_seconds(number, seconds));
        }
        return true;
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
        enum metric_kind kind = streq(limit, "memory.max") ? METRIC_BYTES : METRIC_COUNT;
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

static bool format_value(json_t *v, enum metric_kind kind, char *text, size_t size)
{
        char number[UNITS_SIZE];

        switch (kind) {
        case METRIC_COUNT:
        case METRIC_BYTES:
        case METRIC_SECONDS:
        case METRIC_RATE:
        case METRIC_RATIO:
                if (!json_is_number(v))
                        return false;
                snprintf(text, size, "%s", format_number(kind, json_number_value(v), number));
                return true;
        case METRIC_TEXT:
                if (!json_is_string(v))
                        return false;
                snprintf(text, size, "%s", json_string_value(v));
                return true;
        case METRIC_DISTRIBUTION:
                return format_distribution(v, text, size);
        case METRIC_LIMITS_MET:
                return format_met(v, text, size);
        case METRIC_SECONDS_LIST:
        case METRIC_OBJECT:
        case METRIC_COORDINATOR:
        case METRIC_LIMITS:
                return format_json(v, text, size);
        }
        return false;
}

/* The sections of the summary: a heading is printed before the first line of its section. */
struct sections {
        struct output *output;
        const char *section; /* the heading that was printed last */
};

/* Prints nothing where the summary has no such value. */
static void print_value(struct sections *sections, const char *section, const char *label,
                        json_t *v, enum metric_kind kind, const char *note)
{
        char text[512];

        if (!v || !format_value(v, kind, text, sizeof(text)))
                return;
        if (!sections->section || !streq(sections->section, section)) {
                output_text(sections->output, "\n");
                output_line(sections->output, "%s", section);
        }
        sections->section = section;
        output_line(sections->output, "  %-" LABEL_WIDTH "s%s%s", label, text, note);
}

static void print_members(struct sections *sections, const struct metric_info *metric, json_t *v)
{
        for (const struct metric_member *m = metric->members; m->key; ++m)
                if (m->label)
                        print_value(sections, metric->section, m->label, json_object_get(v, m->key),
                                    m->kind, "");
}

static void print_limits(struct sections *sections, const struct metric_info *metric, json_t *v)
{
        static const enum metric_kind kinds[] = {
                [LIMIT_KIND_CPUS] = METRIC_RATIO,   [LIMIT_KIND_COUNT] = METRIC_COUNT,
                [LIMIT_KIND_BYTES] = METRIC_BYTES,  [LIMIT_KIND_CPU_LIST] = METRIC_TEXT,
                [LIMIT_KIND_RATES] = METRIC_OBJECT,
        };

        for (enum limit i = 0; i < _LIMIT_N; ++i) {
                const struct limit_info *limit = &limit_infos[i];

                print_value(sections, metric->section, limit->label,
                            json_object_get(v, limit->member), kinds[limit->kind], "");
        }
        print_members(sections, metric, v);
}

static void print_coordinator(struct sections *sections, const struct metric_info *metric,
                              json_t *v)
{
        for (size_t i = 0; i < n_metric_infos; ++i)
                if (metric_infos[i].set_apart)
                        print_value(sections, metric->section, metric_infos[i].label,
                                    json_object_get(v, metric_infos[i].key), metric_infos[i].kind,
                                    "");
}

/*
 * The kernel takes a thread that waits for completions for one that waits for a disk, so that tasks
 * which only sleep make pressure too.
 */
static const char *note_of(json_t *summary, const struct metric_info *metric)
{
        bool io = strncmp(metric->key, "pressure_io_", strlen("pressure_io_")) == 0;

        return io && level_named_has(job_text(summary, "level"), LEVEL_LOOPS)
                       ? ", including the ring's waits for completions"
                       : "";
}

static void print_summary(struct output *output, json_t *summary)
{
        struct sections sections = { .output = output };

        for (size_t i = 0; i < n_metric_infos; ++i) {
                const struct metric_info *metric = &metric_infos[i];
                json_t *v = json_object_get(summary, metric->key);

                if (!metric->section)
                        continue;
                if (metric->kind == METRIC_OBJECT)
                        print_members(&sections, metric, v);
                else if (metric->kind == METRIC_LIMITS)
                        print_limits(&sections, metric, v);
                else if (metric->kind == METRIC_COORDINATOR)
                        print_coordinator(&sections, metric, v);
                else
                        print_value(&sections, metric->section, metric->label, v, metric->kind,
                                    note_of(summary, metric));
        }
}

/* A pppd newer than this pppctl may have others. */
static const char *label_of(const char *key)
{
        const struct metric_info *metric = metric_find(key);

        return metric ? metric->label : key;
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

/* Prints what could not be measured, each reason once. */
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

/* Members of a pppd newer than this pppctl. */
static int print_others(struct output *output, json_t *summary)
{
        const char *key;
        json_t *value;
        bool first = true;

        json_object_foreach(summary, key, value) {
                _cleanup_free_ char *text = NULL;

                if (metric_find(key) || summary_member_is_identity(key))
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

static void print_command(struct output *output, json_t *command)
{
        _cleanup_free_ char *text = strdup("");
        json_t *word;
        size_t i;

        if (!command)
                return;
        json_array_foreach(json_object_get(command, "words"), i, word) {
                char *longer = NULL;

                if (asprintf(&longer, "%s%s%s", text ?: "", i > 0 ? " " : "",
                             json_string_value(word) ?: "") < 0)
                        return;
                free(text);
                text = longer;
        }
        print_row(output, "command", text ?: "");
        if (*job_text(command, "directory"))
                print_row(output, "directory", job_text(command, "directory"));
}

static void print_spec(struct output *output, json_t *spec, json_t *summary)
{
        /* The summary has the numbers with which the job ran, defaults filled in. */
        json_t *as_run = summary ?: spec;

        print_row(output, "level", job_text(spec, "level"));
        print_row(output, "workload", job_text(spec, "workload"));
        print_command(output, json_object_get(spec, "command"));
        print_spec_count(output, as_run, "workers", "workers");
        print_spec_count(output, as_run, "loops", "loops");
        if (*job_text(spec, "executor"))
                print_row(output, "executor", job_text(spec, "executor"));
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
        print_seconds(output, spec, "delay_seconds", "from task to task");
        if (*job_text(spec, "halt"))
                print_row(output, "halted", job_text(spec, "halt"));
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
                          "yes: what its runner measured is of the last part only");
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
                "measured, and why. With --json: the job as pppd describes it, in base units.",
        .examples = "  pppctl show 12\n"
                    "  pppctl show 12 --json | jq .summary.service_seconds.p99",
        .options = OPTION_BIT(OPTION_JSON),
        .run = run,
};
