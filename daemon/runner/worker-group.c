#include "daemon/runner/worker-group.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/job-groups.h"

#define NAME_SIZE 32

static const char *name_of(unsigned number, char text[static NAME_SIZE])
{
        snprintf(text, NAME_SIZE, "worker-%u", number);
        return text;
}

/*
 * While the daemon is being started again, systemd before 254 has its cgroup without controllers,
 * and so this one's. The daemon will then set the limits that the job's other workers have
 * (limit-restore.h).
 */
static bool is_for_the_daemon(int fd, const struct spec *spec, const char *name, bool limited)
{
        if (!limited || !worker_group_lacks_controllers(fd, spec))
                return false;
        log_error("the controllers are gone that %s is limited by: the daemon limits it when it "
                  "has taken this job up again",
                  name);
        return true;
}

static int set_up(int fd, const struct spec *spec, const char *name, bool limited)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r;

        r = worker_group_limit(fd, spec, &fault);
        if (r >= 0 || is_for_the_daemon(fd, spec, name, limited))
                return 0;
        log_error("cannot limit %s: %s: %s; %s", name, fault.field, fault.why, fault.advice);
        return r;
}

static int make(struct worker_group *group, const struct runner *runner, const char *name,
                bool limited)
{
        bool needed = runner->spec.worker_limits.given != 0;
        int r;

        if (runner->cgroup_fd < 0)
                return needed ? -ENOENT : 0;
        r = cgroup_make(runner->cgroup_fd, name, &group->fd);
        if (r >= 0)
                return set_up(group->fd, &runner->spec, name, limited);
        log_error("cannot make the cgroup %s: %s%s", name, strerrordesc_np(-r),
                  needed ? "" : "; the worker runs in the runner's");
        return needed ? r : 0;
}

int worker_group_make(struct worker_group *group, struct runner *runner, bool limited)
{
        char name[NAME_SIZE];
        int r;

        *group = (struct worker_group){ -EBADF, runner->n_worker_groups++ };
        r = make(group, runner, name_of(group->number, name), limited);
        if (r < 0)
                worker_group_remove(group, runner);
        return r;
}

void worker_groups_sweep(const struct runner *runner)
{
        for (unsigned i = 0; runner->cgroup_fd >= 0 && i < runner->n_worker_groups; ++i) {
                char name[NAME_SIZE];
                struct worker_group group = {
                        .fd = openat(runner->cgroup_fd, name_of(i, name),
                                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                        .number = i,
                };

                worker_group_remove(&group, runner);
        }
}

void worker_group_remove(struct worker_group *group, const struct runner *runner)
{
        char name[NAME_SIZE];
        uint64_t n;

        if (group->fd < 0)
                return;
        /* Before Linux 6.11 refusals are counted only there. */
        if (cgroup_read_keyed(group->fd, "pids.events", "max", &n) < 0 || n == 0)
                /*
                 * Still populated if the worker left children: the supervisor removes what stays.
                 */
                (void)cgroup_remove(runner->cgroup_fd, name_of(group->number, name));
        group->fd = close_fd(group->fd);
}

bool worker_group_oom_killed(const struct worker_group *group)
{
        uint64_t n;

        return group->fd >= 0 &&
               cgroup_read_keyed(group->fd, "memory.events", "oom_kill", &n) >= 0 && n > 0;
}

/*
 * proc(5): raising one's own takes no privilege. If something forbids it, all workers are affected
 * alike.
 */
void worker_prefer_for_oom(void)
{
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return;
        if (write(fd, "1000", 4) < 0)
                log_error("cannot write oom_score_adj: %m; should memory run out, the kernel may "
                          "kill the runner before a worker");
        close(fd);
}
