#include "daemon/supervisor/base/event-loop.h"
#include "daemon/supervisor/base/log.h"
#include "daemon/supervisor/child/child.h"

/* Between two looks whether all of its processes stand still; most often one is enough. */
#define LOOK_USEC UINT64_C(10000)

/* A look at one of them takes some 15 us, and others wait for their turn meanwhile. */
#define SLICE_NS (2 * NSEC_PER_MSEC)

static int on_look(sd_event_source *source, uint64_t usec, void *userdata);

static int stop_tree(struct child *child)
{
        int r;

        if (!child_is_up(child))
                return -ESRCH;
        r = process_tree_stop(&child->tree, child->pid, child->pidfd, SLICE_NS);
        if (r <= 0)
                return r;
        return event_loop_arm(child->event, &child->freeze_source, LOOK_USEC, on_look, child);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct child *child = userdata;
        int r;

        r = stop_tree(child);
        /* The exit of its process is told elsewhere. */
        if (r < 0 && r != -ESRCH)
                supervisor_log(LOG_WARNING, "cannot see whether all of %s has stopped: %s",
                               child->name, strerror(-r));
        return 0;
}

static int continue_tree(struct child *child)
{
        child->freeze_source = sd_event_source_disable_unref(child->freeze_source);
        process_tree_deinit(&child->tree);
        return child_is_up(child) ? process_tree_continue(child->pid, child->pidfd) : -ESRCH;
}

int child_freeze(struct child *child, bool freeze)
{
        int r;

        /* On its way to its program it has copies of all our descriptors. */
        if (freeze && child->complaint_fd >= 0)
                return 0;
        if (child_group_exists(&child->group))
                r = cgroup_freeze(child->group.fd, freeze);
        else
                r = freeze ? stop_tree(child) : continue_tree(child);
        if (r >= 0) {
                child->frozen = freeze;
        } else if (freeze && !child_group_exists(&child->group)) {
                /* Half of it stopped is neither. */
                (void)continue_tree(child);
                child->frozen = false;
        }
        return r;
}

bool child_is_frozen(const struct child *child)
{
        uint64_t frozen;

        if (child_group_exists(&child->group))
                return cgroup_read_u64(child->group.fd, "cgroup.freeze", &frozen) >= 0 && frozen;
        return child->pid > 0 && process_is_stopped(child->pid);
}
