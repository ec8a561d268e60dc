#include "daemon/supervisor/limit-hits.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>


static void closedirp(DIR **dir)
{
        if (*dir)
                closedir(*dir);
}

/* Of the groups right below the job's. */
static int sum_children(int group_fd, uint64_t *ret)
{
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        uint64_t total = 0, n;
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
                char path[sizeof(entry->d_name) + sizeof("/pids.events")];

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "%s/pids.events", entry->d_name);
                if (cgroup_read_keyed(group_fd, path, "max", &n) >= 0)
                        total += n;
        }
        *ret = total;
        return 0;
}

int limit_count_pids_refused(const struct job_group *group, uint64_t *ret)
{
        uint64_t n;
        int r;

        r = cgroup_read_keyed(group->fd, "pids.events", "max", &n);
        if (r >= 0 && n == 0)
                r = sum_children(group->fd, &n);
        if (r < 0)
                return r;
        *ret = n;
        return 0;
}

void limit_hits_read(const struct job_group *group, struct limit_hits *ret)
{
        struct limit_hits hits = { false, 0 };
        uint64_t n;

        if (job_group_exists(group)) {
                if (cgroup_read_keyed(group->fd, "runner/memory.events", "oom_kill", &n) >= 0)
                        hits.runner_oom_killed = n > 0;
                if (limit_count_pids_refused(group, &n) >= 0)
                        hits.pids_refused = n;
        }
        *ret = hits;
}

struct outcome limit_blame(struct outcome outcome, const struct limit_hits *hits)
{
        bool died = outcome.verdict == OUTCOME_ENDED && outcome.reason == REASON_RUNNER_DIED;
        bool failed = outcome.verdict == OUTCOME_ENDED && outcome.reason == REASON_RUNNER_FAILED;
        bool done = outcome.verdict == OUTCOME_ENDED && outcome.state == JOB_DONE;

        /* To start it again would kill it again. */
        if (hits->runner_oom_killed && (died || outcome.verdict == OUTCOME_AGAIN))
                return (struct outcome){ OUTCOME_ENDED, JOB_FAILED, REASON_OOM_KILLED };
        if (hits->pids_refused > 0 && (failed || done))
                outcome.reason = REASON_PIDS_MAX;
        return outcome;
}

/* " (inputs 3, 7 and 9 others were in progress)", inputs counted from 1; "" when that is not known. */
static char *describe_open(const struct spec *spec, const struct tally *tally)
{
        uint64_t n = tally ? tally->n_open : 0;
        char list[TALLY_OPEN_MAX * 22] = "", *text;
        size_t at = 0;
        int r;

        if (n == 0)
                return strdup("");
        /* One after the other: the rest of the chunk was not begun. */
        if (spec->level == LEVEL_SERIAL)
                n = 1;
        for (size_t i = 0; i < MIN(n, (uint64_t)TALLY_OPEN_MAX); ++i)
                at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%llu", i ? ", " : "",
                                       (unsigned long long)tally->open[i] + 1);
        if (n > TALLY_OPEN_MAX)
                r = asprintf(&text, "; inputs %s and %llu more were in progress or next", list,
                             (unsigned long long)(n - TALLY_OPEN_MAX));
        else
                r = asprintf(&text, "; input%s %s %s in progress%s", n > 1 ? "s" : "", list,
                             n > 1 ? "were" : "was", n > 1 ? " or next" : "");
        return r < 0 ? NULL : text;
}

static char *describe_oom(const struct spec *spec, const struct tally *tally)
{
        _cleanup_free_ char *open = describe_open(spec, tally);
        char *text;
        int r;

        if (limits_enforces(&spec->limits, LIMIT_MEMORY_MAX))
                r = asprintf(&text, "the kernel killed the runner when the job reached its memory.max "
                             "of %llu bytes%s",
                             (unsigned long long)spec->limits.values[LIMIT_MEMORY_MAX], open ?: "");
        else
                r = asprintf(&text, "the kernel killed the runner for want of memory; the job has no "
                             "memory.max of its own%s", open ?: "");
        return r < 0 ? NULL : text;
}

static char *describe_pids(const struct limit_hits *hits, const struct spec *spec)
{
        const char *what = hits->pids_refused == 1 ? "process or thread" : "processes or threads";
        unsigned long long n = hits->pids_refused;
        char *text;
        int r;

        if (limits_enforces(&spec->limits, LIMIT_PIDS_MAX))
                r = asprintf(&text, "the kernel refused %llu %s: pids.max of the job is %llu", n, what,
                             (unsigned long long)spec->limits.values[LIMIT_PIDS_MAX]);
        else if (limits_enforces(&spec->worker_limits, LIMIT_PIDS_MAX))
                r = asprintf(&text, "the kernel refused %llu %s: pids.max of a worker is %llu", n, what,
                             (unsigned long long)spec->worker_limits.values[LIMIT_PIDS_MAX]);
        else
                r = asprintf(&text, "the kernel refused %llu %s: pids.max of a group above the job's is "
                             "reached (TasksMax= of the service or of its slice)", n, what);
        return r < 0 ? NULL : text;
}

char *limit_describe(enum job_reason reason, const struct limit_hits *hits, const struct spec *spec,
                     const struct tally *tally)
{
        if (reason == REASON_OOM_KILLED)
                return describe_oom(spec, tally);
        return reason == REASON_PIDS_MAX ? describe_pids(hits, spec) : NULL;
}
