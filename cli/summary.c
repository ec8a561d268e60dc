#include "cli/summary.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/say.h"
#include "cli/units.h"

uint64_t job_count(json_t *job, const char *member)
{
        json_int_t v = json_integer_value(json_object_get(job, member));

        return v > 0 ? (uint64_t)v : 0;
}

const char *job_text(json_t *job, const char *member)
{
        return json_string_value(json_object_get(job, member)) ?: "";
}

json_t *job_summary(json_t *job)
{
        json_t *summary = json_object_get(job, "summary");

        return json_is_object(summary) ? summary : NULL;
}

uint64_t job_results(json_t *job)
{
        return job_count(job, "tasks_done") + job_count(job, "tasks_failed");
}

const char *job_progress(json_t *job, char text[JOB_PROGRESS_SIZE])
{
        uint64_t n = job_results(job), total = job_count(job, "tasks_total");

        snprintf(text, JOB_PROGRESS_SIZE, "%" PRIu64 " of %" PRIu64 " task%s %s", n, total,
                 plural(total), n == 1 || total == 1 ? "has a result" : "have results");
        return text;
}

int job_status(json_t *job)
{
        bool halted = strncmp(job_text(job, "reason"), "halted:", 7) == 0;

        /* --halt with done=N is told what enough is. */
        if ((!streq(job_text(job, "state"), "done") && !halted) ||
            job_count(job, "tasks_failed") > 0)
                return CLI_FAILED;
        return CLI_OK;
}

const char *job_reason(json_t *job)
{
        static const char *const reasons[][2] = {
                { "timeout", "its --time-max was up" },
                { "cpu-time-max", "its --cpu-time-max was used up" },
                { "cancelled", "a user asked for it" },
                { "disconnected", "its client had left" },
                { "stopped", "its runner was sent SIGTERM, but not by pppd" },
                { "runner-died", "its runner was killed; see pppd's log" },
                { "runner-failed", "its runner failed; see pppd's log" },
        };
        const char *reason = job_text(job, "reason");

        for (size_t i = 0; i < ARRAY_SIZE(reasons); ++i)
                if (streq(reason, reasons[i][0]))
                        return reasons[i][1];
        return reason;
}

const char *job_note(json_t *job)
{
        static const char *const conditions[][2] = {
                { "no-node", "no node serves this workload" },
                { "engine-unreachable", "Redis does not answer" },
                { "disk-full", "there is no room for what commands print" },
                { "engine-full", "Redis is at its memory limit" },
        };
        const char *condition = job_text(job, "condition");

        if (streq(job_text(job, "state"), "paused"))
                return "paused";
        if (*job_text(job, "put_off"))
                return "its start is tried again";
        for (size_t i = 0; i < ARRAY_SIZE(conditions); ++i)
                if (streq(condition, conditions[i][0]))
                        return conditions[i][1];
        return *condition ? condition : NULL;
}

bool summary_number(json_t *summary, const char *path, double *ret)
{
        const char *dot = strchr(path, '.');
        json_t *v;
        char outer[64];

        if (dot) {
                snprintf(outer, sizeof(outer), "%.*s", (int)(dot - path), path);
                return summary_number(json_object_get(summary, outer), dot + 1, ret);
        }
        v = json_object_get(summary, path);
        if (!json_is_number(v))
                return false;
        *ret = json_number_value(v);
        return true;
}

/* A reason given for "service_seconds" is one for "service_seconds.p50" too. */
static bool is_about(const char *metric, const char *path)
{
        size_t n = strlen(metric);

        return strncmp(metric, path, n) == 0 && (path[n] == 0 || path[n] == '.');
}

const char *summary_why_absent(json_t *summary, const char *metric)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_object_get(summary, "unavailable"), i, entry) {
                const char *name = json_string_value(json_object_get(entry, "metric"));

                if (name && is_about(name, metric))
                        return json_string_value(json_object_get(entry, "reason"));
        }
        return NULL;
}

static void say_outcome(json_t *job, json_t *summary)
{
        char tasks[128], speed[128] = "", wall[UNITS_SIZE], rate[UNITS_SIZE];
        uint64_t total = job_count(job, "tasks_total"), failed = job_count(job, "tasks_failed");
        bool done = streq(job_text(job, "state"), "done");
        const char *reason = job_reason(job);
        double v, w;

        if (done)
                snprintf(tasks, sizeof(tasks), "%" PRIu64 " task%s", total, plural(total));
        else
                (void)job_progress(job, tasks);
        if (failed > 0)
                snprintf(tasks + strlen(tasks), sizeof(tasks) - strlen(tasks),
                         ", %" PRIu64 " failed,", failed);
        if (summary_number(summary, "wall_seconds", &v) &&
            summary_number(summary, "tasks_per_second", &w))
                snprintf(speed, sizeof(speed), " in %s, %s tasks/s", units_seconds(v, wall),
                         units_rate(w, rate));
        cli_note("job %" PRIu64 " %s%s%s%s: %s%s", job_number(job), job_text(job, "state"),
                 *reason ? " (" : "", reason, *reason ? ")" : "", tasks, speed);
}

static void say_cost(json_t *summary)
{
        char cpu[128] = "", memory[80] = "", a[UNITS_SIZE], b[UNITS_SIZE];
        double v, w;

        if (summary_number(summary, "cpu_user_seconds", &v) &&
            summary_number(summary, "cpu_system_seconds", &w))
                snprintf(cpu, sizeof(cpu), "CPU %s user + %s system", units_seconds(v, a),
                         units_seconds(w, b));
        if (summary_number(summary, "memory_peak_bytes", &v))
                snprintf(memory, sizeof(memory), "peak memory %s", units_bytes(v, a));
        else if (summary_number(summary, "rss_peak_bytes", &v))
                snprintf(memory, sizeof(memory), "peak resident memory %s", units_bytes(v, a));
        if (*cpu || *memory)
                cli_note("%s%s%s", cpu, *cpu && *memory ? ", " : "", memory);
}

void summary_say(json_t *job)
{
        json_t *summary = job_summary(job);

        say_outcome(job, summary);
        if (summary)
                say_cost(summary);
}
