#include "daemon/supervisor/helpers/helper.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/child/child-exit.h"

#define GRACE_USEC   UINT64_C(2000000)
#define RESTART_USEC UINT64_C(100000)   /* after the first death; twice that after the next, … */
#define RESTART_MAX  UINT64_C(60000000) /* … and at most this */
#define SOON_NS      (5 * NSEC_PER_SEC)
#define EXIT_MSEC    1000

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);
static int on_exit_of_helper(sd_event_source *source, int fd, uint32_t revents, void *userdata);

void helper_init(struct helper *helper, const struct helper_kind *kind, sd_event *event,
                 struct groups *groups, const char *group)
{
        *helper = (struct helper)HELPER_NULL;
        helper->kind = kind;
        helper->event = event;
        helper->groups = groups;
        helper->group = group;
        helper->grace_usec = GRACE_USEC;
}

static void arm(struct helper *helper, uint64_t usec)
{
        int r;

        if (!helper->timer_source) {
                r = sd_event_add_time_relative(helper->event, &helper->timer_source,
                                               CLOCK_MONOTONIC, usec, 1000, on_timer, helper);
        } else {
                r = sd_event_source_set_time_relative(helper->timer_source, usec);
                if (r >= 0)
                        r = sd_event_source_set_enabled(helper->timer_source, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot arm the timer of %s: %s", helper->kind->what,
                               strerror(-r));
}

static void disarm(struct helper *helper)
{
        if (helper->timer_source)
                (void)sd_event_source_set_enabled(helper->timer_source, SD_EVENT_OFF);
}

static int make_groups(struct helper *helper, int *ret_fd)
{
        unsigned enabled;
        int r;

        *ret_fd = -EBADF;
        if (!groups_exist(helper->groups))
                return 0;
        r = cgroup_remove(helper->groups->fd, helper->group);
        if (r >= 0)
                r = cgroup_make(helper->groups->fd, helper->group, &helper->group_fd);
        if (r >= 0 && helper->kind->leaf && helper->groups->controllers)
                r = cgroup_enable_controllers(helper->group_fd, &enabled);
        if (r >= 0 && helper->kind->leaf)
                r = cgroup_make(helper->group_fd, helper->kind->leaf, ret_fd);
        return r;
}

static int watch(struct helper *helper)
{
        return child_exit_watch(helper->event, &helper->exit_source, helper->pidfd,
                                on_exit_of_helper, helper);
}

/* It is down: what is left of it is its group, which may be gone by now. */
static void drop_group(struct helper *helper)
{
        int r;

        helper->clear_source = sd_event_source_disable_unref(helper->clear_source);
        helper->events_fd = close_fd(helper->events_fd);
        if (helper->group_fd < 0)
                return;
        helper->group_fd = close_fd(helper->group_fd);
        r = cgroup_remove(helper->groups->fd, helper->group);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot remove the cgroup %s/%s: %s",
                               helper->groups->path, helper->group, strerror(-r));
}

/* Nobody would see it end. */
static void give_up(struct helper *helper)
{
        helper_kill(helper);
        child_exit_force(helper->pidfd);
        helper->pidfd = close_fd(helper->pidfd);
        helper->complaint_fd = close_fd(helper->complaint_fd);
        helper->state = HELPER_DOWN;
        drop_group(helper);
}

static int start(struct helper *helper, struct fault *fault)
{
        _cleanup_close_ int leaf_fd = -EBADF;
        struct spawned child;
        int r;

        assert(helper->state == HELPER_DOWN);
        r = make_groups(helper, &leaf_fd);
        if (r < 0) {
                drop_group(helper);
                return fault_errno(fault, r, groups_hint_gone(helper->groups) ?: failure_advice(r),
                                   "make the cgroup %s of %s", helper->group, helper->kind->what);
        }
        r = helper->kind->start(helper, leaf_fd >= 0 ? leaf_fd : helper->group_fd, &child, fault);
        if (r < 0) {
                drop_group(helper);
                return r;
        }
        helper->pid = child.pid;
        helper->pidfd = child.pidfd;
        helper->complaint_fd = child.complaint_fd;
        helper->state = HELPER_RUNS;
        helper->started_ns = now_monotonic();
        disarm(helper);
        r = watch(helper);
        if (r >= 0)
                return 0;
        (void)fault_errno(fault, r, failure_advice(r), "watch %s", helper->kind->what);
        give_up(helper);
        return r;
}

static uint64_t restart_delay(const struct helper *helper)
{
        uint64_t usec = RESTART_USEC << MIN(helper->n_deaths - 1, 10U);

        return helper->refused && helper->kind->may_refuse ? RESTART_MAX : MIN(usec, RESTART_MAX);
}

/* It died, or it could not be started again, though somebody needs it. */
static void try_again(struct helper *helper)
{
        const struct helper_kind *kind = helper->kind;

        if (kind->deaths_max == 0 || helper->n_deaths < kind->deaths_max) {
                arm(helper, restart_delay(helper));
                return;
        }
        supervisor_log(LOG_ERR,
                       "%s died %u times right after its start; it is not started again until "
                       "something new needs it",
                       kind->what, helper->n_deaths);
        if (kind->down)
                kind->down(helper);
}

static void restart(struct helper *helper)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (start(helper, &fault) < 0) {
                supervisor_log(LOG_ERR, "cannot %s: %s; %s", fault.attempted, fault.why,
                               fault.advice);
                ++helper->n_deaths;
                try_again(helper);
        }
}

static void become_down(struct helper *helper)
{
        bool died = helper->n_deaths > 0;

        drop_group(helper);
        helper->state = HELPER_DOWN;
        disarm(helper);
        if (helper->n_users == 0) {
                if (helper->kind->down)
                        helper->kind->down(helper);
        } else if (died) {
                try_again(helper);
        } else {
                restart(helper);
        }
}

static int on_group_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct helper *helper = userdata;
        bool populated;

        if (cgroup_events_read(helper->events_fd, &populated, NULL) < 0 || !populated)
                become_down(helper);
        return 0;
}

static int kill_rest(struct helper *helper, bool *ret_populated)
{
        int r;

        *ret_populated = false;
        if (helper->group_fd < 0)
                return 0;
        r = cgroup_events_open(helper->group_fd, &helper->events_fd);
        if (r >= 0)
                r = cgroup_kill(helper->group_fd);
        return r < 0 ? r : cgroup_events_read(helper->events_fd, ret_populated, NULL);
}

/* The process is gone; what it left in its group goes too. */
static void begin_clearing(struct helper *helper)
{
        bool populated;
        int r;

        helper->state = HELPER_CLEARING;
        disarm(helper);
        r = kill_rest(helper, &populated);
        if (r >= 0 && populated)
                r = sd_event_add_io(helper->event, &helper->clear_source, helper->events_fd,
                                    EPOLLPRI, on_group_event, helper);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot clear the cgroup %s of %s: %s", helper->group,
                               helper->kind->what, strerror(-r));
        if (r < 0 || !populated)
                become_down(helper);
}

/* @attempted: what it could not do on its way to its program, for @error; NULL: it got there. */
static void log_death(const struct helper *helper, const siginfo_t *si, const char *attempted,
                      int error)
{
        bool refused = helper->refused && helper->kind->may_refuse;

        if (attempted)
                supervisor_log(LOG_ERR, "cannot %s %s: %s; %s", attempted, helper->kind->what,
                               strerror(-error), failure_advice(error));
        else if (si->si_pid == 0)
                supervisor_log(LOG_WARNING, "%s (process %d) ended", helper->kind->what,
                               helper->pid);
        else
                supervisor_log(LOG_WARNING, "%s (process %d) ended: %s %d%s", helper->kind->what,
                               helper->pid, si->si_code == CLD_EXITED ? "exit status" : "signal",
                               si->si_status,
                               refused ? "; it is tried again in a minute, or at a reload" : "");
}

/* @si is empty for one that a former supervisor started: that is no child of ours. */
static void note_exit(struct helper *helper, const siginfo_t *si)
{
        const char *attempted = NULL;
        int r = spawn_hear(helper->complaint_fd, &attempted);

        helper->complaint_fd = -EBADF;
        helper->exit_source = sd_event_source_disable_unref(helper->exit_source);
        helper->pidfd = close_fd(helper->pidfd);
        helper->refused = si->si_code == CLD_EXITED && si->si_status == EXIT_FAILURE;
        if (helper->state == HELPER_STOPPING) {
                helper->n_deaths = 0;
                return;
        }
        log_death(helper, si, attempted, r);
        helper->n_deaths =
                now_monotonic() - helper->started_ns < SOON_NS ? helper->n_deaths + 1 : 1;
}

static int on_exit_of_helper(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct helper *helper = userdata;
        siginfo_t si = { 0 };

        if (child_exit_take(helper->pidfd, &si, NULL) == -EAGAIN)
                return 0;
        note_exit(helper, &si);
        begin_clearing(helper);
        return 0;
}

void helper_kill(struct helper *helper)
{
        int r = 0;

        /* It may not be in its group yet. */
        if (helper->pidfd >= 0 && pidfd_send_signal(helper->pidfd, SIGKILL, NULL, 0) < 0)
                r = -errno;
        if (helper->group_fd >= 0)
                r = cgroup_kill(helper->group_fd);
        if (r < 0 && r != -ENOENT && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot kill %s (process %d): %s", helper->kind->what,
                               helper->pid, strerror(-r));
}

void helper_stop(struct helper *helper)
{
        if (helper->state == HELPER_DOWN && helper->n_users > 0) {
                /* It waits to be tried again. */
                helper->n_deaths = 0;
                restart(helper);
                return;
        }
        if (helper->state == HELPER_CLEARING)
                helper->n_deaths = 0; /* asked for anew, it need not wait when its group is clear */
        if (helper->state != HELPER_RUNS)
                return;
        helper->state = HELPER_STOPPING;
        if (pidfd_send_signal(helper->pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
                supervisor_log(LOG_WARNING, "cannot stop %s (process %d): %s", helper->kind->what,
                               helper->pid, strerror(errno));
        arm(helper, helper->grace_usec);
}

/*
 * One timer, three meanings: it was idle long enough, it did not stop in time, it is to be started.
 */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct helper *helper = userdata;

        if (helper->state == HELPER_STOPPING)
                helper_kill(helper);
        else if (helper->state == HELPER_RUNS && helper->n_users == 0)
                helper_stop(helper);
        else if (helper->state == HELPER_DOWN && helper->n_users > 0)
                restart(helper);
        return 0;
}

/* What is in its group though the process is not is of no use to anybody. */
static int find_rest(struct helper *helper)
{
        int r;

        r = cgroup_remove(helper->groups->fd, helper->group);
        if (r != -EBUSY)
                return r;
        r = cgroup_make(helper->groups->fd, helper->group, &helper->group_fd);
        if (r >= 0)
                begin_clearing(helper);
        return r;
}

int helper_find(struct helper *helper)
{
        const char *leaf = helper->kind->leaf;
        char path[64];
        int r;

        if (!groups_exist(helper->groups))
                return 0;
        snprintf(path, sizeof(path), "%s%s%s", helper->group, leaf ? "/" : "", leaf ?: "");
        r = group_open_process(helper->groups->fd, path, &helper->pid, &helper->pidfd);
        if (r == -ENOENT || r == -ENODEV || r == -ESRCH)
                return find_rest(helper);
        if (r < 0)
                return r;
        r = cgroup_make(helper->groups->fd, helper->group, &helper->group_fd);
        if (r < 0) {
                helper->pidfd = close_fd(helper->pidfd);
                return r;
        }
        helper->state = HELPER_RUNS;
        helper->started_ns = now_monotonic();
        r = watch(helper);
        if (r < 0)
                return r;
        supervisor_log(LOG_INFO, "took over %s (process %d)", helper->kind->what, helper->pid);
        arm(helper, helper->kind->idle_usec);
        return 1;
}

static void await(int fd, short events)
{
        struct pollfd pollfd = { .fd = fd, .events = events };

        if (fd >= 0)
                (void)poll(&pollfd, 1, EXIT_MSEC);
}

void helper_deinit(struct helper *helper)
{
        siginfo_t si = { 0 };
        bool populated;

        if (!helper->kind)
                return;
        helper->timer_source = sd_event_source_disable_unref(helper->timer_source);
        helper->n_users = 0;
        if (helper->state == HELPER_RUNS || helper->state == HELPER_STOPPING) {
                helper->state = HELPER_STOPPING;
                helper_kill(helper);
                await(helper->pidfd, POLLIN);
                (void)child_exit_take(helper->pidfd, &si, NULL);
                note_exit(helper, &si);
                if (kill_rest(helper, &populated) >= 0 && populated)
                        await(helper->events_fd, POLLPRI);
        } else if (helper->state == HELPER_CLEARING) {
                await(helper->events_fd, POLLPRI);
        }
        drop_group(helper);
        *helper = (struct helper)HELPER_NULL;
}

void helper_leave(struct helper *helper)
{
        if (!helper->kind || helper->group_fd < 0)
                return;
        sd_event_source_disable_unref(helper->timer_source);
        sd_event_source_disable_unref(helper->exit_source);
        sd_event_source_disable_unref(helper->clear_source);
        close_fd(helper->pidfd);
        close_fd(helper->complaint_fd);
        close_fd(helper->events_fd);
        close_fd(helper->group_fd);
        *helper = (struct helper)HELPER_NULL;
}

int helper_acquire(struct helper *helper, struct fault *fault)
{
        int r;

        if (helper->state == HELPER_DOWN) {
                helper->n_deaths = 0;
                r = start(helper, fault);
                /* It may have taken things for itself before it failed. */
                if (r < 0 && helper->n_users == 0 && helper->kind->down)
                        helper->kind->down(helper);
                if (r < 0)
                        return r;
        }
        /* One that is being stopped is started again when it has ended. */
        if (helper->state == HELPER_RUNS)
                disarm(helper);
        ++helper->n_users;
        return 0;
}

void helper_release(struct helper *helper)
{
        assert(helper->n_users > 0);
        if (--helper->n_users > 0)
                return;
        if (helper->state == HELPER_RUNS) {
                arm(helper, helper->kind->idle_usec);
        } else if (helper->state == HELPER_DOWN) {
                disarm(helper);
                if (helper->kind->down)
                        helper->kind->down(helper);
        }
}
