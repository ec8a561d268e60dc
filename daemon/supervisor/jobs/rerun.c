#include "daemon/supervisor/jobs/rerun.h"

#include "daemon/supervisor/jobs/jobs-internal.h"
#include "daemon/supervisor/jobs/resume.h"
#include "lib/results.h"

static int note(struct job *job, uint64_t reasons)
{
        int fd = job->directory.results_fd;
        int r = results_run_again(fd, reasons, now_monotonic());

        return r < 0 ? r : counters_read(fd, &job->counters);
}

/* The object of a job that is live again, which is stored nowhere yet. */
static int reopen(struct jobs *jobs, struct job_record *record, struct spec *spec, struct job **ret)
{
        struct directory directory = DIRECTORY_NULL;
        struct counters counters;
        json_t *json = spec_to_json(spec);
        int r = json ? 0 : -ENOMEM;

        if (r >= 0)
                r = directory_open(jobs->env.jobs_fd, record->number, &directory);
        if (r >= 0)
                r = resume_read_results(&directory, record, &counters);
        if (r < 0) {
                json_decref(json);
                directory_deinit(&directory);
                job_record_deinit(record);
                spec_deinit(spec);
                return r;
        }
        json_decref(record->spec);
        record->spec = json;
        free(record->reason);
        record->reason = NULL;
        record->state = JOB_QUEUED;
        record->ended_ns = 0;
        record->paused = record->resuming = false;
        return job_new(&jobs->env, record, spec, &directory, &counters, ret);
}

int jobs_rerun(struct jobs *jobs, struct job_record *record, struct spec *spec, uint64_t reasons,
               struct fault *fault)
{
        uint64_t number = record->number;
        struct job *job = NULL;
        int r;

        r = reopen(jobs, record, spec, &job);
        if (r >= 0)
                r = note(job, reasons);
        if (r < 0) {
                job_free(job);
                return fault_why(fault, r,
                                 r == -EBADMSG ? "its results file is damaged or cut short"
                                               : strerror(-r),
                                 r == -EBADMSG || r == -ENOENT ? "submit its inputs anew"
                                                               : failure_advice(r),
                                 "read the results of job %llu", (unsigned long long)number);
        }
        r = store_reopen(jobs->store, &job->record);
        if (r < 0) {
                job_free(job);
                return fault_why(fault, r, store_error(jobs->store),
                                 jobs_busy_hint(r) ?: failure_advice(r),
                                 "store that job %llu is run again", (unsigned long long)number);
        }
        quota_subtract(jobs->quota, QUOTA_KEPT_BYTES, job->record.owner, job->record.size);
        job->runs_again = job->resumed = true;
        r = resume_job(jobs, job);
        jobs->changed(jobs);
        return r < 0 ? fault_errno(fault, r, failure_advice(r), "queue job %llu again",
                                   (unsigned long long)number)
                     : 0;
}
