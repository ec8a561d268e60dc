#include "daemon/supervisor/child/child.h"

#include <poll.h>
#include <sys/pidfd.h>

#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/child/child-exit.h"

#define EXIT_MSEC 1000

void child_init(struct child *child, sd_event *event, const struct child_ops *ops, const char *name)
{
        *child = (struct child)CHILD_NULL;
        child->event = event;
        child->ops = ops;
        child->name = name;
        child->grace_usec = CHILD_GRACE_USEC;
}

static void set_state(struct child *child, enum child_state state)
{
        static const unsigned followers[] = {
                [CHILD_NONE] = 1U << CHILD_RUNS,
                [CHILD_RUNS] = 1U << CHILD_CLEARS,
                [CHILD_CLEARS] = 1U << CHILD_ENDED,
                [CHILD_ENDED] = 1U << CHILD_NONE,
        };

        assert(followers[child->state] & 1U << state);
        child->state = state;
}

static bool is_populated(const struct child *child)
{
        bool populated = false;
        int r;

        if (!child_group_exists(&child->group))
                return false;
        r = cgroup_events_read(child->group.events_fd, &populated, NULL);
        /* Then the exit of the process has to do, as where there is no group. */
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot read cgroup.events of %s: %s", child->name,
                               strerror(-r));
        return populated;
}

/* By a descriptor of its own: reading the one that is watched would swallow its event. */
bool child_is_over(const struct child *child)
{
        _cleanup_close_ int events_fd = -EBADF;
        bool populated;

        if (child->state != CHILD_CLEARS || !child_group_exists(&child->group))
                return !child_is_up(child);
        return cgroup_events_open(child->group.fd, &events_fd) >= 0 &&
               cgroup_events_read(events_fd, &populated, NULL) >= 0 && !populated;
}

static void unwatch(struct child *child)
{
        child->group_source = sd_event_source_disable_unref(child->group_source);
        child->exit_source = sd_event_source_disable_unref(child->exit_source);
        child->begin_source = sd_event_source_disable_unref(child->begin_source);
        child->kill_source = sd_event_source_disable_unref(child->kill_source);
        child->freeze_source = sd_event_source_disable_unref(child->freeze_source);
}

static int on_kill(sd_event_source *source, uint64_t usec, void *userdata)
{
        child_kill(userdata);
        return 0;
}

static void kill_after(struct child *child, uint64_t usec)
{
        if (child->killed || (child->kill_source && usec > 0))
                return;
        if (usec == 0 ||
            sd_event_add_time_relative(child->event, &child->kill_source, CLOCK_MONOTONIC, usec,
                                       1000, on_kill, child) < 0)
                child_kill(child);
}

/* The child may be gone after this. */
static void look(struct child *child)
{
        /* Read in any case: until then, the event stays pending. */
        bool populated = is_populated(child);

        if (child_is_up(child))
                return;
        if (populated) {
                kill_after(child, child->rest_usec);
                return;
        }
        unwatch(child);
        set_state(child, CHILD_ENDED);
        child->ops->ended(child);
}

static int on_group_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        look(userdata);
        return 0;
}

static void begin(struct child *child)
{
        if (child->complaint_fd < 0)
                return;
        child->begin_source = sd_event_source_disable_unref(child->begin_source);
        child->start_error = spawn_hear(child->complaint_fd, &child->start_attempted);
        child->complaint_fd = -EBADF;
        if (child->ops->begun)
                child->ops->begun(child);
}

static int on_begin(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        begin(userdata);
        return 0;
}

/* -EAGAIN: its status is not to be had yet. Of a process that is no child of ours there is none. */
static int reap(struct child *child)
{
        siginfo_t status = { .si_code = CLD_KILLED };
        int r;

        if (!child->is_ours)
                return 0;
        r = child_exit_take(child->pidfd, &status, &child->usage);
        if (r == -EAGAIN)
                return r;
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot learn how %s (process %d) ended: %s",
                               child->name, child->pid, strerror(-r));
        child->has_usage = r >= 0;
        child->has_status = true;
        child->status = status;
        return 0;
}

static int on_exit_of_process(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct child *child = userdata;

        /* Until it is reaped, its process ID and its nice value are its own. */
        begin(child);
        if (reap(child) < 0)
                return 0;
        child->exit_source = sd_event_source_disable_unref(child->exit_source);
        set_state(child, CHILD_CLEARS);
        look(child);
        return 0;
}

static int watch(struct child *child)
{
        int r = 0;

        if (child_group_exists(&child->group))
                r = sd_event_add_io(child->event, &child->group_source, child->group.events_fd,
                                    EPOLLPRI, on_group_event, child);
        if (r >= 0 && child->pidfd >= 0)
                r = child_exit_watch(child->event, &child->exit_source, child->pidfd,
                                     on_exit_of_process, child);
        if (r >= 0 && child->complaint_fd >= 0)
                r = sd_event_add_io(child->event, &child->begin_source, child->complaint_fd,
                                    EPOLLIN, on_begin, child);
        return r;
}

int child_start(struct child *child, const struct spawn *spawn, const char **ret_attempted)
{
        uint64_t started_ns = now_monotonic();
        struct spawned spawned;
        int r;

        r = spawn_child(spawn, &spawned, ret_attempted);
        if (r < 0)
                return r;
        set_state(child, CHILD_RUNS);
        child->is_ours = true;
        child->started_ns = started_ns;
        child->pid = spawned.pid;
        child->pidfd = spawned.pidfd;
        child->complaint_fd = spawned.complaint_fd;
        r = watch(child);
        if (r < 0) {
                *ret_attempted = "watch";
                child_force(child);
        }
        return r;
}

int child_adopt(struct child *child, pid_t pid, int pidfd_consumed)
{
        int r;

        set_state(child, CHILD_RUNS);
        child->pid = pid;
        child->pidfd = pidfd_consumed;
        r = watch(child);
        if (child->pidfd < 0) {
                set_state(child, CHILD_CLEARS);
                kill_after(child, child->rest_usec);
        }
        return r;
}

static int send_signal(const struct child *child, int signal)
{
        if (!child_is_up(child))
                return -ESRCH;
        return pidfd_send_signal(child->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int child_ask_to_end(struct child *child)
{
        int r = send_signal(child, SIGTERM), thawed;

        if (r < 0 && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot send SIGTERM to %s (process %d): %s",
                               child->name, child->pid, strerror(-r));
        /* A frozen process takes SIGKILL, and acts on nothing else. */
        thawed = child->frozen ? child_freeze(child, false) : 0;
        if (thawed < 0 && thawed != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot let %s continue so that it can end: %s",
                               child->name, strerror(-thawed));
        return r;
}

void child_stop(struct child *child)
{
        /* If nobody is there to take the signal, what is left in the group has to be killed. */
        kill_after(child, child_ask_to_end(child) < 0 ? 0 : child->grace_usec);
}

void child_kill(struct child *child)
{
        int r;

        if (child->state == CHILD_NONE || child->state == CHILD_ENDED)
                return;
        child->killed = true;
        /* The process may not be in its group yet. */
        r = send_signal(child, SIGKILL);
        if (child_group_exists(&child->group))
                r = cgroup_kill(child->group.fd);
        if (r < 0 && r != -ESRCH && r != -ENOENT)
                supervisor_log(LOG_ERR, "cannot kill %s (process %d): %s", child->name, child->pid,
                               strerror(-r));
}

void child_force(struct child *child)
{
        struct pollfd pollfd = { .fd = child->pidfd, .events = POLLIN };

        if (child->state == CHILD_NONE || child->state == CHILD_ENDED)
                return;
        child_kill(child);
        unwatch(child);
        if (child_is_up(child)) {
                (void)poll(&pollfd, 1, EXIT_MSEC);
                (void)reap(child);
                set_state(child, CHILD_CLEARS);
        }
        if (child_group_exists(&child->group))
                (void)child_group_kill(&child->group);
        set_state(child, CHILD_ENDED);
}

/* Forgets the process. The settings of child_init() and of the owner stay. */
static void reset(struct child *child)
{
        struct child fresh = CHILD_NULL;

        fresh.event = child->event;
        fresh.ops = child->ops;
        fresh.name = child->name;
        fresh.grace_usec = child->grace_usec;
        fresh.rest_usec = child->rest_usec;
        *child = fresh;
}

void child_leave(struct child *child)
{
        unwatch(child);
        process_tree_deinit(&child->tree);
        close_fd(child->pidfd);
        close_fd(child->complaint_fd);
        child_group_deinit(&child->group);
        reset(child);
}

void child_clear(struct child *child)
{
        int r;

        assert(child->state == CHILD_NONE || child->state == CHILD_ENDED);
        if (child_group_exists(&child->group)) {
                r = child_group_remove(&child->group);
                if (r < 0)
                        supervisor_log(LOG_WARNING, "cannot remove the cgroup of %s: %s",
                                       child->name, strerror(-r));
        }
        child_leave(child);
}
