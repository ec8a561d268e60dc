/*
 * processes: workers are child processes, each born by clone3(2) inside a cgroup of its own
 * (worker-N of the job's). They share the results file and the workers' table, nothing else: a
 * worker that crashes takes one task with it. Its parent finds in the table which task that was,
 * writes that task's record, and starts another worker on the rest of the dead one's chunk.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/runner/io/blocking.h"
#include "daemon/runner/levels/worker-group.h"
#include "daemon/runner/measure.h"
#include "daemon/runner/node/feed.h"
#include "lib/cgroup.h"

#define FRUITLESS_MAX 10
#define LOST_LOOK_MS  200

/* A row of the table: the part a worker process writes, and that its parent reads when it is dead. */
struct shared {
        struct worker worker;
        uint64_t born_ns;
} __attribute__((aligned(128)));

struct process {
        struct shared *shared;
        int pidfd;                      /* -EBADF: not running */
        struct worker_group group;
        uint64_t asked_ns;
        bool ended;                     /* left for good: nothing was left to claim */
};

struct pool {
        struct runner *runner;
        struct process *processes;
        struct pollfd *polls;           /* by process */
        unsigned n;
        unsigned n_running;
        unsigned n_births;
        unsigned n_replaced;
        unsigned n_refused;             /* attempts to start one that failed */
        unsigned n_deaths;              /* of workers, since tasks_lost() last looked */
        unsigned n_fruitless;           /* deaths in a row without any task ended or in progress */
        uint64_t n_ended;               /* tasks, as known at the last death */
        bool limited;                   /* a worker has its limits */
        uint64_t rss_peak;              /* sum over all workers there ever were */
        struct histogram births;
};

static __attribute__((noreturn)) void worker_main(struct runner *runner, struct shared *shared)
{
        struct blocking_io *io;
        int r;

        shared->born_ns = now_monotonic();
        worker_prefer_for_oom();
        r = blocking_io_new(runner, &io);
        if (r < 0)
                _exit(EXIT_FAILURE);
        shared->worker.io_context = io;
        (void)worker_run(&shared->worker);
        _exit(EXIT_SUCCESS);
}

static int process_start(struct pool *pool, struct process *process)
{
        pid_t parent = getpid(), pid;
        sigset_t sigterm, before;
        int r;

        /* One that was refused has its group already. */
        if (process->group.fd < 0) {
                r = worker_group_make(&process->group, pool->runner, pool->n_births++, pool->limited);
                if (r < 0)
                        return r;
                pool->limited = true;
        }
        process->shared->born_ns = 0;
        process->asked_ns = now_monotonic();
        /* The child must not hear of a SIGTERM while it still has the runner's handler. */
        sigemptyset(&sigterm);
        sigaddset(&sigterm, SIGTERM);
        sigprocmask(SIG_BLOCK, &sigterm, &before);
        pid = cgroup_fork(process->group.fd, &process->pidfd);
        if (pid == 0) {
                /* Dies with the runner; if that is gone already, nobody would tell. */
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                /* The handler would cancel the job: SIGTERM to a worker is that worker's affair. */
                signal(SIGTERM, SIG_DFL);
                sigprocmask(SIG_SETMASK, &before, NULL);
                worker_main(pool->runner, process->shared);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (pid < 0)
                return (int)pid;
        ++pool->n_running;
        return 0;
}

/* waitid(2) with the resource usage its system call has and glibc's wrapper lacks. */
static int reap(int pidfd, siginfo_t *ret_info, struct rusage *ret_usage)
{
        while (syscall(SYS_waitid, P_PIDFD, pidfd, ret_info, WEXITED, ret_usage) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static struct ppp_record *record_of_current(struct pool *pool, const struct worker *worker)
{
        if (pool->runner->feed)
                return &worker->fed->records[worker->current];
        return &pool->runner->results.records[worker->current];
}

/* The record of the task a dead worker was at. */
static void record_death(struct pool *pool, const struct process *process, const siginfo_t *info)
{
        struct results *results = &pool->runner->results;
        struct worker *worker = &process->shared->worker;
        struct ppp_record *at = record_of_current(pool, worker);
        uint64_t now = now_monotonic() - results->header->epoch_ns;
        struct ppp_record record = {
                .start_ns = now,
                .end_ns = now,
                .worker = worker->id,
                .detail = info->si_status,
                .reason = info->si_code == CLD_EXITED ? PPP_REASON_EXIT : PPP_REASON_SIGNAL,
                .state = PPP_STATE_FAILED,
        };

        if (record.reason == PPP_REASON_SIGNAL && info->si_status == SIGKILL &&
            worker_group_oom_killed(&process->group))
                record.reason = PPP_REASON_OOM_KILLED;
        /* It may have died between its record and its note of having written it. */
        if (record_state(at) == PPP_STATE_NONE) {
                if (worker->started_ns > results->header->epoch_ns)
                        record.start_ns = worker->started_ns - results->header->epoch_ns;
                record_publish(at, &record);
                ++worker->n_failed;
                if (pool->runner->feed)
                        feed_task_ended(pool->runner->feed, worker->fed);
        }
        worker->current = TASK_NONE;
}

/* A worker that dies again and again before it does anything would be replaced for ever. */
static int count_death(struct pool *pool, bool was_at_task)
{
        const struct ppp_results_header *header = pool->runner->results.header;
        uint64_t n_ended = __atomic_load_n(&header->n_done, __ATOMIC_RELAXED) +
                           __atomic_load_n(&header->n_failed, __ATOMIC_RELAXED);

        ++pool->n_deaths;
        pool->n_fruitless = was_at_task || n_ended != pool->n_ended ? 0 : pool->n_fruitless + 1;
        pool->n_ended = n_ended;
        if (pool->n_fruitless < FRUITLESS_MAX)
                return 0;
        log_error("cannot go on: %d workers in a row died before they took a task; see whether there "
                  "is memory enough for one, and who kills them", FRUITLESS_MAX);
        return -ECHILD;
}

/* Gives the dead worker's task its record. Being at one although it "ended well" is a death too. */
static int account_for(struct pool *pool, const struct process *process, const siginfo_t *info)
{
        struct worker *worker = &process->shared->worker;
        bool was_at_task = worker->current != TASK_NONE;
        bool died = was_at_task || info->si_code != CLD_EXITED || info->si_status != EXIT_SUCCESS;

        if (was_at_task && !runner_cancelled(pool->runner))
                record_death(pool, process, info);
        worker_flush(worker);
        return died && !runner_cancelled(pool->runner) ? count_death(pool, was_at_task) : 0;
}

/*
 * A worker that is killed right when it claims takes the chunk along: its indexes are in nobody's
 * hands. So after deaths, when nothing is left to claim, whoever has no record is offered again.
 */
static bool tasks_lost(struct pool *pool)
{
        struct results *results = &pool->runner->results;
        bool lost = false;

        if (pool->n_deaths == 0 || runner_cancelled(pool->runner) || pool->runner->feed)
                return false;
        pool->n_deaths = 0;
        for (uint64_t i = 0; i < results->n_tasks && !lost; ++i)
                lost = record_state(&results->records[i]) == PPP_STATE_NONE;
        if (!lost)
                return false;
        pool->runner->resuming = true;
        __atomic_store_n(&results->header->next, 0, __ATOMIC_RELAXED);
        for (unsigned i = 0; i < pool->n; ++i)
                pool->processes[i].ended = false;
        return true;
}

/* The number of times that workers have begun or ended to wait for a chunk; 0: some does not wait now. */
static uint64_t all_idle(const struct pool *pool)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < pool->n; ++i) {
                uint32_t idle = __atomic_load_n(&pool->processes[i].shared->worker.idle,
                                                __ATOMIC_SEQ_CST);

                if (pool->processes[i].pidfd < 0)
                        continue;
                if (idle % 2 == 0)
                        return 0;
                sum += idle;
        }
        return sum;
}

/* The same as tasks_lost() for a node: what is lost goes back, without records. */
static void give_back_lost(struct pool *pool)
{
        struct feed *feed = pool->runner->feed;
        uint64_t before = all_idle(pool);
        uint32_t *numbers;
        unsigned n;

        if (before == 0)
                return;
        numbers = malloc(FEED_CHUNKS * sizeof(*numbers));
        if (!numbers)
                return;
        n = feed_find_lost(feed, numbers);
        if (all_idle(pool) == before) {
                feed_end_lost(feed, numbers, n);
                pool->n_deaths = 0;
        }
        free(numbers);
}

static bool has_work(const struct pool *pool, const struct process *process)
{
        const struct worker *worker = &process->shared->worker;

        if (pool->runner->feed)
                return !runner_cancelled(pool->runner) && !feed_closed(pool->runner->feed);
        return !runner_cancelled(pool->runner) &&
               (worker->next < worker->end ||
                __atomic_load_n(&pool->runner->results.header->next, __ATOMIC_RELAXED) <
                        pool->runner->results.n_tasks);
}

static int process_ended(struct pool *pool, struct process *process)
{
        struct rusage usage = {};
        siginfo_t info = {};
        int r;

        r = reap(process->pidfd, &info, &usage);
        if (r < 0)
                return r;
        --pool->n_running;
        process->pidfd = close_fd(process->pidfd);
        pool->rss_peak += (uint64_t)usage.ru_maxrss * 1024;
        if (process->shared->born_ns)
                histogram_add(&pool->births, process->shared->born_ns - process->asked_ns);
        r = account_for(pool, process, &info);
        worker_group_remove(&process->group, pool->runner);

        process->shared->worker.cursor = NULL;
        worker_repair(&process->shared->worker);
        process->ended = !has_work(pool, process);
        if (!process->ended)
                ++pool->n_replaced;
        return r;
}

/* Said once: as others end, it is tried again. */
static int refused(struct pool *pool, unsigned i, int error)
{
        if (pool->n_refused++ == 0)
                log_error("cannot start worker %u of %u: %s; ask for fewer with --workers, or raise "
                          "the limit of tasks (--pids-max, TasksMax= of the service)", i, pool->n,
                          strerrordesc_np(-error));
        return pool->n_running > 0 ? 0 : error;
}

/*
 * Starts every worker that should run and does not. One that can't be started waits until another
 * ends; only when none runs is that the end of the job.
 */
static int pool_fill(struct pool *pool)
{
        for (unsigned i = 0; i < pool->n; ++i) {
                struct process *process = &pool->processes[i];
                int r;

                if (process->pidfd >= 0 || process->ended)
                        continue;
                process->ended = !has_work(pool, process);
                if (process->ended)
                        continue;
                r = process_start(pool, process);
                if (r < 0)
                        return refused(pool, i, r);
        }
        return 0;
}

static int pool_wait(struct pool *pool)
{
        bool look = pool->runner->feed && pool->n_deaths > 0;
        const struct pollfd *next = pool->polls;
        nfds_t n = 0;

        /* Only those that run: poll(2) takes no more entries than there may be descriptors. */
        for (unsigned i = 0; i < pool->n; ++i)
                if (pool->processes[i].pidfd >= 0)
                        pool->polls[n++] = (struct pollfd){ pool->processes[i].pidfd, POLLIN, 0 };

        /* Workers see a cancellation themselves: `cancelled` and cancel_fd are theirs too. */
        if (poll(pool->polls, n, look ? LOST_LOOK_MS : -1) < 0) {
                if (errno == EINTR)
                        return 0;
                log_error("cannot wait for the workers: %m");
                return -errno;
        }
        if (look)
                give_back_lost(pool);
        for (unsigned i = 0; i < pool->n; ++i) {
                int r;

                if (pool->processes[i].pidfd < 0 || !next++->revents)
                        continue;
                r = process_ended(pool, &pool->processes[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int pool_run(struct pool *pool)
{
        int r;

        for (;;) {
                r = pool_fill(pool);
                if (r >= 0 && pool->n_running == 0 && tasks_lost(pool))
                        continue;
                if (r < 0 || pool->n_running == 0)
                        return r;
                r = pool_wait(pool);
                if (r < 0)
                        return r;
        }
}

static int pool_init(struct pool *pool, struct shared *table)
{
        pool->processes = calloc(pool->n, sizeof(*pool->processes));
        pool->polls = calloc(pool->n, sizeof(*pool->polls));
        if (!pool->processes || !pool->polls)
                return -ENOMEM;
        for (unsigned i = 0; i < pool->n; ++i) {
                pool->processes[i] = (struct process){
                        .shared = &table[i],
                        .pidfd = -EBADF,
                        .group = WORKER_GROUP_NULL,
                };
                worker_init(&table[i].worker, pool->runner, (uint16_t)i, &blocking_ops, NULL);
        }
        return 0;
}

int level_processes_run(struct runner *runner)
{
        struct pool pool = { .runner = runner, .n = runner->spec.workers };
        size_t size = pool.n * sizeof(struct shared);
        struct shared *table;
        int r;

        table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (table == MAP_FAILED) {
                r = -errno;
                log_error("cannot map the table of %u workers: %s", pool.n, strerrordesc_np(-r));
                return r;
        }
        r = pool_init(&pool, table);
        if (r >= 0)
                r = pool_run(&pool);
        runner->workers_rss_peak = pool.rss_peak;
        measure_histogram(runner, "worker_start_seconds", &pool.births);
        measure_integer(runner, "workers_replaced", pool.n_replaced);
        measure_integer(runner, "workers_refused", pool.n_refused);
        for (unsigned i = 0; pool.processes && i < pool.n; ++i)
                worker_group_remove(&pool.processes[i].group, runner);
        free(pool.processes);
        free(pool.polls);
        munmap(table, size);
        return r;
}
