#include "daemon/runner/node/keeper.h"

#include <signal.h>
#include <sys/eventfd.h>

#include "daemon/runner/levels/descriptors.h"
#include "daemon/runner/main.h"
#include "lib/runner-abi.h"

#define REPLY_MAX (UINT64_C(16) << 20)
#define LEAVE_NS  (7 * NSEC_PER_SEC) /* more than a runner needs once its own time is over */

/* The eventfd that the handler of SIGTERM writes to. */
static int stop_fd = -EBADF;

static void on_sigterm(int number)
{
        static const uint64_t one = 1;
        int saved = errno;

        /* Fails only when the counter is full: then it is readable already. */
        if (write(stop_fd, &one, sizeof(one)) < 0)
                errno = saved;
        errno = saved;
}

static int install_signals(struct keeper *keeper)
{
        struct sigaction action = { .sa_handler = on_sigterm };

        keeper->stop_fd = stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (keeper->stop_fd < 0)
                return -errno;
        if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
                return -errno;
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

static void on_up(struct redis_link *link)
{
        struct keeper *keeper = container_of(link, struct keeper, link);

        keeper->clock_known = false;
        keeper_beat(keeper);
}

static void on_down(struct redis_link *link)
{
        struct keeper *keeper = container_of(link, struct keeper, link);

        keeper->reading = false;
}

static const struct redis_link_ops keeper_ops = { on_up, on_down };

static void stop(struct keeper *keeper)
{
        if (keeper->stopping)
                return;
        keeper->stopping = true;
        keeper->stop_ns =
                now_monotonic() + machines_leave_ns(keeper->terms.machines.heartbeat_ns) + LEAVE_NS;
        keeper_say_goodbye(keeper);
        owners_leave(keeper);
}

static int turn(struct keeper *keeper)
{
        struct pollfd polls[2];
        uint64_t until;
        int r;

        if (now_monotonic() >= keeper->beat_ns)
                keeper_beat(keeper);
        keeper_listen(keeper);
        until = MIN(owners_turn(keeper), keeper->beat_ns);
        if (keeper->stopping)
                until = MIN(until, keeper->stop_ns);
        polls[0] = (struct pollfd){ keeper->stop_fd, POLLIN, 0 };
        polls[1] = (struct pollfd){ keeper->events_fd, POLLIN, 0 };
        r = redis_link_turn(&keeper->link, polls + keeper->stopping, 2 - keeper->stopping, until);
        if (r < 0) {
                log_error("cannot serve as a node: %s", keeper->link.why);
                return r;
        }
        if (!keeper->stopping && polls[0].revents)
                stop(keeper);
        if (keeper->stopping && now_monotonic() >= keeper->stop_ns)
                owners_kill(keeper);
        return polls[1].revents ? owners_look(keeper) : 0;
}

static bool is_over(const struct keeper *keeper)
{
        return keeper->stopping && keeper->n_places == 0 &&
               (!keeper->link.is_up || redis_unsent(&keeper->link.commands) == 0);
}

static int keeper_init(struct keeper *keeper)
{
        int r;

        keeper->cgroup_fd = faccessat(RUNNER_FD_CGROUP, "cgroup.procs", F_OK, 0) == 0
                                    ? RUNNER_FD_CGROUP
                                    : -EBADF;
        keeper->stop_fd = keeper->events_fd = -EBADF;
        descriptors_raise_limit();
        r = node_terms_read(&keeper->terms);
        if (r < 0)
                return r;
        r = install_signals(keeper);
        if (r >= 0)
                r = keeper_make_instance(keeper);
        if (r >= 0)
                r = owners_init(keeper);
        if (r < 0) {
                log_error("cannot serve as a node: %s", strerrordesc_np(-r));
                return r;
        }
        redis_link_init(&keeper->link, &keeper->terms.machines, &keeper_ops);
        keeper->link.commands.reply_max = keeper->link.reader.reply_max = REPLY_MAX;
        return 0;
}

static void keeper_deinit(struct keeper *keeper)
{
        redis_link_deinit(&keeper->link);
        owners_deinit(keeper);
        node_terms_deinit(&keeper->terms);
        close_fd(keeper->stop_fd);
}

int node_main(void)
{
        struct keeper keeper = { .link = { .commands = REDIS_NULL, .reader = REDIS_NULL } };
        int r = keeper_init(&keeper);

        while (r >= 0 && !is_over(&keeper))
                r = turn(&keeper);
        keeper_deinit(&keeper);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
