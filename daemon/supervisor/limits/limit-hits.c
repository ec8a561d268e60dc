#include "daemon/supervisor/limits/limit-hits.h"

#include <dirent.h>
#include <fcntl.h>

#include "lib/cgroup.h"

static void closedirp(DIR **dir)
{
        if (*dir)
                closedir(*dir);
}

static int add_met(struct limit_hits *hits, enum chain_limit limit, const struct limit_met *met)
{
        size_t n = hits->limits[limit].n;
        struct limit_met *list = reallocarray(hits->limits[limit].met, n + 1, sizeof(*list));

        if (!list)
                return -ENOMEM;
        hits->limits[limit].met = list;
        list[n] = *met;
        hits->limits[limit].n = n + 1;
        return 0;
}

/*
 * Whose limit one below the job's group was. Where a task's command has one, no worker comes to its
 * own, which only waits for commands.
 */
static enum limit_place place_below(const struct spec *spec, enum chain_limit limit)
{
        enum limit of = limit == CHAIN_MEMORY ? LIMIT_MEMORY_MAX : LIMIT_PIDS_MAX;

        return limits_has(&spec->task_limits, of) ? PLACE_TASK : PLACE_WORKER;
}

static int add_below(struct limit_hits *hits, enum chain_limit limit, const struct spec *spec,
                     uint64_t n)
{
        enum limit of = limit == CHAIN_MEMORY ? LIMIT_MEMORY_MAX : LIMIT_PIDS_MAX;
        enum limit_place place = place_below(spec, limit);
        const struct limits *limits =
                place == PLACE_TASK ? &spec->task_limits : &spec->worker_limits;
        const struct limit_met met = {
                .place = place,
                .max = limits_has(limits, of) ? limits->values[of] : UINT64_MAX,
                .n = n,
        };

        return add_met(hits, limit, &met);
}

/* Adds the limit of group @i of the chain, in which group 0 is the job's. */
static int add_group(struct limit_hits *hits, enum chain_limit limit,
                     const struct cgroup_chain *chain, size_t i, uint64_t n)
{
        const struct chain_group *group = &chain->groups[i];
        struct limit_met met = { .place = PLACE_JOB, .max = group->limits[limit].max, .n = n };
        int r;

        if (i > 0) {
                met.place = PLACE_ABOVE;
                met.group = strdup(group->name);
                if (!met.group)
                        return -ENOMEM;
        }
        r = add_met(hits, limit, &met);
        if (r < 0)
                free(met.group);
        return r;
}

/* The job's group was made for it, so all that the group has counted is the job's. */
static uint64_t met_by_job(const struct cgroup_chain *now, enum chain_limit limit)
{
        return now->groups[0].limits[limit].n_met;
}

static int add_above(struct limit_hits *hits, enum chain_limit limit,
                     const struct cgroup_chain *now, const struct limit_look *look)
{
        int r = 0;

        for (size_t i = 1; i < now->n && r >= 0; ++i) {
                uint64_t n = cgroup_chain_met_since(now, look->before, i, limit);

                if (n > 0)
                        r = add_group(hits, limit, now, i, n);
        }
        return r;
}

/* The count of the job's group including those below it, less the group's own, is the workers' and
 * the tasks'. */
static int read_memory(struct limit_hits *hits, const struct cgroup_chain *now,
                       const struct limit_look *look)
{
        uint64_t own = met_by_job(now, CHAIN_MEMORY), all;
        int r = 0;

        if (cgroup_read_keyed(look->group_fd, "memory.events", "oom", &all) >= 0 && all > own)
                r = add_below(hits, CHAIN_MEMORY, look->spec, all - own);
        if (r >= 0 && own > 0)
                r = add_group(hits, CHAIN_MEMORY, now, 0, own);
        if (r >= 0)
                r = add_above(hits, CHAIN_MEMORY, now, look);
        hits->limits[CHAIN_MEMORY].sure = !look->began_later &&
                                          cgroup_chain_covers(look->before, now, CHAIN_MEMORY) &&
                                          cgroup_chain_counts_all(now, CHAIN_MEMORY);
        return r;
}

static uint64_t refused_above(const struct cgroup_chain *now, const struct limit_look *look)
{
        uint64_t n = 0;

        for (size_t i = 1; i < now->n; ++i)
                n += cgroup_chain_met_since(now, look->before, i, CHAIN_PIDS);
        return n;
}

/*
 * For Linux 6.11 and later. Groups above are shared with others; of the forks that these refused,
 * as many are counted as the runner has seen refused.
 */
static int read_pids_by_limit(struct limit_hits *hits, const struct cgroup_chain *now,
                              const struct limit_look *look, uint64_t all)
{
        uint64_t own = met_by_job(now, CHAIN_PIDS), above = refused_above(now, look);
        uint64_t seen = look->n_runner_refused > all ? MIN(look->n_runner_refused - all, above) : 0;
        bool covered = cgroup_chain_covers(look->before, now, CHAIN_PIDS);
        int r = 0;

        if (all > own)
                r = add_below(hits, CHAIN_PIDS, look->spec, all - own);
        if (all > own && place_below(look->spec, CHAIN_PIDS) == PLACE_TASK)
                hits->n_refused_tasks = all - own;
        if (r >= 0 && own > 0)
                r = add_group(hits, CHAIN_PIDS, now, 0, own);
        if (r >= 0 && seen > 0)
                r = add_above(hits, CHAIN_PIDS, now, look);
        hits->n_refused = all + seen;
        hits->has_refused = hits->n_refused > 0 || (above == 0 && covered);
        if (!hits->has_refused)
                hits->why_no_refused =
                        covered ? "a group above the job's refused processes or threads while the "
                                  "job ran, and since Linux 6.11 the kernel does not tell whose "
                                  "they were"
                                : "a group above the job's has refused processes or threads, and "
                                  "its count could not be read when the job began";
        return r;
}

/*
 * Counts the forks that were refused in the groups directly below the job's, and tells whether one
 * of those groups has reached its limit.
 */
static int sum_children(int group_fd, uint64_t *ret, bool *ret_reached)
{
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        bool reached = false;
        uint64_t total = 0;
        int fd;

        fd = openat(group_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close_fd(fd);
                return -errno;
        }
        while ((entry = readdir(dir))) {
                _cleanup_close_ int child = -EBADF;
                uint64_t n, max, peak;

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                child = openat(group_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (child < 0 || cgroup_read_keyed(child, "pids.events", "max", &n) < 0 || n == 0)
                        continue;
                total += n;
                reached |= cgroup_read_u64(child, "pids.max", &max) >= 0 && max != UINT64_MAX &&
                           cgroup_read_u64(child, "pids.peak", &peak) >= 0 && peak >= max;
        }
        *ret = total;
        *ret_reached = reached;
        return 0;
}

/* Whether group @i may have reached its limit before the job began; one that was not read may. */
static bool may_have_reached(const struct cgroup_chain *before, size_t i)
{
        return i >= before->n || before->groups[i].limits[CHAIN_PIDS].was_reached;
}

/*
 * Adds groups that have reached their limit: with @before those above the job's that may have
 * reached it before the job began, without it all others.
 */
static int add_reached(struct limit_hits *hits, const struct cgroup_chain *now,
                       const struct limit_look *look, bool before)
{
        int r = 0;

        for (size_t i = 0; i < now->n && r >= 0; ++i)
                if (now->groups[i].limits[CHAIN_PIDS].was_reached &&
                    (i > 0 && may_have_reached(look->before, i)) == before)
                        r = add_group(hits, CHAIN_PIDS, now, i, 0);
        return r;
}

/* For kernels before Linux 6.11. A limit that was never reached cannot have refused a fork. */
static int read_pids_by_fork(struct limit_hits *hits, const struct cgroup_chain *now,
                             const struct limit_look *look, uint64_t own)
{
        bool worker_reached;
        uint64_t n;
        int r;

        r = sum_children(look->group_fd, &n, &worker_reached);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        hits->n_refused = own + n;
        hits->has_refused = !spec_has_task_groups(look->spec) || hits->n_refused > 0;
        if (!hits->has_refused)
                hits->why_no_refused = "before Linux 6.11 the kernel counts a refused process in "
                                       "the group of the task that wanted it, which is gone";
        if (hits->n_refused == 0)
                return 0;
        r = worker_reached ? add_below(hits, CHAIN_PIDS, look->spec, 0) : 0;
        if (r >= 0)
                r = add_reached(hits, now, look, false);
        if (r >= 0 && hits->limits[CHAIN_PIDS].n == 0)
                r = add_reached(hits, now, look, true);
        return r;
}

static int read_pids(struct limit_hits *hits, const struct cgroup_chain *now,
                     const struct limit_look *look)
{
        uint64_t n, local;

        if (cgroup_read_keyed(look->group_fd, "pids.events", "max", &n) < 0)
                return 0;
        return cgroup_read_keyed(look->group_fd, "pids.events.local", "max", &local) >= 0
                       ? read_pids_by_limit(hits, now, look, n)
                       : read_pids_by_fork(hits, now, look, n);
}

int limit_hits_read(const struct limit_look *look, struct limit_hits *ret)
{
        struct limit_hits hits = LIMIT_HITS_NULL;
        struct cgroup_chain now = CGROUP_CHAIN_NULL;
        uint64_t n;
        int r;

        r = look->group_fd >= 0 ? cgroup_chain_read(look->group_fd, &now) : -ENOENT;
        if (r >= 0) {
                if (cgroup_read_keyed(look->group_fd, "runner/memory.events", "oom_kill", &n) >= 0)
                        hits.runner_oom_killed = n > 0;
                r = read_memory(&hits, &now, look);
        }
        if (r >= 0)
                r = read_pids(&hits, &now, look);
        cgroup_chain_deinit(&now);
        if (r == -ENOMEM) {
                limit_hits_deinit(&hits);
                return r;
        }
        *ret = hits;
        return 0;
}

void limit_hits_deinit(struct limit_hits *hits)
{
        for (unsigned k = 0; k < _CHAIN_LIMIT_N; ++k) {
                for (size_t i = 0; i < hits->limits[k].n; ++i)
                        free(hits->limits[k].met[i].group);
                free(hits->limits[k].met);
        }
        *hits = (struct limit_hits)LIMIT_HITS_NULL;
}

struct outcome limit_blame(struct outcome outcome, const struct limit_hits *hits)
{
        bool died = outcome.verdict == OUTCOME_ENDED && outcome.reason == REASON_RUNNER_DIED;
        bool failed = outcome.verdict == OUTCOME_ENDED && outcome.reason == REASON_RUNNER_FAILED;
        bool done = outcome.verdict == OUTCOME_ENDED && outcome.state == JOB_DONE;

        /* If it were started again, it would be killed again. */
        if (hits->runner_oom_killed && (died || outcome.verdict == OUTCOME_AGAIN))
                return (struct outcome){ OUTCOME_ENDED, JOB_FAILED, REASON_OOM_KILLED };
        /* A command that its task's limit refused a process is that task's failure. */
        if (hits->n_refused > hits->n_refused_tasks && (failed || done))
                outcome.reason = REASON_PIDS_MAX;
        return outcome;
}
