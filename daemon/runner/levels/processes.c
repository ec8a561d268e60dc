/*
 * processes: workers are child processes, each born by clone3(2) inside a cgroup of its own
 * (worker-N of the job's). They share the results file and the workers' table, nothing else: a
 * worker that crashes takes one task with it. Its parent finds in the table which task that was,
 * writes that task's record, and starts another worker on the rest of the dead one's chunk
 * (worker-row.h). A worker that is stuck in a task past its time limit is killed.
 */

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>

#include "daemon/runner/exec/task-group.h"
#include "daemon/runner/io/blocking.h"
#include "daemon/runner/levels/descriptors.h"
#include "daemon/runner/levels/levels.h"
#include "daemon/runner/levels/worker-row.h"
#include "daemon/runner/measure.h"
#include "daemon/runner/worker-process.h"

#define PER_WORKER    2 /* descriptors: its pidfd, its group */
#define FRUITLESS_MAX 10
#define RETRY_MIN_NS  (100 * NSEC_PER_MSEC) /* after a worker could not be started, doubling */
#define RETRY_MAX_NS  (10 * NSEC_PER_SEC)
#define RETRIES_MAX   5                     /* while no worker runs at all */
#define LOOK_NS       (200 * NSEC_PER_MSEC) /* while there is something to be looked after */
#define LATE_LOOKS    10                    /* a try is late as often before its worker is killed */

struct process {
        struct worker_row *row;
        int pidfd; /* -EBADF: not running */
        struct worker_group group;
        uint64_t asked_ns;
        uint64_t late_ns; /* the deadline that its try has missed, */
        unsigned n_late;  /* and in how many looks in a row it was seen to */
        bool timed_out;   /* it is killed for that */
        bool ended;       /* left for good: nothing was left to claim */
};

struct worker_pool {
        struct runner *runner;
        struct process *processes;
        struct pollfd *polls; /* by process */
        unsigned n;
        unsigned n_running;
        unsigned n_replaced;
        unsigned n_refused;     /* attempts to start one that failed, */
        unsigned n_refused_now; /* and since one was started last */
        uint64_t retry_ns;      /* when the next is due; 0: nobody waits for one */
        uint64_t look_ns;       /* when to look after the workers; UINT64_MAX: never */
        uint64_t died_ns;       /* of a death whose lost tasks may not be found yet; or 0 */
        unsigned n_deaths;      /* of workers, since the records were last counted */
        unsigned n_fruitless;   /* deaths in a row without any task ended or in progress */
        uint64_t n_ended;       /* tasks, as known at the last death */
        bool started;           /* a worker was, ever */
        bool limited;           /* a worker has its limits */
        uint64_t rss_peak;      /* sum over all workers there ever were */
        struct oom_watch oom;
        struct histogram births;
};

static __attribute__((noreturn)) void worker_main(struct runner *runner, struct worker_row *row)
{
        struct blocking_io *io;
        int r;

        row->born_ns = now_monotonic();
        worker_prefer_for_oom();
        r = blocking_io_new(runner, &io);
        if (r < 0)
                _exit(EXIT_FAILURE);
        row->worker.io_context = io;
        (void)worker_run(&row->worker);
        _exit(EXIT_SUCCESS);
}

static int process_start(struct worker_pool *pool, struct process *process)
{
        pid_t pid;
        int r;

        /* If a worker was refused, its group exists already. */
        if (process->group.fd < 0) {
                r = worker_group_make(&process->group, pool->runner, pool->limited);
                if (r < 0)
                        return r;
                pool->limited = true;
        }
        process->row->born_ns = 0;
        process->asked_ns = now_monotonic();
        pid = worker_fork(process->group.fd, &process->pidfd);
        if (pid == 0)
                worker_main(pool->runner, process->row);
        if (pid < 0)
                return (int)pid;
        ++pool->n_running;
        pool->started = true;
        pool->n_refused_now = 0;
        return 0;
}

static struct worker_death death_of(struct worker_pool *pool, const struct process *process,
                                    const siginfo_t *info)
{
        if (process->timed_out)
                return (struct worker_death){ PPP_REASON_TIMEOUT, 0 };
        return worker_death_of(info, &process->group, &pool->oom, pool->runner);
}

/* A worker that dies again and again before it does anything would be replaced for ever. */
static int count_death(struct worker_pool *pool, bool was_useful)
{
        const struct ppp_results_header *header = pool->runner->results.header;
        uint64_t n_ended = __atomic_load_n(&header->n_done, __ATOMIC_RELAXED) +
                           __atomic_load_n(&header->n_failed, __ATOMIC_RELAXED);

        pool->n_fruitless = was_useful || n_ended != pool->n_ended ? 0 : pool->n_fruitless + 1;
        pool->n_ended = n_ended;
        if (pool->n_fruitless < FRUITLESS_MAX)
                return 0;
        log_error("cannot go on: %d workers in a row died before they took a task; see whether "
                  "there is memory enough for one, and who kills them",
                  FRUITLESS_MAX);
        return -ECHILD;
}

static void look_for_lost(struct worker_pool *pool)
{
        uint64_t now = now_monotonic();

        pool->died_ns = now;
        pool->look_ns = MIN(pool->look_ns, now + LOOK_NS);
}

/*
 * Gives the dead worker's task its record. A worker that "ended well" while it had a task has died
 * too.
 */
static int account_for(struct worker_pool *pool, const struct process *process,
                       const siginfo_t *info)
{
        const struct worker_death death = death_of(pool, process, info);
        bool was_idle = process->row->worker.idle % 2 == 1,
             was_at_task = row_is_at_task(process->row);
        bool died = was_at_task || info->si_code != CLD_EXITED || info->si_status != EXIT_SUCCESS;

        row_bury(process->row, runner_cancelled(pool->runner) ? NULL : &death);
        runner_look_at_halt(pool->runner);
        if (!died)
                return 0;
        ++pool->n_deaths;
        if (runner_cancelled(pool->runner))
                return 0;
        look_for_lost(pool);
        return count_death(pool, was_at_task || was_idle);
}

/*
 * When a worker is killed just as it claims, or between two tasks, part of its claim is lost with
 * it: no worker has these tasks. Counts that it had not added yet are lost too. So after deaths we
 * look for lost tasks, while others run and again when no worker runs any more.
 */
static bool offer_lost(struct worker_pool *pool)
{
        struct task_source *source = pool->runner->source;

        if (pool->n_deaths == 0)
                return false;
        pool->n_deaths = 0;
        if (!source->ops->offer_lost(source))
                return false;
        for (unsigned i = 0; i < pool->n; ++i)
                pool->processes[i].ended = false;
        return true;
}

static bool see(void *userdata, unsigned i, uint64_t *ret_piece_of, uint64_t *ret_n)
{
        const struct process *process = &((struct worker_pool *)userdata)->processes[i];

        *ret_piece_of = *ret_n = 0;
        return process->pidfd < 0 || row_look(process->row, ret_piece_of, ret_n);
}

static void find_lost(struct worker_pool *pool)
{
        struct task_source *source = pool->runner->source;

        if (!source->ops->find_lost(source, pool->n, see, pool, pool->died_ns))
                pool->died_ns = 0;
}

/*
 * A worker that is past the deadline of its try is given time to notice that itself. This time is
 * counted in looks, each at least LOOK_NS after the last: there are none while the job is paused,
 * so a worker that was paused beyond its deadline ends its try in the ordinary way.
 */
static void look_at_try(struct process *process, uint64_t now)
{
        uint64_t deadline_ns = row_deadline(process->row);

        if (deadline_ns == 0 || deadline_ns > now || deadline_ns != process->late_ns)
                process->n_late = 0;
        process->late_ns = deadline_ns;
        if (deadline_ns == 0 || deadline_ns > now || ++process->n_late <= LATE_LOOKS)
                return;
        /* Either it has left its try at this moment, or it never will. */
        if (!row_seal(process->row, deadline_ns))
                return;
        process->timed_out = true;
        worker_kill(process->pidfd);
}

/* The time of the next look: for a try that may be late, or for tasks that dead workers may have
 * lost. */
static uint64_t next_look(const struct worker_pool *pool, uint64_t now)
{
        uint64_t next;

        if (pool->died_ns)
                return now + LOOK_NS;
        if (__builtin_add_overflow(now, pool->runner->source->look_ns, &next))
                return UINT64_MAX;
        for (unsigned i = 0; i < pool->n; ++i)
                if (pool->processes[i].pidfd >= 0 && row_deadline(pool->processes[i].row))
                        next = MIN(next, row_deadline(pool->processes[i].row));
        return MAX(next, now + LOOK_NS);
}

static void pool_look(struct worker_pool *pool)
{
        uint64_t now = now_monotonic();

        if (now < pool->look_ns)
                return;
        for (unsigned i = 0; i < pool->n; ++i)
                if (pool->processes[i].pidfd >= 0)
                        look_at_try(&pool->processes[i], now);
        if (pool->died_ns)
                find_lost(pool);
        pool->look_ns = next_look(pool, now);
}

static int process_ended(struct worker_pool *pool, struct process *process)
{
        struct rusage usage = {};
        siginfo_t info = {};
        int r;

        r = worker_reap(pool->runner, process->pidfd, &info, &usage);
        if (r < 0)
                return r;
        --pool->n_running;
        process->pidfd = close_fd(process->pidfd);
        pool->rss_peak += (uint64_t)usage.ru_maxrss * 1024;
        if (process->row->born_ns)
                histogram_add(&pool->births, process->row->born_ns - process->asked_ns);
        task_group_bury(&process->row->worker);
        r = account_for(pool, process, &info);
        worker_group_remove(&process->group, pool->runner);

        process->late_ns = process->n_late = 0;
        process->timed_out = false;
        process->ended = worker_is_done(&process->row->worker);
        if (process->ended)
                row_give_back(process->row);
        else
                ++pool->n_replaced;
        /* There is room for one more. */
        pool->retry_ns = 0;
        return r;
}

/*
 * The failure is logged once, and starting is tried again: when a worker ends, and from time to
 * time. Tasks that the missing workers had claimed must not wait for that.
 */
static int refused(struct worker_pool *pool, unsigned i, int error)
{
        uint64_t delay = RETRY_MIN_NS << MIN(pool->n_refused_now, 10U);

        if (pool->n_refused++ == 0)
                log_error("cannot start worker %u of %u: %s; ask for fewer with --workers, or "
                          "raise the limit of tasks (--pids-max, TasksMax= of the service)",
                          i, pool->n, strerrordesc_np(-error));
        if (pool->n_running == 0 && (!pool->started || pool->n_refused_now >= RETRIES_MAX))
                return error;
        ++pool->n_refused_now;
        for (unsigned k = i; k < pool->n; ++k)
                if (pool->processes[k].pidfd < 0)
                        row_give_back(pool->processes[k].row);
        pool->retry_ns = now_monotonic() + MIN(delay, RETRY_MAX_NS);
        return 0;
}

/* Starts every worker that should run and does not. */
static int pool_fill(struct worker_pool *pool)
{
        if (pool->retry_ns > now_monotonic() && !runner_cancelled(pool->runner))
                return 0;
        pool->retry_ns = 0;
        for (unsigned i = 0; i < pool->n; ++i) {
                struct process *process = &pool->processes[i];
                int r;

                if (process->pidfd >= 0 || process->ended)
                        continue;
                process->ended = worker_is_done(&process->row->worker);
                if (process->ended) {
                        row_give_back(process->row);
                        continue;
                }
                r = process_start(pool, process);
                if (r < 0)
                        return refused(pool, i, r);
        }
        return 0;
}

/* For poll(2), rounded up. */
static int wait_ms(const struct worker_pool *pool)
{
        uint64_t now = now_monotonic(), until = pool->look_ns;

        if (pool->retry_ns)
                until = MIN(until, pool->retry_ns);
        if (until == UINT64_MAX)
                return -1;
        return until <= now ? 0 : (int)MIN((until - now) / NSEC_PER_MSEC + 1, (uint64_t)INT_MAX);
}

static int pool_wait(struct worker_pool *pool)
{
        const struct pollfd *next = pool->polls;
        nfds_t n = 0;

        /* Only those that run: poll(2) takes no more entries than there may be descriptors. */
        for (unsigned i = 0; i < pool->n; ++i)
                if (pool->processes[i].pidfd >= 0)
                        pool->polls[n++] = (struct pollfd){ pool->processes[i].pidfd, POLLIN, 0 };

        /* Workers see a cancellation themselves: `cancelled` and cancel_fd are theirs too. */
        if (poll(pool->polls, n, wait_ms(pool)) < 0) {
                if (errno == EINTR)
                        return 0;
                log_error("cannot wait for the workers: %m");
                return -errno;
        }
        pool_look(pool);
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

static int pool_run(struct worker_pool *pool)
{
        int r;

        for (;;) {
                r = pool_fill(pool);
                if (r < 0)
                        return r;
                if (pool->n_running == 0 && pool->retry_ns == 0) {
                        if (!offer_lost(pool))
                                return 0;
                        continue;
                }
                r = pool_wait(pool);
                if (r < 0)
                        return r;
        }
}

static int pool_init(struct worker_pool *pool, struct worker_row *table)
{
        pool->processes = calloc(pool->n, sizeof(*pool->processes));
        pool->polls = calloc(pool->n, sizeof(*pool->polls));
        if (!pool->processes || !pool->polls)
                return -ENOMEM;
        for (unsigned i = 0; i < pool->n; ++i) {
                pool->processes[i] = (struct process){
                        .row = &table[i],
                        .pidfd = -EBADF,
                        .group = WORKER_GROUP_NULL,
                };
                worker_init(&table[i].worker, pool->runner, (uint16_t)i, &blocking_ops, NULL);
                table[i].worker.watched = true;
        }
        oom_watch_init(&pool->oom, pool->runner->cgroup_fd);
        pool->look_ns = next_look(pool, now_monotonic());
        return 0;
}

int level_processes_run(struct runner *runner)
{
        struct worker_pool pool = { .runner = runner };
        struct worker_row *table;
        size_t size;
        int r;

        descriptors_share_processes(runner, PER_WORKER);
        pool.n = runner->spec.workers;
        size = pool.n * sizeof(struct worker_row);
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
        oom_watch_deinit(&pool.oom);
        free(pool.processes);
        free(pool.polls);
        munmap(table, size);
        return r;
}
