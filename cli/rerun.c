/* `pppctl rerun`: what failed of a job that has ended, and what it did not come to, in that job. */

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "cli/wait.h"
#include "lib/results.h"

/* What a job may be given anew. */
#define OPTIONS_CHANGES                                                                        \
        (OPTION_BIT(OPTION_WORKERS) | OPTION_BIT(OPTION_LOOPS) | OPTION_BIT(OPTION_TIME_MAX) | \
         OPTION_BIT(OPTION_TIMEOUT) | OPTION_BIT(OPTION_CPU_TIME_MAX) |                        \
         OPTION_BIT(OPTION_TASK_TIMEOUT) | OPTION_BIT(OPTION_NICE) | OPTIONS_LIMITS |          \
         OPTION_BIT(OPTION_HALT) | OPTION_BIT(OPTION_DELAY) | OPTION_BIT(OPTION_RETRIES) |     \
         OPTION_BIT(OPTION_TASK_MEMORY_MAX) | OPTION_BIT(OPTION_TASK_CPU_MAX) |                \
         OPTION_BIT(OPTION_TASK_PIDS_MAX))

static int check_choice(const struct args *args)
{
        bool unfinished = args_has(args, OPTION_UNFINISHED);

        if (unfinished && args_has(args, OPTION_REASON))
                return cli_fail(CLI_USAGE,
                                "--unfinished runs no task that has failed, and --reason some; "
                                "leave one of them out");
        if (unfinished && args_has(args, OPTION_FAILED))
                return cli_fail(CLI_USAGE,
                                "--unfinished runs no task that has failed, and --failed all; "
                                "leave both out to run these and what is unfinished");
        return 0;
}

static int check_reason(const char *name)
{
        for (unsigned i = PPP_REASON_NONE + 1; i < _PPP_REASON_N; ++i)
                if (streq(reason_name(i), name))
                        return 0;
        return cli_fail(CLI_USAGE,
                        "no task fails for the reason \"%s\"; pppctl results JOB --failed --json "
                        "shows them: \"timeout\", \"command-exit\"",
                        name);
}

/* NULL: whatever they failed for. */
static int choose_reasons(const struct args *args, json_t **ret)
{
        int r = check_choice(args);

        *ret = NULL;
        if (r || (args->n_reasons == 0 && !args_has(args, OPTION_UNFINISHED)))
                return r;
        *ret = json_array();
        for (size_t i = 0; i < args->n_reasons && r == 0; ++i) {
                r = check_reason(args->reasons[i]);
                if (r == 0 && json_array_append_new(*ret, json_string(args->reasons[i])) < 0)
                        r = cli_no_memory();
        }
        return r;
}

/* What the options say about the job, and no more; NULL: nothing. */
static int choose_changes(const struct args *args, json_t **ret)
{
        struct spec spec;
        int r;

        *ret = NULL;
        if (!(args->given & OPTIONS_CHANGES))
                return 0;
        r = choose_spec(args, LEVEL_SERIAL, WORKLOAD_SUM, &spec);
        if (r)
                return r;
        *ret = spec_to_json(&spec);
        spec_deinit(&spec);
        if (!*ret || json_object_del(*ret, "level") < 0 || json_object_del(*ret, "workload") < 0)
                return cli_no_memory();
        if (args_has(args, OPTION_RETRIES) && args->retries == 0)
                (void)json_object_set_new(*ret, "retries", json_null());
        return 0;
}

static int ask(struct pppd *pppd, json_t *parameters, json_t *reasons, json_t *changes)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        json_t *job;
        int r;

        if (!parameters || (reasons && json_object_set(parameters, "reasons", reasons) < 0) ||
            (changes && json_object_set(parameters, "changes", changes) < 0)) {
                json_decref(parameters);
                return cli_no_memory();
        }
        r = pppd_ask(pppd, "run the job again", "Rerun", parameters, -EBADF, &reply);
        return r ? r : pppd_reply_job(pppd, &reply, &job);
}

static int rerun(const struct args *args, uint64_t job, json_t *reasons, json_t *changes)
{
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        int r = pppd_open(&pppd, args);

        if (r)
                return r;
        pppd.job = job;
        r = ask(&pppd, pppd_about_job(job), reasons, changes);
        return r || args_has(args, OPTION_DETACH) ? r : wait_for_job(args, &pppd);
}

static int run(const struct args *args)
{
        json_t *reasons = NULL, *changes = NULL;
        uint64_t job;
        int r = choose_job(args, &job);

        if (r == 0)
                r = choose_reasons(args, &reasons);
        if (r == 0)
                r = choose_changes(args, &changes);
        if (r == 0)
                r = rerun(args, job, reasons, changes);
        json_decref(reasons);
        json_decref(changes);
        return r;
}

const struct verb verb_rerun = {
        .name = "rerun",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "run again what failed of a job, or was left undone",
        .text = "Runs tasks of a job that has ended once more, in the same job: those that "
                "failed,\n"
                "and those without a result because the job was cancelled or failed. With\n"
                "--reason only those that failed for it, with --unfinished none that failed; what\n"
                "has no result is run in any case. Then waits as pppctl wait does. The last\n"
                "result of a task counts: pppctl results JOB shows all of them together. Limits\n"
                "and workers may be given anew.",
        .examples = "  pppctl rerun 12\n"
                    "  pppctl rerun 12 --reason timeout --task-timeout 1min\n"
                    "  pppctl rerun 12 --reason oom-killed --memory-max 4G\n"
                    "  pppctl rerun 12 --unfinished --detach",
        .options = OPTIONS_CHANGES | OPTION_BIT(OPTION_FAILED) | OPTION_BIT(OPTION_REASON) |
                   OPTION_BIT(OPTION_UNFINISHED) | OPTION_BIT(OPTION_DETACH) |
                   OPTION_BIT(OPTION_QUIET),
        .run = run,
};
