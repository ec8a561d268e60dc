/* `pppctl pause` and `pppctl resume`: a job that is frozen for a while, with all its processes. */

#include <inttypes.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/verbs.h"

static int ask(const struct args *args, const char *attempted, const char *method)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        char progress[JOB_PROGRESS_SIZE];
        uint64_t number;
        json_t *job;
        int r = choose_job(args, &number);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        pppd.job = number;
        r = pppd_ask(&pppd, attempted, method, pppd_about_job(number), -EBADF, &reply);
        if (r == 0)
                r = pppd_reply_job(&pppd, &reply, &job);
        if (r == 0 && !args_has(args, OPTION_QUIET))
                cli_note("job %" PRIu64 " is %s: %s", job_number(job), job_text(job, "state"),
                         job_progress(job, progress));
        return r;
}

static int run_pause(const struct args *args)
{
        return ask(args, "pause the job", "Pause");
}

static int run_resume(const struct args *args)
{
        return ask(args, "resume the job", "Resume");
}

const struct verb verb_pause = {
        .name = "pause",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "freeze a job until it is resumed",
        .text = "Freezes all processes of the job where they are: they take no more CPU time,\n"
                "keep their memory and their connections, and continue with pppctl resume. A job\n"
                "that waits in the queue is not started meanwhile. It stays paused when the\n"
                "daemon is started again. Clocks keep running: --time-max still cancels it, and a\n"
                "try that the pause makes longer than --task-timeout fails when the job resumes.\n"
                "Another job may run in its place. Where jobs have no cgroup, each process of the\n"
                "job is stopped by SIGSTOP instead.",
        .examples = "  pppctl pause 12\n"
                    "  pppctl resume 12",
        .options = OPTION_BIT(OPTION_QUIET),
        .run = run_pause,
};

const struct verb verb_resume = {
        .name = "resume",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "let a paused job continue",
        .text = "Lets a job that pppctl pause froze continue where it was.",
        .examples = "  pppctl resume 12",
        .options = OPTION_BIT(OPTION_QUIET),
        .run = run_resume,
};
