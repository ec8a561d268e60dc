#pragma once

/* How a job ended, from how its runner did: pure, so that every case is tested. */

#include <signal.h>

#include "daemon/supervisor/kept/record.h"

enum outcome_verdict {
        OUTCOME_ENDED,       /* in the given state, for the given reason */
        OUTCOME_INTERRUPTED, /* to be gone on with by the next supervisor */
        OUTCOME_AGAIN, /* its runner is gone, nobody knows why, and tasks are left, or it found
                          another process at work: start again, once that is gone */
};

struct outcome {
        enum outcome_verdict verdict;
        enum job_state state;
        enum job_reason reason;
};

/*
 * @status: what waitid(2) told of the runner, NULL: the job never had one, or it was no child of
 * ours. @all_recorded: every task has a record; @stop: why we asked it to stop, if we did;
 * @interrupted: the supervisor stops.
 */
struct outcome outcome_judge(const siginfo_t *status, bool all_recorded, enum job_reason stop,
                             bool interrupted);
