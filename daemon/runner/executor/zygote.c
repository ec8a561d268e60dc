#include "daemon/runner/executor/zygote.h"

#include <limits.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "daemon/runner/runner.h"
#include "daemon/runner/worker-process.h"

#define FRUITLESS_MAX 10
#define RETRY_MIN_NS  (100 * NSEC_PER_MSEC) /* after a process could not be started, doubling */
#define RETRY_MAX_NS  (10 * NSEC_PER_SEC)
#define RETRIES_MAX   5 /* while a pool has no process at all */

enum {
        POLL_RUNNER,
        POLL_CANCEL,
        _POLL_N,
};

/* The place of one process. */
struct seat {
        const struct pool_work *work;
        unsigned number; /* of the worker, in its pool */
        int pidfd;       /* -EBADF: not running */
        struct worker_group group;
        uint32_t n_ready; /* its row's, when it was started */
};

/* What the zygote itself has. */
struct nursery {
        struct runner *runner;
        struct pool *const *pools;
        unsigned n_pools;
        struct seat *seats;
        struct pollfd *polls;
        unsigned n;
        int fd; /* to the runner, which tells of calls that were left, and closes it at the end */
        bool limited;
        bool over;              /* no process is started any more */
        unsigned n_refused_now; /* attempts since one was started */
        unsigned n_fruitless;   /* processes in a row that died before they could take a call */
        uint64_t retry_ns;      /* 0: none is missing */
        struct oom_watch oom;
};

struct zygote {
        struct runner *runner;
        int fd;
        int pidfd;
};

static struct pool_row *row_of(const struct seat *seat)
{
        return &seat->work->rows[seat->number];
}

static void tell_loop(const struct pool_work *work)
{
        static const uint64_t one = 1;

        /* Fails only when the counter is full: then the loop is told already. */
        if (write(work->event_fd, &one, sizeof(one)) < 0)
                return;
}

static __attribute__((noreturn)) void process_main(struct nursery *nursery, const struct seat *seat)
{
        /* The runner must see the zygote's end, even before this process's. */
        close(nursery->fd);
        worker_prefer_for_oom();
        pool_worker_run(seat->work, seat->number);
        _exit(EXIT_SUCCESS);
}

static int seat_start(struct nursery *nursery, struct seat *seat)
{
        pid_t pid;
        int r;

        /* If a process was refused, its group exists already. */
        if (seat->group.fd < 0) {
                r = worker_group_make(&seat->group, nursery->runner, nursery->limited);
                if (r < 0)
                        return r;
                nursery->limited = true;
        }
        seat->n_ready = row_of(seat)->n_ready;
        pid = worker_fork(seat->group.fd, &seat->pidfd);
        if (pid == 0)
                process_main(nursery, seat);
        if (pid < 0)
                return (int)pid;
        nursery->n_refused_now = 0;
        return 0;
}

static bool has_process(const struct nursery *nursery, const struct pool_work *work)
{
        for (unsigned i = 0; i < nursery->n; ++i)
                if (nursery->seats[i].work == work && nursery->seats[i].pidfd >= 0)
                        return true;
        return false;
}

static void give_up(const struct pool_work *work, int error)
{
        __atomic_store_n(&work->trays->broken, error, __ATOMIC_RELEASE);
        tell_loop(work);
}

/* Returns the error of a pool that has no process at all, or 0. */
static int fill(struct nursery *nursery, bool first)
{
        int error = 0, r = 0;

        nursery->retry_ns = 0;
        for (unsigned i = 0; i < nursery->n && error == 0; ++i)
                if (nursery->seats[i].pidfd < 0) {
                        error = seat_start(nursery, &nursery->seats[i]);
                        if (error < 0 && nursery->n_refused_now++ == 0)
                                log_error("cannot start process %u of %u of the executor: %s. Ask "
                                          "for fewer with --executor-workers, or raise the limit "
                                          "of tasks (--pids-max, TasksMax= of the service)",
                                          i + 1, nursery->n, strerrordesc_np(-error));
                }
        if (error == 0)
                return 0;
        nursery->retry_ns = now_monotonic() +
                            MIN(RETRY_MIN_NS << MIN(nursery->n_refused_now, 10U), RETRY_MAX_NS);
        for (unsigned i = 0; i < nursery->n_pools; ++i) {
                const struct pool_work *work = pool_work(nursery->pools[i]);

                if (has_process(nursery, work))
                        continue;
                r = error;
                if (!first && nursery->n_refused_now > RETRIES_MAX)
                        give_up(work, error);
        }
        return r;
}

/* A process that dies again and again before it does anything would be replaced for ever. */
static void count_death(struct nursery *nursery, const struct seat *seat)
{
        nursery->n_fruitless =
                row_of(seat)->n_ready != seat->n_ready ? 0 : nursery->n_fruitless + 1;
        if (nursery->n_fruitless < FRUITLESS_MAX || nursery->over)
                return;
        log_error("cannot go on with the executor: %d processes in a row died before they took a "
                  "call; see whether there is memory enough for one, and who kills them",
                  FRUITLESS_MAX);
        nursery->over = true;
        for (unsigned i = 0; i < nursery->n_pools; ++i)
                give_up(pool_work(nursery->pools[i]), -ECHILD);
}

/* Its call fails before its place is filled again, so the failure does not wait for that. */
static void seat_ended(struct nursery *nursery, struct seat *seat)
{
        struct runner *runner = nursery->runner;
        struct worker_death death = { PPP_REASON_CANCELLED, 0 };
        struct rusage usage = {};
        siginfo_t info = {};

        if (worker_reap(runner, seat->pidfd, &info, &usage) < 0)
                _exit(EXIT_FAILURE);
        seat->pidfd = close_fd(seat->pidfd);
        if (!nursery->over)
                death = worker_death_of(&info, &seat->group, &nursery->oom, runner);
        runner->workers_rss_peak += (uint64_t)usage.ru_maxrss * 1024;
        worker_group_remove(&seat->group, runner);
        ++row_of(seat)->n_died;
        trays_bury(seat->work->trays, seat->number, death.reason, death.detail);
        tell_loop(seat->work);
        if (!nursery->over)
                count_death(nursery, seat);
}

static void kill_some(struct nursery *nursery, bool all)
{
        for (unsigned i = 0; i < nursery->n; ++i) {
                const struct seat *seat = &nursery->seats[i];

                if (seat->pidfd >= 0 && (all || trays_has_sealed(seat->work->trays, seat->number)))
                        worker_kill(seat->pidfd);
        }
}

/* False: the runner wants no more of it. */
static bool hear_runner(struct nursery *nursery)
{
        char bytes[64];
        ssize_t n = recv(nursery->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n == 0)
                return false;
        kill_some(nursery, false);
        return true;
}

/* For poll(2), rounded up. */
static int wait_ms(const struct nursery *nursery)
{
        uint64_t now = now_monotonic();

        if (!nursery->retry_ns || nursery->over)
                return -1;
        return nursery->retry_ns <= now ? 0 : (int)((nursery->retry_ns - now) / NSEC_PER_MSEC + 1);
}

static void poll_all(struct nursery *nursery)
{
        struct pollfd *polls = nursery->polls;

        polls[POLL_RUNNER] = (struct pollfd){ nursery->fd, POLLIN, 0 };
        polls[POLL_CANCEL] = (struct pollfd){
                nursery->over ? -EBADF : nursery->runner->cancel_fd,
                POLLIN,
                0,
        };
        for (unsigned i = 0; i < nursery->n; ++i)
                polls[_POLL_N + i] = (struct pollfd){ nursery->seats[i].pidfd, POLLIN, 0 };
        if (poll(polls, _POLL_N + nursery->n, wait_ms(nursery)) >= 0)
                return;
        if (errno != EINTR) {
                log_error("cannot wait for the processes of the executor: %m");
                _exit(EXIT_FAILURE);
        }
        for (unsigned i = 0; i < _POLL_N + nursery->n; ++i)
                polls[i].revents = 0;
}

/* The runner's loops see a cancellation themselves, and wait for no process then. */
static void watch(struct nursery *nursery)
{
        for (;;) {
                bool died = false;

                poll_all(nursery);
                if (nursery->polls[POLL_CANCEL].revents) {
                        nursery->over = true;
                        kill_some(nursery, true);
                }
                if (nursery->polls[POLL_RUNNER].revents && !hear_runner(nursery))
                        return;
                for (unsigned i = 0; i < nursery->n; ++i)
                        if (nursery->polls[_POLL_N + i].revents) {
                                seat_ended(nursery, &nursery->seats[i]);
                                died = true;
                        }
                if (!nursery->over &&
                    (died || (nursery->retry_ns && nursery->retry_ns <= now_monotonic())))
                        (void)fill(nursery, false);
        }
}

/* The first worker of each pool comes before the second of any. */
static int take_seats(struct nursery *nursery)
{
        unsigned n_most = 0;

        for (unsigned i = 0; i < nursery->n_pools; ++i) {
                nursery->n += pool_work(nursery->pools[i])->n_workers;
                n_most = MAX(n_most, pool_work(nursery->pools[i])->n_workers);
        }
        nursery->seats = calloc(nursery->n, sizeof(*nursery->seats));
        nursery->polls = calloc(_POLL_N + nursery->n, sizeof(*nursery->polls));
        if (!nursery->seats || !nursery->polls)
                return -ENOMEM;
        nursery->n = 0;
        for (unsigned number = 0; number < n_most; ++number)
                for (unsigned i = 0; i < nursery->n_pools; ++i)
                        if (number < pool_work(nursery->pools[i])->n_workers)
                                nursery->seats[nursery->n++] = (struct seat){
                                        .work = pool_work(nursery->pools[i]),
                                        .number = number,
                                        .pidfd = -EBADF,
                                        .group = WORKER_GROUP_NULL,
                                };
        return 0;
}

static __attribute__((noreturn)) void zygote_main(struct nursery *nursery)
{
        int r;

        (void)prctl(PR_SET_NAME, "pppd-zygote");
        oom_watch_init(&nursery->oom, nursery->runner->cgroup_fd);
        r = take_seats(nursery);
        if (r < 0)
                log_error("cannot start the processes of the executor: out of memory");
        else
                r = fill(nursery, true);
        if (write(nursery->fd, &r, sizeof(r)) == sizeof(r) && r == 0)
                watch(nursery);
        nursery->over = true;
        kill_some(nursery, true);
        for (unsigned i = 0; nursery->seats && i < nursery->n; ++i)
                if (nursery->seats[i].pidfd >= 0)
                        seat_ended(nursery, &nursery->seats[i]);
                else
                        worker_group_remove(&nursery->seats[i].group, nursery->runner);
        _exit(EXIT_SUCCESS);
}

/* Waits for the first processes. */
static int hear_zygote(const struct zygote *zygote)
{
        int r;

        if (read_all(zygote->fd, &r, sizeof(r)) == sizeof(r))
                return r;
        log_error("cannot start the processes of the executor: the process that starts them died; "
                  "see whether there is memory enough for it, and who kills it");
        return -ECHILD;
}

static int zygote_fork(struct zygote *zygote, struct nursery *nursery)
{
        int ends[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;
        zygote->fd = ends[0];
        nursery->fd = ends[1];
        pid = worker_fork(-EBADF, &zygote->pidfd);
        if (pid == 0) {
                close(zygote->fd);
                zygote_main(nursery);
        }
        close(nursery->fd);
        return (int)MIN(pid, 0);
}

int zygote_start(struct runner *runner, struct pool *const *pools, unsigned n, struct zygote **ret)
{
        struct nursery nursery = { .runner = runner, .pools = pools, .n_pools = n };
        struct zygote *zygote = malloc(sizeof(*zygote));
        int r;

        if (!zygote) {
                log_error("cannot start the processes of the executor: out of memory");
                return -ENOMEM;
        }
        *zygote = (struct zygote){ runner, -EBADF, -EBADF };
        r = zygote_fork(zygote, &nursery);
        if (r < 0)
                log_error("cannot start the process that starts those of the executor: %s; raise "
                          "the limit of tasks (--pids-max, TasksMax= of the service) or of open "
                          "files (LimitNOFILE=)",
                          strerrordesc_np(-r));
        else
                r = hear_zygote(zygote);
        if (r < 0) {
                zygote_stop(zygote);
                return r;
        }
        for (unsigned i = 0; i < n; ++i)
                pool_attend(pools[i], zygote->fd);
        *ret = zygote;
        return 0;
}

struct zygote *zygote_stop(struct zygote *zygote)
{
        struct rusage usage;
        siginfo_t info;

        if (!zygote)
                return NULL;
        close_fd(zygote->fd);
        if (zygote->pidfd >= 0)
                (void)worker_reap(zygote->runner, zygote->pidfd, &info, &usage);
        close_fd(zygote->pidfd);
        free(zygote);
        return NULL;
}
