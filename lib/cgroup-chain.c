#include "lib/cgroup-chain.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "lib/cgroup.h"

static const struct {
        const char *max, *events, *key;
} files[_CHAIN_LIMIT_N] = {
        [CHAIN_MEMORY] = { "memory.max", "memory.events.local", "oom" },
        [CHAIN_PIDS] = { "pids.max", "pids.events.local", "max" },
};

static bool has(int fd, const char *name)
{
        return faccessat(fd, name, F_OK, 0) == 0;
}

/* The root has no events. */
static bool is_below_root(int fd)
{
        return has(fd, "cgroup.events");
}

static bool is_root(int fd)
{
        return !is_below_root(fd) && has(fd, "cgroup.procs");
}

static char *name_of(int fd)
{
        char link[32], path[PATH_MAX];
        const char *slash;
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        path[MAX(n, (ssize_t)0)] = 0;
        slash = strrchr(path, '/');
        return strdup(slash ? slash + 1 : path);
}

static int read_group(int fd, struct chain_group *ret)
{
        struct chain_group group = { .name = name_of(fd) };
        uint64_t peak;

        if (!group.name)
                return -ENOMEM;
        for (unsigned i = 0; i < _CHAIN_LIMIT_N; ++i) {
                bool limited = cgroup_read_u64(fd, files[i].max, &group.limits[i].max) >= 0;

                if (!limited)
                        group.limits[i].max = UINT64_MAX;
                /* Without the controller there is nothing to count. */
                group.limits[i].counted = cgroup_read_keyed(fd, files[i].events, files[i].key,
                                                            &group.limits[i].n_met) >= 0 ||
                                          !limited;
        }
        group.limits[CHAIN_PIDS].was_reached = group.limits[CHAIN_PIDS].max != UINT64_MAX &&
                                               cgroup_read_u64(fd, "pids.peak", &peak) >= 0 &&
                                               peak >= group.limits[CHAIN_PIDS].max;
        *ret = group;
        return 0;
}

static int append(struct cgroup_chain *chain, int fd)
{
        struct chain_group *groups = reallocarray(chain->groups, chain->n + 1, sizeof(*groups));
        int r;

        if (!groups)
                return -ENOMEM;
        chain->groups = groups;
        r = read_group(fd, &chain->groups[chain->n]);
        if (r >= 0)
                ++chain->n;
        return r;
}

static int open_directory(int fd, const char *path)
{
        int r = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return r < 0 ? -errno : r;
}

int cgroup_chain_read(int fd, struct cgroup_chain *ret)
{
        struct cgroup_chain chain = CGROUP_CHAIN_NULL;
        int at, r = 0;

        at = open_directory(fd, ".");
        if (at < 0)
                return at;
        while (at >= 0 && r >= 0 && is_below_root(at)) {
                int above;

                r = append(&chain, at);
                above = open_directory(at, "..");
                close_fd(at);
                at = above;
        }
        chain.whole = at >= 0 && is_root(at);
        close_fd(at);
        if (r >= 0 && chain.n == 0)
                r = -ENODEV;
        if (r < 0) {
                cgroup_chain_deinit(&chain);
                return r;
        }
        *ret = chain;
        return 0;
}

void cgroup_chain_deinit(struct cgroup_chain *chain)
{
        for (size_t i = 0; i < chain->n; ++i)
                free(chain->groups[i].name);
        free(chain->groups);
        *chain = (struct cgroup_chain)CGROUP_CHAIN_NULL;
}

uint64_t cgroup_chain_met_since(const struct cgroup_chain *now, const struct cgroup_chain *before,
                                size_t i, enum chain_limit limit)
{
        uint64_t n = now->groups[i].limits[limit].n_met, was;

        if (i >= before->n)
                return 0;
        was = before->groups[i].limits[limit].n_met;
        /* It counts from 0 again after the controller was disabled. */
        return n >= was ? n - was : n;
}

bool cgroup_chain_covers(const struct cgroup_chain *before, const struct cgroup_chain *now,
                         enum chain_limit limit)
{
        for (size_t i = before->n; i < now->n; ++i)
                if (now->groups[i].limits[limit].n_met > 0)
                        return false;
        return true;
}

bool cgroup_chain_counts_all(const struct cgroup_chain *chain, enum chain_limit limit)
{
        for (size_t i = 0; i < chain->n; ++i)
                if (!chain->groups[i].limits[limit].counted)
                        return false;
        return chain->whole;
}
