/* `pppctl logs`: what the commands of a job have printed, also of a job that still runs. */

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/command-output.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/verbs.h"

/* Tasks by their numbers, from 1. */
struct range {
        uint64_t first, last;
};

/* "3" or "3-7" */
static int choose_range(const char *text, uint64_t n_tasks, struct range *ret)
{
        size_t n = strcspn(text, "-");
        const char *last = text[n] ? text + n + 1 : text;
        size_t n_last = text[n] ? strlen(last) : n;

        if (parse_u64(text, n, UINT64_MAX, &ret->first) < 0 ||
            parse_u64(last, n_last, UINT64_MAX, &ret->last) < 0 || ret->first == 0 ||
            ret->first > ret->last)
                return cli_fail(CLI_USAGE,
                                "\"%s\" is no task; give its number, from 1, or several, as in 3-7",
                                text);
        if (ret->last > n_tasks)
                return cli_fail(CLI_USAGE, "there is no task %" PRIu64 "; the job has %" PRIu64,
                                ret->last, n_tasks);
        return 0;
}

static int print_task(const struct args *args, const struct command_output *commands,
                      struct output *output, uint64_t task)
{
        int r = 0;

        if (!args_has(args, OPTION_STDERR))
                r = command_output_copy(commands, task, PPP_STREAM_OUTPUT, stdout);
        if (r >= 0 && output->interleaved)
                (void)fflush(stdout);
        if (r >= 0)
                r = command_output_copy(commands, task, PPP_STREAM_ERROR,
                                        args_has(args, OPTION_STDERR) ? stdout : stderr);
        if (r >= 0 && output->interleaved)
                (void)fflush(stderr);
        if (r >= 0)
                return output_flush(output) ? 0 : output_finish(output);
        return cli_fail(CLI_FAILED, "cannot read what task %" PRIu64 " has printed: %s", task + 1,
                        r == -EBADMSG ? "the job's file of it is damaged; run it again"
                                      : strerrordesc_np(-r));
}

static int print_range(const struct args *args, const struct command_output *commands,
                       struct output *output, const struct range *range)
{
        int r = 0;

        for (uint64_t i = range->first; i <= range->last && r == 0; ++i)
                r = print_task(args, commands, output, i - 1);
        return r;
}

static int print_all(const struct args *args, const struct command_output *commands)
{
        uint64_t n_tasks = commands->files.tasks.n_tasks;
        struct range range = { 1, n_tasks };
        struct output output;
        int r = 0;

        output_init(&output, false);
        if (args->n_operands == 1)
                r = print_range(args, commands, &output, &range);
        /* Nothing is printed if one of them is wrong. */
        for (size_t i = 1; i < args->n_operands && r == 0; ++i)
                r = choose_range(args->operands[i], n_tasks, &range);
        for (size_t i = 1; i < args->n_operands && r == 0; ++i) {
                r = choose_range(args->operands[i], n_tasks, &range);
                if (r == 0)
                        r = print_range(args, commands, &output, &range);
        }
        return r ? r : output_finish(&output);
}

static int print_reply(const struct args *args, const struct pppd *pppd, struct pppd_reply *reply)
{
        _cleanup_(command_output_close) struct command_output commands = COMMAND_OUTPUT_NULL;
        json_t *job;
        int r = pppd_reply_job(pppd, reply, &job);

        if (r)
                return r;
        if (!json_object_get(reply->parameters, "tasks_fd"))
                return cli_fail(CLI_USAGE,
                                "job %" PRIu64
                                " runs no commands (its workload is %s), so none has "
                                "printed anything; pppctl results %" PRIu64 " shows its results",
                                pppd->job, job_text(json_object_get(job, "spec"), "workload"),
                                pppd->job);
        r = command_output_open(&commands, pppd, reply);
        return r ? r : print_all(args, &commands);
}

static int run(const struct args *args)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        uint64_t job;
        int r;

        if (args->n_operands == 0)
                return cli_fail(CLI_USAGE,
                                "logs needs the number of a job; pppctl list shows them");
        r = choose_job_number(args->operands[0], &job);
        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        pppd.job = job;
        r = pppd_ask(&pppd, "get what the job has printed", "Results", pppd_about_job(job), -EBADF,
                     &reply);
        return r ? r : print_reply(args, &pppd, &reply);
}

const struct verb verb_logs = {
        .name = "logs",
        .synopsis = "JOB [TASK...]",
        .operands = { OPERAND_JOB },
        .what = "print what the commands of a job have printed",
        .text = "Prints to standard output what the commands wrote there, to standard error what\n"
                "they wrote there, task by task. TASK is a number, from 1, or several, as in 3-7.\n"
                "Of a task that was tried again it is the last try. With --stderr only what was\n"
                "written to standard error, on standard output.",
        .examples = "  pppctl logs 12\n"
                    "  pppctl logs 12 3 5-7\n"
                    "  pppctl logs 12 --stderr | less",
        .options = OPTION_BIT(OPTION_STDERR),
        .run = run,
};
