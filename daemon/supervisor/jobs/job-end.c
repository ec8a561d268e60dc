/*
 * The end of a job, in this order: its child has ended and its group is empty (job_on_ended()); its
 * counters are read and, where they may be wrong, its records counted (job_finish()); what it means
 * is judged (judge(), outcome.h); the summary is made and the group removed (end()); and it is
 * stored and told to those who wait (jobs_on_ended(), in jobs-end.c).
 */

#include "daemon/supervisor/jobs/job-internal.h"

#include <fcntl.h>
#include <stdio.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/kept/outcome.h"
#include "daemon/supervisor/limits/limit-hits.h"
#include "lib/results-lock.h"
#include "lib/runner-abi.h"

static bool exited_with(const struct job *job, int status)
{
        return job->child.has_status && job->child.status.si_code == CLD_EXITED &&
               job->child.status.si_status == status;
}

/* The runner got to work and did not come to its end: a task has called exit(3). */
static bool is_cut_off(const struct job *job)
{
        const struct counters *counters = &job->counters;

        return job->child.has_status && job->child.status.si_code == CLD_EXITED &&
               counters->runner_start_ns >= job->child.started_ns &&
               counters->runner_end_ns < counters->runner_start_ns;
}

/*
 * The header's counters are good when the runner ended as it should; else the records are counted,
 * as they are where it is of interest why tasks failed.
 */
static bool needs_tally(const struct job *job, const struct counters *counters)
{
        if (job->has_tally)
                return false;
        if (counters->n_failed > 0 || counters->again_ns > 0 || job->uncounted || is_cut_off(job))
                return true;
        return job->record.state != JOB_QUEUED && !exited_with(job, RUNNER_EXIT_CANCELLED) &&
               (!exited_with(job, 0) || counters->n_done != job->record.n_tasks);
}

static int make_tally(struct job *job)
{
        int r = counters_tally(job->directory.results_fd, job->record.n_tasks, &job->tally);

        job->has_tally = r >= 0;
        return r;
}

static void take_counts(struct job *job, int r)
{
        struct job_record *record = &job->record;
        struct counters *counters = &job->counters;

        if (r >= 0 && job->has_tally) {
                counters->n_done = job->tally.n_done;
                counters->n_failed = job->tally.n_failed;
        }
        /* A file that can't be read counts as nothing done. */
        if (r < 0) {
                supervisor_log(LOG_ERR, "cannot read the results of job %llu: %s",
                               (unsigned long long)record->number,
                               r == -EBADMSG ? "the file is damaged or cut short" : strerror(-r));
                counters->n_done = counters->n_failed = 0;
        }
        record->n_done = MIN(counters->n_done, record->n_tasks);
        record->n_failed = MIN(counters->n_failed, record->n_tasks - record->n_done);
}

/* The child could not become the runner. */
static void explain_start(const struct job *job, struct fault *fault)
{
        (void)fault_errno(fault, job->child.start_error,
                          job_start_hint(job, job->child.start_error)
                                  ?: failure_advice(job->child.start_error),
                          "%s the runner %s of job %llu", job->child.start_attempted,
                          job->env->runner, (unsigned long long)job->record.number);
}

static char *describe_start(const struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        char *text;

        explain_start(job, &fault);
        text = fault_sentence(&fault);
        return text;
}

static void start_later(struct job *job)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        explain_start(job, &fault);
        job_start_later(job, &fault);
}

/* Tasks may have been the cause of how the runner's process ended. */
static char *describe_death(const struct job *job)
{
        const siginfo_t *status = &job->child.status;
        _cleanup_free_ char *open =
                tally_describe_open(job->has_tally ? &job->tally : NULL, &job->spec);
        char *text;
        int r;

        if (status->si_code == CLD_EXITED)
                r = asprintf(&text,
                             "a task ended the process of all tasks, with exit status %d (at the "
                             "level processes it would have ended only its worker)%s",
                             status->si_status, open ?: "");
        else
                r = asprintf(&text, "killed by signal %d (%s)%s", status->si_status,
                             strsignal(status->si_status), open ?: "");
        return r < 0 ? NULL : text;
}

/* What the runner said last, or else what can be said of how it left. */
static char *describe_failure(const struct job *job)
{
        uint64_t left = job->record.n_tasks - job->record.n_done - job->record.n_failed;
        char *text;
        int r = 0;

        if (is_cut_off(job))
                return describe_death(job);
        text = job->child.start_attempted ? describe_start(job)
                                          : directory_last_line(&job->directory);
        if (text || job->child.start_attempted)
                return text;
        if (exited_with(job, 0))
                r = asprintf(&text, "it ended without a record for %llu of %llu task%s",
                             (unsigned long long)left, (unsigned long long)job->record.n_tasks,
                             plural(job->record.n_tasks));
        else
                r = asprintf(&text, "exit status %d, without a word", job->child.status.si_status);
        return r < 0 ? NULL : text;
}

static char *describe_halt(const struct job *job)
{
        bool of_done = job->spec.halt.of == HALT_DONE;
        uint64_t n = of_done ? job->record.n_done : job->record.n_failed;
        char halt[HALT_TEXT_SIZE], *text;

        if (asprintf(&text, "%llu task%s %s, and --halt is %s", (unsigned long long)n, plural(n),
                     of_done  ? n == 1 ? "is done" : "are done"
                     : n == 1 ? "has failed"
                              : "have failed",
                     halt_to_text(&job->spec.halt, halt)) < 0)
                return NULL;
        return text;
}

static char *describe_end(const struct job *job, enum job_reason reason)
{
        if (reason == REASON_OOM_KILLED || reason == REASON_PIDS_MAX)
                return limit_describe(reason, &job->hits, &job->spec,
                                      job->has_tally ? &job->tally : NULL);

        if (reason == REASON_RUNNER_FAILED)
                return describe_failure(job);
        if (reason == REASON_HALTED)
                return describe_halt(job);
        return reason == REASON_RUNNER_DIED ? describe_death(job) : NULL;
}

static const char *why_no_usage(const struct job *job)
{
        if (job->child.is_ours)
                return "waitid(2) did not tell";
        return job->adopted ? "the supervisor was started again while the job ran, so that its "
                              "runner was no child of it"
                            : "the job was never started";
}

/* Of nodes elsewhere nothing is known. */
static void read_nodes_usage(const struct job *job, struct accounting *accounting)
{
        accounting->nodes_usage_reason = "nodes do the work, and what they use is theirs to count";
        if (job->holds_engine)
                accounting->has_nodes_usage = engine_usage_end(job->env->engine, &job->engine_usage,
                                                               &accounting->nodes_user_usec,
                                                               &accounting->nodes_system_usec,
                                                               &accounting->nodes_usage_reason);
}

static struct accounting account_for(struct job *job)
{
        struct accounting accounting = {
                .host = job->env->host,
                .groups = job->env->groups,
                .record = &job->record,
                .spec = &job->spec,
                .counters = &job->counters,
                .group = child_group_exists(&job->child.group) ? &job->child.group : NULL,
                .usage = job->child.has_usage ? &job->child.usage : NULL,
                .usage_reason = why_no_usage(job),
                .measures_fd = job->measures_fd,
                .controllers = job->controllers,
                .hits = &job->hits,
                .resumed = job->resumed,
                .carried = job->carried,
                .has_nice = job->has_nice,
                .nice = job->nice,
        };

        read_nodes_usage(job, &accounting);
        return accounting;
}

static void read_hits(struct job *job)
{
        const struct limit_look look = {
                .group_fd = job->child.group.fd,
                .before = &job->chain,
                .began_later = job->chain_is_late,
                .n_runner_refused = accounting_read_refused(job->measures_fd),
                .spec = &job->spec,
        };

        limit_hits_deinit(&job->hits);
        if (limit_hits_read(&look, &job->hits) < 0)
                (void)supervisor_log_oom();
}

void job_carry(struct job *job)
{
        struct accounting accounting;
        json_t *parts;

        if (job->carried)
                return;
        /* A child that could not become the runner is no part of the job. */
        if (job->counters.runner_start_ns == 0) {
                job->carried = true;
                return;
        }
        /* The group is a former supervisor's, and nobody has looked at it here. */
        if (job->chain.n == 0) {
                job_read_chain(job, true);
                read_hits(job);
        }
        accounting = account_for(job);
        parts = accounting_carry(&accounting);
        if (!parts) {
                (void)supervisor_log_oom();
                return;
        }
        json_decref(job->record.parts);
        job->record.parts = parts;
        job->carried = true;
}

static void summarize(struct job *job, enum job_reason reason, const char *detail,
                      uint64_t ended_ns)
{
        struct accounting accounting = account_for(job);
        json_t *parts = NULL;

        accounting.reason = reason;
        accounting.reason_detail = detail;
        accounting.ended_ns = ended_ns;
        json_decref(job->told_summary);
        job->told_summary = steal_ptr(job->record.summary);
        job->record.summary = accounting_summarize(&accounting, &parts);
        if (!job->record.summary)
                (void)supervisor_log_oom();
        /* For when it is run again. */
        json_decref(job->record.parts);
        job->record.parts = parts;
}

static void set_reason(struct job *job, enum job_reason reason, const char *detail)
{
        const char *name = job_reason_name(reason);

        free(job->record.reason);
        job->record.reason = NULL;
        if (name && asprintf(&job->record.reason, "%s%s%s", name, detail ? ": " : "",
                             detail ? detail : "") < 0)
                job->record.reason = NULL;
}

static const struct {
        enum message message;
        int priority;
} messages[_REASON_N] = {
        [REASON_OOM_KILLED] = { MESSAGE_JOB_OOM_KILLED, LOG_NOTICE },
        [REASON_PIDS_MAX] = { MESSAGE_JOB_PIDS_MAX, LOG_NOTICE },
        [REASON_TIMEOUT] = { MESSAGE_JOB_TIME_MAX, LOG_INFO },
        [REASON_CPU_TIME_MAX] = { MESSAGE_JOB_CPU_TIME_MAX, LOG_INFO },
        [REASON_RUNNER_DIED] = { MESSAGE_JOB_FAILED, LOG_NOTICE },
        [REASON_RUNNER_FAILED] = { MESSAGE_JOB_FAILED, LOG_NOTICE },
};

/* Whoever set a limit, or looks after the machine, may not be who runs the job. */
static void log_end(const struct job *job, enum job_reason reason, const char *detail)
{
        struct log_about about = job_about(job, messages[reason].message, reason);

        if (about.message == MESSAGE_NONE)
                return;
        supervisor_log_about(&about, messages[reason].priority, "job %llu %s: %s%s%s",
                             (unsigned long long)job->record.number,
                             job->record.state == JOB_DONE ? "is done, but"
                                                           : job_state_name(job->record.state),
                             about.reason, detail ? ": " : "", detail ?: "");
}

static void log_killed_workers(const struct job *job)
{
        _cleanup_free_ char *met = limit_describe_met(&job->hits, CHAIN_MEMORY);
        struct log_about about = job_about(job, MESSAGE_WORKERS_KILLED, REASON_NONE);
        uint64_t n_killed = job->tally.n_killed, n_oom = job->tally.n_oom;
        const char *why, *hint;
        char of_memory[512];

        if (!spec_has_worker_processes(&job->spec) || !job->has_tally || n_killed == 0)
                return;
        about.reason = n_oom > 0 ? job_reason_name(REASON_OOM_KILLED) : NULL;
        why = groups_why_without(job->env->groups, CGROUP_MEMORY, &hint);
        if (why)
                snprintf(of_memory, sizeof(of_memory),
                         "whether for want of memory is not known, since %s", why);
        else
                snprintf(of_memory, sizeof(of_memory), "%llu of them for want of memory",
                         (unsigned long long)n_oom);
        supervisor_log_about(
                &about, LOG_NOTICE,
                "job %llu: %llu of %llu tasks failed because their worker was killed, %s%s%s",
                (unsigned long long)job->record.number, (unsigned long long)n_killed,
                (unsigned long long)job->record.n_tasks, of_memory, met && *met ? ": " : "",
                met ?: "");
}

/* The last step of every end: counters first, then the group goes, then everybody hears of it. */
static void end(struct job *job, enum job_state state, enum job_reason reason, const char *detail,
                uint64_t ended_ns)
{
        job_set_state(job, state);
        if (job->record.ended_ns == 0)
                job->record.ended_ns = now_realtime();
        job->over_ns = ended_ns;
        set_reason(job, reason, detail);
        log_end(job, reason, detail);
        log_killed_workers(job);
        summarize(job, reason, detail, ended_ns);
        job_end_run(job);
        free(job->record.cgroup);
        job->record.cgroup = NULL;
        job->timeout_source = sd_event_source_disable_unref(job->timeout_source);
        job->env->ended(job->env, job);
}

/*
 * Opens what the runner of a former supervisor has measured, for the summary of a job that has no
 * runner here.
 */
static void open_measures(struct job *job)
{
        job->measures_fd = openat(job->directory.fd, "measures", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        job->adopted = true;
}

static void interrupt(struct job *job)
{
        job_carry(job);
        job_end_run(job);
        job->timeout_source = sd_event_source_disable_unref(job->timeout_source);
        free(job->record.cgroup);
        job->record.cgroup = NULL;
        job_set_state(job, JOB_QUEUED);
        job->interrupted = true;
        job->env->ended(job->env, job);
}

/* Ours is gone, and may not have been the one that works on the job. */
static bool is_run_by_another(const struct job *job)
{
        _cleanup_close_ int pidfd = -EBADF;
        pid_t pid;

        return job->record.state == JOB_RUNNING &&
               results_find_locker(job->directory.results_fd, &pid, &pidfd) >= 0;
}

/* The end is a former supervisor's, also where somebody has asked for another one since. */
static bool end_by_note(struct job *job)
{
        struct noted_end noted;

        if (!job->uncounted || job_read_note(job, &noted) < 0)
                return false;
        job->record.ended_ns = noted.note.realtime_ns;
        open_measures(job);
        end(job, noted.state, noted.reason, noted.detail,
            (uint64_t)job->counters.epoch_ns + noted.note.elapsed_ns);
        return true;
}

/* The child could not become the runner, for a reason that passes. */
static bool may_start_later(const struct job *job, const struct outcome *outcome)
{
        return job->child.has_status && job->child.start_attempted &&
               failure_kind(job->child.start_error) == FAILURE_PASSES &&
               outcome->verdict == OUTCOME_ENDED && outcome->reason == REASON_RUNNER_FAILED;
}

static void judge(struct job *job, int r)
{
        _cleanup_free_ char *detail = NULL;
        struct outcome outcome;

        read_hits(job);
        take_counts(job, r);
        if (end_by_note(job))
                return;
        outcome = outcome_judge(job->child.has_status ? &job->child.status : NULL, is_cut_off(job),
                                job->record.n_done + job->record.n_failed == job->record.n_tasks,
                                job->over_stop, job->over_interrupted);
        outcome = limit_blame(outcome, &job->hits);
        if (is_run_by_another(job))
                outcome.verdict = OUTCOME_AGAIN;
        else if (may_start_later(job, &outcome)) {
                if (job->stop_reason == REASON_NONE && !job->interrupted) {
                        start_later(job);
                        return;
                }
                outcome = outcome_judge(NULL, false, false, job->stop_reason, job->interrupted);
        }
        switch (outcome.verdict) {
        case OUTCOME_ENDED:
                detail = describe_end(job, outcome.reason);
                end(job, outcome.state, outcome.reason, detail, job->over_ns);
                break;
        case OUTCOME_INTERRUPTED:
                interrupt(job);
                break;
        case OUTCOME_AGAIN:
                job_start_again(job);
                break;
        }
}

static int child_tally(void *userdata, int out_fd)
{
        struct job *job = userdata;
        int r = make_tally(job);

        return r < 0 ? r : write_all(out_fd, &job->tally, sizeof(job->tally));
}

static void on_tally(void *userdata, int r, int out_fd)
{
        struct job *job = userdata;

        job->errand = NULL;
        if (r >= 0 && pread(out_fd, &job->tally, sizeof(job->tally), 0) != sizeof(job->tally))
                r = -EIO;
        job->has_tally = r >= 0;
        judge(job, r);
}

static int start_tally(struct job *job)
{
        const struct errand_work work = {
                .run = child_tally,
                .done = on_tally,
                .userdata = job,
                .fds = { job->directory.results_fd },
                .n_fds = 1,
        };

        return errand_start(job->env->event, &work, &job->errand);
}

void job_finish(struct job *job)
{
        int r;

        assert(!job->errand && child_is_over(&job->child));
        /* The timer would start the job again while its records are counted. */
        job->again_source = sd_event_source_disable_unref(job->again_source);
        job->over_ns = now_monotonic();
        job->over_interrupted = job->interrupted;
        job->over_stop = job->stop_reason;
        job->has_tally = false;
        r = counters_read(job->directory.results_fd, &job->counters);
        if (r >= 0 && needs_tally(job, &job->counters)) {
                /* Where no child can be made, others have to wait. */
                if (job->record.n_tasks > COUNTERS_AT_ONCE && start_tally(job) >= 0)
                        return;
                r = make_tally(job);
        }
        judge(job, r);
}

void job_on_ended(struct child *child)
{
        job_finish(container_of(child, struct job, child));
}

bool job_check(struct job *job)
{
        if (job->record.state != JOB_RUNNING || job->errand || job->again_source ||
            !child_is_over(&job->child)) {
                job->n_suspect = 0;
                return true;
        }
        if (job->n_suspect++ == 0)
                return true;
        supervisor_log(LOG_ERR, "job %llu is over, and the supervisor failed to end it",
                       (unsigned long long)job->record.number);
        return false;
}

void job_fail(struct job *job, const char *why)
{
        end(job, JOB_FAILED, REASON_RUNNER_FAILED, why, now_monotonic());
}

void job_fail_with(struct job *job, const struct fault *fault)
{
        _cleanup_free_ char *why = fault_sentence(fault);

        job_fail(job, fault_text(why));
}

/* When it ended is what the runner noted; without that, it is found to have ended now. */
void job_complete(struct job *job)
{
        uint64_t ended_ns = job->counters.runner_end_ns ?: now_monotonic();

        open_measures(job);
        end(job, JOB_DONE, REASON_NONE, NULL, ended_ns);
}

void job_end_as_noted(struct job *job)
{
        assert(job->uncounted && job->record.state == JOB_QUEUED);
        job_finish(job);
}
