#include "cli/errors.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/say.h"
#include "lib/json-text.h"
#include "lib/limits.h"

struct failure {
        const char *attempted;
        uint64_t job;
        const char *error;
        json_t *parameters;
};

static const char *text_of(const struct failure *f, const char *member)
{
        return json_string_value(json_object_get(f->parameters, member)) ?: "";
}

static uint64_t number_of(const struct failure *f, const char *member)
{
        json_int_t v = json_integer_value(json_object_get(f->parameters, member));

        return v > 0 ? (uint64_t)v : 0;
}

/* "cannot start the job: WHAT: WHY; HINT", where WHAT and HINT may be empty. */
static int fail(int status, const struct failure *f, const char *what, const char *why,
                const char *hint)
{
        return cli_fail(status, "cannot %s: %s%s%s%s%s", f->attempted, what, *what ? ": " : "",
                        *why ? why : "pppd gave no reason", *hint ? "; " : "", hint);
}

static int no_such_job(const struct failure *f)
{
        return cli_fail(CLI_NO_SUCH_JOB,
                        "cannot %s: there is no job %" PRIu64
                        "; pppctl list shows the jobs that exist",
                        f->attempted, f->job ? f->job : number_of(f, "job"));
}

static int not_allowed(const struct failure *f)
{
        char what[128];

        snprintf(what, sizeof(what), "you are not allowed to %s",
                 *text_of(f, "what") ? text_of(f, "what") : f->attempted);
        return fail(CLI_NOT_ALLOWED, f, what, text_of(f, "why"), "");
}

static int not_running(const struct failure *f)
{
        char why[64];

        snprintf(why, sizeof(why), "it is %s", *text_of(f, "state") ? text_of(f, "state") : "over");
        return fail(CLI_FAILED, f, "the job has ended", why, "");
}

static int not_ended(const struct failure *f)
{
        char why[64];

        snprintf(why, sizeof(why), "it is %s", text_of(f, "state"));
        return fail(CLI_FAILED, f, "the job has not ended", why,
                    "wait for it, or end it: pppctl wait JOB, pppctl cancel JOB");
}

static int queue_full(const struct failure *f)
{
        char what[64];

        snprintf(what, sizeof(what), "the queue is full (limit %" PRIu64 ")",
                 number_of(f, "limit"));
        return fail(CLI_QUEUE_FULL, f, what, text_of(f, "why"), "");
}

static int no_space(const struct failure *f)
{
        return fail(CLI_QUEUE_FULL, f, "there is no room for it", text_of(f, "why"),
                    text_of(f, "hint"));
}

static const struct {
        const char *field, *option;
} options_by_field[] = {
        { "spec.workers", "--workers" },
        { "spec.loops", "--loops" },
        { "spec.executor", "--executor" },
        { "spec.executor_workers", "--executor-workers" },
        { "spec.gil", "--gil" },
        { "spec.threaded", "--threaded" },
        { "spec.thread_weights", "--thread-weight" },
        { "spec.timeout_seconds", "--time-max" },
        { "spec.cpu_time_max_seconds", "--cpu-time-max" },
        { "spec.task_timeout_seconds", "--task-timeout" },
        { "spec.nice", "--nice" },
        { "spec.retries", "--retries" },
        { "spec.halt", "--halt" },
        { "spec.delay_seconds", "--delay" },
        { "spec.command.retry_memory", "--retry-memory" },
        { "spec.ca_file", "--ca-file" },
};

#define OPTION_NAME_SIZE 64

/* The member that @field names after @path: "pids_max", "io_max[0].device"; NULL where it has none.
 */
static const char *member_after(const char *path, const char *field)
{
        size_t n = strlen(path);

        return strncmp(field, path, n) == 0 ? field + n : NULL;
}

static bool limit_option(const char *field, char text[static OPTION_NAME_SIZE])
{
        const char *of_worker = member_after("spec.worker_limits.", field);
        const char *of_task = member_after("spec.task_limits.", field);
        const char *member = of_worker ?: of_task ?: member_after("spec.limits.", field);

        for (enum limit i = 0; member && i < _LIMIT_N; ++i) {
                const struct limit_info *info = &limit_infos[i];
                size_t n = strlen(info->member);

                if (strncmp(member, info->member, n) != 0 || !strchr(".[", member[n]))
                        continue;
                snprintf(text, OPTION_NAME_SIZE, "--%s%s", of_task ? "task-" : "",
                         of_worker ? info->worker_option : info->option);
                return true;
        }
        return false;
}

/* "spec.task_timeout_seconds" is --task-timeout here; a member without an option keeps its name. */
static const char *option_of_field(const char *field, char text[static OPTION_NAME_SIZE])
{
        for (size_t i = 0; i < ARRAY_SIZE(options_by_field); ++i)
                if (streq(field, options_by_field[i].field))
                        return options_by_field[i].option;
        return limit_option(field, text) ? text : field;
}

int say_spec_fault(const char *attempted, const struct fault *fault)
{
        char text[OPTION_NAME_SIZE];

        return cli_fail(CLI_USAGE, "cannot %s: %s: %s; %s", attempted,
                        option_of_field(fault->field, text), fault->why, fault->advice);
}

static int bad_request(const struct failure *f)
{
        char text[OPTION_NAME_SIZE];

        return fail(CLI_USAGE, f, option_of_field(text_of(f, "field"), text), text_of(f, "why"),
                    text_of(f, "hint"));
}

static int limit_unavailable(const struct failure *f)
{
        char text[OPTION_NAME_SIZE], what[128];

        snprintf(what, sizeof(what), "%s cannot be enforced here",
                 option_of_field(text_of(f, "limit"), text));
        return fail(CLI_FAILED, f, what, text_of(f, "why"), text_of(f, "hint"));
}

static int bad_inputs(const struct failure *f)
{
        char what[48] = "the inputs";

        if (number_of(f, "input") > 0)
                snprintf(what, sizeof(what), "input %" PRIu64, number_of(f, "input"));
        return fail(CLI_USAGE, f, what, text_of(f, "why"), "");
}

static int level_unavailable(const struct failure *f)
{
        char what[96];

        snprintf(what, sizeof(what), "the level %s is not available here", text_of(f, "level"));
        return fail(CLI_FAILED, f, what, text_of(f, "why"), text_of(f, "hint"));
}

static int failed(const struct failure *f)
{
        return fail(CLI_FAILED, f, text_of(f, "attempted"), text_of(f, "why"), text_of(f, "hint"));
}

static int interrupted(const struct failure *f)
{
        uint64_t job = number_of(f, "job");

        return cli_fail(
                CLI_FAILED,
                "job %" PRIu64
                " is interrupted: %s; it continues when pppd starts again: pppctl wait %" PRIu64,
                job, text_of(f, "why"), job);
}

static int unknown(const struct failure *f)
{
        _cleanup_free_ char *parameters = json_text(f->parameters, JSON_COMPACT);

        return cli_fail(CLI_FAILED,
                        "cannot %s: pppd answered with %s %s; is it of the same version as pppctl "
                        "(" PPPCTL_VERSION ")?",
                        f->attempted, f->error, parameters ?: "");
}

int say_varlink_error(const char *attempted, uint64_t job, const char *error, json_t *parameters)
{
        static const struct {
                const char *name;
                int (*say)(const struct failure *f);
        } errors[] = {
                { "io.pppctl.Jobs.NoSuchJob", no_such_job },
                { "io.pppctl.Jobs.NotAllowed", not_allowed },
                { "io.pppctl.Jobs.NotRunning", not_running },
                { "io.pppctl.Jobs.NotEnded", not_ended },
                { "io.pppctl.Jobs.QueueFull", queue_full },
                { "io.pppctl.Jobs.NoSpace", no_space },
                { "io.pppctl.Jobs.BadRequest", bad_request },
                { "io.pppctl.Jobs.BadInputs", bad_inputs },
                { "io.pppctl.Jobs.LevelUnavailable", level_unavailable },
                { "io.pppctl.Jobs.LimitUnavailable", limit_unavailable },
                { "io.pppctl.Jobs.Failed", failed },
                { "io.pppctl.Jobs.Interrupted", interrupted },
        };
        const struct failure f = { attempted, job, error, parameters };

        for (size_t i = 0; i < ARRAY_SIZE(errors); ++i)
                if (streq(error, errors[i].name))
                        return errors[i].say(&f);
        return unknown(&f);
}
