#include "daemon/supervisor/jobs/prune.h"

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/jobs/space.h"

/* By number, by age, and of a user whose jobs take too much on disk. */
static int find_outdated(struct jobs *jobs, struct outdated *ret)
{
        uid_t owner;
        int r;

        r = store_get_outdated(jobs->store, jobs->config->keep_jobs, jobs->config->keep_age_ns,
                               ret);
        if (r == -ENOENT && quota_find_over(jobs->quota, space_user_max(jobs), &owner))
                r = store_get_oldest_of(jobs->store, owner, ret);
        return r;
}

int prune_one(struct jobs *jobs)
{
        struct outdated outdated;
        uint64_t number;
        int r;

        r = find_outdated(jobs, &outdated);
        if (r == -ENOENT)
                return 0;
        if (r < 0) {
                supervisor_log(LOG_WARNING, "cannot find jobs that are to be forgotten: %s",
                               store_error(jobs->store));
                return r;
        }
        number = outdated.number;
        /* The others are to be forgotten none the less. */
        r = directory_remove(jobs->env.trash, number);
        if (r < 0)
                supervisor_log(LOG_WARNING,
                               "cannot remove the files of the old job %llu, jobs/%llu in the "
                               "state directory: %s; remove them by hand",
                               (unsigned long long)number, (unsigned long long)number,
                               strerror(-r));
        r = store_delete(jobs->store, number);
        if (r < 0) {
                supervisor_log(LOG_WARNING, "cannot remove the old job %llu: %s",
                               (unsigned long long)number, store_error(jobs->store));
                return r;
        }
        quota_subtract(jobs->quota, QUOTA_KEPT_BYTES, outdated.owner, outdated.size);
        return 1;
}
