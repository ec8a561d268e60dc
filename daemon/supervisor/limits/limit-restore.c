#include "daemon/supervisor/limits/limit-restore.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "daemon/supervisor/limits/limit-set.h"
#include "lib/job-groups.h"

static int complain(struct fault *fault, int r, const char *field, const char *attempted)
{
        return fault_refuse(fault, r, field,
                            "pppctl doctor shows which controllers the daemon may use",
                            "cannot %s: %s", attempted, strerror(-r));
}

static bool is_gone(int fd, const char *name)
{
        return faccessat(fd, name, F_OK, 0) < 0 && errno == ENOENT;
}

/* The groups of one kind that the runner makes beside its own. */
struct kind {
        const char *prefix, *field;
        int (*limit)(int fd, const struct spec *spec, struct fault *fault);
};

static const struct kind workers = { "worker-", "spec.worker_limits", worker_group_limit };
static const struct kind tasks = { "task-", "spec.task_limits", task_group_limit };

/*
 * Workers and tasks may come and go meanwhile. The limits of one that is started from now on are
 * set by the runner, which finds the controllers enabled again.
 */
static int restore_one(int fd, const char *name, const struct kind *kind, const struct spec *spec,
                       struct fault *fault)
{
        _cleanup_close_ int group_fd = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        if (group_fd < 0)
                return errno == ENOENT
                               ? 0
                               : complain(fault, -errno, kind->field, "open a cgroup of the job");
        r = kind->limit(group_fd, spec, fault);
        return r < 0 && is_gone(fd, name) ? 0 : r;
}

static int restore_each(const struct kind *kind, const struct spec *spec,
                        const struct child_group *group, struct fault *fault)
{
        struct dirent **entries;
        int n, r = 0;

        n = scandirat(group->fd, ".", &entries, NULL, NULL);
        if (n < 0)
                return complain(fault, -errno, kind->field, "list the cgroups of the job");
        for (int i = 0; i < n; ++i) {
                if (r >= 0 && strncmp(entries[i]->d_name, kind->prefix, strlen(kind->prefix)) == 0)
                        r = restore_one(group->fd, entries[i]->d_name, kind, spec, fault);
                free(entries[i]);
        }
        free(entries);
        return r;
}

static int restore_threads(const struct spec *spec, const struct child_group *group,
                           struct fault *fault)
{
        _cleanup_close_ int fd = openat(group->fd, "runner", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char name[32];
        int r;

        r = fd < 0 ? -errno : thread_groups_pass_on_cpu(fd);
        for (unsigned i = 0; r >= 0; ++i) {
                snprintf(name, sizeof(name), "thread-%u", i);
                if (is_gone(fd, name))
                        return 0;
                r = thread_group_weigh(fd, spec, i);
        }
        return complain(fault, r, "spec.thread_weights", "set the weights of threads");
}

/*
 * Enables, in the job's group, all controllers that are available there. The supervisor that made
 * the group had done the same, and noted which ones they were.
 */
static int pass_on(const struct child_group *group, struct controller_changes *ret)
{
        unsigned available, enabled, noted = cgroup_noted_controllers(group->fd);
        int r;

        r = cgroup_read_available(group->fd, &available);
        if (r >= 0)
                r = cgroup_read_enabled(group->fd, &enabled);
        if (r < 0)
                return r;
        *ret = (struct controller_changes){
                .lost = available & ~enabled & noted,
                .gained = available & ~noted,
        };
        return available & ~enabled ? cgroup_enable_controllers(group->fd, &enabled) : 0;
}

int limit_restore(const struct spec *spec, const struct groups *groups,
                  const struct child_group *group, struct controller_changes *ret,
                  struct fault *fault)
{
        int r;

        *ret = (struct controller_changes){ 0, 0 };
        if (!child_group_exists(group))
                return 0;
        r = pass_on(group, ret);
        if (r < 0)
                return complain(fault, r, "spec.limits", "enable controllers in the job's cgroup");
        /*
         * Limits that should still be in force are set, too: nobody knows what has happened
         * meanwhile, and setting them also reads them back.
         */
        r = limit_set(spec, groups, group, fault);
        if (r >= 0 && spec_has_worker_processes(spec))
                r = restore_each(&workers, spec, group, fault);
        if (r >= 0 && spec_has_task_groups(spec))
                r = restore_each(&tasks, spec, group, fault);
        if (r >= 0 && spec->n_thread_weights > 0)
                r = restore_threads(spec, group, fault);
        return r;
}
