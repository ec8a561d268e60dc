#include "daemon/runner/levels/descriptors.h"

#include <dirent.h>
#include <sys/resource.h>

#include "daemon/runner/fetch/fetch.h"

/*
 * For files that are open only briefly: those of /proc and cgroups, and those that libcurl and its
 * TLS library read.
 */
#define RESERVE 8U

/* Resolving a name: libcurl's pair of sockets, and a socket and a file of the C library's. */
#define PER_NAME 4U

/*
 * A worker that blocks: its timer, the pair by which libcurl is woken, and a name; beside those,
 * each connection that it keeps counts twice, once for us and once for libcurl.
 */
#define PER_BLOCKING (3U + PER_NAME)

/* A command: its pipes, both ends of them for a moment, its standard input, pidfd and group. */
#define PER_COMMAND 8U

/* A loop: its ring, and libcurl's own descriptors. */
#define PER_LOOP 4U

/*
 * Each loop has an eventfd on which its workers answer; each thread of an executor has a ring.
 * Processes have theirs to themselves, and here are the zygote's socket and pidfd.
 */
static unsigned of_executors(const struct runner *runner, unsigned n_loops)
{
        switch (runner->spec.executor) {
        case EXECUTOR_THREADS:
                return MAX(runner->spec.executor_workers, n_loops) + n_loops;
        case EXECUTOR_PROCESSES:
                return 2 + n_loops;
        default:
                return 0;
        }
}

void descriptors_raise_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static unsigned n_open(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        if (!dir)
                return 0;
        while (readdir(dir))
                ++n;
        closedir(dir);
        return n;
}

/* How many more files may be opened, less the reserve. */
static unsigned n_free(void)
{
        struct rlimit limit;
        unsigned n;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= UINT32_MAX)
                return UINT32_MAX;
        n = n_open() + RESERVE;
        return limit.rlim_cur > n ? (unsigned)limit.rlim_cur - n : 0;
}

/* Without a workload of its own it runs any. */
static bool fetches(const struct runner *runner)
{
        return !runner->workload || workload_info(runner->spec.workload)->takes_urls;
}

static void lower(struct runner *runner, unsigned n_max)
{
        unsigned n = MAX(n_max, 1U);
        struct rlimit limit = {};

        if (runner->spec.workers <= n)
                return;
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        log_error("%u workers instead of %u, since this process may have only %llu files open; "
                  "raise the limit on open files (LimitNOFILE=, ulimit -n)",
                  n, runner->spec.workers, (unsigned long long)limit.rlim_cur);
        runner->spec.workers = n;
}

static void set_connections(struct runner *runner, unsigned n_each)
{
        unsigned n = n_each > PER_BLOCKING ? (n_each - PER_BLOCKING) / 2 : 0;

        runner->connections_max = MIN(MAX(n, 1U), RUNNER_CONNECTIONS_MAX);
}

unsigned descriptors_of_blocking(const struct runner *runner)
{
        if (runner->spec.command.words)
                return 1 + PER_COMMAND;
        return fetches(runner) ? PER_BLOCKING + 2 : 1;
}

void descriptors_share(struct runner *runner, unsigned per_worker)
{
        unsigned n = n_free();

        if (per_worker > 0)
                lower(runner, n / per_worker);
        set_connections(runner, n / MAX(runner->spec.workers, 1U));
}

/* A child starts with all descriptors that its parent has open at the time. */
void descriptors_share_processes(struct runner *runner, unsigned per_worker)
{
        unsigned n = n_free(), own = descriptors_of_blocking(runner);

        lower(runner, n > own ? (n - own) / per_worker : 0);
        set_connections(runner, n - MIN(n, runner->spec.workers * per_worker));
}

/*
 * A fiber has one connection, of ours or of libcurl's. We keep no more connections than there are
 * fibers. libcurl may have the rest, which is a quarter or more; when that is used up, its
 * transfers wait.
 */
void descriptors_share_loops(struct runner *runner, unsigned n_loops,
                             struct descriptors_of_loops *ret)
{
        unsigned n = n_free(), fixed = n_loops * PER_LOOP + of_executors(runner, n_loops);

        *ret = (struct descriptors_of_loops){ .resolving = n_loops * FETCHER_RESOLVING_MAX };
        n -= MIN(n, fixed);
        if (runner->spec.command.words)
                lower(runner, n / PER_COMMAND);
        if (!fetches(runner))
                return;
        ret->resolving = MAX(MIN(n / (4 * PER_NAME), ret->resolving), n_loops);
        n -= MIN(n, ret->resolving * PER_NAME);
        lower(runner, n / 4 * 3 + n % 4);
        if (runner->spec.workers > n / 2)
                ret->libcurl = MAX(n - MIN(n, runner->spec.workers), n_loops);
}
