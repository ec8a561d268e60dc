#include "daemon/supervisor/api/openmetrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/kept/totals.h"

#define PREFIX    "pppctl_"
#define EXACT_MAX 9007199254740992.0 /* 2^53: integers below are exact in a double */

static void put_family(FILE *file, const char *name, const char *type, const char *unit,
                       const char *help)
{
        fprintf(file, "# TYPE " PREFIX "%s %s\n", name, type);
        if (unit)
                fprintf(file, "# UNIT " PREFIX "%s %s\n", name, unit);
        fprintf(file, "# HELP " PREFIX "%s %s.\n", name, help);
}

/* Writes integers as such, and other values with nine decimals, since times have nanoseconds. */
static void put_value(FILE *file, double value)
{
        if (value < EXACT_MAX && value == (double)(uint64_t)value)
                fprintf(file, " %" PRIu64 "\n", (uint64_t)value);
        else
                fprintf(file, " %.9f\n", value);
}

static void put_gauge(FILE *file, const char *name, const char *unit, const char *help,
                      double value)
{
        put_family(file, name, "gauge", unit, help);
        fprintf(file, PREFIX "%s", name);
        put_value(file, value);
}

/* The present state of the queue and of running jobs. */
struct now {
        uint64_t n_queued, n_running, n_paused, n_open; /* n_open: tasks without a result */
        uint64_t oldest_ns; /* submission of the oldest job that is queued and not paused */
};

static void look_at(struct now *now, struct job *job)
{
        const struct job_record *record = &job->record;

        now->n_paused += record->paused && !record->resuming;
        now->n_open += record->n_tasks - record->n_done - record->n_failed;
}

static void look(struct jobs *jobs, struct now *ret)
{
        struct job *job;

        *ret = (struct now){ .n_queued = jobs->n_queued, .n_running = jobs->n_running };
        list_for_each(job, &jobs->running, struct job, link) {
                job_refresh(job);
                look_at(ret, job);
        }
        list_for_each(job, &jobs->queue, struct job, link) {
                look_at(ret, job);
                if (!job->record.paused &&
                    (ret->oldest_ns == 0 || job->record.submitted_ns < ret->oldest_ns))
                        ret->oldest_ns = job->record.submitted_ns;
        }
}

static void put_now(FILE *file, struct jobs *jobs)
{
        uint64_t realtime_ns = now_realtime();
        struct now now;

        look(jobs, &now);
        put_family(file, "build", "info", NULL, "Version of the daemon");
        fputs(PREFIX "build_info{version=\"" PPPCTL_VERSION "\"} 1\n", file);
        put_gauge(file, "start_time_seconds", "seconds", "Start of the daemon, counted from 1970",
                  (double)jobs->since_ns / (double)NSEC_PER_SEC);
        put_gauge(file, "jobs_queued", NULL, "Jobs that wait for their turn, paused ones included",
                  (double)now.n_queued);
        put_gauge(file, "jobs_queued_max", NULL, "Jobs that may wait",
                  (double)jobs_queue_limit(jobs, JOBS_E_FULL));
        put_gauge(file, "jobs_running", NULL, "Jobs that run, paused ones included",
                  (double)now.n_running);
        put_gauge(file, "jobs_running_max", NULL, "Jobs that may run at a time",
                  (double)jobs->config->max_running);
        put_gauge(file, "jobs_paused", NULL, "Jobs that are paused, queued and running ones",
                  (double)now.n_paused);
        put_gauge(file, "tasks_open", NULL, "Tasks without a result, of jobs that wait or run",
                  (double)now.n_open);
        put_gauge(file, "loop_busy_max_seconds", "seconds",
                  "Longest time that one event has kept the daemon busy since its start",
                  (double)event_loop_longest_ns() / (double)NSEC_PER_SEC);
        put_gauge(file, "queue_age_seconds", "seconds",
                  "How long the oldest job that is not paused has waited",
                  now.oldest_ns > 0 && now.oldest_ns < realtime_ns
                          ? (double)(realtime_ns - now.oldest_ns) / (double)NSEC_PER_SEC
                          : 0);
}

/* The values of labels are names that we have chosen, so nothing has to be escaped. */
static void put_labels(FILE *file, const struct total *total)
{
        fprintf(file, "{level=\"%s\",workload=\"%s\"", total->level, total->workload);
        if (*total->outcome)
                fprintf(file, ",outcome=\"%s\",reason=\"%s\"", total->outcome, total->reason);
}

#define BOUNDS_MAX 16

/* Writes one family of metrics. A family that has no value yet is left out. */
struct writer {
        FILE *file;
        const struct totals_family *family;
        bool begun;                     /* the family's head has been written */
        double counts[BOUNDS_MAX], sum; /* of the histogram of @level and @workload */
        char level[32], workload[32];
};

static void begin_family(struct writer *writer, const char *type)
{
        const struct totals_family *family = writer->family;

        if (!writer->begun)
                put_family(writer->file, family->name, type, family->unit, family->help);
        writer->begun = true;
}

static void put_counter(void *userdata, const struct total *total)
{
        struct writer *writer = userdata;

        begin_family(writer, "counter");
        fprintf(writer->file, PREFIX "%s_total", writer->family->name);
        put_labels(writer->file, total);
        fputc('}', writer->file);
        put_value(writer->file, total->value);
}

static void put_sample(struct writer *writer, const char *suffix, const char *bound, double value)
{
        const struct total of = { .level = writer->level,
                                  .workload = writer->workload,
                                  .outcome = "" };

        fprintf(writer->file, PREFIX "%s_%s", writer->family->name, suffix);
        put_labels(writer->file, &of);
        if (bound)
                fprintf(writer->file, ",le=\"%s\"", bound);
        fputc('}', writer->file);
        put_value(writer->file, value);
}

static void put_histogram(struct writer *writer)
{
        double count = 0;

        if (!*writer->level)
                return;
        begin_family(writer, "histogram");
        for (size_t i = 0; i < writer->family->n_bounds; ++i) {
                count += writer->counts[i];
                put_sample(writer, "bucket", writer->family->bounds[i], count);
        }
        put_sample(writer, "count", NULL, count);
        put_sample(writer, "sum", NULL, writer->sum);
}

/* Totals of the same level and workload come one after the other, and form a histogram. */
static void take_bucket(void *userdata, const struct total *total)
{
        struct writer *writer = userdata;

        if (!streq(writer->level, total->level) || !streq(writer->workload, total->workload)) {
                put_histogram(writer);
                memset(writer->counts, 0, sizeof(writer->counts));
                writer->sum = 0;
                snprintf(writer->level, sizeof(writer->level), "%s", total->level);
                snprintf(writer->workload, sizeof(writer->workload), "%s", total->workload);
        }
        if (streq(total->bucket, totals_sum)) {
                writer->sum = total->value;
                return;
        }
        for (size_t i = 0; i < writer->family->n_bounds; ++i)
                if (streq(total->bucket, writer->family->bounds[i]))
                        writer->counts[i] = total->value;
}

static int put_totals(FILE *file, struct jobs *jobs, const struct totals_family *family)
{
        struct writer writer = { .file = file, .family = family };
        int r;

        assert(family->n_bounds <= BOUNDS_MAX);
        if (family->kind != TOTALS_HISTOGRAM)
                return store_read_totals(jobs->store, family->name, put_counter, &writer);
        r = store_read_totals(jobs->store, family->name, take_bucket, &writer);
        if (r >= 0)
                put_histogram(&writer);
        return r;
}

int openmetrics_write(struct jobs *jobs, char **ret)
{
        char *text = NULL;
        size_t n;
        FILE *file = open_memstream(&text, &n);
        int r = 0;

        if (!file)
                return -ENOMEM;
        put_now(file, jobs);
        for (size_t i = 0; i < n_totals_families && r >= 0; ++i)
                r = put_totals(file, jobs, &totals_families[i]);
        fputs("# EOF\n", file);
        if (ferror(file) && r >= 0)
                r = -ENOMEM;
        if (fclose(file) != 0 && r >= 0)
                r = -ENOMEM;
        if (r >= 0)
                *ret = text;
        else
                free(text);
        return r;
}
