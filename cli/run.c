/* `pppctl run`: one job, its results printed as its tasks end. */

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/command.h"
#include "cli/launch.h"
#include "cli/say.h"
#include "cli/signals.h"
#include "cli/summary.h"
#include "cli/verbs.h"

static bool wants_summary(const struct args *args)
{
        if (args_has(args, OPTION_NO_SUMMARY))
                return false;
        return args_has(args, OPTION_SUMMARY) || args_has(args, OPTION_JSON) ||
               !args_has(args, OPTION_QUIET);
}

static int finish(const struct args *args, struct output *output, json_t *job)
{
        int r = 0;

        if (wants_summary(args) && output->json)
                r = launch_print_summary(output, job);
        if (r == 0)
                r = output_finish(output);
        if (r == 0 && wants_summary(args) && !output->json)
                summary_say(job);
        if (r == 0 && !wants_summary(args) && !streq(job_text(job, "state"), "done"))
                return cli_fail(job_status(job), "job %" PRIu64 " is %s: %s", job_number(job),
                                job_text(job, "state"), job_reason(job));
        return r ? r : job_status(job);
}

static int run_to_end(const struct args *args, const struct launch *launch, uint64_t job)
{
        _cleanup_(outcome_deinit) struct outcome outcome = OUTCOME_NULL;
        int r = launch_follow(launch, job, &outcome);

        return r ? r : finish(args, launch->output, outcome.job);
}

static int print_number(struct output *output, uint64_t job)
{
        output_line(output, "%" PRIu64, job);
        return output_finish(output);
}

static int launch_with(const struct args *args, struct spec *spec, const struct source *source)
{
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        _cleanup_close_ int signal_fd = -EBADF;
        const struct command_output commands = {
                .files = TASK_OUTPUT_NULL,
                .lines = args_has(args, OPTION_VERBOSE),
                .streams = !args->no_output,
        };
        struct output output;
        const struct launch launch = {
                .pppd = &pppd,
                .source = source,
                .output = &output,
                .commands = spec->command.words ? &commands : NULL,
                .ordered = args_has(args, OPTION_ORDERED),
                .quiet = args_has(args, OPTION_QUIET),
                .json_summary = args_has(args, OPTION_JSON) && wants_summary(args),
        };
        uint64_t job;
        int r;

        output_init(&output, args_has(args, OPTION_JSON));
        output_take_workload(&output, spec->workload);
        r = pppd_open(&pppd, args);
        if (r == 0)
                r = signals_open(&signal_fd);
        if (r == 0 && spec->command.words)
                r = command_surround(args, &pppd, &spec->command);
        pppd.signal_fd = signal_fd;
        pppd.return_ns = PPPD_RETURN_NS;
        pppd.quiet = args_has(args, OPTION_QUIET);
        if (r == 0)
                r = launch_submit(&launch, spec, &job);
        if (r)
                return r;
        if (args_has(args, OPTION_DETACH))
                return launch_leave(&launch, job) ?: print_number(&output, job);
        return run_to_end(args, &launch, job);
}

static int run(const struct args *args)
{
        _cleanup_(source_close) struct source source = SOURCE_NULL;
        _cleanup_(spec_deinit) struct spec spec = SPEC_NULL;
        size_t skip = MIN(args->n_operands, (size_t)2);
        int r = choose_run(args, &spec);

        if (r == 0 && spec.command.words)
                r = command_open_source(args, &spec.command, &source);
        else if (r == 0)
                r = source_open(&source, spec.workload, args->from, args->operands + skip,
                                args->n_operands - skip);
        if (r == 0 && source.is_empty) {
                if (!args_has(args, OPTION_QUIET))
                        cli_note("there are no inputs, so nothing was run");
                return CLI_OK;
        }
        return r ? r : launch_with(args, &spec, &source);
}

const struct verb verb_run = {
        .name = "run",
        .synopsis = "LEVEL [WORKLOAD] [INPUT...] | LEVEL exec -- COMMAND [::: INPUT...]",
        .operands = { OPERAND_LEVEL, OPERAND_WORKLOAD, OPERAND_INPUT },
        .what = "run a workload over inputs, print results as tasks end",
        .shows_choices = true,
        .text = "SIZE is in bytes, or has K, M, G or T; TIME is in seconds, or has ns, us, ms, s,\n"
                "min, h or d.\n"
                "\n"
                "Limits are enforced by the kernel on the job's cgroup, or refused with the\n"
                "reason; pppctl doctor shows which are available. With worker- before its name,\n"
                "each of the options from --cpu-max to --io-max limits each worker process\n"
                "instead of the job. A worker may take as much memory as its job, and only that\n"
                "worker is killed when it takes more.\n"
                "\n"
                "exec runs the command behind -- for each input, with the input in the place of\n"
                "{}, or at its end; {.} {/} {//} {/.} {#} {%} are explained in man pppctl. Inputs\n"
                "are behind :::, in the file of --from, or on standard input.\n"
                "\n"
                "Without WORKLOAD: words of the demo pages. Without inputs: some that suit the\n"
                "workload. Results go to standard output, failures and the summary to standard\n"
                "error. Ctrl-C cancels the job.",
        .examples = "  pppctl run async\n"
                    "  pppctl run processes sum 201600000 201700000\n"
                    "  pppctl run async words --from urls.txt --workers 1000 --task-timeout 10s\n"
                    "  pppctl run processes sum-array --memory-max 512M --cpu-max 150%\n"
                    "  find /usr/share/doc -type f | pppctl run threads words --from - -q\n"
                    "  pppctl run serial sleep 1 2 --json\n"
                    "  ls *.png | pppctl run processes exec -- convert {} {.}.webp\n"
                    "  pppctl run async exec --from urls.txt --workers 500 -- curl -fsS {}",
        .options = OPTIONS_JOB | OPTIONS_COMMAND | OPTION_BIT(OPTION_DETACH) |
                   OPTION_BIT(OPTION_ORDERED) | OPTION_BIT(OPTION_HALT) | OPTION_BIT(OPTION_DELAY) |
                   OPTION_BIT(OPTION_JSON) | OPTION_BIT(OPTION_SUMMARY) |
                   OPTION_BIT(OPTION_NO_SUMMARY),
        .run = run,
};
