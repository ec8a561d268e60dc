#include "daemon/runner/levels/thread-groups.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/job-groups.h"

#define PATH_MAX_LENGTH 48

static const char *path_of(unsigned i, const char *file, char text[static PATH_MAX_LENGTH])
{
        snprintf(text, PATH_MAX_LENGTH, "thread-%u%s%s", i, file ? "/" : "", file ?: "");
        return text;
}

static int complain(unsigned i, const char *what, int error)
{
        char path[PATH_MAX_LENGTH];

        log_error("cannot %s the threaded cgroup runner/%s: %s; leave --threaded out, or see what "
                  "pppctl doctor says of cgroups",
                  what, path_of(i, NULL, path), strerrordesc_np(-error));
        return error;
}

static int make_one(const struct thread_groups *groups, const struct spec *spec, unsigned i)
{
        _cleanup_close_ int fd = -EBADF;
        char path[PATH_MAX_LENGTH];
        int r;

        r = cgroup_make(groups->fd, path_of(i, NULL, path), &fd);
        if (r < 0)
                return complain(i, "make", r);
        r = cgroup_write(fd, "cgroup.type", "threaded");
        if (r < 0)
                return complain(i, "turn to threads", r);
        r = thread_group_weigh(groups->fd, spec, i);
        return r < 0 ? complain(i, "set the weight of", r) : 0;
}

static int pass_on_cpu(const struct thread_groups *groups)
{
        int r = thread_groups_pass_on_cpu(groups->fd);

        if (r < 0)
                log_error("cannot weigh threads: the cpu controller cannot be enabled below the "
                          "runner's cgroup: %s; leave --thread-weight out",
                          strerrordesc_np(-r));
        return r;
}

int thread_groups_make(struct thread_groups *groups, const struct runner *runner, unsigned n)
{
        int r = 0;

        if (runner->cgroup_fd < 0) {
                log_error("cannot put threads in cgroups of their own: the job has no cgroup; "
                          "leave --threaded out");
                return -ENOENT;
        }
        groups->fd = openat(runner->cgroup_fd, "runner", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (groups->fd < 0) {
                log_error("cannot open the runner's cgroup: %m");
                return -errno;
        }
        if (runner->spec.n_thread_weights > 0)
                r = pass_on_cpu(groups);
        for (unsigned i = 0; i < n && r >= 0; ++i)
                r = make_one(groups, &runner->spec, i);
        groups->n = n;
        return r;
}

void thread_groups_deinit(struct thread_groups *groups)
{
        groups->fd = close_fd(groups->fd);
}

int thread_groups_enter(const struct thread_groups *groups, unsigned i)
{
        char path[PATH_MAX_LENGTH];
        int r;

        /* 0 stands for the writer. */
        r = cgroup_write(groups->fd, path_of(i, "cgroup.threads", path), "0");
        return r < 0 ? complain(i, "enter", r) : 0;
}

void thread_groups_measure(const struct thread_groups *groups, struct runner *runner)
{
        json_t *list = json_array();
        char path[PATH_MAX_LENGTH];
        uint64_t usec;
        int r = list ? 0 : -ENOMEM;

        for (unsigned i = 0; i < groups->n && r >= 0; ++i) {
                r = cgroup_read_keyed(groups->fd, path_of(i, "cpu.stat", path), "usage_usec",
                                      &usec);
                if (r >= 0 && json_array_append_new(list, json_real((double)usec / 1e6)) < 0)
                        r = -ENOMEM;
        }
        if (r >= 0) {
                measure_object(runner, "thread_cpu_seconds", list);
                return;
        }
        json_decref(list);
        measure_unavailable(runner, "thread_cpu_seconds", strerrordesc_np(-r));
}
