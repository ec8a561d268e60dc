/* `pppctl results`: the results of a job, also of one that still runs or ended long ago. */

#include <inttypes.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/command-output.h"
#include "cli/follow.h"
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
                     const struct inputs *inputs, struct output *output)
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
        if (r == 0)
                r = follow_update(&follow, true);
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

static int print_reply(const struct args *args, const struct pppd *pppd, struct pppd_reply *reply)
{
        _cleanup_(inputs_unmap) struct inputs inputs = INPUTS_NULL;
        struct output output;
        enum workload_id workload;
        json_t *job;
        int r = pppd_reply_job(pppd, reply, &job);

        if (r == 0)
                r = map_inputs(pppd, reply, &inputs);
        if (r)
                return r;
        output_init(&output, args_has(args, OPTION_JSON));
        output.failures_are_data = args_has(args, OPTION_FAILED);
        if (workload_from_name(job_text(json_object_get(job, "spec"), "workload"), &workload) >= 0)
                output_take_workload(&output, workload);
        r = print_all(args, pppd, reply, &inputs, &output);
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
                "standard output.",
        .examples = "  pppctl results 12\n"
                    "  pppctl results 12 --failed\n"
                    "  pppctl results 12 --json | jq 'select(.value > 1000).input'",
        .options = OPTION_BIT(OPTION_ORDERED) | OPTION_BIT(OPTION_FAILED) | OPTION_BIT(OPTION_JSON),
        .run = run,
};
