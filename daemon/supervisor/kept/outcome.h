#pragma once

/*
 * Decides how a job ended from how its runner did. A pure function, so that every case can be
 * tested.
 */

#include <signal.h>

#include "daemon/supervisor/kept/record.h"

enum outcome_verdict {
        OUTCOME_ENDED,       /* in the given state, for the given reason */
        OUTCOME_INTERRUPTED, /* the next supervisor resumes the job */
        /*
         * The job is started again: tasks are left, and its runner disappeared for an unknown
         * reason or found that another process is at work on the job, which has to end first.
         */
        OUTCOME_AGAIN,
};

struct outcome {
        enum outcome_verdict verdict;
        enum job_state state;
        enum job_reason reason;
};

/*
 * @status is what waitid(2) reported of the runner; NULL when the job never had one, or when it was
 * not our child. @cut_off: the runner was at work when a task ended its process by exit(3), so that
 * the exit status is not the runner's. @all_recorded: every task has a record. @stop: why we asked
 * the runner to stop, if we did. @interrupted: the supervisor is stopping.
 */
struct outcome outcome_judge(const siginfo_t *status, bool cut_off, bool all_recorded,
                             enum job_reason stop, bool interrupted);
