#include "daemon/supervisor/helpers/helper.h"

#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/base/log.h"
#include "lib/patience.h"

#define RESTART_USEC UINT64_C(100000)   /* after the first death; twice that after the next, … */
#define RESTART_MAX  UINT64_C(60000000) /* … and at most this */
#define SOON_NS      (5 * NSEC_PER_SEC)

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);
static void on_ended(struct child *child);

void helper_init(struct helper *helper, const struct helper_kind *kind, sd_event *event,
                 struct groups *groups, const char *group)
{
        static const struct child_ops ops = { .ended = on_ended };

        *helper = (struct helper)HELPER_NULL;
        helper->kind = kind;
        helper->groups = groups;
        helper->group = group;
        child_init(&helper->child, event, &ops, kind->what);
}

static void arm(struct helper *helper, uint64_t usec)
{
        int r;

        r = event_loop_arm(helper->child.event, &helper->timer_source, usec, on_timer, helper);
        if (r < 0)
                supervisor_log(LOG_WARNING, "cannot arm the timer of %s: %s", helper->kind->what,
                               strerror(-r));
}

static void disarm(struct helper *helper)
{
        if (helper->timer_source)
                (void)sd_event_source_set_enabled(helper->timer_source, SD_EVENT_OFF);
}

static int start(struct helper *helper, struct fault *fault)
{
        _cleanup_close_ int leaf_fd = -EBADF;
        struct child *child = &helper->child;
        int r;

        assert(helper->state == HELPER_DOWN);
        if (groups_exist(helper->groups)) {
                r = child_group_make(helper->groups->fd, helper->group, helper->kind->leaf,
                                     &child->group, &leaf_fd);
                if (r < 0)
                        return fault_errno(fault, r,
                                           groups_hint_gone(helper->groups) ?: failure_advice(r),
                                           "make the cgroup %s of %s", helper->group,
                                           helper->kind->what);
        }
        r = helper->kind->start(helper, leaf_fd >= 0 ? leaf_fd : child->group.fd, fault);
        if (r < 0) {
                child_clear(child);
                return r;
        }
        helper->state = HELPER_RUNS;
        helper->started_ns = now_monotonic();
        disarm(helper);
        return 0;
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

static void log_death(const struct helper *helper)
{
        const struct child *child = &helper->child;
        const char *what = helper->kind->what;

        if (child->start_attempted)
                supervisor_log(LOG_ERR, "cannot %s %s: %s; %s", child->start_attempted, what,
                               strerror(-child->start_error), failure_advice(child->start_error));
        else if (!child->has_status)
                supervisor_log(LOG_WARNING, "%s (process %d) ended", what, child->pid);
        else
                supervisor_log(LOG_WARNING, "%s (process %d) ended: %s %d%s", what, child->pid,
                               child->status.si_code == CLD_EXITED ? "exit status" : "signal",
                               child->status.si_status,
                               helper->refused && helper->kind->may_refuse
                                       ? "; it is tried again in a minute, or at a reload"
                                       : "");
}

/* Nobody has asked it to end. */
static void note_death(struct helper *helper)
{
        log_death(helper);
        if (now_monotonic() - helper->started_ns >= SOON_NS)
                helper->n_deaths = 0;
        ++helper->n_deaths;
}

static void on_ended(struct child *child)
{
        struct helper *helper = container_of(child, struct helper, child);

        helper->refused = child->has_status && child->status.si_code == CLD_EXITED &&
                          child->status.si_status == EXIT_FAILURE;
        if (helper->state == HELPER_STOPPING)
                helper->n_deaths = 0;
        else
                note_death(helper);
        child_clear(child);
        helper->state = HELPER_DOWN;
        disarm(helper);
        if (helper->n_users == 0) {
                if (helper->kind->down)
                        helper->kind->down(helper);
        } else if (helper->n_deaths > 0) {
                try_again(helper);
        } else {
                restart(helper);
        }
}

void helper_stop(struct helper *helper)
{
        if (helper->state == HELPER_DOWN && helper->n_users > 0) {
                /* It waits to be tried again. */
                helper->n_deaths = 0;
                restart(helper);
                return;
        }
        if (helper->state != HELPER_RUNS)
                return;
        helper->state = HELPER_STOPPING;
        disarm(helper);
        child_stop(&helper->child);
}

/* It has been idle for long enough, or is to be started again. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct helper *helper = userdata;

        if (helper->state == HELPER_RUNS && helper->n_users == 0)
                helper_stop(helper);
        else if (helper->state == HELPER_DOWN && helper->n_users > 0)
                restart(helper);
        return 0;
}

int helper_find(struct helper *helper)
{
        struct child *child = &helper->child;
        bool populated = false;
        int pidfd = -EBADF, r;
        pid_t pid = 0;

        if (!groups_exist(helper->groups))
                return 0;
        r = child_group_open(helper->groups->fd, helper->group, &child->group);
        if (r < 0)
                return r == -ENOENT || r == -ENODEV ? 0 : r;
        r = cgroup_events_read(child->group.events_fd, &populated, NULL);
        if (r >= 0 && !populated) {
                child_clear(child);
                return 0;
        }
        if (r >= 0)
                r = child_group_open_process(&child->group, helper->kind->leaf, &pid, &pidfd);
        if (r < 0 && r != -ESRCH) {
                child_leave(child);
                return r;
        }
        /* If the process is gone, what it left in its group is of no use to anybody. */
        helper->state = pidfd < 0 ? HELPER_STOPPING : HELPER_RUNS;
        helper->started_ns = now_monotonic();
        r = child_adopt(child, pid, pidfd);
        if (r < 0 || helper->state != HELPER_RUNS)
                return r;
        supervisor_log(LOG_INFO, "took over %s (process %d)", helper->kind->what, pid);
        arm(helper, patience(helper->kind->idle_usec));
        return 1;
}

void helper_deinit(struct helper *helper)
{
        if (!helper->kind)
                return;
        sd_event_source_disable_unref(helper->timer_source);
        child_force(&helper->child);
        child_clear(&helper->child);
        *helper = (struct helper)HELPER_NULL;
}

void helper_leave(struct helper *helper)
{
        if (!helper->kind || !child_group_exists(&helper->child.group))
                return;
        sd_event_source_disable_unref(helper->timer_source);
        child_leave(&helper->child);
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
                arm(helper, patience(helper->kind->idle_usec));
        } else if (helper->state == HELPER_DOWN) {
                disarm(helper);
                if (helper->kind->down)
                        helper->kind->down(helper);
        }
}
