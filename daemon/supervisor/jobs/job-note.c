/*
 * The end of a job in its results file: written where the database does not take it, read by the
 * next supervisor, for which the job's row says that it is live.
 */

#include "daemon/supervisor/jobs/job-internal.h"

#include <stdio.h>

#include "lib/results.h"

int job_note_end(const struct job *job)
{
        const struct job_record *record = &job->record;
        struct ppp_end end = {
                .realtime_ns = record->ended_ns,
                .elapsed_ns = job->over_ns - (uint64_t)job->counters.epoch_ns,
        };
        const char *reason = record->reason ?: "";

        assert(!job_state_is_live(record->state));
        snprintf(end.state, sizeof(end.state), "%s", job_state_name(record->state));
        memcpy(end.reason, reason, (size_t)utf8_prefix(reason, sizeof(end.reason) - 1));
        return results_note_end(job->directory.results_fd, &end);
}

int job_read_note(const struct job *job, struct noted_end *ret)
{
        const char *colon;
        int r;

        r = results_read_end(job->directory.results_fd, &ret->note);
        if (r < 0)
                return r;
        if (job_state_from_name(ret->note.state, &ret->state) < 0 || job_state_is_live(ret->state))
                return -EBADMSG;
        ret->reason = job_reason_in(ret->note.reason);
        colon = strstr(ret->note.reason, ": ");
        ret->detail = colon ? colon + 2 : NULL;
        return 0;
}

bool job_has_note(const struct job *job)
{
        struct noted_end end;

        return job_read_note(job, &end) >= 0;
}
