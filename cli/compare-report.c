/* The table and the JSON of `pppctl compare`. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/compare.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/units.h"

void comparison_deinit(struct comparison *comparison)
{
        for (size_t i = 0; i < comparison->n; ++i) {
                json_decref(comparison->contenders[i].runs);
                json_decref(comparison->contenders[i].unfinished);
                free(comparison->contenders[i].left_out);
        }
        *comparison = (struct comparison){ .n = 0 };
}

static size_t n_runs(const struct contender *contender)
{
        return json_array_size(contender->runs);
}

static int compare_doubles(const void *a, const void *b)
{
        const double *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

/* All values in order, owned by the caller; NULL when there is none or one is missing. */
static double *sorted_values(const struct contender *contender, const char *path, size_t *ret_n)
{
        size_t n = n_runs(contender);
        _cleanup_free_ double *values = n ? calloc(n, sizeof(*values)) : NULL;

        if (!values)
                return NULL;
        for (size_t i = 0; i < n; ++i)
                if (!summary_number(json_array_get(contender->runs, i), path, &values[i]))
                        return NULL;
        qsort(values, n, sizeof(*values), compare_doubles);
        *ret_n = n;
        return steal_ptr(values);
}

static double middle(const double *values, size_t n)
{
        return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

bool contender_median(const struct contender *contender, const char *path, double *ret)
{
        size_t n;
        _cleanup_free_ double *values = sorted_values(contender, path, &n);

        if (values)
                *ret = middle(values, n);
        return values;
}

bool contender_spread(const struct contender *contender, double *ret)
{
        size_t n;
        _cleanup_free_ double *values = sorted_values(contender, "wall_seconds", &n);

        if (!values || middle(values, n) <= 0)
                return false;
        *ret = (values[n - 1] - values[0]) / middle(values, n);
        return true;
}

static double wall_of(const struct contender *contender, size_t run)
{
        double v;

        return summary_number(json_array_get(contender->runs, run), "wall_seconds", &v) ? v : 0;
}

/* How many runs were faster; of those that took as long, the earlier ones. */
static size_t rank_of(const struct contender *contender, size_t run)
{
        double own = wall_of(contender, run);
        size_t rank = 0;

        for (size_t i = 0; i < n_runs(contender); ++i) {
                double other = wall_of(contender, i);

                rank += other < own || (other == own && i < run);
        }
        return rank;
}

uint64_t contender_middle_job(const struct contender *contender)
{
        size_t n = n_runs(contender);

        for (size_t i = 0; i < n; ++i)
                if (rank_of(contender, i) == (n - 1) / 2)
                        return job_number(json_array_get(contender->runs, i));
        return 0;
}

/* NULL when no level has a run. */
static const struct contender *first_with_runs(const struct comparison *comparison)
{
        for (size_t i = 0; i < comparison->n; ++i)
                if (n_runs(&comparison->contenders[i]) > 0)
                        return &comparison->contenders[i];
        return NULL;
}

static const struct contender *baseline(const struct comparison *comparison)
{
        for (size_t i = 0; i < comparison->n; ++i)
                if (comparison->contenders[i].level == LEVEL_SERIAL)
                        return &comparison->contenders[i];
        return first_with_runs(comparison);
}

bool comparison_speed_up(const struct comparison *comparison, size_t i, double *ret)
{
        const struct contender *slow = baseline(comparison);
        double base, own;

        if (!slow || !contender_median(slow, "wall_seconds", &base) ||
            !contender_median(&comparison->contenders[i], "wall_seconds", &own) || own <= 0)
                return false;
        *ret = base / own;
        return true;
}

#define NOTES_MAX 64

/* Footnotes. A text is printed once, with the titles of all columns that it is about. */
struct notes {
        struct note {
                char *titles, *text;
        } notes[NOTES_MAX];
        size_t n;
};

static void notes_deinit(struct notes *notes)
{
        for (size_t i = 0; i < notes->n; ++i) {
                free(notes->notes[i].titles);
                free(notes->notes[i].text);
        }
        notes->n = 0;
}

/* "PEAK MEM, CTX SW VOL" */
static void add_title(struct note *note, const char *title)
{
        char *titles;

        if (strstr(note->titles, title) || asprintf(&titles, "%s, %s", note->titles, title) < 0)
                return;
        free(note->titles);
        note->titles = titles;
}

/* The note's number from 1; 0 where it cannot be kept (out of memory, or too many). */
static size_t notes_add(struct notes *notes, const char *title, const char *text)
{
        struct note note;

        for (size_t i = 0; i < notes->n; ++i) {
                if (streq(notes->notes[i].text, text)) {
                        add_title(&notes->notes[i], title);
                        return i + 1;
                }
        }
        if (notes->n == NOTES_MAX)
                return 0;
        note = (struct note){ strdup(title), strdup(text) };
        if (!note.titles || !note.text) {
                free(note.titles);
                free(note.text);
                return 0;
        }
        notes->notes[notes->n++] = note;
        return notes->n;
}

static const struct metric {
        const char *title;
        const char *path;
        const char *(*format)(double, char *);
} metrics[] = {
        { "TASKS/S", "tasks_per_second", units_rate },
        { "CPU USER", "cpu_user_seconds", units_seconds },
        { "CPU SYS", "cpu_system_seconds", units_seconds },
        { "PEAK MEM", "memory_peak_bytes", units_bytes },
        { "CTX SW VOL", "context_switches_voluntary", units_count },
        { "CTX SW INVOL", "context_switches_involuntary", units_count },
        { "P50", "service_seconds.p50", units_seconds },
        { "P99", "service_seconds.p99", units_seconds },
};

struct report {
        const struct comparison *comparison;
        struct table table;
        struct notes notes;
        bool many_runs;
        bool resident; /* peak memory is that of resident sets, not of the cgroup */
};

static void add_missing(struct report *report, const struct contender *contender,
                        const struct metric *metric)
{
        const char *why = summary_why_absent(json_array_get(contender->runs, 0), metric->path);
        size_t note = notes_add(&report->notes, metric->title,
                                why ?: "the summary does not have it and does not say why");

        table_add(&report->table, "-[%zu]", note);
}

static void add_metric(struct report *report, const struct contender *contender,
                       const struct metric *metric)
{
        char text[UNITS_SIZE];
        double v;

        if (contender_median(contender, metric->path, &v))
                table_add(&report->table, "%s", metric->format(v, text));
        else
                add_missing(report, contender, metric);
}

static const struct metric wall = { "WALL", "wall_seconds", units_seconds };
static const struct metric workers = { "WORKERS", "workers", units_count };
static const struct metric resident = { "PEAK MEM", "rss_peak_bytes", units_bytes };

static void add_ratios(struct report *report, size_t i)
{
        const struct comparison *comparison = report->comparison;
        char text[UNITS_SIZE];
        double v;

        if (report->many_runs) {
                if (contender_spread(&comparison->contenders[i], &v))
                        table_add(&report->table, "%.1f%%", v * 100);
                else
                        table_add(&report->table, "-");
        }
        if (comparison_speed_up(comparison, i, &v))
                table_add(&report->table, "%sx", units_ratio(v, text));
        else
                table_add(&report->table, "-");
}

static void add_contender(struct report *report, size_t i)
{
        const struct contender *contender = &report->comparison->contenders[i];

        table_add(&report->table, "%s", contender_name(contender));
        add_metric(report, contender, &workers);
        add_metric(report, contender, &wall);
        add_ratios(report, i);
        for (size_t k = 0; k < ARRAY_SIZE(metrics); ++k) {
                bool stand_in = report->resident && streq(metrics[k].path, "memory_peak_bytes");

                add_metric(report, contender, stand_in ? &resident : &metrics[k]);
        }
}

/*
 * Where resident sets are shown instead of the cgroup's peak, the first note says so: see
 * choose_memory().
 */
static const char *title_of(const struct report *report, const struct metric *metric)
{
        bool stand_in = report->resident && streq(metric->path, "memory_peak_bytes");

        return stand_in ? "PEAK MEM[1]" : metric->title;
}

static void add_columns(struct report *report)
{
        table_add_column(&report->table, "LEVEL", true);
        table_add_column(&report->table, "WORKERS", false);
        table_add_column(&report->table, "WALL", false);
        if (report->many_runs)
                table_add_column(&report->table, "SPREAD", false);
        table_add_column(&report->table, "SPEED-UP", false);
        for (size_t k = 0; k < ARRAY_SIZE(metrics); ++k)
                table_add_column(&report->table, title_of(report, &metrics[k]), false);
}

static void note_resident(struct report *report, const char *why)
{
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "sum of peak resident sets, not the cgroup's peak: %s", why) < 0)
                text = NULL;
        else
                notes_add(&report->notes, "PEAK MEM", text);
}

/* One definition for all levels: where one lacks the cgroup's peak, all show resident sets. */
static void choose_memory(struct report *report)
{
        const struct comparison *comparison = report->comparison;
        double v;

        for (size_t i = 0; i < comparison->n; ++i) {
                const struct contender *contender = &comparison->contenders[i];
                const char *why =
                        summary_why_absent(json_array_get(contender->runs, 0), "memory_peak_bytes");

                if (n_runs(contender) == 0 || contender_median(contender, "memory_peak_bytes", &v))
                        continue;
                report->resident = true;
                note_resident(report, why ?: "the summary does not say why");
                return;
        }
}

/* The headings do not refer to this note: its columns mean the same, only their source differs. */
static void note_cpu(struct report *report)
{
        const struct comparison *comparison = report->comparison;

        for (size_t i = 0; i < comparison->n; ++i) {
                json_t *summary = json_array_get(comparison->contenders[i].runs, 0);

                if (streq(job_text(summary, "cpu_source"), "rusage"))
                        notes_add(&report->notes, "CPU USER, CPU SYS",
                                  "of the runner and the processes it waited for (getrusage(2)), "
                                  "since jobs have no cgroup here");
        }
}

static void print_unfinished(const struct contender *contender, size_t room, struct output *output)
{
        json_t *job;
        size_t i;

        json_array_foreach(contender->unfinished, i, job) {
                _cleanup_free_ char *text = NULL;
                const char *reason = job_reason(job);
                char label[48];

                snprintf(label, sizeof(label), "%s: ", contender_name(contender));
                if (asprintf(&text, "job %" PRIu64 " %s%s%s%s, so what it cost is not shown",
                             job_number(job), job_text(job, "state"), *reason ? " (" : "", reason,
                             *reason ? ")" : "") < 0)
                        text = NULL;
                output_wrapped(output, label, strlen(label), text ?: "a job did not get done",
                               room);
        }
}

static void print_notes(const struct report *report, size_t room, struct output *output)
{
        const struct comparison *comparison = report->comparison;
        char label[48];

        for (size_t i = 0; i < report->notes.n; ++i) {
                const struct note *note = &report->notes.notes[i];
                _cleanup_free_ char *text = NULL;

                snprintf(label, sizeof(label), "[%zu] ", i + 1);
                if (asprintf(&text, "%s: %s", note->titles, note->text) < 0)
                        text = NULL;
                output_wrapped(output, label, strlen(label), text ?: note->text, room);
        }
        for (size_t i = 0; i < comparison->n; ++i)
                print_unfinished(&comparison->contenders[i], room, output);
        for (size_t i = 0; i < comparison->n; ++i) {
                if (!comparison->contenders[i].left_out)
                        continue;
                snprintf(label, sizeof(label),
                         "%s is left out: ", contender_name(&comparison->contenders[i]));
                output_wrapped(output, label, strlen(label), comparison->contenders[i].left_out,
                               room);
        }
}

static int print_report(struct report *report, bool color, struct output *output)
{
        size_t room = table_room();
        _cleanup_free_ char *text = NULL;
        int r = 0;

        if (first_with_runs(report->comparison))
                r = table_print(&report->table, room, true, color, &text);
        if (r)
                return r;
        if (text) {
                output_text(output, text);
                output_text(output, "\n");
        }
        print_notes(report, MAX(room, (size_t)60), output);
        return 0;
}

int comparison_print_table(const struct comparison *comparison, bool color, struct output *output)
{
        struct report report = {
                .comparison = comparison,
        };
        int r;

        for (size_t i = 0; i < comparison->n; ++i)
                report.many_runs |= n_runs(&comparison->contenders[i]) > 1;
        choose_memory(&report);
        note_cpu(&report);
        add_columns(&report);
        for (size_t i = 0; i < comparison->n; ++i)
                if (n_runs(&comparison->contenders[i]) > 0)
                        add_contender(&report, i);
        r = print_report(&report, color, output);
        table_deinit(&report.table);
        notes_deinit(&report.notes);
        return r;
}

static int set_number(json_t *json, const char *key, double v)
{
        return json_object_set_new(json, key, json_real(v));
}

static json_t *contender_json(const struct comparison *comparison, size_t i)
{
        const struct contender *contender = &comparison->contenders[i];
        json_t *json = json_pack("{s:s, s:s*, s:O}", "level", contender_name(contender), "left_out",
                                 contender->left_out, "runs", contender->runs);
        double median, spread, speed_up;

        if (json && ((json_array_size(contender->unfinished) > 0 &&
                      json_object_set(json, "unfinished", contender->unfinished) < 0) ||
                     (contender_median(contender, "wall_seconds", &median) &&
                      set_number(json, "wall_seconds_median", median) < 0) ||
                     (contender_spread(contender, &spread) &&
                      set_number(json, "wall_spread_ratio", spread) < 0) ||
                     (comparison_speed_up(comparison, i, &speed_up) &&
                      set_number(json, "speed_up_ratio", speed_up) < 0))) {
                json_decref(json);
                return NULL;
        }
        return json;
}

static json_t *host_of(const struct comparison *comparison)
{
        for (size_t i = 0; i < comparison->n; ++i) {
                json_t *first = json_array_get(comparison->contenders[i].runs, 0);
                json_t *host = json_object_get(first, "host");

                if (host)
                        return json_incref(host);
        }
        return json_object();
}

int comparison_print_json(const struct comparison *comparison, struct output *output)
{
        json_t *levels = json_array(), *json;
        int r = 0;

        for (size_t i = 0; i < comparison->n; ++i)
                r |= json_array_append_new(levels, contender_json(comparison, i));
        json = json_pack("{s:s, s:i, s:o, s:s, s:I, s:b, s:o}", "schema", "io.pppctl.compare",
                         "version", 1, "host", host_of(comparison), "workload",
                         workload_name(comparison->workload), "tasks_total",
                         (json_int_t)comparison->n_tasks, "values_agree",
                         comparison->n_disagree == 0, "levels", levels);
        r = json && r == 0 ? output_json(output, json, JSON_COMPACT) : cli_no_memory();
        json_decref(json);
        return r;
}
