#include "cli/launch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "cli/errors.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "cli/signals.h"
#include "cli/summary.h"

void outcome_deinit(struct outcome *outcome)
{
        json_decref(outcome->job);
        results_unmap(&outcome->results);
        *outcome = (struct outcome)OUTCOME_NULL;
}

/*
 * A signal came while pppd was asked to start the job, which may run by now. It can be cancelled
 * only by its number, so the reply is awaited, and the signal raised again for the code that
 * follows the job. A second signal leaves at once.
 */
static int receive_after_signal(struct pppd *pppd, struct pppd_reply *ret)
{
        int r;

        signals_drain(pppd->signal_fd);
        r = pppd_receive(pppd, ret);
        if (r == CLI_INTERRUPTED)
                return cli_fail(r, "interrupted before pppd had answered; see pppctl list whether "
                                   "the job was started");
        if (r == 0)
                (void)raise(SIGINT);
        return r;
}

/* A spec that pppd would refuse is not sent. */
static int check_spec(json_t *json)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        struct spec spec = SPEC_NULL;
        int r;

        if (!json)
                return cli_no_memory();
        r = spec_from_json(json, &spec, &fault);
        spec_deinit(&spec);
        if (r == -EBADMSG)
                return say_spec_fault("start the job", &fault);
        return r < 0 ? cli_no_memory() : 0;
}

int launch_submit(const struct launch *launch, const struct spec *spec, uint64_t *ret_job)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        json_t *json = spec_to_json(spec), *job;
        int r = check_spec(json);

        launch->pppd->job = 0;
        if (r == 0)
                r = pppd_refresh(launch->pppd);
        if (r) {
                json_decref(json);
                return r;
        }
        r = pppd_ask(launch->pppd, "start the job", "Run",
                     json_pack("{s:o, s:i}", "spec", json, "input_fd", 0), launch->source->fd,
                     &reply);
        if (r == CLI_INTERRUPTED)
                r = receive_after_signal(launch->pppd, &reply);
        if ((r == CLI_FAILED || r == CLI_NO_DAEMON) && !launch->pppd->refused)
                cli_note("the job may have been started; pppctl list shows it then");
        if (r)
                return r;
        if (!level_has(spec->level, LEVEL_LOCAL) && (spec->limits.given || spec->has_nice) &&
            !launch->quiet)
                cli_note("the limits bound this job's coordinator; what nodes may use is in their "
                         "own pppctl.conf, section [node]");
        job = json_object_get(reply.parameters, "job");
        if (!json_is_integer(job))
                return pppd_bad_reply(launch->pppd, "it has no integer \"job\"");
        *ret_job = (uint64_t)json_integer_value(job);
        return 0;
}

int launch_print_summary(struct output *output, json_t *job)
{
        if (!job_summary(job))
                return cli_fail(CLI_FAILED, "job %" PRIu64 " has no summary; see pppd's log",
                                job_number(job));
        return output_json(output, job_summary(job), JSON_COMPACT);
}

/* The job that is followed. */
struct watch {
        const struct launch *launch;
        struct follow follow;
        struct command_output commands; /* open while launch->output names it */
        uint64_t job, start_ns;
        char *holds; /* the reason to wait that was printed last; owned, NULL: none */
};

/*
 * Nothing can be printed any more: the reader of our output has left, or the disk is full. The job
 * continues without us, unless a signal came while nobody read: then it is cancelled.
 */
static int leave(const struct watch *watch)
{
        int r = output_finish(watch->launch->output);

        if (r != CLI_INTERRUPTED && !watch->launch->quiet)
                cli_note("job %" PRIu64 " continues; pppctl cancel %" PRIu64
                         " ends it, pppctl results %" PRIu64 " shows its results",
                         watch->job, watch->job, watch->job);
        return r;
}

static int say_cancelled(struct watch *watch, json_t *job)
{
        char progress[JOB_PROGRESS_SIZE];
        int r = follow_update(&watch->follow, true);

        if (r == 0 && watch->launch->json_summary)
                r = launch_print_summary(watch->launch->output, job);
        if (r == 0)
                r = output_finish(watch->launch->output);
        if (r && r != CLI_INTERRUPTED)
                return r;
        if (streq(job_text(job, "state"), "done"))
                cli_note("job %" PRIu64 " was done before it could be cancelled", watch->job);
        else
                cli_note("cancelled job %" PRIu64 ": %s", watch->job, job_progress(job, progress));
        return CLI_INTERRUPTED;
}

static int ask_cancel(struct pppd *pppd, const struct watch *watch, struct pppd_reply *reply)
{
        int r = pppd_open_again(pppd, watch->launch->pppd);

        if (r)
                return r;
        return pppd_ask(pppd, "cancel the job", "Cancel", pppd_about_job(watch->job), -EBADF,
                        reply);
}

/*
 * Ctrl-C. Wait still occupies the connection, so the cancel goes through another. A second signal
 * while pppd cancels leaves at once.
 */
static int cancel(struct watch *watch)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        json_t *job;
        int r;

        signals_drain(watch->launch->pppd->signal_fd);
        progress_clear();
        r = ask_cancel(&pppd, watch, &reply);
        if (r == CLI_INTERRUPTED)
                return cli_fail(r, "left while pppd cancels job %" PRIu64, watch->job);
        if (r == 0)
                r = pppd_reply_job(&pppd, &reply, &job);
        return r ? r : say_cancelled(watch, job);
}

int launch_leave(const struct launch *launch, uint64_t job)
{
        struct watch watch = {
                launch, FOLLOW_NULL, COMMAND_OUTPUT_NULL, job, now_monotonic(), NULL
        };

        return signals_drain(launch->pppd->signal_fd) ? cancel(&watch) : 0;
}

/* Ctrl-C while pppd is away and cannot cancel the job. */
static int leave_absent(const struct watch *watch)
{
        return cli_fail(CLI_INTERRUPTED,
                        "left while pppd is away, so job %" PRIu64
                        " is not cancelled; when pppd is back, pppctl cancel %" PRIu64 " ends it",
                        watch->job, watch->job);
}

static int map_results(struct watch *watch)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        const struct launch *launch = watch->launch;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = pppd_ask(launch->pppd, "get the results of the job", "Results",
                     pppd_about_job(watch->job), -EBADF, &reply);
        if (r)
                return r;
        r = pppd_reply_fd(launch->pppd, &reply, "results_fd", &fd);
        if (r == 0 && launch->commands) {
                watch->commands = *launch->commands;
                r = command_output_open(&watch->commands, launch->pppd, &reply);
                launch->output->commands = &watch->commands;
        }
        return r ? r
                 : follow_init(&watch->follow, fd, &launch->source->given, launch->output,
                               launch->ordered, launch->show);
}

static const char *remedy(const char *condition)
{
        if (streq(condition, "no-node"))
                return "; pppctl nodes lists the nodes, and the workloads that they take";
        if (streq(condition, "engine-unreachable"))
                return "; pppctl nodes shows why";
        if (streq(condition, "disk-full"))
                return "; make some room, and it continues";
        if (streq(condition, "engine-full"))
                return "; raise its maxmemory, or wait until other jobs have ended";
        return "";
}

/* The progress bar shows it too, where there is one. */
static void note_condition(struct watch *watch, json_t *job)
{
        const char *condition = job_text(job, "condition"), *put_off = job_text(job, "put_off");
        const char *holds = *put_off ? put_off : condition;

        if (streq(holds, watch->holds ?: ""))
                return;
        /* pppd repeats a condition that lasts. */
        if (!*put_off && now_monotonic() - watch->start_ns < NSEC_PER_SEC)
                return;
        free(watch->holds);
        watch->holds = strdup(holds);
        if (*holds && !watch->launch->quiet)
                cli_note("job %" PRIu64 " waits: %s%s", watch->job,
                         *put_off ? put_off : job_note(job), remedy(condition));
}

static void show_progress(struct watch *watch, json_t *job)
{
        char label[48];
        struct progress_state state = {
                .label = watch->launch->label ?: label,
                .note = job_note(job),
                .done = job_results(job),
                .failed = job_count(job, "tasks_failed"),
                .total = job_count(job, "tasks_total"),
                .elapsed_ns = now_monotonic() - watch->start_ns,
        };

        note_condition(watch, job);
        snprintf(label, sizeof(label), "job %" PRIu64, watch->job);
        progress_draw(&state);
}

/* Returns 0 to continue, and at the job's end 0 with *ret_end set. */
static int take_reply(struct watch *watch, struct pppd_reply *reply, json_t **ret_end)
{
        json_t *job;
        int r;

        r = pppd_reply_job(watch->launch->pppd, reply, &job);
        if (r == 0)
                r = follow_update(&watch->follow, !reply->continues);
        if (r)
                return r;
        if (!output_flush(watch->launch->output))
                return reply->continues ? leave(watch) : output_finish(watch->launch->output);
        if (reply->continues)
                show_progress(watch, job);
        else
                *ret_end = json_incref(job);
        return 0;
}

static int wait_for_end(struct watch *watch, json_t **ret_end)
{
        int r;

        r = pppd_call(watch->launch->pppd, "wait for the job", "Wait", pppd_about_job(watch->job),
                      true, -EBADF);
        while (r == 0 && !*ret_end) {
                _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;

                r = pppd_receive(watch->launch->pppd, &reply);
                if (r == 0)
                        r = take_reply(watch, &reply, ret_end);
        }
        return r;
}

int launch_follow(const struct launch *launch, uint64_t job, struct outcome *ret)
{
        struct watch watch = {
                launch, FOLLOW_NULL, COMMAND_OUTPUT_NULL, job, now_monotonic(), NULL
        };
        json_t *end = NULL;
        int r;

        launch->pppd->job = job;
        r = map_results(&watch);
        if (r == 0)
                r = wait_for_end(&watch, &end);
        if (r == CLI_INTERRUPTED)
                r = launch->pppd->absence.since_ns ? leave_absent(&watch) : cancel(&watch);
        progress_clear();
        if (r == 0) {
                ret->job = steal_ptr(end);
                ret->results = watch.follow.results;
                watch.follow.results = (struct results)RESULTS_NULL;
        }
        json_decref(end);
        if (launch->commands) {
                launch->output->commands = NULL;
                command_output_close(&watch.commands);
        }
        follow_deinit(&watch.follow);
        free(watch.holds);
        return r;
}
