/* `pppctl timeline`: what each worker of a job did when, also of several jobs below each other. */

#include "cli/choose.h"
#include "cli/say.h"
#include "cli/timeline-jobs.h"
#include "cli/verbs.h"

static int choose_jobs(const struct args *args, struct timeline_choice *ret)
{
        int r = 0;

        if (args->n_operands == 0)
                return cli_fail(CLI_USAGE,
                                "timeline needs the number of a job; pppctl list shows them");
        for (size_t i = 0; r == 0 && i < args->n_operands; ++i)
                r = choose_job_number(args->operands[i], &ret[i].job);
        return r;
}

static int run(const struct args *args)
{
        _cleanup_free_ struct timeline_choice *choices =
                calloc(args->n_operands + 1, sizeof(*choices));
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        struct output output;
        int r = choices ? choose_jobs(args, choices) : cli_no_memory();

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        output_init(&output, false);
        r = timeline_print(&pppd, args, choices, args->n_operands, &output);
        return r ? r : output_finish(&output);
}

const struct verb verb_timeline = {
        .name = "timeline",
        .synopsis = "JOB...",
        .operands = { OPERAND_JOBS },
        .what = "draw what each worker of a job did when",
        .text = "Draws jobs below each other on one axis of time, each from its own beginning:\n"
                "a row for each worker, a bar for each task. Where a job has more than 12\n"
                "workers, a row is several of them, and shades show how many were busy; so do\n"
                "they where tasks are too short for bars. A job that runs is drawn as far as it\n"
                "has come; tasks that have not ended are not there yet.\n"
                "pppctl results JOB --json has the times as numbers.",
        .examples = "  pppctl timeline 12\n"
                    "  pppctl timeline 12 13 14     (below each other)\n"
                    "  COLUMNS=200 pppctl timeline 12 --color always | less -RS",
        .options = OPTION_BIT(OPTION_ASCII),
        .run = run,
};
