#include "daemon/supervisor/kept/outcome.h"

#include "lib/runner-abi.h"

static struct outcome ended(enum job_state state, enum job_reason reason)
{
        return (struct outcome){ OUTCOME_ENDED, state, reason };
}

/* The outcome of a job that was told to stop before all its tasks were done. */
static struct outcome stopped(enum job_reason stop, bool interrupted)
{
        if (stop == REASON_NONE && interrupted)
                return (struct outcome){ OUTCOME_INTERRUPTED, JOB_QUEUED, REASON_NONE };
        return ended(JOB_CANCELLED, stop == REASON_NONE ? REASON_STOPPED : stop);
}

static struct outcome judge_unknown(bool all_recorded, enum job_reason stop, bool interrupted)
{
        if (all_recorded)
                return ended(JOB_DONE, REASON_NONE);
        if (stop != REASON_NONE || interrupted)
                return stopped(stop, interrupted);
        return (struct outcome){ OUTCOME_AGAIN, JOB_QUEUED, REASON_NONE };
}

struct outcome outcome_judge(const siginfo_t *status, bool cut_off, bool all_recorded,
                             enum job_reason stop, bool interrupted)
{
        bool asked = stop != REASON_NONE || interrupted;

        if (!status)
                return judge_unknown(all_recorded, stop, interrupted);
        if (cut_off)
                return asked ? stopped(stop, interrupted) : ended(JOB_FAILED, REASON_RUNNER_FAILED);
        /* Even if we asked this runner to stop: another process works on the job. */
        if (status->si_code == CLD_EXITED && status->si_status == RUNNER_EXIT_BUSY)
                return (struct outcome){ OUTCOME_AGAIN, JOB_QUEUED, REASON_NONE };
        if (status->si_code == CLD_EXITED && status->si_status == 0 && all_recorded)
                return ended(JOB_DONE, REASON_NONE);
        /*
         * The last task was done while the supervisor was stopping. The next supervisor would find
         * the job done as well, but could no longer read the counters of its cgroup.
         */
        if (interrupted && stop == REASON_NONE && all_recorded)
                return ended(JOB_DONE, REASON_NONE);
        if (status->si_code == CLD_EXITED && status->si_status == RUNNER_EXIT_HALTED && !asked)
                return all_recorded ? ended(JOB_DONE, REASON_NONE)
                                    : ended(JOB_CANCELLED, REASON_HALTED);
        if (status->si_code == CLD_EXITED &&
            (status->si_status == RUNNER_EXIT_CANCELLED || status->si_status == RUNNER_EXIT_HALTED))
                return stopped(stop, interrupted);
        /* We killed it, or our SIGTERM arrived before the runner could handle it. */
        if (status->si_code != CLD_EXITED && asked &&
            (status->si_status == SIGKILL || status->si_status == SIGTERM))
                return stopped(stop, interrupted);
        return ended(JOB_FAILED,
                     status->si_code == CLD_EXITED ? REASON_RUNNER_FAILED : REASON_RUNNER_DIED);
}
