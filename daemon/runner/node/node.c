#include "daemon/runner/node/node.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/runner/levels/worker-group.h"
#include "lib/cgroup.h"

#define FRUITLESS_MAX  5                /* deaths of the level in a row with no task ended */
#define LEVEL_LEAVE_NS (5 * NSEC_PER_SEC)

static const uint64_t one = 1;

/* The handler of signals touches these and nothing else. */
static int stop_fd = -EBADF;
static volatile sig_atomic_t told_to_leave;

/* SIGUSR1 only wakes: the keeper has written to the share. */
static void on_signal(int number)
{
        int saved = errno;

        if (number != SIGUSR1)
                told_to_leave = 1;

        /* Fails only when the counter is full: then it is readable already. */
        if (write(stop_fd, &one, sizeof(one)) < 0)
                errno = saved;
        errno = saved;
}

/* The level's process */

static __attribute__((noreturn)) void level_main(struct node *node, pid_t parent)
{
        struct runner *runner = node->runner;
        int r;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);
        /* Its parent hears of SIGTERM and closes the feed. */
        signal(SIGTERM, SIG_IGN);
        redis_forget(&node->link.commands);
        redis_forget(&node->link.reader);
        /* At processes its workers say that, and one of them is enough. */
        if (!level_has(runner->spec.level, LEVEL_WORKER_GROUPS))
                worker_prefer_for_oom();
        runner->measures = json_object();
        runner->unavailable = json_array();
        r = level_run_of(runner->spec.level)(runner);
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static uint64_t tasks_ended(const struct node *node)
{
        return __atomic_load_n(&node->feed->header.n_done, __ATOMIC_RELAXED) +
               __atomic_load_n(&node->feed->header.n_failed, __ATOMIC_RELAXED);
}

static uint64_t oom_kills(const struct node *node)
{
        uint64_t n;

        return node->runner->cgroup_fd >= 0 &&
               cgroup_read_keyed(node->runner->cgroup_fd, "memory.events", "oom_kill", &n) >= 0 ? n : 0;
}

static int level_start(struct node *node)
{
        pid_t parent = getpid(), pid;
        int ends[2];

        feed_restart(node->feed);
        node->level_ended = tasks_ended(node);
        node->level_oom_kills = oom_kills(node);
        if (pipe2(ends, O_CLOEXEC) < 0) {
                log_error("cannot start the level's process: %m");
                return -errno;
        }
        pid = fork();
        if (pid == 0)
                level_main(node, parent);
        close(ends[1]);
        node->level_lives_fd = ends[0];
        if (pid < 0) {
                log_error("cannot start the level's process: %m");
                return -errno;
        }
        node->level_pid = pid;
        node->level_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (node->level_pidfd < 0) {
                log_error("cannot watch the level's process: %m");
                return -errno;
        }
        return 0;
}

/*
 * Reaps it. What was in progress died with it, unless it was told to leave. Its worker processes are killed
 * with it but do not end with it, and one that ran on would write to what is given out again: they all hold
 * the other end of level_lives_fd, so that this is called when the last of them has gone.
 */
static int level_died(struct node *node)
{
        struct ppp_record death = { .state = PPP_STATE_FAILED, .reason = PPP_REASON_EXIT };
        siginfo_t info = {};

        if (waitid(P_PIDFD, (id_t)node->level_pidfd, &info, WEXITED) < 0)
                return -errno;
        node->level_pidfd = close_fd(node->level_pidfd);
        node->level_lives_fd = close_fd(node->level_lives_fd);
        worker_groups_sweep(node->runner);
        death.end_ns = now_monotonic();
        death.detail = info.si_status;
        if (info.si_code != CLD_EXITED)
                death.reason = PPP_REASON_SIGNAL;
        if (info.si_code != CLD_EXITED && info.si_status == SIGKILL &&
            oom_kills(node) > node->level_oom_kills)
                death.reason = PPP_REASON_OOM_KILLED;
        chunks_end_all(node, node->stopping ? NULL : &death);
        if (node->stopping)
                return 0;
        node->n_fruitless = tasks_ended(node) == node->level_ended ? node->n_fruitless + 1 : 0;
        /* One that left before it did anything has said itself why it cannot run. */
        if (node->n_fruitless >= (info.si_code == CLD_EXITED ? 1 : FRUITLESS_MAX)) {
                log_error("cannot serve as a node: the level %s does not run here",
                          level_name(node->runner->spec.level));
                return -ECHILD;
        }
        if (info.si_code == CLD_EXITED)
                log_error("the level's process left with status %d; what was in progress has failed, and "
                          "it is started again", info.si_status);
        else
                log_error("the level's process was ended by signal %d (%s); what was in progress has "
                          "failed, and it is started again", info.si_status,
                          sigdescr_np(info.si_status) ?: "unknown");
        return level_start(node);
}

/* Coming and going of Redis */

static void on_up(struct redis_link *link)
{
        struct node *node = container_of(link, struct node, link);

        node->burst = 1;
        node->retry_ns = 0;
        node_groups_make(node);
        node_beat(node);
}

static void on_down(struct redis_link *link)
{
        struct node *node = container_of(link, struct node, link);

        chunks_unsend(node);
}

static const struct redis_link_ops node_ops = { on_up, on_down };

/* Leaving */

static void stop(struct node *node)
{
        node->stopping = true;
        node->stop_ns = now_monotonic() + machines_leave_ns(node->machines.heartbeat_ns);
        chunks_give_back(node);
        feed_close(node->feed);
}

/* Its owner has no chunks any more, or others wait for this runner to end. */
static bool is_needed(struct node *node)
{
        uint64_t now = now_monotonic(), since;

        if (node->n_held > 0)
                node->busy_ns = now;
        if (node->n_held > 0 || node->n_looks > 0)
                return true;
        if (__atomic_load_n(&node->share->yields, __ATOMIC_RELAXED))
                return false;
        since = MAX(node->busy_ns, __atomic_load_n(&node->share->wanted_ns, __ATOMIC_RELAXED));
        return since > now || now - since < MACHINES_WANTED_NS;
}

static void hear(struct node *node)
{
        uint64_t n;

        /* Whatever it was, it is looked at in any case. */
        if (read(node->stop_fd, &n, sizeof(n)) < 0)
                assert(errno == EAGAIN || errno == EINTR);
}

static void tell_keeper(const struct node *node)
{
        const struct ppp_results_header *header = &node->feed->header;
        struct owner_share *share = node->share;

        __atomic_store_n(&share->n_held, node->n_held, __ATOMIC_RELAXED);
        if (node->n_held == 0)
                __atomic_store_n(&share->load, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&share->n_done, __atomic_load_n(&header->n_done, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
        __atomic_store_n(&share->n_failed, __atomic_load_n(&header->n_failed, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
}

static void cancel(struct node *node)
{
        node->cancelled = true;
        __atomic_store_n(&node->runner->cancelled, true, __ATOMIC_RELAXED);
        if (write(node->runner->cancel_fd, &one, sizeof(one)) < 0)
                log_error("cannot end what runs: %m");
        node->stop_ns = now_monotonic() + LEVEL_LEAVE_NS;
}

/* Whether it is over. */
static bool leave(struct node *node)
{
        uint64_t now = now_monotonic();

        if (node->level_pidfd >= 0 && now >= node->stop_ns) {
                if (!node->cancelled)
                        cancel(node);
                else
                        kill(node->level_pid, SIGKILL);
        }
        if (node->level_pidfd >= 0)
                return false;
        if (node->n_held == 0 && !node->reading && redis_unsent(&node->link.commands) == 0)
                return true;
        /* Without Redis nobody can be told: what we hold will be claimed for our silence. */
        return now >= node->stop_ns + LEVEL_LEAVE_NS ||
               (!node->link.is_up && now >= node->stop_ns);
}

static int turn(struct node *node)
{
        uint64_t until;
        struct pollfd polls[3];
        int r;

        if (now_monotonic() >= node->beat_ns)
                node_beat(node);
        node_jobs_check(node);
        chunks_collect(node);
        chunks_feed(node);
        chunks_send(node);
        chunks_read(node);
        tell_keeper(node);

        until = node->stopping ? MIN(node->stop_ns, node->beat_ns) : node->beat_ns;
        if (node->jobs && node->link.is_up)
                until = MIN(until, node->look_ns);
        if (node->stopping && node->level_pidfd < 0)
                until = now_monotonic() + REDIS_LINK_RETRY_MIN_NS;
        if (node->retry_ns)
                until = MIN(until, node->retry_ns);
        if (node->groups_ns > now_monotonic())
                until = MIN(until, node->groups_ns);
        if (!feed_may_sleep(node->feed))
                until = 0;
        polls[0] = (struct pollfd){ node->feed->ended_fd, POLLIN, 0 };
        polls[1] = (struct pollfd){ node->stop_fd, POLLIN, 0 };
        polls[2] = (struct pollfd){ node->level_lives_fd, POLLIN, 0 };
        r = redis_link_turn(&node->link, polls, ARRAY_SIZE(polls), until);
        feed_awake(node->feed);
        if (r < 0) {
                log_error("cannot serve as a node: %s", node->link.why);
                return r;
        }
        if (polls[1].revents)
                hear(node);
        if (!node->stopping && (told_to_leave || !is_needed(node)))
                stop(node);
        return polls[2].revents && node->level_pidfd >= 0 ? level_died(node) : 0;
}

static int serve(struct node *node)
{
        int r;

        r = level_start(node);
        while (r >= 0) {
                if (node->stopping && leave(node))
                        break;
                r = turn(node);
        }
        redis_flush(&node->link.commands);
        if (node->level_pidfd >= 0)
                kill(node->level_pid, SIGKILL);
        return r;
}

static int install_signals(struct node *node)
{
        struct sigaction action = { .sa_handler = on_signal };

        node->stop_fd = stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        node->runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (node->stop_fd < 0 || node->runner->cancel_fd < 0)
                return -errno;
        if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0 ||
            sigaction(SIGUSR1, &action, NULL) < 0)
                return -errno;
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

static int node_init(struct node *node, const struct node_terms *terms, char *owner, int cgroup_fd)
{
        struct runner *runner;
        int r;

        runner = mmap(NULL, sizeof(*runner), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (runner == MAP_FAILED)
                return -errno;
        node->runner = runner;
        /* What the terms own stays theirs: this process never frees it. */
        runner->spec = terms->spec;
        runner->demo_url = terms->demo_url;
        runner->cgroup_fd = cgroup_fd;
        runner->cancel_fd = -EBADF;
        node->machines = terms->machines;
        node->machines.owner = owner;
        node->workloads = terms->workloads;
        node->level_pidfd = node->level_lives_fd = node->stop_fd = -EBADF;
        node->burst = 1;
        node->rate_ns = node->busy_ns = now_monotonic();
        r = install_signals(node);
        if (r >= 0)
                r = feed_new(level_has(runner->spec.level, LEVEL_LOOPS) ? runner->spec.loops : 0, &node->feed);
        if (r < 0)
                return r;
        runner->source = &node->feed->source;
        runner->results.header = &node->feed->header;
        redis_link_init(&node->link, &node->machines, &node_ops);
        node->link.quiet = true;
        return 0;
}

int node_serve(const struct node_terms *terms, char *owner, struct owner_share *share, int cgroup_fd)
{
        struct node *node = calloc(1, sizeof(*node));
        sigset_t none;
        int r = node ? 0 : -ENOMEM;

        if (r >= 0) {
                node->share = share;
                r = node_init(node, terms, owner, cgroup_fd);
        }
        if (r < 0) {
                log_error("cannot run the chunks of %s: %s", owner, strerrordesc_np(-r));
                return EXIT_FAILURE;
        }
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        r = serve(node);
        tell_keeper(node);
        redis_link_deinit(&node->link);
        chunks_free(node);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
