/* `pppctl results`: the results of a job, also of one that still runs or ended long ago. */

#include <inttypes.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/command-output.h"
#include "cli/follow.h"
#include "cli/rows.h"
#include "cli/say.h"
#include "cli/source.h"
#include "cli/summary.h"
#include "cli/verbs.h"

/* Reads a copy, since the file is the daemon's and may change meanwhile. */
static int map_inputs(const struct pppd *pppd, struct pppd_reply *reply, struct inputs *ret)
{
        _cleanup_close_ int fd = -EBADF, copy = -EBADF;
        struct input_error error;
        int r = pppd_reply_fd(pppd, reply, "inputs_fd", &fd);

        if (r == 0)
                r = source_copy(fd, "the job", &copy);
        if (r)
                return r;
        r = inputs_map(copy, true, ret, &error);
        if (r == -EBADMSG)
                return cli_fail(CLI_FAILED,
                                "cannot read the inputs of the job: line %" PRIu64
                                ": %s; its directory may be damaged",
                                error.line, error.why);
        if (r < 0)
                return cli_fail(CLI_FAILED, "cannot map the inputs of the job: %s",
                                strerrordesc_np(-r));
        return 0;
}

static int print_all(const struct args *args, const struct pppd *pppd, struct pppd_reply *reply,
                     const struct inputs *inputs, struct output *output, struct rows *rows)
{
        _cleanup_(command_output_close) struct command_output commands = {
                .files = TASK_OUTPUT_NULL,
                .lines = true,
                .as_data = true,
        };
        _cleanup_(follow_deinit) struct follow follow = FOLLOW_NULL;
        _cleanup_close_ int fd = -EBADF;
        int r = pppd_reply_fd(pppd, reply, "results_fd", &fd);

        if (r == 0 && json_object_get(reply->parameters, "tasks_fd")) {
                r = command_output_open(&commands, pppd, reply);
                output->commands = &commands;
        }
        if (r == 0)
                r = follow_init(&follow, fd, inputs, output, true,
                                args_has(args, OPTION_FAILED) ? FOLLOW_FAILED : FOLLOW_ALL);
        if (r == 0 && rows->format != ROWS_NONE) {
                rows->commands = output->commands;
                rows->created_ns = follow.results.header->created_realtime_ns;
                output->rows = rows;
                rows_begin(rows);
        }
        if (r == 0)
                r = follow_update(&follow, true);
        if (r == 0)
                r = rows_end(rows, output, progress_use_color(args->color, STDOUT_FILENO));
        return r ? r : output_finish(output);
}

static int status_of(json_t *job)
{
        const char *state = job_text(job, "state");
        char progress[JOB_PROGRESS_SIZE];
        bool cut = streq(state, "cancelled") || streq(state, "failed");

        if (streq(state, "done"))
                return job_status(job);
        cli_note("job %" PRIu64 " %s%s: %s", job_number(job), cut ? "" : "is ", state,
                 job_progress(job, progress));
        return cut ? CLI_FAILED : CLI_OK;
}

static bool is_json(const struct args *args)
{
        return args->format && streq(args->format, "json");
}

static int choose_format(const struct args *args, enum rows_format *ret)
{
        char list[64] = "";

        *ret = ROWS_NONE;
        if (!args->format)
                return 0;
        for (unsigned i = 0; format_names[i]; ++i) {
                if (streq(args->format, format_names[i])) {
                        *ret = i;
                        return 0;
                }
                (void)strcat(strcat(list, i ? ", " : ""), format_names[i]);
        }
        return cli_fail(CLI_USAGE, "there is no format \"%s\"; give one of %s", args->format, list);
}

static int choose_rows(const struct args *args, json_t *job, struct spec *spec,
                       enum rows_format *ret)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = choose_format(args, ret);

        if (r == 0 && *ret != ROWS_NONE && args_has(args, OPTION_JSON))
                r = cli_fail(CLI_USAGE, "--json is --format json; leave one of the two out");
        if (r || *ret == ROWS_NONE)
                return r;
        r = spec_from_json(json_object_get(job, "spec"), spec, &fault);
        if (r < 0)
                return cli_fail(CLI_FAILED, "cannot read the spec of job %" PRIu64 ": %s",
                                job_number(job), fault.why ?: strerrordesc_np(-r));
        if (*ret == ROWS_JOBLOG && !spec->command.words)
                return cli_fail(CLI_USAGE,
                                "a job log is of commands, and job %" PRIu64
                                " runs none; give csv or tsv",
                                job_number(job));
        return 0;
}

static int print_reply(const struct args *args, const struct pppd *pppd, struct pppd_reply *reply)
{
        _cleanup_(inputs_unmap) struct inputs inputs = INPUTS_NULL;
        _cleanup_(spec_deinit) struct spec spec = SPEC_NULL;
        _cleanup_(rows_deinit) struct rows rows = { .spec = &spec, .table = TABLE_NULL };
        struct output output;
        enum workload_id workload;
        json_t *job;
        int r = pppd_reply_job(pppd, reply, &job);

        if (r == 0)
                r = choose_rows(args, job, &spec, &rows.format);
        if (r == 0)
                r = map_inputs(pppd, reply, &inputs);
        if (r)
                return r;
        output_init(&output, args_has(args, OPTION_JSON) || is_json(args));
        output.failures_are_data = args_has(args, OPTION_FAILED);
        if (workload_from_name(job_text(json_object_get(job, "spec"), "workload"), &workload) >= 0)
                output_take_workload(&output, workload);
        r = print_all(args, pppd, reply, &inputs, &output, &rows);
        return r ? r : status_of(job);
}

static int run(const struct args *args)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        uint64_t job;
        int r = choose_job(args, &job);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        pppd.job = job;
        r = pppd_ask(&pppd, "get the results of the job", "Results", pppd_about_job(job), -EBADF,
                     &reply);
        return r ? r : print_reply(args, &pppd, &reply);
}

const struct verb verb_results = {
        .name = "results",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "print the results of a job",
        .text = "Prints the results there are, in the order of the inputs: results on standard\n"
                "output, failures on standard error. With --failed only the failures, on\n"
                "standard output. With --format as rows of columns: task, input, how it ended, "
                "when\n"
                "and for how long it ran, and what a command has used; a number that was not\n"
                "measured is an empty cell. joblog is what GNU parallel writes with --joblog.",
        .examples = "  pppctl results 12\n"
                    "  pppctl results 12 --failed\n"
                    "  pppctl results 12 --format csv > results.csv\n"
                    "  pppctl results 12 --json | jq 'select(.value > 1000).input'",
        .options = OPTION_BIT(OPTION_ORDERED) | OPTION_BIT(OPTION_FAILED) |
                   OPTION_BIT(OPTION_FORMAT) | OPTION_BIT(OPTION_JSON),
        .run = run,
};
