/* `pppctl wait`: waits until a job has ended. Ctrl-C leaves, and the job continues. */

#include <inttypes.h>
#include <stdio.h>

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/say.h"
#include "cli/signals.h"
#include "cli/summary.h"
#include "cli/verbs.h"
#include "cli/wait.h"

static void show_progress(json_t *job, uint64_t start_ns)
{
        char label[48];
        const struct progress_state state = {
                .label = label,
                .note = job_note(job),
                .done = job_results(job),
                .failed = job_count(job, "tasks_failed"),
                .total = job_count(job, "tasks_total"),
                .elapsed_ns = now_monotonic() - start_ns,
        };

        snprintf(label, sizeof(label), "job %" PRIu64, job_number(job));
        progress_draw(&state);
}

static int end(const struct args *args, json_t *job)
{
        progress_clear();
        if (!args_has(args, OPTION_QUIET))
                summary_say(job);
        return job_status(job);
}

static int say_left(const struct pppd *pppd)
{
        return cli_fail(CLI_INTERRUPTED,
                        "left; job %" PRIu64 " continues, pppctl cancel %" PRIu64 " ends it",
                        pppd->job, pppd->job);
}

static int receive_end(const struct args *args, struct pppd *pppd)
{
        uint64_t start_ns = now_monotonic();

        for (;;) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
                json_t *job;
                int r = pppd_receive(pppd, &reply);

                if (r == CLI_INTERRUPTED)
                        return say_left(pppd);
                if (r == 0)
                        r = pppd_reply_job(pppd, &reply, &job);
                if (r)
                        return r;
                if (!reply.continues)
                        return end(args, job);
                show_progress(job, start_ns);
        }
}

int wait_for_job(const struct args *args, struct pppd *pppd)
{
        _cleanup_close_ int signal_fd = -EBADF;
        int r = signals_open(&signal_fd);

        if (r)
                return r;
        pppd->signal_fd = signal_fd;
        pppd->return_ns = PPPD_RETURN_NS;
        pppd->quiet = args_has(args, OPTION_QUIET);
        r = pppd_call(pppd, "wait for the job", "Wait", pppd_about_job(pppd->job), true, -EBADF);
        return r ? r : receive_end(args, pppd);
}

static int run(const struct args *args)
{
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        uint64_t job;
        int r = choose_job(args, &job);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r)
                return r;
        pppd.job = job;
        return wait_for_job(args, &pppd);
}

const struct verb verb_wait = {
        .name = "wait",
        .synopsis = "JOB",
        .operands = { OPERAND_JOB },
        .what = "wait until a job has ended",
        .text = "Waits until the job has ended, then shows its summary. The exit status is 0\n"
                "when all of its tasks are done, 1 when one failed or the job did.",
        .examples = "  job=$(pppctl run async words --from urls.txt --detach)\n"
                    "  pppctl wait $job && pppctl results $job",
        .options = OPTION_BIT(OPTION_QUIET),
        .run = run,
};
