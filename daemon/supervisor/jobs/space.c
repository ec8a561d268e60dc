#include "daemon/supervisor/jobs/space.h"

#include <sys/statvfs.h>

#include "lib/results.h"
#include "lib/tasks.h"

#define USER_MAX (UINT64_C(4) << 30)
#define FREE_MAX (UINT64_C(1) << 30)

/* Tasks for whose results room is reserved without a child: on tmpfs, about four milliseconds. */
#define AT_ONCE 131072

static uint64_t space_of_results(const struct spec *spec, uint64_t n_tasks)
{
        return results_size(n_tasks) +
               (workload_info(spec->workload)->runs_commands ? tasks_size(n_tasks) : 0);
}

uint64_t space_of_job(const struct spec *spec, size_t n_inputs, uint64_t n_tasks)
{
        return n_inputs + space_of_results(spec, n_tasks);
}

/*
 * The size of the file system, and what is free of it; UINT64_MAX of both where that can't be told.
 */
static void look(const struct jobs *jobs, uint64_t *ret_size, uint64_t *ret_free)
{
        struct statvfs fs;

        *ret_size = *ret_free = UINT64_MAX;
        /* Some virtual ones have no size. */
        if (fstatvfs(jobs->env.jobs_fd, &fs) < 0 || fs.f_blocks == 0)
                return;
        *ret_size = (uint64_t)fs.f_blocks * fs.f_frsize;
        *ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
}

uint64_t space_user_max(const struct jobs *jobs)
{
        uint64_t size, available;

        if (jobs->config->max_size_per_user > 0)
                return jobs->config->max_size_per_user;
        look(jobs, &size, &available);
        return MIN(size / 10, USER_MAX);
}

/* The field of a fault for want of room. */
#define SPACE_FIELD "inputs"

static double megabytes(uint64_t bytes)
{
        return (double)bytes / 1e6;
}

static int check_user(const struct jobs *jobs, uid_t owner, uint64_t size, struct fault *fault)
{
        uint64_t used = quota_used(jobs->quota, QUOTA_LIVE_BYTES, owner),
                 max = space_user_max(jobs);

        if (used <= max && size <= max - used)
                return 0;
        (void)fault_refuse(
                fault, -EDQUOT, SPACE_FIELD,
                used > 0 ? "try again when some of your jobs have ended, or split the list; "
                           "the administrator may raise max_size_per_user in pppctl.conf"
                         : "split the list, or have the administrator raise max_size_per_user in "
                           "pppctl.conf",
                "its inputs and results would take %.1f MB on disk, your jobs that wait or run "
                "take %.1f MB, and one user may have %.1f MB",
                megabytes(size), megabytes(used), megabytes(max));
        return fault_attempt(fault, "admit the job");
}

static int check_free(const struct jobs *jobs, uint64_t needed, struct fault *fault)
{
        uint64_t size, available, reserve;

        look(jobs, &size, &available);
        reserve = jobs->config->keep_free > 0 ? jobs->config->keep_free : MIN(size / 20, FREE_MAX);
        if (available >= reserve && needed <= available - reserve)
                return 0;
        (void)fault_refuse(
                fault, -ENOSPC, SPACE_FIELD,
                "try again when there is more room; the administrator may make some on the file "
                "system of the state directory, or lower keep_free in pppctl.conf",
                "it needs %.1f MB on disk, where %.1f MB are free, of which %.1f MB are to stay "
                "free",
                megabytes(needed), megabytes(available), megabytes(reserve));
        return fault_attempt(fault, "admit the job");
}

bool space_is_short(const struct fault *fault)
{
        return fault->field && streq(fault->field, SPACE_FIELD);
}

int space_check(const struct jobs *jobs, uid_t owner, uint64_t size, uint64_t now,
                struct fault *fault)
{
        int r;

        if (uid_is_trusted(owner))
                return 0;
        r = check_user(jobs, owner, size, fault);
        return r < 0 ? r : check_free(jobs, now, fault);
}

/* Whether what the job's results still lack may be had. */
static int check_start(const struct jobs *jobs, const struct job *job, struct fault *fault)
{
        uint64_t needed = space_of_results(&job->spec, job->record.n_tasks),
                 taken = directory_reserved(&job->directory);

        if (uid_is_trusted(job->record.owner) || taken >= needed)
                return 0;
        return check_free(jobs, needed - taken, fault);
}

static int reserved(const struct job *job, int r, struct fault *fault)
{
        if (r >= 0)
                return 0;
        return fault_errno(fault, r, failure_advice(r),
                           "reserve %.1f MB for the results of job %llu",
                           megabytes(space_of_results(&job->spec, job->record.n_tasks)),
                           (unsigned long long)job->record.number);
}

static int reserve(const struct job *job)
{
        return directory_reserve(&job->directory, job->record.n_tasks,
                                 workload_info(job->spec.workload)->runs_commands);
}

int space_reserve(const struct jobs *jobs, struct job *job, struct fault *fault)
{
        int r = check_start(jobs, job, fault);

        return r < 0 ? r : reserved(job, reserve(job), fault);
}

bool space_takes_long(uint64_t n_tasks)
{
        return n_tasks > AT_ONCE;
}

static int child_reserve(void *userdata, int out_fd)
{
        return reserve(userdata);
}

static void on_reserved(void *userdata, int r, int out_fd)
{
        struct job *job = userdata;
        struct jobs *jobs = container_of(job->env, struct jobs, env);
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        job->errand = NULL;
        r = reserved(job, r, &fault);
        jobs_start_reserved(jobs, job, r, &fault);
}

void space_reserve_and_start(struct jobs *jobs, struct job *job)
{
        const struct errand_work work = {
                .run = child_reserve,
                .done = on_reserved,
                .userdata = job,
                .fds = { job->directory.results_fd, job->directory.fd },
                .n_fds = 2,
        };
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        r = check_start(jobs, job, &fault);
        if (r >= 0 && errand_start(jobs->env.event, &work, &job->errand) >= 0)
                return;
        /* Where no child can be made, others have to wait. */
        if (r >= 0)
                r = space_reserve(jobs, job, &fault);
        jobs_start_reserved(jobs, job, r, &fault);
}
