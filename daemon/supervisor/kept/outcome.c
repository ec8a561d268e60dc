#include "daemon/supervisor/kept/outcome.h"

#include "lib/runner-abi.h"

static struct outcome ended(enum job_state state, enum job_reason reason)
{
        return (struct outcome){ OUTCOME_ENDED, state, reason };
}

/* It did not come to its end because somebody did not want it to. */
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

struct outcome outcome_judge(const siginfo_t *status, bool all_recorded, enum job_reason stop,
                             bool interrupted)
{
        bool asked = stop != REASON_NONE || interrupted;

        if (!status)
                return judge_unknown(all_recorded, stop, interrupted);
        /* Whatever it was asked, it is for the process that works on the job. */
        if (status->si_code == CLD_EXITED && status->si_status == RUNNER_EXIT_BUSY)
                return (struct outcome){ OUTCOME_AGAIN, JOB_QUEUED, REASON_NONE };
        if (status->si_code == CLD_EXITED && status->si_status == 0 && all_recorded)
                return ended(JOB_DONE, REASON_NONE);
        /*
         * It got done while the supervisor stops. The next one would find the same, but not the
         * job's group.
         */
        if (interrupted && stop == REASON_NONE && all_recorded)
                return ended(JOB_DONE, REASON_NONE);
        if (status->si_code == CLD_EXITED && status->si_status == RUNNER_EXIT_CANCELLED)
                return stopped(stop, interrupted);
        /* Killed by us, or hit by our SIGTERM before it was ready to take it. */
        if (status->si_code != CLD_EXITED && asked &&
            (status->si_status == SIGKILL || status->si_status == SIGTERM))
                return stopped(stop, interrupted);
        return ended(JOB_FAILED,
                     status->si_code == CLD_EXITED ? REASON_RUNNER_FAILED : REASON_RUNNER_DIED);
}
