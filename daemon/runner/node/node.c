#include "daemon/runner/node/node.h"

#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "daemon/runner/node/beat.h"
#include "daemon/runner/node/level-process.h"
#include "daemon/runner/node/look.h"
#include "lib/patience.h"

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

/* The chunks of this runner's owner, in this process and in that of the level. */
struct node {
        struct runner *runner;     /* shared with the level's process */
        struct owner_share *share; /* with the keeper */
        struct streams streams;
        struct feed *feed;
        struct node_jobs jobs;
        struct chunks chunks;
        struct look look;
        struct beat beat;
        struct level_process level;
        int stop_fd;      /* eventfd, written by SIGTERM and SIGUSR1 */
        uint64_t busy_ns; /* when it last had a chunk in hand */
        bool stopping, cancelled;
        uint64_t stop_ns; /* when what runs is cancelled */
};

/* Callbacks of the parts */

static void on_level_born(struct level_process *level)
{
        struct node *node = container_of(level, struct node, level);

        redis_forget(&node->streams.link.commands);
        redis_forget(&node->streams.link.reader);
}

static void on_job_dropped(struct node_jobs *jobs, struct node_job *job)
{
        chunks_drop_job(&container_of(jobs, struct node, jobs)->chunks, job);
}

static void beat(struct node *node)
{
        __atomic_store_n(&node->share->load, chunks_load(&node->chunks), __ATOMIC_RELAXED);
        if (beat_send(&node->beat) && !node->stopping)
                node->look.due = true;
}

/* Tasks in progress died with the level, unless it was told to leave. */
static int level_died(struct node *node)
{
        struct ppp_record death;
        int r = level_process_reap(&node->level, &death);

        if (r < 0)
                return r;
        chunks_end_all(&node->chunks, node->stopping ? NULL : &death);
        return node->stopping ? 0 : level_process_restart(&node->level);
}

static void on_up(struct redis_link *link)
{
        struct node *node = container_of(link, struct node, streams.link);

        node->chunks.burst = 1;
        node->chunks.retry_ns = 0;
        streams_make_groups(&node->streams);
        beat(node);
}

static void on_down(struct redis_link *link)
{
        struct node *node = container_of(link, struct node, streams.link);

        chunks_unsend(&node->chunks);
}

static const struct redis_link_ops node_ops = { on_up, on_down };

/* Leaving */

static void stop(struct node *node)
{
        node->stopping = true;
        node->stop_ns = now_monotonic() + machines_leave_ns(node->streams.machines.heartbeat_ns);
        chunks_close(&node->chunks);
        feed_close(node->feed);
}

/* Whether its owner has no chunks any more, or others wait for this runner to end. */
static bool is_needed(struct node *node)
{
        uint64_t now = now_monotonic(), since;

        if (node->chunks.n > 0)
                node->busy_ns = now;
        if (node->chunks.n > 0 || node->look.n > 0)
                return true;
        if (__atomic_load_n(&node->share->yields, __ATOMIC_RELAXED))
                return false;
        since = MAX(node->busy_ns, __atomic_load_n(&node->share->wanted_ns, __ATOMIC_RELAXED));
        return since > now || now - since < patience(MACHINES_WANTED_NS);
}

static void hear(struct node *node)
{
        uint64_t n;

        /* Whatever woke us, everything is checked. */
        if (read(node->stop_fd, &n, sizeof(n)) < 0)
                assert(errno == EAGAIN || errno == EINTR);
}

static void tell_keeper(const struct node *node)
{
        const struct ppp_results_header *header = &node->feed->header;
        struct owner_share *share = node->share;

        __atomic_store_n(&share->n_held, node->chunks.n, __ATOMIC_RELAXED);
        if (node->chunks.n == 0)
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
        node->stop_ns = now_monotonic() + patience(LEVEL_LEAVE_NS);
}

/* Whether it is over. */
static bool leave(struct node *node)
{
        uint64_t now = now_monotonic();

        if (level_process_runs(&node->level) && now >= node->stop_ns) {
                if (!node->cancelled)
                        cancel(node);
                else
                        kill(node->level.pid, SIGKILL);
        }
        if (level_process_runs(&node->level))
                return false;
        if (node->chunks.n == 0 && !node->chunks.reading &&
            redis_unsent(&node->streams.link.commands) == 0)
                return true;
        /*
         * Without Redis nobody can be told: the chunks that we hold will be claimed because we are
         * silent.
         */
        return now >= node->stop_ns + patience(LEVEL_LEAVE_NS) ||
               (!node->streams.link.is_up && now >= node->stop_ns);
}

static int turn(struct node *node)
{
        struct chunks *chunks = &node->chunks;
        struct pollfd polls[3];
        uint64_t until;
        int r;

        if (now_monotonic() >= node->beat.due_ns)
                beat(node);
        chunks->yields = __atomic_load_n(&node->share->yields, __ATOMIC_RELAXED);
        node_jobs_check(&node->jobs);
        chunks_collect(chunks);
        chunks_feed(chunks);
        chunks_send(chunks);
        if (!look_first(&node->look))
                chunks_read(chunks);
        tell_keeper(node);

        until = node->stopping ? MIN(node->stop_ns, node->beat.due_ns) : node->beat.due_ns;
        if (node->jobs.first && node->streams.link.is_up)
                until = MIN(until, node->jobs.check_ns);
        if (node->stopping && !level_process_runs(&node->level))
                until = now_monotonic() + REDIS_LINK_RETRY_MIN_NS;
        if (chunks->retry_ns)
                until = MIN(until, chunks->retry_ns);
        if (node->streams.groups_ns > now_monotonic())
                until = MIN(until, node->streams.groups_ns);
        if (!feed_may_sleep(node->feed))
                until = 0;
        polls[0] = (struct pollfd){ node->feed->ended_fd, POLLIN, 0 };
        polls[1] = (struct pollfd){ node->stop_fd, POLLIN, 0 };
        polls[2] = (struct pollfd){ node->level.lives_fd, POLLIN, 0 };
        r = redis_link_turn(&node->streams.link, polls, ARRAY_SIZE(polls), until);
        feed_awake(node->feed);
        if (r < 0) {
                log_error("cannot serve as a node: %s", node->streams.link.why);
                return r;
        }
        if (polls[1].revents)
                hear(node);
        if (!node->stopping && (told_to_leave || !is_needed(node)))
                stop(node);
        return polls[2].revents && level_process_runs(&node->level) ? level_died(node) : 0;
}

static int serve(struct node *node)
{
        int r;

        r = level_process_start(&node->level);
        while (r >= 0) {
                if (node->stopping && leave(node))
                        break;
                r = turn(node);
        }
        redis_flush(&node->streams.link.commands);
        if (level_process_runs(&node->level))
                kill(node->level.pid, SIGKILL);
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
        /* The spec and the URL belong to the terms: this process never frees them. */
        runner->spec = terms->spec;
        runner->demo_url = terms->demo_url;
        runner->cgroup_fd = cgroup_fd;
        runner->cancel_fd = -EBADF;
        node->level.pidfd = node->level.lives_fd = node->stop_fd = -EBADF;
        node->busy_ns = now_monotonic();
        r = install_signals(node);
        if (r >= 0)
                r = feed_new(level_has(runner->spec.level, LEVEL_LOOPS) ? runner->spec.loops : 0,
                             &node->feed);
        if (r < 0)
                return r;
        runner->source = &node->feed->source;
        runner->results.header = &node->feed->header;
        r = streams_init(&node->streams, &terms->machines, owner, terms->workloads, &node_ops);
        node->streams.link.quiet = true;
        node->jobs = (struct node_jobs){ .streams = &node->streams, .dropped = on_job_dropped };
        chunks_init(&node->chunks, &node->streams, &node->jobs, node->feed, &runner->spec);
        node->look = (struct look){ .streams = &node->streams, .chunks = &node->chunks };
        node->beat = (struct beat){ .streams = &node->streams, .chunks = &node->chunks };
        node->level.runner = runner;
        node->level.feed = node->feed;
        node->level.born = on_level_born;
        return r;
}

int node_serve(const struct node_terms *terms, char *owner, struct owner_share *share,
               int cgroup_fd)
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
        streams_deinit(&node->streams);
        chunks_free(&node->chunks);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
