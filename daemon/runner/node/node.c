#include "daemon/runner/node/node.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/runner/main.h"
#include "lib/limits.h"
#include "lib/runner-abi.h"

#define FRUITLESS_MAX  5                /* deaths of the level in a row with no task ended */
#define LEVEL_LEAVE_NS (5 * NSEC_PER_SEC)

static const uint64_t one = 1;

/* What SIGTERM's handler may touch. */
static int stop_fd = -EBADF;

static void on_sigterm(int number)
{
        int saved = errno;

        /* Fails only when the counter is full: then it is readable already. */
        if (write(stop_fd, &one, sizeof(one)) < 0)
                errno = saved;
        errno = saved;
}

/* The spec */

static int refuse(const char *why)
{
        log_error("cannot serve as a node: %s", why);
        return -EBADMSG;
}

static int read_workloads(struct node *node, json_t *list)
{
        json_t *name;
        size_t i;

        json_array_foreach(list, i, name) {
                enum workload_id workload;

                if (!json_is_string(name) || workload_from_name(json_string_value(name), &workload) < 0)
                        return refuse("\"workloads\" names one that this version does not have");
                node->workloads |= 1U << workload;
        }
        return node->workloads ? 0 : refuse("\"workloads\" names none that it may run");
}

/* The part of a job's spec that a node has too. */
static int read_level(struct node *node, const char *level, json_int_t workers, json_int_t loops,
                      json_t *worker_limits)
{
        struct spec_error error = {};
        cpu_set_t cpus;
        unsigned n_cpus = 1;
        json_t *json;
        int r;

        json = json_pack("{s:s, s:s, s:o*, s:o*, s:O*}", "level", level, "workload", "words",
                         "workers", workers > 0 ? json_integer(workers) : NULL,
                         "loops", loops > 0 ? json_integer(loops) : NULL,
                         "worker_limits", worker_limits);
        r = json ? spec_from_json(json, &node->runner->spec, &error) : -ENOMEM;
        json_decref(json);
        if (r < 0) {
                log_error("cannot serve as a node: %s: %s", error.field, error.why);
                return r;
        }
        if (node->runner->spec.level == LEVEL_SERIAL || node->runner->spec.level == LEVEL_MACHINES)
                return refuse("\"level\" is none of threads, processes and async");
        if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
                n_cpus = (unsigned)CPU_COUNT(&cpus);
        spec_fill(&node->runner->spec, n_cpus, UINT64_MAX);
        return 0;
}

static int read_node(struct node *node, json_t *json)
{
        json_t *machines, *workloads, *worker_limits = NULL, *demo_url = NULL;
        json_int_t workers = 0, loops = 0;
        const char *level, *why = "";
        int r;

        if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:{s:o, s:o, s:s, s?I, s?I, s?o}, s?o}", "node",
                           "machines", &machines, "workloads", &workloads, "level", &level,
                           "workers", &workers, "loops", &loops, "worker_limits", &worker_limits,
                           "demo_url", &demo_url) < 0)
                return refuse("its spec is not an object \"node\" of machines, workloads, level, "
                              "workers, loops and worker_limits");
        r = machines_from_json(machines, &node->machines, &why);
        if (r < 0)
                return r == -EBADMSG ? refuse(why) : r;
        r = read_workloads(node, workloads);
        if (r >= 0)
                r = read_level(node, level, workers, loops, worker_limits);
        if (r >= 0 && json_is_string(demo_url) &&
            !(node->runner->demo_url = strdup(json_string_value(demo_url))))
                r = -ENOMEM;
        return r;
}

int runner_read_json(json_t **ret)
{
        _cleanup_free_ char *text = NULL;
        int r = read_file_at(AT_FDCWD, "/proc/self/fd/3" /* RUNNER_FD_SPEC */, &text, NULL);

        if (r < 0) {
                log_error("cannot read the spec: %s", strerrordesc_np(-r));
                return r;
        }
        *ret = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (!*ret) {
                log_error("cannot take the spec: it is no JSON");
                return -EBADMSG;
        }
        return 0;
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
        redis_forget(&node->engine.commands);
        redis_forget(&node->engine.reader);
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

static int level_start(struct node *node)
{
        pid_t parent = getpid(), pid;

        feed_restart(node->feed);
        node->level_ended = tasks_ended(node);
        pid = fork();
        if (pid < 0) {
                log_error("cannot start the level's process: %m");
                return -errno;
        }
        if (pid == 0)
                level_main(node, parent);
        node->level_pid = pid;
        node->level_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (node->level_pidfd < 0) {
                log_error("cannot watch the level's process: %m");
                return -errno;
        }
        return 0;
}

/* Reaps it. What was in progress died with it, unless it was told to leave. */
static int level_died(struct node *node)
{
        struct ppp_record death = { .state = PPP_STATE_FAILED, .reason = PPP_REASON_EXIT };
        siginfo_t info = {};

        if (waitid(P_PIDFD, (id_t)node->level_pidfd, &info, WEXITED) < 0)
                return -errno;
        node->level_pidfd = close_fd(node->level_pidfd);
        death.end_ns = now_monotonic();
        death.detail = info.si_status;
        if (info.si_code != CLD_EXITED)
                death.reason = PPP_REASON_SIGNAL;
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

static void on_up(struct engine *engine)
{
        struct node *node = container_of(engine, struct node, engine);

        node->burst = 1;
        node->retry_ns = 0;
        groups_make(node);
        beat(node);
}

static void on_down(struct engine *engine)
{
        struct node *node = container_of(engine, struct node, engine);

        chunks_unsend(node);
}

static const struct engine_ops node_ops = { on_up, on_down };

/* Leaving */

static void stop(struct node *node)
{
        uint64_t n;

        if (read(node->stop_fd, &n, sizeof(n)) < 0 || node->stopping)
                return;
        node->stopping = true;
        node->stop_ns = now_monotonic() + machines_leave_ns(node->machines.heartbeat_ns);
        chunks_give_back(node);
        feed_close(node->feed);
        beat_say_goodbye(node);
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
        if (node->n_held == 0 && !node->reading && redis_unsent(&node->engine.commands) == 0)
                return true;
        /* Without Redis nobody can be told: what we hold will be claimed for our silence. */
        return now >= node->stop_ns + LEVEL_LEAVE_NS ||
               (!node->engine.is_up && now >= node->stop_ns);
}

static int turn(struct node *node)
{
        uint64_t until;
        struct pollfd polls[3];
        int r;

        if (now_monotonic() >= node->beat_ns)
                beat(node);
        jobs_check(node);
        chunks_collect(node);
        chunks_feed(node);
        chunks_send(node);
        chunks_read(node);

        until = node->stopping ? MIN(node->stop_ns, node->beat_ns) : node->beat_ns;
        if (node->jobs && node->engine.is_up)
                until = MIN(until, node->look_ns);
        if (node->stopping && node->level_pidfd < 0)
                until = now_monotonic() + ENGINE_RETRY_MIN_NS;
        if (node->retry_ns)
                until = MIN(until, node->retry_ns);
        if (node->groups_ns > now_monotonic())
                until = MIN(until, node->groups_ns);
        if (!feed_may_sleep(node->feed))
                until = 0;
        polls[0] = (struct pollfd){ node->feed->engine_fd, POLLIN, 0 };
        polls[1] = (struct pollfd){ node->stop_fd, POLLIN, 0 };
        polls[2] = (struct pollfd){ node->level_pidfd, POLLIN, 0 };
        r = engine_turn(&node->engine, polls, ARRAY_SIZE(polls), until);
        feed_awake(node->feed);
        if (r < 0) {
                log_error("cannot serve as a node: %s", node->engine.why);
                return r;
        }
        if (polls[1].revents)
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
        redis_flush(&node->engine.commands);
        if (node->level_pidfd >= 0)
                kill(node->level_pid, SIGKILL);
        return r;
}

static int make_instance(struct node *node)
{
        uint64_t random[2];

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                return -errno;
        snprintf(node->instance, sizeof(node->instance), "%016llx%016llx",
                 (unsigned long long)random[0], (unsigned long long)random[1]);
        return 0;
}

static int install_signals(struct node *node)
{
        struct sigaction action = { .sa_handler = on_sigterm };

        node->stop_fd = stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        node->runner->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (node->stop_fd < 0 || node->runner->cancel_fd < 0)
                return -errno;
        if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
                return -errno;
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

static int node_init(struct node *node)
{
        json_t *json;
        int r;

        node->level_pidfd = node->stop_fd = -EBADF;
        node->burst = 1;
        node->rate_ns = now_monotonic();
        r = runner_read_json(&json);
        if (r < 0)
                return r;
        r = read_node(node, json);
        json_decref(json);
        if (r < 0)
                return r;
        r = install_signals(node);
        if (r >= 0)
                r = make_instance(node);
        if (r >= 0)
                r = feed_new(node->runner->spec.level == LEVEL_ASYNC ? node->runner->spec.loops : 0,
                             &node->feed);
        if (r < 0) {
                log_error("cannot serve as a node: %s", strerrordesc_np(-r));
                return r;
        }
        node->runner->feed = node->feed;
        node->runner->results.header = &node->feed->header;
        engine_init(&node->engine, &node->machines, &node_ops);
        return 0;
}

static void node_deinit(struct node *node)
{
        engine_deinit(&node->engine);
        chunks_free(node);
        feed_free(node->feed);
        machines_deinit(&node->machines);
        close_fd(node->stop_fd);
        close_fd(node->level_pidfd);
}

int node_main(void)
{
        struct node *node = calloc(1, sizeof(*node));
        struct runner *runner;
        int r;

        runner = mmap(NULL, sizeof(*runner), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (!node || runner == MAP_FAILED) {
                log_error("cannot start: out of memory");
                return EXIT_FAILURE;
        }
        runner->cgroup_fd = faccessat(RUNNER_FD_CGROUP, "cgroup.procs", F_OK, 0) == 0 ?
                            RUNNER_FD_CGROUP : -EBADF;
        runner->cancel_fd = -EBADF;
        node->runner = runner;
        raise_descriptor_limit();
        r = node_init(node);
        if (r >= 0)
                r = serve(node);
        node_deinit(node);
        free(runner->demo_url);
        spec_deinit(&runner->spec);
        free(node);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
