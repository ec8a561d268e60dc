#include "lib/oom-watch.h"

#include "lib/cgroup.h"

void oom_watch_init(struct oom_watch *watch, int job_fd)
{
        *watch = (struct oom_watch)OOM_WATCH_NULL;
        if (job_fd < 0 || cgroup_chain_read(job_fd, &watch->last) < 0)
                return;
        if (cgroup_chain_read(job_fd, &watch->blamed) < 0)
                cgroup_chain_deinit(&watch->last);
}

void oom_watch_deinit(struct oom_watch *watch)
{
        cgroup_chain_deinit(&watch->last);
        cgroup_chain_deinit(&watch->blamed);
}

/* The nearest group that has met its limit since @before; the number of groups when none has. */
static size_t find_met(const struct cgroup_chain *now, const struct cgroup_chain *before)
{
        size_t i;

        for (i = 0; i < now->n; ++i)
                if (cgroup_chain_met_since(now, before, i, CHAIN_MEMORY) > 0)
                        break;
        return i;
}

/* When several die at once, the first death that is looked at finds the counts of all. */
static size_t find_culprit(const struct cgroup_chain *now, const struct oom_watch *watch)
{
        size_t i = find_met(now, &watch->last);

        return i < now->n ? i : find_met(now, &watch->blamed);
}

static enum ppp_oom_blame blame(struct oom_watch *watch, const struct cgroup_chain *now)
{
        size_t i;

        if (now->n != watch->last.n || now->n != watch->blamed.n)
                return PPP_OOM_UNKNOWN;
        i = find_culprit(now, watch);
        if (i == now->n)
                return cgroup_chain_counts_all(now, CHAIN_MEMORY) ? PPP_OOM_MACHINE
                                                                  : PPP_OOM_UNKNOWN;
        ++watch->blamed.groups[i].limits[CHAIN_MEMORY].n_met;
        return i == 0 ? PPP_OOM_JOB : PPP_OOM_ABOVE;
}

enum ppp_oom_blame oom_watch_blame(struct oom_watch *watch, int job_fd, int worker_fd)
{
        struct cgroup_chain now;
        enum ppp_oom_blame who;
        uint64_t n;

        /* The group has only this worker, and is as old as it. */
        if (cgroup_read_keyed(worker_fd, "memory.events.local", "oom", &n) >= 0 && n > 0)
                return PPP_OOM_WORKER;
        if (watch->last.n == 0 || cgroup_chain_read(job_fd, &now) < 0)
                return PPP_OOM_UNKNOWN;
        who = blame(watch, &now);
        cgroup_chain_deinit(&watch->last);
        watch->last = now;
        return who;
}
