/* `pppctl cancel`: ends a job; what was recorded is kept. */

#include <inttypes.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/say.h"
#include "cli/summary.h"
#include "cli/verbs.h"

static void say_end(json_t *job)
{
        char progress[JOB_PROGRESS_SIZE];

        if (streq(job_text(job, "state"), "cancelled"))
                cli_note("cancelled job %" PRIu64 ": %s", job_number(job),
                         job_progress(job, progress));
        else
                cli_note("job %" PRIu64 " had ended before: %s", job_number(job),
                         job_text(job, "state"));
}

static int run(const struct args *args)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        uint64_t number;
        json_t *job;
        int r = choose_job(args, &number);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        pppd.job = number;
        r = pppd_ask(&pppd, "cancel the job", "Cancel", pppd_about_job(number), -EBADF, &reply);
        if (r == 0)
                r = pppd_reply_job(&pppd, &reply, &job);
        if (r == 0 && !args_has(args, OPTION_QUIET))
                say_end(job);
        return r;
}

const struct verb verb_cancel = {
        .name = "cancel",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "end a job; results so far are kept",
        .text = "Ends the job and returns when nothing of it runs any more. Results of tasks\n"
                "that had ended are kept: pppctl results JOB. A job that has ended already is\n"
                "left as it is.",
        .examples = "  pppctl cancel 12",
        .options = OPTION_BIT(OPTION_QUIET),
        .run = run,
};
